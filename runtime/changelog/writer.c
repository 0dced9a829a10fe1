/* SPDX-License-Identifier: MIT */
/*
 * writer.c - appends events to a changelog.
 *
 * A batch is built in memory and written with one write, so a crash can tear the last line only. On
 * opening, a torn last line is closed off by a newline: readers tell it as a bad line, and the next
 * sequence follows the last whole one.
 *
 * Rotation puts the whole batch into a new file beside, and then moves it over the name: the file
 * under the name is never empty, so its end always says where the sequence stands. Files that are
 * kept move up first, PATH.1 to PATH.2 and so on.
 *
 * A sync that fails is not tried again: the kernel may have dropped what it could not write, and would
 * then call the next sync of the same file a success. Only a file that nobody has seen yet, the one to
 * rotate to, is thrown away and written anew.
 */
#include "changelog/writer_inside.h"

#include "base/check.h"
#include "base/error.h"
#include "changelog/open.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_BYTES_MAX ((size_t)1024 * 1024)

/* ---- the batch ---------------------------------------------------------------------------- */

static int reserve(struct catchup_changelog_writer *w, size_t bytes)
{
	size_t capacity = w->batch_capacity ? w->batch_capacity : 4096;
	char *batch;

	while (capacity - w->batch_bytes < bytes) {
		if (capacity > SIZE_MAX / 2)
			return -ENOMEM;
		capacity *= 2;
	}
	if (capacity == w->batch_capacity)
		return 0;
	batch = realloc(w->batch, capacity);
	if (!batch)
		return -ENOMEM;
	w->batch = batch;
	w->batch_capacity = capacity;
	return 0;
}

static bool is_utf8(const char *text, size_t n)
{
	while (n > 0) {
		size_t length = cu_utf8_length((const unsigned char *)text, n);

		if (length == 0)
			return false;
		text += length;
		n -= length;
	}
	return true;
}

static int check_text(const char *what, const char *text, struct catchup_error *error)
{
	if (!text)
		return cu_error_set(error, CATCHUP_USAGE, 0, "changelog event: no %s", what);
	if (!is_utf8(text, strlen(text)))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"changelog event: %s '%s' is not UTF-8", what, text);
	return CATCHUP_OK;
}

static int check_event(const struct catchup_event *event, struct catchup_error *error)
{
	int rc = check_text("family", event->family, error);

	if (rc == CATCHUP_OK)
		rc = check_text("table", event->table, error);
	for (size_t i = 0; i < event->n_keys && rc == CATCHUP_OK; i++) {
		const struct catchup_key *key = &event->keys[i];

		rc = check_text("key name", key->name, error);
		if (rc == CATCHUP_OK)
			rc = check_text("key type", key->type, error);
		if (rc != CATCHUP_OK)
			break;
		if (key->kind == CATCHUP_KEY_DOUBLE && !isfinite(key->real))
			rc = cu_error_set(error, CATCHUP_USAGE, 0,
				"changelog event: key '%s' is not a finite number", key->name);
		else if (key->kind == CATCHUP_KEY_TEXT &&
			 (!key->text || !is_utf8(key->text, key->text_bytes)))
			rc = cu_error_set(error, CATCHUP_USAGE, 0,
				"changelog event: the text of key '%s' is not UTF-8", key->name);
		else if (key->kind < CATCHUP_KEY_NULL || key->kind > CATCHUP_KEY_TEXT)
			rc = cu_error_set(error, CATCHUP_USAGE, 0,
				"changelog event: key '%s' is of the unknown kind %d", key->name,
				key->kind);
	}
	return rc;
}

/* A batch is one write, and a file holds whole batches. */
static size_t batch_limit(const struct catchup_changelog_writer *w)
{
	return w->rotate_bytes > 0 && w->rotate_bytes < (int64_t)BATCH_BYTES_MAX
		       ? (size_t)w->rotate_bytes
		       : BATCH_BYTES_MAX;
}

int catchup_changelog_writer_append(struct catchup_changelog_writer *w, const char *family,
	const char *table, const struct catchup_key *keys, size_t n_keys, int64_t *sequence,
	struct catchup_error *error)
{
	struct catchup_event event = {
		.family = family, .table = table, .keys = keys, .n_keys = n_keys};
	size_t bytes, room;
	int rc;

