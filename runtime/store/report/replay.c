/* SPDX-License-Identifier: MIT */
/*
 * replay.c - rows of results are put aside and compared as text: quote() of each column, so that 1, 1.0
 * and '1' are three things, and so are 'a' and 'A' whatever the column's collation says. The same text
 * as often on both sides: tables may hold a row twice.
 */
#include "store/report/replay.h"

#include "base/error.h"
#include "store/connection/path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS 10000
#define COLUMNS_MAX 400 /* SQLite bounds how deep an expression may be */
#define SHOWN_BYTES 160 /* of a row that differs */

static int failed(struct cu_conn *conn, struct catchup_error *error)
{
	return cu_error_sqlite(error, conn->db, "temporary database '%.300s'", conn->main_path);
}

/* Opens a copy, and attaches another file under a name. */
static int open_copy(struct cu_conn *conn, const char *path, const char *other, const char *name,
	struct catchup_error *error)
{
	const struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = path,
		.synchronous = CATCHUP_SYNCHRONOUS_OFF, .busy_ms = BUSY_MS};
	char *uri;
	int rc = cu_conn_open(conn, &options, error);

	if (rc != CATCHUP_OK)
		return rc;
	/* Rows are moved about that the schema would have a say in. */
	if (sqlite3_db_config(conn->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, (int *)NULL) != SQLITE_OK)
		rc = failed(conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_conn_exec(conn, "PRAGMA foreign_keys=OFF", NULL, 0, error);
	if (rc != CATCHUP_OK || !other)
		return rc;
	uri = cu_path_uri(other, "rw");
	rc = uri ? cu_conn_exec_owned(conn, sqlite3_mprintf("ATTACH %Q AS %s", uri, name), error)
		 : cu_error_nomem(error);
	free(uri);
	return rc;
}

/* The first row of one question: its first column as a text, "" when there is no row, and, where
 * `number` is not NULL, its second. Takes the question. */
static int ask_both(struct cu_conn *conn, char **out, int64_t *number, struct catchup_error *error, char *sql)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	*out = NULL;
	if (!sql)
		return cu_error_nomem(error);
	rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
	sqlite3_free(sql);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
		const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;

		if (number)
			*number = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 1) : 0;
		*out = strdup(text ? text : "");
		rc = *out ? CATCHUP_OK : cu_error_nomem(error);
	} else {
		rc = failed(conn, error);
	}
	sqlite3_finalize(stmt);
	return rc;
}

static int ask(struct cu_conn *conn, char **out, struct catchup_error *error, char *sql)
{
	return ask_both(conn, out, NULL, error, sql);
}

/* ---- tables -------------------------------------------------------------------------------------- */

/* An expression that makes one text of a row of main.table: "" for what has no rows of its own (views,
 * and tables that belong to a virtual one). Where shift is not 0, the table has an id that counts up by
 * itself, and so much is added to it. NULL in *out on failure. */
static int line_of(
	struct cu_conn *conn, const char *table, int64_t shift, char **out, struct catchup_error *error)
{
	return ask(conn, out, error, sqlite3_mprintf(
		"SELECT CASE WHEN count(*) BETWEEN 1 AND %d THEN group_concat("
		"CASE WHEN x.pk AND %lld <> 0 THEN printf('quote(\"%%w\" + %%lld)', x.name, %lld) ELSE "
		"printf('CASE WHEN instr(\"%%w\", char(0)) THEN quote(CAST(\"%%w\" AS BLOB)) "
		"ELSE quote(\"%%w\") END', x.name, x.name, x.name) END, ' || '', '' || ') ELSE '' END"
		" FROM pragma_table_list(%Q) AS l, pragma_table_xinfo(%Q, 'main') AS x"
		" WHERE l.schema = 'main' AND l.type IN ('table', 'virtual') AND x.hidden <> 1",
		COLUMNS_MAX, (long long)shift, (long long)shift, table, table));
}

/* The column of a table that counts up by itself (AUTOINCREMENT); "" where there is none. Only a table
 * that has had a row is known to SQLite as such a one. */
static int counting_column(
	struct cu_conn *conn, const char *table, char **out, struct catchup_error *error)
{
	int rc = ask(conn, out, error, sqlite3_mprintf(
		"SELECT name FROM main.sqlite_schema WHERE name = 'sqlite_sequence'"));

	if (rc != CATCHUP_OK || !**out)
		return rc;
	free(*out);
	return ask(conn, out, error, sqlite3_mprintf(
		"SELECT x.name FROM main.sqlite_sequence AS s, pragma_table_xinfo(%Q, 'main') AS x"
		" WHERE lower(s.name) = lower(%Q) AND x.pk", table, table));
}

