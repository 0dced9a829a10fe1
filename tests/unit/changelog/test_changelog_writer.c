/* SPDX-License-Identifier: MIT */
/*
 * The changelog writer: its lines, its sequence across restarts, torn ends, rotation, full disks; an
 * iterator reads along.
 */
#include "changelog_story.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WRITER(...) ((struct catchup_changelog_writer_options){__VA_ARGS__})

static void read_file(const char *name, char *to, size_t bytes)
{
	FILE *f = fopen(in_folder(name), "r");
	size_t n;

	assert_non_null(f);
	n = fread(to, 1, bytes - 1, f);
	to[n] = '\0';
	fclose(f);
}

static void writes_lines_as_ctlstore_does(void **state)
{
	struct catchup_key keys[] = {
		{.name = "a", .type = "int", .kind = CATCHUP_KEY_INT, .integer = INT64_MIN},
		{.name = "b", .type = "text", .kind = CATCHUP_KEY_TEXT, .text = "<\n\0>", .text_bytes = 4},
		{.name = "c", .type = "real", .kind = CATCHUP_KEY_DOUBLE, .real = 0.25},
		{.name = "d", .type = "bool", .kind = CATCHUP_KEY_BOOL, .integer = 1},
		{.name = "e", .type = "null", .kind = CATCHUP_KEY_NULL},
	};
	struct catchup_changelog_writer *w = open_writer(WRITER(.sync = 1));
	char text[1024];

	(void)state;
	assert_int_equal(catchup_changelog_writer_append(w, "fam", "foo", keys, 5, NULL, NULL), 0);
	read_file("log", text, sizeof(text));
	assert_string_equal(text, "");
	flush(w);
	read_file("log", text, sizeof(text));
	assert_string_equal(text,
		"{\"seq\":1,\"family\":\"fam\",\"table\":\"foo\",\"key\":["
		"{\"name\":\"a\",\"type\":\"int\",\"value\":-9223372036854775808},"
		"{\"name\":\"b\",\"type\":\"text\",\"value\":\"\\u003c\\n\\u0000\\u003e\"},"
		"{\"name\":\"c\",\"type\":\"real\",\"value\":0.25},"
		"{\"name\":\"d\",\"type\":\"bool\",\"value\":true},"
		"{\"name\":\"e\",\"type\":\"null\",\"value\":null}]}\n");
	catchup_changelog_writer_close(w);
}

static void takes_its_sequence_up_again(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(0));
	struct catchup_iterator *it = open_log((struct catchup_iterator_options){0});

	(void)state;
	assert_int_equal(append(w, 1), 1);
	assert_int_equal(append(w, 2), 2);
	flush(w);
	/* Not flushed: never written. */
	assert_int_equal(append(w, 3), 3);
	catchup_changelog_writer_close(w);
	w = open_writer(WRITER(.after_sequence = 1));
	assert_int_equal(catchup_changelog_writer_sequence(w), 2);
	assert_int_equal(append(w, 3), 3);
	flush(w);
	assert_int_equal(append(w, 4), 4);
	assert_int_equal(append(w, 5), 5);
	/* A transaction that was rolled back. */
	catchup_changelog_writer_discard(w);
	assert_int_equal(catchup_changelog_writer_sequence(w), 3);
	assert_int_equal(append(w, 4), 4);
	flush(w);
	catchup_changelog_writer_close(w);
	/* The database remembers more than the file has: events were lost, and that shows. */
	w = open_writer(WRITER(.after_sequence = 9));
	assert_int_equal(append(w, 10), 10);
	flush(w);
	catchup_changelog_writer_close(w);
	expect_story(it, "1 2 3 4 gap(5,10) 10");
	catchup_iterator_close(it);
}

