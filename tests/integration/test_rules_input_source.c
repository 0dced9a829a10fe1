/* SPDX-License-Identifier: MIT */
/*
 * Bad input: sources. What cannot be followed is refused before anything runs; what stops fitting
 * while it is followed stops its consumer with the reason; odd but sound data passes byte for byte.
 */
#include "help.h"

#include <catchup/consumer.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROW "-- setup\nCREATE TABLE IF NOT EXISTS copy(id, n);\n-- row\nINSERT INTO copy VALUES(@id, 1);\n"

static void refused(struct scene *s, int exit_code, const char *setup, const char *file,
	const char *first, const char *second)
{
	struct program p = {0};
	char *database = scene_path(s, "refused.db");
	char *path = scene_file(s, "bad.sql", file);

	test_sql(database, "PRAGMA journal_mode = WAL");
	test_sql(database, setup);
	program_run(&p, "run", database, path, "--until-caught-up");
	if (p.exit_code != exit_code)
		fail_msg("exit code %d, not %d: %s: %s", p.exit_code, exit_code, setup, p.err.text);
	help_expect(p.err.text, first);
	if (second)
		help_expect(p.err.text, second);
	/* Told once: nothing of it passes by itself. */
	if (strstr(p.err.text, "trying again"))
		fail_msg("%s", p.err.text);
	program_free(&p);
	assert_true(help_watermark(database, "bad") <= 0);
	if (test_number(database, "SELECT count(*) FROM sqlite_schema WHERE name = 'copy'"))
		assert_int_equal(test_number(database, "SELECT count(*) FROM copy"), 0);
	assert_int_equal(remove(database), 0);
	s->n_owned -= 2;
	free(s->owned[s->n_owned]);
	free(s->owned[s->n_owned + 1]);
}

static void tables_that_cannot_be_followed(void **state)
{
	static const struct {
		const char *setup, *file, *first, *second;
	} cases[] = {
		/* "no such table" */
		{"CREATE TABLE other(id INTEGER PRIMARY KEY)", "-- name: bad\n-- source: numbers\n" ROW,
			"consumer 'bad': source 'numbers': ", "no such table"},
		/* "a view without a declared id" */
		{"CREATE VIEW numbers AS SELECT 1 AS n", "-- name: bad\n-- source: numbers\n" ROW,
			"source 'numbers'", "the view has no column 'id'"},
		{"CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, n); CREATE VIEW numbers AS SELECT id, n FROM a",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'",
			"declare it (in a file '-- id: id')"},
		/* "hostile schema (views, ... calling functions)" */
		{"CREATE TABLE a(id INTEGER PRIMARY KEY); INSERT INTO a VALUES(1);"
		 "CREATE VIEW numbers AS SELECT id, load_extension('evil.so') AS n FROM a",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'",
			"unsafe use of load_extension()"},
		/* "virtual and shadow tables" */
		{"CREATE VIRTUAL TABLE numbers USING fts5(n)", "-- name: bad\n-- source: numbers\n" ROW,
			"source 'numbers'", "a virtual table cannot be a source"},
		{"CREATE VIRTUAL TABLE words USING fts5(n)", "-- name: bad\n-- source: words_content\n" ROW,
			"source 'words_content'", "a shadow table cannot be a source"},
		/* "sqlite_* tables" */
		{"CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT)",
			"-- name: bad\n-- source: sqlite_sequence\n-- id: rowid\n" ROW,
			"source 'sqlite_sequence'", "SQLite's own"},
		{"CREATE TABLE a(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- source: sqlite_schema\n-- id: rowid\n" ROW,
			"source 'sqlite_schema'", "SQLite's own"},
		/* "WITHOUT ROWID without an integer key" */
		{"CREATE TABLE numbers(id TEXT PRIMARY KEY, n) WITHOUT ROWID",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'", "'id'"},
		{"CREATE TABLE numbers(id TEXT PRIMARY KEY, n) WITHOUT ROWID",
			"-- name: bad\n-- source: numbers\n-- id: rowid\n" ROW, "source 'numbers'",
			"rowid"},
		{"CREATE TABLE numbers(id INTEGER, n)", "-- name: bad\n-- source: numbers\n" ROW,
			"source 'numbers'", "'id'"},
		{"CREATE TABLE numbers(key INTEGER PRIMARY KEY, n)", "-- name: bad\n-- source: numbers\n" ROW,
			"source 'numbers'", "'id'"},
		/* "`max` or `next` without its column": test_rules_input_consumer.c; neither at all */
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- max\nSELECT 1 AS max;\n" ROW, "bad.sql", "next"},
		/* "0, negative (a source with ids below 1 is an error at start: they would never be seen)" */
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY); INSERT INTO numbers VALUES(0), (1)",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'", "a row has id 0"},
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY); INSERT INTO numbers VALUES(-7), (1)",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'", "a row has id -7"},
		/* "id NULL" */
		{"CREATE TABLE numbers(id INTEGER UNIQUE); INSERT INTO numbers VALUES(NULL), (1)",
			"-- name: bad\n-- source: numbers\n" ROW, "source 'numbers'",
			"a row has NULL in column 'id'"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(*state, 2, cases[i].setup, cases[i].file, cases[i].first, cases[i].second);
}

