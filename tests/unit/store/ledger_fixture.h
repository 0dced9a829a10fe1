/* SPDX-License-Identifier: MIT */
/* A ledger in a fresh database. */
#ifndef TESTS_LEDGER_FIXTURE_H
#define TESTS_LEDGER_FIXTURE_H

#include "../store_help.h"

#include "store/ledger/ledger.h"

struct fixture {
	struct cu_conn conn;
	struct cu_ledger ledger;
	struct catchup_error error;
	bool died; /* the lease that was taken last */
};

static inline void start(struct fixture *f, struct scratch *s, const char *name)
{
	struct catchup_error error = {0};

	memset(f, 0, sizeof(*f));
	if (access(s->database, F_OK) != 0)
		sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
	open_conn(&f->conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_ledger_create_tables(&f->conn, &error));
	assert_ok(cu_ledger_open(&f->ledger, &f->conn, name, &error));
}

static inline void finish(struct fixture *f)
{
	cu_conn_close(&f->conn);
}

static inline int64_t watermark(struct fixture *f)
{
	struct catchup_error error = {0};
	int64_t last = -1;

	assert_ok(cu_ledger_load(&f->ledger, &last, &error));
	return last;
}

/* Saves in a transaction of its own. Returns whether it was lost, and then rolls back. */
static inline bool save(struct fixture *f, int64_t expected, int64_t next, int64_t fence,
	const struct cu_counts *add)
{
	struct catchup_error error = {0};
	bool lost;

	assert_ok(cu_conn_begin(&f->conn, &error));
	assert_ok(cu_ledger_save(&f->ledger, expected, next, fence, add, &lost, &error));
	if (lost)
		cu_conn_rollback(&f->conn);
	else
		assert_ok(cu_conn_commit(&f->conn, &error));
	return lost;
}

#endif
