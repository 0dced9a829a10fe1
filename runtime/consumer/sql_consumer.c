/* SPDX-License-Identifier: MIT */
#include "consumer/sql_consumer.h"
#include "base/check.h"
#include "consumer/definition.h"
#include "consumer/sql_file.h"
#include "consumer/sql_syntax.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct parameter {
	int number; /* in the statement, from 1 */
	int column; /* of `next`, from 0; -1 before it is known */
};

struct statement {
	sqlite3_stmt *stmt; /* owned */
	int line;           /* of its first word in the file */
	int n_parameters;
	struct parameter *parameters; /* row: owned */
	int last, max;      /* apply: parameter numbers, 0 where not used */
};

struct sql_consumer {
	const struct cu_sql_file *file;      /* borrowed from the definition */
	const struct cu_sql_text *section;   /* of the statements: apply or row */
	struct statement *statements;        /* owned */
	size_t n_statements, room;
	bool all_columns;                    /* the file has no `next` of its own */

	/* row: which prepared query, in which state, the columns of the parameters belong to */
	sqlite3_stmt *mapped;
	int mapped_prepares;
};

static const struct cu_sql_file *file_of(struct catchup_context *ctx)
{
	const struct cu_context *context = (const struct cu_context *)ctx;

	CU_CHECK(context->definition->sql);
	return context->definition->sql;
}

/* ---- open --------------------------------------------------------------------------------- */

static int prepare_failed(struct catchup_context *ctx, struct sql_consumer *c, const char *sql)
{
	int code = sqlite3_extended_errcode(ctx->db);
	const char *at = sql;
#if SQLITE_VERSION_NUMBER >= 3038000
	int offset = sqlite3_error_offset(ctx->db);

	if (offset >= 0)
		at += strnlen(sql, (size_t)offset);
#endif
	return catchup_fail(ctx, code, "%.200s:%d: %s", c->file->path,
		cu_sql_file_line(c->section, at), sqlite3_errmsg(ctx->db));
}

/* apply: @last and @max, nothing else. */
static int take_range_parameters(
	struct catchup_context *ctx, struct sql_consumer *c, struct statement *s)
{
	for (int i = 1; i <= s->n_parameters; i++) {
		const char *name = sqlite3_bind_parameter_name(s->stmt, i);

		if (name && strcmp(name, "@last") == 0)
			s->last = i;
		else if (name && strcmp(name, "@max") == 0)
			s->max = i;
		else
			return catchup_fail(ctx, 0,
				"%.200s:%d: parameter '%.100s' in 'apply', which has only @last and @max",
				c->file->path, s->line, name ? name : "?");
	}
	return CATCHUP_ROW_APPLIED;
}

/* row: every parameter is @column; which one is found when `next` is known. */
static int take_row_parameters(
	struct catchup_context *ctx, struct sql_consumer *c, struct statement *s)
{
	if (s->n_parameters == 0)
		return CATCHUP_ROW_APPLIED;
	s->parameters = calloc((size_t)s->n_parameters, sizeof(*s->parameters));
	if (!s->parameters)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	for (int i = 0; i < s->n_parameters; i++) {
		const char *name = sqlite3_bind_parameter_name(s->stmt, i + 1);

		/* A gap below a numbered parameter has no name either: "?3" alone has three. */
		if (!name || name[0] != '@')
			return catchup_fail(ctx, 0,
				"%.200s:%d: parameter '%.100s' in 'row'; parameters are written "
				"@column, with a column of 'next'",
				c->file->path, s->line, name ? name : "?");
		s->parameters[i] = (struct parameter){.number = i + 1, .column = -1};
	}
	return CATCHUP_ROW_APPLIED;
}

static struct statement *add_statement(struct sql_consumer *c)
{
	if (c->n_statements == c->room) {
		size_t room = c->room ? c->room * 2 : 4;
		struct statement *more = realloc(c->statements, room * sizeof(*more));

		if (!more)
			return NULL;
		c->statements = more;
		c->room = room;
	}
	c->statements[c->n_statements] = (struct statement){0};
	return &c->statements[c->n_statements++];
}

