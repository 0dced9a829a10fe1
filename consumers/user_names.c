/* SPDX-License-Identifier: MIT */
/*
 * user_names - a cache table kept fresh from a changelog: the worked example of a consumer that is
 * driven by events.
 *
 * Follows  the changelog given with --changelog, events of family app, table users.
 * Reads    users(id INTEGER PRIMARY KEY, name TEXT).
 * Writes   user_names(id, name): for each user, the name as it was after the last event.
 *
 * An event says which row changed, not how: the row is read as it is now. A row that is gone is
 * dropped. Where events may have been missed, resync builds the whole table anew, in the same
 * transaction as the watermark; so the cache is never silently stale.
 *
 * Passed over: events whose key is not one integer.
 */
#include <catchup/consumer.h>

#include <stdlib.h>

struct names {
	sqlite3_stmt *refresh;
	sqlite3_stmt *drop;
};

static void names_close(struct catchup_context *ctx, void *state)
{
	struct names *n = state;

	(void)ctx;
	sqlite3_finalize(n->refresh);
	sqlite3_finalize(n->drop);
	free(n);
}

static int names_open(struct catchup_context *ctx, void **state)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	if (sqlite3_prepare_v2(ctx->db,
		    "INSERT INTO user_names(id, name) SELECT id, name FROM users WHERE id = ?1"
		    " ON CONFLICT(id) DO UPDATE SET name = excluded.name",
		    -1, &n->refresh, NULL) != SQLITE_OK ||
		sqlite3_prepare_v2(ctx->db, "DELETE FROM user_names WHERE id = ?1", -1, &n->drop,
			NULL) != SQLITE_OK) {
		names_close(ctx, n);
		return catchup_fail_db(ctx, "cannot prepare");
	}
	*state = n;
	return CATCHUP_ROW_APPLIED;
}

static int run(struct catchup_context *ctx, sqlite3_stmt *stmt, int64_t id, const char *what)
{
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_step(stmt);
	if (sqlite3_reset(stmt) != SQLITE_OK)
		return catchup_fail(ctx, sqlite3_extended_errcode(ctx->db), "%s user %lld: %s", what,
			(long long)id, sqlite3_errmsg(ctx->db));
	return CATCHUP_ROW_APPLIED;
}

static int names_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	struct names *n = state;
	int64_t id;

	if (event->n_keys != 1 || event->keys[0].kind != CATCHUP_KEY_INT)
		return CATCHUP_ROW_PASSED;
	id = event->keys[0].integer;
	if (run(ctx, n->drop, id, "dropping") != CATCHUP_ROW_APPLIED)
		return CATCHUP_ROW_FAILED;
	return run(ctx, n->refresh, id, "refreshing");
}

static int names_resync(struct catchup_context *ctx, void *state,
	const struct catchup_out_of_sync *why)
{
	(void)state;
	(void)why;
	if (sqlite3_exec(ctx->db,
		    "DELETE FROM user_names; INSERT INTO user_names(id, name) SELECT id, name FROM users",
		    NULL, NULL, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "building the names anew");
	return CATCHUP_ROW_APPLIED;
}

CATCHUP_CONSUMER(user_names) = {
	CATCHUP_CONSUMER_ABI,
	.name = "user_names",
	.summary = "keeps a cache of user names fresh from a changelog",
	.source = "changelog:app.users",
	.setup = "CREATE TABLE IF NOT EXISTS user_names(id INTEGER PRIMARY KEY, name TEXT)",
	.open = names_open,
	.event = names_event,
	.resync = names_resync,
	.close = names_close,
};
