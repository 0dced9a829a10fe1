/* SPDX-License-Identifier: MIT */
/*
 * ledger.c - the watermark, the counters and the state of a consumer.
 *
 * Names of tables are always qualified with "main": a temporary table of a consumer's that is called
 * the same must not stand in front of ours.
 */
#include "store/ledger/ledger.h"

#include "base/check.h"
#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <stdio.h>
#include <string.h>

/* ---- shared pieces ------------------------------------------------------------------------ */

int cu_own_begin(struct cu_own_transaction *t, struct cu_conn *conn, struct catchup_error *error)
{
	t->conn = conn;
	t->own = !cu_conn_in_transaction(conn);
	return t->own ? cu_conn_begin(conn, error) : CATCHUP_OK;
}

int cu_own_end(struct cu_own_transaction *t, int rc, struct catchup_error *error)
{
	if (!t->own)
		return rc;
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(t->conn, error);
	if (rc != CATCHUP_OK)
		cu_conn_rollback(t->conn);
	return rc;
}

int cu_ledger_failed(struct cu_ledger *ledger, sqlite3_stmt *stmt, const char *what,
	struct catchup_error *error)
{
	int rc = cu_error_sqlite(error, ledger->conn->db, "%s", what);

	if (stmt)
		sqlite3_reset(stmt);
	cu_error_prefix(error, "consumer '%.200s': ", ledger->name);
	return rc;
}

int cu_ledger_ready(struct cu_ledger *ledger, sqlite3_stmt **stmt, const char *sql,
	struct catchup_error *error)
{
	cu_conn_check_owner(ledger->conn);
	CU_CHECK(!ledger->conn->guard.active);
	if ((!*stmt && sqlite3_prepare_v3(ledger->conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt,
			       NULL) != SQLITE_OK) ||
		sqlite3_bind_text(*stmt, 1, ledger->name, -1, SQLITE_STATIC) != SQLITE_OK) {
		int rc = cu_ledger_failed(ledger, NULL, "preparing the bookkeeping", error);

		sqlite3_finalize(*stmt);
		*stmt = NULL;
		return rc;
	}
	return CATCHUP_OK;
}

int cu_ledger_book(struct cu_ledger *ledger, enum cu_book book, const char *sql, sqlite3_stmt **stmt,
	struct catchup_error *error)
{
	int rc = cu_ledger_ready(ledger, &ledger->conn->books[book], sql, error);

	*stmt = ledger->conn->books[book];
	return rc;
}

int cu_ledger_bind_text(struct cu_ledger *ledger, sqlite3_stmt *stmt, int parameter, const char *text,
	size_t bytes, struct catchup_error *error)
{
	return sqlite3_bind_text64(stmt, parameter, text, bytes, SQLITE_STATIC, SQLITE_UTF8) == SQLITE_OK
		? CATCHUP_OK
		: cu_ledger_failed(ledger, stmt, "binding text", error);
}

int cu_ledger_run(struct cu_ledger *ledger, sqlite3_stmt *stmt, const char *what, int *changes,
	struct catchup_error *error)
{
	if (sqlite3_step(stmt) != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, what, error);
	if (changes)
		*changes = sqlite3_changes(ledger->conn->db);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}

/* ---- watermark and counters --------------------------------------------------------------- */

static int book_load(struct cu_ledger *ledger, sqlite3_stmt **stmt, struct catchup_error *error)
{
	return cu_ledger_book(ledger, CU_BOOK_LOAD, "SELECT last FROM main.catchup WHERE name = ?1",
		stmt, error);
}

static int book_save(struct cu_ledger *ledger, sqlite3_stmt **stmt, struct catchup_error *error)
{
	return cu_ledger_book(ledger, CU_BOOK_SAVE,
		"UPDATE main.catchup SET last = ?2 WHERE name = ?1 AND last = ?3 AND (?4 = 0 OR"
		" ?4 = (SELECT fence FROM main.catchup_lease WHERE name = ?1))", stmt, error);
}

