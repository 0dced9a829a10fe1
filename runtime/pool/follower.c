/* SPDX-License-Identifier: MIT */
/*
 * follower.c - a consumer as it runs: made and freed by the runtime, driven by its worker thread.
 */
#include "pool/perform/perform.h"
#include "pool/perform/share.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

static int init_locks(struct cu_follower *f, struct catchup_error *error)
{
	int rc = cu_mutex_init(&f->mu);

	if (rc == 0 && (rc = cu_park_init(&f->map_park)) != 0)
		cu_mutex_finish(&f->mu);
	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot make a lock");
}

int cu_follower_init(struct cu_follower *f, struct catchup *c, struct cu_definition *definition,
	struct catchup_error *error)
{
	const char *base = c->path;
	int rc;

	memset(f, 0, sizeof(*f));
	f->runtime = c;
	f->definition = definition;
	f->wake_at_ns = CU_FOREVER;
	atomic_init(&f->brought, -1);
	atomic_init(&f->awaited, INT64_MAX);
	rc = init_locks(f, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_policy_parse(&f->policy, definition->on_error, error);
	if (rc == CATCHUP_OK && definition->from)
		rc = cu_path_resolve(definition->from, base, &f->source_path, error);
	else if (rc == CATCHUP_OK && !(f->source_path = strdup(base)))
		rc = cu_error_nomem(error);
	if (rc == CATCHUP_OK && definition->into)
		rc = cu_path_resolve(definition->into, f->source_path, &f->results_path, error);
	else if (rc == CATCHUP_OK && !(f->results_path = strdup(f->source_path)))
		rc = cu_error_nomem(error);
	if (rc == CATCHUP_OK)
		rc = cu_watchdog_init(f, error);
	if (rc == CATCHUP_OK) {
		f->ring = cu_ring_create(c->options.ring_slots, definition->table.map != NULL);
		if (!f->ring)
			rc = cu_error_nomem(error);
	}
	return rc;
}

void cu_follower_finish(struct cu_follower *f)
{
	CU_CHECK(!f->has_turn && !f->consumer_open && !f->mapper && !f->changes);
	cu_ring_destroy(f->ring);
	cu_watchdog_finish(f);
	cu_definition_free(f->definition);
	free(f->source_path);
	free(f->results_path);
	free(f->key);
	for (size_t i = 0; i < f->n_written; i++)
		free(f->written[i]);
	free(f->written);
	cu_park_finish(&f->map_park);
	cu_mutex_finish(&f->mu);
}

void cu_follower_wake(struct cu_follower *f)
{
	if (f->definition->table.map)
		cu_park_wake(&f->map_park);
	else
		cu_worker_call(f);
}

int64_t cu_follower_newest(struct cu_follower *f)
{
	return f->reader ? atomic_load(&f->reader->newest) : atomic_load(&f->brought);
}

bool cu_follower_looked(struct cu_follower *f, uint64_t request)
{
	return atomic_load(f->reader ? &f->reader->looks_done : &f->looks_done) >= request;
}

void cu_follower_open(struct cu_follower *f)
{
	const struct catchup_options *o = &f->runtime->options;
	uint32_t rows = f->definition->batch_rows ? f->definition->batch_rows : o->batch_rows;
	struct cu_plan_config config = {
		.kind = f->definition->table.range ? CU_PLAN_RANGE : CU_PLAN_ROWS,
		.requery = f->definition->next && !f->definition->table.map,
		.lease = !(o->flags & CATCHUP_FLAG_NO_LEASE),
		.batch_rows = rows < o->batch_rows ? rows : o->batch_rows,
		.ahead_rows = f->definition->table.map
			? f->definition->workers * CU_MAP_WINDOW_PER_THREAD * CU_MAP_ROWS : 0,
		.batch_ns = (int64_t)o->batch_ms * CU_NS_PER_MS,
		.lease_ns = (int64_t)o->lease_ms * CU_NS_PER_MS,
		.locked_ns = (int64_t)o->busy_ms * CU_NS_PER_MS,
		.policy = f->policy,
		.seed = cu_os_random() | 1,
	};
	struct cu_event event;

	f->action = cu_plan_first(&f->plan, &config);
	CU_CHECK(cu_follower_perform(f, &f->action, &event));
	if (event.kind == CU_EVENT_FAULT) {
		cu_threads_opened(f->runtime, &f->fault);
		atomic_store(&f->ended, 1);
		return;
	}
	f->action = cu_plan_step(&f->plan, &event);
	cu_threads_opened(f->runtime, NULL);
}

bool cu_follower_run(struct cu_follower *f)
{
	struct cu_event event = {0};
	bool done = false;

	cu_share_seat(f);
	while (!done) {
		/* One batch at a time, so that followers of one thread take turns; never in the middle
		 * of one, with the turn to write still held. */
		done = f->action.kind == CU_ACTION_ABORT;
		if (!cu_follower_perform(f, &f->action, &event))
			return false;
		f->action = cu_plan_step(&f->plan, &event);
		if (event.kind == CU_EVENT_COMMITTED) {
			cu_trouble_committed(f);
			done = true;
		}
	}
	return true;
}
