/* SPDX-License-Identifier: MIT */
/*
 * Dead letters that are events of a changelog: kept with their letter, and tried again when the
 * changelog is gone; also where they are too long to be kept, or an older version has parked them.
 */
#include "runtime_help.h"

#define DONE_TABLE "CREATE TABLE IF NOT EXISTS done(id INTEGER PRIMARY KEY, name TEXT)"

static bool all_is_well; /* whatever was bad is good now */

static int take_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	const struct catchup_key *name = &event->keys[1];
	sqlite3_stmt *stmt = NULL;
	int rc;

	(void)state;
	assert_int_equal(event->n_keys, 3);
	assert_string_equal(event->family, "fam");
	assert_string_equal(event->table, "things");
	assert_int_equal(event->keys[0].integer, INT64_MAX - event->sequence);
	assert_true(event->keys[2].real == 0.1);
	if (!all_is_well && name->text[0] == 'b')
		return catchup_fail(ctx, SQLITE_CONSTRAINT, "event %lld is bad", (long long)event->sequence);
	rc = sqlite3_prepare_v2(ctx->db, "INSERT INTO done VALUES (?1, ?2)", -1, &stmt, NULL);
	sqlite3_bind_int64(stmt, 1, event->sequence);
	sqlite3_bind_text(stmt, 2, name->text, (int)name->text_bytes, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	rc = rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "done");
	sqlite3_finalize(stmt);
	return rc;
}

static int resync(struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	(void)ctx;
	(void)state;
	(void)why;
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_consumer events = {CATCHUP_CONSUMER_ABI, .name = "events",
	.summary = "changelog-driven", .source = "changelog:fam.things", .setup = DONE_TABLE,
	.event = take_event, .resync = resync, .on_error = "park"};
static const struct catchup_consumer *const builtins[] = {&events, NULL};

/* Four events, each with a name; what begins with 'b' is bad. Then the changelog is gone. */
static void park(struct scratch *s, const char *words, const char *const names[4])
{
	struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = builtins};
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/changes.log", s->folder);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 1; i <= 4; i++)
		fprintf(file, "{\"seq\":%d,\"family\":\"fam\",\"table\":\"things\",\"key\":[{\"name\":\"id\","
			"\"type\":\"int\",\"value\":%lld},{\"name\":\"name\",\"type\":\"text\",\"value\":\"%s\"},"
			"{\"name\":\"part\",\"type\":\"real\",\"value\":0.1}]}\n", i, (long long)INT64_MAX - i,
			names[i - 1]);
	assert_int_equal(fclose(file), 0);
	all_is_well = false;
	/* With a watermark it need not rebuild before it begins. */
	sql_run(s->database, "PRAGMA journal_mode=WAL");
	sql_run(s->database, "CREATE TABLE catchup(name TEXT NOT NULL PRIMARY KEY CHECK(name<>''),"
		" last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID; INSERT INTO catchup VALUES('events', 0)");
	options.changelog = path;
	runtime_catch_up(runtime_open(&options, words, NULL));
	assert_int_equal(unlink(path), 0);
}

/* How it ends: "tried done failed behind unkept". */
static void retry(struct scratch *s, const char *expected)
{
	const struct catchup_options options = {.size = sizeof(options), .database = s->database,
		.builtins = builtins};
	struct catchup_dead_result r;
	struct catchup_error error = {0};
	char got[64];

	assert_ok(catchup_dead_retry(&options, NULL, 0, &r, &error));
	snprintf(got, sizeof(got), "%d %d %d %d %d", (int)r.tried, (int)r.done, (int)r.failed,
		(int)r.behind, (int)r.unkept);
	assert_string_equal(got, expected);
}

