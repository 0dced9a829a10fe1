/* SPDX-License-Identifier: MIT */
/*
 * Bad input: modules and other C code, in a runtime that runs. What kinds of files are no module is in
 * test_consumer_module.c, what C code may not do to the transaction in test_rules_bounds.c.
 */
#include "help.h"

#include <catchup/consumer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EVENTS "PRAGMA journal_mode = WAL;"                                                        \
	"CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"                            \
	"CREATE TABLE copy(id); INSERT INTO events(n) VALUES(1), (2), (3)"

#define SAMPLE MODULE_FOLDER "/module_good.so"

/* ---- "never returns (a watchdog says so; on stop it is interrupted)" ------------------------------ */

static pthread_mutex_t hold_mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t hold_changed = PTHREAD_COND_INITIALIZER;
static bool held; /* guarded by hold_mu */

static void set_held(bool value)
{
	pthread_mutex_lock(&hold_mu);
	held = value;
	pthread_cond_broadcast(&hold_changed);
	pthread_mutex_unlock(&hold_mu);
}

static void stay(void)
{
	pthread_mutex_lock(&hold_mu);
	while (held)
		pthread_cond_wait(&hold_changed, &hold_mu);
	pthread_mutex_unlock(&hold_mu);
}

static int staying_open(struct catchup_context *ctx, void **state)
{
	(void)ctx;
	(void)state;
	stay();
	return CATCHUP_ROW_APPLIED;
}

static int staying_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	stay();
	return CATCHUP_ROW_APPLIED;
}

static int staying_map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	*result = NULL;
	return staying_row(ctx, state, row);
}

static int apply_nothing(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)ctx;
	(void)state;
	(void)id;
	(void)result;
	return CATCHUP_ROW_APPLIED;
}

static void expect_log_soon(struct scene *s, const char *text)
{
	int64_t deadline_ms = help_now_ms() + PATIENCE_MS;

	while (!scene_logged(s, text)) {
		if (help_now_ms() > deadline_ms)
			scene_expect_log(s, text);
		help_pause();
	}
}

static void *start_scene(void *argument)
{
	scene_start(argument);
	return NULL;
}

static void code_that_does_not_return_is_told_of(void **state)
{
	static const struct catchup_consumer stays = {CATCHUP_CONSUMER_ABI, .name = "stays",
		.source = "events", .row = staying_row};
	static const struct catchup_consumer maps = {CATCHUP_CONSUMER_ABI, .name = "maps",
		.source = "events", .map = staying_map, .apply = apply_nothing};
	static const struct catchup_consumer opens = {CATCHUP_CONSUMER_ABI, .name = "opens",
		.source = "events", .open = staying_open, .row = staying_row};
	const struct catchup_options options = {.lease_ms = 1000};
	struct scene *s = *state;
	pthread_t starter;

	scene_sql(s, EVENTS);
	set_held(true);
	scene_open(s, &options);
	scene_add_table(s, &stays);
	scene_add_table(s, &maps);
	scene_start(s);
	expect_log_soon(s, "stays: its code has not returned for 1");
	expect_log_soon(s, "maps: its code ('map') has not returned for 1");
	assert_true(help_watermark(s->database, "stays") <= 0);
	set_held(false);
	scene_wait(s);
	expect_log_soon(s, "stays: its code has returned after ");
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(help_watermark(s->database, "stays"), 3);
	assert_int_equal(help_watermark(s->database, "maps"), 3);
	/* So is a start that does not come to its end. */
	set_held(true);
	scene_open(s, &options);
	scene_add_table(s, &opens);
	assert_int_equal(pthread_create(&starter, NULL, start_scene, s), 0);
	expect_log_soon(s, "opens: its code has not returned for 1");
	set_held(false);
	assert_int_equal(pthread_join(starter, NULL), 0);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
}

static atomic_int began;

static int endless_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	atomic_store(&began, 1);
	if (sqlite3_exec(ctx->db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
				  " INSERT INTO copy SELECT max(i) FROM c", NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "counting");
	return CATCHUP_ROW_APPLIED;
}

static void code_that_does_not_return_is_interrupted_on_stop(void **state)
{
	static const struct catchup_consumer endless = {CATCHUP_CONSUMER_ABI, .name = "endless",
		.source = "events", .row = endless_row, .on_error = "park"};
	const struct catchup_options options = {.stop_deadline_ms = 50};
	struct scene *s = *state;
	int64_t since_ms;

	scene_sql(s, EVENTS);
	scene_open(s, &options);
	scene_add_table(s, &endless);
	scene_start(s);
	while (!atomic_load(&began))
		help_pause();
	since_ms = help_now_ms();
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	/* Its statement alone would be stopped after five seconds, and then tried again. */
	assert_true(help_now_ms() - since_ms < PATIENCE_MS);
	scene_expect_log(s, "endless: its code has not returned 50 ms after the stop; interrupting it");
	/* The row has done nothing wrong. */
	assert_true(help_watermark(s->database, "endless") <= 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 0);
}

