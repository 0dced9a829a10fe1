/* SPDX-License-Identifier: MIT */
/*
 * Catching up: every size of ring and batch, ids of every kind and distance, rows that go, queries of
 * the consumer's own; stopped in the middle, started again, and stopped without a trace.
 */
#include "help.h"

#include <catchup/consumer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../left.h"

/* Three ways of doing the same: a row at a time, all at once, and own queries with a LIMIT. Each row's
 * id is a key: a row that comes twice is an error. */
static const char by_row[] = "-- name: by_row\n-- source: numbers\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, n);\n"
			     "-- row\nINSERT INTO rows VALUES(@id, @n);\n";
static const char by_range[] = "-- name: by_range\n-- source: numbers\n-- setup\n"
			       "CREATE TABLE IF NOT EXISTS ranges(id INTEGER PRIMARY KEY, n);\n"
			       "-- apply\nINSERT INTO ranges SELECT id, n FROM numbers"
			       " WHERE id > @last AND id <= @max;\n";
static const char by_queries[] =
	"-- name: by_queries\n-- setup\n"
	"CREATE TABLE IF NOT EXISTS queries(id INTEGER PRIMARY KEY, n);\n"
	"-- max\nSELECT max(id) AS max FROM numbers;\n"
	"-- next\nSELECT id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id LIMIT 13;\n"
	"-- row\nINSERT INTO queries VALUES(@id, @n);\n";

static const char *const results[] = {"rows", "ranges", "queries"};

static void add_three(struct scene *s)
{
	scene_add(s, scene_file(s, "by_row.sql", by_row));
	scene_add(s, scene_file(s, "by_range.sql", by_range));
	scene_add(s, scene_file(s, "by_queries.sql", by_queries));
}

static void assert_all_there(struct scene *s)
{
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(scene_number(s, "SELECT count(*) FROM (SELECT id, n FROM numbers EXCEPT"
						 " SELECT id, n FROM %s)", results[i]), 0);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM %s", results[i]),
			scene_number(s, "SELECT count(*) FROM numbers"));
	}
	assert_int_equal(scene_number(s, "SELECT min(last) = max(last) AND max(last) ="
					 " (SELECT max(id) FROM numbers) FROM catchup"), 1);
}

static void with_rings_and_batches_of_every_size(void **state)
{
	static const struct catchup_options options[] = {
		{.ring_slots = 2}, {.ring_slots = 4, .batch_rows = 3}, {.ring_slots = 256},
		{.ring_slots = 2, .batch_rows = 1000000, .batch_ms = 60000},
		{.ring_slots = 3, .batch_ms = 1, .threads = 1}, {.ring_slots = 1048576, .threads = 2},
	};
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t owned = s->n_owned;

		scene_open(s, &options[i]);
		add_three(s);
		scene_start(s);
		/* Half of it before they begin, half of it while they work. */
		scene_insert(s, 3000);
		scene_insert(s, 3000);
		scene_wait(s);
		assert_all_there(s);
		assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
		while (s->n_owned > owned)
			free(s->owned[--s->n_owned]);
	}
	scene_expect_log(s, "ring slots rounded up from 3 to 4, a power of two");
}

/* "ids 10^15 apart": nine thousand of them reach nearly to the end of what there is. */
static void with_ids_far_apart(void **state)
{
	struct scene *s = *state;
	const struct catchup_options options = {.batch_rows = 100, .ring_slots = 4};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS ";"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 9000)"
		     " INSERT INTO numbers(id, n) SELECT i * 1000000000000000, i FROM c");
	scene_open(s, &options);
	add_three(s);
	scene_start(s);
	scene_wait(s);
	scene_sql(s, "INSERT INTO numbers(id, n) VALUES(9223372036854775000, 1)");
	scene_wait(s);
	assert_all_there(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

/* Rows go before they are reached, behind the watermark, and all of them. */
static void with_rows_deleted_on_both_sides(void **state)
{
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 5000);
	scene_sql(s, "DELETE FROM numbers WHERE id %% 3 = 0 OR id BETWEEN 1000 AND 4000 OR id > 4990");
	scene_open(s, NULL);
	add_three(s);
	scene_start(s);
	scene_wait(s);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(scene_number(s, "SELECT count(*) FROM %s", results[i]),
			scene_number(s, "SELECT count(*) FROM numbers"));
	scene_sql(s, "DELETE FROM numbers");
	scene_wait(s);
	scene_insert(s, 10);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers JOIN rows USING(id)"
					 " JOIN ranges USING(id) JOIN queries USING(id)"), 10);
	assert_int_equal(scene_number(s, "SELECT min(last) FROM catchup"), 5010);
}

