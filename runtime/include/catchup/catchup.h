/* SPDX-License-Identifier: MIT */
/*
 * catchup.h - run consumers over append-only SQLite tables.
 *
 * A program opens a runtime on a database, adds consumers, starts it, and stops it. Everything a
 * consumer writes and the watermark it has reached commit in one transaction, under one savepoint.
 *
 *	catchup_open -> catchup_add... -> catchup_start -> catchup_wait / catchup_status / catchup_wake
 *	             -> catchup_stop -> catchup_close
 *
 * Threads: every function that takes a `struct catchup *` may be called from any thread unless its
 * comment says otherwise. Calls in a process forked after catchup_open are refused with
 * CATCHUP_FORKED: SQLite connections and threads do not survive a fork.
 *
 * Output: the library never prints. It logs through the hook in the options and returns errors.
 *
 * A NULL where something is needed is CATCHUP_USAGE, as is any other wrong argument. What closes, frees,
 * cancels or discards takes NULL and does nothing.
 */
#ifndef CATCHUP_CATCHUP_H
#define CATCHUP_CATCHUP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CATCHUP_API __attribute__((visibility("default")))
#define CATCHUP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CATCHUP_API
#define CATCHUP_PRINTF(fmt, args)
#endif

/* The version of this header; catchup_version() gives the library's. */
#define CATCHUP_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------------- */

/*
 * Every error code: X(NAME, value, exit code of the program, text). The codes are stable; new ones
 * are added at the end.
 */
#define CATCHUP_ERROR_MAP(X)                                                                       \
	X(OK, 0, 0, "done")                                                                        \
	X(USAGE, 1, 2, "wrong usage")                                                              \
	X(CONFIG, 2, 2, "the consumer cannot be used as it is written")                            \
	X(NOMEM, 3, 1, "out of memory")                                                            \
	X(IO, 4, 1, "input or output failed")                                                      \
	X(DATABASE, 5, 1, "the database cannot be used")                                           \
	X(LOCKED, 6, 5, "the database stayed locked")                                              \
	X(TIMEOUT, 7, 3, "not caught up in time")                                                  \
	X(CONSUMER, 8, 4, "a consumer stopped on an error")                                        \
	X(BACKWARDS, 9, 6, "the source or the changelog has a gap or went backwards")              \
	X(CANCELED, 10, 1, "canceled")                                                             \
	X(FORKED, 11, 1, "called in a forked process")                                             \
	X(FULL, 12, 1, "the disk is full")                                                         \
	X(THREAD, 13, 1, "a thread could not be created")                                          \
	X(INTERNAL, 14, 1, "internal error")

enum catchup_code {
#define CATCHUP_X(name, value, exit_code, text) CATCHUP_##name = value,
	CATCHUP_ERROR_MAP(CATCHUP_X)
#undef CATCHUP_X
};

#define CATCHUP_MESSAGE_BYTES 512

/* Filled by a function that fails, untouched by one that succeeds. Any error pointer may be NULL. */
struct catchup_error {
	int code;   /* enum catchup_code */
	int detail; /* SQLite extended result code or errno, 0 when there is none */
	char message[CATCHUP_MESSAGE_BYTES]; /* one line, NUL-terminated, cut at the end if longer */
};

/* Returns the name ("LOCKED") or the text of a code; never NULL. Threads: any. */
CATCHUP_API const char *catchup_code_name(int code);
CATCHUP_API const char *catchup_code_text(int code);

/* Returns the exit code the program uses for an error code (0 to 6). Threads: any. */
CATCHUP_API int catchup_code_exit(int code);

/* ---- logging ------------------------------------------------------------------------------ */

enum catchup_log_level {
	CATCHUP_LOG_ERROR = 0,
	CATCHUP_LOG_WARN = 1,
	CATCHUP_LOG_INFO = 2,
	CATCHUP_LOG_DEBUG = 3,
};

