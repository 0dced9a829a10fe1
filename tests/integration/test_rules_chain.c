/* SPDX-License-Identifier: MIT */
/*
 * Consumers after consumers, results in other files, databases of other programs, and who wakes whom.
 * The safety net looks once an hour in these tests: what is processed was noticed.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR_MS 3600000

static const struct catchup_options once_an_hour = {.poll_ms = HOUR_MS};

/* numbers -> double -> four -> sums, the middle one in SQL for a whole range at once. */
static const char first[] = "-- name: first\n-- source: numbers\n-- setup\n"
			    "CREATE TABLE IF NOT EXISTS double(id INTEGER PRIMARY KEY AUTOINCREMENT, n);\n"
			    "-- row\nINSERT INTO double(n) VALUES(2 * @n);\n";
static const char second[] = "-- name: second\n-- source: double\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS four(id INTEGER PRIMARY KEY AUTOINCREMENT, n);\n"
			     "-- apply\nINSERT INTO four(n) SELECT 2 * n FROM double"
			     " WHERE id > @last AND id <= @max ORDER BY id;\n";
static const char third[] = "-- name: third\n-- source: four\n-- setup\n"
			    "CREATE TABLE IF NOT EXISTS sums(one INTEGER PRIMARY KEY, n, rows);\n"
			    "INSERT OR IGNORE INTO sums VALUES(1, 0, 0);\n"
			    "-- row\nUPDATE sums SET n = n + @n, rows = rows + 1;\n";

static void add_chain(struct scene *s)
{
	scene_add(s, scene_file(s, "first.sql", first));
	scene_add(s, scene_file(s, "second.sql", second));
	scene_add(s, scene_file(s, "third.sql", third));
}

static void a_chain_is_woken_commit_by_commit(void **state)
{
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_open(s, &once_an_hour);
	add_chain(s);
	scene_start(s);
	scene_wait(s); /* all are asleep now */
	for (int i = 1; i <= 20; i++) {
		scene_sql(s, "INSERT INTO numbers(n) VALUES(%d)", i);
		scene_until(s, s->database, "SELECT rows = %d FROM sums", i);
	}
	assert_int_equal(scene_number(s, "SELECT n FROM sums"), 4 * 210);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

static void waiting_waits_for_the_end_of_the_chain(void **state)
{
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_open(s, &once_an_hour);
	add_chain(s);
	scene_start(s);
	for (int i = 1; i <= 20; i++) {
		scene_insert(s, 100);
		scene_wait(s);
		assert_int_equal(scene_number(s, "SELECT rows FROM sums"), 100 * i);
	}
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* The program's wait, through the chain, from nothing. */
static void until_caught_up_runs_a_chain_to_its_end(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 10000);
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "first.sql", first),
				 scene_file(s, "second.sql", second), scene_file(s, "third.sql", third),
				 "--until-caught-up", "--poll-ms", "3600000"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT rows FROM sums"), 10000);
	assert_int_equal(scene_number(s, "SELECT n FROM sums"), 4LL * 10000 * 10001 / 2);
}

static void results_in_another_file(void **state)
{
	static const char to_results[] =
		"-- name: copies\n-- source: numbers\n-- into: results.db\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
		"-- apply\nINSERT INTO copy SELECT id, n FROM source.numbers"
		" WHERE id > @last AND id <= @max;\n";
	struct scene *s = *state;
	char *results = scene_path(s, "results.db");
	char *file = scene_file(s, "copies.sql", to_results);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 1000);
	scene_open(s, &once_an_hour);
	scene_add(s, file);
	scene_start(s);
	scene_wait(s);
	scene_insert(s, 1);
	scene_until(s, results, "SELECT last = 1001 FROM catchup");
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(test_number(results, "SELECT sum(n) FROM copy"), 1000 * 1001 / 2 + 1);

	/* `status` and `wait` of the source's database find it in the other file. */
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].name", "copies");
	test_json_is(p.out.text, "$.consumers[0].into", results);
	test_json_is(p.out.text, "$.consumers[0].watermark", "1001");
	test_json_is(p.out.text, "$.consumers[0].lag_rows", "0");
	program_free(&p);
	assert_int_equal(program_run(&p, "wait", s->database, "--consumer", "copies", "--until", "1001",
				 "--timeout", "0"), 0);
	program_free(&p);
	/* The source is for reading only. */
	test_write_file(file, "-- name: copies\n-- source: numbers\n-- into: results.db\n"
			      "-- row\nDELETE FROM source.numbers WHERE id = @id;\n");
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 2);
	help_expect(p.err.text, "the source");
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), 1001);
}

/* Results in a file that is the next consumer's source, in a folder below. It is not there at first: the
 * consumer before makes it. */
