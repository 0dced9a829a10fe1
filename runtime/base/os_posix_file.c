/* SPDX-License-Identifier: MIT */
/*
 * os_posix_file.c - files and folders over libc.
 */
#include "base/check.h"
#include "base/os.h"
#include "base/os_posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define RETRY(result, call)                                                                        \
	do {                                                                                       \
		(result) = (call);                                                                 \
	} while ((result) < 0 && errno == EINTR)

int cu_file_open(const char *path, unsigned flags)
{
	/* O_NONBLOCK: opening a FIFO must not hang. It changes nothing for regular files. */
	int mode = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd;

	if (flags & CU_OPEN_APPEND)
		mode |= O_RDWR | O_APPEND | O_CREAT;
	else
		mode |= O_RDONLY;
	if (flags & CU_OPEN_CREATE_NEW)
		mode |= O_EXCL;
	RETRY(fd, open(path, mode, 0644));
	return fd < 0 ? -errno : fd;
}

void cu_file_close(int fd)
{
	/* Not retried on EINTR: Linux has closed the descriptor by then. */
	close(fd);
}

ssize_t cu_file_read_at(int fd, void *to, size_t bytes, int64_t offset)
{
	ssize_t n;

	RETRY(n, pread(fd, to, bytes, offset));
	return n < 0 ? -errno : n;
}

ssize_t cu_file_write(int fd, const void *from, size_t bytes)
{
	ssize_t n;

	RETRY(n, write(fd, from, bytes));
	return n < 0 ? -errno : n;
}

int cu_file_sync(int fd)
{
	int rc;

	RETRY(rc, fdatasync(fd));
	return rc < 0 ? -errno : 0;
}

int cu_file_truncate(int fd, int64_t size)
{
	int rc;

	RETRY(rc, ftruncate(fd, size));
	return rc < 0 ? -errno : 0;
}

static int stat_at(int fd, const char *path, int flags, struct cu_file_stat *out)
{
	struct statx sx;

	if (statx(fd, path, flags | AT_STATX_SYNC_AS_STAT, STATX_BASIC_STATS | STATX_BTIME, &sx) != 0)
		return -errno;
	memset(out, 0, sizeof(*out));
	out->id.device = ((uint64_t)sx.stx_dev_major << 32) | sx.stx_dev_minor;
	out->id.inode = sx.stx_ino;
	if (sx.stx_mask & STATX_BTIME)
		out->id.birth_ns = sx.stx_btime.tv_sec * CU_NS_PER_S + sx.stx_btime.tv_nsec;
	out->size = (int64_t)sx.stx_size;
	out->mtime_ns = sx.stx_mtime.tv_sec * CU_NS_PER_S + sx.stx_mtime.tv_nsec;
	out->mode = sx.stx_mode;
	out->uid = sx.stx_uid;
	out->links = sx.stx_nlink;
	return 0;
}

int cu_file_stat_fd(int fd, struct cu_file_stat *out)
{
	return stat_at(fd, "", AT_EMPTY_PATH, out);
}

int cu_file_stat_path(const char *path, struct cu_file_stat *out)
{
	return stat_at(AT_FDCWD, path, 0, out);
}

int cu_file_lock(int fd)
{
	/* Not a POSIX lock: that would be the process's, and gone as soon as a reader in it closes the
	 * same file. */
	return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

int cu_file_rename(const char *from, const char *to)
{
	return rename(from, to) == 0 ? 0 : -errno;
}

int cu_file_remove(const char *path)
{
	return unlink(path) == 0 ? 0 : -errno;
}

char *cu_posix_folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int cu_file_sync_folder(const char *path_in_folder)
{
	char *folder = cu_posix_folder_of(path_in_folder);
	int fd, rc;

	if (!folder)
		return -ENOMEM;
	RETRY(fd, open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	free(folder);
	if (fd < 0)
		return -errno;
	RETRY(rc, fsync(fd));
	rc = rc < 0 && errno != EINVAL ? -errno : 0;
	close(fd);
	return rc;
}

int cu_file_real_path(const char *path, char *to, size_t bytes)
{
	char *real = realpath(path, NULL);
	char link;
	int rc = 0;

	if (!real) {
		rc = -errno;
		if (rc == -ENOENT && readlink(path, &link, 1) >= 0)
			rc = -ENOLINK;
		return rc;
	}
	if (strlen(real) < bytes)
		memcpy(to, real, strlen(real) + 1);
	else
		rc = -ENAMETOOLONG;
	free(real);
	return rc;
}

int cu_folder_make_temporary(char *path, size_t bytes)
{
	const char *base = getenv("TMPDIR");
	int n = snprintf(path, bytes, "%s/catchup-XXXXXX", base && base[0] == '/' ? base : "/tmp");

	if (n < 0 || (size_t)n >= bytes)
		return -ENAMETOOLONG;
	return mkdtemp(path) ? 0 : -errno;
}

void cu_folder_remove(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;

	if (!folder)
		return;
	while ((entry = readdir(folder)))
		unlinkat(dirfd(folder), entry->d_name, 0);
	closedir(folder);
	rmdir(path);
}

bool cu_file_same(const struct cu_file_id *a, const struct cu_file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->birth_ns == b->birth_ns;
}
