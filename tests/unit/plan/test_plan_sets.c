/* SPDX-License-Identifier: MIT */
/* Stories of a plan: set-based consumers. */
#include "plan_story.h"

#include "base/os.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void ranges_that_are_at_hand_are_applied_as_one(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "stop", 2);

	(void)state;
	s->world.eager = false;
	start_and_open(s);
	world_read(s->process);
	row(s, 3, WORLD_GOOD);
	row(s, 4, WORLD_GOOD);
	world_read(s->process);
	run(s);
	told(s, " range(0,2] range(2,4] begin apply(0,4] commit(0,4]");
	assert_int_equal(s->world.counts.applied, 4);
}

static void a_set_is_cut_to_the_rows_allowed(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "stop", 5);

	(void)state;
	s->config.batch_rows = 2;
	must_tell(s, " range(0,5] cut2(0,5] begin apply(0,2] commit(0,2]"
		" cut2(2,5] begin apply(2,4] commit(2,4] begin apply(4,5] commit(4,5]");
}

static void a_set_is_halved_until_the_bad_row_stands_alone(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "park", 8);

	(void)state;
	row(s, 6, WORLD_BAD);
	must_tell(s, " range(0,8] begin apply(0,8]!row abort"
		" cut4(0,8] begin apply(0,4] commit(0,4]"
		" cut4(4,8] begin apply(4,8]!row abort cut2(4,8] begin apply(4,6]!row abort"
		" cut1(4,8] begin apply(4,5] commit(4,5]"
		" cut1(5,8] begin apply(5,6]!row abort begin park6x1 commit(5,6]"
		" begin apply(6,8] commit(6,8]");
}

static void a_set_that_takes_too_long_is_cut_into_rows_at_once(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "stop", 8);

	(void)state;
	row(s, 3, WORLD_SLOW);
	must_tell(s, " range(0,8] begin apply(0,8]!slow abort"
		" cut1(0,8] begin apply(0,1] commit(0,1]"
		" cut1(1,8] begin apply(1,2] commit(1,2]"
		" cut1(2,8] begin apply(2,3]!slow abort stop:8@3");
}

static void a_bad_row_of_a_set_stops_right_before_it(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "retry(1, 10, 10)", 3);

	(void)state;
	row(s, 2, WORLD_LATE);
	must_tell(s, " range(0,3] begin apply(0,3] commit(0,3]!row abort"
		" cut1(0,3] begin apply(0,1] commit(0,1]"
		" cut1(1,3] begin apply(1,2] commit(1,2]!row abort sleep"
		" cut1(1,3] begin apply(1,2] commit(1,2]!row abort stop:8@2");
}

static void a_set_that_fails_without_rows_has_an_end(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "retry(1, 10, 10) then park", 2);

	(void)state;
	start_and_open(s);
	for (int i = 0; i < 4; i++)
		will_fail(s, CU_ACTION_APPLY, CU_FAULT_SLOW);
	run_until(s, CU_ACTION_APPLY);
	row(s, 1, WORLD_GOOD)->deleted = true;
	row(s, 2, WORLD_GOOD)->deleted = true;
	run(s);
	told(s, " range(0,2] begin apply(0,2]!slow abort cut1(0,2] begin apply(0,2]!slow abort "
		"sleep"
		" cut1(0,2] begin apply(0,2]!slow abort stop:8");
}

static void tries_without_rows_are_counted_from_commit_to_commit(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "retry(1, 10, 10)", 0);

	(void)state;
	start_and_open(s);
	for (int64_t id = 1; id <= 2; id++) {
		row(s, id, WORLD_GOOD);
		run_until(s, CU_ACTION_BEGIN);
		row(s, id, WORLD_GOOD)->deleted = true;
		will_fail(s, CU_ACTION_APPLY, CU_FAULT_ROW);
		will_fail(s, CU_ACTION_APPLY, CU_FAULT_ROW);
		run(s);
	}
	told(s, " range(0,1] begin apply(0,1]!row abort cut1(0,1] begin apply(0,1]!row abort sleep"
		" cut1(0,1] begin apply(0,1] commit(0,1]"
		" range(1,2] begin apply(1,2]!row abort cut1(1,2] begin apply(1,2]!row abort sleep"
		" cut1(1,2] begin apply(1,2] commit(1,2]");
}

