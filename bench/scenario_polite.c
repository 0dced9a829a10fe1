/* SPDX-License-Identifier: MIT */
/*
 * scenario_polite.c - an application that goes on writing its own file while eight consumers work off
 * a backlog in it.
 *
 * The application is another process: it inserts a row into the source every 2 ms, with a plain busy
 * timeout, and takes the time of each insert. In turns: the inserts alone, the consumers alone, both,
 * and the inserts beside eight hand-written loops with a busy timeout, whose batches are short too.
 */
#include "copies.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "polite.db"
#define EIGHT 8
#define PERIOD_NS INT64_C(2000000)
#define BATCH_ROWS 20000 /* by hand; catchup's default */
#define MOST_INSERTS 100000

/* ---- the application ---------------------------------------------------------------------- */

static volatile sig_atomic_t ending;

static void on_signal(int number)
{
	(void)number;
	ending = 1;
}

/* Arguments: file, newest id. Inserts until SIGTERM, and prints how many, and the times, as they are in
 * memory. */
static int child(int argc, char **argv)
{
	int64_t *times = calloc(MOST_INSERTS, sizeof(*times));
	int64_t newest, n = 0, next = bench_now_ns();
	sqlite3_stmt *insert = NULL;
	sqlite3 *db = NULL;
	int rc = 1;

	signal(SIGTERM, on_signal);
	if (argc != 3 || !times)
		return 2;
	newest = strtoll(argv[2], NULL, 10);
	if (bench_open_application(NULL, argv[1], &db) != 0 ||
		bench_prepare(NULL, db, "INSERT INTO readings VALUES (?1, ?1 % 100, ?1 % 1000)",
			&insert) != 0)
		goto out;
	while (!ending && n < MOST_INSERTS) {
		int64_t start = bench_now_ns();

		sqlite3_bind_int64(insert, 1, ++newest);
		if (bench_step(NULL, insert) != 0)
			goto out;
		times[n++] = bench_now_ns() - start;
		/* What an insert took too long is not made up for. */
		next += PERIOD_NS;
		if (next < bench_now_ns())
			next = bench_now_ns();
		else
			bench_sleep_ns(next - bench_now_ns());
	}
	rc = bench_write_all(STDOUT_FILENO, &n, sizeof(n)) == 0 &&
			     bench_write_all(STDOUT_FILENO, times, (size_t)n * sizeof(*times)) == 0
		     ? 0
		     : 1;
out:
	sqlite3_finalize(insert);
	sqlite3_close(db);
	free(times);
	return rc;
}

/* Its times, in a phase of all rounds. */
struct inserts {
	int64_t *times;
	size_t n;
	double median[99], p99[99], longest[99]; /* of each round, ms */
	double rate[99]; /* inserts a second */
};

struct application {
	pid_t pid;
	int out;
	int64_t start_ns;
};

static int application_start(struct bench *b, int64_t newest, struct application *a)
{
	char path[4096], number[32];
	const char *arguments[] = {path, number, NULL};

	bench_path(b, path, sizeof(path), FILE_NAME);
	snprintf(number, sizeof(number), "%" PRId64, newest);
	a->start_ns = bench_now_ns();
	a->pid = bench_child_start(b, "polite", arguments, &a->out);
	return a->pid < 0 ? -1 : 0;
}

static int by_time(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

	return (a > b) - (a < b);
}

/* *inserted: how many rows it made. */
static int application_end(struct bench *b, struct application *a, struct inserts *inserts,
	size_t round, int64_t *inserted)
{
	int64_t *all, *times;
	int64_t n = 0, ran_ns = bench_now_ns() - a->start_ns;
	int rc;

	kill(a->pid, SIGTERM);
	rc = bench_read_all(b, a->out, &n, sizeof(n));
	if (rc == 0 && n <= 0)
		rc = bench_fail(b, "the application inserted nothing");
	if (rc == 0) {
		all = realloc(inserts->times, (inserts->n + (size_t)n) * sizeof(*all));
		rc = all ? 0 : bench_fail(b, "out of memory");
		inserts->times = all ? all : inserts->times;
	}
	times = inserts->times + inserts->n;
	if (rc == 0)
		rc = bench_read_all(b, a->out, times, (size_t)n * sizeof(*times));
	close(a->out);
	if (bench_child_end(a->pid, 0) != 0 && rc == 0)
		rc = bench_fail(b, "the application failed");
	if (rc != 0)
		return rc;
	inserts->n += (size_t)n;
	qsort(times, (size_t)n, sizeof(*times), by_time);
	inserts->median[round] = (double)bench_percentile(times, (size_t)n, 50) / 1e6;
	inserts->p99[round] = (double)bench_percentile(times, (size_t)n, 99) / 1e6;
	inserts->longest[round] = (double)times[n - 1] / 1e6;
	inserts->rate[round] = (double)n * 1e9 / (double)ran_ns;
	*inserted = n;
	return 0;
}

