/* SPDX-License-Identifier: MIT */
/*
 * plan_story.h - stories of a plan: what it does, action by action, told as one line of text.
 *
 *	open load=0 rewind        it opens, finds the watermark at 0 and asks to be fed from there
 *	range(0,3] fetch(0,3]     a range came, `next` is asked
 *	begin row1 row2!busy      a transaction; row 2 met a lock
 *	abort sleep               rolled back, a pause
 *	commit(0,3]               the watermark goes from 0 to 3, with all that was done
 *	stop:8@2                  stopped with code 8 (CATCHUP_CONSUMER) at row 2
 */
#ifndef PLAN_STORY_H
#define PLAN_STORY_H

#include "plan_world.h"

#define STORY_MISHAPS_MAX 16

struct story {
	struct world world;
	struct cu_plan_config config;  /* for the next start */
	struct world_process *process; /* the hero */
	char trace[16384];

	/* What goes wrong: the next action of the kind fails so, in this order. */
	struct {
		enum cu_action_kind kind;
		enum cu_fault fault;
	} mishaps[STORY_MISHAPS_MAX];
	size_t n_mishaps;
};

/* A source with the ids 1 to n. There is one story at a time: the one before is over. */
struct story *story_of(enum cu_plan_kind kind, const char *policy, int64_t n);

/* Makes the row with that id one of that nature; inserts it where there is none. */
struct world_row *row(struct story *story, int64_t id, enum world_nature nature);

/* The next action of the kind fails so; after those that were asked for before. */
void will_fail(struct story *story, enum cu_action_kind kind, enum cu_fault fault);

void start(struct story *story);

/* Everything up to the first wait, which is the same in most stories and not told. */
void start_and_open(struct story *story);

/* Goes on until the plan has nothing to do, or is about to do something. Pauses pass at once. */
void run_until(struct story *story, enum cu_action_kind kind);
void run(struct story *story);

/* The trace since the last time, which must be this; and no promise may be broken. */
void told(struct story *story, const char *expected);

/* Opens, runs until there is nothing to do, and must tell this of it. */
void must_tell(struct story *story, const char *expected);

#endif
