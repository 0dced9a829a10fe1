/* SPDX-License-Identifier: MIT */
/*
 * scenario_wal.c - the write-ahead log while much is written: its size, and what checkpoints cost.
 *
 * A consumer writes wide rows. The pause between two batches, from the last row of one to the first
 * of the next, is its commit and all that hangs on it. By hand it is taken with SQLite's automatic
 * checkpoints, at the size at which catchup begins, and without any: commits that pay for nothing,
 * the floor. Then the same beside another process that reads in long transactions, and one that never
 * ends its transaction: catchup must go on, and say who it is.
 */
#include "database.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "wal.db"
#define LOG_NAME "wal.db-wal"
#define WIDE_BYTES 400
#define BATCH_ROWS 1000
#define BOUND_MIB 64 /* catchup's default */
#define QUICK_BOUND_MIB 4
#define READ_MS "200"
#define FOREVER_MS "1000000"

#define TABLE                                                                                      \
	"CREATE TABLE IF NOT EXISTS wide(id INTEGER PRIMARY KEY, content BLOB NOT NULL);"
#define INSERT "INSERT INTO wide(id, content) VALUES (?1, ?2)"

/* ---- a process that reads ----------------------------------------------------------------- */

/* Arguments: file, how long a transaction lasts, ms. Prints a byte when the first one has begun. */
static int child(int argc, char **argv)
{
	sqlite3 *db = NULL;
	int64_t count;
	int rc = argc == 3 ? bench_open_reader(NULL, argv[1], &db) : 2;

	while (rc == 0) {
		static bool told;

		rc = bench_exec(NULL, db, "BEGIN");
		if (rc == 0)
			rc = bench_integer(NULL, db, "SELECT count(*) FROM sqlite_schema", &count);
		if (rc == 0 && !told)
			rc = bench_write_all(STDOUT_FILENO, "r", 1);
		told = true;
		bench_sleep_ns(strtoll(argv[2], NULL, 10) * 1000000);
		if (rc == 0)
			rc = bench_exec(NULL, db, "COMMIT");
		bench_sleep_ns(2000000);
	}
	sqlite3_close(db);
	return rc ? 1 : 0;
}

/* Returns its pid, or -1. */
static pid_t reader_start(struct bench *b, const char *hold_ms)
{
	char path[4096], told;
	const char *arguments[] = {path, hold_ms, NULL};
	int out = -1;
	pid_t pid;

	bench_path(b, path, sizeof(path), FILE_NAME);
	pid = bench_child_start(b, "wal", arguments, &out);
	if (pid > 0 && bench_read_all(b, out, &told, 1) != 0) {
		bench_child_end(pid, SIGKILL);
		pid = -1;
	}
	if (out >= 0)
		close(out);
	return pid;
}

/* ---- what is watched ---------------------------------------------------------------------- */

struct watch {
	char path[4096]; /* of the log */
	pthread_t thread;
	_Atomic int ending;
	int64_t most_bytes;
};

static void *watch_main(void *argument)
{
	struct watch *watch = argument;

	while (!atomic_load(&watch->ending)) {
		struct stat st;

		if (stat(watch->path, &st) == 0 && st.st_size > watch->most_bytes)
			watch->most_bytes = st.st_size;
		bench_sleep_ns(1000000);
	}
	return NULL;
}

/* Pauses between batches. Used by the one thread that writes. */
struct pauses {
	int64_t *ns;
	size_t n, room;
	int64_t last_row_ns; /* 0: none yet */
};

static void pause_ends(struct pauses *pauses, int64_t now)
{
	if (pauses->last_row_ns && pauses->n < pauses->room)
		pauses->ns[pauses->n++] = now - pauses->last_row_ns;
}

static int insert_wide(sqlite3_stmt *insert, int64_t id)
{
	static const char content[WIDE_BYTES];

	sqlite3_bind_int64(insert, 1, id);
	sqlite3_bind_blob(insert, 2, content, sizeof(content), SQLITE_STATIC);
	sqlite3_step(insert);
	return sqlite3_reset(insert);
}

/* ---- catchup ------------------------------------------------------------------------------ */

struct writer {
	sqlite3_stmt *insert;
	bool first; /* row of a batch */
};

/* Callbacks have no state of ours. Set while a runtime runs, by the thread that starts it. */
static struct pauses *current;

