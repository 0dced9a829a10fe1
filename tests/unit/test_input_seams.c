/* SPDX-License-Identifier: MIT */
/*
 * Bad input that only a machine can give: network file systems, a wall clock that jumps, threads that
 * cannot be had, an SQLite without threads. The linker puts the functions here in place of libc's and
 * SQLite's (--wrap).
 */
#include "runtime_help.h"

#include "../left.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

int __wrap_statfs64(const char *path, struct statfs64 *fs);
int __real_statfs64(const char *path, struct statfs64 *fs);
int __wrap_clock_gettime(clockid_t clock, struct timespec *to);
int __real_clock_gettime(clockid_t clock, struct timespec *to);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
	void *argument);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
	void *argument);
int __wrap_sqlite3_threadsafe(void);
int __real_sqlite3_threadsafe(void);
sqlite3_mutex *__wrap_sqlite3_mutex_alloc(int kind);
sqlite3_mutex *__real_sqlite3_mutex_alloc(int kind);
void __wrap_sqlite3_mutex_free(sqlite3_mutex *mutex);
void __real_sqlite3_mutex_free(sqlite3_mutex *mutex);

/* What the machine does now. */
static char network_at[512];           /* what is at or below this is on... */
static unsigned long network_magic;    /* ...a file system of this kind; 0: as it is */
static _Atomic int64_t wall_jump_s;
static _Atomic int threads_left = -1;  /* before the next one fails; -1: none fails */
static bool no_threads, one_mutex;     /* SQLite is built, or configured, without threads */
static int dummy_mutex;

int __wrap_statfs64(const char *path, struct statfs64 *fs)
{
	int rc = __real_statfs64(path, fs);

	if (rc == 0 && network_magic && strncmp(path, network_at, strlen(network_at)) == 0)
		fs->f_type = (__typeof__(fs->f_type))network_magic;
	return rc;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *to)
{
	int rc = __real_clock_gettime(clock, to);

	if (clock == CLOCK_REALTIME)
		to->tv_sec += atomic_load(&wall_jump_s);
	return rc;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *),
	void *argument)
{
	int left = atomic_load(&threads_left);

	/* The test's own are all made by one thread at a time, or it does not matter which one fails. */
	if (left == 0)
		return EAGAIN;
	if (left > 0)
		atomic_fetch_sub(&threads_left, 1);
	return __real_pthread_create(thread, attributes, main, argument);
}

int __wrap_sqlite3_threadsafe(void)
{
	return no_threads ? 0 : __real_sqlite3_threadsafe();
}

sqlite3_mutex *__wrap_sqlite3_mutex_alloc(int kind)
{
	return one_mutex ? (sqlite3_mutex *)&dummy_mutex : __real_sqlite3_mutex_alloc(kind);
}

void __wrap_sqlite3_mutex_free(sqlite3_mutex *mutex)
{
	if (mutex != (sqlite3_mutex *)&dummy_mutex)
		__real_sqlite3_mutex_free(mutex);
}

/* ---- the consumers ---------------------------------------------------------------------------- */

static int map_nothing(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx;
	(void)state;
	(void)row;
	*result = NULL;
	return CATCHUP_ROW_APPLIED;
}

static int apply_nothing(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)ctx;
	(void)state;
	(void)id;
	(void)result;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "maps", .source = "orders", .map = map_nothing, .apply = apply_nothing};
static const struct catchup_consumer *const builtins[] = {&mapped, NULL};

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void make_orders(struct scratch *s)
{
	sql_run(s->database, "PRAGMA journal_mode=WAL;"
			     "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n INT)");
}

/* Adds orders so that there are so many. */
static void orders_up_to(struct scratch *s, int n)
{
	char sql[200];

	snprintf(sql, sizeof(sql), "WITH RECURSIVE c(i) AS (SELECT 1 + coalesce(max(id), 0) FROM orders"
				   " UNION ALL SELECT i + 1 FROM c WHERE i < %d)"
				   " INSERT INTO orders(id, n) SELECT i, i FROM c", n);
	sql_run(s->database, sql);
}

