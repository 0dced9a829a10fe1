/* SPDX-License-Identifier: MIT */
/* Tables of C consumers: which are refused, and what their functions get from the host. */
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void refuses_table(struct catchup_consumer table, const char *message)
{
	struct cu_definition *d;
	struct catchup_error error = {0};

	assert_int_equal(cu_definition_make_table(&d, &table, NULL, &error), CATCHUP_CONFIG);
	assert_null(d);
	assert_string_equal(error.message, message);
}

#define TABLE(...)                                                                                 \
	((struct catchup_consumer){CATCHUP_CONSUMER_ABI, .name = "t", .source = "events", __VA_ARGS__})

static void refuses_tables_that_make_no_consumer(void **state)
{
	struct catchup_consumer t;

	(void)state;
	refuses_table(TABLE(.summary = "nothing"),
		"consumer 't': none of 'row', 'range', 'map' with 'apply', 'event' with 'resync';"
		" a consumer has exactly one");
	refuses_table(TABLE(.row = some_row, .range = some_range),
		"consumer 't': more than one of 'row', 'range', 'map' with 'apply', 'event' with "
		"'resync'; a consumer has exactly one");
	refuses_table(TABLE(.map = some_map), "consumer 't': 'map' without 'apply'");
	refuses_table(TABLE(.apply = some_apply), "consumer 't': 'apply' without 'map'");
	refuses_table(TABLE(.event = some_event), "consumer 't': 'event' without 'resync'");
	refuses_table(TABLE(.resync = some_resync), "consumer 't': 'resync' without 'event'");
	refuses_table(TABLE(.row = some_row, .discard = free), "consumer 't': 'discard' without 'map'");
	refuses_table(TABLE(.event = some_event, .resync = some_resync),
		"consumer 't': a consumer with 'event' needs a source 'changelog:FAMILY.TABLE'");
	t = TABLE(.event = some_event, .resync = some_resync);
	t.source = "changelog:.x";
	refuses_table(t, "consumer 't': source 'changelog:.x': a changelog source is written "
			 "'changelog:FAMILY.TABLE'");
	t.source = "changelog:f.x";
	t.max = "SELECT 1";
	refuses_table(t, "consumer 't': a consumer with 'event' has no 'max', 'next' or 'id_column'");
	refuses_table(TABLE(.range = some_range, .next = "SELECT 1"),
		"consumer 't': 'next' beside 'range', which reads the rows itself");
	t = TABLE(.range = some_range);
	t.source = NULL;
	refuses_table(t, "consumer 't': 'range' without a 'source'");
	t = TABLE(.row = some_row, .max = "SELECT 1");
	t.source = NULL;
	refuses_table(t, "consumer 't': no 'source'; it or both 'max' and 'next' say where rows come "
			 "from");
	t.next = "SELECT 2";
	t.id_column = "n";
	refuses_table(t, "consumer 't': 'id_column' without a 'source' whose column it is");
	refuses_table(TABLE(.row = some_row, .into = ""),
		"consumer 't': 'into' is empty; NULL means the default");
	t = TABLE(.row = some_row);
	t.name = "";
	refuses_table(t, "consumer '': a consumer needs a name");
	t.name = NULL;
	refuses_table(t, "a consumer needs a name");
}

static void refuses_tables_of_another_abi(void **state)
{
	struct catchup_consumer t = TABLE(.row = some_row);
	struct cu_definition *d;
	char message[200];

	(void)state;
	t.abi_major = 2;
	refuses_table(t, "built for ABI 2.2, this runtime speaks 1.2");
	t = TABLE(.row = some_row);
	t.abi_minor = 7;
	refuses_table(t, "built for ABI 1.7, this runtime speaks 1.2");
	t = TABLE(.row = some_row);
	t.size = 8;
	snprintf(message, sizeof(message),
		"the table has 8 bytes, in ABI 1.2 it has %zu; begin it with CATCHUP_CONSUMER_ABI",
		sizeof(t));
	refuses_table(t, message);
	assert_int_equal(cu_definition_make_table(&d, NULL, NULL, NULL), CATCHUP_USAGE);
	assert_null(d);
}

/* What was built before the table had `reset` is shorter, and whatever lies behind it is not read. */
static void takes_tables_of_an_older_abi(void **state)
{
	struct catchup_consumer t = {CATCHUP_CONSUMER_ABI, .name = "old", .source = "rows",
		.row = some_row, .reset = "DELETE FROM behind"};
	struct cu_definition *d;

	(void)state;
	t.abi_minor = 0;
	t.size = offsetof(struct catchup_consumer, reset);
	assert_int_equal(cu_definition_make_table(&d, &t, NULL, NULL), CATCHUP_OK);
	assert_null(d->reset);
	cu_definition_free(d);
	t.abi_minor = CATCHUP_CONSUMER_ABI_MINOR;
	t.size = sizeof(t);
	assert_int_equal(cu_definition_make_table(&d, &t, NULL, NULL), CATCHUP_OK);
	assert_string_equal(d->reset, t.reset);
	cu_definition_free(d);
}