/* Prepares the statement at sql, in that line of the file; *tail is what follows it. */
static int take_statement(struct catchup_context *ctx, struct sql_consumer *c, const char *sql,
	int line, const char **tail)
{
	const char *section = c->section == &c->file->sections[CU_SQL_SECTION_APPLY] ? "apply" : "row";
	struct statement *s = add_statement(c);
	const char *word = cu_sql_syntax_refused(sql);

	if (!s)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	s->line = line;
	if (word)
		return catchup_fail(ctx, SQLITE_AUTH,
			"%.200s:%d: %s is refused; the runtime owns the transaction and the connection",
			c->file->path, s->line, word);
	if (sqlite3_prepare_v3(ctx->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->stmt, tail) !=
		SQLITE_OK)
		return prepare_failed(ctx, c, sql);
	if (!s->stmt) {
		/* SQLite takes one thing more for blank than we do: byte-order marks. */
		c->n_statements--;
		return CATCHUP_ROW_APPLIED;
	}
	if (sqlite3_column_count(s->stmt) > 0)
		return catchup_fail(ctx, 0,
			"%.200s:%d: the statement returns rows, and '%s' has no use for them",
			c->file->path, s->line, section);
	s->n_parameters = sqlite3_bind_parameter_count(s->stmt);
	if (c->section == &c->file->sections[CU_SQL_SECTION_APPLY])
		return take_range_parameters(ctx, c, s);
	return take_row_parameters(ctx, c, s);
}

/* A statement may do without one of the two, all of them together may not: rows outside the range
 * would be applied twice or not at all. */
static int check_range_used(struct catchup_context *ctx, struct sql_consumer *c)
{
	bool last = false, max = false;

	for (size_t i = 0; i < c->n_statements; i++) {
		last = last || c->statements[i].last;
		max = max || c->statements[i].max;
	}
	if (last && max)
		return CATCHUP_ROW_APPLIED;
	return catchup_fail(ctx, 0,
		"%.200s:%d: 'apply' does not use %s; it has to read the rows with id > @last AND "
		"id <= @max",
		c->file->path, c->section->line - 1,
		last ? "@max" : max ? "@last" : "@last and @max");
}

static void close_consumer(struct catchup_context *ctx, void *state)
{
	struct sql_consumer *c = state;

	(void)ctx;
	for (size_t i = 0; i < c->n_statements; i++) {
		sqlite3_finalize(c->statements[i].stmt);
		free(c->statements[i].parameters);
	}
	free(c->statements);
	free(c);
}

static int take_statements(struct catchup_context *ctx, struct sql_consumer *c)
{
	const char *counted = c->section->text;
	const char *sql = cu_sql_file_skip_blank(counted);
	int line = c->section->line;
	int result = CATCHUP_ROW_APPLIED;

	while (*sql && result == CATCHUP_ROW_APPLIED) {
		const char *tail = sql;

		/* Counted on from one statement to the next: a file may have a million. */
		for (; counted < sql; counted++)
			line += *counted == '\n';
		result = take_statement(ctx, c, sql, line, &tail);
		sql = cu_sql_file_skip_blank(tail);
	}
	return result;
}

static int open_consumer(struct catchup_context *ctx, void **state)
{
	struct sql_consumer *c = calloc(1, sizeof(*c));
	int result;

	if (!c)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	c->file = file_of(ctx);
	c->all_columns = !c->file->sections[CU_SQL_SECTION_NEXT].text;
	c->section = &c->file->sections[CU_SQL_SECTION_APPLY];
	if (!c->section->text)
		c->section = &c->file->sections[CU_SQL_SECTION_ROW];
	result = take_statements(ctx, c);
	if (result == CATCHUP_ROW_APPLIED && c->n_statements == 0)
		result = catchup_fail(ctx, 0, "%.200s:%d: section has no statement", c->file->path,
			c->section->line - 1);
	if (result == CATCHUP_ROW_APPLIED && c->section == &c->file->sections[CU_SQL_SECTION_APPLY])
		result = check_range_used(ctx, c);
	if (result != CATCHUP_ROW_APPLIED) {
		close_consumer(ctx, c);
		return result;
	}
	*state = c;
	return CATCHUP_ROW_APPLIED;
}

