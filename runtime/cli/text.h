/* SPDX-License-Identifier: MIT */
/*
 * text.h - text that the program builds before it writes it: a growing buffer, and what makes foreign
 * bytes safe to show.
 *
 * Names, paths and messages come from users and databases. Whatever they hold, what is shown is valid
 * UTF-8 on one line, without anything that moves the cursor, changes colours or reorders the line.
 *
 * A buffer that cannot grow keeps what it has and sets `failed`; callers look once, at the end.
 * One thread at a time.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_text {
	char *data;  /* owned; NUL-terminated once anything was added */
	size_t used; /* bytes without the NUL */
	size_t room;
	bool failed;
};

void cli_text_free(struct cli_text *text);
void cli_text_clear(struct cli_text *text);

void cli_text_add(struct cli_text *text, const char *bytes, size_t n);
void cli_text_puts(struct cli_text *text, const char *string);
void cli_text_printf(struct cli_text *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void cli_text_repeat(struct cli_text *text, char byte, size_t n);

/* The text as a string: "" when nothing was added. */
const char *cli_text_string(const struct cli_text *text);

/*
 * Length in bytes of the UTF-8 sequence at p (RFC 3629: no overlong forms, no surrogates) and its
 * code point; 0 when the bytes are none.
 */
size_t cli_utf8_decode(const char *p, size_t n, uint32_t *code_point);

/*
 * Adds foreign bytes as they may be shown: control characters, bytes that are not UTF-8 and
 * characters that reorder a line become \n, \t, \xNN or \u{NNNN}. What is wider than max_columns is
 * cut and ends in "...". Returns the columns that a terminal needs for it.
 */
size_t cli_text_show(struct cli_text *text, const char *bytes, size_t n, size_t max_columns);

/* The same between single quotes, for messages: cut after 80 columns. */
void cli_text_quote(struct cli_text *text, const char *string);

/* Adds 1234567 as "1,234,567". */
void cli_text_grouped(struct cli_text *text, int64_t number);

/* Adds a length of time for people: "0.4 s", "12 s", "3:07", "2:03:09". */
void cli_text_duration(struct cli_text *text, int64_t ms);

/* Adds Unix time in ms as "2026-11-21T02:00:00.123Z". */
void cli_text_time(struct cli_text *text, int64_t unix_ms);

#endif
