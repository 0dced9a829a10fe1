/* SPDX-License-Identifier: MIT */
/*
 * scenario_sql.c - a SQL consumer that applies its batch as a set, against the same statement run by
 * hand with the watermark in the same transaction, in the batch size that is best for it: a short
 * trial of several sizes comes first. catchup finds its size by itself, and keeps the write lock no
 * longer than its 20 ms.
 */
#include "database.h"

#include <inttypes.h>
#include <stdio.h>

#define FILE_NAME "sql.db"

#define TOTALS                                                                                     \
	"CREATE TABLE IF NOT EXISTS totals(sensor INTEGER PRIMARY KEY, n INTEGER NOT NULL,"        \
	" total INTEGER NOT NULL);\n"
#define APPLY                                                                                      \
	"INSERT INTO totals(sensor, n, total)\n"                                                   \
	"  SELECT sensor, count(*), sum(value) FROM readings WHERE id > @last AND id <= @max\n"    \
	"  GROUP BY sensor\n"                                                                      \
	"  ON CONFLICT(sensor) DO UPDATE SET n = n + excluded.n, total = total + excluded.total"

static const char consumer_file[] = "-- name: totals\n-- source: readings\n-- setup\n" TOTALS
				    "-- apply\n" APPLY ";\n";

static const int64_t batch_sizes[] = {1000, 5000, 20000, 100000};
#define N_BATCH_SIZES (sizeof(batch_sizes) / sizeof(batch_sizes[0]))

struct work {
	int64_t rows;
	int64_t batch_rows; /* by hand */
};

static int prepare(struct bench *b, void *context)
{
	const struct work *work = context;
	int rc = bench_readings(b, FILE_NAME, work->rows);

	return rc ? rc : bench_write_file(b, "totals.sql", consumer_file);
}

static int check(struct bench *b, void *context)
{
	const struct work *work = context;

	if (bench_expect(b, FILE_NAME, "rows", "SELECT sum(n) FROM totals", work->rows) != 0 ||
		bench_expect(b, FILE_NAME, "total", "SELECT sum(total) FROM totals",
			bench_readings_sum(work->rows)) != 0 ||
		bench_expect(b, FILE_NAME, "wrong totals",
			"SELECT count(*) FROM (SELECT sensor, count(*) AS c, sum(value) AS s FROM"
			" readings GROUP BY sensor) LEFT JOIN totals USING(sensor)"
			" WHERE c IS NOT n OR s IS NOT total",
			0) != 0)
		return -1;
	return bench_expect(b, FILE_NAME, "watermark", "SELECT last FROM catchup", work->rows);
}

static int catchup_side(struct bench *b, void *context)
{
	const struct bench_consumer consumer = {.file = "totals.sql"};

	(void)context;
	return bench_catch_up(b, FILE_NAME, NULL, &consumer, 1);
}

/* ---- by hand ------------------------------------------------------------------------------ */

struct by_hand {
	sqlite3 *db;
	sqlite3_stmt *newest, *begin, *apply, *update, *commit;
};

static int hand_open(struct bench *b, struct by_hand *h)
{
	int rc = bench_open(b, FILE_NAME, &h->db);

	/* 4096 pages are the 16 MiB at which catchup begins to checkpoint. */
	if (rc == 0)
		rc = bench_exec(b, h->db,
			"PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -2048;" TOTALS
				BENCH_WATERMARKS "INSERT INTO catchup VALUES ('totals', 0)");
	if (rc == 0)
		rc = bench_prepare(b, h->db, "SELECT max(id) FROM readings", &h->newest);
	if (rc == 0)
		rc = bench_prepare(b, h->db, "BEGIN IMMEDIATE", &h->begin);
	if (rc == 0)
		rc = bench_prepare(b, h->db, APPLY, &h->apply);
	if (rc == 0)
		rc = bench_prepare(b, h->db,
			"UPDATE catchup SET last = ?2 WHERE name = 'totals' AND last = ?1",
			&h->update);
	if (rc == 0)
		rc = bench_prepare(b, h->db, "COMMIT", &h->commit);
	return rc;
}

/* Ids without holes, so a batch is cut by adding. */
static int hand_batch(struct bench *b, struct by_hand *h, int64_t last, int64_t max)
{
	sqlite3_bind_int64(h->apply, sqlite3_bind_parameter_index(h->apply, "@last"), last);
	sqlite3_bind_int64(h->apply, sqlite3_bind_parameter_index(h->apply, "@max"), max);
	sqlite3_bind_int64(h->update, 1, last);
	sqlite3_bind_int64(h->update, 2, max);
	if (bench_step(b, h->begin) != 0 || bench_step(b, h->apply) != 0 ||
		bench_step(b, h->update) != 0)
		return -1;
	if (sqlite3_changes(h->db) != 1)
		return bench_fail(b, "the watermark was moved");
	return bench_step(b, h->commit);
}

static int hand_side(struct bench *b, void *context)
{
	const struct work *work = context;
	struct by_hand h = {0};
	int64_t last = 0, newest = 0;
	int rc = hand_open(b, &h);

	while (rc == 0) {
		int64_t max = last + work->batch_rows;

		if (sqlite3_step(h.newest) == SQLITE_ROW)
			newest = sqlite3_column_int64(h.newest, 0);
		sqlite3_reset(h.newest);
		if (newest == last)
			break;
		max = max < newest ? max : newest;
		rc = hand_batch(b, &h, last, max);
		last = max;
	}
	sqlite3_finalize(h.newest);
	sqlite3_finalize(h.begin);
	sqlite3_finalize(h.apply);
	sqlite3_finalize(h.update);
	sqlite3_finalize(h.commit);
	sqlite3_close(h.db);
	return rc;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static int run(struct bench *b)
{
	struct work works[N_BATCH_SIZES];
	struct bench_side trials[N_BATCH_SIZES];
	char names[N_BATCH_SIZES][64];
	double medians[N_BATCH_SIZES];
	struct work work = {.rows = bench_amount(b, 10000000, 300000)};
	size_t best = 2; /* where nothing is measured: while instructions are counted */
	int rc;

	for (size_t i = 0; i < N_BATCH_SIZES; i++) {
		works[i] = (struct work){.rows = work.rows / 5, .batch_rows = batch_sizes[i]};
		snprintf(names[i], sizeof(names[i]), "%" PRId64 " rows", batch_sizes[i]);
		trials[i] = (struct bench_side){.name = names[i],
			.prepare = prepare,
			.run = hand_side,
			.check = check,
			.context = &works[i]};
	}
	rc = bench_compare(b,
		&(struct bench_comparison){.name = "batches by hand",
			.unit = "rows",
			.amount = work.rows / 5,
			.sides = trials,
			.n_sides = N_BATCH_SIZES},
		medians);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < N_BATCH_SIZES; i++)
		if (medians[i] > medians[best])
			best = i;
	work.batch_rows = batch_sizes[best];

	const struct bench_side sides[] = {
		{.name = "catchup", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &work},
		{.name = "by hand in the best batches", .prepare = prepare, .run = hand_side,
			.check = check, .context = &work},
	};
	return bench_compare(b,
		&(struct bench_comparison){.name = "",
			.unit = "rows",
			.amount = work.rows,
			.sides = sides,
			.n_sides = 2,
			.yardstick = 1,
			.aim = 0.97,
			.instructions_amount = 100000},
		NULL);
}

const struct bench_scenario bench_scenario_sql = {
	.name = "sql",
	.summary = "a SQL consumer, against the same statement by hand",
	.run = run,
};
