/* SPDX-License-Identifier: MIT */
/*
 * Command lines: what is taken, what is refused with which words, and the help made of the same
 * tables.
 */
#include "cli/args.h"
#include "cli/help.h"
#include "cli/suggest.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { OPT_WORKERS, OPT_ROWS, OPT_UNTIL, OPT_MODE, OPT_TIMEOUT, OPT_POLICY, OPT_CAUGHT_UP };

static const char *const modes[] = {"off", "normal", "full", NULL};
static const struct cli_option options[] = {
	{"--workers", CLI_NAMED_INT, "N|NAME=N", 1, 256, NULL, "1", "threads", false},
	{"--batch-rows", CLI_INT, "N", 1, 10000000, NULL, "10,000", "most rows", false},
	{"--until", CLI_INT, "ID", 0, INT64_MAX, NULL, NULL, "id", false},
	{"--synchronous", CLI_CHOICE, NULL, 0, 0, modes, "normal", "how safe", false},
	{"--timeout", CLI_SECONDS, "SECONDS", 0, 1000000000, NULL, NULL, "how long", false},
	{"--on-error", CLI_NAMED_TEXT, "NAME=POLICY", 0, 0, NULL, NULL, "policy", false},
	{"--until-caught-up", CLI_FLAG, NULL, 0, 0, NULL, NULL, "stop then", false},
	{0},
};
static const struct cli_word words[] = {
	{"DATABASE", "the file", false, false},
	{"CONSUMER", "what to run", false, true},
	{0},
};
static const struct cli_command command = {.name = "run", .summary = "runs", .words = words,
	.options = options, .examples = "  catchup run a.db b.sql\n"};

struct parsed {
	struct cli_args args;
	struct cli_text message;
	int rc;
};

/* Parses one line; blanks part the words, "~" stands for a blank inside one. */
static struct parsed parse(const char *line)
{
	static char copy[8192];
	static char *argv[64];
	struct parsed p = {0};
	int argc = 0;

	assert_true(strlen(line) < sizeof(copy));
	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		for (char *c = word; *c; c++)
			*c = *c == '~' ? ' ' : *c;
		argv[argc++] = word;
	}
	p.rc = cli_args_parse(&p.args, &command, argc, argv, &p.message);
	return p;
}

static void parsed_free(struct parsed *p)
{
	cli_args_free(&p->args);
	cli_text_free(&p->message);
}

static void assert_refused(const char *line, const char *message)
{
	struct parsed p = parse(line);

	assert_int_equal(p.rc, CLI_EXIT_USAGE);
	assert_string_equal(cli_text_string(&p.message), message);
	parsed_free(&p);
}

static void takes_a_whole_command_line(void **state)
{
	struct parsed p = parse("a.db --workers 4 x.sql --workers orders=2 --workers=a=b=3 "
				"--batch-rows=10000000 --synchronous full --timeout 1.5 "
				"--on-error x=park-key(a,~b) --until-caught-up -- --odd.sql -");

	(void)state;
	assert_string_equal(cli_text_string(&p.message), "");
	assert_int_equal(p.rc, CLI_EXIT_OK);
	assert_int_equal(p.args.n_words, 4);
	assert_string_equal(p.args.words[0], "a.db");
	assert_string_equal(p.args.words[1], "x.sql");
	assert_string_equal(p.args.words[2], "--odd.sql");
	assert_string_equal(p.args.words[3], "-");
	assert_true(p.args.values[OPT_WORKERS].given);
	assert_int_equal(p.args.values[OPT_WORKERS].integer, 4);
	assert_int_equal(p.args.n_named, 3);
	assert_string_equal(p.args.named[0].name, "orders");
	assert_int_equal(p.args.named[0].integer, 2);
	assert_string_equal(p.args.named[1].name, "a=b");
	assert_int_equal(p.args.named[1].integer, 3);
	assert_int_equal(p.args.named[2].option, OPT_POLICY);
	assert_string_equal(p.args.named[2].text, "park-key(a, b)");
	assert_int_equal(p.args.values[OPT_ROWS].integer, 10000000);
	assert_int_equal(p.args.values[OPT_MODE].integer, 2);
	assert_int_equal(p.args.values[OPT_TIMEOUT].integer, 1500);
	assert_true(p.args.values[OPT_CAUGHT_UP].given);
	assert_false(p.args.values[OPT_UNTIL].given);
	parsed_free(&p);
}

static void refuses_numbers_that_are_none(void **state)
{
	static const char *const bad[] = {"", "~8", "8~", "0x10", "+5", "1e9", "1.0", "1,000", "007",
		"-", "-0", "--5", "five", "\xef\xbc\x95"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char line[64];
		struct parsed p;

		snprintf(line, sizeof(line), "a.db x.sql --batch-rows=%s", bad[i]);
		p = parse(line);
		assert_int_equal(p.rc, CLI_EXIT_USAGE);
		assert_non_null(strstr(cli_text_string(&p.message),
			"' is not a whole number (1 to 10,000,000)"));
		parsed_free(&p);
	}
	assert_refused("a.db x.sql --batch-rows ~8",
		"option '--batch-rows': ' 8' is not a whole number (1 to 10,000,000)");
	assert_refused("a.db x.sql --workers=",
		"option '--workers': '' is not a whole number (1 to 256)");
}

