/* SPDX-License-Identifier: MIT */
/*
 * honeywell5800_receive - radio messages in, state changes of Honeywell 5800 sensors out.
 *
 * Follows  rtl433_raw(id, time, freqMHz, model, data): what rtl_433 decoded, as JSON in `data`. The
 *          table belongs to the program that inserts.
 * Writes   honeywell5800_updates, one row a change; honeywell5800_sensors, one row a sensor heard.
 * Options  dedup-seconds (5): a sensor sends every message six times. The same state of a sensor on
 *          a channel within so many seconds of the last update kept is a repeat. 0 keeps them all.
 *
 * A database of the securityblanket program goes on from where that stopped under the name that it
 * uses: honeywell5800_receive:name=honeywell5800.receive.
 *
 * The window is measured by the `time` of the raw rows, never by a clock, so working off a backlog
 * of a week finds the same updates as listening did. A time is RFC 3339, with or without a zone
 * (then UTC), with a space or a T. When times go back by more than the window, the state counts as
 * new: hiding an open door because a clock was set is the worse mistake.
 *
 * Passed over, counted, and told in one log line at the end (each one at level debug): messages of
 * other models, repeats, times that are none, what is not one JSON object, objects with a key twice
 * or more than 64 keys, and those whose `id` (1 to 1048575), `channel` (0 to 15) or `event` (0 to
 * 255) is missing, not a number, not whole or out of range. All other keys are ignored. Nothing that
 * a radio can pick up is an error.
 */
#include <catchup/consumer.h>

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "honeywell5800.h"

#define US_PER_S INT64_C(1000000)
#define KEYS_MAX 64

/* Why a message is passed over: X(NAME, text). */
#define VERDICT_MAP(X)                                                                             \
	X(KEPT, "kept")                                                                            \
	X(REPEAT, "repeats")                                                                       \
	X(OTHER_MODEL, "of other models")                                                          \
	X(BAD_TIME, "without a time")                                                              \
	X(NOT_JSON, "not one JSON object")                                                         \
	X(MANY_KEYS, "with too many keys")                                                         \
	X(KEY_TWICE, "with a key twice")                                                           \
	X(FIELD_MISSING, "without id, channel or event")                                           \
	X(FIELD_TYPE, "with text or the like for a number")                                        \
	X(FIELD_RANGE, "with a number out of range")

enum verdict {
#define X(name, text) name,
	VERDICT_MAP(X)
#undef X
	VERDICTS
};

static const char *const verdict_text[] = {
#define X(name, text) text,
	VERDICT_MAP(X)
#undef X
};

struct message {
	int64_t sensor;
	int64_t channel;
	int64_t event;
};

struct receive {
	sqlite3_stmt *last_update; /* owned */
	sqlite3_stmt *add_sensor;  /* owned */
	sqlite3_stmt *add_update;  /* owned */
	int64_t window_us;
	int64_t count[VERDICTS]; /* since the start; rows done again after a rollback count again */
};

/* ---- time --------------------------------------------------------------------------------- */

/* Reads exactly n digits as a number between low and high, and moves past them. */
static bool take_number(const char **at, int n, int low, int high, int *value)
{
	*value = 0;
	for (int i = 0; i < n; i++) {
		if ((*at)[i] < '0' || (*at)[i] > '9')
			return false;
		*value = *value * 10 + ((*at)[i] - '0');
	}
	*at += n;
	return *value >= low && *value <= high;
}

static bool take(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap);
}

/* Days since 1 March of the year 0, in the calendar of today: with the year starting in March, the
 * leap day is its last one, and the months before it have lengths that a line through them gives. */
static int64_t day_number(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	/* 400 years more keep the divisions on positive numbers in the year 0. */
	y += 400;
	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
}

/* Microseconds since some fixed moment. False for what is no time. */
static bool parse_time(const char *at, int64_t *us)
{
	int year, month, day, hour, minute, second, zone_hour = 0, zone_minute = 0;
	int64_t fraction_us = 0;
	bool west = false;

	if (!at || !take_number(&at, 4, 0, 9999, &year) || !take(&at, '-') ||
		!take_number(&at, 2, 1, 12, &month) || !take(&at, '-') ||
		!take_number(&at, 2, 1, days_in_month(year, month), &day) ||
		!(take(&at, 'T') || take(&at, ' ')) || !take_number(&at, 2, 0, 23, &hour) ||
		!take(&at, ':') || !take_number(&at, 2, 0, 59, &minute) || !take(&at, ':') ||
		!take_number(&at, 2, 0, 59, &second))
		return false;
	if (take(&at, '.')) {
		int64_t unit = US_PER_S / 10;

		if (*at < '0' || *at > '9')
			return false;
		for (; *at >= '0' && *at <= '9'; at++, unit /= 10)
			fraction_us += (*at - '0') * unit;
	}
	if (!take(&at, 'Z') && *at) {
		west = *at == '-';
		if (!(take(&at, '+') || take(&at, '-')) ||
			!take_number(&at, 2, 0, 14, &zone_hour) || !take(&at, ':') ||
			!take_number(&at, 2, 0, 59, &zone_minute))
			return false;
	}
	if (*at)
		return false;
	int64_t minutes = (day_number(year, month, day) * 24 + hour) * 60 + minute;
	int64_t zone = zone_hour * 60 + zone_minute;
	minutes += west ? zone : -zone;
	*us = (minutes * 60 + second) * US_PER_S + fraction_us;
	return true;
}

