/* SPDX-License-Identifier: MIT */
/*
 * The turn to write a file, and room in its log: who waits for a checkpoint before it writes, and when one is
 * due.
 */
#include "turn_help.h"

static void fill_log(struct fixture *x, int64_t mib)
{
	atomic_store(&x->files[0].checkpoint_busy, 1);
	atomic_store(&x->files[0].log_bytes, mib << 20);
}

struct other {
	struct cu_thread thread;
	struct cu_follower *f;
	_Atomic int has_turn;
};

static void other_main(void *argument)
{
	struct other *other = argument;

	cu_turn_take(other->f);
	atomic_store(&other->has_turn, 1);
	cu_turn_give(other->f, 0);
}

/* Who stood in line when the log was filled by those in front does not write, too. */
static void who_comes_from_the_line_looks_again(void **state)
{
	struct fixture *x = *state;
	struct cu_file *file = &x->files[0];
	struct other other = {.f = x->all[1]};

	cu_turn_take(x->all[0]);
	assert_int_equal(cu_thread_start(&other.thread, "other", other_main, &other), 0);
	while (!cu_gate_has_line(&file->gate))
		cu_os_sleep_ns(CU_NS_PER_MS);
	fill_log(x, 60);
	cu_turn_give(x->all[0], 0);
	while (!cu_gate_try(&file->gate)) {
		assert_int_equal(atomic_load(&other.has_turn), 0);
		cu_os_sleep_ns(CU_NS_PER_MS);
	}
	cu_gate_leave(&file->gate);
	assert_int_equal(atomic_load(&other.has_turn), 0);
	assert_false(cu_turn_try(x->all[2]));
	assert_true(is_free(file));
	atomic_store(&file->checkpoint_busy, 0);
	cu_park_wake(&file->room_park);
	cu_thread_join(&other.thread);
	assert_int_equal(atomic_load(&other.has_turn), 1);
}

/* Commits so much at a time, and says at how many MiB of the log it is made to wait. */
static int64_t waits_at(struct fixture *x, int64_t batch_mib)
{
	struct cu_file *file = &x->files[0];
	int64_t mib = 0;

	cu_checkpoint_note(file, 0);
	atomic_store(&file->checkpoint_busy, 1);
	while (!cu_checkpoint_is_behind(file))
		cu_checkpoint_note(file, (mib += batch_mib) << 20);
	return mib;
}

static void a_batch_that_would_cross_the_bound_waits(void **state)
{
	struct fixture *x = *state;

	/* Of 64: another one fits in each case, but for the last, which is larger than what may be left. */
	assert_int_equal(waits_at(x, 1), 48);
	assert_int_equal(waits_at(x, 4), 48);
	assert_int_equal(waits_at(x, 20), 60);
	assert_int_equal(waits_at(x, 32), 32);
	assert_int_equal(waits_at(x, 60), 60);
}

/* What is committed beside batches, a lease that is renewed say, fills the log as well. */
static void every_commit_is_noted(void **state)
{
	struct fixture *x = *state;
	struct cu_file *file = &x->files[0];

	atomic_store(&file->checkpoint_at_bytes, INT64_C(2) << 20);
	cu_turn_take(x->all[0]);
	x->conn.log_bytes = INT64_C(1) << 20;
	x->conn.logged = true;
	cu_turn_give(x->all[0], 0);
	assert_int_equal(atomic_load(&file->log_bytes), INT64_C(1) << 20);
	assert_int_equal(atomic_load(&file->checkpoint_due), 0);
	/* Without a commit what the connection knows is of long ago. */
	atomic_store(&file->log_bytes, INT64_C(3) << 20);
	cu_turn_take(x->all[0]);
	cu_turn_give(x->all[0], 0);
	assert_int_equal(atomic_load(&file->log_bytes), INT64_C(3) << 20);
	cu_turn_take(x->all[0]);
	x->conn.log_bytes = INT64_C(4) << 20;
	x->conn.logged = true;
	cu_turn_give(x->all[0], 0);
	assert_int_equal(atomic_load(&file->checkpoint_due), 1);
}

/* A checkpoint that is asked for while the one before it ends is not taken for done with that. */
static void a_checkpoint_that_is_due_is_waited_for(void **state)
{
	struct fixture *x = *state;
	struct cu_file *file = &x->files[0];

	atomic_store(&file->checkpoint_at_bytes, 0);
	atomic_store(&file->checkpoint_busy, 1);
	cu_checkpoint_note(file, INT64_C(60) << 20);
	atomic_store(&file->checkpoint_busy, 0);
	assert_true(cu_checkpoint_is_behind(file));
}

/* The log is kept below the thousand pages at which connections checkpoint by themselves. */
static void while_others_commit_the_log_is_kept_small(void **state)
{
	struct fixture *x = *state;
	struct cu_file *file = &x->files[0];

	cu_checkpoint_share(file, 4096);
	assert_int_equal(waits_at(x, 1), 3);
	atomic_store(&file->checkpoint_due, 0);
	cu_checkpoint_share(file, 0);
	assert_int_equal(waits_at(x, 1), 48);
	/* In a log that is large already it is due at once, and need not be any larger again. */
	atomic_store(&file->checkpoint_at_bytes, INT64_C(56) << 20);
	atomic_store(&file->checkpoint_due, 0);
	cu_checkpoint_note(file, INT64_C(48) << 20);
	assert_int_equal(atomic_load(&file->checkpoint_due), 0);
	cu_checkpoint_share(file, 65536);
	cu_checkpoint_note(file, INT64_C(48) << 20);
	assert_int_equal(atomic_load(&file->checkpoint_due), 1);
	/* The bound holds for large pages, too. */
	x->runtime.options.wal_mib = 40;
	assert_int_equal(waits_at(x, 1), 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_comes_from_the_line_looks_again),
		TEST(a_batch_that_would_cross_the_bound_waits),
		TEST(every_commit_is_noted),
		TEST(a_checkpoint_that_is_due_is_waited_for),
		TEST(while_others_commit_the_log_is_kept_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
