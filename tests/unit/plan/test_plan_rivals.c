/* SPDX-License-Identifier: MIT */
/* Stories of a plan: other processes: moved watermarks, readers, leases. */
#include "plan_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Another process does the rows up to an id. */
static void other_process_does(struct story *story, int64_t id)
{
	struct world *world = &story->world;

	for (size_t i = 0; i < world->n_rows && world->rows[i].id <= id; i++) {
		if (world->rows[i].fate == WORLD_NOTHING)
			world->rows[i].fate = WORLD_WAS_APPLIED;
	}
	world->watermark = id;
}

static void a_watermark_that_another_process_moved_is_loaded_anew(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 3);

	(void)state;
	start_and_open(s);
	run_until(s, CU_ACTION_BEGIN);
	other_process_does(s, 2);
	run(s);
	told(s, " range(0,3] fetch(0,3] begin=2 abort load=2 rewind"
		" range(2,3] fetch(2,3] begin row3 commit(2,3]");
}

static void a_watermark_moved_outside_the_plan_is_loaded_anew(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	start_and_open(s);
	other_process_does(s, 1);
	s->process->moved = true;
	run(s);
	told(s, " moved abort load=1 rewind range(1,2] fetch(1,2] begin row2 commit(1,2]");
}

static void a_reader_that_cannot_be_told_where_to_begin_is_told_again(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	start(s);
	will_fail(s, CU_ACTION_REWIND, CU_FAULT_IO);
	will_fail(s, CU_ACTION_REWIND, CU_FAULT_BUSY);
	run(s);
	told(s, " open load=0 rewind!io abort sleep open load=0 rewind!busy abort sleep"
		" load=0 rewind"
		" range(0,1] fetch(0,1] begin row1 commit(0,1]");
}

static void ranges_of_an_earlier_life_are_not_believed(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 3);

	(void)state;
	start_and_open(s);
	s->world.eager = false;
	world_read(s->process);
	run(s);
	s->trace[0] = '\0';
	row(s, 4, WORLD_GOOD);
	world_read(s->process);
	run_until(s, CU_ACTION_BEGIN);
	row(s, 5, WORLD_GOOD);
	world_read(s->process); /* before the reader hears of the new beginning */
	other_process_does(s, 4);
	s->world.eager = true;
	run(s);
	told(s, " range(3,4] fetch(3,4] begin=4 abort load=4 rewind"
		" stale(4,5] range(4,5] fetch(4,5] begin row5 commit(4,5]");
}

static void a_lease_that_another_process_has_is_waited_for(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	s->config.lease = true;
	s->world.lease_owner = &s->world.processes[1];
	s->world.lease_until_ns = s->world.now_ns + CU_NS_PER_S;
	start(s);
	run(s);
	told(s, " open lease!denied abort sleep lease=1 load=0 rewind"
		" range(0,1] fetch(0,1] begin row1 commit(0,1]");
}

static void who_lost_the_lease_commits_nothing(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	s->config.lease = true;
	start_and_open(s);
	run_until(s, CU_ACTION_COMMIT);
	s->world.fence++; /* it was stopped for long, and another process took over */
	run(s);
	told(s, " range(0,2] fetch(0,2] begin row1 row2 commit(0,2]!lost abort lease=3 load=0 "
		"rewind"
		" range(0,2] fetch(0,2] begin row1 row2 commit(0,2]");
}

static void a_lease_is_renewed_at_work_and_at_rest(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 0);

	(void)state;
	s->config.lease = true;
	start_and_open(s);
	assert_int_equal(s->process->action.until_ns - s->world.now_ns, 3 * CU_NS_PER_S);
	s->world.now_ns += 3 * CU_NS_PER_S;
	run(s);
	told(s, " renew");
	s->world.now_ns += 3 * CU_NS_PER_S;
	row(s, 1, WORLD_GOOD);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1 commit(0,1]+renew");
	assert_int_equal(s->process->action.until_ns - s->world.now_ns, 3 * CU_NS_PER_S);
}

