/* SPDX-License-Identifier: MIT */
/*
 * perform.c - performs what the plan asks for: the only place where consumer code runs, and where a
 * consumer's transaction begins and ends.
 *
 * A row's way: FETCH steps `next` on the read-only connection; BEGIN takes the turn and the write
 * lock; DELIVER calls the consumer under the guard; COMMIT writes the watermark into the same
 * savepoint and commits. Whatever fails on the way is turned into one FAULT event here.
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* No statement of a consumer runs longer than this under the write lock; a batch that does is
 * undone and halved. */
#define STATEMENT_DEADLINE_NS (5 * CU_NS_PER_S)

/* One wait inside BEGIN for another process. The plan adds them up, and says so meanwhile. */
#define BUSY_SLICE_MS 500

#define FOLLOWER_CACHE_KIB 2048

/* ---- faults ------------------------------------------------------------------------------- */

static enum cu_fault fault_of_error(const struct cu_follower *f, const struct catchup_error *error)
{
	switch (error->code) {
	case CATCHUP_NOMEM:
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
	if (error->detail == 0)
		return CU_FAULT_ROW;
	if ((error->detail & 0xff) == SQLITE_INTERRUPT)
		return atomic_load(&f->runtime->stopping) > 1 ? CU_FAULT_STOP : CU_FAULT_SLOW;
	return cu_fault_of(error->detail);
}

/* Turns f->fault into the event. row: the one that was being processed, 0 for none. */
static bool fault(struct cu_follower *f, struct cu_event *event, bool of_row, int64_t row)
{
	event->kind = CU_EVENT_FAULT;
	event->fault = fault_of_error(f, &f->fault);
	event->of_row = of_row;
	event->code = f->fault.code;
	if (of_row || (f->opened_once && (event->code == CATCHUP_CONFIG ||
		event->code == CATCHUP_USAGE)))
		event->code = CATCHUP_CONSUMER;
	f->fault.code = event->code;
	f->fault_row = row;
	event->now_ns = cu_os_now_ns();
	return true;
}

/* What the consumer's function said, into f->fault. */
static void take_failure(struct cu_follower *f)
{
	const struct cu_context *context = &f->context;
	enum cu_fault kind = context->fail_code ? cu_fault_of(context->fail_code) : CU_FAULT_ROW;
	int code = kind == CU_FAULT_ROW || kind == CU_FAULT_SLOW ? CATCHUP_CONSUMER
								  : cu_fault_code(kind);

	if (f->writer.guard.denied[0] != '\0')
		cu_error_set(&f->fault, CATCHUP_CONSUMER, context->fail_code,
			"not allowed: %s (%s)", f->writer.guard.denied, context->fail_text);
	else
		cu_error_set(&f->fault, code, context->fail_code, "%s", context->fail_text);
}

/* ---- opening and closing ------------------------------------------------------------------- */

void cu_follower_close(struct cu_follower *f)
{
	if (f->consumer_open) {
		cu_conn_guard_enter(&f->writer);
		if (f->definition->table.close)
			f->definition->table.close(&f->context.public, f->state);
		cu_conn_guard_leave(&f->writer);
		f->consumer_open = false;
	}
	f->state = NULL;
	f->mapped = NULL;
	cu_mapper_destroy(f->mapper);
	f->mapper = NULL;
	cu_source_close(&f->rows);
	cu_source_close(&f->range);
	cu_ledger_close(&f->ledger);
	cu_conn_close(&f->fetcher);
	cu_conn_close(&f->writer);
}

static int open_connections(struct cu_follower *f, struct catchup_error *error)
{
	struct catchup *c = f->runtime;
	struct cu_conn_options options = {
		.role = CU_ROLE_WRITER,
		.main = f->file->path,
		.source = f->separate ? f->source_path : NULL,
		.synchronous = c->options.synchronous,
		.busy_ms = c->options.busy_ms < BUSY_SLICE_MS ? c->options.busy_ms : BUSY_SLICE_MS,
		.cache_kib = FOLLOWER_CACHE_KIB,
		.logger = &c->logger,
		.stopping = &c->stopping,
	};
	struct cu_source_spec spec;
	int rc;

	cu_setup_spec(f, &spec);
	rc = cu_conn_open(&f->writer, &options, error);
	if (rc != CATCHUP_OK)
		return rc;
	f->writer.guard.consumer = f->definition->name;
	f->writer.guard.source = f->definition->source;
	f->writer.guard.source_attached = f->separate;
	rc = cu_ledger_open(&f->ledger, &f->writer, f->definition->name, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (spec.table) {
		rc = cu_source_open(&f->range, &f->writer, &spec, error);
		if (rc != CATCHUP_OK)
			return rc;
	}
	if (f->definition->table.range)
		return CATCHUP_OK;
	options.role = CU_ROLE_FETCH;
	rc = cu_conn_open(&f->fetcher, &options, error);
	if (rc != CATCHUP_OK)
		return rc;
	return cu_source_open(&f->rows, &f->fetcher, &spec, error);
}

static int open_consumer(struct cu_follower *f, struct catchup_error *error)
{
	const struct catchup_consumer *table = &f->definition->table;
	int result = CATCHUP_ROW_APPLIED;

	cu_context_init(&f->context, f->definition, &f->runtime->logger, &f->runtime->stopping,
		f->writer.db, 0);
	if (table->open) {
		cu_context_begin_call(&f->context);
		cu_conn_guard_enter(&f->writer);
		result = table->open(&f->context.public, &f->state);
		cu_conn_guard_leave(&f->writer);
		result = cu_context_result(&f->context, "open", result);
	}
	if (result == CATCHUP_ROW_FAILED) {
		take_failure(f);
		if (f->fault.code == CATCHUP_CONSUMER)
			f->fault.code = CATCHUP_CONFIG;
		*error = f->fault;
		return error->code;
	}
	f->consumer_open = true;
	if (f->definition->check_columns) {
		cu_context_begin_call(&f->context);
		result = f->definition->check_columns(
			&f->context.public, f->state, cu_source_row(&f->rows));
		if (result != CATCHUP_ROW_APPLIED)
			return cu_error_set(error, CATCHUP_CONFIG, f->context.fail_code, "%s",
				f->context.fail_text);
	}
	return CATCHUP_OK;
}

static bool perform_open(struct cu_follower *f, struct cu_event *event)
{
	int rc;

	cu_follower_close(f);
	rc = open_connections(f, &f->fault);
	if (rc == CATCHUP_OK)
		rc = open_consumer(f, &f->fault);
	if (rc == CATCHUP_OK && f->definition->table.map)
		rc = cu_mapper_create(&f->mapper, f, f->definition->workers, &f->fault);
	if (rc != CATCHUP_OK) {
		bool told = fault(f, event, false, 0);

		cu_follower_close(f);
		return told;
	}
	f->opened_once = true;
	event->kind = CU_EVENT_OPENED;
	return true;
}

/* ---- the turn ------------------------------------------------------------------------------ */

static void take_turn(struct cu_follower *f)
{
	if (!f->has_turn)
		cu_gate_enter(&f->file->gate);
	f->has_turn = true;
}

static void give_turn(struct cu_follower *f)
{
	if (f->has_turn)
		cu_gate_leave(&f->file->gate, 0);
	f->has_turn = false;
}

/* ---- lease and watermark ------------------------------------------------------------------- */

static bool perform_lease(struct cu_follower *f, struct cu_event *event)
{
	int64_t life_ns = f->plan.config.lease_ns;
	char other[sizeof(f->progress.owner)] = "";
	int64_t wait_ns = 0;
	int64_t watermark;
	int rc;

	take_turn(f);
	rc = cu_ledger_take_lease(&f->ledger, &f->owner, life_ns, &event->fence, other,
		sizeof(other), &wait_ns, &f->fault);
	give_turn(f);
	if (rc != CATCHUP_OK)
		return fault(f, event, false, 0);
	cu_mutex_lock(&f->mu);
	memcpy(f->progress.owner, event->fence ? f->owner.name : other, sizeof(other));
	cu_mutex_unlock(&f->mu);
	if (event->fence != 0) {
		f->waits_for_lease = false;
		event->kind = CU_EVENT_LEASED;
		return true;
	}
	if (!f->waits_for_lease)
		cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
			"is run by process %s; waiting until it ends", other);
	f->waits_for_lease = true;
	/* Who waits for this consumer is told how far the other process gets with it. */
	if (cu_ledger_load(&f->ledger, &watermark, NULL) == CATCHUP_OK) {
		atomic_store(&f->watermark, watermark);
		cu_park_wake(&f->runtime->progress);
	}
	event->kind = CU_EVENT_DENIED;
	event->wait_ns = wait_ns;
	return true;
}

/* A source restored from a copy, or cut back by a power failure, gives ids again for other rows. */
static int check_mark(struct cu_follower *f, struct catchup_error *error)
{
	int64_t id, hash, now_hash;
	bool known, found;
	int rc;

	if (!f->separate || !f->definition->source)
		return CATCHUP_OK;
	rc = cu_ledger_load_mark(&f->ledger, &id, &hash, &known, error);
	if (rc != CATCHUP_OK || !known || id == 0)
		return rc;
	rc = cu_source_fingerprint_of(&f->range, id, &found, &now_hash, error);
	if (rc != CATCHUP_OK || !found || now_hash == hash)
		return rc;
	return cu_error_set(error, CATCHUP_BACKWARDS, 0,
		"row %lld of source '%.200s' is not the row that was processed: the source was "
		"restored from a copy or lost its newest rows; results in '%.100s' may hold rows "
		"that no longer exist",
		(long long)id, f->definition->source, f->file->path);
}

static bool perform_load(struct cu_follower *f, struct cu_event *event)
{
	int rc = cu_ledger_load(&f->ledger, &event->watermark, &f->fault);

	if (rc == CATCHUP_OK)
		rc = check_mark(f, &f->fault);
	if (rc == CATCHUP_OK && !f->started) {
		const struct cu_trouble none = {.state = CATCHUP_STATE_RUNNING, .category = "",
			.message = ""};

		take_turn(f);
		rc = cu_ledger_save_trouble(&f->ledger, &none, &f->fault);
		give_turn(f);
	}
	if (rc != CATCHUP_OK)
		return fault(f, event, false, 0);
	f->started = true;
	atomic_store(&f->watermark, event->watermark);
	cu_mutex_lock(&f->mu);
	f->progress.watermark = event->watermark;
	cu_mutex_unlock(&f->mu);
	event->kind = CU_EVENT_LOADED;
	return true;
}

static bool perform_renew(struct cu_follower *f, struct cu_event *event)
{
	bool lost = false;
	int rc;

	take_turn(f);
	rc = cu_ledger_renew_lease(
		&f->ledger, f->plan.fence, f->plan.config.lease_ns, &lost, &f->fault);
	give_turn(f);
	if (rc != CATCHUP_OK)
		return fault(f, event, false, 0);
	event->kind = lost ? CU_EVENT_LOST : CU_EVENT_DONE;
	return true;
}

/* ---- ranges -------------------------------------------------------------------------------- */

/* The next range, out of the ring or, in id order, from the map threads. */
static bool take_range(struct cu_follower *f, struct cu_event *event, struct catchup_error *error)
{
	struct cu_ring_entry entry;

	if (f->mapper) {
		event->epoch = f->plan.epoch;
		event->rows = CU_ROWS_UNKNOWN;
		return cu_mapper_take(f->mapper, &event->lo, &event->hi, error);
	}
	if (!cu_ring_pop(f->ring, &entry))
		return false;
	event->lo = entry.range.lo;
	event->hi = entry.range.hi;
	event->rows = entry.range.rows;
	event->epoch = entry.range.epoch;
	if (atomic_exchange(&f->wants_room, 0))
		cu_reader_wake(f->reader);
	return true;
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
			return fault(f, event, false, 0);
		}
	}
	if (action->until_ns == 0 || event->now_ns >= action->until_ns) {
		event->kind = CU_EVENT_TIME;
		return true;
	}
	cu_follower_note(f, CATCHUP_STATE_CAUGHT_UP, NULL);
	f->wake_at_ns = action->until_ns;
	return false;
}

