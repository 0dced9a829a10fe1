/* SPDX-License-Identifier: MIT */
/*
 * What could be lost, or come twice, without a word: each as one story (changelog_tale.h). The generated
 * histories (test_changelog_histories.c) found most of these.
 */
#include "changelog_tale.h"

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
	};

	return cmocka_run_group_tests_name("changelog losses", tests, NULL, NULL);
}
