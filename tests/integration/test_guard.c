/* SPDX-License-Identifier: MIT */
/*
 * `guard` refuses what readers would never see. Through the program, on real files.
 */
#include "help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROWS 500

/* The consumer is caught up. */
static void set_up_run(struct scene *s)
{
	struct program p = {.folder = s->folder};

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO numbers(n) SELECT i FROM c", ROWS);
	scene_file(s, "doubles.sql", DOUBLES);
	assert_int_equal(program_run(&p, "run", s->database, "doubles.sql", "--until-caught-up"), 0);
	program_free(&p);
}

/* `verify` finds nothing wrong; whether it says that the guard lacks triggers. */
static void verify(struct scene *s, bool lacks)
{
	struct program p = {0};

	assert_int_equal(program_run(&p, "verify", s->database), 0);
	help_expect(p.out.text, "source guarded");
	assert_int_equal(strstr(p.out.text, "guard of its source lacks some of its triggers") != NULL,
		lacks);
	program_free(&p);
}

/* The statement fails, or it does not. */
static void refused(struct scene *s, const char *sql, bool expected)
{
	sqlite3 *db = help_connect(s->database);
	char *message = NULL;
	int rc = sqlite3_exec(db, sql, NULL, NULL, &message);

	if ((rc != SQLITE_OK) != expected)
		fail_msg("%s: %s", sql, message ? message : "was not refused");
	if (expected)
		help_expect(message, "catchup guard: an id of 'numbers' that is not above its newest"
				     " was refused");
	sqlite3_free(message);
	sqlite3_close(db);
}

static void a_guarded_source_only_grows(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	assert_int_equal(program_run(&p, "guard", s->database, "NUMBERS"), 0);
	help_expect(p.out.text, "is guarded");
	program_free(&p);
	refused(s, "DELETE FROM numbers WHERE id = 300", false);
	refused(s, "INSERT INTO numbers(id, n) VALUES(300, 0)", true);
	refused(s, "INSERT OR IGNORE INTO numbers(id, n) VALUES(300, 0)", true);
	refused(s, "INSERT OR REPLACE INTO numbers(id, n) VALUES(500, 0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(0, 0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(-1, 0)", true);
	refused(s, "UPDATE numbers SET id = 300 WHERE id = 301", true);
	refused(s, "UPDATE numbers SET rowid = 300 WHERE id = 301", true);
	refused(s, "UPDATE numbers SET n = 0 WHERE id = 301", false);
	refused(s, "INSERT INTO numbers(n) VALUES(1), (2), (3)", false);
	refused(s, "INSERT INTO numbers(id, n) VALUES(1000, 0)", false);
	/* Ids of rows that are gone are not given again. */
	refused(s, "DELETE FROM numbers WHERE id > 400", false);
	refused(s, "INSERT INTO numbers(id, n) VALUES(999, 0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(1000, 0)", true);
	refused(s, "INSERT INTO numbers(n) VALUES(0)", false);
	assert_int_equal(scene_number(s, "SELECT max(id) FROM numbers"), 1001);
	program_run(&p, "status", s->database, "--json");
	test_json_is(p.out.text, "$.sources[0].guarded", "1");
	program_free(&p);
	assert_int_equal(program_run(&p, "guard", s->database, "numbers", "--remove"), 0);
	program_free(&p);
	refused(s, "INSERT INTO numbers(id, n) VALUES(999, 0)", false);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), 0);
	assert_int_equal(program_run(&p, "guard", s->database, "numbers", "--remove"), 2);
	help_expect(p.err.text, "'numbers' is not guarded");
	program_free(&p);
}

static void without_autoincrement_old_ids_are_refused_too(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY, n INTEGER);"
		     "INSERT INTO numbers(n) VALUES(1), (2), (3), (4), (5), (6), (7), (8), (9), (10)");
	scene_file(s, "other.sql", "-- name: other\n-- source: numbers\n-- into: other.db\n"
				   "-- setup\nCREATE TABLE IF NOT EXISTS taken(n);\n"
				   "-- row\nINSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "run", s->database, "other.sql", "--until-caught-up"), 0);
	program_free(&p);
	/* Only the watermark, in another file, remembers rows 9 and 10. */
	scene_sql(s, "DELETE FROM numbers WHERE id > 8");
	assert_int_equal(program_run(&p, "guard", s->database, "numbers"), 0);
	program_free(&p);
	refused(s, "INSERT INTO numbers(n) VALUES(0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(10, 0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(11, 0)", false);
	refused(s, "DELETE FROM numbers", false);
	refused(s, "INSERT INTO numbers(n) VALUES(0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(11, 0)", true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(12, 0)", false);
}

static void ids_of_rows_that_replace_removed_are_refused_too(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY, k UNIQUE, j UNIQUE ON CONFLICT REPLACE);"
		     "INSERT INTO numbers(k, j) VALUES('a', 'A'), ('b', 'B'), ('c', 'C')");
	assert_int_equal(program_run(&p, "guard", s->database, "numbers"), 0);
	program_free(&p);
	/* The row that was there before the guard, by the statement's REPLACE and by the schema's. */
	refused(s, "UPDATE OR REPLACE numbers SET k = 'c' WHERE id = 1", false);
	assert_int_equal(scene_number(s, "SELECT max(id) FROM numbers"), 2);
	refused(s, "INSERT INTO numbers(k) VALUES('x')", true);
	refused(s, "INSERT INTO numbers(id, k) VALUES(4, 'd')", false);
	refused(s, "UPDATE numbers SET j = 'E', k = 'e' WHERE id = 4", false);
	refused(s, "UPDATE numbers SET j = 'E' WHERE id < 3", false);
	assert_int_equal(scene_number(s, "SELECT max(id) FROM numbers"), 2);
	refused(s, "INSERT INTO numbers(k) VALUES('x')", true);
	refused(s, "INSERT INTO numbers(id, k) VALUES(4, 'x')", true);
	/* By an insert, which takes an id above the row that it removes, and an upsert. */
	refused(s, "INSERT INTO numbers(id, k, j) VALUES(6, 'f', 'F')", false);
	refused(s, "INSERT OR REPLACE INTO numbers(k) VALUES('f'), ('f'), ('f')", false);
	assert_int_equal(scene_number(s, "SELECT max(id) FROM numbers WHERE k = 'f'"), 9);
	refused(s, "INSERT INTO numbers(k, j) VALUES('b', 'x') ON CONFLICT(k) DO UPDATE SET k = 'g'", false);
	refused(s, "UPDATE OR REPLACE numbers SET k = 'f' WHERE k = 'g'", false);
	assert_true(scene_number(s, "SELECT max(id) FROM numbers") < 9);
	refused(s, "INSERT INTO numbers(id, k) VALUES(9, 'x')", true);
	/* There is no id above the highest of all: SQLite chooses any. */
	refused(s, "INSERT INTO numbers(id, k) VALUES(9223372036854775807, 'z')", false);
	refused(s, "INSERT OR REPLACE INTO numbers(k) VALUES('z')", true);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers WHERE k = 'z'"), 1);
}

