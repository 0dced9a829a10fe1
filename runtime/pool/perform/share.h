/* SPDX-License-Identifier: MIT */
/*
 * share.h - connections that followers of one worker have together. Worker thread only.
 */
#ifndef CU_POOL_SHARE_H
#define CU_POOL_SHARE_H

#include "pool/runtime.h"

/* Puts a connection of the role for the follower in place, an open one where there is one that fits. It is
 * seated. options->source is borrowed until all followers are gone. */
int cu_share_open(struct cu_conn **conn, struct cu_follower *f, const struct cu_conn_options *options,
	struct catchup_error *error);
/* The last one to leave closes it. Nothing happens where *conn is NULL; then it is. */
void cu_share_close(struct cu_conn **conn, struct cu_follower *f);

/* From now on the guards of its connections are the follower's: to be said before it uses them, when
 * another one of its thread may have used them since. */
void cu_share_seat(struct cu_follower *f);
/* Whether others use the connection, or may. */
bool cu_share_is_common(const struct cu_conn *conn);

/* The machine failed, with f->fault: nobody is given its connections any more. */
void cu_share_spoil(struct cu_follower *f);
/* Whether another follower said so of the connection it writes through; error, which may be NULL: why. */
bool cu_share_is_spoiled(const struct cu_follower *f, struct catchup_error *error);

/* The follower has nothing to do for a while, or has something again. Once all who use a connection rest, it
 * gives memory back. */
void cu_share_rest(struct cu_follower *f, bool rests);

#endif
