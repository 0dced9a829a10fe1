/* SPDX-License-Identifier: MIT */
/*
 * The sensor pipeline through the real program: built in and as modules, on a database that another
 * program has begun, with options, checked without being run; and the embedding example.
 */
#include "../patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECEIVE "honeywell5800_receive"
#define TRIPS "honeywell5800_trips"
#define TOTALS "'" SOURCE_ROOT "/consumers/honeywell5800_totals.sql'"
#define DOORS "'" SOURCE_ROOT "/consumers/open_doors.sql'"
#define MODULE(name) "'" BUILD_ROOT "/consumers/" name ".so'"
#define FEED "'" BUILD_ROOT "/bench/catchup-feed'"
#define CATCHUP "'" BUILD_ROOT "/catchup'"
#define RUN CATCHUP " run --until-caught-up --progress never --log-level warn demo.db "

static char output[1 << 16]; /* of the last command, standard output and standard error */

/* Runs a shell command in the test's folder. Returns its exit code. */
__attribute__((format(printf, 1, 2))) static int sh(const char *fmt, ...)
{
	char command[8192];
	va_list args;
	size_t used;
	FILE *pipe;
	int status;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	strncat(command, " 2>&1", sizeof(command) - strlen(command) - 1);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	used = fread(output, 1, sizeof(output) - 1, pipe);
	output[used] = 0;
	status = pclose(pipe);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define assert_runs(...)                                                                           \
	do {                                                                                       \
		if (sh(__VA_ARGS__) != 0)                                                          \
			fail_msg("%s", output);                                                    \
	} while (0)

/* The first column of the first row, from a connection that is closed again. */
static const char *query(const char *sql)
{
	static char text[4096];
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open("demo.db", &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s\nin: %s", sqlite3_errmsg(db), sql);
	text[0] = 0;
	if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0))
		snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(stmt, 0));
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	sqlite3_close(db);
	return text;
}

