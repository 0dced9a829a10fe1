/* SPDX-License-Identifier: MIT */
/*
 * writer_open.c - making a writer: it becomes the only one, and finds where the sequence stands.
 *
 * The lock is on the file itself and goes with its descriptor: what crashes leaves none behind. Whoever
 * has it for the file under the name is the writer. A file is locked before it gets the name, so there
 * is no moment without.
 */
#include "changelog/writer_inside.h"

#include "base/error.h"
#include "changelog/open.h"
#include "changelog/split.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCAN_LINE_MAX ((size_t)64 * 1024 * 1024)
#define NAME_TRIES 100 /* of locking a file that loses its name meanwhile */

char *cu_writer_name(const struct catchup_changelog_writer *w, long number)
{
	size_t bytes = strlen(w->path) + 24;
	char *name = malloc(bytes);

	if (!name)
		return NULL;
	if (number < 0)
		snprintf(name, bytes, "%s", w->path);
	else if (number == 0)
		snprintf(name, bytes, "%s.new", w->path);
	else
		snprintf(name, bytes, "%s.%ld", w->path, number);
	return name;
}

int cu_writer_fail(const struct catchup_changelog_writer *w, int rc, const char *what,
	struct catchup_error *error)
{
	int code = rc == -ENOSPC || rc == -EDQUOT ? CATCHUP_FULL
		   : rc == -ENOMEM		  ? CATCHUP_NOMEM
						  : CATCHUP_IO;

	return cu_error_errno(error, code, -rc, "changelog '%s': %s", w->path, what);
}

/* ---- the only one ------------------------------------------------------------------------- */

int cu_writer_lock(const struct catchup_changelog_writer *w, int fd, struct catchup_error *error)
{
	int rc = cu_file_lock(fd);

	if (rc == -EAGAIN)
		return cu_error_set(error, CATCHUP_LOCKED, 0,
			"changelog '%s': another writer has it open, and there must be one at a time",
			w->path);
	if (rc != 0 && rc != -ENOLCK && rc != -EOPNOTSUPP && rc != -ENOSYS)
		return cu_writer_fail(w, rc, "cannot be locked", error);
	return CATCHUP_OK;
}

/* What stands in the file was perhaps never synced, and neither was its name. */
static int sync_found(const struct catchup_changelog_writer *w, int fd, struct catchup_error *error)
{
	int rc = w->sync ? cu_file_sync(fd) : 0;

	if (rc == 0 && w->sync)
		rc = cu_file_sync_folder(w->path);
	return rc == 0 ? CATCHUP_OK : cu_writer_fail(w, rc, "syncing what is there", error);
}

int cu_writer_take_name(const struct catchup_changelog_writer *w, int *out, struct catchup_error *error)
{
	for (int i = 0; i < NAME_TRIES; i++) {
		struct cu_file_stat named, ours;
		int fd = cu_file_open(w->path, CU_OPEN_APPEND);
		int rc;

		if (fd < 0)
			return cu_writer_fail(w, fd, "cannot be appended to", error);
		rc = cu_writer_lock(w, fd, error);
		if (rc == CATCHUP_OK && cu_file_stat_fd(fd, &ours) == 0 &&
			cu_file_stat_path(w->path, &named) == 0 &&
			cu_file_same(&named.id, &ours.id)) {
			rc = sync_found(w, fd, error);
			if (rc == CATCHUP_OK) {
				*out = fd;
				return CATCHUP_OK;
			}
		}
		cu_file_close(fd);
		if (rc != CATCHUP_OK)
			return rc;
		/* Another writer has rotated it away just then. */
	}
	return cu_writer_fail(w, -EAGAIN, "is rotated all the time", error);
}

/* ---- where the sequence stands ------------------------------------------------------------ */

/* Takes the greatest sequence of a file's lines, the torn last one counted if it is a whole event.
 * Returns 0 or a negative errno. */
static int scan(int fd, int64_t *newest, bool *torn)
{
	struct cu_line_parser parser = {0};
	struct cu_split split;
	struct cu_span text;
	struct cu_line line;
	enum cu_split_got got;
	int64_t at;
	ssize_t n;

	cu_split_init(&split, SCAN_LINE_MAX);
	n = cu_split_seek(&split, fd, 0);
	while (n >= 0) {
		while ((got = cu_split_next(&split, &text, &at, NULL)) != CU_SPLIT_NONE)
			if (got == CU_SPLIT_LINE &&
				cu_line_parse(&parser, text.bytes, text.n, &line, NULL) ==
					CATCHUP_OK &&
				line.sequence > *newest)
				*newest = line.sequence;
		n = cu_split_read(&split, fd, INT64_MAX);
		if (n == 0)
			break;
	}
	*torn = cu_split_pending(&split) || split.too_long;
	text = (struct cu_span){split.buffer + split.start, split.used - split.start};
	if (n == 0 && text.n > 0 &&
		cu_line_parse(&parser, text.bytes, text.n, &line, NULL) == CATCHUP_OK &&
		line.sequence > *newest)
		*newest = line.sequence;
	cu_line_parser_finish(&parser);
	cu_split_finish(&split);
	return n == CU_SPLIT_CHANGED ? -EBUSY : (int)n;
}

