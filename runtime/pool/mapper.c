/* SPDX-License-Identifier: MIT */
#include "pool/mapper.h"

#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Ranges between ring and commit, for each thread: one in work, and some ahead so that a slow row
 * at the front does not stop the others at once. */
#define WINDOW_PER_THREAD 8u

struct mapped_range {
	struct mapped_range *next;
	int64_t lo, hi;
	uint32_t epoch;
	struct cu_mapped_row *rows; /* owned */
	size_t n_rows, room;
	struct catchup_error error; /* code other than OK: the range could not be read */
};

struct map_thread {
	struct cu_mapper *mapper;
	struct cu_thread thread;
	int number;                 /* 1, 2, ... */

	/* its own thread only */
	struct cu_conn conn;
	struct cu_source source;
	struct cu_context context;
	void *state;
	bool consumer_open;
};

struct cu_mapper {
	/* constant after create */
	struct cu_follower *f;      /* borrowed */
	struct map_thread *threads; /* owned */
	uint32_t n_threads, n_started;
	uint32_t window;

	_Atomic int ending;

	/* guarded by mu */
	struct cu_mutex mu;
	struct cu_cond opened;
	uint32_t opening;
	struct catchup_error open_error;
	uint32_t outstanding;       /* ranges taken from the ring and not released */
	uint32_t epoch;
	int64_t next_lo;            /* of the next range in order */
	struct mapped_range *done;  /* handed in, in id order */

	/* follower's thread only */
	struct mapped_range *taken, *last_taken; /* in order, not yet committed */
};

static void free_range(struct cu_mapper *m, struct mapped_range *range)
{
	void (*discard)(void *) = m->f->definition->table.discard;

	for (size_t i = 0; i < range->n_rows; i++) {
		if (discard && range->rows[i].result)
			discard(range->rows[i].result);
		free(range->rows[i].text);
	}
	free(range->rows);
	free(range);
}

static void free_list(struct cu_mapper *m, struct mapped_range *list)
{
	while (list) {
		struct mapped_range *next = list->next;

		free_range(m, list);
		list = next;
	}
}

/* ---- mapping -------------------------------------------------------------------------------- */

/* conn: the one that the context shows the consumer. */
static void map_row(struct cu_mapped_row *row, const struct catchup_consumer *table,
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

static struct cu_mapped_row *add_row(struct mapped_range *range, int64_t id)
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

/* Maps all rows of a range. A query with a LIMIT is asked again until it returns nothing. */
static void map_range(struct map_thread *t, struct mapped_range *range)
{
	const struct cu_definition *d = t->mapper->f->definition;
	int64_t last = range->lo;
	size_t before;

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
			map_row(row, &d->table, &t->context, &t->conn, t->state,
				cu_source_row(&t->source));
			last = id;
			if (atomic_load_explicit(&t->mapper->ending, memory_order_relaxed))
				break;
		}
		cu_source_fetch_end(&t->source);
	} while (d->next && range->n_rows > before && range->error.code == CATCHUP_OK &&
		!atomic_load_explicit(&t->mapper->ending, memory_order_relaxed));
}

/* ---- a map thread --------------------------------------------------------------------------- */

static int open_thread(struct map_thread *t, struct catchup_error *error)
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

static void close_thread(struct map_thread *t)
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

/* A range from the ring, unless there is none, the window is full or the end has come. */
static bool take_work(struct cu_mapper *m, struct cu_ring_entry *entry)
{
	bool took = false;

	cu_mutex_lock(&m->mu);
	if (m->outstanding < m->window) {
		took = cu_ring_pop_shared(m->f->ring, entry);
		if (took && entry->range.epoch != m->epoch)
			took = false; /* of an order that was withdrawn */
		else if (took)
			m->outstanding++;
	}
	cu_mutex_unlock(&m->mu);
	if (took)
		cu_reader_made_room(m->f);
	return took;
}

static bool may_work(struct cu_mapper *m)
{
	bool may;

	cu_mutex_lock(&m->mu);
	may = m->outstanding < m->window && cu_ring_count(m->f->ring) > 0;
	cu_mutex_unlock(&m->mu);
	return may;
}

static void hand_in(struct cu_mapper *m, struct mapped_range *range)
{
	struct mapped_range **at = &m->done;
	bool stale, next;

	cu_mutex_lock(&m->mu);
	stale = range->epoch != m->epoch;
	next = !stale && range->lo == m->next_lo;
	if (!stale) {
		while (*at && (*at)->lo < range->lo)
			at = &(*at)->next;
		range->next = *at;
		*at = range;
	}
	cu_mutex_unlock(&m->mu);
	if (stale)
		free_range(m, range);
	if (next)
		cu_park_wake(&m->f->worker->park);
}

static void map_main(void *argument)
{
	struct map_thread *t = argument;
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
		struct mapped_range *range;

		if (!take_work(m, &entry)) {
			uint32_t ticket = cu_park_prepare(&m->f->map_park);

			if (atomic_load(&m->ending) || may_work(m))
				cu_park_cancel(&m->f->map_park);
			else
				cu_park_wait(&m->f->map_park, ticket, CU_FOREVER);
			continue;
		}
		while (!(range = calloc(1, sizeof(*range))) && !atomic_load(&m->ending))
			cu_os_sleep_ns(10 * CU_NS_PER_MS);
		if (!range)
			break;
		range->lo = entry.range.lo;
		range->hi = entry.range.hi;
		range->epoch = entry.range.epoch;
		map_range(t, range);
		if (atomic_load(&m->ending))
			free_range(m, range);
		else
			hand_in(m, range);
	}
	close_thread(t);
}

/* ---- the follower's side ---------------------------------------------------------------------- */

