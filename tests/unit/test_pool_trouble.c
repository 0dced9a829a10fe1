/* SPDX-License-Identifier: MIT */
/*
 * Why a consumer pauses is stored beside its watermark, as soon as that is possible. The linker puts this
 * file between the runtime and what it calls; what is stored is read as another process would.
 */
#include "runtime_help.h"

#include "base/error.h"
#include "store/ledger/ledger.h"
#include "store/source/source.h"

#include <stdatomic.h>

#define NUMBERS "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);" \
	"CREATE TABLE IF NOT EXISTS seen(id INTEGER); INSERT INTO numbers(n) VALUES(1);"

/* ---- what is in between ---------------------------------------------------------------------------- */

static _Atomic int unreadable;  /* the source is locked */
static _Atomic int unread;      /* so often it could not be read */
static _Atomic int unwritable;  /* what is wrong cannot be stored */
static _Atomic int refused;     /* so often it could not */
static _Atomic int64_t patience; /* how long storing it would have waited for a lock */
static _Atomic int opened;      /* connections that write */
static _Atomic int doubtful;    /* the next commit fails: 1: it is undone; 2: it is done all the same */
static _Atomic int failure;     /* what the consumer fails with; 0: nothing */

int __real_cu_conn_open(struct cu_conn *, const struct cu_conn_options *, struct catchup_error *);
int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error);
int __real_cu_conn_commit(struct cu_conn *, struct catchup_error *);
int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error);
int __real_cu_source_newest(struct cu_source *, int64_t *, bool *, struct catchup_error *);
int __wrap_cu_source_newest(struct cu_source *source, int64_t *newest, bool *empty,
	struct catchup_error *error);
int __real_cu_ledger_save_trouble(
	struct cu_ledger *, const struct cu_trouble *, struct catchup_error *);
int __wrap_cu_ledger_save_trouble(struct cu_ledger *ledger, const struct cu_trouble *trouble,
	struct catchup_error *error);

int __wrap_cu_source_newest(struct cu_source *source, int64_t *newest, bool *empty,
	struct catchup_error *error)
{
	if (atomic_load(&unreadable)) {
		atomic_fetch_add(&unread, 1);
		return cu_error_set(error, CATCHUP_LOCKED, SQLITE_BUSY, "the test has locked it");
	}
	return __real_cu_source_newest(source, newest, empty, error);
}

int __wrap_cu_ledger_save_trouble(struct cu_ledger *ledger, const struct cu_trouble *trouble,
	struct catchup_error *error)
{
	if (trouble->code != CATCHUP_OK)
		atomic_store(&patience, ledger->conn->busy_ms);
	if (trouble->code != CATCHUP_OK && atomic_load(&unwritable)) {
		atomic_fetch_add(&refused, 1);
		return cu_error_set(error, CATCHUP_FULL, SQLITE_FULL, "the test has no room");
	}
	return __real_cu_ledger_save_trouble(ledger, trouble, error);
}

int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	if (options->role == CU_ROLE_WRITER)
		atomic_fetch_add(&opened, 1);
	return __real_cu_conn_open(conn, options, error);
}

int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error)
{
	int doubt = atomic_exchange(&doubtful, 0);
	int rc = CATCHUP_OK;

	if (doubt == 1)
		cu_conn_rollback(conn);
	else
		rc = __real_cu_conn_commit(conn, error);
	return doubt ? cu_error_set(error, CATCHUP_IO, SQLITE_IOERR_FSYNC, "the test cannot sync") : rc;
}

static _Atomic int64_t longest_ns; /* time for which the reader has rested */

void __real_cu_watch_rest(struct cu_watch *, int64_t);
void __wrap_cu_watch_rest(struct cu_watch *watch, int64_t deadline_ns);

void __wrap_cu_watch_rest(struct cu_watch *watch, int64_t deadline_ns)
{
	int64_t ns = deadline_ns - cu_os_now_ns();

	if (ns > atomic_load(&longest_ns))
		atomic_store(&longest_ns, ns);
	__real_cu_watch_rest(watch, deadline_ns);
}

/* ---- a runtime ------------------------------------------------------------------------------------- */

