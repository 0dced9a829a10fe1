/* SPDX-License-Identifier: MIT */
/*
 * honeywell5800_trips - state changes of Honeywell 5800 sensors in, trips out.
 *
 * Follows  honeywell5800_updates(id, time, channel, sensor, event), written by honeywell5800_receive.
 * Writes   honeywell5800_trips, one row a trip: opened by the update in which a loop leaves its
 *          normal state (trippedBy), closed by the one in which it is back (clearedBy).
 * Options  default-model (none): the model of sensors whose model nobody has set, such as 5816.
 *
 * On a database of the securityblanket program: honeywell5800_trips:name=honeywell5800.trip.
 *
 * A sensor has up to four loops (contacts, tamper switch, ...). Which ones and what is normal for
 * them say honeywell5800_model_loops for a model and honeywell5800_site_loops for one sensor: a loop
 * is closed when normal, unless normally open; loops that are typically unused count only when they
 * stand in honeywell5800_site_loops; disabled ones never count. A loop has at most one open trip:
 * further messages in the same state change nothing.
 *
 * Passed over and counted: updates that open and close nothing, and those of sensors without a model
 * (set honeywell5800_sensors.model; it counts from the next update on).
 *
 * Results stay in the source's file, as trips refer to sensors and updates: `into` does not fit.
 */
#include <catchup/consumer.h>

#include <inttypes.h>
#include <stdlib.h>

#include "honeywell5800.h"

#define LOOPS_MAX 4

struct loop {
	int64_t number; /* 1 to 4 */
	bool normally_open;
	bool tripped; /* has a trip that is open */
};

struct trips {
	sqlite3_stmt *loops;       /* owned */
	sqlite3_stmt *open_trip;   /* owned */
	sqlite3_stmt *close_trips; /* owned */

	/* since the start; rows done again after a rollback count again */
	int64_t opened;
	int64_t closed;
	int64_t without_model;
};

/* ?1: sensor, ?2: default model. */
static const char loops_sql[] =
	"WITH all_loops(loop) AS (VALUES (1), (2), (3), (4))\n"
	"SELECT a.loop,\n"
	"	coalesce(site.siteNormallyOpen, model.factoryNormallyOpen, false),\n"
	"	EXISTS (SELECT 1 FROM honeywell5800_trips AS t\n"
	"		WHERE t.sensor = s.id AND t.loop = a.loop AND t.clearedBy IS NULL)\n"
	"FROM honeywell5800_sensors AS s\n"
	"JOIN honeywell5800_models AS m ON m.id = coalesce(s.model, ?2)\n"
	"JOIN all_loops AS a\n"
	"LEFT JOIN honeywell5800_model_loops AS model\n"
	"	ON model.model = m.id AND model.loop = a.loop\n"
	"LEFT JOIN honeywell5800_site_loops AS site\n"
	"	ON site.sensor = s.id AND site.loop = a.loop\n"
	"WHERE s.id = ?1\n"
	"	AND (site.loop IS NOT NULL OR NOT model.typicallyUnused)\n"
	"	AND NOT coalesce(site.disabled, false)\n"
	"ORDER BY a.loop";

enum {
	COLUMN_ID,
	COLUMN_SENSOR,
	COLUMN_EVENT
};

/* Opens or closes a trip of one loop. Returns an SQLite code. */
static int change_trip(sqlite3_stmt *change, int64_t sensor, int64_t loop, int64_t update)
{
	sqlite3_bind_int64(change, 1, sensor);
	sqlite3_bind_int64(change, 2, loop);
	sqlite3_bind_int64(change, 3, update);
	sqlite3_step(change);
	return sqlite3_reset(change);
}

/* The loops of a sensor, all read before a trip is touched. Returns an SQLite code. */
static int read_loops(struct trips *t, int64_t sensor, struct loop loops[LOOPS_MAX], int *n)
{
	*n = 0;
	sqlite3_bind_int64(t->loops, 1, sensor);
	while (sqlite3_step(t->loops) == SQLITE_ROW && *n < LOOPS_MAX)
		loops[(*n)++] = (struct loop){
			.number = sqlite3_column_int64(t->loops, 0),
			.normally_open = sqlite3_column_int(t->loops, 1) != 0,
			.tripped = sqlite3_column_int(t->loops, 2) != 0,
		};
	return sqlite3_reset(t->loops);
}

