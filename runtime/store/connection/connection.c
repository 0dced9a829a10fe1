/* SPDX-License-Identifier: MIT */
/*
 * connection.c - opening SQLite connections, and the handlers that run inside them.
 *
 * Promises: nothing is written to a file that is no database; a path is never read as a URI; every
 * wait ends by a deadline, and every statement when it has used up its time.
 */
#include "store/connection/connection.h"

#include "base/check.h"
#include "base/error.h"
#include "store/connection/guard.h"
#include "store/connection/moved.h"
#include "store/connection/path.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRESS_STEPS 2000 /* of SQLite's machine between two looks at the clock: some 100 us */
#define QUERY_MS 30000
#define BUSY_FIRST_NS (CU_NS_PER_MS / 10)
#define BUSY_LONGEST_NS (10 * CU_NS_PER_MS)
#define BUSY_COUNTS_NS (100 * CU_NS_PER_MS) /* most of the time between two looks */
#define JOURNAL_LIMIT_BYTES "16777216" /* a log that was larger once is cut to this */

/* ---- handlers ----------------------------------------------------------------------------- */

static int stopping(const struct cu_conn *conn)
{
	return conn->stopping ? atomic_load_explicit(conn->stopping, memory_order_relaxed) : 0;
}

/* Whether there is time left. */
static bool is_patient(struct cu_patience *patience)
{
	int64_t now_ns = cu_os_now_ns();

	patience->left_ns -= cu_waited_ns(patience->looked_ns, now_ns, BUSY_COUNTS_NS);
	patience->looked_ns = now_ns;
	return patience->left_ns > 0;
}

static struct cu_patience new_patience(const struct cu_conn *conn)
{
	return (struct cu_patience){conn->busy_ms * CU_NS_PER_MS, cu_os_now_ns()};
}

/* For locks of other processes: our own threads queue elsewhere. Looks again soon, since SQLite's own
 * handler sleeps up to 100 ms; the jitter keeps two of us from looking in step. */
static int on_busy(void *context, int count)
{
	struct cu_conn *conn = context;
	int64_t step = BUSY_FIRST_NS << (count < 7 ? count : 7);

	if (count == 0)
		conn->patience = new_patience(conn);
	if (!is_patient(&conn->patience) || stopping(conn) > (conn->insists ? 1 : 0))
		return 0;
	if (step > BUSY_LONGEST_NS)
		step = BUSY_LONGEST_NS;
	step = step / 2 + (int64_t)(cu_os_random() % (uint64_t)(step / 2 + 1));
	cu_os_sleep_ns(step < conn->patience.left_ns ? step : conn->patience.left_ns);
	return 1;
}

static bool is_used_up(struct cu_limit *limit, int64_t now_ns)
{
	int64_t used_ns;

	if (limit->ns == CU_FOREVER || (limit->began && now_ns < limit->look_ns))
		return false;
	used_ns = cu_os_thread_ns();
	/* Only statements that come this far are measured. */
	if (!limit->began)
		limit->from_ns = used_ns;
	limit->began = true;
	used_ns -= limit->from_ns;
	limit->look_ns = cu_deadline(now_ns, limit->ns - used_ns);
	return used_ns >= limit->ns;
}

static bool too_late(struct cu_conn *conn)
{
	int64_t now;

	if (conn->statements.ns == CU_FOREVER && conn->step.ns == CU_FOREVER)
		return false;
	now = cu_os_now_ns();
	return is_used_up(&conn->statements, now) || is_used_up(&conn->step, now);
}

static int on_progress(void *context)
{
	struct cu_conn *conn = context;
	/* A reader has nothing in hand that were worth finishing. */
	int enough = conn->role == CU_ROLE_READER || conn->hasty ? 1 : 2;

	if (stopping(conn) < enough && !too_late(conn))
		return 0;
	conn->interrupted = true;
	return 1;
}

static int on_logged(void *context, sqlite3 *db, const char *schema, int frames)
{
	struct cu_conn *conn = context;

	(void)db;
	if (strcmp(schema, "main") == 0) {
		conn->log_bytes = (int64_t)frames * conn->page_bytes;
		conn->logged = true;
	}
	return SQLITE_OK;
}

/* ---- opening ------------------------------------------------------------------------------ */

/* After the database itself was opened. */
static int failed(struct cu_conn *conn, struct catchup_error *error, const char *doing)
{
	int detail = conn->db ? sqlite3_extended_errcode(conn->db) : SQLITE_NOMEM;

	if ((detail & 0xff) == SQLITE_NOTADB)
		return cu_error_set(error, CATCHUP_DATABASE, detail,
			"database '%s': not a database, or encrypted", conn->main_path);
	/* That is about the log's two files, which also one who only reads has to make. */
	if ((detail & 0xff) == SQLITE_CANTOPEN || (detail & 0xff) == SQLITE_READONLY)
		return cu_error_sqlite(error, conn->db,
			"database '%s': %s (the files of its write-ahead log are made in its folder)",
			conn->main_path, doing);
	return cu_error_sqlite(error, conn->db, "database '%s': %s", conn->main_path, doing);
}