static int put_aside(struct cu_conn *conn, const char *table, size_t i, struct catchup_error *error)
{
	char *line = NULL, *counts = NULL;
	int rc = line_of(conn, table, 0, &line, error);

	if (rc == CATCHUP_OK)
		rc = counting_column(conn, table, &counts, error);
	if (rc == CATCHUP_OK && line[0] && counts[0])
		rc = cu_conn_exec_owned(conn, sqlite3_mprintf("CREATE TABLE saved.ids%d AS SELECT"
			" max(\"%w\") AS newest FROM main.\"%w\"", (int)i, counts, table), error);
	if (rc == CATCHUP_OK && line[0])
		rc = cu_conn_exec_owned(conn, sqlite3_mprintf("CREATE TABLE saved.t%d AS SELECT %s AS line FROM"
			" main.\"%w\"; DELETE FROM main.\"%w\"", (int)i, line, table, table), error);
	/* Ids that count up by themselves begin anew. */
	if (rc == CATCHUP_OK && counts[0])
		rc = cu_conn_exec_owned(conn, sqlite3_mprintf("DELETE FROM main.sqlite_sequence"
			" WHERE lower(name) = lower(%Q)", table), error);
	free(counts);
	free(line);
	return rc;
}

/* ---- preparing ------------------------------------------------------------------------------------ */

/* Leaves in the source what the consumer was to have processed. */
static int cut_source(const struct cu_replay *r, struct catchup_error *error)
{
	bool separate = strcmp(r->source, r->results) != 0;
	const char *schema = separate ? "results" : "main";
	struct cu_conn conn = {0};
	char *type = NULL;
	int rc = open_copy(&conn, r->source, separate ? r->results : NULL, schema, error);

	if (rc == CATCHUP_OK)
		rc = ask(&conn, &type, error, sqlite3_mprintf("SELECT type FROM main.sqlite_schema"
			" WHERE lower(name) = lower(%Q) AND type IN ('table', 'view')", r->table));
	if (rc == CATCHUP_OK && strcmp(type, "view") == 0)
		rc = cu_error_set(error, CATCHUP_CONFIG, 0, "its source '%.200s' is a view", r->table);
	if (rc == CATCHUP_OK)
		rc = cu_conn_exec_owned(&conn, sqlite3_mprintf(
			"DELETE FROM main.\"%w\" WHERE \"%w\" > coalesce((SELECT last FROM %s.catchup"
			" WHERE name = %Q), 0) OR \"%w\" IN (SELECT id FROM %s.catchup_dead"
			" WHERE consumer = %Q)",
			r->table, r->id_column, schema, r->consumer, r->id_column, schema,
			r->consumer), error);
	free(type);
	cu_conn_close(&conn);
	return rc;
}

/* An empty file becomes a database with the text encoding of the one it is attached to. */
static int make_empty(const char *path, struct catchup_error *error)
{
	int fd = cu_file_open(path, CU_OPEN_APPEND | CU_OPEN_CREATE_NEW);

	if (fd < 0)
		return cu_error_errno(error, CATCHUP_IO, -fd, "cannot make '%.300s'", path);
	cu_file_close(fd);
	return CATCHUP_OK;
}

int cu_replay_prepare(const struct cu_replay *r, struct catchup_error *error)
{
	struct cu_conn conn = {0};
	int rc = cut_source(r, error);

	if (rc == CATCHUP_OK)
		rc = make_empty(r->saved, error);
	if (rc == CATCHUP_OK)
		rc = open_copy(&conn, r->results, r->saved, "saved", error);
	for (size_t i = 0; i < r->n_tables && rc == CATCHUP_OK; i++)
		rc = put_aside(&conn, r->tables[i], i, error);
	if (rc == CATCHUP_OK)
		rc = cu_conn_exec_owned(&conn, sqlite3_mprintf(
			"DELETE FROM main.catchup WHERE name = %Q;"
			"DELETE FROM main.catchup_state WHERE name = %Q;"
			"DELETE FROM main.catchup_dead WHERE consumer = %Q;"
			"DELETE FROM main.catchup_lease WHERE name = %Q",
			r->consumer, r->consumer, r->consumer, r->consumer), error);
	cu_conn_close(&conn);
	return rc;
}

/* ---- comparing ------------------------------------------------------------------------------------- */

/* Rows that one side has more often than the other: how many, and the first of them. */
static int differing(struct cu_conn *conn, const char *one, const char *other, int64_t *n, char **first,
	struct catchup_error *error)
{
	return ask_both(conn, first, n, error,
		sqlite3_mprintf("SELECT min(line), count(*) FROM (SELECT line, count(*) FROM (%s)"
				" GROUP BY line EXCEPT SELECT line, count(*) FROM (%s) GROUP BY line)",
			one, other));
}

/* What two sides of a table have that the other has not. */
struct difference {
	int64_t lost, more;
	char *first_lost, *first_more; /* owned */
};

static void free_difference(struct difference *d)
{
	free(d->first_lost);
	free(d->first_more);
}

static int compare_sides(struct cu_conn *conn, const char *was, const char *is, struct difference *d,
	struct catchup_error *error)
{
	int rc = differing(conn, is, was, &d->lost, &d->first_lost, error);

	return rc == CATCHUP_OK ? differing(conn, was, is, &d->more, &d->first_more, error) : rc;
}

static char *rows_of(const char *line, const char *table)
{
	return sqlite3_mprintf("SELECT %s AS line FROM main.\"%w\"", line, table);
}