/*
 * One log line. `subject` is the consumer, source or file it is about, or "". `message` is one line
 * without a newline at its end. Both belong to the caller and live until the hook returns.
 *
 * Threads: called from any of the runtime's threads, possibly from several at once, and possibly inside a
 * transaction: a hook that waits keeps others from writing. It must not call back into the runtime that logs.
 */
typedef void catchup_log_fn(
	void *context, enum catchup_log_level level, const char *subject, const char *message);

/* ---- a runtime ---------------------------------------------------------------------------- */

struct catchup;
struct catchup_consumer; /* see consumer.h */

enum catchup_synchronous {
	CATCHUP_SYNCHRONOUS_DEFAULT = 0, /* NORMAL */
	CATCHUP_SYNCHRONOUS_OFF = 1,
	CATCHUP_SYNCHRONOUS_NORMAL = 2,
	CATCHUP_SYNCHRONOUS_FULL = 3,
};

/* Limits, inclusive. A value outside is CATCHUP_USAGE with a message that shows value and limit. */
#define CATCHUP_WORKERS_MAX 256
#define CATCHUP_THREADS_MAX 1024
#define CATCHUP_BATCH_ROWS_MAX 10000000
#define CATCHUP_BATCH_MS_MAX 60000
#define CATCHUP_RING_SLOTS_MAX 1048576
#define CATCHUP_NAME_BYTES_MAX 1048576

/*
 * Options of a runtime. Set `size` to sizeof(struct catchup_options) and leave at zero what should
 * have its default. Strings and arrays are copied by catchup_open, except `builtins`, which is
 * borrowed until catchup_close.
 */
struct catchup_options {
	size_t size;
	const char *database;     /* path of the source database; required; never a URI */
	uint32_t batch_rows;      /* most rows of one transaction, 1 to 10,000,000; 0: 20,000 */
	uint32_t batch_ms;        /* longest time under the write lock, ms, 1 to 60,000; 0: 20 */
	uint32_t ring_slots;      /* of each range ring, 2 to 1,048,576, rounded up to a power of
	                             two; 0: 256 */
	uint32_t threads;         /* most worker threads that hold consumers, 1 to 1,024: one a consumer,
	                             and where there are fewer each results file has its part of them. 0:
	                             one a consumer for up to 8 of a results file, 2 for more than that
	                             (more are not faster), 64 in all */
	uint32_t poll_ms;         /* the safety net: look at the source at least this often, ms, 10 to
	                             3,600,000; 0: 1,000 */
	uint32_t busy_ms;         /* how long locks of other processes are waited for in all
	                             before a consumer stops, ms, 1 to 3,600,000; 0: 30,000 */
	uint32_t lease_ms;        /* life of a lease that is not renewed, ms, 1,000 to 3,600,000;
	                             0: 10,000 */
	uint32_t wal_mib;         /* bound on the write-ahead log, MiB, 1 to 65,536; 0: 64. Passed by one batch
	                             that is larger than those of late, and while somebody else reads the
	                             same state for longer than a second */
	enum catchup_synchronous synchronous;
	uint32_t flags;           /* CATCHUP_FLAG_... */
	catchup_log_fn *log;      /* NULL: no log */
	void *log_context;        /* handed to the hook as it is */
	enum catchup_log_level log_level; /* lines above this level are not made */
	const struct catchup_consumer *const *builtins; /* consumers known by name, NULL-terminated */
	const char *changelog;    /* path of the changelog that changelog-driven consumers follow */
	uint64_t stop_deadline_ms; /* how long catchup_stop lets a row function run before it
	                             interrupts it, ms, 1 to 3,600,000; 0: 5,000 */
};

#define CATCHUP_FLAG_NETWORK_FS (1u << 0) /* allow a network file system */
#define CATCHUP_FLAG_NO_LEASE (1u << 1)   /* no lease: only the watermark's compare-and-set */
/* The calling program has no connection of its own that writes these files. Without it, time is left for
 * one while a backlog is worked off, since it cannot be told from the runtime's; other processes are seen. */
