#!/bin/bash
# SPDX-License-Identifier: MIT
#
# planted.sh: plants mistakes, one at a time, and expects a test to find each. BUILD is the build folder,
# SKIP a reason to do nothing.
#
# A mistake is a change to a copy of one source file. It is compiled and linked as ninja compiles and
# links the test that must find it, with the changed object in front of the library that has the sound
# one. Nothing of it stays, and there is no trace of it in the runtime.
set -uo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
if [ -n "${SKIP:-}" ]; then
	echo "skipped: $SKIP"
	exit 77
fi
cd "${BUILD:?}" || exit 1
folder=$(mktemp -d "${TMPDIR:-/tmp}/catchup-planted.XXXXXX") || exit 1
# Tests that fail leave their files, which are in memory where that can be (proof_use_memory).
files=$(mktemp -d /dev/shm/catchup-planted.XXXXXX 2>/dev/null) || files=$folder
trap 'rm -rf "$folder" "$files"' EXIT
planted=0

# A mistake is often found by something that never comes, so they are tried side by side.
AT_ONCE=8
PATIENCE_S=30

# The power is cut so often: enough for what is planted, by far.
unset PROOF PROOF_SEED PROOF_RECORD
export PROOF_COUNT=120

# NUMBER NAME SOURCE TEST SED-SCRIPT: one mistake, in a folder of its own. Says what came of it.
try() {
	local mine="$folder/$1" mine_too="$files/$1.files" name=$2 source=$3 test=$4 script=$5
	local object="runtime/libcore.a.p/${source//\//_}.o" compile link

	mkdir "$mine" "$mine_too"
	sed -E "$script" "$top/runtime/$source" >"$mine/planted.c"
	if cmp -s "$mine/planted.c" "$top/runtime/$source"; then
		echo "FAILED $name: runtime/$source no longer has what is to be changed"
		return
	fi
	compile=$(ninja -t commands -s "$object") && link=$(ninja -t commands -s "$test") || return
	# The compiler's own words: what it reads and writes is ours.
	compile=${compile/ -MD -MQ $object -MF $object.d/}
	compile=${compile/ -o $object/ -o $mine/planted.o -w -Wno-error}
	compile="${compile% -c *} -c $mine/planted.c"
	link=${link/ -o $test/ -o $mine/test $mine/planted.o}
	if ! eval "$compile && $link" >"$mine/output" 2>&1; then
		echo "FAILED $name: the change does not compile"
		cat "$mine/output"
		return
	fi
	# cmocka's XML goes where the test run keeps that of its own tests.
	if (env -u CMOCKA_XML_FILE CMOCKA_MESSAGE_OUTPUT=stdout TMPDIR="$mine_too" \
		timeout "$PATIENCE_S" "$mine/test" || exit 1) >"$mine/output" 2>&1; then
		echo "FAILED $name: $(basename "$test") did not find it"
	else
		echo "found  $name: $(basename "$test")"
	fi
	rm -rf "$mine" "$mine_too"
}

# NAME SOURCE TEST SED-SCRIPT: what is wrong, in which file of runtime/, and which test has to see it.
plant() {
	planted=$((planted + 1))
	while [ "$(jobs -rp | wc -l)" -ge $AT_ONCE ]; do
		wait -n
	done
	try $planted "$@" >"$folder/$planted.said" &
}

power=tests/crash/test_crash_power
faults=tests/crash/test_crash_faults
commit=tests/integration/test_rules_commit
code=tests/integration/test_rules_code
histories=tests/unit/plan/test_plan_histories
rotation=tests/unit/changelog/test_changelog_rotation
iterator=tests/unit/changelog/test_changelog_iterator
connection=tests/unit/store/test_store_connection
lock=tests/unit/store/test_store_lock
ledger=tests/unit/store/test_store_ledger
lease=tests/unit/store/test_store_lease

# ---- the changelog

plant 'the inode alone says which file it is' base/os_posix_file.c $faults '
s/ && a->birth_ns == b->birth_ns//'

plant 'the name alone says which file it is' base/os_posix_file.c $rotation '
s/return a->device == b->device .*/return a->device == b->device;/'

plant 'a file that was truncated is read on' changelog/split.c $rotation '
s/return n < 0 \? n : CU_SPLIT_CHANGED;/return n < 0 ? n : 0;/
s/return rc < 0 \? rc : CU_SPLIT_CHANGED;/return rc < 0 ? rc : 0;/'

