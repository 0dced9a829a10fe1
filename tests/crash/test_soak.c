/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, for a while: an application that changes users, one that inserts messages, two
 * programs with the same consumers of every kind, and all that goes wrong. Programs are killed, ended,
 * stopped longer than their leases live; calls to the system fail; the disk of one results file fills up;
 * others checkpoint, vacuum, and hold a read open. `catchup verify` must find nothing wrong meanwhile, nor
 * in the end, when everything has caught up and is compared with plain queries over the sources.
 */
#include "proof.h"
#include "users.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SECONDS 60
#define SECONDS_LONG 7200
#define VERIFY_EVERY_MS 60000
#define VERIFY_EVERY_MS_SHORT 10000

#define PROGRAMS 2
#define LEASE_MS "1000"
#define MESSAGES_PER_SECOND "300"
#define DISK_SIZE "size=256m"
#define VACUUM_PAGES_MAX 50000

static const struct {
	const char *file, *text;
} files[] = {
	{"apply.sql", "-- name: apply\n-- source: rtl433_raw\n-- setup\n"
		      "CREATE TABLE IF NOT EXISTS applied(line TEXT NOT NULL);\n"
		      "-- apply\nINSERT INTO applied SELECT id || ' ' || model FROM rtl433_raw\n"
		      " WHERE id > @last AND id <= @max;\n"},
	{"row.sql", "-- name: row\n-- source: rtl433_raw\n-- setup\n"
		    "CREATE TABLE IF NOT EXISTS rowed(line TEXT NOT NULL);\n"
		    "-- next\nSELECT id, freqMHz AS freq FROM rtl433_raw\n"
		    " WHERE id > @last AND id <= @max AND id % 3 <> 1 ORDER BY id LIMIT 7\n"
		    "-- row\nINSERT INTO rowed VALUES (@id || ' ' || @freq);\n"},
	{"into.sql", "-- name: into\n-- source: rtl433_raw\n-- into: disk/results.db\n-- setup\n"
		     "CREATE TABLE IF NOT EXISTS intoed(line TEXT NOT NULL);\n"
		     "-- next\nSELECT id, model FROM source.rtl433_raw\n"
		     " WHERE id > @last AND id <= @max ORDER BY id\n"
		     "-- row\nINSERT INTO intoed VALUES (@id || ' ' || @model);\n"},
	/* Some rows cannot be processed: they are parked, and the batch is halved to find them. */
	{"parked.sql", "-- name: parked\n-- source: rtl433_raw\n-- on-error: park\n-- setup\n"
		       "CREATE TABLE IF NOT EXISTS unparked(line TEXT NOT NULL CHECK (line <> 'bad'));\n"
		       "-- apply\nINSERT INTO unparked\n"
		       " SELECT CASE WHEN id % 499 = 0 THEN 'bad' ELSE id || ' ' || model END\n"
		       " FROM rtl433_raw WHERE id > @last AND id <= @max;\n"},
};

#define SOURCE_LINES "SELECT id || ' ' || model AS line FROM rtl433_raw WHERE id <= ?1"

static const struct proof_claim claims[] = {
	{"apply", "SELECT max(id) FROM rtl433_raw", SOURCE_LINES, "SELECT line FROM applied"},
	{"row", "SELECT max(id) FROM rtl433_raw",
		"SELECT id || ' ' || freqMHz AS line FROM rtl433_raw WHERE id <= ?1 AND id % 3 <> 1",
		"SELECT line FROM rowed"},
	{"mapped", "SELECT max(id) FROM rtl433_raw", SOURCE_LINES, "SELECT line FROM mapped"},
	{"parked", "SELECT max(id) FROM rtl433_raw", SOURCE_LINES " AND id % 499 <> 0",
		"SELECT line FROM unparked"},
	{"rtl433_models", "SELECT max(id) FROM rtl433_raw",
		"SELECT model || ' ' || count(*) || ' ' || max(id) AS line FROM rtl433_raw WHERE id <= ?1"
		" GROUP BY model",
		"SELECT model || ' ' || messages || ' ' || newest AS line FROM rtl433_models"},
	{"into", "SELECT max(id) FROM source.rtl433_raw",
		"SELECT id || ' ' || model AS line FROM source.rtl433_raw WHERE id <= ?1",
		"SELECT line FROM intoed"},
};

#define N_CLAIMS (sizeof(claims) / sizeof(claims[0]))
#define INTO (N_CLAIMS - 1)

struct run {
	struct program program;
	pid_t waker;              /* lets it go on after it was stopped; 0: it runs */
	bool spoiled;             /* calls of it have failed, so it may end */
	char complaint[512];      /* the last error that it has told */
};

