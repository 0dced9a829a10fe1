/* SPDX-License-Identifier: MIT */
/*
 * Who runs a consumer: a second process takes over from one that is gone or does not answer, and one that
 * wakes up late commits nothing any more. Through the program.
 */
#include "help.h"

#include <catchup/consumer.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

static const char copies[] = "-- name: copies\n-- source: numbers\n-- setup\n"
			     "CREATE TABLE IF NOT EXISTS copy(id INTEGER);\n"
			     "-- row\nINSERT INTO copy VALUES(@id);\n";

static void all_copied_once(struct scene *s)
{
	scene_until(s, s->database, "SELECT last = (SELECT max(id) FROM numbers) FROM catchup");
	assert_int_equal(scene_number(s, "SELECT count(*) FROM copy"),
		scene_number(s, "SELECT count(*) FROM numbers"));
	assert_int_equal(scene_number(s, "SELECT count(DISTINCT id) FROM copy"),
		scene_number(s, "SELECT count(*) FROM numbers"));
}

static void end(struct program *p)
{
	program_signal(p, SIGTERM);
	assert_int_equal(program_finish(p), 0);
	program_free(p);
}

/* Until its last thread has stopped: one that still runs may take a lock that it then keeps. */
static void stop(struct program *p)
{
	siginfo_t info;

	program_signal(p, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)p->pid, &info, WSTOPPED), 0);
	assert_int_equal(info.si_code, CLD_STOPPED);
}

#define HOUR "3600000"

/* One runs the consumer, the other waits for it, and keeps it once it has got it. */
static void start_both(struct scene *s, struct program *one, struct program *two, const char *lease_ms)
{
	char *file = scene_file(s, "copies.sql", copies);

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER)");
	for (;;) {
		program_start(one, "run", s->database, file, "--lease-ms", lease_ms);
		program_expect_err(one, "follows 'numbers'");
		program_start(two, "run", s->database, file, "--lease-ms", HOUR);
		program_expect_err(two, "copies: ");
		if (strstr(two->err.text, "is run by process "))
			break;
		/* The first one did not come to renew its lease in time. */
		end(one);
		end(two);
	}
	scene_insert(s, 50);
	all_copied_once(s);
}

/* What status calls the owner ends with the pid. */
static void owner_is(struct scene *s, const struct program *expected)
{
	struct program p = {0};
	char *owner, pid[32];

	snprintf(pid, sizeof(pid), ":%d", (int)expected->pid);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	owner = test_json(p.out.text, "$.consumers[0].owner");
	help_expect(owner, pid);
	free(owner);
	program_free(&p);
	assert_int_equal(program_run(&p, "status", s->database), 0);
	help_expect(p.out.text, pid);
	program_free(&p);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* That it is gone is seen; nobody waits for the lease to expire, which is an hour away. */
static void who_takes_over_from_a_killed_process_waits_for_no_expiry(void **state)
{
	struct scene *s = *state;
	struct program one = {0}, two = {0};

	start_both(s, &one, &two, HOUR);
	owner_is(s, &one);
	program_signal(&one, SIGKILL);
	assert_int_equal(program_finish(&one), 128 + SIGKILL);
	program_free(&one);
	scene_insert(s, 50);
	all_copied_once(s);
	owner_is(s, &two);
	end(&two);
}

static void who_slept_past_its_lease_commits_nothing_any_more(void **state)
{
	struct scene *s = *state;
	struct program one = {0}, two = {0};
	sqlite3 *db;

	start_both(s, &one, &two, "2000");
	/* One has rows in hand and waits for the lock when it is stopped. */
	db = help_connect(s->database);
	help_exec(db, "BEGIN IMMEDIATE; INSERT INTO numbers(n) VALUES(1); COMMIT; BEGIN IMMEDIATE");
	stop(&one);
	help_exec(db, "COMMIT");
	sqlite3_close(db);
	scene_insert(s, 50);
	program_expect_err(&two, "follows 'numbers'");
	all_copied_once(s);
	owner_is(s, &two);
	assert_true(scene_number(s, "SELECT fence FROM catchup_lease") >= 2);
	program_signal(&one, SIGCONT);
	program_expect_err(&one, "is run by process ");
	scene_insert(s, 50);
	all_copied_once(s);
	owner_is(s, &two);
	/* And back again. */
	end(&two);
	scene_insert(s, 50);
	all_copied_once(s);
	owner_is(s, &one);
	end(&one);
	all_copied_once(s);
}

/* It has waited since before that reset, and would commit rows of the table that it knows. */
static void who_waited_does_not_go_on_with_the_source_before_a_reset(void **state)
{
	struct scene *s = *state;
	struct program one = {0}, two = {0}, p = {0};
	char *file;

	start_both(s, &one, &two, HOUR);
	scene_sql(s, "CREATE TABLE others(id INTEGER PRIMARY KEY AUTOINCREMENT);"
		     "INSERT INTO others DEFAULT VALUES; INSERT INTO others DEFAULT VALUES");
	stop(&two);
	end(&one);
	file = scene_file(s, "copies.sql", "-- name: copies\n-- source: others\n"
		"-- row\nINSERT INTO copy VALUES(@id);\n-- reset\nDELETE FROM copy;\n");
	assert_int_equal(program_run(&p, "reset", s->database, file), 0);
	program_free(&p);
	program_signal(&two, SIGCONT);
	program_expect_err(&two, "it follows 'others' by now");
	assert_int_equal(program_finish(&two), 4);
	program_free(&two);
	assert_int_equal(help_watermark(s->database, "copies"), 0);
	assert_int_equal(program_run(&p, "run", s->database, file, "--until-caught-up"), 0);
	program_free(&p);
	assert_int_equal(scene_number(s, "SELECT group_concat(id, ' ') = '1 2' FROM copy"), 1);
}

/* Then only the watermark decides, and nobody is the owner. */
static void without_leases_both_work_and_nothing_is_done_twice(void **state)
{
	struct scene *s = *state;
	struct program one = {0}, two = {0}, p = {0};
	char *file = scene_file(s, "copies.sql", copies);

	scene_sql(s, "PRAGMA journal_mode = WAL;"
		     "CREATE TABLE numbers(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER)");
	program_start(&one, "run", s->database, file, "--no-lease", "--batch-rows", "5");
	program_expect_err(&one, "follows 'numbers'");
	program_start(&two, "run", s->database, file, "--no-lease", "--batch-rows", "5");
	program_expect_err(&two, "follows 'numbers'");
	for (int i = 0; i < 20; i++)
		scene_insert(s, 20);
	all_copied_once(s);
	assert_int_equal(program_run(&p, "status", s->database, "--json"), 0);
	test_json_is(p.out.text, "$.consumers[0].owner", NULL);
	program_free(&p);
	end(&one);
	end(&two);
	all_copied_once(s);
}

#define KEEPERS 5
#define LIFE_NS 1000000000ll

static int stop_at_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)state;
	(void)row;
	return catchup_fail(ctx, 0, "as the test wants it");
}

