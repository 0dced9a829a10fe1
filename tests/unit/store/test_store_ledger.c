/* SPDX-License-Identifier: MIT */
/*
 * The ledger: tables, watermarks by compare-and-set, counters, state, dead letters, leases.
 */
#include "../store_help.h"

#include "store/ledger/ledger.h"

#include <sys/wait.h>

struct fixture {
	struct cu_conn conn;
	struct cu_ledger ledger;
	struct catchup_error error;
	bool died; /* the lease that was taken last */
};

static void start(struct fixture *f, struct scratch *s, const char *name)
{
	struct catchup_error error = {0};

	memset(f, 0, sizeof(*f));
	if (access(s->database, F_OK) != 0)
		sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
	open_conn(&f->conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_ledger_create_tables(&f->conn, &error));
	assert_ok(cu_ledger_open(&f->ledger, &f->conn, name, &error));
}

static void finish(struct fixture *f)
{
	cu_conn_close(&f->conn);
}

static int64_t watermark(struct fixture *f)
{
	struct catchup_error error = {0};
	int64_t last = -1;

	assert_ok(cu_ledger_load(&f->ledger, &last, &error));
	return last;
}

/* Saves in a transaction of its own. Returns whether it was lost, and then rolls back. */
static bool save(struct fixture *f, int64_t expected, int64_t next, int64_t fence,
	const struct cu_counts *add)
{
	struct catchup_error error = {0};
	bool lost;

	assert_ok(cu_conn_begin(&f->conn, &error));
	assert_ok(cu_ledger_save(&f->ledger, expected, next, fence, add, &lost, &error));
	if (lost)
		cu_conn_rollback(&f->conn);
	else
		assert_ok(cu_conn_commit(&f->conn, &error));
	return lost;
}

static void the_watermark_is_compared_and_set(void **state)
{
	struct scratch *s = *state;
	struct fixture f, g;

	start(&f, s, "totals");
	start(&g, s, "totals");
	assert_int_equal(watermark(&f), 0);
	assert_false(save(&f, 0, 10, 0, NULL));
	assert_int_equal(watermark(&f), 10);
	assert_true(save(&g, 0, 5, 0, NULL));
	assert_true(save(&g, 9, 20, 0, NULL));
	assert_int_equal(watermark(&g), 10);
	assert_false(save(&g, 10, INT64_MAX, 0, NULL));
	assert_true(save(&f, 10, 11, 0, NULL));
	assert_true(watermark(&f) == INT64_MAX);
	/* A watermark of zero can be saved too, and so can one that stays. */
	finish(&g);
	start(&g, s, "o'ther\"; --\n");
	assert_false(save(&g, 0, 0, 0, NULL));
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup"), 2);
	assert_false(save(&g, 0, 3, 0, NULL));
	assert_false(save(&g, 3, 3, 0, NULL));
	finish(&f);
	finish(&g);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup WHERE name LIKE 'o''ther%'"), 3);
}

static void only_a_restart_goes_back(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	bool lost;

	start(&f, s, "cache");
	assert_false(save(&f, 0, 10, 0, NULL));
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_restart(&f.ledger, 9, 2, 0, &lost, &f.error), CATCHUP_OK);
	assert_true(lost);
	assert_int_equal(cu_ledger_restart(&f.ledger, 10, 2, 0, &lost, &f.error), CATCHUP_OK);
	assert_false(lost);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(watermark(&f), 2);
	finish(&f);
}

static void what_is_rolled_back_is_not_saved(void **state)
{
	struct scratch *s = *state;
	struct cu_counts add = {.offered = 1, .applied = 1};
	struct fixture f;
	bool lost;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save(&f.ledger, 0, 5, 0, &add, &lost, &f.error), CATCHUP_OK);
	assert_false(lost);
	assert_int_equal(cu_conn_rollback_to(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(watermark(&f), 0);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_state"), 0);
	finish(&f);
}

static void counters_add_up(void **state)
{
	struct scratch *s = *state;
	struct cu_counts add = {.offered = 10, .applied = 6, .passed = 3, .parked = 1, .retries = 2};
	struct fixture f;

	start(&f, s, "totals");
	assert_false(save(&f, 0, 10, 0, &add));
	assert_false(save(&f, 10, 20, 0, &add));
	assert_true(save(&f, 10, 20, 0, &add));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT offered = 20 AND applied = 12 AND passed = 6 AND"
		" parked = 2 AND retries = 4 AND updated_ms > 1600000000000 FROM catchup_state"), 1);
}

static void a_table_of_the_go_package_is_taken_over(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	sql_run(s->database, "CREATE TABLE catchup (name TEXT NOT NULL CONSTRAINT pk PRIMARY KEY"
		" CONSTRAINT \"name not empty\" CHECK (name <> ''), last INTEGER NOT NULL"
		" CONSTRAINT \"last not negative\" CHECK (last >= 0)) WITHOUT ROWID;"
		"INSERT INTO catchup VALUES ('totals', 41)");
	start(&f, s, "totals");
	assert_int_equal(watermark(&f), 41);
	assert_false(save(&f, 41, 42, 0, NULL));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 42);
}

