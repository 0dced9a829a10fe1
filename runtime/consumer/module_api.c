/* SPDX-License-Identifier: MIT */
/*
 * module_api.c - SQLite as modules get it: the host's routines, without those that would take the
 * connection, its hooks or the whole library out of the runtime's hands.
 *
 * SQLite shows its table of routines only to extensions, so an automatic extension is installed for
 * as long as one connection takes to open. Should another thread open one at that moment, it runs the
 * same function, which only notes the table's address.
 *
 * The table made here is published once and never freed: two runtimes, or two modules, may use it at
 * the same time and beyond the life of either. It is constant from then on.
 */
#include "base/check.h"
#include "base/error.h"
#include "consumer/module.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
/* The structure's layout, without the macros that would turn our own calls into calls through it. */
#define SQLITE_CORE 1
#include <sqlite3ext.h>

static _Atomic(const sqlite3_api_routines *) hosts; /* as SQLite shows it */
static _Atomic(const struct guarded *) published;

/* Room behind the table as our header knows it: a module built with a newer header may reach further,
 * and ends there with a message instead of wherever the memory behind points. */
#define ROOM_BEHIND 64

struct guarded {
	sqlite3_api_routines routines;
	void (*beyond[ROOM_BEHIND])(void);
};

/* ---- what is refused ---------------------------------------------------------------------- */

static int refuse_connection(sqlite3 *db)
{
	(void)db;
	return SQLITE_MISUSE;
}

static int refuse_busy_handler(sqlite3 *db, int (*handler)(void *, int), void *argument)
{
	(void)db, (void)handler, (void)argument;
	return SQLITE_MISUSE;
}

static int refuse_number(sqlite3 *db, int number)
{
	(void)db, (void)number;
	return SQLITE_MISUSE;
}

static int refuse_authorizer(sqlite3 *db,
	int (*authorizer)(void *, int, const char *, const char *, const char *, const char *),
	void *argument)
{
	(void)db, (void)authorizer, (void)argument;
	return SQLITE_MISUSE;
}

static void refuse_progress_handler(sqlite3 *db, int steps, int (*handler)(void *), void *argument)
{
	(void)db, (void)steps, (void)handler, (void)argument;
}

static void *refuse_commit_hook(sqlite3 *db, int (*hook)(void *), void *argument)
{
	(void)db, (void)hook, (void)argument;
	return NULL;
}

static void *refuse_rollback_hook(sqlite3 *db, void (*hook)(void *), void *argument)
{
	(void)db, (void)hook, (void)argument;
	return NULL;
}

static void *refuse_wal_hook(
	sqlite3 *db, int (*hook)(void *, sqlite3 *, const char *, int), void *argument)
{
	(void)db, (void)hook, (void)argument;
	return NULL;
}

static int refuse_checkpoint(sqlite3 *db, const char *schema)
{
	(void)db, (void)schema;
	return SQLITE_MISUSE;
}

static int refuse_checkpoint_v2(
	sqlite3 *db, const char *schema, int mode, int *log_frames, int *done_frames)
{
	(void)db, (void)schema, (void)mode, (void)log_frames, (void)done_frames;
	return SQLITE_MISUSE;
}

static int refuse_load_extension(sqlite3 *db, const char *file, const char *entry, char **message)
{
	(void)db, (void)file, (void)entry;
	if (message)
		*message = NULL;
	return SQLITE_MISUSE;
}

static int refuse_db_config(sqlite3 *db, int what, ...)
{
	(void)db, (void)what;
	return SQLITE_MISUSE;
}

static int refuse_file_control(sqlite3 *db, const char *schema, int what, void *argument)
{
	(void)db, (void)schema, (void)what, (void)argument;
	return SQLITE_MISUSE;
}

static int refuse_deserialize(sqlite3 *db, const char *schema, unsigned char *data,
	sqlite3_int64 bytes, sqlite3_int64 room, unsigned flags)
{
	(void)db, (void)schema, (void)bytes, (void)room;
	/* SQLite frees the memory in case of failure too when it was asked to free it. */
	if (flags & SQLITE_DESERIALIZE_FREEONCLOSE)
		sqlite3_free(data);
	return SQLITE_MISUSE;
}

static int refuse_auto_extension(void (*entry)(void))
{
	(void)entry;
	return SQLITE_MISUSE;
}

static void refuse_reset_auto_extension(void)
{
}

static int refuse_vfs_register(sqlite3_vfs *vfs, int make_default)
{
	(void)vfs, (void)make_default;
	return SQLITE_MISUSE;
}

