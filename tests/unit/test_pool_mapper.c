/* SPDX-License-Identifier: MIT */
/*
 * Consumers with `map`, where a range cannot be read or is withdrawn, where a row is mapped once more, and
 * where a backlog comes as one range. The linker puts this file between the threads and what they call.
 */
#include "runtime_help.h"

#include "pool/perform/mapper.h"
#include "pool/plan/plan.h"
#include "store/source/source.h"

#include <stdatomic.h>

#define ROWS 160

#define JOBS "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE TABLE seen(id INTEGER);"
#define ADD_JOBS                                                                                   \
	"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 160)"            \
	" INSERT INTO jobs SELECT NULL FROM c;"

/* ---- what is in between ---------------------------------------------------------------------- */

static _Atomic int failing;     /* so many reads still fail */
static _Atomic int rewinds;     /* requests that a reader has taken */
static _Atomic int pushes;      /* ranges pushed since */
static _Atomic int deaf_from;   /* after so many a reader sleeps until one of ours wakes it; 0: never */
static _Atomic int deaf;        /* one does */
static _Atomic int64_t held_at; /* `map` waits at ids above; 0: nowhere */
static _Atomic int held;

int __real_cu_source_fetched_other(struct cu_source *, int, int64_t *, struct catchup_error *);
int __wrap_cu_source_fetched_other(
	struct cu_source *source, int rc, int64_t *id, struct catchup_error *error);
void __real_cu_feed_rewind(struct cu_feed *, int64_t, uint32_t);
void __wrap_cu_feed_rewind(struct cu_feed *feed, int64_t from, uint32_t epoch);
void __real_cu_feed_pushed(struct cu_feed *, int64_t);
void __wrap_cu_feed_pushed(struct cu_feed *feed, int64_t hi);
unsigned __real_cu_watch_wait(struct cu_watch *, int64_t);
unsigned __wrap_cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns);

/* Where the first row of each range is looked at. */
int __wrap_cu_source_fetched_other(
	struct cu_source *source, int rc, int64_t *id, struct catchup_error *error)
{
	if (atomic_load(&failing) > 0 && atomic_fetch_sub(&failing, 1) > 0) {
		cu_error_set(error, CATCHUP_LOCKED, SQLITE_BUSY, "the test has locked it");
		return CATCHUP_LOCKED;
	}
	return __real_cu_source_fetched_other(source, rc, id, error);
}

void __wrap_cu_feed_rewind(struct cu_feed *feed, int64_t from, uint32_t epoch)
{
	__real_cu_feed_rewind(feed, from, epoch);
	atomic_store(&pushes, 0);
	atomic_fetch_add(&rewinds, 1);
}

void __wrap_cu_feed_pushed(struct cu_feed *feed, int64_t hi)
{
	__real_cu_feed_pushed(feed, hi);
	atomic_fetch_add(&pushes, 1);
}

unsigned __wrap_cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	unsigned seen;

	if (atomic_load(&deaf_from) == 0 || atomic_load(&rewinds) < atomic_load(&deaf_from))
		return __real_cu_watch_wait(watch, deadline_ns);
	atomic_store(&deaf, 1);
	do
		seen = __real_cu_watch_wait(watch, CU_FOREVER);
	while (!(seen & CU_WATCH_WOKEN));
	return seen;
}

/* ---- the consumer ---------------------------------------------------------------------------- */

static int map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx, (void)state, (void)result;
	while (atomic_load(&held_at) != 0 && sqlite3_column_int64(row, 0) > atomic_load(&held_at)) {
		atomic_store(&held, 1);
		cu_os_sleep_ns(CU_NS_PER_MS);
	}
	return CATCHUP_ROW_APPLIED;
}

static int apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	char sql[64];

	(void)state, (void)result;
	snprintf(sql, sizeof(sql), "INSERT INTO seen VALUES(%lld)", (long long)id);
	return sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) == SQLITE_OK ? CATCHUP_ROW_APPLIED
									 : catchup_fail_db(ctx, "seeing");
}

static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "sees each job", .source = "jobs", .map = map, .apply = apply};

static void all_seen_once_above(struct scratch *s, int64_t first)
{
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM seen"), ROWS - first);
	assert_int_equal(sql_int(s->database, "SELECT count(DISTINCT id) FROM seen"), ROWS - first);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), ROWS);
}

/* ---- one whose `map` fails and asks what it may do ---------------------------------------------- */

static const char *asking_of;   /* the database */
static int asked;               /* on worker 0, where rows are mapped that come a second time, or alone */
static int asked_in_vain;       /* and others could not write, or it could itself */

static void ask(struct catchup_context *ctx)
{
	sqlite3 *other;

	asked++;
	assert_int_equal(sqlite3_open(asking_of, &other), SQLITE_OK);
	sqlite3_busy_timeout(other, 1000);
	if (sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
		sqlite3_exec(ctx->db, "INSERT INTO seen VALUES(0)", NULL, NULL, NULL) != SQLITE_READONLY)
		asked_in_vain++;
	sqlite3_close(other);
}

