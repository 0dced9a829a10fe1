/* SPDX-License-Identifier: MIT */
/*
 * moved.c - whether the files that are open are still those at their paths.
 *
 * A database that is renamed away goes on taking commits, and so does a write-ahead log that was
 * deleted: SQLite has both open and looks at neither name again. Whoever opens the database next finds
 * nothing of them. Without the log's index (-shm) he finds the log, but no lock of ours: what both write
 * damages the database. As long as anybody has it open in WAL mode, SQLite keeps the two files it has, so
 * one that is another was changed by somebody else.
 */
#include "store/connection/moved.h"

#include "base/error.h"
#include "store/connection/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int cu_conn_say_moved(const char *path, struct catchup_error *error)
{
	return cu_error_set(error, CATCHUP_BACKWARDS, SQLITE_READONLY_DBMOVED,
		"database '%.300s': the file, or the write-ahead log or its index beside it (-wal, -shm), "
		"was replaced, renamed or removed while it was in use", path);
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
	for (size_t i = 0; i < sizeof(conn->beside) / sizeof(conn->beside[0]); i++) {
		struct cu_file_beside *beside = &conn->beside[i];

		if (asprintf(&beside->path, "%s%s", conn->main_path, i == 0 ? "-wal" : "-shm") < 0) {
			beside->path = NULL;
			return cu_error_nomem(error);
		}
		if (cu_file_stat_path(beside->path, &st) == 0) {
			beside->id = st.id;
		} else {
			free(beside->path);
			beside->path = NULL;
		}
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
static bool has_moved(const struct cu_file_beside *beside)
{
	struct cu_file_stat st;
	int rc;

	if (!beside->path)
		return false;
	rc = cu_file_stat_path(beside->path, &st);
	return rc == -ENOENT || (rc == 0 && !cu_file_same(&st.id, &beside->id));
}

bool cu_conn_moved(struct cu_conn *conn)
{
	cu_conn_check_owner(conn);
	return schema_moved(conn, "main") || has_moved(&conn->beside[0]) ||
		has_moved(&conn->beside[1]) ||
		(conn->guard.source_attached && schema_moved(conn, "source"));
}
