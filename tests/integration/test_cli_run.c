/* SPDX-License-Identifier: MIT */
/*
 * The commands on real databases: run to the end, status and wait beside it. Signals are in
 * test_cli_signals.c.
 */
#include "program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 20000

static const char refuses[] = "-- name: refuses\n-- source: numbers\n"
			      "-- setup\n"
			      "CREATE TABLE IF NOT EXISTS small(n CHECK(n < 5));\n"
			      "-- next\n"
			      "SELECT id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id;\n"
			      "-- row\n"
			      "INSERT INTO small VALUES(@n);\n";

struct fixture {
	char *folder;
	char *database;
	char *doubles, *slow, *refuses; /* consumer files */
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->folder = test_folder_make();
	f->database = test_path(f->folder, "a.db");
	f->doubles = test_path(f->folder, "doubles.sql");
	f->slow = test_path(f->folder, "slow.sql");
	f->refuses = test_path(f->folder, "refuses.sql");
	test_write_file(f->doubles, DOUBLES);
	test_write_file(f->slow, SLOW);
	test_write_file(f->refuses, refuses);
	test_sql(f->database, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n)");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	test_folder_remove(f->folder);
	free(f->database);
	free(f->doubles);
	free(f->slow);
	free(f->refuses);
	free(f);
	return 0;
}

static void insert_rows(const struct fixture *f, int rows)
{
	char sql[256];

	snprintf(sql, sizeof(sql),
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		" INSERT INTO numbers(n) SELECT i FROM c", rows);
	test_sql(f->database, sql);
}

static void until_caught_up_does_all_rows_and_says_so(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	insert_rows(f, ROWS);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	assert_string_equal(p.out.text, "");
	assert_non_null(strstr(p.err.text, "caught up: 20,000 rows in "));
	/* No terminal, no progress line. */
	assert_null(strchr(p.err.text, '\r'));
	program_free(&p);
	assert_int_equal(test_number(f->database, "SELECT sum(n) FROM twice"),
		test_number(f->database, "SELECT 2 * sum(n) FROM numbers"));
	assert_int_equal(test_number(f->database, "SELECT last FROM catchup"), ROWS);
	/* Again: nothing to do. */
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	assert_non_null(strstr(p.err.text, "caught up: 0 rows in "));
	program_free(&p);
}

static void a_stopped_consumer_gives_the_exit_code_and_the_others_go_on(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	insert_rows(f, 100);
	assert_int_equal(program_run(&p, "run", f->database, f->refuses, f->doubles,
				 "--until-caught-up"), 4);
	assert_non_null(strstr(p.err.text, "consumer 'refuses' stopped at row 5"));
	assert_non_null(strstr(p.err.text, "1 of 2 consumers stopped on an error\n"));
	program_free(&p);
	assert_int_equal(test_number(f->database, "SELECT count(*) FROM twice"), 100);
	assert_int_equal(test_number(f->database, "SELECT count(*) FROM small"), 4);
	/* Alone and without an end given, nothing is left to run. */
	assert_int_equal(program_run(&p, "run", f->database, f->refuses), 4);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", f->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[1].name", "refuses");
	test_json_is(p.out.text, "$.consumers[1].state", "stopped");
	test_json_is(p.out.text, "$.consumers[1].error_row", "5");
	program_free(&p);
	assert_int_equal(program_run(&p, "wait", f->database, "--consumer", "refuses", "--until",
				 "50"), 4);
	program_free(&p);
}

static void policies_and_workers_are_given_by_name(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	insert_rows(f, 10);
	assert_int_equal(program_run(&p, "run", f->database, f->refuses, f->doubles,
				 "--until-caught-up", "--on-error", "refuses=park"), 0);
	program_free(&p);
	assert_int_equal(test_number(f->database, "SELECT last FROM catchup WHERE name = 'refuses'"),
		10);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up",
				 "--workers", "doubels=1"), 2);
	assert_non_null(strstr(p.err.text,
		"option '--workers': no consumer is called 'doubels'; did you mean 'doubles'?"));
	program_free(&p);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up",
				 "--workers", "doubles=2"), 2);
	assert_non_null(strstr(p.err.text, "map"));
	program_free(&p);
}

