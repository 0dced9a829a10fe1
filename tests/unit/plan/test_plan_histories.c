/* SPDX-License-Identifier: MIT */
/*
 * Generated histories of the plan: whatever happens, in whatever order, no row is lost and none is
 * applied twice, and when the mishaps end everything gets done.
 *
 * A history is made from one number. The first that fails is printed with its number, and
 *
 *	TEST_SEED=NUMBER build/tests/unit/plan/test_plan_histories
 *
 * runs that one alone and prints every action of it. TEST_HISTORIES=NUMBER runs so many.
 */
#include "plan_world.h"

#include "base/os.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Sanitizers are ten times slower, and look for other mistakes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HISTORIES 10000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HISTORIES 10000
#endif
#endif
#ifndef HISTORIES
#define HISTORIES 120000
#endif

/* More than any honest history needs once nothing goes wrong any more. */
#define QUIET_STEPS_MAX 8000

struct history {
	struct world world;
	struct cu_plan_config config;
	bool quiet;          /* mishaps are over */
	uint32_t mishaps_of; /* one action in so many fails; 0: none */
	uint32_t steps;
	/* seen, to be sure that the generator reaches what it is meant to reach */
	struct seen {
		int64_t commits, rows, parks, stops, crashes, losses, denials, faults, blames;
	} seen;
};

static enum cu_fault mishap(struct world_process *process, enum cu_action_kind kind, void *context)
{
	static const enum cu_fault common[] = {CU_FAULT_BUSY, CU_FAULT_BUSY, CU_FAULT_BUSY,
		CU_FAULT_FULL, CU_FAULT_IO, CU_FAULT_MEMORY};
	static const enum cu_fault rare[] = {
		CU_FAULT_SCHEMA, CU_FAULT_SCHEMA, CU_FAULT_STOP, CU_FAULT_GONE, CU_FAULT_DATABASE};
	struct history *h = context;
	struct world *world = process->world;

	if (h->quiet || h->mishaps_of == 0 || world_dice(world, h->mishaps_of) != 0)
		return CU_FAULT_NONE;
	/* A reader's bad news is the only thing that waiting fails with. */
	if (kind == CU_ACTION_WAIT)
		return world_dice(world, 20) == 0 ? CU_FAULT_GONE : CU_FAULT_NONE;
	h->seen.faults++;
	world->commit_survives = world_dice(world, 2) == 0;
	if (world_dice(world, 12) == 0)
		return rare[world_dice(world, sizeof(rare) / sizeof(rare[0]))];
	return common[world_dice(world, sizeof(common) / sizeof(common[0]))];
}

/* ---- making up ---------------------------------------------------------------------------- */

static void make_config(struct history *h)
{
	struct world *world = &h->world;
	struct cu_plan_config *config = &h->config;
	struct cu_policy *policy = &config->policy;
	uint32_t own = world_dice(world, 4);

	config->kind = world_dice(world, 3) == 0 ? CU_PLAN_RANGE : CU_PLAN_ROWS;
	config->requery = config->kind == CU_PLAN_ROWS && own >= 2;
	if (config->requery)
		world->limit = world_dice(world, 2) == 0 ? 0 : 1 + world_dice(world, 6);
	if (config->requery && world_dice(world, 3) == 0)
		world->own_max = 0;
	config->lease = world_dice(world, 3) == 0;
	config->batch_rows = world_dice(world, 4) == 0 ? 100 : 1 + world_dice(world, 10);
	config->batch_ns = 20 * CU_NS_PER_MS;
	config->lease_ns = (1000 + world_dice(world, 3000)) * CU_NS_PER_MS;
	config->locked_ns = world_dice(world, 4) == 0 ? 300 * CU_NS_PER_MS : 3600 * CU_NS_PER_S;
	config->seed = world_random(world);
	policy->end = world_dice(world, 3) == 0 ? CU_POLICY_STOP : CU_POLICY_PARK;
	policy->retries = world_dice(world, 2) == 0 ? 0 : world_dice(world, 4);
	policy->base_ns = CU_NS_PER_MS;
	policy->max_ns = 10 * CU_NS_PER_MS;
	if (policy->end == CU_POLICY_PARK && world_dice(world, 2) == 0)
		memcpy(policy->key, "key", 4);
	world->row_ns = world_dice(world, 2) == 0 ? 0 : CU_NS_PER_MS * (1 + world_dice(world, 8));
	h->mishaps_of = world_dice(world, 3) == 0 ? 0 : 4 + world_dice(world, 40);
	if (world->lie == WORLD_LIMIT_UNTOLD) {
		config->kind = CU_PLAN_ROWS;
		config->requery = false;
		world->limit = 1 + world_dice(world, 6);
	}
	if (world->lie == WORLD_CUTS_SHORT)
		config->kind = CU_PLAN_RANGE;
}

