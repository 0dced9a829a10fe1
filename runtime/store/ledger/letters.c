/* SPDX-License-Identifier: MIT */
/*
 * letters.c - table catchup_dead, from the side of whoever looks after it.
 */
#include "store/ledger/letters.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_MS 10000

struct whole {
	struct catchup_dead_letters letters; /* first: users hold a pointer to it */
	struct catchup_dead_letter *items;
};

struct catchup_dead_letters *cu_letters_create(void)
{
	struct whole *whole = calloc(1, sizeof(*whole));

	return whole ? &whole->letters : NULL;
}

void catchup_dead_free(struct catchup_dead_letters *letters)
{
	struct whole *whole = (struct whole *)(void *)letters;

	if (!whole)
		return;
	for (size_t i = 0; i < letters->n; i++) {
		free((char *)whole->items[i].consumer);
		free((char *)whole->items[i].key);
		free((char *)whole->items[i].message);
		free((char *)whole->items[i].event);
	}
	free(whole->items);
	free(whole);
}

/* A column's bytes with a NUL behind them; NULL for NULL, or without memory (then *failed). */
static char *take(sqlite3_stmt *stmt, int column, bool *failed)
{
	const unsigned char *text = sqlite3_column_text(stmt, column);
	size_t n = (size_t)sqlite3_column_bytes(stmt, column);
	char *copy;

	if (!text)
		return NULL;
	copy = malloc(n + 1);
	if (!copy) {
		*failed = true;
		return NULL;
	}
	memcpy(copy, text, n);
	copy[n] = '\0';
	return copy;
}

static bool add(struct whole *whole, const char *consumer, sqlite3_stmt *stmt)
{
	size_t n = whole->letters.n;
	struct catchup_dead_letter *grown = realloc(whole->items, (n + 1) * sizeof(*grown));
	int64_t attempts = sqlite3_column_int64(stmt, 4);
	bool failed = false;

	if (!grown)
		return false;
	whole->items = grown;
	whole->letters.letters = grown;
	grown[n] = (struct catchup_dead_letter){
		.consumer = strdup(consumer),
		.id = sqlite3_column_int64(stmt, 0),
		.key = take(stmt, 1, &failed),
		.key_bytes = (size_t)sqlite3_column_bytes(stmt, 1),
		.code = sqlite3_column_int(stmt, 2),
		.message = take(stmt, 3, &failed),
		.attempts = attempts >= 0 ? attempts : attempts == INT64_MIN ? INT64_MAX : -attempts,
		.first_ms = sqlite3_column_int64(stmt, 5),
		.last_ms = sqlite3_column_int64(stmt, 6),
		.event = take(stmt, 7, &failed),
		.event_bytes = (size_t)sqlite3_column_bytes(stmt, 7),
		.in_hand = attempts < 0,
	};
	whole->letters.n++;
	return grown[n].consumer && grown[n].message && !failed;
}

static int failed(struct cu_conn *conn, struct catchup_error *error)
{
	return cu_error_sqlite(error, conn->db, "database '%.300s': dead letters", conn->main_path);
}

int cu_letters_read(struct catchup_dead_letters *letters, struct cu_conn *conn,
	const char *consumer, int64_t id, struct catchup_error *error)
{
	struct whole *whole = (struct whole *)(void *)letters;
	sqlite3_stmt *stmt = NULL;
	bool letters_kept, events_kept = false;
	int rc;

	cu_conn_check_owner(conn);
	rc = cu_conn_has(conn, "catchup_dead", NULL, &letters_kept, error);
	if (rc == CATCHUP_OK && letters_kept)
		rc = cu_conn_has(conn, "catchup_dead", "event", &events_kept, error);
	if (rc != CATCHUP_OK || !letters_kept)
		return rc;
	/* Where nothing has run since events are kept, there is no place for them. */
	rc = sqlite3_prepare_v2(conn->db, events_kept
		? "SELECT id, key, code, message, attempts, first_ms, last_ms, event FROM main.catchup_dead"
		  " WHERE consumer = ?1 AND (?2 = 0 OR id = ?2) ORDER BY id"
		: "SELECT id, key, code, message, attempts, first_ms, last_ms, NULL FROM main.catchup_dead"
		  " WHERE consumer = ?1 AND (?2 = 0 OR id = ?2) ORDER BY id", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, consumer, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, id);
	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			if (!add(whole, consumer, stmt))
				break;
	if (rc == SQLITE_DONE)
		rc = CATCHUP_OK;
	else
		rc = rc == SQLITE_ROW ? cu_error_nomem(error) : failed(conn, error);
	sqlite3_finalize(stmt);
	return rc;
}

