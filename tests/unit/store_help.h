/* SPDX-License-Identifier: MIT */
/*
 * store_help.h - a fresh folder for each test, and the shortest way to a database in it.
 */
#ifndef CU_TESTS_STORE_HELP_H
#define CU_TESTS_STORE_HELP_H

#include "../patience.h"

#include "store/connection/connection.h"

#include <ftw.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct scratch {
	char folder[256];
	char database[320]; /* folder/app.db */
	char results[320];  /* folder/results.db */
};

/* Makes the file anew. */
static inline void scratch_write(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static inline int scratch_remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline int scratch_make(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct scratch *s = calloc(1, sizeof(*s));
	char *real;

	snprintf(s->folder, sizeof(s->folder), "%s/catchup-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(s->folder) || !(real = realpath(s->folder, NULL)))
		return -1;
	snprintf(s->folder, sizeof(s->folder), "%s", real);
	free(real);
	snprintf(s->database, sizeof(s->database), "%s/app.db", s->folder);
	snprintf(s->results, sizeof(s->results), "%s/results.db", s->folder);
	*state = s;
	return 0;
}

static inline int scratch_remove(void **state)
{
	struct scratch *s = *state;

	nftw(s->folder, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(s);
	return 0;
}

/* Runs SQL on a file as another program would. */
static inline void sql_run(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	char *message = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_close(db);
}

/* One integer, asked as another program would. */
static inline int64_t sql_int(const char *path, const char *sql)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	int64_t value;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(stmt) != SQLITE_ROW)
		fail_msg("%s: no row: %s", sql, sqlite3_errmsg(db));
	value = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return value;
}

/* into: NULL for results in the source's own file. */
static inline int try_open(struct cu_conn *conn, enum cu_role role, const char *database,
	const char *into, struct catchup_error *error)
{
	struct cu_conn_options options = {
		.role = role,
		.main = into ? into : database,
		.source = into ? database : NULL,
		.busy_ms = 2000,
	};

	return cu_conn_open(conn, &options, error);
}

static inline void open_conn(struct cu_conn *conn, enum cu_role role, const char *database,
	const char *into)
{
	struct catchup_error error = {0};

	if (try_open(conn, role, database, into, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
}

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		int assert_ok_code = (call);                                                       \
		if (assert_ok_code != CATCHUP_OK)                                                  \
			fail_msg("%s: %s: %s", #call, catchup_code_name(assert_ok_code),           \
				error.message);                                                    \
	} while (0)

static inline void expect_text(const struct catchup_error *error, const char *part)
{
	if (!strstr(error->message, part))
		fail_msg("'%s' is not in: %s", part, error->message);
}

#define SCRATCH_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

/* Nothing is opened, and the error says why. */
static inline void refuse_open(enum cu_role role, const char *database, const char *into, int code,
	const char *text)
{
	struct catchup_error error = {0};
	struct cu_conn conn;

	assert_int_equal(try_open(&conn, role, database, into, &error), code);
	assert_int_equal(error.code, code);
	expect_text(&error, text);
	assert_false(cu_conn_is_open(&conn));
	cu_conn_close(&conn);
}

#endif
