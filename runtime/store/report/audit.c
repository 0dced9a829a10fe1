/* SPDX-License-Identifier: MIT */
/*
 * audit.c - what can be seen from outside of whether a consumer was offered every row once.
 *
 * Results and their record are read in one read transaction, the source after it: a source only grows,
 * so what a record says about it holds in a later look too.
 */
#include "store/report/audit.h"

#include "base/error.h"
#include "store/source/source.h"
#include "store/source/source_guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUSY_MS 10000

static int open_to_look(struct cu_conn *conn, const char *path, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_STATUS, .main = path, .busy_ms = BUSY_MS, .query_ms = 3600000};

	return cu_conn_open(conn, &options, error);
}

/* Errors that say something about this moment and nothing about the file. */
static bool is_passing(int code)
{
	return code == CATCHUP_LOCKED || code == CATCHUP_NOMEM || code == CATCHUP_CANCELED;
}

/* ---- files ------------------------------------------------------------------------------------- */

int cu_audit_file(struct catchup_verification *verification, const char *path,
	struct catchup_error *error)
{
	struct catchup_error why = {0};
	struct cu_conn conn = {0};
	sqlite3_stmt *stmt = NULL;
	char wrong[CATCHUP_MESSAGE_BYTES] = "";
	int rc;

	if (cu_verification_has_file(verification, path))
		return CATCHUP_OK;
	rc = open_to_look(&conn, path, &why);
	if (rc == CATCHUP_OK && sqlite3_prepare_v2(conn.db, "PRAGMA main.integrity_check(1)", -1, &stmt,
					NULL) != SQLITE_OK)
		rc = cu_error_sqlite(&why, conn.db, "database '%.300s'", path);
	if (rc == CATCHUP_OK) {
		const char *text;

		if (sqlite3_step(stmt) != SQLITE_ROW)
			rc = cu_error_sqlite(&why, conn.db, "database '%.300s'", path);
		else if (!(text = (const char *)sqlite3_column_text(stmt, 0)))
			rc = cu_error_nomem(&why);
		else if (strcmp(text, "ok") != 0)
			cu_text_escape(wrong, sizeof(wrong), text, strlen(text));
	}
	sqlite3_finalize(stmt);
	cu_conn_close(&conn);
	if (is_passing(rc)) {
		if (error)
			*error = why;
		return rc;
	}
	cu_verification_add_file(verification, path, rc == CATCHUP_OK ? wrong : why.message);
	return CATCHUP_OK;
}

/* ---- a consumer ---------------------------------------------------------------------------------- */

struct audit {
	struct catchup_verification *verification;
	struct catchup_verdict *verdict;
	const struct cu_entry *entry;
	struct cu_record record;
	struct cu_conn *conn;     /* to the source's database */
	struct cu_source source;
};

/* A record that cannot be read says nothing. */
static void note_trouble(struct audit *a)
{
	const struct catchup_consumer_status *s = &a->record.status;

	if (!a->record.known || !cu_record_in_trouble(&a->record))
		return;
	if (s->error_row > 0)
		cu_verification_note(a->verification, "it is %s at row %" PRId64 ": %s",
			catchup_state_name(s->state), s->error_row, s->last_error);
	else
		cu_verification_note(a->verification, "it is %s: %s", catchup_state_name(s->state),
			s->last_error);
}

static void check_record(struct audit *a)
{
	const struct catchup_consumer_status *s = &a->record.status;
	struct catchup_verdict *v = a->verdict;

	v->watermark = s->watermark;
	v->offered = s->offered;
	v->applied = s->applied;
	v->passed = s->passed;
	v->parked = s->parked;
	v->dead = s->dead;
	if (s->offered != s->applied + s->passed + s->parked)
		cu_verification_wrong(a->verification,
			"%" PRId64 " rows were offered, but %" PRId64 " applied + %" PRId64
			" passed over + %" PRId64 " parked are %" PRId64,
			s->offered, s->applied, s->passed, s->parked,
			s->applied + s->passed + s->parked);
	if (s->dead > s->parked)
		cu_verification_wrong(a->verification,
			"there are %" PRId64 " dead letters, but only %" PRId64 " rows were parked",
			s->dead, s->parked);
	if (a->record.dead_last > s->watermark)
		cu_verification_wrong(a->verification,
			"the dead letter of row %" PRId64 " is above the watermark %" PRId64,
			a->record.dead_last, s->watermark);
	if (s->dead > 0 && a->record.dead_first < 1)
		cu_verification_wrong(a->verification, "a dead letter is of row %" PRId64
			", which no source has", a->record.dead_first);
	note_trouble(a);
	if (a->record.counted_to == s->watermark && s->offered > 0) {
		v->counted_from = a->record.counted_from;
		v->counted = a->record.counted;
	} else if (s->watermark > 0) {
		cu_verification_note(a->verification,
			"the watermark was set to %" PRId64 ", by 'reset' or by another program; rows below "
			"it were not counted", s->watermark);
	}
}

static int check_newest(struct audit *a, struct catchup_error *error)
{
	struct catchup_verdict *v = a->verdict;
	struct cu_source_guard guard = {0};
	bool empty;
	int rc = cu_source_newest(&a->source, &v->newest, &empty, error);

	if (rc == CATCHUP_OK)
		rc = cu_source_highest(&a->source, &v->highest, error);
	if (rc == CATCHUP_OK && a->entry->source)
		rc = cu_source_guard_read(a->conn, a->entry->source, &guard, error);
	if (rc != CATCHUP_OK)
		return rc;
	v->guarded = guard.installed;
	if (guard.installed && guard.newest > v->highest)
		v->highest = guard.newest;
	if (guard.installed && !guard.whole)
		cu_verification_note(a->verification, "the guard of its source lacks some of its triggers, "
			"and may let an id through that was given before: 'catchup guard' renews it");
	/* Nobody remembers the ids of a table that was pruned to nothing. */
	if (v->watermark > v->highest && !(empty && a->entry->source && v->highest == 0))
		cu_verification_wrong(a->verification,
			"the watermark %" PRId64 " is past the highest id %" PRId64 " of the source: rows "
			"with the ids between will never be processed", v->watermark, v->highest);
	return CATCHUP_OK;
}

