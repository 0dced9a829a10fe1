/* SPDX-License-Identifier: MIT */
/*
 * Consumers that share a thread and a results database: the turn to write goes round, also when one
 * of them fails.
 */
#include "store_help.h"

#include <catchup/consumer.h>

#define ORDERS                                                                                     \
	"PRAGMA journal_mode=WAL; CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT);"      \
	"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 5000)"           \
	" INSERT INTO orders SELECT i FROM c;"

static int fails_at_fifty(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (sqlite3_column_int64(row, 0) == 50)
		return catchup_fail(ctx, 0, "row 50 is bad");
	return CATCHUP_ROW_APPLIED;
}

static int takes_all(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	return CATCHUP_ROW_APPLIED;
}

static void a_failing_one_gives_its_turn_back(void **state)
{
	static const struct catchup_consumer bad = {CATCHUP_CONSUMER_ABI, .name = "bad",
		.summary = "fails at one row", .source = "orders", .row = fails_at_fifty,
		.on_error = "retry(3, 1, 2) then park"};
	static const struct catchup_consumer good = {CATCHUP_CONSUMER_ABI, .name = "good",
		.summary = "fails at none", .source = "orders", .row = takes_all};
	struct scratch *s = *state;
	struct catchup_error error = {0};
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1, .batch_rows = 100};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add_table(c, &bad, NULL, &error));
	assert_ok(catchup_add_table(c, &good, NULL, &error));
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	assert_int_equal(sql_int(s->database, "SELECT min(last) FROM catchup"), 5000);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead WHERE id = 50"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_failing_one_gives_its_turn_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
