/* SPDX-License-Identifier: MIT */
/*
 * scenario_growth.c - rows a second and peak memory as the source grows from 10^4 to 10^7 rows, and as
 * the consumers grow from 1 to 1,000. Each point is measured in processes of its own.
 *
 * The source: one consumer from the start of its process' runtime to the end of the backlog, into a
 * file of its own, in turn with the loop that is written by hand. The consumers: all run already, and
 * share a tenth of as many rows, which come at once; in turn with a loop that has all tables open and
 * does for one after the other what a consumer does, a transaction a batch. So it shows what SQLite
 * itself takes for many tables and many commits. The rows come from a process that commits them and ends,
 * as an import does; beside an application that stays, what catchup leaves to it counts (polite).
 * --svg FILE makes a picture of it.
 */
#include "copies.h"
#include "picture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILE_NAME "growth.db"
#define BATCH_ROWS 20000 /* by hand; catchup's default */

/* Figures of one run; what a child prints, as it is in memory. */
struct run {
	int64_t wall_ns;
	int64_t peak_kib;
};

/* ---- in a process of its own -------------------------------------------------------------- */

static int backlog(const char *source, struct run *run)
{
	struct bench_copies copies;
	int64_t start = bench_now_ns();
	int rc = bench_copies_make(NULL, &copies, 1, BENCH_COPIES_INTO);

	if (rc == 0)
		rc = bench_catch_up(NULL, source, NULL, copies.consumers, 1);
	run->wall_ns = bench_now_ns() - start;
	bench_copies_free(&copies);
	return rc;
}

static int backlog_by_hand(const char *source, const char *results, struct run *run)
{
	struct bench_hand hand;
	int64_t start = bench_now_ns(), rows = 1;
	int rc = bench_hand_tables(NULL, results, 1);

	if (rc == 0)
		rc = bench_hand_open(NULL, &hand, source, results, 0, 1);
	while (rc == 0 && rows > 0)
		rc = bench_hand_batch(NULL, &hand, 0, BATCH_ROWS, &rows);
	bench_hand_close(&hand);
	run->wall_ns = bench_now_ns() - start;
	return rc;
}

/* In a process of its own: what it prints is when it has committed. */
static int insert(const char *source, int64_t rows)
{
	int64_t committed_ns;
	int rc = bench_readings_at_once(NULL, source, rows, &committed_ns);

	return rc ? rc : bench_write_all(STDOUT_FILENO, &committed_ns, sizeof(committed_ns));
}

static int import(const char *source, int64_t rows, int64_t *committed_ns)
{
	char number[32];
	const char *const arguments[] = {"insert", source, number, NULL};
	int out = -1, rc;
	pid_t pid;

	snprintf(number, sizeof(number), "%" PRId64, rows);
	pid = bench_child_start(NULL, "growth", arguments, &out);
	if (pid < 0)
		return -1;
	rc = bench_read_all(NULL, out, committed_ns, sizeof(*committed_ns));
	close(out);
	return bench_child_end(pid, 0) == 0 ? rc : -1;
}

static int together(const char *source, size_t consumers, int64_t rows, struct run *run)
{
	struct bench_copies copies;
	struct catchup *c = NULL;
	int64_t start = 0;
	int rc = bench_copies_make(NULL, &copies, consumers, BENCH_COPIES_BESIDE);

	if (rc != 0)
		return rc;
	rc = bench_start(NULL, source, NULL, copies.consumers, consumers, &c);
	if (rc == 0)
		rc = bench_wait(NULL, c);
	if (rc == 0)
		rc = import(source, rows, &start);
	if (rc == 0)
		rc = bench_wait(NULL, c);
	run->wall_ns = bench_now_ns() - start;
	rc = bench_stop(NULL, c, rc);
	bench_copies_free(&copies);
	return rc;
}

static int together_by_hand(const char *source, size_t consumers, int64_t rows, struct run *run)
{
	struct bench_hand hand;
	int64_t start = 0;
	int rc = bench_hand_tables(NULL, source, consumers);

	if (rc != 0)
		return rc;
	rc = bench_hand_open(NULL, &hand, source, source, 0, consumers);
	if (rc == 0)
		rc = import(source, rows, &start);
	for (size_t i = 0; i < consumers; i++)
		for (int64_t done = 1; done > 0 && rc == 0;)
			rc = bench_hand_batch(NULL, &hand, i, BATCH_ROWS, &done);
	run->wall_ns = bench_now_ns() - start;
	bench_hand_close(&hand);
	return rc;
}

/* Arguments: catchup SOURCE, hand SOURCE RESULTS, together or together-by-hand SOURCE CONSUMERS ROWS,
 * insert SOURCE ROWS. */
