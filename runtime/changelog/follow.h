/* SPDX-License-Identifier: MIT */
/*
 * follow.h - the one reader thread of a changelog, and its subscribers.
 *
 * The reader stands at the end of what it knows and hands every new line to the subscribers that are
 * attached, through their feeds. A subscriber that is not attached reads the files by itself, in its
 * own thread, and attaches when it has caught up: so it gets every line once, whatever its pace. In
 * this way is read what stood in the file when a subscriber came, and what did not fit into the feed
 * of one that asked for nothing to be dropped.
 *
 * A generation is one stretch of one file: a file under the name, or the same file after it was
 * truncated. Files are held open while somebody may still have to read them.
 *
 * Lock: mu guards the generations, the list of subscribers and the reader's line_at, which only the
 * reader moves. It is held while one buffer is handed out (well below a millisecond), never while
 * waiting or reading.
 */
#ifndef CU_CHANGELOG_FOLLOW_H
#define CU_CHANGELOG_FOLLOW_H

#include "base/os.h"
#include "changelog/feed.h"
#include "changelog/order.h"
#include "changelog/split.h"

#define CU_FOLLOW_GENERATIONS_MAX 64

/* An open file, shared by those who read it. */
struct cu_log_file {
	int fd;
	struct cu_file_id id;
	_Atomic uint32_t refs;
};

static inline struct cu_log_file *cu_log_file_retain(struct cu_log_file *file)
{
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
	return file;
}

void cu_log_file_release(struct cu_log_file *file); /* may be NULL */

/* How a stretch begins, as far as the reader has handed it out. A file that was truncated and written
 * anew under one that reads behind the reader is known by it. */
struct cu_head {
	size_t n;
	char bytes[CU_SPLIT_KNOWN_BYTES];
};

struct cu_generation {
	struct cu_log_file *file; /* referenced */
	uint64_t number;          /* ascending by one */
	int64_t end;              /* where the reader left it, -1 while it has not */
	bool cut;                 /* it left it for it was truncated: there may have been more */
	struct cu_head head;
};

/* Where somebody stands: at the start of a line. */
struct cu_place {
	struct cu_log_file *file; /* referenced */
	uint64_t number;
	int64_t offset;
	struct cu_order order; /* what the reader knew before it detached a subscriber here */
	struct cu_head head;   /* of the generation */
	bool cut;              /* the generation before it was, or is gone */
};

struct cu_subscriber {
	/* constant after subscribing */
	const char *family; /* borrowed, NULL: any */
	const char *table;
	bool wait; /* detach rather than drop */
	struct cu_feed feed;

	/* guarded by mu */
	struct cu_subscriber *next;
	bool attached;
	bool join;              /* the reader did not know the order when this one was attached: tell
	                           it the first sequence, to be compared with what it has read */
	bool cut;               /* and the file was truncated since then */
	bool within;            /* was attached within a bad line that others were told of before */
	int64_t dropped;        /* overflowed: the sequence that should have come, -1 unknown */
	uint64_t reading;       /* the generation it reads by itself, UINT64_MAX for none */
	struct cu_place resume; /* behind: where to read on; taken by the subscriber */

	/* atomic; changed under mu, read without */
	_Atomic bool behind;     /* was detached: read the feed empty, then from `resume` */
	_Atomic bool overflowed; /* events are being dropped; to be told before the next one */

	/* atomic */
	_Atomic uint64_t raised, rebuilt; /* out of sync while raised is the greater */
};

static inline void cu_subscriber_raise(struct cu_subscriber *sub)
{
	atomic_fetch_add_explicit(&sub->raised, 1, memory_order_acq_rel);
}

struct catchup_changelog {
	/* constant after open */
	char *path;           /* owned */
	char **databases;     /* owned, NULL-terminated, or NULL */
	pid_t pid;            /* of the process that opened it */
	uint32_t max_line;
	struct cu_watch *watch; /* owned */
	struct cu_thread thread;

	/* reader thread only */
	struct cu_split split; /* line_at: moved under mu */
	struct cu_line_parser parser;
	struct cu_file_id refused; /* the last file that was opened and is no changelog */
	bool missing;              /* no file under the name */

