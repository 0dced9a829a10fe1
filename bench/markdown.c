/* SPDX-License-Identifier: MIT */
/*
 * markdown.c - the figures that have an aim, as the table of README.md; and what was noted beside them.
 */
#include "bench.h"
#include "inside.h"

#include <stdio.h>
#include <string.h>

/* The figure and its unit; an empty cell where there is none. */
static void cell(FILE *to, double value, const char *unit)
{
	char text[64];

	if (value > 0)
		fprintf(to, " %s %s |", bench_figure(text, sizeof(text), value), unit);
	else
		fputs(" |", to);
}

static void row(const char *scenario, const struct bench_record *record, FILE *to)
{
	bool ratio = record->kind == BENCH_RATIO;
	bool met = ratio ? record->value >= record->aim : record->value <= record->aim;
	char text[64];

	fprintf(to, "| `%s` | %s |", scenario, record->name);
	cell(to, ratio ? record->ours : record->value, record->unit);
	cell(to, record->yardstick, record->unit);
	if (ratio)
		fprintf(to, " %.2f | at least %.4g,", record->value, record->aim);
	else
		fprintf(to, " | at most %s %s,", bench_figure(text, sizeof(text), record->aim),
			record->unit);
	fprintf(to, " %s |\n", met ? "met" : "**missed**");
}

void bench_print_markdown(
	const struct bench *b, const struct bench_result *results, size_t n, FILE *to)
{
	double seconds = 0;

	bench_print_environment(b, to);
	fputs("\n| scenario | what | catchup | yardstick | ratio | aim |\n"
	      "|---|---|---|---|---|---|\n", to);
	for (size_t i = 0; i < n; i++) {
		seconds += results[i].seconds;
		for (size_t k = 0; k < results[i].n_records; k++)
			if (results[i].records[k].aim > 0)
				row(results[i].scenario->name, &results[i].records[k], to);
		if (results[i].failed)
			fprintf(to, "| `%s` | failed: %s | | | | |\n", results[i].scenario->name,
				results[i].error);
	}
	fputc('\n', to);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < results[i].n_records; k++)
			if (results[i].records[k].kind == BENCH_NOTE)
				fprintf(to, "- `%s`: %s\n", results[i].scenario->name,
					results[i].records[k].name);
	fprintf(to, "\nMedians of %zu rounds; measured in %.0f s.\n", b->rounds, seconds);
}
