/* SPDX-License-Identifier: MIT */
/*
 * runtime.h - who owns what in a running catchup.
 *
 *	struct catchup ---- files      one a database file that results go to: the turn to write it
 *	               ---- readers    one a source: a thread, its connection, its subscriptions
 *	               ---- workers    threads; each hosts one or more followers
 *	               ---- followers  one a consumer: its plan, its connections, its ring
 *
 * A follower belongs to one worker thread from start to stop. The reader's thread and the follower's
 * meet in three places only: the ring (ranges), struct cu_feed_request (where to begin), and atomics.
 */
#ifndef CU_POOL_RUNTIME_H
#define CU_POOL_RUNTIME_H

#include "base/log.h"
#include "base/os.h"
#include "consumer/definition.h"
#include "pool/perform/changes.h"
#include "pool/file/gate.h"
#include "pool/file/manners.h"
#include "pool/perform/mapper.h"
#include "pool/plan/plan.h"
#include "queue/park.h"
#include "queue/ring.h"
#include "store/ledger/ledger.h"
#include "store/source/source.h"

/* A database file that results are written to. */
struct cu_file {
	struct cu_file *next; /* owned list; constant after start */
	struct catchup *runtime;
	char *path;           /* absolute; owned */
	struct cu_file_id id;
	char *wal_path;       /* owned */
	char *shm_path;       /* owned */
	struct cu_gate gate;

	/* constant after start (layout_workers.c) */
	size_t consumers;          /* with results in it */
	size_t threads;            /* that run them */
	size_t first_worker;       /* number of the first of these */

	/* who has the turn only */
	struct cu_manners manners;
	struct cu_file_stat wal; /* when our last turn ended */
	int shm_fd;              /* SQLite's, never closed here; -1: not known */

	/* atomic; written by who has the turn */
	_Atomic int64_t renewed_ns; /* all leases in it, the last time; 0: never */
	_Atomic int renewing;       /* somebody is at it */
	_Atomic(const struct cu_follower *) keeper; /* who has done it last; borrowed */
	_Atomic int leases_left;    /* some followers have a fence_left */

	/* checkpoints (checkpoint.c) */
	struct cu_checkpointer *checkpointer; /* borrowed; constant once threads run */
	_Atomic int checkpoint_due;
	_Atomic int64_t checkpoint_at_bytes; /* bytes of the log at which the next one is worth it */
	_Atomic int64_t log_bytes;  /* in use when it was noted last */
	_Atomic int64_t log_shared_bytes; /* what others checkpoint at by themselves; 0: it may be larger */
	_Atomic int64_t batch_bytes; /* that a large commit of late has added */
	_Atomic int checkpoint_busy; /* one is being done */
	bool checkpoint_in_vain;    /* the checkpointer only: readers outlasted the last wait for them */
	bool checkpoint_told;       /* the checkpointer only: that it fails */
	int64_t checkpoint_warned_bytes; /* the checkpointer only: the log then; 0: not since it was cut */
	int64_t checkpoint_again_ns; /* the checkpointer only: without being asked; CU_FOREVER: never */
	struct cu_park room_park;   /* writers wait here for a checkpoint that is behind */
};

/* A thread for the checkpoints of some of the files (checkpointer.c). */
struct cu_checkpointer {
	struct cu_checkpointer *next; /* owned list; constant once threads run */
	struct catchup *runtime;
	size_t n_files;
	struct cu_thread thread;
	struct cu_park park;

	/* its thread only */
	struct cu_conn conn;
	struct cu_file *conn_of;       /* where it leads; NULL: not open */

	/* atomic */
	_Atomic int others_ended;   /* all other threads; the logs may be folded in */
};

/* Where a range ended, and how many rows it had; of the look with that number. */
struct cu_reader_cut {
	uint64_t look; /* 0: of none */
	int64_t lo, hi;
	uint32_t rows, most;
};

#define CU_READER_CUT_BITS 6

struct cu_reader {
	struct cu_reader *next; /* owned list; constant after start */
	struct catchup *runtime;

