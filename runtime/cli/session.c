/* SPDX-License-Identifier: MIT */
#include "cli/session.h"
#include "cli/process.h"
#include "cli/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How often progress looks: while there is a backlog, and while there is none. */
#define BUSY_MS 200
#define IDLE_MS 1000

/* News from the runtime's thread: one byte each. */
#define NEWS_STARTED 's'
#define NEWS_ENDED 'e'

struct running {
	const struct cli_session *session;
	int news[2]; /* pipe: the runtime's thread writes, main reads */

	/* the runtime's thread until NEWS_STARTED; constant after it */
	struct catchup *c;
	int64_t started_ms;

	/* the runtime's thread until NEWS_ENDED, main after it */
	int code;
	struct catchup_error error;

	/* main thread only */
	bool started;
	bool ended;
	int signal_number; /* that asked for the end, 0 for none */
	struct cli_progress progress;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *runtime_main(void *argument)
{
	struct running *r = argument;
	const struct cli_session *session = r->session;
	const char started = NEWS_STARTED, ended = NEWS_ENDED;

	r->code = session->open(session->context, &r->c, &r->error);
	r->started_ms = now_ms();
	if (r->code == CATCHUP_OK)
		r->code = catchup_start(r->c, &r->error);
	if (r->code == CATCHUP_OK) {
		cli_process_write(r->news[1], &started, 1);
		if (session->until_caught_up)
			r->code = catchup_wait(r->c, -1, &r->error);
		else
			r->code = catchup_wait_stopped(r->c, -1, &r->error);
	}
	cli_process_write(r->news[1], &ended, 1);
	return NULL;
}

static void draw_progress(struct running *r)
{
	const struct cli_session *session = r->session;
	struct cli_progress_sample sample = {.at_ms = now_ms()};
	struct catchup_status *status;
	struct cli_text line = {0};
	char label[32];

	if (catchup_status(r->c, &status, NULL) != CATCHUP_OK)
		return;
	for (size_t i = 0; i < status->n_consumers; i++) {
		const struct catchup_consumer_status *c = &status->consumers[i];

		sample.rows += c->offered;
		if (c->lag_rows > 0 && c->state != CATCHUP_STATE_STOPPED)
			sample.lag += c->lag_rows;
	}
	snprintf(label, sizeof(label), "%zu consumers", status->n_consumers);
	cli_progress_sample(&r->progress, &sample);
	if (cli_progress_shown(&r->progress))
		cli_progress_line(&r->progress, &line,
			status->n_consumers == 1 ? status->consumers[0].name : label,
			cli_term_columns(session->term->fd) - 1, cli_term_utf8());
	cli_term_progress(session->term, line.failed ? "" : cli_text_string(&line));
	cli_text_free(&line);
	catchup_status_free(status);
}

static int poll_timeout(const struct running *r)
{
	if (!r->started || !r->session->progress || r->signal_number)
		return -1;
	return r->progress.behind > 0 ? BUSY_MS : IDLE_MS;
}

static const char *signal_name(int number)
{
	switch (number) {
	case SIGINT:
		return "SIGINT";
	case SIGTERM:
		return "SIGTERM";
	default:
		return "SIGHUP";
	}
}

static void take_signal(struct running *r, int fd)
{
	r->signal_number = cli_signals_take(fd);
	if (!r->signal_number)
		return;
	cli_term_progress(r->session->term, "");
	cli_term_logf(r->session->term, CATCHUP_LOG_INFO,
		"%s: finishing the batch in hand; a second signal ends at once",
		signal_name(r->signal_number));
	cli_signals_release();
}

/* Until the runtime has ended by itself or a signal asked for its end. */
static void loop(struct running *r, int signals)
{
	while (!r->ended && !(r->started && r->signal_number)) {
		struct pollfd fds[2] = {
			{.fd = r->news[0], .events = POLLIN},
			{.fd = r->signal_number ? -1 : signals, .events = POLLIN},
		};
		int ready = poll(fds, 2, poll_timeout(r));
		char news;

		if (ready < 0)
			continue; /* EINTR: look again */
		if (ready == 0)
			draw_progress(r);
		if (fds[0].revents && read(r->news[0], &news, 1) == 1) {
			r->started = r->started || news == NEWS_STARTED;
			r->ended = news == NEWS_ENDED;
			if (r->started && !r->ended && r->session->progress)
				draw_progress(r);
		}
		if (fds[1].revents)
			take_signal(r, signals);
	}
}

static void summary(const struct running *r)
{
	int64_t ms = now_ms() - r->started_ms;
	int64_t applied = 0, passed = 0, parked = 0;
	struct catchup_status *status;
	struct cli_text text = {0};

	if (catchup_status(r->c, &status, NULL) != CATCHUP_OK)
		return;
	for (size_t i = 0; i < status->n_consumers; i++) {
		applied += status->consumers[i].applied;
		passed += status->consumers[i].passed;
		parked += status->consumers[i].parked;
	}
	catchup_status_free(status);
	cli_text_puts(&text, r->signal_number ? "stopped: " : "caught up: ");
	cli_text_grouped(&text, applied + passed + parked);
	cli_text_puts(&text, " rows in ");
	cli_text_duration(&text, ms);
	if (ms > 0) {
		cli_text_puts(&text, " (");
		cli_text_grouped(&text, (applied + passed + parked) * 1000 / ms);
		cli_text_puts(&text, " rows/s)");
	}
	cli_text_printf(&text, "; %" PRId64 " applied, %" PRId64 " passed over, %" PRId64 " parked",
		applied, passed, parked);
	cli_term_log(r->session->term, CATCHUP_LOG_INFO, "", cli_text_string(&text));
	cli_text_free(&text);
}

/* Stops what runs and decides the exit code. */
static int finish(struct running *r, pthread_t thread)
{
	const struct cli_session *session = r->session;
	struct catchup_error error = {0};
	int code = CATCHUP_OK;

	if (r->started)
		code = catchup_stop(r->c, &error);
	pthread_join(thread, NULL);
	/* What the wait said counts, unless it was only cut short by the stop. */
	if (r->code != CATCHUP_OK && r->code != CATCHUP_CANCELED) {
		code = r->code;
		error = r->error;
	}
	cli_term_progress(session->term, "");
	if (code != CATCHUP_OK)
		cli_term_log(session->term, CATCHUP_LOG_ERROR, "", error.message);
	else if (r->started)
		summary(r);
	catchup_close(r->c);
	return catchup_code_exit(code);
}

static int cannot(const struct cli_session *session, const char *what, int error)
{
	cli_term_logf(session->term, CATCHUP_LOG_ERROR, "%s: %s", what, strerror(error));
	return catchup_code_exit(CATCHUP_THREAD);
}

int cli_session_run(const struct cli_session *session)
{
	struct running r = {.session = session};
	pthread_t thread;
	int signals = cli_signals_open();
	int exit_code;
	int rc;

	if (signals < 0)
		return cannot(session, "signals cannot be watched", errno);
	if (pipe(r.news) != 0) {
		rc = errno;
		close(signals);
		return cannot(session, "no pipe can be made", rc);
	}
	rc = pthread_create(&thread, NULL, runtime_main, &r);
	if (rc == 0) {
		loop(&r, signals);
		exit_code = finish(&r, thread);
	} else {
		exit_code = cannot(session, "a thread cannot be started", rc);
	}
	close(r.news[0]);
	close(r.news[1]);
	close(signals);
	return exit_code;
}