static void make_rows(struct history *h)
{
	static const enum world_nature odd[] = {WORLD_BAD, WORLD_SLOW, WORLD_LATE, WORLD_FLAKY};
	struct world *world = &h->world;
	int64_t gap = 1;

	for (uint32_t n = 1 + world_dice(world, 6); n > 0; n--) {
		struct world_row *row;

		switch (world_dice(world, 12)) {
		case 0:
			gap = (int64_t)(world_random(world) % UINT64_C(1000000000000000)) + 1;
			break;
		case 1:
			gap = 1 + world_dice(world, 1000000);
			break;
		case 2:
			if (world_dice(world, 40) == 0 && world->highest < INT64_MAX - 20)
				gap = INT64_MAX - 10 - world->highest;
			break;
		default:
			gap = 1 + world_dice(world, 3);
			break;
		}
		if (gap > INT64_MAX - world->highest)
			gap = INT64_MAX - world->highest;
		row = world_insert(world, world->highest + gap, WORLD_GOOD);
		if (!row)
			return;
		row->key = (int)world_dice(world, 4);
		if (world_dice(world, 10) == 0)
			row->nature = odd[world_dice(world, sizeof(odd) / sizeof(odd[0]))];
		else if (h->config.kind == CU_PLAN_ROWS && world_dice(world, 8) == 0)
			row->nature = WORLD_PASSED;
		else if (h->config.requery && world_dice(world, 3) == 0)
			row->nature = WORLD_HIDDEN;
		/* Without a lease a crash is not noticed. */
		if (h->config.lease && world_dice(world, 25) == 0)
			row->nature = WORLD_DEADLY;
		row->flaky = 1 + (int)world_dice(world, 4);
	}
}

/* The consumer's own `max` may lag behind what is there. */
static void move_own_max(struct world *world, bool to_the_end)
{
	int64_t newest = world->n_rows > 0 ? world->rows[world->n_rows - 1].id : 0;

	if (world->own_max < 0 || world->n_rows == 0)
		return;
	if (!to_the_end)
		newest = world->rows[world_dice(world, (uint32_t)world->n_rows)].id;
	if (newest > world->own_max)
		world->own_max = newest;
}

static void delete_row(struct world *world)
{
	if (world->n_rows > 0)
		world->rows[world_dice(world, (uint32_t)world->n_rows)].deleted = true;
}

/* ---- running ------------------------------------------------------------------------------ */

/* Somebody mends the row that stopped the consumer, and starts it again. */
static void mend_and_restart(struct history *h, struct world_process *process)
{
	struct world *world = &h->world;

	h->seen.stops++;
	h->seen.blames += process->action.crashes != 0;
	for (size_t i = 0; i < world->n_rows && process->action.id != 0; i++) {
		if (world->rows[i].id == process->action.id)
			world->rows[i].nature = WORLD_GOOD;
	}
	world_start(world, (size_t)(process - world->processes), &h->config);
}

/* Sleepers and waiters have nothing before the earliest of them: time flies. */
static void let_time_pass(struct world *world)
{
	int64_t until_ns = CU_FOREVER;

	for (size_t i = 0; i < world->n_processes; i++) {
		const struct cu_action *action = &world->processes[i].action;

		if ((action->kind == CU_ACTION_SLEEP || action->kind == CU_ACTION_WAIT) &&
			action->until_ns < until_ns)
			until_ns = action->until_ns;
	}
	if (until_ns != CU_FOREVER && until_ns > world->now_ns)
		world->now_ns = until_ns;
}

static void note_step(
	struct history *h, const struct world_process *process, enum cu_action_kind kind)
{
	enum cu_action_kind next = process->action.kind;