static _Atomic int doubt_at_row; /* what becomes of the commit of the next row */

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	char sql[64];

	(void)state;
	if (atomic_load(&failure))
		return catchup_fail(ctx, atomic_load(&failure), "the test says so");
	snprintf(sql, sizeof(sql), "INSERT INTO seen VALUES(%lld)",
		(long long)sqlite3_column_int64(row, 0));
	if (sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "seeing");
	atomic_store(&doubtful, atomic_exchange(&doubt_at_row, 0));
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_consumer plain = {CATCHUP_CONSUMER_ABI, .name = "plain",
	.summary = "fails as it is told", .source = "numbers", .row = row};

/* What another process sees. */
static int seen_state(struct scratch *s, char *message, size_t bytes)
{
	struct catchup_status *status;
	struct catchup_error error;
	int state;

	assert_ok(catchup_status_read(s->database, &status, &error));
	assert_int_equal(status->n_consumers, 1);
	state = status->consumers[0].state;
	if (message)
		snprintf(message, bytes, "%s (%s)", status->consumers[0].last_error,
			status->consumers[0].error_category);
	catchup_status_free(status);
	return state;
}

static void seen(struct scratch *s, int state, const char *expected)
{
	char message[300];

	UNTIL(seen_state(s, message, sizeof(message)) == state);
	assert_string_equal(message, expected);
}

static struct catchup *start_polling(struct scratch *s, struct kept_log *log, uint32_t poll_ms)
{
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.log = keep_line, .log_context = log, .log_level = CATCHUP_LOG_INFO, .poll_ms = poll_ms};
	struct catchup_error error = {0};
	struct catchup *c;

	keep_log(log);
	sql_run(s->database, "PRAGMA journal_mode=WAL;" NUMBERS);
	c = runtime_open(&options, NULL, &plain);
	assert_ok(catchup_start(c, &error));
	return c;
}

static struct catchup *start(struct scratch *s, struct kept_log *log)
{
	return start_polling(s, log, 10);
}

static void stop(struct catchup *c, struct kept_log *log)
{
	struct catchup_error error = {0};

	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	cu_mutex_finish(&log->mu);
}

/* ---- tests ----------------------------------------------------------------------------------------- */

static void a_source_that_cannot_be_read_pauses_who_follows_it(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct kept_log log;
	struct catchup *c = start(s, &log);

	assert_ok(catchup_wait(c, -1, &error));
	atomic_store(&unreadable, 1);
	sql_run(s->database, "INSERT INTO numbers(n) VALUES(2)");
	seen(s, CATCHUP_STATE_PAUSED, "the test has locked it (busy)");
	expect_logged(&log, "plain: paused at watermark 1: the test has locked it; trying again");
	atomic_store(&unreadable, 0);
	UNTIL(sql_int(s->database, "SELECT last FROM catchup") == 2);
	seen(s, CATCHUP_STATE_CAUGHT_UP, " ()");
	expect_logged(&log, "plain: goes on");
	/* And when nothing is new, so that nothing is committed. */
	atomic_store(&unreadable, 1);
	sql_run(s->database, "CREATE TABLE other(x)");
	seen(s, CATCHUP_STATE_PAUSED, "the test has locked it (busy)");
	atomic_store(&unreadable, 0);
	seen(s, CATCHUP_STATE_CAUGHT_UP, " ()");
	stop(c, &log);
}

/* The look that takes a request to be fed fails: the request is not lost with it. */
static void a_look_that_fails_takes_no_request_with_it(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct kept_log log;
	struct catchup *c = start(s, &log);
	char message[300];
	int before;

	assert_ok(catchup_wait(c, -1, &error));
	atomic_store(&failure, SQLITE_FULL);
	sql_run(s->database, "INSERT INTO numbers(n) VALUES(2)");
	seen(s, CATCHUP_STATE_PAUSED, "the test says so (full)");
	/* It goes on from its watermark, for which it asks the reader. */
	atomic_store(&unreadable, 1);
	atomic_store(&failure, 0);
	UNTIL(seen_state(s, message, sizeof(message)) == CATCHUP_STATE_PAUSED &&
		strcmp(message, "the test has locked it (busy)") == 0);
	before = atomic_load(&unread);
	UNTIL(atomic_load(&unread) >= before + 2);
	atomic_store(&unreadable, 0);
	UNTIL(sql_int(s->database, "SELECT last FROM catchup") == 2);
	stop(c, &log);
}

