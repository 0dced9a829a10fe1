/* SPDX-License-Identifier: MIT */
/*
 * Bad input: the command line, the environment, the process and the machine. What the command line
 * itself refuses is in test_cli.c and test_cli_run.c; here is what reaches the runtime.
 */
#include "help.h"

#include "../skip.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

/* "the same consumer name twice" */
static void a_name_is_used_once(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *again = scene_file(s, "again.sql", COPIES);
	struct program p = {0};

	scene_sql(s, NUMBERS);
	assert_int_equal(program_run(&p, "run", s->database, file, again, "--until-caught-up"), 2);
	help_expect(p.err.text, "'copies'");
	program_free(&p);
	assert_int_equal(help_watermark(s->database, "copies"), -1);
}

/* "names of 1 MiB, with quotes, semicolons, control characters (bound or quoted, never spliced; escaped
 * in every output)" */
static void names_are_only_names(void **state)
{
	static const char odd[] = "a'; DROP TABLE numbers; --\"\x1b[31m\x01";
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *odd_name, *long_name, *long_file = malloc((1 << 20) + 1024);
	char *wide;
	struct program p = {0};

	/* Quotes in a name of the command line are part of it; so is all else but a comma. */
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 3);
	assert_true(asprintf(&odd_name, "-- name: %s\n%s", odd, strchr(COPIES, '\n') + 1) > 0);
	test_write_file(file, odd_name);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	assert_null(strchr(p.err.text, '\x1b'));
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	assert_null(strchr(p.out.text, '\x1b'));
	help_expect(p.out.text, "DROP TABLE numbers");
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].name", odd);
	test_json_is(p.out.text, "$.consumers[0].watermark", "3");
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), 3);
	/* Each line of a log of JSON is a document, whatever the name is. */
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up", "--log-format", "json",
				 "--log-level", "debug"), 0);
	help_expect(p.err.text, "DROP TABLE numbers");
	for (char *line = strtok(p.err.text, "\n"); line; line = strtok(NULL, "\n"))
		free(test_json(line, "$.subject"));
	program_free(&p);
	free(odd_name);

	long_name = long_file + sprintf(long_file, "-- name: ");
	memset(long_name, 'x', 1 << 20);
	strcpy(long_name + (1 << 20), "\n-- source: numbers\n-- row\nINSERT INTO copy VALUES(@id + 10, 1);\n");
	test_write_file(file, long_file);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT last FROM catchup WHERE length(name) = 1048576"), 3);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	program_free(&p);
	/* One byte more is too much. */
	wide = malloc((1 << 20) + 1024);
	sprintf(wide, "-- name: y%s", long_name);
	test_write_file(file, wide);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 2);
	program_free(&p);
	free(wide);
	free(long_file);
}

#ifndef SANITIZED /* which needs terabytes of addresses, and descriptors to tell names */
/* It may go on with so little, or say so at once, or say that it waits for more; then it is stopped. It
 * does not crash, and it does not hang. */
static void run_with_little(struct scene *s, struct program *p, const char *file, const char *what,
	unsigned n)
{
	program_start(p, "run", s->database, file, "--until-caught-up", "--busy-ms", "100");
	if (program_says(p, "trying again"))
		program_signal(p, SIGTERM);
	program_finish(p);
	/* The loader says 127 when not even the libraries fit; a signal may come before it is minded. */
	if (p->exit_code != 0 && p->exit_code != 1 && p->exit_code != 127)
		fail_msg("%u %s: exit code %d: %s", n, what, p->exit_code, p->err.text);
	if (p->exit_code == 1 && p->err.text[0] == '\0')
		fail_msg("%u %s: not a word", n, what);
	program_free(p);
}
#endif

/* "closed standard input, output or error at start (descriptors 0 to 2 are opened on /dev/null first)":
 * else a database would get one of these numbers, and log lines would be written into it. */
static void closed_descriptors_are_not_the_databases(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	struct program p = {.closed = true};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 100);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up", "--log-level",
				 "debug"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 100);
	assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
}

/* "8 file descriptors, tiny address space": it says what is missing, and nothing is half done. */
static void small_limits_are_told_and_lose_nothing(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 20000);
#ifndef SANITIZED
	for (unsigned files = 4; files < 40; files += 2) {
		p.files = files;
		run_with_little(s, &p, file, "descriptors", files);
	}
	for (unsigned mib = 12; mib < 80; mib += 8) {
		p.address_bytes = mib << 20;
		run_with_little(s, &p, file, "MiB of addresses", mib);
	}
#endif
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 20000);
	assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
}

/* "disk full and free again (pause, say so, go on)" */
static void a_full_disk_is_waited_for(void **state)
{
	struct scene *s = *state;
	char *database = scene_path(s, "mount/app.db");
	char *ballast = scene_path(s, "mount/ballast");
	char *file = scene_file(s, "big.sql",
		"-- name: big\n-- source: numbers\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS big(id INTEGER PRIMARY KEY, n);\n"
		"-- row\nINSERT INTO big VALUES(@id, randomblob(10000));\n");
	struct program p = {0};
	FILE *f;

	if (!scene_mount(s, "size=12m"))
		SKIP_BECAUSE("nothing can be mounted here");
	/* What fills the disk is there before, and goes while the consumer waits. */
	f = fopen(ballast, "w");
	for (int i = 0; i < 9 * 1024 * 8; i++)
		assert_int_equal(fwrite(COPIES, 1, 128, f), 128);
	assert_int_equal(fclose(f), 0);
	test_sql(database, "PRAGMA journal_mode = WAL; " NUMBERS ";"
			   "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 300)"
			   " INSERT INTO numbers(n) SELECT i FROM c");
	program_start(&p, "run", database, file, "--until-caught-up", "--batch-rows", "10");
	program_expect_err(&p, "paused at watermark");
	assert_in_range(help_watermark(database, "big"), 0, 299);
	assert_int_equal(test_number(database, "SELECT (SELECT count(*) FROM big) = last FROM catchup"), 1);
	assert_int_equal(unlink(ballast), 0);
	program_finish(&p);
	help_expect(p.err.text, "goes on");
	assert_int_equal(p.exit_code, 0);
	program_free(&p);
	assert_int_equal(help_watermark(database, "big"), 300);
	assert_int_equal(test_number(database, "SELECT count(*) FROM big"), 300);
}

