/* SPDX-License-Identifier: MIT */
/*
 * What can be told from the outside: status of a database that anybody works on, and waiting for a
 * watermark in it.
 */
#include "../store_help.h"

#include "store/ledger/ledger.h"
#include "store/report/status.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORDERS                                                                                     \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT);"                               \
	"INSERT INTO orders VALUES (1),(2),(5),(9);"

/* A consumer with tables and, when it has one, a watermark; held: under a lease of this process. */
static void put_consumer(struct scratch *s, const char *name, const char *into, int64_t watermark,
	bool held, const struct cu_trouble *trouble)
{
	struct catchup_error error = {0};
	struct cu_counts add = {.offered = 3, .applied = 2, .passed = 1};
	struct cu_ledger ledger;
	struct cu_owner self;
	struct cu_conn conn;
	int64_t fence = 0, wait_ns;
	bool lost, died;

	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_ledger_register(&conn,
		&(struct cu_registration){.name = name,
			.source = "orders",
			.id_column = "id",
			.into = into ? into : ""},
		&error));
	cu_conn_close(&conn);
	open_conn(&conn, CU_ROLE_WRITER, s->database, into);
	assert_ok(cu_ledger_create_tables(&conn, &error));
	assert_ok(cu_ledger_open(&ledger, &conn, name, &error));
	cu_owner_self(&self);
	if (held)
		assert_ok(cu_ledger_take_lease(&ledger, &self, 3600 * CU_NS_PER_S, &fence, NULL, 0, &wait_ns,
			&died, &error));
	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_ledger_save(&ledger, 0, watermark, fence, &add, &lost, &error));
	assert_ok(cu_ledger_add_dead(&ledger, &(struct cu_dead_letter){.id = 1, .attempts = 1}, &error));
	assert_ok(cu_conn_commit(&conn, &error));
	if (trouble)
		assert_ok(cu_ledger_save_trouble(&ledger, trouble, &error));
	cu_conn_close(&conn);
}

static struct catchup_status *look(const char *path)
{
	struct catchup_error error = {0};
	struct catchup_status *status = NULL;

	assert_ok(catchup_status_read(path, &status, &error));
	assert_non_null(status);
	return status;
}

