/* SPDX-License-Identifier: MIT */
/*
 * What consumer code may not do: end the transaction, write the bookkeeping or the source, reach
 * other files or settings; and what it may.
 */
#include "../store_help.h"

#include "store/ledger/ledger.h"

struct fixture {
	struct cu_conn conn;
	struct catchup_error error;
};

static void start(struct fixture *f, struct scratch *s, bool separate)
{
	struct catchup_error error = {0};

	memset(f, 0, sizeof(*f));
	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, item);"
		"INSERT INTO orders(item) VALUES ('a'), ('b');"
		"CREATE INDEX orders_item ON orders(item);"
		"CREATE TABLE other(id INTEGER PRIMARY KEY AUTOINCREMENT, x);"
		"CREATE TABLE copy(x); CREATE TRIGGER other_copy AFTER INSERT ON other BEGIN"
		" INSERT INTO copy VALUES (new.x); END;"
		"CREATE TABLE evil(x); CREATE TRIGGER evil_orders AFTER INSERT ON evil BEGIN"
		" DELETE FROM orders; END;"
		"CREATE TABLE evil2(x); CREATE TRIGGER evil_mark AFTER INSERT ON evil2 BEGIN"
		" UPDATE orders SET item = 'x'; END");
	open_conn(&f->conn, CU_ROLE_WRITER, s->database, separate ? s->results : NULL);
	f->conn.guard.consumer = "totals";
	f->conn.guard.source = "orders";
	assert_ok(cu_ledger_create_tables(&f->conn, &error));
	assert_ok(cu_conn_begin(&f->conn, &error));
}

static void finish(struct fixture *f)
{
	cu_conn_close(&f->conn);
}

static void run_all(struct fixture *f, const char *const (*all)[2], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *sql = all[i][0], *denied = all[i][1];
		int rc;

		memset(&f->error, 0, sizeof(f->error));
		cu_conn_guard_enter(&f->conn);
		rc = cu_conn_exec(&f->conn, sql, "x.sql", 1, &f->error);
		cu_conn_guard_leave(&f->conn);
		assert_true(cu_conn_in_transaction(&f->conn));
		if (!denied && rc != CATCHUP_OK)
			fail_msg("%s: %s", sql, f->error.message);
		if (denied && rc != CATCHUP_CONFIG)
			fail_msg("%s: %d: %s", sql, rc, f->error.message);
		if (denied)
			expect_text(&f->error, denied);
		if (denied && denied[0] != '=' && !strstr(f->conn.guard.denied, denied))
			fail_msg("%s: denied: %s", sql, f->conn.guard.denied);
	}
}

