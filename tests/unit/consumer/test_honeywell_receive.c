/* SPDX-License-Identifier: MIT */
/*
 * Radio messages as rtl_433 prints them, sound and odd ones, through honeywell5800_receive. What is
 * kept is told as one line: "sensor/channel:event" for each update, in order.
 */
#include "fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

extern const struct catchup_consumer catchup_consumer_honeywell5800_receive;
#define RECEIVE (&catchup_consumer_honeywell5800_receive)

#define NOON "2026-03-01T12:00:00.000Z"

static int setup(void **state)
{
	struct fake_host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	fake_init(host);
	fake_sql(host,
		"CREATE TABLE rtl433_raw(id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,"
		" time TEXT NOT NULL, freqMHz INTEGER NOT NULL CHECK(freqMHz > 0),"
		" model TEXT NOT NULL CHECK(model <> ''), data TEXT NOT NULL CHECK(data <> ''))");
	fake_setup(host, RECEIVE);
	*state = host;
	return 0;
}

static int teardown(void **state)
{
	fake_finish(*state);
	free(*state);
	return 0;
}

/* One row of the Honeywell model. */
static void hear(struct fake_host *host, const char *time, const char *data)
{
	fake_sql(host,
		"INSERT INTO rtl433_raw(time, freqMHz, model, data)"
		" VALUES (%Q, 345, 'Honeywell-Security', %Q)",
		time, data);
}

/* A sound message, shaped like rtl_433's. */
static void hear_state(struct fake_host *host, const char *time, int sensor, int channel, int event)
{
	char *data = sqlite3_mprintf(
		"{\"time\" : \"@0.075976s\", \"model\" : \"Honeywell-Security\", \"id\" : %d, "
		"\"channel\" : %d, \"event\" : %d, \"state\" : \"open\", \"contact_open\" : 1, "
		"\"reed_open\" : 0, \"alarm\" : 0, \"tamper\" : 1, \"battery_ok\" : 1, "
		"\"heartbeat\" : 0, \"mic\" : \"CRC\"}",
		sensor, channel, event);

	hear(host, time, data);
	sqlite3_free(data);
}

static const char *updates(struct fake_host *host)
{
	return fake_text(host, "SELECT group_concat(sensor || '/' || channel || ':' || event, ' ')"
			       " FROM (SELECT * FROM honeywell5800_updates ORDER BY id)");
}

static void a_burst_of_six_is_one_update(void **state)
{
	struct fake_host *host = *state;

	hear_state(host, "2026-03-01T12:00:00.076Z", 698779, 8, 192);
	hear_state(host, "2026-03-01T12:00:00.206Z", 698779, 8, 192);
	hear_state(host, "2026-03-01T12:00:00.337Z", 698779, 8, 192);
	hear_state(host, "2026-03-01T12:00:00.467Z", 698779, 8, 192);
	hear_state(host, "2026-03-01T12:00:00.597Z", 698779, 8, 192);
	hear_state(host, "2026-03-01T12:00:00.728Z", 698779, 8, 192);
	assert_int_equal(fake_follow(host, RECEIVE, 0), 6);
	assert_string_equal(updates(host), "698779/8:192");
	assert_int_equal(host->applied, 1);
	assert_int_equal(host->passed, 5);
	assert_non_null(strstr(host->log, "2 messages repeats: 5\n"));
	assert_string_equal(fake_text(host, "SELECT time FROM honeywell5800_updates"),
		"2026-03-01T12:00:00.076Z");
	assert_string_equal(fake_text(host, "SELECT id || ' ' || created || ' ' || (model IS NULL)"
					    " FROM honeywell5800_sensors"),
		"698779 2026-03-01T12:00:00.076Z 1");
}

static void the_window_is_five_seconds_of_the_rows_time(void **state)
{
	struct fake_host *host = *state;
	int64_t last;

	hear_state(host, "2026-03-01T12:00:00.000Z", 7, 8, 128);
	hear_state(host, "2026-03-01T12:00:05.000Z", 7, 8, 128); /* still inside */
	hear_state(host, "2026-03-01T12:00:05.001Z", 7, 8, 128); /* outside: kept */
	hear_state(host, "2026-03-01T12:00:09.000Z", 7, 8, 128); /* measured from the one kept */
	last = fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "7/8:128 7/8:128");

	/* A new start knows the window from the table. */
	hear_state(host, "2026-03-01T12:00:10.000Z", 7, 8, 128);
	hear_state(host, "2026-03-01T12:00:11.000Z", 7, 8, 128);
	fake_follow(host, RECEIVE, last);
	assert_string_equal(updates(host), "7/8:128 7/8:128 7/8:128");
}

