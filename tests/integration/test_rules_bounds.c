/* SPDX-License-Identifier: MIT */
/*
 * The rules that never bend, 7 to 11: what is left open, which thread owns what, exact integers, one
 * SQLite, nothing in silence. One test at least for each.
 */
#include "help.h"

#include "base/os.h"
#include "store/connection/connection.h"

#include <catchup/consumer.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The application's full checkpoint; true when it was not in anybody's way. */
static bool checkpoint(sqlite3 *db)
{
	int log = -1, done = -1;

	return sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, &log, &done) ==
		SQLITE_OK && log == 0;
}

/* ---- 7. No read transaction outlives a range. ------------------------------------------------ */

static void rule_07_with_nothing_to_do_the_log_can_be_truncated(void **state)
{
	struct scene *s = *state;
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 100);
	scene_open(s, NULL);
	scene_add(s, scene_file(s, "copies.sql", COPIES));
	scene_start(s);
	scene_wait(s);
	db = help_connect(s->database);
	for (int i = 0; i < 5; i++) {
		help_exec(db, "INSERT INTO numbers(n) VALUES(1)");
		scene_wait(s);
		assert_true(checkpoint(db));
	}
	sqlite3_close(db);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* It failed in the middle of a range and waits an hour for its next try: neither the query nor the
 * transaction that it was in stay open. */
static void rule_07_a_consumer_that_pauses_in_a_range_holds_nothing(void **state)
{
	static const char file[] =
		"-- name: pauses\n-- source: numbers\n"
		"-- on-error: retry(3, 3600000, 3600000)\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS small(n CHECK(n < 50));\n"
		"-- row\nINSERT INTO small VALUES(@n);\n";
	struct scene *s = *state;
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 100);
	scene_open(s, NULL);
	scene_add(s, scene_file(s, "pauses.sql", file));
	scene_start(s);
	scene_until(s, s->database, "SELECT last = 49 FROM catchup");
	for (;;) {
		struct catchup_status *status;
		int paused;

		assert_int_equal(catchup_status(s->runtime, &status, NULL), CATCHUP_OK);
		paused = status->consumers[0].state == CATCHUP_STATE_PAUSED;
		catchup_status_free(status);
		if (paused)
			break;
		help_pause();
	}
	db = help_connect(s->database);
	help_exec(db, "INSERT INTO numbers(n) VALUES(1)");
	assert_true(checkpoint(db));
	sqlite3_close(db);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* Writes 4 KiB a row, and sees how large the log has become. */
static char log_path[4096];
static long long log_most;
static _Atomic int fat_rows;

static int fat_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct stat st;

	(void)state;
	(void)row;
	if (sqlite3_exec(ctx->db, "INSERT INTO fat VALUES(randomblob(4000))", NULL, NULL, NULL) !=
		SQLITE_OK)
		return catchup_fail_db(ctx, "writing");
	if (stat(log_path, &st) == 0 && st.st_size > log_most)
		log_most = st.st_size;
	atomic_fetch_add(&fat_rows, 1);
	return CATCHUP_ROW_APPLIED;
}

static void the_log_stays_below_its_bound(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "fat",
		.source = "numbers", .setup = "CREATE TABLE IF NOT EXISTS fat(b)", .row = fat_row};
	static const struct catchup_options options = {.wal_mib = 1, .batch_rows = 16};
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 3000);
	snprintf(log_path, sizeof(log_path), "%s-wal", s->database);
	log_most = 0;
	scene_open(s, &options);
	scene_add_table(s, &table);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM fat"), 3000);
	assert_in_range(log_most, 1, 1 << 20);
}

/* What an application's connection asks after each of its commits: with a thousand pages in the log it
 * would checkpoint by itself, and wait for the disk. Each row of ours is a page in the log. Who could not
 * commit for long is not asked: where nobody else commits, the log may grow. */
#define BETWEEN_LEAST 50
#define BETWEEN_MOST 500

struct commits {
	int n, slow;
	int rows; /* done at the last one */
};

