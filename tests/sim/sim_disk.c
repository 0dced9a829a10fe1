/* SPDX-License-Identifier: MIT */
/*
 * sim_disk.c - a table of names, a table of descriptors, and files as lists of pieces.
 */
#include "sim_disk.h"

#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES 512
#define DESCRIPTORS 1024
/* SQLite takes none of the first three for a file of its own. */
#define FIRST_DESCRIPTOR 3

struct inode {
	uint64_t number;
	int64_t birth_ns;
	bool folder;
	unsigned names, descriptors; /* it goes with the last of them */
	int locked_by;               /* descriptor, -1 for none */
	int64_t size;
	uint8_t **pieces;            /* owned; at least as many as the size needs */
	size_t n_pieces;
};

static struct {
	struct name {
		uint64_t hash;
		char *path; /* owned */
		struct inode *inode;
	} names[NAMES];
	size_t n_names;
	struct descriptor {
		struct inode *inode; /* NULL: not open */
		bool reads, writes, appends;
	} open[DESCRIPTORS];
	uint64_t last_number;
} disk;

/* ---- names ------------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *path)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	while (*path)
		hash = (hash ^ (uint8_t)*path++) * UINT64_C(0x100000001b3);
	return hash;
}

static struct name *find(const char *path)
{
	uint64_t hash = hash_of(path);

	for (size_t i = 0; i < disk.n_names; i++)
		if (disk.names[i].hash == hash && strcmp(disk.names[i].path, path) == 0)
			return &disk.names[i];
	return NULL;
}

static void set_path(struct name *name, char *path)
{
	free(name->path);
	name->path = path;
	name->hash = hash_of(path);
}

/* Whether the folder that a path says it is in is there. */
static bool has_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, (size_t)(slash - path));
	const struct name *name = find(folder);
	bool has = slash == path || (name && name->inode->folder);

	free(folder);
	return has;
}

static struct inode *make(const char *path, bool folder)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	SIM_CHECK(inode && disk.n_names < NAMES, "too many files");
	inode->number = ++disk.last_number;
	inode->birth_ns = sim_now_ns();
	inode->folder = folder;
	inode->names = 1;
	inode->locked_by = -1;
	disk.names[disk.n_names] = (struct name){.inode = inode};
	set_path(&disk.names[disk.n_names++], strdup(path));
	return inode;
}

static void free_unused(struct inode *inode)
{
	if (inode->names > 0 || inode->descriptors > 0)
		return;
	for (size_t i = 0; i < inode->n_pieces; i++)
		free(inode->pieces[i]);
	free(inode->pieces);
	free(inode);
}

static void unname(struct name *name)
{
	struct inode *inode = name->inode;

	free(name->path);
	*name = disk.names[--disk.n_names];
	inode->names--;
	free_unused(inode);
}

int sim_disk_make_folder(const char *path)
{
	if (find(path))
		return -EEXIST;
	if (!has_folder(path))
		return -ENOENT;
	make(path, true);
	return 0;
}

int sim_disk_remove(const char *path)
{
	struct name *name = find(path);

	if (!name)
		return -ENOENT;
	if (name->inode->folder)
		return -EISDIR;
	unname(name);
	return 0;
}

/* Where a path goes on inside a folder: "" for the folder itself, NULL when it is not in there. */
static const char *inside(const char *folder, const char *path)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 && (path[n] == '/' || !path[n]) ? path + n : NULL;
}

int sim_disk_rename(const char *from, const char *to)
{
	struct name *old = find(from), *taken = find(to);

	if (!old || !has_folder(to))
		return -ENOENT;
	if (old == taken)
		return 0;
	if (taken && (taken->inode->folder || old->inode->folder))
		return taken->inode->folder ? -EISDIR : -ENOTDIR;
	if (taken)
		unname(taken);
	for (size_t i = 0; i < disk.n_names; i++) {
		const char *rest = inside(from, disk.names[i].path);
		char *path;

		if (!rest)
			continue;
		SIM_CHECK(asprintf(&path, "%s%s", to, rest) >= 0, "no memory");
		set_path(&disk.names[i], path);
	}
	return 0;
}

/* ---- descriptors ------------------------------------------------------------------------------- */

static struct descriptor *of(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && disk.open[fd].inode ? &disk.open[fd] : NULL;
}

