/* SPDX-License-Identifier: MIT */
/* Stories of a plan: what a consumer that takes rows one by one does with them, until it stops. */
#include "plan_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* ---- rows --------------------------------------------------------------------------------- */

static void rows_and_watermark_commit_together(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 3);

	(void)state;
	start(s);
	run(s);
	told(s, " open load=0 rewind range(0,3] fetch(0,3] begin row1 row2 row3 commit(0,3]");
	run(s);
	told(s, "");
	row(s, 4, WORLD_GOOD);
	run(s);
	told(s, " range(3,4] fetch(3,4] begin row4 commit(3,4]");
	assert_int_equal(s->world.counts.applied, 4);
}

static void an_empty_source_costs_nothing(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 0);

	(void)state;
	start(s);
	run(s);
	told(s, " open load=0 rewind");
	assert_true(s->process->action.until_ns == CU_FOREVER);
}

static void a_batch_holds_no_more_rows_than_allowed(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 5);

	(void)state;
	s->config.batch_rows = 2;
	must_tell(s, " range(0,5] fetch(0,5] begin row1 row2 commit(0,2]"
		" fetch(2,5] begin row3 row4 commit(2,4] fetch(4,5] begin row5 commit(4,5]");
}

static void a_batch_ends_when_its_time_is_up(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	start_and_open(s);
	run_until(s, CU_ACTION_DELIVER);
	s->world.now_ns += 10 * CU_NS_PER_MS; /* of 20 */
	world_step(s->process);
	s->world.now_ns += 8 * CU_NS_PER_MS;
	world_step(s->process);
	s->world.now_ns += 1 * CU_NS_PER_MS; /* the commit needs some too */
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1 row2 row3 commit(0,3]"
		" fetch(3,4] begin row4 commit(3,4]");
}

/* The plan stands in a batch, with a row in hand. */
static const struct cu_plan standing = {
	.seen = 10,
	.row = 11,
	.available = 100,
	.target_rows = 1000,
	.batch_rows = 10,
	.clock_every = 16,
	.rows_since_clock = 3,
};

static void rows_run_up_to_the_next_look_at_the_clock(void **state)
{
	struct cu_plan plan = standing;
	struct cu_plan_run run = cu_plan_run(&plan, false);

	(void)state;
	assert_int_equal(run.most, 12);
	assert_false(cu_plan_wants_clock(&plan));
	for (int64_t id = 20; cu_plan_run_goes_on(&run, id); id++) {
		run.rows++;
		run.passed += id % 3 == 0;
		run.parked += id == 22;
		run.seen = run.row;
		run.row = id;
	}
	assert_int_equal(run.rows, 12);
	cu_plan_ran(&plan, &run);
	assert_true(cu_plan_wants_clock(&plan));
	assert_int_equal(plan.seen, 30);
	assert_int_equal(plan.goal, 30);
	assert_int_equal(plan.row, 31);
	assert_int_equal(plan.batch_rows, 22);
	assert_int_equal(plan.since_fetch, 12);
	assert_int_equal(plan.counts.offered, 12);
	assert_int_equal(plan.counts.passed, 4);
	assert_int_equal(plan.counts.parked, 1);
	assert_int_equal(plan.counts.applied, 7);
}

static void a_run_goes_no_further_than_the_batch(void **state)
{
	struct cu_plan full = standing, barred = standing, alone = standing;
	struct cu_plan_run run;

	(void)state;
	full.target_rows = 13;
	assert_int_equal(cu_plan_run(&full, false).most, 2);
	full.target_rows = 11;
	assert_int_equal(cu_plan_run(&full, false).most, 0);
	alone.alone = true;
	assert_int_equal(cu_plan_run(&alone, false).most, 0);
	assert_int_equal(cu_plan_run(&standing, true).most, 0);

	run = cu_plan_run(&standing, false);
	assert_true(cu_plan_run_goes_on(&run, 100));
	assert_false(cu_plan_run_goes_on(&run, 101));
	assert_false(cu_plan_run_goes_on(&run, 11));
	assert_false(cu_plan_run_goes_on(&run, 0));
	barred.barrier = 50;
	run = cu_plan_run(&barred, false);
	assert_true(cu_plan_run_goes_on(&run, 49));
	assert_false(cu_plan_run_goes_on(&run, 50));
}

static void the_highest_id_of_all_is_processed(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	row(s, INT64_MAX, WORLD_GOOD);
	must_tell(s, " range(0,9223372036854775807] fetch(0,9223372036854775807] begin row1"
		" row9223372036854775807 commit(0,9223372036854775807]");
}

static void a_query_with_a_limit_is_asked_until_it_returns_nothing(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 5);

	(void)state;
	s->config.requery = true;
	s->world.limit = 2;
	row(s, 2, WORLD_HIDDEN);
	row(s, 5, WORLD_HIDDEN);
	must_tell(s, " range(0,5] fetch(0,5] begin row1 row3 fetch(3,5] row4 fetch(4,5] commit(0,5]");
}