static bool perform_rewind(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (f->mapper)
		cu_mapper_rewind(f->mapper, action->lo, action->epoch);
	cu_mutex_lock(&f->mu);
	f->request = (struct cu_feed_request){
		.from = action->lo, .epoch = action->epoch, .asked = true};
	cu_mutex_unlock(&f->mu);
	cu_reader_wake(f->reader);
	event->kind = CU_EVENT_DONE;
	return true;
}

static bool perform_cut(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (cu_source_cut(&f->range, action->lo, action->hi, action->rows, &event->hi, &event->rows,
		    &f->fault) != CATCHUP_OK)
		return fault(f, event, false, 0);
	event->kind = CU_EVENT_CUT;
	return true;
}

/* ---- a batch ------------------------------------------------------------------------------- */

/* The first mapped row above an id into the event; 0 at the end of what is mapped. */
static void fetch_mapped(struct cu_follower *f, int64_t above, struct cu_event *event)
{
	f->mapped = cu_mapper_row(f->mapper, above);
	event->id = f->mapped ? f->mapped->id : 0;
}

static bool perform_fetch(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	if (f->mapper) {
		fetch_mapped(f, action->lo, event);
		event->kind = event->id ? CU_EVENT_ROW : CU_EVENT_END;
		return true;
	}
	cu_source_fetch_end(&f->rows);
	cu_source_fetch_begin(&f->rows, action->lo, action->hi);
	if (cu_source_fetch_next(&f->rows, &event->id, &f->fault) != CATCHUP_OK)
		return fault(f, event, false, 0);
	event->kind = event->id ? CU_EVENT_ROW : CU_EVENT_END;
	return true;
}

