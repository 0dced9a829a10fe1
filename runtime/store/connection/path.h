/* SPDX-License-Identifier: MIT */
/*
 * path.h - database files by name, looked at but never opened. See also cu_path_resolve and
 * cu_conn_wal_bytes in connection.h.
 */
#ifndef CU_STORE_PATH_H
#define CU_STORE_PATH_H

#include "store/connection/connection.h"

/* Refuses what SQLite must not be asked to open: folders, FIFOs, sockets, devices, names that are too
 * long. *st is all zero for a file that is missing and may be. */
int cu_path_check(const char *path, bool may_be_missing, struct cu_file_stat *st,
	struct catchup_error *error);

/* file: URI of a plain file name, so that nothing in the name is taken for a parameter. mode: "ro",
 * "rw" or "rwc". The caller frees; NULL without memory. */
char *cu_path_uri(const char *path, const char *mode);

#endif
