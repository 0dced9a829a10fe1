/* SPDX-License-Identifier: MIT */
/*
 * `verify` finds what was planted, and nothing where nothing is wrong. Through the program, on real files.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define ROWS 500

static const char picky[] = "-- name: picky\n-- source: numbers\n-- into: picky.db\n-- on-error: park\n"
			    "-- setup\n"
			    "CREATE TABLE IF NOT EXISTS taken(n CHECK(n % 100 <> 7));\n"
			    "-- row\n"
			    "INSERT INTO taken VALUES(@n);\n";

static void insert_rows(struct scene *s, int rows)
{
	scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO numbers(n) SELECT coalesce((SELECT max(id) FROM numbers), 0) + i FROM c",
		rows);
}

/* Both consumers, caught up. */
static void set_up_run(struct scene *s)
{
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER)");
	insert_rows(s, ROWS);
	scene_file(s, "doubles.sql", DOUBLES);
	scene_file(s, "picky.sql", picky);
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "doubles.sql", "picky.sql",
				 "--until-caught-up"), 0);
	program_free(&p);
}

/* What `verify` says, as text or JSON in *p. */
static void verify(struct scene *s, struct program *p, int exit_code, const char *consumer,
	const char *option)
{
	program_run(p, "verify", s->database, consumer, option);
	if (p->exit_code != exit_code)
		fail_msg("exit code %d, not %d: %s%s", p->exit_code, exit_code, p->out.text, p->err.text);
}

/* Nothing is wrong before; after the SQL something is, and it is said so; then the SQL that mends it. */
static void finds(struct scene *s, const char *database, const char *break_sql, const char *consumer,
	const char *said, const char *mend_sql)
{
	struct program p = {0};

	verify(s, &p, 0, consumer, NULL);
	program_free(&p);
	test_sql(database, break_sql);
	verify(s, &p, 1, consumer, NULL);
	help_expect(p.out.text, said);
	help_expect(p.out.text, "WRONG");
	program_free(&p);
	test_sql(database, mend_sql);
}

/* ---- verify -------------------------------------------------------------------------------------- */

static void what_is_right_is_called_so_with_the_evidence(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	verify(s, &p, 0, NULL, NULL);
	help_expect(p.out.text, "consumer 'doubles': ok\n");
	help_expect(p.out.text, "  offered 500 = applied 500 + passed over 0 + parked 0; dead letters 0\n");
	help_expect(p.out.text, "  rows of the source in (0, 500]: 500, offered 500\n");
	help_expect(p.out.text, "  offered 500 = applied 495 + passed over 0 + parked 5; dead letters 5\n");
	help_expect(p.out.text, "picky.db: ok, integrity check passed\n");
	help_expect(p.out.text, "ok: 2 consumers\n");
	program_free(&p);
	verify(s, &p, 0, "--json", NULL);
	test_json_is(p.out.text, "$.ok", "1");
	test_json_is(p.out.text, "$.files[1].ok", "1");
	test_json_is(p.out.text, "$.consumers[1].name", "picky");
	test_json_is(p.out.text, "$.consumers[1].parked", "5");
	test_json_is(p.out.text, "$.consumers[1].rows", "500");
	program_free(&p);
	/* Rows that are deleted later are no sign of anything. */
	scene_sql(s, "DELETE FROM numbers WHERE id BETWEEN 10 AND 20");
	verify(s, &p, 0, NULL, NULL);
	program_free(&p);
	verify(s, &p, 2, "nobody", NULL);
	help_expect(p.err.text, "knows no consumer 'nobody'");
	program_free(&p);
}

