/* SPDX-License-Identifier: MIT */
/*
 * perform_park.c - dead letters: of rows that have failed for good, and of those that wait behind them
 * because they have the same key (park-key).
 *
 * Rows are looked at for their keys only while there are letters with keys, which each transaction asks
 * once. A set is cut at the rows that wait, and its statement runs on the stretches between.
 */
#include "pool/perform/perform.h"

#include "base/error.h"

#include <catchup/changelog.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys ----------------------------------------------------------------------------------- */

/* The column that park-key names, -1 when the rows have none. */
static int key_column(const struct cu_follower *f, sqlite3_stmt *row)
{
	for (int i = 0; i < sqlite3_column_count(row); i++)
		if (sqlite3_stricmp(sqlite3_column_name(row, i), f->policy.key) == 0)
			return i;
	return -1;
}

static int no_such_column(struct cu_follower *f, int code, int detail, struct catchup_error *error)
{
	return cu_error_set(error, code, detail,
		"on-error park-key(%.100s): its rows have no such column", f->policy.key);
}

int cu_perform_check_key(struct cu_follower *f, struct catchup_error *error)
{
	/* Each event brings its own columns. */
	if (f->policy.key[0] == '\0' || f->definition->table.event ||
		key_column(f, cu_source_row(cu_perform_rows(f))) >= 0)
		return CATCHUP_OK;
	return no_such_column(f, CATCHUP_CONFIG, 0, error);
}

static int keep_key(struct cu_follower *f, const void *key, size_t bytes)
{
	f->key = malloc(bytes + 1);
	if (!f->key)
		return cu_error_nomem(&f->fault);
	memcpy(f->key, key, bytes);
	f->key[bytes] = '\0';
	f->key_bytes = bytes;
	return CATCHUP_OK;
}

/* A NULL is no key. */
static int keep_column(struct cu_follower *f, sqlite3_stmt *row)
{
	int column = key_column(f, row);
	sqlite3_value *copy;
	const unsigned char *key;
	int rc;

	if (column < 0)
		return no_such_column(f, CATCHUP_CONSUMER, SQLITE_SCHEMA, &f->fault);
	if (sqlite3_column_type(row, column) == SQLITE_NULL)
		return CATCHUP_OK;
	/* Asking the row itself would turn the column into text for the consumer too. */
	copy = sqlite3_value_dup(sqlite3_column_value(row, column));
	key = sqlite3_value_text(copy);
	rc = key ? keep_key(f, key, (size_t)sqlite3_value_bytes(copy)) : cu_error_nomem(&f->fault);
	sqlite3_value_free(copy);
	return rc;
}

static int keep_key_of_event(struct cu_follower *f, const struct catchup_event *event)
{
	char number[40];

	for (size_t i = 0; i < event->n_keys; i++) {
		const struct catchup_key *key = &event->keys[i];

		if (sqlite3_stricmp(key->name, f->policy.key) != 0)
			continue;
		switch (key->kind) {
		case CATCHUP_KEY_TEXT:
			return keep_key(f, key->text, key->text_bytes);
		case CATCHUP_KEY_DOUBLE:
			snprintf(number, sizeof(number), "%.17g", key->real);
			return keep_key(f, number, strlen(number));
		case CATCHUP_KEY_INT:
		case CATCHUP_KEY_BOOL:
			snprintf(number, sizeof(number), "%" PRId64, key->integer);
			return keep_key(f, number, strlen(number));
		default:
			return CATCHUP_OK;
		}
	}
	return CATCHUP_OK;
}

/* Makes f->key the key of a row: of the one that stands in hand, else of the one with that id, as long
 * as it is there. */
