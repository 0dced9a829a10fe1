/* SPDX-License-Identifier: MIT */
/*
 * setup.c - what happens once, before any thread runs: tables are made, each consumer's `setup` is
 * run, its source is looked at, and it is written down where its results are.
 *
 * A consumer's `setup` is committed when all its SQL can be prepared on what that has made, and it is
 * written down in the same transaction: of one with a mistake in it nothing is left. What only C code
 * knows is found when its worker opens it.
 */
#include "pool/perform/perform.h"

#include "base/error.h"

#include <string.h>

/* A consumer's script runs no longer: an index over a large table fits, an endless recursion ends. */
#define SCRIPT_LIMIT_NS (600 * CU_NS_PER_S)

void cu_setup_spec(const struct cu_follower *f, struct cu_source_spec *spec)
{
	const struct cu_definition *d = f->definition;

	*spec = (struct cu_source_spec){
		.table = d->table.event ? NULL : d->source,
		.id_column = d->id_column,
		.max = d->max,
		.next = d->next,
		.consumer = d->name,
		.attached = f->separate,
		.id_assumed = !d->id_given,
	};
}

/* What a script says is wrong before anything runs, unless the machine failed. */
static int blame(const struct cu_definition *d, const char *section, struct catchup_error *error)
{
	if (error && error->code == CATCHUP_CONSUMER)
		error->code = CATCHUP_CONFIG;
	return cu_error_prefix(error, "consumer '%.200s': %s: ", d->name, section);
}

void cu_setup_guard(const struct cu_follower *f, struct cu_conn *conn)
{
	conn->guard.consumer = f->definition->name;
	conn->guard.source = f->definition->source;
	conn->guard.source_attached = f->separate;
}

int cu_setup_script(struct cu_follower *f, struct cu_conn *conn, const char *section, const char *sql,
	int line, struct catchup_error *error)
{
	const struct cu_definition *d = f->definition;
	int rc;

	if (!sql)
		return CATCHUP_OK;
	cu_setup_guard(f, conn);
	cu_conn_limit(conn, SCRIPT_LIMIT_NS);
	cu_conn_guard_enter(conn);
	rc = cu_conn_exec(conn, sql, line ? d->origin : NULL, line, error);
	cu_conn_guard_leave(conn);
	cu_conn_limit(conn, CU_FOREVER);
	if (rc == CATCHUP_OK && !cu_conn_in_transaction(conn))
		rc = cu_error_set(error, CATCHUP_CONFIG, 0, "its SQL ended the transaction");
	return rc == CATCHUP_OK ? CATCHUP_OK : blame(d, section, error);
}

static void warn_about_source(struct cu_follower *f, unsigned warnings)
{
	const struct cu_definition *d = f->definition;

	for (size_t i = 0; warnings != 0 && i < f->runtime->n_followers; i++) {
		struct cu_follower *other = f->runtime->followers[i];

		if (other == f)
			break;
		/* Once a source. */
		if (other->definition->source && strcmp(other->source_path, f->source_path) == 0 &&
			sqlite3_stricmp(other->definition->source, d->source) == 0)
			return;
	}
	if (warnings & CU_SOURCE_NO_AUTOINCREMENT)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, d->source,
			"the source's id is not AUTOINCREMENT: when its newest rows are deleted their "
			"ids are given again, and rows with them would not be seen");
	if (warnings & CU_SOURCE_BARE_ROWID)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, d->source,
			"the source's rowid has no INTEGER PRIMARY KEY column: VACUUM renumbers it");
}

/* The reader asks `max` on the source's own file, where there is neither a schema `source` nor a table of
 * the results, as there is where the consumer's other SQL runs. */
static int check_max(struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_READER,
		.main = f->source_path,
		.busy_ms = f->runtime->options.busy_ms,
		.logger = &f->runtime->logger,
		.stopping = &f->runtime->stopping,
	};
	const struct cu_source_spec spec = {.max = f->definition->max, .consumer = f->definition->name};
	struct catchup_error why = {0};
	struct cu_source source = {0};
	struct cu_conn conn = {0};
	int rc = cu_conn_open(&conn, &options, &why);

	if (rc == CATCHUP_OK)
		rc = cu_source_open(&source, &conn, &spec, &why);
	if (rc == CATCHUP_CONFIG && cu_conn_is_open(&conn))
		cu_error_set(error, rc, why.detail, "%.400s: it is asked in the source's own file, so leave "
			"'source.' out", why.message);
	else if (rc != CATCHUP_OK && error)
		*error = why;
	cu_source_close(&source);
	cu_conn_close(&conn);
	return rc;
}

/* Its source, and what SQL it has to run on its rows. */
static int check_queries(struct cu_follower *f, struct cu_conn *conn, struct catchup_error *error)
{
	struct cu_source *rows = cu_perform_rows(f);
	struct cu_source_spec spec;
	int rc;

	if (f->definition->table.event)
		return CATCHUP_OK;
	cu_setup_spec(f, &spec);
	rc = cu_source_open(rows, conn, &spec, error);
	if (rc == CATCHUP_OK && spec.table)
		warn_about_source(f, rows->warnings);
	if (rc == CATCHUP_OK && f->definition->sql)
		rc = cu_perform_try_open(f, conn, error);
	cu_source_close(rows);
	if (rc == CATCHUP_OK && f->separate && spec.max)
		rc = check_max(f, error);
	return rc;
}

