/* SPDX-License-Identifier: MIT */
/*
 * The write-ahead log of a results database where little is ever written.
 */
#include "runtime_help.h"

/* Large pages: what a lease takes to be renewed fills the log quickly. */
#define LARGE_PAGES                                                                                \
	"PRAGMA page_size=65536; PRAGMA journal_mode=WAL;"                                         \
	"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"                            \
	"INSERT INTO orders(n) VALUES (1), (2), (3);"

static int apply_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	return CATCHUP_ROW_APPLIED;
}

/* A number that counts how often the log has begun anew (walformat: salt-1), in *to; false: it is empty. */
static bool log_begins(const struct scratch *s, uint32_t *to)
{
	unsigned char header[20];
	char path[400];
	bool whole;
	FILE *file;

	snprintf(path, sizeof(path), "%s-wal", s->database);
	file = fopen(path, "rb");
	if (!file)
		return false;
	whole = fread(header, sizeof(header), 1, file) == 1;
	fclose(file);
	*to = 0;
	for (int i = 16; whole && i < 20; i++)
		*to = *to << 8 | header[i];
	return whole;
}

static void with_nothing_to_do_the_log_begins_anew(void **state)
{
	static const struct catchup_consumer table = {
		CATCHUP_CONSUMER_ABI, .name = "idle", .source = "orders", .row = apply_row};
	struct scratch *s = *state;
	const struct catchup_options options = {
		.size = sizeof(options), .database = s->database, .lease_ms = 1000, .wal_mib = 1};
	struct catchup_error error = {0};
	struct catchup *c;
	uint32_t first, now;

	sql_run(s->database, LARGE_PAGES);
	c = runtime_open(&options, NULL, &table);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	/* From here on leases are renewed, and nothing else is written. */
	UNTIL(log_begins(s, &first));
	UNTIL(log_begins(s, &now) && now - first >= 2);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(with_nothing_to_do_the_log_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
