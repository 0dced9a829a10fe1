/* SPDX-License-Identifier: MIT */
#include "pool/plan.h"

#include "base/check.h"
#include "base/os.h"

#include <string.h>

/* A range consumer starts small and doubles: how long a row takes is not known before. */
#define FIRST_TARGET_ROWS 256u

/* Pauses after faults of the machine. A lock is looked at often, a full disk now and then. */
#define LOCKED_BASE_NS (5 * CU_NS_PER_MS)
#define LOCKED_MAX_NS (250 * CU_NS_PER_MS)
#define MACHINE_BASE_NS (50 * CU_NS_PER_MS)
#define MACHINE_MAX_NS (2000 * CU_NS_PER_MS)

/* A schema fault is tried once more on fresh connections: the table may be in the middle of being
 * replaced. */
#define SCHEMA_FAULTS_MAX 2u

static const struct {
	const char *name;
	uint32_t answers; /* events that may come in this state; FAULT may always come */
} states[] = {
#define BIT(event) (UINT32_C(1) << CU_EVENT_##event)
	[CU_STATE_OPENING] = {"opening", BIT(OPENED)},
	[CU_STATE_LEASING] = {"leasing", BIT(LEASED) | BIT(DENIED)},
	[CU_STATE_LOADING] = {"loading", BIT(LOADED)},
	[CU_STATE_WAITING] = {"waiting", BIT(RANGE) | BIT(TIME) | BIT(STOPPING)},
	[CU_STATE_REWINDING] = {"rewinding", BIT(DONE)},
	[CU_STATE_CUTTING] = {"cutting", BIT(CUT)},
	[CU_STATE_FETCHING] = {"fetching", BIT(ROW) | BIT(END)},
	[CU_STATE_BEGINNING] = {"beginning", BIT(BEGUN)},
	[CU_STATE_DELIVERING] = {"delivering", BIT(DELIVERED)},
	[CU_STATE_APPLYING] = {"applying", BIT(APPLIED)},
	[CU_STATE_PARKING] = {"parking", BIT(DONE)},
	[CU_STATE_COMMITTING] = {"committing", BIT(COMMITTED) | BIT(LOST)},
	[CU_STATE_ABORTING] = {"aborting", BIT(DONE)},
	[CU_STATE_RENEWING] = {"renewing", BIT(DONE) | BIT(LOST)},
	[CU_STATE_SLEEPING] = {"sleeping", BIT(TIME) | BIT(STOPPING)},
	[CU_STATE_STOPPED] = {"stopped", 0},
#undef BIT
};

const char *cu_plan_state_name(enum cu_plan_state state)
{
	return states[state].name;
}

static uint64_t next_random(struct cu_plan *plan)
{
	/* xorshift64: any seed but 0; jitter needs no more. */
	plan->random ^= plan->random << 13;
	plan->random ^= plan->random >> 7;
	plan->random ^= plan->random << 17;
	return plan->random;
}

/* ---- moving ------------------------------------------------------------------------------- */

static struct cu_action move(struct cu_plan *plan, enum cu_plan_state state, struct cu_action action)
{
	CU_CHECK(plan->state != CU_STATE_STOPPED);
	plan->state = state;
	return action;
}

static struct cu_action do_open(struct cu_plan *plan)
{
	return move(plan, CU_STATE_OPENING, (struct cu_action){.kind = CU_ACTION_OPEN});
}

static struct cu_action do_lease(struct cu_plan *plan)
{
	return move(plan, CU_STATE_LEASING, (struct cu_action){.kind = CU_ACTION_LEASE});
}

static struct cu_action do_load(struct cu_plan *plan)
{
	return move(plan, CU_STATE_LOADING, (struct cu_action){.kind = CU_ACTION_LOAD});
}

static struct cu_action do_stop(struct cu_plan *plan, int code)
{
	plan->stop_code = code;
	return move(plan, CU_STATE_STOPPED,
		(struct cu_action){.kind = CU_ACTION_STOP, .stop_code = code});
}