static void foreign_tables_are_refused(void **state)
{
	static const char *const foreign[] = {
		"CREATE TABLE catchup(name TEXT, last INTEGER)",
		"CREATE TABLE catchup(id INTEGER PRIMARY KEY, name, last)",
		"CREATE TABLE catchup(name TEXT PRIMARY KEY, last INTEGER, extra)",
		"CREATE VIEW catchup AS SELECT 'x' AS name, 1 AS last",
		"CREATE TABLE catchup_state(name, state)",
		"CREATE TABLE catchup_dead(consumer, id)",
		"CREATE TABLE catchup_lease(name TEXT PRIMARY KEY, owner)",
		"CREATE TABLE catchup_consumer(id INTEGER PRIMARY KEY)",
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++) {
		struct catchup_error error = {0};
		struct cu_conn conn;

		unlink(s->database);
		sql_run(s->database, foreign[i]);
		open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
		assert_int_equal(cu_ledger_create_tables(&conn, &error), CATCHUP_DATABASE);
		expect_text(&error, "belongs to another program");
		assert_false(cu_conn_in_transaction(&conn));
		cu_conn_close(&conn);
		assert_int_equal(sql_int(s->database,
			"SELECT count(*) FROM sqlite_schema WHERE name LIKE 'catchup%'"), 1);
		assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE "
			"'%vanished%'"), 0);
	}
}

static void tables_are_made_once_and_in_the_transaction_in_hand(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	int64_t version;

	sql_run(s->database, "CREATE TABLE t(x)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(cu_conn_begin(&conn, &error));
	assert_ok(cu_ledger_create_tables(&conn, &error));
	assert_true(cu_conn_in_transaction(&conn));
	cu_conn_rollback(&conn);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema"), 1);
	assert_ok(cu_ledger_create_tables(&conn, &error));
	version = sql_int(s->database, "PRAGMA schema_version");
	assert_ok(cu_ledger_create_tables(&conn, &error));
	assert_int_equal(sql_int(s->database, "PRAGMA schema_version"), version);
	cu_conn_close(&conn);
	assert_int_equal(sql_int(s->database, "SELECT sql = 'CREATE TABLE catchup(name TEXT NOT NULL PRIMARY"
		" KEY CHECK(name<>''''), last INTEGER NOT NULL CHECK(last>=0)) WITHOUT ROWID'"
		" FROM sqlite_schema WHERE name = 'catchup'"), 1);
}

static void a_temporary_table_does_not_stand_in_front(void **state)
{
	struct scratch *s = *state;
	struct fixture f;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_exec(&f.conn, "CREATE TEMP TABLE catchup(name, last);"
		"CREATE TEMP TABLE catchup_state(name)", NULL, 0, &f.error), CATCHUP_OK);
	assert_false(save(&f, 0, 10, 0, &(struct cu_counts){.offered = 1}));
	finish(&f);
	assert_int_equal(sql_int(s->database, "SELECT last FROM catchup"), 10);
}

static void marks_are_kept(void **state)
{
	struct scratch *s = *state;
	struct fixture f;
	int64_t id, hash;
	bool known, lost;

	start(&f, s, "totals");
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_false(known);
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save(&f.ledger, 0, 7, 0, NULL, &lost, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save_mark(&f.ledger, 7, INT64_MIN, &f.error), CATCHUP_OK);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_true(known && id == 7 && hash == INT64_MIN);
	/* Counters beside it leave it alone. */
	assert_false(save(&f, 7, 8, 0, &(struct cu_counts){.offered = 1}));
	assert_int_equal(cu_ledger_load_mark(&f.ledger, &id, &hash, &known, &f.error), CATCHUP_OK);
	assert_true(known && id == 7);
	finish(&f);
}

static void trouble_is_kept_and_cleared(void **state)
{
	struct scratch *s = *state;
	struct cu_trouble trouble = {.state = CATCHUP_STATE_STOPPED, .code = CATCHUP_CONSUMER,
		.category = "row", .row = 5, .message = "it's \"bad\""};
	struct fixture f;
	int64_t since;

	start(&f, s, "totals");
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT state = 4 AND code = 8 AND category = 'row' AND"
		" error_row = 5 AND message = 'it''s \"bad\"' FROM catchup_state"), 1);
	since = sql_int(s->database, "SELECT since_ms FROM catchup_state");
	assert_true(since > 1600000000000);
	/* The same again keeps the time, another one does not. */
	sql_run(s->database, "UPDATE catchup_state SET since_ms = 1000");
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT since_ms FROM catchup_state"), 1000);
	trouble.row = 6;
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_true(sql_int(s->database, "SELECT since_ms FROM catchup_state") > 1000);
	trouble.code = CATCHUP_OK;
	/* In the transaction in hand. */
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_save_trouble(&f.ledger, &trouble, &f.error), CATCHUP_OK);
	assert_true(cu_conn_in_transaction(&f.conn));
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT state = 0 AND code = 0 AND category IS NULL AND"
		" error_row = 0 AND message IS NULL AND since_ms = 0 FROM catchup_state"), 1);
	finish(&f);
}

