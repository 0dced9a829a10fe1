/* SPDX-License-Identifier: MIT */
/*
 * reset.c - catchup_reset: a consumer goes on at another id than its watermark.
 *
 * No thread is started. The consumer's lease is taken as for running it, so nobody else runs it
 * meanwhile; then its results are cleared, its tables are made anew and the watermark is moved, in one
 * transaction. The consumer itself is not opened before that: what it wants to prepare may only fit the
 * tables that its `setup` is about to make.
 */
#include "pool/perform/perform.h"

#include "base/error.h"
#include "store/ledger/letters.h"
#include "upkeep/chain.h"

#include <stdlib.h>
#include <string.h>

struct reset {
	struct cu_follower *f;
	struct cu_conn conn;
	struct cu_ledger ledger;
	int64_t fence; /* 0: no lease */
	int64_t to;
	bool newest; /* it goes on behind all rows, so none is done again */
	bool keeps;  /* the results, wherever it goes */
	size_t n_cleared; /* of the tables that the guard knows */
	struct catchup_reset_result *result;
};

/* ---- where to ------------------------------------------------------------------------------- */

/* Rows in (watermark, to] that nobody will offer. */
static int count_skipped(struct reset *r, struct cu_source *source, struct catchup_error *error)
{
	int64_t above_from, above_to;
	int rc = cu_source_count(source, r->result->from, INT64_MAX, &above_from, error);

	if (rc == CATCHUP_OK)
		rc = cu_source_count(source, r->to, INT64_MAX, &above_to, error);
	if (rc == CATCHUP_OK)
		r->result->skipped = above_from < 0 ? -1 : above_from - above_to;
	return rc;
}

/* What lies above the newest id was never there; a watermark on it would miss the rows to come. */
static int look_at_source(struct reset *r, struct catchup_error *error)
{
	struct cu_source_spec spec;
	struct cu_source source = {0};
	int64_t highest = 0;
	int rc;

	cu_setup_spec(r->f, &spec);
	rc = cu_source_open(&source, &r->conn, &spec, error);
	if (rc == CATCHUP_OK)
		rc = cu_source_highest(&source, &highest, error);
	if (rc == CATCHUP_OK && r->to == CATCHUP_RESET_NEWEST)
		r->to = highest;
	if (rc == CATCHUP_OK && r->to > highest)
		rc = cu_error_set(error, CATCHUP_USAGE, 0,
			"id %lld is above %lld, the highest that its source has given",
			(long long)r->to, (long long)highest);
	if (rc == CATCHUP_OK && r->to > r->result->from)
		rc = count_skipped(r, &source, error);
	cu_source_close(&source);
	return rc;
}

static int find_target(struct reset *r, struct catchup_error *error)
{
	const struct cu_definition *d = r->f->definition;
	int rc = cu_ledger_load(&r->ledger, &r->result->from, error);

	if (rc == CATCHUP_OK && !d->table.event)
		rc = look_at_source(r, error);
	if (rc != CATCHUP_OK)
		return rc;
	if (r->to == CATCHUP_RESET_NEWEST)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"it follows a changelog, whose newest sequence the database does not know; give one");
	r->result->to = r->to;
	/* From zero, `resync` rebuilds everything by itself. */
	if (d->table.event && r->to == 0)
		return CATCHUP_OK;
	if (r->to < r->result->from && !d->reset && !r->keeps)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"it says nothing of how its results are cleared (section 'reset'), so rows up to "
			"id %lld would be applied a second time; add the section, or keep the results "
			"on purpose with --keep-results (CATCHUP_RESET_KEEP_RESULTS)",
			(long long)r->result->from);
	return CATCHUP_OK;
}

/* ---- the transaction ------------------------------------------------------------------------ */

static int clear_results(struct reset *r, struct catchup_error *error)
{
	const struct cu_definition *d = r->f->definition;
	int rc;

	if (r->to >= r->result->from || r->keeps)
		return CATCHUP_OK;
	rc = cu_setup_script(r->f, &r->conn, "reset", d->reset, d->reset_line, error);
	r->n_cleared = r->conn.guard.n_writes;
	/* `reset` may drop tables; who follows them must not find them gone. */
	if (rc == CATCHUP_OK)
		rc = cu_setup_script(r->f, &r->conn, "setup", d->setup, d->setup_line, error);
	r->result->cleared = rc == CATCHUP_OK;
	return rc;
}

