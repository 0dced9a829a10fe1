/* SPDX-License-Identifier: MIT */
/*
 * trouble.h - why a follower is paused or stopped. Of its worker thread only, but for starve and feed.
 */
#ifndef CU_POOL_TROUBLE_H
#define CU_POOL_TROUBLE_H

#include <catchup/catchup.h>
#include <stdbool.h>
#include <stdint.h>

struct cu_follower;

/* Whether f->fault leaves its connection one to write to: after an error of the file nobody knows what
 * that would write. */
bool cu_trouble_may_write(const struct cu_follower *f);

/* Nothing is wrong: running, caught up. What was wrong is over only at the next commit. */
void cu_trouble_note_state(struct cu_follower *f, int state);

/* It pauses for f->fault until then: told once, and stored as soon as that is possible. */
void cu_trouble_pause(struct cu_follower *f, int64_t until_ns);
/* It has nothing to do: caught up, or paused because its source cannot be read. */
void cu_trouble_idle(struct cu_follower *f);
/* Its connections are fresh: finds what an earlier process has stored, or stores what is owed. A code;
 * then f->fault is filled. */
int cu_trouble_begin(struct cu_follower *f);

/* Clears what is stored in the transaction in hand; it was committed; the same is told. */
int cu_trouble_clear_with(struct cu_follower *f);
void cu_trouble_cleared(struct cu_follower *f);
void cu_trouble_committed(struct cu_follower *f);
/* The same outside a transaction, once nothing is left to do. */
void cu_trouble_over(struct cu_follower *f);

/* Makes it the fault, of the consumer and of the row, that a row was in hand at so many crashes. */
void cu_trouble_blame(struct cu_follower *f, uint32_t crashes);
/* It stops for good, for f->fault at a row, or 0; or because it was asked to. */
void cu_trouble_stop(struct cu_follower *f, int64_t row);
void cu_trouble_leave(struct cu_follower *f);

/* Its source cannot be read for now; it can again. Any thread. */
void cu_trouble_starve(struct cu_follower *f, const struct catchup_error *why);
void cu_trouble_feed(struct cu_follower *f);

#endif
