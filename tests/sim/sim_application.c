/* SPDX-License-Identifier: MIT */
/*
 * sim_application.c - processes that own the database: they insert, delete, roll back, and hold the
 * write lock for a while, each on a connection of its own.
 */
#include "sim_story.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MOST 20

static int on_busy(void *context, int count)
{
	(void)context;
	sim_sleep(sim_between(1, 25) * CU_NS_PER_MS / 5, "the application's busy handler");
	return count < 100000;
}

sqlite3 *story_connect(const char *path)
{
	sqlite3 *db = NULL;

	SIM_CHECK(sqlite3_open_v2(path, &db,
			  SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			  NULL) == SQLITE_OK,
		"'%s' cannot be opened: %s", path, sqlite3_errmsg(db));
	sqlite3_busy_handler(db, on_busy, NULL);
	sqlite3_wal_autocheckpoint(db, 0);
	/* A checkpoint while others write is what the WAL-reset bug needs. */
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	return db;
}

void story_disconnect(sqlite3 *db)
{
	sqlite3_stmt *stmt;

	while ((stmt = sqlite3_next_stmt(db, NULL)))
		sqlite3_finalize(stmt);
	sqlite3_close(db);
}

static sqlite3_stmt *prepared(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt = NULL;

	while ((stmt = sqlite3_next_stmt(db, stmt)))
		if (strcmp(sqlite3_sql(stmt), sql) == 0)
			return stmt;
	SIM_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s", sql,
		sqlite3_errmsg(db));
	return stmt;
}

void story_exec(sqlite3 *db, const char *sql, const char *types, ...)
{
	sqlite3_stmt *stmt = prepared(db, sql);
	va_list ap;
	int rc;

	va_start(ap, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 'i')
			sqlite3_bind_int64(stmt, i + 1, va_arg(ap, int64_t));
		else
			sqlite3_bind_text(stmt, i + 1, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
	}
	va_end(ap);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		;
	SIM_CHECK(rc == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
	sqlite3_reset(stmt);
}

/* ---- rows -------------------------------------------------------------------------------------- */

static void commit_rows(const struct story_row *rows, size_t n)
{
	if (story.n_rows + n > story.room) {
		story.room = 2 * (story.n_rows + n);
		story.rows = realloc(story.rows, story.room * sizeof(*story.rows));
		SIM_CHECK(story.rows, "no memory");
	}
	memcpy(story.rows + story.n_rows, rows, n * sizeof(*rows));
	story.n_rows += n;
	story.last_id = rows[n - 1].id;
	SIM_TRACE("committed rows %lld to %lld", (long long)rows[0].id, (long long)story.last_id);
}

/* Now and then a writer takes its time with the lock held. */
static void dawdle(void)
{
	if (sim_chance(20000))
		sim_sleep(sim_between(0, 400 * CU_NS_PER_MS), "the write lock held");
	else
		cu_os_point();
}

static void insert(sqlite3 *db)
{
	struct story_row rows[BATCH_MOST];
	size_t n = 1 + sim_below(sim_below(2) ? BATCH_MOST : 2);

	story_exec(db, "BEGIN IMMEDIATE", "");
	for (size_t i = 0; i < n; i++) {
		struct story_row *row = &rows[i];

		*row = (struct story_row){.value = sim_chance(story.bad) ? BAD_VALUE
									 : (int64_t)sim_below(999)};
		snprintf(row->key, sizeof(row->key), "k%d", (int)sim_below(5));
		if (story.sparse) {
			row->id = (i ? rows[i - 1].id : story.last_id) +
				sim_between(1, sim_below(2) ? 3 : INT64_C(10000000000));
			story_exec(db, "INSERT INTO items(id, k, v) VALUES (?1, ?2, ?3)", "iti", row->id,
				row->key, row->value);
		} else {
			story_exec(db, "INSERT INTO items(k, v) VALUES (?1, ?2)", "ti", row->key,
				row->value);
			row->id = sqlite3_last_insert_rowid(db);
		}
		dawdle();
	}
	/* What is rolled back was never there, though its ids may come again. */
	if (sim_chance(100000)) {
		story_exec(db, "ROLLBACK", "");
		return;
	}
	story_exec(db, "COMMIT", "");
	commit_rows(rows, n);
	story.rows_wanted -= (int)n;
}

/* Any row but the newest, whose id would be given again unless it is AUTOINCREMENT. */
static void delete_one(sqlite3 *db)
{
	size_t at = sim_below(story.n_rows);

	if (story.n_rows == 0 || story.rows[at].deleted ||
		(!story.autoincrement && story.rows[at].id == story.last_id))
		return;
	story_exec(db, "BEGIN IMMEDIATE", "");
	story_exec(db, "DELETE FROM items WHERE id = ?1", "i", story.rows[at].id);
	dawdle();
	/* Said before it is done: from now on it may be gone. */
	story.rows[at].deleted = true;
	story_exec(db, "COMMIT", "");
	SIM_TRACE("deleted row %lld", (long long)story.rows[at].id);
}

void story_application(void *unused)
{
	sqlite3 *db = story_connect(story.database);

	(void)unused;
	while (story.rows_wanted > 0) {
		if (story.deletes && sim_below(4) == 0)
			delete_one(db);
		else
			insert(db);
		if (sim_below(3) > 0)
			sim_sleep(sim_between(0, sim_below(4) ? 5 : 200) * CU_NS_PER_MS, "the application");
	}
	story_disconnect(db);
	story.applications_left--;
}