static void a_lease_that_another_keeps_renewed_is_asked_for_seldom(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 0);
	int64_t kept_ns;

	(void)state;
	s->config.lease = true;
	start_and_open(s);
	s->world.now_ns += 3 * CU_NS_PER_S;
	kept_ns = s->world.now_ns - CU_NS_PER_MS;
	s->world.kept_renewed_ns = kept_ns;
	run(s);
	/* Late enough for the other one to have done it twice more, and early enough to do it oneself. */
	assert_in_range(s->process->action.until_ns - kept_ns, 6 * CU_NS_PER_S + 1, 7 * CU_NS_PER_S);
	s->world.now_ns = s->process->action.until_ns;
	s->world.kept_renewed_ns = 0;
	run(s);
	told(s, " renew renew");
	assert_int_equal(s->process->action.until_ns - s->world.now_ns, 3 * CU_NS_PER_S);
}

static void a_commit_just_before_it_is_due_does_not_count_as_a_renewal(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);
	int64_t due_ns;

	(void)state;
	s->config.lease = true;
	start_and_open(s);
	due_ns = s->process->plan.renew_at_ns;
	s->world.now_ns = due_ns - 1;
	run_until(s, CU_ACTION_COMMIT);
	s->world.now_ns = due_ns + 1;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1 commit(0,1] renew");
}

static void a_long_pause_between_tries_does_not_cost_the_lease(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(1, 10000, 10000)", 1);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_FLAKY)->flaky = 1;
	must_tell(s, " range(0,1] fetch(0,1] begin row1!row abort sleep renew sleep renew sleep"
		" fetch(0,1] begin row1 commit(0,1]");
}

/* Whoever holds the lock then does not shorten what the row's policy gives it. */
static void a_lock_met_in_a_pause_does_not_end_the_pause(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(1, 10000, 10000)", 1);
	int64_t until_ns;

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_FLAKY)->flaky = 1;
	start_and_open(s);
	run_until(s, CU_ACTION_SLEEP);
	until_ns = s->process->plan.sleep_until_ns;
	will_fail(s, CU_ACTION_RENEW, CU_FAULT_BUSY);
	run_until(s, CU_ACTION_RENEW);
	run_until(s, CU_ACTION_SLEEP);
	assert_int_equal(s->process->plan.sleep_until_ns, until_ns);
	run_until(s, CU_ACTION_FETCH);
	assert_true(s->world.now_ns >= until_ns);
}

static void a_lease_lost_in_a_pause_ends_the_pause(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(1, 10000, 10000)", 1);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_FLAKY)->flaky = 1;
	start_and_open(s);
	run_until(s, CU_ACTION_SLEEP);
	s->world.fence++;
	run(s);
	s->world.now_ns = s->process->action.until_ns;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort sleep renew!lost abort"
		" lease=3 load=0 rewind range(0,1] fetch(0,1] begin row1 commit(0,1] renew");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_watermark_that_another_process_moved_is_loaded_anew),
		cmocka_unit_test(a_watermark_moved_outside_the_plan_is_loaded_anew),
		cmocka_unit_test(a_reader_that_cannot_be_told_where_to_begin_is_told_again),
		cmocka_unit_test(ranges_of_an_earlier_life_are_not_believed),
		cmocka_unit_test(a_lease_that_another_process_has_is_waited_for),
		cmocka_unit_test(who_lost_the_lease_commits_nothing),
		cmocka_unit_test(a_lease_is_renewed_at_work_and_at_rest),
		cmocka_unit_test(a_lease_that_another_keeps_renewed_is_asked_for_seldom),
		cmocka_unit_test(a_commit_just_before_it_is_due_does_not_count_as_a_renewal),
		cmocka_unit_test(a_long_pause_between_tries_does_not_cost_the_lease),
		cmocka_unit_test(a_lock_met_in_a_pause_does_not_end_the_pause),
		cmocka_unit_test(a_lease_lost_in_a_pause_ends_the_pause),
	};

	return cmocka_run_group_tests_name("plan_rivals", tests, NULL, NULL);
}
