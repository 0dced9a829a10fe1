/* SPDX-License-Identifier: MIT */
/* The rules that never bend, 12: consumer code cannot break the bookkeeping. */
#include "help.h"

#include "base/os.h"

#include <catchup/consumer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct forbidden {
	const char *sql, *message; /* what the authorizer says of it */
};

static const struct forbidden forbidden[] = {
	{"BEGIN", "BEGIN"},
	{"BEGIN IMMEDIATE", "BEGIN"},
	{"COMMIT", "COMMIT"},
	{"END", "COMMIT"},
	{"ROLLBACK", "ROLLBACK"},
	{"SAVEPOINT a", "SAVEPOINT"},
	{"RELEASE catchup", "RELEASE"},
	{"ROLLBACK TO catchup", "ROLLBACK"},
	{"ATTACH 'other.db' AS other", "ATTACH"},
	{"DETACH source", "DETACH"},
	{"PRAGMA synchronous = OFF", "PRAGMA synchronous"},
	{"PRAGMA journal_mode = DELETE", "PRAGMA journal_mode"},
	{"PRAGMA writable_schema = ON", "PRAGMA writable_schema"},
	{"VACUUM", "VACUUM"},
	{"VACUUM INTO 'other.db'", "VACUUM"},
	{"INSERT INTO copy SELECT load_extension('x'), 1", "load_extension"},
	{"INSERT INTO numbers(n) VALUES(1)", "the source"},
	{"UPDATE numbers SET n = 1", "the source"},
	{"DELETE FROM numbers", "the source"},
	{"DROP TABLE numbers", "the source"},
	{"ALTER TABLE numbers ADD COLUMN x", "the source"},
	{"CREATE TRIGGER t AFTER INSERT ON numbers BEGIN SELECT 1; END", "a trigger on table 'numbers', the source"},
	{"UPDATE catchup SET last = 1", "'catchup'"},
	{"DELETE FROM catchup_lease", "'catchup_lease'"},
	{"UPDATE \"CATCHUP_state\" SET applied = 1", "catchup"},
	{"CREATE TABLE catchup_mine(x)", "'catchup_mine'"},
	{"DROP TABLE catchup", "'catchup'"},
	{"DELETE FROM sqlite_sequence", "'sqlite_sequence'"},
	{"UPDATE sqlite_schema SET sql = ''", "sqlite_"},
};

/* "BEGIN, COMMIT, ROLLBACK, SAVEPOINT, ATTACH, PRAGMA, VACUUM, load_extension: refused"; "writing the
 * source, `catchup*` or sqlite_* tables: refused".
 * In a file: found when its statements are prepared, before anything runs. The table is the same for
 * each place that SQL can stand in. */
static void rule_12_forbidden_statements_in_files_are_refused_at_the_start(void **state)
{
	static const char *const places[] = {
		("-- name: bad\n-- source: numbers\n-- apply\n%s;\n"
		 "INSERT INTO copy SELECT id, n FROM numbers WHERE id > @last AND id <= @max;\n"),
		"-- name: bad\n-- source: numbers\n-- row\n%s;\n",
		"-- name: bad\n-- source: numbers\n-- setup\n%s;\n-- row\nINSERT INTO copy VALUES(@id, @n);\n",
	};
	struct scene *s = *state;
	char *path = scene_path(s, "bad.sql");

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS
		     "; CREATE TABLE copy(id INTEGER PRIMARY KEY, n)");
	scene_insert(s, 3);
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
			const char *const format = places[k];
			struct program p = {0};
			char *before, *after;
			char file[1024];
			int n = snprintf(file, sizeof(file), "%.*s%s%s",
				(int)(strstr(format, "%s") - format), format, forbidden[i].sql,
				strstr(format, "%s") + 2);

			assert_in_range(n, 1, sizeof(file) - 1);
			test_write_file(path, file);
			program_run(&p, "run", s->database, path, "--until-caught-up");
			help_expect(p.err.text, "bad");
			/* Words that no consumer may begin with are found without SQLite. */
			if (!strstr(p.err.text, " is refused; the runtime owns the transaction"))
				help_expect(p.err.text, forbidden[i].message);
			if (p.exit_code != 2)
				fail_msg("exit code %d of: %s\n%s", p.exit_code, file, p.err.text);
			program_free(&p);
			before = scene_text(s, "SELECT group_concat(id || n) FROM numbers");
			assert_string_equal(before, "11,22,33");
			after = scene_text(s, "SELECT count(*) FROM copy");
			assert_string_equal(after, "0");
			s->n_owned -= 2;
			free(before);
			free(after);
			assert_true(help_watermark(s->database, "bad") <= 0);
		}
	}
}

