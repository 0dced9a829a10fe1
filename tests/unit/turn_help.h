/* SPDX-License-Identifier: MIT */
/*
 * turn_help.h - a worker that is not started, with its followers and two files, for tests of the turn to write.
 */
#ifndef CU_TESTS_TURN_HELP_H
#define CU_TESTS_TURN_HELP_H

#include "pool/runtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define N 3

/* One worker, its followers, and two files. */
struct fixture {
	struct catchup runtime;
	struct cu_file files[2];
	struct cu_checkpointer checkpointer; /* not started */
	struct cu_worker worker;
	struct cu_definition definitions[N];
	struct cu_follower followers[N];
	struct cu_follower *all[N];
	_Atomic bool called[N];
	struct cu_conn conn;
	char no_log[32];
};

static inline int start(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	strcpy(x->no_log, "/nowhere/there-is-no-log");
	x->runtime.options.batch_ms = 20;
	x->runtime.options.wal_mib = 64;
	assert_int_equal(cu_park_init(&x->checkpointer.park), 0);
	for (int i = 0; i < 2; i++) {
		x->files[i].checkpointer = &x->checkpointer;
		x->files[i].runtime = &x->runtime;
		x->files[i].wal_path = x->no_log;
		x->files[i].shm_path = x->no_log;
		x->files[i].shm_fd = -1;
		atomic_store(&x->files[i].checkpoint_at_bytes, INT64_MAX);
		assert_int_equal(cu_gate_init(&x->files[i].gate), 0);
		assert_int_equal(cu_park_init(&x->files[i].room_park), 0);
	}
	x->worker.runtime = &x->runtime;
	x->worker.followers = x->all;
	x->worker.n_followers = N;
	x->worker.called = x->called;
	for (int i = 0; i < N; i++) {
		struct cu_follower *f = x->all[i] = &x->followers[i];

		f->runtime = &x->runtime;
		f->file = &x->files[0];
		f->worker = &x->worker;
		f->place = (size_t)i;
		atomic_init(&x->called[i], true);
		f->definition = &x->definitions[i];
		f->writer = &x->conn;
		f->plan.state = CU_STATE_WAITING;
		f->ring = cu_ring_create(4, false);
		assert_non_null(f->ring);
	}
	*state = x;
	return 0;
}

static inline int finish(void **state)
{
	struct fixture *x = *state;

	for (int i = 0; i < N; i++)
		cu_ring_destroy(x->followers[i].ring);
	for (int i = 0; i < 2; i++) {
		cu_park_finish(&x->files[i].room_park);
		cu_gate_finish(&x->files[i].gate);
	}
	cu_park_finish(&x->checkpointer.park);
	free(x);
	return 0;
}

static inline bool is_free(struct cu_file *file)
{
	bool got = cu_gate_try(&file->gate);

	if (got)
		cu_gate_leave(&file->gate);
	return got;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

#endif