static int move(struct reset *r, struct catchup_error *error)
{
	bool lost = false;
	int rc = cu_conn_begin(&r->conn, error);

	if (rc != CATCHUP_OK)
		return rc;
	rc = find_target(r, error);
	if (rc == CATCHUP_OK)
		rc = clear_results(r, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_register(r->f, &r->conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_reset(
			&r->ledger, r->to, r->fence, &r->result->dropped, &lost, error);
	if (rc == CATCHUP_OK && lost)
		rc = cu_error_set(
			error, CATCHUP_LOCKED, 0, "another process took it over meanwhile");
	if (rc == CATCHUP_OK)
		rc = cu_conn_commit(&r->conn, error);
	cu_conn_rollback(&r->conn);
	return rc;
}

/* After the watermark: before it, the next run would take that for one of this source. */
static void register_elsewhere(struct cu_follower *f)
{
	struct cu_conn source = {0};

	if (f->separate)
		cu_setup_register_in_source(f, &source);
	cu_conn_close(&source);
}

static int reset_follower(struct reset *r, struct catchup_error *error)
{
	struct cu_follower *f = r->f;
	const struct cu_conn_options options = cu_setup_connection(f);
	int rc = cu_conn_open(&r->conn, &options, error);

	if (rc == CATCHUP_OK)
		rc = cu_ledger_create_tables(&r->conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_open(&r->ledger, &r->conn, f->definition->name, error);
	if (rc == CATCHUP_OK)
		rc = cu_ledger_borrow_lease(&r->ledger, &r->fence, error);
	if (rc == CATCHUP_OK)
		rc = move(r, error);
	if (rc == CATCHUP_OK)
		register_elsewhere(f);
	if (rc == CATCHUP_OK && r->result->to < r->result->from && !r->newest)
		cu_chain_warn(f, &r->conn, r->n_cleared);
	if (r->fence != 0)
		cu_ledger_drop_lease(&r->ledger, r->fence, NULL);
	cu_conn_close(&r->conn);
	return rc;
}

/* ---- the consumer --------------------------------------------------------------------------- */

/* By what the database knows of it, else by what makes a consumer. */
static int add(struct catchup *c, const char *consumer, const struct cu_entry *known,
	struct catchup_error *error)
{
	int rc;

	if (known)
		return cu_runtime_add_known(c, known->name, known->spec, known->into, error);
	rc = catchup_add(c, consumer, NULL, error);
	if (rc == CATCHUP_USAGE)
		cu_error_prefix(error, "no such name in the database; ");
	return rc;
}

static int reset_consumer(const struct catchup_options *options, const char *consumer,
	const struct cu_entry *known, struct reset *r, struct catchup_error *error)
{
	struct catchup *c = NULL;
	int rc = catchup_open(options, &c, error);

	if (rc == CATCHUP_OK)
		rc = add(c, consumer, known, error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_files(c, error);
	if (rc == CATCHUP_OK) {
		r->f = c->followers[0];
		rc = reset_follower(r, error);
		if (rc != CATCHUP_OK)
			cu_error_prefix(error, "consumer '%.200s': ", r->f->definition->name);
	}
	catchup_close(c);
	return rc;
}

int catchup_reset(const struct catchup_options *options, const char *consumer, int64_t to,
	unsigned flags, struct catchup_reset_result *result, struct catchup_error *error)
{
	/* Who only wants to go on with what comes next has lost rows, but not what was made of them. */
	struct reset r = {.to = to,
		.newest = to == CATCHUP_RESET_NEWEST,
		.keeps = (flags & CATCHUP_RESET_KEEP_RESULTS) != 0 || to == CATCHUP_RESET_NEWEST,
		.result = result};
	struct cu_entries entries = {0};
	struct catchup_error why = {0};
	const struct cu_entry *known = NULL;
	char *path = NULL;
	int rc;

	if (!result)
		return cu_error_null(error, __func__, "result");
	*result = (struct catchup_reset_result){0};
	if (!options || !options->database || !consumer)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option '%s' is missing",
			consumer ? "database" : "consumer");
	if (to < 0 && to != CATCHUP_RESET_NEWEST)
		return cu_error_set(error, CATCHUP_USAGE, 0, "id %lld is below 0", (long long)to);
	/* A name that the database does not know may be that of a file or a built-in one. */
	rc = cu_letters_consumers(options->database, consumer, &path, &entries, &why);
	if (rc == CATCHUP_OK && entries.n > 0 && entries.items[0].spec)
		known = &entries.items[0];
	if (rc == CATCHUP_OK || rc == CATCHUP_USAGE)
		rc = reset_consumer(options, consumer, known, &r, error);
	else
		cu_error_set(error, rc, why.detail, "%s", why.message);
	cu_entries_finish(&entries);
	free(path);
	return rc;
}
