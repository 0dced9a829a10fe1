/* SPDX-License-Identifier: MIT */
/*
 * os_posix_watch.c - notices of a file, and of those beside it, over inotify.
 *
 * The folder is watched for names that come and go. Where any file of a like name counts, it is watched for
 * writes as well; then each write to whatever else is in it wakes the watcher, which sleeps on. Where two
 * files are all that is written, they are watched themselves: what happens to others costs nothing.
 */
#include "base/check.h"
#include "base/os.h"
#include "base/os_posix.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Notices are taken once a wait has lasted as long as this, at the start and after a rest: to take leave
 * of a folder that was watched a moment ago takes the system some ten milliseconds, and who has caught up
 * often ends at once. */
#define WORTH_WATCHING_NS (2 * CU_NS_PER_MS)

struct cu_watch {
	/* constant after create */
	char *folder; /* owned */
	char *prefix; /* owned */
	size_t prefix_bytes;
	char *written[2]; /* owned; the files whose writes are notices; NULL: those of all of a like name */
	int wake_fd;

	/* waiting thread only */
	int notify_fd; /* -1 while there is none */
	int watch;     /* -1 while the folder is not watched */
	int target;    /* the file a symbolic link leads to; -1 while none is watched */
	int files[2];  /* those of `written`; -1 while one is not watched */
	bool rests;    /* no notices are taken now */
};

#define NAMES_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |     \
		IN_ONLYDIR)
#define ALL_MASK (NAMES_MASK | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE)

static void forget(struct cu_watch *watch, int *number)
{
	if (*number >= 0)
		inotify_rm_watch(watch->notify_fd, *number);
	*number = -1;
}

/* The files that have the names now. False: the system has no watches left. */
static bool watch_written(struct cu_watch *watch)
{
	for (size_t i = 0; i < 2; i++) {
		/* The same file gives the same number. */
		int number = inotify_add_watch(watch->notify_fd, watch->written[i], IN_MODIFY);

		if (number < 0 && errno != ENOENT)
			return false;
		if (number != watch->files[i])
			forget(watch, &watch->files[i]);
		watch->files[i] = number;
	}
	return true;
}

/* Names before files: one that is made in between is a notice, after which the files are watched again. */
static void watch_folder(struct cu_watch *watch)
{
	bool all = !watch->written[0];
	int number = inotify_add_watch(watch->notify_fd, watch->folder, all ? ALL_MASK : NAMES_MASK);

	/* The same folder gives the same number, and takes the new mask. */
	if (number >= 0 && !all && !watch_written(watch))
		number = inotify_add_watch(watch->notify_fd, watch->folder, ALL_MASK);
	if (number != watch->watch)
		forget(watch, &watch->watch);
	watch->watch = number;
}

static void unwatch(struct cu_watch *watch)
{
	forget(watch, &watch->watch);
	forget(watch, &watch->target);
	for (size_t i = 0; i < 2; i++)
		forget(watch, &watch->files[i]);
}

bool cu_watch_works(struct cu_watch *watch)
{
	if (watch->watch >= 0 || watch->rests)
		return true;
	if (watch->notify_fd < 0)
		watch->notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->notify_fd < 0)
		return false;
	watch_folder(watch);
	return watch->watch >= 0;
}

/* "app.db" and "-wal": both of their names. */
static bool name_written(struct cu_watch *watch, const char *path, const char *beside)
{
	if (!beside)
		return true;
	watch->written[0] = strdup(path);
	if (asprintf(&watch->written[1], "%s%s", path, beside) < 0)
		watch->written[1] = NULL;
	return watch->written[0] && watch->written[1];
}

int cu_watch_create(const char *path, const char *beside, struct cu_watch **out)
{
	const char *slash = strrchr(path, '/');
	struct cu_watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return -ENOMEM;
	watch->notify_fd = -1;
	watch->watch = -1;
	watch->target = -1;
	watch->files[0] = watch->files[1] = -1;
	watch->folder = cu_posix_folder_of(path);
	watch->prefix = strdup(slash ? slash + 1 : path);
	watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!watch->folder || !watch->prefix || !name_written(watch, path, beside) ||
		watch->wake_fd < 0) {
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
	watch->watch = watch->target = watch->files[0] = watch->files[1] = -1;
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
	free(watch->written[0]);
	free(watch->written[1]);
	free(watch);
}

void cu_watch_renew(struct cu_watch *watch, const char *path)
{
	struct stat st;

	watch->rests = false;
	if (!cu_watch_works(watch))
		return;
	watch_folder(watch);
	forget(watch, &watch->target);
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		watch->target = inotify_add_watch(
			watch->notify_fd, path, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF);
}

#define LONGEST_NOTICE (sizeof(struct inotify_event) + NAME_MAX + 1)

/* Whether it is of a file that is watched itself. */
static bool is_of_file(struct cu_watch *watch, const struct inotify_event *event)
{
	int *numbers[] = {&watch->target, &watch->files[0], &watch->files[1]};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (event->wd < 0 || event->wd != *numbers[i])
			continue;
		if (event->mask & IN_IGNORED)
			*numbers[i] = -1;
		return true;
	}
	return false;
}

/* Takes all notices that wait and says what they amount to. */
static unsigned drain(struct cu_watch *watch)
{
	_Alignas(struct inotify_event) char buffer[8192];
	bool renamed = false;
	unsigned seen = 0;
	ssize_t n;

	do {
		n = read(watch->notify_fd, buffer, sizeof(buffer));
		for (char *p = buffer; n > 0 && p < buffer + n;) {
			const struct inotify_event *event = (const void *)p;

			p += sizeof(*event) + event->len;
			if (event->mask & IN_Q_OVERFLOW)
				seen |= CU_WATCH_LOST;
			if (is_of_file(watch, event)) {
				seen |= CU_WATCH_CHANGED;
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
			renamed |= event->len > 0 || (event->mask & IN_Q_OVERFLOW);
		}
	} while (n > (ssize_t)(sizeof(buffer) - LONGEST_NOTICE));
	if (renamed && seen && watch->written[0] && watch->watch >= 0)
		watch_folder(watch);
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
	unwatch(watch);
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