static int pragma(struct cu_conn *conn, struct catchup_error *error, const char *doing,
	const char *sql)
{
	if (sqlite3_exec(conn->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return failed(conn, error, doing);
	return CATCHUP_OK;
}

/* One value as text; "" for none. */
static int ask(struct cu_conn *conn, const char *sql, char *to, size_t bytes,
	struct catchup_error *error, const char *doing)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);

	to[0] = '\0';
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW && sqlite3_column_text(stmt, 0))
		snprintf(to, bytes, "%s", (const char *)sqlite3_column_text(stmt, 0));
	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		rc = CATCHUP_OK;
	else
		rc = failed(conn, error, doing);
	sqlite3_finalize(stmt);
	return rc;
}

int cu_conn_begin_read(struct cu_conn *conn, struct catchup_error *error)
{
	int rc = pragma(conn, error, "reading", "BEGIN; PRAGMA main.schema_version");

	if (rc != CATCHUP_OK)
		cu_conn_rollback(conn);
	return rc;
}

int cu_conn_has(struct cu_conn *conn, const char *table, const char *column, bool *has,
	struct catchup_error *error)
{
	int rc = sqlite3_table_column_metadata(conn->db, "main", table, column, NULL, NULL, NULL, NULL,
		NULL);

	*has = rc == SQLITE_OK;
	/* Any other code is no answer: what is there might be taken for missing. */
	return rc == SQLITE_OK || rc == SQLITE_ERROR ? CATCHUP_OK
						     : failed(conn, error, "reading the schema");
}