/* A row that was never offered, or came below the watermark, makes the source have more than were
 * counted. Rows that were deleted since make it have fewer. */
static int check_rows(struct audit *a, struct catchup_error *error)
{
	struct catchup_verdict *v = a->verdict;
	int64_t from, above;
	int rc;

	if (v->counted_from < 0 || !a->entry->source)
		return CATCHUP_OK;
	if (a->entry->next) {
		cu_verification_note(a->verification,
			"its own 'next' may leave rows out, so the source's rows were not counted");
		return CATCHUP_OK;
	}
	rc = cu_source_count(&a->source, v->counted_from, -1, &from, error);
	if (rc == CATCHUP_OK)
		rc = cu_source_count(&a->source, v->watermark, -1, &above, error);
	if (rc != CATCHUP_OK)
		return rc;
	v->rows = from - above;
	if (v->rows > v->counted)
		cu_verification_wrong(a->verification,
			"the source has %" PRId64 " rows with ids in (%" PRId64 ", %" PRId64 "], but only %"
			PRId64 " were offered: rows were left out, or came below the watermark%s",
			v->rows, v->counted_from, v->watermark, v->counted,
			v->guarded ? "" : " ('catchup guard' refuses such)");
	return CATCHUP_OK;
}

static int check_mark(struct audit *a, struct catchup_error *error)
{
	const struct cu_record *r = &a->record;
	int64_t hash;
	bool found;
	int rc;

	if (!r->marked || r->mark_id == 0 || !a->entry->source)
		return CATCHUP_OK;
	rc = cu_source_fingerprint_of(&a->source, r->mark_id, &found, &hash, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (!found)
		cu_verification_note(a->verification, "row %" PRId64 ", the newest that was processed, "
			"is no longer in the source", r->mark_id);
	else if (hash != r->mark_hash)
		cu_verification_wrong(a->verification,
			"row %" PRId64 " of the source is not the row that was processed: the source was "
			"restored from a copy, lost its newest rows, or the row was changed", r->mark_id);
	return CATCHUP_OK;
}

static int check_source(struct audit *a, struct catchup_error *error)
{
	const struct cu_source_spec spec = {
		.table = a->entry->source,
		.id_column = a->entry->id_column ? a->entry->id_column : "id",
		.max = a->entry->max,
		.consumer = a->entry->name,
	};
	struct catchup_error why = {0};
	int rc;

	if (!spec.table && !spec.max) {
		cu_verification_note(a->verification,
			"the database does not say what it follows: it was run by another program");
		return CATCHUP_OK;
	}
	if (spec.table && strncmp(spec.table, "changelog:", 10) == 0) {
		cu_verification_note(a->verification,
			"it follows a changelog, whose events are not kept: only its record was looked at");
		return CATCHUP_OK;
	}
	rc = cu_source_open(&a->source, a->conn, &spec, &why);
	if (rc == CATCHUP_OK)
		rc = check_newest(a, &why);
	if (rc == CATCHUP_OK)
		rc = check_rows(a, &why);
	if (rc == CATCHUP_OK)
		rc = check_mark(a, &why);
	cu_source_close(&a->source);
	if (rc == CATCHUP_OK)
		return rc;
	if (is_passing(rc)) {
		if (error)
			*error = why;
		return rc;
	}
	cu_verification_wrong(a->verification, "its source cannot be read: %s", why.message);
	return CATCHUP_OK;
}

/* The record, in one moment of the file that has it. */
static int read_record(struct audit *a, const char *database, struct catchup_error *error)
{
	const char *path = a->entry->into[0] ? a->entry->into : database;
	struct catchup_error why = {0};
	struct cu_conn conn = {0};
	struct cu_owner self;
	int rc = open_to_look(&conn, path, &why);

	cu_owner_self(&self);
	if (rc == CATCHUP_OK)
		rc = cu_conn_begin_read(&conn, &why);
	if (rc == CATCHUP_OK)
		rc = cu_record_read(&conn, a->entry->name, &self, &a->record, &why);
	cu_conn_close(&conn);
	if (rc == CATCHUP_OK || is_passing(rc)) {
		if (rc != CATCHUP_OK && error)
			*error = why;
		return rc;
	}
	cu_verification_wrong(a->verification, "its record cannot be read: %s", why.message);
	a->record.known = false;
	return CATCHUP_OK;
}

int cu_audit_consumer(struct catchup_verification *verification, const char *database,
	const struct cu_entry *entry, struct catchup_error *error)
{
	struct audit a = {.verification = verification, .entry = entry};
	struct cu_conn conn = {0};
	int rc;

	a.verdict = cu_verification_add(verification, entry->name,
		entry->source ? entry->source : entry->max, entry->into);
	if (!a.verdict)
		return cu_error_nomem(error);
	rc = read_record(&a, database, error);
	if (rc == CATCHUP_OK)
		rc = open_to_look(&conn, database, error);
	a.conn = &conn;
	if (rc == CATCHUP_OK)
		rc = cu_conn_begin_read(&conn, error);
	if (rc == CATCHUP_OK)
		check_record(&a);
	if (rc == CATCHUP_OK)
		rc = check_source(&a, error);
	cu_conn_close(&conn);
	return rc;
}