static void refuses_numbers_outside_the_range(void **state)
{
	(void)state;
	assert_refused("a x --batch-rows 0", "option '--batch-rows': '0' is outside 1 to 10,000,000");
	assert_refused("a x --batch-rows -1", "option '--batch-rows': '-1' is outside 1 to 10,000,000");
	assert_refused("a x --batch-rows 1000000000",
		"option '--batch-rows': '1000000000' is outside 1 to 10,000,000");
	assert_refused("a x --batch-rows 99999999999",
		"option '--batch-rows': '99999999999' is outside 1 to 10,000,000");
	assert_refused("a x --batch-rows 99999999999999999999999999",
		"option '--batch-rows': '99999999999999999999999999' is outside 1 to 10,000,000");
	assert_refused("a x --workers orders=257", "option '--workers': '257' is outside 1 to 256");
}

static void takes_the_whole_range_of_ids(void **state)
{
	int64_t n = 0;

	(void)state;
	assert_int_equal(cli_args_number("9223372036854775807", &n), 0);
	assert_true(n == INT64_MAX);
	assert_int_equal(cli_args_number("-9223372036854775808", &n), 0);
	assert_true(n == INT64_MIN);
	assert_int_equal(cli_args_number("9223372036854775808", &n), 1);
	assert_int_equal(cli_args_number("-9223372036854775809", &n), 1);
	assert_int_equal(cli_args_number("18446744073709551617", &n), 1);
	assert_int_equal(cli_args_number("0", &n), 0);
	assert_int_equal(n, 0);
}

