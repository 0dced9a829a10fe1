/* SPDX-License-Identifier: MIT */
/*
 * What could be lost, or come twice, without a word: each as one story over the pretended operating
 * system, where it is decided when a thread looks and which call fails. The generated histories
 * (test_changelog_histories.c) found most of these.
 *
 * A story runs in a fiber. It writes the file, lets the reader thread look, and notes what an iterator
 * tells: "3" is the event with sequence 3, "gap(4,6)" and "lost-file(4,6)" are out of sync with what
 * was expected and what came, "bad" is a bad line, "error" a file that cannot be read.
 */
#include "changelog_os.h"

#include "base/os.h"

#include "../../skip.h"

#include <catchup/changelog.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FIBERS 1
#endif
#endif

#define OPTIONS(...) ((struct catchup_iterator_options){__VA_ARGS__})
#define WAITS .on_full = CATCHUP_ON_FULL_WAIT
#define RESULTS_MAX 1000 /* that are told at once; more is a loop */

static char told[4096];
static size_t told_bytes;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (told_bytes > 0 && told_bytes < sizeof(told) - 1)
		told[told_bytes++] = ' ';
	if (told_bytes < sizeof(told))
		told_bytes += (size_t)vsnprintf(told + told_bytes, sizeof(told) - told_bytes, fmt, ap);
	va_end(ap);
}

/* ---- what a story is made of -------------------------------------------------------------- */

/* The reader threads look at everything. */
static void look(void)
{
	cu_os_sleep_ns(3 * CU_NS_PER_S);
}

static void put(const char *text)
{
	struct fake_file *file = fake_named();

	fake_write(file, file->size, text, strlen(text));
}

static void put_events(long from, long to)
{
	char line[128];

	for (long i = from; i <= to; i++) {
		snprintf(line, sizeof(line),
			"{\"seq\":%ld,\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}\n", i);
		put(line);
	}
}

static struct catchup_iterator *start(struct catchup_iterator_options options)
{
	struct catchup_iterator *it = NULL;
	struct catchup_error error;

	options.size = sizeof(options);
	options.path = "/pretended/log";
	while (!it && catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		note("error");
	return it;
}

/* Notes all that the iterator has to tell, up to `most` results. */
static void tell(struct catchup_iterator *it, int most)
{
	const struct catchup_next *next;

	for (int i = 0; i < most; i++) {
		switch (catchup_iterator_next(it, 2000, &next)) {
		case CATCHUP_NEXT_EVENT:
			note("%" PRId64, next->event->sequence);
			break;
		case CATCHUP_NEXT_OUT_OF_SYNC:
			note("%s(%" PRId64 ",%" PRId64 ")",
				catchup_sync_reason_name(next->sync.reason), next->sync.expected,
				next->sync.got);
			break;
		case CATCHUP_NEXT_BAD_LINE:
			note("bad");
			break;
		case CATCHUP_NEXT_ERROR:
			note("error");
			break;
		default:
			return;
		}
	}
}

static void finish(struct catchup_iterator *it)
{
	tell(it, RESULTS_MAX);
	catchup_iterator_close(it);
}

static void run_story(void *argument)
{
	void (*const *story)(void) = argument;

	(*story)();
}

/* Runs a story; what it told is in `told`. */
static void hear(void (*story)(void), uint32_t fail_in, uint32_t short_in)
{
	const char *left;

	told[0] = '\0';
	told_bytes = 0;
	fake_begin(1);
	fake_name(fake_file_new(), false);
	fake_knobs.fail_in = fail_in;
	fake_knobs.short_in = short_in;
	fake_spawn(run_story, &story);
	while (fake_step() || fake_pass_to_deadline())
		;
	left = fake_end();
	assert_string_equal(left, "");
}

static void expect(void (*story)(void), const char *expected)
{
#ifdef NO_FIBERS
	SKIP_BECAUSE("the thread sanitizer cannot follow fibers, and there is one thread here");
#endif
	hear(story, 0, 0);
	assert_string_equal(told, expected);
}

/* ---- before the first sequence is known --------------------------------------------------- */

static void truncated_before_the_first_look(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(.start = CATCHUP_START_END));
	put_events(4, 5);
	fake_truncate(fake_named(), 0);
	put_events(6, 7);
	finish(it);
}

