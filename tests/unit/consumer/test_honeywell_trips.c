/* SPDX-License-Identifier: MIT */
/*
 * State changes of sensors through honeywell5800_trips. The trips are told as one line:
 * "sensor.loop opened-closed" for each, in the order in which they were opened.
 */
#include "fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "honeywell5800.h"

extern const struct catchup_consumer catchup_consumer_honeywell5800_receive;
extern const struct catchup_consumer catchup_consumer_honeywell5800_trips;
#define TRIPS (&catchup_consumer_honeywell5800_trips)

#define LOOP_1 0x80
#define LOOP_2 0x20
#define LOOP_3 0x10
#define LOOP_4 0x40

static int setup(void **state)
{
	struct fake_host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	fake_init(host);
	fake_setup(host, &catchup_consumer_honeywell5800_receive);
	fake_setup(host, TRIPS);
	*state = host;
	return 0;
}

static int teardown(void **state)
{
	fake_finish(*state);
	free(*state);
	return 0;
}

static void sensor(struct fake_host *host, int id, const char *model)
{
	fake_sql(host, "INSERT INTO honeywell5800_sensors(id, model) VALUES (%d, %Q)", id, model);
}

static void update(struct fake_host *host, int id, int event)
{
	fake_sql(host,
		"INSERT INTO honeywell5800_updates(time, channel, sensor, event)"
		" VALUES ('2026-03-01T12:00:00Z', 8, %d, %d)",
		id, event);
}

static const char *trips(struct fake_host *host)
{
	return fake_text(host,
		"SELECT group_concat(sensor || '.' || loop || ' ' || trippedBy || '-' ||"
		" coalesce(clearedBy, ''), ', ') FROM (SELECT * FROM honeywell5800_trips ORDER BY id)");
}

static void bits_do_not_follow_loop_numbers(void **state)
{
	(void)state;
	assert_true(honeywell5800_loop_open(LOOP_1, 1));
	assert_true(honeywell5800_loop_open(LOOP_2, 2));
	assert_true(honeywell5800_loop_open(LOOP_3, 3));
	assert_true(honeywell5800_loop_open(LOOP_4, 4));
	assert_false(honeywell5800_loop_open(0xff & ~LOOP_4, 4));
	assert_false(honeywell5800_loop_open(0xff, 0));
	assert_false(honeywell5800_loop_open(0xff, 5));
}

static void a_door_opens_and_closes(void **state)
{
	struct fake_host *host = *state;
	int64_t last;

	sensor(host, 7, "5800MINI");
	update(host, 7, LOOP_1);
	last = fake_follow(host, TRIPS, 0);
	assert_string_equal(trips(host), "7.1 1-");
	update(host, 7, 0);
	update(host, 7, LOOP_1);
	fake_follow(host, TRIPS, last);
	assert_string_equal(trips(host), "7.1 1-2, 7.1 3-");
	assert_int_equal(host->applied, 2);
}

static void a_trip_stays_one_while_other_bits_change(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 7, "5800MINI");
	update(host, 7, LOOP_1);
	update(host, 7, LOOP_1 | HONEYWELL5800_HEARTBEAT);
	update(host, 7, LOOP_1 | HONEYWELL5800_BATTERY_LOW);
	update(host, 7, LOOP_1 | LOOP_4); /* and the case is opened */
	update(host, 7, LOOP_4);
	update(host, 7, HONEYWELL5800_REGISTRATION);
	update(host, 7, HONEYWELL5800_HEARTBEAT);
	fake_follow(host, TRIPS, 0);
	assert_string_equal(trips(host), "7.1 1-5, 7.4 4-6");
	assert_int_equal(host->applied, 4);
	assert_int_equal(host->passed, 3);
}

static void only_the_loops_of_the_model_count(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 7, "5800MINI"); /* loops 1 and 4 */
	sensor(host, 8, "5808W3");   /* all four */
	sensor(host, 9, "5816");     /* 2 and 4; 1 is wired and typically unused */
	update(host, 7, 0xf0);
	update(host, 8, 0xf0);
	update(host, 9, 0xf0);
	fake_follow(host, TRIPS, 0);
	assert_string_equal(
		trips(host), "7.1 1-, 7.4 1-, 8.1 2-, 8.2 2-, 8.3 2-, 8.4 2-, 9.2 3-, 9.4 3-");
}

static void the_site_knows_better_than_the_model(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 9, "5816");
	fake_sql(host, "INSERT INTO honeywell5800_site_loops(sensor, loop, siteLabel,"
		       " siteNormallyOpen, disabled) VALUES"
		       " (9, 1, 'garden door, wired', true, NULL),"
		       " (9, 3, 'soldered on', NULL, false),"
		       " (9, 4, 'rattles', NULL, true)");
	update(host, 9, LOOP_1);          /* normal: loop 1 is open */
	update(host, 9, LOOP_3 | LOOP_4); /* loop 1 closed is a trip, 3 is known, 4 disabled */
	update(host, 9, LOOP_1);
	fake_follow(host, TRIPS, 0);
	assert_string_equal(trips(host), "9.1 2-3, 9.3 2-3");
}

