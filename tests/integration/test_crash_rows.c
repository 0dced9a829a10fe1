/* SPDX-License-Identifier: MIT */
/*
 * A row that crashes the process: after three crashes the error policy decides about it, not the row.
 * Through the program, with a module that aborts.
 */
#include "help.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ROWS 2000
#define DEADLY 7

static const char *const kinds[] = {"row", "range", "map"};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const char *module(struct scene *s, const char *kind)
{
	char name[64];

	snprintf(name, sizeof(name), "deadly_%s.so", kind);
	return scene_own(s, test_path(DEADLY_FOLDER, name));
}

static void make_source(struct scene *s)
{
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "DROP TABLE IF EXISTS seen; DROP TABLE IF EXISTS jobs;"
		     "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT)");
}

static void add_rows(struct scene *s, int rows)
{
	scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO jobs(body) SELECT 'good' FROM c", rows);
}

static int run(struct scene *s, const char *consumer, const char *policy)
{
	struct program p = {.folder = s->folder};
	int code;

	program_start(&p, "run", s->database, consumer, "--until-caught-up", "--progress", "never",
		"--on-error", policy);
	code = program_finish(&p);
	if (code != 0 && code != 4 && code != 128 + SIGABRT)
		fail_msg("ended with %d: %s", code, p.err.text);
	program_free(&p);
	return code;
}

/* Runs it until it does not crash any more; returns how often it has. */
static int crashes(struct scene *s, const char *consumer, const char *policy, int *last)
{
	int n = 0;

	while ((*last = run(s, consumer, policy)) == 128 + SIGABRT)
		assert_true(++n < 20);
	return n;
}

/* The rows that were seen, each once, are those that `where` says. */
static void seen(struct scene *s, const char *where)
{
	assert_int_equal(scene_number(s, "SELECT count(*) FROM seen"),
		scene_number(s, "SELECT count(*) FROM jobs WHERE %s", where));
	assert_int_equal(scene_number(s, "SELECT count(*) FROM jobs WHERE %s"
					 " AND id NOT IN (SELECT id FROM seen)", where), 0);
}

static void status_is(struct scene *s, const char *state, const char *row, const char *category)
{
	struct program p = {0};

	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].state", state);
	test_json_is(p.out.text, "$.consumers[0].error_row", row);
	test_json_is(p.out.text, "$.consumers[0].error_category", category);
	program_free(&p);
}

static void verify(struct scene *s)
{
	struct program p = {0};

	if (program_run(&p, "verify", s->database) != 0)
		fail_msg("verify: %s%s", p.out.text, p.err.text);
	program_free(&p);
}

static void make_deadly_source(struct scene *s)
{
	make_source(s);
	add_rows(s, ROWS);
	scene_sql(s, "UPDATE jobs SET body = 'deadly' WHERE id = %d", DEADLY);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void after_three_crashes_stop_stops(void **state)
{
	struct scene *s = *state;

	for (size_t i = 0; i < N_KINDS; i++) {
		const char *consumer = module(s, kinds[i]);
		struct program p = {0};
		int last;

		make_deadly_source(s);
		assert_int_equal(crashes(s, consumer, "stop", &last), 3);
		assert_int_equal(last, 4);
		seen(s, "id < 7");
		assert_int_equal(help_watermark(s->database, "deadly"), DEADLY - 1);
		status_is(s, "stopped", "7", "row");
		/* Said once. */
		assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
		test_json_is(p.out.text, "$.consumers[0].crashes", "3");
		program_free(&p);
		program_run(&p, "status", s->database);
		help_expect(p.out.text, "the process ended 3 times with this row in hand");
		assert_null(strstr(p.out.text, "was in hand at"));
		program_free(&p);
		/* Started again it is tried once more, in case somebody has mended something else. */
		assert_int_equal(crashes(s, consumer, "stop", &last), 1);
		assert_int_equal(last, 4);
		seen(s, "id < 7");
		scene_sql(s, "UPDATE jobs SET body = 'mended' WHERE id = %d", DEADLY);
		assert_int_equal(crashes(s, consumer, "stop", &last), 0);
		assert_int_equal(last, 0);
		seen(s, "1");
		status_is(s, "idle", NULL, NULL);
		verify(s);
		scene_sql(s, "DELETE FROM catchup; DELETE FROM catchup_state; DELETE FROM catchup_lease");
	}
}

static void crashes_are(struct scene *s, const char *row, const char *n)
{
	struct program p = {0};
	char line[96];

	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].crash_row", row);
	test_json_is(p.out.text, "$.consumers[0].crashes", n);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	snprintf(line, sizeof(line), "deadly: row %s was in hand at %s crash", row ? row : "", n);
	if ((strstr(p.out.text, line) != NULL) != (row != NULL))
		fail_msg("%s: %s", line, p.out.text);
	program_free(&p);
}

