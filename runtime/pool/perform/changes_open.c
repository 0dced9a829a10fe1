/* SPDX-License-Identifier: MIT */
/*
 * changes_open.c - which changelog the event consumers of a runtime follow. They share one: one reader
 * thread, and an iterator for each consumer.
 */
#include "pool/perform/changes_inside.h"
#include "pool/runtime.h"

#include "base/error.h"
#include "changelog/open.h"
#include "changelog/tail.h"

#include <stdlib.h>
#include <string.h>

#define SCHEME "changelog:"

/* A missing file is not waited for here, where it would hold up a worker: the plan comes again. */
#define OPEN_WAIT_MS 1

#define LINE_BYTES_MAX (8u * 1024 * 1024) /* as a changelog's reader has it */

int cu_changes_take_source(
	const char *source, char **family, char **table, struct catchup_error *error)
{
	const char *dot;

	if (strncmp(source, SCHEME, strlen(SCHEME)) != 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"source '%.200s': an event consumer's source is " SCHEME "FAMILY.TABLE", source);
	source += strlen(SCHEME);
	dot = strchr(source, '.');
	if (!dot)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"source '" SCHEME "%.200s': a dot must stand between family and table", source);
	*family = strndup(source, (size_t)(dot - source));
	*table = strdup(dot + 1);
	return *family && *table ? CATCHUP_OK : cu_error_nomem(error);
}

/* All databases of the runtime: reading one of them as a changelog, and closing it again, would drop
 * SQLite's locks. Borrowed strings in an owned array, NULL without memory. */
static const char **list_databases(const struct catchup *c)
{
	const char **list = calloc(2 * c->n_followers + 2, sizeof(char *));
	size_t n = 0;

	if (!list)
		return NULL;
	list[n++] = c->path;
	for (size_t i = 0; i < c->n_followers; i++) {
		list[n++] = c->followers[i]->source_path;
		list[n++] = c->followers[i]->results_path;
	}
	return list;
}

int cu_changes_check(const struct catchup *c, struct catchup_error *error)
{
	const char *path = c->options.changelog;
	struct catchup_error why = {0};
	struct cu_file_stat stat;
	const char **databases;
	int fd, rc;

	if (!path)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"it is driven by a changelog, and none was given (--changelog PATH)");
	if (path[0] == '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0, "changelog: the path is empty");
	databases = list_databases(c);
	if (!databases)
		return cu_error_nomem(error);
	rc = cu_open_read(path, databases, &fd, &stat, &why);
	free(databases);
	if (rc == CATCHUP_OK)
		cu_file_close(fd);
	/* What the system says (not there, no permission) may pass. */
	if (rc == CATCHUP_OK || cu_open_judge(&why) != CATCHUP_USAGE)
		return CATCHUP_OK;
	if (error)
		*error = why;
	return CATCHUP_USAGE;
}

int cu_changes_newest(const struct catchup *c, int64_t *sequence)
{
	const char **databases = list_databases(c);
	struct cu_line_parser parser = {0};
	struct cu_file_stat stat;
	int64_t at;
	int fd, rc;

	if (!databases)
		return CATCHUP_NOMEM;
	rc = cu_open_read(c->options.changelog, databases, &fd, &stat, NULL);
	free(databases);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_tail_find_start(fd, stat.size, &at);
	if (rc == 0)
		rc = cu_tail_find_sequence(fd, at, LINE_BYTES_MAX, &parser, sequence);
	cu_line_parser_finish(&parser);
	cu_file_close(fd);
	return rc == 0 ? CATCHUP_OK : CATCHUP_IO;
}

/* The runtime's changelog, opened by whoever needs it first. */
static int share(struct catchup *c, struct catchup_changelog **out, struct catchup_error *error)
{
	struct catchup_changelog_options options = {.size = sizeof(options),
		.path = c->options.changelog,
		.open_wait_ms = OPEN_WAIT_MS};
	struct catchup_changelog *opened = NULL;
	const char **databases;
	int rc = CATCHUP_OK;

	cu_mutex_lock(&c->mu);
	*out = c->changelog;
	cu_mutex_unlock(&c->mu);
	if (*out)
		return CATCHUP_OK;
	databases = list_databases(c);
	if (!databases)
		return cu_error_nomem(error);
	options.databases = databases;
	rc = catchup_changelog_open(&options, &opened, error);
	free(databases);
	/* It was looked at before anything ran: what has taken its place since may go again. */
	if (rc == CATCHUP_USAGE)
		rc = CATCHUP_IO;
	if (rc != CATCHUP_OK) {
		if (error)
			error->code = rc;
		return rc;
	}
	/* Another follower may have been faster. */
	cu_mutex_lock(&c->mu);
	if (!c->changelog) {
		c->changelog = opened;
		opened = NULL;
	}
	*out = c->changelog;
	cu_mutex_unlock(&c->mu);
	catchup_changelog_close(opened);
	return CATCHUP_OK;
}

int cu_changes_open(struct catchup *c, const char *family, const char *table, int64_t after,
	struct catchup_iterator **out, struct catchup_error *error)
{
	struct catchup_iterator_options options = {
		.size = sizeof(options),
		.family = family[0] ? family : NULL,
		.table = table[0] ? table : NULL,
		.start = CATCHUP_START_AFTER,
		.after_sequence = after,
		.on_full = CATCHUP_ON_FULL_WAIT,
	};
	int rc = share(c, &options.changelog, error);

	return rc == CATCHUP_OK ? catchup_iterator_open(&options, out, error) : rc;
}
