/* SPDX-License-Identifier: MIT */
/*
 * Changelogs written by the consumer `changelog` and followed by `user_names`, through the real
 * program: what becomes of gaps, errors, and files that are not there.
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

/* ---- helpers ------------------------------------------------------------------------------ */

#define RUN_CACHE(u, p, ...)                                                                       \
	program_run((p), "run", (u)->database, "--changelog", (u)->log, "--progress", "never",     \
		"--until-caught-up", __VA_ARGS__)
#define START_CACHE(u, p, ...)                                                                     \
	program_start((p), "run", (u)->database, "--changelog", (u)->log, "--progress", "never",   \
		__VA_ARGS__)

static void expect_exit(struct program *p, int code)
{
	if (p->exit_code != code)
		fail_msg("exit code %d instead of %d: %s", p->exit_code, code, p->err.text);
}

static void expect_text(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in: %s", part, text);
}

static void expect_no_text(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in: %s", part, text);
}

/* Brings the changelog and the cache to the end, and forgets what was said. */
static void catch_up(struct users *u)
{
	struct program p = {0};

	users_catch_up(u, &p);
	program_free(&p);
}

/* Only the writer works. */
static void write_on(struct users *u)
{
	struct program p = {0};

	program_run(&p, "run", u->database, u->writer, "--until-caught-up", "--progress", "never");
	expect_exit(&p, 0);
	program_free(&p);
}

/* One line of the application's format. */
static void append(struct users *u, long long sequence, int user)
{
	char line[128];

	snprintf(line, sizeof(line),
		"{\"seq\":%lld,\"family\":\"app\",\"table\":\"users\",\"key\":[{\"name\":\"user\","
		"\"type\":\"int\",\"value\":%d}]}\n", sequence, user);
	test_append_file(u->log, line);
}

/* Takes the line of a sequence out of the file, in place. */
static void remove_line(struct users *u, int sequence)
{
	char *text = users_read(u->log);
	char mark[32];
	char *from, *to;

	snprintf(mark, sizeof(mark), "{\"seq\":%d,", sequence);
	from = strstr(text, mark);
	assert_non_null(from);
	to = strchr(from, '\n') + 1;
	memmove(from, to, strlen(to) + 1);
	test_write_file(u->log, text);
	free(text);
}

/* ---- what goes well ----------------------------------------------------------------------- */

static void a_cache_follows_in_one_process(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	for (int i = 0; i < 5; i++) {
		users_work(u, 300);
		users_catch_up(u, &p);
		expect_no_text(p.err.text, "out of sync");
		assert_int_equal(users_watermark(u, "user_names"), 300 * (i + 1));
		program_free(&p);
	}
	assert_int_equal(users_number(u, "SELECT applied FROM catchup_state WHERE name = 'user_names'"),
		1500);
}

static void a_cache_follows_in_another_process(void **state)
{
	struct users *u = *state;
	struct program writer = {0}, cache = {0};

	program_start(&writer, "run", u->database, u->writer, "--progress", "never");
	program_expect_err(&writer, "started");
	START_CACHE(u, &cache, "user_names");
	for (int i = 0; i < 20; i++) {
		users_work(u, 50);
		users_wait(u);
	}
	program_signal(&writer, SIGTERM);
	program_signal(&cache, SIGTERM);
	assert_int_equal(program_finish(&writer), 0);
	assert_int_equal(program_finish(&cache), 0);
	expect_no_text(cache.err.text, "out of sync");
	catch_up(u);
	program_free(&writer);
	program_free(&cache);
}

static void rows_older_than_the_changelog_are_in_the_cache(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_sql(u, "DROP TRIGGER made; INSERT INTO users(id, name) VALUES (1000, 'old')");
	test_write_file(u->log, "");
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "rebuilt");
	expect_no_text(p.err.text, "out of sync");
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
}

static void a_small_ring_loses_nothing(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 5000);
	write_on(u);
	users_sql(u, "UPDATE users SET name = 'late'");
	write_on(u);
	RUN_CACHE(u, &p, "--ring-slots", "2", "--batch-rows", "50", "user_names");
	expect_exit(&p, 0);
	expect_no_text(p.err.text, "out of sync");
	program_free(&p);
	catch_up(u);
}

