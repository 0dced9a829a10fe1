/* SPDX-License-Identifier: MIT */
/*
 * record.c - what database files say about consumers. Tables that are missing say nothing; tables of
 * another program under our names are an error.
 */
#include "store/ledger/record.h"

#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int failed(struct cu_conn *conn, struct catchup_error *error)
{
	int code = cu_error_sqlite(error, conn->db, "database '%s': reading catchup's tables",
		conn->main_path);

	/* Tables of another program under our names are no consumer's fault. */
	if (code == CATCHUP_CONSUMER && error)
		error->code = CATCHUP_DATABASE;
	return code == CATCHUP_CONSUMER ? CATCHUP_DATABASE : code;
}

static int has_table(struct cu_conn *conn, const char *table, bool *has, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->db,
		"SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE", -1,
		&stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	*has = rc == SQLITE_ROW;
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, error);
	sqlite3_finalize(stmt);
	return rc;
}

/* Asks one table about one consumer. *stmt stands on the row, or is NULL when there is none. */
static int ask(struct cu_conn *conn, const char *table, const char *sql, const char *name,
	sqlite3_stmt **stmt, struct catchup_error *error)
{
	bool has;
	int rc = has_table(conn, table, &has, error);

	*stmt = NULL;
	if (rc != CATCHUP_OK || !has)
		return rc;
	rc = sqlite3_prepare_v2(conn->db, sql, -1, stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(*stmt, 1, name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(*stmt);
	if (rc == SQLITE_ROW)
		return CATCHUP_OK;
	rc = rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, error);
	sqlite3_finalize(*stmt);
	*stmt = NULL;
	return rc;
}

static int read_state(struct cu_conn *conn, const char *name, struct cu_record *record,
	struct catchup_error *error)
{
	struct catchup_consumer_status *status = &record->status;
	sqlite3_stmt *stmt;
	/* The inner ones are the table's where it has the columns, which older ones have not. */
	int rc = ask(conn, "catchup_state", "SELECT offered, applied, passed, parked, retries, updated_ms,"
		" state, code, error_row, message, since_ms, category, counted_from, counted_to, counted,"
		" mark_id, mark_hash, attempt_row, attempts,"
		" (SELECT vanished FROM main.catchup_state AS s WHERE s.name = ?1),"
		" (SELECT attempt_fence FROM main.catchup_state AS s WHERE s.name = ?1)"
		" FROM main.catchup_state, (SELECT 0 AS vanished, 0 AS attempt_fence) WHERE name = ?1", name,
		&stmt, error);

	if (rc != CATCHUP_OK || !stmt)
		return rc;
	record->known = true;
	status->offered = sqlite3_column_int64(stmt, 0);
	status->applied = sqlite3_column_int64(stmt, 1);
	status->passed = sqlite3_column_int64(stmt, 2);
	status->parked = sqlite3_column_int64(stmt, 3);
	status->retries = sqlite3_column_int64(stmt, 4);
	status->updated_ms = sqlite3_column_int64(stmt, 5);
	status->state = sqlite3_column_int(stmt, 6);
	status->error_code = sqlite3_column_int(stmt, 7);
	status->error_row = sqlite3_column_int64(stmt, 8);
	cu_ledger_copy_text(record->message, sizeof(record->message), stmt, 9);
	status->error_since_ms = sqlite3_column_int64(stmt, 10);
	cu_ledger_copy_text(record->category, sizeof(record->category), stmt, 11);
	record->counted_from = sqlite3_column_int64(stmt, 12);
	record->counted_to = sqlite3_column_int64(stmt, 13);
	record->counted = sqlite3_column_int64(stmt, 14);
	record->marked = sqlite3_column_type(stmt, 15) != SQLITE_NULL;
	record->mark_id = sqlite3_column_int64(stmt, 15);
	record->mark_hash = sqlite3_column_int64(stmt, 16);
	record->attempt_row = sqlite3_column_int64(stmt, 17);
	record->attempts = sqlite3_column_int64(stmt, 18);
	status->vanished = sqlite3_column_int64(stmt, 19);
	record->attempt_fence = sqlite3_column_int64(stmt, 20);
	sqlite3_finalize(stmt);
	return CATCHUP_OK;
}

static int read_owner(struct cu_conn *conn, const char *name, const struct cu_owner *self,
	struct cu_record *record, struct catchup_error *error)
{
	struct cu_owner holder = {0};
	sqlite3_stmt *stmt;
	int rc = ask(conn, "catchup_lease", "SELECT owner, boot, pid, start, space, expires_ns, fence"
		" FROM main.catchup_lease WHERE name = ?1", name, &stmt, error);

	if (rc != CATCHUP_OK || !stmt)
		return rc;
	cu_ledger_copy_text(record->owner, sizeof(record->owner), stmt, 0);
	cu_ledger_copy_text(holder.boot, sizeof(holder.boot), stmt, 1);
	holder.pid = sqlite3_column_int64(stmt, 2);
	holder.start = sqlite3_column_int64(stmt, 3);
	holder.space = sqlite3_column_int64(stmt, 4);
	record->held = cu_lease_is_held(&holder, sqlite3_column_int64(stmt, 5), self);
	record->abandoned = !record->held && sqlite3_column_int64(stmt, 5) != 0;
	record->fence = sqlite3_column_int64(stmt, 6);
	if (record->abandoned)
		memcpy(record->lost_owner, record->owner, sizeof(record->lost_owner));
	if (!record->held)
		record->owner[0] = '\0';
	sqlite3_finalize(stmt);
	return CATCHUP_OK;
}

/* What is known of the row that is marked. Who marked it and is alive, or has taken the mark back, has not died
 * of it; a mark of another one that stands was left by who died. In care after a crash every row is marked as
 * if it had been in hand at that one: alone it says nothing of the row. */
static void note_crashes(struct cu_record *record)
{
	bool stands = record->attempt_fence > 0;
	bool left = stands && (record->attempt_fence != record->fence || record->abandoned);
	int64_t crashes = left ? record->attempts : record->attempts - 1;

	if (record->attempt_row <= record->status.watermark || crashes < (left ? 1 : 2) || crashes > INT_MAX)
		return;
	record->status.crash_row = record->attempt_row;
	record->status.crashes = (int)crashes;
}

void cu_record_clear(struct cu_record *record)
{
	memset(record, 0, sizeof(*record));
	record->status.owner = record->owner;
	record->status.lost_owner = record->lost_owner;
	record->status.last_error = record->message;
	record->status.error_category = record->category;
}

int cu_record_read(struct cu_conn *conn, const char *name, const struct cu_owner *self,
	struct cu_record *record, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc;

	cu_record_clear(record);
	rc = ask(conn, "catchup", "SELECT last FROM main.catchup WHERE name = ?1", name, &stmt, error);
	if (rc == CATCHUP_OK && stmt) {
		record->known = true;
		record->status.watermark = sqlite3_column_int64(stmt, 0);
		sqlite3_finalize(stmt);
	}
	if (rc == CATCHUP_OK)
		rc = read_state(conn, name, record, error);
	if (rc == CATCHUP_OK)
		rc = read_owner(conn, name, self, record, error);
	if (rc == CATCHUP_OK)
		note_crashes(record);
	if (rc == CATCHUP_OK)
		rc = ask(conn, "catchup_dead", "SELECT count(*), min(id), max(id) FROM main.catchup_dead"
			" WHERE consumer = ?1", name, &stmt, error);
	if (rc == CATCHUP_OK && stmt) {
		record->status.dead = sqlite3_column_int64(stmt, 0);
		record->dead_first = sqlite3_column_int64(stmt, 1);
		record->dead_last = sqlite3_column_int64(stmt, 2);
		sqlite3_finalize(stmt);
	}
	return rc;
}

bool cu_record_in_trouble(const struct cu_record *record)
{
	int state = record->status.state;

	return (state == CATCHUP_STATE_PAUSED && !record->abandoned) ||
		(state == CATCHUP_STATE_STOPPED && !record->held);
}

/* ---- which consumers there are ------------------------------------------------------------ */

static bool take_text(char **to, sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	*to = text ? strdup(text) : NULL;
	return *to || sqlite3_column_type(stmt, column) == SQLITE_NULL;
}

static bool add_entry(struct cu_entries *entries, sqlite3_stmt *stmt)
{
	struct cu_entry *grown = realloc(entries->items, (entries->n + 1) * sizeof(*grown));
	struct cu_entry *entry;

	if (!grown)
		return false;
	entries->items = grown;
	entry = &grown[entries->n++];
	memset(entry, 0, sizeof(*entry));
	return take_text(&entry->name, stmt, 0) && take_text(&entry->into, stmt, 1) &&
		take_text(&entry->source, stmt, 2) && take_text(&entry->id_column, stmt, 3) &&
		take_text(&entry->max, stmt, 4) && take_text(&entry->next, stmt, 5) &&
		take_text(&entry->spec, stmt, 6) && entry->name && entry->into;
}

int cu_entries_read(struct cu_conn *conn, const char *name, struct cu_entries *entries,
	struct catchup_error *error)
{
	bool registry, watermarks, states;
	sqlite3_stmt *stmt = NULL;
	char *sql;
	int rc;

	memset(entries, 0, sizeof(*entries));
	rc = has_table(conn, "catchup_consumer", &registry, error);
	if (rc == CATCHUP_OK)
		rc = has_table(conn, "catchup", &watermarks, error);
	if (rc == CATCHUP_OK)
		rc = has_table(conn, "catchup_state", &states, error);
	if (rc != CATCHUP_OK)
		return rc;
	/* Consumers that are registered, and those that only have a watermark or a state here. */
	sql = sqlite3_mprintf(
		"WITH registered(name, o, source, id_column, max, next, spec, turn) AS (%s), known(name) AS"
		" (%s UNION %s EXCEPT SELECT name FROM registered WHERE o = '')"
		" SELECT name, o, source, id_column, max, next, spec, turn FROM registered"
		" WHERE ?1 IS NULL OR name = ?1"
		" UNION ALL SELECT name, '', NULL, NULL, NULL, NULL, NULL, 0 FROM known"
		" WHERE ?1 IS NULL OR name = ?1 ORDER BY name, turn DESC",
		registry ? "SELECT name, \"into\", source, id_column, max, next, spec, turn"
			   " FROM main.catchup_consumer"
			 : "SELECT '', '', '', '', '', '', '', 0 WHERE 0",
		watermarks ? "SELECT name FROM main.catchup" : "SELECT '' WHERE 0",
		states ? "SELECT name FROM main.catchup_state" : "SELECT '' WHERE 0");
	if (!sql)
		return cu_error_nomem(error);
	rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
	sqlite3_free(sql);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW && add_entry(entries, stmt))
			continue;
	if (rc == SQLITE_DONE)
		rc = CATCHUP_OK;
	else
		rc = rc == SQLITE_ROW ? cu_error_nomem(error) : failed(conn, error);
	sqlite3_finalize(stmt);
	if (rc != CATCHUP_OK)
		cu_entries_finish(entries);
	return rc;
}

void cu_entries_finish(struct cu_entries *entries)
{
	for (size_t i = 0; i < entries->n; i++) {
		free(entries->items[i].name);
		free(entries->items[i].into);
		free(entries->items[i].source);
		free(entries->items[i].id_column);
		free(entries->items[i].max);
		free(entries->items[i].next);
		free(entries->items[i].spec);
	}
	free(entries->items);
	memset(entries, 0, sizeof(*entries));
}
