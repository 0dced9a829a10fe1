/* SPDX-License-Identifier: MIT */
#include "soak.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define VACUUM_PAGES_MAX 50000

static void fill_disk(struct soak *s)
{
	static const char bytes[1 << 16];
	size_t n = sizeof(bytes);
	int fd;

	if (!s->mounted || s->full_until_ms != 0)
		return;
	fd = open(s->ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	while (n > 0)
		if (write(fd, bytes, n) <= 0)
			n /= 2;
	close(fd);
	s->full_until_ms = soak_some_ms(s, 100, 3000);
	s->fulls++;
}

static void spoil_calls(struct soak *s, struct soak_run *run)
{
	static const char *const calls[] = {"pwrite64", "fdatasync", "write", "ftruncate", "openat"};
	static const char *const errors[] = {"EIO", "ENOSPC", "EMFILE", "EINTR"};
	const char *call = calls[proof_below(&s->random, 5)];
	const char *error = errors[proof_below(&s->random, 4)];
	int every = 1 + (int)proof_below(&s->random, 20);
	char pid[32], trace[64], inject[128];

	if (!s->can_trace || s->spoil_until_ms != 0 || run->waker != 0)
		return;
	snprintf(pid, sizeof(pid), "%d", (int)run->program.pid);
	snprintf(trace, sizeof(trace), "trace=%s", call);
	/* SQLite makes an interrupted call again until it comes through. If none ever did, it would keep its
	 * lock, and who waits for that here could not end this. */
	if (every == 1 && strcmp(error, "EINTR") == 0)
		every = 2;
	snprintf(inject, sizeof(inject), "inject=%s:error=%s:when=1+%d", call, error, every);
	s->spoiler = fork();
	assert_true(s->spoiler >= 0);
	if (s->spoiler == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(126);
		execlp("strace", "strace", "-f", "-qq", "-o", "/dev/null", "-e", trace, "-e", inject, "-p",
			pid, (char *)NULL);
		_exit(127);
	}
	run->spoiled = true;
	s->spoil_until_ms = soak_some_ms(s, 50, 600);
	s->spoils++;
}

void soak_stop_spoiling(struct soak *s)
{
	if (s->spoil_until_ms == 0)
		return;
	/* It lets go of what it traces before it ends. A program that was stopped and woken in that moment may
	 * stay stopped, with a lock that all others wait for. */
	kill(s->spoiler, SIGTERM);
	assert_int_equal(waitpid(s->spoiler, NULL, 0), s->spoiler);
	s->spoil_until_ms = 0;
	for (size_t i = 0; i < SOAK_PROGRAMS; i++)
		if (s->runs[i].program.pid > 0)
			kill(s->runs[i].program.pid, SIGCONT);
}

static void begin_reading(struct soak *s)
{
	if (s->reading_until_ms != 0)
		return;
	/* It may not get in while somebody is stopped in the middle of a recovery, as anybody. */
	if (sqlite3_exec(s->other, "BEGIN; SELECT count(*) FROM users", NULL, NULL, NULL) != SQLITE_OK) {
		sqlite3_exec(s->other, "ROLLBACK", NULL, NULL, NULL);
		return;
	}
	s->reading_until_ms = soak_some_ms(s, 100, 5000);
	s->reads++;
}

static void checkpoint(struct soak *s)
{
	/* An older SQLite may damage the file, see catchup_sqlite_has_wal_reset_bug. */
	if (s->reading_until_ms != 0 || sqlite3_libversion_number() < 3051003)
		return;
	sqlite3_exec(s->other, proof_below(&s->random, 2) ? "PRAGMA wal_checkpoint(TRUNCATE)"
							   : "PRAGMA wal_checkpoint(PASSIVE)",
		NULL, NULL, NULL);
	s->checkpoints++;
}

static void vacuum(struct soak *s)
{
	if (s->reading_until_ms != 0 ||
		users_number(s->u, "PRAGMA page_count") > VACUUM_PAGES_MAX)
		return;
	/* It may not get in, as anybody. */
	s->vacuums += sqlite3_exec(s->other, "VACUUM", NULL, NULL, NULL) == SQLITE_OK;
}

void soak_make_mischief(struct soak *s)
{
	struct soak_run *run = &s->runs[proof_below(&s->random, SOAK_PROGRAMS)];

	switch (proof_below(&s->random, 12)) {
	case 0:
	case 1:
	case 2:
		soak_end(run, SIGKILL);
		soak_run_anew(s, run);
		s->kills++;
		break;
	case 3:
		/* Who can write nothing at all cannot tell itself to end. */
		soak_stop_spoiling(s);
		soak_end(run, SIGTERM);
		soak_run_anew(s, run);
		s->ends++;
		break;
	case 4:
	case 5:
		soak_stop(s, run);
		break;
	case 6:
		fill_disk(s);
		break;
	case 7:
	case 8:
		spoil_calls(s, run);
		break;
	case 9:
		begin_reading(s);
		break;
	case 10:
		checkpoint(s);
		break;
	default:
		if (proof_below(&s->random, 5) == 0)
			vacuum(s);
	}
}

void soak_calm_down(struct soak *s, bool all)
{
	int64_t now = all ? INT64_MAX : soak_now_ms();

	if (s->full_until_ms != 0 && now > s->full_until_ms) {
		assert_int_equal(unlink(s->ballast), 0);
		s->full_until_ms = 0;
	}
	if (now > s->spoil_until_ms)
		soak_stop_spoiling(s);
	if (s->reading_until_ms != 0 && now > s->reading_until_ms) {
		assert_int_equal(sqlite3_exec(s->other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
		s->reading_until_ms = 0;
	}
}
