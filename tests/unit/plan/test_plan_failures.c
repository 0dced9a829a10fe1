/* SPDX-License-Identifier: MIT */
/* Stories of a plan: rows that fail, and what their policy makes of them. */
#include "plan_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_bad_row_stops_its_consumer_right_before_it(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	row(s, 3, WORLD_BAD);
	must_tell(s, " range(0,4] fetch(0,4] begin row1 row2 row3!row abort"
		" fetch(0,4] begin row1 row2 commit(0,2] fetch(2,4] begin row3!row abort stop:8@3");
	assert_int_equal(s->world.watermark, 2);
}

static void a_bad_row_is_parked_and_the_rest_goes_on_together(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 5);

	(void)state;
	row(s, 2, WORLD_BAD);
	must_tell(s, " range(0,5] fetch(0,5] begin row1 row2!row abort fetch(0,5] begin row1 commit(0,1]"
		" fetch(1,5] begin row2!row abort begin park2x1 commit(1,2]"
		" fetch(2,5] begin row3 row4 row5 commit(2,5]");
	assert_int_equal(s->world.counts.parked, 1);
	assert_int_equal(s->world.counts.retries, 2);
}

static void a_row_is_tried_again_after_pauses_and_then_parked(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(2, 10, 1000) then park", 2);

	(void)state;
	row(s, 1, WORLD_BAD);
	must_tell(s, " range(0,2] fetch(0,2] begin row1!row abort sleep"
		" fetch(0,2] begin row1!row abort sleep fetch(0,2] begin row1!row abort"
		" begin park1x3 commit(0,1] fetch(1,2] begin row2 commit(1,2]");
}

static void a_row_that_succeeds_at_last_is_not_parked(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(2, 10, 1000) then park", 2);

	(void)state;
	row(s, 1, WORLD_FLAKY)->flaky = 2;
	must_tell(s, " range(0,2] fetch(0,2] begin row1!row abort sleep"
		" fetch(0,2] begin row1!row abort sleep"
		" fetch(0,2] begin row1 commit(0,1] fetch(1,2] begin row2 commit(1,2]");
}

static void attempts_of_a_deleted_row_are_not_the_next_ones(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(1, 10, 1000) then park", 2);

	(void)state;
	row(s, 1, WORLD_BAD);
	row(s, 2, WORLD_FLAKY)->flaky = 1;
	start_and_open(s);
	run_until(s, CU_ACTION_SLEEP);
	row(s, 1, WORLD_BAD)->deleted = true;
	run(s);
	told(s, " range(0,2] fetch(0,2] begin row1!row abort sleep"
		" fetch(0,2] begin row2!row abort sleep fetch(0,2] begin row2 commit(0,2]");
}

static void rows_with_a_parked_key_are_parked_behind_it(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park-key(k)", 4);

	(void)state;
	row(s, 1, WORLD_BAD)->key = 7;
	row(s, 3, WORLD_GOOD)->key = 7;
	must_tell(s, " range(0,4] fetch(0,4] begin row1!row abort begin park1x1 commit(0,1]"
		" fetch(1,4] begin row2 row3 row4 commit(1,4]");
	assert_int_equal(s->world.counts.parked, 2);
	assert_int_equal(s->world.counts.applied, 2);
}

static void what_fails_at_the_commit_is_halved_until_the_row_stands_alone(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 4);

	(void)state;
	row(s, 3, WORLD_LATE);
	must_tell(s, " range(0,4] fetch(0,4] begin row1 row2 row3 row4 commit(0,4]!row abort"
		" fetch(0,4] begin row1 row2 commit(0,2]"
		" fetch(2,4] begin row3 row4 commit(2,4]!row abort"
		" fetch(2,4] begin row3 commit(2,3]!row abort begin park3x1 commit(2,3]"
		" fetch(3,4] begin row4 commit(3,4]");
}

static void the_last_row_too_is_found_when_it_fails_at_the_commit(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	row(s, 2, WORLD_LATE);
	must_tell(s, " range(0,2] fetch(0,2] begin row1 row2 commit(0,2]!row abort"
		" fetch(0,2] begin row1 commit(0,1] fetch(1,2] begin row2 commit(1,2]!row abort"
		" stop:8@2");
}

static void batches_are_large_again_after_a_reload(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 4);

	(void)state;
	row(s, 1, WORLD_LATE);
	start_and_open(s);
	will_fail(s, CU_ACTION_PARK, CU_FAULT_IO);
	run_until(s, CU_ACTION_PARK);
	row(s, 1, WORLD_GOOD);
	s->trace[0] = '\0';
	run(s);
	told(s, " park!io abort sleep open load=0 rewind"
		" range(0,4] fetch(0,4] begin row1 row2 row3 row4 commit(0,4]");
}

static void a_row_that_cannot_even_be_parked_stops_its_consumer(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

	(void)state;
	row(s, 1, WORLD_BAD);
	start_and_open(s);
	will_fail(s, CU_ACTION_PARK, CU_FAULT_ROW);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort begin park!row abort stop:8");
}

static void a_dead_letter_that_cannot_be_committed_stops_too(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

	(void)state;
	row(s, 1, WORLD_BAD);
	start_and_open(s);
	will_fail(s, CU_ACTION_COMMIT, CU_FAULT_ROW);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort begin park1x1 commit(0,1]!row abort"
		" stop:8");
}

static void a_batch_that_cannot_begin_stops_its_consumer(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

	(void)state;
	start_and_open(s);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_ROW);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin!row abort stop:8");
}

static void a_query_that_fails_stops_its_consumer(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

	(void)state;
	start_and_open(s);
	will_fail(s, CU_ACTION_FETCH, CU_FAULT_ROW);
	run(s);
	told(s, " range(0,1] fetch(0,1]!row abort stop:8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bad_row_stops_its_consumer_right_before_it),
		cmocka_unit_test(a_bad_row_is_parked_and_the_rest_goes_on_together),
		cmocka_unit_test(a_row_is_tried_again_after_pauses_and_then_parked),
		cmocka_unit_test(a_row_that_succeeds_at_last_is_not_parked),
		cmocka_unit_test(attempts_of_a_deleted_row_are_not_the_next_ones),
		cmocka_unit_test(rows_with_a_parked_key_are_parked_behind_it),
		cmocka_unit_test(what_fails_at_the_commit_is_halved_until_the_row_stands_alone),
		cmocka_unit_test(the_last_row_too_is_found_when_it_fails_at_the_commit),
		cmocka_unit_test(batches_are_large_again_after_a_reload),
		cmocka_unit_test(a_row_that_cannot_even_be_parked_stops_its_consumer),
		cmocka_unit_test(a_dead_letter_that_cannot_be_committed_stops_too),
		cmocka_unit_test(a_batch_that_cannot_begin_stops_its_consumer),
		cmocka_unit_test(a_query_that_fails_stops_its_consumer),
	};

	return cmocka_run_group_tests_name("plan_failures", tests, NULL, NULL);
}