static struct cu_action do_abort(struct cu_plan *plan, enum cu_plan_then then)
{
	plan->then = then;
	return move(plan, CU_STATE_ABORTING, (struct cu_action){.kind = CU_ACTION_ABORT});
}

static struct cu_action do_abort_and_stop(struct cu_plan *plan, int code)
{
	plan->stop_code = code;
	return do_abort(plan, CU_THEN_STOP);
}

static struct cu_action do_abort_and_pause(struct cu_plan *plan, int64_t pause_ns,
	enum cu_plan_then after)
{
	plan->pause_ns = pause_ns;
	plan->after_sleep = after;
	return do_abort(plan, CU_THEN_SLEEP);
}

static struct cu_action do_begin(struct cu_plan *plan)
{
	return move(plan, CU_STATE_BEGINNING, (struct cu_action){.kind = CU_ACTION_BEGIN});
}

static struct cu_action do_fetch(struct cu_plan *plan)
{
	plan->since_fetch = 0;
	return move(plan, CU_STATE_FETCHING,
		(struct cu_action){
			.kind = CU_ACTION_FETCH, .lo = plan->seen, .hi = plan->available});
}

static bool renewal_due(const struct cu_plan *plan, int64_t now_ns)
{
	return plan->config.lease && now_ns >= plan->renew_at_ns;
}

static struct cu_action do_commit(struct cu_plan *plan, int64_t now_ns)
{
	CU_CHECK(plan->began_ns != 0);
	CU_CHECK(plan->goal >= plan->seen && plan->goal >= plan->watermark);
	CU_CHECK(plan->goal <= plan->available);
	return move(plan, CU_STATE_COMMITTING,
		(struct cu_action){.kind = CU_ACTION_COMMIT,
			.lo = plan->watermark,
			.hi = plan->goal,
			.renew = renewal_due(plan, now_ns)});
}

/* ---- a batch ------------------------------------------------------------------------------ */

/* Forgets the batch in hand; rows that failed stay known. */
static void clear_batch(struct cu_plan *plan)
{
	plan->seen = plan->watermark;
	plan->goal = plan->watermark;
	plan->row = 0;
	plan->batch_rows = 0;
	plan->since_fetch = 0;
	plan->alone = false;
	plan->began_ns = 0;
	plan->rows_since_clock = 0;
	/* What failed on the way is counted with the batch that commits. */
	plan->counts = (struct cu_plan_counts){.retries = plan->counts.retries};
}

static struct cu_action start_batch(struct cu_plan *plan)
{
	int64_t parked = plan->row;

	clear_batch(plan);
	if (plan->park) {
		plan->row = parked;
		return do_begin(plan);
	}
	if (plan->config.kind == CU_PLAN_ROWS)
		return do_fetch(plan);
	if (plan->available_rows > plan->target_rows || plan->failed_hi != 0)
		return move(plan, CU_STATE_CUTTING,
			(struct cu_action){.kind = CU_ACTION_CUT,
				.lo = plan->watermark,
				.hi = plan->available,
				.rows = plan->target_rows});
	plan->goal = plan->available;
	plan->batch_rows = (uint32_t)plan->available_rows;
	return do_begin(plan);
}

/* Waits, or says with until_ns 0 that there is work as soon as no more ranges are at hand. */
static struct cu_action do_wait(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t until_ns = CU_FOREVER;

	if (event->stopping)
		return do_stop(plan, CATCHUP_OK);
	if (plan->available > plan->watermark)
		until_ns = 0;
	else if (renewal_due(plan, event->now_ns))
		return move(plan, CU_STATE_RENEWING, (struct cu_action){.kind = CU_ACTION_RENEW});
	else if (plan->config.lease)
		until_ns = plan->renew_at_ns;
	return move(plan, CU_STATE_WAITING,
		(struct cu_action){.kind = CU_ACTION_WAIT, .until_ns = until_ns});
}

static void take_range(struct cu_plan *plan, const struct cu_event *event)
{
	if (event->epoch != plan->epoch || event->hi <= plan->available)
		return;
	/* A hole between ranges would be skipped rows. */
	CU_CHECK(event->lo <= plan->available && event->lo < event->hi);
	CU_CHECK(plan->config.kind == CU_PLAN_ROWS || event->rows != UINT32_MAX);
	plan->available = event->hi;
	plan->available_rows += event->rows;
}

