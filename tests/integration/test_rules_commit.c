/* SPDX-License-Identifier: MIT */
/*
 * The rules that never bend, 1 to 6: what is committed, in which order, and for how long the file is
 * held. One test at least for each, on real files.
 */
#include "help.h"

#include <catchup/consumer.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Adds up, so that a row that is applied twice or not at all shows. */
static const char totals[] = "-- name: totals\n-- source: numbers\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS total(one INTEGER PRIMARY KEY, n, rows);\n"
			     "INSERT OR IGNORE INTO total VALUES(1, 0, 0);\n"
			     "-- apply\n"
			     "UPDATE total SET (n, rows) = (SELECT total.n + coalesce(sum(numbers.n), 0),"
			     " total.rows + count(*) FROM numbers WHERE id > @last AND id <= @max);\n";

/* The same, a row at a time. */
static const char sums[] = "-- name: sums\n-- source: numbers\n-- setup\n"
			   "CREATE TABLE IF NOT EXISTS sum_of(one INTEGER PRIMARY KEY, n, rows);\n"
			   "INSERT OR IGNORE INTO sum_of VALUES(1, 0, 0);\n"
			   "-- row\n"
			   "UPDATE sum_of SET n = n + @n, rows = rows + 1;\n";

/* Other than 0 when what is in the results is exactly what the watermark says, in one snapshot. */
#define TOTALS_AGREE                                                                               \
	"SELECT (SELECT n || ' ' || rows FROM total) = (SELECT coalesce(sum(n), 0) || ' ' || count(*)" \
	" FROM numbers WHERE id <= (SELECT last FROM catchup WHERE name = 'totals'))"
#define SUMS_AGREE                                                                                 \
	"SELECT (SELECT n || ' ' || rows FROM sum_of) = (SELECT coalesce(sum(n), 0) || ' ' || count(*)" \
	" FROM numbers WHERE id <= (SELECT last FROM catchup WHERE name = 'sums'))"

static void insert_rows(struct scene *s, int rows)
{
	scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO numbers(n) SELECT i * 7 FROM c", rows);
}

/* ---- 1. Results and watermark commit under one savepoint on one connection, or neither does. ---- */

static void rule_01_results_and_watermark_agree_in_every_snapshot(void **state)
{
	struct scene *s = *state;
	const struct catchup_options options = {.batch_rows = 100};
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 20000);
	scene_open(s, &options);
	scene_add(s, scene_file(s, "totals.sql", totals));
	scene_add(s, scene_file(s, "sums.sql", sums));
	scene_start(s);
	db = help_connect(s->database);
	/* Each question is one snapshot; they fall anywhere between two hundred commits. */
	for (bool done = false; !done;) {
		long long last;

		if (scene_number(s, "SELECT count(*) FROM catchup") < 2)
			continue;
		assert_int_equal(scene_number(s, TOTALS_AGREE), 1);
		assert_int_equal(scene_number(s, SUMS_AGREE), 1);
		last = scene_number(s, "SELECT min(last) FROM catchup");
		done = last == 20000;
	}
	sqlite3_close(db);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

#define KILLED_ROWS 50000

/* Until its watermark is above another one, or at the end. */
static void await_progress(struct scene *s, const char *consumer, long long above)
{
	int64_t deadline_ms = help_now_ms() + PATIENCE_MS;
	long long now;

	while ((now = help_watermark(s->database, consumer)) <= above && now < KILLED_ROWS) {
		if (help_now_ms() > deadline_ms)
			fail_msg("'%s' stays at %lld", consumer, now);
		help_pause();
	}
}

static void rule_01_results_and_watermark_agree_after_each_kill(void **state)
{
	struct scene *s = *state;
	char *totals_sql = scene_file(s, "totals.sql", totals);
	char *sums_sql = scene_file(s, "sums.sql", sums);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, KILLED_ROWS);
	for (int kill = 0; kill < 8; kill++) {
		struct timespec pause = {.tv_nsec = kill * 300000L};
		long long total = help_watermark(s->database, "totals");
		long long sum = help_watermark(s->database, "sums");

		program_start(&p, "run", s->database, totals_sql, sums_sql, "--batch-rows", "100",
			"--lease-ms", "1000");
		/* Killed once each has committed something of its own, at a moment of chance: a row that is
		 * in hand at three kills is blamed for them. */
		await_progress(s, "totals", total);
		await_progress(s, "sums", sum);
		nanosleep(&pause, NULL);
		program_signal(&p, SIGKILL);
		assert_int_equal(program_finish(&p), 128 + SIGKILL);
		program_free(&p);
		assert_int_equal(scene_number(s, TOTALS_AGREE), 1);
		assert_int_equal(scene_number(s, SUMS_AGREE), 1);
	}
	assert_int_equal(program_run(&p, "run", s->database, totals_sql, sums_sql,
				 "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT min(last) FROM catchup"), KILLED_ROWS);
	assert_int_equal(scene_number(s, TOTALS_AGREE), 1);
	assert_int_equal(scene_number(s, SUMS_AGREE), 1);
}

