/* SPDX-License-Identifier: MIT */
/*
 * Error policies: what is accepted, what is refused with which words, and how long pauses are.
 */
#include "pool/plan/policy.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The policy in one line, or "refused". */
static const char *parsed(const char *text)
{
	static char line[400];
	struct cu_policy policy;
	struct catchup_error error;

	if (cu_policy_parse(&policy, text, &error) != CATCHUP_OK) {
		assert_int_equal(error.code, CATCHUP_USAGE);
		assert_int_equal(policy.end, CU_POLICY_STOP);
		assert_int_equal(policy.retries, 0);
		assert_string_equal(policy.key, "");
		return "refused";
	}
	snprintf(line, sizeof(line), "%s%u %lld %lld %s%s%s", policy.careful ? "careful " : "",
		policy.retries,
		(long long)(policy.base_ns / CU_NS_PER_MS),
		(long long)(policy.max_ns / CU_NS_PER_MS),
		policy.end == CU_POLICY_PARK ? "park" : "stop", policy.key[0] ? " " : "",
		policy.key);
	return line;
}

static void reads_every_form(void **state)
{
	(void)state;
	assert_string_equal(parsed(NULL), "0 0 0 stop");
	assert_string_equal(parsed(""), "0 0 0 stop");
	assert_string_equal(parsed("stop"), "0 0 0 stop");
	assert_string_equal(parsed("park"), "0 0 0 park");
	assert_string_equal(parsed(" \tpark "), "0 0 0 park");
	assert_string_equal(parsed("park-key(order_id)"), "0 0 0 park order_id");
	assert_string_equal(parsed("park-key ( order id )"), "0 0 0 park order id");
	assert_string_equal(parsed("retry(5,100,30000)"), "5 100 30000 stop");
	assert_string_equal(parsed("retry(5, 100, 30000) stop"), "5 100 30000 stop");
	assert_string_equal(parsed("retry(5, 100, 30000) then park"), "5 100 30000 park");
	assert_string_equal(parsed("retry(5, 100, 30000), then park"), "5 100 30000 park");
	assert_string_equal(parsed("retry ( 5 , 100 , 30000 )park-key(k)"), "5 100 30000 park k");
	assert_string_equal(parsed("retry(0,0,0)"), "0 0 0 stop");
	assert_string_equal(parsed(" careful"), "careful 0 0 0 stop");
	assert_string_equal(parsed("careful park"), "careful 0 0 0 park");
	assert_string_equal(parsed("careful retry(1,2,3) park-key(k)"), "careful 1 2 3 park k");
	assert_string_equal(
		parsed("retry(1000000,86400000,86400000)"), "1000000 86400000 86400000 stop");
}

static void refuses_everything_else(void **state)
{
	static const char *const wrong[] = {" ", "stopp", "Stop", "park()", "park(x)", "stop park",
		"park-key", "park-key()", "park-key( )", "park-key(a", "park-key(a) b", "retry",
		"retry()", "retry(1)", "retry(1,2)", "retry(1,2,3", "retry(1,2,3,4)",
		"retry(-1,2,3)", "retry(+1,2,3)", "retry(0x1,2,3)", "retry(1.5,2,3)",
		"retry(1,3,2)", "retry(1000001,1,1)", "retry(1,1,86400001)",
		"retry(99999999999999999999,1,1)", "retry(1,2,3) then", "retry(1,2,3),",
		"retry(1,2,3) then retry(1,2,3)", "retry(1,2,3) park stop", "then stop", "park careful",
		"careful careful", "carefully", "careful()"};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (strcmp(parsed(wrong[i]), "refused") != 0)
			fail_msg("'%s' is read as '%s'", wrong[i], parsed(wrong[i]));
	}
}

static void takes_a_column_of_up_to_255_bytes(void **state)
{
	char text[400];

	(void)state;
	snprintf(text, sizeof(text), "park-key(%0255d)", 0);
	assert_string_not_equal(parsed(text), "refused");
	snprintf(text, sizeof(text), "park-key(%0256d)", 0);
	assert_string_equal(parsed(text), "refused");
}

static void says_what_was_given_and_what_is_allowed(void **state)
{
	struct cu_policy policy;
	struct catchup_error error;

	(void)state;
	assert_int_equal(cu_policy_parse(&policy, "ignore", &error), CATCHUP_USAGE);
	assert_string_equal(error.message,
		"on-error 'ignore': must be stop, park, park-key(COLUMN), or retry(TIMES, BASE_MS, "
		"MAX_MS) then one of the others, each perhaps after the word careful; TIMES up to "
		"1000000, BASE_MS up to MAX_MS, MAX_MS up to 86400000, COLUMN up to 255 bytes");
	assert_int_equal(cu_policy_parse(&policy, "ignore", NULL), CATCHUP_USAGE);
}

static void pauses_double_up_to_the_longest(void **state)
{
	(void)state;
	assert_int_equal(cu_policy_pause_ns(100, 1000, 1, 0), 100);
	assert_int_equal(cu_policy_pause_ns(100, 1000, 2, 0), 200);
	assert_int_equal(cu_policy_pause_ns(100, 1000, 4, 0), 800);
	assert_int_equal(cu_policy_pause_ns(100, 1000, 5, 0), 1000);
	assert_int_equal(cu_policy_pause_ns(100, 1000, UINT32_MAX, 0), 1000);
	assert_int_equal(cu_policy_pause_ns(0, 1000, UINT32_MAX, 7), 0);
	assert_int_equal(cu_policy_pause_ns(1, 1, 1, 7), 1);
	assert_true(cu_policy_pause_ns(INT64_MAX / 2 + 1, INT64_MAX, 2, 0) == INT64_MAX);
}

static void chance_takes_away_up_to_half(void **state)
{
	int64_t least = 1000, most = 0;

	(void)state;
	for (uint64_t random = 0; random < 2000; random++) {
		int64_t pause = cu_policy_pause_ns(1000, 1000, 1, random);

		least = pause < least ? pause : least;
		most = pause > most ? pause : most;
	}
	assert_int_equal(least, 500);
	assert_int_equal(most, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_form),
		cmocka_unit_test(refuses_everything_else),
		cmocka_unit_test(takes_a_column_of_up_to_255_bytes),
		cmocka_unit_test(says_what_was_given_and_what_is_allowed),
		cmocka_unit_test(pauses_double_up_to_the_longest),
		cmocka_unit_test(chance_takes_away_up_to_half),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
