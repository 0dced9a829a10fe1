/* SPDX-License-Identifier: MIT */
/*
 * moved.h - whether the files of a connection are still those at its paths; for connection.c.
 */
#ifndef CU_STORE_MOVED_H
#define CU_STORE_MOVED_H

#include "store/connection/connection.h"

/* The path leads to a file that may be opened; and, where one was in use, to that one still. */
int cu_moved_check(const char *path, bool may_be_missing, const struct cu_file_id *must_be,
	struct cu_file_stat *st, struct catchup_error *error);

/* Notes which files are open, at the end of opening. */
int cu_moved_note_files(struct cu_conn *conn, struct catchup_error *error);

#endif
