/* SPDX-License-Identifier: MIT */
/*
 * bench.c - catchup-bench: the command line, and which scenarios it runs.
 */
#include "bench.h"
#include "inside.h"
#include "scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DECLARE(name) extern const struct bench_scenario bench_scenario_##name;
BENCH_SCENARIOS(DECLARE)

#define ENTRY(name) &bench_scenario_##name,
static const struct bench_scenario *const scenarios[] = {BENCH_SCENARIOS(ENTRY)};
#define N_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static const char usage[] =
	"usage: catchup-bench SCENARIO... [--json | --markdown] [--quick] [--rounds N] [--dir FOLDER]\n"
	"                     [--amount N] [--instructions] [--svg FILE]\n"
	"       catchup-bench --list\n"
	"\n"
	"Measures catchup against yardsticks, the hand-written best ways to do the same work, which\n"
	"alternate with it in one run. Results are checked; figures are medians of the rounds.\n"
	"\n"
	"  --json          one JSON document on standard output\n"
	"  --markdown      the figures that have an aim, as a table\n"
	"  --quick         less work and three rounds: does it run, not how fast is it\n"
	"  --rounds N      rounds of each comparison, 1 to 99 (5)\n"
	"  --dir FOLDER    where database files are made ($TMPDIR or /tmp)\n"
	"  --amount N      size of the work, such as rows; each scenario has its own\n"
	"  --instructions  count instructions too, under valgrind\n"
	"  --svg FILE      a picture of the curve that `growth` measures\n"
	"  --list          the scenarios; `all` runs each of them\n";

/* The one folder of this run, in which all others are. */
static int make_root(struct bench *b)
{
	if (b->stage != BENCH_STAGE_ALL)
		return 0;
	if (snprintf(b->root, sizeof(b->root), "%s/catchup-bench.XXXXXX", b->dir) >=
			(int)sizeof(b->root) ||
		!mkdtemp(b->root)) {
		fprintf(stderr, "catchup-bench: no folder in '%s': %s\n", b->dir, strerror(errno));
		b->root[0] = '\0';
		return -1;
	}
	return 0;
}

/* A picture that cannot be written is said before it is measured. */
static int try_picture(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	bool made = fd >= 0;

	if (!made && errno == EEXIST)
		fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "catchup-bench: cannot write '%s': %s\n", path, strerror(errno));
		return -1;
	}
	close(fd);
	if (made)
		unlink(path);
	return 0;
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
	bench_progress_end(b);
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
		if (!value[0])
			return wrong("--dir is a folder, not", value);
		b->dir = value;
	} else if (strcmp(name, "--svg") == 0) {
		b->svg = value;
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

/* Only one scenario draws. */
static int check_picture(const char *path, const struct bench_scenario *const *chosen, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(chosen[i]->name, "growth") == 0)
			return 0;
	return wrong("without 'growth' there is no picture for --svg", path);
}

static int read_arguments(struct bench *b, int argc, char **argv,
	const struct bench_scenario **chosen, size_t *n_chosen)
{
	for (int i = 1; i < argc; i++) {
		int rc;

		if (strcmp(argv[i], "--json") == 0) {
			b->json = true;
		} else if (strcmp(argv[i], "--markdown") == 0) {
			b->markdown = true;
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
	if (*n_chosen == 0)
		return wrong("no scenario is given in", argc > 1 ? argv[1] : "");
	if (b->json && b->markdown)
		return wrong("--json does not go with", "--markdown");
	return b->svg ? check_picture(b->svg, chosen, *n_chosen) : 0;
}

static int run_child(int argc, char **argv)
{
	const struct bench_scenario *scenario = argc > 2 ? find_scenario(argv[2]) : NULL;

	if (!scenario || !scenario->child)
		return 2;
	return scenario->child(argc - 2, argv + 2);
}

static void list(void)
{
	for (size_t i = 0; i < N_SCENARIOS; i++)
		printf("  %-14s  %s\n", scenarios[i]->name, scenarios[i]->summary);
}

/* Prints what all scenarios found, where that is printed at the end. */
static void print_all(const struct bench *b, const struct bench_result *results, size_t n)
{
	if (b->json)
		bench_print_json(b, results, n, stdout);
	else if (b->markdown)
		bench_print_markdown(b, results, n, stdout);
}

static int run_scenarios(struct bench *b, const struct bench_scenario *const *chosen, size_t n)
{
	struct bench_result results[N_SCENARIOS] = {0};
	bool alone = b->stage == BENCH_STAGE_ALL;
	bool text = alone && !b->json && !b->markdown;
	int failed = 0;

	if (text)
		bench_print_environment(b, stdout);
	for (size_t i = 0; i < n; i++) {
		b->result = &results[i];
		run_scenario(b, chosen[i]);
		bench_wait_if_ending(b);
		failed |= b->result->failed;
		if (text)
			bench_print_text(b->result, stdout);
		else if (b->result->failed)
			fprintf(stderr, "catchup-bench: %s: %s\n", chosen[i]->name, b->result->error);
		fflush(stdout);
	}
	if (alone)
		print_all(b, results, n);
	for (size_t i = 0; i < n; i++)
		free(results[i].records);
	return failed;
}

int main(int argc, char **argv)
{
	const struct bench_scenario *chosen[N_SCENARIOS];
	struct bench b = {.dir = getenv("TMPDIR"), .terminal = isatty(STDERR_FILENO) != 0};
	size_t n_chosen = 0;
	int rc;

	if (argc > 1 && strcmp(argv[1], "--child") == 0)
		return run_child(argc, argv);
	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		fputs(usage, stdout);
		puts("\nScenarios:");
		list();
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		list();
		return 0;
	}
	if (!b.dir || !b.dir[0])
		b.dir = "/tmp";
	rc = read_arguments(&b, argc, argv, chosen, &n_chosen);
	if (rc != 0)
		return rc;
	if (b.rounds == 0)
		b.rounds = b.quick ? 3 : 5;
	if ((b.svg && try_picture(b.svg) != 0) || bench_stop_on_signals(&b) != 0 || make_root(&b) != 0)
		return 1;
	rc = run_scenarios(&b, chosen, n_chosen);
	if (b.root[0])
		bench_remove_tree(b.root);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("catchup-bench: standard output");
		return 1;
	}
	return rc;
}
