/* SPDX-License-Identifier: MIT */
/*
 * trouble.c - why a follower is paused or stopped: told once, shown by status, and stored beside the
 * watermark, where another process finds it and where it outlives this one.
 *
 * What cannot be stored, because the disk is full or the file is locked, is owed: it is tried again at
 * each pause, without waiting for a lock, and on the fresh connection after an I/O error, since the old
 * one is not written to any more. Why it has stopped is tried once, so that waits. What is stored is
 * cleared in the transaction of the next commit, or when there is nothing left to do. Why an earlier process
 * has stopped stays until then, too, for the time since when: status sees by the lease that it is run again.
 * What one has paused for that is gone, and what only a lease could tell, is cleared when it begins.
 */
#include "pool/perform/perform.h"
#include "pool/perform/share.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* A pause that is over before anybody has looked is not worth a commit. */
#define BRIEF_NS (100 * CU_NS_PER_MS)

/* ---- in memory ------------------------------------------------------------------------------- */

/* Told once, not at every try. Returns whether it was. */
static bool note(struct cu_follower *f, int state, const struct catchup_error *trouble)
{
	struct cu_progress *p = &f->progress;
	bool news;

	cu_mutex_lock(&f->mu);
	news = trouble && (p->code == 0 || strcmp(p->message, trouble->message) != 0);
	if (news) {
		/* A pause that finds another reason has gone on since it began. */
		if (p->code == 0 || p->state != state) {
			p->since_ms = cu_os_wall_ms();
			f->trouble_since_ns = cu_os_now_ns();
		}
		p->code = trouble->code;
		p->row = f->fault_row;
		p->category = cu_fault_name(cu_perform_fault_of(f, trouble));
		memcpy(p->message, trouble->message, sizeof(p->message));
	}
	p->state = state;
	cu_mutex_unlock(&f->mu);
	return news;
}

void cu_trouble_note_state(struct cu_follower *f, int state)
{
	note(f, state, NULL);
}

static void note_recovery(struct cu_follower *f)
{
	bool was;

	cu_mutex_lock(&f->mu);
	was = f->progress.code != 0;
	f->progress.code = 0;
	f->progress.row = 0;
	f->progress.since_ms = 0;
	f->progress.category = NULL;
	f->progress.message[0] = '\0';
	cu_mutex_unlock(&f->mu);
	if (was)
		cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
			"goes on; watermark %lld", (long long)atomic_load(&f->watermark));
}

/* ---- in the results database ------------------------------------------------------------------- */

/* wait: for a lock, as long as every commit does. Who goes on does not: whoever has it would keep us from
 * nothing but from saying so. */
static bool store(struct cu_follower *f, const struct cu_trouble *trouble, bool wait)
{
	int64_t busy_ms = f->writer->busy_ms;
	int rc;

	if (cu_share_is_spoiled(f, NULL))
		return false;
	cu_turn_take(f);
	if (!wait)
		f->writer->busy_ms = 0;
	rc = cu_ledger_save_trouble(&f->ledger, trouble, NULL);
	f->writer->busy_ms = busy_ms;
	cu_turn_give(f, 0);
	return rc == CATCHUP_OK;
}

static bool clear(struct cu_follower *f)
{
	const struct cu_trouble none = {.fence = f->plan.fence};

	return store(f, &none, false);
}

/* What is noted in memory. */
static void store_noted(struct cu_follower *f, bool wait)
{
	const struct cu_progress *p = &f->progress; /* which no other thread writes */
	const struct cu_trouble trouble = {
		.state = p->state,
		.code = p->code,
		.category = p->category,
		.row = p->row,
		.message = p->message,
		.since_ms = p->since_ms,
		.fence = f->plan.fence,
	};

	if (!store(f, &trouble, wait))
		return;
	f->trouble_owed = false;
	f->trouble_stored = CU_TROUBLE_OURS;
}

bool cu_trouble_may_write(const struct cu_follower *f)
{
	enum cu_fault fault = cu_perform_fault_of(f, &f->fault);

	return f->writer && fault != CU_FAULT_IO && fault != CU_FAULT_GONE &&
		fault != CU_FAULT_DATABASE;
}

/* As far as is known: who has not been fed yet has not got through anything. */
static bool all_done(struct cu_follower *f)
{
	int64_t newest = cu_follower_newest(f);

	return f->reader ? newest >= 0 && f->plan.watermark >= newest
			 : f->plan.watermark == f->plan.available;
}

/* ---- pauses ------------------------------------------------------------------------------------ */