static void a_broken_record_is_found(void **state)
{
	struct scene *s = *state;
	char *into = scene_path(s, "picky.db");

	set_up_run(s);
	finds(s, s->database, "UPDATE catchup_state SET applied = applied - 1 WHERE name = 'doubles'",
		"doubles", "500 rows were offered, but 499 applied + 0 passed over + 0 parked are 499",
		"UPDATE catchup_state SET applied = applied + 1 WHERE name = 'doubles'");
	finds(s, into, "UPDATE catchup_dead SET id = 501 WHERE id = 407", "picky",
		"the dead letter of row 501 is above the watermark 500",
		"UPDATE catchup_dead SET id = 407 WHERE id = 501");
	finds(s, into, "INSERT INTO catchup_dead SELECT consumer, 1, key, code, message, 1, 1, 1, NULL"
		       " FROM catchup_dead WHERE id = 7",
		"picky", "there are 6 dead letters, but only 5 rows were parked",
		"DELETE FROM catchup_dead WHERE id = 1");
	finds(s, into, "UPDATE catchup_state SET mark_hash = mark_hash + 1", "picky",
		"row 500 of the source is not the row that was processed",
		"UPDATE catchup_state SET mark_hash = mark_hash - 1");
}

static void rows_that_nobody_was_offered_are_found(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	/* Its id is in a hole below the watermark. */
	scene_sql(s, "INSERT INTO numbers(id, n) VALUES(600, 600)");
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "doubles.sql", "--until-caught-up"), 0);
	program_free(&p);
	finds(s, s->database, "INSERT INTO numbers(id, n) VALUES(599, 599)", "doubles",
		"the source has 502 rows with ids in (0, 600], but only 501 were offered",
		"DELETE FROM numbers WHERE id = 599");
	finds(s, s->database, "DELETE FROM numbers WHERE id > 400;"
			      "UPDATE sqlite_sequence SET seq = 400 WHERE name = 'numbers'",
		"doubles", "the watermark 600 is past the highest id 400 of the source", "SELECT 1");
}

static void a_watermark_that_another_program_moved_is_no_lie(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	insert_rows(s, 10);
	scene_sql(s, "UPDATE catchup SET last = 505 WHERE name = 'doubles'");
	verify(s, &p, 0, "doubles", NULL);
	help_expect(p.out.text, "the watermark was set to 505, by 'reset' or by another program");
	program_free(&p);
	/* What it does from there is counted again. */
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "doubles.sql", "--until-caught-up"), 0);
	program_free(&p);
	verify(s, &p, 0, "doubles", NULL);
	help_expect(p.out.text, "  rows of the source in (505, 510]: 5, offered 5\n");
	program_free(&p);
}

static void a_damaged_file_is_found(void **state)
{
	struct scene *s = *state;
	char *into = scene_path(s, "picky.db");
	struct program p = {0};

	set_up_run(s);
	/* An index that its table does not agree with. */
	test_sql(into, "CREATE INDEX by_n ON taken(n); PRAGMA writable_schema = ON;"
		       "UPDATE sqlite_schema SET sql = 'CREATE INDEX by_n ON taken(-n)' WHERE name = 'by_n'");
	verify(s, &p, 1, NULL, NULL);
	help_expect(p.out.text, "picky.db: WRONG: ");
	program_free(&p);
	assert_int_equal(rename(into, scene_path(s, "gone.db")), 0);
	verify(s, &p, 1, NULL, NULL);
	help_expect(p.out.text, "its record cannot be read");
	help_expect(p.out.text, "consumer 'doubles': ok\n");
	program_free(&p);
}

static void recomputing_compares_row_by_row(void **state)
{
	struct scene *s = *state;
	char *into = scene_path(s, "picky.db");
	struct program p = {0};

	set_up_run(s);
	insert_rows(s, 10); /* not processed yet */
	p.folder = s->folder;
	verify(s, &p, 0, "--recompute", NULL);
	help_expect(p.out.text, "  recomputed: the same 500 rows in 1 table\n");
	help_expect(p.out.text, "  recomputed: the same 495 rows in 1 table\n");
	program_free(&p);
	scene_sql(s, "UPDATE twice SET n = n + 0.0 WHERE id = 5; DELETE FROM twice WHERE id = 9");
	test_sql(into, "INSERT INTO taken VALUES(12)");
	verify(s, &p, 1, "--recompute", NULL);
	help_expect(p.out.text, "table 'twice': 2 rows that it should have are not there, the first is (5, 10)");
	help_expect(p.out.text, "table 'twice': 1 rows are there that it should not have,"
				" the first is (5, 10.0)");
	/* The same row twice is another table. */
	help_expect(p.out.text, "table 'taken': 1 rows are there that it should not have, the first is (12)");
	program_free(&p);
	/* Nothing real was touched. */
	assert_int_equal(scene_number(s, "SELECT count(*) FROM twice"), ROWS - 1);
	assert_int_equal(scene_number(s, "SELECT last FROM catchup"), ROWS);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), ROWS + 10);
}

