/* SPDX-License-Identifier: MIT */
/*
 * The command line around dead letters: list, show, retry and drop, in words and as JSON; and outputs
 * that cannot be written, of every command that has one.
 */
#include "help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Row 2 fails by itself; rows 4 and 6 have its key. */
static const char picky[] = "-- name: picky\n-- source: numbers\n-- on-error: park-key(key)\n-- setup\n"
			    "CREATE TABLE IF NOT EXISTS picked(id INTEGER PRIMARY KEY, n CHECK(n <> 2));\n"
			    "-- row\nINSERT INTO picked VALUES(@id, @n);\n";
/* Set-based: row 2 alone. */
static const char sets[] = "-- name: sets\n-- source: numbers\n-- on-error: park\n-- setup\n"
			   "CREATE TABLE IF NOT EXISTS summed(id INTEGER PRIMARY KEY, n CHECK(n <> 2));\n"
			   "-- apply\nINSERT INTO summed SELECT id, n FROM numbers WHERE id > @last AND"
			   " id <= @max;\n";

static void park_some(struct scene *s)
{
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n, key);"
		     "INSERT INTO numbers(n, key) VALUES(1, 'a'), (2, 'b\n'), (3, 'a'), (4, 'b\n'), (5, NULL),"
		     " (6, 'b\n')");
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "picky.sql", picky),
				 scene_file(s, "sets.sql", sets), "--until-caught-up"), 0);
	help_expect(p.err.text, "dead letters 4");
	program_free(&p);
}

static void letters_are_listed_and_shown(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	park_some(s);
	assert_int_equal(program_run(&p, "dead", "list", s->database), 0);
	help_expect(p.out.text, "CONSUMER ");
	help_expect(p.out.text, "CHECK constraint failed: n <> 2");
	help_expect(p.out.text, "parked behind an earlier row with the same key");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--consumer", "sets", "--json"), 0);
	test_json_is(p.out.text, "$[0].consumer", "sets");
	test_json_is(p.out.text, "$[0].id", "2");
	test_json_is(p.out.text, "$[0].key", NULL);
	test_json_is(p.out.text, "$[1].id", NULL);
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "show", s->database, "--consumer", "picky", "--id", "4"), 0);
	help_expect(p.out.text, "consumer  picky\nrow       4\nkey       b\\n\nmessage   parked behind");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "show", s->database, "--id", "2", "--json"), 0);
	test_json_is(p.out.text, "$[0].key", "b\n");
	test_json_is(p.out.text, "$[0].attempts", "1");
	test_json_is(p.out.text, "$[1].consumer", "sets");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--id", "5"), 0);
	assert_string_equal(p.out.text, "no dead letters\n");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--consumer", "nobody"), 2);
	help_expect(p.err.text, "knows no consumer 'nobody'");
	program_free(&p);
}

/* Somebody who names a row has it in mind: that nothing was done is no success. */
static void a_letter_that_is_not_there_is_a_failure(void **state)
{
	static const char *const commands[] = {"show", "retry", "drop"};
	struct scene *s = *state;

	park_some(s);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct program p = {0};

		assert_int_equal(program_run(&p, "dead", commands[i], s->database, "--consumer", "sets",
					 "--id", "4"), 1);
		assert_string_equal(p.err.text, "catchup: consumer 'sets' has no dead letter of row 4\n");
		program_free(&p);
		assert_int_equal(program_run(&p, "dead", commands[i], s->database, "--id", "5", "--json"), 1);
		assert_string_equal(p.err.text, "catchup: no consumer has a dead letter of row 5\n");
		assert_true(p.out.text[0] == '[' || p.out.text[0] == '{');
		program_free(&p);
	}
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 4);
}