static void what_cannot_be_stored_is_stored_as_soon_as_it_can(void **state)
{
	static const int codes[] = {SQLITE_FULL, SQLITE_IOERR_FSYNC};
	struct scratch *s = *state;
	struct catchup_error error = {0};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct kept_log log;
		struct catchup *c;

		sql_run(s->database, "DROP TABLE IF EXISTS numbers");
		atomic_store(&failure, codes[i]);
		atomic_store(&unwritable, 1);
		atomic_store(&refused, 0);
		c = start(s, &log);
		/* Tried at each pause. */
		UNTIL(atomic_load(&refused) >= 2);
		expect_logged(&log, "plain: paused at watermark 0: the test says so; trying again");
		assert_int_equal(seen_state(s, NULL, 0), CATCHUP_STATE_RUNNING);
		atomic_store(&unwritable, 0);
		seen(s, CATCHUP_STATE_PAUSED, i == 0 ? "the test says so (full)" : "the test says so (io)");
		assert_int_equal(atomic_load(&patience), 0);
		atomic_store(&failure, 0);
		assert_ok(catchup_wait(c, -1, &error));
		seen(s, CATCHUP_STATE_CAUGHT_UP, " ()");
		stop(c, &log);
		sql_run(s->database, "DELETE FROM catchup");
	}
}

/* It is tried once: another program may have the lock just then. */
static void why_it_stopped_waits_for_a_lock(void **state)
{
	struct scratch *s = *state;
	struct kept_log log;
	struct catchup *c;

	atomic_store(&failure, SQLITE_CONSTRAINT);
	c = start(s, &log);
	seen(s, CATCHUP_STATE_STOPPED, "the test says so (row)");
	assert_true(atomic_load(&patience) > 0);
	atomic_store(&failure, 0);
	catchup_close(c);
	cu_mutex_finish(&log.mu);
}

/* Nobody knows whether such a commit is there: the connection is closed, and a fresh one is asked for the
 * watermark. */
static void a_failed_sync_is_final_for_its_connection(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct kept_log log;
	struct catchup *c = start(s, &log);
	int before;

	assert_ok(catchup_wait(c, -1, &error));
	for (int doubt = 1; doubt <= 2; doubt++) {
		before = atomic_load(&opened);
		atomic_store(&doubt_at_row, doubt);
		sql_run(s->database, "INSERT INTO numbers(n) VALUES(2)");
		assert_ok(catchup_wait(c, -1, &error));
		assert_int_equal(atomic_load(&doubt_at_row), 0);
		UNTIL(atomic_load(&opened) == before + 1);
		expect_logged(&log, "the test cannot sync; trying again");
		UNTIL(sql_int(s->database, "SELECT last FROM catchup") == doubt + 1);
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM seen"), doubt + 1);
		assert_int_equal(sql_int(s->database, "SELECT count(DISTINCT id) FROM seen"), doubt + 1);
	}
	seen(s, CATCHUP_STATE_CAUGHT_UP, " ()");
	stop(c, &log);
}

/* What is new concerns nobody who pauses with rows in hand. */
static void while_a_consumer_pauses_the_reader_looks_seldom(void **state)
{
	struct scratch *s = *state;
	struct kept_log log;
	struct catchup *c;

	atomic_store(&failure, SQLITE_FULL);
	c = start_polling(s, &log, 600);
	UNTIL(atomic_load(&longest_ns) > 300 * CU_NS_PER_MS);
	/* It goes on all the same, and what came meanwhile is found. */
	sql_run(s->database, "INSERT INTO numbers(n) VALUES(2)");
	atomic_store(&failure, 0);
	UNTIL(sql_int(s->database, "SELECT max(last) FROM catchup") == 2);
	assert_true(atomic_load(&longest_ns) <= 600 * CU_NS_PER_MS);
	stop(c, &log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_source_that_cannot_be_read_pauses_who_follows_it),
		SCRATCH_TEST(a_look_that_fails_takes_no_request_with_it),
		SCRATCH_TEST(what_cannot_be_stored_is_stored_as_soon_as_it_can),
		SCRATCH_TEST(why_it_stopped_waits_for_a_lock),
		SCRATCH_TEST(while_a_consumer_pauses_the_reader_looks_seldom),
		SCRATCH_TEST(a_failed_sync_is_final_for_its_connection),
	};

	return cmocka_run_group_tests_name("trouble", tests, NULL, NULL);
}
