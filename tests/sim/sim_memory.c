/* SPDX-License-Identifier: MIT */
/*
 * sim_memory.c - SQLite's memory in a story: lists of free blocks by size, out of one large piece that is
 * never given back. A story lasts some milliseconds, and a sixth of them went into malloc and free; it is
 * one thread, and ends with its process, so that nothing need be tidy.
 */
#include "proof.h"
#include "sim.h"

#include <string.h>
#include <sys/mman.h>

/* Address space; what is not used costs nothing. */
#define ROOM_BYTES ((size_t)1 << 30)
/* Sizes go up in steps of 16 bytes to 256, and then in quarters of a power of two. */
#define FINE_STEP 16
#define FINE_MOST 256
#define CLASSES (FINE_MOST / FINE_STEP + 4 * 23)

/* Before every block. */
struct block {
	union {
		struct block *next; /* while it is free */
		size_t class;
	};
};

static struct {
	uint8_t *room;
	size_t used;
	struct block *free[CLASSES];
} memory;

/* The class that a size belongs to, and how much one of it holds. */
static size_t class_of(size_t bytes, size_t *holds)
{
	unsigned log;
	size_t step, steps;

	if (bytes <= FINE_MOST) {
		steps = bytes ? (bytes + FINE_STEP - 1) / FINE_STEP : 1;
		*holds = steps * FINE_STEP;
		return steps - 1;
	}
	log = 63 - (unsigned)__builtin_clzll(bytes - 1);
	step = (size_t)1 << (log - 2);
	steps = (bytes + step - 1) / step;
	*holds = steps * step;
	return FINE_MOST / FINE_STEP + 4 * (log - 8) + steps - 5;
}

static size_t size_of_class(size_t class)
{
	if (class < FINE_MOST / FINE_STEP)
		return (class + 1) * FINE_STEP;
	class -= FINE_MOST / FINE_STEP;
	return (class % 4 + 5) << (class / 4 + 6);
}

static struct block *block_of(void *at)
{
	return (struct block *)at - 1;
}

static void *take(int bytes)
{
	size_t holds, class = class_of((size_t)bytes, &holds);
	struct block *block = memory.free[class];

	if (block) {
		memory.free[class] = block->next;
	} else {
		block = (struct block *)(void *)(memory.room + memory.used);
		memory.used += sizeof(*block) + holds;
		SIM_CHECK(memory.used <= ROOM_BYTES, "SQLite takes %zu bytes", memory.used);
	}
	block->class = class;
	return block + 1;
}

static void give_back(void *at)
{
	struct block *block = block_of(at);
	size_t class = block->class;

	block->next = memory.free[class];
	memory.free[class] = block;
}

static int size_of(void *at)
{
	return at ? (int)size_of_class(block_of(at)->class) : 0;
}

static void *resize(void *at, int bytes)
{
	int had = size_of(at);
	void *to;

	if (bytes <= had)
		return at;
	to = take(bytes);
	memcpy(to, at, (size_t)had);
	give_back(at);
	return to;
}

static int round_up(int bytes)
{
	size_t holds;

	class_of((size_t)bytes, &holds);
	return (int)holds;
}

static int begin(void *unused)
{
	(void)unused;
	memory.room = mmap(NULL, ROOM_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory.room == MAP_FAILED ? SQLITE_NOMEM : SQLITE_OK;
}

static void end(void *unused)
{
	(void)unused;
}

void sim_memory_install(void)
{
	static const sqlite3_mem_methods methods = {take, give_back, resize, size_of, round_up, begin, end,
		NULL};

	/* A sanitizer sees what is done to malloc's blocks, and not to these. */
	SIM_CHECK(PROOF_SANITIZED || sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK,
		"SQLite does not take its memory here");
	/* What it would set aside for each connection is touched, a page after the other, and hardly used. */
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
}
