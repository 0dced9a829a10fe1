/* SPDX-License-Identifier: MIT */
/*
 * sim_file.c - os.h's files and watches, over the story's disk (sim_disk.h): what may go wrong with files is
 * drawn, their times are the story's, and watches hear what is done to them.
 */
#include "sim.h"
#include "sim_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTORS 1024
#define TOUCHED 64

struct cu_watch {
	struct cu_watch *next;
	struct sim_process *process;
	char folder[PATH_MAX];
	char prefix[256];
	bool works;
	unsigned pending;      /* CU_WATCH_... */
	int64_t late_at_ns;    /* a notice on its way, CU_FOREVER for none */
};

static struct {
	struct {
		char *path; /* owned; NULL: not one of ours */
		struct sim_process *process;
	} open[DESCRIPTORS];
	struct {
		char path[PATH_MAX];
		int64_t at_ns;
	} touched[TOUCHED];
	size_t n_touched;
	struct cu_watch *watches;
} files;

/* ---- what goes wrong --------------------------------------------------------------------------- */

/* Only the runtime's processes, and who writes a changelog: the story's own reading is sound. */
static bool fails(const char *what, const char *path)
{
	if (!sim_process_current()->files_fail || !sim_chance(sim_faults.file))
		return false;
	SIM_TRACE("fault: %s %s", what, path ? strrchr(path, '/') + 1 : "");
	sim_counts->faults++;
	return true;
}

static const char *path_of(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS ? files.open[fd].path : NULL;
}

/* ---- notices ----------------------------------------------------------------------------------- */

static void tell(struct cu_watch *watch, unsigned what)
{
	sim_counts->notices++;
	if (sim_chance(sim_faults.notice_flood))
		what = CU_WATCH_LOST;
	if (sim_chance(sim_faults.notice_lost))
		return;
	if (sim_chance(sim_faults.notice_late)) {
		if (watch->late_at_ns == CU_FOREVER)
			watch->late_at_ns = sim_now_ns() + sim_between(0, 500 * CU_NS_PER_MS);
	} else {
		watch->pending |= what;
	}
	/* It looks again how long it sleeps. */
	sim_wake_all(watch);
}

static bool is_in(const struct cu_watch *watch, const char *path)
{
	size_t n = strlen(watch->folder);

	return strncmp(path, watch->folder, n) == 0 && path[n] == '/' &&
		!strchr(path + n + 1, '/') &&
		strncmp(path + n + 1, watch->prefix, strlen(watch->prefix)) == 0;
}

void sim_file_changed(const char *path)
{
	size_t i = 0;

	while (i < files.n_touched && strcmp(files.touched[i].path, path) != 0)
		i++;
	if (i == files.n_touched) {
		SIM_CHECK(i < TOUCHED, "too many files");
		snprintf(files.touched[i].path, sizeof(files.touched[i].path), "%s", path);
		files.n_touched++;
	}
	files.touched[i].at_ns = sim_now_ns();
	for (struct cu_watch *w = files.watches; w; w = w->next)
		if (w->works && is_in(w, path))
			tell(w, CU_WATCH_CHANGED);
}

void sim_folder_replaced(const char *path)
{
	for (struct cu_watch *w = files.watches; w; w = w->next) {
		if (!w->works || strcmp(w->folder, path) != 0)
			continue;
		w->works = false;
		tell(w, CU_WATCH_LOST);
	}
}

int cu_watch_create(const char *path, const char *beside, struct cu_watch **out)
{
	struct cu_watch *watch = calloc(1, sizeof(*watch));
	const char *slash = strrchr(path, '/');

	(void)beside; /* all of a like name are notices: more than there are */
	SIM_CHECK(watch, "no memory");
	SIM_CHECK(slash, "'%s' has no folder", path);
	snprintf(watch->folder, sizeof(watch->folder), "%.*s", (int)(slash - path), path);
	snprintf(watch->prefix, sizeof(watch->prefix), "%s", slash + 1);
	watch->process = sim_process_current();
	watch->works = !sim_chance(sim_faults.watch_broken);
	watch->late_at_ns = CU_FOREVER;
	watch->next = files.watches;
	files.watches = watch;
	*out = watch;
	return 0;
}

