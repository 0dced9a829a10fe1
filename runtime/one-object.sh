#!/bin/sh
# SPDX-License-Identifier: MIT
# one-object.sh OUTPUT FOLDER COMPILER... -- OBJECT...: links the objects into one, makes its hidden
# symbols local and archives it.
set -eu
output=$1
folder=$2
shift 2
compiler=
while [ "$1" != -- ]; do
	# ccache and its like only compile.
	case $1 in
	ccache | */ccache | sccache | */sccache) ;;
	*) compiler="$compiler $1" ;;
	esac
	shift
done
shift
mkdir -p "$folder"
# shellcheck disable=SC2086 # the compiler may come with arguments
$compiler -nostdlib -r -o "$folder/catchup.o" "$@"
objcopy --localize-hidden "$folder/catchup.o"
rm -f "$output"
ar rcs "$output" "$folder/catchup.o"
