/* SPDX-License-Identifier: MIT */
/*
 * open.h - opens what may be a changelog, and nothing else.
 *
 * Refused before opening: what is not a regular file, and databases that this process has open with
 * the files beside them. POSIX locks belong to the process: closing any descriptor of such a file
 * would drop SQLite's locks on it. Refused after: what begins like a SQLite file.
 */
#ifndef CU_CHANGELOG_OPEN_H
#define CU_CHANGELOG_OPEN_H

#include "base/os.h"

#include <catchup/changelog.h>

/* A copy of a NULL-terminated list of strings, in one piece; NULL for an empty list. Returns false
 * without memory. */
bool cu_open_copy_list(const char *const *list, char ***out);

/* Whether a file that may be opened is there: CATCHUP_OK and *stat, or CATCHUP_IO; error->detail is
 * ENOENT when it only is not there. */
int cu_open_check(const char *path, const char *const *databases, struct cu_file_stat *stat,
	struct catchup_error *error);

/* Opens it for reading. Returns CATCHUP_OK, *fd and *stat of what was opened; else as above. */
int cu_open_read(const char *path, const char *const *databases, int *fd,
	struct cu_file_stat *stat, struct catchup_error *error);

/* Of what could not be opened at the start: what the system says (not there, no permission) may pass;
 * what the file is does not, and becomes CATCHUP_USAGE. Returns the code. */
int cu_open_judge(struct catchup_error *why);

#endif