/* With results in another file the source is attached as `source`, but not where `max` is asked. */
static void a_max_that_names_another_schema_is_refused(void **state)
{
#define BEFORE_MAX "-- name: bad\n-- into: results.db\n-- setup\nCREATE TABLE IF NOT EXISTS copy(n);\n-- max\n"
#define AFTER_MAX                                                                                   \
	";\n-- next\nSELECT id FROM source.numbers WHERE id > @last AND id <= @max ORDER BY id;\n"   \
	"-- row\nINSERT INTO copy VALUES(@id);\n"
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{BEFORE_MAX "SELECT max(id) AS max FROM source.numbers" AFTER_MAX,
			"max query: no such table: source.numbers"},
		{BEFORE_MAX "SELECT max(n) AS max FROM copy" AFTER_MAX, "max query: no such table: copy"},
	};
	static const char right[] = BEFORE_MAX "SELECT max(id) AS max FROM numbers" AFTER_MAX;
	struct scene *s = *state;
	char *path = scene_path(s, "bad.sql"), *results = scene_path(s, "results.db");

	scene_sql(s, NUMBERS);
	scene_insert(s, 3);
	for (size_t i = 0; i < 2 * sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct program p = {0};

		test_write_file(path, wrong[i / 2].text);
		if (i % 2)
			program_run(&p, "run", s->database, path, "--until-caught-up");
		else
			program_run(&p, "check", path, "--database", s->database);
		assert_int_equal(p.exit_code, 2);
		help_expect(p.err.text, wrong[i / 2].why);
		help_expect(p.err.text, "leave 'source.' out");
		program_free(&p);
	}
	assert_int_equal(test_number(results, "SELECT count(*) FROM catchup_consumer"), 0);
	assert_int_equal(test_number(results, "SELECT count(*) FROM sqlite_schema WHERE name = 'copy'"), 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'catchup%%'"), 0);
	test_write_file(path, right);
	scene_run(s, NULL, path);
	assert_int_equal(test_number(results, "SELECT count(*) FROM copy"), 3);
#undef BEFORE_MAX
#undef AFTER_MAX
}

static void ids_that_are_no_integers(void **state)
{
	static const struct {
		const char *setup, *file, *message;
	} cases[] = {
		/* "id NULL, text, real, blob, 0, negative" of `max`; those of `next` are in
		 * rule_04_what_is_out_of_order_is_an_error_that_names_it */
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- source: numbers\n-- max\nSELECT 'x' AS max;\n" ROW,
			"max query returned id 'x', which is not an integer"},
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- source: numbers\n-- max\nSELECT 1.5 AS max;\n" ROW,
			"max query returned id '1.5', which is not an integer"},
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- source: numbers\n-- max\nSELECT x'01' AS max;\n" ROW,
			"max query returned a blob as id"},
		{"CREATE TABLE numbers(id INTEGER PRIMARY KEY)",
			"-- name: bad\n-- source: numbers\n-- max\nSELECT -3 AS max;\n" ROW,
			"max query returned id -3; ids begin at 1"},
		/* a column that is unique but may hold anything */
		{"CREATE TABLE numbers(id INTEGER UNIQUE); INSERT INTO numbers VALUES('text')",
			"-- name: bad\n-- source: numbers\n" ROW,
			"query returned id 'text', which is not an integer"},
		{"CREATE TABLE numbers(id INTEGER UNIQUE); INSERT INTO numbers VALUES(x'00')",
			"-- name: bad\n-- source: numbers\n" ROW, "query returned a blob as id"},
		{"CREATE TABLE numbers(id INTEGER UNIQUE); INSERT INTO numbers VALUES(1.5)",
			"-- name: bad\n-- source: numbers\n" ROW,
			"query returned id '1.5', which is not an integer"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		refused(*state, 4, cases[i].setup, cases[i].file, cases[i].message, NULL);
}

