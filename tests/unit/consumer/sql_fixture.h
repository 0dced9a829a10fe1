/* SPDX-License-Identifier: MIT */
/*
 * sql_fixture.h - a SQL consumer from text on a real connection, and what it said.
 */
#ifndef CU_TESTS_SQL_FIXTURE_H
#define CU_TESTS_SQL_FIXTURE_H

#include "consumer/definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "-- name: doors\n-- source: events\n"

/* A consumer from text, open on a database in memory, or the reason why it is not. */
struct fixture {
	char path[64];
	sqlite3 *db;
	struct cu_definition *definition;
	struct cu_context context;
	void *state;
	bool open;
	sqlite3_stmt *next;
};

static inline void sql(sqlite3 *db, const char *text)
{
	char *message = NULL;

	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
}

/* The first value of a query, as text; one buffer for all. */
static inline const char *value(sqlite3 *db, const char *query)
{
	static char text[256];
	sqlite3_stmt *stmt = NULL;

	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	return text;
}

static inline void write_file(struct fixture *f, const char *text)
{
	FILE *file;
	int fd;

	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "/tmp/catchup-test-XXXXXX.sql");
	fd = mkstemps(f->path, 4);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	assert_true(fputs(text, file) >= 0);
	fclose(file);
}

static inline void start(struct fixture *f, const char *tables, const char *text)
{
	struct catchup_error error = {0};

	write_file(f, text);
	if (cu_definition_make(&f->definition, f->path, NULL, NULL, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	assert_int_equal(sqlite3_open(":memory:", &f->db), SQLITE_OK);
	sqlite3_extended_result_codes(f->db, 1);
	sql(f->db, tables);
	cu_context_init(&f->context, f->definition, NULL, NULL, f->db, 0);
	cu_context_begin_call(&f->context);
	f->open = cu_context_result(&f->context, "open",
			  f->definition->table.open(&f->context.public, &f->state)) ==
		CATCHUP_ROW_APPLIED;
}

static inline void stop(struct fixture *f)
{
	sqlite3_finalize(f->next);
	if (f->open)
		f->definition->table.close(&f->context.public, f->state);
	/* Fails when a statement was not finalized. */
	assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
	cu_definition_free(f->definition);
	unlink(f->path);
}

/* What was said, behind the file's path. */
static inline void said(struct fixture *f, const char *message)
{
	size_t n = strlen(f->path);

	assert_true(f->context.failed);
	assert_memory_equal(f->context.fail_text, f->path, n);
	assert_string_equal(f->context.fail_text + n, message);
}

static inline void refuses(const char *tables, const char *text, int code, const char *message)
{
	struct fixture f;

	start(&f, tables, text);
	assert_false(f.open);
	said(&f, message);
	assert_int_equal(f.context.fail_code, code);
	stop(&f);
}

/* Refused when the file is read, before there is a database. */
static inline void refuses_text(const char *text, const char *message)
{
	struct catchup_error error = {0};
	struct fixture f;

	write_file(&f, text);
	assert_int_equal(
		cu_definition_make(&f.definition, f.path, NULL, NULL, &error), CATCHUP_CONFIG);
	assert_memory_equal(error.message, f.path, strlen(f.path));
	assert_string_equal(error.message + strlen(f.path), message);
	unlink(f.path);
}

static inline int range(struct fixture *f, int64_t last, int64_t max)
{
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "range",
		f->definition->table.range(&f->context.public, f->state, last, max));
}

static inline int check(struct fixture *f, const char *query)
{
	sqlite3_finalize(f->next);
	assert_int_equal(sqlite3_prepare_v2(f->db, query, -1, &f->next, NULL), SQLITE_OK);
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "open",
		f->definition->check_columns(&f->context.public, f->state, f->next));
}

static inline int row(struct fixture *f)
{
	cu_context_begin_call(&f->context);
	return cu_context_result(&f->context, "row",
		f->definition->table.row(&f->context.public, f->state, f->next));
}

static inline int all_rows(struct fixture *f)
{
	int result = CATCHUP_ROW_APPLIED;

	while (result == CATCHUP_ROW_APPLIED && sqlite3_step(f->next) == SQLITE_ROW)
		result = row(f);
	sqlite3_reset(f->next);
	return result;
}

#define EVENTS "CREATE TABLE events(id INTEGER PRIMARY KEY, sensor INT, note);"
#define TOTALS "CREATE TABLE totals(sensor PRIMARY KEY, n);"

#endif
