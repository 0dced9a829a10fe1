/* SPDX-License-Identifier: MIT */
#include "cli/session.h"
#include "cli/process.h"
#include "cli/progress.h"
#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How often progress looks: while there is a backlog, and while there is none. */
#define BUSY_MS 200
#define IDLE_MS 1000

/* News for the main thread, from the runtime's thread and from that of the signals. */
enum news_kind { NEWS_OPENED, NEWS_STARTED, NEWS_ENDED, NEWS_SIGNAL };

struct news {
	enum news_kind kind;
	int number; /* of the signal */
};

struct running {
	const struct cli_session *session;
	int news[2]; /* pipe: main reads; a struct news is written whole or not at all */

	/* the runtime's thread until NEWS_OPENED; constant after it */
	struct catchup *c;
	int64_t started_ms;

	/* the runtime's thread until NEWS_ENDED, main after it */
	int code;
	struct catchup_error error;

	/* main thread only */
	bool opened;
	bool started;
	bool ended;
	int signal_number; /* that asked for the end, 0 for none */
	struct cli_progress progress;
};

/* The main thread waits for nothing else, so what cannot be sent now is sent a little later. */
static void send_news(struct running *r, enum news_kind kind, int number)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	const struct news news = {kind, number};
	int rc;

	while ((rc = cli_process_write(r->news[1], (const char *)&news, sizeof(news))) != 0 && rc != EPIPE)
		nanosleep(&pause, NULL);
}

static void send_signal(void *context, int number)
{
	send_news(context, NEWS_SIGNAL, number);
}

static void *runtime_main(void *argument)
{
	struct running *r = argument;
	const struct cli_session *session = r->session;

	r->code = session->open(session->context, &r->c, &r->error);
	r->started_ms = cli_process_now_ms();
	if (r->code == CATCHUP_OK) {
		send_news(r, NEWS_OPENED, 0);
		r->code = catchup_start(r->c, &r->error);
	}
	if (r->code == CATCHUP_OK) {
		send_news(r, NEWS_STARTED, 0);
		if (session->until_caught_up)
			r->code = catchup_wait(r->c, -1, &r->error);
		else
			r->code = catchup_wait_stopped(r->c, -1, &r->error);
	}
	send_news(r, NEWS_ENDED, 0);
	return NULL;
}