/* Calls one of the functions round a batch. */
static int call_batch(struct cu_follower *f, const char *name,
	int (*function)(struct catchup_context *, void *))
{
	int result;

	if (!function)
		return CATCHUP_ROW_APPLIED;
	cu_context_begin_call(&f->context);
	cu_conn_guard_enter(&f->writer);
	result = function(&f->context.public, f->state);
	cu_conn_guard_leave(&f->writer);
	result = cu_context_result(&f->context, name, result);
	if (result == CATCHUP_ROW_FAILED)
		take_failure(f);
	return result;
}

/* Foreign code may have ended the transaction: INSERT OR ROLLBACK, RAISE(ROLLBACK), an interrupt. */
static bool transaction_gone(struct cu_follower *f)
{
	if (cu_conn_in_transaction(&f->writer))
		return false;
	cu_error_set(&f->fault, CATCHUP_CONSUMER, 0,
		"its SQL rolled the whole transaction back (OR ROLLBACK, RAISE(ROLLBACK)); "
		"nothing of the batch was kept");
	return true;
}

static bool perform_begin(struct cu_follower *f, struct cu_event *event)
{
	int rc;

	cu_follower_note(f, CATCHUP_STATE_RUNNING, NULL);
	take_turn(f);
	rc = cu_conn_begin(&f->writer, &f->fault);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_load(&f->ledger, &event->watermark, &f->fault);
	if (rc != CATCHUP_OK)
		return fault(f, event, false, 0);
	event->now_ns = cu_os_now_ns();
	cu_conn_set_deadline(&f->writer, cu_deadline(event->now_ns, STATEMENT_DEADLINE_NS));
	event->kind = CU_EVENT_BEGUN;
	if (event->watermark != f->plan.watermark || f->plan.park)
		return true;
	if (call_batch(f, "batch_begin", f->definition->table.batch_begin) == CATCHUP_ROW_FAILED ||
		transaction_gone(f))
		return fault(f, event, false, 0);
	return true;
}