/* ---- message ------------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* KEPT when every key of the object stands once. */
static enum verdict check_keys(const cJSON *object)
{
	const char *keys[KEYS_MAX];
	size_t n = 0;

	for (const cJSON *item = object->child; item; item = item->next) {
		if (n == KEYS_MAX)
			return MANY_KEYS;
		keys[n++] = item->string;
	}
	qsort(keys, n, sizeof(keys[0]), compare_keys);
	for (size_t i = 1; i < n; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			return KEY_TWICE;
	return KEPT;
}

/* A whole number between low and high. cJSON's numbers are doubles, which hold every integer of these
 * ranges exactly; what a double cannot tell apart lies far outside of them. */
static enum verdict take_field(
	const cJSON *object, const char *key, int64_t low, int64_t high, int64_t *value)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!item)
		return FIELD_MISSING;
	if (!cJSON_IsNumber(item))
		return FIELD_TYPE;
	double number = item->valuedouble;
	if (!(number >= (double)low && number <= (double)high))
		return FIELD_RANGE;
	*value = (int64_t)number;
	return (double)*value == number ? KEPT : FIELD_RANGE;
}

static enum verdict parse_object(const cJSON *object, struct message *message)
{
	enum verdict verdict = check_keys(object);

	if (verdict == KEPT)
		verdict = take_field(object, "id", 1, HONEYWELL5800_SENSOR_MAX, &message->sensor);
	if (verdict == KEPT)
		verdict = take_field(
			object, "channel", 0, HONEYWELL5800_CHANNEL_MAX, &message->channel);
	if (verdict == KEPT)
		verdict = take_field(object, "event", 0, HONEYWELL5800_EVENT_MAX, &message->event);
	return verdict;
}

static bool only_space(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at == end;
}

static enum verdict parse_message(const char *text, size_t bytes, struct message *message)
{
	enum verdict verdict = NOT_JSON;
	const char *end = NULL;
	cJSON *json = NULL;

	/* cJSON takes a NUL for a space. */
	if (!text || memchr(text, 0, bytes))
		return NOT_JSON;
	json = cJSON_ParseWithLengthOpts(text, bytes, &end, false);
	if (json && cJSON_IsObject(json) && only_space(end, text + bytes))
		verdict = parse_object(json, message);
	cJSON_Delete(json);
	return verdict;
}

/* ---- database ----------------------------------------------------------------------------- */

/* Whether the last update kept says the same, within the window. Returns an SQLite code. */
static int is_repeat(
	struct receive *r, const struct message *message, int64_t time_us, bool *repeat)
{
	sqlite3_stmt *last = r->last_update;
	int64_t last_us;
	int rc;

	*repeat = false;
	sqlite3_bind_int64(last, 1, message->sensor);
	sqlite3_bind_int64(last, 2, message->channel);
	rc = sqlite3_step(last);
	if (rc == SQLITE_ROW && sqlite3_column_int64(last, 0) == message->event &&
		parse_time((const char *)sqlite3_column_text(last, 1), &last_us)) {
		int64_t apart_us = time_us > last_us ? time_us - last_us : last_us - time_us;
		*repeat = r->window_us > 0 && apart_us <= r->window_us;
	}
	return sqlite3_reset(last);
}

/* Runs a statement to its end. */
static int run(sqlite3_stmt *stmt)
{
	int rc;

	sqlite3_step(stmt);
	rc = sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc;
}

static int add(struct receive *r, const struct message *message, const char *time)
{
	int rc;

	sqlite3_bind_int64(r->add_sensor, 1, message->sensor);
	sqlite3_bind_text(r->add_sensor, 2, time, -1, SQLITE_STATIC);
	rc = run(r->add_sensor);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_bind_text(r->add_update, 1, time, -1, SQLITE_STATIC);
	sqlite3_bind_int64(r->add_update, 2, message->channel);
	sqlite3_bind_int64(r->add_update, 3, message->sensor);
	sqlite3_bind_int64(r->add_update, 4, message->event);
	return run(r->add_update);
}

