/* SPDX-License-Identifier: MIT */
/*
 * iterator_inside.h - what the files of the iterator share.
 *
 * Either the iterator reads by itself (`own`, own.c), in the user's thread, or it takes from its feed
 * (iterator.c). It begins with its own reading unless it starts at the end. One that drops when its
 * feed is full reads up to where it was attached, once; one that waits reads until it has caught up,
 * each time it fell behind.
 */
#ifndef CU_CHANGELOG_ITERATOR_INSIDE_H
#define CU_CHANGELOG_ITERATOR_INSIDE_H

#include "changelog/follow.h"

struct catchup_iterator {
	struct cu_subscriber sub;
	struct catchup_changelog *changelog; /* referenced */
	char *family, *table;                /* owned, may be NULL */

	/* the user's thread only */
	struct catchup_next next;
	struct cu_order order; /* what this iterator has read by itself, or what the feed joined on with */
	bool joined;           /* the feed has joined on */
	uint32_t told;         /* the newest trouble that was told */

	/* own reading */
	bool own;
	struct cu_place place;   /* offset: see split */
	int64_t limit;           /* read up to here */
	struct cu_order at_limit; /* what the reader knew at the first limit */
	bool seeking;            /* the place is still to be gone to */
	int failing;             /* errno that it cannot be read for, which was told; 0: it can */
	struct cu_split split;
	struct cu_line_parser parser;
	struct cu_span again; /* a line that there was no memory for, to be read again; NULL: none */
	int64_t again_at;     /* its offset */
	bool held;            /* `line` is to be handed out after what was told before it */
	struct cu_line line;
	void *memory;         /* owned: the event */
	size_t memory_bytes;

	/* starting after a sequence */
	bool skipping;
	int64_t after;
	int64_t skipped; /* the newest that was skipped, -1 */
	int64_t skipped_at; /* where its line begins */

	/* asking (ask.h) */
	uint64_t asked; /* the look that answers, 0 when nothing is asked */
	bool answered;

	/* atomic */
	_Atomic bool canceled;
	_Atomic bool poked;
};

/* What the steps of the iterator return beside enum catchup_next_result. */
#define CU_NEXT_AGAIN 0
#define CU_NEXT_NOTHING (-1)

/* Tells that events may have been missed; raise: and puts the flag up, which tell expects to be up. */
int cu_iterator_tell_sync(struct catchup_iterator *it, const struct catchup_out_of_sync *why);
int cu_iterator_raise_sync(struct catchup_iterator *it, int reason, int64_t expected, int64_t got);

/*
 * Whether the caller may lock what the reader thread locks: not in a forked child, which has no reader
 * thread, but perhaps the lock as that had it at the fork. False: the error is in `next`. It is asked
 * where there is no event in hand, since it costs a system call.
 */
bool cu_iterator_may_lock(struct catchup_iterator *it);

/* Begins to read at `place`. Returns CU_NEXT_AGAIN, or CATCHUP_NEXT_ERROR: then it is tried again by
 * cu_own_read, and nothing is read elsewhere. */
int cu_own_seek(struct catchup_iterator *it);

/* Reads up to the next result, or up to the end of the buffer. Ends own reading when it has caught up. */
int cu_own_read(struct catchup_iterator *it);

/* Ends own reading and frees what it needs. */
void cu_own_stop(struct catchup_iterator *it);

#endif
