/* SPDX-License-Identifier: MIT */
/*
 * json_out.h - writes one JSON document into a text.
 *
 * 64-bit integers become strings: a number in most JSON readers is a double and would lose digits.
 * Bytes that are not UTF-8 become U+FFFD, one for each byte, because JSON has no way to carry them; so
 * what comes out is always valid JSON and valid UTF-8.
 *
 * A value inside an object takes its key, one inside an array (or the document itself) takes NULL.
 */
#ifndef CLI_JSON_OUT_H
#define CLI_JSON_OUT_H

#include "cli/text.h"

#define CLI_JSON_DEPTH_MAX 16

struct cli_json {
	struct cli_text *to; /* borrowed */
	bool indent;         /* one value a line; else everything on one */
	unsigned depth;
	bool filled[CLI_JSON_DEPTH_MAX]; /* something stands at this depth already */
};

void cli_json_object(struct cli_json *json, const char *key);
void cli_json_end_object(struct cli_json *json);
void cli_json_array(struct cli_json *json, const char *key);
void cli_json_end_array(struct cli_json *json);

void cli_json_text(struct cli_json *json, const char *key, const char *string);
void cli_json_bytes(struct cli_json *json, const char *key, const char *bytes, size_t n);
void cli_json_int64(struct cli_json *json, const char *key, int64_t number); /* a string */
void cli_json_small(struct cli_json *json, const char *key, int number);     /* a number */
void cli_json_bool(struct cli_json *json, const char *key, bool value);
void cli_json_null(struct cli_json *json, const char *key);
/* null for what is not known: "" and numbers below 0. */
void cli_json_text_or_null(struct cli_json *json, const char *key, const char *string);
void cli_json_int64_or_null(struct cli_json *json, const char *key, int64_t number);

/* Adds a string with its quotes, nothing round it. */
void cli_json_quote(struct cli_text *to, const char *bytes, size_t n);

#endif
