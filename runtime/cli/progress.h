/* SPDX-License-Identifier: MIT */
/*
 * progress.h - how far a backlog is worked off: speed, what is left, how long that takes.
 *
 * A pure function of samples: no clock, no terminal. The speed is that of the last five seconds, so
 * that it follows what happens now and still does not jump with each batch.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "cli/text.h"

#define CLI_PROGRESS_SAMPLES 26

struct cli_progress_sample {
	int64_t at_ms; /* any steady clock */
	int64_t rows;  /* rows done so far, from any start */
	int64_t lag;   /* rows still to do */
};

struct cli_progress {
	struct cli_progress_sample samples[CLI_PROGRESS_SAMPLES]; /* ring */
	size_t n;              /* samples there are */
	size_t next;           /* where the next one goes */
	int64_t backlog_rows;  /* `rows` when the backlog began */
	unsigned behind;       /* samples in a row with something left to do */
};

void cli_progress_sample(struct cli_progress *progress, const struct cli_progress_sample *sample);

/* A backlog is being worked off: twice in a row there was something left. A row that comes and is
 * done at once is none. */
bool cli_progress_shown(const struct cli_progress *progress);

/* Rows done since the backlog began. */
int64_t cli_progress_done(const struct cli_progress *progress);

/* Rows a second over the last samples; 0 when nothing moved. */
int64_t cli_progress_speed(const struct cli_progress *progress);

/* Milliseconds until nothing is left at that speed, -1 when there is no telling. */
int64_t cli_progress_left_ms(const struct cli_progress *progress);

/* Adds the line, at most `columns` wide. utf8: the bar may be drawn with blocks. */
void cli_progress_line(const struct cli_progress *progress, struct cli_text *text,
	const char *label, size_t columns, bool utf8);

#endif
