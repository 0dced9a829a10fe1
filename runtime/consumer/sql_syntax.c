/* SPDX-License-Identifier: MIT */
#include "consumer/sql_syntax.h"
#include "base/error.h"

#include <catchup/consumer.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define WORD LETTERS "0123456789_$"

static bool word_is(const char *sql, size_t bytes, const char *word)
{
	return bytes == strlen(word) && strncasecmp(sql, word, bytes) == 0;
}

/* Statements whose whole use is to break the transaction or the connection. The connection refuses
 * most of them too; here the message can say which word of the file it is. */
const char *cu_sql_syntax_refused(const char *sql)
{
	static const char *const refused[] = {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT",
		"RELEASE", "ATTACH", "DETACH", "PRAGMA", "VACUUM"};
	size_t bytes = strspn(sql, WORD);

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (word_is(sql, bytes, refused[i]))
			return refused[i];
	return NULL;
}

/* ---- where statements end ----------------------------------------------------------------- */

/* Behind the string, quoted name or comment that begins here; sql itself when none does. */
static const char *skip_quoted(const char *sql)
{
	char close = *sql == '[' ? ']' : *sql;
	const char *end;

	if (sql[0] == '-' && sql[1] == '-')
		return sql + strcspn(sql, "\n");
	if (sql[0] == '/' && sql[1] == '*') {
		end = strstr(sql + 2, "*/");
		return end ? end + 2 : sql + strlen(sql);
	}
	if (!*sql || !strchr("'\"`[", *sql))
		return sql;
	/* A doubled quote inside is read as two strings, which comes to the same end. */
	end = strchr(sql + 1, close);
	return end ? end + 1 : sql + strlen(sql);
}

/* Skips one word if it is there, and what is blank behind it. */
static const char *skip_word(const char *sql, const char *word)
{
	size_t bytes = strspn(sql, WORD);

	return word_is(sql, bytes, word) ? cu_sql_file_skip_blank(sql + bytes) : sql;
}

static bool is_trigger(const char *sql)
{
	const char *at = skip_word(sql, "CREATE");

	if (at == sql)
		return false;
	at = skip_word(skip_word(at, "TEMP"), "TEMPORARY");
	return word_is(at, strspn(at, WORD), "TRIGGER");
}

const char *cu_sql_syntax_end(const char *sql)
{
	bool trigger = is_trigger(sql);
	/* A trigger ends with "; END ;", and so not with the END of a CASE. */
	enum { OTHER, SEMICOLON, SEMICOLON_END } seen = OTHER;

	while (*sql) {
		const char *behind = skip_quoted(sql);
		size_t bytes = strspn(sql, WORD);

		if (behind != sql) {
			if (*sql != '-' && *sql != '/')
				seen = OTHER;
			sql = behind;
		} else if (bytes > 0) {
			seen = seen == SEMICOLON && word_is(sql, bytes, "END") ? SEMICOLON_END : OTHER;
			sql += bytes;
		} else if (*sql == ';') {
			sql++;
			if (!trigger || seen == SEMICOLON_END)
				return sql;
			seen = SEMICOLON;
		} else {
			if (!strchr(" \t\r\n\f", *sql))
				seen = OTHER;
			sql++;
		}
	}
	return sql;
}

/* ---- reading them ------------------------------------------------------------------------- */

/* SQLite has one code for all that is wrong with a statement; only its words tell what is wrong in any
 * database from what is only missing in this empty one. */
static bool is_syntax_error(const char *message)
{
	return strstr(message, "syntax error") || strncmp(message, "unrecognized token", 18) == 0 ||
		strcmp(message, "incomplete input") == 0;
}

static int check_statement(const struct cu_sql_file *file, const struct cu_sql_text *section,
	sqlite3 *db, const char *sql, const char *end, struct catchup_error *error)
{
	const char *refused = cu_sql_syntax_refused(sql), *at = sql;
	sqlite3_stmt *stmt = NULL;
	int rc;

	if (refused)
		return cu_error_set(error, CATCHUP_CONFIG, SQLITE_AUTH,
			"%.200s:%d: %s is refused; the runtime owns the transaction and the connection",
			file->path, cu_sql_file_line(section, sql), refused);
	rc = sqlite3_prepare_v2(db, sql, (int)(end - sql), &stmt, NULL);
	sqlite3_finalize(stmt);
	if (rc == SQLITE_NOMEM)
		return cu_error_nomem(error);
	if (rc != SQLITE_ERROR || !is_syntax_error(sqlite3_errmsg(db)))
		return CATCHUP_OK;
#if SQLITE_VERSION_NUMBER >= 3038000
	if (sqlite3_error_offset(db) >= 0)
		at += sqlite3_error_offset(db);
#endif
	return cu_error_set(error, CATCHUP_CONFIG, rc, "%.200s:%d: %s", file->path,
		cu_sql_file_line(section, at), sqlite3_errmsg(db));
}

static int check_section(const struct cu_sql_file *file, const struct cu_sql_text *section,
	sqlite3 *db, struct catchup_error *error)
{
	const char *sql = section->text ? cu_sql_file_skip_blank(section->text) : "";

	while (*sql) {
		const char *end = cu_sql_syntax_end(sql);
		int code = check_statement(file, section, db, sql, end, error);

		if (code != CATCHUP_OK)
			return code;
		sql = cu_sql_file_skip_blank(end);
	}
	return CATCHUP_OK;
}

/* Reading statements must not do anything, whatever they say. */
static int allow_reading(void *context, int action, const char *a, const char *b, const char *c,
	const char *d)
{
	(void)context, (void)a, (void)b, (void)c, (void)d;
	return action == SQLITE_PRAGMA || action == SQLITE_ATTACH ? SQLITE_DENY : SQLITE_OK;
}

int cu_sql_syntax_check(const struct cu_sql_file *file, struct catchup_error *error)
{
	sqlite3 *db = NULL;
	int code = CATCHUP_OK;
	int rc = sqlite3_open_v2(":memory:", &db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX,
		NULL);

	if (rc == SQLITE_OK)
		sqlite3_set_authorizer(db, allow_reading, NULL);
	else
		code = rc == SQLITE_NOMEM
			? cu_error_nomem(error)
			: cu_error_set(error, CATCHUP_INTERNAL, rc,
				  "%.200s: cannot open a database in memory to read its SQL: %s",
				  file->path, sqlite3_errstr(rc));
	for (int i = 0; code == CATCHUP_OK && i < CU_SQL_SECTIONS; i++)
		code = check_section(file, &file->sections[i], db, error);
	sqlite3_close(db);
	return code;
}
