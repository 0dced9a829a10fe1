/* SPDX-License-Identifier: MIT */
/* What cannot be opened or may not be written, and what a path leads to. */
#include "../store_help.h"

#include "base/error.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static void refuses_what_is_no_file(void **state)
{
	struct scratch *s = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_USAGE, "No such file");
	refuse_open(CU_ROLE_READER, s->database, NULL, CATCHUP_USAGE, "No such file");
	refuse_open(CU_ROLE_WRITER, s->folder, NULL, CATCHUP_USAGE, "a folder, not a file");
	refuse_open(CU_ROLE_READER, "/dev/null", NULL, CATCHUP_USAGE, "a device, not a file");
	refuse_open(CU_ROLE_READER, ":memory:", NULL, CATCHUP_USAGE, "in memory");
	refuse_open(CU_ROLE_READER, "", NULL, CATCHUP_USAGE, "empty");
	assert_int_equal(mkfifo(s->database, 0600), 0);
	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_USAGE, "a FIFO, not a file");
	unlink(s->database);
	assert_int_equal(symlink(s->database, s->database), 0);
	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_USAGE, "symbolic links");
	unlink(s->database);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_true(strlen(s->database) < sizeof(address.sun_path));
	memcpy(address.sun_path, s->database, strlen(s->database));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_USAGE, "a socket, not a file");
	close(fd);
}

/* "0 bytes, random bytes, ... encrypted (before anything is written)" */
static void refuses_what_is_no_database_and_leaves_it_alone(void **state)
{
	struct scratch *s = *state;
	char bytes[8192], after[8192];
	FILE *f;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 2654435761u >> 7);
	scratch_write(s->database, bytes, sizeof(bytes));
	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_DATABASE, "not a database, or encrypted");
	refuse_open(CU_ROLE_READER, s->database, NULL, CATCHUP_DATABASE, "not a database, or encrypted");
	sql_run(s->results, "CREATE TABLE t(x)");
	refuse_open(CU_ROLE_WRITER, s->database, s->results, CATCHUP_DATABASE, "app.db': not a database");
	refuse_open(CU_ROLE_WRITER, s->results, s->database, CATCHUP_DATABASE, "app.db': not a database");
	f = fopen(s->database, "rb");
	assert_int_equal(fread(after, 1, sizeof(after), f), sizeof(after));
	assert_int_equal(fgetc(f), EOF);
	fclose(f);
	assert_memory_equal(bytes, after, sizeof(bytes));
}

static void refuses_future_formats(void **state)
{
	struct scratch *s = *state;
	FILE *f;

	sql_run(s->database, "CREATE TABLE t(x)");
	/* Bytes 18 and 19 of a database file are its write and read format. */
	f = fopen(s->database, "r+b");
	fseek(f, 18, SEEK_SET);
	fputc(9, f);
	fclose(f);
	refuse_open(CU_ROLE_WRITER, s->database, NULL, CATCHUP_DATABASE, "read-only");
	f = fopen(s->database, "r+b");
	fseek(f, 18, SEEK_SET);
	fputc(9, f);
	fputc(9, f);
	fclose(f);
	refuse_open(CU_ROLE_READER, s->database, NULL, CATCHUP_DATABASE, "not a database");
}

static void an_empty_file_is_an_empty_database(void **state)
{
	struct scratch *s = *state;
	struct cu_conn conn;

	scratch_write(s->database, "", 0);
	open_conn(&conn, CU_ROLE_STATUS, s->database, NULL);
	cu_conn_close(&conn);
	open_conn(&conn, CU_ROLE_READER, s->database, NULL);
	cu_conn_close(&conn);
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	cu_conn_close(&conn);
}

/* "`file:x?nolock=1` is a plain file name, never a URI";
 * "`:memory:` and the empty name are refused". */
