/* SPDX-License-Identifier: MIT */
/*
 * rtl433_models - how many messages of which radio model were heard: the smallest C consumer.
 *
 * Follows  rtl433_raw(id, ..., model, ...).
 * Writes   rtl433_models(model, messages, newest): newest is the id of the last message.
 */
#include <catchup/consumer.h>

static int models_open(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *count;

	if (sqlite3_prepare_v2(ctx->db,
		    "INSERT INTO rtl433_models(model, messages, newest) VALUES (?1, 1, ?2) ON CONFLICT"
		    " DO UPDATE SET messages = messages + 1, newest = excluded.newest",
		    -1, &count, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot prepare");
	*state = count;
	return CATCHUP_ROW_APPLIED;
}

static int models_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	sqlite3_stmt *count = state;

	sqlite3_bind_value(count, 1, sqlite3_column_value(row, 1));
	sqlite3_bind_value(count, 2, sqlite3_column_value(row, 0));
	sqlite3_step(count);
	if (sqlite3_reset(count) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot count the message");
	return CATCHUP_ROW_APPLIED;
}

static void models_close(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

CATCHUP_CONSUMER(rtl433_models) = {
	CATCHUP_CONSUMER_ABI,
	.name = "rtl433_models",
	.summary = "messages per radio model",
	.source = "rtl433_raw",
	.next = "SELECT id, coalesce(model, '') AS model FROM rtl433_raw"
		" WHERE id > @last AND id <= @max ORDER BY id",
	.setup = "CREATE TABLE IF NOT EXISTS rtl433_models(model TEXT PRIMARY KEY,"
		 " messages INTEGER NOT NULL, newest INTEGER NOT NULL) WITHOUT ROWID",
	.open = models_open,
	.row = models_row,
	.close = models_close,
	.reset = "DELETE FROM rtl433_models",
};
