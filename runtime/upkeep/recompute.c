/* SPDX-License-Identifier: MIT */
/*
 * recompute.c - a consumer once more from zero, by the runtime itself, on copies of its databases.
 *
 * The copy of the source is cut to what the consumer has processed, so that the runtime needs to know
 * nothing about it: it runs until it has caught up. Which tables the consumer writes is known when its
 * statements are prepared; so it is opened once on tables without rows. One that prepares a statement
 * only when it needs it is found out by the run, which is then done again.
 */
#include "upkeep/recompute.h"

#include "base/error.h"
#include "pool/perform/perform.h"
#include "store/report/replay.h"
#include "store/connection/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 4

struct recompute {
	struct catchup_verification *verification;
	struct catchup_verdict *verdict;
	const struct catchup_options *options;
	const struct cu_entry *entry;
	const char *spec;
	char folder[256];
	char source[300], results[300], saved[300];
	char **tables; /* owned */
	size_t n_tables;
	unsigned run;  /* names the files */
};

/* Errors that are about this attempt and not about the consumer. */
static bool is_machine(int code)
{
	return code == CATCHUP_NOMEM || code == CATCHUP_IO || code == CATCHUP_FULL ||
		code == CATCHUP_LOCKED || code == CATCHUP_THREAD;
}

/* ---- copies --------------------------------------------------------------------------------------- */

static int make_copies(struct recompute *r,
	int (*copy)(const char *from, const char *to, struct catchup_error *error),
	struct catchup_error *error)
{
	const char *into = r->entry->into;
	int rc = CATCHUP_OK;

	r->run++;
	snprintf(r->source, sizeof(r->source), "%s/source%u.db", r->folder, r->run);
	snprintf(r->results, sizeof(r->results), "%s/%s%u.db", r->folder,
		into[0] ? "results" : "source", r->run);
	snprintf(r->saved, sizeof(r->saved), "%s/saved%u.db", r->folder, r->run);
	/* Results first: the source then has all that they were made from. */
	if (into[0])
		rc = copy(into, r->results, error);
	if (rc == CATCHUP_OK)
		rc = copy(r->verification->database, r->source, error);
	return rc;
}

/* Room for the next ones. */
static void remove_copies(struct recompute *r)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
	const char *const files[] = {r->source, r->results, r->saved};

	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 4; k++) {
			char path[320];

			snprintf(path, sizeof(path), "%s%s", files[i], suffixes[k]);
			cu_file_remove(path);
		}
}

/* ---- the consumer ----------------------------------------------------------------------------------- */

/* A runtime with the consumer on the copies. Rows that fail stop it: none is to fail. */
static int open_runtime(struct recompute *r, struct catchup **out, struct catchup_error *error)
{
	const struct catchup_options options = {
		.size = sizeof(options),
		.database = r->source,
		.builtins = r->options->builtins,
		.synchronous = CATCHUP_SYNCHRONOUS_OFF,
		.flags = CATCHUP_FLAG_NO_LEASE | CATCHUP_FLAG_NETWORK_FS | CATCHUP_FLAG_ALONE,
	};
	int rc = catchup_open(&options, out, error);

	if (rc == CATCHUP_OK)
		rc = cu_runtime_add_known(*out, r->entry->name, r->spec,
			r->entry->into[0] ? r->results : "", error);
	if (rc == CATCHUP_OK)
		(*out)->followers[0]->policy = (struct cu_policy){0};
	return rc;
}

/* Takes over which tables were written. *more: there is one that was not known. */
static int take_tables(struct recompute *r, struct cu_follower *f, bool *more,
	struct catchup_error *error)
{
	*more = false;
	for (size_t i = 0; i < f->n_written; i++) {
		char **grown;
		size_t k = 0;

		while (k < r->n_tables && sqlite3_stricmp(r->tables[k], f->written[i]) != 0)
			k++;
		if (k < r->n_tables)
			continue;
		grown = realloc(r->tables, (r->n_tables + 1) * sizeof(*grown));
		if (!grown)
			return cu_error_nomem(error);
		r->tables = grown;
		r->tables[r->n_tables++] = f->written[i];
		f->written[i] = f->written[--f->n_written];
		i--;
		*more = true;
	}
	return CATCHUP_OK;
}

