/* SPDX-License-Identifier: MIT */
/*
 * iterator.c - what a user holds: a subscriber, and a reading position of its own for what the reader
 * thread does not hand to it.
 *
 * Either the iterator reads by itself (`own`), in the user's thread, or it takes from its feed. It
 * begins with its own reading unless it starts at the end. One that drops when its feed is full reads
 * up to where it was attached, once; one that waits reads until it has caught up, each time it fell
 * behind.
 */
#include "base/check.h"
#include "base/error.h"
#include "changelog/ask.h"
#include "changelog/follow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RING_SLOTS_DEFAULT 16384u
#define EVENT_MEMORY_KEPT ((size_t)1024 * 1024)
/* How long to wait for the reader to notice that a file has changed: it wakes us, but perhaps just
 * before we sleep. */
#define RECHECK_NS (50 * CU_NS_PER_MS)

struct catchup_iterator {
	struct cu_subscriber sub;
	struct catchup_changelog *changelog; /* referenced */
	char *family, *table;                /* owned, may be NULL */

	/* the user's thread only */
	struct catchup_next next;
	struct cu_order order; /* what this iterator has read by itself, or what the feed joined on with */
	bool joined;           /* the feed has joined on */
	uint32_t told;         /* the newest trouble that was told */

	/* own reading */
	bool own;
	struct cu_place place;   /* offset: see split */
	int64_t limit;           /* read up to here */
	struct cu_order at_limit; /* one that drops: what the reader knew there */
	bool seeking;            /* the place is still to be gone to */
	struct cu_split split;
	struct cu_line_parser parser;
	bool held;            /* `line` is to be handed out after what was told before it */
	struct cu_line line;
	void *memory;         /* owned: the event */
	size_t memory_bytes;

	/* starting after a sequence */
	bool skipping;
	int64_t after;
	int64_t skipped; /* the newest that was skipped, -1 */

	/* asking (ask.h) */
	uint64_t asked; /* the look that answers, 0 when nothing is asked */
	bool answered;

	/* atomic */
	_Atomic bool canceled;
	_Atomic bool poked;
};

/* What the steps below return beside enum catchup_next_result. */
#define AGAIN 0
#define NOTHING (-1)

static int tell_sync(struct catchup_iterator *it, const struct catchup_out_of_sync *why)
{
	it->next.sync = *why;
	it->next.ticket = atomic_load_explicit(&it->sub.raised, memory_order_acquire);
	/* What was seen before is of an order that may have ended here. */
	it->next.seen = -1;
	return CATCHUP_NEXT_OUT_OF_SYNC;
}

static int raise_sync(struct catchup_iterator *it, int reason, int64_t expected, int64_t got)
{
	struct catchup_out_of_sync why = {reason, expected, got};

	cu_subscriber_raise(&it->sub);
	return tell_sync(it, &why);
}

/* ---- own reading: lines ------------------------------------------------------------------- */

static int tell_bad(struct catchup_iterator *it, int64_t at)
{
	cu_error_prefix(&it->next.error, "changelog '%s': byte %" PRId64 ": ", it->changelog->path,
		at);
	return CATCHUP_NEXT_BAD_LINE;
}

static int tell_nomem(struct catchup_iterator *it)
{
	cu_error_nomem(&it->next.error);
	return CATCHUP_NEXT_ERROR;
}

static int hand_out(struct catchup_iterator *it)
{
	size_t bytes;

	if (!cu_line_matches(&it->line, it->family, it->table)) {
		it->held = false;
		return AGAIN;
	}
	bytes = cu_line_event_bytes(&it->line);
	if (bytes > it->memory_bytes ||
		(it->memory_bytes > EVENT_MEMORY_KEPT && bytes < EVENT_MEMORY_KEPT)) {
		size_t want = bytes < 4096 ? 4096 : bytes;

		free(it->memory);
		it->memory = malloc(want);
		it->memory_bytes = it->memory ? want : 0;
		if (!it->memory) {
			it->held = true; /* to be tried again */
			return tell_nomem(it);
		}
	}
	it->held = false;
	it->next.event = cu_line_event(&it->line, it->memory);
	it->next.seen = it->line.sequence;
	return CATCHUP_NEXT_EVENT;
}

