/* SPDX-License-Identifier: MIT */
/*
 * audit.h - looks for broken promises in database files. Only reads, whoever works on them.
 */
#ifndef CU_STORE_AUDIT_H
#define CU_STORE_AUDIT_H

#include "store/ledger/record.h"
#include "store/report/verification.h"

/* Adds what SQLite's integrity check says about a file, unless it was added before. A file that cannot
 * be opened is wrong, not an error. Returns CATCHUP_OK, or CATCHUP_LOCKED and the like. */
int cu_audit_file(struct catchup_verification *verification, const char *path,
	struct catchup_error *error);

/* Adds the verdict on a consumer. database: absolute path of the source's. */
int cu_audit_consumer(struct catchup_verification *verification, const char *database,
	const struct cu_entry *entry, struct catchup_error *error);

#endif
