/* SPDX-License-Identifier: MIT */
/*
 * plan_world_inside.h - what plan_world.c, plan_perform.c, plan_trace.c and plan_judge.c share.
 */
#ifndef PLAN_WORLD_INSIDE_H
#define PLAN_WORLD_INSIDE_H

#include "plan_world.h"

/* ---- plan_world.c ------------------------------------------------------------------------- */

/* A promise was broken; the first one is kept. */
void world_break(struct world *world, const char *fmt, ...) CATCHUP_PRINTF(2, 3);
void world_tell(struct world *world, const char *fmt, ...) CATCHUP_PRINTF(2, 3);

/* Index of the first row with an id above `id`. */
size_t world_above(const struct world *world, int64_t id);
struct world_row *world_find(struct world *world, int64_t id); /* NULL: never was */
/* Where a range of at most `most` rows above lo ends, and how many are in it. */
int64_t world_cut(const struct world *world, int64_t lo, int64_t hi, uint32_t most, uint32_t *rows);
void world_end_transaction(struct world_process *process);

/* ---- plan_trace.c ------------------------------------------------------------------------- */

const char *world_fault_name(enum cu_fault fault);
void world_trace_action(struct world *world, const struct cu_action *action);

/* ---- plan_judge.c ------------------------------------------------------------------------- */

/* What became of a row, as the process sees it in its transaction. */
enum world_fate world_fate_of(const struct world_process *process, const struct world_row *row);
void world_note_effect(struct world_process *process, struct world_row *row, enum world_fate fate);

void judge_bounds(struct world_process *process);
void judge_park(struct world_process *process, struct cu_event *event); /* and does it */
void judge_commit(struct world_process *process, int64_t hi);           /* and does it */
void judge_stop(struct world_process *process);

#endif
