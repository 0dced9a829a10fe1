/* SPDX-License-Identifier: MIT */
/*
 * The write-ahead log of a results database where little is ever written, or where a checkpoint cannot be
 * done. The linker puts this file between the runtime and what it needs for one.
 */
#include "runtime_help.h"

#include "base/error.h"
#include "pool/runtime.h"

/* Large pages: what a lease takes to be renewed fills the log quickly. */
#define LARGE_PAGES                                                                                \
	"PRAGMA page_size=65536; PRAGMA journal_mode=WAL;"                                         \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"                            \
	"INSERT INTO orders(n) VALUES (1), (2), (3);"

static int apply_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	return CATCHUP_ROW_APPLIED;
}

/* A number that counts how often the log has begun anew (walformat: salt-1), in *to; false: it is empty. */
static bool log_begins(const struct scratch *s, uint32_t *to)
{
	unsigned char header[20];
	char path[400];
	bool whole;
	FILE *file;

	snprintf(path, sizeof(path), "%s-wal", s->database);
	file = fopen(path, "rb");
	if (!file)
		return false;
	whole = fread(header, sizeof(header), 1, file) == 1;
	fclose(file);
	*to = 0;
	for (int i = 16; whole && i < 20; i++)
		*to = *to << 8 | header[i];
	return whole;
}

static void with_nothing_to_do_the_log_begins_anew(void **state)
{
	static const struct catchup_consumer table = {
		CATCHUP_CONSUMER_ABI, .name = "idle", .source = "orders", .row = apply_row};
	struct scratch *s = *state;
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .lease_ms = 1000, .wal_mib = 1};
	struct catchup_error error = {0};
	struct catchup *c;
	uint32_t first, now;

	sql_run(s->database, LARGE_PAGES);
	c = runtime_open(&options, NULL, &table);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	/* From here on leases are renewed, and nothing else is written. */
	UNTIL(log_begins(s, &first));
	UNTIL(log_begins(s, &now) && now - first >= 2);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
}

/* ---- code that does not return ------------------------------------------------------------------- */

/* More files than there are threads for checkpoints, of which there are four. */
#define OTHERS 4
#define ROWS 40
#define TWO_TABLES                                                                                 \
	"PRAGMA journal_mode=WAL; CREATE TABLE early(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"    \
	"CREATE TABLE late(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"                              \
	"INSERT INTO early(n) VALUES (1), (2), (3), (4), (5), (6), (7);"

/* Rows that take the log past the half of its bound, but not so far that writers wait for a checkpoint. */
#define FILLING 6

static _Atomic int held;      /* the row after these is kept in hand */
static _Atomic int in_hand;
static _Atomic int left;      /* without a turn */
static _Atomic int entered;   /* turns for checkpoints of its file after that */

bool __real_cu_gate_enter_until(struct cu_gate *, int64_t);
bool __wrap_cu_gate_enter_until(struct cu_gate *gate, int64_t deadline_ns);

/* Checkpoints look at the log, and come for a turn, when the one that will not come back has been taken. */
static void wait_for_last_row(void)
{
	while (atomic_load(&held) && !atomic_load(&in_hand))
		cu_os_sleep_ns(CU_NS_PER_MS);
}

bool __wrap_cu_gate_enter_until(struct cu_gate *gate, int64_t deadline_ns)
{
	const struct cu_file *file =
		(const void *)((const char *)gate - offsetof(struct cu_file, gate));
	bool got;

	wait_for_last_row();
	got = __real_cu_gate_enter_until(gate, deadline_ns);
	atomic_fetch_add(&left, !got);
	if (got && !atomic_load(&held) && strstr(file->path, "/stuck.db"))
		atomic_fetch_add(&entered, 1);
	return got;
}

static int write_and_stay(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (sqlite3_exec(ctx->db, "INSERT INTO fat VALUES(randomblob(80000))", NULL, NULL, NULL))
		return catchup_fail_db(ctx, "writing");
	if (sqlite3_column_int64(row, 0) <= FILLING)
		return CATCHUP_ROW_APPLIED;
	atomic_store(&in_hand, 1);
	while (atomic_load(&held))
		cu_os_sleep_ns(CU_NS_PER_MS);
	return CATCHUP_ROW_APPLIED;
}

static int write_much(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	if (sqlite3_exec(ctx->db, "INSERT INTO fat VALUES(randomblob(100000))", NULL, NULL, NULL))
		return catchup_fail_db(ctx, "writing");
	return CATCHUP_ROW_APPLIED;
}

