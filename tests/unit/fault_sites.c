/* SPDX-License-Identifier: MIT */
#include "fault_sites.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#define PLACES_MAX 16384

/* So many callers of the caller tell one place from another: each must look at what it is told. The
 * sanitizers look for other mistakes, and two compilers find the same ones. */
#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
#define CALLERS 0
#else
#define CALLERS 3
#endif
/* This file's own frames, and those of callers. */
#define FRAMES (8 + CALLERS)

struct place {
	const char *function;
	const char *caller;
	uint64_t text_hash;
	uint64_t callers_hash;
	char text[80];
};

static struct place places[PLACES_MAX]; /* guarded by mu while collecting */
static size_t n_places, first_place;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static atomic_int collecting;
static atomic_int armed; /* the target has not failed yet */
static size_t target;    /* constant while armed */
static bool interrupts;  /* the same: by a signal, and not for good */

/* The result code of the last call of this thread that was made to fail, until the next call. */
static _Thread_local int told_sqlite;

static _Thread_local bool spared_here;

extern const char __executable_start;

static uint64_t hash_of(const char *text)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
	return hash;
}

static uint64_t hash_of_callers(const char *function, const char *caller)
{
	uint64_t hash = 0;

	(void)caller;
	/* A condition cannot fail in today's C libraries; who waits in line relies on that. */
	if (strncmp(function, "pthread_cond", 12) == 0)
		return 0;
#if CALLERS > 0
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES), i = 0;

	while (i < n && frames[i] != caller)
		i++;
	for (int end = i + CALLERS; i + 1 < n && i < end; i++)
		hash = (hash ^ (uintptr_t)frames[i + 1]) * UINT64_C(1099511628211);
#endif
	return hash;
}

static bool alike(const struct place *p, const char *function, const char *caller, uint64_t hash)
{
	return p->caller == caller && p->text_hash == hash && strcmp(p->function, function) == 0;
}

static void collect(const char *function, const char *caller, const char *text, uint64_t hash)
{
	const uint64_t callers_hash = hash_of_callers(function, caller);
	size_t i = 0;

	pthread_mutex_lock(&mu);
	while (i < n_places && !(alike(&places[i], function, caller, hash) &&
		places[i].callers_hash == callers_hash))
		i++;
	if (i == n_places && n_places < PLACES_MAX) {
		places[n_places] = (struct place){function, caller, hash, callers_hash, ""};
		snprintf(places[n_places].text, sizeof(places[0].text), "%s", text);
		n_places++;
	}
	pthread_mutex_unlock(&mu);
}

static bool fails(const char *function, const void *caller, const char *text)
{
	uint64_t hash;

	told_sqlite = 0;
	if (spared_here || (!atomic_load(&collecting) && !atomic_load(&armed)))
		return false;
	hash = hash_of(text);
	if (atomic_load(&collecting))
		collect(function, caller, text, hash);
	else if (alike(&places[target], function, caller, hash) &&
		places[target].callers_hash == hash_of_callers(function, caller))
		return atomic_exchange(&armed, 0) != 0;
	return false;
}

#define FAILS(name) fails(name, __builtin_return_address(0), "")

void fault_collect(void)
{
#if CALLERS > 0
	backtrace((void *[1]){NULL}, 1); /* which allocates the first time */
#endif
	first_place = n_places;
	atomic_store(&collecting, 1);
}

void fault_forget(void)
{
	n_places = 0;
}

size_t fault_collected(size_t *first)
{
	atomic_store(&collecting, 0);
	*first = first_place;
	return n_places;
}

void fault_at(size_t place)
{
	target = place;
	interrupts = false;
	atomic_store(&armed, 1);
}

bool fault_interrupt_at(size_t place)
{
	static const char *const slow[] = {"open64", "pread64", "read", "write", "fdatasync", "fsync",
		"ftruncate64"};

	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++)
		if (strcmp(places[place].function, slow[i]) == 0) {
			target = place;
			interrupts = true;
			atomic_store(&armed, 1);
			return true;
		}
	return false;
}

bool fault_off(void)
{
	return atomic_exchange(&armed, 0) == 0;
}

void fault_spare(bool spared)
{
	spared_here = spared;
}

