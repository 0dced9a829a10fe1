/* SPDX-License-Identifier: MIT */
/*
 * help.h - a runtime inside the test, on real files in a fresh folder, and an application beside it.
 *
 * What runs by itself is waited for by asking the database until it says so; what never comes fails
 * the test after PATIENCE_S with everything that was logged.
 */
#ifndef TESTS_HELP_H
#define TESTS_HELP_H

#include "program.h"

#include <catchup/catchup.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>

#define HELP_OWNED_MAX 64

/* One test's world; cmocka's *state. */
struct scene {
	char *folder;
	char *database;                 /* folder/app.db */
	char *owned[HELP_OWNED_MAX];    /* strings that live as long as the scene */
	size_t n_owned;
	const char *mounted;            /* a folder with a file system of the test's own, or NULL */

	/* the runtime, NULL while there is none */
	struct catchup *runtime;

	/* guarded by mu */
	pthread_mutex_t mu;
	char *log;                      /* all lines, "" at first */
	size_t log_used;
};

int scene_set_up(void **state);
int scene_tear_down(void **state); /* also closes the runtime */
#define SCENE_TEST(name) cmocka_unit_test_setup_teardown(name, scene_set_up, scene_tear_down)

/* ---- files and SQL ------------------------------------------------------------------------- */

/* Keeps a string until the scene ends; returns it. */
char *scene_own(struct scene *s, char *text);

/* Path of a name in the folder. */
char *scene_path(struct scene *s, const char *name);

/* Writes a file in the folder and returns its path. */
char *scene_file(struct scene *s, const char *name, const char *text);

/* Runs SQL on the application's database, on a connection of its own. */
void scene_sql(struct scene *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A table of the application's, so many more rows of it with n = 1, 2, ..., and a consumer that copies it. */
#define NUMBERS "CREATE TABLE IF NOT EXISTS numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER)"
#define COPIES                                                                                     \
	"-- name: copies\n-- source: numbers\n-- setup\n"                                          \
	"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, n);\n"                            \
	"-- row\nINSERT INTO copy VALUES(@id, @n);\n"
void scene_insert(struct scene *s, int rows);

/* Runs a consumer, as the program's `run` takes it, in the folder until it has caught up. */
void scene_catch_up(struct scene *s, const char *consumer);

/* The first column of the first row: as a number, or as text ("" for NULL). Fails without a row. */
long long scene_number(struct scene *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *scene_text(struct scene *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The watermark of a consumer in a database; -1 when there is none. */
long long help_watermark(const char *database, const char *consumer);

/* A connection as an application would open it; and SQL on it. */
sqlite3 *help_connect(const char *path);
void help_exec(sqlite3 *db, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Asks a database until the query returns other than 0. */
void scene_until(struct scene *s, const char *database, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Mounts a file system in memory on folder/mount; its options as mount takes them. False where that
 * is not possible. The scene's end unmounts it. */
bool scene_mount(struct scene *s, const char *options);

/* ---- a runtime in this process -------------------------------------------------------------- */

/* Opens it on the application's database; options NULL: defaults. database, log and size are set. */
struct catchup *scene_open(struct scene *s, const struct catchup_options *options);
/* Adds a consumer by its file, or by a table. */
void scene_add(struct scene *s, const char *consumer);
void scene_add_table(struct scene *s, const struct catchup_consumer *table);
void scene_start(struct scene *s);
/* Waits until it has caught up. */
void scene_wait(struct scene *s);
/* Stops and closes it; there may be another one after. Returns what catchup_stop says. */
int scene_close(struct scene *s, struct catchup_error *error);
/* Open, add a file, start, wait, close. Fails unless all goes well. */
void scene_run(struct scene *s, const struct catchup_options *options, const char *consumer);

/* Whether a text was logged so far. */
bool scene_logged(struct scene *s, const char *text);
/* Fails unless it was. */
void scene_expect_log(struct scene *s, const char *text);

/* Fails unless a text is in another. */
void help_expect(const char *text, const char *part);

/* Milliseconds of the monotonic clock. */
int64_t help_now_ms(void);
/* A pause between two questions; never instead of one. */
void help_pause(void);

#endif