static void refused(void **state)
{
	static const char *const all[][2] = {
		{"BEGIN", "BEGIN"},
		{"COMMIT", "COMMIT"},
		{"END", "COMMIT"},
		{"ROLLBACK", "ROLLBACK"},
		{"SAVEPOINT mine", "SAVEPOINT"},
		{"RELEASE catchup", "RELEASE"},
		{"ROLLBACK TO catchup", "ROLLBACK TO"},
		{"ATTACH 'x.db' AS x", "ATTACH"},
		{"ATTACH 'x' || 'y' AS x", "ATTACH"},
		{"DETACH source", "DETACH"},
		{"PRAGMA journal_mode=DELETE", "PRAGMA journal_mode"},
		{"PRAGMA trusted_schema=ON", "PRAGMA trusted_schema"},
		{"PRAGMA data_version=1", "PRAGMA data_version"},
		{"PRAGMA writable_schema=ON", "PRAGMA writable_schema"},
		{"INSERT INTO other(x) SELECT load_extension('x')", "load_extension()"},
		{"INSERT INTO other(x) SELECT name FROM pragma_journal_mode('delete')", "="},
		{"ANALYZE", "ANALYZE"},
		{"INSERT INTO orders(item) VALUES ('c')", "writing table 'orders', the source"},
		{"UPDATE Orders SET item = 1", "writing table 'orders', the source"},
		{"DELETE FROM main.orders", "writing table 'orders', the source"},
		{"REPLACE INTO orders(id) VALUES (1)", "the source"},
		{"WITH x AS (SELECT 1) INSERT INTO \"ORDERS\"(id) SELECT * FROM x", "the source"},
		{"DROP TABLE orders", "the source"},
		{"ALTER TABLE orders RENAME TO gone", "the source"},
		{"ALTER TABLE orders ADD COLUMN extra", "the source"},
		{"ALTER TABLE orders DROP COLUMN item", "the source"},
		{"CREATE INDEX i ON orders(id)", "the source"},
		{"DROP INDEX orders_item", "the source"},
		{"CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END", "the source"},
		{"CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END", "the source"},
		{"INSERT INTO evil VALUES (1)", "the source"},
		{"INSERT INTO evil2 VALUES (1)", "the source"},
		{"UPDATE catchup SET last = 9", "'catchup': names that begin with 'catchup'"},
		{"INSERT INTO Catchup VALUES ('x', 1)", "'catchup'"},
		{"DELETE FROM catchup_dead", "'catchup_dead'"},
		{"DROP TABLE catchup_state", "'catchup_state'"},
		{"CREATE TABLE catchup_mine(x)", "making table 'catchup_mine'"},
		{"CREATE TABLE CATCHUPS(x)", "making table 'CATCHUPS'"},
		{"CREATE TEMP TABLE catchup(name, last)", "making table 'catchup'"},
		{"CREATE VIEW catchup_v AS SELECT 1", "making view 'catchup_v'"},
		{"CREATE INDEX catchup_i ON other(x)", "making an index 'catchup_i'"},
		{"CREATE TRIGGER t AFTER UPDATE ON catchup BEGIN DELETE FROM other; END", "'catchup'"},
		{"CREATE TEMP TRIGGER t AFTER UPDATE ON catchup BEGIN DELETE FROM other; END", "'catchup'"},
		{"CREATE TRIGGER t AFTER INSERT ON other BEGIN DELETE FROM catchup; END;"
			" INSERT INTO other(x) VALUES (1)", "'catchup'"},
		{"DELETE FROM sqlite_sequence", "'sqlite_sequence', SQLite's own"},
		{"UPDATE sqlite_sequence SET seq = 0", "'sqlite_sequence', SQLite's own"},
		{"INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)", "="},
		{"DELETE FROM sqlite_master", "="},
		{"CREATE TABLE sqlite_mine(x)", "="},
		{"VACUUM", "="},
		{"VACUUM INTO 'x.db'", "="},
	};
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, false);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const char *const (*one)[2] = &all[i];

		if (one[0][1][0] == '=') {
			/* Refused by SQLite itself, in its own words. */
			int rc;

			cu_conn_guard_enter(&f.conn);
			rc = cu_conn_exec(&f.conn, one[0][0], "x.sql", 1, &f.error);
			cu_conn_guard_leave(&f.conn);
			if (rc == CATCHUP_OK)
				fail_msg("%s was done", one[0][0]);
			continue;
		}
		run_all(&f, one, 1);
	}
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM orders WHERE item IN ('a', 'b')"), 2);
}

static void allowed(void **state)
{
	static const char *const all[][2] = {
		{"CREATE TABLE IF NOT EXISTS r(id INTEGER PRIMARY KEY AUTOINCREMENT, x REFERENCES other(id))", NULL},
		{"CREATE UNIQUE INDEX IF NOT EXISTS r_x ON r(x)", NULL},
		{"INSERT INTO other(x) SELECT item FROM orders", NULL},
		{"INSERT INTO r(x) SELECT id FROM other WHERE true ON CONFLICT DO UPDATE SET x = excluded.x", NULL},
		{"REPLACE INTO r(id, x) VALUES (1, 2)", NULL},
		{"UPDATE r SET x = (SELECT max(id) FROM orders) WHERE id = 77", NULL},
		{"CREATE VIEW v AS SELECT * FROM r, orders", NULL},
		{"CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN DELETE FROM r; END", NULL},
		{"INSERT INTO v(x) VALUES (1)", NULL},
		{"DROP TRIGGER t; DROP VIEW v", NULL},
		{"ALTER TABLE r RENAME TO r2", NULL},
		{"ALTER TABLE r2 ADD COLUMN y DEFAULT 5", NULL},
		{"DROP TABLE r2", NULL},
		{"CREATE TEMP TABLE scratch(x); INSERT INTO scratch SELECT 1; DROP TABLE scratch", NULL},
		{"CREATE TABLE made AS SELECT last FROM catchup", NULL},
		{"INSERT INTO made WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 9)"
			" SELECT i FROM c", NULL},
		{"INSERT INTO made SELECT json_extract(value, '$.a') FROM json_each('[{\"a\":5}]')", NULL},
		{"REINDEX made", NULL},
		{"CREATE VIRTUAL TABLE words USING fts5(t); INSERT INTO words VALUES ('some words')", NULL},
		{"INSERT INTO words(words) VALUES ('optimize')", NULL},
		{"DELETE FROM words WHERE words MATCH 'some'", NULL},
		{"CREATE VIRTUAL TABLE old USING fts4(t); INSERT INTO old VALUES ('some words')", NULL},
		{"CREATE VIRTUAL TABLE area USING rtree(id, a, b); INSERT INTO area VALUES (1, 2, 3)", NULL},
		{"DROP TABLE words; DROP TABLE old; DROP TABLE area", NULL},
	};
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, false);
	run_all(&f, all, sizeof(all) / sizeof(all[0]));
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	finish(&f);
}