/* ---- running ------------------------------------------------------------------------------ */

/* Steps a statement whose parameters are bound to its end, and resets it. */
static int run(struct catchup_context *ctx, const struct sql_consumer *c, const struct statement *s)
{
	int rc = sqlite3_step(s->stmt);

	if (rc == SQLITE_DONE) {
		sqlite3_reset(s->stmt);
		return CATCHUP_ROW_APPLIED;
	}
	if (rc == SQLITE_ROW)
		/* It returned none when it was prepared: a table it names is another one now. */
		(void)catchup_fail(ctx, SQLITE_SCHEMA, "%.200s:%d: the statement returns rows",
			c->file->path, s->line);
	else
		(void)catchup_fail(ctx, sqlite3_extended_errcode(ctx->db), "%.200s:%d: %s", c->file->path,
			s->line, sqlite3_errmsg(ctx->db));
	sqlite3_reset(s->stmt);
	return CATCHUP_ROW_FAILED;
}

static int bind_failed(
	struct catchup_context *ctx, const struct sql_consumer *c, const struct statement *s, int rc)
{
	return catchup_fail(ctx, rc, "%.200s:%d: cannot bind a parameter: %s", c->file->path, s->line,
		sqlite3_errstr(rc));
}

static int run_range(struct catchup_context *ctx, void *state, int64_t last, int64_t max)
{
	struct sql_consumer *c = state;

	for (size_t i = 0; i < c->n_statements; i++) {
		struct statement *s = &c->statements[i];
		int rc = SQLITE_OK;

		if (s->last)
			rc = sqlite3_bind_int64(s->stmt, s->last, last);
		if (s->max && rc == SQLITE_OK)
			rc = sqlite3_bind_int64(s->stmt, s->max, max);
		if (rc != SQLITE_OK)
			return bind_failed(ctx, c, s, rc);
		if (run(ctx, c, s) != CATCHUP_ROW_APPLIED)
			return CATCHUP_ROW_FAILED;
	}
	return CATCHUP_ROW_APPLIED;
}

/*
 * Binds a column's value as it is, byte for byte. Text and blobs are not copied: they stay where they
 * are until the source row is stepped, and by then the statement has run. The parameter keeps
 * pointing there, but is not looked at again before it is bound anew: every parameter of a statement
 * is bound before each of its steps.
 *
 * The value is fetched once and then asked, which takes half as long as asking the row each time.
 * SQLite calls such a value unprotected, since no mutex of its connection is held; that connection
 * belongs to this thread.
 */
static int bind_column(sqlite3_stmt *to, int number, sqlite3_stmt *row, int column)
{
	sqlite3_value *value = sqlite3_column_value(row, column);
	const void *bytes;

	switch (sqlite3_value_type(value)) {
	case SQLITE_INTEGER:
		return sqlite3_bind_int64(to, number, sqlite3_value_int64(value));
	case SQLITE_FLOAT:
		return sqlite3_bind_double(to, number, sqlite3_value_double(value));
	case SQLITE_TEXT:
		bytes = sqlite3_value_text(value);
		if (!bytes)
			return SQLITE_NOMEM;
		return sqlite3_bind_text(to, number, bytes, sqlite3_value_bytes(value), SQLITE_STATIC);
	case SQLITE_BLOB:
		/* No bytes have no pointer, which would be bound as NULL; and zeroblob() has none
		 * until it is asked for, which may fail. */
		bytes = sqlite3_value_blob(value);
		if (!bytes && sqlite3_value_bytes(value) > 0)
			return SQLITE_NOMEM;
		return sqlite3_bind_blob(
			to, number, bytes ? bytes : "", sqlite3_value_bytes(value), SQLITE_STATIC);
	default:
		return sqlite3_bind_null(to, number);
	}
}

/* "a, b, c" as far as it fits. */
static void list_columns(char *to, size_t to_bytes, sqlite3_stmt *next)
{
	size_t used = 0;

	to[0] = '\0';
	for (int i = 0; i < sqlite3_column_count(next) && used < to_bytes; i++) {
		const char *name = sqlite3_column_name(next, i);
		int n = snprintf(to + used, to_bytes - used, "%s%s", i ? ", " : "", name ? name : "");

		used += n > 0 ? (size_t)n : 0;
	}
}

