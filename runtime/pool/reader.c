/* SPDX-License-Identifier: MIT */
/*
 * reader.c - the one thread a source: learns the newest id, cuts what is new into ranges and pushes
 * them onto each follower's ring.
 *
 * Sleeping: a watch that begins says that something may have changed, so no commit falls between. SQLite
 * writes the log before the commit becomes visible, so the notice comes too early: the thread lets the
 * file settle, deaf to the other notices of the commit, and looks then. Who writes may have been
 * interrupted in between, so it looks again at growing intervals until they reach the safety net's;
 * few times, when a commit was seen that explains the notice. In the middle of a large transaction, or
 * of a checkpoint, notices come without an end and without a commit: the more looks are in vain, the
 * longer it settles. Where the source is written by a consumer of this runtime, which tells of each
 * commit, notices are of commits elsewhere in the file, and it settles long; being told ends that.
 *
 * While every follower has work in hand, what is new concerns nobody yet, and most notices come of
 * their own commits. Then the thread rests: it looks once in a while, or when one has run dry.
 */
#include "pool/runtime.h"
#include "pool/perform/trouble.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* Rows of one range for set-based consumers: small enough that a worker can add them up to the batch
 * it wants. */
#define RANGE_ROWS 1000u

#define REST_NS (10 * CU_NS_PER_MS)
#define SETTLE_NS INT64_C(30000) /* a small commit takes less; a look in vain takes as much */
#define SETTLE_DOUBLINGS 5
#define LITTLE_WORK_NS INT64_C(150000)
#define CHAINED_SETTLE_NS CU_NS_PER_MS
#define FIRST_RELOOK_NS (SETTLE_NS << SETTLE_DOUBLINGS)
#define RELOOK_GROWTH 2
/* When the commit that a notice was about has been seen, it is another one's that is looked for. */
#define FIRST_RELOOK_SEEN_NS INT64_C(150000)
#define RELOOK_GROWTH_SEEN 64
#define RETRY_BASE_NS (20 * CU_NS_PER_MS)
#define RETRY_MAX_NS (2 * CU_NS_PER_S)
#define READER_BUSY_MS 250
#define READER_CACHE_KIB 1024
#define BLIND_POLL_NS (50 * CU_NS_PER_MS) /* where folders cannot be watched */

/* ---- telling a follower --------------------------------------------------------------------- */

static void fail_follower(struct cu_follower *f, const struct catchup_error *error)
{
	cu_mutex_lock(&f->mu);
	f->reader_error = *error;
	cu_mutex_unlock(&f->mu);
	f->feed.started = false;
	atomic_store(&f->reader_failed, 1);
	cu_park_wake(&f->worker->park);
}

/* Until it can be read again. */
static void starve_all(struct cu_reader *reader, const struct catchup_error *error)
{
	for (size_t i = 0; i < reader->n_followers; i++)
		cu_trouble_starve(reader->followers[i], error);
}

static void feed_all(struct cu_reader *reader)
{
	for (size_t i = 0; i < reader->n_followers; i++)
		cu_trouble_feed(reader->followers[i]);
}

static void fail_all(struct cu_reader *reader, const struct catchup_error *error)
{
	for (size_t i = 0; i < reader->n_followers; i++)
		fail_follower(reader->followers[i], error);
}

/* ---- looking -------------------------------------------------------------------------------- */

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
	fail_follower(f, &told);
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
		if (table->range || table->map || count_is_cheap(f, newest))
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

static int look(struct cu_reader *reader, struct catchup_error *error)
{
	uint64_t wanted = atomic_load(&reader->runtime->looks_wanted);
	bool asked = take_requests(reader);
	int64_t version, newest;
	bool empty;
	int rc;

	reader->looks++;
	/* What is committed to the new file at the path would never be seen in the old one. */
	if (cu_conn_moved(&reader->conn))
		return cu_conn_say_moved(reader->path, error);
	rc = cu_conn_data_version(&reader->conn, &version, error);
	if (rc != CATCHUP_OK)
		return rc;
	newest = atomic_load_explicit(&reader->newest, memory_order_relaxed);
	if (!reader->looked || version != reader->version || asked ||
		wanted != atomic_load_explicit(&reader->looks_done, memory_order_relaxed)) {
		rc = cu_source_newest(&reader->source, &newest, &empty, error);
		if (rc != CATCHUP_OK)
			return rc;
		for (size_t i = 0; i < reader->n_followers && rc == CATCHUP_OK; i++)
			rc = check_backwards(reader, reader->followers[i], newest, empty, error);
		if (rc != CATCHUP_OK)
			return rc;
		atomic_store(&reader->newest, newest);
		if (version != reader->version) {
			reader->changed = false;
			reader->in_vain = 0;
		}
		reader->version = version;
		reader->looked = true;
	}
	for (size_t i = 0; i < reader->n_followers && rc == CATCHUP_OK; i++)
		rc = feed(reader, reader->followers[i], newest, error);
	if (rc == CATCHUP_OK && atomic_exchange(&reader->looks_done, wanted) != wanted)
		cu_park_wake(&reader->runtime->progress);
	return rc;
}

