/* SPDX-License-Identifier: MIT */
#include "cli/json_out.h"

#include <inttypes.h>
#include <string.h>

void cli_json_quote(struct cli_text *to, const char *bytes, size_t n)
{
	cli_text_puts(to, "\"");
	while (n > 0) {
		uint32_t cp = 0;
		size_t take = cli_utf8_decode(bytes, n, &cp);

		if (take == 0) {
			cli_text_puts(to, "\\ufffd");
			take = 1;
		} else if (cp == '"' || cp == '\\') {
			cli_text_printf(to, "\\%c", (int)cp);
		} else if (cp == '\n') {
			cli_text_puts(to, "\\n");
		} else if (cp == '\t') {
			cli_text_puts(to, "\\t");
		} else if (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f)) {
			/* DEL and C1 are legal as they are, but would act on a terminal. */
			cli_text_printf(to, "\\u%04x", (unsigned)cp);
		} else {
			cli_text_add(to, bytes, take);
		}
		bytes += take;
		n -= take;
	}
	cli_text_puts(to, "\"");
}

static void new_line(struct cli_json *json)
{
	if (!json->indent)
		return;
	cli_text_puts(json->to, "\n");
	cli_text_repeat(json->to, ' ', 2 * (size_t)json->depth);
}

/* Comma, line and key before a value. */
static void before(struct cli_json *json, const char *key)
{
	if (json->depth > 0) {
		if (json->filled[json->depth - 1])
			cli_text_puts(json->to, ",");
		json->filled[json->depth - 1] = true;
		new_line(json);
	}
	if (key) {
		cli_json_quote(json->to, key, strlen(key));
		cli_text_puts(json->to, json->indent ? ": " : ":");
	}
}

static void begin(struct cli_json *json, const char *key, const char *bracket)
{
	before(json, key);
	cli_text_puts(json->to, bracket);
	if (json->depth == CLI_JSON_DEPTH_MAX) {
		json->to->failed = true;
		return;
	}
	json->filled[json->depth++] = false;
}

static void end(struct cli_json *json, const char *bracket)
{
	if (json->depth == 0) {
		json->to->failed = true;
		return;
	}
	json->depth--;
	if (json->filled[json->depth])
		new_line(json);
	cli_text_puts(json->to, bracket);
}

void cli_json_object(struct cli_json *json, const char *key)
{
	begin(json, key, "{");
}

void cli_json_end_object(struct cli_json *json)
{
	end(json, "}");
}

void cli_json_array(struct cli_json *json, const char *key)
{
	begin(json, key, "[");
}

void cli_json_end_array(struct cli_json *json)
{
	end(json, "]");
}

void cli_json_bytes(struct cli_json *json, const char *key, const char *bytes, size_t n)
{
	before(json, key);
	cli_json_quote(json->to, bytes, n);
}

void cli_json_text(struct cli_json *json, const char *key, const char *string)
{
	cli_json_bytes(json, key, string, strlen(string));
}

void cli_json_int64(struct cli_json *json, const char *key, int64_t number)
{
	before(json, key);
	cli_text_printf(json->to, "\"%" PRId64 "\"", number);
}

void cli_json_small(struct cli_json *json, const char *key, int number)
{
	before(json, key);
	cli_text_printf(json->to, "%d", number);
}

void cli_json_bool(struct cli_json *json, const char *key, bool value)
{
	before(json, key);
	cli_text_puts(json->to, value ? "true" : "false");
}

void cli_json_null(struct cli_json *json, const char *key)
{
	before(json, key);
	cli_text_puts(json->to, "null");
}

void cli_json_text_or_null(struct cli_json *json, const char *key, const char *string)
{
	if (*string)
		cli_json_text(json, key, string);
	else
		cli_json_null(json, key);
}

void cli_json_int64_or_null(struct cli_json *json, const char *key, int64_t number)
{
	if (number >= 0)
		cli_json_int64(json, key, number);
	else
		cli_json_null(json, key);
}