static void refuses_wrong_option_tables(void **state)
{
	static const struct {
		struct catchup_option options[3];
		const char *message;
	} wrong[] = {
		{{{.name = "", .kind = 1}}, "consumer 't': option '': a name has at least one byte and no "
					    "'=', ',', ':', '\\' or blank"},
		{{{.name = "a=b", .kind = 1}}, "consumer 't': option 'a=b': a name has at least one byte "
					       "and no '=', ',', ':', '\\' or blank"},
		{{{.name = "into", .kind = 3}}, "consumer 't': option 'into': the name is taken; it means "
						"the same for every consumer"},
		{{{.name = "a", .kind = 3}, {.name = "a", .kind = 3}},
			"consumer 't': option 'a': twice in the table"},
		{{{.name = "a", .kind = 4}}, "consumer 't': option 'a': unknown kind 4"},
		{{{.name = "a", .kind = 1, .minimum = 2, .maximum = 1}},
			"consumer 't': option 'a': minimum 2 is above maximum 1"},
		{{{.name = "a", .kind = 1, .default_value = "5", .minimum = 1, .maximum = 4}},
			"consumer 't': default of option 'a': 5 is above the maximum 4"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		refuses_table(TABLE(.row = some_row, .options = wrong[i].options), wrong[i].message);
}

struct lines {
	int n;
	int level;
	char subject[64];
	char message[1200];
};

static void keep_line(void *context, enum catchup_log_level level, const char *subject, const char *message)
{
	struct lines *lines = context;

	lines->n++;
	lines->level = (int)level;
	snprintf(lines->subject, sizeof(lines->subject), "%s", subject);
	snprintf(lines->message, sizeof(lines->message), "%s", message);
}

static void gives_options_log_and_stopping(void **state)
{
	struct cu_definition *d = make("scan:depth=7,tag=x", NULL);
	struct lines lines = {0};
	struct cu_logger logger = {keep_line, &lines, CATCHUP_LOG_INFO};
	_Atomic int stopping = 0;
	struct cu_context context;
	struct catchup_context *ctx = &context.public;

	(void)state;
	cu_context_init(&context, d, &logger, &stopping, NULL, 2);
	assert_string_equal(ctx->name, "scan");
	assert_string_equal(ctx->source, "events");
	assert_int_equal(ctx->worker, 2);
	assert_int_equal(ctx->size, sizeof(*ctx));
	assert_int_equal(catchup_option_int(ctx, "depth"), 7);
	assert_int_equal(catchup_option_int(ctx, "loud"), 0);
	assert_string_equal(catchup_option_text(ctx, "depth"), "7");
	assert_string_equal(catchup_option_text(ctx, "tag"), "x");
	assert_int_equal(catchup_stopping(ctx), 0);
	atomic_store(&stopping, 1);
	assert_int_not_equal(catchup_stopping(ctx), 0);
	catchup_log(ctx, CATCHUP_CONSUMER_DEBUG, "not wanted");
	assert_int_equal(lines.n, 0);
	catchup_log(ctx, CATCHUP_CONSUMER_WARN, "odd\n%s", "\x1b[2J");
	assert_int_equal(lines.n, 1);
	assert_int_equal(lines.level, CATCHUP_LOG_WARN);
	assert_string_equal(lines.subject, "scan");
	assert_string_equal(lines.message, "odd\\n\\x1b[2J");
	catchup_log(ctx, -5, "below");
	assert_int_equal(lines.level, CATCHUP_LOG_ERROR);
	cu_definition_free(d);
}

static void makes_sense_of_any_result(void **state)
{
	struct cu_definition *d = make("scan", NULL);
	struct cu_context context;
	struct catchup_context *ctx = &context.public;

	(void)state;
	cu_context_init(&context, d, NULL, NULL, NULL, 0);
	assert_int_equal(catchup_stopping(ctx), 0);
	assert_int_equal(cu_context_result(&context, "row", 0), CATCHUP_ROW_APPLIED);
	assert_int_equal(cu_context_result(&context, "row", 1), CATCHUP_ROW_PASSED);

	cu_context_begin_call(&context);
	assert_int_equal(cu_context_result(&context, "row", 2), CATCHUP_ROW_FAILED);
	assert_string_equal(context.fail_text, "row failed without saying why");
	assert_int_equal(context.fail_code, 0);

	cu_context_begin_call(&context);
	assert_int_equal(cu_context_result(&context, "row", -7), CATCHUP_ROW_FAILED);
	assert_string_equal(context.fail_text,
		"row returned -7; a result is 0 (applied), 1 (passed over) or 2 (failed)");

	cu_context_begin_call(&context);
	assert_int_equal(catchup_fail(ctx, SQLITE_FULL, "first %d", 1), CATCHUP_ROW_FAILED);
	assert_int_equal(catchup_fail(ctx, 0, "second"), CATCHUP_ROW_FAILED);
	assert_int_equal(cu_context_result(&context, "row", 0), CATCHUP_ROW_FAILED);
	assert_string_equal(context.fail_text, "first 1");
	assert_int_equal(context.fail_code, SQLITE_FULL);

	cu_context_begin_call(&context);
	assert_int_equal(catchup_fail(ctx, 1, "%s", ""), CATCHUP_ROW_FAILED);
	assert_int_equal(cu_context_result(&context, "range", 2), CATCHUP_ROW_FAILED);
	assert_string_equal(context.fail_text, "range failed without saying why");

	cu_context_begin_call(&context);
	assert_int_equal(catchup_fail(ctx, 1, "%2000d", 5), CATCHUP_ROW_FAILED);
	assert_int_equal(strlen(context.fail_text), CATCHUP_MESSAGE_BYTES - 1);
	cu_definition_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_tables_that_make_no_consumer),
		cmocka_unit_test(refuses_tables_of_another_abi),
		cmocka_unit_test(takes_tables_of_an_older_abi),
		cmocka_unit_test(refuses_wrong_option_tables),
		cmocka_unit_test(gives_options_log_and_stopping),
		cmocka_unit_test(makes_sense_of_any_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
