/* SPDX-License-Identifier: MIT */
/*
 * The runtime as a program sees it: the turn to write goes round among consumers of one thread,
 * starts and stops meet, a source is replaced, queries do not end.
 */
#include "store_help.h"

#include <catchup/consumer.h>
#include <pthread.h>

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

static const struct catchup_consumer good = {CATCHUP_CONSUMER_ABI, .name = "good",
	.summary = "fails at none", .source = "orders", .row = takes_all};

static void a_failing_one_gives_its_turn_back(void **state)
{
	static const struct catchup_consumer bad = {CATCHUP_CONSUMER_ABI, .name = "bad",
		.summary = "fails at one row", .source = "orders", .row = fails_at_fifty,
		.on_error = "retry(3, 1, 2) then park"};
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

/* Opens a runtime on the scratch database with one consumer. */
static struct catchup *runtime_with(struct scratch *s, const struct catchup_consumer *consumer,
	uint32_t flags)
{
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.flags = flags};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add_table(c, consumer, NULL, &error));
	return c;
}

static void an_idle_consumer_notices_that_its_source_is_another(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct catchup *c = runtime_with(s, &good, CATCHUP_FLAG_NO_LEASE);

	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	sql_run(s->results, ORDERS);
	assert_int_equal(rename(s->results, s->database), 0);
	assert_int_equal(catchup_wait_stopped(c, -1, &error), CATCHUP_BACKWARDS);
	expect_text(&error, "replaced, renamed or removed");
	catchup_stop(c, &error);
	catchup_close(c);
}

static void a_stop_does_not_wait_for_an_endless_query(void **state)
{
	static const struct catchup_consumer endless = {CATCHUP_CONSUMER_ABI, .name = "endless",
		.summary = "asks for ever", .source = "orders", .row = takes_all,
		.max = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
		       " SELECT x AS max FROM c WHERE x < 0"};
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct catchup *c = runtime_with(s, &endless, 0);

	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
}

static int begins_a_transaction(struct catchup_context *ctx, void *state, sqlite3_stmt *row,
	void **result)
{
	(void)state;
	(void)row;
	*result = NULL;
	if (sqlite3_exec(ctx->db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "BEGIN");
	return CATCHUP_ROW_APPLIED;
}

static int applies_all(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)ctx;
	(void)state;
	(void)id;
	(void)result;
	return CATCHUP_ROW_APPLIED;
}

static void map_is_guarded_too(void **state)
{
	static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
		.summary = "begins where it may not", .source = "orders",
		.map = begins_a_transaction, .apply = applies_all};
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct catchup *c = runtime_with(s, &mapped, 0);

	assert_ok(catchup_start(c, &error));
	assert_int_equal(catchup_wait(c, -1, &error), CATCHUP_CONSUMER);
	expect_text(&error, "not authorized");
	catchup_stop(c, &error);
	catchup_close(c);
}

static void *stop_in_thread(void *c)
{
	catchup_stop(c, NULL);
	return NULL;
}

static void a_start_may_be_stopped(void **state)
{
	struct scratch *s = *state;

	for (int i = 0; i < 10; i++) {
		struct catchup_error error = {0};
		struct catchup *c = runtime_with(s, &good, 0);
		pthread_t thread;
		int rc;

		assert_int_equal(pthread_create(&thread, NULL, stop_in_thread, c), 0);
		rc = catchup_start(c, &error);
		assert_true(rc == CATCHUP_OK || rc == CATCHUP_CANCELED || rc == CATCHUP_USAGE ||
			rc == CATCHUP_LOCKED);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_not_equal(catchup_start(c, &error), CATCHUP_OK);
		catchup_close(c);
		unlink(s->database);
	}
}

static int fails_at_all(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	return catchup_fail(ctx, 0, "all rows are bad");
}

/* Guessed in doubles, it would be one more than an integer can hold. */
static void the_highest_id_has_a_lag(void **state)
{
	static const struct catchup_consumer bad = {CATCHUP_CONSUMER_ABI, .name = "bad",
		.summary = "fails at all rows", .source = "orders", .row = fails_at_all};
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct catchup *c = runtime_with(s, &bad, 0);
	struct catchup_status *status;

	sql_run(s->database, "INSERT INTO orders VALUES (9223372036854775807)");
	assert_ok(catchup_start(c, &error));
	assert_int_equal(catchup_wait_stopped(c, -1, &error), CATCHUP_CONSUMER);
	assert_ok(catchup_status(c, &status, &error));
	assert_true(status->consumers[0].lag_rows == INT64_MAX);
	catchup_status_free(status);
	catchup_close(c);
}

static void a_deadline_without_end_is_refused(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.stop_deadline_ms = UINT64_MAX};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	assert_int_equal(catchup_open(&options, &c, &error), CATCHUP_USAGE);
	expect_text(&error, "option 'stop_deadline_ms': 18446744073709551615 is outside 1 to 3600000");
	options.stop_deadline_ms = 3600000;
	assert_ok(catchup_open(&options, &c, &error));
	catchup_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_failing_one_gives_its_turn_back),
		SCRATCH_TEST(an_idle_consumer_notices_that_its_source_is_another),
		SCRATCH_TEST(a_stop_does_not_wait_for_an_endless_query),
		SCRATCH_TEST(map_is_guarded_too),
		SCRATCH_TEST(a_start_may_be_stopped),
		SCRATCH_TEST(the_highest_id_has_a_lag),
		SCRATCH_TEST(a_deadline_without_end_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
