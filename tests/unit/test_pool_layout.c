/* SPDX-License-Identifier: MIT */
/*
 * How consumers are shared out over threads.
 */
#include "pool/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define FILES_MOST 80
#define CONSUMERS_MOST 2000

struct fixture {
	struct catchup runtime;
	struct cu_file files[FILES_MOST];
	struct cu_follower followers[CONSUMERS_MOST];
	struct cu_follower *all[CONSUMERS_MOST];
};

static int start(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	x->runtime.followers = x->all;
	*state = x;
	return 0;
}

static void forget_workers(struct fixture *x)
{
	while (x->runtime.workers) {
		struct cu_worker *w = x->runtime.workers;

		x->runtime.workers = w->next;
		cu_worker_destroy(w);
	}
}

static int finish(void **state)
{
	forget_workers(*state);
	free(*state);
	return 0;
}

/* More consumers with results in a file. */
static void add(struct fixture *x, size_t file, size_t consumers)
{
	struct catchup *c = &x->runtime;
	size_t files = 0;

	for (const struct cu_file *at = c->files; at; at = at->next)
		files++;
	for (; files <= file; files++) {
		x->files[files].next = c->files;
		c->files = &x->files[files];
	}
	for (size_t i = 0; i < consumers; i++) {
		struct cu_follower *f = x->all[c->n_followers] = &x->followers[c->n_followers];

		f->file = &x->files[file];
		c->n_followers++;
	}
}

/* Threads that run consumers of the file. */
static size_t threads_of(const struct fixture *x, size_t file)
{
	size_t n = 0;

	for (const struct cu_worker *w = x->runtime.workers; w; w = w->next) {
		size_t i = 0;

		while (i < w->n_followers && w->followers[i]->file != &x->files[file])
			i++;
		n += i < w->n_followers;
	}
	return n;
}

/* Lays out; every consumer stands once where it says. Returns how many threads there are. */
static size_t lay_out(struct fixture *x, uint32_t threads)
{
	size_t n = 0, placed = 0;

	x->runtime.options.threads = threads;
	assert_int_equal(cu_layout_workers(&x->runtime, NULL), CATCHUP_OK);
	for (const struct cu_worker *w = x->runtime.workers; w; w = w->next, n++) {
		assert_true(w->n_followers > 0);
		placed += w->n_followers;
	}
	assert_int_equal(placed, x->runtime.n_followers);
	for (size_t i = 0; i < x->runtime.n_followers; i++)
		assert_ptr_equal(x->all[i]->worker->followers[x->all[i]->place], x->all[i]);
	return n;
}

static void a_handful_have_a_thread_each(void **state)
{
	struct fixture *x = *state;

	add(x, 0, 8);
	add(x, 1, 1);
	assert_int_equal(lay_out(x, 0), 9);
	assert_int_equal(threads_of(x, 0), 8);
	assert_int_equal(threads_of(x, 1), 1);
}

static void a_crowd_has_two(void **state)
{
	struct fixture *x = *state;

	add(x, 0, 9);
	add(x, 1, 1000);
	add(x, 2, 3);
	assert_int_equal(lay_out(x, 0), 2 + 2 + 3);
	assert_int_equal(threads_of(x, 0), 2);
	assert_int_equal(threads_of(x, 1), 2);
	assert_int_equal(threads_of(x, 2), 3);
}

static void a_number_that_is_given_is_for_crowds_too(void **state)
{
	struct fixture *x = *state;

	add(x, 0, 40);
	assert_int_equal(lay_out(x, 30), 30);
	forget_workers(x);
	x->files[0].consumers = 0;
	assert_int_equal(lay_out(x, 1024), 40);
}

static void each_file_has_its_part(void **state)
{
	struct fixture *x = *state;

	add(x, 0, 60);
	add(x, 1, 30);
	add(x, 2, 1);
	assert_int_equal(lay_out(x, 10), 10);
	assert_int_equal(threads_of(x, 0), 6);
	assert_int_equal(threads_of(x, 1), 3);
	assert_int_equal(threads_of(x, 2), 1);
}

static void files_have_threads_in_common_when_there_are_few(void **state)
{
	struct fixture *x = *state;

	for (size_t i = 0; i < 5; i++)
		add(x, i, 12);
	assert_int_equal(lay_out(x, 2), 2);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(threads_of(x, i), 1);
}

static void there_are_64_at_most(void **state)
{
	struct fixture *x = *state;

	for (size_t i = 0; i < FILES_MOST; i++)
		add(x, i, 8);
	assert_int_equal(lay_out(x, 0), 64);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_handful_have_a_thread_each),
		TEST(a_crowd_has_two),
		TEST(a_number_that_is_given_is_for_crowds_too),
		TEST(each_file_has_its_part),
		TEST(files_have_threads_in_common_when_there_are_few),
		TEST(there_are_64_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
