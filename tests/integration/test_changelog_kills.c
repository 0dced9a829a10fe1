/* SPDX-License-Identifier: MIT */
/*
 * Kills and rotations at random moments. The writer: every change comes to a reader, in order, or the
 * reader is told. The cache: whatever happens to processes and files, in the end it is right.
 *
 * CATCHUP_TEST_SEED gives another history.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "users.h"

static void pause_some(struct users *u)
{
	const struct timespec pause = {0, (long)users_random(u, 15000) * 1000};

	nanosleep(&pause, NULL);
}

static void end(struct program *p, int signal)
{
	if (p->pid <= 0)
		return;
	program_signal(p, signal);
	program_finish(p);
	if (signal != SIGKILL && p->exit_code != 0)
		fail_msg("exit code %d: %s", p->exit_code, p->err.text);
	program_free(p);
}

/* ---- the writer --------------------------------------------------------------------------- */

/* A line of the changelog, or of the reader's output. */
struct line {
	bool told; /* out of sync: no event */
	long long sequence, id;
};

/* The next line that says something; false at the end. */
static bool next_line(char **at, struct line *line)
{
	static const char id[] = "{\"name\":\"id\",\"type\":\"int\",\"value\":";
	char *end_of_line, *key;

	while (*at && (end_of_line = strchr(*at, '\n'))) {
		char *text = *at;

		*end_of_line = '\0';
		*at = end_of_line + 1;
		*line = (struct line){.told = strstr(text, "\"out_of_sync\":true") != NULL};
		if (line->told)
			return true;
		key = strstr(text, id);
		if (key && sscanf(text, "{\"seq\":%lld,", &line->sequence) == 1 &&
			sscanf(key + strlen(id), "%lld", &line->id) == 1)
			return true;
	}
	return false;
}

/* Sequences go up by one, and no change is left out: after a crash some come again. */
struct order {
	long long sequence, id;
	int told, again;
};

static void check_line(struct order *order, const struct line *line, const char *where)
{
	if (line->told) {
		order->told++;
		order->sequence = 0;
		return;
	}
	if (order->sequence != 0 && line->sequence != order->sequence + 1)
		fail_msg("%s: sequence %lld follows %lld", where, line->sequence, order->sequence);
	if (order->sequence != 0 && line->id > order->id + 1)
		fail_msg("%s: change %lld follows %lld", where, line->id, order->id);
	order->again += line->id <= order->id;
	order->sequence = line->sequence;
	order->id = line->id > order->id ? line->id : order->id;
}

static void check_text(struct order *order, char *text, const char *where)
{
	struct line line;
	char *at = text;

	while (next_line(&at, &line))
		check_line(order, &line, where);
	free(text);
}

/* All files that were kept, the oldest first: nothing is missing between them. */
static void check_files(struct users *u, struct order *order)
{
	int n = 0;
	char name[32];
	char *path;

	for (;; n++) {
		snprintf(name, sizeof(name), "log.%d", n + 1);
		path = test_path(u->folder, name);
		if (access(path, F_OK) != 0)
			break;
		free(path);
	}
	free(path);
	assert_true(n > 10);
	for (; n > 0; n--) {
		snprintf(name, sizeof(name), "log.%d", n);
		path = test_path(u->folder, name);
		check_text(order, users_read(path), name);
		free(path);
	}
	check_text(order, users_read(u->log), "log");
}

/* Waits until a reader has printed the newest sequence there is. */
static char *wait_for_reader(struct users *u, const char *path)
{
	time_t deadline = time(NULL) + PATIENCE_S;
	char mark[32];

	snprintf(mark, sizeof(mark), "{\"seq\":%lld,", users_newest(u->log));
	for (;;) {
		char *text = users_read(path);

		if (text && strstr(text, mark))
			return text;
		if (time(NULL) > deadline)
			fail_msg("%s did not come; the reader has %.2000s", mark, text);
		free(text);
		pause_some(u);
	}
}