bool cu_plan_wants_range(const struct cu_plan *plan)
{
	return plan->config.kind == CU_PLAN_ROWS || plan->available_rows < plan->target_rows;
}

/* `next` has no more rows above `seen`. */
static struct cu_action at_end(struct cu_plan *plan, const struct cu_event *event)
{
	plan->row = 0;
	/* A query with a LIMIT ends early: only one that returned nothing has told all. */
	if (plan->config.requery && plan->since_fetch > 0 && !event->stopping)
		return do_fetch(plan);
	plan->goal = plan->config.requery && plan->since_fetch > 0 ? plan->seen : plan->available;
	if (plan->began_ns == 0)
		return do_begin(plan);
	return do_commit(plan, event->now_ns);
}

static struct cu_action do_deliver(struct cu_plan *plan)
{
	CU_CHECK(plan->row > plan->seen && plan->row <= plan->available);
	return move(plan, CU_STATE_DELIVERING, (struct cu_action){.kind = CU_ACTION_DELIVER});
}

/* A row stands at the front of `next`. */
static struct cu_action at_row(struct cu_plan *plan, const struct cu_event *event)
{
	bool in_the_way = plan->barrier != 0 && plan->row >= plan->barrier;

	plan->goal = plan->seen;
	if (plan->batch_rows > 0 &&
		(in_the_way || plan->alone || plan->batch_rows >= plan->target_rows ||
			event->stopping))
		return do_commit(plan, event->now_ns);
	if (plan->batch_rows == 0)
		plan->alone = in_the_way || plan->target_rows == 1;
	if (plan->began_ns == 0)
		return do_begin(plan);
	return do_deliver(plan);
}

static struct cu_action at_begun(struct cu_plan *plan, const struct cu_event *event)
{
	plan->began_ns = event->now_ns > 0 ? event->now_ns : 1;
	plan->locked_since_ns = 0;
	if (event->watermark != plan->watermark)
		return do_abort(plan, plan->config.lease ? CU_THEN_LEASE : CU_THEN_LOAD);
	if (plan->park)
		return move(plan, CU_STATE_PARKING,
			(struct cu_action){.kind = CU_ACTION_PARK,
				.id = plan->row,
				.attempts = plan->attempts});
	if (plan->config.kind == CU_PLAN_RANGE)
		return move(plan, CU_STATE_APPLYING,
			(struct cu_action){.kind = CU_ACTION_APPLY,
				.lo = plan->watermark,
				.hi = plan->goal});
	if (plan->row != 0)
		return do_deliver(plan);
	return do_commit(plan, event->now_ns);
}

/* Time is up when a sixteenth of the batch's time is left: the commit needs some too. */
static bool time_is_up(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t elapsed, per_row, every;

	if (++plan->rows_since_clock < plan->clock_every)
		return false;
	plan->rows_since_clock = 0;
	elapsed = event->now_ns - plan->began_ns;
	per_row = elapsed / plan->batch_rows + 1;
	every = plan->config.batch_ns / 32 / per_row;
	plan->clock_every = every < 1 ? 1 : every > 256 ? 256 : (uint32_t)every;
	return elapsed >= plan->config.batch_ns / 16 * 15;
}

static struct cu_action at_delivered(struct cu_plan *plan, const struct cu_event *event)
{
	CU_CHECK(event->id == 0 || event->id > plan->row);
	plan->seen = plan->row;
	plan->goal = plan->seen;
	plan->batch_rows++;
	plan->since_fetch++;
	plan->counts.offered++;
	plan->counts.applied += event->outcome == CU_OUTCOME_APPLIED;
	plan->counts.passed += event->outcome == CU_OUTCOME_PASSED;
	plan->counts.parked += event->outcome == CU_OUTCOME_PARKED;
	plan->row = event->id;
	if (time_is_up(plan, event) || plan->alone)
		return do_commit(plan, event->now_ns);
	return plan->row == 0 ? at_end(plan, event) : at_row(plan, event);
}

