/* SPDX-License-Identifier: MIT */
/*
 * changelog_history.h - one history of a changelog: what was written, what its users were told, and the
 * writer that does what a die says (changelog_history.c). changelog_judge.c says what is right, and
 * test_changelog_histories.c who runs when.
 */
#ifndef CHANGELOG_HISTORY_H
#define CHANGELOG_HISTORY_H

#include "changelog_os.h"

#include <catchup/changelog.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS INT64_C(1000000)
#define EVENTS_MAX 4000
#define READERS 3
#define LINE_MAX_BYTES 512 /* longer lines are bad ones */

struct event {
	int64_t sequence;
	bool good; /* stands in a file as one whole line */
	char table;
};

/* What one iterator has told so far. */
struct reader {
	struct catchup_iterator *it;
	struct catchup_iterator_options options;
	char table;       /* of the filter; 0: all */
	long at;          /* index of the newest event that it gave */
	long from;        /* it has to give the events from this one on */
	long opened;      /* that one would be, had it been opened when that was done */
	int64_t sequence; /* of that one; -1: not known */
	bool anywhere;    /* the writer went on while it was opened: it may begin where it likes */
	bool blank;       /* there was no sequence yet where it began */
	bool flagged;     /* out of sync since */
	bool given;       /* any event */
	int64_t seen;
	long told, bad, bad_before; /* bad lines that were written before it came, -1: some */
};

enum order {
	ORDER_NONE,
	ORDER_SHARE, /* opens a changelog for several iterators */
	ORDER_OPEN,
	ORDER_READ,
	ORDER_CLOSE,
	ORDER_REBUILT,
	ORDER_END,
};

struct history {
	bool gentle; /* nothing that loses events is done */
	bool tell;
	long steps; /* that somebody has run */
	char broken[512];

	/* the writer */
	struct event events[EVENTS_MAX];
	long n_events;
	int64_t next;             /* sequence */
	struct fake_file *file;   /* that it writes, held; NULL: none */
	bool appends;             /* otherwise it keeps an offset of its own */
	size_t offset;
	long torn;                /* the event whose line has no end yet, -1 */
	char rest[LINE_MAX_BYTES]; /* of that line */
	size_t n_rest;
	size_t torn_at;
	bool glue;                /* what comes next stands on an unfinished line */
	long bad, bad_in_named;   /* bad lines; those before the named file */
	long first_in_named;      /* event */
	long truncations, holes;
	long n_bad;

	/* the user's fiber */
	struct catchup_changelog *shared;
	struct reader readers[READERS];
	enum order order;
	struct reader *who;
	long many;
	bool faults;

	struct seen {
		int64_t events, given, told, bad, overflows, files, errors, truncated;
	} seen;
};

/* The first that is broken counts. */
void history_broken(struct history *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Tells what happens, in a history that is replayed. */
void history_tell(const struct history *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Everybody runs until all wait. */
void history_run(struct history *h);
/* ... and the reader threads look at everything, however they learn of it. */
void history_look(struct history *h);
/* ... and the users read everything that is there. */
void history_read(struct history *h);

/* The writer: any step; and those that begin and end a history. */
void history_write(struct history *h);
void history_write_events(struct history *h);
void history_complete(struct history *h); /* the line that has no end yet */
void history_reopen(struct history *h);
void history_let_file_go(struct history *h);

/* The judge: of a result that an iterator has just told. */
void history_judge(
	struct history *h, struct reader *r, int result, const struct catchup_next *next);
/* Whether an iterator has to give an event. */
bool history_is_for(const struct reader *r, const struct event *event);
/* Whether what came after an event may have hidden that it is missing. */
bool history_is_hidden(const struct history *h, const struct reader *r, long missing);

#endif