/* Whether a line stands at or before the sequence to start after. A step back ends the skipping. */
static bool skip(struct catchup_iterator *it, int64_t sequence)
{
	if (!it->skipping)
		return false;
	if (sequence > it->skipped && sequence <= it->after) {
		it->skipped = sequence;
		if (sequence < it->after)
			return true;
		it->order = (struct cu_order){it->after, false};
		it->skipping = false;
		return true;
	}
	it->order.last = sequence > it->after ? it->after : it->skipped;
	it->skipping = false;
	return false;
}

static int take_line(struct catchup_iterator *it, const struct cu_span *text, int64_t at)
{
	struct catchup_out_of_sync why;
	int rc = cu_line_parse(&it->parser, text->bytes, text->n, &it->line, &it->next.error);

	if (rc == CATCHUP_IO)
		return tell_bad(it, at);
	if (rc != CATCHUP_OK) {
		/* The line is lost; what follows does not fit, and says so. */
		return CATCHUP_NEXT_ERROR;
	}
	if (skip(it, it->line.sequence))
		return AGAIN;
	if (!cu_order_take(&it->order, it->line.sequence, &why)) {
		it->held = true;
		cu_subscriber_raise(&it->sub);
		return tell_sync(it, &why);
	}
	return hand_out(it);
}

/* ---- own reading: files ------------------------------------------------------------------- */

static void stop_own(struct catchup_iterator *it)
{
	it->own = false;
	cu_log_file_release(it->place.file);
	it->place.file = NULL;
	cu_split_finish(&it->split);
	cu_line_parser_finish(&it->parser);
	free(it->memory);
	it->memory = NULL;
	it->memory_bytes = 0;
}

/* What stood in the file when the iterator came is read, and the sequence to start after did not
 * come: unless there was nothing at all, the newest there is lies before it, so it went back. */
static int end_skipping(struct catchup_iterator *it)
{
	int64_t expected;

	if (!it->skipping)
		return AGAIN;
	it->skipping = false;
	it->order.last = it->after;
	if (it->skipped < 0)
		return AGAIN;
	expected = cu_order_expected(&it->order);
	it->order.last = it->skipped;
	return raise_sync(it, CATCHUP_SYNC_GAP, expected, it->skipped);
}

/*
 * The feed goes on here. What was read must fit what the reader knew here: it does, unless nothing
 * was read and the sequence to start after is not the one that comes before.
 */
static int settle(struct catchup_iterator *it, const struct cu_order *reader)
{
	int64_t expected;

	stop_own(it);
	if (reader->last >= 0 && it->order.last >= 0 && reader->last != it->order.last) {
		expected = cu_order_expected(&it->order);
		it->order.last = reader->last;
		return raise_sync(it, CATCHUP_SYNC_GAP, expected, -1);
	}
	return AGAIN;
}

/* Starts reading at the place. Where it cannot, it is tried again: nothing is read elsewhere. */
static int seek(struct catchup_iterator *it)
{
	int rc;

	it->seeking = true;
	if (!it->split.max_line)
		cu_split_init(&it->split, it->changelog->max_line);
	rc = cu_split_seek(&it->split, it->place.file->fd, it->place.offset);
	if (rc == 0) {
		cu_split_expect(&it->split, it->place.head.bytes, it->place.head.n);
		it->seeking = false;
		return AGAIN;
	}
	cu_error_errno(&it->next.error, CATCHUP_IO, -rc, "changelog '%s'", it->changelog->path);
	return CATCHUP_NEXT_ERROR;
}

