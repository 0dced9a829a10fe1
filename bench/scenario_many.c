/* SPDX-License-Identifier: MIT */
/*
 * scenario_many.c - many consumers on one source.
 *
 * Eight that write one file, and eight that write a file each, against one: rows a second in total.
 * Beside them eight hand-written loops in a thread each, which is what SQLite's busy handler makes of
 * the same. How long the turns of the others keep a consumer waiting is counted in turns.
 *
 * Then, each in a process of its own, 1, 100 and 1,000 consumers with the same number of rows to do in
 * all: what that costs the processor, how many threads there are, and what memory and threads are
 * left when nothing is to be done.
 */
#include "copies.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_NAME "many.db"
#define EIGHT 8
#define BATCH_ROWS 20000 /* by hand; catchup's default */
#define LEASE_MS 1500    /* short, so that what is done at rest is done soon */

/* ---- turns -------------------------------------------------------------------------------- */

/*
 * Who has had the write lock how often. A consumer's batch_begin and batch_end run inside its
 * transaction, so all this is done by one thread at a time, each after the other's commit.
 */
struct turns {
	uint64_t taken[EIGHT];        /* so many turns each has had */
	uint64_t seen[EIGHT][EIGHT];  /* taken, when this one's last turn ended */
	bool waiting[EIGHT];          /* had a turn already */
	uint64_t most;                /* turns another had while one waited */
	uint64_t all;
};

/* Callbacks have no state of ours. Set while a runtime runs, by the thread that starts it. */
static struct turns *turns;

static int batch_begin(struct catchup_context *ctx, void *state)
{
	size_t me = bench_copies_number(ctx);

	(void)state;
	for (size_t i = 0; i < EIGHT && turns->waiting[me]; i++) {
		uint64_t had = turns->taken[i] - turns->seen[me][i];

		if (i != me && had > turns->most)
			turns->most = had;
	}
	return CATCHUP_ROW_APPLIED;
}

static int batch_end(struct catchup_context *ctx, void *state)
{
	size_t me = bench_copies_number(ctx);

	(void)state;
	turns->taken[me]++;
	turns->all++;
	memcpy(turns->seen[me], turns->taken, sizeof(turns->taken));
	turns->waiting[me] = true;
	return CATCHUP_ROW_APPLIED;
}

/* ---- eight against one -------------------------------------------------------------------- */

struct work {
	int64_t rows;
	size_t consumers;
	enum bench_copies_shape shape;
	double most_turns[99]; /* of each run */
	double longest_ms[99]; /* by hand: the longest wait for the write lock */
	size_t runs;
};

static int prepare(struct bench *b, void *context)
{
	const struct work *work = context;

	return bench_readings(b, FILE_NAME, work->rows);
}

static int catchup_side(struct bench *b, void *context)
{
	struct work *work = context;
	struct turns all = {0};
	struct bench_copies copies;
	int rc = bench_copies_make(b, &copies, work->consumers, work->shape);

	if (rc != 0)
		return rc;
	/* Turns are those of one file. */
	for (size_t i = 0; i < copies.n && work->shape == BENCH_COPIES_BESIDE; i++) {
		copies.tables[i].batch_begin = batch_begin;
		copies.tables[i].batch_end = batch_end;
	}
	turns = &all;
	rc = bench_catch_up(b, FILE_NAME, NULL, copies.consumers, copies.n);
	turns = NULL;
	work->most_turns[work->runs++] = (double)all.most;
	bench_copies_free(&copies);
	return rc;
}

static int check(struct bench *b, void *context)
{
	const struct work *work = context;
	char name[32];

	if (work->shape == BENCH_COPIES_BESIDE)
		return bench_copies_check(b, FILE_NAME, work->consumers, work->rows);
	for (size_t i = 0; i < work->consumers; i++) {
		snprintf(name, sizeof(name), "copy%zu.db", i + 1);
		if (bench_copy_check(b, name, i, work->rows) != 0)
			return -1;
	}
	return 0;
}

