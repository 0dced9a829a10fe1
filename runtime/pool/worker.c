/* SPDX-License-Identifier: MIT */
/*
 * worker.c - threads that run followers, one batch each in turn, and sleep when none has work.
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>

/* So many rounds in a row that leave work to do are a backlog. Then nobody waits for the next commit, and
 * short turns on the processor would only stand in the way of applications. */
#define BACKLOG_ROUNDS 3u

static void be_prompt_without_backlog(uint32_t *rounds, bool more)
{
	bool backlog = *rounds >= BACKLOG_ROUNDS;

	*rounds = more ? *rounds + !backlog : 0;
	if (backlog != (*rounds >= BACKLOG_ROUNDS))
		cu_thread_be_prompt(backlog);
}

/* Sleeps until woken or until the first follower wants to be run again. */
static void work(struct cu_worker *worker)
{
	uint32_t rounds = 0;

	cu_thread_be_prompt(true);
	for (;;) {
		uint32_t ticket = cu_park_prepare(&worker->park);
		int64_t wake_at_ns = CU_FOREVER;
		bool more = false, alive = false;

		for (size_t i = 0; i < worker->n_followers; i++) {
			struct cu_follower *f = worker->followers[i];

			more |= cu_follower_run(f);
			cu_turn_pass(f);
			if (f->wake_at_ns < wake_at_ns)
				wake_at_ns = f->wake_at_ns;
			alive |= !atomic_load_explicit(&f->ended, memory_order_relaxed);
		}
		be_prompt_without_backlog(&rounds, more);
		if (more || !alive)
			cu_park_cancel(&worker->park);
		else
			cu_park_wait(&worker->park, ticket, wake_at_ns);
		if (!alive)
			return;
	}
}

static void worker_main(void *argument)
{
	struct cu_worker *worker = argument;
	struct catchup *c = worker->runtime;

	for (size_t i = 0; i < worker->n_followers; i++)
		cu_follower_open(worker->followers[i]);
	/* Nothing runs before everything has opened. */
	for (;;) {
		uint32_t ticket = cu_park_prepare(&worker->park);

		if (atomic_load(&c->go) || atomic_load(&c->stopping)) {
			cu_park_cancel(&worker->park);
			break;
		}
		cu_park_wait(&worker->park, ticket, CU_FOREVER);
	}
	if (atomic_load(&c->go)) {
		work(worker);
		return;
	}
	for (size_t i = 0; i < worker->n_followers; i++) {
		cu_follower_close(worker->followers[i]);
		atomic_store(&worker->followers[i]->ended, 1);
	}
	cu_park_wake(&c->progress);
}

int cu_worker_start(struct cu_worker *worker, struct catchup_error *error)
{
	int rc = cu_thread_start(&worker->thread, "catchup-work", worker_main, worker);

	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start a worker thread");
}

void cu_worker_destroy(struct cu_worker *worker)
{
	cu_thread_join(&worker->thread);
	CU_CHECK(!worker->shared);
	cu_park_finish(&worker->park);
	free(worker->followers);
	free(worker);
}
