/* SPDX-License-Identifier: MIT */
/*
 * connection.h - SQLite connections as the runtime uses them.
 *
 * A connection belongs to the thread that opened it; every function checks that. `main` is the
 * database with the results (or, for a reader, the source); when results are in a file of their own,
 * the source is attached read-only as "source".
 *
 * Every connection: paths are plain file names turned into file: URIs by us; trusted_schema off,
 * defensive on, no extension loading, foreign keys on for writers, no automatic checkpoints, an
 * authorizer, a progress handler that knows a limit of time.
 */
#ifndef CU_STORE_CONNECTION_H
#define CU_STORE_CONNECTION_H

#include "base/check.h"
#include "base/log.h"
#include "base/os.h"
#include "store/connection/fault.h"

#include <stdatomic.h>

enum cu_role {
	CU_ROLE_READER, /* newest ids and ranges; read-only; its busy time is short */
	CU_ROLE_FETCH,  /* rows for per-row consumers; read-only; same layout as the writer's */
	CU_ROLE_WRITER, /* results and watermark */
	CU_ROLE_STATUS, /* a look from outside; never creates, switches or writes anything */
};

/* How many statements it keeps prepared for those that write through it (enum cu_book). */
#define CU_CONN_BOOKS 16

/* What consumer code may not touch while it runs (design: consumer code cannot break the
 * bookkeeping). */
struct cu_guard {
	bool active;            /* consumer code is running (or being prepared) now */
	const char *consumer;   /* name for messages; borrowed */
	const char *source;     /* source table, NULL for none; borrowed */
	bool source_attached;   /* then every write to schema "source" is refused */
	bool ddl;               /* the statement being prepared makes, alters or drops something */
	bool temporary;         /* some statement made or dropped what is temporary, and so stays with
	                           the connection */
	bool common;            /* others use the connection: nothing temporary is made from now on */
	char denied[256];       /* what was refused last, "" for nothing; for the message */
	/* tables in main that the code prepared under this guard writes, so that their readers can
	 * be woken at the commit; owned; names compared without ASCII case */
	char **writes;
	size_t n_writes;
};

struct cu_conn_options {
	enum cu_role role;
	const char *main;       /* absolute path */
	const char *source;     /* absolute path to attach read-only as "source", or NULL */
	/* What stands at the paths must be these files, NULL: any. To be given when other connections
	 * of this process have them open: SQLite takes the -shm file of a new database at the path for
	 * its own to truncate, which kills the process that has it mapped for the old one. */
	const struct cu_file_id *main_id, *source_id;
	enum catchup_synchronous synchronous;
	int64_t busy_ms;        /* longest wait for other processes' locks */
	int64_t query_ms;       /* most processor time for one row of a source's query, so that an
	                           endless one is stopped; 0: 30,000 */
	bool hasty;             /* nothing of it is worth finishing: the first request to stop ends its
	                           statements, as those of a reader */
	int cache_kib;          /* page cache of main, 0: SQLite's default, 2,000 */
	int source_cache_kib;   /* the same of what is attached */
	const struct cu_logger *logger;   /* borrowed, may be NULL */
	const _Atomic int *stopping;      /* borrowed, may be NULL: 1 or more ends waits
	                                    for locks and a reader's statements, 2 or more
	                                    all statements */
};

/*
 * How long statements may run, in processor time of their thread. That is what they cost: a clock on the
 * wall also counts while the process is stopped, the machine frozen, its disk slow or the processor given
 * to others, and a row would be blamed for it. Steps of SQLite's machine would not do: some take thousands
 * of times longer than others.
 *
 * The thread's clock takes a system call, so it is asked when the other one says that the time may be over.
 */
struct cu_limit {
	int64_t ns;       /* CU_FOREVER: none */
	bool began;       /* the progress handler has looked once */
	int64_t from_ns;  /* of the thread's time, when it first did */
	int64_t look_ns;  /* not over before this time */
};

/* What is left of a wait for a lock (cu_waited_ns). */
struct cu_patience {
	int64_t left_ns;
	int64_t looked_ns;
};

struct cu_conn {
	sqlite3 *db;
	enum cu_role role;
	bool hasty;
	bool insists;            /* cu_conn_insist */
	uintptr_t owner;
	struct cu_guard guard;