/* ---- the phases --------------------------------------------------------------------------- */

enum phase { ALONE, CONSUMERS, BOTH, LOOPS, PHASES };

static const char *const phase_names[PHASES] = {"inserts, catchup stopped", "consumers alone",
	"inserts, catchup running", "inserts, eight loops by hand running"};

struct polite {
	struct bench *b;
	int64_t rows;
	struct inserts inserts[PHASES];
	double rate[PHASES][99]; /* rows a second of all consumers */
};

static int alone(struct polite *p, size_t round, int64_t *inserted)
{
	struct application a;

	if (application_start(p->b, p->rows, &a) != 0)
		return -1;
	bench_sleep_ns(bench_quick(p->b) ? 200000000 : 1000000000);
	return application_end(p->b, &a, &p->inserts[ALONE], round, inserted);
}

static int consumers(struct polite *p, enum phase phase, size_t round, int64_t *inserted)
{
	struct application a = {0};
	struct bench_copies copies;
	struct catchup *c = NULL;
	int64_t start;
	int rc = bench_copies_make(p->b, &copies, EIGHT, BENCH_COPIES_BESIDE);

	if (rc == 0 && phase == BOTH)
		rc = application_start(p->b, p->rows, &a);
	start = bench_now_ns();
	if (rc == 0)
		rc = bench_start(p->b, FILE_NAME, NULL, copies.consumers, EIGHT, &c);
	if (rc == 0)
		rc = bench_wait(p->b, c);
	p->rate[phase][round] =
		(double)p->rows * EIGHT * 1e9 / (double)(bench_now_ns() - start);
	if (a.pid > 0 && application_end(p->b, &a, &p->inserts[phase], round, inserted) != 0)
		rc = -1;
	/* What came at the end. */
	if (rc == 0)
		rc = bench_wait(p->b, c);
	rc = bench_stop(p->b, c, rc);
	bench_copies_free(&copies);
	return rc;
}

struct loop {
	struct bench *b;
	struct bench_hand hand;
	pthread_t thread;
	int64_t until; /* a watermark */
	int rc;
};

static void *loop_main(void *argument)
{
	struct loop *loop = argument;
	int64_t rows;

	while (loop->hand.copies[0].last < loop->until && loop->rc == 0)
		loop->rc = bench_hand_batch(loop->b, &loop->hand, 0, BATCH_ROWS, &rows);
	return NULL;
}

/* All loops, up to this row. */
static int run_loops(struct polite *p, struct loop *loops, int64_t until)
{
	size_t started = 0;
	int rc = 0;

	for (; started < EIGHT && rc == 0; started++) {
		loops[started].until = until;
		if (pthread_create(&loops[started].thread, NULL, loop_main, &loops[started]) != 0) {
			rc = bench_fail(p->b, "a thread could not be made");
			break;
		}
	}
	for (size_t i = 0; i < started; i++) {
		pthread_join(loops[i].thread, NULL);
		rc = rc ? rc : loops[i].rc;
	}
	return rc;
}

