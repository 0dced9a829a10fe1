/* SPDX-License-Identifier: MIT */
/*
 * The command line where no consumer runs: wrong usage, help, versions, outputs that fail.
 */
#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_begins(const char *text, const char *begin)
{
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("'%s' does not begin with '%s'", text, begin);
}

/* Refused as wrong usage, with this on standard error and nothing on standard output. */
#define assert_usage(message, ...)                                                                 \
	do {                                                                                       \
		struct program p_ = {0};                                                           \
		assert_int_equal(program_run(&p_, __VA_ARGS__), 2);                                \
		assert_begins(p_.err.text, message);                                               \
		assert_string_equal(p_.out.text, "");                                              \
		program_free(&p_);                                                                 \
	} while (0)

/* "unknown flag or command (suggest the nearest)" */
static void a_mistyped_word_gets_a_suggestion(void **state)
{
	struct program p = {0};

	(void)state;
	assert_usage("catchup: unknown command 'stats'; did you mean 'status'?\n"
		     "see 'catchup help'\n", "stats", "a.db");
	assert_usage("catchup: unknown command 'frobnicate'\n", "frobnicate");
	assert_usage("catchup: unknown command 'chnagelog'; did you mean 'changelog'?\n", "chnagelog");
	assert_usage("catchup: unknown option '--vresion'; did you mean '--version'?\n", "--vresion");
	assert_usage("catchup: unknown command 'changelog folow'; did you mean 'changelog follow'?\n",
		"changelog", "folow", "x");
	assert_usage("catchup: command 'changelog' is not complete; there is 'changelog follow'\n",
		"changelog");
	assert_usage("catchup run: unknown option '--wrokers'; did you mean '--workers'?\n"
		     "see 'catchup help run'\n", "run", "a.db", "x.sql", "--wrokers", "2");
	assert_usage("catchup: no command is given\n", NULL);
	assert_usage("catchup: unknown command 'stats'", "help", "stats");
	assert_usage("catchup help: 'status' is one argument too many\n", "help", "run", "status");
	assert_int_equal(program_run(&p, "\x1b[31m\n"), 2);
	assert_null(strchr(p.err.text, '\x1b'));
	program_free(&p);
}

static void numbers_outside_their_range_are_refused(void **state)
{
	static const char *const options[] = {"--workers", "--batch-rows", "--batch-ms",
		"--ring-slots", "--threads", "--poll-ms", "--busy-ms", "--lease-ms", "--wal-mib"};
	static const char *const values[] = {"0", "-1", "1000000000", "99999999999", "", " 8", "0x10",
		"1e9", "+5"};

	(void)state;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		for (size_t k = 0; k < sizeof(values) / sizeof(values[0]); k++) {
			char begin[128];

			snprintf(begin, sizeof(begin), "catchup run: option '%s': '%s' is ", options[i],
				values[k]);
			assert_usage(begin, "run", "a.db", "x.sql", options[i], values[k]);
		}
}

/* "missing value, repeated single flag" */
static void missing_and_repeated_things_are_refused(void **state)
{
	(void)state;
	assert_usage("catchup run: DATABASE is missing\n", "run");
	assert_usage("catchup run: CONSUMER is missing\n", "run", "a.db");
	assert_usage("catchup run: DATABASE '' is empty\n", "run", "", "x.sql");
	assert_usage("catchup run: option '--batch-rows' has no value\n", "run", "a.db", "x.sql",
		"--batch-rows");
	assert_usage("catchup run: option '--batch-rows' is given twice\n", "run", "a.db", "x.sql",
		"--batch-rows", "5", "--batch-rows=6");
	assert_usage("catchup wait: option '--until ID' is missing\n", "wait", "a.db", "--consumer",
		"x");
	assert_usage("catchup wait: option '--timeout': 'soon' is not a number of seconds", "wait",
		"a.db", "--consumer", "x", "--until", "5", "--timeout", "soon");
	assert_usage("catchup wait: option '--until': '9223372036854775808' is outside 0 to ", "wait",
		"a.db", "--consumer", "x", "--until", "9223372036854775808");
	assert_usage("catchup status: 'b.db' is one argument too many\n", "status", "a.db", "b.db");
}