/* ---- connection ------------------------------------------------------------------------------ */

static void close_source(struct cu_reader *reader)
{
	cu_source_close(&reader->source);
	cu_conn_close(&reader->conn);
	reader->looked = false;
}

static int open_source(struct cu_reader *reader, struct catchup_error *error)
{
	struct catchup *c = reader->runtime;
	const struct cu_conn_options options = {
		.role = CU_ROLE_READER,
		.main = reader->path,
		.main_id = &reader->id,
		.busy_ms = READER_BUSY_MS,
		.cache_kib = READER_CACHE_KIB,
		.logger = &c->logger,
		.stopping = &c->stopping,
	};
	int rc = cu_conn_open(&reader->conn, &options, error);

	if (rc == CATCHUP_OK)
		rc = cu_source_open(&reader->source, &reader->conn, &reader->spec, error);
	if (rc != CATCHUP_OK)
		close_source(reader);
	return rc;
}

/* Whether an error of the reader will pass by itself. */
static bool passes(const struct catchup_error *error)
{
	return error->code == CATCHUP_LOCKED || error->code == CATCHUP_IO ||
		error->code == CATCHUP_NOMEM || error->code == CATCHUP_FULL;
}

/* Looks, opening the source first where needed. Returns when to look again at the latest. */
static int64_t look_or_recover(struct cu_reader *reader)
{
	struct catchup_error error;
	int64_t pause;
	int rc = CATCHUP_OK;

	if (reader->moved)
		return CU_FOREVER;
	if (!cu_conn_is_open(&reader->conn))
		rc = open_source(reader, &error);
	if (rc == CATCHUP_OK)
		rc = look(reader, &error);
	if (rc == CATCHUP_OK) {
		if (reader->faults > 0)
			feed_all(reader);
		if (reader->told)
			cu_log(&reader->runtime->logger, CATCHUP_LOG_INFO, reader->path,
				"the source can be read again");
		reader->told = false;
		reader->faults = 0;
		return CU_FOREVER;
	}
	/* A schema error may come of a table that is being replaced: once more, anew. A query without
	 * an end has had its time. */
	close_source(reader);
	if (atomic_load(&reader->runtime->stopping))
		return CU_FOREVER;
	/* Its followers end. Until they have, the files that they have open are beside others of the same
	 * names: opening those would mix them. */
	if (error.detail == SQLITE_READONLY_DBMOVED) {
		fail_all(reader, &error);
		reader->moved = true;
		return CU_FOREVER;
	}
	if (!passes(&error) && (reader->faults > 0 || error.code == CATCHUP_BACKWARDS ||
				       (error.detail & 0xff) == SQLITE_INTERRUPT)) {
		if (error.code == CATCHUP_CONFIG || error.code == CATCHUP_USAGE)
			error.code = CATCHUP_CONSUMER;
		fail_all(reader, &error);
	}
	if (passes(&error)) {
		starve_all(reader, &error);
	} else if (reader->faults == 0) {
		cu_log(&reader->runtime->logger, CATCHUP_LOG_WARN, reader->path,
			"the source cannot be read: %s; trying again", error.message);
		reader->told = true;
	}
	reader->faults++;
	pause = cu_policy_pause_ns(RETRY_BASE_NS, RETRY_MAX_NS, reader->faults, cu_os_random());
	return cu_deadline(cu_os_now_ns(), pause);
}

static void note_change(struct cu_reader *reader)
{
	reader->changed = true;
	reader->quiet = false;
	reader->changed_ns = cu_os_now_ns();
}

static void note_quiet(struct cu_reader *reader)
{
	reader->quiet = true;
	reader->in_vain = 0;
}

/* Something was written: its commit is visible a little later. */
static void settle(struct cu_reader *reader)
{
	int64_t ns = SETTLE_NS << reader->in_vain;

	cu_watch_settle(reader->watch, atomic_load(&reader->chained) ? CHAINED_SETTLE_NS : ns);
	if (reader->in_vain < SETTLE_DOUBLINGS)
		reader->in_vain++;
	note_change(reader);
}

/* Lets the followers commit, whose notices tell nothing new; who waits for their results goes first. */
static void sleep_over(struct cu_reader *reader, int64_t ns)
{
	if (cu_watch_settle(reader->watch, ns) & ~CU_WATCH_WOKEN)
		note_change(reader);
}

