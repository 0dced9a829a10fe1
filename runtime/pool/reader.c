/* SPDX-License-Identifier: MIT */
/*
 * reader.c - the one thread a source: when it looks at it and when it sleeps, and what comes of a source
 * that cannot be read. What a look is stands in look.c.
 *
 * Sleeping: a watch that begins says that something may have changed, so no commit falls between. SQLite
 * writes the log before the commit becomes visible, so the notice comes too early: the thread lets the file
 * settle, deaf to the other notices of the commit, and looks then. Who writes may have been interrupted in
 * between, or sync, so it looks again at growing intervals until they reach the safety net's; fewer times,
 * when a commit was seen that explains the notice. In the middle of a large transaction, or of a
 * checkpoint, notices come without an end and without a commit: the more looks are in vain, the longer it
 * settles. So it does while commit after commit brings no row and followers have work in hand: those are
 * theirs, and each notice that is taken at once costs them a wake-up. Where the source is written by a
 * consumer of this runtime, which tells of each commit, notices are of commits elsewhere in the file, and
 * it settles long; being told ends that.
 *
 * While every follower has work in hand, what is new concerns nobody yet, and most notices come of
 * their own commits. Then the thread rests: it looks once in a while, or when one has run dry; ever more
 * seldom while none of them gets on, because it pauses, say.
 */
#include "pool/runtime.h"
#include "pool/perform/trouble.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

#define REST_NS (10 * CU_NS_PER_MS)
/* A small commit takes less; a look in vain takes as much. Who wakes on the processor of the one that
 * writes, before that one has run for longer than itself, is kept waiting for it until the next tick. */
#define SETTLE_NS INT64_C(30000)
#define SETTLE_DOUBLINGS 5
#define ECHOES 2u /* commits that bring no row: more in a row make it settle longer */
#define LITTLE_WORK_NS INT64_C(150000)
#define CHAINED_SETTLE_NS CU_NS_PER_MS
#define FIRST_RELOOK_NS (SETTLE_NS << SETTLE_DOUBLINGS)
/* Each pause is so many halves of the time since the notice: who syncs between the notice and the commit
 * is seen so much later than he would be. */
#define RELOOK_HALVES 1
/* When the commit that a notice was about has been seen, it is another one's that is looked for: who
 * commits again at once has written the next one by then, and syncs. In the milliseconds that follow who
 * commits one small row after the other would be woken into: there is one look behind them. */
#define FIRST_RELOOK_SEEN_NS INT64_C(150000)
#define SECOND_RELOOK_SEEN_NS (10 * CU_NS_PER_MS)
#define RELOOK_HALVES_SEEN 8
#define RETRY_BASE_NS (20 * CU_NS_PER_MS)
#define RETRY_MAX_NS (2 * CU_NS_PER_S)
#define READER_BUSY_MS 250
#define READER_CACHE_KIB 1024
#define BLIND_POLL_NS (50 * CU_NS_PER_MS) /* where folders cannot be watched */

/* ---- telling followers ---------------------------------------------------------------------- */

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
		cu_look_fail(reader->followers[i], error);
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

/* Whether once more would not help, though the source may be read anew. A schema error may come of a
 * table that is being replaced: it has one more try. A query without an end has had its time, and what
 * SQLite had no word against, an id that is none, stands there. */
static bool is_for_good(const struct cu_reader *reader, const struct catchup_error *error)
{
	return reader->faults > 0 || error->code == CATCHUP_BACKWARDS ||
		(error->code == CATCHUP_CONSUMER && error->detail == 0) ||
		(error->detail & 0xff) == SQLITE_INTERRUPT;
}

/* The followers wait, or end, or hear nothing of it yet. */
static void tell(struct cu_reader *reader, struct catchup_error *error)
{
	if (passes(error)) {
		starve_all(reader, error);
	} else if (is_for_good(reader, error)) {
		if (error->code == CATCHUP_CONFIG || error->code == CATCHUP_USAGE)
			error->code = CATCHUP_CONSUMER;
		fail_all(reader, error);
	} else {
		cu_log(&reader->runtime->logger, CATCHUP_LOG_WARN, reader->path,
			"the source cannot be read: %s; trying again", error->message);
		reader->told = true;
	}
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
		rc = cu_look(reader, &error);
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
	tell(reader, &error);
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

/* Who is not started says so with a wake-up. */
static bool takes_rows(const struct cu_follower *f)
{
	return f->feed.started && !atomic_load(&f->ended);
}

static bool is_at_work(const struct cu_follower *f)
{
	return takes_rows(f) && atomic_load(&f->watermark) < f->feed.pushed;
}

static bool any_at_work(const struct cu_reader *reader)
{
	for (size_t i = 0; i < reader->n_followers; i++)
		if (is_at_work(reader->followers[i]))
			return true;
	return false;
}

static unsigned settle_doublings(const struct cu_reader *reader)
{
	uint32_t n = reader->in_vain;

	if (reader->beside > n + ECHOES && any_at_work(reader))
		n = reader->beside - ECHOES;
	return n < SETTLE_DOUBLINGS ? n : SETTLE_DOUBLINGS;
}

/* Something was written: its commit is visible a little later. */
static void settle(struct cu_reader *reader)
{
	int64_t ns = SETTLE_NS << settle_doublings(reader);

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
	int64_t pause_ns = net_ns; /* years may have passed: not multiplied */

	if (!cu_watch_works(reader->watch) && net_ns > BLIND_POLL_NS)
		net_ns = BLIND_POLL_NS;
	if (since_ns < net_ns)
		pause_ns = since_ns / 2 * (reader->changed ? RELOOK_HALVES : RELOOK_HALVES_SEEN);
	if (!reader->changed && since_ns > first_ns && pause_ns < SECOND_RELOOK_SEEN_NS)
		pause_ns = SECOND_RELOOK_SEEN_NS;
	if (pause_ns < first_ns)
		pause_ns = first_ns;
	return cu_deadline(now_ns, pause_ns < net_ns ? pause_ns : net_ns);
}

/* Whether nobody waits for rows, and somebody has some to do. */
static bool all_at_work(const struct cu_reader *reader)
{
	bool any = false;

	for (size_t i = 0; i < reader->n_followers; i++) {
		const struct cu_follower *f = reader->followers[i];

		if (!takes_rows(f))
			continue;
		if (!is_at_work(f))
			return false;
		any = true;
	}
	return any;
}

/* Doubled while no watermark moves, up to the safety net's interval. */
static int64_t next_rest_ns(struct cu_reader *reader)
{
	int64_t net_ns = (int64_t)reader->runtime->options.poll_ms * CU_NS_PER_MS;
	int64_t rest_ns = 2 * reader->rest_ns;
	uint64_t got_to = 0;

	for (size_t i = 0; i < reader->n_followers; i++)
		got_to += (uint64_t)atomic_load(&reader->followers[i]->watermark);
	if (got_to != reader->got_to || rest_ns < REST_NS)
		rest_ns = REST_NS;
	reader->got_to = got_to;
	reader->rest_ns = rest_ns < net_ns ? rest_ns : net_ns;
	return reader->rest_ns;
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
		cu_watch_rest(reader->watch, cu_deadline(cu_os_now_ns(), next_rest_ns(reader)));
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
