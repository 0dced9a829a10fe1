/* SPDX-License-Identifier: MIT */
/*
 * patience.h - how long a test waits for what comes in a moment. Only what never comes makes it wait so long;
 * what comes late, on a busy machine and under a sanitizer, is no failure. Meson's limit for a whole test
 * (test_timeout) is longer, so that the test can still say what did not come.
 */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#define PATIENCE_S 240
#define PATIENCE_MS (PATIENCE_S * 1000)

#endif
