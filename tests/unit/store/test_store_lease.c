/* SPDX-License-Identifier: MIT */
/* Who holds the lease of a consumer, for how long, and what the next holder learns. */
#include "ledger_fixture.h"

#include <sys/resource.h>
#include <sys/wait.h>

static int64_t take(struct fixture *f, const struct cu_owner *self, int64_t life_ns)
{
	struct catchup_error error = {0};
	int64_t fence, wait_ns;
	char other[256];

	assert_ok(cu_ledger_take_lease(&f->ledger, self, life_ns, &fence, other, sizeof(other), &wait_ns,
		&f->died, &error));
	if (fence == 0) {
		assert_true(wait_ns > 0 && wait_ns <= CU_NS_PER_S);
		assert_true(other[0] != '\0');
	}
	assert_false(cu_conn_in_transaction(&f->conn));
	return fence;
}

static void one_holds_the_lease(void **state)
{
	struct scratch *s = *state;
	struct cu_owner a, b;
	struct fixture f, g;
	bool lost;

	start(&f, s, "totals");
	start(&g, s, "totals");
	cu_owner_self(&a);
	cu_owner_self(&b);
	assert_true(a.pid == b.pid && a.instance != b.instance);
	assert_int_equal(take(&f, &a, 60 * CU_NS_PER_S), 1);
	assert_int_equal(take(&g, &b, 60 * CU_NS_PER_S), 0);
	assert_int_equal(take(&f, &a, 60 * CU_NS_PER_S), 2);
	assert_false(f.died);
	assert_false(save(&f, 0, 5, 2, NULL));
	/* An older fence commits nothing, neither the first watermark nor a later one. */
	assert_true(save(&f, 5, 6, 1, NULL));
	finish(&g);
	start(&g, s, "second");
	assert_true(save(&g, 0, 6, 1, NULL));
	finish(&g);
	start(&g, s, "totals");
	assert_int_equal(cu_ledger_renew_lease(&f.ledger, 2, 60 * CU_NS_PER_S, &lost, &f.error), CATCHUP_OK);
	assert_false(lost);
	assert_int_equal(cu_ledger_renew_lease(&f.ledger, 1, 60 * CU_NS_PER_S, &lost, &f.error), CATCHUP_OK);
	assert_true(lost);
	/* Dropped by an older fence: nothing; by the holder: free. */
	assert_int_equal(cu_ledger_drop_lease(&f.ledger, 1, &f.error), CATCHUP_OK);
	assert_int_equal(take(&g, &b, 60 * CU_NS_PER_S), 0);
	assert_int_equal(cu_ledger_drop_lease(&f.ledger, 2, &f.error), CATCHUP_OK);
	assert_int_equal(take(&g, &b, 60 * CU_NS_PER_S), 3);
	assert_false(g.died);
	assert_true(save(&f, 5, 7, 2, NULL));
	assert_false(save(&g, 5, 7, 3, NULL));
	finish(&f);
	finish(&g);
}

static void a_lease_ends_by_itself(void **state)
{
	struct scratch *s = *state;
	struct cu_owner a, b;
	struct fixture f;

	start(&f, s, "totals");
	cu_owner_self(&a);
	cu_owner_self(&b);
	assert_int_equal(take(&f, &a, 1), 1);
	assert_int_equal(take(&f, &b, 60 * CU_NS_PER_S), 2);
	/* The machine was started anew. */
	sql_run(s->database, "UPDATE catchup_lease SET boot = 'another'");
	assert_int_equal(take(&f, &a, 60 * CU_NS_PER_S), 3);
	assert_true(f.died); /* perhaps of the machine's end, perhaps of its rows */
	/* The pid has been used again. */
	sql_run(s->database, "UPDATE catchup_lease SET start = start - 1");
	assert_int_equal(take(&f, &b, 60 * CU_NS_PER_S), 4);
	assert_true(f.died);
	/* In another container nobody can tell, before it expires. */
	sql_run(s->database, "UPDATE catchup_lease SET start = start - 1, space = space + 1");
	assert_int_equal(take(&f, &a, 60 * CU_NS_PER_S), 0);
	assert_false(f.died);
	sql_run(s->database, "UPDATE catchup_lease SET expires_ns = 1");
	assert_int_equal(take(&f, &a, 60 * CU_NS_PER_S), 5);
	assert_true(f.died);
	finish(&f);
}