static void names_are_never_uris(void **state)
{
	static const char *const names[] = {"a?mode=memory", "file:x?nolock=1", "50%25", "a#b", "new\nline",
		"caf\xc3\xa9", "\xff\xfe", "a b&c=d;e'\""};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct catchup_error error = {0};
		char path[512];
		struct cu_conn conn;
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", s->folder, names[i]);
		sql_run(s->database, "CREATE TABLE IF NOT EXISTS t(x)");
		open_conn(&conn, CU_ROLE_WRITER, s->database, path);
		assert_ok(cu_conn_exec(&conn, "CREATE TABLE r(x)", NULL, 0, &error));
		cu_conn_close(&conn);
		assert_int_equal(stat(path, &st), 0);
		/* As a source too. */
		open_conn(&conn, CU_ROLE_WRITER, path, s->results);
		assert_ok(cu_conn_exec(&conn, "SELECT * FROM source.r", NULL, 0, &error));
		cu_conn_close(&conn);
	}
}

static void one_file_under_two_names_is_refused(void **state)
{
	struct scratch *s = *state;

	sql_run(s->database, "CREATE TABLE t(x)");
	assert_int_equal(link(s->database, s->results), 0);
	refuse_open(CU_ROLE_WRITER, s->database, s->results, CATCHUP_CONFIG, "under another name");
}

/* Runs one look as a user who may not write, since root may write everything. Returns what the child
 * found: 0 for what was expected. */
static int as_nobody(struct scratch *s, enum cu_role role, int code, const char *text)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct catchup_error error = {0};
		struct cu_conn conn;
		int rc;

		if (setgid(65534) != 0 || setuid(65534) != 0)
			_exit(10);
		rc = try_open(&conn, role, s->database, NULL, &error);
		if (rc != code)
			_exit(11);
		if (text && !strstr(error.message, text)) {
			fprintf(stderr, "%s\n", error.message);
			_exit(12);
		}
		cu_conn_close(&conn);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void what_may_not_be_written_is_said_at_once(void **state)
{
	struct scratch *s = *state;

	if (geteuid() != 0) {
		print_message("needs root, to become another user\n");
		skip();
	}
	assert_int_equal(chmod(s->folder, 0755), 0);
	sql_run(s->database, "CREATE TABLE t(x)");
	assert_int_equal(chmod(s->database, 0444), 0);
	assert_int_equal(as_nobody(s, CU_ROLE_WRITER, CATCHUP_DATABASE,
				 "read-only, but this has to write it"), 0);
	assert_int_equal(as_nobody(s, CU_ROLE_READER, CATCHUP_OK, NULL), 0);
	/* The file may be written, its folder not, so there can be no log beside it. */
	assert_int_equal(chmod(s->database, 0666), 0);
	assert_int_equal(as_nobody(s, CU_ROLE_WRITER, CATCHUP_DATABASE, "are made in its folder"), 0);
	sql_run(s->database, "PRAGMA journal_mode=WAL");
	assert_int_equal(as_nobody(s, CU_ROLE_STATUS, CATCHUP_DATABASE, "are made in its folder"), 0);
	assert_int_equal(as_nobody(s, CU_ROLE_WRITER, CATCHUP_DATABASE, "are made in its folder"), 0);
	assert_int_equal(chmod(s->database, 0), 0);
	assert_int_equal(as_nobody(s, CU_ROLE_STATUS, CATCHUP_IO, "Permission denied"), 0);
}

