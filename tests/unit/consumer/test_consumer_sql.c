/* SPDX-License-Identifier: MIT */
/*
 * The SQL consumer's functions on a real connection: what apply and row do, what is refused when they
 * are prepared, and what is said when they fail.
 */
#include "consumer/definition.h"
#include "consumer/sql_syntax.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "-- name: doors\n-- source: events\n"

/* A consumer from text, open on a database in memory, or the reason why it is not. */
struct fixture {
	char path[64];
	sqlite3 *db;
	struct cu_definition *definition;
	struct cu_context context;
	void *state;
	bool open;
	sqlite3_stmt *next;
};

static void sql(sqlite3 *db, const char *text)
{
	char *message = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
}

/* The first value of a query, as text; one buffer for all. */
static const char *value(sqlite3 *db, const char *query)
{
	static char text[256];
	sqlite3_stmt *stmt = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	return text;
}

static void write_file(struct fixture *f, const char *text)
{
	FILE *file;
	int fd;

	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "/tmp/catchup-test-XXXXXX.sql");
	fd = mkstemps(f->path, 4);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static void start(struct fixture *f, const char *tables, const char *text)
{
	struct catchup_error error = {0};

	write_file(f, text);
	if (cu_definition_make(&f->definition, f->path, NULL, NULL, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	assert_int_equal(sqlite3_open(":memory:", &f->db), SQLITE_OK);
	sqlite3_extended_result_codes(f->db, 1);
	sql(f->db, tables);
	cu_context_init(&f->context, f->definition, NULL, NULL, f->db, 0);
	cu_context_begin_call(&f->context);
	f->open = cu_context_result(&f->context, "open",
			  f->definition->table.open(&f->context.public, &f->state)) ==
		CATCHUP_ROW_APPLIED;
}

static void stop(struct fixture *f)
{
	sqlite3_finalize(f->next);
	if (f->open)
		f->definition->table.close(&f->context.public, f->state);
	/* Fails when a statement was not finalized. */
	assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
	cu_definition_free(f->definition);
	unlink(f->path);
}

/* What was said, behind the file's path. */
static void said(struct fixture *f, const char *message)
{
	size_t n = strlen(f->path);

	assert_true(f->context.failed);
	assert_memory_equal(f->context.fail_text, f->path, n);
	assert_string_equal(f->context.fail_text + n, message);
}

static void refuses(const char *tables, const char *text, int code, const char *message)
{
	struct fixture f;

	start(&f, tables, text);
	assert_false(f.open);
	said(&f, message);
	assert_int_equal(f.context.fail_code, code);
	stop(&f);
}

/* Refused when the file is read, before there is a database. */
static void refuses_text(const char *text, const char *message)
{
	struct catchup_error error = {0};
	struct fixture f;

	write_file(&f, text);
	assert_int_equal(
		cu_definition_make(&f.definition, f.path, NULL, NULL, &error), CATCHUP_CONFIG);
	assert_memory_equal(error.message, f.path, strlen(f.path));
	assert_string_equal(error.message + strlen(f.path), message);
	unlink(f.path);
}

static int range(struct fixture *f, int64_t last, int64_t max)
{
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "range",
		f->definition->table.range(&f->context.public, f->state, last, max));
}

static int check(struct fixture *f, const char *query)
{
	sqlite3_finalize(f->next);
	assert_int_equal(sqlite3_prepare_v2(f->db, query, -1, &f->next, NULL), SQLITE_OK);
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "open",
		f->definition->check_columns(&f->context.public, f->state, f->next));
}

static int row(struct fixture *f)
{
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "row",
		f->definition->table.row(&f->context.public, f->state, f->next));
}

static int all_rows(struct fixture *f)
{
	int result = CATCHUP_ROW_APPLIED;

	while (result == CATCHUP_ROW_APPLIED && sqlite3_step(f->next) == SQLITE_ROW)
		result = row(f);
	sqlite3_reset(f->next);
	return result;
}

#define EVENTS "CREATE TABLE events(id INTEGER PRIMARY KEY, sensor INT, note);"
#define TOTALS "CREATE TABLE totals(sensor PRIMARY KEY, n);"

/* ---- apply -------------------------------------------------------------------------------- */