/* At the limit, or the file is no longer as it was (lost). */
static int go_on(struct catchup_iterator *it, bool lost)
{
	struct cu_order reader;
	int result = lost ? AGAIN : end_skipping(it);

	if (result != AGAIN)
		return result;
	if (!it->sub.wait) {
		if (!lost) {
			cu_follow_done_reading(it->changelog, &it->sub);
			return settle(it, &it->at_limit);
		}
		/* What stood here when the iterator came is gone before it was read. */
		cu_follow_done_reading(it->changelog, &it->sub);
		stop_own(it);
		it->skipping = false;
		reader = it->order;
		it->order = (struct cu_order){-1, false};
		return raise_sync(it, CATCHUP_SYNC_LOST_FILE, cu_order_expected(&reader), -1);
	}
	it->place.offset = it->split.line_at;
	switch (cu_follow_onward(it->changelog, &it->sub, &it->place, lost, &it->limit, &reader)) {
	case CU_ONWARD_READ:
		/* The reader may know more of the file's beginning by now. */
		cu_split_expect(&it->split, it->place.head.bytes, it->place.head.n);
		return AGAIN;
	case CU_ONWARD_SEEK:
		it->order.crossed = true;
		it->limit = 0;
		result = seek(it);
		/* What stood there is gone. The next sequence shows it, unless none is known yet. */
		if (result == AGAIN && (lost || it->place.cut) && it->order.last < 0 &&
			!it->skipping)
			return raise_sync(it, CATCHUP_SYNC_LOST_FILE, -1, -1);
		return result;
	case CU_ONWARD_ATTACHED:
		return settle(it, &reader);
	case CU_ONWARD_WAIT:
		break;
	}
	return NOTHING;
}

static int read_more(struct catchup_iterator *it)
{
	int64_t at;
	ssize_t n;

	if (it->split.read_to >= it->limit) {
		/* A hole, or the end of a file that is over. */
		if (cu_split_pending(&it->split) &&
			cu_split_end(&it->split, &at, &it->next.error) == CU_SPLIT_BAD)
			return tell_bad(it, at);
		return go_on(it, false);
	}
	n = cu_split_read(&it->split, it->place.file->fd, it->limit);
	if (n > 0)
		return AGAIN;
	if (n == 0 || n == CU_SPLIT_CHANGED)
		return go_on(it, true);
	cu_error_errno(&it->next.error, CATCHUP_IO, (int)-n, "changelog '%s'",
		it->changelog->path);
	return CATCHUP_NEXT_ERROR;
}

/* Reads by itself up to the next result, or up to the end of the buffer. */
static int read_own(struct catchup_iterator *it)
{
	struct cu_span text;
	int64_t at;
	int result = AGAIN;

	if (it->seeking)
		result = seek(it);
	else if (it->held)
		result = hand_out(it);
	while (result == AGAIN) {
		switch (cu_split_next(&it->split, &text, &at, &it->next.error)) {
		case CU_SPLIT_LINE:
			result = take_line(it, &text, at);
			break;
		case CU_SPLIT_BAD:
			return tell_bad(it, at);
		case CU_SPLIT_NONE:
			return read_more(it);
		}
	}
	return result;
}

/* ---- the feed ----------------------------------------------------------------------------- */

static int take_record(struct catchup_iterator *it, const struct cu_record *record)
{
	struct catchup_out_of_sync why;

	switch (record->kind) {
	case CU_RECORD_EVENT:
		it->next.event = (const struct catchup_event *)(const void *)record->body;
		it->next.seen = it->next.event->sequence;
		return CATCHUP_NEXT_EVENT;
	case CU_RECORD_SYNC:
		memcpy(&why, record->body, sizeof(why));
		return tell_sync(it, &why);
	case CU_RECORD_BAD:
		memcpy(&it->next.error, record->body, sizeof(it->next.error));
		return CATCHUP_NEXT_BAD_LINE;
	default: {
		struct cu_join join;

		CU_CHECK(record->kind == CU_RECORD_JOIN);
		memcpy(&join, record->body, sizeof(join));
		it->order.crossed = it->order.crossed || join.crossed;
		it->joined = true;
		if (join.cut && it->order.last < 0) {
			it->order.last = join.sequence;
			return raise_sync(it, CATCHUP_SYNC_LOST_FILE, -1, join.sequence);
		}
		if (cu_order_take(&it->order, join.sequence, &why))
			return AGAIN;
		cu_subscriber_raise(&it->sub);
		return tell_sync(it, &why);
	}
	}
}

