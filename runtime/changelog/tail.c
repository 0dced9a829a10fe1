/* SPDX-License-Identifier: MIT */
#include "changelog/tail.h"

#include "base/os.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGE_LINE (64 * 1024)

int cu_tail_find_start(int fd, int64_t size, int64_t *out)
{
	char block[16 * 1024];

	while (size > 0) {
		int64_t from = size > (int64_t)sizeof(block) ? size - (int64_t)sizeof(block) : 0;
		size_t bytes = (size_t)(size - from);
		ssize_t n = cu_file_read_least(fd, block, bytes, bytes, from);
		const char *newline;

		if (n < 0)
			return (int)n;
		newline = memrchr(block, '\n', (size_t)n);
		if (newline) {
			*out = from + (newline - block) + 1;
			return 0;
		}
		size = from;
	}
	*out = 0;
	return 0;
}

/* Parses the text from..to, behind a hole perhaps; *sequence stays where it is no event. */
static int parse(int fd, int64_t from, int64_t to, struct cu_line_parser *parser, int64_t *sequence)
{
	struct cu_line line;
	size_t n = (size_t)(to - from), hole = 0;
	char *text = malloc(n + 1);
	ssize_t got;
	int rc = 0;

	if (!text)
		return -ENOMEM;
	got = cu_file_read_least(fd, text, n, n, from);
	if (got < 0)
		rc = (int)got;
	if (got == (ssize_t)n) {
		char *nul = memrchr(text, '\0', n);

		hole = nul ? (size_t)(nul - text) + 1 : 0;
		switch (cu_line_parse(parser, text + hole, n - hole, &line, NULL)) {
		case CATCHUP_OK:
			*sequence = line.sequence;
			break;
		case CATCHUP_NOMEM:
			rc = -ENOMEM;
			break;
		}
	}
	free(text);
	return rc;
}

/* The sequence with which a large line begins, when it does as every known writer's. */
static int read_start(int fd, int64_t from, int64_t *sequence)
{
	char start[40];
	ssize_t n = cu_file_read_least(fd, start, sizeof(start) - 1, sizeof(start) - 1, from);
	long long value;
	char after;

	if (n < 0)
		return (int)n;
	start[n] = '\0';
	if (sscanf(start, "{\"seq\":%18lld%c", &value, &after) == 2 && after == ',' && value >= 0)
		*sequence = value;
	return 0;
}

/*
 * The sequence of the line from..to (its newline); -1 when it has none. A large line is not read whole
 * where it can be helped: that would take as much memory again as reading the file.
 */
static int read_sequence(int fd, int64_t from, int64_t to, uint32_t max_line,
	struct cu_line_parser *parser, int64_t *sequence)
{
	int rc = 0;

	if (to - from <= LARGE_LINE)
		return parse(fd, from, to, parser, sequence);
	if (to - from <= max_line)
		rc = read_start(fd, from, sequence);
	/* It may stand behind a hole. */
	if (rc == 0 && *sequence < 0)
		rc = parse(fd, to - LARGE_LINE, to, parser, sequence);
	if (rc == 0 && *sequence < 0 && to - from <= max_line)
		rc = parse(fd, from, to, parser, sequence);
	return rc;
}

int cu_tail_find_sequence(int fd, int64_t at, uint32_t max_line, struct cu_line_parser *parser,
	int64_t *sequence)
{
	int64_t from;
	int rc = 0;

	*sequence = -1;
	for (int i = 0; i < CU_TAIL_LINES && at > 0 && *sequence < 0 && rc == 0; i++, at = from) {
		rc = cu_tail_find_start(fd, at - 1, &from);
		if (rc == 0)
			rc = read_sequence(fd, from, at - 1, max_line, parser, sequence);
	}
	return rc;
}
