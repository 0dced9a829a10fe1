/* SPDX-License-Identifier: MIT */
/*
 * log_file.c - a database's write-ahead log as it lies beside it: its size, and who holds it back.
 * Neither it nor its index is ever opened here.
 */
#include "store/connection/connection.h"

#include <limits.h>
#include <stdio.h>

/* Bytes of the -shm file that readers lock (walformat: WAL_READ_LOCK). */
#define READ_LOCK_FIRST 123
#define READ_LOCK_LAST 127

#define MOST_NAMED 8

static bool stat_beside(const char *database, const char *suffix, struct cu_file_stat *st)
{
	char path[PATH_MAX + 8];

	return snprintf(path, sizeof(path), "%s%s", database, suffix) < (int)sizeof(path) &&
		cu_file_stat_path(path, st) == 0;
}

int64_t cu_conn_wal_bytes(const char *database)
{
	struct cu_file_stat st;

	return stat_beside(database, "-wal", &st) ? st.size : 0;
}

static bool is_among(pid_t pid, const int64_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == (int64_t)pid)
			return true;
	return false;
}

void cu_conn_wal_readers(const char *database, const int64_t *except, size_t n_except, char *to,
	size_t bytes)
{
	pid_t pids[MOST_NAMED];
	struct cu_file_stat shm;
	size_t n, used = 0;

	to[0] = '\0';
	if (!stat_beside(database, "-shm", &shm))
		return;
	n = cu_os_lock_holders(&shm.id, READ_LOCK_FIRST, READ_LOCK_LAST, pids, MOST_NAMED);
	for (size_t i = 0; i < n && used < bytes; i++) {
		char name[32];

		if (is_among(pids[i], except, n_except))
			continue;
		cu_os_process_name(pids[i], name, sizeof(name));
		used += (size_t)snprintf(to + used, bytes - used, "%spid %ld%s%s%s",
			used > 0 ? ", " : "", (long)pids[i], name[0] ? " (" : "", name,
			name[0] ? ")" : "");
	}
}
