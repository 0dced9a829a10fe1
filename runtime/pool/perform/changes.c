/* SPDX-License-Identifier: MIT */
#include "pool/perform/changes.h"

#include "pool/perform/changes_inside.h"
#include "pool/runtime.h"
#include "pool/perform/trouble.h"

#include "base/check.h"
#include "base/error.h"
#include "changelog/ask.h"

#include <stdlib.h>
#include <string.h>

/* How often a follower hears how far lines that are not for it go, at the least. */
#define SEEN_MS 1000

/* Events under way to one follower, in the ring and in its hands, or one that is larger. */
#define HELD_BYTES_MAX ((size_t)8 * 1024 * 1024)

struct cu_changes {
	/* constant */
	struct cu_follower *f; /* borrowed */
	char *family, *table;  /* owned; "" for any */

	/* follower's thread, while the thread below does not run */
	struct catchup_iterator *iterator;
	struct cu_thread thread;

	/* the thread that brings, while it runs */
	bool due; /* a SYNC stands before whatever comes next */
	struct catchup_out_of_sync why; /* the first reason */
	int64_t got; /* the sequence that the last of them goes on with, -1: not known */
	uint64_t ticket;
	uint64_t asked; /* the request that the iterator was asked for */

	struct cu_park room; /* for room, and the end */
	_Atomic int ending;
	_Atomic size_t held; /* bytes under way */

	/* follower's thread only */
	struct cu_change *taken, *last_taken;
	struct cu_change *cursor; /* where cu_changes_event found the last one */
	size_t n_taken;
	struct cu_change *sync;
	bool stands;              /* a SYNC was answered: what is brought follows `stands_at` */
	int64_t stands_at;
};

/* ---- bringing --------------------------------------------------------------------------------- */

/* One block: the change, its keys, and all text. */
static struct cu_change *copy_event(const struct catchup_event *event)
{
	size_t bytes = sizeof(struct cu_change) + event->n_keys * sizeof(struct catchup_key) +
		strlen(event->family) + strlen(event->table) + 2;
	struct cu_change *change;
	struct catchup_key *keys;
	char *text;

	for (size_t i = 0; i < event->n_keys; i++)
		bytes += strlen(event->keys[i].name) + strlen(event->keys[i].type) + 2 +
			(event->keys[i].kind == CATCHUP_KEY_TEXT ? event->keys[i].text_bytes + 1 : 0);
	change = calloc(1, bytes);
	if (!change)
		return NULL;
	keys = (struct catchup_key *)(void *)(change + 1);
	text = (char *)(keys + event->n_keys);
	change->kind = CU_CHANGE_EVENT;
	change->bytes = bytes;
	change->sequence = event->sequence;
	change->event = *event;
	change->event.keys = keys;
	change->event.family = text;
	text = stpcpy(text, event->family) + 1;
	change->event.table = text;
	text = stpcpy(text, event->table) + 1;
	for (size_t i = 0; i < event->n_keys; i++) {
		keys[i] = event->keys[i];
		keys[i].name = text;
		text = stpcpy(text, event->keys[i].name) + 1;
		keys[i].type = text;
		text = stpcpy(text, event->keys[i].type) + 1;
		if (keys[i].kind != CATCHUP_KEY_TEXT)
			continue;
		memcpy(text, event->keys[i].text, keys[i].text_bytes);
		keys[i].text = text;
		text += keys[i].text_bytes + 1;
	}
	return change;
}

static bool ending(struct cu_changes *c)
{
	return atomic_load(&c->ending) != 0;
}

static bool has_room(struct cu_changes *c, size_t bytes)
{
	size_t held = atomic_load(&c->held);

	return cu_ring_room(c->f->ring) > 0 && (held == 0 || held + bytes <= HELD_BYTES_MAX);
}

/* Waits for room. False: the end has come, and the change is freed. */
static bool bring(struct cu_changes *c, struct cu_change *change)
{
	const struct cu_ring_entry entry = {.item = {.pointer = change}};

	if (!change)
		return false;
	while (!ending(c)) {
		uint32_t ticket = cu_park_prepare(&c->room);

		if (has_room(c, change->bytes)) {
			cu_park_cancel(&c->room);
			atomic_fetch_add(&c->held, change->bytes);
			/* Known before it can be committed. */
			atomic_store(&c->f->brought, change->sequence);
			CU_CHECK(cu_ring_push(c->f->ring, &entry));
			cu_worker_call(c->f);
			return true;
		}
		if (ending(c))
			cu_park_cancel(&c->room);
		else
			cu_park_wait(&c->room, ticket, CU_FOREVER);
	}
	free(change);
	return false;
}