static int open_consumer(struct catchup_context *ctx, void **state)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	if (sqlite3_prepare_v3(ctx->db, INSERT, -1, SQLITE_PREPARE_PERSISTENT, &w->insert, NULL) !=
		SQLITE_OK) {
		free(w);
		return catchup_fail_db(ctx, "preparing");
	}
	*state = w;
	return CATCHUP_ROW_APPLIED;
}

static int batch_begin(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	((struct writer *)state)->first = true;
	return CATCHUP_ROW_APPLIED;
}

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *reading)
{
	struct writer *w = state;

	if (w->first)
		pause_ends(current, bench_now_ns());
	w->first = false;
	if (insert_wide(w->insert, sqlite3_column_int64(reading, 0)) != SQLITE_OK)
		return catchup_fail_db(ctx, "writing a row");
	return CATCHUP_ROW_APPLIED;
}

static int batch_end(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	(void)state;
	current->last_row_ns = bench_now_ns();
	return CATCHUP_ROW_APPLIED;
}

static void close_consumer(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(((struct writer *)state)->insert);
	free(state);
}

static const struct catchup_consumer widener = {
	CATCHUP_CONSUMER_ABI,
	.name = "widener",
	.summary = "writes much for each row",
	.source = "readings",
	.setup = TABLE,
	.open = open_consumer,
	.row = row,
	.batch_begin = batch_begin,
	.batch_end = batch_end,
	.close = close_consumer,
};

/* The log hook: has it named this process? Called from several threads. */
struct blame {
	char text[32]; /* "pid N" */
	_Atomic int named;
};

static void on_log(void *context, enum catchup_log_level level, const char *subject,
	const char *message)
{
	struct blame *blame = context;
	const char *found = strstr(message, blame->text);

	(void)subject;
	if (level <= CATCHUP_LOG_WARN && found && strstr(message, "write-ahead log") &&
		(found[strlen(blame->text)] < '0' || found[strlen(blame->text)] > '9'))
		atomic_store(&blame->named, 1);
}

/* blame may be NULL. */
static int by_catchup(struct bench *b, uint32_t bound_mib, struct pauses *pauses, struct blame *blame)
{
	const struct bench_consumer consumer = {.table = &widener};
	const struct catchup_options options = {
		.batch_rows = BATCH_ROWS,
		.wal_mib = bound_mib,
		.log = blame ? on_log : NULL,
		.log_context = blame,
		.log_level = CATCHUP_LOG_WARN,
	};
	int rc;

	current = pauses;
	rc = bench_catch_up(b, FILE_NAME, &options, &consumer, 1);
	current = NULL;
	return rc;
}

/* ---- by hand ------------------------------------------------------------------------------ */

struct by_hand {
	sqlite3 *reader, *writer;
	sqlite3_stmt *next, *begin, *insert, *update, *commit;
};

static int hand_open(struct bench *b, struct by_hand *h, int64_t checkpoint_pages)
{
	char sql[512];
	int rc = bench_open(b, FILE_NAME, &h->writer);

	snprintf(sql, sizeof(sql),
		"PRAGMA wal_autocheckpoint = %" PRId64 "; PRAGMA cache_size = -2048;" TABLE
			BENCH_WATERMARKS "INSERT INTO catchup VALUES('widener', 0)",
		checkpoint_pages);
	if (rc == 0)
		rc = bench_exec(b, h->writer, sql);
	if (rc == 0)
		rc = bench_prepare(b, h->writer, "BEGIN IMMEDIATE", &h->begin);
	if (rc == 0)
		rc = bench_prepare(b, h->writer, INSERT, &h->insert);
	if (rc == 0)
		rc = bench_prepare(b, h->writer, "UPDATE catchup SET last = ?1", &h->update);
	if (rc == 0)
		rc = bench_prepare(b, h->writer, "COMMIT", &h->commit);
	if (rc == 0)
		rc = bench_open_reader(b, FILE_NAME, &h->reader);
	if (rc == 0)
		rc = bench_prepare(b, h->reader,
			"SELECT * FROM readings WHERE id > ?1 ORDER BY id LIMIT ?2", &h->next);
	return rc;
}

