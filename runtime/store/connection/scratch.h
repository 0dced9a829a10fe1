/* SPDX-License-Identifier: MIT */
/*
 * scratch.h - databases to try things on: the tables of another without their rows, or all of it.
 */
#ifndef CU_STORE_SCRATCH_H
#define CU_STORE_SCRATCH_H

#include "store/connection/connection.h"

/*
 * Makes the database `to`, which must not exist, with the tables, indexes, views and triggers of
 * `from`, which is only read. A `from` that does not exist gives an empty database. What this SQLite
 * cannot make (a virtual table of an unknown kind) is left out.
 */
int cu_scratch_copy(const char *from, const char *to, struct catchup_error *error);

/* The same with all that is in it, as it is at one moment, whoever writes `from` meanwhile. */
int cu_scratch_clone(const char *from, const char *to, struct catchup_error *error);

#endif
