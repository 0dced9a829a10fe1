/* SPDX-License-Identifier: MIT */
/*
 * gate.h - whose turn it is to write a results database.
 *
 * SQLite lets one connection write at a time and makes the others sleep and poll, unfairly. Our own
 * threads queue here instead, first come, first served, and each hands the turn straight to the next.
 * Only who holds the turn begins a write transaction, so SQLite's busy handler is left to wait for
 * other processes. Checkpoints that must not meet our writers take a turn like everybody else.
 * Other processes cannot queue here; for them there are manners (manners.h).
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
};

int cu_gate_init(struct cu_gate *gate);
void cu_gate_finish(struct cu_gate *gate);

/* Waits for the turn. */
void cu_gate_enter(struct cu_gate *gate);
/* The same, and leaves the line when the deadline has come; true when taken. */
bool cu_gate_enter_until(struct cu_gate *gate, int64_t deadline_ns);

/* Takes the turn if nobody has it; true when taken. */
bool cu_gate_try(struct cu_gate *gate);

/* Whether somebody waits. */
bool cu_gate_has_line(struct cu_gate *gate);

/* Gives it to the next in line, if there is one. */
void cu_gate_leave(struct cu_gate *gate);

#endif
