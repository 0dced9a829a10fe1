/* SPDX-License-Identifier: MIT */
/*
 * The turn to write a file: who of one worker's followers it is kept for, and when it goes to others.
 */
#include "turn_help.h"

static void give_rows(struct cu_follower *f)
{
	const struct cu_ring_entry entry = {.range = {.lo = 0, .hi = 10, .rows = 10}};

	assert_true(cu_ring_push(f->ring, &entry));
}

/* The turn of one that commits; however long the test takes, it is short. */
static void commit(struct cu_follower *f)
{
	cu_turn_take(f);
	assert_true(f->has_turn);
	f->worker->turn_since_ns = CU_FOREVER / 2;
	cu_turn_give(f, 1);
	assert_false(f->has_turn);
}

static void it_stays_for_the_next_one(void **state)
{
	struct fixture *x = *state;

	for (int i = 0; i < N; i++)
		give_rows(x->all[i]);
	commit(x->all[0]);
	assert_false(is_free(&x->files[0]));
	/* The one that has run does not give away what is another one's. */
	cu_turn_pass(x->all[0]);
	assert_false(is_free(&x->files[0]));
	commit(x->all[1]);
	assert_false(is_free(&x->files[0]));
	/* Nobody comes after the last. */
	commit(x->all[2]);
	assert_true(is_free(&x->files[0]));
}

/* The one in between was not called: it is not run. */
static void it_stays_for_the_next_one_that_is_run(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[2]);
	atomic_store(&x->called[1], false);
	commit(x->all[0]);
	assert_ptr_equal(x->worker.heir, x->all[2]);
	assert_false(is_free(&x->files[0]));
	commit(x->all[2]);
	/* Both have rows, and neither is run. */
	give_rows(x->all[1]);
	atomic_store(&x->called[2], false);
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
}

static void a_range_in_hand_is_work_too(void **state)
{
	struct fixture *x = *state;

	x->all[1]->holds = true;
	commit(x->all[0]);
	assert_false(is_free(&x->files[0]));
	assert_true(cu_turn_try(x->all[1]));
	cu_turn_give(x->all[1], 0);
	assert_true(is_free(&x->files[0]));
}

static void it_goes_when_the_next_one_does_not_take_it(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[1]);
	commit(x->all[0]);
	cu_turn_pass(x->all[1]);
	assert_true(is_free(&x->files[0]));
	assert_null(x->worker.heir);
}

static void it_is_not_kept_for_who_does_not_begin_at_once(void **state)
{
	struct fixture *x = *state;
	struct cu_follower *next = x->all[1];

	/* No rows. */
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
	give_rows(next);
	/* Another file. */
	next->file = &x->files[1];
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
	next->file = &x->files[0];
	/* A query of its own. */
	next->definition->next = x->no_log;
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
	next->definition->next = NULL;
	/* A pause. */
	next->plan.state = CU_STATE_SLEEPING;
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
	next->plan.state = CU_STATE_WAITING;
	/* The end. */
	atomic_store(&x->runtime.stopping, 1);
	commit(x->all[0]);
	assert_true(is_free(&x->files[0]));
	atomic_store(&x->runtime.stopping, 0);
	/* And otherwise it is. */
	commit(x->all[0]);
	assert_false(is_free(&x->files[0]));
	cu_turn_pass(next);
}

static void it_is_not_kept_when_it_was_long(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[1]);
	cu_turn_take(x->all[0]);
	x->worker.turn_since_ns = cu_os_now_ns() - CU_NS_PER_S;
	cu_turn_give(x->all[0], 1);
	assert_true(is_free(&x->files[0]));
}

static void it_is_not_kept_near_the_logs_bound(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[1]);
	cu_turn_take(x->all[0]);
	x->worker.turn_since_ns = CU_FOREVER / 2;
	x->conn.log_bytes = INT64_C(64) << 20;
	x->conn.logged = true;
	atomic_store(&x->files[0].checkpoint_busy, 1);
	cu_turn_give(x->all[0], 1);
	assert_true(is_free(&x->files[0]));
}

static void it_is_not_kept_before_the_run_is_over(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[1]);
	cu_turn_take(x->all[0]);
	x->worker.turn_since_ns = CU_FOREVER / 2;
	cu_turn_give(x->all[0], 0);
	assert_true(is_free(&x->files[0]));
}

/* Nobody waits for a turn with another one in hand. */
static void who_waits_has_none(void **state)
{
	struct fixture *x = *state;

	give_rows(x->all[1]);
	x->all[2]->file = &x->files[1];
	commit(x->all[0]);
	assert_false(is_free(&x->files[0]));
	cu_turn_take(x->all[2]);
	assert_true(is_free(&x->files[0]));
	assert_false(is_free(&x->files[1]));
	cu_turn_give(x->all[2], 0);
	assert_true(is_free(&x->files[1]));
}

/* ---- its worker --------------------------------------------------------------------------------- */

/* What the followers do when they are run, the worker's thread only. */
static struct {
	int runs[N];
	bool was_free; /* when the one in between was run for the second time */
} script;

void __wrap_cu_follower_open(struct cu_follower *f);
bool __wrap_cu_follower_run(struct cu_follower *f);

