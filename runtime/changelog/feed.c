/* SPDX-License-Identifier: MIT */
#include "changelog/feed.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_A_SLOT 256
#define BYTES_MIN ((size_t)4 * 1024 * 1024)
#define BATCH_BYTES ((size_t)64 * 1024)

int cu_feed_init(struct cu_feed *feed, uint32_t slots)
{
	uint32_t ring_slots = slots < CATCHUP_RING_SLOTS_MAX ? cu_ring_round_slots(slots + 6) : slots;
	int rc;

	memset(feed, 0, sizeof(*feed));
	feed->slots = slots;
	feed->bytes_max = (size_t)slots * BYTES_A_SLOT;
	if (feed->bytes_max < BYTES_MIN)
		feed->bytes_max = BYTES_MIN;
	atomic_init(&feed->taken, 0);
	atomic_init(&feed->taken_bytes, 0);
	atomic_init(&feed->seen, -1);
	rc = cu_park_init(&feed->park);
	if (rc != 0)
		return rc;
	feed->ring = cu_ring_create(ring_slots, false);
	if (!feed->ring) {
		cu_park_finish(&feed->park);
		return ENOMEM;
	}
	return 0;
}

void cu_feed_finish(struct cu_feed *feed)
{
	struct cu_ring_entry entry;

	free(feed->open);
	free(feed->batch);
	while (cu_ring_pop(feed->ring, &entry))
		free(entry.item.pointer);
	cu_ring_destroy(feed->ring);
	cu_park_finish(&feed->park);
}

/* ---- giving ------------------------------------------------------------------------------- */

static uint64_t waiting(const struct cu_feed *feed)
{
	return feed->given - atomic_load_explicit(&feed->taken, memory_order_acquire);
}

bool cu_feed_has_room(const struct cu_feed *feed, uint32_t results, size_t bytes)
{
	uint64_t count = waiting(feed);
	uint64_t held = feed->given_bytes -
			atomic_load_explicit(&feed->taken_bytes, memory_order_acquire);

	if (count + results > feed->slots || cu_ring_room(feed->ring) < 4)
		return false;
	return held + bytes <= feed->bytes_max || count == 0;
}

bool cu_feed_half_empty(const struct cu_feed *feed)
{
	return waiting(feed) <= feed->slots / 2;
}

void *cu_feed_give(struct cu_feed *feed, int kind, size_t bytes, size_t more)
{
	size_t whole = (sizeof(struct cu_record) + bytes + 7) & ~(size_t)7;
	struct cu_batch *batch = feed->open;
	struct cu_record *record;

	if (batch && batch->capacity - batch->used < whole) {
		cu_feed_publish(feed);
		batch = NULL;
	}
	if (!batch) {
		/* An event takes at most about three times the bytes of its line. */
		size_t capacity = whole + 3 * more;

		if (cu_ring_room(feed->ring) == 0)
			return NULL;
		if (capacity > BATCH_BYTES)
			capacity = whole > BATCH_BYTES ? whole : BATCH_BYTES;
		batch = malloc(sizeof(*batch) + capacity);
		if (!batch)
			return NULL;
		batch->capacity = capacity;
		batch->used = 0;
		feed->open = batch;
		feed->given_bytes += sizeof(*batch) + capacity;
	}
	record = (struct cu_record *)(batch->records + batch->used);
	record->bytes = whole;
	record->kind = kind;
	batch->used += whole;
	if (kind != CU_RECORD_JOIN)
		feed->given++;
	return record->body;
}

bool cu_feed_publish(struct cu_feed *feed)
{
	struct cu_ring_entry entry = {.item = {.pointer = feed->open}};

	if (!feed->open)
		return false;
	/* Room was found before the batch was made, and only this thread uses it up. */
	CU_CHECK(cu_ring_push(feed->ring, &entry));
	feed->open = NULL;
	return true;
}

/* ---- taking ------------------------------------------------------------------------------- */

const struct cu_record *cu_feed_take(struct cu_feed *feed)
{
	const struct cu_record *record;

	if (feed->counted) {
		feed->counted = false;
		atomic_store_explicit(&feed->taken, ++feed->took, memory_order_release);
	}
	if (feed->batch && feed->at == feed->batch->used) {
		free(feed->batch);
		feed->batch = NULL;
	}
	if (!feed->batch) {
		struct cu_ring_entry entry;
		bool popped = cu_ring_pop(feed->ring, &entry);

		/* Users may take turns between threads, one at a time. */
		cu_ring_release_pop(feed->ring);
		if (!popped)
			return NULL;
		feed->batch = entry.item.pointer;
		feed->at = 0;
		/* What is in hand waits no longer: a single large line does not shut the others out. */
		feed->took_bytes += sizeof(*feed->batch) + feed->batch->capacity;
		atomic_store_explicit(&feed->taken_bytes, feed->took_bytes, memory_order_release);
	}
	record = (const struct cu_record *)(feed->batch->records + feed->at);
	feed->at += record->bytes;
	feed->counted = record->kind != CU_RECORD_JOIN;
	return record;
}

bool cu_feed_empty(const struct cu_feed *feed)
{
	return (!feed->batch || feed->at == feed->batch->used) && cu_ring_count(feed->ring) == 0;
}