static void lines_for_others_move_the_watermark(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	append(u, 1, 1);
	test_append_file(u->log,
		"{\"seq\":2,\"family\":\"app\",\"table\":\"orders\",\"key\":[]}\n"
		"{\"seq\":3,\"family\":\"other\",\"table\":\"users\",\"key\":[]}\n");
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	assert_int_equal(users_watermark(u, "user_names"), 3);
	assert_int_equal(users_number(u, "SELECT offered FROM catchup_state WHERE name = 'user_names'"),
		1);
	program_free(&p);
}

static void a_cache_works_as_a_module(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 200);
	write_on(u);
	RUN_CACHE(u, &p, BUILD_ROOT "/consumers/user_names.so");
	expect_exit(&p, 0);
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
	users_work(u, 200);
	write_on(u);
	remove_line(u, 250);
	RUN_CACHE(u, &p, BUILD_ROOT "/consumers/user_names.so");
	expect_exit(&p, 0);
	expect_text(p.err.text, "out of sync with the changelog (gap: expected 250, got 251)");
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
}

static void a_cache_in_a_file_of_its_own_reads_the_source(void **state)
{
	struct users *u = *state;
	struct program p = {0};
	char *into = test_path(u->folder, "cache.db");

	/* Its statements name `users`, which SQLite finds in the attached source. */
	users_work(u, 200);
	write_on(u);
	RUN_CACHE(u, &p, "user_names:into=cache.db");
	expect_exit(&p, 0);
	assert_int_equal(test_number(into, "SELECT count(*) FROM user_names"),
		users_number(u, "SELECT count(*) FROM users"));
	program_free(&p);
	free(into);
}

/* ---- gaps --------------------------------------------------------------------------------- */

static void a_file_that_no_longer_reaches_back_is_told(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_rotate(u, 0);
	users_work(u, 20);
	catch_up(u);
	users_work(u, 2000);
	write_on(u);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "out of sync with the changelog (gap: expected 21, got ");
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
	catch_up(u);
	users_work(u, 20);
	write_on(u);
	remove_line(u, 25);
	remove_line(u, 33);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "(gap: expected 25, got 26)");
	expect_text(p.err.text, "(gap: expected 33, got 34)");
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
		append(u, i, i);
	append(u, 10, 10);
	append(u, 11, 11);
	append(u, 4, 4);
	append(u, 5, 5);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "(gap: expected 11, got 10)");
	expect_text(p.err.text, "(gap: expected 12, got 4)");
	assert_int_equal(users_count(p.err.text, "rebuilt; goes on"), 3);
	assert_int_equal(users_watermark(u, "user_names"), 5);
	program_free(&p);
}

static void a_sequence_that_begins_anew_takes_the_watermark_back(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 100);
	catch_up(u);
	START_CACHE(u, &p, "user_names");
	users_work(u, 1);
	write_on(u);
	users_wait(u);
	/* Another writer, which knows nothing of the old sequence. */
	assert_int_equal(unlink(u->log), 0);
	users_sql(u, "UPDATE changelog_sequence SET sequence = 0");
	users_work(u, 30);
	write_on(u);
	users_wait(u);
	program_expect_err(&p, "(gap: expected 102, got 1)");
	program_expect_err(&p, "rebuilt; goes on after sequence 0");
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	catch_up(u);
	assert_int_equal(users_watermark(u, "user_names"), 30);
}

static void a_sequence_of_zero_is_no_loss(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	append(u, 7, 7);
	append(u, 0, 1);
	append(u, 1, 2);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "got 0)");
	assert_int_equal(users_watermark(u, "user_names"), 1);
	program_free(&p);
}

static void a_file_that_went_back_is_told(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 50);
	catch_up(u);
	users_sql(u, "UPDATE users SET name = 'unseen' WHERE id = (SELECT max(id) FROM users)");
	test_write_file(u->log, "");
	for (int i = 1; i <= 5; i++)
		append(u, i, i);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "out of sync");
	assert_int_equal(users_stale(u), 0);
	assert_int_equal(users_watermark(u, "user_names"), 5);
	program_free(&p);
}

