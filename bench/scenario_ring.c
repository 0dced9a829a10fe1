/* SPDX-License-Identifier: MIT */
/*
 * scenario_ring.c - entries from one thread to another: the lock-free ring with a park beside it,
 * against the queue anybody would write, a mutex and two condition variables round an array. Both
 * are as long, carry the same entries and sleep when there is nothing to do or no room.
 */
#include "bench.h"

#include "queue/park.h"
#include "queue/ring.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS 256

struct work {
	int64_t entries;
	int64_t sum; /* what the receiving thread saw */
	bool in_order;
};

static void see(struct work *work, const struct cu_ring_entry *entry, int64_t expected)
{
	work->sum += entry->range.hi;
	if (entry->range.hi != expected)
		work->in_order = false;
}

static int check(struct bench *b, void *context)
{
	struct work *work = context;
	int64_t n = work->entries;

	if (!work->in_order || work->sum != n * (n + 1) / 2)
		return bench_fail(b, "entries came out of order or not at all");
	return 0;
}

/* ---- the ring ----------------------------------------------------------------------------- */

struct ring_run {
	struct work *work;
	struct cu_ring *ring;
	struct cu_park items; /* the receiver sleeps here */
	struct cu_park room;  /* the sender sleeps here */
};

static void ring_receive(void *argument)
{
	struct ring_run *run = argument;
	struct cu_ring_entry entry;
	int64_t got = 0;

	while (got < run->work->entries) {
		if (!cu_ring_pop(run->ring, &entry)) {
			uint32_t ticket = cu_park_prepare(&run->items);

			if (cu_ring_count(run->ring) > 0)
				cu_park_cancel(&run->items);
			else
				cu_park_wait(&run->items, ticket, CU_FOREVER);
			continue;
		}
		/* The sender may as well sleep until there is room for many. The count comes down by
		 * one at a time, so it does not step over the half. */
		if (cu_ring_count(run->ring) == SLOTS / 2)
			cu_park_wake(&run->room);
		see(run->work, &entry, ++got);
	}
}

static int ring_side(struct bench *b, void *context)
{
	struct ring_run run = {.work = context};
	struct cu_thread receiver = {0};
	int rc = -1;

	run.work->sum = 0;
	run.work->in_order = true;
	run.ring = cu_ring_create(SLOTS, false);
	if (!run.ring)
		return bench_fail(b, "out of memory");
	if (cu_park_init(&run.items) != 0)
		goto out_ring;
	if (cu_park_init(&run.room) != 0)
		goto out_items;
	if (cu_thread_start(&receiver, "receive", ring_receive, &run) != 0)
		goto out_room;
	for (int64_t i = 1; i <= run.work->entries; i++) {
		struct cu_ring_entry entry = {.range = {.lo = i - 1, .hi = i}};

		while (!cu_ring_push(run.ring, &entry)) {
			uint32_t ticket = cu_park_prepare(&run.room);

			if (cu_ring_room(run.ring) > 0)
				cu_park_cancel(&run.room);
			else
				cu_park_wait(&run.room, ticket, CU_FOREVER);
		}
		cu_park_wake(&run.items);
	}
	cu_thread_join(&receiver);
	rc = 0;
out_room:
	cu_park_finish(&run.room);
out_items:
	cu_park_finish(&run.items);
out_ring:
	cu_ring_destroy(run.ring);
	return rc == 0 ? 0 : bench_fail(b, "a thread or a lock could not be made");
}

/* ---- the yardstick ------------------------------------------------------------------------ */

struct queue_run {
	struct work *work;
	pthread_mutex_t mutex;
	pthread_cond_t items;
	pthread_cond_t room;
	struct cu_ring_entry entries[SLOTS - 1];
	size_t first;
	size_t count;
};

static void *queue_receive(void *argument)
{
	struct queue_run *run = argument;

	for (int64_t got = 1; got <= run->work->entries; got++) {
		struct cu_ring_entry entry;

		pthread_mutex_lock(&run->mutex);
		while (run->count == 0)
			pthread_cond_wait(&run->items, &run->mutex);
		entry = run->entries[run->first];
		run->first = (run->first + 1) % (SLOTS - 1);
		/* Only the step from full or empty can have a sleeper behind it. */
		if (run->count-- == SLOTS - 1)
			pthread_cond_signal(&run->room);
		pthread_mutex_unlock(&run->mutex);
		see(run->work, &entry, got);
	}
	return NULL;
}

static int queue_side(struct bench *b, void *context)
{
	struct queue_run run = {.work = context, .mutex = PTHREAD_MUTEX_INITIALIZER,
		.items = PTHREAD_COND_INITIALIZER, .room = PTHREAD_COND_INITIALIZER};
	pthread_t receiver;

	run.work->sum = 0;
	run.work->in_order = true;
	if (pthread_create(&receiver, NULL, queue_receive, &run) != 0)
		return bench_fail(b, "a thread could not be made");
	for (int64_t i = 1; i <= run.work->entries; i++) {
		struct cu_ring_entry entry = {.range = {.lo = i - 1, .hi = i}};

		pthread_mutex_lock(&run.mutex);
		while (run.count == SLOTS - 1)
			pthread_cond_wait(&run.room, &run.mutex);
		run.entries[(run.first + run.count) % (SLOTS - 1)] = entry;
		if (run.count++ == 0)
			pthread_cond_signal(&run.items);
		pthread_mutex_unlock(&run.mutex);
	}
	pthread_join(receiver, NULL);
	return 0;
}

static int run(struct bench *b)
{
	struct work work = {.entries = bench_amount(b, 5000000, 200000)};
	const struct bench_side sides[] = {
		{.name = "ring and park", .run = ring_side, .check = check, .context = &work},
		{.name = "mutex and conditions", .run = queue_side, .check = check, .context = &work},
	};
	const struct bench_comparison comparison = {
		.name = "",
		.unit = "entries",
		.amount = work.entries,
		.sides = sides,
		.n_sides = 2,
		.yardstick = 1,
		.instructions_amount = 20000,
	};

	return bench_compare(b, &comparison, NULL);
}

const struct bench_scenario bench_scenario_ring = {
	.name = "ring",
	.summary = "entries handed from one thread to another",
	.run = run,
};