	/* constant after start */
	char *path;             /* of the database; owned */
	struct cu_file_id id;
	struct cu_source_spec spec; /* strings borrowed from the first follower's definition */
	struct cu_follower **followers; /* owned array of borrowed */
	size_t n_followers;
	struct cu_watch *watch; /* owned */
	struct cu_thread thread;

	/* reader thread only */
	struct cu_conn conn;
	struct cu_source source;
	int64_t version;        /* data_version at the last look */
	bool looked;            /* version is known */
	bool all_fed;           /* nobody wants more of what was there at the last look */
	int64_t highest_fed;    /* then: the highest id that somebody has been fed up to, -1 for none */
	uint32_t faults;        /* in a row */
	bool told;              /* that it cannot be read */
	bool moved;             /* other files are at the path: nothing is opened any more */
	int64_t changed_ns;     /* of the last notice */
	bool changed;           /* and no commit was seen since */
	bool quiet;             /* and no other came for a while */
	int64_t rest_ns;        /* the last rest while all have work in hand */
	uint64_t got_to;        /* the sum of their watermarks then */
	unsigned in_vain;       /* looks after notices that saw no commit, in a row; up to a bound */
	uint32_t beside;        /* looks in a row that saw commits and no new row */
	uint64_t looks;         /* taken so far */
	struct cu_reader_cut cuts[1 << CU_READER_CUT_BITS]; /* by lo */

	/* atomic */
	_Atomic int64_t newest; /* at the last look; -1 before the first */
	_Atomic uint64_t looks_done; /* the last request that a finished look answered */
	_Atomic int asked;      /* a follower has a request that was not taken yet */
	_Atomic int chained;    /* a consumer of this runtime writes its source */
	_Atomic int rests;      /* looks seldom, since all followers have work in hand */
};

/* Where a follower wants to be fed from; the reader takes it at its next look. */
struct cu_feed_request {
	int64_t from;
	uint32_t epoch;
	bool asked;
};

struct cu_follower {
	struct catchup *runtime;

	/* constant after start */
	struct cu_definition *definition; /* owned */
	struct cu_reader *reader;         /* borrowed; NULL for changelog-driven ones */
	struct cu_worker *worker;         /* borrowed */
	size_t place;                     /* in its worker's arrays */
	struct cu_file *file;             /* results; borrowed */
	char *source_path;                /* absolute; owned */
	char *results_path;               /* absolute, perhaps not there yet; owned */
	bool separate;                    /* results are not in the source's file */
	bool registered;                  /* then: it has been written down in the source's file */
	bool only_letters;                /* dead letters are tried again, and no events are brought */
	struct cu_policy policy;
	struct cu_ring *ring;             /* owned; reader pushes, worker or map threads pop */
	struct cu_park map_park;          /* map threads sleep here; it outlives them, because the
	                                     reader wakes without asking whether they are there */

	/* reader thread only */
	struct cu_feed feed;

	/* guarded by mu */
	struct cu_mutex mu;
	struct cu_feed_request request;
	struct catchup_error reader_error; /* code other than OK: the source cannot go on */
	struct catchup_error starved_by;   /* why the source cannot be read for now */
	struct catchup_iterator *iterator; /* borrowed from changes, to be poked; NULL: none */
	struct cu_progress {
		int64_t watermark;
		int64_t first;          /* watermark at the start */
		struct cu_plan_counts counts; /* since the runtime started */
		int64_t batches;
		int64_t updated_ms;
		int state;              /* enum catchup_state */
		int code;               /* of the trouble, 0 for none */
		int64_t row;
		int64_t since_ms;
		const char *category;   /* cu_fault_name, NULL for none */
		char message[CATCHUP_MESSAGE_BYTES];
		char owner[256];        /* of the lease */
	} progress;

	/* watchdog (watchdog.c); owned */
	_Atomic uint64_t *calls;        /* of the worker, then of each map thread; cu_context */
	struct cu_watched *watched;     /* the same; checkpointer of its file only */

	/* worker thread; after its end whoever stopped the runtime */
	char **written;                 /* tables that its code may write, once it was closed; owned */
	size_t n_written;