/* In C: refused when it is tried; what it returns says so, and the consumer stops with its name. */
static const char *tried_sql;

static int trying_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	if (sqlite3_exec(ctx->db, tried_sql, NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "trying");
	return CATCHUP_ROW_APPLIED;
}

static void rule_12_forbidden_statements_of_c_code_are_refused_when_tried(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "tries",
		.source = "numbers", .row = trying_row};
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS
		     "; CREATE TABLE copy(id INTEGER PRIMARY KEY, n)");
	scene_insert(s, 3);
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		struct catchup_error error = {0};

		tried_sql = forbidden[i].sql;
		scene_open(s, NULL);
		scene_add_table(s, &table);
		scene_start(s);
		assert_int_equal(catchup_wait(s->runtime, -1, &error), CATCHUP_CONSUMER);
		help_expect(error.message, "consumer 'tries'");
		help_expect(error.message, forbidden[i].message);
		assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
		assert_true(help_watermark(s->database, "tries") <= 0);
		assert_int_equal(scene_number(s, "SELECT sum(n) * 10 + count(*) FROM numbers"), 63);
	}
}

/* What no authorizer sees: the transaction is gone at run time. */
static void rule_12_a_transaction_ended_at_run_time_is_seen(void **state)
{
	static const char *const files[] = {
		"-- name: ends\n-- source: numbers\n-- row\n"
		"INSERT OR ROLLBACK INTO only VALUES(@id, 7);\n",
		"-- name: ends\n-- source: numbers\n-- row\nINSERT INTO watched VALUES(@id, @n);\n",
		"-- name: ends\n-- source: numbers\n-- apply\n"
		"INSERT OR ROLLBACK INTO only SELECT id, 7 FROM numbers WHERE id > @last AND id <= @max;\n",
		"-- name: ends\n-- source: numbers\n-- apply\n"
		"INSERT INTO watched SELECT id, n FROM numbers WHERE id > @last AND id <= @max;\n",
		"-- name: ends\n-- source: numbers\n-- apply\n"
		"INSERT INTO watched SELECT id, n FROM numbers WHERE id > @last AND id <= @max;\n"
		"INSERT INTO after VALUES(1);\n",
	};
	struct scene *s = *state;
	char *path = scene_path(s, "ends.sql");

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS
		     "; CREATE TABLE only(id, n UNIQUE); CREATE TABLE watched(id, n);"
		     "CREATE TABLE after(x);"
		     "CREATE TRIGGER watch AFTER INSERT ON watched WHEN new.n = 3"
		     " BEGIN SELECT RAISE(ROLLBACK, 'three'); END");
	scene_insert(s, 5);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct program p = {0};
		bool only = strstr(files[i], "only") != NULL;

		test_write_file(path, files[i]);
		scene_sql(s, "DELETE FROM only; DELETE FROM watched; DELETE FROM after;"
			     "DROP TABLE IF EXISTS catchup; DROP TABLE IF EXISTS catchup_state");
		program_run(&p, "run", s->database, path, "--until-caught-up");
		help_expect(p.err.text, "ends");
		help_expect(p.err.text, only ? "UNIQUE constraint failed: only.n" : "three");
		assert_int_equal(p.exit_code, 4);
		program_free(&p);
		/* The rows before the bad one stand, each once, and the watermark is right there. */
		assert_int_equal(help_watermark(s->database, "ends"), only ? 1 : 2);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM only"), only ? 1 : 0);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM watched"), only ? 0 : 2);
		if (i == 4)
			assert_int_equal(scene_number(s, "SELECT count(*) FROM after") > 2, 0);
	}
}

