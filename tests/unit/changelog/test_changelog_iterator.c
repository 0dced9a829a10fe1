/* SPDX-License-Identifier: MIT */
/*
 * An iterator over a changelog: where it starts, what it tells, how it ends. Rotation has its own
 * stories in test_changelog_rotation.c.
 */
#include "changelog_story.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void reads_what_is_there_and_what_comes(void **state)
{
	(void)state;
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		struct catchup_iterator *it;

		put_file("log", "");
		append_events("log", 1, 3, NULL);
		it = open_log(OPTIONS(.on_full = on_full));
		expect_story(it, "1 2 3");
		expect_quiet(it);
		append_events("log", 4, 5, NULL);
		expect_story(it, "4 5");
		append_events("log", 6, 6, NULL);
		expect_story(it, "6");
		expect_quiet(it);
		assert_int_equal(catchup_iterator_out_of_sync(it), 0);
		catchup_iterator_close(it);
	}
}

static void an_event_is_whole(void **state)
{
	const struct catchup_next *next;
	struct catchup_iterator *it;

	(void)state;
	put_file("log", "{\"seq\":1,\"family\":\"Fam\",\"table\":\"Foo\",\"key\":["
			"{\"name\":\"a\",\"type\":\"int\",\"value\":9223372036854775807},"
			"{\"name\":\"b\",\"type\":\"real\",\"value\":0.5},"
			"{\"name\":\"c\",\"type\":\"text\",\"value\":\"x\\u0000y\"},"
			"{\"name\":\"d\",\"type\":\"bool\",\"value\":true},"
			"{\"name\":\"e\",\"type\":\"?\",\"value\":null}]}\n");
	it = open_log(OPTIONS(.family = "fAM", .table = "fOO"));
	assert_int_equal(catchup_iterator_next(it, PATIENCE_MS, &next), CATCHUP_NEXT_EVENT);
	assert_int_equal(next->event->sequence, 1);
	assert_int_equal(next->seen, 1);
	assert_string_equal(next->event->family, "Fam");
	assert_string_equal(next->event->table, "Foo");
	assert_int_equal(next->event->n_keys, 5);
	assert_string_equal(next->event->keys[1].name, "b");
	assert_string_equal(next->event->keys[1].type, "real");
	assert_true(next->event->keys[0].integer == INT64_MAX);
	assert_true(next->event->keys[1].real == 0.5);
	assert_int_equal(next->event->keys[2].text_bytes, 3);
	assert_memory_equal(next->event->keys[2].text, "x\0y", 4);
	assert_int_equal(next->event->keys[3].kind, CATCHUP_KEY_BOOL);
	assert_int_equal(next->event->keys[3].integer, 1);
	assert_int_equal(next->event->keys[4].kind, CATCHUP_KEY_NULL);
	catchup_iterator_close(it);
}

static void starts_at_the_end(void **state)
{
	struct catchup_iterator *it;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 3, NULL);
	append_file("log", "{\"seq\":4,\"family\":\"fam\",");
	it = open_log(OPTIONS(.start = CATCHUP_START_END));
	expect_quiet(it);
	/* The line that was being written when the iterator came belongs to it. */
	append_file("log", "\"table\":\"foo\",\"key\":[]}\n");
	append_events("log", 5, 5, NULL);
	expect_story(it, "4 5");
	catchup_iterator_close(it);
}

static void starts_after_a_sequence(void **state)
{
	static const struct {
		long after;
		const char *story;
	} starts[] = {
		{0, "gap(1,3) 3 4 5 6"},
		{2, "3 4 5 6"},
		{4, "5 6"},
		{5, "6"},
		/* The file ends before the sequence: it went back. */
		{7, "gap(8,5) 5 6"},
		{INT64_MAX, "gap(-1,5) 5 6"},
	};

	(void)state;
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
			struct catchup_iterator *it;

			put_file("log", "");
			append_events("log", 3, 5, NULL);
			it = open_log(OPTIONS(.start = CATCHUP_START_AFTER,
				.after_sequence = starts[i].after, .on_full = on_full));
			append_events("log", 6, 6, NULL);
			expect_story(it, starts[i].story);
			expect_quiet(it);
			catchup_iterator_close(it);
		}
	}
}

