/* SPDX-License-Identifier: MIT */
/*
 * guard.h - what the authorizer lets a consumer's code do; see struct cu_guard in connection.h.
 */
#ifndef CU_STORE_GUARD_H
#define CU_STORE_GUARD_H

#include "store/connection/connection.h"

/* So begin the names of the triggers that keep a source append-only (store/source/source_guard.c): they fire
 * while consumer code runs, and may do what it may not. */
#define CU_GUARD_TRIGGERS "catchup_guard_"

/* The authorizer of every connection; context: its struct cu_guard. */
int cu_guard_authorize(void *context, int action, const char *first, const char *second,
	const char *schema, const char *trigger);

/* Frees what the guard has collected. */
void cu_guard_finish(struct cu_guard *guard);

#endif