/* The feed is empty, and stays so: the reader has detached this iterator. */
static int fall_behind(struct catchup_iterator *it)
{
	cu_follow_take_resume(it->changelog, &it->sub, &it->place);
	it->own = true;
	it->order = it->place.order;
	it->joined = false;
	it->limit = 0;
	return seek(it);
}

static int take_feed(struct catchup_iterator *it)
{
	const struct cu_record *record = cu_feed_take(&it->sub.feed);
	struct catchup_out_of_sync why;

	if (record)
		return take_record(it, record);
	if (atomic_load_explicit(&it->sub.behind, memory_order_acquire))
		return cu_feed_empty(&it->sub.feed) ? fall_behind(it) : AGAIN;
	if (atomic_load_explicit(&it->sub.overflowed, memory_order_acquire) &&
		cu_follow_take_overflow(it->changelog, &it->sub, &why))
		return tell_sync(it, &why);
	return NOTHING;
}

/* ---- waiting ------------------------------------------------------------------------------ */

static bool has_news(const struct catchup_iterator *it)
{
	return atomic_load(&it->canceled) || !cu_feed_empty(&it->sub.feed) ||
	       atomic_load(&it->sub.behind) || atomic_load(&it->sub.overflowed) ||
	       atomic_load(&it->changelog->troubles) != it->told;
}

/* Whether the look that was asked for is done: what it found is in the feed, or was. */
static bool is_looked(const struct catchup_iterator *it)
{
	return it->asked != 0 && !it->own && atomic_load(&it->changelog->looks_done) >= it->asked;
}

/* Sleeps until there may be something. Returns false when the deadline came first. */
static bool wait_for_news(struct catchup_iterator *it, int64_t deadline_ns)
{
	uint32_t ticket = cu_park_prepare(&it->sub.feed.park);
	int64_t now, until = deadline_ns;

	if (atomic_load(&it->poked) || is_looked(it) ||
		(it->own ? atomic_load(&it->canceled) : has_news(it))) {
		cu_park_cancel(&it->sub.feed.park);
		return true;
	}
	now = cu_os_now_ns();
	if (now >= deadline_ns) {
		cu_park_cancel(&it->sub.feed.park);
		return false;
	}
	if (it->own && until > now + RECHECK_NS)
		until = now + RECHECK_NS;
	cu_park_wait(&it->sub.feed.park, ticket, until);
	return true;
}

/* What may be said to have been seen when nothing comes. */
static void set_seen(struct catchup_iterator *it)
{
	int64_t seen = -1;

	if (!it->own) {
		/* Read before the feed is found empty: what it counts was taken from there. */
		seen = atomic_load_explicit(&it->sub.feed.seen, memory_order_acquire);
		if (has_news(it))
			return;
	}
	/* The reader knows nothing before its first line: what was read by itself counts. But where the
	 * feed joins on, the order is ahead of the event, which is still to be handed out. */
	if (seen < 0 && !it->skipping && (it->own || !it->joined))
		seen = it->order.last;
	if (seen >= 0)
		it->next.seen = seen;
}

static int64_t deadline_of(int64_t timeout_ms)
{
	if (timeout_ms < 0 || timeout_ms > CU_FOREVER / CU_NS_PER_MS)
		return CU_FOREVER;
	return cu_deadline(cu_os_now_ns(), timeout_ms * CU_NS_PER_MS);
}

