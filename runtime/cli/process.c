/* SPDX-License-Identifier: MIT */
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void cli_process_prepare(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct rlimit files;

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		/* open takes the lowest free descriptor, which is fd: those below are open. */
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
			_exit(1);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL);
}

int cli_process_write(int fd, const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, bytes, n);

		if (written >= 0) {
			bytes += written;
			n -= (size_t)written;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			/* Somebody who shares the terminal has made it non-blocking. */
			struct pollfd wait = {.fd = fd, .events = POLLOUT};

			if (poll(&wait, 1, -1) < 0 && errno != EINTR)
				return errno;
		} else if (errno != EINTR) {
			return errno;
		}
	}
	return 0;
}

int cli_process_write_soon(int fd, const char *bytes, size_t n, int wait_ms)
{
	int rc = 0;

	while (n > 0 && rc == 0) {
		struct pollfd wait = {.fd = fd, .events = POLLOUT};
		/* A pipe that is ready takes so much without blocking (pipe(7)). */
		size_t part = n < PIPE_BUF ? n : PIPE_BUF;
		int ready = poll(&wait, 1, wait_ms);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready == 0)
			return EAGAIN;
		rc = cli_process_write(fd, bytes, part);
		bytes += part;
		n -= part;
	}
	return rc;
}

int cli_process_print(struct cli_text *text)
{
	struct cli_text message = {0};
	int error = text->failed ? ENOMEM : cli_process_write(STDOUT_FILENO, text->data, text->used);

	cli_text_clear(text);
	if (error == 0)
		return 0;
	if (error == EPIPE)
		cli_process_die(SIGPIPE);
	cli_text_printf(&message, "catchup: standard output: %s\n", strerror(error));
	cli_process_write(STDERR_FILENO, cli_text_string(&message), message.used);
	cli_text_free(&message);
	return 1;
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t cli_process_now_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t cli_process_wall_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

_Noreturn void cli_process_die(int signal_number)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t set;

	sigaction(signal_number, &standard, NULL);
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(signal_number);
	_exit(128 + signal_number);
}
