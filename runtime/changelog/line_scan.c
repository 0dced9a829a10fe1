/* SPDX-License-Identifier: MIT */
#include "changelog/line_scan.h"

#include "base/error.h"

#include <string.h>

/* What may come next. */
enum next {
	VALUE,
	VALUE_OR_END, /* after [ */
	NAME,
	NAME_OR_END,  /* after { */
	COLON,
	COMMA_OR_END, /* after a value */
	NOTHING,      /* after the whole */
};

struct scan {
	const char *start, *p, *end;
	enum next next;
	int depth;
	uint64_t objects; /* a bit for each depth: an object, otherwise an array */
	size_t n_values;  /* names, values and containers */
	struct catchup_error *error;
};

_Static_assert(CU_LINE_DEPTH_MAX <= 64, "each depth has its bit");

#define BAD(error, ...) cu_error_set((error), CATCHUP_IO, 0, __VA_ARGS__)

/* ---- strings and numbers ------------------------------------------------------------------ */

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

/* ---- what stands where -------------------------------------------------------------------- */

static int not_json(const struct scan *s)
{
	size_t at = (size_t)(s->p - s->start);

	if (s->next == NOTHING)
		return BAD(s->error, "something follows the object at byte %zu of the line", at);
	return BAD(s->error, "not JSON at byte %zu of the line", at);
}

static bool in_object(const struct scan *s)
{
	return s->depth > 0 && (s->objects >> (s->depth - 1) & 1);
}

static void end_value(struct scan *s)
{
	s->next = s->depth == 0 ? NOTHING : COMMA_OR_END;
}

/* At a name, a value or a container. */
static int begin_value(struct scan *s)
{
	bool name = s->next == NAME || s->next == NAME_OR_END;

	if (!(name ? *s->p == '"' : s->next == VALUE || s->next == VALUE_OR_END))
		return not_json(s);
	if (++s->n_values > CU_LINE_TOKENS_MAX)
		return BAD(s->error, "more than %d names and values", CU_LINE_TOKENS_MAX);
	if (name)
		s->next = COLON;
	else
		end_value(s);
	return CATCHUP_OK;
}

static int open_container(struct scan *s)
{
	uint64_t bit;

	if (s->depth == CU_LINE_DEPTH_MAX)
		return BAD(s->error, "nested deeper than %d", CU_LINE_DEPTH_MAX);
	bit = UINT64_C(1) << s->depth++;
	s->objects = *s->p == '{' ? s->objects | bit : s->objects & ~bit;
	s->next = *s->p == '{' ? NAME_OR_END : VALUE_OR_END;
	s->p++;
	return CATCHUP_OK;
}

static int close_container(struct scan *s)
{
	bool object = *s->p == '}';

	if (s->depth == 0 || in_object(s) != object ||
		!(s->next == COMMA_OR_END || s->next == (object ? NAME_OR_END : VALUE_OR_END)))
		return not_json(s);
	s->depth--;
	end_value(s);
	s->p++;
	return CATCHUP_OK;
}

static int scan_mark(struct scan *s)
{
	if (s->next != (*s->p == ',' ? COMMA_OR_END : COLON))
		return not_json(s);
	s->next = *s->p == ',' && in_object(s) ? NAME : VALUE;
	s->p++;
	return CATCHUP_OK;
}

static int scan_word(struct scan *s)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
			s->p += n;
			return CATCHUP_OK;
		}
	}
	return BAD(s->error, "not JSON at byte %zu of the line", (size_t)(s->p - s->start));
}

static int scan_some(struct scan *s, struct cu_line_token *tokens, size_t *n_tokens)
{
	struct cu_line_token token = {.text = s->p};
	unsigned char c = (unsigned char)*s->p;
	bool text = c == '"', number = c == '-' || (c >= '0' && c <= '9');
	bool word = c >= 'a' && c <= 'z', opens = c == '{' || c == '[';
	int rc = CATCHUP_OK;

	if (text || number || word || opens)
		rc = begin_value(s);
	if (rc == CATCHUP_OK)
		rc = text                   ? scan_string(s, &token.n)
		     : number               ? scan_number(s, &token.n)
		     : word                 ? scan_word(s)
		     : opens                ? open_container(s)
		     : c == '}' || c == ']' ? close_container(s)
		     : c == ',' || c == ':' ? scan_mark(s)
					    : BAD(s->error, "byte 0x%02x is not JSON", c);
	if (rc == CATCHUP_OK && (text || number))
		tokens[(*n_tokens)++] = token;
	return rc;
}

int cu_line_scan(const char *text, size_t n, struct cu_line_token *tokens, size_t *n_tokens,
	struct catchup_error *error)
{
	struct scan s = {.start = text, .p = text, .end = text + n, .error = error};

	*n_tokens = 0;
	while (s.p < s.end) {
		int rc;

		if (*s.p == ' ' || *s.p == '\t' || *s.p == '\r' || *s.p == '\n') {
			s.p++;
			continue;
		}
		rc = scan_some(&s, tokens, n_tokens);
		if (rc != CATCHUP_OK)
			return rc;
	}
	return s.next == NOTHING ? CATCHUP_OK : not_json(&s);
}
