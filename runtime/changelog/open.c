/* SPDX-License-Identifier: MIT */
#include "changelog/open.h"

#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool cu_open_copy_list(const char *const *list, char ***out)
{
	size_t n = 0, bytes = 0;
	char **copy;
	char *at;

	*out = NULL;
	if (!list || !list[0])
		return true;
	for (; list[n]; n++)
		bytes += strlen(list[n]) + 1;
	copy = malloc((n + 1) * sizeof(*copy) + bytes);
	if (!copy)
		return false;
	at = (char *)(copy + n + 1);
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(list[i]) + 1;

		copy[i] = memcpy(at, list[i], length);
		at += length;
	}
	copy[n] = NULL;
	*out = copy;
	return true;
}

static const char *file_kind(uint32_t mode)
{
	return S_ISDIR(mode)    ? "a folder"
	       : S_ISFIFO(mode) ? "a FIFO"
	       : S_ISSOCK(mode) ? "a socket"
				: "a device";
}

/* What SQLite keeps beside a database; "" is the database itself. */
static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
#define N_SUFFIXES (sizeof(suffixes) / sizeof(suffixes[0]))

/* Whether `id` is the file at path + suffix. */
static bool is_file(const struct cu_file_id *id, const char *path, const char *suffix)
{
	size_t bytes = strlen(path) + strlen(suffix) + 1;
	char *name = malloc(bytes);
	struct cu_file_stat stat;
	bool same;

	/* Without memory the safe answer is yes: the file is not touched. */
	if (!name)
		return true;
	snprintf(name, bytes, "%s%s", path, suffix);
	same = cu_file_stat_path(name, &stat) == 0 && cu_file_same(id, &stat.id);
	free(name);
	return same;
}

int cu_open_check(const char *path, const char *const *databases, struct cu_file_stat *stat,
	struct catchup_error *error)
{
	int rc = cu_file_stat_path(path, stat);

	if (rc != 0)
		return cu_error_errno(error, CATCHUP_IO, -rc, "changelog '%s'", path);
	if (!S_ISREG(stat->mode))
		return cu_error_set(error, CATCHUP_IO, 0, "changelog '%s': is %s, not a file", path,
			file_kind(stat->mode));
	for (; databases && *databases; databases++)
		for (size_t i = 0; i < N_SUFFIXES; i++)
			if (is_file(&stat->id, *databases, suffixes[i]))
				return cu_error_set(error, CATCHUP_IO, 0,
					"changelog '%s': is the database '%s%s', which is open",
					path, *databases, suffixes[i]);
	return CATCHUP_OK;
}

int cu_open_judge(struct catchup_error *why)
{
	if (why->code == CATCHUP_IO && why->detail == 0)
		why->code = CATCHUP_USAGE;
	return why->code;
}

static bool begins_like_sqlite(int fd)
{
	static const char database[16] = "SQLite format 3";
	char head[16];
	ssize_t n = cu_file_read_least(fd, head, sizeof(head), sizeof(head), 0);

	if (n >= 16 && memcmp(head, database, 16) == 0)
		return true;
	/* The write-ahead log's magic number, in either byte order of its checksums. */
	return n >= 4 && memcmp(head, "\x37\x7f\x06", 3) == 0 && ((unsigned char)head[3] & 0xfe) == 0x82;
}

int cu_open_read(const char *path, const char *const *databases, int *fd,
	struct cu_file_stat *stat, struct catchup_error *error)
{
	int rc = cu_open_check(path, databases, stat, error);

	if (rc != CATCHUP_OK)
		return rc;
	*fd = cu_file_open(path, CU_OPEN_READ);
	if (*fd < 0)
		return cu_error_errno(error, CATCHUP_IO, -*fd, "changelog '%s'", path);
	rc = cu_file_stat_fd(*fd, stat);
	if (rc != 0) {
		cu_error_errno(error, CATCHUP_IO, -rc, "changelog '%s'", path);
	} else if (!S_ISREG(stat->mode)) {
		rc = cu_error_set(error, CATCHUP_IO, 0, "changelog '%s': is %s, not a file", path,
			file_kind(stat->mode));
	} else if (begins_like_sqlite(*fd)) {
		rc = cu_error_set(error, CATCHUP_IO, 0, "changelog '%s': is a SQLite database",
			path);
	}
	if (rc != 0) {
		cu_file_close(*fd);
		*fd = -1;
		return CATCHUP_IO;
	}
	return CATCHUP_OK;
}