/* Asks a file that need not be there. */
static int scan_kept(struct catchup_changelog_writer *w, int64_t *newest, struct catchup_error *error)
{
	char *name = cu_writer_name(w, 1);
	struct cu_file_stat stat;
	bool torn;
	int fd, rc;

	if (!name)
		return cu_error_nomem(error);
	if (cu_file_stat_path(name, &stat) != 0) {
		free(name);
		return CATCHUP_OK;
	}
	rc = cu_open_read(name, (const char *const *)w->databases, &fd, &stat, error);
	free(name);
	if (rc != CATCHUP_OK)
		return rc;
	rc = scan(fd, newest, &torn);
	cu_file_close(fd);
	return rc == 0 ? CATCHUP_OK : cu_writer_fail(w, rc, "reading the file rotated last", error);
}

/* Opens or makes the file and finds its last sequence. */
static int take_up(struct catchup_changelog_writer *w, int64_t after, struct catchup_error *error)
{
	struct cu_file_stat stat;
	struct catchup_error why = {0};
	int64_t newest = -1;
	int fd, rc;

	rc = cu_open_read(w->path, (const char *const *)w->databases, &fd, &stat, &why);
	if (rc == CATCHUP_OK) {
		cu_file_close(fd);
	} else if (why.detail != ENOENT) {
		cu_open_judge(&why);
		if (error)
			*error = why;
		return why.code;
	}
	/* Locked before it is read: what it ends with stays so. */
	rc = cu_writer_take_name(w, &w->fd, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = scan(w->fd, &newest, &w->torn);
	if (rc != 0)
		return cu_writer_fail(w, rc, "reading its end", error);
	if (newest < 0) {
		rc = scan_kept(w, &newest, error);
		if (rc != CATCHUP_OK)
			return rc;
	}
	w->last = w->written = newest > after ? newest : after;
	rc = cu_file_stat_fd(w->fd, &stat);
	if (rc != 0)
		return cu_writer_fail(w, rc, "cannot be looked at", error);
	w->size = stat.size;
	return CATCHUP_OK;
}

/* ---- opening and closing ------------------------------------------------------------------ */

static int check_options(
	const struct catchup_changelog_writer_options *options, struct catchup_error *error)
{
	if (!options->path || !*options->path)
		return cu_error_set(error, CATCHUP_USAGE, 0, "changelog: the path is empty");
	if (options->rotate_bytes != 0 && options->rotate_bytes < CATCHUP_ROTATE_BYTES_MIN)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'rotate_bytes': %" PRId64 " is below the minimum %d",
			options->rotate_bytes, CATCHUP_ROTATE_BYTES_MIN);
	if (options->keep > CATCHUP_ROTATE_KEEP_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'keep': %u is above the maximum %d", options->keep,
			CATCHUP_ROTATE_KEEP_MAX);
	if (options->after_sequence < 0)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'after_sequence': %" PRId64 " is below the minimum 0",
			options->after_sequence);
	return CATCHUP_OK;
}

int catchup_changelog_writer_open(const struct catchup_changelog_writer_options *given,
	struct catchup_changelog_writer **out, struct catchup_error *error)
{
	struct catchup_changelog_writer_options options = {0};
	struct catchup_changelog_writer *w;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	if (!given || given->size < sizeof(size_t) || given->size > sizeof(options))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"changelog writer options: size %zu is not within %zu to %zu",
			given ? given->size : 0, sizeof(size_t), sizeof(options));
	memcpy(&options, given, given->size);
	rc = check_options(&options, error);
	if (rc != CATCHUP_OK)
		return rc;
	w = calloc(1, sizeof(*w));
	if (!w)
		return cu_error_nomem(error);
	w->fd = -1;
	w->rotate_bytes = options.rotate_bytes;
	w->keep = options.keep;
	w->sync = options.sync != 0;
	w->path = strdup(options.path);
	if (!w->path || !cu_open_copy_list(options.databases, &w->databases))
		rc = cu_error_nomem(error);
	else
		rc = take_up(w, options.after_sequence, error);
	if (rc != CATCHUP_OK) {
		catchup_changelog_writer_close(w);
		return rc;
	}
	*out = w;
	return CATCHUP_OK;
}

void catchup_changelog_writer_close(struct catchup_changelog_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		cu_file_close(w->fd);
	free(w->batch);
	free(w->databases);
	free(w->path);
	free(w);
}
