/* SPDX-License-Identifier: MIT */
/*
 * order.h - whether a sequence is the one that should come. Pure.
 */
#ifndef CU_CHANGELOG_ORDER_H
#define CU_CHANGELOG_ORDER_H

#include <catchup/consumer.h>

#include <stdbool.h>

struct cu_order {
	int64_t last; /* the newest sequence, -1 while none is known */
	bool crossed; /* a file was changed for another since then */
};

/* The sequence that should come; -1 when unknown, or when none can come. */
static inline int64_t cu_order_expected(const struct cu_order *order)
{
	return order->last < 0 || order->last == INT64_MAX ? -1 : order->last + 1;
}

/*
 * Takes the next sequence. Returns false and fills *why when events may have been missed before it.
 * A jump forward where one file follows another means that a file between them was not seen.
 */
static inline bool cu_order_take(
	struct cu_order *order, int64_t sequence, struct catchup_out_of_sync *why)
{
	int64_t last = order->last;
	bool crossed = order->crossed;

	order->crossed = false;
	if (last < 0 || (last < INT64_MAX && sequence == last + 1)) {
		order->last = sequence;
		return true;
	}
	why->reason = crossed && sequence > last ? CATCHUP_SYNC_LOST_FILE : CATCHUP_SYNC_GAP;
	why->expected = cu_order_expected(order);
	why->got = sequence;
	order->last = sequence;
	return false;
}

#endif