	/* atomic */
	_Atomic int reader_failed;      /* reader_error is set */
	_Atomic int starved;            /* starved_by is set */
	_Atomic int placed;             /* has asked to be fed, or another process runs it */
	_Atomic int wants_room;         /* the reader found the ring full: wake it at half */
	_Atomic int64_t watermark;
	_Atomic int64_t awaited;        /* the lowest watermark that somebody waits for; INT64_MAX: none */
	/* the same, for changelog-driven ones (changes.h) */
	_Atomic int64_t brought;        /* last sequence brought, -1 before */
	_Atomic uint64_t looks_done;    /* the last request that was answered */
	_Atomic uint64_t restarts;      /* how often the watermark may have gone back since start */
	_Atomic int out_of_sync;        /* rebuildings that are due */
	_Atomic int64_t fence_left;     /* of the lease that it could not drop when it ended; 0: none */
	_Atomic int ended;              /* 1: stopped by itself or by request; nothing follows */

	/* worker thread only */
	struct cu_plan plan;
	struct cu_action action;        /* to be performed next */
	struct cu_conn *writer, *fetcher; /* share.c; NULL: not open */
	struct cu_guard writer_guard, fetcher_guard; /* while another one has its turn on them */
	bool keeps_temporary;           /* its code makes something temporary: it shares no writer */
	struct cu_source rows;          /* on the fetcher: `next` */
	struct cu_source range;         /* on the writer: cuts, fingerprints */
	struct cu_changes *changes;     /* owned; NULL unless the consumer has `event` */
	struct cu_change *change;       /* the event in hand, for those */
	struct catchup_out_of_sync owed; /* why it must rebuild before anything else; reason 0: it
	                                    need not. Outlives `changes` */
	struct cu_mapper *mapper;       /* owned; NULL unless the consumer has `map` */
	struct cu_mapped_row *mapped;   /* the row in hand, for those */
	struct cu_ledger ledger;
	struct cu_context context;
	void *state;                    /* the consumer's own */
	bool consumer_open;
	bool opened_once;
	int64_t taken_fence;            /* of the lease that it took last */
	int64_t gone_fence;             /* of one whose holder is gone without a word, which the plan is to be
	                                   told; 0: none */
	enum {
		CU_TROUBLE_NONE,
		CU_TROUBLE_EARLIER,     /* of an earlier process */
		CU_TROUBLE_OURS,
	} trouble_stored;               /* beside the watermark; the next commit clears it */
	bool trouble_owed;              /* could not be stored yet, or was not worth it */
	int64_t trouble_since_ns;
	bool started;                   /* has had its watermark read */
	bool has_turn;
	struct cu_ring_entry held;      /* a range that did not fit into the last batch */
	bool holds;
	int64_t fault_row;              /* row the last fault is about, 0 for none */
	struct catchup_error fault;     /* the last one */
	struct catchup_error row_fault; /* the last one that was a row's: what its dead letter says */
	bool keys_parked;               /* park-key: in this transaction rows are looked at for theirs */
	char *key;                      /* of the row looked at last; owned, NULL: it has none */
	size_t key_bytes;
	int64_t wake_at_ns;             /* nothing to do before; CU_FOREVER: until woken */
	bool waits_for_lease;           /* told once */
	int64_t batches_at_renewal;     /* none since: it is idle, and holds no memory it can do without */
	bool memory_given_back;         /* and has done nothing since; cu_share_rest */
};

struct cu_worker {
	struct cu_worker *next; /* owned list; constant after start */
	struct catchup *runtime;
	struct cu_follower **followers; /* owned array of borrowed; constant after start */
	size_t n_followers;
	struct cu_thread thread;
	struct cu_park park;

	/* atomic; owned array */
	_Atomic bool *called;     /* the follower at that place has something to do */

	/* its thread only */
	int64_t *due_ns;          /* when the follower at that place has something to do; owned array */
	size_t running;           /* followers that have not ended */
	struct cu_shared *shared; /* owned list: the connections of its followers (share.c) */
	struct cu_follower *heir; /* the turn of the last one is kept for it (turn.c); NULL: none is */
	int64_t turn_since_ns;    /* when the turn that is handed on was taken */
};

