/* SPDX-License-Identifier: MIT */
/*
 * embed.c - catchup inside a program of your own: one consumer in SQL, one in C that is linked in.
 *
 *	cc embed.c $(pkg-config --cflags --libs catchup sqlite3) -o embed
 *	./embed shop.db order_totals.sql
 */
#include <catchup/catchup.h>
#include <catchup/consumer.h>
#include <stdio.h>

/* Keeps the ids of large orders in a table of their own. */
static int large_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	if (sqlite3_column_int64(row, 1) < 1000)
		return CATCHUP_ROW_PASSED;
	char *sql = sqlite3_mprintf(
		"INSERT INTO large_orders(id) VALUES (%lld)", sqlite3_column_int64(row, 0));
	int rc = sqlite3_exec(ctx->db, sql, NULL, NULL, NULL);
	sqlite3_free(sql);
	return rc == SQLITE_OK ? CATCHUP_ROW_APPLIED
			       : catchup_fail_db(ctx, "cannot keep the order");
}

CATCHUP_CONSUMER(large_orders) = {
	CATCHUP_CONSUMER_ABI,
	.name = "large_orders",
	.summary = "orders of 1000 and more",
	.source = "orders",
	.next = "SELECT id, amount FROM orders WHERE id > @last AND id <= @max ORDER BY id",
	.setup = "CREATE TABLE IF NOT EXISTS large_orders(id INTEGER PRIMARY KEY)",
	.row = large_row,
};

static void log_line(
	void *context, enum catchup_log_level level, const char *subject, const char *text)
{
	(void)level;
	fprintf(context, "%s%s%s\n", subject, *subject ? ": " : "", text);
}

int main(int argc, char **argv)
{
	struct catchup_options options = {.size = sizeof(options),
		.log = log_line,
		.log_context = stderr,
		.log_level = CATCHUP_LOG_WARN,
		/* This program has no connection of its own that writes the database. */
		.flags = CATCHUP_FLAG_ALONE};
	struct catchup_error error = {0};
	struct catchup_status *status = NULL;
	struct catchup *c = NULL;

	options.database = argc == 3 ? argv[1] : NULL;
	if (catchup_open(&options, &c, &error) || catchup_add(c, argv[2], NULL, &error) ||
		catchup_add_table(c, &catchup_consumer_large_orders, NULL, &error) ||
		catchup_start(c, &error) ||
		catchup_wait(c, 10000, &error) || /* a service would go on instead */
		catchup_status(c, &status, &error))
		fprintf(stderr, "embed: %s\n", error.message);
	for (size_t i = 0; status && i < status->n_consumers; i++)
		printf("%s: row %lld of %lld\n", status->consumers[i].name,
			(long long)status->consumers[i].watermark,
			(long long)status->consumers[i].newest);
	catchup_status_free(status);
	catchup_close(c);
	return catchup_code_exit(error.code);
}
