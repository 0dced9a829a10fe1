/* SPDX-License-Identifier: MIT */
#include "help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

int64_t help_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void help_pause(void)
{
	struct timespec pause = {.tv_nsec = 1000000};

	nanosleep(&pause, NULL);
}

/* ---- the scene ------------------------------------------------------------------------------ */

int scene_set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->folder = test_folder_make();
	s->database = test_path(s->folder, "app.db");
	s->log = strdup("");
	pthread_mutex_init(&s->mu, NULL);
	*state = s;
	return 0;
}

int scene_tear_down(void **state)
{
	struct scene *s = *state;

	catchup_close(s->runtime);
	if (s->mounted)
		umount2(s->mounted, MNT_DETACH);
	while (s->n_owned > 0)
		free(s->owned[--s->n_owned]);
	free(s->database);
	free(s->log);
	test_folder_remove(s->folder);
	pthread_mutex_destroy(&s->mu);
	free(s);
	return 0;
}

char *scene_own(struct scene *s, char *text)
{
	assert_non_null(text);
	assert_true(s->n_owned < HELP_OWNED_MAX);
	s->owned[s->n_owned++] = text;
	return text;
}

char *scene_path(struct scene *s, const char *name)
{
	return scene_own(s, test_path(s->folder, name));
}

char *scene_file(struct scene *s, const char *name, const char *text)
{
	char *path = scene_path(s, name);

	test_write_file(path, text);
	return path;
}

bool scene_mount(struct scene *s, const char *options)
{
	char *path = scene_path(s, "mount");

	assert_int_equal(mkdir(path, 0777), 0);
	if (mount("none", path, "tmpfs", 0, options) != 0)
		return false;
	s->mounted = path;
	return true;
}

/* ---- SQL ------------------------------------------------------------------------------------ */

#define FORMAT(sql, fmt)                                                                           \
	do {                                                                                       \
		va_list ap_;                                                                       \
		va_start(ap_, fmt);                                                                \
		assert_true(vasprintf(&(sql), (fmt), ap_) >= 0);                                   \
		va_end(ap_);                                                                       \
	} while (0)

sqlite3 *help_connect(const char *path)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	return db;
}

static void exec(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
}

void help_exec(sqlite3 *db, const char *fmt, ...)
{
	char *sql;

	FORMAT(sql, fmt);
	exec(db, sql);
	free(sql);
}

void scene_sql(struct scene *s, const char *fmt, ...)
{
	sqlite3 *db = help_connect(s->database);
	char *sql;

	FORMAT(sql, fmt);
	exec(db, sql);
	free(sql);
	sqlite3_close(db);
}

void scene_insert(struct scene *s, int rows)
{
	scene_sql(s, "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT %d)"
		     " INSERT INTO numbers(n) SELECT i FROM c", rows);
}

void scene_catch_up(struct scene *s, const char *consumer)
{
	struct program p = {.folder = s->folder};

	if (program_run(&p, "run", s->database, consumer, "--until-caught-up") != 0)
		fail_msg("%s: exit code %d: %s", consumer, p.exit_code, p.err.text);
	program_free(&p);
}

/* The first column of the first row; NULL without one. The caller frees it. */
static char *ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *stmt;
	char *text = NULL;
	int rc;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		const char *found = (const char *)sqlite3_column_text(stmt, 0);

		text = strdup(found ? found : "");
	} else if (rc != SQLITE_DONE) {
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	}
	sqlite3_finalize(stmt);
	return text;
}

static char *ask_file(const char *path, const char *sql)
{
	sqlite3 *db = help_connect(path);
	char *text = ask(db, sql);

	sqlite3_close(db);
	return text;
}

char *scene_text(struct scene *s, const char *fmt, ...)
{
	char *sql, *text;

	FORMAT(sql, fmt);
	text = ask_file(s->database, sql);
	if (!text)
		fail_msg("%s: no row", sql);
	free(sql);
	return scene_own(s, text);
}

long long scene_number(struct scene *s, const char *fmt, ...)
{
	char *sql, *text;
	long long number;

	FORMAT(sql, fmt);
	text = ask_file(s->database, sql);
	if (!text)
		fail_msg("%s: no row", sql);
	number = strtoll(text, NULL, 10);
	free(sql);
	free(text);
	return number;
}