	/* owner only */
	int64_t busy_ms;
	struct cu_patience patience; /* of the wait for a lock in hand */
	struct cu_limit statements; /* of all from cu_conn_limit on */
	int64_t query_ns;        /* most processor time of one step of a source's query */
	struct cu_limit step;    /* of the step in hand */
	bool interrupted;        /* the progress handler ended the last statement */
	int page_bytes;          /* of main; writers only */
	int64_t log_bytes;       /* in use of main's write-ahead log after our last commit; what lies
	                            behind that in the file is left from before */
	bool logged;             /* a commit has set that; for who makes use of it to take back */
	struct cu_file_id main_id; /* the main file when it was opened */
	struct cu_file_beside {
		char *path;      /* owned; NULL: there is none */
		struct cu_file_id id; /* SQLite keeps it as long as somebody has the database open */
	} beside[2];             /* the write-ahead log, and its index */
	char *main_path;         /* owned */
	sqlite3_stmt *begin, *commit, *rollback, *savepoint, *version;
	sqlite3_stmt *books[CU_CONN_BOOKS]; /* made when first used */
	const struct cu_logger *logger;
	const _Atomic int *stopping;
};

/*
 * Opens. A writer's database is switched to WAL mode when it is not; created when missing only if
 * `main` differs from the source (a results database). On failure *conn needs no close.
 * CATCHUP_BACKWARDS (CU_FAULT_GONE) when a path has another file than it must have.
 * Refuses, with a message that says what and why: folders, FIFOs, sockets, devices, ":memory:", "",
 * files that are no database (before anything is written), read-only files for writers.
 */
int cu_conn_open(struct cu_conn *conn, const struct cu_conn_options *options,
	struct catchup_error *error);
void cu_conn_close(struct cu_conn *conn); /* also after a failed open */
bool cu_conn_is_open(const struct cu_conn *conn);

void cu_conn_check_owner(const struct cu_conn *conn);

/* The fault of a result code on this connection: tells an interrupt by the limit from one because
 * the runtime stops. */
enum cu_fault cu_conn_fault(const struct cu_conn *conn, int sqlite_code);

/* One transaction, one savepoint inside it. BEGIN IMMEDIATE waits up to busy_ms for other
 * processes. All return CATCHUP_OK or a code with error filled (see cu_fault_of(error->detail)). */
int cu_conn_begin(struct cu_conn *conn, struct catchup_error *error);
/* Also asks whether the file is still the one at its path (CU_FAULT_GONE), before it commits. */
int cu_conn_commit(struct cu_conn *conn, struct catchup_error *error);
/* Whether a request to stop (`stopping` 1) leaves waits for other processes' locks their time: for the
 * little that must not be left undone. */
static inline void cu_conn_insist(struct cu_conn *conn, bool insists)
{
	conn->insists = insists;
}
/* Begins one that only reads: what is prepared in it sees the schema that it is run on. Outside, where others
 * make one table after the other, SQLite reads a large schema again and again and gives up ("database
 * schema has changed"). */
int cu_conn_begin_read(struct cu_conn *conn, struct catchup_error *error);
/* Ends the transaction if there is one. Never fails for the caller: a rollback that reports an error
 * has still ended the transaction. */
void cu_conn_rollback(struct cu_conn *conn);
/* False after foreign code ended the transaction behind our back (ROLLBACK conflict clause, RAISE,
 * an interrupted write). */
static inline bool cu_conn_in_transaction(const struct cu_conn *conn)
{
	return conn->db && sqlite3_get_autocommit(conn->db) == 0;
}

/* Whether main has a table (no view) of that name; with a column: whether the table has that. */
int cu_conn_has(struct cu_conn *conn, const char *table, const char *column, bool *has,
	struct catchup_error *error);

/* PRAGMA data_version of main: changes when another connection has committed. About 2 us. Until the look
 * ends, which it does also after an error, whatever is read is of the state with that version. */
int cu_conn_look_begin(struct cu_conn *conn, int64_t *version, struct catchup_error *error);
void cu_conn_look_end(struct cu_conn *conn);

/* When it is closed and is the last one, the log stays as it is: the next connection goes on with it,
 * and nothing is synced. */
int cu_conn_keep_log(struct cu_conn *conn, struct catchup_error *error);

/* Gives pages that are only remembered back; for one that has nothing to do for a while. */
void cu_conn_give_memory_back(struct cu_conn *conn);