static void a_chain_through_other_files(void **state)
{
	static const char copies[] =
		"-- name: copies\n-- source: numbers\n-- into: below/results.db\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY AUTOINCREMENT, n);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @n);\n-- reset\nDELETE FROM copy;\n";
	static const char twice[] =
		"-- name: twice\n-- from: below/results.db\n-- source: copy\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS twice(id INTEGER PRIMARY KEY AUTOINCREMENT, n);\n"
		"-- row\nINSERT INTO twice VALUES(@id, 2 * @n);\n-- reset\nDELETE FROM twice;\n";
	static const char sums[] =
		"-- name: sums\n-- from: below/results.db\n-- source: twice\n-- into: sums.db\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS sums(one INTEGER PRIMARY KEY, n);\n"
		"-- apply\nINSERT INTO sums SELECT 1, sum(n) FROM source.twice"
		" WHERE id > @last AND id <= @max HAVING count(*) > 0"
		" ON CONFLICT(one) DO UPDATE SET n = n + excluded.n;\n";
	struct scene *s = *state;
	char *results = scene_path(s, "below/results.db");
	char *one = scene_file(s, "copies.sql", copies);
	char *two = scene_file(s, "twice.sql", twice);
	char *three = scene_file(s, "sums.sql", sums);
	struct program p = {0};

	assert_int_equal(mkdir(scene_path(s, "below"), 0777), 0);
	scene_sql(s, NUMBERS);
	scene_insert(s, 100);
	assert_int_equal(program_run(&p, "check", one, two, three, "--database", s->database), 0);
	program_free(&p);
	/* In the order in which they make what the next one reads. */
	assert_int_equal(program_run(&p, "check", two, one, "--database", s->database), 2);
	help_expect(p.err.text, "results.db");
	program_free(&p);
	assert_int_not_equal(access(results, F_OK), 0);
	scene_open(s, &once_an_hour);
	scene_add(s, one);
	scene_add(s, two);
	scene_add(s, three);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(
		test_number(scene_path(s, "below/sums.db"), "SELECT sum(n) FROM sums"), 100 * 101);

	/* The file that a consumer's source is in knows it by name, from wherever it was run. */
	assert_int_equal(program_run(&p, "verify", results, "twice", "sums", "--recompute"), 0);
	help_expect(p.out.text, "recomputed: the same 100 rows");
	program_free(&p);
	assert_int_equal(program_run(&p, "verify", s->database, "--recompute"), 0);
	help_expect(p.out.text, "recomputed: the same 100 rows");
	program_free(&p);
	assert_int_equal(program_run(&p, "reset", results, "twice"), 0);
	program_free(&p);
	assert_int_equal(test_number(results, "SELECT count(*) FROM twice"), 0);
	assert_int_equal(program_run(&p, "reset", results, "thrice"), 2);
	help_expect(p.err.text, "no such name in the database");
	program_free(&p);
}

/* "restored from an older copy": the ids come again with other content, and only the fingerprint beside
 * the watermark shows it. */
static void a_source_restored_from_a_copy_is_noticed(void **state)
{
	static const char file[] =
		"-- name: copies\n-- source: numbers\n-- into: results.db\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @n);\n";
	struct scene *s = *state;
	char *path = scene_file(s, "copies.sql", file);
	char *results = scene_path(s, "results.db");
	char *copy = scene_path(s, "copy.db");
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 10);
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 0);
	program_free(&p);
	scene_sql(s, "VACUUM INTO '%s'", copy);
	scene_insert(s, 5);
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(help_watermark(results, "copies"), 15);

	/* Shorter than the watermark. */
	assert_int_equal(rename(copy, s->database), 0);
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 6);
	help_expect(p.err.text, "source 'numbers' went backwards: its newest id is 10, below 15");
	program_free(&p);
	/* Longer again, with other rows. */
	scene_sql(s, "INSERT INTO numbers(n) SELECT n + 100 FROM numbers");
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 6);
	help_expect(p.err.text, "stopped (watermark 15): row 15 of source 'numbers' is not the row that was processed");
	program_free(&p);
	assert_int_equal(help_watermark(results, "copies"), 15);
	assert_int_equal(test_number(results, "SELECT count(*) FROM copy"), 15);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	help_expect(p.out.text, "with --to-newest it goes on with the next one");
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].state", "stopped");
	program_free(&p);
}

/* Another process's commit is noticed without a timer: through the C library of the sqlite3 shell's
 * kind, in a write-ahead log, with and without a log that exists already. */
static void a_commit_of_another_process_wakes_the_reader(void **state)
{
	static const char file[] = "-- name: copies\n-- source: numbers\n-- setup\n"
				   "CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
				   "-- row\nINSERT INTO copy VALUES(@id, @n);\n";
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	program_start(&p, "run", s->database, scene_file(s, "copies.sql", file), "--poll-ms", "3600000");
	program_expect_err(&p, "follows 'numbers'");
	/* Connections that stay, and connections that come and go. */
	for (int round = 0; round < 2; round++) {
		sqlite3 *db = help_connect(s->database);

		for (int i = 1; i <= 30; i++) {
			int last = round * 30 + i;

			if (round == 0)
				help_exec(db, "INSERT INTO numbers(n) VALUES(%d)", i);
			else
				scene_sql(s, "INSERT INTO numbers(n) VALUES(%d)", i);
			scene_until(s, s->database, "SELECT last = %d FROM catchup", last);
		}
		/* A full checkpoint begins the log anew. */
		sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		sqlite3_close(db);
	}
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 60);
}