	h->seen.commits += kind == CU_ACTION_COMMIT && next != CU_ACTION_ABORT;
	h->seen.rows += kind == CU_ACTION_DELIVER && next != CU_ACTION_ABORT;
	h->seen.parks += kind == CU_ACTION_PARK && next == CU_ACTION_COMMIT;
	h->seen.blames += kind == CU_ACTION_PARK && process->plan.blamed != 0;
	h->seen.denials += kind == CU_ACTION_LEASE && next == CU_ACTION_ABORT;
	h->seen.losses += kind == CU_ACTION_BEGIN && next == CU_ACTION_ABORT;
}

/* Whether the process had something to do. */
static bool step(struct history *h, struct world_process *process)
{
	enum cu_action_kind kind = process->action.kind;

	h->steps++;
	if (world_step(process))
		note_step(h, process, kind);
	else if (process->stopped)
		mend_and_restart(h, process);
	else
		return false;
	return true;
}

static void run_wild(struct history *h)
{
	struct world *world = &h->world;
	uint32_t steps = 50 + world_dice(world, 350);

	while (steps-- > 0 && world->broken[0] == '\0') {
		struct world_process *process =
			&world->processes[world_dice(world, (uint32_t)world->n_processes)];
		uint32_t dice = world_dice(world, 256);

		if (dice < 10) {
			make_rows(h);
			move_own_max(world, false);
		} else if (dice < 14) {
			delete_row(world);
		} else if (dice < 16) {
			world_crash(process);
			h->seen.crashes++;
		} else if (dice < 18) {
			process->stopping = true;
		} else if (dice < 19) {
			process->moved = true;
		} else if (dice < 70) {
			world_read(process);
		} else if (!step(h, process) && world_dice(world, 4) == 0) {
			let_time_pass(world);
		}
	}
}

static void run_quiet(struct history *h)
{
	struct world *world = &h->world;
	uint32_t rest = 60;

	h->quiet = true;
	h->steps = 0;
	move_own_max(world, true);
	for (size_t i = 0; i < world->n_processes; i++)
		world->processes[i].stopping = false;
	while (world->broken[0] == '\0' && rest > 0) {
		bool busy = false;

		for (size_t i = 0; i < world->n_processes; i++) {
			world_read(&world->processes[i]);
			busy |= step(h, &world->processes[i]);
		}
		if (!busy)
			let_time_pass(world);
		if (world->watermark >= world_newest(world))
			rest--; /* whatever comes now must not break it again */
		if (h->steps > QUIET_STEPS_MAX)
			break;
	}
	if (world->broken[0] == '\0')
		judge_end(world);
}

/* A check of the plan's own that fails ends the process; then too the history must be known. */
static uint64_t seed_in_hand;

