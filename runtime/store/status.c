/* SPDX-License-Identifier: MIT */
#include "store/status.h"

#include "store/connection.h"

#include <stdlib.h>
#include <string.h>

struct text {
	struct text *next;
	char bytes[];
};

struct whole {
	struct catchup_status status; /* first: users hold a pointer to it */
	struct catchup_source_status *sources;
	struct catchup_consumer_status *consumers;
	struct text *texts;
};

/* A copy that lives as long as the status. */
static const char *keep(struct whole *whole, const char *text)
{
	size_t n = text ? strlen(text) : 0;
	struct text *kept = malloc(sizeof(*kept) + n + 1);

	if (!kept)
		return NULL;
	if (text)
		memcpy(kept->bytes, text, n);
	kept->bytes[n] = '\0';
	kept->next = whole->texts;
	whole->texts = kept;
	return kept->bytes;
}

struct catchup_status *cu_status_create(const char *database)
{
	struct whole *whole = calloc(1, sizeof(*whole));

	if (!whole)
		return NULL;
	whole->status.sqlite_version = catchup_sqlite_version();
	whole->status.database = keep(whole, database);
	whole->status.wal_held_by = "";
	if (!whole->status.database) {
		catchup_status_free(&whole->status);
		return NULL;
	}
	return &whole->status;
}

bool cu_status_add_log(struct catchup_status *status, int64_t small)
{
	struct whole *whole = (struct whole *)(void *)status;
	int64_t *consumers;
	char readers[512];

	status->wal_bytes = cu_conn_wal_bytes(status->database);
	if (status->wal_bytes <= small)
		return true;
	consumers = calloc(status->n_consumers + 1, sizeof(*consumers));
	if (!consumers)
		return false;
	for (size_t i = 0; i < status->n_consumers; i++) {
		const char *pid = strrchr(status->consumers[i].owner, ':');

		consumers[i] = pid ? strtoll(pid + 1, NULL, 10) : 0;
	}
	cu_conn_wal_readers(
		status->database, consumers, status->n_consumers, readers, sizeof(readers));
	free(consumers);
	status->wal_held_by = keep(whole, readers);
	return status->wal_held_by != NULL;
}

struct catchup_source_status *cu_status_add_source(
	struct catchup_status *status, const struct catchup_source_status *entry)
{
	struct whole *whole = (struct whole *)(void *)status;
	struct catchup_source_status *grown =
		realloc(whole->sources, (status->n_sources + 1) * sizeof(*grown));
	struct catchup_source_status copy = *entry;

	if (!grown)
		return NULL;
	whole->sources = grown;
	status->sources = grown;
	copy.name = keep(whole, entry->name);
	copy.database = keep(whole, entry->database);
	if (!copy.name || !copy.database)
		return NULL;
	grown[status->n_sources] = copy;
	return &grown[status->n_sources++];
}

struct catchup_consumer_status *cu_status_add_consumer(
	struct catchup_status *status, const struct catchup_consumer_status *entry)
{
	struct whole *whole = (struct whole *)(void *)status;
	struct catchup_consumer_status *grown =
		realloc(whole->consumers, (status->n_consumers + 1) * sizeof(*grown));
	struct catchup_consumer_status copy = *entry;

	if (!grown)
		return NULL;
	whole->consumers = grown;
	status->consumers = grown;
	copy.name = keep(whole, entry->name);
	copy.source = keep(whole, entry->source);
	copy.into = keep(whole, entry->into);
	copy.last_error = keep(whole, entry->last_error);
	copy.owner = keep(whole, entry->owner);
	copy.error_category = keep(whole, entry->error_category);
	if (!copy.name || !copy.source || !copy.into || !copy.last_error || !copy.owner ||
		!copy.error_category)
		return NULL;
	grown[status->n_consumers] = copy;
	return &grown[status->n_consumers++];
}

void catchup_status_free(struct catchup_status *status)
{
	struct whole *whole = (struct whole *)(void *)status;

	if (!whole)
		return;
	while (whole->texts) {
		struct text *next = whole->texts->next;

		free(whole->texts);
		whole->texts = next;
	}
	free(whole->sources);
	free(whole->consumers);
	free(whole);
}

const char *catchup_state_name(int state)
{
	static const char *const names[] = {
		[CATCHUP_STATE_IDLE] = "idle",
		[CATCHUP_STATE_RUNNING] = "running",
		[CATCHUP_STATE_CAUGHT_UP] = "caught-up",
		[CATCHUP_STATE_PAUSED] = "paused",
		[CATCHUP_STATE_STOPPED] = "stopped",
	};

	return state >= 0 && state < (int)(sizeof(names) / sizeof(names[0])) ? names[state]
									     : "unknown";
}
