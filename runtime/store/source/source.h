/* SPDX-License-Identifier: MIT */
/*
 * source.h - questions to a source: newest id, where ranges end, rows in order, fingerprints.
 *
 * A cu_source lives on one connection (reader, fetch or writer) and belongs to its thread. Which
 * schema the table is in ("main" or "source") follows from the connection.
 */
#ifndef CU_STORE_SOURCE_H
#define CU_STORE_SOURCE_H

#include "store/connection/connection.h"

#define CU_ROWS_UNKNOWN UINT32_MAX

struct cu_source_spec {
	const char *table;     /* NULL: only max and next */
	const char *id_column; /* never NULL when table is given; "rowid" is allowed */
	const char *max;       /* the consumer's own query, or NULL */
	const char *next;      /* the consumer's own query, or NULL */
	const char *consumer;  /* for messages */
	bool attached;         /* the table is in schema "source" */
	bool id_assumed;       /* nobody has said which column is the id: a view is refused */
};

/* Things about a table that the user should hear once. */
#define CU_SOURCE_NO_AUTOINCREMENT (1u << 0) /* ids of deleted rows can come again */
#define CU_SOURCE_BARE_ROWID (1u << 1)       /* rowid without an alias: VACUUM renumbers */

struct cu_source {
	struct cu_conn *conn; /* borrowed */
	struct cu_source_spec spec; /* strings borrowed */
	unsigned warnings;
	bool autoincrement;
	bool rowid;           /* the id is the rowid or its alias */
	bool bare;            /* the id is the rowid, which SELECT * does not return */
	char *ref;            /* owned; "schema"."table", quoted; NULL without a table */
	char *id;             /* owned; the id column, quoted */
	sqlite3_stmt *newest, *cut, *skip, *count, *sequence, *next, *mark,
		*parked; /* made when first used */
	int max_index;        /* of column `max` in the consumer's own max */
	bool plain;           /* next is ours, and its id is a rowid */
	int at_last, at_max;  /* parameters of next; at_max 0: it has no upper bound */
	int id_index;         /* of column `id` in next */
	int prepared;         /* times that SQLite had prepared next anew when id_index was found */
	int64_t last, max;    /* bounds of the fetch in hand */
	int64_t seen;         /* id that the fetch in hand returned last */
	bool fetching;
};

/*
 * Prepares the queries that the connection's role needs and checks that the source fits: the table
 * exists, is a table or a view with a declared id, the id is INTEGER and unique (rowid alias, unique
 * index, rowid), no shadow, virtual or sqlite_ table; `max` has a column max, `next` a column id and
 * the parameters @last and @max and no others; no id below 1.
 * Returns CATCHUP_OK or CATCHUP_CONFIG / ... with a message that names consumer and table.
 *
 * A view is accepted when it has the id column: nobody can tell whether it is unique there, but rows
 * out of order are found as they come. `next` is looked at on connections that fetch (FETCH, WRITER).
 */
int cu_source_open(struct cu_source *source, struct cu_conn *conn,
	const struct cu_source_spec *spec, struct catchup_error *error);
void cu_source_close(struct cu_source *source);

/*
 * Whether the table, as it is now, can still be followed: CATCHUP_OK, or CATCHUP_CONSUMER with detail
 * SQLITE_SCHEMA (CU_FAULT_SCHEMA) and the reason. All functions below ask by themselves when SQLite
 * reports an error of the statement, so a table that was dropped is never taken for a bad row.
 */
int cu_source_still_fits(struct cu_source *source, struct catchup_error *error);

/* Newest id; 0 and *empty for a source without rows. */
int cu_source_newest(struct cu_source *source, int64_t *newest, bool *empty,
	struct catchup_error *error);

/* The highest id that the table ever gave (sqlite_sequence), or the newest where it is not kept: a
 * table may be pruned to nothing and is not backwards for that. */
int cu_source_highest(struct cu_source *source, int64_t *highest, struct catchup_error *error);

/*
 * Where a range of at most max_rows rows above lo ends: (lo, *hi] with *rows rows in it, *hi <=
 * newest. With max_rows rows in it *hi is the id of the last of them, with fewer it is newest. Cost
 * by rows, whatever the ids are. Sources without a table are not counted: *hi = newest, *rows =
 * CU_ROWS_UNKNOWN (UINT32_MAX).
 */
int cu_source_cut(struct cu_source *source, int64_t lo, int64_t newest, uint32_t max_rows,
	int64_t *hi, uint32_t *rows, struct catchup_error *error);

/* Rows with id > lo, counted up to limit. -1 for a source without a table. */
int cu_source_count(struct cu_source *source, int64_t lo, int64_t limit, int64_t *rows,
	struct catchup_error *error);

/*
 * Rows of (last, max] in order. begin opens a read transaction at the first step; end closes it. next
 * returns CATCHUP_OK with *id, or 0 in *id at the end, or an error: CATCHUP_CONSUMER when the query
 * returned an id that is NULL, not an integer, outside (last, max], or not above the one before; the
 * message names consumer, query and id, and detail is 0: no row can be blamed, so no policy applies.
 */
void cu_source_fetch_begin(struct cu_source *source, int64_t last, int64_t max);
static inline int cu_source_fetch_next(
	struct cu_source *source, int64_t *id, struct catchup_error *error);
sqlite3_stmt *cu_source_row(struct cu_source *source); /* the row fetch_next stands on */
void cu_source_fetch_end(struct cu_source *source);

/* Whether the row in hand is the next of the range. A rowid is an integer as it is. */
static inline bool cu_source_is_next(const struct cu_source *source, int64_t id)
{
	return id > source->seen && id <= source->max &&
		(source->plain ||
			sqlite3_column_type(source->next, source->id_index) == SQLITE_INTEGER);
}

/* The rest of fetch_next: the first row, the end, and what is wrong. rc: what the step returned. */
int cu_source_fetched_other(
	struct cu_source *source, int rc, int64_t *id, struct catchup_error *error);

/* In line, since it is half of what is done for a row beside SQLite's part. */
static inline int cu_source_fetch_next(
	struct cu_source *source, int64_t *id, struct catchup_error *error)
{
	int rc;

	CU_CHECK(source->fetching);
	rc = cu_conn_step_query(source->conn, source->next);
	if (rc == SQLITE_ROW && source->seen != source->last) {
		*id = sqlite3_column_int64(source->next, source->id_index);
		if (cu_source_is_next(source, *id)) {
			source->seen = *id;
			return CATCHUP_OK;
		}
	}
	return cu_source_fetched_other(source, rc, id, error);
}

/* The first row of (lo, hi] whose column, as text, is the key of a dead letter of the consumer's; 0 for
 * none. The source is on the connection that writes the results. */
int cu_source_first_parked(struct cu_source *source, const char *consumer, const char *column,
	int64_t lo, int64_t hi, int64_t *id, struct catchup_error *error);

/* Fingerprint of the newest row at or below an id: its id and a 64-bit hash of all its columns
 * (FNV-1a over types, lengths and bytes). *id = 0 when there is no such row. */
int cu_source_fingerprint(struct cu_source *source, int64_t at, int64_t *id, int64_t *hash,
	struct catchup_error *error);

/* The same of exactly one row; *found false when it is not there. */
int cu_source_fingerprint_of(struct cu_source *source, int64_t id, bool *found, int64_t *hash,
	struct catchup_error *error);

#endif