static int note_commit(void *context, sqlite3 *db, const char *schema, int pages)
{
	struct commits *commits = context;
	int between = fat_rows - commits->rows;

	(void)db;
	(void)schema;
	commits->rows += between;
	if (between < BETWEEN_LEAST || between > BETWEEN_MOST)
		return SQLITE_OK;
	commits->n++;
	commits->slow += pages >= 1000;
	return SQLITE_OK;
}

static void beside_a_backlog_applications_need_not_checkpoint(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "fat",
		.source = "numbers", .setup = "CREATE TABLE IF NOT EXISTS fat(b)", .row = fat_row};
	struct scene *s = *state;
	struct commits commits = {0};
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 30000);
	fat_rows = 0;
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	db = help_connect(s->database);
	sqlite3_wal_hook(db, note_commit, &commits);
	for (int given = 0, more; commits.n < 400; given += more) {
		/* Nobody asks the database how far it is: who reads from the log keeps it from beginning
		 * anew. */
		while (fat_rows - commits.rows < BETWEEN_LEAST)
			sched_yield();
		/* As many as were done, so that the backlog lasts. */
		more = fat_rows - given;
		help_exec(db, "INSERT INTO numbers(n) SELECT n FROM numbers LIMIT %d", more);
	}
	sqlite3_close(db);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_in_range(commits.slow, 0, 100);
}

/* A minute's work and more, a row a millisecond; its results are in another file. The source's log can be
 * truncated long before it is done. */
#define SLOW_ROWS 60000

static int slow_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct timespec pause = {.tv_nsec = 1000000};

	(void)ctx;
	(void)state;
	(void)row;
	nanosleep(&pause, NULL);
	return CATCHUP_ROW_APPLIED;
}

static void rule_07_a_slow_consumer_does_not_pin_the_log(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "slow",
		.source = "numbers", .into = "results.db", .row = slow_row};
	struct scene *s = *state;
	char *results = scene_path(s, "results.db");
	sqlite3 *db;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, SLOW_ROWS);
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	scene_until(s, results, "SELECT last > 0 FROM catchup");
	db = help_connect(s->database);
	for (int i = 0; i < 3; i++) {
		help_exec(db, "INSERT INTO numbers(n) VALUES(1)");
		assert_true(checkpoint(db));
	}
	assert_in_range(help_watermark(results, "slow"), 1, SLOW_ROWS - 1);
	sqlite3_close(db);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* ---- 8. One connection belongs to one thread; SQLite's files are left to SQLite. --------------- */

static void *use_connection(void *argument)
{
	cu_conn_limit(argument, CU_FOREVER);
	return NULL;
}

static void rule_08_a_connection_used_by_another_thread_aborts(void **state)
{
	struct scene *s = *state;
	int status;
	pid_t pid;

	scene_sql(s, NUMBERS);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct cu_conn_options options = {
			.role = CU_ROLE_READER, .main = s->database, .busy_ms = 1000};
		const struct rlimit no_core = {0, 0};
		struct cu_conn conn;
		pthread_t thread;

		signal(SIGABRT, SIG_DFL);
		setrlimit(RLIMIT_CORE, &no_core);
		if (dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) < 0 ||
			cu_conn_open(&conn, &options, NULL) != CATCHUP_OK)
			_exit(1);
		use_connection(&conn); /* from its own thread */
		if (pthread_create(&thread, NULL, use_connection, &conn) != 0)
			_exit(2);
		pthread_join(thread, NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* A consumer that stays inside a row, with the write lock, until it is let go. */
static pthread_mutex_t hold_mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hold_changed = PTHREAD_COND_INITIALIZER;
static enum { HOLD_BEFORE, HOLD_INSIDE, HOLD_GO } hold;

static int holding_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	pthread_mutex_lock(&hold_mu);
	if (hold == HOLD_BEFORE)
		hold = HOLD_INSIDE;
	pthread_cond_broadcast(&hold_changed);
	while (hold != HOLD_GO)
		pthread_cond_wait(&hold_changed, &hold_mu);
	pthread_mutex_unlock(&hold_mu);
	return CATCHUP_ROW_APPLIED;
}

