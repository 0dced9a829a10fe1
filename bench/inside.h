/* SPDX-License-Identifier: MIT */
/*
 * inside.h - the program's own view of a run; scenarios see bench.h only.
 */
#ifndef BENCH_INSIDE_H
#define BENCH_INSIDE_H

#include "bench.h"

#include <stdatomic.h>
#include <stdio.h>

enum bench_record_kind {
	BENCH_SIDE,
	BENCH_RATIO,
	BENCH_METRIC,
	BENCH_LIMIT,
	BENCH_POINT,
	BENCH_TIMES,
	BENCH_NOTE,
};

#define BENCH_RUNS_MAX 99
#define BENCH_BUCKETS 48

/* One thing reported; kept in order, printed as text at once and as JSON at the end. */
struct bench_record {
	enum bench_record_kind kind;
	char name[160];
	char unit[32];
	double value;         /* median, ratio, metric, y */
	double aim;           /* RATIO: at least, LIMIT: at most; 0 for none */
	double ours, yardstick; /* RATIO: of what; LIMIT: the yardstick's value; 0: not told */
	double x;             /* POINT */
	double instructions;  /* SIDE: a unit; 0 for not counted */
	double runs[BENCH_RUNS_MAX];
	size_t n_runs;        /* SIDE */
	int64_t percentiles[6]; /* TIMES, ns: 0, 50, 90, 99, 99.9, 100 */
	uint64_t buckets[BENCH_BUCKETS]; /* TIMES: below 2^i ns */
	uint64_t n_times;
};

struct bench_result {
	const struct bench_scenario *scenario;
	bool failed;
	char error[512];
	uint64_t checks; /* that passed */
	double seconds;
	struct bench_record *records; /* owned */
	size_t n_records;
};

/* Which stage of which side this process is asked to do, for counting instructions. */
enum bench_stage { BENCH_STAGE_ALL, BENCH_STAGE_PREPARE, BENCH_STAGE_RUN };

struct bench {
	/* constant after the command line is read */
	bool quick;
	bool json;
	bool markdown;
	bool terminal; /* standard error is one */
	const char *svg; /* NULL: no picture */
	bool instructions;
	int64_t amount; /* 0: as the scenario says */
	size_t rounds;
	const char *dir; /* where the run's folder is made */
	char root[4080]; /* the run's folder; "" in a stage */
	enum bench_stage stage;
	const char *stage_side;
	size_t stage_comparison;

	_Atomic int ending; /* a signal has come: what fails now fails because of it */

	/* of the scenario in hand */
	struct bench_result *result;
	size_t n_comparisons;
	char folder[4096];
};

/* Other than an error: the stage asked for is done, and the scenario should return. */
#define BENCH_STAGE_DONE 1

/* run.c */
int bench_folder_make(struct bench *b);
void bench_folder_remove(struct bench *b);

/* stop.c */
int bench_stop_on_signals(struct bench *b);
void bench_signals_free(void); /* for what is started */
void bench_wait_if_ending(struct bench *b);
void bench_remove_tree(const char *path);
void bench_progress_end(const struct bench *b);

/* report.c */
/* A number with a comma every three digits, or with three digits when it is small. */
const char *bench_figure(char *to, size_t bytes, double value);
struct bench_record *bench_record_add(struct bench *b, enum bench_record_kind kind, const char *name);
void bench_print_environment(const struct bench *b, FILE *to);
void bench_print_text(const struct bench_result *result, FILE *to);
void bench_print_json(
	const struct bench *b, const struct bench_result *results, size_t n, FILE *to);

/* markdown.c */
void bench_print_markdown(
	const struct bench *b, const struct bench_result *results, size_t n, FILE *to);

#endif