static void closes_a_torn_line_off(void **state)
{
	struct catchup_changelog_writer *w;
	struct catchup_iterator *it;

	(void)state;
	append_events("log", 1, 2, NULL);
	append_file("log", "{\"seq\":3,\"family\":\"f");
	it = open_log((struct catchup_iterator_options){0});
	w = open_writer(WRITER(0));
	assert_int_equal(append(w, 3), 3);
	flush(w);
	expect_story(it, "1 2 bad 3");
	catchup_changelog_writer_close(w);
	/* Only the newline is missing: the event counts. */
	append_file("log", event_line(4, NULL));
	w = open_writer(WRITER(0));
	assert_int_equal(append(w, 5), 5);
	flush(w);
	expect_story(it, "4 5");
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

static void rotates_by_size_and_keeps_what_it_should(void **state)
{
	struct catchup_changelog_writer *w =
		open_writer(WRITER(.rotate_bytes = 4096, .keep = 2));
	struct catchup_iterator *it = open_log((struct catchup_iterator_options){0});
	struct stat st;

	(void)state;
	for (int64_t i = 1; i <= 500; i++) {
		char text[32];

		assert_int_equal(append(w, i), i);
		flush(w);
		snprintf(text, sizeof(text), "%d", (int)i);
		expect_story(it, text);
	}
	expect_quiet(it);
	for (int i = 0; i < 3; i++) {
		static const char *const names[] = {"log", "log.1", "log.2"};

		assert_int_equal(stat(in_folder(names[i]), &st), 0);
		assert_in_range(st.st_size, 1, 4096);
	}
	assert_int_not_equal(stat(in_folder("log.3"), &st), 0);
	assert_int_not_equal(stat(in_folder("log.new"), &st), 0);
	catchup_changelog_writer_close(w);
	/* Whatever became of the file: the one rotated last says where the sequence stands. */
	unlink(in_folder("log"));
	w = open_writer(WRITER(.rotate_bytes = 4096, .keep = 2));
	assert_in_range(catchup_changelog_writer_sequence(w), 400, 499);
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

static void keeps_no_file_when_none_is_asked_for(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(.rotate_bytes = 4096));
	struct catchup_iterator *it =
		open_log((struct catchup_iterator_options){.on_full = CATCHUP_ON_FULL_WAIT});
	struct stat st;

	(void)state;
	for (int64_t i = 1; i <= 200; i++) {
		char text[32];

		append(w, i);
		flush(w);
		snprintf(text, sizeof(text), "%d", (int)i);
		expect_story(it, text);
	}
	assert_int_not_equal(stat(in_folder("log.1"), &st), 0);
	catchup_changelog_writer_close(w);
	w = open_writer(WRITER(0));
	assert_int_equal(catchup_changelog_writer_sequence(w), 200);
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

static void goes_on_when_others_rotate(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(0));
	struct catchup_iterator *it = open_log((struct catchup_iterator_options){0});

	(void)state;
	append(w, 1);
	flush(w);
	rename_file("log", "log.old");
	append(w, 2);
	flush(w);
	expect_story(it, "1 2");
	truncate_file("log", 0);
	append(w, 3);
	flush(w);
	expect_story(it, "3");
	append_file("log", "torn");
	append(w, 4);
	flush(w);
	expect_story(it, "bad 4");
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

static void a_full_disk_tears_nothing(void **state)
{
	struct catchup_error error;
	struct catchup_changelog_writer *w = open_writer(WRITER(0));
	struct catchup_iterator *it = open_log((struct catchup_iterator_options){0});
	struct rlimit before, small;
	struct stat st;

	(void)state;
	/* A limit on the file's size stands in for the disk. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = before;
	small.rlim_cur = 200;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (int64_t i = 1; i <= 5; i++)
		append(w, i);
	assert_int_equal(catchup_changelog_writer_flush(w, &error), CATCHUP_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(stat(in_folder("log"), &st), 0);
	assert_true(st.st_size > 0 && st.st_size <= 200);
	flush(w);
	expect_story(it, "1 2 3 4 5");
	expect_quiet(it);
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

static void what_cannot_be_written_is_refused(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(.after_sequence = INT64_MAX - 1));
	struct catchup_key key = {.name = "a", .type = "t", .kind = CATCHUP_KEY_DOUBLE, .real = NAN};
	struct catchup_error error;

	(void)state;
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", "t", &key, 1, NULL, &error), CATCHUP_USAGE);
	key = (struct catchup_key){.name = "a", .type = "t", .kind = CATCHUP_KEY_TEXT, .text = "\xff",
		.text_bytes = 1};
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", "t", &key, 1, NULL, &error), CATCHUP_USAGE);
	key.kind = 17;
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", "t", &key, 1, NULL, &error), CATCHUP_USAGE);
	assert_string_equal(error.message, "changelog event: key 'a' is of the unknown kind 17");
	assert_int_equal(catchup_changelog_writer_append(w, "\xc3", "t", NULL, 0, NULL, &error),
		CATCHUP_USAGE);
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", NULL, NULL, 0, NULL, &error), CATCHUP_USAGE);
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", "t", NULL, 0, NULL, &error), CATCHUP_OK);
	assert_int_equal(
		catchup_changelog_writer_append(w, "f", "t", NULL, 0, NULL, &error), CATCHUP_USAGE);
	catchup_changelog_writer_close(w);
}

static void expect_refused(
	struct catchup_changelog_writer_options options, int code, const char *words)
{
	struct catchup_changelog_writer *w;
	struct catchup_error error = {0};

	options.size = sizeof(options);
	assert_int_equal(catchup_changelog_writer_open(&options, &w, &error), code);
	assert_null(w);
	if (!strstr(error.message, words))
		fail_msg("'%s' has no '%s'", error.message, words);
}

static void what_is_no_changelog_is_not_written(void **state)
{
	const char *databases[] = {in_folder("app.db"), NULL};

	(void)state;
	expect_refused(WRITER(.path = ""), CATCHUP_USAGE, "path is empty");
	expect_refused(WRITER(.path = in_folder("no/log")), CATCHUP_IO, "No such file");
	expect_refused(WRITER(.path = in_folder(".")), CATCHUP_USAGE, "is a folder");
	put_file("app.db", "SQLite format 3");
	expect_refused(WRITER(.path = in_folder("app.db"), .databases = databases), CATCHUP_USAGE,
		"which is open");
	truncate_file("app.db", 16);
	expect_refused(WRITER(.path = in_folder("app.db")), CATCHUP_USAGE, "is a SQLite database");
	expect_refused(WRITER(.path = in_folder("log"), .rotate_bytes = 1), CATCHUP_USAGE,
		"'rotate_bytes': 1 is below the minimum 4096");
	expect_refused(WRITER(.path = in_folder("log"), .keep = 1001), CATCHUP_USAGE,
		"'keep': 1001 is above the maximum 1000");
	expect_refused(WRITER(.path = in_folder("log"), .after_sequence = -5), CATCHUP_USAGE,
		"'after_sequence': -5");
}

static void expect_locked(void)
{
	expect_refused(WRITER(.path = in_folder("log")), CATCHUP_LOCKED, "another writer has it open");
}

static void there_is_one_writer_at_a_time(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(.rotate_bytes = 4096, .keep = 2));
	struct catchup_iterator *it;

	(void)state;
	expect_locked();
	append(w, 1);
	flush(w);
	/* A reader is not kept out, and takes nothing of the lock with it when it goes. */
	it = open_log((struct catchup_iterator_options){0});
	expect_story(it, "1");
	catchup_iterator_close(it);
	expect_locked();
	/* Over into other files. */
	for (int64_t i = 2; i <= 200; i++) {
		append(w, i);
		flush(w);
	}
	assert_int_equal(access(in_folder("log.2"), F_OK), 0);
	expect_locked();
	catchup_changelog_writer_close(w);
	w = open_writer(WRITER(0));
	assert_int_equal(append(w, 1), 201);
	catchup_changelog_writer_close(w);
}

static void a_name_that_another_writer_took_is_refused(void **state)
{
	struct catchup_changelog_writer *w = open_writer(WRITER(0)), *other;
	struct catchup_error error;

	(void)state;
	append(w, 1);
	flush(w);
	/* Somebody moves the file away, and a writer comes that finds none. */
	rename_file("log", "log.1");
	other = open_writer(WRITER(0));
	assert_int_equal(append(other, 1), 2);
	flush(other);
	append(w, 2);
	assert_int_equal(catchup_changelog_writer_flush(w, &error), CATCHUP_LOCKED);
	catchup_changelog_writer_close(other);
	flush(w);
	catchup_changelog_writer_close(w);
}

static void a_writer_that_is_killed_leaves_no_lock(void **state)
{
	struct catchup_changelog_writer *w;
	int ready[2], status;
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		w = open_writer(WRITER(0));
		append(w, 1);
		flush(w);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	expect_locked();
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(ready[0]);
	close(ready[1]);
	w = open_writer(WRITER(0));
	assert_int_equal(append(w, 1), 2);
	catchup_changelog_writer_close(w);
}

static void write_without_end(void)
{
	struct catchup_changelog_writer *w =
		open_writer(WRITER(.rotate_bytes = 16384, .keep = 1));

	for (int64_t i = 0;; i++) {
		append(w, i);
		if (i % 7 == 0)
			flush(w);
	}
}

static void killed_anywhere_nothing_is_missing_in_silence(void **state)
{
	struct catchup_iterator *it;
	const struct catchup_next *next;
	int64_t last = 0;
	int results[8] = {0};

	(void)state;
	put_file("log", "");
	it = open_log((struct catchup_iterator_options){.on_full = CATCHUP_ON_FULL_WAIT});
	for (int round = 0; round < 15; round++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (child == 0) {
			write_without_end();
			_exit(1);
		}
		/* The kill falls anywhere after so many events have come. */
		for (int i = 0; i < 200 + 37 * round; i++) {
			int result = catchup_iterator_next(it, PATIENCE_MS, &next);

			results[result]++;
			if (result == CATCHUP_NEXT_OUT_OF_SYNC) {
				assert_true(next->sync.expected == last + 1);
				last = next->sync.got - 1;
			} else if (result == CATCHUP_NEXT_EVENT) {
				assert_true(next->event->sequence == last + 1);
				last = next->event->sequence;
			}
		}
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	assert_true(results[CATCHUP_NEXT_EVENT] > 1000);
	assert_int_equal(results[CATCHUP_NEXT_TIMEOUT] + results[CATCHUP_NEXT_ERROR], 0);
	catchup_iterator_close(it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(writes_lines_as_ctlstore_does),
		STORY(takes_its_sequence_up_again),
		STORY(closes_a_torn_line_off),
		STORY(rotates_by_size_and_keeps_what_it_should),
		STORY(keeps_no_file_when_none_is_asked_for),
		STORY(goes_on_when_others_rotate),
		STORY(a_full_disk_tears_nothing),
		STORY(what_cannot_be_written_is_refused),
		STORY(what_is_no_changelog_is_not_written),
		STORY(there_is_one_writer_at_a_time),
		STORY(a_name_that_another_writer_took_is_refused),
		STORY(a_writer_that_is_killed_leaves_no_lock),
		STORY(killed_anywhere_nothing_is_missing_in_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
