/* SPDX-License-Identifier: MIT */
/*
 * Opening databases of every kind, transactions, and what is asked around them.
 */
#include "../store_help.h"

#include "base/error.h"

#include <errno.h>
#include <pthread.h>

static void writes_and_commits(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn, other;
	int64_t before, after;

	sql_run(s->database, "CREATE TABLE t(x); PRAGMA page_size");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	open_conn(&other, CU_ROLE_READER, s->database, NULL);
	assert_ok(cu_conn_look_begin(&other, &before, &error));
	cu_conn_look_end(&other);
	assert_ok(cu_conn_begin(&conn, &error));
	assert_true(cu_conn_in_transaction(&conn));
	assert_ok(cu_conn_exec(&conn, "INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)", NULL, 0,
		&error));
	assert_ok(cu_conn_commit(&conn, &error));
	assert_false(cu_conn_in_transaction(&conn));
	assert_ok(cu_conn_look_begin(&other, &after, &error));
	cu_conn_look_end(&other);
	assert_int_not_equal(before, after);
	assert_int_equal(sql_int(s->database, "SELECT sum(x) FROM t"), 5);

	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_conn_exec(&conn, "DELETE FROM t", NULL, 0, &error));
	cu_conn_rollback(&conn);
	cu_conn_rollback(&conn);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM t"), 2);
	cu_conn_close(&other);
	cu_conn_close(&conn);
}

