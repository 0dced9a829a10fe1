/* SPDX-License-Identifier: MIT */
/*
 * sql_consumer.h - the functions of a consumer that is a SQL file.
 *
 * They find the file through the context's definition, and are called by the pool as those of any
 * other consumer. Every statement is prepared in open, on each worker's connection.
 */
#ifndef CU_CONSUMER_SQL_CONSUMER_H
#define CU_CONSUMER_SQL_CONSUMER_H

#include <catchup/consumer.h>

struct cu_sql_file;

/* Fills the table's functions for a file. Strings stay as they are. */
void cu_sql_consumer_functions(struct catchup_consumer *table, const struct cu_sql_file *file);

/* definition.h, check_columns. */
int cu_sql_consumer_check_columns(struct catchup_context *ctx, void *state, sqlite3_stmt *next);

#endif
