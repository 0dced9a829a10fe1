/* SPDX-License-Identifier: MIT */
/*
 * letters.h - dead letters as they are read, dropped and tried again, one consumer at a time.
 */
#ifndef CU_STORE_LETTERS_H
#define CU_STORE_LETTERS_H

#include "store/ledger/record.h"

/* A list that grows; letters and their texts are owned by it. */
struct catchup_dead_letters *cu_letters_create(void); /* NULL without memory */

/* Adds a consumer's letters out of its results database, in id order; id 0: all. */
int cu_letters_read(struct catchup_dead_letters *letters, struct cu_conn *conn,
	const char *consumer, int64_t id, struct catchup_error *error);

/* Inside the transaction in hand: whether an earlier row with the key of this letter's has one, too. */
int cu_letters_waits(struct cu_conn *conn, const char *consumer, int64_t id, bool *waits,
	struct catchup_error *error);

/*
 * Inside the transaction in hand: whether somebody has a letter in hand, or had when it died; writes down that
 * it is in hand from now on, which counts as a try, and is committed before the row is processed; takes that
 * back, for one whose row was not processed after all. *marked false: the letter is gone.
 */
int cu_letters_in_hand(struct cu_conn *conn, const char *consumer, int64_t id, bool *in_hand,
	struct catchup_error *error);
int cu_letters_mark(struct cu_conn *conn, const char *consumer, int64_t id, bool *marked,
	struct catchup_error *error);
int cu_letters_mark_back(struct cu_conn *conn, const char *consumer, int64_t id,
	struct catchup_error *error);

/* Inside the transaction in hand: removes a letter. *removed false: it was gone already. */
int cu_letters_remove(struct cu_conn *conn, const char *consumer, int64_t id, bool *removed,
	struct catchup_error *error);

/* Inside the transaction in hand: a letter that was tried again, and is not in hand any more, says what
 * happened this time. *kept false: it is gone, since somebody else has dealt with it, and is not made again. */
int cu_letters_failed_again(struct cu_conn *conn, const char *consumer, int64_t id,
	const struct catchup_error *why, bool *kept, struct catchup_error *error);

/* The consumers that a database knows, or the one called `consumer`: CATCHUP_USAGE when there is none
 * of that name. *path: the database's absolute path, freed by the caller, also on failure. */
int cu_letters_consumers(const char *database, const char *consumer, char **path,
	struct cu_entries *entries, struct catchup_error *error);

#endif
