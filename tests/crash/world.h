/* SPDX-License-Identifier: MIT */
/*
 * world.h - a small world that is made, run, broken and compared again and again: a table of events and
 * one consumer of each kind. All results are lists without a key, so that what is done twice is there
 * twice.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include "proof.h"

#include <catchup/catchup.h>
#include <stddef.h>

/* A set-based consumer; one with `next` (filter and LIMIT) and `row`; one whose results are in a file of
 * their own; and one in C, which only a test that links the runtime can run. */
enum { WORLD_APPLY, WORLD_ROW, WORLD_INTO, WORLD_TABLE, WORLD_CLAIMS };

#define WORLD_SQL_CLAIMS WORLD_TABLE

/* "apply", "row", "into", "table" follow `events` in app.db; "into" writes results.db. */
extern const struct proof_claim world_claims[WORLD_CLAIMS];

/* apply.sql, row.sql, into.sql */
extern const char *const world_consumers[WORLD_SQL_CLAIMS];
void world_write_consumers(const char *folder);

/* Appends rows to folder/app.db, which is made if need be. content: what they say; bytes of each. */
void world_insert(const char *folder, int rows, const char *content, int bytes);
void world_insert_on(sqlite3 *db, int rows, const char *content, int bytes);

/* Checks all results of a folder. all: every consumer has reached the newest row; otherwise one that has
 * not begun is right too. Says why not. */
bool world_verify(const char *folder, size_t claims, bool all, char *why, size_t bytes);

#endif
