/* SPDX-License-Identifier: MIT */
/*
 * Sources: which tables fit, newest ids, where ranges end, rows in order, fingerprints.
 */
#include "source_help.h"

static void follows_a_table(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t rows;

	take(&f, s, CU_ROLE_READER, ORDERS, (struct cu_source_spec){.table = "orders"});
	assert_int_equal(f.source.warnings, 0);
	assert_int_equal(newest_of(&f), 0);
	sql_run(s->database, "INSERT INTO orders(id) VALUES (1),(2),(5),(100),(9223372036854775807)");
	assert_true(newest_of(&f) == INT64_MAX);
	expect_cut(&f, 0, INT64_MAX, 2, 2, 2);
	expect_cut(&f, 2, INT64_MAX, 2, 100, 2);
	expect_cut(&f, 100, INT64_MAX, 2, INT64_MAX, 1);
	expect_cut(&f, INT64_MAX, INT64_MAX, 2, INT64_MAX, 0);
	expect_cut(&f, INT64_MAX - 1, INT64_MAX, 2, INT64_MAX, 1);
	expect_cut(&f, 0, 5, 3, 5, 3);
	expect_cut(&f, 0, 5, 4, 5, 3);
	assert_int_equal(cu_source_count(&f.source, 2, 100, &rows, &f.error), CATCHUP_OK);
	assert_int_equal(rows, 3);
	assert_int_equal(cu_source_count(&f.source, 0, 2, &rows, &f.error), CATCHUP_OK);
	assert_int_equal(rows, 2);
	finish(&f);

	take(&f, s, CU_ROLE_FETCH, NULL, (struct cu_source_spec){.table = "ORDERS", .id_column = "ID"});
	assert_string_equal(fetched(&f, 0, 5), "1 2 5");
	assert_string_equal(fetched(&f, 5, INT64_MAX), "100 9223372036854775807");
	assert_string_equal(fetched(&f, 100, 100), "");
	finish(&f);
}

static void no_read_transaction_is_left(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t id;

	take(&f, s, CU_ROLE_FETCH, ORDERS "INSERT INTO orders(item) VALUES ('a'),('b')",
		(struct cu_source_spec){.table = "orders"});
	assert_string_equal(fetched(&f, 0, 2), "1 2");
	assert_int_equal(sqlite3_txn_state(f.conn.db, "main"), SQLITE_TXN_NONE);
	cu_source_fetch_begin(&f.source, 0, 2);
	assert_int_equal(cu_source_fetch_next(&f.source, &id, &f.error), CATCHUP_OK);
	assert_int_equal(sqlite3_txn_state(f.conn.db, "main"), SQLITE_TXN_READ);
	assert_string_equal(sqlite3_column_text(cu_source_row(&f.source), 1), "a");
	cu_source_fetch_end(&f.source);
	assert_int_equal(sqlite3_txn_state(f.conn.db, "main"), SQLITE_TXN_NONE);
	cu_source_fetch_begin(&f.source, 0, 2);
	while (cu_source_fetch_next(&f.source, &id, &f.error) == CATCHUP_OK && id)
		continue;
	assert_int_equal(sqlite3_txn_state(f.conn.db, "main"), SQLITE_TXN_NONE);
	cu_source_fetch_end(&f.source);
	newest_of(&f);
	assert_int_equal(sqlite3_txn_state(f.conn.db, "main"), SQLITE_TXN_NONE);
	finish(&f);
}

static void follows_a_table_in_another_file(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	/* A table of the same name among the results is not the source. */
	sql_run(s->results, "CREATE TABLE orders(id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (99)");
	take(&f, s, CU_ROLE_WRITER, ORDERS "INSERT INTO orders(item) VALUES ('a'),('b')",
		(struct cu_source_spec){.table = "orders", .attached = true});
	assert_int_equal(newest_of(&f), 2);
	assert_string_equal(fetched(&f, 0, 100), "1 2");
	finish(&f);
}

