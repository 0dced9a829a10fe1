/* SPDX-License-Identifier: MIT */
/*
 * module_deadly.c - a consumer that kills its process at the first row of `jobs` whose body is 'deadly'.
 * Built once for each kind of consumer: -DROW, -DRANGE, -DMAP. What it has seen is in `seen`, where a row
 * that is seen twice stands twice. The first kind also stops its process, as SIGSTOP does, at a row whose
 * body is 'stopping'.
 */
#include <catchup/consumer.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char setup[] = "CREATE TABLE IF NOT EXISTS seen(id INTEGER)";

static int run(struct catchup_context *ctx, const char *sql, int64_t a, int64_t b)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(ctx->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 1, a);
	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(stmt) > 1)
		rc = sqlite3_bind_int64(stmt, 2, b);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW)
			abort();
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "seeing");
}

#ifndef RANGE
static void die_of(sqlite3_stmt *row)
{
	const char *body = (const char *)sqlite3_column_text(row, 1);

	if (body && strcmp(body, "deadly") == 0)
		abort();
}
#endif

#ifdef ROW
/* In the middle of a statement, some thousand steps of SQLite's machine from its beginning and its end. */
static int stop_at(struct catchup_context *ctx, sqlite3_stmt *row)
{
	const char *body = (const char *)sqlite3_column_text(row, 1);
	sqlite3_stmt *stmt = NULL;
	int rc, n = 0;

	if (!body || strcmp(body, "stopping") != 0)
		return CATCHUP_ROW_APPLIED;
	rc = sqlite3_prepare_v2(ctx->db, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c"
		" LIMIT 4000) SELECT i FROM c", -1, &stmt, NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (++n == 2000)
			raise(SIGSTOP);
	}
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "counting");
}

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	die_of(row);
	if (stop_at(ctx, row) != CATCHUP_ROW_APPLIED)
		return CATCHUP_ROW_FAILED;
	return run(ctx, "INSERT INTO seen VALUES(?1)", sqlite3_column_int64(row, 0), 0);
}
#endif

#ifdef RANGE
static int range(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	int result;

	(void)state;
	result = run(ctx, "SELECT 1 FROM jobs WHERE id > ?1 AND id <= ?2 AND body = 'deadly'", last, max);
	if (result != CATCHUP_ROW_APPLIED)
		return result;
	return run(ctx, "INSERT INTO seen SELECT id FROM jobs WHERE id > ?1 AND id <= ?2", last, max);
}
#endif

#ifdef MAP
static int map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx, (void)state, (void)result;
	die_of(row);
	return CATCHUP_ROW_APPLIED;
}

static int apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)state, (void)result;
	return run(ctx, "INSERT INTO seen VALUES(?1)", id, 0);
}
#endif

CATCHUP_CONSUMER(deadly) = {
	CATCHUP_CONSUMER_ABI,
	.name = "deadly",
	.summary = "kills its process at a deadly row",
	.source = "jobs",
	.setup = setup,
#ifdef ROW
	.row = row,
#endif
#ifdef RANGE
	.range = range,
#endif
#ifdef MAP
	.map = map,
	.apply = apply,
#endif
};
