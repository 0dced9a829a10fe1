/* SPDX-License-Identifier: MIT */
/*
 * sim_calls.c - the system calls that SQLite's unix VFS makes, over the story's disk (sim_disk.h): the VFS
 * is SQLite's own, with its locks between connections and its shared memory, and only the kernel is not
 * there. What it has no use for in a story is left as it is.
 */
#include "sim.h"
#include "sim_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* From os.h's way of saying that something failed to POSIX's. */
static int result(ssize_t n)
{
	if (n >= 0)
		return (int)n;
	errno = (int)-n;
	return -1;
}

static int call_open(const char *path, int flags, int mode)
{
	(void)mode;
	return result(sim_disk_open(path, flags));
}

static int call_close(int fd)
{
	return result(sim_disk_close(fd));
}

static int call_access(const char *path, int mode)
{
	struct cu_file_stat stat;

	(void)mode;
	return result(sim_disk_stat(path, &stat));
}

static int fill(int rc, const struct cu_file_stat *from, struct stat *to)
{
	if (rc != 0)
		return result(rc);
	memset(to, 0, sizeof(*to));
	to->st_dev = from->id.device;
	to->st_ino = from->id.inode;
	to->st_mode = from->mode;
	to->st_nlink = from->links;
	to->st_size = from->size;
	return 0;
}

static int call_stat(const char *path, struct stat *out)
{
	struct cu_file_stat stat;
	int rc = sim_disk_stat(path, &stat);

	return fill(rc, &stat, out);
}

static int call_fstat(int fd, struct stat *out)
{
	struct cu_file_stat stat;
	int rc = sim_disk_stat_fd(fd, &stat);

	return fill(rc, &stat, out);
}

static ssize_t call_readlink(const char *path, char *to, size_t bytes)
{
	(void)path;
	(void)to;
	(void)bytes;
	errno = EINVAL; /* there are no links */
	return -1;
}

static int call_ftruncate(int fd, off_t size)
{
	return result(sim_disk_truncate(fd, size));
}

static ssize_t call_pread(int fd, void *to, size_t bytes, off_t offset)
{
	return result(sim_disk_read(fd, to, bytes, offset));
}

static ssize_t call_pwrite(int fd, const void *from, size_t bytes, off_t offset)
{
	return result(sim_disk_write(fd, from, bytes, offset));
}

static int call_unlink(const char *path)
{
	return result(sim_disk_remove(path));
}

/* A folder is synced through a descriptor; one that cannot be opened is let be. */
static int call_open_folder(const char *path, int *fd)
{
	(void)path;
	*fd = -1;
	return SQLITE_CANTOPEN;
}

static int call_fchown(int fd, uid_t user, gid_t group)
{
	(void)fd;
	(void)user;
	(void)group;
	return 0;
}

static void *call_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	void *map = sim_disk_map(fd, bytes, offset);

	(void)at;
	(void)protection;
	(void)flags;
	SIM_CHECK(map, "%zu bytes at %lld cannot be mapped", bytes, (long long)offset);
	return map;
}

static int call_munmap(void *at, size_t bytes)
{
	(void)at;
	(void)bytes;
	return 0;
}

/*
 * All processes of a story are in one real one, which no lock of the kernel's keeps from anything: SQLite
 * holds them apart by itself, as it does threads. So every lock is granted.
 */
static int call_fcntl(int fd, int command, ...)
{
	struct flock *lock;
	va_list ap;

	(void)fd;
	va_start(ap, command);
	lock = va_arg(ap, struct flock *);
	va_end(ap);
	SIM_CHECK(command == F_SETLK || command == F_GETLK, "fcntl is asked for %d", command);
	if (command == F_GETLK)
		lock->l_type = F_UNLCK;
	return 0;
}

void sim_calls_install(sqlite3_vfs *vfs)
{
	static const struct {
		const char *name;
		sqlite3_syscall_ptr call;
	} calls[] = {
		{"open", (sqlite3_syscall_ptr)call_open},
		{"close", (sqlite3_syscall_ptr)call_close},
		{"access", (sqlite3_syscall_ptr)call_access},
		{"stat", (sqlite3_syscall_ptr)call_stat},
		{"lstat", (sqlite3_syscall_ptr)call_stat},
		{"fstat", (sqlite3_syscall_ptr)call_fstat},
		{"readlink", (sqlite3_syscall_ptr)call_readlink},
		{"ftruncate", (sqlite3_syscall_ptr)call_ftruncate},
		{"fcntl", (sqlite3_syscall_ptr)call_fcntl},
		{"pread", (sqlite3_syscall_ptr)call_pread},
		{"pread64", (sqlite3_syscall_ptr)call_pread},
		{"pwrite", (sqlite3_syscall_ptr)call_pwrite},
		{"pwrite64", (sqlite3_syscall_ptr)call_pwrite},
		{"unlink", (sqlite3_syscall_ptr)call_unlink},
		{"openDirectory", (sqlite3_syscall_ptr)call_open_folder},
		{"fchown", (sqlite3_syscall_ptr)call_fchown},
		{"mmap", (sqlite3_syscall_ptr)call_mmap},
		{"munmap", (sqlite3_syscall_ptr)call_munmap},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		SIM_CHECK(vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call) == SQLITE_OK,
			"SQLite's call '%s' is not to be replaced", calls[i].name);
}
