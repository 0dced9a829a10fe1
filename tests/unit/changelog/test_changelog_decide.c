/* SPDX-License-Identifier: MIT */
/*
 * What a look at a changelog means: the whole table of the decision, and the order of sequences.
 */
#include "changelog/decide.h"
#include "changelog/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void every_look_has_one_meaning(void **state)
{
	static const struct {
		const char *what;
		struct cu_facts facts;
		enum cu_step step;
	} looks[] = {
		{"grown", {.more = true}, CU_STEP_READ},
		{"grown, renamed meanwhile", {.more = true, .newer = true}, CU_STEP_READ},
		{"nothing new", {0}, CU_STEP_SLEEP},
		{"a line is being written", {.pending = true}, CU_STEP_SLEEP},
		{"truncated", {.changed = true}, CU_STEP_RESTART},
		{"truncated in a line", {.changed = true, .pending = true}, CU_STEP_RESTART},
		{"the pending line was taken back",
			{.changed = true, .line_intact = true, .pending = true},
			CU_STEP_TAKE_BACK},
		{"an old file is wiped",
			{.changed = true, .newer = true, .newer_written = true},
			CU_STEP_ADVANCE},
		{"renamed, the new file is empty", {.newer = true}, CU_STEP_SLEEP},
		{"the new file is written, the old one not read to its end since",
			{.newer = true, .newer_written = true}, CU_STEP_READ},
		{"... and read to its end",
			{.newer = true, .newer_written = true, .drained = true},
			CU_STEP_ADVANCE},
		{"... within a line",
			{.newer = true, .newer_written = true, .drained = true, .pending = true},
			CU_STEP_WAIT_END},
		{"... that was never ended",
			{.newer = true, .newer_written = true, .drained = true, .pending = true,
				.patience_over = true},
			CU_STEP_ADVANCE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
		if (cu_decide(&looks[i].facts) != looks[i].step)
			fail_msg("%s: step %d", looks[i].what, cu_decide(&looks[i].facts));
}

static void sequences_go_up_by_one(void **state)
{
	static const struct {
		struct cu_order order;
		int64_t next;
		int reason; /* 0: in order */
		int64_t expected;
	} cases[] = {
		{{-1, false}, 7, 0, 0},
		{{-1, true}, 7, 0, 0},
		{{6, false}, 7, 0, 0},
		{{6, true}, 7, 0, 0},
		{{6, false}, 8, CATCHUP_SYNC_GAP, 7},
		{{6, true}, 8, CATCHUP_SYNC_LOST_FILE, 7},
		{{6, false}, 6, CATCHUP_SYNC_GAP, 7},
		{{6, true}, 6, CATCHUP_SYNC_GAP, 7},
		{{6, true}, 0, CATCHUP_SYNC_GAP, 7},
		{{6, false}, INT64_C(1) << 62, CATCHUP_SYNC_GAP, 7},
		{{INT64_MAX - 1, false}, INT64_MAX, 0, 0},
		{{INT64_MAX, false}, INT64_MAX, CATCHUP_SYNC_GAP, -1},
		{{INT64_MAX, false}, 0, CATCHUP_SYNC_GAP, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cu_order order = cases[i].order;
		struct catchup_out_of_sync why = {0};
		bool fits = cu_order_take(&order, cases[i].next, &why);

		assert_int_equal(fits, cases[i].reason == 0);
		assert_int_equal(why.reason, cases[i].reason);
		assert_true(order.last == cases[i].next && !order.crossed);
		if (!fits) {
			assert_true(why.expected == cases[i].expected);
			assert_true(why.got == cases[i].next);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_look_has_one_meaning),
		cmocka_unit_test(sequences_go_up_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