static void knows_id_columns(void **state)
{
	static const struct {
		const char *create, *id;
		unsigned warnings;
		const char *refused; /* NULL: taken */
	} all[] = {
		{"t(id INTEGER PRIMARY KEY AUTOINCREMENT)", "id", 0, NULL},
		{"t(id INTEGER PRIMARY KEY)", "id", CU_SOURCE_NO_AUTOINCREMENT, NULL},
		{"t(id INTEGER, x, PRIMARY KEY(id))", "id", CU_SOURCE_NO_AUTOINCREMENT, NULL},
		{"t(x, \"a \"\"b\" INTEGER PRIMARY KEY)", "a \"b", CU_SOURCE_NO_AUTOINCREMENT, NULL},
		{"t(id INTEGER NOT NULL UNIQUE, x)", "id", 0, NULL},
		{"t(id BIGINT PRIMARY KEY, x)", "id", 0, NULL},
		{"t(id INTEGER PRIMARY KEY, x) WITHOUT ROWID", "id", 0, NULL},
		{"t(x INT UNIQUE, id INT UNIQUE) STRICT", "id", 0, NULL},
		{"t(x)", "rowid", CU_SOURCE_NO_AUTOINCREMENT | CU_SOURCE_BARE_ROWID, NULL},
		{"t(x)", "OID", CU_SOURCE_NO_AUTOINCREMENT | CU_SOURCE_BARE_ROWID, NULL},
		{"t(x INTEGER PRIMARY KEY)", "rowid", CU_SOURCE_NO_AUTOINCREMENT, NULL},
		{"t(x INTEGER PRIMARY KEY AUTOINCREMENT)", "_rowid_", 0, NULL},
		{"t(x TEXT PRIMARY KEY)", "rowid", CU_SOURCE_NO_AUTOINCREMENT | CU_SOURCE_BARE_ROWID, NULL},
		{"t(rowid INTEGER UNIQUE)", "rowid", 0, NULL},
		{"t(x)", "id", 0, "no column 'id'"},
		{"t(id)", "id", 0, "declared '', not INTEGER"},
		{"t(id TEXT PRIMARY KEY)", "id", 0, "declared 'TEXT', not INTEGER"},
		{"t(id REAL UNIQUE)", "id", 0, "not INTEGER"},
		{"t(id INTEGER)", "id", 0, "could have one id"},
		{"t(id INTEGER, x, UNIQUE(id, x))", "id", 0, "could have one id"},
		{"t(id INTEGER, x, PRIMARY KEY(id, x)) WITHOUT ROWID", "id", 0, "could have one id"},
		{"t(x PRIMARY KEY) WITHOUT ROWID", "rowid", 0, "WITHOUT ROWID"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct cu_source_spec spec = {.table = "t", .id_column = all[i].id};
		struct fixture f;
		char sql[256];

		snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS t; CREATE TABLE %s", all[i].create);
		if (all[i].refused) {
			refuse(s, sql, spec, all[i].refused);
			continue;
		}
		take(&f, s, CU_ROLE_WRITER, sql, spec);
		if (f.source.warnings != all[i].warnings)
			fail_msg("%s: warnings %u", all[i].create, f.source.warnings);
		finish(&f);
	}
	refuse(s, "DROP TABLE t; CREATE TABLE t(id INTEGER, x); CREATE UNIQUE INDEX part ON t(id) WHERE x",
		(struct cu_source_spec){.table = "t"}, "could have one id");
	refuse(s, "CREATE UNIQUE INDEX sum ON t(id + 1)", (struct cu_source_spec){.table = "t"},
		"could have one id");
}

static void a_bare_rowid_comes_as_id(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	take(&f, s, CU_ROLE_FETCH, "CREATE TABLE t(id TEXT, x); INSERT INTO t VALUES ('seven', 7), ('b', 8)",
		(struct cu_source_spec){.table = "t", .id_column = "rowid"});
	assert_string_equal(fetched(&f, 0, 10), "1 2");
	assert_string_equal(sqlite3_column_name(f.source.next, 0), "id");
	finish(&f);
}

static void refuses_what_cannot_be_followed(void **state)
{
	struct scratch *s = *state;

	refuse(s, ORDERS, (struct cu_source_spec){.table = "order"},
		"consumer 'totals': source 'order': no such table");
	refuse(s, NULL, (struct cu_source_spec){.table = "sqlite_sequence"}, "SQLite's own");
	refuse(s, "CREATE TABLE catchup_dead(id INTEGER PRIMARY KEY)",
		(struct cu_source_spec){.table = "Catchup_Dead"}, "catchup's own");
	refuse(s, "CREATE VIRTUAL TABLE words USING fts5(id)", (struct cu_source_spec){.table = "words"},
		"a virtual table");
	refuse(s, NULL, (struct cu_source_spec){.table = "words_data"}, "a shadow table");
	refuse(s, "CREATE VIEW v AS SELECT id AS n FROM orders", (struct cu_source_spec){.table = "v"},
		"the view has no column 'id'");
	refuse(s, "CREATE TABLE zero(id INTEGER PRIMARY KEY); INSERT INTO zero VALUES (0),(4)",
		(struct cu_source_spec){.table = "zero"}, "a row has id 0");
	refuse(s, "UPDATE zero SET id = -9223372036854775808 WHERE id = 0",
		(struct cu_source_spec){.table = "zero"}, "a row has id -9223372036854775808");
	refuse(s, "CREATE TABLE nulls(id INTEGER UNIQUE); INSERT INTO nulls VALUES (NULL),(4)",
		(struct cu_source_spec){.table = "nulls"}, "NULL in column 'id'");
}

static void ids_that_are_no_integers_are_errors(void **state)
{
	static const struct {
		const char *value, *message;
	} all[] = {
		{"'text'", "id 'text', which is not an integer"},
		{"1.5", "id '1.5', which is not an integer"},
		{"x'00'", "a blob as id"},
	};
	struct scratch *s = *state;
	int64_t newest;
	bool empty;

	for (size_t i = 0; i < 3; i++) {
		struct fixture f;
		char sql[256];

		snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS t; CREATE TABLE t(id INTEGER UNIQUE);"
			"INSERT INTO t VALUES (%s)", all[i].value);
		take(&f, s, CU_ROLE_READER, sql, (struct cu_source_spec){.table = "t"});
		assert_int_equal(cu_source_newest(&f.source, &newest, &empty, &f.error), CATCHUP_CONSUMER);
		expect_text(&f.error, all[i].message);
		expect_text(&f.error, "consumer 'totals': source 't'");
		finish(&f);
	}
}

