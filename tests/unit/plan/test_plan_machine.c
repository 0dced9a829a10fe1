/* SPDX-License-Identifier: MIT */
/* Stories of a plan: trouble that is no row's. */
#include "plan_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void faults_of_the_machine_never_park(void **state)
{
	static const enum cu_fault faults[] = {CU_FAULT_FULL, CU_FAULT_IO, CU_FAULT_MEMORY};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

		start_and_open(s);
		for (int j = 0; j < 3; j++)
			will_fail(s, CU_ACTION_DELIVER, faults[i]);
		run(s);
		assert_int_equal(s->world.counts.applied, 1);
		assert_int_equal(s->world.counts.parked, 0);
	}
}

static void a_commit_that_failed_in_doubt_is_looked_up_on_a_new_connection(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	start_and_open(s);
	will_fail(s, CU_ACTION_COMMIT, CU_FAULT_IO);
	will_fail(s, CU_ACTION_COMMIT, CU_FAULT_IO);
	run_until(s, CU_ACTION_OPEN); /* it was not done */
	s->world.commit_survives = true;
	run(s); /* it was */
	told(s, " range(0,2] fetch(0,2] begin row1 row2 commit(0,2]!io abort sleep"
		" open load=0 rewind range(0,2] fetch(0,2] begin row1 row2 commit(0,2]!io abort "
		"sleep"
		" open load=2 rewind");
}

static void a_lock_is_waited_for_without_opening_anew(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	start_and_open(s);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	will_fail(s, CU_ACTION_DELIVER, CU_FAULT_BUSY);
	will_fail(s, CU_ACTION_COMMIT, CU_FAULT_BUSY);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin!busy abort sleep fetch(0,1] begin row1!busy abort "
		"sleep"
		" fetch(0,1] begin row1 commit(0,1]!busy abort sleep"
		" fetch(0,1] begin row1 commit(0,1]");
}

static void a_lock_that_lasts_stops_the_consumer(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	start_and_open(s);
	for (int i = 0; i < 5; i++)
		will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	for (int i = 0; i < 4; i++) {
		run_until(s, CU_ACTION_SLEEP);
		s->world.now_ns += s->config.locked_ns / 4 + (i < 3 ? -CU_NS_PER_S : 3 * CU_NS_PER_S);
		run_until(s, CU_ACTION_BEGIN);
	}
	run(s);
	told(s, " range(0,1] fetch(0,1] begin!busy abort sleep fetch(0,1] begin!busy abort sleep"
		" fetch(0,1] begin!busy abort sleep fetch(0,1] begin!busy abort sleep"
		" fetch(0,1] begin!busy abort stop:6");
}

static void a_stopped_process_has_not_met_a_lasting_lock(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	start_and_open(s);
	for (int i = 0; i < 3; i++)
		will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	for (int i = 0; i < 2; i++) {
		run_until(s, CU_ACTION_SLEEP);
		s->world.now_ns += 2 * s->config.locked_ns;
		run_until(s, CU_ACTION_BEGIN);
	}
	run(s);
	told(s, " range(0,1] fetch(0,1] begin!busy abort sleep fetch(0,1] begin!busy abort sleep"
		" fetch(0,1] begin!busy abort sleep fetch(0,1] begin row1 commit(0,1]");
}

static void two_short_locks_are_not_one_long_one(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 0);

	(void)state;
	start(s);
	will_fail(s, CU_ACTION_LOAD, CU_FAULT_BUSY);
	run(s);
	s->world.now_ns += 2 * s->config.locked_ns;
	row(s, 1, WORLD_GOOD);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	run(s);
	told(s, " open load!busy abort sleep load=0 rewind range(0,1] fetch(0,1] begin!busy abort "
		"sleep"
		" fetch(0,1] begin row1 commit(0,1]");
}

