/* SPDX-License-Identifier: MIT */
/*
 * skip.h - a test that cannot run here says why, in the test run's last lines too. After cmocka.h.
 */
#ifndef TESTS_SKIP_H
#define TESTS_SKIP_H

#define SKIP_BECAUSE(...)                                                                          \
	do {                                                                                       \
		print_message("skipped: " __VA_ARGS__);                                            \
		print_message("\n");                                                               \
		skip();                                                                            \
	} while (0)

#endif
