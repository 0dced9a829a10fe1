#!/bin/sh
# SPDX-License-Identifier: MIT
#
# plant.sh SOURCE OUT SCRIPT: a copy of a source file with a mistake in it, made by a sed script. A
# script that changes nothing has lost its place in the file, and is an error.
set -eu
sed -f "$3" "$1" >"$2"
if cmp -s "$1" "$2"; then
	echo "$1: nothing is planted by: $3" >&2
	rm -f "$2"
	exit 1
fi
