/* SPDX-License-Identifier: MIT */
#include "changelog/split.h"

#include "base/error.h"
#include "base/os.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define READ_TRIES 100 /* of a read that brings nothing from where there is something */

void cu_split_init(struct cu_split *split, size_t max_line)
{
	memset(split, 0, sizeof(*split));
	split->max_line = max_line;
}

void cu_split_finish(struct cu_split *split)
{
	free(split->buffer);
	memset(split, 0, sizeof(*split));
}

static int set_capacity(struct cu_split *split, size_t capacity)
{
	char *buffer = realloc(split->buffer, capacity);

	if (!buffer)
		return -ENOMEM;
	split->buffer = buffer;
	split->capacity = capacity;
	return 0;
}

/* How many bytes before a place in the buffer are known. */
static size_t known_before(size_t place)
{
	return place < CU_SPLIT_KNOWN_BYTES ? place : CU_SPLIT_KNOWN_BYTES;
}

/* Whether the file begins as it did; learns more of its beginning up to `read_to`. A negative errno
 * when it cannot be read. */
static int head_intact(struct cu_split *split, int fd)
{
	char now[CU_SPLIT_KNOWN_BYTES];
	size_t least = split->n_head;
	ssize_t n;

	if (split->read_to > (int64_t)least)
		least = split->read_to < CU_SPLIT_KNOWN_BYTES ? (size_t)split->read_to : sizeof(now);
	if (least == 0)
		return true;
	n = cu_file_read_least(fd, now, sizeof(now), least, 0);
	if (n < 0)
		return (int)n;
	if (n < (ssize_t)split->n_head || memcmp(now, split->head, split->n_head) != 0)
		return false;
	if (n > split->read_to)
		n = (ssize_t)split->read_to;
	if (n > (ssize_t)split->n_head) {
		memcpy(split->head, now, (size_t)n);
		split->n_head = (size_t)n;
	}
	return true;
}

int cu_split_seek(struct cu_split *split, int fd, int64_t offset)
{
	int64_t before = offset < CU_SPLIT_KNOWN_BYTES ? offset : CU_SPLIT_KNOWN_BYTES;
	ssize_t n = 0;

	if (split->capacity == 0 && set_capacity(split, CU_SPLIT_READ_BYTES) != 0)
		return -ENOMEM;
	if (before > 0)
		n = cu_file_read_least(fd, split->buffer, (size_t)before, (size_t)before, offset - before);
	if (n < 0)
		return (int)n;
	/* Where the file is shorter, nothing is known, and the next read finds it out. */
	split->start = split->used = n == before ? (size_t)before : 0;
	split->searched = 0;
	split->read_to = split->line_at = offset;
	split->nuls = 0;
	split->too_long = false;
	split->n_head = 0;
	n = head_intact(split, fd);
	return n < 0 ? (int)n : 0;
}

void cu_split_expect(struct cu_split *split, const char *head, size_t n)
{
	memcpy(split->head, head, n);
	split->n_head = n;
}

/* Makes room behind `used` for a read, keeping the bytes before the pending line. */
static int make_room(struct cu_split *split)
{
	size_t keep = known_before(split->start);
	size_t drop = split->start - keep;
	size_t want;

	if (split->capacity - split->used >= CU_SPLIT_READ_BYTES / 2)
		return 0;
	memmove(split->buffer, split->buffer + drop, split->used - drop);
	split->start -= drop;
	split->used -= drop;
	want = split->used + CU_SPLIT_READ_BYTES;
	if (split->capacity >= want) {
		/* A long line is over: give its memory back. */
		if (split->capacity > 8 * CU_SPLIT_READ_BYTES && want < split->capacity / 4)
			return set_capacity(split, 2 * CU_SPLIT_READ_BYTES);
		return 0;
	}
	if (want < 2 * split->capacity)
		want = 2 * split->capacity;
	/* A line above the limit is thrown away after the read that shows it. */
	if (want > split->max_line + 2 * CU_SPLIT_READ_BYTES)
		want = split->max_line + 2 * CU_SPLIT_READ_BYTES;
	return set_capacity(split, want);
}

/*
 * Reads known bytes again and the new ones behind them, with one call, so that they belong together.
 * Brings less than the known ones only where the file is that short: a single read may bring less than
 * there is, and that must be taken neither for the file's end nor for a truncation.
 */
static ssize_t read_beyond(int fd, char *to, size_t known, size_t want, int64_t offset)
{
	struct cu_file_stat stat;

	for (int i = 0; i < READ_TRIES; i++) {
		ssize_t n = cu_file_read_at(fd, to, known + want, offset);
		int rc;

		if (n < 0 || n > (ssize_t)known)
			return n;
		rc = cu_file_stat_fd(fd, &stat);
		if (rc != 0)
			return rc;
		if (stat.size <= offset + n)
			return n;
	}
	return -EIO;
}

