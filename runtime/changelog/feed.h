/* SPDX-License-Identifier: MIT */
/*
 * feed.h - from the changelog's reader thread to one subscriber.
 *
 * Results are records, packed into batches; the ring carries batches. So a burst costs one push and
 * one wake-up, and a single event comes at once. What is bounded is results (`slots`) and bytes; a
 * record that is larger than the bound in bytes is let in when nothing else waits.
 *
 * One thread gives (under the changelog's lock), one takes.
 */
#ifndef CU_CHANGELOG_FEED_H
#define CU_CHANGELOG_FEED_H

#include "queue/park.h"
#include "queue/ring.h"

#include <catchup/changelog.h>

enum cu_record_kind {
	CU_RECORD_EVENT = 1, /* a struct catchup_event with all it points to */
	CU_RECORD_SYNC = 2,  /* a struct catchup_out_of_sync */
	CU_RECORD_BAD = 3,   /* a struct catchup_error */
	CU_RECORD_JOIN = 4,  /* a struct cu_join; counts for no result */
};

/* The first line that the reader saw for a subscriber. */
struct cu_join {
	int64_t sequence;
	bool crossed; /* it stands in another file than the subscriber's own reading ended in */
	bool cut;     /* the file was truncated before it was seen; there may have been lines */
};

struct cu_record {
	size_t bytes; /* with this header, aligned */
	int kind;     /* enum cu_record_kind */
	_Alignas(8) char body[];
};

struct cu_batch {
	size_t capacity;
	size_t used;
	_Alignas(8) char records[];
};

struct cu_feed {
	/* constant after init */
	struct cu_ring *ring; /* owned; pointers to batches */
	uint32_t slots;
	size_t bytes_max;
	struct cu_park park;

	/* giver only */
	struct cu_batch *open; /* owned: being filled, not in the ring yet */
	uint64_t given, given_bytes;

	/* taker only */
	struct cu_batch *batch; /* owned: being taken from */
	size_t at;
	bool counted; /* the record at `at` counts when it is left behind */
	uint64_t took, took_bytes;

	/* atomic, written by the taker */
	_Atomic uint64_t taken, taken_bytes;

	/* atomic, written by the giver after the batch it belongs to */
	_Atomic int64_t seen; /* the newest sequence that was given or filtered away, -1 */
};

/* Returns 0 or an errno. slots: a power of two. */
int cu_feed_init(struct cu_feed *feed, uint32_t slots);
void cu_feed_finish(struct cu_feed *feed);

/* Giver: whether so many results of so many bytes together have room. */
bool cu_feed_has_room(const struct cu_feed *feed, uint32_t results, size_t bytes);
/* Giver: at most half of the slots are in use. */
bool cu_feed_half_empty(const struct cu_feed *feed);
/* Giver: room for a record's body, to be filled at once. `more`: a guess at the bytes that follow.
 * NULL without memory. */
void *cu_feed_give(struct cu_feed *feed, int kind, size_t bytes, size_t more);
/* Giver: hands over what was given. Returns whether there was anything; the caller wakes the taker. */
bool cu_feed_publish(struct cu_feed *feed);

/* Taker: the next record, NULL when there is none. The one before it is gone. */
const struct cu_record *cu_feed_take(struct cu_feed *feed);
/* Taker: whether cu_feed_take would find one. */
bool cu_feed_empty(const struct cu_feed *feed);

#endif
