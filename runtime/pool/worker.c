/* SPDX-License-Identifier: MIT */
/*
 * worker.c - threads that run followers, one batch each in turn, and sleep when none has work.
 *
 * Of its followers a worker runs those that were called since, that have more to do, or whose time has come;
 * the others cost it a look at two numbers. A call is noted before the worker is woken, and the notes are
 * looked through after it has said that it may sleep (park.h): so none is missed.
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

static bool has_ended(const struct cu_follower *f)
{
	return atomic_load_explicit(&f->ended, memory_order_relaxed) != 0;
}

bool cu_worker_is_called(const struct cu_worker *worker, size_t place)
{
	return atomic_load_explicit(&worker->called[place], memory_order_relaxed) != 0;
}

/* True: there is more to do now. */
static bool run(struct cu_worker *worker, size_t place)
{
	struct cu_follower *f = worker->followers[place];
	bool more;

	/* A turn may be kept for one further on, while the time of this one has come meanwhile. */
	cu_turn_pass_others(f);
	/* What comes while it runs is a call for the next time; what came before is seen. */
	atomic_exchange_explicit(&worker->called[place], false, memory_order_acq_rel);
	if (has_ended(f))
		return false;
	more = cu_follower_run(f);
	cu_turn_pass(f);
	worker->due_ns[place] = f->wake_at_ns;
	if (more)
		atomic_store_explicit(&worker->called[place], true, memory_order_relaxed);
	worker->running -= has_ended(f);
	return more;
}

/* Each that has something to do, once. True: there is more to do now. */
static bool run_round(struct cu_worker *worker)
{
	int64_t now_ns = cu_os_now_ns();
	bool all = atomic_load(&worker->runtime->stopping) != 0;
	bool more = false;

	for (size_t i = 0; i < worker->n_followers; i++)
		if (all || cu_worker_is_called(worker, i) || worker->due_ns[i] <= now_ns)
			more |= run(worker, i);
	return more;
}

static int64_t first_due_ns(const struct cu_worker *worker)
{
	int64_t first_ns = CU_FOREVER;

	for (size_t i = 0; i < worker->n_followers; i++)
		if (worker->due_ns[i] < first_ns)
			first_ns = worker->due_ns[i];
	return first_ns;
}

static void work(struct cu_worker *worker)
{
	uint32_t rounds = 0;

	cu_thread_be_prompt(true);
	worker->running = worker->n_followers;
	for (size_t i = 0; i < worker->n_followers; i++) {
		worker->running -= has_ended(worker->followers[i]);
		worker->due_ns[i] = CU_FOREVER;
		atomic_store_explicit(&worker->called[i], true, memory_order_relaxed);
	}
	while (worker->running > 0) {
		uint32_t ticket = cu_park_prepare(&worker->park);
		bool more = run_round(worker);

		be_prompt_without_backlog(&rounds, more);
		if (more || worker->running == 0)
			cu_park_cancel(&worker->park);
		else
			cu_park_wait(&worker->park, ticket, first_due_ns(worker));
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

void cu_worker_call(struct cu_follower *f)
{
	atomic_store_explicit(&f->worker->called[f->place], true, memory_order_release);
	cu_park_wake(&f->worker->park);
}

int cu_worker_start(struct cu_worker *worker, struct catchup_error *error)
{
	int rc = cu_thread_start(&worker->thread, "catchup-work", worker_main, worker);

	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start a worker thread");
}

static void free_worker(struct cu_worker *worker)
{
	free(worker->followers);
	free((void *)worker->called);
	free(worker->due_ns);
	free(worker);
}

struct cu_worker *cu_worker_create(struct catchup *c, size_t most)
{
	struct cu_worker *worker = calloc(1, sizeof(*worker));

	if (!worker)
		return NULL;
	worker->runtime = c;
	worker->followers = calloc(most, sizeof(struct cu_follower *));
	worker->called = calloc(most, sizeof(*worker->called));
	worker->due_ns = calloc(most, sizeof(*worker->due_ns));
	if (worker->followers && worker->called && worker->due_ns && cu_park_init(&worker->park) == 0)
		return worker;
	free_worker(worker);
	return NULL;
}

void cu_worker_add(struct cu_worker *worker, struct cu_follower *f)
{
	f->worker = worker;
	f->place = worker->n_followers;
	worker->followers[worker->n_followers++] = f;
}

void cu_worker_destroy(struct cu_worker *worker)
{
	cu_thread_join(&worker->thread);
	CU_CHECK(!worker->shared);
	cu_park_finish(&worker->park);
	free_worker(worker);
}