static void bad_lines_are_told_and_passed_over(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	append(u, 1, 1);
	test_append_file(u->log, "{\"seq\":\n[]\n");
	append(u, 2, 2);
	test_append_file(u->log, "{\"seq\":3,\"family\":\"app\",\"tab");
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	assert_int_equal(users_count(p.err.text, "passed over a line of the changelog"), 2);
	expect_no_text(p.err.text, "out of sync");
	assert_int_equal(users_watermark(u, "user_names"), 2);
	program_free(&p);

	/* The torn line's rest comes. */
	test_append_file(u->log, "le\":\"users\",\"key\":[]}\n");
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 0);
	assert_int_equal(users_watermark(u, "user_names"), 3);
	program_free(&p);
}

/* Lines are in the file before their transaction commits: when that fails, they come again. */
static void a_batch_that_is_rolled_back_is_written_again(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 10);
	catch_up(u);
	users_sql(u, "CREATE TRIGGER no BEFORE UPDATE ON changelog_sequence BEGIN"
		     " SELECT RAISE(ABORT, 'not yet'); END");
	users_work(u, 10);
	program_run(&p, "run", u->database, u->writer, "--until-caught-up", "--progress", "never");
	expect_exit(&p, 4);
	expect_text(p.err.text, "not yet");
	assert_int_equal(users_watermark(u, "changelog"), 10);
	assert_true(users_newest(u->log) > 10);
	program_free(&p);
	users_sql(u, "DROP TRIGGER no");
	users_work(u, 10);
	users_catch_up(u, &p);
	expect_no_text(p.err.text, "out of sync");
	assert_true(users_newest(u->log) > 30);
	program_free(&p);
}

/* ---- errors ------------------------------------------------------------------------------- */

/* The cache's table takes no name 'bad'. It has begun; then ten users come, the seventh is bad: that
 * is sequence 8. */
static void make_bad_event(struct users *u)
{
	users_sql(u, "CREATE TABLE user_names(id INTEGER PRIMARY KEY, name TEXT CHECK(name <> 'bad'))");
	users_sql(u, "INSERT INTO users(id, name) VALUES (100, 'first')");
	catch_up(u);
	for (int i = 1; i <= 10; i++)
		users_sql(u, "INSERT INTO users(id, name) VALUES (%d, '%s')", i, i == 7 ? "bad" : "good");
	write_on(u);
}

static void a_bad_event_stops_the_consumer_right_before(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_event(u);
	RUN_CACHE(u, &p, "user_names");
	expect_exit(&p, 4);
	expect_text(p.err.text, "consumer 'user_names' stopped at row 8 (watermark 7)");
	assert_int_equal(users_watermark(u, "user_names"), 7);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 7);
	program_free(&p);

	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	catch_up(u);
}

static void a_bad_event_is_parked(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_event(u);
	RUN_CACHE(u, &p, "--on-error", "user_names=retry(2,1,1),park", "user_names");
	expect_exit(&p, 0);
	expect_text(p.err.text, "parked in the dead letters after 3 attempts");
	assert_int_equal(users_watermark(u, "user_names"), 11);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 10);
	program_free(&p);
	program_run(&p, "dead", "list", u->database, "--json");
	expect_exit(&p, 0);
	test_json_is(p.out.text, "$[0].id", "8");
	program_free(&p);
	program_run(&p, "dead", "retry", u->database, "--all");
	assert_int_not_equal(p.exit_code, 0);
	expect_text(p.err.text, "changelog events, which are not kept");
	program_free(&p);
}

/* A rebuilding that meets the bad row. */
static void make_bad_gap(struct users *u)
{
	make_bad_event(u);
	for (int i = 2; i <= 8; i++)
		remove_line(u, i);
}

static void a_rebuilding_that_fails_stops_the_consumer(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_gap(u);
	RUN_CACHE(u, &p, "--on-error", "user_names=park", "user_names");
	expect_exit(&p, 4);
	expect_text(p.err.text, "rebuilding: ");
	expect_text(p.err.text, "CHECK constraint failed");
	assert_int_equal(users_watermark(u, "user_names"), 1);
	assert_int_equal(users_number(u, "SELECT count(*) FROM user_names"), 1);
	program_free(&p);
	program_run(&p, "status", u->database, "--json");
	test_json_is(p.out.text, "$.consumers[1].name", "user_names");
	test_json_is(p.out.text, "$.consumers[1].state", "stopped");
	program_free(&p);

	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	catch_up(u);
}

