/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what a scenario is written with.
 *
 * A scenario measures catchup against a yardstick, the hand-written best way to do the same work, in
 * one run of the program: the sides take turns, so that a noisy minute hits both, and the ratio is
 * the median of the ratios of the rounds. Every side's results are checked outside the measured time;
 * a wrong result fails the scenario whatever its speed.
 *
 * A scenario file is bench/scenario_NAME.c. It defines `const struct bench_scenario
 * bench_scenario_NAME`, and NAME stands in the list of bench/meson.build.
 *
 * Everything here belongs to the main thread, except the clock.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bench;

struct bench_scenario {
	const char *name;
	const char *summary; /* one line for --list */
	/* Returns 0, or what bench_fail or another function here returned. */
	int (*run)(struct bench *b);
	/* What a process started by bench_child_start does; may be NULL. Returns its exit code. */
	int (*child)(int argc, char **argv);
};

/* ---- about this run ----------------------------------------------------------------------- */

bool bench_quick(const struct bench *b);

/* The size of the work: `full`, `quick` under --quick, or what --amount says. */
int64_t bench_amount(const struct bench *b, int64_t full, int64_t quick);

/* Whether instructions are being counted: everything takes some fifty times as long. b may be NULL. */
bool bench_is_slow(const struct bench *b);

/* A fresh, empty folder for database files; removed with its content after each run of a side and
 * after the scenario. Valid until then. */
const char *bench_folder(const struct bench *b);

/* Empties it, for a scenario that has sides of its own making. Returns 0, or -1 after bench_fail. */
int bench_folder_renew(struct bench *b);

/* bench_folder/name, in a buffer that the caller gives. Returns it. */
const char *bench_path(const struct bench *b, char *to, size_t bytes, const char *name);

int64_t bench_now_ns(void);
void bench_sleep_ns(int64_t ns);

/* How many rounds a scenario with a comparison of its own making does. */
size_t bench_rounds(const struct bench *b);

/* Where a picture is to be written; NULL: nowhere. */
const char *bench_svg(const struct bench *b);

/* What is being measured now, on one line of the terminal, if standard error is one. */
void bench_progress(const struct bench *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Something that must hold, checked outside the measured time: counted where it does, otherwise the
 * scenario has failed. Returns 0 or -1. bench_expect (database.h) and sides' checks count too. */
int bench_check(struct bench *b, bool right, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The scenario has failed: says why, at most once a scenario. b may be NULL, in a child process: then
 * it is said on standard error. Returns -1. */
int bench_fail(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- comparing ---------------------------------------------------------------------------- */

/* One way of doing the work. All three return 0, or what bench_fail returned. */
struct bench_side {
	const char *name;
	int (*prepare)(struct bench *b, void *context); /* not measured; may be NULL */
	int (*run)(struct bench *b, void *context);     /* measured */
	int (*check)(struct bench *b, void *context);   /* not measured; may be NULL */
	void *context;                                  /* borrowed */
	int64_t amount; /* units it does in a run; 0: as many as the comparison says */
};

struct bench_comparison {
	const char *name;  /* "" where a scenario has one comparison */
	const char *unit;  /* what is counted: "rows" */
	int64_t amount;    /* how many of them each run does, unless a side says otherwise */
	const struct bench_side *sides;
	size_t n_sides;
	size_t yardstick;  /* index of the side that the others are divided by */
	double aim;        /* least ratio aimed at for side 0; 0: none */
	/* Count instructions a unit, where valgrind is present and --instructions is given: the sides
	 * run once more, `prepare` in one process and `run` in another under callgrind, with
	 * this amount of work and twice as much; the difference is divided. 0: do not. The sides must find
	 * in the folder what `prepare` left. */
	int64_t instructions_amount;
};

/*
 * Runs the sides in turn, as many rounds as --rounds says (5), and reports each side's median units a
 * second and its ratio to the yardstick. medians: n_sides numbers, may be NULL.
 * Returns 0, or other than 0 when a side failed; the scenario returns that.
 */
int bench_compare(struct bench *b, const struct bench_comparison *comparison, double *medians);

/* ---- reporting ---------------------------------------------------------------------------- */

void bench_metric(struct bench *b, const char *name, double value, const char *unit);
/* A ratio of the scenario's own making; aim 0: none. */
void bench_ratio(struct bench *b, const char *name, double value, double aim);
/* The same of two values that are shown beside it. */
void bench_ratio_of(struct bench *b, const char *name, double ours, double yardstick,
	const char *unit, double aim);
/* A figure that should be at most so much; yardstick: the same figure of the yardstick, 0: none. */
void bench_limit(struct bench *b, const char *name, double value, double yardstick,
	const char *unit, double most);
/* A point of a curve; points with the same series name belong together. */
void bench_point(struct bench *b, const char *series, double x, double y);
/* Percentiles and a histogram of times. Sorts them. */
void bench_times(struct bench *b, const char *name, int64_t *ns, size_t n);
/* A sentence under the figures. */
void bench_note(struct bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The median of n numbers (sorts them), and a percentile (0 to 100) of sorted times. */
double bench_median(double *values, size_t n);
int64_t bench_percentile(const int64_t *sorted, size_t n, double percent);

/* ---- other processes ---------------------------------------------------------------------- */

/*
 * Starts a program with the arguments (ended by NULL; the first is its name). It dies with this
 * process. *out, if not NULL, becomes a descriptor on its standard output, closed by the caller.
 * Returns its pid, or -1 after bench_fail. The caller waits for it with bench_child_end.
 */
pid_t bench_program_start(
	struct bench *b, const char *program, const char *const *argv, int *out);

/* The same with this program anew, as a process that runs the scenario's `child` with the arguments. */
pid_t bench_child_start(
	struct bench *b, const char *scenario, const char *const *arguments, int *out);

/* Sends a signal (0: none) and waits. Returns the exit code, 128 + N for a signal. */
int bench_child_end(pid_t pid, int signal_number);

/* Exactly so many bytes; fails when the other process ends before. */
int bench_read_all(struct bench *b, int fd, void *to, size_t bytes);
/* In a child. Returns 0 or -1. */
int bench_write_all(int fd, const void *from, size_t bytes);

/* Processor time of this process since it began. */
int64_t bench_processor_ns(void);
/* A number from /proc/self/status, such as VmHWM (KiB) or Threads; -1: there is none. */
int64_t bench_self_status(const char *key);

#endif
