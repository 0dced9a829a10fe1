/* SPDX-License-Identifier: MIT */
/*
 * Dead letters as a program sees them: parked, read, tried again by consumers of each kind, dropped.
 *
 * An order with a negative amount is bad. Repairing it in the source is what a user does before a
 * retry.
 */
#include "runtime_help.h"

#include <stdatomic.h>

#define ORDERS                                                                                     \
	"PRAGMA journal_mode=WAL;"                                                                 \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer, amount INT);"         \
	"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)"             \
	" INSERT INTO orders SELECT i, i % 3, CASE WHEN i IN (5, 8, 13) THEN -i ELSE i END FROM c;"

#define DONE_TABLE "CREATE TABLE IF NOT EXISTS done(id INTEGER PRIMARY KEY, amount INT)"

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

static int write_done(struct catchup_context *ctx, int64_t id, int64_t amount)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "INSERT INTO done VALUES (%lld, %lld)", (long long)id,
		(long long)amount);
	return sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "done");
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
	int64_t amount = sqlite3_column_int64(row, 2);

	(void)state;
	if (fault.machine_fails)
		return catchup_fail(ctx, SQLITE_FULL, "no room");
	if (fault.endless == IN_ROW)
		return endless(ctx);
	if (fault.rolls_back)
		sqlite3_exec(ctx->db, "INSERT OR ROLLBACK INTO done VALUES (1, 1)", NULL, NULL, NULL);
	else if (amount < 0)
		return catchup_fail(ctx, 0, "amount %lld is negative", (long long)amount);
	return fault.rolls_back ? CATCHUP_ROW_APPLIED
				: write_done(ctx, sqlite3_column_int64(row, 0), amount);
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

static void expect_counts(const struct catchup_dead_result *r, int done, int failed, int gone, int behind)
{
	char got[96], expected[96];

	snprintf(got, sizeof(got), "%d tried, %d done, %d failed, %d gone, %d behind", (int)r->tried,
		(int)r->done, (int)r->failed, (int)r->gone, (int)r->behind);
	snprintf(expected, sizeof(expected), "%d tried, %d done, %d failed, %d gone, %d behind",
		done + failed + gone, done, failed, gone, behind);
	assert_string_equal(got, expected);
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

/* ---- keys -------------------------------------------------------------------------------------- */

#define KEYED                                                                                      \
	"PRAGMA journal_mode=WAL;"                                                                 \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer, amount INT);"         \
	"INSERT INTO orders(customer, amount) VALUES (7, -1), (8, 1), (7, 1), (x'4100', -1),"      \
	" (x'41', 1), (x'4100', 1), (NULL, -1), (NULL, 1), (2.5, -1), (2.5, 1), ('7', 1);"

/* The key must come to the consumer as the type that it has. */
static int typed_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	int64_t id = sqlite3_column_int64(row, 0);
	int type = sqlite3_column_type(row, 1);

	(void)state;
	if ((id == 2 && type != SQLITE_INTEGER) || (id == 5 && type != SQLITE_BLOB) ||
		(id == 10 && type != SQLITE_FLOAT))
		return catchup_fail(ctx, 0, "row %lld has a key of type %d", (long long)id, type);
	return one_row(ctx, state, row);
}