/* "hostile schema (... generated columns calling functions)": one that fails when it is read stops the
 * consumer with its words, and nothing is passed over. */
static void a_generated_column_that_fails_stops_with_4(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO numbers(n) VALUES(1), (-9223372036854775807 - 1), (3);"
		     "ALTER TABLE numbers ADD COLUMN g AS (abs(n))");
	assert_int_equal(program_run(&p, "run", s->database,
				 scene_file(s, "copies.sql", "-- name: copies\n-- source: numbers\n"
					 "-- setup\nCREATE TABLE IF NOT EXISTS copy(id, g);\n"
					 "-- row\nINSERT INTO copy VALUES(@id, @g);\n"),
				 "--until-caught-up"), 4);
	help_expect(p.err.text, "consumer 'copies' stopped");
	help_expect(p.err.text, "integer overflow");
	program_free(&p);
	assert_in_range(help_watermark(s->database, "copies") + 1, 0, 2);
	assert_true(scene_number(s, "SELECT count(*) FROM copy") <= 1);
}

/* "newest id below the watermark": ids were reused, or the table was replaced */
static void a_source_that_goes_backwards_stops_with_6(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", "-- name: copies\n-- source: numbers\n" ROW);
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY, n);"
		     "INSERT INTO numbers VALUES(1, 1), (2, 2), (3, 3)");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	/* "no AUTOINCREMENT (warning)" */
	help_expect(p.err.text, "numbers: the source's id is not AUTOINCREMENT");
	program_free(&p);
	scene_sql(s, "DELETE FROM numbers WHERE id > 1");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 6);
	help_expect(p.err.text, "consumer 'copies' stopped (watermark 3): ");
	help_expect(p.err.text, "source 'numbers' went backwards: its newest id is 1, below 3");
	help_expect(p.err.text, "AUTOINCREMENT");
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "copies"), 3);
	/* While it runs, too. */
	scene_sql(s, "INSERT INTO numbers VALUES(3, 3)");
	program_start(&p, "run", s->database, file);
	program_expect_err(&p, "follows 'numbers'");
	scene_sql(s, "INSERT INTO numbers VALUES(10, 10)");
	scene_until(s, s->database, "SELECT last = 10 FROM catchup");
	scene_sql(s, "DELETE FROM numbers");
	assert_int_equal(program_finish(&p), 6);
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "copies"), 10);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 4);
}

/* With AUTOINCREMENT the newest rows may be deleted: their ids never come again. */
static void deleting_the_newest_rows_is_no_harm_with_autoincrement(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", "-- name: copies\n-- source: numbers\n" ROW);
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		     "INSERT INTO numbers(n) VALUES(1), (2), (3)");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	assert_null(strstr(p.err.text, "is not AUTOINCREMENT"));
	program_free(&p);
	scene_sql(s, "DELETE FROM numbers");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	scene_sql(s, "INSERT INTO numbers(n) VALUES(4)");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "copies"), 4);
	assert_string_equal(scene_text(s, "SELECT group_concat(id, ' ') FROM copy"), "1 2 3 4");
}

/* "rowid without an alias and VACUUM (warning)" */
static void a_bare_rowid_is_followed_with_a_warning(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql",
		"-- name: copies\n-- source: numbers\n-- id: rowid\n" ROW);
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(n); INSERT INTO numbers VALUES(1), (2), (3)");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	help_expect(p.err.text, "VACUUM renumbers it");
	program_free(&p);
	assert_string_equal(scene_text(s, "SELECT group_concat(id, ' ') FROM copy"), "1 2 3");
}

/* "the table dropped, renamed, its columns changed while running (prepare again; stop with the reason
 * if it no longer fits)" */
