/* SPDX-License-Identifier: MIT */
#include "pool/plan/plan.h"

#include "base/check.h"
#include "base/os.h"
#include "pool/plan/plan_inside.h"

#include <string.h>

static const struct {
	const char *name;
	uint32_t answers; /* events that may come in this state */
} states[] = {
#define BIT(event) (UINT32_C(1) << CU_EVENT_##event)
	[CU_STATE_OPENING] = {"opening", BIT(OPENED) | BIT(FAULT)},
	[CU_STATE_LEASING] = {"leasing", BIT(LEASED) | BIT(DENIED) | BIT(FAULT)},
	[CU_STATE_LOADING] = {"loading", BIT(LOADED) | BIT(FAULT)},
	[CU_STATE_WAITING] = {"waiting",
		BIT(RANGE) | BIT(TIME) | BIT(STOPPING) | BIT(LOST) | BIT(FAULT)},
	[CU_STATE_REWINDING] = {"rewinding", BIT(DONE) | BIT(FAULT)},
	[CU_STATE_CUTTING] = {"cutting", BIT(CUT) | BIT(FAULT)},
	[CU_STATE_FETCHING] = {"fetching", BIT(ROW) | BIT(END) | BIT(FAULT)},
	[CU_STATE_BEGINNING] = {"beginning", BIT(BEGUN) | BIT(LOST) | BIT(FAULT)},
	[CU_STATE_DELIVERING] = {"delivering", BIT(DELIVERED) | BIT(FAULT)},
	[CU_STATE_APPLYING] = {"applying", BIT(APPLIED) | BIT(FAULT)},
	[CU_STATE_PARKING] = {"parking", BIT(DONE) | BIT(FAULT)},
	[CU_STATE_COMMITTING] = {"committing", BIT(COMMITTED) | BIT(LOST) | BIT(FAULT)},
	[CU_STATE_ABORTING] = {"aborting", BIT(DONE)},
	[CU_STATE_RENEWING] = {"renewing", BIT(DONE) | BIT(LOST) | BIT(FAULT)},
	[CU_STATE_SLEEPING] = {"sleeping", BIT(TIME) | BIT(STOPPING)},
	[CU_STATE_STOPPED] = {"stopped", 0},
#undef BIT
};

const char *cu_plan_state_name(enum cu_plan_state state)
{
	return states[state].name;
}

/* ---- moving ------------------------------------------------------------------------------- */

struct cu_action cu_plan_move(
	struct cu_plan *plan, enum cu_plan_state state, struct cu_action action)
{
	CU_CHECK(plan->state != CU_STATE_STOPPED);
	plan->state = state;
	return action;
}

static struct cu_action do_open(struct cu_plan *plan)
{
	return cu_plan_move(plan, CU_STATE_OPENING, (struct cu_action){.kind = CU_ACTION_OPEN});
}

static struct cu_action do_lease(struct cu_plan *plan)
{
	return cu_plan_move(plan, CU_STATE_LEASING, (struct cu_action){.kind = CU_ACTION_LEASE});
}

static struct cu_action do_load(struct cu_plan *plan)
{
	return cu_plan_move(plan, CU_STATE_LOADING, (struct cu_action){.kind = CU_ACTION_LOAD});
}

static struct cu_action do_stop(struct cu_plan *plan, int code)
{
	plan->stop_code = code;
	return cu_plan_move(plan, CU_STATE_STOPPED,
		(struct cu_action){.kind = CU_ACTION_STOP,
			.stop_code = code,
			.id = code == CATCHUP_OK ? 0 : plan->stop_row,
			.crashes = plan->config.policy.end == CU_POLICY_STOP ? plan->blamed : 0});
}

struct cu_action cu_plan_abort(struct cu_plan *plan, enum cu_plan_then then)
{
	struct cu_action action = {.kind = CU_ACTION_ABORT, .unmark = plan->mark_stands};

	plan->then = then;
	plan->sleep_until_ns = 0;
	plan->mark_stands = false;
	return cu_plan_move(plan, CU_STATE_ABORTING, action);
}

struct cu_action cu_plan_abort_and_stop(struct cu_plan *plan, int code)
{
	plan->stop_code = code;
	return cu_plan_abort(plan, CU_THEN_STOP);
}