/* Applies sets of rows that take so long each, and notes how many were in each set. */
static void set_sizes(
	struct cu_plan *plan, int64_t *now_ns, int64_t row_ns, int sets, char *sizes, size_t bytes)
{
	struct cu_event event = {.kind = CU_EVENT_TIME};
	struct cu_action action;

	for (int committed = 0; committed < sets;) {
		event.now_ns = *now_ns;
		action = cu_plan_step(plan, &event);
		event = (struct cu_event){0};
		switch (action.kind) {
		case CU_ACTION_WAIT:
			event.kind = CU_EVENT_TIME;
			break;
		case CU_ACTION_CUT:
			event.kind = CU_EVENT_CUT;
			event.rows = action.rows;
			event.hi = action.lo + action.rows;
			break;
		case CU_ACTION_BEGIN:
			event.kind = CU_EVENT_BEGUN;
			event.watermark = plan->watermark;
			break;
		case CU_ACTION_APPLY:
			event.kind = CU_EVENT_APPLIED;
			*now_ns += (action.hi - action.lo) * row_ns;
			break;
		case CU_ACTION_COMMIT:
			event.kind = CU_EVENT_COMMITTED;
			*now_ns += CU_NS_PER_S; /* a slow disk is not the rows' fault */
			snprintf(sizes + strlen(sizes), bytes - strlen(sizes), " %" PRId64,
				action.hi - action.lo);
			committed++;
			break;
		default:
			fail_msg("action %d", (int)action.kind);
		}
	}
	event.now_ns = *now_ns;
	cu_plan_step(plan, &event);
}

static void sets_grow_while_they_are_quick_and_shrink_when_slow(void **state)
{
	const struct cu_plan_config config = {
		.kind = CU_PLAN_RANGE, .batch_rows = 5000, .batch_ns = 20 * CU_NS_PER_MS};
	struct cu_event event = {.kind = CU_EVENT_OPENED};
	struct cu_plan plan;
	char sizes[200] = "";
	int64_t now_ns = 1;

	(void)state;
	cu_plan_first(&plan, &config);
	cu_plan_step(&plan, &event);
	event.kind = CU_EVENT_LOADED;
	cu_plan_step(&plan, &event);
	event.kind = CU_EVENT_DONE;
	cu_plan_step(&plan, &event);
	event = (struct cu_event){
		.kind = CU_EVENT_RANGE, .hi = 1000000, .rows = 1000000, .epoch = plan.epoch};
	cu_plan_step(&plan, &event);
	set_sizes(&plan, &now_ns, 1000, 7, sizes, sizeof(sizes));
	assert_string_equal(sizes, " 256 512 1024 2048 4096 5000 5000");
	sizes[0] = '\0';
	set_sizes(&plan, &now_ns, 50000, 3, sizes, sizeof(sizes));
	assert_string_equal(sizes, " 5000 299 299");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_that_are_at_hand_are_applied_as_one),
		cmocka_unit_test(a_set_is_cut_to_the_rows_allowed),
		cmocka_unit_test(a_set_is_halved_until_the_bad_row_stands_alone),
		cmocka_unit_test(a_set_that_takes_too_long_is_cut_into_rows_at_once),
		cmocka_unit_test(a_bad_row_of_a_set_stops_right_before_it),
		cmocka_unit_test(a_set_that_fails_without_rows_has_an_end),
		cmocka_unit_test(tries_without_rows_are_counted_from_commit_to_commit),
		cmocka_unit_test(sets_grow_while_they_are_quick_and_shrink_when_slow),
	};

	return cmocka_run_group_tests_name("plan_sets", tests, NULL, NULL);
}
