/* SPDX-License-Identifier: MIT */
/*
 * iterator.c - what comes next: from the iterator's own reading or from its feed, and waiting for it.
 */
#include "changelog/iterator_inside.h"

#include "base/check.h"
#include "base/error.h"
#include "changelog/ask.h"

#include <string.h>

/* How long to wait for the reader to notice that a file has changed: it wakes us, but perhaps just
 * before we sleep. */
#define RECHECK_NS (50 * CU_NS_PER_MS)

int cu_iterator_tell_sync(struct catchup_iterator *it, const struct catchup_out_of_sync *why)
{
	it->next.sync = *why;
	it->next.ticket = atomic_load_explicit(&it->sub.raised, memory_order_acquire);
	/* What was seen before is of an order that may have ended here. */
	it->next.seen = -1;
	return CATCHUP_NEXT_OUT_OF_SYNC;
}

int cu_iterator_raise_sync(struct catchup_iterator *it, int reason, int64_t expected, int64_t got)
{
	struct catchup_out_of_sync why = {reason, expected, got};

	cu_subscriber_raise(&it->sub);
	return cu_iterator_tell_sync(it, &why);
}

bool cu_iterator_may_lock(struct catchup_iterator *it)
{
	if (cu_follow_is_ours(it->changelog))
		return true;
	cu_error_set(&it->next.error, CATCHUP_FORKED, 0, "changelog '%s': opened before the fork",
		it->changelog->path);
	return false;
}

/* ---- the feed -------------------------------------------------------------------------------- */

static int take_record(struct catchup_iterator *it, const struct cu_record *record)
{
	struct catchup_out_of_sync why;

	switch (record->kind) {
	case CU_RECORD_EVENT:
		it->next.event = (const struct catchup_event *)(const void *)record->body;
		it->next.seen = it->next.event->sequence;
		return CATCHUP_NEXT_EVENT;
	case CU_RECORD_SYNC:
		memcpy(&why, record->body, sizeof(why));
		return cu_iterator_tell_sync(it, &why);
	case CU_RECORD_BAD:
		memcpy(&it->next.error, record->body, sizeof(it->next.error));
		return CATCHUP_NEXT_BAD_LINE;
	default: {
		struct cu_join join;

		CU_CHECK(record->kind == CU_RECORD_JOIN);
		memcpy(&join, record->body, sizeof(join));
		it->order.crossed = it->order.crossed || join.crossed;
		it->joined = true;
		if (join.cut && it->order.last < 0) {
			it->order.last = join.sequence;
			return cu_iterator_raise_sync(it, CATCHUP_SYNC_LOST_FILE, -1, join.sequence);
		}
		if (cu_order_take(&it->order, join.sequence, &why))
			return CU_NEXT_AGAIN;
		cu_subscriber_raise(&it->sub);
		return cu_iterator_tell_sync(it, &why);
	}
	}
}

/* The feed is empty, and stays so: the reader has detached this iterator. */
static int fall_behind(struct catchup_iterator *it)
{
	cu_follow_take_resume(it->changelog, &it->sub, &it->place);
	it->own = true;
	it->order = it->place.order;
	it->at_limit.last = -1;
	it->joined = false;
	it->limit = 0;
	return cu_own_seek(it);
}