static void recomputing_compares_each_table_of_a_consumer(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	scene_file(s, "three.sql", "-- name: three\n-- source: numbers\n-- setup\n"
				   "CREATE TABLE IF NOT EXISTS one(n); CREATE TABLE IF NOT EXISTS two(n);\n"
				   "CREATE TABLE IF NOT EXISTS three(n);\n"
				   "-- row\nINSERT INTO one VALUES(@n); INSERT INTO two VALUES(2 * @n);\n"
				   "INSERT INTO three VALUES(3 * @n);\n");
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "three.sql", "--until-caught-up"), 0);
	program_free(&p);
	p.folder = s->folder;
	verify(s, &p, 0, "three", "--recompute");
	help_expect(p.out.text, "  recomputed: the same 1500 rows in 3 tables\n");
	program_free(&p);
	scene_sql(s, "DELETE FROM two WHERE n = 4; DELETE FROM three WHERE n = 9");
	verify(s, &p, 1, "three", "--recompute");
	help_expect(p.out.text, "table 'two': 1 rows that it should have are not there, the first is (4)");
	help_expect(p.out.text, "table 'three': 1 rows that it should have are not there, the first is (9)");
	program_free(&p);
}

/* Its lease and its marks are left behind with the real ones; a row that fails was parked. */
static void recomputing_takes_a_careful_consumer(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, NUMBERS);
	scene_insert(s, 10);
	scene_file(s, "anxious.sql", "-- name: anxious\n-- source: numbers\n-- on-error: careful park\n"
				     "-- setup\nCREATE TABLE IF NOT EXISTS taken(n CHECK(n <> 7));\n"
				     "-- row\nINSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "run", s->database, "anxious.sql", "--until-caught-up"), 0);
	program_free(&p);
	verify(s, &p, 0, "anxious", "--recompute");
	help_expect(p.out.text, "  recomputed: the same 9 rows in 1 table\n");
	program_free(&p);
	scene_sql(s, "DELETE FROM taken WHERE n = 10");
	verify(s, &p, 1, "anxious", "--recompute");
	help_expect(p.out.text, "table 'taken': 1 rows that it should have are not there, the first is (10)");
	program_free(&p);
}

/* SQLite goes on counting after a reset that deletes the rows. Nothing else may differ. */
static void recomputing_knows_ids_that_count_up(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, NUMBERS);
	scene_insert(s, 50);
	scene_file(s, "large.sql", "-- name: large\n-- source: numbers\n-- setup\n"
				   "CREATE TABLE IF NOT EXISTS big(n, own INTEGER PRIMARY KEY AUTOINCREMENT);\n"
				   "-- apply\nINSERT INTO big(n) SELECT n FROM numbers WHERE id > @last AND"
				   " id <= @max;\n-- reset\nDELETE FROM big;\n");
	assert_int_equal(program_run(&p, "run", s->database, "large.sql", "--until-caught-up"), 0);
	program_free(&p);
	verify(s, &p, 0, "large", "--recompute");
	help_expect(p.out.text, "  recomputed: the same 50 rows in 1 table\n");
	assert_null(strstr(p.out.text, "AUTOINCREMENT"));
	program_free(&p);
	assert_int_equal(program_run(&p, "reset", s->database, "large"), 0);
	program_free(&p);
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "large.sql", "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT min(own) FROM big"), 51);
	verify(s, &p, 0, "large", "--recompute");
	help_expect(p.out.text, "  recomputed: the same 50 rows in 1 table\n");
	help_expect(p.out.text, "  note: table 'big': its own ids (AUTOINCREMENT) are higher by 50 than when they"
				" are counted from the beginning");
	program_free(&p);
	/* One id that is higher by another number. */
	scene_sql(s, "UPDATE big SET own = 1000 WHERE own = 100");
	verify(s, &p, 1, "large", "--recompute");
	help_expect(p.out.text, "table 'big': 50 rows that it should have are not there, the first is (1, 1)");
	program_free(&p);
	scene_sql(s, "UPDATE big SET own = 100, n = 0 WHERE own = 1000");
	verify(s, &p, 1, "large", "--recompute");
	help_expect(p.out.text, "table 'big': 50 rows that it should have are not there");
	program_free(&p);
	scene_sql(s, "DELETE FROM big WHERE own = 100");
	verify(s, &p, 1, "large", "--recompute");
	program_free(&p);
	scene_sql(s, "DELETE FROM big");
	verify(s, &p, 1, "large", "--recompute");
	help_expect(p.out.text, "table 'big': 50 rows that it should have are not there");
	program_free(&p);
}