static int no_column(struct catchup_context *ctx, const struct sql_consumer *c,
	const struct statement *s, const char *name, int found, sqlite3_stmt *next)
{
	char columns[200];

	if (found > 1)
		return catchup_fail(ctx, SQLITE_SCHEMA,
			"%.200s:%d: parameter '@%.100s': 'next' has %d columns of this name; give them "
			"different ones with AS",
			c->file->path, s->line, name, found);
	list_columns(columns, sizeof(columns), next);
	return catchup_fail(ctx, SQLITE_SCHEMA,
		"%.200s:%d: parameter '@%.100s' is no column of %s, which has %s", c->file->path, s->line,
		name, c->all_columns ? "the source" : "'next'", columns);
}

/* The column a parameter means: of the same name, if need be without regard to ASCII case. */
static int find_column(struct catchup_context *ctx, const struct sql_consumer *c,
	const struct statement *s, struct parameter *parameter, sqlite3_stmt *next)
{
	const char *name = sqlite3_bind_parameter_name(s->stmt, parameter->number) + 1;
	int exact = 0, alike = 0, exact_column = -1, alike_column = -1;

	for (int i = sqlite3_column_count(next) - 1; i >= 0; i--) {
		const char *column = sqlite3_column_name(next, i);

		if (!column)
			return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
		if (strcmp(column, name) == 0) {
			exact++;
			exact_column = i;
		}
		if (strcasecmp(column, name) == 0) {
			alike++;
			alike_column = i;
		}
	}
	/* A query of the runtime's own may name the id beside all columns; the first is as good. */
	if (exact == 1 || (exact > 1 && c->all_columns))
		parameter->column = exact_column;
	else if (exact == 0 && (alike == 1 || (alike > 1 && c->all_columns)))
		parameter->column = alike_column;
	else
		return no_column(ctx, c, s, name, exact > 0 ? exact : alike, next);
	return CATCHUP_ROW_APPLIED;
}

/* SQLite prepares a statement anew by itself when the schema has changed, and then "SELECT *" may have
 * other columns; this counts how often it did. */
static int prepares_of(sqlite3_stmt *next)
{
	return sqlite3_stmt_status(next, SQLITE_STMTSTATUS_REPREPARE, 0);
}

int cu_sql_consumer_check_columns(struct catchup_context *ctx, void *state, sqlite3_stmt *next)
{
	struct sql_consumer *c = state;

	c->mapped = NULL;
	for (size_t i = 0; i < c->n_statements; i++) {
		struct statement *s = &c->statements[i];

		for (int j = 0; j < s->n_parameters; j++)
			if (find_column(ctx, c, s, &s->parameters[j], next) != CATCHUP_ROW_APPLIED)
				return CATCHUP_ROW_FAILED;
	}
	c->mapped = next;
	c->mapped_prepares = prepares_of(next);
	return CATCHUP_ROW_APPLIED;
}

static int run_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct sql_consumer *c = state;

	if (c->mapped != row || c->mapped_prepares != prepares_of(row))
		if (cu_sql_consumer_check_columns(ctx, c, row) != CATCHUP_ROW_APPLIED)
			return CATCHUP_ROW_FAILED;
	for (size_t i = 0; i < c->n_statements; i++) {
		const struct statement *s = &c->statements[i];

		for (int j = 0; j < s->n_parameters; j++) {
			const struct parameter *p = &s->parameters[j];
			int rc = bind_column(s->stmt, p->number, row, p->column);

			if (rc != SQLITE_OK)
				return bind_failed(ctx, c, s, rc);
		}
		if (run(ctx, c, s) != CATCHUP_ROW_APPLIED)
			return CATCHUP_ROW_FAILED;
	}
	return CATCHUP_ROW_APPLIED;
}

void cu_sql_consumer_functions(struct catchup_consumer *table, const struct cu_sql_file *file)
{
	table->open = open_consumer;
	table->close = close_consumer;
	table->shares = 1;
	if (file->sections[CU_SQL_SECTION_APPLY].text)
		table->range = run_range;
	else
		table->row = run_row;
}
