/* SPDX-License-Identifier: MIT */
#include "cli/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUOTE_COLUMNS 80

void cli_text_free(struct cli_text *text)
{
	free(text->data);
	*text = (struct cli_text){0};
}

void cli_text_clear(struct cli_text *text)
{
	text->used = 0;
	text->failed = false;
	if (text->data)
		text->data[0] = '\0';
}

/* Makes room for n more bytes and the NUL. */
static bool reserve(struct cli_text *text, size_t n)
{
	size_t room = text->room ? text->room : 256;
	char *data;

	if (text->failed || n > SIZE_MAX / 4 - text->used) {
		text->failed = true;
		return false;
	}
	while (room < text->used + n + 1)
		room *= 2;
	if (room == text->room)
		return true;
	data = realloc(text->data, room);
	if (!data) {
		text->failed = true;
		return false;
	}
	text->data = data;
	text->room = room;
	return true;
}

void cli_text_add(struct cli_text *text, const char *bytes, size_t n)
{
	if (n == 0 || !reserve(text, n))
		return;
	memcpy(text->data + text->used, bytes, n);
	text->used += n;
	text->data[text->used] = '\0';
}

void cli_text_puts(struct cli_text *text, const char *string)
{
	cli_text_add(text, string, strlen(string));
}

void cli_text_printf(struct cli_text *text, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !reserve(text, (size_t)n)) {
		text->failed = true;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text->data + text->used, (size_t)n + 1, fmt, ap);
	va_end(ap);
	text->used += (size_t)n;
}

void cli_text_repeat(struct cli_text *text, char byte, size_t n)
{
	if (n == 0 || !reserve(text, n))
		return;
	memset(text->data + text->used, byte, n);
	text->used += n;
	text->data[text->used] = '\0';
}

const char *cli_text_string(const struct cli_text *text)
{
	return text->data ? text->data : "";
}

size_t cli_utf8_decode(const char *p, size_t n, uint32_t *code_point)
{
	/* The smallest code point of each length: anything below is an overlong form. */
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first;
	uint32_t cp;
	size_t length;

	if (n == 0)
		return 0;
	first = (unsigned char)p[0];
	if (first < 0x80) {
		*code_point = first;
		return 1;
	}
	if ((first & 0xe0) == 0xc0) {
		length = 2;
		cp = first & 0x1f;
	} else if ((first & 0xf0) == 0xe0) {
		length = 3;
		cp = first & 0x0f;
	} else if ((first & 0xf8) == 0xf0) {
		length = 4;
		cp = first & 0x07;
	} else {
		return 0;
	}
	if (length > n)
		return 0;
	for (size_t i = 1; i < length; i++) {
		unsigned char next = (unsigned char)p[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (next & 0x3f);
	}
	if (cp < smallest[length] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 0;
	*code_point = cp;
	return length;
}

struct span {
	uint32_t first, last;
};

static bool in_spans(const struct span *spans, size_t n, uint32_t cp)
{
	for (size_t i = 0; i < n; i++)
		if (cp >= spans[i].first && cp <= spans[i].last)
			return true;
	return false;
}

#define IN(spans, cp) in_spans((spans), sizeof(spans) / sizeof((spans)[0]), (cp))

/* Controls of C1, marks and overrides of direction, line separators, tags: they change how the rest
 * of the line looks, so they are shown by number. */
static const struct span unsafe[] = {
	{0x80, 0x9f}, {0x061c, 0x061c}, {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x206f},
	{0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
};

/* Combining marks and joiners take no column, East Asian characters and emoji two. Good enough to
 * line up a table; a terminal may differ for the newest characters. */
static const struct span narrow[] = {
	{0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x0610, 0x061a}, {0x064b, 0x065f},
	{0x200b, 0x200d}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f},
	{0xfe20, 0xfe2f}, {0xe0100, 0xe01ef},
};
static const struct span wide[] = {
	{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f},
	{0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

/* Writes how the character at p is shown. Returns its bytes in the input. */
static size_t show_one(const char *p, size_t n, char *piece, size_t piece_bytes, size_t *columns)
{
	uint32_t cp = 0;
	size_t take = cli_utf8_decode(p, n, &cp);

	if (take == 0)
		*columns = (size_t)snprintf(piece, piece_bytes, "\\x%02x", (unsigned char)*p);
	else if (cp == '\n')
		*columns = (size_t)snprintf(piece, piece_bytes, "\\n");
	else if (cp == '\t')
		*columns = (size_t)snprintf(piece, piece_bytes, "\\t");
	else if (cp < 0x20 || cp == 0x7f)
		*columns = (size_t)snprintf(piece, piece_bytes, "\\x%02x", (unsigned)cp);
	else if (IN(unsafe, cp))
		*columns = (size_t)snprintf(piece, piece_bytes, "\\u{%04x}", (unsigned)cp);
	else {
		memcpy(piece, p, take);
		piece[take] = '\0';
		*columns = IN(narrow, cp) ? 0 : IN(wide, cp) ? 2 : 1;
	}
	return take ? take : 1;
}

size_t cli_text_show(struct cli_text *text, const char *bytes, size_t n, size_t max_columns)
{
	const size_t dots = max_columns < 3 ? max_columns : 3;
	size_t columns = 0;
	size_t keep = text->used; /* where the text may be cut so that the dots still fit */
	size_t keep_columns = 0;

	while (n > 0) {
		char piece[16];
		size_t piece_columns;
		size_t take = show_one(bytes, n, piece, sizeof(piece), &piece_columns);

		if (columns + piece_columns > max_columns) {
			if (text->data && !text->failed)
				text->data[text->used = keep] = '\0';
			cli_text_repeat(text, '.', dots);
			return keep_columns + dots;
		}
		cli_text_puts(text, piece);
		columns += piece_columns;
		if (columns + dots <= max_columns) {
			keep = text->used;
			keep_columns = columns;
		}
		bytes += take;
		n -= take;
	}
	return columns;
}

void cli_text_quote(struct cli_text *text, const char *string)
{
	cli_text_puts(text, "'");
	cli_text_show(text, string, strlen(string), QUOTE_COLUMNS);
	cli_text_puts(text, "'");
}

void cli_text_grouped(struct cli_text *text, int64_t number)
{
	char digits[24];
	int n;

	/* The magnitude of INT64_MIN does not fit int64_t, that of its negation in uint64_t does. */
	uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	if (number < 0)
		cli_text_puts(text, "-");
	n = snprintf(digits, sizeof(digits), "%" PRIu64, magnitude);
	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			cli_text_puts(text, ",");
		cli_text_add(text, &digits[i], 1);
	}
}

void cli_text_duration(struct cli_text *text, int64_t ms)
{
	int64_t s = ms / 1000;

	if (ms < 0)
		ms = 0;
	if (ms < 9950)
		cli_text_printf(text, "%" PRId64 ".%" PRId64 " s", (ms + 50) / 1000, (ms + 50) / 100 % 10);
	else if (s < 60)
		cli_text_printf(text, "%" PRId64 " s", s);
	else if (s < 3600)
		cli_text_printf(text, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
	else
		cli_text_printf(text, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60,
			s % 60);
}

void cli_text_time(struct cli_text *text, int64_t unix_ms)
{
	int64_t ms = unix_ms % 1000;
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (ms < 0) {
		ms += 1000;
		seconds--;
	}
	if (!gmtime_r(&seconds, &tm)) {
		cli_text_printf(text, "%" PRId64 " ms", unix_ms);
		return;
	}
	cli_text_printf(text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
		tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
}