#define CATCHUP_FLAG_ALONE (1u << 2)

/*
 * Opens a runtime on a database: checks the file, the SQLite library and the options. Starts
 * nothing.
 *
 * Returns: CATCHUP_OK and *out; or a code with *error filled and *out NULL.
 * Ownership: the caller closes *out with catchup_close.
 * Threads: any.
 */
CATCHUP_API int catchup_open(
	const struct catchup_options *options, struct catchup **out, struct catchup_error *error);

/* What may be said about one consumer when it is added. Zero means: as the consumer itself says. */
struct catchup_consumer_config {
	size_t size;
	const char *name;     /* run under this name (its watermark's name) */
	const char *into;     /* results database file, relative to the source's folder */
	const char *on_error; /* error policy, in the words of the header key `on-error` */
	uint32_t workers;     /* 1 to 256; above 1 only for consumers with `map`; 0: 1 */
	const char *const *options; /* pairs: key, value, key, value, ..., NULL */
};

/*
 * Adds a consumer by what a command line would say: a path that ends in ".sql", a path that ends in
 * ".so", or the name of a built-in one, each optionally followed by ":key=value,key=value". The keys
 * `name`, `into`, `on-error` and `workers` mean the fields of the config; `batch-rows` is a bound of its
 * own; `source` and `id` give a C consumer that takes a table's rows as they are another table; all
 * others are the consumer's own.
 *
 * catchup_add_table adds a consumer that is linked into the program; the table must live until
 * catchup_close.
 *
 * Returns: CATCHUP_OK; CATCHUP_CONFIG with file and line when a consumer file is wrong;
 *          CATCHUP_USAGE for a bad option, a name used twice, or a runtime already started.
 * Ownership: everything is copied except the table.
 * Threads: not at the same time as another catchup_add or catchup_start.
 */
CATCHUP_API int catchup_add(struct catchup *c, const char *consumer,
	const struct catchup_consumer_config *config, struct catchup_error *error);
CATCHUP_API int catchup_add_table(struct catchup *c, const struct catchup_consumer *table,
	const struct catchup_consumer_config *config, struct catchup_error *error);

/* What can be said of a consumer without a database. Grows at its end. */
struct catchup_description {
	const char *name;     /* its own, or the one that the configuration gives */
	const char *origin;   /* path, or "built-in NAME" */
	const char *source;   /* table, "changelog:FAMILY.TABLE", or "" where its queries say */
	const char *into;     /* results database as given, "" for the source's own file */
	const char *on_error; /* error policy, "" for the default */
	const char *way;      /* "row", "range", "map" or "event": which functions it has */
};

/*
 * Reads one consumer as catchup_add would, with the same errors, but without a database: its file or
 * module is loaded and its options are checked. builtins and config may be NULL.
 *
 * Returns: CATCHUP_OK and *out; or CATCHUP_CONFIG, CATCHUP_USAGE with *error filled, *out NULL.
 * Ownership: the caller frees *out with catchup_description_free (NULL is allowed).
 * Threads: any.
 */
CATCHUP_API int catchup_describe(const char *consumer,
	const struct catchup_consumer_config *config,
	const struct catchup_consumer *const *builtins, struct catchup_description **out,
	struct catchup_error *error);
CATCHUP_API void catchup_description_free(struct catchup_description *description);

/*
 * Runs every consumer's `setup` in a transaction, prepares all its statements and rolls everything
 * back: what catchup_start would refuse, this refuses, and nothing is changed.
 *
 * Returns: CATCHUP_OK, or the first error. Threads: not at the same time as catchup_start.
 */
CATCHUP_API int catchup_check(struct catchup *c, struct catchup_error *error);

/*
 * Starts reader and worker threads: all of them or none. Consumers are set up in the order in which
 * they were added, so a consumer may follow a table that an earlier one creates.
 *
 * Returns: CATCHUP_OK; or the error of the first consumer that cannot start, with nothing running.
 * Threads: once, from any thread.
 */