static void a_rebuilding_is_tried_again(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	make_bad_gap(u);
	START_CACHE(u, &p, "--until-caught-up", "--on-error", "user_names=retry(1000000,1,10)",
		"user_names");
	program_expect_err(&p, "CHECK constraint failed");
	users_sql(u, "UPDATE users SET name = 'better' WHERE id = 7");
	program_expect_err(&p, "rebuilt");
	program_expect_err(&p, "goes on; watermark");
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	catch_up(u);
}

/* ---- files that are none ------------------------------------------------------------------ */

static void a_missing_changelog_is_waited_for_and_told_once(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 50);
	START_CACHE(u, &p, "--until-caught-up", "user_names");
	program_expect_err(&p, "paused at watermark 0: changelog");
	write_on(u);
	assert_int_equal(program_finish(&p), 0);
	assert_int_equal(users_count(p.err.text, "No such file"), 1);
	assert_int_equal(users_stale(u), 0);
	program_free(&p);

	/* And can be stopped meanwhile. */
	assert_int_equal(unlink(u->log), 0);
	START_CACHE(u, &p, "user_names");
	program_expect_err(&p, "paused at watermark 50: changelog");
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
}

static void expect_refused(struct users *u, const char *changelog, const char *why)
{
	struct program p = {0};

	program_run(&p, "run", u->database, "--changelog", changelog, "user_names:into=other.db",
		"--until-caught-up");
	expect_exit(&p, 2);
	expect_text(p.err.text, why);
	expect_text(p.err.text, "consumer 'user_names'");
	program_free(&p);
}

static void what_is_no_changelog_is_refused(void **state)
{
	struct users *u = *state;
	char *wal = test_path(u->folder, "app.db-wal");
	char *other = test_path(u->folder, "other.db");
	char *link = test_path(u->folder, "link");
	char *foreign = test_path(u->folder, "foreign.db");
	struct program p = {0};

	assert_int_equal(symlink(u->database, link), 0);
	test_sql(foreign, "CREATE TABLE t(x)");
	expect_refused(u, u->database, "is the database");
	expect_refused(u, wal, "is the database");
	expect_refused(u, link, "is the database");
	expect_refused(u, other, "is the database");
	expect_refused(u, foreign, "is a SQLite database");
	expect_refused(u, u->folder, "is a folder");
	program_run(&p, "run", u->database, "user_names", "--until-caught-up");
	expect_exit(&p, 2);
	expect_text(p.err.text, "--changelog PATH");
	program_free(&p);

	/* The writer's file is looked at in the same way. */
	assert_true(asprintf(&p.out.text, "changelog:" USERS_WRITER_OPTIONS ",path=%s", link) > 0);
	free(u->writer);
	u->writer = p.out.text;
	p.out.text = NULL;
	program_run(&p, "run", u->database, u->writer, "--until-caught-up");
	expect_exit(&p, 2);
	expect_text(p.err.text, "is the database");
	program_free(&p);
	free(wal);
	free(other);
	free(link);
	free(foreign);
}

static void checking_an_event_consumer_runs_nothing(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	program_run(&p, "check", "user_names");
	expect_exit(&p, 0);
	program_free(&p);
	program_run(&p, "check", "user_names", "--database", u->database, "--changelog", u->log);
	expect_exit(&p, 0);
	expect_text(p.out.text, "changelog:app.users");
	program_free(&p);
	program_run(&p, "check", "user_names", "--database", u->database);
	expect_exit(&p, 2);
	expect_text(p.err.text, "--changelog PATH");
	program_free(&p);
	assert_int_equal(
		users_number(u, "SELECT count(*) FROM sqlite_schema WHERE name = 'user_names'"), 0);
}

static void status_shows_what_is_known(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 20);
	catch_up(u);
	program_run(&p, "status", u->database, "--json");
	expect_exit(&p, 0);
	test_json_is(p.out.text, "$.consumers[1].source", "changelog:app.users");
	test_json_is(p.out.text, "$.consumers[1].watermark", "20");
	test_json_is(p.out.text, "$.consumers[1].newest", NULL);
	test_json_is(p.out.text, "$.consumers[1].state", "idle");
	program_free(&p);
}

