/* SPDX-License-Identifier: MIT */
/*
 * park-key for consumers of each kind: later rows with the key of a dead letter wait behind it, in
 * order, and all others are processed as ever.
 *
 * An order with a negative amount is bad.
 */
#include "runtime_help.h"

/* 1, and behind it 3 and 11; 4 and 6, but not 5, whose key is shorter; 7 has no key; 9 and 10. */
#define KEYED                                                                                      \
	"PRAGMA journal_mode=WAL;"                                                                 \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer, amount INT);"         \
	"INSERT INTO orders(customer, amount) VALUES (7, -1), (8, 1), (7, 1), (x'4100', -1),"      \
	" (x'41', 1), (x'4100', 1), (NULL, -1), (NULL, 1), (2.5, -1), (2.5, 1), ('7', 1);"

#define DONE_TABLE "CREATE TABLE IF NOT EXISTS done(id INTEGER PRIMARY KEY, amount INT)"

static int64_t sets; /* calls of `range` */

static int run(struct catchup_context *ctx, const char *sql, int64_t a, int64_t b)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(ctx->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 1, a);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, b);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	rc = rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "done");
	sqlite3_finalize(stmt);
	return rc;
}

static int all_rows(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	(void)state;
	sets++;
	return run(ctx, "INSERT INTO done SELECT id, iif(amount < 0, NULL, amount) FROM orders"
		" WHERE id > ?1 AND id <= ?2", last, max);
}

static int map_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx;
	(void)state;
	*result = malloc(sizeof(int64_t));
	assert_non_null(*result);
	*(int64_t *)*result = sqlite3_column_int64(row, 2);
	return CATCHUP_ROW_APPLIED;
}

static int apply_row(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	int64_t amount = *(int64_t *)result;

	(void)state;
	if (amount < 0)
		return catchup_fail(ctx, 0, "amount %lld is negative", (long long)amount);
	return run(ctx, "INSERT INTO done VALUES (?1, ?2)", id, amount);
}

static int take_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	int64_t amount = -1;

	(void)state;
	for (size_t i = 0; i < event->n_keys; i++)
		if (strcmp(event->keys[i].name, "amount") == 0)
			amount = event->keys[i].integer;
	if (amount < 0)
		return catchup_fail(ctx, 0, "amount %lld is negative", (long long)amount);
	return run(ctx, "INSERT INTO done VALUES (?1, ?2)", event->sequence, amount);
}

static int resync(struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	(void)ctx;
	(void)state;
	(void)why;
	return CATCHUP_ROW_APPLIED;
}

#define DONE_NOT_NULL "CREATE TABLE IF NOT EXISTS done(id INTEGER PRIMARY KEY, amount INT NOT NULL)"

static const struct catchup_consumer ranges = {CATCHUP_CONSUMER_ABI, .name = "ranges",
	.summary = "set-based", .source = "orders", .setup = DONE_NOT_NULL, .range = all_rows,
	.on_error = "park-key(customer)"};
static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "in parallel", .source = "orders", .setup = DONE_TABLE, .map = map_row,
	.apply = apply_row, .discard = free, .on_error = "retry(1, 1, 1) then park-key(Customer)"};
static const struct catchup_consumer events = {CATCHUP_CONSUMER_ABI, .name = "events",
	.summary = "changelog-driven", .source = "changelog:fam.orders", .setup = DONE_TABLE,
	.event = take_event, .resync = resync, .on_error = "park-key(customer)"};
static const struct catchup_consumer *const builtins[] = {&ranges, &mapped, &events, NULL};

static struct catchup_options options_of(const struct scratch *s)
{
	return (struct catchup_options){.size = sizeof(struct catchup_options),
		.database = s->database, .builtins = builtins};
}

static void catch_up(struct scratch *s, const char *words)
{
	const struct catchup_options options = options_of(s);

	runtime_catch_up(runtime_open(&options, words, NULL));
}

static void expect_counts(struct scratch *s, const char *name, int done, int failed, int behind)
{
	const struct catchup_options options = options_of(s);
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	assert_ok(catchup_dead_retry(&options, name, 0, &r, &error));
	assert_int_equal(r.done, done);
	assert_int_equal(r.failed, failed);
	assert_int_equal(r.behind, behind);
}

/* Whether exactly these ids are in a table, in order. */
static void expect_ids(const char *file, const char *what, const char *ids)
{
	char sql[256];

	snprintf(sql, sizeof(sql), "SELECT coalesce(group_concat(id, ' '), '') = '%s' FROM"
		" (SELECT id FROM %s ORDER BY id)", ids, what);
	if (sql_int(file, sql) != 1)
		fail_msg("%s: not '%s'", what, ids);
}

static void park_and_repair(struct scratch *s, const char *words, const char *name, const char *results)
{
	sql_run(s->database, KEYED);
	catch_up(s, words);
	expect_ids(results, "catchup_dead", "1 3 4 6 7 9 10 11");
	expect_ids(results, "catchup_dead WHERE attempts = 0", "3 6 10 11");
	expect_ids(results, "catchup_dead WHERE key IS NULL", "7");
	expect_ids(results, "done", "2 5 8");
	assert_int_equal(sql_int(results, "SELECT offered = 11 AND applied = 3 AND parked = 8"
		" FROM catchup_state"), 1);
	/* The first of a key has failed again: those behind are not tried. */
	expect_counts(s, name, 0, 4, 4);
	sql_run(s->database, "UPDATE orders SET amount = 10 WHERE id = 1;"
		"INSERT INTO orders(customer, amount) VALUES (8, 1), (7, 12), (2.5, 1)");
	/* Still behind, since nothing was tried yet. */
	catch_up(s, words);
	expect_ids(results, "catchup_dead WHERE id > 11", "13 14");
	expect_counts(s, name, 4, 3, 3);
	expect_ids(results, "done", "1 2 3 5 8 11 12 13");
	/* Nothing of this key waits any more. */
	sql_run(s->database, "INSERT INTO orders(customer, amount) VALUES (7, 15), (2.5, 16)");
	catch_up(s, words);
	expect_ids(results, "done WHERE id > 11", "12 13 15");
	expect_ids(results, "catchup_dead WHERE id > 11", "14 16");
}