/* ---- 2. The watermark is a compare-and-set. ------------------------------------------------- */

static void rule_02_two_processes_with_one_consumer_apply_each_row_once(void **state)
{
	struct scene *s = *state;
	char *totals_sql = scene_file(s, "totals.sql", totals);
	char *sums_sql = scene_file(s, "sums.sql", sums);
	struct program p[2] = {{0}, {0}};
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 5000);
	for (int i = 0; i < 2; i++) {
		program_start(&p[i], "run", s->database, totals_sql, sums_sql, "--no-lease",
			"--batch-rows", "50");
		program_expect_err(&p[i], "totals");
	}
	db = help_connect(s->database);
	for (int i = 0; i < 300; i++)
		help_exec(db, "INSERT INTO numbers(n) VALUES(%d), (%d), (%d)", i, i + 1, i + 2);
	sqlite3_close(db);
	scene_until(s, s->database, "SELECT count(*) = 2 AND min(last) = 5900 FROM catchup");
	for (int i = 0; i < 2; i++) {
		program_signal(&p[i], SIGTERM);
		assert_int_equal(program_finish(&p[i]), 0);
		program_free(&p[i]);
	}
	assert_int_equal(scene_number(s, "SELECT rows FROM total"), 5900);
	assert_int_equal(scene_number(s, "SELECT rows FROM sum_of"), 5900);
	assert_int_equal(scene_number(s, TOTALS_AGREE), 1);
	assert_int_equal(scene_number(s, SUMS_AGREE), 1);
	/* What was done twice and rolled back is not counted as done. */
	assert_int_equal(scene_number(s, "SELECT offered FROM catchup_state WHERE name = 'sums'"),
		5900);
}

/* Somebody else moves the watermark forwards, as another process does, while the consumer has a batch
 * of older rows in hand: it goes on from where the watermark is. */
static void rule_02_a_watermark_that_was_moved_is_where_it_goes_on(void **state)
{
	struct scene *s = *state;
	const struct catchup_options options = {.flags = CATCHUP_FLAG_NO_LEASE};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 10);
	scene_open(s, &options);
	scene_add(s, scene_file(s, "sums.sql", sums));
	scene_start(s);
	scene_wait(s);
	scene_sql(s, "BEGIN IMMEDIATE;"
		     "INSERT INTO numbers(n) VALUES(1000), (1000);"
		     "UPDATE catchup SET last = 11 WHERE name = 'sums';"
		     "COMMIT");
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT last FROM catchup"), 12);
	assert_int_equal(scene_number(s, "SELECT rows FROM sum_of"), 11);
	assert_int_equal(scene_number(s, "SELECT n FROM sum_of"), 55 * 7 + 1000);
}

/* ---- 3. The watermark never passes a row that the consumer was not offered. ------------------- */

static void rule_03_a_next_that_filters_with_a_limit_skips_nothing(void **state)
{
	struct scene *s = *state;
	static const char file[] =
		"-- name: thirds\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS third(id INTEGER PRIMARY KEY, n);\n"
		"-- next\n"
		"SELECT id, n FROM numbers WHERE id > @last AND id <= @max AND id % 3 = 0"
		" ORDER BY id LIMIT 7;\n"
		"-- row\nINSERT INTO third VALUES(@id, @n);\n";
	static const struct catchup_options options[] = {{.batch_rows = 1}, {.batch_rows = 7},
		{.batch_rows = 8}, {.batch_rows = 100, .ring_slots = 2}, {0}};
	char *path = scene_file(s, "thirds.sql", file);

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		insert_rows(s, 500);
		scene_run(s, &options[i], path);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM third"),
			scene_number(s, "SELECT count(*) FROM numbers WHERE id %% 3 = 0"));
		/* Nothing comes after the last third: only then the range's end. */
		assert_int_equal(scene_number(s, "SELECT last FROM catchup"), 500 * (i + 1));
	}
}

/* ---- 4. Rows reach a consumer in ascending id order. ------------------------------------------ */

