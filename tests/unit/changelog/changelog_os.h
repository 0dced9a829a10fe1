/* SPDX-License-Identifier: MIT */
/*
 * changelog_os.h - an operating system that is pretended, for histories of a changelog.
 *
 * It implements what the changelog's code asks of base/os.h: threads are fibers of one thread, time is
 * a number, and there is one folder with one name in it that matters. A fiber gives way in its file
 * calls and at its locks, when a die says so; the test goes on then, as the writer, and decides who
 * runs next. So a history is made by its seed alone.
 *
 * A test that tells one story gives the writer's part between fake_step calls, with yield_of 0.
 *
 * An inode that is free is given to the next file, as ext4 does. Notices may be lost.
 */
#ifndef CHANGELOG_OS_H
#define CHANGELOG_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_file {
	char *bytes; /* owned */
	size_t size, capacity;
	size_t fill_at, fill; /* so many x stand there, and take no memory */
	uint64_t inode;
	int64_t birth_ns;
	uint32_t opened; /* descriptors */
	uint32_t names;  /* the followed name, or one that is out of sight */
	struct fake_file *next;
};

struct fake_knobs {
	uint32_t yield_of;  /* one in so many chances to give way is taken; 0: none */
	uint32_t fault_of;  /* one in so many file calls fails; 0: none */
	uint32_t short_of;  /* one in so many reads brings less than it could; 0: none */
	uint32_t fail_in, short_in; /* the read that comes in so many fails, or brings one byte; 0: none */
	uint32_t unseen_of; /* one in so many notices is lost; 0: none */
	bool unreadable;    /* every read fails */
	bool no_watches;    /* notices do not work at all */
	bool births;        /* the file system keeps birth times */
};

extern struct fake_knobs fake_knobs;

/* Everything anew. */
void fake_begin(uint64_t seed);
/* Frees files. Returns what was left behind ("" for nothing): descriptors, threads, watches. */
const char *fake_end(void);

uint64_t fake_random(void);
uint32_t fake_dice(uint32_t n); /* 0 to n - 1 */

/* File calls so far. */
uint64_t fake_calls(void);

/* Starts a fiber of the test's own. */
void fake_spawn(void (*main)(void *), void *argument);
/* Called by such a fiber: sleeps until it is roused. */
void fake_rest(void);
void fake_rouse(void);
/* Runs one fiber until it gives way. false: all wait, and no deadline has come. */
bool fake_step(void);
void fake_pass(int64_t ns);
/* To the next deadline; false: nobody has one. */
bool fake_pass_to_deadline(void);

/* The followed name means a file, or nothing (NULL). What it meant keeps a name when `keep`. */
struct fake_file *fake_file_new(void);
struct fake_file *fake_named(void);
void fake_name(struct fake_file *file, bool keep);
/* Writes at an offset; a hole before it is NULs. */
void fake_write(struct fake_file *file, size_t offset, const char *bytes, size_t n);
/* Appends so many bytes x, once in a file. */
void fake_fill(struct fake_file *file, size_t n);
void fake_truncate(struct fake_file *file, size_t size);
/* The writer's descriptor. */
void fake_hold(struct fake_file *file);
void fake_drop(struct fake_file *file);

#endif
