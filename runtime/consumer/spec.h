/* SPDX-License-Identifier: MIT */
/*
 * spec.h - what a command line says about one consumer, taken apart.
 *
 *	./orders.sql            ./scan.so:depth=3,into=scan.db            totals:name=totals-2
 *
 * A path ends with the first ".sql" or ".so" behind which the text ends or ":key=" begins, so that a
 * path may hold ':' and ','. Everything else is the name of a built-in consumer, up to the first ':'.
 * In a value, "\," is a comma and "\\" a backslash.
 */
#ifndef CU_CONSUMER_SPEC_H
#define CU_CONSUMER_SPEC_H

#include <catchup/catchup.h>

enum cu_spec_kind {
	CU_SPEC_BUILTIN,
	CU_SPEC_SQL,
	CU_SPEC_MODULE,
};

struct cu_spec_pair {
	char *key; /* both owned */
	char *value;
};

struct cu_spec {
	enum cu_spec_kind kind;
	char *target; /* owned; path or name */
	struct cu_spec_pair *pairs;
	size_t n_pairs;
};

/* Returns CATCHUP_OK; or CATCHUP_USAGE / CATCHUP_NOMEM with *spec empty. */
int cu_spec_parse(struct cu_spec *spec, const char *text, struct catchup_error *error);
void cu_spec_finish(struct cu_spec *spec);

/* The value of a key, NULL when it is not given. */
const char *cu_spec_value(const struct cu_spec *spec, const char *key);

/* The text of a spec again, its path made absolute, with `name` and `into` of the config (may be NULL)
 * as keys. NULL without memory. Owned by the caller. */
char *cu_spec_format(const struct cu_spec *spec, const struct catchup_consumer_config *config);

#endif