static void move_hold(int from, int to)
{
	pthread_mutex_lock(&hold_mu);
	while ((int)hold < from)
		pthread_cond_wait(&hold_changed, &hold_mu);
	hold = to;
	pthread_cond_broadcast(&hold_changed);
	pthread_mutex_unlock(&hold_mu);
}

/* Everything of the library that looks at files, while a transaction of this process holds its lock:
 * another process must still find it locked. (Closing any descriptor of a file drops all locks that
 * the process has on it.) */
static void rule_08_no_call_drops_the_locks_of_a_transaction(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "holding",
		.source = "numbers", .row = holding_row};
	struct scene *s = *state;
	char *path = scene_file(s, "copies.sql", COPIES);
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_status *status;
	struct catchup *other;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 1);
	hold = HOLD_BEFORE;
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	move_hold(HOLD_INSIDE, HOLD_INSIDE);

	assert_int_equal(catchup_status(s->runtime, &status, NULL), CATCHUP_OK);
	catchup_status_free(status);
	assert_int_equal(catchup_status_read(s->database, &status, NULL), CATCHUP_OK);
	catchup_status_free(status);
	assert_int_equal(
		catchup_wait_watermark(s->database, "holding", 1, 0, NULL, NULL), CATCHUP_TIMEOUT);
	assert_int_equal(catchup_open(&options, &other, NULL), CATCHUP_OK);
	assert_int_equal(catchup_add(other, path, NULL, NULL), CATCHUP_OK);
	assert_int_equal(catchup_check(other, NULL), CATCHUP_OK);
	catchup_close(other);

	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up", "--busy-ms",
				 "50"), 5);
	help_expect(p.err.text, "locked");
	program_free(&p);
	move_hold(HOLD_INSIDE, HOLD_GO);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 0);
	program_free(&p);
}

/* ---- 9. 64-bit integers stay exact end to end. ------------------------------------------------- */

