/* SPDX-License-Identifier: MIT */
/*
 * watchdog.c - says when code of a consumer does not come back.
 *
 * A function of C code that never returns cannot be stopped from outside; all that can be done is to say
 * who it is. Each thread that calls a consumer counts its calls, up when it goes in and up when it comes
 * out: the same odd number twice is the same call. The counting costs the caller no look at the clock.
 *
 * The limit is the life of a lease. A worker that is inside for so long does not renew the lease, and
 * another process may take its place.
 */
#include "pool/runtime.h"

#include "base/error.h"

#include <stdlib.h>

struct cu_watched {
	uint64_t calls;   /* when it was looked at last */
	int64_t looked_ns;
	int64_t same_ns;  /* it has been so for so long */
	bool told;
};

static size_t n_callers(const struct cu_follower *f)
{
	return 1 + (f->definition->table.map ? f->definition->workers : 0);
}

int cu_watchdog_init(struct cu_follower *f, struct catchup_error *error)
{
	f->calls = calloc(n_callers(f), sizeof(*f->calls));
	f->watched = calloc(n_callers(f), sizeof(*f->watched));
	return f->calls && f->watched ? CATCHUP_OK : cu_error_nomem(error);
}

void cu_watchdog_finish(struct cu_follower *f)
{
	free(f->calls);
	free(f->watched);
}

static void look(struct cu_follower *f, size_t caller, int64_t limit_ns, int64_t now_ns)
{
	struct cu_watched *w = &f->watched[caller];
	uint64_t calls = atomic_load_explicit(&f->calls[caller], memory_order_relaxed);
	int64_t ms;

	w->same_ns += cu_waited_ns(w->looked_ns, now_ns, limit_ns / 2);
	w->looked_ns = now_ns;
	ms = w->same_ns / CU_NS_PER_MS;
	if (calls != w->calls) {
		if (w->told)
			cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
				"its code has returned after %lld ms", (long long)ms);
		*w = (struct cu_watched){.calls = calls, .looked_ns = now_ns};
	} else if (calls % 2 != 0 && !w->told && w->same_ns >= limit_ns) {
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"its code%s has not returned for %lld ms; nothing of it is committed meanwhile, and "
			"a stop waits for it", caller ? " ('map')" : "", (long long)ms);
		w->told = true;
	}
}

int64_t cu_watchdog_look(const struct cu_checkpointer *checkpointer, int64_t now_ns)
{
	const struct catchup *c = checkpointer->runtime;
	int64_t limit_ns = (int64_t)c->options.lease_ms * CU_NS_PER_MS;

	for (size_t i = 0; i < c->n_followers; i++) {
		struct cu_follower *f = c->followers[i];

		for (size_t k = 0; f->file->checkpointer == checkpointer && k < n_callers(f); k++)
			look(f, k, limit_ns, now_ns);
	}
	return cu_deadline(now_ns, limit_ns / 4);
}