/* The first crash may be any row's of its batch; from the second on it is known whose, whoever runs it. */
static void a_row_that_crashes_is_named_before_it_is_blamed(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	struct program p = {.folder = s->folder};
	int status;

	make_deadly_source(s);
	assert_int_equal(run(s, consumer, "stop"), 128 + SIGABRT);
	crashes_are(s, NULL, "0");
	assert_int_equal(run(s, consumer, "stop"), 128 + SIGABRT);
	crashes_are(s, "7", "2");
	/* The next one has it in hand. */
	scene_sql(s, "UPDATE jobs SET body = 'stopping' WHERE id = %d", DEADLY);
	program_start(&p, "run", s->database, consumer, "--until-caught-up", "--progress", "never",
		"--lease-ms", "3600000");
	program_expect_err(&p, "row 7 was in hand at 2 crashes; at 3 its error policy decides about it");
	assert_int_equal(waitpid(p.pid, &status, WUNTRACED), p.pid);
	assert_true(WIFSTOPPED(status));
	crashes_are(s, "7", "2");
	program_signal(&p, SIGCONT);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	crashes_are(s, NULL, "0");
	seen(s, "1");
}

static void after_three_crashes_park_parks(void **state)
{
	struct scene *s = *state;

	for (size_t i = 0; i < N_KINDS; i++) {
		const char *consumer = module(s, kinds[i]);
		struct program p = {0};
		int last;

		make_deadly_source(s);
		assert_int_equal(crashes(s, consumer, "retry(5, 1, 1) park", &last), 3);
		assert_int_equal(last, 0);
		seen(s, "id <> 7");
		status_is(s, "idle", NULL, NULL);
		assert_int_equal(program_run(&p, "dead", "list", s->database, "--json"), 0);
		test_json_is(p.out.text, "$[0].id", "7");
		test_json_is(p.out.text, "$[0].attempts", "3");
		program_free(&p);
		verify(s);
		/* Two more, far from each other: each is found in as many crashes. */
		add_rows(s, ROWS);
		scene_sql(s, "UPDATE jobs SET body = 'deadly' WHERE id IN (2100, 3900)");
		assert_in_range(crashes(s, consumer, "park", &last), 6, 8);
		assert_int_equal(last, 0);
		seen(s, "body <> 'deadly'");
		verify(s);
		scene_sql(s, "DELETE FROM catchup; DELETE FROM catchup_state; DELETE FROM catchup_lease;"
			     "DELETE FROM catchup_dead");
	}
}

static int retry(struct scene *s, struct program *p, const char *option, const char *id)
{
	*p = (struct program){.folder = s->folder};
	program_run(p, "dead", "retry", s->database, option, id);
	return p->exit_code;
}

/* A letter that ended the process which tried it does so once: then the others have their turn, and it has
 * its own when it is asked for. */
static void a_letter_that_crashed_is_passed_over(void **state)
{
	struct scene *s = *state;

	for (size_t i = 0; i < N_KINDS; i++) {
		struct program p = {0};
		int last;

		make_source(s);
		add_rows(s, 20);
		scene_sql(s, "UPDATE jobs SET body = 'deadly' WHERE id IN (7, 9)");
		crashes(s, module(s, kinds[i]), "park", &last);
		assert_int_equal(last, 0);
		scene_sql(s, "UPDATE jobs SET body = 'mended' WHERE id = 9;"
			     "UPDATE catchup_dead SET attempts = 3");
		assert_int_equal(retry(s, &p, "--all", NULL), 128 + SIGABRT);
		program_free(&p);
		seen(s, "id NOT IN (7, 9)");
		assert_int_equal(retry(s, &p, "--all", NULL), 4);
		help_expect(p.out.text, "1 tried: 1 processed, 0 failed again\n1 not tried: whoever tried it last"
			" has not come back, and may have died of it; to try it: --consumer deadly --id 7\n");
		program_free(&p);
		seen(s, "id <> 7");
		assert_int_equal(program_run(&p, "dead", "show", s->database), 0);
		help_expect(p.out.text, "attempts  4\n");
		help_expect(p.out.text, "in hand   whoever tries it again has not come back");
		program_free(&p);
		/* Knowingly. */
		assert_int_equal(retry(s, &p, "--id", "7"), 128 + SIGABRT);
		program_free(&p);
		scene_sql(s, "UPDATE jobs SET body = 'mended' WHERE id = 7");
		assert_int_equal(program_run(&p, "dead", "retry", s->database, "--all", "--json"), 4);
		test_json_is(p.out.text, "$.tried", "0");
		test_json_is(p.out.text, "$.held", "1");
		program_free(&p);
		assert_int_equal(program_run(&p, "dead", "list", s->database, "--json"), 0);
		test_json_is(p.out.text, "$[0].attempts", "5");
		test_json_is(p.out.text, "$[0].in_hand", "1");
		program_free(&p);
		assert_int_equal(retry(s, &p, "--id", "7"), 0);
		program_free(&p);
		seen(s, "1");
		verify(s);
		scene_sql(s, "DELETE FROM catchup; DELETE FROM catchup_state; DELETE FROM catchup_lease");
	}
}