static void execute(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open("demo.db", &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s\nin: %s", sqlite3_errmsg(db), sql);
	sqlite3_close(db);
}

static int setup(void **state)
{
	char folder[] = "/tmp/catchup-pipeline.XXXXXX";

	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	*state = strdup(folder);
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(chdir("/"), 0);
	sh("rm -rf '%s'", (char *)*state);
	free(*state);
	return 0;
}

/* Fails unless the demo's query finds everything there, once. */
static void assert_nothing_lost_or_doubled(void)
{
	assert_runs(FEED " demo.db --query '" SOURCE_ROOT "/tests/demo_check.sql'");
	int lines = 0;
	for (char *line = strtok(output, "\n"); line; line = strtok(NULL, "\n"), lines++)
		if (!strstr(line, "\t0\t0"))
			fail_msg("expected, found, lost, doubled: %s", line);
	assert_int_equal(lines, 6);
}

static void built_in_consumers_find_what_a_plain_query_finds(void **state)
{
	(void)state;
	assert_runs(FEED " demo.db --rows 20000");
	assert_runs(RUN RECEIVE " " TRIPS " " TOTALS);
	assert_nothing_lost_or_doubled();

	/* And goes on from there. */
	assert_runs(FEED " demo.db --rows 5000 --seed 2");
	assert_runs(RUN RECEIVE " " TRIPS " " TOTALS);
	assert_string_equal(query("SELECT last FROM catchup WHERE name = '" RECEIVE "'"), "25000");
	assert_runs(RUN RECEIVE " " TRIPS " " TOTALS);
	assert_string_equal(query("SELECT last FROM catchup WHERE name = '" RECEIVE "'"), "25000");
}

static void consumers_work_as_modules(void **state)
{
	(void)state;
	assert_runs(FEED " demo.db --rows 10000");
	assert_runs(RUN MODULE(RECEIVE) " " MODULE(TRIPS) " " MODULE("rtl433_models") " " TOTALS);
	assert_nothing_lost_or_doubled();
	assert_string_equal(query("SELECT sum(messages) FROM rtl433_models"), "10000");
	assert_string_equal(
		query("SELECT count(*) FROM (SELECT model, messages, newest FROM rtl433_models"
		      " EXCEPT SELECT model, count(*), max(id) FROM rtl433_raw GROUP BY model)"),
		"0");
}

static void each_message_is_counted_as_applied_or_passed_over(void **state)
{
	(void)state;
	assert_runs(FEED " demo.db --rows 10000");
	assert_runs(RUN RECEIVE " " TRIPS);
	assert_string_equal(query("SELECT (SELECT applied FROM catchup_state WHERE name = '" RECEIVE
				  "') = (SELECT count(*) FROM honeywell5800_updates)"),
		"1");
	assert_string_equal(query("SELECT offered || ' ' || (applied + passed)"
				  " FROM catchup_state WHERE name = '" RECEIVE "'"),
		"10000 10000");
}

static void a_dozen_lines_of_sql_are_a_consumer(void **state)
{
	(void)state;
	assert_runs(FEED " demo.db --rows 10000");
	assert_runs(RUN RECEIVE " " DOORS);
	assert_string_equal(
		query("SELECT count(*) FROM (SELECT sensor, open FROM open_doors EXCEPT SELECT sensor,"
		      " event & 0xa0 <> 0 FROM (SELECT sensor, event, max(id) FROM"
		      " honeywell5800_updates GROUP BY sensor))"),
		"0");
	assert_string_equal(query("SELECT (SELECT count(*) FROM open_doors) ="
				  " (SELECT count(DISTINCT sensor) FROM honeywell5800_updates)"),
		"1");
}

/* What stands beside the source comes again to what it was. */
static void results_are_rebuilt_after_a_reset(void **state)
{
	static const char trips[] = "SELECT group_concat(sensor || loop || trippedBy || '-' ||"
				    " coalesce(clearedBy, ''), ' ')"
				    " FROM (SELECT * FROM honeywell5800_trips ORDER BY id)";
	static const char doors[] = "SELECT group_concat(sensor || since || open, ' ')"
				    " FROM (SELECT * FROM open_doors ORDER BY sensor)";
	char trips_before[4096], doors_before[4096];

	(void)state;
	assert_runs(FEED " demo.db --rows 1000");
	assert_runs(RUN RECEIVE " " TRIPS " " DOORS);
	strcpy(trips_before, query(trips));
	strcpy(doors_before, query(doors));
	assert_runs(CATCHUP " reset demo.db " TRIPS);
	assert_runs(CATCHUP " reset demo.db open_doors");
	assert_string_equal(query("SELECT (SELECT count(*) FROM honeywell5800_trips) +"
				  " (SELECT count(*) FROM open_doors)"), "0");
	assert_runs(RUN TRIPS " " DOORS);
	assert_string_equal(query(trips), trips_before);
	assert_string_equal(query(doors), doors_before);
}

static void options_come_from_the_command_line(void **state)
{
	(void)state;
	assert_runs(FEED " demo.db --rows 3000");
	assert_runs(RUN RECEIVE ":dedup-seconds=0");
	assert_string_equal(
		query("SELECT applied = (SELECT count(*) FROM honeywell5800_updates) AND applied >"
		      " 2500 FROM catchup_state WHERE name = '" RECEIVE "'"),
		"1");
	assert_int_equal(sh(RUN RECEIVE ":dedup-seconds=-1"), 2);
	assert_int_equal(sh(RUN RECEIVE ":dedup-second=5"), 2);
	assert_non_null(strstr(output, "dedup-seconds"));
	assert_int_equal(sh(RUN RECEIVE ":dedup-seconds=5.5"), 2);
}

/* The tables, rows and watermark as another program left them: its own constraint names, a blob for
 * JSON, RFC 3339 with a zone, a trip that is open. */
static void a_database_of_another_program_is_taken_over(void **state)
{
	(void)state;
	execute("PRAGMA journal_mode = WAL;"
		"CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CONSTRAINT a CHECK(name<>''),"
		" last INTEGER NOT NULL CONSTRAINT b CHECK(last>=0)) WITHOUT ROWID;"
		"CREATE TABLE rtl433_raw(id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, time TEXT NOT"
		" NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f', 'now')), freqMHz INTEGER NOT NULL,"
		" model TEXT NOT NULL, data TEXT NOT NULL);"
		"CREATE TABLE honeywell5800_models(id TEXT NOT NULL PRIMARY KEY, description TEXT)"
		" WITHOUT ROWID;"
		"CREATE TABLE honeywell5800_sensors(id INTEGER NOT NULL PRIMARY KEY, created TEXT NOT"
		" NULL DEFAULT '', model TEXT REFERENCES honeywell5800_models(id), description TEXT"
		" NOT NULL DEFAULT '');"
		"CREATE TABLE honeywell5800_updates(id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
		" time TEXT NOT NULL, channel INTEGER NOT NULL, sensor INTEGER NOT NULL REFERENCES"
		" honeywell5800_sensors(id) ON DELETE CASCADE, event INTEGER NOT NULL);"
		"CREATE TABLE honeywell5800_trips(id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
		" sensor INTEGER NOT NULL, loop INTEGER NOT NULL, trippedBy INTEGER NOT NULL,"
		" clearedBy INTEGER);"
		"INSERT INTO honeywell5800_models VALUES ('5853', 'glass break, at ours');"
		"INSERT INTO honeywell5800_sensors VALUES (7, '', '5853', 'west wing');"
		"INSERT INTO rtl433_raw(time, freqMHz, model, data) VALUES"
		" ('2026-03-01T13:00:00.5+01:00', 345, 'Honeywell-Security', 'never read again'),"
		" ('2026-03-01T13:00:04.123456789+01:00', 345, 'Honeywell-Security',"
		"  CAST('{\"id\":7,\"channel\":8,\"event\":128}' AS BLOB)),"
		" ('2026-03-01T12:01:00Z', 345, 'Honeywell-Security',"
		"  CAST('{\"id\":7,\"channel\":8,\"event\":0}' AS BLOB));"
		"INSERT INTO honeywell5800_updates VALUES (5, '2026-03-01T13:00:00.5+01:00', 8, 7, 128);"
		"INSERT INTO honeywell5800_trips VALUES (3, 7, 1, 5, NULL);"
		"INSERT INTO catchup VALUES ('honeywell5800.receive', 1), ('honeywell5800.trip', 5);");
	assert_runs(RUN RECEIVE ":name=honeywell5800.receive " TRIPS ":name=honeywell5800.trip");
	assert_string_equal(query("SELECT group_concat(id || ':' || event, ' ') FROM"
				  " honeywell5800_updates"),
		"5:128 6:0");
	assert_string_equal(query("SELECT group_concat(id || ':' || trippedBy || '-' || clearedBy)"
				  " FROM honeywell5800_trips"),
		"3:5-6");
	assert_string_equal(query("SELECT group_concat(name || '=' || last, ' ') FROM catchup"),
		"honeywell5800.receive=3 honeywell5800.trip=6");
	assert_string_equal(query("SELECT description FROM honeywell5800_models WHERE id = '5853'"),
		"glass break, at ours");
}

static void checking_changes_nothing(void **state)
{
	static const char shape[] =
		"SELECT group_concat(name || coalesce(sql, '')) FROM sqlite_schema";
	char before[4096];

	(void)state;
	assert_runs(FEED " demo.db --rows 100");
	strcpy(before, query(shape));
	assert_runs(CATCHUP " check " RECEIVE " " TRIPS " rtl433_models " TOTALS " " DOORS
			    " --database demo.db");
	assert_string_equal(query(shape), before);
}

static void a_source_that_is_not_there_is_named(void **state)
{
	(void)state;
	execute("CREATE TABLE other(id INTEGER PRIMARY KEY)");
	assert_int_equal(sh(RUN RECEIVE), 2);
	assert_non_null(strstr(output, "rtl433_raw"));
	assert_non_null(strstr(output, RECEIVE));
}

static void a_program_embeds_the_library(void **state)
{
	(void)state;
	execute("CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer TEXT, amount INT);"
		"INSERT INTO orders(customer, amount) VALUES ('ann', 300), ('bob', 1200),"
		" ('ann', 5000)");
	/* The log, here the warning about an old SQLite, goes to standard error. */
	assert_runs("('%s' demo.db '" SOURCE_ROOT "/docs/order_totals.sql' 2>/dev/null)", EMBED);
	assert_string_equal(output, "order_totals: row 3 of 3\nlarge_orders: row 3 of 3\n");
	assert_string_equal(query("SELECT group_concat(id, ' ') FROM large_orders"), "2 3");
	assert_string_equal(
		query("SELECT group_concat(customer || ' ' || orders || ' ' || amount, ', ')"
		      " FROM order_totals"),
		"ann 2 5300, bob 1 1200");
	assert_runs(CATCHUP " reset demo.db order_totals");
	assert_string_equal(query("SELECT count(*) FROM order_totals"), "0");
	assert_int_equal(sh("'%s'", EMBED), 2);
	assert_int_equal(sh("'%s' demo.db no.sql", EMBED), 2);
	assert_non_null(strstr(output, "no.sql"));
}

static void the_demo_ends_well_and_sees_what_is_wrong(void **state)
{
	(void)state;
	assert_runs(
		"BUILD='" BUILD_ROOT "' '" SOURCE_ROOT "/tests/demo.sh' --rows 30000 --rate 10000"
		" --kills 2 --keep .");
	assert_non_null(strstr(output, "kills survived                    2\n"));
	assert_runs("BUILD='" BUILD_ROOT "' '" SOURCE_ROOT "/tests/demo.sh' --check demo.db");
	execute("DELETE FROM honeywell5800_updates WHERE id = 100");
	assert_int_equal(
		sh("BUILD='" BUILD_ROOT "' '" SOURCE_ROOT "/tests/demo.sh' --check demo.db"), 1);
	execute("INSERT INTO honeywell5800_trips(sensor, loop, trippedBy) SELECT sensor, loop, trippedBy"
		" FROM honeywell5800_trips LIMIT 1");
	assert_int_equal(
		sh("BUILD='" BUILD_ROOT "' '" SOURCE_ROOT "/tests/demo.sh' --check demo.db"), 1);
	assert_non_null(strstr(output, "doubled                           1"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(built_in_consumers_find_what_a_plain_query_finds),
		T(consumers_work_as_modules),
		T(each_message_is_counted_as_applied_or_passed_over),
		T(a_dozen_lines_of_sql_are_a_consumer),
		T(results_are_rebuilt_after_a_reset),
		T(options_come_from_the_command_line),
		T(a_database_of_another_program_is_taken_over),
		T(checking_changes_nothing),
		T(a_source_that_is_not_there_is_named),
		T(a_program_embeds_the_library),
		T(the_demo_ends_well_and_sees_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
