/* SPDX-License-Identifier: MIT */
/*
 * database.h - what scenarios on databases have in common: connections as a careful application
 * opens them, a source table, and catchup run over it.
 *
 * Names of files are relative to the scenario's folder unless they begin with '/'. Functions that
 * return int return 0, or -1 after bench_fail. In a child process b is NULL, and names are absolute.
 */
#ifndef BENCH_DATABASE_H
#define BENCH_DATABASE_H

#include "bench.h"

#include <catchup/catchup.h>
#include <catchup/consumer.h>

/* ---- SQLite ------------------------------------------------------------------------------- */

/* Opens a file for writing, made if need be: WAL, synchronous NORMAL, a busy timeout of 10 s. The
 * caller closes *db with sqlite3_close, which takes what this leaves in *db also on failure. */
int bench_open(struct bench *b, const char *name, sqlite3 **db);

/* Opens it as an application does that knows nothing of catchup: SQLite checkpoints by itself, unless
 * it is one that is not safe with others then (WAL-reset bug). */
int bench_open_application(struct bench *b, const char *name, sqlite3 **db);

/* Opens a file for reading. */
int bench_open_reader(struct bench *b, const char *name, sqlite3 **db);

int bench_exec(struct bench *b, sqlite3 *db, const char *sql);
int bench_prepare(struct bench *b, sqlite3 *db, const char *sql, sqlite3_stmt **stmt);

/* Steps a statement that returns no row, and resets it. */
int bench_step(struct bench *b, sqlite3_stmt *stmt);

/* The first value of the first row. */
int bench_integer(struct bench *b, sqlite3 *db, const char *sql, int64_t *value);

/* The same on a file that is opened for it. */
int bench_integer_of(struct bench *b, const char *name, const char *sql, int64_t *value);

/* Fails when sql does not return what is expected. what: "results", for the message. */
int bench_expect(
	struct bench *b, const char *name, const char *what, const char *sql, int64_t expected);

/* Removes a database file that nobody has open, and what belongs to it. */
void bench_remove_database(const char *path);

/*
 * Makes readings(id, sensor, value) in a file, or adds to it, up to this many rows: ids 1, 2, 3, ...;
 * BENCH_SENSORS sensors in turn. What was made is checkpointed. Sums of values are known:
 * bench_readings_sum.
 */
#define BENCH_SENSORS 100
int bench_readings(struct bench *b, const char *name, int64_t rows);
/* The same while others follow the table: all rows come in one commit, nothing is checkpointed.
 * *committed_ns: when the commit returned. */
int bench_readings_at_once(struct bench *b, const char *name, int64_t rows, int64_t *committed_ns);
int64_t bench_readings_sum(int64_t rows);

/* The watermark table that catchup and hand-written loops use. */
#define BENCH_WATERMARKS                                                                           \
	"CREATE TABLE IF NOT EXISTS catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"       \
	" last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID;"

/* ---- catchup ------------------------------------------------------------------------------ */

/* Writes a text file, such as a consumer's. */
int bench_write_file(struct bench *b, const char *name, const char *text);

struct bench_consumer {
	const struct catchup_consumer *table; /* or */
	const char *file;
	struct catchup_consumer_config config; /* its size is filled in */
};

/* Opens a runtime, adds the consumers and starts it. options may be NULL; its size and database are
 * filled in. */
int bench_start(struct bench *b, const char *database, const struct catchup_options *options,
	const struct bench_consumer *consumers, size_t n, struct catchup **out);

/* Waits until all rows are committed. */
int bench_wait(struct bench *b, struct catchup *c);

/* Stops and closes; c may be NULL. rc: of what went before; returned when other than 0. */
int bench_stop(struct bench *b, struct catchup *c, int rc);

/* All three: from the start to the end of the backlog. */
int bench_catch_up(struct bench *b, const char *database, const struct catchup_options *options,
	const struct bench_consumer *consumers, size_t n);

#endif
