/* SPDX-License-Identifier: MIT */
/*
 * subscribe.c - the subscribers' side of the follower: coming, going, and the way of one that reads by
 * itself from file to file until it has caught up. All of it under the lock, and called by the
 * subscribers' threads.
 */
#include "changelog/follow.h"

#include <string.h>

/* A subscriber needs files no longer: the reader gives them up. */
static void let_prune(struct catchup_changelog *c)
{
	cu_mutex_check_held(&c->mu);
	if (c->n_generations > 1) {
		c->prunable = true;
		cu_watch_wake(c->watch);
	}
}

/* The pending line may be a bad one that the reader has told of already. */
static void note_within(struct catchup_changelog *c, struct cu_subscriber *sub)
{
	struct catchup_error error;

	sub->within = cu_split_passing(&c->split, &error);
	if (!sub->within)
		return;
	c->unsaid = true;
	cu_watch_wake(c->watch);
}

void cu_follow_subscribe(struct catchup_changelog *c, struct cu_subscriber *sub, bool at_end,
	struct cu_place *place, int64_t *limit, struct cu_order *order)
{
	const struct cu_generation *g;

	cu_mutex_lock(&c->mu);
	g = &c->generations[c->current];
	sub->attached = at_end || !sub->wait;
	/* What the reader does not know yet, the subscriber checks: see join. */
	sub->join = sub->attached && c->order.last < 0;
	sub->reading = at_end ? UINT64_MAX : g->number;
	*limit = c->split.line_at;
	*order = c->order;
	memset(place, 0, sizeof(*place));
	if (!at_end) {
		place->file = cu_log_file_retain(g->file);
		place->number = g->number;
		place->head = g->head;
	}
	sub->next = c->subscribers;
	c->subscribers = sub;
	if (sub->attached)
		note_within(c, sub);
	cu_mutex_unlock(&c->mu);
}

void cu_follow_unsubscribe(struct catchup_changelog *c, struct cu_subscriber *sub)
{
	cu_mutex_lock(&c->mu);
	for (struct cu_subscriber **at = &c->subscribers; *at; at = &(*at)->next) {
		if (*at == sub) {
			*at = sub->next;
			break;
		}
	}
	let_prune(c);
	cu_mutex_unlock(&c->mu);
	if (atomic_load(&sub->behind))
		cu_log_file_release(sub->resume.file);
}

void cu_follow_take_resume(
	struct catchup_changelog *c, struct cu_subscriber *sub, struct cu_place *place)
{
	cu_mutex_lock(&c->mu);
	*place = sub->resume;
	sub->resume.file = NULL;
	atomic_store(&sub->behind, false);
	cu_mutex_unlock(&c->mu);
}

void cu_follow_done_reading(struct catchup_changelog *c, struct cu_subscriber *sub)
{
	cu_mutex_lock(&c->mu);
	sub->reading = UINT64_MAX;
	let_prune(c);
	cu_mutex_unlock(&c->mu);
}

/* Moves a place to the start of a generation. */
static enum cu_onward move_to(
	struct cu_subscriber *sub, struct cu_place *place, const struct cu_generation *g)
{
	cu_log_file_release(place->file);
	place->file = cu_log_file_retain(g->file);
	place->number = g->number;
	place->offset = 0;
	place->head = g->head;
	sub->reading = g->number;
	return CU_ONWARD_SEEK;
}

static enum cu_onward onward(struct catchup_changelog *c, struct cu_subscriber *sub,
	struct cu_place *place, bool lost, int64_t *limit, struct cu_order *order)
{
	const struct cu_generation *g = c->generations;

	while (g->number < place->number)
		g++;
	place->head = g->head;
	place->cut = g->cut || g->number > place->number;
	if (g->number > place->number)
		return move_to(sub, place, g); /* it was too far behind, files are lost */
	if (g->end >= 0) {
		if (lost || place->offset >= g->end)
			return move_to(sub, place, g + 1);
		*limit = g->end;
		return CU_ONWARD_READ;
	}
	if (lost) {
		cu_watch_wake(c->watch);
		return CU_ONWARD_WAIT;
	}
	*limit = c->split.line_at;
	if (place->offset < *limit)
		return CU_ONWARD_READ;
	*order = c->order;
	sub->attached = true;
	sub->join = c->order.last < 0;
	sub->reading = UINT64_MAX;
	atomic_store(&sub->feed.seen, c->order.last);
	note_within(c, sub);
	let_prune(c);
	return CU_ONWARD_ATTACHED;
}

enum cu_onward cu_follow_onward(struct catchup_changelog *c, struct cu_subscriber *sub,
	struct cu_place *place, bool lost, int64_t *limit, struct cu_order *order)
{
	enum cu_onward result;

	cu_mutex_lock(&c->mu);
	result = onward(c, sub, place, lost, limit, order);
	cu_mutex_unlock(&c->mu);
	return result;
}

bool cu_follow_take_overflow(struct catchup_changelog *c, struct cu_subscriber *sub,
	struct catchup_out_of_sync *why)
{
	bool pending;

	cu_mutex_lock(&c->mu);
	pending = atomic_load(&sub->overflowed) && cu_feed_empty(&sub->feed);
	if (pending) {
		*why = (struct catchup_out_of_sync){CATCHUP_SYNC_OVERFLOW, sub->dropped, -1};
		atomic_store(&sub->overflowed, false);
	}
	cu_mutex_unlock(&c->mu);
	return pending;
}

uint64_t cu_follow_ask(struct catchup_changelog *c)
{
	uint64_t wanted = atomic_fetch_add(&c->looks_wanted, 1) + 1;

	cu_watch_wake(c->watch);
	return wanted;
}

bool cu_follow_take_trouble(
	struct catchup_changelog *c, uint32_t *told, struct catchup_error *error)
{
	uint32_t troubles = atomic_load(&c->troubles);

	if (troubles == *told)
		return false;
	*told = troubles;
	cu_mutex_lock(&c->mu);
	*error = c->trouble;
	cu_mutex_unlock(&c->mu);
	return true;
}
