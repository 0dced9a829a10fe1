/* SPDX-License-Identifier: MIT */
/*
 * wait.c - waiting until consumers have caught up, or one has stopped.
 *
 * Caught up through chains: rows that the first consumer writes are source rows of the second. So all
 * readers are asked for a fresh look, everybody is waited for, and this is done again as long as
 * anything was committed meanwhile, at most once a consumer: a chain cannot be longer. A round in
 * which a changelog's sequence began anew does not count.
 */
#include "pool/runtime.h"

#include "base/error.h"

#include <stdlib.h>

static bool ended(const struct cu_follower *f)
{
	return atomic_load(&f->ended) != 0;
}

/* Everyone who runs has said from where: a look before that cannot tell whether its source went
 * backwards. */
static bool all_placed(struct catchup *c)
{
	for (size_t i = 0; i < c->n_followers; i++)
		if (!ended(c->followers[i]) && !atomic_load(&c->followers[i]->placed))
			return false;
	return true;
}

/* For everyone who runs a look is finished that began after `request` was asked for. */
static bool all_looked(struct catchup *c, uint64_t request)
{
	for (size_t i = 0; i < c->n_followers; i++)
		if (!ended(c->followers[i]) && !cu_follower_looked(c->followers[i], request))
			return false;
	return true;
}

/* What a follower has to reach. */
struct target {
	int64_t id;
	uint64_t restarts; /* its restarts when this was asked */
};

static bool is_void(const struct cu_follower *f, const struct target *target)
{
	return atomic_load(&f->restarts) != target->restarts;
}

static bool has_reached(struct cu_follower *f, const struct target *target)
{
	return !atomic_load(&f->reader_failed) && atomic_load(&f->out_of_sync) == 0 &&
	       atomic_load(&f->watermark) >= target->id;
}

/* Has the commit that takes a follower so far wake who waits. Said before the look at how far it is: either
 * that sees the commit, or the commit sees that it is waited for. */
static void await(struct cu_follower *f, int64_t id)
{
	int64_t lowest = atomic_load(&f->awaited);

	while (id < lowest && !atomic_compare_exchange_weak(&f->awaited, &lowest, id))
		continue;
}

void cu_wait_tell(struct cu_follower *f, int64_t watermark)
{
	/* Who follows a changelog has not reached anything yet while it is out of sync. */
	if (f->reader && watermark < atomic_load(&f->awaited))
		return;
	atomic_store(&f->awaited, INT64_MAX);
	cu_park_wake(&f->runtime->progress);
}

static bool need_not_wait(struct cu_follower *f, const struct target *target)
{
	return ended(f) || is_void(f, target) || has_reached(f, target);
}

/* As long as one has not, the others need not wake anybody: the last that was added is asked first, since
 * those of one worker come to their rows in that order. */
static bool all_reached(struct catchup *c, const struct target *targets)
{
	for (size_t i = c->n_followers; i-- > 0;) {
		struct cu_follower *f = c->followers[i];

		if (need_not_wait(f, &targets[i]))
			continue;
		await(f, targets[i].id);
		if (!need_not_wait(f, &targets[i]))
			return false;
	}
	return true;
}

/* A sequence began anew: what was waited for says nothing. */
static bool any_void(struct catchup *c, const struct target *targets)
{
	for (size_t i = 0; i < c->n_followers; i++)
		if (!ended(c->followers[i]) && is_void(c->followers[i], &targets[i]))
			return true;
	return false;
}

static bool stopping(struct catchup *c)
{
	return atomic_load(&c->stopping) != 0;
}

struct wait {
	struct catchup *runtime;
	int64_t deadline_ns;
	uint64_t request;
	struct target *targets; /* one a follower */
};

static bool placed(struct wait *w)
{
	return all_placed(w->runtime);
}

static bool looked(struct wait *w)
{
	return all_looked(w->runtime, w->request);
}

static bool reached(struct wait *w)
{
	return all_reached(w->runtime, w->targets);
}

