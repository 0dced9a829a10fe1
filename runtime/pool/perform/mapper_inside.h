/* SPDX-License-Identifier: MIT */
/*
 * mapper_inside.h - what mapper.c, the follower's side, and map_thread.c share.
 */
#ifndef CU_POOL_MAPPER_INSIDE_H
#define CU_POOL_MAPPER_INSIDE_H

#include "pool/perform/mapper.h"
#include "pool/runtime.h"

struct cu_mapped_range {
	struct cu_mapped_range *next;
	int64_t lo, hi;
	uint32_t epoch;
	uint32_t expected;          /* rows in it when it was cut; CU_ROWS_UNKNOWN */
	bool uncut;                 /* it may have any number of them */
	struct cu_mapped_row *rows; /* owned */
	size_t n_rows, room;
	struct catchup_error error; /* code other than OK: the range could not be read */
};

struct cu_map_thread {
	struct cu_mapper *mapper;
	struct cu_thread thread;
	int number;                 /* 1, 2, ... */

	/* its own thread only */
	struct cu_conn conn;
	struct cu_source source;
	struct cu_context context;
	void *state;
	bool consumer_open;
};

struct cu_mapper {
	/* constant after create */
	struct cu_follower *f;      /* borrowed */
	struct cu_map_thread *threads; /* owned */
	uint32_t n_threads, n_started;
	uint32_t window;

	_Atomic int ending;
	_Atomic int careful;

	/* guarded by mu */
	struct cu_mutex mu;
	struct cu_cond opened;
	uint32_t opening;
	struct catchup_error open_error;
	uint32_t outstanding;       /* ranges taken from the ring and not released */
	struct cu_mapped_range *again; /* could not be read; still outstanding */
	struct cu_ring_entry rest;  /* of the range that was cut last; comes before those in the ring */
	bool has_rest;
	bool cutting;               /* a thread looks where that is: nothing new is taken */
	uint32_t epoch;
	int64_t next_lo;            /* of the next range in order */
	struct cu_mapped_range *done;  /* handed in, in id order */
	bool offered;               /* the follower may take what is done */
	int64_t offered_ns;         /* when it was told so last */

	/* follower's thread only */
	struct cu_mapped_range *taken, *last_taken; /* in order, not yet committed */
};

/* A map thread, from start to end; argument: its struct cu_map_thread. */
void cu_map_thread_main(void *argument);

/* Maps the row that stmt stands on. conn: the one that the context shows the consumer. */
void cu_map_thread_row(struct cu_mapped_row *row, const struct catchup_consumer *table,
	struct cu_context *context, struct cu_conn *conn, void *state, sqlite3_stmt *stmt);

/* Discards what was mapped; the other: and frees the range. */
void cu_mapper_empty_range(struct cu_mapper *mapper, struct cu_mapped_range *range);
void cu_mapper_free_range(struct cu_mapper *mapper, struct cu_mapped_range *range);

#endif
