/* SPDX-License-Identifier: MIT */
/*
 * record.h - reading what a results database keeps about a consumer, and which consumers there are.
 * Any connection will do; nothing is written.
 */
#ifndef CU_STORE_RECORD_H
#define CU_STORE_RECORD_H

#include "store/ledger/ledger.h"

/* What a results database keeps about a consumer. Tables that are missing say nothing. */
struct cu_record {
	bool known;          /* there is a watermark or a state */
	struct catchup_consumer_status status; /* strings belong to the record; name, source, into and
	                                          newest are not filled */
	bool held;           /* by a living owner */
	bool abandoned;      /* its last owner is gone and has not said so */
	int64_t fence;       /* of the lease held last, 0 for none */
	int64_t attempt_row, attempts, attempt_fence; /* the row that is marked, as it is stored */
	char owner[256];
	char lost_owner[256];
	char message[CATCHUP_MESSAGE_BYTES];
	char category[32];
	int64_t counted_from, counted_to, counted; /* rows offered in (from, to] */
	bool marked;         /* there is a fingerprint of the newest processed row */
	int64_t mark_id, mark_hash;
	int64_t dead_first, dead_last; /* ids of its dead letters, 0 for none */
};
/* Of one that nothing is kept about. */
void cu_record_clear(struct cu_record *record);
int cu_record_read(struct cu_conn *conn, const char *name, const struct cu_owner *self,
	struct cu_record *record, struct catchup_error *error);

/* Whether trouble that is written down is there now: who died while it paused does not pause any more,
 * and who has stopped does not have the lease. */
bool cu_record_in_trouble(const struct cu_record *record);

/* A registered consumer. Strings owned, NULL where not given. */
struct cu_entry {
	char *name, *into, *source, *id_column, *max, *next, *spec;
};
struct cu_entries {
	struct cu_entry *items;
	size_t n;
};

/* All consumers that a source's database knows, or those called `name`, the newest registration first
 * among equal names. */
int cu_entries_read(struct cu_conn *conn, const char *name, struct cu_entries *entries,
	struct catchup_error *error);
void cu_entries_finish(struct cu_entries *entries);

#endif
