/* SPDX-License-Identifier: MIT */
#include "queue/park.h"

int cu_park_init(struct cu_park *park)
{
	int rc;

	atomic_init(&park->sleepers, 0);
	atomic_init(&park->epoch, 0);
	rc = cu_mutex_init(&park->mutex);
	if (rc != 0)
		return rc;
	rc = cu_cond_init(&park->cond);
	if (rc != 0)
		cu_mutex_finish(&park->mutex);
	return rc;
}

void cu_park_finish(struct cu_park *park)
{
	cu_cond_finish(&park->cond);
	cu_mutex_finish(&park->mutex);
}

uint32_t cu_park_prepare(struct cu_park *park)
{
	uint32_t ticket = atomic_load_explicit(&park->epoch, memory_order_acquire);

	cu_os_point();
	/* A read-modify-write that is sequentially consistent is the fence on this side. The epoch
	 * is read before it: a wake-up between the two moves the epoch, and wait returns at once. */
	atomic_exchange_explicit(&park->sleepers, 1, memory_order_seq_cst);
	cu_os_point();
	return ticket;
}

void cu_park_cancel(struct cu_park *park)
{
	/* The flag stays: others may be asleep behind it. At worst one wake-up finds nobody. */
	(void)park;
}

bool cu_park_wait(struct cu_park *park, uint32_t ticket, int64_t deadline_ns)
{
	bool woken = true;

	cu_mutex_lock(&park->mutex);
	while (atomic_load_explicit(&park->epoch, memory_order_relaxed) == ticket && woken)
		woken = cu_cond_wait(&park->cond, &park->mutex, deadline_ns);
	woken = atomic_load_explicit(&park->epoch, memory_order_relaxed) != ticket;
	cu_mutex_unlock(&park->mutex);
	return woken;
}

void cu_park_wake(struct cu_park *park)
{
	cu_os_point();
	/* A no-op read-modify-write, not a bare fence: the same instruction on x86, and
	 * ThreadSanitizer understands it. */
	if (!atomic_fetch_or_explicit(&park->sleepers, 0, memory_order_seq_cst))
		return;
	cu_os_point();
	/* Whoever takes the flag down wakes all; the wakes that come before the woken have run
	 * cost no lock. */
	if (!atomic_exchange_explicit(&park->sleepers, 0, memory_order_seq_cst))
		return;
	cu_mutex_lock(&park->mutex);
	atomic_fetch_add_explicit(&park->epoch, 1, memory_order_release);
	cu_mutex_unlock(&park->mutex);
	/* Not before: who is woken would run at once, and wait for the lock. */
	cu_cond_broadcast(&park->cond);
}
