/* SPDX-License-Identifier: MIT */
/*
 * forget.c - catchup_forget: takes away all that is kept about a consumer, but its results.
 *
 * The lease's row stays: its fence must only ever rise, so that a process that slept through all this
 * and wakes up finds that it is no longer the one who runs the consumer.
 */
#include "store/ledger/letters.h"

#include "base/error.h"
#include "store/ledger/ledger_inside.h"

#include <errno.h>
#include <stdlib.h>

#define BUSY_MS 10000

static int open_file(struct cu_conn *conn, const char *path, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_WRITER, .main = path, .busy_ms = BUSY_MS};
	int rc = cu_conn_open(conn, &options, error);

	return rc == CATCHUP_OK ? cu_ledger_create_tables(conn, error) : rc;
}

static int take_away(struct cu_ledger *ledger, const char *const *deletes, size_t n,
	struct catchup_error *error)
{
	struct cu_own_transaction t;
	int rc = cu_own_begin(&t, ledger->conn, error);

	if (rc != CATCHUP_OK)
		return rc;
	for (size_t i = 0; i < n && rc == CATCHUP_OK; i++) {
		sqlite3_stmt *stmt = NULL;

		rc = cu_ledger_ready(ledger, &stmt, deletes[i], error);
		if (rc == CATCHUP_OK)
			rc = cu_ledger_run(ledger, stmt, "forgetting it", NULL, error);
		sqlite3_finalize(stmt);
	}
	return cu_own_end(&t, rc, error);
}

/* What is kept beside its results, unless somebody runs it. */
static int forget_results(struct cu_ledger *ledger, struct catchup_error *error)
{
	static const char *const deletes[] = {
		"DELETE FROM main.catchup WHERE name = ?1",
		"DELETE FROM main.catchup_state WHERE name = ?1",
		"DELETE FROM main.catchup_dead WHERE consumer = ?1",
	};
	int64_t fence;
	int rc = cu_ledger_borrow_lease(ledger, &fence, error);

	if (rc == CATCHUP_LOCKED)
		cu_error_prefix(error, "consumer '%.200s': ", ledger->name);
	if (rc == CATCHUP_OK)
		rc = take_away(ledger, deletes, sizeof(deletes) / sizeof(deletes[0]), error);
	if (fence != 0)
		cu_ledger_drop_lease(ledger, fence, NULL);
	return rc;
}

static int in_file(const char *path, const char *consumer,
	int (*forget)(struct cu_ledger *ledger, struct catchup_error *error),
	struct catchup_error *error)
{
	struct cu_conn conn = {0};
	struct cu_ledger ledger = {0};
	int rc = open_file(&conn, path, error);

	if (rc == CATCHUP_OK)
		rc = cu_ledger_open(&ledger, &conn, consumer, error);
	if (rc == CATCHUP_OK)
		rc = forget(&ledger, error);
	cu_conn_close(&conn);
	return rc;
}

static int forget_registration(struct cu_ledger *ledger, struct catchup_error *error)
{
	static const char *const delete = "DELETE FROM main.catchup_consumer WHERE name = ?1";

	return take_away(ledger, &delete, 1, error);
}

int catchup_forget(const char *database, const char *consumer, struct catchup_error *error)
{
	struct cu_entries entries = {0};
	char *path = NULL;
	int rc;

	if (!consumer || !database)
		return cu_error_set(error, CATCHUP_USAGE, 0, "%s is missing",
			database ? "the consumer's name" : "the database");
	rc = cu_letters_consumers(database, consumer, &path, &entries, error);
	for (size_t i = 0; i < entries.n && rc == CATCHUP_OK; i++) {
		const char *into = entries.items[i].into;
		struct cu_file_stat st;

		/* A results database that was thrown away keeps nothing. */
		if (!into[0] || cu_file_stat_path(into, &st) != -ENOENT)
			rc = in_file(into[0] ? into : path, consumer, forget_results, error);
	}
	/* Last, because as long as it stands there the rest can be found and tried again. */
	if (rc == CATCHUP_OK) {
		rc = in_file(path, consumer, forget_registration, error);
		if (rc != CATCHUP_OK)
			cu_error_prefix(error, "consumer '%.200s': its watermark, counters and dead letters are "
				"gone, but it is still listed; forget it again: ", consumer);
	}
	cu_entries_finish(&entries);
	free(path);
	return rc;
}
