/* SPDX-License-Identifier: MIT */
/*
 * scenario_row.c - a C consumer row by row, against the loop of prepared statements that anybody
 * would write by hand: one connection reads, another writes, batches as large, the same pragmas, the
 * watermark updated with the results of a batch, a checkpoint at the same size of the log. The work
 * done for a row is the same function on all sides.
 *
 * The third side is the way of the Go package of the same name: one connection, and a savepoint and
 * an update of the watermark for every row. It is slow, so it does less.
 *
 * The fourth is the loop with a commit for every row: its instructions are those of a commit.
 */
#include "database.h"

#include <string.h>

#define FILE_NAME "row.db"
#define BATCH_ROWS 20000 /* catchup's default */
#define GO_PART 20       /* the Go package's way does one row of so many */
#define SMALL_PART 100   /* and so does the loop where each row has a commit of its own */

struct work {
	int64_t rows;
	int64_t batch_rows; /* by hand */
};

/* ---- what is done for a row --------------------------------------------------------------- */

#define RESULTS                                                                                    \
	"CREATE TABLE IF NOT EXISTS results(id INTEGER PRIMARY KEY, sensor INTEGER NOT NULL,"      \
	" fahrenheit INTEGER NOT NULL);"
#define INSERT "INSERT INTO results(id, sensor, fahrenheit) VALUES (?1, ?2, ?3)"

/* Returns SQLite's code, of which SQLITE_OK is the good one. */
static int convert(sqlite3_stmt *insert, sqlite3_stmt *reading)
{
	sqlite3_bind_int64(insert, 1, sqlite3_column_int64(reading, 0));
	sqlite3_bind_int64(insert, 2, sqlite3_column_int64(reading, 1));
	sqlite3_bind_int64(insert, 3, sqlite3_column_int64(reading, 2) * 9 / 5 + 320);
	sqlite3_step(insert);
	return sqlite3_reset(insert);
}

static int prepare(struct bench *b, void *context)
{
	const struct work *work = context;

	return bench_readings(b, FILE_NAME, work->rows);
}

static int check(struct bench *b, void *context)
{
	const struct work *work = context;
	const struct {
		const char *what, *sql;
		int64_t expected;
	} all[] = {
		{"results", "SELECT count(*) FROM results", work->rows},
		{"wrong results",
			"SELECT count(*) FROM readings LEFT JOIN results USING(id) WHERE"
			" fahrenheit IS NOT value * 9 / 5 + 320 OR results.sensor <> readings.sensor",
			0},
		{"watermark", "SELECT last FROM catchup", work->rows},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (bench_expect(b, FILE_NAME, all[i].what, all[i].sql, all[i].expected) != 0)
			return -1;
	return 0;
}

/* ---- catchup ------------------------------------------------------------------------------ */

static int open_consumer(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *insert;

	if (sqlite3_prepare_v3(ctx->db, INSERT, -1, SQLITE_PREPARE_PERSISTENT, &insert, NULL) !=
		SQLITE_OK)
		return catchup_fail_db(ctx, "preparing");
	*state = insert;
	return CATCHUP_ROW_APPLIED;
}

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *reading)
{
	if (convert(state, reading) != SQLITE_OK)
		return catchup_fail_db(ctx, "writing a result");
	return CATCHUP_ROW_APPLIED;
}

static void close_consumer(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

static const struct catchup_consumer converter = {
	CATCHUP_CONSUMER_ABI,
	.name = "converter",
	.summary = "degrees as Americans like them",
	.source = "readings",
	.setup = RESULTS,
	.open = open_consumer,
	.row = row,
	.close = close_consumer,
};

static int catchup_side(struct bench *b, void *context)
{
	const struct bench_consumer consumer = {.table = &converter};

	(void)context;
	return bench_catch_up(b, FILE_NAME, NULL, &consumer, 1);
}

/* ---- by hand ------------------------------------------------------------------------------ */

struct loop {
	sqlite3 *reader, *writer;
	sqlite3_stmt *next, *begin, *insert, *update, *commit;
	int64_t batch_rows;
};

static int loop_open(struct bench *b, struct loop *loop)
{
	const struct {
		sqlite3_stmt **stmt;
		const char *sql;
	} all[] = {
		{&loop->begin, "BEGIN IMMEDIATE"},
		{&loop->insert, INSERT},
		{&loop->update, "UPDATE catchup SET last = ?2 WHERE name = 'converter' AND last = ?1"},
		{&loop->commit, "COMMIT"},
	};
	int rc = bench_open(b, FILE_NAME, &loop->writer);

	/* 4096 pages are the 16 MiB at which catchup begins to checkpoint. Where each row has a commit of
	 * its own it is SQLite's 1000, as applications that write so have it. */
	if (rc == 0 && loop->batch_rows > 1)
		rc = bench_exec(b, loop->writer, "PRAGMA wal_autocheckpoint = 4096");
	if (rc == 0)
		rc = bench_exec(b, loop->writer,
			"PRAGMA cache_size = -2048;" RESULTS BENCH_WATERMARKS
			"INSERT INTO catchup VALUES ('converter', 0)");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && rc == 0; i++)
		rc = bench_prepare(b, loop->writer, all[i].sql, all[i].stmt);
	if (rc == 0)
		rc = bench_open_reader(b, FILE_NAME, &loop->reader);
	if (rc == 0)
		rc = bench_exec(b, loop->reader, "PRAGMA cache_size = -2048");
	if (rc == 0)
		rc = bench_prepare(b, loop->reader,
			"SELECT * FROM readings WHERE id > ?1 ORDER BY id LIMIT ?2", &loop->next);
	return rc;
}