static void views_are_followed(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	take(&f, s, CU_ROLE_WRITER, ORDERS "INSERT INTO orders(item) VALUES ('a'),('b'),('c'),('d');"
		"CREATE VIEW v AS SELECT id, item FROM orders WHERE item <> 'b'",
		(struct cu_source_spec){.table = "v"});
	assert_int_equal(newest_of(&f), 4);
	expect_cut(&f, 0, 4, 2, 3, 2);
	assert_string_equal(fetched(&f, 0, 4), "1 3 4");
	finish(&f);
	/* An id that comes twice is seen when it comes. */
	take(&f, s, CU_ROLE_WRITER, "CREATE VIEW w AS SELECT id FROM orders UNION ALL SELECT id FROM orders",
		(struct cu_source_spec){.table = "w"});
	assert_string_equal(fetched(&f, 0, 4), "1 consumer 'totals': source 'w': next query returned id 1 "
		"after id 1; an id comes once");
	finish(&f);
}

static void schema_changes_while_running(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t newest;
	bool empty;

	take(&f, s, CU_ROLE_WRITER, ORDERS "INSERT INTO orders(item) VALUES ('a'),('b')",
		(struct cu_source_spec){.table = "orders"});
	assert_string_equal(fetched(&f, 0, 2), "1 2");
	/* Another order of columns: the id is found again. */
	sql_run(s->database, "CREATE TABLE n(item TEXT, extra, id INTEGER PRIMARY KEY);"
		"INSERT INTO n SELECT item, 1, id FROM orders; DROP TABLE orders; ALTER TABLE n RENAME TO orders");
	assert_string_equal(fetched(&f, 0, 2), "1 2");
	assert_int_equal(f.source.id_index, 2);
	assert_int_equal(cu_source_still_fits(&f.source, &f.error), CATCHUP_OK);
	sql_run(s->database, "ALTER TABLE orders RENAME TO other");
	assert_non_null(strstr(fetched(&f, 0, 2), "dropped, renamed or altered: no such table"));
	assert_int_equal(f.error.code, CATCHUP_CONSUMER);
	assert_int_equal(cu_fault_of(f.error.detail), CU_FAULT_SCHEMA);
	assert_int_equal(cu_source_newest(&f.source, &newest, &empty, &f.error), CATCHUP_CONSUMER);
	assert_int_equal(cu_fault_of(f.error.detail), CU_FAULT_SCHEMA);
	assert_int_equal(cu_source_still_fits(&f.source, &f.error), CATCHUP_CONSUMER);
	/* It comes back. */
	sql_run(s->database, "ALTER TABLE other RENAME TO orders");
	assert_string_equal(fetched(&f, 0, 2), "1 2");
	sql_run(s->database, "ALTER TABLE orders RENAME COLUMN id TO nr");
	assert_non_null(strstr(fetched(&f, 0, 2), "no column 'id'"));
	finish(&f);
}

