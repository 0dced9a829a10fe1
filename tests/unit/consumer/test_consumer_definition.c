/* SPDX-License-Identifier: MIT */
/*
 * Definitions: what a command line, a configuration and a table make together, option values, and
 * what consumer functions get from the host.
 */
#include "samples.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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
	assert_string_equal(d->setup, "CREATE TABLE d(id);");
	assert_int_equal(d->setup_line, 9);
	assert_string_equal(d->max, "SELECT 1 AS max");
	assert_int_equal(d->max_line, 11);
	assert_string_equal(d->next, "SELECT 1 AS id");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(makes_a_built_in_one_with_defaults),
		cmocka_unit_test(the_spec_wins_over_the_config_and_the_table),
		cmocka_unit_test(refuses_wrong_options),
		cmocka_unit_test(accepts_extreme_values),
		cmocka_unit_test(refuses_a_wrong_config),
		cmocka_unit_test(takes_any_name_up_to_a_mebibyte),
		cmocka_unit_test(makes_one_from_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
