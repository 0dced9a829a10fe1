#!/bin/bash
# SPDX-License-Identifier: MIT
#
# fuzz.sh PROGRAM CORPUS: runs a fuzz target for a minute, or, with PROOF=long, for an hour;
# PROOF_MINUTES bounds both. The corpus stays as it is. What breaks the target is kept in FOUND, or
# beside PROGRAM.
set -u
program=$1 corpus=$2

seconds=$(awk -v long="${PROOF:-}" -v most="${PROOF_MINUTES:-60}" 'BEGIN {
	minutes = long == "long" ? 60 : 1
	print int(60 * (most < minutes ? most : minutes)) }')
# Each minute takes the same way, so that it tells of a change and not of the day; the hours do not.
seed=1
[ "${PROOF:-}" = long ] && seed=0
new=$(mktemp -d) || exit 1
trap 'rm -rf "$new"' EXIT
"$program" -max_total_time="$seconds" -seed="$seed" -timeout=60 -print_final_stats=1 \
	-artifact_prefix="${FOUND:-$(dirname "$program")}/" "$new/" "$corpus" >"$new.log" 2>&1
rc=$?
if [ $rc -ne 0 ]; then
	tail -n 60 "$new.log"
fi
result=$(awk -v name="$(basename "$program")" -v seconds="$seconds" '
	/^stat::number_of_executed_units/ { n = $2 }
	/ cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") places = $(i + 1) }
	END { print name ": " n + 0 " inputs in " seconds " s, " places + 0 " places reached" }' "$new.log")
rm -f "$new.log"
echo "$result"
if [ -n "${PROOF_RECORD:-}" ]; then
	echo "$result" >>"$PROOF_RECORD"
fi
# libFuzzer ends with 77 when it has found something, which elsewhere means skipped.
[ $rc -eq 0 ]