/* Range batches grow while they are quick and shrink when they are slow. */
static void adapt(struct cu_plan *plan, int64_t elapsed_ns)
{
	uint32_t most = plan->config.batch_rows;

	if (plan->failed_hi != 0) {
		if (plan->watermark < plan->failed_hi)
			return;
		plan->failed_hi = 0;
		plan->target_rows = plan->config.kind == CU_PLAN_ROWS || FIRST_TARGET_ROWS > most
			? most : FIRST_TARGET_ROWS;
		return;
	}
	if (plan->config.kind == CU_PLAN_ROWS)
		return;
	if (elapsed_ns > plan->config.batch_ns) {
		int64_t fewer = (int64_t)plan->batch_rows * (plan->config.batch_ns / 4 * 3 / 1024) /
			(elapsed_ns / 1024 + 1);

		plan->target_rows = fewer < 1 ? 1 : (uint32_t)fewer;
	} else if (plan->batch_rows >= plan->target_rows / 2 &&
		elapsed_ns < plan->config.batch_ns / 2) {
		plan->target_rows = plan->target_rows > most / 2 ? most : plan->target_rows * 2;
	}
}

static struct cu_action at_committed(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t elapsed = event->now_ns - plan->began_ns;

	if (plan->goal > plan->watermark)
		plan->attempts = 0;
	plan->watermark = plan->goal;
	if (plan->watermark >= plan->barrier)
		plan->barrier = 0;
	plan->park = false;
	plan->machine_faults = 0;
	plan->schema_faults = 0;
	plan->available_rows -= plan->batch_rows;
	if (plan->available_rows < 0 || plan->available == plan->watermark)
		plan->available_rows = 0;
	if (renewal_due(plan, event->now_ns))
		plan->renew_at_ns = cu_deadline(event->now_ns, plan->config.lease_ns / 3);
	adapt(plan, elapsed);
	plan->counts = (struct cu_plan_counts){0};
	clear_batch(plan);
	return do_wait(plan, event);
}

static struct cu_action at_loaded(struct cu_plan *plan, const struct cu_event *event)
{
	plan->watermark = event->watermark;
	plan->available = event->watermark;
	plan->available_rows = 0;
	plan->barrier = 0;
	plan->failed_hi = 0;
	plan->park = false;
	plan->attempts = 0;
	clear_batch(plan);
	plan->epoch++;
	return move(plan, CU_STATE_REWINDING,
		(struct cu_action){
			.kind = CU_ACTION_REWIND, .lo = plan->watermark, .epoch = plan->epoch});
}

/* ---- faults ------------------------------------------------------------------------------- */

/* The row at the front failed, and nothing else is in its batch. */
static struct cu_action at_bad_row(struct cu_plan *plan, const struct cu_event *event)
{
	const struct cu_policy *policy = &plan->config.policy;

	plan->attempts++;
	if (plan->attempts <= policy->retries)
		return do_abort_and_pause(plan,
			cu_policy_pause_ns(policy->base_ns, policy->max_ns, plan->attempts,
				next_random(plan)),
			CU_THEN_WAIT);
	if (policy->end == CU_POLICY_PARK) {
		plan->park = true;
		return do_abort(plan, CU_THEN_WAIT);
	}
	return do_abort_and_stop(plan, event->code);
}

static struct cu_action row_fault(struct cu_plan *plan, const struct cu_event *event)
{
	bool delivering = plan->state == CU_STATE_DELIVERING;

	plan->counts.retries++;
	if (plan->alone)
		return at_bad_row(plan, event);
	if (delivering && plan->batch_rows == 0) {
		/* It came first: what failed is known, and nothing is undone with it. */
		plan->barrier = plan->row;
		return at_bad_row(plan, event);
	}
	if (delivering) {
		/* Rows before it are done again and committed; then it comes alone. */
		plan->barrier = plan->row;
		return do_abort(plan, CU_THEN_WAIT);
	}
	/* Which row it is cannot be told from outside: halve until one stands alone. */
	plan->failed_hi = plan->goal;
	plan->target_rows = plan->batch_rows > 1 ? plan->batch_rows / 2 : 1;
	return do_abort(plan, CU_THEN_WAIT);
}

