/* SPDX-License-Identifier: MIT */
/*
 * mapped - a consumer in two steps, as a module: `map` reads a message on any worker, `apply` writes what
 * came of it, in order.
 *
 * Follows  rtl433_raw. Writes mapped(line).
 */
#include <catchup/consumer.h>

#include <stdlib.h>
#include <string.h>

static int mapped_open(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *insert = NULL;

	/* Workers other than 0 only map. */
	if (ctx->worker == 0 &&
		sqlite3_prepare_v2(ctx->db, "INSERT INTO mapped VALUES (?1 || ' ' || ?2)", -1, &insert,
			NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "preparing");
	*state = insert;
	return CATCHUP_ROW_APPLIED;
}

static int mapped_map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	const char *model = (const char *)sqlite3_column_text(row, 1);

	(void)state;
	*result = model ? strdup(model) : NULL;
	if (!*result)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	return CATCHUP_ROW_APPLIED;
}

static int mapped_apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	sqlite3_stmt *insert = state;

	sqlite3_bind_int64(insert, 1, id);
	sqlite3_bind_text(insert, 2, result, -1, SQLITE_STATIC);
	sqlite3_step(insert);
	if (sqlite3_reset(insert) != SQLITE_OK)
		return catchup_fail_db(ctx, "writing");
	return CATCHUP_ROW_APPLIED;
}

static void mapped_close(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

CATCHUP_CONSUMER(mapped) = {
	CATCHUP_CONSUMER_ABI,
	.name = "mapped",
	.summary = "copies models of messages, read in parallel",
	.source = "rtl433_raw",
	.next = "SELECT id, model FROM rtl433_raw WHERE id > @last AND id <= @max ORDER BY id",
	.setup = "CREATE TABLE IF NOT EXISTS mapped(line TEXT NOT NULL)",
	.open = mapped_open,
	.map = mapped_map,
	.apply = mapped_apply,
	.discard = free,
	.close = mapped_close,
};
