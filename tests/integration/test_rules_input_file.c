/* SPDX-License-Identifier: MIT */
/*
 * Bad input: database files. What is no database is left alone, what cannot be written is said at the
 * start, what other processes do beside us does no harm, and a file that goes away takes no commit.
 */
#include "help.h"

#include "../skip.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

static char *slurp(const char *path, size_t *bytes)
{
	FILE *file = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	*bytes = 0;
	if (file) {
		*bytes = fread(text, 1, 1 << 20, file);
		fclose(file);
	}
	return text;
}

/*
 * Every command that takes a database refuses it by name and leaves it as it was: as wrong usage where
 * the path leads to no file, as a failure where the file is no database.
 */
static void refused(struct scene *s, const char *path, int exit_code, const char *why)
{
	char *file = scene_file(s, "copies.sql", COPIES);
	const char *const commands[][8] = {
		{"run", path, file, "--until-caught-up", "--busy-ms", "200", NULL},
		{"status", path, NULL},
		{"wait", path, "--consumer", "copies", "--until", "1", NULL},
		{"check", file, "--database", path, NULL},
	};
	struct stat before, after;
	bool regular = stat(path, &before) == 0 && S_ISREG(before.st_mode);
	size_t n_before = 0, n_after = 0;
	char *bytes_before = regular ? slurp(path, &n_before) : NULL;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		struct program p = {0};

		program_start_with(&p, commands[i]);
		program_finish(&p);
		if (p.exit_code != exit_code)
			fail_msg("%s %s: exit code %d: %s", commands[i][0], path, p.exit_code,
				p.err.text);
		help_expect(p.err.text, path);
		help_expect(p.err.text, why);
		program_free(&p);
	}
	if (regular) {
		char *bytes_after = slurp(path, &n_after);

		assert_int_equal(stat(path, &after), 0);
		assert_int_equal(before.st_size, after.st_size);
		assert_int_equal(before.st_ino, after.st_ino);
		assert_int_equal(n_before, n_after);
		assert_memory_equal(bytes_before, bytes_after, n_before);
		free(bytes_after);
		free(bytes_before);
	}
}

