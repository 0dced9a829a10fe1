/* SPDX-License-Identifier: MIT */
#include "cli/progress.h"

#include <string.h>

#define BAR_MAX 24
#define LABEL_COLUMNS 24

static const struct cli_progress_sample *newest(const struct cli_progress *progress)
{
	return &progress->samples[(progress->next + CLI_PROGRESS_SAMPLES - 1) %
				  CLI_PROGRESS_SAMPLES];
}

static const struct cli_progress_sample *oldest(const struct cli_progress *progress)
{
	return &progress->samples[progress->n < CLI_PROGRESS_SAMPLES ? 0 : progress->next];
}

void cli_progress_sample(struct cli_progress *progress, const struct cli_progress_sample *sample)
{
	/* Each backlog has a bar and a speed of its own. */
	if (progress->behind == 0 && sample->lag > 0) {
		const int64_t before = progress->n ? newest(progress)->rows : sample->rows;

		*progress = (struct cli_progress){.backlog_rows = before};
	}
	progress->samples[progress->next] = *sample;
	progress->next = (progress->next + 1) % CLI_PROGRESS_SAMPLES;
	if (progress->n < CLI_PROGRESS_SAMPLES)
		progress->n++;
	if (sample->lag <= 0)
		progress->behind = 0;
	else if (progress->behind < 2)
		progress->behind++;
}

bool cli_progress_shown(const struct cli_progress *progress)
{
	return progress->behind >= 2;
}

int64_t cli_progress_done(const struct cli_progress *progress)
{
	int64_t done = progress->n ? newest(progress)->rows - progress->backlog_rows : 0;

	return done > 0 ? done : 0;
}

int64_t cli_progress_speed(const struct cli_progress *progress)
{
	const struct cli_progress_sample *first, *last;
	int64_t rows, ms;

	if (progress->n < 2)
		return 0;
	first = oldest(progress);
	last = newest(progress);
	rows = last->rows - first->rows;
	ms = last->at_ms - first->at_ms;
	return rows > 0 && ms > 0 ? (int64_t)((double)rows * 1000.0 / (double)ms) : 0;
}

int64_t cli_progress_left_ms(const struct cli_progress *progress)
{
	int64_t speed = cli_progress_speed(progress);
	double ms;

	if (speed == 0)
		return -1;
	ms = (double)newest(progress)->lag / (double)speed * 1000.0;
	/* Past a hundred days the figure says nothing. */
	return ms < 100.0 * 86400e3 ? (int64_t)ms : -1;
}

static void bar(struct cli_text *text, double part, size_t columns, bool utf8)
{
	/* Eighths of a column where the terminal can show them. */
	static const char *const blocks[] = {"", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b",
		"\u258a", "\u2589", "\u2588"};
	size_t steps = utf8 ? 8 : 1;
	size_t filled = (size_t)(part * (double)(columns * steps));

	cli_text_puts(text, "[");
	for (size_t i = 0; i < columns; i++) {
		size_t here = filled > i * steps ? filled - i * steps : 0;

		if (here > steps)
			here = steps;
		if (here == 0)
			cli_text_puts(text, utf8 ? " " : ".");
		else
			cli_text_puts(text, utf8 ? blocks[here] : "#");
	}
	cli_text_puts(text, "]");
}

void cli_progress_line(const struct cli_progress *progress, struct cli_text *text,
	const char *label, size_t columns, bool utf8)
{
	int64_t done = cli_progress_done(progress);
	int64_t lag = progress->n ? newest(progress)->lag : 0;
	int64_t left = cli_progress_left_ms(progress);
	double part = done > 0 ? (double)done / ((double)done + (double)lag) : 0.0;
	struct cli_text figures = {0};
	struct cli_text name = {0};
	size_t used;

	cli_text_printf(&figures, " %3d%%  ", (int)(part * 100.0));
	cli_text_grouped(&figures, done);
	cli_text_puts(&figures, " rows  ");
	cli_text_grouped(&figures, cli_progress_speed(progress));
	cli_text_puts(&figures, "/s  lag ");
	cli_text_grouped(&figures, lag);
	if (left >= 0) {
		cli_text_puts(&figures, "  ");
		cli_text_duration(&figures, left);
		cli_text_puts(&figures, " left");
	}
	/* The figures matter most, then the name, then the bar. */
	used = figures.used;
	if (used + 4 <= columns) {
		size_t room = columns - used - 1;

		used += 1 + cli_text_show(&name, label, strlen(label),
			room < LABEL_COLUMNS ? room : LABEL_COLUMNS);
		cli_text_add(text, name.data, name.used);
		cli_text_puts(text, " ");
	}
	if (used + 8 <= columns)
		bar(text, part, columns - used - 2 < BAR_MAX ? columns - used - 2 : BAR_MAX, utf8);
	cli_text_add(text, figures.data, figures.used < columns ? figures.used : columns);
	text->failed = text->failed || figures.failed || name.failed;
	cli_text_free(&figures);
	cli_text_free(&name);
}
