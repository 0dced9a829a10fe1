#!/bin/bash
# SPDX-License-Identifier: MIT
#
# counting.sh PROGRAM: whether the wrapper that counts tests counts right, above all what went wrong.
set -u
program=$1
folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-counting.XXXXXX")
trap 'rm -rf "$folder"' EXIT
wrong=0

expect() { # "PASSED FAILED SKIPPED" EXIT-CODE-IS-0 COMMAND...
	local record=$1 good=$2 rc got
	shift 2
	rm -rf "$folder/records"
	mkdir "$folder/records"
	CATCHUP_TEST_RECORDS=$folder/records "$SOURCE/.ci/one-test" "$@" >"$folder/out" 2>&1
	rc=$?
	got=$(cat "$folder"/records/*/record)
	if [ "$got" != "$record" ] || { [ $rc -eq 0 ] && [ "$good" = no ]; } ||
		{ [ $rc -ne 0 ] && [ "$good" = yes ]; }; then
		echo "'${*:2}': counted '$got', expected '$record'; ended with $rc"
		cat "$folder/out"
		wrong=1
	fi
}

expect "2 0 0" yes "$program" pass pass
expect "1 1 0" no "$program" pass fail
expect "1 2 1" no "$program" fail skip pass fail
expect "0 0 1" yes "$program" skip
grep -q '^skipped in .*: told so' "$folder"/records/*/skips || {
	echo "the reason of a skipped test is lost"
	wrong=1
}
# A crash, an early exit and a leak found at the end fail, whatever passed before.
expect "0 1 0" no "$program" pass die
expect "0 1 0" no "$program" pass leave
expect "1 1 0" no "$program" pass leak
# Scripts: by their exit code.
expect "1 0 0" yes /bin/sh -c "exit 0"
expect "0 1 0" no /bin/sh -c "exit 3"
expect "0 0 1" no /bin/sh -c "exit 77"
exit $wrong
