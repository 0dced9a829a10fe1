/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, for a while: an application that changes users, one that inserts messages, two
 * programs with the same consumers of every kind, and all that goes wrong. Programs are killed, ended,
 * stopped longer than their leases live; calls to the system fail; the disk of one results file fills up;
 * others checkpoint, vacuum, and hold a read open. `catchup verify` must find nothing wrong meanwhile, nor
 * in the end, when everything has caught up and is compared with plain queries over the sources.
 */
#include "soak.h"

#include <errno.h>
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

#define DISK_SIZE "size=256m"

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

/* ---- what must hold -------------------------------------------------------------------------- */

/* False: not now. Who opens a database that nobody else has open makes its -shm file anew, for which a full
 * disk has no room; what is wrong is so a moment later, too. */
static bool verify(struct soak *s)
{
	struct program p = {.folder = s->u->folder};
	bool passed = program_run(&p, "verify", s->u->database) == 0;

	if (!passed && s->full_until_ms == 0)
		fail_msg("verify ended with %d: %s%s", p.exit_code, p.out.text, p.err.text);
	program_free(&p);
	s->verified += passed;
	return passed;
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

	soak_calm_down(s, true);
	for (size_t i = 0; i < SOAK_PROGRAMS; i++) {
		soak_look_after(s, &s->runs[i]);
		soak_end(&s->runs[i], i == 0 ? SIGKILL : SIGTERM);
		program_free(&s->runs[i].program);
	}
	soak_stop_feeder(s);
	soak_start(s, &last, "--until-caught-up");
	/* A row that was blamed for the kills is tried once more. */
	if (program_finish(&last) == 4 && strstr(last.err.text, "row in hand")) {
		program_free(&last);
		soak_start(s, &last, "--until-caught-up");
		program_finish(&last);
	}
	if (last.exit_code != 0)
		fail_msg("the last run ended with %d: %s", last.exit_code, last.err.text);
	program_free(&last);
	try_blamed_again(s);
	check_results(s);
	assert_true(verify(s));
	recompute(s);
}

/* ---- the test -------------------------------------------------------------------------------- */

static void soak(struct soak *s)
{
	int64_t begun = soak_now_ms(), verified = begun, next = begun;
	int64_t end_ms = begun + (proof_is_long() ? SECONDS_LONG : SECONDS) * INT64_C(1000);
	int64_t every = proof_is_long() ? VERIFY_EVERY_MS : VERIFY_EVERY_MS_SHORT;
	const struct timespec breath = {0, 5000000};

	while (soak_now_ms() < end_ms && proof_goes_on()) {
		for (size_t i = 0; i < SOAK_PROGRAMS; i++)
			soak_look_after(s, &s->runs[i]);
		soak_calm_down(s, false);
		users_work(s->u, 1 + (int)proof_below(&s->random, 5));
		if (soak_now_ms() > next) {
			soak_make_mischief(s);
			next = soak_some_ms(s, 50, 500);
		}
		if (soak_now_ms() - verified > every && verify(s))
			verified = soak_now_ms();
		nanosleep(&breath, NULL);
	}
	finish(s);
	proof_result("%lld s: %lld messages and %lld changes of users through 11 consumers in %d programs; %ld "
		     "kills, %ld ends, %ld stops, %ld times calls failed (%ld programs gave up), %ld times "
		     "the disk was full, %ld foreign checkpoints, %ld vacuums, %ld long reads, %ld rows parked "
		     "for kills and tried again; %ld times verified, nothing lost, nothing doubled, no stale cache",
		(long long)(soak_now_ms() - begun) / 1000,
		users_number(s->u, "SELECT count(*) FROM rtl433_raw"),
		users_number(s->u, "SELECT count(*) FROM user_changes"), SOAK_PROGRAMS, s->kills, s->ends,
		s->stops, s->spoils, s->given_up, s->fulls, s->checkpoints, s->vacuums, s->reads,
		s->blamed, s->verified);
}

static void test_everything_at_once(void **state)
{
	struct soak *s = *state;

	s->random = proof_random_start("soak");
	users_rotate(s->u, 3);
	soak_start_feeder(s);
	for (size_t i = 0; i < SOAK_PROGRAMS; i++)
		soak_start(s, &s->runs[i].program, NULL);
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

	soak_stop_spoiling(s);
	for (size_t i = 0; i < SOAK_PROGRAMS; i++) {
		tell_program(&s->runs[i].program);
		soak_await_waker(&s->runs[i], 0);
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
