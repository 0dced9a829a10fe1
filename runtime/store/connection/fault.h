/* SPDX-License-Identifier: MIT */
/*
 * fault.h - what an SQLite result code means for a consumer.
 */
#ifndef CU_STORE_FAULT_H
#define CU_STORE_FAULT_H

#include <catchup/catchup.h>
#include <sqlite3.h>

enum cu_fault {
	CU_FAULT_NONE = 0,
	CU_FAULT_ROW,      /* the row's or the consumer's: constraint, type, RAISE, logic: policy */
	CU_FAULT_BUSY,     /* another process holds a lock, or the snapshot is old: try again */
	CU_FAULT_FULL,     /* disk full: pause until there is room */
	CU_FAULT_IO,       /* I/O failed: close the connection, open anew, look at the watermark */
	CU_FAULT_MEMORY,   /* out of memory: pause */
	CU_FAULT_SCHEMA,   /* a table or column is gone: prepare again, stop if it no longer fits */
	CU_FAULT_DATABASE, /* corrupt, not a database, read-only: stop */
	CU_FAULT_SLOW,     /* interrupted: its time is used up */
	CU_FAULT_STOP,     /* interrupted because the runtime stops */
	CU_FAULT_GONE,     /* the file was replaced or removed under us: stop */
};

/* Any SQLite result or extended result code. */
enum cu_fault cu_fault_of(int sqlite_code);

/* "busy", "full", "io", ...: the category that status shows. Never NULL. */
const char *cu_fault_name(enum cu_fault fault);

/* enum catchup_code that tells a user of the library about it. */
int cu_fault_code(enum cu_fault fault);

/* Fills error from the connection's last error: code by fault, detail the extended result code. */
int cu_error_sqlite(struct catchup_error *error, sqlite3 *db, const char *fmt, ...)
	CATCHUP_PRINTF(3, 4);

#endif
