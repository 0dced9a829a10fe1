/* SPDX-License-Identifier: MIT */
/*
 * fault_story.h - what is told while calls to the machine fail: consumers of each kind over one small
 * table or changelog, and what they must leave behind.
 */
#ifndef TESTS_FAULT_STORY_H
#define TESTS_FAULT_STORY_H

#include "runtime_help.h"

/* "rows" parks by key, "mapped" maps, "events" follows the changelog. */
extern const struct catchup_consumer *const story_builtins[];

struct story {
	struct scratch *s;
	struct kept_log log;
	const char *consumers[4]; /* as words for catchup_add */
	size_t n_consumers;
	char files[2][400];      /* consumer "sets", and "queries", whose results are elsewhere */
	char changelog[400];
};

/* Writes the consumers' files and the changelog. */
void story_begin(struct story *story, struct scratch *s);

void story_fresh_database(struct scratch *s);

/* Runs until caught up. Returns the first code that is not OK, with the error filled. */
int story_run(struct story *story, struct catchup_error *error);

/* Fails unless each consumer has done its rows, each once, and parked or passed over what it should.
 * place: of the call that failed, for the message. */
void story_expect_done(struct story *story, size_t place);

#endif
