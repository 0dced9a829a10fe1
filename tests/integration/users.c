/* SPDX-License-Identifier: MIT */
#include "users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static const char schema[] =
	"PRAGMA journal_mode = WAL;"
	"CREATE TABLE users(id INTEGER PRIMARY KEY, name TEXT);"
	"CREATE TABLE user_changes(id INTEGER PRIMARY KEY AUTOINCREMENT, user INTEGER NOT NULL);"
	"CREATE TRIGGER made AFTER INSERT ON users BEGIN"
	" INSERT INTO user_changes(user) VALUES (new.id); END;"
	"CREATE TRIGGER renamed AFTER UPDATE ON users BEGIN"
	" INSERT INTO user_changes(user) VALUES (new.id); END;"
	"CREATE TRIGGER gone AFTER DELETE ON users BEGIN"
	" INSERT INTO user_changes(user) VALUES (old.id); END;";

int users_set_up(void **state)
{
	struct users *u = calloc(1, sizeof(*u));
	const char *seed = getenv("CATCHUP_TEST_SEED");

	assert_non_null(u);
	u->random = seed ? strtoull(seed, NULL, 10) * 2 + 1 : 7;
	u->folder = test_folder_make();
	u->database = test_path(u->folder, "app.db");
	u->log = test_path(u->folder, "log");
	assert_true(asprintf(&u->writer, "changelog:" USERS_WRITER_OPTIONS ",path=%s", u->log) > 0);
	assert_int_equal(sqlite3_open(u->database, &u->db), SQLITE_OK);
	sqlite3_busy_timeout(u->db, PATIENCE_MS);
	users_sql(u, "%s", schema);
	*state = u;
	return 0;
}

int users_tear_down(void **state)
{
	struct users *u = *state;

	sqlite3_close(u->db);
	test_folder_remove(u->folder);
	free(u->database);
	free(u->log);
	free(u->writer);
	free(u);
	return 0;
}

void users_rotate(struct users *u, int keep)
{
	free(u->writer);
	assert_true(asprintf(&u->writer,
			    "changelog:" USERS_WRITER_OPTIONS
			    ",path=%s,rotate-bytes=4096,keep=%d", u->log, keep) > 0);
}

unsigned users_random(struct users *u, unsigned n)
{
	u->random ^= u->random << 13;
	u->random ^= u->random >> 7;
	u->random ^= u->random << 17;
	return (unsigned)((u->random >> 11) % n);
}

/* ---- SQL ---------------------------------------------------------------------------------- */

