/* SPDX-License-Identifier: MIT */
/*
 * changelog.h - follow a changelog file, and write one.
 *
 * A changelog is a file of JSON lines, appended by one writer and rotated. Each line is an event: a
 * sequence, a family, a table and the primary key of a row that has changed. A cache that is kept
 * fresh from it must know when it may have missed an event; an iterator says so loudly.
 *
 *	#include <catchup/changelog.h>
 *	#include <stdio.h>
 *
 *	int follow(const char *path, struct catchup_error *error)
 *	{
 *		struct catchup_iterator_options options = {
 *			.size = sizeof(options), .path = path, .table = "users"};
 *		const struct catchup_next *next;
 *		struct catchup_iterator *it;
 *
 *		if (catchup_iterator_open(&options, &it, error) != CATCHUP_OK)
 *			return error->code;
 *		for (;;) {
 *			switch (catchup_iterator_next(it, 5000, &next)) {
 *			case CATCHUP_NEXT_EVENT: // drop the row from the cache
 *				printf("changed: %lld\n", (long long)next->event->keys[0].integer);
 *				break;
 *			case CATCHUP_NEXT_OUT_OF_SYNC: // build the cache anew, then say so
 *				catchup_iterator_rebuilt(it, next->ticket);
 *				break;
 *			case CATCHUP_NEXT_BAD_LINE:
 *			case CATCHUP_NEXT_ERROR:
 *				fprintf(stderr, "%s\n", next->error.message);
 *				break;
 *			default: // nothing for five seconds
 *				catchup_iterator_close(it);
 *				return CATCHUP_OK;
 *			}
 *		}
 *	}
 *
 * Out of sync is told whenever the sequence is not the previous one plus one, the subscriber's ring
 * has overflowed, or a file was gone before it was read to its end: once for each, with the reason,
 * before the event that follows; then the iterator goes on.
 *
 * Rotation of every kind is followed: deleted or renamed and made anew, copied and truncated in
 * place, a symbolic link changed, the folder replaced. The old file is read to its end first.
 *
 * Iterators on one `struct catchup_changelog` share its reader thread. What stands in the file when
 * an iterator comes is read at the iterator's pace, by catchup_iterator_next itself; what is written
 * later comes from the reader thread through the iterator's ring.
 */
#ifndef CATCHUP_CHANGELOG_H
#define CATCHUP_CHANGELOG_H

#include <catchup/catchup.h>
#include <catchup/consumer.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Limits, inclusive. A value outside is CATCHUP_USAGE with a message that shows value and limit. */
#define CATCHUP_LINE_BYTES_MIN 64
#define CATCHUP_LINE_BYTES_MAX 1073741824
#define CATCHUP_OPEN_WAIT_MS_MAX 3600000

/* ---- a followed file ---------------------------------------------------------------------- */

struct catchup_changelog;

/* Set `size` to sizeof(struct catchup_changelog_options); zero means the default. All is copied. */
struct catchup_changelog_options {
	size_t size;
	const char *path;        /* required */
	uint32_t max_line_bytes; /* a longer line is a bad line, 64 to 2^30; 0: 8 MiB */
	uint32_t open_wait_ms;   /* how long a file that is not there is waited for; 0: 1,000 */
	const char *const *databases; /* paths, NULL-terminated: databases this process has open. One
	                            of them as `path` is refused before it is opened, since closing
	                            it would drop SQLite's locks. May be NULL */
};

/*
 * Opens a changelog for several iterators and starts its reader thread. Refused: what is not a
 * regular file, and SQLite's own files.
 *
 * Returns: CATCHUP_OK and *out; CATCHUP_IO when the file is not there or cannot be read; CATCHUP_USAGE
 *          when it is something else (a folder, a FIFO, a database); CATCHUP_NOMEM, CATCHUP_THREAD.
 * Ownership: the caller closes *out with catchup_changelog_close.
 * Threads: any.
 */
CATCHUP_API int catchup_changelog_open(const struct catchup_changelog_options *options,
	struct catchup_changelog **out, struct catchup_error *error);

/* Gives the changelog up. It ends when its last iterator is closed too. changelog may be NULL.
 * Threads: any, once. */
CATCHUP_API void catchup_changelog_close(struct catchup_changelog *changelog);

/* ---- iterators ---------------------------------------------------------------------------- */

struct catchup_iterator;

enum catchup_start {
	CATCHUP_START_BEGINNING = 0, /* of the file as it is now */
	CATCHUP_START_END = 1,       /* only what is written from now on */
	CATCHUP_START_AFTER = 2,     /* after a sequence; one that is missing counts as a gap */
};