static void starts_after_a_sequence_in_an_empty_file(void **state)
{
	(void)state;
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		struct catchup_iterator *it;

		put_file("log", "");
		it = open_log(OPTIONS(
			.start = CATCHUP_START_AFTER, .after_sequence = 7, .on_full = on_full));
		expect_quiet(it);
		append_events("log", 8, 8, NULL);
		expect_story(it, "8");
		catchup_iterator_close(it);

		put_file("log", "");
		it = open_log(OPTIONS(.start = CATCHUP_START_AFTER, .after_sequence = 7,
			.on_full = on_full, .table = "bar"));
		append_events("log", 1, 1, NULL);
		append_events("log", 2, 2, "bar");
		expect_story(it, "gap(8,1) 2");
		catchup_iterator_close(it);
	}
}

static void a_reset_before_the_start_is_told(void **state)
{
	struct catchup_iterator *it;

	(void)state;
	put_file("log", "");
	append_events("log", 10, 12, NULL);
	append_events("log", 1, 2, NULL);
	it = open_log(OPTIONS(.start = CATCHUP_START_AFTER, .after_sequence = 20));
	expect_story(it, "gap(13,1) 1 2");
	catchup_iterator_close(it);
}

/* "the same sequence again, back, reset, +2^62, at INT64_MAX" */
static void every_break_of_the_sequence_is_told_once(void **state)
{
	(void)state;
	for (int live = 0; live <= 1; live++) {
		struct catchup_iterator *it;

		put_file("log", "");
		it = live ? open_log(OPTIONS(0)) : NULL;
		append_events("log", 1, 2, NULL);
		append_events("log", 2, 2, NULL);
		append_events("log", 5, 5, NULL);
		append_events("log", 1, 1, NULL);
		append_events("log", 4611686018427387904, 4611686018427387904, NULL);
		append_events("log", INT64_MAX - 1, INT64_MAX, NULL);
		append_events("log", INT64_MAX, INT64_MAX, NULL);
		append_events("log", 0, 1, NULL);
		if (!live)
			it = open_log(OPTIONS(0));
		expect_story(it, "1 2 gap(3,2) 2 gap(3,5) 5 gap(6,1) 1 "
				 "gap(2,4611686018427387904) 4611686018427387904 "
				 "gap(4611686018427387905,9223372036854775806) "
				 "9223372036854775806 9223372036854775807 "
				 "gap(-1,9223372036854775807) 9223372036854775807 gap(-1,0) 0 1");
		expect_quiet(it);
		catchup_iterator_close(it);
	}
}

static void a_filter_drops_events_but_never_the_flag(void **state)
{
	(void)state;
	for (int live = 0; live <= 1; live++) {
		struct catchup_iterator *it;
		const struct catchup_next *next;

		put_file("log", "");
		it = live ? open_log(OPTIONS(.table = "BAR")) : NULL;
		append_events("log", 1, 2, "bar");
		append_events("log", 3, 3, "foo");
		append_events("log", 4, 4, "bar");
		append_events("log", 6, 7, "foo");
		append_events("log", 8, 8, "bar");
		append_events("log", 9, 9, "foo");
		if (!live)
			it = open_log(OPTIONS(.table = "BAR"));
		expect_story(it, "1 2 4 gap(5,6) 8");
		while (catchup_iterator_next(it, 10, &next) == CATCHUP_NEXT_TIMEOUT &&
			next->seen < 9)
			;
		assert_int_equal(next->seen, 9);
		assert_true(catchup_iterator_out_of_sync(it) > 0);
		catchup_iterator_close(it);
	}
}

