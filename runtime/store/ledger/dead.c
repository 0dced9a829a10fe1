/* SPDX-License-Identifier: MIT */
/*
 * dead.c - dead letters: rows that a consumer could not process, kept with their error.
 */
#include "base/check.h"
#include "store/ledger/ledger_inside.h"

#include <string.h>

int cu_ledger_add_dead(struct cu_ledger *ledger, const struct cu_dead_letter *letter,
	struct catchup_error *error)
{
	const char *message = letter->message ? letter->message : "";
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_DEAD_ADD,
		"INSERT INTO main.catchup_dead(consumer, id, key, code, message, attempts, first_ms, last_ms,"
		" event) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8) ON CONFLICT(consumer, id) DO UPDATE SET"
		" key = ?3, code = ?4, message = ?5, attempts = max(attempts, -attempts) + ?6, last_ms = ?7,"
		" event = ?8",
		&stmt, error);

	if (rc != CATCHUP_OK)
		return rc;
	/* It commits with the watermark that passes the row, or not at all. */
	CU_CHECK(cu_conn_in_transaction(ledger->conn));
	sqlite3_bind_int64(stmt, 2, letter->id);
	sqlite3_bind_int(stmt, 4, letter->code);
	sqlite3_bind_int64(stmt, 6, letter->attempts);
	sqlite3_bind_int64(stmt, 7, cu_os_wall_ms());
	rc = cu_ledger_bind_text(ledger, stmt, 3, letter->key, letter->key_bytes, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_bind_text(ledger, stmt, 5, message, strlen(message), error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_bind_text(ledger, stmt, 8, letter->event, letter->event_bytes, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_run(ledger, stmt, "saving a dead letter", NULL, error);
	/* The texts are the caller's. */
	sqlite3_bind_null(stmt, 3);
	sqlite3_bind_null(stmt, 5);
	sqlite3_bind_null(stmt, 8);
	return rc;
}

int cu_ledger_has_dead_keys(struct cu_ledger *ledger, bool *has, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_DEAD_KEYS,
		"SELECT 1 FROM main.catchup_dead WHERE consumer = ?1 AND key IS NOT NULL LIMIT 1", &stmt,
		error);

	*has = false;
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "looking for dead letters", error);
	*has = rc == SQLITE_ROW;
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}

int cu_ledger_has_dead_key(struct cu_ledger *ledger, const char *key, size_t key_bytes, bool *has,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_DEAD_HAS,
		"SELECT 1 FROM main.catchup_dead WHERE consumer = ?1 AND key = ?2 LIMIT 1", &stmt, error);

	*has = false;
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_ledger_bind_text(ledger, stmt, 2, key, key_bytes, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "looking for a dead letter", error);
	*has = rc == SQLITE_ROW;
	sqlite3_reset(stmt);
	sqlite3_bind_null(stmt, 2);
	return CATCHUP_OK;
}
