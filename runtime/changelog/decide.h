/* SPDX-License-Identifier: MIT */
/*
 * decide.h - what a look at a changelog means. Pure: facts in, one step out.
 *
 * The follower holds its file open, so the file's inode cannot be used again while it is read, and a
 * file that was renamed or deleted is still read to its end. Another file under the name is opened as
 * soon as it is seen, even while the old one is still being read.
 */
#ifndef CU_CHANGELOG_DECIDE_H
#define CU_CHANGELOG_DECIDE_H

#include <stdbool.h>

struct cu_facts {
	/* the file that is being read */
	bool more;        /* the last read brought bytes */
	bool changed;     /* the bytes before the position are not what they were */
	bool line_intact; /* changed, but only within the pending line */
	bool pending;     /* a line without its end is pending */

	/* the files after it */
	bool newer;         /* another file has taken the name since */
	bool newer_written; /* it holds bytes, or a still newer one exists */
	bool drained;       /* this file was read to its end after newer_written was seen */
	bool patience_over; /* the pending line has had its time to be ended */
};

enum cu_step {
	CU_STEP_READ,      /* read on at once */
	CU_STEP_SLEEP,     /* at the end: wait for a notice */
	CU_STEP_WAIT_END,  /* as SLEEP, until the pending line's patience is over */
	CU_STEP_TAKE_BACK, /* forget the pending part and read it again */
	CU_STEP_RESTART,   /* truncated in place: read from the beginning */
	CU_STEP_ADVANCE,   /* done with this file: go on with the next */
};

enum cu_step cu_decide(const struct cu_facts *facts);

#endif
