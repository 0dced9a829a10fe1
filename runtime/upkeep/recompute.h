/* SPDX-License-Identifier: MIT */
/*
 * recompute.h - runs a consumer once more, from zero, and compares what it writes.
 */
#ifndef CU_UPKEEP_RECOMPUTE_H
#define CU_UPKEEP_RECOMPUTE_H

#include "store/ledger/record.h"
#include "store/report/verification.h"

/*
 * Adds to the newest verdict, which is the entry's. spec: what makes the consumer, NULL where nothing
 * does. A consumer that cannot be recomputed gets a note. Returns CATCHUP_OK, or what kept it from
 * looking: no room, no memory, a lock.
 */
int cu_recompute(struct catchup_verification *verification, const struct catchup_options *options,
	const struct cu_entry *entry, const char *spec, struct catchup_error *error);

#endif
