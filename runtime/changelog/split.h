/* SPDX-License-Identifier: MIT */
/*
 * split.h - a reading position in a file that grows, and the lines from there on.
 *
 * Lines are handed out whole, in place. What has no newline yet waits in the buffer; beyond the limit
 * it is thrown away up to its newline and told once. Each read takes up to 64 bytes before the
 * position along and compares them with what stood there: a file that was truncated and has grown
 * past the position again is noticed by its content.
 *
 * Passed over: empty lines, a byte-order mark at the file's start. A run of NULs before a line (the
 * hole that truncating leaves under a writer that does not append) is told as one bad line, and the
 * line after it is read.
 */
#ifndef CU_CHANGELOG_SPLIT_H
#define CU_CHANGELOG_SPLIT_H

#include "changelog/line.h"

#include <sys/types.h>

#define CU_SPLIT_READ_BYTES (256 * 1024)
#define CU_SPLIT_FULL_READ_BYTES (CU_SPLIT_READ_BYTES / 2) /* a read of less has come to the end */
#define CU_SPLIT_KNOWN_BYTES 256 /* of either kind */

struct cu_split {
	size_t max_line; /* constant */

	char *buffer; /* owned */
	size_t capacity;
	size_t start;    /* of the pending line; what lies before it was handed out */
	size_t used;     /* bytes in the buffer */
	size_t searched; /* bytes from start on that hold no newline */
	int64_t read_to; /* offset in the file behind the buffer's last byte */
	int64_t line_at; /* offset of the pending line's first byte */
	int64_t nuls;    /* NULs at the pending line's start, no longer in the buffer */
	bool too_long;   /* the pending line was told and is being thrown away */

	char head[CU_SPLIT_KNOWN_BYTES]; /* the file's first bytes */
	size_t n_head;
};

void cu_split_init(struct cu_split *split, size_t max_line);
void cu_split_finish(struct cu_split *split);

/* Sets the position to the start of a line. Returns 0 or a negative errno. */
int cu_split_seek(struct cu_split *split, int fd, int64_t offset);
/* After seeking: how the file has to begin. When it does not, the next read says that it has changed. */
void cu_split_expect(struct cu_split *split, const char *head, size_t n);

#define CU_SPLIT_CHANGED (-100000) /* the bytes before the position are not what they were */

/* Reads on, up to an offset at most. Returns bytes, 0 at the end, CU_SPLIT_CHANGED, or a negative
 * errno. Invalidates lines handed out. */
ssize_t cu_split_read(struct cu_split *split, int fd, int64_t limit);

/* After CU_SPLIT_CHANGED: whether all before the pending line still stands; if so, the pending part
 * is forgotten, to be read again. A negative errno when it cannot be told. */
int cu_split_take_back(struct cu_split *split, int fd);

enum cu_split_got {
	CU_SPLIT_NONE = 0, /* read more */
	CU_SPLIT_LINE = 1,
	CU_SPLIT_BAD = 2, /* *error says what was passed over */
};

/* The next line in the buffer. *at: its offset in the file. */
enum cu_split_got cu_split_next(struct cu_split *split, struct cu_span *line, int64_t *at,
	struct catchup_error *error);

/* Whether the pending line was told already, and is being thrown away: then *error is what was told. */
bool cu_split_passing(const struct cu_split *split, struct catchup_error *error);

/* Whether a line without its end, or a hole, is pending. */
bool cu_split_pending(const struct cu_split *split);

/* The file is over: tells what is pending as bad, once. */
enum cu_split_got cu_split_end(struct cu_split *split, int64_t *at, struct catchup_error *error);

#endif