CATCHUP_API int catchup_start(struct catchup *c, struct catchup_error *error);

/*
 * Waits until every consumer that still runs has committed all rows its source held when the wait
 * began, through chains of consumers too.
 *
 * timeout_ms: -1 waits without end.
 * Returns: CATCHUP_OK; CATCHUP_TIMEOUT; CATCHUP_CANCELED when the runtime was stopped meanwhile; or
 *          the code of a consumer that stopped (CATCHUP_CONSUMER, CATCHUP_BACKWARDS, ...), told once
 *          the others have caught up; of several the one with the highest exit code.
 * Threads: any, several at once.
 */
CATCHUP_API int catchup_wait(struct catchup *c, int64_t timeout_ms, struct catchup_error *error);

/*
 * Waits until every consumer has stopped by itself, or the runtime is stopped. timeout_ms as above.
 * Returns: CATCHUP_TIMEOUT while one runs; CATCHUP_CANCELED after catchup_stop; else the code of a consumer
 * that stopped, as catchup_wait. Threads: any.
 */
CATCHUP_API int catchup_wait_stopped(
	struct catchup *c, int64_t timeout_ms, struct catchup_error *error);

/*
 * Makes every reader look at its source now. A program that commits source rows itself may call this
 * after the commit; without it the commit is noticed through the file system.
 * Returns: CATCHUP_OK or CATCHUP_FORKED. Threads: any; also from a signal handler.
 */
CATCHUP_API int catchup_wake(struct catchup *c);

/*
 * Finishes the batches in hand, commits them and ends all threads. May be called again; a second
 * call returns when the first is done.
 * Returns: CATCHUP_OK; or the code of a consumer that had stopped by itself, as catchup_wait.
 * Threads: any thread but the runtime's own (a consumer function must not call it).
 */
CATCHUP_API int catchup_stop(struct catchup *c, struct catchup_error *error);

/* Stops if needed and frees everything. c may be NULL. Threads: once, and nobody else is using c. */
CATCHUP_API void catchup_close(struct catchup *c);

/* ---- status ------------------------------------------------------------------------------- */

enum catchup_state {
	CATCHUP_STATE_IDLE = 0,      /* no process runs it */
	CATCHUP_STATE_RUNNING = 1,   /* has rows to do */
	CATCHUP_STATE_CAUGHT_UP = 2, /* waits for rows */
	CATCHUP_STATE_PAUSED = 3,    /* waits for the machine (disk full, locked, ...), or until a row
	                                that failed is tried again */
	CATCHUP_STATE_STOPPED = 4,   /* stopped on an error */
};

/* Returns "idle", "running", "caught-up", "paused" or "stopped". Threads: any. */
CATCHUP_API const char *catchup_state_name(int state);

struct catchup_source_status {
	const char *name;     /* table, or the `max` query where there is no table */
	const char *database; /* absolute path of the file that holds it */
	int64_t newest;       /* newest id; 0 for an empty source; -1 when it cannot be read */
	int guarded;          /* 1: catchup_guard keeps it append-only; -1: not known */
};

/* What is counted (offered to retries, vanished) is counted since the consumer's first row or its last
 * catchup_reset in catchup_status_read, and since the runtime was started in catchup_status. */
