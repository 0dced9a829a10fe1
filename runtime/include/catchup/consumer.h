/* SPDX-License-Identifier: MIT */
/*
 * consumer.h - write a consumer in C.
 *
 * A consumer is one constant table. The smallest:
 *
 *	#include <catchup/consumer.h>
 *
 *	static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
 *	{
 *		(void)state;
 *		catchup_log(ctx, CATCHUP_CONSUMER_INFO, "row %lld", sqlite3_column_int64(row, 0));
 *		return CATCHUP_ROW_APPLIED;
 *	}
 *
 *	CATCHUP_CONSUMER(echo) = {
 *		CATCHUP_CONSUMER_ABI,
 *		.name = "echo",
 *		.summary = "logs every id",
 *		.source = "orders",
 *		.row = row,
 *	};
 *
 * Linked into a program, `catchup_consumer_echo` is handed to catchup_add_table. Built as a module
 * with -DCATCHUP_MODULE -fPIC -shared, the .so is named on the command line. A module reaches SQLite
 * through the host and must not be linked with a copy of its own; loading one that is, is refused.
 *
 * Rules for all functions: they run on one of the consumer's worker threads; all effects go through
 * ctx->db, in the transaction that the runtime has begun. They must not begin, commit or roll back,
 * attach, load extensions, write tables named catchup* or the source; the connection refuses it. A
 * function may be called again for the same row after a crash or a rollback; effects outside the
 * database must be idempotent.
 */
#ifndef CATCHUP_CONSUMER_H
#define CATCHUP_CONSUMER_H

#include <stddef.h>
#include <stdint.h>

#ifdef CATCHUP_MODULE
#include <sqlite3ext.h>
#else
#include <sqlite3.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef CATCHUP_MODULE
/* Hidden, so that two modules never share it. CATCHUP_CONSUMER defines it. */
extern __attribute__((visibility("hidden"))) const sqlite3_api_routines *sqlite3_api;
#endif

/* A module is taken when its major version equals the host's and its minor is not newer. */
#define CATCHUP_CONSUMER_ABI_MAJOR 1
#define CATCHUP_CONSUMER_ABI_MINOR 2

/* ---- options ------------------------------------------------------------------------------ */

enum catchup_option_kind {
	CATCHUP_OPTION_INT = 1,  /* int64 between minimum and maximum; both 0: any */
	CATCHUP_OPTION_BOOL = 2, /* true, false, yes, no, on, off, 1, 0 */
	CATCHUP_OPTION_TEXT = 3, /* bytes without NUL; minimum and maximum bound its length, both
	                            0: up to 1 MiB */
};

/* One option of a consumer: `NAME:key=value`. The value is checked before anything runs. */
struct catchup_option {
	const char *name;
	int kind;                  /* enum catchup_option_kind */
	const char *default_value; /* as a user would write it; NULL: the option is required */
	int64_t minimum;           /* inclusive */
	int64_t maximum;           /* inclusive */
	const char *help;          /* one line */
};

/* ---- what the host gives ------------------------------------------------------------------ */

/* The levels of catchup.h. */
enum catchup_consumer_log_level {
	CATCHUP_CONSUMER_ERROR = 0,
	CATCHUP_CONSUMER_WARN = 1,
	CATCHUP_CONSUMER_INFO = 2,
	CATCHUP_CONSUMER_DEBUG = 3,
};

struct catchup_context;

/* Functions of the host. Use the macros below. Grows at the end only. */
struct catchup_host {
	size_t size;
	void (*log)(struct catchup_context *ctx, int level, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));
	void (*fail)(struct catchup_context *ctx, int sqlite_code, const char *fmt, ...)
		__attribute__((format(printf, 3, 4)));
	int64_t (*option_int)(struct catchup_context *ctx, const char *name);
	const char *(*option_text)(struct catchup_context *ctx, const char *name);
	int (*stopping)(struct catchup_context *ctx);
};

/* One per consumer and worker thread; made by the host, borrowed by the consumer's functions. */
struct catchup_context {
	size_t size;
	const struct catchup_host *host;
	sqlite3 *db;         /* `open`..`close`: the connection results are written through, the
	                        consumer's own unless it `shares`; in `map`: read-only. The source is
	                        in schema "source" when the results are in another file, else in
	                        "main" */
	const char *name;    /* the name the consumer runs under */
	const char *source;  /* table, or "" */
	int worker;          /* 0 for the one that writes; 1, 2, ... for workers that only map */
};

/* (The parentheses keep a macro of the same name, such as a test library's fail(), out of it.) */

/* Logs a line under the consumer's name. */
#define catchup_log(ctx, level, ...) (((ctx)->host->log)((ctx), (level), __VA_ARGS__))