struct loop {
	struct bench *b;
	struct bench_hand hand;
	pthread_t thread;
	int64_t longest_ns; /* of a batch: nearly all of it is waiting */
	int rc;
};

static void *loop_main(void *argument)
{
	struct loop *loop = argument;
	int64_t rows = 1;

	while (rows > 0 && loop->rc == 0) {
		int64_t start = bench_now_ns(), took;

		loop->rc = bench_hand_batch(loop->b, &loop->hand, 0, BATCH_ROWS, &rows);
		took = bench_now_ns() - start;
		loop->longest_ns = took > loop->longest_ns ? took : loop->longest_ns;
	}
	return NULL;
}

static int prepare_loops(struct bench *b, void *context)
{
	int rc = prepare(b, context);

	return rc ? rc : bench_hand_tables(b, FILE_NAME, EIGHT);
}

static int loops_side(struct bench *b, void *context)
{
	struct work *work = context;
	struct loop loops[EIGHT] = {0};
	size_t started = 0;
	int64_t longest_ns = 0;
	int rc = 0;

	for (size_t i = 0; i < EIGHT && rc == 0; i++) {
		loops[i].b = b;
		rc = bench_hand_open(b, &loops[i].hand, FILE_NAME, FILE_NAME, i, 1);
	}
	while (started < EIGHT && rc == 0) {
		struct loop *loop = &loops[started];

		if (pthread_create(&loop->thread, NULL, loop_main, loop) != 0)
			rc = bench_fail(b, "a thread could not be made");
		else
			started++;
	}
	for (size_t i = 0; i < started; i++) {
		pthread_join(loops[i].thread, NULL);
		rc = rc ? rc : loops[i].rc;
		longest_ns = loops[i].longest_ns > longest_ns ? loops[i].longest_ns : longest_ns;
	}
	for (size_t i = 0; i < EIGHT; i++)
		bench_hand_close(&loops[i].hand);
	work->longest_ms[work->runs++] = (double)longest_ns / 1e6;
	return rc;
}

static int eight(struct bench *b, int64_t rows)
{
	struct work one = {.rows = rows, .consumers = 1},
		    beside = {.rows = rows, .consumers = EIGHT},
		    into = {.rows = rows, .consumers = EIGHT, .shape = BENCH_COPIES_INTO},
		    by_hand = {.rows = rows, .consumers = EIGHT};
	const struct bench_side sides[] = {
		{.name = "eight, one file", .prepare = prepare, .run = catchup_side,
			.check = check, .context = &beside, .amount = EIGHT * rows},
		{.name = "one", .prepare = prepare, .run = catchup_side, .check = check,
			.context = &one},
		{.name = "eight, a file each", .prepare = prepare, .run = catchup_side,
			.check = check, .context = &into, .amount = EIGHT * rows},
		{.name = "eight loops by hand, one file", .prepare = prepare_loops,
			.run = loops_side, .check = check, .context = &by_hand,
			.amount = EIGHT * rows},
	};
	double rates[4];
	int rc = bench_compare(b,
		&(struct bench_comparison){.name = "",
			.unit = "rows",
			.amount = rows,
			.sides = sides,
			.n_sides = 4,
			.yardstick = 1,
			.aim = 1.0},
		rates);

	if (rc != 0)
		return rc;
	bench_ratio_of(b, "eight, a file each / one", rates[2], rates[1], "rows/s", 1.6);
	bench_limit(b, "turns another had while one waited, at most",
		bench_median(beside.most_turns, beside.runs), 0, "turns", 3);
	bench_metric(b, "longest batch of the eight loops by hand",
		bench_median(by_hand.longest_ms, by_hand.runs), "ms");
	return 0;
}

/* ---- a hundred and a thousand ------------------------------------------------------------- */

/* What a process with so many consumers finds out about itself. */
struct crowd {
	int64_t start_ns;      /* processor time until all are open and have nothing to do */
	int64_t processor_ns;  /* of the rows that came then, without their insertion */
	int64_t wall_ns;
	int64_t threads_most;
	int64_t threads_idle;
	int64_t idle_kib;      /* resident, when nothing has been to do for a while */
};

