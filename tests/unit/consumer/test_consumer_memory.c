/* SPDX-License-Identifier: MIT */
/*
 * Every allocation fails once, and then from some point on: making a definition from a file, a built-in
 * table and a module, opening it and running a row. Each time there is an error that says so, nothing
 * leaks and nothing is half done.
 *
 * The linker puts these functions in place of libc's for the code under test (--wrap).
 */
#include "consumer/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- allocations that fail ---------------------------------------------------------------- */

static long countdown = -1; /* allocations until the first one that fails; -1: none fails */
static bool all_after;      /* all later ones fail too */
static long failures;

static bool fails(void)
{
	if (countdown < 0 || countdown-- > 0)
		return false;
	if (all_after)
		countdown = 0;
	failures++;
	return true;
}

static void plan(long first, bool from_then_on)
{
	countdown = first;
	all_after = from_then_on;
	failures = 0;
}

static void no_more_failures(void)
{
	countdown = -1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);
int __wrap_asprintf(char **to, const char *fmt, ...) CATCHUP_PRINTF(2, 3);

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
	return fails() ? NULL : __real_realloc(old, bytes);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t bytes)
{
	return fails() ? NULL : __real_strndup(text, bytes);
}

int __wrap_asprintf(char **to, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (fails())
		return -1;
	va_start(ap, fmt);
	n = vasprintf(to, fmt, ap);
	va_end(ap);
	return n;
}

/* SQLite's own, round what it had before. */
static sqlite3_mem_methods real;

static void *sqlite_malloc(int bytes)
{
	return fails() ? NULL : real.xMalloc(bytes);
}

static void *sqlite_realloc(void *old, int bytes)
{
	return fails() ? NULL : real.xRealloc(old, bytes);
}

static int wrap_sqlite(void **state)
{
	sqlite3_mem_methods wrapped;

	(void)state;
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real) != SQLITE_OK)
		return -1;
	wrapped = real;
	wrapped.xMalloc = sqlite_malloc;
	wrapped.xRealloc = sqlite_realloc;
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &wrapped) == SQLITE_OK &&
			sqlite3_initialize() == SQLITE_OK
		? 0
		: -1;
}

/* ---- what is tried ------------------------------------------------------------------------ */

static int some_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx, (void)state, (void)row;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_option some_options[] = {
	{.name = "depth", .kind = CATCHUP_OPTION_INT, .default_value = "3"},
	{.name = "tag", .kind = CATCHUP_OPTION_TEXT, .default_value = "x"},
	{.name = NULL},
};

static const struct catchup_consumer scan = {
	CATCHUP_CONSUMER_ABI,
	.name = "scan",
	.source = "events",
	.options = some_options,
	.row = some_row,
};

static const struct catchup_consumer *const builtins[] = {&scan, NULL};

/* Tries until nothing fails any more; each failure must be told as such. */
static void make_with_failures(const char *consumer)
{
	for (int from_then_on = 0; from_then_on <= 1; from_then_on++) {
		for (long first = 0;; first++) {
			struct catchup_error error = {0};
			struct cu_definition *d;
			int code;

			plan(first, from_then_on);
			code = cu_definition_make(&d, consumer, NULL, builtins, &error);
			no_more_failures();
			if (failures == 0) {
				assert_int_equal(code, CATCHUP_OK);
				cu_definition_free(d);
				break;
			}
			/* SQLite can do without some of its allocations. */
			if (code != CATCHUP_OK) {
				assert_null(d);
				assert_int_equal(code, CATCHUP_NOMEM);
				assert_int_equal(error.code, CATCHUP_NOMEM);
			}
			cu_definition_free(d);
		}
	}
}

static char path[] = "/tmp/catchup-test-XXXXXX.sql";

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void makes_from_a_file(void **state)
{
	char spec[100];

	(void)state;
	write_file("-- name: x\n-- source: events\n-- into: x.db\n-- from: y.db\n-- summary: s\n"
		   "-- on-error: park\n-- setup\nCREATE TABLE t(a, b);\n-- next\nSELECT 1 AS id;\n"
		   "-- max\nSELECT 1 AS max;\n-- row\nINSERT INTO t VALUES(@id, 1);\n");
	snprintf(spec, sizeof(spec), "%s:name=y,batch-rows=3", path);
	make_with_failures(spec);
}

