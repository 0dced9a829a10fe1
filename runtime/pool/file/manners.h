/* SPDX-License-Identifier: MIT */
/*
 * manners.h - how long we may write a file before other processes get a chance: a pure function of
 * what is seen and when.
 *
 * Another process cannot queue with us. SQLite's busy handler looks again after 1, 2, 5, 10, 15, 20,
 * 25, 25, 25, 50, 50, 100 ms (sqliteDefaultBusyCallback), so it finds back-to-back transactions of 20
 * ms locked for seconds. So:
 *
 *  - while others commit, we hold the lock for HOLD_NS at a time, and after that leave it free until
 *    another commit of theirs is seen, or for GAP_NS, longer than their pauses, when none comes;
 *  - after each gap without a commit of theirs we hold it for longer, and after a few we are alone again
 *    and go at full speed;
 *  - while others only have the file open, a short gap now and then lets one that is waiting in, which
 *    is then seen; the gaps grow rarer as long as nobody uses them, and longer, up to the longest of those
 *    pauses; for two seconds after a commit of theirs they stay frequent, and longer than the pauses of
 *    one who has come since the last;
 *  - with nobody else there, nothing is left free; but for those who open the file anew for each commit,
 *    and are known by the second one.
 *
 * "Others" are other processes, and the connections of the program that embeds us unless it has said
 * that it is alone (CATCHUP_FLAG_ALONE): nobody can tell its locks from ours.
 *
 * Time between our transactions counts as free, and one after which nothing is left to do is followed by
 * such time anyway: a consumer that follows live rows never rests.
 */
#ifndef CU_POOL_MANNERS_H
#define CU_POOL_MANNERS_H

#include <stdbool.h>
#include <stdint.h>

#define CU_MANNERS_HOLD_NS INT64_C(2000000)
#define CU_MANNERS_GAP_NS INT64_C(30000000)
#define CU_MANNERS_PROBE_SHORTEST_NS INT64_C(12000000)
#define CU_MANNERS_PROBE_LONGEST_NS INT64_C(100000000)
#define CU_MANNERS_PROBE_FIRST_NS INT64_C(50000000)
#define CU_MANNERS_PROBE_LAST_NS INT64_C(1600000000)

struct cu_manners {
	bool met;              /* a commit of theirs was seen in this stretch of politeness */
	bool polite;           /* others commit */
	bool comes_back;       /* they did so twice, at a short distance */
	int64_t met_ns;        /* when a commit of theirs was seen last, 0: never */
	uint32_t empty_gaps;   /* in a row that nobody used */
	int64_t held_ns;       /* since the lock was last free for others */
	int64_t free_since_ns; /* end of our last turn, 0 before the first */
	int64_t probe_after_ns; /* held time after which a probing gap is due */
};

/* Our turn begins. foreign: others have committed since our last turn ended. */
void cu_manners_begin(struct cu_manners *m, int64_t now_ns, bool foreign);

/* Our turn has committed after held_ns, and none of ours takes the next one at once. */
void cu_manners_leave(struct cu_manners *m, int64_t now_ns, int64_t held_ns);

/* How long this turn may hold the lock, at most batch_ns. */
int64_t cu_manners_hold_ns(const struct cu_manners *m, int64_t batch_ns);

/* The same, and the next one waits. Returns how long to leave the lock free before, 0: not at all.
 * others_open: others have the file open, or may have. */
int64_t cu_manners_rest_ns(struct cu_manners *m, int64_t now_ns, int64_t held_ns, bool others_open);

/* Whether others_open matters to the next cu_manners_rest_ns with this time held: asking costs. */
bool cu_manners_asks(const struct cu_manners *m, int64_t held_ns);

/* The gap is over. used: others have committed in it. */
void cu_manners_rested(struct cu_manners *m, int64_t now_ns, bool used);

#endif
