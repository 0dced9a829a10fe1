/* SPDX-License-Identifier: MIT */
/*
 * perform_resync.c - a changelog-driven consumer that may have missed something rebuilds: its results and
 * the sequence it goes on after commit together.
 */
#include "pool/perform/perform.h"

#include "base/error.h"

/* The consumer's part of the transaction. False: it failed, f->fault says why. */
static bool rebuild(struct cu_follower *f, const struct catchup_out_of_sync *why)
{
	const struct catchup_consumer *table = &f->definition->table;

	if (cu_perform_call_batch(f, "batch_begin", table->batch_begin) == CATCHUP_ROW_FAILED)
		return false;
	cu_perform_call_begin(f);
	if (cu_perform_call_end(f, "resync", table->resync(&f->context.public, f->state, why)) ==
		CATCHUP_ROW_FAILED)
		return false;
	return cu_perform_call_batch(f, "batch_end", table->batch_end) != CATCHUP_ROW_FAILED;
}

static void note_rebuilt(struct cu_follower *f, int64_t to)
{
	cu_mutex_lock(&f->mu);
	f->progress.watermark = to;
	f->progress.batches++;
	f->progress.updated_ms = cu_os_wall_ms();
	cu_mutex_unlock(&f->mu);
	/* As in note_commit; who waits is told by cu_changes_rewind that old targets are void. */
	atomic_fetch_add(&f->runtime->commits, 1);
	atomic_store(&f->watermark, to);
	cu_changes_synced(f->changes);
	cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
		"rebuilt; goes on after sequence %lld", (long long)to);
	cu_trouble_over(f);
}

/*
 * The event after the gap is the first of a new order: the watermark is set right before it, forwards
 * or, when the sequence began anew, backwards. This is the one place where it may go back.
 */
bool cu_perform_resync(struct cu_follower *f, struct cu_event *event)
{
	const struct cu_change *sync = cu_changes_sync(f->changes);
	int64_t from = f->plan.watermark;
	int64_t to = sync->sequence;
	bool rebuilt = true, lost = false;
	int rc;

	cu_trouble_note_state(f, CATCHUP_STATE_RUNNING);
	cu_turn_take(f);
	/* No limit: a rebuilding is as long as its tables; a stop interrupts it. */
	cu_conn_limit(f->writer, CU_FOREVER);
	rc = cu_conn_begin(f->writer, &f->fault);
	if (rc == CATCHUP_OK) {
		rebuilt = rebuild(f, &sync->why);
		rc = rebuilt ? CATCHUP_OK : f->fault.code;
	}
	if (rc == CATCHUP_OK)
		rc = cu_ledger_restart(&f->ledger, from, to, f->plan.fence, &lost, &f->fault);
	if (rc == CATCHUP_OK && !lost)
		rc = cu_conn_commit(f->writer, &f->fault);
	cu_conn_rollback(f->writer);
	cu_turn_give(f, 0);
	if (rc != CATCHUP_OK) {
		if (!rebuilt)
			cu_error_prefix(&f->fault, "rebuilding: ");
		return cu_perform_fault(f, event, !rebuilt, 0);
	}
	if (!lost) {
		note_rebuilt(f, to);
		cu_perform_wake_chain(f);
	}
	/* The plan reads the watermark anew and goes on from there. */
	event->kind = CU_EVENT_LOST;
	event->now_ns = cu_os_now_ns();
	return true;
}
