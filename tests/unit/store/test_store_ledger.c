/* SPDX-License-Identifier: MIT */
/*
 * The ledger: tables, watermarks by compare-and-set, counters, state, dead letters. Leases are in test_store_lease.c.
 */
#include "ledger_fixture.h"

static void the_watermark_is_compared_and_set(void **state)
{
	struct scratch *s = *state;
	struct fixture f, g;

	start(&f, s, "totals");
	start(&g, s, "totals");
	assert_int_equal(watermark(&f), 0);
	assert_false(save(&f, 0, 10, 0, NULL));
	assert_int_equal(watermark(&f), 10);
	assert_true(save(&g, 0, 5, 0, NULL));
	assert_true(save(&g, 9, 20, 0, NULL));
	assert_int_equal(watermark(&g), 10);
	assert_false(save(&g, 10, INT64_MAX, 0, NULL));
	assert_true(save(&f, 10, 11, 0, NULL));
	assert_true(watermark(&f) == INT64_MAX);
	/* A watermark of zero can be saved too, and so can one that stays. */
	finish(&g);
	start(&g, s, "o'ther\"; --\n");
	assert_false(save(&g, 0, 0, 0, NULL));
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup"), 2);
	assert_false(save(&g, 0, 3, 0, NULL));
	assert_false(save(&g, 3, 3, 0, NULL));
	finish(&f);
	finish(&g);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup WHERE name LIKE 'o''ther%'"), 3);
}

static void only_a_restart_goes_back(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	bool lost;

	start(&f, s, "cache");
	assert_false(save(&f, 0, 10, 0, NULL));
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_restart(&f.ledger, 9, 2, 0, &lost, &f.error), CATCHUP_OK);
	assert_true(lost);
	assert_int_equal(cu_ledger_restart(&f.ledger, 10, 2, 0, &lost, &f.error), CATCHUP_OK);
	assert_false(lost);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(watermark(&f), 2);
	finish(&f);
}

static void what_is_rolled_back_is_not_saved(void **state)
{
	struct scratch *s = *state;
	struct cu_counts add = {.offered = 1, .applied = 1};
	struct fixture f;
	bool lost;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save(&f.ledger, 0, 5, 0, &add, &lost, &f.error), CATCHUP_OK);
	assert_false(lost);
	cu_conn_rollback(&f.conn);
	assert_int_equal(watermark(&f), 0);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_state"), 0);
	finish(&f);
}

static void counters_add_up(void **state)
{
	struct scratch *s = *state;
	struct cu_counts add = {.offered = 10, .applied = 6, .passed = 3, .parked = 1, .retries = 2};
	struct fixture f;

	start(&f, s, "totals");
	assert_false(save(&f, 0, 10, 0, &add));
	assert_false(save(&f, 10, 20, 0, &add));
	assert_true(save(&f, 10, 20, 0, &add));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT offered = 20 AND applied = 12 AND passed = 6 AND"
		" parked = 2 AND retries = 4 AND updated_ms > 1600000000000 FROM catchup_state"), 1);
}

static void a_table_of_the_go_package_is_taken_over(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	sql_run(s->database, "CREATE TABLE catchup (name TEXT NOT NULL CONSTRAINT pk PRIMARY KEY"
		" CONSTRAINT \"name not empty\" CHECK (name <> ''), last INTEGER NOT NULL"
		" CONSTRAINT \"last not negative\" CHECK (last >= 0)) WITHOUT ROWID;"
		"INSERT INTO catchup VALUES ('totals', 41)");
	start(&f, s, "totals");
	assert_int_equal(watermark(&f), 41);
	assert_false(save(&f, 41, 42, 0, NULL));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 42);
}

static void foreign_tables_are_refused(void **state)
{
	static const char *const foreign[] = {
		"CREATE TABLE catchup(name TEXT, last INTEGER)",
		"CREATE TABLE catchup(id INTEGER PRIMARY KEY, name, last)",
		"CREATE TABLE catchup(name TEXT PRIMARY KEY, last INTEGER, extra)",
		"CREATE VIEW catchup AS SELECT 'x' AS name, 1 AS last",
		"CREATE TABLE catchup_state(name, state)",
		"CREATE TABLE catchup_dead(consumer, id)",
		"CREATE TABLE catchup_lease(name TEXT PRIMARY KEY, owner)",
		"CREATE TABLE catchup_consumer(id INTEGER PRIMARY KEY)",
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		struct catchup_error error = {0};
		struct cu_conn conn;

		unlink(s->database);
		sql_run(s->database, foreign[i]);
		open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
		assert_int_equal(cu_ledger_create_tables(&conn, &error), CATCHUP_DATABASE);
		expect_text(&error, "belongs to another program");
		assert_false(cu_conn_in_transaction(&conn));
		cu_conn_close(&conn);
		assert_int_equal(sql_int(s->database,
			"SELECT count(*) FROM sqlite_schema WHERE name LIKE 'catchup%'"), 1);
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE "
			"'%vanished%'"), 0);
	}
}

static void tables_are_made_once_and_in_the_transaction_in_hand(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	int64_t version;

	sql_run(s->database, "CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_ledger_create_tables(&conn, &error));
	assert_true(cu_conn_in_transaction(&conn));
	cu_conn_rollback(&conn);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema"), 1);
	assert_ok(cu_ledger_create_tables(&conn, &error));
	version = sql_int(s->database, "PRAGMA schema_version");
	assert_ok(cu_ledger_create_tables(&conn, &error));
	assert_int_equal(sql_int(s->database, "PRAGMA schema_version"), version);
	cu_conn_close(&conn);
	assert_int_equal(sql_int(s->database, "SELECT sql = 'CREATE TABLE catchup(name TEXT NOT NULL PRIMARY"
		" KEY CHECK(name<>''''), last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID'"
		" FROM sqlite_schema WHERE name = 'catchup'"), 1);
}

static void a_temporary_table_does_not_stand_in_front(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_exec(&f.conn, "CREATE TEMP TABLE catchup(name, last);"
		"CREATE TEMP TABLE catchup_state(name)", NULL, 0, &f.error), CATCHUP_OK);
	assert_false(save(&f, 0, 10, 0, &(struct cu_counts){.offered = 1}));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 10);
}