/* The first that is due to expire; a lease that was given back has expired long ago. */
static long long first_expiry(struct scene *s)
{
	return scene_number(s, "SELECT min(expires_ns) FROM catchup_lease WHERE expires_ns > 0");
}

static void until_renewed_for(struct scene *s, long long lives)
{
	scene_until(s, s->database,
		"SELECT min(expires_ns) >= %lld FROM catchup_lease WHERE expires_ns > 0",
		first_expiry(s) + lives * LIFE_NS);
}

/* So many consumers that end at the first row of `numbers`, and one that stays. */
static void start_keepers(struct scene *s, size_t n)
{
	static const char *const names[KEEPERS] = {"a", "b", "c", "d", "e"};
	static const struct catchup_consumer stays = {CATCHUP_CONSUMER_ABI, .name = "stays",
		.source = "others", .row = stop_at_row};
	static struct catchup_consumer ends[KEEPERS];
	const struct catchup_options options = {.lease_ms = LIFE_NS / 1000000};

	scene_sql(s, NUMBERS "; CREATE TABLE others(id INTEGER PRIMARY KEY)");
	scene_open(s, &options);
	for (size_t i = 0; i < n; i++) {
		ends[i] = (struct catchup_consumer){CATCHUP_CONSUMER_ABI, .name = names[i],
			.source = "numbers", .row = stop_at_row};
		scene_add_table(s, &ends[i]);
	}
	scene_add_table(s, &stays);
	scene_start(s);
	scene_until(s, s->database, "SELECT count(*) = %zu FROM catchup_lease WHERE expires_ns > 0", n + 1);
}

/* At rest one consumer renews for all of a results file. When it ends, whoever is left does; most likely
 * that is another one than the one that stays here. */
static void leases_at_rest_are_kept_when_who_kept_them_ends(void **state)
{
	struct scene *s = *state;

	start_keepers(s, KEEPERS);
	until_renewed_for(s, 3);
	scene_insert(s, 1);
	scene_until(s, s->database, "SELECT count(*) = %d FROM catchup_lease WHERE expires_ns = 0", KEEPERS);
	until_renewed_for(s, 2);
	assert_int_equal(scene_number(s, "SELECT fence FROM catchup_lease WHERE name = 'stays'"), 1);
	assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
}

/* Whoever stays would keep it renewed for good. */
static void a_lease_that_could_not_be_dropped_is_not_kept(void **state)
{
	struct scene *s = *state;

	start_keepers(s, 1);
	scene_sql(s, "CREATE TRIGGER no BEFORE UPDATE ON catchup_lease WHEN NEW.expires_ns = 0"
		     " BEGIN SELECT RAISE(ABORT, 'not now'); END");
	scene_insert(s, 1);
	scene_until(s, s->database, "SELECT count(*) FROM catchup_state WHERE name = 'a' AND error_row = 1");
	until_renewed_for(s, 2);
	assert_int_equal(scene_number(s, "SELECT expires_ns > 0 FROM catchup_lease WHERE name = 'a'"), 1);
	scene_sql(s, "DROP TRIGGER no");
	scene_until(s, s->database, "SELECT expires_ns = 0 FROM catchup_lease WHERE name = 'a'");
	assert_int_equal(scene_number(s, "SELECT expires_ns > 0 FROM catchup_lease WHERE name = 'stays'"), 1);
	assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
}

