/* SPDX-License-Identifier: MIT */
/*
 * changelog_judge.c - whether what an iterator tells is right, after what the writer has done so far.
 */
#include "changelog_history.h"

#include <inttypes.h>

bool history_is_for(const struct reader *r, const struct event *event)
{
	return event->good && (!r->table || r->table == event->table);
}

/*
 * Whether an iterator could know that something is missing before event `to`: it could not when the
 * sequences that it saw, those that it filters away among them, follow upon each other.
 */
static bool follows(const struct history *h, const struct reader *r, int64_t last, long from, long to)
{
	for (long i = from; i < to && last != h->events[to].sequence - 1; i++)
		if (h->events[i].good && !history_is_for(r, &h->events[i]) && last < INT64_MAX &&
			h->events[i].sequence == last + 1)
			last++;
	return last < INT64_MAX && last + 1 == h->events[to].sequence;
}

static bool fits(const struct history *h, const struct reader *r, long to)
{
	long from = r->at + 1 > r->from ? r->at + 1 : r->from;

	if (r->sequence >= 0)
		return follows(h, r, r->sequence, from, to);
	/* The hole of one truncation begins like that of the next, before a writer that does not
	 * append: until a sequence is known they cannot be told apart. */
	if (h->holes > 1)
		return true;
	/* The first sequence that it saw may have been of any event that it filters away. */
	for (long i = from; i < to; i++)
		if (h->events[i].good && !history_is_for(r, &h->events[i]) &&
			follows(h, r, h->events[i].sequence, i + 1, to))
			return true;
	return false;
}

/* Whether what came after an event may have hidden that it is missing. */
bool history_is_hidden(const struct history *h, const struct reader *r, long missing)
{
	for (long i = missing + 1; i < h->n_events; i++)
		if (h->events[i].good && fits(h, r, i))
			return true;
	return false;
}

static void judge_event(struct history *h, struct reader *r, const struct catchup_event *event)
{
	long w = event->n_keys > 0 ? (long)event->keys[0].integer : -1;
	const struct event *written = &h->events[w];
	long missing = 0;

	history_tell(h, "      %td gives event %ld, sequence %" PRId64, r - h->readers, w, event->sequence);
	h->seen.given++;
	if (w < 0 || w >= h->n_events || !history_is_for(r, written) || event->sequence != written->sequence) {
		history_broken(h, "event %ld with sequence %" PRId64 " was never written so", w,
			event->sequence);
		return;
	}
	/* What is truncated under a reader that is behind may be read a second time; then it was told
	 * that it is out of sync. One that asked for a sequence that is not there begins anywhere. */
	if (w <= r->at && r->flagged && !h->gentle && (h->truncations > 0 || !r->given))
		r->at = w - 1;
	if (w <= r->at) {
		history_broken(h, "event %ld came after event %ld", w, r->at);
		return;
	}
	for (long i = r->at + 1 > r->from ? r->at + 1 : r->from; i < w; i++)
		missing += history_is_for(r, &h->events[i]);
	if (missing > 0 && !r->flagged && !r->anywhere && !r->blank && (h->gentle || !fits(h, r, w)))
		history_broken(h, "%ld events between %ld and %ld are missing in silence", missing, r->at, w);
	if (h->gentle && event->sequence <= r->seen)
		history_broken(h, "sequence %" PRId64 " comes after it was said that %" PRId64 " was seen",
			event->sequence, r->seen);
	r->at = w;
	r->sequence = event->sequence;
	r->anywhere = r->blank = r->flagged = false;
	r->given = true;
}

void history_judge(struct history *h, struct reader *r, int result, const struct catchup_next *next)
{
	switch (result) {
	case CATCHUP_NEXT_EVENT:
		judge_event(h, r, next->event);
		break;
	case CATCHUP_NEXT_OUT_OF_SYNC:
		history_tell(h, "      %td tells %s(%" PRId64 ",%" PRId64 ")", r - h->readers,
			catchup_sync_reason_name(next->sync.reason), next->sync.expected,
			next->sync.got);
		if (h->gentle && next->sync.reason != CATCHUP_SYNC_OVERFLOW)
			history_broken(h, "out of sync (%s, expected %" PRId64 ", got %" PRId64
				  ") where nothing is missing",
				catchup_sync_reason_name(next->sync.reason), next->sync.expected,
				next->sync.got);
		if (next->ticket == 0)
			history_broken(h, "out of sync, and the ticket is 0");
		r->flagged = true;
		r->told++;
		h->seen.told++;
		h->seen.overflows += next->sync.reason == CATCHUP_SYNC_OVERFLOW;
		break;
	case CATCHUP_NEXT_BAD_LINE:
		history_tell(h, "      %td tells of a bad line: %s", r - h->readers, next->error.message);
		r->bad++;
		h->seen.bad++;
		break;
	case CATCHUP_NEXT_ERROR:
		history_tell(h, "      %td fails: %s", r - h->readers, next->error.message);
		h->seen.errors++;
		if (!h->faults)
			history_broken(h, "%s", next->error.message);
		break;
	case CATCHUP_NEXT_TIMEOUT:
		if (next->seen > r->seen)
			r->seen = next->seen;
		break;
	default:
		history_broken(h, "next returned %d", result);
	}
}
