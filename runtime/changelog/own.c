/* SPDX-License-Identifier: MIT */
/*
 * own.c - what an iterator reads by itself, in its user's thread: the lines that the reader thread does
 * not hand to it, from file to file.
 */
#include "changelog/iterator_inside.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdlib.h>

#define EVENT_MEMORY_KEPT ((size_t)1024 * 1024)

/* ---- lines ----------------------------------------------------------------------------------- */

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
		return CU_NEXT_AGAIN;
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
static bool skip(struct catchup_iterator *it, int64_t sequence, int64_t at)
{
	if (!it->skipping)
		return false;
	if (sequence > it->skipped && sequence <= it->after) {
		it->skipped = sequence;
		it->skipped_at = at;
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

	it->again.bytes = NULL;
	if (rc == CATCHUP_IO)
		return tell_bad(it, at);
	if (rc != CATCHUP_OK) {
		/* The buffer stays as it is until it is read again. */
		it->again = *text;
		it->again_at = at;
		return CATCHUP_NEXT_ERROR;
	}
	if (skip(it, it->line.sequence, at))
		return CU_NEXT_AGAIN;
	if (!cu_order_take(&it->order, it->line.sequence, &why)) {
		it->held = true;
		cu_subscriber_raise(&it->sub);
		return cu_iterator_tell_sync(it, &why);
	}
	return hand_out(it);
}

/* ---- files ----------------------------------------------------------------------------------- */

void cu_own_stop(struct catchup_iterator *it)
{
	it->own = false;
	it->again.bytes = NULL;
	cu_log_file_release(it->place.file);
	it->place.file = NULL;
	cu_split_finish(&it->split);
	cu_line_parser_finish(&it->parser);
	free(it->memory);
	it->memory = NULL;
	it->memory_bytes = 0;
}


/*
 * The feed goes on here. What was read must fit what the reader knew here. It does not where nothing
 * was read and the sequence to start after is not the one that comes before, or where a file was gone
 * before this one had read it: that is told now, whenever the next event may come.
 */
static int settle(struct catchup_iterator *it, const struct cu_order *reader)
{
	int64_t expected;

	cu_own_stop(it);
	if (reader->last >= 0 && it->order.last >= 0 && reader->last != it->order.last) {
		expected = cu_order_expected(&it->order);
		it->order.last = reader->last;
		return cu_iterator_raise_sync(it,
			it->order.crossed ? CATCHUP_SYNC_LOST_FILE : CATCHUP_SYNC_GAP, expected, -1);
	}
	return CU_NEXT_AGAIN;
}

/* Starts reading at the place. Where it cannot, it is tried again: nothing is read elsewhere. */
int cu_own_seek(struct catchup_iterator *it)
{
	int rc;

	it->seeking = true;
	if (!it->split.max_line)
		cu_split_init(&it->split, it->changelog->max_line);
	rc = cu_split_seek(&it->split, it->place.file->fd, it->place.offset);
	if (rc == 0) {
		cu_split_expect(&it->split, it->place.head.bytes, it->place.head.n);
		it->seeking = false;
		return CU_NEXT_AGAIN;
	}
	cu_error_errno(&it->next.error, CATCHUP_IO, -rc, "changelog '%s'", it->changelog->path);
	return CATCHUP_NEXT_ERROR;
}

/* What stood in the file when the iterator came is read, and the sequence to start after did not
 * come: unless there was nothing at all, the newest there is lies before it, so it went back. Its line
 * is read again, as the one that comes after a gap. */
static int end_skipping(struct catchup_iterator *it)
{
	it->skipping = false;
	it->order.last = it->after;
	if (it->skipped < 0)
		return CU_NEXT_AGAIN;
	it->place.offset = it->skipped_at;
	return cu_own_seek(it);
}

/* At the limit, or the file is no longer as it was (lost). */
static int go_on(struct catchup_iterator *it, bool lost)
{
	struct cu_order reader;
	int result;

	if (it->skipping && !lost)
		return end_skipping(it);
	if (!it->sub.wait) {
		if (!lost) {
			cu_follow_done_reading(it->changelog, &it->sub);
			return settle(it, &it->at_limit);
		}
		/* What stood here when the iterator came is gone before it was read. */
		cu_follow_done_reading(it->changelog, &it->sub);
		cu_own_stop(it);
		it->skipping = false;
		reader = it->order;
		it->order = (struct cu_order){-1, false};
		return cu_iterator_raise_sync(it, CATCHUP_SYNC_LOST_FILE, cu_order_expected(&reader), -1);
	}
	/* Where this one found no sequence, the reader may know it from the file before. */
	if (!lost && it->order.last < 0)
		it->order = it->at_limit;
	it->at_limit.last = -1;
	it->place.offset = it->split.line_at;
	switch (cu_follow_onward(it->changelog, &it->sub, &it->place, lost, &it->limit, &reader)) {
	case CU_ONWARD_READ:
		/* The reader may know more of the file's beginning by now. */
		cu_split_expect(&it->split, it->place.head.bytes, it->place.head.n);
		return CU_NEXT_AGAIN;
	case CU_ONWARD_SEEK:
		it->order.crossed = true;
		it->limit = 0;
		result = cu_own_seek(it);
		/* What stood there is gone. The next sequence shows it, unless none is known yet. */
		if (result == CU_NEXT_AGAIN && (lost || it->place.cut) && it->order.last < 0 &&
			!it->skipping)
			return cu_iterator_raise_sync(it, CATCHUP_SYNC_LOST_FILE, -1, -1);
		return result;
	case CU_ONWARD_ATTACHED:
		return settle(it, &reader);
	case CU_ONWARD_WAIT:
		break;
	}
	return CU_NEXT_NOTHING;
}

static int read_more(struct catchup_iterator *it)
{
	int64_t at;
	ssize_t n;

	if (!cu_iterator_may_lock(it))
		return CATCHUP_NEXT_ERROR;
	if (it->split.read_to >= it->limit) {
		/* A hole, or the end of a file that is over. */
		if (cu_split_pending(&it->split) &&
			cu_split_end(&it->split, &at, &it->next.error) == CU_SPLIT_BAD)
			return tell_bad(it, at);
		return go_on(it, false);
	}
	n = cu_split_read(&it->split, it->place.file->fd, it->limit);
	if (n > 0)
		return CU_NEXT_AGAIN;
	if (n == 0 || n == CU_SPLIT_CHANGED)
		return go_on(it, true);
	cu_error_errno(&it->next.error, CATCHUP_IO, (int)-n, "changelog '%s'",
		it->changelog->path);
	return CATCHUP_NEXT_ERROR;
}

/* Reads by itself up to the next result, or up to the end of the buffer. */
int cu_own_read(struct catchup_iterator *it)
{
	struct cu_span text;
	int64_t at;
	int result = CU_NEXT_AGAIN;

	if (it->seeking)
		result = cu_own_seek(it);
	else if (it->held)
		result = hand_out(it);
	else if (it->again.bytes)
		result = take_line(it, &(struct cu_span){it->again.bytes, it->again.n}, it->again_at);
	while (result == CU_NEXT_AGAIN) {
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
