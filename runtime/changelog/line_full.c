/* SPDX-License-Identifier: MIT */
/*
 * line_full.c - any line at all, through cJSON.
 *
 * The line is scanned first (line_scan.h). Walking cJSON's tree in the order of the text gives each
 * name, string and number its token back.
 */
#include "changelog/line_scan.h"

#include "base/check.h"
#include "base/error.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void cu_line_parser_finish(struct cu_line_parser *parser)
{
	cJSON_Delete(parser->tree);
	free(parser->tokens);
	free(parser->keys);
	memset(parser, 0, sizeof(*parser));
}

#define BAD(error, ...) cu_error_set((error), CATCHUP_IO, 0, __VA_ARGS__)

/* ---- walking ------------------------------------------------------------------------------ */

struct walk {
	const struct cu_line_token *token; /* the next one */
	struct cu_line_parser *parser;
	struct catchup_error *error;
};

/* A member's name, with its length: a name may hold NULs. */
static struct cu_span take_name(struct walk *w, const cJSON *member)
{
	return (struct cu_span){member->string, (w->token++)->n};
}

static bool is_named(const struct cu_span *span, const char *name)
{
	return span->n == strlen(name) && memcmp(span->bytes, name, span->n) == 0;
}

/* Steps over the tokens of a value that is not used. Depth is bounded by the scan. */
static void walk_over(struct walk *w, const cJSON *value)
{
	if (cJSON_IsString(value) || cJSON_IsNumber(value)) {
		w->token++;
	} else {
		for (const cJSON *child = value->child; child; child = child->next) {
			if (cJSON_IsObject(value))
				w->token++;
			walk_over(w, child);
		}
	}
}

static const char *kind_name(const cJSON *value)
{
	return cJSON_IsString(value)   ? "text"
	       : cJSON_IsNumber(value) ? "a number"
	       : cJSON_IsBool(value)   ? "true or false"
	       : cJSON_IsNull(value)   ? "null"
	       : cJSON_IsArray(value)  ? "an array"
				       : "an object";
}

/* Reads an integer exactly. Returns false beyond int64. */
static bool to_int64(const struct cu_line_token *token, int64_t *out)
{
	bool negative = token->text[0] == '-';
	int64_t value = 0;

	for (size_t i = negative; i < token->n; i++) {
		int digit = token->text[i] - '0';

		/* Counted downwards, since INT64_MIN has no positive twin. */
		if (value < (INT64_MIN + digit) / 10)
			return false;
		value = value * 10 - digit;
	}
	if (!negative && value == INT64_MIN)
		return false;
	*out = negative ? value : -value;
	return true;
}

static bool is_whole(const struct cu_line_token *token)
{
	/* Minus zero is a double: an integer would lose its sign. */
	return !memchr(token->text, '.', token->n) && !memchr(token->text, 'e', token->n) &&
	       !memchr(token->text, 'E', token->n) &&
	       !(token->n == 2 && memcmp(token->text, "-0", 2) == 0);
}

static int take_sequence(struct walk *w, const cJSON *value, int64_t *out)
{
	const struct cu_line_token *token = w->token;

	if (!cJSON_IsNumber(value))
		return BAD(w->error, "'seq' is %s, not a number", kind_name(value));
	w->token++;
	if (!is_whole(token) || token->text[0] == '-' || !to_int64(token, out))
		return BAD(w->error,
			"'seq' is %.*s, not a whole number from 0 to 9223372036854775807",
			(int)token->n, token->text);
	return CATCHUP_OK;
}

/* Text that the event gives as a C string, so without NULs. */
static int take_text(struct walk *w, const cJSON *value, const char *what, struct cu_span *out)
{
	if (!cJSON_IsString(value))
		return BAD(w->error, "'%s' is %s, not text", what, kind_name(value));
	*out = (struct cu_span){value->valuestring, (w->token++)->n};
	if (memchr(out->bytes, '\0', out->n))
		return BAD(w->error, "'%s' holds a NUL", what);
	return CATCHUP_OK;
}

static int take_value(struct walk *w, const cJSON *value, struct cu_line_key *key)
{
	const struct cu_line_token *token = w->token;

	if (cJSON_IsNull(value)) {
		key->kind = CATCHUP_KEY_NULL;
	} else if (cJSON_IsBool(value)) {
		key->kind = CATCHUP_KEY_BOOL;
		key->integer = cJSON_IsTrue(value);
	} else if (cJSON_IsString(value)) {
		key->kind = CATCHUP_KEY_TEXT;
		key->text = (struct cu_span){value->valuestring, token->n};
		w->token++;
	} else if (cJSON_IsNumber(value)) {
		w->token++;
		if (is_whole(token)) {
			key->kind = CATCHUP_KEY_INT;
			if (!to_int64(token, &key->integer))
				return BAD(w->error, "a key's 'value' %.*s is outside the range of "
						     "64-bit integers",
					(int)token->n, token->text);
		} else {
			key->kind = CATCHUP_KEY_DOUBLE;
			key->real = value->valuedouble;
			if (!isfinite(key->real))
				return BAD(w->error,
					"a key's 'value' %.*s is outside the range of doubles",
					(int)token->n, token->text);
		}
	} else {
		return BAD(w->error, "a key's 'value' is %s", kind_name(value));
	}
	return CATCHUP_OK;
}