static int64_t next_look(struct cu_reader *reader)
{
	int64_t now_ns = cu_os_now_ns();
	int64_t net_ns = (int64_t)reader->runtime->options.poll_ms * CU_NS_PER_MS;
	int64_t first_ns = reader->changed ? FIRST_RELOOK_NS : FIRST_RELOOK_SEEN_NS;
	int64_t since_ns = now_ns - reader->changed_ns;
	int64_t pause_ns = first_ns;

	if (!cu_watch_works(reader->watch) && net_ns > BLIND_POLL_NS)
		net_ns = BLIND_POLL_NS;
	if (since_ns > first_ns)
		pause_ns = since_ns * (reader->changed ? RELOOK_GROWTH : RELOOK_GROWTH_SEEN);
	return cu_deadline(now_ns, pause_ns < net_ns ? pause_ns : net_ns);
}

/* Whether nobody waits for rows, and somebody has some to do. */
static bool all_at_work(const struct cu_reader *reader)
{
	bool any = false;

	for (size_t i = 0; i < reader->n_followers; i++) {
		const struct cu_follower *f = reader->followers[i];

		/* Who is not started says so with a wake-up. */
		if (!f->feed.started || atomic_load(&f->ended))
			continue;
		if (atomic_load(&f->watermark) >= f->feed.pushed)
			return false;
		any = true;
	}
	return any;
}

/* True when it rested, or had reason to: then it is time to look again. Said before the second look at
 * the followers: either this sees the one that runs dry, or that one sees that it has to wake us. */
static bool rest_while_all_work(struct cu_reader *reader)
{
	if (!all_at_work(reader))
		return false;
	/* What is little is done by then, and nobody has to wake us. */
	sleep_over(reader, atomic_load(&reader->chained) ? CHAINED_SETTLE_NS : LITTLE_WORK_NS);
	if (!all_at_work(reader))
		return true;
	atomic_store(&reader->rests, 1);
	if (all_at_work(reader) && !atomic_load(&reader->runtime->stopping))
		cu_watch_rest(reader->watch, cu_deadline(cu_os_now_ns(), REST_NS));
	atomic_store(&reader->rests, 0);
	sleep_over(reader, 0);
	return true;
}

static bool all_ended(const struct cu_reader *reader)
{
	for (size_t i = 0; i < reader->n_followers; i++)
		if (!atomic_load(&reader->followers[i]->ended))
			return false;
	return true;
}

/* What is missing at the start lets nothing start; a lock passes, and is waited for later. */
static void open_first(struct cu_reader *reader)
{
	struct catchup_error error;
	int rc = open_source(reader, &error);

	cu_threads_opened(
		reader->runtime, rc == CATCHUP_OK || rc == CATCHUP_LOCKED ? NULL : &error);
}

static void reader_main(void *argument)
{
	struct cu_reader *reader = argument;

	cu_thread_be_prompt(true);
	open_first(reader);
	reader->changed_ns = cu_os_now_ns();
	while (!atomic_load(&reader->runtime->stopping) && !all_ended(reader)) {
		int64_t retry_at_ns = look_or_recover(reader);
		int64_t look_at_ns;
		unsigned seen;

		if (retry_at_ns == CU_FOREVER && rest_while_all_work(reader))
			continue;
		if (retry_at_ns == CU_FOREVER && reader->changed && !reader->quiet &&
			reader->in_vain < SETTLE_DOUBLINGS) {
			settle(reader);
			continue;
		}
		look_at_ns = next_look(reader);
		seen = cu_watch_wait(
			reader->watch, retry_at_ns < look_at_ns ? retry_at_ns : look_at_ns);
		if (seen & (CU_WATCH_CHANGED | CU_WATCH_LOST))
			settle(reader);
		else if (seen == 0)
			note_quiet(reader);
	}
	close_source(reader);
	/* Nobody waits for looks of a reader that has ended. */
	atomic_store(&reader->looks_done, UINT64_MAX);
	cu_park_wake(&reader->runtime->progress);
	cu_threads_reader_closed(reader->runtime);
	/* While the workers end, and the logs are folded in. */
	cu_watch_stop(reader->watch);
}

void cu_reader_wake(struct cu_reader *reader)
{
	cu_watch_wake(reader->watch);
}

void cu_reader_tell(struct cu_reader *reader)
{
	if (!atomic_load_explicit(&reader->chained, memory_order_relaxed))
		atomic_store(&reader->chained, 1);
	cu_reader_wake(reader);
}

void cu_reader_made_room(struct cu_follower *f)
{
	if (half_empty(f) && atomic_exchange(&f->wants_room, 0))
		cu_reader_wake(f->reader);
}

void cu_reader_run_dry(struct cu_follower *f)
{
	if (atomic_exchange(&f->reader->rests, 0))
		cu_reader_wake(f->reader);
}

int cu_reader_start(struct cu_reader *reader, struct catchup_error *error)
{
	int rc = cu_thread_start(&reader->thread, "catchup-read", reader_main, reader);

	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start a reader thread");
}

void cu_reader_destroy(struct cu_reader *reader)
{
	cu_thread_join(&reader->thread);
	cu_watch_destroy(reader->watch);
	free(reader->followers);
	free(reader->path);
	free(reader);
}
