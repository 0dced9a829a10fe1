/* SPDX-License-Identifier: MIT */
/*
 * look.c - a reader's look at its source: learns the newest id, cuts what is new into ranges and pushes
 * them onto each follower's ring.
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

/* Rows of one range for set-based consumers: small enough that a worker can add them up to the batch
 * it wants. */
#define RANGE_ROWS 1000u

void cu_look_fail(struct cu_follower *f, const struct catchup_error *error)
{
	cu_mutex_lock(&f->mu);
	f->reader_error = *error;
	cu_mutex_unlock(&f->mu);
	f->feed.started = false;
	atomic_store(&f->reader_failed, 1);
	cu_worker_call(f);
}

/* Followers that ask to be fed from somewhere. True if any did. */
static bool take_requests(struct cu_reader *reader)
{
	bool any = false;

	/* Of a thousand that write to the source's file each one's commit is a look. */
	if (!atomic_exchange(&reader->asked, 0))
		return false;
	for (size_t i = 0; i < reader->n_followers; i++) {
		struct cu_follower *f = reader->followers[i];

		cu_mutex_lock(&f->mu);
		if (f->request.asked) {
			cu_feed_rewind(&f->feed, f->request.from, f->request.epoch);
			f->request.asked = false;
			/* Also when this look fails: the next one finds no request any more. */
			reader->all_fed = false;
			any = true;
		}
		cu_mutex_unlock(&f->mu);
	}
	return any;
}

static int check_backwards(struct cu_reader *reader, struct cu_follower *f, int64_t newest,
	bool empty, struct catchup_error *error)
{
	const char *name = reader->spec.table ? reader->spec.table : reader->spec.max;
	struct catchup_error told;
	int64_t highest;
	int rc;

	if (!f->feed.started || newest >= f->feed.pushed || (empty && !reader->spec.table))
		return CATCHUP_OK;
	rc = cu_source_highest(&reader->source, &highest, error);
	if (rc != CATCHUP_OK || highest >= f->feed.pushed)
		return rc;
	cu_error_set(&told, CATCHUP_BACKWARDS, 0,
		"source '%.200s' went backwards: its newest id is %lld, below %lld, which was "
		"reached before; the table was replaced or ids were given again, so rows would be "
		"skipped; an id declared INTEGER PRIMARY KEY AUTOINCREMENT is never given twice",
		name, (long long)newest, (long long)f->feed.pushed);
	cu_look_fail(f, &told);
	return CATCHUP_OK;
}

/* Room for one more range is not worth a wake-up while so many wait in front of it. */
static bool half_empty(const struct cu_follower *f)
{
	return cu_ring_count(f->ring) <= cu_ring_room(f->ring);
}

/* Of what has just come the rows are counted for a consumer that reads them one by one: so it can tell
 * how many were deleted before it came to them. Counting a backlog would read it twice. */
static bool count_is_cheap(const struct cu_follower *f, int64_t newest)
{
	return f->definition->source && !f->definition->next && newest - f->feed.pushed <= RANGE_ROWS;
}

/* The newest id is that of a row, so nobody has to count: as it is where commits come one by one, and
 * somebody waits for each. */
static bool is_one_row(const struct cu_reader *reader, const struct cu_ring_entry *entry)
{
	return reader->spec.table && entry->range.hi == entry->range.lo + 1;
}

/* Many followers stand at the same place: what is cut for one in a look is for all of them. */
static int cut(struct cu_reader *reader, struct cu_ring_entry *entry, uint32_t most,
	struct catchup_error *error)
{
	uint64_t mixed = (uint64_t)entry->range.lo * UINT64_C(0x9e3779b97f4a7c15);
	struct cu_reader_cut *known = &reader->cuts[mixed >> (64 - CU_READER_CUT_BITS)];

	if (known->look != reader->looks || known->lo != entry->range.lo || known->most != most) {
		int rc;

		*known = (struct cu_reader_cut){.lo = entry->range.lo, .most = most};
		rc = cu_source_cut(&reader->source, entry->range.lo, entry->range.hi, most,
			&known->hi, &known->rows, error);
		if (rc != CATCHUP_OK)
			return rc;
		known->look = reader->looks;
	}
	entry->range.hi = known->hi;
	entry->range.rows = known->rows;
	return CATCHUP_OK;
}

/* Fills a follower's ring as far as there is room. */
static int feed(struct cu_reader *reader, struct cu_follower *f, int64_t newest,
	struct catchup_error *error)
{
	const struct catchup_consumer *table = &f->definition->table;
	bool pushed = false;
	int rc = CATCHUP_OK;

