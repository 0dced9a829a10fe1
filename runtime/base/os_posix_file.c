/* SPDX-License-Identifier: MIT */
/*
 * os_posix_file.c - files and folder watches over libc and inotify.
 */
#include "base/check.h"
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
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

/* The folder that holds the name. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

int cu_file_sync_folder(const char *path_in_folder)
{
	char *folder = folder_of(path_in_folder);
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

/* ---- watching ----------------------------------------------------------------------------- */

/* Notices are taken once a wait has lasted as long as this, at the start and after a rest: to take leave
 * of a folder that was watched a moment ago takes the system some ten milliseconds, and who has caught up
 * often ends at once. */
#define WORTH_WATCHING_NS (2 * CU_NS_PER_MS)

struct cu_watch {
	/* constant after create */
	char *folder; /* owned */
	char *prefix; /* owned */
	size_t prefix_bytes;
	int wake_fd;

	/* waiting thread only */
	int notify_fd; /* -1 while there is none */
	int watch;     /* -1 while the folder is not watched */
	int target;    /* the file a symbolic link leads to; -1 while none is watched */
	bool rests;    /* no notices are taken now */
};

#define WATCH_MASK                                                                                 \
	(IN_MODIFY | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB |             \
		IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

bool cu_watch_works(struct cu_watch *watch)
{
	if (watch->watch >= 0 || watch->rests)
		return true;
	if (watch->notify_fd < 0)
		watch->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->notify_fd < 0)
		return false;
	watch->watch = inotify_add_watch(watch->notify_fd, watch->folder, WATCH_MASK);
	return watch->watch >= 0;
}

int cu_watch_create(const char *path, struct cu_watch **out)
{
	const char *slash = strrchr(path, '/');
	struct cu_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->notify_fd = -1;
	watch->watch = -1;
	watch->target = -1;
	watch->folder = folder_of(path);
	watch->prefix = strdup(slash ? slash + 1 : path);
	watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!watch->folder || !watch->prefix || watch->wake_fd < 0) {
		int rc = watch->wake_fd < 0 ? -errno : -ENOMEM;

		cu_watch_destroy(watch);
		return rc;
	}
	watch->prefix_bytes = strlen(watch->prefix);
	watch->rests = true;
	*out = watch;
	return 0;
}

void cu_watch_stop(struct cu_watch *watch)
{
	if (watch->notify_fd >= 0)
		close(watch->notify_fd);
	watch->notify_fd = -1;
	watch->watch = -1;
	watch->target = -1;
}

void cu_watch_destroy(struct cu_watch *watch)
{
	if (!watch)
		return;
	cu_watch_stop(watch);
	if (watch->wake_fd >= 0)
		close(watch->wake_fd);
	free(watch->folder);
	free(watch->prefix);
	free(watch);
}

void cu_watch_renew(struct cu_watch *watch, const char *path)
{
	struct stat st;
	int folder;

	watch->rests = false;
	if (!cu_watch_works(watch))
		return;
	/* The same folder gives the same number. */
	folder = inotify_add_watch(watch->notify_fd, watch->folder, WATCH_MASK);
	if (folder != watch->watch) {
		inotify_rm_watch(watch->notify_fd, watch->watch);
		watch->watch = folder;
	}
	if (watch->target >= 0)
		inotify_rm_watch(watch->notify_fd, watch->target);
	watch->target = -1;
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		watch->target = inotify_add_watch(
			watch->notify_fd, path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF);
}

#define LONGEST_NOTICE (sizeof(struct inotify_event) + NAME_MAX + 1)

/* Takes all notices that wait and says what they amount to. */
static unsigned drain(struct cu_watch *watch)
{
	_Alignas(struct inotify_event) char buffer[8192];
	unsigned seen = 0;
	ssize_t n;

	do {
		n = read(watch->notify_fd, buffer, sizeof(buffer));
		for (char *p = buffer; n > 0 && p < buffer + n;) {
			const struct inotify_event *event = (const void *)p;

			p += sizeof(*event) + event->len;
			if (event->mask & IN_Q_OVERFLOW)
				seen |= CU_WATCH_LOST;
			if (event->wd == watch->target && event->wd >= 0) {
				seen |= CU_WATCH_CHANGED;
				if (event->mask & IN_IGNORED)
					watch->target = -1;
				continue;
			}
			if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) {
				seen |= CU_WATCH_LOST;
				if (event->wd == watch->watch) {
					if (!(event->mask & IN_IGNORED))
						inotify_rm_watch(watch->notify_fd, watch->watch);
					watch->watch = -1;
				}
			}
			if (event->len > 0 &&
				strncmp(event->name, watch->prefix, watch->prefix_bytes) == 0)
				seen |= CU_WATCH_CHANGED;
		}
	} while (n > (ssize_t)(sizeof(buffer) - LONGEST_NOTICE));
	return seen;
}

/* notices: whether those end it too. */
static unsigned wait_for(struct cu_watch *watch, bool notices, int64_t deadline_ns)
{
	for (;;) {
		struct pollfd fds[2] = {
			{.fd = watch->wake_fd, .events = POLLIN},
			{.fd = notices ? watch->notify_fd : -1, .events = POLLIN},
		};
		int64_t left_ns = deadline_ns - cu_os_now_ns();
		struct timespec left = {.tv_sec = 0};
		unsigned seen = 0;
		int n;

		if (left_ns > 0)
			left = (struct timespec){.tv_sec = (time_t)(left_ns / CU_NS_PER_S),
				.tv_nsec = left_ns % CU_NS_PER_S};
		n = ppoll(fds, 2, &left, NULL);
		CU_CHECK(n >= 0 || errno == EINTR || errno == ENOMEM);
		if (n == 0)
			return 0;
		if (n > 0 && fds[0].revents) {
			uint64_t count;

			if (read(watch->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
				seen |= CU_WATCH_WOKEN;
		}
		if (n > 0 && fds[1].revents)
			seen |= drain(watch);
		/* Also where notices of other files in the folder come without an end. */
		if (seen || left_ns <= 0)
			return seen;
	}
}

unsigned cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	int64_t worth_it_ns;
	unsigned seen;

	if (!watch->rests)
		return wait_for(watch, true, deadline_ns);
	worth_it_ns = cu_deadline(cu_os_now_ns(), WORTH_WATCHING_NS);
	seen = wait_for(watch, false, deadline_ns < worth_it_ns ? deadline_ns : worth_it_ns);
	if (seen || deadline_ns < worth_it_ns)
		return seen;
	watch->rests = false;
	cu_watch_works(watch);
	return CU_WATCH_CHANGED;
}

/* Notices that nobody takes cost whoever writes the files all the same. */
void cu_watch_rest(struct cu_watch *watch, int64_t deadline_ns)
{
	if (wait_for(watch, false, deadline_ns) != 0 || watch->watch < 0)
		return;
	inotify_rm_watch(watch->notify_fd, watch->watch);
	watch->watch = -1;
	watch->rests = true;
}

unsigned cu_watch_settle(struct cu_watch *watch, int64_t ns)
{
	unsigned seen = wait_for(watch, false, cu_deadline(cu_os_now_ns(), ns));

	return watch->notify_fd >= 0 ? seen | drain(watch) : seen;
}

void cu_watch_wake(struct cu_watch *watch)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, and so a wake-up is waiting already. */
	for (int tries = 0; tries < 100; tries++)
		if (write(watch->wake_fd, &one, sizeof(one)) > 0 || errno == EAGAIN)
			return;
}
