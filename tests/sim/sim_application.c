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

bool story_try(sqlite3 *db, const char *sql)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	SIM_CHECK(rc == SQLITE_OK || rc == SQLITE_BUSY, "%s: %s", sql, sqlite3_errmsg(db));
	return rc == SQLITE_OK;
}

void story_exec(sqlite3 *db, const char *fmt, ...)
{
	char sql[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sql, sizeof(sql), fmt, ap);
	va_end(ap);
	SIM_CHECK(story_try(db, sql), "%s: locked", sql);
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

	story_exec(db, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < n; i++) {
		struct story_row *row = &rows[i];

		*row = (struct story_row){.value = sim_chance(story.bad) ? BAD_VALUE
									 : (int64_t)sim_below(999)};
		snprintf(row->key, sizeof(row->key), "k%d", (int)sim_below(5));
		if (story.sparse) {
			row->id = (i ? rows[i - 1].id : story.last_id) +
				sim_between(1, sim_below(2) ? 3 : INT64_C(10000000000));
			story_exec(db, "INSERT INTO items(id, k, v) VALUES (%lld, '%s', %lld)",
				(long long)row->id, row->key, (long long)row->value);
		} else {
			story_exec(db, "INSERT INTO items(k, v) VALUES ('%s', %lld)", row->key,
				(long long)row->value);
			row->id = sqlite3_last_insert_rowid(db);
		}
		dawdle();
	}
	/* What is rolled back was never there, though its ids may come again. */
	if (sim_chance(100000)) {
		story_exec(db, "ROLLBACK");
		return;
	}
	story_exec(db, "COMMIT");
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
	story_exec(db, "BEGIN IMMEDIATE");
	story_exec(db, "DELETE FROM items WHERE id = %lld", (long long)story.rows[at].id);
	dawdle();
	/* Said before it is done: from now on it may be gone. */
	story.rows[at].deleted = true;
	story_exec(db, "COMMIT");
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
	sqlite3_close(db);
	story.applications_left--;
}