static struct cu_action machine_fault(struct cu_plan *plan, const struct cu_event *event)
{
	bool busy = event->fault == CU_FAULT_BUSY;
	int64_t pause;

	plan->machine_faults++;
	if (busy && plan->locked_since_ns == 0)
		plan->locked_since_ns = event->now_ns > 0 ? event->now_ns : 1;
	if (busy && event->now_ns - plan->locked_since_ns >= plan->config.locked_ns)
		return do_abort_and_stop(plan, CATCHUP_LOCKED);
	pause = cu_policy_pause_ns(busy ? LOCKED_BASE_NS : MACHINE_BASE_NS,
		busy ? LOCKED_MAX_NS : MACHINE_MAX_NS, plan->machine_faults, next_random(plan));
	/* After a failed write or sync nobody knows what the file holds: only a fresh connection
	 * and the watermark it reads say where to go on. */
	if (!busy || plan->state == CU_STATE_OPENING)
		return do_abort_and_pause(plan, pause, CU_THEN_OPEN);
	if (plan->state == CU_STATE_LEASING)
		return do_abort_and_pause(plan, pause, CU_THEN_LEASE);
	if (plan->state == CU_STATE_LOADING)
		return do_abort_and_pause(plan, pause, CU_THEN_LOAD);
	return do_abort_and_pause(plan, pause, CU_THEN_WAIT);
}

static struct cu_action at_fault(struct cu_plan *plan, const struct cu_event *event)
{
	switch (event->fault) {
	case CU_FAULT_BUSY:
	case CU_FAULT_FULL:
	case CU_FAULT_IO:
	case CU_FAULT_MEMORY:
		if (event->stopping && event->fault != CU_FAULT_BUSY)
			return do_abort_and_stop(plan, CATCHUP_OK);
		return machine_fault(plan, event);
	case CU_FAULT_STOP:
		return do_abort_and_stop(plan, CATCHUP_OK);
	case CU_FAULT_SCHEMA:
		if (plan->state == CU_STATE_OPENING || ++plan->schema_faults >= SCHEMA_FAULTS_MAX)
			return do_abort_and_stop(plan, event->code);
		return do_abort_and_pause(plan, MACHINE_BASE_NS, CU_THEN_OPEN);
	case CU_FAULT_ROW:
	case CU_FAULT_SLOW:
		if (event->of_row || (plan->state == CU_STATE_COMMITTING && plan->batch_rows > 0))
			return row_fault(plan, event);
		return do_abort_and_stop(plan, event->code);
	case CU_FAULT_NONE:
	case CU_FAULT_DATABASE:
	case CU_FAULT_GONE:
		break;
	}
	return do_abort_and_stop(plan, event->code);
}

static struct cu_action go_on(struct cu_plan *plan, enum cu_plan_then then,
	const struct cu_event *event)
{
	switch (then) {
	case CU_THEN_OPEN:
		return do_open(plan);
	case CU_THEN_LEASE:
		return do_lease(plan);
	case CU_THEN_LOAD:
		return do_load(plan);
	case CU_THEN_STOP:
		return do_stop(plan, plan->stop_code);
	case CU_THEN_SLEEP:
		if (event->stopping)
			return do_stop(plan, CATCHUP_OK);
		return move(plan, CU_STATE_SLEEPING,
			(struct cu_action){.kind = CU_ACTION_SLEEP,
				.until_ns = cu_deadline(event->now_ns, plan->pause_ns)});
	case CU_THEN_WAIT:
		break;
	}
	return do_wait(plan, event);
}

static struct cu_action at_aborted(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t row = plan->row;

	clear_batch(plan);
	if (plan->park)
		plan->row = row;
	return go_on(plan, plan->then, event);
}

/* ---- steps -------------------------------------------------------------------------------- */