long long help_watermark(const char *database, const char *consumer)
{
	char *sql, *there, *text = NULL;
	long long number;

	assert_true(asprintf(&sql, "SELECT last FROM catchup WHERE name = '%s'", consumer) > 0);
	there = ask_file(database, "SELECT 1 FROM sqlite_schema WHERE name = 'catchup'");
	if (there)
		text = ask_file(database, sql);
	number = text ? strtoll(text, NULL, 10) : -1;
	free(there);
	free(text);
	free(sql);
	return number;
}

void scene_until(struct scene *s, const char *database, const char *fmt, ...)
{
	int64_t deadline_ms = help_now_ms() + PATIENCE_MS;
	sqlite3 *db = help_connect(database);
	bool found = false;
	char *sql;

	FORMAT(sql, fmt);
	while (!found) {
		char *text = ask(db, sql);

		found = text && strcmp(text, "") != 0 && strcmp(text, "0") != 0;
		free(text);
		if (!found && help_now_ms() > deadline_ms)
			fail_msg("%s did not become true in %d s; log: %s", sql, PATIENCE_S,
				s->log);
		if (!found)
			help_pause();
	}
	free(sql);
	sqlite3_close(db);
}

/* ---- a runtime in this process -------------------------------------------------------------- */

static void on_log(void *context, enum catchup_log_level level, const char *subject,
	const char *message)
{
	struct scene *s = context;
	char *grown;
	size_t n;

	pthread_mutex_lock(&s->mu);
	n = strlen(subject) + strlen(message) + 32;
	grown = realloc(s->log, s->log_used + n);
	if (grown) {
		s->log = grown;
		s->log_used += (size_t)snprintf(
			s->log + s->log_used, n, "[%d] %s: %s\n", (int)level, subject, message);
	}
	pthread_mutex_unlock(&s->mu);
}

struct catchup *scene_open(struct scene *s, const struct catchup_options *options)
{
	struct catchup_options o = options ? *options : (struct catchup_options){0};
	struct catchup_error error;

	assert_null(s->runtime);
	o.size = sizeof(o);
	if (!o.database)
		o.database = s->database;
	o.log = on_log;
	o.log_context = s;
	if (o.log_level == CATCHUP_LOG_ERROR)
		o.log_level = CATCHUP_LOG_INFO;
	if (catchup_open(&o, &s->runtime, &error) != CATCHUP_OK)
		fail_msg("catchup_open: %s", error.message);
	return s->runtime;
}

void scene_add(struct scene *s, const char *consumer)
{
	struct catchup_error error;

	if (catchup_add(s->runtime, consumer, NULL, &error) != CATCHUP_OK)
		fail_msg("catchup_add: %s", error.message);
}

void scene_add_table(struct scene *s, const struct catchup_consumer *table)
{
	struct catchup_error error;

	if (catchup_add_table(s->runtime, table, NULL, &error) != CATCHUP_OK)
		fail_msg("catchup_add_table: %s", error.message);
}

void scene_start(struct scene *s)
{
	struct catchup_error error;

	if (catchup_start(s->runtime, &error) != CATCHUP_OK)
		fail_msg("catchup_start: %s", error.message);
}

void scene_wait(struct scene *s)
{
	struct catchup_error error;

	if (catchup_wait(s->runtime, PATIENCE_MS, &error) != CATCHUP_OK)
		fail_msg("catchup_wait: %s; log: %s", error.message, s->log);
}

int scene_close(struct scene *s, struct catchup_error *error)
{
	int rc = catchup_stop(s->runtime, error);

	catchup_close(s->runtime);
	s->runtime = NULL;
	return rc;
}

void scene_run(struct scene *s, const struct catchup_options *options, const char *consumer)
{
	struct catchup_error error;

	scene_open(s, options);
	scene_add(s, consumer);
	scene_start(s);
	scene_wait(s);
	if (scene_close(s, &error) != CATCHUP_OK)
		fail_msg("catchup_stop: %s", error.message);
}

bool scene_logged(struct scene *s, const char *text)
{
	bool found;

	pthread_mutex_lock(&s->mu);
	found = strstr(s->log, text) != NULL;
	pthread_mutex_unlock(&s->mu);
	return found;
}

void scene_expect_log(struct scene *s, const char *text)
{
	if (!scene_logged(s, text))
		fail_msg("'%s' was not logged: %s", text, s->log);
}

void help_expect(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in: %s", part, text);
}
