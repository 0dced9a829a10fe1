/* SPDX-License-Identifier: MIT */
#include "consumer/table.h"
#include "base/error.h"
#include "consumer/option.h"

#include <string.h>

/* The table as ABI 1.0 had it; no table is shorter. */
#define SIZE_OF_FIRST (offsetof(struct catchup_consumer, close) + sizeof(void (*)(void)))

int cu_table_check_abi(unsigned major, unsigned minor, struct catchup_error *error)
{
	if (major != CATCHUP_CONSUMER_ABI_MAJOR || minor > CATCHUP_CONSUMER_ABI_MINOR)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"built for ABI %u.%u, this runtime speaks %d.%d", major, minor,
			CATCHUP_CONSUMER_ABI_MAJOR, CATCHUP_CONSUMER_ABI_MINOR);
	return CATCHUP_OK;
}

int cu_table_check_name(const char *name, struct catchup_error *error)
{
	size_t bytes = name ? strlen(name) : 0;

	if (bytes == 0)
		return cu_error_set(error, CATCHUP_CONFIG, 0, "a consumer needs a name");
	if (bytes > CATCHUP_NAME_BYTES_MAX)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"name '%.40s...': %zu bytes are above the maximum %d", name, bytes,
			CATCHUP_NAME_BYTES_MAX);
	return CATCHUP_OK;
}

static int wrong(struct catchup_error *error, const char *what)
{
	return cu_error_set(error, CATCHUP_CONFIG, 0, "%s", what);
}

/* A string that is there but says nothing is a mistake, not a default. */
static int check_strings(const struct catchup_consumer *t, struct catchup_error *error)
{
	const struct {
		const char *name, *value;
	} strings[] = {
		{"source", t->source}, {"id_column", t->id_column}, {"max", t->max},
		{"next", t->next}, {"into", t->into}, {"on_error", t->on_error},
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		if (strings[i].value && strings[i].value[0] == '\0')
			return cu_error_set(error, CATCHUP_CONFIG, 0,
				"'%s' is empty; NULL means the default", strings[i].name);
	return CATCHUP_OK;
}

static int check_event(const struct catchup_consumer *t, struct catchup_error *error)
{
	static const char prefix[] = "changelog:";
	const char *table;

	if (!t->source || strncmp(t->source, prefix, sizeof(prefix) - 1) != 0)
		return wrong(error, "a consumer with 'event' needs a source "
				    "'changelog:FAMILY.TABLE'");
	table = strchr(t->source + sizeof(prefix) - 1, '.');
	if (!table || table == t->source + sizeof(prefix) - 1 || table[1] == '\0')
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"source '%.200s': a changelog source is written 'changelog:FAMILY.TABLE'",
			t->source);
	if (t->max || t->next || t->id_column)
		return wrong(error, "a consumer with 'event' has no 'max', 'next' or 'id_column'");
	return CATCHUP_OK;
}

static int check_kind(const struct catchup_consumer *t, struct catchup_error *error)
{
	int kinds = (t->row != NULL) + (t->range != NULL) + (t->map || t->apply) +
		(t->event || t->resync);

	if (!t->map != !t->apply)
		return wrong(error, t->map ? "'map' without 'apply'" : "'apply' without 'map'");
	if (!t->event != !t->resync)
		return wrong(error, t->event ? "'event' without 'resync'" : "'resync' without 'event'");
	if (kinds != 1)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"%s of 'row', 'range', 'map' with 'apply', 'event' with 'resync'; a consumer "
			"has exactly one",
			kinds == 0 ? "none" : "more than one");
	if (t->discard && !t->map)
		return wrong(error, "'discard' without 'map'");
	if (t->event)
		return check_event(t, error);
	if (t->range && !t->source)
		return wrong(error, "'range' without a 'source'");
	if (t->range && t->next)
		return wrong(error, "'next' beside 'range', which reads the rows itself");
	if (!t->source && !(t->max && t->next))
		return wrong(error, "no 'source'; it or both 'max' and 'next' say where rows come from");
	if (t->id_column && !t->source)
		return wrong(error, "'id_column' without a 'source' whose column it is");
	return CATCHUP_OK;
}

int cu_table_take(struct catchup_consumer *copy, const struct catchup_consumer *table,
	struct catchup_error *error)
{
	size_t size;
	int code;

	memset(copy, 0, sizeof(*copy));
	if (!table)
		return cu_error_set(error, CATCHUP_USAGE, 0, "the consumer's table is NULL");
	/* The version stands first: of a table with another one, nothing else can be relied on. */
	code = cu_table_check_abi(table->abi_major, table->abi_minor, error);
	if (code != CATCHUP_OK)
		return code;
	size = table->size;
	if (size < SIZE_OF_FIRST || size > sizeof(*copy))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"the table has %zu bytes, in ABI %d.%d it has %zu; begin it with "
			"CATCHUP_CONSUMER_ABI",
			size, CATCHUP_CONSUMER_ABI_MAJOR, CATCHUP_CONSUMER_ABI_MINOR, sizeof(*copy));
	memcpy(copy, table, size);
	copy->size = sizeof(*copy);
	code = cu_table_check_name(copy->name, error);
	if (code == CATCHUP_OK)
		code = check_strings(copy, error);
	if (code == CATCHUP_OK)
		code = check_kind(copy, error);
	if (code == CATCHUP_OK)
		code = cu_option_check_table(copy->options, error);
	return code;
}