static void a_normally_open_model_trips_when_closed(void **state)
{
	struct fake_host *host = *state;

	fake_sql(host, "INSERT INTO honeywell5800_models(id) VALUES ('X');"
		       "INSERT INTO honeywell5800_model_loops(model, loop, kind,"
		       " factoryNormallyOpen) VALUES ('X', 3, 'tilt switch', true)");
	sensor(host, 7, "X");
	update(host, 7, LOOP_3);
	update(host, 7, 0);
	update(host, 7, LOOP_3);
	fake_follow(host, TRIPS, 0);
	assert_string_equal(trips(host), "7.3 2-3");
}

static void a_sensor_without_a_model_has_no_trips_until_it_has_one(void **state)
{
	struct fake_host *host = *state;
	int64_t last;

	sensor(host, 7, NULL);
	update(host, 7, LOOP_1);
	last = fake_follow(host, TRIPS, 0);
	assert_int_equal(last, 1);
	assert_int_equal(host->passed, 1);
	assert_string_equal(host->log, "2 updates of sensors without a model: 1\n");
	fake_sql(host, "UPDATE honeywell5800_sensors SET model = '5853'");
	update(host, 7, LOOP_1);
	fake_follow(host, TRIPS, last);
	assert_string_equal(trips(host), "7.1 2-");
}

static void the_default_model_is_for_sensors_without_one(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 7, NULL);
	sensor(host, 8, "5802MN");
	update(host, 7, LOOP_1 | LOOP_4);
	update(host, 8, LOOP_1 | LOOP_4);
	host->options[0] = "default-model";
	host->options[1] = "5853";
	fake_follow(host, TRIPS, 0);
	assert_string_equal(trips(host), "7.1 1-, 7.4 1-, 8.1 2-");
}

/* The other program adds a trip with each message while a loop is open, and closes only the newest. */
static void a_database_with_several_open_trips_is_put_right(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 7, "5853");
	update(host, 7, LOOP_1);
	update(host, 7, LOOP_1 | HONEYWELL5800_HEARTBEAT);
	update(host, 7, 0);
	fake_sql(host, "INSERT INTO honeywell5800_trips(sensor, loop, trippedBy) VALUES"
		       " (7, 1, 1), (7, 1, 2)");
	fake_follow(host, TRIPS, 2);
	assert_string_equal(trips(host), "7.1 1-3, 7.1 2-3");
}

static void a_failing_write_is_a_failure_of_the_row(void **state)
{
	struct fake_host *host = *state;

	sensor(host, 7, "5853");
	update(host, 7, LOOP_1);
	fake_sql(host, "CREATE TRIGGER refuse BEFORE INSERT ON honeywell5800_trips"
		       " BEGIN SELECT RAISE(ABORT, 'no'); END");
	fake_follow(host, TRIPS, 0);
	assert_int_equal(host->failed, 1);
	assert_string_equal(host->fail_text, "cannot open a trip: no");
}

static void setting_up_twice_changes_nothing(void **state)
{
	struct fake_host *host = *state;
	static const char shape[] =
		"SELECT (SELECT group_concat(sql, ';') FROM sqlite_schema) || (SELECT"
		" group_concat(id || description) FROM honeywell5800_models) || (SELECT count(*)"
		" FROM honeywell5800_model_loops) || (SELECT count(*) FROM honeywell5800_sensors)";
	char before[8192];

	sensor(host, 7, "5816");
	fake_sql(host, "UPDATE honeywell5800_models SET description = 'ours' WHERE id = '5816'");
	strcpy(before, fake_text(host, shape));
	assert_true(strlen(before) > 1000);
	fake_setup(host, TRIPS);
	fake_setup(host, &catchup_consumer_honeywell5800_receive);
	assert_string_equal(fake_text(host, shape), before);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bits_do_not_follow_loop_numbers),
		T(a_door_opens_and_closes),
		T(a_trip_stays_one_while_other_bits_change),
		T(only_the_loops_of_the_model_count),
		T(the_site_knows_better_than_the_model),
		T(a_normally_open_model_trips_when_closed),
		T(a_sensor_without_a_model_has_no_trips_until_it_has_one),
		T(the_default_model_is_for_sensors_without_one),
		T(a_database_with_several_open_trips_is_put_right),
		T(a_failing_write_is_a_failure_of_the_row),
		T(setting_up_twice_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