static int take_key(struct cu_follower *f, int64_t id)
{
	struct cu_source *rows = cu_perform_rows(f);
	int64_t found;
	int rc;

	free(f->key);
	f->key = NULL;
	f->key_bytes = 0;
	if (f->policy.key[0] == '\0')
		return CATCHUP_OK;
	if (f->changes) {
		struct cu_change *change = cu_changes_event(f->changes, id - 1);

		return change && change->sequence == id ? keep_key_of_event(f, &change->event)
							: CATCHUP_OK;
	}
	if (rows->fetching)
		return keep_column(f, cu_source_row(rows));
	cu_source_fetch_begin(rows, id - 1, id);
	rc = cu_source_fetch_next(rows, &found, &f->fault);
	if (rc == CATCHUP_OK && found == id)
		rc = keep_column(f, cu_source_row(rows));
	cu_source_fetch_end(rows);
	return rc;
}

/* ---- letters -------------------------------------------------------------------------------- */

/* A longer event is not kept: its letter says what it was, and cannot be tried again. */
#define EVENT_BYTES_MAX ((size_t)64 * 1024)

/* A changelog goes on, and its files are deleted some day: the event is kept with its letter. */
static int keep_event(struct cu_follower *f, struct cu_dead_letter *letter, char **kept)
{
	struct cu_change *change = f->changes ? cu_changes_event(f->changes, letter->id - 1) : NULL;
	size_t bytes = change && change->sequence == letter->id
		? catchup_event_format(&change->event, NULL, 0) : 0;

	*kept = NULL;
	if (bytes == 0 || bytes > EVENT_BYTES_MAX)
		return CATCHUP_OK;
	*kept = malloc(bytes + 1);
	if (!*kept)
		return cu_error_nomem(&f->fault);
	catchup_event_format(&change->event, *kept, bytes + 1);
	letter->event = *kept;
	letter->event_bytes = bytes;
	return CATCHUP_OK;
}

/* With the key in f->key. */
static int add_letter(struct cu_follower *f, struct cu_dead_letter *letter)
{
	char *event;
	int rc = keep_event(f, letter, &event);

	letter->key = f->key;
	letter->key_bytes = f->key_bytes;
	if (rc == CATCHUP_OK)
		rc = cu_ledger_add_dead(&f->ledger, letter, &f->fault);
	free(event);
	return rc;
}

/* ---- rows behind others ----------------------------------------------------------------------- */

static int add_behind(struct cu_follower *f, int64_t id)
{
	return add_letter(f, &(struct cu_dead_letter){.id = id,
				     .message = "parked behind an earlier row with the same key"});
}

int cu_perform_park_behind(struct cu_follower *f, int64_t id, bool *parked)
{
	int rc = take_key(f, id);

	*parked = false;
	if (rc == CATCHUP_OK && f->key)
		rc = cu_ledger_has_dead_key(&f->ledger, f->key, f->key_bytes, parked, &f->fault);
	return rc == CATCHUP_OK && *parked ? add_behind(f, id) : rc;
}

int cu_perform_cut_parked(struct cu_follower *f, int64_t lo, int64_t hi, int64_t *id)
{
	int rc = cu_source_first_parked(
		&f->range, f->definition->name, f->policy.key, lo, hi, id, &f->fault);

	if (rc == CATCHUP_OK && *id != 0)
		rc = take_key(f, *id);
	return rc == CATCHUP_OK && *id != 0 ? add_behind(f, *id) : rc;
}

/* ---- rows that have failed ---------------------------------------------------------------------- */

bool cu_perform_park(struct cu_follower *f, const struct cu_action *action,
	struct cu_event *event)
{
	struct cu_dead_letter letter = {.id = action->id, .attempts = action->attempts};

	if (take_key(f, action->id) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	if (action->crashes != 0)
		cu_trouble_blame(f, action->crashes);
	letter.code = f->row_fault.detail;
	letter.message = f->row_fault.message;
	if (add_letter(f, &letter) != CATCHUP_OK)
		return cu_perform_fault(f, event, false, 0);
	cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
		"row %lld is parked in the dead letters after %u attempt%s: %s",
		(long long)action->id, (unsigned)action->attempts, action->attempts == 1 ? "" : "s",
		f->row_fault.message);
	event->kind = CU_EVENT_DONE;
	return true;
}
