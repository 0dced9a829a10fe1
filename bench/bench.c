/* SPDX-License-Identifier: MIT */
/*
 * bench.c - catchup-bench: the command line, the scenarios' folders and child processes.
 */
#include "bench.h"
#include "inside.h"
#include "scenarios.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DECLARE(name) extern const struct bench_scenario bench_scenario_##name;
BENCH_SCENARIOS(DECLARE)

#define ENTRY(name) &bench_scenario_##name,
static const struct bench_scenario *const scenarios[] = {BENCH_SCENARIOS(ENTRY)};
#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static const char usage[] =
	"usage: catchup-bench SCENARIO... [--json] [--quick] [--rounds N] [--dir FOLDER]\n"
	"                     [--amount N] [--instructions]\n"
	"       catchup-bench --list\n"
	"\n"
	"  --json          one JSON document on standard output\n"
	"  --quick         less work and three rounds: does it run, not how fast is it\n"
	"  --rounds N      rounds of each comparison, 1 to 99 (5)\n"
	"  --dir FOLDER    where database files are made ($TMPDIR or /tmp)\n"
	"  --amount N      size of the work, such as rows\n"
	"  --instructions  count instructions too, under valgrind\n"
	"  --list          the scenarios; `all` runs each of them\n";

int64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bool bench_quick(const struct bench *b)
{
	return b->quick;
}

int64_t bench_amount(const struct bench *b, int64_t full, int64_t quick)
{
	if (b->amount)
		return b->amount;
	return b->quick ? quick : full;
}

