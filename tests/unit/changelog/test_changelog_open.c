/* SPDX-License-Identifier: MIT */
/* Several iterators at once, from any thread, and what cannot be opened. */
#include "changelog_story.h"

#include "changelog/iterator_inside.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static void iterators_share_one_reader(void **state)
{
	struct catchup_changelog_options options = {
		.size = sizeof(options), .path = in_folder("log")};
	struct catchup_changelog *changelog;
	struct catchup_iterator *all, *bar, *late, *slow;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 2, NULL);
	assert_int_equal(catchup_changelog_open(&options, &changelog, NULL), CATCHUP_OK);
	all = open_log(OPTIONS(.changelog = changelog));
	bar = open_log(OPTIONS(.changelog = changelog, .table = "bar", WAITS));
	slow = open_log(OPTIONS(.changelog = changelog, .ring_slots = 2));
	append_events("log", 3, 3, "bar");
	expect_story(all, "1 2 3");
	late = open_log(OPTIONS(.changelog = changelog, .start = CATCHUP_START_END));
	/* The iterators keep it alive. */
	catchup_changelog_close(changelog);
	append_events("log", 4, 8, "bar");
	append_events("log", 10, 10, "foo");
	expect_story(all, "4 5 6 7 8 gap(9,10) 10");
	expect_story(bar, "3 4 5 6 7 8 gap(9,10)");
	expect_story(late, "4 5 6 7 8 gap(9,10) 10");
	expect_story(slow, "1 2 3 4 overflow(5,-1)");
	catchup_iterator_close(all);
	append_events("log", 11, 11, "bar");
	expect_story(bar, "11");
	catchup_iterator_close(bar);
	catchup_iterator_close(slow);
	catchup_iterator_close(late);
}

struct canceling {
	struct catchup_iterator *it;
	int result;
};

static void *wait_without_end(void *argument)
{
	struct canceling *c = argument;
	const struct catchup_next *next;

	c->result = catchup_iterator_next(c->it, -1, &next);
	return NULL;
}

static void a_wait_is_canceled_from_another_thread(void **state)
{
	struct canceling c;
	const struct catchup_next *next;
	pthread_t thread;

	(void)state;
	put_file("log", "");
	c.it = open_log(OPTIONS(0));
	assert_int_equal(pthread_create(&thread, NULL, wait_without_end, &c), 0);
	catchup_iterator_cancel(c.it);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(c.result, CATCHUP_NEXT_CANCELED);
	/* It stays canceled. */
	append_events("log", 1, 1, NULL);
	assert_int_equal(catchup_iterator_next(c.it, -1, &next), CATCHUP_NEXT_CANCELED);
	catchup_iterator_close(c.it);
}

#define CROWD 6

/* What one of the crowd holds, for others to cancel. */
struct held {
	pthread_mutex_t mu;
	struct catchup_iterator *it; /* NULL: none */
};

struct crowd {
	struct catchup_changelog *changelog;
	struct held *all;
	int turn;
	long taken, canceled;
};

static void hold(struct crowd *crowd, struct catchup_iterator *it)
{
	struct held *mine = &crowd->all[crowd->turn];

	pthread_mutex_lock(&mine->mu);
	mine->it = it;
	pthread_mutex_unlock(&mine->mu);
}

static void cancel_other(struct crowd *crowd, int other)
{
	struct held *theirs = &crowd->all[other];

	pthread_mutex_lock(&theirs->mu);
	if (theirs->it) {
		catchup_iterator_out_of_sync(theirs->it);
		catchup_iterator_cancel(theirs->it);
	}
	pthread_mutex_unlock(&theirs->mu);
}

static void *open_read_close(void *argument)
{
	struct crowd *crowd = argument;

	for (int round = 0; round < 20; round++) {
		struct catchup_iterator *it =
			open_log(OPTIONS(.changelog = crowd->changelog, .ring_slots = 8,
				.on_full = (crowd->turn + round) % 2,
				.start = (crowd->turn + round) % 3 == 0 ? CATCHUP_START_END
									: CATCHUP_START_BEGINNING));
		const struct catchup_next *next;
		int result = 0;

		hold(crowd, it);
		for (int i = 0; i < 50 && result != CATCHUP_NEXT_CANCELED; i++) {
			result = catchup_iterator_next(it, 1, &next);
			crowd->taken += result == CATCHUP_NEXT_EVENT;
			crowd->canceled += result == CATCHUP_NEXT_CANCELED;
			catchup_iterator_rebuilt(it, catchup_iterator_out_of_sync(it));
			if (i == 25)
				cancel_other(crowd, (crowd->turn + round) % CROWD);
		}
		hold(crowd, NULL);
		catchup_iterator_cancel(it);
		catchup_iterator_close(it);
	}
	return NULL;
}

