/* SPDX-License-Identifier: MIT */
/*
 * What a user reads who was woken by it: `status` and `verify` say what is wrong with a consumer and what
 * there is to be done.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char picky[] = "-- name: picky\n-- source: numbers\n-- setup\n"
			    "CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n CHECK(n <> 3));\n"
			    "-- apply\nINSERT INTO copy SELECT id, n FROM numbers WHERE id > @last AND"
			    " id <= @max;\n";

/* Returns the consumer's file. */
static char *make(struct scene *s)
{
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO numbers(n) VALUES(1), (2), (3), (4)");
	return scene_file(s, "picky.sql", picky);
}

/* Runs a command that ends so; what it prints holds one text and not another (NULL: none). */
static void says(struct scene *s, int exit_code, const char *command, const char *there, const char *not)
{
	struct program p = {0};

	if (program_run(&p, command, s->database) != exit_code)
		fail_msg("%s ended with %d: %s", command, p.exit_code, p.err.text);
	help_expect(p.out.text, there);
	if (not && strstr(p.out.text, not))
		fail_msg("'%s' is in: %s", not, p.out.text);
	program_free(&p);
}

static void a_bad_row_comes_with_what_to_do(void **state)
{
	struct scene *s = *state;
	char *file = make(s);
	struct program p = {0};

	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 4);
	program_free(&p);
	says(s, 0, "status", "CHECK constraint failed: n <> 3\n"
		"  started again it goes on at this row; to pass over it, start it with --on-error picky=park\n",
		"without a word");
	says(s, 0, "verify", "note: it is stopped at row 3: ", NULL);
	/* And it is as it says. */
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up", "--on-error",
				 "picky=park"), 0);
	help_expect(p.err.text, "row 3 is parked in the dead letters after 1 attempt: ");
	program_free(&p);
	says(s, 0, "status", "idle", "started again");
	says(s, 0, "verify", "dead letters 1", "note: it is");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 3);
}

static void who_was_killed_is_named(void **state)
{
	struct scene *s = *state;
	char *file = make(s);
	struct program p = {0}, shown = {0};
	char gone[128];
	int pid;

	scene_sql(s, "UPDATE numbers SET n = 5 WHERE n = 3");
	program_start(&p, "run", s->database, file);
	program_expect_err(&p, "follows");
	scene_until(s, s->database, "SELECT last = 4 FROM catchup");
	says(s, 0, "status", "OWNER", "without a word");
	pid = (int)p.pid;
	program_signal(&p, SIGKILL);
	assert_int_equal(program_finish(&p), 128 + SIGKILL);
	snprintf(gone, sizeof(gone), ":%d, which ran it last, has ended without a word", pid);
	program_free(&p);
	says(s, 0, "status", gone, "OWNER");
	assert_int_equal(program_run(&shown, "status", s->database, "--json"), 0);
	snprintf(gone, sizeof(gone), ":%d\"", pid);
	help_expect(shown.out.text, "\"lost_owner\": \"");
	help_expect(shown.out.text, gone);
	test_json_is(shown.out.text, "$.consumers[0].owner", NULL);
	program_free(&shown);
	/* Until somebody else has run it. */
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	says(s, 0, "status", "idle", "without a word");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_bad_row_comes_with_what_to_do),
		SCENE_TEST(who_was_killed_is_named),
	};

	return cmocka_run_group_tests_name("explains", tests, NULL, NULL);
}