static void a_second_process_takes_over(void **state)
{
	struct users *u = *state;
	struct program first = {0}, second = {0};

	users_work(u, 50);
	write_on(u);
	START_CACHE(u, &first, "user_names");
	users_wait(u);
	START_CACHE(u, &second, "user_names");
	program_expect_err(&second, "waiting until it ends");
	users_work(u, 50);
	write_on(u);
	users_wait(u);
	program_signal(&first, SIGKILL);
	program_finish(&first);
	users_work(u, 50);
	write_on(u);
	users_wait(u);
	program_signal(&second, SIGTERM);
	assert_int_equal(program_finish(&second), 0);
	expect_no_text(second.err.text, "out of sync");
	program_free(&first);
	program_free(&second);
	catch_up(u);
}

static void who_waits_is_told_when_another_process_has_caught_up(void **state)
{
	struct users *u = *state;
	struct program first = {0}, second = {0};

	users_work(u, 50);
	write_on(u);
	START_CACHE(u, &first, "user_names");
	users_wait(u);
	for (int i = 0; i < 3; i++) {
		char line[96];

		users_work(u, 50);
		write_on(u);
		/* A line that is not for it counts as well. */
		snprintf(line, sizeof(line),
			"{\"seq\":%lld,\"family\":\"app\",\"table\":\"others\",\"key\":[]}\n",
			users_newest(u->log) + 1);
		test_append_file(u->log, line);
		RUN_CACHE(u, &second, "user_names");
		expect_exit(&second, 0);
		expect_text(second.err.text, "waiting until it ends");
		assert_int_equal(users_stale(u), 0);
		assert_int_equal(users_watermark(u, "user_names"), users_newest(u->log));
		program_free(&second);
	}
	program_signal(&first, SIGTERM);
	assert_int_equal(program_finish(&first), 0);
	program_free(&first);
}

/* The one that waits neither holds the file nor goes on with a sequence of long ago. */
static void a_second_process_takes_the_writing_over(void **state)
{
	struct users *u = *state;
	struct program first = {0}, second = {0}, cache = {0};

	users_work(u, 10);
	program_start(&first, "run", u->database, u->writer, "--progress", "never");
	program_expect_err(&first, "follows 'user_changes'");
	program_start(&second, "run", u->database, u->writer, "--progress", "never");
	program_expect_err(&second, "waiting until it ends");
	START_CACHE(u, &cache, "user_names");
	users_work(u, 50);
	users_wait(u);
	program_signal(&first, SIGKILL);
	program_finish(&first);
	users_work(u, 50);
	users_wait(u);
	program_signal(&second, SIGTERM);
	assert_int_equal(program_finish(&second), 0);
	program_signal(&cache, SIGTERM);
	assert_int_equal(program_finish(&cache), 0);
	assert_int_equal(users_newest(u->log), users_number(u, "SELECT count(*) FROM user_changes"));
	expect_no_text(cache.err.text, "out of sync with the changelog (gap");
	program_free(&first);
	program_free(&second);
	program_free(&cache);
	catch_up(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USERS_TEST(a_cache_follows_in_one_process),
		USERS_TEST(a_cache_follows_in_another_process),
		USERS_TEST(rows_older_than_the_changelog_are_in_the_cache),
		USERS_TEST(a_small_ring_loses_nothing),
		USERS_TEST(lines_for_others_move_the_watermark),
		USERS_TEST(a_cache_works_as_a_module),
		USERS_TEST(a_cache_in_a_file_of_its_own_reads_the_source),
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
		USERS_TEST(a_missing_changelog_is_waited_for_and_told_once),
		USERS_TEST(what_is_no_changelog_is_refused),
		USERS_TEST(checking_an_event_consumer_runs_nothing),
		USERS_TEST(status_shows_what_is_known),
		USERS_TEST(a_second_process_takes_over),
		USERS_TEST(a_second_process_takes_the_writing_over),
		USERS_TEST(who_waits_is_told_when_another_process_has_caught_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
