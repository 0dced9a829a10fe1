/* SPDX-License-Identifier: MIT */
#include "plan_world.h"

#include "base/os.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- chance ------------------------------------------------------------------------------- */

uint64_t world_random(struct world *world)
{
	uint64_t z;

	world->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	z = world->random;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t world_dice(struct world *world, uint32_t n)
{
	return (uint32_t)(((world_random(world) >> 32) * n) >> 32);
}

/* ---- judging and telling ------------------------------------------------------------------ */

static void broken(struct world *world, const char *fmt, ...) CATCHUP_PRINTF(2, 3);
static void broken(struct world *world, const char *fmt, ...)
{
	va_list args;

	if (world->broken[0] != '\0')
		return;
	va_start(args, fmt);
	vsnprintf(world->broken, sizeof(world->broken), fmt, args);
	va_end(args);
}

static void trace(struct world *world, const char *fmt, ...) CATCHUP_PRINTF(2, 3);
static void trace(struct world *world, const char *fmt, ...)
{
	va_list args;
	size_t used;

	if (!world->trace)
		return;
	used = strlen(world->trace);
	va_start(args, fmt);
	vsnprintf(world->trace + used, world->trace_bytes - used, fmt, args);
	va_end(args);
}

static const char *fault_name(enum cu_fault fault)
{
	static const char *const names[] = {
		[CU_FAULT_NONE] = "none",
		[CU_FAULT_ROW] = "row",
		[CU_FAULT_BUSY] = "busy",
		[CU_FAULT_FULL] = "full",
		[CU_FAULT_IO] = "io",
		[CU_FAULT_MEMORY] = "memory",
		[CU_FAULT_SCHEMA] = "schema",
		[CU_FAULT_DATABASE] = "database",
		[CU_FAULT_SLOW] = "slow",
		[CU_FAULT_STOP] = "stop",
		[CU_FAULT_GONE] = "gone",
	};

	return names[fault];
}

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

/* ---- the source --------------------------------------------------------------------------- */

void world_init(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	world->random = seed;
	world->own_max = -1;
	world->now_ns = CU_NS_PER_S;
}

struct world_row *world_insert(struct world *world, int64_t id, enum world_nature nature)
{
	struct world_row *row;

	if (world->n_rows == WORLD_ROWS_MAX || id <= world->highest)
		return NULL;
	row = &world->rows[world->n_rows++];
	*row = (struct world_row){.id = id, .nature = nature};
	world->highest = id;
	return row;
}

/* Index of the first row with an id above `id`. */
static size_t above(const struct world *world, int64_t id)
{
	size_t lo = 0, hi = world->n_rows;

	while (lo < hi) {
		size_t middle = (lo + hi) / 2;

		if (world->rows[middle].id <= id)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

static struct world_row *find(struct world *world, int64_t id)
{
	size_t i = above(world, id);

	return i > 0 && world->rows[i - 1].id == id ? &world->rows[i - 1] : NULL;
}

int64_t world_newest(const struct world *world)
{
	if (world->own_max >= 0)
		return world->own_max;
	for (size_t i = world->n_rows; i > 0; i--) {
		if (!world->rows[i - 1].deleted)
			return world->rows[i - 1].id;
	}
	return 0;
}

/* Where a range of at most `most` rows above lo ends, and how many are in it. */
static int64_t cut(const struct world *world, int64_t lo, int64_t hi, uint32_t most, uint32_t *rows)
{
	*rows = 0;
	for (size_t i = above(world, lo); i < world->n_rows && world->rows[i].id <= hi; i++) {
		if (!world->rows[i].deleted && ++*rows == most)
			return world->rows[i].id;
	}
	return hi;
}

void world_read(struct world_process *process)
{
	struct world *world = process->world;
	int64_t newest = world_newest(world);
	struct world_range range;
	uint32_t most;

	if (process->rewind_asked) {
		cu_feed_rewind(&process->feed, process->rewind_from, process->rewind_epoch);
		process->rewind_asked = false;
	}
	if (!cu_feed_wants(&process->feed, newest) || process->ring_used == WORLD_RING_SLOTS)
		return;
	most = world->eager ? WORLD_ROWS_MAX : 1 + world_dice(world, 12);
	range = (struct world_range){.lo = process->feed.pushed, .epoch = process->feed.epoch};
	range.hi = cut(world, range.lo, newest, most, &range.rows);
	if (world->own_max >= 0)
		range.rows = UINT32_MAX;
	process->ring[process->ring_used++] = range;
	cu_feed_pushed(&process->feed, range.hi);
}

/* ---- processes ---------------------------------------------------------------------------- */

void world_start(struct world *world, size_t index, const struct cu_plan_config *config)
{
	struct world_process *process = &world->processes[index];

	memset(process, 0, sizeof(*process));
	process->world = world;
	process->action = cu_plan_first(&process->plan, config);
	if (index >= world->n_processes)
		world->n_processes = index + 1;
}

static void end_transaction(struct world_process *process)
{
	if (process->world->writer == process)
		process->world->writer = NULL;
	process->n_effects = 0;
	process->n_fetched = 0;
	process->at_fetched = 0;
}

void world_crash(struct world_process *process)
{
	struct cu_plan_config config = process->plan.config;
	struct world *world = process->world;

	trace(world, " crash");
	end_transaction(process);
	if (world->lease_owner == process && world_dice(world, 2) == 0)
		world->lease_until_ns = world->now_ns; /* seen to be gone; else it expires */
	world_start(world, (size_t)(process - world->processes), &config);
}

/* ---- what became of rows ------------------------------------------------------------------ */

static enum world_fate fate_of(const struct world_process *process, const struct world_row *row)
{
	for (size_t i = process->n_effects; i > 0; i--) {
		if (process->effects[i - 1].row == row)
			return process->effects[i - 1].fate;
	}
	return row->fate;
}

static void note_effect(struct world_process *process, struct world_row *row, enum world_fate fate)
{
	struct world *world = process->world;

	if (fate_of(process, row) != WORLD_NOTHING) {
		broken(world, "row %" PRId64 " is processed again", row->id);
		return;
	}
	if (row->id <= process->last_id)
		broken(world, "row %" PRId64 " comes after row %" PRId64, row->id,
			process->last_id);
	process->last_id = row->id;
	process->effects[process->n_effects].row = row;
	process->effects[process->n_effects++].fate = fate;
}

static bool key_is_parked(const struct world_process *process, const struct world_row *row)
{
	const struct world *world = process->world;

	if (process->plan.config.policy.key[0] == '\0')
		return false;
	for (size_t i = 0; i < world->n_rows; i++) {
		const struct world_row *other = &world->rows[i];

		if (other->key == row->key && fate_of(process, other) == WORLD_WAS_PARKED)
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

static bool may_fail(const struct world_row *row)
{
	return row->nature == WORLD_BAD || row->nature == WORLD_SLOW || row->nature == WORLD_LATE ||
	       row->nature == WORLD_FLAKY || row->failures > 0;
}

static bool is_open(const struct world_row *row)
{
	return !row->deleted && row->nature != WORLD_HIDDEN && row->fate == WORLD_NOTHING;
}

/* ---- performing --------------------------------------------------------------------------- */

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
	trace(process->world, "!%s", fault_name(fault));
}

static void perform_lease(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (world->lease_owner && world->lease_owner != process &&
		world->lease_until_ns > world->now_ns) {
		trace(world, "!denied");
		event->kind = CU_EVENT_DENIED;
		event->wait_ns = world->lease_until_ns - world->now_ns;
		return;
	}
	world->lease_owner = process;
	world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
	event->kind = CU_EVENT_LEASED;
	event->fence = ++world->fence;
	trace(world, "=%" PRId64, event->fence);
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
		trace(world, " moved");
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
		trace(world,
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
		broken(world, "next is asked from %" PRId64 ", below the watermark %" PRId64,
			action->lo, world->watermark);
	process->n_fetched = 0;
	process->at_fetched = 0;
	for (size_t i = above(world, action->lo); i < world->n_rows; i++) {
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

static void perform_begin(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (world->writer) {
		fail(process, event, CU_FAULT_BUSY, false);
		return;
	}
	world->writer = process;
	process->n_effects = 0;
	process->last_id = world->watermark;
	process->began_ns = world->now_ns;
	event->kind = CU_EVENT_BEGUN;
	event->watermark = world->watermark;
	if (world->lie == WORLD_NO_COMPARE)
		event->watermark = process->plan.watermark;
	if (event->watermark != process->plan.watermark)
		trace(world, "=%" PRId64, event->watermark);
}

/* Rows in a transaction are bounded, and so is the time until it ends: the plan may overlook no
 * more than a few rows. Time of other processes is not this one's. */
static void check_bounds(struct world_process *process)
{
	const struct cu_plan_config *config = &process->plan.config;
	struct world *world = process->world;

	if (process->n_effects > config->batch_rows)
		broken(world, "%zu rows in a batch of %" PRIu32, process->n_effects,
			config->batch_rows);
	if (world->n_processes == 1 && config->kind == CU_PLAN_ROWS &&
		world->now_ns - process->began_ns > config->batch_ns + 18 * world->row_ns)
		broken(world, "a batch has held the lock for %" PRId64 " ns",
			world->now_ns - process->began_ns);
}

static void perform_deliver(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	int64_t id = process->plan.row;
	struct world_row *row = find(world, id);
	enum cu_fault fault;

	trace(world, "%" PRId64, id);
	if (world->writer != process || process->at_fetched >= process->n_fetched ||
		process->fetched[process->at_fetched] != id || !row) {
		broken(world, "row %" PRId64 " is delivered and does not stand at the front", id);
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
		note_effect(process, row, WORLD_WAS_PARKED);
	} else {
		fault = try_row(row);
		if (fault != CU_FAULT_NONE) {
			fail(process, event, fault, true);
			return;
		}
		event->outcome =
			row->nature == WORLD_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
		if (world->lie != WORLD_DROPS_A_ROW || world_dice(world, 8) != 0)
			note_effect(process, row,
				row->nature == WORLD_PASSED ? WORLD_WAS_PASSED : WORLD_WAS_APPLIED);
		if (world->lie == WORLD_DELIVERS_TWICE && world_dice(world, 8) == 0)
			note_effect(process, row, WORLD_WAS_APPLIED);
	}
	check_bounds(process);
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

	for (size_t i = above(world, action->lo); i < world->n_rows; i++) {
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
		fault = try_row(row);
		if (fault != CU_FAULT_NONE) {
			fail(process, event, fault, true);
			return;
		}
		note_effect(process, row, WORLD_WAS_APPLIED);
	}
	check_bounds(process);
	event->now_ns = world->now_ns;
	event->kind = CU_EVENT_APPLIED;
}

static void perform_park(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	const struct cu_policy *policy = &process->plan.config.policy;
	struct world_row *row = find(world, action->id);

	trace(world, "%" PRId64 "x%" PRIu32, action->id, action->attempts);
	event->kind = CU_EVENT_DONE;
	if (!row || !may_fail(row)) {
		broken(world, "row %" PRId64 " is parked and is no bad row", action->id);
		return;
	}
	if (policy->end != CU_POLICY_PARK)
		broken(world, "row %" PRId64 " is parked, which nobody asked for", row->id);
	if (action->attempts != policy->retries + 1 || row->failures < action->attempts)
		broken(world,
			"row %" PRId64 " is parked after %" PRIu32
			" attempts; it has failed %" PRIu32 " times",
			row->id, action->attempts, row->failures);
	note_effect(process, row, WORLD_WAS_PARKED);
}

/* Judges a commit and makes it. */
static void commit(struct world_process *process, int64_t hi)
{
	struct world *world = process->world;
	const struct cu_plan_counts *add = &process->plan.counts;
	struct cu_plan_counts seen = {0};

	if (hi < world->watermark)
		broken(world, "the watermark falls from %" PRId64 " to %" PRId64, world->watermark,
			hi);
	if (hi > process->offered_hi && hi > world->watermark)
		broken(world,
			"the watermark rises to %" PRId64 ", and only %" PRId64 " was offered", hi,
			process->offered_hi);
	for (size_t i = 0; i < process->n_effects; i++) {
		struct world_row *row = process->effects[i].row;

		if (row->id > hi)
			broken(world, "row %" PRId64 " is committed above the watermark %" PRId64,
				row->id, hi);
		if (row->fate != WORLD_NOTHING)
			broken(world, "row %" PRId64 " is committed twice", row->id);
		row->fate = process->effects[i].fate;
		seen.applied += row->fate == WORLD_WAS_APPLIED;
		seen.passed += row->fate == WORLD_WAS_PASSED;
		seen.parked += row->fate == WORLD_WAS_PARKED;
	}
	for (size_t i = above(world, world->watermark); i < world->n_rows; i++) {
		if (world->rows[i].id > hi)
			break;
		if (is_open(&world->rows[i]))
			broken(world, "row %" PRId64 " is lost below the watermark %" PRId64,
				world->rows[i].id, hi);
	}
	if (add->offered != add->applied + add->passed + add->parked || add->retries < 0)
		broken(world, "counters do not add up");
	/* Rows of a set may be deleted after they were counted. */
	if (add->parked != seen.parked || add->passed != seen.passed ||
		add->applied < seen.applied ||
		(add->applied > seen.applied && process->plan.config.kind == CU_PLAN_ROWS))
		broken(world,
			"counters tell of %" PRId64 "+%" PRId64 "+%" PRId64
			" rows, and there were %" PRId64 "+%" PRId64 "+%" PRId64,
			add->applied, add->passed, add->parked, seen.applied, seen.passed,
			seen.parked);
	if (world->lie == WORLD_TEARS && world_dice(world, 8) == 0)
		return;
	world->watermark = hi;
	if (world->lie == WORLD_COMMITS_AHEAD && above(world, hi) < world->n_rows)
		world->watermark = world->rows[above(world, hi)].id;
	world->counts.offered += add->offered;
	world->counts.applied += add->applied;
	world->counts.passed += add->passed;
	world->counts.parked += add->parked;
	world->counts.retries += add->retries;
	if (process->action.renew)
		world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
}

static void perform_commit(
	struct world_process *process, struct cu_event *event, enum cu_fault fault)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	bool late = false;

	if (world->writer != process) {
		broken(world, "a commit without a transaction");
		return;
	}
	if ((action->lo != world->watermark && world->lie != WORLD_NO_COMPARE) ||
		(process->plan.config.lease && process->plan.fence != world->fence)) {
		trace(world, "!lost");
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
		commit(process, action->hi);
	if (fault != CU_FAULT_NONE) {
		fail(process, event, fault, false);
		return;
	}
	commit(process, action->hi);
	end_transaction(process);
	process->busy_since_ns = 0;
	event->kind = CU_EVENT_COMMITTED;
	event->now_ns = world->now_ns;
}

static void perform_abort(struct world_process *process, struct cu_event *event)
{
	if (process->world->lie == WORLD_ROLLBACK_KEEPS) {
		for (size_t i = 0; i < process->n_effects; i++)
			process->effects[i].row->fate = process->effects[i].fate;
	}
	end_transaction(process);
	event->kind = CU_EVENT_DONE;
}

static void perform_renew(struct world_process *process, struct cu_event *event)
{
	struct world *world = process->world;

	if (process->plan.fence != world->fence) {
		trace(world, "!lost");
		event->kind = CU_EVENT_LOST;
		return;
	}
	world->lease_until_ns = world->now_ns + process->plan.config.lease_ns;
	event->kind = CU_EVENT_DONE;
}

/* A row that stops its consumer is the first that is not done, and had all its tries. */
static void perform_stop(struct world_process *process)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	const struct cu_policy *policy = &process->plan.config.policy;
	struct world_row *row = action->id ? find(world, action->id) : NULL;

	process->stopped = true;
	trace(world, ":%d", action->stop_code);
	if (row)
		trace(world, "@%" PRId64, row->id);
	if (world->writer == process)
		broken(world, "stopped within a transaction");
	if (action->stop_code == CATCHUP_LOCKED &&
		(process->busy_since_ns == 0 ||
			world->now_ns - process->busy_since_ns < process->plan.config.locked_ns))
		broken(world, "stopped because of a lock that did not last");
	if (action->stop_code != CATCHUP_OK && action->stop_code != process->last_code)
		broken(world, "stopped with code %d, but the fault's was %d", action->stop_code,
			process->last_code);
	if (action->stop_code == CATCHUP_OK || action->id == 0)
		return;
	if (!row || !may_fail(row) || row->failures < policy->retries + 1)
		broken(world, "stopped at row %" PRId64 ", which is not to blame", action->id);
	else if (policy->end != CU_POLICY_STOP)
		broken(world, "stopped at row %" PRId64 ", which was to be parked", action->id);
	if (world->n_processes > 1)
		return;
	for (size_t i = above(world, world->watermark); i < world->n_rows; i++) {
		if (world->rows[i].id >= action->id)
			break;
		if (is_open(&world->rows[i]))
			broken(world, "stopped at row %" PRId64 " with row %" PRId64 " not done",
				action->id, world->rows[i].id);
	}
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
		trace(world, "=%" PRId64, event->watermark);
		break;
	case CU_ACTION_REWIND:
		process->rewind_asked = true;
		process->rewind_from = action->lo;
		process->rewind_epoch = action->epoch;
		process->offered_hi = action->lo;
		event->kind = CU_EVENT_DONE;
		break;
	case CU_ACTION_CUT:
		event->hi = cut(world, action->lo, action->hi, action->rows, &event->rows);
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
		perform_park(process, event);
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

static const char *const verbs[] = {
	[CU_ACTION_OPEN] = "open",
	[CU_ACTION_LEASE] = "lease",
	[CU_ACTION_LOAD] = "load",
	[CU_ACTION_WAIT] = NULL, /* told by what comes of it */
	[CU_ACTION_REWIND] = "rewind",
	[CU_ACTION_CUT] = "cut",
	[CU_ACTION_FETCH] = "fetch",
	[CU_ACTION_BEGIN] = "begin",
	[CU_ACTION_DELIVER] = "row",
	[CU_ACTION_APPLY] = "apply",
	[CU_ACTION_PARK] = "park",
	[CU_ACTION_COMMIT] = "commit",
	[CU_ACTION_ABORT] = "abort",
	[CU_ACTION_RENEW] = "renew",
	[CU_ACTION_SLEEP] = NULL,
	[CU_ACTION_STOP] = "stop",
};

static void trace_action(struct world *world, const struct cu_action *action)
{
	if (!world->trace || !verbs[action->kind])
		return;
	trace(world, " %s", verbs[action->kind]);
	if (action->kind == CU_ACTION_CUT)
		trace(world, "%" PRIu32, action->rows);
	if (action->kind == CU_ACTION_CUT || action->kind == CU_ACTION_FETCH ||
		action->kind == CU_ACTION_APPLY || action->kind == CU_ACTION_COMMIT)
		trace(world, "(%" PRId64 ",%" PRId64 "]", action->lo, action->hi);
	if (action->kind == CU_ACTION_COMMIT && action->renew)
		trace(world, "+renew");
}

bool world_step(struct world_process *process)
{
	struct world *world = process->world;
	const struct cu_action *action = &process->action;
	struct cu_event event = {.now_ns = world->now_ns, .stopping = process->stopping};
	enum cu_fault fault = CU_FAULT_NONE;

	if (process->stopped)
		return false;
	trace_action(world, action);
	if (action->kind == CU_ACTION_STOP) {
		perform_stop(process);
		return false;
	}
	if (action->kind == CU_ACTION_SLEEP) {
		if (!process->stopping && world->now_ns < action->until_ns)
			return false;
		trace(world, process->stopping ? " sleep!stopping" : " sleep");
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
	process->told_now_ns = event.now_ns;
	process->action = cu_plan_step(&process->plan, &event);
	return true;
}

void world_check_end(struct world *world)
{
	const struct cu_plan_counts *counts = &world->counts;

	if (world->watermark < world_newest(world))
		broken(world, "the watermark is at %" PRId64 ", and the newest row is %" PRId64,
			world->watermark, world_newest(world));
	for (size_t i = 0; i < world->n_rows && world->rows[i].id <= world->watermark; i++) {
		if (is_open(&world->rows[i]))
			broken(world, "row %" PRId64 " was never done", world->rows[i].id);
	}
	if (counts->offered != counts->applied + counts->passed + counts->parked)
		broken(world, "the sums do not add up");
}
