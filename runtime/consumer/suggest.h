/* SPDX-License-Identifier: MIT */
/*
 * suggest.h - which known word a mistyped one is nearest to.
 */
#ifndef CU_CONSUMER_SUGGEST_H
#define CU_CONSUMER_SUGGEST_H

#include <stddef.h>

#define CU_SUGGEST_WORD_BYTES 40 /* longer words are near to nothing */

/*
 * The word of `known` (ended by NULL) that is nearest to word, without regard to ASCII case: one slip
 * away (a letter too many, missing, wrong, or two exchanged), two from five letters on. NULL when none
 * is.
 */
const char *cu_suggest_nearest(const char *word, const char *const *known);

/* Fills to with ", did you mean 'NEAREST'?", or with "" when nothing is near. Returns to. */
#define CU_SUGGEST_TEXT_BYTES (CU_SUGGEST_WORD_BYTES + 32)
const char *cu_suggest_text(
	char to[CU_SUGGEST_TEXT_BYTES], const char *word, const char *const *known);

#endif