/*
 * Whether the rows are the same but for ids that SQLite gave, all of them higher by the same number: so it
 * is after a reset that deleted the rows, for SQLite goes on counting then. *shift: by how much; 0: they
 * differ in other ways.
 */
static int find_shift(struct cu_conn *conn, const char *table, size_t i, const char *was, int64_t *shift,
	struct catchup_error *error)
{
	struct difference d = {0};
	char *counts = NULL, *saved = NULL, *line = NULL, *is = NULL;
	int rc = counting_column(conn, table, &counts, error);

	*shift = 0;
	if (rc == CATCHUP_OK)
		rc = ask(conn, &saved, error, sqlite3_mprintf(
			"SELECT name FROM saved.sqlite_schema WHERE name = 'ids%d'", (int)i));
	if (rc != CATCHUP_OK || !counts[0] || !saved[0])
		goto out;
	rc = ask_both(conn, &line, shift, error, sqlite3_mprintf(
		"SELECT '', newest - (SELECT max(\"%w\") FROM main.\"%w\") FROM saved.ids%d", counts, table,
		(int)i));
	if (rc != CATCHUP_OK || *shift <= 0)
		goto out;
	free(line);
	rc = line_of(conn, table, *shift, &line, error);
	if (rc == CATCHUP_OK && !(is = rows_of(line, table)))
		rc = cu_error_nomem(error);
	if (rc == CATCHUP_OK)
		rc = compare_sides(conn, was, is, &d, error);
	if (d.lost > 0 || d.more > 0)
		*shift = 0;
out:
	if (rc != CATCHUP_OK || *shift < 0)
		*shift = 0;
	free_difference(&d);
	sqlite3_free(is);
	free(line);
	free(saved);
	free(counts);
	return rc;
}

static int judge_table(struct cu_conn *conn, const char *table, size_t i, const char *was, const char *is,
	struct catchup_verification *verification, struct catchup_verdict *verdict,
	struct catchup_error *error)
{
	struct difference d = {0};
	int64_t shift = 0, rows = 0;
	char *unused = NULL;
	int rc = compare_sides(conn, was, is, &d, error);
	bool differ = d.lost > 0 || d.more > 0;

	if (rc == CATCHUP_OK && differ)
		rc = find_shift(conn, table, i, was, &shift, error);
	if (rc == CATCHUP_OK && shift > 0)
		cu_verification_note(verification, "table '%.100s': its own ids (AUTOINCREMENT) are higher by %"
			PRId64 " than when they are counted from the beginning, as after a reset; all else is"
			" the same", table, shift);
	else if (rc == CATCHUP_OK && d.lost > 0)
		cu_verification_wrong(verification, "table '%.100s': %" PRId64
			" rows that it should have are not there, the first is (%.*s)", table, d.lost,
			SHOWN_BYTES, d.first_lost);
	if (rc == CATCHUP_OK && shift == 0 && d.more > 0)
		cu_verification_wrong(verification, "table '%.100s': %" PRId64
			" rows are there that it should not have, the first is (%.*s)", table, d.more,
			SHOWN_BYTES, d.first_more);
	if (rc == CATCHUP_OK)
		rc = ask_both(conn, &unused, &rows, error, sqlite3_mprintf("SELECT '', count(*) FROM (%s)", was));
	if (rc == CATCHUP_OK && (!differ || shift > 0)) {
		verdict->recomputed_rows += rows;
		verdict->recomputed_tables++;
	}
	free_difference(&d);
	free(unused);
	return rc;
}

static int compare_table(struct cu_conn *conn, const char *table, size_t i,
	struct catchup_verification *verification, struct catchup_verdict *verdict,
	struct catchup_error *error)
{
	char *line = NULL, *was_there = NULL, *was = NULL, *is = NULL;
	int rc = line_of(conn, table, 0, &line, error);

	if (rc == CATCHUP_OK)
		rc = ask(conn, &was_there, error, sqlite3_mprintf(
			"SELECT name FROM saved.sqlite_schema WHERE name = 't%d'", (int)i));
	if (rc == CATCHUP_OK && line[0] && was_there[0]) {
		was = sqlite3_mprintf("SELECT line FROM saved.t%d", (int)i);
		is = rows_of(line, table);
		rc = was && is ? judge_table(conn, table, i, was, is, verification, verdict, error)
			       : cu_error_nomem(error);
	} else if (rc == CATCHUP_OK && line[0]) {
		cu_verification_wrong(verification, "table '%.100s', which it writes, was not there", table);
	}
	sqlite3_free(was);
	sqlite3_free(is);
	free(was_there);
	free(line);
	return rc;
}

int cu_replay_compare(const struct cu_replay *r, struct catchup_verification *verification,
	struct catchup_verdict *verdict, struct catchup_error *error)
{
	struct cu_conn conn = {0};
	int rc = open_copy(&conn, r->results, r->saved, "saved", error);

	verdict->recomputed_rows = 0;
	verdict->recomputed_tables = 0;
	for (size_t i = 0; i < r->n_tables && rc == CATCHUP_OK; i++)
		rc = compare_table(&conn, r->tables[i], i, verification, verdict, error);
	cu_conn_close(&conn);
	return rc;
}
