/* SPDX-License-Identifier: MIT */
/*
 * Every call to the machine fails once at each place where those look who look from outside: status,
 * wait, verify, dead letters, reset, forget, guard, check. Each either does its work or says why not, what it says is
 * true all the same, and nothing that was processed is touched.
 */
#include "fault_sites.h"
#include "fault_story.h"

static struct catchup_options options_of(const struct story *story)
{
	return (struct catchup_options){.size = sizeof(struct catchup_options),
		.database = story->s->database,
		.changelog = story->changelog,
		.builtins = story_builtins,
		.busy_ms = 1000};
}

static void run_spared(struct story *story, const char *sql)
{
	fault_spare(true);
	sql_run(story->s->database, sql);
	fault_spare(false);
}

static int64_t ask_spared(struct story *story, const char *sql)
{
	int64_t answer;

	fault_spare(true);
	answer = sql_int(story->s->database, sql);
	fault_spare(false);
	return answer;
}

/* ---- those who look ------------------------------------------------------------------------------ */

static int read_status(struct story *story, struct catchup_error *error)
{
	struct catchup_status *status;
	int rc = catchup_status_read(story->s->database, &status, error);

	if (rc != CATCHUP_OK)
		return rc;
	assert_int_equal(status->n_consumers, story->n_consumers);
	for (size_t i = 0; i < status->n_consumers; i++)
		if (status->consumers[i].watermark != 12 && !status->consumers[i].last_error[0])
			fail_msg("'%s' at %d, state %d, %s", status->consumers[i].name,
				(int)status->consumers[i].watermark, status->consumers[i].state,
				status->consumers[i].last_error);
	catchup_status_free(status);
	return rc;
}

static int wait_for_one(struct story *story, struct catchup_error *error)
{
	return catchup_wait_watermark(story->s->database, "queries", 12, PATIENCE_MS, NULL, error);
}

static void expect_part(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in: %s", part, text);
}

static int verify(struct story *story, struct catchup_error *error)
{
	const struct catchup_options options = options_of(story);
	struct catchup_verification *v;
	int rc = catchup_verify(&options, NULL, 0, CATCHUP_VERIFY_RECOMPUTE, &v, error);

	if (rc != CATCHUP_OK)
		return rc;
	for (size_t i = 0; i < v->n_verdicts; i++)
		for (size_t k = 0; k < v->verdicts[i].n_wrong; k++)
			expect_part(v->verdicts[i].wrong[k], "disk I/O error");
	/* A file that cannot be read to its end is not whole, as far as can be told. */
	for (size_t i = 0; !v->ok && i < v->n_files; i++)
		if (v->files[i].wrong[0])
			expect_part(v->files[i].wrong, "disk I/O error");
	catchup_verification_free(v);
	return rc;
}

static int read_letters(struct story *story, struct catchup_error *error)
{
	struct catchup_dead_letters *letters;
	int rc = catchup_dead_read(story->s->database, NULL, 0, &letters, error);

	/* Of those that could be read, all. */
	if (rc == CATCHUP_OK)
		assert_int_equal(letters->n, 4);
	catchup_dead_free(letters);
	return rc;
}

/* Row 5 is as bad as it was, and row 9 stays behind it. */
static int retry_letters(struct story *story, struct catchup_error *error)
{
	const struct catchup_options options = options_of(story);
	struct catchup_dead_result result;
	int rc = catchup_dead_retry(&options, NULL, 0, &result, error);

	if (rc == CATCHUP_OK && (result.tried != 2 || result.failed != 2 || result.behind != 2))
		fail_msg("%d tried, %d failed, %d behind", (int)result.tried, (int)result.failed,
			(int)result.behind);
	return rc;
}

static int drop_letter(struct story *story, struct catchup_error *error)
{
	int64_t dropped = 0;
	int rc;

	run_spared(story, "INSERT OR REPLACE INTO catchup_dead VALUES ('rows', 3, NULL, 0, '', 1, 1, 1, NULL)");
	rc = catchup_dead_drop(story->s->database, "rows", 3, &dropped, error);
	/* Dropped and told, or still there. */
	assert_int_equal(dropped, rc == CATCHUP_OK);
	assert_int_equal(ask_spared(story, "SELECT count(*) FROM catchup_dead WHERE id = 3"),
		rc != CATCHUP_OK);
	run_spared(story, "DELETE FROM catchup_dead WHERE id = 3");
	return rc;
}

/* Back to 10, above its letters, or nowhere; then to where it was, so that the next place finds it so. */
static int reset_one(struct story *story, struct catchup_error *error)
{
	const struct catchup_options options = options_of(story);
	struct catchup_reset_result result;
	int rc = catchup_reset(&options, "sets", 10, CATCHUP_RESET_KEEP_RESULTS, &result, error);

	assert_int_equal(ask_spared(story, "SELECT last FROM catchup WHERE name = 'sets'"),
		rc == CATCHUP_OK ? 10 : 12);
	/* A lease that could not be given back is waited for elsewhere. */
	run_spared(story, "UPDATE catchup SET last = 12 WHERE name = 'sets'; DELETE FROM catchup_lease");
	return rc;
}

