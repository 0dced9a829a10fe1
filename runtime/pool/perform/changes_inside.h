/* SPDX-License-Identifier: MIT */
/* changes_inside.h - between changes.c and changes_open.c. */
#ifndef CU_POOL_CHANGES_INSIDE_H
#define CU_POOL_CHANGES_INSIDE_H

#include "pool/perform/changes.h"

/* "changelog:FAMILY.TABLE" into its two parts, owned by the caller also when it fails; "": any. */
int cu_changes_take_source(
	const char *source, char **family, char **table, struct catchup_error *error);

/* What cu_changes_create checks. */
int cu_changes_check(const struct catchup *c, struct catchup_error *error);

/* The newest sequence in the file, -1 for none. A code when it cannot be known now. */
int cu_changes_newest(const struct catchup *c, int64_t *sequence);

/* An iterator on the runtime's changelog. Fails when the file is not there. */
int cu_changes_open(struct catchup *c, const char *family, const char *table, int64_t after,
	struct catchup_iterator **out, struct catchup_error *error);

#endif