const char *fault_name(size_t place)
{
	static char name[256];
	const struct place *p = &places[place];

	snprintf(name, sizeof(name), "place %zu: %s at 0x%lx %s", place, p->function,
		(unsigned long)(p->caller - &__executable_start), p->text);
	return name;
}

/* ---- libc ---------------------------------------------------------------------------------- */

/* A function that fails with a value and an errno. */
#define WRAP(type, name, parameters, arguments, value, error)                                      \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		if (FAILS(#name)) {                                                                \
			errno = interrupts ? EINTR : (error);                                      \
			return value;                                                              \
		}                                                                                  \
		return __real_##name arguments;                                                    \
	}

WRAP(void *, malloc, (size_t n), (n), NULL, ENOMEM)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL, ENOMEM)
WRAP(void *, realloc, (void *old, size_t n), (old, n), NULL, ENOMEM)
WRAP(void *, aligned_alloc, (size_t to, size_t n), (to, n), NULL, ENOMEM)
WRAP(char *, strdup, (const char *text), (text), NULL, ENOMEM)
WRAP(char *, strndup, (const char *text, size_t n), (text, n), NULL, ENOMEM)
WRAP(int, pthread_create,
	(pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument),
	(thread, attributes, start, argument), EAGAIN, EAGAIN)
WRAP(int, pthread_mutex_init, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes),
	(mutex, attributes), ENOMEM, ENOMEM)
WRAP(int, pthread_cond_init, (pthread_cond_t * cond, const pthread_condattr_t *attributes),
	(cond, attributes), ENOMEM, ENOMEM)
WRAP(int, pthread_condattr_init, (pthread_condattr_t * attributes), (attributes), ENOMEM, ENOMEM)
WRAP(ssize_t, pread64, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), -1, EIO)
WRAP(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n), -1, EIO)
WRAP(ssize_t, write, (int fd, const void *from, size_t n), (fd, from, n), -1, EIO)
WRAP(int, fdatasync, (int fd), (fd), -1, EIO)
WRAP(int, fsync, (int fd), (fd), -1, EIO)
WRAP(int, ftruncate64, (int fd, off_t size), (fd, size), -1, EIO)
WRAP(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *to),
	(fd, path, flags, mask, to), -1, EIO)
WRAP(int, rename, (const char *from, const char *to), (from, to), -1, EIO)
WRAP(int, unlink, (const char *path), (path), -1, EACCES)
WRAP(char *, realpath, (const char *path, char *to), (path, to), NULL, EACCES)
WRAP(char *, mkdtemp, (char *path), (path), NULL, EACCES)
WRAP(void *, opendir, (const char *path), (path), NULL, EMFILE)
WRAP(void *, fopen64, (const char *path, const char *mode), (path, mode), NULL, EMFILE)
WRAP(int, eventfd, (unsigned first, int flags), (first, flags), -1, EMFILE)
WRAP(int, inotify_init1, (int flags), (flags), -1, EMFILE)
WRAP(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1, ENOSPC)
WRAP(ssize_t, getrandom, (void *to, size_t n, unsigned flags), (to, n, flags), -1, EAGAIN)
WRAP(int, gethostname, (char *to, size_t n), (to, n), -1, EFAULT)

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);

int __wrap_open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if (FAILS("open64")) {
		errno = interrupts ? EINTR : EMFILE;
		return -1;
	}
	if (flags & O_CREAT) {
		va_start(ap, flags);
		mode = (mode_t)va_arg(ap, int);
		va_end(ap);
	}
	return __real_open64(path, flags, mode);
}

int __wrap_asprintf(char **to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

int __wrap_asprintf(char **to, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (FAILS("asprintf"))
		return -1;
	va_start(ap, fmt);
	n = vasprintf(to, fmt, ap);
	va_end(ap);
	return n;
}

/* ---- SQLite -------------------------------------------------------------------------------- */

static bool tells(const char *function, const void *caller, const char *text, int code)
{
	/* A rollback ends the transaction whatever it says. */
	if (text && strncmp(text, "ROLLBACK", 8) == 0 && !strchr(text, ' '))
		text = NULL;
	if (!text || !fails(function, caller, text))
		return false;
	told_sqlite = code;
	return true;
}

#define TELLS(name, text, code) tells(name, __builtin_return_address(0), text, code)

#define WRAP_SQLITE(name, parameters, arguments, text, code, otherwise)                            \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		if (TELLS(#name, text, code)) {                                                    \
			otherwise;                                                                 \
			return code;                                                               \
		}                                                                                  \
		return __real_##name arguments;                                                    \
	}

