/* SPDX-License-Identifier: MIT */
/*
 * term.h - standard error: log lines from any thread, and one progress line that stays below them.
 *
 * One lock and one write a line: log lines never mix with each other or with the progress line, which
 * is taken away before a log line and drawn again behind it. Nobody waits long for who reads them: lines
 * that are not taken are lost, and counted in the next one that is.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include "cli/text.h"

#include <catchup/catchup.h>
#include <pthread.h>

struct cli_term {
	/* constant after cli_term_init */
	int fd;
	bool json;
	enum catchup_log_level level;

	/* guarded by mutex */
	pthread_mutex_t mutex;
	struct cli_text out;      /* what is written next; kept for its memory */
	struct cli_text progress; /* the line on the screen, "" when there is none */
	uint64_t lost;            /* log lines that could not be written since the last that could */
};

void cli_term_init(struct cli_term *term, int fd, bool json, enum catchup_log_level level);
void cli_term_finish(struct cli_term *term);

/* The hook for catchup_options.log; context is the struct cli_term. Any thread. */
void cli_term_log(void *context, enum catchup_log_level level, const char *subject,
	const char *message);
void cli_term_logf(struct cli_term *term, enum catchup_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Draws the progress line, "" takes it away. Any thread. */
void cli_term_progress(struct cli_term *term, const char *line);

/* The two forms of a log line, with the end of line. */
void cli_term_text_line(struct cli_text *out, int64_t unix_ms, enum catchup_log_level level,
	const char *subject, const char *message);
void cli_term_json_line(struct cli_text *out, int64_t unix_ms, enum catchup_log_level level,
	const char *subject, const char *message);

/* Columns of the terminal at fd, 80 when that is not to be known. */
size_t cli_term_columns(int fd);

/* Whether fd is a terminal that can redraw a line; and whether it shows UTF-8 by its locale. */
bool cli_term_can_redraw(int fd);
bool cli_term_utf8(void);

/* Whether the terminal at fd is ours to draw on: not while the process is a background job. */
bool cli_term_in_front(int fd);

#endif
