/* SPDX-License-Identifier: MIT */
#include "cli/term.h"
#include "cli/json_out.h"
#include "cli/process.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ERASE_LINE "\r\x1b[K"

/* A name may have a megabyte; a log line should not. */
#define SUBJECT_COLUMNS 200
#define SUBJECT_BYTES 1024

/* A pipe or terminal that takes nothing for so long is not waited for any more until it does: whoever logs may
 * be in a transaction, and an application in another process waits for its end. */
#define PATIENCE_MS 100

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static const char *level_name(enum catchup_log_level level)
{
	return (unsigned)level < 4 ? level_names[level] : "debug";
}

void cli_term_init(struct cli_term *term, int fd, bool json, enum catchup_log_level level)
{
	*term = (struct cli_term){.fd = fd, .json = json, .level = level};
	pthread_mutex_init(&term->mutex, NULL);
}

void cli_term_finish(struct cli_term *term)
{
	cli_term_progress(term, "");
	pthread_mutex_destroy(&term->mutex);
	cli_text_free(&term->out);
	cli_text_free(&term->progress);
}

void cli_term_text_line(struct cli_text *out, int64_t unix_ms, enum catchup_log_level level,
	const char *subject, const char *message)
{
	cli_text_time(out, unix_ms);
	cli_text_printf(out, " %-5s ", level_name(level));
	if (*subject) {
		cli_text_show(out, subject, strlen(subject), SUBJECT_COLUMNS);
		cli_text_puts(out, ": ");
	}
	cli_text_show(out, message, strlen(message), SIZE_MAX);
	cli_text_puts(out, "\n");
}

void cli_term_json_line(struct cli_text *out, int64_t unix_ms, enum catchup_log_level level,
	const char *subject, const char *message)
{
	struct cli_json json = {.to = out};
	struct cli_text time = {0};

	cli_text_time(&time, unix_ms);
	cli_json_object(&json, NULL);
	cli_json_text(&json, "time", cli_text_string(&time));
	cli_json_text(&json, "level", level_name(level));
	cli_json_bytes(&json, "subject", subject, strnlen(subject, SUBJECT_BYTES));
	cli_json_text(&json, "message", message);
	cli_json_end_object(&json);
	cli_text_puts(out, "\n");
	cli_text_free(&time);
}

static void add_line(struct cli_term *term, enum catchup_log_level level, const char *subject,
	const char *message)
{
	(term->json ? cli_term_json_line : cli_term_text_line)(
		&term->out, cli_process_wall_ms(), level, subject, message);
}

void cli_term_log(void *context, enum catchup_log_level level, const char *subject,
	const char *message)
{
	struct cli_term *term = context;
	int error;

	if (level > term->level)
		return;
	pthread_mutex_lock(&term->mutex);
	cli_text_clear(&term->out);
	if (term->progress.used)
		cli_text_puts(&term->out, ERASE_LINE);
	if (term->lost) {
		char text[80];

		snprintf(text, sizeof(text), "%" PRIu64 " log lines could not be written", term->lost);
		add_line(term, CATCHUP_LOG_WARN, "", text);
	}
	add_line(term, level, subject, message);
	cli_text_add(&term->out, term->progress.data, term->progress.used);
	error = term->out.failed
			? ENOMEM
			: cli_process_write_soon(term->fd, term->out.data, term->out.used,
				term->lost ? 0 : PATIENCE_MS);
	term->lost = error ? term->lost + 1 : 0;
	pthread_mutex_unlock(&term->mutex);
	/* Nobody reads the log any more: the program ends as one whose output nobody reads. */
	if (error == EPIPE)
		cli_process_die(SIGPIPE);
}

void cli_term_logf(struct cli_term *term, enum catchup_log_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cli_term_log(term, level, "", text);
}

void cli_term_progress(struct cli_term *term, const char *line)
{
	pthread_mutex_lock(&term->mutex);
	if (strcmp(cli_text_string(&term->progress), line) != 0) {
		cli_text_clear(&term->progress);
		cli_text_puts(&term->progress, line);
		cli_text_clear(&term->out);
		cli_text_puts(&term->out, ERASE_LINE);
		cli_text_puts(&term->out, line);
		/* A progress line that cannot be written is not worth a word. */
		if (!term->out.failed)
			cli_process_write_soon(term->fd, term->out.data, term->out.used, 0);
	}
	pthread_mutex_unlock(&term->mutex);
}

size_t cli_term_columns(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

bool cli_term_can_redraw(int fd)
{
	const char *term = getenv("TERM");

	return isatty(fd) && term && *term && strcmp(term, "dumb") != 0;
}

bool cli_term_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		/* The first that is set decides, as setlocale has it. */
		if (value && *value)
			return strcasestr(value, "UTF-8") || strcasestr(value, "utf8");
	}
	return false;
}

bool cli_term_in_front(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}
