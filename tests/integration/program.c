/* SPDX-License-Identifier: MIT */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

extern char **environ;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* In the child, from fork to exec. */
static void limit(int what, unsigned value)
{
	const struct rlimit both = {value, value};

	if (value && setrlimit(what, &both) != 0)
		_exit(126);
}

static void become(const struct program *p, int out, int err, const char *const *arguments)
{
	static const int defaults[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	const char *argv[PROGRAM_ARGUMENTS_MAX + 2] = {0};
	size_t n = 0;

	for (const char *const *under = p->under; under && *under; under++)
		argv[n++] = *under;
	argv[n++] = CATCHUP_PROGRAM;
	for (; *arguments && n <= PROGRAM_ARGUMENTS_MAX; arguments++)
		argv[n++] = *arguments;
	for (const char *const *set = p->set; set && *set; set++)
		if (putenv((char *)(uintptr_t)*set) != 0)
			_exit(126);
	if (p->folder && chdir(p->folder) != 0)
		_exit(126);
	if (p->output_path)
		out = open(p->output_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (dup2(open("/dev/null", O_RDONLY), 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	/* Whoever started the tests may ignore some, as a shell does for what runs in the background. */
	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		signal(defaults[i], SIG_DFL);
	limit(RLIMIT_NOFILE, p->files);
	limit(RLIMIT_FSIZE, p->file_bytes);
	limit(RLIMIT_AS, p->address_bytes);
	if (p->user && (setgroups(0, NULL) != 0 || setgid(p->user) != 0 || setuid(p->user) != 0))
		_exit(126);
	if (p->ignore_hangup)
		signal(SIGHUP, SIG_IGN);
	closefrom(p->closed ? 0 : 3);
	/* A test that has failed leaves nobody behind; its first thread starts the programs. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		_exit(126);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

void program_start_with(struct program *p, const char *const *arguments)
{
	int out[2], err[2];

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0)
		become(p, out[1], err[1], arguments);
	close(out[1]);
	close(err[1]);
	p->out = (struct program_output){.fd = out[0], .text = strdup("")};
	p->err = (struct program_output){.fd = err[0], .text = strdup("")};
}

static void read_some(struct program_output *output)
{
	char bytes[65536];
	ssize_t n = read(output->fd, bytes, sizeof(bytes));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		close(output->fd);
		output->fd = -1;
		return;
	}
	output->text = realloc(output->text, output->used + (size_t)n + 1);
	assert_non_null(output->text);
	memcpy(output->text + output->used, bytes, (size_t)n);
	output->used += (size_t)n;
	output->text[output->used] = '\0';
}

static void out_of_time(struct program *p, const char *what)
{
	char path[64], words[1024] = "";
	FILE *file;
	size_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)p->pid);
	file = fopen(path, "re");
	if (file) {
		n = fread(words, 1, sizeof(words) - 1, file);
		fclose(file);
	}
	for (size_t i = 0; i < n; i++)
		if (words[i] == '\0')
			words[i] = ' ';
	kill(p->pid, SIGKILL);
	fail_msg("%s did not come in %d s: %s\nstandard output: %s\nstandard error: %s", what,
		PATIENCE_S, words, p->out.text, p->err.text);
}

/* Reads what comes next. Returns false when both outputs are at their ends. */
static bool read_next(struct program *p, int64_t deadline_ms, const char *what)
{
	struct pollfd fds[2] = {{.fd = p->out.fd, .events = POLLIN}, {.fd = p->err.fd, .events = POLLIN}};
	int64_t left = deadline_ms - now_ms();

	if (p->out.fd < 0 && p->err.fd < 0)
		return false;
	if (left <= 0 || poll(fds, 2, (int)left) == 0)
		out_of_time(p, what);
	if (fds[0].revents)
		read_some(&p->out);
	if (fds[1].revents)
		read_some(&p->err);
	return true;
}

static void expect(struct program *p, const struct program_output *output, const char *text)
{
	int64_t deadline_ms = now_ms() + PATIENCE_MS;

	while (!strstr(output->text, text))
		if (!read_next(p, deadline_ms, text))
			fail_msg("the program ended without '%s'; standard output: %s\n"
				 "standard error: %s", text, p->out.text, p->err.text);
}

void program_expect_out(struct program *p, const char *text)
{
	expect(p, &p->out, text);
}

void program_expect_err(struct program *p, const char *text)
{
	expect(p, &p->err, text);
}

bool program_says(struct program *p, const char *text)
{
	int64_t deadline_ms = now_ms() + PATIENCE_MS;

	while (!strstr(p->err.text, text))
		if (!read_next(p, deadline_ms, text))
			return false;
	return true;
}

bool program_has_said(struct program *p, const char *text)
{
	struct pollfd fds[2] = {{.fd = p->out.fd, .events = POLLIN}, {.fd = p->err.fd, .events = POLLIN}};

	while (poll(fds, 2, 0) > 0) {
		if (fds[0].revents)
			read_some(&p->out);
		if (fds[1].revents)
			read_some(&p->err);
		fds[0].fd = p->out.fd;
		fds[1].fd = p->err.fd;
	}
	return strstr(p->err.text, text) != NULL;
}

void program_forget(struct program *p)
{
	p->out.used = p->err.used = 0;
	p->out.text[0] = p->err.text[0] = '\0';
}

void program_signal(struct program *p, int number)
{
	assert_int_equal(kill(p->pid, number), 0);
}

void program_close_out(struct program *p)
{
	close(p->out.fd);
	p->out.fd = -1;
}

int program_finish(struct program *p)
{
	int64_t deadline_ms = now_ms() + PATIENCE_MS;
	int status;

	while (read_next(p, deadline_ms, "the program's end"))
		continue;
	/* Its outputs are at their ends, so it is gone or about to be. */
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	p->pid = 0;
	p->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	return p->exit_code;
}

static void output_free(struct program_output *output)
{
	if (output->text && output->fd >= 0)
		close(output->fd);
	free(output->text);
}

void program_free(struct program *p)
{
	if (p->pid > 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	output_free(&p->out);
	output_free(&p->err);
	*p = (struct program){0};
}

/* ---- files -------------------------------------------------------------------------------- */

char *test_folder_make(void)
{
	const char *base = getenv("TMPDIR");
	char *folder;

	assert_true(asprintf(&folder, "%s/catchup-test-XXXXXX", base && *base ? base : "/tmp") > 0);
	assert_non_null(mkdtemp(folder));
	return folder;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void test_folder_remove(char *folder)
{
	assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(folder);
}

char *test_path(const char *folder, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

static void put(const char *path, const char *text, const char *mode)
{
	FILE *file = fopen(path, mode);

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
	assert_int_equal(fclose(file), 0);
}

void test_write_file(const char *path, const char *text)
{
	put(path, text, "w");
}

void test_append_file(const char *path, const char *text)
{
	put(path, text, "a");
}

static sqlite3 *open_database(const char *path)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	return db;
}

void test_sql(const char *path, const char *sql)
{
	sqlite3 *db = open_database(path);
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	sqlite3_close(db);
}

long long test_number(const char *path, const char *sql)
{
	sqlite3 *db = open_database(path);
	sqlite3_stmt *stmt;
	long long number;

	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	if (sqlite3_step(stmt) != SQLITE_ROW)
		fail_msg("%s: no row: %s", sql, sqlite3_errmsg(db));
	number = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return number;
}

char *test_json(const char *document, const char *path)
{
	sqlite3 *db = open_database(":memory:");
	sqlite3_stmt *stmt;
	const char *found;
	char *text;

	assert_int_equal(sqlite3_prepare_v2(db,
				 "SELECT json_valid(?1),"
				 " CASE WHEN json_valid(?1) THEN json_extract(?1, ?2) END",
				 -1, &stmt, NULL),
		SQLITE_OK);
	sqlite3_bind_text(stmt, 1, document, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, path, -1, SQLITE_STATIC);
	if (sqlite3_step(stmt) != SQLITE_ROW)
		fail_msg("%s: %s", path, sqlite3_errmsg(db));
	if (sqlite3_column_int(stmt, 0) != 1)
		fail_msg("not a JSON document: %s", document);
	found = (const char *)sqlite3_column_text(stmt, 1);
	text = found ? strdup(found) : NULL;
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return text;
}

void test_json_is(const char *document, const char *path, const char *expected)
{
	char *found = test_json(document, path);

	if (!expected != !found || (found && strcmp(found, expected) != 0))
		fail_msg("%s is %s, not %s, in %s", path, found ? found : "null",
			expected ? expected : "null", document);
	free(found);
}
