/* SPDX-License-Identifier: MIT */
/*
 * source_guard.c - a source that refuses rows which its readers would never see.
 *
 * A reader asks for the newest id and takes what is at or below it as known. So a row whose id is not
 * above every id that was ever given is lost on all who have read so far. No reader has to say how far
 * it is for that: the highest id of the table is at least as high, and what is above it is gone,
 * which the guard writes down in table catchup_guard. An insert therefore costs two look-ups and
 * writes nothing.
 *
 * Two triggers see an insert. The one before it knows the ids that the statement gives, and stops a
 * REPLACE that would put another row in the place of the newest. The one after it knows those that
 * SQLite gives, which come again where the id is not AUTOINCREMENT.
 *
 * A row that REPLACE removes fires no trigger of its own, unless the connection asks for that (PRAGMA
 * recursive_triggers). An insert that removes rows so has an id above theirs, because SQLite chooses it
 * while they are still there; where it can choose none above, after the highest of all, the insert is
 * refused before it. An update leaves nothing above a newest row that it removes, and whether it is
 * going to remove one is not known before it: each writes the newest id down, which costs two look-ups
 * and, for the first after an insert, a write.
 */
#include "store/source/source_guard.h"

#include "base/error.h"
#include "store/connection/guard.h"
#include "store/ledger/record.h"
#include "store/source/source.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_MS 10000

#define TABLE_GUARD                                                                                \
	"CREATE TABLE IF NOT EXISTS main.catchup_guard(source TEXT NOT NULL PRIMARY KEY"           \
	" COLLATE NOCASE, newest INTEGER NOT NULL, since INTEGER NOT NULL,"                        \
	" since_ms INTEGER NOT NULL) WITHOUT ROWID"

static const char *const kinds[] = {"before_insert", "after_insert", "update", "update_keeps",
	"delete"};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* $T: the table's name inside double quotes; $Q: the same as a string; $I: the id column, quoted; $M: the
 * message. */
static const char *const triggers[N_KINDS] = {
	/* SQLite gives -1 here for an id that it is going to choose. A NULL may yet become the column's
	 * default, which is not known here. */
	"BEFORE INSERT ON \"$T\" WHEN NEW.$I IS NULL OR (SELECT max($I) FROM \"$T\")"
	" >= iif(NEW.$I < 1, 9223372036854775807, NEW.$I)"
	" BEGIN SELECT RAISE(ABORT, $M); END",

	"AFTER INSERT ON \"$T\" WHEN typeof(NEW.$I) <> 'integer' OR NEW.$I < 1"
	" OR NEW.$I < (SELECT max($I) FROM \"$T\")"
	" OR NEW.$I <= (SELECT newest FROM catchup_guard WHERE source = $Q)"
	" BEGIN SELECT RAISE(ABORT, $M); END",

	"BEFORE UPDATE ON \"$T\" WHEN NEW.$I IS NOT OLD.$I AND (typeof(NEW.$I) <> 'integer'"
	" OR NEW.$I < 1 OR NEW.$I <= (SELECT max($I) FROM \"$T\")"
	" OR NEW.$I <= (SELECT newest FROM catchup_guard WHERE source = $Q))"
	" BEGIN SELECT RAISE(ABORT, $M); END",

	"BEFORE UPDATE ON \"$T\" WHEN (SELECT max($I) FROM \"$T\")"
	" > (SELECT newest FROM catchup_guard WHERE source = $Q)"
	" BEGIN UPDATE catchup_guard SET newest = (SELECT max($I) FROM \"$T\") WHERE source = $Q; END",

	"AFTER DELETE ON \"$T\" WHEN OLD.$I > (SELECT coalesce(max($I), 0) FROM \"$T\")"
	" AND OLD.$I > (SELECT newest FROM catchup_guard WHERE source = $Q)"
	" BEGIN UPDATE catchup_guard SET newest = OLD.$I WHERE source = $Q; END",
};

static int failed(struct cu_conn *conn, const char *table, struct catchup_error *error)
{
	return cu_error_sqlite(error, conn->db, "database '%.200s': guarding table '%.100s'",
		conn->main_path, table);
}

/* ---- reading --------------------------------------------------------------------------------- */