static void a_query_that_returns_nothing_moves_the_watermark_all_the_same(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	s->config.requery = true;
	row(s, 1, WORLD_HIDDEN);
	row(s, 2, WORLD_HIDDEN);
	must_tell(s, " range(0,2] fetch(0,2] begin commit(0,2]");
	assert_int_equal(s->world.counts.offered, 0);
}

static void what_is_passed_over_is_counted(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 3);

	(void)state;
	row(s, 2, WORLD_PASSED);
	must_tell(s, " range(0,3] fetch(0,3] begin row1 row2 row3 commit(0,3]");
	assert_int_equal(s->world.counts.offered, 3);
	assert_int_equal(s->world.counts.passed, 1);
}

/* ---- stopping ----------------------------------------------------------------------------- */

static void stopping_commits_what_is_in_hand(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	start_and_open(s);
	run_until(s, CU_ACTION_DELIVER);
	world_step(s->process);
	s->process->stopping = true;
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1 row2 commit(0,2] stop:0");
}

static void stopping_believes_a_limit_no_more_than_before(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	s->config.requery = true;
	s->world.limit = 2;
	start_and_open(s);
	run_until(s, CU_ACTION_DELIVER);
	world_step(s->process);
	s->process->stopping = true;
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1 row2 commit(0,2] stop:0");
}

static void stopping_does_not_wait_for_anything(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(3, 60000, 60000)", 1);

	(void)state;
	row(s, 1, WORLD_BAD);
	start_and_open(s);
	run_until(s, CU_ACTION_SLEEP);
	s->process->stopping = true;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort sleep!stopping stop:0");

	s = story_of(CU_PLAN_ROWS, "stop", 1);
	start_and_open(s);
	run_until(s, CU_ACTION_COMMIT);
	will_fail(s, CU_ACTION_COMMIT, CU_FAULT_BUSY);
	s->process->stopping = true;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1 commit(0,1]!busy abort stop:0");
}

static void a_row_that_fails_while_stopping_still_says_so(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	row(s, 1, WORLD_BAD);
	start_and_open(s);
	run_until(s, CU_ACTION_DELIVER);
	s->process->stopping = true;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort stop:8@1");
}

/* ---- feeding ------------------------------------------------------------------------------ */

static void nobody_is_fed_before_saying_where_to_begin(void **state)
{
	struct cu_feed feed = {0};

	(void)state;
	assert_false(cu_feed_wants(&feed, 10));
	cu_feed_rewind(&feed, 5, 1);
	assert_false(cu_feed_wants(&feed, 5));
	assert_true(cu_feed_wants(&feed, 6));
	cu_feed_pushed(&feed, 6);
	assert_false(cu_feed_wants(&feed, 6));
	assert_false(cu_feed_wants(&feed, 3)); /* the newest rows were deleted */
	cu_feed_rewind(&feed, 2, 2);
	assert_true(cu_feed_wants(&feed, 3));
	assert_int_equal(feed.epoch, 2);
}

static void every_state_has_a_name(void **state)
{
	(void)state;
	for (int i = CU_STATE_OPENING; i <= CU_STATE_STOPPED; i++)
		assert_non_null(cu_plan_state_name((enum cu_plan_state)i));
	assert_string_equal(cu_plan_state_name(CU_STATE_DELIVERING), "delivering");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_and_watermark_commit_together),
		cmocka_unit_test(an_empty_source_costs_nothing),
		cmocka_unit_test(a_batch_holds_no_more_rows_than_allowed),
		cmocka_unit_test(a_batch_ends_when_its_time_is_up),
		cmocka_unit_test(rows_run_up_to_the_next_look_at_the_clock),
		cmocka_unit_test(a_run_goes_no_further_than_the_batch),
		cmocka_unit_test(the_highest_id_of_all_is_processed),
		cmocka_unit_test(a_query_with_a_limit_is_asked_until_it_returns_nothing),
		cmocka_unit_test(a_query_that_returns_nothing_moves_the_watermark_all_the_same),
		cmocka_unit_test(what_is_passed_over_is_counted),
		cmocka_unit_test(stopping_commits_what_is_in_hand),
		cmocka_unit_test(stopping_believes_a_limit_no_more_than_before),
		cmocka_unit_test(stopping_does_not_wait_for_anything),
		cmocka_unit_test(a_row_that_fails_while_stopping_still_says_so),
		cmocka_unit_test(nobody_is_fed_before_saying_where_to_begin),
		cmocka_unit_test(every_state_has_a_name),
	};

	return cmocka_run_group_tests_name("plan_rows", tests, NULL, NULL);
}
