/* SPDX-License-Identifier: MIT */
/*
 * Bad input: SQL consumer files. What each gets from the program: a message that says what, which and
 * why, exit code 2 before anything runs or 4 when it happens at run time, and a watermark that stays.
 */
#include "help.h"

#include <catchup/consumer.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "-- name: bad\n-- source: numbers\n"
#define ROW "-- row\nINSERT INTO copy VALUES(@id, @n);\n"
#define RANGE " WHERE id > @last AND id <= @max"

static void set_up_numbers(struct scene *s)
{
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO numbers(n) VALUES(10), (20), (30);"
		     "CREATE TABLE copy(id INTEGER PRIMARY KEY, n)");
}

/* Runs a consumer file; it must end with this code and say these things (NULL: nothing more), and
 * nothing may have come of it. */
static void refused(struct scene *s, const char *path, int exit_code, const char *first,
	const char *second)
{
	struct program p = {0};

	program_run(&p, "run", s->database, path, "--until-caught-up");
	if (p.exit_code != exit_code)
		fail_msg("exit code %d, not %d: %s", p.exit_code, exit_code, p.err.text);
	help_expect(p.err.text, first);
	if (second)
		help_expect(p.err.text, second);
	assert_string_equal(p.out.text, "");
	program_free(&p);
	assert_true(help_watermark(s->database, "bad") <= 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 0);
}

/* "empty, binary, 1 GiB, a folder, a FIFO (no hang)" */
static void files_that_are_no_text(void **state)
{
	struct scene *s = *state;
	char *path = scene_path(s, "bad.sql");

	set_up_numbers(s);
	test_write_file(path, "");
	refused(s, path, 2, path, "empty");
	test_write_file(path, "\x7f" "ELF\x02\x01\x01");
	assert_int_equal(truncate(path, 64), 0);
	refused(s, path, 2, path, "the file is binary (byte 0 at offset 7)");
	assert_int_equal(truncate(path, 1 << 30), 0);
	refused(s, path, 2, path, "1073741824 bytes");
	assert_int_equal(unlink(path), 0);
	refused(s, path, 2, path, "No such file");
	assert_int_equal(mkdir(path, 0700), 0);
	refused(s, path, 2, path, "is a folder");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(s, path, 2, path, "is a FIFO");
}

/* "CRLF, byte-order mark (both accepted)" */
static void windows_files_are_accepted(void **state)
{
	struct scene *s = *state;
	struct program p = {0};
	char *path = scene_file(s, "windows.sql",
		"\xef\xbb\xbf-- name: windows\r\n-- source: numbers\r\n-- row\r\n"
		"INSERT INTO copy\r\n VALUES(@id, @n);\r\n");

	set_up_numbers(s);
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT sum(n) FROM copy"), 60);
}

