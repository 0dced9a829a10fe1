/* SPDX-License-Identifier: MIT */
/*
 * status.h - building the struct catchup_status that is handed to users. One owner, freed with
 * catchup_status_free. Any thread, one at a time.
 */
#ifndef CU_STORE_STATUS_H
#define CU_STORE_STATUS_H

#include <catchup/catchup.h>
#include <stdbool.h>

/* An empty status; NULL without memory. */
struct catchup_status *cu_status_create(const char *database);

/* Adds a copy of an entry, its strings included (NULL strings become ""). Pointers handed out for
 * earlier entries stay valid until the next add. Returns the new entry, NULL without memory. */
struct catchup_source_status *cu_status_add_source(
	struct catchup_status *status, const struct catchup_source_status *entry);
struct catchup_consumer_status *cu_status_add_consumer(
	struct catchup_status *status, const struct catchup_consumer_status *entry);

/* The database's log, once all consumers are in, and who holds it back if it has more than `small`
 * bytes: asking costs milliseconds. False without memory. */
bool cu_status_add_log(struct catchup_status *status, int64_t small);

#endif