static void other_states_sensors_and_channels_are_no_repeats(void **state)
{
	struct fake_host *host = *state;

	hear_state(host, NOON, 7, 8, 128);
	hear_state(host, NOON, 7, 8, 0);
	hear_state(host, NOON, 7, 8, 128); /* open, closed, open within a second: three changes */
	hear_state(host, NOON, 9, 8, 128);
	hear_state(host, NOON, 7, 10, 128);
	hear_state(host, NOON, 7, 10, 128);
	fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "7/8:128 7/8:0 7/8:128 9/8:128 7/10:128");
	assert_string_equal(
		fake_text(host, "SELECT group_concat(id, ' ') FROM honeywell5800_sensors"), "7 9");
}

static void times_may_have_zones_and_fractions_of_any_length(void **state)
{
	struct fake_host *host = *state;
	static const char *const same_moment[] = {
		"2026-03-01T12:00:00Z",
		"2026-03-01 12:00:00",
		"2026-03-01T12:00:04.999999999Z",
		"2026-03-01T14:00:00.000000007+02:00",
		"2026-03-01T06:30:00-05:30",
		"2026-02-28T23:59:59.5-12:00",
	};

	for (size_t i = 0; i < sizeof(same_moment) / sizeof(same_moment[0]); i++)
		hear_state(host, same_moment[i], 7, 8, 128);
	fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "7/8:128");
	assert_int_equal(host->passed, 5);
}

static void the_calendar_is_right_across_months_and_leap_days(void **state)
{
	struct fake_host *host = *state;
	static const struct {
		const char *before, *after;
	} seconds[] = {
		{"2024-02-29T23:59:59Z", "2024-03-01T00:00:00Z"},
		{"2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z"},
		{"2000-02-29T23:59:59Z", "2000-03-01T00:00:00Z"},
		{"1900-02-28T23:59:59Z", "1900-03-01T00:00:00Z"},
		{"2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"},
		{"0000-02-29T23:59:59Z", "0000-03-01T00:00:00Z"},
		{"9999-04-30T23:59:59Z", "9999-05-01T00:00:00Z"},
	};

	for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
		hear_state(host, seconds[i].before, 100 + (int)i, 8, 128);
		hear_state(host, seconds[i].after, 100 + (int)i, 8, 128);
	}
	fake_follow(host, RECEIVE, 0);
	assert_int_equal(host->applied, 7);
	assert_int_equal(host->passed, 7);
}

static void a_clock_that_went_back_hides_nothing(void **state)
{
	struct fake_host *host = *state;

	hear_state(host, "2026-03-01T12:00:00Z", 7, 8, 128);
	hear_state(host, "2026-03-01T11:59:58Z", 7, 8, 128); /* within the window: a repeat */
	hear_state(host, "2026-03-01T11:00:00Z", 7, 8, 128);
	fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "7/8:128 7/8:128");
}

static void the_window_is_an_option(void **state)
{
	struct fake_host *host = *state;
	int64_t last;

	hear_state(host, "2026-03-01T12:00:00Z", 7, 8, 128);
	hear_state(host, "2026-03-01T12:00:00Z", 7, 8, 128);
	host->options[0] = "dedup-seconds";
	host->options[1] = "0";
	last = fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "7/8:128 7/8:128");

	hear_state(host, "2026-03-01T12:01:00Z", 7, 8, 128);
	host->options[1] = "60";
	fake_follow(host, RECEIVE, last);
	assert_string_equal(updates(host), "7/8:128 7/8:128");
}