static int loops(struct polite *p, size_t round, int64_t *inserted)
{
	struct loop all[EIGHT] = {0};
	struct application a = {0};
	int64_t start;
	int rc = bench_hand_tables(p->b, FILE_NAME, EIGHT);

	for (size_t i = 0; i < EIGHT && rc == 0; i++) {
		all[i].b = p->b;
		rc = bench_hand_open(p->b, &all[i].hand, FILE_NAME, FILE_NAME, i, 1);
	}
	if (rc == 0)
		rc = application_start(p->b, p->rows, &a);
	start = bench_now_ns();
	if (rc == 0)
		rc = run_loops(p, all, p->rows);
	p->rate[LOOPS][round] = (double)p->rows * EIGHT * 1e9 / (double)(bench_now_ns() - start);
	if (a.pid > 0 && application_end(p->b, &a, &p->inserts[LOOPS], round, inserted) != 0)
		rc = -1;
	if (rc == 0)
		rc = run_loops(p, all, p->rows + *inserted);
	for (size_t i = 0; i < EIGHT; i++)
		bench_hand_close(&all[i].hand);
	return rc;
}

static int run_phase(struct polite *p, enum phase phase, size_t round)
{
	int64_t inserted = 0;
	int rc = bench_folder_renew(p->b);

	bench_progress(p->b, "round %zu of %zu, %s", round + 1, bench_rounds(p->b),
		phase_names[phase]);
	if (rc == 0)
		rc = bench_readings(p->b, FILE_NAME, p->rows);
	if (rc != 0)
		return rc;
	if (phase == ALONE)
		rc = alone(p, round, &inserted);
	else if (phase == LOOPS)
		rc = loops(p, round, &inserted);
	else
		rc = consumers(p, phase, round, &inserted);
	if (rc == 0)
		rc = bench_expect(p->b, FILE_NAME, "rows of the source",
			"SELECT count(*) FROM readings", p->rows + inserted);
	if (rc == 0 && phase != ALONE)
		rc = bench_copies_check(p->b, FILE_NAME, EIGHT, p->rows + inserted);
	return rc;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static void report(struct polite *p)
{
	struct bench *b = p->b;
	size_t rounds = bench_rounds(b);
	struct inserts *with = &p->inserts[BOTH], *by_hand = &p->inserts[LOOPS];
	double loops_p99 = bench_median(by_hand->p99, rounds);

	for (size_t i = 0; i < PHASES; i++)
		if (p->inserts[i].n > 0)
			bench_times(b, phase_names[i], p->inserts[i].times, p->inserts[i].n);
	bench_metric(b, "median insert, catchup stopped",
		bench_median(p->inserts[ALONE].median, rounds), "ms");
	bench_limit(b, "median insert beside eight consumers (yardstick: beside eight loops)",
		bench_median(with->median, rounds), bench_median(by_hand->median, rounds), "ms", 3);
	bench_limit(b, "p99 insert beside eight consumers (yardstick: beside eight loops)",
		bench_median(with->p99, rounds), loops_p99, "ms", 50);
	bench_metric(b, "inserts a second beside eight consumers (500 are due)",
		bench_median(with->rate, rounds), "");
	bench_metric(b, "inserts a second beside eight loops (500 are due)",
		bench_median(by_hand->rate, rounds), "");
	bench_metric(b, "longest insert beside eight consumers",
		bench_median(with->longest, rounds), "ms");
	bench_metric(b, "longest insert beside eight loops", bench_median(by_hand->longest, rounds),
		"ms");
	bench_ratio_of(b, "speed kept beside the inserts (yardstick: undisturbed)",
		bench_median(p->rate[BOTH], rounds), bench_median(p->rate[CONSUMERS], rounds),
		"rows/s", 0.4);
	bench_metric(b, "eight loops by hand beside the inserts",
		bench_median(p->rate[LOOPS], rounds), "rows/s");
}

static int run(struct bench *b)
{
	struct polite p = {.b = b, .rows = bench_amount(b, 400000, 20000)};
	int rc = 0;

	for (size_t r = 0; r < bench_rounds(b); r++)
		for (int phase = 0; phase < PHASES && rc == 0; phase++)
			rc = run_phase(&p, (enum phase)phase, r);
	if (rc == 0)
		report(&p);
	for (size_t i = 0; i < PHASES; i++)
		free(p.inserts[i].times);
	return rc;
}

const struct bench_scenario bench_scenario_polite = {
	.name = "polite",
	.summary = "an application's inserts while eight consumers work off a backlog",
	.run = run,
	.child = child,
};
