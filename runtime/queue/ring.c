/* SPDX-License-Identifier: MIT */
/*
 * ring.c - ck_ring behind ring.h.
 *
 * Ordering: ck_ring writes the entry, then a store fence, then the producer's tail; the consumer
 * reads the tail, then a load fence, then the entry. So an entry that is seen is seen whole, and
 * everything the producer wrote before the push is seen by whoever pops it. ThreadSanitizer does not
 * see fences made of inline assembly, so the same order is told to it by annotations here, and only
 * here; tests/tsan.supp silences ck_ring's own plain accesses.
 *
 * ck 0.7.1 has the fences that x86-64 needs; weaker machines need a newer one (see README, limits).
 */
#include "queue/ring.h"

#include "base/check.h"
#include "base/os.h"

#include <ck_ring.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
#define CU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CU_TSAN 1
#endif
#endif

#ifdef CU_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TSAN_ACQUIRE(address) __tsan_acquire(address)
#define TSAN_RELEASE(address) __tsan_release(address)
#else
#define TSAN_ACQUIRE(address) ((void)(address))
#define TSAN_RELEASE(address) ((void)(address))
#endif

struct cu_ring {
	ck_ring_t ring;

	/* constant after create */
	bool shared_pop;
	struct cu_ring_entry *entries; /* owned */

	/* atomic; set by the first thread at each end */
	_Atomic uintptr_t pusher;
	_Atomic uintptr_t popper;
};

CK_RING_PROTOTYPE(cu, cu_ring_entry)

uint32_t cu_ring_round_slots(uint32_t slots)
{
	uint32_t rounded = 2;

	while (rounded < slots && rounded < (UINT32_C(1) << 31))
		rounded <<= 1;
	return rounded;
}

struct cu_ring *cu_ring_create(uint32_t slots, bool shared_pop)
{
	struct cu_ring *ring;

	CU_CHECK(slots >= 2 && (slots & (slots - 1)) == 0);
	/* Producer and consumer fields of ck_ring stand on cache lines of their own. */
	ring = aligned_alloc(CK_MD_CACHELINE,
		(sizeof(*ring) + CK_MD_CACHELINE - 1) / CK_MD_CACHELINE * CK_MD_CACHELINE);
	if (!ring)
		return NULL;
	ring->entries = calloc(slots, sizeof(*ring->entries));
	if (!ring->entries) {
		free(ring);
		return NULL;
	}
	ring->shared_pop = shared_pop;
	atomic_init(&ring->pusher, 0);
	atomic_init(&ring->popper, 0);
	ck_ring_init(&ring->ring, slots);
	return ring;
}

void cu_ring_destroy(struct cu_ring *ring)
{
	if (!ring)
		return;
	free(ring->entries);
	free(ring);
}

static void check_end(_Atomic uintptr_t *end)
{
	uintptr_t self = cu_thread_self();
	uintptr_t owner = atomic_load_explicit(end, memory_order_relaxed);

	if (owner == self)
		return;
	CU_CHECK(owner == 0 && atomic_compare_exchange_strong(end, &owner, self));
}

bool cu_ring_push(struct cu_ring *ring, const struct cu_ring_entry *entry)
{
	struct cu_ring_entry copy = *entry;

	check_end(&ring->pusher);
	cu_os_point();
	TSAN_RELEASE(ring);
	if (ring->shared_pop)
		return ck_ring_enqueue_spmc_cu(&ring->ring, ring->entries, &copy);
	return ck_ring_enqueue_spsc_cu(&ring->ring, ring->entries, &copy);
}

bool cu_ring_pop(struct cu_ring *ring, struct cu_ring_entry *entry)
{
	CU_CHECK(!ring->shared_pop);
	check_end(&ring->popper);
	cu_os_point();
	if (!ck_ring_dequeue_spsc_cu(&ring->ring, ring->entries, entry))
		return false;
	TSAN_ACQUIRE(ring);
	return true;
}

bool cu_ring_pop_shared(struct cu_ring *ring, struct cu_ring_entry *entry)
{
	CU_CHECK(ring->shared_pop);
	cu_os_point();
	/* The entry may be read while the producer writes the slot anew; ck_ring then finds that
	 * the head has moved, throws the copy away and reads again. */
	if (!ck_ring_dequeue_spmc_cu(&ring->ring, ring->entries, entry))
		return false;
	TSAN_ACQUIRE(ring);
	return true;
}

uint32_t cu_ring_count(const struct cu_ring *ring)
{
	cu_os_point();
	return ck_ring_size(&ring->ring);
}

uint32_t cu_ring_room(const struct cu_ring *ring)
{
	cu_os_point();
	return ck_ring_capacity(&ring->ring) - 1 - ck_ring_size(&ring->ring);
}

void cu_ring_release_push(struct cu_ring *ring)
{
	atomic_store(&ring->pusher, 0);
}

void cu_ring_release_pop(struct cu_ring *ring)
{
	atomic_store(&ring->popper, 0);
}
