/* SPDX-License-Identifier: MIT */
/*
 * deliver.c - from the reader's buffer into the feeds of those who are attached.
 *
 * A line is parsed once, whoever it is for. A sequence that should not come raises every attached
 * subscriber's flag, whatever it filters.
 */
#include "changelog/follow.h"

#include "base/error.h"
#include "changelog/tail.h"

#include <inttypes.h>
#include <string.h>

/* ---- when there is no room ---------------------------------------------------------------- */

/* The subscriber reads on by itself, from `at`. */
static void detach(struct catchup_changelog *c, struct cu_subscriber *sub, int64_t at,
	const struct cu_order *order)
{
	const struct cu_generation *g = &c->generations[c->current];

	cu_feed_publish(&sub->feed);
	sub->resume = (struct cu_place){
		.file = cu_log_file_retain(g->file),
		.number = g->number,
		.offset = at,
		.order = *order,
		.head = g->head,
	};
	sub->reading = g->number;
	sub->attached = false;
	/* Whoever sees this also sees all that was published before. */
	atomic_store_explicit(&sub->behind, true, memory_order_release);
}

static void overflow(struct cu_subscriber *sub, int64_t expected)
{
	cu_subscriber_raise(sub);
	sub->dropped = expected;
	atomic_store_explicit(&sub->overflowed, true, memory_order_release);
}

/* After an overflow: goes on when half of the ring is free again, so that a reader that is only
 * just too slow is not told out of sync for every other event. */
static bool recover(struct cu_subscriber *sub, size_t bytes, int64_t got)
{
	struct catchup_out_of_sync *why;

	if (!cu_feed_half_empty(&sub->feed) ||
		!cu_feed_has_room(&sub->feed, 2, bytes + 2 * sizeof(*why)))
		return false;
	why = cu_feed_give(&sub->feed, CU_RECORD_SYNC, sizeof(*why), bytes);
	if (!why)
		return false;
	*why = (struct catchup_out_of_sync){CATCHUP_SYNC_OVERFLOW, sub->dropped, got};
	atomic_store_explicit(&sub->overflowed, false, memory_order_release);
	return true;
}

/* ---- results ------------------------------------------------------------------------------ */

/* One line as all subscribers see it. */
struct line {
	int64_t at;                      /* its offset */
	size_t more;                     /* bytes that follow it in the buffer */
	struct cu_order before;          /* the order before it */
	const struct cu_line *event;     /* NULL: a bad line */
	const struct catchup_error *bad; /* why */
	const struct catchup_out_of_sync *why; /* events may be missing before it, or NULL */
};

/* Gives one result; without room, detaches or overflows and returns NULL. */
static void *give(struct catchup_changelog *c, struct cu_subscriber *sub, const struct line *line,
	int kind, size_t bytes)
{
	void *body = NULL;

	if (cu_feed_has_room(&sub->feed, 1, bytes + sizeof(struct cu_record)))
		body = cu_feed_give(&sub->feed, kind, bytes, line->more);
	if (body)
		return body;
	if (sub->wait)
		detach(c, sub, line->at, &line->before);
	else
		overflow(sub, line->event && !line->why ? line->event->sequence
							: cu_order_expected(&line->before));
	return NULL;
}

/* The record that tells a subscriber where the reader's knowledge begins. */
static bool announce(struct cu_subscriber *sub, const struct line *line)
{
	struct cu_join *join = cu_feed_give(&sub->feed, CU_RECORD_JOIN, sizeof(*join), 0);

	if (!join)
		return false;
	*join = (struct cu_join){line->event->sequence, line->before.crossed, sub->cut};
	sub->join = sub->cut = false;
	return true;
}

static void deliver_event(
	struct catchup_changelog *c, struct cu_subscriber *sub, const struct line *line)
{
	bool matches = cu_line_matches(line->event, sub->family, sub->table);
	size_t bytes = matches ? cu_line_event_bytes(line->event) : 0;
	struct line told = *line;
	void *body;

	if (line->why)
		cu_subscriber_raise(sub);
	/* Without memory for it, it is tried again with the next line; a gap that this hides shows
	 * there too, since the sequences go up. */
	if (sub->join && !announce(sub, line))
		overflow(sub, line->event->sequence);
	if (atomic_load_explicit(&sub->overflowed, memory_order_relaxed)) {
		/* What is pending is told with the overflow; a line that is filtered away has
		 * nothing to be told before. */
		if (!matches || !recover(sub, bytes, line->event->sequence))
			return;
	} else if (line->why) {
		struct catchup_out_of_sync *why =
			give(c, sub, line, CU_RECORD_SYNC, sizeof(*why));

		if (!why)
			return;
		*why = *line->why;
		/* Should the event itself find no room, the gap is not told again. */
		told.before = (struct cu_order){line->event->sequence - 1, false};
		told.why = NULL;
	}
	if (!matches)
		return;
	body = give(c, sub, &told, CU_RECORD_EVENT, bytes);
	if (body)
		cu_line_event(line->event, body);
}