static void every_command_explains_itself(void **state)
{
	static const char *const commands[][2] = {{"run"}, {"status"}, {"wait"}, {"consumers"},
		{"check"}, {"changelog", "follow"}, {"version"}, {"help"}};
	struct program p = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const char *const asked[] = {"help", commands[i][0], commands[i][1], NULL};
		const char *const flag[] = {commands[i][0], commands[i][1] ? commands[i][1] : "--help",
			"--help", NULL};
		char *by_flag;

		program_start_with(&p, flag);
		assert_int_equal(program_finish(&p), 0);
		assert_string_equal(p.err.text, "");
		assert_non_null(strstr(p.out.text, "usage: catchup "));
		assert_non_null(strstr(p.out.text, "examples:\n"));
		by_flag = strdup(p.out.text);
		program_free(&p);
		program_start_with(&p, asked);
		assert_int_equal(program_finish(&p), 0);
		assert_string_equal(p.out.text, by_flag);
		program_free(&p);
		free(by_flag);
	}
	assert_int_equal(program_run(&p, "--help"), 0);
	assert_non_null(strstr(p.out.text, "commands:\n"));
	program_free(&p);
	assert_int_equal(program_run(&p, "changelog", "--help"), 0);
	assert_non_null(strstr(p.out.text, "usage: catchup changelog follow PATH"));
	program_free(&p);
}

/* What a user who may not write in the folder has to know. */
static void commands_that_only_read_say_what_they_need(void **state)
{
	static const char *const commands[][2] = {
		{"status"}, {"wait"}, {"verify"}, {"dead", "list"}, {"dead", "show"}};
	struct program p = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		assert_int_equal(program_run(&p, "help", commands[i][0], commands[i][1]), 0);
		assert_non_null(strstr(p.out.text, "read-only;"));
		program_free(&p);
	}
}

static void tells_versions_and_built_in_consumers(void **state)
{
	struct program p = {0};
	char *version;

	(void)state;
	assert_int_equal(program_run(&p, "version"), 0);
	assert_begins(p.out.text, "catchup ");
	assert_non_null(strstr(p.out.text, ", SQLite 3."));
	program_free(&p);
	assert_int_equal(program_run(&p, "version", "--json"), 0);
	version = test_json(p.out.text, "$.sqlite.version");
	assert_begins(version, "3.");
	free(version);
	program_free(&p);
	assert_int_equal(program_run(&p, "consumers", "--json"), 0);
	test_json_is(p.out.text, "$.consumers[1].name", "honeywell5800_receive");
	test_json_is(p.out.text, "$.consumers[1].options[0].name", "dedup-seconds");
	test_json_is(p.out.text, "$.consumers[1].options[0].maximum", "86400");
	program_free(&p);
	assert_int_equal(program_run(&p, "consumers"), 0);
	assert_non_null(strstr(p.out.text, "dedup-seconds=0..86400 (default 5)"));
	program_free(&p);
}

/* The descriptors go to /dev/null: nothing is written over, and nothing fails for want of them. */
static void closed_descriptors_do_no_harm(void **state)
{
	struct program p = {.closed = true};

	(void)state;
	assert_int_equal(program_run(&p, "help"), 0);
	program_free(&p);
	p.closed = true;
	assert_int_equal(program_run(&p, "frobnicate"), 2);
	program_free(&p);
}

static void an_output_that_cannot_be_written_is_a_failure(void **state)
{
	struct program p = {.output_path = "/dev/full"};

	(void)state;
	assert_int_equal(program_run(&p, "help"), 1);
	assert_string_equal(p.err.text, "catchup: standard output: No space left on device\n");
	program_free(&p);
}

static const char good_consumer[] = "-- name: doubles\n-- source: numbers\n"
				    "-- setup\nCREATE TABLE IF NOT EXISTS twice(id INTEGER PRIMARY KEY, n);\n"
				    "-- apply\nINSERT INTO twice SELECT id, 2 * n FROM numbers"
				    " WHERE id > @last AND id <= @max;\n";

