/* SPDX-License-Identifier: MIT */
#include "cli/status_out.h"
#include "cli/json_out.h"

#include <inttypes.h>
#include <string.h>

#define NAME_COLUMNS 40
#define PATH_COLUMNS 200
#define MIB 1048576
#define MINUTE_MS INT64_C(60000)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

/* ---- the table ---------------------------------------------------------------------------- */

enum column { NAME, SOURCE, STATE, WATERMARK, NEWEST, LAG, DEAD, UPDATED, OWNER, N_COLUMNS };

static const struct {
	const char *title;
	bool right; /* figures stand at the right */
} columns[N_COLUMNS] = {
	[NAME] = {"CONSUMER", false},
	[SOURCE] = {"SOURCE", false},
	[STATE] = {"STATE", false},
	[WATERMARK] = {"WATERMARK", true},
	[NEWEST] = {"NEWEST", true},
	[LAG] = {"LAG", true},
	[DEAD] = {"DEAD", true},
	[UPDATED] = {"UPDATED", false},
	[OWNER] = {"OWNER", false},
};

/* "12 s ago"; a date where that would be long ago or, after a change of the clock, in the future. */
static void ago(struct cli_text *text, int64_t at_ms, int64_t now_ms)
{
	int64_t ms = now_ms - at_ms;

	if (at_ms <= 0)
		cli_text_puts(text, "never");
	else if (ms < 0 || ms >= DAY_MS)
		cli_text_time(text, at_ms);
	else if (ms < MINUTE_MS)
		cli_text_printf(text, "%d s ago", (int)(ms / 1000));
	else if (ms < HOUR_MS)
		cli_text_printf(text, "%d min ago", (int)(ms / MINUTE_MS));
	else
		cli_text_printf(text, "%d h ago", (int)(ms / HOUR_MS));
}

/* Adds one cell, returns its columns on a terminal. */
static size_t add_cell(struct cli_text *text, const struct catchup_consumer_status *c,
	enum column column, int64_t now_ms)
{
	size_t before = text->used;

	switch (column) {
	case NAME:
		return cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
	case SOURCE:
		if (*c->source)
			return cli_text_show(text, c->source, strlen(c->source), NAME_COLUMNS);
		cli_text_puts(text, "-");
		break;
	case OWNER:
		if (*c->owner)
			return cli_text_show(text, c->owner, strlen(c->owner), NAME_COLUMNS);
		cli_text_puts(text, "-");
		break;
	case STATE:
		cli_text_puts(text, catchup_state_name(c->state));
		break;
	case WATERMARK:
		/* Ids are names: as they are, to be copied into a query. */
		cli_text_printf(text, "%" PRId64, c->watermark);
		break;
	case NEWEST:
		if (c->newest < 0)
			cli_text_puts(text, "-");
		else
			cli_text_printf(text, "%" PRId64, c->newest);
		break;
	case LAG:
		if (c->lag_rows < 0)
			cli_text_puts(text, "-");
		else
			cli_text_grouped(text, c->lag_rows);
		break;
	case DEAD:
		cli_text_grouped(text, c->dead);
		break;
	case UPDATED:
		ago(text, c->updated_ms, now_ms);
		break;
	case N_COLUMNS:
		break;
	}
	return text->used - before;
}

static const char *state_colour(int state)
{
	switch (state) {
	case CATCHUP_STATE_CAUGHT_UP:
		return "\x1b[32m";
	case CATCHUP_STATE_RUNNING:
		return "\x1b[36m";
	case CATCHUP_STATE_PAUSED:
		return "\x1b[33m";
	case CATCHUP_STATE_STOPPED:
		return "\x1b[31m";
	default:
		return "\x1b[2m";
	}
}

static void add_row(struct cli_text *text, const struct catchup_consumer_status *c,
	const size_t *widths, int64_t now_ms, bool colour)
{
	enum column last = UPDATED;
	struct cli_text cell = {0};

	if (widths[OWNER])
		last = OWNER;
	for (enum column i = 0; i <= last; i++) {
		size_t width;

		cli_text_clear(&cell);
		if (c) {
			width = add_cell(&cell, c, i, now_ms);
		} else {
			cli_text_puts(&cell, columns[i].title);
			width = cell.used;
		}
		if (i > 0)
			cli_text_puts(text, "  ");
		if (columns[i].right)
			cli_text_repeat(text, ' ', widths[i] - width);
		if (colour && c && i == STATE)
			cli_text_puts(text, state_colour(c->state));
		cli_text_add(text, cell.data, cell.used);
		if (colour && c && i == STATE)
			cli_text_puts(text, "\x1b[0m");
		if (!columns[i].right && i < last)
			cli_text_repeat(text, ' ', widths[i] - width);
	}
	cli_text_puts(text, "\n");
	text->failed = text->failed || cell.failed;
	cli_text_free(&cell);
}

