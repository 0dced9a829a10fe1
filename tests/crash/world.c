/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

const struct proof_claim world_claims[WORLD_CLAIMS] = {
	{"apply", "SELECT max(id) FROM events",
		"SELECT id || ' ' || v AS line FROM events WHERE id <= ?1", "SELECT line FROM applied"},
	{"row", "SELECT max(id) FROM events",
		"SELECT id || ' ' || v AS line FROM events WHERE id <= ?1 AND id % 3 <> 1",
		"SELECT line FROM rowed"},
	{"into", "SELECT max(id) FROM source.events",
		"SELECT id || ' ' || v AS line FROM source.events WHERE id <= ?1",
		"SELECT line FROM intoed"},
	{"table", "SELECT max(id) FROM events",
		"SELECT id || ' ' || v AS line FROM events WHERE id <= ?1 AND id % 5 <> 0",
		"SELECT line FROM tabled"},
};

const char *const world_consumers[WORLD_SQL_CLAIMS] = {"apply.sql", "row.sql", "into.sql"};

static const char *const texts[WORLD_SQL_CLAIMS] = {
	"-- name: apply\n-- source: events\n-- setup\n"
	"CREATE TABLE IF NOT EXISTS applied(line TEXT NOT NULL);\n"
	"-- apply\nINSERT INTO applied SELECT id || ' ' || v FROM events\n"
	" WHERE id > @last AND id <= @max;\n",

	"-- name: row\n-- source: events\n-- setup\n"
	"CREATE TABLE IF NOT EXISTS rowed(line TEXT NOT NULL);\n"
	"-- next\nSELECT id, v FROM events\n"
	" WHERE id > @last AND id <= @max AND id % 3 <> 1 ORDER BY id LIMIT 7\n"
	"-- row\nINSERT INTO rowed VALUES (@id || ' ' || @v);\n",

	"-- name: into\n-- source: events\n-- into: results.db\n-- setup\n"
	"CREATE TABLE IF NOT EXISTS intoed(line TEXT NOT NULL);\n"
	"-- next\nSELECT id, v FROM source.events WHERE id > @last AND id <= @max ORDER BY id\n"
	"-- row\nINSERT INTO intoed VALUES (@id || ' ' || @v);\n",
};

void world_write_consumers(const char *folder)
{
	for (size_t i = 0; i < WORLD_SQL_CLAIMS; i++) {
		char *path = test_path(folder, world_consumers[i]);

		test_write_file(path, texts[i]);
		free(path);
	}
}

void world_insert_on(sqlite3 *db, int rows, const char *content, int bytes)
{
	char *sql = sqlite3_mprintf("CREATE TABLE IF NOT EXISTS events("
		"id INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT NOT NULL); INSERT INTO events(v)"
		" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
		" SELECT %Q || i || hex(zeroblob(%d)) FROM n",
		rows, content, bytes / 2);
	char *message = NULL;

	assert_non_null(sql);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_free(sql);
}

void world_insert(const char *folder, int rows, const char *content, int bytes)
{
	char *database = test_path(folder, "app.db");
	sqlite3 *db;

	assert_int_equal(sqlite3_open(database, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
	world_insert_on(db, rows, content, bytes);
	sqlite3_close(db);
	free(database);
}

bool world_verify(const char *folder, size_t claims, bool all, char *why, size_t bytes)
{
	char *app = test_path(folder, "app.db"), *results = test_path(folder, "results.db");
	bool ok = true;

	for (size_t i = 0; i < claims && ok; i++) {
		bool into = i == WORLD_INTO;
		struct proof_verdict verdict;
		struct stat st;

		if (into && !all && (stat(results, &st) != 0 || st.st_size == 0))
			continue;
		ok = proof_verify(into ? results : app, into ? app : NULL, &world_claims[i], &verdict);
		snprintf(why, bytes, "%s", verdict.message);
		if (ok && all && verdict.watermark != verdict.newest) {
			ok = false;
			snprintf(why, bytes, "%s: its watermark is %lld, not %lld",
				world_claims[i].consumer, (long long)verdict.watermark,
				(long long)verdict.newest);
		}
	}
	free(app);
	free(results);
	return ok;
}
