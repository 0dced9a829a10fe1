/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.c - keeps the write-ahead log of a results database within bounds.
 *
 * No connection of ours checkpoints by itself, so commits do not pay for it. When the log has grown, a
 * thread of its own (checkpointer.c) copies pages into the database beside the writers (PASSIVE). Once
 * everything is copied and nobody reads from the log, the next commit begins it anew; under steady writing
 * that never happens by itself, so when the log has come half way to its bound, the thread takes a turn
 * like a writer and copies the few pages that are left. The file keeps its size and is written over, which
 * is cheaper than growing it again.
 *
 * On an SQLite with the WAL-reset bug, where a checkpoint and a write at the same moment can corrupt
 * the file, everything is done in the turn, and the log is cut (TRUNCATE).
 *
 * Writers that are faster than the copying wait for it where another batch as large as those of late
 * would cross the bound, at three quarters of it at the latest. So the log stays below the bound, or
 * above it by no more than one batch that is larger than the ones before it. A connection that reads
 * for a long time keeps the log from beginning anew: there, writers wait for it too, up to a second. One
 * that stays longer cannot be overcome: the log grows, and a log line says who it is, again when it has
 * doubled. Once a second it is tried again, also without a commit, so that the log is cut when he has ended.
 *
 * A consumer's code may keep the turn for long, or for ever. Nobody can write to that file meanwhile, but the
 * thread has other files, and the watchdog: it leaves the line, and comes again after the next commit.
 *
 * An application's connection checkpoints by itself, in each of its commits, as long as the log has a
 * thousand pages or more: with two syncs that takes longer than all the rest of a small transaction. So
 * while others commit and we work off a backlog, the log is kept below that, where this can be had: nobody
 * who reads is waited for longer than a moment. Without a backlog the application's own checkpoints do, and
 * more of ours would only delay the results of a row that has just come.
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"

#include <stdio.h>
#include <string.h>

/* Where connections checkpoint by themselves (SQLITE_DEFAULT_WAL_AUTOCHECKPOINT). */
#define AUTOMATIC_PAGES 1000

#define WORTH_IT_BYTES (INT64_C(16) << 20)

/* So little is copied while the writers wait, rather than once more beside them. */
#define LITTLE_BYTES (INT64_C(2) << 20)
#define BESIDE_MOST 3

/* Near the bound, those who read from the log are waited for so long; once they have outlasted it, no
 * more before the log was cut again. */
#define READERS_NS CU_NS_PER_S
#define MOMENT_NS (10 * CU_NS_PER_MS)
#define LOOK_AGAIN_NS (3 * CU_NS_PER_MS)
#define TURN_NS (100 * CU_NS_PER_MS) /* is waited for so long */
#define LOOK_FOR_STOP_NS (20 * CU_NS_PER_MS)

static int64_t bound_of(const struct cu_file *file)
{
	return (int64_t)file->runtime->options.wal_mib << 20;
}

/* What it is kept below: the bound, or less beside others who commit while a backlog fills it. */
static int64_t aim_of(const struct cu_file *file)
{
	int64_t shared = atomic_load(&file->log_shared_bytes);

	return shared > 0 && shared < bound_of(file) ? shared : bound_of(file);
}

static int64_t first_size(const struct cu_file *file)
{
	int64_t quarter = aim_of(file) / 4;

	return quarter < WORTH_IT_BYTES ? quarter : WORTH_IT_BYTES;
}

/* How much more is worth the next one. */
static int64_t next_size(const struct cu_file *file, int64_t bytes)
{
	return bytes >= aim_of(file) ? aim_of(file) / 4 : first_size(file);
}

/* So large that a batch like those of late may take it past so many bytes; a quarter to three of them. */
static int64_t near(const struct cu_file *file, int64_t bytes)
{
	int64_t quarter = bytes / 4;
	int64_t room = bytes - atomic_load(&file->batch_bytes);

	if (room < quarter)
		return quarter;
	return room < 3 * quarter ? room : 3 * quarter;
}

/* From here on writers wait for a checkpoint that is under way. */
static int64_t near_aim(const struct cu_file *file)
{
	return near(file, aim_of(file));
}

/* From here on a turn is taken for what is left to copy. */
static int64_t begins_anew_at(const struct cu_file *file)
{
	int64_t half = aim_of(file) / 2, most = near_aim(file);

	return most < half ? most : half;
}

/* Large batches are remembered for a while. */
static void note_batch(struct cu_file *file, int64_t bytes)
{
	int64_t most = atomic_load(&file->batch_bytes);

	most -= most / 64;
	atomic_store(&file->batch_bytes, bytes > most ? bytes : most);
}

