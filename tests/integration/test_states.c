/* SPDX-License-Identifier: MIT */
/*
 * Why a consumer is paused or stopped, as another process sees it: `status` while the runtime goes on in
 * this one, and after it has ended.
 */
#include "help.h"

#include "../skip.h"

#include <catchup/consumer.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a consumer whose row 2 fails as the test says ------------------------------------------------ */

static _Atomic int failure; /* a result code of SQLite, 0 for none */

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	int code = atomic_load(&failure);

	(void)state;
	if (code != 0 && sqlite3_column_int64(row, 0) == 2)
		return catchup_fail(ctx, code, "the test says %d", code);
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_consumer picky = {CATCHUP_CONSUMER_ABI, .name = "picky",
	.summary = "fails as it is told", .source = "numbers", .row = row};

static const struct catchup_consumer trying = {CATCHUP_CONSUMER_ABI, .name = "picky",
	.summary = "fails as it is told", .source = "numbers", .row = row,
	.on_error = "retry(1000000, 20, 20)"};

/* ---- what another process sees --------------------------------------------------------------------- */

/* Asks until the consumer is in this state, and returns what status says then. */
static struct program status_when(const char *database, const char *expected)
{
	int64_t deadline_ms = help_now_ms() + PATIENCE_MS;
	struct program p = {0};
	char *is;

	for (;;) {
		bool there;

		/* Until the consumer is known there is nothing to see. */
		if (program_run(&p, "status", database, "--json") == 0) {
			is = test_json(p.out.text, "$.consumers[0].state");
			there = is && strcmp(is, expected) == 0;
			free(is);
			if (there)
				return p;
		}
		if (help_now_ms() > deadline_ms)
			fail_msg("never %s: %s%s", expected, p.out.text, p.err.text);
		program_free(&p);
		help_pause();
	}
}

/* The same, with its reason; NULL for none. A reason has a time. */
static void state_is(const char *database, const char *state, const char *category, const char *row,
	const char *said)
{
	struct program p = status_when(database, state);
	char *since = test_json(p.out.text, "$.consumers[0].error_since");

	test_json_is(p.out.text, "$.consumers[0].error_category", category);
	test_json_is(p.out.text, "$.consumers[0].error_row", row);
	if (said)
		help_expect(p.out.text, said);
	else
		test_json_is(p.out.text, "$.consumers[0].last_error", NULL);
	assert_true((since != NULL) == (category != NULL));
	free(since);
	program_free(&p);
	if (!said)
		return;
	assert_int_equal(program_run(&p, "status", database), 0);
	help_expect(p.out.text, said);
	program_free(&p);
}

/* ---- pauses ----------------------------------------------------------------------------------------- */

static void every_pause_says_why_and_is_cleared(void **state)
{
	static const struct {
		int code;
		const char *category, *row;
	} cases[] = {
		{SQLITE_FULL, "full", "2"}, {SQLITE_BUSY, "busy", "2"}, {SQLITE_IOERR_WRITE, "io", "2"},
		{SQLITE_NOMEM, "memory", "2"}, {SQLITE_CONSTRAINT, "row", "2"},
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char said[64];

		snprintf(said, sizeof(said), "the test says %d", cases[i].code);
		scene_sql(s, "DROP TABLE IF EXISTS numbers; PRAGMA journal_mode = WAL; " NUMBERS);
		scene_sql(s, "INSERT INTO numbers(n) VALUES(1), (2), (3)");
		atomic_store(&failure, cases[i].code);
		scene_open(s, NULL);
		scene_add_table(s, cases[i].code == SQLITE_CONSTRAINT ? &trying : &picky);
		scene_start(s);
		state_is(s->database, "paused", cases[i].category, cases[i].row, said);
		atomic_store(&failure, 0);
		scene_wait(s);
		state_is(s->database, "caught-up", NULL, NULL, NULL);
		assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
		state_is(s->database, "idle", NULL, NULL, NULL);
		scene_sql(s, "DELETE FROM catchup");
	}
}

static void who_is_stopped_while_it_pauses_pauses_no_more(void **state)
{
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1), (2), (3)");
	atomic_store(&failure, SQLITE_FULL);
	scene_open(s, NULL);
	scene_add_table(s, &picky);
	scene_start(s);
	state_is(s->database, "paused", "full", "2", "the test says 13");
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	state_is(s->database, "idle", NULL, NULL, NULL);
}