/* Memory comes back or the process ends; an event must not be dropped for the want of it. NULL: the
 * end has come. */
static struct cu_change *until_made(struct cu_changes *c, const struct catchup_event *event)
{
	struct cu_change *change = NULL;

	while (!ending(c) && !(change = event ? copy_event(event) : calloc(1, sizeof(*change))))
		cu_os_sleep_ns(10 * CU_NS_PER_MS);
	if (change && !event)
		change->bytes = sizeof(*change);
	return change;
}

/* The SYNC that is due: what comes next follows `after`. */
static bool bring_sync(struct cu_changes *c, int64_t after)
{
	struct cu_change *change = until_made(c, NULL);

	if (!change)
		return false;
	change->kind = CU_CHANGE_SYNC;
	change->sequence = after;
	change->why = c->why;
	change->ticket = c->ticket;
	/* Should the end come before it is in the ring, it is still due. */
	if (!bring(c, change))
		return false;
	c->due = false;
	return true;
}

/* Not brought at once: only the next result says where the sequence goes on. */
static void note_sync(struct cu_changes *c, const struct catchup_out_of_sync *why, uint64_t ticket)
{
	cu_log(&c->f->runtime->logger, CATCHUP_LOG_WARN, c->f->definition->name,
		"out of sync with the changelog (%s: expected %lld, got %lld): events may have been "
		"missed, its results will be rebuilt",
		catchup_sync_reason_name(why->reason), (long long)why->expected, (long long)why->got);
	if (!c->due)
		atomic_fetch_add(&c->f->out_of_sync, 1);
	if (!c->due || c->why.reason == CATCHUP_SYNC_START)
		c->why = *why;
	c->due = true;
	c->got = why->got;
	c->ticket = ticket;
}

static bool bring_event(struct cu_changes *c, const struct catchup_event *event)
{
	int64_t before = event->sequence > 0 ? event->sequence - 1 : 0;
	int64_t brought = atomic_load(&c->f->brought);

	/* Nothing had come when the last SYNC was brought, and it goes on lower than that said. */
	if (!c->due && event->sequence > 0 && event->sequence <= brought)
		note_sync(c, &(struct catchup_out_of_sync){CATCHUP_SYNC_GAP,
			brought < INT64_MAX ? brought + 1 : -1, event->sequence}, c->ticket);
	if (c->due && c->why.got < 0)
		c->why.got = event->sequence;
	if (c->due && !bring_sync(c, before))
		return false;
	/* 0 is no watermark's successor; its row was in the tables when they were rebuilt. */
	return event->sequence == 0 || bring(c, until_made(c, event));
}

/* Nothing more is there: lines that are not for this follower count as done. */
static bool bring_seen(struct cu_changes *c, int64_t seen)
{
	struct cu_change *change;

	/* The event after a gap may be on its way: the watermark must not pass it. */
	if (c->due && c->got >= 0)
		return bring_sync(c, c->got > 0 ? c->got - 1 : 0);
	if (c->due)
		return bring_sync(c, seen >= 0 ? seen : atomic_load(&c->f->brought));
	if (seen <= atomic_load(&c->f->brought))
		return true;
	change = until_made(c, NULL);
	if (!change)
		return false;
	change->kind = CU_CHANGE_SEEN;
	change->sequence = seen;
	return bring(c, change);
}

/* False: the end has come. */
static bool handle(struct cu_changes *c, int result, const struct catchup_next *next)
{
	const struct cu_logger *logger = &c->f->runtime->logger;
	const char *name = c->f->definition->name;

	switch (result) {
	case CATCHUP_NEXT_EVENT:
		return bring_event(c, next->event);
	case CATCHUP_NEXT_OUT_OF_SYNC:
		note_sync(c, &next->sync, next->ticket);
		return true;
	case CATCHUP_NEXT_TIMEOUT:
		return bring_seen(c, next->seen);
	case CATCHUP_NEXT_BAD_LINE:
		cu_log(logger, CATCHUP_LOG_WARN, name, "passed over a line of the changelog: %s",
			next->error.message);
		return true;
	case CATCHUP_NEXT_ERROR:
		cu_trouble_starve(c->f, &next->error);
		return true;
	default:
		return false;
	}
}

