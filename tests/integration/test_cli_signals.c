/* SPDX-License-Identifier: MIT */
/*
 * The program is asked to end: by each signal, once and twice, at once and during its start.
 */
#include "help.h"

#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* A source, and a consumer of it by its file. */
static char *make(struct scene *s, const char *text)
{
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	return scene_file(s, "consumer.sql", text);
}

static void a_signal_drains_and_ends_with_0(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct scene *s = *state;
	char *copies = make(s, COPIES);

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct program p = {0};
		struct program w = {0};
		char until[16];

		scene_insert(s, 100);
		snprintf(until, sizeof(until), "%zu", 100 * (i + 1));
		program_start(&p, "run", s->database, copies);
		/* A consumer that has never run is not known to `wait`: ask again until it is. */
		program_expect_err(&p, "started 1 consumer");
		do {
			program_free(&w);
			program_run(&w, "wait", s->database, "--consumer", "copies", "--until", until);
		} while (w.exit_code == 2);
		assert_int_equal(w.exit_code, 0);
		program_free(&w);
		program_signal(&p, signals[i]);
		assert_int_equal(program_finish(&p), 0);
		assert_non_null(strstr(p.err.text, "finishing the batch in hand"));
		program_free(&p);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 100 * (i + 1));
	}
}

/* Waits until somebody has the write lock. */
static void await_lock(const char *database)
{
	sqlite3 *db = help_connect(database);

	sqlite3_busy_timeout(db, 0);
	for (int i = 0; sqlite3_exec(db, "BEGIN IMMEDIATE; ROLLBACK", NULL, NULL, NULL) != SQLITE_BUSY; i++) {
		assert_true(i < PATIENCE_MS);
		help_pause();
	}
	sqlite3_close(db);
}

/* A set that would take minutes; it is interrupted after --stop-ms only. */
static const char endless[] = "-- name: endless\n-- source: numbers\n-- setup\n"
			      "CREATE TABLE IF NOT EXISTS slowly(id INTEGER PRIMARY KEY, n);\n"
			      "-- apply\nINSERT INTO slowly SELECT @max, count(*) + @last FROM (WITH RECURSIVE"
			      " c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 100000000000)"
			      " SELECT i FROM c);\n";

static void the_second_signal_ends_at_once(void **state)
{
	struct scene *s = *state;
	char *file = make(s, endless);
	struct program p = {0};
	int tries = 0;

	scene_insert(s, 10);
	/* It has the lock for its lease, too: who is asked then has nothing in hand, and ends with 0. */
	do {
		program_free(&p);
		program_start(&p, "run", s->database, file, "--stop-ms", "3600000");
		program_expect_err(&p, "started 1 consumer");
		await_lock(s->database);
		program_signal(&p, SIGTERM);
		program_expect_err(&p, "a second signal ends at once");
		program_signal(&p, SIGINT);
	} while (program_finish(&p) == 0 && ++tries < 100);
	assert_int_equal(p.exit_code, 128 + SIGINT);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT coalesce(max(last), 0) FROM catchup"), 0);
}

/* Wherever it meets the start: it drains, or it comes before there is anything to drain. */
static void a_signal_during_start_is_not_lost(void **state)
{
	struct scene *s = *state;
	char *copies = make(s, COPIES);

	scene_insert(s, 1000);
	for (int i = 0; i < 20; i++) {
		struct program p = {0};
		struct timespec pause = {.tv_nsec = i * 500000L};

		program_start(&p, "run", s->database, copies);
		nanosleep(&pause, NULL);
		program_signal(&p, SIGTERM);
		program_finish(&p);
		assert_true(p.exit_code == 0 || p.exit_code == 128 + SIGTERM);
		program_free(&p);
	}
}

/* timeout(1) sends the signal to the process and then to its group. What comes later is a second request,
 * also where it was this test that was slow: then it tries again. */
static void the_same_signal_twice_at_once_is_one_request(void **state)
{
	struct scene *s = *state;
	char *file = make(s, SLOW);
	struct program p = {0};
	int in_time = 0;

	scene_insert(s, 1000);
	for (int i = 0; i < 100 && in_time < 5; i++) {
		program_start(&p, "run", s->database, file);
		program_expect_err(&p, "started 1 consumer");
		program_signal(&p, SIGTERM);
		program_expect_err(&p, "finishing the batch in hand");
		kill(p.pid, SIGTERM);
		program_finish(&p);
		assert_true(p.exit_code == 0 || p.exit_code == 128 + SIGTERM);
		in_time += p.exit_code == 0;
		program_free(&p);
	}
	assert_int_equal(in_time, 5);
}

#define NOT_GIVEN_BACK "its lease could not be given back"

/* Asks it to end while somebody has the write lock: for a moment, or for as long as it lives. Returns
 * whether its lease is free afterwards. */
