/* SPDX-License-Identifier: MIT */
/*
 * attempt.c - the row that is about to be processed by one who fears to die of it.
 */
#include "base/check.h"
#include "store/ledger/ledger_inside.h"

int cu_ledger_mark(struct cu_ledger *ledger, int64_t row, uint32_t attempts, int64_t fence, bool *lost,
	struct catchup_error *error)
{
	struct cu_own_transaction t;
	sqlite3_stmt *stmt;
	int changes = 0;
	int rc = cu_ledger_book(ledger, CU_BOOK_ATTEMPT,
		"INSERT INTO main.catchup_state(name, attempt_row, attempts, attempt_fence)"
		" SELECT ?1, ?2, ?3, ?4"
		" WHERE ?4 = (SELECT fence FROM main.catchup_lease WHERE name = ?1)"
		" ON CONFLICT(name) DO UPDATE SET attempt_row = ?2, attempts = ?3,"
		" attempt_fence = ?4", &stmt, error);

	*lost = false;
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(row > 0 && fence > 0);
	rc = cu_own_begin(&t, ledger->conn, error);
	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, row);
	sqlite3_bind_int64(stmt, 3, attempts);
	sqlite3_bind_int64(stmt, 4, fence);
	rc = cu_ledger_run(ledger, stmt, "marking a row", &changes, error);
	rc = cu_own_end(&t, rc, error);
	*lost = rc == CATCHUP_OK && changes == 0;
	return rc;
}

/* Rare: after a row that failed in care. */
int cu_ledger_mark_back(struct cu_ledger *ledger, int64_t fence, struct catchup_error *error)
{
	struct cu_own_transaction t;
	sqlite3_stmt *stmt = NULL;
	int rc = cu_ledger_ready(ledger, &stmt,
		"UPDATE main.catchup_state SET attempt_fence = -attempt_fence"
		" WHERE name = ?1 AND attempt_fence = ?2", error);

	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(fence > 0);
	rc = cu_own_begin(&t, ledger->conn, error);
	if (rc == CATCHUP_OK) {
		sqlite3_bind_int64(stmt, 2, fence);
		rc = cu_own_end(&t, cu_ledger_run(ledger, stmt, "taking a mark back", NULL, error), error);
	}
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_unmark(struct cu_ledger *ledger, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_UNMARK,
		"UPDATE main.catchup_state SET attempt_row = 0, attempts = 0 WHERE name = ?1", &stmt,
		error);

	CU_CHECK(cu_conn_in_transaction(ledger->conn));
	return rc == CATCHUP_OK
		? cu_ledger_run(ledger, stmt, "forgetting a mark", NULL, error) : rc;
}

/* Rare: when care ends. */
int cu_ledger_end_care(struct cu_ledger *ledger, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_ledger_ready(ledger, &stmt,
		"UPDATE main.catchup_state SET attempt_fence = 0 WHERE name = ?1", error);

	CU_CHECK(cu_conn_in_transaction(ledger->conn));
	if (rc == CATCHUP_OK)
		rc = cu_ledger_run(ledger, stmt, "ending the care", NULL, error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_load_attempt(struct cu_ledger *ledger, struct cu_attempt *attempt,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc = cu_ledger_book(ledger, CU_BOOK_ATTEMPT_READ, "SELECT attempt_row, attempts,"
		" attempt_fence, in_hand FROM main.catchup_state WHERE name = ?1", &stmt, error);

	*attempt = (struct cu_attempt){0};
	if (rc != CATCHUP_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		attempt->row = sqlite3_column_int64(stmt, 0);
		attempt->attempts = (uint32_t)sqlite3_column_int64(stmt, 1);
		attempt->fence = sqlite3_column_int64(stmt, 2);
		attempt->came_back = attempt->fence < 0;
		if (attempt->came_back)
			attempt->fence = -attempt->fence;
		attempt->in_hand = (uint32_t)sqlite3_column_int64(stmt, 3);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_ledger_failed(ledger, stmt, "reading the mark", error);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}
