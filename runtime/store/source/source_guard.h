/* SPDX-License-Identifier: MIT */
/*
 * source_guard.h - triggers that keep a source append-only: see catchup_guard in catchup.h.
 */
#ifndef CU_STORE_SOURCE_GUARD_H
#define CU_STORE_SOURCE_GUARD_H

#include "store/connection/connection.h"

struct cu_source_guard {
	bool installed;
	bool whole;     /* it has all its triggers; one that another version installed may lack some */
	int64_t newest; /* ids up to here were given before, whether their rows are there or not */
	int64_t since;  /* the newest id when it was installed */
};

/* Whether a table of the connection's main file is guarded. */
int cu_source_guard_read(struct cu_conn *conn, const char *table, struct cu_source_guard *guard,
	struct catchup_error *error);

#endif
