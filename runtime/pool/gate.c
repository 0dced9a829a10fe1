/* SPDX-License-Identifier: MIT */
#include "pool/gate.h"

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

static void wait_in_line(struct cu_gate *gate)
{
	struct cu_gate_waiter self = {.thread = cu_thread_self()};

	CU_CHECK(cu_cond_init(&self.cond) == 0);
	if (gate->last)
		gate->last->next = &self;
	else
		gate->first = &self;
	gate->last = &self;
	gate->waiting++;
	while (!self.turn)
		cu_cond_wait(&self.cond, &gate->mu, CU_FOREVER);
	cu_cond_finish(&self.cond);
}

void cu_gate_enter(struct cu_gate *gate)
{
	int64_t rest_ns;

	cu_mutex_lock(&gate->mu);
	CU_CHECK(gate->holder != cu_thread_self());
	if (gate->taken) {
		wait_in_line(gate);
	} else {
		gate->taken = true;
		gate->holder = cu_thread_self();
	}
	rest_ns = gate->free_until_ns;
	cu_mutex_unlock(&gate->mu);
	/* The turn is ours; what is left of the rest is waited out with it, so that the order of the
	 * line stays. */
	if (rest_ns != 0)
		cu_os_sleep_ns(rest_ns - cu_os_now_ns());
}

void cu_gate_leave(struct cu_gate *gate, int64_t rest_ns)
{
	struct cu_gate_waiter *next;

	cu_mutex_lock(&gate->mu);
	CU_CHECK(gate->taken && gate->holder == cu_thread_self());
	gate->free_until_ns = rest_ns > 0 ? cu_deadline(cu_os_now_ns(), rest_ns) : 0;
	next = gate->first;
	if (next) {
		gate->first = next->next;
		if (!gate->first)
			gate->last = NULL;
		gate->waiting--;
		gate->holder = next->thread;
		next->turn = true;
		cu_cond_signal(&next->cond);
	} else {
		gate->taken = false;
		gate->holder = 0;
	}
	cu_mutex_unlock(&gate->mu);
}

bool cu_gate_held(struct cu_gate *gate)
{
	bool held;

	cu_mutex_lock(&gate->mu);
	held = gate->taken && gate->holder == cu_thread_self();
	cu_mutex_unlock(&gate->mu);
	return held;
}

bool cu_gate_crowded(struct cu_gate *gate)
{
	bool crowded;

	cu_mutex_lock(&gate->mu);
	crowded = gate->waiting > 0;
	cu_mutex_unlock(&gate->mu);
	return crowded;
}