enum catchup_on_full {
	CATCHUP_ON_FULL_FLAG = 0, /* drop events, raise the flag and tell out of sync */
	CATCHUP_ON_FULL_WAIT = 1, /* drop nothing: the iterator reads the file itself until it has
	                             caught up. Costs a descriptor for each file that was rotated
	                             away meanwhile, 64 at most; beyond, a file is lost (and told) */
};

/* Set `size` to sizeof(struct catchup_iterator_options); zero means the default. All is copied. */
struct catchup_iterator_options {
	size_t size;
	struct catchup_changelog *changelog; /* give this, or a path of its own */
	const char *path;        /* with the three below as in struct catchup_changelog_options */
	uint32_t max_line_bytes;
	uint32_t open_wait_ms;
	const char *const *databases;
	const char *family;      /* only events of this family, without regard to ASCII case; NULL: all */
	const char *table;       /* the same for the table */
	int start;               /* enum catchup_start */
	int64_t after_sequence;  /* for CATCHUP_START_AFTER: 0 to INT64_MAX */
	uint32_t ring_slots;     /* results that may wait between the reader and this iterator, 2 to
	                            1,048,576, rounded up to a power of two; 0: 16,384. They are
	                            bounded in bytes too: 256 a slot and at least 4 MiB in all, or
	                            one single line that is longer */
	int on_full;             /* enum catchup_on_full */
};

/*
 * Opens an iterator on a changelog, or straight on a path.
 *
 * Returns: CATCHUP_OK and *out; else as catchup_changelog_open.
 * Ownership: the caller closes *out with catchup_iterator_close.
 * Threads: any.
 */
CATCHUP_API int catchup_iterator_open(const struct catchup_iterator_options *options,
	struct catchup_iterator **out, struct catchup_error *error);

enum catchup_next_result {
	CATCHUP_NEXT_EVENT = 1,
	CATCHUP_NEXT_OUT_OF_SYNC = 2, /* events may have been missed just before the next one */
	CATCHUP_NEXT_BAD_LINE = 3,    /* a line that is no event was passed over */
	CATCHUP_NEXT_TIMEOUT = 4,
	CATCHUP_NEXT_CANCELED = 5,
	CATCHUP_NEXT_ERROR = 6,       /* the file cannot be read now; it is tried again */
};

/* What catchup_iterator_next found. Only the fields of the result are meaningful. Grows at its end. */
struct catchup_next {
	const struct catchup_event *event; /* EVENT */
	struct catchup_out_of_sync sync;   /* OUT_OF_SYNC */
	uint64_t ticket;                   /* OUT_OF_SYNC: for catchup_iterator_rebuilt */
	struct catchup_error error;        /* BAD_LINE, ERROR: code and message */
	int64_t seen;                      /* EVENT, TIMEOUT: every event up to this sequence has been
	                                      handed out or filtered away; -1 while none came */
};

/*
 * Waits for what comes next. timeout_ms: -1 waits without end, 0 looks only. After
 * CATCHUP_NEXT_ERROR the call may be repeated: the same trouble is told once and looked at again;
 * only CATCHUP_FORKED and CATCHUP_NOMEM come each time.
 *
 * Returns: enum catchup_next_result, *out filled. NULL for the iterator or out is CATCHUP_NEXT_ERROR.
 * Ownership: *out and everything it points to belongs to the iterator, until the next call.
 * Threads: any, one at a time.
 */
CATCHUP_API int catchup_iterator_next(
	struct catchup_iterator *iterator, int64_t timeout_ms, const struct catchup_next **out);

/*
 * Makes the running and every later catchup_iterator_next return CATCHUP_NEXT_CANCELED.
 * Threads: any, also while another is inside catchup_iterator_next.
 */
CATCHUP_API void catchup_iterator_cancel(struct catchup_iterator *iterator);

/*
 * The sticky flag, for a hot path: two loads, no lock. It goes up as soon as the library knows that
 * an event may have been missed, perhaps long before catchup_iterator_next tells it.
 *
 * Returns: 0 while in sync; else a ticket for catchup_iterator_rebuilt, also where iterator is NULL.
 * Threads: any, until catchup_iterator_close.
 */
CATCHUP_API uint64_t catchup_iterator_out_of_sync(const struct catchup_iterator *iterator);

/*
 * Says that the cache was built anew. `ticket` is what catchup_iterator_out_of_sync or the result
 * gave before the rebuilding began, so a flag that went up again meanwhile stays up.
 * Threads: any, until catchup_iterator_close.
 */
CATCHUP_API void catchup_iterator_rebuilt(struct catchup_iterator *iterator, uint64_t ticket);

/* iterator may be NULL. Threads: once, and nobody else is using it. */
CATCHUP_API void catchup_iterator_close(struct catchup_iterator *iterator);

/* ---- events as text ----------------------------------------------------------------------- */

