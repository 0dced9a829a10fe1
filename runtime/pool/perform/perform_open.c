/* SPDX-License-Identifier: MIT */
/*
 * perform_open.c - a follower's connections, its lease, and the watermark it starts from.
 */
#include "pool/perform/perform.h"
#include "pool/perform/share.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One wait inside BEGIN for another process. The plan adds them up, and says so meanwhile. */
#define BUSY_SLICE_MS 500

#define FOLLOWER_CACHE_KIB 2048

/* Where nothing is read twice: rows in the order of their ids, and the newest one's fingerprint. The pages
 * behind would only be memory that grows with the source. */
#define WALK_CACHE_KIB 256

/* ---- opening and closing ------------------------------------------------------------------- */

/* The guard goes with its connection; what it has seen is kept. Without memory it is not. */
static void keep_written(struct cu_follower *f)
{
	struct cu_guard *guard = f->writer ? &f->writer->guard : NULL;
	size_t new = guard ? guard->n_writes : 0;
	char **grown = new ? realloc(f->written, (f->n_written + new) * sizeof(*grown)) : NULL;

	if (!grown)
		return;
	f->written = grown;
	for (size_t i = 0; i < new; i++) {
		size_t k = 0;

		while (k < f->n_written && sqlite3_stricmp(f->written[k], guard->writes[i]) != 0)
			k++;
		if (k < f->n_written)
			continue;
		f->written[f->n_written++] = guard->writes[i];
		guard->writes[i] = NULL;
	}
}

static void close_consumer(struct cu_follower *f)
{
	if (f->consumer_open) {
		cu_conn_guard_enter(f->writer);
		if (f->definition->table.close)
			f->definition->table.close(&f->context.public, f->state);
		cu_conn_guard_leave(f->writer);
		f->consumer_open = false;
	}
	f->state = NULL;
}

void cu_follower_close(struct cu_follower *f)
{
	cu_share_seat(f);
	/* What its first `open` has made for all threads is there until their last call. */
	cu_mapper_destroy(f->mapper);
	f->mapper = NULL;
	f->mapped = NULL;
	close_consumer(f);
	f->change = NULL;
	cu_changes_destroy(f->changes);
	f->changes = NULL;
	cu_source_close(&f->rows);
	cu_source_close(&f->range);
	f->ledger = (struct cu_ledger){0};
	keep_written(f);
	cu_share_close(&f->fetcher, f);
	cu_share_close(&f->writer, f);
	f->memory_given_back = false;
}