static void loop_close(struct loop *loop)
{
	sqlite3_finalize(loop->next);
	sqlite3_finalize(loop->begin);
	sqlite3_finalize(loop->insert);
	sqlite3_finalize(loop->update);
	sqlite3_finalize(loop->commit);
	sqlite3_close(loop->reader);
	sqlite3_close(loop->writer);
}

static int move_watermark(struct bench *b, struct loop *loop, int64_t from, int64_t to)
{
	sqlite3_bind_int64(loop->update, 1, from);
	sqlite3_bind_int64(loop->update, 2, to);
	if (bench_step(b, loop->update) != 0)
		return -1;
	return sqlite3_changes(loop->writer) == 1 ? 0 : bench_fail(b, "the watermark was moved");
}

/* One batch above *last. *more becomes false when there was none. */
static int loop_batch(struct bench *b, struct loop *loop, int64_t *last, bool *more)
{
	int64_t from = *last;
	int rc;

	sqlite3_bind_int64(loop->next, 1, from);
	sqlite3_bind_int64(loop->next, 2, loop->batch_rows);
	rc = sqlite3_step(loop->next);
	*more = rc == SQLITE_ROW;
	if (*more && bench_step(b, loop->begin) != 0)
		return -1;
	for (; rc == SQLITE_ROW; rc = sqlite3_step(loop->next)) {
		if (convert(loop->insert, loop->next) != SQLITE_OK)
			return bench_fail(b, "%s", sqlite3_errmsg(loop->writer));
		*last = sqlite3_column_int64(loop->next, 0);
	}
	if (sqlite3_reset(loop->next) != SQLITE_OK)
		return bench_fail(b, "%s", sqlite3_errmsg(loop->reader));
	if (*more && move_watermark(b, loop, from, *last) != 0)
		return -1;
	return *more ? bench_step(b, loop->commit) : 0;
}

static int loop_side(struct bench *b, void *context)
{
	const struct work *work = context;
	struct loop loop = {.batch_rows = work->batch_rows};
	int64_t last = 0;
	bool more = true;
	int rc = loop_open(b, &loop);

	while (rc == 0 && more)
		rc = loop_batch(b, &loop, &last, &more);
	loop_close(&loop);
	return rc;
}

/* ---- the Go package's way ----------------------------------------------------------------- */

static int savepoint_side(struct bench *b, void *context)
{
	sqlite3_stmt *next = NULL, *savepoint = NULL, *insert = NULL, *update = NULL, *release = NULL;
	sqlite3 *db = NULL;
	int rc = bench_open(b, FILE_NAME, &db);

	(void)context;
	if (rc == 0)
		rc = bench_exec(b, db,
			RESULTS BENCH_WATERMARKS "INSERT INTO catchup VALUES ('converter', 0)");
	if (rc == 0)
		rc = bench_prepare(b, db, "SELECT * FROM readings WHERE id > 0 ORDER BY id", &next);
	if (rc == 0)
		rc = bench_prepare(b, db, "SAVEPOINT process", &savepoint);
	if (rc == 0)
		rc = bench_prepare(b, db, INSERT, &insert);
	if (rc == 0)
		rc = bench_prepare(b, db, "UPDATE catchup SET last = ?1 WHERE name = 'converter'",
			&update);
	if (rc == 0)
		rc = bench_prepare(b, db, "RELEASE process", &release);
	while (rc == 0 && sqlite3_step(next) == SQLITE_ROW) {
		rc = bench_step(b, savepoint);
		if (rc == 0 && convert(insert, next) != SQLITE_OK)
			rc = bench_fail(b, "%s", sqlite3_errmsg(db));
		sqlite3_bind_int64(update, 1, sqlite3_column_int64(next, 0));
		if (rc == 0)
			rc = bench_step(b, update);
		if (rc == 0)
			rc = bench_step(b, release);
	}
	sqlite3_finalize(next);
	sqlite3_finalize(savepoint);
	sqlite3_finalize(insert);
	sqlite3_finalize(update);
	sqlite3_finalize(release);
	sqlite3_close(db);
	return rc;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static int run(struct bench *b)
{
	struct work work = {.rows = bench_amount(b, 2000000, 100000), .batch_rows = BATCH_ROWS};
	struct work less = {.rows = work.rows / GO_PART + 1};
	struct work few = {.rows = work.rows / SMALL_PART + 1, .batch_rows = 1};
	const struct bench_side sides[] = {
		{.name = "catchup", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &work},
		{.name = "hand-written loop", .prepare = prepare, .run = loop_side, .check = check,
			.context = &work},
		{.name = "savepoint and watermark a row", .prepare = prepare, .run = savepoint_side,
			.check = check, .context = &less, .amount = less.rows},
		{.name = "hand-written loop, a commit a row", .prepare = prepare, .run = loop_side,
			.check = check, .context = &few, .amount = few.rows},
	};
	const struct bench_comparison comparison = {
		.name = "",
		.unit = "rows",
		.amount = work.rows,
		.sides = sides,
		.n_sides = 4,
		.yardstick = 1,
		.aim = 0.95,
		.instructions_amount = 50000,
	};
	double medians[4];
	int rc = bench_compare(b, &comparison, medians);

	if (rc == 0)
		bench_ratio_of(b, "catchup / savepoint and watermark a row", medians[0], medians[2],
			"rows/s", 40);
	return rc;
}

const struct bench_scenario bench_scenario_row = {
	.name = "row",
	.summary = "a C consumer row by row, against a hand-written loop",
	.run = run,
};
