/* SPDX-License-Identifier: MIT */
/*
 * Stories of a plan: what it does, action by action, told as one line of text.
 *
 *	open load=0 rewind        it opens, finds the watermark at 0 and asks to be fed from there
 *	range(0,3] fetch(0,3]     a range came, `next` is asked
 *	begin row1 row2!busy      a transaction; row 2 met a lock
 *	abort sleep               rolled back, a pause
 *	commit(0,3]               the watermark goes from 0 to 3, with all that was done
 *	stop:8@2                  stopped with code 8 (CATCHUP_CONSUMER) at row 2
 */
#include "plan_world.h"

#include "base/os.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MISHAPS_MAX 16

/* ---- telling stories ---------------------------------------------------------------------- */

struct story {
	struct world world;
	struct cu_plan_config config;
	struct world_process *process; /* the hero */
	char trace[16384];

	/* What goes wrong: the next action of the kind fails so, in this order. */
	struct {
		enum cu_action_kind kind;
		enum cu_fault fault;
	} mishaps[MISHAPS_MAX];
	size_t n_mishaps;
};

static enum cu_fault next_mishap(
	struct world_process *process, enum cu_action_kind kind, void *context)
{
	struct story *story = context;
	enum cu_fault fault;

	(void)process;
	if (story->n_mishaps == 0 || story->mishaps[0].kind != kind)
		return CU_FAULT_NONE;
	fault = story->mishaps[0].fault;
	memmove(story->mishaps, story->mishaps + 1, --story->n_mishaps * sizeof(story->mishaps[0]));
	return fault;
}

static void will_fail(struct story *story, enum cu_action_kind kind, enum cu_fault fault)
{
	assert_true(story->n_mishaps < MISHAPS_MAX);
	story->mishaps[story->n_mishaps].kind = kind;
	story->mishaps[story->n_mishaps++].fault = fault;
}

/* A source with the ids 1 to n. */
static struct story *story_of(enum cu_plan_kind kind, const char *policy, int64_t n)
{
	static struct story story;
	struct world *world = &story.world;

	memset(&story, 0, sizeof(story));
	world_init(world, 1);
	world->mishap = next_mishap;
	world->context = &story;
	world->eager = true;
	world->trace = story.trace;
	world->trace_bytes = sizeof(story.trace);
	story.config = (struct cu_plan_config){.kind = kind,
		.batch_rows = 100,
		.batch_ns = 20 * CU_NS_PER_MS,
		.lease_ns = 9 * CU_NS_PER_S,
		.locked_ns = 60 * CU_NS_PER_S,
		.seed = 1};
	assert_int_equal(cu_policy_parse(&story.config.policy, policy, NULL), CATCHUP_OK);
	for (int64_t id = 1; id <= n; id++)
		world_insert(world, id, WORLD_GOOD);
	story.process = &world->processes[0];
	return &story;
}

static struct world_row *row(struct story *story, int64_t id, enum world_nature nature)
{
	for (size_t i = 0; i < story->world.n_rows; i++) {
		if (story->world.rows[i].id == id) {
			story->world.rows[i].nature = nature;
			return &story->world.rows[i];
		}
	}
	return world_insert(&story->world, id, nature);
}

static void start(struct story *story)
{
	world_start(&story->world, 0, &story->config);
}

/* Goes on until the plan has nothing to do, or is about to do something. Pauses pass at once. */
static void run_until(struct story *story, enum cu_action_kind kind)
{
	struct world_process *process = story->process;

	for (int i = 0; i < 1000; i++) {
		if (process->action.kind == kind)
			return;
		if (world_step(process))
			continue;
		if (process->action.kind != CU_ACTION_SLEEP)
			return;
		story->world.now_ns = process->action.until_ns;
	}
	fail_msg("no end in 1000 steps: %.1000s", story->trace);
}

static void run(struct story *story)
{
	run_until(story, (enum cu_action_kind) - 1);
}

