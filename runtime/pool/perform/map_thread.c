/* SPDX-License-Identifier: MIT */
/*
 * map_thread.c - one thread that runs `map`: takes a range, reads and maps its rows, hands it in.
 */
#include "pool/perform/mapper_inside.h"
#include "pool/perform/perform.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* How long ranges that were mapped quickly may gather before they are committed together. */
#define OFFER_EVERY_NS (4 * CU_NS_PER_MS)

/* ---- mapping -------------------------------------------------------------------------------- */

void cu_map_thread_row(struct cu_mapped_row *row, const struct catchup_consumer *table,
	struct cu_context *context, struct cu_conn *conn, void *state, sqlite3_stmt *stmt)
{
	int result;

	/* What it made before it failed the last time. */
	if (row->result && table->discard)
		table->discard(row->result);
	row->result = NULL;
	cu_context_begin_call(context);
	cu_conn_guard_enter(conn);
	result = table->map(&context->public, state, stmt, &row->result);
	cu_conn_guard_leave(conn);
	result = cu_context_result(context, "map", result);
	if (result != CATCHUP_ROW_FAILED && conn->guard.denied[0] != '\0')
		result = catchup_fail(&context->public, SQLITE_AUTH,
			"not allowed: %s (map took no notice of it)", conn->guard.denied);
	row->passed = result == CATCHUP_ROW_PASSED;
	row->failed = result == CATCHUP_ROW_FAILED;
	free(row->text);
	row->text = NULL;
	row->code = 0;
	if (row->failed) {
		row->code = context->fail_code;
		row->text = strdup(context->fail_text);
	}
}

static struct cu_mapped_row *add_row(struct cu_mapped_range *range, int64_t id)
{
	if (range->n_rows == range->room) {
		size_t room = range->room ? 2 * range->room : 16;
		struct cu_mapped_row *rows = realloc(range->rows, room * sizeof(*rows));

		if (!rows)
			return NULL;
		range->rows = rows;
		range->room = room;
	}
	range->rows[range->n_rows] = (struct cu_mapped_row){.id = id};
	return &range->rows[range->n_rows++];
}

/* The row that the source's statement stands on. The follower's plan was given its configuration before
 * there were map threads, and keeps it. */
static void map_row(struct cu_map_thread *t, struct cu_mapped_row *row)
{
	const struct cu_follower *f = t->mapper->f;

	cu_conn_limit(&t->conn, cu_perform_limit_ns(f));
	cu_map_thread_row(row, &f->definition->table, &t->context, &t->conn, t->state,
		cu_source_row(&t->source));
	cu_conn_limit(&t->conn, CU_FOREVER);
}

/*
 * A reader cannot tell how many rows a query of the consumer's own has, so a whole backlog may come as one
 * range. Who takes it leaves all but the first few rows to the next thread; until it is known where they end
 * nothing behind them is taken, which could fill the window and then wait for them.
 */
static bool cut_range(struct cu_map_thread *t, struct cu_mapped_range *range)
{
	struct cu_mapper *m = t->mapper;
	int64_t id = 0, end = range->lo;
	int rc = CATCHUP_OK;

	cu_source_fetch_begin(&t->source, range->lo, range->hi);
	for (uint32_t n = 0; n < CU_MAP_ROWS; n++) {
		rc = cu_source_fetch_next(&t->source, &id, &range->error);
		if (rc != CATCHUP_OK || id == 0)
			break;
		end = id;
	}
	cu_source_fetch_end(&t->source);
	if (rc != CATCHUP_OK)
		return false;
	if (end == range->lo)
		end = range->hi;
	cu_mutex_lock(&m->mu);
	if (range->epoch == m->epoch) {
		m->cutting = false;
		m->has_rest = end < range->hi;
		m->rest = (struct cu_ring_entry){.range = {.lo = end, .hi = range->hi,
			.rows = CU_ROWS_UNKNOWN, .epoch = range->epoch}};
	}
	cu_mutex_unlock(&m->mu);
	range->hi = end;
	range->uncut = false;
	cu_park_wake(&m->f->map_park);
	return true;
}

