/* SPDX-License-Identifier: MIT */
/*
 * plan_perform.c - performs what a plan asks for, as a database would; lies where it is told to.
 */
#include "base/os.h"
#include "plan_world_inside.h"

#include <inttypes.h>
#include <string.h>

/* ---- processing rows ----------------------------------------------------------------------- */

static bool key_is_parked(const struct world_process *process, const struct world_row *row)
{
	const struct world *world = process->world;

	if (process->plan.config.policy.key[0] == '\0')
		return false;
	for (size_t i = 0; i < world->n_rows; i++) {
		const struct world_row *other = &world->rows[i];

		if (other->key == row->key && world_fate_of(process, other) == WORLD_WAS_PARKED)
			return true;
	}
	return false;
}

/* Whether processing the row fails, and how. */
static enum cu_fault try_row(struct world_row *row)
{
	switch (row->nature) {
	case WORLD_BAD:
		row->failures++;
		return CU_FAULT_ROW;
	case WORLD_SLOW:
		row->failures++;
		return CU_FAULT_SLOW;
	case WORLD_FLAKY:
		if (row->flaky <= 0)
			return CU_FAULT_NONE;
		row->flaky--;
		row->failures++;
		return CU_FAULT_ROW;
	default:
		return CU_FAULT_NONE;
	}
}

/* ---- performing --------------------------------------------------------------------------- */

static int fault_code(enum cu_fault fault)
{
	switch (fault) {
	case CU_FAULT_BUSY:
		return CATCHUP_LOCKED;
	case CU_FAULT_FULL:
		return CATCHUP_FULL;
	case CU_FAULT_IO:
		return CATCHUP_IO;
	case CU_FAULT_MEMORY:
		return CATCHUP_NOMEM;
	case CU_FAULT_GONE:
		return CATCHUP_BACKWARDS;
	case CU_FAULT_DATABASE:
		return CATCHUP_DATABASE;
	default:
		return CATCHUP_CONSUMER;
	}
}

static void fail(
	struct world_process *process, struct cu_event *event, enum cu_fault fault, bool of_row)
{
	event->kind = CU_EVENT_FAULT;
	event->fault = fault;
	event->of_row = of_row;
	event->code = fault_code(fault);
	process->last_code = event->code;
	if (fault == CU_FAULT_BUSY && process->busy_since_ns == 0)
		process->busy_since_ns = event->now_ns;
	world_tell(process->world, "!%s", world_fault_name(fault));
}

static void perform_lease(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (world->lease_owner && world->lease_owner != process &&
		world->lease_until_ns > world->now_ns) {
		world_tell(world, "!denied");
		event->kind = CU_EVENT_DENIED;
		event->wait_ns = world->lease_until_ns - world->now_ns;
		return;
	}
	event->past = (struct cu_plan_past){.crashed = world->owner_died,
		.newest = world_newest(world),
		.in_hand = world->in_hand,
		.marked = world->marked,
		.attempts = world->attempts,
		.marked_by_it = world->owner_died && world->marked_fence == world->fence};
	event->past.attempts -= event->past.marked_by_it && world->mark_back && world->attempts > 0;
	world->owner_died = false;
	world->lease_owner = process;
	world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
	event->kind = CU_EVENT_LEASED;
	event->fence = ++world->fence;
	world_tell(world, "=%" PRId64, event->fence);
}

/* True: an event came. */
static bool perform_wait(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (process->stopping) {
		event->kind = CU_EVENT_STOPPING;
		return true;
	}
	if (process->moved) {
		process->moved = false;
		world_tell(world, " moved");
		event->kind = CU_EVENT_LOST;
		return true;
	}
	if (world->eager)
		world_read(process);
	if (cu_plan_wants_range(&process->plan) && process->ring_used > 0) {
		struct world_range range = process->ring[0];
		bool fresh = range.epoch == process->plan.epoch;

		memmove(process->ring, process->ring + 1,
			--process->ring_used * sizeof(process->ring[0]));
		if (fresh && range.hi > process->offered_hi)
			process->offered_hi = range.hi;
		world_tell(world,
			fresh ? " range(%" PRId64 ",%" PRId64 "]"
			      : " stale(%" PRId64 ",%" PRId64 "]",
			range.lo, range.hi);
		event->kind = CU_EVENT_RANGE;
		event->lo = range.lo;
		event->hi = range.hi;
		event->rows = range.rows;
		event->epoch = range.epoch;
		return true;
	}
	event->kind = CU_EVENT_TIME;
	return process->action.until_ns <= world->now_ns;
}

