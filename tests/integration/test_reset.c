/* SPDX-License-Identifier: MIT */
/*
 * `reset`: a consumer begins again, or goes on elsewhere; `forget`: it is no more. All of it or nothing.
 * Through the program, on real files.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 200

#define HEAD "-- name: sums\n-- source: numbers\n"
#define SETUP "-- setup\nCREATE TABLE IF NOT EXISTS sums(k INTEGER PRIMARY KEY, rows INTEGER, n INTEGER);\n"
#define APPLY                                                                                      \
	"-- apply\nINSERT INTO sums SELECT n % 5, count(*), sum(n) FROM numbers"                   \
	" WHERE id > @last AND id <= @max GROUP BY 1 ON CONFLICT(k) DO UPDATE"                     \
	" SET rows = rows + excluded.rows, n = n + excluded.n;\n"

/* 1 where the results are those of exactly the rows in (A, B]. */
#define SUMS_OF(from, to)                                                                          \
	"SELECT NOT EXISTS (SELECT * FROM sums EXCEPT SELECT n %% 5, count(*), sum(n) FROM numbers" \
	" WHERE id > " #from " AND id <= " #to " GROUP BY 1) AND"                                  \
	" (SELECT sum(rows) FROM sums) = " #to " - " #from

static void set_up_rows(struct scene *s, int rows)
{
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE IF NOT EXISTS numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO numbers(n) SELECT 7 * i FROM c", rows);
}

/* What `reset` says, and its exit code. Options may be NULL. */
static void reset(struct scene *s, int exit_code, const char *said, const char *consumer,
	const char *option, const char *value)
{
	struct program p = {.folder = s->folder};

	program_run(&p, "reset", s->database, consumer, option, value);
	if (p.exit_code != exit_code)
		fail_msg("exit code %d, not %d: %s%s", p.exit_code, exit_code, p.out.text, p.err.text);
	help_expect(exit_code == 0 ? p.out.text : p.err.text, said);
	program_free(&p);
}

static void verify(struct scene *s)
{
	struct program p = {.folder = s->folder};

	if (program_run(&p, "verify", s->database) != 0)
		fail_msg("verify: %s%s", p.out.text, p.err.text);
	program_free(&p);
}

static void back_to_the_beginning_every_row_is_done_once_again(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\n");
	scene_catch_up(s, "sums.sql");
	reset(s, 0, "consumer 'sums': watermark 200 -> 0, results cleared\n", "sums", NULL, NULL);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sums"), 0);
	assert_int_equal(help_watermark(s->database, "sums"), 0);
	verify(s);
	set_up_rows(s, 50);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, SUMS_OF(0, 250)), 1);
	verify(s);
}

/* The reason to rebuild is often that the tables are to be others: what they were does not matter. */
static void tables_are_made_anew_for_a_file_that_has_changed(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD "-- setup\nCREATE TABLE IF NOT EXISTS sums(other);\n"
				       "-- apply\nINSERT INTO sums SELECT id FROM numbers"
				       " WHERE id > @last AND id <= @max;\n");
	scene_catch_up(s, "sums.sql");
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDROP TABLE IF EXISTS sums;\n");
	reset(s, 0, "-> 0, results cleared", "sums", NULL, NULL);
	/* Nobody ever finds the table gone. */
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sums"), 0);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
}

static void results_in_another_file_are_cleared_there(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD "-- into: sums.db\n" SETUP APPLY "-- reset\nDELETE FROM sums;\n");
	scene_catch_up(s, "sums.sql");
	reset(s, 0, "watermark 200 -> 0, results cleared", "sums", NULL, NULL);
	assert_int_equal(test_number(scene_path(s, "sums.db"), "SELECT count(*) FROM sums"), 0);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(test_number(scene_path(s, "sums.db"), "SELECT sum(rows) FROM sums"), 200);
	verify(s);
}

static void going_forward_skips_rows_and_says_how_many(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY);
	scene_catch_up(s, "sums.sql");
	set_up_rows(s, 100);
	scene_sql(s, "DELETE FROM numbers WHERE id = 210");
	reset(s, 0, "consumer 'sums': watermark 200 -> 250, 49 rows skipped\n", "./sums.sql", "--to", "250");
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM sums"), 250);
	set_up_rows(s, 10);
	reset(s, 0, "watermark 300 -> 310, 10 rows skipped\n", "sums", "--to-newest", NULL);
	set_up_rows(s, 1);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM sums"), 251);
	verify(s);
}