struct watch {
	_Atomic int ending;
	int64_t most;
};

static void *watch_threads(void *argument)
{
	struct watch *watch = argument;

	while (!atomic_load(&watch->ending)) {
		int64_t now = bench_self_status("Threads");

		watch->most = now > watch->most ? now : watch->most;
		bench_sleep_ns(2000000);
	}
	return NULL;
}

/* Resident memory once it does not get less any more. Memory is given back when leases are renewed. */
static int64_t settled_kib(int looks)
{
	int64_t least = bench_self_status("VmRSS");

	for (int same = 0; same < looks; same++) {
		int64_t now;

		bench_sleep_ns(LEASE_MS * INT64_C(300000));
		now = bench_self_status("VmRSS");
		if (now < least - least / 50) {
			least = now;
			same = 0;
		}
	}
	return least;
}

static int64_t thread_processor_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The backlog of all consumers comes at once, while they run. */
static int give_work(struct catchup *c, const char *file, int64_t rows, struct crowd *crowd)
{
	int64_t all = bench_processor_ns(), mine = thread_processor_ns(), start;
	int rc = bench_readings(NULL, file, rows);

	start = bench_now_ns();
	if (rc == 0)
		rc = bench_wait(NULL, c);
	crowd->wall_ns = bench_now_ns() - start;
	crowd->processor_ns =
		bench_processor_ns() - all - (thread_processor_ns() - mine);
	return rc;
}

/* Arguments: file, number of consumers, rows, looks at the memory. Prints a struct crowd, as it is in memory. */
static int child(int argc, char **argv)
{
	struct bench_copies copies;
	struct catchup *c = NULL;
	struct crowd crowd = {0};
	struct watch watch = {0};
	const struct catchup_options options = {.lease_ms = LEASE_MS};
	pthread_t watcher;
	int rc;

	if (argc != 5)
		return 2;
	if (bench_copies_make(NULL, &copies, strtoull(argv[2], NULL, 10), BENCH_COPIES_BESIDE) !=
			0 ||
		pthread_create(&watcher, NULL, watch_threads, &watch) != 0)
		return 1;
	rc = bench_start(NULL, argv[1], &options, copies.consumers, copies.n, &c);
	if (rc == 0)
		rc = bench_wait(NULL, c);
	crowd.start_ns = bench_processor_ns();
	if (rc == 0)
		rc = give_work(c, argv[1], strtoll(argv[3], NULL, 10), &crowd);
	atomic_store(&watch.ending, 1);
	pthread_join(watcher, NULL);
	crowd.threads_most = watch.most - 1;
	if (rc == 0) {
		crowd.idle_kib = settled_kib(atoi(argv[4]));
		crowd.threads_idle = bench_self_status("Threads");
	}
	rc = bench_stop(NULL, c, rc);
	bench_copies_free(&copies);
	return rc == 0 && bench_write_all(STDOUT_FILENO, &crowd, sizeof(crowd)) == 0 ? 0 : 1;
}

static int gather(struct bench *b, int64_t rows, size_t consumers, struct crowd *crowd)
{
	char path[4096], count[32], number[32];
	const char *arguments[] = {path, count, number, bench_quick(b) ? "1" : "5", NULL};
	int out = -1, rc = bench_folder_renew(b);
	pid_t pid;

	bench_path(b, path, sizeof(path), FILE_NAME);
	snprintf(count, sizeof(count), "%zu", consumers);
	snprintf(number, sizeof(number), "%" PRId64, rows);
	if (rc == 0)
		rc = bench_readings(b, FILE_NAME, 0);
	if (rc != 0)
		return rc;
	pid = bench_child_start(b, "many", arguments, &out);
	if (pid < 0)
		return -1;
	rc = bench_read_all(b, out, crowd, sizeof(*crowd));
	close(out);
	if (bench_child_end(pid, 0) != 0 && rc == 0)
		rc = bench_fail(b, "the process with %zu consumers failed", consumers);
	return rc ? rc : bench_copies_check(b, FILE_NAME, consumers, rows);
}