/* Sleeps until a condition holds. Returns OK, TIMEOUT or CANCELED. */
static int sleep_until(struct wait *w, bool (*holds)(struct wait *))
{
	struct catchup *c = w->runtime;

	for (;;) {
		uint32_t ticket = cu_park_prepare(&c->progress);

		if (holds(w)) {
			cu_park_cancel(&c->progress);
			return CATCHUP_OK;
		}
		if (stopping(c)) {
			cu_park_cancel(&c->progress);
			return CATCHUP_CANCELED;
		}
		if (!cu_park_wait(&c->progress, ticket, w->deadline_ns) &&
			cu_os_now_ns() >= w->deadline_ns)
			return CATCHUP_TIMEOUT;
	}
}

static int wait_all(struct wait *w)
{
	struct catchup *c = w->runtime;
	int rc = sleep_until(w, placed);

	if (rc != CATCHUP_OK)
		return rc;
	for (size_t round = 0; round <= c->n_followers;) {
		uint64_t commits = atomic_load(&c->commits);

		w->request = atomic_fetch_add(&c->looks_wanted, 1) + 1;
		for (struct cu_reader *r = c->readers; r; r = r->next)
			cu_reader_wake(r);
		for (size_t i = 0; i < c->n_followers; i++)
			cu_changes_ask(c->followers[i]);
		rc = sleep_until(w, looked);
		if (rc != CATCHUP_OK)
			return rc;
		for (size_t i = 0; i < c->n_followers; i++) {
			w->targets[i].restarts = atomic_load(&c->followers[i]->restarts);
			w->targets[i].id = cu_follower_newest(c->followers[i]);
		}
		rc = sleep_until(w, reached);
		if (rc != CATCHUP_OK)
			return rc;
		if (any_void(c, w->targets))
			continue;
		if (commits == atomic_load(&c->commits))
			break;
		round++;
	}
	return CATCHUP_OK;
}

static int64_t deadline_of(int64_t timeout_ms)
{
	if (timeout_ms < 0 || timeout_ms > INT64_MAX / CU_NS_PER_MS)
		return CU_FOREVER;
	return cu_deadline(cu_os_now_ns(), timeout_ms * CU_NS_PER_MS);
}

static int check_started(struct catchup *c, struct catchup_error *error)
{
	int rc = cu_runtime_check_process(c, error);

	if (rc != CATCHUP_OK)
		return rc;
	cu_mutex_lock(&c->mu);
	if (c->state <= CU_RUNTIME_STARTING)
		rc = cu_error_set(error, CATCHUP_USAGE, 0, "the runtime was not started");
	else if (c->state != CU_RUNTIME_STARTED)
		rc = cu_error_set(error, CATCHUP_CANCELED, 0, "the runtime was stopped");
	cu_mutex_unlock(&c->mu);
	return rc;
}

int catchup_wait(struct catchup *c, int64_t timeout_ms, struct catchup_error *error)
{
	struct wait w = {.runtime = c, .deadline_ns = deadline_of(timeout_ms)};
	int rc = check_started(c, error);

	if (rc != CATCHUP_OK)
		return rc;
	w.targets = calloc(c->n_followers, sizeof(*w.targets));
	if (!w.targets)
		return cu_error_nomem(error);
	rc = wait_all(&w);
	free(w.targets);
	if (rc == CATCHUP_TIMEOUT)
		return cu_error_set(error, rc, 0, "not caught up after %lld ms",
			(long long)timeout_ms);
	if (rc == CATCHUP_CANCELED)
		return cu_error_set(error, rc, 0, "the runtime was stopped");
	return cu_runtime_worst_error(c, error);
}

static bool all_stopped(struct wait *w)
{
	for (size_t i = 0; i < w->runtime->n_followers; i++)
		if (!ended(w->runtime->followers[i]))
			return false;
	return true;
}

int catchup_wait_stopped(struct catchup *c, int64_t timeout_ms, struct catchup_error *error)
{
	struct wait w = {.runtime = c, .deadline_ns = deadline_of(timeout_ms)};
	int rc = check_started(c, error);

	if (rc != CATCHUP_OK)
		return rc;
	rc = sleep_until(&w, all_stopped);
	if (rc == CATCHUP_TIMEOUT)
		return cu_error_set(error, rc, 0, "not all consumers have stopped");
	if (rc == CATCHUP_CANCELED)
		return cu_error_set(error, rc, 0, "the runtime was stopped");
	return cu_runtime_worst_error(c, error);
}