static void reads_seconds(void **state)
{
	int64_t ms = 0;

	(void)state;
	assert_int_equal(cli_args_seconds("0", &ms), 0);
	assert_int_equal(ms, 0);
	assert_int_equal(cli_args_seconds("0.5", &ms), 0);
	assert_int_equal(ms, 500);
	assert_int_equal(cli_args_seconds("12.3456", &ms), 0);
	assert_int_equal(ms, 12346);
	assert_int_equal(cli_args_seconds("1.0000", &ms), 0);
	assert_int_equal(ms, 1000);
	assert_int_equal(cli_args_seconds("0.0000001", &ms), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(cli_args_seconds("", &ms), -1);
	assert_int_equal(cli_args_seconds(".5", &ms), -1);
	assert_int_equal(cli_args_seconds("5.", &ms), -1);
	assert_int_equal(cli_args_seconds("1.2.3", &ms), -1);
	assert_int_equal(cli_args_seconds("-1", &ms), -1);
	assert_int_equal(cli_args_seconds("1e3", &ms), -1);
	assert_int_equal(cli_args_seconds("nan", &ms), -1);
	assert_int_equal(cli_args_seconds("9223372036854775807", &ms), 1);
	assert_int_equal(cli_args_seconds("99999999999999999999999999999999", &ms), 1);
	assert_int_equal(cli_args_seconds("9999999999999999999999999999999x", &ms), -1);
	assert_refused("a x --timeout 5s",
		"option '--timeout': '5s' is not a number of seconds such as 5 or 0.5 "
		"(0 to 1,000,000,000)");
	assert_refused("a x --timeout 1000000000.1",
		"option '--timeout': '1000000000.1' is outside 0 to 1,000,000,000");
}

static void refuses_with_the_reason(void **state)
{
	(void)state;
	assert_refused("a x --batch-rows", "option '--batch-rows' has no value");
	assert_refused("a x --batch-rows --until-caught-up",
		"option '--batch-rows' has no value; write '--batch-rows=' in front of '--until-caught-up' if that "
		"is it");
	assert_refused("a x --batch-rows 5 --batch-rows 5", "option '--batch-rows' is given twice");
	assert_refused("a x --until-caught-up --until-caught-up",
		"option '--until-caught-up' is given twice");
	assert_refused("a x --until-caught-up=yes", "option '--until-caught-up' takes no value");
	assert_refused("a x --workers 1 --workers 2", "option '--workers' is given twice");
	assert_refused("a x --workers o=1 --workers o=1", "option '--workers' is given twice for 'o'");
	assert_refused("a x --workers =1", "option '--workers': '=1' has no name before the '='");
	assert_refused("a x --on-error o=", "option '--on-error': the value '' is empty");
	assert_refused("a x --synchronous ful",
		"option '--synchronous': 'ful' is none of off, normal, full; did you mean 'full'?");
	assert_refused("", "DATABASE is missing");
	assert_refused("a", "CONSUMER is missing");
}

static void suggests_the_nearest_option(void **state)
{
	(void)state;
	assert_refused("a x --wrokers 4", "unknown option '--wrokers'; did you mean '--workers'?");
	assert_refused("a x --until-caughtup",
		"unknown option '--until-caughtup'; did you mean '--until-caught-up'?");
	assert_refused("a x --batch 5", "unknown option '--batch'; did you mean '--batch-rows'?");
	assert_refused("a x --frobnicate", "unknown option '--frobnicate'");
	assert_refused("a x -w", "unknown option '-w'");
	assert_refused("a x --\x1b[31m=1", "unknown option '--\\x1b[31m'");
}

static void a_word_too_many_is_named(void **state)
{
	static const struct cli_word one[] = {{"DATABASE", "file", false, false}, {0}};
	static const struct cli_command status = {.name = "status", .words = one};
	char *argv[] = {"a.db", "b\n.db"};
	char *empty[] = {""};
	struct cli_text message = {0};
	struct cli_args args;

	(void)state;
	assert_int_equal(cli_args_parse(&args, &status, 2, argv, &message), CLI_EXIT_USAGE);
	assert_string_equal(cli_text_string(&message), "'b\\n.db' is one argument too many");
	cli_args_free(&args);
	cli_text_clear(&message);
	assert_int_equal(cli_args_parse(&args, &status, 1, empty, &message), CLI_EXIT_USAGE);
	assert_string_equal(cli_text_string(&message), "DATABASE '' is empty");
	cli_args_free(&args);
	cli_text_free(&message);
}

static void a_long_value_is_cut_in_the_message(void **state)
{
	char *value = malloc(5001);
	char *argv[] = {"a", "x", "--until", value};
	struct cli_text message = {0};
	struct cli_args args;

	(void)state;
	assert_non_null(value);
	memset(value, '9', 5000);
	value[5000] = '\0';
	assert_int_equal(cli_args_parse(&args, &command, 4, argv, &message), CLI_EXIT_USAGE);
	assert_true(message.used < 200);
	assert_non_null(strstr(cli_text_string(&message), "999...'"));
	cli_args_free(&args);
	cli_text_free(&message);
	free(value);
}

static void help_wins_over_mistakes(void **state)
{
	struct parsed p = parse("--wrokers --help");

	(void)state;
	assert_int_equal(p.rc, CLI_EXIT_OK);
	assert_true(p.args.help);
	parsed_free(&p);
	p = parse("a -- --help");
	assert_false(p.args.help);
	parsed_free(&p);
}

static void help_is_made_of_the_tables(void **state)
{
	struct cli_text text = {0};
	const char *help;

	(void)state;
	cli_help_command(&text, &command);
	assert_false(text.failed);
	help = cli_text_string(&text);
	assert_non_null(strstr(help, "usage: catchup run DATABASE CONSUMER... [options]\n"));
	assert_non_null(strstr(help, "  DATABASE                the file\n"));
	assert_non_null(strstr(help, "  --batch-rows N          most rows (1 to 10,000,000; default "
				     "10,000)\n"));
	assert_non_null(strstr(help, "  --synchronous off|normal|full\n"
				     "                          how safe (default normal)\n"));
	assert_non_null(strstr(help, "  --until ID              id (0 or more)\n"));
	assert_non_null(strstr(help, "examples:\n  catchup run a.db b.sql\n"));
	cli_text_free(&text);
}

static void distances(void **state)
{
	char longer[65];

	(void)state;
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(cli_suggest_distance("", ""), 0);
	assert_int_equal(cli_suggest_distance("", "abc"), 3);
	assert_int_equal(cli_suggest_distance("abc", ""), 3);
	assert_int_equal(cli_suggest_distance("status", "status"), 0);
	assert_int_equal(cli_suggest_distance("staus", "status"), 1);
	assert_int_equal(cli_suggest_distance("sttaus", "status"), 1);
	assert_int_equal(cli_suggest_distance("kitten", "sitting"), 3);
	assert_true(cli_suggest_distance(longer, "a") == SIZE_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_a_whole_command_line),
		cmocka_unit_test(refuses_numbers_that_are_none),
		cmocka_unit_test(refuses_numbers_outside_the_range),
		cmocka_unit_test(takes_the_whole_range_of_ids),
		cmocka_unit_test(reads_seconds),
		cmocka_unit_test(refuses_with_the_reason),
		cmocka_unit_test(suggests_the_nearest_option),
		cmocka_unit_test(a_word_too_many_is_named),
		cmocka_unit_test(a_long_value_is_cut_in_the_message),
		cmocka_unit_test(help_wins_over_mistakes),
		cmocka_unit_test(help_is_made_of_the_tables),
		cmocka_unit_test(distances),
	};

	return cmocka_run_group_tests_name("cli_args", tests, NULL, NULL);
}
