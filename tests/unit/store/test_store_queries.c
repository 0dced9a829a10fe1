/* SPDX-License-Identifier: MIT */
/* Sources with queries of the consumer's own: what they may be, what they may return, and how long they may take. */
#include "source_help.h"

static void own_queries(void **state)
{
	struct scratch *s = *state;
	struct cu_source_spec spec = {
		.max = "SELECT coalesce(max(id), 0) AS max FROM orders -- newest",
		.next = "SELECT item, id AS ID FROM orders WHERE id > @last AND id <= @max"
			" AND item <> 'b' ORDER BY id LIMIT 2;",
	};
	struct fixture f;
	int64_t rows, id;

	take(&f, s, CU_ROLE_WRITER, ORDERS, spec);
	assert_int_equal(newest_of(&f), 0);
	sql_run(s->database, "INSERT INTO orders(item) VALUES ('a'),('b'),('c'),('d')");
	assert_int_equal(newest_of(&f), 4);
	expect_cut(&f, 1, 4, 2, 4, CU_ROWS_UNKNOWN);
	expect_cut(&f, 3, 4, 2, 4, CU_ROWS_UNKNOWN);
	expect_cut(&f, 4, 4, 2, 4, 0);
	assert_string_equal(fetched(&f, 0, 4), "1 3");
	assert_string_equal(fetched(&f, 3, 4), "4");
	assert_string_equal(fetched(&f, 4, 4), "");
	assert_int_equal(cu_source_count(&f.source, 0, 10, &rows, &f.error), CATCHUP_OK);
	assert_int_equal(rows, -1);
	assert_int_equal(cu_source_fingerprint(&f.source, 4, &id, &rows, &f.error), CATCHUP_OK);
	assert_int_equal(id, 0);
	finish(&f);
	/* A reader does not look at next, which may use the results. */
	spec.next = "SELECT id FROM results_only WHERE id > @last AND id <= @max";
	take(&f, s, CU_ROLE_READER, NULL, spec);
	assert_int_equal(newest_of(&f), 4);
	finish(&f);
}

static void wrong_own_queries(void **state)
{
	static const char max[] = "SELECT max(id) AS max FROM orders";
	static const char next[] = "SELECT id FROM orders WHERE id > @last AND id <= @max";
	static const struct {
		const char *max, *next, *message;
	} all[] = {
		{NULL, next, "max query: missing"},
		{max, NULL, "next query: missing"},
		{"", next, "max query: it is empty"},
		{"SELECT max(id) FROM orders", next, "max query: it returns no column 'max'"},
		{"SELECT 1 AS max, 2 AS max", next, "more than one column 'max'"},
		{"SELECT max(id) AS max FROM orders WHERE id > @last", next, "parameter '@last' has no value"},
		{"SELECT max(id) AS max FROM missing", next, "max query: no such table: missing"},
		{"SELECT 1 AS max; SELECT 2 AS max", next, "more than one statement"},
		{"PRAGMA user_version", next, "not allowed: PRAGMA user_version"},
		{"INSERT INTO results VALUES (1) RETURNING 1 AS max", next, "it writes"},
		{"BEGIN", next, "not allowed: BEGIN"},
		{max, "SELECT id FROM orders", "next query: it does not use @last"},
		{max, "SELECT id FROM orders WHERE id > @last", "next query: it does not use @max"},
		{max, "SELECT id FROM orders WHERE id > @last AND id <= @max AND item = :item",
			"parameter ':item' has no value"},
		{max, "SELECT id FROM orders WHERE id > ? AND id <= ?", "parameter '?' has no value"},
		{max, "SELECT item FROM orders WHERE id > @last AND id <= @max", "no column 'id'"},
		{max, "SELEC id", "next query: near \"SELEC\": syntax error"},
	};
	struct scratch *s = *state;

	sql_run(s->database, ORDERS "CREATE TABLE results(x)");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		refuse(s, NULL, (struct cu_source_spec){.max = all[i].max, .next = all[i].next},
			all[i].message);
}

