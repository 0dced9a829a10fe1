/* SPDX-License-Identifier: MIT */
/*
 * sim_story.h - what is told: a database with an application that writes it, runtimes that follow it,
 * a changelog, and what the world does to them. All choices are the seed's.
 *
 *	story          sets up, does mischief, calms down, lets everything catch up, judges
 *	application    processes that insert, delete, roll back, hold the write lock
 *	runtime        one or two processes with the same consumers; stopped, killed and started again
 *	changelog      a process that changes `truth` and writes events about it; readers of it
 *	judge          what must hold in the end
 */
#ifndef SIM_STORY_H
#define SIM_STORY_H

#include "sim.h"

#include <catchup/changelog.h>
#include <catchup/consumer.h>

#define STORY_RUNTIMES 2
#define STORY_READERS 3
#define STORY_PATH 64

/* On the disk of sim_disk.h. Its length is part of every story: messages that are stored quote paths. */
#define STORY_FOLDER "/story-of-files-and-folders"

/* A row with this value cannot be processed by anybody; one that 7 divides is passed over. */
#define BAD_VALUE 1000

enum story_kind {
	KIND_ROWS,   /* C, row by row */
	KIND_SET,    /* SQL, set-based */
	KIND_NEXT,   /* SQL, next with a LIMIT and row */
	KIND_MAPPED, /* C, map in parallel and apply */
	KIND_CHAIN,  /* C, follows the results of KIND_ROWS */
	KIND_CACHE,  /* C, driven by the changelog */
	KINDS,
};

/* What the application has committed. */
struct story_row {
	int64_t id;
	char key[8];
	int64_t value;
	bool deleted;
};

struct story_ids {
	int64_t *ids; /* owned */
	size_t n, room;
};

struct story_consumer {
	bool used;
	bool into;              /* results in a file of their own */
	const char *policy;
	struct story_ids failed; /* rows that its function failed, for the row's sake */
};

/* What stands in the changelog under a sequence. */
struct story_event {
	int64_t id;
	bool other; /* of another family */
};

struct story_runtime {
	struct sim_process *process; /* NULL: none yet */
	struct catchup *runtime;     /* while it is started */
	bool leave;                  /* stop and start again */
	bool gone;                   /* its main fiber has ended */
	bool settled;                /* has caught up in the calm */
	int settled_code;
};

struct story {
	char database[STORY_PATH], results[STORY_PATH];
	char set_sql[STORY_PATH], next_sql[STORY_PATH];
	char log_folder[STORY_PATH], changelog[STORY_PATH];

	/* choices */
	struct catchup_options options;
	struct story_consumer consumers[KINDS];
	uint32_t workers;      /* of KIND_MAPPED */
	int runtimes;
	int applications;
	int readers;           /* iterators on the changelog */
	bool gentle;           /* it is only rotated, and with time to follow: no event is missed */
	bool autoincrement, sparse, deletes;
	unsigned bad;          /* rows of BAD_VALUE, per million */
	unsigned row_faults;   /* functions that fail once, per million */
	int rows_wanted;       /* of the application, together */
	int events_wanted;
	int64_t mischief_ns;   /* how long it lasts */

	/* how far it is */
	bool calm;             /* nothing goes wrong any more */
	bool closing;          /* everybody ends */
	int applications_left;
	bool writer_done;
	int readers_left;
	struct story_row *rows; /* owned */
	size_t n_rows, room;
	int64_t last_id;
	struct story_event *events; /* owned; by sequence */
	size_t n_events;       /* sequences given so far, and one */
	int64_t changed[64];   /* rows of `truth` whose events are not written yet */
	size_t n_changed;
	int64_t flushed;       /* the newest event that surely is in the file */
	struct story_runtime slots[STORY_RUNTIMES];
};

extern struct story story;

/* Tells the story and judges it; ends the process. */
void story_tell(void *unused);

/* sim_consumers.c */
extern const char *const story_names[KINDS];
void story_add_consumers(struct catchup *c);
void story_write_consumers(void);
bool story_has_id(const struct story_ids *ids, int64_t id);

/* sim_application.c */
void story_application(void *unused);
sqlite3 *story_connect(const char *path);
void story_disconnect(sqlite3 *db);
/* A statement that must work, with a parameter for each letter of types: i for an int64_t, t for a text. It
 * stays prepared until story_disconnect. */
void story_exec(sqlite3 *db, const char *sql, const char *types, ...);

/* sim_changelog.c */
void story_writer(void *unused);
void story_reader(void *number);

/* sim_judge.c */
void story_judge(void);

#endif
