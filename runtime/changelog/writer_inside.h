/* SPDX-License-Identifier: MIT */
/*
 * writer_inside.h - what the files of the writer share: opening (writer_open.c), and the batch and its
 * way into the file (writer.c).
 */
#ifndef CU_CHANGELOG_WRITER_INSIDE_H
#define CU_CHANGELOG_WRITER_INSIDE_H

#include <catchup/changelog.h>

#include <stdbool.h>

struct catchup_changelog_writer {
	/* constant after open */
	char *path; /* owned */
	char **databases; /* owned, may be NULL */
	int64_t rotate_bytes; /* 0: never */
	uint32_t keep;
	bool sync;

	int fd;         /* of the file under the name, locked */
	int64_t size;   /* its size as far as we wrote it */
	bool torn;      /* its last line has no end: close it off first */
	int64_t last;   /* the last sequence given */
	int64_t written; /* the last sequence written */
	bool unsynced;   /* lines went into the file since it was last synced */
	int sync_failed; /* why a sync has failed, a negative errno, which is final; 0: none has */

	char *batch; /* owned */
	size_t batch_bytes, batch_capacity;
};

/* PATH.N, or PATH.new for 0; PATH itself for -1. Owned by the caller, NULL without memory. */
char *cu_writer_name(const struct catchup_changelog_writer *w, long number);

/* An error of the file; rc: a negative errno. */
int cu_writer_fail(const struct catchup_changelog_writer *w, int rc, const char *what,
	struct catchup_error *error);

/* Locks a file that has the name, or is about to get it. CATCHUP_LOCKED: another writer has it. Where
 * the file system knows no locks there is none. */
int cu_writer_lock(const struct catchup_changelog_writer *w, int fd, struct catchup_error *error);

/* Opens the file under the name, makes it when it is not there, and locks it. With `sync` the file and
 * its name are synced. */
int cu_writer_take_name(const struct catchup_changelog_writer *w, int *fd, struct catchup_error *error);

#endif