int cu_source_guard_read(struct cu_conn *conn, const char *table, struct cu_source_guard *guard,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	bool any;
	int rc;

	*guard = (struct cu_source_guard){0};
	cu_conn_check_owner(conn);
	rc = cu_conn_has(conn, "catchup_guard", NULL, &any, error);
	if (rc != CATCHUP_OK || !any)
		return rc;
	/* A table that was dropped took its triggers along, whatever the record says. */
	rc = sqlite3_prepare_v2(conn->db,
		"SELECT g.newest, g.since, count(*), max(s.name LIKE 'catchup~_guard~_after~_insert~_%'"
		" ESCAPE '~') AS after FROM main.catchup_guard AS g JOIN main.sqlite_schema AS s"
		" ON s.type = 'trigger' AND lower(s.tbl_name) = lower(?1)"
		" AND s.name LIKE 'catchup~_guard~_%' ESCAPE '~' WHERE g.source = ?1"
		" GROUP BY g.source HAVING after", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		guard->installed = true;
		guard->newest = sqlite3_column_int64(stmt, 0);
		guard->since = sqlite3_column_int64(stmt, 1);
		guard->whole = sqlite3_column_int64(stmt, 2) == (sqlite3_int64)N_KINDS;
	}
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, table, error);
	sqlite3_finalize(stmt);
	return rc;
}

/* ---- the triggers ----------------------------------------------------------------------------- */

/* The text of a trigger for this table; owned by the caller (sqlite3_free), NULL without memory. */
static char *trigger_sql(size_t kind, const char *table, const char *id)
{
	char *message = sqlite3_mprintf("catchup guard: an id of '%s' that is not above its newest was "
		"refused: consumers may have passed it, and its row would never be processed", table);
	sqlite3_str *sql = sqlite3_str_new(NULL);

	sqlite3_str_appendf(sql, "CREATE TRIGGER main.\"" CU_GUARD_TRIGGERS "%s_%w\" ",
		kinds[kind], table);
	for (const char *p = triggers[kind]; *p && message; p++) {
		if (*p != '$') {
			sqlite3_str_append(sql, p, 1);
			continue;
		}
		p++;
		if (*p == 'T')
			sqlite3_str_appendf(sql, "%w", table);
		else if (*p == 'Q')
			sqlite3_str_appendf(sql, "%Q", table);
		else if (*p == 'M')
			sqlite3_str_appendf(sql, "%Q", message);
		else
			sqlite3_str_appendf(sql, "\"%w\"", id);
	}
	if (!message) {
		sqlite3_free(sqlite3_str_finish(sql));
		return NULL;
	}
	sqlite3_free(message);
	return sqlite3_str_finish(sql);
}

/* Drops what is there, under whatever name the table had when they were made. *had: whether any. */
static int drop_triggers(struct cu_conn *conn, const char *table, bool *had, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	*had = false;
	while (rc == CATCHUP_OK) {
		sqlite3_stmt *stmt = NULL;
		char *drop = NULL;

		rc = sqlite3_prepare_v2(conn->db,
			"SELECT name FROM main.sqlite_schema WHERE type = 'trigger'"
			" AND lower(tbl_name) = lower(?1) AND name LIKE 'catchup~_guard~_%' ESCAPE '~'",
			-1, &stmt, NULL);
		if (rc == SQLITE_OK)
			rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
		if (rc == SQLITE_OK)
			rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW)
			drop = sqlite3_mprintf("DROP TRIGGER main.\"%w\"",
				(const char *)sqlite3_column_text(stmt, 0));
		if (rc != SQLITE_ROW) {
			rc = rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, table, error);
			sqlite3_finalize(stmt);
			return rc;
		}
		sqlite3_finalize(stmt);
		*had = true;
		rc = cu_conn_exec_owned(conn, drop, error);
	}
	return rc;
}

/* Writes down what was given before, or forgets it (since_ms 0). */
static int write_record(struct cu_conn *conn, const char *table, int64_t newest, int64_t since_ms,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->db, since_ms
		? "INSERT INTO main.catchup_guard(source, newest, since, since_ms) VALUES (?1, ?2, ?2, ?3)"
		  " ON CONFLICT(source) DO UPDATE SET newest = max(newest, ?2), since = ?2, since_ms = ?3"
		: "DELETE FROM main.catchup_guard WHERE source = ?1", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK && since_ms)
		rc = sqlite3_bind_int64(stmt, 2, newest);
	if (rc == SQLITE_OK && since_ms)
		rc = sqlite3_bind_int64(stmt, 3, since_ms);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	rc = rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, table, error);
	sqlite3_finalize(stmt);
	return rc;
}

/* ---- how far the readers are --------------------------------------------------------------------- */

/* Consumers may have passed ids whose rows are deleted, and where the id is not AUTOINCREMENT their
 * watermarks are all that remembers them. */
static int highest_watermark(struct cu_conn *conn, const char *table, int64_t *newest,
	struct catchup_error *error)
{
	struct cu_entries entries;
	int rc = cu_entries_read(conn, NULL, &entries, error);

