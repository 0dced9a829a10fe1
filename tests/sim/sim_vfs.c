/* SPDX-License-Identifier: MIT */
/*
 * sim_vfs.c - before SQLite's unix VFS, whose files are the story's (sim_calls.c): sees every call.
 *
 * It draws faults, tells watches of writes before a commit is visible, as a file system does, sleeps
 * in the story's time, and knows what each process has open, so that the files and locks of one that
 * is killed are given back as the kernel would.
 *
 * Fibers switch here in the log's writes and in syncs only: a connection holds none of SQLite's own
 * mutexes there, as every connection of a story is opened without one.
 */
#include "sim.h"
#include "sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHM_LOCKS 8

struct file {
	sqlite3_file base;
	struct file *next;
	struct sim_process *process;
	char *path;      /* owned; "" for a temporary one */
	bool log;        /* a write-ahead log */
	bool mapped;     /* has shared memory */
	uint8_t shared, exclusive; /* locks in it */
	sqlite3_file *real; /* behind this struct */
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *below;
	struct file *open;
} sim_vfs;

static struct file *of(sqlite3_file *base)
{
	return (struct file *)(void *)base;
}

static const struct sqlite3_io_methods *below(struct file *f)
{
	return f->real->pMethods;
}

static bool fails(struct file *f, const char *what)
{
	if (!f->process->database_fails || !sim_chance(sim_faults.database))
		return false;
	SIM_TRACE("fault: %s %s", what, f->path[0] ? strrchr(f->path, '/') + 1 : "");
	sim_counts->faults++;
	return true;
}

/* ---- a file ------------------------------------------------------------------------------------ */

static void forget(struct file *f)
{
	for (struct file **at = &sim_vfs.open; *at; at = &(*at)->next) {
		if (*at == f) {
			*at = f->next;
			break;
		}
	}
	free(f->path);
	f->path = NULL;
}

static int sim_close(sqlite3_file *base)
{
	struct file *f = of(base);

	forget(f);
	return below(f)->xClose(f->real);
}

static int sim_read(sqlite3_file *base, void *to, int bytes, sqlite3_int64 offset)
{
	struct file *f = of(base);

	if (fails(f, "read"))
		return SQLITE_IOERR_READ;
	return below(f)->xRead(f->real, to, bytes, offset);
}

static int sim_write(sqlite3_file *base, const void *from, int bytes, sqlite3_int64 offset)
{
	struct file *f = of(base);
	int rc;

	sim_process_step();
	if (fails(f, "write"))
		return sim_chance(500000) ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	rc = below(f)->xWrite(f->real, from, bytes, offset);
	if (rc == SQLITE_OK && f->path[0])
		sim_file_changed(f->path);
	if (f->log)
		cu_os_point();
	return rc;
}

static int sim_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct file *f = of(base);
	int rc = below(f)->xTruncate(f->real, size);

	if (rc == SQLITE_OK && f->path[0])
		sim_file_changed(f->path);
	return rc;
}

static int sim_sync(sqlite3_file *base, int flags)
{
	struct file *f = of(base);

	(void)flags;
	sim_process_step();
	if (fails(f, "sync"))
		return SQLITE_IOERR_FSYNC;
	cu_os_point();
	return SQLITE_OK;
}

static int sim_size(sqlite3_file *base, sqlite3_int64 *size)
{
	return below(of(base))->xFileSize(of(base)->real, size);
}

static int sim_lock(sqlite3_file *base, int lock)
{
	return below(of(base))->xLock(of(base)->real, lock);
}

static int sim_unlock(sqlite3_file *base, int lock)
{
	return below(of(base))->xUnlock(of(base)->real, lock);
}

static int sim_check_lock(sqlite3_file *base, int *out)
{
	return below(of(base))->xCheckReservedLock(of(base)->real, out);
}

static int sim_control(sqlite3_file *base, int op, void *argument)
{
	return below(of(base))->xFileControl(of(base)->real, op, argument);
}

static int sim_sector(sqlite3_file *base)
{
	return below(of(base))->xSectorSize(of(base)->real);
}

static int sim_characteristics(sqlite3_file *base)
{
	return below(of(base))->xDeviceCharacteristics(of(base)->real);
}

static int sim_shm_map(sqlite3_file *base, int page, int bytes, int extend, void volatile **out)
{
	of(base)->mapped = true;
	return below(of(base))->xShmMap(of(base)->real, page, bytes, extend, out);
}

static int sim_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
	struct file *f = of(base);
	uint8_t bits = (uint8_t)(((1u << n) - 1) << offset);
	int rc = below(f)->xShmLock(f->real, offset, n, flags);

	if (rc != SQLITE_OK)
		return rc;
	if (flags & SQLITE_SHM_UNLOCK) {
		f->shared &= (uint8_t)~bits;
		f->exclusive &= (uint8_t)~bits;
	} else if (flags & SQLITE_SHM_SHARED) {
		f->shared |= bits;
	} else {
		f->exclusive |= bits;
	}
	return rc;
}

static void sim_shm_barrier(sqlite3_file *base)
{
	below(of(base))->xShmBarrier(of(base)->real);
}