static int harden(struct cu_conn *conn, struct catchup_error *error)
{
	static const struct {
		int option, value;
	} settings[] = {
		{SQLITE_DBCONFIG_DEFENSIVE, 1},
		{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
		{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
		{SQLITE_DBCONFIG_DQS_DML, 0},
		{SQLITE_DBCONFIG_DQS_DDL, 0},
	};
	sqlite3 *db = conn->db;

	sqlite3_extended_result_codes(db, 1);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (sqlite3_db_config(db, settings[i].option, settings[i].value, (int *)NULL) != SQLITE_OK)
			return failed(conn, error, "configuring");
	/* With the WAL-reset bug a checkpoint is safe only while nobody else writes, and a connection
	 * that closes cannot know that. */
	if (catchup_sqlite_has_wal_reset_bug()) {
		int rc = cu_conn_keep_log(conn, error);

		if (rc != CATCHUP_OK)
			return rc;
	}
	sqlite3_busy_handler(db, on_busy, conn);
	sqlite3_progress_handler(db, PROGRESS_STEPS, on_progress, conn);
	sqlite3_set_authorizer(db, cu_guard_authorize, &conn->guard);
	/* Also ends SQLite's own automatic checkpoints, which are such a hook. */
	sqlite3_wal_hook(db, on_logged, conn);
	return CATCHUP_OK;
}

/* The first read: what is no database fails here, before anything is written. */
static int first_look(struct cu_conn *conn, bool *empty, struct catchup_error *error)
{
	char count[32];
	int rc = cu_conn_begin_read(conn, error);

	if (rc != CATCHUP_OK)
		return rc;
	rc = ask(conn, "SELECT count(*) FROM main.sqlite_schema", count, sizeof(count), error,
		"reading");
	cu_conn_rollback(conn);
	*empty = strcmp(count, "0") == 0;
	return rc;
}

static int attach(struct cu_conn *conn, const char *path, struct catchup_error *error)
{
	char *uri = cu_path_uri(path, "ro");
	sqlite3_stmt *stmt = NULL;
	int rc;

	if (!uri)
		return cu_error_nomem(error);
	rc = sqlite3_prepare_v2(conn->db, "ATTACH ?1 AS source", -1, &stmt, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, uri, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_DONE)
		rc = CATCHUP_OK;
	else if ((rc & 0xff) == SQLITE_NOTADB)
		rc = cu_error_set(error, CATCHUP_DATABASE, rc,
			"database '%s': not a database, or encrypted", path);
	else
		rc = cu_error_sqlite(error, conn->db, "database '%s': attaching the source '%s'",
			conn->main_path, path);
	/* Files that do not go together, such as of two text encodings: no row's fault. */
	if (rc == CATCHUP_CONSUMER) {
		rc = CATCHUP_USAGE;
		if (error)
			error->code = rc;
	}
	sqlite3_finalize(stmt);
	free(uri);
	return rc;
}

/* Files attached to each other must have one text encoding, so a new results database takes that of
 * its source. */
static int take_encoding(struct cu_conn *conn, const char *source, struct catchup_error *error)
{
	struct cu_conn_options options = {.role = CU_ROLE_STATUS, .main = source,
		.busy_ms = conn->busy_ms, .stopping = conn->stopping};
	struct cu_conn other;
	char encoding[16], sql[64];
	int rc = cu_conn_open(&other, &options, error);

	if (rc == CATCHUP_OK)
		rc = ask(&other, "PRAGMA encoding", encoding, sizeof(encoding), error, "reading");
	cu_conn_close(&other);
	if (rc != CATCHUP_OK || strcmp(encoding, "UTF-8") == 0)
		return rc;
	snprintf(sql, sizeof(sql), "PRAGMA encoding='%s'", encoding);
	return pragma(conn, error, "setting the encoding", sql);
}

/* Two that switch a file at the same time are in each other's way, and SQLite tells both at once, without
 * asking the busy handler. */
static int switch_to_wal(struct cu_conn *conn, char *mode, size_t bytes, struct catchup_error *error)
{
	struct cu_patience patience = new_patience(conn);
	struct catchup_error why;
	int rc;

	for (;;) {
		rc = ask(conn, "PRAGMA main.journal_mode=WAL", mode, bytes, &why, "switching to WAL mode");
		if (rc != CATCHUP_LOCKED || stopping(conn) || !is_patient(&patience))
			break;
		cu_os_sleep_ns(BUSY_LONGEST_NS / 2 + (int64_t)(cu_os_random() % (BUSY_LONGEST_NS / 2)));
	}
	if (rc != CATCHUP_OK && error)
		*error = why;
	return rc;
}

static int make_writable(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	static const char *const synchronous[] = {
		[CATCHUP_SYNCHRONOUS_DEFAULT] = "PRAGMA main.synchronous=NORMAL",
		[CATCHUP_SYNCHRONOUS_OFF] = "PRAGMA main.synchronous=OFF",
		[CATCHUP_SYNCHRONOUS_NORMAL] = "PRAGMA main.synchronous=NORMAL",
		[CATCHUP_SYNCHRONOUS_FULL] = "PRAGMA main.synchronous=FULL",
	};
	char mode[32], size[32];
	int rc;

	/* SQLite opens a file that it may not write for reading, without a word. */
	if (sqlite3_db_readonly(conn->db, "main") != 0)
		return cu_error_set(error, CATCHUP_DATABASE, SQLITE_READONLY,
			"database '%s': read-only, but this has to write it", conn->main_path);
	rc = switch_to_wal(conn, mode, sizeof(mode), error);
	if (rc == CATCHUP_OK && strcmp(mode, "wal") != 0)
		rc = cu_error_set(error, CATCHUP_DATABASE, 0,
			"database '%s': cannot be switched to WAL mode, it stays in mode '%s'",
			conn->main_path, mode);
	if (rc == CATCHUP_OK)
		rc = pragma(conn, error, "configuring", synchronous[options->synchronous]);
	if (rc == CATCHUP_OK)
		rc = ask(conn, "PRAGMA main.page_size", size, sizeof(size), error, "reading");
	if (rc == CATCHUP_OK)
		conn->page_bytes = (int)strtol(size, NULL, 10);
	if (rc == CATCHUP_OK)
		rc = pragma(conn, error, "configuring",
			"PRAGMA main.journal_size_limit=" JOURNAL_LIMIT_BYTES
			"; PRAGMA foreign_keys=ON");
	return rc;
}

static int prepare_all(struct cu_conn *conn, struct catchup_error *error)
{
	const struct {
		sqlite3_stmt **stmt;
		const char *sql;
		bool writer;
	} all[] = {
		{&conn->version, "PRAGMA main.data_version", false},
		{&conn->begin, "BEGIN IMMEDIATE", true},
		{&conn->commit, "COMMIT", true},
		{&conn->rollback, "ROLLBACK", true},
		{&conn->savepoint, "SAVEPOINT catchup", true},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i].writer && conn->role != CU_ROLE_WRITER)
			continue;
		if (sqlite3_prepare_v3(conn->db, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
			    all[i].stmt, NULL) != SQLITE_OK)
			return failed(conn, error, "preparing");
	}
	return CATCHUP_OK;
}

