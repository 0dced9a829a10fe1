/* SPDX-License-Identifier: MIT */
/*
 * What many consumers cost, in connections, and what those who share one do to each other. The linker
 * puts this file between the runtime and what it calls, to count connections and to fail a commit.
 */
#include "runtime_help.h"

#include "base/error.h"
#include "store/source/source.h"

#include <stdatomic.h>

#define MANY 40
#define ORDERS                                                                                     \
	"PRAGMA journal_mode=WAL; CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"   \
	"INSERT INTO orders(n) VALUES (1), (2), (3);"

static _Atomic int opened;   /* connections that write, since the test began */
static _Atomic int fetching; /* those that consumers read rows with */
static _Atomic int cuts;     /* questions to the source where a range ends */
static _Atomic int fails;    /* the next commit does */
static _Atomic(struct cu_conn *) failed; /* where one has failed */
static _Atomic int misused;  /* commits there afterwards */

static _Atomic int cached[CU_ROLE_STATUS + 1]; /* most bytes of pages that one held when it was closed */
static _Atomic int checkpointers;      /* threads for checkpoints */
static _Atomic int checkpointed[MANY]; /* by the file of results */

void __real_cu_conn_close(struct cu_conn *);
void __wrap_cu_conn_close(struct cu_conn *conn);
int __real_cu_thread_start(struct cu_thread *, const char *, void (*)(void *), void *);
int __wrap_cu_thread_start(
	struct cu_thread *thread, const char *name, void (*main)(void *), void *argument);
int __real_cu_conn_checkpoint(struct cu_conn *, bool, int *, int *, struct catchup_error *);
int __wrap_cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error);
int __real_cu_conn_open(struct cu_conn *, const struct cu_conn_options *, struct catchup_error *);
int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error);
int __real_cu_source_cut(struct cu_source *, int64_t, int64_t, uint32_t, int64_t *, uint32_t *,
	struct catchup_error *);
int __wrap_cu_source_cut(struct cu_source *source, int64_t lo, int64_t newest, uint32_t max_rows,
	int64_t *hi, uint32_t *rows, struct catchup_error *error);
int __real_cu_conn_commit(struct cu_conn *, struct catchup_error *);
int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error);

int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	if (options->role == CU_ROLE_WRITER)
		atomic_fetch_add(&opened, 1);
	else if (options->role == CU_ROLE_FETCH)
		atomic_fetch_add(&fetching, 1);
	return __real_cu_conn_open(conn, options, error);
}

int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error)
{
	if (atomic_load(&failed) == conn)
		atomic_fetch_add(&misused, 1);
	if (!atomic_exchange(&fails, 0))
		return __real_cu_conn_commit(conn, error);
	atomic_store(&failed, conn);
	cu_conn_rollback(conn);
	return cu_error_set(error, CATCHUP_IO, SQLITE_IOERR_FSYNC, "the test fails a sync");
}

int __wrap_cu_source_cut(struct cu_source *source, int64_t lo, int64_t newest, uint32_t max_rows,
	int64_t *hi, uint32_t *rows, struct catchup_error *error)
{
	atomic_fetch_add(&cuts, 1);
	return __real_cu_source_cut(source, lo, newest, max_rows, hi, rows, error);
}

int __wrap_cu_thread_start(
	struct cu_thread *thread, const char *name, void (*main)(void *), void *argument)
{
	if (strcmp(name, "catchup-ckpt") == 0)
		atomic_fetch_add(&checkpointers, 1);
	return __real_cu_thread_start(thread, name, main, argument);
}

int __wrap_cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error)
{
	const char *name = strrchr(conn->main_path, '/');
	int file;

	if (sscanf(name, "/results%d.db", &file) == 1)
		atomic_fetch_add(&checkpointed[file], 1);
	return __real_cu_conn_checkpoint(conn, full, log_frames, done_frames, error);
}