static void with_id_columns_of_every_kind(void **state)
{
	static const struct {
		const char *table, *id;
	} cases[] = {
		{"CREATE TABLE t(k INTEGER PRIMARY KEY AUTOINCREMENT, n)", "k"},
		{"CREATE TABLE t(n, \"a \"\"b\"\" ; c\" INTEGER PRIMARY KEY AUTOINCREMENT)", "a \"b\" ; c"},
		{"CREATE TABLE t(n)", "rowid"},
		{"CREATE TABLE t(n, seq INTEGER NOT NULL UNIQUE)", "seq"},
		{"CREATE TABLE t(name TEXT PRIMARY KEY, seq INTEGER NOT NULL, n, UNIQUE(seq)) WITHOUT ROWID",
			"seq"},
		{"CREATE TABLE t(seq INTEGER PRIMARY KEY, n) WITHOUT ROWID", "seq"},
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct program p = {0};
		char file[1024], range_file[1024];
		char *path = scene_path(s, "t.sql");
		char *range_path = scene_path(s, "range.sql");
		char *quoted = sqlite3_mprintf("\"%w\"", cases[i].id);
		const char *named = strstr(cases[i].table, "name TEXT") ? ", name" : "";

		snprintf(file, sizeof(file), "-- name: t\n-- source: t\n-- id: %s\n-- setup\n"
			 "CREATE TABLE IF NOT EXISTS copy(n);\n-- row\nINSERT INTO copy VALUES(@n);\n",
			cases[i].id);
		test_write_file(path, file);
		snprintf(range_file, sizeof(range_file), "-- name: range\n-- source: t\n-- id: %s\n-- setup\n"
			 "CREATE TABLE IF NOT EXISTS range_copy(n);\n-- apply\n"
			 "INSERT INTO range_copy SELECT n FROM t WHERE %s > @last AND %s <= @max;\n",
			cases[i].id, quoted, quoted);
		test_write_file(range_path, range_file);
		scene_sql(s, "DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS copy;"
			     "DROP TABLE IF EXISTS range_copy; DROP TABLE IF EXISTS catchup; %s",
			cases[i].table);
		for (int round = 0; round < 2; round++) {
			scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM c"
				     " LIMIT 100) INSERT INTO t(%s, n%s) SELECT i, i%s FROM c",
				1 + 100 * round, quoted, named, *named ? ", 'n' || i" : "");
			program_run(&p, "run", s->database, path, range_path, "--until-caught-up");
			if (p.exit_code != 0)
				fail_msg("%s: %s", cases[i].table, p.err.text);
			program_free(&p);
		}
		assert_int_equal(scene_number(s, "SELECT sum(n) FROM copy"), 200 * 201 / 2);
		assert_int_equal(scene_number(s, "SELECT sum(n) FROM range_copy"), 200 * 201 / 2);
		assert_int_equal(scene_number(s, "SELECT min(last) FROM catchup"), 200);
		sqlite3_free(quoted);
	}
}

/* A view of what is ready, and a `max` that holds back: rows above it are not offered yet. */
static void with_a_max_that_holds_back(void **state)
{
	static const char file[] =
		"-- name: ready\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS ready(id INTEGER PRIMARY KEY, n);\n"
		"-- max\nSELECT upto AS max FROM released;\n"
		"-- row\nINSERT INTO ready VALUES(@id, @n);\n";
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS
		     "; CREATE TABLE released(upto); INSERT INTO released VALUES(0)");
	scene_insert(s, 100);
	scene_open(s, NULL);
	scene_add(s, scene_file(s, "ready.sql", file));
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM ready"), 0);
	scene_sql(s, "UPDATE released SET upto = 30");
	scene_wait(s);
	assert_int_equal(scene_number(s, "SELECT max(id) FROM ready"), 30);
	assert_int_equal(help_watermark(s->database, "ready"), 30);
	scene_sql(s, "UPDATE released SET upto = 100");
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM ready"), 100);
}

/* ---- stopping -------------------------------------------------------------------------------- */

#define FED_ROUNDS 4
#define FED_ROWS 5000

static void stopped_in_the_middle_it_goes_on_from_there(void **state)
{
	struct scene *s = *state;
	const struct catchup_options options = {.batch_rows = 50};
	long long last = 0;
	int stops;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	/* The first rounds have something to do each, however far the one before has come. */
	for (stops = 0; stops < FED_ROUNDS || last < FED_ROUNDS * FED_ROWS; stops++) {
		struct catchup_error error;
		size_t owned = s->n_owned;

		if (stops < FED_ROUNDS)
			scene_insert(s, FED_ROWS);
		scene_open(s, &options);
		add_three(s);
		scene_start(s);
		/* Somewhere in the middle: once each has gone on. */
		scene_until(s, s->database, "SELECT count(*) = 3 AND min(last) > %lld FROM catchup", last);
		if (scene_close(s, &error) != CATCHUP_OK)
			fail_msg("%s", error.message);
		last = scene_number(s, "SELECT min(last) FROM catchup");
		while (s->n_owned > owned)
			free(s->owned[--s->n_owned]);
	}
	assert_all_there(s);
}

