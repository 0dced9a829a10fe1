#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install.sh: installs into a folder and builds the embedding example against what stands there, by
# the pkg-config file alone, with the shared and with the static library, and runs both.
#
# The environment says SOURCE and BUILD (folders), CC and PREFIX.
set -eu
command -v pkg-config >/dev/null 2>&1 || {
	echo "skipped: pkg-config is not installed"
	exit 77
}
folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-install.XXXXXX")
trap 'rm -rf "$folder"' EXIT

DESTDIR= meson install -C "$BUILD" --no-rebuild --quiet --destdir "$folder/root"
installed=$folder/root$PREFIX
PKG_CONFIG_PATH=$(dirname "$(find "$installed" -name catchup.pc)")
export PKG_CONFIG_PATH
package() {
	pkg-config --define-variable=prefix="$installed" "$@" catchup
}
libraries=$(package --variable=libdir)

for file in bin/catchup include/catchup/catchup.h include/catchup/consumer.h \
	include/catchup/changelog.h; do
	[ -e "$installed/$file" ] || {
		echo "not installed: $file"
		exit 1
	}
done
"$installed/bin/catchup" version

# shellcheck disable=SC2046 # flags are words
$CC -std=c11 -Wall -Wextra -Werror "$SOURCE/docs/embed.c" -o "$folder/shared" \
	$(package --cflags) $(package --libs)
readelf -d "$folder/shared" | grep -q 'NEEDED.*\[libcatchup\.so\.0\]'
# shellcheck disable=SC2046
$CC -std=c11 -Wall -Wextra -Werror "$SOURCE/docs/embed.c" -o "$folder/static" \
	$(package --cflags) $(package --static --libs | sed 's/-lcatchup/-l:libcatchup.a/')
if readelf -d "$folder/static" | grep 'NEEDED.*libcatchup'; then
	echo "the static example uses the shared library"
	exit 1
fi

for kind in shared static; do
	mkdir "$folder/run-$kind"
	(cd "$folder/run-$kind" && LD_LIBRARY_PATH=$libraries "$folder/$kind") >"$folder/out-$kind" || {
		echo "the $kind example ended with $?"
		cat "$folder/out-$kind"
		exit 1
	}
done
cat "$folder/out-shared"
