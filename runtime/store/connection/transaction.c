/* SPDX-License-Identifier: MIT */
/*
 * transaction.c - a transaction with one savepoint in it, and what is asked around one: whether others
 * have committed, checkpoints. Whether the file is still there is in moved.c.
 */
#include "base/check.h"
#include "base/error.h"
#include "store/connection/connection.h"

/* A full checkpoint runs while our own writers are held, so it does not wait long for a reader of
 * another process: it is tried again. */
#define CHECKPOINT_WAIT_MS 10

int cu_conn_keep_log(struct cu_conn *conn, struct catchup_error *error)
{
	if (sqlite3_db_config(conn->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL) == SQLITE_OK)
		return CATCHUP_OK;
	return cu_error_sqlite(error, conn->db, "database '%s': configuring", conn->main_path);
}

void cu_conn_limit(struct cu_conn *conn, int64_t ns)
{
	cu_conn_check_owner(conn);
	conn->statements = (struct cu_limit){.ns = ns};
	conn->interrupted = false;
}

int cu_conn_read_only(struct cu_conn *conn, bool on, struct catchup_error *error)
{
	const char *sql = on ? "PRAGMA query_only=ON" : "PRAGMA query_only=OFF";

	cu_conn_check_owner(conn);
	CU_CHECK(!conn->guard.active);
	if (sqlite3_exec(conn->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return CATCHUP_OK;
	return cu_error_sqlite(error, conn->db, "database '%s': configuring", conn->main_path);
}

/* Steps a statement that returns nothing. */
static int run(struct cu_conn *conn, sqlite3_stmt *stmt, struct catchup_error *error,
	const char *what)
{
	int rc = sqlite3_step(stmt);
	int code = CATCHUP_OK;

	if (rc != SQLITE_DONE)
		code = cu_error_sqlite(error, conn->db, "database '%s': %s", conn->main_path, what);
	sqlite3_reset(stmt);
	return code;
}

int cu_conn_begin(struct cu_conn *conn, struct catchup_error *error)
{
	int rc;

	cu_conn_check_owner(conn);
	CU_CHECK(conn->role == CU_ROLE_WRITER && !conn->guard.active);
	CU_CHECK(!cu_conn_in_transaction(conn));
	rc = run(conn, conn->begin, error, "beginning a transaction");
	if (rc != CATCHUP_OK)
		return rc;
	rc = run(conn, conn->savepoint, error, "setting a savepoint");
	if (rc != CATCHUP_OK)
		cu_conn_rollback(conn);
	return rc;
}

static int say_ended(const struct cu_conn *conn, struct catchup_error *error)
{
	return cu_error_set(error, CATCHUP_CONSUMER, SQLITE_ABORT_ROLLBACK,
		"database '%s': the transaction was ended by the code that ran in it", conn->main_path);
}

int cu_conn_commit(struct cu_conn *conn, struct catchup_error *error)
{
	cu_conn_check_owner(conn);
	CU_CHECK(!conn->guard.active);
	if (!cu_conn_in_transaction(conn))
		return say_ended(conn, error);
	if (cu_conn_moved(conn))
		return cu_conn_say_moved(conn->main_path, error);
	/* The savepoint ends with the transaction. */
	return run(conn, conn->commit, error, "committing");
}

void cu_conn_rollback(struct cu_conn *conn)
{
	cu_conn_check_owner(conn);
	if (!cu_conn_in_transaction(conn))
		return;
	/* What it returns says nothing: a rollback that reports an I/O error has still ended the
	 * transaction. One that could not even run (no memory to prepare it) is tried once more;
	 * cu_conn_begin checks. */
	if (conn->rollback) {
		sqlite3_step(conn->rollback);
		sqlite3_reset(conn->rollback);
	}
	for (int tries = conn->rollback ? 1 : 2; tries > 0 && cu_conn_in_transaction(conn); tries--)
		sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
}

int cu_conn_look_begin(struct cu_conn *conn, int64_t *version, struct catchup_error *error)
{
	cu_conn_check_owner(conn);
	if (sqlite3_step(conn->version) != SQLITE_ROW)
		return cu_error_sqlite(error, conn->db, "database '%s': asking for commits",
			conn->main_path);
	*version = sqlite3_column_int64(conn->version, 0);
	return CATCHUP_OK;
}

/* The statement is what holds the state: with it ends the read transaction. */
void cu_conn_look_end(struct cu_conn *conn)
{
	cu_conn_check_owner(conn);
	sqlite3_reset(conn->version);
}

void cu_conn_give_memory_back(struct cu_conn *conn)
{
	if (!cu_conn_is_open(conn))
		return;
	cu_conn_check_owner(conn);
	sqlite3_db_release_memory(conn->db);
}

int cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error)
{
	int64_t busy_ms = conn->busy_ms;
	int log = -1, done = -1;
	int rc;

	cu_conn_check_owner(conn);
	CU_CHECK(!cu_conn_in_transaction(conn));
	if (conn->busy_ms > CHECKPOINT_WAIT_MS)
		conn->busy_ms = CHECKPOINT_WAIT_MS;
	rc = sqlite3_wal_checkpoint_v2(conn->db, "main",
		full ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log, &done);
	conn->busy_ms = busy_ms;
	if (log_frames)
		*log_frames = log;
	if (done_frames)
		*done_frames = done;
	if (rc == SQLITE_OK)
		return CATCHUP_OK;
	return cu_error_sqlite(error, conn->db, "database '%s': checkpoint", conn->main_path);
}
