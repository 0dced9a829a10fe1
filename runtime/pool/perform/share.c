/* SPDX-License-Identifier: MIT */
/*
 * share.c - connections that followers of one worker have together.
 *
 * A connection holds the schema of its whole database, and reads it when it is opened. With a thousand
 * consumers that each have a table that is half a megabyte and some milliseconds, so a thousand
 * connections cost a gigabyte, and a million tables are read. One thread runs one follower at a time,
 * a batch from begin to end, so those with the same files can use the same connection in turn.
 *
 * What only reads is always shared. What writes is shared by consumers whose code leaves nothing on the
 * connection but prepared statements: those in SQL, and those in C that say so. One that makes
 * something temporary is given a connection of its own.
 *
 * After an error of the machine nobody knows what a connection would write. Whoever meets it opens
 * others, as the plan says; those who write through the same one are told of the error before they do so
 * again, and open others, too.
 */
#include "pool/perform/share.h"

#include "base/check.h"
#include "base/error.h"
#include "store/connection/guard.h"

#include <stdlib.h>
#include <string.h>

struct cu_shared {
	struct cu_conn conn;            /* first: followers have a pointer to it */
	struct cu_shared *next;
	/* constant */
	struct cu_worker *worker;       /* NULL: of nobody's list */
	const struct cu_file *file;
	const char *source_path;        /* what is attached, NULL: nothing; borrowed from a follower */
	struct cu_file_id source_id;    /* what that must be; 0: anything */
	int cache_kib, source_cache_kib;
	bool alone;                     /* its follower's code needs it for itself */

	struct cu_follower *seated;     /* whose guard it has; NULL: nobody's */
	size_t users;
	size_t resting;                 /* of them, that have nothing to do for a while */
	const struct cu_follower *spoiler; /* met an error of the machine on it; only to be compared */
	struct catchup_error spoiled;   /* which one */
};

static struct cu_shared *shared_of(const struct cu_conn *conn)
{
	return (struct cu_shared *)conn;
}

static struct cu_guard *own_guard(struct cu_follower *f, const struct cu_conn *conn)
{
	return conn->role == CU_ROLE_WRITER ? &f->writer_guard : &f->fetcher_guard;
}

/* ---- whose turn it is on a connection -------------------------------------------------------- */

static void unseat(struct cu_shared *shared)
{
	if (!shared->seated)
		return;
	CU_CHECK(!shared->conn.guard.active);
	*own_guard(shared->seated, &shared->conn) = shared->conn.guard;
	shared->conn.guard = (struct cu_guard){0};
	shared->seated = NULL;
}

static void seat(struct cu_shared *shared, struct cu_follower *f)
{
	if (shared->seated == f)
		return;
	unseat(shared);
	shared->conn.guard = *own_guard(f, &shared->conn);
	shared->seated = f;
}

void cu_share_seat(struct cu_follower *f)
{
	if (f->writer)
		seat(shared_of(f->writer), f);
	if (f->fetcher)
		seat(shared_of(f->fetcher), f);
}

bool cu_share_is_common(const struct cu_conn *conn)
{
	return !shared_of(conn)->alone;
}

/* ---- opening and closing ---------------------------------------------------------------------- */

static bool may_share(const struct cu_follower *f, enum cu_role role)
{
	return f->worker && (role == CU_ROLE_FETCH ||
		(f->definition->table.shares != 0 && !f->keeps_temporary));
}

static bool fits(const struct cu_shared *shared, const struct cu_follower *f,
	const struct cu_conn_options *options)
{
	static const struct cu_file_id any;

	if (shared->alone || shared->spoiler || shared->file != f->file ||
		shared->conn.role != options->role || !shared->source_path != !options->source ||
		shared->cache_kib != options->cache_kib ||
		shared->source_cache_kib != options->source_cache_kib)
		return false;
	return !options->source || (strcmp(shared->source_path, options->source) == 0 &&
		cu_file_same(&shared->source_id, options->source_id ? options->source_id : &any));
}