/* One batch above *last. *rows: how many. */
static int hand_batch(struct bench *b, struct by_hand *h, struct pauses *pauses, int64_t *last,
	int64_t *rows)
{
	*rows = 0;
	sqlite3_bind_int64(h->next, 1, *last);
	sqlite3_bind_int64(h->next, 2, BATCH_ROWS);
	while (sqlite3_step(h->next) == SQLITE_ROW) {
		if (*rows == 0) {
			if (bench_step(b, h->begin) != 0)
				return -1;
			pause_ends(pauses, bench_now_ns());
		}
		*last = sqlite3_column_int64(h->next, 0);
		if (insert_wide(h->insert, *last) != SQLITE_OK)
			return bench_fail(b, "%s", sqlite3_errmsg(h->writer));
		++*rows;
	}
	pauses->last_row_ns = bench_now_ns();
	sqlite3_reset(h->next);
	if (*rows == 0)
		return 0;
	sqlite3_bind_int64(h->update, 1, *last);
	return bench_step(b, h->update) != 0 ? -1 : bench_step(b, h->commit);
}

static int run_by_hand(struct bench *b, int64_t checkpoint_pages, struct pauses *pauses)
{
	struct by_hand h = {0};
	int64_t last = 0, rows = 1;
	int rc = hand_open(b, &h, checkpoint_pages);

	while (rows > 0 && rc == 0)
		rc = hand_batch(b, &h, pauses, &last, &rows);
	sqlite3_finalize(h.next);
	sqlite3_finalize(h.begin);
	sqlite3_finalize(h.insert);
	sqlite3_finalize(h.update);
	sqlite3_finalize(h.commit);
	sqlite3_close(h.reader);
	sqlite3_close(h.writer);
	return rc;
}

/* ---- ways --------------------------------------------------------------------------------- */

enum kind { CATCHUP, AUTOMATIC, NONE };

struct way {
	const char *name;
	enum kind kind;
	const char *reader_ms; /* NULL: nobody reads */
	struct pauses pauses;  /* of all rounds */
	double most_mib[99];   /* of each round */
	double median[99], p99[99], rate[99];
};

#define WAYS 5

struct wal {
	struct bench *b;
	int64_t rows;
	uint32_t bound_mib;
	struct way ways[WAYS];
};

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int do_it(struct wal *w, struct way *way, struct blame *blame)
{
	/* Where catchup begins to checkpoint. */
	int64_t pages = (w->bound_mib / 4 < 16 ? w->bound_mib / 4 : 16) * INT64_C(256);

	way->pauses.last_row_ns = 0;
	if (way->kind == CATCHUP)
		return by_catchup(w->b, w->bound_mib, &way->pauses, blame);
	return run_by_hand(w->b, way->kind == AUTOMATIC ? pages : 0, &way->pauses);
}

static int check(struct wal *w)
{
	char content[128];

	snprintf(content, sizeof(content), "SELECT count(*) FROM wide WHERE length(content) = %d",
		WIDE_BYTES);
	if (bench_expect(w->b, FILE_NAME, "rows", content, w->rows) != 0 ||
		bench_expect(w->b, FILE_NAME, "newest row", "SELECT max(id) FROM wide", w->rows) != 0)
		return -1;
	return bench_expect(w->b, FILE_NAME, "watermark", "SELECT last FROM catchup", w->rows);
}

static int run_way(struct wal *w, struct way *way, size_t round, struct blame *blame)
{
	struct watch watch = {0};
	size_t before = way->pauses.n;
	pid_t reader = 0;
	int64_t start;
	int rc = bench_folder_renew(w->b);

	bench_progress(w->b, "round %zu of %zu, %s", round + 1, bench_rounds(w->b), way->name);
	if (rc == 0)
		rc = bench_readings(w->b, FILE_NAME, w->rows);
	if (rc == 0 && way->reader_ms && (reader = reader_start(w->b, way->reader_ms)) < 0)
		rc = -1;
	if (rc != 0)
		return rc;
	if (blame)
		snprintf(blame->text, sizeof(blame->text), "pid %ld", (long)reader);
	bench_path(w->b, watch.path, sizeof(watch.path), LOG_NAME);
	if (pthread_create(&watch.thread, NULL, watch_main, &watch) != 0)
		return bench_fail(w->b, "a thread could not be made");
	start = bench_now_ns();
	rc = do_it(w, way, blame);
	way->rate[round] = (double)w->rows * 1e9 / (double)(bench_now_ns() - start);
	atomic_store(&watch.ending, 1);
	pthread_join(watch.thread, NULL);
	if (reader > 0)
		bench_child_end(reader, SIGKILL);
	if (rc == 0)
		rc = check(w);
	if (rc != 0)
		return rc;
	way->most_mib[round] = (double)watch.most_bytes / (1 << 20);
	qsort(way->pauses.ns + before, way->pauses.n - before, sizeof(int64_t), by_time);
	way->median[round] =
		(double)bench_percentile(way->pauses.ns + before, way->pauses.n - before, 50) / 1e3;
	way->p99[round] =
		(double)bench_percentile(way->pauses.ns + before, way->pauses.n - before, 99) / 1e3;
	return 0;
}