static void a_database_without_our_tables(void **state)
{
	struct scratch *s = *state;
	struct catchup_status *status;

	sql_run(s->database, ORDERS);
	status = look(s->database);
	assert_string_equal(status->database, s->database);
	assert_string_equal(status->sqlite_version, sqlite3_libversion());
	assert_int_equal(status->n_consumers, 0);
	assert_int_equal(status->n_sources, 0);
	catchup_status_free(status);
	catchup_status_free(NULL);
	/* Nothing was made, switched or written. */
	assert_int_equal(cu_conn_wal_bytes(s->database), 0);
	assert_int_equal(sql_int(s->database, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
	assert_int_equal(truncate(s->database, 0), 0);
	status = look(s->database);
	assert_int_equal(status->n_consumers, 0);
	catchup_status_free(status);
}

static void consumers_of_every_state(void **state)
{
	struct scratch *s = *state;
	struct cu_trouble stopped = {.state = CATCHUP_STATE_STOPPED, .code = CATCHUP_CONSUMER,
		.category = "row", .row = 5, .message = "CHECK failed"};
	struct cu_trouble paused = {.state = CATCHUP_STATE_PAUSED, .code = CATCHUP_FULL,
		.category = "full", .message = "disk full"};
	const struct catchup_consumer_status *c;
	struct catchup_status *status;

	sql_run(s->database, ORDERS);
	put_consumer(s, "a-idle", NULL, 2, false, NULL);
	/* Who has the lease goes on, whatever an earlier one has stopped for. */
	put_consumer(s, "b-running", NULL, 2, true, &stopped);
	put_consumer(s, "c-caught-up", s->results, 9, true, NULL);
	put_consumer(s, "d-stopped", NULL, 2, false, &stopped);
	put_consumer(s, "e-paused", NULL, 0, false, &paused);
	sql_run(s->database, "INSERT INTO catchup VALUES ('f-foreign', 77)");
	status = look(s->database);
	assert_int_equal(status->n_sources, 1);
	assert_int_equal(status->n_consumers, 6);
	assert_string_equal(status->sources[0].name, "orders");
	assert_string_equal(status->sources[0].database, s->database);
	assert_int_equal(status->sources[0].newest, 9);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(catchup_state_name(status->consumers[i].state),
			((const char *const[]){"idle", "running", "caught-up", "stopped", "paused", "idle"})[i]);
	c = &status->consumers[0];
	assert_string_equal(c->name, "a-idle");
	assert_string_equal(c->source, "orders");
	assert_string_equal(c->into, "");
	assert_string_equal(c->owner, "");
	assert_string_equal(c->last_error, "");
	assert_int_equal(c->watermark, 2);
	assert_int_equal(c->newest, 9);
	assert_int_equal(c->lag_rows, 2);
	assert_int_equal(c->dead, 1);
	assert_true(c->offered == 3 && c->applied == 2 && c->passed == 1 && c->updated_ms > 0);
	c = &status->consumers[2];
	assert_string_equal(c->into, s->results);
	assert_int_equal(c->watermark, 9);
	assert_int_equal(c->lag_rows, 0);
	assert_non_null(strchr(c->owner, ':'));
	c = &status->consumers[3];
	assert_string_equal(c->last_error, "CHECK failed");
	assert_int_equal(c->error_code, CATCHUP_CONSUMER);
	assert_int_equal(c->error_row, 5);
	assert_true(c->error_since_ms > 0);
	c = &status->consumers[5];
	assert_string_equal(c->source, "");
	assert_int_equal(c->watermark, 77);
	assert_int_equal(c->newest, -1);
	assert_int_equal(c->lag_rows, -1);
	catchup_status_free(status);
}

static void sources_and_results_that_are_gone(void **state)
{
	struct scratch *s = *state;
	struct catchup_status *status;

	sql_run(s->database, ORDERS);
	put_consumer(s, "totals", s->results, 2, false, NULL);
	put_consumer(s, "totals", NULL, 5, false, NULL);
	unlink(s->results);
	status = look(s->database);
	/* Two results databases are two entries, the newer one first. */
	assert_int_equal(status->n_consumers, 2);
	assert_int_equal(status->consumers[0].watermark, 5);
	assert_int_equal(status->consumers[1].watermark, 0);
	if (!strstr(status->consumers[1].last_error, "No such file"))
		fail_msg("%s", status->consumers[1].last_error);
	catchup_status_free(status);
	sql_run(s->database, "DROP TABLE orders");
	status = look(s->database);
	assert_int_equal(status->consumers[0].newest, -1);
	assert_int_equal(status->consumers[0].lag_rows, -1);
	assert_int_equal(status->sources[0].newest, -1);
	catchup_status_free(status);
}

/* Reads from the database in another process until its input ends. */
static pid_t read_elsewhere(const char *database, int *end)
{
	int ready[2], go[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		sqlite3 *db;

		close(go[1]);
		if (sqlite3_open(database, &db) == SQLITE_OK &&
			sqlite3_exec(db, "BEGIN; SELECT count(*) FROM orders", NULL, NULL, NULL) ==
				SQLITE_OK &&
			write(ready[1], "r", 1) == 1)
			(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	close(ready[1]);
	close(go[0]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*end = go[1];
	return pid;
}

static void who_holds_the_log_back_is_named(void **state)
{
	struct scratch *s = *state;
	struct catchup_status *status;
	char expected[64];
	sqlite3 *writer;
	int end, result;
	pid_t pid;

	assert_int_equal(sqlite3_open(s->database, &writer), SQLITE_OK);
	assert_int_equal(sqlite3_exec(writer, "PRAGMA journal_mode=WAL;" ORDERS, NULL, NULL, NULL),
		SQLITE_OK);
	status = look(s->database);
	assert_true(status->wal_bytes > 0);
	assert_string_equal(status->wal_held_by, "");
	catchup_status_free(status);

	pid = read_elsewhere(s->database, &end);
	status = look(s->database);
	snprintf(expected, sizeof(expected), "pid %ld (", (long)pid);
	assert_non_null(strstr(status->wal_held_by, expected));
	catchup_status_free(status);

	close(end);
	assert_int_equal(waitpid(pid, &result, 0), pid);
	status = look(s->database);
	assert_string_equal(status->wal_held_by, "");
	catchup_status_free(status);
	sqlite3_close(writer);
}

static void what_cannot_be_read(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct catchup_status *status = (void *)1;

	assert_int_equal(catchup_status_read(s->database, &status, &error), CATCHUP_USAGE);
	assert_null(status);
	expect_text(&error, "No such file");
	assert_int_equal(catchup_status_read(s->folder, &status, &error), CATCHUP_USAGE);
	assert_int_equal(catchup_status_read("", &status, &error), CATCHUP_USAGE);
	assert_int_equal(catchup_status_read(NULL, &status, NULL), CATCHUP_USAGE);
	sql_run(s->database, "CREATE TABLE catchup(name); CREATE TABLE catchup_state(x)");
	assert_int_equal(catchup_status_read(s->database, &status, &error), CATCHUP_DATABASE);
	expect_text(&error, "no such column");
}

/* ---- waiting ------------------------------------------------------------------------------ */

static int wait_for(const char *database, const char *name, int64_t until, int64_t timeout_ms,
	const volatile int *cancel, struct catchup_error *error)
{
	memset(error, 0, sizeof(*error));
	return catchup_wait_watermark(database, name, until, timeout_ms, cancel, error);
}

static void waits_that_end_at_once(void **state)
{
	struct scratch *s = *state;
	struct cu_trouble stopped = {.state = CATCHUP_STATE_STOPPED, .code = CATCHUP_CONSUMER,
		.category = "row", .row = 5, .message = "CHECK failed"};
	struct catchup_error error;
	const volatile int canceled = 1;

	sql_run(s->database, ORDERS);
	assert_int_equal(wait_for(s->database, "totals", 1, -1, NULL, &error), CATCHUP_USAGE);
	expect_text(&error, "knows no consumer 'totals'");
	assert_int_equal(wait_for(s->database, "", 1, -1, NULL, &error), CATCHUP_USAGE);
	assert_int_equal(wait_for(s->results, "totals", 1, -1, NULL, &error), CATCHUP_USAGE);
	/* One that has an end waits for a first start. */
	assert_int_equal(wait_for(s->database, "totals", 1, 0, NULL, &error), CATCHUP_TIMEOUT);
	expect_text(&error, "knows no consumer 'totals' yet");
	assert_int_equal(wait_for(s->database, "totals", 1, 1, NULL, &error), CATCHUP_TIMEOUT);
	assert_int_equal(wait_for(s->database, "totals", 1, 60000, &canceled, &error), CATCHUP_CANCELED);
	assert_int_equal(wait_for(s->results, "totals", 1, 60000, NULL, &error), CATCHUP_USAGE);
	put_consumer(s, "totals", NULL, 2, false, NULL);
	assert_int_equal(wait_for(s->database, "totals", 2, -1, NULL, &error), CATCHUP_OK);
	assert_int_equal(wait_for(s->database, "totals", 3, 0, NULL, &error), CATCHUP_TIMEOUT);
	expect_text(&error, "is at id 2, not yet at 3");
	assert_int_equal(wait_for(s->database, "totals", 3, -1, &canceled, &error), CATCHUP_CANCELED);
	put_consumer(s, "bad", s->results, 4, false, &stopped);
	assert_int_equal(wait_for(s->database, "bad", 4, -1, NULL, &error), CATCHUP_OK);
	assert_int_equal(wait_for(s->database, "bad", 5, -1, NULL, &error), CATCHUP_CONSUMER);
	expect_text(&error, "has stopped at id 4: CHECK failed");
}

struct waiter {
	const char *database;
	int64_t timeout_ms;
	int rc;
	struct catchup_error error;
};

static void *wait_in_thread(void *argument)
{
	struct waiter *w = argument;

	w->rc = catchup_wait_watermark(w->database, "totals", 9, w->timeout_ms, NULL, &w->error);
	return NULL;
}

static void a_commit_ends_the_wait(void **state)
{
	struct scratch *s = *state;
	struct waiter w = {.database = s->database, .timeout_ms = -1};
	pthread_t thread;

	sql_run(s->database, ORDERS);
	put_consumer(s, "totals", s->results, 2, false, NULL);
	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &w), 0);
	sql_run(s->results, "UPDATE catchup SET last = 8");
	sql_run(s->results, "UPDATE catchup SET last = 9");
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.rc, CATCHUP_OK);
}

static void results_that_are_not_there_yet(void **state)
{
	struct scratch *s = *state;
	struct waiter w = {.database = s->database, .timeout_ms = -1};
	char made[400];
	pthread_t thread;

	sql_run(s->database, ORDERS);
	put_consumer(s, "totals", s->results, 9, false, NULL);
	sql_run(s->results, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE");
	snprintf(made, sizeof(made), "%s/made.db", s->folder);
	assert_int_equal(rename(s->results, made), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &w), 0);
	assert_int_equal(rename(made, s->results), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.rc, CATCHUP_OK);
}

/* However far the thread has come when it is registered. The patience of one hour is never used up. */
static void a_first_start_is_waited_for(void **state)
{
	struct scratch *s = *state;
	struct waiter w = {.database = s->database, .timeout_ms = 3600 * 1000};
	pthread_t thread;

	sql_run(s->database, ORDERS);
	assert_int_equal(pthread_create(&thread, NULL, wait_in_thread, &w), 0);
	put_consumer(s, "others", NULL, 9, false, NULL);
	put_consumer(s, "totals", s->results, 8, false, NULL);
	sql_run(s->results, "UPDATE catchup SET last = 9");
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.rc, CATCHUP_OK);
}

/* ---- tables come meanwhile ----------------------------------------------------------------------- */

struct maker {
	const char *path;
	_Atomic int made, enough;
};

/* One table a commit, as where many consumers start for the first time. */
static void *make_tables(void *argument)
{
	struct maker *maker = argument;
	sqlite3 *db = NULL;
	char sql[96];

	sqlite3_open(maker->path, &db);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", NULL, NULL, NULL);
	while (!atomic_load(&maker->enough)) {
		int n = atomic_fetch_add(&maker->made, 1);

		snprintf(sql, sizeof(sql), "CREATE TABLE made%d(id INTEGER PRIMARY KEY, v)%s", n,
			n == 2000 ? "; COMMIT" : "");
		if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
			break;
	}
	sqlite3_close(db);
	return NULL;
}

static void others_may_make_tables_meanwhile(void **state)
{
	struct scratch *s = *state;
	struct maker maker = {.path = s->database};
	struct catchup_error error = {0};
	pthread_t thread;

	sql_run(s->database, ORDERS);
	put_consumer(s, "totals", NULL, 5, false, NULL);
	assert_int_equal(pthread_create(&thread, NULL, make_tables, &maker), 0);
	while (atomic_load(&maker.made) <= 2001)
		cu_os_sleep_ns(CU_NS_PER_MS);
	for (int i = 0; i < 20; i++) {
		struct catchup_status *status = look(s->database);

		assert_int_equal(status->n_consumers, 1);
		catchup_status_free(status);
		assert_ok(catchup_wait_watermark(s->database, "totals", 5, 0, NULL, &error));
		assert_int_equal(catchup_wait_watermark(s->database, "counts", 5, 1, NULL, &error),
			CATCHUP_TIMEOUT);
	}
	atomic_store(&maker.enough, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	/* They came all the while. */
	assert_true(atomic_load(&maker.made) > 2002);
}

static void statuses_are_built_of_copies(void **state)
{
	struct catchup_status *status = cu_status_create("/x");
	char name[] = "totals";
	struct catchup_consumer_status consumer = {.name = name, .watermark = 5};
	struct catchup_source_status source = {.name = name, .newest = 7};

	(void)state;
	assert_non_null(status);
	for (int i = 0; i < 5; i++) {
		assert_non_null(cu_status_add_consumer(status, &consumer));
		assert_non_null(cu_status_add_source(status, &source));
	}
	name[0] = 'X';
	assert_int_equal(status->n_consumers, 5);
	assert_string_equal(status->consumers[4].name, "totals");
	assert_string_equal(status->consumers[4].owner, "");
	assert_string_equal(status->sources[4].name, "totals");
	catchup_status_free(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_database_without_our_tables),
		SCRATCH_TEST(consumers_of_every_state),
		SCRATCH_TEST(sources_and_results_that_are_gone),
		SCRATCH_TEST(who_holds_the_log_back_is_named),
		SCRATCH_TEST(what_cannot_be_read),
		SCRATCH_TEST(waits_that_end_at_once),
		SCRATCH_TEST(a_commit_ends_the_wait),
		SCRATCH_TEST(results_that_are_not_there_yet),
		SCRATCH_TEST(a_first_start_is_waited_for),
		SCRATCH_TEST(others_may_make_tables_meanwhile),
		cmocka_unit_test(statuses_are_built_of_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
