/* SPDX-License-Identifier: MIT */
/*
 * scenario_latency.c - from another process's commit to the committed result, as that other process
 * sees it: it inserts a row every 1 to 3 ms and then looks for the result without a pause. The time
 * is from the return of its commit to the first look that finds the result (a look takes some 3 us).
 *
 * Beside catchup, in turns: a hand-written loop that looks at data_version each millisecond, as a good
 * user writes it, and one that looks without a pause, which costs a core and is the floor. Then the
 * same through a chain of three consumers, and what a hundred consumers cost that have nothing to do.
 */
#include "copies.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "latency.db"
#define CHAIN 3
#define IDLE_CONSUMERS 100
#define LEASE_NS INT64_C(10000000000) /* catchup's default; renewed three times in that time */
#define GIVE_UP_NS INT64_C(10000000000)

/* ---- the other process -------------------------------------------------------------------- */

/* Looks until the copy has the row. Returns how long it took since `committed`, -1: it did not come. */
static int64_t wait_for_result(sqlite3_stmt *look, int64_t id, int64_t committed)
{
	for (;;) {
		int64_t newest = -1, now;

		if (sqlite3_step(look) == SQLITE_ROW)
			newest = sqlite3_column_int64(look, 0);
		sqlite3_reset(look);
		now = bench_now_ns();
		if (newest >= id)
			return now - committed;
		if (now - committed > GIVE_UP_NS)
			return -1;
	}
}

/* Arguments: file, number of rows, table with the results. Prints the times, as they are in memory. */
static int child(int argc, char **argv)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *insert = NULL, *look = NULL;
	uint64_t random = 88172645463325252u;
	char sql[128];
	int64_t n, *times = NULL;
	int rc = 1;

	if (argc != 4)
		return 2;
	n = strtoll(argv[2], NULL, 10);
	times = calloc((size_t)n, sizeof(*times));
	snprintf(sql, sizeof(sql), "SELECT coalesce(max(id), 0) FROM %.32s", argv[3]);
	if (!times || bench_open_application(NULL, argv[1], &db) != 0 ||
		bench_prepare(NULL, db,
			"INSERT INTO readings(sensor, value) VALUES (?1 % 100, ?1 % 1000)", &insert) ||
		bench_prepare(NULL, db, sql, &look) != 0)
		goto out;
	for (int64_t i = 0; i < n; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		bench_sleep_ns(1000000 + (int64_t)(random % 2000000));
		sqlite3_bind_int64(insert, 1, i + 1);
		if (bench_step(NULL, insert) != 0)
			goto out;
		times[i] = wait_for_result(look, i + 1, bench_now_ns());
		if (times[i] < 0)
			goto out;
	}
	rc = bench_write_all(STDOUT_FILENO, times, (size_t)n * sizeof(*times)) == 0 ? 0 : 1;
out:
	sqlite3_finalize(insert);
	sqlite3_finalize(look);
	sqlite3_close(db);
	free(times);
	return rc;
}

/* Runs the other process and adds its times to those of the rounds before. */
static int insert_and_look(struct bench *b, int64_t n, const char *table, int64_t *times)
{
	char path[4096], count[32];
	const char *arguments[] = {path, count, table, NULL};
	int out = -1, rc;
	pid_t pid;

	bench_path(b, path, sizeof(path), FILE_NAME);
	snprintf(count, sizeof(count), "%" PRId64, n);
	pid = bench_child_start(b, "latency", arguments, &out);
	if (pid < 0)
		return -1;
	rc = bench_read_all(b, out, times, (size_t)n * sizeof(*times));
	close(out);
	if (bench_child_end(pid, 0) != 0 && rc == 0)
		rc = bench_fail(b, "the inserting process failed");
	return rc;
}

/* ---- ways to get there -------------------------------------------------------------------- */

struct way {
	const char *name;
	size_t n_consumers; /* of catchup; 0: by hand */
	int64_t pause_ns;   /* by hand */
	int64_t n;          /* times in a round */
	int64_t *times;     /* of all rounds */
	double medians[99], p99[99]; /* of each round, us */
};