/* The disk is full for a row, but not for a line about it: of the 3 MiB that are free two rows leave more
 * than a line takes, and the third fails when it is committed. */
static void a_full_disk_is_seen_from_outside(void **state)
{
	struct scene *s = *state;
	char *database = scene_path(s, "mount/app.db");
	char *ballast = scene_path(s, "mount/ballast");
	char *file = scene_file(s, "big.sql",
		"-- name: big\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS big(id INTEGER PRIMARY KEY, n);\n"
		"-- row\nINSERT INTO big VALUES(@id, randomblob(1200000));\n");
	struct program p = {0};
	static char block[1024];
	FILE *f;

	if (!scene_mount(s, "size=32m"))
		SKIP_BECAUSE("nothing can be mounted here");
	f = fopen(ballast, "w");
	for (int i = 0; i < 29 * 1024; i++)
		assert_int_equal(fwrite(block, 1, sizeof(block), f), sizeof(block));
	assert_int_equal(fclose(f), 0);
	test_sql(database, "PRAGMA journal_mode = WAL; " NUMBERS ";"
			   "INSERT INTO numbers(n) VALUES(1), (2), (3), (4), (5)");
	program_start(&p, "run", database, file, "--until-caught-up", "--batch-rows", "1");
	state_is(database, "paused", "full", NULL, "is full");
	assert_int_equal(unlink(ballast), 0);
	assert_int_equal(program_finish(&p), 0);
	help_expect(p.err.text, "goes on");
	program_free(&p);
	state_is(database, "idle", NULL, NULL, NULL);
}

/* ---- stops ------------------------------------------------------------------------------------------ */

static void a_stop_outlives_its_process_until_somebody_gets_further(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	char *since, *again;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE taken(n CHECK(n <> 2))");
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1), (2), (3)");
	scene_file(s, "take.sql", "-- name: take\n-- source: numbers\n-- row\nINSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 4);
	program_free(&p);
	state_is(s->database, "stopped", "row", "2", "CHECK constraint failed");
	since = scene_text(s, "SELECT since_ms FROM catchup_state");
	/* Once more, with the same end: it is stopped since the first time. */
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 4);
	program_free(&p);
	again = scene_text(s, "SELECT since_ms FROM catchup_state");
	assert_string_equal(since, again);
	assert_int_equal(program_run(&p, "wait", s->database, "--consumer", "take", "--until", "3"), 4);
	program_free(&p);
	scene_sql(s, "UPDATE numbers SET n = 4 WHERE id = 2");
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 0);
	program_free(&p);
	state_is(s->database, "idle", NULL, NULL, NULL);
}

static _Atomic int entered, let_go;

static int stay(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)ctx;
	(void)state;
	(void)row;
	atomic_store(&entered, 1);
	while (!atomic_load(&let_go))
		help_pause();
	return CATCHUP_ROW_APPLIED;
}

/* Before it has committed anything, which may take long. */
static void who_runs_again_is_not_what_it_was_before(void **state)
{
	static const struct catchup_consumer staying = {CATCHUP_CONSUMER_ABI, .name = "picky",
		.summary = "stays in its first row", .source = "numbers", .row = stay};
	static const struct {
		int before;
		int flags;
	} cases[] = {
		{CATCHUP_STATE_STOPPED, 0}, {CATCHUP_STATE_PAUSED, 0},
		{CATCHUP_STATE_STOPPED, CATCHUP_FLAG_NO_LEASE}, {CATCHUP_STATE_PAUSED, CATCHUP_FLAG_NO_LEASE},
	};
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1)");
	scene_open(s, NULL);
	scene_add_table(s, &picky);
	scene_start(s);
	scene_wait(s);
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct catchup_options options = {.flags = cases[i].flags};

		scene_sql(s, "UPDATE catchup_state SET state = %d, code = %d, category = 'full', message = 'full',"
			     " since_ms = 1; INSERT INTO numbers(n) VALUES(1)", cases[i].before, CATCHUP_FULL);
		atomic_store(&entered, 0);
		atomic_store(&let_go, 0);
		scene_open(s, &options);
		scene_add_table(s, &staying);
		scene_start(s);
		while (!atomic_load(&entered))
			help_pause();
		/* Who runs it without a lease is nobody that could be seen. */
		state_is(s->database, cases[i].flags ? "idle" : "running", NULL, NULL, NULL);
		program_run(&p, "verify", s->database);
		atomic_store(&let_go, 1);
		if (p.exit_code != 0 || strstr(p.out.text, "it is "))
			fail_msg("case %zu: %d: %s", i, p.exit_code, p.out.text);
		program_free(&p);
		scene_wait(s);
		assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
		state_is(s->database, "idle", NULL, NULL, NULL);
		assert_int_equal(scene_number(s, "SELECT code FROM catchup_state"), 0);
	}
}

