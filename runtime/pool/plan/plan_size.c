/* SPDX-License-Identifier: MIT */
/*
 * plan_size.c - how large a plan's batches are: in rows, by what the last one took, and in time.
 */
#include "pool/plan/plan_inside.h"

/* A range consumer starts small and doubles: how long a row takes is not known before. */
#define FIRST_TARGET_ROWS 256u

/* Rows between two looks at the clock: so many that are suddenly slow go unnoticed. */
#define CLOCK_EVERY_MAX 16

/* How large batches are while nothing is known. */
uint32_t cu_plan_first_target(const struct cu_plan *plan)
{
	uint32_t most = plan->config.batch_rows;

	return plan->config.kind == CU_PLAN_RANGE && most > FIRST_TARGET_ROWS ? FIRST_TARGET_ROWS
									      : most;
}

/* Time is up when a sixteenth of the batch's time is left: the commit needs some too. */
bool cu_plan_time_is_up(struct cu_plan *plan, const struct cu_event *event)
{
	int64_t elapsed, per_row, every;

	if (++plan->rows_since_clock < plan->clock_every)
		return false;
	plan->rows_since_clock = 0;
	elapsed = event->now_ns - plan->began_ns;
	per_row = elapsed / plan->batch_rows + 1;
	every = plan->hold_ns / 32 / per_row;
	every = every > CLOCK_EVERY_MAX ? CLOCK_EVERY_MAX : every;
	plan->clock_every = every < 1 ? 1 : (uint32_t)every;
	return elapsed >= plan->hold_ns / 16 * 15;
}

/* Range batches grow while they are quick and shrink when they are slow. */
void cu_plan_adapt(struct cu_plan *plan)
{
	uint32_t most = plan->config.batch_rows;
	int64_t elapsed_ns = plan->applied_ns - plan->began_ns;

	if (plan->failed_hi != 0) {
		if (plan->watermark < plan->failed_hi)
			return;
		plan->failed_hi = 0;
		plan->target_rows = cu_plan_first_target(plan);
		return;
	}
	if (plan->config.kind == CU_PLAN_ROWS || plan->batch_rows == 0)
		return;
	if (elapsed_ns > plan->hold_ns) {
		int64_t fewer = (int64_t)plan->batch_rows * (plan->hold_ns / 4 * 3 / 1024) /
				(elapsed_ns / 1024 + 1);

		plan->target_rows = fewer < 1 ? 1 : (uint32_t)fewer;
	} else if (plan->batch_rows >= plan->target_rows / 2 &&
		   elapsed_ns < plan->hold_ns / 2) {
		plan->target_rows = plan->target_rows > most / 2 ? most : plan->target_rows * 2;
	}
}
