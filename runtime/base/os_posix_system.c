/* SPDX-License-Identifier: MIT */
/*
 * os_posix_system.c - this process, the others and their locks on files, and file systems: what Linux says of
 * them in /proc and by statfs(2).
 */
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- processes ------------------------------------------------------------------------------ */

pid_t cu_os_pid(void)
{
	return getpid();
}

/* Reads what is no longer than this at once. A negative errno when it cannot. */
static ssize_t read_small(const char *path, char *to, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;
	int why;

	if (fd < 0)
		return -errno;
	n = read(fd, to, bytes - 1);
	why = errno;
	close(fd);
	if (n < 0)
		return -why;
	to[n] = '\0';
	return n;
}

void cu_os_boot_id(char *to, size_t bytes)
{
	if (read_small("/proc/sys/kernel/random/boot_id", to, bytes) < 0)
		to[0] = '\0';
	to[strcspn(to, "\n")] = '\0';
}

/* What follows the last field that was found in a line of /proc/PID/stat; NULL: there is not so much. */
static const char *skip_fields(const char *p, int n)
{
	for (; n > 0 && p; n--)
		p = strchr(p + 1, ' ');
	return p;
}

int64_t cu_os_process_start(pid_t pid)
{
	char path[64];
	char text[1024];
	const char *p, *threads, *start;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	n = read_small(path, text, sizeof(text));
	if (n < 0)
		return n == -ENOENT || n == -ESRCH ? -1 : 0;
	/* Fields 3, 20 and 22 of proc(5); the second, the name, may hold spaces and parentheses. */
	p = strrchr(text, ')');
	threads = skip_fields(p, 20 - 2);
	start = skip_fields(threads, 22 - 20);
	if (!start || p[2] == 'X')
		return -1;
	/* A zombie with other threads is a process that lives on without its first thread. */
	if (p[2] == 'Z' && strtol(threads, NULL, 10) <= 1)
		return -1;
	return strtoll(start, NULL, 10);
}

void cu_os_process_name(pid_t pid, char *to, size_t bytes)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)pid);
	if (read_small(path, to, bytes) < 0)
		to[0] = '\0';
	to[strcspn(to, "\n")] = '\0';
	for (const char *p = to; *p; p++)
		if (*p < ' ' || *p > '~')
			to[0] = '\0';
}

int64_t cu_os_pid_space(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (int64_t)st.st_ino : 0;
}

void cu_os_host_name(char *to, size_t bytes)
{
	if (bytes == 0)
		return;
	if (gethostname(to, bytes) != 0 && errno != ENAMETOOLONG)
		snprintf(to, bytes, "localhost");
	to[bytes - 1] = '\0';
}

/* ---- files ---------------------------------------------------------------------------------- */

int cu_os_network_fs(const char *path)
{
	/* Magic numbers of statfs(2). */
	static const unsigned long network[] = {
		0x6969,     /* NFS */
		0xff534d42, /* CIFS */
		0xfe534d42, /* SMB2 */
		0x517b,     /* SMB */
		0x01021997, /* 9P */
		0x00c36400, /* Ceph */
		0x5346414f, /* AFS */
		0x73757245, /* Coda */
		0x65735546, /* FUSE: sshfs and the like */
	};
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	struct statfs fs;
	int rc = statfs(path, &fs);

	/* A file that is yet to be made will be where its folder is. */
	if (rc != 0 && errno == ENOENT && slash &&
		snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path) <
			(int)sizeof(folder))
		rc = statfs(folder, &fs);
	if (rc != 0)
		return 0;
	for (size_t i = 0; i < sizeof(network) / sizeof(network[0]); i++)
		if ((unsigned long)fs.f_type == network[i])
			return 1;
	return 0;
}

/* One line of proc_locks(5): "1: POSIX  ADVISORY  READ 1234 fe:00:5678 128 128". */
static bool parse_lock(const char *line, const struct cu_file_id *id, int64_t from, int64_t to,
	long *pid)
{
	unsigned long major, minor;
	unsigned long long inode;
	long long start, end;
	char last[24];

	if (sscanf(line, "%*d: POSIX %*s %*s %ld %lx:%lx:%llu %lld %23s", pid, &major, &minor, &inode,
		    &start, last) != 6)
		return false;
	end = strcmp(last, "EOF") == 0 ? INT64_MAX : strtoll(last, NULL, 10);
	return id->device == (((uint64_t)major << 32) | minor) && id->inode == inode &&
		start <= to && end >= from;
}

size_t cu_os_lock_holders(const struct cu_file_id *id, int64_t from, int64_t to, pid_t *pids,
	size_t most)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[256];
	size_t n = 0;
	long pid;

	if (!locks)
		return 0;
	while (n < most && fgets(line, sizeof(line), locks)) {
		bool known = false;

		if (!parse_lock(line, id, from, to, &pid) || pid == (long)getpid())
			continue;
		for (size_t i = 0; i < n; i++)
			known |= pids[i] == (pid_t)pid;
		if (!known)
			pids[n++] = (pid_t)pid;
	}
	fclose(locks);
	return n;
}

/* Whether a descriptor of this process is of the file. Asked by name: no other thread's use of it is
 * touched. */
static bool is_of_file(int fd, const struct cu_file_id *id)
{
	struct cu_file_stat st;
	char name[48];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return cu_file_stat_path(name, &st) == 0 && cu_file_same(&st.id, id);
}

static int find_descriptor(const struct cu_file_id *id)
{
	DIR *folder = opendir("/proc/self/fd");
	const struct dirent *entry;
	int found = -1;

	while (folder && found < 0 && (entry = readdir(folder)) != NULL) {
		char *end;
		long fd = strtol(entry->d_name, &end, 10);

		if (end != entry->d_name && *end == '\0' && is_of_file((int)fd, id))
			found = (int)fd;
	}
	if (folder)
		closedir(folder);
	return found;
}

bool cu_os_locked_by_others(const struct cu_file_id *id, int64_t from, int64_t to, int *fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = from,
		.l_len = to - from + 1};

	if (*fd < 0 || !is_of_file(*fd, id))
		*fd = find_descriptor(id);
	return *fd >= 0 && fcntl(*fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
