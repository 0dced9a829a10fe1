/* SPDX-License-Identifier: MIT */
#include "inside.h"

#include "program.h"

#include <catchup/consumer.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the C consumer -------------------------------------------------------------------------- */

static int table_open(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *insert;

	if (sqlite3_prepare_v2(ctx->db, "INSERT INTO tabled VALUES (?1 || ' ' || ?2)", -1, &insert,
		    NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot prepare");
	*state = insert;
	return CATCHUP_ROW_APPLIED;
}

static int table_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	sqlite3_stmt *insert = state;

	if (sqlite3_column_int64(row, 0) % 5 == 0)
		return CATCHUP_ROW_PASSED;
	if (sqlite3_bind_value(insert, 1, sqlite3_column_value(row, 0)) != SQLITE_OK ||
		sqlite3_bind_value(insert, 2, sqlite3_column_value(row, 1)) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot bind");
	sqlite3_step(insert);
	if (sqlite3_reset(insert) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot insert");
	return CATCHUP_ROW_APPLIED;
}

static void table_close(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

const struct catchup_consumer inside_table = {
	CATCHUP_CONSUMER_ABI,
	.name = "table",
	.source = "events",
	.next = "SELECT id, v FROM events WHERE id > @last AND id <= @max ORDER BY id",
	.setup = "CREATE TABLE IF NOT EXISTS tabled(line TEXT NOT NULL)",
	.open = table_open,
	.row = table_row,
	.close = table_close,
};

/* ---- the log --------------------------------------------------------------------------------- */

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char lines[16384]; /* the first of them */
static size_t used;

static void keep_line(void *context, enum catchup_log_level level, const char *subject,
	const char *message)
{
	(void)context;
	(void)level;
	pthread_mutex_lock(&mu);
	if (used < sizeof(lines))
		used += (size_t)snprintf(lines + used, sizeof(lines) - used, "%s: %s\n", subject, message);
	pthread_mutex_unlock(&mu);
}

const char *inside_log(void)
{
	return lines;
}

/* ---- the runtime ----------------------------------------------------------------------------- */

int inside_open(const char *folder, const struct catchup_options *options, struct catchup **out,
	struct catchup_error *error)
{
	struct catchup_options with = options ? *options : (struct catchup_options){0};
	char database[4096], path[4096]; /* not on the heap: allocations may be failing already */
	int rc;

	snprintf(database, sizeof(database), "%s/app.db", folder);
	used = 0;
	lines[0] = '\0';
	with.size = sizeof(with);
	with.database = database;
	with.log = keep_line;
	with.log_level = CATCHUP_LOG_WARN;
	rc = catchup_open(&with, out, error);
	for (size_t i = 0; i < WORLD_SQL_CLAIMS && rc == CATCHUP_OK; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, world_consumers[i]);
		rc = catchup_add(*out, path, NULL, error);
	}
	if (rc == CATCHUP_OK)
		rc = catchup_add_table(*out, &inside_table, NULL, error);
	if (rc != CATCHUP_OK) {
		catchup_close(*out);
		*out = NULL;
	}
	return rc;
}

int inside_run(const char *folder, const struct catchup_options *options,
	struct catchup_error *error)
{
	struct catchup *c = NULL;
	int rc = inside_open(folder, options, &c, error);

	if (rc == CATCHUP_OK)
		rc = catchup_start(c, error);
	if (rc == CATCHUP_OK)
		rc = catchup_wait(c, PATIENCE_MS, error);
	catchup_close(c);
	return rc;
}