static void every_change_is_written_whatever_happens_to_the_writer(void **state)
{
	struct users *u = *state;
	struct program writer = {0}, reader = {0};
	struct order files = {0}, seen = {0};
	char *options, *out = test_path(u->folder, "seen");
	long long changes;

	assert_true(asprintf(&options,
			    "changelog:source=user_changes,table=users,family=app,key=id+user,path=%s,"
			    "rotate-bytes=4096,keep=1000", u->log) > 0);
	test_write_file(u->log, "");
	reader.output_path = out;
	program_start(&reader, "changelog", "follow", u->log);
	for (int i = 0; i < 40; i++) {
		program_start(&writer, "run", u->database, options, "--progress", "never", "--batch-rows",
			users_random(u, 2) ? "7" : "1000");
		users_work(u, 1 + (int)users_random(u, 300));
		if (users_random(u, 2))
			program_expect_err(&writer, "started");
		pause_some(u);
		users_work(u, 1 + (int)users_random(u, 50));
		end(&writer, SIGKILL);
	}
	/* A row that was in hand at three kills is blamed for them, and tried again by the next one. */
	for (int i = 0; i < 2; i++) {
		program_free(&writer);
		program_run(&writer, "run", u->database, options, "--until-caught-up", "--progress", "never");
		if (!strstr(writer.err.text, "with this row in hand"))
			break;
	}
	users_expect_exit(&writer, 0);
	program_free(&writer);

	changes = users_number(u, "SELECT max(id) FROM user_changes");
	check_files(u, &files);
	assert_int_equal(files.id, changes);
	check_text(&seen, wait_for_reader(u, out), "the reader's output");
	assert_int_equal(seen.id, changes);
	end(&reader, SIGTERM);
	print_message("%lld changes in %lld events, %d again; the reader was told of %d gaps\n", changes,
		files.sequence, files.again, seen.told);
	free(options);
	free(out);
}

/* ---- the cache ---------------------------------------------------------------------------- */

struct torture {
	struct users *u;
	struct program writer, cache; /* pid 0: does not run */
	/* Their watermarks when they were killed last; -1: not yet. */
	long long writer_killed_at, cache_killed_at;
	bool together;                /* the writer's process runs both */
	int moved;                    /* files so far */
};

static void start_writer(struct torture *t)
{
	struct users *u = t->u;

	if (t->writer.pid > 0)
		return;
	if (t->together)
		program_start(&t->writer, "run", u->database, u->writer, "user_names", "--changelog",
			u->log, "--progress", "never", "--log-level", "error", "--batch-rows", "20");
	else
		program_start(&t->writer, "run", u->database, u->writer, "--progress", "never",
			"--log-level", "error", "--batch-rows", "20");
}

static void start_cache(struct torture *t)
{
	if (t->cache.pid <= 0 && !t->together)
		program_start(&t->cache, "run", t->u->database, "user_names", "--changelog", t->u->log,
			"--progress", "never", "--log-level", "error", "--ring-slots", "2",
			"--batch-rows", "10");
}

static char *other_name(struct torture *t)
{
	char name[32];

	snprintf(name, sizeof(name), "moved.%d", t->moved++);
	return test_path(t->u->folder, name);
}

static void rename_file(struct torture *t)
{
	char *to = other_name(t);

	rename(t->u->log, to);
	free(to);
}

static void copy_and_truncate(struct torture *t)
{
	char *text = users_read(t->u->log);
	char *to = other_name(t);

	if (text)
		test_write_file(to, text);
	(void)!truncate(t->u->log, 0);
	free(text);
	free(to);
}

/* Another file takes the name, with the same lines but one. */
static void replace_file(struct torture *t)
{
	char *text = users_read(t->u->log);
	char *to = other_name(t);
	char *from, *line_end;

	if (text && *text) {
		from = strchr(text + users_random(t->u, (unsigned)strlen(text)), '\n');
		line_end = from ? strchr(from + 1, '\n') : NULL;
		if (line_end)
			memmove(from + 1, line_end + 1, strlen(line_end));
		test_write_file(to, text);
		rename(to, t->u->log);
	}
	free(text);
	free(to);
}

