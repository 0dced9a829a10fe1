/* SPDX-License-Identifier: MIT */
/*
 * plan_fault.c - what a plan does about a fault: whose it is, and whether it is tried again, after
 * which pause, on which connections, or not at all.
 *
 * A fault is the machine's, the schema's, the row's, or the end. One that is the row's finds its
 * row first: a row that failed while it was delivered is known, and comes alone next time; where a
 * set or a commit failed, batches are halved until a row stands alone. A set that took too long is cut
 * into single rows at once: each half could take as long again. Only then does the policy speak.
 */
#include "base/os.h"
#include "pool/plan/plan_inside.h"

/* Pauses after faults of the machine. A lock is looked at often, a full disk now and then. */
#define LOCKED_BASE_NS (5 * CU_NS_PER_MS)
#define LOCKED_MAX_NS (250 * CU_NS_PER_MS)
#define MACHINE_BASE_NS (50 * CU_NS_PER_MS)
#define MACHINE_MAX_NS (2000 * CU_NS_PER_MS)

/* Of the time between two looks at a lock so much counts at most: the larger of a third of what stops the
 * consumer, and this. */
#define LOCKED_LOOKS 3
#define LOCKED_LOOK_NS (2 * CU_NS_PER_S)

/* A schema fault is tried once more on fresh connections: the table may be in the middle of being
 * replaced. */
#define SCHEMA_FAULTS_MAX 2u

static uint64_t next_random(struct cu_plan *plan)
{
	/* xorshift64: any seed but 0; jitter needs no more. */
	plan->random ^= plan->random << 13;
	plan->random ^= plan->random >> 7;
	plan->random ^= plan->random << 17;
	return plan->random;
}

/* Nothing but this row is in the batch that failed. row 0: not even a row is. */
static struct cu_action bad_row(struct cu_plan *plan, int64_t row, const struct cu_event *event)
{
	const struct cu_policy *policy = &plan->config.policy;

	if (row != plan->failed_row)
		plan->attempts = 0;
	plan->failed_row = row;
	plan->attempts++;
	if (plan->attempts <= policy->retries)
		return cu_plan_abort_and_pause(plan,
			cu_policy_pause_ns(
				policy->base_ns, policy->max_ns, plan->attempts, next_random(plan)),
			CU_THEN_WAIT);
	if (policy->end == CU_POLICY_PARK && row != 0) {
		plan->park = row;
		return cu_plan_abort(plan, CU_THEN_WAIT);
	}
	plan->stop_row = row;
	return cu_plan_abort_and_stop(plan, event->code);
}

static struct cu_action row_fault(struct cu_plan *plan, const struct cu_event *event)
{
	plan->counts.retries++;
	if (plan->state == CU_STATE_DELIVERING) {
		/* What failed is known. Rows before it are done again and committed; then it
		 * comes alone. */
		plan->barrier = plan->row;
		if (plan->batch_rows == 0)
			return bad_row(plan, plan->row, event);
		return cu_plan_abort(plan, CU_THEN_WAIT);
	}
	if (plan->config.kind == CU_PLAN_ROWS && plan->alone)
		/* At the commit: the row was delivered, and the next one is in hand. */
		return bad_row(plan, plan->seen, event);
	if (plan->alone || plan->batch_rows == 0)
		return bad_row(plan, plan->row, event);
	/* Which row it is cannot be told from outside: halve until one stands alone. */
	plan->failed_hi = plan->goal;
	plan->target_rows =
		plan->batch_rows > 1 && event->fault != CU_FAULT_SLOW ? plan->batch_rows / 2 : 1;
	return cu_plan_abort(plan, CU_THEN_WAIT);
}

/* Whether an error that is not the machine's is that of a row. A commit without rows has none to
 * blame, and a row that cannot even be parked is not helped by parking it. */
static bool is_of_row(const struct cu_plan *plan, const struct cu_event *event)
{
	if (plan->state == CU_STATE_DELIVERING || plan->state == CU_STATE_APPLYING ||
		plan->state == CU_STATE_WAITING)
		return event->of_row;
	return plan->state == CU_STATE_COMMITTING && plan->batch_rows > 0 && plan->park == 0;
}

