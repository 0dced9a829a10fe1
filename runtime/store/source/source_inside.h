/* SPDX-License-Identifier: MIT */
/*
 * source_inside.h - what source.c and fetch.c share.
 */
#ifndef CU_STORE_SOURCE_INSIDE_H
#define CU_STORE_SOURCE_INSIDE_H

#include "store/source/source.h"

/* Puts consumer and source before a message. Returns code. */
int cu_source_prefix(struct cu_source *source, int code, struct catchup_error *error);

/* Error of the statement that was stepped or prepared last, or that the table no longer fits; resets
 * stmt unless it is NULL. */
int cu_source_failed(struct cu_source *source, sqlite3_stmt *stmt, const char *query,
	struct catchup_error *error);

/* An id that is no integer. */
int cu_source_bad_value(struct cu_source *source, sqlite3_stmt *stmt, int column, const char *query,
	struct catchup_error *error);

/* Prepares once. fmt: as of printf; names go in as source->ref and source->id. */
int cu_source_ready(struct cu_source *source, sqlite3_stmt **stmt, struct catchup_error *error,
	const char *fmt, ...) CATCHUP_PRINTF(4, 5);

int cu_source_find_column(struct cu_source *source, sqlite3_stmt *stmt, const char *query,
	const char *column, int *index, struct catchup_error *error);

/* The `next` of a consumer that gives none. */
int cu_source_prepare_next(struct cu_source *source, struct catchup_error *error);

#endif