struct cu_action cu_plan_abort_and_pause(
	struct cu_plan *plan, int64_t pause_ns, enum cu_plan_then after)
{
	plan->pause_ns = pause_ns;
	plan->after_sleep = after;
	return cu_plan_abort(plan, CU_THEN_SLEEP);
}

/* Until the pause is over, or until the lease wants renewing: a consumer that only waits for its
 * next try keeps it. Where the connections or the lease are in doubt, nothing is renewed. */
static struct cu_action do_sleep(struct cu_plan *plan)
{
	int64_t until_ns = plan->sleep_until_ns;

	if (plan->config.lease && plan->after_sleep == CU_THEN_WAIT && until_ns > plan->renew_at_ns)
		until_ns = plan->renew_at_ns;
	return cu_plan_move(plan, CU_STATE_SLEEPING,
		(struct cu_action){.kind = CU_ACTION_SLEEP, .until_ns = until_ns});
}

struct cu_action cu_plan_renew_later(struct cu_plan *plan, int64_t now_ns)
{
	plan->renew_at_ns = cu_deadline(now_ns, plan->config.lease_ns / 10);
	return do_sleep(plan);
}

static struct cu_action do_renew(struct cu_plan *plan)
{
	return cu_plan_move(plan, CU_STATE_RENEWING, (struct cu_action){.kind = CU_ACTION_RENEW});
}

struct cu_action cu_plan_begin(struct cu_plan *plan)
{
	return cu_plan_move(plan, CU_STATE_BEGINNING, (struct cu_action){.kind = CU_ACTION_BEGIN});
}

