/* SPDX-License-Identifier: MIT */
/*
 * NULL for each argument of each public function that cannot do without it: refused as wrong usage, with
 * the function or what is missing in the message, or nothing done. Never a crash, whether or not there is
 * an error to fill. The headers are read to see that no function is left out.
 */
#include "store_help.h"

#include <catchup/changelog.h>
#include <catchup/consumer.h>

#include <ctype.h>

#define CALLS_MAX 256

static const char *calls[CALLS_MAX]; /* "catchup_open(NULL, ...": what was called so far */
static size_t n_calls;
static struct catchup_error error; /* of the last call */

static void note(const char *call)
{
	assert_true(n_calls < CALLS_MAX);
	calls[n_calls++] = call;
}

static bool was_called(const char *name, size_t n)
{
	for (size_t i = 0; i < n_calls; i++) {
		const char *at = strstr(calls[i], "catchup_");

		if (at && strncmp(at, name, n) == 0 && at[n] == '(')
			return true;
	}
	return false;
}

static void check_refused(const char *call, int rc, const char *part)
{
	if (rc != CATCHUP_USAGE || error.code != CATCHUP_USAGE || !strstr(error.message, part))
		fail_msg("%s: %s: %s; expected: %s", call, catchup_code_name(rc), error.message, part);
}