static void changes_main(void *argument)
{
	struct cu_changes *c = argument;
	struct cu_follower *f = c->f;
	int64_t timeout_ms = 0;

	while (!ending(c)) {
		uint64_t wanted = atomic_load(&f->runtime->looks_wanted);
		const struct catchup_next *next;
		int result;

		if (wanted != atomic_load(&f->looks_done) && wanted != c->asked) {
			c->asked = wanted;
			cu_iterator_ask(c->iterator);
		}
		result = catchup_iterator_next(c->iterator, timeout_ms, &next);
		if (result != CATCHUP_NEXT_ERROR && !cu_iterator_in_trouble(c->iterator))
			cu_trouble_feed(f);
		if (!handle(c, result, next))
			break;
		if (result == CATCHUP_NEXT_TIMEOUT && cu_iterator_answered(c->iterator) &&
			atomic_exchange(&f->looks_done, c->asked) != c->asked)
			cu_park_wake(&f->runtime->progress);
		/* After something has come: how far it goes without waiting. */
		timeout_ms = result == CATCHUP_NEXT_TIMEOUT ? SEEN_MS : 0;
	}
}

void cu_changes_ask(struct cu_follower *f)
{
	cu_mutex_lock(&f->mu);
	if (f->iterator)
		cu_iterator_poke(f->iterator);
	cu_mutex_unlock(&f->mu);
}

/* ---- starting and ending ------------------------------------------------------------------------ */

static void free_change(struct cu_changes *c, struct cu_change *change)
{
	atomic_fetch_sub(&c->held, change->bytes);
	free(change);
}

/* An answer is still owed to what is about to be forgotten. */
static void owe(struct cu_changes *c, const struct catchup_out_of_sync *why)
{
	if (c->f->owed.reason == 0)
		c->f->owed = *why;
}

/* Forgets everything that was brought. */
static void forget(struct cu_changes *c)
{
	struct cu_ring_entry entry;

	if (c->sync) {
		owe(c, &c->sync->why);
		free_change(c, c->sync);
		c->sync = NULL;
	}
	while (c->taken) {
		struct cu_change *next = c->taken->next;

		free_change(c, c->taken);
		c->taken = next;
	}
	c->last_taken = c->cursor = NULL;
	c->n_taken = 0;
	c->f->change = NULL;
	while (cu_ring_pop(c->f->ring, &entry)) {
		struct cu_change *change = entry.item.pointer;

		if (change->kind == CU_CHANGE_SYNC)
			owe(c, &change->why);
		free_change(c, change);
	}
	cu_ring_release_push(c->f->ring);
	if (c->due)
		owe(c, &c->why);
	c->due = false;
	CU_CHECK(atomic_load(&c->held) == 0);
}

void cu_changes_stop(struct cu_changes *c)
{
	cu_mutex_lock(&c->f->mu);
	c->f->iterator = NULL;
	cu_mutex_unlock(&c->f->mu);
	atomic_store(&c->ending, 1);
	if (c->iterator)
		catchup_iterator_cancel(c->iterator);
	cu_park_wake(&c->room);
	cu_thread_join(&c->thread);
	catchup_iterator_close(c->iterator);
	c->iterator = NULL;
	forget(c);
	c->stands = false;
	atomic_store(&c->ending, 0);
	atomic_store(&c->f->out_of_sync, c->f->owed.reason != 0);
}

void cu_changes_stand_by(struct cu_changes *c)
{
	struct cu_follower *f = c->f;
	uint64_t wanted = atomic_load(&f->runtime->looks_wanted);
	int64_t newest;

	cu_changes_stop(c);
	/* What is owed is for the other process to answer, as long as it runs this. */
	atomic_store(&f->out_of_sync, 0);
	if (cu_changes_newest(f->runtime, &newest) != CATCHUP_OK)
		return;
	/* The sequence began anew: what was waited for says nothing. */
	if (newest < atomic_exchange(&f->brought, newest))
		atomic_fetch_add(&f->restarts, 1);
	atomic_store(&f->looks_done, wanted);
}

