/* SPDX-License-Identifier: MIT */
/*
 * process_state.h - what another process is doing, for tests that wait until it sleeps or has ended. After
 * cmocka.h.
 */
#ifndef TESTS_PROCESS_STATE_H
#define TESTS_PROCESS_STATE_H

#include <stdio.h>
#include <sys/types.h>

/* The state's letter, as in proc(5), of a process that was not waited for yet. */
static inline char process_state(pid_t pid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state;
}

#endif
