/* SPDX-License-Identifier: MIT */
/*
 * ledger.h - what is kept about a consumer in its results database: watermark, counters, state, dead
 * letters, lease. Everything here is written through the connection that also writes the results, in
 * the same transaction.
 *
 *	catchup(name, last)                        the watermark; exactly as the Go package makes it
 *	catchup_state(name, ...)                   counters, why it is stopped or paused, fingerprint
 *	catchup_dead(consumer, id, ...)            dead letters
 *	catchup_lease(name, owner, fence, expiry)  who runs it
 *	catchup_consumer(name, source, into, ...)  in the source's database: where the results are
 */
#ifndef CU_STORE_LEDGER_H
#define CU_STORE_LEDGER_H

#include "store/connection/connection.h"

/* One consumer's, on a connection that may have those of others, too. Nothing has to be closed. */
struct cu_ledger {
	struct cu_conn *conn; /* borrowed writer */
	const char *name;     /* borrowed; as long as the connection is open */
};

/* Makes the tables where they are missing; checks that those of these names are ours. In a
 * transaction of its own unless one is in hand; writes nothing when all are there. */
int cu_ledger_create_tables(struct cu_conn *conn, struct catchup_error *error);

int cu_ledger_open(struct cu_ledger *ledger, struct cu_conn *conn, const char *name,
	struct catchup_error *error);

/* Watermark; 0 for a consumer without a row. */
int cu_ledger_load(struct cu_ledger *ledger, int64_t *watermark, struct catchup_error *error);

/* What one transaction adds to a consumer's counters, in rows; see struct catchup_consumer_status. */
struct cu_counts {
	int64_t offered, applied, passed, parked, retries;
	int64_t vanished;
	int64_t in_hand; /* rows to expect in hand at a crash; 0: not known, -1: as many as before */
};

/*
 * Moves the watermark from expected to next and adds to the counters (add: NULL for nothing), inside the
 * transaction in hand. fence: that of the lease which this process holds on the consumer, 0 for none.
 * The update names what it expects; *lost is set, and nothing is changed, when another process has
 * moved the watermark or taken the lease (fence differs, where fence is not 0).
 */
int cu_ledger_save(struct cu_ledger *ledger, int64_t expected, int64_t next, int64_t fence,
	const struct cu_counts *add, bool *lost, struct catchup_error *error);

/* The same where a source's order began anew (a changelog's sequence): next may be lower than
 * expected. Nothing else may move a watermark back. */
int cu_ledger_restart(struct cu_ledger *ledger, int64_t expected, int64_t next, int64_t fence,
	bool *lost, struct catchup_error *error);

/*
 * The same because somebody asked for it: the watermark is moved from whatever it is, under a lease
 * (fence not 0); dead letters above it are dropped, counters, trouble and fingerprint are forgotten.
 * *dropped: how many letters.
 */
int cu_ledger_reset(struct cu_ledger *ledger, int64_t watermark, int64_t fence, int64_t *dropped,
	bool *lost, struct catchup_error *error);

/* Fingerprint of the newest processed row, kept where results are in a file of their own. */
int cu_ledger_save_mark(struct cu_ledger *ledger, int64_t id, int64_t hash,
	struct catchup_error *error);
int cu_ledger_load_mark(struct cu_ledger *ledger, int64_t *id, int64_t *hash, bool *known,
	struct catchup_error *error);

/*
 * The row that is about to be processed by one who fears to die of it, and at which try. mark: *lost, and
 * nothing is written, when the lease is no longer ours; in a transaction of its own. back: the row is not
 * processed any more, for now; the same. unmark: it is behind us; inside the transaction in hand. end_care:
 * from now on rows are in hand that were not marked; the same.
 */
int cu_ledger_mark(struct cu_ledger *ledger, int64_t row, uint32_t attempts, int64_t fence, bool *lost,
	struct catchup_error *error);
int cu_ledger_mark_back(struct cu_ledger *ledger, int64_t fence, struct catchup_error *error);
int cu_ledger_unmark(struct cu_ledger *ledger, struct catchup_error *error);
int cu_ledger_end_care(struct cu_ledger *ledger, struct catchup_error *error);
struct cu_attempt {
	int64_t row;   /* 0 for none */
	uint32_t attempts;
	int64_t fence; /* under which it was marked, 0: care has ended since */
	bool came_back;
	uint32_t in_hand; /* as cu_counts said last; 0: not known */
};
int cu_ledger_load_attempt(struct cu_ledger *ledger, struct cu_attempt *attempt,
	struct catchup_error *error);

/* Why a consumer is stopped or paused; state: enum catchup_state. code CATCHUP_OK clears it. In a
 * transaction of its own unless one is in hand. */
