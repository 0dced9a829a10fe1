/* SPDX-License-Identifier: MIT */
/*
 * fuzz_changelog_line.c - any bytes as a changelog line: the usual shape's own way and the way through
 * cJSON agree, what is refused is refused with words, and an event that is written as a line again is
 * read as the same event.
 */
#include "base/check.h"
#include "changelog/line.h"

#include <catchup/changelog.h>

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static bool same_span(const struct cu_span *a, const struct cu_span *b)
{
	return a->n == b->n && memcmp(a->bytes, b->bytes, a->n) == 0;
}

static void check_same(const struct cu_line *a, const struct cu_line *b)
{
	CU_CHECK(a->sequence == b->sequence && a->n_keys == b->n_keys);
	CU_CHECK(same_span(&a->family, &b->family) && same_span(&a->table, &b->table));
	for (size_t i = 0; i < a->n_keys; i++) {
		const struct cu_line_key *x = &a->keys[i], *y = &b->keys[i];

		CU_CHECK(same_span(&x->name, &y->name) && same_span(&x->type, &y->type));
		CU_CHECK(x->kind == y->kind);
		if (x->kind == CATCHUP_KEY_INT || x->kind == CATCHUP_KEY_BOOL)
			CU_CHECK(x->integer == y->integer);
		if (x->kind == CATCHUP_KEY_DOUBLE)
			CU_CHECK(memcmp(&x->real, &y->real, sizeof(x->real)) == 0);
		if (x->kind == CATCHUP_KEY_TEXT)
			CU_CHECK(same_span(&x->text, &y->text));
	}
}

static void check_written(const struct cu_line *line)
{
	struct catchup_event *event = cu_line_event(line, malloc(cu_line_event_bytes(line)));
	size_t n = catchup_event_format(event, NULL, 0);
	char *text = malloc(n + 1);
	struct cu_line_parser parser = {0};
	struct cu_line again;

	CU_CHECK(catchup_event_format(event, text, n + 1) == n && strlen(text) == n);
	CU_CHECK(cu_line_parse_full(&parser, text, n, &again, NULL) == CATCHUP_OK);
	check_same(line, &again);
	cu_line_parser_finish(&parser);
	free(text);
	free(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct cu_line_parser one = {0}, other = {0};
	struct cu_line fast, full;
	struct catchup_error error = {0};
	/* In memory of its own, so that a read past its end is seen. */
	char *text = malloc(bytes ? bytes : 1);
	bool taken;
	int rc;

	memcpy(text, data, bytes);
	taken = cu_line_parse_fast(&one, text, bytes, &fast);
	rc = cu_line_parse_full(&other, text, bytes, &full, &error);
	CU_CHECK(rc == CATCHUP_OK || rc == CATCHUP_IO);
	CU_CHECK(!taken || rc == CATCHUP_OK);
	if (taken)
		check_same(&fast, &full);
	if (rc == CATCHUP_OK)
		check_written(&full);
	else
		CU_CHECK(error.code == rc && error.message[0] && !strchr(error.message, '\n'));
	cu_line_parser_finish(&one);
	cu_line_parser_finish(&other);
	free(text);
	return 0;
}
