/* SPDX-License-Identifier: MIT */
/*
 * options.c - the options of a runtime: defaults and limits.
 */
#include "pool/runtime.h"

#include "base/error.h"

#include <string.h>

#define DEFAULT_BATCH_ROWS 20000
#define DEFAULT_BATCH_MS 20
#define DEFAULT_RING_SLOTS 256
#define DEFAULT_THREADS 0 /* layout_workers.c */
#define DEFAULT_POLL_MS 1000
#define DEFAULT_BUSY_MS 30000
#define DEFAULT_LEASE_MS 10000
#define DEFAULT_WAL_MIB 64
#define DEFAULT_STOP_DEADLINE_MS 5000
#define STOP_DEADLINE_MS_MAX 3600000

#define KNOWN_FLAGS (CATCHUP_FLAG_NETWORK_FS | CATCHUP_FLAG_NO_LEASE | CATCHUP_FLAG_ALONE)

struct limit {
	const char *name;
	size_t offset;
	uint32_t minimum, maximum, value_if_zero;
};

static const struct limit limits[] = {
#define OPTION(field) #field, offsetof(struct catchup_options, field)
	{OPTION(batch_rows), 1, CATCHUP_BATCH_ROWS_MAX, DEFAULT_BATCH_ROWS},
	{OPTION(batch_ms), 1, CATCHUP_BATCH_MS_MAX, DEFAULT_BATCH_MS},
	{OPTION(ring_slots), 2, CATCHUP_RING_SLOTS_MAX, DEFAULT_RING_SLOTS},
	{OPTION(threads), 1, CATCHUP_THREADS_MAX, DEFAULT_THREADS},
	{OPTION(poll_ms), 10, 3600000, DEFAULT_POLL_MS},
	{OPTION(busy_ms), 1, 3600000, DEFAULT_BUSY_MS},
	{OPTION(lease_ms), 1000, 3600000, DEFAULT_LEASE_MS},
	{OPTION(wal_mib), 1, 65536, DEFAULT_WAL_MIB},
#undef OPTION
};

int cu_options_read(struct catchup_options *whole, const struct catchup_options *given,
	struct catchup_error *error)
{
	*whole = (struct catchup_options){0};
	/* A caller built against an older header gives fewer fields; the rest are defaults. */
	if (given->size < offsetof(struct catchup_options, batch_rows) || given->size > sizeof(*whole))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"catchup_options.size is %zu; this library takes %zu to %zu", given->size,
			offsetof(struct catchup_options, batch_rows), sizeof(*whole));
	memcpy(whole, given, given->size);
	whole->size = sizeof(*whole);
	return CATCHUP_OK;
}

int cu_options_take(struct catchup *c, const struct catchup_options *given,
	struct catchup_error *error)
{
	struct catchup_options *o = &c->options;
	const char *changelog;
	int rc = cu_options_read(o, given, error);

	if (rc != CATCHUP_OK)
		return rc;
	c->logger = (struct cu_logger){o->log, o->log_context, o->log_level};
	changelog = o->changelog;
	o->database = NULL;
	o->changelog = NULL;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		uint32_t *value = (uint32_t *)(void *)((char *)o + limits[i].offset);

		if (*value == 0)
			*value = limits[i].value_if_zero;
		else if (*value < limits[i].minimum || *value > limits[i].maximum)
			return cu_error_set(error, CATCHUP_USAGE, 0,
				"option '%s': %u is outside %u to %u", limits[i].name, *value,
				limits[i].minimum, limits[i].maximum);
	}
	if (o->synchronous == CATCHUP_SYNCHRONOUS_DEFAULT)
		o->synchronous = CATCHUP_SYNCHRONOUS_NORMAL;
	if (o->synchronous < CATCHUP_SYNCHRONOUS_OFF || o->synchronous > CATCHUP_SYNCHRONOUS_FULL)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'synchronous': %d is unknown",
			(int)o->synchronous);
	if ((unsigned)o->log_level > CATCHUP_LOG_DEBUG)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'log_level': %d is outside %d to %d",
			(int)o->log_level, CATCHUP_LOG_ERROR, CATCHUP_LOG_DEBUG);
	if (o->flags & ~KNOWN_FLAGS)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'flags': 0x%x has bits that this library does not know", o->flags);
	if (o->stop_deadline_ms == 0)
		o->stop_deadline_ms = DEFAULT_STOP_DEADLINE_MS;
	if (o->stop_deadline_ms > STOP_DEADLINE_MS_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'stop_deadline_ms': %llu is outside 1 to %d",
			(unsigned long long)o->stop_deadline_ms, STOP_DEADLINE_MS_MAX);
	if (cu_ring_round_slots(o->ring_slots) != o->ring_slots) {
		uint32_t rounded = cu_ring_round_slots(o->ring_slots);

		cu_log(&c->logger, CATCHUP_LOG_INFO, "",
			"ring slots rounded up from %u to %u, a power of two", o->ring_slots, rounded);
		o->ring_slots = rounded;
	}
	if (changelog && !(o->changelog = strdup(changelog)))
		return cu_error_nomem(error);
	return CATCHUP_OK;
}
