/* SPDX-License-Identifier: MIT */
/*
 * Dead letters on the command line: listed, shown, tried again and dropped, each with every way of saying
 * which ones; also while the consumers run.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Amounts below 0 are refused; 20 rows, of which 5, 10, 15 and 20 are bad. */
#define ROWS 20

static const char totals[] = "-- name: totals\n-- source: orders\n-- on-error: retry(1, 1, 1) park\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS total(id INTEGER, amount CHECK(amount >= 0));\n"
			     "-- row\nINSERT INTO total VALUES(@id, @amount);\n";

/* A set; its bad rows are found one by one. */
static const char sums[] = "-- name: sums\n-- source: orders\n-- on-error: park\n-- setup\n"
			   "CREATE TABLE IF NOT EXISTS sum(id INTEGER, amount CHECK(amount >= 0));\n"
			   "-- apply\nINSERT INTO sum SELECT id, amount FROM orders"
			   " WHERE id > @last AND id <= @max;\n";

/* What a customer has ordered is in order, or waits behind what is bad. */
static const char ordered[] = "-- name: ordered\n-- source: orders\n-- on-error: park-key(customer)\n-- setup\n"
			      "CREATE TABLE IF NOT EXISTS ordered(id INTEGER, amount CHECK(amount >= 0));\n"
			      "-- row\nINSERT INTO ordered VALUES(@id, @amount);\n";

static void insert_rows(struct scene *s, int rows)
{
	scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO orders(customer, amount) SELECT i %% 10, iif(i %% 5, i, -i) FROM c", rows);
}

static void run_all(struct scene *s)
{
	struct program p = {.folder = s->folder};

	program_start(&p, "run", s->database, "totals.sql", "sums.sql", "ordered.sql", "--until-caught-up");
	if (program_finish(&p) != 0)
		fail_msg("ended with %d: %s", p.exit_code, p.err.text);
	program_free(&p);
}

static void set_up_letters(struct scene *s)
{
	scene_sql(s, "PRAGMA journal_mode = WAL; CREATE TABLE orders("
		     "id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER, amount INTEGER)");
	insert_rows(s, ROWS);
	scene_file(s, "totals.sql", totals);
	scene_file(s, "sums.sql", sums);
	scene_file(s, "ordered.sql", ordered);
	run_all(s);
}

/* `dead WHAT` with up to four options, which ends so and says this. */
static void dead(struct scene *s, const char *what, int exit_code, const char *said, const char *a,
	const char *b, const char *c, const char *d)
{
	struct program p = {0};

	program_run(&p, "dead", what, s->database, a, b, c, d);
	if (p.exit_code != exit_code)
		fail_msg("dead %s: %d, not %d: %s%s", what, p.exit_code, exit_code, p.out.text, p.err.text);
	help_expect(exit_code == 2 ? p.err.text : p.out.text, said);
	program_free(&p);
}

static void letters_are(struct scene *s, const char *consumer, const char *expected)
{
	assert_string_equal(scene_text(s, "SELECT group_concat(id) FROM (SELECT id FROM catchup_dead"
					  " WHERE consumer = '%s' ORDER BY id)", consumer), expected);
}

static void verify(struct scene *s)
{
	struct program p = {0};

	if (program_run(&p, "verify", s->database) != 0)
		fail_msg("verify: %s%s", p.out.text, p.err.text);
	program_free(&p);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void letters_are_listed_and_shown(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_letters(s);
	letters_are(s, "totals", "5,10,15,20");
	letters_are(s, "sums", "5,10,15,20");
	letters_are(s, "ordered", "5,10,15,20");
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--json"), 0);
	test_json_is(p.out.text, "$[11].id", "20");
	test_json_is(p.out.text, "$[12]", NULL);
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "list", s->database, "--consumer", "totals", "--json"), 0);
	test_json_is(p.out.text, "$[0].consumer", "totals");
	test_json_is(p.out.text, "$[0].id", "5");
	test_json_is(p.out.text, "$[0].code", "275"); /* SQLITE_CONSTRAINT_CHECK */
	test_json_is(p.out.text, "$[0].attempts", "2");
	test_json_is(p.out.text, "$[0].key", NULL);
	test_json_is(p.out.text, "$[4]", NULL);
	program_free(&p);
	assert_int_equal(program_run(&p, "dead", "show", s->database, "--consumer", "ordered", "--id", "5"), 0);
	help_expect(p.out.text, "consumer  ordered\nrow       5\nkey       5\nmessage   ");
	help_expect(p.out.text, "CHECK constraint failed: amount >= 0\ncode      275\nattempts  1\nfirst     20");
	program_free(&p);
	/* What is behind it says so. */
	assert_int_equal(program_run(&p, "dead", "show", s->database, "--consumer", "ordered", "--id", "15",
				 "--json"), 0);
	test_json_is(p.out.text, "$[0].key", "5");
	test_json_is(p.out.text, "$[0].message", "parked behind an earlier row with the same key");
	program_free(&p);
	dead(s, "list", 0, "CONSUMER", NULL, NULL, NULL, NULL);
	dead(s, "list", 0, "no dead letters", "--id", "7", NULL, NULL);
	dead(s, "list", 2, "knows no consumer 'nobody'", "--consumer", "nobody", NULL, NULL);
	verify(s);
}

