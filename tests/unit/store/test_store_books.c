/* SPDX-License-Identifier: MIT */
/*
 * Consumers that write through one connection keep their books with the same statements, in turn.
 */
#include "../store_help.h"

#include "store/ledger/ledger.h"

#define MANY 3

struct fixture {
	struct cu_conn conn;
	struct cu_ledger ledgers[MANY];
	char names[MANY][16];
};

static void start(struct fixture *f, const struct scratch *s)
{
	struct catchup_error error = {0};

	memset(f, 0, sizeof(*f));
	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
	open_conn(&f->conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_ledger_create_tables(&f->conn, &error));
	for (int i = 0; i < MANY; i++) {
		snprintf(f->names[i], sizeof(f->names[i]), "consumer%d", i);
		assert_ok(cu_ledger_open(&f->ledgers[i], &f->conn, f->names[i], &error));
	}
}

static void save(struct fixture *f, int i, int64_t from, int64_t to)
{
	const struct cu_counts add = {.offered = to - from, .applied = to - from};
	struct catchup_error error = {0};
	bool lost = true;

	assert_ok(cu_conn_begin(&f->conn, &error));
	assert_ok(cu_ledger_save(&f->ledgers[i], from, to, 0, &add, &lost, &error));
	assert_false(lost);
	assert_ok(cu_conn_commit(&f->conn, &error));
}

static int64_t watermark(struct fixture *f, int i)
{
	struct catchup_error error = {0};
	int64_t last = -1;

	assert_ok(cu_ledger_load(&f->ledgers[i], &last, &error));
	return last;
}

static void each_has_its_own(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s);
	/* The first save and the later ones are different statements. */
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < MANY; i++)
			save(&f, i, round * 10 * (i + 1), (round + 1) * 10 * (i + 1));
	for (int i = 0; i < MANY; i++) {
		char sql[96];

		assert_int_equal(watermark(&f, i), 30 * (i + 1));
		snprintf(sql, sizeof(sql), "SELECT offered FROM catchup_state WHERE name = '%s'",
			f.names[i]);
		assert_int_equal(sql_int(s->database, sql), 30 * (i + 1));
	}
	cu_conn_close(&f.conn);
}

static void a_letter_has_one_owner(void **state)
{
	const struct cu_dead_letter letter = {.id = 7, .key = "k", .key_bytes = 1, .message = "bad"};
	struct catchup_error error = {0};
	struct fixture f;
	bool has;

	start(&f, *state);
	assert_ok(cu_conn_begin(&f.conn, &error));
	assert_ok(cu_ledger_add_dead(&f.ledgers[1], &letter, &error));
	assert_ok(cu_conn_commit(&f.conn, &error));
	for (int i = 0; i < MANY; i++) {
		assert_ok(cu_ledger_has_dead_keys(&f.ledgers[i], &has, &error));
		assert_int_equal(has, i == 1);
		assert_ok(cu_ledger_has_dead_key(&f.ledgers[i], "k", 1, &has, &error));
		assert_int_equal(has, i == 1);
	}
	cu_conn_close(&f.conn);
}

/* One whose save is refused leaves the statement as it was for the next one. */
static void a_refusal_leaves_nothing_behind(void **state)
{
	struct catchup_error error = {0};
	struct fixture f;
	bool lost = false;

	start(&f, *state);
	save(&f, 0, 0, 5);
	save(&f, 1, 0, 6);
	assert_ok(cu_conn_begin(&f.conn, &error));
	assert_ok(cu_ledger_save(&f.ledgers[0], 4, 9, 0, NULL, &lost, &error));
	assert_true(lost);
	cu_conn_rollback(&f.conn);
	save(&f, 1, 6, 8);
	assert_int_equal(watermark(&f, 0), 5);
	assert_int_equal(watermark(&f, 1), 8);
	assert_int_equal(watermark(&f, 2), 0);
	cu_conn_close(&f.conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(each_has_its_own),
		SCRATCH_TEST(a_letter_has_one_owner),
		SCRATCH_TEST(a_refusal_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