/* The trace since the last time, which must be this; and no promise may be broken. */
static void told(struct story *story, const char *expected)
{
	assert_string_equal(story->trace, expected);
	assert_string_equal(story->world.broken, "");
	story->trace[0] = '\0';
}

/* Everything up to the first wait, which is the same in most stories. */
static void start_and_open(struct story *story)
{
	start(story);
	run_until(story, CU_ACTION_WAIT);
	story->trace[0] = '\0';
}

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
	start_and_open(s);
	run(s);
	told(s, " range(0,5] fetch(0,5] begin row1 row2 commit(0,2]"
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

static void the_highest_id_of_all_is_processed(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	row(s, INT64_MAX, WORLD_GOOD);
	start_and_open(s);
	run(s);
	told(s, " range(0,9223372036854775807] fetch(0,9223372036854775807] begin row1"
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
	start_and_open(s);
	run(s);
	told(s, " range(0,5] fetch(0,5] begin row1 row3 fetch(3,5] row4 fetch(4,5] commit(0,5]");
}

static void a_query_that_returns_nothing_moves_the_watermark_all_the_same(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 2);

	(void)state;
	s->config.requery = true;
	row(s, 1, WORLD_HIDDEN);
	row(s, 2, WORLD_HIDDEN);
	start_and_open(s);
	run(s);
	told(s, " range(0,2] fetch(0,2] begin commit(0,2]");
	assert_int_equal(s->world.counts.offered, 0);
}

static void what_is_passed_over_is_counted(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 3);

	(void)state;
	row(s, 2, WORLD_PASSED);
	start_and_open(s);
	run(s);
	told(s, " range(0,3] fetch(0,3] begin row1 row2 row3 commit(0,3]");
	assert_int_equal(s->world.counts.offered, 3);
	assert_int_equal(s->world.counts.passed, 1);
}

/* ---- rows that fail ----------------------------------------------------------------------- */

static void a_bad_row_stops_its_consumer_right_before_it(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 4);

	(void)state;
	row(s, 3, WORLD_BAD);
	start_and_open(s);
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1 row2 row3!row abort"
		" fetch(0,4] begin row1 row2 commit(0,2] fetch(2,4] begin row3!row abort stop:8@3");
	assert_int_equal(s->world.watermark, 2);
}

static void a_bad_row_is_parked_and_the_rest_goes_on_together(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 5);

	(void)state;
	row(s, 2, WORLD_BAD);
	start_and_open(s);
	run(s);
	told(s, " range(0,5] fetch(0,5] begin row1 row2!row abort fetch(0,5] begin row1 commit(0,1]"
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
	start_and_open(s);
	run(s);
	told(s, " range(0,2] fetch(0,2] begin row1!row abort sleep"
		" fetch(0,2] begin row1!row abort sleep fetch(0,2] begin row1!row abort"
		" begin park1x3 commit(0,1] fetch(1,2] begin row2 commit(1,2]");
}

static void a_row_that_succeeds_at_last_is_not_parked(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(2, 10, 1000) then park", 2);

	(void)state;
	row(s, 1, WORLD_FLAKY)->flaky = 2;
	start_and_open(s);
	run(s);
	told(s, " range(0,2] fetch(0,2] begin row1!row abort sleep"
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
	start_and_open(s);
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1!row abort begin park1x1 commit(0,1]"
		" fetch(1,4] begin row2 row3 row4 commit(1,4]");
	assert_int_equal(s->world.counts.parked, 2);
	assert_int_equal(s->world.counts.applied, 2);
}

