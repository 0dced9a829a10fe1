/* SPDX-License-Identifier: MIT */
/*
 * iterator_open.c - making an iterator from its options, and giving it up.
 */
#include "changelog/iterator_inside.h"

#include "base/error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RING_SLOTS_DEFAULT 16384u

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

	if (!out)
		return cu_error_null(error, __func__, "out");
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
	if (it->own && cu_own_seek(it) != CU_NEXT_AGAIN) {
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
	cu_own_stop(it);
	catchup_changelog_close(it->changelog);
	free_iterator(it);
}