enum cu_runtime_state {
	CU_RUNTIME_NEW,
	CU_RUNTIME_STARTING,
	CU_RUNTIME_STARTED,
	CU_RUNTIME_STOPPING,
	CU_RUNTIME_STOPPED,
};

struct catchup {
	/* constant after open */
	struct catchup_options options; /* defaults filled in; database and changelog owned */
	struct cu_logger logger;
	char *path;                     /* absolute, of the source database; owned */
	pid_t pid;
	struct cu_owner owner;          /* of all its leases */

	/* constant after start; owned */
	struct cu_follower **followers;
	size_t n_followers;
	struct cu_reader *readers;
	struct cu_worker *workers;
	struct cu_file *files;
	struct cu_checkpointer *checkpointers;

	/* guarded by mu */
	struct cu_mutex mu;
	enum cu_runtime_state state;
	bool stop_asked;                /* before it had started */
	struct cu_cond changed;         /* state, opening or reading changed */
	size_t opening;                 /* followers and readers that have not opened yet */
	size_t reading;                 /* readers that may have their source open */
	struct catchup_error open_error; /* of the first that could not */
	struct catchup_error worst_error; /* of those that stopped by themselves: of the highest exit code */
	struct catchup_changelog *changelog; /* owned; opened by the first follower that needs it */

	/* atomic */
	_Atomic int stopping;           /* 1: finish the batch in hand; 2: interrupt it */
	_Atomic int go;                 /* 1: all have opened; 0: hold */
	_Atomic uint64_t looks_wanted;  /* raised by whoever wants a fresh look at all sources */
	_Atomic uint64_t commits;       /* transactions committed by followers */
	struct cu_park progress;        /* somebody has got as far as is waited for, looked or stopped */
};

/* What was given, as a whole struct of this library's size (options.c). Texts stay the caller's. */
int cu_options_read(struct catchup_options *whole, const struct catchup_options *given,
	struct catchup_error *error);
/* Takes what was given, checked and with defaults filled in, and the logger; the database is for others. */
int cu_options_take(struct catchup *c, const struct catchup_options *given,
	struct catchup_error *error);

/* ---- consumer set-up (setup.c) ------------------------------------------------------------- */

/* Creates tables, runs `setup`, checks the source and registers each consumer, in order. */
int cu_setup_run(struct catchup *c, struct catchup_error *error);
/* What is prepared under the connection's guard from now on is this consumer's. */
void cu_setup_guard(const struct cu_follower *f, struct cu_conn *conn);
/* Inside the transaction in hand: runs a script of the consumer's under its guard. section: its name;
 * sql may be NULL; line: where it stands in the consumer's file, 0 for nowhere. */
int cu_setup_script(struct cu_follower *f, struct cu_conn *conn, const char *section, const char *sql,
	int line, struct catchup_error *error);
/* How the results database is opened where no worker runs yet. */
struct cu_conn_options cu_setup_connection(const struct cu_follower *f);
/* Whether it followed another source until now, of whose rows its watermark and its letters are. */
int cu_setup_check_source(const struct cu_follower *f, struct cu_conn *results, struct catchup_error *error);
/* Whoever waited for its lease may find that somebody else runs it with another source by now. */
int cu_setup_check_registered(const struct cu_follower *f, struct catchup_error *error);
/* Writes down what the consumer is, where its results are in its source's file. */
int cu_setup_register(struct cu_follower *f, struct cu_conn *results, struct catchup_error *error);
/* The same where they are not. source: a connection to the source's file, or one to be opened. A source that
 * can only be read is followed all the same; `status` then cannot list what follows it. */
void cu_setup_register_in_source(struct cu_follower *f, struct cu_conn *source);
void cu_setup_spec(const struct cu_follower *f, struct cu_source_spec *spec);

/* ---- follower (follower.c) ----------------------------------------------------------------- */

/* Takes the definition over, also when it fails. */
int cu_follower_init(struct cu_follower *f, struct catchup *c, struct cu_definition *definition,
	struct catchup_error *error);
