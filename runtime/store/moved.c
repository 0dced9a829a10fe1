/* SPDX-License-Identifier: MIT */
/*
 * moved.c - whether the files that are open are still those at their paths.
 *
 * A database that is renamed away goes on taking commits, and so does a write-ahead log that was
 * deleted: SQLite has both open and looks at neither name again. Whoever opens the database next finds
 * nothing of them. As long as anybody has the database open in WAL mode, SQLite keeps the log it has,
 * so one that is another was changed by somebody else.
 */
#include "store/moved.h"

#include "base/error.h"
#include "store/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int cu_conn_say_moved(const char *path, struct catchup_error *error)
{
	return cu_error_set(error, CATCHUP_BACKWARDS, SQLITE_READONLY_DBMOVED,
		"database '%.300s': the file, or the write-ahead log beside it, was replaced, renamed or "
		"removed while it was in use", path);
}

int cu_moved_check(const char *path, bool may_be_missing, const struct cu_file_id *must_be,
	struct cu_file_stat *st, struct catchup_error *error)
{
	int rc = cu_path_check(path, may_be_missing || must_be, st, error);

	if (!must_be || (rc != CATCHUP_OK && rc != CATCHUP_USAGE))
		return rc;
	if (rc == CATCHUP_OK && cu_file_same(&st->id, must_be))
		return CATCHUP_OK;
	return cu_conn_say_moved(path, error);
}

int cu_moved_note_files(struct cu_conn *conn, struct catchup_error *error)
{
	struct cu_file_stat st;

	if (cu_file_stat_path(conn->main_path, &st) == 0)
		conn->main_id = st.id;
	if (asprintf(&conn->wal_path, "%s-wal", conn->main_path) < 0) {
		conn->wal_path = NULL;
		return cu_error_nomem(error);
	}
	if (cu_file_stat_path(conn->wal_path, &st) == 0) {
		conn->wal_id = st.id;
	} else {
		free(conn->wal_path);
		conn->wal_path = NULL;
	}
	return CATCHUP_OK;
}

static bool schema_moved(struct cu_conn *conn, const char *schema)
{
	int moved = 0;

	return sqlite3_file_control(conn->db, schema, SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
		moved;
}

/* An error that says nothing of the file's being there is none here. */
static bool log_moved(const struct cu_conn *conn)
{
	struct cu_file_stat st;
	int rc;

	if (!conn->wal_path)
		return false;
	rc = cu_file_stat_path(conn->wal_path, &st);
	return rc == -ENOENT || (rc == 0 && !cu_file_same(&st.id, &conn->wal_id));
}

bool cu_conn_moved(struct cu_conn *conn)
{
	cu_conn_check_owner(conn);
	return schema_moved(conn, "main") || log_moved(conn) ||
		(conn->guard.source_attached && schema_moved(conn, "source"));
}
