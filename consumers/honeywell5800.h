/* SPDX-License-Identifier: MIT */
/*
 * honeywell5800.h - what the consumers of Honeywell 5800 sensors share: the bits of an event and the
 * tables.
 *
 * A 5800 sensor is a one-way radio: it sends its whole state, a 20-bit id and a 4-bit channel, six
 * times in a row, whenever something changes and about once an hour to show that it is alive. The
 * state is one byte, `event`.
 */
#ifndef CONSUMERS_HONEYWELL5800_H
#define CONSUMERS_HONEYWELL5800_H

#include <stdbool.h>
#include <stdint.h>

#define HONEYWELL5800_REGISTRATION 0x02
#define HONEYWELL5800_HEARTBEAT 0x04
#define HONEYWELL5800_BATTERY_LOW 0x08

#define HONEYWELL5800_SENSOR_MAX ((1 << 20) - 1)
#define HONEYWELL5800_CHANNEL_MAX 15
#define HONEYWELL5800_EVENT_MAX 255

/* Whether a loop, 1 to 4, is open. The bits of the loops do not follow their numbers. */
static inline bool honeywell5800_loop_open(unsigned event, int64_t loop)
{
	static const unsigned char bits[] = {0x80, 0x20, 0x10, 0x40};

	return loop >= 1 && loop <= 4 && (event & bits[loop - 1]) != 0;
}

/*
 * The tables of what is known about sensors, in the shape in which the securityblanket program makes
 * them, so that either program goes on with the other's database. Running this twice, or on a
 * database of that program, changes nothing that is there: neither tables nor what the owner of the
 * house has said about a model.
 *
 * People fill in two tables: honeywell5800_sensors.model says what a sensor is, and
 * honeywell5800_site_loops what is special about it in this house.
 */
#define HONEYWELL5800_SENSORS_SCHEMA                                                               \
	"CREATE TABLE IF NOT EXISTS honeywell5800_loop_kinds("                                     \
	" id TEXT NOT NULL PRIMARY KEY CHECK(id <> '')) WITHOUT ROWID;\n"                          \
	"CREATE TABLE IF NOT EXISTS honeywell5800_models("                                         \
	" id TEXT NOT NULL PRIMARY KEY CHECK(id <> ''),"                                           \
	" description TEXT) WITHOUT ROWID;\n"                                                      \
	"CREATE TABLE IF NOT EXISTS honeywell5800_model_loops("                                    \
	" model TEXT NOT NULL,"                                                                    \
	" loop INTEGER NOT NULL CHECK(loop BETWEEN 1 AND 4),"                                      \
	" kind TEXT NOT NULL REFERENCES honeywell5800_loop_kinds(id),"                             \
	" factoryLabel TEXT CHECK(factoryLabel <> ''),"                                            \
	" factoryNormallyOpen BOOLEAN NOT NULL DEFAULT false,"                                     \
	" typicallyUnused BOOLEAN NOT NULL DEFAULT false,"                                         \
	" PRIMARY KEY(model, loop)) WITHOUT ROWID;\n"                                              \
	"CREATE TABLE IF NOT EXISTS honeywell5800_sensors("                                        \
	" id INTEGER NOT NULL PRIMARY KEY,"                                                        \
	" created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),"                  \
	" model TEXT REFERENCES honeywell5800_models(id) ON DELETE SET NULL,"                      \
	" description TEXT NOT NULL DEFAULT '');\n"                                                \
	"CREATE TABLE IF NOT EXISTS honeywell5800_site_loops("                                     \
	" sensor INTEGER NOT NULL REFERENCES honeywell5800_sensors(id) ON DELETE CASCADE,"         \
	" loop INTEGER NOT NULL CHECK(loop BETWEEN 1 AND 4),"                                      \
	" kind TEXT REFERENCES honeywell5800_loop_kinds(id),"                                      \
	" siteLabel TEXT,"                                                                         \
	" siteNormallyOpen BOOLEAN,"                                                               \
	" disabled BOOLEAN,"                                                                       \
	" PRIMARY KEY(sensor, loop)) WITHOUT ROWID;\n"                                             \
	"INSERT OR IGNORE INTO honeywell5800_loop_kinds(id) VALUES"                                \
	" ('door open'), ('door or window open'), ('glass break'), ('heat detector'),"             \
	" ('key fob button'), ('low temperature'), ('maintenance needed'), ('medical alert'),"     \
	" ('motion detector'), ('panic button'), ('smoke detector'), ('tamper'),"                  \
	" ('tilt switch'), ('window open');\n"                                                     \
	"INSERT OR IGNORE INTO honeywell5800_models(id, description) VALUES"                       \
	" ('5800MINI', 'door/window'), ('5800PIR-RES', 'motion detector'),"                        \
	" ('5802MN', 'medical alert'), ('5808W3', 'smoke detector'), ('5816', 'door/window'),"     \
	" ('5818MNL', 'door/window'), ('5822T', 'tilt switch'), ('5853', 'glass break');\n"        \
	"INSERT OR IGNORE INTO honeywell5800_model_loops"                                          \
	"(model, loop, kind, factoryLabel, typicallyUnused) VALUES"                                \
	" ('5800MINI', 1, 'door or window open', NULL, false),"                                    \
	" ('5800MINI', 4, 'tamper', NULL, false),"                                                 \
	" ('5800PIR-RES', 1, 'motion detector', NULL, false),"                                     \
	" ('5800PIR-RES', 4, 'tamper', NULL, false),"                                              \
	" ('5802MN', 1, 'medical alert', NULL, false),"                                            \
	" ('5808W3', 1, 'smoke detector', NULL, false),"                                           \
	" ('5808W3', 2, 'maintenance needed', NULL, false),"                                       \
	" ('5808W3', 3, 'low temperature', NULL, false),"                                          \
	" ('5808W3', 4, 'tamper', NULL, false),"                                                   \
	" ('5816', 1, 'door or window open', 'wired', true),"                                      \
	" ('5816', 2, 'door or window open', 'magnet', false),"                                    \
	" ('5816', 4, 'tamper', NULL, false),"                                                     \
	" ('5818MNL', 1, 'door or window open', NULL, false),"                                     \
	" ('5818MNL', 4, 'tamper', NULL, false),"                                                  \
	" ('5822T', 1, 'door or window open', 'wired', true),"                                     \
	" ('5822T', 3, 'tilt switch', NULL, false),"                                               \
	" ('5822T', 4, 'tamper', NULL, false),"                                                    \
	" ('5853', 1, 'glass break', NULL, false),"                                                \
	" ('5853', 4, 'tamper', NULL, false);\n"

/* The table of state changes, in that program's shape too; it must come after the sensors. Whoever
 * follows it may not make it: a consumer's setup leaves its source alone. */
#define HONEYWELL5800_UPDATES_SCHEMA                                                               \
	"CREATE TABLE IF NOT EXISTS honeywell5800_updates("                                        \
	" id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"                                          \
	" time TEXT NOT NULL,"                                                                     \
	" channel INTEGER NOT NULL CHECK(channel BETWEEN 0 AND 15),"                               \
	" sensor INTEGER NOT NULL REFERENCES honeywell5800_sensors(id) ON DELETE CASCADE,"         \
	" event INTEGER NOT NULL CHECK(event BETWEEN 0 AND 255));\n"                               \
	"CREATE INDEX IF NOT EXISTS honeywell5800_updates_sensor"                                  \
	" ON honeywell5800_updates(sensor, channel);\n"

#endif