static void files_that_make_no_consumer(void **state)
{
	static const struct {
		const char *text;
		const char *first, *second;
	} cases[] = {
		/* "no name, unknown header key (suggest), unknown section, section twice, `apply`
		 * beside `row`" */
		{"-- source: numbers\n" ROW, "bad.sql", "name"},
		{"-- name: bad\n-- sorce: numbers\n" ROW, "bad.sql:2: ", "did you mean 'source'?"},
		{HEAD "-- setp\nSELECT 1;\n" ROW, "bad.sql", "did you mean 'setup'?"},
		{HEAD ROW ROW, "bad.sql:5: ", "'row'"},
		{HEAD ROW "-- apply\nDELETE FROM copy" RANGE ";\n", "bad.sql", "'apply'"},
		/* "syntax error (with file and line)" */
		{HEAD "-- row\nINSERT INTO copy\n VALUS(@id, @n);\n", "bad.sql:5: ",
			"near \"VALUS\": syntax error"},
		{HEAD "-- next\nSELECT id, n FROM numbers" RANGE "\n ORDER BYE id;\n" ROW, "bad.sql",
			"syntax error"},
		{HEAD "-- setup\nCREATE TABEL x(y);\n" ROW, "bad.sql:4: ", "near \"TABEL\": syntax error"},
		{HEAD "-- row\nINSERT INTO nowhere VALUES(@id);\n", "bad.sql:4: ",
			"no such table: nowhere"},
		{HEAD "-- row\nINSERT INTO copy VALUES(@id, nosuch);\n", "bad.sql:4: ",
			"no such column: nosuch"},
		/* "`@last` or `@max` missing, further parameters without a column" */
		{HEAD "-- apply\nINSERT INTO copy SELECT id, n FROM numbers WHERE id > @last;\n", "bad.sql:3: ",
			"does not use @max"},
		{HEAD "-- apply\nINSERT INTO copy SELECT id, n FROM numbers WHERE id <= @max;\n", "bad.sql:3: ",
			"does not use @last"},
		{HEAD "-- next\nSELECT id, n FROM numbers WHERE id > @last ORDER BY id;\n" ROW,
			"next query", "@max"},
		{HEAD "-- row\nINSERT INTO copy VALUES(@id, @nothing);\n", "bad.sql:4: ", "@nothing"},
		{HEAD "-- apply\nINSERT INTO copy SELECT id, @n FROM numbers" RANGE ";\n", "bad.sql:4: ",
			"@n"},
		{HEAD "-- row\nINSERT INTO copy VALUES(?, ?);\n", "bad.sql:4: ", "?"},
		/* "a statement that returns rows where none are used" */
		{HEAD "-- row\nSELECT @id;\n", "bad.sql:4: ", "returns rows"},
		{HEAD "-- row\nINSERT INTO copy VALUES(@id, @n) RETURNING id;\n", "bad.sql:4: ",
			"returns rows"},
		{HEAD "-- apply\nSELECT id FROM numbers" RANGE ";\n", "bad.sql:4: ", "returns rows"},
		/* "`max` or `next` without its column" */
		{HEAD "-- next\nSELECT n FROM numbers" RANGE ";\n" ROW, "next query",
			"returns no column 'id'"},
		{HEAD "-- max\nSELECT max(id) FROM numbers;\n" ROW, "max query",
			"returns no column 'max'"},
		{HEAD "-- next\nSELECT id, n, n AS id FROM numbers" RANGE ";\n" ROW, "next query",
			"more than one column 'id'"},
		/* queries that are none */
		{HEAD "-- next\nDELETE FROM copy WHERE id > @last AND id <= @max RETURNING id, n;\n" ROW,
			"next query", "it writes"},
		{HEAD "-- on-error: explode\n" ROW, "on-error 'explode'", "park-key(COLUMN)"},
	};
	struct scene *s = *state;
	char *path = scene_path(s, "bad.sql");

	set_up_numbers(s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		test_write_file(path, cases[i].text);
		refused(s, path, 2, cases[i].first, cases[i].second);
	}
}

static int count_without_end(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)state;
	(void)result;
	if (sqlite3_column_int64(row, 0) == 2 &&
		sqlite3_exec(ctx->db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
				      " SELECT count(*) FROM c", NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "counting");
	return CATCHUP_ROW_APPLIED;
}

static int copy_id(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	char sql[64];

	(void)state;
	(void)result;
	snprintf(sql, sizeof(sql), "INSERT INTO copy(id) VALUES(%lld)", (long long)id);
	return sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "copying");
}

