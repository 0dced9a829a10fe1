/* SPDX-License-Identifier: MIT */
/*
 * sim_consumers.c - the consumers of a story. Each writes what it saw into a table of its own, in the
 * order in which it saw it, so that the judge can see what was lost, doubled or out of order.
 */
#include "sim_disk.h"
#include "sim_story.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const story_names[KINDS] = {"rows", "set", "next", "mapped", "chain", "cache"};

#define OUT(name)                                                                                  \
	"CREATE TABLE IF NOT EXISTS out_" name                                                     \
	"(n INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER, k TEXT, v INTEGER CHECK(v < 1000));"    \
	"CREATE TABLE IF NOT EXISTS clash_" name "(x INTEGER PRIMARY KEY);"                        \
	"INSERT OR IGNORE INTO clash_" name " VALUES (1);"

/* ---- failing ----------------------------------------------------------------------------------- */

bool story_has_id(const struct story_ids *ids, int64_t id)
{
	for (size_t i = 0; i < ids->n; i++)
		if (ids->ids[i] == id)
			return true;
	return false;
}

static void note_failure(enum story_kind kind, int64_t id)
{
	struct story_ids *failed = &story.consumers[kind].failed;

	if (story_has_id(failed, id))
		return;
	if (failed->n == failed->room) {
		failed->room = failed->room ? 2 * failed->room : 16;
		failed->ids = realloc(failed->ids, failed->room * sizeof(*failed->ids));
		SIM_CHECK(failed->ids, "no memory");
	}
	failed->ids[failed->n++] = id;
}

static int kind_of(const struct catchup_context *ctx)
{
	int kind = 0;

	while (strcmp(story_names[kind], ctx->name) != 0)
		kind++;
	return kind;
}

/* A consumer's code takes its time. */
static void work(void)
{
	sim_counts->rows++;
	if (sim_chance(20000))
		sim_sleep(sim_between(0, 30 * CU_NS_PER_MS), "a consumer's work");
	else
		cu_os_point();
}

/* Whether this call fails, for whose sake ever; CATCHUP_ROW_APPLIED when it does not. */
static int fail_by_chance(struct catchup_context *ctx, int64_t id, int64_t value, bool writes)
{
	static const int machine[] = {SQLITE_FULL, SQLITE_IOERR, SQLITE_BUSY, SQLITE_NOMEM};
	int kind = kind_of(ctx);
	char sql[80];

	if (value >= BAD_VALUE) {
		note_failure(kind, id);
		return catchup_fail(ctx, 0, "row %lld is bad", (long long)id);
	}
	if (!sim_chance(story.row_faults))
		return CATCHUP_ROW_APPLIED;
	sim_counts->faults++;
	switch (sim_below(writes ? 4 : 3)) {
	case 0:
		SIM_TRACE("fault: %s fails at row %lld", ctx->name, (long long)id);
		note_failure(kind, id);
		return catchup_fail(ctx, SQLITE_CONSTRAINT, "row %lld fails now and then", (long long)id);
	case 3:
		/* The whole transaction goes, and the function does not even say so. */
		SIM_TRACE("fault: %s rolls back at row %lld", ctx->name, (long long)id);
		note_failure(kind, id);
		snprintf(sql, sizeof(sql), "INSERT OR ROLLBACK INTO clash_%s VALUES (1)", ctx->name);
		sqlite3_exec(ctx->db, sql, NULL, NULL, NULL);
		return CATCHUP_ROW_PASSED;
	default:
		SIM_TRACE("fault: the machine fails %s at row %lld", ctx->name, (long long)id);
		return catchup_fail(ctx, machine[sim_below(4)], "the machine failed");
	}
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* State: the statement that writes a result. */
static int open_out(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *stmt = NULL;
	char sql[80];

	if (ctx->worker > 0)
		return CATCHUP_ROW_APPLIED; /* only maps */
	snprintf(sql, sizeof(sql), "INSERT INTO out_%s(id, k, v) VALUES (?1, ?2, ?3)", ctx->name);
	if (sqlite3_prepare_v2(ctx->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		return catchup_fail_db(ctx, "preparing");
	*state = stmt;
	return CATCHUP_ROW_APPLIED;
}

static void close_out(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

static int write_out(struct catchup_context *ctx, sqlite3_stmt *out, int64_t id, const char *key,
	int64_t value)
{
	int rc;

	sqlite3_bind_int64(out, 1, id);
	sqlite3_bind_text(out, 2, key, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(out, 3, value);
	rc = sqlite3_step(out);
	sqlite3_reset(out);
	return rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "writing");
}

/* ---- row by row, also behind another one --------------------------------------------------------- */

static int take_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	int64_t id = sqlite3_column_int64(row, 0);
	int first = sqlite3_column_count(row) - 2; /* a chain's source has one column more */
	const char *key = (const char *)sqlite3_column_text(row, first);
	int64_t value = sqlite3_column_int64(row, first + 1);
	int result;

	work();
	result = fail_by_chance(ctx, id, value, true);
	if (result != CATCHUP_ROW_APPLIED)
		return result;
	if (value % 7 == 0)
		return CATCHUP_ROW_PASSED;
	return write_out(ctx, state, id, key, value);
}

static const struct catchup_consumer rows = {CATCHUP_CONSUMER_ABI, .name = "rows",
	.summary = "row by row", .source = "items", .setup = OUT("rows"), .open = open_out,
	.row = take_row, .close = close_out, .shares = 1};

static const struct catchup_consumer chain = {CATCHUP_CONSUMER_ABI, .name = "chain",
	.summary = "behind rows", .source = "out_rows", .id_column = "n", .setup = OUT("chain"),
	.open = open_out, .row = take_row, .close = close_out, .shares = 1};

/* ---- map and apply ------------------------------------------------------------------------------- */

struct mapped {
	char key[8];
	int64_t value;
};

static int map_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	struct mapped *mapped;
	int64_t id = sqlite3_column_int64(row, 0);
	int64_t value = sqlite3_column_int64(row, 2);
	int failed;

	(void)state;
	work();
	failed = fail_by_chance(ctx, id, value, false);
	if (failed != CATCHUP_ROW_APPLIED)
		return failed;
	if (value % 7 == 0)
		return CATCHUP_ROW_PASSED;
	mapped = calloc(1, sizeof(*mapped));
	SIM_CHECK(mapped, "no memory");
	snprintf(mapped->key, sizeof(mapped->key), "%s", (const char *)sqlite3_column_text(row, 1));
	mapped->value = value;
	*result = mapped;
	return CATCHUP_ROW_APPLIED;
}

static int apply_row(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	const struct mapped *mapped = result;
	int failed;

	cu_os_point();
	failed = fail_by_chance(ctx, id, mapped->value, true);
	if (failed != CATCHUP_ROW_APPLIED)
		return failed;
	return write_out(ctx, state, id, mapped->key, mapped->value);
}

static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "in two steps", .source = "items", .setup = OUT("mapped"), .open = open_out,
	.map = map_row, .apply = apply_row, .discard = free, .close = close_out, .shares = 1};

/* ---- driven by the changelog --------------------------------------------------------------------- */

static int run(struct catchup_context *ctx, const char *sql, int64_t id)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(ctx->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK && sqlite3_bind_parameter_count(stmt) > 0)
		rc = sqlite3_bind_int64(stmt, 1, id);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	rc = rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "the cache");
	sqlite3_finalize(stmt);
	return rc;
}