static void the_flag_comes_down_when_the_cache_is_rebuilt(void **state)
{
	struct catchup_iterator *it;
	uint64_t first, second;

	(void)state;
	put_file("log", "");
	it = open_log(OPTIONS(0));
	append_events("log", 1, 1, NULL);
	append_events("log", 3, 3, NULL);
	first = wait_for_flag(it);
	append_events("log", 5, 5, NULL);
	expect_story(it, "1 gap(2,3) 3 gap(4,5) 5");
	/* It went up again while the user rebuilt for the first. */
	catchup_iterator_rebuilt(it, first);
	second = catchup_iterator_out_of_sync(it);
	assert_true(second > first);
	catchup_iterator_rebuilt(it, second);
	assert_int_equal(catchup_iterator_out_of_sync(it), 0);
	catchup_iterator_rebuilt(it, second + 100);
	append_events("log", 7, 7, NULL);
	wait_for_flag(it);
	catchup_iterator_close(it);
}

static void an_overflow_is_known_at_once(void **state)
{
	struct catchup_iterator *it;
	const struct catchup_next *next;
	uint64_t ticket;
	int result;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 2, NULL);
	it = open_log(OPTIONS(.ring_slots = 4));
	append_events("log", 3, 20, NULL);
	/* Before anything was taken. */
	ticket = wait_for_flag(it);
	expect_story(it, "1 2 3 4 5 6 overflow(7,-1)");
	catchup_iterator_rebuilt(it, ticket);
	assert_int_equal(catchup_iterator_out_of_sync(it), 0);
	expect_quiet(it);
	append_events("log", 21, 22, NULL);
	expect_story(it, "21 22");
	/* While events wait, the flag stands before the first that has room again. */
	append_events("log", 23, 40, NULL);
	wait_for_flag(it);
	expect_story(it, "23 24");
	append_events("log", 41, 41, NULL);
	result = catchup_iterator_next(it, PATIENCE_MS, &next);
	assert_int_equal(result, CATCHUP_NEXT_EVENT);
	assert_int_equal(next->event->sequence, 25);
	catchup_iterator_close(it);
}

static void waiting_loses_nothing(void **state)
{
	struct catchup_iterator *it;
	const struct catchup_next *next;
	long expected = 1;

	(void)state;
	put_file("log", "");
	it = open_log(OPTIONS(.ring_slots = 2, WAITS));
	for (long from = 1; from <= 5000; from += 50) {
		append_events("log", from, from + 49, NULL);
		for (int i = 0; i < 30; i++) {
			assert_int_equal(
				catchup_iterator_next(it, PATIENCE_MS, &next), CATCHUP_NEXT_EVENT);
			assert_int_equal(next->event->sequence, expected++);
		}
	}
	while (expected <= 5000) {
		assert_int_equal(catchup_iterator_next(it, PATIENCE_MS, &next), CATCHUP_NEXT_EVENT);
		assert_int_equal(next->event->sequence, expected++);
	}
	expect_quiet(it);
	assert_int_equal(catchup_iterator_out_of_sync(it), 0);
	catchup_iterator_close(it);
}

static void bad_lines_are_told_and_nothing_else_is_lost(void **state)
{
	(void)state;
	for (int live = 0; live <= 1; live++) {
		struct catchup_iterator *it;

		put_file("log", "");
		it = live ? open_log(OPTIONS(0)) : NULL;
		append_file("log", "\xef\xbb\xbf");
		append_events("log", 1, 1, NULL);
		append_file("log", "nonsense\n\n\r\n");
		append_events("log", 2, 2, NULL);
		append_file("log", "{\"seq\":3,\"fam");
		append_events("log", 3, 4, NULL);
		append_file("log", event_line(5, NULL));
		append_file("log", "\r\n");
		if (!live)
			it = open_log(OPTIONS(0));
		expect_story(it, "1 bad 2 bad gap(3,4) 4 5");
		assert_non_null(strstr(last_message(), "/log': byte "));
		expect_quiet(it);
		catchup_iterator_close(it);
	}
}