/* Nothing is left to get further with. */
static void a_stop_is_over_when_its_row_is_gone(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE taken(n CHECK(n <> 2))");
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1), (2)");
	scene_file(s, "take.sql", "-- name: take\n-- source: numbers\n-- row\nINSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 4);
	program_free(&p);
	scene_sql(s, "DELETE FROM numbers WHERE id = 2");
	p.folder = s->folder;
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 0);
	program_free(&p);
	state_is(s->database, "idle", NULL, NULL, NULL);
}

/* One cause, one message: not once when it happens and once more at the end of the run. */
static void an_error_is_told_once(void **state)
{
	struct scene *s = *state;
	struct program p = {.folder = s->folder};
	const char *first;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE taken(n CHECK(n <> 2))");
	scene_sql(s, "INSERT INTO numbers(n) VALUES(1), (2)");
	scene_file(s, "take.sql", "-- name: take\n-- source: numbers\n-- row\nINSERT INTO taken VALUES(@n);\n");
	assert_int_equal(program_run(&p, "run", s->database, "take.sql", "--until-caught-up"), 4);
	first = strstr(p.err.text, "CHECK constraint failed");
	assert_non_null(first);
	if (strstr(first + 1, "CHECK constraint failed"))
		fail_msg("told twice: %s", p.err.text);
	program_free(&p);
}

/* One meets a bad row (4), the other's source goes backwards (6): which comes first does not matter. */
static void of_several_stops_the_worst_counts(void **state)
{
	static const char *const does[] = {"INSERT INTO numbers(n) VALUES(2)", "DELETE FROM pages"};
	static const char *const said[] = {"consumer 'take' stopped at row 2 ", "consumer 'read' stopped "};
	struct scene *s = *state;

	scene_file(s, "take.sql", "-- name: take\n-- source: numbers\n-- row\nINSERT INTO taken VALUES(@n);\n");
	scene_file(s, "read.sql", "-- name: read\n-- source: pages\n-- row\nINSERT INTO taken VALUES(@id);\n");
	for (int first = 0; first < 2; first++) {
		struct program p = {.folder = s->folder};

		scene_sql(s, "DROP TABLE IF EXISTS numbers; DROP TABLE IF EXISTS pages;"
			     "DROP TABLE IF EXISTS taken; PRAGMA journal_mode = WAL; " NUMBERS ";"
			     "CREATE TABLE pages(id INTEGER PRIMARY KEY); CREATE TABLE taken(n CHECK(n <> 2));"
			     "INSERT INTO numbers(n) VALUES(1); INSERT INTO pages VALUES(1)");
		program_start(&p, "run", s->database, "take.sql", "read.sql");
		program_expect_err(&p, "started");
		scene_until(s, s->database, "SELECT count(*) = 2 AND min(last) = 1 FROM catchup");
		scene_sql(s, "%s", does[first]);
		program_expect_err(&p, said[first]);
		scene_sql(s, "%s", does[!first]);
		if (program_finish(&p) != 6)
			fail_msg("ended with %d: %s", p.exit_code, p.err.text);
		help_expect(p.err.text, said[!first]);
		program_free(&p);
		scene_sql(s, "DELETE FROM catchup; DELETE FROM catchup_state; DELETE FROM catchup_lease");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(every_pause_says_why_and_is_cleared),
		SCENE_TEST(who_is_stopped_while_it_pauses_pauses_no_more),
		SCENE_TEST(a_full_disk_is_seen_from_outside),
		SCENE_TEST(a_stop_outlives_its_process_until_somebody_gets_further),
		SCENE_TEST(who_runs_again_is_not_what_it_was_before),
		SCENE_TEST(a_stop_is_over_when_its_row_is_gone),
		SCENE_TEST(an_error_is_told_once),
		SCENE_TEST(of_several_stops_the_worst_counts),
	};

	return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
