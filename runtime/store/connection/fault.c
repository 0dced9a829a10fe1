/* SPDX-License-Identifier: MIT */
/*
 * fault.c - SQLite result codes sorted by what a consumer can do about them.
 */
#include "store/connection/fault.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
	int code; /* enum catchup_code */
	const char *name;
} faults[] = {
	[CU_FAULT_NONE] = {CATCHUP_OK, "none"},
	[CU_FAULT_ROW] = {CATCHUP_CONSUMER, "row"},
	[CU_FAULT_BUSY] = {CATCHUP_LOCKED, "busy"},
	[CU_FAULT_FULL] = {CATCHUP_FULL, "full"},
	[CU_FAULT_IO] = {CATCHUP_IO, "io"},
	[CU_FAULT_MEMORY] = {CATCHUP_NOMEM, "memory"},
	[CU_FAULT_SCHEMA] = {CATCHUP_CONSUMER, "schema"},
	[CU_FAULT_DATABASE] = {CATCHUP_DATABASE, "database"},
	[CU_FAULT_SLOW] = {CATCHUP_CONSUMER, "slow"},
	[CU_FAULT_STOP] = {CATCHUP_CANCELED, "stop"},
	[CU_FAULT_GONE] = {CATCHUP_BACKWARDS, "gone"},
};

#define N_FAULTS ((unsigned)(sizeof(faults) / sizeof(faults[0])))

enum cu_fault cu_fault_of(int sqlite_code)
{
	switch (sqlite_code) {
	case SQLITE_READONLY_DBMOVED:
		return CU_FAULT_GONE;
	case SQLITE_IOERR_NOMEM:
		return CU_FAULT_MEMORY;
	case SQLITE_IOERR_CORRUPTFS:
	case SQLITE_IOERR_DATA:
		return CU_FAULT_DATABASE;
	}
	switch (sqlite_code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
	case SQLITE_NOTICE:
	case SQLITE_WARNING:
		return CU_FAULT_NONE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return CU_FAULT_BUSY;
	case SQLITE_FULL:
		return CU_FAULT_FULL;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return CU_FAULT_IO;
	case SQLITE_NOMEM:
		return CU_FAULT_MEMORY;
	case SQLITE_SCHEMA:
		return CU_FAULT_SCHEMA;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_FORMAT:
	case SQLITE_NOLFS:
		return CU_FAULT_DATABASE;
	case SQLITE_INTERRUPT:
		return CU_FAULT_SLOW;
	default:
		return CU_FAULT_ROW;
	}
}

const char *cu_fault_name(enum cu_fault fault)
{
	return (unsigned)fault < N_FAULTS ? faults[fault].name : "unknown";
}

int cu_fault_code(enum cu_fault fault)
{
	return (unsigned)fault < N_FAULTS ? faults[fault].code : CATCHUP_INTERNAL;
}

int cu_error_sqlite(struct catchup_error *error, sqlite3 *db, const char *fmt, ...)
{
	int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
	enum cu_fault fault = cu_fault_of(code);
	char what[CATCHUP_MESSAGE_BYTES];
	char reason[128];
	va_list ap;

	/* Asked for an error where SQLite knows of none: never to be taken for success. */
	if (fault == CU_FAULT_NONE)
		return cu_error_set(error, CATCHUP_INTERNAL, SQLITE_INTERNAL,
			"SQLite failed without an error");
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* "disk I/O error" and "unable to open database file" are no help without errno. */
	if (fault == CU_FAULT_IO && db && sqlite3_system_errno(db) != 0) {
		cu_errno_text(reason, sizeof(reason), sqlite3_system_errno(db));
		return cu_error_set(error, cu_fault_code(fault), code, "%s: %s (%s)", what,
			sqlite3_errmsg(db), reason);
	}
	return cu_error_set(error, cu_fault_code(fault), code, "%s: %s", what,
		db ? sqlite3_errmsg(db) : sqlite3_errstr(code));
}
