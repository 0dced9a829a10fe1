/* SPDX-License-Identifier: MIT */
/*
 * snapshot.c - catchup_status: what is known in memory, without touching the database.
 */
#include "pool/runtime.h"

#include "base/error.h"
#include "store/report/status.h"

/* Rows above the watermark, guessed from how many rows the ids behind it held. */
static int64_t guess_lag(const struct cu_progress *p, int64_t newest, int64_t first)
{
	double ids = (double)(p->watermark - first);
	double per_id = ids > 0 && p->counts.offered > 0 ? (double)p->counts.offered / ids : 1;

	if (newest <= p->watermark)
		return 0;
	/* As a double, 2^63 - 1 ids would be more than an integer can hold. */
	if (per_id >= 1)
		return newest - p->watermark;
	return (int64_t)((double)(newest - p->watermark) * per_id + 0.5);
}

/* A worker notes its state when it sleeps or begins; what has come or was done since decides. */
static int now_state(const struct cu_progress *p, int64_t newest)
{
	if (p->state != CATCHUP_STATE_CAUGHT_UP && p->state != CATCHUP_STATE_RUNNING)
		return p->state;
	return newest > p->watermark ? CATCHUP_STATE_RUNNING : CATCHUP_STATE_CAUGHT_UP;
}

static bool add_follower(struct catchup_status *status, struct cu_follower *f)
{
	int64_t newest = cu_follower_newest(f);
	struct catchup_consumer_status entry;
	struct cu_progress p;

	cu_mutex_lock(&f->mu);
	p = f->progress;
	cu_mutex_unlock(&f->mu);
	entry = (struct catchup_consumer_status){
		.name = f->definition->name,
		.source = f->definition->source ? f->definition->source : f->definition->max,
		.into = f->separate ? f->results_path : "",
		.watermark = p.watermark,
		.newest = newest,
		.lag_rows = newest < 0 ? -1 : guess_lag(&p, newest, p.first),
		.state = now_state(&p, newest),
		.error_code = p.code,
		.error_row = p.row,
		.error_since_ms = p.since_ms,
		.last_error = p.message,
		.dead = p.counts.parked,
		.offered = p.counts.offered,
		.applied = p.counts.applied,
		.passed = p.counts.passed,
		.parked = p.counts.parked,
		.retries = p.counts.retries,
		.vanished = p.counts.vanished,
		.batches = p.batches,
		.updated_ms = p.updated_ms,
		.owner = p.owner,
		.error_category = p.category,
	};
	return cu_status_add_consumer(status, &entry) != NULL;
}

static bool add_reader(struct catchup_status *status, const struct cu_reader *r)
{
	const struct catchup_source_status entry = {
		.name = r->spec.table ? r->spec.table : r->spec.max,
		.database = r->path,
		.newest = atomic_load(&r->newest),
		.guarded = -1,
	};

	return cu_status_add_source(status, &entry) != NULL;
}

int catchup_status(struct catchup *c, struct catchup_status **out, struct catchup_error *error)
{
	bool complete = true;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	rc = cu_runtime_check_process(c, error);
	if (rc != CATCHUP_OK)
		return rc;
	cu_mutex_lock(&c->mu);
	if (c->state <= CU_RUNTIME_STARTING)
		rc = cu_error_set(error, CATCHUP_USAGE, 0, "the runtime was not started");
	cu_mutex_unlock(&c->mu);
	if (rc != CATCHUP_OK)
		return rc;
	*out = cu_status_create(c->path);
	if (!*out)
		return cu_error_nomem(error);
	for (struct cu_reader *r = c->readers; r && complete; r = r->next)
		complete = add_reader(*out, r);
	for (size_t i = 0; i < c->n_followers && complete; i++)
		complete = add_follower(*out, c->followers[i]);
	if (complete && cu_status_add_log(*out, (int64_t)c->options.wal_mib << 20))
		return CATCHUP_OK;
	catchup_status_free(*out);
	*out = NULL;
	return cu_error_nomem(error);
}
