/* SPDX-License-Identifier: MIT */
/*
 * plan_judge.c - what a plan has promised, looked at wherever it can be broken.
 */
#include "base/os.h"
#include "plan_world_inside.h"

#include <inttypes.h>

/* ---- what became of rows ------------------------------------------------------------------ */

enum world_fate world_fate_of(const struct world_process *process, const struct world_row *row)
{
	for (size_t i = process->n_effects; i > 0; i--) {
		if (process->effects[i - 1].row == row)
			return process->effects[i - 1].fate;
	}
	return row->fate;
}

void world_note_effect(struct world_process *process, struct world_row *row, enum world_fate fate)
{
	struct world *world = process->world;

	if (world_fate_of(process, row) != WORLD_NOTHING) {
		world_break(world, "row %" PRId64 " is processed again", row->id);
		return;
	}
	if (row->id <= process->last_id)
		world_break(world, "row %" PRId64 " comes after row %" PRId64, row->id,
			process->last_id);
	process->last_id = row->id;
	process->effects[process->n_effects].row = row;
	process->effects[process->n_effects++].fate = fate;
}

static bool may_fail(const struct world_row *row)
{
	return row->nature == WORLD_BAD || row->nature == WORLD_SLOW || row->nature == WORLD_LATE ||
	       row->nature == WORLD_FLAKY || row->failures > 0 ||
	       row->crashes + 1 >= CU_PLAN_CRASHES_MAX;
}

static bool is_open(const struct world_row *row)
{
	return !row->deleted && row->nature != WORLD_HIDDEN && row->fate == WORLD_NOTHING;
}

/* ---- judging ------------------------------------------------------------------------------- */

/* Rows in a transaction are bounded, and so is the time until it ends: the plan may overlook no
 * more than a few rows. Time of other processes is not this one's. */
void judge_bounds(struct world_process *process)
{
	const struct cu_plan_config *config = &process->plan.config;
	struct world *world = process->world;

	if (process->n_effects > config->batch_rows)
		world_break(world, "%zu rows in a batch of %" PRIu32, process->n_effects,
			config->batch_rows);
	if (world->n_processes == 1 && config->kind == CU_PLAN_ROWS &&
		world->now_ns - process->began_ns > config->batch_ns + 18 * world->row_ns)
		world_break(world, "a batch has held the lock for %" PRId64 " ns",
			world->now_ns - process->began_ns);
}

void judge_park(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	const struct cu_policy *policy = &process->plan.config.policy;
	struct world_row *row = world_find(world, action->id);

	world_tell(world, "%" PRId64 "x%" PRIu32, action->id, action->attempts);
	event->kind = CU_EVENT_DONE;
	if (!row || !may_fail(row)) {
		world_break(world, "row %" PRId64 " is parked and is no bad row", action->id);
		return;
	}
	if (policy->end != CU_POLICY_PARK)
		world_break(world, "row %" PRId64 " is parked, which nobody asked for", row->id);
	if (action->crashes != 0) {
		/* The crash that was noticed first may have been its. */
		if (action->crashes != CU_PLAN_CRASHES_MAX || row->crashes + 1 < action->crashes)
			world_break(world, "row %" PRId64 " is parked for %" PRIu32
				" crashes, and there were %" PRIu32, row->id, action->crashes, row->crashes);
	} else if (action->attempts != policy->retries + 1 || row->failures < action->attempts)
		world_break(world,
			"row %" PRId64 " is parked after %" PRIu32
			" attempts; it has failed %" PRIu32 " times",
			row->id, action->attempts, row->failures);
	world_note_effect(process, row, WORLD_WAS_PARKED);
}

