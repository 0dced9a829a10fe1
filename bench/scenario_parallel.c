/* SPDX-License-Identifier: MIT */
/*
 * scenario_parallel.c - a consumer with `map` and `apply`: rows are mapped by several workers at once
 * and applied in order.
 *
 * A map that keeps a processor busy: two workers against one, beside the loop that maps and inserts in
 * one thread. What two threads get out of this machine with the same function and nothing else is
 * told, for it is the ceiling. A map that waits, as for a service: 32 workers against one.
 */
#include "database.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#define FILE_NAME "parallel.db"
#define HASH_STEPS 12000 /* some 20 us */
#define WAIT_NS INT64_C(10000000)
#define WAITING_WORKERS 32
#define BATCH_ROWS 1000 /* by hand */

#define TABLE "CREATE TABLE IF NOT EXISTS hashes(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL);"
#define INSERT "INSERT INTO hashes(id, hash) VALUES (?1, ?2)"

struct work {
	int64_t rows;
	uint32_t workers;
	bool waits;
};

/* ---- what is done for a row --------------------------------------------------------------- */

/* Each step needs the one before it: nothing but time makes it. */
static int64_t hash(int64_t id)
{
	uint64_t x = (uint64_t)id * 0x9E3779B97F4A7C15u;

	for (int i = 0; i < HASH_STEPS; i++) {
		x ^= x >> 29;
		x *= 0xBF58476D1CE4E5B9u;
		x ^= x >> 32;
	}
	return (int64_t)(x >> 2); /* never negative, and a pointer can hold it */
}

static int map_busy(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx;
	(void)state;
	*result = (void *)(intptr_t)hash(sqlite3_column_int64(row, 0));
	return CATCHUP_ROW_APPLIED;
}

static int map_waiting(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx;
	(void)state;
	bench_sleep_ns(WAIT_NS);
	*result = (void *)(intptr_t)(sqlite3_column_int64(row, 0) * 3);
	return CATCHUP_ROW_APPLIED;
}

static int insert_hash(sqlite3_stmt *insert, int64_t id, int64_t value)
{
	sqlite3_bind_int64(insert, 1, id);
	sqlite3_bind_int64(insert, 2, value);
	sqlite3_step(insert);
	return sqlite3_reset(insert);
}

static int prepare(struct bench *b, void *context)
{
	const struct work *work = context;

	return bench_readings(b, FILE_NAME, work->rows);
}

/* Every 61st result is made again here. */
static int check(struct bench *b, void *context)
{
	const struct work *work = context;
	char sql[96];

	if (bench_expect(b, FILE_NAME, "results", "SELECT count(*) FROM hashes", work->rows) != 0 ||
		bench_expect(b, FILE_NAME, "newest result", "SELECT max(id) FROM hashes",
			work->rows) != 0)
		return -1;
	for (int64_t id = 1; id <= work->rows; id += 61) {
		snprintf(sql, sizeof(sql), "SELECT hash FROM hashes WHERE id = %" PRId64, id);
		if (bench_expect(b, FILE_NAME, "a result", sql, work->waits ? id * 3 : hash(id)) !=
			0)
			return -1;
	}
	return bench_expect(b, FILE_NAME, "watermark", "SELECT last FROM catchup", work->rows);
}

/* ---- catchup ------------------------------------------------------------------------------ */

static int open_consumer(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *insert = NULL;

	/* Workers other than 0 only map. */
	if (ctx->worker == 0 &&
		sqlite3_prepare_v3(ctx->db, INSERT, -1, SQLITE_PREPARE_PERSISTENT, &insert, NULL) !=
			SQLITE_OK)
		return catchup_fail_db(ctx, "preparing");
	*state = insert;
	return CATCHUP_ROW_APPLIED;
}

static int apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	if (insert_hash(state, id, (int64_t)(intptr_t)result) != SQLITE_OK)
		return catchup_fail_db(ctx, "writing a hash");
	return CATCHUP_ROW_APPLIED;
}

