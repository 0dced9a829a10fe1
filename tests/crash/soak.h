/* SPDX-License-Identifier: MIT */
/*
 * soak.h - what the soak has running, and what it does to it.
 */
#ifndef TESTS_SOAK_H
#define TESTS_SOAK_H

#include "proof.h"
#include "users.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SOAK_PROGRAMS 2

struct soak_run {
	struct program program;
	pid_t waker;              /* lets it go on after it was stopped; 0: it runs */
	bool spoiled;             /* calls of it have failed, so it may end */
	char complaint[512];      /* the last error that it has told */
};

struct soak {
	struct users *u;
	struct proof_random random;
	char *disk, *results, *ballast;
	pid_t feeder;
	struct soak_run runs[SOAK_PROGRAMS];
	pid_t spoiler;                /* strace, while it makes calls of a program fail */
	int64_t spoil_until_ms;       /* 0: there is none */
	sqlite3 *other;               /* foreign to the programs */
	int64_t reading_until_ms;
	int64_t full_until_ms;
	bool mounted, can_trace;

	long kills, ends, stops, spoils, given_up, fulls, checkpoints, vacuums, reads, blamed, verified;
};

int64_t soak_now_ms(void);
/* A moment between so many milliseconds from now. */
int64_t soak_some_ms(struct soak *s, uint64_t least, uint64_t most);

/* ---- programs (soak_programs.c) ---------------------------------------------------------------- */

/* Starts one with all consumers; until: "--until-caught-up", or NULL. */
void soak_start(struct soak *s, struct program *p, const char *until);
/* Frees one that has ended and starts another in its place. */
void soak_run_anew(struct soak *s, struct soak_run *run);
/* Stops one for a while. Who is stopped may hold a lock that this test waits for: somebody else wakes it. */
void soak_stop(struct soak *s, struct soak_run *run);
/* how: for waitpid. */
void soak_await_waker(struct soak_run *run, int how);
/* Nobody reads a pipe that is full for them. One that ended by itself must have had a reason. */
void soak_look_after(struct soak *s, struct soak_run *run);
/* Ends one by a signal, and waits for it. */
void soak_end(struct soak_run *run, int number);
/* The application that inserts messages. */
void soak_start_feeder(struct soak *s);
void soak_stop_feeder(struct soak *s);

/* ---- what goes wrong (soak_mischief.c) ----------------------------------------------------------- */

/* One thing, at random. */
void soak_make_mischief(struct soak *s);
/* Ends the calls that fail, if there are any. */
void soak_stop_spoiling(struct soak *s);
/* Ends what has lasted long enough; all: whatever goes wrong. */
void soak_calm_down(struct soak *s, bool all);

#endif