/* What was made of rows that are gone can be made by nothing any more. */
static void on_to_the_newest_keeps_results_also_where_it_goes_back(void **state)
{
	struct scene *s = *state;

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY, n INTEGER)");
	scene_insert(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\n");
	scene_catch_up(s, "sums.sql");
	scene_sql(s, "DELETE FROM numbers WHERE id > 150");
	reset(s, 0, "watermark 200 -> 150, results kept\n", "sums", "--to-newest", NULL);
	scene_insert(s, 1);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM sums"), ROWS + 1);
}

/* Rows of the other table up to the watermark were never offered. into: a header line, or "". The row that was
 * processed last says nothing, for the other table has none with its id. */
static void refuse_another_source(struct scene *s, const char *into, const char *results)
{
	char first[1024], then[1024];
	struct program p = {.folder = s->folder};

	snprintf(first, sizeof(first), "%s%s%s%s", HEAD, into, SETUP, APPLY);
	snprintf(then, sizeof(then), "-- name: sums\n-- source: others\n%s%s-- apply\n"
		"INSERT INTO sums SELECT -id, 1, n FROM others WHERE id > @last AND id <= @max;\n", into, SETUP);
	set_up_rows(s, ROWS);
	scene_sql(s, "CREATE TABLE others(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO others(n) SELECT n FROM numbers LIMIT 30; INSERT INTO others VALUES(1000, 1)");
	scene_file(s, "sums.sql", first);
	scene_catch_up(s, "sums.sql");
	scene_file(s, "sums.sql", then);
	assert_int_equal(program_run(&p, "run", s->database, "sums.sql", "--until-caught-up"), 2);
	help_expect(p.err.text, "has followed 'numbers' up to id 200");
	program_free(&p);
	if (strcmp(results, s->database) == 0)
		assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
	assert_int_equal(test_number(results, "SELECT sum(rows) FROM sums"), 200);
	/* Where it is to begin is said by who knows. */
	reset(s, 0, "watermark 200 -> 10, results kept\n", "sums", "--to=10", "--keep-results");
	scene_catch_up(s, "sums.sql");
	assert_int_equal(test_number(results, "SELECT count(*) FROM sums WHERE k < -10"), 21);
	assert_int_equal(test_number(results, "SELECT count(*) FROM sums WHERE k BETWEEN -10 AND -1"), 0);
}

static void another_source_under_the_same_name_is_refused(void **state)
{
	struct scene *s = *state;

	refuse_another_source(s, "", s->database);
}

/* The watermark is in one file, and what it is about in another. */
static void another_source_is_refused_also_where_results_are_elsewhere(void **state)
{
	struct scene *s = *state;

	refuse_another_source(s, "-- into: sums.db\n", scene_path(s, "sums.db"));
}

/* The results of another consumer are not those that were meant. */
static void a_file_that_makes_another_consumer_now_is_not_taken_for_the_old_one(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\n");
	scene_catch_up(s, "sums.sql");
	scene_file(s, "sums.sql", "-- name: others\n-- source: numbers\n-- setup\n"
				  "CREATE TABLE IF NOT EXISTS others(id);\n-- row\nINSERT INTO others VALUES(@id);\n"
				  "-- reset\nDELETE FROM others;\n");
	scene_catch_up(s, "sums.sql");
	reset(s, 2, "a consumer named 'others' now, not 'sums'", "sums", NULL, NULL);
	assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM others"), ROWS);
	assert_int_equal(help_watermark(s->database, "others"), ROWS);
	reset(s, 0, "consumer 'others': watermark 200 -> 0", "others", NULL, NULL);
	assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
}

static void dead_letters_above_it_go(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "picky.sql", "-- name: picky\n-- source: numbers\n-- on-error: park\n"
				   "-- setup\nCREATE TABLE IF NOT EXISTS taken(n CHECK(n % 350 <> 0));\n"
				   "-- row\nINSERT INTO taken VALUES(@n);\n-- reset\nDELETE FROM taken;\n");
	scene_catch_up(s, "picky.sql");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 4);
	reset(s, 0, "watermark 200 -> 120, results cleared, also those of rows up to 120, 2 dead letters "
		    "dropped\n", "picky", "--to", "120");
	verify(s);
	scene_catch_up(s, "picky.sql");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 4);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM taken"), 78);
	verify(s);
}

/* ---- chains ----------------------------------------------------------------------------------- */

#define BIG "-- name: big\n-- source: numbers\n-- setup\n"                                        \
	    "CREATE TABLE IF NOT EXISTS big(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);\n"   \
	    "-- apply\nINSERT INTO big(n) SELECT n FROM numbers WHERE id > @last AND id <= @max;\n"
#define OF_BIG(name) "-- name: " name "\n-- source: big\n-- setup\n"                               \
		     "CREATE TABLE IF NOT EXISTS " name "(rows INTEGER);\n"                         \
		     "-- apply\nINSERT INTO " name                                                 \
		     " SELECT count(*) FROM big WHERE id > @last AND id <= @max;\n"                 \
		     "-- reset\nDELETE FROM " name ";\n"

