/* SPDX-License-Identifier: MIT */
/*
 * perform.c - performs what the plan asks for and says what came of it. Whatever fails on the way is
 * turned into one FAULT event here.
 *
 * A row's way: FETCH steps `next` on the read-only connection; BEGIN takes the turn and the write
 * lock; DELIVER calls the consumer under the guard; COMMIT writes the watermark into the same
 * savepoint and commits (perform_batch.c). Connections come and go in perform_open.c.
 */
#include "pool/perform/perform.h"
#include "pool/perform/share.h"

#include "base/check.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults ------------------------------------------------------------------------------- */

/* A consumer may fail with a code that is no error, such as SQLITE_DONE: then it is the row's. */
static enum cu_fault fault_of_detail(int sqlite_code)
{
	enum cu_fault fault = cu_fault_of(sqlite_code);

	return fault == CU_FAULT_NONE ? CU_FAULT_ROW : fault;
}

enum cu_fault cu_perform_fault_of(const struct cu_follower *f, const struct catchup_error *error)
{
	switch (error->code) {
	case CATCHUP_NOMEM:
	case CATCHUP_THREAD:
		return CU_FAULT_MEMORY;
	case CATCHUP_LOCKED:
		return CU_FAULT_BUSY;
	case CATCHUP_FULL:
		return CU_FAULT_FULL;
	case CATCHUP_IO:
		return CU_FAULT_IO;
	case CATCHUP_DATABASE:
		return CU_FAULT_DATABASE;
	case CATCHUP_BACKWARDS:
		return CU_FAULT_GONE;
	case CATCHUP_CANCELED:
		return CU_FAULT_STOP;
	default:
		break;
	}
	if ((error->detail & 0xff) == SQLITE_INTERRUPT)
		return atomic_load(&f->runtime->stopping) > 1 ? CU_FAULT_STOP : CU_FAULT_SLOW;
	return fault_of_detail(error->detail);
}

/* SQLite only says that it was interrupted. */
static void say_why_interrupted(struct cu_follower *f)
{
	const struct catchup_error why = f->fault;

	cu_error_set(&f->fault, why.code, why.detail,
		"%.420s: a transaction may take %lld ms of processor time", why.message,
		(long long)(cu_perform_limit_ns(f) / CU_NS_PER_MS));
}

bool cu_perform_fault(struct cu_follower *f, struct cu_event *event, bool of_row, int64_t row)
{
	event->kind = CU_EVENT_FAULT;
	event->fault = cu_perform_fault_of(f, &f->fault);
	if (event->fault == CU_FAULT_SLOW)
		say_why_interrupted(f);
	event->of_row = of_row;
	event->code = f->fault.code;
	/* Once it runs, a consumer that no longer fits has stopped on an error, whatever the cause
	 * would have been called before. */
	if ((of_row && (event->fault == CU_FAULT_ROW || event->fault == CU_FAULT_SLOW)) ||
		(f->opened_once &&
			(event->code == CATCHUP_CONFIG || event->code == CATCHUP_USAGE)))
		event->code = CATCHUP_CONSUMER;
	f->fault.code = event->code;
	if (event->fault == CU_FAULT_ROW || event->fault == CU_FAULT_SLOW)
		f->row_fault = f->fault;
	f->fault_row = row;
	/* After a failed write or sync nobody knows what the connection would write. */
	if (event->fault == CU_FAULT_IO || event->fault == CU_FAULT_FULL ||
		event->fault == CU_FAULT_MEMORY)
		cu_share_spoil(f);
	event->now_ns = cu_os_now_ns();
	return true;
}

int cu_perform_failure_code(int sqlite_code)
{
	return cu_fault_code(fault_of_detail(sqlite_code));
}

void cu_perform_take_failure(struct cu_follower *f)
{
	const struct cu_context *context = &f->context;

	if (f->writer->guard.denied[0] != '\0')
		cu_error_set(&f->fault, CATCHUP_CONSUMER, context->fail_code,
			"not allowed: %s (%s)", f->writer->guard.denied, context->fail_text);
	else
		cu_error_set(&f->fault, cu_perform_failure_code(context->fail_code),
			context->fail_code, "%s", context->fail_text);
}

/* ---- ranges -------------------------------------------------------------------------------- */

/* Rows that a query of the consumer's own leaves out are not missing. Always true. */
static bool with_known_rows(const struct cu_follower *f, struct cu_event *event)
{
	if (f->definition->next)
		event->rows = CU_ROWS_UNKNOWN;
	return true;
}

