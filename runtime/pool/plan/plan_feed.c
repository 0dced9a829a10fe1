/* SPDX-License-Identifier: MIT */
/*
 * plan_feed.c - the reader's side of a plan: how far a consumer has been fed.
 */
#include "pool/plan/plan.h"

#include "base/check.h"

void cu_feed_rewind(struct cu_feed *feed, int64_t from, uint32_t epoch)
{
	feed->pushed = from;
	feed->epoch = epoch;
	feed->started = true;
}

bool cu_feed_wants(const struct cu_feed *feed, int64_t newest)
{
	return feed->started && feed->pushed < newest;
}

void cu_feed_pushed(struct cu_feed *feed, int64_t hi)
{
	CU_CHECK(feed->started && hi > feed->pushed);
	feed->pushed = hi;
}
