/* SPDX-License-Identifier: MIT */
/*
 * tables.c - makes the tables of catchup in a results database, lets those of older versions grow, and
 * tells tables of the same names that belong to another program.
 */
#include "store/ledger/ledger.h"

#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <stdio.h>
#include <string.h>

/* `catchup` is a contract with other programs; everything else may grow. */
static const char *const tables[] = {
	"CREATE TABLE IF NOT EXISTS main.catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
	" last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID",

	"CREATE TABLE IF NOT EXISTS main.catchup_state(name TEXT NOT NULL PRIMARY KEY,"
	" offered INTEGER NOT NULL DEFAULT 0, applied INTEGER NOT NULL DEFAULT 0,"
	" passed INTEGER NOT NULL DEFAULT 0, parked INTEGER NOT NULL DEFAULT 0,"
	" retries INTEGER NOT NULL DEFAULT 0, updated_ms INTEGER NOT NULL DEFAULT 0,"
	" state INTEGER NOT NULL DEFAULT 0, code INTEGER NOT NULL DEFAULT 0, category TEXT,"
	" error_row INTEGER NOT NULL DEFAULT 0, message TEXT, since_ms INTEGER NOT NULL DEFAULT 0,"
	" mark_id INTEGER, mark_hash INTEGER,"
	/* Rows offered in (counted_from, counted_to], without a hole: begins anew where somebody else
	 * has moved the watermark. */
	" counted_from INTEGER NOT NULL DEFAULT 0, counted_to INTEGER NOT NULL DEFAULT 0,"
	" counted INTEGER NOT NULL DEFAULT 0,"
	/* The row that is in hand since a crash was noticed, at which try and under which lease (less than
	 * zero: it has come back); and how many rows are in hand otherwise. */
	" attempt_row INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,"
	" attempt_fence INTEGER NOT NULL DEFAULT 0, in_hand INTEGER NOT NULL DEFAULT 0,"
	" vanished INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",

	/* attempts less than zero: whoever tries it again has not come back. */
	"CREATE TABLE IF NOT EXISTS main.catchup_dead(consumer TEXT NOT NULL, id INTEGER NOT NULL,"
	" key TEXT, code INTEGER NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL,"
	" first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, event TEXT, PRIMARY KEY(consumer, id))"
	" WITHOUT ROWID",

	"CREATE TABLE IF NOT EXISTS main.catchup_lease(name TEXT NOT NULL PRIMARY KEY,"
	" fence INTEGER NOT NULL, owner TEXT NOT NULL, boot TEXT NOT NULL, pid INTEGER NOT NULL,"
	" start INTEGER NOT NULL, instance INTEGER NOT NULL, space INTEGER NOT NULL,"
	" expires_ns INTEGER NOT NULL) WITHOUT ROWID",

	CU_TABLE_CONSUMER,
};

static const char parked_keys[] = "CREATE INDEX IF NOT EXISTS main.catchup_dead_key"
				  " ON catchup_dead(consumer, key) WHERE key IS NOT NULL";

#define TABLES_THERE "catchup catchup_consumer catchup_dead catchup_dead_key catchup_lease catchup_state"

/* The answer to a question about the schema, compared with what is expected. */
static int schema_is(struct cu_conn *conn, const char *sql, const char *expected, bool *same,
	struct catchup_error *error)
{
	const char *text;
	sqlite3_stmt *stmt;
	int rc = cu_conn_prepare(conn, &stmt, error, "%s", sql);