/* Judges a commit and makes it. */
void judge_commit(struct world_process *process, int64_t hi)
{
	struct world *world = process->world;
	const struct cu_plan_counts *add = &process->plan.counts;
	struct cu_plan_counts seen = {0};

	if (hi < world->watermark)
		world_break(world, "the watermark falls from %" PRId64 " to %" PRId64,
			world->watermark, hi);
	if (hi > process->offered_hi && hi > world->watermark)
		world_break(world,
			"the watermark rises to %" PRId64 ", and only %" PRId64 " was offered", hi,
			process->offered_hi);
	for (size_t i = 0; i < process->n_effects; i++) {
		struct world_row *row = process->effects[i].row;

		if (row->id > hi)
			world_break(world,
				"row %" PRId64 " is committed above the watermark %" PRId64,
				row->id, hi);
		if (row->fate != WORLD_NOTHING)
			world_break(world, "row %" PRId64 " is committed twice", row->id);
		row->fate = process->effects[i].fate;
		seen.applied += row->fate == WORLD_WAS_APPLIED;
		seen.passed += row->fate == WORLD_WAS_PASSED;
		seen.parked += row->fate == WORLD_WAS_PARKED;
	}
	for (size_t i = world_above(world, world->watermark); i < world->n_rows; i++) {
		if (world->rows[i].id > hi)
			break;
		if (is_open(&world->rows[i]))
			world_break(world, "row %" PRId64 " is lost below the watermark %" PRId64,
				world->rows[i].id, hi);
	}
	if (add->offered != add->applied + add->passed + add->parked || add->retries < 0)
		world_break(world, "counters do not add up");
	/* Rows of a set may be deleted after they were counted. */
	if (add->parked != seen.parked || add->passed != seen.passed ||
		add->applied < seen.applied ||
		(add->applied > seen.applied && process->plan.config.kind == CU_PLAN_ROWS))
		world_break(world,
			"counters tell of %" PRId64 "+%" PRId64 "+%" PRId64
			" rows, and there were %" PRId64 "+%" PRId64 "+%" PRId64,
			add->applied, add->passed, add->parked, seen.applied, seen.passed,
			seen.parked);
	if (world->lie == WORLD_TEARS && world_dice(world, 8) == 0)
		return;
	if (process->action.unmark) {
		world->marked = 0;
		world->attempts = 0;
	}
	if (process->action.ends_care)
		world->marked_fence = 0;
	if (process->action.in_hand >= 0)
		world->in_hand = (uint32_t)process->action.in_hand;
	world->watermark = hi;
	if (world->lie == WORLD_COMMITS_AHEAD && world_above(world, hi) < world->n_rows)
		world->watermark = world->rows[world_above(world, hi)].id;
	world->counts.offered += add->offered;
	world->counts.applied += add->applied;
	world->counts.passed += add->passed;
	world->counts.parked += add->parked;
	world->counts.retries += add->retries;
	if (process->action.renew)
		world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
}

/* A row that stops its consumer is the first that is not done, and had all its tries. */
void judge_stop(struct world_process *process)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	const struct cu_policy *policy = &process->plan.config.policy;
	struct world_row *row = action->id ? world_find(world, action->id) : NULL;

	process->stopped = true;
	/* Who stops gives its lease back. */
	if (world->lease_owner == process && process->plan.fence == world->fence) {
		world->lease_owner = NULL;
		world->owner_died = false;
	}
	world_tell(world, ":%d", action->stop_code);
	if (row)
		world_tell(world, "@%" PRId64, row->id);
	if (world->writer == process)
		world_break(world, "stopped within a transaction");
	if (action->stop_code == CATCHUP_LOCKED &&
		(process->busy_since_ns == 0 ||
			world->now_ns - process->busy_since_ns < process->plan.config.locked_ns))
		world_break(world, "stopped because of a lock that did not last");
	if (action->stop_code != CATCHUP_OK && action->crashes == 0 &&
		action->stop_code != process->last_code)
		world_break(world, "stopped with code %d, but the fault's was %d",
			action->stop_code, process->last_code);
	if (action->stop_code == CATCHUP_OK || action->id == 0)
		return;
	if (!row || !may_fail(row) ||
		(action->crashes ? row->crashes + 1 < action->crashes : row->failures < policy->retries + 1))
		world_break(world, "stopped at row %" PRId64 ", which is not to blame", action->id);
	else if (policy->end != CU_POLICY_STOP)
		world_break(
			world, "stopped at row %" PRId64 ", which was to be parked", action->id);
	if (world->n_processes > 1)
		return;
	for (size_t i = world_above(world, world->watermark); i < world->n_rows; i++) {
		if (world->rows[i].id >= action->id)
			break;
		if (is_open(&world->rows[i]))
			world_break(world,
				"stopped at row %" PRId64 " with row %" PRId64 " not done",
				action->id, world->rows[i].id);
	}
}

void judge_end(struct world *world)
{
	const struct cu_plan_counts *counts = &world->counts;

	if (world->watermark < world_newest(world))
		world_break(world,
			"the watermark is at %" PRId64 ", and the newest row is %" PRId64,
			world->watermark, world_newest(world));
	for (size_t i = 0; i < world->n_rows && world->rows[i].id <= world->watermark; i++) {
		if (is_open(&world->rows[i]))
			world_break(world, "row %" PRId64 " was never done", world->rows[i].id);
	}
	if (counts->offered != counts->applied + counts->passed + counts->parked)
		world_break(world, "the sums do not add up");
}