struct catchup_consumer_status {
	const char *name;
	const char *source;   /* "" when unknown (a watermark written by another program) */
	const char *into;     /* absolute path of the results database, "" for the source's own */
	int64_t watermark;    /* last id whose effects are committed */
	int64_t newest;       /* newest id of the source, -1 when it cannot be read */
	int64_t lag_rows;     /* rows above the watermark; -1 when unknown. Exact in
	                         catchup_status_read, an estimate in catchup_status */
	int state;            /* enum catchup_state */
	int error_code;       /* enum catchup_code of last_error, 0 when there is none */
	int64_t error_row;    /* id of the row that last_error is about, 0 when it is about none */
	int64_t error_since_ms; /* Unix time in ms since when, 0 when there is no error */
	const char *last_error; /* message, "" when there is none */
	int64_t dead;         /* rows in the dead letters; in catchup_status as `parked` */
	int64_t offered;      /* rows offered to the consumer: applied + passed + dead-lettered */
	int64_t applied;      /* rows whose effects are committed */
	int64_t passed;       /* rows the consumer looked at and passed over */
	int64_t parked;       /* rows put into the dead letters, ever */
	int64_t retries;      /* attempts that were rolled back and tried again */
	int64_t batches;      /* transactions committed since the runtime started; 0 when read */
	int64_t updated_ms;   /* Unix time in ms of the last commit, 0 for never */
	const char *owner;    /* who holds the lease ("host:pid"), "" for nobody */
	const char *error_category; /* of last_error: "row", "busy", "full", "io", "memory", "schema",
	                         "database", "slow", "gone"; "" when there is none */
	int64_t vanished;     /* rows that were there when they were announced to the consumer and were
	                         deleted before it read them, so they were not offered; of a backlog of
	                         a consumer that reads row by row they are not known. A set-based one
	                         reads by itself: such rows are among those offered */
	const char *lost_owner; /* who ran it last and has neither given it back nor renewed its lease:
	                         killed, crashed or stuck; "" when nobody. "" in catchup_status */
	int64_t crash_row;    /* the row that was in hand when processes ended without a word, as far as
	                         rows were written down before (after a first crash, or `careful`), and
	                         is not done yet; 0 for none. 0 in catchup_status */
	int crashes;          /* how often it was; of the first time it may be one of several */
};

struct catchup_status {
	const char *database;       /* absolute path */
	const char *sqlite_version; /* of the library in this process */
	const struct catchup_source_status *sources;
	size_t n_sources;
	const struct catchup_consumer_status *consumers;
	size_t n_consumers;
	int64_t wal_bytes; /* size of the database's write-ahead log, 0 when there is none */
	const char *wal_held_by; /* other processes whose open reads keep that log from beginning anew,
	                            as "pid 12 (python3), pid 34 (sqlite3)", "" for none; consumers
	                            read for moments only and are left out. A running runtime looks
	                            only when the log is above its bound */
};

/*
 * A snapshot of a running runtime. Cheap: no source rows are read.
 * Returns: CATCHUP_OK and *out. Ownership: catchup_status_free(*out). Threads: any.
 */
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* in C++ it hides the struct's constructor */
#endif
CATCHUP_API int catchup_status(
	struct catchup *c, struct catchup_status **out, struct catchup_error *error);
#if defined(__cplusplus) && defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/*
 * Reads the same from a database file, whoever runs its consumers, also those whose results are in
 * other files. The file is opened read-only; where it has a write-ahead log and no program has it open,
 * SQLite makes that log's files in its folder all the same, and has to be allowed to.
 * Returns: CATCHUP_OK; CATCHUP_DATABASE, CATCHUP_IO, CATCHUP_LOCKED with a message.
 * Ownership: catchup_status_free(*out). Threads: any.
 */
CATCHUP_API int catchup_status_read(
	const char *database, struct catchup_status **out, struct catchup_error *error);

CATCHUP_API void catchup_status_free(struct catchup_status *status);

/*
 * Waits until a consumer's watermark, in a database that any process may be working on, is at least
 * `until`. timeout_ms: -1 waits without end. `cancel` may be NULL; the wait ends with
 * CATCHUP_CANCELED soon after *cancel becomes other than 0 (it may be set by a signal handler).
 * A consumer that the database does not know yet is waited for, too, unless the wait has no end.
 * Returns: CATCHUP_OK; CATCHUP_TIMEOUT; CATCHUP_CONSUMER when the consumer has stopped on an error;
 * CATCHUP_USAGE when the database knows no such consumer and timeout_ms is -1. Threads: any.
 */
