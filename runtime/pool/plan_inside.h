/* SPDX-License-Identifier: MIT */
/*
 * plan_inside.h - what plan.c and plan_fault.c share.
 */
#ifndef CU_POOL_PLAN_INSIDE_H
#define CU_POOL_PLAN_INSIDE_H

#include "pool/plan.h"

/* Ends the batch in hand, then goes on so (plan.c). */
struct cu_action cu_plan_abort(struct cu_plan *plan, enum cu_plan_then then);
struct cu_action cu_plan_abort_and_stop(struct cu_plan *plan, int code);
struct cu_action cu_plan_abort_and_pause(
	struct cu_plan *plan, int64_t pause_ns, enum cu_plan_then after);

/* What is done about a FAULT (plan_fault.c). */
struct cu_action cu_plan_take_fault(struct cu_plan *plan, const struct cu_event *event);
/* The action in hand went through. */
void cu_plan_note_success(struct cu_plan *plan);

#endif