static int open_main(struct cu_conn *conn, bool create, struct catchup_error *error)
{
	bool writer = conn->role == CU_ROLE_WRITER;
	int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
		(writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
		(create ? SQLITE_OPEN_CREATE : 0);
	char *uri = cu_path_uri(conn->main_path, create ? "rwc" : writer ? "rw" : "ro");
	int rc;

	if (!uri)
		return cu_error_nomem(error);
	rc = sqlite3_open_v2(uri, &conn->db, flags, NULL);
	free(uri);
	if (!conn->db)
		return cu_error_nomem(error);
	if (rc == SQLITE_OK)
		return CATCHUP_OK;
	return cu_error_sqlite(error, conn->db,
		create ? "database '%s': opening it, or making it in its folder" : "database '%s': opening",
		conn->main_path);
}

static int set_cache(struct cu_conn *conn, const char *schema, int kib, struct catchup_error *error)
{
	char sql[64];

	if (kib == 0)
		return CATCHUP_OK;
	snprintf(sql, sizeof(sql), "PRAGMA %s.cache_size=-%d", schema, kib);
	return pragma(conn, error, "configuring", sql);
}

int cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	const char *source = options->source;
	struct cu_file_stat main_stat, source_stat;
	bool create, empty;
	int rc;

	memset(conn, 0, sizeof(*conn));
	conn->role = options->role;
	conn->hasty = options->hasty;
	conn->owner = cu_thread_self();
	conn->busy_ms = options->busy_ms;
	conn->statements.ns = CU_FOREVER;
	conn->step.ns = CU_FOREVER;
	conn->query_ns = (options->query_ms > 0 ? options->query_ms : QUERY_MS) * CU_NS_PER_MS;
	conn->logger = options->logger;
	conn->stopping = options->stopping;
	if (source && options->main && strcmp(source, options->main) == 0)
		source = NULL;
	create = options->role == CU_ROLE_WRITER && source;
	conn->guard.source_attached = source != NULL;

	rc = cu_moved_check(options->main, create, options->main_id, &main_stat, error);
	if (rc == CATCHUP_OK && source)
		rc = cu_moved_check(source, false, options->source_id, &source_stat, error);
	if (rc != CATCHUP_OK)
		return rc;
	/* Two names of one file would have two write-ahead logs. */
	if (source && cu_file_same(&main_stat.id, &source_stat.id))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"database '%s': the same file as the source '%s' under another name",
			options->main, source);
	conn->main_path = strdup(options->main);
	if (!conn->main_path)
		return cu_error_nomem(error);

	rc = open_main(conn, create, error);
	if (rc == CATCHUP_OK)
		rc = harden(conn, error);
	if (rc == CATCHUP_OK)
		rc = first_look(conn, &empty, error);
	if (rc == CATCHUP_OK && create && empty)
		rc = take_encoding(conn, source, error);
	if (rc == CATCHUP_OK && conn->role == CU_ROLE_WRITER)
		rc = make_writable(conn, options, error);
	if (rc == CATCHUP_OK && source)
		rc = attach(conn, source, error);
	if (rc == CATCHUP_OK && conn->role != CU_ROLE_WRITER)
		rc = pragma(conn, error, "configuring", "PRAGMA query_only=ON");
	if (rc == CATCHUP_OK)
		rc = set_cache(conn, "main", options->cache_kib, error);
	if (rc == CATCHUP_OK && source)
		rc = set_cache(conn, "source", options->source_cache_kib, error);
	if (rc == CATCHUP_OK)
		rc = prepare_all(conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_moved_note_files(conn, error);
	if (rc != CATCHUP_OK)
		cu_conn_close(conn);
	return rc;
}

void cu_conn_close(struct cu_conn *conn)
{
	if (conn->db) {
		cu_conn_check_owner(conn);
		cu_conn_rollback(conn);
		sqlite3_finalize(conn->begin);
		sqlite3_finalize(conn->commit);
		sqlite3_finalize(conn->rollback);
		sqlite3_finalize(conn->savepoint);
		sqlite3_finalize(conn->version);
		for (size_t i = 0; i < CU_CONN_BOOKS; i++)
			sqlite3_finalize(conn->books[i]);
		/* Statements that a consumer has left behind keep the connection as a zombie until they
		 * are finalized; everything of ours is gone. */
		sqlite3_set_authorizer(conn->db, NULL, NULL);
		sqlite3_progress_handler(conn->db, 0, NULL, NULL);
		sqlite3_busy_handler(conn->db, NULL, NULL);
		sqlite3_close_v2(conn->db);
	}
	cu_guard_finish(&conn->guard);
	free(conn->main_path);
	free(conn->beside[0].path);
	free(conn->beside[1].path);
	memset(conn, 0, sizeof(*conn));
}

bool cu_conn_is_open(const struct cu_conn *conn)
{
	return conn->db != NULL;
}

void cu_conn_check_owner(const struct cu_conn *conn)
{
	CU_CHECK(conn->db != NULL);
	CU_CHECK(conn->owner == cu_thread_self());
}

enum cu_fault cu_conn_fault(const struct cu_conn *conn, int sqlite_code)
{
	if ((sqlite_code & 0xff) == SQLITE_INTERRUPT && stopping(conn))
		return CU_FAULT_STOP;
	return cu_fault_of(sqlite_code);
}
