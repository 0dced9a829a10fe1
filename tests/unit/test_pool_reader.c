/* SPDX-License-Identifier: MIT */
/*
 * How long a reader lets the file settle after a notice. The linker puts this file between the reader and
 * its watch.
 */
#include "runtime_help.h"

#include <stdatomic.h>

#define SHORTEST_NS INT64_C(30000)
#define LONGEST_NS (SHORTEST_NS * 32)

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(commits_without_a_row_are_looked_for_less_and_less_while_somebody_works),
	};

	return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
