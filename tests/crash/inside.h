/* SPDX-License-Identifier: MIT */
/* inside.h - the small world run by a runtime inside the test. */
#ifndef TESTS_CRASH_INSIDE_H
#define TESTS_CRASH_INSIDE_H

#include "world.h"

/* The C consumer of the world. */
extern const struct catchup_consumer inside_table;

/*
 * Opens a runtime on folder/app.db with all of the world's consumers; options NULL: defaults. database
 * is set, and log to a hook that keeps the lines, which begins anew.
 * Returns the code of what failed, with *error filled and *out NULL.
 */
int inside_open(const char *folder, const struct catchup_options *options, struct catchup **out,
	struct catchup_error *error);

/* Open, start, wait until caught up, close. Returns the first code that is not OK. */
int inside_run(const char *folder, const struct catchup_options *options,
	struct catchup_error *error);

/* What the last runtime has said, for messages. */
const char *inside_log(void);

#endif