static int open_connections(struct cu_follower *f, struct catchup_error *error)
{
	struct catchup *c = f->runtime;
	struct cu_conn_options options = {
		.role = CU_ROLE_WRITER,
		.main = f->file->path,
		.source = f->separate ? f->source_path : NULL,
		.main_id = &f->file->id,
		.source_id = f->reader ? &f->reader->id : NULL,
		.synchronous = c->options.synchronous,
		.busy_ms = c->options.busy_ms < BUSY_SLICE_MS ? c->options.busy_ms : BUSY_SLICE_MS,
		.cache_kib = FOLLOWER_CACHE_KIB,
		.source_cache_kib = f->definition->table.range ? 0 : WALK_CACHE_KIB,
		.logger = &c->logger,
		.stopping = &c->stopping,
	};
	struct cu_source_spec spec;
	int rc;

	cu_setup_spec(f, &spec);
	rc = cu_share_open(&f->writer, f, &options, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_ledger_open(&f->ledger, f->writer, f->definition->name, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (spec.table) {
		rc = cu_source_open(&f->range, f->writer, &spec, error);
		if (rc != CATCHUP_OK)
			return rc;
	}
	if (f->definition->table.range || f->definition->table.event)
		return CATCHUP_OK;
	options.role = CU_ROLE_FETCH;
	options.source_cache_kib = f->definition->next ? FOLLOWER_CACHE_KIB : WALK_CACHE_KIB;
	if (!f->separate)
		options.cache_kib = options.source_cache_kib;
	rc = cu_share_open(&f->fetcher, f, &options, error);
	if (rc != CATCHUP_OK)
		return rc;
	return cu_source_open(&f->rows, f->fetcher, &spec, error);
}

static int open_consumer(struct cu_follower *f, struct catchup_error *error)
{
	const struct catchup_consumer *table = &f->definition->table;
	int result = CATCHUP_ROW_APPLIED;

	cu_context_init(&f->context, f->definition, &f->runtime->logger, &f->runtime->stopping,
		f->writer->db, 0);
	f->context.calls = &f->calls[0];
	if (table->open) {
		cu_context_begin_call(&f->context);
		cu_conn_guard_enter(f->writer);
		result = table->open(&f->context.public, &f->state);
		cu_conn_guard_leave(f->writer);
		result = cu_context_result(&f->context, "open", result);
	}
	if (result == CATCHUP_ROW_FAILED) {
		cu_perform_take_failure(f);
		if (f->fault.code == CATCHUP_CONSUMER)
			f->fault.code = CATCHUP_CONFIG;
		*error = f->fault;
		return error->code;
	}
	f->consumer_open = true;
	result = cu_perform_check_key(f, error);
	if (result != CATCHUP_OK)
		return result;
	if (f->definition->check_columns) {
		cu_context_begin_call(&f->context);
		result = f->definition->check_columns(
			&f->context.public, f->state, cu_source_row(&f->rows));
		if (cu_context_result(&f->context, "check_columns", result) != CATCHUP_ROW_APPLIED)
			return cu_error_set(error, CATCHUP_CONFIG, f->context.fail_code, "%s",
				f->context.fail_text);
	}
	return CATCHUP_OK;
}

/* Some messages begin with the consumer's name, others only with what it could not do. */
static void name_fault(struct cu_follower *f)
{
	char prefix[256];

	snprintf(prefix, sizeof(prefix), "consumer '%.200s': ", f->definition->name);
	if (strncmp(f->fault.message, prefix, strlen(prefix)) != 0)
		cu_error_prefix(&f->fault, "%s", prefix);
}

/* The connections, and the consumer on them. */
static int open_both(struct cu_follower *f, struct catchup_error *error)
{
	int rc = open_connections(f, error);

	return rc == CATCHUP_OK ? open_consumer(f, error) : rc;
}

bool cu_perform_open(struct cu_follower *f, struct cu_event *event)
{
	int rc;

	cu_follower_close(f);
	rc = open_both(f, &f->fault);
	/* Known before any of it has run. */
	if (rc == CATCHUP_OK && f->writer->guard.temporary && cu_share_is_common(f->writer)) {
		f->keeps_temporary = true;
		cu_follower_close(f);
		rc = open_both(f, &f->fault);
	}
	if (rc == CATCHUP_OK)
		f->writer->guard.common = cu_share_is_common(f->writer);
	if (rc == CATCHUP_OK && f->definition->table.event && !f->only_letters)
		rc = cu_changes_create(&f->changes, f, &f->fault);
	if (rc == CATCHUP_OK && f->definition->table.map)
		rc = cu_mapper_create(&f->mapper, f, f->definition->workers, &f->fault);
	if (rc != CATCHUP_OK) {
		bool told;

		name_fault(f);
		told = cu_perform_fault(f, event, false, 0);

		cu_follower_close(f);
		return told;
	}
	f->opened_once = true;
	event->kind = CU_EVENT_OPENED;
	return true;
}

int cu_perform_try_open(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error)
{
	int rc;

	f->writer = results;
	rc = open_consumer(f, &f->fault);
	if (rc != CATCHUP_OK) {
		name_fault(f);
		if (error)
			*error = f->fault;
	}
	close_consumer(f);
	f->writer = NULL;
	return rc;
}

/* ---- lease and watermark ------------------------------------------------------------------- */

/* A lease was taken, who had it before is gone without a word, or not. That is stored nowhere any more: it
 * is kept until the plan knows, also when that takes a second lease, unless somebody had one in between. */
static void note_gone(struct cu_follower *f, bool died, const char *who, int64_t fence)
{
	/* Each lease has the fence after the one before. */
	if (died)
		f->gone_fence = fence - 1;
	else if (fence != f->taken_fence + 1)
		f->gone_fence = 0;
	f->taken_fence = fence;
	if (died)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"process %s, which ran it, is gone without a word; rows that it may have had in "
			"hand come one by one", who);
}

/* What is known about a process that had the lease before. */
static int look_back(struct cu_follower *f, struct cu_event *event)
{
	struct cu_plan_past *past = &event->past;
	bool died = f->gone_fence != 0;
	struct cu_attempt attempt;
	bool empty;
	int rc = cu_ledger_load_attempt(&f->ledger, &attempt, &f->fault);

	past->crashed = died;
	past->in_hand = attempt.in_hand;
	past->marked = attempt.row;
	past->marked_by_it = died && attempt.fence == f->gone_fence;
	past->attempts = attempt.attempts;
	if (past->marked_by_it && attempt.came_back && past->attempts > 0)
		past->attempts--;
	if (rc == CATCHUP_OK && died && f->range.conn)
		rc = cu_source_newest(&f->range, &past->newest, &empty, &f->fault);
	return rc;
}

/* Which row was written down as in hand by who is gone. */
static void name_row(struct cu_follower *f, const struct cu_plan_past *past)
{
	if (past->marked_by_it && past->attempts > 0 && past->marked > 0)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"row %lld was in hand at %u crash%s; at %u its error policy decides about it",
			(long long)past->marked, past->attempts, past->attempts == 1 ? "" : "es",
			CU_PLAN_CRASHES_MAX);
}