static void highest_outlives_the_rows(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t highest;

	take(&f, s, CU_ROLE_READER, ORDERS, (struct cu_source_spec){.table = "Orders"});
	assert_int_equal(cu_source_highest(&f.source, &highest, &f.error), CATCHUP_OK);
	assert_int_equal(highest, 0);
	sql_run(s->database, "INSERT INTO orders(id) VALUES (70); DELETE FROM orders");
	assert_int_equal(newest_of(&f), 0);
	assert_int_equal(cu_source_highest(&f.source, &highest, &f.error), CATCHUP_OK);
	assert_int_equal(highest, 70);
	finish(&f);
	take(&f, s, CU_ROLE_READER, "CREATE TABLE t(id INTEGER PRIMARY KEY); INSERT INTO t VALUES (3)",
		(struct cu_source_spec){.table = "t"});
	assert_int_equal(cu_source_highest(&f.source, &highest, &f.error), CATCHUP_OK);
	assert_int_equal(highest, 3);
	finish(&f);
}

static void fingerprints_tell_rows_apart(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t id, hash, other;
	bool found;

	take(&f, s, CU_ROLE_WRITER, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b);"
		"INSERT INTO t VALUES (2, 'x', NULL), (5, 1, 2.5), (9, x'00ff', 'a' || char(0) || 'b')",
		(struct cu_source_spec){.table = "t"});
	assert_int_equal(cu_source_fingerprint(&f.source, 1, &id, &hash, &f.error), CATCHUP_OK);
	assert_int_equal(id, 0);
	assert_int_equal(cu_source_fingerprint(&f.source, 7, &id, &hash, &f.error), CATCHUP_OK);
	assert_int_equal(id, 5);
	assert_int_equal(cu_source_fingerprint_of(&f.source, 5, &found, &other, &f.error), CATCHUP_OK);
	assert_true(found);
	assert_true(hash == other);
	assert_int_equal(cu_source_fingerprint_of(&f.source, 7, &found, &other, &f.error), CATCHUP_OK);
	assert_false(found);
	/* A new column without values changes nothing; a value of another type does. */
	sql_run(s->database, "ALTER TABLE t ADD COLUMN c");
	assert_int_equal(cu_source_fingerprint_of(&f.source, 5, &found, &other, &f.error), CATCHUP_OK);
	assert_true(found);
	assert_true(hash == other);
	sql_run(s->database, "UPDATE t SET a = '1' WHERE id = 5");
	assert_int_equal(cu_source_fingerprint_of(&f.source, 5, &found, &other, &f.error), CATCHUP_OK);
	assert_true(hash != other);
	assert_int_equal(cu_source_fingerprint_of(&f.source, 9, &found, &hash, &f.error), CATCHUP_OK);
	sql_run(s->database, "UPDATE t SET b = 'a' || char(0) || 'c' WHERE id = 9");
	assert_int_equal(cu_source_fingerprint_of(&f.source, 9, &found, &other, &f.error), CATCHUP_OK);
	assert_true(hash != other);
	finish(&f);
}