static void forget(struct cu_watch *watch)
{
	for (struct cu_watch **at = &files.watches; *at; at = &(*at)->next) {
		if (*at == watch) {
			*at = watch->next;
			break;
		}
	}
}

void cu_watch_destroy(struct cu_watch *watch)
{
	if (!watch)
		return;
	forget(watch);
	free(watch);
}

bool cu_watch_works(struct cu_watch *watch)
{
	if (!watch->works)
		watch->works = !sim_chance(sim_faults.watch_broken);
	return watch->works;
}

void cu_watch_renew(struct cu_watch *watch, const char *path)
{
	/* There are no symbolic links, which might lead elsewhere. */
	(void)path;
	cu_watch_works(watch);
}

unsigned cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	cu_os_point();
	for (;;) {
		unsigned seen;

		if (watch->late_at_ns <= sim_now_ns()) {
			watch->late_at_ns = CU_FOREVER;
			watch->pending |= CU_WATCH_CHANGED;
		}
		seen = watch->pending;
		watch->pending = 0;
		if (seen)
			return seen;
		if (deadline_ns <= sim_now_ns())
			return 0;
		sim_block(watch, watch->late_at_ns < deadline_ns ? watch->late_at_ns : deadline_ns,
			"a watch");
	}
}

void cu_watch_rest(struct cu_watch *watch, int64_t deadline_ns)
{
	cu_os_point();
	while (!(watch->pending & CU_WATCH_WOKEN) && deadline_ns > sim_now_ns())
		sim_block(watch, deadline_ns, "a watch at rest");
	watch->pending &= ~CU_WATCH_WOKEN;
}

unsigned cu_watch_settle(struct cu_watch *watch, int64_t ns)
{
	int64_t until_ns = sim_now_ns() + ns;
	unsigned seen;

	cu_os_point();
	while (!(watch->pending & CU_WATCH_WOKEN) && until_ns > sim_now_ns())
		sim_block(watch, until_ns, "a settling watch");
	seen = watch->pending;
	watch->pending = 0;
	return seen;
}

void cu_watch_stop(struct cu_watch *watch)
{
	(void)watch;
}

void cu_watch_wake(struct cu_watch *watch)
{
	watch->pending |= CU_WATCH_WOKEN;
	sim_wake_all(watch);
	cu_os_point();
}

/* ---- files ------------------------------------------------------------------------------------- */

static bool exists(const char *path)
{
	struct cu_file_stat stat;

	return sim_disk_stat(path, &stat) == 0;
}

int cu_file_open(const char *path, unsigned flags)
{
	bool appends = flags & CU_OPEN_APPEND;
	bool made = appends && !exists(path);
	int fd;

	cu_os_point();
	if (fails("open", path))
		return sim_chance(500000) ? -EMFILE : -EIO;
	fd = sim_disk_open(path, (appends ? O_RDWR | O_APPEND | O_CREAT : O_RDONLY) |
					 (flags & CU_OPEN_CREATE_NEW ? O_EXCL : 0));
	if (fd < 0)
		return fd;
	SIM_CHECK(fd < DESCRIPTORS && !files.open[fd].path, "descriptor %d is not free", fd);
	files.open[fd].path = strdup(path);
	files.open[fd].process = sim_process_current();
	if (made)
		sim_file_changed(path);
	return fd;
}

static void forget_fd(int fd)
{
	free(files.open[fd].path);
	files.open[fd].path = NULL;
	files.open[fd].process = NULL;
}

void cu_file_close(int fd)
{
	SIM_CHECK(path_of(fd), "descriptor %d is closed, and not open", fd);
	forget_fd(fd);
	sim_disk_close(fd);
}