/* Returns "gap", "overflow", "lost-file" or "start". Threads: any. */
CATCHUP_API const char *catchup_sync_reason_name(int reason);

/*
 * Writes an event as its changelog line without the newline: seq, family, table, key; text escaped
 * as Go's encoding/json does. catchup_event_write hands out the line in pieces and stops at the
 * first piece for which `write` returns other than 0, and returns that; -1 for an event without all
 * of its names.
 *
 * Returns (format): the length of the whole line, 0 for an event without all of its names; `to` holds
 * what fits of it, NUL-terminated when `bytes` is not 0, and may be NULL. Threads: any.
 */
CATCHUP_API size_t catchup_event_format(const struct catchup_event *event, char *to, size_t bytes);
CATCHUP_API int catchup_event_write(const struct catchup_event *event,
	int (*write)(void *context, const char *piece, size_t bytes), void *context);

/* ---- writing ------------------------------------------------------------------------------ */

struct catchup_changelog_writer;

#define CATCHUP_ROTATE_BYTES_MIN 4096
#define CATCHUP_ROTATE_KEEP_MAX 1000

/* Set `size` to sizeof(struct catchup_changelog_writer_options); zero means the default. */
struct catchup_changelog_writer_options {
	size_t size;
	const char *path;       /* required; made when it is not there */
	int64_t rotate_bytes;   /* rotate before the file grows beyond this, at least 4,096; 0: never */
	uint32_t keep;          /* rotated files that are kept, as PATH.1 (newest) to PATH.N, up to
	                           1,000; 0: none */
	uint32_t sync;          /* other than 0: make each flush durable before it returns; opening
	                           syncs the file that is there, and its name */
	int64_t after_sequence; /* what a database remembers as the last sequence written, 0 for none;
	                           the writer goes on after this or the file's newest, whichever is
	                           greater */
	const char *const *databases; /* as in struct catchup_changelog_options */
};

/*
 * Opens a changelog for appending. There must be one writer at a time, in all processes: the file is
 * locked (flock), which readers are not kept out by, and the lock ends with the writer or its process. A
 * line that a crash left without its end is closed off, so that lines never run together.
 *
 * Returns: CATCHUP_OK and *out; CATCHUP_LOCKED while another writer has the file; CATCHUP_IO,
 *          CATCHUP_USAGE, CATCHUP_NOMEM.
 * Ownership: the caller closes *out with catchup_changelog_writer_close.
 * Threads: any; a writer is for one thread at a time.
 */
CATCHUP_API int catchup_changelog_writer_open(
	const struct catchup_changelog_writer_options *options,
	struct catchup_changelog_writer **out, struct catchup_error *error);

/*
 * Adds an event to the batch in memory; the writer gives it the next sequence. Text must be UTF-8,
 * a double finite. *sequence (may be NULL) is the one given.
 *
 * Returns: CATCHUP_OK; CATCHUP_USAGE for an event that cannot be written, CATCHUP_NOMEM: the batch is
 *          as it was; CATCHUP_IO, CATCHUP_FULL when a batch that had grown to 1 MiB, or to the size of
 *          a file, could not be flushed first.
 */
CATCHUP_API int catchup_changelog_writer_append(struct catchup_changelog_writer *writer,
	const char *family, const char *table, const struct catchup_key *keys, size_t n_keys,
	int64_t *sequence, struct catchup_error *error);

/*
 * Writes the batch with one write of whole lines, rotating first when it is time.
 *
 * With `sync`, a sync that fails is final for the writer: the kernel may have dropped what it could not
 * write, and would call a second sync a success. Every later flush fails with the same reason. Readers
 * may have these lines already, and a power cut may take them. So close the writer, open it again, and
 * append again every event that no flush has answered CATCHUP_OK for: they come as new events, twice
 * perhaps, never not at all. That is also right after any other failure that stays.
 *
 * Returns: CATCHUP_OK; CATCHUP_FULL when the disk is full, CATCHUP_IO: whole lines that went stay in
 *          the file, since a reader may have them; the others are kept and may be flushed again;
 *          CATCHUP_LOCKED when the name has gone to another file, and another writer has that.
 */
CATCHUP_API int catchup_changelog_writer_flush(
	struct catchup_changelog_writer *writer, struct catchup_error *error);

/* Forgets the batch in memory and takes its sequences back: after a transaction was rolled back. */
CATCHUP_API void catchup_changelog_writer_discard(struct catchup_changelog_writer *writer);

/* Returns the last sequence given; with an empty batch, the last one written. */
CATCHUP_API int64_t catchup_changelog_writer_sequence(
	const struct catchup_changelog_writer *writer);

/* Closes without flushing. writer may be NULL. */
CATCHUP_API void catchup_changelog_writer_close(struct catchup_changelog_writer *writer);

#ifdef __cplusplus
}
#endif

#endif