static void draw_progress(struct running *r)
{
	const struct cli_session *session = r->session;
	struct cli_progress_sample sample = {.at_ms = cli_process_now_ms()};
	struct catchup_status *status;
	struct cli_text line = {0};
	char label[32];

	if (catchup_status(r->c, &status, NULL) != CATCHUP_OK)
		return;
	for (size_t i = 0; i < status->n_consumers; i++) {
		const struct catchup_consumer_status *c = &status->consumers[i];

		sample.rows += c->offered;
		if (c->lag_rows <= 0 || c->state == CATCHUP_STATE_STOPPED)
			continue;
		/* Two guesses may be more than an integer can hold: ids reach up to 2^63 - 1. */
		sample.lag = c->lag_rows < INT64_MAX - sample.lag ? sample.lag + c->lag_rows : INT64_MAX;
	}
	snprintf(label, sizeof(label), "%zu consumers", status->n_consumers);
	cli_progress_sample(&r->progress, &sample);
	if (cli_progress_shown(&r->progress) && cli_term_in_front(session->term->fd))
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

static void take_news(struct running *r, const struct news *news)
{
	const struct cli_session *session = r->session;

	switch (news->kind) {
	case NEWS_OPENED:
		r->opened = true;
		break;
	case NEWS_STARTED:
		r->started = true;
		cli_term_logf(session->term, CATCHUP_LOG_INFO, "started %zu consumer%s",
			session->n_consumers, session->n_consumers == 1 ? "" : "s");
		if (session->progress)
			draw_progress(r);
		break;
	case NEWS_ENDED:
		r->ended = true;
		break;
	case NEWS_SIGNAL:
		r->signal_number = news->number;
		cli_term_progress(session->term, "");
		cli_term_logf(session->term, CATCHUP_LOG_INFO,
			"%s: finishing the batch in hand; a second signal ends at once",
			cli_signals_name(news->number));
		break;
	}
}

/* Until the runtime has ended by itself or a signal asked for its end, be it while it starts. */
static void loop(struct running *r)
{
	while (!r->ended && !(r->opened && r->signal_number)) {
		struct pollfd fd = {.fd = r->news[0], .events = POLLIN};
		int ready = poll(&fd, 1, poll_timeout(r));
		struct news news;

		if (ready == 0)
			draw_progress(r);
		else if (ready > 0 && read(r->news[0], &news, sizeof(news)) == (ssize_t)sizeof(news))
			take_news(r, &news);
	}
}

/* One line about the whole run. Returns how many consumers had stopped on an error. */
static size_t summary(const struct running *r)
{
	int64_t ms = cli_process_now_ms() - r->started_ms;
	int64_t applied = 0, passed = 0, parked = 0;
	struct catchup_status *status;
	struct cli_text text = {0};
	size_t stopped = 0, n;

	if (catchup_status(r->c, &status, NULL) != CATCHUP_OK)
		return 0;
	n = status->n_consumers;
	for (size_t i = 0; i < n; i++) {
		applied += status->consumers[i].applied;
		passed += status->consumers[i].passed;
		parked += status->consumers[i].parked;
		stopped += status->consumers[i].state == CATCHUP_STATE_STOPPED;
	}
	catchup_status_free(status);
	cli_text_puts(&text, r->signal_number ? "stopped: " : stopped ? "ended: " : "caught up: ");
	cli_text_grouped(&text, applied + passed + parked);
	cli_text_puts(&text, " rows in ");
	cli_text_duration(&text, ms);
	if (ms > 0 && applied + passed + parked > 0) {
		cli_text_puts(&text, " (");
		cli_text_grouped(&text, (applied + passed + parked) * 1000 / ms);
		cli_text_puts(&text, " rows/s)");
	}
	if (passed > 0) {
		cli_text_puts(&text, "; passed over ");
		cli_text_grouped(&text, passed);
	}
	if (parked > 0) {
		cli_text_puts(&text, "; dead letters ");
		cli_text_grouped(&text, parked);
	}
	if (stopped > 0)
		cli_text_printf(&text, "; %zu of %zu consumers stopped on an error", stopped, n);
	cli_term_log(r->session->term, stopped || parked ? CATCHUP_LOG_WARN : CATCHUP_LOG_INFO, "",
		cli_text_string(&text));
	cli_text_free(&text);
	return stopped;
}

/* Stops what runs and decides the exit code. */
static int finish(struct running *r, pthread_t thread)
{
	const struct cli_session *session = r->session;
	struct catchup_error error = {0};
	int code = CATCHUP_OK;

	if (r->opened)
		code = catchup_stop(r->c, &error);
	pthread_join(thread, NULL);
	/* What the wait said counts, unless it was only cut short by the stop, or another consumer has stopped
	 * since for a worse reason. */
	if (r->code != CATCHUP_OK && r->code != CATCHUP_CANCELED &&
		!(r->started && catchup_code_exit(code) > catchup_code_exit(r->code))) {
		code = r->code;
		error = r->error;
	}
	cli_term_progress(session->term, "");
	/* Why a consumer stopped was logged when it did. */
	if ((!r->started || summary(r) == 0) && code != CATCHUP_OK)
		cli_term_log(session->term, CATCHUP_LOG_ERROR, "", error.message);
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
	struct cli_signals signals = {.first = send_signal, .context = &r};
	pthread_t thread;
	int exit_code;
	int rc;

	if (pipe2(r.news, O_CLOEXEC) != 0)
		return cannot(session, "no pipe can be made", errno);
	rc = cli_signals_start(&signals);
	if (rc != 0) {
		exit_code = cannot(session, "signals cannot be watched", rc);
		goto out;
	}
	rc = pthread_create(&thread, NULL, runtime_main, &r);
	if (rc == 0) {
		loop(&r);
		exit_code = finish(&r, thread);
	} else {
		exit_code = cannot(session, "a thread cannot be started", rc);
	}
	cli_signals_finish(&signals);
out:
	close(r.news[0]);
	close(r.news[1]);
	return exit_code;
}