	while (cu_feed_wants(&f->feed, newest)) {
		struct cu_ring_entry entry = {.range = {.lo = f->feed.pushed,
			.hi = newest, .rows = CU_ROWS_UNKNOWN, .epoch = f->feed.epoch}};

		if (cu_ring_room(f->ring) == 0) {
			/* Said before the second look: either this sees the room that the worker
			 * makes, or the worker sees that it is waited for. */
			atomic_store(&f->wants_room, 1);
			if (!half_empty(f))
				break;
		}
		if (is_one_row(reader, &entry))
			entry.range.rows = 1;
		else if (table->range || table->map || count_is_cheap(f, newest))
			rc = cut(reader, &entry, table->map ? CU_MAP_ROWS : RANGE_ROWS, error);
		if (rc != CATCHUP_OK)
			break;
		CU_CHECK(cu_ring_push(f->ring, &entry));
		cu_feed_pushed(&f->feed, entry.range.hi);
		/* The first range sets the follower going while the others are being cut; each one
		 * may be work for another map thread. */
		if (!pushed || table->map)
			cu_follower_wake(f);
		pushed = true;
	}
	if (pushed)
		cu_follower_wake(f);
	return rc;
}

/* Fills all rings up to an id, as far as there is room. */
static int feed_all(struct cu_reader *reader, int64_t newest, struct catchup_error *error)
{
	int64_t highest = -1;
	bool all = true;

	reader->all_fed = false;
	for (size_t i = 0; i < reader->n_followers; i++) {
		const struct cu_feed *fed = &reader->followers[i]->feed;
		int rc = feed(reader, reader->followers[i], newest, error);

		if (rc != CATCHUP_OK)
			return rc;
		all &= !cu_feed_wants(fed, newest);
		if (fed->started && fed->pushed > highest)
			highest = fed->pushed;
	}
	reader->all_fed = all;
	reader->highest_fed = highest;
	return CATCHUP_OK;
}

static int check_all(struct cu_reader *reader, int64_t newest, bool empty, struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	for (size_t i = 0; i < reader->n_followers && rc == CATCHUP_OK; i++)
		rc = check_backwards(reader, reader->followers[i], newest, empty, error);
	return rc;
}

/* What there is now, all of one state of the database. anew: also when nobody has committed. */
static int learn(struct cu_reader *reader, bool anew, struct catchup_error *error)
{
	int64_t version, newest, before;
	bool empty;
	int rc = cu_conn_look_begin(&reader->conn, &version, error);

	if (rc != CATCHUP_OK || (reader->looked && version == reader->version && !anew))
		goto out;
	rc = cu_source_newest(&reader->source, &newest, &empty, error);
	if (rc == CATCHUP_OK && (!reader->all_fed || newest < reader->highest_fed))
		rc = check_all(reader, newest, empty, error);
	if (rc != CATCHUP_OK)
		goto out;
	before = atomic_load_explicit(&reader->newest, memory_order_relaxed);
	atomic_store(&reader->newest, newest);
	if (version != reader->version) {
		reader->changed = false;
		reader->in_vain = 0;
		reader->beside = newest != before ? 0 : reader->beside + 1;
	}
	reader->version = version;
	reader->looked = true;
out:
	cu_conn_look_end(&reader->conn);
	return rc;
}

int cu_look(struct cu_reader *reader, struct catchup_error *error)
{
	uint64_t wanted = atomic_load(&reader->runtime->looks_wanted);
	bool asked = take_requests(reader);
	int64_t newest, before = atomic_load_explicit(&reader->newest, memory_order_relaxed);
	int rc;

	reader->looks++;
	rc = learn(reader,
		asked || wanted != atomic_load_explicit(&reader->looks_done, memory_order_relaxed), error);
	newest = atomic_load_explicit(&reader->newest, memory_order_relaxed);
	/* A thousand that write to the source's file make as many looks that find nothing new. */
	if (rc == CATCHUP_OK && (newest != before || !reader->all_fed))
		rc = feed_all(reader, newest, error);
	/* What is committed to the new file at the path would never be seen in the old one. Asked behind
	 * the feeding, which it would hold up: who commits asks for himself. */
	if (cu_conn_moved(&reader->conn))
		return cu_conn_say_moved(reader->path, error);
	if (rc == CATCHUP_OK && atomic_exchange(&reader->looks_done, wanted) != wanted)
		cu_park_wake(&reader->runtime->progress);
	return rc;
}

void cu_look_made_room(struct cu_follower *f)
{
	if (half_empty(f) && atomic_exchange(&f->wants_room, 0))
		cu_reader_wake(f->reader);
}