struct soak {
	struct users *u;
	struct proof_random random;
	char *disk, *results, *ballast;
	pid_t feeder;
	struct run runs[PROGRAMS];
	pid_t spoiler;                /* strace, while it makes calls of a program fail */
	int64_t spoil_until_ms;       /* 0: there is none */
	sqlite3 *other;               /* foreign to the programs */
	int64_t reading_until_ms;
	int64_t full_until_ms;
	bool mounted, can_trace;

	long kills, ends, stops, spoils, given_up, fulls, checkpoints, vacuums, reads, blamed, verified;
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static int64_t some_ms(struct soak *s, uint64_t least, uint64_t most)
{
	return now_ms() + (int64_t)(least + proof_below(&s->random, most - least + 1));
}

/* ---- programs -------------------------------------------------------------------------------- */

static void start(struct soak *s, struct program *p, const char *until)
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

/* Who is stopped may hold a lock that this test waits for: somebody else wakes it. */
static void stop(struct soak *s, struct run *run)
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

static void await_waker(struct run *run, int how)
{
	if (run->waker != 0 && waitpid(run->waker, NULL, how) == run->waker)
		run->waker = 0;
}

static void run_anew(struct soak *s, struct run *run)
{
	await_waker(run, 0);
	program_free(&run->program);
	*run = (struct run){0};
	start(s, &run->program, NULL);
}

static bool has_ended(const struct program *p)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
}

/* Nobody reads a pipe that is full for them. One that ended by itself must have had a reason. */
static void look_after(struct soak *s, struct run *run)
{
	program_has_said(&run->program, "");
	await_waker(run, WNOHANG);
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
	run_anew(s, run);
}

/* Who is asked to end before it has begun ends by the signal. And whoever is killed three times with the
 * same row in hand has a row that is blamed for it: 4, until it is started again. */
static bool may_end_with(const struct run *run, int code)
{
	return code == 128 + SIGTERM || (code == 4 && strstr(run->complaint, "row in hand"));
}

static void end(struct run *run, int number)
{
	int code;

	await_waker(run, 0);
	program_signal(&run->program, number);
	code = program_finish(&run->program);
	if (code != (number == SIGKILL ? 128 + SIGKILL : 0) && !run->spoiled &&
		!(number == SIGTERM && may_end_with(run, code)))
		fail_msg("ended with %d:%s; %s", code, run->complaint, run->program.err.text);
}

static void start_feeder(struct soak *s)
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

static void stop_feeder(struct soak *s)
{
	int status;

	assert_int_equal(kill(s->feeder, SIGKILL), 0);
	assert_int_equal(waitpid(s->feeder, &status, 0), s->feeder);
	s->feeder = 0;
	/* It must not have ended by itself: locked out, or on an error. */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

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
	s->full_until_ms = some_ms(s, 100, 3000);
	s->fulls++;
}

static void spoil_calls(struct soak *s, struct run *run)
{
	static const char *const calls[] = {"pwrite64", "fdatasync", "write", "ftruncate", "openat"};
	static const char *const errors[] = {"EIO", "ENOSPC", "EMFILE", "EINTR"};
	const char *call = calls[proof_below(&s->random, 5)];
	char pid[32], trace[64], inject[128];

	if (!s->can_trace || s->spoil_until_ms != 0 || run->waker != 0)
		return;
	snprintf(pid, sizeof(pid), "%d", (int)run->program.pid);
	snprintf(trace, sizeof(trace), "trace=%s", call);
	snprintf(inject, sizeof(inject), "inject=%s:error=%s:when=1+%d", call,
		errors[proof_below(&s->random, 4)], 1 + (int)proof_below(&s->random, 20));
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
	s->spoil_until_ms = some_ms(s, 50, 600);
	s->spoils++;
}

static void stop_spoiling(struct soak *s)
{
	if (s->spoil_until_ms == 0)
		return;
	/* It lets go of what it traces before it ends. A program that was stopped and woken in that moment may
	 * stay stopped, with a lock that all others wait for. */
	kill(s->spoiler, SIGTERM);
	assert_int_equal(waitpid(s->spoiler, NULL, 0), s->spoiler);
	s->spoil_until_ms = 0;
	for (size_t i = 0; i < PROGRAMS; i++)
		if (s->runs[i].program.pid > 0)
			kill(s->runs[i].program.pid, SIGCONT);
}