	/* guarded by mu */
	struct cu_mutex mu;
	struct cu_generation generations[CU_FOLLOW_GENERATIONS_MAX];
	size_t n_generations;
	size_t current;        /* the one the reader reads */
	bool prunable;         /* the reader should look for generations that nobody needs */
	bool unsaid;           /* ... and for those who were attached within a bad line */
	struct cu_order order; /* what the reader has seen */
	struct cu_subscriber *subscribers;
	struct catchup_error trouble; /* the newest */

	/* atomic */
	_Atomic uint32_t refs;
	_Atomic bool stop;
	_Atomic uint32_t troubles; /* grows with each new trouble */
	_Atomic bool in_trouble;   /* the newest is there still; written by the reader thread */
	_Atomic uint64_t looks_wanted; /* by those who ask whether they have read to the end */
	_Atomic uint64_t looks_done;   /* a look that began after so many were wanted came to the end */
};

void cu_follow_ref(struct catchup_changelog *c);

/* Whether the caller is in the process that opened the changelog. */
bool cu_follow_is_ours(const struct catchup_changelog *c);

/*
 * Adds a subscriber (its feed and constants are set). Unless it starts at the end, *place is filled:
 * the subscriber reads from there by itself. One that does not wait is attached at once and reads up
 * to *limit; *order is then what the reader knew there.
 */
void cu_follow_subscribe(struct catchup_changelog *c, struct cu_subscriber *sub, bool at_end,
	struct cu_place *place, int64_t *limit, struct cu_order *order);
void cu_follow_unsubscribe(struct catchup_changelog *c, struct cu_subscriber *sub);

/* Takes over the place where a detached subscriber reads on. */
void cu_follow_take_resume(
	struct catchup_changelog *c, struct cu_subscriber *sub, struct cu_place *place);

enum cu_onward {
	CU_ONWARD_READ,     /* read on up to *limit */
	CU_ONWARD_SEEK,     /* *place has moved to the start of another generation */
	CU_ONWARD_ATTACHED, /* caught up: the feed goes on exactly here */
	CU_ONWARD_WAIT,     /* the reader has to look first; the subscriber's park is woken then */
};

/*
 * For a subscriber that reads by itself and has come to its limit. lost: it could not read that far,
 * for the file is no longer as it was. *order is the reader's when it attaches.
 */
enum cu_onward cu_follow_onward(struct catchup_changelog *c, struct cu_subscriber *sub,
	struct cu_place *place, bool lost, int64_t *limit, struct cu_order *order);

/* Says that a subscriber reads by itself no longer, so that files need not be kept for it. */
void cu_follow_done_reading(struct catchup_changelog *c, struct cu_subscriber *sub);

/* Tells an overflow that is pending, when the feed is empty. Returns false when there is none. */
bool cu_follow_take_overflow(struct catchup_changelog *c, struct cu_subscriber *sub,
	struct catchup_out_of_sync *why);

/* Asks for a look. Returns what looks_done will have reached when it is done; subscribers are woken. */
uint64_t cu_follow_ask(struct catchup_changelog *c);

/* The newest trouble, when its number is not *told; *told is then set. */
bool cu_follow_take_trouble(
	struct catchup_changelog *c, uint32_t *told, struct catchup_error *error);

/* Within the follower: opens what the name means now (NULL with *error filled); adds a generation, taking
 * the reference over; keeps how the current one begins; and the reader thread. */
struct cu_log_file *cu_follow_open_file(struct catchup_changelog *c, struct cu_file_stat *stat,
	struct catchup_error *error);
void cu_follow_append(struct catchup_changelog *c, struct cu_log_file *file);
void cu_follow_keep_head(struct catchup_changelog *c);
void cu_follow_main(void *changelog);

/* Within the follower: handing out what the reader's buffer holds. mu is held. */
void cu_deliver_buffer(struct catchup_changelog *c);
void cu_deliver_end(struct catchup_changelog *c); /* the file is over */
/* What those were not told who were attached within a bad line. Before the buffer. */
void cu_deliver_pending(struct catchup_changelog *c);

#endif
