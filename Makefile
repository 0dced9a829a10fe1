# SPDX-License-Identifier: MIT
# A thin front of meson. `make` installs what is missing (Debian 12), builds into build/, and takes
# the newest SQLite for the program where it can be had.

BUILD = build
PREFIX = /usr/local
# These also from the environment.
CONFIGS ?= gcc clang asan tsan coverage
SCENARIOS ?=
PROOFS ?=
SQLITE ?= auto
ASKED := $(filter-out file,$(origin SQLITE))
export SQLITE

all: set-up
	@meson compile -C $(BUILD)

# build/ is kept as it is configured; only another SQLite that is asked for, or one that has come since,
# makes it configure anew.
set-up:
	@.ci/install build
	@if [ ! -e $(BUILD)/build.ninja ]; then \
		.ci/fetch-sqlite && meson setup $(BUILD) --prefix=$(PREFIX) -Dsqlite=$(SQLITE); \
	elif [ -n "$(ASKED)" ] && ! grep -qx 'sqlite = $(SQLITE)' $(BUILD)/meson-private/cmd_line.txt; then \
		.ci/fetch-sqlite && meson setup --reconfigure $(BUILD) -Dsqlite=$(SQLITE); \
	elif [ .cache/sqlite/VERSION -nt $(BUILD)/build.ninja ]; then \
		meson setup --reconfigure $(BUILD); \
	fi

test:
	@.ci/test $(CONFIGS)

# The long tier of the proofs. Each leaves what it found in build/proof/.
proof: all
	@.ci/proof $(PROOFS)

demo: all
	@tests/demo.sh

bench: all
	@$(BUILD)/catchup-bench $(SCENARIOS)

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD) --destdir="$(DESTDIR)"

coverage:
	@.ci/test coverage; rc=$$?; .ci/coverage --txt && exit $$rc

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) build-*

help:
	@echo "make            install what is missing, build into $(BUILD)/"
	@echo "                SQLITE=system takes the system's SQLite for the program too"
	@echo "make test       build and run all tests: gcc, clang, address and thread sanitizers, coverage"
	@echo "                CONFIGS=gcc runs one of them (gcc, clang, asan, tsan, coverage)"
	@echo "make proof      the long tier of the proofs: a day; PROOFS='kill soak' chooses,"
	@echo "                PROOF_MINUTES=10 bounds each; results in $(BUILD)/proof/"
	@echo "make demo       sensor messages through a pipeline that is killed on the way"
	@echo "make bench      the benchmarks; SCENARIOS='row sql --quick' chooses"
	@echo "make install    install program, library and headers; PREFIX=$(PREFIX), DESTDIR="
	@echo "make coverage   run the tests and print which branches of runtime/ they reach, file by file"
	@echo "make format     clang-format"
	@echo "make clean      remove the build folders (what was fetched stays in .cache/)"

.PHONY: all set-up test proof demo bench install coverage format clean help