/* Maps all rows of a range. A query with a LIMIT is asked again until it returns nothing. */
static void map_range(struct cu_map_thread *t, struct cu_mapped_range *range)
{
	const struct cu_definition *d = t->mapper->f->definition;
	int64_t last = range->lo;
	size_t before;

	if (range->uncut && !cut_range(t, range))
		return;
	do {
		before = range->n_rows;
		cu_source_fetch_begin(&t->source, last, range->hi);
		for (;;) {
			struct cu_mapped_row *row;
			int64_t id;

			if (cu_source_fetch_next(&t->source, &id, &range->error) != CATCHUP_OK ||
				id == 0)
				break;
			row = add_row(range, id);
			if (!row) {
				cu_error_nomem(&range->error);
				break;
			}
			row->unmapped = atomic_load_explicit(&t->mapper->careful,
						memory_order_relaxed) != 0;
			if (!row->unmapped)
				map_row(t, row);
			last = id;
			if (atomic_load_explicit(&t->mapper->ending, memory_order_relaxed))
				break;
		}
		cu_source_fetch_end(&t->source);
	} while (d->next && range->n_rows > before && range->error.code == CATCHUP_OK &&
		!atomic_load_explicit(&t->mapper->ending, memory_order_relaxed));
}

/* ---- a map thread --------------------------------------------------------------------------- */

static int open_thread(struct cu_map_thread *t, struct catchup_error *error)
{
	struct cu_follower *f = t->mapper->f;
	struct catchup *c = f->runtime;
	const struct cu_conn_options options = {
		.role = CU_ROLE_FETCH,
		.main = f->file->path,
		.source = f->separate ? f->source_path : NULL,
		.main_id = &f->file->id,
		.source_id = f->reader ? &f->reader->id : NULL,
		.busy_ms = 1000,
		.cache_kib = 1024,
		.logger = &c->logger,
		.stopping = &c->stopping,
	};
	const struct catchup_consumer *table = &f->definition->table;
	struct cu_source_spec spec;
	int rc = cu_conn_open(&t->conn, &options, error);

	cu_setup_spec(f, &spec);
	if (rc == CATCHUP_OK)
		rc = cu_source_open(&t->source, &t->conn, &spec, error);
	if (rc != CATCHUP_OK)
		return rc;
	cu_context_init(&t->context, f->definition, &c->logger, &c->stopping, t->conn.db, t->number);
	t->conn.guard.consumer = f->definition->name;
	t->conn.guard.source = f->definition->source;
	t->context.calls = &f->calls[t->number];
	if (table->open) {
		int result;

		cu_context_begin_call(&t->context);
		cu_conn_guard_enter(&t->conn);
		result = table->open(&t->context.public, &t->state);
		cu_conn_guard_leave(&t->conn);
		if (cu_context_result(&t->context, "open", result) == CATCHUP_ROW_FAILED)
			return cu_error_set(error, CATCHUP_CONFIG, t->context.fail_code, "%s",
				t->context.fail_text);
	}
	t->consumer_open = true;
	return CATCHUP_OK;
}

static void close_thread(struct cu_map_thread *t)
{
	const struct catchup_consumer *table = &t->mapper->f->definition->table;

	if (t->consumer_open && table->close) {
		cu_conn_guard_enter(&t->conn);
		table->close(&t->context.public, t->state);
		cu_conn_guard_leave(&t->conn);
	}
	cu_source_close(&t->source);
	cu_conn_close(&t->conn);
}

/* Its ids leave room for more rows than a range should have, and nobody has counted them. */
static bool is_uncut(const struct cu_ring_entry *entry)
{
	return entry->range.rows == CU_ROWS_UNKNOWN && entry->range.hi - entry->range.lo > CU_MAP_ROWS;
}

/* Whether a range that was not in work before may be taken. Caller holds mu. */
static bool may_take_new(const struct cu_mapper *m)
{
	return m->outstanding < m->window && !m->cutting;
}

/* A range that could not be read before, the rest of one that was cut, or one from the ring, unless there is
 * none or the window is full. *range: the one that is done again, NULL for a new one. */