static void text_passes_byte_for_byte(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t id;

	take(&f, s, CU_ROLE_FETCH, ORDERS
		"INSERT INTO orders(item) VALUES (CAST(x'61ff0062' AS TEXT))",
		(struct cu_source_spec){.table = "orders"});
	cu_source_fetch_begin(&f.source, 0, 1);
	assert_int_equal(cu_source_fetch_next(&f.source, &id, &f.error), CATCHUP_OK);
	assert_memory_equal(sqlite3_column_text(cu_source_row(&f.source), 1), "a\xff\0b", 4);
	assert_int_equal(sqlite3_column_bytes(cu_source_row(&f.source), 1), 4);
	cu_source_fetch_end(&f.source);
	finish(&f);
}

static void ids_far_apart_cost_nothing(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	take(&f, s, CU_ROLE_READER, "CREATE TABLE t(id INTEGER PRIMARY KEY); WITH RECURSIVE c(i) AS"
		" (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)"
		" INSERT INTO t SELECT i * 1000000000000000 FROM c",
		(struct cu_source_spec){.table = "t"});
	for (int64_t lo = 0, hi; lo < newest_of(&f); lo = hi) {
		uint32_t rows;

		assert_int_equal(cu_source_cut(&f.source, lo, newest_of(&f), 100, &hi, &rows, &f.error),
			CATCHUP_OK);
		assert_int_equal(rows, 100);
		assert_true(hi == lo + INT64_C(100) * 1000000000000000);
	}
	finish(&f);
}

static void wide_tables_and_large_values(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	char *sql = malloc(64 * 1024), *to = sql;
	bool found;
	int64_t hash;

	to += sprintf(to, "CREATE TABLE wide(id INTEGER PRIMARY KEY");
	for (int i = 1; i < 1999; i++)
		to += sprintf(to, ",c%d", i);
	sprintf(to, "); INSERT INTO wide(id, c1, c1998) VALUES (1, zeroblob(20000000), 'end')");
	take(&f, s, CU_ROLE_WRITER, sql, (struct cu_source_spec){.table = "wide"});
	free(sql);
	assert_string_equal(fetched(&f, 0, 1), "1");
	assert_int_equal(cu_source_fingerprint_of(&f.source, 1, &found, &hash, &f.error), CATCHUP_OK);
	assert_true(found);
	finish(&f);
}

static void hostile_schemas_call_nothing(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	/* Functions of the application that are not innocuous cannot be called from a view. */
	refuse(s, ORDERS "CREATE VIEW v AS SELECT load_extension('/tmp/x.so') AS id",
		(struct cu_source_spec){.max = "SELECT max(id) AS max FROM v",
			.next = "SELECT id FROM v WHERE id > @last AND id <= @max"}, "max query: ");
	assert_int_equal(try_source(&f, s, CU_ROLE_READER, NULL, (struct cu_source_spec){.table = "v"}),
		CATCHUP_CONFIG);
	expect_text(&f.error, "unsafe use of load_extension");
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(follows_a_table),
		SCRATCH_TEST(no_read_transaction_is_left),
		SCRATCH_TEST(follows_a_table_in_another_file),
		SCRATCH_TEST(knows_id_columns),
		SCRATCH_TEST(a_bare_rowid_comes_as_id),
		SCRATCH_TEST(refuses_what_cannot_be_followed),
		SCRATCH_TEST(ids_that_are_no_integers_are_errors),
		SCRATCH_TEST(views_are_followed),
		SCRATCH_TEST(schema_changes_while_running),
		SCRATCH_TEST(highest_outlives_the_rows),
		SCRATCH_TEST(fingerprints_tell_rows_apart),
		SCRATCH_TEST(text_passes_byte_for_byte),
		SCRATCH_TEST(ids_far_apart_cost_nothing),
		SCRATCH_TEST(wide_tables_and_large_values),
		SCRATCH_TEST(hostile_schemas_call_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