static void tell_seed(int signal_number)
{
	char line[80];
	int n = snprintf(line, sizeof(line), "replay with TEST_SEED=%" PRIu64 "\n", seed_in_hand);

	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		_exit(1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* Returns whether all went well; if not, world.broken says what did not. */
static bool run(
	struct history *h, uint64_t seed, enum world_lie lie, char *trace, size_t trace_bytes)
{
	struct world *world = &h->world;
	struct seen seen = h->seen;

	seed_in_hand = seed;
	memset(h, 0, sizeof(*h));
	h->seen = seen;
	world_init(world, seed);
	world->mishap = mishap;
	world->context = h;
	world->lie = lie;
	world->mark_torn = 8;
	world->trace = trace;
	world->trace_bytes = trace_bytes;
	make_config(h);
	for (size_t i = 0, n = 1 + world_dice(world, WORLD_PROCESSES_MAX); i < n; i++)
		world_start(world, i, &h->config);
	if (world_dice(world, 2) == 0)
		make_rows(h);
	run_wild(h);
	run_quiet(h);
	return world->broken[0] == '\0';
}

/* ---- tests -------------------------------------------------------------------------------- */

static uint64_t seed_of(uint64_t history)
{
	return history * UINT64_C(0x2545f4914f6cdd1d) + 1;
}

static void explain(struct history *h, uint64_t seed)
{
	static char trace[1 << 20];

	trace[0] = '\0';
	run(h, seed, WORLD_HONEST, trace, sizeof(trace));
	puts(trace); /* longer than what cmocka prints */
	for (size_t i = 0; i < h->world.n_rows; i++)
		print_message("row %" PRId64 " nature %d fate %d failures %" PRIu32 "%s\n",
			h->world.rows[i].id, h->world.rows[i].nature, h->world.rows[i].fate,
			h->world.rows[i].failures, h->world.rows[i].deleted ? " deleted" : "");
	print_message("watermark %" PRId64 ", %" PRIu32 " quiet steps: %s\n", h->world.watermark,
		h->steps, h->world.broken[0] ? h->world.broken : "all is well");
}

static void no_history_loses_or_doubles_a_row(void **state)
{
	static struct history h;
	const char *replay = getenv("TEST_SEED"), *more = getenv("TEST_HISTORIES");
	const uint64_t histories = more ? strtoull(more, NULL, 10) : HISTORIES;
	uint32_t most_steps = 0;
	const struct seen *seen = &h.seen;
	const int64_t n = (int64_t)histories;

	(void)state;
	if (replay) {
		explain(&h, strtoull(replay, NULL, 10));
		assert_string_equal(h.world.broken, "");
		return;
	}
	for (uint64_t i = 0; i < histories; i++) {
		if (!run(&h, seed_of(i), WORLD_HONEST, NULL, 0))
			fail_msg("%s (replay with TEST_SEED=%" PRIu64 ")", h.world.broken,
				seed_of(i));
		most_steps = h.steps > most_steps ? h.steps : most_steps;
	}
	print_message("%" PRIu64 " histories: %" PRId64 " rows, %" PRId64 " commits, %" PRId64
		      " parked, %" PRId64 " faults, %" PRId64 " crashes, %" PRId64
		      " stops, %" PRId64 " lost races, %" PRId64 " denied leases, %" PRId64
		      " deadly rows; at most %" PRIu32 " quiet steps\n",
		histories, seen->rows, seen->commits, seen->parks, seen->faults, seen->crashes,
		seen->stops, seen->losses, seen->denials, seen->blames, most_steps);
	/* A generator that has gone astray proves nothing. */
	assert_true(seen->rows > n && seen->commits > n);
	assert_true(seen->faults > n && seen->crashes > n / 2);
	assert_true(seen->parks > n / 8 && seen->stops > n / 8);
	assert_true(seen->losses > n / 8 && seen->denials > n / 8 && seen->blames > n / 50);
}

static void every_lie_is_found_out(void **state)
{
	static struct history h;
	static const char *const lies[] = {
		[WORLD_HONEST] = "honest",
		[WORLD_COMMITS_AHEAD] = "the watermark is written one row too high",
		[WORLD_DROPS_A_ROW] = "a delivered row is not processed",
		[WORLD_DELIVERS_TWICE] = "a row is processed twice",
		[WORLD_FETCH_SKIPS] = "next leaves a row out",
		[WORLD_LIMIT_UNTOLD] = "next has a LIMIT that the plan does not know of",
		[WORLD_ROLLBACK_KEEPS] = "results survive a rollback",
		[WORLD_TEARS] = "results are committed without the watermark",
		[WORLD_NO_COMPARE] = "the watermark is set without comparing",
		[WORLD_SKIPS_ON_BUSY] = "a busy database is taken for a delivered row",
		[WORLD_BLAMES_THE_ROW] = "errors of the machine are called the row's",
		[WORLD_CUTS_SHORT] = "a set-based batch leaves a row out",
	};

	(void)state;
	for (enum world_lie lie = WORLD_HONEST + 1; lie < WORLD_LIES_END; lie++) {
		uint64_t found = 0;

		for (uint64_t i = 1; i <= 500 && found == 0; i++) {
			if (!run(&h, seed_of(i), lie, NULL, 0))
				found = i;
		}
		if (found == 0)
			fail_msg("not found out in 500 histories: %s", lies[lie]);
		print_message("found out by history %" PRIu64 ": %s (\"%s\")\n", found, lies[lie],
			h.world.broken);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_history_loses_or_doubles_a_row),
		cmocka_unit_test(every_lie_is_found_out),
	};

	signal(SIGABRT, tell_seed);
	return cmocka_run_group_tests_name("plan histories", tests, NULL, NULL);
}