static void code_that_stays_holds_up_nobody_elsewhere(void **state)
{
	static const char *const names[OTHERS] = {"one", "two", "three", "four"};
	static const char *const files[OTHERS] = {"one.db", "two.db", "three.db", "four.db"};
	struct catchup_consumer stuck = {CATCHUP_CONSUMER_ABI, .name = "stuck", .source = "early",
		.into = "stuck.db", .setup = "CREATE TABLE IF NOT EXISTS fat(b)",
		.row = write_and_stay};
	struct catchup_consumer other = {CATCHUP_CONSUMER_ABI, .source = "late",
		.setup = "CREATE TABLE IF NOT EXISTS fat(b)", .row = write_much};
	struct scratch *s = *state;
	struct kept_log log;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.lease_ms = 1000, .wal_mib = 1, .batch_rows = 1, .log = keep_line, .log_context = &log,
		.log_level = CATCHUP_LOG_INFO};
	struct catchup_error error = {0};
	struct catchup *c;
	sqlite3 *reader;
	char path[400];

	keep_log(&log);
	atomic_store(&held, 1);
	atomic_store(&in_hand, 0);
	atomic_store(&left, 0);
	atomic_store(&entered, 0);
	sql_run(s->database, TWO_TABLES);
	/* One who reads keeps the log from beginning anew before it has come so far. */
	snprintf(path, sizeof(path), "%s/stuck.db", s->folder);
	sql_run(path, "PRAGMA journal_mode=WAL; CREATE TABLE t(n)");
	assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
	assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	c = runtime_open(&options, NULL, &stuck);
	for (int i = 0; i < OTHERS; i++) {
		other.name = names[i];
		other.into = files[i];
		assert_ok(catchup_add_table(c, &other, NULL, &error));
	}
	assert_ok(catchup_start(c, &error));
	UNTIL(atomic_load(&left) > 0);
	expect_logged(&log, "stuck: its code has not returned for");
	for (int i = 0; i < ROWS; i++)
		sql_run(s->database, "INSERT INTO late(n) VALUES (1)");
	for (int i = 0; i < OTHERS; i++) {
		snprintf(path, sizeof(path), "%s/%s", s->folder, files[i]);
		UNTIL(sql_int(path, "SELECT last FROM catchup") == ROWS);
	}
	assert_int_equal(atomic_load(&held), 1);
	atomic_store(&held, 0);
	assert_ok(catchup_wait(c, -1, &error));
	/* What could not be done is done then. */
	UNTIL(atomic_load(&entered) > 0);
	assert_int_equal(sqlite3_close(reader), SQLITE_OK);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	cu_mutex_finish(&log.mu);
}

/* ---- checkpoints that fail ----------------------------------------------------------------------- */

#define ORDERS "PRAGMA journal_mode=WAL; CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"

static _Atomic int opens_fail;  /* connections for checkpoints do not open */
static _Atomic int tries;       /* to open one, meanwhile */
static _Atomic int copies_fail; /* the disk has no room */
static _Atomic int copies_lie;  /* everything was copied, it is said */

int __real_cu_conn_open(struct cu_conn *, const struct cu_conn_options *, struct catchup_error *);
int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error);
int __real_cu_conn_checkpoint(struct cu_conn *, bool, int *, int *, struct catchup_error *);
int __wrap_cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error);

int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	static struct catchup runtime;
	struct cu_file file;

	memset(&file, 0, sizeof(file));
	file.runtime = &runtime;
	if (!atomic_load(&opens_fail) || options->role != CU_ROLE_WRITER ||
		options->cache_kib != cu_checkpoint_connection(&file).cache_kib)
		return __real_cu_conn_open(conn, options, error);
	atomic_fetch_add(&tries, 1);
	memset(conn, 0, sizeof(*conn));
	return cu_error_set(error, CATCHUP_IO, SQLITE_CANTOPEN, "the test opens nothing");
}

int __wrap_cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error)
{
	/* Where it is done in a turn, that was waited for. */
	if (!catchup_sqlite_has_wal_reset_bug())
		wait_for_last_row();
	if (atomic_load(&copies_lie)) {
		*log_frames = *done_frames = 1;
		return CATCHUP_OK;
	}
	if (!atomic_load(&copies_fail))
		return __real_cu_conn_checkpoint(conn, full, log_frames, done_frames, error);
	return cu_error_set(error, CATCHUP_FULL, SQLITE_FULL, "the test has no room");
}

static void insert_rows(const struct scratch *s)
{
	for (int i = 0; i < ROWS; i++)
		sql_run(s->database, "INSERT INTO orders(n) VALUES (1)");
}

static int times_logged(struct kept_log *log, const char *part)
{
	int n = 0;

	cu_mutex_lock(&log->mu);
	for (const char *at = log->text; (at = strstr(at, part)) != NULL; at++)
		n++;
	cu_mutex_unlock(&log->mu);
	return n;
}

