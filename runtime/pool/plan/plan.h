/* SPDX-License-Identifier: MIT */
/*
 * plan.h - what a consumer does next: a pure function of events to actions.
 *
 * No thread, clock or database in here. Whoever runs a consumer performs the action the plan asks
 * for and answers with one event, which says what came of it and what time it is:
 *
 *	action = cu_plan_first(plan);
 *	for (;;)
 *		action = cu_plan_step(plan, perform(action));
 *
 *        +--------------------------------- LOST, back from a fault --------------------+
 *        v                                                                             |
 *	LEASE -> LOAD -> WAIT -> CUT/FETCH -> BEGIN -> DELIVER.../APPLY -> COMMIT -> WAIT   |
 *	                          ^             |           |                |              |
 *	                          |             +-----------+-- FAULT -------+--> ABORT ----+
 *	                          +---- SLEEP <---------------------------------- (retry)
 *
 * Promises, whatever the events:
 *  - the watermark moves only from what is committed to an id up to which every row was delivered,
 *    parked or found absent; never backwards;
 *  - rows are delivered in strictly ascending order above the watermark;
 *  - after the end of `next`, it is asked again from the last id seen until it returns nothing;
 *  - a transaction holds at most batch_rows rows and, as far as rows can be told apart, batch_ns;
 *  - an error of the machine never parks a row, and never stops the consumer for the row's sake;
 *  - after a crash, rows that may have caused it come alone, each written down before; one that was in
 *    hand at CU_PLAN_CRASHES_MAX crashes is not processed again: the policy decides.
 */
#ifndef CU_POOL_PLAN_H
#define CU_POOL_PLAN_H

#include "pool/plan/policy.h"
#include "store/connection/fault.h"

enum cu_plan_kind {
	CU_PLAN_ROWS,  /* row by row, out of `next` */
	CU_PLAN_RANGE, /* set-based, (last, max] at once */
};

#define CU_PLAN_CRASHES_MAX 3u

struct cu_plan_config {
	enum cu_plan_kind kind;
	bool requery;       /* `next` is the consumer's own: it may have a filter or a LIMIT */
	bool lease;         /* take a lease before anything else */
	uint32_t batch_rows;
	uint32_t ahead_rows; /* so many more may be in work ahead of a batch */
	int64_t batch_ns;
	int64_t lease_ns;
	int64_t locked_ns;  /* a lock that lasts as long stops the consumer */
	struct cu_policy policy;
	uint64_t seed;      /* for jitter */
};

enum cu_action_kind {
	CU_ACTION_OPEN,    /* (re)open connections and prepare; answer OPENED or FAULT */
	CU_ACTION_LEASE,   /* take the lease; LEASED with fence, or DENIED with wait_ns, or FAULT */
	CU_ACTION_LOAD,    /* read the watermark; LOADED or FAULT */
	CU_ACTION_WAIT,    /* for ranges, a wake-up or until_ns; RANGE, TIME, STOPPING, FAULT, or
	                      LOST when the watermark was moved outside the plan */
	CU_ACTION_REWIND,  /* tell the reader to feed from lo again under `epoch`; DONE or FAULT */
	CU_ACTION_CUT,     /* where do `rows` rows above lo end, at most hi? CUT with the id of the
	                      last of them, or with hi when there are fewer; or FAULT */
	CU_ACTION_FETCH,   /* start `next` on (lo, hi] and step it once; ROW, END or FAULT */
	CU_ACTION_BEGIN,   /* take the turn and begin; BEGUN with the stored watermark, or FAULT. With an
	                      id: when the lock is there, first write down that row `id` is in hand and
	                      that a crash now would be the `attempts`th, in a commit of its own, and
	                      begin right behind it; then LOST, too, and `marked` says whether it was */
	CU_ACTION_DELIVER, /* call `row` for the row in hand, step `next`; DELIVERED or FAULT */
	CU_ACTION_APPLY,   /* call `range` on (lo, hi]; APPLIED or FAULT */
	CU_ACTION_PARK,    /* make row `id`, which failed before, a dead letter; DONE or FAULT.
	                      Other faults may have come since: keep the one of the row */
	CU_ACTION_COMMIT,  /* end `next`; watermark lo -> hi, counters, commit, leave the turn;
	                      COMMITTED, LOST or FAULT */
	CU_ACTION_ABORT,   /* end `next`, roll back, leave the turn; DONE. `unmark`: write down before
	                      that the row that is marked has come back */
	CU_ACTION_RENEW,   /* renew the lease; DONE, perhaps with renewed_ns, LOST or FAULT */
	CU_ACTION_SLEEP,   /* until until_ns, telling the user about `trouble`; TIME or STOPPING */
	CU_ACTION_STOP,    /* for good: stop_code and, if not OK, the last fault, and the row it
	                      is about in id (0: none); nothing follows */
};