void sim_file_close_all(struct sim_process *process)
{
	struct cu_watch *next;

	for (int fd = 0; fd < DESCRIPTORS; fd++)
		if (files.open[fd].process == process)
			cu_file_close(fd);
	for (struct cu_watch *w = files.watches; w; w = next) {
		next = w->next;
		if (w->process == process)
			forget(w);
	}
}

ssize_t cu_file_read_at(int fd, void *to, size_t bytes, int64_t offset)
{
	cu_os_point();
	SIM_CHECK(path_of(fd), "descriptor %d is read, and not open", fd);
	if (fails("read", path_of(fd)))
		return -EIO;
	return sim_disk_read(fd, to, bytes, offset);
}

ssize_t cu_file_write(int fd, const void *from, size_t bytes)
{
	ssize_t n;

	SIM_CHECK(path_of(fd), "descriptor %d is written, and not open", fd);
	sim_process_step();
	cu_os_point();
	if (fails("write", path_of(fd)))
		return sim_chance(500000) ? -ENOSPC : -EIO;
	if (bytes > 1 && sim_chance(sim_faults.short_write))
		bytes = 1 + sim_below(bytes - 1);
	n = sim_disk_write(fd, from, bytes, 0);
	if (n > 0)
		sim_file_changed(path_of(fd));
	return n;
}

int cu_file_sync(int fd)
{
	SIM_CHECK(path_of(fd), "descriptor %d is synced, and not open", fd);
	sim_process_step();
	return fails("sync", path_of(fd)) ? -EIO : 0;
}

int cu_file_truncate(int fd, int64_t size)
{
	int rc;

	SIM_CHECK(path_of(fd), "descriptor %d is truncated, and not open", fd);
	cu_os_point();
	if (fails("truncate", path_of(fd)))
		return -EIO;
	rc = sim_disk_truncate(fd, size);
	if (rc == 0)
		sim_file_changed(path_of(fd));
	return rc;
}

int cu_file_lock(int fd)
{
	SIM_CHECK(path_of(fd), "descriptor %d is locked, and not open", fd);
	cu_os_point();
	return sim_disk_lock(fd);
}

int cu_file_stat_fd(int fd, struct cu_file_stat *out)
{
	int rc = sim_disk_stat_fd(fd, out);

	out->mtime_ns = 0;
	return rc;
}

int cu_file_stat_path(const char *path, struct cu_file_stat *out)
{
	int rc = sim_disk_stat(path, out);

	cu_os_point();
	out->mtime_ns = 0;
	for (size_t i = 0; i < files.n_touched; i++)
		if (strcmp(files.touched[i].path, path) == 0)
			out->mtime_ns = files.touched[i].at_ns;
	return rc;
}

int cu_file_rename(const char *from, const char *to)
{
	int rc;

	sim_process_step();
	cu_os_point();
	if (fails("rename", from))
		return -EIO;
	rc = sim_disk_rename(from, to);
	if (rc == 0) {
		sim_file_changed(from);
		sim_file_changed(to);
	}
	return rc;
}

int cu_file_remove(const char *path)
{
	int rc;

	cu_os_point();
	rc = sim_disk_remove(path);
	if (rc == 0)
		sim_file_changed(path);
	return rc;
}

int cu_file_sync_folder(const char *path_in_folder)
{
	return fails("sync folder of", path_in_folder) ? -EIO : 0;
}

int cu_file_real_path(const char *path, char *to, size_t bytes)
{
	struct cu_file_stat stat;
	int rc = sim_disk_stat(path, &stat);

	if (rc == 0 && (size_t)snprintf(to, bytes, "%s", path) >= bytes)
		rc = -ENAMETOOLONG;
	return rc;
}

bool cu_file_same(const struct cu_file_id *a, const struct cu_file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->birth_ns == b->birth_ns;
}