static void started_and_stopped_it_leaves_nothing_open(void **state)
{
	struct scene *s = *state;
	int descriptors, threads;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 1000);
	scene_run(s, NULL, scene_file(s, "by_row.sql", by_row));
	descriptors = left_descriptors();
	threads = left_threads();
	for (int i = 0; i < 200; i++) {
		struct timespec pause = {.tv_nsec = i % 10 * 100000L};
		size_t owned = s->n_owned;

		scene_insert(s, 10);
		scene_open(s, NULL);
		add_three(s);
		if (i % 20 != 19) /* some are never started */
			scene_start(s);
		nanosleep(&pause, NULL);
		if (i % 3 == 0)
			assert_int_equal(catchup_stop(s->runtime, NULL), CATCHUP_OK);
		assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
		while (s->n_owned > owned)
			free(s->owned[--s->n_owned]);
	}
	assert_int_equal(left_descriptors(), descriptors);
	left_expect_threads(threads);
	scene_open(s, NULL);
	add_three(s);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_all_there(s);
}

/* A start that fails leaves nothing either: "a thread that cannot be created (all start or none)" has
 * its like in a consumer that cannot open. */
static int cannot_open(struct catchup_context *ctx, void **state)
{
	(void)state;
	return catchup_fail(ctx, 0, "it cannot open today");
}

static int any_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	return CATCHUP_ROW_APPLIED;
}

static void a_start_that_fails_leaves_nothing_running(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "closed",
		.source = "numbers", .open = cannot_open, .row = any_row};
	struct scene *s = *state;
	char *path = scene_file(s, "by_row.sql", by_row);
	int descriptors, threads;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_run(s, NULL, path);
	scene_insert(s, 10);
	descriptors = left_descriptors();
	threads = left_threads();
	for (int i = 0; i < 10; i++) {
		struct catchup_error error = {0};

		scene_open(s, NULL);
		scene_add(s, path);
		scene_add_table(s, &table);
		assert_int_equal(catchup_start(s->runtime, &error), CATCHUP_CONFIG);
		help_expect(error.message, "closed");
		help_expect(error.message, "it cannot open today");
		left_expect_threads(threads);
		/* It cannot be started again. */
		assert_int_equal(catchup_start(s->runtime, NULL), CATCHUP_USAGE);
		scene_close(s, NULL);
	}
	assert_int_equal(left_descriptors(), descriptors);
	assert_int_equal(help_watermark(s->database, "by_row"), -1);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM rows"), 0);
}

/* "fork after open (every call in the child is refused)" */
static void every_call_in_a_forked_child_is_refused(void **state)
{
	struct scene *s = *state;
	char *path = scene_file(s, "by_row.sql", by_row);
	int status;
	pid_t pid;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_open(s, NULL);
	scene_add(s, path);
	scene_start(s);
	scene_wait(s);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct catchup *c = s->runtime;
		struct catchup_status *out;
		bool refused = catchup_wake(c) == CATCHUP_FORKED &&
			catchup_status(c, &out, NULL) == CATCHUP_FORKED &&
			catchup_add(c, path, NULL, NULL) == CATCHUP_FORKED &&
			catchup_check(c, NULL) == CATCHUP_FORKED &&
			catchup_start(c, NULL) == CATCHUP_FORKED &&
			catchup_wait(c, 0, NULL) == CATCHUP_FORKED &&
			catchup_wait_stopped(c, 0, NULL) == CATCHUP_FORKED &&
			catchup_stop(c, NULL) == CATCHUP_FORKED;

		catchup_close(c); /* does nothing, and returns */
		_exit(refused ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	/* The parent's goes on. */
	scene_insert(s, 10);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM rows"), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(with_rings_and_batches_of_every_size),
		SCENE_TEST(with_ids_far_apart),
		SCENE_TEST(with_rows_deleted_on_both_sides),
		SCENE_TEST(with_id_columns_of_every_kind),
		SCENE_TEST(with_a_max_that_holds_back),
		SCENE_TEST(stopped_in_the_middle_it_goes_on_from_there),
		SCENE_TEST(started_and_stopped_it_leaves_nothing_open),
		SCENE_TEST(a_start_that_fails_leaves_nothing_running),
		SCENE_TEST(every_call_in_a_forked_child_is_refused),
	};

	return cmocka_run_group_tests_name("rules_catch_up", tests, NULL, NULL);
}