static int start_threads(struct cu_mapper *m, struct catchup_error *error)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->n_threads && rc == 0; i++) {
		struct map_thread *t = &m->threads[i];

		t->mapper = m;
		t->number = (int)i + 1;
		cu_mutex_lock(&m->mu);
		m->opening++;
		cu_mutex_unlock(&m->mu);
		rc = cu_thread_start(&t->thread, "catchup-map", map_main, t);
		if (rc != 0) {
			cu_mutex_lock(&m->mu);
			m->opening--;
			cu_mutex_unlock(&m->mu);
		}
	}
	cu_mutex_lock(&m->mu);
	while (m->opening > 0)
		cu_cond_wait(&m->opened, &m->mu, CU_FOREVER);
	cu_mutex_unlock(&m->mu);
	if (rc != 0)
		return cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start %u map threads",
			(unsigned)m->n_threads);
	if (m->open_error.code != CATCHUP_OK && error)
		*error = m->open_error;
	return m->open_error.code;
}

int cu_mapper_create(struct cu_mapper **out, struct cu_follower *f, uint32_t workers,
	struct catchup_error *error)
{
	struct cu_mapper *m = calloc(1, sizeof(*m));
	int rc;

	*out = NULL;
	if (!m)
		return cu_error_nomem(error);
	m->f = f;
	m->n_threads = workers;
	m->window = workers * WINDOW_PER_THREAD;
	m->threads = calloc(workers, sizeof(*m->threads));
	rc = m->threads ? cu_mutex_init(&m->mu) : -1;
	if (rc == 0 && (rc = cu_cond_init(&m->opened)) != 0)
		cu_mutex_finish(&m->mu);
	if (rc != 0) {
		free(m->threads);
		free(m);
		return cu_error_nomem(error);
	}
	rc = start_threads(m, error);
	if (rc != CATCHUP_OK) {
		cu_mapper_destroy(m);
		return rc;
	}
	*out = m;
	return CATCHUP_OK;
}

void cu_mapper_destroy(struct cu_mapper *m)
{
	if (!m)
		return;
	atomic_store(&m->ending, 1);
	cu_park_wake(&m->f->map_park);
	for (uint32_t i = 0; i < m->n_threads; i++)
		cu_thread_join(&m->threads[i].thread);
	free_list(m, m->done);
	free_list(m, m->taken);
	cu_cond_finish(&m->opened);
	cu_mutex_finish(&m->mu);
	free(m->threads);
	free(m);
}

void cu_mapper_rewind(struct cu_mapper *m, int64_t from, uint32_t epoch)
{
	struct mapped_range *done;

	cu_mutex_lock(&m->mu);
	done = m->done;
	m->done = NULL;
	m->epoch = epoch;
	m->next_lo = from;
	/* What threads still have in work is of an older epoch and not counted any more. */
	m->outstanding = 0;
	cu_mutex_unlock(&m->mu);
	free_list(m, done);
	free_list(m, m->taken);
	m->taken = NULL;
	m->last_taken = NULL;
	cu_park_wake(&m->f->map_park);
}

bool cu_mapper_take(
	struct cu_mapper *m, int64_t *lo, int64_t *hi, struct catchup_error *error)
{
	struct mapped_range *range = NULL;

	cu_mutex_lock(&m->mu);
	if (m->done && m->done->lo == m->next_lo) {
		range = m->done;
		m->done = range->next;
		m->next_lo = range->hi;
	}
	cu_mutex_unlock(&m->mu);
	if (!range)
		return false;
	if (range->error.code != CATCHUP_OK) {
		*error = range->error;
		free_range(m, range);
		return false;
	}
	range->next = NULL;
	if (m->last_taken)
		m->last_taken->next = range;
	else
		m->taken = range;
	m->last_taken = range;
	*lo = range->lo;
	*hi = range->hi;
	return true;
}

struct cu_mapped_row *cu_mapper_row(struct cu_mapper *m, int64_t above)
{
	for (struct mapped_range *range = m->taken; range; range = range->next) {
		size_t low = 0, high = range->n_rows;

		if (range->hi <= above)
			continue;
		while (low < high) {
			size_t middle = low + (high - low) / 2;

			if (range->rows[middle].id <= above)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < range->n_rows)
			return &range->rows[low];
	}
	return NULL;
}

void cu_mapper_map_again(struct cu_mapper *m, struct cu_mapped_row *row)
{
	struct cu_follower *f = m->f;
	struct catchup_error error = {0};
	int64_t id = 0;
	int rc;

	cu_source_fetch_begin(&f->rows, row->id - 1, row->id);
	rc = cu_source_fetch_next(&f->rows, &id, &error);
	if (rc == CATCHUP_OK && id == row->id) {
		map_row(row, &f->definition->table, &f->context, &f->writer, f->state,
			cu_source_row(&f->rows));
	} else if (rc == CATCHUP_OK) {
		/* Deleted since: nothing is left to apply. */
		row->failed = false;
		row->passed = true;
	} else {
		row->code = error.detail;
		free(row->text);
		row->text = strdup(error.message);
	}
	cu_source_fetch_end(&f->rows);
}

void cu_mapper_release(struct cu_mapper *m, int64_t up_to)
{
	uint32_t released = 0;

	while (m->taken && m->taken->hi <= up_to) {
		struct mapped_range *range = m->taken;

		m->taken = range->next;
		if (!m->taken)
			m->last_taken = NULL;
		free_range(m, range);
		released++;
	}
	if (released == 0)
		return;
	cu_mutex_lock(&m->mu);
	CU_CHECK(m->outstanding >= released);
	m->outstanding -= released;
	cu_mutex_unlock(&m->mu);
	cu_park_wake(&m->f->map_park);
}
