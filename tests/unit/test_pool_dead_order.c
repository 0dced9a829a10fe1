/* SPDX-License-Identifier: MIT */
/*
 * Dead letters beside others: those of one key are tried in order, and what somebody else has done with a
 * letter meanwhile stays done.
 */
#include "dead_help.h"

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
	return take_order(ctx, row);
}

static const struct catchup_consumer keyed = {CATCHUP_CONSUMER_ABI, .name = "keyed",
	.summary = "parks keys", .source = "orders", .setup = DONE_TABLE, .row = typed_row,
	.on_error = "park-key(CUSTOMER)"};
static const struct catchup_consumer *const known[] = {&keyed, NULL};

static void later_rows_wait_behind_the_first_of_their_key(void **state)
{
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
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = known};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, "keyed:on-error=park-key(buyer)", NULL);
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
	static const struct catchup_consumer *const alone[] = {&raced, NULL};
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = alone};
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

#define DEAD_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DEAD_TEST(later_rows_wait_behind_the_first_of_their_key),
		DEAD_TEST(a_key_that_the_rows_do_not_have_is_refused),
		DEAD_TEST(a_letter_that_others_took_is_not_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
