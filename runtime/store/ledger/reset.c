/* SPDX-License-Identifier: MIT */
/*
 * reset.c - a consumer's bookkeeping begun again at another id.
 */
#include "store/ledger/ledger.h"

#include "base/check.h"
#include "store/ledger/ledger_inside.h"

static int run_once(struct cu_ledger *ledger, int64_t id, const char *what, const char *sql,
	int *changes, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_ledger_ready(ledger, &stmt, sql, error);

	if (rc != CATCHUP_OK)
		return rc;
	sqlite3_bind_int64(stmt, 2, id);
	sqlite3_bind_int64(stmt, 3, cu_os_wall_ms());
	rc = cu_ledger_run(ledger, stmt, what, changes, error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_ledger_reset(struct cu_ledger *ledger, int64_t watermark, int64_t fence, int64_t *dropped,
	bool *lost, struct catchup_error *error)
{
	int64_t before;
	int changes = 0;
	int rc = cu_ledger_load(ledger, &before, error);

	CU_CHECK(cu_conn_in_transaction(ledger->conn) && fence > 0);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_restart(ledger, before, watermark, fence, lost, error);
	if (rc != CATCHUP_OK || *lost)
		return rc;
	rc = run_once(ledger, watermark, "dropping dead letters",
		"DELETE FROM main.catchup_dead WHERE consumer = ?1 AND id > ?2", &changes, error);
	*dropped = changes;
	if (rc == CATCHUP_OK)
		rc = run_once(ledger, watermark, "clearing the state",
			"DELETE FROM main.catchup_state WHERE name = ?1", NULL, error);
	/* What is still in the dead letters was offered once, and is all that is known of before. */
	if (rc == CATCHUP_OK)
		rc = run_once(ledger, watermark, "clearing the state",
			"INSERT INTO main.catchup_state(name, offered, parked, counted_from, counted_to,"
			" updated_ms) SELECT ?1, count(*), count(*), ?2, ?2, ?3 FROM main.catchup_dead"
			" WHERE consumer = ?1",
			NULL, error);
	return rc;
}
