/* SPDX-License-Identifier: MIT */
/*
 * changes.h - the thread that brings a changelog's events to a follower: what a reader is for a table.
 *
 *	changelog file -> iterator -> this thread -> ring -> follower: `event`, `resync`, commit
 *
 * The iterator waits for us when its ring is full (CATCHUP_ON_FULL_WAIT), and this thread waits for
 * the follower when that ring is full: a slow consumer delays nobody and loses nothing while files
 * are kept.
 *
 * Threads: create, start, destroy, take, front and release belong to the follower's worker.
 */
#ifndef CU_POOL_CHANGES_H
#define CU_POOL_CHANGES_H

#include <catchup/changelog.h>
#include <stdbool.h>

struct cu_follower;
struct cu_changes;

enum cu_change_kind {
	CU_CHANGE_EVENT,
	CU_CHANGE_SYNC, /* events may have been missed before the next */
	CU_CHANGE_SEEN, /* nothing for this consumer up to `sequence` */
};

struct cu_change {
	struct cu_change *next;
	enum cu_change_kind kind;
	int64_t sequence;               /* EVENT, SEEN */
	struct catchup_event event;     /* EVENT; memory behind this struct */
	struct catchup_out_of_sync why; /* SYNC */
	uint64_t ticket;                /* SYNC */
};

int cu_changes_create(struct cu_changes **out, struct cu_follower *f, struct catchup_error *error);
void cu_changes_destroy(struct cu_changes *changes); /* may be NULL */

/* (Re)starts after a sequence, forgetting what was brought before. */
int cu_changes_start(struct cu_changes *changes, int64_t after, struct catchup_error *error);

/* The next change in order, which stays with the follower until it is released; NULL: none yet. */
struct cu_change *cu_changes_take(struct cu_changes *changes);

/* The first event above a sequence among those taken; NULL when there is none. */
struct cu_change *cu_changes_event(struct cu_changes *changes, int64_t above);

/* The SYNC that was taken and not answered yet, NULL for none; and its answer. */
struct cu_change *cu_changes_sync(struct cu_changes *changes);
void cu_changes_synced(struct cu_changes *changes);

/* Sequences up to here are committed. */
void cu_changes_release(struct cu_changes *changes, int64_t up_to);

#endif
