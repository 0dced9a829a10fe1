/* SPDX-License-Identifier: MIT */
/*
 * Dead letters as a program sees them: parked, read, tried again by consumers of each kind, dropped.
 *
 * An order with a negative amount is bad. Repairing it in the source is what a user does before a
 * retry.
 */
#include "dead_help.h"

#include <stdatomic.h>

/* How the consumers' other functions misbehave; set between runs only. */
static struct {
	int begin_fails, end_fails, machine_fails, rolls_back;
	enum { NOWHERE, IN_BEGIN, IN_ROW, IN_END } endless;
} fault;

static atomic_int results_made, results_discarded;

static int set_up(void **state)
{
	memset(&fault, 0, sizeof(fault));
	atomic_store(&results_made, 0);
	atomic_store(&results_discarded, 0);
	return scratch_make(state);
}

/* A statement that never ends. */
static int endless(struct catchup_context *ctx)
{
	sqlite3_exec(ctx->db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
		" INSERT INTO done SELECT count(*), 0 FROM c", NULL, NULL, NULL);
	return catchup_fail_db(ctx, "done");
}

static int one_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (fault.machine_fails)
		return catchup_fail(ctx, SQLITE_FULL, "no room");
	if (fault.endless == IN_ROW)
		return endless(ctx);
	if (fault.rolls_back)
		sqlite3_exec(ctx->db, "INSERT OR ROLLBACK INTO done VALUES (1, 1)", NULL, NULL, NULL);
	return fault.rolls_back ? CATCHUP_ROW_APPLIED : take_order(ctx, row);
}

static int begins(struct catchup_context *ctx, void *state)
{
	(void)state;
	if (fault.endless == IN_BEGIN)
		return endless(ctx);
	return fault.begin_fails ? catchup_fail(ctx, 0, "cannot begin") : CATCHUP_ROW_APPLIED;
}

static int ends(struct catchup_context *ctx, void *state)
{
	(void)state;
	if (fault.endless == IN_END)
		return endless(ctx);
	return fault.end_fails ? catchup_fail(ctx, 0, "cannot end") : CATCHUP_ROW_APPLIED;
}

static int all_rows(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	const char *source = sqlite3_db_filename(ctx->db, "source") ? "source" : "main";
	char sql[256];

	(void)state;
	snprintf(sql, sizeof(sql), "SELECT amount FROM %s.orders WHERE id > %lld AND id <= %lld AND"
		" amount < 0", source, (long long)last, (long long)max);
	{
		sqlite3_stmt *stmt;
		int rc;

		if (sqlite3_prepare_v2(ctx->db, sql, -1, &stmt, NULL) != SQLITE_OK)
			return catchup_fail_db(ctx, "orders");
		rc = sqlite3_step(stmt);
		sqlite3_finalize(stmt);
		if (rc == SQLITE_ROW)
			return catchup_fail(ctx, 0, "one of them is negative");
	}
	snprintf(sql, sizeof(sql), "INSERT INTO done SELECT id, amount FROM %s.orders WHERE id > %lld"
		" AND id <= %lld", source, (long long)last, (long long)max);
	return sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "done");
}

/* Makes its result first and fails then: what it made is discarded all the same. */
static int map_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	int64_t *amount = malloc(sizeof(*amount));

	(void)state;
	assert_non_null(amount);
	*amount = sqlite3_column_int64(row, 2);
	*result = amount;
	atomic_fetch_add(&results_made, 1);
	if (*amount < 0)
		return catchup_fail(ctx, 0, "amount %lld is negative", (long long)*amount);
	return *amount == 7 ? CATCHUP_ROW_PASSED : CATCHUP_ROW_APPLIED;
}

static int apply_row(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)state;
	return write_done(ctx, id, *(int64_t *)result);
}

static void discard(void *result)
{
	atomic_fetch_add(&results_discarded, 1);
	free(result);
}

static const struct catchup_consumer rows = {CATCHUP_CONSUMER_ABI, .name = "rows",
	.summary = "row by row", .source = "orders", .setup = DONE_TABLE, .row = one_row,
	.batch_begin = begins, .batch_end = ends, .on_error = "park"};
