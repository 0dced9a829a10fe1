/* SPDX-License-Identifier: MIT */
/*
 * sim_chance.c - the die that decides all that happens in a story: the same seed gives the same story.
 */
#include "sim.h"

static uint64_t state;

void sim_random_seed(uint64_t seed)
{
	state = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
}

uint64_t sim_random(void)
{
	/* splitmix64: any seed will do, and neighbours have nothing in common. */
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t sim_below(uint64_t n)
{
	return n ? sim_random() % n : 0;
}

int64_t sim_between(int64_t least, int64_t most)
{
	return least + (int64_t)sim_below((uint64_t)(most - least) + 1);
}

bool sim_chance(unsigned per_million)
{
	return per_million && sim_below(1000000) < per_million;
}