CATCHUP_API int catchup_wait_watermark(const char *database, const char *consumer, int64_t until,
	int64_t timeout_ms, const volatile int *cancel, struct catchup_error *error);

/* ---- dead letters -------------------------------------------------------------------------- */

/* A row that a consumer could not process. */
struct catchup_dead_letter {
	const char *consumer;
	int64_t id;
	const char *key;      /* of park-key, NULL for none; key_bytes long, NUL-terminated */
	size_t key_bytes;
	int code;             /* SQLite extended result code, 0 when SQLite had nothing to do with it */
	const char *message;
	int64_t attempts;     /* how often it was tried, a try in hand included; 0 when only its key was
	                         parked */
	int64_t first_ms;     /* Unix time in ms of the first and the last failure */
	int64_t last_ms;
	const char *event;    /* of a changelog: the event as a line, event_bytes long, NUL-terminated;
	                         NULL for a row, and for an event that was not kept */
	size_t event_bytes;
	int in_hand;          /* 1: it is being tried again, or whoever did has died of it or with it */
};

struct catchup_dead_letters {
	const struct catchup_dead_letter *letters; /* by consumer, then id */
	size_t n;
};

/*
 * Reads the dead letters of a database's consumers, also of those whose results are in other files.
 * consumer: NULL for all; id: 0 for all.
 * Returns: CATCHUP_OK and *out; CATCHUP_USAGE when there is no such consumer. When one consumer's results
 *          database is missing or broken: its code, and the letters of the others in *out, which is NULL
 *          after any other failure.
 * Ownership: catchup_dead_free(*out), also after a failure. Threads: any.
 */
CATCHUP_API int catchup_dead_read(const char *database, const char *consumer, int64_t id,
	struct catchup_dead_letters **out, struct catchup_error *error);
CATCHUP_API void catchup_dead_free(struct catchup_dead_letters *letters);

/* Forgets dead letters: the rows stay unprocessed. *dropped (may be NULL): how many, also when those of one
 * consumer could not be. Otherwise as catchup_dead_read. */
CATCHUP_API int catchup_dead_drop(const char *database, const char *consumer, int64_t id,
	int64_t *dropped, struct catchup_error *error);

struct catchup_dead_result {
	int64_t tried;
	int64_t done;   /* processed now: their effects are committed and the letters gone */
	int64_t failed; /* failed again: attempts and message are those of this try */
	int64_t gone;   /* the row is no longer in the source: the letter is dropped */
	int64_t behind; /* not tried: an earlier row with the same key has a letter, too */
	int64_t unkept; /* not tried: its event was not kept, for it was longer than 64 KiB */
	int64_t held;   /* not tried: whoever tried it last has not come back, and may have died of it; by
	                   its id it is tried */
};

/*
 * Runs dead letters through their consumer again, each in a transaction of its own: its effects are
 * committed together with the end of the letter. May be called while another process runs the
 * consumer. The consumer is made as it was when it ran last; options gives the database, `builtins`
 * for consumers linked into the program, the log and the waiting times. An event of a changelog is tried
 * as it was kept in its letter. That a letter is in hand is committed before it is tried: if its row ends
 * the process, the next call with id 0 passes over it.
 *
 * Returns: CATCHUP_OK and *result, also when rows failed again; CATCHUP_CONFIG when a consumer cannot
 *          be made here (it was linked into another program, or its file is gone), or follows another
 *          source than when its rows failed. Then the letters of the others are tried all the same, and
 *          *result is about them.
 * Threads: any.
 */
CATCHUP_API int catchup_dead_retry(const struct catchup_options *options, const char *consumer,
	int64_t id, struct catchup_dead_result *result, struct catchup_error *error);

/* ---- beginning again ----------------------------------------------------------------------- */

