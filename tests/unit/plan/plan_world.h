/* SPDX-License-Identifier: MIT */
/*
 * plan_world.h - a world in which plans run: a source, results, other processes, time and mishaps,
 * all of it pretended, in one thread.
 *
 * The world performs what a plan asks for as a database would: effects are kept in a transaction
 * until the commit and gone after a rollback or a crash. Beside that it is the judge: it looks at
 * every delivery, dead letter, commit and stop, and notes the first that breaks a promise in
 * `broken`. It knows nothing of how the plan decides.
 */
#ifndef PLAN_WORLD_H
#define PLAN_WORLD_H

#include "pool/plan/plan.h"

#include <stddef.h>

#define WORLD_ROWS_MAX 48
#define WORLD_RING_SLOTS 3
#define WORLD_PROCESSES_MAX 2

/* What is special about a row. */
enum world_nature {
	WORLD_GOOD = 0,
	WORLD_PASSED, /* the consumer passes it over */
	WORLD_HIDDEN, /* the consumer's own `next` does not return it */
	WORLD_BAD,    /* fails whenever it is processed, until it is mended */
	WORLD_SLOW,   /* is interrupted by the deadline */
	WORLD_LATE,   /* its transaction fails, but only at the commit: a deferred constraint */
	WORLD_FLAKY,  /* fails `flaky` times, then is good */
	WORLD_DEADLY, /* kills the process that processes it */
};

/* What became of a row. */
enum world_fate {
	WORLD_NOTHING = 0,
	WORLD_WAS_APPLIED,
	WORLD_WAS_PASSED,
	WORLD_WAS_PARKED,
};

struct world_row {
	int64_t id;
	enum world_nature nature;
	int flaky;
	int key; /* for park-key */
	bool deleted;
	uint32_t failures;    /* how often processing it failed */
	uint32_t crashes;     /* how often a process died that had it in hand, as far as can be told */
	enum world_fate fate; /* committed */
};

/* Lies that the world tells on purpose, to see that the judge finds out. */
enum world_lie {
	WORLD_HONEST = 0,
	WORLD_COMMITS_AHEAD,  /* the watermark is written one row too high */
	WORLD_DROPS_A_ROW,    /* a row is called delivered and is not processed */
	WORLD_DELIVERS_TWICE, /* a row is processed twice */
	WORLD_FETCH_SKIPS,    /* `next` leaves its first row out */
	WORLD_LIMIT_UNTOLD,   /* `next` has a LIMIT, and the plan is not told to ask again */
	WORLD_ROLLBACK_KEEPS, /* results survive a rollback */
	WORLD_TEARS,          /* results are committed without the watermark */
	WORLD_NO_COMPARE,     /* the watermark is set whatever it was before */
	WORLD_SKIPS_ON_BUSY,  /* a busy database is called a delivered row */
	WORLD_BLAMES_THE_ROW, /* errors of the machine are called the row's */
	WORLD_CUTS_SHORT,     /* a set-based batch processes one row less than it says */
	WORLD_LIES_END,
};

struct world_range {
	int64_t lo, hi;
	uint32_t rows;
	uint32_t epoch;
};

struct world_process {
	struct world *world;
	struct cu_plan plan;
	struct cu_action action; /* to be performed next */
	int64_t told_now_ns;     /* of the last event */
	bool stopping;           /* somebody asked it to stop */
	bool stopped;
	bool moved; /* its watermark was moved outside the plan */

	/* feeding */
	struct cu_feed feed;
	bool rewind_asked;
	int64_t rewind_from;
	uint32_t rewind_epoch;
	struct world_range ring[WORLD_RING_SLOTS];
	size_t ring_used;
	int64_t offered_hi; /* ranges up to here came out of the ring since the last rewind */

	/* `next` */
	int64_t fetched[WORLD_ROWS_MAX];
	size_t n_fetched, at_fetched;

	/* the transaction */
	struct {
		struct world_row *row;
		enum world_fate fate;
	} effects[WORLD_ROWS_MAX * 2];
	size_t n_effects;
	int64_t last_id; /* delivered last in it */
	int64_t began_ns;
	bool mark_stuck; /* its mark stands, and it has no transaction */

	int64_t busy_since_ns; /* 0: not */
	int last_code;         /* of the last fault */
};

struct world {
	struct world_row rows[WORLD_ROWS_MAX]; /* ascending ids */
	size_t n_rows;
	int64_t highest; /* id ever given */
	int64_t own_max; /* what the consumer's own `max` says; -1: it has none */
	uint32_t limit;  /* of the consumer's own `next`; 0: none */

	/* results database */
	int64_t watermark;
	struct cu_plan_counts counts;
	struct world_process *writer; /* holds the write lock; NULL: nobody */
	int64_t fence, lease_until_ns;
	int64_t kept_renewed_ns; /* the lease, by somebody who goes on doing so; 0: nobody does */
	struct world_process *lease_owner; /* NULL: nobody ever */
	bool owner_died;
	int64_t marked;
	uint32_t attempts, in_hand;
	int64_t marked_fence;
	bool mark_back;     /* it has come back */
	uint32_t mark_torn; /* the lock is lost behind one in so many marks, and one in so many cannot be
	                       taken back; 0: none */

	struct world_process processes[WORLD_PROCESSES_MAX];
	size_t n_processes;
	int64_t now_ns;
	int64_t row_ns; /* a row takes up to this long */
	uint64_t random;
	enum world_lie lie;
	bool eager; /* readers feed whatever there is, at once, as one range */

	/* Asked before each action that can fail. */
	enum cu_fault (*mishap)(
		struct world_process *process, enum cu_action_kind kind, void *context);
	void *context;
	bool commit_survives; /* the next commit that fails was done all the same */

	char *trace; /* borrowed; NULL: none */
	size_t trace_bytes;
	char broken[256]; /* the first promise that was broken, "" for none */
};

void world_init(struct world *world, uint64_t seed);
uint64_t world_random(struct world *world);
/* 0 to n - 1 */
uint32_t world_dice(struct world *world, uint32_t n);

/* Ids must ascend. NULL when there is no room. */
struct world_row *world_insert(struct world *world, int64_t id, enum world_nature nature);
int64_t world_newest(const struct world *world); /* as the reader sees it */

/* A process that runs the consumer; again after a stop or a crash. */
void world_start(struct world *world, size_t process, const struct cu_plan_config *config);
/* The process is gone, and with it everything that it had not committed. */
void world_crash(struct world_process *process);
/* Performs one action. False: it waits for ranges or sleeps, and nothing came. */
bool world_step(struct world_process *process);
/* The reader looks once and may push one range. */
void world_read(struct world_process *process);

/* Rows that should be done by now are; to be asked when all is quiet. */
void judge_end(struct world *world);

#endif
