/* SPDX-License-Identifier: MIT */
/*
 * fuzz_sql_file.c - any bytes as a SQL consumer file: taken apart, and where that makes a consumer,
 * its statements prepared on a small database and its functions run on an empty range or a row.
 */
#include "base/check.h"
#include "consumer/definition.h"
#include "consumer/sql_consumer.h"
#include "consumer/sql_file.h"
#include "consumer/sql_syntax.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* What the rest of the runtime relies on in a file that was accepted. */
static void check_file(const struct cu_sql_file *file, size_t bytes)
{
	bool apply = file->sections[CU_SQL_SECTION_APPLY].text;
	bool row = file->sections[CU_SQL_SECTION_ROW].text;

	CU_CHECK(file->keys[CU_SQL_KEY_NAME].text);
	CU_CHECK(apply != row);
	CU_CHECK(!apply || file->keys[CU_SQL_KEY_SOURCE].text);
	for (int i = 0; i < CU_SQL_KEYS; i++)
		CU_CHECK(!file->keys[i].text || (file->keys[i].text[0] && file->keys[i].line > 0));
	for (int i = 0; i < CU_SQL_SECTIONS; i++) {
		const struct cu_sql_text *section = &file->sections[i];

		if (!section->text)
			continue;
		CU_CHECK(section->line > 1 && strlen(section->text) < bytes);
		CU_CHECK(*cu_sql_file_skip_blank(section->text) != '\0');
		for (const char *sql = section->text; *sql;) {
			const char *end = cu_sql_syntax_end(sql);

			CU_CHECK(end > sql);
			sql = end;
		}
	}
}

/* Consumer code runs guarded in the runtime; here nothing but its own tables can be reached. */
static int authorize(void *context, int action, const char *a, const char *b, const char *c, const char *d)
{
	(void)context, (void)a, (void)b, (void)c, (void)d;
	switch (action) {
	case SQLITE_ATTACH:
	case SQLITE_PRAGMA:
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
	case SQLITE_RECURSIVE:
	case SQLITE_CREATE_VTABLE:
		return SQLITE_DENY;
	default:
		return SQLITE_OK;
	}
}

static int stop(void *context)
{
	(void)context;
	return 1;
}

static void run_consumer(const struct cu_sql_file *file)
{
	struct cu_definition definition = {
		.name = file->keys[CU_SQL_KEY_NAME].text,
		.sql = (struct cu_sql_file *)file,
	};
	struct cu_context context;
	sqlite3_stmt *row = NULL;
	sqlite3 *db = NULL;
	void *state = NULL;

	cu_sql_consumer_functions(&definition.table, file);
	CU_CHECK(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 'x', 2);",
		NULL, NULL, NULL);
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 100000);
	sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 50);
	sqlite3_limit(db, SQLITE_LIMIT_VDBE_OP, 10000);
	sqlite3_set_authorizer(db, authorize, NULL);
	sqlite3_progress_handler(db, 10000, stop, NULL);
	CU_CHECK(sqlite3_prepare_v2(db, "SELECT * FROM t", -1, &row, NULL) == SQLITE_OK);
	cu_context_init(&context, &definition, NULL, NULL, db, 0);
	cu_context_begin_call(&context);
	if (definition.table.open(&context.public, &state) == CATCHUP_ROW_APPLIED) {
		cu_context_begin_call(&context);
		if (definition.table.range)
			definition.table.range(&context.public, state, 0, 1);
		else if (sqlite3_step(row) == SQLITE_ROW)
			definition.table.row(&context.public, state, row);
		definition.table.close(&context.public, state);
	} else {
		CU_CHECK(context.failed && context.fail_text[0]);
	}
	sqlite3_finalize(row);
	/* Refuses while a statement is left. */
	CU_CHECK(sqlite3_close(db) == SQLITE_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	struct catchup_error error = {0};
	struct cu_sql_file *file;

	if (cu_sql_file_parse(&file, "f.sql", (const char *)data, bytes, &error) == CATCHUP_OK) {
		check_file(file, bytes);
		cu_sql_syntax_check(file, &error);
		run_consumer(file);
		cu_sql_file_free(file);
	} else {
		CU_CHECK(!file && error.code != CATCHUP_OK && error.message[0]);
		CU_CHECK(!strchr(error.message, '\n'));
	}
	return 0;
}