static void check_tells_every_bad_consumer(void **state)
{
	struct program p = {0};
	char *folder = test_folder_make();
	char *good = test_path(folder, "good.sql");
	char *bad = test_path(folder, "bad.sql");
	char *missing = test_path(folder, "missing.sql");

	(void)state;
	test_write_file(good, good_consumer);
	test_write_file(bad, "-- name: bad\n-- sorce: numbers\n-- apply\nSELECT 1;\n");
	assert_int_equal(program_run(&p, "check", good), 0);
	assert_begins(p.out.text, "doubles: ok, loaded (range consumer, ");
	assert_non_null(strstr(p.out.text, ", follows numbers)\n"));
	assert_string_equal(p.err.text, "");
	program_free(&p);
	assert_int_equal(program_run(&p, "check", bad, good, missing), 2);
	assert_begins(p.out.text, "doubles: ok, loaded");
	assert_non_null(strstr(p.err.text, "bad.sql"));
	assert_non_null(strstr(p.err.text, "missing.sql"));
	program_free(&p);
	free(good);
	free(bad);
	free(missing);
	test_folder_remove(folder);
}

/* What `run` refuses of an error policy, wherever it is written, and nothing that it takes. */
static void check_reads_error_policies(void **state)
{
	static const char careful[] = "-- name: anxious\n-- source: numbers\n-- on-error: careful park\n"
				      "-- setup\nCREATE TABLE IF NOT EXISTS taken(n);\n"
				      "-- row\nINSERT INTO taken VALUES(@n);\n";
	struct program p = {0};
	char *folder = test_folder_make();
	char *file = test_path(folder, "anxious.sql");
	char *database = test_path(folder, "a.db");
	char with_option[600];

	(void)state;
	test_write_file(file, careful);
	test_sql(database, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n)");
	snprintf(with_option, sizeof(with_option), "%s:on-error=nonsense", file);
	assert_int_equal(program_run(&p, "check", file), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "check", file, "--database", database), 0);
	assert_begins(p.out.text, "anxious: ok, prepared (row consumer, ");
	program_free(&p);
	assert_int_equal(program_run(&p, "check", with_option), 2);
	assert_string_equal(p.out.text, "");
	assert_non_null(strstr(p.err.text, "consumer 'anxious': on-error 'nonsense': must be stop, park"));
	program_free(&p);
	test_write_file(file, "-- name: kk\n-- source: numbers\n-- on-error: retry 3\n-- setup\n"
			      "CREATE TABLE IF NOT EXISTS taken(n);\n-- row\n"
			      "INSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "check", file), 2);
	assert_non_null(strstr(p.err.text, "consumer 'kk': on-error 'retry 3': must be stop, park"));
	program_free(&p);
	/* One that is replaced is never read. */
	assert_int_equal(program_run(&p, "run", database, file, "--on-error", "kk=park",
				 "--until-caught-up"), 0);
	program_free(&p);
	free(file);
	free(database);
	test_folder_remove(folder);
}

static void check_prepares_against_a_database_and_changes_nothing(void **state)
{
	struct program p = {0};
	char *folder = test_folder_make();
	char *good = test_path(folder, "good.sql");
	char *database = test_path(folder, "a.db");
	char *empty = test_path(folder, "empty.db");

	(void)state;
	test_write_file(good, good_consumer);
	test_sql(database, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n)");
	test_sql(empty, "CREATE TABLE other(x)");
	assert_int_equal(program_run(&p, "check", good, "--database", database), 0);
	assert_begins(p.out.text, "doubles: ok, prepared (range consumer, ");
	program_free(&p);
	assert_int_equal(test_number(database,
				 "SELECT count(*) FROM sqlite_schema WHERE name = 'twice'"), 0);
	assert_int_equal(program_run(&p, "check", good, "--database", empty), 2);
	assert_string_equal(p.out.text, "");
	assert_non_null(strstr(p.err.text, "numbers"));
	program_free(&p);
	free(good);
	free(database);
	free(empty);
	test_folder_remove(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mistyped_word_gets_a_suggestion),
		cmocka_unit_test(numbers_outside_their_range_are_refused),
		cmocka_unit_test(missing_and_repeated_things_are_refused),
		cmocka_unit_test(every_command_explains_itself),
		cmocka_unit_test(commands_that_only_read_say_what_they_need),
		cmocka_unit_test(tells_versions_and_built_in_consumers),
		cmocka_unit_test(closed_descriptors_do_no_harm),
		cmocka_unit_test(an_output_that_cannot_be_written_is_a_failure),
		cmocka_unit_test(check_tells_every_bad_consumer),
		cmocka_unit_test(check_reads_error_policies),
		cmocka_unit_test(check_prepares_against_a_database_and_changes_nothing),
	};

	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
