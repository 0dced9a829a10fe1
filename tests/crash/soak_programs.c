/* SPDX-License-Identifier: MIT */
#include "soak.h"

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

#define LEASE_MS "1000"
#define MESSAGES_PER_SECOND "300"

int64_t soak_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int64_t soak_some_ms(struct soak *s, uint64_t least, uint64_t most)
{
	return soak_now_ms() + (int64_t)(least + proof_below(&s->random, most - least + 1));
}

void soak_start(struct soak *s, struct program *p, const char *until)
{
	static const char *const rows[] = {"1", "30", "1000", "10000"};
	static const char *const synchronous[] = {"normal", "full"};

	p->folder = s->u->folder;
	program_start(p, "run", s->u->database, "apply.sql", "row.sql", "into.sql", "parked.sql",
		"rtl433_models", "honeywell5800_receive", "honeywell5800_trips",
		SOURCE_ROOT "/consumers/honeywell5800_totals.sql", SOAK_MAP, s->u->writer, "user_names",
		"--changelog", s->u->log, "--workers", "mapped=3", "--lease-ms", LEASE_MS, "--wal-mib",
		"4", "--progress", "never", "--log-level", "warn", "--batch-rows",
		rows[until ? 3 : proof_below(&s->random, 4)], "--synchronous",
		synchronous[proof_below(&s->random, 2)], until);
}

void soak_stop(struct soak *s, struct soak_run *run)
{
	uint64_t ms = 10 + proof_below(&s->random, 2500);
	const struct timespec life = {(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)};

	if (run->waker != 0)
		return;
	program_signal(&run->program, SIGSTOP);
	run->waker = fork();
	assert_true(run->waker >= 0);
	if (run->waker == 0) {
		nanosleep(&life, NULL);
		kill(run->program.pid, SIGCONT);
		_exit(0);
	}
	s->stops++;
}

void soak_await_waker(struct soak_run *run, int how)
{
	if (run->waker != 0 && waitpid(run->waker, NULL, how) == run->waker)
		run->waker = 0;
}

void soak_run_anew(struct soak *s, struct soak_run *run)
{
	soak_await_waker(run, 0);
	program_free(&run->program);
	*run = (struct soak_run){0};
	soak_start(s, &run->program, NULL);
}

static bool has_ended(const struct program *p)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

void soak_look_after(struct soak *s, struct soak_run *run)
{
	program_has_said(&run->program, "");
	soak_await_waker(run, WNOHANG);
	if (program_has_said(&run->program, " error "))
		snprintf(run->complaint, sizeof(run->complaint), "%.500s",
			strstr(run->program.err.text, " error "));
	if (!has_ended(&run->program)) {
		program_forget(&run->program);
		return;
	}
	program_finish(&run->program);
	if (!run->spoiled)
		fail_msg("a program ended by itself with %d: %s", run->program.exit_code,
			run->program.err.text);
	if (run->program.exit_code > 128)
		fail_msg("a program died of signal %d: %s", run->program.exit_code - 128,
			run->program.err.text);
	s->given_up++;
	soak_run_anew(s, run);
}

/* Who is asked to end before it has begun ends by the signal. And whoever is killed three times with the
 * same row in hand has a row that is blamed for it: 4, until it is started again. */
static bool may_end_with(const struct soak_run *run, int code)
{
	return code == 128 + SIGTERM || (code == 4 && strstr(run->complaint, "row in hand"));
}

void soak_end(struct soak_run *run, int number)
{
	int code;

	soak_await_waker(run, 0);
	program_signal(&run->program, number);
	code = program_finish(&run->program);
	if (code != (number == SIGKILL ? 128 + SIGKILL : 0) && !run->spoiled &&
		!(number == SIGTERM && may_end_with(run, code)))
		fail_msg("ended with %d:%s; %s", code, run->complaint, run->program.err.text);
}

void soak_start_feeder(struct soak *s)
{
	s->feeder = fork();
	assert_true(s->feeder >= 0);
	if (s->feeder == 0) {
		if (!freopen("/dev/null", "w", stdout))
			_exit(126);
		execl(CATCHUP_FEED, CATCHUP_FEED, s->u->database, "--rows", "1000000000", "--rate",
			MESSAGES_PER_SECOND, (char *)NULL);
		_exit(127);
	}
	while (users_number(s->u, "SELECT count(*) FROM sqlite_schema WHERE name = 'rtl433_raw'") == 0 ||
		users_number(s->u, "SELECT count(*) FROM rtl433_raw") == 0)
		assert_int_equal(waitpid(s->feeder, NULL, WNOHANG), 0);
}

void soak_stop_feeder(struct soak *s)
{
	int status;

	assert_int_equal(kill(s->feeder, SIGKILL), 0);
	assert_int_equal(waitpid(s->feeder, &status, 0), s->feeder);
	s->feeder = 0;
	/* It must not have ended by itself: locked out, or on an error. */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}