void __wrap_cu_conn_close(struct cu_conn *conn)
{
	int bytes = 0, most;

	if (conn->db) {
		sqlite3_db_status(conn->db, SQLITE_DBSTATUS_CACHE_USED, &bytes, &most, 0);
		if (bytes > atomic_load(&cached[conn->role]))
			atomic_store(&cached[conn->role], bytes);
	}
	__real_cu_conn_close(conn);
}

static int start(void **state)
{
	for (int i = 0; i <= CU_ROLE_STATUS; i++)
		atomic_store(&cached[i], 0);
	atomic_store(&checkpointers, 0);
	for (int i = 0; i < MANY; i++)
		atomic_store(&checkpointed[i], 0);
	atomic_store(&cuts, 0);
	atomic_store(&opened, 0);
	atomic_store(&fetching, 0);
	atomic_store(&fails, 0);
	atomic_store(&failed, NULL);
	atomic_store(&misused, 0);
	return scratch_make(state);
}

/* Writes a consumer's file into the scratch folder; its name is that of the file. */
static void write_file(const struct scratch *s, const char *name, const char *sql)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.sql", s->folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "-- name: %s\n-- source: orders\n%s", name, sql);
	assert_int_equal(fclose(file), 0);
}

static void add_file(const struct scratch *s, struct catchup *c, const char *name)
{
	struct catchup_error error = {0};
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.sql", s->folder, name);
	assert_ok(catchup_add(c, path, NULL, &error));
}

/* Opens a runtime with many consumers, each with a table of its own. into: "" or a header line. */
static struct catchup *open_many(const struct scratch *s, const struct catchup_options *options,
	const char *into)
{
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	assert_ok(catchup_open(options, &c, &error));
	for (int i = 0; i < MANY; i++) {
		char name[32], sql[512];

		snprintf(name, sizeof(name), "seen%d", i);
		snprintf(sql, sizeof(sql),
			"%s-- setup\nCREATE TABLE IF NOT EXISTS seen%d(id INTEGER PRIMARY KEY);\n"
			"-- row\nINSERT INTO seen%d VALUES (@id);\n", into, i, i);
		write_file(s, name, sql);
		add_file(s, c, name);
	}
	return c;
}

/* ---- how many connections ----------------------------------------------------------------------- */

static void consumers_of_a_thread_share_their_connections(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 3};
	struct catchup *c = open_many(s, &options, "");

	runtime_catch_up(c);
	/* One sets all of them up, and one looks after the log. */
	assert_in_range(atomic_load(&opened), 1, 1 + 3 + 1);
	assert_int_equal(atomic_load(&fetching), 3);
	assert_int_equal(sql_int(s->database, "SELECT sum(last) FROM catchup"), 3 * MANY);
	assert_int_equal(sql_int(s->database, "SELECT sum(id) FROM seen0"), 6);
	assert_int_equal(sql_int(s->database, "SELECT sum(id) FROM seen39"), 6);
}

static void a_crowd_has_two_threads(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};

	runtime_catch_up(open_many(s, &options, ""));
	assert_int_equal(atomic_load(&fetching), 2);
	assert_int_equal(sql_int(s->database, "SELECT sum(last) FROM catchup"), 3 * MANY);
}

static void so_do_those_with_results_in_one_other_file(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1};
	struct catchup *c = open_many(s, &options, "-- into: results.db\n");

	runtime_catch_up(c);
	assert_in_range(atomic_load(&opened), 1, 2 + 1 + 1);
	assert_int_equal(atomic_load(&fetching), 1);
	assert_int_equal(sql_int(s->results, "SELECT sum(last) FROM catchup"), 3 * MANY);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_consumer"), MANY);
}

