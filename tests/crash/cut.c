/* SPDX-License-Identifier: MIT */
/*
 * cut.c - the recording VFS. What is recorded is kept in memory, in the order in which it was done.
 */
#include "cut_inside.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct cut_file {
	sqlite3_file base;
	size_t slot;        /* CUT_NO_SLOT: not recorded */
	bool names;         /* its first sync makes names durable, as SQLite's unix VFS does for every
	                       log or journal that it may create, whether it was there or not */
	sqlite3_file *real; /* behind this struct */
};

static struct cut_recording recording;

/* constant while recording */
static sqlite3_vfs vfs;
static sqlite3_vfs *real_vfs;
static char *folder;

/* guards what is recorded */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static struct {
	enum cut_call call;
	long nth, times;
	int code;
	long calls[CUT_CALLS];
} faults;

const struct cut_recording *cut_recording(void)
{
	return &recording;
}

/* ---- recording ------------------------------------------------------------------------------ */

static void *checked(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* The caller holds mu. */
static struct cut_step *add_step(enum cut_kind kind, size_t slot)
{
	struct cut_step *step;

	if (recording.n_steps == recording.room) {
		recording.room = recording.room ? recording.room * 2 : 1024;
		recording.steps = checked(realloc(
			recording.steps, recording.room * sizeof(*recording.steps)));
	}
	step = &recording.steps[recording.n_steps++];
	*step = (struct cut_step){.kind = kind, .slot = slot};
	return step;
}

static void read_whole(const char *path, struct cut_slot *slot)
{
	FILE *in = fopen(path, "re");
	char bytes[65536];
	size_t n;

	slot->existed = in != NULL;
	while (in && (n = fread(bytes, 1, sizeof(bytes), in)) > 0) {
		slot->base = checked(realloc(slot->base, slot->base_bytes + n));
		memcpy(slot->base + slot->base_bytes, bytes, n);
		slot->base_bytes += n;
	}
	if (in)
		fclose(in);
}

/* The slot of a path in the folder, made if need be; CUT_NO_SLOT for others. The caller holds mu. */
static size_t slot_of(const char *path)
{
	const char *name = path ? strrchr(path, '/') : NULL;

	if (!name || (size_t)(name - path) != strlen(folder) ||
		strncmp(path, folder, strlen(folder)) != 0)
		return CUT_NO_SLOT;
	name++;
	for (size_t i = 0; i < recording.n_slots; i++)
		if (strcmp(recording.slots[i].name, name) == 0)
			return i;
	if (recording.n_slots == CUT_SLOTS_MAX)
		abort();
	recording.slots[recording.n_slots] = (struct cut_slot){.name = checked(strdup(name))};
	read_whole(path, &recording.slots[recording.n_slots]);
	return recording.n_slots++;
}

void cut_note(int kind, int64_t value)
{
	struct cut_step *step;

	pthread_mutex_lock(&mu);
	step = add_step(CUT_NOTE, CUT_NO_SLOT);
	step->note = kind;
	step->offset = value;
	pthread_mutex_unlock(&mu);
}

size_t cut_steps(void)
{
	return recording.n_steps;
}

void cut_forget(void)
{
	for (size_t i = 0; i < recording.n_steps; i++)
		free(recording.steps[i].bytes);
	for (size_t i = 0; i < recording.n_slots; i++) {
		free(recording.slots[i].name);
		free(recording.slots[i].base);
	}
	free(recording.steps);
	recording = (struct cut_recording){0};
}

/* ---- calls that fail ------------------------------------------------------------------------- */

void cut_fail(enum cut_call call, long nth, long times, int code)
{
	pthread_mutex_lock(&mu);
	memset(&faults, 0, sizeof(faults));
	faults.call = call;
	faults.nth = nth;
	faults.times = times;
	faults.code = code;
	pthread_mutex_unlock(&mu);
}

long cut_calls(enum cut_call call)
{
	long calls;

	pthread_mutex_lock(&mu);
	calls = faults.calls[call];
	pthread_mutex_unlock(&mu);
	return calls;
}

/* Counts a call on a recorded file. Other than SQLITE_OK: it fails. The caller holds mu. */
static int count_call(enum cut_call call, size_t slot)
{
	long n;

	if (slot == CUT_NO_SLOT)
		return SQLITE_OK;
	n = ++faults.calls[call];
	if (faults.nth == 0 || call != faults.call || n < faults.nth || n >= faults.nth + faults.times)
		return SQLITE_OK;
	return faults.code;
}

/* ---- files ---------------------------------------------------------------------------------- */

static sqlite3_file *real_of(sqlite3_file *file)
{
	return ((struct cut_file *)file)->real;
}

static int cut_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int cut_read(sqlite3_file *file, void *to, int bytes, sqlite3_int64 offset)
{
	int rc;

	pthread_mutex_lock(&mu);
	rc = count_call(CUT_CALL_READ, ((struct cut_file *)file)->slot);
	pthread_mutex_unlock(&mu);
	if (rc != SQLITE_OK)
		return rc;
	return real_of(file)->pMethods->xRead(real_of(file), to, bytes, offset);
}

static int cut_write(sqlite3_file *file, const void *from, int bytes, sqlite3_int64 offset)
{
	size_t slot = ((struct cut_file *)file)->slot;
	struct cut_step *step;
	int rc;

	pthread_mutex_lock(&mu);
	rc = count_call(CUT_CALL_WRITE, slot);
	if (rc == SQLITE_OK)
		rc = real_of(file)->pMethods->xWrite(real_of(file), from, bytes, offset);
	if (rc == SQLITE_OK && slot != CUT_NO_SLOT) {
		step = add_step(CUT_WRITE, slot);
		step->offset = offset;
		step->n = (size_t)bytes;
		step->bytes = checked(malloc((size_t)bytes));
		memcpy(step->bytes, from, (size_t)bytes);
	}
	pthread_mutex_unlock(&mu);
	return rc;
}

static int cut_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	size_t slot = ((struct cut_file *)file)->slot;
	int rc;

	pthread_mutex_lock(&mu);
	rc = count_call(CUT_CALL_TRUNCATE, slot);
	if (rc == SQLITE_OK)
		rc = real_of(file)->pMethods->xTruncate(real_of(file), size);
	if (rc == SQLITE_OK && slot != CUT_NO_SLOT)
		add_step(CUT_TRUNCATE, slot)->offset = size;
	pthread_mutex_unlock(&mu);
	return rc;
}