bool cu_perform_lease(struct cu_follower *f, struct cu_event *event)
{
	int64_t life_ns = f->plan.config.lease_ns;
	char other[sizeof(f->progress.owner)] = "";
	int64_t wait_ns = 0;
	int64_t watermark;
	bool died;
	int rc;

	cu_turn_take(f);
	rc = cu_ledger_take_lease(&f->ledger, &f->runtime->owner, life_ns, &event->fence, other,
		sizeof(other), &wait_ns, &died, &f->fault);
	if (rc == CATCHUP_OK && event->fence != 0) {
		note_gone(f, died, other, event->fence);
		rc = look_back(f, event);
	}
	cu_turn_give(f, 0);
	if (rc != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	cu_mutex_lock(&f->mu);
	memcpy(f->progress.owner, event->fence ? f->runtime->owner.name : other, sizeof(other));
	cu_mutex_unlock(&f->mu);
	if (event->fence != 0) {
		f->waits_for_lease = false;
		/* What it read when it was opened first may be long past. */
		if (!f->consumer_open && open_consumer(f, &f->fault) != CATCHUP_OK) {
			name_fault(f);
			return cu_perform_fault(f, event, false, 0);
		}
		name_row(f, &event->past);
		f->gone_fence = 0;
		event->kind = CU_EVENT_LEASED;
		return true;
	}
	if (!f->waits_for_lease)
		cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
			"is run by process %s; waiting until it ends", other);
	f->waits_for_lease = true;
	/* One who does not run keeps nothing that the other process may need: no file open, and no lock
	 * of the consumer's own. */
	close_consumer(f);
	if (f->changes)
		cu_changes_stand_by(f->changes);
	/* Who waits for this consumer is told how far the other process gets with it. */
	if (cu_ledger_load(&f->ledger, &watermark, NULL) == CATCHUP_OK) {
		atomic_store(&f->watermark, watermark);
		atomic_store(&f->placed, 1);
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

	if (!f->separate || !cu_perform_has_table(f))
		return CATCHUP_OK;
	rc = cu_ledger_load_mark(&f->ledger, &id, &hash, &known, error);
	if (rc != CATCHUP_OK || !known || id == 0)
		return rc;
	rc = cu_source_fingerprint_of(&f->range, id, &found, &now_hash, error);
	if (rc != CATCHUP_OK || !found || now_hash == hash)
		return rc;
	return cu_error_set(error, CATCHUP_BACKWARDS, 0,
		"row %lld of source '%.200s' is not the row that was processed: the source was "
		"restored from a copy or lost its newest rows, and results in '%.100s' may hold rows "
		"that no longer exist; or it was changed since, and a reset to %lld goes on behind it",
		(long long)id, f->definition->source, f->file->path, (long long)id);
}

static void say_begin(struct cu_follower *f, int64_t watermark)
{
	const char *source = f->definition->source;

	cu_log(&f->runtime->logger, CATCHUP_LOG_INFO, f->definition->name,
		"follows %s%.200s%s; its watermark is %lld", source ? "'" : "",
		source ? source : "its own queries", source ? "'" : "", (long long)watermark);
}

bool cu_perform_load(struct cu_follower *f, struct cu_event *event)
{
	int rc = cu_setup_check_registered(f, &f->fault);

	if (rc == CATCHUP_OK)
		rc = cu_ledger_load(&f->ledger, &event->watermark, &f->fault);
	if (rc == CATCHUP_OK) {
		atomic_store(&f->watermark, event->watermark);
		rc = check_mark(f, &f->fault);
	}
	if (rc == CATCHUP_OK)
		rc = cu_trouble_begin(f);
	if (rc != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	cu_mutex_lock(&f->mu);
	f->progress.watermark = event->watermark;
	if (!f->started)
		f->progress.first = event->watermark;
	cu_mutex_unlock(&f->mu);
	if (!f->started)
		say_begin(f, event->watermark);
	f->started = true;
	/* Who waits may have looked before: a watermark that has nothing to do never commits. */
	cu_park_wake(&f->runtime->progress);
	event->kind = CU_EVENT_LOADED;
	return true;
}

/* When another consumer of the file, which keeps all leases in it renewed, did so last; 0: there is none,
 * or it has missed its time. */
static int64_t kept_renewed(const struct cu_follower *f, int64_t now_ns, int64_t life_ns)
{
	int64_t renewed_ns = atomic_load(&f->file->renewed_ns);

	return atomic_load(&f->file->keeper) != f && now_ns - renewed_ns < life_ns / 5 * 2 ? renewed_ns : 0;
}

/* In the turn: drops the leases that followers of the file could not drop when they ended. What fails again
 * is tried with the next renewal. */
static void drop_left(struct cu_follower *f)
{
	const struct catchup *c = f->runtime;
	struct cu_file *file = f->file;

	if (atomic_exchange(&file->leases_left, 0) == 0)
		return;
	for (size_t i = 0; i < c->n_followers; i++) {
		struct cu_follower *other = c->followers[i];
		int64_t fence = atomic_load(&other->fence_left);

		if (fence == 0 || other->file != file)
			continue;
		if (cu_ledger_drop_lease_of(&f->ledger, other->definition->name, fence) == CATCHUP_OK)
			atomic_store(&other->fence_left, 0);
		else
			atomic_store(&file->leases_left, 1);
	}
}

/* One who had nothing to do since the last renewal rests. */
static void give_memory_back(struct cu_follower *f)
{
	cu_share_rest(f, f->batches_at_renewal == f->progress.batches);
	f->batches_at_renewal = f->progress.batches;
}

/* Only an idle consumer renews by itself; one that works does it with its commits. */
bool cu_perform_renew(struct cu_follower *f, struct cu_event *event)
{
	int64_t life_ns = f->plan.config.lease_ns;
	const struct catchup_error paused_by = f->fault;
	int64_t row = f->fault_row;
	struct cu_file *file = f->file;
	bool lost = false;
	int rc = CATCHUP_OK;

	/* Of a hundred that are idle one keeps the leases of all renewed. Who finds it at work does not wait
	 * for it: if it fails, there is time to ask again. */
	event->renewed_ns = kept_renewed(f, event->now_ns, life_ns);
	if (event->renewed_ns == 0 && atomic_exchange(&file->renewing, 1) == 0) {
		cu_turn_take(f);
		event->renewed_ns = kept_renewed(f, event->now_ns, life_ns);
		if (event->renewed_ns == 0) {
			drop_left(f);
			rc = cu_ledger_renew_all(&f->ledger, &f->runtime->owner, f->plan.fence,
				life_ns, &lost, &f->fault);
			if (rc == CATCHUP_OK && !lost) {
				atomic_store(&file->renewed_ns, event->now_ns);
				atomic_store(&file->keeper, f);
			}
		}
		cu_turn_give(f, 0);
		atomic_store(&file->renewing, 0);
	}
	if (rc != CATCHUP_OK) {
		cu_perform_fault(f, event, false, 0);
		/* A pause that goes on has its own reason. */
		if (event->fault == CU_FAULT_BUSY && f->plan.sleep_until_ns != 0) {
			f->fault = paused_by;
			f->fault_row = row;
		}
		return true;
	}
	give_memory_back(f);
	event->kind = lost ? CU_EVENT_LOST : CU_EVENT_DONE;
	return true;
}