/* Remembers the row's key, in case it becomes a dead letter. */
static void keep_key(struct cu_follower *f, const unsigned char *key, int bytes)
{
	free(f->fault_key);
	f->fault_key = NULL;
	f->fault_key_bytes = 0;
	if (!key)
		return;
	f->fault_key = malloc((size_t)bytes + 1);
	if (!f->fault_key)
		return;
	memcpy(f->fault_key, key, (size_t)bytes);
	f->fault_key[bytes] = '\0';
	f->fault_key_bytes = (size_t)bytes;
}

/*
 * park-key: makes the row a dead letter when one with its key is there already. Returns a code;
 * *parked tells.
 */
static int park_behind(struct cu_follower *f, sqlite3_stmt *row, bool *parked)
{
	const unsigned char *key = NULL;
	int n = sqlite3_column_count(row), bytes = 0;
	int rc;

	*parked = false;
	for (int i = 0; i < n && !key; i++) {
		if (sqlite3_stricmp(sqlite3_column_name(row, i), f->policy.key) != 0)
			continue;
		key = sqlite3_column_text(row, i);
		bytes = sqlite3_column_bytes(row, i);
	}
	keep_key(f, key, bytes);
	if (!f->fault_key)
		return CATCHUP_OK;
	rc = cu_ledger_has_dead_key(&f->ledger, f->fault_key, f->fault_key_bytes, parked, &f->fault);
	if (rc != CATCHUP_OK || !*parked)
		return rc;
	return cu_ledger_add_dead(&f->ledger,
		&(struct cu_dead_letter){.id = f->plan.row,
			.key = f->fault_key,
			.key_bytes = f->fault_key_bytes,
			.message = "parked behind an earlier row with the same key"},
		&f->fault);
}

