/* SPDX-License-Identifier: MIT */
/*
 * gate.h - whose turn it is to write a results database.
 *
 * SQLite lets one connection write at a time and makes the others sleep and poll, unfairly. Our own
 * threads queue here instead, first come, first served, and each hands the turn straight to the next.
 * Only who holds the turn begins a write transaction, so SQLite's busy handler is left to wait for
 * other processes. Checkpoints that must not meet our writers take a turn like everybody else.
 *
 * Other processes cannot queue: they look again after growing pauses. While they write, the gate
 * stays free for a while after each turn, so that one of their looks finds it so (see cu_gate_leave).
 */
#ifndef CU_POOL_GATE_H
#define CU_POOL_GATE_H

#include "base/os.h"

struct cu_gate_waiter;

struct cu_gate {
	struct cu_mutex mu;

	/* guarded by mu */
	bool taken;
	uintptr_t holder;            /* thread that has the turn */
	struct cu_gate_waiter *first, *last;
	uint32_t waiting;
	int64_t free_until_ns;       /* left to other processes until then */
};

int cu_gate_init(struct cu_gate *gate);
void cu_gate_finish(struct cu_gate *gate);

/* Waits for the turn. */
void cu_gate_enter(struct cu_gate *gate);

/* Gives it up. rest_ns: how long nobody of ours takes it, for other processes' sake; 0: not at all. */
void cu_gate_leave(struct cu_gate *gate, int64_t rest_ns);

/* Whether the calling thread has the turn. */
bool cu_gate_held(struct cu_gate *gate);

/* Whether others of ours are waiting; already old when it returns. */
bool cu_gate_crowded(struct cu_gate *gate);

#endif
