/* SPDX-License-Identifier: MIT */
/*
 * fetch.c - a source's rows in order, each id checked, and their fingerprints.
 */
#include "store/source/source.h"

#include "base/check.h"
#include "base/error.h"
#include "store/source/source_inside.h"

#include <stdio.h>
#include <string.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME UINT64_C(0x100000001b3)

/* ---- rows --------------------------------------------------------------------------------- */

/* Where the id stands in next. It may have moved when SQLite has prepared the query anew. */
static int find_id(struct cu_source *source, struct catchup_error *error)
{
	const char *column = source->spec.next || source->bare ? "id" : source->spec.id_column;
	int rc = CATCHUP_OK;

	source->prepared = sqlite3_stmt_status(source->next, SQLITE_STMTSTATUS_REPREPARE, 0);
	if (source->bare && !source->spec.next)
		source->id_index = 0;
	else
		rc = cu_source_find_column(source, source->next, "next", column, &source->id_index,
			error);
	return rc;
}

/*
 * The table's columns as they are declared, so that C code may count on their places; only a rowid,
 * which is not among them, goes in front.
 *
 * Rowids have no upper bound in the query: SQLite would compare each row's, and here they are compared
 * in any case. In other columns an id may be text, and that stands above all integers.
 */
int cu_source_prepare_next(struct cu_source *source, struct catchup_error *error)
{
	bool bounded = !source->rowid;
	int rc;

	source->plain = source->rowid;
	rc = cu_source_ready(source, &source->next, error,
		"SELECT %s%s* FROM %s WHERE %s > @last%s%s%s ORDER BY %s",
		source->bare ? source->id : "", source->bare ? " AS id, " : "", source->ref,
		source->id, bounded ? " AND " : "", bounded ? source->id : "",
		bounded ? " <= @max" : "", source->id);

	return rc == CATCHUP_OK ? find_id(source, error) : rc;
}

void cu_source_fetch_begin(struct cu_source *source, int64_t last, int64_t max)
{
	cu_conn_check_owner(source->conn);
	CU_CHECK(source->next && !source->fetching);
	CU_CHECK(last >= 0 && last <= max);
	sqlite3_bind_int64(source->next, source->at_last, last);
	if (source->at_max > 0)
		sqlite3_bind_int64(source->next, source->at_max, max);
	source->last = source->seen = last;
	source->max = max;
	source->fetching = true;
}

/* What is wrong with the id of the row in hand. */
static int bad_id(struct cu_source *source, int64_t id, struct catchup_error *error)
{
	if (sqlite3_column_type(source->next, source->id_index) != SQLITE_INTEGER)
		return cu_source_bad_value(source, source->next, source->id_index, "next", error);
	if (id <= source->last || id > source->max)
		cu_error_set(error, CATCHUP_CONSUMER, 0,
			"next query returned id %lld outside the range it was asked for, %lld < id <= %lld",
			(long long)id, (long long)source->last, (long long)source->max);
	else
		cu_error_set(error, CATCHUP_CONSUMER, 0, "next query returned id %lld after id %lld; %s",
			(long long)id, (long long)source->seen,
			id == source->seen ? "an id comes once" : "rows must ascend");
	return cu_source_prefix(source, CATCHUP_CONSUMER, error);
}

/* The schema cannot change while the query runs, so the first row is the time to ask whether SQLite has
 * prepared it anew. */
static int check_columns(struct cu_source *source, struct catchup_error *error)
{
	if (sqlite3_stmt_status(source->next, SQLITE_STMTSTATUS_REPREPARE, 0) == source->prepared)
		return CATCHUP_OK;
	/* From now on what is in the column is looked at. */
	source->plain = false;
	if (find_id(source, error) == CATCHUP_OK)
		return CATCHUP_OK;
	return cu_error_set(error, CATCHUP_CONSUMER, SQLITE_SCHEMA,
		"consumer '%.200s': next query: after a change of the schema it returns no column of "
		"that name any more", source->spec.consumer);
}

