/* SPDX-License-Identifier: MIT */
/*
 * source.c - newest id and where ranges end. Rows are in fetch.c, which tables fit in source_table.c.
 *
 * Every question ends its read transaction before it returns.
 */
#include "store/source/source.h"

#include "base/check.h"
#include "base/error.h"
#include "store/source/source_inside.h"
#include "store/source/source_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* "consumer 'totals': source 'orders': "; a table may also be looked at for no consumer. */
int cu_source_prefix(struct cu_source *source, int code, struct catchup_error *error)
{
	if (!error)
		return code;
	if (source->spec.table)
		cu_error_prefix(error, "source '%.200s': ", source->spec.table);
	if (source->spec.consumer)
		cu_error_prefix(error, "consumer '%.200s': ", source->spec.consumer);
	return code;
}

int cu_source_still_fits(struct cu_source *source, struct catchup_error *error)
{
	struct catchup_error why = {0};
	struct cu_table_facts facts;
	int rc;

	if (!source->spec.table)
		return CATCHUP_OK;
	rc = cu_source_inspect(source->conn, &source->spec, &facts, &why);
	if (rc == CATCHUP_OK)
		return rc;
	if (rc == CATCHUP_CONFIG) {
		cu_error_set(error, CATCHUP_CONSUMER, SQLITE_SCHEMA,
			"the table was dropped, renamed or altered: %s", why.message);
		rc = CATCHUP_CONSUMER;
	} else if (error) {
		*error = why;
	}
	return cu_source_prefix(source, rc, error);
}

int cu_source_failed(struct cu_source *source, sqlite3_stmt *stmt, const char *query,
	struct catchup_error *error)
{
	struct catchup_error first = {0}, second = {0};
	int code = cu_error_sqlite(&first, source->conn->db, "%s", query);

	if (stmt)
		sqlite3_reset(stmt);
	if ((first.detail & 0xff) == SQLITE_INTERRUPT &&
		cu_conn_fault(source->conn, first.detail) == CU_FAULT_SLOW)
		cu_error_set(&first, code, first.detail, "%s: no row after %lld ms of processor time, stopped", query,
			(long long)(source->conn->query_ns / CU_NS_PER_MS));
	/* "no such table" and "no such column" come as plain errors. */
	if ((first.detail & 0xff) == SQLITE_ERROR &&
		cu_source_still_fits(source, &second) == CATCHUP_CONSUMER) {
		if (error)
			*error = second;
		return CATCHUP_CONSUMER;
	}
	if (error)
		*error = first;
	return cu_source_prefix(source, code, error);
}

