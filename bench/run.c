/* SPDX-License-Identifier: MIT */
/*
 * run.c - what every scenario asks of its run: the clock, how much to do, what failed, and folders.
 */
#include "bench.h"
#include "inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void bench_sleep_ns(int64_t ns)
{
	nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
}

bool bench_quick(const struct bench *b)
{
	return b->quick;
}

int64_t bench_amount(const struct bench *b, int64_t full, int64_t quick)
{
	if (b->amount)
		return b->amount;
	return b->quick ? quick : full;
}

bool bench_is_slow(const struct bench *b)
{
	return b && b->stage == BENCH_STAGE_RUN;
}

int bench_fail(struct bench *b, const char *fmt, ...)
{
	va_list ap;

	if (b && b->result->failed)
		return -1;
	va_start(ap, fmt);
	if (b) {
		b->result->failed = true;
		vsnprintf(b->result->error, sizeof(b->result->error), fmt, ap);
	} else {
		fputs("catchup-bench: a child process: ", stderr);
		vfprintf(stderr, fmt, ap);
		fputc('\n', stderr);
	}
	va_end(ap);
	return -1;
}

int bench_check(struct bench *b, bool right, const char *fmt, ...)
{
	va_list ap;

	if (right) {
		b->result->checks++;
		return 0;
	}
	if (b->result->failed)
		return -1;
	b->result->failed = true;
	va_start(ap, fmt);
	vsnprintf(b->result->error, sizeof(b->result->error), fmt, ap);
	va_end(ap);
	return -1;
}

size_t bench_rounds(const struct bench *b)
{
	return b->rounds;
}

const char *bench_svg(const struct bench *b)
{
	return b->svg;
}

/* ---- folders ------------------------------------------------------------------------------ */

const char *bench_folder(const struct bench *b)
{
	return b->folder;
}

const char *bench_path(const struct bench *b, char *to, size_t bytes, const char *name)
{
	snprintf(to, bytes, "%s/%s", b->folder, name);
	return to;
}

int bench_folder_make(struct bench *b)
{
	if (b->stage != BENCH_STAGE_ALL) {
		/* The folder is handed from one stage to the next; its maker removes it. */
		snprintf(b->folder, sizeof(b->folder), "%s", b->dir);
		return 0;
	}
	if (snprintf(b->folder, sizeof(b->folder), "%s/XXXXXX", b->root) >= (int)sizeof(b->folder) ||
		!mkdtemp(b->folder)) {
		b->folder[0] = '\0';
		return bench_fail(b, "no folder in '%s': %s", b->root, strerror(errno));
	}
	return 0;
}

void bench_folder_remove(struct bench *b)
{
	if (b->stage == BENCH_STAGE_ALL && b->folder[0])
		bench_remove_tree(b->folder);
	b->folder[0] = '\0';
}

int bench_folder_renew(struct bench *b)
{
	bench_folder_remove(b);
	return bench_folder_make(b);
}
