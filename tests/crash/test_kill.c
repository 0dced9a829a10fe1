/* SPDX-License-Identifier: MIT */
/*
 * The program is killed at random moments, hundreds of times, while an application inserts, and started
 * again each time. In the end the results of four kinds of consumers are what one plain query over the
 * source makes of it: nothing lost, nothing twice.
 *
 * Half of the runs take leases. Then a kill is noticed, and rows come one by one for a while; and now and
 * then the same row is in hand at three kills, is blamed for them, and its consumer stops: as promised.
 *
 * The kinds: a set-based SQL consumer; one with `next` (filter and LIMIT) and `row`; C consumers that
 * are linked in, in a chain; and one whose results are in a file of their own.
 */
#include "../patience.h"
#include "program.h"
#include "proof.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* Much more than the program does in a moment: a restart always finds work. */
#define ROWS_PER_SECOND 1500

/* So long after its start a program is killed at the latest: most have begun to commit by then. */
#define LIFE_US_MAX 90000

/* Results are compared and the files checked after so many kills. */
#define CHECK_EVERY 50

static const struct {
	const char *file, *text;
} files[] = {
	{"apply.sql",
		"-- name: apply\n-- source: rtl433_raw\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS applied(line TEXT NOT NULL);\n"
		"-- apply\nINSERT INTO applied SELECT id || ' ' || model FROM rtl433_raw\n"
		" WHERE id > @last AND id <= @max;\n"},
	{"row.sql",
		"-- name: row\n-- source: rtl433_raw\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS rowed(line TEXT NOT NULL);\n"
		"-- next\nSELECT id, freqMHz AS freq FROM rtl433_raw\n"
		" WHERE id > @last AND id <= @max AND id % 3 <> 1 ORDER BY id LIMIT 7\n"
		"-- row\nINSERT INTO rowed VALUES (@id || ' ' || @freq);\n"},
	{"into.sql",
		"-- name: into\n-- source: rtl433_raw\n-- into: results.db\n-- setup\n"
		"CREATE TABLE IF NOT EXISTS intoed(line TEXT NOT NULL);\n"
		"-- next\nSELECT id, model FROM source.rtl433_raw\n"
		" WHERE id > @last AND id <= @max ORDER BY id\n"
		"-- row\nINSERT INTO intoed VALUES (@id || ' ' || @model);\n"},
};

static const struct proof_claim claims[] = {
	{"apply", "SELECT max(id) FROM rtl433_raw",
		"SELECT id || ' ' || model AS line FROM rtl433_raw WHERE id <= ?1",
		"SELECT line FROM applied"},
	{"row", "SELECT max(id) FROM rtl433_raw",
		"SELECT id || ' ' || freqMHz AS line FROM rtl433_raw WHERE id <= ?1 AND id % 3 <> 1",
		"SELECT line FROM rowed"},
	{"rtl433_models", "SELECT max(id) FROM rtl433_raw",
		"SELECT model || ' ' || count(*) || ' ' || max(id) AS line FROM rtl433_raw WHERE id <= ?1"
		" GROUP BY model",
		"SELECT model || ' ' || messages || ' ' || newest AS line FROM rtl433_models"},
	{"into", "SELECT max(id) FROM source.rtl433_raw",
		"SELECT id || ' ' || model AS line FROM source.rtl433_raw WHERE id <= ?1",
		"SELECT line FROM intoed"},
};

#define N_CLAIMS (sizeof(claims) / sizeof(claims[0]))
#define INTO 3

struct scene {
	char *folder, *database, *results;
	struct proof_random random;
	pid_t feeder;
	int64_t watermarks[N_CLAIMS]; /* at the last look */
};

/* ---- the application ------------------------------------------------------------------------- */