void cu_follower_finish(struct cu_follower *f);

/* Opens connections and the consumer for the first time; tells the runtime. Worker thread. */
void cu_follower_open(struct cu_follower *f);

/* Performs actions until a batch is done or there is nothing to do. True: there is more to do now;
 * false: not before f->wake_at_ns, or a wake-up. Worker thread. */
bool cu_follower_run(struct cu_follower *f);

/* Performs one action and says what came of it (perform.c). False: nothing came yet (WAIT, SLEEP). */
bool cu_follower_perform(
	struct cu_follower *f, const struct cu_action *action, struct cu_event *event);
/* There is something in its ring. Any thread. */
void cu_follower_wake(struct cu_follower *f);
/* Newest id or sequence there is for it, -1 when not known; whether a look that began after `request`
 * has been taken. Any thread. */
int64_t cu_follower_newest(struct cu_follower *f);
bool cu_follower_looked(struct cu_follower *f, uint64_t request);
/* Closes what OPEN opened. */
void cu_follower_close(struct cu_follower *f);

/* ---- threads (reader.c, look.c, worker.c) and checkpoints (checkpoint.c) ----------------------------- */

int cu_reader_start(struct cu_reader *reader, struct catchup_error *error);
void cu_reader_wake(struct cu_reader *reader);
/* A consumer of this runtime has committed rows of its source. */
void cu_reader_tell(struct cu_reader *reader);
/* A follower has nothing left to do: what is new concerns it at once. */
void cu_reader_run_dry(struct cu_follower *f);
void cu_reader_destroy(struct cu_reader *reader);

/* One look: what is new is on the rings then, and the followers are woken. Reader thread. */
int cu_look(struct cu_reader *reader, struct catchup_error *error);
/* The source cannot go on for this follower. Reader thread. */
void cu_look_fail(struct cu_follower *f, const struct catchup_error *error);
/* A follower has taken a range from its ring: there may be room that the reader waits for. */
void cu_look_made_room(struct cu_follower *f);

/* For at most so many followers; NULL: no memory. */
struct cu_worker *cu_worker_create(struct catchup *c, size_t most);
void cu_worker_add(struct cu_worker *worker, struct cu_follower *f);
int cu_worker_start(struct cu_worker *worker, struct catchup_error *error);
/* The follower has something to do: its worker runs it. Any thread. */
void cu_worker_call(struct cu_follower *f);
/* Whether it is run, this time round if its place has not come yet. Worker thread. */
bool cu_worker_is_called(const struct cu_worker *worker, size_t place);
void cu_worker_destroy(struct cu_worker *worker);

/* Others commit to the file while a backlog fills its log, with pages of so many bytes; 0: not, or no more.
 * The turn is held. */
void cu_checkpoint_share(struct cu_file *file, int page_bytes);
/* So much of the log is in use after a commit; the turn is still held. Wakes the checkpointer when it
 * has grown. */
void cu_checkpoint_note(struct cu_file *file, int64_t log_bytes);
/* Whether the log is near its bound and being copied: who writes on would take it beyond. */
bool cu_checkpoint_is_behind(struct cu_file *file);
/* Waits while it is so. Without the turn. */
void cu_checkpoint_wait(struct cu_file *file);
/* For the checkpointer: what is due, false when it is to be tried again though nobody asks for it; the same
 * where the file cannot be opened; how it is opened; before anything is noted. */
bool cu_checkpoint_run(struct cu_file *file, struct cu_conn *conn);
void cu_checkpoint_cannot(struct cu_file *file, const struct catchup_error *error);
struct cu_conn_options cu_checkpoint_connection(const struct cu_file *file);
void cu_checkpoint_begin(struct cu_file *file);

int cu_checkpointers_start(struct catchup *c, struct catchup_error *error);
/* They notice that the runtime is stopping. */
void cu_checkpointers_wake(struct catchup *c);
/* All other threads have closed the files, and stopping is set: they fold the logs in and end. */
void cu_checkpointers_fold(struct catchup *c);
void cu_checkpointers_join(struct catchup *c);
void cu_checkpointers_free(struct catchup *c);