static void the_source_is_asked_once_for_all(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup *c = open_many(s, &options, "");
	struct catchup_error error = {0};
	int before;

	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	before = atomic_load(&cuts);
	sql_run(s->database, "INSERT INTO orders(n) VALUES (4), (5)");
	assert_ok(catchup_wait(c, -1, &error));
	assert_int_equal(atomic_load(&cuts) - before, 1);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	assert_int_equal(sql_int(s->database, "SELECT sum(last) FROM catchup"), 5 * MANY);
}

static void what_one_setup_makes_for_itself_another_does_not_meet(void **state)
{
	static const char scratchy[] = "-- setup\nCREATE TEMP TABLE notes(n); INSERT INTO notes VALUES (1);\n"
		"CREATE TABLE IF NOT EXISTS counted(n); INSERT INTO counted SELECT count(*) FROM notes;\n"
		"-- row\nUPDATE counted SET n = n WHERE n = -@id;\n";
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, NULL, NULL);
	write_file(s, "one", scratchy);
	write_file(s, "two", scratchy);
	add_file(s, c, "one");
	add_file(s, c, "two");
	runtime_catch_up(c);
	assert_int_equal(sql_int(s->database, "SELECT sum(n) FROM counted"), 2);
}

/* ---- checkpoints ----------------------------------------------------------------------------------- */

/* Each in a file of its own, with rows enough that each log comes to its bound of a mebibyte. */
static void a_few_threads_checkpoint_all_files(void **state)
{
	enum { FILES = 9 };
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.wal_mib = 1, .batch_rows = 100};
	struct catchup_error error = {0};
	struct catchup *c;
	int during[FILES];

	sql_run(s->database, "PRAGMA journal_mode=WAL;"
		"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000)"
		" INSERT INTO orders(n) SELECT zeroblob(1000) FROM c");
	c = runtime_open(&options, NULL, NULL);
	for (int i = 0; i < FILES; i++) {
		char name[32], sql[512];

		snprintf(name, sizeof(name), "seen%d", i);
		snprintf(sql, sizeof(sql), "-- into: results%d.db\n"
			"-- setup\nCREATE TABLE IF NOT EXISTS seen(id INTEGER PRIMARY KEY, n);\n"
			"-- row\nINSERT INTO seen VALUES (@id, @n);\n", i);
		write_file(s, name, sql);
		add_file(s, c, name);
	}
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	for (int i = 0; i < FILES; i++)
		during[i] = atomic_load(&checkpointed[i]);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	assert_int_equal(atomic_load(&checkpointers), 4);
	for (int i = 0; i < FILES; i++) {
		char path[512];

		assert_true(during[i] > 0);
		snprintf(path, sizeof(path), "%s/results%d.db", s->folder, i);
		assert_int_equal(cu_conn_wal_bytes(path), 0);
		assert_int_equal(sql_int(path, "SELECT count(*) FROM seen"), 2000);
	}
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static void pages_that_were_walked_over_are_not_kept(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.batch_rows = 5};
	struct catchup *c;

	/* A thousand pages, and more batches than a cache has room for. */
	sql_run(s->database, "PRAGMA journal_mode=WAL;"
		"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000)"
		" INSERT INTO orders(n) SELECT zeroblob(1000) FROM c");
	c = runtime_open(&options, NULL, NULL);
	write_file(s, "seen", "-- into: results.db\n"
		"-- setup\nCREATE TABLE IF NOT EXISTS seen(id INTEGER PRIMARY KEY);\n"
		"-- row\nINSERT INTO seen VALUES (@id);\n");
	add_file(s, c, "seen");
	runtime_catch_up(c);
	assert_int_equal(sql_int(s->results, "SELECT count(*) FROM seen"), 4000);
	assert_in_range(atomic_load(&cached[CU_ROLE_FETCH]), 1, 768 << 10);
	assert_in_range(atomic_load(&cached[CU_ROLE_WRITER]), 1, 1024 << 10);
}

/* ---- what stays with a connection ------------------------------------------------------------------ */

