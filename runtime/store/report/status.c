/* SPDX-License-Identifier: MIT */
#include "store/report/status.h"

#include "store/connection/connection.h"
#include "store/report/texts.h"

#include <stdlib.h>
#include <string.h>

struct whole {
	struct catchup_status status; /* first: users hold a pointer to it */
	struct catchup_source_status *sources;
	struct catchup_consumer_status *consumers;
	struct cu_texts texts;
};

struct catchup_status *cu_status_create(const char *database)
{
	struct whole *whole = calloc(1, sizeof(*whole));

	if (!whole)
		return NULL;
	whole->status.sqlite_version = catchup_sqlite_version();
	whole->status.database = cu_texts_keep(&whole->texts, database);
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
	status->wal_held_by = cu_texts_keep(&whole->texts, readers);
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
	copy.name = cu_texts_keep(&whole->texts, entry->name);
	copy.database = cu_texts_keep(&whole->texts, entry->database);
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
	copy.name = cu_texts_keep(&whole->texts, entry->name);
	copy.source = cu_texts_keep(&whole->texts, entry->source);
	copy.into = cu_texts_keep(&whole->texts, entry->into);
	copy.last_error = cu_texts_keep(&whole->texts, entry->last_error);
	copy.owner = cu_texts_keep(&whole->texts, entry->owner);
	copy.lost_owner = cu_texts_keep(&whole->texts, entry->lost_owner);
	copy.error_category = cu_texts_keep(&whole->texts, entry->error_category);
	if (!copy.name || !copy.source || !copy.into || !copy.last_error || !copy.owner ||
		!copy.lost_owner || !copy.error_category)
		return NULL;
	grown[status->n_consumers] = copy;
	return &grown[status->n_consumers++];
}

void catchup_status_free(struct catchup_status *status)
{
	struct whole *whole = (struct whole *)(void *)status;

	if (!whole)
		return;
	cu_texts_free(&whole->texts);
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
