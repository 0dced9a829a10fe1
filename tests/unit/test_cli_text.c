/* SPDX-License-Identifier: MIT */
/*
 * What the program shows: foreign bytes made safe, figures for people, JSON that is always valid.
 */
#include "cli/json_out.h"
#include "cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void assert_shown(const char *bytes, size_t n, size_t max, const char *shown, size_t columns)
{
	struct cli_text text = {0};

	assert_int_equal(cli_text_show(&text, bytes, n, max), columns);
	assert_string_equal(cli_text_string(&text), shown);
	cli_text_free(&text);
}

static void shows_foreign_bytes_on_one_safe_line(void **state)
{
	(void)state;
	assert_shown("plain", 5, 80, "plain", 5);
	assert_shown("a\nb\tc\x1b[31m", 10, 80, "a\\nb\\tc\\x1b[31m", 15);
	assert_shown("a\0b", 3, 80, "a\\x00b", 6);
	assert_shown("caf\xc3\xa9", 5, 80, "caf\xc3\xa9", 4);
	assert_shown("\xff\xc3", 2, 80, "\\xff\\xc3", 8);
	/* An overlong slash, a surrogate, a code point past the last. */
	assert_shown("\xc0\xaf", 2, 80, "\\xc0\\xaf", 8);
	assert_shown("\xed\xa0\x80", 3, 80, "\\xed\\xa0\\x80", 12);
	assert_shown("\xf4\x90\x80\x80", 4, 80, "\\xf4\\x90\\x80\\x80", 16);
	/* C1 control, right-to-left override. */
	assert_shown("\xc2\x9b", 2, 80, "\\u{009b}", 8);
	assert_shown("\xe2\x80\xae", 3, 80, "\\u{202e}", 8);
	/* Two columns, and none. */
	assert_shown("\xe6\x97\xa5", 3, 80, "\xe6\x97\xa5", 2);
	assert_shown("e\xcc\x81", 3, 80, "e\xcc\x81", 1);
}

static void cuts_what_is_too_wide_between_characters(void **state)
{
	(void)state;
	assert_shown("0123456789", 10, 10, "0123456789", 10);
	assert_shown("0123456789a", 11, 10, "0123456...", 10);
	assert_shown("\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5", 9, 5, "\xe6\x97\xa5...", 5);
	assert_shown("\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5", 9, 4, "...", 3);
	assert_shown("\x01\x01\x01", 3, 9, "\\x01...", 7);
	assert_shown("abc", 3, 2, "..", 2);
	assert_shown("abc", 3, 0, "", 0);
}

static void assert_made(struct cli_text *text, const char *expected)
{
	assert_false(text->failed);
	assert_string_equal(cli_text_string(text), expected);
	cli_text_clear(text);
}

static void writes_figures_for_people(void **state)
{
	struct cli_text text = {0};

	(void)state;
	cli_text_grouped(&text, 0);
	assert_made(&text, "0");
	cli_text_grouped(&text, 999);
	assert_made(&text, "999");
	cli_text_grouped(&text, -1234567);
	assert_made(&text, "-1,234,567");
	cli_text_grouped(&text, INT64_MIN);
	assert_made(&text, "-9,223,372,036,854,775,808");
	cli_text_duration(&text, 449);
	assert_made(&text, "0.4 s");
	cli_text_duration(&text, 9949);
	assert_made(&text, "9.9 s");
	cli_text_duration(&text, 9950);
	assert_made(&text, "9 s");
	cli_text_duration(&text, 187000);
	assert_made(&text, "3:07");
	cli_text_duration(&text, 7389000);
	assert_made(&text, "2:03:09");
	cli_text_time(&text, INT64_C(1795226400123));
	assert_made(&text, "2026-11-21T02:00:00.123Z");
	cli_text_time(&text, -1);
	assert_made(&text, "1969-12-31T23:59:59.999Z");
	cli_text_time(&text, INT64_MAX);
	assert_false(text.failed);
	cli_text_free(&text);
}

static void writes_json(void **state)
{
	struct cli_text text = {0};
	struct cli_json json = {.to = &text};

	(void)state;
	cli_json_object(&json, NULL);
	cli_json_text(&json, "name", "a\"b\\c\n\x01");
	cli_json_int64(&json, "id", INT64_MAX);
	cli_json_array(&json, "list");
	cli_json_small(&json, NULL, 7);
	cli_json_null(&json, NULL);
	cli_json_bool(&json, NULL, true);
	cli_json_object(&json, NULL);
	cli_json_end_object(&json);
	cli_json_end_array(&json);
	cli_json_end_object(&json);
	assert_made(&text, "{\"name\":\"a\\\"b\\\\c\\n\\u0001\",\"id\":\"9223372036854775807\","
			   "\"list\":[7,null,true,{}]}");

	json = (struct cli_json){.to = &text, .indent = true};
	cli_json_object(&json, NULL);
	cli_json_array(&json, "empty");
	cli_json_end_array(&json);
	cli_json_array(&json, "one");
	cli_json_text(&json, NULL, "x");
	cli_json_end_array(&json);
	cli_json_end_object(&json);
	assert_made(&text, "{\n  \"empty\": [],\n  \"one\": [\n    \"x\"\n  ]\n}");
	cli_text_free(&text);
}

static void json_stays_valid_whatever_the_bytes(void **state)
{
	struct cli_text text = {0};

	(void)state;
	cli_json_quote(&text, "a\xff\xed\xa0\x80z\0\x7f\xc3\xa9", 10);
	assert_made(&text, "\"a\\ufffd\\ufffd\\ufffd\\ufffdz\\u0000\\u007f\xc3\xa9\"");
	cli_text_free(&text);
}

static void json_nested_too_deep_is_a_failure(void **state)
{
	struct cli_text text = {0};
	struct cli_json json = {.to = &text};

	(void)state;
	for (int i = 0; i < CLI_JSON_DEPTH_MAX; i++)
		cli_json_array(&json, NULL);
	assert_false(text.failed);
	cli_json_array(&json, NULL);
	assert_true(text.failed);
	cli_text_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_foreign_bytes_on_one_safe_line),
		cmocka_unit_test(cuts_what_is_too_wide_between_characters),
		cmocka_unit_test(writes_figures_for_people),
		cmocka_unit_test(writes_json),
		cmocka_unit_test(json_stays_valid_whatever_the_bytes),
		cmocka_unit_test(json_nested_too_deep_is_a_failure),
	};

	return cmocka_run_group_tests_name("cli_text", tests, NULL, NULL);
}