struct cu_action {
	enum cu_action_kind kind;
	int64_t lo, hi;     /* CUT, FETCH, APPLY, COMMIT (expected, next), REWIND (lo) */
	int64_t id;         /* PARK, STOP; BEGIN: the row to mark, 0 for none */
	int64_t until_ns;   /* WAIT, SLEEP */
	uint32_t rows;      /* CUT */
	uint32_t epoch;     /* REWIND */
	uint32_t attempts;  /* PARK: how often the row was tried; BEGIN */
	uint32_t crashes;   /* PARK, STOP: the row was in hand at so many crashes and was not tried
	                       again; 0: it failed */
	bool renew;         /* COMMIT: renew the lease in it */
	bool unmark;        /* COMMIT: forget the row that was marked; ABORT: it has come back */
	bool ends_care;     /* COMMIT: forget that this lease has marked rows */
	int64_t in_hand;    /* COMMIT: how many rows to expect in hand at a crash; 0: not known,
	                       -1: as many as before */
	int stop_code;      /* STOP */
};

struct cu_event {
	enum cu_event_kind {
		CU_EVENT_OPENED,
		CU_EVENT_LEASED,
		CU_EVENT_DENIED,
		CU_EVENT_LOADED,
		CU_EVENT_RANGE,
		CU_EVENT_TIME,
		CU_EVENT_STOPPING, /* may answer WAIT and SLEEP only; else see `stopping` */
		CU_EVENT_CUT,
		CU_EVENT_ROW,
		CU_EVENT_END,
		CU_EVENT_BEGUN,
		CU_EVENT_DELIVERED,
		CU_EVENT_APPLIED,
		CU_EVENT_COMMITTED,
		CU_EVENT_LOST,
		CU_EVENT_FAULT,
		CU_EVENT_DONE,
	} kind;
	int64_t now_ns;    /* monotonic; DELIVERED may carry an older time where the plan asked for
	                      no clock */
	bool stopping;     /* finish what is in hand and stop */
	int64_t watermark; /* LOADED, BEGUN */
	int64_t hold_ns;   /* BEGUN: how long the lock may be held; 0: batch_ns */
	bool marked;       /* BEGUN, FAULT of BEGIN: the row is marked */
	int64_t lo, hi;    /* RANGE, CUT (hi) */
	uint32_t rows;     /* RANGE, CUT; UINT32_MAX: not counted. APPLIED: so many of them were made
	                      dead letters without a look: their keys are parked */
	uint32_t epoch;    /* RANGE */
	int64_t id;        /* ROW; DELIVERED: the next row in hand, 0 at the end of `next` */
	bool waits;        /* DELIVERED: that one is made ready outside a transaction: this batch ends
	                      before it */
	enum cu_outcome {
		CU_OUTCOME_APPLIED,
		CU_OUTCOME_PASSED, /* looked at and passed over */
		CU_OUTCOME_PARKED, /* made a dead letter without a look: its key is parked */
	} outcome;         /* DELIVERED */
	int64_t fence;     /* LEASED; FAULT of LEASE: the lease was taken before it */
	struct cu_plan_past {
		bool crashed;      /* who had the lease before is gone without a word */
		int64_t newest;    /* id of the source now, 0 when not known */
		uint32_t in_hand;  /* what the last COMMIT said of it, 0: not known */
		int64_t marked;    /* the row that is marked, 0 for none */
		uint32_t attempts; /* and at which try */
		bool marked_by_it; /* who is gone marked it, and nobody else was there since; attempts:
		                      without one that has come back */
	} past;            /* LEASED */
	int64_t wait_ns;   /* DENIED */
	int64_t renewed_ns; /* DONE of RENEW: somebody keeps it renewed, and did so then; 0: nobody */
	enum cu_fault fault; /* FAULT */
	bool of_row;       /* FAULT of DELIVER and APPLY: the consumer was at work on the row in
	                      hand, or the range; of WAIT: on no row, but it may be tried again */
	int code;          /* FAULT: enum catchup_code to stop with where the plan stops */
};

struct cu_plan_counts {
	int64_t offered, applied, passed, parked, retries;
	int64_t vanished;       /* in a range when it was cut, and not any more when it was read */
};

