/* SPDX-License-Identifier: MIT */
/*
 * The three consumers of the demo, one after the other, on generated messages; and the demo's plain
 * query, which must find nothing lost and nothing doubled, unless something is.
 */
#include "fake_host.h"
#include "feed_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct catchup_consumer catchup_consumer_honeywell5800_receive;
extern const struct catchup_consumer catchup_consumer_honeywell5800_trips;
extern const struct catchup_consumer catchup_consumer_rtl433_models;

static char *read_source_file(const char *name)
{
	char path[4096];
	char *text = calloc(1, 65536);
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", SOURCE_ROOT, name);
	file = fopen(path, "re");
	assert_non_null(text);
	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 0);
	fclose(file);
	return text;
}

static void insert_messages(struct fake_host *host, uint64_t seed, int rows, int count[FEED_KINDS])
{
	struct feed *feed = malloc(sizeof(*feed));
	struct feed_message message;

	assert_non_null(feed);
	feed_init(feed, seed, 60);
	for (int i = 0; i < feed->n_sensors; i++)
		if (feed->sensors[i].model)
			fake_sql(host,
				"INSERT INTO honeywell5800_sensors(id, model) VALUES (%d, %Q)",
				feed->sensors[i].id, feed->sensors[i].model);
	fake_sql(host,
		"INSERT INTO honeywell5800_site_loops(sensor, loop, siteNormallyOpen)"
		" SELECT id, 1, true FROM honeywell5800_sensors WHERE model = '5816' LIMIT 3");
	for (int i = 0; i < rows; i++) {
		feed_next(feed, &message);
		count[message.kind]++;
		fake_sql(host,
			"INSERT INTO rtl433_raw(time, freqMHz, model, data)"
			" VALUES (%Q, %d, %Q, %Q)",
			message.time, message.freq_mhz, message.model, message.data);
	}
	free(feed);
}

/* Runs the sections of a set-based SQL consumer over all rows. */
static void run_sql_consumer(struct fake_host *host, const char *file)
{
	char *text = read_source_file(file);
	char *setup = strstr(text, "-- setup\n");
	char *apply = strstr(text, "-- apply\n");
	sqlite3_stmt *stmt;

	assert_non_null(setup);
	assert_non_null(apply);
	*apply = 0;
	fake_sql(host, "%s", setup);
	assert_int_equal(
		sqlite3_prepare_v2(host->db, apply + strlen("-- apply\n"), -1, &stmt, NULL),
		SQLITE_OK);
	sqlite3_bind_int64(stmt, sqlite3_bind_parameter_index(stmt, "@last"), 0);
	sqlite3_bind_int64(stmt, sqlite3_bind_parameter_index(stmt, "@max"), INT64_MAX);
	assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
	sqlite3_finalize(stmt);
	free(text);
}

/* The demo's query, as "what: lost doubled" for each line that is not clean. */
static const char *differences(struct fake_host *host, int *lines)
{
	static char text[1024];
	char *sql = read_source_file("tests/demo_check.sql");
	sqlite3_stmt *stmt;

	text[0] = 0;
	*lines = 0;
	assert_int_equal(sqlite3_prepare_v2(host->db, sql, -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		size_t used = strlen(text);

		assert_true(sqlite3_column_int64(stmt, 1) > 0);
		*lines += 1;
		if (sqlite3_column_int64(stmt, 3) || sqlite3_column_int64(stmt, 4))
			snprintf(text + used, sizeof(text) - used, "%s: %lld %lld; ",
				(const char *)sqlite3_column_text(stmt, 0),
				(long long)sqlite3_column_int64(stmt, 3),
				(long long)sqlite3_column_int64(stmt, 4));
	}
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	free(sql);
	return text;
}

static void prepare_database(struct fake_host *host)
{
	fake_init(host);
	fake_sql(host, "CREATE TABLE rtl433_raw(id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
		       " time TEXT NOT NULL, freqMHz INTEGER, model TEXT, data TEXT)");
	fake_setup(host, &catchup_consumer_honeywell5800_receive);
	fake_setup(host, &catchup_consumer_honeywell5800_trips);
	fake_setup(host, &catchup_consumer_rtl433_models);
}

static void the_plain_query_and_the_consumers_agree(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct fake_host *host = calloc(1, sizeof(*host));
		int count[FEED_KINDS] = {0};
		int lines;

		assert_non_null(host);
		prepare_database(host);
		insert_messages(host, seed, 6000, count);
		assert_true(count[FEED_SOUND] > 3000);
		assert_true(count[FEED_OTHER] > 100);
		assert_true(count[FEED_ODD] > 30);
		assert_int_equal(
			fake_follow(host, &catchup_consumer_honeywell5800_receive, 0), 6000);
		assert_int_equal(host->applied + host->passed, 6000);
		fake_follow(host, &catchup_consumer_honeywell5800_trips, 0);
		assert_int_equal(host->failed, 0);
		run_sql_consumer(host, "consumers/honeywell5800_totals.sql");
		assert_string_equal(differences(host, &lines), "");
		assert_int_equal(lines, 6);
		fake_finish(host);
		free(host);
	}
}