static void applies_a_range_with_several_statements(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS TOTALS "CREATE TABLE newest(id);",
		HEAD "-- apply\n-- first\n"
		     "INSERT INTO totals SELECT sensor, count(*) FROM events WHERE id > @last AND\n"
		     "  id <= @max GROUP BY sensor ON CONFLICT DO UPDATE SET n = n + excluded.n;\n"
		     "DELETE FROM newest; INSERT INTO newest VALUES(@max) /* the end */ ; -- done");
	assert_true(f.open);
	assert_null(f.definition->check_columns);
	assert_null(f.definition->table.row);
	sql(f.db, "INSERT INTO events VALUES(1, 7, 0), (2, 7, 0), (3, 8, 0), (4, 7, 0)");
	assert_int_equal(range(&f, 0, 2), CATCHUP_ROW_APPLIED);
	assert_int_equal(range(&f, 2, 3), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT group_concat(sensor || ':' || n) FROM totals"), "7:2,8:1");
	assert_string_equal(value(f.db, "SELECT id FROM newest"), "3");
	assert_int_equal(range(&f, 3, INT64_MAX), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT n FROM totals WHERE sensor = 7"), "3");
	assert_string_equal(value(f.db, "SELECT id FROM newest"), "9223372036854775807");
	stop(&f);
}

static void tells_file_line_and_code_of_a_failure(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS TOTALS,
		HEAD "-- apply\nDELETE FROM totals WHERE n < 0;\n\n"
		     "INSERT INTO totals SELECT sensor, 1 FROM events\n"
		     " WHERE id > @last AND id <= @max;");
	assert_true(f.open);
	sql(f.db, "INSERT INTO events VALUES(1, 7, 0), (2, 7, 0), (3, 8, 0)");
	assert_int_equal(range(&f, 0, 2), CATCHUP_ROW_FAILED);
	said(&f, ":6: UNIQUE constraint failed: totals.sensor");
	assert_int_equal(f.context.fail_code, SQLITE_CONSTRAINT_PRIMARYKEY);
	/* The statement can be used again. */
	assert_int_equal(range(&f, 2, 3), CATCHUP_ROW_APPLIED);
	stop(&f);
}

static void refuses_wrong_parameters_of_apply(void **state)
{
	(void)state;
	refuses(EVENTS TOTALS, HEAD "-- apply\n\nDELETE FROM totals;", 0,
		":3: 'apply' does not use @last and @max; it has to read the rows with id > @last AND id "
		"<= @max");
	refuses(EVENTS TOTALS, HEAD "-- apply\nDELETE FROM totals WHERE n = @last;", 0,
		":3: 'apply' does not use @max; it has to read the rows with id > @last AND id <= @max");
	refuses(EVENTS TOTALS, HEAD "-- apply\nDELETE FROM totals WHERE n = @max;", 0,
		":3: 'apply' does not use @last; it has to read the rows with id > @last AND id <= @max");
	refuses(EVENTS TOTALS, HEAD "-- apply\nDELETE FROM totals;\nDELETE FROM totals WHERE n=@sensor", 0,
		":5: parameter '@sensor' in 'apply', which has only @last and @max");
	refuses(EVENTS TOTALS, HEAD "-- apply\nDELETE FROM totals WHERE n = ?", 0,
		":4: parameter '?' in 'apply', which has only @last and @max");
	refuses(EVENTS TOTALS, HEAD "-- apply\nDELETE FROM totals WHERE n = :last", 0,
		":4: parameter ':last' in 'apply', which has only @last and @max");
}

/* ---- preparing ---------------------------------------------------------------------------- */

static void tells_the_line_of_a_syntax_error(void **state)
{
	(void)state;
	refuses_text(HEAD "-- apply\nDELETE FROM events;\nDELETE\n\nFRM events",
		":7: near \"FRM\": syntax error");
	refuses_text(HEAD "-- apply\nDELETE FROM events WHERE note = 'open",
		":4: unrecognized token: \"'open\"");
	refuses_text(HEAD "-- row\nDELETE FROM", ":4: incomplete input");
	refuses_text(HEAD "-- apply\nINSERT INTO a SELECT * FROM b WHERE id > @last\nABD 1",
		":5: near \"ABD\": syntax error");
	refuses_text(HEAD "-- setup\nCREATE TRIGGER x AFTER INSERT ON y BEGIN DELETE FROM z; END;\n"
			  "CREATE TABEL z(a);\n-- row\nDELETE FROM z",
		":5: near \"TABEL\": syntax error");
	refuses_text(HEAD "-- next\nSELECT 1 AS id ORDR BY id\n-- row\nDELETE FROM z",
		":4: near \"ORDR\": syntax error");
}

