/* SPDX-License-Identifier: MIT */
/*
 * option.h - values of options: reading them, and the checks of a consumer's option table.
 */
#ifndef CU_CONSUMER_OPTION_H
#define CU_CONSUMER_OPTION_H

#include "consumer/definition.h"

/* What may be said about any consumer, in these words; ended by NULL. Never options of its own. */
extern const char *const cu_option_general[];

/*
 * Reads a decimal integer: no blanks, no plus sign, no other base. name and text are shown when it is
 * none, or outside minimum and maximum. Returns CATCHUP_OK or CATCHUP_USAGE.
 */
int cu_option_read_int(int64_t *out, const char *name, const char *text, int64_t minimum,
	int64_t maximum, struct catchup_error *error);

/* Checks a table: names, kinds, bounds, defaults. Returns CATCHUP_OK or CATCHUP_CONFIG. */
int cu_option_check_table(const struct catchup_option *options, struct catchup_error *error);

/* Makes a value for each option of the definition's table, all still without text. */
int cu_option_make(struct cu_definition *definition, struct catchup_error *error);

/* Sets one; refuses an unknown name (with a suggestion), a second value and a bad one. */
int cu_option_set(struct cu_definition *definition, const char *name, const char *text,
	struct catchup_error *error);

/* Gives defaults to those not set; refuses when one without a default is missing. */
int cu_option_complete(struct cu_definition *definition, struct catchup_error *error);

void cu_option_free(struct cu_definition *definition);

#endif
