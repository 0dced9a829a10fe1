/* SPDX-License-Identifier: MIT */
/*
 * park.h - sleep beside lock-free state, and wake.
 *
 * The sleeper:                             The waker:
 *	ticket = cu_park_prepare(park);         change the state (push to the ring)
 *	if (there is work)                      cu_park_wake(park);
 *		cu_park_cancel(park);
 *	else
 *		cu_park_wait(park, ticket, deadline);
 *
 * Why nothing is missed: prepare raises the flag of sleepers and fences; wake fences and looks at the
 * flag. Both fences are sequentially consistent, so one of the two sees the other: either the waker
 * sees the flag, takes it down and moves the epoch, or the sleeper, looking for work after prepare,
 * sees the change. With weaker fences both may look before the other's store is visible (x86 does this:
 * store buffers), and the sleeper sleeps over a full ring.
 *
 * Any number of sleepers and wakers. Waking nobody costs a fence and a load. A wake-up may be for
 * nothing; callers look again.
 */
#ifndef CU_QUEUE_PARK_H
#define CU_QUEUE_PARK_H

#include "base/os.h"

#include <stdatomic.h>

struct cu_park {
	_Atomic uint32_t sleepers; /* 0 or 1: somebody may sleep, and nobody has begun to wake them */
	_Atomic uint32_t epoch;
	struct cu_mutex mutex; /* orders sleeping against the epoch; guards nothing else */
	struct cu_cond cond;
};

int cu_park_init(struct cu_park *park); /* 0 or an errno */
/* After every sleeper and every waker has returned: a waker still touches the park when whom it woke
 * runs already. */
void cu_park_finish(struct cu_park *park);

uint32_t cu_park_prepare(struct cu_park *park);
void cu_park_cancel(struct cu_park *park);
/* false: the deadline came without a wake-up. */
bool cu_park_wait(struct cu_park *park, uint32_t ticket, int64_t deadline_ns);
void cu_park_wake(struct cu_park *park);

#endif