static void what_fails_at_the_commit_is_halved_until_the_row_stands_alone(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "park", 4);

	(void)state;
	row(s, 3, WORLD_LATE);
	start_and_open(s);
	run(s);
	told(s, " range(0,4] fetch(0,4] begin row1 row2 row3 row4 commit(0,4]!row abort"
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
	start_and_open(s);
	run(s);
	told(s, " range(0,2] fetch(0,2] begin row1 row2 commit(0,2]!row abort"
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

/* ---- the machine -------------------------------------------------------------------------- */

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
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	run_until(s, CU_ACTION_SLEEP);
	s->world.now_ns += s->config.locked_ns - CU_NS_PER_S;
	run_until(s, CU_ACTION_BEGIN);
	run_until(s, CU_ACTION_SLEEP);
	s->world.now_ns += CU_NS_PER_S;
	run(s);
	told(s, " range(0,1] fetch(0,1] begin!busy abort sleep fetch(0,1] begin!busy abort sleep"
		" fetch(0,1] begin!busy abort stop:6");
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

/* ---- other processes ---------------------------------------------------------------------- */

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
	start_and_open(s);
	run(s);
	told(s, " range(0,1] fetch(0,1] begin row1!row abort sleep renew sleep renew sleep"
		" fetch(0,1] begin row1 commit(0,1]");
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

/* ---- after a crash -------------------------------------------------------------------------- */

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
	run_until(s, CU_ACTION_BEGIN);
	will_fail(s, CU_ACTION_BEGIN, CU_FAULT_BUSY);
	world_step(s->process);
	s->process->stopping = true;
	run(s);
	s->trace[0] = '\0';
	start(s);
	run(s);
	told(s, " open lease=3 load=0 rewind range(0,2] fetch(0,2] mark1x2 begin row1 commit(0,1]"
		" fetch(1,2] begin row2 commit(1,2]");
}

static void a_row_that_fails_in_care_is_tried_again_under_one_mark(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "retry(2, 10, 10) stop", 1);

	(void)state;
	s->config.lease = true;
	row(s, 1, WORLD_FLAKY)->flaky = 2;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	s->trace[0] = '\0';
	will_fail(s, CU_ACTION_MARK, CU_FAULT_BUSY);
	run(s);
	told(s, " open lease=2 load=0 rewind range(0,1] fetch(0,1] mark!busy abort sleep"
		" fetch(0,1] mark1x2 begin row1!row abort sleep fetch(0,1] begin row1!row abort sleep"
		" fetch(0,1] begin row1 commit(0,1]");
}

static void a_mark_that_comes_too_late_is_not_written(void **state)
{
	struct story *s = story_of(CU_PLAN_ROWS, "stop", 1);

	(void)state;
	s->config.lease = true;
	start(s);
	run_until(s, CU_ACTION_DELIVER);
	world_crash(s->process);
	run_until(s, CU_ACTION_MARK);
	s->trace[0] = '\0';
	s->world.fence++; /* another process has it now */
	run(s);
	told(s, " mark1x2!lost abort lease=4 load=0 rewind range(0,1] fetch(0,1] mark1x2 begin row1"
		" commit(0,1]");
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

/* ---- ranges ------------------------------------------------------------------------------- */

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
	start_and_open(s);
	run(s);
	told(s, " range(0,5] cut2(0,5] begin apply(0,2] commit(0,2]"
		" cut2(2,5] begin apply(2,4] commit(2,4] begin apply(4,5] commit(4,5]");
}

static void a_set_is_halved_until_the_bad_row_stands_alone(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "park", 8);

	(void)state;
	row(s, 6, WORLD_BAD);
	start_and_open(s);
	run(s);
	told(s, " range(0,8] begin apply(0,8]!row abort"
		" cut4(0,8] begin apply(0,4] commit(0,4]"
		" cut4(4,8] begin apply(4,8]!row abort cut2(4,8] begin apply(4,6]!row abort"
		" cut1(4,8] begin apply(4,5] commit(4,5]"
		" cut1(5,8] begin apply(5,6]!row abort begin park6x1 commit(5,6]"
		" begin apply(6,8] commit(6,8]");
}