static void the_source_in_its_own_file(void **state)
{
	static const char *const all[][2] = {
		{"INSERT INTO orders(item) VALUES ('c')", "'orders' in the source's database"},
		{"DELETE FROM source.other", "'other' in the source's database"},
		{"CREATE TABLE source.made(x)", "in the source's database"},
		{"DROP INDEX source.orders_item", "in the source's database"},
		{"UPDATE catchup SET last = 1", "'catchup'"},
		{"DETACH source", "DETACH"},
		/* A table of the same name among the results is another table. */
		{"CREATE TABLE main.orders(x); INSERT INTO main.orders SELECT item FROM source.orders", NULL},
	};
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, true);
	run_all(&f, all, sizeof(all) / sizeof(all[0]));
	finish(&f);
}

static void writes_are_noted(void **state)
{
	static const char *const all[][2] = {
		{"INSERT INTO other(x) VALUES (1); UPDATE Other SET x = 2; CREATE TABLE made(x);"
		 "DELETE FROM made; CREATE TEMP TABLE t(x); INSERT INTO t VALUES (1)", NULL},
	};
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, false);
	run_all(&f, all, 1);
	/* `copy` is written by a trigger. */
	assert_int_equal(f.conn.guard.n_writes, 3);
	assert_string_equal(f.conn.guard.writes[0], "other");
	assert_string_equal(f.conn.guard.writes[1], "copy");
	assert_string_equal(f.conn.guard.writes[2], "made");
	finish(&f);
}

static void the_transaction_may_end_behind_our_back(void **state)
{
	static const char *const all[] = {
		"INSERT OR ROLLBACK INTO one VALUES (1)",
		"INSERT INTO rolls VALUES (1)",
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < 2; i++) {
		struct fixture f;
		int rc;

		unlink(s->database);
		start(&f, s, false);
		cu_conn_rollback(&f.conn);
		assert_int_equal(cu_conn_exec(&f.conn, "CREATE TABLE one(x UNIQUE); INSERT INTO one VALUES (1);"
			"CREATE TABLE rolls(x); CREATE TRIGGER rolls_back AFTER INSERT ON rolls BEGIN"
			" SELECT RAISE(ROLLBACK, 'no'); END", NULL, 0, &f.error), CATCHUP_OK);
		assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
		cu_conn_guard_enter(&f.conn);
		rc = cu_conn_exec(&f.conn, all[i], NULL, 0, &f.error);
		cu_conn_guard_leave(&f.conn);
		assert_int_equal(rc, CATCHUP_CONSUMER);
		assert_false(cu_conn_in_transaction(&f.conn));
		assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_CONSUMER);
		cu_conn_rollback(&f.conn);
		finish(&f);
	}
}

static void our_own_sql_is_free(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, false);
	assert_int_equal(cu_conn_exec(&f.conn, "INSERT INTO orders(item) VALUES ('c');"
		"INSERT INTO catchup VALUES ('x', 1); SAVEPOINT a; RELEASE a", NULL, 0, &f.error), CATCHUP_OK);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(refused),
		SCRATCH_TEST(allowed),
		SCRATCH_TEST(the_source_in_its_own_file),
		SCRATCH_TEST(writes_are_noted),
		SCRATCH_TEST(the_transaction_may_end_behind_our_back),
		SCRATCH_TEST(our_own_sql_is_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
