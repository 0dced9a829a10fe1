/* SPDX-License-Identifier: MIT */
/*
 * How long a reader lets the file settle after a notice, and how often it looks again. The linker puts this
 * file between the reader and its watch.
 */
#include "runtime_help.h"

#include <stdatomic.h>

#define SHORTEST_NS INT64_C(30000)
#define LONGEST_NS (SHORTEST_NS * 32)
#define LOOKS 5 /* within a second or so */

static _Atomic int shortest; /* so often as short as can be */
static _Atomic int longest;  /* so often in a row as long as can be */

unsigned __real_cu_watch_settle(struct cu_watch *, int64_t);
unsigned __wrap_cu_watch_settle(struct cu_watch *watch, int64_t ns);

unsigned __wrap_cu_watch_settle(struct cu_watch *watch, int64_t ns)
{
	if (ns == LONGEST_NS)
		atomic_fetch_add(&longest, 1);
	else
		atomic_store(&longest, 0);
	if (ns == SHORTEST_NS)
		atomic_fetch_add(&shortest, 1);
	return __real_cu_watch_settle(watch, ns);
}

static _Atomic int again; /* waits in a row that no notice ended */

unsigned __real_cu_watch_wait(struct cu_watch *, int64_t);
unsigned __wrap_cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns);

unsigned __wrap_cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	unsigned seen = __real_cu_watch_wait(watch, deadline_ns);

	if (seen != 0)
		atomic_store(&again, 0);
	else
		atomic_fetch_add(&again, 1);
	return seen;
}

/* ---- a runtime ------------------------------------------------------------------------------------- */

static _Atomic int held; /* the row in hand is not done before this is 0 */

static int take(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx, (void)state, (void)row;
	return CATCHUP_ROW_APPLIED;
}

static int hold(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx, (void)state, (void)row;
	while (atomic_load(&held))
		cu_os_sleep_ns(CU_NS_PER_MS);
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_consumer prompt = {CATCHUP_CONSUMER_ABI, .name = "prompt",
	.summary = "takes rows", .source = "numbers", .row = take};

/* Its results have a file of their own, so that the source's is not locked while it works. */
static const struct catchup_consumer slow = {CATCHUP_CONSUMER_ABI, .name = "slow",
	.summary = "has a row in hand", .source = "numbers", .row = hold};

static int commit(sqlite3 *db, const char *sql)
{
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	return 1;
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void commits_without_a_row_are_looked_for_less_and_less_while_somebody_works(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	const struct catchup_consumer_config elsewhere = {.size = sizeof(elsewhere), .into = "slow.db"};
	struct catchup_error error = {0};
	struct catchup *c;
	sqlite3 *db;
	int before;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE other(x);"
			     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
			     "INSERT INTO numbers(n) VALUES(1)");
	assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_S * 1000);
	atomic_store(&held, 1);
	c = runtime_open(&options, NULL, &prompt);
	assert_ok(catchup_add_table(c, &slow, &elsewhere, &error));
	assert_ok(catchup_start(c, &error));
	UNTIL(commit(db, "INSERT INTO other VALUES(1)") && atomic_load(&longest) > 20);
	/* A row ends that, for a commit or two. */
	before = atomic_load(&shortest);
	UNTIL(commit(db, "INSERT INTO numbers(n) VALUES(1)") && atomic_load(&shortest) > before);
	atomic_store(&held, 0);
	assert_ok(catchup_wait(c, -1, &error));
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	sqlite3_close(db);
}

/* Who commits again at once has written the next commit when this one is seen, and its notice is taken;
 * visible it is when it is synced, which takes as long as it takes. The safety net is far away. */
static void a_commit_that_is_seen_is_looked_behind_before_long(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .poll_ms = 3600 * 1000};
	struct catchup_error error = {0};
	struct catchup *c;
	sqlite3 *db;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE other(x);"
			     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n)");
	assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_S * 1000);
	c = runtime_open(&options, NULL, &prompt);
	assert_ok(catchup_start(c, &error));
	/* Each pause is a multiple of what went before: after one hold-up they are long. */
	for (int i = 0; i < PATIENCE_S / 4 && atomic_load(&again) < LOOKS; i++) {
		commit(db, "INSERT INTO other VALUES(1)");
		for (int ms = 0; ms < 3000 && atomic_load(&again) < LOOKS; ms++)
			cu_os_sleep_ns(CU_NS_PER_MS);
	}
	assert_true(atomic_load(&again) >= LOOKS);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	sqlite3_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(commits_without_a_row_are_looked_for_less_and_less_while_somebody_works),
		SCRATCH_TEST(a_commit_that_is_seen_is_looked_behind_before_long),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
