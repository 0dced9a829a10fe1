/* SPDX-License-Identifier: MIT */
/*
 * line_full.c - any line at all, through cJSON.
 *
 * cJSON is lenient (numbers like 01, raw control characters, bytes that are not UTF-8), recurses, and
 * keeps numbers as doubles and text without its length. So the line is scanned first: the scan
 * refuses what JSON does not allow inside a token, bounds depth and size before cJSON allocates
 * anything, and notes every name, string and number in the order in which it stands. Walking cJSON's
 * tree in the same order gives each its token back. Structure (commas, colons, brackets) is cJSON's.
 */
#include "changelog/line.h"

#include "base/check.h"
#include "base/error.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A string (name or value) or a number, in document order. */
struct cu_line_token {
	const char *text; /* a number's first character */
	size_t n;         /* a number's characters; a string's bytes once its escapes are undone */
};

struct scan {
	const char *p, *end;
	struct cu_line_token *tokens;
	size_t n_tokens;
	size_t n_values; /* names, values and containers */
	struct catchup_error *error;
};

void cu_line_parser_finish(struct cu_line_parser *parser)
{
	cJSON_Delete(parser->tree);
	free(parser->tokens);
	free(parser->keys);
	memset(parser, 0, sizeof(*parser));
}

#define BAD(error, ...) cu_error_set((error), CATCHUP_IO, 0, __VA_ARGS__)

/* ---- scanning ----------------------------------------------------------------------------- */

static int hex4(const char *p, const char *end)
{
	int value = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value * 16 + (c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			value = value * 16 + (c - 'A' + 10);
		else
			return -1;
	}
	return value;
}

