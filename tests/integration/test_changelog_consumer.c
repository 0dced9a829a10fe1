/* SPDX-License-Identifier: MIT */
/*
 * Changelogs written by the consumer `changelog` and followed by `user_names`, through the real
 * program: what goes well, files that are not there, and several processes. Gaps and errors are in
 * test_changelog_gaps.c.
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

/* ---- what goes well ----------------------------------------------------------------------- */

static void a_cache_follows_in_one_process(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	for (int i = 0; i < 5; i++) {
		users_work(u, 300);
		users_catch_up(u, &p);
		users_expect_not(p.err.text, "out of sync");
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
	USERS_START(u, &cache, "user_names");
	for (int i = 0; i < 20; i++) {
		users_work(u, 50);
		users_wait(u);
	}
	program_signal(&writer, SIGTERM);
	program_signal(&cache, SIGTERM);
	assert_int_equal(program_finish(&writer), 0);
	assert_int_equal(program_finish(&cache), 0);
	users_expect_not(cache.err.text, "out of sync");
	users_go_on(u);
	program_free(&writer);
	program_free(&cache);
}

static void rows_older_than_the_changelog_are_in_the_cache(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_sql(u, "DROP TRIGGER made; INSERT INTO users(id, name) VALUES (1000, 'old')");
	test_write_file(u->log, "");
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "rebuilt");
	users_expect_not(p.err.text, "out of sync");
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
}

static void a_small_ring_loses_nothing(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 5000);
	users_write_on(u);
	users_sql(u, "UPDATE users SET name = 'late'");
	users_write_on(u);
	USERS_RUN(u, &p, "--ring-slots", "2", "--batch-rows", "50", "user_names");
	users_expect_exit(&p, 0);
	users_expect_not(p.err.text, "out of sync");
	program_free(&p);
	users_go_on(u);
}

static void lines_for_others_move_the_watermark(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_append(u, 1, 1);
	test_append_file(u->log,
		"{\"seq\":2,\"family\":\"app\",\"table\":\"orders\",\"key\":[]}\n"
		"{\"seq\":3,\"family\":\"other\",\"table\":\"users\",\"key\":[]}\n");
	USERS_RUN(u, &p, "user_names");
	users_expect_exit(&p, 0);
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
	users_write_on(u);
	USERS_RUN(u, &p, BUILD_ROOT "/consumers/user_names.so");
	users_expect_exit(&p, 0);
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
	users_work(u, 200);
	users_write_on(u);
	users_remove_line(u, 250);
	USERS_RUN(u, &p, BUILD_ROOT "/consumers/user_names.so");
	users_expect_exit(&p, 0);
	users_expect(p.err.text, "out of sync with the changelog (gap: expected 250, got 251)");
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
	users_write_on(u);
	USERS_RUN(u, &p, "user_names:into=cache.db");
	users_expect_exit(&p, 0);
	assert_int_equal(test_number(into, "SELECT count(*) FROM user_names"),
		users_number(u, "SELECT count(*) FROM users"));
	program_free(&p);
	free(into);
}

/* ---- files that are none ------------------------------------------------------------------ */

static void a_missing_changelog_is_waited_for_and_told_once(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 50);
	USERS_START(u, &p, "--until-caught-up", "user_names");
	program_expect_err(&p, "paused at watermark 0: changelog");
	users_write_on(u);
	assert_int_equal(program_finish(&p), 0);
	assert_int_equal(users_count(p.err.text, "No such file"), 1);
	assert_int_equal(users_stale(u), 0);
	program_free(&p);
	/* It may have caught up with the file when its first lines were not there yet. */
	users_go_on(u);

	/* And can be stopped meanwhile. */
	assert_int_equal(unlink(u->log), 0);
	USERS_START(u, &p, "user_names");
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
	users_expect_exit(&p, 2);
	users_expect(p.err.text, why);
	users_expect(p.err.text, "consumer 'user_names'");
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
	users_expect_exit(&p, 2);
	users_expect(p.err.text, "--changelog PATH");
	program_free(&p);

	/* The writer's file is looked at in the same way. */
	assert_true(asprintf(&p.out.text, "changelog:" USERS_WRITER_OPTIONS ",path=%s", link) > 0);
	free(u->writer);
	u->writer = p.out.text;
	p.out.text = NULL;
	program_run(&p, "run", u->database, u->writer, "--until-caught-up");
	users_expect_exit(&p, 2);
	users_expect(p.err.text, "is the database");
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
	users_expect_exit(&p, 0);
	program_free(&p);
	program_run(&p, "check", "user_names", "--database", u->database, "--changelog", u->log);
	users_expect_exit(&p, 0);
	users_expect(p.out.text, "changelog:app.users");
	program_free(&p);
	program_run(&p, "check", "user_names", "--database", u->database);
	users_expect_exit(&p, 2);
	users_expect(p.err.text, "--changelog PATH");
	program_free(&p);
	assert_int_equal(
		users_number(u, "SELECT count(*) FROM sqlite_schema WHERE name = 'user_names'"), 0);
}