/* Opens it on tables without rows, and closes it. */
static int learn_tables(struct recompute *r, struct catchup_error *error)
{
	const struct cu_action open = {.kind = CU_ACTION_OPEN};
	struct catchup *c = NULL;
	struct cu_event event;
	bool more;
	int rc = make_copies(r, cu_scratch_copy, error);

	if (rc == CATCHUP_OK)
		rc = open_runtime(r, &c, error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_files(c, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_run(c, error);
	if (rc == CATCHUP_OK) {
		struct cu_follower *f = c->followers[0];

		cu_follower_perform(f, &open, &event);
		cu_follower_close(f);
		if (event.kind == CU_EVENT_FAULT && error)
			*error = f->fault;
		rc = event.kind == CU_EVENT_FAULT ? f->fault.code : take_tables(r, f, &more, error);
	}
	catchup_close(c);
	remove_copies(r);
	return rc;
}

/* ---- one run ------------------------------------------------------------------------------------------ */

static int prepare(struct recompute *r, struct cu_replay *replay, struct catchup_error *error)
{
	int rc = make_copies(r, cu_scratch_clone, error);

	*replay = (struct cu_replay){
		.consumer = r->entry->name,
		.table = r->entry->source,
		.id_column = r->entry->id_column ? r->entry->id_column : "id",
		.source = r->source,
		.results = r->results,
		.saved = r->saved,
		.tables = r->tables,
		.n_tables = r->n_tables,
	};
	return rc == CATCHUP_OK ? cu_replay_prepare(replay, error) : rc;
}

/* *more: it wrote a table that was not put aside, so its rows were still there, and neither results nor
 * failure mean anything. Else what the consumer fails with is in the verdict; what is returned kept us
 * from running it. */
static int run_once(struct recompute *r, bool *more, struct catchup_error *error)
{
	struct catchup_error why = {0};
	struct catchup *c = NULL;
	struct cu_replay replay;
	int rc = prepare(r, &replay, error);
	int ran = CATCHUP_OK;

	*more = false;
	if (rc == CATCHUP_OK)
		rc = open_runtime(r, &c, error);
	if (rc == CATCHUP_OK) {
		ran = catchup_start(c, &why);
		if (ran == CATCHUP_OK)
			ran = catchup_wait(c, -1, &why);
		if (ran == CATCHUP_OK)
			ran = catchup_stop(c, &why);
		else
			catchup_stop(c, NULL);
		rc = take_tables(r, c->followers[0], more, error);
	}
	catchup_close(c);
	if (rc == CATCHUP_OK && ran == CATCHUP_OK && !*more)
		rc = cu_replay_compare(&replay, r->verification, r->verdict, error);
	remove_copies(r);
	if (ran != CATCHUP_OK && is_machine(ran)) {
		*error = why;
		rc = ran;
	} else if (ran != CATCHUP_OK && !*more) {
		cu_verification_wrong(r->verification, "recomputing it failed: %s", why.message);
	}
	return rc;
}

/* error: not NULL. */
static int recompute(struct recompute *r, struct catchup_error *error)
{
	bool more = true;
	int rc = learn_tables(r, error);

	for (unsigned i = 0; i < RUNS_MAX && more && rc == CATCHUP_OK; i++)
		rc = run_once(r, &more, error);
	/* The consumer cannot be made any more, or its source is none that can be cut. */
	if (rc == CATCHUP_CONFIG || rc == CATCHUP_USAGE) {
		cu_verification_note(r->verification, "not recomputed: %s", error->message);
		return CATCHUP_OK;
	}
	if (rc == CATCHUP_OK && more)
		cu_verification_note(r->verification,
			"not recomputed: it writes other tables in each of %d runs", RUNS_MAX);
	else if (rc == CATCHUP_OK && r->n_tables == 0)
		cu_verification_note(r->verification,
			"it writes no table in its results database, so there was nothing to compare");
	return rc;
}

int cu_recompute(struct catchup_verification *verification, const struct catchup_options *options,
	const struct cu_entry *entry, const char *spec, struct catchup_error *error)
{
	struct recompute r = {.verification = verification, .options = options, .entry = entry,
		.spec = spec};
	struct catchup_error why = {0};
	int rc;

	r.verdict = (struct catchup_verdict *)(uintptr_t)&verification
			    ->verdicts[verification->n_verdicts - 1];
	if (!entry->source || strncmp(entry->source, "changelog:", 10) == 0) {
		cu_verification_note(verification,
			"not recomputed: it follows no table, but %s",
			entry->source ? "a changelog" : entry->max ? "its own 'max' and 'next'"
								   : "what the database does not know");
		return CATCHUP_OK;
	}
	if (!spec) {
		cu_verification_note(verification,
			"not recomputed: it is linked into the program that runs it");
		return CATCHUP_OK;
	}
	rc = cu_folder_make_temporary(r.folder, sizeof(r.folder));
	if (rc != 0)
		return cu_error_errno(
			error, CATCHUP_IO, -rc, "cannot make a temporary folder '%s'", r.folder);
	rc = recompute(&r, &why);
	if (rc != CATCHUP_OK && error)
		*error = why;
	for (size_t i = 0; i < r.n_tables; i++)
		free(r.tables[i]);
	free(r.tables);
	cu_folder_remove(r.folder);
	return rc;
}