static const char copies[] = "-- name: copies\n-- source: orders\n"
			     "-- setup\nCREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY);\n"
			     "-- row\nINSERT INTO copy VALUES(@id);\n";
static const char elsewhere[] = "-- name: elsewhere\n-- source: orders\n-- into: far/results.db\n"
				"-- setup\nCREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY);\n"
				"-- apply\nINSERT INTO copy SELECT id FROM orders WHERE id > @last AND id <="
				" @max;\n";

/* ---- "network file system (refused without `--force`)" ------------------------------------------ */

static void expect_refused(struct scratch *s, const char *consumer, const char *path)
{
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c = NULL;
	int rc = catchup_open(&options, &c, &error);

	if (rc == CATCHUP_OK)
		rc = catchup_add(c, consumer, NULL, &error);
	if (rc == CATCHUP_OK)
		rc = catchup_start(c, &error);
	catchup_close(c);
	assert_int_equal(rc, CATCHUP_DATABASE);
	if (!strstr(error.message, path) || !strstr(error.message, "is on a network file system") ||
		!strstr(error.message, "--force"))
		fail_msg("'%s' should name '%s' and --force", error.message, path);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema WHERE name LIKE"
					      " 'catchup%'"), 0);
}

static void network_file_systems_are_refused_without_force(void **state)
{
	static const unsigned long kinds[] = {0x6969, 0xff534d42, 0xfe534d42, 0x517b, 0x01021997, 0x00c36400,
		0x5346414f, 0x73757245, 0x65735546};
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	char consumer[400], far[400];

	make_orders(s);
	orders_up_to(s, 3);
	snprintf(consumer, sizeof(consumer), "%s/elsewhere.sql", s->folder);
	write_file(consumer, elsewhere);
	snprintf(far, sizeof(far), "%s/far", s->folder);
	assert_int_equal(mkdir(far, 0700), 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		network_magic = kinds[i];
		snprintf(network_at, sizeof(network_at), "%s/app.db", s->folder);
		expect_refused(s, consumer, "app.db");
		/* Of a results database that is yet to be made the folder is asked. */
		snprintf(network_at, sizeof(network_at), "%s", far);
		expect_refused(s, consumer, "results.db");
	}
	options.flags = CATCHUP_FLAG_NETWORK_FS;
	runtime_catch_up(runtime_open(&options, consumer, NULL));
	network_magic = 0;
	snprintf(far, sizeof(far), "%s/far/results.db", s->folder);
	assert_int_equal(sql_int(far, "SELECT count(*) FROM copy"), 3);
}

/* ---- "the clock jumping fifty years (no effect: monotonic time only)" ---------------------------- */

#define FIFTY_YEARS_S (INT64_C(50) * 365 * 24 * 3600)

static void the_clock_jumping_fifty_years_has_no_effect(void **state)
{
	static const int64_t jumps[] = {FIFTY_YEARS_S, -FIFTY_YEARS_S, FIFTY_YEARS_S, 0};
	struct scratch *s = *state;
	struct kept_log first_log, second_log;
	struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.log = keep_line, .log_context = &first_log, .log_level = CATCHUP_LOG_INFO};
	struct catchup_error error = {0};
	struct catchup *first, *second;
	char consumer[400];
	int64_t fence;
	int rows = 10;

	keep_log(&first_log);
	keep_log(&second_log);
	make_orders(s);
	orders_up_to(s, rows);
	snprintf(consumer, sizeof(consumer), "%s/copies.sql", s->folder);
	write_file(consumer, copies);
	first = runtime_open(&options, consumer, NULL);
	assert_ok(catchup_start(first, &error));
	assert_ok(catchup_wait(first, -1, &error));
	fence = sql_int(s->database, "SELECT fence FROM catchup_lease");
	/* One that waits for the lease to expire must not think that it has. */
	options.log_context = &second_log;
	second = runtime_open(&options, consumer, NULL);
	assert_ok(catchup_start(second, &error));
	UNTIL(was_logged(&second_log, "is run by"));
	for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct catchup_status *status;

		atomic_store(&wall_jump_s, jumps[i]);
		rows += 10;
		orders_up_to(s, rows);
		assert_ok(catchup_wait(first, PATIENCE_MS, &error));
		assert_ok(catchup_status(first, &status, &error));
		assert_int_equal(status->consumers[0].watermark, rows);
		assert_int_equal(status->consumers[0].error_code, 0);
		catchup_status_free(status);
		assert_ok(catchup_status_read(s->database, &status, &error));
		assert_int_equal(status->consumers[0].state, CATCHUP_STATE_CAUGHT_UP);
		catchup_status_free(status);
	}
	assert_int_equal(sql_int(s->database, "SELECT fence FROM catchup_lease"), fence);
	assert_ok(catchup_stop(first, &error));
	catchup_close(first);
	UNTIL(was_logged(&second_log, "follows 'orders'"));
	assert_ok(catchup_stop(second, &error));
	catchup_close(second);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM copy"), rows);
	assert_false(was_logged(&first_log, "paused"));
	assert_false(was_logged(&second_log, "paused"));
}

