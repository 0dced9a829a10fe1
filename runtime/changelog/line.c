/* SPDX-License-Identifier: MIT */
/*
 * line.c - the usual shape of a line, and what both ways share.
 *
 * The usual shape has its fields in the writer's order, no blanks and no escapes. Whatever deviates
 * in one byte is left to line_full.c, which also finds the words for what is wrong.
 */
#include "changelog/line.h"

#include "base/error.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct cu_line_key *cu_line_add_key(struct cu_line_parser *parser, size_t n_keys)
{
	if (n_keys == parser->keys_capacity) {
		size_t capacity = n_keys ? 2 * n_keys : 8;
		struct cu_line_key *keys = realloc(parser->keys, capacity * sizeof(*keys));

		if (!keys)
			return NULL;
		parser->keys = keys;
		parser->keys_capacity = capacity;
	}
	return &parser->keys[n_keys];
}

/* ---- the usual shape ---------------------------------------------------------------------- */

/* Steps over a literal piece of the shape. The length is constant, so memcmp becomes compares. */
#define SKIP(p, end, literal)                                                                      \
	((size_t)((end) - (p)) >= sizeof(literal) - 1 &&                                           \
		memcmp((p), literal, sizeof(literal) - 1) == 0 && ((p) += sizeof(literal) - 1, 1))

/* A whole number of up to 18 digits, which cannot overflow. */
static const char *fast_digits(const char *p, const char *end, int64_t *out)
{
	const char *start = p;
	uint64_t value = 0; /* the nineteenth digit, which is refused below, may not overflow it */

	while (p < end && p - start < 19 && *p >= '0' && *p <= '9')
		value = value * 10 + (uint64_t)(*p++ - '0');
	if (p == start || p - start > 18 || (*start == '0' && p - start > 1))
		return NULL;
	*out = (int64_t)value;
	return p;
}

static bool utf8_valid(const char *bytes, size_t n)
{
	const unsigned char *p = (const unsigned char *)bytes;

	while (n > 0) {
		size_t length = cu_utf8_length(p, n);

		if (length == 0)
			return false;
		p += length;
		n -= length;
	}
	return true;
}

/* The rest of a string whose opening quote was stepped over, to behind its closing one. */
static const char *fast_string(const char *p, const char *end, struct cu_span *out)
{
	const char *start = p;
	unsigned char seen = 0;

	for (; p < end && *p != '"'; p++) {
		if ((unsigned char)*p < 0x20 || *p == '\\')
			return NULL;
		seen |= (unsigned char)*p;
	}
	if (p == end)
		return NULL;
	out->bytes = start;
	out->n = (size_t)(p - start);
	if (seen >= 0x80 && !utf8_valid(start, out->n))
		return NULL;
	return p + 1;
}

static const char *fast_value(const char *p, const char *end, struct cu_line_key *key)
{
	bool negative = false;

	if (SKIP(p, end, "\"")) {
		key->kind = CATCHUP_KEY_TEXT;
		return fast_string(p, end, &key->text);
	}
	if (SKIP(p, end, "true")) {
		key->kind = CATCHUP_KEY_BOOL;
		key->integer = 1;
		return p;
	}
	if (SKIP(p, end, "false")) {
		key->kind = CATCHUP_KEY_BOOL;
		key->integer = 0;
		return p;
	}
	if (SKIP(p, end, "null")) {
		key->kind = CATCHUP_KEY_NULL;
		return p;
	}
	if (SKIP(p, end, "-"))
		negative = true;
	p = fast_digits(p, end, &key->integer);
	if (!p)
		return NULL;
	key->kind = CATCHUP_KEY_INT;
	if (negative) {
		if (key->integer == 0)
			return NULL; /* minus zero is a double */
		key->integer = -key->integer;
	}
	return p;
}

bool cu_line_parse_fast(
	struct cu_line_parser *parser, const char *text, size_t n, struct cu_line *out)
{
	const char *p = text;
	const char *end = text + n;
	size_t n_keys = 0;

