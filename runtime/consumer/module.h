/* SPDX-License-Identifier: MIT */
/*
 * module.h - a consumer in a shared object.
 *
 * module_file.c looks at the file before any of its code runs; module_api.c makes the table through
 * which a module reaches the host's SQLite; module.c loads.
 */
#ifndef CU_CONSUMER_MODULE_H
#define CU_CONSUMER_MODULE_H

#include <catchup/catchup.h>
#include <catchup/consumer.h>

struct cu_loaded_module;

/*
 * Loads a module and hands it the host's SQLite. *table lives until cu_module_unload. One file may be
 * loaded more than once. No message names the path: the caller puts it before.
 *
 * Returns CATCHUP_OK; or CATCHUP_CONFIG, CATCHUP_IO, CATCHUP_NOMEM.
 * Threads: any. To reach SQLite's routines, a connection to an empty database in memory is opened
 * once in a process, through a process-wide hook that is taken back at once.
 */
int cu_module_load(struct cu_loaded_module **out, const struct catchup_consumer **table,
	const char *path, struct catchup_error *error);

/* Nobody is inside the module's functions any more, and nobody looks at the table. NULL is allowed. */
void cu_module_unload(struct cu_loaded_module *module);

/*
 * Looks at a file: a path with a slash, a regular file that others cannot write, in a folder that they
 * cannot write, a shared object for this machine, whole, without a copy of SQLite inside.
 * *resolved: the path without links; the caller frees it.
 */
int cu_module_file_check(const char *path, char **resolved, struct catchup_error *error);

/* The table of SQLite's routines for modules; lives as long as the process. NULL: *error is filled. */
const void *cu_module_api(struct catchup_error *error);

#endif