/* What a process that was stopped meets at its first look afterwards is not one long lock. */
static bool is_locked_for_good(struct cu_plan *plan, int64_t now_ns)
{
	int64_t most_ns = plan->config.locked_ns / LOCKED_LOOKS;

	if (most_ns < LOCKED_LOOK_NS)
		most_ns = LOCKED_LOOK_NS;
	if (plan->locked_at_ns == 0)
		plan->locked_for_ns = 0;
	else
		plan->locked_for_ns += cu_waited_ns(plan->locked_at_ns, now_ns, most_ns);
	plan->locked_at_ns = now_ns > 0 ? now_ns : 1;
	plan->locked_in = plan->state;
	return plan->locked_for_ns >= plan->config.locked_ns;
}

static struct cu_action machine_fault(struct cu_plan *plan, const struct cu_event *event)
{
	bool busy = event->fault == CU_FAULT_BUSY;
	int64_t pause;

	/* A row's pause goes on; there is time to renew later. */
	if (busy && plan->state == CU_STATE_RENEWING && plan->sleep_until_ns != 0)
		return cu_plan_renew_later(plan, event->now_ns);
	plan->machine_faults++;
	if (busy && is_locked_for_good(plan, event->now_ns))
		return cu_plan_abort_and_stop(plan, CATCHUP_LOCKED);
	pause = cu_policy_pause_ns(busy ? LOCKED_BASE_NS : MACHINE_BASE_NS,
		busy ? LOCKED_MAX_NS : MACHINE_MAX_NS, plan->machine_faults, next_random(plan));
	/* After a failed write or sync nobody knows what the file holds: only a fresh connection
	 * and the watermark it reads say where to go on. */
	if (!busy || plan->state == CU_STATE_OPENING)
		return cu_plan_abort_and_pause(plan, pause, CU_THEN_OPEN);
	if (plan->state == CU_STATE_LEASING)
		return cu_plan_abort_and_pause(plan, pause, CU_THEN_LEASE);
	if (plan->state == CU_STATE_LOADING || plan->state == CU_STATE_REWINDING)
		return cu_plan_abort_and_pause(plan, pause, CU_THEN_LOAD);
	return cu_plan_abort_and_pause(plan, pause, CU_THEN_WAIT);
}

/* A lock is over when what met it goes through; for what is done to a row, when that commits. */
void cu_plan_note_success(struct cu_plan *plan)
{
	bool through = plan->state == plan->locked_in && plan->state != CU_STATE_DELIVERING;

	if (through || plan->state == CU_STATE_LOADING || plan->state == CU_STATE_COMMITTING)
		plan->locked_at_ns = 0;
}

struct cu_action cu_plan_take_fault(struct cu_plan *plan, const struct cu_event *event)
{
	switch (event->fault) {
	case CU_FAULT_BUSY:
	case CU_FAULT_FULL:
	case CU_FAULT_IO:
	case CU_FAULT_MEMORY:
		if (event->stopping && event->fault != CU_FAULT_BUSY)
			return cu_plan_abort_and_stop(plan, CATCHUP_OK);
		return machine_fault(plan, event);
	case CU_FAULT_STOP:
		return cu_plan_abort_and_stop(plan, CATCHUP_OK);
	case CU_FAULT_SCHEMA:
		if (plan->state == CU_STATE_OPENING || ++plan->schema_faults >= SCHEMA_FAULTS_MAX)
			return cu_plan_abort_and_stop(plan, event->code);
		return cu_plan_abort_and_pause(plan, MACHINE_BASE_NS, CU_THEN_OPEN);
	case CU_FAULT_ROW:
	case CU_FAULT_SLOW:
		if (is_of_row(plan, event))
			return row_fault(plan, event);
		return cu_plan_abort_and_stop(plan, event->code);
	case CU_FAULT_NONE:
	case CU_FAULT_DATABASE:
	case CU_FAULT_GONE:
		break;
	}
	return cu_plan_abort_and_stop(plan, event->code);
}