/* C code that does not look at what it is told, and says that all is well. */
static int careless_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	char sql[128];

	(void)state;
	snprintf(sql, sizeof(sql), "INSERT OR ROLLBACK INTO only VALUES(%lld, %lld)",
		(long long)sqlite3_column_int64(row, 0), (long long)sqlite3_column_int64(row, 1) % 3);
	sqlite3_exec(ctx->db, sql, NULL, NULL, NULL);
	return CATCHUP_ROW_APPLIED;
}

static int heedless_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (sqlite3_column_int64(row, 0) == 2)
		sqlite3_exec(ctx->db, tried_sql, NULL, NULL, NULL);
	return CATCHUP_ROW_APPLIED;
}

static void rule_12_c_code_that_takes_no_notice_of_a_refusal_is_stopped(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "heedless",
		.source = "numbers", .row = heedless_row};
	static const char *const tried[] = {"COMMIT", "DELETE FROM numbers",
		"UPDATE catchup SET last = 9"};
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 3);
	for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
		struct catchup_error error = {0};

		tried_sql = tried[i];
		scene_open(s, NULL);
		scene_add_table(s, &table);
		scene_start(s);
		assert_int_equal(catchup_wait(s->runtime, -1, &error), CATCHUP_CONSUMER);
		help_expect(error.message, "consumer 'heedless' stopped at row 2 (watermark 1): not allowed:");
		help_expect(error.message, "(row took no notice of it)");
		assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
		assert_int_equal(help_watermark(s->database, "heedless"), 1);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), 3);
	}
}

static void rule_12_c_code_that_hides_the_end_of_the_transaction_is_seen(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "careless",
		.source = "numbers", .row = careless_row};
	struct scene *s = *state;
	struct catchup_error error = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE only(id, n UNIQUE)");
	scene_insert(s, 6);
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	assert_int_equal(catchup_wait(s->runtime, -1, &error), CATCHUP_CONSUMER);
	help_expect(error.message, "consumer 'careless' stopped at row 4 (watermark 3)");
	help_expect(error.message, "rolled the whole transaction back");
	assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
	assert_int_equal(help_watermark(s->database, "careless"), 3);
	assert_string_equal(scene_text(s, "SELECT group_concat(id || n, ' ') FROM only"), "11 22 30");
}

static int64_t steps_at; /* the row whose function goes on to the next by itself */

static int stepping_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	if (sqlite3_column_int64(row, 0) == steps_at)
		sqlite3_step(row);
	return CATCHUP_ROW_APPLIED;
}

/* The row that it went on to would never be offered. */
static void rule_3_a_row_function_that_steps_its_statement_is_stopped(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "stepping",
		.source = "numbers", .row = stepping_row};
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 9);
	for (steps_at = 1; steps_at <= 9; steps_at++) {
		struct catchup_error error = {0};
		char expected[128];

		scene_open(s, NULL);
		scene_add_table(s, &table);
		scene_start(s);
		assert_int_equal(catchup_wait(s->runtime, -1, &error), CATCHUP_CONSUMER);
		snprintf(expected, sizeof(expected), "consumer 'stepping' stopped at row %d (watermark %d): row: "
			"it has stepped the statement", (int)steps_at, (int)steps_at - 1);
		help_expect(error.message, expected);
		assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
		/* -1: none was ever committed. */
		assert_int_equal(help_watermark(s->database, "stepping"), steps_at > 1 ? steps_at - 1 : -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(rule_12_forbidden_statements_in_files_are_refused_at_the_start),
		SCENE_TEST(rule_12_forbidden_statements_of_c_code_are_refused_when_tried),
		SCENE_TEST(rule_12_a_transaction_ended_at_run_time_is_seen),
		SCENE_TEST(rule_12_c_code_that_takes_no_notice_of_a_refusal_is_stopped),
		SCENE_TEST(rule_12_c_code_that_hides_the_end_of_the_transaction_is_seen),
		SCENE_TEST(rule_3_a_row_function_that_steps_its_statement_is_stopped),
	};

	return cmocka_run_group_tests_name("rules_code", tests, NULL, NULL);
}
