/* SPDX-License-Identifier: MIT */
/*
 * script.c - SQL as text: scripts of several statements, prepared statements, quoted names.
 */
#include "base/check.h"
#include "base/error.h"
#include "store/connection/connection.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *cu_sql_skip_blank(const char *p)
{
	for (;;) {
		if (*p == ' ' || (*p >= '\t' && *p <= '\r') || *p == ';') {
			p++;
		} else if (p[0] == '-' && p[1] == '-') {
			while (*p && *p != '\n')
				p++;
		} else if (p[0] == '/' && p[1] == '*') {
			const char *end = strstr(p + 2, "*/");

			p = end ? end + 2 : p + strlen(p);
		} else {
			return p;
		}
	}
}

static int line_at(const char *script, const char *at, int first)
{
	for (const char *p = script; p < at; p++)
		first += *p == '\n';
	return first;
}

/* Where in a script an error belongs: "file.sql:12: ". */
struct place {
	const char *script;
	const char *origin; /* NULL for none */
	int line;           /* of the script's start, 0 for none */
};

static void locate(const struct place *place, const char *at, struct catchup_error *error)
{
	int line = place->line > 0 ? line_at(place->script, at, place->line) : 0;

	if (place->origin && line > 0)
		cu_error_prefix(error, "%s:%d: ", place->origin, line);
	else if (place->origin)
		cu_error_prefix(error, "%s: ", place->origin);
}

static int prepare_failed(struct cu_conn *conn, const struct place *place, const char *sql,
	struct catchup_error *error)
{
	const char *at = sql;
	int code = sqlite3_extended_errcode(conn->db);
	enum cu_fault fault = cu_conn_fault(conn, code);

#if SQLITE_VERSION_NUMBER >= 3038000
	int offset = sqlite3_error_offset(conn->db);

	if (offset > 0)
		at = sql + offset;
#endif
	if (conn->guard.active && conn->guard.denied[0])
		cu_error_set(error, CATCHUP_CONFIG, code, "not allowed here: %s", conn->guard.denied);
	else if (conn->guard.active && fault == CU_FAULT_ROW)
		cu_error_set(error, CATCHUP_CONFIG, code, "%s", sqlite3_errmsg(conn->db));
	else
		cu_error_set(error, cu_fault_code(fault), code, "%s", sqlite3_errmsg(conn->db));
	locate(place, at, error);
	return conn->guard.active && fault == CU_FAULT_ROW ? CATCHUP_CONFIG : cu_fault_code(fault);
}

/* What a script of a consumer may not hold, although it can be prepared. */
static int check_statement(struct cu_conn *conn, const struct place *place, const char *sql,
	sqlite3_stmt *stmt, struct catchup_error *error)
{
	if (!conn->guard.active)
		return CATCHUP_OK;
	if (sqlite3_column_count(stmt) > 0)
		cu_error_set(error, CATCHUP_CONFIG, 0,
			"a statement that returns rows; nobody reads them here");
	else if (sqlite3_bind_parameter_count(stmt) > 0)
		cu_error_set(error, CATCHUP_CONFIG, 0, "a statement with a parameter; it has no value "
			"here");
	else
		return CATCHUP_OK;
	locate(place, sql, error);
	return CATCHUP_CONFIG;
}

int cu_conn_exec(struct cu_conn *conn, const char *sql, const char *origin, int line,
	struct catchup_error *error)
{
	const struct place place = {sql, origin, line};
	bool in_transaction = cu_conn_in_transaction(conn);
	const char *rest = cu_sql_skip_blank(sql);
	sqlite3_stmt *stmt = NULL;
	int rc = CATCHUP_OK;

	cu_conn_check_owner(conn);
	while (*rest && rc == CATCHUP_OK) {
		const char *now = rest;
		int step;

		conn->guard.ddl = false;
		if (sqlite3_prepare_v2(conn->db, now, -1, &stmt, &rest) != SQLITE_OK)
			return prepare_failed(conn, &place, now, error);
		rest = cu_sql_skip_blank(rest);
		if (!stmt)
			continue;
		rc = check_statement(conn, &place, now, stmt, error);
		if (rc == CATCHUP_OK) {
			do
				step = sqlite3_step(stmt);
			while (step == SQLITE_ROW);
			if (step != SQLITE_DONE) {
				rc = cu_error_sqlite(error, conn->db, "running a statement");
				locate(&place, now, error);
			}
		}
		sqlite3_finalize(stmt);
		if (rc == CATCHUP_OK && conn->guard.active && in_transaction &&
			!cu_conn_in_transaction(conn)) {
			rc = cu_error_set(error, CATCHUP_CONFIG, SQLITE_ABORT_ROLLBACK,
				"the statement ended the transaction");
			locate(&place, now, error);
		}
	}
	return rc;
}

int cu_conn_prepare(struct cu_conn *conn, sqlite3_stmt **out, struct catchup_error *error,
	const char *fmt, ...)
{
	int rc = CATCHUP_OK;
	va_list ap;
	char *sql;

	cu_conn_check_owner(conn);
	*out = NULL;
	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	if (!sql)
		return cu_error_nomem(error);
	if (sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) != SQLITE_OK)
		rc = cu_error_sqlite(error, conn->db, "database '%s'", conn->main_path);
	sqlite3_free(sql);
	return rc;
}

char *cu_sql_quote(const char *name)
{
	return sqlite3_mprintf("\"%w\"", name);
}

int cu_conn_exec_owned(struct cu_conn *conn, char *sql, struct catchup_error *error)
{
	int rc = sql ? cu_conn_exec(conn, sql, NULL, 0, error) : cu_error_nomem(error);

	sqlite3_free(sql);
	return rc;
}