/* ---- consumer ----------------------------------------------------------------------------- */

enum {
	COLUMN_ID,
	COLUMN_TIME,
	COLUMN_OURS,
	COLUMN_DATA
};

static int receive_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct receive *r = state;
	struct message message = {0, 0, 0};
	enum verdict verdict = KEPT;
	int64_t time_us = 0;
	bool repeat;

	if (!sqlite3_column_int(row, COLUMN_OURS)) {
		r->count[OTHER_MODEL]++;
		return CATCHUP_ROW_PASSED;
	}
	const char *data = (const char *)sqlite3_column_text(row, COLUMN_DATA);
	size_t bytes = (size_t)sqlite3_column_bytes(row, COLUMN_DATA);
	const char *time = (const char *)sqlite3_column_text(row, COLUMN_TIME);

	verdict = parse_message(data, bytes, &message);
	if (verdict == KEPT && !parse_time(time, &time_us))
		verdict = BAD_TIME;
	if (verdict == KEPT) {
		if (is_repeat(r, &message, time_us, &repeat) != SQLITE_OK)
			return catchup_fail_db(ctx, "cannot read the sensor's last update");
		if (repeat)
			verdict = REPEAT;
	}
	if (verdict == KEPT && add(r, &message, time) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot add the update");
	r->count[verdict]++;
	if (verdict == KEPT)
		return CATCHUP_ROW_APPLIED;
	if (verdict != REPEAT)
		catchup_log(ctx, CATCHUP_CONSUMER_DEBUG, "row %" PRId64 " passed over: %s",
			(int64_t)sqlite3_column_int64(row, COLUMN_ID), verdict_text[verdict]);
	return CATCHUP_ROW_PASSED;
}

static void receive_close(struct catchup_context *ctx, void *state)
{
	struct receive *r = state;

	for (int i = KEPT; i < VERDICTS; i++)
		if (r->count[i] > 0)
			catchup_log(ctx, CATCHUP_CONSUMER_INFO, "messages %s: %" PRId64,
				verdict_text[i], r->count[i]);
	sqlite3_finalize(r->last_update);
	sqlite3_finalize(r->add_sensor);
	sqlite3_finalize(r->add_update);
	free(r);
}

static int prepare(struct catchup_context *ctx, const char *sql, sqlite3_stmt **out)
{
	return sqlite3_prepare_v3(ctx->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

static int receive_open(struct catchup_context *ctx, void **state)
{
	struct receive *r = calloc(1, sizeof(*r));

	if (!r)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	r->window_us = catchup_option_int(ctx, "dedup-seconds") * US_PER_S;
	if (prepare(ctx,
		    "SELECT event, time FROM honeywell5800_updates"
		    " WHERE sensor = ?1 AND channel = ?2 ORDER BY id DESC LIMIT 1",
		    &r->last_update) != SQLITE_OK ||
		prepare(ctx,
			"INSERT INTO honeywell5800_sensors(id, created) VALUES (?1, ?2)"
			" ON CONFLICT(id) DO NOTHING",
			&r->add_sensor) != SQLITE_OK ||
		prepare(ctx,
			"INSERT INTO honeywell5800_updates(time, channel, sensor, event)"
			" VALUES (?1, ?2, ?3, ?4)",
			&r->add_update) != SQLITE_OK) {
		(void)catchup_fail_db(ctx, "cannot prepare");
		receive_close(ctx, r);
		return CATCHUP_ROW_FAILED;
	}
	*state = r;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_option options[] = {
	{"dedup-seconds", CATCHUP_OPTION_INT, "5", 0, 86400,
		"the same state again within so many seconds is a repeat; 0 keeps all"},
	{NULL, 0, NULL, 0, 0, NULL},
};

CATCHUP_CONSUMER(honeywell5800_receive) = {
	CATCHUP_CONSUMER_ABI,
	.name = "honeywell5800_receive",
	.summary = "radio messages of Honeywell 5800 sensors to state changes",
	.options = options,
	.source = "rtl433_raw",
	/* Rows of other models are offered too, without their data: so they are counted. */
	.next = "SELECT id, time, model = 'Honeywell-Security' AS ours,"
		" CASE WHEN model = 'Honeywell-Security' THEN data END AS data"
		" FROM rtl433_raw WHERE id > @last AND id <= @max ORDER BY id",
	.setup = HONEYWELL5800_SENSORS_SCHEMA HONEYWELL5800_UPDATES_SCHEMA,
	.open = receive_open,
	.row = receive_row,
	.close = receive_close,
};
