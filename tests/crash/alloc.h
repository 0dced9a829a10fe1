/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - allocations that are counted, and fail when told to: those of the runtime and of the test
 * (the linker puts these functions in place of libc's, see alloc_wraps in meson.build), and SQLite's own.
 */
#ifndef TESTS_ALLOC_H
#define TESTS_ALLOC_H

#include <stdbool.h>

/* Before SQLite is used. */
void alloc_install(void);

/* The nth allocation from now fails, counted from 1; from_then_on: all later ones as well. 0: none. Counts
 * begin anew. Any thread. */
void alloc_fail(long nth, bool from_then_on);

/* Allocations since then, and how many of them failed. */
long alloc_count(void);
long alloc_failures(void);

/* Blocks that are there now. */
long alloc_live(void);

#endif