static const struct catchup_consumer ranges = {CATCHUP_CONSUMER_ABI, .name = "ranges",
	.summary = "set-based", .source = "orders", .setup = DONE_TABLE, .range = all_rows,
	.on_error = "park"};
static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "in parallel", .source = "orders", .setup = DONE_TABLE, .map = map_row,
	.apply = apply_row, .discard = discard, .on_error = "retry(2, 1, 1) then park"};
static const struct catchup_consumer *const builtins[] = {&rows, &ranges, &mapped, NULL};

static struct catchup_options options_of(const struct scratch *s)
{
	return (struct catchup_options){.size = sizeof(struct catchup_options),
		.database = s->database, .builtins = builtins};
}

/* A database in which a consumer has parked the three bad orders. */
static void park_three(struct scratch *s, const char *words)
{
	const struct catchup_options options = options_of(s);

	sql_run(s->database, ORDERS);
	runtime_catch_up(runtime_open(&options, words, NULL));
}

static struct catchup_dead_result retry(struct scratch *s, const char *consumer, int64_t id)
{
	const struct catchup_options options = options_of(s);
	struct catchup_dead_result result;
	struct catchup_error error = {0};

	assert_ok(catchup_dead_retry(&options, consumer, id, &result, &error));
	return result;
}

static void letters_are_read_by_consumer_and_id(void **state)
{
	struct scratch *s = *state;
	struct catchup_dead_letters *letters;
	struct catchup_error error = {0};

	park_three(s, "rows");
	assert_ok(catchup_dead_read(s->database, NULL, 0, &letters, &error));
	assert_int_equal(letters->n, 3);
	assert_int_equal(letters->letters[0].id, 5);
	assert_int_equal(letters->letters[1].id, 8);
	assert_int_equal(letters->letters[2].id, 13);
	assert_string_equal(letters->letters[2].consumer, "rows");
	assert_string_equal(letters->letters[2].message, "amount -13 is negative");
	assert_null(letters->letters[2].key);
	assert_int_equal(letters->letters[2].attempts, 1);
	assert_true(letters->letters[2].first_ms > 0);
	assert_int_equal(letters->letters[2].first_ms, letters->letters[2].last_ms);
	catchup_dead_free(letters);
	assert_ok(catchup_dead_read(s->database, "rows", 8, &letters, &error));
	assert_int_equal(letters->n, 1);
	assert_int_equal(letters->letters[0].id, 8);
	catchup_dead_free(letters);
	assert_ok(catchup_dead_read(s->database, "rows", 7, &letters, &error));
	assert_int_equal(letters->n, 0);
	catchup_dead_free(letters);
	catchup_dead_free(NULL);
	assert_int_equal(catchup_dead_read(s->database, "rowz", 0, &letters, &error), CATCHUP_USAGE);
	expect_text(&error, "knows no consumer 'rowz'");
	assert_null(letters);
	assert_int_equal(catchup_dead_read("/nowhere/app.db", NULL, 0, &letters, &error), CATCHUP_USAGE);
}

/* What each kind of consumer does with three letters: one repaired, one still bad, one deleted. */
static void try_three(struct scratch *s, const char *words, const char *name, const char *results)
{
	struct catchup_dead_result r;
	int64_t attempts;

	park_three(s, words);
	attempts = sql_int(results, "SELECT attempts FROM catchup_dead WHERE id = 8");
	r = retry(s, name, 0);
	expect_counts(&r, 0, 3, 0, 0);
	assert_int_equal(sql_int(results, "SELECT count(*) FROM catchup_dead"), 3);
	assert_int_equal(sql_int(results, "SELECT attempts FROM catchup_dead WHERE id = 8"), attempts + 1);
	sql_run(s->database, "UPDATE orders SET amount = 500 WHERE id = 5; DELETE FROM orders WHERE id = 13");
	r = retry(s, name, 5);
	expect_counts(&r, 1, 0, 0, 0);
	assert_int_equal(sql_int(results, "SELECT amount FROM done WHERE id = 5"), 500);
	r = retry(s, NULL, 0);
	expect_counts(&r, 0, 1, 1, 0);
	assert_int_equal(sql_int(results, "SELECT count(*) FROM catchup_dead"), 1);
	assert_int_equal(sql_int(results, "SELECT id FROM catchup_dead"), 8);
	/* Nothing else was touched. */
	assert_int_equal(sql_int(results, "SELECT last FROM catchup"), 20);
	assert_int_equal(sql_int(results, "SELECT count(*) FROM done WHERE id <> 7"), 17);
}