static int take_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	int64_t id = event->keys[0].integer;
	int result;

	(void)state;
	work();
	sim_counts->events++;
	/* Machine faults only: an event that is left out would be a stale cache. */
	if (sim_chance(story.row_faults))
		return catchup_fail(ctx, SQLITE_FULL, "the machine failed");
	result = run(ctx, "DELETE FROM cache WHERE id = ?1", id);
	if (result == CATCHUP_ROW_APPLIED)
		result = run(ctx, "INSERT INTO cache SELECT id, v FROM truth WHERE id = ?1", id);
	return result;
}

static int resync(struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	int result;

	(void)state;
	SIM_TRACE("resync: %s, expected %lld, got %lld", catchup_sync_reason_name(why->reason),
		(long long)why->expected, (long long)why->got);
	sim_counts->resyncs++;
	cu_os_point();
	if (sim_chance(story.row_faults))
		return catchup_fail(ctx, SQLITE_FULL, "the machine failed");
	result = run(ctx, "DELETE FROM cache", 0);
	return result == CATCHUP_ROW_APPLIED ? run(ctx, "INSERT INTO cache SELECT id, v FROM truth", 0)
					     : result;
}

static const struct catchup_consumer cache = {CATCHUP_CONSUMER_ABI, .name = "cache",
	.summary = "a cache", .source = "changelog:fam.truth",
	.setup = "CREATE TABLE IF NOT EXISTS cache(id INTEGER PRIMARY KEY, v INTEGER);",
	.event = take_event, .resync = resync};

/* ---- in SQL -------------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	int fd = sim_disk_open(path, O_WRONLY | O_CREAT);

	SIM_CHECK(fd >= 0 && sim_disk_write(fd, text, strlen(text), 0) > 0, "cannot write '%s'", path);
	sim_disk_close(fd);
}

void story_write_consumers(void)
{
	write_file(story.set_sql,
		"-- name: set\n-- source: items\n-- setup\n" OUT("set")
		"\n-- apply\n"
		"INSERT INTO out_set(id, k, v) SELECT id, k, v FROM items\n"
		" WHERE id > @last AND id <= @max AND v % 7 <> 0 ORDER BY id;\n");
	write_file(story.next_sql,
		"-- name: next\n-- source: items\n-- setup\n" OUT("next")
		"\n-- next\n"
		"SELECT id, k, v FROM items WHERE id > @last AND id <= @max AND v % 7 <> 0\n"
		" ORDER BY id LIMIT 3;\n"
		"-- row\n"
		"INSERT INTO out_next(id, k, v) VALUES (@id, @k, @v);\n");
}

/* ---- adding -------------------------------------------------------------------------------------- */

void story_add_consumers(struct catchup *c)
{
	static const struct catchup_consumer *const tables[KINDS] = {
		[KIND_ROWS] = &rows, [KIND_MAPPED] = &mapped, [KIND_CHAIN] = &chain,
		[KIND_CACHE] = &cache};

	for (int kind = 0; kind < KINDS; kind++) {
		const struct story_consumer *consumer = &story.consumers[kind];
		const struct catchup_consumer_config config = {
			.size = sizeof(config),
			.into = consumer->into ? story.results : NULL,
			.on_error = consumer->policy,
			.workers = kind == KIND_MAPPED ? story.workers : 0,
		};
		struct catchup_error error = {0};
		int rc;

		if (!consumer->used)
			continue;
		if (tables[kind])
			rc = catchup_add_table(c, tables[kind], &config, &error);
		else
			rc = catchup_add(c, kind == KIND_SET ? story.set_sql : story.next_sql, &config,
				&error);
		SIM_CHECK(rc == CATCHUP_OK || sim_faults.file, "adding '%s': %s", story_names[kind],
			error.message);
	}
}
