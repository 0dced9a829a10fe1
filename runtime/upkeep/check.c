/* SPDX-License-Identifier: MIT */
/*
 * check.c - catchup_check: sets consumers up and prepares them on databases that have the same tables
 * as the real ones and no rows, so that nothing real is written, locked or switched.
 */
#include "pool/runtime.h"

#include "base/error.h"
#include "store/connection/scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shadow {
	struct catchup *runtime; /* runs nothing; its followers borrow the real ones' definitions */
	char folder[256];
	char (*made)[2][4096];   /* real path, its copy */
	size_t n_made;
};

/* Points *path, a real one, to its copy; makes the copy the first time. */
static int shadow_path(struct shadow *s, char **path, struct catchup_error *error)
{
	size_t i;
	int rc;

	for (i = 0; i < s->n_made; i++)
		if (strcmp(s->made[i][0], *path) == 0)
			break;
	if (i == s->n_made) {
		snprintf(s->made[i][0], sizeof(s->made[i][0]), "%s", *path);
		snprintf(s->made[i][1], sizeof(s->made[i][1]), "%s/%zu.db", s->folder, i);
		rc = cu_scratch_copy(s->made[i][0], s->made[i][1], error);
		if (rc != CATCHUP_OK)
			return rc;
		s->n_made++;
	}
	free(*path);
	*path = strdup(s->made[i][1]);
	return *path ? CATCHUP_OK : cu_error_nomem(error);
}

static int shadow_follower(struct shadow *s, const struct cu_follower *real,
	struct catchup_error *error)
{
	struct catchup *c = s->runtime;
	struct cu_follower *f = malloc(sizeof(*f));
	int rc;

	if (!f)
		return cu_error_nomem(error);
	rc = cu_follower_init(f, c, real->definition, error);
	c->followers[c->n_followers++] = f;
	if (rc == CATCHUP_OK)
		rc = shadow_path(s, &f->source_path, error);
	if (rc == CATCHUP_OK)
		rc = shadow_path(s, &f->results_path, error);
	return rc;
}

/* What only `catchup_reset` runs is tried as well, and taken back. */
static int try_reset(struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_definition *d = f->definition;
	int rc;

	if (!d->reset)
		return CATCHUP_OK;
	rc = cu_conn_begin(f->writer, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_script(f, f->writer, "reset", d->reset, d->reset_line, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_script(f, f->writer, "setup", d->setup, d->setup_line, error);
	cu_conn_rollback(f->writer);
	return rc;
}

static int open_and_close(struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_action open = {.kind = CU_ACTION_OPEN};
	struct cu_event event;
	int rc;

	cu_follower_perform(f, &open, &event);
	if (event.kind == CU_EVENT_FAULT) {
		if (error)
			*error = f->fault;
		return f->fault.code;
	}
	rc = try_reset(f, error);
	cu_follower_close(f);
	return rc;
}

static int check_shadow(struct shadow *s, const struct catchup *real, struct catchup_error *error)
{
	const struct catchup_options options = {.size = sizeof(options),
		.database = real->path,
		.changelog = real->options.changelog,
		.flags = real->options.flags};
	int rc = catchup_open(&options, &s->runtime, error);

	if (rc != CATCHUP_OK)
		return rc;
	s->runtime->logger = real->logger;
	s->runtime->followers = calloc(real->n_followers, sizeof(struct cu_follower *));
	s->made = calloc(2 * real->n_followers, sizeof(*s->made));
	if (!s->runtime->followers || !s->made)
		return cu_error_nomem(error);
	for (size_t i = 0; i < real->n_followers && rc == CATCHUP_OK; i++)
		rc = shadow_follower(s, real->followers[i], error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_files(s->runtime, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_run(s->runtime, error);
	for (size_t i = 0; i < s->runtime->n_followers && rc == CATCHUP_OK; i++)
		rc = open_and_close(s->runtime->followers[i], error);
	return rc;
}

/* The rows of a source that is there already are looked at where they are. */
static int check_real_source(const struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_READER, .main = f->source_path, .busy_ms = 1000};
	const struct cu_source_spec spec = {.table = f->definition->source,
		.id_column = f->definition->id_column,
		.max = f->definition->max,
		.consumer = f->definition->name,
		.id_assumed = !f->definition->id_given};
	struct cu_source source = {0};
	struct cu_conn conn = {0};
	struct cu_file_stat stat;
	bool there = false;
	int rc;

	if (cu_layout_source_is_made(f) && cu_file_stat_path(f->source_path, &stat) == -ENOENT)
		return CATCHUP_OK;
	rc = cu_conn_open(&conn, &options, error);
	if (rc == CATCHUP_OK && spec.table && !f->definition->table.event)
		rc = cu_conn_has(&conn, spec.table, NULL, &there, error);
	if (rc == CATCHUP_OK && there)
		rc = cu_source_open(&source, &conn, &spec, error);
	cu_source_close(&source);
	cu_conn_close(&conn);
	return rc;
}

int catchup_check(struct catchup *c, struct catchup_error *error)
{
	struct shadow s = {0};
	int rc = cu_runtime_check_process(c, error);

	for (size_t i = 0; rc == CATCHUP_OK && i < c->n_followers; i++)
		rc = check_real_source(c->followers[i], error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_folder_make_temporary(s.folder, sizeof(s.folder));
	if (rc != 0)
		return cu_error_errno(
			error, CATCHUP_IO, -rc, "cannot make a temporary folder '%s'", s.folder);
	rc = check_shadow(&s, c, error);
	if (s.runtime)
		for (size_t i = 0; i < s.runtime->n_followers; i++)
			s.runtime->followers[i]->definition = NULL; /* the real one's */
	catchup_close(s.runtime);
	free(s.made);
	cu_folder_remove(s.folder);
	return rc;
}