static void sets_are_cut_at_rows_that_wait(void **state)
{
	struct scratch *s = *state;

	park_and_repair(s, "ranges", "ranges", s->database);
}

static void sets_in_sql_are_cut_too_with_results_elsewhere(void **state)
{
	struct scratch *s = *state;
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/sets.sql", s->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("-- name: sets\n-- source: orders\n-- into: results.db\n-- on-error: park-key(customer)\n"
	      "-- setup\n" DONE_NOT_NULL ";\n-- apply\nINSERT INTO done SELECT id,"
	      " iif(amount < 0, NULL, amount) FROM orders WHERE id > @last AND id <= @max;\n", file);
	assert_int_equal(fclose(file), 0);
	park_and_repair(s, path, "sets", s->results);
}

static void mapped_rows_wait(void **state)
{
	struct scratch *s = *state;

	park_and_repair(s, "mapped:workers=2", "mapped", s->database);
}

/* Of 2,000 rows with 100 keys two are bad: all others keep the speed of sets. */
static void few_rows_that_wait_leave_large_sets(void **state)
{
	struct scratch *s = *state;

	sql_run(s->database, "PRAGMA journal_mode=WAL;"
		"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer, amount INT);"
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)"
		" INSERT INTO orders SELECT i, 'c' || (i % 100), iif(i IN (1017, 1503), -1, i) FROM c");
	sets = 0;
	catch_up(s, "ranges");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead"), 10 + 5);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done"), 2000 - 15);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM orders AS o JOIN catchup_dead AS d"
		" USING(id) WHERE (o.customer = 'c17' AND id >= 1017) OR (o.customer = 'c3' AND id >= 1503)"),
		15);
	/* Each of the two is found by halving; behind them each row that waits ends a stretch. */
	if (sets > 150)
		fail_msg("%lld calls", (long long)sets);
}

static void a_set_without_the_column_is_refused(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = options_of(s);
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, KEYED);
	c = runtime_open(&options, "ranges:on-error=park-key(buyer)", NULL);
	assert_int_equal(catchup_start(c, &error), CATCHUP_CONFIG);
	expect_text(&error, "park-key(buyer): its rows have no such column");
	catchup_close(c);
}

/* The column goes while the consumer runs: the table no longer fits, and no row is to blame. */
static void a_column_that_goes_stops_the_consumer(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = options_of(s);
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, KEYED);
	c = runtime_open(&options, "ranges", NULL);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	sql_run(s->database, "ALTER TABLE orders RENAME COLUMN customer TO buyer;"
		"INSERT INTO orders(buyer, amount) VALUES (8, 1)");
	assert_int_equal(catchup_wait(c, -1, &error), CATCHUP_CONSUMER);
	expect_text(&error, "customer");
	catchup_close(c);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 11);
}

static void events_wait(void **state)
{
	static const char *const lines[] = {"7", "8", "7", "\"A\"", "null", "null", "2.5", "2.5", "true",
		"true"};
	struct scratch *s = *state;
	struct catchup_options options = options_of(s);
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/changes.log", s->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	/* Odd ones are bad; the last has no such column. */
	for (int i = 1; i <= 10; i++)
		fprintf(file, "{\"seq\":%d,\"family\":\"fam\",\"table\":\"orders\",\"key\":[{\"name\":\"amount\","
			"\"type\":\"int\",\"value\":%d},{\"name\":\"Customer\",\"type\":\"x\",\"value\":%s}]}\n", i,
			i % 2 ? -1 : i, lines[i - 1]);
	fputs("{\"seq\":11,\"family\":\"fam\",\"table\":\"orders\",\"key\":[{\"name\":\"amount\","
	      "\"type\":\"int\",\"value\":11}]}\n", file);
	assert_int_equal(fclose(file), 0);
	sql_run(s->database, "PRAGMA journal_mode=WAL");
	sql_run(s->database, "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
		" last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID; INSERT INTO catchup VALUES('events', 0)");
	options.changelog = path;
	runtime_catch_up(runtime_open(&options, "events", NULL));
	expect_ids(s->database, "catchup_dead", "1 3 5 7 8 9 10");
	expect_ids(s->database, "catchup_dead WHERE attempts = 0", "3 8 10");
	expect_ids(s->database, "done", "2 4 6 11");
}

#define KEY_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KEY_TEST(sets_are_cut_at_rows_that_wait),
		KEY_TEST(sets_in_sql_are_cut_too_with_results_elsewhere),
		KEY_TEST(mapped_rows_wait),
		KEY_TEST(few_rows_that_wait_leave_large_sets),
		KEY_TEST(a_set_without_the_column_is_refused),
		KEY_TEST(a_column_that_goes_stops_the_consumer),
		KEY_TEST(events_wait),
	};

	return cmocka_run_group_tests_name("park-key", tests, NULL, NULL);
}
