/* SPDX-License-Identifier: MIT */
/*
 * The SQL consumer's statements: what is refused when they are prepared, what `apply` does, and what is
 * said when it fails. `row` is in test_consumer_sql_row.c.
 */
#include "sql_fixture.h"

#include "consumer/sql_syntax.h"

#include <ctype.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