struct catchup_reset_result {
	int64_t from, to; /* the watermark before and now */
	int64_t skipped;  /* going forward: rows between them, never to be offered; -1: not known */
	int64_t dropped;  /* dead letters above the new watermark, dropped */
	int cleared;      /* 1: the results were cleared */
};

#define CATCHUP_RESET_NEWEST (-1) /* instead of an id: the highest that the source has given */
#define CATCHUP_RESET_KEEP_RESULTS (1u << 0)

/*
 * Moves a consumer's watermark to an id, while nobody runs it. Going back, its `reset` script clears the
 * results and its `setup` makes its tables anew, in the transaction that moves the watermark; a consumer
 * without `reset` is refused unless CATCHUP_RESET_KEEP_RESULTS says that rows are meant to be applied to
 * what is there. Going forward the results are left alone, and so they are on the way to
 * CATCHUP_RESET_NEWEST, which is back where rows of the source are gone. A consumer that has followed
 * another source is taken to follow the one that it says now. Counters begin anew.
 *
 * Others that follow a table of this consumer's are not moved, and rows that are written to it again count
 * twice there: going back, a log line of level WARN names each that has read some of it, so that it can be
 * reset, too. Known are the tables that its scripts write, and those that an SQL consumer writes.
 *
 * options: database, builtins, the log, busy_ms. consumer: a name that the database knows, or what
 * catchup_add takes. to: 0 or more, or CATCHUP_RESET_NEWEST.
 * Returns: CATCHUP_OK and *result; CATCHUP_LOCKED while another process runs it; CATCHUP_USAGE for an
 *          id that the source has not given yet; CATCHUP_CONFIG when it cannot be cleared, or when what
 *          made it makes a consumer of another name now. Nothing is
 *          changed unless CATCHUP_OK. Threads: any.
 */
CATCHUP_API int catchup_reset(const struct catchup_options *options, const char *consumer, int64_t to,
	unsigned flags, struct catchup_reset_result *result, struct catchup_error *error);

/*
 * Takes a consumer that is no more off the books: its watermark, counters, dead letters and registration
 * go, its results stay. Should it run again, it begins at the first row.
 *
 * consumer: a name that the database knows. Returns: CATCHUP_OK; CATCHUP_LOCKED while another process
 * runs it; CATCHUP_USAGE where there is none of that name. Threads: any.
 */
CATCHUP_API int catchup_forget(
	const char *database, const char *consumer, struct catchup_error *error);

/* ---- verifying ----------------------------------------------------------------------------- */

/* What was found out about one consumer. -1: not known. */
struct catchup_verdict {
	const char *consumer;
	const char *source;    /* as in struct catchup_consumer_status */
	const char *into;
	int ok;                /* 1: nothing is wrong */
	int guarded;           /* 1: the source is guarded (catchup_guard) */
	int64_t watermark;
	int64_t newest;        /* newest id of the source */
	int64_t highest;       /* highest id that the source is known to have held */
	int64_t offered, applied, passed, parked; /* as in struct catchup_consumer_status */
	int64_t dead;          /* dead letters that are there */
	int64_t counted_from;  /* rows in (counted_from, watermark] were all counted when offered */
	int64_t counted;       /* rows offered in it */
	int64_t rows;          /* rows of the source in it; -1 also where `next` leaves rows out */
	int64_t recomputed_rows;   /* rows of results that are the same; -1: not recomputed */
	int64_t recomputed_tables; /* in so many tables */
	const char *const *wrong;  /* one line each */
	size_t n_wrong;
	const char *const *notes;  /* what could not be looked at, and why */
	size_t n_notes;
};

/* What PRAGMA integrity_check says about one database file. */
struct catchup_verified_file {
	const char *path;
	const char *wrong; /* "" when nothing is */
};

struct catchup_verification {
	const char *database;
	int ok; /* 1: nothing is wrong anywhere */
	const struct catchup_verdict *verdicts; /* by name */
	size_t n_verdicts;
	const struct catchup_verified_file *files; /* the source's, then those of results */
	size_t n_files;
};