static void letters_are_tried_again_and_dropped(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	park_some(s);
	/* Nothing is done to all of them because an option was forgotten, or one too many given. */
	assert_int_equal(program_run(&p, "dead", "retry", s->database), 2);
	help_expect(p.err.text, "say which letters: '--id N' or '--all'");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "drop", s->database, "--all", "--id", "2"), 2);
	help_expect(p.err.text, "options '--id' and '--all' exclude each other");
	program_free(&p);
	/* Still wrong: the exit code says so, and what is behind stays behind. */
	assert_int_equal(program_run(&p, "dead", "retry", s->database, "--consumer", "picky", "--all"), 4);
	help_expect(p.out.text, "1 failed again");
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 4);
	scene_sql(s, "UPDATE numbers SET n = 20 WHERE id = 2; DELETE FROM numbers WHERE id = 6");
	assert_int_equal(program_run(&p, "dead", "retry", s->database, "--consumer", "picky", "--all",
				 "--json"), 0);
	test_json_is(p.out.text, "$.tried", "3");
	test_json_is(p.out.text, "$.done", "2");
	test_json_is(p.out.text, "$.gone", "1");
	test_json_is(p.out.text, "$.failed", "0");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "drop", s->database, "--id", "2", "--json"), 0);
	test_json_is(p.out.text, "$.dropped", "1");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "drop", s->database, "--all"), 0);
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--json"), 0);
	test_json_is(p.out.text, "$[0].id", NULL);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT group_concat(id, '') FROM (SELECT id FROM picked ORDER BY"
					 " id)"), 12345);
}

/* Its name comes before the others', and its results are in a file of their own. */
static const char away[] = "-- name: away\n-- source: numbers\n-- into: away.db\n-- on-error: park\n-- setup\n"
			   "CREATE TABLE IF NOT EXISTS summed(id INTEGER PRIMARY KEY, n CHECK(n <> 2));\n"
			   "-- row\nINSERT INTO summed VALUES(@id, @n);\n";

/* Ends with 2, and says why: then what it printed is left. */
static char *fails_for_one(struct scene *s, const char *what, const char *option, const char *second)
{
	struct program p = {0};
	char *printed;

	if (program_run(&p, "dead", what, s->database, option, second) != 2)
		fail_msg("dead %s: %d: %s%s", what, p.exit_code, p.out.text, p.err.text);
	help_expect(p.err.text, "consumer 'away': ");
	help_expect(p.err.text, "away.db");
	printed = strdup(p.out.text ? p.out.text : "");
	assert_non_null(printed);
	program_free(&p);
	return printed;
}

static void a_file_that_is_gone_does_not_hide_the_others(void **state)
{
	struct scene *s = *state;
	struct program p = {0};
	char *printed;

	park_some(s);
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "away.sql", away),
				 "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(unlink(scene_path(s, "away.db")), 0);
	unlink(scene_path(s, "away.db-wal"));
	unlink(scene_path(s, "away.db-shm"));
	printed = fails_for_one(s, "list", NULL, NULL);
	help_expect(printed, "CHECK constraint failed: n <> 2");
	help_expect(printed, "sets");
	free(printed);
	printed = fails_for_one(s, "list", "--json", NULL);
	test_json_is(printed, "$[3].consumer", "sets");
	test_json_is(printed, "$[4]", NULL);
	free(printed);
	/* Nothing was read: that is not said to be nothing. */
	printed = fails_for_one(s, "show", "--consumer", "away");
	assert_string_equal(printed, "");
	free(printed);
	printed = fails_for_one(s, "drop", "--all", "--json");
	test_json_is(printed, "$.dropped", "4");
	free(printed);
	printed = fails_for_one(s, "drop", "--all", NULL);
	assert_string_equal(printed, "");
	free(printed);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
}

