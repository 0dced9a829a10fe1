/* SPDX-License-Identifier: MIT */
/*
 * samples.h - two built-in consumers, `scan` and `mapper`, with options of every kind, and definitions made of them.
 */
#ifndef CU_TESTS_CONSUMER_SAMPLES_H
#define CU_TESTS_CONSUMER_SAMPLES_H

#include "consumer/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static inline int some_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx, (void)state, (void)row;
	return CATCHUP_ROW_APPLIED;
}

static inline int some_range(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	(void)ctx, (void)state, (void)last, (void)max;
	return CATCHUP_ROW_APPLIED;
}

static inline int some_map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx, (void)state, (void)row;
	*result = NULL;
	return CATCHUP_ROW_APPLIED;
}

static inline int some_apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)ctx, (void)state, (void)id, (void)result;
	return CATCHUP_ROW_APPLIED;
}

static inline int some_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	(void)ctx, (void)state, (void)event;
	return CATCHUP_ROW_APPLIED;
}

static inline int some_resync(
	struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	(void)ctx, (void)state, (void)why;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_option some_options[] = {
	{.name = "depth", .kind = CATCHUP_OPTION_INT, .default_value = "3", .minimum = 1, .maximum = 9,
		.help = "how deep"},
	{.name = "offset", .kind = CATCHUP_OPTION_INT, .default_value = "-1"},
	{.name = "loud", .kind = CATCHUP_OPTION_BOOL, .default_value = "no"},
	{.name = "tag", .kind = CATCHUP_OPTION_TEXT, .default_value = "", .maximum = 5},
	{.name = NULL},
};

static const struct catchup_consumer scan = {
	CATCHUP_CONSUMER_ABI,
	.name = "scan",
	.summary = "looks at rows",
	.source = "events",
	.options = some_options,
	.row = some_row,
};

static const struct catchup_option needed[] = {
	{.name = "folder", .kind = CATCHUP_OPTION_TEXT, .minimum = 2, .maximum = 100, .help = "where to"},
	{.name = NULL},
};

static const struct catchup_consumer mapper = {
	CATCHUP_CONSUMER_ABI,
	.name = "mapper",
	.source = "events",
	.id_column = "n",
	.into = "m.db",
	.on_error = "park",
	.setup = "CREATE TABLE x(y)",
	.options = needed,
	.map = some_map,
	.apply = some_apply,
};

static const struct catchup_consumer *const builtins[] = {&scan, &mapper, NULL};

static inline struct cu_definition *make(const char *consumer, const struct catchup_consumer_config *config)
{
	struct cu_definition *d;
	struct catchup_error error = {0};

	if (cu_definition_make(&d, consumer, config, builtins, &error) != CATCHUP_OK)
		fail_msg("'%s': %s", consumer, error.message);
	return d;
}

static inline void refuses(const char *consumer, const struct catchup_consumer_config *config, int code,
	const char *message)
{
	struct cu_definition *d;
	struct catchup_error error = {0};

	assert_int_equal(cu_definition_make(&d, consumer, config, builtins, &error), code);
	assert_null(d);
	assert_string_equal(error.message, message);
	assert_int_equal(error.code, code);
	assert_int_equal(cu_definition_make(&d, consumer, config, builtins, NULL), code);
}

#endif