/* ---- what is known of who had the lease ------------------------------------------------------ */

static struct heir {
	struct scene *scene;
	_Atomic int opened;
	_Atomic int seen, marked;
} heir;

/* The first time it waits for the lease. Then it has it, and cannot do with it what it wants, and there are
 * rows that the one before may have had in hand. */
static int open_at_third(struct catchup_context *ctx, void **state)
{
	(void)state;
	if (++heir.opened != 2)
		return CATCHUP_ROW_APPLIED;
	scene_insert(heir.scene, 2);
	return catchup_fail(ctx, SQLITE_BUSY, "as the test wants it");
}

static int see(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	sqlite3 *db = help_connect(heir.scene->database);
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT 1 FROM catchup_state WHERE attempt_row = ?1 AND attempts = 2", -1,
		&stmt, NULL);

	(void)ctx;
	(void)state;
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(stmt, 1, sqlite3_column_int64(row, 0));
	if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
		heir.marked++;
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	heir.seen++;
	return CATCHUP_ROW_APPLIED;
}

/* The lease is its own by then, and says no more of who had it before. */
static void a_crash_is_known_also_after_a_second_lease(void **state)
{
	const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "copies", .source = "numbers",
		.open = open_at_third, .row = see};
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", copies);
	struct program one = {0};

	heir.scene = s;
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS);
	scene_insert(s, 5);
	program_start(&one, "run", s->database, file);
	program_expect_err(&one, "follows 'numbers'");
	all_copied_once(s);
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_start(s);
	for (int i = 0; !scene_logged(s, "waiting until it ends"); i++) {
		assert_true(i < PATIENCE_MS);
		help_pause();
	}
	program_signal(&one, SIGKILL);
	assert_int_equal(program_finish(&one), 128 + SIGKILL);
	program_free(&one);
	scene_until(s, s->database, "SELECT last = 7 FROM catchup");
	assert_int_equal(scene_close(s, NULL), CATCHUP_OK);
	assert_true(scene_logged(s, "gone without a word"));
	assert_int_equal(heir.opened, 3);
	assert_int_equal(heir.seen, 2);
	assert_int_equal(heir.marked, 2);
}

/* The first time it waits for the lease; when it has it, it cannot be opened any more. */
static int open_once(struct catchup_context *ctx, void **state)
{
	(void)state;
	return ++heir.opened == 1 ? CATCHUP_ROW_APPLIED : catchup_fail(ctx, 0, "as the test wants it");
}

/* Else those that go on in the file would keep it renewed. */
static void a_lease_that_nothing_could_be_done_with_is_dropped(void **state)
{
	const struct catchup_consumer table = {CATCHUP_CONSUMER_ABI, .name = "copies", .source = "numbers",
		.open = open_once, .row = stop_at_row};
	static const struct catchup_consumer stays = {CATCHUP_CONSUMER_ABI, .name = "stays",
		.source = "others", .row = stop_at_row};
	struct scene *s = *state;
	char *file = scene_file(s, "copies.sql", copies);
	struct program one = {0};

	heir.opened = 0;
	scene_sql(s, "PRAGMA journal_mode = WAL; " NUMBERS "; CREATE TABLE others(id INTEGER PRIMARY KEY)");
	program_start(&one, "run", s->database, file);
	program_expect_err(&one, "follows 'numbers'");
	scene_open(s, NULL);
	scene_add_table(s, &table);
	scene_add_table(s, &stays);
	scene_start(s);
	for (int i = 0; !scene_logged(s, "waiting until it ends"); i++) {
		assert_true(i < PATIENCE_MS);
		help_pause();
	}
	end(&one);
	scene_until(s, s->database, "SELECT count(*) FROM catchup_state WHERE name = 'copies' AND state = %d",
		CATCHUP_STATE_STOPPED);
	scene_until(s, s->database, "SELECT expires_ns = 0 FROM catchup_lease WHERE name = 'copies'");
	assert_int_equal(scene_number(s, "SELECT fence FROM catchup_lease WHERE name = 'copies'"), 2);
	assert_int_equal(scene_number(s, "SELECT expires_ns > 0 FROM catchup_lease WHERE name = 'stays'"), 1);
	assert_int_equal(scene_close(s, NULL), CATCHUP_CONSUMER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(who_takes_over_from_a_killed_process_waits_for_no_expiry),
		SCENE_TEST(who_slept_past_its_lease_commits_nothing_any_more),
		SCENE_TEST(who_waited_does_not_go_on_with_the_source_before_a_reset),
		SCENE_TEST(without_leases_both_work_and_nothing_is_done_twice),
		SCENE_TEST(leases_at_rest_are_kept_when_who_kept_them_ends),
		SCENE_TEST(a_lease_that_could_not_be_dropped_is_not_kept),
		SCENE_TEST(a_crash_is_known_also_after_a_second_lease),
		SCENE_TEST(a_lease_that_nothing_could_be_done_with_is_dropped),
	};

	return cmocka_run_group_tests_name("fencing", tests, NULL, NULL);
}
