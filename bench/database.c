/* SPDX-License-Identifier: MIT */
#include "database.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BUSY_TIMEOUT_MS 10000
#define WAIT_MS 10000
#define WAITS 30

/* ---- SQLite ------------------------------------------------------------------------------- */

static const char *full_path(struct bench *b, char *to, size_t bytes, const char *name)
{
	if (b && name[0] != '/')
		return bench_path(b, to, bytes, name);
	snprintf(to, bytes, "%s", name);
	return to;
}

static int open_as(struct bench *b, const char *name, int flags, sqlite3 **db)
{
	char path[4096];

	if (sqlite3_open_v2(full_path(b, path, sizeof(path), name), db,
		    flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return bench_fail(b, "opening '%s': %s", path, sqlite3_errmsg(*db));
	sqlite3_busy_timeout(*db, BUSY_TIMEOUT_MS);
	return 0;
}

int bench_open(struct bench *b, const char *name, sqlite3 **db)
{
	int rc = open_as(b, name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, db);

	return rc ? rc
		  : bench_exec(b, *db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
}

int bench_open_application(struct bench *b, const char *name, sqlite3 **db)
{
	int rc = bench_open(b, name, db);

	if (rc == 0 && catchup_sqlite_has_wal_reset_bug())
		rc = bench_exec(b, *db, "PRAGMA wal_autocheckpoint = 0");
	return rc;
}

int bench_open_reader(struct bench *b, const char *name, sqlite3 **db)
{
	return open_as(b, name, SQLITE_OPEN_READONLY, db);
}

int bench_exec(struct bench *b, sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return bench_fail(b, "'%.100s': %s", sql, sqlite3_errmsg(db));
	return 0;
}

int bench_prepare(struct bench *b, sqlite3 *db, const char *sql, sqlite3_stmt **stmt)
{
	if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL) != SQLITE_OK)
		return bench_fail(b, "'%.100s': %s", sql, sqlite3_errmsg(db));
	return 0;
}

int bench_step(struct bench *b, sqlite3_stmt *stmt)
{
	sqlite3_step(stmt);
	if (sqlite3_reset(stmt) != SQLITE_OK)
		return bench_fail(b, "'%.100s': %s", sqlite3_sql(stmt),
			sqlite3_errmsg(sqlite3_db_handle(stmt)));
	return 0;
}

int bench_integer(struct bench *b, sqlite3 *db, const char *sql, int64_t *value)
{
	sqlite3_stmt *stmt = NULL;
	int rc = bench_prepare(b, db, sql, &stmt);

	*value = 0;
	if (rc == 0 && sqlite3_step(stmt) == SQLITE_ROW)
		*value = sqlite3_column_int64(stmt, 0);
	else if (rc == 0)
		rc = bench_fail(b, "'%.100s': %s", sql, sqlite3_errmsg(db));
	sqlite3_finalize(stmt);
	return rc;
}

int bench_integer_of(struct bench *b, const char *name, const char *sql, int64_t *value)
{
	sqlite3 *db = NULL;
	int rc = bench_open_reader(b, name, &db);

	if (rc == 0)
		rc = bench_integer(b, db, sql, value);
	sqlite3_close(db);
	return rc;
}

int bench_expect(
	struct bench *b, const char *name, const char *what, const char *sql, int64_t expected)
{
	int64_t value;
	int rc = bench_integer_of(b, name, sql, &value);

	if (rc == 0)
		rc = bench_check(b, value == expected, "%s: %" PRId64 " instead of %" PRId64 " (%s)",
			what, value, expected, sql);
	return rc;
}

void bench_remove_database(const char *path)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[4112];

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		snprintf(name, sizeof(name), "%s%s", path, ends[i]);
		remove(name);
	}
}

static int add_readings(struct bench *b, sqlite3 *db, int64_t rows)
{
	char sql[512];
	int rc = bench_exec(b, db,
		"CREATE TABLE IF NOT EXISTS readings(id INTEGER NOT NULL PRIMARY KEY"
		" AUTOINCREMENT, sensor INTEGER NOT NULL, value INTEGER NOT NULL)");

	snprintf(sql, sizeof(sql),
		"INSERT INTO readings(id, sensor, value)"
		" WITH RECURSIVE n(i) AS (SELECT 1 + coalesce(max(id), 0) FROM readings"
		"  UNION ALL SELECT i + 1 FROM n WHERE i < %" PRId64 ")"
		" SELECT i, i %% %d, i %% 1000 FROM n WHERE i <= %" PRId64,
		rows, BENCH_SENSORS, rows);
	return rc ? rc : bench_exec(b, db, sql);
}