struct cu_plan {
	/* constant */
	struct cu_plan_config config;

	enum cu_plan_state {
		CU_STATE_OPENING,
		CU_STATE_LEASING,
		CU_STATE_LOADING,
		CU_STATE_WAITING,
		CU_STATE_REWINDING,
		CU_STATE_CUTTING,
		CU_STATE_FETCHING,
		CU_STATE_BEGINNING,
		CU_STATE_DELIVERING,
		CU_STATE_APPLYING,
		CU_STATE_PARKING,
		CU_STATE_COMMITTING,
		CU_STATE_ABORTING,
		CU_STATE_RENEWING,
		CU_STATE_SLEEPING,
		CU_STATE_STOPPED,
	} state;

	/* what is committed, and what may be done */
	int64_t watermark;
	int64_t available;      /* ids up to here were fed; >= watermark */
	int64_t available_rows; /* RANGE: rows in (watermark, available], an upper bound */
	int64_t expected_rows;  /* ROWS: rows in (watermark, available] when they were counted; -1: some
	                           were not */
	uint32_t epoch;
	int64_t fence;
	int64_t renew_at_ns;

	/* batch in hand: (watermark, ...] */
	int64_t seen;           /* last id delivered, or the watermark */
	int64_t row;            /* the row in hand, 0 for none */
	int64_t goal;           /* the watermark if the batch commits as it stands */
	uint32_t batch_rows;    /* delivered in it, or counted in its range */
	uint32_t since_fetch;   /* rows since `next` was asked last */
	bool alone;             /* the batch is exactly one row, `row` */
	int64_t began_ns;       /* 0: not begun */
	int64_t hold_ns;        /* how long the transaction may take: batch_ns, or less */
	int64_t applied_ns;     /* RANGE: when its results were written */
	bool renewing;          /* its commit renews the lease */
	struct cu_plan_counts counts; /* to commit with it */

	/* how large batches are now */
	uint32_t target_rows;
	uint32_t clock_every;   /* DELIVERED needs a fresh now_ns every so many rows */
	uint32_t rows_since_clock;

	/* the row that is in the way */
	int64_t barrier;        /* ROWS: rows from here on wait for a batch of their own; 0: none */
	int64_t failed_hi;      /* something up to here failed: batches do not grow; 0: nothing */
	int64_t failed_row;     /* the last row that failed alone; 0: an empty range, or none */
	uint32_t attempts;      /* how often it failed alone */
	int64_t park;           /* the row that the next batch makes a dead letter; 0: none */

	/* the row that may have crashed the process (plan_crash.c) */
	bool leased;            /* at least once */
	bool careful;           /* rows come alone, and are marked before */
	int64_t careful_to;     /* what crashed is not above; INT64_MAX: not known */
	uint32_t careful_rows;  /* nor further away than so many rows */
	uint32_t suspicion;     /* crashes that each row up to there may have caused */
	int64_t marked;         /* the row that is marked, 0 for none */
	uint32_t crashes;       /* that it was in hand at */
	bool mark_stands;       /* for the try in hand */
	bool has_marked;        /* under this lease, and what is stored says so */
	uint32_t blamed;        /* crashes of the row that is parked or stops for them; 0: it failed */

	/* the machine */
	uint32_t machine_faults;  /* in a row */
	uint32_t schema_faults;   /* in a row */
	int64_t locked_for_ns;    /* as far as anybody looked */
	int64_t locked_at_ns;     /* it was met last; 0: not locked */
	enum cu_plan_state locked_in; /* where the lock was met last */

	/* after the abort or the pause in hand */
	enum cu_plan_then {
		CU_THEN_WAIT,
		CU_THEN_SLEEP,
		CU_THEN_OPEN,
		CU_THEN_LEASE,
		CU_THEN_LOAD,
		CU_THEN_STOP,
	} then, after_sleep;
	int64_t pause_ns;
	int64_t sleep_until_ns;   /* 0: not asleep; sleep may be interrupted to renew the lease */
	int stop_code;
	int64_t stop_row;         /* 0: none */

	uint64_t random;
};

/* Starts at OPEN. */
struct cu_action cu_plan_first(struct cu_plan *plan, const struct cu_plan_config *config);
struct cu_action cu_plan_step(struct cu_plan *plan, const struct cu_event *event);

