/* SPDX-License-Identifier: MIT */
/*
 * What the program shows on a terminal and what it does not show elsewhere: the progress line, colours,
 * log lines. The terminal is a pseudo terminal: this program, called with --terminal, runs the other one
 * in it and copies what is shown to its standard output.
 */
#include "help.h"

#include <errno.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COLUMNS 100

/* ---- the terminal --------------------------------------------------------------------------------- */

static volatile pid_t inside;

static void pass_on(int number)
{
	kill(inside, number);
}

static int run_in_terminal(char **arguments)
{
	const struct winsize size = {.ws_row = 25, .ws_col = COLUMNS};
	struct sigaction passing = {.sa_handler = pass_on};
	sigset_t term, before;
	char bytes[4096];
	int fd, status;
	ssize_t n;

	/* Passed on from the first on, but not before there is anybody. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	inside = forkpty(&fd, NULL, NULL, &size);
	if (inside < 0)
		return 125;
	if (inside == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		execv(arguments[0], arguments);
		_exit(127);
	}
	sigaction(SIGTERM, &passing, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	/* EIO: nobody has the other end any more. */
	while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR))
		if (n > 0 && write(STDOUT_FILENO, bytes, (size_t)n) != n)
			break;
	while (waitpid(inside, &status, 0) < 0 && errno == EINTR)
		continue;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char self[4096];
static const char *const in_terminal[] = {self, "--terminal", NULL};
static const char *const plain_terminal[] = {"TERM=xterm", "LC_ALL=C", "NO_COLOR=", NULL};

/* ---- the stories ---------------------------------------------------------------------------------- */

/* Each row costs some milliseconds, so that there is a backlog to show. */
static const char slow[] = "-- name: slow\n-- source: numbers\n-- setup\n"
			   "CREATE TABLE IF NOT EXISTS slowly(id INTEGER PRIMARY KEY, n);\n"
			   "-- row\nINSERT INTO slowly SELECT @id, count(*) FROM (WITH RECURSIVE c(i) AS"
			   " (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 5000) SELECT i FROM c);\n";

static char *backlog(struct scene *s)
{
	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''), last INTEGER"
		     " NOT NULL CHECK(last>=0)) WITHOUT ROWID;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c LIMIT 100000)"
		     " INSERT INTO numbers(n) SELECT i FROM c");
	return scene_file(s, "slow.sql", slow);
}

static void a_terminal_gets_a_progress_line(void **state)
{
	static const char *const utf8[] = {"TERM=xterm", "LC_ALL=C.UTF-8", NULL};
	struct scene *s = *state;
	char *file = backlog(s);

	for (int i = 0; i < 2; i++) {
		struct program p = {.under = in_terminal, .set = i ? utf8 : plain_terminal};

		program_start(&p, "run", s->database, file, "--log-level", "debug");
		program_expect_out(&p, " left");
		help_expect(p.out.text, "\r\x1b[Kslow [");
		help_expect(p.out.text, i ? " ]" : ".]");
		program_signal(&p, SIGTERM);
		assert_int_equal(program_finish(&p), 0);
		/* The last thing that is done to the line is to take it away. */
		help_expect(p.out.text, "\r\x1b[K");
		help_expect(p.out.text, "stopped: ");
		program_free(&p);
	}
}

static void no_progress_line_where_it_is_not_wanted(void **state)
{
	static const char *const dumb[] = {"TERM=dumb", NULL};
	static const char *const none[] = {"TERM=", NULL};
	struct scene *s = *state;
	char *file = backlog(s);
	/* Asked for never; a terminal that cannot redraw a line; no terminal at all. */
	struct program p[] = {{.under = in_terminal, .set = plain_terminal},
		{.under = in_terminal, .set = dumb}, {.under = in_terminal, .set = none},
		{.set = plain_terminal}};

	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++) {
		long long before = help_watermark(s->database, "slow");

		program_start(&p[i], "run", s->database, file, "--progress", i == 0 ? "never" : "auto");
		scene_until(s, s->database, "SELECT last > %lld FROM catchup", before);
		program_signal(&p[i], SIGTERM);
		assert_int_equal(program_finish(&p[i]), 0);
		assert_null(strstr(p[i].out.text, "\x1b["));
		assert_null(strstr(p[i].err.text, "\x1b["));
		program_free(&p[i]);
	}
}