static void one_that_starts_at_the_end_misses_no_first_line(void **state)
{
	(void)state;
	expect(truncated_before_the_first_look, "lost-file(4,6) 6 7");
}

static void replaced_before_the_first_look(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(.start = CATCHUP_START_END));
	fake_name(fake_file_new(), false);
	fake_name(fake_file_new(), false);
	put_events(6, 7);
	finish(it);
}

static void one_that_starts_at_the_end_misses_no_file(void **state)
{
	(void)state;
	expect(replaced_before_the_first_look, "lost-file(4,6) 6 7");
}

static void bad_lines_hide_the_newest_sequence(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	for (int i = 0; i < 7; i++)
		put("nonsense\n");
	it = start(OPTIONS(.start = CATCHUP_START_END));
	fake_truncate(fake_named(), 0);
	put_events(6, 7);
	finish(it);
}

static void bad_lines_at_the_end_do_not_hide_a_loss(void **state)
{
	(void)state;
	expect(bad_lines_hide_the_newest_sequence, "lost-file(4,6) 6 7");
}

static void only_bad_lines(void)
{
	struct catchup_iterator *it;

	for (int i = 0; i < 20; i++)
		put("nonsense\n");
	it = start(OPTIONS(.start = CATCHUP_START_END));
	put_events(1, 2);
	fake_truncate(fake_named(), 0);
	put_events(3, 4);
	finish(it);
}

static void a_truncation_is_told_where_no_sequence_is_known(void **state)
{
	(void)state;
	expect(only_bad_lines, "lost-file(-1,3) 3 4");
}

static void torn_line_taken_back(void)
{
	struct catchup_iterator *waits = start(OPTIONS(WAITS));
	struct catchup_iterator *drops = start(OPTIONS(.start = CATCHUP_START_END));

	put("{\"seq\":1,");
	look();
	/* Completed, and more, and all of it gone before anybody looks again. */
	put("\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}\n");
	put_events(2, 3);
	fake_truncate(fake_named(), 0);
	put_events(4, 5);
	look();
	finish(waits);
	note("|");
	finish(drops);
}

static void an_unfinished_first_line_that_vanishes_is_told(void **state)
{
	(void)state;
	expect(torn_line_taken_back, "lost-file(-1,-1) 4 5 | lost-file(-1,4) 4 5");
}

/* ---- behind the reader -------------------------------------------------------------------- */

static void written_anew_and_longer(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(WAITS));
	look();
	fake_truncate(fake_named(), 0);
	put_events(4, 9);
	look();
	finish(it);
}

/* "truncated and grown past the old size" */
static void a_file_written_anew_is_not_taken_for_the_old_one(void **state)
{
	(void)state;
	expect(written_anew_and_longer, "lost-file(-1,-1) 4 5 6 7 8 9");
}

static void written_anew_after_some_was_read(void)
{
	struct catchup_iterator *it;

	put_events(1, 2);
	it = start(OPTIONS(WAITS, .ring_slots = 2));
	tell(it, 3);
	/* It does not fit into the ring, so the iterator reads it by itself, and is slow. */
	put_events(3, 8);
	look();
	tell(it, 2);
	fake_truncate(fake_named(), 0);
	put_events(9, 20);
	look();
	finish(it);
}

static void a_file_written_anew_under_a_slow_one_is_told_once(void **state)
{
	(void)state;
	expect(written_anew_after_some_was_read,
		"1 2 3 4 lost-file(5,9) 9 10 11 12 13 14 15 16 17 18 19 20");
}

static void truncated_and_nothing_written(void)
{
	struct catchup_iterator *it;

	put_events(1, 2);
	it = start(OPTIONS(WAITS, .ring_slots = 2));
	tell(it, 3);
	put_events(3, 8);
	look();
	tell(it, 2);
	fake_truncate(fake_named(), 0);
	look();
	tell(it, RESULTS_MAX);
	note("|");
	put_events(9, 10);
	finish(it);
}

