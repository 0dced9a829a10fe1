/* SPDX-License-Identifier: MIT */
/*
 * perform.h - between the files that perform a follower's actions. Worker thread only.
 *
 * Each cu_perform_ACTION fills the event and returns true, or returns false when there is nothing to
 * say yet.
 */
#ifndef CU_POOL_PERFORM_H
#define CU_POOL_PERFORM_H

#include "pool/runtime.h"
#include "pool/perform/trouble.h"

/* No statement of a consumer runs longer than this beyond its batch's time under the write lock, in
 * processor time (struct cu_limit); a batch that does is undone and halved. A row that is mapped by a
 * thread of its own has as much for itself. */
#define CU_PERFORM_LIMIT_NS (5 * CU_NS_PER_S)
static inline int64_t cu_perform_limit_ns(const struct cu_follower *f)
{
	return f->plan.config.batch_ns + CU_PERFORM_LIMIT_NS;
}

/* Makes f->fault the event. row: the one that was being processed, 0 for none. Returns true. */
bool cu_perform_fault(struct cu_follower *f, struct cu_event *event, bool of_row, int64_t row);

/* Makes what the consumer's function said the fault in f->fault. */
void cu_perform_take_failure(struct cu_follower *f);

/* enum catchup_code for the SQLite code that a consumer's function failed with. */
int cu_perform_failure_code(int sqlite_code);

/* Where rows are read again by their id. */
static inline struct cu_source *cu_perform_rows(struct cu_follower *f)
{
	return f->definition->table.range ? &f->range : &f->rows;
}

/* park-key: whether the consumer's rows have the column. */
int cu_perform_check_key(struct cu_follower *f, struct catchup_error *error);
/* Makes the row a dead letter when one with its key is there already. A code, then f->fault is filled. */
int cu_perform_park_behind(struct cu_follower *f, int64_t id, bool *parked);
/* The same for the first such row of (lo, hi], which *id is: 0 when there is none. */
int cu_perform_cut_parked(struct cu_follower *f, int64_t lo, int64_t hi, int64_t *id);

/* Whether it follows a table (not a pair of queries, not a changelog). */
static inline bool cu_perform_has_table(const struct cu_follower *f)
{
	return f->definition->source && !f->definition->table.event;
}

enum cu_fault cu_perform_fault_of(const struct cu_follower *f, const struct catchup_error *error);

/* Round each call of a function of the consumer's on its writer. Returns what that has returned; FAILED also
 * where it says that all is well, but has tried what is refused, or has ended the transaction. FAILED: in
 * f->fault. */
static inline void cu_perform_call_begin(struct cu_follower *f)
{
	cu_context_begin_call(&f->context);
	cu_conn_guard_enter(f->writer);
}
int cu_perform_call_end(struct cu_follower *f, const char *function, int result);

/* The same for one of the functions round a batch, NULL for none. */
int cu_perform_call_batch(struct cu_follower *f, const char *name,
	int (*function)(struct catchup_context *, void *));

/* Wakes the readers of what this consumer writes: a chain does not wait for a file notice. */
void cu_perform_wake_chain(struct cu_follower *f);

bool cu_perform_open(struct cu_follower *f, struct cu_event *event);
/* Opens the consumer on a connection on which its `setup` may not be committed yet, and closes it again.
 * Its rows are open there. Before its worker runs. */
int cu_perform_try_open(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error);
bool cu_perform_lease(struct cu_follower *f, struct cu_event *event);
bool cu_perform_load(struct cu_follower *f, struct cu_event *event);
bool cu_perform_renew(struct cu_follower *f, struct cu_event *event);
bool cu_perform_fetch(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
bool cu_perform_begin(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
bool cu_perform_deliver(struct cu_follower *f, struct cu_event *event);
bool cu_perform_apply(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
bool cu_perform_park(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
bool cu_perform_commit(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
/* Answers the out-of-sync that a changelog-driven consumer was brought: `resync` and the watermark in
 * one transaction. */
bool cu_perform_resync(struct cu_follower *f, struct cu_event *event);
bool cu_perform_abort(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);

#endif