static void dead_letters(void **state)
{
	struct scratch *s = *state;
	struct cu_dead_letter letter = {.id = 7, .key = "a\0b", .key_bytes = 3,
		.code = SQLITE_CONSTRAINT_CHECK, .message = "no", .attempts = 2};
	struct fixture f;
	bool has;

	start(&f, s, "totals");
	assert_int_equal(cu_conn_begin(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	letter.message = "never";
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	letter = (struct cu_dead_letter){.id = INT64_MAX, .attempts = 1};
	assert_int_equal(cu_ledger_add_dead(&f.ledger, &letter, &f.error), CATCHUP_OK);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a\0b", 3, &has, &f.error), CATCHUP_OK);
	assert_true(has);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a", 1, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "", 0, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	assert_int_equal(cu_conn_commit(&f.conn, &f.error), CATCHUP_OK);
	assert_int_equal(sql_int(s->database, "SELECT attempts = 4 AND message = 'never' AND first_ms > 0 AND"
		" last_ms >= first_ms AND length(CAST(key AS BLOB)) = 3 FROM catchup_dead WHERE id = 7"), 1);
	assert_int_equal(sql_int(s->database, "SELECT key IS NULL AND message = '' FROM catchup_dead"
		" WHERE id = 9223372036854775807"), 1);
	finish(&f);
	/* Another consumer has its own. */
	start(&f, s, "other");
	assert_int_equal(cu_ledger_has_dead_key(&f.ledger, "a\0b", 3, &has, &f.error), CATCHUP_OK);
	assert_false(has);
	finish(&f);
}

/* ---- leases ------------------------------------------------------------------------------- */

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

static int register_totals(struct cu_conn *conn, const char *source, const char *id_column,
	const char *max, const char *into, struct catchup_error *error)
{
	const struct cu_registration registration = {.name = "totals",
		.source = source,
		.id_column = id_column,
		.max = max,
		.into = into};

	return cu_ledger_register(conn, &registration, error);
}

static void registration_is_written_once(void **state)
{
	struct scratch *s = *state;
	struct catchup_error error = {0};
	struct cu_conn conn;
	int64_t before, after;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY)");
	open_conn(&conn, CU_ROLE_WRITER, s->database, NULL);
	assert_ok(register_totals(&conn, "orders", "id", NULL, "/x/results.db", &error));
	assert_ok(register_totals(&conn, NULL, NULL, "SELECT 1 AS max", "", &error));
	before = sql_int(s->database, "SELECT sum(turn) FROM catchup_consumer");
	assert_ok(register_totals(&conn, NULL, NULL, "SELECT 1 AS max", "", &error));
	after = sql_int(s->database, "SELECT sum(turn) FROM catchup_consumer");
	assert_int_equal(before, after);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM catchup_consumer"), 2);
	assert_int_equal(sql_int(s->database, "SELECT \"into\" = '' FROM catchup_consumer ORDER BY turn DESC"), 1);
	/* Back to the first place: that is the newest again. */
	assert_ok(register_totals(&conn, "orders", "id", NULL, "/x/results.db", &error));
	assert_int_equal(sql_int(s->database, "SELECT \"into\" <> '' FROM catchup_consumer ORDER BY turn DESC"), 1);
	assert_false(cu_conn_in_transaction(&conn));
	cu_conn_close(&conn);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(the_watermark_is_compared_and_set),
		SCRATCH_TEST(only_a_restart_goes_back),
		SCRATCH_TEST(what_is_rolled_back_is_not_saved),
		SCRATCH_TEST(counters_add_up),
		SCRATCH_TEST(a_table_of_the_go_package_is_taken_over),
		SCRATCH_TEST(foreign_tables_are_refused),
		SCRATCH_TEST(tables_are_made_once_and_in_the_transaction_in_hand),
		SCRATCH_TEST(a_temporary_table_does_not_stand_in_front),
		SCRATCH_TEST(marks_are_kept),
		SCRATCH_TEST(trouble_is_kept_and_cleared),
		SCRATCH_TEST(dead_letters),
		SCRATCH_TEST(one_holds_the_lease),
		SCRATCH_TEST(a_lease_ends_by_itself),
		SCRATCH_TEST(a_killed_holder_is_noticed_at_once),
		SCRATCH_TEST(a_marked_row_is_known_to_the_next_holder_only),
		SCRATCH_TEST(registration_is_written_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
