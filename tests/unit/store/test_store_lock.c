/* SPDX-License-Identifier: MIT */
/* How long a connection waits for the lock of another. */
#include "../store_help.h"
#include "../../process_state.h"

#include "base/error.h"

#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static void a_lock_that_stays_is_given_up(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	_Atomic int stop = 0;
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = s->database, .busy_ms = 30,
		.stopping = &stop};
	struct cu_conn conn;
	sqlite3 *other;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	assert_ok(cu_conn_open(&conn, &options, &error));
	assert_int_equal(sqlite3_open(s->database, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(cu_conn_begin(&conn, &error), CATCHUP_LOCKED);
	assert_int_equal(cu_fault_of(error.detail), CU_FAULT_BUSY);
	/* A stop ends the wait, however long it might be. */
	conn.busy_ms = INT64_C(3600) * 1000;
	atomic_store(&stop, 1);
	assert_int_equal(cu_conn_begin(&conn, &error), CATCHUP_LOCKED);
	/* The second one ends also what was to be waited for. */
	cu_conn_insist(&conn, true);
	atomic_store(&stop, 2);
	assert_int_equal(cu_conn_begin(&conn, &error), CATCHUP_LOCKED);
	atomic_store(&stop, 0);
	sqlite3_close(other);
	assert_ok(cu_conn_begin(&conn, &error));
	cu_conn_rollback(&conn);
	cu_conn_close(&conn);
}

#define WAITS_MS 5000

/* A process that wants a lock once it is told that it is taken. It sleeps for nothing else afterwards. */
static _Noreturn void wait_for_the_lock(const char *database, int other_end, int64_t busy_ms,
	const _Atomic int *stop)
{
	struct cu_conn_options options = {.role = CU_ROLE_WRITER, .main = database, .busy_ms = busy_ms,
		.stopping = stop};
	struct catchup_error error = {0};
	struct cu_conn conn;
	char byte;

	if (read(other_end, &byte, 1) != 1 || cu_conn_open(&conn, &options, &error) != CATCHUP_OK ||
		write(other_end, "", 1) != 1)
		_exit(2);
	cu_conn_insist(&conn, stop != NULL);
	_exit(cu_conn_begin(&conn, &error) == CATCHUP_OK ? 0 : 1);
}

/* Or has ended. */
static bool sleeps(pid_t pid)
{
	char state = process_state(pid);

	return state == 'S' || state == 'Z';
}

/* Takes the lock, and has a process wait for it. */
static pid_t start_waiter(struct scratch *s, int64_t busy_ms, const _Atomic int *stop, sqlite3 **other)
{
	int ends[2];
	char byte = 0;
	pid_t child;

	sql_run(s->database, "PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		wait_for_the_lock(s->database, ends[1], busy_ms, stop);
	assert_int_equal(sqlite3_open(s->database, other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(*other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(write(ends[0], &byte, 1), 1);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	while (!sleeps(child))
		sched_yield();
	close(ends[0]);
	close(ends[1]);
	return child;
}

static void a_stopped_process_has_not_waited_for_a_lock(void **state)
{
	sqlite3 *other;
	pid_t child = start_waiter(*state, WAITS_MS, NULL, &other);
	int status;

	assert_int_equal(kill(child, SIGSTOP), 0);
	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
	/* Longer than it would wait: this is no wait for something to happen. */
	cu_os_sleep_ns((WAITS_MS + 500) * CU_NS_PER_MS);
	assert_int_equal(kill(child, SIGCONT), 0);
	/* It is to meet the lock once more, before it is let go. */
	cu_os_sleep_ns(50 * CU_NS_PER_MS);
	sqlite3_close(other);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void who_insists_waits_when_it_is_to_stop(void **state)
{
	_Atomic int stop = 1;
	sqlite3 *other;
	pid_t child = start_waiter(*state, INT64_C(3600) * 1000, &stop, &other);
	int status;

	sqlite3_close(other);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_lock_that_stays_is_given_up),
		SCRATCH_TEST(a_stopped_process_has_not_waited_for_a_lock),
		SCRATCH_TEST(who_insists_waits_when_it_is_to_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