static void begin_reading(struct soak *s)
{
	if (s->reading_until_ms != 0)
		return;
	assert_int_equal(
		sqlite3_exec(s->other, "BEGIN; SELECT count(*) FROM users", NULL, NULL, NULL), SQLITE_OK);
	s->reading_until_ms = some_ms(s, 100, 5000);
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

static void make_mischief(struct soak *s)
{
	struct run *run = &s->runs[proof_below(&s->random, PROGRAMS)];

	switch (proof_below(&s->random, 12)) {
	case 0:
	case 1:
	case 2:
		end(run, SIGKILL);
		run_anew(s, run);
		s->kills++;
		break;
	case 3:
		end(run, SIGTERM);
		run_anew(s, run);
		s->ends++;
		break;
	case 4:
	case 5:
		stop(s, run);
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

/* Ends what has lasted long enough; all: whatever goes wrong. */
static void calm_down(struct soak *s, bool all)
{
	int64_t now = all ? INT64_MAX : now_ms();

	if (s->full_until_ms != 0 && now > s->full_until_ms) {
		assert_int_equal(unlink(s->ballast), 0);
		s->full_until_ms = 0;
	}
	if (now > s->spoil_until_ms)
		stop_spoiling(s);
	if (s->reading_until_ms != 0 && now > s->reading_until_ms) {
		assert_int_equal(sqlite3_exec(s->other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
		s->reading_until_ms = 0;
	}
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void verify(struct soak *s)
{
	struct program p = {.folder = s->u->folder};

	if (program_run(&p, "verify", s->u->database) != 0)
		fail_msg("verify ended with %d: %s%s", p.exit_code, p.out.text, p.err.text);
	program_free(&p);
	s->verified++;
}

/* A row that was in hand each time its process was killed is blamed for it at the third: where rows are
 * parked, that is what becomes of it, and whoever knows better tries it again. */
static void try_blamed_again(struct soak *s)
{
	static const char blamed[] = "SELECT coalesce(min(id), 0) FROM catchup_dead WHERE consumer = 'parked'"
				     " AND message LIKE 'the process ended % times with this row in hand%'";
	long long id;

	while ((id = users_number(s->u, "%s", blamed)) != 0) {
		struct program p = {.folder = s->u->folder};
		char text[24];

		snprintf(text, sizeof(text), "%lld", id);
		program_run(&p, "dead", "retry", s->u->database, "--consumer", "parked", "--id", text);
		/* 4: it fails by itself, too. */
		if (p.exit_code != 0 && p.exit_code != 4)
			fail_msg("dead retry of row %lld ended with %d: %s", id, p.exit_code, p.err.text);
		program_free(&p);
		s->blamed++;
	}
}

/* What was parked, and why, may tell what happened. */
static void fail_with_letters(struct soak *s, const char *message)
{
	struct program p = {.folder = s->u->folder};

	program_run(&p, "dead", "list", s->u->database);
	fail_msg("%s; dead letters: %s", message, p.out.text);
}

static void check_results(struct soak *s)
{
	for (size_t i = 0; i < N_CLAIMS; i++) {
		struct proof_verdict verdict;

		if (!proof_verify(i == INTO ? s->results : s->u->database,
			    i == INTO ? s->u->database : NULL, &claims[i], &verdict))
			fail_with_letters(s, verdict.message);
		assert_int_equal(verdict.watermark, verdict.newest);
	}
	assert_int_equal(users_number(s->u, "SELECT count(*) FROM catchup_dead WHERE consumer = 'parked'"),
		users_number(s->u, "SELECT count(*) FROM rtl433_raw WHERE id %% 499 = 0"));
	assert_int_equal(users_number(s->u, "SELECT count(*) FROM catchup_dead WHERE consumer <> 'parked'"), 0);
	assert_int_equal(users_stale(s->u), 0);
}

static void recompute(struct soak *s)
{
	struct program p = {.folder = s->u->folder};

	if (program_run(&p, "verify", s->u->database, "apply.sql", "row.sql", "into.sql", "parked.sql",
		    "rtl433_models", "honeywell5800_trips", SOAK_MAP, "--recompute") != 0)
		fail_msg("verify --recompute ended with %d: %s%s", p.exit_code, p.out.text, p.err.text);
	program_free(&p);
}

static void finish(struct soak *s)
{
	struct program last = {0};

	calm_down(s, true);
	for (size_t i = 0; i < PROGRAMS; i++) {
		look_after(s, &s->runs[i]);
		end(&s->runs[i], i == 0 ? SIGKILL : SIGTERM);
		program_free(&s->runs[i].program);
	}
	stop_feeder(s);
	start(s, &last, "--until-caught-up");
	/* A row that was blamed for the kills is tried once more. */
	if (program_finish(&last) == 4 && strstr(last.err.text, "row in hand")) {
		program_free(&last);
		start(s, &last, "--until-caught-up");
		program_finish(&last);
	}
	if (last.exit_code != 0)
		fail_msg("the last run ended with %d: %s", last.exit_code, last.err.text);
	program_free(&last);
	try_blamed_again(s);
	check_results(s);
	verify(s);
	recompute(s);
}

/* ---- the test -------------------------------------------------------------------------------- */

static void soak(struct soak *s)
{
	int64_t begun = now_ms(), verified = begun, next = begun;
	int64_t end_ms = begun + (proof_is_long() ? SECONDS_LONG : SECONDS) * INT64_C(1000);
	int64_t every = proof_is_long() ? VERIFY_EVERY_MS : VERIFY_EVERY_MS_SHORT;
	const struct timespec breath = {0, 5000000};

	while (now_ms() < end_ms && proof_goes_on()) {
		for (size_t i = 0; i < PROGRAMS; i++)
			look_after(s, &s->runs[i]);
		calm_down(s, false);
		users_work(s->u, 1 + (int)proof_below(&s->random, 5));
		if (now_ms() > next) {
			make_mischief(s);
			next = some_ms(s, 50, 500);
		}
		if (now_ms() - verified > every) {
			verify(s);
			verified = now_ms();
		}
		nanosleep(&breath, NULL);
	}
	finish(s);
	proof_result("%lld s: %lld messages and %lld changes of users through 11 consumers in %d programs; %ld "
		     "kills, %ld ends, %ld stops, %ld times calls failed (%ld programs gave up), %ld times "
		     "the disk was full, %ld foreign checkpoints, %ld vacuums, %ld long reads, %ld rows parked for kills and tried again; %ld times "
		     "verified, nothing lost, nothing doubled, no stale cache",
		(long long)(now_ms() - begun) / 1000,
		users_number(s->u, "SELECT count(*) FROM rtl433_raw"),
		users_number(s->u, "SELECT count(*) FROM user_changes"), PROGRAMS, s->kills, s->ends,
		s->stops, s->spoils, s->given_up, s->fulls, s->checkpoints, s->vacuums, s->reads,
		s->blamed, s->verified);
}

static void test_everything_at_once(void **state)
{
	struct soak *s = *state;

	s->random = proof_random_start("soak");
	users_rotate(s->u, 3);
	start_feeder(s);
	for (size_t i = 0; i < PROGRAMS; i++)
		start(s, &s->runs[i].program, NULL);
	soak(s);
}

/* What is mounted is this process's own, and goes with it. */
static bool mount_disk(const char *path)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		mount("tmpfs", path, "tmpfs", 0, DISK_SIZE) == 0;
}

static int set_up(void **state)
{
	struct soak *s = calloc(1, sizeof(*s));

	proof_use_memory();
	users_set_up((void **)&s->u);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = test_path(s->u->folder, files[i].file);

		test_write_file(path, files[i].text);
		free(path);
	}
	s->disk = test_path(s->u->folder, "disk");
	s->results = test_path(s->disk, "results.db");
	s->ballast = test_path(s->disk, "ballast");
	assert_int_equal(mkdir(s->disk, 0700), 0);
	s->mounted = mount_disk(s->disk);
	s->can_trace = system("strace -f -qq -o /dev/null -e trace=unlink true 2>/dev/null") == 0;
	assert_int_equal(sqlite3_open(s->u->database, &s->other), SQLITE_OK);
	sqlite3_busy_timeout(s->other, 500);
	*state = s;
	return 0;
}

/* A program that is still there after a failure: whether it runs, and where each of its threads is. */
static void tell_program(const struct program *p)
{
	char command[200];

	if (p->pid <= 0)
		return;
	snprintf(command, sizeof(command), "cd /proc/%d/task && grep -H State */status >&2;"
		" grep -H . */comm */wchan >&2", (int)p->pid);
	if (system(command) != 0)
		fputs("nothing is known about a program\n", stderr);
}

static int tear_down(void **state)
{
	struct soak *s = *state;

	stop_spoiling(s);
	for (size_t i = 0; i < PROGRAMS; i++) {
		tell_program(&s->runs[i].program);
		await_waker(&s->runs[i], 0);
		program_free(&s->runs[i].program);
	}
	if (s->feeder > 0) {
		kill(s->feeder, SIGKILL);
		waitpid(s->feeder, NULL, 0);
	}
	sqlite3_close(s->other);
	if (s->mounted)
		umount2(s->disk, MNT_DETACH);
	users_tear_down((void **)&s->u);
	free(s->disk);
	free(s->results);
	free(s->ballast);
	free(s);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_everything_at_once, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