static void perform_fetch(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	bool skip = world->lie == WORLD_FETCH_SKIPS && world_dice(world, 8) == 0;
	uint32_t limit = world->limit ? world->limit : WORLD_ROWS_MAX;

	if (action->lo < world->watermark && process->n_effects == 0 && world->n_processes == 1)
		world_break(world, "next is asked from %" PRId64 ", below the watermark %" PRId64,
			action->lo, world->watermark);
	process->n_fetched = 0;
	process->at_fetched = 0;
	for (size_t i = world_above(world, action->lo); i < world->n_rows; i++) {
		const struct world_row *row = &world->rows[i];

		if (row->id > action->hi || process->n_fetched == limit)
			break;
		if (row->deleted || row->nature == WORLD_HIDDEN)
			continue;
		if (skip) {
			skip = false;
			continue;
		}
		process->fetched[process->n_fetched++] = row->id;
	}
	event->kind = process->n_fetched > 0 ? CU_EVENT_ROW : CU_EVENT_END;
	event->id = process->n_fetched > 0 ? process->fetched[0] : 0;
}

static bool dice_tears_mark(struct world *world)
{
	return world->mark_torn && world_dice(world, world->mark_torn) == 0;
}

/* In a commit of its own, behind which the lock may be another's. Returns whether it is not. */
static bool perform_mark(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (process->plan.fence != world->fence) {
		world_tell(world, "!lost");
		event->kind = CU_EVENT_LOST;
		return false;
	}
	world->marked = process->action.id;
	world->attempts = process->action.attempts;
	world->marked_fence = world->fence;
	world->mark_back = false;
	event->marked = true;
	process->mark_stuck = dice_tears_mark(world);
	if (process->mark_stuck)
		fail(process, event, CU_FAULT_BUSY, false);
	return !process->mark_stuck;
}

static void perform_begin(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (world->writer) {
		fail(process, event, CU_FAULT_BUSY, false);
		return;
	}
	if (process->action.id != 0 && !perform_mark(process, event))
		return;
	world->writer = process;
	process->n_effects = 0;
	process->last_id = world->watermark;
	process->began_ns = world->now_ns;
	event->kind = CU_EVENT_BEGUN;
	event->watermark = world->watermark;
	if (world->lie == WORLD_NO_COMPARE)
		event->watermark = process->plan.watermark;
	if (event->watermark != process->plan.watermark)
		world_tell(world, "=%" PRId64, event->watermark);
}

static void perform_deliver(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	int64_t id = process->plan.row;
	struct world_row *row = world_find(world, id);
	enum cu_fault fault;

	world_tell(world, "%" PRId64, id);
	if (world->writer != process || process->at_fetched >= process->n_fetched ||
		process->fetched[process->at_fetched] != id || !row) {
		world_break(
			world, "row %" PRId64 " is delivered and does not stand at the front", id);
		return;
	}
	if (world->row_ns)
		world->now_ns += world_dice(world, (uint32_t)world->row_ns);
	fault = world->mishap(process, CU_ACTION_DELIVER, world->context);
	if (fault == CU_FAULT_BUSY && world->lie == WORLD_SKIPS_ON_BUSY)
		fault = CU_FAULT_NONE;
	else if (fault != CU_FAULT_NONE && world->lie == WORLD_BLAMES_THE_ROW) {
		fail(process, event, CU_FAULT_ROW, true);
		return;
	} else if (fault != CU_FAULT_NONE) {
		fail(process, event, fault, world_dice(world, 2) == 0);
		return;
	} else if (key_is_parked(process, row)) {
		event->outcome = CU_OUTCOME_PARKED;
		world_note_effect(process, row, WORLD_WAS_PARKED);
	} else if (row->nature == WORLD_DEADLY) {
		world_crash(process);
		return;
	} else {
		fault = try_row(row);
		if (fault != CU_FAULT_NONE) {
			fail(process, event, fault, true);
			return;
		}
		event->outcome =
			row->nature == WORLD_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
		if (world->lie != WORLD_DROPS_A_ROW || world_dice(world, 8) != 0)
			world_note_effect(process, row,
				row->nature == WORLD_PASSED ? WORLD_WAS_PASSED : WORLD_WAS_APPLIED);
		if (world->lie == WORLD_DELIVERS_TWICE && world_dice(world, 8) == 0)
			world_note_effect(process, row, WORLD_WAS_APPLIED);
	}
	judge_bounds(process);
	event->kind = CU_EVENT_DELIVERED;
	event->now_ns = cu_plan_wants_clock(&process->plan) ? world->now_ns : process->told_now_ns;
	process->at_fetched++;
	event->id = process->at_fetched < process->n_fetched ? process->fetched[process->at_fetched]
							     : 0;
}

