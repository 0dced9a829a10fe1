/* SPDX-License-Identifier: MIT */
/*
 * Gaps in a changelog, and events that fail, as a consumer meets them through the real program: each is
 * told, the cache is rebuilt, and what fails stops it, is tried again or is parked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "users.h"

static void a_file_that_no_longer_reaches_back_is_told(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_rotate(u, 0);
	users_work(u, 20);
	users_go_on(u);
	users_work(u, 2000);
	users_write_on(u);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "out of sync with the changelog (gap: expected 21, got ");
	assert_int_equal(users_count(p.err.text, "rebuilt; goes on"), 1);
	assert_int_equal(users_stale(u), 0);
	assert_int_equal(users_watermark(u, "user_names"), users_newest(u->log));
	program_free(&p);
}

static void a_line_that_is_gone_is_told(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 20);
	users_go_on(u);
	users_work(u, 20);
	users_write_on(u);
	users_remove_line(u, 25);
	users_remove_line(u, 33);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "(gap: expected 25, got 26)");
	users_expect(p.err.text, "(gap: expected 33, got 34)");
	assert_int_equal(users_count(p.err.text, "rebuilt; goes on"), 2);
	assert_int_equal(users_stale(u), 0);
	assert_int_equal(users_watermark(u, "user_names"), 40);
	program_free(&p);
}

/* The file still holds the repeated lines after the rebuilding: they must not be met again. */
static void a_sequence_that_comes_again_is_told_once(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	for (int i = 1; i <= 10; i++)
		users_append(u, i, i);
	users_append(u, 10, 10);
	users_append(u, 11, 11);
	users_append(u, 4, 4);
	users_append(u, 5, 5);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "(gap: expected 11, got 10)");
	users_expect(p.err.text, "(gap: expected 12, got 4)");
	assert_int_equal(users_count(p.err.text, "rebuilt; goes on"), 3);
	assert_int_equal(users_watermark(u, "user_names"), 5);
	program_free(&p);
}

static void a_sequence_that_begins_anew_takes_the_watermark_back(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 100);
	users_go_on(u);
	USERS_START(u, &p, "user_names");
	users_work(u, 1);
	users_write_on(u);
	users_wait(u);
	/* Another writer, which knows nothing of the old sequence. */
	assert_int_equal(unlink(u->log), 0);
	users_sql(u, "UPDATE changelog_sequence SET sequence = 0");
	users_work(u, 30);
	users_write_on(u);
	users_wait(u);
	program_expect_err(&p, "(gap: expected 102, got 1)");
	program_expect_err(&p, "rebuilt; goes on after sequence 0");
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	users_go_on(u);
	assert_int_equal(users_watermark(u, "user_names"), 30);
}

static void a_sequence_of_zero_is_no_loss(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_append(u, 7, 7);
	users_append(u, 0, 1);
	users_append(u, 1, 2);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "got 0)");
	assert_int_equal(users_watermark(u, "user_names"), 1);
	program_free(&p);
}

static void a_file_that_went_back_is_told(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 50);
	users_go_on(u);
	users_sql(u, "UPDATE users SET name = 'unseen' WHERE id = (SELECT max(id) FROM users)");
	test_write_file(u->log, "");
	for (int i = 1; i <= 5; i++)
		users_append(u, i, i);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "out of sync");
	assert_int_equal(users_stale(u), 0);
	assert_int_equal(users_watermark(u, "user_names"), 5);
	program_free(&p);
}

static void bad_lines_are_told_and_passed_over(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_append(u, 1, 1);
	test_append_file(u->log, "{\"seq\":\n[]\n");
	users_append(u, 2, 2);
	test_append_file(u->log, "{\"seq\":3,\"family\":\"app\",\"tab");
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	assert_int_equal(users_count(p.err.text, "passed over a line of the changelog"), 2);
	users_expect_not(p.err.text, "out of sync");
	assert_int_equal(users_watermark(u, "user_names"), 2);
	program_free(&p);

	/* The torn line's rest comes. */
	test_append_file(u->log, "le\":\"users\",\"key\":[]}\n");
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	assert_int_equal(users_watermark(u, "user_names"), 3);
	program_free(&p);
}

/* Lines are in the file before their transaction commits: when that fails, they come again. */
static void a_batch_that_is_rolled_back_is_written_again(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 10);
	users_go_on(u);
	users_sql(u, "CREATE TRIGGER no BEFORE UPDATE ON changelog_sequence BEGIN"
		     " SELECT RAISE(ABORT, 'not yet'); END");
	users_work(u, 10);
	program_run(&p, "run", u->database, u->writer, "--until-caught-up", "--progress", "never");
	users_expect_exit(&p, 4);
	users_expect(p.err.text, "not yet");
	assert_int_equal(users_watermark(u, "changelog"), 10);
	assert_true(users_newest(u->log) > 10);
	program_free(&p);
	users_sql(u, "DROP TRIGGER no");
	users_work(u, 10);
	users_catch_up(u, &p);
	users_expect_not(p.err.text, "out of sync");
	assert_true(users_newest(u->log) > 30);
	program_free(&p);
}

