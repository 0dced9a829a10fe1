/* SPDX-License-Identifier: MIT */
/*
 * ledger_inside.h - what the files behind ledger.h share.
 */
#ifndef CU_STORE_LEDGER_INSIDE_H
#define CU_STORE_LEDGER_INSIDE_H

#include "store/ledger/ledger.h"

#include <stdio.h>

/* Statements that a connection keeps prepared for all consumers that write through it, the name bound at
 * each use. */
enum cu_book {
	CU_BOOK_LOAD,
	CU_BOOK_SAVE,
	CU_BOOK_FIRST,
	CU_BOOK_COUNT,
	CU_BOOK_STATE,
	CU_BOOK_MARK,
	CU_BOOK_TROUBLE,
	CU_BOOK_ATTEMPT,
	CU_BOOK_ATTEMPT_READ,
	CU_BOOK_UNMARK,
	CU_BOOK_LEASE_READ,
	CU_BOOK_LEASE_WRITE,
	CU_BOOK_LEASE_RENEW,
	CU_BOOK_DEAD_ADD,
	CU_BOOK_DEAD_HAS,
	CU_BOOK_DEAD_KEYS,
	CU_BOOKS
};
_Static_assert(CU_BOOKS <= CU_CONN_BOOKS, "a connection keeps them all");

/* A transaction of our own unless one is in hand. */
struct cu_own_transaction {
	struct cu_conn *conn;
	bool own;
};
int cu_own_begin(struct cu_own_transaction *t, struct cu_conn *conn, struct catchup_error *error);
/* Commits when rc is CATCHUP_OK, else rolls back. Returns rc, or what the commit returned. */
int cu_own_end(struct cu_own_transaction *t, int rc, struct catchup_error *error);

/* Prepares where *stmt is NULL, and binds the ledger's name to ?1. */
int cu_ledger_ready(struct cu_ledger *ledger, sqlite3_stmt **stmt, const char *sql,
	struct catchup_error *error);
/* The same of one that the connection keeps: it is not to be finalized. */
int cu_ledger_book(struct cu_ledger *ledger, enum cu_book book, const char *sql, sqlite3_stmt **stmt,
	struct catchup_error *error);

/* Binds text that lives until the statement is reset, NULL for a null. Not even that goes through
 * without memory when the database is UTF-16. */
int cu_ledger_bind_text(struct cu_ledger *ledger, sqlite3_stmt *stmt, int parameter, const char *text,
	size_t bytes, struct catchup_error *error);

/* Steps a statement that returns nothing and resets it. changes may be NULL. */
int cu_ledger_run(struct cu_ledger *ledger, sqlite3_stmt *stmt, const char *what, int *changes,
	struct catchup_error *error);

int cu_ledger_failed(struct cu_ledger *ledger, sqlite3_stmt *stmt, const char *what,
	struct catchup_error *error);

/* Copies a column's text, cut to fit; "" for NULL. */
static inline void cu_ledger_copy_text(char *to, size_t bytes, sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	snprintf(to, bytes, "%s", text ? text : "");
}

/* turn: counts up with each registration; the highest of a name is where it runs now. */
#define CU_TABLE_CONSUMER                                                                          \
	"CREATE TABLE IF NOT EXISTS main.catchup_consumer(name TEXT NOT NULL, \"into\" TEXT NOT NULL," \
	" source TEXT, id_column TEXT, max TEXT, next TEXT, spec TEXT, turn INTEGER NOT NULL,"     \
	" PRIMARY KEY(name, \"into\")) WITHOUT ROWID"

#endif