static void marks_are_kept(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t id, hash;
	bool known, lost;

	start(&f, s, "totals");
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_false(known);
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save(&f.ledger, 0, 7, 0, NULL, &lost, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save_mark(&f.ledger, 7, INT64_MIN, &f.error), CATCHUP_OK);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_true(known && id == 7 && hash == INT64_MIN);
	/* Counters beside it leave it alone. */
	assert_false(save(&f, 7, 8, 0, &(struct cu_counts){.offered = 1}));
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_true(known && id == 7);
	finish(&f);
}

static void trouble_is_kept_and_cleared(void **state)
{
	struct scratch *s = *state;
	struct cu_trouble trouble = {.state = CATCHUP_STATE_STOPPED, .code = CATCHUP_CONSUMER,
		.category = "row", .row = 5, .message = "it's \"bad\""};
	struct fixture f;
	int64_t since;

	start(&f, s, "totals");
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT state = 4 AND code = 8 AND category = 'row' AND"
		" error_row = 5 AND message = 'it''s \"bad\"' FROM catchup_state"), 1);
	since = sql_int(s->database, "SELECT since_ms FROM catchup_state");
	assert_true(since > 1600000000000);
	/* The same again keeps the time, another one does not. */
	sql_run(s->database, "UPDATE catchup_state SET since_ms = 1000");
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT since_ms FROM catchup_state"), 1000);
	trouble.row = 6;
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_true(sql_int(s->database, "SELECT since_ms FROM catchup_state") > 1000);
	trouble.code = CATCHUP_OK;
	/* In the transaction in hand. */
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_true(cu_conn_in_transaction(&f.conn));
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT state = 0 AND code = 0 AND category IS NULL AND"
		" error_row = 0 AND message IS NULL AND since_ms = 0 FROM catchup_state"), 1);
	finish(&f);
}

static void dead_letters(void **state)
{
	struct scratch *s = *state;
	struct cu_dead_letter letter = {.id = 7, .key = "a\0b", .key_bytes = 3,
		.code = SQLITE_CONSTRAINT_CHECK, .message = "no", .attempts = 2};
	struct fixture f;
	bool has;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	letter.message = "never";
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	letter = (struct cu_dead_letter){.id = INT64_MAX, .attempts = 1};
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a\0b", 3, &has, &f.error), CATCHUP_OK);
	assert_true(has);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a", 1, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "", 0, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT attempts = 4 AND message = 'never' AND first_ms > 0 AND"
		" last_ms >= first_ms AND length(CAST(key AS BLOB)) = 3 FROM catchup_dead WHERE id = 7"), 1);
	assert_int_equal(sql_int(s->database, "SELECT key IS NULL AND message = '' FROM catchup_dead"
		" WHERE id = 9223372036854775807"), 1);
	finish(&f);
	/* Another consumer has its own. */
	start(&f, s, "other");
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a\0b", 3, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	finish(&f);
}

static int register_totals(struct cu_conn *conn, const char *source, const char *id_column,
	const char *max, const char *into, struct catchup_error *error)
{
	const struct cu_registration registration = {.name = "totals",
		.source = source,
		.id_column = id_column,
		.max = max,
		.into = into};

	return cu_ledger_register(conn, &registration, error);
}

static void registration_is_written_once(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	int64_t before, after;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(register_totals(&conn, "orders", "id", NULL, "/x/results.db", &error));
	assert_ok(register_totals(&conn, NULL, NULL, "SELECT 1 AS max", "", &error));
	before = sql_int(s->database, "SELECT sum(turn) FROM catchup_consumer");
	assert_ok(register_totals(&conn, NULL, NULL, "SELECT 1 AS max", "", &error));
	after = sql_int(s->database, "SELECT sum(turn) FROM catchup_consumer");
	assert_int_equal(before, after);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_consumer"), 2);
	assert_int_equal(sql_int(s->database, "SELECT \"into\" = '' FROM catchup_consumer ORDER BY turn DESC"), 1);
	/* Back to the first place: that is the newest again. */
	assert_ok(register_totals(&conn, "orders", "id", NULL, "/x/results.db", &error));
	assert_int_equal(sql_int(s->database, "SELECT \"into\" <> '' FROM catchup_consumer ORDER BY turn DESC"), 1);
	assert_false(cu_conn_in_transaction(&conn));
	cu_conn_close(&conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(the_watermark_is_compared_and_set),
		SCRATCH_TEST(only_a_restart_goes_back),
		SCRATCH_TEST(what_is_rolled_back_is_not_saved),
		SCRATCH_TEST(counters_add_up),
		SCRATCH_TEST(a_table_of_the_go_package_is_taken_over),
		SCRATCH_TEST(foreign_tables_are_refused),
		SCRATCH_TEST(tables_are_made_once_and_in_the_transaction_in_hand),
		SCRATCH_TEST(a_temporary_table_does_not_stand_in_front),
		SCRATCH_TEST(marks_are_kept),
		SCRATCH_TEST(trouble_is_kept_and_cleared),
		SCRATCH_TEST(dead_letters),
		SCRATCH_TEST(registration_is_written_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
