/* SPDX-License-Identifier: MIT */
/*
 * Every call to the machine that a runtime makes, from open to close, fails once at each place where it
 * is made. Whatever fails, no row is lost and none is applied twice: a run that says it has caught up
 * has, and one that gave up says why and leaves a database on which the next run goes on.
 */
#include "fault_sites.h"
#include "fault_story.h"

static void fail_everywhere(struct story *story)
{
	struct catchup_error error = {0};
	size_t first, n;

	story_fresh_database(story->s);
	fault_collect();
	assert_ok(story_run(story, &error));
	n = fault_collected(&first);
	story_expect_done(story, 0);
	assert_true(n > first);
	for (size_t i = first; i < n; i++) {
		int rc;

		story_fresh_database(story->s);
		error = (struct catchup_error){0};
		fault_at(i);
		rc = story_run(story, &error);
		fault_off();
		if (rc == CATCHUP_OK) {
			story_expect_done(story, i);
			continue;
		}
		if (error.code != rc || !error.message[0] || rc == CATCHUP_TIMEOUT)
			fail_msg("%s: code %s, error %s: %s\n%s", fault_name(i), catchup_code_name(rc),
				catchup_code_name(error.code), error.message, story->log.text);
		if (story_run(story, &error) != CATCHUP_OK)
			fail_msg("%s: the next run: %s", fault_name(i), error.message);
		story_expect_done(story, i);
		story->log.used = 0;
	}
}

static void rows_and_sets(void **state)
{
	struct story story;

	story_begin(&story, *state);
	story.consumers[story.n_consumers++] = "rows";
	story.consumers[story.n_consumers++] = story.files[0];
	fail_everywhere(&story);
}

static void queries_with_results_elsewhere(void **state)
{
	struct story story;

	story_begin(&story, *state);
	story.consumers[story.n_consumers++] = story.files[1];
	fail_everywhere(&story);
}

static void mapped_rows(void **state)
{
	struct story story;

	story_begin(&story, *state);
	story.consumers[story.n_consumers++] = "mapped:workers=2";
	fail_everywhere(&story);
}

static void events_of_a_changelog(void **state)
{
	struct story story;

	story_begin(&story, *state);
	story.consumers[story.n_consumers++] = "events";
	fail_everywhere(&story);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(rows_and_sets),
		SCRATCH_TEST(queries_with_results_elsewhere),
		SCRATCH_TEST(mapped_rows),
		SCRATCH_TEST(events_of_a_changelog),
	};

	/* Hundreds of runs, and what is durable does not matter here. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