static void a_killed_holder_is_noticed_at_once(void **state)
{
	struct scratch *s = *state;
	struct cu_owner dead, self;
	struct fixture f;
	int status;
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	start(&f, s, "totals");
	cu_owner_self(&self);
	dead = self;
	dead.pid = child;
	dead.start = cu_os_process_start(child);
	assert_int_equal(take(&f, &dead, 3600 * CU_NS_PER_S), 1);
	assert_int_equal(take(&f, &self, 60 * CU_NS_PER_S), 0);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(take(&f, &self, 60 * CU_NS_PER_S), 2);
	assert_true(f.died);
	finish(&f);
}

/* A lease that has expired is another's; that its holder has died is not said by that. */
static void a_holder_that_cannot_be_looked_at_has_not_died(void **state)
{
	struct scratch *s = *state;
	struct cu_owner a, b;
	struct rlimit all, none;
	struct fixture f;

	start(&f, s, "totals");
	cu_owner_self(&a);
	cu_owner_self(&b);
	assert_int_equal(take(&f, &a, 1), 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = all;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(take(&f, &b, 1), 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_false(f.died);
	/* It could not look at itself when it took the lease. */
	a.start = 0;
	assert_int_equal(take(&f, &a, 1), 3);
	assert_int_equal(take(&f, &b, 1), 4);
	assert_false(f.died);
	finish(&f);
}

static void a_marked_row_is_known_to_the_next_holder_only(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_attempt at;
	struct cu_owner a, b;
	struct fixture f;
	bool lost;

	start(&f, s, "totals");
	cu_owner_self(&a);
	cu_owner_self(&b);
	assert_int_equal(take(&f, &a, 1), 1);
	assert_ok(cu_ledger_load_attempt(&f.ledger, &at, &error));
	assert_true(at.row == 0 && at.attempts == 0 && at.in_hand == 0);
	assert_ok(cu_ledger_mark(&f.ledger, 7, 1, 1, &lost, &error));
	assert_false(lost);
	assert_false(save(&f, 0, 5, 1, &(struct cu_counts){.offered = 5, .in_hand = 5}));
	assert_false(save(&f, 5, 6, 1, &(struct cu_counts){.offered = 1, .in_hand = -1}));
	assert_int_equal(take(&f, &b, 60 * CU_NS_PER_S), 2);
	/* Who has lost the lease marks nothing. */
	assert_ok(cu_ledger_mark(&f.ledger, 8, 9, 1, &lost, &error));
	assert_true(lost);
	assert_ok(cu_ledger_load_attempt(&f.ledger, &at, &error));
	assert_true(at.row == 7 && at.attempts == 1 && at.fence == 1 && at.in_hand == 5);
	assert_ok(cu_conn_begin(&f.conn, &error));
	assert_ok(cu_ledger_unmark(&f.ledger, &error));
	assert_ok(cu_conn_commit(&f.conn, &error));
	assert_ok(cu_ledger_load_attempt(&f.ledger, &at, &error));
	assert_true(at.row == 0 && at.attempts == 0 && at.in_hand == 5);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(one_holds_the_lease),
		SCRATCH_TEST(a_lease_ends_by_itself),
		SCRATCH_TEST(a_killed_holder_is_noticed_at_once),
		SCRATCH_TEST(a_holder_that_cannot_be_looked_at_has_not_died),
		SCRATCH_TEST(a_marked_row_is_known_to_the_next_holder_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
