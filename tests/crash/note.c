/* SPDX-License-Identifier: MIT */
/*
 * note.c - what is acknowledged: the linker puts this behind each commit of a runtime.
 */
#include "cut.h"
#include "inside.h"
#include "program.h"
#include "store/connection/connection.h"

#include <string.h>

int __real_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error);
int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error);

/* Notes the watermarks as they are after a commit that has returned. */
int __wrap_cu_conn_commit(struct cu_conn *conn, struct catchup_error *error)
{
	int rc = __real_cu_conn_commit(conn, error);
	sqlite3_stmt *stmt;

	if (rc != CATCHUP_OK ||
		sqlite3_prepare_v2(conn->db, "SELECT name, last FROM main.catchup", -1, &stmt, NULL) !=
			SQLITE_OK)
		return rc;
	while (sqlite3_step(stmt) == SQLITE_ROW)
		for (int i = 0; i < WORLD_CLAIMS; i++)
			if (strcmp((const char *)sqlite3_column_text(stmt, 0),
				    world_claims[i].consumer) == 0)
				cut_note(i, sqlite3_column_int64(stmt, 1));
	sqlite3_finalize(stmt);
	return rc;
}