static void wrong_ids_of_own_queries(void **state)
{
	static const struct {
		const char *select, *expect;
	} all[] = {
		{"SELECT 1 AS id UNION ALL SELECT 9 UNION ALL SELECT 7",
			"1 9 consumer 'totals': next query returned id 7 after id 9; rows must ascend"},
		{"SELECT 1 AS id UNION ALL SELECT 1", "1 consumer 'totals': next query returned id 1 after "
			"id 1; an id comes once"},
		{"SELECT NULL AS id", "consumer 'totals': next query returned id NULL"},
		{"SELECT '5' AS id", "consumer 'totals': next query returned id '5', which is not an integer"},
		{"SELECT 5.0 AS id", "consumer 'totals': next query returned id '5.0', which is not an integer"},
		{"SELECT x'35' AS id", "consumer 'totals': next query returned a blob as id"},
		{"SELECT 0 AS id", "consumer 'totals': next query returned id 0 outside the range it was asked "
			"for, 0 < id <= 10"},
		{"SELECT -9223372036854775808 AS id", "consumer 'totals': next query returned id "
			"-9223372036854775808 outside the range it was asked for, 0 < id <= 10"},
		{"SELECT 11 AS id", "consumer 'totals': next query returned id 11 outside the range it was "
			"asked for, 0 < id <= 10"},
	};
	struct scratch *s = *state;

	sql_run(s->database, ORDERS);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct fixture f;
		char next[256];

		snprintf(next, sizeof(next), "WITH bounds(l, m) AS (SELECT @last, @max) %s", all[i].select);
		take(&f, s, CU_ROLE_FETCH, NULL,
			(struct cu_source_spec){.max = "SELECT 10 AS max", .next = next});
		assert_string_equal(fetched(&f, 0, 10), all[i].expect);
		assert_int_equal(f.error.code, CATCHUP_CONSUMER);
		assert_int_equal(f.error.detail, 0);
		finish(&f);
	}
}

static void endless_queries_are_stopped(void **state)
{
	static const char next[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
		" SELECT x AS id FROM c WHERE x > @last AND x <= @max AND x < 3";
	struct scratch *s = *state;
	struct fixture f;
	_Atomic int stop = 0;
	int64_t id;

	take(&f, s, CU_ROLE_FETCH, ORDERS, (struct cu_source_spec){.max = "SELECT 10 AS max", .next = next});
	f.conn.query_ns = 20 * CU_NS_PER_MS;
	assert_string_equal(fetched(&f, 0, 10),
		"1 2 consumer 'totals': next query: no row after 20 ms of processor time, stopped");
	assert_int_equal(cu_fault_of(f.error.detail), CU_FAULT_SLOW);
	/* Rows that the consumer takes long over are not the query's. */
	cu_source_fetch_begin(&f.source, 0, 10);
	assert_int_equal(cu_source_fetch_next(&f.source, &id, &f.error), CATCHUP_OK);
	cu_os_sleep_ns(30 * CU_NS_PER_MS);
	assert_int_equal(cu_source_fetch_next(&f.source, &id, &f.error), CATCHUP_OK);
	cu_source_fetch_end(&f.source);
	/* A stop ends it too. */
	f.conn.query_ns = CU_FOREVER;
	f.conn.stopping = &stop;
	atomic_store(&stop, 2);
	assert_non_null(strstr(fetched(&f, 0, 10), "interrupted"));
	assert_int_equal(cu_conn_fault(&f.conn, f.error.detail), CU_FAULT_STOP);
	finish(&f);
}

static void a_reader_stops_at_once(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	_Atomic int stop = 1;
	int64_t newest;
	bool empty;

	take(&f, s, CU_ROLE_READER, ORDERS, (struct cu_source_spec){.max = "WITH RECURSIVE c(x) AS"
		" (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS max FROM c WHERE x < 0"});
	f.conn.stopping = &stop;
	assert_int_not_equal(cu_source_newest(&f.source, &newest, &empty, &f.error), CATCHUP_OK);
	assert_int_equal(cu_conn_fault(&f.conn, f.error.detail), CU_FAULT_STOP);
	finish(&f);
}

static void wrong_values_of_max(void **state)
{
	static const struct {
		const char *max, *message;
	} all[] = {
		{"SELECT 'x' AS max", "max query returned id 'x', which is not an integer"},
		{"SELECT -1 AS max", "max query returned id -1; ids begin at 1"},
		{"SELECT 1e18 AS max", "not an integer"},
	};
	struct scratch *s = *state;
	int64_t newest;
	bool empty;
	struct fixture f;

	sql_run(s->database, ORDERS);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		take(&f, s, CU_ROLE_READER, NULL, (struct cu_source_spec){.max = all[i].max});
		assert_int_equal(cu_source_newest(&f.source, &newest, &empty, &f.error), CATCHUP_CONSUMER);
		expect_text(&f.error, all[i].message);
		finish(&f);
	}
	take(&f, s, CU_ROLE_READER, NULL, (struct cu_source_spec){.max = "SELECT NULL AS max"});
	assert_int_equal(newest_of(&f), 0);
	finish(&f);
	take(&f, s, CU_ROLE_READER, NULL, (struct cu_source_spec){.max = "SELECT 1 AS max WHERE 0"});
	assert_int_equal(newest_of(&f), 0);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(own_queries),
		SCRATCH_TEST(wrong_own_queries),
		SCRATCH_TEST(wrong_ids_of_own_queries),
		SCRATCH_TEST(endless_queries_are_stopped),
		SCRATCH_TEST(a_reader_stops_at_once),
		SCRATCH_TEST(wrong_values_of_max),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