struct poller {
	struct bench *b;
	const struct way *way;
	_Atomic int ending;
	int rc;
};

static void *poll_main(void *argument)
{
	struct poller *p = argument;
	struct bench_hand hand;
	int64_t seen = -1;

	p->rc = bench_hand_open(p->b, &hand, FILE_NAME, FILE_NAME, 0, 1);
	while (p->rc == 0 && !atomic_load_explicit(&p->ending, memory_order_relaxed)) {
		int64_t version = bench_hand_version(&hand), rows = 1;

		if (version == seen) {
			if (p->way->pause_ns)
				bench_sleep_ns(p->way->pause_ns);
			continue;
		}
		seen = version;
		while (rows > 0 && p->rc == 0)
			p->rc = bench_hand_batch(p->b, &hand, 0, 10000, &rows);
	}
	bench_hand_close(&hand);
	return NULL;
}

static int by_hand(struct bench *b, const struct way *way, int64_t *times)
{
	struct poller poller = {.b = b, .way = way};
	pthread_t thread;
	int rc = bench_hand_tables(b, FILE_NAME, 1);

	if (rc == 0 && pthread_create(&thread, NULL, poll_main, &poller) != 0)
		rc = bench_fail(b, "a thread could not be made");
	if (rc != 0)
		return rc;
	rc = insert_and_look(b, way->n, "copy1", times);
	atomic_store(&poller.ending, 1);
	pthread_join(thread, NULL);
	return rc ? rc : poller.rc;
}