/*
 * Says why the function that is about to return CATCHUP_ROW_FAILED fails. sqlite_code tells errors
 * of the machine (SQLITE_FULL, SQLITE_IOERR, SQLITE_BUSY, SQLITE_NOMEM, ...: the consumer pauses and
 * tries again) from errors of the row (anything else: the error policy decides); 0 when SQLite has
 * nothing to do with it. Evaluates to CATCHUP_ROW_FAILED.
 */
#define catchup_fail(ctx, sqlite_code, ...)                                                        \
	(((ctx)->host->fail)((ctx), (sqlite_code), __VA_ARGS__), CATCHUP_ROW_FAILED)

/* The same with the code and message of the last error on ctx->db. `what` is a string literal. */
#define catchup_fail_db(ctx, what)                                                                 \
	catchup_fail((ctx), sqlite3_extended_errcode((ctx)->db), "%s: %s", (what),                 \
		sqlite3_errmsg((ctx)->db))

/* Values of options by name; an unknown name is a mistake in the consumer and aborts. */
#define catchup_option_int(ctx, name) (((ctx)->host->option_int)((ctx), (name)))
#define catchup_option_text(ctx, name) (((ctx)->host->option_text)((ctx), (name)))

/* Other than 0 once the runtime is stopping: a long function should return soon. */
#define catchup_stopping(ctx) (((ctx)->host->stopping)((ctx)))

/* ---- what a consumer gives ---------------------------------------------------------------- */

/* What row, range, apply, event and resync return. Anything else is a failure that says so. */
enum catchup_row_result {
	CATCHUP_ROW_APPLIED = 0,
	CATCHUP_ROW_PASSED = 1, /* looked at and passed over; counted as such */
	CATCHUP_ROW_FAILED = 2, /* catchup_fail said why; the transaction is rolled back */
};

/* One part of the primary key of a changelog event. */
enum catchup_key_kind {
	CATCHUP_KEY_NULL = 0,
	CATCHUP_KEY_BOOL = 1,
	CATCHUP_KEY_INT = 2,    /* exact */
	CATCHUP_KEY_DOUBLE = 3,
	CATCHUP_KEY_TEXT = 4,
};

struct catchup_key {
	const char *name; /* column */
	const char *type; /* as the writer declared it, such as "int" or "varchar(32)" */
	int kind;         /* enum catchup_key_kind */
	int64_t integer;  /* BOOL, INT */
	double real;      /* DOUBLE */
	const char *text; /* TEXT: UTF-8 bytes, NUL-terminated; may hold NULs inside */
	size_t text_bytes;
};

/* One changelog event. Memory belongs to whoever hands it out, until the next one. */
struct catchup_event {
	int64_t sequence;
	const char *family;
	const char *table;
	const struct catchup_key *keys;
	size_t n_keys;
};

/* Why events may have been missed. */
enum catchup_sync_reason {
	CATCHUP_SYNC_GAP = 1,       /* the sequence is not the previous plus one */
	CATCHUP_SYNC_OVERFLOW = 2,  /* the ring was full and events were dropped */
	CATCHUP_SYNC_LOST_FILE = 3, /* a file was gone before it was read to its end */
	CATCHUP_SYNC_START = 4,     /* an event consumer that has no watermark yet: rows may be
	                               older than the changelog */
};

struct catchup_out_of_sync {
	int reason;       /* enum catchup_sync_reason */
	int64_t expected; /* sequence that should have come; -1 when unknown */
	int64_t got;      /* sequence that came; -1 when none has come yet */
};

/*
 * The table. Zero what is not used; give exactly one of: `row`, `range`, `map` with `apply`, `event`
 * with `resync`.
 */
struct catchup_consumer {
	size_t size; /* CATCHUP_CONSUMER_ABI sets the first three */
	uint16_t abi_major;
	uint16_t abi_minor;

	const char *name;    /* 1 byte to 1 MiB; also the watermark's name */
	const char *summary; /* one line for `catchup consumers` */
	const struct catchup_option *options; /* ended by one whose name is NULL; may be NULL */

	/* Where rows come from: `source`, or both `max` and `next`, or all three. */
	const char *source;    /* table; "changelog:FAMILY.TABLE" for `event` consumers */
	const char *id_column; /* NULL: "id" of a table; of a view it must be said */
	const char *max;       /* SELECT ... AS max; NULL: the table's newest id. Runs in the source's own
	                          file, which is not attached as `source` there */
	const char *next;      /* SELECT ... AS id ... WHERE id > @last AND id <= @max ORDER BY id;
	                          it may filter and may have a LIMIT; with `map` it is asked for a few
	                          rows at a time; NULL: all columns of the table */
	const char *into;      /* results database; NULL: the source's own file */
	const char *on_error;  /* what a row that fails does, in the words of a file's header key
	                          `on-error`; NULL: "stop" */
	const char *setup;     /* SQL run once at start, in a transaction; may be NULL. What it makes
	                          stays when `open` fails: only a SQL file's statements are prepared
	                          before it is committed */