/* What is behind it is parked without a look, so it does no harm any more. */
static void a_key_that_crashed_is_parked_with_what_follows(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	int last;

	make_source(s);
	add_rows(s, 100);
	scene_sql(s, "UPDATE jobs SET body = 'deadly' WHERE id IN (7, 8, 90)");
	assert_int_equal(crashes(s, consumer, "park-key(body)", &last), 3);
	assert_int_equal(last, 0);
	seen(s, "body <> 'deadly'");
	assert_string_equal(scene_text(s, "SELECT group_concat(id || key) FROM (SELECT id, key FROM catchup_dead"
					  " ORDER BY id)"), "7deadly,8deadly,90deadly");
	verify(s);
}

static void who_asks_for_care_has_each_row_marked_from_the_start(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	int last;

	make_source(s);
	add_rows(s, 50);
	scene_sql(s, "UPDATE jobs SET body = 'deadly' WHERE id = 40");
	assert_int_equal(run(s, consumer, "careful stop"), 128 + SIGABRT);
	/* The first crash has told the row, and nothing before it is done again. */
	crashes_are(s, "40", "1");
	seen(s, "id < 40");
	assert_int_equal(crashes(s, consumer, "careful stop", &last), 2);
	assert_int_equal(last, 4);
	status_is(s, "stopped", "40", "row");
}

/* A row may end the machine, and not only the process: the next boot has another name. */
static void a_row_that_ends_the_machine_is_found(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	int boots = 0, last;

	make_deadly_source(s);
	while ((last = run(s, consumer, "park")) == 128 + SIGABRT) {
		assert_true(++boots < 20);
		scene_sql(s, "UPDATE catchup_lease SET boot = 'before %d'", boots);
	}
	assert_int_equal(last, 0);
	assert_int_equal(boots, 3);
	seen(s, "id <> 7");
	assert_int_equal(scene_number(s, "SELECT id FROM catchup_dead"), DEADLY);
	verify(s);
}

static void a_kill_from_outside_blames_no_row(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	struct program p = {.folder = s->folder};
	int last;

	make_source(s);
	add_rows(s, ROWS);
	for (int i = 0; i < 5; i++) {
		program_start(&p, "run", s->database, consumer, "--progress", "never");
		program_expect_err(&p, "started");
		add_rows(s, 100);
		scene_until(s, s->database, "SELECT last = (SELECT max(id) FROM jobs) FROM catchup");
		program_signal(&p, SIGKILL);
		assert_int_equal(program_finish(&p), 128 + SIGKILL);
		program_free(&p);
	}
	assert_int_equal(crashes(s, consumer, "park", &last), 0);
	assert_int_equal(last, 0);
	seen(s, "1");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	verify(s);
}

/* A process that has taken care, and is done with it, loses no crash: the row is tried as often. */
static void a_crash_after_care_is_counted(void **state)
{
	struct scene *s = *state;
	const char *consumer = module(s, "row");
	struct program p = {.folder = s->folder};
	int last;

	make_source(s);
	add_rows(s, 5);
	program_start(&p, "run", s->database, consumer, "--progress", "never");
	program_expect_err(&p, "started");
	scene_until(s, s->database, "SELECT last = 5 FROM catchup");
	program_signal(&p, SIGKILL);
	assert_int_equal(program_finish(&p), 128 + SIGKILL);
	program_free(&p);
	add_rows(s, 3);
	program_start(&p, "run", s->database, consumer, "--progress", "never", "--on-error", "park");
	program_expect_err(&p, "rows that it may have had in hand come one by one");
	scene_until(s, s->database, "SELECT last = 8 FROM catchup");
	assert_int_equal(scene_number(s, "SELECT attempt_row + attempt_fence FROM catchup_state"), 0);
	scene_sql(s, "INSERT INTO jobs(body) VALUES ('good'), ('deadly'), ('good')");
	assert_int_equal(program_finish(&p), 128 + SIGABRT);
	program_free(&p);
	assert_int_equal(crashes(s, consumer, "park", &last), 2);
	assert_int_equal(last, 0);
	seen(s, "body <> 'deadly'");
	assert_int_equal(scene_number(s, "SELECT attempts FROM catchup_dead WHERE id = 10"), 3);
	verify(s);
}