void __wrap_cu_follower_open(struct cu_follower *f)
{
	(void)f;
}

/* Twice: then the first commits, the time of the second has come, and the third, which was called, has rows. */
bool __wrap_cu_follower_run(struct cu_follower *f)
{
	bool again = ++script.runs[f->place] == 1;

	f->wake_at_ns = again && f->place == 1 ? 1 : CU_FOREVER;
	if (!again && f->place == 0) {
		cu_turn_take(f);
		f->worker->turn_since_ns = CU_FOREVER / 2;
		cu_turn_give(f, 1);
	}
	if (!again && f->place == 1)
		script.was_free = f->worker->heir == NULL && is_free(f->file);
	if (!again)
		atomic_store(&f->ended, 1);
	return again && f->place != 1;
}

/* What is kept for one that was called is not kept while another one, whose time has come, is run first. */
static void it_goes_when_another_one_is_run_first(void **state)
{
	struct fixture *x = *state;
	struct catchup_error error = {0};
	int64_t due_ns[N];

	memset(&script, 0, sizeof(script));
	give_rows(x->all[2]);
	x->worker.due_ns = due_ns;
	assert_int_equal(cu_park_init(&x->worker.park), 0);
	atomic_store(&x->runtime.go, 1);
	assert_int_equal(cu_worker_start(&x->worker, &error), CATCHUP_OK);
	cu_thread_join(&x->worker.thread);
	cu_park_finish(&x->worker.park);
	for (int i = 0; i < N; i++)
		assert_int_equal(script.runs[i], 2);
	assert_true(script.was_free);
	assert_null(x->worker.heir);
	assert_true(is_free(&x->files[0]));
}

/* ---- the line ----------------------------------------------------------------------------------- */

#define LINE 3

struct waiter {
	struct cu_thread thread;
	struct cu_gate *gate;
	bool leaves;
	_Atomic int *comes;  /* who has had the turn so far */
	int place;           /* among these; -1: has left the line */
	_Atomic int ended;
};

static void waiter_main(void *argument)
{
	struct waiter *w = argument;
	int64_t deadline_ns =
		w->leaves ? cu_deadline(cu_os_now_ns(), 20 * CU_NS_PER_MS) : CU_FOREVER;

	w->place = -1;
	if (cu_gate_enter_until(w->gate, deadline_ns)) {
		w->place = atomic_fetch_add(w->comes, 1);
		cu_gate_leave(w->gate);
	}
	atomic_store(&w->ended, 1);
}

static const void *last_in_line(struct cu_gate *gate)
{
	const void *last;

	cu_mutex_lock(&gate->mu);
	last = gate->last;
	cu_mutex_unlock(&gate->mu);
	return last;
}

/* Of three that stand in line, those leave it who are in the set; the others have their turns in order. */
static void some_leave_the_line(struct cu_gate *gate, unsigned set)
{
	struct waiter waiters[LINE];
	_Atomic int comes = 0;
	int expected = 0;

	cu_gate_enter(gate);
	for (unsigned i = 0; i < LINE; i++) {
		struct waiter *w = &waiters[i];
		const void *last = last_in_line(gate);

		*w = (struct waiter){.gate = gate, .leaves = set >> i & 1, .comes = &comes};
		assert_int_equal(cu_thread_start(&w->thread, "waiter", waiter_main, w), 0);
		while (!atomic_load(&w->ended) && last_in_line(gate) == last)
			cu_os_sleep_ns(CU_NS_PER_MS / 10);
	}
	for (unsigned i = 0; i < LINE; i++)
		while (waiters[i].leaves && !atomic_load(&waiters[i].ended))
			cu_os_sleep_ns(CU_NS_PER_MS);
	assert_int_equal(atomic_load(&comes), 0);
	assert_int_equal(cu_gate_has_line(gate), set != (1u << LINE) - 1);
	cu_gate_leave(gate);
	for (unsigned i = 0; i < LINE; i++) {
		cu_thread_join(&waiters[i].thread);
		assert_int_equal(waiters[i].place, waiters[i].leaves ? -1 : expected++);
	}
	assert_false(cu_gate_has_line(gate));
	assert_true(cu_gate_enter_until(gate, 0));
	cu_gate_leave(gate);
}

static void who_leaves_the_line_keeps_nobody_from_the_turn(void **state)
{
	struct fixture *x = *state;

	for (unsigned set = 0; set < 1u << LINE; set++)
		some_leave_the_line(&x->files[0].gate, set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_stays_for_the_next_one),
		TEST(it_stays_for_the_next_one_that_is_run),
		TEST(a_range_in_hand_is_work_too),
		TEST(it_goes_when_the_next_one_does_not_take_it),
		TEST(it_is_not_kept_for_who_does_not_begin_at_once),
		TEST(it_is_not_kept_when_it_was_long),
		TEST(it_is_not_kept_near_the_logs_bound),
		TEST(it_is_not_kept_before_the_run_is_over),
		TEST(who_waits_has_none),
		TEST(it_goes_when_another_one_is_run_first),
		TEST(who_leaves_the_line_keeps_nobody_from_the_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