static void perform_apply(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	bool short_cut = world->lie == WORLD_CUTS_SHORT && world_dice(world, 8) == 0;

	for (size_t i = world_above(world, action->lo); i < world->n_rows; i++) {
		struct world_row *row = &world->rows[i];
		enum cu_fault fault;

		if (row->id > action->hi)
			break;
		if (row->deleted)
			continue;
		if (short_cut) {
			short_cut = false;
			continue;
		}
		if (world->row_ns)
			world->now_ns += world_dice(world, (uint32_t)world->row_ns);
		if (key_is_parked(process, row)) {
			world_note_effect(process, row, WORLD_WAS_PARKED);
			event->rows++;
			continue;
		}
		if (row->nature == WORLD_DEADLY) {
			world_crash(process);
			return;
		}
		fault = try_row(row);
		if (fault != CU_FAULT_NONE) {
			fail(process, event, fault, true);
			return;
		}
		world_note_effect(process, row, WORLD_WAS_APPLIED);
	}
	judge_bounds(process);
	event->now_ns = world->now_ns;
	event->kind = CU_EVENT_APPLIED;
}

static void perform_commit(
	struct world_process *process, struct cu_event *event, enum cu_fault fault)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	bool late = false;

	if (world->writer != process) {
		world_break(world, "a commit without a transaction");
		return;
	}
	if ((action->lo != world->watermark && world->lie != WORLD_NO_COMPARE) ||
		(process->plan.config.lease && process->plan.fence != world->fence)) {
		world_tell(world, "!lost");
		event->kind = CU_EVENT_LOST;
		return;
	}
	for (size_t i = 0; i < process->n_effects; i++) {
		if (process->effects[i].row->nature == WORLD_LATE &&
			process->effects[i].fate != WORLD_WAS_PARKED) {
			process->effects[i].row->failures++;
			late = true;
		}
	}
	if (late && fault == CU_FAULT_NONE)
		fault = CU_FAULT_ROW;
	else if (world->commit_survives && fault == CU_FAULT_IO)
		judge_commit(process, action->hi);
	if (fault != CU_FAULT_NONE) {
		fail(process, event, fault, false);
		return;
	}
	judge_commit(process, action->hi);
	world_end_transaction(process);
	process->busy_since_ns = 0;
	event->kind = CU_EVENT_COMMITTED;
	event->now_ns = world->now_ns;
}

static void perform_abort(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (world->lie == WORLD_ROLLBACK_KEEPS) {
		for (size_t i = 0; i < process->n_effects; i++)
			process->effects[i].row->fate = process->effects[i].fate;
	}
	world_end_transaction(process);
	if (process->action.unmark && process->plan.fence == world->fence) {
		process->mark_stuck = dice_tears_mark(world);
		world->mark_back = !process->mark_stuck;
		world_tell(world, process->mark_stuck ? "-stuck" : "-back");
	}
	event->kind = CU_EVENT_DONE;
}