/* A row that `map` has seen: `apply` writes its result. */
static bool deliver_mapped(struct cu_follower *f, struct cu_event *event)
{
	struct cu_mapped_row *row = f->mapped;
	int result = CATCHUP_ROW_PASSED;

	/* A row that failed before is mapped once more: this is another attempt. */
	if (row->failed && f->mapped_failed == row->id)
		cu_mapper_map_again(f->mapper, row);
	if (row->failed) {
		f->mapped_failed = row->id;
		cu_error_set(&f->fault, row->code && cu_fault_of(row->code) != CU_FAULT_ROW
			? cu_fault_code(cu_fault_of(row->code)) : CATCHUP_CONSUMER, row->code,
			"%s", row->text ? row->text : "map failed");
		return fault(f, event, true, row->id);
	}
	if (!row->passed) {
		cu_context_begin_call(&f->context);
		cu_conn_guard_enter(&f->writer);
		result = f->definition->table.apply(
			&f->context.public, f->state, row->id, row->result);
		cu_conn_guard_leave(&f->writer);
		result = cu_context_result(&f->context, "apply", result);
		if (result == CATCHUP_ROW_FAILED) {
			take_failure(f);
			return fault(f, event, true, row->id);
		}
		if (transaction_gone(f))
			return fault(f, event, true, row->id);
	}
	event->outcome = result == CATCHUP_ROW_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
	fetch_mapped(f, row->id, event);
	event->kind = CU_EVENT_DELIVERED;
	return true;
}

static bool deliver_row(struct cu_follower *f, struct cu_event *event)
{
	sqlite3_stmt *row = cu_source_row(&f->rows);
	int64_t id = f->plan.row;
	bool parked = false;
	int result;

	if (f->policy.key[0] != '\0' && park_behind(f, row, &parked) != CATCHUP_OK)
		return fault(f, event, false, 0);
	if (parked) {
		event->outcome = CU_OUTCOME_PARKED;
	} else {
		cu_context_begin_call(&f->context);
		cu_conn_guard_enter(&f->writer);
		result = f->definition->table.row(&f->context.public, f->state, row);
		cu_conn_guard_leave(&f->writer);
		result = cu_context_result(&f->context, "row", result);
		if (result == CATCHUP_ROW_FAILED) {
			take_failure(f);
			return fault(f, event, true, id);
		}
		if (transaction_gone(f))
			return fault(f, event, true, id);
		event->outcome =
			result == CATCHUP_ROW_PASSED ? CU_OUTCOME_PASSED : CU_OUTCOME_APPLIED;
	}
	if (cu_source_fetch_next(&f->rows, &event->id, &f->fault) != CATCHUP_OK)
		return fault(f, event, false, 0);
	event->kind = CU_EVENT_DELIVERED;
	return true;
}

static bool perform_deliver(struct cu_follower *f, struct cu_event *event)
{
	return f->mapper ? deliver_mapped(f, event) : deliver_row(f, event);
}