#define CATCHUP_VERIFY_RECOMPUTE (1u << 0)

/*
 * Looks for evidence that a promise was broken, in a database that any process may be working on:
 *
 *  - each database file passes SQLite's integrity check;
 *  - rows offered = rows applied + passed over + parked;
 *  - the watermark is not past the highest id that the source has held;
 *  - the source has no more rows below the watermark than were offered: none was left out, and none
 *    came later (where the consumer takes all rows of the table);
 *  - no more dead letters than rows were parked, none above the watermark;
 *  - results in a file of their own: the newest row that was processed is still the same row.
 *
 * CATCHUP_VERIFY_RECOMPUTE: each consumer runs once more, from zero to its watermark and without the
 * rows in its dead letters, on copies of the databases in $TMPDIR (or /tmp), which need room there; the
 * tables that it writes must then hold the same rows. Its code runs: effects outside the database
 * happen again. Results that depend on time, chance, or rows that were deleted since differ. Where only a
 * table's own AUTOINCREMENT ids are all higher by the same number, as SQLite counts them after a reset that
 * deleted the rows, that is a note; other tables that hold such ids differ.
 *
 * options: database, builtins (to recompute those that are linked in), flags.
 * consumers: names, or what catchup_add takes; NULL or n_consumers 0: all that the database knows.
 *
 * Returns: CATCHUP_OK and *out, whatever was found; a code when it could not look, CATCHUP_USAGE for a
 *          consumer that the database does not know.
 * Ownership: catchup_verification_free(*out). Threads: any.
 */
CATCHUP_API int catchup_verify(const struct catchup_options *options,
	const char *const *consumers, size_t n_consumers, unsigned flags,
	struct catchup_verification **out, struct catchup_error *error);
CATCHUP_API void catchup_verification_free(struct catchup_verification *verification);

/* ---- guarding a source --------------------------------------------------------------------- */

/*
 * Keeps a source append-only, by triggers on the table that any program that writes it obeys: an
 * insert is refused, and so is a change of an id, unless the id is above every id that the table has
 * ever held and every consumer's watermark. Such a row would never be processed: whoever reads the
 * source takes what is at or below the newest id as known. The statement ends with an error
 * (RAISE(ABORT)), its transaction goes on. Rows may be deleted; that their ids are not given again is
 * remembered in table catchup_guard. An insert costs two look-ups more and writes nothing more; so does
 * an update of a row, but the first after an insert writes that table.
 *
 * INSERT and UPDATE OR REPLACE, OR IGNORE and a connection's PRAGMA recursive_triggers make no
 * difference; PRAGMA ignore_check_constraints does not either. A restored copy of the file, or one who
 * drops the triggers, is not kept from anything.
 *
 * id_column: NULL for "id". Installing again is allowed, and renews it after the table was renamed, or
 * where it lacks a trigger (catchup_verify says so).
 * Returns: CATCHUP_OK; CATCHUP_CONFIG when the table cannot be a source; CATCHUP_USAGE where the guard
 *          to be removed is not there. Threads: any.
 */
CATCHUP_API int catchup_guard(const char *database, const char *table, const char *id_column,
	struct catchup_error *error);
CATCHUP_API int catchup_guard_remove(
	const char *database, const char *table, struct catchup_error *error);

/* ---- what there is ------------------------------------------------------------------------ */

/* Returns the library's version, and that of the SQLite library it uses. Threads: any. */
CATCHUP_API const char *catchup_version(void);
CATCHUP_API const char *catchup_sqlite_version(void);

/*
 * Returns 1 when the SQLite library has the WAL-reset corruption bug (3.7.0 to 3.51.2), else 0.
 * See https://sqlite.org/wal.html. Threads: any.
 */
CATCHUP_API int catchup_sqlite_has_wal_reset_bug(void);

#ifdef __cplusplus
}
#endif

#endif
