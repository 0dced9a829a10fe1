/* SPDX-License-Identifier: MIT */
/*
 * fuzz_changelog_split.c - any bytes as a changelog that grows: read piece by piece as it is written,
 * and a torn part now and then taken back, it gives the same lines and the same bad lines as when it
 * is read whole.
 *
 * The first byte says how long the pieces are, the second where a reader comes in anew.
 */
#include "base/check.h"
#include "changelog/split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MAX_LINE 64

/* What was told, as text, to be compared. */
struct told {
	char *text;
	size_t n, capacity;
};

static void add(struct told *told, const char *bytes, size_t n)
{
	if (told->capacity - told->n < n) {
		told->capacity = 2 * (told->n + n);
		told->text = realloc(told->text, told->capacity);
		CU_CHECK(told->text);
	}
	memcpy(told->text + told->n, bytes, n);
	told->n += n;
}

static void take(struct cu_split *split, struct told *told)
{
	struct catchup_error error;
	struct cu_span line;
	enum cu_split_got got;
	char number[48];
	int64_t at;

	while ((got = cu_split_next(split, &line, &at, &error)) != CU_SPLIT_NONE) {
		add(told, number, (size_t)sprintf(number, "%d at %lld: ", got, (long long)at));
		if (got == CU_SPLIT_LINE)
			add(told, line.bytes, line.n);
		else
			add(told, error.message, strlen(error.message));
		add(told, "\n", 1);
		CU_CHECK(at <= split->line_at && split->line_at <= split->read_to);
	}
}

static void take_end(struct cu_split *split, struct told *told)
{
	struct catchup_error error;
	int64_t at;

	while (cu_split_end(split, &at, &error) == CU_SPLIT_BAD)
		add(told, error.message, strlen(error.message));
}

static void read_whole(int fd, struct told *told)
{
	struct cu_split split;

	cu_split_init(&split, MAX_LINE);
	CU_CHECK(cu_split_seek(&split, fd, 0) == 0);
	while (cu_split_read(&split, fd, INT64_MAX) > 0)
		take(&split, told);
	take_end(&split, told);
	CU_CHECK(!cu_split_pending(&split));
	cu_split_finish(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct told pieces = {0}, whole = {0};
	struct cu_split split;
	size_t piece, anew;
	int fd;

	if (bytes < 2)
		return 0;
	piece = 1 + data[0];
	anew = data[1];
	data += 2;
	bytes -= 2;
	fd = memfd_create("changelog", MFD_CLOEXEC);
	CU_CHECK(fd >= 0);
	cu_split_init(&split, MAX_LINE);
	CU_CHECK(cu_split_seek(&split, fd, 0) == 0);
	for (size_t at = 0; at < bytes; at += piece) {
		size_t n = bytes - at < piece ? bytes - at : piece;

		CU_CHECK(write(fd, data + at, n) == (ssize_t)n);
		while (cu_split_read(&split, fd, INT64_MAX) > 0)
			take(&split, &pieces);
		if (at / piece == anew && split.line_at < (int64_t)(at + n) && split.nuls == 0 &&
			!split.too_long) {
			/* The torn line is taken back and written again. */
			int64_t end = (int64_t)(at + n);
			size_t torn = (size_t)(end - split.line_at);

			CU_CHECK(ftruncate(fd, split.line_at) == 0);
			CU_CHECK(cu_split_read(&split, fd, INT64_MAX) == CU_SPLIT_CHANGED);
			CU_CHECK(cu_split_take_back(&split, fd) > 0);
			CU_CHECK(pwrite(fd, data + (end - (int64_t)torn), torn, split.line_at) ==
				 (ssize_t)torn);
		} else if (at / piece == anew && split.nuls == 0 && !split.too_long) {
			/* Another reader goes on where this one stands. */
			CU_CHECK(cu_split_seek(&split, fd, split.line_at) == 0);
		}
	}
	while (cu_split_read(&split, fd, INT64_MAX) > 0)
		take(&split, &pieces);
	take_end(&split, &pieces);
	read_whole(fd, &whole);
	CU_CHECK(pieces.n == whole.n && (whole.n == 0 || memcmp(pieces.text, whole.text, whole.n) == 0));
	cu_split_finish(&split);
	free(pieces.text);
	free(whole.text);
	close(fd);
	return 0;
}