static void recomputing_takes_the_consumer_that_is_named(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	set_up_run(s);
	scene_file(s, "changed.sql", "-- name: doubles\n-- source: numbers\n-- apply\n"
				     "INSERT INTO twice SELECT id, 3 * n FROM numbers"
				     " WHERE id > @last AND id <= @max;\n");
	p.folder = s->folder;
	verify(s, &p, 1, "changed.sql", "--recompute");
	help_expect(p.out.text, "table 'twice': 500 rows that it should have are not there,"
				" the first is (1, 3)");
	program_free(&p);
	/* Its file is gone: that is told, and nothing is called wrong for it. */
	assert_int_equal(remove(scene_path(s, "doubles.sql")), 0);
	verify(s, &p, 0, "doubles", "--recompute");
	help_expect(p.out.text, "not recomputed: ");
	program_free(&p);
}

static void recomputing_while_it_runs_sees_one_moment(void **state)
{
	struct scene *s = *state;
	struct program run = {.folder = s->folder};
	struct program p = {0};

	set_up_run(s);
	program_start(&run, "run", s->database, "doubles.sql", "picky.sql");
	program_expect_err(&run, "started 2 consumers");
	for (int i = 0; i < 5; i++) {
		insert_rows(s, 1000);
		verify(s, &p, 0, "--recompute", NULL);
		program_free(&p);
	}
	program_signal(&run, SIGTERM);
	assert_int_equal(program_finish(&run), 0);
	program_free(&run);
}

static void a_place_for_copies_that_is_not_there_is_named(void **state)
{
	struct scene *s = *state;
	char *folder = scene_path(s, "gone");
	char variable[4200];
	struct program p = {.set = (const char *const[]){variable, NULL}};

	set_up_run(s);
	snprintf(variable, sizeof(variable), "TMPDIR=%s", folder);
	assert_int_equal(program_run(&p, "verify", s->database, "--recompute"), 1);
	help_expect(p.err.text, folder);
	help_expect(p.err.text, "No such file or directory");
	program_free(&p);
	p.set = (const char *const[]){variable, NULL};
	assert_int_equal(program_run(&p, "check", scene_path(s, "doubles.sql"), "--database",
				 s->database), 1);
	help_expect(p.err.text, folder);
	program_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(what_is_right_is_called_so_with_the_evidence),
		SCENE_TEST(a_broken_record_is_found),
		SCENE_TEST(rows_that_nobody_was_offered_are_found),
		SCENE_TEST(a_watermark_that_another_program_moved_is_no_lie),
		SCENE_TEST(a_damaged_file_is_found),
		SCENE_TEST(recomputing_compares_row_by_row),
		SCENE_TEST(recomputing_compares_each_table_of_a_consumer),
		SCENE_TEST(recomputing_takes_a_careful_consumer),
		SCENE_TEST(recomputing_knows_ids_that_count_up),
		SCENE_TEST(recomputing_takes_the_consumer_that_is_named),
		SCENE_TEST(recomputing_while_it_runs_sees_one_moment),
		SCENE_TEST(a_place_for_copies_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
