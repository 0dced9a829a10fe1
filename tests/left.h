/* SPDX-License-Identifier: MIT */
/*
 * left.h - what is left open in the test's own process, for tests that expect nothing to be. After cmocka.h.
 */
#ifndef TESTS_LEFT_H
#define TESTS_LEFT_H

#include "patience.h"

#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Entries of a folder of /proc/self. Pipes are nobody's of ours: the thread sanitizer opens two when it first
 * needs a name. */
static inline int left_count(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char target[8];
		ssize_t bytes = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target));

		n += bytes < 5 || memcmp(target, "pipe:", 5) != 0;
	}
	closedir(dir);
	return n;
}

static inline int left_descriptors(void)
{
	return left_count("/proc/self/fd");
}

static inline int left_threads(void)
{
	return left_count("/proc/self/task");
}

/* Waits until there are at most so many: a thread that was joined may be listed a little longer. */
static inline void left_expect_threads(int most)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; left_threads() > most; i++) {
		if (i == PATIENCE_MS)
			fail_msg("%d threads more than before are left", left_threads() - most);
		nanosleep(&pause, NULL);
	}
}

#endif
