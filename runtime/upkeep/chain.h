/* SPDX-License-Identifier: MIT */
/*
 * chain.h - who follows the tables that a consumer writes.
 */
#ifndef CU_UPKEEP_CHAIN_H
#define CU_UPKEEP_CHAIN_H

#include "pool/runtime.h"

/*
 * After the consumer's watermark was moved back and before it runs again: logs one line of level WARN
 * about each consumer that follows a table which its code writes and has read some of it, because the rows
 * that are written again come to that one as new ones. results: the connection on which its scripts have
 * run, in no transaction; its guard knows what they have written, the first n_cleared by `reset`. What the
 * code of a C consumer writes beside that is not known.
 */
void cu_chain_warn(struct cu_follower *f, struct cu_conn *results, size_t n_cleared);

#endif
