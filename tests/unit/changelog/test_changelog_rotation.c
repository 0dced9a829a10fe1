/* SPDX-License-Identifier: MIT */
/*
 * Rotation in all its kinds, told as stories: nothing is lost or doubled while the reader keeps up,
 * and what is lost is told.
 */
#include "../../skip.h"
#include "changelog_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct catchup_iterator *open_after(long last)
{
	struct catchup_iterator *it;

	put_file("log", "");
	append_events("log", 1, last, NULL);
	it = open_log(OPTIONS(0));
	for (long i = 1; i <= last; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%ld", i);
		expect_story(it, text);
	}
	return it;
}

/* "deleted"; "same inode reused" */
static void deleted_and_made_anew(void **state)
{
	struct catchup_iterator *it = open_after(2);

	(void)state;
	/* What is written just before goes to the old file, unread as yet. */
	append_events("log", 3, 4, NULL);
	unlink(in_folder("log"));
	append_events("log", 5, 6, NULL);
	expect_story(it, "3 4 5 6");
	append_events("log", 7, 7, NULL);
	expect_story(it, "7");
	expect_quiet(it);
	catchup_iterator_close(it);
}

/* "renamed" */
static void renamed_and_made_anew(void **state)
{
	struct catchup_iterator *it = open_after(2);

	(void)state;
	append_events("log", 3, 4, NULL);
	rename_file("log", "log.1");
	append_events("log", 5, 6, NULL);
	expect_story(it, "3 4 5 6");
	expect_quiet(it);
	catchup_iterator_close(it);
}

static void a_new_file_is_moved_over_the_old_one(void **state)
{
	struct catchup_iterator *it = open_after(2);

	(void)state;
	append_events("new", 3, 4, NULL);
	rename_file("new", "log");
	expect_story(it, "3 4");
	catchup_iterator_close(it);
}

static void the_old_file_is_written_on_until_the_new_one_is(void **state)
{
	struct catchup_iterator *it = open_after(2);

	(void)state;
	/* As logrotate does: the writer learns of the new file later. */
	rename_file("log", "log.1");
	put_file("log", "");
	append_events("log.1", 3, 3, NULL);
	expect_story(it, "3");
	append_events("log.1", 4, 4, NULL);
	append_events("log", 5, 5, NULL);
	expect_story(it, "4 5");
	catchup_iterator_close(it);
}

/* "copied and truncated" */
static void copied_and_truncated(void **state)
{
	struct catchup_iterator *it = open_after(3);

	(void)state;
	truncate_file("log", 0);
	append_events("log", 4, 4, NULL);
	expect_story(it, "4");
	truncate_file("log", 0);
	/* Past the old size before anybody has looked. */
	append_events("log", 5, 50, NULL);
	for (long i = 5; i <= 50; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%ld", i);
		expect_story(it, text);
	}
	expect_quiet(it);
	catchup_iterator_close(it);
}

static void truncated_with_lines_unread_is_told(void **state)
{
	struct catchup_iterator *it = open_after(3);

	(void)state;
	truncate_file("log", 0);
	append_events("log", 6, 7, NULL);
	expect_story(it, "lost-file(4,6) 6 7");
	/* The same sequence again from the start: a reset. */
	truncate_file("log", 0);
	append_events("log", 1, 2, NULL);
	expect_story(it, "gap(8,1) 1 2");
	catchup_iterator_close(it);
}

static void truncated_under_a_writer_that_does_not_append(void **state)
{
	struct catchup_iterator *it = open_after(3);
	struct stat st;

	(void)state;
	assert_int_equal(stat(in_folder("log"), &st), 0);
	truncate_file("log", 0);
	/* It goes on at its old offset and leaves a hole before it. */
	truncate_file("log", (long)st.st_size);
	append_events("log", 4, 5, NULL);
	expect_story(it, "bad 4 5");
	assert_non_null(strstr(last_message(), " NUL bytes"));
	catchup_iterator_close(it);
}