/* It has failed, and waits for its next try: its code does not run, so no kill is its fault. */
static void a_kill_beside_a_row_that_waits_blames_no_row(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	const char *consumer;

	make_source(s);
	add_rows(s, 10);
	scene_sql(s, "UPDATE jobs SET body = 'bad' WHERE id = %d", DEADLY);
	consumer = scene_file(s, "waits.sql",
		"-- name: waits\n-- source: jobs\n"
		"-- on-error: careful retry(100, 60000, 60000) park\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS seen(id INTEGER, body TEXT CHECK(body <> 'bad'));\n"
		"-- row\nINSERT INTO seen VALUES (@id, @body);\n");
	for (int i = 0; i < 4; i++) {
		program_start(&p, "run", s->database, consumer, "--progress", "never");
		program_expect_err(&p, "started");
		scene_until(s, s->database, "SELECT coalesce((SELECT attempt_row = 7 AND attempts = 1 AND"
			" attempt_fence = -%d FROM catchup_state), 0)", i + 1);
		program_signal(&p, SIGKILL);
		assert_int_equal(program_finish(&p), 128 + SIGKILL);
		program_free(&p);
	}
	scene_sql(s, "UPDATE jobs SET body = 'mended' WHERE id = %d", DEADLY);
	assert_int_equal(run(s, consumer, "careful park"), 0);
	seen(s, "1");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
	assert_int_equal(scene_number(s, "SELECT attempt_row FROM catchup_state"), 0);
	verify(s);
}

/* Longer than a statement may run: time in which the process is stopped is not the row's. */
static void a_process_stopped_in_a_row_blames_no_row(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	int64_t until_ms;
	int status;

	make_source(s);
	add_rows(s, 10);
	scene_sql(s, "UPDATE jobs SET body = 'stopping' WHERE id = 1");
	program_start(&p, "run", s->database, module(s, "row"), "--until-caught-up", "--progress", "never",
		"--on-error", "park", "--batch-ms", "1");
	assert_int_equal(waitpid(p.pid, &status, WUNTRACED), p.pid);
	assert_true(WIFSTOPPED(status));
	for (until_ms = help_now_ms() + 6000; help_now_ms() < until_ms;)
		help_pause();
	program_signal(&p, SIGCONT);
	if (program_finish(&p) != 0)
		fail_msg("ended with %d: %s", p.exit_code, p.err.text);
	program_free(&p);
	seen(s, "1");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM catchup_dead"), 0);
}

static void care_and_no_lease_exclude_each_other(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	make_source(s);
	assert_int_equal(program_run(&p, "run", s->database, module(s, "row"), "--until-caught-up",
				 "--on-error", "careful park", "--no-lease"), 2);
	help_expect(p.err.text, "on-error careful needs a lease");
	program_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(after_three_crashes_stop_stops),
		SCENE_TEST(a_row_that_crashes_is_named_before_it_is_blamed),
		SCENE_TEST(after_three_crashes_park_parks),
		SCENE_TEST(a_letter_that_crashed_is_passed_over),
		SCENE_TEST(a_key_that_crashed_is_parked_with_what_follows),
		SCENE_TEST(who_asks_for_care_has_each_row_marked_from_the_start),
		SCENE_TEST(a_row_that_ends_the_machine_is_found),
		SCENE_TEST(a_kill_from_outside_blames_no_row),
		SCENE_TEST(a_crash_after_care_is_counted),
		SCENE_TEST(a_kill_beside_a_row_that_waits_blames_no_row),
		SCENE_TEST(a_process_stopped_in_a_row_blames_no_row),
		SCENE_TEST(care_and_no_lease_exclude_each_other),
	};

	return cmocka_run_group_tests_name("rows that crash the process", tests, NULL, NULL);
}