plant 'a line without its end is taken' changelog/split.c $iterator '
s/^\t\tnewline = n == split->searched/\t\tif (n > 0 \&\& !memchr(p, 10, n)) {\
			line->bytes = p;\
			line->n = n;\
			*at = split->line_at;\
			split->start += n;\
			split->line_at += (int64_t)n;\
			split->searched = 0;\
			return CU_SPLIT_LINE;\
		}\
&/'

plant 'the out-of-sync flag comes down before the cache is rebuilt' changelog/iterator.c $iterator '
s/return CATCHUP_NEXT_OUT_OF_SYNC;/atomic_store(\&it->sub.rebuilt, it->next.ticket);\
	&/'

plant 'a gap before a row that a filter drops is not told' changelog/deliver.c $iterator '
s/^\tif \(line->why\)/\tif (line->why \&\& matches)/
s/\} else if \(line->why\) \{/} else if (line->why \&\& matches) {/'

plant 'a ring that overflowed raises no flag' changelog/deliver.c $iterator '
s/cu_subscriber_raise\(sub\);/;/'

# ---- results and watermark

plant 'the watermark is committed before the results' pool/perform/perform_batch.c $power '
s/event->kind = CU_EVENT_BEGUN;/&\
	if (f->definition->table.range) { bool gone;\
		cu_ledger_save(\&f->ledger, f->plan.watermark, f->plan.goal, f->plan.fence, NULL, \&gone, NULL);\
		cu_conn_commit(f->writer, NULL);\
		cu_conn_begin(f->writer, NULL);\
	}/
s/&f->ledger, action->lo, action->hi, f->plan.fence/\&f->ledger,\
	f->definition->table.range ? action->hi : action->lo, action->hi, f->plan.fence/'

plant 'the results are committed before the watermark' pool/perform/perform_batch.c $power '
s/if \(write_ledger\(/cu_conn_commit(f->writer, NULL);\
	cu_conn_begin(f->writer, NULL);\
	&/'

plant 'a commit is not checked' pool/perform/perform_batch.c $faults '
s/if \(cu_conn_commit\(f->writer, &f->fault\) != CATCHUP_OK\)/cu_conn_commit(f->writer, NULL);\
	if (0)/'

plant 'a watermark that another process has moved is written over' store/ledger/ledger.c $ledger '
s/AND last = \?3 AND/AND/'

plant 'a fence that was raised is passed' store/ledger/ledger.c $lease '
s/AND \(\?4 = 0 OR/AND (1 OR/'

plant 'who lost the watermark to another process commits its results' pool/perform/perform_batch.c $faults '
s/\tif \(lost\) \{/\tif (0) {/'

plant 'synchronous=FULL is taken for NORMAL' store/connection/connection.c $power '
s/main.synchronous=FULL/main.synchronous=NORMAL/'

plant 'the source is not compared with what was processed' pool/perform/perform_open.c $power '
s/(found \|\|) now_hash == hash/\1 1/
s/!found \|\| now_hash == hash/1/'

# ---- transactions

plant 'nobody asks whether the transaction is still there' pool/perform/perform_batch.c $code '
s/if \(cu_conn_in_transaction\(f->writer\)\)/if (1)/'

plant 'a write transaction begins as a reader' store/connection/connection.c $lock '
s/"BEGIN IMMEDIATE"/"BEGIN"/'

plant 'a file that was replaced is still written' store/connection/transaction.c $connection '
s/\tif \(cu_conn_moved\(conn\)\)/\tif (0)/'

plant 'what was begun is not rolled back' pool/perform/perform_batch.c $commit '
s/^\t\tcu_conn_rollback\(f->writer\);//'

# ---- the plan

plant 'rows are skipped when the database is locked' pool/plan/plan_fault.c $histories '
s/case CU_FAULT_BUSY:/&\
		plan->watermark = plan->available;/'

plant 'after a failed sync the same connection is used again' pool/plan/plan_fault.c tests/unit/plan/test_plan_machine '
s/if \(!busy \|\| plan->state/if (plan->state/'

plant 'a query with a LIMIT is not asked again' pool/plan/plan.c $histories '
s/if \(plan->config.requery && plan->since_fetch > 0 && !event->stopping\)/if (0)/
s/plan->goal = plan->config.requery && plan->since_fetch > 0 \?.*/plan->goal = plan->available;/'

plant 'rows in the wrong order are taken' store/source/fetch.c tests/unit/store/test_store_source '
s/cu_source_is_next\(source, value\)/value > source->last \&\& value <= source->max/'

wait
cat "$folder"/*.said
found=$(grep -c '^found ' < <(cat "$folder"/*.said))
echo "$planted mistakes planted, $found found"
[ "$found" -eq "$planted" ]