/* Notes that a field was seen. Each must come exactly once. */
static int once(struct walk *w, unsigned *seen, unsigned bit, const char *name)
{
	if (*seen & bit)
		return BAD(w->error, "'%s' stands twice", name);
	*seen |= bit;
	return CATCHUP_OK;
}

static int missing(struct walk *w, unsigned seen, const char *const *names, int n,
	const char *where)
{
	for (int i = 0; i < n; i++)
		if (!(seen & (1u << i)))
			return BAD(w->error, "'%s' is missing%s", names[i], where);
	return CATCHUP_OK;
}

static int take_key(struct walk *w, const cJSON *object, struct cu_line_key *key)
{
	static const char *const names[] = {"name", "type", "value"};
	unsigned seen = 0;

	if (!cJSON_IsObject(object))
		return BAD(w->error, "'key' holds %s, not an object", kind_name(object));
	for (const cJSON *member = object->child; member; member = member->next) {
		struct cu_span name = take_name(w, member);
		int field = 0;
		int rc;

		while (field < 3 && !is_named(&name, names[field]))
			field++;
		if (field == 3) {
			walk_over(w, member);
			continue;
		}
		rc = once(w, &seen, 1u << field, names[field]);
		if (rc == CATCHUP_OK)
			rc = field == 0   ? take_text(w, member, "name", &key->name)
			     : field == 1 ? take_text(w, member, "type", &key->type)
					  : take_value(w, member, key);
		if (rc != CATCHUP_OK)
			return rc;
	}
	return missing(w, seen, names, 3, " in a key");
}

static int take_keys(struct walk *w, const cJSON *array, size_t *n_keys)
{
	if (!cJSON_IsArray(array))
		return BAD(w->error, "'key' is %s, not an array", kind_name(array));
	for (const cJSON *object = array->child; object; object = object->next) {
		struct cu_line_key *key = cu_line_add_key(w->parser, *n_keys);
		int rc;

		if (!key)
			return cu_error_nomem(w->error);
		rc = take_key(w, object, key);
		if (rc != CATCHUP_OK)
			return rc;
		*n_keys += 1;
	}
	return CATCHUP_OK;
}

static int take_event(struct walk *w, const cJSON *object, struct cu_line *out)
{
	static const char *const names[] = {"seq", "family", "table", "key"};
	unsigned seen = 0;

	if (!cJSON_IsObject(object))
		return BAD(w->error, "the line is %s, not an object", kind_name(object));
	for (const cJSON *member = object->child; member; member = member->next) {
		struct cu_span name = take_name(w, member);
		int field = 0;
		int rc;

		while (field < 4 && !is_named(&name, names[field]))
			field++;
		if (field == 4) {
			walk_over(w, member);
			continue;
		}
		rc = once(w, &seen, 1u << field, names[field]);
		if (rc == CATCHUP_OK)
			rc = field == 0   ? take_sequence(w, member, &out->sequence)
			     : field == 1 ? take_text(w, member, "family", &out->family)
			     : field == 2 ? take_text(w, member, "table", &out->table)
					  : take_keys(w, member, &out->n_keys);
		if (rc != CATCHUP_OK)
			return rc;
	}
	return missing(w, seen, names, 4, "");
}

int cu_line_parse_full(struct cu_line_parser *parser, const char *text, size_t n,
	struct cu_line *out, struct catchup_error *error)
{
	struct walk walk = {.parser = parser, .error = error};
	size_t n_tokens;
	int rc;

	cJSON_Delete(parser->tree);
	parser->tree = NULL;
	if (!parser->tokens)
		parser->tokens = malloc(CU_LINE_TOKENS_MAX * sizeof(*parser->tokens));
	if (!parser->tokens)
		return cu_error_nomem(error);
	rc = cu_line_scan(text, n, parser->tokens, &n_tokens, error);
	if (rc != CATCHUP_OK)
		return rc;
	/* The scan has found it to be JSON. */
	parser->tree = cJSON_ParseWithLength(text, n);
	if (!parser->tree)
		return cu_error_nomem(error);
	walk.token = parser->tokens;
	out->n_keys = 0;
	rc = take_event(&walk, parser->tree, out);
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(walk.token == parser->tokens + n_tokens);
	out->keys = parser->keys;
	return CATCHUP_OK;
}