static int child(int argc, char **argv)
{
	struct run run = {0};
	size_t consumers = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;
	int64_t rows = argc == 5 ? strtoll(argv[4], NULL, 10) : 0;
	int rc = 2;

	if (argc == 4 && strcmp(argv[1], "insert") == 0)
		return insert(argv[2], strtoll(argv[3], NULL, 10)) == 0 ? 0 : 1;
	if (argc == 3 && strcmp(argv[1], "catchup") == 0)
		rc = backlog(argv[2], &run);
	else if (argc == 4 && strcmp(argv[1], "hand") == 0)
		rc = backlog_by_hand(argv[2], argv[3], &run);
	else if (argc == 5 && strcmp(argv[1], "together") == 0)
		rc = together(argv[2], consumers, rows, &run);
	else if (argc == 5 && strcmp(argv[1], "together-by-hand") == 0)
		rc = together_by_hand(argv[2], consumers, rows, &run);
	run.peak_kib = bench_self_status("VmHWM");
	return rc == 0 && bench_write_all(STDOUT_FILENO, &run, sizeof(run)) == 0 ? 0 : 1;
}

static int run_child(struct bench *b, const char *const *arguments, struct run *run)
{
	int out = -1, rc;
	pid_t pid = bench_child_start(b, "growth", arguments, &out);

	if (pid < 0)
		return -1;
	rc = bench_read_all(b, out, run, sizeof(*run));
	close(out);
	if (bench_child_end(pid, 0) != 0 && rc == 0)
		rc = bench_fail(b, "the process '%s' failed", arguments[0]);
	return rc;
}

/* ---- points of the curves ----------------------------------------------------------------- */

/* Of all rounds at one point. */
struct point {
	double rate[99], mib[99];
};

static void add(struct point *point, size_t round, const struct run *run, int64_t rows)
{
	point->rate[round] = (double)rows * 1e9 / (double)run->wall_ns;
	point->mib[round] = (double)run->peak_kib / 1024;
}

static void add_medians(struct bench *b, struct point *point, double x, const char *name,
	struct picture_series *rate, struct picture_series *mib)
{
	struct picture_point r = {x, bench_median(point->rate, bench_rounds(b))};
	struct picture_point m = {x, bench_median(point->mib, bench_rounds(b))};
	char text[96];

	rate->points[rate->n++] = r;
	mib->points[mib->n++] = m;
	snprintf(text, sizeof(text), "%s, rows/s", name);
	bench_point(b, text, x, r.y);
	snprintf(text, sizeof(text), "%s, peak MiB", name);
	bench_point(b, text, x, m.y);
}

static int one_size(struct bench *b, int64_t rows, struct point *ours, struct point *by_hand)
{
	char source[4096], hand[4096], copy[4096];
	const char *const catchup_arguments[] = {"catchup", source, NULL};
	const char *const hand_arguments[] = {"hand", source, hand, NULL};
	int rc = bench_readings(b, FILE_NAME, rows);

	bench_path(b, source, sizeof(source), FILE_NAME);
	bench_path(b, hand, sizeof(hand), "hand.db");
	bench_path(b, copy, sizeof(copy), "copy1.db");
	for (size_t r = 0; r < bench_rounds(b) && rc == 0; r++) {
		struct run run = {0};

		bench_progress(b, "%" PRId64 " rows, round %zu of %zu", rows, r + 1, bench_rounds(b));
		rc = run_child(b, catchup_arguments, &run);
		add(ours, r, &run, rows);
		if (rc == 0)
			rc = bench_copy_check(b, "copy1.db", 0, rows);
		if (rc == 0)
			rc = run_child(b, hand_arguments, &run);
		add(by_hand, r, &run, rows);
		if (rc == 0)
			rc = bench_copy_check(b, "hand.db", 0, rows);
		bench_remove_database(copy);
		bench_remove_database(hand);
	}
	return rc;
}

/* Panels 0 and 2. The source grows and is never made anew. */
static int grow_source(struct bench *b, int64_t most, struct picture_panel *panels)
{
	static const int64_t sizes[] = {10000, 30000, 100000, 300000, 1000000, 10000000};
	int rc = bench_folder_renew(b);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && sizes[i] <= most && rc == 0; i++) {
		struct point ours, by_hand;

		rc = one_size(b, sizes[i], &ours, &by_hand);
		if (rc != 0)
			break;
		add_medians(b, &ours, (double)sizes[i], "source grows", &panels[0].series[0],
			&panels[2].series[0]);
		add_medians(b, &by_hand, (double)sizes[i], "source grows, by hand",
			&panels[0].series[1], &panels[2].series[1]);
	}
	return rc;
}

/* One of both ways, from an empty folder. */
static int one_crowd(
	struct bench *b, const char *how, size_t consumers, int64_t each, struct run *run)
{
	char source[4096], number[32], rows[32];
	const char *const arguments[] = {how, source, number, rows, NULL};

	if (bench_folder_renew(b) != 0 || bench_readings(b, FILE_NAME, 0) != 0)
		return -1;
	bench_path(b, source, sizeof(source), FILE_NAME);
	snprintf(number, sizeof(number), "%zu", consumers);
	snprintf(rows, sizeof(rows), "%" PRId64, each);
	if (run_child(b, arguments, run) != 0)
		return -1;
	return bench_copies_check(b, FILE_NAME, consumers, each);
}