static void tells_the_line_of_what_is_missing(void **state)
{
	(void)state;
	refuses(EVENTS, HEAD "-- apply\nDELETE\nFROM nowhere;", SQLITE_ERROR,
		":4: no such table: nowhere");
	refuses(EVENTS, HEAD "-- apply\nDELETE FROM events WHERE\n\n nope > @last", SQLITE_ERROR,
		":6: no such column: nope");
	refuses(EVENTS, HEAD "-- row\n\xef\xbb\xbf -- only a mark", 0, ":3: section has no statement");
}

static void refuses_statements_that_break_the_transaction(void **state)
{
	static const char *const words[] = {"BEGIN", "Commit", "END", "rollback", "SAVEPOINT a",
		"RELEASE a", "ATTACH 'x' AS x", "DETACH x", "PRAGMA user_version = 1", "VACUUM"};
	static const char *const sections[] = {"setup", "next", "max"};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		char text[256], message[256];
		size_t n = strcspn(words[i], " ");

		snprintf(text, sizeof(text),
			HEAD "-- row\nDELETE FROM totals;\n/* now */ %s;\nDELETE FROM totals;", words[i]);
		snprintf(message, sizeof(message),
			":5: %.*s is refused; the runtime owns the transaction and the connection", (int)n,
			words[i]);
		/* It is told in capitals however it is written. */
		for (size_t j = 4; j < 4 + n; j++)
			message[j] = (char)toupper((unsigned char)message[j]);
		refuses_text(text, message);
	}
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		char text[256];

		snprintf(text, sizeof(text), HEAD "-- %s\nVACUUM\n-- row\nDELETE FROM totals;",
			sections[i]);
		refuses_text(text,
			":4: VACUUM is refused; the runtime owns the transaction and the connection");
	}
}

/* Where each statement ends; '|' is put there. */
static void assert_ends(const char *marked)
{
	char sql[512];
	const char *at = sql, *expected = marked;
	size_t n = 0;

	for (const char *p = marked; *p; p++)
		if (*p != '|')
			sql[n++] = *p;
	sql[n] = '\0';
	while (*at) {
		const char *end = cu_sql_syntax_end(at);
		size_t bytes = strcspn(expected, "|");

		assert_int_equal(end - at, bytes);
		at = end;
		expected += bytes + (expected[bytes] == '|');
	}
	assert_string_equal(expected, "");
}

static void finds_where_statements_end(void **state)
{
	(void)state;
	assert_ends("SELECT 1");
	assert_ends("SELECT 1;| SELECT 2;|");
	assert_ends("SELECT ';';|SELECT \";\";|SELECT `;`;|SELECT [;];|SELECT 'a'';b';|x");
	assert_ends("SELECT 1 -- ;\n;| SELECT /* ; */ 2;|");
	assert_ends("SELECT 'never;ends");
	assert_ends("SELECT /* never;ends");
	assert_ends("CREATE TABLE trigger(a);|CREATE TEMP TABLE t;|SELECT 1");
	assert_ends("CREATE TRIGGER x AFTER INSERT ON y BEGIN DELETE FROM a; SELECT CASE 1 WHEN 1 THEN 2 "
		    "END; END;|SELECT 1;|");
	assert_ends("create /* a */ temp trigger x BEGIN SELECT ';END;'; -- END;\n END ;|SELECT 1");
	assert_ends("CREATE TRIGGER x BEGIN SELECT 1; END");
	assert_ends("CREATE TEMPORARY TRIGGER x BEGIN SELECT 1; \"END\"; END;|END;|");
}

static void refuses_statements_that_return_rows(void **state)
{
	(void)state;
	refuses(EVENTS, HEAD "-- apply\nSELECT * FROM events WHERE id > @last AND id <= @max", 0,
		":4: the statement returns rows, and 'apply' has no use for them");
	refuses(EVENTS, HEAD "-- row\nDELETE FROM events WHERE id = @id RETURNING id", 0,
		":4: the statement returns rows, and 'row' has no use for them");
	refuses(EVENTS, HEAD "-- row\nEXPLAIN DELETE FROM events WHERE id = @id", 0,
		":4: the statement returns rows, and 'row' has no use for them");
}

