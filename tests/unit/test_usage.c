/* SPDX-License-Identifier: MIT */
/*
 * Calls of the library that are wrong in themselves: structs of another size, what is missing, values out
 * of range. Each is refused as wrong usage with a message that says what and why, and nothing is made.
 */
#include "store_help.h"

#include <catchup/changelog.h>
#include <catchup/consumer.h>

#include <errno.h>

static void expect_usage(int rc, const struct catchup_error *error, const char *part)
{
	if (rc != CATCHUP_USAGE || error->code != CATCHUP_USAGE)
		fail_msg("%s instead of a usage error: %s", catchup_code_name(rc), error->message);
	expect_text(error, part);
}

static void a_code_that_is_none_has_a_name_all_the_same(void **state)
{
	(void)state;
	for (int code = CATCHUP_OK; code < 1000; code++) {
		bool known = strcmp(catchup_code_name(code), "UNKNOWN") != 0;

		assert_int_equal(strcmp(catchup_code_text(code), "unknown error") != 0, known);
		assert_in_range(catchup_code_exit(code), code == CATCHUP_OK ? 0 : 1, 6);
	}
	assert_string_equal(catchup_code_name(-1), "UNKNOWN");
	assert_string_equal(catchup_code_text(-1), "unknown error");
	assert_int_equal(catchup_code_exit(-1), 1);
	assert_string_equal(catchup_state_name(-1), "unknown");
	assert_string_equal(catchup_state_name(1000), "unknown");
}

/* ---- a runtime ------------------------------------------------------------------------------- */

static void options_of_another_size(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options) + 1, .database = s->database};
	struct catchup_error error = {0};
	struct catchup *c = NULL;

	expect_usage(catchup_open(&options, &c, &error), &error, "catchup_options.size is");
	options.size = sizeof(size_t);
	expect_usage(catchup_open(&options, &c, &error), &error, "catchup_options.size is");
	options.size = sizeof(options);
	options.synchronous = 77;
	expect_usage(catchup_open(&options, &c, &error), &error, "option 'synchronous': 77 is unknown");
	options.synchronous = -1;
	expect_usage(catchup_open(&options, &c, &error), &error, "option 'synchronous': -1 is unknown");
	options.synchronous = CATCHUP_SYNCHRONOUS_DEFAULT;
	options.log_level = CATCHUP_LOG_DEBUG + 1;
	expect_usage(catchup_open(&options, &c, &error), &error, "option 'log_level': 4 is outside 0 to 3");
	options.log_level = CATCHUP_LOG_ERROR;
	options.flags = CATCHUP_FLAG_ALONE | 1u << 30;
	expect_usage(catchup_open(&options, &c, &error), &error, "option 'flags': 0x40000004 has bits");
	assert_null(c);
	assert_int_equal(access(s->database, F_OK), -1);
	catchup_close(NULL);
}

/* An older caller gives fewer fields, and the others are defaults. */
static void options_of_an_older_caller(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options;
	struct catchup_verification *v;
	struct catchup_error error = {0};
	struct catchup *c;

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT)");
	memset(&options, 0xff, sizeof(options));
	memset(&options, 0, offsetof(struct catchup_options, batch_rows));
	options.size = offsetof(struct catchup_options, batch_rows);
	options.database = s->database;
	assert_ok(catchup_open(&options, &c, &error));
	catchup_close(c);
	assert_ok(catchup_verify(&options, NULL, 0, 0, &v, &error));
	assert_int_equal(v->n_verdicts, 0);
	catchup_verification_free(v);
}

/* ---- upkeep ---------------------------------------------------------------------------------- */

