/* SPDX-License-Identifier: MIT */
/*
 * Whether other processes have locked a file, asked without opening it; when a folder is watched;
 * whether a process lives.
 */
#include "base/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../process_state.h"

struct story {
	char folder[128];
	char path[160];
	struct cu_file_id id;
	int fd; /* by which this process has the file open */
	pid_t other;
	int tell; /* closing it ends the other process */
};

static void lock_byte(int fd, short type, off_t byte)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	if (fcntl(fd, F_SETLK, &lock) != 0)
		abort();
}

/* Returns once the other process holds a shared lock on byte 128. */
static void other_locks(struct story *s)
{
	int ready[2], tell[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(tell), 0);
	s->other = fork();
	assert_true(s->other >= 0);
	if (s->other == 0) {
		int fd = open(s->path, O_RDWR | O_CLOEXEC);

		close(tell[1]);
		if (fd < 0)
			_exit(1);
		lock_byte(fd, F_RDLCK, 128);
		_exit(write(ready[1], "x", 1) == 1 && read(tell[0], &c, 1) == 0 ? 0 : 1);
	}
	close(ready[1]);
	close(tell[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	s->tell = tell[1];
}

static void other_ends(struct story *s)
{
	int status;

	close(s->tell);
	assert_int_equal(waitpid(s->other, &status, 0), s->other);
	assert_int_equal(status, 0);
	s->other = 0;
}

static int setup(void **state)
{
	struct story *s = calloc(1, sizeof(*s));
	struct cu_file_stat st;

	if (!s || cu_folder_make_temporary(s->folder, sizeof(s->folder)) != 0)
		return -1;
	snprintf(s->path, sizeof(s->path), "%s/file", s->folder);
	s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->fd < 0 || cu_file_stat_path(s->path, &st) != 0)
		return -1;
	s->id = st.id;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct story *s = *state;

	if (s->other > 0)
		other_ends(s);
	if (s->fd >= 0)
		close(s->fd);
	cu_folder_remove(s->folder);
	free(s);
	return 0;
}

static void another_process_is_seen_while_it_holds_a_lock(void **state)
{
	struct story *s = *state;
	int fd = -1;

	assert_false(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	assert_int_equal(fd, s->fd);
	other_locks(s);
	assert_true(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	assert_false(cu_os_locked_by_others(&s->id, 120, 127, &fd));
	assert_false(cu_os_locked_by_others(&s->id, 129, 200, &fd));
	other_ends(s);
	assert_false(cu_os_locked_by_others(&s->id, 120, 128, &fd));
}

static void its_own_locks_are_no_others_and_are_kept(void **state)
{
	struct story *s = *state;
	int fd = -1, status;
	pid_t child;

	lock_byte(s->fd, F_WRLCK, 120);
	assert_false(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	/* Had any descriptor of the file been closed on the way, the lock were gone. */
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(cu_os_locked_by_others(&s->id, 120, 120, &fd) ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_descriptor_that_is_another_files_now_is_looked_for_again(void **state)
{
	struct story *s = *state;
	int fd = -1, moved;

	other_locks(s);
	assert_true(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	moved = fcntl(s->fd, F_DUPFD_CLOEXEC, s->fd + 10);
	assert_true(moved > s->fd);
	assert_int_equal(dup2(s->tell, s->fd), s->fd);
	assert_true(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	assert_int_equal(fd, moved);
	close(s->fd);
	s->fd = moved;
}

static void a_file_that_is_not_open_tells_nothing(void **state)
{
	struct story *s = *state;
	int fd = s->fd;

	other_locks(s);
	close(s->fd);
	s->fd = -1;
	assert_false(cu_os_locked_by_others(&s->id, 120, 128, &fd));
	assert_int_equal(fd, -1);
}

/* ---- watching ------------------------------------------------------------------------------ */

/* Folders and files that this process has asked the system to watch. */
static int watched_now(void)
{
	DIR *infos = opendir("/proc/self/fdinfo");
	struct dirent *entry;
	int n = 0;

	assert_non_null(infos);
	while ((entry = readdir(infos))) {
		char path[300], line[512];
		FILE *info;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		info = fopen(path, "re");
		while (info && fgets(line, sizeof(line), info))
			n += strncmp(line, "inotify wd:", 11) == 0;
		if (info)
			fclose(info);
	}
	closedir(infos);
	return n;
}

/* Returns the limit to be set again. */
static struct rlimit no_descriptors(void)
{
	struct rlimit all, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){.rlim_cur = 0, .rlim_max = all.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return all;
}

static void a_folder_is_watched_once_a_wait_has_lasted(void **state)
{
	struct story *s = *state;
	struct cu_watch *watch;

	assert_int_equal(cu_watch_create(s->path, NULL, &watch), 0);
	/* Who is woken at once may end at once. */
	cu_watch_wake(watch);
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_WOKEN);
	assert_int_equal(cu_watch_wait(watch, cu_os_now_ns()), 0);
	assert_int_equal(watched_now(), 0);

	/* What was written before it is watched is said once, without a look. */
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_CHANGED);
	assert_int_equal(watched_now(), 1);
	assert_int_equal(write(s->fd, "x", 1), 1);
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_CHANGED);

	/* After a rest it is as in the beginning. */
	cu_watch_rest(watch, cu_os_now_ns());
	assert_int_equal(watched_now(), 0);
	cu_watch_wake(watch);
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_WOKEN);
	assert_int_equal(watched_now(), 0);
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_CHANGED);
	assert_int_equal(watched_now(), 1);
	cu_watch_destroy(watch);
	assert_int_equal(watched_now(), 0);
}

static void write_to(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

/* Nothing has been noticed since. */
static void expect_nothing(struct cu_watch *watch)
{
	cu_watch_wake(watch);
	assert_int_equal(cu_watch_wait(watch, CU_FOREVER), CU_WATCH_WOKEN);
}

static void expect_noticed(struct cu_watch *watch)
{
	assert_true(cu_watch_wait(watch, CU_FOREVER) & CU_WATCH_CHANGED);
	cu_watch_settle(watch, 0);
}

static void of_two_files_only_their_writes_and_names_are_noticed(void **state)
{
	struct story *s = *state;
	struct cu_watch *watch;
	char beside[200], alike[200], other[200];

	snprintf(beside, sizeof(beside), "%s-wal", s->path);
	snprintf(alike, sizeof(alike), "%s-shm", s->path);
	snprintf(other, sizeof(other), "%s/other", s->folder);
	write_to(other, O_CREAT);
	assert_int_equal(cu_watch_create(s->path, "-wal", &watch), 0);
	expect_noticed(watch);
	assert_int_equal(watched_now(), 2); /* the folder and the one that is there */
	write_to(s->path, 0);
	expect_noticed(watch);
	write_to(other, 0);
	expect_nothing(watch);
	write_to(alike, O_CREAT);
	expect_noticed(watch);
	write_to(alike, 0);
	expect_nothing(watch);

	/* The second one comes, goes, and is another one. */
	write_to(beside, O_CREAT);
	expect_noticed(watch);
	assert_int_equal(watched_now(), 3);
	write_to(beside, 0);
	expect_noticed(watch);
	assert_int_equal(unlink(beside), 0);
	expect_noticed(watch);
	assert_int_equal(watched_now(), 2);
	assert_int_equal(rename(other, beside), 0);
	expect_noticed(watch);
	write_to(beside, 0);
	expect_noticed(watch);
	assert_int_equal(rename(alike, beside), 0);
	expect_noticed(watch);
	write_to(beside, 0);
	expect_noticed(watch);
	assert_int_equal(watched_now(), 3);

	cu_watch_rest(watch, cu_os_now_ns());
	assert_int_equal(watched_now(), 0);
	cu_watch_destroy(watch);
	unlink(beside);
}

/* Not the same as want of memory: what to do about it is another thing. */
static void a_watch_without_descriptors_says_what_is_wanting(void **state)
{
	struct story *s = *state;
	struct cu_watch *watch = NULL;
	struct rlimit all = no_descriptors();
	int rc = cu_watch_create(s->path, NULL, &watch);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(rc, -EMFILE);
	assert_null(watch);
}

/* ---- processes ----------------------------------------------------------------------------- */

/* What comes of asking whether this process lives, without a descriptor left to ask with. */
static int64_t start_without_descriptors(void)
{
	struct rlimit all = no_descriptors();
	int64_t start = cu_os_process_start(getpid());

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	return start;
}

static void a_process_that_cannot_be_looked_at_is_not_gone(void **state)
{
	pid_t child = fork();
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(cu_os_process_start(child), -1);
	assert_true(cu_os_process_start(getpid()) > 0);
	assert_int_equal(start_without_descriptors(), 0);
}

static void *stay(void *argument)
{
	(void)argument;
	for (;;)
		pause();
	return NULL;
}

/* Its first thread ends, another one stays, though not for ever if the test fails. */
static _Noreturn void live_on_without_the_first_thread(void)
{
	pthread_t thread;

	alarm(60);
	if (pthread_create(&thread, NULL, stay, NULL) != 0)
		_exit(1);
	pthread_exit(NULL);
}

static void a_process_without_its_first_thread_is_not_gone(void **state)
{
	pid_t child = fork();
	int64_t start;
	siginfo_t info;
	int status;

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		live_on_without_the_first_thread();
	start = cu_os_process_start(child);
	assert_true(start > 0);
	while (process_state(child) != 'Z')
		sched_yield();
	assert_int_equal(cu_os_process_start(child), start);
	/* A zombie that has nobody left is gone. */
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(cu_os_process_start(child), -1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			another_process_is_seen_while_it_holds_a_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(
			its_own_locks_are_no_others_and_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_descriptor_that_is_another_files_now_is_looked_for_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_file_that_is_not_open_tells_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_folder_is_watched_once_a_wait_has_lasted, setup, teardown),
		cmocka_unit_test_setup_teardown(
			of_two_files_only_their_writes_and_names_are_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_watch_without_descriptors_says_what_is_wanting, setup, teardown),
		cmocka_unit_test(a_process_that_cannot_be_looked_at_is_not_gone),
		cmocka_unit_test(a_process_without_its_first_thread_is_not_gone),
	};

	return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
