/* SPDX-License-Identifier: MIT */
/*
 * threads.c - a runtime's threads: started in order, each after those that it needs have opened what is
 * theirs, and ended in order.
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

/* ---- counting ------------------------------------------------------------------------------- */

static void raise(struct catchup *c, size_t *count, size_t n)
{
	cu_mutex_lock(&c->mu);
	*count += n;
	cu_mutex_unlock(&c->mu);
}

/* Caller holds mu. */
static void lower(struct catchup *c, size_t *count)
{
	CU_CHECK(*count > 0);
	--*count;
	cu_cond_broadcast(&c->changed);
}

/* Caller holds mu. */
static void wait_for_none(struct catchup *c, const size_t *count)
{
	while (*count > 0)
		cu_cond_wait(&c->changed, &c->mu, CU_FOREVER);
}

void cu_threads_opened(struct catchup *c, const struct catchup_error *error)
{
	cu_mutex_lock(&c->mu);
	if (error && c->open_error.code == CATCHUP_OK)
		c->open_error = *error;
	lower(c, &c->opening);
	cu_mutex_unlock(&c->mu);
}

void cu_threads_reader_closed(struct catchup *c)
{
	cu_mutex_lock(&c->mu);
	lower(c, &c->reading);
	cu_mutex_unlock(&c->mu);
}

/* Returns rc when it is an error, else the first error of those that were to open something. */
static int wait_opened(struct catchup *c, int rc, struct catchup_error *error)
{
	struct catchup_error open_error;

	cu_mutex_lock(&c->mu);
	wait_for_none(c, &c->opening);
	open_error = c->open_error;
	cu_mutex_unlock(&c->mu);
	if (rc != CATCHUP_OK || open_error.code == CATCHUP_OK)
		return rc;
	if (error)
		*error = open_error;
	return open_error.code;
}

/* ---- starting ------------------------------------------------------------------------------- */

static int start_workers(struct catchup *c, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	for (struct cu_worker *w = c->workers; w && rc == CATCHUP_OK; w = w->next) {
		raise(c, &c->opening, w->n_followers);
		rc = cu_worker_start(w, error);
		for (size_t i = 0; rc != CATCHUP_OK && i < w->n_followers; i++)
			cu_threads_opened(c, NULL);
	}
	return wait_opened(c, rc, error);
}

static int start_readers(struct catchup *c, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	for (struct cu_reader *r = c->readers; r && rc == CATCHUP_OK; r = r->next) {
		raise(c, &c->opening, 1);
		raise(c, &c->reading, 1);
		rc = cu_reader_start(r, error);
		if (rc != CATCHUP_OK) {
			cu_threads_opened(c, NULL);
			cu_threads_reader_closed(c);
		}
	}
	return wait_opened(c, rc, error);
}

int cu_threads_start(struct catchup *c, struct catchup_error *error)
{
	int rc = cu_checkpointers_start(c, error);

	if (rc == CATCHUP_OK)
		rc = start_workers(c, error);
	if (rc == CATCHUP_OK)
		rc = start_readers(c, error);
	if (rc == CATCHUP_OK && atomic_load(&c->stopping))
		rc = cu_error_set(error, CATCHUP_CANCELED, 0, "the runtime was stopped");
	if (rc == CATCHUP_OK)
		atomic_store(&c->go, 1);
	else
		atomic_store(&c->stopping, 1);
	cu_runtime_wake_all(c);
	if (rc != CATCHUP_OK)
		cu_threads_end(c);
	return rc;
}

/* ---- ending --------------------------------------------------------------------------------- */

void cu_threads_end(struct catchup *c)
{
	for (struct cu_worker *w = c->workers; w; w = w->next)
		cu_thread_join(&w->thread);
	cu_mutex_lock(&c->mu);
	wait_for_none(c, &c->reading);
	cu_mutex_unlock(&c->mu);
	/* While the readers give up their watches, which takes them many milliseconds. */
	cu_checkpointers_fold(c);
	for (struct cu_reader *r = c->readers; r; r = r->next)
		cu_thread_join(&r->thread);
	catchup_changelog_close(c->changelog);
	c->changelog = NULL;
	cu_checkpointers_join(c);
}
