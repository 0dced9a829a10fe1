/* SPDX-License-Identifier: MIT */
/*
 * checkpoint.c - keeps the write-ahead log of a results database within bounds.
 *
 * No connection of ours checkpoints by itself. Who has the turn, and so is our only writer, does it
 * when the log has grown: that is safe also on an SQLite with the WAL-reset bug, where a checkpoint
 * and a write at the same moment can corrupt the file.
 */
#include "pool/runtime.h"

#include "base/check.h"

/* Small logs are not worth it, and big ones are slow to read. */
#define FIRST_BYTES (INT64_C(4) << 20)

void cu_checkpoint_after_commit(struct cu_file *file, struct cu_conn *conn)
{
	int64_t bytes = cu_conn_wal_bytes(file->path);
	int64_t bound = (int64_t)file->runtime->options.wal_mib << 20;

	CU_CHECK(cu_gate_held(&file->gate));
	if (file->checkpoint_at_bytes == 0)
		file->checkpoint_at_bytes = FIRST_BYTES < bound ? FIRST_BYTES : bound;
	if (bytes < file->checkpoint_at_bytes)
		return;
	if (cu_conn_checkpoint(conn, true, NULL, NULL, NULL) == CATCHUP_OK) {
		file->checkpoint_at_bytes = 0;
		return;
	}
	/* A reader somewhere is still in the log. Try again when it has grown by as much again. */
	file->checkpoint_at_bytes = bytes + FIRST_BYTES;
	if (bytes >= bound)
		cu_log(&file->runtime->logger, CATCHUP_LOG_WARN, file->path,
			"the write-ahead log has %lld MiB, above the bound of %u: a connection that "
			"reads for a long time holds it back",
			(long long)(bytes >> 20), (unsigned)file->runtime->options.wal_mib);
}
