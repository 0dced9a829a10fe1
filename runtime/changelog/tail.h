/* SPDX-License-Identifier: MIT */
/*
 * tail.h - what a changelog file ends with. All return 0 or a negative errno.
 */
#ifndef CU_CHANGELOG_TAIL_H
#define CU_CHANGELOG_TAIL_H

#include "changelog/line.h"

/* Lines that are looked at for the newest sequence; when all of them are bad, it is not known. */
#define CU_TAIL_LINES 8

/* The offset behind the last newline of the first `size` bytes. */
int cu_tail_find_start(int fd, int64_t size, int64_t *out);

/*
 * The newest sequence before `at`, the start of a line, so that a subscriber that begins there knows
 * which one should come: otherwise what is lost before the first event that it gets would be lost in
 * silence. -1 when there is none, or too many bad lines stand behind it.
 */
int cu_tail_find_sequence(int fd, int64_t at, uint32_t max_line, struct cu_line_parser *parser,
	int64_t *sequence);

#endif
