/* SPDX-License-Identifier: MIT */
/*
 * ask.h - whether an iterator has handed out everything that stood in the file at a moment.
 *
 * The end of a feed is not the end of the file: what was written a moment ago may not have come to
 * the reader thread's notice yet. So who must know asks the reader for a look, and has its answer
 * when all that this look found has been handed out.
 */
#ifndef CU_CHANGELOG_ASK_H
#define CU_CHANGELOG_ASK_H

#include <catchup/changelog.h>
#include <stdbool.h>

/*
 * Asks for a look that begins after this call. catchup_iterator_next returns CATCHUP_NEXT_TIMEOUT as
 * soon as the answer is there, whatever its timeout; cu_iterator_answered tells it from another. There
 * is no answer while the file cannot be read. Threads: the one that calls catchup_iterator_next.
 */
void cu_iterator_ask(struct catchup_iterator *iterator);
bool cu_iterator_answered(const struct catchup_iterator *iterator);

/* Whether the trouble that CATCHUP_NEXT_ERROR told of last is there still, as far as anybody has looked.
 * Threads: the one that calls catchup_iterator_next. */
bool cu_iterator_in_trouble(const struct catchup_iterator *iterator);

/* Makes the running or the next catchup_iterator_next return CATCHUP_NEXT_TIMEOUT once it would have
 * to wait. Threads: any, until catchup_iterator_close. */
void cu_iterator_poke(struct catchup_iterator *iterator);

#endif