/* "missing, folder, FIFO, socket, device, link loop" */
static void what_is_no_file_is_refused(void **state)
{
	struct scene *s = *state;
	char *path = scene_path(s, "odd.db");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	refused(s, path, 2, "No such file");
	assert_int_equal(access(path, F_OK), -1); /* nor was it made */
	assert_int_equal(mkdir(path, 0700), 0);
	refused(s, path, 2, "folder");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused(s, path, 2, "FIFO");
	assert_int_equal(unlink(path), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	refused(s, path, 2, "socket");
	close(fd);
	assert_int_equal(unlink(path), 0);
	refused(s, "/dev/zero", 2, "device");
	assert_int_equal(symlink("odd.db", path), 0);
	refused(s, path, 2, "symbolic links");
}

/* "random bytes, future format, encrypted (before anything is written)" */
static void what_is_no_database_is_refused(void **state)
{
	struct scene *s = *state;
	char *path = scene_path(s, "odd.db");
	char bytes[8192];
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	refused(s, path, 1, "not a database, or encrypted");
	assert_int_equal(ftruncate(fd, 1), 0);
	refused(s, path, 1, "not a database: it has 1 bytes, the smallest one has 512");
	/* Whole but for a file format of the future. */
	assert_int_equal(ftruncate(fd, 0), 0);
	test_sql(path, NUMBERS);
	assert_int_equal(pwrite(fd, "\x09\x09", 2, 18), 2);
	close(fd);
	refused(s, path, 1, "odd.db");
}

/* "0 bytes": an empty database, which has no table yet */
static void an_empty_file_has_no_source(void **state)
{
	struct scene *s = *state;
	char *path = scene_file(s, "empty.db", "");
	struct program p = {0};

	assert_int_equal(program_run(&p, "run", path, scene_file(s, "copies.sql", COPIES),
				 "--until-caught-up"), 2);
	help_expect(p.err.text, "no such table");
	program_free(&p);
}

/* "read-only file, folder or mount (said at start, not at the first commit)" */
static void what_cannot_be_written_is_said_at_the_start(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *mounted = scene_path(s, "mount/app.db");
	struct program p = {0};

	if (geteuid() != 0)
		SKIP_BECAUSE("only root can become another user and mount");
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 3);
	chmod(file, 0644);
	/* The file. */
	chmod(s->folder, 0777);
	chmod(s->database, 0444);
	p.user = NOBODY;
	program_run(&p, "run", s->database, file, "--until-caught-up");
	if (p.exit_code == 126 || p.exit_code == 127)
		SKIP_BECAUSE("the program cannot be run by user %d from where it is built", NOBODY);
	assert_int_equal(p.exit_code, 1);
	help_expect(p.err.text, "read-only");
	assert_null(strstr(p.err.text, "follows"));
	program_free(&p);
	/* The folder: the log cannot be made. */
	chmod(s->database, 0666);
	chmod(s->folder, 0555);
	p.user = NOBODY;
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 1);
	help_expect(p.err.text, s->database);
	assert_null(strstr(p.err.text, "follows"));
	program_free(&p);
	chmod(s->folder, 0755);
	assert_int_equal(help_watermark(s->database, "copies"), -1);
	/* The mount. */
	if (!scene_mount(s, "size=4m"))
		SKIP_BECAUSE("nothing can be mounted here");
	test_sql(mounted, "PRAGMA journal_mode = WAL; " NUMBERS "; INSERT INTO numbers(n) VALUES(1)");
	assert_int_equal(mount("none", s->mounted, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	program_run(&p, "run", mounted, file, "--until-caught-up");
	assert_int_equal(p.exit_code, 1);
	help_expect(p.err.text, mounted);
	assert_null(strstr(p.err.text, "follows"));
	program_free(&p);
}

/* How much of a processor's time it takes the program to give up after so long. */
static long give_up_ms(struct scene *s, const char *file, const char *busy_ms)
{
	struct rusage before, after;
	struct program p = {0};

	getrusage(RUSAGE_CHILDREN, &before);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up", "--busy-ms", busy_ms),
		5);
	getrusage(RUSAGE_CHILDREN, &after);
	help_expect(p.err.text, "locked");
	program_free(&p);
	return (after.ru_utime.tv_sec - before.ru_utime.tv_sec +
		after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000 +
		(after.ru_utime.tv_usec - before.ru_utime.tv_usec +
			after.ru_stime.tv_usec - before.ru_stime.tv_usec) / 1000;
}

/* "locked for minutes (exit 5 after a deadline; no spinning)" */
static void a_lock_that_stays_ends_with_5(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	struct program p = {0};
	sqlite3 *db;
	long start_ms;
	int newest = 3;

	/* At the start, and in the middle. */
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 3);
	db = help_connect(s->database);
	help_exec(db, "BEGIN IMMEDIATE");
	start_ms = give_up_ms(s, file, "1");
	assert_true(give_up_ms(s, file, "3000") - start_ms < 1500);
	help_exec(db, "ROLLBACK");
	program_start(&p, "run", s->database, file, "--busy-ms", "1000");
	scene_until(s, s->database, "SELECT count(*) FROM sqlite_schema WHERE name = 'catchup'");
	scene_until(s, s->database, "SELECT last = 3 FROM catchup");
	/* It has something to write: unless it was quicker than the second lock. */
	do {
		help_exec(db, "INSERT INTO numbers(n) VALUES(%d); BEGIN IMMEDIATE", ++newest);
		if (help_watermark(s->database, "copies") < newest)
			break;
		help_exec(db, "ROLLBACK");
	} while (newest < 1000);
	assert_int_equal(program_finish(&p), 5);
	help_expect(p.err.text, "locked");
	program_free(&p);
	help_exec(db, "ROLLBACK");
	sqlite3_close(db);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), newest);
}

/* "not WAL and cannot be switched" */
static void a_database_that_cannot_be_switched_to_wal_is_refused(void **state)
{
	struct scene *s = *state;
	struct program p = {0};
	sqlite3 *db;

	scene_sql(s, NUMBERS);
	db = help_connect(s->database);
	help_exec(db, "BEGIN; SELECT * FROM numbers");
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "copies.sql", COPIES),
				 "--until-caught-up", "--busy-ms", "200"), 5);
	help_expect(p.err.text, "switching to WAL mode");
	program_free(&p);
	sqlite3_close(db);
	assert_string_equal(scene_text(s, "PRAGMA journal_mode"), "delete");
}