/* The row in hand is done, and the next one is. */
static inline void cu_plan_delivered(struct cu_plan *plan, const struct cu_event *event)
{
	plan->batch_rows++;
	plan->since_fetch++;
	plan->counts.offered++;
	plan->counts.applied += event->outcome == CU_OUTCOME_APPLIED;
	plan->counts.passed += event->outcome == CU_OUTCOME_PASSED;
	plan->counts.parked += event->outcome == CU_OUTCOME_PARKED;
	plan->seen = plan->row;
	plan->goal = plan->row;
	plan->row = event->id;
}

/*
 * The steps that are taken most, without the rest of the machine: rows that are delivered one after the
 * other in the same batch. cu_plan_run says how many and how far, cu_plan_ran that they were. Where a
 * run ends, nothing was changed by the row in hand, and cu_plan_step decides.
 */
struct cu_plan_run {
	uint32_t most; /* so many rows may be delivered and followed by another */
	int64_t to;    /* that is not above this id */

	/* filled by who delivers */
	uint32_t rows; /* that were followed by another */
	uint32_t passed, parked; /* of these; the others were applied */
	int64_t seen;  /* the last of them */
	int64_t row;   /* the one in hand now */
};

static inline struct cu_plan_run cu_plan_run(const struct cu_plan *plan, bool stopping)
{
	struct cu_plan_run run = {.to = plan->available, .seen = plan->seen, .row = plan->row};
	uint32_t before_clock = plan->rows_since_clock + 1, before_full = plan->batch_rows + 1;

	if (stopping || plan->alone || before_clock >= plan->clock_every ||
		before_full >= plan->target_rows)
		return run;
	run.most = plan->clock_every - before_clock;
	if (run.most > plan->target_rows - before_full)
		run.most = plan->target_rows - before_full;
	if (plan->barrier != 0 && run.to >= plan->barrier)
		run.to = plan->barrier - 1;
	return run;
}

/* Whether the row that has come after the one in hand belongs to the run; 0: there is none. */
static inline bool cu_plan_run_goes_on(const struct cu_plan_run *run, int64_t id)
{
	return run->rows < run->most && id > run->row && id <= run->to;
}

static inline void cu_plan_ran(struct cu_plan *plan, const struct cu_plan_run *run)
{
	plan->batch_rows += run->rows;
	plan->since_fetch += run->rows;
	plan->rows_since_clock += run->rows;
	plan->counts.offered += run->rows;
	plan->counts.applied += run->rows - run->passed - run->parked;
	plan->counts.passed += run->passed;
	plan->counts.parked += run->parked;
	plan->seen = plan->goal = run->seen;
	plan->row = run->row;
}

/* The same for one row. True: the action is DELIVER again. */
static inline bool cu_plan_goes_on(struct cu_plan *plan, const struct cu_event *event)
{
	struct cu_plan_run run = cu_plan_run(plan, event->stopping);

	if (event->kind != CU_EVENT_DELIVERED || event->waits || !cu_plan_run_goes_on(&run, event->id))
		return false;
	run.rows = 1;
	run.passed = event->outcome == CU_OUTCOME_PASSED;
	run.parked = event->outcome == CU_OUTCOME_PARKED;
	run.seen = run.row;
	run.row = event->id;
	cu_plan_ran(plan, &run);
	return true;
}

/* Whether a range of so many rows still goes into the batch that is being put together. */
static inline bool cu_plan_fits(const struct cu_plan *plan, uint32_t rows)
{
	return plan->config.kind == CU_PLAN_ROWS || plan->available_rows == 0 ||
		plan->available_rows + rows <= plan->target_rows;
}

/* While waiting: whether another range should be given before anything else is done. */
bool cu_plan_wants_range(const struct cu_plan *plan);

/* Whether the plan asks for a fresh clock with the next DELIVERED. */
static inline bool cu_plan_wants_clock(const struct cu_plan *plan)
{
	return plan->rows_since_clock + 1 >= plan->clock_every;
}

const char *cu_plan_state_name(enum cu_plan_state state);

/* ---- the reader's side: how far a consumer has been fed ------------------------------------ */

struct cu_feed {
	int64_t pushed;  /* ranges up to here are in the ring or done */
	uint32_t epoch;
	bool started;    /* the consumer has said where it begins */
};

/* The consumer (re)starts from its watermark under an epoch. */
void cu_feed_rewind(struct cu_feed *feed, int64_t from, uint32_t epoch);
/* Whether there is something to push. */
bool cu_feed_wants(const struct cu_feed *feed, int64_t newest);
/* A range (pushed, hi] was put into the ring. */
void cu_feed_pushed(struct cu_feed *feed, int64_t hi);

#endif