static void rule_09_integers_are_exact_from_the_source_to_the_status(void **state)
{
	static const char sql[] =
		"-- name: range_copies\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS range_copy(id INTEGER PRIMARY KEY, n);\n"
		"-- apply\nINSERT INTO range_copy SELECT id, n FROM numbers"
		" WHERE id > @last AND id <= @max;\n";
	struct scene *s = *state;
	char *rows = scene_file(s, "copies.sql", COPIES);
	char *ranges = scene_file(s, "ranges.sql", sql);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS ";"
		     "INSERT INTO numbers VALUES(1, -9223372036854775808),"
		     " (9007199254740992, 9007199254740993), (9007199254740993, -9007199254740993)");
	assert_int_equal(program_run(&p, "run", s->database, rows, ranges, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.sources[0].newest", "9007199254740993");
	test_json_is(p.out.text, "$.consumers[0].watermark", "9007199254740993");
	test_json_is(p.out.text, "$.consumers[1].watermark", "9007199254740993");
	program_free(&p);
	assert_int_equal(program_run(&p, "wait", s->database, "--consumer", "copies", "--until",
				 "9007199254740993", "--timeout", "0"), 0);
	program_free(&p);
	/* One more is not there, and is told from the one before. */
	assert_int_equal(program_run(&p, "wait", s->database, "--consumer", "copies", "--until",
				 "9007199254740994", "--timeout", "0"), 3);
	program_free(&p);

	/* bad inputs: "9223372036854775807 (processed, then the source is exhausted; no overflow in
	 * `hi + 1`)" */
	scene_sql(s, "INSERT INTO numbers VALUES(9223372036854775806, 1), (9223372036854775807, 2)");
	assert_int_equal(program_run(&p, "run", s->database, rows, ranges, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.sources[0].newest", "9223372036854775807");
	test_json_is(p.out.text, "$.consumers[0].watermark", "9223372036854775807");
	test_json_is(p.out.text, "$.consumers[0].lag_rows", "0");
	program_free(&p);
	assert_int_equal(program_run(&p, "wait", s->database, "--consumer", "range_copies", "--until",
				 "9223372036854775807", "--timeout", "0"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "run", s->database, rows, ranges, "--until-caught-up"), 0);
	program_free(&p);
	for (int i = 0; i < 2; i++)
		assert_int_equal(scene_number(s, "SELECT count(*) FROM (SELECT * FROM numbers EXCEPT"
						 " SELECT * FROM %s)", i ? "copy" : "range_copy"), 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 5);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM range_copy"), 5);
}

/* ---- 10. One SQLite in a process. -------------------------------------------------------------- */

static void rule_10_a_module_that_brings_its_own_sqlite_is_refused(void **state)
{
	static const char *const modules[] = {"own_sqlite", "other_sqlite"};
	struct scene *s = *state;

	scene_sql(s, NUMBERS);
	scene_insert(s, 1);
	for (size_t i = 0; i < sizeof(modules) / sizeof(modules[0]); i++) {
		struct program p = {0};
		char path[4096];

		snprintf(path, sizeof(path), MODULE_FOLDER "/module_%s.so", modules[i]);
		assert_int_equal(program_run(&p, "run", s->database, path, "--until-caught-up"), 2);
		help_expect(p.err.text, path);
		help_expect(p.err.text, "SQLite");
		program_free(&p);
		assert_int_equal(program_run(&p, "check", path), 2);
		program_free(&p);
	}
	assert_int_equal(help_watermark(s->database, "sample"), -1);
}

/* ---- 11. Nothing is lost in silence. ------------------------------------------------------------ */

static int choosy_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	int64_t n = sqlite3_column_int64(row, 1);

	(void)state;
	if (n % 10 == 0)
		return CATCHUP_ROW_PASSED;
	if (n % 25 == 1)
		return catchup_fail(ctx, 0, "number %lld is odd", (long long)n);
	return CATCHUP_ROW_APPLIED;
}

static void rule_11_what_is_passed_parked_and_retried_is_counted(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "choosy",
		.source = "numbers", .row = choosy_row, .on_error = "retry(2, 1, 2) park"};
	struct scene *s = *state;
	const struct catchup_consumer_status *of;
	struct catchup_status *status;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 100);
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(catchup_status(s->runtime, &status, NULL), CATCHUP_OK);
	of = &status->consumers[0];
	assert_int_equal(of->offered, 100);
	assert_int_equal(of->passed, 10);
	assert_int_equal(of->parked, 4); /* 1, 26, 51, 76 */
	assert_int_equal(of->applied, 86);
	assert_true(of->retries >= 4 * 2);
	catchup_status_free(status);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	scene_expect_log(s, "number 1 is odd; trying again 2 times at most");
	scene_expect_log(s, "choosy: row 26 is parked in the dead letters after 3 attempts: number 26 is "
			    "odd");

	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].dead", "4");
	test_json_is(p.out.text, "$.consumers[0].offered", "100");
	test_json_is(p.out.text, "$.consumers[0].applied", "86");
	test_json_is(p.out.text, "$.consumers[0].passed", "10");
	test_json_is(p.out.text, "$.consumers[0].parked", "4");
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	help_expect(p.out.text, "choosy");
	program_free(&p);
	assert_string_equal(scene_text(s, "SELECT group_concat(id, ' ') FROM (SELECT id FROM catchup_dead"
					  " WHERE consumer = 'choosy' AND attempts = 3"
					  " AND message LIKE '%%is odd%%' ORDER BY id)"),
		"1 26 51 76");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(rule_07_with_nothing_to_do_the_log_can_be_truncated),
		SCENE_TEST(rule_07_a_consumer_that_pauses_in_a_range_holds_nothing),
		SCENE_TEST(the_log_stays_below_its_bound),
		SCENE_TEST(beside_a_backlog_applications_need_not_checkpoint),
		SCENE_TEST(rule_07_a_slow_consumer_does_not_pin_the_log),
		SCENE_TEST(rule_08_a_connection_used_by_another_thread_aborts),
		SCENE_TEST(rule_08_no_call_drops_the_locks_of_a_transaction),
		SCENE_TEST(rule_09_integers_are_exact_from_the_source_to_the_status),
		SCENE_TEST(rule_10_a_module_that_brings_its_own_sqlite_is_refused),
		SCENE_TEST(rule_11_what_is_passed_parked_and_retried_is_counted),
	};

	return cmocka_run_group_tests_name("rules_bounds", tests, NULL, NULL);
}