static void status_shows_how_far_everybody_is(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	assert_int_equal(program_run(&p, "status", f->database), 0);
	assert_non_null(strstr(p.out.text, "no consumer has run on this database\n"));
	program_free(&p);
	insert_rows(f, 100);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	insert_rows(f, 23);
	assert_int_equal(program_run(&p, "status", f->database, "--json"), 0);
	test_json_is(p.out.text, "$.database", f->database);
	test_json_is(p.out.text, "$.sources[0].name", "numbers");
	test_json_is(p.out.text, "$.sources[0].newest", "123");
	test_json_is(p.out.text, "$.consumers[0].name", "doubles");
	test_json_is(p.out.text, "$.consumers[0].source", "numbers");
	test_json_is(p.out.text, "$.consumers[0].into", NULL);
	test_json_is(p.out.text, "$.consumers[0].watermark", "100");
	test_json_is(p.out.text, "$.consumers[0].newest", "123");
	test_json_is(p.out.text, "$.consumers[0].lag_rows", "23");
	test_json_is(p.out.text, "$.consumers[0].state", "idle");
	test_json_is(p.out.text, "$.consumers[0].dead", "0");
	test_json_is(p.out.text, "$.consumers[0].last_error", NULL);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", f->database), 0);
	assert_non_null(strstr(p.out.text, "CONSUMER  SOURCE   STATE  WATERMARK  NEWEST  LAG  DEAD"));
	assert_non_null(strstr(p.out.text, "doubles   numbers  idle         100     123   23     0"));
	assert_null(strchr(p.out.text, '\x1b'));
	program_free(&p);
	assert_int_equal(program_run(&p, "status", "/nowhere/a.db"), 2);
	assert_non_null(strstr(p.err.text, "/nowhere/a.db"));
	program_free(&p);
}

static void wait_ends_with_the_row_or_with_3(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};
	struct program w = {0};

	insert_rows(f, 10);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&w, "wait", f->database, "--consumer", "doubles", "--until",
				 "10", "--timeout", "0"), 0);
	assert_string_equal(w.err.text, "");
	program_free(&w);
	assert_int_equal(program_run(&w, "wait", f->database, "--consumer", "doubles", "--until",
				 "11", "--timeout", "0.05"), 3);
	assert_null(strstr(w.err.text, "knows no consumer"));
	program_free(&w);
	assert_int_equal(program_run(&w, "wait", f->database, "--consumer", "nobody", "--until", "1"),
		2);
	program_free(&w);
	/* It sees the commit of another process. */
	program_start(&w, "wait", f->database, "--consumer", "doubles", "--until", "20");
	insert_rows(f, 10);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	assert_int_equal(program_finish(&w), 0);
	program_free(&p);
	program_free(&w);
	/* A signal is no success: the row is not done. */
	program_start(&w, "wait", f->database, "--consumer", "doubles", "--until", "21");
	program_signal(&w, SIGTERM);
	assert_int_equal(program_finish(&w), 128 + SIGTERM);
	program_free(&w);
}

/* It may start later, or its name is mistyped: that is said before the time is over. */
static void who_waits_for_a_name_that_nobody_knows_is_told_so(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};
	struct program w = {0};

	insert_rows(f, 10);
	program_start(&w, "wait", f->database, "--consumer", "doubles", "--until", "10", "--timeout", "3600");
	program_expect_err(&w, "knows no consumer 'doubles' yet, waiting for it\n");
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_finish(&w), 0);
	program_free(&w);
	program_start(&w, "wait", f->database, "--consumer", "dubles", "--until", "10", "--timeout", "3600");
	program_expect_err(&w, "knows no consumer 'dubles' yet, waiting for it; did you mean 'doubles'?\n");
	program_signal(&w, SIGTERM);
	assert_int_equal(program_finish(&w), 128 + SIGTERM);
	program_free(&w);
}

static void json_log_lines_are_json(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};
	int lines = 0;

	insert_rows(f, 10);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up",
				 "--log-format", "json", "--log-level", "debug", "--ring-slots",
				 "100"), 0);
	assert_non_null(strstr(p.err.text, "ring slots rounded up from 100 to 128"));
	for (char *line = strtok(p.err.text, "\n"); line; line = strtok(NULL, "\n")) {
		char *level = test_json(line, "$.level");
		char *subject = test_json(line, "$.subject");
		char *time = test_json(line, "$.time");
		char *message = test_json(line, "$.message");

		assert_non_null(level);
		assert_non_null(subject);
		assert_int_equal(strlen(time), strlen("2026-11-21T02:00:00.123Z"));
		assert_true(message && *message);
		free(level);
		free(subject);
		free(time);
		free(message);
		lines++;
	}
	assert_true(lines >= 2);
	program_free(&p);
}

static void log_level_error_says_nothing_when_all_is_well(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	insert_rows(f, 10);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up",
				 "--log-level", "error"), 0);
	assert_string_equal(p.err.text, "");
	program_free(&p);
}

static void a_backlog_has_a_progress_line(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	insert_rows(f, 100000);
	program_start(&p, "run", f->database, f->slow, "--until-caught-up", "--progress", "always");
	program_expect_err(&p, " left");
	assert_non_null(strstr(p.err.text, "\r\x1b[Kslow ["));
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
}

