/* SPDX-License-Identifier: MIT */
/*
 * replay.h - makes copies of databases ready for a consumer to run on from zero, and compares what it
 * wrote with what was there.
 */
#ifndef CU_STORE_REPLAY_H
#define CU_STORE_REPLAY_H

#include "store/connection/connection.h"
#include "store/report/verification.h"

struct cu_replay {
	const char *consumer;
	const char *table, *id_column; /* the source */
	const char *source, *results;  /* paths of the copies; the same when they are one file */
	const char *saved;             /* path of a database for what was there; made here */
	char *const *tables;           /* that the consumer writes */
	size_t n_tables;
};

/*
 * Takes the rows above the watermark and those in dead letters out of the source, puts the tables' rows
 * aside, and forgets all that is known about the consumer. Triggers do not see it. CATCHUP_CONFIG when
 * the source has no rows of its own to take out.
 */
int cu_replay_prepare(const struct cu_replay *replay, struct catchup_error *error);

/* Adds to the newest verdict what differs; fills how much is the same. */
int cu_replay_compare(const struct cu_replay *replay, struct catchup_verification *verification,
	struct catchup_verdict *verdict, struct catchup_error *error);

#endif