static void what_upkeep_needs_is_missing(void **state)
{
	struct scratch *s = *state;
	struct catchup_options options = {.size = sizeof(options), .database = s->database};
	const struct catchup_options none = {.size = sizeof(none)};
	struct catchup_dead_result retried;
	struct catchup_reset_result result;
	struct catchup_verification *v;
	struct catchup_error error = {0};

	sql_run(s->database, "CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT)");
	expect_usage(catchup_reset(NULL, "sums", 0, 0, &result, &error), &error,
		"option 'database' is missing");
	expect_usage(catchup_reset(&none, "sums", 0, 0, &result, &error), &error,
		"option 'database' is missing");
	expect_usage(catchup_reset(&options, NULL, 0, 0, &result, &error), &error,
		"option 'consumer' is missing");
	expect_usage(catchup_reset(&options, "sums", -7, 0, &result, &error), &error, "id -7 is below 0");
	expect_usage(catchup_forget(NULL, "sums", &error), &error, "the database is missing");
	expect_usage(catchup_forget(s->database, NULL, &error), &error, "the consumer's name is missing");
	expect_usage(catchup_verify(NULL, NULL, 0, 0, &v, &error), &error, "option 'database' is missing");
	expect_usage(catchup_verify(&none, NULL, 0, 0, &v, &error), &error, "option 'database' is missing");
	expect_usage(catchup_dead_retry(NULL, NULL, 0, &retried, &error), &error,
		"option 'database' is missing");
	expect_usage(catchup_dead_retry(&none, NULL, 0, &retried, &error), &error,
		"option 'database' is missing");
	expect_usage(catchup_wait_watermark(s->database, NULL, 1, 0, NULL, &error), &error,
		"the consumer's name is empty");
	expect_usage(catchup_wait_watermark(s->database, "", 1, 0, NULL, &error), &error,
		"the consumer's name is empty");
	expect_usage(catchup_guard(s->database, NULL, NULL, &error), &error, "the table's name is empty");
	expect_usage(catchup_guard_remove(s->database, "", &error), &error, "the table's name is empty");
	/* The same without anybody to tell. */
	assert_int_equal(catchup_forget(s->database, NULL, NULL), CATCHUP_USAGE);
	assert_int_equal(catchup_reset(&options, NULL, 0, 0, &result, NULL), CATCHUP_USAGE);
	assert_int_equal(catchup_verify(&none, NULL, 0, 0, &v, NULL), CATCHUP_USAGE);
	assert_int_equal(sql_int(s->database, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'catchup%'"), 0);
}

/* ---- changelogs ------------------------------------------------------------------------------ */

static int open_changelog(struct catchup_changelog_options options, struct catchup_error *error)
{
	struct catchup_changelog *c;
	int rc = catchup_changelog_open(&options, &c, error);

	assert_null(c);
	return rc;
}

static void changelog_options(void **state)
{
	struct catchup_error error = {0};
	struct catchup_changelog *c;
	const size_t size = sizeof(struct catchup_changelog_options);

	(void)state;
#define OPEN(...) open_changelog((struct catchup_changelog_options){__VA_ARGS__}, &error)
	expect_usage(catchup_changelog_open(NULL, &c, &error), &error, "changelog options: size 0 is not within");
	expect_usage(OPEN(.size = 1, .path = "log"), &error, "size 1 is not within");
	expect_usage(OPEN(.size = size + 8, .path = "log"), &error, "is not within");
	expect_usage(OPEN(.size = size), &error, "the path is empty");
	expect_usage(OPEN(.size = size, .path = ""), &error, "the path is empty");
	expect_usage(OPEN(.size = size, .path = "log", .max_line_bytes = 1), &error,
		"option 'max_line_bytes': 1 is not within 64 to");
	expect_usage(OPEN(.size = size, .path = "log", .max_line_bytes = UINT32_MAX), &error,
		"option 'max_line_bytes': 4294967295 is not within 64 to");
	expect_usage(OPEN(.size = size, .path = "log", .open_wait_ms = UINT32_MAX), &error,
		"option 'open_wait_ms': 4294967295 is above the maximum");
#undef OPEN
	assert_int_equal(access("log", F_OK), -1);
	catchup_changelog_close(NULL);
}

static int open_iterator(struct catchup_iterator_options options, struct catchup_error *error)
{
	struct catchup_iterator *it;
	int rc = catchup_iterator_open(&options, &it, error);

	assert_null(it);
	return rc;
}

static void iterator_options(void **state)
{
	struct catchup_error error = {0};
	struct catchup_iterator *it;
	const size_t size = sizeof(struct catchup_iterator_options);

	(void)state;
#define OPEN(...) open_iterator((struct catchup_iterator_options){__VA_ARGS__}, &error)
	expect_usage(catchup_iterator_open(NULL, &it, &error), &error, "iterator options: size 0 is not within");
	expect_usage(OPEN(.size = 1, .path = "log"), &error, "size 1 is not within");
	expect_usage(OPEN(.size = size + 8, .path = "log"), &error, "is not within");
	expect_usage(OPEN(.size = size), &error, "give either a changelog or a path");
	expect_usage(OPEN(.size = size, .path = "log", .start = -1), &error, "option 'start': -1");
	expect_usage(OPEN(.size = size, .path = "log", .start = 3), &error, "option 'start': 3");
	expect_usage(OPEN(.size = size, .path = "log", .on_full = -1), &error, "option 'on_full': -1");
	expect_usage(OPEN(.size = size, .path = "log", .on_full = 2), &error, "option 'on_full': 2");
	expect_usage(OPEN(.size = size, .path = "log", .after_sequence = -1), &error,
		"option 'after_sequence': -1 is below the minimum 0");
	expect_usage(OPEN(.size = size, .path = "log", .ring_slots = 1), &error, "option 'ring_slots': 1");
	expect_usage(OPEN(.size = size, .path = "log", .ring_slots = UINT32_MAX), &error,
		"option 'ring_slots': 4294967295");
#undef OPEN
	catchup_iterator_close(NULL);
}

static int open_writer(struct catchup_changelog_writer_options options, struct catchup_error *error)
{
	struct catchup_changelog_writer *w;
	int rc = catchup_changelog_writer_open(&options, &w, error);

	assert_null(w);
	return rc;
}

static void writer_options(void **state)
{
	struct catchup_error error = {0};
	struct catchup_changelog_writer *w;
	const size_t size = sizeof(struct catchup_changelog_writer_options);

	(void)state;
#define OPEN(...) open_writer((struct catchup_changelog_writer_options){__VA_ARGS__}, &error)
	expect_usage(catchup_changelog_writer_open(NULL, &w, &error), &error,
		"changelog writer options: size 0 is not within");
	expect_usage(OPEN(.size = 1, .path = "log"), &error, "size 1 is not within");
	expect_usage(OPEN(.size = size + 8, .path = "log"), &error, "is not within");
	expect_usage(OPEN(.size = size), &error, "the path is empty");
	expect_usage(OPEN(.size = size, .path = ""), &error, "the path is empty");
	expect_usage(OPEN(.size = size, .path = "log", .rotate_bytes = 1), &error,
		"option 'rotate_bytes': 1 is below the minimum");
	expect_usage(OPEN(.size = size, .path = "log", .keep = UINT32_MAX), &error,
		"option 'keep': 4294967295 is above the maximum");
	expect_usage(OPEN(.size = size, .path = "log", .after_sequence = -1), &error,
		"option 'after_sequence': -1 is below the minimum 0");
#undef OPEN
	assert_int_equal(access("log", F_OK), -1);
	catchup_changelog_writer_close(NULL);
}

/* Each is refused, and the batch is as it was. */
static void events_that_cannot_be_written(void **state)
{
	static const struct {
		const char *family;
		struct catchup_key key;
		const char *message;
	} bad[] = {
		{NULL, {.name = "id", .type = "int", .kind = CATCHUP_KEY_INT}, "family"},
		{"\xff", {.name = "id", .type = "int", .kind = CATCHUP_KEY_INT}, "family"},
		{"fam", {.name = NULL, .type = "int", .kind = CATCHUP_KEY_INT}, "key name"},
		{"fam", {.name = "id", .type = "\xc3", .kind = CATCHUP_KEY_INT}, "key type"},
		{"fam", {.name = "id", .type = "text", .kind = CATCHUP_KEY_TEXT},
			"the text of key 'id' is not UTF-8"},
		{"fam", {.name = "id", .type = "text", .kind = CATCHUP_KEY_TEXT, .text = "\xed\xa0\x80",
			.text_bytes = 3}, "the text of key 'id' is not UTF-8"},
		{"fam", {.name = "id", .type = "real", .kind = CATCHUP_KEY_DOUBLE, .real = 1e308 * 10},
			"key 'id' is not a finite number"},
		{"fam", {.name = "id", .type = "x", .kind = CATCHUP_KEY_NULL - 1}, "of the unknown kind"},
		{"fam", {.name = "id", .type = "x", .kind = CATCHUP_KEY_TEXT + 1}, "of the unknown kind"},
	};
	const struct catchup_key good = {.name = "id", .type = "int", .kind = CATCHUP_KEY_INT, .integer = 1};
	struct scratch *s = *state;
	struct catchup_changelog_writer_options options = {.size = sizeof(options)};
	struct catchup_changelog_writer *w;
	struct catchup_error error = {0};
	int64_t sequence;
	char path[300];

	snprintf(path, sizeof(path), "%s/log", s->folder);
	options.path = path;
	assert_ok(catchup_changelog_writer_open(&options, &w, &error));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_usage(catchup_changelog_writer_append(w, bad[i].family, "orders", &bad[i].key, 1, NULL,
			&error), &error, bad[i].message);
	assert_ok(catchup_changelog_writer_append(w, "fam", "orders", &good, 1, &sequence, &error));
	assert_int_equal(sequence, 1);
	assert_ok(catchup_changelog_writer_flush(w, &error));
	catchup_changelog_writer_close(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_code_that_is_none_has_a_name_all_the_same),
		SCRATCH_TEST(options_of_another_size),
		SCRATCH_TEST(options_of_an_older_caller),
		SCRATCH_TEST(what_upkeep_needs_is_missing),
		cmocka_unit_test(changelog_options),
		cmocka_unit_test(iterator_options),
		cmocka_unit_test(writer_options),
		SCRATCH_TEST(events_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