/* A reader that never ends: the log cannot begin anew. catchup goes on and says who it is. */
static int never_ending(struct wal *w)
{
	struct way way = {.name = "a reader that never ends", .reader_ms = FOREVER_MS};
	struct wal small = *w;
	struct blame blame = {0};

	small.bound_mib = QUICK_BOUND_MIB;
	small.rows = 40000; /* some 16 MiB */
	if (run_way(&small, &way, 0, &blame) != 0)
		return -1;
	if (bench_check(w->b, atomic_load(&blame.named) != 0,
		    "the log did not say that process '%s' holds it back", blame.text) != 0)
		return -1;
	bench_note(w->b, "a reader that never ends: all rows were written, and a warning names its pid");
	return 0;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static void report(struct wal *w)
{
	struct bench *b = w->b;
	struct way *ways = w->ways;
	size_t rounds = bench_rounds(b);
	double most[WAYS], median[WAYS], p99[WAYS], rate[WAYS];

	for (size_t i = 0; i < WAYS; i++) {
		bench_times(b, ways[i].name, ways[i].pauses.ns, ways[i].pauses.n);
		most[i] = bench_median(ways[i].most_mib, rounds);
		median[i] = bench_median(ways[i].median, rounds);
		p99[i] = bench_median(ways[i].p99, rounds);
		rate[i] = bench_median(ways[i].rate, rounds);
	}
	bench_limit(b, "log, most (yardstick: automatic checkpoints)", most[0], most[1], "MiB",
		w->bound_mib);
	bench_limit(b, "log beside a slow reader, most (yardstick: automatic checkpoints)", most[3],
		most[4], "MiB", w->bound_mib);
	bench_metric(b, "pause between batches, median: catchup", median[0], "us");
	bench_metric(b, "... automatic checkpoints", median[1], "us");
	bench_metric(b, "... no checkpoints", median[2], "us");
	bench_metric(b, "pause between batches, p99: catchup", p99[0], "us");
	bench_metric(b, "... automatic checkpoints", p99[1], "us");
	bench_metric(b, "... no checkpoints", p99[2], "us");
	bench_metric(b, "catchup", rate[0], "rows/s");
	bench_metric(b, "automatic checkpoints", rate[1], "rows/s");
	bench_metric(b, "no checkpoints", rate[2], "rows/s");
	bench_metric(b, "catchup beside a slow reader", rate[3], "rows/s");
}

static int run(struct bench *b)
{
	struct wal w = {
		.b = b,
		.rows = bench_amount(b, 400000, 20000),
		.bound_mib = bench_quick(b) ? QUICK_BOUND_MIB : BOUND_MIB,
		.ways = {
			{.name = "pause, catchup", .kind = CATCHUP},
			{.name = "pause, automatic checkpoints", .kind = AUTOMATIC},
			{.name = "pause, no checkpoints", .kind = NONE},
			{.name = "pause, catchup beside a slow reader", .kind = CATCHUP,
				.reader_ms = READ_MS},
			{.name = "pause, automatic beside a slow reader", .kind = AUTOMATIC,
				.reader_ms = READ_MS},
		},
	};
	size_t room = (size_t)(w.rows / 10 + 100) * bench_rounds(b);
	int rc = 0;

	for (size_t i = 0; i < WAYS; i++) {
		w.ways[i].pauses.room = room;
		w.ways[i].pauses.ns = calloc(room, sizeof(int64_t));
		if (!w.ways[i].pauses.ns)
			rc = bench_fail(b, "out of memory");
	}
	for (size_t r = 0; r < bench_rounds(b); r++)
		for (size_t i = 0; i < WAYS && rc == 0; i++)
			rc = run_way(&w, &w.ways[i], r, NULL);
	if (rc == 0)
		report(&w);
	if (rc == 0)
		rc = never_ending(&w);
	for (size_t i = 0; i < WAYS; i++)
		free(w.ways[i].pauses.ns);
	return rc;
}

const struct bench_scenario bench_scenario_wal = {
	.name = "wal",
	.summary = "the write-ahead log: its size, and commits beside checkpoints",
	.run = run,
	.child = child,
};