int catchup_iterator_next(
	struct catchup_iterator *it, int64_t timeout_ms, const struct catchup_next **out)
{
	int64_t deadline = INT64_MIN; /* not known yet: the clock is only asked when it matters */

	*out = &it->next;
	for (;;) {
		bool looked = is_looked(it);
		int result;

		if (atomic_load_explicit(&it->canceled, memory_order_acquire))
			return CATCHUP_NEXT_CANCELED;
		result = it->own ? read_own(it) : take_feed(it);
		if (result > 0)
			return result;
		if (!cu_follow_is_ours(it->changelog)) {
			cu_error_set(&it->next.error, CATCHUP_FORKED, 0,
				"changelog '%s': opened before the fork", it->changelog->path);
			return CATCHUP_NEXT_ERROR;
		}
		if (deadline == INT64_MIN)
			deadline = deadline_of(timeout_ms);
		if (result == AGAIN) {
			/* A look without a timeout goes on to the end of what there is. */
			if (timeout_ms > 0 && cu_os_now_ns() >= deadline) {
				set_seen(it);
				return CATCHUP_NEXT_TIMEOUT;
			}
			continue;
		}
		if (cu_follow_take_trouble(it->changelog, &it->told, &it->next.error))
			return CATCHUP_NEXT_ERROR;
		/* Only a look that was done before the feed was found empty is an answer. */
		if (looked) {
			it->answered = true;
			it->asked = 0;
		}
		if (looked || atomic_exchange(&it->poked, false) || !wait_for_news(it, deadline)) {
			set_seen(it);
			return CATCHUP_NEXT_TIMEOUT;
		}
	}
}

/* ---- the flag, opening and closing -------------------------------------------------------- */

void catchup_iterator_cancel(struct catchup_iterator *it)
{
	atomic_store(&it->canceled, true);
	cu_park_wake(&it->sub.feed.park);
}

void cu_iterator_poke(struct catchup_iterator *it)
{
	atomic_store(&it->poked, true);
	cu_park_wake(&it->sub.feed.park);
}

void cu_iterator_ask(struct catchup_iterator *it)
{
	it->answered = false;
	it->asked = cu_follow_ask(it->changelog);
}

bool cu_iterator_answered(const struct catchup_iterator *it)
{
	return it->answered;
}

uint64_t catchup_iterator_out_of_sync(const struct catchup_iterator *it)
{
	uint64_t rebuilt = atomic_load_explicit(&it->sub.rebuilt, memory_order_acquire);
	uint64_t raised = atomic_load_explicit(&it->sub.raised, memory_order_acquire);

	return raised > rebuilt ? raised : 0;
}

void catchup_iterator_rebuilt(struct catchup_iterator *it, uint64_t ticket)
{
	uint64_t rebuilt = atomic_load(&it->sub.rebuilt);
	uint64_t raised = atomic_load(&it->sub.raised);

	if (ticket > raised)
		ticket = raised;
	while (ticket > rebuilt &&
		!atomic_compare_exchange_weak(&it->sub.rebuilt, &rebuilt, ticket))
		;
}

static int check_options(
	const struct catchup_iterator_options *options, struct catchup_error *error)
{
	if ((options->changelog != NULL) == (options->path != NULL))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"iterator options: give either a changelog or a path");
	if (options->start < CATCHUP_START_BEGINNING || options->start > CATCHUP_START_AFTER)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'start': %d is not within 0 to 2",
			options->start);
	if (options->on_full < CATCHUP_ON_FULL_FLAG || options->on_full > CATCHUP_ON_FULL_WAIT)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'on_full': %d is not within 0 to 1", options->on_full);
	if (options->after_sequence < 0)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'after_sequence': %" PRId64 " is below the minimum 0",
			options->after_sequence);
	if (options->ring_slots == 1 || options->ring_slots > CATCHUP_RING_SLOTS_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'ring_slots': %u is not within 2 to %d", options->ring_slots,
			CATCHUP_RING_SLOTS_MAX);
	return CATCHUP_OK;
}