struct cu_action cu_plan_first(struct cu_plan *plan, const struct cu_plan_config *config)
{
	CU_CHECK(config->batch_rows >= 1 && config->batch_ns >= 1);
	memset(plan, 0, sizeof(*plan));
	plan->config = *config;
	plan->random = config->seed ? config->seed : 1;
	plan->clock_every = 1;
	plan->target_rows = config->batch_rows;
	if (config->kind == CU_PLAN_RANGE && plan->target_rows > FIRST_TARGET_ROWS)
		plan->target_rows = FIRST_TARGET_ROWS;
	return do_open(plan);
}

struct cu_action cu_plan_step(struct cu_plan *plan, const struct cu_event *event)
{
	if (event->kind == CU_EVENT_FAULT)
		return at_fault(plan, event);
	CU_CHECK(states[plan->state].answers & (UINT32_C(1) << event->kind));
	switch (event->kind) {
	case CU_EVENT_OPENED:
		return plan->config.lease ? do_lease(plan) : do_load(plan);
	case CU_EVENT_LEASED:
		plan->fence = event->fence;
		plan->renew_at_ns = cu_deadline(event->now_ns, plan->config.lease_ns / 3);
		return do_load(plan);
	case CU_EVENT_DENIED:
		return do_abort_and_pause(plan, event->wait_ns, CU_THEN_LEASE);
	case CU_EVENT_LOADED:
		return at_loaded(plan, event);
	case CU_EVENT_RANGE:
		take_range(plan, event);
		return do_wait(plan, event);
	case CU_EVENT_STOPPING:
		return do_stop(plan, CATCHUP_OK);
	case CU_EVENT_TIME:
		if (plan->state == CU_STATE_SLEEPING)
			return go_on(plan, plan->after_sleep, event);
		if (plan->available > plan->watermark && !event->stopping)
			return start_batch(plan);
		return do_wait(plan, event);
	case CU_EVENT_CUT:
		CU_CHECK(event->hi > plan->watermark && event->hi <= plan->available);
		plan->goal = event->hi;
		plan->batch_rows = event->rows;
		plan->alone = plan->target_rows == 1 && event->rows == 1;
		plan->row = plan->alone ? event->hi : 0;
		return do_begin(plan);
	case CU_EVENT_ROW:
		CU_CHECK(event->id > plan->seen);
		plan->row = event->id;
		return at_row(plan, event);
	case CU_EVENT_END:
		return at_end(plan, event);
	case CU_EVENT_BEGUN:
		return at_begun(plan, event);
	case CU_EVENT_DELIVERED:
		return at_delivered(plan, event);
	case CU_EVENT_APPLIED:
		plan->counts.offered += plan->batch_rows;
		plan->counts.applied += plan->batch_rows;
		return do_commit(plan, event->now_ns);
	case CU_EVENT_COMMITTED:
		return at_committed(plan, event);
	case CU_EVENT_LOST:
		return do_abort(plan, plan->config.lease ? CU_THEN_LEASE : CU_THEN_LOAD);
	case CU_EVENT_DONE:
		if (plan->state == CU_STATE_PARKING) {
			plan->counts.offered++;
			plan->counts.parked++;
			plan->batch_rows = 1;
			plan->seen = plan->row;
			plan->goal = plan->row;
			return do_commit(plan, event->now_ns);
		}
		if (plan->state == CU_STATE_ABORTING)
			return at_aborted(plan, event);
		if (plan->state == CU_STATE_RENEWING)
			plan->renew_at_ns =
				cu_deadline(event->now_ns, plan->config.lease_ns / 3);
		return do_wait(plan, event);
	case CU_EVENT_FAULT:
		break;
	}
	cu_check_failed(__FILE__, __LINE__, "an event that no state answers");
}

/* ---- feeding ------------------------------------------------------------------------------ */

void cu_feed_rewind(struct cu_feed *feed, int64_t from, uint32_t epoch)
{
	feed->pushed = from;
	feed->epoch = epoch;
	feed->started = true;
}

bool cu_feed_wants(const struct cu_feed *feed, int64_t newest)
{
	return feed->started && feed->pushed < newest;
}

void cu_feed_pushed(struct cu_feed *feed, int64_t hi)
{
	CU_CHECK(feed->started && hi > feed->pushed);
	feed->pushed = hi;
}
