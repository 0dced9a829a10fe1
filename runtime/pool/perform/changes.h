/* SPDX-License-Identifier: MIT */
/*
 * changes.h - the thread that brings a changelog's events to a follower: what a reader is for a table.
 *
 *	changelog file -> iterator -> this thread -> ring -> follower: `event`, `resync`, commit
 *
 * The iterator waits for us when its ring is full (CATCHUP_ON_FULL_WAIT), and this thread waits for
 * the follower when that ring is full or a few megabytes are under way: a slow consumer delays nobody
 * and loses nothing while files are kept.
 *
 * Promises: sequences ascend, except behind a SYNC, which says where they go on; nothing passes a
 * SYNC; and one that was brought and not answered is brought again after every restart.
 *
 * Threads: all of it belongs to the follower's worker, except ask.
 */
#ifndef CU_POOL_CHANGES_H
#define CU_POOL_CHANGES_H

#include <catchup/changelog.h>
#include <stdbool.h>

struct catchup;
struct cu_follower;
struct cu_changes;

enum cu_change_kind {
	CU_CHANGE_EVENT,
	CU_CHANGE_SYNC, /* rebuild: events above `sequence` follow, others may have been missed */
	CU_CHANGE_SEEN, /* nothing for this consumer up to `sequence` */
};

struct cu_change {
	struct cu_change *next;
	enum cu_change_kind kind;
	int64_t sequence;
	size_t bytes;                   /* of memory */
	struct catchup_event event;     /* EVENT; memory behind this struct */
	struct catchup_out_of_sync why; /* SYNC */
	uint64_t ticket;                /* SYNC */
};

/* Checks that the runtime has a changelog and what stands under its name now: a file that is missing
 * may come, a folder or a database is refused. */
int cu_changes_create(struct cu_changes **out, struct cu_follower *f, struct catchup_error *error);
void cu_changes_destroy(struct cu_changes *changes); /* may be NULL */

/* Brings what follows a sequence: goes on where an answered SYNC said so, else starts anew, and what
 * was brought before is forgotten. */
int cu_changes_rewind(struct cu_changes *changes, int64_t after, struct catchup_error *error);

/* Stops bringing until the next rewind. */
void cu_changes_stop(struct cu_changes *changes);

/* As that; and notes how far the file goes, for who waits until another process has come there. */
void cu_changes_stand_by(struct cu_changes *changes);

/* The next change in order, which stays with the follower until it is released; NULL: none yet. */
struct cu_change *cu_changes_take(struct cu_changes *changes);

/* The first event above a sequence among those taken; NULL when there is none. */
struct cu_change *cu_changes_event(struct cu_changes *changes, int64_t above);

/* The SYNC that was taken and not answered yet, NULL for none; and its answer: it is committed. */
struct cu_change *cu_changes_sync(struct cu_changes *changes);
void cu_changes_synced(struct cu_changes *changes);

/* Sequences up to here are committed. */
void cu_changes_release(struct cu_changes *changes, int64_t up_to);

/* Somebody has raised looks_wanted. Any thread. */
void cu_changes_ask(struct cu_follower *f);

#endif