static void later_rows_wait_behind_the_first_of_their_key(void **state)
{
	static const struct catchup_consumer keyed = {CATCHUP_CONSUMER_ABI, .name = "keyed",
		.summary = "parks keys", .source = "orders", .setup = DONE_TABLE, .row = typed_row,
		.on_error = "park-key(CUSTOMER)"};
	static const struct catchup_consumer *const known[] = {&keyed, NULL};
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = known};
	struct catchup_dead_result r;
	struct catchup_dead_letters *letters;
	struct catchup_error error = {0};

	sql_run(s->database, KEYED);
	runtime_catch_up(runtime_open(&options, "keyed", NULL));
	/* 1 and behind it 3 and 11; 4 and 6, but not 5, whose key is shorter; 7 has no key; 9 and 10. */
	assert_int_equal(sql_int(s->database, "SELECT group_concat(id, '') = '134679' || '1011' FROM"
		" (SELECT id FROM catchup_dead ORDER BY id)"), 1);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead WHERE attempts = 0"), 4);
	assert_int_equal(sql_int(s->database, "SELECT group_concat(id, ' ') = '2 5 8' FROM done"), 1);
	assert_ok(catchup_dead_read(s->database, "keyed", 4, &letters, &error));
	assert_int_equal(letters->letters[0].key_bytes, 2);
	assert_memory_equal(letters->letters[0].key, "A\0", 3);
	catchup_dead_free(letters);
	/* The first of a key failed again: those behind are not tried, and their order is kept. */
	assert_ok(catchup_dead_retry(&options, NULL, 0, &r, &error));
	expect_counts(&r, 0, 4, 0, 4);
	/* Nor is one that is asked for by its id. */
	assert_ok(catchup_dead_retry(&options, "keyed", 3, &r, &error));
	expect_counts(&r, 0, 0, 0, 1);
	/* Customer 7 is repaired. */
	sql_run(s->database, "UPDATE orders SET amount = 10 WHERE id = 1");
	assert_ok(catchup_dead_retry(&options, NULL, 0, &r, &error));
	expect_counts(&r, 3, 3, 0, 2);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done WHERE id IN (1, 3, 11)"), 3);
}

static void a_key_that_the_rows_do_not_have_is_refused(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = options_of(s);
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, "rows:on-error=park-key(buyer)", NULL);
	assert_int_equal(catchup_start(c, &error), CATCHUP_CONFIG);
	expect_text(&error, "park-key(buyer): its rows have no such column");
	catchup_close(c);
}

/* ---- somebody else at the same time ------------------------------------------------------------- */

/* What another one does when the transaction of a failed row has been rolled back, and the failure is not
 * kept yet. */
static struct {
	const struct catchup_options *options; /* NULL: there is no other one */
	enum { RETRIES, DROPS, RESETS } does;
	int times;
} other;

static void other_comes(void *unused)
{
	struct catchup_reset_result reset;
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	(void)unused;
	if (other.times++ > 0)
		return;
	switch (other.does) {
	case RETRIES:
		assert_ok(catchup_dead_retry(other.options, "raced", 8, &r, &error));
		expect_counts(&r, 1, 0, 0, 0);
		break;
	case DROPS:
		assert_ok(catchup_dead_drop(other.options->database, "raced", 8, NULL, &error));
		break;
	case RESETS:
		assert_ok(catchup_reset(
			other.options, "raced", 7, CATCHUP_RESET_KEEP_RESULTS, &reset, &error));
		break;
	}
}

/* Row 8 fails when it is tried again, and would not fail any more after that. */
static int raced_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (other.options && other.times == 0) {
		sqlite3_rollback_hook(ctx->db, other_comes, NULL);
		return catchup_fail(ctx, 0, "not yet");
	}
	if (!other.options && sqlite3_column_int64(row, 2) < 0)
		return catchup_fail(ctx, 0, "negative");
	return write_done(ctx, sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 2));
}

static void a_letter_that_others_took_is_not_made_again(void **state)
{
	static const struct catchup_consumer raced = {CATCHUP_CONSUMER_ABI, .name = "raced",
		.summary = "meets another one", .source = "orders", .setup = DONE_TABLE,
		.row = raced_row, .on_error = "park"};
	static const struct catchup_consumer *const known[] = {&raced, NULL};
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = known};
	struct catchup_dead_result r;
	struct catchup_error error = {0};

	sql_run(s->database, ORDERS);
	for (int does = RETRIES; does <= RESETS; does++) {
		other.options = NULL;
		runtime_catch_up(runtime_open(&options, "raced", NULL));
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead WHERE id = 8"), 1);
		other.options = &options;
		other.times = 0;
		other.does = does;
		/* What became of the letter is told by whoever took it. */
		assert_ok(catchup_dead_retry(&options, "raced", 8, &r, &error));
		other.options = NULL;
		expect_counts(&r, 0, 0, 0, 0);
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead WHERE id = 8"), 0);
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done WHERE id = 8"),
			does == RETRIES);
		sql_run(s->database, "DELETE FROM done; DELETE FROM catchup_dead; UPDATE catchup SET last = 0");
	}
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
		DEAD_TEST(later_rows_wait_behind_the_first_of_their_key),
		DEAD_TEST(a_key_that_the_rows_do_not_have_is_refused),
		DEAD_TEST(a_letter_that_others_took_is_not_made_again),
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
