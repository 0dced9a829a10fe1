/* SPDX-License-Identifier: MIT */
/*
 * test_manners.c - how long a file is left to other processes, told as a line for each story: what a
 * turn may hold, and what is left free after it. Times in microseconds, from a clock of the test's own.
 */
#include "pool/file/manners.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define US INT64_C(1000)

struct story {
	struct cu_manners manners;
	int64_t now_ns;
	char told[512];
	size_t n;
};

static void tell(struct story *s, const char *what, int64_t ns)
{
	int n = snprintf(s->told + s->n, sizeof(s->told) - s->n, "%s%s %" PRId64,
		s->n ? ", " : "", what, ns / US);

	assert_true(n > 0 && (size_t)n < sizeof(s->told) - s->n);
	s->n += (size_t)n;
}

static void begin(struct story *s, bool foreign)
{
	cu_manners_begin(&s->manners, s->now_ns, foreign);
	tell(s, "hold", cu_manners_hold_ns(&s->manners, 20000 * US));
}

/* It has work left, or somebody is in line. */
static int64_t ends_with_more(struct story *s, int64_t held_ns, bool others_open)
{
	int64_t rest_ns;

	s->now_ns += held_ns;
	rest_ns = cu_manners_rest_ns(&s->manners, s->now_ns, held_ns, others_open);
	tell(s, "rest", rest_ns);
	return rest_ns;
}

static void ends_with_nothing_left(struct story *s, int64_t held_ns)
{
	s->now_ns += held_ns;
	cu_manners_leave(&s->manners, s->now_ns, held_ns);
}

static void gap(struct story *s, int64_t ns, bool used)
{
	s->now_ns += ns;
	cu_manners_rested(&s->manners, s->now_ns, used);
}

/* As many in a row as it takes to be alone. */
static void use_no_gap(struct story *s, bool others_open)
{
	for (int64_t held_us = 2000; held_us <= 32000; held_us *= 4)
		gap(s, ends_with_more(s, held_us * US, others_open), false);
}

static struct story begun_beside_a_writer(void)
{
	struct story s = {.now_ns = 1};

	begin(&s, false);
	ends_with_more(&s, 100 * US, true);
	s.now_ns += 5000 * US;
	s.told[s.n = 0] = '\0';
	return s;
}

static void test_a_backlog_leaves_gaps_while_others_commit(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	gap(&s, ends_with_more(&s, 2000 * US, true), true);
	begin(&s, false);
	ends_with_more(&s, 1000 * US, true);
	begin(&s, false);
	ends_with_more(&s, 1000 * US, true);
	assert_string_equal(s.told, "hold 2000, rest 30000, hold 2000, rest 0, hold 2000, rest 30000");
}

static void test_live_rows_never_rest(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	for (int i = 0; i < 3; i++) {
		begin(&s, true);
		ends_with_nothing_left(&s, 1900 * US);
		begin(&s, false); /* the next of a chain */
		ends_with_nothing_left(&s, 1900 * US);
	}
	/* Whoever goes on then owes what was held without a pause. */
	begin(&s, false);
	ends_with_more(&s, 100 * US, true);
	assert_string_equal(s.told, "hold 2000, hold 2000, hold 2000, hold 2000, hold 2000, hold 2000, "
		"hold 2000, rest 30000");
}

static void test_time_that_nobody_used_counts_as_a_gap(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	ends_with_nothing_left(&s, 1900 * US);
	s.now_ns += 1000 * US;
	begin(&s, false);
	ends_with_more(&s, 1900 * US, true);
	assert_string_equal(s.told, "hold 2000, hold 2000, rest 0");
}

static void test_alone_it_holds_a_whole_batch(void **state)
{
	struct story s = {.now_ns = 1};

	(void)state;
	begin(&s, false);
	ends_with_more(&s, 2000 * US, false);
	begin(&s, false);
	ends_with_more(&s, 20000 * US, false);
	assert_string_equal(s.told, "hold 2000, rest 0, hold 20000, rest 0");
}

static void test_gaps_that_nobody_uses_end(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	use_no_gap(&s, true);
	begin(&s, false);
	ends_with_more(&s, 20000 * US, true);
	assert_string_equal(
		s.told, "hold 2000, rest 30000, rest 30000, rest 30000, hold 20000, rest 0");
}

/* Who commits now and then, and waits: his pauses are 25 ms at most before he has waited for 128, and 100
 * at most after that. */
static void test_who_comes_now_and_then_finds_a_gap(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	use_no_gap(&s, true);
	s.told[s.n = 0] = '\0';
	for (int i = 0; i < 3; i++)
		gap(&s, ends_with_more(&s, 50000 * US, true), false);
	assert_string_equal(s.told, "rest 30000, rest 30000, rest 30000");
	/* Long after his last. */
	s.told[s.n = 0] = '\0';
	s.now_ns += 2000000 * US;
	for (int64_t held_us = 50000; held_us <= 1600000; held_us *= 2)
		gap(&s, ends_with_more(&s, held_us * US, true), false);
	gap(&s, ends_with_more(&s, 1600000 * US, true), true);
	assert_string_equal(s.told, "rest 12000, rest 12500, rest 25000, rest 50000, rest 100000, "
		"rest 100000, rest 100000");
}

static void test_who_committed_and_went_costs_no_gap(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	assert_true(cu_manners_asks(&s.manners, 2000 * US));
	ends_with_more(&s, 2000 * US, false);
	begin(&s, false);
	ends_with_more(&s, 20000 * US, false);
	assert_string_equal(s.told, "hold 2000, rest 0, hold 20000, rest 0");
}

/* Such as a program that opens the file for each row. */
static void test_who_comes_back_is_waited_for(void **state)
{
	struct story s = begun_beside_a_writer();

	(void)state;
	begin(&s, true);
	ends_with_more(&s, 2000 * US, false);
	s.now_ns += 300000 * US;
	begin(&s, true);
	assert_false(cu_manners_asks(&s.manners, 2000 * US));
	use_no_gap(&s, false);
	begin(&s, false);
	assert_string_equal(s.told,
		"hold 2000, rest 0, hold 2000, rest 30000, rest 30000, rest 30000, hold 20000");
	/* Long after that it is one who comes for the first time. */
	s.told[s.n = 0] = '\0';
	s.now_ns += 2000000 * US;
	begin(&s, true);
	ends_with_more(&s, 2000 * US, false);
	assert_string_equal(s.told, "hold 2000, rest 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_backlog_leaves_gaps_while_others_commit),
		cmocka_unit_test(test_live_rows_never_rest),
		cmocka_unit_test(test_time_that_nobody_used_counts_as_a_gap),
		cmocka_unit_test(test_alone_it_holds_a_whole_batch),
		cmocka_unit_test(test_gaps_that_nobody_uses_end),
		cmocka_unit_test(test_who_comes_now_and_then_finds_a_gap),
		cmocka_unit_test(test_who_committed_and_went_costs_no_gap),
		cmocka_unit_test(test_who_comes_back_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
