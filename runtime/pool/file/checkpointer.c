/* SPDX-License-Identifier: MIT */
/*
 * checkpointer.c - the threads that checkpoints run on: one for each results database, up to a few; a
 * thousand files are shared out among these. Each has one connection, to the file it did last.
 *
 * Having little to do, they are also the ones that look after code that does not come back (watchdog.c).
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>

/* Two files may wait for their disk at the same time; more would do no good. */
#define MOST 4

/* When nothing was committed meanwhile. */
#define AGAIN_NS CU_NS_PER_S

/* ---- the thread --------------------------------------------------------------------------------- */

static bool open_file(struct cu_checkpointer *k, struct cu_file *file, struct catchup_error *error)
{
	const struct cu_conn_options options = cu_checkpoint_connection(file);

	if (k->conn_of == file)
		return true;
	cu_conn_close(&k->conn);
	k->conn_of = cu_conn_open(&k->conn, &options, error) == CATCHUP_OK ? file : NULL;
	return k->conn_of == file;
}

static bool is_due(const struct cu_checkpointer *k)
{
	for (const struct cu_file *file = k->runtime->files; file; file = file->next)
		if (file->checkpointer == k && atomic_load(&file->checkpoint_due))
			return true;
	return false;
}

/* When one that could not be done is tried again, if nobody asks for it before. */
static int64_t again_ns(const struct cu_checkpointer *k)
{
	int64_t first_ns = CU_FOREVER;

	for (const struct cu_file *file = k->runtime->files; file; file = file->next)
		if (file->checkpointer == k && file->checkpoint_again_ns < first_ns)
			first_ns = file->checkpoint_again_ns;
	return first_ns;
}

static void run(struct cu_checkpointer *k, struct cu_file *file)
{
	struct catchup_error error;
	bool done = false;

	atomic_store(&file->checkpoint_busy, 1);
	atomic_store(&file->checkpoint_due, 0);
	if (open_file(k, file, &error))
		done = cu_checkpoint_run(file, &k->conn);
	else
		cu_checkpoint_cannot(file, &error);
	file->checkpoint_again_ns = done ? CU_FOREVER : cu_deadline(cu_os_now_ns(), AGAIN_NS);
	atomic_store(&file->checkpoint_busy, 0);
	cu_park_wake(&file->room_park);
}

static void run_due(struct cu_checkpointer *k)
{
	int64_t now_ns = cu_os_now_ns();

	for (struct cu_file *file = k->runtime->files; file; file = file->next)
		if (file->checkpointer == k && (atomic_load(&file->checkpoint_due) ||
				file->checkpoint_again_ns <= now_ns))
			run(k, file);
}

/*
 * Once all others have ended the logs are folded into the databases, so that each file alone is whole.
 * Nothing depends on this: a log that stays is read at the next start.
 */
static void fold(struct cu_checkpointer *k, struct cu_file *file)
{
	if (cu_conn_wal_bytes(file->path) > 0 && open_file(k, file, NULL) && !cu_conn_moved(&k->conn))
		cu_conn_checkpoint(&k->conn, true, NULL, NULL, NULL);
}

static void end(struct cu_checkpointer *k)
{
	struct cu_file *only = NULL;

	for (struct cu_file *file = k->runtime->files; file; file = file->next) {
		if (file->checkpointer != k)
			continue;
		cu_park_wake(&file->room_park);
		only = k->n_files == 1 ? file : NULL;
	}
	/* Opened while the log is known to others: the first to open it has to read all of it. */
	if (only && cu_conn_wal_bytes(only->path) > 0)
		open_file(k, only, NULL);
	for (;;) {
		uint32_t ticket = cu_park_prepare(&k->park);

		if (atomic_load(&k->others_ended))
			break;
		cu_park_wait(&k->park, ticket, CU_FOREVER);
	}
	cu_park_cancel(&k->park);
	/* First the one that is open. */
	if (k->conn_of)
		fold(k, k->conn_of);
	for (struct cu_file *file = k->runtime->files; file; file = file->next)
		if (file->checkpointer == k)
			fold(k, file);
	cu_conn_close(&k->conn);
}

static void checkpointer_main(void *argument)
{
	struct cu_checkpointer *k = argument;
	const _Atomic int *stopping = &k->runtime->stopping;

	while (atomic_load(stopping) == 0) {
		int64_t look_at_ns = cu_watchdog_look(k, cu_os_now_ns());
		int64_t run_at_ns = again_ns(k);
		uint32_t ticket = cu_park_prepare(&k->park);

		if (atomic_load(stopping) || is_due(k))
			cu_park_cancel(&k->park);
		else
			cu_park_wait(&k->park, ticket,
				run_at_ns < look_at_ns ? run_at_ns : look_at_ns);
		if (atomic_load(stopping) == 0)
			run_due(k);
	}
	end(k);
}

/* ---- from outside -------------------------------------------------------------------------------- */

static struct cu_checkpointer *add(struct catchup *c)
{
	struct cu_checkpointer *k = calloc(1, sizeof(*k));

	if (!k || cu_park_init(&k->park) != 0) {
		free(k);
		return NULL;
	}
	k->runtime = c;
	k->next = c->checkpointers;
	c->checkpointers = k;
	return k;
}

static int add_all(struct catchup *c, struct catchup_error *error)
{
	struct cu_checkpointer *next = NULL;
	size_t n = 0;

	for (struct cu_file *file = c->files; file; file = file->next) {
		if (n < MOST) {
			next = add(c);
			n++;
		} else {
			next = next->next ? next->next : c->checkpointers;
		}
		if (!next)
			return cu_error_nomem(error);
		next->n_files++;
		file->checkpointer = next;
		cu_checkpoint_begin(file);
	}
	return CATCHUP_OK;
}

int cu_checkpointers_start(struct catchup *c, struct catchup_error *error)
{
	int rc = add_all(c, error);

	for (struct cu_checkpointer *k = c->checkpointers; k && rc == CATCHUP_OK; k = k->next) {
		int started = cu_thread_start(&k->thread, "catchup-ckpt", checkpointer_main, k);

		if (started != 0)
			rc = cu_error_errno(error, CATCHUP_THREAD, started,
				"cannot start a checkpoint thread");
	}
	return rc;
}

void cu_checkpointers_wake(struct catchup *c)
{
	for (struct cu_checkpointer *k = c->checkpointers; k; k = k->next)
		cu_park_wake(&k->park);
}

void cu_checkpointers_fold(struct catchup *c)
{
	CU_CHECK(atomic_load(&c->stopping));
	for (struct cu_checkpointer *k = c->checkpointers; k; k = k->next)
		atomic_store(&k->others_ended, 1);
	cu_checkpointers_wake(c);
}

void cu_checkpointers_join(struct catchup *c)
{
	for (struct cu_checkpointer *k = c->checkpointers; k; k = k->next)
		cu_thread_join(&k->thread);
}

void cu_checkpointers_free(struct catchup *c)
{
	while (c->checkpointers) {
		struct cu_checkpointer *k = c->checkpointers;

		c->checkpointers = k->next;
		cu_park_finish(&k->park);
		free(k);
	}
}
