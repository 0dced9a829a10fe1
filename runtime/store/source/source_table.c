/* SPDX-License-Identifier: MIT */
/*
 * source_table.c - which tables can be followed: those whose id column is the rowid, its alias, or an
 * INTEGER column with a unique index of its own.
 */
#include "store/source/source_table.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

struct column {
	bool found;
	int64_t cid;
	char type[64];
	bool only_key; /* the primary key, alone */
};

static const char *schema_of(const struct cu_source_spec *spec)
{
	return spec->attached ? "source" : "main";
}

/* Prepares a question about the schema with the table as ?1 and the schema as ?2. */
static sqlite3_stmt *ask(struct cu_conn *conn, const struct cu_source_spec *spec, const char *sql,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;

	if (sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL) != SQLITE_OK ||
		sqlite3_bind_text(stmt, 1, spec->table, -1, SQLITE_STATIC) != SQLITE_OK ||
		sqlite3_bind_text(stmt, 2, schema_of(spec), -1, SQLITE_STATIC) != SQLITE_OK) {
		cu_error_sqlite(error, conn->db, "reading the schema");
		sqlite3_finalize(stmt);
		return NULL;
	}
	return stmt;
}

/* Ends a question; last: what sqlite3_step returned last. */
static int answered(struct cu_conn *conn, sqlite3_stmt *stmt, int last, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	if (last != SQLITE_ROW && last != SQLITE_DONE)
		rc = cu_error_sqlite(error, conn->db, "reading the schema");
	/* A view that cannot be prepared, or calls what a schema may not call: wrong before any row. */
	if (rc == CATCHUP_CONSUMER) {
		rc = CATCHUP_CONFIG;
		if (error)
			error->code = rc;
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int code_of(const struct catchup_error *error)
{
	return error ? error->code : CATCHUP_DATABASE;
}

static int find_table(struct cu_conn *conn, const struct cu_source_spec *spec, char *type,
	size_t bytes, bool *without_rowid, struct catchup_error *error)
{
	sqlite3_stmt *stmt = ask(conn, spec,
		"SELECT type, wr FROM pragma_table_list(?1) WHERE schema = ?2", error);
	int rc;

	type[0] = '\0';
	if (!stmt)
		return code_of(error);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		snprintf(type, bytes, "%s", text ? text : "");
		*without_rowid = sqlite3_column_int(stmt, 1) != 0;
	}
	return answered(conn, stmt, rc, error);
}

static int find_column(struct cu_conn *conn, const struct cu_source_spec *spec, struct column *column,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = ask(conn, spec,
		"SELECT name, cid, type, pk = 1 AND sum(pk) OVER () = 1 FROM pragma_table_xinfo(?1, ?2)",
		error);
	int rc;

	memset(column, 0, sizeof(*column));
	if (!stmt)
		return code_of(error);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		const char *type = (const char *)sqlite3_column_text(stmt, 2);

		if (!name || sqlite3_stricmp(name, spec->id_column) != 0)
			continue;
		column->found = true;
		column->cid = sqlite3_column_int64(stmt, 1);
		snprintf(column->type, sizeof(column->type), "%s", type ? type : "");
		column->only_key = sqlite3_column_int(stmt, 3) != 0;
	}
	return answered(conn, stmt, rc, error);
}

/* Whether the primary key has an index, which an alias of the rowid has not; and whether the column
 * has a unique index of its own. */
static int find_indexes(struct cu_conn *conn, const struct cu_source_spec *spec, int64_t cid,
	bool *key_indexed, bool *unique, struct catchup_error *error)
{
	sqlite3_stmt *stmt = ask(conn, spec,
		"SELECT i.origin = 'pk',"
		" i.\"unique\" AND NOT i.partial AND (SELECT count(*) = 1 AND max(x.cid) = ?3"
		"  FROM pragma_index_xinfo(i.name, ?2) AS x WHERE x.key)"
		" FROM pragma_index_list(?1, ?2) AS i", error);
	int rc;

	*key_indexed = *unique = false;
	if (!stmt)
		return code_of(error);
	sqlite3_bind_int64(stmt, 3, cid);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*key_indexed |= sqlite3_column_int(stmt, 0) != 0;
		*unique |= sqlite3_column_int(stmt, 1) != 0;
	}
	return answered(conn, stmt, rc, error);
}

static bool is_rowid(const char *column)
{
	return sqlite3_stricmp(column, "rowid") == 0 || sqlite3_stricmp(column, "oid") == 0 ||
		sqlite3_stricmp(column, "_rowid_") == 0;
}

/* SQLite's rule for INTEGER affinity; STRICT tables know INT and INTEGER only. */
static bool holds_integers(const char *type)
{
	for (; *type; type++)
		if (sqlite3_strnicmp(type, "int", 3) == 0)
			return true;
	return false;
}

