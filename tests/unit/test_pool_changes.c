/* SPDX-License-Identifier: MIT */
/*
 * What a follower of a changelog makes of what its iterator says. The linker puts this file between the
 * two: the iterator says what the test wants first, and goes on as it is.
 */
#include "runtime_help.h"

#include <catchup/changelog.h>

#include <stdatomic.h>

static const struct catchup_event events[] = {
	{.sequence = 101, .family = "fam", .table = "things"},
	{.sequence = 102, .family = "fam", .table = "things"},
	{.sequence = 103, .family = "fam", .table = "things"},
};

/* An iterator that opened where the newest file was still empty, and had not been told yet what its reader
 * knows: so the sequence to go on after is not where it goes on. */
static const struct {
	int result;
	struct catchup_next next;
} lines[] = {
	{CATCHUP_NEXT_OUT_OF_SYNC, {.sync = {CATCHUP_SYNC_GAP, 103, -1}, .ticket = 1, .seen = -1}},
	{CATCHUP_NEXT_TIMEOUT, {.seen = -1}},
	{CATCHUP_NEXT_EVENT, {.event = &events[0], .seen = 101}},
	{CATCHUP_NEXT_EVENT, {.event = &events[1], .seen = 102}},
	{CATCHUP_NEXT_EVENT, {.event = &events[2], .seen = 103}},
};

static _Atomic size_t said;

int __real_catchup_iterator_next(
	struct catchup_iterator *it, int64_t timeout_ms, const struct catchup_next **out);
int __wrap_catchup_iterator_next(
	struct catchup_iterator *it, int64_t timeout_ms, const struct catchup_next **out);

int __wrap_catchup_iterator_next(
	struct catchup_iterator *it, int64_t timeout_ms, const struct catchup_next **out)
{
	size_t i = atomic_load(&said);

	if (i == sizeof(lines) / sizeof(lines[0]))
		return __real_catchup_iterator_next(it, timeout_ms, out);
	atomic_store(&said, i + 1);
	*out = &lines[i].next;
	return lines[i].result;
}

static int write_down(struct catchup_context *ctx, const char *sql, int64_t a, int64_t b)
{
	char *whole = sqlite3_mprintf(sql, a, b);
	int rc = sqlite3_exec(ctx->db, whole, NULL, NULL, NULL);

	sqlite3_free(whole);
	return rc == SQLITE_OK ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "writing down");
}

static int take_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	(void)state;
	return write_down(ctx, "INSERT INTO story(line) VALUES (printf('event %%d', %lld))",
		event->sequence, 0);
}

static int resync(struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	(void)state;
	return write_down(ctx, "INSERT INTO story(line) VALUES (printf('expected %%d, got %%d', %lld, %lld))",
		why->expected, why->got);
}

static const struct catchup_consumer cache = {CATCHUP_CONSUMER_ABI, .name = "cache",
	.summary = "changelog-driven", .source = "changelog:fam.things",
	.setup = "CREATE TABLE IF NOT EXISTS story(id INTEGER PRIMARY KEY, line TEXT)",
	.event = take_event, .resync = resync};

static void a_sequence_that_goes_on_lower_than_was_said_rebuilds_again(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c;
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/changes.log", s->folder);
	options.changelog = path;
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fclose(file), 0);
	sql_run(s->database, "PRAGMA journal_mode=WAL");
	sql_run(s->database, "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
		" last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID; INSERT INTO catchup VALUES('cache', 102)");
	atomic_store(&said, 0);
	c = runtime_open(&options, NULL, &cache);
	assert_ok(catchup_start(c, &error));
	UNTIL(sql_int(s->database, "SELECT last FROM catchup") == 103);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
	assert_int_equal(sql_int(s->database, "SELECT group_concat(line, '; ') = 'expected 103, got -1;"
		" expected 103, got 101; event 101; event 102; event 103' FROM (SELECT line FROM story ORDER BY id)"),
		1);
}

static int state_of(struct catchup *c)
{
	struct catchup_error error = {0};
	struct catchup_status *status;
	int state;

	assert_ok(catchup_status(c, &status, &error));
	state = status->consumers[0].state;
	catchup_status_free(status);
	return state;
}

static void a_changelog_that_cannot_be_read_pauses_until_it_can(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c;
	char path[512], away[520];

	snprintf(path, sizeof(path), "%s/changes.log", s->folder);
	snprintf(away, sizeof(away), "%s.away", path);
	options.changelog = path;
	scratch_write(path, "", 0);
	sql_run(s->database, "PRAGMA journal_mode=WAL");
	atomic_store(&said, sizeof(lines) / sizeof(lines[0]));
	c = runtime_open(&options, NULL, &cache);
	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	assert_int_equal(rename(path, away), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	UNTIL(state_of(c) == CATCHUP_STATE_PAUSED);
	/* However often it is looked at. */
	for (int i = 0; i < 100; i++) {
		cu_os_sleep_ns(CU_NS_PER_MS);
		assert_int_equal(state_of(c), CATCHUP_STATE_PAUSED);
	}
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(away, path), 0);
	UNTIL(state_of(c) == CATCHUP_STATE_CAUGHT_UP);
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_sequence_that_goes_on_lower_than_was_said_rebuilds_again),
		SCRATCH_TEST(a_changelog_that_cannot_be_read_pauses_until_it_can),
	};

	return cmocka_run_group_tests_name("pool_changes", tests, NULL, NULL);
}
