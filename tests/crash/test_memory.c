/* SPDX-License-Identifier: MIT */
/*
 * Every allocation fails, SQLite's and our own, once and from then on: while a runtime is opened, gets its
 * consumers, starts, works, tells its status, stops and closes. What cannot go on says so; what runs pauses
 * and goes on when there is memory again. Nothing crashes, nothing is leaked, no row is lost or done twice.
 */
#include "alloc.h"
#include "inside.h"
#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 48
#define ROWS_LATER 32
#define ROW_BYTES 200

/* So long a runtime is left without memory. */
#define WITHOUT_MEMORY_MS 100

static const struct catchup_options small_batches = {.batch_rows = 16, .threads = 1};

static void check(const char *folder, bool all, const char *when)
{
	char why[600] = "";

	if (!world_verify(folder, WORLD_CLAIMS, all, why, sizeof(why)))
		fail_msg("%s: %s; it said: %s", when, why, inside_log());
}

static int look_at_status(struct catchup *c, struct catchup_error *error)
{
	struct catchup_status *status;
	int rc = catchup_status(c, &status, error);

	if (rc == CATCHUP_OK)
		catchup_status_free(status);
	return rc;
}

/*
 * One life of a runtime with no memory at one point of it. Returns the first error, or OK; *reached: it ran.
 * The wait has no deadline in effect: what runs goes on once there is memory again.
 */
static int live(const char *folder, long nth, bool from_then_on, bool *reached)
{
	struct catchup_error error = {0};
	struct catchup *c = NULL;
	int rc;

	alloc_fail(nth, from_then_on);
	rc = inside_open(folder, &small_batches, &c, &error);
	if (rc == CATCHUP_OK)
		rc = catchup_start(c, &error);
	*reached = rc == CATCHUP_OK;
	if (rc == CATCHUP_OK) {
		int status = look_at_status(c, &error);

		if (status != CATCHUP_OK && status != CATCHUP_NOMEM)
			fail_msg("status without memory: %s", error.message);
		rc = catchup_wait(c, WITHOUT_MEMORY_MS, &error);
		alloc_fail(0, false);
		if (rc == CATCHUP_TIMEOUT || rc == CATCHUP_NOMEM)
			rc = catchup_wait(c, PATIENCE_MS, &error);
		if (rc != CATCHUP_OK)
			fail_msg("allocation %ld: it did not go on: %s; it said: %s", nth, error.message,
				inside_log());
	} else if (rc != CATCHUP_NOMEM && alloc_failures() > 0 && rc != CATCHUP_IO) {
		fail_msg("allocation %ld: %d, %s", nth, rc, error.message);
	}
	catchup_close(c);
	alloc_fail(0, false);
	return rc;
}

static void fail_one(long nth, bool from_then_on, long *started)
{
	char *folder = test_folder_make(), when[128];
	long before;
	struct catchup_error error = {0};
	bool reached;
	int rc;

	world_write_consumers(folder);
	world_insert(folder, ROWS, "row ", ROW_BYTES);
	snprintf(when, sizeof(when), "allocation %ld%s", nth, from_then_on ? " and all later ones" : "");
	before = alloc_live();
	rc = live(folder, nth, from_then_on, &reached);
	if (alloc_live() != before)
		fail_msg("%s: %ld blocks leaked", when, alloc_live() - before);
	check(folder, rc == CATCHUP_OK, when);
	*started += reached;
	world_insert(folder, ROWS_LATER, "later ", ROW_BYTES);
	if (inside_run(folder, NULL, &error) != CATCHUP_OK)
		fail_msg("%s: the next run failed: %s; it said: %s", when, error.message, inside_log());
	check(folder, true, when);
	test_folder_remove(folder);
}

static void fail_some(struct proof_steps *steps, long *started, void *context)
{
	long step;

	(void)context;
	while (proof_steps_next(steps, &step)) {
		fail_one(step + 1, false, started);
		fail_one(step + 1, true, started);
	}
}

/* "memory allocation failing anywhere" */
static void test_every_allocation_fails(void **state)
{
	struct proof_steps steps;
	long started;
	char *folder = test_folder_make();
	bool reached;

	(void)state;
	/* The first run also allocates what stays for good. */
	world_write_consumers(folder);
	world_insert(folder, ROWS, "row ", ROW_BYTES);
	assert_int_equal(live(folder, 0, false, &reached), CATCHUP_OK);
	test_folder_remove(folder);
	folder = test_folder_make();
	world_write_consumers(folder);
	world_insert(folder, ROWS, "row ", ROW_BYTES);
	alloc_fail(0, false);
	assert_int_equal(inside_run(folder, &small_batches, &(struct catchup_error){0}), CATCHUP_OK);
	steps = proof_steps_start(alloc_count(), PROOF_PLAIN ? 19 : PROOF_SANITIZED ? 997 : 293);
	test_folder_remove(folder);
	started = proof_steps_take(&steps, fail_some, NULL);
	proof_result("%ld of %ld allocations failed, once and from then on; %ld of these %ld runs had started, "
		     "and went on",
		steps.done, steps.total, started, 2 * steps.done);
	assert_true(started > 0 && started < 2 * steps.done);
}

static int set_up(void **state)
{
	(void)state;
	proof_use_memory();
	alloc_install();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation_fails),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
