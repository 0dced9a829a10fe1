/* SPDX-License-Identifier: MIT */
/*
 * plan_inside.h - what the files of the plan share.
 */
#ifndef CU_POOL_PLAN_INSIDE_H
#define CU_POOL_PLAN_INSIDE_H

#include "pool/plan/plan.h"

struct cu_action cu_plan_move(
	struct cu_plan *plan, enum cu_plan_state state, struct cu_action action);
struct cu_action cu_plan_begin(struct cu_plan *plan);

/* Ends the batch in hand, then goes on so (plan.c). */
struct cu_action cu_plan_abort(struct cu_plan *plan, enum cu_plan_then then);
struct cu_action cu_plan_abort_and_stop(struct cu_plan *plan, int code);
struct cu_action cu_plan_abort_and_pause(
	struct cu_plan *plan, int64_t pause_ns, enum cu_plan_then after);
/* Sleeps on without having renewed the lease. */
struct cu_action cu_plan_renew_later(struct cu_plan *plan, int64_t now_ns);

/* What is done about a FAULT (plan_fault.c). */
struct cu_action cu_plan_take_fault(struct cu_plan *plan, const struct cu_event *event);
/* It begins; a lease was taken; the watermark was read; the batch in hand was committed
 * (plan_crash.c). */
void cu_plan_crash_first(struct cu_plan *plan);
void cu_plan_crash_leased(struct cu_plan *plan, const struct cu_plan_past *past);
void cu_plan_crash_loaded(struct cu_plan *plan);
void cu_plan_crash_committed(struct cu_plan *plan);
/* What the commit of the batch in hand says about the next crash. */
int64_t cu_plan_crash_in_hand(const struct cu_plan *plan);
bool cu_plan_crash_ends_care(const struct cu_plan *plan);
/* Begins a batch, perhaps marking its row before. */
struct cu_action cu_plan_crash_begin(struct cu_plan *plan);

/* The action in hand went through. */
void cu_plan_note_success(struct cu_plan *plan);

/* How many rows a batch has while nothing is known. */
uint32_t cu_plan_first_target(const struct cu_plan *plan);
/* Whether the batch in hand has had its time; a row of it was delivered. */
bool cu_plan_time_is_up(struct cu_plan *plan, const struct cu_event *event);
/* Takes the batch that was committed as the measure of the next. */
void cu_plan_adapt(struct cu_plan *plan);

#endif