/* At the `u` of an escape. Steps behind it; *n grows by the bytes that it stands for. */
static int scan_unicode(struct scan *s, size_t *n)
{
	int unit = hex4(s->p + 1, s->end);

	if (unit < 0)
		return BAD(s->error, "an escape \\u is not followed by four hexadecimal digits");
	s->p += 5;
	if (unit >= 0xd800 && unit <= 0xdfff) {
		int low = -1;

		if (unit <= 0xdbff && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u')
			low = hex4(s->p + 2, s->end);
		if (low < 0xdc00 || low > 0xdfff)
			return BAD(s->error, "the surrogate \\u%04x stands alone", (unsigned)unit);
		s->p += 6;
		*n += 4;
	} else {
		*n += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
	}
	return CATCHUP_OK;
}

static int scan_string(struct scan *s, size_t *n)
{
	*n = 0;
	s->p++;
	for (;;) {
		unsigned char c;
		size_t length;

		if (s->p == s->end)
			return BAD(s->error, "a string has no end");
		c = (unsigned char)*s->p;
		if (c == '"') {
			s->p++;
			return CATCHUP_OK;
		}
		if (c == '\\') {
			s->p++;
			if (s->p == s->end)
				return BAD(s->error, "a string has no end");
			if (*s->p == 'u') {
				int rc = scan_unicode(s, n);

				if (rc != CATCHUP_OK)
					return rc;
				continue;
			}
			if (*s->p == '\0' || !strchr("\"\\/bfnrt", *s->p))
				return BAD(s->error, "an escape \\ is followed by byte 0x%02x",
					(unsigned char)*s->p);
			s->p++;
			*n += 1;
			continue;
		}
		if (c < 0x20)
			return BAD(s->error, "control character 0x%02x in a string", c);
		length = cu_utf8_length((const unsigned char *)s->p, (size_t)(s->end - s->p));
		if (length == 0)
			return BAD(s->error, "byte 0x%02x in a string is not UTF-8", c);
		s->p += length;
		*n += length;
	}
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

static int scan_number(struct scan *s, size_t *n)
{
	const char *start = s->p;
	const char *p = start;
	const char *whole, *more;

	if (*p == '-')
		p++;
	whole = p;
	p = digits(p, s->end);
	if (p == whole || (*whole == '0' && p - whole > 1))
		goto bad;
	if (p < s->end && *p == '.') {
		more = ++p;
		p = digits(p, s->end);
		if (p == more)
			goto bad;
	}
	if (p < s->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < s->end && (*p == '+' || *p == '-'))
			p++;
		more = p;
		p = digits(p, s->end);
		if (p == more)
			goto bad;
	}
	*n = (size_t)(p - start);
	if (*n > CU_LINE_NUMBER_MAX)
		return BAD(s->error, "a number of %zu characters is above the maximum %d", *n,
			CU_LINE_NUMBER_MAX);
	s->p = p;
	return CATCHUP_OK;
bad:
	/* Shown with the character that is wrong, unless that only ends the number. */
	if (p < s->end && *p > ' ' && !strchr(",]}", *p))
		p++;
	return BAD(s->error, "'%.*s' does not begin a JSON number",
		p - start > 24 ? 24 : (int)(p - start), start);
}

static int scan_line(struct scan *s)
{
	int depth = 0;

	while (s->p < s->end) {
		struct cu_line_token token = {.text = s->p};
		unsigned char c = (unsigned char)*s->p;
		int rc;

		if (c == '{' || c == '[' || c == '"' || c == '-' || (c >= '0' && c <= '9') ||
			(c >= 'a' && c <= 'z')) {
			if (++s->n_values > CU_LINE_TOKENS_MAX)
				return BAD(s->error, "more than %d names and values",
					CU_LINE_TOKENS_MAX);
		}
		switch (c) {
		case ' ':
		case '\t':
		case '\r':
		case '\n':
		case ',':
		case ':':
			s->p++;
			continue;
		case '{':
		case '[':
			if (++depth > CU_LINE_DEPTH_MAX)
				return BAD(s->error, "nested deeper than %d", CU_LINE_DEPTH_MAX);
			s->p++;
			continue;
		case '}':
		case ']':
			depth--;
			s->p++;
			continue;
		case '"':
			rc = scan_string(s, &token.n);
			break;
		case '-':
		case '0':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case '8':
		case '9':
			rc = scan_number(s, &token.n);
			break;
		default:
			/* true, false, null, or a word that cJSON refuses. */
			if (c < 'a' || c > 'z')
				return BAD(s->error, "byte 0x%02x is not JSON", c);
			while (s->p < s->end && *s->p >= 'a' && *s->p <= 'z')
				s->p++;
			continue;
		}
		if (rc != CATCHUP_OK)
			return rc;
		s->tokens[s->n_tokens++] = token;
	}
	return CATCHUP_OK;
}

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
	struct scan scan = {.p = text, .end = text + n, .error = error};
	struct walk walk = {.parser = parser, .error = error};
	const char *rest = NULL;
	int rc;

	cJSON_Delete(parser->tree);
	parser->tree = NULL;
	if (!parser->tokens)
		parser->tokens = malloc(CU_LINE_TOKENS_MAX * sizeof(*parser->tokens));
	if (!parser->tokens)
		return cu_error_nomem(error);
	scan.tokens = parser->tokens;
	rc = scan_line(&scan);
	if (rc != CATCHUP_OK)
		return rc;
	parser->tree = cJSON_ParseWithLengthOpts(text, n, &rest, 0);
	if (!parser->tree)
		return BAD(error, "not JSON at byte %zu of the line",
			rest && rest >= text ? (size_t)(rest - text) : 0);
	while (rest < text + n && *rest && strchr(" \t\r\n", *rest))
		rest++;
	if (rest < text + n)
		return BAD(error, "something follows the object at byte %zu of the line",
			(size_t)(rest - text));
	walk.token = parser->tokens;
	out->n_keys = 0;
	rc = take_event(&walk, parser->tree, out);
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(walk.token == parser->tokens + scan.n_tokens);
	out->keys = parser->keys;
	return CATCHUP_OK;
}
