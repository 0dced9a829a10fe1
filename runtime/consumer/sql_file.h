/* SPDX-License-Identifier: MIT */
/*
 * sql_file.h - a SQL consumer file, taken apart.
 *
 * A file is header lines `-- key: value`, then sections. A section begins with `-- NAME` alone on its
 * line, at the line's start, and reaches to the next such line; a line like it inside a string of
 * several lines begins a section too. Other comments are comments, unless they look like a mistyped
 * key or section: a typo must not make a part of the file vanish in silence.
 *
 * Nothing here knows SQL beyond comments; statements are looked at when they are prepared.
 */
#ifndef CU_CONSUMER_SQL_FILE_H
#define CU_CONSUMER_SQL_FILE_H

#include <catchup/catchup.h>

#define CU_SQL_FILE_BYTES_MAX (16 * 1024 * 1024)

#define CU_SQL_KEY_MAP(X)                                                                          \
	X(NAME, "name")                                                                            \
	X(SOURCE, "source")                                                                        \
	X(ID, "id")                                                                                \
	X(INTO, "into")                                                                            \
	X(FROM, "from")                                                                            \
	X(ON_ERROR, "on-error")                                                                    \
	X(WORKERS, "workers")                                                                      \
	X(BATCH_ROWS, "batch-rows")                                                                \
	X(SUMMARY, "summary")

#define CU_SQL_SECTION_MAP(X)                                                                      \
	X(SETUP, "setup")                                                                          \
	X(RESET, "reset")                                                                          \
	X(APPLY, "apply")                                                                          \
	X(NEXT, "next")                                                                            \
	X(ROW, "row")                                                                              \
	X(MAX, "max")

#define CU_SQL_KEY(id, text) CU_SQL_KEY_##id,
enum cu_sql_key { CU_SQL_KEY_MAP(CU_SQL_KEY) CU_SQL_KEYS };
#undef CU_SQL_KEY
#define CU_SQL_SECTION(id, text) CU_SQL_SECTION_##id,
enum cu_sql_section { CU_SQL_SECTION_MAP(CU_SQL_SECTION) CU_SQL_SECTIONS };
#undef CU_SQL_SECTION

/* A value or the text of a section, and the line it begins in. */
struct cu_sql_text {
	char *text; /* owned; NULL where the file has none */
	int line;
};

struct cu_sql_file {
	char *path; /* owned; as given, for messages */
	struct cu_sql_text keys[CU_SQL_KEYS];
	struct cu_sql_text sections[CU_SQL_SECTIONS];
};

/* Returns the key's or section's name as it is written in a file. */
const char *cu_sql_file_key(enum cu_sql_key key);
const char *cu_sql_file_section(enum cu_sql_section section);

/*
 * Reads a file, or takes apart text that was read. Refuses what is no regular file, is too large or
 * is not text; and what does not make up one consumer.
 * Returns: CATCHUP_OK and *out; CATCHUP_CONFIG with path and line; CATCHUP_IO; CATCHUP_NOMEM.
 */
int cu_sql_file_read(struct cu_sql_file **out, const char *path, struct catchup_error *error);
int cu_sql_file_parse(struct cu_sql_file **out, const char *path, const char *text, size_t bytes,
	struct catchup_error *error);
void cu_sql_file_free(struct cu_sql_file *file);

/* Skips blanks, comments and semicolons: to the first word of a statement, or to the end. */
const char *cu_sql_file_skip_blank(const char *sql);

/* The line of the file that `at`, a place in a section's text, stands in. */
int cu_sql_file_line(const struct cu_sql_text *section, const char *at);

#endif