static void a_default_does_not_replace_the_newest_row(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER NOT NULL UNIQUE DEFAULT 2, k);"
		     "INSERT INTO numbers VALUES(1, 'a'), (2, 'b')");
	assert_int_equal(program_run(&p, "guard", s->database, "numbers"), 0);
	program_free(&p);
	refused(s, "INSERT OR REPLACE INTO numbers VALUES(NULL, 'x')", true);
	refused(s, "INSERT OR REPLACE INTO numbers(k) VALUES('x')", true);
	refused(s, "UPDATE OR REPLACE numbers SET id = NULL WHERE id = 1", true);
	refused(s, "INSERT INTO numbers VALUES(3, 'c')", false);
}

/* What a version that knew less of REPLACE has installed goes on as it was, is told of, and is renewed. */
static void a_guard_that_lacks_a_trigger_is_told_of(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	assert_int_equal(program_run(&p, "guard", s->database, "numbers"), 0);
	program_free(&p);
	verify(s, false);
	scene_sql(s, "DROP TRIGGER catchup_guard_update_keeps_numbers");
	verify(s, true);
	refused(s, "INSERT INTO numbers(id, n) VALUES(500, 0)", true);
	assert_int_equal(program_run(&p, "guard", s->database, "numbers"), 0);
	program_free(&p);
	verify(s, false);
	scene_sql(s, "DROP TRIGGER catchup_guard_update_keeps_numbers");
	assert_int_equal(program_run(&p, "guard", s->database, "numbers", "--remove"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), 0);
}

static void what_cannot_be_guarded_is_refused(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "CREATE TABLE numbers(id INTEGER PRIMARY KEY, n INTEGER);"
		     "CREATE TABLE texts(id TEXT PRIMARY KEY);"
		     "CREATE TABLE others(\"the \"\"id\" INTEGER PRIMARY KEY);"
		     "CREATE VIEW seen AS SELECT * FROM numbers");
	assert_int_equal(program_run(&p, "guard", s->database, "nowhere"), 2);
	help_expect(p.err.text, "no such table");
	program_free(&p);
	assert_int_equal(program_run(&p, "guard", s->database, "seen"), 2);
	help_expect(p.err.text, "view");
	program_free(&p);
	assert_int_equal(program_run(&p, "guard", s->database, "texts"), 2);
	program_free(&p);
	assert_int_equal(program_run(&p, "guard", s->database, "others"), 2);
	help_expect(p.err.text, "no column 'id'");
	program_free(&p);
	assert_int_equal(program_run(&p, "guard", s->database, "others", "--id", "the \"id"), 0);
	program_free(&p);
	scene_sql(s, "INSERT INTO others VALUES(1), (2), (5)");
	assert_int_equal(program_run(&p, "guard", scene_path(s, "none.db"), "numbers"), 2);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_guard"), 1);
}

/* A table that one consumer fills and another follows may be guarded like any other. */
static void a_table_in_the_middle_of_a_chain_can_be_guarded(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	set_up_run(s);
	scene_file(s, "pruned.sql", "-- name: pruned\n-- source: numbers\n-- row\n"
				    "INSERT INTO twice VALUES(@id + 10000, 0);\n"
				    "DELETE FROM twice WHERE id = @id + 10000 AND @id % 2 = 0;\n");
	assert_int_equal(program_run(&p, "guard", s->database, "twice"), 0);
	program_free(&p);
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "pruned.sql", "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM twice WHERE id > 10000"), ROWS / 2);
	assert_int_equal(scene_number(s, "SELECT newest FROM catchup_guard"), 10000 + ROWS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_guarded_source_only_grows),
		SCENE_TEST(without_autoincrement_old_ids_are_refused_too),
		SCENE_TEST(ids_of_rows_that_replace_removed_are_refused_too),
		SCENE_TEST(a_default_does_not_replace_the_newest_row),
		SCENE_TEST(a_guard_that_lacks_a_trigger_is_told_of),
		SCENE_TEST(what_cannot_be_guarded_is_refused),
		SCENE_TEST(a_table_in_the_middle_of_a_chain_can_be_guarded),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