static void what_is_temporary_gets_a_connection_of_its_own(void **state)
{
	static const char scratchy[] =
		"-- setup\nCREATE TABLE IF NOT EXISTS counted(name, n);\n"
		"-- row\nCREATE TEMP TABLE IF NOT EXISTS notes(n);\n"
		"INSERT INTO counted SELECT 'x', count(*) FROM sqlite_temp_schema;\n"
		"CREATE TEMP TRIGGER IF NOT EXISTS other AFTER INSERT ON counted"
		" BEGIN UPDATE counted SET name = 'changed'; END;\n";
	static const char plain[] = "-- setup\nCREATE TABLE IF NOT EXISTS counted(name, n);\n"
		"-- row\nINSERT INTO counted SELECT 'plain', count(*) FROM sqlite_temp_schema"
		" WHERE @id;\n";
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, NULL, NULL);
	write_file(s, "first", plain);
	write_file(s, "scratchy", scratchy);
	write_file(s, "second", plain);
	add_file(s, c, "first");
	add_file(s, c, "scratchy");
	add_file(s, c, "second");
	runtime_catch_up(c);
	/* The others never see a temporary table. */
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM counted WHERE n > 0"), 3);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM counted WHERE n = 0"), 6);
}

static int makes_temporary(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	if (sqlite3_exec(ctx->db, "CREATE TEMP TABLE IF NOT EXISTS notes(n)", NULL, NULL, NULL) !=
		SQLITE_OK)
		return catchup_fail_db(ctx, "notes");
	return CATCHUP_ROW_APPLIED;
}

static void who_shares_makes_nothing_temporary_later(void **state)
{
	static const struct catchup_consumer late = {CATCHUP_CONSUMER_ABI, .name = "late",
		.source = "orders", .row = makes_temporary, .shares = 1};
	static const struct catchup_consumer alone = {CATCHUP_CONSUMER_ABI, .name = "alone",
		.source = "orders", .row = makes_temporary};
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, NULL, &late);
	assert_ok(catchup_start(c, &error));
	assert_int_equal(catchup_wait_stopped(c, -1, &error), CATCHUP_CONSUMER);
	expect_text(&error, "making table 'notes': temporary, on a connection that other consumers use");
	catchup_close(c);
	runtime_catch_up(runtime_open(&options, NULL, &alone));
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup WHERE name = 'alone'"), 3);
}

/* ---- errors ------------------------------------------------------------------------------------------ */

static void after_an_error_all_leave_the_connection(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1};
	struct catchup *c = open_many(s, &options, "");
	struct catchup_error error = {0};
	int before;

	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	before = atomic_load(&opened);
	atomic_store(&fails, 1);
	sql_run(s->database, "INSERT INTO orders(n) VALUES (4), (5)");
	assert_ok(catchup_wait(c, -1, &error));
	assert_int_equal(atomic_load(&misused), 0);
	/* One for all, and perhaps the one for checkpoints, which is opened when the first is due. */
	assert_in_range(atomic_load(&opened) - before, 1, 2);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	assert_int_equal(sql_int(s->database, "SELECT sum(last) FROM catchup"), 5 * MANY);
	assert_int_equal(sql_int(s->database, "SELECT sum(id) FROM seen17"), 15);
}

#define MANY_TEST(test) cmocka_unit_test_setup_teardown(test, start, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MANY_TEST(consumers_of_a_thread_share_their_connections),
		MANY_TEST(a_crowd_has_two_threads),
		MANY_TEST(so_do_those_with_results_in_one_other_file),
		MANY_TEST(the_source_is_asked_once_for_all),
		MANY_TEST(a_few_threads_checkpoint_all_files),
		MANY_TEST(pages_that_were_walked_over_are_not_kept),
		MANY_TEST(what_one_setup_makes_for_itself_another_does_not_meet),
		MANY_TEST(what_is_temporary_gets_a_connection_of_its_own),
		MANY_TEST(who_shares_makes_nothing_temporary_later),
		MANY_TEST(after_an_error_all_leave_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