static void many_iterators_come_and_go_at_once(void **state)
{
	struct catchup_changelog_options options = {
		.size = sizeof(options), .path = in_folder("log")};
	struct catchup_changelog *changelog;
	struct held all[CROWD] = {0};
	struct crowd crowds[CROWD];
	pthread_t threads[CROWD];
	long taken = 0, canceled = 0;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 100, NULL);
	assert_int_equal(catchup_changelog_open(&options, &changelog, NULL), CATCHUP_OK);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(pthread_mutex_init(&all[i].mu, NULL), 0);
		crowds[i] = (struct crowd){.changelog = changelog, .all = all, .turn = i};
	}
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, open_read_close, &crowds[i]), 0);
	for (long from = 101; from <= 2000; from += 10) {
		append_events("log", from, from + 9, NULL);
		if (from % 200 == 101) {
			rename_file("log", "log.1");
			put_file("log", "");
		}
	}
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		taken += crowds[i].taken;
		canceled += crowds[i].canceled;
	}
	for (int i = 0; i < CROWD; i++)
		pthread_mutex_destroy(&all[i].mu);
	assert_true(taken > 0 && canceled > 0);
	catchup_changelog_close(changelog);
}

static void expect_refused(struct catchup_iterator_options options, int code, const char *words)
{
	struct catchup_error error = {0};
	struct catchup_iterator *it;

	options.size = sizeof(options);
	options.open_wait_ms = 20;
	assert_int_equal(catchup_iterator_open(&options, &it, &error), code);
	assert_null(it);
	if (!strstr(error.message, words))
		fail_msg("'%s' has no '%s'", error.message, words);
}

/* "missing at start, ... folder, FIFO, device, dangling ... link"; "the path of a database we
 * have open" */
static void what_is_no_changelog_is_refused(void **state)
{
	const char *databases[] = {in_folder("app.db"), NULL};

	(void)state;
	expect_refused(OPTIONS(.path = in_folder("none")), CATCHUP_IO, "No such file");
	expect_refused(OPTIONS(.path = in_folder("no/folder")), CATCHUP_IO, "No such file");
	assert_int_equal(mkdir(in_folder("folder"), 0755), 0);
	expect_refused(OPTIONS(.path = in_folder("folder")), CATCHUP_USAGE, "is a folder");
	assert_int_equal(mkfifo(in_folder("fifo"), 0644), 0);
	expect_refused(OPTIONS(.path = in_folder("fifo")), CATCHUP_USAGE, "is a FIFO");
	expect_refused(OPTIONS(.path = "/dev/zero"), CATCHUP_USAGE, "is a device");
	assert_int_equal(symlink("nowhere", in_folder("dangling")), 0);
	expect_refused(OPTIONS(.path = in_folder("dangling")), CATCHUP_IO, "No such file");
	assert_int_equal(symlink("loop", in_folder("loop")), 0);
	expect_refused(OPTIONS(.path = in_folder("loop")), CATCHUP_IO, "loop");
	put_file("magic", "SQLite format 3");
	truncate_file("magic", 100);
	expect_refused(OPTIONS(.path = in_folder("magic")), CATCHUP_USAGE, "is a SQLite database");
	put_file("wal", "\x37\x7f\x06\x82 and so on");
	expect_refused(OPTIONS(.path = in_folder("wal")), CATCHUP_USAGE, "is a SQLite database");
	put_file("app.db", "");
	put_file("app.db-wal", "");
	assert_int_equal(link(in_folder("app.db-wal"), in_folder("innocent")), 0);
	expect_refused(OPTIONS(.path = in_folder("app.db"), .databases = databases), CATCHUP_USAGE,
		"which is open");
	expect_refused(OPTIONS(.path = in_folder("innocent"), .databases = databases), CATCHUP_USAGE,
		"app.db-wal', which is open");
}

static void options_are_checked(void **state)
{
	struct catchup_iterator_options none = {0};
	struct catchup_iterator *it;

	(void)state;
	put_file("log", "");
	assert_int_equal(catchup_iterator_open(&none, &it, NULL), CATCHUP_USAGE);
	assert_int_equal(catchup_iterator_open(NULL, &it, NULL), CATCHUP_USAGE);
	expect_refused(OPTIONS(0), CATCHUP_USAGE, "either a changelog or a path");
	expect_refused(OPTIONS(.path = ""), CATCHUP_USAGE, "path is empty");
	expect_refused(OPTIONS(.path = in_folder("log"), .ring_slots = 1), CATCHUP_USAGE,
		"'ring_slots': 1 is not within 2 to 1048576");
	expect_refused(OPTIONS(.path = in_folder("log"), .ring_slots = 1048577), CATCHUP_USAGE,
		"1048577");
	expect_refused(OPTIONS(.path = in_folder("log"), .start = 3), CATCHUP_USAGE, "'start': 3");
	expect_refused(
		OPTIONS(.path = in_folder("log"), .on_full = -1), CATCHUP_USAGE, "'on_full': -1");
	expect_refused(OPTIONS(.path = in_folder("log"), .after_sequence = -1), CATCHUP_USAGE,
		"'after_sequence': -1");
	expect_refused(OPTIONS(.path = in_folder("log"), .max_line_bytes = 63), CATCHUP_USAGE,
		"'max_line_bytes': 63 is not within 64 to 1073741824");
}