/* "ids out of order, outside the range, twice" */
static void rule_04_what_is_out_of_order_is_an_error_that_names_it(void **state)
{
	static const struct {
		const char *next, *message;
	} cases[] = {
		{"SELECT id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id DESC",
			"next query returned id 4 after id 5; rows must ascend"},
		{"SELECT id, n FROM numbers JOIN (SELECT 1 UNION ALL SELECT 2)"
		 " WHERE id > @last AND id <= @max ORDER BY id",
			"next query returned id 1 after id 1; an id comes once"},
		{"SELECT id + 10 AS id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id",
			"next query returned id 11 outside the range it was asked for, 0 < id <= 5"},
		{"SELECT id - 1 AS id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id",
			"next query returned id 0 outside the range it was asked for, 0 < id <= 5"},
		{"SELECT -id AS id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id",
			"next query returned id -5 outside the range it was asked for, 0 < id <= 5"},
		{"SELECT NULL AS id, n FROM numbers WHERE id > @last AND id <= @max",
			"next query returned id NULL"},
		{"SELECT 'one' AS id, n FROM numbers WHERE id > @last AND id <= @max",
			"next query returned id 'one', which is not an integer"},
		{"SELECT id + 0.5 AS id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id",
			"next query returned id '1.5', which is not an integer"},
		{"SELECT x'01' AS id, n FROM numbers WHERE id > @last AND id <= @max",
			"next query returned a blob as id"},
	};
	struct scene *s = *state;
	char *path = scene_path(s, "wrong.sql");

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 5);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct program p = {0};
		char file[1024];

		snprintf(file, sizeof(file), "-- name: wrong\n-- source: numbers\n-- setup\n"
			 "CREATE TABLE IF NOT EXISTS out(id, n);\n-- next\n%s;\n"
			 "-- row\nINSERT INTO out VALUES(@id, @n);\n", cases[i].next);
		test_write_file(path, file);
		program_run(&p, "run", s->database, path, "--until-caught-up");
		help_expect(p.err.text, cases[i].message);
		help_expect(p.err.text, "consumer 'wrong'");
		assert_int_equal(p.exit_code, 4);
		program_free(&p);
		assert_true(help_watermark(s->database, "wrong") <= 0);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM out"), 0);
	}
}

/* ---- 5. The write lock is held for a bounded time. -------------------------------------------- */

#define BATCH_ROWS 64

struct batches {
	int rows, most, batches;
};

static int count_begin(struct catchup_context *ctx, void *state)
{
	struct batches *b = state;

	(void)ctx;
	b->rows = 0;
	b->batches++;
	return CATCHUP_ROW_APPLIED;
}

static struct batches seen; /* by the one consumer that the test in hand runs */

static int count_open(struct catchup_context *ctx, void **state)
{
	(void)ctx;
	*state = &seen;
	return CATCHUP_ROW_APPLIED;
}

static int count_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct batches *b = state;

	(void)ctx;
	(void)row;
	if (++b->rows > b->most)
		b->most = b->rows;
	return CATCHUP_ROW_APPLIED;
}

static int slow_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct timespec pause = {.tv_nsec = 1000000};

	nanosleep(&pause, NULL);
	return count_row(ctx, state, row);
}

static void rule_05_no_transaction_holds_more_than_batch_rows(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "counts",
		.source = "numbers", .open = count_open, .row = count_row,
		.batch_begin = count_begin};
	static const char file[] =
		"-- name: batches\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS batch(last, max, rows);\n"
		"-- apply\n"
		"INSERT INTO batch SELECT @last, @max, count(*) FROM numbers"
		" WHERE id > @last AND id <= @max;\n";
	const struct catchup_options options = {.batch_rows = BATCH_ROWS};
	struct scene *s = *state;

	seen = (struct batches){0};
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 10000);
	scene_open(s, &options);
	scene_add_table(s, &table);
	scene_add(s, scene_file(s, "batches.sql", file));
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_in_range(seen.most, 1, BATCH_ROWS);
	assert_in_range(seen.batches, 10000 / BATCH_ROWS, 10000);
	assert_in_range(scene_number(s, "SELECT max(rows) FROM batch"), 1, BATCH_ROWS);
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM batch"), 10000);
	/* Batches lie side by side. */
	assert_int_equal(scene_number(s, "SELECT count(*) FROM batch AS a WHERE a.last <> 0 AND"
					 " NOT EXISTS (SELECT 1 FROM batch AS b WHERE b.max = a.last)"),
		0);
}