/* "empty lines, CRLF, byte-order mark, NUL runs of a sparse file" */
static void a_hole_is_one_bad_line_and_hides_nothing(void **state)
{
	(void)state;
	for (int live = 0; live <= 1; live++) {
		struct catchup_iterator *it;

		put_file("log", "");
		append_events("log", 1, 1, NULL);
		it = live ? open_log(OPTIONS(0)) : NULL;
		truncate_file("log", 3000000);
		append_events("log", 2, 2, NULL);
		if (!live)
			it = open_log(OPTIONS(0));
		expect_story(it, "1 bad 2");
		assert_non_null(strstr(last_message(), " NUL bytes"));
		expect_quiet(it);
		catchup_iterator_close(it);
	}
}

static void a_line_above_the_limit_is_one_bad_line(void **state)
{
	char *text = malloc(3000001);

	(void)state;
	memset(text, 'x', 3000000);
	text[3000000] = '\0';
	for (int live = 0; live <= 1; live++) {
		struct catchup_iterator *it;

		put_file("log", "");
		append_events("log", 1, 1, NULL);
		it = live ? open_log(OPTIONS(.max_line_bytes = 1000)) : NULL;
		append_file("log", text);
		append_file("log", text);
		append_file("log", "\n");
		append_events("log", 2, 2, NULL);
		append_file("log", text + 3000000 - 1001);
		append_file("log", "\n");
		append_events("log", 3, 3, NULL);
		if (!live)
			it = open_log(OPTIONS(.max_line_bytes = 1000));
		expect_story(it, "1 bad 2 bad 3");
		assert_non_null(strstr(last_message(), "above the maximum of 1000 bytes"));
		expect_quiet(it);
		catchup_iterator_close(it);
	}
	free(text);
}

static void a_large_line_within_the_limit_passes_a_small_ring(void **state)
{
	size_t n = 7000000;
	char *text = malloc(n + 200);
	char *p = text + sprintf(text, "{\"seq\":2,\"family\":\"fam\",\"table\":\"foo\",\"key\":"
				       "[{\"name\":\"id\",\"type\":\"text\",\"value\":\"");

	(void)state;
	memset(p, 'x', n);
	strcpy(p + n, "\"}]}\n");
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		const struct catchup_next *next;
		struct catchup_iterator *it;

		put_file("log", "");
		append_events("log", 1, 1, NULL);
		it = open_log(OPTIONS(.on_full = on_full));
		expect_story(it, "1");
		expect_quiet(it);
		append_file("log", text);
		assert_int_equal(catchup_iterator_next(it, PATIENCE_MS, &next), CATCHUP_NEXT_EVENT);
		assert_int_equal(next->event->keys[0].text_bytes, n);
		append_events("log", 3, 3, NULL);
		expect_story(it, on_full == CATCHUP_ON_FULL_WAIT ? "3" : "3");
		catchup_iterator_close(it);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(reads_what_is_there_and_what_comes),
		STORY(an_event_is_whole),
		STORY(starts_at_the_end),
		STORY(starts_after_a_sequence),
		STORY(starts_after_a_sequence_in_an_empty_file),
		STORY(a_reset_before_the_start_is_told),
		STORY(every_break_of_the_sequence_is_told_once),
		STORY(a_filter_drops_events_but_never_the_flag),
		STORY(the_flag_comes_down_when_the_cache_is_rebuilt),
		STORY(an_overflow_is_known_at_once),
		STORY(waiting_loses_nothing),
		STORY(bad_lines_are_told_and_nothing_else_is_lost),
		STORY(a_hole_is_one_bad_line_and_hides_nothing),
		STORY(a_line_above_the_limit_is_one_bad_line),
		STORY(a_large_line_within_the_limit_passes_a_small_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