static void a_bad_row_of_a_set_stops_right_before_it(void **state)
{
	struct story *s = story_of(CU_PLAN_RANGE, "retry(1, 10, 10)", 3);

	(void)state;
	row(s, 2, WORLD_LATE);
	start_and_open(s);
	run(s);
	told(s, " range(0,3] begin apply(0,3] commit(0,3]!row abort"
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
		cmocka_unit_test(the_highest_id_of_all_is_processed),
		cmocka_unit_test(a_query_with_a_limit_is_asked_until_it_returns_nothing),
		cmocka_unit_test(a_query_that_returns_nothing_moves_the_watermark_all_the_same),
		cmocka_unit_test(what_is_passed_over_is_counted),
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
		cmocka_unit_test(faults_of_the_machine_never_park),
		cmocka_unit_test(a_commit_that_failed_in_doubt_is_looked_up_on_a_new_connection),
		cmocka_unit_test(a_lock_is_waited_for_without_opening_anew),
		cmocka_unit_test(a_lock_that_lasts_stops_the_consumer),
		cmocka_unit_test(two_short_locks_are_not_one_long_one),
		cmocka_unit_test(pauses_grow_and_stay_bounded),
		cmocka_unit_test(a_fault_while_parking_does_not_change_what_is_parked),
		cmocka_unit_test(a_changed_schema_is_prepared_for_once_more),
		cmocka_unit_test(what_cannot_get_better_stops_at_once),
		cmocka_unit_test(a_watermark_that_another_process_moved_is_loaded_anew),
		cmocka_unit_test(a_watermark_moved_outside_the_plan_is_loaded_anew),
		cmocka_unit_test(a_reader_that_cannot_be_told_where_to_begin_is_told_again),
		cmocka_unit_test(ranges_of_an_earlier_life_are_not_believed),
		cmocka_unit_test(a_lease_that_another_process_has_is_waited_for),
		cmocka_unit_test(who_lost_the_lease_commits_nothing),
		cmocka_unit_test(a_lease_is_renewed_at_work_and_at_rest),
		cmocka_unit_test(a_commit_just_before_it_is_due_does_not_count_as_a_renewal),
		cmocka_unit_test(a_long_pause_between_tries_does_not_cost_the_lease),
		cmocka_unit_test(a_lease_lost_in_a_pause_ends_the_pause),
		cmocka_unit_test(a_deadly_row_stops_its_consumer_after_three_crashes),
		cmocka_unit_test(a_deadly_row_is_parked_where_rows_are_parked),
		cmocka_unit_test(a_deadly_row_of_a_set_is_found_alone),
		cmocka_unit_test(who_asks_for_care_knows_the_row_at_the_first_crash),
		cmocka_unit_test(care_ends_where_the_last_batch_can_have_ended),
		cmocka_unit_test(a_guess_that_was_too_small_is_not_believed_again),
		cmocka_unit_test(who_marked_a_row_and_took_leave_has_not_died_of_it),
		cmocka_unit_test(a_row_that_fails_in_care_is_tried_again_under_one_mark),
		cmocka_unit_test(a_mark_that_comes_too_late_is_not_written),
		cmocka_unit_test(stopping_commits_what_is_in_hand),
		cmocka_unit_test(stopping_believes_a_limit_no_more_than_before),
		cmocka_unit_test(stopping_does_not_wait_for_anything),
		cmocka_unit_test(a_row_that_fails_while_stopping_still_says_so),
		cmocka_unit_test(ranges_that_are_at_hand_are_applied_as_one),
		cmocka_unit_test(a_set_is_cut_to_the_rows_allowed),
		cmocka_unit_test(a_set_is_halved_until_the_bad_row_stands_alone),
		cmocka_unit_test(a_bad_row_of_a_set_stops_right_before_it),
		cmocka_unit_test(a_set_that_fails_without_rows_has_an_end),
		cmocka_unit_test(tries_without_rows_are_counted_from_commit_to_commit),
		cmocka_unit_test(sets_grow_while_they_are_quick_and_shrink_when_slow),
		cmocka_unit_test(nobody_is_fed_before_saying_where_to_begin),
		cmocka_unit_test(every_state_has_a_name),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