static void free_iterator(struct catchup_iterator *it)
{
	cu_feed_finish(&it->sub.feed);
	free(it->family);
	free(it->table);
	free(it);
}

static struct catchup_iterator *create(const struct catchup_iterator_options *options)
{
	struct catchup_iterator *it = calloc(1, sizeof(*it));

	if (!it)
		return NULL;
	if (cu_feed_init(&it->sub.feed, cu_ring_round_slots(options->ring_slots
								    ? options->ring_slots
								    : RING_SLOTS_DEFAULT)) != 0) {
		free(it);
		return NULL;
	}
	it->family = options->family ? strdup(options->family) : NULL;
	it->table = options->table ? strdup(options->table) : NULL;
	if ((options->family && !it->family) || (options->table && !it->table)) {
		free_iterator(it);
		return NULL;
	}
	it->sub.family = it->family;
	it->sub.table = it->table;
	it->sub.wait = options->on_full == CATCHUP_ON_FULL_WAIT;
	it->own = options->start != CATCHUP_START_END;
	it->skipping = options->start == CATCHUP_START_AFTER;
	it->after = options->after_sequence;
	it->skipped = -1;
	it->order.last = -1;
	it->next.seen = -1;
	return it;
}

/* Takes a reference of the changelog given, or opens one for the path. */
static int get_changelog(const struct catchup_iterator_options *options,
	struct catchup_changelog **out, struct catchup_error *error)
{
	struct catchup_changelog_options own = {
		.size = sizeof(own),
		.path = options->path,
		.max_line_bytes = options->max_line_bytes,
		.open_wait_ms = options->open_wait_ms,
		.databases = options->databases,
	};

	if (!options->changelog)
		return catchup_changelog_open(&own, out, error);
	if (!cu_follow_is_ours(options->changelog))
		return cu_error_set(error, CATCHUP_FORKED, 0, "changelog '%s': opened before the fork",
			options->changelog->path);
	cu_follow_ref(options->changelog);
	*out = options->changelog;
	return CATCHUP_OK;
}

int catchup_iterator_open(const struct catchup_iterator_options *given,
	struct catchup_iterator **out, struct catchup_error *error)
{
	struct catchup_iterator_options options = {0};
	struct catchup_iterator *it;
	int rc;

	*out = NULL;
	if (!given || given->size < sizeof(size_t) || given->size > sizeof(options))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"iterator options: size %zu is not within %zu to %zu",
			given ? given->size : 0, sizeof(size_t), sizeof(options));
	memcpy(&options, given, given->size);
	rc = check_options(&options, error);
	if (rc != CATCHUP_OK)
		return rc;
	it = create(&options);
	if (!it)
		return cu_error_nomem(error);
	rc = get_changelog(&options, &it->changelog, error);
	if (rc != CATCHUP_OK) {
		free_iterator(it);
		return rc;
	}
	it->told = atomic_load(&it->changelog->troubles);
	cu_follow_subscribe(it->changelog, &it->sub, !it->own, &it->place, &it->limit,
		&it->at_limit);
	/* In a file without a line, the reader's order is that of the files before it. */
	if (it->own && it->limit == 0 && !it->skipping)
		it->order = it->at_limit;
	if (it->own && seek(it) != AGAIN) {
		if (error)
			*error = it->next.error;
		rc = it->next.error.code;
		catchup_iterator_close(it);
		return rc;
	}
	*out = it;
	return CATCHUP_OK;
}

void catchup_iterator_close(struct catchup_iterator *it)
{
	if (!it || !cu_follow_is_ours(it->changelog))
		return;
	cu_follow_unsubscribe(it->changelog, &it->sub);
	stop_own(it);
	catchup_changelog_close(it->changelog);
	free_iterator(it);
}
