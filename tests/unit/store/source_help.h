/* SPDX-License-Identifier: MIT */
/*
 * source_help.h - a source on a connection of its own, and the shortest way to what it says.
 */
#ifndef CU_TESTS_SOURCE_HELP_H
#define CU_TESTS_SOURCE_HELP_H

#include "../store_help.h"

#include "store/source/source.h"

struct fixture {
	struct cu_conn conn;
	struct cu_source source;
	struct catchup_error error;
};

/* setup: run before the source is opened, as another program. */
static inline int try_source(struct fixture *f, struct scratch *s, enum cu_role role, const char *setup,
	struct cu_source_spec spec)
{
	memset(f, 0, sizeof(*f));
	if (setup)
		sql_run(s->database, setup);
	if (!spec.consumer)
		spec.consumer = "totals";
	if (spec.table && !spec.id_column)
		spec.id_column = "id";
	if (try_open(&f->conn, role, s->database, spec.attached ? s->results : NULL, &f->error) !=
		CATCHUP_OK)
		fail_msg("%s", f->error.message);
	return cu_source_open(&f->source, &f->conn, &spec, &f->error);
}

static inline void finish(struct fixture *f)
{
	cu_source_close(&f->source);
	cu_conn_close(&f->conn);
}

static inline void take(struct fixture *f, struct scratch *s, enum cu_role role, const char *setup,
	struct cu_source_spec spec)
{
	if (try_source(f, s, role, setup, spec) != CATCHUP_OK)
		fail_msg("%s", f->error.message);
}

static inline void refuse(struct scratch *s, const char *setup, struct cu_source_spec spec, const char *text)
{
	struct fixture f;

	assert_int_equal(try_source(&f, s, CU_ROLE_WRITER, setup, spec), CATCHUP_CONFIG);
	assert_int_equal(f.error.code, CATCHUP_CONFIG);
	expect_text(&f.error, "consumer 'totals'");
	expect_text(&f.error, text);
	finish(&f);
}

static inline int64_t newest_of(struct fixture *f)
{
	struct catchup_error error = {0};
	int64_t newest;
	bool empty;

	assert_ok(cu_source_newest(&f->source, &newest, &empty, &error));
	assert_int_equal(empty, newest == 0);
	return newest;
}

/* The ids of (last, max] as "1 2 3", and the error's message at the end if there is one. */
static inline const char *fetched(struct fixture *f, int64_t last, int64_t max)
{
	static char text[1024];
	size_t used = 0;
	int64_t id = 0;
	int rc;

	text[0] = '\0';
	cu_source_fetch_begin(&f->source, last, max);
	while ((rc = cu_source_fetch_next(&f->source, &id, &f->error)) == CATCHUP_OK && id)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%lld", used ? " " : "",
			(long long)id);
	if (rc != CATCHUP_OK) {
		assert_int_equal(rc, f->error.code);
		assert_int_equal(id, 0);
		snprintf(text + used, sizeof(text) - used, "%s%s", used ? " " : "", f->error.message);
	}
	cu_source_fetch_end(&f->source);
	return text;
}

static inline void expect_cut(struct fixture *f, int64_t lo, int64_t newest, uint32_t max_rows, int64_t hi,
	uint32_t rows)
{
	struct catchup_error error = {0};
	int64_t got_hi;
	uint32_t got_rows;

	assert_ok(cu_source_cut(&f->source, lo, newest, max_rows, &got_hi, &got_rows, &error));
	assert_int_equal(got_hi, hi);
	assert_int_equal(got_rows, rows);
}

#define ORDERS "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT);"

#endif