static void events_are_tried_as_they_were(void **state)
{
	static const char *const names[] = {"good", "b \\\" \\u0000 \\u2028 \xc3\xa4", "bad", "good"};
	struct scratch *s = *state;
	struct catchup_dead_letters *letters;
	struct catchup_error error = {0};

	park(s, "events", names);
	assert_ok(catchup_dead_read(s->database, "events", 3, &letters, &error));
	assert_int_equal(letters->n, 1);
	assert_string_equal(letters->letters[0].event,
		"{\"seq\":3,\"family\":\"fam\",\"table\":\"things\",\"key\":[{\"name\":\"id\",\"type\":\"int\","
		"\"value\":9223372036854775804},{\"name\":\"name\",\"type\":\"text\",\"value\":\"bad\"},"
		"{\"name\":\"part\",\"type\":\"real\",\"value\":0.1}]}");
	assert_int_equal(letters->letters[0].event_bytes, strlen(letters->letters[0].event));
	catchup_dead_free(letters);
	retry(s, "2 0 2 0 0");
	assert_int_equal(sql_int(s->database, "SELECT sum(attempts) FROM catchup_dead"), 4);
	all_is_well = true;
	retry(s, "2 2 0 0 0");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done"), 4);
	assert_int_equal(sql_int(s->database, "SELECT length(CAST(name AS BLOB)) FROM done WHERE id = 2"),
		2 + 1 + 1 + 1 + 1 + 3 + 1 + 2);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 4);
}

static void an_event_that_is_too_long_is_not_kept(void **state)
{
	static char name[64 * 1024 + 1];
	const char *const names[] = {"bad", name, "good", "bad"};
	struct scratch *s = *state;

	memset(name, 'b', sizeof(name) - 1);
	/* It is first of its key, and what is behind it stays behind. */
	park(s, "events:on-error=park-key(part)", names);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead WHERE event IS NULL"), 1);
	assert_int_equal(sql_int(s->database, "SELECT id FROM catchup_dead WHERE event IS NULL"), 2);
	all_is_well = true;
	retry(s, "1 1 0 2 1");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead"), 3);
}

static void what_an_older_version_has_parked_is_told(void **state)
{
	static const char *const names[] = {"bad", "good", "good", "good"};
	struct scratch *s = *state;
	struct catchup_dead_letters *letters;
	struct catchup_error error = {0};

	park(s, "events", names);
	sql_run(s->database, "ALTER TABLE catchup_dead DROP COLUMN event");
	assert_ok(catchup_dead_read(s->database, NULL, 0, &letters, &error));
	assert_int_equal(letters->n, 1);
	assert_null(letters->letters[0].event);
	catchup_dead_free(letters);
	retry(s, "0 0 0 0 1");
	/* And there is a place for the next. */
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM pragma_table_info('catchup_dead')"
		" WHERE name = 'event'"), 1);
}

static void a_damaged_letter_is_told_and_the_others_are_tried(void **state)
{
	static const char *const names[] = {"bad", "good", "bad", "bad"};
	struct scratch *s = *state;

	park(s, "events", names);
	sql_run(s->database, "UPDATE catchup_dead SET event = substr(event, 1, 20) WHERE id = 3");
	all_is_well = true;
	retry(s, "3 2 1 0 0");
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_dead"), 1);
	assert_int_equal(sql_int(s->database, "SELECT attempts FROM catchup_dead WHERE id = 3 AND message LIKE"
		" 'the event in the dead letter is damaged: %'"), 2);
	/* It is kept as it is, for somebody to look at. */
	assert_int_equal(sql_int(s->database, "SELECT length(event) FROM catchup_dead"), 20);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM done"), 3);
}

#define EVENT_TEST(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EVENT_TEST(events_are_tried_as_they_were),
		EVENT_TEST(an_event_that_is_too_long_is_not_kept),
		EVENT_TEST(what_an_older_version_has_parked_is_told),
		EVENT_TEST(a_damaged_letter_is_told_and_the_others_are_tried),
	};

	return cmocka_run_group_tests_name("dead events", tests, NULL, NULL);
}
