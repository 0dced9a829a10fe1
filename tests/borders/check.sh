#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh NAME: one of the rules that hold the parts apart, checked on the sources and on what was
# built. Prints every breach as "file:line: what" and ends with 1; with 77 where a tool is missing.
#
# The environment says where things are: SOURCE (top of the tree), CORE (libcore.a), and where they
# are built SHARED and STATIC (libcatchup) and PROGRAM (catchup). PROGRAM_SQLITE is bundled or system.
# C_COMPILERS and CFLAGS_ALONE compile headers.
set -eu
cd "$SOURCE"
breaches=$(mktemp)
temporary=$(mktemp -d)
trap 'rm -rf "$breaches" "$temporary"' EXIT

skip() {
	echo "skipped: $1"
	exit 77
}

breach() {
	echo "$1" >>"$breaches"
}

need() {
	command -v "$1" >/dev/null 2>&1 || skip "$1 is not installed"
}

# Each source file of ours, by extension.
sources() {
	find runtime consumers bench tests -type f -name "*.$1" | sort
}

# Reads "file:line:text" of includes and prints a breach for each the room may not use.
check_includes() {
	grep -n '^[ 	]*#[ 	]*include' $(sources h) $(sources c) /dev/null | awk -F: '
	BEGIN {
		# What stands lower. The changelog feeds its subscribers through rings.
		may["base"] = "base"
		may["queue"] = "base queue"
		may["store"] = "base store"
		may["changelog"] = "base queue changelog"
		may["consumer"] = "base consumer"
		may["pool"] = "base queue store changelog consumer pool"
		may["upkeep"] = "base queue store changelog consumer pool upkeep"
		may["cli"] = "cli"
		may["include"] = ""
	}
	function breach(why) { print file ":" line ": " why }
	{
		file = $1; line = $2
		target = $3; sub(/^[^<"]*[<"]/, "", target); sub(/[>"].*/, "", target)
		local = $3 ~ /"/
		room = top = file; sub(/\/.*/, "", top)
		if (top == "runtime") { sub(/^runtime\//, "", room); sub(/\/.*/, "", room) }
		else room = ""
		to = target; if (!sub(/\/.*/, "", to)) to = ""

		if (target ~ /^ck_/ && room != "queue")
			breach("only runtime/queue includes ck (" target ")")
		if (target ~ /cJSON\.h$/ && room != "changelog" && top != "consumers" && top != "tests" &&
		    top != "bench")
			breach("only runtime/changelog and consumers include cJSON")
		if (target ~ /^catchup\// && local)
			breach("public headers are included as <" target ">")
		if (top == "runtime" && local) {
			if (!(room in may)) breach("unknown room " room)
			else if (to == "") breach("\"" target "\" does not name its room")
			else if (index(" " may[room] " ", " " to " ") == 0)
				breach("room " room " may not include \"" target "\"")
		}
		if (file ~ /^runtime\/pool\/plan\// && local && target !~ /^(base|pool\/plan)\// &&
		    target != "store/connection/fault.h")
			breach("the plan is a pure function: it may not include \"" target "\"")
		# Floors, from the ground up: a connection, the ledger, a source, a report of both.
		if (room == "store" && local && target ~ /^store\//) {
			split(file, at, "/"); split(target, above, "/")
			floor["connection"] = 1; floor["ledger"] = 2; floor["source"] = 3; floor["report"] = 4
			if (!(at[3] in floor) || !(above[2] in floor) || floor[above[2]] > floor[at[3]])
				breach("store/" at[3] " may not include \"" target "\"")
		}
		if (room == "cli" && target ~ /^sqlite3/)
			breach("the command line sees the public headers only, not SQLite")
		if (top == "consumers" && local && to ~ /^(base|queue|store|changelog|consumer|pool|upkeep|cli)$/)
			breach("consumers include the public headers only, not \"" target "\"")
	}' >>"$breaches"
}

# Compiles each header by itself: the public ones as C and as C++, as a module too, the others as C.
check_headers() {
	printf '#include HEADER\n' >"$temporary/alone.c"
	cp "$temporary/alone.c" "$temporary/alone.cpp"
	warn="-Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only"
	compiled=0
	for cc in $C_COMPILERS; do
		command -v "$cc" >/dev/null 2>&1 || continue
		case $cc in clang) cxx=clang++ ;; *) cxx=g++ ;; esac
		for header in $(cd runtime/include && find catchup -name '*.h'); do
			for define in -UCATCHUP_MODULE -DCATCHUP_MODULE; do
				$cc -std=c11 $warn $CFLAGS_ALONE $define -Iruntime/include \
					-DHEADER="<$header>" "$temporary/alone.c" ||
					breach "$header:1: does not compile alone ($cc, C, $define)"
				command -v $cxx >/dev/null 2>&1 || continue
				$cxx -std=c++11 $warn $CFLAGS_ALONE $define -Iruntime/include \
					-DHEADER="<$header>" "$temporary/alone.cpp" ||
					breach "$header:1: does not compile alone ($cxx, C++, $define)"
			done
			compiled=$((compiled + 1))
		done
		for header in $(cd runtime && find . -name '*.h' ! -path './include/*'); do
			$cc -std=c17 -D_GNU_SOURCE $warn $CFLAGS_ALONE -Iruntime/include -Iruntime \
				-DHEADER="\"${header#./}\"" "$temporary/alone.c" ||
				breach "runtime/${header#./}:1: does not compile alone ($cc)"
		done
	done
	[ $compiled -gt 0 ] || breach "no header was compiled"
}

# What other programs and modules can see of us.
check_exports() {
	need nm
	[ -n "$SHARED$STATIC$PROGRAM" ] || skip "neither the library nor the program is built here"
	if [ -n "$SHARED" ]; then
		nm -D --defined-only "$SHARED" | awk '{ print $3 }' >"$temporary/shared"
		nm -g --defined-only "$STATIC" | awk 'NF == 3 { print $3 }' >"$temporary/static"
		for kind in shared static; do
			[ -s "$temporary/$kind" ] || breach "libcatchup ($kind): exports nothing"
			grep -v '^catchup_' "$temporary/$kind" >"$temporary/foreign" || continue
			breach "libcatchup ($kind) exports $(tr '\n' ' ' <"$temporary/foreign")"
		done
		sort "$temporary/shared" >"$temporary/a"
		sort "$temporary/static" | cmp -s - "$temporary/a" ||
			breach "libcatchup: shared and static export different functions"
		# Every function that the headers declare is there.
		sed -n 's/^CATCHUP_API.*[ *]\(catchup_[a-z0-9_]*\)(.*/\1/p' runtime/include/catchup/*.h |
			while read -r name; do
				grep -qx "$name" "$temporary/a" ||
					breach "libcatchup: $name is declared but not exported"
			done
		readelf -d "$SHARED" | grep -q 'SONAME.*\[libcatchup\.so\.0\]' ||
			breach "libcatchup: the soname is not libcatchup.so.0"
		readelf -d "$SHARED" | grep -q 'NEEDED.*libsqlite3' ||
			breach "libcatchup: does not use the host's SQLite"
	fi
	if [ -n "$PROGRAM" ]; then
		nm -D --defined-only "$PROGRAM" |
			awk '$3 ~ /^(sqlite3|cu_|catchup_)/ { print $3 }' >"$temporary/leaks"
		[ ! -s "$temporary/leaks" ] ||
			breach "catchup: modules could see $(head -n 5 "$temporary/leaks" | tr '\n' ' ')"
		if [ "$PROGRAM_SQLITE" = bundled ] &&
			readelf -d "$PROGRAM" | grep -q 'NEEDED.*libsqlite3'; then
			breach "catchup: has a SQLite of its own and loads the system's as well"
		fi
	fi
}

# Lists "object symbol" for each undefined symbol of the core's objects, rooms before the underscore.
undefined_symbols() {
	nm -A -u "$CORE" | awk '{ object = $1; sub(/:$/, "", object); sub(/.*[\/:]/, "", object)
		sub(/\.c\.o$/, "", object); print object, $NF }'
}

# Drops the lines "object name" that tests/borders/allowed has with a reason.
not_allowed() {
	awk -v list=tests/borders/allowed '
	BEGIN {
		while ((getline text < list) > 0)
			if (text !~ /^#/ && split(text, word, /[ \t]+/) > 2)
				allowed[word[1] " " word[2]] = 1
	}
	!(($1 " " $2) in allowed)'
}

# Clocks, threads, locks and files only through base; our SQL only in store.
check_calls() {
	need nm
	undefined_symbols | not_allowed | awk '
	BEGIN {
		n = split("clock_gettime clock_nanosleep nanosleep usleep sleep time gettimeofday " \
			"open open64 openat openat64 __open_2 __open64_2 creat close " \
			"read write pread pread64 pwrite pwrite64 readv writev lseek lseek64 " \
			"fsync fdatasync ftruncate ftruncate64 " \
			"truncate stat stat64 fstat fstat64 lstat lstat64 fstatat fstatat64 statx statfs64 " \
			"rename unlink mkdir rmdir opendir readdir readdir64 fopen fopen64 fclose fread " \
			"fwrite fgets getline select poll ppoll epoll_create1 epoll_ctl epoll_wait eventfd " \
			"inotify_init inotify_init1 inotify_add_watch inotify_rm_watch futex syscall " \
			"sem_init sem_wait sem_post thrd_create mtx_lock cnd_wait getrandom rand random " \
			"fork execve system popen printf puts putchar vprintf perror exit _exit " \
			"signal sigaction setenv putenv setlocale", words, / /)
		for (i = 1; i <= n; i++) seam[words[i]] = 1
	}
	function breach(what) { print $1 ".c: calls " what " (or it stands in tests/borders/allowed)" }
	{
		room = $1; sub(/_.*/, "", room)
		if (room == "base") next
		if ($2 in seam || $2 ~ /^pthread_/)
			breach($2 ", which belongs behind runtime/base")
		if ($2 ~ /^sqlite3_(exec|prepare|get_table|open)/ && room != "store")
			breach($2 "; only runtime/store runs our SQL")
	}' >>"$breaches"
	undefined_symbols | grep -q 'pthread_' || breach "libcore.a: no calls were found at all"
}

# The library has no variable that is not constant: two runtimes in a process share nothing.
check_state() {
	need nm
	nm -A -f sysv --defined-only "$CORE" | awk -F'|' '
		NF >= 7 {
			where = $1; gsub(/ /, "", where); sub(/.*\//, "", where)
			sub(/\.c\.o:/, " ", where)
			section = $NF; gsub(/ /, "", section)
			class = $3; gsub(/ /, "", class)
			if (section ~ /^\.data\.rel\.ro/) next
			if (section ~ /^\.(data|bss|tdata|tbss)/ || class == "C") print where
		}' | not_allowed | sed 's/ \(.*\)/.c: \1 is a variable that is not constant/' >>"$breaches"
}

# What a reader's editor and eyes expect. Lines aim at 100 columns; a few words may stand over that edge.
check_text() {
	for file in $(sources c) $(sources h) $(sources sh) $(find . -name meson.build \
		-not -path './build*' -not -path './.cache/*') .ci/* Makefile; do
		head -n 3 "$file" | grep -q 'SPDX-License-Identifier: MIT' ||
			breach "$file:1: no SPDX line at the top"
		expand -t 8 "$file" | awk -v file="$file" '
			length($0) > 120 { print file ":" NR ": " length($0) " columns, and 100 is the aim" }
			/[ \t]$/ { print file ":" NR ": blanks at the end" }' >>"$breaches"
		[ -z "$(tail -c 1 "$file")" ] || breach "$file: no newline at the end"
	done
	for file in $(sources c) $(sources h); do
		awk -v file="$file" '
			/^        / && !in_raw { print file ":" NR ": indented with spaces" }
			/\r/ { print file ":" NR ": carriage return" }
			/(TODO|FIXME|[^X]XXX[^X])/ { print file ":" NR ": unfinished" }' "$file" >>"$breaches"
	done
	# A suppression is one line, and the line before it says why.
	for file in tests/*.supp; do
		[ -e "$file" ] || continue
		awk -v file="$file" '
			/^#/ {
				if (reason) print file ":" NR ": the reason is one line"
				reason = length($0) > 20
				next
			}
			NF { if (!reason) print file ":" NR ": no reason stands before it"; reason = 0 }' \
			"$file" >>"$breaches"
	done
}

# What is chosen is heard, however it is said.
check_make() {
	need make
	for said in "env SQLITE=system PROOFS=kill make" "make SQLITE=system PROOFS=kill"; do
		MAKEFLAGS='' $said -n proof >"$temporary/does"
		grep -q -- '-Dsqlite=system' "$temporary/does" || breach "Makefile: deaf to SQLITE in '$said'"
		grep -q '\.ci/proof kill' "$temporary/does" || breach "Makefile: deaf to PROOFS in '$said'"
	done
}

case $1 in
headers | includes | exports | calls | state | text | make) "check_$1" ;;
*) echo "check.sh: unknown check '$1'" >&2; exit 1 ;;
esac
sort -u "$breaches"
[ ! -s "$breaches" ]
