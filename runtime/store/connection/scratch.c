/* SPDX-License-Identifier: MIT */
#include "store/connection/scratch.h"

#include "base/error.h"

/* Tables first: the others name them. Shadow tables come with their virtual table. */
#define ALL_SQL                                                                                    \
	"SELECT s.sql FROM main.sqlite_schema AS s WHERE s.sql IS NOT NULL "                       \
	"AND s.name NOT LIKE 'sqlite~_%' ESCAPE '~' "                                              \
	"AND NOT EXISTS (SELECT 1 FROM pragma_table_list AS l WHERE l.schema = 'main' "            \
	"AND l.name = s.name AND l.type = 'shadow') "                                              \
	"ORDER BY CASE s.type WHEN 'table' THEN 0 WHEN 'index' THEN 1 WHEN 'view' THEN 2 "         \
	"ELSE 3 END, s.rowid"

static int copy_into(struct cu_conn *from, sqlite3 *to, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(from->db, ALL_SQL, -1, &stmt, NULL);

	if (rc == SQLITE_OK) {
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			sqlite3_exec(to, (const char *)sqlite3_column_text(stmt, 0), NULL, NULL,
				NULL);
	}
	if (rc != SQLITE_DONE)
		rc = cu_error_sqlite(error, from->db, "database '%.300s': reading its tables",
			from->main_path);
	else
		rc = CATCHUP_OK;
	sqlite3_finalize(stmt);
	return rc;
}

static int open_scratch(const char *path, sqlite3 **out, struct catchup_error *error)
{
	if (sqlite3_open_v2(path, out, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK)
		return CATCHUP_OK;
	return cu_error_sqlite(error, *out, "temporary database '%.300s'", path);
}

int cu_scratch_clone(const char *from, const char *to, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_STATUS, .main = from, .busy_ms = 10000};
	struct cu_conn conn = {0};
	sqlite3 *scratch = NULL;
	sqlite3_backup *backup;
	int rc = cu_conn_open(&conn, &options, error);

	if (rc == CATCHUP_OK)
		rc = open_scratch(to, &scratch, error);
	if (rc == CATCHUP_OK) {
		backup = sqlite3_backup_init(scratch, "main", conn.db, "main");
		/* All in one step: in several it would begin anew with each commit of somebody else. */
		if (backup)
			sqlite3_backup_step(backup, -1);
		if (!backup || sqlite3_backup_finish(backup) != SQLITE_OK)
			rc = cu_error_sqlite(error, scratch, "copying database '%.200s' to '%.200s'", from,
				to);
	}
	sqlite3_close(scratch);
	cu_conn_close(&conn);
	return rc;
}

int cu_scratch_copy(const char *from, const char *to, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_STATUS, .main = from, .busy_ms = 1000};
	struct cu_conn conn = {0};
	struct cu_file_stat stat;
	sqlite3 *scratch = NULL;
	int rc = open_scratch(to, &scratch, error);

	/* One page at least, so that it is a database and not an empty file. */
	if (rc == CATCHUP_OK &&
		sqlite3_exec(scratch, "PRAGMA user_version = 1", NULL, NULL, NULL) != SQLITE_OK)
		rc = cu_error_sqlite(error, scratch, "temporary database '%.300s'", to);
	if (rc == CATCHUP_OK && cu_file_stat_path(from, &stat) == 0) {
		rc = cu_conn_open(&conn, &options, error);
		if (rc == CATCHUP_OK)
			rc = copy_into(&conn, scratch, error);
		cu_conn_close(&conn);
	}
	sqlite3_close(scratch);
	return rc;
}
