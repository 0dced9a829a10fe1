/* SPDX-License-Identifier: MIT */
/*
 * stop.c - what a signal that ends the program does first: the run's folder is removed with all files
 * in it. The other threads may be anywhere and are not asked; the processes that were started die
 * with this one. And the line on the terminal that says what is being measured.
 */
#include "bench.h"
#include "inside.h"

#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int ending[] = {SIGINT, SIGTERM, SIGHUP};

static void ending_signals(sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
		sigaddset(set, ending[i]);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st;
	(void)flag;
	(void)at;
	return remove(path);
}

void bench_remove_tree(const char *path)
{
	/* Somebody may still be making files in it; then it is not empty at the end. */
	for (int i = 0; i < 5 && nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0; i++)
		;
}

static void *wait_for_signal(void *argument)
{
	struct bench *b = argument;
	sigset_t set;
	int number = 0;

	ending_signals(&set);
	if (sigwait(&set, &number) != 0)
		return NULL;
	atomic_store(&b->ending, 1);
	bench_progress_end(b);
	if (b->root[0])
		bench_remove_tree(b->root);
	/* Ends as it would have without us, so that a shell sees what it was. */
	signal(number, SIG_DFL);
	bench_signals_free();
	raise(number);
	return NULL;
}

int bench_stop_on_signals(struct bench *b)
{
	pthread_t thread;
	sigset_t set;

	/* Blocked in this thread and all that it makes; the one that waits takes them. */
	ending_signals(&set);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
		pthread_create(&thread, NULL, wait_for_signal, b) != 0)
		return -1;
	pthread_detach(thread);
	return 0;
}

void bench_wait_if_ending(struct bench *b)
{
	while (atomic_load(&b->ending))
		pause();
}

void bench_signals_free(void)
{
	sigset_t set;

	ending_signals(&set);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- progress ----------------------------------------------------------------------------- */

void bench_progress(const struct bench *b, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	if (!b->terminal)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "\r\033[K%s: %s", b->result->scenario->name, text);
	fflush(stderr);
}

void bench_progress_end(const struct bench *b)
{
	if (!b->terminal)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