/* ---- watchdog (watchdog.c) ------------------------------------------------------------------- */

int cu_watchdog_init(struct cu_follower *f, struct catchup_error *error);
void cu_watchdog_finish(struct cu_follower *f);
/* Says of each follower that writes one of its files when a call of its code does not come back. Returns
 * when to look again. */
int64_t cu_watchdog_look(const struct cu_checkpointer *checkpointer, int64_t now_ns);

/* ---- turns to write (turn.c) ----------------------------------------------------------------- */

/* The turn to write the follower's results database; taking it twice or giving what is not held does
 * nothing. held_ns: how long a transaction of it had the write lock, 0 for one that does not count.
 * After that the lock may be left to other processes for a while, and the turn may be kept for the one
 * that its worker runs next. */
void cu_turn_take(struct cu_follower *f);
/* The same if nobody has it; true when taken. */
bool cu_turn_try(struct cu_follower *f);
void cu_turn_give(struct cu_follower *f, int64_t held_ns);
/* The follower has run: a turn that was kept for it, and that it did not take, goes to who is in line. */
void cu_turn_pass(struct cu_follower *f);
/* The follower is about to run: a turn that is kept for another one of its worker's is not kept that long. */
void cu_turn_pass_others(struct cu_follower *f);
/* How long the turn in hand may hold the write lock. */
int64_t cu_turn_hold_ns(struct cu_follower *f);

/* ---- layout (layout.c) ---------------------------------------------------------------------- */

/* Looks at a database file: refuses what is none, and a network file system unless that is allowed.
 * All of *st is 0 for one that is missing and may be. */
int cu_layout_check_place(const struct catchup *c, const char *path, bool may_be_missing,
	struct cu_file_stat *st, struct catchup_error *error);
void cu_layout_warn_of_names(const struct catchup *c, const char *path, const struct cu_file_stat *st);
/* Whether a consumer that was added before f has its results where f's source is: then the file need not be
 * there, for set-up makes it in time. */
bool cu_layout_source_is_made(const struct cu_follower *f);
int cu_layout_files(struct catchup *c, struct catchup_error *error);   /* before setup */
int cu_layout_readers(struct catchup *c, struct catchup_error *error); /* after it */
int cu_layout_workers(struct catchup *c, struct catchup_error *error); /* layout_workers.c */
/* Joins and frees readers and workers, frees files. */
void cu_layout_free(struct catchup *c);

/* ---- all threads (threads.c) ---------------------------------------------------------------- */

/* Starts them; on failure all have ended. */
int cu_threads_start(struct catchup *c, struct catchup_error *error);
/* Ends them: stopping is set. Followers have ended by themselves, or do so now. */
void cu_threads_end(struct catchup *c);
/* A follower or a reader has opened, or could not (error not NULL). */
void cu_threads_opened(struct catchup *c, const struct catchup_error *error);
/* A reader will not touch its source any more. */
void cu_threads_reader_closed(struct catchup *c);

/* ---- runtime (runtime.c) ------------------------------------------------------------------- */

/* catchup_add for a consumer that a database knows by this name, with its results in `into`, "" for the
 * database itself; see cu_definition_place. CATCHUP_CONFIG where what made it makes another one now. */
int cu_runtime_add_known(struct catchup *c, const char *name, const char *spec, const char *into,
	struct catchup_error *error);
/* A follower has committed, and its watermark is stored: wakes who waits for it (wait.c). */
void cu_wait_tell(struct cu_follower *f, int64_t watermark);
/* A follower stopped by itself with an error. */
void cu_runtime_note_error(struct catchup *c, const struct catchup_error *error);
/* The code of the one among them that has the highest exit code, with *error filled; CATCHUP_OK when none
 * has. */
int cu_runtime_worst_error(struct catchup *c, struct catchup_error *error);
/* Wakes all workers and readers. */
void cu_runtime_wake_all(struct catchup *c);
/* Refuses calls from a forked child. */
int cu_runtime_check_process(const struct catchup *c, struct catchup_error *error);

#endif