/* Runs a statement about one letter, ?1 and ?2. *row: it has returned one. */
static int run_about(struct cu_conn *conn, const char *sql, const char *consumer, int64_t id, bool *row,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	cu_conn_check_owner(conn);
	CU_CHECK(cu_conn_in_transaction(conn));
	rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, consumer, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 2, id);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	*row = rc == SQLITE_ROW;
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? CATCHUP_OK : failed(conn, error);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_letters_waits(struct cu_conn *conn, const char *consumer, int64_t id, bool *waits,
	struct catchup_error *error)
{
	return run_about(conn, "SELECT 1 FROM main.catchup_dead AS this JOIN main.catchup_dead AS earlier"
		" USING (consumer, key) WHERE consumer = ?1 AND this.id = ?2 AND earlier.id < ?2 LIMIT 1",
		consumer, id, waits, error);
}

/* The same of one that changes the letter. *changed: it was there. */
static int change(struct cu_conn *conn, const char *sql, const char *consumer, int64_t id, bool *changed,
	struct catchup_error *error)
{
	bool row;
	int rc = run_about(conn, sql, consumer, id, &row, error);

	*changed = rc == CATCHUP_OK && sqlite3_changes(conn->db) > 0;
	return rc;
}

int cu_letters_in_hand(struct cu_conn *conn, const char *consumer, int64_t id, bool *in_hand,
	struct catchup_error *error)
{
	return run_about(conn, "SELECT 1 FROM main.catchup_dead WHERE consumer = ?1 AND id = ?2"
		" AND attempts < 0", consumer, id, in_hand, error);
}

int cu_letters_mark(struct cu_conn *conn, const char *consumer, int64_t id, bool *marked,
	struct catchup_error *error)
{
	return change(conn, "UPDATE main.catchup_dead SET attempts = min(attempts, -attempts) - 1"
		" WHERE consumer = ?1 AND id = ?2", consumer, id, marked, error);
}

int cu_letters_mark_back(struct cu_conn *conn, const char *consumer, int64_t id,
	struct catchup_error *error)
{
	bool changed;

	return change(conn, "UPDATE main.catchup_dead SET attempts = -attempts - 1"
		" WHERE consumer = ?1 AND id = ?2 AND attempts < 0", consumer, id, &changed, error);
}

int cu_letters_remove(struct cu_conn *conn, const char *consumer, int64_t id, bool *removed,
	struct catchup_error *error)
{
	return change(conn, "DELETE FROM main.catchup_dead WHERE consumer = ?1 AND id = ?2", consumer, id,
		removed, error);
}

int cu_letters_failed_again(struct cu_conn *conn, const char *consumer, int64_t id,
	const struct catchup_error *why, bool *kept, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_conn_prepare(conn, &stmt, error, "UPDATE main.catchup_dead SET code = ?3, message = ?4,"
		" attempts = CASE WHEN attempts < 0 THEN -attempts ELSE attempts + 1 END, last_ms = ?5"
		" WHERE consumer = ?1 AND id = ?2");
	int step;

	*kept = false;
	if (rc != CATCHUP_OK)
		return rc;
	CU_CHECK(cu_conn_in_transaction(conn));
	step = sqlite3_bind_text(stmt, 1, consumer, -1, SQLITE_STATIC);
	if (step == SQLITE_OK)
		step = sqlite3_bind_int64(stmt, 2, id);
	if (step == SQLITE_OK)
		step = sqlite3_bind_int(stmt, 3, why->detail);
	if (step == SQLITE_OK)
		step = sqlite3_bind_text(stmt, 4, why->message, -1, SQLITE_STATIC);
	if (step == SQLITE_OK)
		step = sqlite3_bind_int64(stmt, 5, cu_os_wall_ms());
	if (step == SQLITE_OK)
		step = sqlite3_step(stmt);
	if (step != SQLITE_DONE)
		rc = failed(conn, error);
	sqlite3_finalize(stmt);
	*kept = rc == CATCHUP_OK && sqlite3_changes(conn->db) > 0;
	return rc;
}

/* ---- all consumers of a database -------------------------------------------------------------- */

/* Opens the database that holds a consumer's letters. */
static int open_results(struct cu_conn *conn, const char *database, const struct cu_entry *entry,
	enum cu_role role, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = role,
		.main = entry->into[0] ? entry->into : database,
		.busy_ms = BUSY_MS,
	};

	return cu_conn_open(conn, &options, error);
}