int cu_source_fetched_other(struct cu_source *source, int rc, int64_t *id, struct catchup_error *error)
{
	sqlite3_stmt *stmt = source->next;
	int64_t value;

	*id = 0;
	if (rc == SQLITE_DONE) {
		/* Ends the read transaction now, whatever the caller does next. */
		sqlite3_reset(stmt);
		return CATCHUP_OK;
	}
	if (rc != SQLITE_ROW)
		return cu_source_failed(source, stmt, "next query", error);
	rc = source->seen == source->last ? check_columns(source, error) : CATCHUP_OK;
	value = sqlite3_column_int64(stmt, source->id_index);
	if (rc == CATCHUP_OK && cu_source_is_next(source, value)) {
		source->seen = value;
		*id = value;
		return CATCHUP_OK;
	}
	/* Behind the range's end; there is no other end in the query. */
	if (rc == CATCHUP_OK && (source->at_max > 0 || value <= source->max))
		rc = bad_id(source, value, error);
	sqlite3_reset(stmt);
	return rc;
}

sqlite3_stmt *cu_source_row(struct cu_source *source)
{
	return source->next;
}

void cu_source_fetch_end(struct cu_source *source)
{
	if (source->next)
		sqlite3_reset(source->next);
	source->fetching = false;
}

/* ---- fingerprints ------------------------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ p[i]) * FNV_PRIME;
	return hash;
}

/* Place, type, length and bytes of a value. False without memory. */
static bool mix_value(uint64_t *hash, int place, sqlite3_stmt *row, int column)
{
	int32_t head[2] = {place, sqlite3_column_type(row, column)};
	const void *bytes = NULL;
	int64_t integer, length = 8;
	double real;

	switch (head[1]) {
	case SQLITE_NULL:
		return true;
	case SQLITE_INTEGER:
		integer = sqlite3_column_int64(row, column);
		bytes = &integer;
		break;
	case SQLITE_FLOAT:
		real = sqlite3_column_double(row, column);
		bytes = &real;
		break;
	default:
		bytes = head[1] == SQLITE_TEXT ? (const void *)sqlite3_column_text(row, column)
					       : sqlite3_column_blob(row, column);
		length = sqlite3_column_bytes(row, column);
		break;
	}
	if (!bytes && length > 0)
		return false;
	*hash = mix(*hash, head, sizeof(head));
	*hash = mix(*hash, &length, sizeof(length));
	if (bytes)
		*hash = mix(*hash, bytes, (size_t)length);
	return true;
}

/* The id, then each column that is not NULL: a column that is added to the table later changes nothing.
 * False without memory. */
static bool hash_row(sqlite3_stmt *row, int id_column, bool bare, int64_t *result)
{
	uint64_t hash = FNV_START;
	bool whole = mix_value(&hash, 0, row, id_column);

	for (int i = bare ? 1 : 0; i < sqlite3_column_count(row) && whole; i++)
		whole = mix_value(&hash, bare ? i : i + 1, row, i);
	*result = (int64_t)hash;
	return whole;
}

int cu_source_fingerprint(struct cu_source *source, int64_t at, int64_t *id, int64_t *hash,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int column = 0;
	int rc;

	*id = *hash = 0;
	if (!source->spec.table)
		return CATCHUP_OK;
	/* A table may have as many columns as a query can: an id that is among them is not asked for
	 * twice. */
	rc = cu_source_ready(source, &source->mark, error,
		"SELECT %s%s* FROM %s WHERE %s <= ?1 ORDER BY %s DESC LIMIT 1",
		source->bare ? source->id : "", source->bare ? ", " : "", source->ref, source->id,
		source->id);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->mark;
	sqlite3_bind_int64(stmt, 1, at);
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_source_failed(source, stmt, "reading a fingerprint", error);
	if (rc == SQLITE_ROW) {
		rc = source->bare ? CATCHUP_OK
				  : cu_source_find_column(source, stmt, "fingerprint",
					    source->spec.id_column, &column, error);
		if (rc == CATCHUP_OK && !hash_row(stmt, column, source->bare, hash))
			rc = cu_error_nomem(error);
		if (rc == CATCHUP_OK)
			*id = sqlite3_column_int64(stmt, column);
	} else {
		rc = CATCHUP_OK;
	}
	sqlite3_reset(stmt);
	return rc;
}

int cu_source_fingerprint_of(struct cu_source *source, int64_t id, bool *found, int64_t *hash,
	struct catchup_error *error)
{
	int64_t newest;
	int rc = cu_source_fingerprint(source, id, &newest, hash, error);

	*found = rc == CATCHUP_OK && newest == id && id != 0;
	return rc;
}