static void measure(const struct catchup_status *status, size_t *widths, int64_t now_ms)
{
	struct cli_text cell = {0};
	bool owned = false;

	for (enum column i = 0; i < N_COLUMNS; i++)
		widths[i] = strlen(columns[i].title);
	for (size_t r = 0; r < status->n_consumers; r++) {
		owned = owned || *status->consumers[r].owner;
		for (enum column i = 0; i < N_COLUMNS; i++) {
			size_t width;

			cli_text_clear(&cell);
			width = add_cell(&cell, &status->consumers[r], i, now_ms);
			widths[i] = width > widths[i] ? width : widths[i];
		}
	}
	/* Without a lease there is nothing to show. */
	if (!owned)
		widths[OWNER] = 0;
	cli_text_free(&cell);
}

/* What the user may do about the trouble, where that is the same whatever the message says. */
static void add_advice(struct cli_text *text, const struct catchup_consumer_status *c)
{
	bool of_row = strcmp(c->error_category, "row") == 0 || strcmp(c->error_category, "slow") == 0;

	if (c->state == CATCHUP_STATE_PAUSED) {
		cli_text_puts(text, "  it tries again by itself, and goes on when that is over\n");
	} else if (c->state == CATCHUP_STATE_STOPPED && of_row && c->error_row > 0) {
		cli_text_puts(text, "  started again it goes on at this row; to pass over it, start it with"
			" --on-error ");
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_puts(text, "=park\n");
	} else if (c->state == CATCHUP_STATE_STOPPED && c->error_code == CATCHUP_BACKWARDS) {
		cli_text_puts(text, "  look at the source; then 'catchup reset' does all rows again, with"
			" --to-newest it goes on with the next one\n");
	}
}

static void add_detail(struct cli_text *text, const struct catchup_consumer_status *c)
{
	if (*c->into) {
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_puts(text, ": results in ");
		cli_text_show(text, c->into, strlen(c->into), PATH_COLUMNS);
		cli_text_puts(text, "\n");
	}
	if (c->vanished > 0) {
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_puts(text, ": ");
		cli_text_grouped(text, c->vanished);
		cli_text_puts(text, " rows were deleted before they were read\n");
	}
	if (*c->last_error) {
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_printf(text, ": %s", catchup_state_name(c->state));
		if (c->error_since_ms > 0) {
			cli_text_puts(text, " since ");
			cli_text_time(text, c->error_since_ms);
		}
		if (c->error_row > 0)
			cli_text_printf(text, ", row %" PRId64, c->error_row);
		if (*c->error_category && strcmp(c->error_category, "row") != 0)
			cli_text_printf(text, " (%s)", c->error_category);
		cli_text_puts(text, ": ");
		cli_text_show(text, c->last_error, strlen(c->last_error), SIZE_MAX);
		cli_text_puts(text, "\n");
		add_advice(text, c);
	}
	/* Why it has stopped says the same. */
	if (c->crash_row > 0 && c->crash_row != c->error_row) {
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_printf(text, ": row %" PRId64 " was in hand at %d crash%s\n", c->crash_row, c->crashes,
			c->crashes == 1 ? "" : "es");
	}
	if (*c->lost_owner) {
		cli_text_show(text, c->name, strlen(c->name), NAME_COLUMNS);
		cli_text_puts(text, ": process ");
		cli_text_show(text, c->lost_owner, strlen(c->lost_owner), NAME_COLUMNS);
		cli_text_puts(text, ", which ran it last, has ended without a word (killed, or crashed)"
			" or is stuck\n");
	}
}

