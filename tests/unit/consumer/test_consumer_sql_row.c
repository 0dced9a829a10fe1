/* SPDX-License-Identifier: MIT */
/*
 * The SQL consumer's `row`: its parameters are columns, whose values come through as they are.
 */
#include "sql_fixture.h"

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
