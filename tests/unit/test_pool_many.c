/* SPDX-License-Identifier: MIT */
/*
 * What many consumers cost, in connections. The linker puts this file between the runtime and what it
 * calls, to count them.
 */
#include "runtime_help.h"

#include <stdatomic.h>

#define MANY 40
#define ORDERS                                                                                     \
	"PRAGMA journal_mode=WAL; CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"   \
	"INSERT INTO orders(n) VALUES (1), (2), (3);"

static _Atomic int opened; /* connections that write, since the test began */

int __real_cu_conn_open(struct cu_conn *, const struct cu_conn_options *, struct catchup_error *);
int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error);

int __wrap_cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	if (options->role == CU_ROLE_WRITER)
		atomic_fetch_add(&opened, 1);
	return __real_cu_conn_open(conn, options, error);
}

/* Writes a consumer's file into the scratch folder; its name is that of the file. */
static void write_file(const struct scratch *s, const char *name, const char *sql)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.sql", s->folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "-- name: %s\n-- source: orders\n%s", name, sql);
	assert_int_equal(fclose(file), 0);
}

static void add_file(const struct scratch *s, struct catchup *c, const char *name)
{
	struct catchup_error error = {0};
	char path[512];

	snprintf(path, sizeof(path), "%s/%s.sql", s->folder, name);
	assert_ok(catchup_add(c, path, NULL, &error));
}

/* Opens a runtime with many consumers, each with a table of its own. into: "" or a header line. */
static struct catchup *open_many(const struct scratch *s, const struct catchup_options *options,
	const char *into)
{
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	assert_ok(catchup_open(options, &c, &error));
	for (int i = 0; i < MANY; i++) {
		char name[32], sql[512];

		snprintf(name, sizeof(name), "seen%d", i);
		snprintf(sql, sizeof(sql),
			"%s-- setup\nCREATE TABLE IF NOT EXISTS seen%d(id INTEGER PRIMARY KEY);\n"
			"-- row\nINSERT INTO seen%d VALUES (@id);\n", into, i, i);
		write_file(s, name, sql);
		add_file(s, c, name);
	}
	atomic_store(&opened, 0);
	return c;
}

/* ---- at the start --------------------------------------------------------------------------------- */

static void one_connection_sets_all_of_a_file_up(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1};
	struct catchup *c = open_many(s, &options, "");

	runtime_catch_up(c);
	/* Beside it, each consumer has one and the log is looked after by one. */
	assert_in_range(atomic_load(&opened), 1, MANY + 2);
	assert_int_equal(sql_int(s->database, "SELECT sum(last) FROM catchup"), 3 * MANY);
}

static void two_connections_set_up_what_has_a_file_of_its_own(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.threads = 1};
	struct catchup *c = open_many(s, &options, "-- into: results.db\n");

	runtime_catch_up(c);
	assert_in_range(atomic_load(&opened), 1, MANY + 3);
	assert_int_equal(sql_int(s->results, "SELECT sum(last) FROM catchup"), 3 * MANY);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_consumer"), MANY);
}

static void what_one_setup_makes_for_itself_another_does_not_meet(void **state)
{
	static const char scratchy[] = "-- setup\nCREATE TEMP TABLE notes(n); INSERT INTO notes VALUES (1);\n"
		"CREATE TABLE IF NOT EXISTS counted(n); INSERT INTO counted SELECT count(*) FROM notes;\n"
		"-- row\nUPDATE counted SET n = n WHERE n = -@id;\n";
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup *c;

	sql_run(s->database, ORDERS);
	c = runtime_open(&options, NULL, NULL);
	write_file(s, "one", scratchy);
	write_file(s, "two", scratchy);
	add_file(s, c, "one");
	add_file(s, c, "two");
	runtime_catch_up(c);
	assert_int_equal(sql_int(s->database, "SELECT sum(n) FROM counted"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(one_connection_sets_all_of_a_file_up),
		SCRATCH_TEST(two_connections_set_up_what_has_a_file_of_its_own),
		SCRATCH_TEST(what_one_setup_makes_for_itself_another_does_not_meet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
