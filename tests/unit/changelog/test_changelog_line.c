/* SPDX-License-Identifier: MIT */
/*
 * One changelog line: what is an event, what is not and with which words, and that both ways through
 * the parser agree.
 */
#include "changelog/line.h"

#include <catchup/changelog.h>

#include <cjson/cJSON.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../skip.h"

#define KEY "{\"name\":\"id\",\"type\":\"int\",\"value\":"
#define LINE(value) "{\"seq\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":[" KEY value "}]}"
#define SEQ(seq) "{\"seq\":" seq ",\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}"

struct parsed {
	int rc;
	bool fast;
	struct catchup_event *event; /* owned, NULL for a bad line */
	char line[2048];             /* the event formatted, or the message */
};

/* Parses both ways and checks that they agree. */
static struct parsed parse(const char *text, size_t n)
{
	struct cu_line_parser one = {0}, other = {0};
	struct cu_line line = {0}, again;
	struct catchup_error error = {0};
	struct parsed result = {0};

	result.fast = cu_line_parse_fast(&one, text, n, &again);
	result.rc = cu_line_parse(&other, text, n, &line, &error);
	snprintf(result.line, sizeof(result.line), "%s", error.message);
	if (result.rc == CATCHUP_OK) {
		result.event = cu_line_event(&line, malloc(cu_line_event_bytes(&line)));
		assert_true(catchup_event_format(result.event, result.line, sizeof(result.line)) > 0);
	}
	if (result.fast) {
		char full[2048];

		assert_int_equal(result.rc, CATCHUP_OK);
		free(result.event);
		assert_int_equal(cu_line_parse_full(&other, text, n, &line, &error), CATCHUP_OK);
		result.event = cu_line_event(&line, malloc(cu_line_event_bytes(&line)));
		catchup_event_format(result.event, full, sizeof(full));
		assert_string_equal(full, result.line);
	}
	cu_line_parser_finish(&one);
	cu_line_parser_finish(&other);
	return result;
}

static void expect_same(const char *text, bool fast)
{
	struct parsed p = parse(text, strlen(text));

	assert_string_equal(p.line, text);
	assert_int_equal(p.rc, CATCHUP_OK);
	assert_int_equal(p.fast, fast);
	free(p.event);
}

static void expect(const char *text, const char *line)
{
	struct parsed p = parse(text, strlen(text));

	assert_string_equal(p.line, line);
	assert_int_equal(p.rc, CATCHUP_OK);
	free(p.event);
}

static void expect_bad(const char *text, const char *message)
{
	struct parsed p = parse(text, strlen(text));

	assert_string_equal(p.line, message);
	assert_int_equal(p.rc, CATCHUP_IO);
}

static void the_usual_shape_is_read_straight(void **state)
{
	(void)state;
	expect_same(LINE("1"), true);
	expect_same(LINE("-7"), true);
	expect_same(LINE("\"text\""), true);
	expect_same(LINE("\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80\""), true);
	expect_same(LINE("true"), true);
	expect_same(LINE("false"), true);
	expect_same(LINE("null"), true);
	expect_same(SEQ("0"), false);
	expect_same("{\"seq\":3,\"family\":\"\",\"table\":\"\",\"key\":["
		    "{\"name\":\"\",\"type\":\"\",\"value\":\"\"},"
		    "{\"name\":\"b\",\"type\":\"varchar(32)\",\"value\":999999999999999999}]}",
		true);
	expect(LINE("1") "\r", LINE("1"));
}

static void integers_are_exact_to_the_last(void **state)
{
	(void)state;
	expect_same(LINE("9007199254740993"), true);
	expect_same(LINE("9223372036854775807"), false);
	expect_same(LINE("-9223372036854775808"), false);
	expect_same(SEQ("9223372036854775807"), false);
	expect_bad(LINE("9223372036854775808"),
		"a key's 'value' 9223372036854775808 is outside the range of 64-bit integers");
	expect_bad(LINE("-9223372036854775809"),
		"a key's 'value' -9223372036854775809 is outside the range of 64-bit integers");
}