int cu_changes_create(struct cu_changes **out, struct cu_follower *f, struct catchup_error *error)
{
	struct cu_changes *c = calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c || cu_park_init(&c->room) != 0) {
		free(c);
		return cu_error_nomem(error);
	}
	c->f = f;
	rc = cu_changes_check(f->runtime, error);
	if (rc == CATCHUP_OK)
		rc = cu_changes_take_source(f->definition->source, &c->family, &c->table, error);
	if (rc != CATCHUP_OK) {
		cu_changes_destroy(c);
		return rc;
	}
	*out = c;
	return CATCHUP_OK;
}

void cu_changes_destroy(struct cu_changes *c)
{
	if (!c)
		return;
	cu_changes_stop(c);
	cu_ring_release_pop(c->f->ring);
	cu_park_finish(&c->room);
	free(c->family);
	free(c->table);
	free(c);
}

int cu_changes_rewind(struct cu_changes *c, int64_t after, struct catchup_error *error)
{
	struct cu_follower *f = c->f;
	bool stands = c->stands && c->stands_at == after;
	int rc;

	c->stands = false;
	/* The order of all this is for who waits: a target of before says nothing any more. */
	if (!stands) {
		cu_changes_stop(c);
		atomic_store(&f->brought, after);
	}
	atomic_fetch_add(&f->restarts, 1);
	if (stands)
		return CATCHUP_OK;
	rc = cu_changes_open(f->runtime, c->family, c->table, after, &c->iterator, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (after == 0)
		owe(c, &(struct catchup_out_of_sync){CATCHUP_SYNC_START, -1, -1});
	c->why = f->owed;
	c->due = f->owed.reason != 0;
	c->got = -1;
	c->ticket = 0;
	atomic_store(&f->out_of_sync, c->due);
	c->asked = 0;
	atomic_store(&f->looks_done, 0);
	cu_mutex_lock(&f->mu);
	f->iterator = c->iterator;
	cu_mutex_unlock(&f->mu);
	rc = cu_thread_start(&c->thread, "catchup-change", changes_main, c);
	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start a thread");
}

/* ---- the follower's side ------------------------------------------------------------------------ */

struct cu_change *cu_changes_take(struct cu_changes *c)
{
	struct cu_ring_entry entry;
	struct cu_change *change;

	/* Nothing passes a SYNC: what comes after it is of another time. */
	if (c->sync || c->n_taken >= c->f->plan.config.batch_rows ||
		!cu_ring_pop(c->f->ring, &entry))
		return NULL;
	cu_park_wake(&c->room);
	change = entry.item.pointer;
	change->next = NULL;
	if (change->kind == CU_CHANGE_SYNC) {
		c->sync = change;
		return change;
	}
	if (c->last_taken)
		c->last_taken->next = change;
	else
		c->taken = change;
	c->last_taken = change;
	c->n_taken++;
	return change;
}

struct cu_change *cu_changes_event(struct cu_changes *c, int64_t above)
{
	struct cu_change *change = c->cursor && c->cursor->sequence <= above ? c->cursor : c->taken;

	while (change && (change->kind != CU_CHANGE_EVENT || change->sequence <= above))
		change = change->next;
	if (change)
		c->cursor = change;
	return change;
}

struct cu_change *cu_changes_sync(struct cu_changes *c)
{
	return c->sync;
}

void cu_changes_synced(struct cu_changes *c)
{
	CU_CHECK(c->sync && !c->taken);
	catchup_iterator_rebuilt(c->iterator, c->sync->ticket);
	c->stands = true;
	c->stands_at = c->sync->sequence;
	free_change(c, c->sync);
	c->sync = NULL;
	c->f->owed.reason = 0;
	atomic_fetch_sub(&c->f->out_of_sync, 1);
	cu_park_wake(&c->room);
}

void cu_changes_release(struct cu_changes *c, int64_t up_to)
{
	c->cursor = NULL;
	while (c->taken && c->taken->sequence <= up_to) {
		struct cu_change *change = c->taken;

		c->taken = change->next;
		if (!c->taken)
			c->last_taken = NULL;
		c->n_taken--;
		free_change(c, change);
	}
	cu_park_wake(&c->room);
}
