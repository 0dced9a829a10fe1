/* SPDX-License-Identifier: MIT */
#include "cli/signals.h"
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SAME_REQUEST_MS 250

static const struct {
	int number;
	const char *name;
} end_signals[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}};

#define N_END_SIGNALS (sizeof(end_signals) / sizeof(end_signals[0]))

const char *cli_signals_name(int number)
{
	for (size_t i = 0; i < N_END_SIGNALS; i++)
		if (end_signals[i].number == number)
			return end_signals[i].name;
	return "a signal";
}

/* Those of them that are not ignored. */
static void end_set(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < N_END_SIGNALS; i++) {
		struct sigaction was;

		if (sigaction(end_signals[i].number, NULL, &was) == 0 && was.sa_handler != SIG_IGN)
			sigaddset(set, end_signals[i].number);
	}
}

/* Takes the signal that came. Returns its number, 0 when there is none. */
static int take(int fd)
{
	struct signalfd_siginfo info;

	return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info) ? (int)info.ssi_signo : 0;
}

static void *watch(void *argument)
{
	struct cli_signals *s = argument;
	struct pollfd fds[3] = {
		{.fd = s->stop[0]},
		{.fd = s->fd, .events = POLLIN},
		{.fd = s->watch_output ? STDOUT_FILENO : -1}, /* nothing asked for: errors only */
	};
	int64_t same_until_ms = 0;
	int first = 0;

	for (;;) {
		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (fds[2].revents & POLLERR)
			cli_process_die(SIGPIPE);
		if (fds[2].revents)
			fds[2].fd = -1;
		if (fds[1].revents) {
			int number = take(s->fd);

			if (number && !first) {
				first = number;
				same_until_ms = cli_process_now_ms() + SAME_REQUEST_MS;
				s->first(s->context, number);
			} else if (number && (number != first || cli_process_now_ms() >= same_until_ms)) {
				cli_process_die(number);
			}
		}
	}
}

void cli_signals_release(void)
{
	sigset_t set;

	end_set(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int cli_signals_start(struct cli_signals *signals)
{
	sigset_t set;
	int rc;

	end_set(&set);
	rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (rc != 0)
		return rc;
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals->fd < 0)
		return errno;
	if (pipe2(signals->stop, O_CLOEXEC) != 0) {
		rc = errno;
		close(signals->fd);
		return rc;
	}
	rc = pthread_create(&signals->thread, NULL, watch, signals);
	if (rc != 0) {
		close(signals->stop[0]);
		close(signals->stop[1]);
		close(signals->fd);
	}
	return rc;
}

void cli_signals_finish(struct cli_signals *signals)
{
	close(signals->stop[1]);
	pthread_join(signals->thread, NULL);
	close(signals->stop[0]);
	close(signals->fd);
}
