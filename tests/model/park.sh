#!/bin/bash
# SPDX-License-Identifier: MIT
#
# park.sh: Spin goes through the model of the ring and the park (park.pml). The protocol as it is must
# hold in every order of steps, and every planted mistake must be found. PROOF=long takes larger
# shapes too. Ends with 77 where spin or gcc is missing.
set -eu
model=$(cd "$(dirname "$0")" && pwd)/park.pml

for tool in spin gcc; do
	command -v $tool >/dev/null 2>&1 || {
		echo "skipped: $tool is not installed"
		exit 77
	}
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Runs one shape; the report is in ./report.
search() { # PRODUCERS CONSUMERS ENTRIES MISTAKE GCC-FLAG...
	local shape="-DPRODUCERS=$1 -DCONSUMERS=$2 -DENTRIES=$3 -DMISTAKE=$4"
	shift 4
	# shellcheck disable=SC2086
	spin $shape -a "$model" >spin.log 2>&1 || { cat spin.log; exit 1; }
	gcc -w -DSAFETY "$@" -o pan pan.c
	./pan -m1000000 >report
}

holds() { # PRODUCERS CONSUMERS ENTRIES GCC-FLAG...
	local shape="$1 producers, $2 consumers, $3 entries each"
	search "$1" "$2" "$3" 0 -O1 "${@:4}"
	if ! grep -q 'errors: 0$' report || grep -q 'not completed' report; then
		cat report
		# The way there, step by step.
		[ ! -e park.pml.trail ] || ./pan -r park.pml.trail | tail -n 60
		echo "park: $shape: the protocol does not hold"
		exit 1
	fi
	echo "$shape: holds in $(awk '/states, stored/ { print $1; exit }' report) states"
}

holds 1 1 4
holds 1 2 2
holds 2 2 1
if [ "${PROOF:-short}" = long ]; then
	holds 2 1 3 -DCOLLAPSE
	holds 1 2 4 -DCOLLAPSE
fi

# The mistakes: "#define NAME NUMBER /* what it is */" in the model.
found=0
while read -r _ name number what; do
	search 1 2 2 "$number" -O0
	grep -q '^pan:1:' report || {
		cat report
		echo "park: not found out: $name $what"
		exit 1
	}
	found=$((found + 1))
	what=${what#"/* "}
	echo "found out: ${what%" */"}"
done < <(grep -E '^#define [A-Z_]+ [1-9][0-9]* +/\*' "$model")
[ "$found" -gt 0 ]
