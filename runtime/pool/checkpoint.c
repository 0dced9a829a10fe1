/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.c - a thread for each results database that keeps its write-ahead log within bounds.
 *
 * No connection of ours checkpoints by itself, so commits do not pay for it. When the log has grown,
 * this thread copies pages into the database beside the writers (PASSIVE). Once everything is copied
 * and nobody reads from the log, the next commit begins it anew; under steady writing that never
 * happens by itself, so when the log has come half way to its bound, the thread takes a turn like a
 * writer and copies the few pages that are left. The file keeps its size and is written over, which
 * is cheaper than growing it again.
 *
 * On an SQLite with the WAL-reset bug, where a checkpoint and a write at the same moment can corrupt
 * the file, everything is done in the turn, and the log is cut (TRUNCATE).
 *
 * A connection that reads for a long time keeps the log from beginning anew. At the bound, writers
 * wait for it a little each time the log has grown by a quarter, and the log says who it is.
 *
 * Having little to do, it is also the one that looks after code that does not come back (watchdog.c).
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

#define WORTH_IT_BYTES (INT64_C(16) << 20)

static int64_t bound_of(const struct cu_file *file)
{
	return (int64_t)file->runtime->options.wal_mib << 20;
}

static int64_t first_size(const struct cu_file *file)
{
	int64_t quarter = bound_of(file) / 4;

	return quarter < WORTH_IT_BYTES ? quarter : WORTH_IT_BYTES;
}

void cu_checkpoint_note(struct cu_file *file, int64_t log_bytes)
{
	int64_t before = atomic_exchange(&file->log_bytes, log_bytes);

	if (log_bytes < before)
		atomic_store(&file->checkpoint_at_bytes, first_size(file));
	if (log_bytes < atomic_load(&file->checkpoint_at_bytes))
		return;
	if (atomic_exchange(&file->checkpoint_due, 1) == 0)
		cu_park_wake(&file->checkpoint_park);
}

static void warn(struct cu_file *file, int64_t bytes)
{
	char blamed[256];

	cu_conn_wal_readers(file->path, NULL, 0, blamed, sizeof(blamed));
	cu_log(&file->runtime->logger, CATCHUP_LOG_WARN, file->path,
		"the write-ahead log has %lld MiB, above the bound of %u: a read transaction holds it "
		"back (%s); end it, and the log is cut",
		(long long)(bytes >> 20), (unsigned)file->runtime->options.wal_mib,
		blamed[0] ? blamed : "a consumer of this process");
}

/* In a turn, so that no commit of ours comes between. full: also cuts the log. */
static bool checkpoint_alone(struct cu_file *file, struct cu_conn *conn, bool full)
{
	int frames = 0, done = -1;
	bool whole;

	cu_gate_enter(&file->gate);
	whole = cu_conn_checkpoint(conn, full, &frames, &done, NULL) == CATCHUP_OK &&
		(full || frames == done);
	/* That was no commit of another process. */
	if (cu_file_stat_path(file->wal_path, &file->wal) != 0)
		file->wal = (struct cu_file_stat){0};
	cu_gate_leave(&file->gate);
	return whole;
}

static void checkpoint(struct cu_file *file, struct cu_conn *conn)
{
	bool bug = catchup_sqlite_has_wal_reset_bug() != 0;
	int64_t bytes = atomic_load(&file->log_bytes);
	int64_t bound = bound_of(file);
	bool whole = false;

	if (!bug) {
		cu_conn_checkpoint(conn, false, NULL, NULL, NULL);
		if (bytes >= bound / 2)
			whole = checkpoint_alone(file, conn, false);
	}
	if (bug || (!whole && bytes >= bound))
		whole = checkpoint_alone(file, conn, true);
	if (!whole && bytes >= bound)
		warn(file, bytes);
	/* When the log begins anew, what is noted then is less than this, and counts from there. */
	atomic_store(&file->checkpoint_at_bytes,
		bytes + (bytes >= bound ? bound / 4 : first_size(file)));
}

/*
 * Once all others have ended the log is folded into the database, so that the file alone is whole.
 * Opened before, while the log is known to others: the first to open it has to read all of it. Nothing
 * depends on this: a log that stays is read at the next start.
 */
static void fold(struct cu_file *file, struct cu_conn *conn, const struct cu_conn_options *options)
{
	if (!cu_conn_is_open(conn) && cu_conn_wal_bytes(file->path) > 0)
		cu_conn_open(conn, options, NULL);
	for (;;) {
		uint32_t ticket = cu_park_prepare(&file->checkpoint_park);

		if (atomic_load(&file->others_ended))
			break;
		cu_park_wait(&file->checkpoint_park, ticket, CU_FOREVER);
	}
	cu_park_cancel(&file->checkpoint_park);
	if (cu_conn_is_open(conn) && !cu_conn_moved(conn) && cu_conn_wal_bytes(file->path) > 0)
		cu_conn_checkpoint(conn, true, NULL, NULL, NULL);
}

static void checkpoint_main(void *argument)
{
	struct cu_file *file = argument;
	struct catchup *c = file->runtime;
	const struct cu_conn_options options = {
		.role = CU_ROLE_WRITER,
		.main = file->path,
		.main_id = &file->id,
		.synchronous = c->options.synchronous,
		.busy_ms = 100,
		.cache_kib = 256,
		.stopping = &c->stopping,
	};
	struct cu_conn conn = {0};

	while (atomic_load(&c->stopping) == 0) {
		int64_t look_at_ns = cu_watchdog_look(file, cu_os_now_ns());
		uint32_t ticket = cu_park_prepare(&file->checkpoint_park);

		if (atomic_load(&c->stopping) || atomic_load(&file->checkpoint_due)) {
			cu_park_cancel(&file->checkpoint_park);
		} else {
			cu_park_wait(&file->checkpoint_park, ticket, look_at_ns);
			continue;
		}
		atomic_store(&file->checkpoint_due, 0);
		/* A file that cannot be opened now is its followers' trouble; they say so. */
		if (cu_conn_is_open(&conn) ||
			cu_conn_open(&conn, &options, NULL) == CATCHUP_OK)
			checkpoint(file, &conn);
	}
	fold(file, &conn, &options);
	cu_conn_close(&conn);
}

int cu_checkpoint_start(struct cu_file *file, struct catchup_error *error)
{
	int rc;

	atomic_store(&file->checkpoint_at_bytes, first_size(file));
	rc = cu_thread_start(&file->checkpointer, "catchup-ckpt", checkpoint_main, file);
	return rc == 0 ? CATCHUP_OK
		       : cu_error_errno(
				 error, CATCHUP_THREAD, rc, "cannot start a checkpoint thread");
}

void cu_checkpoint_stop(struct cu_file *file)
{
	CU_CHECK(atomic_load(&file->runtime->stopping));
	atomic_store(&file->others_ended, 1);
	cu_park_wake(&file->checkpoint_park);
	cu_thread_join(&file->checkpointer);
}
