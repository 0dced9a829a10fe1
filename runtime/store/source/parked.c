/* SPDX-License-Identifier: MIT */
/*
 * parked.c - rows of a source whose key is among the dead letters of their consumer. Both are on one
 * connection, the writer's.
 */
#include "store/source/source.h"

#include "base/check.h"
#include "base/error.h"
#include "store/source/source_inside.h"

int cu_source_first_parked(struct cu_source *source, const char *consumer, const char *column,
	int64_t lo, int64_t hi, int64_t *id, struct catchup_error *error)
{
	char *quoted = NULL;
	sqlite3_stmt *stmt;
	int rc = CATCHUP_OK;

	CU_CHECK(source->spec.table && source->conn->role == CU_ROLE_WRITER);
	*id = 0;
	/* A letter keeps the key as text. The column goes by its table's name: alone, and missing, it
	 * would be taken for a string. */
	if (!source->parked && !(quoted = cu_sql_quote(column)))
		return cu_error_nomem(error);
	if (!source->parked)
		rc = cu_source_ready(source, &source->parked, error,
			"SELECT s.%s FROM %s AS s WHERE s.%s > ?1 AND s.%s <= ?2 AND EXISTS"
			" (SELECT 1 FROM main.catchup_dead AS d WHERE d.consumer = ?3"
			" AND d.key = CAST(s.%s AS TEXT)) ORDER BY s.%s LIMIT 1",
			source->id, source->ref, source->id, source->id, quoted, source->id);
	sqlite3_free(quoted);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->parked;
	if (sqlite3_bind_text(stmt, 3, consumer, -1, SQLITE_STATIC) != SQLITE_OK)
		return cu_source_failed(source, stmt, "looking for parked keys", error);
	sqlite3_bind_int64(stmt, 1, lo);
	sqlite3_bind_int64(stmt, 2, hi);
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_source_failed(source, stmt, "looking for parked keys", error);
	if (rc == SQLITE_ROW)
		*id = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}
