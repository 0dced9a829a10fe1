/* SPDX-License-Identifier: MIT */
/* Stories of a plan: rows that crash the process. */
#include "plan_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void a_deadly_row_stops_its_consumer_after_three_crashes(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	s->config.lease = true;
	row(s, 3, WORLD_DEADLY);
	start(s);
	run(s);
	/* The first crash may have been each row's that was in hand. */
	told(s, " open lease=1 load=0 rewind range(0,4] fetch(0,4] begin row1 row2 row3 crash"
		" open lease=2 load=0 rewind range(0,4] fetch(0,4] mark1x2 begin row1 commit(0,1]"
		" fetch(1,4] mark2x2 begin row2 commit(1,2] fetch(2,4] mark3x2 begin row3 crash"
		" open lease=3 load=2 rewind range(2,4] fetch(2,4] mark3x3 begin row3 crash"
		" open lease=4 load=2 rewind range(2,4] fetch(2,4] abort stop:8@3");
	/* Somebody has mended it, or thinks so: it is tried once more before that is said again. */
	start(s);
	run(s);
	told(s, " open lease=5 load=2 rewind range(2,4] fetch(2,4] mark3x3 begin row3 crash"
		" open lease=6 load=2 rewind range(2,4] fetch(2,4] abort stop:8@3");
	row(s, 3, WORLD_GOOD);
	start(s);
	run(s);
	told(s, " open lease=7 load=2 rewind range(2,4] fetch(2,4] mark3x3 begin row3 commit(2,3]"
		" fetch(3,4] begin row4 commit(3,4]");
	assert_int_equal(s->world.marked, 0);
}

static void a_deadly_row_is_parked_where_rows_are_parked(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(5, 10, 10) park", 3);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_DEADLY);
	start(s);
	for (int i = 0; i < 3; i++) {
		run_until(s, CU_ACTION_DELIVER);
		run_until(s, CU_ACTION_OPEN);
	}
	s->trace[0] = '\0';
	run(s);
	/* What fails may be tried again; what kills may not. Care ends where the crash can have been. */
	told(s, " open lease=4 load=0 rewind range(0,3] fetch(0,3] abort begin park1x3 commit(0,1]"
		" fetch(1,3] mark2x1 begin row2 commit(1,2] fetch(2,3] mark3x1 begin row3 commit(2,3]");
	assert_int_equal(s->world.counts.parked, 1);
}

static void a_deadly_row_of_a_set_is_found_alone(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "park", 3);

	(void)state;
	s->config.lease = true;
	row(s, 2, WORLD_DEADLY);
	start(s);
	run(s);
	told(s, " open lease=1 load=0 rewind range(0,3] begin apply(0,3] crash"
		" open lease=2 load=0 rewind range(0,3] cut1(0,3] mark1x2 begin apply(0,1] commit(0,1]"
		" cut1(1,3] mark2x2 begin apply(1,2] crash"
		" open lease=3 load=1 rewind range(1,3] cut1(1,3] mark2x3 begin apply(1,2] crash"
		" open lease=4 load=1 rewind range(1,3] cut1(1,3] abort begin park2x3 commit(1,2]"
		" cut1(2,3] mark3x1 begin apply(2,3] commit(2,3]");
}

static void who_asks_for_care_knows_the_row_at_the_first_crash(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "careful park", 3);

	(void)state;
	s->config.lease = true;
	row(s, 2, WORLD_DEADLY);
	start(s);
	run(s);
	told(s, " open lease=1 load=0 rewind range(0,3] fetch(0,3] mark1x1 begin row1 commit(0,1]"
		" fetch(1,3] mark2x1 begin row2 crash"
		" open lease=2 load=1 rewind range(1,3] fetch(1,3] mark2x2 begin row2 crash"
		" open lease=3 load=1 rewind range(1,3] fetch(1,3] mark2x3 begin row2 crash"
		" open lease=4 load=1 rewind range(1,3] fetch(1,3] abort begin park2x3 commit(1,2]"
		" fetch(2,3] mark3x1 begin row3 commit(2,3]");
	/* A crash with no row in hand is no row's. */
	world_crash(s->process);
	world_insert(&s->world, 4, WORLD_GOOD);
	s->trace[0] = '\0';
	run(s);
	told(s, " open lease=5 load=3 rewind range(3,4] fetch(3,4] mark4x1 begin row4 commit(3,4]");
}

/* What it knew of an earlier crash is over: the next one counts for all rows of its batch again. */
static void a_crash_after_care_counts_like_the_first(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 2);

	(void)state;
	s->config.lease = true;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	s->trace[0] = '\0';
	run(s);
	told(s, " open lease=2 load=0 rewind range(0,2] fetch(0,2] mark1x2 begin row1 commit(0,1]"
		" fetch(1,2] mark2x2 begin row2 commit(1,2]");
	world_insert(&s->world, 3, WORLD_DEADLY);
	s->trace[0] = '\0';
	run(s);
	told(s, " range(2,3] fetch(2,3] begin row3 crash"
		" open lease=3 load=2 rewind range(2,3] fetch(2,3] mark3x2 begin row3 crash"
		" open lease=4 load=2 rewind range(2,3] fetch(2,3] mark3x3 begin row3 crash"
		" open lease=5 load=2 rewind range(2,3] fetch(2,3] abort begin park3x3 commit(2,3]");
}

static int count_marks(const struct story *s)
{
	int marks = 0;

	for (const char *p = s->trace; (p = strstr(p, " mark")); p++)
		marks++;
	return marks;
}

