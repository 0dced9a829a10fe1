/* SPDX-License-Identifier: MIT */
/*
 * perform_batch.c - one transaction: the only place where consumer code sees rows, and where results
 * and watermark are committed.
 */
#include "pool/perform/perform.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* ---- a batch ------------------------------------------------------------------------------- */

/* The first mapped row above an id into the event; 0 at the end of what is mapped. */
static void fetch_mapped(struct cu_follower *f, int64_t above, struct cu_event *event)
{
	f->mapped = cu_mapper_row(f->mapper, above);
	event->id = f->mapped ? f->mapped->id : 0;
	event->waits = f->mapped && f->mapped->unmapped;
}

/* The same for the events of a changelog. */
static void fetch_event(struct cu_follower *f, int64_t above, struct cu_event *event)
{
	/* Who tries a dead letter again has that one event. */
	f->change = f->changes ? cu_changes_event(f->changes, above) : NULL;
	event->id = f->change ? f->change->sequence : 0;
}

bool cu_perform_fetch(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (f->changes || f->mapper) {
		if (f->changes)
			fetch_event(f, action->lo, event);
		else
			fetch_mapped(f, action->lo, event);
		event->kind = event->id ? CU_EVENT_ROW : CU_EVENT_END;
		return true;
	}
	cu_source_fetch_end(&f->rows);
	cu_source_fetch_begin(&f->rows, action->lo, action->hi);
	if (cu_source_fetch_next(&f->rows, &event->id, &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->kind = event->id ? CU_EVENT_ROW : CU_EVENT_END;
	return true;
}

/* Foreign code may have ended the transaction: INSERT OR ROLLBACK, RAISE(ROLLBACK), an interrupt. True:
 * it has, and f->fault says so. */
static bool transaction_gone(struct cu_follower *f)
{
	if (cu_conn_in_transaction(f->writer))
		return false;
	cu_error_set(&f->fault, CATCHUP_CONSUMER, 0,
		"its SQL rolled the whole transaction back (OR ROLLBACK, RAISE(ROLLBACK)); "
		"nothing of the batch was kept");
	return true;
}

static inline int judge(struct cu_follower *f, const char *function, int result)
{
	result = cu_context_result(&f->context, function, result);
	/* C code need not look at what SQLite returned to it. */
	if (result != CATCHUP_ROW_FAILED && f->writer->guard.denied[0] != '\0')
		result = catchup_fail(
			&f->context.public, SQLITE_AUTH, "%s took no notice of it", function);
	if (result == CATCHUP_ROW_FAILED)
		cu_perform_take_failure(f);
	else if (transaction_gone(f))
		result = CATCHUP_ROW_FAILED;
	return result;
}

int cu_perform_call_end(struct cu_follower *f, const char *function, int result)
{
	cu_conn_guard_leave(f->writer);
	return judge(f, function, result);
}

int cu_perform_call_batch(struct cu_follower *f, const char *name,
	int (*function)(struct catchup_context *, void *))
{
	if (!function)
		return transaction_gone(f) ? CATCHUP_ROW_FAILED : CATCHUP_ROW_APPLIED;
	cu_perform_call_begin(f);
	return cu_perform_call_end(f, name, function(&f->context.public, f->state));
}

/*
 * Waits in line without a read transaction: those of a whole line would keep the log from being cut.
 * The row in hand is fetched again afterwards; a row that was deleted meanwhile is asked for anew.
 */
static int take_turn(struct cu_follower *f, struct catchup_error *error)
{
	bool fetching = f->rows.fetching;
	int64_t id;
	int rc;

	if (cu_turn_try(f))
		return CATCHUP_OK;
	cu_source_fetch_end(&f->rows);
	cu_turn_take(f);
	if (!fetching || f->plan.row == 0)
		return CATCHUP_OK;
	cu_source_fetch_begin(&f->rows, f->plan.seen, f->plan.available);
	rc = cu_source_fetch_next(&f->rows, &id, error);
	if (rc == CATCHUP_OK && id != f->plan.row)
		rc = cu_error_set(error, CATCHUP_LOCKED, 0,
			"row %lld was deleted while it waited for its turn", (long long)f->plan.row);
	return rc;
}

/* The row in hand is to be mapped: the threads left it alone, or it has failed and is tried again. */
static bool is_to_map(const struct cu_follower *f)
{
	return f->mapped && f->mapped->unmapped && f->plan.park == 0;
}

/* Writes down that the row is in hand. A `map` may take long, so it does not have the turn. */
static int mark(struct cu_follower *f, const struct cu_action *action, bool *lost, struct cu_event *event)
{
	int rc = cu_ledger_mark(
		&f->ledger, action->id, action->attempts, f->plan.fence, lost, &f->fault);

	event->marked = rc == CATCHUP_OK && !*lost;
	if (!event->marked || !is_to_map(f))
		return rc;
	cu_turn_give(f, 0);
	rc = cu_mapper_map_again(f->mapper, f->mapped, &f->fault);
	return rc == CATCHUP_OK ? take_turn(f, &f->fault) : rc;
}

bool cu_perform_begin(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	bool lost = false;
	int rc = CATCHUP_OK;

	cu_trouble_note_state(f, CATCHUP_STATE_RUNNING);
	if (action->id == 0 && is_to_map(f))
		rc = cu_mapper_map_again(f->mapper, f->mapped, &f->fault);
	if (rc == CATCHUP_OK)
		rc = take_turn(f, &f->fault);
	if (rc == CATCHUP_OK && action->id != 0)
		rc = mark(f, action, &lost, event);
	if (rc == CATCHUP_OK && lost) {
		event->kind = CU_EVENT_LOST;
		return true;
	}
	if (rc == CATCHUP_OK)
		rc = cu_conn_begin(f->writer, &f->fault);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_load(&f->ledger, &event->watermark, &f->fault);
	if (rc != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->now_ns = cu_os_now_ns();
	event->hold_ns = cu_turn_hold_ns(f);
	cu_conn_limit(f->writer, cu_perform_limit_ns(f));
	event->kind = CU_EVENT_BEGUN;
	if (event->watermark != f->plan.watermark || f->plan.park)
		return true;
	if (f->policy.key[0] != '\0' &&
		cu_ledger_has_dead_keys(&f->ledger, &f->keys_parked, &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (cu_perform_call_batch(f, "batch_begin", f->definition->table.batch_begin) == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, false, 0);
	return true;
}

/* A row that `map` has seen: `apply` writes its result. */
static bool deliver_mapped(struct cu_follower *f, struct cu_event *event)
{
	struct cu_mapped_row *row = f->mapped;
	int result = CATCHUP_ROW_PASSED;
	bool parked = false;

	if (f->keys_parked && cu_perform_park_behind(f, row->id, &parked) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (parked) {
		event->outcome = CU_OUTCOME_PARKED;
		fetch_mapped(f, row->id, event);
		event->kind = CU_EVENT_DELIVERED;
		return true;
	}
	if (row->failed) {
		/* The next try maps it once more. */
		row->unmapped = true;
		cu_error_set(&f->fault, cu_perform_failure_code(row->code), row->code, "%s",
			row->text ? row->text : "map failed");
		return cu_perform_fault(f, event, true, row->id);
	}
	if (!row->passed) {
		cu_perform_call_begin(f);
		result = cu_perform_call_end(f, "apply",
			f->definition->table.apply(&f->context.public, f->state, row->id, row->result));
		if (result == CATCHUP_ROW_FAILED)
			return cu_perform_fault(f, event, true, row->id);
	}
	event->outcome = result == CATCHUP_ROW_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
	fetch_mapped(f, row->id, event);
	event->kind = CU_EVENT_DELIVERED;
	return true;
}

static bool deliver_event(struct cu_follower *f, struct cu_event *event)
{
	struct cu_change *change = f->change;
	bool parked = false;
	int result;

	if (f->keys_parked && cu_perform_park_behind(f, change->sequence, &parked) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (parked) {
		event->outcome = CU_OUTCOME_PARKED;
		fetch_event(f, change->sequence, event);
		event->kind = CU_EVENT_DELIVERED;
		return true;
	}
	cu_perform_call_begin(f);
	result = cu_perform_call_end(
		f, "event", f->definition->table.event(&f->context.public, f->state, &change->event));
	if (result == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, true, change->sequence);
	event->outcome = result == CATCHUP_ROW_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
	fetch_event(f, change->sequence, event);
	event->kind = CU_EVENT_DELIVERED;
	return true;
}

/* The row in hand comes behind one of the same key that is a dead letter: so it is one, too. */
static bool deliver_parked(struct cu_follower *f, struct cu_event *event)
{
	if (cu_source_fetch_next(&f->rows, &event->id, &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->outcome = CU_OUTCOME_PARKED;
	event->kind = CU_EVENT_DELIVERED;
	return true;
}

/* The row that the statement stands on; the guard is up for all of a run. */
static inline int call_row(struct cu_follower *f, sqlite3_stmt *row)
{
	cu_context_begin_call(&f->context);
	cu_conn_guard_renew(f->writer);
	return judge(f, "row", f->definition->table.row(&f->context.public, f->state, row));
}

/* Whether a row function has stepped the statement, so that rows would be skipped. How much the statement has
 * done since the row before costs less to ask than where it stands: if as much as when it was asked that last,
 * it has taken one step, which was ours. */
static inline bool has_moved(struct cu_follower *f, sqlite3_stmt *row, int64_t id, int *usual)
{
	int done = sqlite3_stmt_status(row, SQLITE_STMTSTATUS_VM_STEP, 1);

	if (done == *usual)
		return false;
	*usual = done;
	if (sqlite3_column_int64(row, f->rows.id_index) == id)
		return false;
	cu_error_set(&f->fault, CATCHUP_CONSUMER, 0,
		"row: it has stepped the statement that it was given, so that rows would be skipped");
	return true;
}

/* The row in hand and those that may follow without asking the plan: what is asked of a connection is
 * asked once for all of them. */
static bool deliver_rows(struct cu_follower *f, struct cu_event *event)
{
	struct cu_plan_run run = cu_plan_run(&f->plan, event->stopping);
	sqlite3_stmt *row = cu_source_row(&f->rows);
	bool foreign = !f->definition->sql;
	int64_t next = 0;
	int result, rc, usual = 0;

	/* Behind a dead letter each row is looked at. */
	if (f->keys_parked)
		run.most = 0;
	cu_conn_guard_enter(f->writer);
	for (;;) {
		rc = CATCHUP_OK;
		result = call_row(f, row);
		if (foreign && result != CATCHUP_ROW_FAILED && has_moved(f, row, run.row, &usual))
			result = CATCHUP_ROW_FAILED;
		if (result != CATCHUP_ROW_FAILED)
			rc = cu_source_fetch_next(&f->rows, &next, &f->fault);
		if (result == CATCHUP_ROW_FAILED || rc != CATCHUP_OK || !cu_plan_run_goes_on(&run, next))
			break;
		run.rows++;
		run.passed += result == CATCHUP_ROW_PASSED;
		run.seen = run.row;
		run.row = next;
	}
	cu_conn_guard_leave(f->writer);
	cu_plan_ran(&f->plan, &run);
	if (result == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, true, run.row);
	if (rc != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->outcome = result == CATCHUP_ROW_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
	event->id = next;
	event->kind = CU_EVENT_DELIVERED;
	if (cu_plan_wants_clock(&f->plan))
		event->now_ns = cu_os_now_ns();
	return true;
}

static bool deliver_row(struct cu_follower *f, struct cu_event *event)
{
	bool parked = false;

	if (f->keys_parked && cu_perform_park_behind(f, f->plan.row, &parked) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	return parked ? deliver_parked(f, event) : deliver_rows(f, event);
}

bool cu_perform_deliver(struct cu_follower *f, struct cu_event *event)
{
	for (;;) {
		if (f->change)
			deliver_event(f, event);
		else if (f->mapper)
			deliver_mapped(f, event);
		else
			deliver_row(f, event);
		if (!cu_plan_goes_on(&f->plan, event))
			return true;
		if (cu_plan_wants_clock(&f->plan))
			event->now_ns = cu_os_now_ns();
	}
}

/* Calls `range`. Returns what it said; FAILED: in f->fault. */
static int call_range(struct cu_follower *f, int64_t lo, int64_t hi)
{
	cu_perform_call_begin(f);
	return cu_perform_call_end(
		f, "range", f->definition->table.range(&f->context.public, f->state, lo, hi));
}

bool cu_perform_apply(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	int64_t row = f->plan.alone ? f->plan.row : 0;
	int64_t lo = action->lo, parked = 0;

	while (lo < action->hi) {
		int64_t hi = action->hi;

		if (f->keys_parked && cu_perform_cut_parked(f, lo, hi, &parked) != CATCHUP_OK)
			return cu_perform_fault(f, event, false, 0);
		if (parked != 0)
			hi = parked - 1;
		if (hi > lo && call_range(f, lo, hi) == CATCHUP_ROW_FAILED)
			return cu_perform_fault(f, event, true, row);
		event->rows += parked != 0;
		lo = parked != 0 ? parked : hi;
	}
	event->kind = CU_EVENT_APPLIED;
	return true;
}

/* Everything that goes into the transaction beside the results. Code, or OK with *lost. */
static int write_ledger(struct cu_follower *f, const struct cu_action *action, bool *lost)
{
	const struct cu_plan_counts *counts = &f->plan.counts;
	const struct cu_counts add = {counts->offered, counts->applied, counts->passed,
		counts->parked, counts->retries, counts->vanished, action->in_hand};
	int64_t id, hash;
	int rc;

	rc = cu_ledger_save(
		&f->ledger, action->lo, action->hi, f->plan.fence, &add, lost, &f->fault);
	if (rc != CATCHUP_OK || *lost)
		return rc;
	if (f->separate && cu_perform_has_table(f)) {
		rc = cu_source_fingerprint(&f->range, action->hi, &id, &hash, &f->fault);
		if (rc == CATCHUP_OK)
			rc = cu_ledger_save_mark(&f->ledger, id, hash, &f->fault);
		if (rc != CATCHUP_OK)
			return rc;
	}
	if (action->unmark)
		rc = cu_ledger_unmark(&f->ledger, &f->fault);
	if (rc == CATCHUP_OK && action->ends_care)
		rc = cu_ledger_end_care(&f->ledger, &f->fault);
	if (rc == CATCHUP_OK)
		rc = cu_trouble_clear_with(f);
	if (rc == CATCHUP_OK && action->renew)
		rc = cu_ledger_renew_lease(
			&f->ledger, f->plan.fence, f->plan.config.lease_ns, lost, &f->fault);
	return rc;
}

void cu_perform_wake_chain(struct cu_follower *f)
{
	for (struct cu_reader *r = f->runtime->readers; r; r = r->next) {
		if (!r->spec.table || !cu_file_same(&r->id, &f->file->id))
			continue;
		for (size_t i = 0; i < f->writer->guard.n_writes; i++) {
			if (sqlite3_stricmp(r->spec.table, f->writer->guard.writes[i]) == 0) {
				cu_reader_tell(r);
				break;
			}
		}
	}
}

static void note_commit(struct cu_follower *f, const struct cu_action *action)
{
	const struct cu_plan_counts *add = &f->plan.counts;

	cu_mutex_lock(&f->mu);
	f->progress.watermark = action->hi;
	f->progress.counts.offered += add->offered;
	f->progress.counts.applied += add->applied;
	f->progress.counts.passed += add->passed;
	f->progress.counts.parked += add->parked;
	f->progress.counts.retries += add->retries;
	f->progress.counts.vanished += add->vanished;
	f->progress.batches++;
	f->progress.updated_ms = cu_os_wall_ms();
	cu_mutex_unlock(&f->mu);
	cu_trouble_cleared(f);
	/* In this order: who finds the watermark reached knows of the commit, and that a chain has more
	 * to do. */
	atomic_fetch_add(&f->runtime->commits, 1);
	atomic_store(&f->watermark, action->hi);
	cu_wait_tell(f, action->hi);
	if (add->vanished > 0)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"%lld of the rows up to %lld were deleted before they were read, so they were not "
			"processed", (long long)add->vanished, (long long)action->hi);
}

bool cu_perform_commit(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	bool lost = false;

	cu_source_fetch_end(&f->rows);
	if (!f->plan.park &&
		cu_perform_call_batch(f, "batch_end", f->definition->table.batch_end) == CATCHUP_ROW_FAILED)
		return cu_perform_fault(f, event, false, 0);
	cu_conn_limit(f->writer, CU_FOREVER);
	if (write_ledger(f, action, &lost) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (lost) {
		cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
			"another process has moved the watermark from %lld; rolling back and going on "
			"from where it is",
			(long long)action->lo);
		event->kind = CU_EVENT_LOST;
		return true;
	}
	if (cu_conn_commit(f->writer, &f->fault) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	event->now_ns = cu_os_now_ns();
	note_commit(f, action);
	cu_perform_wake_chain(f);
	cu_turn_give(f, event->now_ns - f->plan.began_ns);
	if (f->changes) {
		f->change = NULL;
		cu_changes_release(f->changes, action->hi);
	}
	if (f->mapper) {
		f->mapped = NULL;
		cu_mapper_release(f->mapper, action->hi);
	}
	event->kind = CU_EVENT_COMMITTED;
	return true;
}

bool cu_perform_abort(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	cu_source_fetch_end(&f->rows);
	if (f->writer) {
		cu_conn_limit(f->writer, CU_FOREVER);
		cu_conn_rollback(f->writer);
		/* A connection that failed is not written to any more. A mark that cannot be taken back
		 * stands for as long as nobody can write. */
		if (action->unmark && cu_trouble_may_write(f))
			cu_ledger_mark_back(&f->ledger, f->plan.fence, NULL);
	}
	cu_turn_give(f, 0);
	event->kind = CU_EVENT_DONE;
	return true;
}
