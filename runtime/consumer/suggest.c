/* SPDX-License-Identifier: MIT */
#include "consumer/suggest.h"

#include <stdio.h>
#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* Edits that turn a into b; an exchange of neighbours counts as one (optimal string alignment). */
static int distance(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	int rows[3][CU_SUGGEST_WORD_BYTES + 1];
	int *before = rows[0], *above = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_bytes; j++)
		above[j] = (int)j;
	for (size_t i = 1; i <= a_bytes; i++) {
		int *oldest = before;

		row[0] = (int)i;
		for (size_t j = 1; j <= b_bytes; j++) {
			char x = lower(a[i - 1]), y = lower(b[j - 1]);

			row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]))
				row[j] = least(row[j], before[j - 2] + 1);
		}
		before = above;
		above = row;
		row = oldest;
	}
	return above[b_bytes];
}

const char *cu_suggest_nearest(const char *word, const char *const *known)
{
	size_t bytes = strlen(word);
	int best = bytes >= 5 ? 3 : 2; /* one more than what is near */
	const char *nearest = NULL;

	if (bytes == 0 || bytes > CU_SUGGEST_WORD_BYTES)
		return NULL;
	for (; *known; known++) {
		size_t known_bytes = strlen(*known);
		int d;

		if (known_bytes > CU_SUGGEST_WORD_BYTES)
			continue;
		d = distance(word, bytes, *known, known_bytes);
		if (d < best) {
			best = d;
			nearest = *known;
		}
	}
	return nearest;
}

const char *cu_suggest_text(
	char to[CU_SUGGEST_TEXT_BYTES], const char *word, const char *const *known)
{
	const char *nearest = cu_suggest_nearest(word, known);

	to[0] = '\0';
	if (nearest)
		snprintf(to, CU_SUGGEST_TEXT_BYTES, ", did you mean '%s'?", nearest);
	return to;
}
