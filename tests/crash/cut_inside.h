/* SPDX-License-Identifier: MIT */
/* cut_inside.h - what the recorder writes and the player reads. */
#ifndef TESTS_CUT_INSIDE_H
#define TESTS_CUT_INSIDE_H

#include "cut.h"

#define CUT_SLOTS_MAX 16
#define CUT_NO_SLOT SIZE_MAX

enum cut_kind {
	CUT_CREATE,
	CUT_WRITE,
	CUT_TRUNCATE,
	CUT_SYNC,
	CUT_DELETE,
	CUT_NOTE,
};

struct cut_step {
	enum cut_kind kind;
	size_t slot;
	bool names;             /* SYNC, DELETE: the folder was synced as well */
	int note;               /* NOTE: its kind */
	int64_t offset;         /* WRITE: where; TRUNCATE: new size; NOTE: its value */
	size_t n;               /* WRITE */
	unsigned char *bytes;   /* WRITE; owned */
};

/* A file, by its name. */
struct cut_slot {
	char *name;             /* owned */
	bool existed;           /* at the start of the recording */
	unsigned char *base;    /* what it held then; owned */
	size_t base_bytes;
};

struct cut_recording {
	struct cut_slot slots[CUT_SLOTS_MAX];
	size_t n_slots;
	struct cut_step *steps; /* owned */
	size_t n_steps, room;
};

const struct cut_recording *cut_recording(void);

#endif