struct cu_trouble {
	int state;
	int code;             /* enum catchup_code */
	const char *category; /* cu_fault_name */
	int64_t row;          /* 0: about no row */
	const char *message;
	int64_t since_ms;     /* Unix time; 0: now */
	int64_t fence;        /* written only while the lease is ours; 0: in any case */
};
/* The state that is stored with a trouble; CATCHUP_STATE_IDLE when there is none. */
int cu_ledger_load_trouble(struct cu_ledger *ledger, int *state, struct catchup_error *error);
int cu_ledger_save_trouble(struct cu_ledger *ledger, const struct cu_trouble *trouble,
	struct catchup_error *error);

/* A dead letter, inside the transaction in hand. key: NULL for none. A second one for the same row
 * adds to attempts. */
struct cu_dead_letter {
	int64_t id;
	const char *key;
	size_t key_bytes;
	int code;             /* SQLite extended result code, 0 for none */
	const char *message;
	int64_t attempts;
	const char *event;    /* of a changelog, as a line; NULL: it is a row, or was too long to keep */
	size_t event_bytes;
};
int cu_ledger_add_dead(struct cu_ledger *ledger, const struct cu_dead_letter *letter,
	struct catchup_error *error);
/* Whether any row is parked with a key; whether one with this key is (then later ones park behind it). */
int cu_ledger_has_dead_keys(struct cu_ledger *ledger, bool *has, struct catchup_error *error);
int cu_ledger_has_dead_key(struct cu_ledger *ledger, const char *key, size_t key_bytes, bool *has,
	struct catchup_error *error);

/*
 * Leases. Time is the machine's boot clock and is void with another boot id. take succeeds when
 * nobody holds the lease, the holder's process is gone, its lease has expired, or it is ours; it then
 * raises the fence. *fence 0: somebody else has it; owner (256 bytes) says who and *wait_ns how long
 * to wait before asking again. *died: it was taken over from a process that has ended, as far as can be
 * told, without giving it back, also when the machine went down with it; owner says which. In a transaction
 * of its own.
 */
struct cu_owner {
	char name[256];    /* "host:pid", shown to people */
	char boot[64];
	int64_t pid;
	int64_t start;     /* of the process, clock ticks since boot */
	int64_t instance;  /* random, tells two runtimes of one process apart */
	int64_t space;     /* cu_os_pid_space: where pid means something */
};
void cu_owner_self(struct cu_owner *owner);
int cu_ledger_take_lease(struct cu_ledger *ledger, const struct cu_owner *self, int64_t life_ns,
	int64_t *fence, char *other, size_t other_bytes, int64_t *wait_ns, bool *died,
	struct catchup_error *error);
/* For a change to a consumer that nobody may run meanwhile: CATCHUP_LOCKED when somebody does. *fence: to
 * be dropped again, 0 unless CATCHUP_OK. It lasts a minute. */
int cu_ledger_borrow_lease(struct cu_ledger *ledger, int64_t *fence, struct catchup_error *error);
/* Inside the transaction in hand or in one of its own. *lost when the fence is no longer ours. */
int cu_ledger_renew_lease(struct cu_ledger *ledger, int64_t fence, int64_t life_ns, bool *lost,
	struct catchup_error *error);
/* The same, and renews all others that this owner's instance holds in the file with it: a thousand idle
 * consumers need one small transaction now and then, not a thousand. */
int cu_ledger_renew_all(struct cu_ledger *ledger, const struct cu_owner *self, int64_t fence,
	int64_t life_ns, bool *lost, struct catchup_error *error);
int cu_ledger_drop_lease(struct cu_ledger *ledger, int64_t fence, struct catchup_error *error);
/* That of another consumer of the same results database. */
int cu_ledger_drop_lease_of(struct cu_ledger *ledger, const char *name, int64_t fence);
/* Whether somebody holds a lease of these properties now, seen from `self`. */
bool cu_lease_is_held(const struct cu_owner *holder, int64_t expires_ns, const struct cu_owner *self);

/* Writes, in the source's database, what a consumer is and where its results are. conn: a writer whose
 * main is the source's file. Writes nothing when it is there already; in a transaction of its own unless
 * one is in hand. */
struct cu_registration {
	const char *name;
	const char *source, *id_column, *max, *next; /* NULL for none */
	const char *into; /* absolute path, "" for the source's own file */
	const char *spec; /* what makes the consumer again, NULL when nothing does */
};
int cu_ledger_register(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error);
/* Whether the source of a consumer was another one when it got to the watermark that it has: CATCHUP_CONFIG,
 * and says which. conn: with its results, and its source attached where that is in another file. */
int cu_ledger_check_source(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error);
/* The same of one that has been registered with this source, whether somebody else has registered it with
 * another one since. */
int cu_ledger_check_registered(struct cu_conn *conn, const struct cu_registration *registration,
	struct catchup_error *error);

#endif
