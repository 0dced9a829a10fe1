/* SPDX-License-Identifier: MIT */
#include "pool/changes.h"

#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* How often somebody who waits for the end of the file is answered, at the latest. */
#define LOOK_MS 250

#define SCHEME "changelog:"

struct cu_changes {
	struct cu_follower *f; /* borrowed */
	char *family, *table;  /* owned; "" for any */

	/* follower's thread, while the thread below does not run */
	struct catchup_iterator *iterator;
	struct cu_thread thread;

	struct cu_park room;   /* for room in the ring, and the end */
	_Atomic int ending;

	/* follower's thread only */
	struct cu_change *taken, *last_taken;
	struct cu_change *cursor; /* where cu_changes_event found the last one */
	size_t n_taken;
	struct cu_change *sync;
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

/* Waits for room. False: the end has come, and the change is freed. */
static bool bring(struct cu_changes *c, struct cu_change *change)
{
	const struct cu_ring_entry entry = {.item = {.pointer = change}};
	struct cu_ring *ring = c->f->ring;

	if (change->kind != CU_CHANGE_SYNC)
		atomic_store(&c->f->brought, change->sequence);
	while (!ending(c)) {
		uint32_t ticket;

		if (cu_ring_push(ring, &entry)) {
			cu_park_wake(&c->f->worker->park);
			return true;
		}
		ticket = cu_park_prepare(&c->room);
		if (ending(c) || cu_ring_room(ring) > 0)
			cu_park_cancel(&c->room);
		else
			cu_park_wait(&c->room, ticket, CU_FOREVER);
	}
	free(change);
	return false;
}

/* Memory comes back or the process ends; an event must not be dropped for the want of it. */
static struct cu_change *until_made(struct cu_changes *c, const struct catchup_event *event)
{
	struct cu_change *change = NULL;

	while (!ending(c) && !(change = event ? copy_event(event) : calloc(1, sizeof(*change))))
		cu_os_sleep_ns(10 * CU_NS_PER_MS);
	return change;
}

/* Makes what `next` returned into a change; NULL when there is nothing to bring. */
static struct cu_change *make(struct cu_changes *c, int result, const struct catchup_next *next)
{
	const struct cu_logger *logger = &c->f->runtime->logger;
	const char *name = c->f->definition->name;
	struct cu_change *change;

	switch (result) {
	case CATCHUP_NEXT_EVENT:
		return until_made(c, next->event);
	case CATCHUP_NEXT_OUT_OF_SYNC:
		change = until_made(c, NULL);
		if (!change)
			return NULL;
		change->kind = CU_CHANGE_SYNC;
		change->why = next->sync;
		change->ticket = next->ticket;
		return change;
	case CATCHUP_NEXT_TIMEOUT:
		if (next->seen <= atomic_load(&c->f->brought))
			return NULL;
		change = until_made(c, NULL);
		if (!change)
			return NULL;
		change->kind = CU_CHANGE_SEEN;
		change->sequence = next->seen;
		return change;
	case CATCHUP_NEXT_BAD_LINE:
		cu_log(logger, CATCHUP_LOG_WARN, name, "passed over a line of the changelog: %s",
			next->error.message);
		return NULL;
	case CATCHUP_NEXT_ERROR:
		cu_log(logger, CATCHUP_LOG_WARN, name, "the changelog cannot be read: %s; trying again",
			next->error.message);
		return NULL;
	default:
		return NULL;
	}
}

static void changes_main(void *argument)
{
	struct cu_changes *c = argument;
	struct catchup *runtime = c->f->runtime;
	int64_t timeout_ms = 0;

	while (!ending(c)) {
		uint64_t wanted = atomic_load(&runtime->looks_wanted);
		const struct catchup_next *next;
		int result = catchup_iterator_next(c->iterator, timeout_ms, &next);
		struct cu_change *change;

		if (result == CATCHUP_NEXT_CANCELED)
			break;
		change = make(c, result, next);
		if (change && !bring(c, change))
			break;
		if (result == CATCHUP_NEXT_TIMEOUT && timeout_ms == 0 &&
			atomic_exchange(&c->f->looks_done, wanted) != wanted)
			cu_park_wake(&runtime->progress);
		/* Nothing more at once: from now on sleep until there is, but answer now and then. */
		timeout_ms = result == CATCHUP_NEXT_TIMEOUT && timeout_ms == 0 ? LOOK_MS : 0;
	}
}

/* ---- the follower's side ------------------------------------------------------------------------ */

static void free_list(struct cu_change *list)
{
	while (list) {
		struct cu_change *next = list->next;

		free(list);
		list = next;
	}
}

static void end_thread(struct cu_changes *c)
{
	struct cu_ring_entry entry;

	atomic_store(&c->ending, 1);
	if (c->iterator)
		catchup_iterator_cancel(c->iterator);
	cu_park_wake(&c->room);
	cu_thread_join(&c->thread);
	catchup_iterator_close(c->iterator);
	c->iterator = NULL;
	while (cu_ring_pop(c->f->ring, &entry))
		free(entry.item.pointer);
	cu_ring_release_push(c->f->ring);
	free_list(c->taken);
	c->taken = c->last_taken = c->cursor = NULL;
	c->n_taken = 0;
	free(c->sync);
	c->sync = NULL;
	atomic_store(&c->ending, 0);
}

/* "changelog:FAMILY.TABLE" into its two parts. */
static int take_source(struct cu_changes *c, struct catchup_error *error)
{
	const char *source = c->f->definition->source;
	const char *dot;

	if (strncmp(source, SCHEME, strlen(SCHEME)) != 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"source '%.200s': an event consumer's source is changelog:FAMILY.TABLE", source);
	source += strlen(SCHEME);
	dot = strchr(source, '.');
	if (!dot)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"source '" SCHEME "%.200s': a dot must stand between family and table", source);
	c->family = strndup(source, (size_t)(dot - source));
	c->table = strdup(dot + 1);
	return c->family && c->table ? CATCHUP_OK : cu_error_nomem(error);
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
	if (!f->runtime->options.changelog)
		rc = cu_error_set(error, CATCHUP_USAGE, 0,
			"it is driven by a changelog, and none was given (--changelog PATH)");
	else
		rc = take_source(c, error);
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
	end_thread(c);
	cu_ring_release_pop(c->f->ring);
	cu_park_finish(&c->room);
	free(c->family);
	free(c->table);
	free(c);
}

int cu_changes_start(struct cu_changes *c, int64_t after, struct catchup_error *error)
{
	const char *databases[] = {c->f->source_path, c->f->results_path, NULL};
	const struct catchup_iterator_options options = {
		.size = sizeof(options),
		.path = c->f->runtime->options.changelog,
		.databases = databases,
		.family = c->family[0] ? c->family : NULL,
		.table = c->table[0] ? c->table : NULL,
		.start = CATCHUP_START_AFTER,
		.after_sequence = after,
		.on_full = CATCHUP_ON_FULL_WAIT,
	};
	int rc;

	end_thread(c);
	atomic_store(&c->f->brought, after);
	atomic_store(&c->f->looks_done, 0);
	rc = catchup_iterator_open(&options, &c->iterator, error);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_thread_start(&c->thread, "catchup-change", changes_main, c);
	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot start a thread");
}

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
	CU_CHECK(c->sync);
	catchup_iterator_rebuilt(c->iterator, c->sync->ticket);
	free(c->sync);
	c->sync = NULL;
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
		free(change);
	}
}