/* `bad` fails as long as it is so: the first time on a thread, later where it asks. */
static _Atomic int bad_times;

static int map_bad(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)state, (void)result;
	if (ctx->worker == 0)
		ask(ctx);
	if (sqlite3_column_int64(row, 0) != 40 || atomic_fetch_sub(&bad_times, 1) <= 0)
		return CATCHUP_ROW_APPLIED;
	return catchup_fail(ctx, 0, "the row is bad");
}

static const struct catchup_consumer bad = {CATCHUP_CONSUMER_ABI, .name = "bad",
	.summary = "sees each job", .source = "jobs", .map = map_bad, .apply = apply};
static const struct catchup_consumer *const builtins[] = {&bad, NULL};

/* ---- one with queries of its own ----------------------------------------------------------------- */

static _Atomic int inside;      /* so many threads have come into `map` of different ones */
static _Atomic int kept;        /* results that are not discarded yet */
static _Atomic int kept_most;
static _Atomic int kept_at_end; /* when worker 0 was closed */
static _Atomic int still_open;  /* threads, then */
static _Atomic int opened;      /* threads */

static int map_kept(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)row;
	if (!*(bool *)state) {
		*(bool *)state = true;
		atomic_fetch_add(&inside, 1);
		UNTIL(atomic_load(&inside) == 2 || ctx->worker == 0);
	}
	*result = malloc(1);
	if (atomic_fetch_add(&kept, 1) >= atomic_load(&kept_most))
		atomic_fetch_add(&kept_most, 1);
	return CATCHUP_ROW_APPLIED;
}

static void discard_kept(void *result)
{
	free(result);
	atomic_fetch_sub(&kept, 1);
}

static int open_kept(struct catchup_context *ctx, void **state)
{
	(void)ctx;
	*state = calloc(1, sizeof(bool));
	atomic_fetch_add(&opened, 1);
	return CATCHUP_ROW_APPLIED;
}

static void close_kept(struct catchup_context *ctx, void *state)
{
	free(state);
	atomic_fetch_sub(&opened, 1);
	if (ctx->worker == 0) {
		atomic_store(&kept_at_end, atomic_load(&kept));
		atomic_store(&still_open, atomic_load(&opened));
	}
}

static int apply_none(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)state, (void)id, (void)result;
	return catchup_fail(ctx, 0, "no row is good");
}

#define QUERIED(limit, write)                                                                            \
	{CATCHUP_CONSUMER_ABI, .name = "mapped", .summary = "sees each job",                       \
		.max = "SELECT max(id) AS max FROM jobs",                                          \
		.next = "SELECT id FROM jobs WHERE id > @last AND id <= @max ORDER BY id" limit,   \
		.open = open_kept, .close = close_kept, .map = map_kept, .apply = write,           \
		.discard = discard_kept}

static const struct catchup_consumer queried = QUERIED("", apply),
	queried_few = QUERIED(" LIMIT 7", apply), queried_in_vain = QUERIED("", apply_none);

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_range_that_could_not_be_read_is_read_again(void **state)
{
	struct scratch *s = *state;
	struct kept_log log;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.log = keep_line, .log_context = &log, .log_level = CATCHUP_LOG_INFO};
	const struct catchup_consumer_config config = {.size = sizeof(config), .workers = 4};
	struct catchup_error error = {0};
	struct catchup *c;

	keep_log(&log);
	sql_run(s->database, JOBS ADD_JOBS);
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add_table(c, &mapped, &config, &error));
	/* More than there are threads: a range fails again, and others are mapped before it. */
	atomic_store(&failing, 7);
	runtime_catch_up(c);
	assert_true(atomic_load(&failing) <= 0);
	all_seen_once_above(s, 0);
	expect_logged(&log, "paused at watermark");
	expect_logged(&log, "the test has locked it");
	cu_mutex_finish(&log.mu);
}

static void room_that_withdrawn_ranges_leave_is_told_to_the_reader(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.ring_slots = 4, .flags = CATCHUP_FLAG_NO_LEASE};
	struct catchup *c;

	sql_run(s->database, JOBS);
	atomic_store(&rewinds, 0);
	atomic_store(&held, 0);
	c = runtime_open(&options, NULL, &mapped);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	/* The thread is in the second range, and the ring is full behind it, when the first one finds
	 * that somebody has moved the watermark: all are withdrawn. */
	atomic_store(&deaf_from, 2);
	atomic_store(&held_at, 16);
	sql_run(s->database, "BEGIN; INSERT OR REPLACE INTO catchup VALUES('mapped', 5);" ADD_JOBS "COMMIT");
	UNTIL(atomic_load(&held) && atomic_load(&rewinds) == 2 &&
		(atomic_load(&deaf) || atomic_load(&pushes) > 0));
	/* Unless there was room for a new one at once, the reader waits for some, and hears of it only if
	 * it is told. */
	atomic_store(&held_at, 0);
	UNTIL(sql_int(s->database, "SELECT last FROM catchup") == ROWS);
	atomic_store(&deaf_from, 0);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	all_seen_once_above(s, 5);
}

