/* SPDX-License-Identifier: MIT */
/*
 * ring.h - bounded lock-free queues over Concurrency Kit's ck_ring.
 *
 * One producer; one consumer thread (`pop`), or several (`pop_shared`), decided at init. Entries are
 * copied in and out. A ring of `slots` slots holds slots - 1 entries; slots is a power of two.
 *
 * Ends: the first thread that pushes owns the pushing end, the first that pops owns the popping end
 * (unless it is shared); any other thread at that end is a broken invariant and aborts. An end is
 * handed to another thread with cu_ring_release_*, called while neither uses it.
 *
 * Progress: push and pop are wait-free; pop_shared is lock-free.
 */
#ifndef CU_QUEUE_RING_H
#define CU_QUEUE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a ring carries: a range of ids, or a pointer with numbers beside it. */
struct cu_ring_entry {
	union {
		struct {
			int64_t lo, hi; /* (lo, hi] */
			uint32_t rows;  /* rows in it, CU_ROWS_UNKNOWN: not counted */
			uint32_t epoch; /* of the subscription; older ones are thrown away */
		} range;
		struct {
			void *pointer;
			uint64_t number;
			uint64_t extra;
		} item;
	};
};

#define CU_ROWS_UNKNOWN UINT32_MAX

struct cu_ring;

/* Rounds up to a power of two of at least 2. */
uint32_t cu_ring_round_slots(uint32_t slots);

/* slots: a power of two, 2 to 2^20. Returns NULL without memory. */
struct cu_ring *cu_ring_create(uint32_t slots, bool shared_pop);
/* Entries still inside are forgotten: whoever owns what they point to pops them first. */
void cu_ring_destroy(struct cu_ring *ring);

bool cu_ring_push(struct cu_ring *ring, const struct cu_ring_entry *entry); /* false: full */
bool cu_ring_pop(struct cu_ring *ring, struct cu_ring_entry *entry);        /* false: empty */
bool cu_ring_pop_shared(struct cu_ring *ring, struct cu_ring_entry *entry);

/* Any thread; already old when it returns. */
uint32_t cu_ring_count(const struct cu_ring *ring);
uint32_t cu_ring_room(const struct cu_ring *ring);

void cu_ring_release_push(struct cu_ring *ring);
void cu_ring_release_pop(struct cu_ring *ring);

#endif
