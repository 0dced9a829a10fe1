/* SPDX-License-Identifier: MIT */
/* Consumers as they are written on a command line: a path or a name, and options behind it. */
#include "samples.h"

#include "consumer/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_paths_from_options),
		cmocka_unit_test(reads_values_with_escapes),
		cmocka_unit_test(refuses_what_is_no_spec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