static void set_up_chain(struct scene *s, const char *big)
{
	set_up_rows(s, ROWS);
	scene_file(s, "big.sql", big);
	scene_file(s, "counts.sql", OF_BIG("counts"));
	scene_file(s, "far.sql", "-- into: far.db\n" OF_BIG("far"));
	scene_file(s, "later.sql", OF_BIG("later"));
	scene_file(s, "sums.sql", HEAD SETUP APPLY);
	scene_catch_up(s, "big.sql");
	scene_catch_up(s, "counts.sql");
	scene_catch_up(s, "far.sql");
	scene_catch_up(s, "later.sql");
	scene_catch_up(s, "sums.sql");
	/* One that follows it and has done nothing of it since its own reset. */
	reset(s, 0, "-> 0, results cleared", "later", NULL, NULL);
}

/* Which consumers a reset warns of, and how. */
static void expect_warned(struct scene *s, const char *consumer, const char *option, const char *how,
	const char *const *names, size_t n)
{
	struct program p = {.folder = s->folder};
	size_t lines = 0;

	assert_int_equal(program_run(&p, "reset", s->database, consumer, option), 0);
	for (size_t i = 0; i < n; i++) {
		char line[200];

		snprintf(line, sizeof(line), " warn  %s: consumer '%s' follows table '%s', which was %s",
			consumer, names[i], consumer, how);
		help_expect(p.err.text, line);
	}
	for (const char *at = p.err.text; (at = strstr(at, "follows table")) != NULL; at++)
		lines++;
	if (lines != n)
		fail_msg("%zu warned of, not %zu: %s", lines, n, p.err.text);
	program_free(&p);
}

static void who_follows_a_cleared_table_is_named(void **state)
{
	struct scene *s = *state;

	set_up_chain(s, BIG "-- reset\nDELETE FROM big;\n");
	expect_warned(s, "big", NULL, "cleared: reset it too, or rows that are written again count twice",
		(const char *const[]){"counts", "far"}, 2);
	/* Done as it says, nothing counts twice, and nobody is left to be named. */
	expect_warned(s, "counts", NULL, "", NULL, 0);
	expect_warned(s, "far", NULL, "", NULL, 0);
	scene_catch_up(s, "big.sql");
	scene_catch_up(s, "counts.sql");
	scene_catch_up(s, "far.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM counts"), ROWS);
	assert_int_equal(test_number(scene_path(s, "far.db"), "SELECT sum(rows) FROM far"), ROWS);
	/* Going forward writes nothing again. */
	set_up_rows(s, 10);
	expect_warned(s, "big", "--to-newest", "", NULL, 0);
}

static void a_table_that_is_dropped_is_cleared(void **state)
{
	struct scene *s = *state;

	set_up_chain(s, BIG "-- reset\nDROP TABLE big;\n");
	expect_warned(s, "big", NULL, "cleared", (const char *const[]){"counts", "far"}, 2);
}

static void who_follows_results_that_are_kept_is_named_too(void **state)
{
	struct scene *s = *state;

	set_up_chain(s, BIG);
	expect_warned(s, "big", "--keep-results", "not cleared: rows that are written to it again",
		(const char *const[]){"counts", "far"}, 2);
	expect_warned(s, "sums", "--keep-results", "", NULL, 0);
}

/* ---- what is refused changes nothing ---------------------------------------------------------- */

static void refused(struct scene *s, int exit_code, const char *said, const char *consumer,
	const char *option, const char *value)
{
	reset(s, exit_code, said, consumer, option, value);
	assert_int_equal(help_watermark(s->database, "sums"), ROWS);
	assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
}

static void what_would_apply_rows_twice_is_refused_unless_it_is_meant(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY);
	scene_catch_up(s, "sums.sql");
	refused(s, 2, "section 'reset'", "sums", NULL, NULL);
	refused(s, 2, "with --keep-results", "sums", NULL, NULL);
	reset(s, 0, "watermark 200 -> 0, results kept\n", "sums", "--keep-results", NULL);
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM sums"), 400);
}

static void a_reset_that_fails_leaves_all_as_it_was(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\nDELETE FROM nowhere;\n");
	scene_catch_up(s, "sums.sql");
	refused(s, 2, "no such table: nowhere", "sums", NULL, NULL);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\nDELETE FROM numbers;\n");
	refused(s, 2, "consumer 'sums'", "sums", NULL, NULL);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\nDELETE FROM catchup;\n");
	refused(s, 2, "consumer 'sums'", "sums", NULL, NULL);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), ROWS);
}