/* A kill from outside costs a few marks and nothing else. */
static void care_ends_where_the_last_batch_can_have_ended(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 40);

	(void)state;
	s->config.lease = true;
	s->config.batch_rows = 2;
	start(s);
	run_until(s, CU_ACTION_COMMIT);
	run_until(s, CU_ACTION_FETCH);
	s->process->plan.config.batch_rows = 100;
	world_crash(s->process);
	s->trace[0] = '\0';
	run(s);
	assert_int_equal(count_marks(s), 2 * 2 + 16);
	assert_int_equal(s->world.watermark, 40);
	assert_string_equal(s->world.broken, "");
}

static void a_guess_that_was_too_small_is_not_believed_again(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 40);

	(void)state;
	s->config.lease = true;
	s->config.batch_rows = 2;
	row(s, 30, WORLD_DEADLY);
	start(s);
	run_until(s, CU_ACTION_COMMIT);
	run_until(s, CU_ACTION_FETCH);
	s->process->plan.config.batch_rows = s->process->plan.target_rows = 100;
	run_until(s, CU_ACTION_OPEN);
	s->trace[0] = '\0';
	run_until(s, CU_ACTION_LEASE);
	run_until(s, CU_ACTION_OPEN);
	assert_int_equal(count_marks(s), 2 * 2 + 16);
	s->trace[0] = '\0';
	run(s);
	assert_int_equal(s->world.watermark, 40);
	assert_int_equal(s->world.counts.parked, 1);
	assert_string_equal(s->world.broken, "");
}

static void who_marked_a_row_and_took_leave_has_not_died_of_it(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	s->config.lease = true;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	s->world.mark_torn = 1;
	run_until(s, CU_ACTION_SLEEP);
	s->world.mark_torn = 0;
	s->process->stopping = true;
	run(s);
	s->trace[0] = '\0';
	start(s);
	run(s);
	told(s, " open lease=3 load=0 rewind range(0,2] fetch(0,2] mark1x2 begin row1 commit(0,1]"
		" fetch(1,2] begin row2 commit(1,2]");
}

static void a_row_that_fails_in_care_is_marked_only_while_it_is_tried(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(2, 10, 10) stop", 1);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_FLAKY)->flaky = 2;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	s->trace[0] = '\0';
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	run(s);
	/* Who waits for the lock has no mark that could be taken back. */
	told(s, " open lease=2 load=0 rewind range(0,1] fetch(0,1] mark1x2 begin!busy abort sleep"
		" fetch(0,1] mark1x2 begin row1!row abort-back sleep"
		" fetch(0,1] mark1x2 begin row1!row abort-back sleep"
		" fetch(0,1] mark1x2 begin row1 commit(0,1]");
}

/* However often it is killed beside a row that waits for its next try. */
static void kills_while_a_row_waits_are_not_counted(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "careful retry(9, 10, 10) park", 1);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_BAD);
	for (int i = 0; i < 5; i++) {
		start(s);
		run_until(s, CU_ACTION_SLEEP);
		world_crash(s->process);
		run_until(s, CU_ACTION_DELIVER);
		assert_int_equal(s->process->plan.crashes, 0);
	}
	s->trace[0] = '\0';
	run(s);
	assert_non_null(strstr(s->trace, " park1x10 commit(0,1]"));
	assert_string_equal(s->world.broken, "");
}

/* The lock is free between the commit of the mark and the row's transaction. */
static void a_mark_whose_lock_is_lost_is_taken_back(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "careful stop", 1);

	(void)state;
	s->config.lease = true;
	start(s);
	run_until(s, CU_ACTION_BEGIN);
	s->trace[0] = '\0';
	s->world.mark_torn = 1;
	world_step(s->process);
	s->world.mark_torn = 0;
	run_until(s, CU_ACTION_SLEEP);
	told(s, " mark1x1 begin!busy abort-back");
	world_crash(s->process);
	s->trace[0] = '\0';
	run(s);
	told(s, " open lease=2 load=0 rewind range(0,1] fetch(0,1] mark1x1 begin row1 commit(0,1]");
}

static void a_mark_that_comes_too_late_is_not_written(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	s->config.lease = true;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	run_until(s, CU_ACTION_BEGIN);
	s->trace[0] = '\0';
	s->world.fence++; /* another process has it now */
	run(s);
	told(s, " mark1x2 begin!lost abort lease=4 load=0 rewind range(0,1] fetch(0,1] mark1x2 begin row1"
		" commit(0,1]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_deadly_row_stops_its_consumer_after_three_crashes),
		cmocka_unit_test(a_deadly_row_is_parked_where_rows_are_parked),
		cmocka_unit_test(a_deadly_row_of_a_set_is_found_alone),
		cmocka_unit_test(who_asks_for_care_knows_the_row_at_the_first_crash),
		cmocka_unit_test(a_crash_after_care_counts_like_the_first),
		cmocka_unit_test(care_ends_where_the_last_batch_can_have_ended),
		cmocka_unit_test(a_guess_that_was_too_small_is_not_believed_again),
		cmocka_unit_test(who_marked_a_row_and_took_leave_has_not_died_of_it),
		cmocka_unit_test(a_row_that_fails_in_care_is_marked_only_while_it_is_tried),
		cmocka_unit_test(kills_while_a_row_waits_are_not_counted),
		cmocka_unit_test(a_mark_whose_lock_is_lost_is_taken_back),
		cmocka_unit_test(a_mark_that_comes_too_late_is_not_written),
	};

	return cmocka_run_group_tests_name("plan_crash", tests, NULL, NULL);
}
