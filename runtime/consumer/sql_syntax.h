/* SPDX-License-Identifier: MIT */
/*
 * sql_syntax.h - what can be found wrong in a file's statements without a database.
 */
#ifndef CU_CONSUMER_SQL_SYNTAX_H
#define CU_CONSUMER_SQL_SYNTAX_H

#include "consumer/sql_file.h"

/*
 * Lets SQLite read every statement against an empty database: that finds syntax errors, and statements
 * that are refused wherever they stand. Tables are not there, so a statement is read only up to where
 * SQLite misses the first one; the rest is found when it is prepared for good.
 * Returns CATCHUP_OK; CATCHUP_CONFIG with path and line; CATCHUP_NOMEM.
 */
int cu_sql_syntax_check(const struct cu_sql_file *file, struct catchup_error *error);

/* The statement's first word when the runtime refuses it wherever it stands (BEGIN, ATTACH, ...), NULL
 * otherwise. sql: from cu_sql_file_skip_blank. */
const char *cu_sql_syntax_refused(const char *sql);

/* The end of the statement that begins at sql: behind its semicolon, or the end of the text. The
 * statements inside a trigger belong to it. */
const char *cu_sql_syntax_end(const char *sql);

#endif