static void a_look_is_at_one_state(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	int64_t version, again;
	sqlite3_stmt *sum;
	struct cu_conn conn;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)");
	open_conn(&conn, CU_ROLE_READER, s->database, NULL);
	assert_ok(cu_conn_prepare(&conn, &sum, &error, "SELECT sum(x) FROM t"));
	assert_ok(cu_conn_look_begin(&conn, &version, &error));
	sql_run(s->database, "INSERT INTO t VALUES (2)");
	assert_int_equal(sqlite3_step(sum), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int64(sum, 0), 1);
	sqlite3_reset(sum);
	cu_conn_look_end(&conn);

	assert_ok(cu_conn_look_begin(&conn, &again, &error));
	assert_int_not_equal(again, version);
	assert_int_equal(sqlite3_step(sum), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int64(sum, 0), 3);
	sqlite3_finalize(sum);
	cu_conn_look_end(&conn);
	/* It holds the log no longer. */
	sql_run(s->database, "INSERT INTO t VALUES (4)");
	assert_int_equal(sql_int(s->database, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
	cu_conn_close(&conn);
}

static void a_writer_switches_to_wal(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	int log, done;

	sql_run(s->database, "PRAGMA journal_mode=DELETE; CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_conn_exec(&conn, "INSERT INTO t VALUES (1)", NULL, 0, &error));
	assert_ok(cu_conn_commit(&conn, &error));
	assert_true(cu_conn_wal_bytes(s->database) > 0);
	assert_ok(cu_conn_checkpoint(&conn, false, &log, &done, &error));
	assert_true(log > 0);
	assert_int_equal(log, done);
	assert_ok(cu_conn_checkpoint(&conn, true, NULL, NULL, &error));
	assert_int_equal(cu_conn_wal_bytes(s->database), 0);
	cu_conn_close(&conn);
	assert_int_equal(cu_conn_wal_bytes("/nowhere/x"), 0);
}

static void a_reader_in_the_way_of_a_full_checkpoint_is_told(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	sqlite3 *other;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	assert_int_equal(sqlite3_open(s->database, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_conn_exec(&conn, "INSERT INTO t VALUES (1)", NULL, 0, &error));
	assert_int_equal(cu_conn_checkpoint(&conn, true, NULL, NULL, &error), CATCHUP_LOCKED);
	sqlite3_close(other);
	assert_ok(cu_conn_checkpoint(&conn, true, NULL, NULL, &error));
	cu_conn_close(&conn);
}

static void other_roles_write_nothing(void **state)
{
	static const enum cu_role roles[] = {CU_ROLE_READER, CU_ROLE_FETCH, CU_ROLE_STATUS};
	struct scratch *s = *state;

	sql_run(s->database, "CREATE TABLE t(x)");
	for (size_t i = 0; i < 3; i++) {
		struct catchup_error error = {0};
		struct cu_conn conn;

		open_conn(&conn, roles[i], s->database, NULL);
		assert_int_not_equal(
			cu_conn_exec(&conn, "INSERT INTO t VALUES (1)", NULL, 0, &error), CATCHUP_OK);
		assert_int_equal(cu_fault_of(error.detail), CU_FAULT_DATABASE);
		cu_conn_close(&conn);
	}
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM t"), 0);
	assert_int_equal(cu_conn_wal_bytes(s->database), 0);
	assert_int_equal(sql_int(s->database, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
}

static void results_in_another_file(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (7)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, s->results);
	assert_ok(cu_conn_exec(&conn, "CREATE TABLE r AS SELECT id FROM source.orders", NULL, 0, &error));
	assert_int_not_equal(
		cu_conn_exec(&conn, "DELETE FROM source.orders", NULL, 0, &error), CATCHUP_OK);
	cu_conn_close(&conn);
	assert_int_equal(sql_int(s->results, "SELECT id FROM r"), 7);
	/* A fetcher has the same layout. */
	open_conn(&conn, CU_ROLE_FETCH, s->database, s->results);
	assert_ok(cu_conn_exec(&conn, "SELECT * FROM main.r, source.orders", NULL, 0, &error));
	cu_conn_close(&conn);
}

static void results_take_the_encoding_of_the_source(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;

	sql_run(s->database, "PRAGMA encoding='UTF-16le'; PRAGMA page_size=512; PRAGMA auto_vacuum=FULL;"
		"CREATE TABLE orders(id INTEGER PRIMARY KEY, t TEXT); INSERT INTO orders VALUES (1, 'ä')");
	open_conn(&conn, CU_ROLE_WRITER, s->database, s->results);
	assert_ok(cu_conn_exec(&conn, "CREATE TABLE r AS SELECT t FROM source.orders", NULL, 0, &error));
	cu_conn_close(&conn);
	assert_int_equal(sql_int(s->results, "SELECT encoding = 'UTF-16le' FROM pragma_encoding"), 1);
	assert_int_equal(sql_int(s->results, "SELECT unicode(t) FROM r"), 0xe4);
	open_conn(&conn, CU_ROLE_WRITER, s->database, s->results);
	cu_conn_close(&conn);
	/* One that is there already cannot change. */
	unlink(s->results);
	sql_run(s->results, "CREATE TABLE r(x)");
	refuse_open(CU_ROLE_WRITER, s->database, s->results, CATCHUP_USAGE, "encoding");
}

static void endless_statements_are_interrupted(void **state)
{
	static const char endless[] = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c)"
				      "INSERT INTO t SELECT x FROM c WHERE x < 0";
	struct scratch *s = *state;
	struct catchup_error error = {0};
	_Atomic int stop = 0;
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = s->database, .busy_ms = 30,
		.stopping = &stop};
	struct cu_conn conn;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	assert_ok(cu_conn_open(&conn, &options, &error));
	assert_ok(cu_conn_begin(&conn, &error));
	cu_conn_limit(&conn, 5 * CU_NS_PER_MS);
	assert_int_not_equal(cu_conn_exec(&conn, endless, NULL, 0, &error), CATCHUP_OK);
	assert_true(conn.interrupted);
	assert_int_equal(cu_conn_fault(&conn, error.detail), CU_FAULT_SLOW);
	cu_conn_limit(&conn, CU_FOREVER);
	/* An interrupted write has ended the transaction, and commit does not hide it. */
	if (!cu_conn_in_transaction(&conn)) {
		assert_int_equal(cu_conn_commit(&conn, &error), CATCHUP_CONSUMER);
		expect_text(&error, "the transaction was ended");
	}
	cu_conn_rollback(&conn);
	atomic_store(&stop, 2);
	assert_int_not_equal(cu_conn_exec(&conn, endless, NULL, 0, &error), CATCHUP_OK);
	assert_int_equal(cu_conn_fault(&conn, error.detail), CU_FAULT_STOP);
	cu_conn_close(&conn);
}

static void sleep_ms(sqlite3_context *context, int n, sqlite3_value **values)
{
	(void)n;
	cu_os_sleep_ns(sqlite3_value_int64(values[0]) * CU_NS_PER_MS);
	sqlite3_result_int(context, 0);
}

/* Some thousand steps of SQLite's machine before the sleep, and after it. */
static void time_in_which_nothing_runs_is_no_statements(void **state)
{
	static const char sleepy[] =
		"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 4000)"
		"INSERT INTO t SELECT x FROM c WHERE x > 0 AND (x <> 2000 OR sleep_ms(2200) = 0)";
	struct scratch *s = *state;
	struct catchup_error error = {0};
	sqlite3_stmt *stmt;
	struct cu_conn conn;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_int_equal(sqlite3_create_function(conn.db, "sleep_ms", 1, SQLITE_UTF8, NULL, sleep_ms,
				 NULL, NULL), SQLITE_OK);
	cu_conn_limit(&conn, 2 * CU_NS_PER_S);
	conn.query_ns = 2 * CU_NS_PER_S;
	assert_ok(cu_conn_prepare(&conn, &stmt, &error, "%s", sleepy));
	assert_int_equal(cu_conn_step_query(&conn, stmt), SQLITE_DONE);
	assert_true(conn.statements.began && conn.step.began);
	assert_false(conn.interrupted);
	sqlite3_finalize(stmt);
	cu_conn_close(&conn);
}

static void nothing_is_committed_to_a_file_that_is_gone(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	char away[400];
	struct cu_conn conn;

	snprintf(away, sizeof(away), "%s/away", s->folder);
	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_false(cu_conn_moved(&conn));
	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_conn_exec(&conn, "INSERT INTO t VALUES (1)", NULL, 0, &error));
	assert_int_equal(rename(s->database, away), 0);
	assert_int_equal(cu_conn_commit(&conn, &error), CATCHUP_BACKWARDS);
	assert_int_equal(cu_fault_of(error.detail), CU_FAULT_GONE);
	/* A new file of the same name is another file. */
	scratch_write(s->database, "", 0);
	assert_int_equal(cu_conn_commit(&conn, &error), CATCHUP_BACKWARDS);
	unlink(s->database);
	assert_true(cu_conn_moved(&conn));
	cu_conn_rollback(&conn);
	cu_conn_close(&conn);
}

static void another_file_at_the_path_is_not_opened(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = s->database};
	struct cu_conn first, second;

	sql_run(s->database, "CREATE TABLE t(x)");
	assert_ok(cu_conn_open(&first, &options, &error));
	options.main_id = &first.main_id;
	assert_ok(cu_conn_open(&second, &options, &error));
	cu_conn_close(&second);
	sql_run(s->results, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	assert_int_equal(rename(s->results, s->database), 0);
	assert_int_equal(cu_conn_open(&second, &options, &error), CATCHUP_BACKWARDS);
	assert_int_equal(cu_fault_of(error.detail), CU_FAULT_GONE);
	unlink(s->database);
	assert_int_equal(cu_conn_open(&second, &options, &error), CATCHUP_BACKWARDS);
	cu_conn_close(&first);
}

static void a_source_that_is_gone_stops_the_commit_too(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;

	sql_run(s->database, "CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, s->results);
	assert_ok(cu_conn_begin(&conn, &error));
	unlink(s->database);
	assert_int_equal(cu_conn_commit(&conn, &error), CATCHUP_BACKWARDS);
	cu_conn_close(&conn);
}

static void errors_in_scripts_have_their_line(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;

	sql_run(s->database, "CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	cu_conn_guard_enter(&conn);
	assert_int_equal(cu_conn_exec(&conn, "\n-- one;\nINSERT INTO t\n VALUES (1);\n/* two\n */ SELEC 1;",
		"x.sql", 10, &error), CATCHUP_CONFIG);
	expect_text(&error, "x.sql:15: near \"SELEC\": syntax error");
	assert_int_equal(cu_conn_exec(&conn, "INSERT INTO t VALUES (1);\nINSERT INTO\n  missing VALUES (1)",
		"x.sql", 1, &error), CATCHUP_CONFIG);
	expect_text(&error, "no such table: missing");
	assert_int_equal(cu_conn_exec(&conn, "SELECT 1", "x.sql", 3, &error), CATCHUP_CONFIG);
	expect_text(&error, "x.sql:3: a statement that returns rows");
	assert_int_equal(cu_conn_exec(&conn, "DELETE FROM t WHERE x = @last", "x.sql", 3, &error),
		CATCHUP_CONFIG);
	expect_text(&error, "parameter");
	assert_ok(cu_conn_exec(&conn, " ;; -- nothing\n/* open", "x.sql", 1, &error));
	assert_ok(cu_conn_exec(&conn, "", NULL, 0, &error));
	cu_conn_guard_leave(&conn);
	cu_conn_close(&conn);
}

static void *check_owner(void *argument)
{
	struct cu_conn *conn = argument;

	return (void *)(uintptr_t)(conn->owner != cu_thread_self());
}

static void a_connection_knows_its_thread(void **state)
{
	struct scratch *s = *state;
	struct cu_conn conn;
	pthread_t thread;
	void *differs;

	sql_run(s->database, "CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_READER, s->database, NULL);
	cu_conn_check_owner(&conn);
	assert_int_equal(pthread_create(&thread, NULL, check_owner, &conn), 0);
	assert_int_equal(pthread_join(thread, &differs), 0);
	assert_non_null(differs);
	cu_conn_close(&conn);
}

static void the_library_is_fit(void **state)
{
	struct catchup_error error = {0};

	(void)state;
	assert_ok(cu_sqlite_check(&error));
	assert_string_equal(catchup_sqlite_version(), sqlite3_libversion());
	assert_int_equal(catchup_sqlite_has_wal_reset_bug(),
		sqlite3_libversion_number() < 3051003);
}

static void names_are_quoted(void **state)
{
	char *quoted = cu_sql_quote("a\"b'c; DROP");

	(void)state;
	assert_string_equal(quoted, "\"a\"\"b'c; DROP\"");
	sqlite3_free(quoted);
}

static void faults_have_categories(void **state)
{
	static const struct {
		int sqlite;
		enum cu_fault fault;
		int code;
		const char *name;
	} all[] = {
		{SQLITE_OK, CU_FAULT_NONE, CATCHUP_OK, "none"},
		{SQLITE_CONSTRAINT_UNIQUE, CU_FAULT_ROW, CATCHUP_CONSUMER, "row"},
		{SQLITE_ERROR, CU_FAULT_ROW, CATCHUP_CONSUMER, "row"},
		{SQLITE_BUSY_SNAPSHOT, CU_FAULT_BUSY, CATCHUP_LOCKED, "busy"},
		{SQLITE_PROTOCOL, CU_FAULT_BUSY, CATCHUP_LOCKED, "busy"},
		{SQLITE_FULL, CU_FAULT_FULL, CATCHUP_FULL, "full"},
		{SQLITE_IOERR_FSYNC, CU_FAULT_IO, CATCHUP_IO, "io"},
		{SQLITE_IOERR_NOMEM, CU_FAULT_MEMORY, CATCHUP_NOMEM, "memory"},
		{SQLITE_SCHEMA, CU_FAULT_SCHEMA, CATCHUP_CONSUMER, "schema"},
		{SQLITE_CORRUPT_INDEX, CU_FAULT_DATABASE, CATCHUP_DATABASE, "database"},
		{SQLITE_NOTADB, CU_FAULT_DATABASE, CATCHUP_DATABASE, "database"},
		{SQLITE_READONLY_DBMOVED, CU_FAULT_GONE, CATCHUP_BACKWARDS, "gone"},
		{SQLITE_INTERRUPT, CU_FAULT_SLOW, CATCHUP_CONSUMER, "slow"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		assert_int_equal(cu_fault_of(all[i].sqlite), all[i].fault);
		assert_int_equal(cu_fault_code(all[i].fault), all[i].code);
		assert_string_equal(cu_fault_name(all[i].fault), all[i].name);
	}
	assert_string_equal(cu_fault_name((enum cu_fault)99), "unknown");
	assert_int_equal(cu_fault_code((enum cu_fault)99), CATCHUP_INTERNAL);
}

static void errno_has_words(void **state)
{
	struct catchup_error error = {0};

	(void)state;
	assert_int_equal(cu_error_errno(&error, CATCHUP_IO, ENOSPC, "file '%s'", "x"), CATCHUP_IO);
	assert_string_equal(error.message, "file 'x': No space left on device");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(writes_and_commits),
		SCRATCH_TEST(a_look_is_at_one_state),
		SCRATCH_TEST(a_writer_switches_to_wal),
		SCRATCH_TEST(a_reader_in_the_way_of_a_full_checkpoint_is_told),
		SCRATCH_TEST(other_roles_write_nothing),
		SCRATCH_TEST(results_in_another_file),
		SCRATCH_TEST(results_take_the_encoding_of_the_source),
		SCRATCH_TEST(endless_statements_are_interrupted),
		SCRATCH_TEST(time_in_which_nothing_runs_is_no_statements),
		SCRATCH_TEST(nothing_is_committed_to_a_file_that_is_gone),
		SCRATCH_TEST(another_file_at_the_path_is_not_opened),
		SCRATCH_TEST(a_source_that_is_gone_stops_the_commit_too),
		SCRATCH_TEST(errors_in_scripts_have_their_line),
		SCRATCH_TEST(a_connection_knows_its_thread),
		cmocka_unit_test(the_library_is_fit),
		cmocka_unit_test(names_are_quoted),
		cmocka_unit_test(faults_have_categories),
		cmocka_unit_test(errno_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