/* More is written than the log may hold, while nothing is copied; then it is. */
static void fail_and_go_on(const struct scratch *s, _Atomic int *fails, const char *reason)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "fat",
		.source = "orders", .into = "results.db",
		.setup = "CREATE TABLE IF NOT EXISTS fat(b)", .row = write_much};
	struct kept_log log;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.wal_mib = 1, .batch_rows = 1, .log = keep_line, .log_context = &log,
		.log_level = CATCHUP_LOG_INFO};
	int64_t began_ns = cu_os_now_ns();
	struct catchup_error error = {0};
	struct catchup *c;

	keep_log(&log);
	sql_run(s->database, ORDERS);
	c = runtime_open(&options, NULL, &table);
	atomic_store(&tries, 0);
	atomic_store(fails, 1);
	assert_ok(catchup_start(c, &error));
	insert_rows(s);
	assert_ok(catchup_wait(c, -1, &error));
	expect_logged(&log, reason);
	/* Once in a second, and not with each commit. */
	assert_in_range(atomic_load(&tries), 0, 2 + (cu_os_now_ns() - began_ns) / CU_NS_PER_S);
	atomic_store(fails, 0);
	expect_logged(&log, "the write-ahead log can be copied into the database again");
	assert_int_equal(times_logged(&log, reason), 1);
	assert_false(was_logged(&log, "holds it back"));
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	cu_mutex_finish(&log.mu);
}

static void a_log_that_cannot_be_opened_is_told_of_once(void **state)
{
	fail_and_go_on(*state, &opens_fail, "so it grows: the test opens nothing; trying again");
}

static void why_a_log_cannot_be_copied_is_told_once(void **state)
{
	fail_and_go_on(*state, &copies_fail, "so it grows: the test has no room; trying again");
}

/* ---- who reads for long -------------------------------------------------------------------------- */

/* Nothing is committed any more when he ends. */
static void a_log_that_was_held_back_is_cut_when_its_reader_ends(void **state)
{
	static const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "fat",
		.source = "orders", .into = "results.db",
		.setup = "CREATE TABLE IF NOT EXISTS fat(b)", .row = write_much};
	struct scratch *s = *state;
	struct kept_log log;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.wal_mib = 1, .batch_rows = 1, .lease_ms = 3600 * 1000, .log = keep_line,
		.log_context = &log, .log_level = CATCHUP_LOG_INFO};
	struct catchup_error error = {0};
	struct catchup *c;
	sqlite3 *reader;
	char path[400];

	keep_log(&log);
	sql_run(s->database, ORDERS);
	insert_rows(s);
	snprintf(path, sizeof(path), "%s/results.db", s->folder);
	sql_run(path, "PRAGMA journal_mode=WAL; CREATE TABLE t(n)");
	assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
	assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	c = runtime_open(&options, NULL, &table);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	expect_logged(&log, "a read transaction holds it back");
	/* Again when it has doubled, and not with each checkpoint. */
	assert_in_range(times_logged(&log, "holds it back"), 1, 3);
	assert_int_equal(sqlite3_close(reader), SQLITE_OK);
	UNTIL(cu_conn_wal_bytes(path) == 0);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	cu_mutex_finish(&log.mu);
}

/* ---- a log that begins anew ---------------------------------------------------------------------- */

static struct cu_file *written; /* by somebody as soon as a turn to write it is over; NULL: none */

void __real_cu_gate_leave(struct cu_gate *);
void __wrap_cu_gate_leave(struct cu_gate *gate);

void __wrap_cu_gate_leave(struct cu_gate *gate)
{
	__real_cu_gate_leave(gate);
	if (written)
		cu_checkpoint_note(written, 4096);
}

/* The commit that begins it comes right after the checkpoint's turn. */
static void the_next_checkpoint_counts_from_where_the_log_begins(void **state)
{
	static struct catchup runtime;
	static struct cu_checkpointer checkpointer;
	static struct cu_file file;
	static struct cu_conn conn;
	char none[] = "/nowhere/there-is-no-log";

	(void)state;
	runtime.options.wal_mib = 64;
	conn.page_bytes = 4096;
	file.runtime = &runtime;
	file.checkpointer = &checkpointer;
	file.path = file.wal_path = none;
	assert_int_equal(cu_park_init(&checkpointer.park), 0);
	assert_int_equal(cu_gate_init(&file.gate), 0);
	atomic_store(&file.log_bytes, INT64_C(40) << 20);
	atomic_store(&copies_lie, 1);
	written = &file;
	assert_true(cu_checkpoint_run(&file, &conn));
	written = NULL;
	atomic_store(&copies_lie, 0);
	cu_checkpoint_note(&file, INT64_C(15) << 20);
	assert_int_equal(atomic_load(&file.checkpoint_due), 0);
	cu_checkpoint_note(&file, INT64_C(16) << 20);
	assert_int_equal(atomic_load(&file.checkpoint_due), 1);
	cu_gate_finish(&file.gate);
	cu_park_finish(&checkpointer.park);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(with_nothing_to_do_the_log_begins_anew),
		TEST(code_that_stays_holds_up_nobody_elsewhere),
		TEST(a_log_that_cannot_be_opened_is_told_of_once),
		TEST(why_a_log_cannot_be_copied_is_told_once),
		TEST(a_log_that_was_held_back_is_cut_when_its_reader_ends),
		TEST(the_next_checkpoint_counts_from_where_the_log_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