static int take_feed(struct catchup_iterator *it)
{
	const struct cu_record *record = cu_feed_take(&it->sub.feed);
	struct catchup_out_of_sync why;
	bool behind;

	if (record)
		return take_record(it, record);
	behind = atomic_load_explicit(&it->sub.behind, memory_order_acquire);
	if (!behind && !atomic_load_explicit(&it->sub.overflowed, memory_order_acquire))
		return CU_NEXT_NOTHING;
	if (!cu_iterator_may_lock(it))
		return CATCHUP_NEXT_ERROR;
	if (behind)
		return cu_feed_empty(&it->sub.feed) ? fall_behind(it) : CU_NEXT_AGAIN;
	return cu_follow_take_overflow(it->changelog, &it->sub, &why)
		? cu_iterator_tell_sync(it, &why) : CU_NEXT_NOTHING;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static bool has_news(const struct catchup_iterator *it)
{
	return atomic_load(&it->canceled) || !cu_feed_empty(&it->sub.feed) ||
	       atomic_load(&it->sub.behind) || atomic_load(&it->sub.overflowed) ||
	       atomic_load(&it->changelog->troubles) != it->told;
}

/* Whether the look that was asked for is done: what it found is in the feed, or was. */
static bool is_looked(const struct catchup_iterator *it)
{
	return it->asked != 0 && !it->own && atomic_load(&it->changelog->looks_done) >= it->asked;
}

/* Sleeps until there may be something. Returns false when the deadline came first. */
static bool wait_for_news(struct catchup_iterator *it, int64_t deadline_ns)
{
	uint32_t ticket = cu_park_prepare(&it->sub.feed.park);
	int64_t now, until = deadline_ns;

	if (atomic_load(&it->poked) || is_looked(it) ||
		(it->own ? atomic_load(&it->canceled) : has_news(it))) {
		cu_park_cancel(&it->sub.feed.park);
		return true;
	}
	now = cu_os_now_ns();
	if (now >= deadline_ns) {
		cu_park_cancel(&it->sub.feed.park);
		return false;
	}
	if (it->own && until > now + RECHECK_NS)
		until = now + RECHECK_NS;
	cu_park_wait(&it->sub.feed.park, ticket, until);
	return true;
}

/* What may be said to have been seen when nothing comes. */
static void set_seen(struct catchup_iterator *it)
{
	int64_t seen = -1;

	if (!it->own) {
		/* Read before the feed is found empty: what it counts was taken from there. */
		seen = atomic_load_explicit(&it->sub.feed.seen, memory_order_acquire);
		if (has_news(it))
			return;
	}
	/* The reader knows nothing before its first line: what was read by itself counts. But where the
	 * feed joins on, the order is ahead of the event, which is still to be handed out. */
	if (seen < 0 && !it->skipping && (it->own || !it->joined))
		seen = it->order.last;
	if (seen >= 0)
		it->next.seen = seen;
}

static int64_t deadline_of(int64_t timeout_ms)
{
	if (timeout_ms < 0 || timeout_ms > CU_FOREVER / CU_NS_PER_MS)
		return CU_FOREVER;
	return cu_deadline(cu_os_now_ns(), timeout_ms * CU_NS_PER_MS);
}

/* What keeps it from reading by itself is told once, and looked at again after a pause. */
static int tell_once(struct catchup_iterator *it, int result)
{
	bool fails = result == CATCHUP_NEXT_ERROR && it->next.error.code != CATCHUP_NOMEM;
	int told = it->failing;

	it->failing = fails ? it->next.error.detail : 0;
	return it->failing != 0 && it->failing == told ? CU_NEXT_NOTHING : result;
}

/* What keeps the reader thread from reading, unless it is what was told already. */
static bool take_trouble(struct catchup_iterator *it)
{
	return cu_follow_take_trouble(it->changelog, &it->told, &it->next.error) &&
	       (it->failing == 0 || it->next.error.detail != it->failing);
}

/* What is told to who has no iterator. */
static const struct catchup_next next_of_none = {
	.error = {CATCHUP_USAGE, 0, "catchup_iterator_next: 'iterator' is NULL"},
	.seen = -1,
};

int catchup_iterator_next(
	struct catchup_iterator *it, int64_t timeout_ms, const struct catchup_next **out)
{
	int64_t deadline = INT64_MIN; /* not known yet: the clock is only asked when it matters */

	if (!it || !out) {
		if (out)
			*out = &next_of_none;
		return CATCHUP_NEXT_ERROR;
	}
	*out = &it->next;
	for (;;) {
		bool looked = is_looked(it);
		int result;

		if (atomic_load_explicit(&it->canceled, memory_order_acquire))
			return CATCHUP_NEXT_CANCELED;
		result = tell_once(it, it->own ? cu_own_read(it) : take_feed(it));
		if (result > 0)
			return result;
		if (!cu_iterator_may_lock(it))
			return CATCHUP_NEXT_ERROR;
		if (deadline == INT64_MIN)
			deadline = deadline_of(timeout_ms);
		if (result == CU_NEXT_AGAIN) {
			/* A look without a timeout goes on to the end of what there is. */
			if (timeout_ms > 0 && cu_os_now_ns() >= deadline) {
				set_seen(it);
				return CATCHUP_NEXT_TIMEOUT;
			}
			continue;
		}
		if (take_trouble(it))
			return CATCHUP_NEXT_ERROR;
		/* Only a look that was done before the feed was found empty is an answer. */
		if (looked) {
			it->answered = true;
			it->asked = 0;
		}
		if (looked || atomic_exchange(&it->poked, false) || !wait_for_news(it, deadline)) {
			set_seen(it);
			return CATCHUP_NEXT_TIMEOUT;
		}
	}
}

/* ---- the flag, and from other threads -------------------------------------------------------- */

void catchup_iterator_cancel(struct catchup_iterator *it)
{
	if (!it)
		return;
	atomic_store(&it->canceled, true);
	/* In a forked child nobody sleeps, and the lock may be held for good. */
	if (cu_follow_is_ours(it->changelog))
		cu_park_wake(&it->sub.feed.park);
}

void cu_iterator_poke(struct catchup_iterator *it)
{
	atomic_store(&it->poked, true);
	cu_park_wake(&it->sub.feed.park);
}

void cu_iterator_ask(struct catchup_iterator *it)
{
	it->answered = false;
	it->asked = cu_follow_ask(it->changelog);
}

bool cu_iterator_in_trouble(const struct catchup_iterator *it)
{
	return it->failing != 0 || atomic_load(&it->changelog->in_trouble);
}

bool cu_iterator_answered(const struct catchup_iterator *it)
{
	return it->answered;
}

uint64_t catchup_iterator_out_of_sync(const struct catchup_iterator *it)
{
	uint64_t rebuilt, raised;

	/* Nothing keeps who has none in sync. */
	if (!it)
		return 1;
	rebuilt = atomic_load_explicit(&it->sub.rebuilt, memory_order_acquire);
	raised = atomic_load_explicit(&it->sub.raised, memory_order_acquire);

	return raised > rebuilt ? raised : 0;
}

void catchup_iterator_rebuilt(struct catchup_iterator *it, uint64_t ticket)
{
	uint64_t rebuilt, raised;

	if (!it)
		return;
	rebuilt = atomic_load(&it->sub.rebuilt);
	raised = atomic_load(&it->sub.raised);
	if (ticket > raised)
		ticket = raised;
	while (ticket > rebuilt &&
		!atomic_compare_exchange_weak(&it->sub.rebuilt, &rebuilt, ticket))
		;
}