/* Ten transactions of another process, or on a connection in the process that runs the consumer. */
static void another_process_inserts(struct scene *s)
{
	char command[1024];
	int n = snprintf(command, sizeof(command), "sqlite3 -bail -cmd '.timeout 60000' '%s' '", s->database);

	for (int i = 0; i < 10; i++)
		n += snprintf(command + n, sizeof(command) - (size_t)n, "INSERT INTO numbers(n) VALUES(%d);", i);
	snprintf(command + n, sizeof(command) - (size_t)n, "'");
	assert_int_equal(system(command), 0);
}

static void the_program_itself_inserts(struct scene *s)
{
	sqlite3 *db = help_connect(s->database);

	for (int i = 0; i < 10; i++)
		help_exec(db, "INSERT INTO numbers(n) VALUES(%d)", i);
	sqlite3_close(db);
}

/* A row takes a millisecond: whoever had to wait for the end of all would wait for a minute, and the
 * watermark would tell. */
#define SLOW_ROWS 60000

static void insert_during_a_backlog(struct scene *s, uint32_t flags, void (*insert)(struct scene *s))
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "slow",
		.source = "numbers", .open = count_open, .row = slow_row,
		.batch_begin = count_begin};
	const struct catchup_options options = {.flags = flags};

	seen = (struct batches){0};
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, SLOW_ROWS);
	scene_open(s, &options);
	scene_add_table(s, &table);
	scene_start(s);
	scene_until(s, s->database, "SELECT last > 0 FROM catchup");
	insert(s);
	assert_in_range(help_watermark(s->database, "slow"), 1, SLOW_ROWS - 1);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

static void rule_05_the_application_gets_in_during_a_backlog(void **state)
{
	insert_during_a_backlog(*state, CATCHUP_FLAG_ALONE, another_process_inserts);
}

static void rule_05_the_program_that_embeds_it_gets_in_too(void **state)
{
	insert_during_a_backlog(*state, 0, the_program_itself_inserts);
}

/* ---- 6. Write transactions begin as writers, never by upgrading a read. ------------------------ */

struct locked {
	int batches, changes;
	const char *wrong; /* what was not as it should be, NULL: nothing */
};

static struct locked locked; /* of the one consumer that the test in hand runs */

/* Before the consumer has written anything, nobody else can begin to write. */
static int look_for_lock(struct catchup_context *ctx, struct locked *l)
{
	sqlite3 *other;

	if (sqlite3_total_changes(ctx->db) != l->changes)
		l->wrong = "something was written already";
	if (sqlite3_txn_state(ctx->db, "main") != SQLITE_TXN_WRITE)
		l->wrong = "the transaction is no writer";
	if (sqlite3_open(sqlite3_db_filename(ctx->db, "main"), &other) != SQLITE_OK ||
		sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_BUSY)
		l->wrong = "another connection can begin to write";
	sqlite3_close(other);
	return l->wrong ? catchup_fail(ctx, 0, "%s", l->wrong) : CATCHUP_ROW_APPLIED;
}

static int locked_open(struct catchup_context *ctx, void **state)
{
	(void)ctx;
	*state = &locked;
	return CATCHUP_ROW_APPLIED;
}

static int locked_begin(struct catchup_context *ctx, void *state)
{
	struct locked *l = state;

	l->changes = sqlite3_total_changes(ctx->db);
	l->batches++;
	return look_for_lock(ctx, l);
}

static int locked_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)row;
	return look_for_lock(ctx, state);
}

static void rule_06_transactions_begin_as_writers(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "locked",
		.source = "numbers", .open = locked_open, .row = locked_row,
		.batch_begin = locked_begin};
	struct scene *s = *state;

	locked = (struct locked){0};
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	insert_rows(s, 20);
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_null(locked.wrong);
	assert_true(locked.batches > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(rule_01_results_and_watermark_agree_in_every_snapshot),
		SCENE_TEST(rule_01_results_and_watermark_agree_after_each_kill),
		SCENE_TEST(rule_02_two_processes_with_one_consumer_apply_each_row_once),
		SCENE_TEST(rule_02_a_watermark_that_was_moved_is_where_it_goes_on),
		SCENE_TEST(rule_03_a_next_that_filters_with_a_limit_skips_nothing),
		SCENE_TEST(rule_04_what_is_out_of_order_is_an_error_that_names_it),
		SCENE_TEST(rule_05_no_transaction_holds_more_than_batch_rows),
		SCENE_TEST(rule_05_the_application_gets_in_during_a_backlog),
		SCENE_TEST(rule_05_the_program_that_embeds_it_gets_in_too),
		SCENE_TEST(rule_06_transactions_begin_as_writers),
	};

	return cmocka_run_group_tests_name("rules_commit", tests, NULL, NULL);
}
