/* SPDX-License-Identifier: MIT */
/*
 * plan_crash.c - what a plan does about a process that died with rows in hand.
 *
 * Who takes a lease over from a process that is gone without a word takes care: rows that may have been
 * in hand come alone, and each is written down in a commit of its own before it is processed. If the
 * process dies again, the next one finds the row, and how often. Which kill was the row's fault and
 * which was somebody's with a signal cannot be told; that the same row is in hand three times running
 * is no accident. The crash that was noticed first had all rows of a batch in hand, so it counts for
 * each of them.
 *
 * A mark says that the row's own code may be running. So it is written when the lock is there that the
 * code needs, the transaction begins right behind its commit, and whatever ends that without a commit
 * (the row failed and is tried again in a minute, the disk is full) takes the mark back: nobody is killed
 * for minutes beside a row that waits. Between the two commits the lock is free for some microseconds, as
 * a mark that outlives a crash must be committed; who comes in there, and is at work when the process is
 * killed, has that kill counted. Three such in a row, each within those microseconds, are not planned for.
 *
 * How far away from the watermark that was is guessed from the last batch, since a takeover that takes
 * care of a whole batch costs time. Where the next crash shows that the guess was too small, it is not
 * believed a second time: then it is as many rows as a batch may have.
 */
#include "pool/plan/plan_inside.h"

#include "base/os.h"

/* A set may have grown to twice the last one, and the first few rows tell nothing. */
#define IN_HAND_TIMES 2u
#define IN_HAND_MORE 16u

static void forget_mark(struct cu_plan *plan)
{
	plan->marked = 0;
	plan->crashes = 0;
	plan->mark_stands = false;
}

void cu_plan_crash_first(struct cu_plan *plan)
{
	plan->careful = plan->config.policy.careful;
}

void cu_plan_crash_leased(struct cu_plan *plan, const struct cu_plan_past *past)
{
	bool first = !plan->leased;
	uint32_t most = plan->config.batch_rows;

	plan->leased = true;
	plan->has_marked = false;
	/* A lease that came back to this process says nothing new. */
	if (!past->crashed && (!first || past->marked == 0))
		return;
	plan->marked = past->marked;
	/* Who marked a row and took leave, or lost the lease alive, has not died of it. So a row that
	 * stopped its consumer for its crashes is tried once more when it is started again. */
	plan->crashes = past->marked_by_it || past->attempts == 0 ? past->attempts
								  : past->attempts - 1;
	plan->mark_stands = false;
	/* Where each row is marked, one without a mark was not in hand. */
	plan->suspicion = past->crashed && !past->marked_by_it && !plan->config.policy.careful;
	plan->careful = true;
	if (past->in_hand != 0 && most > IN_HAND_MORE &&
		past->in_hand < (most - IN_HAND_MORE) / IN_HAND_TIMES)
		most = past->in_hand * IN_HAND_TIMES + IN_HAND_MORE;
	plan->careful_rows = most + plan->config.ahead_rows;
	if (!past->crashed)
		plan->careful_to = past->marked;
	else
		plan->careful_to = past->newest > 0 ? past->newest : CU_FOREVER;
}

static void end_care(struct cu_plan *plan)
{
	if (plan->marked <= plan->watermark)
		forget_mark(plan);
	if (plan->watermark < plan->careful_to && plan->careful_rows != 0)
		return;
	plan->suspicion = 0;
	plan->careful = plan->config.policy.careful;
}

void cu_plan_crash_loaded(struct cu_plan *plan)
{
	/* Another process may have marked another row meanwhile. */
	plan->mark_stands = false;
	end_care(plan);
}

/* Rows that a careful plan still looks after when the batch in hand is committed. */
static uint32_t rows_left(const struct cu_plan *plan)
{
	return plan->batch_rows < plan->careful_rows ? plan->careful_rows - plan->batch_rows : 0;
}

/* Where rows are marked, one without a mark was not in hand, so it has no part in a crash. From the first
 * batch that is not marked any more that must not be believed. */
bool cu_plan_crash_ends_care(const struct cu_plan *plan)
{
	if (!plan->has_marked || plan->config.policy.careful)
		return false;
	return !plan->careful || plan->goal >= plan->careful_to || rows_left(plan) == 0;
}

void cu_plan_crash_committed(struct cu_plan *plan)
{
	plan->has_marked &= !cu_plan_crash_ends_care(plan);
	if (plan->careful)
		plan->careful_rows = rows_left(plan);
	end_care(plan);
}

int64_t cu_plan_crash_in_hand(const struct cu_plan *plan)
{
	if (!plan->careful)
		return plan->batch_rows > 0 && plan->park == 0 ? (int64_t)plan->batch_rows : -1;
	return rows_left(plan) == 0 && plan->goal < plan->careful_to ? 0 : -1;
}

/* The row is not processed again. Parked right away, or the consumer stops; tries that the policy
 * grants are for rows that fail. */
static struct cu_action blame(struct cu_plan *plan)
{
	plan->blamed = plan->crashes;
	if (plan->config.policy.end == CU_POLICY_PARK) {
		plan->park = plan->row;
		return cu_plan_abort(plan, CU_THEN_WAIT);
	}
	plan->stop_row = plan->row;
	return cu_plan_abort_and_stop(plan, CATCHUP_CONSUMER);
}

struct cu_action cu_plan_crash_begin(struct cu_plan *plan)
{
	if (!plan->careful || plan->row == 0)
		return cu_plan_begin(plan);
	if (plan->marked != plan->row) {
		forget_mark(plan);
		plan->marked = plan->row;
		plan->crashes = plan->suspicion;
	}
	if (plan->crashes >= CU_PLAN_CRASHES_MAX)
		return blame(plan);
	return cu_plan_move(plan, CU_STATE_BEGINNING,
		(struct cu_action){.kind = CU_ACTION_BEGIN,
			.id = plan->row,
			.attempts = plan->crashes + 1});
}
