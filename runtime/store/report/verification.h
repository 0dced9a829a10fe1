/* SPDX-License-Identifier: MIT */
/*
 * verification.h - building the struct catchup_verification that is handed to users. One owner, freed
 * with catchup_verification_free. One thread.
 *
 * Without memory an entry is left out and `failed` is set; the builder looks once, at the end.
 */
#ifndef CU_STORE_VERIFICATION_H
#define CU_STORE_VERIFICATION_H

#include <catchup/catchup.h>
#include <stdbool.h>

/* An empty one; NULL without memory. */
struct catchup_verification *cu_verification_create(const char *database);

/* Adds a verdict with nothing known and nothing wrong. Valid until the next is added. NULL without
 * memory. */
struct catchup_verdict *cu_verification_add(struct catchup_verification *verification,
	const char *consumer, const char *source, const char *into);

/* Adds a file; wrong NULL: nothing is. */
void cu_verification_add_file(
	struct catchup_verification *verification, const char *path, const char *wrong);
/* Whether the file was added already. */
bool cu_verification_has_file(const struct catchup_verification *verification, const char *path);

/* Adds a line to what is wrong with the newest verdict, or to its notes. */
void cu_verification_wrong(struct catchup_verification *verification, const char *fmt, ...)
	CATCHUP_PRINTF(2, 3);
void cu_verification_note(struct catchup_verification *verification, const char *fmt, ...)
	CATCHUP_PRINTF(2, 3);

/* Whether memory ran out on the way; sets all `ok`. */
bool cu_verification_finish(struct catchup_verification *verification);

#endif
