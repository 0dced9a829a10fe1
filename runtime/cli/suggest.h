/* SPDX-License-Identifier: MIT */
/*
 * suggest.h - the nearest of some names to one that was mistyped.
 */
#ifndef CLI_SUGGEST_H
#define CLI_SUGGEST_H

#include <stddef.h>

/*
 * Letters to insert, delete, replace or swap with their neighbour to turn a into b. Words longer than
 * 63 bytes are as far apart as can be (SIZE_MAX).
 */
size_t cli_suggest_distance(const char *a, const char *b);

struct cli_suggest {
	const char *typed;   /* borrowed */
	const char *nearest; /* borrowed from the caller's names; NULL: none is near */
	size_t distance;
};

/*
 * Offers one more name. One in three letters may be wrong, and at least one; the beginning of a name,
 * from three letters on, is near too.
 */
void cli_suggest_offer(struct cli_suggest *suggest, const char *name);

#endif