int bench_readings(struct bench *b, const char *name, int64_t rows)
{
	sqlite3 *db = NULL;
	int rc = bench_open(b, name, &db);

	if (rc == 0)
		rc = add_readings(b, db, rows);
	if (rc == 0)
		rc = bench_exec(b, db, "PRAGMA wal_checkpoint(TRUNCATE)");
	sqlite3_close(db);
	return rc;
}

int bench_readings_at_once(struct bench *b, const char *name, int64_t rows, int64_t *committed_ns)
{
	sqlite3 *db = NULL;
	int rc = bench_open(b, name, &db);

	if (rc == 0)
		rc = bench_exec(b, db, "PRAGMA wal_autocheckpoint = 0; BEGIN IMMEDIATE");
	if (rc == 0)
		rc = add_readings(b, db, rows);
	if (rc == 0)
		rc = bench_exec(b, db, "COMMIT");
	*committed_ns = bench_now_ns();
	sqlite3_close(db);
	return rc;
}

int64_t bench_readings_sum(int64_t rows)
{
	int64_t rest = rows % 1000;

	return rows / 1000 * 499500 + rest * (rest + 1) / 2;
}

/* ---- catchup ------------------------------------------------------------------------------ */

int bench_write_file(struct bench *b, const char *name, const char *text)
{
	char path[4096];
	FILE *file = fopen(full_path(b, path, sizeof(path), name), "we");
	int rc = 0;

	if (!file || fputs(text, file) < 0)
		rc = -1;
	if (file && fclose(file) != 0)
		rc = -1;
	return rc ? bench_fail(b, "cannot write '%s'", path) : 0;
}

int bench_start(struct bench *b, const char *database, const struct catchup_options *options,
	const struct bench_consumer *consumers, size_t n, struct catchup **out)
{
	struct catchup_options all = options ? *options : (struct catchup_options){0};
	struct catchup_error error = {0};
	char path[4096];
	int rc;

	all.size = sizeof(all);
	/* As the program runs: applications that write are other processes. */
	all.flags |= CATCHUP_FLAG_ALONE;
	/* Batches as large as at full speed. */
	if (bench_is_slow(b) && all.batch_ms == 0)
		all.batch_ms = 1000;
	all.database = full_path(b, path, sizeof(path), database);
	rc = catchup_open(&all, out, &error);
	for (size_t i = 0; i < n && rc == CATCHUP_OK; i++) {
		struct catchup_consumer_config config = consumers[i].config;
		char file[4096];

		config.size = sizeof(config);
		if (consumers[i].table)
			rc = catchup_add_table(*out, consumers[i].table, &config, &error);
		else
			rc = catchup_add(*out,
				full_path(b, file, sizeof(file), consumers[i].file), &config,
				&error);
	}
	if (rc == CATCHUP_OK)
		rc = catchup_start(*out, &error);
	return rc == CATCHUP_OK ? 0 : bench_fail(b, "%s", error.message);
}

/* Consumers wait for room on the disk without end; a measurement does not. */
static int check_disk(struct bench *b, struct catchup *c)
{
	struct catchup_status *status;
	struct catchup_error error = {0};
	int rc = 0;

	if (catchup_status(c, &status, &error) != CATCHUP_OK)
		return bench_fail(b, "%s", error.message);
	for (size_t i = 0; i < status->n_consumers && rc == 0; i++) {
		const struct catchup_consumer_status *consumer = &status->consumers[i];

		if (consumer->error_code == CATCHUP_FULL || consumer->error_code == CATCHUP_IO)
			rc = bench_fail(b, "%s waits: %s", consumer->name, consumer->last_error);
	}
	catchup_status_free(status);
	return rc;
}

int bench_wait(struct bench *b, struct catchup *c)
{
	struct catchup_error error = {0};
	int code = CATCHUP_TIMEOUT, rc = 0;

	for (int i = 0; i < WAITS && code == CATCHUP_TIMEOUT && rc == 0; i++) {
		code = catchup_wait(c, WAIT_MS, &error);
		if (code == CATCHUP_TIMEOUT)
			rc = check_disk(b, c);
	}
	return rc == 0 && code != CATCHUP_OK ? bench_fail(b, "%s", error.message) : rc;
}

int bench_stop(struct bench *b, struct catchup *c, int rc)
{
	struct catchup_error error = {0};

	if (rc == 0 && catchup_stop(c, &error) != CATCHUP_OK)
		rc = bench_fail(b, "%s", error.message);
	catchup_close(c);
	return rc;
}

int bench_catch_up(struct bench *b, const char *database, const struct catchup_options *options,
	const struct bench_consumer *consumers, size_t n)
{
	struct catchup *c = NULL;
	int rc = bench_start(b, database, options, consumers, n, &c);

	if (rc == 0)
		rc = bench_wait(b, c);
	return bench_stop(b, c, rc);
}