/* Whether the file at the path, or the log or its index beside it, is no longer the one that is open
 * (SQLITE_FCNTL_HAS_MOVED; SQLite itself would go on writing a log that nobody finds again). */
bool cu_conn_moved(struct cu_conn *conn);
/* Says so: CATCHUP_BACKWARDS (CU_FAULT_GONE). */
int cu_conn_say_moved(const char *path, struct catchup_error *error);

/* Between these two, statements that are prepared or stepped are the consumer's. enter clears
 * `denied`. */
static inline void cu_conn_guard_enter(struct cu_conn *conn)
{
	CU_CHECK(conn->db && conn->owner == cu_thread_self());
	CU_CHECK(!conn->guard.active);
	conn->guard.active = true;
	conn->guard.ddl = false;
	conn->guard.denied[0] = '\0';
}
/* In between: another call of the same code, to whom nothing was refused yet. */
static inline void cu_conn_guard_renew(struct cu_conn *conn)
{
	conn->guard.ddl = false;
	conn->guard.denied[0] = '\0';
}
static inline void cu_conn_guard_leave(struct cu_conn *conn)
{
	CU_CHECK(conn->guard.active);
	conn->guard.active = false;
}

/* From now on nothing is written through it, or again what its role allows. In no transaction. */
int cu_conn_read_only(struct cu_conn *conn, bool on, struct catchup_error *error);

/* From now on statements have so much time in all, and are interrupted when it is used up; CU_FOREVER
 * lifts it. While the runtime's `stopping` is 2 or more, every long statement is interrupted. */
void cu_conn_limit(struct cu_conn *conn, int64_t ns);

/* Steps a source's query: one that gives no row for query_ms of processor time is interrupted. Costs no
 * clock. */
static inline int cu_conn_step_query(struct cu_conn *conn, sqlite3_stmt *stmt)
{
	int rc;

	conn->step.ns = conn->query_ns;
	conn->step.began = false;
	conn->interrupted = false;
	rc = sqlite3_step(stmt);
	conn->step.ns = CU_FOREVER;
	return rc;
}

/* Runs SQL of ours, or (between guard_enter and leave) a consumer's script; line: of the script's
 * start in its file, for messages, 0 for none; origin: the file, NULL for none. */
int cu_conn_exec(struct cu_conn *conn, const char *sql, const char *origin, int line,
	struct catchup_error *error);

/* Runs SQL of ours that sqlite3_mprintf made, and frees it; NULL is want of memory. */
int cu_conn_exec_owned(struct cu_conn *conn, char *sql, struct catchup_error *error);

/* Prepares one persistent statement of ours. */
int cu_conn_prepare(struct cu_conn *conn, sqlite3_stmt **out, struct catchup_error *error,
	const char *fmt, ...) CATCHUP_PRINTF(4, 5); /* fmt as of sqlite3_mprintf without its own
	                                               letters: quote names with cu_sql_quote */

/* Past white space, comments and empty statements. */
const char *cu_sql_skip_blank(const char *sql);

/* "name" with quotes doubled; owned by the caller (sqlite3_free); NULL without memory. */
char *cu_sql_quote(const char *name);

/* Checkpoints. full: TRUNCATE, to be run while our own writers of this file are held; otherwise
 * PASSIVE. log_frames and done_frames may be NULL; -1 when not in WAL mode. CATCHUP_LOCKED when a
 * reader or writer was in the way (not an error to log). */
int cu_conn_checkpoint(struct cu_conn *conn, bool full, int *log_frames, int *done_frames,
	struct catchup_error *error);

/* Bytes of the write-ahead log beside a database (0: none), by stat, never opening it. */
int64_t cu_conn_wal_bytes(const char *database);

/* Other processes that read from that log and so hold it back, as "pid 12 (python3), pid 34"; "" for none
 * that is known. except: pids that are known to read for moments only. */
void cu_conn_wal_readers(const char *database, const int64_t *except, size_t n_except, char *to,
	size_t bytes);

/* Checks of the library in this process: thread-safe build, version. */
int cu_sqlite_check(struct catchup_error *error);

/* Makes an absolute path without links, of the file or, when it does not exist, of its folder plus
 * name. Refuses what is no plain file name (empty, ":memory:", over 4095 bytes). Caller frees. */
int cu_path_resolve(const char *path, const char *relative_to_folder_of, char **out,
	struct catchup_error *error);

#endif