/* "retargeted link" */
static void a_symbolic_link_is_changed(void **state)
{
	struct catchup_iterator *it;

	(void)state;
	assert_int_equal(mkdir(in_folder("a"), 0755), 0);
	assert_int_equal(mkdir(in_folder("b"), 0755), 0);
	append_events("a/one", 1, 2, NULL);
	assert_int_equal(symlink("a/one", in_folder("log")), 0);
	it = open_log(OPTIONS(0));
	expect_story(it, "1 2");
	append_events("a/one", 3, 3, NULL);
	expect_story(it, "3");
	append_events("b/two", 5, 5, NULL);
	append_events("a/one", 4, 4, NULL);
	assert_int_equal(symlink("b/two", in_folder("log.new")), 0);
	rename_file("log.new", "log");
	expect_story(it, "4 5");
	append_events("b/two", 6, 6, NULL);
	expect_story(it, "6");
	/* Its target is moved away and made anew, where no notice tells of it. */
	rename_file("b/two", "b/old");
	append_events("b/two", 7, 7, NULL);
	expect_story(it, "7");
	/* Dangling for a while. */
	unlink(in_folder("b/two"));
	append_events("b/two", 8, 8, NULL);
	expect_story(it, "8");
	catchup_iterator_close(it);
}

/* "folder removed" */
static void the_folder_is_replaced(void **state)
{
	struct catchup_iterator *it;

	(void)state;
	assert_int_equal(mkdir(in_folder("dir"), 0755), 0);
	append_events("dir/log", 1, 2, NULL);
	it = open_log(OPTIONS(.path = in_folder("dir/log")));
	expect_story(it, "1 2");
	append_events("dir/log", 3, 3, NULL);
	rename_file("dir", "dir.old");
	assert_int_equal(mkdir(in_folder("dir"), 0755), 0);
	append_events("dir/log", 4, 4, NULL);
	expect_story(it, "3 4");
	append_events("dir/log", 5, 5, NULL);
	expect_story(it, "5");
	/* Removed altogether, and back. */
	unlink(in_folder("dir/log"));
	assert_int_equal(rmdir(in_folder("dir")), 0);
	assert_int_equal(mkdir(in_folder("dir"), 0755), 0);
	append_events("dir/log", 6, 6, NULL);
	expect_story(it, "6");
	append_events("dir/log", 7, 7, NULL);
	expect_story(it, "7");
	catchup_iterator_close(it);
}

static void the_file_is_missing_for_a_while(void **state)
{
	struct catchup_iterator *it = open_after(1);

	(void)state;
	rename_file("log", "log.1");
	expect_quiet(it);
	append_events("log.1", 2, 2, NULL);
	expect_story(it, "2");
	append_events("log", 3, 3, NULL);
	expect_story(it, "3");
	catchup_iterator_close(it);
}

/* "rotated twice between two looks" */
static void rotated_twice_between_two_looks(void **state)
{
	struct catchup_iterator *it = open_after(1);

	(void)state;
	/* Nobody can see the file in between: it never has the name. */
	unlink(in_folder("log"));
	append_events("new", 4, 5, NULL);
	rename_file("new", "log");
	expect_story(it, "lost-file(2,4) 4 5");
	assert_true(catchup_iterator_out_of_sync(it) > 0);
	catchup_iterator_close(it);
}

/* "partial last line: completed" */
static void a_line_is_completed(void **state)
{
	struct catchup_iterator *it = open_after(1);
	const char *line = event_line(2, NULL);

	(void)state;
	for (const char *p = line; *p; p++) {
		char piece[2] = {*p, '\0'};

		append_file("log", piece);
		if (p == line + 10)
			expect_quiet(it);
	}
	expect_quiet(it);
	append_file("log", "\n");
	expect_story(it, "2");
	catchup_iterator_close(it);
}

/* "never completed" */
static void a_line_is_never_completed(void **state)
{
	struct catchup_iterator *it = open_after(1);

	(void)state;
	append_file("log", "{\"seq\":2,\"family\":");
	rename_file("log", "log.1");
	append_events("log", 2, 3, NULL);
	expect_story(it, "bad 2 3");
	assert_non_null(strstr(last_message(), "has no end"));
	catchup_iterator_close(it);
}

/* "completed after rotation" */
static void a_line_is_completed_after_the_rotation(void **state)
{
	struct catchup_iterator *it = open_after(1);
	char line[256];

	(void)state;
	snprintf(line, sizeof(line), "%s\n", event_line(2, NULL));
	append_file("log", "{\"seq\":2,");
	rename_file("log", "log.1");
	append_file("log.1", line + strlen("{\"seq\":2,"));
	append_events("log", 3, 3, NULL);
	expect_story(it, "2 3");
	catchup_iterator_close(it);
}

