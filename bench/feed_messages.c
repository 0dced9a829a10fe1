/* SPDX-License-Identifier: MIT */
#include "feed_messages.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define START_MS INT64_C(1772323200000) /* 2026-03-01T00:00:00Z */
#define BURST 6
#define BURST_STEP_MS 130
#define PAUSE_MS 400 /* between the starts of bursts, on average */
#define HEARTBEAT 0x04u
#define BATTERY_LOW 0x08u
#define REGISTRATION 0x02u

/* Loop bits: 1 0x80, 2 0x20, 3 0x10, 4 0x40. The last entries are sensors of the neighbours. */
static const struct {
	const char *name;
	unsigned loops;
} sensor_models[] = {
	{"5816", 0x20},
	{"5816", 0xa0},
	{"5800MINI", 0x80},
	{"5800PIR-RES", 0x80},
	{"5853", 0x80},
	{"5808W3", 0xb0},
	{"5818MNL", 0xc0},
	{"5822T", 0x90},
	{"5802MN", 0x80},
	{NULL, 0xa0},
};
#define SENSOR_MODELS (int)(sizeof(sensor_models) / sizeof(sensor_models[0]))

/* Other things on the air. %d stands for a small number that changes. */
static const struct {
	const char *name;
	const char *json;
	int freq_mhz;
} other_models[] = {
	{"Acurite-Tower",
		"{\"time\" : \"%s\", \"model\" : \"Acurite-Tower\", \"id\" : %d, \"channel\" : \"A\","
		" \"battery_ok\" : 1, \"temperature_C\" : 11.300, \"humidity\" : 51,"
		" \"mic\" : \"CHECKSUM\"}",
		433},
	{"LaCrosse-TX141Bv3",
		"{\"time\": \"%s\", \"model\": \"LaCrosse-TX141Bv3\", \"id\": %d, \"channel\": 1,"
		" \"battery_ok\": 1, \"temperature_C\": 20.3, \"test\": \"No\"}",
		433},
	{"Generic-Remote",
		"{\"time\" : \"%s\", \"model\" : \"Generic-Remote\", \"id\" : %d, \"cmd\" : 205,"
		" \"tristate\" : \"Z1X0Z111101Z\"}",
		433},
	{"Ford",
		"{\"time\" : \"%s\", \"model\" : \"Ford\", \"type\" : \"TPMS\", \"id\" : \"45bb%04x\","
		" \"code\" : \"6ad446\", \"mic\" : \"CHECKSUM\"}",
		315},
	{"Acurite-00275rm",
		"{\"time\" : \"%s\", \"model\" : \"Acurite-00275rm\", \"subtype\" : 2, \"id\" : %d,"
		" \"battery_ok\" : 1, \"mic\" : \"CRC\", \"mic\" : \"CRC\"}",
		433},
	{"Interlogix-Security",
		"{\"time\" : \"%s\", \"model\" : \"Interlogix-Security\", \"subtype\" : \"contact\","
		" \"id\" : \"29%04x\", \"battery_ok\" : 1, \"switch1\" : \"OPEN\","
		" \"raw_message\" : \"a740a8\"}",
		319},
};
#define OTHER_MODELS (int)(sizeof(other_models) / sizeof(other_models[0]))

enum odd {
	ODD_NONE,
	ODD_CUT,
	ODD_TRAILING,
	ODD_ARRAY,
	ODD_EMPTY,
	ODD_ID_TEXT,
	ODD_ID_NULL,
	ODD_ID_ZERO,
	ODD_ID_FRACTION,
	ODD_ID_HUGE,
	ODD_NO_ID,
	ODD_NO_CHANNEL,
	ODD_NO_EVENT,
	ODD_CHANNEL_RANGE,
	ODD_EVENT_RANGE,
	ODD_EVENT_TWICE,
	ODD_MIC_TWICE,
	ODD_KINDS,
};

/* ---- chance ------------------------------------------------------------------------------- */