/* Colours are for terminals, and not for those who do not want them. */
static void status_on_a_terminal_has_colours(void **state)
{
	static const char *const no_colour[] = {"TERM=xterm", "NO_COLOR=1", NULL};
	static const struct {
		const char *sql, *shown;
	} cases[] = {
		{"SELECT 1", "\x1b[2midle\x1b[0m"},
		{"UPDATE catchup_state SET state = 3, code = 13, message = 'full', category = 'full',"
		 " since_ms = 1", "\x1b[33mpaused\x1b[0m"},
		{"UPDATE catchup_state SET state = 4, error_row = 7", "\x1b[31mstopped\x1b[0m"},
	};
	struct scene *s = *state;
	char *file = backlog(s);
	struct program p = {0}, running = {0};

	program_start(&running, "run", s->database, file);
	scene_until(s, s->database, "SELECT last > 0 FROM catchup");
	p = (struct program){.under = in_terminal, .set = plain_terminal};
	assert_int_equal(program_run(&p, "status", s->database), 0);
	help_expect(p.out.text, "\x1b[36mrunning\x1b[0m");
	help_expect(p.out.text, "OWNER");
	program_free(&p);
	program_signal(&running, SIGTERM);
	assert_int_equal(program_finish(&running), 0);
	program_free(&running);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scene_sql(s, "%s", cases[i].sql);
		p = (struct program){.under = in_terminal, .set = plain_terminal};
		assert_int_equal(program_run(&p, "status", s->database), 0);
		help_expect(p.out.text, cases[i].shown);
		program_free(&p);
	}
	help_expect(scene_text(s, "SELECT message FROM catchup_state"), "full");
	p = (struct program){.under = in_terminal, .set = no_colour};
	assert_int_equal(program_run(&p, "status", s->database), 0);
	assert_null(strchr(p.out.text, '\x1b'));
	help_expect(p.out.text, "slow: stopped since 1970-01-01T00:00:00.001Z, row 7 (full): full");
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	assert_null(strchr(p.out.text, '\x1b'));
	program_free(&p);
}

/* How long ago, in the largest unit that fits; a date where a figure would say nothing. */
static void status_says_when(void **state)
{
	static const struct {
		const char *updated, *shown;
	} cases[] = {
		{"0", "never"},
		{"unixepoch() * 1000 - 300000", "5 min ago"},
		{"unixepoch() * 1000 - 7300000", "2 h ago"},
		{"86400000", "1970-01-02T00:00:00"},
		{"253402300799000", "9999-12-31T23:59:59"},
	};
	struct scene *s = *state;
	struct program p = {0};

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);"
		     "INSERT INTO numbers(n) VALUES(1)");
	assert_int_equal(program_run(&p, "run", s->database, scene_file(s, "slow.sql", slow),
				 "--until-caught-up"), 0);
	program_free(&p);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scene_sql(s, "UPDATE catchup_state SET updated_ms = %s", cases[i].updated);
		assert_int_equal(program_run(&p, "status", s->database), 0);
		help_expect(p.out.text, cases[i].shown);
		program_free(&p);
	}
	/* A source that is gone has no newest id; a log that has grown is told with its size. */
	scene_sql(s, "DROP TABLE numbers; CREATE TABLE big(x)");
	{
		sqlite3 *db = help_connect(s->database);

		help_exec(db, "INSERT INTO big VALUES(zeroblob(3000000))");
		assert_int_equal(program_run(&p, "status", s->database), 0);
		help_expect(p.out.text, "write-ahead log 2.9 MiB");
		help_expect(p.out.text, "  1       -    -");
		program_free(&p);
		assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
		test_json_is(p.out.text, "$.consumers[0].newest", NULL);
		test_json_is(p.out.text, "$.consumers[0].lag_rows", NULL);
		program_free(&p);
		sqlite3_close(db);
	}
	/* Before anything has run there is nothing to show, and that is said. */
	test_sql(scene_path(s, "fresh.db"), "CREATE TABLE numbers(id INTEGER PRIMARY KEY)");
	assert_int_equal(program_run(&p, "status", scene_path(s, "fresh.db")), 0);
	help_expect(p.out.text, "no consumer has run on this database\n");
	program_free(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(a_terminal_gets_a_progress_line),
		SCENE_TEST(no_progress_line_where_it_is_not_wanted),
		SCENE_TEST(status_on_a_terminal_has_colours),
		SCENE_TEST(status_says_when),
	};
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (argc > 2 && strcmp(argv[1], "--terminal") == 0)
		return run_in_terminal(argv + 2);
	if (n < 0)
		return 1;
	return cmocka_run_group_tests_name("cli_terminal", tests, NULL, NULL);
}