static void doubles_are_kept(void **state)
{
	struct parsed p = parse(LINE("-0"), strlen(LINE("-0")));

	(void)state;
	assert_int_equal(p.event->keys[0].kind, CATCHUP_KEY_DOUBLE);
	assert_string_equal(p.line, LINE("-0.0"));
	free(p.event);
	expect_same(LINE("1.0"), false);
	expect_same(LINE("0.1"), false);
	expect_same(LINE("1.7976931348623157e+308"), false);
	expect(LINE("1e3"), LINE("1000.0"));
	expect(LINE("5e-324"), LINE("4.94065645841247e-324"));
	expect_bad(LINE("1e400"), "a key's 'value' 1e400 is outside the range of doubles");
}

static void doubles_do_not_follow_the_locale(void **state)
{
	(void)state;
	if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
		SKIP_BECAUSE("no locale with a decimal comma is installed");
	expect_same(LINE("1.5"), false);
	setlocale(LC_NUMERIC, "C");
}

/* "sequence missing, null, text, 1.0, 1e3, -1, 01, 2^63, 10^400" */
static void a_sequence_is_a_whole_number_that_is_not_negative(void **state)
{
	static const char *const bad[] = {"1.0", "1e3", "-1", "-0", "9223372036854775808"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256], message[256];

		snprintf(text, sizeof(text), SEQ("%s"), bad[i]);
		snprintf(message, sizeof(message),
			"'seq' is %s, not a whole number from 0 to 9223372036854775807", bad[i]);
		expect_bad(text, message);
	}
	expect_bad(SEQ("01"), "'01' does not begin a JSON number");
	expect_bad(SEQ("+1"), "byte 0x2b is not JSON");
	expect_bad(SEQ("\"1\""), "'seq' is text, not a number");
	expect_bad(SEQ("null"), "'seq' is null, not a number");
	expect_bad(SEQ("true"), "'seq' is true or false, not a number");
	expect_bad(SEQ("[1]"), "'seq' is an array, not a number");
	expect_bad(SEQ("1000000000000000000000000000000000000000000000000000000000000000000000000"),
		"a number of 73 characters is above the maximum 63");
}

/* "a key twice, escaped key names, fields missing or of another type, unknown fields (ignored)" */
static void fields_come_in_any_order_once_and_all(void **state)
{
	(void)state;
	expect(" { \"key\" : [ {\"value\":1, \"x\":{\"a\":[1,\"b\"]}, \"type\":\"int\", "
	       "\"name\":\"id\"} ] , \"table\":\"foo\", \"more\":[[{\"n\":2}],\"t\",3,null],"
	       "\"family\":\"fam\",\"seq\":1 } ",
		LINE("1"));
	expect("{\"\\u0073eq\":1,\"fam\\u0069ly\":\"fam\",\"table\":\"foo\",\"key\":[]}", SEQ("1"));
	expect_bad("{\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}", "'seq' is missing");
	expect_bad("{\"seq\":1,\"table\":\"foo\",\"key\":[]}", "'family' is missing");
	expect_bad("{\"seq\":1,\"family\":\"fam\",\"key\":[]}", "'table' is missing");
	expect_bad("{\"seq\":1,\"family\":\"fam\",\"table\":\"foo\"}", "'key' is missing");
	expect_bad("{\"SEQ\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}",
		"'seq' is missing");
	expect_bad("{\"seq\\u0000\":1,\"family\":\"f\",\"table\":\"t\",\"key\":[]}",
		"'seq' is missing");
	expect_bad("{\"seq\":1,\"seq\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}",
		"'seq' stands twice");
	expect_bad("{\"seq\":1,\"s\\u0065q\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}",
		"'seq' stands twice");
	expect_bad("{\"seq\":1,\"family\":7,\"table\":\"foo\",\"key\":[]}",
		"'family' is a number, not text");
	expect_bad("{\"seq\":1,\"family\":\"a\\u0000b\",\"table\":\"foo\",\"key\":[]}",
		"'family' holds a NUL");
	expect_bad("{\"seq\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":null}",
		"'key' is null, not an array");
	expect_bad("{\"seq\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":[1]}",
		"'key' holds a number, not an object");
	expect_bad("{\"seq\":1,\"family\":\"f\",\"table\":\"t\",\"key\":"
		   "[{\"name\":\"a\",\"type\":\"b\"}]}",
		"'value' is missing in a key");
	expect_bad(LINE("[]"), "a key's 'value' is an array");
	expect_bad(LINE("{}"), "a key's 'value' is an object");
}

