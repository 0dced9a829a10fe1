/* SPDX-License-Identifier: MIT */
/*
 * What a changelog's iterators make of a machine that fails, or is short of something: reads, notices,
 * memory. Each as one story (changelog_tale.h).
 */
#include "changelog_tale.h"

#include <stdlib.h>
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

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
		cmocka_unit_test(a_read_that_fails_costs_no_event),
		cmocka_unit_test(a_read_that_brings_less_is_no_truncation),
		cmocka_unit_test(a_file_that_cannot_be_read_is_told_once),
		cmocka_unit_test(without_watches_it_looks_four_times_a_second),
		cmocka_unit_test(notices_that_are_lost_lose_no_event),
		cmocka_unit_test(an_idle_reader_makes_a_few_calls_a_second),
		cmocka_unit_test(a_gigabyte_without_a_newline_is_one_bad_line),
	};

	return cmocka_run_group_tests_name("changelog machine", tests, NULL, NULL);
}
