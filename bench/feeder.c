/* SPDX-License-Identifier: MIT */
/*
 * catchup-feed - an application that owns a database and inserts radio messages into it, at a given
 * speed; and a reader that prints the result of a SQL file.
 *
 * It knows nothing of catchup: it opens SQLite as any program would, with a plain busy timeout, and
 * tells at the end how long it had to wait for the write lock. It fails when it stays locked out.
 */
#include "feed_messages.h"

#include "honeywell5800.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUSY_TIMEOUT_MS 60000

static const char usage[] =
	"usage: catchup-feed DATABASE [--rows N] [--rate N] [--batch N] [--seed N] [--sensors N]\n"
	"       catchup-feed DATABASE --query FILE\n"
	"\n"
	"Inserts radio messages into the table rtl433_raw, which is made if it is missing.\n"
	"  --rows N     how many (100000)\n"
	"  --rate N     rows per second; 0: as fast as it goes (0)\n"
	"  --batch N    rows of one transaction (50)\n"
	"  --seed N     the same seed makes the same messages (1)\n"
	"  --sensors N  sensors in the neighbourhood, 1 to 1000 (200)\n"
	"Prints what was inserted and the longest wait for the write lock.\n"
	"  --query FILE reads instead: runs the SQL of FILE and prints rows, tabs between columns\n";

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS rtl433_raw("
	" id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
	" time TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),"
	" freqMHz INTEGER NOT NULL CHECK(freqMHz > 0),"
	" model TEXT NOT NULL CHECK(model <> ''),"
	" data TEXT NOT NULL CHECK(data <> ''));\n" HONEYWELL5800_SENSORS_SCHEMA;

struct settings {
	const char *database;
	const char *query; /* NULL: insert */
	int64_t rows, rate, batch, seed, sensors;
};

struct totals {
	int64_t kind[FEED_KINDS];
	int64_t longest_wait_ms;
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until_ns(int64_t when)
{
	struct timespec t = {(time_t)(when / 1000000000), (long)(when % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* Says what went wrong on the database; returns false. */
static bool fail(sqlite3 *db, const char *what)
{
	fprintf(stderr, "catchup-feed: %s: %s\n", what, sqlite3_errmsg(db));
	return false;
}

static bool exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || fail(db, "database");
}

static bool open_database(const struct settings *settings, sqlite3 **db)
{
	int flags =
		settings->query ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

	if (sqlite3_open_v2(settings->database, db, flags, NULL) != SQLITE_OK)
		return fail(*db, settings->database);
	sqlite3_busy_timeout(*db, BUSY_TIMEOUT_MS);
	return true;
}

/* ---- reading ------------------------------------------------------------------------------ */

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	size_t used = 0, room = 1 << 16;
	char *text = malloc(room + 1);

	if (!file || !text) {
		fprintf(stderr, "catchup-feed: cannot read '%s': %s\n", path, strerror(errno));
		free(text);
		text = NULL;
		goto out;
	}
	used = fread(text, 1, room, file);
	text[used] = 0;
	if (ferror(file) || used == room) {
		fprintf(stderr, "catchup-feed: cannot read '%s', or it has 64 KiB or more\n", path);
		free(text);
		text = NULL;
	}
out:
	if (file)
		fclose(file);
	return text;
}

static void print_row(sqlite3_stmt *stmt)
{
	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		const unsigned char *text = sqlite3_column_text(stmt, i);
		printf("%s%s", i ? "\t" : "", text ? (const char *)text : "");
	}
	putchar('\n');
}

static bool run_query(sqlite3 *db, const char *path)
{
	char *text = read_file(path);
	const char *rest = text;
	bool ok = text != NULL;

	while (ok && *rest) {
		sqlite3_stmt *stmt;
		int rc;

		if (sqlite3_prepare_v2(db, rest, -1, &stmt, &rest) != SQLITE_OK) {
			ok = fail(db, path);
			break;
		}
		if (!stmt)
			continue;
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			print_row(stmt);
		if (rc != SQLITE_DONE)
			ok = fail(db, path);
		sqlite3_finalize(stmt);
	}
	free(text);
	return ok;
}

/* ---- inserting ---------------------------------------------------------------------------- */

/*
 * SQLite below 3.51.3 may damage a file when two connections write and checkpoint at the same moment,
 * and then only the other program on the file, which knows about it, checkpoints.
 */
static bool prepare_database(sqlite3 *db)
{
	return exec(db, "PRAGMA journal_mode = WAL") && exec(db, "PRAGMA synchronous = NORMAL") &&
	       (sqlite3_libversion_number() >= 3051003 ||
		       exec(db, "PRAGMA wal_autocheckpoint = 0")) &&
	       exec(db, "BEGIN IMMEDIATE") && exec(db, schema) && exec(db, "COMMIT");
}

/* The owner of the house writes down what stands where; every fourth 5816 has a wired contact that is
 * open when all is well. Sensors without a model are the neighbours', and nobody knows of them. */
static bool register_sensors(sqlite3 *db, const struct feed *feed)
{
	bool ok = exec(db, "BEGIN IMMEDIATE");

	for (int i = 0; ok && i < feed->n_sensors; i++) {
		const struct feed_sensor *sensor = &feed->sensors[i];
		if (!sensor->model)
			continue;
		char *sql = sqlite3_mprintf("INSERT OR IGNORE INTO honeywell5800_sensors(id, model,"
					    " description) VALUES (%d, %Q, 'sensor %d')",
			sensor->id, sensor->model, i);
		ok = sql && exec(db, sql);
		sqlite3_free(sql);
		if (!ok || strcmp(sensor->model, "5816") != 0 || i % 4 != 1)
			continue;
		sql = sqlite3_mprintf("INSERT OR IGNORE INTO honeywell5800_site_loops(sensor, loop,"
				      " siteLabel, siteNormallyOpen) VALUES (%d, 1, 'wired', true)",
			sensor->id);
		ok = sql && exec(db, sql);
		sqlite3_free(sql);
	}
	return ok && exec(db, "COMMIT");
}

static bool insert(sqlite3 *db, sqlite3_stmt *stmt, const struct feed_message *message)
{
	sqlite3_bind_text(stmt, 1, message->time, -1, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 2, message->freq_mhz);
	sqlite3_bind_text(stmt, 3, message->model, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 4, message->data, -1, SQLITE_STATIC);
	sqlite3_step(stmt);
	return sqlite3_reset(stmt) == SQLITE_OK || fail(db, "cannot insert");
}

/* One transaction. */
static bool insert_batch(
	sqlite3 *db, sqlite3_stmt *stmt, struct feed *feed, int64_t rows, struct totals *totals)
{
	int64_t before = now_ns();
	struct feed_message message;

	if (!exec(db, "BEGIN IMMEDIATE"))
		return false;
	int64_t wait_ms = (now_ns() - before) / 1000000;
	if (wait_ms > totals->longest_wait_ms)
		totals->longest_wait_ms = wait_ms;
	for (int64_t i = 0; i < rows; i++) {
		feed_next(feed, &message);
		if (!insert(db, stmt, &message))
			return false;
		totals->kind[message.kind]++;
	}
	return exec(db, "COMMIT");
}

static bool feed_rows(sqlite3 *db, const struct settings *settings, struct totals *totals)
{
	struct feed *feed = malloc(sizeof(*feed));
	sqlite3_stmt *stmt = NULL;
	int64_t start = now_ns(), done = 0;
	bool ok = feed != NULL;

	if (ok) {
		feed_init(feed, (uint64_t)settings->seed, (int)settings->sensors);
		ok = prepare_database(db) && register_sensors(db, feed);
	}
	if (ok &&
		sqlite3_prepare_v2(db,
			"INSERT INTO rtl433_raw(time, freqMHz, model, data) VALUES (?1, ?2, ?3, ?4)",
			-1, &stmt, NULL) != SQLITE_OK)
		ok = fail(db, "cannot prepare");
	while (ok && done < settings->rows) {
		int64_t rows = settings->rows - done;

		if (rows > settings->batch)
			rows = settings->batch;
		ok = insert_batch(db, stmt, feed, rows, totals);
		done += rows;
		if (settings->rate > 0)
			sleep_until_ns(start + done * 1000000000 / settings->rate);
	}
	sqlite3_finalize(stmt);
	free(feed);
	return ok;
}

/* ---- command line ------------------------------------------------------------------------- */

static bool take_number(
	const char *option, const char *text, int64_t low, int64_t high, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	if (errno || end == text || *end || text[0] == ' ' || *out < low || *out > high) {
		fprintf(stderr,
			"catchup-feed: --%s: '%s' is no number from %" PRId64 " to %" PRId64 "\n",
			option, text, low, high);
		return false;
	}
	return true;
}

static bool parse(int argc, char **argv, struct settings *settings)
{
	enum {
		ROWS,
		RATE,
		BATCH,
		SEED,
		SENSORS,
		NUMBERS,
		QUERY = NUMBERS
	};
	static const struct option options[] = {{"rows", required_argument, NULL, ROWS},
		{"rate", required_argument, NULL, RATE}, {"batch", required_argument, NULL, BATCH},
		{"seed", required_argument, NULL, SEED},
		{"sensors", required_argument, NULL, SENSORS},
		{"query", required_argument, NULL, QUERY}, {NULL, 0, NULL, 0}};
	static const struct {
		int64_t low, high;
	} limits[] = {{0, 1000000000}, {0, 10000000}, {1, 1000000}, {0, INT64_MAX},
		{1, FEED_SENSORS_MAX}};
	int64_t *numbers[] = {&settings->rows, &settings->rate, &settings->batch, &settings->seed,
		&settings->sensors};
	int which;

	while ((which = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (which == QUERY)
			settings->query = optarg;
		else if (which < 0 || which >= NUMBERS ||
			 !take_number(options[which].name, optarg, limits[which].low,
				 limits[which].high, numbers[which]))
			return false;
	}
	if (optind != argc - 1)
		return false;
	settings->database = argv[optind];
	return true;
}

int main(int argc, char **argv)
{
	struct settings settings = {NULL, NULL, 100000, 0, 50, 1, 200};
	struct totals totals = {{0}, 0};
	int64_t start = now_ns();
	sqlite3 *db = NULL;
	bool ok;

	if (!parse(argc, argv, &settings)) {
		fputs(usage, stderr);
		return 2;
	}
	ok = open_database(&settings, &db);
	if (ok && settings.query) {
		ok = run_query(db, settings.query);
	} else if (ok) {
		ok = feed_rows(db, &settings, &totals);
		printf("rows %" PRId64 ", sound %" PRId64 ", other models %" PRId64 ", odd %" PRId64
		       ", longest wait %" PRId64 " ms, %.1f s\n",
			totals.kind[FEED_SOUND] + totals.kind[FEED_OTHER] + totals.kind[FEED_ODD],
			totals.kind[FEED_SOUND], totals.kind[FEED_OTHER], totals.kind[FEED_ODD],
			totals.longest_wait_ms, (double)(now_ns() - start) / 1e9);
	}
	sqlite3_close(db);
	return ok ? 0 : 1;
}