/* "invalid UTF-8, lone surrogates" */
static void text_is_exact(void **state)
{
	struct parsed p = parse(LINE("\"a\\u0000b\""), strlen(LINE("\"a\\u0000b\"")));

	(void)state;
	assert_int_equal(p.event->keys[0].text_bytes, 3);
	assert_memory_equal(p.event->keys[0].text, "a\0b", 4);
	assert_string_equal(p.line, LINE("\"a\\u0000b\""));
	free(p.event);
	expect(LINE("\"<>&\""), LINE("\"\\u003c\\u003e\\u0026\""));
	expect_same(LINE("\"\\u003c\\u2028\\u2029\\\"\\\\\\n\\r\\t\\u0001\""), false);
	expect(LINE("\"\\/\\b\\f\\u00fC\\ud83d\\ude00\""),
		LINE("\"/\\u0008\\u000c\xc3\xbc\xf0\x9f\x98\x80\""));
	expect_bad(LINE("\"\\ud800\""), "the surrogate \\ud800 stands alone");
	expect_bad(LINE("\"\\ud800\\u0041\""), "the surrogate \\ud800 stands alone");
	expect_bad(LINE("\"\\udc00\\ud800\""), "the surrogate \\udc00 stands alone");
	expect_bad(LINE("\"\\u12g4\""), "an escape \\u is not followed by four hexadecimal digits");
	expect_bad(LINE("\"\\x\""), "an escape \\ is followed by byte 0x78");
	expect_bad(LINE("\"\xff\""), "byte 0xff in a string is not UTF-8");
	expect_bad(LINE("\"\xc0\x80\""), "byte 0xc0 in a string is not UTF-8");
	expect_bad(LINE("\"\xed\xa0\x80\""), "byte 0xed in a string is not UTF-8");
	expect_bad(LINE("\"\t\""), "control character 0x09 in a string");
}

/* "broken JSON, trailing bytes, two objects on a line"; "glued lines after a short write" */
static void broken_json_is_a_bad_line(void **state)
{
	static const char *const broken[] = {"", " ", "{", "[", "\"", "{\"seq\":1,", "nul", "{]", "1 2",
		LINE("1") LINE("2"), LINE("1") "x", "[" LINE("1") "]", LINE("1,"), LINE("tru"),
		"{\"seq\":1,\"family\":\"fam\",\"tab" LINE("2"), LINE("NaN"), LINE("0x10"), LINE("1."),
		LINE(".5"), LINE("1e"), LINE("--1"), "\xef\xbb\xbf" LINE("1"), "{\"a\":1,}", "\\",
		"]", "}", "[}", "[1 2]", "[,1]", "[1,]", "[1:2]", ":", ",", "{1:2}", "{\"a\"}", "{\"a\" 1}",
		"{\"a\",1}", "{\"a\":}", "{\"a\"::1}", "{,}", "{\"a\":1 \"b\":2}", "truex", "[tru]", "[[]",
		LINE("{}") "]"};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct parsed p = parse(broken[i], strlen(broken[i]));

		if (p.rc != CATCHUP_IO)
			fail_msg("taken: %s", broken[i]);
		assert_true(strlen(p.line) > 0);
	}
	expect_bad("junk", "not JSON at byte 0 of the line");
	expect_bad("1 nul", "something follows the object at byte 2 of the line");
	for (size_t cut = 0; cut < strlen(LINE("1")); cut++)
		assert_int_equal(parse(LINE("1"), cut).rc, CATCHUP_IO);
}

/* ---- memory ------------------------------------------------------------------------------- */

static long fails_at; /* this allocation of cJSON's fails, counted from 1 */

static void *perhaps_allocate(size_t bytes)
{
	return --fails_at == 0 ? NULL : malloc(bytes);
}

static void want_of_memory_is_no_bad_line(void **state)
{
	/* Not the usual shape, with every kind of value. */
	static const char text[] = "{\"table\":\"foo\", \"seq\":1, \"family\":\"f\\u00e4m\", \"more\":[{},[1.5]],"
		" \"key\":[{\"name\":\"a\",\"type\":\"t\",\"value\":\"x\\ny\"},"
		"{\"name\":\"b\",\"type\":\"t\",\"value\":null}]}";
	cJSON_Hooks hooks = {.malloc_fn = perhaps_allocate, .free_fn = free};
	struct cu_line_parser parser = {0};
	struct catchup_error error = {0};
	struct cu_line line;
	long turn = 0;
	int rc;

	(void)state;
	cJSON_InitHooks(&hooks);
	do {
		fails_at = ++turn;
		rc = cu_line_parse(&parser, text, strlen(text), &line, &error);
		assert_int_equal(rc, fails_at <= 0 ? CATCHUP_NOMEM : CATCHUP_OK);
	} while (rc != CATCHUP_OK);
	cJSON_InitHooks(NULL);
	assert_in_range(turn, 20, 100);
	assert_int_equal(line.n_keys, 2);
	cu_line_parser_finish(&parser);
}

