/* SPDX-License-Identifier: MIT */
/*
 * layout.c - who works with whom: results files and readers for the consumers that were added; workers are
 * in layout_workers.c. Built in catchup_start, constant afterwards.
 */
#include "pool/runtime.h"

#include "base/error.h"
#include "store/connection/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct cu_file *find_file(struct catchup *c, const char *path, const struct cu_file_id *id)
{
	for (struct cu_file *file = c->files; file; file = file->next)
		if (strcmp(file->path, path) == 0 || (id && cu_file_same(&file->id, id)))
			return file;
	return NULL;
}

static char *with_suffix(const char *path, const char *suffix)
{
	char *whole = malloc(strlen(path) + strlen(suffix) + 1);

	if (whole)
		stpcpy(stpcpy(whole, path), suffix);
	return whole;
}

static bool init_locks(struct cu_file *file)
{
	if (cu_gate_init(&file->gate) != 0)
		return false;
	if (cu_park_init(&file->room_park) == 0)
		return true;
	cu_gate_finish(&file->gate);
	return false;
}

static void free_file(struct cu_file *file)
{
	free(file->path);
	free(file->wal_path);
	free(file->shm_path);
	free(file);
}

static struct cu_file *add_file(struct catchup *c, const char *path, const struct cu_file_id *id)
{
	struct cu_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->runtime = c;
	file->shm_fd = -1;
	file->path = strdup(path);
	file->wal_path = with_suffix(path, "-wal");
	file->shm_path = with_suffix(path, "-shm");
	if (!file->path || !file->wal_path || !file->shm_path || !init_locks(file)) {
		free_file(file);
		return NULL;
	}
	if (id)
		file->id = *id;
	file->next = c->files;
	c->files = file;
	return file;
}

int cu_layout_check_place(const struct catchup *c, const char *path, bool may_be_missing,
	struct cu_file_stat *st, struct catchup_error *error)
{
	int rc = cu_path_check(path, may_be_missing, st, error);

	if (rc != CATCHUP_OK || (c->options.flags & CATCHUP_FLAG_NETWORK_FS) || !cu_os_network_fs(path))
		return rc;
	return cu_error_set(error, CATCHUP_DATABASE, 0,
		"database '%.300s' is on a network file system, where SQLite's locks and file notices "
		"cannot be relied on; when one machine alone uses it, --force (CATCHUP_FLAG_NETWORK_FS) "
		"allows it", path);
}

void cu_layout_warn_of_names(const struct catchup *c, const char *path, const struct cu_file_stat *st)
{
	if (st->links > 1)
		cu_log(&c->logger, CATCHUP_LOG_WARN, path,
			"the file has %u names (hard links), and each has a write-ahead log of its own: "
			"commits through one are not seen through another and can destroy it; let "
			"everybody use one name, and remove the others", (unsigned)st->links);
}

bool cu_layout_source_is_made(const struct cu_follower *f)
{
	const struct catchup *c = f->runtime;

	for (size_t i = 0; i < c->n_followers && c->followers[i] != f; i++)
		if (strcmp(c->followers[i]->results_path, f->source_path) == 0)
			return true;
	return false;
}

/* A results database may be reached by another name (a link) and still be the source's own file. */
static int place_results(struct cu_follower *f, struct catchup_error *error)
{
	struct cu_file_stat source, results;
	const struct cu_file_id *id = NULL;
	int rc = cu_layout_check_place(
		f->runtime, f->source_path, cu_layout_source_is_made(f), &source, error);

	if (rc == CATCHUP_OK)
		rc = cu_layout_check_place(f->runtime, f->results_path, true, &results, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (results.id.inode != 0)
		id = &results.id;
	f->separate = strcmp(f->source_path, f->results_path) != 0 &&
		(!id || !cu_file_same(&source.id, id));
	f->file = find_file(f->runtime, f->results_path, id);
	if (f->file)
		return CATCHUP_OK;
	if (f->separate)
		cu_layout_warn_of_names(f->runtime, f->results_path, &results);
	f->file = add_file(f->runtime, f->separate ? f->results_path : f->source_path, id);
	return f->file ? CATCHUP_OK : cu_error_nomem(error);
}

int cu_layout_files(struct catchup *c, struct catchup_error *error)
{
	for (size_t i = 0; i < c->n_followers; i++) {
		int rc = place_results(c->followers[i], error);

		if (rc != CATCHUP_OK)
			return cu_error_prefix(
				error, "consumer '%.200s': ", c->followers[i]->definition->name);
	}
	return CATCHUP_OK;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_source(const struct cu_reader *r, const struct cu_source_spec *spec)
{
	if (!same_text(r->spec.max, spec->max) || !r->spec.table != !spec->table)
		return false;
	return !spec->table || (sqlite3_stricmp(r->spec.table, spec->table) == 0 &&
		sqlite3_stricmp(r->spec.id_column, spec->id_column) == 0);
}

static int add_reader(struct catchup *c, const char *path, const struct cu_file_id *id,
	const struct cu_source_spec *spec, struct cu_reader **out, struct catchup_error *error)
{
	struct cu_reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return cu_error_nomem(error);
	r->runtime = c;
	r->id = *id;
	r->spec = *spec;
	/* On its own connection the source is main, and `next` is not its business. */
	r->spec.attached = false;
	r->spec.next = NULL;
	atomic_init(&r->newest, -1);
	r->path = strdup(path);
	r->followers = calloc(c->n_followers, sizeof(struct cu_follower *));
	rc = r->path && r->followers ? cu_watch_create(path, "-wal", &r->watch) : -ENOMEM;
	if (rc != 0) {
		cu_reader_destroy(r);
		return cu_error_os(error, rc, "watching '%.200s'", path);
	}
	r->next = c->readers;
	c->readers = r;
	*out = r;
	return CATCHUP_OK;
}

int cu_layout_readers(struct catchup *c, struct catchup_error *error)
{
	for (size_t i = 0; i < c->n_followers; i++) {
		struct cu_follower *f = c->followers[i];
		struct cu_source_spec spec;
		struct cu_file_stat stat;
		struct cu_reader *r;
		int rc;

		if (f->definition->table.event)
			continue;
		cu_setup_spec(f, &spec);
		rc = cu_path_check(f->source_path, false, &stat, error);
		if (rc != CATCHUP_OK)
			return rc;
		for (r = c->readers; r; r = r->next)
			if (cu_file_same(&r->id, &stat.id) && same_source(r, &spec))
				break;
		if (!r)
			rc = add_reader(c, f->source_path, &stat.id, &spec, &r, error);
		if (rc != CATCHUP_OK)
			return rc;
		f->reader = r;
		r->followers[r->n_followers++] = f;
	}
	/* Files that setup has made have an identity now. */
	for (struct cu_file *file = c->files; file; file = file->next) {
		struct cu_file_stat stat;

		if (cu_file_stat_path(file->path, &stat) == 0)
			file->id = stat.id;
	}
	return CATCHUP_OK;
}

void cu_layout_free(struct catchup *c)
{
	while (c->workers) {
		struct cu_worker *w = c->workers;

		c->workers = w->next;
		cu_worker_destroy(w);
	}
	while (c->readers) {
		struct cu_reader *r = c->readers;

		c->readers = r->next;
		cu_reader_destroy(r);
	}
	cu_checkpointers_free(c);
	while (c->files) {
		struct cu_file *file = c->files;

		c->files = file->next;
		cu_park_finish(&file->room_park);
		cu_gate_finish(&file->gate);
		free_file(file);
	}
}