int sim_disk_open(const char *path, int flags)
{
	struct name *name;
	struct inode *inode;
	int fd = FIRST_DESCRIPTOR;

	SIM_CHECK(path[0] == '/', "'%s' is no absolute path", path);
	name = find(path);
	if (name && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (name && name->inode->folder)
		return -EISDIR;
	if (!name && (!(flags & O_CREAT) || !has_folder(path)))
		return -ENOENT;
	inode = name ? name->inode : make(path, false);
	while (fd < DESCRIPTORS && disk.open[fd].inode)
		fd++;
	SIM_CHECK(fd < DESCRIPTORS, "too many open files");
	disk.open[fd] = (struct descriptor){
		.inode = inode,
		.reads = (flags & O_ACCMODE) != O_WRONLY,
		.writes = (flags & O_ACCMODE) != O_RDONLY,
		.appends = flags & O_APPEND,
	};
	inode->descriptors++;
	if (flags & O_TRUNC)
		sim_disk_truncate(fd, 0);
	return fd;
}

int sim_disk_close(int fd)
{
	struct descriptor *d = of(fd);
	struct inode *inode;

	if (!d)
		return -EBADF;
	inode = d->inode;
	d->inode = NULL;
	inode->descriptors--;
	if (inode->locked_by == fd)
		inode->locked_by = -1;
	free_unused(inode);
	return 0;
}

int sim_disk_lock(int fd)
{
	struct descriptor *d = of(fd);

	if (!d)
		return -EBADF;
	if (d->inode->locked_by >= 0 && d->inode->locked_by != fd)
		return -EAGAIN;
	d->inode->locked_by = fd;
	return 0;
}

/* ---- contents ---------------------------------------------------------------------------------- */

/* The piece that a byte is in, and how much of it there is from there on. */
static uint8_t *piece_at(const struct inode *inode, int64_t offset, size_t *room)
{
	size_t within = (size_t)(offset % SIM_DISK_PIECE);

	*room = SIM_DISK_PIECE - within;
	return inode->pieces[offset / SIM_DISK_PIECE] + within;
}

static void make_room(struct inode *inode, int64_t size)
{
	size_t n = (size_t)((size + SIM_DISK_PIECE - 1) / SIM_DISK_PIECE);

	if (n <= inode->n_pieces)
		return;
	inode->pieces = realloc(inode->pieces, n * sizeof(*inode->pieces));
	SIM_CHECK(inode->pieces, "no memory");
	for (; inode->n_pieces < n; inode->n_pieces++) {
		inode->pieces[inode->n_pieces] = malloc(SIM_DISK_PIECE);
		SIM_CHECK(inode->pieces[inode->n_pieces], "no memory");
	}
}

/* What comes between the end and what is written behind it is 0. */
static void grow(struct inode *inode, int64_t size)
{
	make_room(inode, size);
	while (inode->size < size) {
		size_t n;
		uint8_t *to = piece_at(inode, inode->size, &n);

		if ((int64_t)n > size - inode->size)
			n = (size_t)(size - inode->size);
		memset(to, 0, n);
		inode->size += (int64_t)n;
	}
}

ssize_t sim_disk_read(int fd, void *to, size_t bytes, int64_t offset)
{
	const struct descriptor *d = of(fd);
	size_t done = 0;

	if (!d || !d->reads)
		return -EBADF;
	if (offset >= d->inode->size)
		return 0;
	if ((int64_t)bytes > d->inode->size - offset)
		bytes = (size_t)(d->inode->size - offset);
	while (done < bytes) {
		size_t n;
		const uint8_t *from = piece_at(d->inode, offset + (int64_t)done, &n);

		if (n > bytes - done)
			n = bytes - done;
		memcpy((uint8_t *)to + done, from, n);
		done += n;
	}
	return (ssize_t)done;
}

ssize_t sim_disk_write(int fd, const void *from, size_t bytes, int64_t offset)
{
	const struct descriptor *d = of(fd);
	size_t done = 0;

	if (!d || !d->writes)
		return -EBADF;
	if (d->appends)
		offset = d->inode->size;
	grow(d->inode, offset);
	make_room(d->inode, offset + (int64_t)bytes);
	while (done < bytes) {
		size_t n;
		uint8_t *to = piece_at(d->inode, offset + (int64_t)done, &n);

		if (n > bytes - done)
			n = bytes - done;
		memcpy(to, (const uint8_t *)from + done, n);
		done += n;
	}
	if (d->inode->size < offset + (int64_t)bytes)
		d->inode->size = offset + (int64_t)bytes;
	return (ssize_t)done;
}

int sim_disk_truncate(int fd, int64_t size)
{
	const struct descriptor *d = of(fd);

	if (!d || !d->writes)
		return -EBADF;
	grow(d->inode, size);
	/* Pieces stay, for they may be mapped. */
	d->inode->size = size;
	return 0;
}

void *sim_disk_map(int fd, size_t bytes, int64_t offset)
{
	const struct descriptor *d = of(fd);
	size_t room;
	uint8_t *at;

	if (!d || offset + (int64_t)bytes > d->inode->size)
		return NULL;
	at = piece_at(d->inode, offset, &room);
	return bytes <= room ? at : NULL;
}

/* ---- looking ----------------------------------------------------------------------------------- */

static void describe(const struct inode *inode, struct cu_file_stat *out)
{
	*out = (struct cu_file_stat){
		.id = {.device = 1, .inode = inode->number, .birth_ns = inode->birth_ns},
		.size = inode->size,
		.mode = inode->folder ? S_IFDIR | 0700 : S_IFREG | 0644,
		.links = inode->names,
	};
}

int sim_disk_stat_fd(int fd, struct cu_file_stat *out)
{
	const struct descriptor *d = of(fd);

	if (!d)
		return -EBADF;
	describe(d->inode, out);
	return 0;
}

int sim_disk_stat(const char *path, struct cu_file_stat *out)
{
	const struct name *name = find(path);

	if (!name)
		return -ENOENT;
	describe(name->inode, out);
	return 0;
}

static void copy_file(const struct inode *inode, const char *to)
{
	FILE *file = fopen(to, "w");
	size_t n;

	for (int64_t at = 0; file && at < inode->size; at += (int64_t)n) {
		const uint8_t *from = piece_at(inode, at, &n);

		if ((int64_t)n > inode->size - at)
			n = (size_t)(inode->size - at);
		fwrite(from, 1, n, file);
	}
	if (!file || fclose(file) != 0)
		fprintf(stderr, "'%s' could not be written\n", to);
}

void sim_disk_copy_out(void)
{
	char to[] = "/tmp/catchup-sim-XXXXXX";

	if (!mkdtemp(to)) {
		perror(to);
		return;
	}
	/* Folders first. */
	for (int folders = 1; folders >= 0; folders--) {
		for (size_t i = 0; i < disk.n_names; i++) {
			const struct name *name = &disk.names[i];
			char path[1024];

			if (name->inode->folder != folders)
				continue;
			snprintf(path, sizeof(path), "%s%s", to, name->path);
			if (folders)
				mkdir(path, 0700);
			else
				copy_file(name->inode, path);
		}
	}
	fprintf(stderr, "the files are in %s\n", to);
}
