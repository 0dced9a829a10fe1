/* SPDX-License-Identifier: MIT */
/*
 * The ring and the park beside it: order, capacity, hand-over between real threads.
 */
#include "queue/park.h"
#include "queue/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void rounds_slots_up_to_a_power_of_two(void **state)
{
	(void)state;
	assert_int_equal(cu_ring_round_slots(0), 2);
	assert_int_equal(cu_ring_round_slots(2), 2);
	assert_int_equal(cu_ring_round_slots(3), 4);
	assert_int_equal(cu_ring_round_slots(1000), 1024);
	assert_int_equal(cu_ring_round_slots(1u << 20), 1u << 20);
}

static void holds_one_entry_less_than_slots_in_order(void **state)
{
	struct cu_ring *ring = cu_ring_create(8, false);
	struct cu_ring_entry entry = {0};

	(void)state;
	assert_non_null(ring);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 7; i++) {
			entry.range.lo = round * 100 + i;
			assert_true(cu_ring_push(ring, &entry));
		}
		assert_false(cu_ring_push(ring, &entry));
		assert_int_equal(cu_ring_count(ring), 7);
		assert_int_equal(cu_ring_room(ring), 0);
		for (int i = 0; i < 7; i++) {
			assert_true(cu_ring_pop(ring, &entry));
			assert_int_equal(entry.range.lo, round * 100 + i);
		}
		assert_false(cu_ring_pop(ring, &entry));
	}
	cu_ring_destroy(ring);
}

#define HAND_OVERS 200000

struct hand_over {
	struct cu_ring *ring;
	struct cu_park filled, emptied;
	int64_t received; /* consumer thread only, until joined */
	bool ordered;
};

static void consume(void *argument)
{
	struct hand_over *h = argument;

	h->ordered = true;
	while (h->received < HAND_OVERS) {
		struct cu_ring_entry entry;
		uint32_t ticket;

		if (!cu_ring_pop(h->ring, &entry)) {
			ticket = cu_park_prepare(&h->filled);
			if (cu_ring_count(h->ring) > 0)
				cu_park_cancel(&h->filled);
			else
				cu_park_wait(&h->filled, ticket, CU_FOREVER);
			continue;
		}
		h->ordered = h->ordered && entry.range.hi == h->received;
		h->received++;
		cu_park_wake(&h->emptied);
	}
}

static void no_wake_up_is_missed_between_two_threads(void **state)
{
	struct hand_over h = {.ring = cu_ring_create(4, false)};
	struct cu_thread thread;

	(void)state;
	assert_non_null(h.ring);
	assert_int_equal(cu_park_init(&h.filled), 0);
	assert_int_equal(cu_park_init(&h.emptied), 0);
	assert_int_equal(cu_thread_start(&thread, "consume", consume, &h), 0);
	for (int64_t i = 0; i < HAND_OVERS;) {
		struct cu_ring_entry entry = {.range = {.hi = i}};
		uint32_t ticket;

		if (cu_ring_push(h.ring, &entry)) {
			i++;
			cu_park_wake(&h.filled);
			continue;
		}
		ticket = cu_park_prepare(&h.emptied);
		if (cu_ring_room(h.ring) > 0)
			cu_park_cancel(&h.emptied);
		else
			cu_park_wait(&h.emptied, ticket, CU_FOREVER);
	}
	cu_thread_join(&thread);
	assert_true(h.ordered);
	assert_int_equal(h.received, HAND_OVERS);
	cu_park_finish(&h.filled);
	cu_park_finish(&h.emptied);
	cu_ring_destroy(h.ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rounds_slots_up_to_a_power_of_two),
		cmocka_unit_test(holds_one_entry_less_than_slots_in_order),
		cmocka_unit_test(no_wake_up_is_missed_between_two_threads),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
