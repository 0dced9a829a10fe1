/* SPDX-License-Identifier: MIT */
/*
 * feed_messages.h - a neighbourhood of radio sensors that is not there: messages as rtl_433 decodes
 * them, made from a seed.
 *
 * The same seed and number of sensors give the same messages, whatever is done with them. Times
 * ascend. Sensors of the 5800 kind send bursts of six equal messages when a loop opens or closes, when
 * a battery runs low, and as a heartbeat; bursts of several sensors interleave, and some states are
 * said again just inside and just outside of the five seconds in which they count as repeats. In
 * between are other models, and odd messages: cut off, without an id, with text for a number, with a
 * key twice, out of range.
 */
#ifndef BENCH_FEED_MESSAGES_H
#define BENCH_FEED_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

#define FEED_SENSORS_MAX 1000
#define FEED_PENDING_MAX 32

enum feed_kind {
	FEED_SOUND, /* of a 5800 sensor, as it should be */
	FEED_OTHER, /* of another model */
	FEED_ODD,   /* of a 5800 sensor, damaged */
	FEED_KINDS,
};

struct feed_message {
	enum feed_kind kind;
	char time[32]; /* RFC 3339, UTC, milliseconds */
	int freq_mhz;
	const char *model;
	char data[640]; /* JSON, mostly */
};

struct feed_sensor {
	int id;
	int channel;
	const char *model; /* NULL: nobody has said what it is */
	unsigned loops;    /* bits that change */
	unsigned event;    /* what it says now, without heartbeat */
};

/* Messages that will be sent at equal distances. */
struct feed_burst {
	int64_t next_ms;
	int64_t step_ms;
	int left;   /* 0: free */
	int odd;    /* which damage, 0 for none */
	int other;  /* which other model, -1 for none */
	int sensor; /* index */
	unsigned event;
};

struct feed {
	uint64_t random;
	int64_t now_ms;   /* of the last message or start of a burst */
	int64_t start_ms; /* when the next burst begins */
	int n_sensors;
	struct feed_sensor sensors[FEED_SENSORS_MAX];
	struct feed_burst bursts[FEED_PENDING_MAX];
};

/* sensors: 1 to FEED_SENSORS_MAX. */
void feed_init(struct feed *feed, uint64_t seed, int sensors);

/* Makes the next message. */
void feed_next(struct feed *feed, struct feed_message *message);

#endif
