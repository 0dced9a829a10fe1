/* SPDX-License-Identifier: MIT */
/*
 * registry.c - table catchup_consumer of a source's database: which consumers follow it and where
 * their results are, so that status and wait find those in other files.
 */
#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <string.h>

static int failed(struct cu_conn *conn, struct catchup_error *error)
{
	return cu_error_sqlite(error, conn->db, "database '%s': registering a consumer",
		conn->main_path);
}

/* Binds all of an entry to ?1 to ?7 and steps once. Returns what sqlite3_step does. */
static int step_with(struct cu_conn *conn, const char *sql, const struct cu_registration *entry)
{
	const char *const texts[] = {entry->name, entry->into, entry->source, entry->id_column, entry->max,
		entry->spec, entry->next};
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);

	for (int i = 0; i < 7 && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_text(stmt, i + 1, texts[i], -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	sqlite3_finalize(stmt);
	return rc;
}

static int is_there(struct cu_conn *conn, const struct cu_registration *entry, bool *there,
	struct catchup_error *error)
{
	static const struct cu_registration none;
	int rc = step_with(conn, "SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 FROM main.sqlite_schema"
		" WHERE name = 'catchup_consumer' COLLATE NOCASE", &none);

	*there = false;
	/* The newest entry of a name is the one that `wait` means. */
	if (rc == SQLITE_ROW)
		rc = step_with(conn, "SELECT 1 FROM main.catchup_consumer WHERE name = ?1 AND \"into\" = ?2"
			" AND source IS ?3 AND id_column IS ?4 AND max IS ?5 AND spec IS ?6"
			" AND next IS ?7 AND turn ="
			" (SELECT max(turn) FROM main.catchup_consumer WHERE name = ?1)", entry);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return failed(conn, error);
	*there = rc == SQLITE_ROW;
	return CATCHUP_OK;
}

int cu_ledger_register(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error)
{
	struct cu_own_transaction t;
	bool there;
	int rc;

	cu_conn_check_owner(conn);
	rc = is_there(conn, registration, &there, error);
	if (rc != CATCHUP_OK || there)
		return rc;
	rc = cu_own_begin(&t, conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_conn_exec(conn, CU_TABLE_CONSUMER, NULL, 0, error);
	if (rc == CATCHUP_OK &&
		step_with(conn, "INSERT OR REPLACE INTO main.catchup_consumer(name, \"into\", source,"
			" id_column, max, spec, next, turn)"
			" SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1 + coalesce(max(turn), 0)"
			" FROM main.catchup_consumer", registration) != SQLITE_DONE)
		rc = failed(conn, error);
	return cu_own_end(&t, rc, error);
}

/* A file that was made by nobody of us, or by an older version, says nothing. */
static int has_registry(struct cu_conn *conn, const char *schema, bool *has, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_conn_prepare(conn, &stmt, error, "SELECT count(*) = 3 FROM"
		" pragma_table_xinfo('catchup_consumer', '%s') WHERE name IN ('name', 'into', 'source')", schema);

	*has = false;
	if (rc != CATCHUP_OK)
		return rc;
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*has = sqlite3_column_int(stmt, 0) != 0;
	else
		rc = failed(conn, error);
	sqlite3_finalize(stmt);
	return rc;
}

/* Whether another source is written down for the consumer. has_run: since before this process has registered
 * its own, which matters where it has got somewhere; else since then. */
static int check_source(struct cu_conn *conn, const struct cu_registration *registration, bool has_run,
	struct catchup_error *error)
{
	const char *schema = registration->into[0] ? "source" : "main", *other;
	sqlite3_stmt *stmt;
	bool has;
	int rc = has_registry(conn, schema, &has, error);

	if (rc != CATCHUP_OK || !has)
		return rc;
	rc = cu_conn_prepare(conn, &stmt, error,
		"SELECT source, last FROM %s.catchup_consumer JOIN main.catchup USING(name) WHERE name = ?1"
		" AND \"into\" = ?3 AND last >= ?4 AND source <> ?2 COLLATE NOCASE", schema);
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_bind_text(stmt, 1, registration->name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 2, registration->source, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 3, registration->into, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(stmt, 4, has_run);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	other = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : "";
	if (rc == SQLITE_ROW && has_run)
		rc = cu_error_set(error, CATCHUP_CONFIG, 0,
			"it has followed '%.200s' up to id %lld, and would pass over the rows of '%.200s' "
			"up to there: reset it to where it is to begin, or give it another name",
			other, (long long)sqlite3_column_int64(stmt, 1), registration->source);
	else if (rc == SQLITE_ROW)
		rc = cu_error_set(error, CATCHUP_CONFIG, 0,
			"it follows '%.200s' by now: another process has reset it, or runs it, with another "
			"file than this one, where it follows '%.200s'; start it with that file, or give one "
			"of them another name", other, registration->source);
	else
		rc = rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_check_source(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error)
{
	return check_source(conn, registration, true, error);
}

int cu_ledger_check_registered(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error)
{
	return check_source(conn, registration, false, error);
}
