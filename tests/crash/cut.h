/* SPDX-License-Identifier: MIT */
/*
 * cut.h - power cuts: a VFS between SQLite and its files that records every write, truncation, sync,
 * creation and deletion, and a player that makes the files as they may look after a power cut at any
 * step of the recording.
 *
 * What a disk promises is little: what was written before a sync that has returned is there. Of the rest
 * any part may be there, in any order, and a sector that was being written may hold anything. Bytes that
 * were not being written stay (SQLite calls that powersafe overwrite, and relies on it).
 *
 * A VFS belongs to a process, so there is one recording at a time. Recording: any thread. Playing: one.
 */
#ifndef TESTS_CUT_H
#define TESTS_CUT_H

#include "proof.h"

#include <stddef.h>
#include <stdint.h>

/* Makes the recording VFS the default for connections opened from now on. Files outside of the folder
 * are passed through. What the files hold now is taken to be on the disk. */
void cut_start(const char *folder);

/* Makes SQLite's own VFS the default again. All connections are closed by now. The recording stays. */
void cut_stop(void);

/* Something that was promised at this moment, such as a commit that has returned: whoever looks at a
 * later step knows of it. Notes of one kind only rise. */
#define CUT_NOTES_MAX 8
void cut_note(int kind, int64_t value);

/* ---- calls that fail ------------------------------------------------------------------------- */

enum cut_call { CUT_CALL_OPEN, CUT_CALL_READ, CUT_CALL_WRITE, CUT_CALL_TRUNCATE, CUT_CALL_SYNC,
	CUT_CALL_LOCK, /* in the log's index */
	CUT_CALLS };

/* From the nth call of a kind on, counted from 1, so many return this code and do nothing. nth 0: none
 * does. Counts of calls begin anew. */
void cut_fail(enum cut_call call, long nth, long times, int code);

/* Calls of a kind since then. */
long cut_calls(enum cut_call call);

/* ---- what was recorded ----------------------------------------------------------------------- */

/* Steps recorded so far. */
size_t cut_steps(void);
void cut_forget(void);

/* ---- playing -------------------------------------------------------------------------------- */

/* What has become of what was written and not synced. */
enum cut_choice {
	CUT_NONE, /* nothing is there */
	CUT_ALL,  /* everything is: the process was killed, or the disk was quick */
	CUT_SOME, /* some writes are and some are not, each file by its own luck */
	CUT_TORN, /* the same by sectors, and some sectors hold rubbish */
	CUT_CHOICES,
};

const char *cut_choice_name(enum cut_choice choice);

struct cut_player;

struct cut_player *cut_player_create(void);
void cut_player_destroy(struct cut_player *player);

/* Goes forward to where `step` steps are done. */
void cut_player_go(struct cut_player *player, size_t step);

/* The highest note of a kind up to here; -1 for none. */
int64_t cut_player_note(const struct cut_player *player, int kind);

/* Writes the files into an existing folder; those that are not there after the power cut are removed
 * from it, and so are the -shm files. */
void cut_player_write(const struct cut_player *player, enum cut_choice choice,
	struct proof_random *random, const char *folder);

#endif