static int sim_shm_unmap(sqlite3_file *base, int remove)
{
	of(base)->mapped = false;
	return below(of(base))->xShmUnmap(of(base)->real, remove);
}

/* Version 2: files are not mapped into memory. */
static const struct sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = sim_close,
	.xRead = sim_read,
	.xWrite = sim_write,
	.xTruncate = sim_truncate,
	.xSync = sim_sync,
	.xFileSize = sim_size,
	.xLock = sim_lock,
	.xUnlock = sim_unlock,
	.xCheckReservedLock = sim_check_lock,
	.xFileControl = sim_control,
	.xSectorSize = sim_sector,
	.xDeviceCharacteristics = sim_characteristics,
	.xShmMap = sim_shm_map,
	.xShmLock = sim_shm_lock,
	.xShmBarrier = sim_shm_barrier,
	.xShmUnmap = sim_shm_unmap,
};

/* ---- the VFS ----------------------------------------------------------------------------------- */

static int sim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out)
{
	struct file *f = of(base);
	int rc;

	(void)vfs;
	memset(f, 0, sizeof(*f));
	f->real = (sqlite3_file *)(void *)(f + 1);
	memset(f->real, 0, (size_t)sim_vfs.below->szOsFile);
	rc = sim_vfs.below->xOpen(sim_vfs.below, name, f->real, flags, out);
	if (rc != SQLITE_OK)
		return rc;
	f->path = strdup(name ? name : "");
	SIM_CHECK(f->path, "no memory");
	f->log = flags & SQLITE_OPEN_WAL;
	f->process = sim_process_current();
	f->base.pMethods = &methods;
	f->next = sim_vfs.open;
	sim_vfs.open = f;
	return SQLITE_OK;
}

static int sim_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	int rc = sim_vfs.below->xDelete(sim_vfs.below, name, sync);

	(void)vfs;
	if (rc == SQLITE_OK)
		sim_file_changed(name);
	return rc;
}

static int sim_randomness(sqlite3_vfs *vfs, int bytes, char *to)
{
	(void)vfs;
	for (int i = 0; i < bytes; i++)
		to[i] = (char)sim_random();
	return bytes;
}

static int sim_vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	sim_sleep((int64_t)microseconds * 1000, "SQLite's own sleep");
	return microseconds;
}

static int sim_time64(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	*out = INT64_C(210866760000000) + cu_os_wall_ms();
	return SQLITE_OK;
}

static int sim_time(sqlite3_vfs *vfs, double *out)
{
	sqlite3_int64 ms;

	sim_time64(vfs, &ms);
	*out = (double)ms / 86400000.0;
	return SQLITE_OK;
}

void sim_vfs_install(void)
{
	SIM_CHECK(sqlite3_initialize() == SQLITE_OK, "SQLite cannot be initialised");
	sim_vfs.below = sqlite3_vfs_find(NULL);
	sim_calls_install(sim_vfs.below);
	sim_vfs.vfs = *sim_vfs.below;
	sim_vfs.vfs.zName = "sim";
	sim_vfs.vfs.szOsFile = (int)sizeof(struct file) + sim_vfs.below->szOsFile;
	sim_vfs.vfs.xOpen = sim_open;
	sim_vfs.vfs.xDelete = sim_delete;
	sim_vfs.vfs.xRandomness = sim_randomness;
	sim_vfs.vfs.xSleep = sim_vfs_sleep;
	sim_vfs.vfs.xCurrentTime = sim_time;
	sim_vfs.vfs.xCurrentTimeInt64 = sim_time64;
	SIM_CHECK(sqlite3_vfs_register(&sim_vfs.vfs, 1) == SQLITE_OK, "the VFS is not taken");
}

/* ---- processes --------------------------------------------------------------------------------- */

static void give_back(struct file *f)
{
	for (int i = 0; i < SHM_LOCKS; i++) {
		if (f->shared & (1 << i))
			below(f)->xShmLock(f->real, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED);
		if (f->exclusive & (1 << i))
			below(f)->xShmLock(f->real, i, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
	}
	if (f->mapped)
		below(f)->xShmUnmap(f->real, 0);
	below(f)->xUnlock(f->real, SQLITE_LOCK_NONE);
	below(f)->xClose(f->real);
	forget(f);
}

void sim_vfs_close_all(struct sim_process *process)
{
	struct file *next;

	for (struct file *f = sim_vfs.open; f; f = next) {
		next = f->next;
		if (f->process == process)
			give_back(f);
	}
}

size_t sim_vfs_holders(const struct cu_file_id *shm, pid_t *pids, size_t most)
{
	size_t n = 0;

	for (struct file *f = sim_vfs.open; f && n < most; f = f->next) {
		char path[4096];
		struct cu_file_stat stat;
		bool known = f->process == sim_process_current() || !f->mapped;

		for (size_t i = 0; i < n; i++)
			known = known || pids[i] == f->process->pid;
		snprintf(path, sizeof(path), "%s-shm", f->path);
		if (!known && sim_disk_stat(path, &stat) == 0 && cu_file_same(&stat.id, shm))
			pids[n++] = f->process->pid;
	}
	return n;
}