	if (!SKIP(p, end, "{\"seq\":"))
		return false;
	p = fast_digits(p, end, &out->sequence);
	if (!p || !SKIP(p, end, ",\"family\":\""))
		return false;
	p = fast_string(p, end, &out->family);
	if (!p || !SKIP(p, end, ",\"table\":\""))
		return false;
	p = fast_string(p, end, &out->table);
	if (!p || !SKIP(p, end, ",\"key\":["))
		return false;
	do {
		struct cu_line_key *key = cu_line_add_key(parser, n_keys);

		/* Without memory or above the bound, the other way says so. */
		if (!key || n_keys >= CU_LINE_TOKENS_MAX / 8 || !SKIP(p, end, "{\"name\":\""))
			return false;
		p = fast_string(p, end, &key->name);
		if (!p || !SKIP(p, end, ",\"type\":\""))
			return false;
		p = fast_string(p, end, &key->type);
		if (!p || !SKIP(p, end, ",\"value\":"))
			return false;
		p = fast_value(p, end, key);
		if (!p || !SKIP(p, end, "}"))
			return false;
		n_keys++;
	} while (SKIP(p, end, ","));
	if (!SKIP(p, end, "]}") || p != end)
		return false;
	out->keys = parser->keys;
	out->n_keys = n_keys;
	return true;
}

int cu_line_parse(struct cu_line_parser *parser, const char *text, size_t n, struct cu_line *out,
	struct catchup_error *error)
{
	if (n > 0 && text[n - 1] == '\r')
		n--;
	if (cu_line_parse_fast(parser, text, n, out))
		return CATCHUP_OK;
	return cu_line_parse_full(parser, text, n, out, error);
}

/* ---- what is done with a line ------------------------------------------------------------- */

static unsigned char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c - 'A' + 'a') : (unsigned char)c;
}

static bool same_name(const struct cu_span *span, const char *name)
{
	for (size_t i = 0; i < span->n; i++)
		if (name[i] == '\0' || fold(span->bytes[i]) != fold(name[i]))
			return false;
	return name[span->n] == '\0';
}

bool cu_line_matches(const struct cu_line *line, const char *family, const char *table)
{
	return (!table || same_name(&line->table, table)) &&
	       (!family || same_name(&line->family, family));
}

static size_t span_bytes(const struct cu_span *span)
{
	return span->n + 1;
}

size_t cu_line_event_bytes(const struct cu_line *line)
{
	size_t bytes = sizeof(struct catchup_event) + line->n_keys * sizeof(struct catchup_key) +
		       span_bytes(&line->family) + span_bytes(&line->table);

	for (size_t i = 0; i < line->n_keys; i++) {
		const struct cu_line_key *key = &line->keys[i];

		bytes += span_bytes(&key->name) + span_bytes(&key->type);
		if (key->kind == CATCHUP_KEY_TEXT)
			bytes += span_bytes(&key->text);
	}
	return bytes;
}

static const char *put(char **at, const struct cu_span *span)
{
	char *start = *at;

	memcpy(start, span->bytes, span->n);
	start[span->n] = '\0';
	*at = start + span->n + 1;
	return start;
}

struct catchup_event *cu_line_event(const struct cu_line *line, void *memory)
{
	struct catchup_event *event = memory;
	struct catchup_key *keys = (struct catchup_key *)(event + 1);
	char *at = (char *)(keys + line->n_keys);

	_Static_assert(sizeof(struct catchup_event) % alignof(struct catchup_key) == 0,
		"keys follow the event without padding");
	event->sequence = line->sequence;
	event->family = put(&at, &line->family);
	event->table = put(&at, &line->table);
	event->keys = keys;
	event->n_keys = line->n_keys;
	for (size_t i = 0; i < line->n_keys; i++) {
		const struct cu_line_key *from = &line->keys[i];
		bool text = from->kind == CATCHUP_KEY_TEXT;
		bool whole = from->kind == CATCHUP_KEY_INT || from->kind == CATCHUP_KEY_BOOL;

		keys[i] = (struct catchup_key){
			.name = put(&at, &from->name),
			.type = put(&at, &from->type),
			.kind = from->kind,
			.integer = whole ? from->integer : 0,
			.real = from->kind == CATCHUP_KEY_DOUBLE ? from->real : 0,
			.text = text ? put(&at, &from->text) : NULL,
			.text_bytes = text ? from->text.n : 0,
		};
	}
	return event;
}