static void perform_renew(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (process->plan.fence != world->fence) {
		world_tell(world, "!lost");
		event->kind = CU_EVENT_LOST;
		return;
	}
	world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
	event->kind = CU_EVENT_DONE;
	event->renewed_ns = world->kept_renewed_ns;
}

/* Actions whose success is all there is to it; what fails on its own is asked where it happens. */
static bool fails_by_mishap(enum cu_action_kind kind)
{
	return kind != CU_ACTION_ABORT && kind != CU_ACTION_SLEEP && kind != CU_ACTION_STOP &&
	       kind != CU_ACTION_DELIVER && kind != CU_ACTION_COMMIT;
}

static void perform(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;

	switch (action->kind) {
	case CU_ACTION_OPEN:
		event->kind = CU_EVENT_OPENED;
		break;
	case CU_ACTION_LEASE:
		perform_lease(process, event);
		break;
	case CU_ACTION_LOAD:
		event->kind = CU_EVENT_LOADED;
		event->watermark = world->watermark;
		process->busy_since_ns = 0;
		world_tell(world, "=%" PRId64, event->watermark);
		break;
	case CU_ACTION_REWIND:
		process->rewind_asked = true;
		process->rewind_from = action->lo;
		process->rewind_epoch = action->epoch;
		process->offered_hi = action->lo;
		event->kind = CU_EVENT_DONE;
		break;
	case CU_ACTION_CUT:
		event->hi = world_cut(world, action->lo, action->hi, action->rows, &event->rows);
		event->kind = CU_EVENT_CUT;
		break;
	case CU_ACTION_FETCH:
		perform_fetch(process, event);
		break;
	case CU_ACTION_BEGIN:
		perform_begin(process, event);
		break;
	case CU_ACTION_DELIVER:
		perform_deliver(process, event);
		break;
	case CU_ACTION_APPLY:
		perform_apply(process, event);
		break;
	case CU_ACTION_PARK:
		judge_park(process, event);
		break;
	case CU_ACTION_COMMIT:
		perform_commit(
			process, event, world->mishap(process, CU_ACTION_COMMIT, world->context));
		break;
	case CU_ACTION_ABORT:
		perform_abort(process, event);
		break;
	case CU_ACTION_RENEW:
		perform_renew(process, event);
		break;
	case CU_ACTION_SLEEP:
	case CU_ACTION_WAIT:
	case CU_ACTION_STOP:
		break;
	}
}

bool world_step(struct world_process *process)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	struct cu_event event = {.now_ns = world->now_ns, .stopping = process->stopping};
	enum cu_action_kind kind = action->kind;
	enum cu_fault fault = CU_FAULT_NONE;

	if (process->stopped)
		return false;
	world_trace_action(world, action);
	if (action->kind == CU_ACTION_STOP) {
		judge_stop(process);
		return false;
	}
	if (action->kind == CU_ACTION_SLEEP) {
		if (!process->stopping && world->now_ns < action->until_ns)
			return false;
		world_tell(world, process->stopping ? " sleep!stopping" : " sleep");
		event.kind = process->stopping ? CU_EVENT_STOPPING : CU_EVENT_TIME;
	} else if (fails_by_mishap(action->kind) && (fault = world->mishap(process, action->kind,
							     world->context)) != CU_FAULT_NONE) {
		fail(process, &event, fault, action->kind == CU_ACTION_APPLY);
	} else if (action->kind == CU_ACTION_WAIT) {
		if (!perform_wait(process, &event))
			return false;
	} else {
		perform(process, &event);
	}
	if (world->broken[0] != '\0')
		return false; /* what follows means nothing any more */
	if (process->action.kind == CU_ACTION_OPEN && kind != CU_ACTION_OPEN)
		return true; /* it has died, and begins anew */
	process->told_now_ns = event.now_ns;
	/* The short way and the long one must come to the same. */
	if (world_dice(world, 2) == 0 && cu_plan_goes_on(&process->plan, &event))
		process->action = (struct cu_action){.kind = CU_ACTION_DELIVER};
	else
		process->action = cu_plan_step(&process->plan, &event);
	return true;
}