int bench_fail(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	if (b && b->result->failed)
		return -1;
	va_start(ap, fmt);
	if (b) {
		b->result->failed = true;
		vsnprintf(b->result->error, sizeof(b->result->error), fmt, ap);
	} else {
		fputs("catchup-bench: a child process: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
	}
	va_end(ap);
	return -1;
}

/* ---- folders ------------------------------------------------------------------------------ */

const char *bench_folder(const struct bench *b)
{
	return b->folder;
}

const char *bench_path(const struct bench *b, char *to, size_t bytes, const char *name)
{
	snprintf(to, bytes, "%s/%s", b->folder, name);
	return to;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st;
	(void)flag;
	(void)at;
	return remove(path);
}

int bench_folder_make(struct bench *b)
{
	if (b->stage != BENCH_STAGE_ALL) {
		/* The folder is handed from one stage to the next; its maker removes it. */
		snprintf(b->folder, sizeof(b->folder), "%s", b->dir);
		return 0;
	}
	if (snprintf(b->folder, sizeof(b->folder), "%s/catchup-bench.XXXXXX", b->dir) >=
		(int)sizeof(b->folder))
		return bench_fail(b, "the folder's name is too long");
	if (!mkdtemp(b->folder)) {
		b->folder[0] = '\0';
		return bench_fail(b, "no folder in '%s': %s", b->dir, strerror(errno));
	}
	return 0;
}

void bench_folder_remove(struct bench *b)
{
	if (b->stage == BENCH_STAGE_ALL && b->folder[0])
		nftw(b->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	b->folder[0] = '\0';
}

/* ---- child processes ---------------------------------------------------------------------- */

pid_t bench_child_start(
	struct bench *b, const char *scenario, const char *const *arguments, int *out)
{
	const char *argv[64] = {"catchup-bench", "--child", scenario};
	size_t n = 3;
	int ends[2] = {-1, -1};
	pid_t pid;

	for (; *arguments; arguments++) {
		if (n + 1 >= sizeof(argv) / sizeof(argv[0]))
			return bench_fail(b, "too many arguments for a child process");
		argv[n++] = *arguments;
	}
	if (out && pipe(ends) != 0)
		return bench_fail(b, "pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (out) {
			dup2(ends[1], STDOUT_FILENO);
			close(ends[0]);
			close(ends[1]);
		}
		execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (out) {
		close(ends[1]);
		*out = ends[0];
	}
	if (pid < 0) {
		if (out)
			close(ends[0]);
		return bench_fail(b, "fork: %s", strerror(errno));
	}
	return pid;
}

int bench_child_end(pid_t pid, int signal_number)
{
	int status;

	if (signal_number)
		kill(pid, signal_number);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return 127;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- command line ------------------------------------------------------------------------- */

static const struct bench_scenario *find_scenario(const char *name)
{
	for (size_t i = 0; i < N_SCENARIOS; i++) {
		if (strcmp(scenarios[i]->name, name) == 0)
			return scenarios[i];
	}
	return NULL;
}

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "catchup-bench: %s '%s'\n\n%s", what, value, usage);
	return 2;
}

static bool number(const char *text, long long least, long long most, long long *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && *out >= least && *out <= most;
}

static void run_scenario(struct bench *b, const struct bench_scenario *scenario)
{
	int64_t start = bench_now_ns();

	b->result->scenario = scenario;
	b->n_comparisons = 0;
	if (bench_folder_make(b) == 0) {
		int rc = scenario->run(b);

		if (rc != 0 && rc != BENCH_STAGE_DONE)
			bench_fail(b, "failed without a reason (%d)", rc);
	}
	bench_folder_remove(b);
	b->result->seconds = (double)(bench_now_ns() - start) / 1e9;
}

/* Reads one option that has a value. Returns 0 when taken, 2 when wrong, -1 when it is none. */
static int option_with_value(struct bench *b, const char *name, const char *value)
{
	long long n;

	if (strcmp(name, "--rounds") == 0) {
		if (!number(value, 1, BENCH_RUNS_MAX, &n))
			return wrong("--rounds is 1 to 99, not", value);
		b->rounds = (size_t)n;
	} else if (strcmp(name, "--amount") == 0) {
		if (!number(value, 1, INT64_C(1000000000000), &n))
			return wrong("--amount is 1 to 10^12, not", value);
		b->amount = n;
	} else if (strcmp(name, "--dir") == 0) {
		b->dir = value;
	} else if (strcmp(name, "--stage") == 0) { /* between our own processes */
		b->stage = strcmp(value, "prepare") == 0 ? BENCH_STAGE_PREPARE : BENCH_STAGE_RUN;
	} else if (strcmp(name, "--stage-side") == 0) {
		b->stage_side = value;
	} else if (strcmp(name, "--stage-comparison") == 0) {
		if (!number(value, 0, 1000, &n))
			return wrong("--stage-comparison", value);
		b->stage_comparison = (size_t)n;
	} else {
		return -1;
	}
	return 0;
}

static int read_arguments(struct bench *b, int argc, char **argv,
	const struct bench_scenario **chosen, size_t *n_chosen)
{
	for (int i = 1; i < argc; i++) {
		int rc;

		if (strcmp(argv[i], "--json") == 0) {
			b->json = true;
		} else if (strcmp(argv[i], "--quick") == 0) {
			b->quick = true;
		} else if (strcmp(argv[i], "--instructions") == 0) {
			b->instructions = true;
		} else if (strcmp(argv[i], "all") == 0) {
			memcpy(chosen, scenarios, sizeof(scenarios));
			*n_chosen = N_SCENARIOS;
		} else if (argv[i][0] != '-') {
			const struct bench_scenario *found = find_scenario(argv[i]);

			if (!found)
				return wrong("no scenario", argv[i]);
			if (*n_chosen < N_SCENARIOS)
				chosen[(*n_chosen)++] = found;
		} else if (i + 1 == argc) {
			return wrong("unknown option, or one without its value,", argv[i]);
		} else {
			rc = option_with_value(b, argv[i], argv[i + 1]);
			if (rc < 0)
				return wrong("unknown option", argv[i]);
			if (rc > 0)
				return rc;
			i++;
		}
	}
	return *n_chosen > 0 ? 0 : wrong("no scenario is given in", argc > 1 ? argv[1] : "");
}

static int run_child(int argc, char **argv)
{
	const struct bench_scenario *scenario = argc > 2 ? find_scenario(argv[2]) : NULL;

	if (!scenario || !scenario->child)
		return 2;
	return scenario->child(argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
	const struct bench_scenario *chosen[N_SCENARIOS];
	struct bench_result results[N_SCENARIOS] = {0};
	struct bench b = {.dir = getenv("TMPDIR")};
	size_t n_chosen = 0;
	int failed = 0;
	int rc;

	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return run_child(argc, argv);
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < N_SCENARIOS; i++)
			printf("%-12s %s\n", scenarios[i]->name, scenarios[i]->summary);
		return 0;
	}
	if (!b.dir || !b.dir[0])
		b.dir = "/tmp";
	rc = read_arguments(&b, argc, argv, chosen, &n_chosen);
	if (rc != 0)
		return rc;
	if (b.rounds == 0)
		b.rounds = b.quick ? 3 : 5;

	if (!b.json && b.stage == BENCH_STAGE_ALL)
		bench_print_environment(&b, stdout);
	for (size_t i = 0; i < n_chosen; i++) {
		b.result = &results[i];
		run_scenario(&b, chosen[i]);
		failed |= b.result->failed;
		if (b.stage != BENCH_STAGE_ALL && b.result->failed)
			fprintf(stderr, "%s\n", b.result->error);
		else if (!b.json && b.stage == BENCH_STAGE_ALL)
			bench_print_text(&results[i], stdout);
		fflush(stdout);
	}
	if (b.json && b.stage == BENCH_STAGE_ALL)
		bench_print_json(&b, results, n_chosen, stdout);
	for (size_t i = 0; i < n_chosen; i++)
		free(results[i].records);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("catchup-bench: standard output");
		return 1;
	}
	return failed ? 1 : 0;
}