int cu_letters_consumers(const char *database, const char *consumer, char **path,
	struct cu_entries *entries, struct catchup_error *error)
{
	struct cu_conn_options options = {.role = CU_ROLE_STATUS, .busy_ms = BUSY_MS};
	struct cu_conn conn = {0};
	int rc = cu_path_resolve(database, NULL, path, error);

	options.main = *path;
	if (rc == CATCHUP_OK)
		rc = cu_conn_open(&conn, &options, error);
	if (rc == CATCHUP_OK)
		rc = cu_entries_read(&conn, consumer, entries, error);
	cu_conn_close(&conn);
	if (rc == CATCHUP_OK && consumer && entries->n == 0)
		rc = cu_error_set(error, CATCHUP_USAGE, 0,
			"database '%.300s' knows no consumer '%.100s'", *path, consumer);
	return rc;
}

/* The first failure is the one that is told. */
static void note(int one, const struct catchup_error *why, int *rc, struct catchup_error *error)
{
	if (one == CATCHUP_OK || *rc != CATCHUP_OK)
		return;
	*rc = one;
	if (error)
		*error = *why;
}

static int read_entry(struct catchup_dead_letters *letters, const char *database,
	const struct cu_entry *entry, int64_t id, struct catchup_error *error)
{
	struct cu_conn conn = {0};
	int rc = open_results(&conn, database, entry, CU_ROLE_STATUS, error);

	if (rc == CATCHUP_OK)
		rc = cu_letters_read(letters, &conn, entry->name, id, error);
	cu_conn_close(&conn);
	return rc == CATCHUP_OK ? rc : cu_error_prefix(error, "consumer '%.200s': ", entry->name);
}

int catchup_dead_read(const char *database, const char *consumer, int64_t id,
	struct catchup_dead_letters **out, struct catchup_error *error)
{
	struct catchup_dead_letters *letters;
	struct cu_entries entries = {0};
	struct catchup_error why;
	char *path = NULL;
	bool listed;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	letters = cu_letters_create();
	if (!letters)
		return cu_error_nomem(error);
	rc = cu_letters_consumers(database, consumer, &path, &entries, error);
	listed = rc == CATCHUP_OK;
	/* One results file that is missing or broken does not hide what is in the others. */
	for (size_t i = 0; listed && i < entries.n && rc != CATCHUP_NOMEM; i++)
		note(read_entry(letters, path, &entries.items[i], id, &why), &why, &rc, error);
	cu_entries_finish(&entries);
	free(path);
	if (listed && rc != CATCHUP_NOMEM)
		*out = letters;
	else
		catchup_dead_free(letters);
	return rc;
}

static int drop_all(struct cu_conn *conn, const struct catchup_dead_letters *letters,
	int64_t *dropped, struct catchup_error *error)
{
	int rc = cu_conn_begin(conn, error);
	int64_t n = 0;
	bool removed;

	for (size_t i = 0; i < letters->n && rc == CATCHUP_OK; i++) {
		rc = cu_letters_remove(
			conn, letters->letters[i].consumer, letters->letters[i].id, &removed, error);
		n += removed;
	}
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(conn, error);
	if (rc == CATCHUP_OK)
		*dropped += n;
	cu_conn_rollback(conn);
	return rc;
}

static int drop_entry(const char *database, const struct cu_entry *entry, int64_t id, int64_t *dropped,
	struct catchup_error *error)
{
	struct catchup_dead_letters *letters = cu_letters_create();
	struct cu_conn conn = {0};
	int rc = letters ? open_results(&conn, database, entry, CU_ROLE_WRITER, error)
			 : cu_error_nomem(error);

	if (rc == CATCHUP_OK)
		rc = cu_letters_read(letters, &conn, entry->name, id, error);
	if (rc == CATCHUP_OK && letters->n > 0)
		rc = drop_all(&conn, letters, dropped, error);
	cu_conn_close(&conn);
	catchup_dead_free(letters);
	return rc == CATCHUP_OK ? rc : cu_error_prefix(error, "consumer '%.200s': ", entry->name);
}

int catchup_dead_drop(const char *database, const char *consumer, int64_t id, int64_t *dropped,
	struct catchup_error *error)
{
	struct cu_entries entries = {0};
	struct catchup_error why;
	char *path = NULL;
	int64_t n = 0;
	int rc = cu_letters_consumers(database, consumer, &path, &entries, error);
	bool listed = rc == CATCHUP_OK;

	for (size_t i = 0; listed && i < entries.n && rc != CATCHUP_NOMEM; i++)
		note(drop_entry(path, &entries.items[i], id, &n, &why), &why, &rc, error);
	cu_entries_finish(&entries);
	free(path);
	if (dropped)
		*dropped = n;
	return rc;
}