static void one_that_cannot_be_switched_to_wal(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = s->database, .busy_ms = 20};
	struct cu_conn conn;
	sqlite3 *other;

	sql_run(s->database, "CREATE TABLE t(x)");
	assert_int_equal(sqlite3_open(s->database, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(cu_conn_open(&conn, &options, &error), CATCHUP_LOCKED);
	expect_text(&error, "switching to WAL mode: database is locked");
	sqlite3_close(other);
	assert_ok(cu_conn_open(&conn, &options, &error));
	cu_conn_close(&conn);
}

static void foreign_logs_beside_it(void **state)
{
	struct scratch *s = *state;
	char path[400];
	char junk[70000];

	for (size_t i = 0; i < sizeof(junk); i++)
		junk[i] = (char)(i * 2654435761u >> 9);
	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES (7)");
	for (int i = 0; i < 2; i++) {
		struct cu_conn conn;

		snprintf(path, sizeof(path), "%s-wal", s->database);
		scratch_write(path, junk, i ? 5 : sizeof(junk));
		snprintf(path, sizeof(path), "%s-shm", s->database);
		scratch_write(path, junk, i ? 5 : sizeof(junk));
		open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
		cu_conn_close(&conn);
		assert_int_equal(sql_int(s->database, "SELECT x FROM t"), 7);
	}
}

static void damaged_files_are_errors(void **state)
{
	struct scratch *s = *state;

	for (long at = 20; at < 4096; at += 61) {
		struct catchup_error error = {0};
		struct cu_conn conn;
		FILE *f;
		int rc;

		unlink(s->database);
		sql_run(s->database, "CREATE TABLE t(x); CREATE INDEX i ON t(x); CREATE VIEW v AS SELECT x FROM t");
		f = fopen(s->database, "r+b");
		fseek(f, at, SEEK_SET);
		fwrite("\xff\xff\xff\xff\xff\xff\xff\xff", 1, 8, f);
		fclose(f);
		rc = try_open(&conn, CU_ROLE_WRITER, s->database, NULL, &error);
		assert_true(rc == CATCHUP_OK || error.message[0] != '\0');
		cu_conn_close(&conn);
	}
}

static void paths_become_absolute(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	char path[6000], expect[400];
	char *out;

	sql_run(s->database, "CREATE TABLE t(x)");
	assert_ok(cu_path_resolve("results.db", s->database, &out, &error));
	assert_string_equal(out, s->results);
	free(out);
	assert_ok(cu_path_resolve("../../../../../../../../../../tmp", NULL, &out, &error));
	assert_string_equal(out, "/tmp");
	free(out);
	snprintf(path, sizeof(path), "%s/link", s->folder);
	assert_int_equal(symlink(s->database, path), 0);
	assert_ok(cu_path_resolve(path, NULL, &out, &error));
	assert_string_equal(out, s->database);
	free(out);
	snprintf(expect, sizeof(expect), "%s/dangling", s->folder);
	assert_int_equal(symlink("/nowhere/at/all", expect), 0);
	assert_int_equal(cu_path_resolve(expect, NULL, &out, &error), CATCHUP_USAGE);
	expect_text(&error, "leads to no file");
	assert_null(out);
	assert_int_equal(cu_path_resolve("/nowhere/x.db", NULL, &out, &error), CATCHUP_USAGE);
	expect_text(&error, "No such file");
	assert_int_equal(cu_path_resolve("", NULL, &out, &error), CATCHUP_USAGE);
	assert_int_equal(cu_path_resolve(NULL, NULL, &out, &error), CATCHUP_USAGE);
	assert_int_equal(cu_path_resolve(":memory:", NULL, &out, &error), CATCHUP_USAGE);
	snprintf(path, sizeof(path), "%s/missing/", s->folder);
	assert_int_equal(cu_path_resolve(path, NULL, &out, &error), CATCHUP_USAGE);
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(cu_path_resolve(path, NULL, &out, &error), CATCHUP_USAGE);
	expect_text(&error, "limit is 4095");
	path[700] = '\0';
	refuse_open(CU_ROLE_READER, path, NULL, CATCHUP_USAGE, "SQLite's limit is");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(refuses_what_is_no_file),
		SCRATCH_TEST(refuses_what_is_no_database_and_leaves_it_alone),
		SCRATCH_TEST(refuses_future_formats),
		SCRATCH_TEST(an_empty_file_is_an_empty_database),
		SCRATCH_TEST(names_are_never_uris),
		SCRATCH_TEST(one_file_under_two_names_is_refused),
		SCRATCH_TEST(what_may_not_be_written_is_said_at_once),
		SCRATCH_TEST(one_that_cannot_be_switched_to_wal),
		SCRATCH_TEST(foreign_logs_beside_it),
		SCRATCH_TEST(damaged_files_are_errors),
		SCRATCH_TEST(paths_become_absolute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