	for (size_t i = 0; rc == CATCHUP_OK && i < entries.n; i++) {
		const struct cu_entry *entry = &entries.items[i];
		const struct cu_conn_options options = {.role = CU_ROLE_STATUS,
			.main = entry->into, .busy_ms = BUSY_MS};
		struct cu_conn other = {0};
		struct cu_record record = {0};
		bool own = entry->into[0] == '\0';

		if (!entry->source || sqlite3_stricmp(entry->source, table) != 0)
			continue;
		/* Results that are not there have passed nothing. */
		if (!own && cu_conn_open(&other, &options, NULL) != CATCHUP_OK)
			continue;
		rc = cu_record_read(own ? conn : &other, entry->name, &(struct cu_owner){0}, &record,
			error);
		if (!own)
			cu_conn_close(&other);
		if (rc == CATCHUP_OK && record.status.watermark > *newest)
			*newest = record.status.watermark;
	}
	cu_entries_finish(&entries);
	return rc;
}

static int find_newest(struct cu_conn *conn, const char *table, const char *id, int64_t *newest,
	struct catchup_error *error)
{
	const struct cu_source_spec spec = {.table = table, .id_column = id};
	struct cu_source source = {0};
	int rc = cu_source_open(&source, conn, &spec, error);

	if (rc == CATCHUP_OK)
		rc = cu_source_highest(&source, newest, error);
	cu_source_close(&source);
	if (rc == CATCHUP_OK)
		rc = highest_watermark(conn, table, newest, error);
	return rc;
}

/* ---- installing ------------------------------------------------------------------------------------ */

static int open_writer(struct cu_conn *conn, const char *database, const char *table,
	struct catchup_error *error)
{
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .busy_ms = BUSY_MS};
	char *path = NULL;
	int rc;

	if (!table || table[0] == '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0, "the table's name is empty");
	rc = cu_path_resolve(database, NULL, &path, error);
	options.main = path;
	if (rc == CATCHUP_OK)
		rc = cu_conn_open(conn, &options, error);
	free(path);
	return rc;
}

/* The table's name as the schema writes it; owned by the caller. */
static int find_table(struct cu_conn *conn, const char *table, char **name, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->db, "SELECT name FROM main.sqlite_schema WHERE type = 'table'"
		" AND lower(name) = lower(?1)", -1, &stmt, NULL);

	*name = NULL;
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*name = strdup((const char *)sqlite3_column_text(stmt, 0));
		rc = *name ? CATCHUP_OK : cu_error_nomem(error);
	} else if (rc == SQLITE_DONE) {
		rc = cu_error_set(error, CATCHUP_CONFIG, 0,
			"'%.200s' is a view; guard the table that its rows come from", table);
	} else {
		rc = failed(conn, table, error);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int install(struct cu_conn *conn, const char *given, const char *id, struct catchup_error *error)
{
	int64_t newest = 0;
	char *table = NULL;
	bool had;
	int rc = find_newest(conn, given, id, &newest, error);

	if (rc == CATCHUP_OK)
		rc = find_table(conn, given, &table, error);
	if (rc == CATCHUP_OK)
		rc = cu_conn_exec(conn, TABLE_GUARD, NULL, 0, error);
	if (rc == CATCHUP_OK)
		rc = write_record(conn, table, newest, cu_os_wall_ms(), error);
	if (rc == CATCHUP_OK)
		rc = drop_triggers(conn, table, &had, error);
	for (size_t i = 0; i < N_KINDS && rc == CATCHUP_OK; i++)
		rc = cu_conn_exec_owned(conn, trigger_sql(i, table, id), error);
	free(table);
	return rc;
}

static int remove_guard(struct cu_conn *conn, const char *table, struct catchup_error *error)
{
	bool had;
	int rc = drop_triggers(conn, table, &had, error);

	if (rc == CATCHUP_OK && !had)
		return cu_error_set(error, CATCHUP_USAGE, 0, "table '%.200s' is not guarded", table);
	return rc == CATCHUP_OK ? write_record(conn, table, 0, 0, error) : rc;
}

static int end(struct cu_conn *conn, int rc, struct catchup_error *error)
{
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(conn, error);
	cu_conn_close(conn);
	return rc;
}

int catchup_guard(const char *database, const char *table, const char *id_column,
	struct catchup_error *error)
{
	struct cu_conn conn = {0};
	int rc = open_writer(&conn, database, table, error);

	if (rc == CATCHUP_OK)
		rc = cu_conn_begin(&conn, error);
	if (rc == CATCHUP_OK)
		rc = install(&conn, table, id_column ? id_column : "id", error);
	return end(&conn, rc, error);
}

int catchup_guard_remove(const char *database, const char *table, struct catchup_error *error)
{
	struct cu_conn conn = {0};
	int rc = open_writer(&conn, database, table, error);

	if (rc == CATCHUP_OK)
		rc = cu_conn_begin(&conn, error);
	if (rc == CATCHUP_OK)
		rc = remove_guard(&conn, table, error);
	return end(&conn, rc, error);
}