/* A long transaction: notices come while it writes, the commit comes later. */
static void a_commit_long_after_its_writes_is_noticed(void **state)
{
	struct scene *s = *state;
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_open(s, &once_an_hour);
	scene_add(s, scene_file(s, "first.sql", first));
	scene_start(s);
	scene_wait(s);
	db = help_connect(s->database);
	/* A small cache spills into the log before the commit. */
	help_exec(db, "PRAGMA cache_size = 10; BEGIN IMMEDIATE;"
		      "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 20000)"
		      " INSERT INTO numbers(n) SELECT i FROM c");
	for (int i = 0; i < 100; i++)
		help_pause();
	assert_int_equal(help_watermark(s->database, "first"), -1);
	help_exec(db, "COMMIT");
	sqlite3_close(db);
	scene_until(s, s->database, "SELECT last = 20000 FROM catchup");
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* As the Go package leaves a database: its table with named constraints, its names with dots, its rows.
 * They go on from their watermarks, and the table is still the one that the package made. */
static void a_database_of_the_go_package_is_taken_over(void **state)
{
	static const char go_table[] =
		"CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CONSTRAINT \"name must not be empty\""
		" CHECK(name<>''), last INTEGER NOT NULL CONSTRAINT \"last must be non-negative\""
		" CHECK(last>=0)) WITHOUT ROWID";
	static const char file[] = "-- name: receive\n-- source: numbers\n-- setup\n"
				   "CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
				   "-- row\nINSERT INTO copy VALUES(@id, @n);\n";
	struct scene *s = *state;
	char *path = scene_file(s, "receive.sql", file);
	struct program p = {0};
	char *named;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; %s;"
		     "INSERT INTO catchup VALUES('honeywell5800.receive', 7), ('other; --''', 3)",
		go_table);
	scene_insert(s, 10);
	assert_true(asprintf(&named, "%s:name=honeywell5800.receive", path) > 0);
	scene_own(s, named);
	assert_int_equal(program_run(&p, "run", s->database, named, "--until-caught-up"), 0);
	program_free(&p);
	assert_string_equal(scene_text(s, "SELECT group_concat(id, ' ') FROM copy"), "8 9 10");
	assert_string_equal(scene_text(s, "SELECT group_concat(name || '=' || last, ' ') FROM catchup"),
		"honeywell5800.receive=10 other; --'=3");
	assert_string_equal(
		scene_text(s, "SELECT sql FROM sqlite_schema WHERE name = 'catchup'"), go_table);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].name", "honeywell5800.receive");
	test_json_is(p.out.text, "$.consumers[1].name", "other; --'");
	program_free(&p);
	/* And given back: the package would go on from here. */
	scene_sql(s, "UPDATE catchup SET last = 5 WHERE name = 'other; --'''");
}

/* Who writes names in capitals means the same tables, as to SQLite: one table of watermarks, one source. */
static void capitals_make_no_other_table(void **state)
{
	static const char small[] = "-- name: first\n-- source: numbers\n-- row\n"
				    "INSERT INTO copy VALUES(@id);\n";
	static const char large[] = "-- name: second\n-- source: NUMBERS\n-- id: ID\n-- row\n"
				    "INSERT INTO copy VALUES(@id);\n";
	struct scene *s = *state;
	char *one = scene_file(s, "first.sql", small);
	char *two = scene_file(s, "second.sql", large);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE copy(id);"
		     "CREATE TABLE Catchup(Name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
		     " Last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID;"
		     "INSERT INTO catchup VALUES('first', 7)");
	scene_insert(s, 10);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].watermark", "7");
	program_free(&p);
	assert_int_equal(program_run(&p, "run", s->database, one, two, "--until-caught-up"), 0);
	program_free(&p);
	assert_string_equal(scene_text(s, "SELECT count(*) FROM copy"), "13");
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].watermark", "10");
	test_json_is(p.out.text, "$.consumers[1].watermark", "10");
	test_json_is(p.out.text, "$.sources[#-1].newest", "10");
	test_json_is(p.out.text, "$.sources[1]", NULL);
	program_free(&p);
	assert_int_equal(program_run(&p, "verify", s->database), 0);
	help_expect(p.out.text, "consumer 'first': ok\n  watermark 10");
	program_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_chain_is_woken_commit_by_commit),
		SCENE_TEST(waiting_waits_for_the_end_of_the_chain),
		SCENE_TEST(until_caught_up_runs_a_chain_to_its_end),
		SCENE_TEST(results_in_another_file),
		SCENE_TEST(a_chain_through_other_files),
		SCENE_TEST(a_source_restored_from_a_copy_is_noticed),
		SCENE_TEST(a_commit_of_another_process_wakes_the_reader),
		SCENE_TEST(a_commit_long_after_its_writes_is_noticed),
		SCENE_TEST(a_database_of_the_go_package_is_taken_over),
		SCENE_TEST(capitals_make_no_other_table),
	};

	return cmocka_run_group_tests_name("rules_chain", tests, NULL, NULL);
}
