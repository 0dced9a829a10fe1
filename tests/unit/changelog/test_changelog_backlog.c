/* SPDX-License-Identifier: MIT */
/* Rotation before an iterator has caught up: it waits, or is told; and how many files are kept open. */
#include "../../skip.h"
#include "changelog_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../left.h"

static void a_slow_reader_that_waits_follows_all_files(void **state)
{
	struct catchup_changelog_options options = {
		.size = sizeof(options), .path = in_folder("log")};
	struct catchup_changelog *changelog;
	struct catchup_iterator *slow, *quick;

	(void)state;
	put_file("log", "");
	assert_int_equal(catchup_changelog_open(&options, &changelog, NULL), CATCHUP_OK);
	slow = open_log(OPTIONS(.changelog = changelog, .ring_slots = 2, WAITS));
	quick = open_log(OPTIONS(.changelog = changelog));
	for (long file = 0; file < 40; file++) {
		char text[64];

		unlink(in_folder("log"));
		append_events("log", 2 * file + 1, 2 * file + 2, NULL);
		/* So that the reader thread sees every file. */
		snprintf(text, sizeof(text), "%ld %ld", 2 * file + 1, 2 * file + 2);
		expect_story(quick, text);
		snprintf(text, sizeof(text), "%ld", file + 1);
		expect_story(slow, text);
	}
	for (long i = 41; i <= 80; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%ld", i);
		expect_story(slow, text);
	}
	expect_quiet(slow);
	assert_int_equal(catchup_iterator_out_of_sync(slow), 0);
	catchup_iterator_close(slow);
	catchup_iterator_close(quick);
	catchup_changelog_close(changelog);
}

static void a_backlog_survives_its_file(void **state)
{
	(void)state;
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		struct catchup_iterator *it;

		put_file("log", "");
		append_events("log", 1, 3, NULL);
		it = open_log(OPTIONS(.on_full = on_full));
		expect_story(it, "1");
		unlink(in_folder("log"));
		append_events("log", 4, 5, NULL);
		expect_story(it, "2 3 4 5");
		expect_quiet(it);
		catchup_iterator_close(it);
	}
}

static void a_backlog_that_is_truncated_is_told(void **state)
{
	struct catchup_iterator *it;
	const struct catchup_next *next;
	long last = 0;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 20000, NULL);
	it = open_log(OPTIONS(0));
	expect_story(it, "1");
	truncate_file("log", 0);
	append_events("log", 20001, 20001, NULL);
	/* The rest of the buffer is there still; then it is told, then goes on. */
	for (;;) {
		int result = catchup_iterator_next(it, PATIENCE_MS, &next);

		if (result != CATCHUP_NEXT_EVENT) {
			assert_int_equal(result, CATCHUP_NEXT_OUT_OF_SYNC);
			assert_int_equal(next->sync.reason, CATCHUP_SYNC_LOST_FILE);
			assert_int_equal(next->sync.expected, last + 1);
			break;
		}
		last = (long)next->event->sequence;
	}
	assert_true(last < 20000);
	expect_story(it, "20001");
	catchup_iterator_close(it);

	put_file("log", "");
	append_events("log", 1, 20000, NULL);
	it = open_log(OPTIONS(WAITS));
	expect_story(it, "1");
	truncate_file("log", 0);
	append_events("log", 20001, 20001, NULL);
	while (catchup_iterator_next(it, PATIENCE_MS, &next) == CATCHUP_NEXT_EVENT)
		last = (long)next->event->sequence;
	assert_int_equal(next->sync.reason, CATCHUP_SYNC_LOST_FILE);
	assert_int_equal(next->sync.expected, last + 1);
	/* It may be told before there is anything else to read. */
	assert_true(next->sync.got == 20001 || next->sync.got == -1);
	expect_story(it, "20001");
	catchup_iterator_close(it);
}

/* Waits until there are at most so many: files are closed when the reader's thread comes to it. */
static void expect_descriptors(int most)
{
	for (int i = 0; left_descriptors() > most; i++) {
		if (i == PATIENCE_MS)
			fail_msg("%d descriptors instead of %d", left_descriptors(), most);
		cu_os_sleep_ns(CU_NS_PER_MS);
	}
}

static void files_are_given_up(void **state)
{
	struct catchup_iterator *lazy, *it;
	struct catchup_changelog *changelog;
	struct catchup_changelog_options options = {
		.size = sizeof(options), .path = in_folder("log")};
	int before, during;

	(void)state;
	before = left_descriptors();
	put_file("log", "");
	append_events("log", 1, 5, NULL);
	assert_int_equal(catchup_changelog_open(&options, &changelog, NULL), CATCHUP_OK);
	it = open_log(OPTIONS(.changelog = changelog));
	expect_story(it, "1 2 3 4 5");
	lazy = open_log(OPTIONS(.changelog = changelog, WAITS));
	during = left_descriptors();
	for (long i = 6; i < 200; i++) {
		char text[32];

		unlink(in_folder("log"));
		append_events("log", i, i, NULL);
		snprintf(text, sizeof(text), "%ld", i);
		expect_story(it, text);
	}
	expect_descriptors(during + 64);
	/* The oldest files were given up: that is told, and what is left is read. */
	expect_story(lazy, "1 2 3 4 5 lost-file(6,136) 136 137");
	catchup_iterator_close(lazy);
	append_events("log", 200, 200, NULL);
	expect_story(it, "200");
	expect_descriptors(during);
	catchup_changelog_close(changelog);
	catchup_iterator_close(it);
	assert_int_equal(left_descriptors(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_slow_reader_that_waits_follows_all_files),
		STORY(a_backlog_survives_its_file),
		STORY(a_backlog_that_is_truncated_is_told),
		STORY(files_are_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