/* The next range, out of the ring or, in id order, from the map threads. */
static bool take_range(struct cu_follower *f, struct cu_event *event, struct catchup_error *error)
{
	struct cu_ring_entry *entry = &f->held;

	if (f->changes) {
		struct cu_change *change = cu_changes_take(f->changes);

		if (!change || change->kind == CU_CHANGE_SYNC)
			return false;
		event->epoch = f->plan.epoch;
		event->rows = CU_ROWS_UNKNOWN;
		event->lo = f->plan.available;
		event->hi = change->sequence;
		/* What went back without a SYNC would be passed over in silence. */
		CU_CHECK(event->hi > event->lo);
		return true;
	}
	if (f->mapper) {
		event->epoch = f->plan.epoch;
		cu_mapper_be_careful(f->mapper, f->plan.careful);
		return cu_mapper_take(f->mapper, &event->lo, &event->hi, &event->rows, error) &&
			with_known_rows(f, event);
	}
	if (!f->holds) {
		if (!cu_ring_pop(f->ring, entry))
			return false;
		f->holds = true;
		cu_look_made_room(f);
	}
	/* Batches end where ranges do, so that nobody counts rows a second time. */
	if (!cu_plan_fits(&f->plan, entry->range.rows))
		return false;
	f->holds = false;
	event->lo = entry->range.lo;
	event->hi = entry->range.hi;
	event->rows = entry->range.rows;
	event->epoch = entry->range.epoch;
	return with_known_rows(f, event);
}

static bool perform_wait(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	struct catchup_error error = {0};

	if (event->stopping) {
		event->kind = CU_EVENT_STOPPING;
		return true;
	}
	if (atomic_load(&f->reader_failed)) {
		cu_mutex_lock(&f->mu);
		f->fault = f->reader_error;
		cu_mutex_unlock(&f->mu);
		event->kind = CU_EVENT_FAULT;
		event->fault = CU_FAULT_GONE;
		event->code = f->fault.code;
		f->fault_row = 0;
		return true;
	}
	if (cu_plan_wants_range(&f->plan)) {
		if (take_range(f, event, &error)) {
			event->kind = CU_EVENT_RANGE;
			return true;
		}
		if (error.code != CATCHUP_OK) {
			f->fault = error;
			return cu_perform_fault(f, event, false, 0);
		}
	}
	if (f->changes && cu_changes_sync(f->changes) && f->plan.available == f->plan.watermark) {
		if (cu_share_is_spoiled(f, &f->fault))
			return cu_perform_fault(f, event, false, 0);
		return cu_perform_resync(f, event);
	}
	if (action->until_ns == 0 || event->now_ns >= action->until_ns) {
		event->kind = CU_EVENT_TIME;
		return true;
	}
	cu_trouble_idle(f);
	if (f->reader)
		cu_reader_run_dry(f);
	f->wake_at_ns = action->until_ns;
	return false;
}

static void ask_reader(struct cu_follower *f, int64_t from, uint32_t epoch)
{
	if (f->mapper) {
		cu_mapper_be_careful(f->mapper, f->plan.careful);
		cu_mapper_rewind(f->mapper, from, epoch);
	}
	cu_mutex_lock(&f->mu);
	f->request = (struct cu_feed_request){.from = from, .epoch = epoch, .asked = true};
	cu_mutex_unlock(&f->mu);
	atomic_store(&f->reader->asked, 1);
	cu_reader_wake(f->reader);
}