static void deliver_bad(
	struct catchup_changelog *c, struct cu_subscriber *sub, const struct line *line)
{
	struct catchup_error *error;

	if (atomic_load_explicit(&sub->overflowed, memory_order_relaxed) &&
		!recover(sub, sizeof(*error), -1))
		return;
	error = give(c, sub, line, CU_RECORD_BAD, sizeof(*error));
	if (error) {
		*error = *line->bad;
		cu_error_prefix(error, "changelog '%s': byte %" PRId64 ": ", c->path, line->at);
	}
}

static void deliver(struct catchup_changelog *c, const struct line *line)
{
	for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next) {
		if (!sub->attached)
			continue;
		if (line->event)
			deliver_event(c, sub, line);
		else
			deliver_bad(c, sub, line);
	}
}

/* ---- a buffer ----------------------------------------------------------------------------- */

static bool anybody_attached(const struct catchup_changelog *c)
{
	for (const struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next)
		if (sub->attached)
			return true;
	return false;
}

static void deliver_text(struct catchup_changelog *c, const struct cu_span *text, int64_t at)
{
	struct catchup_error error;
	struct catchup_out_of_sync why;
	struct cu_line event;
	struct line line = {
		.at = at, .more = c->split.used - c->split.start, .before = c->order};
	int rc = cu_line_parse(&c->parser, text->bytes, text->n, &event, &error);

	if (rc == CATCHUP_OK) {
		line.event = &event;
		if (!cu_order_take(&c->order, event.sequence, &why))
			line.why = &why;
		deliver(c, &line);
	} else if (rc == CATCHUP_IO) {
		line.bad = &error;
		deliver(c, &line);
	} else {
		/* No memory to understand the line: to subscribers it is as if it had no room. */
		for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next) {
			if (sub->attached && sub->wait)
				detach(c, sub, at, &line.before);
			else if (sub->attached && !atomic_load(&sub->overflowed))
				overflow(sub, cu_order_expected(&line.before));
		}
		c->order.last = -1;
	}
}

static void publish(struct catchup_changelog *c)
{
	for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next) {
		bool news = cu_feed_publish(&sub->feed);

		if (sub->attached)
			atomic_store_explicit(
				&sub->feed.seen, c->order.last, memory_order_release);
		if (news || atomic_load(&sub->behind) || atomic_load(&sub->overflowed))
			cu_park_wake(&sub->feed.park);
	}
}

/* Nobody is attached. Only the last lines are looked at, for the order of whoever comes next. */
static void pass_over(struct catchup_changelog *c)
{
	struct catchup_error error;
	struct cu_span last[CU_TAIL_LINES], text;
	struct cu_line line;
	size_t n = 0;
	int64_t at;
	enum cu_split_got got;

	while ((got = cu_split_next(&c->split, &text, &at, &error)) != CU_SPLIT_NONE)
		if (got == CU_SPLIT_LINE)
			last[n++ % CU_TAIL_LINES] = text;
	for (size_t back = 1; back <= n && back <= CU_TAIL_LINES; back++) {
		text = last[(n - back) % CU_TAIL_LINES];
		if (cu_line_parse(&c->parser, text.bytes, text.n, &line, &error) != CATCHUP_OK)
			continue;
		c->order = (struct cu_order){line.sequence, false};
		return;
	}
	if (n > CU_TAIL_LINES)
		c->order = (struct cu_order){-1, false};
}

void cu_deliver_buffer(struct catchup_changelog *c)
{
	struct catchup_error error;
	struct cu_span text;
	int64_t at;
	enum cu_split_got got;

	cu_mutex_check_held(&c->mu);
	if (!anybody_attached(c)) {
		pass_over(c);
		return;
	}
	while ((got = cu_split_next(&c->split, &text, &at, &error)) != CU_SPLIT_NONE) {
		if (got == CU_SPLIT_LINE)
			deliver_text(c, &text, at);
		else
			deliver(c, &(struct line){.at = at, .before = c->order, .bad = &error});
	}
	publish(c);
}

void cu_deliver_pending(struct catchup_changelog *c)
{
	struct catchup_error error;
	const struct line line = {.at = c->split.line_at, .before = c->order, .bad = &error};

	cu_mutex_check_held(&c->mu);
	c->unsaid = false;
	for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next) {
		if (sub->attached && sub->within && cu_split_passing(&c->split, &error))
			deliver_bad(c, sub, &line);
		sub->within = false;
	}
	publish(c);
}

void cu_deliver_end(struct catchup_changelog *c)
{
	struct catchup_error error;
	int64_t at;

	cu_mutex_check_held(&c->mu);
	while (cu_split_end(&c->split, &at, &error) == CU_SPLIT_BAD)
		deliver(c, &(struct line){.at = at, .before = c->order, .bad = &error});
	publish(c);
}
