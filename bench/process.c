/* SPDX-License-Identifier: MIT */
/*
 * process.c - other processes: this program anew, or another one; and what a process costs. What is
 * started here dies with the main thread of this process.
 */
#include "bench.h"
#include "inside.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t bench_program_start(
	struct bench *b, const char *program, const char *const *argv, int *out)
{
	int ends[2] = {-1, -1};
	pid_t parent = getpid(), pid;

	if (out && pipe(ends) != 0)
		return bench_fail(b, "pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		bench_signals_free();
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
			_exit(127);
		if (out) {
			dup2(ends[1], STDOUT_FILENO);
			close(ends[0]);
			close(ends[1]);
		}
		execvp(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (out) {
		close(ends[1]);
		*out = ends[0];
	}
	if (pid < 0) {
		if (out)
			close(ends[0]);
		return bench_fail(b, "fork: %s", strerror(errno));
	}
	return pid;
}

pid_t bench_child_start(
	struct bench *b, const char *scenario, const char *const *arguments, int *out)
{
	const char *argv[64] = {"catchup-bench", "--child", scenario};
	size_t n = 3;

	for (; *arguments; arguments++) {
		if (n + 1 >= sizeof(argv) / sizeof(argv[0]))
			return bench_fail(b, "too many arguments for a child process");
		argv[n++] = *arguments;
	}
	return bench_program_start(b, "/proc/self/exe", argv, out);
}

int bench_child_end(pid_t pid, int signal_number)
{
	int status;

	if (signal_number)
		kill(pid, signal_number);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return 127;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int bench_read_all(struct bench *b, int fd, void *to, size_t bytes)
{
	size_t used = 0;

	while (used < bytes) {
		ssize_t n = read(fd, (char *)to + used, bytes - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return bench_fail(b, "another process ended without its results");
		used += (size_t)n;
	}
	return 0;
}

int bench_write_all(int fd, const void *from, size_t bytes)
{
	size_t used = 0;

	while (used < bytes) {
		ssize_t n = write(fd, (const char *)from + used, bytes - used);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		used += (size_t)n;
	}
	return 0;
}

/* ---- what a process costs ----------------------------------------------------------------- */

int64_t bench_processor_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

int64_t bench_self_status(const char *key)
{
	FILE *status = fopen("/proc/self/status", "re");
	size_t length = strlen(key);
	char line[256];
	int64_t value = -1;

	while (status && value < 0 && fgets(line, sizeof(line), status))
		if (strncmp(line, key, length) == 0 && line[length] == ':')
			value = strtoll(line + length + 1, NULL, 10);
	if (status)
		fclose(status);
	return value;
}
