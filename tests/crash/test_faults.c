/* SPDX-License-Identifier: MIT */
/*
 * What a runtime stands on fails under it: each call of SQLite's to a file, one after the other, once and
 * for a while; its lease; the name of its file. Either it says so at the start, or it pauses and goes on
 * by itself; and in the end nothing is lost and nothing is done twice.
 */
#include "base/os.h"
#include "cut.h"
#include "inside.h"
#include "program.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 48
#define ROW_BYTES 400

static const struct catchup_options small_batches = {
	.batch_rows = 16, .wal_mib = 1, .synchronous = CATCHUP_SYNCHRONOUS_FULL};

static char *make_folder(void)
{
	char *folder = test_folder_make();

	world_write_consumers(folder);
	world_insert(folder, ROWS, "row ", ROW_BYTES);
	return folder;
}

static int set_up(void **state)
{
	(void)state;
	proof_use_memory();
	return 0;
}

static void check(const char *folder, bool all, const char *when)
{
	char why[600] = "";

	if (!world_verify(folder, WORLD_CLAIMS, all, why, sizeof(why)))
		fail_msg("%s: %s; it said: %s", when, why, inside_log());
}

/* ---- files ----------------------------------------------------------------------------------- */

static const struct {
	enum cut_call call;
	const char *name;
	int code;
} faults[] = {
	{CUT_CALL_WRITE, "write: I/O error", SQLITE_IOERR_WRITE},
	{CUT_CALL_WRITE, "write: disk full", SQLITE_FULL},
	{CUT_CALL_SYNC, "sync: I/O error", SQLITE_IOERR_FSYNC},
	{CUT_CALL_TRUNCATE, "truncate: I/O error", SQLITE_IOERR_TRUNCATE},
	{CUT_CALL_READ, "read: I/O error", SQLITE_IOERR_READ},
	{CUT_CALL_READ, "read: out of memory", SQLITE_IOERR_NOMEM},
	{CUT_CALL_LOCK, "lock: protocol", SQLITE_PROTOCOL},
	{CUT_CALL_LOCK, "lock: I/O error", SQLITE_IOERR_SHMLOCK},
	{CUT_CALL_OPEN, "open: cannot", SQLITE_CANTOPEN},
	{CUT_CALL_OPEN, "open: out of memory", SQLITE_NOMEM},
};

#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

static void count_calls(long *calls)
{
	char *folder = make_folder();
	struct catchup_error error = {0};

	cut_start(folder);
	cut_fail(CUT_CALL_READ, 0, 0, SQLITE_OK);
	assert_int_equal(inside_run(folder, &small_batches, &error), CATCHUP_OK);
	for (enum cut_call call = CUT_CALL_OPEN; call < CUT_CALLS; call++)
		calls[call] = cut_calls(call);
	cut_stop();
	test_folder_remove(folder);
}

/* True when the runtime went on by itself. */
static bool fail_one(size_t fault, long nth, long times)
{
	char *folder = make_folder();
	struct catchup_error error = {0};
	char when[128];
	int rc;

	snprintf(when, sizeof(when), "%s, %ld calls from number %ld on", faults[fault].name, times, nth);
	cut_start(folder);
	cut_fail(faults[fault].call, nth, times, faults[fault].code);
	rc = inside_run(folder, &small_batches, &error);
	cut_stop();
	if (rc == CATCHUP_CONSUMER || rc == CATCHUP_BACKWARDS || rc == CATCHUP_TIMEOUT ||
		rc == CATCHUP_INTERNAL)
		fail_msg("%s: the machine's fault was taken for another: %s", when, error.message);
	check(folder, rc == CATCHUP_OK, when);
	if (rc != CATCHUP_OK && inside_run(folder, NULL, &error) != CATCHUP_OK)
		fail_msg("after %s: %s; it said: %s", when, error.message, inside_log());
	check(folder, true, when);
	test_folder_remove(folder);
	return rc == CATCHUP_OK;
}

static void fail_some(struct proof_steps *steps, long *went_on, void *calls_of)
{
	const long *calls = calls_of;
	long step;

	while (proof_steps_next(steps, &step)) {
		size_t fault = 0;

		for (; step >= calls[faults[fault].call]; fault++)
			step -= calls[faults[fault].call];
		*went_on += fail_one(fault, step + 1, steps->done % 3 == 2 ? 5 : 1);
	}
}

static void test_each_call_to_a_file_fails(void **state)
{
	long calls[CUT_CALLS], total = 0, went_on;
	struct proof_steps steps;

	(void)state;
	count_calls(calls);
	for (size_t fault = 0; fault < N_FAULTS; fault++)
		total += calls[faults[fault].call];
	steps = proof_steps_start(total, PROOF_PLAIN ? 1 : PROOF_SANITIZED ? 97 : 13);
	went_on = proof_steps_take(&steps, fail_some, calls);
	proof_result("%ld of %ld failing calls to files; the runtime went on after %ld, and told the others",
		steps.done, steps.total, went_on);
	/* A start may fail and say so; what runs goes on. Of a few calls all may be of the start's. */
	assert_true(went_on > (steps.done < 100 ? 0 : steps.done / 4));
}

/* ---- leases ---------------------------------------------------------------------------------- */

/* Another process took the lease and lost it again: no commit under the old fence. */
static void test_a_raised_fence_is_noticed_at_the_commit(void **state)
{
	char *folder = make_folder(), *app = test_path(folder, "app.db");
	char *results = test_path(folder, "results.db");
	struct catchup_error error = {0};
	struct catchup *c;

	(void)state;
	assert_int_equal(inside_open(folder, &small_batches, &c, &error), CATCHUP_OK);
	assert_int_equal(catchup_start(c, &error), CATCHUP_OK);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(catchup_wait(c, PATIENCE_MS, &error), CATCHUP_OK);
		test_sql(app, "UPDATE catchup_lease SET fence = fence + 1, instance = 1, expires_ns = 0");
		test_sql(results, "UPDATE catchup_lease SET fence = fence + 1, instance = 1, expires_ns = 0");
		world_insert(folder, ROWS, "more ", 10);
	}
	assert_int_equal(catchup_wait(c, PATIENCE_MS, &error), CATCHUP_OK);
	catchup_close(c);
	check(folder, true, "after another one had the lease");
	assert_int_equal(test_number(app, "SELECT min(fence) >= 6 FROM catchup_lease"), 1);
	free(app);
	free(results);
	test_folder_remove(folder);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Some file systems give a deleted file's inode to the next one. */
static void test_an_inode_that_is_used_again_is_another_file(void **state)
{
	struct cu_file_id old = {.device = 1, .inode = 2, .birth_ns = 3}, new = old;

	(void)state;
	assert_true(cu_file_same(&old, &new));
	new.birth_ns++;
	assert_false(cu_file_same(&old, &new));
	new = old;
	new.inode++;
	assert_false(cu_file_same(&old, &new));
	new = old;
	new.device++;
	assert_false(cu_file_same(&old, &new));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_call_to_a_file_fails),
		cmocka_unit_test(test_a_raised_fence_is_noticed_at_the_commit),
		cmocka_unit_test(test_an_inode_that_is_used_again_is_another_file),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