/* A writer that died within a line. */
static void tear(struct torture *t)
{
	if (access(t->u->log, F_OK) == 0)
		test_append_file(t->u->log, "{\"seq\":99,\"family\":\"ap");
}

/* The sequence begins anew. A cache that is down meanwhile cannot know, once the new sequence has passed
 * its watermark: so it is up, and sees it. */
static void reset_sequence(struct torture *t)
{
	start_cache(t);
	start_writer(t);
	users_work(t->u, 3);
	users_wait(t->u);
	end(&t->writer, SIGTERM);
	unlink(t->u->log);
	users_sql(t->u, "UPDATE changelog_sequence SET sequence = 0");
	start_writer(t);
	users_work(t->u, 3);
	users_wait(t->u);
}

/* Who has not got on since the last time is spared: a row that is in hand at three kills is blamed for them,
 * and its consumer stops. */
static void kill_writer(struct torture *t)
{
	long long writer_at = users_watermark(t->u, "changelog");
	long long cache_at = users_watermark(t->u, "user_names");

	if (t->writer.pid <= 0 || writer_at == t->writer_killed_at ||
		(t->together && cache_at == t->cache_killed_at))
		return;
	t->writer_killed_at = writer_at;
	if (t->together)
		t->cache_killed_at = cache_at;
	end(&t->writer, SIGKILL);
}

static void kill_cache(struct torture *t)
{
	long long cache_at = users_watermark(t->u, "user_names");

	if (t->cache.pid <= 0 || cache_at == t->cache_killed_at)
		return;
	t->cache_killed_at = cache_at;
	end(&t->cache, SIGKILL);
}

static void disturb(struct torture *t)
{
	switch (users_random(t->u, 12)) {
	case 0:
	case 1:
		kill_writer(t);
		break;
	case 2:
	case 3:
		kill_cache(t);
		break;
	case 4:
		rename_file(t);
		break;
	case 5:
		unlink(t->u->log);
		break;
	case 6:
		copy_and_truncate(t);
		break;
	case 7:
		replace_file(t);
		break;
	case 8:
		tear(t);
		break;
	case 9:
		if (users_random(t->u, 4) == 0 && !t->together)
			reset_sequence(t);
		break;
	default:
		start_writer(t);
		start_cache(t);
	}
}

static void end_all(struct torture *t)
{
	end(&t->writer, SIGTERM);
	end(&t->cache, SIGTERM);
}

/* Every so often all is brought to its end. Changes made then are in a line that comes after whatever
 * was lost: the last lines of a file may be lost without a trace until another one follows. */
static void settle(struct torture *t)
{
	struct program p = {0};

	start_writer(t);
	start_cache(t);
	users_work(t->u, 5);
	users_wait(t->u);
	end_all(t);
	users_work(t->u, 5);
	users_catch_up(t->u, &p);
	program_free(&p);
}

static void disturb_for_a_while(struct users *u, bool together)
{
	struct torture t = {
		.u = u, .together = together, .writer_killed_at = -1, .cache_killed_at = -1};

	users_rotate(u, 3);
	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < 25; i++) {
			users_work(u, 1 + (int)users_random(u, 40));
			disturb(&t);
			pause_some(u);
		}
		settle(&t);
	}
}

static void a_cache_is_right_in_the_end_in_two_processes(void **state)
{
	disturb_for_a_while(*state, false);
}

static void a_cache_is_right_in_the_end_in_one_process(void **state)
{
	disturb_for_a_while(*state, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USERS_TEST(every_change_is_written_whatever_happens_to_the_writer),
		USERS_TEST(a_cache_is_right_in_the_end_in_two_processes),
		USERS_TEST(a_cache_is_right_in_the_end_in_one_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