static int by_catchup(struct bench *b, const struct way *way, int64_t *times)
{
	struct bench_copies copies;
	struct catchup *c = NULL;
	char table[32];
	int rc = bench_copies_make(b, &copies, way->n_consumers, BENCH_COPIES_CHAIN);

	if (rc != 0)
		return rc;
	snprintf(table, sizeof(table), "copy%zu", way->n_consumers);
	rc = bench_start(b, FILE_NAME, NULL, copies.consumers, copies.n, &c);
	if (rc == 0)
		rc = bench_wait(b, c);
	if (rc == 0)
		rc = insert_and_look(b, way->n, table, times);
	rc = bench_stop(b, c, rc);
	bench_copies_free(&copies);
	return rc;
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int measure(struct bench *b, struct way *way, size_t round)
{
	int64_t *times = way->times + round * (size_t)way->n;
	int rc = bench_folder_renew(b);

	if (rc == 0)
		rc = bench_readings(b, FILE_NAME, 0);
	if (rc == 0)
		rc = way->n_consumers ? by_catchup(b, way, times) : by_hand(b, way, times);
	if (rc == 0)
		rc = bench_copies_check(
			b, FILE_NAME, way->n_consumers ? way->n_consumers : 1, way->n);
	if (rc != 0)
		return rc;
	qsort(times, (size_t)way->n, sizeof(*times), by_time);
	way->medians[round] = (double)bench_percentile(times, (size_t)way->n, 50) / 1e3;
	way->p99[round] = (double)bench_percentile(times, (size_t)way->n, 99) / 1e3;
	return 0;
}

/* ---- at rest ------------------------------------------------------------------------------ */

/* Processor time as a share of a core, the median of some windows in which nothing is to be done. */
static double idle_share(struct bench *b, int64_t window_ns)
{
	double shares[99];
	size_t n = bench_rounds(b);

	bench_sleep_ns(window_ns); /* what is put aside when nothing comes is put aside */
	for (size_t i = 0; i < n; i++) {
		int64_t start = bench_now_ns(), before = bench_processor_ns();

		bench_sleep_ns(window_ns);
		shares[i] = (double)(bench_processor_ns() - before) /
			    (double)(bench_now_ns() - start);
	}
	return bench_median(shares, n);
}

static int idle(struct bench *b)
{
	struct way polling = {.pause_ns = 1000000};
	struct poller poller = {.b = b, .way = &polling};
	struct bench_copies copies;
	struct catchup *c = NULL;
	pthread_t thread;
	double ours = 0, yardstick;
	int rc = bench_copies_make(b, &copies, IDLE_CONSUMERS, BENCH_COPIES_BESIDE);

	if (rc != 0)
		return rc;
	bench_progress(b, "%d consumers at rest", IDLE_CONSUMERS);
	rc = bench_folder_renew(b);
	if (rc == 0)
		rc = bench_readings(b, FILE_NAME, 100);
	if (rc == 0)
		rc = bench_start(b, FILE_NAME, NULL, copies.consumers, copies.n, &c);
	if (rc == 0)
		rc = bench_wait(b, c);
	if (rc == 0)
		ours = idle_share(b, bench_quick(b) ? 100000000 : LEASE_NS);
	rc = bench_stop(b, c, rc);
	bench_copies_free(&copies);
	if (rc == 0)
		rc = bench_copies_check(b, FILE_NAME, IDLE_CONSUMERS, 100);
	if (rc != 0)
		return rc;

	rc = bench_folder_renew(b);
	if (rc == 0)
		rc = bench_readings(b, FILE_NAME, 100);
	if (rc == 0)
		rc = bench_hand_tables(b, FILE_NAME, 1);
	if (rc == 0 && pthread_create(&thread, NULL, poll_main, &poller) != 0)
		rc = bench_fail(b, "a thread could not be made");
	if (rc != 0)
		return rc;
	yardstick = idle_share(b, bench_quick(b) ? 100000000 : 500000000);
	atomic_store(&poller.ending, 1);
	pthread_join(thread, NULL);
	if (poller.rc != 0)
		return poller.rc;
	bench_limit(b, "a hundred consumers at rest (yardstick: one poller)", 100 * ours,
		100 * yardstick, "% of a core", 0.1);
	return 0;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static void report(struct bench *b, struct way *ways)
{
	size_t rounds = bench_rounds(b);
	double median[4], p99[4];

	for (size_t i = 0; i < 4; i++) {
		bench_times(b, ways[i].name, ways[i].times, rounds * (size_t)ways[i].n);
		median[i] = bench_median(ways[i].medians, rounds);
		p99[i] = bench_median(ways[i].p99, rounds);
	}
	bench_limit(b, "commit to committed result, median (yardstick: poll each ms)", median[0],
		median[1], "us", 150);
	bench_limit(b, "commit to committed result, p99 (yardstick: poll each ms)", p99[0], p99[1],
		"us", 1000);
	bench_limit(b, "through a chain of three, median", median[3], 0, "us", 500);
	bench_metric(b, "the floor: polling without a pause, median", median[2], "us");
	bench_note(b, "synchronous = NORMAL; medians of the rounds' medians and 99th percentiles");
}

static int run(struct bench *b)
{
	struct way ways[] = {
		{.name = "catchup", .n_consumers = 1},
		{.name = "by hand, polling each millisecond", .pause_ns = 1000000},
		{.name = "by hand, polling without a pause"},
		{.name = "catchup, a chain of three", .n_consumers = CHAIN},
	};
	size_t rounds = bench_rounds(b), n_ways = sizeof(ways) / sizeof(ways[0]);
	int rc = 0;

	for (size_t i = 0; i < n_ways; i++) {
		ways[i].n = bench_amount(b, 600, 60);
		ways[i].times = calloc(rounds * (size_t)ways[i].n, sizeof(int64_t));
		if (!ways[i].times)
			rc = bench_fail(b, "out of memory");
	}
	for (size_t r = 0; r < rounds; r++) {
		for (size_t i = 0; i < n_ways && rc == 0; i++) {
			bench_progress(b, "round %zu of %zu, %s", r + 1, rounds, ways[i].name);
			rc = measure(b, &ways[i], r);
		}
	}
	if (rc == 0)
		report(b, ways);
	if (rc == 0)
		rc = idle(b);
	for (size_t i = 0; i < n_ways; i++)
		free(ways[i].times);
	return rc;
}

const struct bench_scenario bench_scenario_latency = {
	.name = "latency",
	.summary = "from another process's commit to the committed result; the cost of rest",
	.run = run,
	.child = child,
};