/* Panels 1 and 3. */
static int grow_consumers(struct bench *b, int64_t rows, struct picture_panel *panels)
{
	static const size_t sizes[] = {1, 3, 10, 30, 100, 300, 1000};
	size_t most = bench_quick(b) ? 30 : 1000;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && sizes[i] <= most; i++) {
		int64_t each = rows / (int64_t)sizes[i], all = each * (int64_t)sizes[i];
		struct point ours, by_hand;

		for (size_t r = 0; r < bench_rounds(b); r++) {
			struct run run = {0};

			bench_progress(b, "%zu consumers, round %zu of %zu", sizes[i], r + 1,
				bench_rounds(b));
			if (one_crowd(b, "together", sizes[i], each, &run) != 0)
				return -1;
			add(&ours, r, &run, all);
			if (one_crowd(b, "together-by-hand", sizes[i], each, &run) != 0)
				return -1;
			add(&by_hand, r, &run, all);
		}
		add_medians(b, &ours, (double)sizes[i], "consumers grow", &panels[1].series[0],
			&panels[3].series[0]);
		add_medians(b, &by_hand, (double)sizes[i], "consumers grow, by hand",
			&panels[1].series[1], &panels[3].series[1]);
	}
	return 0;
}

/* ---- the scenario ------------------------------------------------------------------------- */

static int draw(struct bench *b, struct picture_panel *panels)
{
	struct utsname system = {0};
	char words[320];

	uname(&system);
	snprintf(words, sizeof(words), "medians of %zu runs; %ld cores, SQLite %s (%s), %.40s; both "
		"axes logarithmic", bench_rounds(b), sysconf(_SC_NPROCESSORS_ONLN),
		sqlite3_libversion(), BENCH_SQLITE, system.sysname);
	for (size_t i = 0; i < 2; i++) {
		picture_fit(&panels[i], 5, 7);
		picture_fit(&panels[i + 2], 0, 3);
	}
	return picture_write(b, bench_svg(b), "catchup: speed and memory as things grow", words,
		panels, 4);
}

static void report(struct bench *b, const struct picture_panel *panels)
{
	const struct picture_series *rate = &panels[0].series[0], *mib = &panels[2].series[0];
	const struct picture_series *crowd = &panels[1].series[0], *hand = &panels[1].series[1];
	size_t last = rate->n - 1, most = crowd->n - 1;

	/* Below 10^5 rows most of the time is the start, and caches are not full. */
	if (last > 2) {
		bench_ratio_of(b, "rows/s with the largest source / with 10^5 rows",
			rate->points[last].y, rate->points[2].y, "rows/s", 0.9);
		bench_limit(b, "peak memory with the largest source (yardstick: with 10^5 rows)",
			mib->points[last].y, mib->points[2].y, "MiB", 1.25 * mib->points[2].y);
	}
	bench_ratio_of(b, "rows/s with the most consumers / with one", crowd->points[most].y,
		crowd->points[0].y, "rows/s", 0.9);
	bench_ratio_of(b, "rows/s with the most consumers / their tables by hand",
		crowd->points[most].y, hand->points[most].y, "rows/s", 0.9);
	bench_ratio_of(b, "by hand: rows/s with the most tables / with one", hand->points[most].y,
		hand->points[0].y, "rows/s", 0);
}

static int run(struct bench *b)
{
	struct picture_panel panels[] = {
		{.title = "The source grows: speed", .x_label = "rows of the source",
			.y_label = "rows/s", .x_decades = {4, 7},
			.series = {{.name = "catchup"}, {.name = "by hand"}}},
		{.title = "Consumers grow: speed", .x_label = "consumers of one source",
			.y_label = "rows/s, all together", .x_decades = {0, 3},
			.series = {{.name = "catchup"}, {.name = "by hand"}}},
		{.title = "The source grows: memory", .x_label = "rows of the source",
			.y_label = "MiB at the peak", .x_decades = {4, 7},
			.series = {{.name = "catchup"}, {.name = "by hand"}}},
		{.title = "Consumers grow: memory", .x_label = "consumers of one source",
			.y_label = "MiB at the peak", .x_decades = {0, 3},
			.series = {{.name = "catchup"}, {.name = "by hand"}}},
	};
	int64_t most = bench_amount(b, 10000000, 1000000);
	int rc;

	if (most < 10000)
		return bench_fail(b, "--amount of growth is the largest source, 10000 or more");
	rc = grow_source(b, most, panels);
	if (rc == 0)
		rc = grow_consumers(b, most / 10, panels);
	if (rc != 0)
		return rc;
	report(b, panels);
	return bench_svg(b) ? draw(b, panels) : 0;
}

const struct bench_scenario bench_scenario_growth = {
	.name = "growth",
	.summary = "speed and memory from 10^4 to 10^7 rows, from 1 to 1,000 consumers",
	.run = run,
	.child = child,
};