static void the_table_changes_while_it_is_followed(void **state)
{
	static const struct {
		const char *change, *message; /* NULL: it goes on */
		const char *insert;
	} cases[] = {
		{"DROP TABLE numbers", "the table was dropped, renamed or altered", NULL},
		{"ALTER TABLE numbers RENAME TO figures", "the table was dropped, renamed or altered",
			NULL},
		{"ALTER TABLE numbers RENAME COLUMN id TO key",
			"the table was dropped, renamed or altered", NULL},
		{"ALTER TABLE numbers RENAME COLUMN n TO m", "@n", "INSERT INTO numbers(m) VALUES(4)"},
		{"ALTER TABLE numbers ADD COLUMN extra", NULL, "INSERT INTO numbers(n) VALUES(4)"},
		{"ALTER TABLE numbers DROP COLUMN other", NULL, "INSERT INTO numbers(n) VALUES(4)"},
		{"CREATE INDEX by_n ON numbers(n)", NULL, "INSERT INTO numbers(n) VALUES(4)"},
		{"VACUUM", NULL, "INSERT INTO numbers(n) VALUES(4)"},
	};
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql",
		"-- name: copies\n-- source: numbers\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS copy(id, n);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @n);\n");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct program p = {0};

		scene_sql(s, "DROP TABLE IF EXISTS numbers; DROP TABLE IF EXISTS figures;"
			     "DROP TABLE IF EXISTS copy; DROP TABLE IF EXISTS catchup;"
			     "CREATE TABLE numbers(other, id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
			     "INSERT INTO numbers(n) VALUES(1), (2), (3)");
		program_start(&p, "run", s->database, file);
		program_expect_err(&p, "follows 'numbers'");
		scene_until(s, s->database, "SELECT last = 3 FROM catchup");
		scene_sql(s, "%s", cases[i].change);
		if (cases[i].insert)
			scene_sql(s, "%s", cases[i].insert);
		if (cases[i].message) {
			assert_int_equal(program_finish(&p), 4);
			help_expect(p.err.text, "consumer 'copies' stopped");
			help_expect(p.err.text, cases[i].message);
			assert_int_equal(help_watermark(s->database, "copies"), 3);
			assert_int_equal(scene_number(s, "SELECT sum(n) FROM copy"), 6);
		} else {
			scene_until(s, s->database, "SELECT last = 4 FROM catchup");
			program_signal(&p, SIGTERM);
			assert_int_equal(program_finish(&p), 0);
			assert_int_equal(scene_number(s, "SELECT sum(n) FROM copy"), 10);
		}
		program_free(&p);
	}
}

/* "a row deleted between range and read (counted)": it was never offered; how many they were is counted,
 * logged and shown. The consumer stays in row 1, of a range of 100 rows, while some of them go. */
static struct scene *deleting;

static int deleting_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	if (sqlite3_column_int64(row, 0) == 1)
		scene_sql(deleting, "DELETE FROM numbers WHERE id BETWEEN 50 AND 60 OR id = 100");
	return CATCHUP_ROW_APPLIED;
}

static void a_row_deleted_between_range_and_read_was_not_offered(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "deletes",
		.source = "numbers", .into = "results.db", .row = deleting_row};
	const struct catchup_options options = {.batch_rows = 1};
	struct scene *s = *state;
	struct catchup_status *status = NULL;
	struct program p = {0};

	deleting = s;
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 100)"
		     " INSERT INTO numbers(n) SELECT i FROM c");
	scene_open(s, &options);
	scene_add_table(s, &table);
	scene_start(s);
	/* It has caught up at 99, the newest that is there; its range ends at 100. */
	scene_until(s, scene_path(s, "results.db"), "SELECT last = 100 FROM catchup");
	/* Which the runtime notes right after the commit. */
	do {
		catchup_status_free(status);
		assert_int_equal(catchup_status(s->runtime, &status, NULL), CATCHUP_OK);
	} while (status->consumers[0].watermark < 100);
	assert_int_equal(status->consumers[0].offered, 88);
	assert_int_equal(status->consumers[0].applied, 88);
	assert_int_equal(status->consumers[0].vanished, 12);
	catchup_status_free(status);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	scene_expect_log(s, "deletes: 12 of the rows up to 100 were deleted before they were read");
	assert_int_equal(program_run(&p, "status", s->database), 0);
	help_expect(p.out.text, "deletes: 12 rows were deleted before they were read\n");
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].vanished", "12");
	program_free(&p);
	/* Of a database that an earlier version has made nothing is known. */
	test_sql(scene_path(s, "results.db"), "ALTER TABLE catchup_state DROP COLUMN vanished;"
		" ALTER TABLE catchup_state DROP COLUMN attempt_fence");
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].offered", "88");
	test_json_is(p.out.text, "$.consumers[0].vanished", "0");
	program_free(&p);
	scene_open(s, &options);
	scene_add_table(s, &table);
	scene_start(s);
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1)");
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(test_number(scene_path(s, "results.db"), "SELECT vanished FROM catchup_state"), 0);
}

