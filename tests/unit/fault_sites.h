/* SPDX-License-Identifier: MIT */
/*
 * fault_sites.h - each call to the machine, at each place where it is made, fails once.
 *
 * The linker puts functions of fault_sites.c in place of libc's and SQLite's (--wrap). A place is a
 * call's return address, with those of its callers and the SQL it is about: a first run of a story finds
 * the places, and then the story is run once for each, with the first call there failing as the machine
 * would.
 */
#ifndef TESTS_FAULT_SITES_H
#define TESTS_FAULT_SITES_H

#include <stdbool.h>
#include <stddef.h>

/* Begins to collect places. Those of earlier stories are not collected again. */
void fault_collect(void);
/* ... but they are after this. */
void fault_forget(void);
/* Ends it. The places of this story are *first up to, and without, the one returned. */
size_t fault_collected(size_t *first);

/* The next call at a place fails. Nothing fails after fault_off. */
void fault_at(size_t place);
/* The next call at a place is interrupted by a signal instead. False: no signal interrupts that call. */
bool fault_interrupt_at(size_t place);
/* Returns whether it has failed. */
bool fault_off(void);

/* Whether calls of this thread are spared: those of the test itself. */
void fault_spare(bool spared);

/* In words, for messages: function, SQL, and the address as addr2line takes it. */
const char *fault_name(size_t place);

#endif