static int check_column(struct cu_conn *conn, const struct cu_source_spec *spec, bool without_rowid,
	struct cu_table_facts *facts, struct catchup_error *error)
{
	bool key_indexed, unique;
	struct column column;
	int rc = find_column(conn, spec, &column, error);

	if (rc != CATCHUP_OK)
		return rc;
	if (!column.found && is_rowid(spec->id_column)) {
		if (without_rowid)
			return cu_error_set(error, CATCHUP_CONFIG, 0,
				"id '%s': the table is WITHOUT ROWID; name an INTEGER column",
				spec->id_column);
		facts->bare = true;
		facts->rowid = true;
		return CATCHUP_OK;
	}
	if (!column.found)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"no column '%s'; say which one is the id", spec->id_column);
	rc = find_indexes(conn, spec, column.cid, &key_indexed, &unique, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (column.only_key && !without_rowid && !key_indexed &&
		sqlite3_stricmp(column.type, "INTEGER") == 0) {
		int counts = 0;

		if (sqlite3_table_column_metadata(conn->db, schema_of(spec), spec->table,
			    spec->id_column, NULL, NULL, NULL, NULL, &counts) != SQLITE_OK)
			return cu_error_sqlite(error, conn->db, "reading the schema");
		facts->autoincrement = counts != 0;
		facts->rowid = true;
		if (!facts->autoincrement)
			facts->warnings |= CU_SOURCE_NO_AUTOINCREMENT;
		return CATCHUP_OK;
	}
	if (!holds_integers(column.type))
		return cu_error_set(error, CATCHUP_CONFIG, 0, "column '%s' is declared '%s', not INTEGER",
			spec->id_column, column.type);
	if (!unique)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"column '%s' is neither INTEGER PRIMARY KEY nor has a unique index of its own, so "
			"two rows could have one id", spec->id_column);
	return CATCHUP_OK;
}

/* The id is called rowid: VACUUM renumbers unless some column is its alias. */
static int check_rowid(struct cu_conn *conn, const struct cu_source_spec *spec,
	struct cu_table_facts *facts, struct catchup_error *error)
{
	struct cu_table_facts of_key = {0};
	struct cu_source_spec key = *spec;
	sqlite3_stmt *stmt = ask(conn, spec,
		"SELECT name FROM pragma_table_xinfo(?1, ?2) WHERE pk = 1 AND lower(type) = 'integer'",
		error);
	char name[256] = "";
	int rc;

	if (!stmt)
		return code_of(error);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		snprintf(name, sizeof(name), "%s", (const char *)sqlite3_column_text(stmt, 0));
	rc = answered(conn, stmt, rc, error);
	if (rc != CATCHUP_OK)
		return rc;
	key.id_column = name;
	/* Only an alias is told whether it counts up by itself. */
	if (name[0] && check_column(conn, &key, false, &of_key, NULL) == CATCHUP_OK &&
		(of_key.autoincrement || of_key.warnings)) {
		facts->autoincrement = of_key.autoincrement;
		facts->warnings = of_key.warnings;
	} else {
		facts->warnings = CU_SOURCE_BARE_ROWID | CU_SOURCE_NO_AUTOINCREMENT;
	}
	return CATCHUP_OK;
}

int cu_source_inspect(struct cu_conn *conn, const struct cu_source_spec *spec,
	struct cu_table_facts *facts, struct catchup_error *error)
{
	bool without_rowid = false;
	struct column column;
	char type[16];
	int rc;

	memset(facts, 0, sizeof(*facts));
	if (sqlite3_strnicmp(spec->table, "sqlite_", 7) == 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0, "SQLite's own table cannot be a source");
	if (sqlite3_strnicmp(spec->table, "catchup", 7) == 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"names that begin with 'catchup' are catchup's own and cannot be a source");
	rc = find_table(conn, spec, type, sizeof(type), &without_rowid, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (type[0] == '\0')
		return cu_error_set(error, CATCHUP_CONFIG, 0, "no such table");
	if (strcmp(type, "virtual") == 0 || strcmp(type, "shadow") == 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"a %s table cannot be a source: its ids need not ascend", type);
	if (strcmp(type, "view") == 0) {
		facts->view = true;
		rc = find_column(conn, spec, &column, error);
		if (rc == CATCHUP_OK && !column.found)
			rc = cu_error_set(error, CATCHUP_CONFIG, 0,
				"the view has no column '%s'; say which one is the id",
				spec->id_column);
		if (rc == CATCHUP_OK && spec->id_assumed)
			rc = cu_error_set(error, CATCHUP_CONFIG, 0,
				"a view, of which nothing tells that its column '%s' is unique and "
				"ascends; declare it (in a file '-- id: %s')",
				spec->id_column, spec->id_column);
		return rc;
	}
	rc = check_column(conn, spec, without_rowid, facts, error);
	if (rc == CATCHUP_OK && facts->bare)
		rc = check_rowid(conn, spec, facts, error);
	return rc;
}