/* "2,000 columns", "invalid UTF-8 and NUL in text (passed through byte for byte)" */
static void odd_rows_pass_byte_for_byte(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql",
		"-- name: copies\n-- source: numbers\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS copy(id, a, b, c);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @c1, @c1000, @c1999);\n");
	char *ranges = scene_file(s, "ranges.sql",
		"-- name: ranges\n-- source: numbers\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS range_copy(id, a, b, c);\n"
		"-- apply\nINSERT INTO range_copy SELECT id, c1, c1000, c1999 FROM numbers"
		" WHERE id > @last AND id <= @max;\n");
	/* The row that is remembered beside results elsewhere has all columns too. */
	char *elsewhere = scene_file(s, "elsewhere.sql",
		"-- name: elsewhere\n-- source: numbers\n-- into: results.db\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS copy(id, a);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @c1999);\n");
	struct program p = {0};

	{
		char *sql = malloc(32 * 2000), *end = sql;

		end += sprintf(end, "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT");
		for (int i = 1; i < 2000; i++)
			end += sprintf(end, ", c%d", i);
		strcpy(end, ")");
		test_sql(s->database, sql);
		free(sql);
	}
	scene_sql(s, "INSERT INTO numbers(c1, c1000, c1999) VALUES"
		     " (CAST(x'fffe80' AS TEXT), CAST(x'610062' AS TEXT), zeroblob(5000000)),"
		     " (x'00', CAST(x'eda080' AS TEXT), 1e999), (-0.0, NULL, '')");
	assert_int_equal(program_run(&p, "run", s->database, file, ranges, elsewhere,
				 "--until-caught-up"), 0);
	program_free(&p);
	for (int i = 0; i < 2; i++)
		assert_int_equal(scene_number(s,
			"SELECT count(*) FROM numbers AS n JOIN %s AS c USING(id)"
			" WHERE typeof(c.a) = typeof(c1) AND typeof(c.b) = typeof(c1000) AND"
			" typeof(c.c) = typeof(c1999) AND CAST(c.a AS BLOB) IS CAST(c1 AS BLOB) AND"
			" CAST(c.b AS BLOB) IS CAST(c1000 AS BLOB) AND CAST(c.c AS BLOB) IS"
			" CAST(c1999 AS BLOB)", i ? "range_copy" : "copy"), 3);
}

/* "1 GB values" (SQLite's own limit is 10^9 bytes): they pass; one that a consumer makes larger than
 * that is its row's fault. */
static void values_of_a_gigabyte_pass(void **state)
{
	const char *proof = getenv("PROOF");
	long long bytes = proof && strcmp(proof, "long") == 0 ? 999999000 : 99999000;
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql",
		"-- name: copies\n-- source: numbers\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @n);\n");
	char *larger = scene_file(s, "larger.sql",
		"-- name: larger\n-- source: numbers\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS more(id INTEGER PRIMARY KEY, n);\n"
		"-- row\nINSERT INTO more VALUES(@id, zeroblob(1000000001));\n");
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		     "INSERT INTO numbers(n) VALUES(1), (zeroblob(%lld)), (3)", bytes);
	assert_int_equal(program_run(&p, "run", s->database, file, larger, "--until-caught-up",
				 "--synchronous", "off"), 4);
	help_expect(p.err.text, "consumer 'larger' stopped at row 1 (watermark 0): ");
	help_expect(p.err.text, "string or blob too big");
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "copies"), 3);
	assert_int_equal(scene_number(s, "SELECT length(n) FROM copy WHERE id = 2"), bytes);
	assert_true(help_watermark(s->database, "larger") <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(tables_that_cannot_be_followed),
		SCENE_TEST(a_max_that_names_another_schema_is_refused),
		SCENE_TEST(ids_that_are_no_integers),
		SCENE_TEST(a_generated_column_that_fails_stops_with_4),
		SCENE_TEST(a_source_that_goes_backwards_stops_with_6),
		SCENE_TEST(deleting_the_newest_rows_is_no_harm_with_autoincrement),
		SCENE_TEST(a_bare_rowid_is_followed_with_a_warning),
		SCENE_TEST(the_table_changes_while_it_is_followed),
		SCENE_TEST(a_row_deleted_between_range_and_read_was_not_offered),
		SCENE_TEST(odd_rows_pass_byte_for_byte),
		SCENE_TEST(values_of_a_gigabyte_pass),
	};

	return cmocka_run_group_tests_name("rules_input_source", tests, NULL, NULL);
}