/* ---- row ---------------------------------------------------------------------------------- */

static void runs_each_row_with_its_columns(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS TOTALS "CREATE TABLE log(id, text);",
		HEAD "-- row\nINSERT INTO totals VALUES(@sensor, 1)\n"
		     "  ON CONFLICT DO UPDATE SET n = n + 1;\n"
		     "INSERT INTO log VALUES(@ID, @note || '/' || @note);\n"
		     "DELETE FROM log WHERE id < 0;");
	assert_true(f.open);
	sql(f.db, "INSERT INTO events VALUES(1, 7, 'a'), (2, 7, 'bb'), (3, 8, NULL)");
	assert_int_equal(check(&f, "SELECT * FROM events ORDER BY id"), CATCHUP_ROW_APPLIED);
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT group_concat(sensor || ':' || n) FROM totals"), "7:2,8:1");
	assert_string_equal(
		value(f.db, "SELECT group_concat(id || ifnull(text, '-')) FROM log"), "1a/a,2bb/bb,3-");
	stop(&f);
}

static void passes_every_kind_of_value_byte_for_byte(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS "CREATE TABLE copy(id INTEGER PRIMARY KEY, note);",
		HEAD "-- row\nINSERT INTO copy VALUES(@id, @note);");
	assert_true(f.open);
	sql(f.db, "INSERT INTO events(note) VALUES(NULL), (0), (-9223372036854775808),"
		  "(9223372036854775807), (1.5), (9e999), (''), ('text'), (x''), (x'00ff00'),"
		  "(CAST(x'410042' AS TEXT)), (CAST(x'ff80c0' AS TEXT)), (zeroblob(100000)),"
		  "(printf('%.100000c', 'x'))");
	assert_int_equal(check(&f, "SELECT id, note FROM events ORDER BY id"), CATCHUP_ROW_APPLIED);
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT count(*) FROM copy"), "14");
	assert_string_equal(
		value(f.db, "SELECT count(*) FROM copy JOIN events USING(id) WHERE"
			    " copy.note IS events.note AND typeof(copy.note) = typeof(events.note)"
			    " AND hex(copy.note) = hex(events.note)"),
		"14");
	stop(&f);
}

static void passes_text_of_an_utf16_database(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, "PRAGMA encoding = 'UTF-16le';" EVENTS "CREATE TABLE copy(id INTEGER PRIMARY KEY, note);",
		HEAD "-- row\nINSERT INTO copy VALUES(@id, @note);");
	assert_true(f.open);
	sql(f.db, "INSERT INTO events(note) VALUES('gr\xc3\xbc\xc3\x9f'), ('')");
	assert_int_equal(check(&f, "SELECT id, note FROM events"), CATCHUP_ROW_APPLIED);
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT group_concat(note, '|') FROM copy"),
		"gr\xc3\xbc\xc3\x9f|");
	stop(&f);
}

static void finds_columns_again_when_the_source_changes(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS "CREATE TABLE copy(id INTEGER PRIMARY KEY, note);",
		HEAD "-- row\nINSERT INTO copy VALUES(@id, @note);");
	sql(f.db, "INSERT INTO events VALUES(1, 7, 'one')");
	assert_int_equal(check(&f, "SELECT * FROM events"), CATCHUP_ROW_APPLIED);
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	/* As many columns as before, in another order: SQLite prepares "SELECT *" again by itself. */
	sql(f.db, "DROP TABLE events; CREATE TABLE events(note, id INTEGER PRIMARY KEY, sensor INT);"
		  "INSERT INTO events VALUES('two', 2, 7)");
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT group_concat(id || note) FROM copy"), "1one,2two");
	sql(f.db, "ALTER TABLE events DROP COLUMN note; INSERT INTO events VALUES(3, 7)");
	assert_int_equal(all_rows(&f), CATCHUP_ROW_FAILED);
	said(&f, ":4: parameter '@note' is no column of the source, which has id, sensor");
	assert_int_equal(f.context.fail_code, SQLITE_SCHEMA);
	stop(&f);
}