static void an_id_that_was_never_given_is_refused(void **state)
{
	struct scene *s = *state;

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY);
	scene_catch_up(s, "sums.sql");
	refused(s, 2, "id 201 is above 200", "sums", "--to", "201");
	refused(s, 2, "outside 0 to", "sums", "--to", "-1");
	refused(s, 2, "nobody", "nobody", NULL, NULL);
}

static void what_is_running_is_left_alone(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sums;\n");
	program_start(&p, "run", s->database, "sums.sql", "--lease-ms", "3600000");
	program_expect_err(&p, "follows");
	scene_until(s, s->database, "SELECT EXISTS (SELECT * FROM catchup WHERE last = 200)");
	refused(s, 5, "runs it; stop that first", "sums", NULL, NULL);
	program_signal(&p, SIGTERM);
	program_finish(&p);
	program_free(&p);
	reset(s, 0, "results cleared", "sums", NULL, NULL);
}

/* "random bytes": the message is about the file, not about the name. */
static void a_database_that_cannot_be_asked_is_not_taken_for_an_unknown_name(void **state)
{
	struct scene *s = *state;
	FILE *file = fopen(s->database, "w");

	assert_non_null(file);
	for (int i = 0; i < 4096; i++)
		fputc(i * 7 % 251 + 1, file);
	fclose(file);
	reset(s, 1, "not a database, or encrypted", "sums", NULL, NULL);
}

static void check_tries_it_and_changes_nothing(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	const char *good, *bad;

	set_up_rows(s, ROWS);
	good = scene_file(s, "sums.sql", HEAD SETUP APPLY "-- reset\nDROP TABLE sums;\n");
	bad = scene_file(s, "bad.sql", HEAD SETUP APPLY "-- reset\nDELETE FROM sum;\n");
	scene_catch_up(s, "sums.sql");
	assert_int_equal(program_run(&p, "check", good, "--database", s->database), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "check", bad, "--database", s->database), 2);
	help_expect(p.err.text, "bad.sql:8");
	help_expect(p.err.text, "no such table: sum");
	program_free(&p);
	assert_int_equal(scene_number(s, SUMS_OF(0, 200)), 1);
}

static void a_name_that_was_mistyped_comes_with_the_nearest(void **state)
{
	struct scene *s = *state;
	const char *const commands[][7] = {
		{"reset", s->database, "smus"},
		{"forget", s->database, "smus"},
		{"verify", s->database, "sums", "smus"},
		{"dead", "list", s->database, "--consumer", "smus"},
		{"wait", s->database, "--until", "1", "--consumer", "smus"},
	};

	set_up_rows(s, ROWS);
	scene_file(s, "sums.sql", HEAD SETUP APPLY);
	scene_catch_up(s, "sums.sql");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct program p = {.folder = s->folder};

		program_start_with(&p, commands[i]);
		assert_int_equal(program_finish(&p), 2);
		help_expect(p.err.text, "smus");
		help_expect(p.err.text, "; did you mean 'sums'?");
		program_free(&p);
	}
	/* What is wrong is not its name. */
	refused(s, 2, "the highest that its source has given\n", "sums", "--to", "201");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(back_to_the_beginning_every_row_is_done_once_again),
		SCENE_TEST(tables_are_made_anew_for_a_file_that_has_changed),
		SCENE_TEST(results_in_another_file_are_cleared_there),
		SCENE_TEST(going_forward_skips_rows_and_says_how_many),
		SCENE_TEST(on_to_the_newest_keeps_results_also_where_it_goes_back),
		SCENE_TEST(another_source_under_the_same_name_is_refused),
		SCENE_TEST(another_source_is_refused_also_where_results_are_elsewhere),
		SCENE_TEST(a_file_that_makes_another_consumer_now_is_not_taken_for_the_old_one),
		SCENE_TEST(dead_letters_above_it_go),
		SCENE_TEST(who_follows_a_cleared_table_is_named),
		SCENE_TEST(a_table_that_is_dropped_is_cleared),
		SCENE_TEST(who_follows_results_that_are_kept_is_named_too),
		SCENE_TEST(what_would_apply_rows_twice_is_refused_unless_it_is_meant),
		SCENE_TEST(a_reset_that_fails_leaves_all_as_it_was),
		SCENE_TEST(an_id_that_was_never_given_is_refused),
		SCENE_TEST(what_is_running_is_left_alone),
		SCENE_TEST(a_database_that_cannot_be_asked_is_not_taken_for_an_unknown_name),
		SCENE_TEST(check_tries_it_and_changes_nothing),
		SCENE_TEST(a_name_that_was_mistyped_comes_with_the_nearest),
	};

	return cmocka_run_group_tests_name("reset", tests, NULL, NULL);
}