static bool perform_rewind(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (!f->changes)
		ask_reader(f, action->lo, action->epoch);
	else if (cu_changes_rewind(f->changes, action->lo, &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (!atomic_exchange(&f->placed, 1) || f->changes)
		cu_park_wake(&f->runtime->progress);
	event->kind = CU_EVENT_DONE;
	return true;
}

static bool perform_cut(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (cu_source_cut(&f->range, action->lo, action->hi, action->rows, &event->hi, &event->rows,
		    &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->kind = CU_EVENT_CUT;
	return true;
}

/* ---- pauses and the end --------------------------------------------------------------------- */

static bool perform_sleep(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (event->stopping || event->now_ns >= action->until_ns) {
		event->kind = event->stopping ? CU_EVENT_STOPPING : CU_EVENT_TIME;
		return true;
	}
	if (!f->waits_for_lease)
		cu_trouble_pause(f, action->until_ns);
	f->wake_at_ns = action->until_ns;
	return false;
}

/* The fault without the consumer's name in front, which some have and some have not. */
static void copy_nameless(const struct cu_follower *f, struct catchup_error *to)
{
	char prefix[256];
	size_t n;

	snprintf(prefix, sizeof(prefix), "consumer '%.200s': ", f->definition->name);
	n = strlen(prefix);
	*to = f->fault;
	if (strncmp(to->message, prefix, n) == 0)
		memmove(to->message, to->message + n, strlen(to->message + n) + 1);
}

/* The next process takes one that kept its lease for one that crashed. So this waits a moment for the lock
 * also when the runtime stops; of many in a file only the first one, as the others would add to it. */
static int try_drop_lease(struct cu_follower *f, struct catchup_error *error)
{
	int rc;

	if (!f->writer)
		return cu_error_set(error, CATCHUP_IO, 0, "its database is not open");
	cu_turn_take(f);
	cu_conn_insist(f->writer, !atomic_load(&f->file->leases_left));
	rc = cu_ledger_drop_lease(&f->ledger, f->plan.fence, error);
	cu_conn_insist(f->writer, false);
	cu_turn_give(f, 0);
	return rc;
}

static void drop_lease(struct cu_follower *f)
{
	struct catchup_error error = {0};

	if (f->plan.fence == 0 || try_drop_lease(f, &error) == CATCHUP_OK)
		return;
	cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
		"its lease could not be given back, so the next process may take this one for crashed: %s",
		error.message);
	/* Who goes on in this file would keep it renewed, and nobody could take the consumer over. */
	atomic_store(&f->fence_left, f->plan.fence);
	atomic_store(&f->file->leases_left, 1);
}

static void perform_stop(struct cu_follower *f, const struct cu_action *action)
{
	struct catchup_error told;

	if (action->crashes != 0)
		cu_trouble_blame(f, action->crashes);
	if (action->stop_code != CATCHUP_OK) {
		f->fault.code = action->stop_code;
		cu_trouble_stop(f, action->id);
		copy_nameless(f, &told);
		if (action->id)
			cu_error_prefix(&told, "consumer '%.200s' stopped at row %lld (watermark "
				"%lld): ", f->definition->name, (long long)action->id,
				(long long)atomic_load(&f->watermark));
		else
			cu_error_prefix(&told, "consumer '%.200s' stopped (watermark %lld): ",
				f->definition->name, (long long)atomic_load(&f->watermark));
		cu_runtime_note_error(f->runtime, &told);
	} else {
		cu_trouble_leave(f);
	}
	drop_lease(f);
	cu_follower_close(f);
	atomic_store(&f->ended, 1);
	cu_park_wake(&f->runtime->progress);
}

/* Another one has met an error of the machine on a connection that both have. */
static bool meets_spoiled(struct cu_follower *f, const struct cu_action *action)
{
	switch (action->kind) {
	case CU_ACTION_LEASE:
	case CU_ACTION_LOAD:
	case CU_ACTION_CUT:
	case CU_ACTION_FETCH:
	case CU_ACTION_BEGIN:
	case CU_ACTION_RENEW:
		return cu_share_is_spoiled(f, &f->fault);
	default:
		return false;
	}
}

bool cu_follower_perform(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event)
{
	/* The clock is read for every action but DELIVER, where the plan says when. */
	int64_t now_ns = action->kind == CU_ACTION_DELIVER && !cu_plan_wants_clock(&f->plan)
		? event->now_ns : cu_os_now_ns();

	*event = (struct cu_event){.now_ns = now_ns,
		.stopping = atomic_load_explicit(&f->runtime->stopping, memory_order_relaxed) != 0};
	if (meets_spoiled(f, action))
		return cu_perform_fault(f, event, false, 0);
	switch (action->kind) {
	case CU_ACTION_OPEN:
		return cu_perform_open(f, event);
	case CU_ACTION_LEASE:
		return cu_perform_lease(f, event);
	case CU_ACTION_LOAD:
		return cu_perform_load(f, event);
	case CU_ACTION_WAIT:
		return perform_wait(f, action, event);
	case CU_ACTION_REWIND:
		return perform_rewind(f, action, event);
	case CU_ACTION_CUT:
		return perform_cut(f, action, event);
	case CU_ACTION_FETCH:
		return cu_perform_fetch(f, action, event);
	case CU_ACTION_BEGIN:
		return cu_perform_begin(f, action, event);
	case CU_ACTION_DELIVER:
		return cu_perform_deliver(f, event);
	case CU_ACTION_APPLY:
		return cu_perform_apply(f, action, event);
	case CU_ACTION_PARK:
		return cu_perform_park(f, action, event);
	case CU_ACTION_COMMIT:
		return cu_perform_commit(f, action, event);
	case CU_ACTION_ABORT:
		return cu_perform_abort(f, action, event);
	case CU_ACTION_RENEW:
		return cu_perform_renew(f, event);
	case CU_ACTION_SLEEP:
		return perform_sleep(f, action, event);
	case CU_ACTION_STOP:
		perform_stop(f, action);
		f->wake_at_ns = CU_FOREVER;
		return false;
	}
	cu_check_failed(__FILE__, __LINE__, "an action that nobody performs");
}
