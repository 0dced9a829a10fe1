/* SPDX-License-Identifier: MIT */
/*
 * dead_help.h - orders, of which those with a negative amount are bad, and what tests of dead letters expect.
 */
#ifndef CU_TESTS_DEAD_HELP_H
#define CU_TESTS_DEAD_HELP_H

#include "runtime_help.h"

#define ORDERS                                                                                     \
	"PRAGMA journal_mode=WAL;"                                                                 \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer, amount INT);"         \
	"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)"             \
	" INSERT INTO orders SELECT i, i % 3, CASE WHEN i IN (5, 8, 13) THEN -i ELSE i END FROM c;"

#define DONE_TABLE "CREATE TABLE IF NOT EXISTS done(id INTEGER PRIMARY KEY, amount INT)"

static inline int write_done(struct catchup_context *ctx, int64_t id, int64_t amount)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "INSERT INTO done VALUES (%lld, %lld)", (long long)id,
		(long long)amount);
	return sqlite3_exec(ctx->db, sql, NULL, NULL, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "done");
}

/* What a consumer of theirs does with a row. */
static inline int take_order(struct catchup_context *ctx, sqlite3_stmt *row)
{
	int64_t amount = sqlite3_column_int64(row, 2);

	if (amount < 0)
		return catchup_fail(ctx, 0, "amount %lld is negative", (long long)amount);
	return write_done(ctx, sqlite3_column_int64(row, 0), amount);
}

static inline void expect_counts(
	const struct catchup_dead_result *r, int done, int failed, int gone, int behind)
{
	char got[96], expected[96];

	snprintf(got, sizeof(got), "%d tried, %d done, %d failed, %d gone, %d behind", (int)r->tried,
		(int)r->done, (int)r->failed, (int)r->gone, (int)r->behind);
	snprintf(expected, sizeof(expected), "%d tried, %d done, %d failed, %d gone, %d behind",
		done + failed + gone, done, failed, gone, behind);
	assert_string_equal(got, expected);
}

#endif
