/* SPDX-License-Identifier: MIT */
/*
 * follow_open.c - opening a changelog, with its reader thread, and closing it.
 */
#include "changelog/follow.h"

#include "base/error.h"
#include "changelog/open.h"
#include "changelog/tail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE_DEFAULT (8u * 1024 * 1024)
#define OPEN_WAIT_MS_DEFAULT 1000u

static int check_options(
	const struct catchup_changelog_options *options, struct catchup_error *error)
{
	if (!options->path || !*options->path)
		return cu_error_set(error, CATCHUP_USAGE, 0, "changelog: the path is empty");
	if (options->max_line_bytes != 0 && (options->max_line_bytes < CATCHUP_LINE_BYTES_MIN ||
						    options->max_line_bytes > CATCHUP_LINE_BYTES_MAX))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'max_line_bytes': %u is not within %d to %d",
			options->max_line_bytes, CATCHUP_LINE_BYTES_MIN, CATCHUP_LINE_BYTES_MAX);
	if (options->open_wait_ms > CATCHUP_OPEN_WAIT_MS_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'open_wait_ms': %u is above the maximum %d", options->open_wait_ms,
			CATCHUP_OPEN_WAIT_MS_MAX);
	return CATCHUP_OK;
}

/* Waits for the file to be there, opens it and finds its last line's end. */
static int open_first(struct catchup_changelog *c, uint32_t wait_ms, struct catchup_error *error)
{
	int64_t deadline = cu_deadline(cu_os_now_ns(),
		(wait_ms ? wait_ms : OPEN_WAIT_MS_DEFAULT) * CU_NS_PER_MS);
	struct catchup_error why = {0};
	struct cu_file_stat stat;
	struct cu_log_file *file;
	int64_t at = 0;
	int rc;

	while (!(file = cu_follow_open_file(c, &stat, &why))) {
		int64_t now = cu_os_now_ns();
		/* Not every appearance gives a notice: a link's target may be elsewhere. */
		int64_t next = now + 50 * CU_NS_PER_MS;

		if ((why.detail != ENOENT && why.detail != ENOTDIR) || now >= deadline) {
			cu_open_judge(&why);
			if (error)
				*error = why;
			return why.code;
		}
		cu_watch_works(c->watch);
		cu_watch_wait(c->watch, next < deadline ? next : deadline);
	}
	rc = cu_tail_find_start(file->fd, stat.size, &at);
	if (rc == 0)
		rc = cu_split_seek(&c->split, file->fd, at);
	if (rc == 0)
		rc = cu_tail_find_sequence(
			file->fd, at, c->max_line, &c->parser, &c->order.last);
	/* The line may have been a large one, and nobody may be there to read another. */
	cu_line_parser_finish(&c->parser);
	if (rc != 0) {
		cu_log_file_release(file);
		return cu_error_os(error, rc, "changelog '%s'", c->path);
	}
	cu_follow_append(c, file);
	cu_follow_keep_head(c);
	cu_watch_renew(c->watch, c->path);
	return CATCHUP_OK;
}

static void destroy(struct catchup_changelog *c)
{
	for (size_t i = 0; i < c->n_generations; i++)
		cu_log_file_release(c->generations[i].file);
	cu_split_finish(&c->split);
	cu_line_parser_finish(&c->parser);
	cu_watch_destroy(c->watch);
	cu_mutex_finish(&c->mu);
	free(c->databases);
	free(c->path);
	free(c);
}

int catchup_changelog_open(const struct catchup_changelog_options *given,
	struct catchup_changelog **out, struct catchup_error *error)
{
	struct catchup_changelog_options options = {0};
	struct catchup_changelog *c;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	if (!given || given->size < sizeof(size_t) || given->size > sizeof(options))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"changelog options: size %zu is not within %zu to %zu",
			given ? given->size : 0, sizeof(size_t), sizeof(options));
	memcpy(&options, given, given->size);
	rc = check_options(&options, error);
	if (rc != CATCHUP_OK)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return cu_error_nomem(error);
	if (cu_mutex_init(&c->mu) != 0) {
		free(c);
		return cu_error_nomem(error);
	}
	atomic_init(&c->refs, 1);
	c->pid = cu_os_pid();
	c->order.last = -1;
	c->max_line = options.max_line_bytes ? options.max_line_bytes : MAX_LINE_DEFAULT;
	cu_split_init(&c->split, c->max_line);
	c->path = strdup(options.path);
	if (!c->path || !cu_open_copy_list(options.databases, &c->databases)) {
		destroy(c);
		return cu_error_nomem(error);
	}
	rc = cu_watch_create(c->path, NULL, &c->watch);
	if (rc != 0)
		rc = cu_error_os(error, rc, "changelog '%s': watching it", c->path);
	else
		rc = open_first(c, options.open_wait_ms, error);
	if (rc != CATCHUP_OK) {
		destroy(c);
		return rc;
	}
	rc = cu_thread_start(&c->thread, "catchup-log", cu_follow_main, c);
	if (rc != 0) {
		cu_error_errno(error, CATCHUP_THREAD, rc, "changelog '%s': the reader thread",
			c->path);
		destroy(c);
		return CATCHUP_THREAD;
	}
	*out = c;
	return CATCHUP_OK;
}

bool cu_follow_is_ours(const struct catchup_changelog *c)
{
	return cu_os_pid() == c->pid;
}

void cu_follow_ref(struct catchup_changelog *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void catchup_changelog_close(struct catchup_changelog *c)
{
	/* In a forked child there is no reader thread to be ended, and the lock may be held by it
	 * for good: what is there is left. */
	if (!c || !cu_follow_is_ours(c))
		return;
	if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
		return;
	atomic_store(&c->stop, true);
	cu_watch_wake(c->watch);
	cu_thread_join(&c->thread);
	destroy(c);
}
