/* SPDX-License-Identifier: MIT */
/*
 * users.h - an application for tests of changelogs: it inserts, renames and deletes users; triggers
 * write user_changes, the consumer `changelog` makes lines of it, and `user_names` keeps a cache.
 */
#ifndef TESTS_USERS_H
#define TESTS_USERS_H

#include "program.h"

#include <sqlite3.h>
#include <stdint.h>

/* What the two consumers are called with, apart from the path of the changelog. */
#define USERS_WRITER_OPTIONS "source=user_changes,table=users,family=app,key=user"

struct users {
	char *folder;
	char *database; /* folder/app.db */
	char *log;      /* folder/log: the changelog */
	char *writer;   /* the consumer `changelog` with its options; without rotation at first */
	sqlite3 *db;    /* the application's */
	uint64_t random;
	int made;       /* users so far */
};

/* cmocka's *state. */
int users_set_up(void **state);
int users_tear_down(void **state);
#define USERS_TEST(name) cmocka_unit_test_setup_teardown(name, users_set_up, users_tear_down)

/* The writer rotates at 4096 bytes and keeps so many files. */
void users_rotate(struct users *u, int keep);

/* Between 0 and n - 1. */
unsigned users_random(struct users *u, unsigned n);

/* SQL of the application; the first column of the first row. */
void users_sql(struct users *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
long long users_number(struct users *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* So many random changes, a few in each transaction. */
void users_work(struct users *u, int changes);

/* Users whose cached name is wrong, missing or left over. */
long long users_stale(struct users *u);
long long users_watermark(struct users *u, const char *consumer);

/* Asks until the writer has written all changes and the cache is right. */
void users_wait(struct users *u);

/* The sequence of the last whole line of a file; 0 for none. */
long long users_newest(const char *path);

/* Both consumers in one process until they have caught up; then everything must be right: the cache
 * is the truth, and the watermark is the file's newest sequence. `p` has what was said. */
void users_catch_up(struct users *u, struct program *p);

/* A file's content, owned by the caller; NULL when there is none. */
char *users_read(const char *path);

/* How often a text is in another. */
int users_count(const char *text, const char *part);

/* The cache's consumer, and what is given with it, until it has caught up; or without an end. */
#define USERS_RUN(u, p, ...)                                                                       \
	program_run((p), "run", (u)->database, "--changelog", (u)->log, "--progress", "never",     \
		"--until-caught-up", __VA_ARGS__)
#define USERS_START(u, p, ...)                                                                     \
	program_start((p), "run", (u)->database, "--changelog", (u)->log, "--progress", "never",   \
		__VA_ARGS__)

void users_expect_exit(struct program *p, int code);
void users_expect(const char *text, const char *part);
void users_expect_not(const char *text, const char *part);

/* Brings the changelog and the cache to the end, and forgets what was said. */
void users_go_on(struct users *u);
/* Only the writer works. */
void users_write_on(struct users *u);

/* One line of the application's format. */
void users_append(struct users *u, long long sequence, int user);
/* Takes the line of a sequence out of the file, in place. */
void users_remove_line(struct users *u, int sequence);

#endif