static void refuses_parameters_that_are_no_columns(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS TOTALS,
		HEAD "-- next\nSELECT 1 AS id\n-- row\n\nDELETE FROM totals WHERE n = @sensr;");
	assert_true(f.open);
	assert_int_equal(check(&f, "SELECT id, sensor FROM events"), CATCHUP_ROW_FAILED);
	said(&f, ":7: parameter '@sensr' is no column of 'next', which has id, sensor");
	assert_int_equal(check(&f, "SELECT id, 1 AS sensr, 2 AS sensr FROM events"), CATCHUP_ROW_FAILED);
	said(&f, ":7: parameter '@sensr': 'next' has 2 columns of this name; give them different ones "
		 "with AS");
	assert_int_equal(check(&f, "SELECT id, 1 AS SENSR, 2 AS sensr FROM events"), CATCHUP_ROW_APPLIED);
	stop(&f);
	refuses(EVENTS TOTALS, HEAD "-- row\nDELETE FROM totals WHERE n = ?2", 0,
		":4: parameter '?' in 'row'; parameters are written @column, with a column of 'next'");
	refuses(EVENTS TOTALS, HEAD "-- row\nDELETE FROM totals WHERE n = $id", 0,
		":4: parameter '$id' in 'row'; parameters are written @column, with a column of 'next'");
}

static void names_two_thousand_columns_within_the_message(void **state)
{
	struct fixture f;
	char *query = malloc(40000);
	size_t n = 0;

	(void)state;
	assert_non_null(query);
	n += (size_t)sprintf(query, "SELECT 1 AS id");
	for (int i = 0; i < 1900; i++)
		n += (size_t)sprintf(query + n, ", %d AS c%d", i, i);
	start(&f, EVENTS TOTALS, HEAD "-- row\nINSERT INTO totals VALUES(@c0, @c1899);");
	assert_int_equal(check(&f, query), CATCHUP_ROW_APPLIED);
	assert_int_equal(all_rows(&f), CATCHUP_ROW_APPLIED);
	assert_string_equal(value(f.db, "SELECT sensor || ',' || n FROM totals"), "0,1899");
	stop(&f);
	start(&f, EVENTS TOTALS, HEAD "-- row\nINSERT INTO totals VALUES(@id, @x);");
	assert_int_equal(check(&f, query), CATCHUP_ROW_FAILED);
	assert_true(strlen(f.context.fail_text) < CATCHUP_MESSAGE_BYTES);
	stop(&f);
	free(query);
}

static void fails_when_a_trigger_ends_the_transaction(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, EVENTS TOTALS "CREATE TABLE log(x);"
		  "CREATE TRIGGER no BEFORE INSERT ON totals BEGIN SELECT RAISE(ROLLBACK, 'no'); END;",
		HEAD "-- row\nINSERT INTO totals VALUES(@sensor, 1); INSERT INTO log VALUES(1);");
	sql(f.db, "INSERT INTO events VALUES(1, 7, 'a')");
	assert_int_equal(check(&f, "SELECT * FROM events"), CATCHUP_ROW_APPLIED);
	sql(f.db, "BEGIN");
	assert_int_equal(all_rows(&f), CATCHUP_ROW_FAILED);
	said(&f, ":4: no");
	/* The second statement has not run outside the transaction. */
	assert_int_not_equal(sqlite3_get_autocommit(f.db), 0);
	assert_string_equal(value(f.db, "SELECT count(*) FROM log"), "0");
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(applies_a_range_with_several_statements),
		cmocka_unit_test(tells_file_line_and_code_of_a_failure),
		cmocka_unit_test(refuses_wrong_parameters_of_apply),
		cmocka_unit_test(tells_the_line_of_a_syntax_error),
		cmocka_unit_test(tells_the_line_of_what_is_missing),
		cmocka_unit_test(refuses_statements_that_break_the_transaction),
		cmocka_unit_test(finds_where_statements_end),
		cmocka_unit_test(refuses_statements_that_return_rows),
		cmocka_unit_test(runs_each_row_with_its_columns),
		cmocka_unit_test(passes_every_kind_of_value_byte_for_byte),
		cmocka_unit_test(passes_text_of_an_utf16_database),
		cmocka_unit_test(finds_columns_again_when_the_source_changes),
		cmocka_unit_test(refuses_parameters_that_are_no_columns),
		cmocka_unit_test(names_two_thousand_columns_within_the_message),
		cmocka_unit_test(fails_when_a_trigger_ends_the_transaction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