static void a_loss_is_told_before_anything_else_comes(void **state)
{
	(void)state;
	expect(truncated_and_nothing_written, "1 2 3 4 lost-file(5,-1) | 9 10");
}

/* ---- calls that fail, and calls that bring less ------------------------------------------- */

static void falls_behind_and_catches_up(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(WAITS, .ring_slots = 2));
	tell(it, 1);
	put_events(4, 9);
	look();
	tell(it, 3);
	fake_name(fake_file_new(), true);
	put_events(10, 12);
	look();
	put("{\"seq\":13,\"family\":\"fam\",");
	look();
	fake_truncate(fake_named(), fake_named()->size - strlen("{\"seq\":13,\"family\":\"fam\","));
	put_events(13, 14);
	look();
	tell(it, RESULTS_MAX);
	put_events(15, 15);
	finish(it);
}

#define ALL_EVENTS "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"

static void starts_at_the_end_and_goes_on(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(.start = CATCHUP_START_END));
	put_events(4, 5);
	tell(it, RESULTS_MAX);
	fake_name(fake_file_new(), true);
	put_events(6, 7);
	finish(it);
}

/* Takes the words "error" out of what was told. */
static int take_errors_out(void)
{
	static const char word[] = "error";
	int n = 0;
	char *at;

	while ((at = strstr(told, word))) {
		size_t bytes = strlen(word);

		if (at[bytes] == ' ')
			bytes++;
		else if (at > told)
			at--, bytes++;
		memmove(at, at + bytes, strlen(at + bytes) + 1);
		n++;
	}
	return n;
}

static void a_read_that_fails_costs_no_event(void **state)
{
	int errors = 0;
	uint32_t turn = 1;

	(void)state;
#ifdef NO_FIBERS
	SKIP_BECAUSE("the thread sanitizer cannot follow fibers, and there is one thread here");
#endif
	/* Until a story has no so many reads. */
	do {
		hear(falls_behind_and_catches_up, turn++, 0);
		errors += take_errors_out();
		assert_string_equal(told, ALL_EVENTS);
	} while (fake_knobs.fail_in == 0);
	assert_in_range(turn, 30, 1000);
	assert_true(errors > 10);
	turn = 1;
	do {
		hear(starts_at_the_end_and_goes_on, turn++, 0);
		take_errors_out();
		assert_string_equal(told, "4 5 6 7");
	} while (fake_knobs.fail_in == 0);
	assert_in_range(turn, 10, 1000);
}

static void a_read_that_brings_less_is_no_truncation(void **state)
{
	uint32_t turn = 1;

	(void)state;
#ifdef NO_FIBERS
	SKIP_BECAUSE("the thread sanitizer cannot follow fibers, and there is one thread here");
#endif
	do {
		hear(falls_behind_and_catches_up, 0, turn++);
		assert_string_equal(told, ALL_EVENTS);
	} while (fake_knobs.short_in == 0);
	assert_in_range(turn, 30, 1000);
	turn = 1;
	do {
		hear(starts_at_the_end_and_goes_on, 0, turn++);
		assert_string_equal(told, "4 5 6 7");
	} while (fake_knobs.short_in == 0);
	assert_in_range(turn, 10, 1000);
}

static void cannot_be_read_for_a_while(void)
{
	struct catchup_iterator *it;

	put_events(1, 3);
	it = start(OPTIONS(WAITS));
	fake_knobs.unreadable = true;
	for (int i = 0; i < 3; i++)
		tell(it, RESULTS_MAX);
	note("|");
	fake_knobs.unreadable = false;
	finish(it);
}

/* Whoever asks again at once would be told at once, for as long as it lasts. */
static void a_file_that_cannot_be_read_is_told_once(void **state)
{
	(void)state;
	expect(cannot_be_read_for_a_while, "error | 1 2 3");
}

/* ---- the machine is short of something ------------------------------------------------------ */

static void looks_at_intervals(void)
{
	struct catchup_iterator *it;
	int64_t before;

	fake_knobs.no_watches = true;
	put_events(1, 1);
	it = start(OPTIONS(0));
	tell(it, 1);
	look();
	before = cu_os_now_ns();
	put_events(2, 2);
	tell(it, 1);
	if (cu_os_now_ns() - before > 251 * CU_NS_PER_MS)
		note("late");
	fake_name(fake_file_new(), false);
	before = cu_os_now_ns();
	put_events(3, 3);
	tell(it, 1);
	if (cu_os_now_ns() - before > 251 * CU_NS_PER_MS)
		note("late");
	finish(it);
}