static void start_feeder(struct scene *s)
{
	char rate[32];

	snprintf(rate, sizeof(rate), "%d", ROWS_PER_SECOND);
	s->feeder = fork();
	assert_true(s->feeder >= 0);
	if (s->feeder == 0) {
		/* A world that failed leaves nobody behind. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || !freopen("/dev/null", "w", stdout))
			_exit(126);
		execl(CATCHUP_FEED, CATCHUP_FEED, s->database, "--rows", "1000000000", "--rate", rate,
			(char *)NULL);
		_exit(127);
	}
}

static bool table_is_there(const char *database, const char *table)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM sqlite_schema WHERE name = '%s'", table);
	return access(database, F_OK) == 0 && test_number(database, sql) > 0;
}

static void wait_us(uint64_t us)
{
	struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000 * 1000)};

	while (nanosleep(&t, &t) != 0 && errno == EINTR)
		continue;
}

/* Until it has inserted something. */
static void await_feeder(struct scene *s)
{
	while (!table_is_there(s->database, "rtl433_raw") ||
		test_number(s->database, "SELECT count(*) FROM rtl433_raw") == 0) {
		assert_int_equal(waitpid(s->feeder, NULL, WNOHANG), 0);
		wait_us(1000);
	}
}

static void stop_feeder(struct scene *s)
{
	int status;

	if (s->feeder == 0)
		return;
	assert_int_equal(kill(s->feeder, SIGKILL), 0);
	assert_int_equal(waitpid(s->feeder, &status, 0), s->feeder);
	s->feeder = 0;
	/* It must not have ended by itself: locked out, or on an error. */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void start(struct scene *s, struct program *p, const char *until)
{
	static const char *const rows[] = {"1", "7", "100", "10000"};
	static const char *const synchronous[] = {"normal", "full", "off"};

	p->folder = s->folder;
	program_start(p, "run", s->database, "apply.sql", "row.sql", "into.sql", "rtl433_models",
		"honeywell5800_receive", "honeywell5800_trips",
		SOURCE_ROOT "/consumers/honeywell5800_totals.sql", "--progress", "never",
		"--log-level", "warn", "--batch-rows",
		rows[until ? 3 : proof_below(&s->random, 4)], "--synchronous",
		synchronous[proof_below(&s->random, 3)],
		until || proof_below(&s->random, 2) ? until : "--no-lease");
}

/* What stands in the file, 0 where nothing does: the program may be killed before it has made it. */
static void read_watermarks(const char *file, bool of_into, int64_t *now)
{
	sqlite3_stmt *stmt = NULL;
	sqlite3 *db;

	if (access(file, F_OK) != 0)
		return;
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	if (sqlite3_prepare_v2(db, "SELECT name, last FROM catchup", -1, &stmt, NULL) != SQLITE_OK)
		assert_non_null(strstr(sqlite3_errmsg(db), "no such table"));
	while (stmt && sqlite3_step(stmt) == SQLITE_ROW)
		for (size_t i = 0; i < N_CLAIMS; i++)
			if ((i == INTO) == of_into &&
				strcmp((const char *)sqlite3_column_text(stmt, 0), claims[i].consumer) == 0)
				now[i] = sqlite3_column_int64(stmt, 1);
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	sqlite3_close(db);
}

/* Watermarks never go back, whatever happens. */
static void check_watermarks(struct scene *s)
{
	int64_t now[N_CLAIMS] = {0};

	read_watermarks(s->database, false, now);
	read_watermarks(s->results, true, now);
	for (size_t i = 0; i < N_CLAIMS; i++) {
		assert_true(now[i] >= s->watermarks[i]);
		s->watermarks[i] = now[i];
	}
}

static void check_results(struct scene *s)
{
	for (size_t i = 0; i < N_CLAIMS; i++) {
		struct proof_verdict verdict;

		if (i == INTO && access(s->results, F_OK) != 0)
			continue;
		if (!proof_verify(i == INTO ? s->results : s->database, i == INTO ? s->database : NULL,
			    &claims[i], &verdict))
			fail_msg("%s", verdict.message);
	}
}

static void kill_once(struct scene *s)
{
	struct program p = {0};

	start(s, &p, NULL);
	wait_us(proof_below(&s->random, LIFE_US_MAX));
	program_signal(&p, SIGKILL);
	if (program_finish(&p) != 128 + SIGKILL)
		fail_msg("ended by itself with %d: %s", p.exit_code, p.err.text);
	program_free(&p);
}

/* The pipeline of C consumers, as the demonstration checks it: one line a kind of result. */
static void check_pipeline(struct scene *s)
{
	char *path = test_path(SOURCE_ROOT, "tests/demo_check.sql");
	FILE *file = fopen(path, "re");
	static char sql[32768];
	size_t n = fread(sql, 1, sizeof(sql) - 1, file);
	sqlite3_stmt *stmt;
	sqlite3 *db;
	int lines = 0;

	assert_true(n > 0 && feof(file));
	fclose(file);
	free(path);
	assert_int_equal(sqlite3_open(s->database, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		if (sqlite3_column_int64(stmt, 3) != 0 || sqlite3_column_int64(stmt, 4) != 0)
			fail_msg("%s: %lld lost, %lld doubled", sqlite3_column_text(stmt, 0),
				(long long)sqlite3_column_int64(stmt, 3),
				(long long)sqlite3_column_int64(stmt, 4));
		assert_true(sqlite3_column_int64(stmt, 1) > 0);
		lines++;
	}
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	assert_int_equal(lines, 6);
	sqlite3_close(db);
}

static void finish(struct scene *s)
{
	struct program p = {0};

	stop_feeder(s);
	start(s, &p, "--until-caught-up");
	if (program_finish(&p) == 4 && strstr(p.err.text, "with this row in hand")) {
		program_free(&p);
		start(s, &p, "--until-caught-up");
		program_finish(&p);
	}
	if (p.exit_code != 0)
		fail_msg("the last run ended with %d: %s", p.exit_code, p.err.text);
	program_free(&p);
	check_watermarks(s);
	check_results(s);
	check_pipeline(s);
	for (size_t i = 0; i < N_CLAIMS; i++)
		assert_int_equal(
			s->watermarks[i], test_number(s->database, "SELECT max(id) FROM rtl433_raw"));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static struct scene *build_world(void)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->folder = test_folder_make();
	s->database = test_path(s->folder, "app.db");
	s->results = test_path(s->folder, "results.db");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char *path = test_path(s->folder, files[i].file);

		test_write_file(path, files[i].text);
		free(path);
	}
	return s;
}

static void leave_world(struct scene *s)
{
	free(s->database);
	free(s->results);
	test_folder_remove(s->folder);
	free(s);
}

/* Each world has so many kills: it stays small, and some can be at work at once. */
#define KILLS_PER_WORLD 125

struct journey {
	long kills;
	struct proof_random random;
};

/* Worlds of one process. */
static void kill_in_worlds(struct proof_steps *mine, long *rows, void *context)
{
	const struct journey *journey = context;
	long world;

	while (proof_steps_next(mine, &world)) {
		long first = world * KILLS_PER_WORLD;
		struct scene *s = build_world();

		s->random = proof_random_of(&journey->random, (uint64_t)world);
		start_feeder(s);
		await_feeder(s);
		for (long i = 0; i < KILLS_PER_WORLD && first + i < journey->kills; i++) {
			kill_once(s);
			check_watermarks(s);
			if (i % CHECK_EVERY == CHECK_EVERY - 1)
				check_results(s);
		}
		finish(s);
		*rows += test_number(s->database, "SELECT count(*) FROM rtl433_raw");
		leave_world(s);
	}
}

static void test_killed_at_random_moments(void **state)
{
	struct journey journey = {.kills = proof_count(500, 50000), .random = proof_random_start("kill")};
	struct proof_steps worlds =
		proof_steps_start((journey.kills + KILLS_PER_WORLD - 1) / KILLS_PER_WORLD, 1);
	long rows, done;

	(void)state;
	proof_use_memory();
	rows = proof_steps_take(&worlds, kill_in_worlds, &journey);
	done = worlds.done == worlds.total ? journey.kills : worlds.done * KILLS_PER_WORLD;
	proof_result("%ld kills, %ld rows of the source, 7 consumers: none lost, none doubled", done, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_at_random_moments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
