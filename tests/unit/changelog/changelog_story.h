/* SPDX-License-Identifier: MIT */
/*
 * Stories about a changelog: a fresh folder, lines written into files, and what an iterator tells as
 * one line of text. "3" is the event with sequence 3; "gap(4,6)", "overflow(4,6)" and
 * "lost-file(4,6)" are out of sync with what was expected and what came; "bad" is a bad line, "error"
 * a file that cannot be read.
 */
#ifndef CHANGELOG_STORY_H
#define CHANGELOG_STORY_H

#include "../../patience.h"

#include <catchup/changelog.h>

/* Every story begins in a folder of its own (cmocka setup), which is removed after it (teardown). */
int story_begin(void **state);
int story_end(void **state);
#define STORY(name) cmocka_unit_test_setup_teardown(name, story_begin, story_end)

/* The path of a file in the story's folder; good until the eighth call after. */
const char *in_folder(const char *name);

/* Makes the file anew with the text, or appends to it with one write. */
void put_file(const char *name, const char *text);
void append_file(const char *name, const char *text);
/* Appends events from..to, one line each; table may be NULL for "foo". */
void append_events(const char *name, long from, long to, const char *table);
void rename_file(const char *from, const char *to);
void truncate_file(const char *name, long size);

/* The line of an event, without newline; good until the eighth call after. */
const char *event_line(long sequence, const char *table);

/* Opens an iterator on the file "log". Other fields of the options may be given. */
#define OPTIONS(...) ((struct catchup_iterator_options){__VA_ARGS__})
#define WAITS .on_full = CATCHUP_ON_FULL_WAIT
struct catchup_iterator *open_log(struct catchup_iterator_options options);

/* What the iterator tells next, as many results as `expected` has words; each is waited for. */
void expect_story(struct catchup_iterator *it, const char *expected);
/* ... and then nothing more is there. */
void expect_quiet(struct catchup_iterator *it);
/* The message of the newest BAD_LINE or ERROR that expect_story saw. */
const char *last_message(void);

/* A writer on the file "log". append returns the event's sequence: fam.foo, its key `id` is `value`. */
int try_writer(struct catchup_changelog_writer_options options, struct catchup_changelog_writer **w,
	struct catchup_error *error);
struct catchup_changelog_writer *open_writer(struct catchup_changelog_writer_options options);
int64_t append(struct catchup_changelog_writer *w, int64_t value);
void flush(struct catchup_changelog_writer *w);

/* Waits until the flag is up; fails after ten seconds. Returns the ticket. */
uint64_t wait_for_flag(const struct catchup_iterator *it);

#endif
