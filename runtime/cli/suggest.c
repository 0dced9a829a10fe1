/* SPDX-License-Identifier: MIT */
#include "cli/suggest.h"

#include <stdint.h>
#include <string.h>

#define LENGTH_MAX 63

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t cli_suggest_distance(const char *a, const char *b)
{
	/* Three rows of the classic table are enough: the row before the last is for swaps. */
	size_t rows[3][LENGTH_MAX + 1];
	size_t *older = rows[0], *old = rows[1], *now = rows[2];
	size_t a_length = strlen(a);
	size_t b_length = strlen(b);

	if (a_length > LENGTH_MAX || b_length > LENGTH_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_length; j++)
		old[j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t *spare;

		now[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t replace = old[j - 1] + (a[i - 1] != b[j - 1]);

			now[j] = least(replace, least(old[j], now[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], older[j - 2] + 1);
		}
		spare = older;
		older = old;
		old = now;
		now = spare;
	}
	return old[b_length];
}

void cli_suggest_offer(struct cli_suggest *suggest, const char *name)
{
	size_t distance = cli_suggest_distance(suggest->typed, name);
	size_t allowed = strlen(name) / 3;
	size_t typed_length = strlen(suggest->typed);

	/* A word that was begun and not finished counts as one mistake. */
	if (distance > 1 && typed_length >= 3 && strncmp(suggest->typed, name, typed_length) == 0)
		distance = 1;
	if (distance > (allowed ? allowed : 1))
		return;
	if (suggest->nearest && distance >= suggest->distance)
		return;
	suggest->nearest = name;
	suggest->distance = distance;
}