static int book_count(struct cu_ledger *ledger, sqlite3_stmt **stmt, struct catchup_error *error)
{
	return cu_ledger_book(ledger, CU_BOOK_COUNT,
		"INSERT INTO main.catchup_state(name, offered, applied, passed, parked, retries,"
		" updated_ms, counted, counted_from, counted_to, in_hand)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?2, ?8, ?9, max(?10, 0))"
		" ON CONFLICT(name) DO UPDATE SET offered = offered + ?2, applied = applied + ?3,"
		" passed = passed + ?4, parked = parked + ?5, retries = retries + ?6,"
		" updated_ms = ?7, counted = CASE counted_to WHEN ?8 THEN counted ELSE 0 END + ?2,"
		" counted_from = CASE counted_to WHEN ?8 THEN counted_from ELSE ?8 END,"
		" counted_to = ?9, in_hand = CASE WHEN ?10 < 0 THEN in_hand ELSE ?10 END", stmt, error);
}

int cu_ledger_open(struct cu_ledger *ledger, struct cu_conn *conn, const char *name,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc;

	ledger->conn = conn;
	ledger->name = name;
	/* What every batch needs is prepared now, so that a foreign table is found at start. */
	rc = book_load(ledger, &stmt, error);
	if (rc == CATCHUP_OK)
		rc = book_save(ledger, &stmt, error);
	if (rc == CATCHUP_OK)
		rc = book_count(ledger, &stmt, error);
	return rc;
}

int cu_ledger_load(struct cu_ledger *ledger, int64_t *watermark, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = book_load(ledger, &stmt, error);

	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "reading the watermark", error);
	*watermark = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}

/* The first save of a consumer makes its row; ON CONFLICT: another process was faster. */
static int save_first(struct cu_ledger *ledger, int64_t next, int64_t fence, int *changes,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_FIRST,
		"INSERT INTO main.catchup(name, last) SELECT ?1, ?2 WHERE ?3 = 0 OR"
		" ?3 = (SELECT fence FROM main.catchup_lease WHERE name = ?1)"
		" ON CONFLICT(name) DO NOTHING", &stmt, error);

	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, next);
	sqlite3_bind_int64(stmt, 3, fence);
	return cu_ledger_run(ledger, stmt, "saving the first watermark", changes, error);
}

static int add_counts(struct cu_ledger *ledger, int64_t from, int64_t to,
	const struct cu_counts *add, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = book_count(ledger, &stmt, error);

	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, add->offered);
	sqlite3_bind_int64(stmt, 3, add->applied);
	sqlite3_bind_int64(stmt, 4, add->passed);
	sqlite3_bind_int64(stmt, 5, add->parked);
	sqlite3_bind_int64(stmt, 6, add->retries);
	sqlite3_bind_int64(stmt, 7, cu_os_wall_ms());
	sqlite3_bind_int64(stmt, 8, from);
	sqlite3_bind_int64(stmt, 9, to);
	sqlite3_bind_int64(stmt, 10, add->in_hand);
	return cu_ledger_run(ledger, stmt, "saving the counters", NULL, error);
}

