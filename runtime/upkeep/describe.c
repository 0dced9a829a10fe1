/* SPDX-License-Identifier: MIT */
/*
 * describe.c - catchup_describe: a definition, shown to the outside, and what a runtime would refuse of it.
 */
#include "base/error.h"
#include "consumer/definition.h"
#include "pool/plan/policy.h"

#include <stdlib.h>

struct described {
	struct catchup_description public; /* first: callers get a pointer to it */
	struct cu_definition *definition;  /* owned; the public strings are its */
};

static const char *text(const char *value)
{
	return value ? value : "";
}

static const char *way_of(const struct catchup_consumer *table)
{
	return table->row ? "row" : table->range ? "range" : table->map ? "map" : "event";
}

static int check_policy(const struct cu_definition *d, struct catchup_error *error)
{
	struct cu_policy policy;
	int code = cu_policy_parse(&policy, d->on_error, error);

	if (code != CATCHUP_OK)
		cu_error_prefix(error, "consumer '%.200s': ", d->name);
	return code;
}

int catchup_describe(const char *consumer, const struct catchup_consumer_config *config,
	const struct catchup_consumer *const *builtins, struct catchup_description **out,
	struct catchup_error *error)
{
	struct described *described;
	struct cu_definition *d;
	int code;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	if (!consumer)
		return cu_error_null(error, __func__, "consumer");
	described = calloc(1, sizeof(*described));
	if (!described)
		return cu_error_nomem(error);
	code = cu_definition_make(&d, consumer, config, builtins, error);
	if (code == CATCHUP_OK && (code = check_policy(d, error)) != CATCHUP_OK)
		cu_definition_free(d);
	if (code != CATCHUP_OK) {
		free(described);
		return code;
	}
	described->definition = d;
	described->public = (struct catchup_description){
		.name = d->name,
		.origin = d->origin,
		.source = text(d->source),
		.into = text(d->into),
		.on_error = text(d->on_error),
		.way = way_of(&d->table),
	};
	*out = &described->public;
	return CATCHUP_OK;
}

void catchup_description_free(struct catchup_description *description)
{
	struct described *described = (struct described *)description;

	if (!described)
		return;
	cu_definition_free(described->definition);
	free(described);
}