	if (!w)
		return cu_error_null(error, __func__, "writer");
	if (!keys && n_keys > 0)
		return cu_error_null(error, __func__, "keys");
	rc = check_event(&event, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (w->last == INT64_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"changelog '%s': the sequence has reached its end", w->path);
	event.sequence = w->last + 1;
	room = w->batch_capacity - w->batch_bytes;
	bytes = catchup_event_format(&event, w->batch ? w->batch + w->batch_bytes : NULL, room);
	if (bytes + 1 > room) {
		if (reserve(w, bytes + 1) != 0)
			return cu_error_nomem(error);
		catchup_event_format(&event, w->batch + w->batch_bytes, bytes + 1);
	}
	if (w->batch_bytes > 0 && w->batch_bytes + bytes + 1 > batch_limit(w)) {
		size_t at = w->batch_bytes;

		rc = catchup_changelog_writer_flush(w, error);
		if (rc != CATCHUP_OK)
			return rc;
		memmove(w->batch, w->batch + at, bytes + 1);
	}
	/* The newline takes the place of the NUL. */
	w->batch[w->batch_bytes + bytes] = '\n';
	w->batch_bytes += bytes + 1;
	w->last++;
	if (sequence)
		*sequence = w->last;
	return CATCHUP_OK;
}

void catchup_changelog_writer_discard(struct catchup_changelog_writer *w)
{
	if (!w)
		return;
	w->batch_bytes = 0;
	w->last = w->written;
}

int64_t catchup_changelog_writer_sequence(const struct catchup_changelog_writer *w)
{
	return w ? w->last : -1;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Writes all of it at a file's end, or what goes. Returns the bytes written; less than n: *rc says
 * why. */
static size_t write_all(int fd, const char *bytes, size_t n, int *rc)
{
	size_t done = 0;

	*rc = 0;
	while (done < n) {
		ssize_t wrote = cu_file_write(fd, bytes + done, n - done);

		if (wrote <= 0) {
			*rc = wrote < 0 ? (int)wrote : -EIO;
			break;
		}
		done += (size_t)wrote;
	}
	return done;
}

/* Every flush fails from now on: whether the lines in the file will stay there is not known. */
static int fail_sync(struct catchup_changelog_writer *w, int rc, struct catchup_error *error)
{
	w->sync_failed = rc;
	return cu_writer_fail(w, rc, "a sync has failed, so it has to be opened again", error);
}

/* Makes durable what went into the file, before that is answered for or the file is left. */
static int sync_lines(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	int rc = w->sync && w->unsynced ? cu_file_sync(w->fd) : 0;

	if (rc != 0)
		return fail_sync(w, rc, error);
	w->unsynced = false;
	return CATCHUP_OK;
}

/* Whether a file ends within a line. */
static bool ends_torn(int fd, int64_t size)
{
	char last = '\n';

	return size > 0 && cu_file_read_at(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/*
 * Looks whether the file is still the one under the name and as long as we left it: others may
 * rotate or truncate it too. If not, takes up what is there.
 */
static int look(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	struct cu_file_stat named, ours;
	struct catchup_error why = {0};
	int rc = cu_file_stat_fd(w->fd, &ours);
	int fd;

	if (rc != 0)
		return cu_writer_fail(w, rc, "cannot be looked at", error);
	rc = cu_open_check(w->path, (const char *const *)w->databases, &named, &why);
	if (rc != CATCHUP_OK && why.detail != ENOENT) {
		if (error)
			*error = why;
		return rc;
	}
	if (rc != CATCHUP_OK || !cu_file_same(&named.id, &ours.id)) {
		rc = sync_lines(w, error);
		if (rc == CATCHUP_OK)
			rc = cu_writer_take_name(w, &fd, error);
		if (rc != CATCHUP_OK)
			return rc;
		cu_file_close(w->fd);
		w->fd = fd;
		rc = cu_file_stat_fd(fd, &ours);
		if (rc != 0)
			return cu_writer_fail(w, rc, "cannot be looked at", error);
	} else if (ours.size == w->size) {
		return CATCHUP_OK;
	}
	w->size = ours.size;
	w->torn = ends_torn(w->fd, w->size);
	return CATCHUP_OK;
}

/* Moves the files that are kept up by one, the current one to PATH.1. */
static int move_up(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	for (long number = (long)w->keep; number > 0; number--) {
		char *to = cu_writer_name(w, number);
		char *from = cu_writer_name(w, number == 1 ? -1 : number - 1);
		int rc = to && from ? cu_file_rename(from, to) : -ENOMEM;

		free(from);
		free(to);
		/* Not all of them need to be there yet. */
		if (rc != 0 && rc != -ENOENT)
			return cu_writer_fail(w, rc, "keeping the file that is full", error);
	}
	return CATCHUP_OK;
}

/* Puts the batch into a new file and gives that the name. */
static int rotate(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	char *name = cu_writer_name(w, 0);
	int fd, rc;

	if (!name)
		return cu_error_nomem(error);
	rc = sync_lines(w, error);
	if (rc != CATCHUP_OK)
		goto out;
	/* What a crash left is not in any reader's hands. */
	cu_file_remove(name);
	fd = cu_file_open(name, CU_OPEN_APPEND | CU_OPEN_CREATE_NEW);
	if (fd < 0) {
		rc = cu_writer_fail(w, fd, "the file to rotate to", error);
		goto out;
	}
	write_all(fd, w->batch, w->batch_bytes, &rc);
	if (rc == 0 && w->sync)
		rc = cu_file_sync(fd);
	rc = rc == 0 ? cu_writer_lock(w, fd, error)
		     : cu_writer_fail(w, rc, "the file to rotate to", error);
	if (rc == CATCHUP_OK)
		rc = move_up(w, error);
	if (rc == CATCHUP_OK) {
		int moved = cu_file_rename(name, w->path);

		if (moved != 0)
			rc = cu_writer_fail(w, moved, "rotating", error);
	}
	if (rc != CATCHUP_OK) {
		cu_file_remove(name);
		cu_file_close(fd);
		goto out;
	}
	cu_file_close(w->fd);
	w->fd = fd;
	w->size = (int64_t)w->batch_bytes;
	w->torn = false;
	w->batch_bytes = 0;
	w->written = w->last;
	if (w->sync) {
		int synced = cu_file_sync_folder(w->path);

		if (synced != 0)
			rc = fail_sync(w, synced, error);
	}
out:
	free(name);
	return rc;
}

/* Takes from the batch what is in the file: whole lines stay there, since a reader may have them. */
static void keep_rest(struct catchup_changelog_writer *w, size_t done)
{
	const char *end = memrchr(w->batch, '\n', done);
	size_t whole = end ? (size_t)(end - w->batch) + 1 : 0;

	for (size_t i = 0; i < whole; i++)
		w->written += w->batch[i] == '\n';
	w->batch_bytes -= whole;
	memmove(w->batch, w->batch + whole, w->batch_bytes);
	w->size += (int64_t)whole;
	/* The torn line is taken back; where even that fails, it is closed off later. */
	if (done > whole && cu_file_truncate(w->fd, w->size) != 0) {
		w->size += (int64_t)(done - whole);
		w->torn = true;
	}
}

static int append_batch(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	size_t done;
	int rc;

	if (w->torn) {
		if (write_all(w->fd, "\n", 1, &rc) != 1)
			return cu_writer_fail(w, rc, "closing off a torn line", error);
		w->size++;
		w->torn = false;
	}
	done = write_all(w->fd, w->batch, w->batch_bytes, &rc);
	w->unsynced = w->unsynced || done > 0;
	keep_rest(w, done);
	return rc == 0 ? sync_lines(w, error) : cu_writer_fail(w, rc, "writing", error);
}

int catchup_changelog_writer_flush(struct catchup_changelog_writer *w, struct catchup_error *error)
{
	int rc;

	if (!w)
		return cu_error_null(error, __func__, "writer");
	if (w->sync_failed != 0)
		return fail_sync(w, w->sync_failed, error);
	if (w->batch_bytes == 0)
		return sync_lines(w, error);
	rc = look(w, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (w->rotate_bytes > 0 && w->size > 0 &&
		w->size + (int64_t)w->batch_bytes > w->rotate_bytes)
		return rotate(w, error);
	return append_batch(w, error);
}