static void close_consumer(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

static int catchup_side(struct bench *b, void *context)
{
	const struct work *work = context;
	const struct catchup_consumer hasher = {
		CATCHUP_CONSUMER_ABI,
		.name = "hasher",
		.summary = "makes a hash of each id",
		.source = "readings",
		.setup = TABLE,
		.open = open_consumer,
		.map = work->waits ? map_waiting : map_busy,
		.apply = apply,
		.close = close_consumer,
	};
	const struct bench_consumer consumer = {
		.table = &hasher, .config = {.workers = work->workers}};

	return bench_catch_up(b, FILE_NAME, NULL, &consumer, 1);
}

/* ---- by hand, in one thread --------------------------------------------------------------- */

struct by_hand {
	sqlite3 *reader, *writer;
	sqlite3_stmt *next, *insert, *update;
	int64_t last;
};

static int hand_open(struct bench *b, struct by_hand *h)
{
	int rc = bench_open(b, FILE_NAME, &h->writer);

	if (rc == 0)
		rc = bench_exec(b, h->writer,
			TABLE BENCH_WATERMARKS "INSERT INTO catchup VALUES('hasher', 0)");
	if (rc == 0)
		rc = bench_prepare(b, h->writer, INSERT, &h->insert);
	if (rc == 0)
		rc = bench_prepare(b, h->writer, "UPDATE catchup SET last = ?1", &h->update);
	if (rc == 0)
		rc = bench_open_reader(b, FILE_NAME, &h->reader);
	if (rc == 0)
		rc = bench_prepare(b, h->reader,
			"SELECT id FROM readings WHERE id > ?1 ORDER BY id LIMIT ?2", &h->next);
	return rc;
}

/* Maps before it takes the write lock, as one should. */
static int hand_batch(struct bench *b, struct by_hand *h, size_t *n)
{
	int64_t ids[BATCH_ROWS], values[BATCH_ROWS];
	int rc;

	*n = 0;
	sqlite3_bind_int64(h->next, 1, h->last);
	sqlite3_bind_int64(h->next, 2, BATCH_ROWS);
	while (sqlite3_step(h->next) == SQLITE_ROW) {
		ids[*n] = sqlite3_column_int64(h->next, 0);
		values[*n] = hash(ids[*n]);
		++*n;
	}
	if (sqlite3_reset(h->next) != SQLITE_OK)
		return bench_fail(b, "%s", sqlite3_errmsg(h->reader));
	if (*n == 0)
		return 0;
	rc = bench_exec(b, h->writer, "BEGIN IMMEDIATE");
	for (size_t i = 0; i < *n && rc == 0; i++)
		if (insert_hash(h->insert, ids[i], values[i]) != SQLITE_OK)
			rc = bench_fail(b, "%s", sqlite3_errmsg(h->writer));
	h->last = ids[*n - 1];
	sqlite3_bind_int64(h->update, 1, h->last);
	if (rc == 0)
		rc = bench_step(b, h->update);
	return rc ? rc : bench_exec(b, h->writer, "COMMIT");
}

static int hand_side(struct bench *b, void *context)
{
	struct by_hand h = {0};
	size_t n = 1;
	int rc = hand_open(b, &h);

	(void)context;
	while (n > 0 && rc == 0)
		rc = hand_batch(b, &h, &n);
	sqlite3_finalize(h.next);
	sqlite3_finalize(h.insert);
	sqlite3_finalize(h.update);
	sqlite3_close(h.reader);
	sqlite3_close(h.writer);
	return rc;
}

/* ---- the ceiling -------------------------------------------------------------------------- */

struct half {
	int64_t from, to, sum;
};

static void *hash_half(void *argument)
{
	struct half *half = argument;

	for (int64_t id = half->from; id < half->to; id++)
		half->sum += hash(id) & 1;
	return NULL;
}

/* How many times as fast two threads are as one, with nothing but the function. */
static int ceiling(struct bench *b, int64_t rows)
{
	double ratios[99];
	size_t rounds = bench_rounds(b);

	for (size_t r = 0; r < rounds; r++) {
		struct half all = {.from = 0, .to = rows}, low = {.from = 0, .to = rows / 2},
			    high = {.from = rows / 2, .to = rows};
		int64_t start = bench_now_ns(), one;
		pthread_t thread;

		bench_progress(b, "the ceiling, round %zu of %zu", r + 1, rounds);
		hash_half(&all);
		one = bench_now_ns() - start;
		start = bench_now_ns();
		if (pthread_create(&thread, NULL, hash_half, &low) != 0)
			return bench_fail(b, "a thread could not be made");
		hash_half(&high);
		pthread_join(thread, NULL);
		ratios[r] = (double)one / (double)(bench_now_ns() - start);
		if (bench_check(b, all.sum == low.sum + high.sum, "two halves are not the whole") !=
			0)
			return -1;
	}
	bench_metric(b, "two bare threads / one: the ceiling here", bench_median(ratios, rounds), "");
	return 0;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static int busy(struct bench *b, int64_t rows)
{
	struct work two = {.rows = rows, .workers = 2}, one = {.rows = rows, .workers = 1};
	const struct bench_side sides[] = {
		{.name = "2 workers", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &two},
		{.name = "1 worker", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &one},
		{.name = "by hand, one thread", .prepare = prepare, .run = hand_side,
			.check = check, .context = &one},
	};

	return bench_compare(b,
		&(struct bench_comparison){.name = "busy map",
			.unit = "rows",
			.amount = rows,
			.sides = sides,
			.n_sides = 3,
			.yardstick = 1,
			.aim = 1.85},
		NULL);
}

static int waiting(struct bench *b, int64_t rows)
{
	struct work many = {.rows = rows * WAITING_WORKERS, .workers = WAITING_WORKERS,
		.waits = true};
	struct work one = {.rows = rows, .workers = 1, .waits = true};
	const struct bench_side sides[] = {
		{.name = "32 workers", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &many, .amount = many.rows},
		{.name = "1 worker", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &one},
	};

	return bench_compare(b,
		&(struct bench_comparison){.name = "map that waits 10 ms",
			.unit = "rows",
			.amount = rows,
			.sides = sides,
			.n_sides = 2,
			.yardstick = 1,
			.aim = 28},
		NULL);
}

static int run(struct bench *b)
{
	int64_t rows = bench_amount(b, 30000, 3000);
	int rc = busy(b, rows);

	if (rc == 0)
		rc = ceiling(b, rows);
	if (rc == 0)
		rc = waiting(b, rows / 300 + 1);
	return rc;
}

const struct bench_scenario bench_scenario_parallel = {
	.name = "parallel",
	.summary = "rows mapped by several workers, applied in order",
	.run = run,
};