void cli_status_table(struct cli_text *text, const struct catchup_status *status, int64_t now_ms,
	bool colour)
{
	size_t widths[N_COLUMNS];

	cli_text_puts(text, "database ");
	cli_text_show(text, status->database, strlen(status->database), PATH_COLUMNS);
	cli_text_printf(text, ", SQLite %s", status->sqlite_version);
	if (status->wal_bytes >= MIB)
		cli_text_printf(text, ", write-ahead log %.1f MiB", (double)status->wal_bytes / MIB);
	else if (status->wal_bytes > 0)
		cli_text_printf(text, ", write-ahead log %.1f KiB",
			(double)status->wal_bytes / 1024.0);
	if (status->wal_held_by[0] != '\0')
		cli_text_printf(text, ", held back by %s", status->wal_held_by);
	cli_text_puts(text, "\n\n");
	if (status->n_consumers == 0) {
		cli_text_puts(text, "no consumer has run on this database\n");
		return;
	}
	measure(status, widths, now_ms);
	add_row(text, NULL, widths, now_ms, colour);
	for (size_t i = 0; i < status->n_consumers; i++)
		add_row(text, &status->consumers[i], widths, now_ms, colour);
	for (size_t i = 0; i < status->n_consumers; i++) {
		const struct catchup_consumer_status *c = &status->consumers[i];

		if (*c->into || *c->last_error || c->vanished > 0 || c->crash_row > 0 || *c->lost_owner) {
			cli_text_puts(text, "\n");
			break;
		}
	}
	for (size_t i = 0; i < status->n_consumers; i++)
		add_detail(text, &status->consumers[i]);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void time_or_null(struct cli_json *json, const char *key, int64_t unix_ms)
{
	struct cli_text text = {0};

	if (unix_ms > 0) {
		cli_text_time(&text, unix_ms);
		cli_json_text(json, key, cli_text_string(&text));
	} else {
		cli_json_null(json, key);
	}
	cli_text_free(&text);
}

static void json_consumer(struct cli_json *json, const struct catchup_consumer_status *c)
{
	cli_json_object(json, NULL);
	cli_json_text(json, "name", c->name);
	cli_json_text_or_null(json, "source", c->source);
	cli_json_text_or_null(json, "into", c->into);
	cli_json_int64(json, "watermark", c->watermark);
	cli_json_int64_or_null(json, "newest", c->newest);
	cli_json_int64_or_null(json, "lag_rows", c->lag_rows);
	cli_json_text(json, "state", catchup_state_name(c->state));
	cli_json_int64(json, "dead", c->dead);
	cli_json_text_or_null(json, "last_error", c->last_error);
	time_or_null(json, "updated", c->updated_ms);
	cli_json_text_or_null(json, "error_code", c->error_code ? catchup_code_name(c->error_code) : "");
	if (c->error_row > 0)
		cli_json_int64(json, "error_row", c->error_row);
	else
		cli_json_null(json, "error_row");
	time_or_null(json, "error_since", c->error_since_ms);
	cli_json_text_or_null(json, "error_category", c->error_category);
	cli_json_int64(json, "offered", c->offered);
	cli_json_int64(json, "applied", c->applied);
	cli_json_int64(json, "passed", c->passed);
	cli_json_int64(json, "parked", c->parked);
	cli_json_int64(json, "retries", c->retries);
	cli_json_int64(json, "vanished", c->vanished);
	cli_json_text_or_null(json, "owner", c->owner);
	cli_json_text_or_null(json, "lost_owner", c->lost_owner);
	if (c->crash_row > 0)
		cli_json_int64(json, "crash_row", c->crash_row);
	else
		cli_json_null(json, "crash_row");
	cli_json_small(json, "crashes", c->crashes);
	cli_json_end_object(json);
}

void cli_status_json(struct cli_text *text, const struct catchup_status *status)
{
	struct cli_json json = {.to = text, .indent = true};

	cli_json_object(&json, NULL);
	cli_json_text(&json, "database", status->database);
	cli_json_object(&json, "sqlite");
	cli_json_text(&json, "version", status->sqlite_version);
	cli_json_end_object(&json);
	cli_json_int64(&json, "wal_bytes", status->wal_bytes);
	cli_json_text(&json, "wal_held_by", status->wal_held_by);
	cli_json_array(&json, "sources");
	for (size_t i = 0; i < status->n_sources; i++) {
		const struct catchup_source_status *s = &status->sources[i];

		cli_json_object(&json, NULL);
		cli_json_text(&json, "name", s->name);
		cli_json_text(&json, "database", s->database);
		cli_json_int64_or_null(&json, "newest", s->newest);
		if (s->guarded >= 0)
			cli_json_bool(&json, "guarded", s->guarded != 0);
		else
			cli_json_null(&json, "guarded");
		cli_json_end_object(&json);
	}
	cli_json_end_array(&json);
	cli_json_array(&json, "consumers");
	for (size_t i = 0; i < status->n_consumers; i++)
		json_consumer(&json, &status->consumers[i]);
	cli_json_end_array(&json);
	cli_json_end_object(&json);
	cli_text_puts(text, "\n");
}