int cu_source_ready(struct cu_source *source, sqlite3_stmt **stmt, struct catchup_error *error,
	const char *fmt, ...)
{
	va_list ap;
	char *sql;
	int rc;

	cu_conn_check_owner(source->conn);
	if (*stmt)
		return CATCHUP_OK;
	va_start(ap, fmt);
	sql = sqlite3_vmprintf(fmt, ap);
	va_end(ap);
	if (!sql)
		return cu_error_nomem(error);
	rc = sqlite3_prepare_v3(source->conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
	sqlite3_free(sql);
	return rc == SQLITE_OK ? CATCHUP_OK : cu_source_failed(source, NULL, "preparing", error);
}

/* ---- opening ------------------------------------------------------------------------------ */

static int wrong_query(struct cu_source *source, const char *query, const char *why,
	struct catchup_error *error)
{
	cu_error_set(error, CATCHUP_CONFIG, 0, "%s query: %s", query, why);
	return cu_source_prefix(source, CATCHUP_CONFIG, error);
}

static int check_parameters(struct cu_source *source, sqlite3_stmt *stmt, const char *query,
	bool bounded, struct catchup_error *error)
{
	for (int i = 1; i <= sqlite3_bind_parameter_count(stmt); i++) {
		const char *name = sqlite3_bind_parameter_name(stmt, i);
		char why[128];

		if (bounded && name && (strcmp(name, "@last") == 0 || strcmp(name, "@max") == 0))
			continue;
		snprintf(why, sizeof(why), "parameter '%.40s' has no value; there %s", name ? name : "?",
			bounded ? "are @last and @max only" : "are none here");
		return wrong_query(source, query, why, error);
	}
	if (!bounded)
		return CATCHUP_OK;
	if (sqlite3_bind_parameter_index(stmt, "@last") == 0)
		return wrong_query(source, query, "it does not use @last", error);
	if (sqlite3_bind_parameter_index(stmt, "@max") == 0)
		return wrong_query(source, query, "it does not use @max", error);
	return CATCHUP_OK;
}

/* The only column of that name; -1 for none, -2 for several. */
static int column_named(sqlite3_stmt *stmt, const char *name)
{
	int found = -1;

	for (int i = 0; i < sqlite3_column_count(stmt); i++) {
		const char *has = sqlite3_column_name(stmt, i);

		if (has && sqlite3_stricmp(has, name) == 0)
			found = found == -1 ? i : -2;
	}
	return found;
}

int cu_source_find_column(struct cu_source *source, sqlite3_stmt *stmt, const char *query,
	const char *column, int *index, struct catchup_error *error)
{
	char why[64];

	*index = column_named(stmt, column);
	if (*index >= 0)
		return CATCHUP_OK;
	snprintf(why, sizeof(why), "it returns %s column '%s'", *index == -1 ? "no" : "more than one",
		column);
	return wrong_query(source, query, why, error);
}

/* A consumer's own query. */
static int prepare_own(struct cu_source *source, const char *query, const char *sql, bool bounded,
	const char *column, sqlite3_stmt **stmt, int *index, struct catchup_error *error)
{
	struct cu_conn *conn = source->conn;
	const char *rest = NULL;
	int rc;

	cu_conn_guard_enter(conn);
	rc = sqlite3_prepare_v3(conn->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, &rest);
	cu_conn_guard_leave(conn);
	if (rc != SQLITE_OK && conn->guard.denied[0]) {
		char why[300];

		snprintf(why, sizeof(why), "not allowed: %s", conn->guard.denied);
		return wrong_query(source, query, why, error);
	}
	if (rc != SQLITE_OK && cu_fault_of(rc) == CU_FAULT_ROW)
		return wrong_query(source, query, sqlite3_errmsg(conn->db), error);
	if (rc != SQLITE_OK)
		return cu_source_failed(source, NULL, query, error);
	if (!*stmt)
		return wrong_query(source, query, "it is empty", error);
	if (*cu_sql_skip_blank(rest))
		return wrong_query(source, query, "it has more than one statement", error);
	if (!sqlite3_stmt_readonly(*stmt))
		return wrong_query(source, query, "it writes", error);
	rc = check_parameters(source, *stmt, query, bounded, error);
	if (rc != CATCHUP_OK)
		return rc;
	return cu_source_find_column(source, *stmt, query, column, index, error);
}

/* The lowest id: a row without one, or below 1, would never be seen. */
static int check_lowest(struct cu_source *source, struct catchup_error *error)
{
	sqlite3_stmt *stmt = NULL;
	int rc = cu_source_ready(source, &stmt, error, "SELECT %s FROM %s ORDER BY %s LIMIT 1",
		source->id, source->ref, source->id);

	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc == SQLITE_DONE) {
		rc = CATCHUP_OK;
	} else if (rc != SQLITE_ROW) {
		rc = cu_source_failed(source, stmt, "looking for the lowest id", error);
	} else if (sqlite3_column_type(stmt, 0) == SQLITE_NULL) {
		cu_error_set(error, CATCHUP_CONFIG, 0, "a row has NULL in column '%s'; it would never be "
			"processed", source->spec.id_column);
		rc = cu_source_prefix(source, CATCHUP_CONFIG, error);
	} else if (sqlite3_column_type(stmt, 0) == SQLITE_INTEGER &&
		sqlite3_column_int64(stmt, 0) < 1) {
		cu_error_set(error, CATCHUP_CONFIG, 0,
			"a row has id %lld; ids begin at 1, and it would never be processed",
			(long long)sqlite3_column_int64(stmt, 0));
		rc = cu_source_prefix(source, CATCHUP_CONFIG, error);
	} else {
		rc = CATCHUP_OK;
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int open_table(struct cu_source *source, struct catchup_error *error)
{
	const struct cu_source_spec *spec = &source->spec;
	struct cu_table_facts facts;
	int rc = cu_source_inspect(source->conn, spec, &facts, error);

	if (rc != CATCHUP_OK)
		return cu_source_prefix(source, rc, error);
	source->warnings = facts.warnings;
	source->autoincrement = facts.autoincrement;
	source->rowid = facts.rowid;
	source->bare = facts.bare;
	source->ref = sqlite3_mprintf("%s.\"%w\"", spec->attached ? "source" : "main", spec->table);
	source->id = cu_sql_quote(spec->id_column);
	if (!source->ref || !source->id)
		return cu_error_nomem(error);
	/* On a view this may have to read all of it: one connection is enough. */
	if (facts.view && source->conn->role != CU_ROLE_READER)
		return CATCHUP_OK;
	return check_lowest(source, error);
}

int cu_source_open(struct cu_source *source, struct cu_conn *conn, const struct cu_source_spec *spec,
	struct catchup_error *error)
{
	bool fetches = conn->role == CU_ROLE_FETCH || conn->role == CU_ROLE_WRITER;
	int rc = CATCHUP_OK;

	cu_conn_check_owner(conn);
	CU_CHECK(!spec->table || spec->id_column);
	CU_CHECK(!spec->attached || conn->guard.source_attached);
	memset(source, 0, sizeof(*source));
	source->conn = conn;
	source->spec = *spec;
	source->id_index = -1;
	if (!spec->table && (!spec->max || (fetches && !spec->next)))
		rc = wrong_query(source, spec->max ? "next" : "max",
			"missing; a consumer without a source table gives both max and next", error);
	if (rc == CATCHUP_OK && spec->table)
		rc = open_table(source, error);
	if (rc == CATCHUP_OK && spec->max)
		rc = prepare_own(source, "max", spec->max, false, "max", &source->newest,
			&source->max_index, error);
	if (rc == CATCHUP_OK && fetches)
		rc = spec->next ? prepare_own(source, "next", spec->next, true, "id", &source->next,
					  &source->id_index, error)
				: cu_source_prepare_next(source, error);
	if (rc == CATCHUP_OK && fetches) {
		source->at_last = sqlite3_bind_parameter_index(source->next, "@last");
		source->at_max = sqlite3_bind_parameter_index(source->next, "@max");
	}
	if (rc != CATCHUP_OK)
		cu_source_close(source);
	return rc;
}

void cu_source_close(struct cu_source *source)
{
	sqlite3_finalize(source->newest);
	sqlite3_finalize(source->cut);
	sqlite3_finalize(source->skip);
	sqlite3_finalize(source->count);
	sqlite3_finalize(source->sequence);
	sqlite3_finalize(source->next);
	sqlite3_finalize(source->mark);
	sqlite3_finalize(source->parked);
	sqlite3_free(source->ref);
	sqlite3_free(source->id);
	memset(source, 0, sizeof(*source));
}

/* ---- questions ---------------------------------------------------------------------------- */

int cu_source_bad_value(struct cu_source *source, sqlite3_stmt *stmt, int column, const char *query,
	struct catchup_error *error)
{
	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_NULL:
		cu_error_set(error, CATCHUP_CONSUMER, 0, "%s query returned id NULL", query);
		break;
	case SQLITE_BLOB:
		cu_error_set(error, CATCHUP_CONSUMER, 0, "%s query returned a blob as id", query);
		break;
	default:
		cu_error_set(error, CATCHUP_CONSUMER, 0,
			"%s query returned id '%.40s', which is not an integer", query,
			(const char *)sqlite3_column_text(stmt, column));
		break;
	}
	return cu_source_prefix(source, CATCHUP_CONSUMER, error);
}

int cu_source_newest(struct cu_source *source, int64_t *newest, bool *empty,
	struct catchup_error *error)
{
	int column = source->spec.max ? source->max_index : 0;
	sqlite3_stmt *stmt;
	int rc = CATCHUP_OK;

	if (!source->spec.max)
		rc = cu_source_ready(source, &source->newest, error, "SELECT max(%s) FROM %s",
			source->id, source->ref);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->newest;
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_source_failed(source, stmt, "max query", error);
	*newest = 0;
	*empty = true;
	if (rc == SQLITE_DONE || sqlite3_column_type(stmt, column) == SQLITE_NULL) {
		rc = CATCHUP_OK;
	} else if (sqlite3_column_type(stmt, column) != SQLITE_INTEGER) {
		rc = cu_source_bad_value(source, stmt, column, "max", error);
	} else {
		int64_t id = sqlite3_column_int64(stmt, column);

		/* A query of the consumer's may say 0 for "nothing yet"; a row with id 0 is an error. */
		if (id < 0 || (id == 0 && !source->spec.max)) {
			cu_error_set(error, CATCHUP_CONSUMER, 0,
				"max query returned id %lld; ids begin at 1", (long long)id);
			rc = cu_source_prefix(source, CATCHUP_CONSUMER, error);
		} else {
			*newest = id;
			*empty = id == 0;
			rc = CATCHUP_OK;
		}
	}
	sqlite3_reset(stmt);
	return rc;
}

int cu_source_highest(struct cu_source *source, int64_t *highest, struct catchup_error *error)
{
	bool empty;
	int rc = cu_source_newest(source, highest, &empty, error);

	if (rc != CATCHUP_OK || !source->autoincrement)
		return rc;
	if (!source->sequence) {
		rc = cu_conn_prepare(source->conn, &source->sequence, error,
			"SELECT max(CAST(seq AS INTEGER)) FROM %s.sqlite_sequence"
			" WHERE lower(name) = lower(?1)", source->spec.attached ? "source" : "main");
		if (rc != CATCHUP_OK)
			return cu_source_prefix(source, rc, error);
	}
	/* Without the name nothing would be found, and a source would seem to have gone backwards. */
	if (sqlite3_bind_text(source->sequence, 1, source->spec.table, -1, SQLITE_STATIC) != SQLITE_OK)
		return cu_source_failed(source, source->sequence, "reading sqlite_sequence", error);
	rc = cu_conn_step_query(source->conn, source->sequence);
	if (rc != SQLITE_ROW)
		return cu_source_failed(source, source->sequence, "reading sqlite_sequence", error);
	if (sqlite3_column_int64(source->sequence, 0) > *highest)
		*highest = sqlite3_column_int64(source->sequence, 0);
	sqlite3_reset(source->sequence);
	return CATCHUP_OK;
}

/* SQLite walks the tree of a damaged file without a look at the order of its ids. */
static int take_end(struct cu_source *source, int64_t lo, int64_t newest, int64_t id, int64_t *hi,
	struct catchup_error *error)
{
	if (id > lo && id <= newest) {
		*hi = id;
		return CATCHUP_OK;
	}
	cu_error_set(error, CATCHUP_DATABASE, SQLITE_CORRUPT,
		"cutting a range: id %lld came between %lld and %lld; the database is damaged",
		(long long)id, (long long)lo, (long long)newest);
	return cu_source_prefix(source, CATCHUP_DATABASE, error);
}

/* The id of the row that ends a range of max_rows rows, where there are so many: half the work of
 * counting them. */
static int skip_rows(struct cu_source *source, int64_t lo, int64_t newest, uint32_t max_rows,
	int64_t *hi, bool *found, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc;

	*found = false;
	/* Without an upper bound SQLite need not look into the rows that it skips. */
	rc = source->rowid
		? cu_source_ready(source, &source->skip, error,
			"SELECT %s FROM %s WHERE %s > ?1 ORDER BY %s LIMIT 1 OFFSET ?3",
			source->id, source->ref, source->id, source->id)
		: cu_source_ready(source, &source->skip, error,
			"SELECT %s FROM %s WHERE %s > ?1 AND %s <= ?2 ORDER BY %s LIMIT 1 OFFSET ?3",
			source->id, source->ref, source->id, source->id, source->id);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->skip;
	sqlite3_bind_int64(stmt, 1, lo);
	sqlite3_bind_int64(stmt, 2, newest);
	sqlite3_bind_int64(stmt, 3, (int64_t)max_rows - 1);
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		return cu_source_failed(source, stmt, "cutting a range", error);
	*found = rc == SQLITE_ROW;
	rc = CATCHUP_OK;
	if (*found && sqlite3_column_type(stmt, 0) != SQLITE_INTEGER)
		rc = cu_source_bad_value(source, stmt, 0, "next", error);
	else if (*found && sqlite3_column_int64(stmt, 0) <= newest)
		rc = take_end(source, lo, newest, sqlite3_column_int64(stmt, 0), hi, error);
	else
		*found = false;
	sqlite3_reset(stmt);
	return rc;
}

int cu_source_cut(struct cu_source *source, int64_t lo, int64_t newest, uint32_t max_rows, int64_t *hi,
	uint32_t *rows, struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc;

	CU_CHECK(lo >= 0 && max_rows > 0);
	*hi = newest;
	if (newest <= lo || newest - lo == 1 || !source->spec.table) {
		/* Between neighbours there is room for one row, and the newest one is there. */
		*rows = newest <= lo ? 0 : source->spec.table ? 1 : CU_ROWS_UNKNOWN;
		return CATCHUP_OK;
	}
	if (newest - lo > max_rows) {
		bool found;

		rc = skip_rows(source, lo, newest, max_rows, hi, &found, error);
		*rows = max_rows;
		if (rc != CATCHUP_OK || found)
			return rc;
	}
	/* Counted inside SQLite along the index, so the cost is by rows, however far apart the ids. */
	rc = cu_source_ready(source, &source->cut, error,
		"SELECT count(*), max(i) FROM (SELECT %s AS i FROM %s"
		" WHERE %s > ?1 AND %s <= ?2 ORDER BY %s LIMIT ?3)",
		source->id, source->ref, source->id, source->id, source->id);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->cut;
	sqlite3_bind_int64(stmt, 1, lo);
	sqlite3_bind_int64(stmt, 2, newest);
	sqlite3_bind_int64(stmt, 3, max_rows);
	rc = cu_conn_step_query(source->conn, stmt);
	if (rc != SQLITE_ROW)
		return cu_source_failed(source, stmt, "cutting a range", error);
	*rows = (uint32_t)sqlite3_column_int64(stmt, 0);
	rc = CATCHUP_OK;
	/* With fewer rows than asked for, what is left up to the newest id holds none. */
	if (*rows == max_rows) {
		if (sqlite3_column_type(stmt, 1) == SQLITE_INTEGER)
			rc = take_end(source, lo, newest, sqlite3_column_int64(stmt, 1), hi, error);
		else
			rc = cu_source_bad_value(source, stmt, 1, "next", error);
	}
	sqlite3_reset(stmt);
	return rc;
}

int cu_source_count(struct cu_source *source, int64_t lo, int64_t limit, int64_t *rows,
	struct catchup_error *error)
{
	sqlite3_stmt *stmt;
	int rc;

	*rows = -1;
	if (!source->spec.table)
		return CATCHUP_OK;
	rc = cu_source_ready(source, &source->count, error,
		"SELECT count(*) FROM (SELECT %s FROM %s WHERE %s > ?1 LIMIT ?2)",
		source->id, source->ref, source->id);
	if (rc != CATCHUP_OK)
		return rc;
	stmt = source->count;
	sqlite3_bind_int64(stmt, 1, lo);
	sqlite3_bind_int64(stmt, 2, limit);
	if (cu_conn_step_query(source->conn, stmt) != SQLITE_ROW)
		return cu_source_failed(source, stmt, "counting rows", error);
	*rows = sqlite3_column_int64(stmt, 0);
	sqlite3_reset(stmt);
	return CATCHUP_OK;
}