/* Else a row of the other table would be processed, and the one that failed would be gone. */
static void letters_of_another_source_are_not_tried(void **state)
{
	static const char *const into[] = {"", "-- into: odd.db\n"};
	static const char row[] = "-- on-error: park\n-- setup\nCREATE TABLE IF NOT EXISTS odd(id INTEGER,"
		" n INTEGER CHECK(n <> 14));\n-- row\nINSERT INTO odd VALUES(@id, @n);\n";
	struct scene *s = *state;
	struct program p = {0};
	char text[400];

	scene_sql(s, NUMBERS "; INSERT INTO numbers(n) VALUES(7), (14), (21), (28), (35);"
		     "CREATE TABLE others(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO others(n) VALUES(1), (2), (3)");
	for (size_t i = 0; i < 2; i++) {
		const char *results = i == 0 ? s->database : scene_path(s, "odd.db");

		snprintf(text, sizeof(text), "-- name: odd%zu\n-- source: numbers\n%s%s", i, into[i], row);
		assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "odd.sql", text),
					 "--until-caught-up"), 0);
		program_free(&p);
		assert_int_equal(test_number(results, "SELECT id FROM catchup_dead"), 2);
		snprintf(text, sizeof(text), "-- name: odd%zu\n-- source: others\n%s%s", i, into[i], row);
		scene_file(s, "odd.sql", text);
		assert_int_equal(program_run(&p, "dead", "retry", s->database, "--all"), 2);
		help_expect(p.err.text, "has followed 'numbers' up to id 5");
		program_free(&p);
		assert_int_equal(test_number(results, "SELECT id FROM catchup_dead"), 2);
		assert_int_equal(test_number(results, "SELECT count(*) FROM odd"), 4);
		assert_int_equal(program_run(&p, "forget", s->database, i == 0 ? "odd0" : "odd1"), 0);
		program_free(&p);
	}
}

/* Hostile texts of another program's are shown, and nothing else. */
static void odd_letters_are_escaped(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	park_some(s);
	scene_sql(s, "UPDATE catchup_dead SET message = CAST(x'1b5b33316d0aff22' AS TEXT), key = x'00ff',"
		     " first_ms = 9223372036854775807, last_ms = -9223372036854775807 WHERE consumer = 'sets'");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(program_run(&p, "dead", i ? "show" : "list", s->database), 0);
		assert_null(strchr(p.out.text, '\x1b'));
		help_expect(p.out.text, "\\x1b[31m\\n\\xff\"");
		program_free(&p);
	}
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--json"), 0);
	free(test_json(p.out.text, "$[3].message"));
	test_json_is(p.out.text, "$[3].first_ms", "9223372036854775807");
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "drop", s->database, "--all"), 0);
	program_free(&p);
}

static void what_cannot_be_written_is_a_failure_of_every_command(void **state)
{
	struct scene *s = *state;
	const char *const commands[][6] = {{"status", s->database}, {"status", s->database, "--json"},
		{"dead", "list", s->database}, {"dead", "show", s->database, "--json"},
		{"verify", s->database}, {"verify", s->database, "--json"}, {"consumers"},
		{"consumers", "--json"}, {"version"}, {"check", scene_path(s, "picky.sql")},
		{"dead", "drop", s->database, "--id", "2"}, {"guard", s->database, "numbers"}};

	park_some(s);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct program p = {.output_path = "/dev/full"};

		program_start_with(&p, commands[i]);
		if (program_finish(&p) != 1 || !strstr(p.err.text, "standard output: No space left"))
			fail_msg("%s %s: exit code %d: %s", commands[i][0],
				commands[i][1] ? commands[i][1] : "", p.exit_code, p.err.text);
		program_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(letters_are_listed_and_shown),
		SCENE_TEST(a_letter_that_is_not_there_is_a_failure),
		SCENE_TEST(letters_are_tried_again_and_dropped),
		SCENE_TEST(a_file_that_is_gone_does_not_hide_the_others),
		SCENE_TEST(letters_of_another_source_are_not_tried),
		SCENE_TEST(odd_letters_are_escaped),
		SCENE_TEST(what_cannot_be_written_is_a_failure_of_every_command),
	};

	return cmocka_run_group_tests_name("cli_dead", tests, NULL, NULL);
}
