/* SPDX-License-Identifier: MIT */
#include "pool/perform/mapper_inside.h"
#include "pool/perform/perform.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

void cu_mapper_empty_range(struct cu_mapper *m, struct cu_mapped_range *range)
{
	void (*discard)(void *) = m->f->definition->table.discard;

	for (size_t i = 0; i < range->n_rows; i++) {
		if (discard && range->rows[i].result)
			discard(range->rows[i].result);
		free(range->rows[i].text);
	}
	free(range->rows);
	range->rows = NULL;
	range->n_rows = range->room = 0;
}

void cu_mapper_free_range(struct cu_mapper *m, struct cu_mapped_range *range)
{
	cu_mapper_empty_range(m, range);
	free(range);
}

static void free_list(struct cu_mapper *m, struct cu_mapped_range *list)
{
	while (list) {
		struct cu_mapped_range *next = list->next;

		cu_mapper_free_range(m, list);
		list = next;
	}
}

/* ---- the follower's side ---------------------------------------------------------------------- */

static int start_threads(struct cu_mapper *m, struct catchup_error *error)
{
	int rc = 0;

	for (uint32_t i = 0; i < m->n_threads && rc == 0; i++) {
		struct cu_map_thread *t = &m->threads[i];

		t->mapper = m;
		t->number = (int)i + 1;
		cu_mutex_lock(&m->mu);
		m->opening++;
		cu_mutex_unlock(&m->mu);
		rc = cu_thread_start(&t->thread, "catchup-map", cu_map_thread_main, t);
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
	m->window = workers * CU_MAP_WINDOW_PER_THREAD;
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
	free_list(m, m->again);
	free_list(m, m->taken);
	cu_cond_finish(&m->opened);
	cu_mutex_finish(&m->mu);
	free(m->threads);
	free(m);
}

void cu_mapper_rewind(struct cu_mapper *m, int64_t from, uint32_t epoch)
{
	struct cu_mapped_range *done, *again;

	cu_mutex_lock(&m->mu);
	done = m->done;
	again = m->again;
	m->done = NULL;
	m->again = NULL;
	m->epoch = epoch;
	m->next_lo = from;
	m->offered = false;
	m->has_rest = false;
	m->cutting = false;
	/* What threads still have in work is of an older epoch and not counted any more. */
	m->outstanding = 0;
	cu_mutex_unlock(&m->mu);
	free_list(m, done);
	free_list(m, again);
	free_list(m, m->taken);
	m->taken = NULL;
	m->last_taken = NULL;
	cu_park_wake(&m->f->map_park);
}

bool cu_mapper_take(struct cu_mapper *m, int64_t *lo, int64_t *hi, uint32_t *expected,
	struct catchup_error *error)
{
	struct cu_mapped_range *range = NULL;
	bool failed = false;

	cu_mutex_lock(&m->mu);
	if (m->offered && m->done && m->done->lo == m->next_lo) {
		range = m->done;
		m->done = range->next;
		failed = range->error.code != CATCHUP_OK;
		if (!failed)
			m->next_lo = range->hi;
	} else {
		/* All that was offered is taken: the next are gathered. */
		m->offered = false;
	}
	cu_mutex_unlock(&m->mu);
	if (!range)
		return false;
	if (failed) {
		/* Without it there would be a hole: it is read again, and still comes next. */
		*error = range->error;
		range->error = (struct catchup_error){0};
		cu_mapper_empty_range(m, range);
		cu_mutex_lock(&m->mu);
		range->next = m->again;
		m->again = range;
		cu_mutex_unlock(&m->mu);
		cu_park_wake(&m->f->map_park);
		return false;
	}
	range->next = NULL;
	if (m->last_taken)
		m->last_taken->next = range;
	else
		m->taken = range;
	m->last_taken = range;
	*expected = range->expected;
	*lo = range->lo;
	*hi = range->hi;
	return true;
}

struct cu_mapped_row *cu_mapper_row(struct cu_mapper *m, int64_t above)
{
	for (struct cu_mapped_range *range = m->taken; range; range = range->next) {
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

void cu_mapper_be_careful(struct cu_mapper *m, bool careful)
{
	atomic_store_explicit(&m->careful, careful, memory_order_relaxed);
}

/* What the row's statement stands on, on the connection that the consumer has for `apply`. */
static int map_read_only(struct cu_follower *f, struct cu_mapped_row *row, struct catchup_error *error)
{
	int rc = cu_conn_read_only(f->writer, true, error);

	if (rc != CATCHUP_OK)
		return rc;
	cu_conn_limit(f->writer, cu_perform_limit_ns(f));
	cu_map_thread_row(row, &f->definition->table, &f->context, f->writer, f->state,
		cu_source_row(&f->rows));
	cu_conn_limit(f->writer, CU_FOREVER);
	return cu_conn_read_only(f->writer, false, error);
}

static void fail_row(struct cu_mapped_row *row, const struct catchup_error *why)
{
	row->failed = true;
	row->code = why->detail;
	free(row->text);
	row->text = strdup(why->message);
}

int cu_mapper_map_again(struct cu_mapper *m, struct cu_mapped_row *row, struct catchup_error *error)
{
	struct cu_follower *f = m->f;
	struct catchup_error why = {0};
	int64_t id = 0;
	int rc = CATCHUP_OK;

	CU_CHECK(!cu_conn_in_transaction(f->writer));
	row->unmapped = false;
	cu_source_fetch_begin(&f->rows, row->id - 1, row->id);
	if (cu_source_fetch_next(&f->rows, &id, &why) != CATCHUP_OK) {
		fail_row(row, &why);
	} else if (id == row->id) {
		rc = map_read_only(f, row, error);
	} else {
		/* Deleted since: nothing is left to apply. */
		row->failed = false;
		row->passed = true;
	}
	cu_source_fetch_end(&f->rows);
	return rc;
}

void cu_mapper_release(struct cu_mapper *m, int64_t up_to)
{
	uint32_t released = 0;

	while (m->taken && m->taken->hi <= up_to) {
		struct cu_mapped_range *range = m->taken;

		m->taken = range->next;
		if (!m->taken)
			m->last_taken = NULL;
		cu_mapper_free_range(m, range);
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
