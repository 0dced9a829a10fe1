/* SPDX-License-Identifier: MIT */
/*
 * compare.c - sides that take turns, their medians and ratios, and counted instructions.
 */
#include "bench.h"
#include "inside.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, size_t n)
{
	if (n == 0)
		return 0;
	qsort(values, n, sizeof(values[0]), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Runs a side once in a folder of its own. *seconds is what its `run` took. */
static int run_side(struct bench *b, const struct bench_side *side, double *seconds)
{
	int64_t start;
	int rc = 0;

	bench_folder_remove(b);
	rc = bench_folder_make(b);
	if (rc == 0 && side->prepare)
		rc = side->prepare(b, side->context);
	if (rc != 0)
		return rc;
	start = bench_now_ns();
	rc = side->run(b, side->context);
	*seconds = (double)(bench_now_ns() - start) / 1e9;
	if (rc == 0 && side->check) {
		rc = side->check(b, side->context);
		b->result->checks += rc == 0;
	}
	return rc;
}

/* This process was started to do one stage of one side. */
static int run_stage(struct bench *b, const struct bench_comparison *comparison)
{
	for (size_t i = 0; i < comparison->n_sides; i++) {
		const struct bench_side *side = &comparison->sides[i];
		int rc = 0;

		if (strcmp(side->name, b->stage_side) != 0)
			continue;
		if (b->stage == BENCH_STAGE_RUN)
			rc = side->run(b, side->context);
		else if (side->prepare)
			rc = side->prepare(b, side->context);
		return rc ? rc : BENCH_STAGE_DONE;
	}
	return bench_fail(b, "no side '%s'", b->stage_side);
}

/* ---- instructions ------------------------------------------------------------------------- */

/* Quotes for the shell. */
static void quote(char *to, size_t bytes, const char *from)
{
	size_t n = 0;

	to[n++] = '\'';
	for (; *from && n + 6 < bytes; from++) {
		if (*from == '\'') {
			memcpy(to + n, "'\\''", 4);
			n += 4;
		} else {
			to[n++] = *from;
		}
	}
	to[n++] = '\'';
	to[n] = '\0';
}

/* Instructions of one run of a side with this amount of work; 0 when they cannot be counted. */
static double count_run(
	struct bench *b, const struct bench_comparison *comparison, size_t side, int64_t amount)
{
	char self[4096], folder[4096], name[256], command[16384], line[512];
	double counted = 0;
	ssize_t n = readlink("/proc/self/exe", line, sizeof(line) - 1);
	FILE *pipe;

	bench_folder_remove(b);
	if (n <= 0 || bench_folder_make(b) != 0)
		return 0;
	line[n] = '\0';
	quote(self, sizeof(self), line);
	quote(folder, sizeof(folder), b->folder);
	quote(name, sizeof(name), comparison->sides[side].name);
	for (int stage = 0; stage < 2; stage++) {
		snprintf(command, sizeof(command),
			"%s %s %s --dir %s --amount %" PRId64
			" --stage %s --stage-side %s --stage-comparison %zu 2>&1",
			stage ? "valgrind --tool=callgrind --callgrind-out-file=/dev/null" : "", self,
			b->result->scenario->name, folder, amount, stage ? "run" : "prepare", name,
			b->n_comparisons - 1);
		pipe = popen(command, "r");
		if (!pipe)
			return 0;
		while (fgets(line, sizeof(line), pipe)) {
			const char *found = strstr(line, "Collected : ");

			if (found)
				counted = strtod(found + strlen("Collected : "), NULL);
		}
		if (pclose(pipe) != 0)
			return 0;
	}
	return counted;
}

static int64_t amount_of(const struct bench_comparison *comparison, size_t side)
{
	int64_t amount = comparison->sides[side].amount;

	return amount ? amount : comparison->amount;
}

static double count_instructions(
	struct bench *b, const struct bench_comparison *comparison, size_t side)
{
	int64_t amount = comparison->instructions_amount;
	double once = count_run(b, comparison, side, amount);
	double twice = once > 0 ? count_run(b, comparison, side, 2 * amount) : 0;
	/* A side that does a part of the amount does the same part of this one. */
	double part = (double)amount_of(comparison, side) / (double)comparison->amount;

	return twice > once ? (twice - once) / ((double)amount * part) : 0;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static void full_name(char *to, size_t bytes, const struct bench_comparison *c, const char *side)
{
	snprintf(to, bytes, "%s%s%s", c->name, c->name[0] ? ": " : "", side);
}

/* centre: becomes the median of each side. */
static int report(struct bench *b, const struct bench_comparison *c, double *rates, double *centre)
{
	const double *yardstick = rates + c->yardstick * b->rounds;
	bool counting = b->instructions && c->instructions_amount > 0;
	char name[160];

	if (counting && system("command -v valgrind >/dev/null 2>&1") != 0) {
		bench_note(b, "valgrind is not installed: no instructions are counted");
		counting = false;
	}
	for (size_t i = 0; i < c->n_sides; i++) {
		struct bench_record *record;
		double *mine = rates + i * b->rounds;
		double sorted[BENCH_RUNS_MAX];
		double counted = counting ? count_instructions(b, c, i) : 0;

		full_name(name, sizeof(name), c, c->sides[i].name);
		record = bench_record_add(b, BENCH_SIDE, name);
		if (!record)
			return -1;
		snprintf(record->unit, sizeof(record->unit), "%s/s", c->unit);
		memcpy(record->runs, mine, b->rounds * sizeof(mine[0]));
		record->n_runs = b->rounds;
		memcpy(sorted, mine, b->rounds * sizeof(mine[0]));
		record->value = bench_median(sorted, b->rounds);
		record->instructions = counted;
		centre[i] = record->value;
	}
	for (size_t i = 0; i < c->n_sides; i++) {
		struct bench_record *record;
		double ratios[BENCH_RUNS_MAX];
		char versus[128];

		if (i == c->yardstick)
			continue;
		for (size_t r = 0; r < b->rounds; r++)
			ratios[r] = rates[i * b->rounds + r] / yardstick[r];
		snprintf(versus, sizeof(versus), "%s / %s", c->sides[i].name,
			c->sides[c->yardstick].name);
		full_name(name, sizeof(name), c, versus);
		record = bench_record_add(b, BENCH_RATIO, name);
		if (!record)
			return -1;
		record->value = bench_median(ratios, b->rounds);
		record->aim = i == 0 ? c->aim : 0;
		record->ours = centre[i];
		record->yardstick = centre[c->yardstick];
		snprintf(record->unit, sizeof(record->unit), "%s/s", c->unit);
	}
	return 0;
}

int bench_compare(struct bench *b, const struct bench_comparison *comparison, double *medians)
{
	double *rates, *centre;
	int rc = 0;

	b->n_comparisons++;
	if (b->stage != BENCH_STAGE_ALL) {
		if (b->n_comparisons - 1 == b->stage_comparison)
			return run_stage(b, comparison);
		for (size_t i = 0; medians && i < comparison->n_sides; i++)
			medians[i] = 1;
		return 0;
	}
	rates = calloc(comparison->n_sides * (b->rounds + 1), sizeof(rates[0]));
	if (!rates)
		return bench_fail(b, "out of memory");
	centre = rates + comparison->n_sides * b->rounds;
	for (size_t r = 0; r < b->rounds; r++) {
		for (size_t i = 0; i < comparison->n_sides; i++) {
			/* Every other round backwards, so that no side always runs on the other's heels. */
			size_t side = r % 2 ? comparison->n_sides - 1 - i : i;
			double seconds = 0;

			bench_progress(b, "%s%sround %zu of %zu, %s", comparison->name,
				comparison->name[0] ? ", " : "", r + 1, b->rounds,
				comparison->sides[side].name);
			rc = run_side(b, &comparison->sides[side], &seconds);
			if (rc != 0) {
				bench_fail(b, "side '%s' failed", comparison->sides[side].name);
				goto out;
			}
			if (seconds <= 0)
				seconds = 1e-9;
			rates[side * b->rounds + r] =
				(double)amount_of(comparison, side) / seconds;
		}
	}
	rc = report(b, comparison, rates, centre);
	if (medians)
		memcpy(medians, centre, comparison->n_sides * sizeof(centre[0]));
out:
	bench_folder_remove(b);
	if (rc == 0)
		rc = bench_folder_make(b);
	free(rates);
	return rc;
}