/* "endless recursion or a cross join of millions: stopped after a deadline, watermark unmoved" */
static void statements_without_an_end_are_interrupted(void **state)
{
	static const char *const files[] = {
		"-- name: bad\n-- source: numbers\n-- row\nINSERT INTO copy VALUES(@id,"
		" (WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM"
		" c));\n",
		"-- name: bad\n-- source: numbers\n-- apply\nINSERT INTO copy SELECT @last, @max +"
		" (WITH RECURSIVE m(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM m LIMIT 4000000)"
		" SELECT sum(a.i * b.i) FROM m AS a, m AS b);\n",
	};
	static const struct catchup_consumer maps = {CATCHUP_CONSUMER_ABI, .name = "maps",
		.source = "numbers", .map = count_without_end, .apply = copy_id, .on_error = "park"};
	struct scene *s = *state;
	struct program p[2] = {{0}, {0}};
	char *databases[2] = {scene_path(s, "first.db"), scene_path(s, "second.db")};

	/* Each has seconds to wait for, so all wait at once. */
	set_up_numbers(s);
	scene_open(s, NULL);
	scene_add_table(s, &maps);
	scene_start(s);
	for (int i = 0; i < 2; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%d.sql", i);
		test_sql(databases[i], "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
				       "INSERT INTO numbers(n) VALUES(1); CREATE TABLE copy(id, n)");
		program_start(&p[i], "run", databases[i], scene_file(s, name, files[i]));
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(program_finish(&p[i]), 4);
		help_expect(p[i].err.text, "consumer 'bad' stopped at row 1 (watermark 0)");
		help_expect(p[i].err.text, "interrupted: a transaction may take 5020 ms");
		program_free(&p[i]);
		assert_true(help_watermark(databases[i], "bad") <= 0);
		assert_int_equal(test_number(databases[i], "SELECT count(*) FROM copy"), 0);
	}
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(help_watermark(s->database, "maps"), 3);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy WHERE id <> 2"), 2);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead WHERE id = 2 AND message LIKE"
		" '%%counting: interrupted: a transaction may take 5020 ms of processor time'"), 1);
}

/* "One bad consumer stops alone; the others go on, and the exit code is told at the end." Wrong at the
 * start, nothing runs at all: that is wrong usage. */
static void a_file_that_is_wrong_lets_nothing_start(void **state)
{
	struct scene *s = *state;
	struct program p = {0};
	char *good = scene_file(s, "good.sql", "-- name: good\n-- source: numbers\n" ROW);
	char *bad = scene_file(s, "bad.sql", HEAD "-- row\nINSERT INTO copy VALUES(@id, @n, 3);\n");

	set_up_numbers(s);
	assert_int_equal(program_run(&p, "run", s->database, good, bad, "--until-caught-up"), 2);
	help_expect(p.err.text, "bad.sql:4: ");
	program_free(&p);
	assert_true(help_watermark(s->database, "good") <= 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 0);
}

/* What `setup` has made goes with it, and nobody has ever heard of it. */
static void of_a_file_that_is_wrong_nothing_is_left(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"-- row\nINSERT INTO mades VALUES(@id);\n", "no such table: mades"},
		{"-- row\nINSERT INTO made VALUES(@idd);\n", "parameter '@idd' is no column"},
		{"-- apply\nINSERT INTO made SELECT id FROM numbers WHERE id > @last;\n", "does not use @max"},
		{"-- apply\nINSERT INTO made SELECT id, 1 FROM numbers WHERE id > @last AND id <= @max;\n",
			"table made has 1 columns"},
		{"-- next\nSELECT n FROM numbers WHERE id > @last AND id <= @max;\n"
		 "-- row\nINSERT INTO made VALUES(@n);\n", "column 'id'"},
		{"-- row\nINSERT INTO made VALUES(@id);\n", "its rows have no such column"},
	};
	struct scene *s = *state;
	char *results = scene_path(s, "results.db");

	set_up_numbers(s);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) * 2; i++) {
		bool into = i % 2;
		char text[512];
		sqlite3 *db;

		snprintf(text, sizeof(text), "-- name: wrong\n-- source: numbers\n%s-- on-error: park%s\n-- setup\n"
			"CREATE TABLE made(id);\n%s",
			into ? "-- into: results.db\n" : "", i / 2 == 5 ? "-key(none)" : "", cases[i / 2].text);
		refused(s, scene_file(s, "wrong.sql", text), 2, cases[i / 2].why, NULL);
		db = help_connect(into ? results : s->database);
		help_exec(db, "CREATE TABLE made(id); DROP TABLE made");
		sqlite3_close(db);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_consumer"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(files_that_are_no_text),
		SCENE_TEST(windows_files_are_accepted),
		SCENE_TEST(files_that_make_no_consumer),
		SCENE_TEST(statements_without_an_end_are_interrupted),
		SCENE_TEST(a_file_that_is_wrong_lets_nothing_start),
		SCENE_TEST(of_a_file_that_is_wrong_nothing_is_left),
	};

	return cmocka_run_group_tests_name("rules_input_consumer", tests, NULL, NULL);
}
