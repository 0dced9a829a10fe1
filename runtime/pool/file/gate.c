/* SPDX-License-Identifier: MIT */
#include "pool/file/gate.h"

#include "base/check.h"

struct cu_gate_waiter {
	struct cu_gate_waiter *next; /* guarded by the gate's mu */
	struct cu_cond cond;         /* each its own: the turn goes to one, and only that one wakes */
	bool turn;                   /* guarded by mu */
	uintptr_t thread;            /* constant */
};

int cu_gate_init(struct cu_gate *gate)
{
	*gate = (struct cu_gate){0};
	return cu_mutex_init(&gate->mu);
}

void cu_gate_finish(struct cu_gate *gate)
{
	CU_CHECK(!gate->taken && !gate->first);
	cu_mutex_finish(&gate->mu);
}

/* Wherever in it this one stands. */
static void leave_line(struct cu_gate *gate, const struct cu_gate_waiter *self)
{
	struct cu_gate_waiter **at = &gate->first, *before = NULL;

	while (*at != self) {
		before = *at;
		at = &before->next;
	}
	*at = self->next;
	if (gate->last == self)
		gate->last = before;
}

/* Who gets the turn at the very deadline has it. */
static bool wait_in_line(struct cu_gate *gate, int64_t deadline_ns)
{
	struct cu_gate_waiter self = {.thread = cu_thread_self()};

	CU_CHECK(cu_cond_init(&self.cond) == 0);
	if (gate->last)
		gate->last->next = &self;
	else
		gate->first = &self;
	gate->last = &self;
	while (!self.turn && cu_cond_wait(&self.cond, &gate->mu, deadline_ns))
		;
	if (!self.turn)
		leave_line(gate, &self);
	cu_cond_finish(&self.cond);
	return self.turn;
}

bool cu_gate_enter_until(struct cu_gate *gate, int64_t deadline_ns)
{
	bool got = true;

	cu_mutex_lock(&gate->mu);
	CU_CHECK(gate->holder != cu_thread_self());
	if (gate->taken) {
		got = wait_in_line(gate, deadline_ns);
	} else {
		gate->taken = true;
		gate->holder = cu_thread_self();
	}
	cu_mutex_unlock(&gate->mu);
	return got;
}

void cu_gate_enter(struct cu_gate *gate)
{
	CU_CHECK(cu_gate_enter_until(gate, CU_FOREVER));
}

bool cu_gate_try(struct cu_gate *gate)
{
	bool got;

	cu_mutex_lock(&gate->mu);
	got = !gate->taken;
	if (got) {
		gate->taken = true;
		gate->holder = cu_thread_self();
	}
	cu_mutex_unlock(&gate->mu);
	return got;
}

bool cu_gate_has_line(struct cu_gate *gate)
{
	bool has;

	cu_mutex_lock(&gate->mu);
	has = gate->first != NULL;
	cu_mutex_unlock(&gate->mu);
	return has;
}

void cu_gate_leave(struct cu_gate *gate)
{
	struct cu_gate_waiter *next;

	cu_mutex_lock(&gate->mu);
	CU_CHECK(gate->taken && gate->holder == cu_thread_self());
	next = gate->first;
	if (next) {
		gate->first = next->next;
		if (!gate->first)
			gate->last = NULL;
		gate->holder = next->thread;
		next->turn = true;
		cu_cond_signal(&next->cond);
	} else {
		gate->taken = false;
		gate->holder = 0;
	}
	cu_mutex_unlock(&gate->mu);
}
