/* SPDX-License-Identifier: MIT */
/*
 * version.c - the SQLite library in this process: which one it is, and whether it will do.
 */
#include "base/error.h"
#include "store/connection/connection.h"

const char *catchup_sqlite_version(void)
{
	return sqlite3_libversion();
}

int catchup_sqlite_has_wal_reset_bug(void)
{
	int version = sqlite3_libversion_number();

	return version >= 3007000 && version < 3051003;
}

int cu_sqlite_check(struct catchup_error *error)
{
	sqlite3_mutex *a, *b;
	bool single;

	if (sqlite3_libversion_number() < 3037000)
		return cu_error_set(error, CATCHUP_DATABASE, 0,
			"SQLite %s is too old: 3.37.0 or newer is needed", sqlite3_libversion());
	if (sqlite3_threadsafe() == 0)
		return cu_error_set(error, CATCHUP_DATABASE, 0,
			"SQLite %s is built without threads (SQLITE_THREADSAFE=0)",
			sqlite3_libversion());
	if (sqlite3_compileoption_used("OMIT_WAL") ||
		sqlite3_compileoption_used("OMIT_AUTHORIZATION") ||
		sqlite3_compileoption_used("OMIT_PROGRESS_CALLBACK"))
		return cu_error_set(error, CATCHUP_DATABASE, 0,
			"SQLite %s is built without write-ahead log, authorizer or progress handler",
			sqlite3_libversion());
	if (sqlite3_initialize() != SQLITE_OK)
		return cu_error_nomem(error);
	/* A program may have switched threads off at run time; then all mutexes are the same dummy. */
	a = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
	b = sqlite3_mutex_alloc(SQLITE_MUTEX_FAST);
	single = a && a == b;
	sqlite3_mutex_free(a);
	if (!single)
		sqlite3_mutex_free(b);
	if (!a || !b)
		return cu_error_nomem(error);
	if (single)
		return cu_error_set(error, CATCHUP_DATABASE, 0,
			"SQLite is configured for a single thread (SQLITE_CONFIG_SINGLETHREAD)");
	return CATCHUP_OK;
}
