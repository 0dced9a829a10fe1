/* SPDX-License-Identifier: MIT */
/*
 * program.h - runs the real program on real files, for tests.
 *
 * A test waits for what the program says or for its end, never for a time. What never comes fails the
 * test after PATIENCE_S, with everything the program said until then.
 */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include "../patience.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PROGRAM_ARGUMENTS_MAX 64

struct program_output {
	int fd;      /* -1: closed, or not ours */
	char *text;  /* owned, NUL-terminated, "" at first */
	size_t used;
};

struct program {
	/* set before program_start; zero means nothing special */
	const char *folder;         /* its working directory */
	const char *const *under;   /* what runs it, with arguments, ended by NULL */
	const char *const *set;     /* "NAME=value", ended by NULL: added to the environment */
	const char *output_path;    /* standard output goes there, not to `out` */
	bool closed;                /* descriptors 0 to 2 are closed at start */
	bool ignore_hangup;         /* SIGHUP is ignored at start, as nohup does */
	unsigned files;             /* limit of open files, soft and hard; 0: as it is */
	unsigned file_bytes;        /* limit of a file's size, soft and hard; 0: as it is */
	unsigned address_bytes;     /* limit of the address space; 0: as it is */
	unsigned user;              /* runs as this user and group; 0: as it is */

	/* afterwards */
	pid_t pid;
	struct program_output out, err;
	int exit_code; /* 128 + N when signal N ended it */
};

/* Starts it with these arguments, ended by NULL. */
void program_start_with(struct program *p, const char *const *arguments);
#define program_start(p, ...)                                                                      \
	program_start_with((p), (const char *const[]){__VA_ARGS__, NULL})

/* Reads until its standard output or error holds a text. */
void program_expect_out(struct program *p, const char *text);
void program_expect_err(struct program *p, const char *text);

/* Reads until its standard error holds a text or everything it says has come. True: it holds it. */
bool program_says(struct program *p, const char *text);

/* Reads what is there and does not wait. Whether its standard error holds a text. */
bool program_has_said(struct program *p, const char *text);

/* Drops what it has said so far. */
void program_forget(struct program *p);

void program_signal(struct program *p, int number);

/* Closes our end of its standard output, as `head` does. */
void program_close_out(struct program *p);

/* Reads everything and waits for its end. Returns the exit code. */
int program_finish(struct program *p);

/* All in one. The program must be freed. */
#define program_run(p, ...) (program_start((p), __VA_ARGS__), program_finish((p)))

/* Frees what it said, and makes *p ready for another start. Kills it if it still runs. */
void program_free(struct program *p);

/* ---- files -------------------------------------------------------------------------------- */

/* Makes a fresh folder under $TMPDIR or /tmp. test_folder_remove removes it with all that is in it. */
char *test_folder_make(void);
void test_folder_remove(char *folder);

/* Path of a name in a folder; the caller frees it. */
char *test_path(const char *folder, const char *name);
void test_write_file(const char *path, const char *text);
void test_append_file(const char *path, const char *text);

/* Runs SQL on a database file. */
void test_sql(const char *path, const char *sql);

/* The first column of the first row as a number; fails the test when there is none. */
long long test_number(const char *path, const char *sql);

/*
 * A value inside a JSON document by its path ("$.consumers[0].name"), as SQLite reads it; NULL for a
 * JSON null or nothing there. Fails the test when the document is not valid. The caller frees it.
 */
char *test_json(const char *document, const char *path);

/* The same must be a certain text; NULL: null or nothing. */
void test_json_is(const char *document, const char *path, const char *expected);

/* A consumer of a table `numbers`. Each row costs about ten milliseconds, so that a backlog lasts and a
 * batch can be met half done. */
#define SLOW                                                                               \
	"-- name: slow\n-- source: numbers\n-- setup\n"                                    \
	"CREATE TABLE IF NOT EXISTS slowly(id INTEGER PRIMARY KEY, n);\n-- next\n"         \
	"SELECT id, n FROM numbers WHERE id > @last AND id <= @max ORDER BY id;\n-- row\n" \
	"INSERT INTO slowly SELECT @id, count(*) FROM (WITH RECURSIVE c(i) AS"             \
	" (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 50000) SELECT i FROM c);\n"

/* A consumer of numbers(id, n), set-based. */
#define DOUBLES                                                                                    \
	"-- name: doubles\n-- source: numbers\n-- setup\n"                                         \
	"CREATE TABLE IF NOT EXISTS twice(id INTEGER PRIMARY KEY, n);\n"                           \
	"-- apply\nINSERT INTO twice SELECT id, 2 * n FROM numbers WHERE id > @last AND id <= @max;\n"

#endif
