/* SPDX-License-Identifier: MIT */
#include "changelog/tail.h"

#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* The sequence of the line from..to (its newline), behind a hole perhaps; -1 when it has none. */
static int read_sequence(int fd, int64_t from, int64_t to, struct cu_line_parser *parser,
	int64_t *sequence)
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
		while (hole < n && text[hole] == '\0')
			hole++;
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

int cu_tail_find_sequence(int fd, int64_t at, uint32_t max_line, struct cu_line_parser *parser,
	int64_t *sequence)
{
	int64_t from, end;
	int rc = 0;

	*sequence = -1;
	for (int i = 0; i < CU_TAIL_LINES && at > 0 && *sequence < 0 && rc == 0; i++, at = from) {
		end = at - 1;
		rc = cu_tail_find_start(fd, end, &from);
		if (rc == 0)
			rc = read_sequence(fd, end - from > max_line ? end - max_line : from, end, parser,
				sequence);
	}
	return rc;
}