void cu_trouble_pause(struct cu_follower *f, int64_t until_ns)
{
	enum cu_fault fault = cu_perform_fault_of(f, &f->fault);
	char until[48] = "until it is over";

	/* The machine is waited for; a row has the tries that its policy gives it. */
	if (fault == CU_FAULT_ROW || fault == CU_FAULT_SLOW)
		snprintf(until, sizeof(until), "%u times at most", (unsigned)f->policy.retries);
	if (note(f, CATCHUP_STATE_PAUSED, &f->fault)) {
		f->trouble_owed = true;
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"paused at watermark %lld: %s; trying again %s", (long long)f->plan.watermark,
			f->fault.message, until);
	}
	if (f->trouble_owed && cu_trouble_may_write(f) && until_ns - f->trouble_since_ns >= BRIEF_NS)
		store_noted(f, false);
}

int cu_trouble_begin(struct cu_follower *f)
{
	int stored = CATCHUP_STATE_IDLE;
	int rc = CATCHUP_OK;

	if (!f->started) {
		rc = cu_ledger_load_trouble(&f->ledger, &stored, &f->fault);
		if (stored == CATCHUP_STATE_STOPPED && f->plan.config.lease)
			f->trouble_stored = CU_TROUBLE_EARLIER;
		else if (stored != CATCHUP_STATE_IDLE && !clear(f))
			f->trouble_stored = CU_TROUBLE_OURS;
	} else if (f->trouble_owed) {
		store_noted(f, false);
	}
	return rc;
}

int cu_trouble_clear_with(struct cu_follower *f)
{
	const struct cu_trouble none = {.fence = f->plan.fence};

	return f->trouble_stored == CU_TROUBLE_NONE
		? CATCHUP_OK : cu_ledger_save_trouble(&f->ledger, &none, &f->fault);
}

void cu_trouble_cleared(struct cu_follower *f)
{
	f->trouble_stored = CU_TROUBLE_NONE;
	f->trouble_owed = false;
}

void cu_trouble_over(struct cu_follower *f)
{
	f->trouble_owed = false;
	if (f->trouble_stored != CU_TROUBLE_NONE && clear(f))
		f->trouble_stored = CU_TROUBLE_NONE;
	if (f->progress.code != 0)
		note_recovery(f);
}

void cu_trouble_committed(struct cu_follower *f)
{
	if (f->progress.code != 0)
		note_recovery(f);
}

/* ---- the end ------------------------------------------------------------------------------------ */

void cu_trouble_blame(struct cu_follower *f, uint32_t crashes)
{
	cu_error_set(&f->fault, CATCHUP_CONSUMER, 0,
		"the process ended %u times with this row in hand; it was not tried again",
		(unsigned)crashes);
	f->row_fault = f->fault;
}

void cu_trouble_stop(struct cu_follower *f, int64_t row)
{
	f->fault_row = row;
	note(f, CATCHUP_STATE_STOPPED, &f->fault);
	/* A lock that it stopped for has been waited for. */
	if (f->writer)
		store_noted(f, cu_perform_fault_of(f, &f->fault) != CU_FAULT_BUSY);
}

void cu_trouble_leave(struct cu_follower *f)
{
	/* Who stops while it pauses does not pause any more; why an earlier process has stopped is true
	 * until somebody got further. */
	if (f->writer &&
		(f->trouble_stored == CU_TROUBLE_OURS ||
			(f->trouble_stored == CU_TROUBLE_EARLIER && all_done(f))) &&
		clear(f))
		f->trouble_stored = CU_TROUBLE_NONE;
	note(f, CATCHUP_STATE_IDLE, NULL);
}

/* ---- a source that cannot be read --------------------------------------------------------------- */

void cu_trouble_starve(struct cu_follower *f, const struct catchup_error *why)
{
	cu_mutex_lock(&f->mu);
	f->starved_by = *why;
	cu_mutex_unlock(&f->mu);
	atomic_store(&f->starved, 1);
	cu_worker_call(f);
}

void cu_trouble_feed(struct cu_follower *f)
{
	if (atomic_load_explicit(&f->starved, memory_order_relaxed) && atomic_exchange(&f->starved, 0))
		cu_worker_call(f);
}

void cu_trouble_idle(struct cu_follower *f)
{
	if (!atomic_load(&f->starved)) {
		if (all_done(f))
			cu_trouble_over(f);
		note(f, CATCHUP_STATE_CAUGHT_UP, NULL);
		return;
	}
	cu_mutex_lock(&f->mu);
	f->fault = f->starved_by;
	cu_mutex_unlock(&f->mu);
	f->fault_row = 0;
	cu_trouble_pause(f, CU_FOREVER);
}
