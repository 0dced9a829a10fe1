/* SPDX-License-Identifier: MIT */
/*
 * A runtime is stopped at random moments, while it starts, works or waits. No descriptor, thread or byte is
 * left, and what it did until then is whole.
 */
#include "alloc.h"
#include "inside.h"
#include "program.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../left.h"

#define ROWS_A_ROUND 40
#define ROUNDS_IN_A_FOLDER 50
#define LIFE_US_MAX 30000

struct left {
	int descriptors;
	long blocks;
};

static struct left count_left(void)
{
	return (struct left){left_descriptors(), alloc_live()};
}

static void *start_main(void *argument)
{
	struct catchup_error error = {0};

	catchup_start(argument, &error);
	return NULL;
}

static void live_for(const char *folder, uint64_t us)
{
	const struct catchup_options options = {.batch_rows = 7};
	const struct timespec life = {0, (long)us * 1000};
	struct catchup_error error = {0};
	struct catchup *c;
	pthread_t starter;

	if (inside_open(folder, &options, &c, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	assert_int_equal(pthread_create(&starter, NULL, start_main, c), 0);
	nanosleep(&life, NULL);
	if (catchup_stop(c, &error) != CATCHUP_OK)
		fail_msg("stopped after %llu us: %s; it said: %s", (unsigned long long)us, error.message,
			inside_log());
	pthread_join(starter, NULL);
	catchup_close(c);
}

static char *make_folder(void)
{
	char *folder = test_folder_make();

	world_write_consumers(folder);
	return folder;
}

static void check(const char *folder, bool all)
{
	char why[600] = "";

	if (!world_verify(folder, WORLD_CLAIMS, all, why, sizeof(why)))
		fail_msg("%s; it said: %s", why, inside_log());
}

static void test_nothing_is_left_after_a_stop(void **state)
{
	struct proof_random random = proof_random_start("stop");
	long rounds = proof_count(200, 10000), done;
	int threads;
	struct left before, after;
	char *folder = make_folder();

	(void)state;
	/* The first one also makes what stays for good. */
	world_insert(folder, ROWS_A_ROUND, "row ", 100);
	live_for(folder, LIFE_US_MAX);
	threads = left_threads();
	for (done = 0; done < rounds && proof_goes_on(); done++) {
		if (done % ROUNDS_IN_A_FOLDER == ROUNDS_IN_A_FOLDER - 1) {
			assert_int_equal(
				inside_run(folder, NULL, &(struct catchup_error){0}), CATCHUP_OK);
			check(folder, true);
			test_folder_remove(folder);
			folder = make_folder();
		}
		world_insert(folder, ROWS_A_ROUND, "row ", 100);
		before = count_left();
		live_for(folder, proof_below(&random, LIFE_US_MAX));
		left_expect_threads(threads);
		after = count_left();
		if (before.descriptors != after.descriptors || before.blocks != after.blocks)
			fail_msg("round %ld left %d descriptors and %ld blocks", done,
				after.descriptors - before.descriptors, after.blocks - before.blocks);
		check(folder, false);
	}
	test_folder_remove(folder);
	proof_result("%ld starts and stops: no descriptor, thread or byte is left", done);
}

static int set_up(void **state)
{
	(void)state;
	proof_use_memory();
	alloc_install();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left_after_a_stop),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