/* Nothing is really synced: the machine keeps its power. */
static int cut_sync(sqlite3_file *file, int flags)
{
	struct cut_file *self = (struct cut_file *)file;
	int rc;

	(void)flags;
	if (self->slot == CUT_NO_SLOT)
		return SQLITE_OK;
	pthread_mutex_lock(&mu);
	rc = count_call(CUT_CALL_SYNC, self->slot);
	if (rc == SQLITE_OK) {
		add_step(CUT_SYNC, self->slot)->names = self->names;
		self->names = false;
	}
	pthread_mutex_unlock(&mu);
	return rc;
}

static int cut_size(sqlite3_file *file, sqlite3_int64 *size)
{
	return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int cut_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int cut_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int cut_check_lock(sqlite3_file *file, int *held)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), held);
}

static int cut_control(sqlite3_file *file, int op, void *argument)
{
	/* Space that is taken ahead would be a change of size that nobody sees. */
	if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_CHUNK_SIZE)
		return SQLITE_OK;
	return real_of(file)->pMethods->xFileControl(real_of(file), op, argument);
}

static int cut_sector(sqlite3_file *file)
{
	return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int cut_device(sqlite3_file *file)
{
	return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int cut_shm_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **at)
{
	return real_of(file)->pMethods->xShmMap(real_of(file), page, bytes, extend, at);
}

static int cut_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	int rc = SQLITE_OK;

	/* Nothing is prepared for one who cannot unlock. */
	if (flags & SQLITE_SHM_LOCK) {
		pthread_mutex_lock(&mu);
		rc = count_call(CUT_CALL_LOCK, ((struct cut_file *)file)->slot);
		pthread_mutex_unlock(&mu);
	}
	return rc == SQLITE_OK ? real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags) : rc;
}