/* Rarely there is something to add, so it has a statement of its own. */
static int add_vanished(struct cu_ledger *ledger, int64_t vanished, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_ledger_ready(ledger, &stmt,
		"UPDATE main.catchup_state SET vanished = vanished + ?2 WHERE name = ?1", error);

	if (rc == CATCHUP_OK) {
		sqlite3_bind_int64(stmt, 2, vanished);
		rc = cu_ledger_run(ledger, stmt, "saving the counters", NULL, error);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int move_watermark(struct cu_ledger *ledger, int64_t expected, int64_t next, int64_t fence,
	bool *lost, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int changes = 0;
	int rc = book_save(ledger, &stmt, error);

	*lost = false;
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(cu_conn_in_transaction(ledger->conn));
	CU_CHECK(expected >= 0 && next >= 0 && fence >= 0);
	sqlite3_bind_int64(stmt, 2, next);
	sqlite3_bind_int64(stmt, 3, expected);
	sqlite3_bind_int64(stmt, 4, fence);
	rc = cu_ledger_run(ledger, stmt, "saving the watermark", &changes, error);
	if (rc == CATCHUP_OK && changes == 0 && expected == 0)
		rc = save_first(ledger, next, fence, &changes, error);
	*lost = rc == CATCHUP_OK && changes == 0;
	return rc;
}

int cu_ledger_save(struct cu_ledger *ledger, int64_t expected, int64_t next, int64_t fence,
	const struct cu_counts *add, bool *lost, struct catchup_error *error)
{
	int rc;

	/* Going back would offer rows again whose effects are committed. */
	CU_CHECK(next >= expected);
	rc = move_watermark(ledger, expected, next, fence, lost, error);
	if (rc != CATCHUP_OK || !add || *lost)
		return rc;
	rc = add_counts(ledger, expected, next, add, error);
	return rc == CATCHUP_OK && add->vanished > 0 ? add_vanished(ledger, add->vanished, error) : rc;
}

int cu_ledger_restart(struct cu_ledger *ledger, int64_t expected, int64_t next, int64_t fence,
	bool *lost, struct catchup_error *error)
{
	int rc = move_watermark(ledger, expected, next, fence, lost, error);

	/* From and to the same id: what was counted before is of another order. */
	return rc == CATCHUP_OK && !*lost
		? add_counts(ledger, next, next, &(struct cu_counts){0}, error) : rc;
}

/* ---- fingerprint and state ---------------------------------------------------------------- */

int cu_ledger_save_mark(struct cu_ledger *ledger, int64_t id, int64_t hash,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_MARK,
		"INSERT INTO main.catchup_state(name, mark_id, mark_hash) VALUES (?1, ?2, ?3)"
		" ON CONFLICT(name) DO UPDATE SET mark_id = ?2, mark_hash = ?3", &stmt, error);

	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(cu_conn_in_transaction(ledger->conn));
	sqlite3_bind_int64(stmt, 2, id);
	sqlite3_bind_int64(stmt, 3, hash);
	return cu_ledger_run(ledger, stmt, "saving the fingerprint", NULL, error);
}

int cu_ledger_load_mark(struct cu_ledger *ledger, int64_t *id, int64_t *hash, bool *known,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_ledger_ready(ledger, &stmt, "SELECT mark_id, mark_hash FROM main.catchup_state"
		" WHERE name = ?1 AND mark_id IS NOT NULL", error);

	*known = false;
	*id = *hash = 0;
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		*known = true;
		*id = sqlite3_column_int64(stmt, 0);
		*hash = sqlite3_column_int64(stmt, 1);
	}
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? CATCHUP_OK
		: cu_ledger_failed(ledger, stmt, "reading the fingerprint", error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_load_trouble(struct cu_ledger *ledger, int *state, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_TROUBLE,
		"SELECT state FROM main.catchup_state WHERE name = ?1 AND code <> 0", &stmt, error);

	*state = CATCHUP_STATE_IDLE;
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "reading the state", error);
	if (rc == SQLITE_ROW)
		*state = sqlite3_column_int(stmt, 0);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}

int cu_ledger_save_trouble(struct cu_ledger *ledger, const struct cu_trouble *trouble,
	struct catchup_error *error)
{
	bool cleared = trouble->code == CATCHUP_OK;
	const char *category = cleared ? "" : trouble->category;
	const char *message = cleared ? "" : trouble->message;
	struct cu_own_transaction t;
	sqlite3_stmt *stmt;
	int rc;

	/* The same trouble told again keeps the time when it began. */
	rc = cu_ledger_book(ledger, CU_BOOK_STATE,
		"INSERT INTO main.catchup_state(name, state, code, category, error_row, message, since_ms)"
		" SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE ?8 = 0 OR"
		" ?8 = (SELECT fence FROM main.catchup_lease WHERE name = ?1)"
		" ON CONFLICT(name) DO UPDATE SET since_ms ="
		" CASE WHEN code = ?3 AND category IS ?4 AND error_row = ?5 THEN since_ms ELSE ?7 END,"
		" state = ?2, code = ?3, category = ?4, error_row = ?5, message = ?6", &stmt,
		error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_own_begin(&t, ledger->conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int(stmt, 2, cleared ? CATCHUP_STATE_IDLE : trouble->state);
	sqlite3_bind_int(stmt, 3, trouble->code);
	sqlite3_bind_int64(stmt, 5, cleared ? 0 : trouble->row);
	sqlite3_bind_int64(stmt, 7, cleared ? 0
		: trouble->since_ms ? trouble->since_ms : cu_os_wall_ms());
	sqlite3_bind_int64(stmt, 8, trouble->fence);
	rc = cu_ledger_bind_text(
		ledger, stmt, 4, cleared ? NULL : category, strlen(category), error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_bind_text(
			ledger, stmt, 6, cleared ? NULL : message, strlen(message), error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_run(ledger, stmt, "saving the state", NULL, error);
	/* The texts are the caller's. */
	sqlite3_bind_null(stmt, 4);
	sqlite3_bind_null(stmt, 6);
	return cu_own_end(&t, rc, error);
}
