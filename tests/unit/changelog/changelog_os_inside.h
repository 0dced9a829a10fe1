/* SPDX-License-Identifier: MIT */
/*
 * changelog_os_inside.h - what the files of the pretended machine share.
 */
#ifndef CHANGELOG_OS_INSIDE_H
#define CHANGELOG_OS_INSIDE_H

#include "changelog_os.h"

/* One time in so many; never for 0. */
bool fake_chance(uint32_t one_in);

/* The time, which looking at it here does not move. */
int64_t fake_now_ns(void);

/* The fiber that runs gives way, when the die says so. */
void fake_perhaps_yield(void);
/* It waits until somebody wakes `on`, or the deadline has come. */
void fake_block(const void *on, int64_t deadline_ns);
void fake_wake(const void *on);

/* Frees files. How many descriptors and watches were left behind. */
void fake_forget_files(int *n_descriptors, int *n_watches);

#endif
