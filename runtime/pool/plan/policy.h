/* SPDX-License-Identifier: MIT */
/*
 * policy.h - what a consumer does with a row it cannot process.
 *
 *	stop              the consumer stops (the default)
 *	park              the row becomes a dead letter, the consumer goes on
 *	park-key(COLUMN)  as park, and later rows with the same key are parked behind it
 *	retry(TIMES, BASE_MS, MAX_MS)[[,] [then] POLICY]
 *	                  tries again with exponential back-off, then one of the above; stop when
 *	                  nothing is said
 *	careful [POLICY]  each row comes alone and is written down before it is processed, so that one
 *	                  that crashes the process is known at once; not only after a crash was noticed
 */
#ifndef CU_POOL_POLICY_H
#define CU_POOL_POLICY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum cu_policy_end {
	CU_POLICY_STOP = 0,
	CU_POLICY_PARK,
};

struct cu_policy {
	enum cu_policy_end end; /* when there are no tries left */
	uint32_t retries;       /* 0 to 1,000,000 */
	int64_t base_ns;        /* first pause; doubles each time */
	int64_t max_ns;         /* longest pause */
	char key[256];          /* column of park-key, "" for none */
	bool careful;
};

/* text NULL or "": stop. Returns CATCHUP_OK; or CATCHUP_USAGE with the text and what is allowed,
 * and the policy is stop. */
int cu_policy_parse(struct cu_policy *policy, const char *text, struct catchup_error *error);

/* The pause before attempt `attempt` (1: the first repetition), with up to half of it taken away at
 * random so that consumers that failed together do not try again together. */
int64_t cu_policy_pause_ns(int64_t base_ns, int64_t max_ns, uint32_t attempt, uint64_t random);

#endif