static void makes_from_a_table(void **state)
{
	(void)state;
	make_with_failures("scan:tag=a\\,b,depth=4");
}

static void makes_from_a_module(void **state)
{
	char spec[600];

	(void)state;
	snprintf(spec, sizeof(spec), "%s/module_good.so:step=2", MODULE_FOLDER);
	make_with_failures(spec);
}

static void tells_a_wrong_name_without_memory_too(void **state)
{
	struct catchup_error error = {0};
	struct cu_definition *d;

	(void)state;
	for (long first = 0;; first++) {
		int code;

		plan(first, false);
		code = cu_definition_make(&d, first % 2 ? "scan:dept=3" : "sacn", NULL, builtins, &error);
		no_more_failures();
		assert_null(d);
		assert_int_equal(code, failures ? CATCHUP_NOMEM : CATCHUP_USAGE);
		if (!failures && first % 2)
			return;
	}
}

static sqlite3 *open_database(void)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db,
				 "CREATE TABLE t(a, b); CREATE TABLE events(id INTEGER PRIMARY KEY, note);"
				 "INSERT INTO events(note) VALUES(printf('%.2000c', 'x'))",
				 NULL, NULL, NULL),
		SQLITE_OK);
	return db;
}

/* Opens, looks at the columns, runs one row and closes. Returns whether all of it went well. */
static bool run(struct cu_context *context, sqlite3_stmt *next)
{
	struct catchup_context *ctx = &context->public;
	const struct cu_definition *d = context->definition;
	void *state = NULL;
	int result;

	cu_context_begin_call(context);
	result = cu_context_result(context, "open", d->table.open(ctx, &state));
	if (result != CATCHUP_ROW_APPLIED)
		return false;
	result = cu_context_result(context, "open", d->check_columns(ctx, state, next));
	if (result == CATCHUP_ROW_APPLIED) {
		if (sqlite3_step(next) == SQLITE_ROW)
			result = cu_context_result(context, "row", d->table.row(ctx, state, next));
		else
			result = catchup_fail(ctx, SQLITE_NOMEM, "cannot read");
		sqlite3_reset(next);
	}
	d->table.close(ctx, state);
	return result == CATCHUP_ROW_APPLIED;
}

static void runs_a_row(void **state)
{
	struct cu_definition *d;
	sqlite3 *db = open_database();

	(void)state;
	write_file("-- name: x\n-- source: events\n-- row\nINSERT INTO t VALUES(@id, @note);\n"
		   "DELETE FROM t WHERE a = @id;\n/* */; DELETE FROM t; DELETE FROM t; DELETE FROM t;");
	assert_int_equal(cu_definition_make(&d, path, NULL, NULL, NULL), CATCHUP_OK);
	for (long first = 0;; first++) {
		sqlite3_stmt *next = NULL;
		struct cu_context context;
		bool well;

		assert_int_equal(
			sqlite3_prepare_v2(db, "SELECT * FROM events", -1, &next, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
		cu_context_init(&context, d, NULL, NULL, db, 0);
		plan(first, true);
		well = run(&context, next);
		no_more_failures();
		sqlite3_finalize(next);
		if (!sqlite3_get_autocommit(db))
			assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
		if (!well) {
			/* The code says that it was the machine, not the row. */
			assert_int_equal(context.fail_code & 0xff, SQLITE_NOMEM);
			assert_string_not_equal(context.fail_text, "");
		}
		if (failures == 0) {
			assert_true(well);
			break;
		}
	}
	cu_definition_free(d);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int make_file(void **state)
{
	int fd = mkstemps(path, 4);

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? wrap_sqlite(state) : -1;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: SQLite's routines are looked for once in a process. */
		cmocka_unit_test(makes_from_a_module),
		cmocka_unit_test(makes_from_a_file),
		cmocka_unit_test(makes_from_a_table),
		cmocka_unit_test(tells_a_wrong_name_without_memory_too),
		cmocka_unit_test(runs_a_row),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