void cu_checkpoint_share(struct cu_file *file, int page_bytes)
{
	int64_t shared = (int64_t)AUTOMATIC_PAGES * page_bytes;

	if (atomic_exchange(&file->log_shared_bytes, shared) != shared)
		atomic_store(&file->checkpoint_at_bytes, first_size(file));
}

void cu_checkpoint_note(struct cu_file *file, int64_t log_bytes)
{
	int64_t before = atomic_exchange(&file->log_bytes, log_bytes);

	note_batch(file, log_bytes < before ? log_bytes : log_bytes - before);
	if (log_bytes < before)
		atomic_store(&file->checkpoint_at_bytes, first_size(file));
	if (log_bytes < atomic_load(&file->checkpoint_at_bytes))
		return;
	if (atomic_exchange(&file->checkpoint_due, 1) == 0)
		cu_park_wake(&file->checkpointer->park);
}

/* Asked in this order: who begins one says that it is busy before it is due no longer. */
static bool is_under_way(struct cu_file *file)
{
	return atomic_load(&file->checkpoint_due) != 0 || atomic_load(&file->checkpoint_busy) != 0;
}

bool cu_checkpoint_is_behind(struct cu_file *file)
{
	return is_under_way(file) &&
		atomic_load(&file->log_bytes) >= near_aim(file) &&
		atomic_load(&file->runtime->stopping) == 0;
}

void cu_checkpoint_wait(struct cu_file *file)
{
	while (cu_checkpoint_is_behind(file)) {
		uint32_t ticket = cu_park_prepare(&file->room_park);

		if (!cu_checkpoint_is_behind(file))
			cu_park_cancel(&file->room_park);
		else
			cu_park_wait(&file->room_park, ticket,
				cu_deadline(cu_os_now_ns(), LOOK_FOR_STOP_NS));
	}
}

static void warn(struct cu_file *file, int64_t bytes)
{
	char blamed[256];

	if (bytes / 2 < file->checkpoint_warned_bytes)
		return;
	file->checkpoint_warned_bytes = bytes;
	cu_conn_wal_readers(file->path, NULL, 0, blamed, sizeof(blamed));
	cu_log(&file->runtime->logger, CATCHUP_LOG_WARN, file->path,
		"the write-ahead log has %lld MiB, above the bound of %u: a read transaction holds it "
		"back (%s); end it, and the log is cut",
		(long long)(bytes >> 20), (unsigned)file->runtime->options.wal_mib,
		blamed[0] ? blamed : "a consumer of this process");
}

static void tell_of_end(struct cu_file *file)
{
	if (file->checkpoint_told)
		cu_log(&file->runtime->logger, CATCHUP_LOG_INFO, file->path,
			"the write-ahead log can be copied into the database again");
	file->checkpoint_told = false;
}

static void tell_of_failure(struct cu_file *file, const struct catchup_error *error)
{
	/* That the file is another one its followers say, and end. */
	if (file->checkpoint_told || error->code == CATCHUP_BACKWARDS ||
		atomic_load(&file->runtime->stopping))
		return;
	cu_log(&file->runtime->logger, CATCHUP_LOG_WARN, file->path,
		"the write-ahead log cannot be copied into the database, so it grows: %s; trying again "
		"from time to time", error->message);
	file->checkpoint_told = true;
}

enum outcome {
	WHOLE,
	HELD_BACK, /* by who reads from the log */
	NO_TURN,   /* somebody keeps it */
	FAILED,    /* with *error */
};

/* full: also cuts the log. WHOLE: everything was copied, and with `full` nobody reads from it. */
static enum outcome copy(struct cu_conn *conn, bool full, int *done, struct catchup_error *error)
{
	int frames = 0;
	int rc;

	*done = -1;
	rc = cu_conn_checkpoint(conn, full, &frames, done, error);
	if (rc == CATCHUP_OK)
		return full || frames == *done ? WHOLE : HELD_BACK;
	return rc == CATCHUP_LOCKED ? HELD_BACK : FAILED;
}

/*
 * In a turn, so that no commit of ours comes between. full: also cuts the log, and waits so long for
 * those who read from it. One who comes when everything is copied does not read from the log, so it is
 * enough that those who are there end, one after the other.
 */
static enum outcome copy_alone(struct cu_file *file, struct cu_conn *conn, bool full, int64_t wait_ns,
	struct catchup_error *error)
{
	enum outcome outcome;
	int64_t until_ns;
	int done;