static void rows_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "rows", "rows", s->database);
}

static void rows_with_results_elsewhere_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "rows:into=results.db", "rows", s->results);
}

static void sets_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "ranges", "ranges", s->database);
}

static void sets_with_results_elsewhere_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "ranges:into=results.db", "ranges", s->results);
}

static void mapped_rows_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "mapped:workers=3", "mapped", s->database);
	assert_int_equal(atomic_load(&results_made), atomic_load(&results_discarded));
}

static void mapped_rows_with_results_elsewhere_are_tried_again(void **state)
{
	struct scratch *s = *state;

	try_three(s, "mapped:workers=2,into=results.db", "mapped", s->results);
	assert_int_equal(atomic_load(&results_made), atomic_load(&results_discarded));
}

/* ---- what can go wrong ------------------------------------------------------------------------- */

static void functions_round_the_batch_may_fail(void **state)
{
	struct scratch *s = *state;
	struct catchup_dead_result r;

	park_three(s, "rows");
	sql_run(s->database, "UPDATE orders SET amount = 1 WHERE id = 5");
	fault.begin_fails = 1;
	r = retry(s, "rows", 5);
	expect_counts(&r, 0, 1, 0, 0);
	assert_int_equal(sql_int(s->database, "SELECT message = 'cannot begin' FROM catchup_dead"), 1);
	fault.begin_fails = 0;
	fault.end_fails = 1;
	r = retry(s, "rows", 5);
	expect_counts(&r, 0, 1, 0, 0);
	assert_int_equal(sql_int(s->database, "SELECT message = 'cannot end' FROM catchup_dead"), 1);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done WHERE id = 5"), 0);
	fault.end_fails = 0;
	r = retry(s, "rows", 5);
	expect_counts(&r, 1, 0, 0, 0);
}

/* Who waits for the write lock gets it, and the letter says why. */
static void what_never_ends_has_failed_again(void **state)
{
	struct scratch *s = *state;
	struct catchup_dead_letters *letters;
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	park_three(s, "rows");
	sql_run(s->database, "UPDATE orders SET amount = 1 WHERE id = 5");
	for (int at = IN_BEGIN; at <= IN_END; at++) {
		fault.endless = at;
		r = retry(s, "rows", 5);
		expect_counts(&r, 0, 1, 0, 0);
		assert_ok(catchup_dead_read(s->database, "rows", 5, &letters, &error));
		assert_int_equal(letters->letters[0].attempts, 1 + at);
		assert_string_equal(letters->letters[0].message,
			"done: interrupted: a transaction may take 5020 ms of processor time");
		catchup_dead_free(letters);
	}
	fault.endless = NOWHERE;
	r = retry(s, "rows", 5);
	expect_counts(&r, 1, 0, 0, 0);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done"), 18);
}

static void a_row_that_rolls_back_everything_keeps_its_letter(void **state)
{
	struct scratch *s = *state;
	struct catchup_dead_result r;

	park_three(s, "rows");
	fault.rolls_back = 1;
	r = retry(s, "rows", 8);
	expect_counts(&r, 0, 1, 0, 0);
	assert_int_equal(sql_int(s->database, "SELECT message LIKE '%rolled the whole transaction back%'"
		" FROM catchup_dead WHERE id = 8"), 1);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done"), 17);
}