static bool perform_apply(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	int64_t row = f->plan.alone ? f->plan.row : 0;
	int result;

	cu_context_begin_call(&f->context);
	cu_conn_guard_enter(&f->writer);
	result = f->definition->table.range(&f->context.public, f->state, action->lo, action->hi);
	cu_conn_guard_leave(&f->writer);
	result = cu_context_result(&f->context, "range", result);
	if (result == CATCHUP_ROW_FAILED) {
		take_failure(f);
		return fault(f, event, true, row);
	}
	if (transaction_gone(f))
		return fault(f, event, true, row);
	event->kind = CU_EVENT_APPLIED;
	return true;
}

static bool perform_park(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	const struct cu_dead_letter letter = {
		.id = action->id,
		.key = f->fault_key,
		.key_bytes = f->fault_key_bytes,
		.code = f->fault.detail,
		.message = f->fault.message,
		.attempts = action->attempts,
	};

	if (cu_ledger_add_dead(&f->ledger, &letter, &f->fault) != CATCHUP_OK)
		return fault(f, event, false, 0);
	cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
		"row %lld is parked in the dead letters after %u attempts: %s",
		(long long)action->id, (unsigned)action->attempts, f->fault.message);
	event->kind = CU_EVENT_DONE;
	return true;
}

/* Everything that goes into the transaction beside the results. Code, or OK with *lost. */
static int write_ledger(struct cu_follower *f, const struct cu_action *action, bool *lost)
{
	const struct cu_plan_counts *counts = &f->plan.counts;
	const struct cu_counts add = {counts->offered, counts->applied, counts->passed,
		counts->parked, counts->retries};
	int64_t id, hash;
	int rc;

	rc = cu_ledger_save(
		&f->ledger, action->lo, action->hi, f->plan.fence, &add, lost, &f->fault);
	if (rc != CATCHUP_OK || *lost)
		return rc;
	if (f->separate && f->definition->source) {
		rc = cu_source_fingerprint(&f->range, action->hi, &id, &hash, &f->fault);
		if (rc == CATCHUP_OK)
			rc = cu_ledger_save_mark(&f->ledger, id, hash, &f->fault);
		if (rc != CATCHUP_OK)
			return rc;
	}
	if (action->renew)
		rc = cu_ledger_renew_lease(
			&f->ledger, f->plan.fence, f->plan.config.lease_ns, lost, &f->fault);
	return rc;
}