/* "SIGTERM twice, SIGHUP, SIGPIPE, SIGSTOP and SIGCONT": the first two are in test_cli_signals.c */
static void signals_that_are_no_request_do_no_harm(void **state)
{
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	program_start(&p, "run", s->database, scene_file(s, "copies.sql", COPIES), "--batch-rows", "10");
	program_expect_err(&p, "follows 'numbers'");
	for (int i = 1; i <= 20; i++) {
		scene_insert(s, 100);
		program_signal(&p, i % 2 ? SIGPIPE : SIGWINCH);
		program_signal(&p, SIGSTOP);
		program_signal(&p, SIGCONT);
		scene_until(s, s->database, "SELECT last = %d FROM catchup", 100 * i);
	}
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 2000);
}

/* "signals during start": a start that takes long ends soon, without a word of an error; `setup` is
 * undone, and a second signal is not needed. By themselves these would end after ten minutes, or after half
 * a minute with an error. */
static void a_signal_ends_a_start_that_takes_long(void **state)
{
	static const char endless[] = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)";
	struct scene *s = *state;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 10);
	scene_sql(s, "CREATE VIEW endless AS %s SELECT i AS id, 1 AS n FROM c", endless);
	for (int i = 0; i < 2; i++) {
		struct program p = {0};
		char *file, *text;

		/* In `setup`; and where the view is looked at. */
		assert_true(asprintf(&text, "-- name: copies\n-- source: %s\n-- id: id\n-- setup\n"
					    "CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"
					    "%s%s;\n-- row\nINSERT INTO copy VALUES(@id, @n);\n",
				    i ? "endless" : "numbers", i ? "" : "INSERT INTO copy ",
				    i ? "" : "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
					     " SELECT max(i), 1 FROM c") > 0);
		file = scene_file(s, "copies.sql", text);
		free(text);
		program_start(&p, "run", s->database, file);
		program_expect_err(&p, "info  catchup ");
		program_signal(&p, SIGTERM);
		assert_int_equal(program_finish(&p), 0);
		assert_null(strstr(p.err.text, "error"));
		program_free(&p);
		assert_true(help_watermark(s->database, "copies") <= 0);
	}
	assert_int_equal(scene_number(s, "SELECT count(*) FROM sqlite_schema WHERE name = 'copy'") > 0
			? scene_number(s, "SELECT count(*) FROM copy") : 0, 0);
}

/* "output pipe closed by the reader": it ends quietly, as others do in a pipe, and loses nothing. */
static void a_log_that_nobody_reads_ends_it_without_loss(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	program_start(&p, "run", s->database, file);
	scene_insert(s, 10);
	program_expect_err(&p, "follows 'numbers'");
	scene_until(s, s->database, "SELECT last = 10 FROM catchup");
	close(p.err.fd);
	p.err.fd = -1;
	scene_insert(s, 100);
	program_signal(&p, SIGTERM); /* of which it has something to say, if nothing came before */
	assert_int_equal(program_finish(&p), 128 + SIGPIPE);
	program_free(&p);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 110);
}

/* "a second copy with the same consumers (design.md, rule 2)": it waits, and takes over when the first
 * ends, whichever way that is */
static void a_second_copy_waits_and_takes_over(void **state)
{
	static const int ends[] = {SIGTERM, SIGKILL};
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	int rows = 0;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct program one = {0}, two = {0};

		program_start(&one, "run", s->database, file, "--lease-ms", "3600000");
		program_expect_err(&one, "follows 'numbers'");
		program_start(&two, "run", s->database, file);
		program_expect_err(&two, "is run by process ");
		scene_insert(s, 50);
		rows += 50;
		scene_until(s, s->database, "SELECT last = %d FROM catchup", rows);
		program_signal(&one, ends[i]);
		assert_int_equal(program_finish(&one), i == 0 ? 0 : 128 + SIGKILL);
		scene_insert(s, 50);
		rows += 50;
		program_expect_err(&two, "follows 'numbers'");
		scene_until(s, s->database, "SELECT last = %d FROM catchup", rows);
		program_signal(&two, SIGTERM);
		assert_int_equal(program_finish(&two), 0);
		program_free(&one);
		program_free(&two);
	}
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_name_is_used_once),
		SCENE_TEST(names_are_only_names),
		SCENE_TEST(closed_descriptors_are_not_the_databases),
		SCENE_TEST(small_limits_are_told_and_lose_nothing),
		SCENE_TEST(a_full_disk_is_waited_for),
		SCENE_TEST(signals_that_are_no_request_do_no_harm),
		SCENE_TEST(a_signal_ends_a_start_that_takes_long),
		SCENE_TEST(a_log_that_nobody_reads_ends_it_without_loss),
		SCENE_TEST(a_second_copy_waits_and_takes_over),
	};

	return cmocka_run_group_tests_name("rules_input_machine", tests, NULL, NULL);
}