static void letters_are_tried_again(void **state)
{
	struct scene *s = *state;

	set_up_letters(s);
	dead(s, "retry", 2, "say which letters", NULL, NULL, NULL, NULL);
	dead(s, "retry", 2, "exclude each other", "--all", "--id", "5", NULL);
	dead(s, "retry", 4, "2 tried: 0 processed, 2 failed again\n2 not tried: an earlier one with the same key"
		" is still there\nwhy they failed: catchup dead show\n", "--consumer", "ordered", "--all", NULL);
	/* Nothing was tried, so nothing is done. */
	dead(s, "retry", 4, "0 tried: 0 processed, 0 failed again\n1 not tried: an earlier one", "--consumer",
		"ordered", "--id", "15");
	/* Still bad: another attempt. */
	dead(s, "retry", 4, "1 tried: 0 processed, 1 failed again", "--consumer", "totals", "--id", "5");
	assert_int_equal(scene_number(s, "SELECT attempts FROM catchup_dead WHERE consumer = 'totals'"
					 " AND id = 5"), 3);
	scene_sql(s, "UPDATE orders SET amount = 0 WHERE id IN (5, 10); DELETE FROM orders WHERE id = 20");
	dead(s, "retry", 0, "1 tried: 1 processed, 0 failed again", "--consumer", "totals", "--id", "5");
	letters_are(s, "totals", "10,15,20");
	dead(s, "retry", 4, "\"done\": \"1\",\n  \"failed\": \"1\",\n  \"gone\": \"1\"", "--consumer", "totals",
		"--all", "--json");
	letters_are(s, "totals", "15");
	dead(s, "retry", 4, "4 tried: 2 processed, 1 failed again, 1 no longer in the source",
		"--consumer", "sums", "--all", NULL);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sum WHERE id IN (5, 10)"), 2);
	/* Of each key in order: 15 is bad, and would be behind it if it were not. */
	dead(s, "retry", 4, "failed again", "--consumer", "ordered", "--all", NULL);
	letters_are(s, "ordered", "15");
	scene_sql(s, "UPDATE orders SET amount = 1 WHERE id = 15");
	dead(s, "retry", 0, "3 tried: 3 processed", "--all", NULL, NULL, NULL);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM total"), ROWS - 1);
	assert_int_equal(scene_number(s, "SELECT count(DISTINCT id) FROM ordered"), ROWS - 1);
	verify(s);
}

static void a_consumer_that_is_gone_does_not_hold_up_the_others(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	char *gone = scene_path(s, "ordered.sql");

	set_up_letters(s);
	scene_sql(s, "UPDATE orders SET amount = abs(amount)");
	assert_int_equal(unlink(gone), 0);
	assert_int_equal(program_run(&p, "dead", "retry", s->database, "--all"), 2);
	help_expect(p.out.text, "8 tried: 8 processed, 0 failed again");
	help_expect(p.err.text, "consumer 'ordered': ");
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead WHERE consumer <> 'ordered'"), 0);
	assert_true(scene_number(s, "SELECT count(*) FROM catchup_dead WHERE consumer = 'ordered'") > 0);
}

static void letters_are_dropped(void **state)
{
	struct scene *s = *state;

	set_up_letters(s);
	dead(s, "drop", 2, "say which letters", "--consumer", "totals", NULL, NULL);
	dead(s, "drop", 0, "1 dropped", "--consumer", "totals", "--id", "5");
	letters_are(s, "totals", "10,15,20");
	dead(s, "drop", 0, "\"dropped\": \"2\"", "--id", "5", "--json", NULL);
	dead(s, "drop", 0, "3 dropped", "--consumer", "totals", "--all", NULL);
	dead(s, "drop", 0, "6 dropped", "--all", NULL, NULL, NULL);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM total"), ROWS - 4);
	verify(s);
}