/* "reached by two names (hard link, symbolic link)" */
static void two_names_of_one_file(void **state)
{
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", COPIES);
	char *into = scene_file(s, "into.sql",
		"-- name: into\n-- source: numbers\n-- into: link.db\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS other(id INTEGER PRIMARY KEY);\n"
		"-- row\nINSERT INTO other VALUES(@id);\n");
	char *name = scene_path(s, "link.db");
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 5);
	/* A symbolic link is the file: one log, one watermark. */
	assert_int_equal(symlink("app.db", name), 0);
	assert_int_equal(program_run(&p, "run", name, file, "--until-caught-up"), 0);
	program_free(&p);
	scene_insert(s, 5);
	assert_int_equal(program_run(&p, "run", s->database, file, into, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 10);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM other"), 10);
	assert_int_equal(scene_number(s, "SELECT min(last) FROM catchup"), 10);
	/* A hard link has another log: one file must not be written through both. */
	assert_int_equal(unlink(name), 0);
	assert_int_equal(link(s->database, name), 0);
	scene_insert(s, 5);
	program_run(&p, "run", s->database, into, "--until-caught-up");
	help_expect(p.err.text, "app.db: the file has 2 names (hard links), and each has a write-ahead log");
	if (p.exit_code == 0) { /* it has seen that both are one */
		assert_int_equal(scene_number(s, "SELECT count(*) FROM other"), 15);
	} else {
		help_expect(p.err.text, "link.db");
		assert_int_equal(scene_number(s, "SELECT count(*) FROM other"), 10);
	}
	program_free(&p);
	assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
}

/* "UTF-16, other page sizes, auto-vacuum (all work)" */
static void databases_of_every_shape_work(void **state)
{
	static const char *const shapes[] = {"encoding = 'UTF-16le'", "encoding = 'UTF-16be'",
		"page_size = 512", "page_size = 65536", "auto_vacuum = FULL",
		"auto_vacuum = INCREMENTAL", "secure_delete = ON"};
	static const char file[] =
		"-- name: texts\n-- source: texts\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS copy(id INTEGER PRIMARY KEY, t);\n"
		"-- row\nINSERT INTO copy VALUES(@id, @t || '!');\n";
	struct scene *s = *state;
	char *path = scene_file(s, "texts.sql", file);
	char *results = scene_path(s, "results.db");
	char *into;

	assert_true(asprintf(&into, "%s:into=results.db,name=into", path) > 0);
	scene_own(s, into);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct program p = {0};

		scene_sql(s, "PRAGMA %s; CREATE TABLE texts(id INTEGER PRIMARY KEY AUTOINCREMENT, t);"
			     "INSERT INTO texts(t) VALUES('a\u00e4\U0001f600'), (''), (zeroblob(100000))",
			shapes[i]);
		program_run(&p, "run", s->database, path, into, "--until-caught-up");
		if (p.exit_code != 0)
			fail_msg("%s: %s", shapes[i], p.err.text);
		program_free(&p);
		assert_string_equal(scene_text(s, "SELECT t FROM copy WHERE id = 1"), "a\u00e4\U0001f600!");
		assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"), 3);
		assert_int_equal(test_number(results, "SELECT count(*) FROM copy"), 3);
		assert_int_equal(unlink(s->database), 0);
		assert_int_equal(unlink(results), 0);
	}
}

/* "SQLite older than 3.51.3 (warning and the safe checkpoint mode)" */
static void an_old_sqlite_is_warned_about_once(void **state)
{
	struct scene *s = *state;
	struct program p = {0};
	char *warning;

	scene_sql(s, NUMBERS);
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "copies.sql", COPIES),
				 "--until-caught-up"), 0);
	warning = strstr(p.err.text, "can corrupt a database when two connections write and checkpoint");
	assert_int_equal(warning != NULL, catchup_sqlite_has_wal_reset_bug());
	assert_true(!warning || !strstr(warning + 1, "can corrupt a database"));
	help_expect(p.err.text, catchup_sqlite_version());
	program_free(&p);
}