static void the_plain_query_sees_what_is_lost_and_what_is_doubled(void **state)
{
	struct fake_host *host = calloc(1, sizeof(*host));
	int count[FEED_KINDS] = {0};
	int lines;

	(void)state;
	assert_non_null(host);
	prepare_database(host);
	insert_messages(host, 7, 3000, count);
	fake_follow(host, &catchup_consumer_honeywell5800_receive, 0);
	fake_follow(host, &catchup_consumer_honeywell5800_trips, 0);
	run_sql_consumer(host, "consumers/honeywell5800_totals.sql");

	fake_sql(host,
		"SAVEPOINT s; INSERT INTO honeywell5800_updates(time, channel, sensor, event)"
		" SELECT time, channel, sensor, event FROM honeywell5800_updates LIMIT 1");
	assert_string_equal(differences(host, &lines), "updates: 0 1; ");
	fake_sql(host, "ROLLBACK TO s; UPDATE honeywell5800_totals SET updates = updates + 1"
		       " WHERE (sensor, hour) = (SELECT sensor, hour"
		       " FROM honeywell5800_totals LIMIT 1)");
	assert_string_equal(differences(host, &lines), "totals: updates: 0 1; ");
	fake_sql(host, "ROLLBACK TO s; UPDATE honeywell5800_trips SET clearedBy = NULL WHERE id ="
		       " (SELECT min(id) FROM honeywell5800_trips WHERE clearedBy > 0)");
	assert_string_equal(differences(host, &lines), "trips closed: 1 0; ");
	fake_sql(host, "ROLLBACK TO s; UPDATE honeywell5800_updates SET event = event | 1"
		       " WHERE id = 100");
	assert_string_equal(differences(host, &lines), "updates: 1 1; ");
	fake_sql(host, "ROLLBACK TO s; RELEASE s");
	assert_string_equal(differences(host, &lines), "");
	fake_finish(host);
	free(host);
}

static void the_same_seed_makes_the_same_messages(void **state)
{
	struct feed *one = malloc(sizeof(*one)), *two = malloc(sizeof(*two));
	struct feed_message a, b;
	char before[32] = "";

	(void)state;
	assert_non_null(one);
	assert_non_null(two);
	feed_init(one, 42, 200);
	feed_init(two, 42, 200);
	for (int i = 0; i < 50000; i++) {
		feed_next(one, &a);
		feed_next(two, &b);
		assert_string_equal(a.time, b.time);
		assert_string_equal(a.data, b.data);
		assert_true(strcmp(a.time, before) >= 0);
		assert_true(strlen(a.data) > 1 && strlen(a.data) < sizeof(a.data) - 1);
		strcpy(before, a.time);
	}
	free(one);
	free(two);
}

static void the_smallest_consumer_counts_models(void **state)
{
	struct fake_host *host = calloc(1, sizeof(*host));
	int count[FEED_KINDS] = {0};

	(void)state;
	assert_non_null(host);
	prepare_database(host);
	insert_messages(host, 3, 500, count);
	fake_follow(host, &catchup_consumer_rtl433_models, 0);
	assert_string_equal(
		fake_text(host,
			"SELECT count(*) FROM (SELECT model, messages, newest FROM rtl433_models"
			" EXCEPT SELECT model, count(*), max(id) FROM rtl433_raw GROUP BY 1)"),
		"0");
	assert_string_equal(fake_text(host, "SELECT sum(messages) FROM rtl433_models"), "500");
	fake_finish(host);
	free(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_plain_query_and_the_consumers_agree),
		cmocka_unit_test(the_plain_query_sees_what_is_lost_and_what_is_doubled),
		cmocka_unit_test(the_same_seed_makes_the_same_messages),
		cmocka_unit_test(the_smallest_consumer_counts_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