#define SIZES 3
/* Few under --quick. */
static const size_t full_sizes[SIZES] = {1, 100, 1000}, quick_sizes[SIZES] = {1, 10, 100};

/* Of one size, from all rounds. */
struct figures {
	double start[99], cost[99], rate[99], most[99], idle[99], memory[99];
};

static void report(struct bench *b, struct figures *all)
{
	size_t rounds = bench_rounds(b);
	const size_t *sizes = bench_quick(b) ? quick_sizes : full_sizes;
	double cost[SIZES];
	char name[96];

	for (size_t i = 0; i < SIZES; i++) {
		struct figures *f = &all[i];
		const struct {
			const char *what, *unit;
			double value;
		} lines[] = {
			{"processor time of the start", "ms", bench_median(f->start, rounds)},
			{"processor time a row", "ns", cost[i] = bench_median(f->cost, rounds)},
			{"rows in all", "rows/s", bench_median(f->rate, rounds)},
			{"threads, at most", "threads", bench_median(f->most, rounds)},
			{"threads at rest", "threads", bench_median(f->idle, rounds)},
		};

		for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]); k++) {
			snprintf(name, sizeof(name), "%zu: %s", sizes[i], lines[k].what);
			bench_metric(b, name, lines[k].value, lines[k].unit);
		}
	}
	for (size_t i = 1; i < SIZES; i++) {
		snprintf(name, sizeof(name), "processor time a row, %zu consumers / 1", sizes[i]);
		bench_metric(b, name, cost[i] / cost[0], "");
		snprintf(name, sizeof(name), "memory of each of %zu consumers at rest", sizes[i]);
		bench_limit(b, name, bench_median(all[i].memory, rounds), 0, "MiB", 1);
	}
}

/* The same number of rows in all, whatever the number of consumers. */
static int crowds(struct bench *b, int64_t rows)
{
	const size_t *sizes = bench_quick(b) ? quick_sizes : full_sizes;
	struct figures *all = calloc(SIZES, sizeof(*all));
	size_t rounds = bench_rounds(b);
	int64_t alone_kib = 0;
	int rc = all ? 0 : bench_fail(b, "out of memory");

	for (size_t n = 0; n < rounds * SIZES && rc == 0; n++) {
		size_t r = n / SIZES, i = n % SIZES;
		struct figures *f = &all[i];
		struct crowd crowd = {0};

		bench_progress(b, "round %zu of %zu, %zu consumers", r + 1, rounds, sizes[i]);
		rc = gather(b, rows / (int64_t)sizes[i], sizes[i], &crowd);
		if (i == 0)
			alone_kib = crowd.idle_kib;
		f->start[r] = (double)crowd.start_ns / 1e6;
		f->cost[r] = (double)crowd.processor_ns / (double)rows;
		f->rate[r] = (double)rows * 1e9 / (double)crowd.wall_ns;
		f->most[r] = (double)crowd.threads_most;
		f->idle[r] = (double)crowd.threads_idle;
		f->memory[r] = i == 0 ? 0
				      : (double)(crowd.idle_kib - alone_kib) / 1024 /
						(double)(sizes[i] - 1);
	}
	if (rc == 0)
		report(b, all);
	if (rc == 0)
		bench_note(b, "1 and more consumers that run share %" PRId64
			      " rows that come at once, each into a table of its own", rows);
	free(all);
	return rc;
}

static int run(struct bench *b)
{
	int64_t rows = bench_amount(b, 250000, 20000);
	int rc = eight(b, rows);

	return rc ? rc : crowds(b, bench_quick(b) ? rows : rows * 2);
}

const struct bench_scenario bench_scenario_many = {
	.name = "many",
	.summary = "many consumers on one source: speed, turns, threads, memory",
	.run = run,
	.child = child,
};