/* ---- "a function that returns nonsense" ----------------------------------------------------------- */

static int nonsense_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	return sqlite3_column_int(row, 0) == 2 ? 4711 : CATCHUP_ROW_APPLIED;
}

static void a_function_that_returns_nonsense_stops_its_consumer(void **state)
{
	static const struct catchup_consumer nonsense = {CATCHUP_CONSUMER_ABI, .name = "nonsense",
		.source = "events", .row = nonsense_row};
	struct catchup_error error;
	struct scene *s = *state;

	scene_sql(s, EVENTS);
	scene_open(s, NULL);
	scene_add_table(s, &nonsense);
	scene_start(s);
	assert_int_equal(catchup_wait_stopped(s->runtime, PATIENCE_MS, &error),
		CATCHUP_CONSUMER);
	help_expect(error.message, "consumer 'nonsense' stopped at row 2 (watermark 1)");
	help_expect(error.message, "4711");
	assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
	assert_int_equal(help_watermark(s->database, "nonsense"), 1);
}

/* ---- "loaded twice", "threads still inside at unload" --------------------------------------------- */

/* By two consumers of one runtime, and by another runtime at the same time; the one that goes first does
 * not take the code from under the others. */
static void a_module_loaded_twice_serves_both(void **state)
{
	struct scene *s = *state;
	struct catchup_options other = {.size = sizeof(other)};
	struct catchup_error error;
	struct catchup *second;
	char *database = scene_path(s, "second.db");

	scene_sql(s, EVENTS);
	test_sql(database, EVENTS);
	other.database = database;
	scene_open(s, NULL);
	scene_add(s, SAMPLE ":name=one");
	scene_add(s, SAMPLE ":name=ten,step=10");
	scene_start(s);
	assert_int_equal(catchup_open(&other, &second, &error), CATCHUP_OK);
	assert_int_equal(catchup_add(second, SAMPLE, NULL, &error), CATCHUP_OK);
	assert_int_equal(catchup_start(second, &error), CATCHUP_OK);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	test_sql(database, "INSERT INTO events(n) VALUES(4)");
	assert_int_equal(catchup_wait(second, PATIENCE_MS, &error), CATCHUP_OK);
	catchup_close(second);
	assert_int_equal(scene_number(s, "SELECT sum(id) FROM copy"), 66);
	assert_int_equal(test_number(database, "SELECT sum(id) FROM copy"), 10);
}

struct closing {
	struct scene *s;
	atomic_int closed;
};

static void *close_scene(void *argument)
{
	struct closing *closing = argument;

	scene_close(closing->s, NULL);
	atomic_store(&closing->closed, 1);
	return NULL;
}

static void a_module_is_not_unloaded_under_a_thread_inside(void **state)
{
	const struct catchup_options options = {.stop_deadline_ms = 20};
	struct scene *s = *state;
	struct closing closing = {.s = s};
	char *path = scene_file(s, "hold", "");
	char *inside = scene_path(s, "hold.inside");
	char *words;
	pthread_t closer;

	assert_true(asprintf(&words, SAMPLE ":hold=%s", path) > 0);
	scene_own(s, words);
	scene_sql(s, EVENTS);
	scene_open(s, &options);
	scene_add(s, words);
	scene_start(s);
	while (access(inside, F_OK) != 0)
		help_pause();
	assert_int_equal(pthread_create(&closer, NULL, close_scene, &closing), 0);
	expect_log_soon(s, "has not returned 20 ms after the stop");
	/* Everything that does not need the thread has ended; what does, waits. */
	assert_int_equal(atomic_load(&closing.closed), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pthread_join(closer, NULL), 0);
	assert_int_equal(unlink(inside), 0);
	scene_open(s, NULL);
	scene_add(s, SAMPLE);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_int_equal(scene_number(s, "SELECT sum(id) FROM copy"), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(code_that_does_not_return_is_told_of),
		SCENE_TEST(code_that_does_not_return_is_interrupted_on_stop),
		SCENE_TEST(a_function_that_returns_nonsense_stops_its_consumer),
		SCENE_TEST(a_module_loaded_twice_serves_both),
		SCENE_TEST(a_module_is_not_unloaded_under_a_thread_inside),
	};

	return cmocka_run_group_tests_name("rules_input_module", tests, NULL, NULL);
}