static void nuls_are_bad_wherever_they_stand(void **state)
{
	char text[] = LINE("\"abc\"");

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char kept = text[i];

		text[i] = '\0';
		assert_int_equal(parse(text, sizeof(text) - 1).rc, CATCHUP_IO);
		text[i] = kept;
	}
}

/* "nesting a million deep" */
static void nesting_and_counts_are_bounded(void **state)
{
	size_t n = 1000000;
	char *bomb = malloc(n);
	struct parsed p;

	(void)state;
	memset(bomb, '[', n);
	p = parse(bomb, n);
	assert_string_equal(p.line, "nested deeper than 64");
	for (size_t i = 0; i < n; i++)
		bomb[i] = i % 2 ? '1' : ',';
	bomb[0] = '[';
	p = parse(bomb, n);
	assert_string_equal(p.line, "more than 32768 names and values");
	free(bomb);
}

static void many_keys_agree_both_ways(void **state)
{
	size_t n = 4200;
	size_t n_key = strlen(KEY "1},");
	char *text = malloc(100 + n * n_key);
	struct cu_line_parser parser = {0};
	struct cu_line line;
	struct catchup_error error;
	char *p;

	(void)state;
	for (size_t keys = 4000; keys <= n; keys += 200) {
		p = text + sprintf(text, "{\"seq\":1,\"family\":\"f\",\"table\":\"t\",\"key\":[");
		for (size_t i = 0; i < keys; i++)
			p += sprintf(p, "%s", KEY "1},");
		p += sprintf(p - 1, "]}") - 1;
		assert_int_equal(cu_line_parse(&parser, text, (size_t)(p - text), &line, &error),
			CATCHUP_OK);
		assert_int_equal(line.n_keys, keys);
	}
	cu_line_parser_finish(&parser);
	free(text);
}

static void a_filter_knows_no_case(void **state)
{
	struct cu_line line = {.family = {"Fam", 3}, .table = {"T[able", 6}};

	(void)state;
	assert_true(cu_line_matches(&line, NULL, NULL));
	assert_true(cu_line_matches(&line, "fAM", "t[ABLE"));
	assert_false(cu_line_matches(&line, "fa", NULL));
	assert_false(cu_line_matches(&line, "famm", NULL));
	assert_false(cu_line_matches(&line, NULL, "T{able"));
}

static int stop_at_once(void *context, const char *piece, size_t bytes)
{
	(void)piece;
	(void)bytes;
	++*(int *)context;
	return 42;
}

static void formatting_cuts_and_stops(void **state)
{
	struct parsed p = parse(LINE("12345"), strlen(LINE("12345")));
	char small[8];
	int calls = 0;

	(void)state;
	assert_int_equal(catchup_event_format(p.event, small, sizeof(small)), strlen(p.line));
	assert_string_equal(small, "{\"seq\":");
	assert_int_equal(catchup_event_format(p.event, NULL, 0), strlen(p.line));
	assert_int_equal(catchup_event_write(p.event, stop_at_once, &calls), 42);
	assert_int_equal(calls, 1);
	free(p.event);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_usual_shape_is_read_straight),
		cmocka_unit_test(integers_are_exact_to_the_last),
		cmocka_unit_test(doubles_are_kept),
		cmocka_unit_test(doubles_do_not_follow_the_locale),
		cmocka_unit_test(a_sequence_is_a_whole_number_that_is_not_negative),
		cmocka_unit_test(fields_come_in_any_order_once_and_all),
		cmocka_unit_test(text_is_exact),
		cmocka_unit_test(broken_json_is_a_bad_line),
		cmocka_unit_test(nuls_are_bad_wherever_they_stand),
		cmocka_unit_test(want_of_memory_is_no_bad_line),
		cmocka_unit_test(nesting_and_counts_are_bounded),
		cmocka_unit_test(many_keys_agree_both_ways),
		cmocka_unit_test(a_filter_knows_no_case),
		cmocka_unit_test(formatting_cuts_and_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