static void odd_paths_are_plain_names_or_refused(void **state)
{
	struct fixture *f = *state;
	struct program p = {.folder = f->folder};
	char *newline = test_path(f->folder, "new\nline\xff.db");
	char *longest = malloc(5001);

	assert_non_null(longest);
	memset(longest, 'x', 5000);
	longest[5000] = '\0';
	assert_int_not_equal(program_run(&p, "run", ":memory:", f->doubles, "--until-caught-up"), 0);
	assert_non_null(strstr(p.err.text, ":memory:"));
	program_free(&p);
	p.folder = f->folder;
	assert_int_not_equal(program_run(&p, "run", longest, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	/* A name that looks like a URI is the name of a file. */
	rename(f->database, newline);
	p.folder = f->folder;
	test_sql(f->database, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n)");
	assert_int_not_equal(program_run(&p, "run", "file:a.db?nolock=1", f->doubles,
				     "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "run", newline, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", newline), 0);
	assert_non_null(strstr(p.out.text, "new\\nline\\xff.db"));
	program_free(&p);
	assert_int_equal(program_run(&p, "status", newline, "--json"), 0);
	free(test_json(p.out.text, "$.database"));
	program_free(&p);
	free(newline);
	free(longest);
}

static void hostile_names_are_shown_escaped(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	/* As another program may have written them; one has a megabyte. */
	test_sql(f->database, "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
			      " last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID;"
			      "INSERT INTO catchup VALUES(CAST(x'1b5b33316d0aff27223b' AS TEXT), 5);"
			      "INSERT INTO catchup VALUES(hex(zeroblob(524288)),"
			      " 9223372036854775807);");
	assert_int_equal(program_run(&p, "status", f->database), 0);
	assert_non_null(strstr(p.out.text, "\\x1b[31m\\n\\xff'\";"));
	assert_non_null(strstr(p.out.text, "00000..."));
	assert_null(strchr(p.out.text, '\x1b'));
	assert_true(p.out.used < 4096);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", f->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].name", "\x1b[31m\n\xef\xbf\xbd'\";");
	test_json_is(p.out.text, "$.consumers[1].watermark", "9223372036854775807");
	assert_true(p.out.used > 1048576);
	program_free(&p);
}

static void eight_descriptors_are_too_few_and_said_so(void **state)
{
	struct fixture *f = *state;
	struct program p = {.files = 8};

	insert_rows(f, 10);
	program_run(&p, "run", f->database, f->doubles, "--until-caught-up");
	/* It works with so few, or it says why not; it never crashes. */
	assert_true(p.exit_code == 0 || strstr(p.err.text, "Too many open files"));
	assert_true(p.exit_code <= 2);
	program_free(&p);
}

/* The system would end the process by SIGXFSZ; here it is a full disk, and goes on when there is room. */
static void a_limit_of_file_size_pauses_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct program p = {.file_bytes = 128 * 1024};

	insert_rows(f, ROWS);
	program_start(&p, "run", f->database, f->doubles, "--until-caught-up");
	program_expect_err(&p, "paused");
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "run", f->database, f->doubles, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(test_number(f->database, "SELECT count(*) FROM twice"), ROWS);
}

/* A row that is parked is told in its transaction: that must not last until somebody reads. */
static void a_log_that_nobody_reads_holds_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct program run = {0}, wait = {0};
	char patience[24];

	/* More lines than a pipe takes. */
	insert_rows(f, 2000);
	snprintf(patience, sizeof(patience), "%d", PATIENCE_S);
	program_start(&run, "run", f->database, f->refuses, "--on-error", "park");
	program_expect_err(&run, "started 1 consumer");
	assert_int_equal(program_run(&wait, "wait", f->database, "--consumer", "refuses", "--until", "2000",
				 "--timeout", patience), 0);
	program_free(&wait);
	/* Somebody reads all there is, and is told with the next line. It is not waited for that there is room for
	 * that one: then nothing would be said before the line after it. */
	assert_true(program_has_said(&run, " is parked in the dead letters"));
	test_sql(f->database, "INSERT INTO numbers(n) VALUES(5)");
	program_expect_err(&run, " log lines could not be written");
	program_signal(&run, SIGTERM);
	assert_int_equal(program_finish(&run), 0);
	program_free(&run);
	assert_int_equal(test_number(f->database, "SELECT count(*) FROM catchup_dead"), 1997);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(until_caught_up_does_all_rows_and_says_so),
		TEST(a_stopped_consumer_gives_the_exit_code_and_the_others_go_on),
		TEST(policies_and_workers_are_given_by_name),
		TEST(status_shows_how_far_everybody_is),
		TEST(wait_ends_with_the_row_or_with_3),
		TEST(who_waits_for_a_name_that_nobody_knows_is_told_so),
		TEST(json_log_lines_are_json),
		TEST(log_level_error_says_nothing_when_all_is_well),
		TEST(a_backlog_has_a_progress_line),
		TEST(odd_paths_are_plain_names_or_refused),
		TEST(hostile_names_are_shown_escaped),
		TEST(a_limit_of_file_size_pauses_and_loses_nothing),
		TEST(a_log_that_nobody_reads_holds_nobody_up),
		TEST(eight_descriptors_are_too_few_and_said_so),
	};

	return cmocka_run_group_tests_name("cli_run", tests, NULL, NULL);
}