static bool ends_beside_a_lock(struct scene *s, const char *file, bool moment, bool *said)
{
	struct program p = {0};
	sqlite3 *db = help_connect(s->database);
	int64_t until_ms;

	program_start(&p, "run", s->database, file, "--progress", "never");
	program_expect_err(&p, "follows 'numbers'");
	scene_until(s, s->database, "SELECT count(*) = 1 FROM catchup_lease WHERE expires_ns > 0");
	help_exec(db, "BEGIN IMMEDIATE");
	program_signal(&p, SIGTERM);
	program_expect_err(&p, "finishing the batch in hand");
	/* It is to meet the lock. */
	for (until_ms = help_now_ms() + 50; moment && help_now_ms() < until_ms;)
		help_pause();
	if (moment)
		help_exec(db, "ROLLBACK");
	assert_int_equal(program_finish(&p), 0);
	*said = strstr(p.err.text, NOT_GIVEN_BACK) != NULL;
	program_free(&p);
	sqlite3_close(db);
	return scene_number(s, "SELECT expires_ns = 0 FROM catchup_lease") != 0;
}

/* Else the next process would look for the row that it died of. */
static void a_stop_beside_a_lock_is_no_crash(void **state)
{
	struct scene *s = *state;
	char *copies = make(s, COPIES);
	struct program p = {0};
	bool given = false, said;

	/* It waits no longer than a moment, and this test may be slower. */
	for (int i = 0; i < 20 && !given; i++) {
		given = ends_beside_a_lock(s, copies, true, &said);
		assert_true(given != said);
	}
	assert_true(given);
	assert_int_equal(program_run(&p, "run", s->database, copies, "--until-caught-up"), 0);
	assert_null(strstr(p.err.text, "gone without a word"));
	program_free(&p);
}

static void who_cannot_give_its_lease_back_says_so_and_ends(void **state)
{
	struct scene *s = *state;
	char *copies = make(s, COPIES);
	bool said;

	assert_false(ends_beside_a_lock(s, copies, false, &said));
	assert_true(said);
}

static void an_ignored_hangup_stays_ignored(void **state)
{
	struct scene *s = *state;
	char *copies = make(s, COPIES);
	struct program p = {.ignore_hangup = true};

	scene_insert(s, 10);
	program_start(&p, "run", s->database, copies);
	program_expect_err(&p, "started 1 consumer");
	program_signal(&p, SIGHUP);
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	assert_null(strstr(p.err.text, "SIGHUP"));
	assert_non_null(strstr(p.err.text, "SIGTERM"));
	program_free(&p);
}

/* In a folder of the program's: what runs it may have files of its own beside, for a moment. */
static int is_copy(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
	(void)path;
	(void)stat;
	return kind == FTW_F && at->level > 1;
}

/* A command that copies databases is ended while it works on the copies. */
static void leaves_nothing(struct scene *s, int number, const char *const *arguments)
{
	char *folder = scene_path(s, "tmp");
	char variable[4200];
	struct program p = {.set = (const char *const[]){variable, NULL}};
	int64_t deadline_ms = help_now_ms() + PATIENCE_MS;

	snprintf(variable, sizeof(variable), "TMPDIR=%s", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	program_start_with(&p, arguments);
	while (nftw(folder, is_copy, 8, FTW_PHYS) != 1) {
		if (program_has_said(&p, "catchup: ") || help_now_ms() > deadline_ms)
			fail_msg("nothing was copied: %s", p.err.text);
		help_pause();
	}
	program_signal(&p, number);
	assert_int_equal(program_finish(&p), 128 + number);
	assert_string_equal(p.out.text, "");
	assert_null(strstr(p.err.text, "catchup: "));
	program_free(&p);
	assert_int_equal(rmdir(folder), 0);
}

static void copies_go_with_the_process_that_made_them(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct scene *s = *state;
	char *copies = make(s, COPIES);
	struct program p = {0};

	scene_insert(s, 10);
	assert_int_equal(program_run(&p, "run", s->database, copies, "--until-caught-up"), 0);
	program_free(&p);
	/* The same consumer, but its set-up does not come to an end. */
	test_write_file(copies, "-- name: copies\n-- source: numbers\n-- setup\n"
				"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
				"INSERT INTO copy WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT 1 FROM c)"
				" SELECT count(*), 0 FROM c;\n-- row\nINSERT INTO copy VALUES(@id, @n);\n");
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		leaves_nothing(s, signals[i],
			(const char *const[]){"verify", s->database, "--recompute", NULL});
		leaves_nothing(s, signals[i],
			(const char *const[]){"check", copies, "--database", s->database, NULL});
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_signal_drains_and_ends_with_0),
		SCENE_TEST(the_second_signal_ends_at_once),
		SCENE_TEST(a_signal_during_start_is_not_lost),
		SCENE_TEST(the_same_signal_twice_at_once_is_one_request),
		SCENE_TEST(a_stop_beside_a_lock_is_no_crash),
		SCENE_TEST(who_cannot_give_its_lease_back_says_so_and_ends),
		SCENE_TEST(an_ignored_hangup_stays_ignored),
		SCENE_TEST(copies_go_with_the_process_that_made_them),
	};

	return cmocka_run_group_tests_name("cli_signals", tests, NULL, NULL);
}