static void cut_shm_barrier(sqlite3_file *file)
{
	real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int cut_shm_unmap(sqlite3_file *file, int delete)
{
	return real_of(file)->pMethods->xShmUnmap(real_of(file), delete);
}

/* Without mapped files (version 3): writes into those could not be seen. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = cut_close,
	.xRead = cut_read,
	.xWrite = cut_write,
	.xTruncate = cut_truncate,
	.xSync = cut_sync,
	.xFileSize = cut_size,
	.xLock = cut_lock,
	.xUnlock = cut_unlock,
	.xCheckReservedLock = cut_check_lock,
	.xFileControl = cut_control,
	.xSectorSize = cut_sector,
	.xDeviceCharacteristics = cut_device,
	.xShmMap = cut_shm_map,
	.xShmLock = cut_shm_lock,
	.xShmBarrier = cut_shm_barrier,
	.xShmUnmap = cut_shm_unmap,
};

/* ---- the file system ------------------------------------------------------------------------- */

static int cut_open(sqlite3_vfs *self, const char *path, sqlite3_file *file, int flags, int *out)
{
	struct cut_file *cut = (struct cut_file *)file;
	bool there;
	int rc;

	(void)self;
	*cut = (struct cut_file){.slot = CUT_NO_SLOT, .real = (sqlite3_file *)(cut + 1)};
	pthread_mutex_lock(&mu);
	cut->slot = slot_of(path);
	there = cut->slot != CUT_NO_SLOT && access(path, F_OK) == 0;
	rc = count_call(CUT_CALL_OPEN, cut->slot);
	if (rc == SQLITE_OK)
		rc = real_vfs->xOpen(real_vfs, path, cut->real, flags, out);
	if (cut->real->pMethods)
		cut->base.pMethods = &methods;
	if (rc == SQLITE_OK && cut->slot != CUT_NO_SLOT && !there)
		add_step(CUT_CREATE, cut->slot);
	cut->names = (flags & SQLITE_OPEN_CREATE) &&
		(flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL));
	pthread_mutex_unlock(&mu);
	return rc;
}

static int cut_delete(sqlite3_vfs *self, const char *path, int sync_folder)
{
	size_t slot;
	int rc;

	(void)self;
	pthread_mutex_lock(&mu);
	slot = slot_of(path);
	rc = real_vfs->xDelete(real_vfs, path, 0);
	if (rc == SQLITE_OK && slot != CUT_NO_SLOT)
		add_step(CUT_DELETE, slot)->names = sync_folder != 0;
	pthread_mutex_unlock(&mu);
	return rc;
}

static int cut_access(sqlite3_vfs *self, const char *path, int flags, int *result)
{
	(void)self;
	return real_vfs->xAccess(real_vfs, path, flags, result);
}

static int cut_full_path(sqlite3_vfs *self, const char *path, int bytes, char *to)
{
	(void)self;
	return real_vfs->xFullPathname(real_vfs, path, bytes, to);
}

static int cut_randomness(sqlite3_vfs *self, int bytes, char *to)
{
	(void)self;
	return real_vfs->xRandomness(real_vfs, bytes, to);
}

static int cut_sleep(sqlite3_vfs *self, int us)
{
	(void)self;
	return real_vfs->xSleep(real_vfs, us);
}

static int cut_time(sqlite3_vfs *self, double *day)
{
	(void)self;
	return real_vfs->xCurrentTime(real_vfs, day);
}

static int cut_time_ms(sqlite3_vfs *self, sqlite3_int64 *ms)
{
	(void)self;
	return real_vfs->xCurrentTimeInt64(real_vfs, ms);
}

static int cut_last_error(sqlite3_vfs *self, int bytes, char *to)
{
	(void)self;
	return real_vfs->xGetLastError(real_vfs, bytes, to);
}

void cut_start(const char *in_folder)
{
	real_vfs = sqlite3_vfs_find("unix");
	assert_non_null(real_vfs);
	cut_forget();
	folder = checked(strdup(in_folder));
	vfs = (sqlite3_vfs){
		.iVersion = 2,
		.szOsFile = (int)sizeof(struct cut_file) + real_vfs->szOsFile,
		.mxPathname = real_vfs->mxPathname,
		.zName = "cut",
		.xOpen = cut_open,
		.xDelete = cut_delete,
		.xAccess = cut_access,
		.xFullPathname = cut_full_path,
		.xRandomness = cut_randomness,
		.xSleep = cut_sleep,
		.xCurrentTime = cut_time,
		.xCurrentTimeInt64 = cut_time_ms,
		.xGetLastError = cut_last_error,
	};
	assert_int_equal(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

void cut_stop(void)
{
	sqlite3_vfs_unregister(&vfs);
	sqlite3_vfs_register(real_vfs, 1);
	free(folder);
	folder = NULL;
}