	/*
	 * Once per worker thread, after `setup`: prepare statements on ctx->db, allocate *state. Closed
	 * while another process runs the consumer, and opened again when its turn has come.
	 * Returns CATCHUP_ROW_APPLIED, or catchup_fail(...): the consumer does not start.
	 */
	int (*open)(struct catchup_context *ctx, void **state);

	/* One source row. Its columns may be read with sqlite3_column_*; it must not be stepped: rows would
	 * be skipped, so a row whose function does that fails. */
	int (*row)(struct catchup_context *ctx, void *state, sqlite3_stmt *row);

	/* All rows with last < id <= max at once, by SQL on ctx->db. Needs `source`. May be called for
	 * several stretches of a batch (park-key). */
	int (*range)(struct catchup_context *ctx, void *state, int64_t last, int64_t max);

	/*
	 * Two steps: `map` runs in parallel on any worker, outside the write lock, and makes a result
	 * out of a row; `apply` runs in id order on worker 0 and writes it. A row that failed before, or
	 * that may have ended a process, is mapped on worker 0, too. `discard` frees a result: after
	 * `apply`, and instead of it when a range is done again. A NULL *result is handed to `apply` like
	 * any other. Between `map` and its commit are 384 rows for each worker at most, whatever their
	 * results take.
	 */
	int (*map)(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result);
	int (*apply)(struct catchup_context *ctx, void *state, int64_t id, void *result);
	void (*discard)(void *result);

	/*
	 * Changelog-driven: one event; and, where events may have been missed, rebuild everything.
	 * `resync` is also how it begins. Its results and the sequence it goes on after commit
	 * together; the error policy's retries hold for it, but it cannot be parked.
	 */
	int (*event)(struct catchup_context *ctx, void *state, const struct catchup_event *event);
	int (*resync)(struct catchup_context *ctx, void *state,
		const struct catchup_out_of_sync *why);

	/* Around each transaction, inside it; may be NULL. Same results as `row`. */
	int (*batch_begin)(struct catchup_context *ctx, void *state);
	int (*batch_end)(struct catchup_context *ctx, void *state);

	/* Finalize statements, free state. Called for every `open` that succeeded. Worker 0 is opened first and
	 * closed last, when all results are discarded. */
	void (*close)(struct catchup_context *ctx, void *state);

	/* ---- since ABI 1.1 ---- */

	/*
	 * SQL that takes away all results, such as "DELETE FROM totals"; may be NULL. Run by
	 * catchup_reset, with `setup` behind it, in the transaction that moves the watermark back.
	 */
	const char *reset;

	/* ---- since ABI 1.2 ---- */

	/*
	 * Other than 0: its functions leave nothing on ctx->db but prepared statements, and those
	 * reset: no functions or hooks of their own, no limits, no open query. Then consumers of one
	 * thread share a connection, and the schema and the pages that it holds: a thousand of them take
	 * a twentieth of the memory. Who makes something temporary in `open` gets a connection of its
	 * own all the same; later it is refused. SQL files share by themselves.
	 */
	int shares;
};

#define CATCHUP_CONSUMER_ABI                                                                       \
	.size = sizeof(struct catchup_consumer), .abi_major = CATCHUP_CONSUMER_ABI_MAJOR,          \
	.abi_minor = CATCHUP_CONSUMER_ABI_MINOR

/* What a module exports under the name catchup_module. */
struct catchup_module {
	size_t size;
	uint16_t abi_major;
	uint16_t abi_minor;
	const struct catchup_consumer *consumer;
	const void **sqlite_api; /* the host stores its sqlite3_api_routines here */
};

/* Defines the table `catchup_consumer_NAME`, and in a module exports it. */
#ifdef CATCHUP_MODULE
#define CATCHUP_CONSUMER(id)                                                                       \
	const sqlite3_api_routines *sqlite3_api;                                                   \
	extern const struct catchup_consumer catchup_consumer_##id;                                \
	extern __attribute__((visibility("default"))) const struct catchup_module catchup_module;  \
	const struct catchup_module catchup_module = {                                             \
		sizeof(struct catchup_module), CATCHUP_CONSUMER_ABI_MAJOR,                         \
		CATCHUP_CONSUMER_ABI_MINOR, &catchup_consumer_##id,                                \
		(const void **)(void *)&sqlite3_api};                                              \
	const struct catchup_consumer catchup_consumer_##id
#else
#define CATCHUP_CONSUMER(id)                                                                       \
	extern const struct catchup_consumer catchup_consumer_##id;                                \
	const struct catchup_consumer catchup_consumer_##id
#endif

#ifdef __cplusplus
}
#endif

#endif
