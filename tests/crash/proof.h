/* SPDX-License-Identifier: MIT */
/*
 * proof.h - what the proofs of crash safety share: how much is done, chance from a seed, and the
 * comparison of results with one plain query over the source.
 *
 *	PROOF=long        the long tier; otherwise the short one
 *	PROOF_COUNT=N     so many rounds, whatever the tier
 *	PROOF_EVERY=N     every Nth of a list of steps, whatever the tier
 *	PROOF_AT_ONCE=N   steps of such a list are taken by so many processes, otherwise by four
 *	PROOF_SEED=N      another seed; each proof prints the one it used
 *	PROOF_MINUTES=N   nothing more is begun after so many minutes; the result says how much was done
 *	PROOF_RECORD=FILE results are written there too, a line each
 */
#ifndef TESTS_PROOF_H
#define TESTS_PROOF_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PROOF_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define PROOF_SANITIZED 1
#endif
#endif
#ifndef PROOF_SANITIZED
#define PROOF_SANITIZED 0
#endif

/* The plain build does the most in the short tier. Those with a sanitizer, of another compiler, or that
 * count branches look for other things. */
#if !PROOF_SANITIZED && !defined(__clang__) && defined(__OPTIMIZE__)
#define PROOF_PLAIN 1
#else
#define PROOF_PLAIN 0
#endif

bool proof_is_long(void);

/* Rounds of this tier; in the short one a tenth where the build is not the plain one. */
long proof_count(long in_short, long in_long);

/* Begins a proof, or the next part of one: PROOF_MINUTES count from here. */
void proof_begin(void);

/* Whether there is time for more. */
bool proof_goes_on(void);

/* What was done and found, one line: printed and recorded. */
void proof_result(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * A list of steps, of which every Nth is taken: every one in the long tier. They are taken in an order that
 * spreads over the whole list, so that what fits into PROOF_MINUTES is a fair part of it.
 */
struct proof_steps {
	long total; /* in the list */
	long every;
	long done;
	long next;  /* in the order in which they are taken */
	long by;    /* who takes every one takes 1, who is one of N takes N */
};

struct proof_steps proof_steps_start(long total, long every_in_short);
/* The next step, 0 to total - 1; false: that was all. */
bool proof_steps_next(struct proof_steps *steps, long *step);

/*
 * Takes the steps in some processes at once, since most of a step is waiting: `take` is called in each, with
 * its share of them, and counts what it wants to be known, from 0. Returns the sum of what they counted. A
 * process that fails fails the test. Forks, so no other thread may run.
 */
long proof_steps_take(struct proof_steps *steps,
	void (*take)(struct proof_steps *mine, long *counted, void *context), void *context);

/* Makes test folders in memory where there is room for them: who kills a process and not the machine
 * needs no disk, and is ten times as fast without one. Call it first. */
void proof_use_memory(void);

/* ---- chance --------------------------------------------------------------------------------- */

struct proof_random {
	uint64_t state;
};

/* From PROOF_SEED, or 1; printed, with the proof's name. */
struct proof_random proof_random_start(const char *name);
/* That of one of many that each have their own. */
struct proof_random proof_random_of(const struct proof_random *all, uint64_t number);
uint64_t proof_random_next(struct proof_random *random);
/* 0 to n - 1. */
uint64_t proof_below(struct proof_random *random, uint64_t n);

/* ---- what must hold ------------------------------------------------------------------------- */

/*
 * One consumer's results. Both queries give one column, `line`, one row a result; `expected` is asked
 * with ?1, the watermark: it says what the source rows up to there must have made. The results
 * database is "main"; the source's is too, or is attached as "source".
 */
struct proof_claim {
	const char *consumer;
	const char *newest;   /* the newest id of the source */
	const char *expected;
	const char *found;
};

struct proof_verdict {
	int64_t watermark; /* 0 where there is none yet */
	int64_t newest;
	int64_t lost;
	int64_t doubled;
	bool damaged;      /* a file is no database, or fails its integrity check */
	char message[512]; /* "" when everything holds */
};

/*
 * Checks the results file, and the source when it is another one (NULL: the same): both are sound, the
 * watermark is not past the newest id, no row is lost and none is doubled. Returns whether all holds.
 */
bool proof_verify(const char *results, const char *source, const struct proof_claim *claim,
	struct proof_verdict *verdict);

/* The same on an open connection, without the integrity checks. */
bool proof_compare(sqlite3 *db, const struct proof_claim *claim, struct proof_verdict *verdict);

/* Whether a database file is sound; says in *verdict what is not. */
bool proof_is_sound(sqlite3 *db, const char *schema, struct proof_verdict *verdict);

#endif