static struct cu_action do_fetch(struct cu_plan *plan)
{
	plan->since_fetch = 0;
	return cu_plan_move(plan, CU_STATE_FETCHING,
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
	plan->renewing = renewal_due(plan, now_ns);
	/* At the end of all ranges no row of theirs can come any more. */
	if (plan->config.kind == CU_PLAN_ROWS && plan->goal == plan->available &&
		plan->expected_rows > plan->batch_rows)
		plan->counts.vanished = plan->expected_rows - plan->batch_rows;
	return cu_plan_move(plan, CU_STATE_COMMITTING,
		(struct cu_action){.kind = CU_ACTION_COMMIT,
			.lo = plan->watermark,
			.hi = plan->goal,
			.renew = plan->renewing,
			.unmark = plan->marked != 0 && plan->marked <= plan->goal,
			.ends_care = cu_plan_crash_ends_care(plan),
			.in_hand = cu_plan_crash_in_hand(plan)});
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
	clear_batch(plan);
	if (plan->park != 0)
		return cu_plan_begin(plan);
	if (plan->config.kind == CU_PLAN_ROWS)
		return do_fetch(plan);
	if (plan->available_rows > plan->target_rows || plan->failed_hi != 0 || plan->careful)
		return cu_plan_move(plan, CU_STATE_CUTTING,
			(struct cu_action){.kind = CU_ACTION_CUT,
				.lo = plan->watermark,
				.hi = plan->available,
				.rows = plan->careful ? 1 : plan->target_rows});
	plan->goal = plan->available;
	plan->batch_rows = (uint32_t)plan->available_rows;
	return cu_plan_begin(plan);
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
		return do_renew(plan);
	else if (plan->config.lease)
		until_ns = plan->renew_at_ns;
	return cu_plan_move(plan, CU_STATE_WAITING,
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
	if (event->rows == UINT32_MAX)
		plan->expected_rows = -1;
	else if (plan->expected_rows >= 0)
		plan->expected_rows += event->rows;
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
		return cu_plan_begin(plan);
	return do_commit(plan, event->now_ns);
}

static struct cu_action do_deliver(struct cu_plan *plan)
{
	CU_CHECK(plan->row > plan->seen && plan->row <= plan->available);
	return cu_plan_move(plan, CU_STATE_DELIVERING, (struct cu_action){.kind = CU_ACTION_DELIVER});
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
		plan->alone = in_the_way || plan->target_rows == 1 || plan->careful;
	if (plan->began_ns == 0)
		return cu_plan_crash_begin(plan);
	return do_deliver(plan);
}

static struct cu_action at_begun(struct cu_plan *plan, const struct cu_event *event)
{
	plan->began_ns = event->now_ns > 0 ? event->now_ns : 1;
	plan->applied_ns = plan->began_ns;
	plan->hold_ns = event->hold_ns > 0 ? event->hold_ns : plan->config.batch_ns;
	if (event->watermark != plan->watermark)
		return cu_plan_abort(plan, plan->config.lease ? CU_THEN_LEASE : CU_THEN_LOAD);
	if (plan->park != 0)
		return cu_plan_move(plan, CU_STATE_PARKING,
			(struct cu_action){.kind = CU_ACTION_PARK,
				.id = plan->park,
				.attempts = plan->blamed ? plan->blamed : plan->attempts,
				.crashes = plan->blamed});
	if (plan->config.kind == CU_PLAN_RANGE)
		return cu_plan_move(plan, CU_STATE_APPLYING,
			(struct cu_action){
				.kind = CU_ACTION_APPLY, .lo = plan->watermark, .hi = plan->goal});
	if (plan->row != 0)
		return do_deliver(plan);
	return do_commit(plan, event->now_ns);
}

static struct cu_action at_delivered(struct cu_plan *plan, const struct cu_event *event)
{
	CU_CHECK(event->id == 0 || event->id > plan->row);
	cu_plan_delivered(plan, event);
	if (event->waits && (plan->barrier == 0 || plan->row < plan->barrier))
		plan->barrier = plan->row;
	if (cu_plan_time_is_up(plan, event) || plan->alone)
		return do_commit(plan, event->now_ns);
	return plan->row == 0 ? at_end(plan, event) : at_row(plan, event);
}

static struct cu_action at_committed(struct cu_plan *plan, const struct cu_event *event)
{
	plan->watermark = plan->goal;
	if (plan->watermark >= plan->barrier)
		plan->barrier = 0;
	plan->attempts = 0; /* whatever failed stood at the front, and is behind us */
	plan->park = 0;
	plan->blamed = 0;
	plan->machine_faults = 0;
	plan->schema_faults = 0;
	plan->available_rows -= plan->batch_rows;
	if (plan->available_rows < 0 || plan->available == plan->watermark)
		plan->available_rows = 0;
	if (plan->available == plan->watermark)
		plan->expected_rows = 0;
	else if (plan->expected_rows >= 0)
		plan->expected_rows = plan->expected_rows > plan->batch_rows
			? plan->expected_rows - plan->batch_rows : 0;
	if (plan->renewing)
		plan->renew_at_ns = cu_deadline(event->now_ns, plan->config.lease_ns / 3);
	cu_plan_adapt(plan);
	cu_plan_crash_committed(plan);
	plan->counts = (struct cu_plan_counts){0};
	clear_batch(plan);
	return do_wait(plan, event);
}

static struct cu_action at_loaded(struct cu_plan *plan, const struct cu_event *event)
{
	plan->watermark = event->watermark;
	plan->available = event->watermark;
	plan->available_rows = 0;
	plan->expected_rows = 0;
	plan->barrier = 0;
	plan->failed_hi = 0;
	plan->target_rows = cu_plan_first_target(plan);
	plan->park = 0;
	plan->blamed = 0;
	plan->attempts = 0;
	cu_plan_crash_loaded(plan);
	clear_batch(plan);
	plan->epoch++;
	return cu_plan_move(plan, CU_STATE_REWINDING,
		(struct cu_action){
			.kind = CU_ACTION_REWIND, .lo = plan->watermark, .epoch = plan->epoch});
}

/* ---- after an abort, a pause or a renewal --------------------------------------------------- */

static struct cu_action go_on(
	struct cu_plan *plan, enum cu_plan_then then, const struct cu_event *event)
{
	if (event->stopping && then != CU_THEN_STOP)
		return do_stop(plan, CATCHUP_OK);
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
		plan->sleep_until_ns = cu_deadline(event->now_ns, plan->pause_ns);
		return do_sleep(plan);
	case CU_THEN_WAIT:
		break;
	}
	return do_wait(plan, event);
}

static struct cu_action at_aborted(struct cu_plan *plan, const struct cu_event *event)
{
	clear_batch(plan);
	return go_on(plan, plan->then, event);
}

static struct cu_action at_slept(struct cu_plan *plan, const struct cu_event *event)
{
	if (event->now_ns < plan->sleep_until_ns && !event->stopping)
		return do_renew(plan);
	plan->sleep_until_ns = 0;
	return go_on(plan, plan->after_sleep, event);
}

static struct cu_action at_renewed(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t life_ns = plan->config.lease_ns;

	/* Who keeps it renewed has had two more chances by then. */
	plan->renew_at_ns = event->renewed_ns != 0 ? cu_deadline(event->renewed_ns, life_ns / 10 * 7)
						   : cu_deadline(event->now_ns, life_ns / 3);
	return plan->sleep_until_ns != 0 ? do_sleep(plan) : do_wait(plan, event);
}

static struct cu_action at_parked(struct cu_plan *plan, const struct cu_event *event)
{
	plan->counts.offered++;
	plan->counts.parked++;
	plan->batch_rows = 1;
	plan->seen = plan->park;
	plan->goal = plan->park;
	return do_commit(plan, event->now_ns);
}

/* ---- steps -------------------------------------------------------------------------------- */

struct cu_action cu_plan_first(struct cu_plan *plan, const struct cu_plan_config *config)
{
	CU_CHECK(config->batch_rows >= 1 && config->batch_ns >= 1);
	CU_CHECK(!config->lease || config->lease_ns >= 3);
	memset(plan, 0, sizeof(*plan));
	plan->config = *config;
	plan->random = config->seed ? config->seed : 1;
	plan->clock_every = 1;
	plan->target_rows = cu_plan_first_target(plan);
	cu_plan_crash_first(plan);
	return do_open(plan);
}

struct cu_action cu_plan_step(struct cu_plan *plan, const struct cu_event *event)
{
	CU_CHECK(states[plan->state].answers & (UINT32_C(1) << event->kind));
	plan->mark_stands |= event->marked;
	plan->has_marked |= event->marked;
	/* A lease that was taken before the fault is to be given back, too. */
	if (event->fence != 0)
		plan->fence = event->fence;
	if (event->kind == CU_EVENT_FAULT)
		return cu_plan_take_fault(plan, event);
	cu_plan_note_success(plan);
	switch (event->kind) {
	case CU_EVENT_OPENED:
		return plan->config.lease ? do_lease(plan) : do_load(plan);
	case CU_EVENT_LEASED:
		cu_plan_crash_leased(plan, &event->past);
		plan->renew_at_ns = cu_deadline(event->now_ns, plan->config.lease_ns / 3);
		return do_load(plan);
	case CU_EVENT_DENIED:
		return cu_plan_abort_and_pause(plan, event->wait_ns, CU_THEN_LEASE);
	case CU_EVENT_LOADED:
		return at_loaded(plan, event);
	case CU_EVENT_RANGE:
		take_range(plan, event);
		return do_wait(plan, event);
	case CU_EVENT_STOPPING:
		return do_stop(plan, CATCHUP_OK);
	case CU_EVENT_TIME:
		if (plan->state == CU_STATE_SLEEPING)
			return at_slept(plan, event);
		if (plan->available > plan->watermark && !event->stopping)
			return start_batch(plan);
		return do_wait(plan, event);
	case CU_EVENT_CUT:
		CU_CHECK(event->hi > plan->watermark && event->hi <= plan->available);
		CU_CHECK(event->rows <= plan->target_rows);
		plan->goal = event->hi;
		plan->batch_rows = event->rows;
		plan->alone = (plan->target_rows == 1 || plan->careful) && event->rows == 1;
		plan->row = plan->alone ? event->hi : 0;
		return cu_plan_crash_begin(plan);
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
		/* Of the rows that were counted some may be gone. */
		plan->counts.parked += event->rows;
		plan->counts.applied +=
			plan->batch_rows > event->rows ? plan->batch_rows - event->rows : 0;
		plan->counts.offered += plan->counts.applied + plan->counts.parked;
		plan->applied_ns = event->now_ns;
		return do_commit(plan, event->now_ns);
	case CU_EVENT_COMMITTED:
		return at_committed(plan, event);
	case CU_EVENT_LOST:
		return cu_plan_abort(plan, plan->config.lease ? CU_THEN_LEASE : CU_THEN_LOAD);
	case CU_EVENT_DONE:
		if (plan->state == CU_STATE_PARKING)
			return at_parked(plan, event);
		if (plan->state == CU_STATE_ABORTING)
			return at_aborted(plan, event);
		if (plan->state == CU_STATE_RENEWING)
			return at_renewed(plan, event);
		return do_wait(plan, event);
	case CU_EVENT_FAULT:
		break;
	}
	cu_check_failed(__FILE__, __LINE__, "an event that no state answers");
}