/* A call with `to`: once with a place for the message, which has `part` in it, and once without. */
#define REFUSED(part, call)                                                                        \
	do {                                                                                       \
		struct catchup_error *to = &error;                                                 \
		memset(&error, 0, sizeof(error));                                                  \
		note(#call);                                                                       \
		check_refused(#call, (call), (part));                                              \
		to = NULL;                                                                         \
		assert_int_equal((call), CATCHUP_USAGE);                                           \
	} while (0)

/* A call that needs nothing, or does nothing. */
#define HARMLESS(call)                                                                             \
	do {                                                                                       \
		note(#call);                                                                       \
		call;                                                                              \
	} while (0)

#define EQUAL(call, value)                                                                         \
	do {                                                                                       \
		note(#call);                                                                       \
		assert_int_equal((call), (value));                                                 \
	} while (0)

static int pass_row(struct catchup_context *ctx, void *own, sqlite3_stmt *row)
{
	(void)ctx;
	(void)own;
	(void)row;
	return CATCHUP_ROW_PASSED;
}

static const struct catchup_consumer passes = {
	CATCHUP_CONSUMER_ABI, .name = "passes", .summary = "passes", .source = "orders", .row = pass_row};

static void a_runtime(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	const struct catchup_options no_database = {.size = sizeof(options)};
	struct catchup_description *described;
	struct catchup_status *status;
	struct catchup *c;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT)");
	REFUSED("catchup_open: 'out' is NULL", catchup_open(&options, NULL, to));
	REFUSED("option 'database' is missing", catchup_open(NULL, &c, to));
	REFUSED("option 'database' is missing", catchup_open(&no_database, &c, to));
	REFUSED("no runtime was given", catchup_add(NULL, "totals.sql", NULL, to));
	REFUSED("no runtime was given", catchup_add_table(NULL, &passes, NULL, to));
	REFUSED("no runtime was given", catchup_check(NULL, to));
	REFUSED("no runtime was given", catchup_start(NULL, to));
	REFUSED("no runtime was given", catchup_wait(NULL, 0, to));
	REFUSED("no runtime was given", catchup_wait_stopped(NULL, 0, to));
	REFUSED("no runtime was given", catchup_status(NULL, &status, to));
	REFUSED("no runtime was given", catchup_stop(NULL, to));
	EQUAL(catchup_wake(NULL), CATCHUP_USAGE);
	HARMLESS(catchup_close(NULL));

	assert_ok(catchup_open(&options, &c, NULL));
	REFUSED("catchup_add: 'consumer' is NULL", catchup_add(c, NULL, NULL, to));
	REFUSED("catchup_add_table: 'table' is NULL", catchup_add_table(c, NULL, NULL, to));
	assert_ok(catchup_add_table(c, &passes, NULL, NULL));
	assert_ok(catchup_start(c, NULL));
	REFUSED("catchup_status: 'out' is NULL", catchup_status(c, NULL, to));
	assert_ok(catchup_wait(c, PATIENCE_MS, NULL));
	assert_ok(catchup_stop(c, NULL));
	catchup_close(c);

	REFUSED("catchup_describe: 'out' is NULL", catchup_describe("totals.sql", NULL, NULL, NULL, to));
	REFUSED("catchup_describe: 'consumer' is NULL", catchup_describe(NULL, NULL, NULL, &described, to));
	assert_null(described);
	HARMLESS(catchup_description_free(NULL));
}

static void what_looks_after_a_database(void **state)
{
	struct scratch *s = *state;
	const struct catchup_options options = {.size = sizeof(options), .database = s->database};
	const char *const one_missing[] = {"sums", NULL};
	struct catchup_verification *v;
	struct catchup_dead_letters *letters;
	struct catchup_dead_result retried;
	struct catchup_reset_result result;
	struct catchup_status *status;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT)");
	REFUSED("catchup_status_read: 'out' is NULL", catchup_status_read(s->database, NULL, to));
	REFUSED("the path of a database is empty", catchup_status_read(NULL, &status, to));
	HARMLESS(catchup_status_free(NULL));
	REFUSED("the path of a database is empty", catchup_wait_watermark(NULL, "sums", 1, 0, NULL, to));
	REFUSED("the consumer's name is empty", catchup_wait_watermark(s->database, NULL, 1, 0, NULL, to));
	REFUSED("catchup_dead_read: 'out' is NULL", catchup_dead_read(s->database, NULL, 0, NULL, to));
	REFUSED("the path of a database is empty", catchup_dead_read(NULL, NULL, 0, &letters, to));
	HARMLESS(catchup_dead_free(NULL));
	REFUSED("the path of a database is empty", catchup_dead_drop(NULL, NULL, 0, NULL, to));
	REFUSED("catchup_dead_retry: 'result' is NULL", catchup_dead_retry(&options, NULL, 0, NULL, to));
	REFUSED("option 'database' is missing", catchup_dead_retry(NULL, NULL, 0, &retried, to));
	REFUSED("catchup_reset: 'result' is NULL", catchup_reset(&options, "sums", 0, 0, NULL, to));
	REFUSED("option 'database' is missing", catchup_reset(NULL, "sums", 0, 0, &result, to));
	REFUSED("option 'consumer' is missing", catchup_reset(&options, NULL, 0, 0, &result, to));
	REFUSED("the database is missing", catchup_forget(NULL, "sums", to));
	REFUSED("the consumer's name is missing", catchup_forget(s->database, NULL, to));
	REFUSED("catchup_verify: 'out' is NULL", catchup_verify(&options, NULL, 0, 0, NULL, to));
	REFUSED("option 'database' is missing", catchup_verify(NULL, NULL, 0, 0, &v, to));
	REFUSED("catchup_verify: 'consumers[1]' is NULL", catchup_verify(&options, one_missing, 2, 0, &v, to));
	assert_ok(catchup_verify(&options, NULL, 7, 0, &v, NULL)); /* all */
	catchup_verification_free(v);
	HARMLESS(catchup_verification_free(NULL));
	REFUSED("the path of a database is empty", catchup_guard(NULL, "orders", NULL, to));
	REFUSED("the table's name is empty", catchup_guard(s->database, NULL, NULL, to));
	REFUSED("the path of a database is empty", catchup_guard_remove(NULL, "orders", to));
	REFUSED("the table's name is empty", catchup_guard_remove(s->database, NULL, to));
}

static void reading_a_changelog(void **state)
{
	struct scratch *s = *state;
	struct catchup_changelog_options options = {.size = sizeof(options), .path = s->results};
	struct catchup_iterator_options own = {.size = sizeof(own), .path = s->results};
	const struct catchup_next *next;
	struct catchup_changelog *c;
	struct catchup_iterator *it;

	scratch_write(s->results, "", 0);
	REFUSED("catchup_changelog_open: 'out' is NULL", catchup_changelog_open(&options, NULL, to));
	REFUSED("changelog options: size 0", catchup_changelog_open(NULL, &c, to));
	HARMLESS(catchup_changelog_close(NULL));
	REFUSED("catchup_iterator_open: 'out' is NULL", catchup_iterator_open(&own, NULL, to));
	REFUSED("iterator options: size 0", catchup_iterator_open(NULL, &it, to));
	assert_ok(catchup_iterator_open(&own, &it, NULL));
	EQUAL(catchup_iterator_next(it, 0, NULL), CATCHUP_NEXT_ERROR);
	EQUAL(catchup_iterator_next(it, 0, &next), CATCHUP_NEXT_TIMEOUT);
	catchup_iterator_close(it);
	EQUAL(catchup_iterator_next(NULL, 0, NULL), CATCHUP_NEXT_ERROR);
	EQUAL(catchup_iterator_next(NULL, 0, &next), CATCHUP_NEXT_ERROR);
	assert_int_equal(next->error.code, CATCHUP_USAGE);
	assert_string_equal(next->error.message, "catchup_iterator_next: 'iterator' is NULL");
	HARMLESS(catchup_iterator_cancel(NULL));
	/* Not in sync, for nothing keeps it so. */
	EQUAL(catchup_iterator_out_of_sync(NULL) != 0, true);
	HARMLESS(catchup_iterator_rebuilt(NULL, 1));
	HARMLESS(catchup_iterator_close(NULL));
}

static int take_piece(void *context, const char *piece, size_t bytes)
{
	(void)context;
	(void)piece;
	(void)bytes;
	return 7;
}

static void writing_a_changelog(void **state)
{
	struct scratch *s = *state;
	struct catchup_changelog_writer_options options = {.size = sizeof(options), .path = s->results};
	const struct catchup_key key = {.name = "id", .type = "int", .kind = CATCHUP_KEY_INT, .integer = 1};
	const struct catchup_event event = {1, "fam", "orders", &key, 1};
	const struct catchup_key no_name = {.type = "int", .kind = CATCHUP_KEY_INT};
	const struct catchup_key no_text = {"id", "text", CATCHUP_KEY_TEXT, .text_bytes = 3};
	const struct catchup_event torn[] = {{1, NULL, "orders", &key, 1}, {1, "fam", NULL, &key, 1},
		{1, "fam", "orders", NULL, 1}, {1, "fam", "orders", &no_name, 1}, {1, "fam", "orders", &no_text, 1}};
	struct catchup_changelog_writer *w;
	char line[8] = "untouch";

	REFUSED("catchup_changelog_writer_open: 'out' is NULL",
		catchup_changelog_writer_open(&options, NULL, to));
	REFUSED("changelog writer options: size 0", catchup_changelog_writer_open(NULL, &w, to));
	REFUSED("catchup_changelog_writer_append: 'writer' is NULL",
		catchup_changelog_writer_append(NULL, "fam", "orders", &key, 1, NULL, to));
	REFUSED("catchup_changelog_writer_flush: 'writer' is NULL", catchup_changelog_writer_flush(NULL, to));
	HARMLESS(catchup_changelog_writer_discard(NULL));
	EQUAL(catchup_changelog_writer_sequence(NULL), -1);
	HARMLESS(catchup_changelog_writer_close(NULL));
	assert_ok(catchup_changelog_writer_open(&options, &w, NULL));
	REFUSED("catchup_changelog_writer_append: 'keys' is NULL",
		catchup_changelog_writer_append(w, "fam", "orders", NULL, 1, NULL, to));
	REFUSED("no table", catchup_changelog_writer_append(w, "fam", NULL, &key, 1, NULL, to));
	assert_int_equal(catchup_changelog_writer_sequence(w), 0);
	catchup_changelog_writer_close(w);

	EQUAL(catchup_event_write(&event, take_piece, NULL), 7);
	EQUAL(catchup_event_write(&event, NULL, NULL), -1);
	EQUAL(catchup_event_write(NULL, take_piece, NULL), -1);
	for (size_t i = 0; i < sizeof(torn) / sizeof(torn[0]); i++)
		assert_int_equal(catchup_event_write(&torn[i], take_piece, NULL), -1);
	EQUAL(catchup_event_format(&event, NULL, 100), catchup_event_format(&event, line, sizeof(line)));
	EQUAL(catchup_event_format(NULL, line, sizeof(line)), 0);
	assert_string_equal(line, "");
}

static void what_takes_no_pointer(void **state)
{
	(void)state;
	HARMLESS(catchup_code_name(0));
	HARMLESS(catchup_code_text(0));
	HARMLESS(catchup_code_exit(0));
	HARMLESS(catchup_state_name(0));
	HARMLESS(catchup_sync_reason_name(0));
	HARMLESS(catchup_version());
	HARMLESS(catchup_sqlite_version());
	HARMLESS(catchup_sqlite_has_wal_reset_bug());
}

/* Last: each declaration of the headers is looked up among the calls before. */
static void no_function_is_left_out(void **state)
{
	static const char *const headers[] = {"catchup.h", "changelog.h"};
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		char path[4096], line[256];
		bool declared = false;
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", HEADERS, headers[i]);
		f = fopen(path, "r");
		assert_non_null(f);
		/* The name may stand on the line after CATCHUP_API. */
		while (fgets(line, sizeof(line), f)) {
			const char *open, *name;

			declared = declared || strncmp(line, "CATCHUP_API ", 12) == 0;
			open = declared ? strchr(line, '(') : NULL;
			if (!open)
				continue;
			for (name = open; name > line && (isalnum((unsigned char)name[-1]) || name[-1] == '_');)
				name--;
			if (!was_called(name, (size_t)(open - name)))
				fail_msg("no test gives NULL to %.*s", (int)(open - name), name);
			declared = false;
			found++;
		}
		fclose(f);
	}
	assert_true(found > 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_runtime),
		SCRATCH_TEST(what_looks_after_a_database),
		SCRATCH_TEST(reading_a_changelog),
		SCRATCH_TEST(writing_a_changelog),
		cmocka_unit_test(what_takes_no_pointer),
		cmocka_unit_test(no_function_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