static int open_new(struct cu_shared **out, struct cu_follower *f,
	const struct cu_conn_options *options, struct catchup_error *error)
{
	struct cu_shared *shared = calloc(1, sizeof(*shared));
	int rc;

	if (!shared)
		return cu_error_nomem(error);
	rc = cu_conn_open(&shared->conn, options, error);
	if (rc != CATCHUP_OK) {
		free(shared);
		return rc;
	}
	shared->worker = f->worker;
	shared->file = f->file;
	shared->source_path = options->source;
	shared->cache_kib = options->cache_kib;
	shared->source_cache_kib = options->source_cache_kib;
	if (options->source_id)
		shared->source_id = *options->source_id;
	shared->alone = !may_share(f, options->role);
	if (f->worker) {
		shared->next = f->worker->shared;
		f->worker->shared = shared;
	}
	*out = shared;
	return CATCHUP_OK;
}

int cu_share_open(struct cu_conn **conn, struct cu_follower *f, const struct cu_conn_options *options,
	struct catchup_error *error)
{
	struct cu_shared *shared = may_share(f, options->role) ? f->worker->shared : NULL;
	struct cu_guard *guard;
	int rc = CATCHUP_OK;

	CU_CHECK(!*conn);
	while (shared && !fits(shared, f, options))
		shared = shared->next;
	if (!shared)
		rc = open_new(&shared, f, options, error);
	if (rc != CATCHUP_OK)
		return rc;
	*conn = &shared->conn;
	shared->users++;
	unseat(shared);
	guard = own_guard(f, &shared->conn);
	*guard = (struct cu_guard){.source_attached = f->separate};
	if (options->role == CU_ROLE_WRITER) {
		guard->consumer = f->definition->name;
		guard->source = f->definition->source;
	}
	seat(shared, f);
	return CATCHUP_OK;
}

static void leave_list(struct cu_shared *shared)
{
	struct cu_shared **at;

	if (!shared->worker)
		return;
	for (at = &shared->worker->shared; *at != shared; at = &(*at)->next)
		CU_CHECK(*at);
	*at = shared->next;
}

void cu_share_close(struct cu_conn **conn, struct cu_follower *f)
{
	struct cu_shared *shared = shared_of(*conn);

	if (!shared)
		return;
	*conn = NULL;
	seat(shared, f);
	cu_guard_finish(&shared->conn.guard);
	shared->conn.guard = (struct cu_guard){0};
	shared->seated = NULL;
	shared->resting -= f->memory_given_back;
	shared->users--;
	if (shared->users > 0)
		return;
	leave_list(shared);
	cu_conn_close(&shared->conn);
	free(shared);
}

/* ---- errors of the machine ---------------------------------------------------------------------- */

void cu_share_spoil(struct cu_follower *f)
{
	const struct cu_conn *const both[] = {f->writer, f->fetcher};

	for (size_t i = 0; i < 2; i++) {
		struct cu_shared *shared = both[i] ? shared_of(both[i]) : NULL;

		if (!shared || shared->spoiler)
			continue;
		shared->spoiler = f;
		shared->spoiled = f->fault;
	}
}

bool cu_share_is_spoiled(const struct cu_follower *f, struct catchup_error *error)
{
	const struct cu_shared *shared = f->writer ? shared_of(f->writer) : NULL;

	if (!shared || !shared->spoiler || shared->spoiler == f)
		return false;
	if (error)
		*error = shared->spoiled;
	return true;
}

/* ---- memory ----------------------------------------------------------------------------------- */

void cu_share_rest(struct cu_follower *f, bool rests)
{
	const struct cu_conn *const both[] = {f->writer, f->fetcher};

	if (f->memory_given_back == rests)
		return;
	f->memory_given_back = rests;
	for (size_t i = 0; i < 2; i++) {
		struct cu_shared *shared = shared_of(both[i]);

		if (!shared)
			continue;
		if (!rests)
			shared->resting--;
		else if (++shared->resting == shared->users)
			cu_conn_give_memory_back(&shared->conn);
	}
}
