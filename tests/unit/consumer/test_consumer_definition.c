/* SPDX-License-Identifier: MIT */
/*
 * Definitions: what a command line, a configuration and a table make together, option values, and
 * what consumer functions get from the host.
 */
#include "consumer/definition.h"
#include "consumer/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int some_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx, (void)state, (void)row;
	return CATCHUP_ROW_APPLIED;
}

static int some_range(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	(void)ctx, (void)state, (void)last, (void)max;
	return CATCHUP_ROW_APPLIED;
}

static int some_map(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)ctx, (void)state, (void)row;
	*result = NULL;
	return CATCHUP_ROW_APPLIED;
}

static int some_apply(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)ctx, (void)state, (void)id, (void)result;
	return CATCHUP_ROW_APPLIED;
}

static int some_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	(void)ctx, (void)state, (void)event;
	return CATCHUP_ROW_APPLIED;
}

static int some_resync(
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

static struct cu_definition *make(const char *consumer, const struct catchup_consumer_config *config)
{
	struct cu_definition *d;
	struct catchup_error error = {0};

	if (cu_definition_make(&d, consumer, config, builtins, &error) != CATCHUP_OK)
		fail_msg("'%s': %s", consumer, error.message);
	return d;
}

static void refuses(const char *consumer, const struct catchup_consumer_config *config, int code,
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

/* ---- specs -------------------------------------------------------------------------------- */

static void splits(const char *text, enum cu_spec_kind kind, const char *target, size_t n_pairs)
{
	struct cu_spec spec;
	struct catchup_error error = {0};

	if (cu_spec_parse(&spec, text, &error) != CATCHUP_OK)
		fail_msg("'%s': %s", text, error.message);
	assert_int_equal(spec.kind, kind);
	assert_string_equal(spec.target, target);
	assert_int_equal(spec.n_pairs, n_pairs);
	cu_spec_finish(&spec);
}

static void tells_paths_from_options(void **state)
{
	(void)state;
	splits("scan", CU_SPEC_BUILTIN, "scan", 0);
	splits("scan:a=1,b=2", CU_SPEC_BUILTIN, "scan", 2);
	splits("a.sql", CU_SPEC_SQL, "a.sql", 0);
	splits("./a.so:b=c", CU_SPEC_MODULE, "./a.so", 1);
	splits("a:b,c=d.sql", CU_SPEC_SQL, "a:b,c=d.sql", 0);
	splits("a:b,c=d.sql:into=e", CU_SPEC_SQL, "a:b,c=d.sql", 1);
	splits("a.sql:into=x.sql", CU_SPEC_SQL, "a.sql", 1);
	splits("./a.so:schema=x.sql:y", CU_SPEC_MODULE, "./a.so", 1);
	splits("dir.sql:x/a.sql", CU_SPEC_SQL, "dir.sql:x/a.sql", 0);
	splits("a.sqlite", CU_SPEC_BUILTIN, "a.sqlite", 0);
	splits("a.so.1", CU_SPEC_BUILTIN, "a.so.1", 0);
	splits("lib.so.d/x.sql", CU_SPEC_SQL, "lib.so.d/x.sql", 0);
}

static void reads_values_with_escapes(void **state)
{
	struct cu_spec spec;

	(void)state;
	assert_int_equal(
		cu_spec_parse(&spec, "scan:a=1\\,2\\\\,b=,c=x=y:z\\n", NULL), CATCHUP_OK);
	assert_int_equal(spec.n_pairs, 3);
	assert_string_equal(spec.pairs[0].key, "a");
	assert_string_equal(spec.pairs[0].value, "1,2\\");
	assert_string_equal(spec.pairs[1].value, "");
	assert_string_equal(spec.pairs[2].value, "x=y:z\\n");
	cu_spec_finish(&spec);
}

static void refuses_what_is_no_spec(void **state)
{
	(void)state;
	refuses("", NULL, CATCHUP_USAGE,
		"consumer '': empty; a consumer is a .sql file, a .so module or a built-in name");
	refuses(":a=1", NULL, CATCHUP_USAGE, "consumer ':a=1': no name before ':'");
	refuses("scan:", NULL, CATCHUP_USAGE,
		"consumer 'scan': option '' has no value; write key=value (and '\\,' for a comma inside a "
		"value)");
	refuses("scan:=3,x=4", NULL, CATCHUP_USAGE,
		"consumer 'scan': option '=3' has no key; write key=value");
	refuses("scan:depth", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'depth' has no value; write key=value (and '\\,' for a comma "
		"inside a value)");
	refuses("x.sql:depth,loud=1", NULL, CATCHUP_USAGE,
		"consumer 'x.sql': option 'depth' has no value; write key=value (and '\\,' for a comma "
		"inside a value)");
	refuses("scan:depth=3,", NULL, CATCHUP_USAGE,
		"consumer 'scan': nothing behind the last ',' of the options");
	refuses("sacn", NULL, CATCHUP_USAGE,
		"consumer 'sacn': not built in, did you mean 'scan'? (a path ends in .sql or .so)");
	refuses("nothing", NULL, CATCHUP_USAGE,
		"consumer 'nothing': not built in (a path ends in .sql or .so)");
	refuses("./x.c", NULL, CATCHUP_USAGE, "consumer './x.c': a path ends in .sql or .so");
}

/* ---- definitions -------------------------------------------------------------------------- */

static void makes_a_built_in_one_with_defaults(void **state)
{
	struct cu_definition *d = make("scan", NULL);

	(void)state;
	assert_string_equal(d->name, "scan");
	assert_string_equal(d->origin, "built-in scan");
	assert_string_equal(d->source, "events");
	assert_string_equal(d->id_column, "id");
	assert_null(d->into);
	assert_null(d->on_error);
	assert_int_equal(d->workers, 1);
	assert_int_equal(d->batch_rows, 0);
	assert_int_equal(d->n_options, 4);
	assert_int_equal(d->options[0].integer, 3);
	assert_int_equal(d->options[1].integer, -1);
	assert_int_equal(d->options[2].integer, 0);
	assert_string_equal(d->options[3].text, "");
	assert_ptr_equal(d->table.row, some_row);
	assert_ptr_equal(d->table.name, d->name);
	cu_definition_free(d);
}

static void the_spec_wins_over_the_config_and_the_table(void **state)
{
	static const char *const options[] = {"folder", "/x", NULL};
	struct catchup_consumer_config config = {
		.size = sizeof(config), .name = "n", .into = "i.db", .workers = 3, .options = options};
	struct cu_definition *d = make("mapper:into=j.db,workers=4,batch-rows=100", &config);

	(void)state;
	assert_string_equal(d->name, "n");
	assert_string_equal(d->into, "j.db");
	assert_string_equal(d->on_error, "park");
	assert_string_equal(d->id_column, "n");
	assert_string_equal(d->setup, "CREATE TABLE x(y)");
	assert_string_equal(d->table.into, "j.db");
	assert_int_equal(d->workers, 4);
	assert_int_equal(d->batch_rows, 100);
	assert_string_equal(d->options[0].text, "/x");
	cu_definition_free(d);
	d = make("mapper:name=o,on-error=stop,folder=/y", NULL);
	assert_string_equal(d->name, "o");
	assert_string_equal(d->on_error, "stop");
	cu_definition_free(d);
}

static void refuses_wrong_options(void **state)
{
	static const char *const twice[] = {"depth", "4", NULL}, *const odd[] = {"depth", NULL};
	struct catchup_consumer_config config = {.size = sizeof(config), .options = twice};

	(void)state;
	refuses("scan:dept=4", NULL, CATCHUP_USAGE,
		"consumer 'scan': unknown option 'dept', did you mean 'depth'?");
	refuses("scan:wrokers=4", NULL, CATCHUP_USAGE,
		"consumer 'scan': unknown option 'wrokers', did you mean 'workers'?");
	refuses("scan:colour=4", NULL, CATCHUP_USAGE, "consumer 'scan': unknown option 'colour'");
	refuses("scan:depth=10", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'depth': 10 is above the maximum 9");
	refuses("scan:depth=0", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'depth': 0 is below the minimum 1");
	refuses("scan:depth=99999999999999999999", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'depth': 99999999999999999999 is above the maximum 9");
	refuses("scan:offset=-9223372036854775809", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'offset': -9223372036854775809 is below the minimum "
		"-9223372036854775808");
	for (const char *const *p = (const char *const[]){"", " 8", "8 ", "0x10", "+1", "-", "1e3", NULL};
		*p; p++) {
		char spec[64], message[200];

		snprintf(spec, sizeof(spec), "scan:depth=%s", *p);
		snprintf(message, sizeof(message),
			"consumer 'scan': option 'depth': '%s' is not an integer (1 to 9)", *p);
		refuses(spec, NULL, CATCHUP_USAGE, message);
	}
	refuses("scan:loud=maybe", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'loud': 'maybe' is not true, false, yes, no, on, off, 1 or 0");
	refuses("scan:tag=toolong", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'tag': 7 bytes are above the maximum 5");
	refuses("scan:depth=4,depth=4", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'depth' is given twice");
	refuses("scan:name=a,name=a", NULL, CATCHUP_USAGE, "consumer 'scan': option 'name' is given twice");
	refuses("scan:depth=5", &config, CATCHUP_USAGE, "consumer 'scan': option 'depth' is given twice");
	config.options = odd;
	refuses("scan", &config, CATCHUP_USAGE, "consumer 'scan': option 'depth' has no value");
	refuses("mapper", NULL, CATCHUP_USAGE,
		"consumer 'mapper': option 'folder' is required: where to");
	refuses("mapper:folder=x", NULL, CATCHUP_USAGE,
		"consumer 'mapper': option 'folder': 'x' is shorter than the minimum of 2 bytes");
	refuses("scan:into=", NULL, CATCHUP_USAGE, "consumer 'scan': option 'into' is empty");
	refuses("mapper:workers=0", NULL, CATCHUP_USAGE,
		"consumer 'mapper': option 'workers': 0 is below the minimum 1");
	refuses("mapper:workers=257", NULL, CATCHUP_USAGE,
		"consumer 'mapper': option 'workers': 257 is above the maximum 256");
	refuses("scan:batch-rows=10000001", NULL, CATCHUP_USAGE,
		"consumer 'scan': option 'batch-rows': 10000001 is above the maximum 10000000");
	refuses("scan:workers=2", NULL, CATCHUP_USAGE,
		"consumer 'scan': 2 workers: only a consumer with 'map' can use more than one; rows of "
		"this one are applied in order, one after the other");
}

static void accepts_extreme_values(void **state)
{
	struct cu_definition *d = make("scan:offset=-9223372036854775808,loud=on", NULL);

	(void)state;
	assert_true(d->options[1].integer == INT64_MIN);
	assert_int_equal(d->options[2].integer, 1);
	cu_definition_free(d);
	d = make("scan:offset=9223372036854775807,loud=false", NULL);
	assert_true(d->options[1].integer == INT64_MAX);
	assert_int_equal(d->options[2].integer, 0);
	cu_definition_free(d);
}

static void refuses_a_wrong_config(void **state)
{
	struct catchup_consumer_config config = {.size = 3};

	(void)state;
	refuses("scan", &config, CATCHUP_USAGE,
		"consumer 'scan': struct catchup_consumer_config has 48 bytes here, 'size' says 3");
	config = (struct catchup_consumer_config){.size = sizeof(config), .workers = 300};
	refuses("scan", &config, CATCHUP_USAGE,
		"consumer 'scan': option 'workers': 300 is above the maximum 256");
	config = (struct catchup_consumer_config){.size = sizeof(config), .name = ""};
	refuses("scan", &config, CATCHUP_CONFIG, "consumer 'scan': a consumer needs a name");
}

static void takes_any_name_up_to_a_mebibyte(void **state)
{
	char *name = malloc(CATCHUP_NAME_BYTES_MAX + 2);
	struct catchup_consumer_config config = {.size = sizeof(config), .name = name};
	struct cu_definition *d;
	struct catchup_error error = {0};

	(void)state;
	assert_non_null(name);
	memset(name, '\'', CATCHUP_NAME_BYTES_MAX + 1);
	memcpy(name, "a\n;\"\x01\xff", 6);
	name[CATCHUP_NAME_BYTES_MAX + 1] = '\0';
	assert_int_equal(cu_definition_make_table(&d, &scan, &config, &error), CATCHUP_CONFIG);
	assert_non_null(strstr(error.message, "1048577 bytes are above the maximum 1048576"));
	assert_null(strchr(error.message, '\n'));
	name[CATCHUP_NAME_BYTES_MAX] = '\0';
	assert_int_equal(cu_definition_make_table(&d, &scan, &config, &error), CATCHUP_OK);
	assert_string_equal(d->name, name);
	cu_definition_free(d);
	free(name);
}

/* ---- from files --------------------------------------------------------------------------- */

static void makes_one_from_a_file(void **state)
{
	char path[] = "/tmp/catchup-test-XXXXXX.sql";
	FILE *f = fdopen(mkstemps(path, 4), "w");
	char spec[100], message[300];
	struct cu_definition *d;
	struct catchup_description *description;

	(void)state;
	assert_non_null(f);
	fputs("-- name: doors\n-- source: events\n-- into: d.db\n-- from: e.db\n-- on-error: park\n"
	      "-- batch-rows: 50\n-- summary: doors\n-- setup\nCREATE TABLE d(id);\n"
	      "-- max\nSELECT 1 AS max\n-- next\nSELECT 1 AS id\n-- row\nINSERT INTO d VALUES(@id);\n",
		f);
	fclose(f);
	snprintf(spec, sizeof(spec), "%s:name=gates", path);
	d = make(spec, NULL);
	assert_string_equal(d->name, "gates");
	assert_string_equal(d->origin, path);
	assert_string_equal(d->source, "events");
	assert_string_equal(d->id_column, "id");
	assert_string_equal(d->into, "d.db");
	assert_string_equal(d->from, "e.db");
	assert_string_equal(d->on_error, "park");
	assert_int_equal(d->batch_rows, 50);
	assert_string_equal(d->setup, "CREATE TABLE d(id);\n");
	assert_int_equal(d->setup_line, 9);
	assert_string_equal(d->max, "SELECT 1 AS max\n");
	assert_int_equal(d->max_line, 11);
	assert_string_equal(d->next, "SELECT 1 AS id\n");
	assert_int_equal(d->next_line, 13);
	assert_string_equal(d->table.summary, "doors");
	assert_non_null(d->table.row);
	assert_null(d->table.range);
	assert_non_null(d->check_columns);
	cu_definition_free(d);

	assert_int_equal(catchup_describe(path, NULL, NULL, &description, NULL), CATCHUP_OK);
	assert_string_equal(description->name, "doors");
	assert_string_equal(description->origin, path);
	assert_string_equal(description->source, "events");
	assert_string_equal(description->into, "d.db");
	assert_string_equal(description->on_error, "park");
	assert_string_equal(description->way, "row");
	catchup_description_free(description);

	snprintf(spec, sizeof(spec), "%s:workers=2", path);
	refuses(spec, NULL, CATCHUP_USAGE,
		"consumer 'doors': 2 workers: only a consumer with 'map' can use more than one; rows of "
		"this one are applied in order, one after the other");
	f = fopen(path, "w");
	fputs("-- name: doors\n-- source: events\n-- batch-rows: 0\n-- row\nSELECT 1;", f);
	fclose(f);
	snprintf(message, sizeof(message), "%s:3: option 'batch-rows': 0 is below the minimum 1", path);
	refuses(path, NULL, CATCHUP_CONFIG, message);
	unlink(path);
}

/* ---- tables ------------------------------------------------------------------------------- */

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
	refuses_table(t, "built for ABI 2.1, this runtime speaks 1.1");
	t = TABLE(.row = some_row);
	t.abi_minor = 7;
	refuses_table(t, "built for ABI 1.7, this runtime speaks 1.1");
	t = TABLE(.row = some_row);
	t.size = 8;
	snprintf(message, sizeof(message),
		"the table has 8 bytes, in ABI 1.1 it has %zu; begin it with CATCHUP_CONSUMER_ABI",
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

/* ---- the host ----------------------------------------------------------------------------- */

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
		cmocka_unit_test(tells_paths_from_options),
		cmocka_unit_test(reads_values_with_escapes),
		cmocka_unit_test(refuses_what_is_no_spec),
		cmocka_unit_test(makes_a_built_in_one_with_defaults),
		cmocka_unit_test(the_spec_wins_over_the_config_and_the_table),
		cmocka_unit_test(refuses_wrong_options),
		cmocka_unit_test(accepts_extreme_values),
		cmocka_unit_test(refuses_a_wrong_config),
		cmocka_unit_test(takes_any_name_up_to_a_mebibyte),
		cmocka_unit_test(makes_one_from_a_file),
		cmocka_unit_test(refuses_tables_that_make_no_consumer),
		cmocka_unit_test(refuses_tables_of_another_abi),
		cmocka_unit_test(takes_tables_of_an_older_abi),
		cmocka_unit_test(refuses_wrong_option_tables),
		cmocka_unit_test(gives_options_log_and_stopping),
		cmocka_unit_test(makes_sense_of_any_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