/* The cache's table takes no name 'bad'. It has begun; then ten users come, the seventh is bad: that
 * is sequence 8. */
static void make_bad_event(struct users *u)
{
	users_sql(u, "CREATE TABLE user_names(id INTEGER PRIMARY KEY, name TEXT CHECK(name <> 'bad'))");
	users_sql(u, "INSERT INTO users(id, name) VALUES (100, 'first')");
	users_go_on(u);
	for (int i = 1; i <= 10; i++)
		users_sql(u, "INSERT INTO users(id, name) VALUES (%d, '%s')", i, i == 7 ? "bad" : "good");
	users_write_on(u);
}

static void a_bad_event_stops_the_consumer_right_before(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_event(u);
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 4);
	users_expect(p.err.text, "consumer 'user_names' stopped at row 8 (watermark 7)");
	assert_int_equal(users_watermark(u, "user_names"), 7);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 7);
	program_free(&p);

	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	users_go_on(u);
}

static void a_bad_event_is_parked(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_event(u);
	USERS_RUN(u, &p, "--on-error", "user_names=retry(2,1,1),park", "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "parked in the dead letters after 3 attempts");
	assert_int_equal(users_watermark(u, "user_names"), 11);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 10);
	program_free(&p);
	program_run(&p, "dead", "list", u->database, "--json");
	users_expect_exit(&p, 0);
	test_json_is(p.out.text, "$[0].id", "8");
	program_free(&p);
	/* The event is in the letter: what the changelog was is not asked any more. */
	assert_int_equal(unlink(u->log), 0);
	program_run(&p, "dead", "show", u->database);
	users_expect_exit(&p, 0);
	users_expect(p.out.text, "event     {\"seq\":8,\"family\":");
	program_free(&p);
	program_run(&p, "dead", "retry", u->database, "--all");
	users_expect_exit(&p, 4);
	users_expect(p.out.text, "1 tried: 0 processed, 1 failed again");
	program_free(&p);
	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	program_run(&p, "dead", "retry", u->database, "--all");
	users_expect_exit(&p, 0);
	users_expect(p.out.text, "1 tried: 1 processed");
	program_free(&p);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 11);
	assert_int_equal(users_number(u, "SELECT count(*) FROM catchup_dead"), 0);
}

/* A rebuilding that meets the bad row. */
static void make_bad_gap(struct users *u)
{
	make_bad_event(u);
	for (int i = 2; i <= 8; i++)
		users_remove_line(u, i);
}

static void a_rebuilding_that_fails_stops_the_consumer(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_gap(u);
	USERS_RUN(u, &p, "--on-error", "user_names=park", "user_names");
	users_expect_exit(&p, 4);
	users_expect(p.err.text, "rebuilding: ");
	users_expect(p.err.text, "CHECK constraint failed");
	assert_int_equal(users_watermark(u, "user_names"), 1);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 1);
	program_free(&p);
	program_run(&p, "status", u->database, "--json");
	test_json_is(p.out.text, "$.consumers[1].name", "user_names");
	test_json_is(p.out.text, "$.consumers[1].state", "stopped");
	program_free(&p);

	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	users_go_on(u);
}

static void a_rebuilding_is_tried_again(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_gap(u);
	USERS_START(u, &p, "--until-caught-up", "--on-error", "user_names=retry(1000000,1,10)",
		"user_names");
	program_expect_err(&p, "CHECK constraint failed");
	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	program_expect_err(&p, "rebuilt");
	program_expect_err(&p, "goes on; watermark");
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	users_go_on(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USERS_TEST(a_file_that_no_longer_reaches_back_is_told),
		USERS_TEST(a_line_that_is_gone_is_told),
		USERS_TEST(a_sequence_that_comes_again_is_told_once),
		USERS_TEST(a_sequence_that_begins_anew_takes_the_watermark_back),
		USERS_TEST(a_sequence_of_zero_is_no_loss),
		USERS_TEST(a_file_that_went_back_is_told),
		USERS_TEST(bad_lines_are_told_and_passed_over),
		USERS_TEST(a_batch_that_is_rolled_back_is_written_again),
		USERS_TEST(a_bad_event_stops_the_consumer_right_before),
		USERS_TEST(a_bad_event_is_parked),
		USERS_TEST(a_rebuilding_that_fails_stops_the_consumer),
		USERS_TEST(a_rebuilding_is_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