/* "no watches or descriptors left (fall back to looking every 250 ms)" */
static void without_watches_it_looks_four_times_a_second(void **state)
{
	(void)state;
	expect(looks_at_intervals, "1 2 3");
}

static void unseen_rotation(void)
{
	struct catchup_iterator *it;

	put_events(1, 1);
	it = start(OPTIONS(0));
	tell(it, 1);
	look();
	/* As when the queue of notices overflows. */
	fake_knobs.unseen_of = 1;
	put_events(2, 3);
	fake_name(fake_file_new(), true);
	put_events(4, 5);
	finish(it);
}

static void notices_that_are_lost_lose_no_event(void **state)
{
	(void)state;
	expect(unseen_rotation, "1 2 3 4 5");
}

static void sleeps_for_an_hour(void)
{
	struct catchup_iterator *it;
	uint64_t before;

	put_events(1, 1);
	it = start(OPTIONS(0));
	tell(it, 1);
	look();
	before = fake_calls();
	cu_os_sleep_ns(3600 * CU_NS_PER_S);
	if (fake_calls() - before > 3600 * 5)
		note("%" PRIu64 " calls", fake_calls() - before);
	finish(it);
}

static void an_idle_reader_makes_a_few_calls_a_second(void **state)
{
	(void)state;
	expect(sleeps_for_an_hour, "1");
}

#define GIB ((size_t)1024 * 1024 * 1024)

static void a_gigabyte_comes(void)
{
	struct catchup_iterator *it;

	put_events(1, 1);
	it = start(OPTIONS(WAITS));
	tell(it, 1);
	fake_fill(fake_named(), GIB);
	look();
	tell(it, 1);
	/* It ends, after all. */
	put("\n");
	put_events(2, 2);
	finish(it);
}

static void a_gigabyte_is_there(void)
{
	struct catchup_iterator *it, *end;

	put_events(1, 1);
	fake_fill(fake_named(), GIB);
	it = start(OPTIONS(0));
	end = start(OPTIONS(.start = CATCHUP_START_END));
	put("\n");
	put_events(2, 2);
	finish(it);
	note("|");
	finish(end);
}

static long peak_kib(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/* "1 GiB without a newline (bounded memory, one bad line)" */
static void a_gigabyte_without_a_newline_is_one_bad_line(void **state)
{
	long before = peak_kib();

	(void)state;
	expect(a_gigabyte_comes, "1 bad 2");
	expect(a_gigabyte_is_there, "1 bad 2 | bad 2");
	assert_true(SANITIZED || peak_kib() - before < 64 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_starts_at_the_end_misses_no_first_line),
		cmocka_unit_test(one_that_starts_at_the_end_misses_no_file),
		cmocka_unit_test(bad_lines_at_the_end_do_not_hide_a_loss),
		cmocka_unit_test(a_truncation_is_told_where_no_sequence_is_known),
		cmocka_unit_test(an_unfinished_first_line_that_vanishes_is_told),
		cmocka_unit_test(a_file_written_anew_is_not_taken_for_the_old_one),
		cmocka_unit_test(a_file_written_anew_under_a_slow_one_is_told_once),
		cmocka_unit_test(a_loss_is_told_before_anything_else_comes),
		cmocka_unit_test(a_read_that_fails_costs_no_event),
		cmocka_unit_test(a_read_that_brings_less_is_no_truncation),
		cmocka_unit_test(a_file_that_cannot_be_read_is_told_once),
		cmocka_unit_test(without_watches_it_looks_four_times_a_second),
		cmocka_unit_test(notices_that_are_lost_lose_no_event),
		cmocka_unit_test(an_idle_reader_makes_a_few_calls_a_second),
		cmocka_unit_test(a_gigabyte_without_a_newline_is_one_bad_line),
	};

	return cmocka_run_group_tests_name("changelog losses", tests, NULL, NULL);
}