static void pauses_grow_and_stay_bounded(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);
	int64_t longest = 0;

	(void)state;
	start_and_open(s);
	for (int i = 0; i < 12; i++) {
		int64_t pause;

		will_fail(s, CU_ACTION_DELIVER, CU_FAULT_FULL);
		run_until(s, CU_ACTION_SLEEP);
		pause = s->process->action.until_ns - s->world.now_ns;
		assert_true(pause >= 25 * CU_NS_PER_MS && pause <= 2000 * CU_NS_PER_MS);
		longest = pause > longest ? pause : longest;
		run_until(s, CU_ACTION_OPEN);
	}
	assert_true(longest > 1000 * CU_NS_PER_MS);
	run(s);
	assert_int_equal(s->world.watermark, 1);
	/* What is over is over: the next pause is a short one. */
	row(s, 2, WORLD_GOOD);
	will_fail(s, CU_ACTION_DELIVER, CU_FAULT_FULL);
	run_until(s, CU_ACTION_SLEEP);
	assert_true(s->process->action.until_ns - s->world.now_ns <= 50 * CU_NS_PER_MS);
}

static void a_fault_while_parking_does_not_change_what_is_parked(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(1, 10, 10) then park", 3);

	(void)state;
	row(s, 2, WORLD_BAD);
	start_and_open(s);
	will_fail(s, CU_ACTION_PARK, CU_FAULT_BUSY);
	run(s);
	told(s, " range(0,3] fetch(0,3] begin row1 row2!row abort fetch(0,3] begin row1 commit(0,1]"
		" fetch(1,3] begin row2!row abort sleep fetch(1,3] begin row2!row abort"
		" begin park!busy abort sleep begin park2x2 commit(1,2]"
		" fetch(2,3] begin row3 commit(2,3]");
}

static void a_changed_schema_is_prepared_for_once_more(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	start_and_open(s);
	will_fail(s, CU_ACTION_FETCH, CU_FAULT_SCHEMA);
	run(s);
	told(s, " range(0,2] fetch(0,2]!schema abort sleep open load=0 rewind"
		" range(0,2] fetch(0,2] begin row1 row2 commit(0,2]");
	row(s, 3, WORLD_GOOD);
	will_fail(s, CU_ACTION_FETCH, CU_FAULT_SCHEMA);
	will_fail(s, CU_ACTION_FETCH, CU_FAULT_SCHEMA);
	run(s);
	told(s, " range(2,3] fetch(2,3]!schema abort sleep open load=2 rewind"
		" range(2,3] fetch(2,3]!schema abort stop:8");
}

static void what_cannot_get_better_stops_at_once(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++) {
		static const enum cu_fault faults[] = {
			CU_FAULT_DATABASE, CU_FAULT_GONE, CU_FAULT_STOP};
		static const char *const ends[] = {
			"!database abort stop:5", "!gone abort stop:9", "!stop abort stop:0"};
		char expected[100];
		struct story *s = story_of(CU_PLAN_ROWS, "park", 1);

		start_and_open(s);
		will_fail(s, CU_ACTION_COMMIT, faults[i]);
		run(s);
		snprintf(expected, sizeof(expected),
			" range(0,1] fetch(0,1] begin row1 commit(0,1]%s", ends[i]);
		told(s, expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults_of_the_machine_never_park),
		cmocka_unit_test(a_commit_that_failed_in_doubt_is_looked_up_on_a_new_connection),
		cmocka_unit_test(a_lock_is_waited_for_without_opening_anew),
		cmocka_unit_test(a_lock_that_lasts_stops_the_consumer),
		cmocka_unit_test(a_stopped_process_has_not_met_a_lasting_lock),
		cmocka_unit_test(two_short_locks_are_not_one_long_one),
		cmocka_unit_test(pauses_grow_and_stay_bounded),
		cmocka_unit_test(a_fault_while_parking_does_not_change_what_is_parked),
		cmocka_unit_test(a_changed_schema_is_prepared_for_once_more),
		cmocka_unit_test(what_cannot_get_better_stops_at_once),
	};

	return cmocka_run_group_tests_name("plan_machine", tests, NULL, NULL);
}