static void a_writer_takes_a_torn_line_back(void **state)
{
	struct catchup_iterator *it = open_after(1);
	struct stat st;

	(void)state;
	assert_int_equal(stat(in_folder("log"), &st), 0);
	for (int round = 0; round < 3; round++) {
		append_file("log", "{\"seq\":2,\"family\":\"a rather long beginning of a line");
		expect_quiet(it);
		truncate_file("log", (long)st.st_size);
	}
	append_events("log", 2, 3, NULL);
	expect_story(it, "2 3");
	catchup_iterator_close(it);
}

static void another_thing_takes_the_name(void **state)
{
	struct catchup_iterator *it = open_after(1);

	(void)state;
	rename_file("log", "log.1");
	assert_int_equal(mkdir(in_folder("log"), 0755), 0);
	expect_story(it, "error");
	assert_non_null(strstr(last_message(), "is a folder"));
	append_events("log.1", 2, 2, NULL);
	expect_story(it, "2");
	assert_int_equal(rmdir(in_folder("log")), 0);
	put_file("new", "SQLite format 3");
	truncate_file("new", 16);
	rename_file("new", "log");
	expect_story(it, "error");
	assert_non_null(strstr(last_message(), "is a SQLite database"));
	unlink(in_folder("log"));
	append_events("log", 3, 3, NULL);
	expect_story(it, "3");
	catchup_iterator_close(it);
}

#define NOBODY 65534

/* Root may read every file, so it is somebody else for a while: all threads are. */
static void be(uid_t uid)
{
	if (getuid() == 0)
		assert_int_equal(seteuid(uid), 0);
}

static int end_as_oneself(void **state)
{
	be(getuid());
	return story_end(state);
}

/* "permission lost" */
static void permission_is_lost_and_found(void **state)
{
	struct catchup_iterator *it;
	char folder[1024];

	(void)state;
	snprintf(folder, sizeof(folder), "%s", in_folder(""));
	folder[strlen(folder) - 1] = '\0';
	if (getuid() == 0)
		assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
	be(NOBODY);
	it = open_after(1);
	unlink(in_folder("log"));
	append_events("new", 2, 2, NULL);
	assert_int_equal(chmod(in_folder("new"), 0), 0);
	rename_file("new", "log");
	expect_story(it, "error");
	assert_non_null(strstr(last_message(), "Permission denied"));
	assert_int_equal(chmod(in_folder("log"), 0644), 0);
	expect_story(it, "2");
	/* The folder's, too. */
	assert_int_equal(chmod(folder, 0600), 0);
	expect_story(it, "error");
	assert_int_equal(chmod(folder, 0700), 0);
	append_events("log", 3, 3, NULL);
	expect_story(it, "3");
	catchup_iterator_close(it);
}

/* "inotify queue overflow (16,384 events)": then all is to be looked at. */
static void a_queue_of_notices_that_overflows_says_so(void **state)
{
	struct cu_watch *watch;
	unsigned seen = 0;

	(void)state;
	assert_int_equal(cu_watch_create(in_folder("log"), NULL, &watch), 0);
	cu_watch_renew(watch, in_folder("log"));
	if (!cu_watch_works(watch)) {
		cu_watch_destroy(watch);
		SKIP_BECAUSE("there are no inotify watches left");
	}
	/* Three notices each, and the queue holds 16,384 unless the machine is set up otherwise. */
	for (int i = 0; i < 20 && !(seen & CU_WATCH_LOST); i++) {
		for (int k = 0; k < 6000; k++) {
			put_file("log", "");
			unlink(in_folder("log"));
		}
		seen = cu_watch_wait(watch, CU_FOREVER);
	}
	assert_true(seen & CU_WATCH_LOST);
	cu_watch_destroy(watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(deleted_and_made_anew),
		STORY(renamed_and_made_anew),
		STORY(a_new_file_is_moved_over_the_old_one),
		STORY(the_old_file_is_written_on_until_the_new_one_is),
		STORY(copied_and_truncated),
		STORY(truncated_with_lines_unread_is_told),
		STORY(truncated_under_a_writer_that_does_not_append),
		STORY(a_symbolic_link_is_changed),
		STORY(the_folder_is_replaced),
		STORY(the_file_is_missing_for_a_while),
		STORY(rotated_twice_between_two_looks),
		STORY(a_line_is_completed),
		STORY(a_line_is_never_completed),
		STORY(a_line_is_completed_after_the_rotation),
		STORY(a_writer_takes_a_torn_line_back),
		STORY(another_thing_takes_the_name),
		cmocka_unit_test_setup_teardown(permission_is_lost_and_found, story_begin,
			end_as_oneself),
		STORY(a_queue_of_notices_that_overflows_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