static void *make_file_later(void *argument)
{
	(void)argument;
	append_events("log", 1, 1, NULL);
	return NULL;
}

/* "appearing later" */
static void a_file_may_come_within_the_wait(void **state)
{
	struct catchup_iterator *it;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, make_file_later, NULL), 0);
	it = open_log(OPTIONS(.open_wait_ms = PATIENCE_MS));
	assert_int_equal(pthread_join(thread, NULL), 0);
	expect_story(it, "1");
	catchup_iterator_close(it);
}

static void a_forked_child_is_refused(void **state)
{
	struct catchup_iterator *it;
	const struct catchup_next *next;
	int status;
	pid_t child;

	(void)state;
	put_file("log", "");
	it = open_log(OPTIONS(0));
	expect_quiet(it);
	child = fork();
	if (child == 0) {
		int result = catchup_iterator_next(it, 1000, &next);

		catchup_iterator_close(it);
		_exit(result == CATCHUP_NEXT_ERROR && next->error.code == CATCHUP_FORKED ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	append_events("log", 1, 1, NULL);
	expect_story(it, "1");
	catchup_iterator_close(it);
}

/* Forks while the reader thread's locks are held, as a fork may find them. The child is refused after
 * what was in hand. */
static void expect_child_refused(struct catchup_iterator *it)
{
	const struct catchup_next *next;
	int status, result;
	pid_t child;

	cu_park_prepare(&it->sub.feed.park);
	cu_mutex_lock(&it->changelog->mu);
	cu_mutex_lock(&it->sub.feed.park.mutex);
	child = fork();
	if (child == 0) {
		alarm(PATIENCE_S);
		do
			result = catchup_iterator_next(it, -1, &next);
		while (result == CATCHUP_NEXT_EVENT);
		if (result != CATCHUP_NEXT_ERROR || next->error.code != CATCHUP_FORKED)
			_exit(1);
		/* And again. */
		result = catchup_iterator_next(it, -1, &next);
		if (result != CATCHUP_NEXT_ERROR || next->error.code != CATCHUP_FORKED)
			_exit(2);
		catchup_iterator_cancel(it);
		result = catchup_iterator_next(it, -1, &next);
		catchup_iterator_close(it);
		_exit(result == CATCHUP_NEXT_CANCELED ? 0 : 3);
	}
	cu_mutex_unlock(&it->sub.feed.park.mutex);
	cu_mutex_unlock(&it->changelog->mu);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_forked_child_waits_for_no_lock(void **state)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	struct catchup_iterator *it;

	(void)state;
	put_file("log", "");
	append_events("log", 1, 3, NULL);
	/* It reads by itself, and would go on to the feed. */
	for (int on_full = CATCHUP_ON_FULL_FLAG; on_full <= CATCHUP_ON_FULL_WAIT; on_full++) {
		it = open_log(OPTIONS(.on_full = on_full));
		expect_story(it, "1");
		expect_child_refused(it);
		expect_story(it, "2 3");
		catchup_iterator_close(it);
	}
	/* It is behind, and would read by itself again. */
	it = open_log(OPTIONS(.start = CATCHUP_START_END, .ring_slots = 2, WAITS));
	append_events("log", 4, 20, NULL);
	for (int i = 0; i < PATIENCE_MS && !atomic_load(&it->sub.behind); i++)
		nanosleep(&pause, NULL);
	assert_true(atomic_load(&it->sub.behind));
	expect_child_refused(it);
	expect_story(it, "4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
	catchup_iterator_close(it);
	/* Its feed has overflowed, and that would be told. */
	it = open_log(OPTIONS(.start = CATCHUP_START_END, .ring_slots = 2));
	append_events("log", 21, 40, NULL);
	wait_for_flag(it);
	expect_child_refused(it);
	catchup_iterator_close(it);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(iterators_share_one_reader),
		STORY(a_wait_is_canceled_from_another_thread),
		STORY(many_iterators_come_and_go_at_once),
		STORY(what_is_no_changelog_is_refused),
		STORY(options_are_checked),
		STORY(a_file_may_come_within_the_wait),
		STORY(a_forked_child_is_refused),
		STORY(a_forked_child_waits_for_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
