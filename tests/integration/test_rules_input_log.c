/* SPDX-License-Identifier: MIT */
/*
 * Bad input: a database file and the write-ahead log beside it that go away, come from elsewhere or are
 * left from before. Results and watermark are of one moment whatever is there, and nothing is
 * acknowledged that nobody finds again.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* "`-wal` deleted or foreign, `-shm` stale": between two runs, with a log that was folded in */
static void odd_files_beside_the_database_do_no_harm(void **state)
{
	static const char junk[] = "this is neither a log nor an index of one, but long enough to be read";
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *wal = scene_path(s, "app.db-wal");
	char *shm = scene_path(s, "app.db-shm");
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	for (int i = 0; i < 4; i++) {
		scene_insert(s, 5);
		assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
		program_free(&p);
		test_sql(s->database, "PRAGMA wal_checkpoint(TRUNCATE)");
		if (i == 0) {
			unlink(wal);
			unlink(shm);
		} else if (i == 1) {
			test_write_file(wal, junk);
		} else if (i == 2) {
			test_write_file(shm, junk);
		}
	}
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 20);
	assert_int_equal(help_watermark(s->database, "copies"), 20);
	assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
}

/* "`-wal` deleted": after a crash, with commits in it that are nowhere else. They are gone, results and
 * watermark of one moment together, so what is left is whole and goes on from there. */
static void a_log_deleted_after_a_crash_takes_results_and_watermark_together(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 10);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	scene_sql(s, "PRAGMA wal_checkpoint(TRUNCATE)");
	program_start(&p, "run", s->database, file);
	program_expect_err(&p, "follows 'numbers'");
	scene_insert(s, 10);
	scene_until(s, s->database, "SELECT last = 20 FROM catchup");
	program_signal(&p, SIGKILL);
	assert_int_equal(program_finish(&p), 128 + SIGKILL);
	program_free(&p);
	assert_int_equal(unlink(scene_path(s, "app.db-wal")), 0);
	assert_int_equal(unlink(scene_path(s, "app.db-shm")), 0);
	assert_int_equal(scene_number(s, "SELECT (SELECT count(*) FROM copy) = last FROM catchup"), 1);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "verify", s->database), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT (SELECT count(*) FROM copy) = (SELECT count(*) FROM"
					 " numbers)"), 1);
}

/* "`-wal` deleted or foreign, `-shm` stale": while it is open. SQLite would go on writing the old log,
 * which nobody finds again, or take locks in the old index, which nobody else sees. */
static void a_log_deleted_or_replaced_while_open_stops_it(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *wal = scene_path(s, "app.db-wal");
	char *other = scene_path(s, "other-wal");

	for (int i = 0; i < 4; i++) {
		char *changed = i < 2 ? wal : scene_path(s, "app.db-shm");
		bool replaced = i % 2;
		struct program p = {0};
		long long before;

		scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
		scene_insert(s, 5);
		program_start(&p, "run", s->database, file, "--poll-ms", "50");
		program_expect_err(&p, "follows 'numbers'");
		scene_until(s, s->database, "SELECT last = (SELECT max(id) FROM numbers) FROM catchup");
		before = help_watermark(s->database, "copies");
		if (replaced) {
			test_write_file(other, "of another database");
			assert_int_equal(rename(other, changed), 0);
		} else {
			assert_int_equal(unlink(changed), 0);
		}
		assert_int_equal(program_finish(&p), 6);
		help_expect(p.err.text, "app.db': the file, or the write-ahead log or its index beside it"
					" (-wal, -shm), was replaced, renamed or removed while it was in use");
		program_free(&p);
		unlink(wal);
		unlink(scene_path(s, "app.db-shm"));
		assert_true(help_watermark(s->database, "copies") <= before);
		assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
		program_free(&p);
		assert_int_equal(scene_number(s, "SELECT (SELECT count(*) FROM copy) = last FROM catchup"), 1);
		assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
	}
}

/* "replaced or removed while open (SQLITE_FCNTL_HAS_MOVED before each commit; stop, nothing acknowledged
 * after)" */
static void a_database_that_is_replaced_or_removed_stops_it(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *moved = scene_path(s, "moved.db");
	char *fresh = scene_path(s, "fresh.db");
	static const char *const beside[] = {"app.db-wal", "app.db-shm"};

	for (int replaced = 0; replaced < 2; replaced++) {
		struct program p = {0};

		scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
		scene_insert(s, 5);
		program_start(&p, "run", s->database, file);
		program_expect_err(&p, "follows 'numbers'");
		scene_until(s, s->database, "SELECT last = 5 FROM catchup");
		unlink(fresh);
		test_sql(fresh, "PRAGMA journal_mode = WAL; " NUMBERS ";"
				"CREATE TABLE copy(id, n); INSERT INTO numbers(n) VALUES(7), (8)");
		unlink(moved);
		assert_int_equal(rename(s->database, moved), 0);
		if (replaced) {
			for (size_t i = 0; i < 2; i++)
				unlink(scene_path(s, beside[i]));
			assert_int_equal(rename(fresh, s->database), 0);
		}
		assert_int_equal(program_finish(&p), 6);
		help_expect(p.err.text, "replaced, renamed or removed");
		program_free(&p);
		if (replaced)
			assert_int_equal(help_watermark(s->database, "copies"), -1);
		unlink(s->database);
		for (size_t i = 0; i < 2; i++)
			unlink(scene_path(s, beside[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(odd_files_beside_the_database_do_no_harm),
		SCENE_TEST(a_log_deleted_after_a_crash_takes_results_and_watermark_together),
		SCENE_TEST(a_log_deleted_or_replaced_while_open_stops_it),
		SCENE_TEST(a_database_that_is_replaced_or_removed_stops_it),
	};

	return cmocka_run_group_tests_name("rules_input_log", tests, NULL, NULL);
}