static void letters_are_tried_again_while_the_consumers_run(void **state)
{
	struct scene *s = *state;
	static const char *const consumers[] = {"totals", "sums", "ordered"};
	struct program run = {.folder = s->folder}, p = {0};

	set_up_letters(s);
	/* It would have more to say than a pipe holds that nobody reads. */
	program_start(&run, "run", s->database, "totals.sql", "sums.sql", "ordered.sql", "--log-level", "error");
	for (int i = 0; i < 10; i++) {
		insert_rows(s, 200);
		scene_sql(s, "UPDATE orders SET amount = 0 WHERE amount < 0 AND id IN (SELECT id FROM catchup_dead)");
		program_run(&p, "dead", "retry", s->database, "--all", "--json");
		if (p.exit_code != 0 && p.exit_code != 4)
			fail_msg("%d: %s", p.exit_code, p.err.text);
		program_free(&p);
	}
	for (int i = 0; i < 3; i++)
		scene_until(s, s->database, "SELECT count(*) FROM catchup WHERE name = '%s'"
			" AND last = (SELECT max(id) FROM orders)", consumers[i]);
	scene_sql(s, "UPDATE orders SET amount = 0 WHERE amount < 0");
	dead(s, "retry", 0, "0 failed again", "--all", NULL, NULL, NULL);
	program_signal(&run, SIGTERM);
	assert_int_equal(program_finish(&run), 0);
	program_free(&run);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	for (int i = 0; i < 3; i++) {
		static const char *const tables[] = {"total", "sum", "ordered"};

		assert_int_equal(scene_number(s, "SELECT count(*) FROM %s", tables[i]), ROWS + 2000);
		assert_int_equal(scene_number(s, "SELECT count(DISTINCT id) FROM %s", tables[i]), ROWS + 2000);
	}
	verify(s);
}

/* Fails when chance wants it, and always before the rows are let through. */
static const char chancy[] = "-- name: chancy\n-- source: numbers\n-- on-error: park\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS applied(id INTEGER, n NOT NULL);\n-- row\n"
			     "INSERT INTO applied VALUES(@id, iif(@n AND abs(random() % 10) < 3, 1, NULL));\n";

#define AT_ONCE 4

/* Whoever has the letter applies its row; whoever failed at it beside that does not make it again. */
static void letters_that_several_try_are_applied_once(void **state)
{
	struct scene *s = *state;
	struct program run = {.folder = s->folder}, retries[AT_ONCE];

	scene_sql(s, "PRAGMA journal_mode = WAL; CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n);"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 300)"
		     " INSERT INTO numbers(n) SELECT 0 FROM c");
	scene_file(s, "chancy.sql", chancy);
	program_start(&run, "run", s->database, "chancy.sql", "--until-caught-up");
	assert_int_equal(program_finish(&run), 0);
	program_free(&run);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 300);
	scene_sql(s, "UPDATE numbers SET n = 1");
	while (scene_number(s, "SELECT count(*) FROM catchup_dead") > 0) {
		for (int i = 0; i < AT_ONCE; i++) {
			retries[i] = (struct program){.folder = s->folder};
			program_start(&retries[i], "dead", "retry", s->database, "--all");
		}
		/* Some may fail again; one that waited for the lock in vain has done no harm. */
		for (int i = 0; i < AT_ONCE; i++) {
			int code = program_finish(&retries[i]);

			if (code != 0 && code != 4 && code != 5)
				fail_msg("%d: %s", code, retries[i].err.text);
			program_free(&retries[i]);
		}
	}
	assert_int_equal(scene_number(s, "SELECT count(*) FROM applied"), 300);
	assert_int_equal(scene_number(s, "SELECT count(DISTINCT id) FROM applied"), 300);
	verify(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(letters_are_listed_and_shown),
		SCENE_TEST(letters_are_tried_again),
		SCENE_TEST(a_consumer_that_is_gone_does_not_hold_up_the_others),
		SCENE_TEST(letters_are_dropped),
		SCENE_TEST(letters_are_tried_again_while_the_consumers_run),
		SCENE_TEST(letters_that_several_try_are_applied_once),
	};

	return cmocka_run_group_tests_name("dead letters", tests, NULL, NULL);
}
