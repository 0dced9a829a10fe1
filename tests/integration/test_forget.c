/* SPDX-License-Identifier: MIT */
/*
 * `forget` takes a consumer off the books. Through the program, on real files.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 200

static const char sums[] = "-- name: sums\n-- source: numbers\n"
			   "-- setup\nCREATE TABLE IF NOT EXISTS sums(rows INTEGER);\n"
			   "-- apply\nINSERT INTO sums SELECT count(*) FROM numbers"
			   " WHERE id > @last AND id <= @max;\n";

static void forget(struct scene *s, int exit_code, const char *said, const char *consumer)
{
	struct program p = {.folder = s->folder};

	program_run(&p, "forget", s->database, consumer);
	if (p.exit_code != exit_code)
		fail_msg("exit code %d, not %d: %s%s", p.exit_code, exit_code, p.out.text, p.err.text);
	help_expect(exit_code == 0 ? p.out.text : p.err.text, said);
	program_free(&p);
}

static void what_is_forgotten_is_off_the_books_and_its_results_stay(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, NUMBERS);
	scene_insert(s, ROWS);
	scene_file(s, "sums.sql", sums);
	scene_file(s, "far.sql", "-- name: far\n-- source: numbers\n-- into: far.db\n-- on-error: park\n"
				 "-- setup\nCREATE TABLE IF NOT EXISTS taken(n CHECK(n <> 7));\n"
				 "-- row\nINSERT INTO taken VALUES(@n);\n");
	scene_catch_up(s, "sums.sql");
	scene_catch_up(s, "far.sql");
	forget(s, 0, "consumer 'far' is forgotten", "far");
	assert_int_equal(test_number(scene_path(s, "far.db"), "SELECT count(*) FROM catchup"), 0);
	assert_int_equal(test_number(scene_path(s, "far.db"), "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(test_number(scene_path(s, "far.db"), "SELECT count(*) FROM taken"), ROWS - 1);
	program_run(&p, "status", s->database);
	assert_null(strstr(p.out.text, "far"));
	help_expect(p.out.text, "sums");
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "sums"), ROWS);
	forget(s, 2, "knows no consumer 'far'", "far");
	/* Also when its file was thrown away before. */
	scene_catch_up(s, "far.sql");
	assert_int_equal(unlink(scene_path(s, "far.db")), 0);
	forget(s, 0, "consumer 'far' is forgotten", "far");
	/* It stands in two files: what is done of it is told. */
	scene_catch_up(s, "far.sql");
	scene_sql(s, "CREATE TRIGGER later BEFORE DELETE ON catchup_consumer BEGIN"
		     " SELECT RAISE(ABORT, 'not now'); END");
	forget(s, 4, "letters are gone, but it is still listed; forget it again: ", "far");
	assert_int_equal(test_number(scene_path(s, "far.db"), "SELECT count(*) FROM catchup"), 0);
	scene_sql(s, "DROP TRIGGER later");
	forget(s, 0, "consumer 'far' is forgotten", "far");
	/* What runs again begins at the first row. */
	forget(s, 0, "consumer 'sums' is forgotten", "sums");
	scene_catch_up(s, "sums.sql");
	assert_int_equal(scene_number(s, "SELECT sum(rows) FROM sums"), 2 * ROWS);
}

static void what_is_running_is_not_forgotten(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, NUMBERS);
	scene_insert(s, ROWS);
	scene_file(s, "sums.sql", sums);
	program_start(&p, "run", s->database, "sums.sql", "--lease-ms", "3600000");
	program_expect_err(&p, "follows");
	scene_until(s, s->database, "SELECT EXISTS (SELECT * FROM catchup WHERE last = 200)");
	forget(s, 5, "runs it; stop that first", "sums");
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "sums"), ROWS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(what_is_forgotten_is_off_the_books_and_its_results_stay),
		SCENE_TEST(what_is_running_is_not_forgotten),
	};

	return cmocka_run_group_tests_name("forget", tests, NULL, NULL);
}