	if (rc != CATCHUP_OK)
		return rc;
	if (sqlite3_step(stmt) == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(stmt, 0);
		*same = text && strcmp(text, expected) == 0;
	} else {
		rc = cu_error_sqlite(error, conn->db, "database '%s': reading the schema",
			conn->main_path);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int all_there(struct cu_conn *conn, bool *there, struct catchup_error *error)
{
	return schema_is(conn,
		"SELECT group_concat(name, ' ') FROM (SELECT lower(name) AS name FROM main.sqlite_schema"
		" WHERE lower(name) IN ('catchup', 'catchup_consumer', 'catchup_dead', 'catchup_dead_key',"
		" 'catchup_lease', 'catchup_state') ORDER BY name)",
		TABLES_THERE, there, error);
}

static int check_watermarks(struct cu_conn *conn, struct catchup_error *error)
{
	bool ours = false;
	int rc = schema_is(conn,
		"SELECT group_concat(lower(name) || ' ' || pk, ', ') FROM"
		" (SELECT name, pk FROM pragma_table_xinfo('catchup', 'main') ORDER BY cid)",
		"name 1, last 0", &ours, error);

	if (rc == CATCHUP_OK && !ours)
		rc = cu_error_set(error, CATCHUP_DATABASE, 0,
			"database '%s': its table 'catchup' has other columns than 'name' (primary key) and "
			"'last': it belongs to another program", conn->main_path);
	return rc;
}

/* Columns that tables have got since they were first made somewhere. */
static const struct {
	const char *table, *column, *type;
} later_columns[] = {
	{"catchup_state", "attempt_fence", "INTEGER NOT NULL DEFAULT 0"},
	{"catchup_state", "in_hand", "INTEGER NOT NULL DEFAULT 0"},
	{"catchup_state", "vanished", "INTEGER NOT NULL DEFAULT 0"},
	{"catchup_dead", "event", "TEXT"},
};

static int are_whole(struct cu_conn *conn, bool *whole, struct catchup_error *error)
{
	return schema_is(conn,
		"SELECT (SELECT count(*) FROM pragma_table_xinfo('catchup_state', 'main')"
		" WHERE name IN ('attempt_fence', 'in_hand', 'vanished')) +"
		" (SELECT count(*) FROM pragma_table_xinfo('catchup_dead', 'main') WHERE name = 'event')",
		"4", whole, error);
}

static int grow_tables(struct cu_conn *conn, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	for (size_t i = 0; i < sizeof(later_columns) / sizeof(later_columns[0]) && rc == CATCHUP_OK; i++) {
		char sql[128];
		bool has;

		rc = cu_conn_has(conn, later_columns[i].table, later_columns[i].column, &has, error);
		if (rc != CATCHUP_OK || has)
			continue;
		snprintf(sql, sizeof(sql), "ALTER TABLE main.%s ADD COLUMN %s %s",
			later_columns[i].table, later_columns[i].column, later_columns[i].type);
		rc = cu_conn_exec(conn, sql, NULL, 0, error);
	}
	return rc;
}

/* What every version of each table has. Whoever owns a table of that name without them is somebody else. */
static const struct {
	const char *table, *columns;
} first_columns[] = {
	{"catchup_state", "name, offered, applied, passed, parked, retries, updated_ms, state, code,"
		" category, error_row, message, since_ms, mark_id, mark_hash, counted_from, counted_to,"
		" counted, attempt_row, attempts"},
	{"catchup_dead", "consumer, id, key, code, message, attempts, first_ms, last_ms"},
	{"catchup_lease", "name, fence, owner, boot, pid, start, instance, space, expires_ns"},
	{"catchup_consumer", "name, \"into\", source, id_column, max, next, spec, turn"},
};

static int check_others(struct cu_conn *conn, struct catchup_error *error)
{
	for (size_t i = 0; i < sizeof(first_columns) / sizeof(first_columns[0]); i++) {
		struct catchup_error why = {0};
		sqlite3_stmt *stmt;
		int rc = cu_conn_prepare(conn, &stmt, &why, "SELECT %s FROM main.%s",
			first_columns[i].columns, first_columns[i].table);

		sqlite3_finalize(stmt);
		if (rc == CATCHUP_CONSUMER)
			return cu_error_set(error, CATCHUP_DATABASE, why.detail,
				"its table '%s' is not the one that is made here, it belongs to another "
				"program; rename it (%.200s)", first_columns[i].table, why.message);
		if (rc != CATCHUP_OK)
			return cu_error_set(error, rc, why.detail, "%s", why.message);
	}
	return CATCHUP_OK;
}

int cu_ledger_create_tables(struct cu_conn *conn, struct catchup_error *error)
{
	struct cu_own_transaction t;
	bool there = false;
	int rc = all_there(conn, &there, error);

	if (rc == CATCHUP_OK && there)
		rc = are_whole(conn, &there, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (there)
		return check_watermarks(conn, error);
	rc = cu_own_begin(&t, conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && rc == CATCHUP_OK; i++)
		rc = cu_conn_exec(conn, tables[i], NULL, 0, error);
	if (rc == CATCHUP_OK)
		rc = check_others(conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_conn_exec(conn, parked_keys, NULL, 0, error);
	if (rc == CATCHUP_OK)
		rc = grow_tables(conn, error);
	if (rc == CATCHUP_OK)
		rc = check_watermarks(conn, error);
	else
		cu_error_prefix(error, "database '%s': making catchup's tables: ", conn->main_path);
	return cu_own_end(&t, rc, error);
}