ssize_t cu_split_read(struct cu_split *split, int fd, int64_t limit)
{
	char before[CU_SPLIT_KNOWN_BYTES];
	size_t known, want;
	ssize_t n;
	int rc;

	if (limit <= split->read_to)
		return 0;
	rc = make_room(split);
	if (rc != 0)
		return rc;
	want = split->capacity - split->used;
	if (want > CU_SPLIT_READ_BYTES)
		want = CU_SPLIT_READ_BYTES;
	if (limit - split->read_to < (int64_t)want)
		want = (size_t)(limit - split->read_to);
	known = known_before(split->used);
	memcpy(before, split->buffer + split->used - known, known);
	n = read_beyond(fd, split->buffer + split->used - known, known, want,
		split->read_to - (int64_t)known);
	if (n < (ssize_t)known ||
		memcmp(before, split->buffer + split->used - known, known) != 0 ||
		(known == 0 && split->read_to > 0 && n == 0)) {
		memcpy(split->buffer + split->used - known, before, known);
		return n < 0 ? n : CU_SPLIT_CHANGED;
	}
	/* Looked at after the bytes were read: if it has not changed by now, they are good. */
	rc = head_intact(split, fd);
	if (rc <= 0)
		return rc < 0 ? rc : CU_SPLIT_CHANGED;
	n -= (ssize_t)known;
	if (split->read_to == (int64_t)split->n_head) {
		size_t more = sizeof(split->head) - split->n_head;

		more = (size_t)n < more ? (size_t)n : more;
		memcpy(split->head + split->n_head, split->buffer + split->used, more);
		split->n_head += more;
	}
	split->used += (size_t)n;
	split->read_to += n;
	return n;
}

int cu_split_take_back(struct cu_split *split, int fd)
{
	char now[CU_SPLIT_KNOWN_BYTES];
	size_t known = known_before(split->start);
	ssize_t n = 0;
	int rc;

	if (split->nuls > 0 || split->too_long || (known == 0 && split->line_at > 0))
		return false;
	if (split->used == split->start)
		return false; /* nothing is pending, so the change lies before */
	if (known > 0)
		n = cu_file_read_least(fd, now, known, known, split->line_at - (int64_t)known);
	if (n < 0)
		return (int)n;
	if (n != (ssize_t)known || memcmp(now, split->buffer + split->start - known, known) != 0)
		return false;
	/* Of the file's beginning, only what is before the line needs to be there still. */
	if ((int64_t)split->n_head > split->line_at)
		split->n_head = (size_t)split->line_at;
	rc = head_intact(split, fd);
	if (rc <= 0)
		return rc;
	split->used = split->start;
	split->read_to = split->line_at;
	split->searched = 0;
	return true;
}

static enum cu_split_got bad_nuls(struct cu_split *split, int64_t *at, struct catchup_error *error)
{
	*at = split->line_at;
	cu_error_set(error, CATCHUP_IO, 0, "%" PRId64 " NUL bytes", split->nuls);
	split->line_at += split->nuls;
	split->nuls = 0;
	return CU_SPLIT_BAD;
}

static enum cu_split_got bad_length(const struct cu_split *split, struct catchup_error *error)
{
	cu_error_set(error, CATCHUP_IO, 0, "a line above the maximum of %zu bytes",
		split->max_line);
	return CU_SPLIT_BAD;
}

/* Steps over NULs where a line should begin. */
static void skip_nuls(struct cu_split *split)
{
	size_t from = split->start;

	while (split->start < split->used && split->buffer[split->start] == '\0')
		split->start++;
	split->nuls += (int64_t)(split->start - from);
	split->searched = 0;
}

enum cu_split_got cu_split_next(struct cu_split *split, struct cu_span *line, int64_t *at,
	struct catchup_error *error)
{
	for (;;) {
		const char *p = split->buffer + split->start;
		size_t n = split->used - split->start;
		const char *newline;

		if (n > 0 && *p == '\0' && !split->too_long) {
			skip_nuls(split);
			continue;
		}
		if (n > 0 && split->nuls > 0)
			return bad_nuls(split, at, error);
		newline = n == split->searched
				  ? NULL
				  : memchr(p + split->searched, '\n', n - split->searched);
		*at = split->line_at;
		if (!newline) {
			bool told = split->too_long;

			split->searched = n;
			if (!told && n <= split->max_line)
				return CU_SPLIT_NONE;
			split->too_long = true;
			split->start = split->used;
			split->searched = 0;
			return told ? CU_SPLIT_NONE : bad_length(split, error);
		}
		n = (size_t)(newline - p);
		split->start += n + 1;
		split->searched = 0;
		split->line_at = split->read_to - (int64_t)(split->used - split->start);
		if (split->too_long) {
			split->too_long = false;
			continue;
		}
		if (n > split->max_line)
			return bad_length(split, error);
		if (*at == 0 && n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
			p += 3;
			n -= 3;
		}
		if (n == 0 || (n == 1 && *p == '\r'))
			continue;
		*line = (struct cu_span){p, n};
		return CU_SPLIT_LINE;
	}
}

bool cu_split_passing(const struct cu_split *split, struct catchup_error *error)
{
	if (split->too_long)
		bad_length(split, error);
	return split->too_long;
}

bool cu_split_pending(const struct cu_split *split)
{
	return split->used > split->start || split->nuls > 0 || split->too_long;
}

enum cu_split_got cu_split_end(struct cu_split *split, int64_t *at, struct catchup_error *error)
{
	size_t n = split->used - split->start;

	if (split->nuls > 0)
		return bad_nuls(split, at, error);
	*at = split->line_at;
	split->start = split->used;
	split->searched = 0;
	split->line_at = split->read_to;
	if (n == 0 || split->too_long) {
		split->too_long = false;
		return CU_SPLIT_NONE;
	}
	cu_error_set(error, CATCHUP_IO, 0,
		"the file was rotated away, and its last line of %zu bytes has no end", n);
	return CU_SPLIT_BAD;
}