static int forget_one(struct story *story, struct catchup_error *error)
{
	int64_t left;
	int rc;

	run_spared(story, "INSERT OR REPLACE INTO catchup VALUES ('former', 3);"
			  "INSERT OR REPLACE INTO catchup_state(name, offered) VALUES ('former', 3)");
	rc = catchup_forget(story->s->database, "former", error);
	left = ask_spared(story, "SELECT (SELECT count(*) FROM catchup WHERE name = 'former') +"
				 " (SELECT count(*) FROM catchup_state WHERE name = 'former')");
	/* All of it is gone, or nothing; what failed may be only to say so. */
	assert_true(left == 0 || (left == 2 && rc != CATCHUP_OK));
	run_spared(story, "DELETE FROM catchup WHERE name = 'former';"
			  "DELETE FROM catchup_state WHERE name = 'former'; DELETE FROM catchup_lease");
	return rc;
}

#define GUARDS "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'orders'"

static int guard(struct story *story, struct catchup_error *error)
{
	int rc = catchup_guard(story->s->database, "orders", NULL, error);

	assert_int_equal(ask_spared(story, GUARDS), rc == CATCHUP_OK);
	return rc;
}

static int unguard(struct story *story, struct catchup_error *error)
{
	struct catchup_error untold = {0};
	int rc;

	fault_spare(true);
	assert_int_equal(catchup_guard(story->s->database, "orders", NULL, &untold), CATCHUP_OK);
	fault_spare(false);
	rc = catchup_guard_remove(story->s->database, "orders", error);
	assert_int_equal(ask_spared(story, GUARDS), rc != CATCHUP_OK);
	return rc;
}

static int check(struct story *story, struct catchup_error *error)
{
	const struct catchup_options options = options_of(story);
	struct catchup *c = NULL;
	int rc = catchup_open(&options, &c, error);

	for (size_t i = 0; rc == CATCHUP_OK && i < story->n_consumers; i++)
		rc = catchup_add(c, story->consumers[i], NULL, error);
	if (rc == CATCHUP_OK)
		rc = catchup_add(c, "mapped:workers=2", NULL, error);
	if (rc == CATCHUP_OK)
		rc = catchup_add(c, "events", NULL, error);
	if (rc == CATCHUP_OK)
		rc = catchup_check(c, error);
	catchup_close(c);
	return rc;
}

static int describe(struct story *story, struct catchup_error *error)
{
	struct catchup_description *description;
	int rc = catchup_describe(story->files[0], NULL, story_builtins, &description, error);

	if (rc != CATCHUP_OK)
		return rc;
	assert_string_equal(description->name, "sets");
	assert_string_equal(description->way, "range");
	catchup_description_free(description);
	return rc;
}

/* ---- the stories --------------------------------------------------------------------------------- */

/* The database stays as it is from place to place: whoever looks leaves it so. */
static void fail_everywhere(struct story *story, int (*look)(struct story *, struct catchup_error *))
{
	struct catchup_error error = {0};
	size_t first, n;

	fault_collect();
	assert_ok(look(story, &error));
	n = fault_collected(&first);
	for (size_t i = first; i < n; i++) {
		int rc;

		if (look == guard)
			catchup_guard_remove(story->s->database, "orders", NULL);
		error = (struct catchup_error){0};
		fault_at(i);
		rc = look(story, &error);
		fault_off();
		if (rc != CATCHUP_OK && (error.code != rc || !error.message[0]))
			fail_msg("%s: code %s, error %s: %s", fault_name(i), catchup_code_name(rc),
				catchup_code_name(error.code), error.message);
		story_expect_done(story, i);
	}
	assert_ok(look(story, &error));
}

static void everyone_looks_in_vain(void **state)
{
	int (*const looks[])(struct story *, struct catchup_error *) = {read_status, wait_for_one, verify,
		read_letters, retry_letters, drop_letter, reset_one, forget_one, check, describe, guard,
		unguard};
	struct catchup_error error = {0};
	struct story story;

	story_begin(&story, *state);
	story.consumers[story.n_consumers++] = "rows";
	story.consumers[story.n_consumers++] = story.files[0];
	story.consumers[story.n_consumers++] = story.files[1];
	story_fresh_database(story.s);
	assert_ok(story_run(&story, &error));
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]); i++)
		fail_everywhere(&story, looks[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(everyone_looks_in_vain),
	};

	/* Hundreds of looks, and what is durable does not matter here. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