static int refuse_vfs_unregister(sqlite3_vfs *vfs)
{
	(void)vfs;
	return SQLITE_MISUSE;
}

/* Code that finalizes "whatever is left" would find the runtime's own statements here. */
static sqlite3_stmt *no_next_stmt(sqlite3 *db, sqlite3_stmt *stmt)
{
	(void)db, (void)stmt;
	return NULL;
}

#if SQLITE_VERSION_NUMBER >= 3050000
static int refuse_setlk_timeout(sqlite3 *db, int timeout_ms, int flags)
{
	(void)db, (void)timeout_ms, (void)flags;
	return SQLITE_MISUSE;
}
#endif

static void beyond_table(void)
{
	cu_check_failed(__FILE__, __LINE__,
		"a module calls an SQLite function that is newer than the host; build it with the host's "
		"sqlite3ext.h");
}

static void guard(sqlite3_api_routines *r)
{
	r->close = refuse_connection;
	r->close_v2 = refuse_connection;
	r->busy_handler = refuse_busy_handler;
	r->busy_timeout = refuse_number;
	r->extended_result_codes = refuse_number;
	r->wal_autocheckpoint = refuse_number;
	r->set_authorizer = refuse_authorizer;
	r->progress_handler = refuse_progress_handler;
	r->commit_hook = refuse_commit_hook;
	r->rollback_hook = refuse_rollback_hook;
	r->wal_hook = refuse_wal_hook;
	r->wal_checkpoint = refuse_checkpoint;
	r->wal_checkpoint_v2 = refuse_checkpoint_v2;
	r->load_extension = refuse_load_extension;
	r->db_config = refuse_db_config;
	r->file_control = refuse_file_control;
	r->deserialize = refuse_deserialize;
	r->auto_extension = refuse_auto_extension;
	r->cancel_auto_extension = refuse_auto_extension;
	r->reset_auto_extension = refuse_reset_auto_extension;
	r->vfs_register = refuse_vfs_register;
	r->vfs_unregister = refuse_vfs_unregister;
	r->next_stmt = no_next_stmt;
#if SQLITE_VERSION_NUMBER >= 3050000
	r->setlk_timeout = refuse_setlk_timeout;
#endif
}

/* ---- getting it --------------------------------------------------------------------------- */

static int note_routines(sqlite3 *db, char **message, const sqlite3_api_routines *routines)
{
	(void)db, (void)message;
	if (routines)
		atomic_store(&hosts, routines);
	return SQLITE_OK;
}

static int find_routines(const sqlite3_api_routines **out, struct catchup_error *error)
{
	void (*entry)(void) = (void (*)(void))note_routines;
	sqlite3 *db = NULL;
	int rc = sqlite3_auto_extension(entry);

	if (rc == SQLITE_OK) {
		rc = sqlite3_open_v2(":memory:", &db,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY, NULL);
		sqlite3_close(db);
		sqlite3_cancel_auto_extension(entry);
	}
	if (rc != SQLITE_OK)
		return cu_error_set(error, rc == SQLITE_NOMEM ? CATCHUP_NOMEM : CATCHUP_INTERNAL, rc,
			"cannot reach SQLite's routines: %s", sqlite3_errstr(rc));
	*out = atomic_load(&hosts);
	if (!*out)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"the SQLite of this program is built without extensions, and so cannot have "
			"modules");
	/* The table grows with SQLite's version: that of an older library is shorter than ours. */
	if (sqlite3_libversion_number() < SQLITE_VERSION_NUMBER)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"SQLite %s runs, which is older than the %s this program was built with; modules "
			"need at least that",
			sqlite3_libversion(), SQLITE_VERSION);
	return CATCHUP_OK;
}

const void *cu_module_api(struct catchup_error *error)
{
	const struct guarded *known = atomic_load(&published);
	const sqlite3_api_routines *routines = NULL;
	struct guarded *made;

	if (known)
		return &known->routines;
	if (find_routines(&routines, error) != CATCHUP_OK)
		return NULL;
	made = calloc(1, sizeof(*made));
	if (!made) {
		cu_error_nomem(error);
		return NULL;
	}
	made->routines = *routines;
	guard(&made->routines);
	for (int i = 0; i < ROOM_BEHIND; i++)
		made->beyond[i] = beyond_table;
	/* Two threads may get here at once; the first one's table is everybody's. */
	if (!atomic_compare_exchange_strong(&published, &known, made)) {
		free(made);
		return &known->routines;
	}
	return &made->routines;
}