	if (!cu_gate_enter_until(&file->gate, cu_deadline(cu_os_now_ns(), TURN_NS)))
		return NO_TURN;
	until_ns = cu_deadline(cu_os_now_ns(), wait_ns);
	for (;;) {
		/* A full one keeps other processes from writing while it tries: only when it may
		 * succeed. */
		outcome = copy(conn, false, &done, error);
		if (outcome == WHOLE && full)
			outcome = copy(conn, true, &done, error);
		if (outcome != HELD_BACK || cu_os_now_ns() >= until_ns ||
			atomic_load(&file->runtime->stopping))
			break;
		cu_os_sleep_ns(LOOK_AGAIN_NS);
	}
	/* That was no commit of another process. */
	if (cu_file_stat_path(file->wal_path, &file->wal) != 0)
		file->wal = (struct cu_file_stat){0};
	cu_gate_leave(&file->gate);
	return outcome;
}

/* Beside the writers, until little is left to be done in a turn. False: it failed. */
static bool copy_beside(struct cu_file *file, struct cu_conn *conn, struct catchup_error *error)
{
	for (int i = 0; i < BESIDE_MOST; i++) {
		int64_t bytes, left;
		int done;

		if (copy(conn, false, &done, error) == FAILED)
			return false;
		bytes = atomic_load(&file->log_bytes);
		left = bytes - (int64_t)done * conn->page_bytes;
		if (bytes < begins_anew_at(file) || bytes >= near_aim(file) || left < LITTLE_BYTES)
			break;
	}
	return true;
}

static enum outcome cut(
	struct cu_file *file, struct cu_conn *conn, int64_t bytes, struct catchup_error *error)
{
	enum outcome outcome;

	if (bytes < near(file, bound_of(file)))
		return copy_alone(file, conn, true, MOMENT_NS, error);
	outcome = copy_alone(file, conn, true, file->checkpoint_in_vain ? 0 : READERS_NS, error);
	if (outcome == WHOLE || outcome == HELD_BACK)
		file->checkpoint_in_vain = outcome != WHOLE;
	return outcome;
}

/* When the log begins anew, what is noted then is less than this, and the next one counts from there: so
 * this is said before the copying, and taken back when the log has begun anew already. */
static void count_from(struct cu_file *file, int64_t bytes)
{
	atomic_store(&file->checkpoint_at_bytes, bytes + next_size(file, bytes));
	if (atomic_load(&file->log_bytes) < bytes)
		atomic_store(&file->checkpoint_at_bytes, first_size(file));
}

bool cu_checkpoint_run(struct cu_file *file, struct cu_conn *conn)
{
	bool bug = catchup_sqlite_has_wal_reset_bug() != 0;
	enum outcome outcome = HELD_BACK;
	struct catchup_error error;
	bool too_large;
	int64_t bytes;

	if (!bug && !copy_beside(file, conn, &error))
		outcome = FAILED;
	bytes = atomic_load(&file->log_bytes);
	count_from(file, bytes);
	if (outcome != FAILED && bytes >= near_aim(file))
		outcome = cut(file, conn, bytes, &error);
	else if (outcome != FAILED && (bug || bytes >= begins_anew_at(file)))
		outcome = copy_alone(file, conn, bug, 0, &error);
	if (outcome == FAILED)
		tell_of_failure(file, &error);
	else if (outcome != NO_TURN)
		tell_of_end(file);
	too_large = outcome == HELD_BACK && bytes >= bound_of(file);
	if (too_large)
		warn(file, bytes);
	else if (outcome == WHOLE)
		file->checkpoint_warned_bytes = 0;
	if (outcome == NO_TURN)
		atomic_store(&file->checkpoint_at_bytes, 0);
	return outcome != NO_TURN && outcome != FAILED && !too_large;
}

void cu_checkpoint_cannot(struct cu_file *file, const struct catchup_error *error)
{
	tell_of_failure(file, error);
	/* Who commits need not ask for it meanwhile. */
	atomic_store(&file->checkpoint_at_bytes, INT64_MAX);
}

struct cu_conn_options cu_checkpoint_connection(const struct cu_file *file)
{
	return (struct cu_conn_options){
		.role = CU_ROLE_WRITER,
		.main = file->path,
		.main_id = &file->id,
		.synchronous = file->runtime->options.synchronous,
		.busy_ms = 100,
		.cache_kib = 256,
		.stopping = &file->runtime->stopping,
	};
}

void cu_checkpoint_begin(struct cu_file *file)
{
	file->checkpoint_again_ns = CU_FOREVER;
	atomic_store(&file->checkpoint_at_bytes, first_size(file));
}