/* "another process checkpointing, backing up, vacuuming, holding a read for an hour" */
static void another_process_at_work_on_the_file_does_no_harm(void **state)
{
	struct scene *s = *state;
	char *backup = scene_path(s, "backup.db");
	struct program p = {0};
	sqlite3 *db, *reader, *to;

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 1000);
	program_start(&p, "run", s->database, scene_file(s, "copies.sql", COPIES), "--batch-rows", "20");
	program_expect_err(&p, "follows 'numbers'");
	/* What the backup must hold begins with the first commit. */
	scene_until(s, s->database, "SELECT last > 0 FROM catchup");
	db = help_connect(s->database);
	reader = help_connect(s->database);
	help_exec(reader, "BEGIN; SELECT count(*) FROM numbers");
	for (int i = 0; i < 30; i++) {
		scene_insert(s, 100);
		switch (i % 5) {
		case 0:
			sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
			break;
		case 1: {
			sqlite3_backup *b;

			assert_int_equal(sqlite3_open(backup, &to), SQLITE_OK);
			b = sqlite3_backup_init(to, "main", db, "main");
			assert_non_null(b);
			while (sqlite3_backup_step(b, 50) == SQLITE_OK)
				continue;
			assert_int_equal(sqlite3_backup_finish(b), SQLITE_OK);
			sqlite3_close(to);
			break;
		}
		case 2:
			help_exec(db, "VACUUM");
			break;
		case 3:
			help_exec(db, "CREATE TABLE extra%d(x); DROP TABLE extra%d", i, i);
			break;
		case 4:
			help_exec(db, "ANALYZE");
			break;
		}
	}
	/* With the read still held. */
	scene_until(s, s->database, "SELECT last = 4000 FROM catchup");
	help_exec(reader, "COMMIT");
	assert_int_equal(sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
		SQLITE_OK);
	sqlite3_close(reader);
	sqlite3_close(db);
	program_signal(&p, SIGTERM);
	assert_int_equal(program_finish(&p), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT count(*) FROM (SELECT * FROM numbers EXCEPT SELECT *"
					 " FROM copy)"), 0);
	assert_string_equal(scene_text(s, "PRAGMA integrity_check"), "ok");
	/* The backup is whole in itself: results and watermark of one moment. */
	assert_int_equal(test_number(backup, "SELECT (SELECT count(*) FROM copy) = last FROM catchup"), 1);
}

/* "hostile schema (views, triggers, generated columns calling functions)" */
static void a_hostile_schema_calls_and_writes_nothing(void **state)
{
	static const struct {
		const char *schema, *message;
	} cases[] = {
		{"CREATE TABLE copy(id, n);"
		 "CREATE TRIGGER t AFTER INSERT ON copy BEGIN UPDATE catchup SET last = 0; END",
			"'catchup'"},
		{"CREATE TABLE copy(id, n);"
		 "CREATE TRIGGER t AFTER INSERT ON copy BEGIN DELETE FROM numbers; END", "the source"},
		{"CREATE TABLE copy(id, n);"
		 "CREATE TRIGGER t AFTER INSERT ON copy BEGIN SELECT load_extension('x'); END",
			"load_extension"},
		{"CREATE VIEW copy(id, n) AS SELECT 1, 2;"
		 "CREATE TRIGGER t INSTEAD OF INSERT ON copy BEGIN DELETE FROM catchup_state; END",
			"'catchup_state'"},
	};
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql",
		"-- name: copies\n-- source: numbers\n-- row\nINSERT INTO copy VALUES(@id, @n);\n");

	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS ";"
		     "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''), last INTEGER"
		     " NOT NULL CHECK(last>=0)) WITHOUT ROWID; CREATE TABLE catchup_state(x)");
	scene_sql(s, "DROP TABLE catchup_state");
	scene_insert(s, 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct program p = {0};

		scene_sql(s, "DROP TRIGGER IF EXISTS t; PRAGMA writable_schema = OFF");
		scene_sql(s, i == 3 ? "DROP TABLE copy" : "DROP TABLE IF EXISTS copy");
		scene_sql(s, "%s", cases[i].schema);
		assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 2);
		help_expect(p.err.text, cases[i].message);
		program_free(&p);
		assert_int_equal(scene_number(s, "SELECT count(*) FROM numbers"), 3);
		assert_true(help_watermark(s->database, "copies") <= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(what_is_no_file_is_refused),
		SCENE_TEST(what_is_no_database_is_refused),
		SCENE_TEST(an_empty_file_has_no_source),
		SCENE_TEST(what_cannot_be_written_is_said_at_the_start),
		SCENE_TEST(a_lock_that_stays_ends_with_5),
		SCENE_TEST(a_database_that_cannot_be_switched_to_wal_is_refused),
		SCENE_TEST(two_names_of_one_file),
		SCENE_TEST(databases_of_every_shape_work),
		SCENE_TEST(an_old_sqlite_is_warned_about_once),
		SCENE_TEST(another_process_at_work_on_the_file_does_no_harm),
		SCENE_TEST(a_hostile_schema_calls_and_writes_nothing),
	};

	return cmocka_run_group_tests_name("rules_input_file", tests, NULL, NULL);
}
