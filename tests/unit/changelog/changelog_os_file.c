/* SPDX-License-Identifier: MIT */
/*
 * changelog_os_file.c - the pretended machine's one folder: the writer's side of its files, the reader's,
 * and who watches it.
 */
#include "changelog_os_inside.h"

#include "base/check.h"
#include "base/os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DESCRIPTORS_MAX 512
#define WATCHES_MAX 8
#define FOLLOWED "/pretended/log"

struct cu_watch {
	bool used, woken, changed;
};

static struct cu_watch watches[WATCHES_MAX];
static struct fake_file *files, *named;
static struct fake_file *descriptors[DESCRIPTORS_MAX];

/* ---- the folder --------------------------------------------------------------------------- */

static void notice(void)
{
	for (struct cu_watch *w = watches; w < watches + WATCHES_MAX; w++) {
		if (!w->used || fake_knobs.no_watches || fake_chance(fake_knobs.unseen_of))
			continue;
		w->changed = true;
		fake_wake(w);
	}
}

static void let_go(struct fake_file *file)
{
	struct fake_file **at = &files;

	if (file->opened > 0 || file->names > 0)
		return;
	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	free(file->bytes);
	free(file);
}

struct fake_file *fake_file_new(void)
{
	struct fake_file *file = calloc(1, sizeof(*file));
	bool taken = true;

	CU_CHECK(file);
	while (taken) {
		file->inode++;
		taken = false;
		for (const struct fake_file *f = files; f; f = f->next)
			taken = taken || f->inode == file->inode;
	}
	file->birth_ns = fake_knobs.births ? cu_os_now_ns() : 0;
	file->names = 1;
	file->next = files;
	files = file;
	return file;
}

struct fake_file *fake_named(void)
{
	return named;
}

void fake_name(struct fake_file *file, bool keep)
{
	struct fake_file *before = named;

	named = file;
	if (before && !keep) {
		before->names--;
		let_go(before);
	}
	notice();
}

void fake_write(struct fake_file *file, size_t offset, const char *bytes, size_t n)
{
	size_t end;

	CU_CHECK(file->fill == 0 || offset >= file->fill_at + file->fill);
	file->size -= file->fill;
	offset -= file->fill;
	end = offset + n;
	if (end > file->capacity) {
		file->capacity = end < 2048 ? 4096 : 2 * end;
		file->bytes = realloc(file->bytes, file->capacity);
		CU_CHECK(file->bytes);
	}
	if (offset > file->size)
		memset(file->bytes + file->size, 0, offset - file->size);
	memcpy(file->bytes + offset, bytes, n);
	if (end > file->size)
		file->size = end;
	file->size += file->fill;
	notice();
}

void fake_fill(struct fake_file *file, size_t n)
{
	CU_CHECK(file->fill == 0);
	file->fill_at = file->size;
	file->fill = n;
	file->size += n;
	notice();
}

void fake_truncate(struct fake_file *file, size_t size)
{
	CU_CHECK(file->fill == 0);
	file->size = size;
	notice();
}

void fake_hold(struct fake_file *file)
{
	file->opened++;
}

void fake_drop(struct fake_file *file)
{
	file->opened--;
	let_go(file);
}

/* ---- files, as the reader sees them -------------------------------------------------------- */

static uint64_t calls;

uint64_t fake_calls(void)
{
	return calls;
}

/* 0, or what a call fails with. */
static int trouble(void)
{
	static const int errors[] = {-EIO, -EACCES, -EMFILE};

	calls++;
	fake_perhaps_yield();
	return fake_chance(fake_knobs.fault_of) ? errors[fake_dice(3)] : 0;
}

static bool is_turn(uint32_t *in)
{
	return *in != 0 && --*in == 0;
}

int cu_file_open(const char *path, unsigned flags)
{
	int rc = trouble();

	CU_CHECK(flags == CU_OPEN_READ && strcmp(path, FOLLOWED) == 0);
	if (rc != 0)
		return rc;
	if (!named)
		return -ENOENT;
	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
		if (descriptors[fd])
			continue;
		descriptors[fd] = named;
		named->opened++;
		return fd;
	}
	return -EMFILE;
}

