/* SPDX-License-Identifier: MIT */
/*
 * catchup changelog follow on real files.
 */
#include "program.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LINE(seq, table, id)                                                                       \
	"{\"seq\":" seq ",\"family\":\"fam\",\"table\":\"" table "\",\"key\":[{\"name\":\"id\"," \
	"\"type\":\"int\",\"value\":" id "}]}\n"

struct fixture {
	char *folder;
	char *path;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->folder = test_folder_make();
	f->path = test_path(f->folder, "changelog");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	test_folder_remove(f->folder);
	free(f->path);
	free(f);
	return 0;
}

static void prints_events_as_they_stand_in_the_file(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	test_write_file(f->path, LINE("1", "foo", "9007199254740993") LINE("2", "bar", "-1")
		LINE("3", "Foo", "9223372036854775807"));
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--count", "3"), 0);
	assert_string_equal(p.out.text, LINE("1", "foo", "9007199254740993") LINE("2", "bar", "-1")
		LINE("3", "Foo", "9223372036854775807"));
	assert_string_equal(p.err.text, "");
	program_free(&p);
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--count", "2", "--table",
				 "FOO", "--family", "FAM"), 0);
	assert_string_equal(p.out.text, LINE("1", "foo", "9007199254740993")
		LINE("3", "Foo", "9223372036854775807"));
	program_free(&p);
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--count", "1",
				 "--after-seq", "1"), 0);
	assert_string_equal(p.out.text, LINE("2", "bar", "-1"));
	program_free(&p);
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--count", "0"), 0);
	assert_string_equal(p.out.text, "");
	program_free(&p);
}

static void tells_gaps_before_the_event_and_bad_lines(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};
	const char *rest;

	test_write_file(f->path, LINE("1", "foo", "1") "no event\n" LINE("5", "foo", "2"));
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--count", "2"), 0);
	rest = p.out.text;
	assert_memory_equal(rest, LINE("1", "foo", "1"), strlen(LINE("1", "foo", "1")));
	rest += strlen(LINE("1", "foo", "1"));
	assert_memory_equal(rest, "{\"bad_line\":true,\"message\":\"", 28);
	rest = strchr(rest, '\n') + 1;
	assert_string_equal(rest, "{\"out_of_sync\":true,\"reason\":\"gap\",\"expected\":\"2\",\"seq\":\"5\"}\n"
		LINE("5", "foo", "2"));
	program_free(&p);
}

static void follows_what_is_written_later_until_a_signal(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct program p = {0};

		test_write_file(f->path, LINE("1", "foo", "1"));
		program_start(&p, "changelog", "follow", f->path);
		program_expect_out(&p, LINE("1", "foo", "1"));
		test_append_file(f->path, LINE("2", "foo", "2"));
		program_expect_out(&p, LINE("2", "foo", "2"));
		program_signal(&p, signals[i]);
		assert_int_equal(program_finish(&p), 0);
		program_free(&p);
	}
}

/* What the file is does not pass, for whoever follows it; that it is not there may. */
static void what_is_no_changelog_is_wrong_usage(void **state)
{
	struct fixture *f = *state;
	char *database = test_path(f->folder, "app.db");
	char *fifo = test_path(f->folder, "fifo");
	const char *const wrong[][2] = {{f->folder, "is a folder"}, {fifo, "is a FIFO"}, {"/dev/null", "is a device"},
		{database, "is a SQLite database"}};
	struct program p = {0};

	assert_int_equal(mkfifo(fifo, 0600), 0);
	test_sql(database, "CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(program_run(&p, "changelog", "follow", wrong[i][0]), 2);
		assert_non_null(strstr(p.err.text, wrong[i][1]));
		program_free(&p);
		if (wrong[i][0] == database)
			continue;
		assert_int_equal(program_run(&p, "run", database, "user_names", "--changelog", wrong[i][0]), 2);
		assert_non_null(strstr(p.err.text, wrong[i][1]));
		program_free(&p);
	}
	assert_int_equal(program_run(&p, "changelog", "follow", f->path), 1);
	assert_non_null(strstr(p.err.text, "No such file"));
	program_free(&p);
	free(fifo);
	free(database);
}

/* The file ends before the sequence: it went back. */
static void tells_that_the_file_does_not_reach_a_sequence(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	test_write_file(f->path, LINE("1", "foo", "1") LINE("2", "foo", "2"));
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--after-seq", "10", "--count", "1"), 0);
	assert_string_equal(p.out.text, "{\"out_of_sync\":true,\"reason\":\"gap\",\"expected\":\"11\",\"seq\":\"2\"}\n"
		LINE("2", "foo", "2"));
	program_free(&p);
}

/* There is nothing to write that would show it; it is noticed all the same. */
static void ends_when_its_reader_is_gone(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	test_write_file(f->path, LINE("1", "foo", "1"));
	program_start(&p, "changelog", "follow", f->path);
	program_expect_out(&p, LINE("1", "foo", "1"));
	program_close_out(&p);
	assert_int_equal(program_finish(&p), 128 + SIGPIPE);
	assert_string_equal(p.err.text, "");
	program_free(&p);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct program p = {0};

	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--ring-slots", "100"), 1);
	assert_non_null(strstr(p.err.text, "100 is rounded up to 128"));
	assert_non_null(strstr(p.err.text, f->path));
	program_free(&p);
	assert_int_equal(program_run(&p, "changelog", "follow", f->path, "--on-full", "drop"), 2);
	program_free(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prints_events_as_they_stand_in_the_file),
		TEST(what_is_no_changelog_is_wrong_usage),
		TEST(tells_that_the_file_does_not_reach_a_sequence),
		TEST(tells_gaps_before_the_event_and_bad_lines),
		TEST(follows_what_is_written_later_until_a_signal),
		TEST(ends_when_its_reader_is_gone),
		TEST(a_file_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests_name("cli_follow", tests, NULL, NULL);
}