static int trips_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct trips *t = state;
	int64_t update = sqlite3_column_int64(row, COLUMN_ID);
	int64_t sensor = sqlite3_column_int64(row, COLUMN_SENSOR);
	unsigned event = (unsigned)sqlite3_column_int64(row, COLUMN_EVENT);
	struct loop loops[LOOPS_MAX];
	int result = CATCHUP_ROW_PASSED;
	int n;

	if (read_loops(t, sensor, loops, &n) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot read the sensor's loops");
	if (n == 0)
		t->without_model++;
	for (int i = 0; i < n; i++) {
		const struct loop *loop = &loops[i];
		bool trip = honeywell5800_loop_open(event, loop->number) != loop->normally_open;

		if (trip == loop->tripped)
			continue;
		if (change_trip(trip ? t->open_trip : t->close_trips, sensor, loop->number, update))
			return catchup_fail_db(
				ctx, trip ? "cannot open a trip" : "cannot close a trip");
		*(trip ? &t->opened : &t->closed) += 1;
		result = CATCHUP_ROW_APPLIED;
		catchup_log(ctx, CATCHUP_CONSUMER_DEBUG,
			"update %" PRId64 ": sensor %" PRId64 " loop %" PRId64 " %s", update,
			sensor, loop->number, trip ? "trips" : "is back to normal");
	}
	return result;
}

static void trips_close(struct catchup_context *ctx, void *state)
{
	struct trips *t = state;

	if (t->opened > 0 || t->closed > 0)
		catchup_log(ctx, CATCHUP_CONSUMER_INFO,
			"trips opened: %" PRId64 ", closed: %" PRId64, t->opened, t->closed);
	if (t->without_model > 0)
		catchup_log(ctx, CATCHUP_CONSUMER_INFO,
			"updates of sensors without a model: %" PRId64, t->without_model);
	sqlite3_finalize(t->loops);
	sqlite3_finalize(t->open_trip);
	sqlite3_finalize(t->close_trips);
	free(t);
}

static int prepare(struct catchup_context *ctx, const char *sql, sqlite3_stmt **out)
{
	return sqlite3_prepare_v3(ctx->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

static int trips_open(struct catchup_context *ctx, void **state)
{
	const char *default_model = catchup_option_text(ctx, "default-model");
	struct trips *t = calloc(1, sizeof(*t));

	if (!t)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	if (prepare(ctx, loops_sql, &t->loops) != SQLITE_OK ||
		prepare(ctx,
			"INSERT INTO honeywell5800_trips(sensor, loop, trippedBy)"
			" VALUES (?1, ?2, ?3)",
			&t->open_trip) != SQLITE_OK ||
		prepare(ctx,
			"UPDATE honeywell5800_trips SET clearedBy = ?3"
			" WHERE sensor = ?1 AND loop = ?2 AND clearedBy IS NULL",
			&t->close_trips) != SQLITE_OK ||
		sqlite3_bind_text(t->loops, 2, default_model, -1, SQLITE_TRANSIENT) != SQLITE_OK) {
		(void)catchup_fail_db(ctx, "cannot prepare");
		trips_close(ctx, t);
		return CATCHUP_ROW_FAILED;
	}
	*state = t;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_option options[] = {
	{"default-model", CATCHUP_OPTION_TEXT, "", 0, 64,
		"model of sensors whose model is not set; empty: such sensors have no loops"},
	{NULL, 0, NULL, 0, 0, NULL},
};

CATCHUP_CONSUMER(honeywell5800_trips) = {
	CATCHUP_CONSUMER_ABI,
	.name = "honeywell5800_trips",
	.summary = "state changes of Honeywell 5800 sensors to trips that open and close",
	.options = options,
	.source = "honeywell5800_updates",
	.next = "SELECT id, sensor, event FROM honeywell5800_updates"
		" WHERE id > @last AND id <= @max ORDER BY id",
	.setup = HONEYWELL5800_SENSORS_SCHEMA
	"CREATE TABLE IF NOT EXISTS honeywell5800_trips("
	" id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
	" sensor INTEGER NOT NULL REFERENCES honeywell5800_sensors(id) ON DELETE CASCADE,"
	" loop INTEGER NOT NULL CHECK(loop BETWEEN 1 AND 4),"
	" trippedBy INTEGER NOT NULL REFERENCES honeywell5800_updates(id)"
	" ON DELETE CASCADE,"
	" clearedBy INTEGER REFERENCES honeywell5800_updates(id) ON DELETE CASCADE);\n"
	"CREATE INDEX IF NOT EXISTS honeywell5800_trips_open"
	" ON honeywell5800_trips(sensor, loop) WHERE clearedBy IS NULL;\n",
	.reset = "DELETE FROM honeywell5800_trips",
	.open = trips_open,
	.row = trips_row,
	.close = trips_close,
};