static bool take_work(struct cu_mapper *m, struct cu_ring_entry *entry, struct cu_mapped_range **range)
{
	bool popped = false, took;

	cu_mutex_lock(&m->mu);
	*range = m->again;
	took = *range != NULL;
	if (took) {
		m->again = (*range)->next;
	} else if (may_take_new(m)) {
		took = m->has_rest;
		if (took)
			*entry = m->rest;
		else
			popped = cu_ring_pop_shared(m->f->ring, entry);
		m->has_rest = false;
		took |= popped && entry->range.epoch == m->epoch; /* else of an order withdrawn */
		m->cutting = took && is_uncut(entry);
		m->outstanding += took;
	}
	cu_mutex_unlock(&m->mu);
	/* Whatever came out, there is room now. */
	if (popped)
		cu_look_made_room(m->f);
	return took;
}

static bool may_work(struct cu_mapper *m)
{
	bool may;

	cu_mutex_lock(&m->mu);
	may = m->again || (may_take_new(m) && (m->has_rest || cu_ring_count(m->f->ring) > 0));
	cu_mutex_unlock(&m->mu);
	return may;
}

/*
 * Lets the follower take what is done, unless it was told so just now: each time it commits, and a
 * commit for every few rows would cost more than many a `map`. idle: this thread has nothing else to
 * do, so there is nothing to wait for.
 */
static void offer(struct cu_mapper *m, bool idle)
{
	int64_t now = cu_os_now_ns();
	bool tell;

	cu_mutex_lock(&m->mu);
	tell = !m->offered && m->done && m->done->lo == m->next_lo &&
		(idle || now - m->offered_ns >= OFFER_EVERY_NS);
	if (tell) {
		m->offered = true;
		m->offered_ns = now;
	}
	cu_mutex_unlock(&m->mu);
	if (tell)
		cu_worker_call(m->f);
}

static void hand_in(struct cu_mapper *m, struct cu_mapped_range *range)
{
	struct cu_mapped_range **at = &m->done;
	bool stale;

	cu_mutex_lock(&m->mu);
	stale = range->epoch != m->epoch;
	if (!stale) {
		while (*at && (*at)->lo < range->lo)
			at = &(*at)->next;
		range->next = *at;
		*at = range;
	}
	cu_mutex_unlock(&m->mu);
	if (stale)
		cu_mapper_free_range(m, range);
}

/* Waits for memory; NULL only at the end. */
static struct cu_mapped_range *new_range(struct cu_mapper *m, const struct cu_ring_entry *of)
{
	struct cu_mapped_range *range;

	while (!(range = calloc(1, sizeof(*range))) && !atomic_load(&m->ending))
		cu_os_sleep_ns(10 * CU_NS_PER_MS);
	if (range) {
		range->lo = of->range.lo;
		range->hi = of->range.hi;
		range->epoch = of->range.epoch;
		range->expected = of->range.rows;
		range->uncut = is_uncut(of);
	}
	return range;
}

void cu_map_thread_main(void *argument)
{
	struct cu_map_thread *t = argument;
	struct cu_mapper *m = t->mapper;
	struct catchup_error error = {0};
	int rc = open_thread(t, &error);

	cu_mutex_lock(&m->mu);
	if (rc != CATCHUP_OK && m->open_error.code == CATCHUP_OK)
		m->open_error = error;
	m->opening--;
	cu_cond_broadcast(&m->opened);
	cu_mutex_unlock(&m->mu);
	while (rc == CATCHUP_OK && !atomic_load(&m->ending)) {
		struct cu_ring_entry entry;
		struct cu_mapped_range *range;
		int64_t began;

		if (!take_work(m, &entry, &range)) {
			uint32_t ticket = cu_park_prepare(&m->f->map_park);

			offer(m, true);
			if (atomic_load(&m->ending) || may_work(m))
				cu_park_cancel(&m->f->map_park);
			else
				cu_park_wait(&m->f->map_park, ticket, CU_FOREVER);
			continue;
		}
		if (!range)
			range = new_range(m, &entry);
		if (!range)
			break;
		began = cu_os_now_ns();
		map_range(t, range);
		if (atomic_load(&m->ending)) {
			cu_mapper_free_range(m, range);
			continue;
		}
		hand_in(m, range);
		/* The next range of a slow `map` would keep the follower waiting for long. */
		offer(m, cu_os_now_ns() - began >= OFFER_EVERY_NS / 2);
	}
	close_thread(t);
}