void cu_file_close(int fd)
{
	struct fake_file *file = descriptors[fd];

	CU_CHECK(file && file->opened > 0);
	descriptors[fd] = NULL;
	file->opened--;
	let_go(file);
}

static void copy_out(const struct fake_file *file, char *to, size_t bytes, size_t at)
{
	size_t end = file->fill_at + file->fill;

	while (bytes > 0) {
		bool filled = at >= file->fill_at && at < end;
		size_t n = filled ? end - at : at < file->fill_at ? file->fill_at - at : bytes;

		if (n > bytes)
			n = bytes;
		if (filled)
			memset(to, 'x', n);
		else
			memcpy(to, file->bytes + (at < end ? at : at - file->fill), n);
		to += n;
		at += n;
		bytes -= n;
	}
}

ssize_t cu_file_read_at(int fd, void *to, size_t bytes, int64_t offset)
{
	const struct fake_file *file = descriptors[fd];
	int rc = trouble();

	CU_CHECK(file && offset >= 0);
	if (rc != 0 || fake_knobs.unreadable || is_turn(&fake_knobs.fail_in))
		return -EIO;
	if ((size_t)offset >= file->size)
		return 0;
	if (bytes > file->size - (size_t)offset)
		bytes = file->size - (size_t)offset;
	if (is_turn(&fake_knobs.short_in))
		bytes = 1;
	else if (fake_chance(fake_knobs.short_of))
		bytes = 1 + fake_dice((uint32_t)bytes);
	copy_out(file, to, bytes, (size_t)offset);
	return (ssize_t)bytes;
}

static void fill_stat(const struct fake_file *file, struct cu_file_stat *out)
{
	*out = (struct cu_file_stat){
		.id = {.device = 1, .inode = file->inode, .birth_ns = file->birth_ns},
		.size = (int64_t)file->size,
		.mtime_ns = fake_now_ns(),
		.mode = S_IFREG | 0644,
		.links = file->names,
	};
}

int cu_file_stat_fd(int fd, struct cu_file_stat *out)
{
	int rc = trouble();

	if (rc == 0)
		fill_stat(descriptors[fd], out);
	return rc;
}

int cu_file_stat_path(const char *path, struct cu_file_stat *out)
{
	int rc = trouble();

	CU_CHECK(strcmp(path, FOLLOWED) == 0);
	if (rc == 0 && !named)
		rc = -ENOENT;
	if (rc == 0)
		fill_stat(named, out);
	return rc;
}

bool cu_file_same(const struct cu_file_id *a, const struct cu_file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->birth_ns == b->birth_ns;
}

/* ---- watching ----------------------------------------------------------------------------- */

int cu_watch_create(const char *path, const char *beside, struct cu_watch **out)
{
	struct cu_watch *w = watches;

	(void)path;
	(void)beside;
	while (w->used)
		w++;
	CU_CHECK(w < watches + WATCHES_MAX);
	*w = (struct cu_watch){.used = true};
	*out = w;
	return 0;
}

void cu_watch_destroy(struct cu_watch *watch)
{
	if (watch)
		watch->used = false;
}

bool cu_watch_works(struct cu_watch *watch)
{
	(void)watch;
	return !fake_knobs.no_watches;
}

void cu_watch_renew(struct cu_watch *watch, const char *path)
{
	(void)watch;
	(void)path;
}

unsigned cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	unsigned flags;

	if (!watch->woken && !watch->changed)
		fake_block(watch, deadline_ns);
	flags = (watch->woken ? CU_WATCH_WOKEN : 0) | (watch->changed ? CU_WATCH_CHANGED : 0);
	watch->woken = watch->changed = false;
	return flags;
}

void cu_watch_wake(struct cu_watch *watch)
{
	watch->woken = true;
	fake_wake(watch);
}

/* ---- the end ------------------------------------------------------------------------------ */

void fake_forget_files(int *n_descriptors, int *n_watches)
{
	*n_descriptors = *n_watches = 0;
	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		*n_descriptors += descriptors[fd] != NULL;
	for (int i = 0; i < WATCHES_MAX; i++)
		*n_watches += watches[i].used;
	while (files) {
		struct fake_file *file = files;

		files = file->next;
		free(file->bytes);
		free(file);
	}
	named = NULL;
	memset(descriptors, 0, sizeof(descriptors));
	memset(watches, 0, sizeof(watches));
}