void users_sql(struct users *u, const char *fmt, ...)
{
	char *message = NULL;
	va_list args;
	char *sql;

	va_start(args, fmt);
	sql = sqlite3_vmprintf(fmt, args);
	va_end(args);
	if (sqlite3_exec(u->db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_free(sql);
}

long long users_number(struct users *u, const char *fmt, ...)
{
	sqlite3_stmt *stmt;
	long long number;
	va_list args;
	char *sql;

	va_start(args, fmt);
	sql = sqlite3_vmprintf(fmt, args);
	va_end(args);
	if (sqlite3_prepare_v2(u->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(u->db));
	if (sqlite3_step(stmt) != SQLITE_ROW)
		fail_msg("%s: no row: %s", sql, sqlite3_errmsg(u->db));
	number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_free(sql);
	return number;
}

static void insert(struct users *u)
{
	u->made++;
	users_sql(u, "INSERT INTO users(id, name) VALUES (%d, 'user %d')", u->made, u->made);
}

/* Exactly one row changes. */
static void change(struct users *u)
{
	int id = (int)users_random(u, (unsigned)u->made + 1);

	switch (users_random(u, 4)) {
	case 0:
		users_sql(u, "UPDATE users SET name = name || '%c' WHERE id = %d",
			'a' + (int)users_random(u, 26), id);
		break;
	case 1:
		users_sql(u, "DELETE FROM users WHERE id = %d", id);
		break;
	default:
		insert(u);
		return;
	}
	if (sqlite3_changes(u->db) == 0)
		insert(u);
}

void users_work(struct users *u, int changes)
{
	while (changes > 0) {
		int n = 1 + (int)users_random(u, 10);

		users_sql(u, "BEGIN IMMEDIATE");
		for (; n > 0 && changes > 0; n--, changes--)
			change(u);
		users_sql(u, "COMMIT");
	}
}

/* ---- what must be ------------------------------------------------------------------------- */

static bool has_table(struct users *u, const char *name)
{
	return users_number(u, "SELECT count(*) FROM sqlite_schema WHERE name = '%s'", name) != 0;
}

long long users_stale(struct users *u)
{
	if (!has_table(u, "user_names"))
		return users_number(u, "SELECT count(*) FROM users");
	return users_number(u,
		"SELECT (SELECT count(*) FROM (SELECT id, name FROM users"
		" EXCEPT SELECT id, name FROM user_names)) +"
		" (SELECT count(*) FROM (SELECT id FROM user_names EXCEPT SELECT id FROM users))");
}

long long users_watermark(struct users *u, const char *consumer)
{
	if (!has_table(u, "catchup"))
		return 0;
	return users_number(u,
		"SELECT coalesce((SELECT last FROM catchup WHERE name = '%s'), 0)", consumer);
}

void users_wait(struct users *u)
{
	const struct timespec pause = {0, 2000000};
	time_t end = time(NULL) + PATIENCE_S;

	while (users_watermark(u, "changelog") <
			users_number(u, "SELECT coalesce(max(id), 0) FROM user_changes") ||
		users_stale(u) != 0) {
		if (time(NULL) > end)
			fail_msg("%lld names are stale, the writer is at %lld, the cache at %lld",
				users_stale(u), users_watermark(u, "changelog"),
				users_watermark(u, "user_names"));
		nanosleep(&pause, NULL);
	}
}

char *users_read(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t n = 0;

	if (!file)
		return NULL;
	if (getdelim(&text, &n, '\0', file) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(file);
	return text;
}

int users_count(const char *text, const char *part)
{
	int n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

long long users_newest(const char *path)
{
	char *text = users_read(path);
	long long newest = 0, sequence;

	for (char *line = text; line && *line; line = strchr(line, '\n') + 1) {
		if (sscanf(line, "{\"seq\":%lld,", &sequence) == 1 && strchr(line, '\n'))
			newest = sequence;
		if (!strchr(line, '\n'))
			break;
	}
	free(text);
	return newest;
}

void users_catch_up(struct users *u, struct program *p)
{
	if (program_run(p, "run", u->database, u->writer, "user_names", "--changelog", u->log,
		    "--until-caught-up", "--progress", "never") != 0)
		fail_msg("exit code %d: %s", p->exit_code, p->err.text);
	if (users_stale(u) != 0)
		fail_msg("%lld names are stale: %s", users_stale(u), p->err.text);
	assert_int_equal(users_watermark(u, "changelog"),
		users_number(u, "SELECT coalesce(max(id), 0) FROM user_changes"));
	if (users_watermark(u, "user_names") != users_newest(u->log))
		fail_msg("the watermark is %lld, the newest sequence %lld: %s",
			users_watermark(u, "user_names"), users_newest(u->log), p->err.text);
}

/* ---- the program, and the file under its hands ------------------------------------------------ */

void users_expect_exit(struct program *p, int code)
{
	if (p->exit_code != code)
		fail_msg("exit code %d instead of %d: %s", p->exit_code, code, p->err.text);
}

void users_expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in: %s", part, text);
}

void users_expect_not(const char *text, const char *part)
{
	if (strstr(text, part))
		fail_msg("'%s' is in: %s", part, text);
}

void users_go_on(struct users *u)
{
	struct program p = {0};

	users_catch_up(u, &p);
	program_free(&p);
}

void users_write_on(struct users *u)
{
	struct program p = {0};

	program_run(&p, "run", u->database, u->writer, "--until-caught-up", "--progress", "never");
	users_expect_exit(&p, 0);
	program_free(&p);
}

void users_append(struct users *u, long long sequence, int user)
{
	char line[128];

	snprintf(line, sizeof(line),
		"{\"seq\":%lld,\"family\":\"app\",\"table\":\"users\",\"key\":[{\"name\":\"user\","
		"\"type\":\"int\",\"value\":%d}]}\n", sequence, user);
	test_append_file(u->log, line);
}

void users_remove_line(struct users *u, int sequence)
{
	char *text = users_read(u->log);
	char mark[32];
	char *from, *to;

	snprintf(mark, sizeof(mark), "{\"seq\":%d,", sequence);
	from = strstr(text, mark);
	assert_non_null(from);
	to = strchr(from, '\n') + 1;
	memmove(from, to, strlen(to) + 1);
	test_write_file(u->log, text);
	free(text);
}