/* The connections of one consumer's set-up serve the next one as well where its files are the same: a
 * thousand consumers that each make a table would otherwise read the growing schema a thousand times. */
struct connections {
	struct cu_conn results;
	struct cu_conn source;            /* where results are in another file; to write the consumer down */
	const struct cu_follower *last;   /* they were opened for it; NULL: none is open */
};

static void close_all(struct connections *open)
{
	cu_conn_close(&open->source);
	cu_conn_close(&open->results);
	open->last = NULL;
}

/* What a script has made temporary would stand in the way of the next one's. */
static bool fit(const struct connections *open, const struct cu_follower *f)
{
	const struct cu_follower *last = open->last;

	return last && last->file == f->file && last->separate == f->separate &&
		strcmp(last->source_path, f->source_path) == 0 && !open->results.guard.temporary;
}

static int open_results(struct connections *open, struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_conn_options options = cu_setup_connection(f);
	int rc;

	if (fit(open, f))
		return CATCHUP_OK;
	close_all(open);
	rc = cu_conn_open(&open->results, &options, error);
	/* It is opened again in a moment, by its worker. */
	if (rc == CATCHUP_OK)
		rc = cu_conn_keep_log(&open->results, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_create_tables(&open->results, error);
	if (rc == CATCHUP_OK)
		open->last = f;
	return rc;
}

static struct cu_registration registration_of(const struct cu_follower *f)
{
	const struct cu_definition *d = f->definition;

	return (struct cu_registration){
		.name = d->name,
		.source = d->source,
		.id_column = d->id_column,
		.max = d->max,
		.next = d->next,
		.into = f->separate ? f->file->path : "",
		.spec = d->spec,
	};
}

void cu_setup_register_in_source(struct cu_follower *f, struct cu_conn *source)
{
	const struct cu_registration registration = registration_of(f);
	struct cu_conn_options options = cu_setup_connection(f);
	struct catchup_error why;
	int rc = CATCHUP_OK;

	options.main = f->source_path;
	options.source = NULL;
	if (!cu_conn_is_open(source))
		rc = cu_conn_open(source, &options, &why);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_register(source, &registration, &why);
	f->registered = rc == CATCHUP_OK;
	if (!f->registered)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"cannot be written down in the source's database, so status there will not "
			"show it: %s", why.message);
}

struct cu_conn_options cu_setup_connection(const struct cu_follower *f)
{
	const struct catchup *c = f->runtime;

	return (struct cu_conn_options){
		.role = CU_ROLE_WRITER,
		.main = f->file->path,
		.source = f->separate ? f->source_path : NULL,
		.synchronous = c->options.synchronous,
		.busy_ms = c->options.busy_ms,
		.logger = &c->logger,
		.stopping = &c->stopping,
		.hasty = true,
	};
}

int cu_setup_register(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error)
{
	const struct cu_registration registration = registration_of(f);

	return f->separate ? CATCHUP_OK : cu_ledger_register(results, &registration, error);
}

/* In the transaction of `setup`, where there is one. */
static int check_and_register(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error)
{
	int rc = check_queries(f, results, error);

	return rc == CATCHUP_OK ? cu_setup_register(f, results, error) : rc;
}

int cu_setup_check_source(const struct cu_follower *f, struct cu_conn *results, struct catchup_error *error)
{
	const struct cu_registration registration = registration_of(f);

	return registration.source ? cu_ledger_check_source(results, &registration, error) : CATCHUP_OK;
}

int cu_setup_check_registered(const struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_registration registration = registration_of(f);

	if (!registration.source || (f->separate && !f->registered))
		return CATCHUP_OK;
	return cu_ledger_check_registered(f->writer, &registration, error);
}

static int setup_results(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error)
{
	const struct cu_definition *d = f->definition;
	int rc;

	if (!d->setup)
		return check_and_register(f, results, error);
	rc = cu_conn_begin(results, error);
	if (rc != CATCHUP_OK)
		return blame(d, "setup", error);
	rc = cu_setup_script(f, results, "setup", d->setup, d->setup_line, error);
	if (rc == CATCHUP_OK)
		rc = check_and_register(f, results, error);
	if (rc == CATCHUP_OK && (rc = cu_conn_commit(results, error)) != CATCHUP_OK)
		rc = blame(d, "setup", error);
	cu_conn_rollback(results);
	return rc;
}

static int setup_one(struct connections *open, struct cu_follower *f, struct catchup_error *error)
{
	int rc = open_results(open, f, error);

	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_setup_check_source(f, &open->results, error);
	if (rc != CATCHUP_OK)
		return cu_error_prefix(error, "consumer '%.200s': ", f->definition->name);
	cu_setup_guard(f, &open->results);
	rc = setup_results(f, &open->results, error);
	if (rc == CATCHUP_OK && f->separate)
		cu_setup_register_in_source(f, &open->source);
	return rc;
}

int cu_setup_run(struct catchup *c, struct catchup_error *error)
{
	struct connections open = {0};
	int rc = CATCHUP_OK;

	for (size_t i = 0; i < c->n_followers && rc == CATCHUP_OK; i++)
		rc = setup_one(&open, c->followers[i], error);
	close_all(&open);
	return rc;
}