static void other_models_are_counted_and_passed_over(void **state)
{
	struct fake_host *host = *state;
	static const struct {
		const char *model, *data;
	} others[] = {
		{"Citroen", "{\"model\":\"Citroen\",\"type\":\"TPMS\",\"id\":\"8add48d4\"}"},
		{"LaCrosse-TX141Bv3", "{\"id\":33,\"channel\":1,\"event\":1}"},
		{"Acurite-00275rm", "{\"id\":3253,\"mic\":\"CRC\",\"mic\":\"CRC\"}"},
		{"honeywell-security", "{\"id\":7,\"channel\":8,\"event\":128}"},
		{"?", "broken"},
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		fake_sql(host,
			"INSERT INTO rtl433_raw(time, freqMHz, model, data) VALUES (%Q, 433, %Q, %Q)",
			NOON, others[i].model, others[i].data);
	assert_int_equal(fake_follow(host, RECEIVE, 0), 5);
	assert_string_equal(updates(host), "");
	assert_int_equal(host->passed, 5);
	assert_string_equal(host->log, "2 messages of other models: 5\n");
}

static void odd_messages_are_counted_and_passed_over(void **state)
{
	struct fake_host *host = *state;
	static const struct {
		const char *data, *why;
	} odd[] = {
		{"{\"id\":7,\"channel\":8,\"event\":1", "not one JSON object"},
		{"{\"id\":7,\"channel\":8,\"event\":128} x", "not one JSON object"},
		{"{\"id\":7,\"channel\":8,\"event\":1}{\"id\":8}", "not one JSON object"},
		{"[7, 8, 128]", "not one JSON object"},
		{"7", "not one JSON object"},
		{"null", "not one JSON object"},
		{"{}", "without id, channel or event"},
		{"{\"channel\":8,\"event\":128}", "without id, channel or event"},
		{"{\"id\":7,\"event\":128}", "without id, channel or event"},
		{"{\"id\":7,\"channel\":8}", "without id, channel or event"},
		{"{\"ID\":7,\"channel\":8,\"event\":128}", "without id, channel or event"},
		{"{\"id\":\"7\",\"channel\":8,\"event\":128}", "text or the like"},
		{"{\"id\":null,\"channel\":8,\"event\":128}", "text or the like"},
		{"{\"id\":true,\"channel\":8,\"event\":128}", "text or the like"},
		{"{\"id\":[7],\"channel\":8,\"event\":128}", "text or the like"},
		{"{\"id\":7,\"channel\":\"A\",\"event\":128}", "text or the like"},
		{"{\"id\":7,\"channel\":8,\"event\":{}}", "text or the like"},
		{"{\"id\":0,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":-7,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":7.5,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":1048576,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":9007199254740993,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":1e400,\"channel\":8,\"event\":128}", "out of range"},
		{"{\"id\":7,\"channel\":16,\"event\":128}", "out of range"},
		{"{\"id\":7,\"channel\":-1,\"event\":128}", "out of range"},
		{"{\"id\":7,\"channel\":8,\"event\":256}", "out of range"},
		{"{\"id\":7,\"channel\":8,\"event\":128,\"event\":0}", "a key twice"},
		{"{\"id\":7,\"channel\":8,\"\\u0069d\":7,\"event\":128}", "a key twice"},
		{"{\"id\":7,\"channel\":8,\"event\":128,\"mic\":1,\"mic\":1}", "a key twice"},
	};
	size_t n = sizeof(odd) / sizeof(odd[0]);
	int64_t last = 0;

	for (size_t i = 0; i < n; i++) {
		hear(host, NOON, odd[i].data);
		last = fake_follow(host, RECEIVE, last);
		if (host->passed != 1 || !strstr(host->log, odd[i].why))
			fail_msg("%s: passed %d, log: %s", odd[i].data, host->passed, host->log);
		assert_non_null(strstr(host->log, "passed over"));
	}
	assert_int_equal(last, n);
	assert_string_equal(updates(host), "");
	assert_string_equal(fake_text(host, "SELECT count(*) FROM honeywell5800_sensors"), "0");
}

static void odd_bytes_and_sizes_are_passed_over(void **state)
{
	struct fake_host *host = *state;

	/* bytes after a NUL, an object as a blob, a nesting of 100,000, a thousand keys, 1 MiB */
	fake_sql(host,
		"INSERT INTO rtl433_raw(time, freqMHz, model, data) VALUES"
		"('" NOON "', 345, 'Honeywell-Security',"
		" '{\"id\":7,\"channel\":8,\"event\":128}' || char(0) || 'x'),"
		"('" NOON "', 345, 'Honeywell-Security', replace(hex(zeroblob(50000)), '0', '[')),"
		"('" NOON "', 345, 'Honeywell-Security', (WITH RECURSIVE k(n) AS"
		" (VALUES (1) UNION ALL SELECT n + 1 FROM k WHERE n < 1000)"
		" SELECT '{' || group_concat('\"k' || n || '\":1') || '}' FROM k)),"
		"('" NOON "', 345, 'Honeywell-Security', hex(zeroblob(524288)))");
	fake_follow(host, RECEIVE, 0);
	assert_int_equal(host->passed, 4);
	assert_non_null(strstr(host->log, "2 messages not one JSON object: 3\n"));
	assert_non_null(strstr(host->log, "2 messages with too many keys: 1\n"));

	/* A blob with a sound message is what the securityblanket program stores. */
	fake_sql(host, "INSERT INTO rtl433_raw(time, freqMHz, model, data) VALUES ('" NOON "', 345,"
		       " 'Honeywell-Security',"
		       " CAST('{\"id\":7,\"channel\":8,\"event\":128}' AS BLOB))");
	fake_follow(host, RECEIVE, 4);
	assert_string_equal(updates(host), "7/8:128");
}

static void rows_without_a_time_are_passed_over(void **state)
{
	struct fake_host *host = *state;
	static const char *const times[] = {"", "@0.075976s", "12:00:00", "2026-03-01",
		"2026-02-29T12:00:00Z", "2026-13-01T12:00:00Z", "2026-03-01T24:00:00Z",
		"2026-03-01T12:00:60Z", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00+2",
		"2026-03-01T12:00:00Zjunk", "2026-03-01T12:00:00+15:00", "1772366400"};
	size_t n = sizeof(times) / sizeof(times[0]);

	for (size_t i = 0; i < n; i++)
		hear_state(host, times[i], 7, 8, 128);
	fake_follow(host, RECEIVE, 0);
	assert_int_equal(host->passed, n);
	assert_non_null(strstr(host->log, "2 messages without a time: 13\n"));
}

static void numbers_may_be_written_in_any_way_json_allows(void **state)
{
	struct fake_host *host = *state;

	hear(host, NOON, " {\"event\" : 1.28e2, \"channel\":-0, \"id\":\t1048575.0}\r\n");
	fake_follow(host, RECEIVE, 0);
	assert_string_equal(updates(host), "1048575/0:128");
}

static void a_failing_write_is_a_failure_of_the_row(void **state)
{
	struct fake_host *host = *state;

	fake_sql(host, "CREATE TRIGGER refuse BEFORE INSERT ON honeywell5800_updates"
		       " WHEN new.event = 1 BEGIN SELECT RAISE(ABORT, 'no'); END");
	hear_state(host, NOON, 7, 8, 128);
	hear_state(host, NOON, 7, 8, 1);
	assert_int_equal(fake_follow(host, RECEIVE, 0), 0);
	assert_int_equal(host->failed, 1);
	assert_int_equal(host->fail_code, SQLITE_CONSTRAINT_TRIGGER);
	assert_string_equal(host->fail_text, "cannot add the update: no");
	assert_string_equal(updates(host), "");
}

static void a_missing_table_is_told_at_open(void **state)
{
	struct fake_host *host = *state;

	fake_sql(host, "DROP TABLE honeywell5800_updates");
	fake_follow(host, RECEIVE, 0);
	assert_int_equal(host->failed, 1);
	assert_string_equal(
		host->fail_text, "cannot prepare: no such table: honeywell5800_updates");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_burst_of_six_is_one_update),
		T(the_window_is_five_seconds_of_the_rows_time),
		T(other_states_sensors_and_channels_are_no_repeats),
		T(times_may_have_zones_and_fractions_of_any_length),
		T(the_calendar_is_right_across_months_and_leap_days),
		T(a_clock_that_went_back_hides_nothing),
		T(the_window_is_an_option),
		T(other_models_are_counted_and_passed_over),
		T(odd_messages_are_counted_and_passed_over),
		T(odd_bytes_and_sizes_are_passed_over),
		T(rows_without_a_time_are_passed_over),
		T(numbers_may_be_written_in_any_way_json_allows),
		T(a_failing_write_is_a_failure_of_the_row),
		T(a_missing_table_is_told_at_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