/* ---- "a thread that cannot be created (all start or none)" --------------------------------------- */

static void when_a_thread_cannot_be_created_none_starts(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .builtins = builtins};
	char consumer[400], path[400];
	int threads = left_threads();
	int needed = 0;
	int rc = CATCHUP_THREAD;

	make_orders(s);
	orders_up_to(s, 5);
	snprintf(path, sizeof(path), "%s/far", s->folder);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(consumer, sizeof(consumer), "%s/copies.sql", s->folder);
	write_file(consumer, copies);
	snprintf(path, sizeof(path), "%s/elsewhere.sql", s->folder);
	write_file(path, elsewhere);
	while (rc != CATCHUP_OK) {
		struct catchup_error error = {0};
		struct catchup *c = runtime_open(&options, consumer, NULL);

		assert_ok(catchup_add(c, path, NULL, &error));
		assert_ok(catchup_add(c, "mapped:workers=3", NULL, &error));
		atomic_store(&threads_left, needed);
		rc = catchup_start(c, &error);
		atomic_store(&threads_left, -1);
		if (rc != CATCHUP_OK) {
			assert_int_equal(rc, CATCHUP_THREAD);
			if (!strstr(error.message, "thread") ||
				!strstr(error.message, "Resource temporarily unavailable"))
				fail_msg("%d threads: %s", needed, error.message);
			assert_int_equal(sql_int(s->database, "SELECT count(*) FROM copy"), 0);
			needed++;
		} else {
			assert_ok(catchup_wait(c, -1, &error));
		}
		catchup_close(c);
		left_expect_threads(threads);
	}
	/* Three workers, three map threads, two readers at least, and two that checkpoint. */
	assert_true(needed >= 8);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM copy"), 5);
}

/* ---- "compiled without threads (refused)" -------------------------------------------------------- */

static void an_sqlite_without_threads_is_refused(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c;

	make_orders(s);
	no_threads = true;
	assert_int_equal(catchup_open(&options, &c, &error), CATCHUP_DATABASE);
	no_threads = false;
	assert_non_null(strstr(error.message, "is built without threads (SQLITE_THREADSAFE=0)"));
	assert_null(c);
	one_mutex = true;
	assert_int_equal(catchup_open(&options, &c, &error), CATCHUP_DATABASE);
	one_mutex = false;
	assert_non_null(strstr(error.message, "SQLITE_CONFIG_SINGLETHREAD"));
	assert_null(c);
	assert_ok(catchup_open(&options, &c, &error));
	catchup_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(network_file_systems_are_refused_without_force),
		SCRATCH_TEST(the_clock_jumping_fifty_years_has_no_effect),
		SCRATCH_TEST(when_a_thread_cannot_be_created_none_starts),
		SCRATCH_TEST(an_sqlite_without_threads_is_refused),
	};

	return cmocka_run_group_tests_name("input_seams", tests, NULL, NULL);
}