/* Wakes the readers of what this consumer writes: a chain does not wait for a file notice. */
static void wake_chain(struct cu_follower *f)
{
	for (struct cu_reader *r = f->runtime->readers; r; r = r->next) {
		if (!r->spec.table || !cu_file_same(&r->id, &f->file->id))
			continue;
		for (size_t i = 0; i < f->writer.guard.n_writes; i++) {
			if (sqlite3_stricmp(r->spec.table, f->writer.guard.writes[i]) == 0) {
				cu_reader_wake(r);
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
	f->progress.batches++;
	f->progress.updated_ms = cu_os_wall_ms();
	cu_mutex_unlock(&f->mu);
	atomic_store(&f->watermark, action->hi);
	atomic_fetch_add(&f->runtime->commits, 1);
	cu_park_wake(&f->runtime->progress);
}

static bool perform_commit(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	bool lost = false;

	cu_source_fetch_end(&f->rows);
	if (!f->plan.park &&
		(call_batch(f, "batch_end", f->definition->table.batch_end) == CATCHUP_ROW_FAILED ||
			transaction_gone(f)))
		return fault(f, event, false, 0);
	cu_conn_set_deadline(&f->writer, CU_FOREVER);
	if (write_ledger(f, action, &lost) != CATCHUP_OK)
		return fault(f, event, false, 0);
	if (lost) {
		cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
			"another process has moved the watermark from %lld; rolling back and going on "
			"from where it is",
			(long long)action->lo);
		event->kind = CU_EVENT_LOST;
		return true;
	}
	if (cu_conn_commit(&f->writer, &f->fault) != CATCHUP_OK)
		return fault(f, event, false, 0);
	cu_checkpoint_after_commit(f->file, &f->writer);
	give_turn(f);
	if (f->mapper) {
		f->mapped = NULL;
		cu_mapper_release(f->mapper, action->hi);
	}
	wake_chain(f);
	note_commit(f, action);
	event->kind = CU_EVENT_COMMITTED;
	event->now_ns = cu_os_now_ns();
	return true;
}

static bool perform_abort(struct cu_follower *f, struct cu_event *event)
{
	cu_source_fetch_end(&f->rows);
	if (cu_conn_is_open(&f->writer)) {
		cu_conn_set_deadline(&f->writer, CU_FOREVER);
		cu_conn_rollback(&f->writer);
	}
	give_turn(f);
	event->kind = CU_EVENT_DONE;
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
		cu_follower_note(f, CATCHUP_STATE_PAUSED, &f->fault);
	f->wake_at_ns = action->until_ns;
	return false;
}

/* Writes why it stopped beside the watermark; when that fails too, the log has it. */
static void save_stop(struct cu_follower *f)
{
	const struct cu_trouble trouble = {
		.state = CATCHUP_STATE_STOPPED,
		.code = f->fault.code,
		.category = cu_fault_name(fault_of_error(f, &f->fault)),
		.row = f->fault_row,
		.message = f->fault.message,
	};

	if (f->fault.code == CATCHUP_LOCKED || !cu_conn_is_open(&f->writer))
		return;
	take_turn(f);
	cu_ledger_save_trouble(&f->ledger, &trouble, NULL);
	give_turn(f);
}

static void perform_stop(struct cu_follower *f, const struct cu_action *action)
{
	struct catchup_error told;

	if (action->stop_code != CATCHUP_OK) {
		f->fault.code = action->stop_code;
		save_stop(f);
		cu_follower_note(f, CATCHUP_STATE_STOPPED, &f->fault);
		told = f->fault;
		if (f->fault_row)
			cu_error_prefix(&told, "consumer '%.200s' stopped at row %lld (watermark "
				"%lld): ", f->definition->name, (long long)f->fault_row,
				(long long)f->plan.watermark);
		else
			cu_error_prefix(&told, "consumer '%.200s' stopped (watermark %lld): ",
				f->definition->name, (long long)f->plan.watermark);
		cu_runtime_note_error(f->runtime, &told);
	} else {
		cu_follower_note(f, CATCHUP_STATE_IDLE, NULL);
	}
	if (cu_conn_is_open(&f->writer) && f->plan.fence != 0) {
		take_turn(f);
		cu_ledger_drop_lease(&f->ledger, f->plan.fence, NULL);
		give_turn(f);
	}
	cu_follower_close(f);
	atomic_store(&f->ended, 1);
	cu_park_wake(&f->runtime->progress);
}

bool cu_follower_perform(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event)
{
	/* The clock is read for every action but DELIVER, where the plan says when. */
	int64_t now_ns = action->kind == CU_ACTION_DELIVER && !cu_plan_wants_clock(&f->plan)
		? event->now_ns : cu_os_now_ns();

	*event = (struct cu_event){.now_ns = now_ns,
		.stopping = atomic_load_explicit(&f->runtime->stopping, memory_order_relaxed) != 0};
	switch (action->kind) {
	case CU_ACTION_OPEN:
		return perform_open(f, event);
	case CU_ACTION_LEASE:
		return perform_lease(f, event);
	case CU_ACTION_LOAD:
		return perform_load(f, event);
	case CU_ACTION_WAIT:
		return perform_wait(f, action, event);
	case CU_ACTION_REWIND:
		return perform_rewind(f, action, event);
	case CU_ACTION_CUT:
		return perform_cut(f, action, event);
	case CU_ACTION_FETCH:
		return perform_fetch(f, action, event);
	case CU_ACTION_BEGIN:
		return perform_begin(f, event);
	case CU_ACTION_DELIVER:
		return perform_deliver(f, event);
	case CU_ACTION_APPLY:
		return perform_apply(f, action, event);
	case CU_ACTION_PARK:
		return perform_park(f, action, event);
	case CU_ACTION_COMMIT:
		return perform_commit(f, action, event);
	case CU_ACTION_ABORT:
		return perform_abort(f, event);
	case CU_ACTION_RENEW:
		return perform_renew(f, event);
	case CU_ACTION_SLEEP:
		return perform_sleep(f, action, event);
	case CU_ACTION_STOP:
		perform_stop(f, action);
		f->wake_at_ns = CU_FOREVER;
		return false;
	}
	cu_check_failed(__FILE__, __LINE__, "an action that nobody performs");
}
