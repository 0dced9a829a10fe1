/* SPDX-License-Identifier: MIT */
/*
 * counting.c - a test program that does what it is told: pass, fail, skip, die. counting.sh runs it
 * under the wrapper that counts the tests, and looks whether the count is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../skip.h"

static void passes(void **state)
{
	(void)state;
}

static void fails(void **state)
{
	(void)state;
	assert_string_equal("one", "two");
}

static void skips(void **state)
{
	(void)state;
	SKIP_BECAUSE("told so");
}

static void leaves(void **state)
{
	(void)state;
	exit(0);
}

static void dies(void **state)
{
	(void)state;
	abort();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *word;
		CMUnitTestFunction test;
	} words[] = {
		{"pass", passes}, {"fail", fails}, {"skip", skips}, {"leave", leaves}, {"die", dies}};
	struct CMUnitTest tests[16] = {{0}};
	size_t n = 0;
	int rc;

	for (int i = 1; i < argc; i++) {
		for (size_t k = 0; k < sizeof(words) / sizeof(words[0]) && n < 16; k++) {
			if (strcmp(argv[i], words[k].word) == 0)
				tests[n++] =
					(struct CMUnitTest){words[k].word, words[k].test, NULL, NULL, NULL};
		}
	}
	rc = _cmocka_run_group_tests("counted", tests, n, NULL, NULL);
	return argc > 1 && strcmp(argv[argc - 1], "leak") == 0 ? 23 : rc;
}