static void the_machines_errors_are_no_rows_failure(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = options_of(s);
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	park_three(s, "rows");
	fault.machine_fails = 1;
	assert_int_equal(catchup_dead_retry(&options, "rows", 0, &r, &error), CATCHUP_FULL);
	expect_text(&error, "consumer 'rows': no room");
	expect_counts(&r, 0, 0, 0, 0);
	assert_int_equal(sql_int(s->database, "SELECT sum(attempts) FROM catchup_dead"), 3);
}

static void what_cannot_be_made_here_is_said(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = options_of(s);
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	assert_int_equal(catchup_dead_retry(NULL, NULL, 0, &r, &error), CATCHUP_USAGE);
	options.database = NULL;
	assert_int_equal(catchup_dead_retry(&options, NULL, 0, &r, &error), CATCHUP_USAGE);
	expect_text(&error, "option 'database' is missing");
	options.database = s->database;
	sql_run(s->database, ORDERS);
	/* A file that catchup has not seen has no letters. */
	assert_ok(catchup_dead_retry(&options, NULL, 0, &r, &error));
	expect_counts(&r, 0, 0, 0, 0);
	runtime_catch_up(runtime_open(&options, NULL, &rows));
	assert_int_equal(catchup_dead_retry(&options, "rowz", 0, &r, &error), CATCHUP_USAGE);
	expect_text(&error, "knows no consumer 'rowz'");
	/* Without letters nothing needs to be made. */
	assert_ok(catchup_dead_retry(&options, "rows", 6, &r, &error));
	assert_int_equal(catchup_dead_retry(&options, "rows", 0, &r, &error), CATCHUP_CONFIG);
	expect_text(&error, "consumer 'rows' is linked into the program");
}

static void a_consumer_that_cannot_open_is_said(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = options_of(s);
	static const struct catchup_consumer *const others[] = {&ranges, NULL};
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	park_three(s, "rows");
	options.builtins = others;
	assert_int_equal(catchup_dead_retry(&options, "rows", 0, &r, &error), CATCHUP_USAGE);
	expect_text(&error, "consumer 'rows': ");
	options.builtins = builtins;
	sql_run(s->database, "ALTER TABLE orders RENAME TO old_orders");
	assert_int_equal(catchup_dead_retry(&options, "rows", 0, &r, &error), CATCHUP_CONFIG);
	expect_text(&error, "orders");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead"), 3);
}

/* ---- dropping ---------------------------------------------------------------------------------- */

static void letters_are_dropped_one_or_all(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	int64_t dropped;

	park_three(s, "rows:into=results.db");
	assert_ok(catchup_dead_drop(s->database, "rows", 8, &dropped, &error));
	assert_int_equal(dropped, 1);
	assert_int_equal(sql_int(s->results, "SELECT count(*) FROM catchup_dead WHERE id <> 8"), 2);
	assert_ok(catchup_dead_drop(s->database, "rows", 8, &dropped, &error));
	assert_int_equal(dropped, 0);
	assert_ok(catchup_dead_drop(s->database, NULL, 0, NULL, &error));
	assert_int_equal(sql_int(s->results, "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(catchup_dead_drop(s->database, "rowz", 0, &dropped, &error), CATCHUP_USAGE);
	assert_int_equal(dropped, 0);
}

#define DEAD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEAD_TEST(letters_are_read_by_consumer_and_id),
		DEAD_TEST(rows_are_tried_again),
		DEAD_TEST(rows_with_results_elsewhere_are_tried_again),
		DEAD_TEST(sets_are_tried_again),
		DEAD_TEST(sets_with_results_elsewhere_are_tried_again),
		DEAD_TEST(mapped_rows_are_tried_again),
		DEAD_TEST(mapped_rows_with_results_elsewhere_are_tried_again),
		DEAD_TEST(functions_round_the_batch_may_fail),
		DEAD_TEST(what_never_ends_has_failed_again),
		DEAD_TEST(a_row_that_rolls_back_everything_keeps_its_letter),
		DEAD_TEST(the_machines_errors_are_no_rows_failure),
		DEAD_TEST(what_cannot_be_made_here_is_said),
		DEAD_TEST(a_consumer_that_cannot_open_is_said),
		DEAD_TEST(letters_are_dropped_one_or_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