WRAP_SQLITE(sqlite3_open_v2, (const char *path, sqlite3 **db, int flags, const char *vfs),
	(path, db, flags, vfs), "", SQLITE_NOMEM, *db = NULL)
WRAP_SQLITE(sqlite3_prepare_v2,
	(sqlite3 * db, const char *sql, int bytes, sqlite3_stmt **stmt, const char **tail),
	(db, sql, bytes, stmt, tail), sql, SQLITE_NOMEM, *stmt = NULL)
WRAP_SQLITE(sqlite3_prepare_v3,
	(sqlite3 * db, const char *sql, int bytes, unsigned flags, sqlite3_stmt **stmt, const char **tail),
	(db, sql, bytes, flags, stmt, tail), sql, SQLITE_NOMEM, *stmt = NULL)
WRAP_SQLITE(sqlite3_step, (sqlite3_stmt * stmt), (stmt), sqlite3_sql(stmt), SQLITE_IOERR_READ, )
WRAP_SQLITE(sqlite3_exec,
	(sqlite3 * db, const char *sql, int (*row)(void *, int, char **, char **), void *context,
		char **message), (db, sql, row, context, message), sql, SQLITE_IOERR_WRITE,
	if (message) *message = NULL)
WRAP_SQLITE(sqlite3_bind_text,
	(sqlite3_stmt * stmt, int i, const char *text, int bytes, void (*destroy)(void *)),
	(stmt, i, text, bytes, destroy), "", SQLITE_NOMEM, )
WRAP_SQLITE(sqlite3_bind_text64,
	(sqlite3_stmt * stmt, int i, const char *text, sqlite3_uint64 bytes, void (*destroy)(void *),
		unsigned char encoding), (stmt, i, text, bytes, destroy, encoding), "", SQLITE_NOMEM, )
WRAP_SQLITE(sqlite3_wal_checkpoint_v2, (sqlite3 * db, const char *schema, int mode, int *log, int *done),
	(db, schema, mode, log, done), "", SQLITE_IOERR_FSYNC, )
WRAP_SQLITE(sqlite3_table_column_metadata,
	(sqlite3 * db, const char *schema, const char *table, const char *column, char const **type,
		char const **collation, int *not_null, int *key, int *increment),
	(db, schema, table, column, type, collation, not_null, key, increment), "", SQLITE_NOMEM, )

char *__wrap_sqlite3_vmprintf(const char *fmt, va_list ap);
char *__real_sqlite3_vmprintf(const char *fmt, va_list ap);
char *__wrap_sqlite3_mprintf(const char *fmt, ...);

char *__wrap_sqlite3_vmprintf(const char *fmt, va_list ap)
{
	return TELLS("sqlite3_vmprintf", fmt, SQLITE_NOMEM) ? NULL : __real_sqlite3_vmprintf(fmt, ap);
}

char *__wrap_sqlite3_mprintf(const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (TELLS("sqlite3_mprintf", fmt, SQLITE_NOMEM))
		return NULL;
	va_start(ap, fmt);
	text = __real_sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	return text;
}

int __real_sqlite3_extended_errcode(sqlite3 *db);
int __wrap_sqlite3_extended_errcode(sqlite3 *db);
const char *__real_sqlite3_errmsg(sqlite3 *db);
const char *__wrap_sqlite3_errmsg(sqlite3 *db);

int __wrap_sqlite3_extended_errcode(sqlite3 *db)
{
	return told_sqlite ? told_sqlite : __real_sqlite3_extended_errcode(db);
}

const char *__wrap_sqlite3_errmsg(sqlite3 *db)
{
	return told_sqlite ? sqlite3_errstr(told_sqlite) : __real_sqlite3_errmsg(db);
}
