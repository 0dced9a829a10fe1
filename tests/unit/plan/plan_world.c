/* SPDX-License-Identifier: MIT */
/*
 * plan_world.c - the source, its reader, the processes, and the telling.
 */
#include "base/os.h"
#include "plan_world_inside.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- chance ------------------------------------------------------------------------------- */

uint64_t world_random(struct world *world)
{
	uint64_t z;

	world->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	z = world->random;
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t world_dice(struct world *world, uint32_t n)
{
	return (uint32_t)(((world_random(world) >> 32) * n) >> 32);
}

/* ---- telling ------------------------------------------------------------------------------- */

void world_break(struct world *world, const char *fmt, ...)
{
	va_list args;

	if (world->broken[0] != '\0')
		return;
	va_start(args, fmt);
	vsnprintf(world->broken, sizeof(world->broken), fmt, args);
	va_end(args);
}

void world_tell(struct world *world, const char *fmt, ...)
{
	va_list args;
	size_t used;

	if (!world->trace)
		return;
	used = strlen(world->trace);
	va_start(args, fmt);
	vsnprintf(world->trace + used, world->trace_bytes - used, fmt, args);
	va_end(args);
}

/* ---- the source --------------------------------------------------------------------------- */

void world_init(struct world *world, uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	world->random = seed;
	world->own_max = -1;
	world->now_ns = CU_NS_PER_S;
}

struct world_row *world_insert(struct world *world, int64_t id, enum world_nature nature)
{
	struct world_row *row;

	if (world->n_rows == WORLD_ROWS_MAX || id <= world->highest)
		return NULL;
	row = &world->rows[world->n_rows++];
	*row = (struct world_row){.id = id, .nature = nature};
	world->highest = id;
	return row;
}

/* Index of the first row with an id above `id`. */
size_t world_above(const struct world *world, int64_t id)
{
	size_t lo = 0, hi = world->n_rows;

	while (lo < hi) {
		size_t middle = (lo + hi) / 2;

		if (world->rows[middle].id <= id)
			lo = middle + 1;
		else
			hi = middle;
	}
	return lo;
}

struct world_row *world_find(struct world *world, int64_t id)
{
	size_t i = world_above(world, id);

	return i > 0 && world->rows[i - 1].id == id ? &world->rows[i - 1] : NULL;
}

int64_t world_newest(const struct world *world)
{
	if (world->own_max >= 0)
		return world->own_max;
	for (size_t i = world->n_rows; i > 0; i--) {
		if (!world->rows[i - 1].deleted)
			return world->rows[i - 1].id;
	}
	return 0;
}

/* Where a range of at most `most` rows above lo ends, and how many are in it. */
int64_t world_cut(const struct world *world, int64_t lo, int64_t hi, uint32_t most, uint32_t *rows)
{
	*rows = 0;
	for (size_t i = world_above(world, lo); i < world->n_rows && world->rows[i].id <= hi; i++) {
		if (!world->rows[i].deleted && ++*rows == most)
			return world->rows[i].id;
	}
	return hi;
}

void world_read(struct world_process *process)
{
	struct world *world = process->world;
	int64_t newest = world_newest(world);
	struct world_range range;
	uint32_t most;

	if (process->rewind_asked) {
		cu_feed_rewind(&process->feed, process->rewind_from, process->rewind_epoch);
		process->rewind_asked = false;
	}
	if (!cu_feed_wants(&process->feed, newest) || process->ring_used == WORLD_RING_SLOTS)
		return;
	most = world->eager ? WORLD_ROWS_MAX : 1 + world_dice(world, 12);
	range = (struct world_range){.lo = process->feed.pushed, .epoch = process->feed.epoch};
	range.hi = world_cut(world, range.lo, newest, most, &range.rows);
	if (world->own_max >= 0)
		range.rows = UINT32_MAX;
	process->ring[process->ring_used++] = range;
	cu_feed_pushed(&process->feed, range.hi);
}

/* ---- processes ---------------------------------------------------------------------------- */

void world_start(struct world *world, size_t index, const struct cu_plan_config *config)
{
	struct world_process *process = &world->processes[index];

	memset(process, 0, sizeof(*process));
	process->world = world;
	process->action = cu_plan_first(&process->plan, config);
	if (index >= world->n_processes)
		world->n_processes = index + 1;
}

void world_end_transaction(struct world_process *process)
{
	if (process->world->writer == process)
		process->world->writer = NULL;
	process->n_effects = 0;
	process->n_fetched = 0;
	process->at_fetched = 0;
}

void world_crash(struct world_process *process)
{
	struct cu_plan_config config = process->plan.config;
	struct world *world = process->world;

	world_tell(world, " crash");
	if (world->lease_owner == process) {
		struct world_row *row = world_find(world, world->marked);

		world->owner_died = true;
		/* Who waits, or sleeps, has no row in hand that could be blamed. */
		if (row && world->marked_fence == world->fence && !world->mark_back &&
			(world->writer == process || process->mark_stuck))
			row->crashes++;
	}
	world_end_transaction(process);
	if (world->lease_owner == process && world_dice(world, 2) == 0)
		world->lease_until_ns = world->now_ns; /* seen to be gone; else it expires */
	world_start(world, (size_t)(process - world->processes), &config);
}