static void status_shows_what_is_known(void **state)
{
	struct users *u = *state;
	struct program p = {0};

	users_work(u, 20);
	users_go_on(u);
	program_run(&p, "status", u->database, "--json");
	users_expect_exit(&p, 0);
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
	users_write_on(u);
	USERS_START(u, &first, "--lease-ms", "3600000", "user_names");
	users_wait(u);
	USERS_START(u, &second, "user_names");
	program_expect_err(&second, "waiting until it ends");
	users_work(u, 50);
	users_write_on(u);
	users_wait(u);
	program_signal(&first, SIGKILL);
	program_finish(&first);
	users_work(u, 50);
	users_write_on(u);
	users_wait(u);
	program_signal(&second, SIGTERM);
	assert_int_equal(program_finish(&second), 0);
	users_expect_not(second.err.text, "out of sync");
	program_free(&first);
	program_free(&second);
	users_go_on(u);
}

static void who_waits_is_told_when_another_process_has_caught_up(void **state)
{
	struct users *u = *state;
	struct program first = {0}, second = {0};

	users_work(u, 50);
	users_write_on(u);
	USERS_START(u, &first, "--lease-ms", "3600000", "user_names");
	users_wait(u);
	for (int i = 0; i < 3; i++) {
		char line[96];

		users_work(u, 50);
		users_write_on(u);
		/* A line that is not for it counts as well. */
		snprintf(line, sizeof(line),
			"{\"seq\":%lld,\"family\":\"app\",\"table\":\"others\",\"key\":[]}\n",
			users_newest(u->log) + 1);
		test_append_file(u->log, line);
		USERS_RUN(u, &second, "user_names");
		users_expect_exit(&second, 0);
		users_expect(second.err.text, "waiting until it ends");
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
	program_start(&first, "run", u->database, u->writer, "--progress", "never", "--lease-ms", "3600000");
	program_expect_err(&first, "follows 'user_changes'");
	program_start(&second, "run", u->database, u->writer, "--progress", "never");
	program_expect_err(&second, "waiting until it ends");
	USERS_START(u, &cache, "user_names");
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
	users_expect_not(cache.err.text, "out of sync with the changelog (gap");
	program_free(&first);
	program_free(&second);
	program_free(&cache);
	users_go_on(u);
}

/* A key that is taken from another column names another row, or none, and nobody hears of it. */
static void a_key_column_that_moves_is_found_again(void **state)
{
	struct users *u = *state;
	struct program writer = {0}, cache = {0};

	users_sql(u, "DROP TABLE user_changes; CREATE TABLE user_changes(id INTEGER PRIMARY KEY AUTOINCREMENT,"
		     " note TEXT, user INTEGER NOT NULL, more TEXT DEFAULT 'more')");
	program_start(&writer, "run", u->database, u->writer, "--progress", "never");
	program_expect_err(&writer, "started");
	USERS_START(u, &cache, "user_names");
	users_work(u, 10);
	users_wait(u);
	users_sql(u, "ALTER TABLE user_changes DROP COLUMN note");
	users_work(u, 10);
	users_wait(u);
	users_sql(u, "ALTER TABLE user_changes ADD COLUMN last TEXT");
	users_work(u, 10);
	users_wait(u);
	program_signal(&writer, SIGTERM);
	program_signal(&cache, SIGTERM);
	assert_int_equal(program_finish(&writer), 0);
	assert_int_equal(program_finish(&cache), 0);
	users_expect_not(cache.err.text, "out of sync with the changelog (gap");
	program_free(&writer);
	program_free(&cache);
	users_go_on(u);
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
		USERS_TEST(a_missing_changelog_is_waited_for_and_told_once),
		USERS_TEST(what_is_no_changelog_is_refused),
		USERS_TEST(checking_an_event_consumer_runs_nothing),
		USERS_TEST(status_shows_what_is_known),
		USERS_TEST(a_second_process_takes_over),
		USERS_TEST(a_second_process_takes_the_writing_over),
		USERS_TEST(a_key_column_that_moves_is_found_again),
		USERS_TEST(who_waits_is_told_when_another_process_has_caught_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
