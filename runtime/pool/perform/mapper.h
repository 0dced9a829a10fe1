/* SPDX-License-Identifier: MIT */
/*
 * mapper.h - the threads that run a consumer's `map` in parallel.
 *
 *	reader -> ring -> map threads, any order -> ranges in id order -> follower: `apply`, commit
 *
 * Each map thread has its own read-only connection and state. It takes a range from the ring, maps
 * its rows and hands the range in; the follower takes ranges only in id order, so its plan sees the
 * same contiguous ranges as without threads. At most `window` ranges are between ring and commit:
 * who would make more waits. Results stay until their rows are committed, since a transaction that
 * is undone is done again from them.
 *
 * Threads: all of it belongs to the follower's worker.
 */
#ifndef CU_POOL_MAPPER_H
#define CU_POOL_MAPPER_H

#include <catchup/catchup.h>
#include <stdbool.h>
#include <stdint.h>

struct cu_follower;
struct cu_mapper;

/* Rows of one range for consumers with `map`: few, so that all threads have some. */
#define CU_MAP_ROWS 16u

/* Ranges between ring and commit, for each thread: one in work, and some ahead so that a slow row
 * at the front does not stop the others at once, and those that gather for the next commit. */
#define CU_MAP_WINDOW_PER_THREAD 24u

/* A row after `map`. */
struct cu_mapped_row {
	int64_t id;
	void *result;   /* the consumer's own; discarded when released */
	bool passed;    /* `map` passed the row over: `apply` is not called */
	bool failed;    /* then code and text say why */
	bool unmapped;  /* `map` has not seen it yet (careful mode), or is to see it once more */
	int code;       /* SQLite extended result code, 0 for none */
	char *text;     /* owned */
};

/* Starts the threads; returns when all have opened, or the first error with none left. */
int cu_mapper_create(struct cu_mapper **out, struct cu_follower *f, uint32_t workers,
	struct catchup_error *error);
/* Ends the threads and discards everything. mapper may be NULL. */
void cu_mapper_destroy(struct cu_mapper *mapper);

/* Forgets all ranges; the next one taken begins at `from` and carries `epoch`. */
void cu_mapper_rewind(struct cu_mapper *mapper, int64_t from, uint32_t epoch);

/* The next range in id order, if it is mapped and offered (see map_thread.c): true with (*lo, *hi]
 * and the rows that were in it when it was cut. false with error filled when reading it failed. */
bool cu_mapper_take(struct cu_mapper *mapper, int64_t *lo, int64_t *hi, uint32_t *expected,
	struct catchup_error *error);

/* The first row above an id among the ranges taken; NULL when there is none. */
struct cu_mapped_row *cu_mapper_row(struct cu_mapper *mapper, int64_t above);

/* While careful, rows are left for cu_mapper_map_again, one at a time: a row that kills the process in
 * `map` is then the one in hand. */
void cu_mapper_be_careful(struct cu_mapper *mapper, bool careful);

/* Maps a row that is unmapped on the calling thread, which is in no transaction: others may write meanwhile.
 * Like those of the threads, the connection is read-only then. A code: it could not be made so. */
int cu_mapper_map_again(
	struct cu_mapper *mapper, struct cu_mapped_row *row, struct catchup_error *error);

/* Rows up to an id are committed: discards them and makes room. */
void cu_mapper_release(struct cu_mapper *mapper, int64_t up_to);

#endif