/* A counter run through a mixing function: any seed will do, 0 too. */
static uint64_t random_bits(struct feed *feed)
{
	uint64_t x = feed->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static int below(struct feed *feed, int n)
{
	return (int)(random_bits(feed) % (uint64_t)n);
}

/* ---- sensors ------------------------------------------------------------------------------ */

static bool id_taken(const struct feed *feed, int n, int id)
{
	for (int i = 0; i < n; i++)
		if (feed->sensors[i].id == id)
			return true;
	return false;
}

void feed_init(struct feed *feed, uint64_t seed, int sensors)
{
	memset(feed, 0, sizeof(*feed));
	feed->random = seed;
	feed->now_ms = feed->start_ms = START_MS;
	feed->n_sensors = sensors;
	for (int i = 0; i < sensors; i++) {
		int id;

		do
			id = 1 + below(feed, (1 << 20) - 1);
		while (id_taken(feed, i, id));
		feed->sensors[i] = (struct feed_sensor){
			.id = id,
			.channel = below(feed, 5) ? 8 : 10,
			.model = sensor_models[i % SENSOR_MODELS].name,
			.loops = sensor_models[i % SENSOR_MODELS].loops,
		};
	}
}

/* ---- what happens ------------------------------------------------------------------------- */

static void send(struct feed *feed, struct feed_burst burst)
{
	for (int i = 0; i < FEED_PENDING_MAX; i++)
		if (feed->bursts[i].left == 0) {
			feed->bursts[i] = burst;
			return;
		}
	/* All slots are taken: this burst is lost in the noise. */
}

/* The same again, around the end of the window in which it is a repeat: counted from the first
 * message of the first burst, the last slot is 1 ms, or much, outside. */
static void send_again(struct feed *feed, struct feed_burst burst)
{
	static const int after_ms[] = {1500, 3700, 4999, 5000, 5001, 5600, 9000};

	burst.next_ms += after_ms[below(feed, sizeof(after_ms) / sizeof(after_ms[0]))];
	burst.left = 1 + below(feed, BURST);
	send(feed, burst);
}

static unsigned one_loop(struct feed *feed, unsigned loops)
{
	unsigned bit;

	do
		bit = 0x10u << below(feed, 4);
	while (!(loops & bit));
	return bit;
}

/* Something happens at feed->start_ms. */
static void start_burst(struct feed *feed)
{
	int what = below(feed, 100);
	struct feed_burst burst = {.next_ms = feed->start_ms,
		.step_ms = BURST_STEP_MS,
		.left = BURST,
		.other = -1,
		.sensor = below(feed, feed->n_sensors)};
	struct feed_sensor *sensor = &feed->sensors[burst.sensor];

	if (what < 14) {
		burst.other = below(feed, OTHER_MODELS);
		burst.event = (unsigned)below(feed, 0xffff);
		burst.left = 1 + below(feed, 3);
	} else if (what < 18) {
		burst.odd = 1 + below(feed, ODD_KINDS - 1);
		burst.event = sensor->event;
		burst.left = 1 + below(feed, 3);
	} else if (what < 38) {
		burst.event = sensor->event | HEARTBEAT;
	} else if (what < 42) {
		burst.event = sensor->event ^= BATTERY_LOW;
	} else if (what < 44) {
		burst.event = sensor->event | REGISTRATION;
	} else if (what < 48) { /* somebody opens the case, or closes it */
		burst.event = sensor->event ^= 0x40;
	} else {
		burst.event = sensor->event ^= one_loop(feed, sensor->loops);
	}
	send(feed, burst);
	if (burst.other < 0 && burst.odd == ODD_NONE && below(feed, 8) == 0)
		send_again(feed, burst);
	feed->start_ms += 1 + below(feed, 2 * PAUSE_MS);
}

/* The burst whose next message comes first; starts new ones as their time comes. */
static struct feed_burst *earliest(struct feed *feed)
{
	for (;;) {
		struct feed_burst *first = NULL;

		for (int i = 0; i < FEED_PENDING_MAX; i++) {
			struct feed_burst *burst = &feed->bursts[i];
			if (burst->left && (!first || burst->next_ms < first->next_ms))
				first = burst;
		}
		if (first && first->next_ms <= feed->start_ms)
			return first;
		start_burst(feed);
	}
}

/* ---- what is sent ------------------------------------------------------------------------- */

static void format_time(char to[32], int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(to, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(to + strlen(to), 32 - strlen(to), ".%03dZ", (int)(ms % 1000));
}

__attribute__((format(printf, 2, 3))) static void add(
	struct feed_message *message, const char *fmt, ...)
{
	size_t used = strlen(message->data);
	va_list args;

	va_start(args, fmt);
	vsnprintf(message->data + used, sizeof(message->data) - used, fmt, args);
	va_end(args);
}

static void add_id(struct feed_message *message, int id, int odd)
{
	switch (odd) {
	case ODD_NO_ID:
		break;
	case ODD_ID_TEXT:
		add(message, ", \"id\" : \"%06x\"", (unsigned)id);
		break;
	case ODD_ID_NULL:
		add(message, ", \"id\" : null");
		break;
	case ODD_ID_ZERO:
		add(message, ", \"id\" : 0");
		break;
	case ODD_ID_FRACTION:
		add(message, ", \"id\" : %d.5", id);
		break;
	case ODD_ID_HUGE:
		add(message, ", \"id\" : 90071992547%05d", id % 100000);
		break;
	default:
		add(message, ", \"id\" : %d", id);
	}
}

static void write_5800(
	struct feed_message *message, const struct feed_sensor *sensor, unsigned event, int odd)
{
	if (odd == ODD_ARRAY) {
		add(message, "[%d, %d, %u]", sensor->id, sensor->channel, event);
		return;
	}
	if (odd == ODD_EMPTY) {
		add(message, "{}");
		return;
	}
	add(message, "{\"time\" : \"%.19s\", \"model\" : \"Honeywell-Security\"", message->time);
	add_id(message, sensor->id, odd);
	if (odd != ODD_NO_CHANNEL)
		add(message, ", \"channel\" : %d", odd == ODD_CHANNEL_RANGE ? 16 : sensor->channel);
	if (odd != ODD_NO_EVENT)
		add(message, ", \"event\" : %u", odd == ODD_EVENT_RANGE ? 256 + event : event);
	if (odd == ODD_EVENT_TWICE)
		add(message, ", \"event\" : %u", event ^ 0x80);
	add(message,
		", \"state\" : \"%s\", \"contact_open\" : %d, \"reed_open\" : %d, \"alarm\" : %d,"
		" \"tamper\" : %d, \"battery_ok\" : %d, \"heartbeat\" : %d, \"mic\" : \"CRC\"",
		event & 0xa0 ? "open" : "closed", !!(event & 0x80), !!(event & 0x20),
		!!(event & 0x10), !!(event & 0x40), !(event & BATTERY_LOW), !!(event & HEARTBEAT));
	if (odd == ODD_MIC_TWICE)
		add(message, ", \"mic\" : \"CRC\"");
	add(message, "%s", odd == ODD_TRAILING ? "}}" : "}");
	if (odd == ODD_CUT) /* somewhere after the opening brace and before the closing one */
		message->data[1 + (size_t)sensor->id % (strlen(message->data) - 2)] = 0;
}

void feed_next(struct feed *feed, struct feed_message *message)
{
	struct feed_burst *burst = earliest(feed);

	feed->now_ms = burst->next_ms;
	format_time(message->time, burst->next_ms);
	message->data[0] = 0;
	if (burst->other >= 0) {
		message->kind = FEED_OTHER;
		message->model = other_models[burst->other].name;
		message->freq_mhz = other_models[burst->other].freq_mhz;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(message->data, sizeof(message->data), other_models[burst->other].json,
			message->time, (int)burst->event);
#pragma GCC diagnostic pop
	} else {
		message->kind = burst->odd ? FEED_ODD : FEED_SOUND;
		message->model = "Honeywell-Security";
		message->freq_mhz = 345;
		write_5800(message, &feed->sensors[burst->sensor], burst->event, burst->odd);
	}
	burst->next_ms += burst->step_ms;
	burst->left--;
}
