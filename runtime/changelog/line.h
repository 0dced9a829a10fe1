/* SPDX-License-Identifier: MIT */
/*
 * line.h - one changelog line, from text to event.
 *
 * Two ways through: the usual shape, as every known writer makes it, is read straight from the bytes;
 * everything else goes through cJSON. The first may only decline, never differ: for every input that
 * it takes, both give the same event.
 *
 * A line is one JSON object with `seq` (a whole number, 0 to INT64_MAX), `family`, `table` (text) and
 * `key` (an array of objects with `name`, `type` and `value`), each exactly once, in any order. Other
 * fields are ignored. Integers are exact: cJSON keeps numbers as doubles, so they are taken from the
 * text.
 */
#ifndef CU_CHANGELOG_LINE_H
#define CU_CHANGELOG_LINE_H

#include <catchup/consumer.h>

#include <catchup/catchup.h>

#include <stdbool.h>

/* What bounds the work and memory that a hostile line can ask for. */
#define CU_LINE_DEPTH_MAX 64
#define CU_LINE_TOKENS_MAX 32768 /* names and values; 2,000 key columns need 14,009 */
#define CU_LINE_NUMBER_MAX 63    /* characters; cJSON reads no more */

struct cu_span {
	const char *bytes; /* borrowed; not NUL-terminated */
	size_t n;
};

struct cu_line_key {
	struct cu_span name, type;
	struct cu_span text; /* TEXT */
	int kind;            /* enum catchup_key_kind */
	int64_t integer;     /* BOOL, INT */
	double real;         /* DOUBLE */
};

/* A line that was understood. Spans point into the line or into the parser. */
struct cu_line {
	int64_t sequence;
	struct cu_span family, table;
	const struct cu_line_key *keys;
	size_t n_keys;
};

struct cu_line_token;

/* Memory that is used again from line to line. One thread at a time. Starts zeroed. */
struct cu_line_parser {
	struct cu_line_key *keys; /* owned */
	size_t keys_capacity;
	struct cu_line_token *tokens; /* owned; made at the first unusual line */
	void *tree;                   /* owned: the cJSON tree that spans point into, or NULL */
};

/* Frees what the parser holds; it may be used again after. */
void cu_line_parser_finish(struct cu_line_parser *parser);

/*
 * Understands a line (without its newline; one carriage return at its end is passed over).
 * Returns CATCHUP_OK and *out, valid until the next call or a change of the text; CATCHUP_IO with the
 * reason in *error for a line that is no event; CATCHUP_NOMEM.
 */
int cu_line_parse(struct cu_line_parser *parser, const char *text, size_t n, struct cu_line *out,
	struct catchup_error *error);

/* The two ways by themselves, for tests. fast: false when it is not for this line. */
bool cu_line_parse_fast(
	struct cu_line_parser *parser, const char *text, size_t n, struct cu_line *out);
int cu_line_parse_full(struct cu_line_parser *parser, const char *text, size_t n,
	struct cu_line *out, struct catchup_error *error);

/* Whether a line is of a family and a table (NULL: any), without regard to ASCII case. */
bool cu_line_matches(const struct cu_line *line, const char *family, const char *table);

/* An event as the user gets it, in one piece of memory aligned for any type. */
size_t cu_line_event_bytes(const struct cu_line *line);
struct catchup_event *cu_line_event(const struct cu_line *line, void *memory);

/* Within the two ways: room for one more key; NULL without memory. */
struct cu_line_key *cu_line_add_key(struct cu_line_parser *parser, size_t n_keys);

#endif