static void run_queried(struct scratch *s, const struct catchup_consumer *table)
{
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .batch_rows = 100};
	const struct catchup_consumer_config config = {.size = sizeof(config), .workers = 2};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, JOBS ADD_JOBS "INSERT INTO jobs SELECT NULL FROM jobs a, jobs b LIMIT 2840");
	atomic_store(&inside, 0);
	atomic_store(&kept_most, 0);
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add_table(c, table, &config, &error));
	runtime_catch_up(c);
	assert_int_equal(sql_int(s->database, "SELECT count(DISTINCT id) FROM seen"), 3000);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM seen"), 3000);
	assert_int_equal(atomic_load(&kept), 0);
	assert_true((uint32_t)atomic_load(&kept_most) <= 2 * CU_MAP_WINDOW_PER_THREAD * CU_MAP_ROWS);
}

static void a_backlog_of_a_query_is_shared_out(void **state)
{
	run_queried(*state, &queried);
}

static void a_backlog_of_a_query_with_a_limit_is_shared_out(void **state)
{
	/* Also where it ends cannot be read at first. */
	atomic_store(&failing, 5);
	run_queried(*state, &queried_few);
	assert_true(atomic_load(&failing) <= 0);
}

static void worker_0_is_closed_last(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	const struct catchup_consumer_config config = {.size = sizeof(config), .workers = 2};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, JOBS ADD_JOBS);
	atomic_store(&inside, 0);
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add_table(c, &queried_in_vain, &config, &error));
	assert_ok(catchup_start(c, &error));
	assert_int_equal(catchup_wait(c, -1, &error), CATCHUP_CONSUMER);
	assert_int_equal(catchup_stop(c, &error), CATCHUP_CONSUMER);
	catchup_close(c);
	assert_int_equal(atomic_load(&kept_at_end), 0);
	assert_int_equal(atomic_load(&still_open), 0);
}

static void run_bad(struct scratch *s, const char *policy)
{
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .builtins = builtins};
	const struct catchup_consumer_config config = {
		.size = sizeof(config), .workers = 4, .on_error = policy};
	struct catchup_error error = {0};
	struct catchup *c;

	asking_of = s->database;
	asked = asked_in_vain = 0;
	assert_ok(catchup_open(&options, &c, &error));
	assert_ok(catchup_add(c, "bad", &config, &error));
	runtime_catch_up(c);
	assert_int_equal(asked_in_vain, 0);
}

static void others_may_write_while_a_row_is_mapped_again(void **state)
{
	struct scratch *s = *state;

	sql_run(s->database, JOBS ADD_JOBS);
	atomic_store(&bad_times, 3);
	run_bad(s, "retry(5, 1, 1)");
	/* Of its four tries the first was on a thread. */
	assert_int_equal(asked, 3);
	all_seen_once_above(s, 0);
}

static void others_may_write_while_a_row_is_mapped_with_care(void **state)
{
	struct scratch *s = *state;

	sql_run(s->database, JOBS ADD_JOBS);
	atomic_store(&bad_times, 2);
	run_bad(s, "careful retry(5, 1, 1)");
	assert_int_equal(asked, ROWS + 2);
	all_seen_once_above(s, 0);
}

static void others_may_write_while_a_dead_letter_is_mapped(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .builtins = builtins};
	struct catchup_dead_result result;
	struct catchup_error error = {0};

	sql_run(s->database, JOBS ADD_JOBS);
	atomic_store(&bad_times, ROWS);
	run_bad(s, "park");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM seen"), ROWS - 1);
	asked = 0;
	atomic_store(&bad_times, 1);
	assert_ok(catchup_dead_retry(&options, "bad", 40, &result, &error));
	assert_int_equal(result.failed, 1);
	assert_ok(catchup_dead_retry(&options, "bad", 40, &result, &error));
	assert_int_equal(result.done, 1);
	assert_int_equal(asked, 2);
	assert_int_equal(asked_in_vain, 0);
	all_seen_once_above(s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_range_that_could_not_be_read_is_read_again),
		SCRATCH_TEST(a_backlog_of_a_query_is_shared_out),
		SCRATCH_TEST(a_backlog_of_a_query_with_a_limit_is_shared_out),
		SCRATCH_TEST(worker_0_is_closed_last),
		SCRATCH_TEST(others_may_write_while_a_row_is_mapped_again),
		SCRATCH_TEST(others_may_write_while_a_row_is_mapped_with_care),
		SCRATCH_TEST(others_may_write_while_a_dead_letter_is_mapped),
		SCRATCH_TEST(room_that_withdrawn_ranges_leave_is_told_to_the_reader),
	};

	return cmocka_run_group_tests_name("mapper", tests, NULL, NULL);
}
