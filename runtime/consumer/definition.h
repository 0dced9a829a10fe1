/* SPDX-License-Identifier: MIT */
/*
 * definition.h - a consumer as the runtime sees it, whatever it came from.
 *
 * A SQL file, a module and a linked table all become a struct cu_definition. Its functions are those
 * of struct catchup_consumer; for a SQL file they are the SQL consumer's own (sql_consumer.c), so the
 * pool knows one way to run a consumer.
 */
#ifndef CU_CONSUMER_DEFINITION_H
#define CU_CONSUMER_DEFINITION_H

#include "base/log.h"

#include <catchup/catchup.h>
#include <catchup/consumer.h>
#include <stdatomic.h>
#include <stdbool.h>

struct cu_option_value {
	const struct catchup_option *option; /* borrowed from the table */
	char *text;                          /* owned; as given, or the default */
	int64_t integer;                     /* INT and BOOL */
};

struct cu_sql_file; /* parsed .sql file */
struct cu_loaded_module;

struct cu_definition {
	/* constant once made; strings owned, NULL where not given */
	char *name;
	char *origin;    /* path, or "built-in NAME" */
	char *spec;      /* what makes it again from any folder; NULL for a linked table */
	char *source;
	char *id_column; /* "id" unless given */
	bool id_given;
	char *from;      /* database that holds the source, when it is not the runtime's */
	char *into;
	char *on_error;
	char *max, *next, *setup, *reset;
	int setup_line, reset_line; /* of these sections in its file, 0 for none */
	uint32_t workers;
	struct catchup_consumer table; /* copy; its functions are called with a cu_context */
	struct cu_option_value *options;
	size_t n_options;
	struct cu_sql_file *sql;          /* owned, for SQL files */
	struct cu_loaded_module *module;  /* owned, for modules */
	uint32_t batch_rows;              /* own bound, 0: the runtime's */
	int max_line, next_line;          /* where they stand in the file, 0 for none */
	/* SQL row consumers: checks that every @parameter of `row` is a column of `next`. NULL for
	 * others. Called after open, with the prepared `next`, and again whenever that is prepared
	 * anew; what SQLite prepares anew by itself is noticed in `row`. */
	int (*check_columns)(struct catchup_context *ctx, void *state, sqlite3_stmt *next);
};

/*
 * Makes a definition from what a command line says ("file.sql", "./module.so", "NAME", each with
 * ":key=value,..."), or from a linked table. config may be NULL. builtins: NULL-terminated, may be
 * NULL. Everything that can be found wrong without a database is found here, but for the error policy,
 * which is the pool's to read.
 * Returns CATCHUP_OK and *out; or CATCHUP_USAGE / CATCHUP_CONFIG.
 */
int cu_definition_make(struct cu_definition **out, const char *consumer,
	const struct catchup_consumer_config *config,
	const struct catchup_consumer *const *builtins, struct catchup_error *error);
int cu_definition_make_table(struct cu_definition **out, const struct catchup_consumer *table,
	const struct catchup_consumer_config *config, struct catchup_error *error);
void cu_definition_free(struct cu_definition *definition);

/*
 * Says where the files of a consumer are that a database knows already: the source is in the runtime's own,
 * results are in `into`, "" for the source's. What the consumer says of both may be relative to another file.
 */
int cu_definition_place(
	struct cu_definition *definition, const char *into, struct catchup_error *error);

/* ---- the context consumer functions are called with --------------------------------------- */

struct cu_context {
	struct catchup_context public; /* first: functions get a pointer to it */

	const struct cu_definition *definition; /* borrowed */
	const struct cu_logger *logger;         /* borrowed */
	const _Atomic int *stopping;            /* borrowed */
	_Atomic uint64_t *calls;                /* borrowed, may be NULL; odd while a call is in hand,
	                                           and another number for each; written by the worker's
	                                           thread only */

	/* of the call in hand; the worker's thread only */
	bool failed;          /* catchup_fail was called */
	int fail_code;        /* SQLite extended result code, 0 for none */
	char fail_text[CATCHUP_MESSAGE_BYTES];
};

/* db is the connection of the worker; worker as in struct catchup_context. */
void cu_context_init(struct cu_context *context, const struct cu_definition *definition,
	const struct cu_logger *logger, const _Atomic int *stopping, sqlite3 *db, int worker);

/*
 * Forgets the failure of an earlier call; to be called before each call of a consumer function that
 * may fail. cu_context_result turns what the function returned into APPLIED, PASSED or FAILED, with
 * fail_text and fail_code filled in the last case whatever the function did (a result out of range, a
 * failure without words).
 */
static inline void cu_context_begin_call(struct cu_context *context)
{
	context->failed = false;
	if (context->calls) {
		uint64_t calls = atomic_load_explicit(context->calls, memory_order_relaxed);

		atomic_store_explicit(context->calls, (calls + 1) | 1, memory_order_relaxed);
	}
}
int cu_context_explain(struct cu_context *context, const char *function, int result);
static inline int cu_context_result(struct cu_context *context, const char *function, int result)
{
	if (context->calls)
		atomic_store_explicit(context->calls,
			(atomic_load_explicit(context->calls, memory_order_relaxed) + 1) & ~UINT64_C(1),
			memory_order_relaxed);
	/* A function that called catchup_fail and then claims success is not believed: its row would
	 * be lost in silence. */
	if (!context->failed && (result == CATCHUP_ROW_APPLIED || result == CATCHUP_ROW_PASSED))
		return result;
	return cu_context_explain(context, function, result);
}

#endif
