/* SPDX-License-Identifier: MIT */
/*
 * SQL consumer files: what is taken apart how, and what each bad file is told.
 */
#include "consumer/sql_file.h"
#include "consumer/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAD "-- name: doors\n-- source: events\n"
#define APPLY "-- apply\nINSERT INTO t SELECT id FROM events WHERE id > @last AND id <= @max;\n"

static struct cu_sql_file *parse(const char *text)
{
	struct cu_sql_file *file;
	struct catchup_error error = {0};
	int code = cu_sql_file_parse(&file, "f.sql", text, strlen(text), &error);

	if (code != CATCHUP_OK)
		fail_msg("refused: %s", error.message);
	return file;
}

static void refuses_bytes(const char *text, size_t bytes, const char *message)
{
	struct cu_sql_file *file;
	struct catchup_error error = {0};

	assert_int_equal(cu_sql_file_parse(&file, "f.sql", text, bytes, &error), CATCHUP_CONFIG);
	assert_null(file);
	assert_int_equal(error.code, CATCHUP_CONFIG);
	assert_string_equal(error.message, message);
	assert_int_equal(cu_sql_file_parse(&file, "f.sql", text, bytes, NULL), CATCHUP_CONFIG);
}

static void refuses(const char *text, const char *message)
{
	refuses_bytes(text, strlen(text), message);
}

static void takes_header_and_sections_apart(void **state)
{
	struct cu_sql_file *f = parse("-- SPDX-License-Identifier: MIT\n"
				      "-- Doors that stand open: one row each.\n"
				      "-- see https://example.org/doors\n"
				      "\n"
				      "-- name: doors: open \n"
				      "--source:events\n"
				      "-- id:\trowid\n"
				      "-- into: doors.db\n"
				      "-- from: events.db\n"
				      "-- on-error: retry(3, 10, 100) park\n"
				      "-- workers: 1\n"
				      "-- batch-rows: 500\n"
				      "-- summary: doors that stand open\n"
				      "-- setup\n"
				      "CREATE TABLE t(id);\n"
				      "-- a comment of words\n"
				      "-- apply\n"
				      "INSERT INTO t VALUES(@last, @max);");

	(void)state;
	assert_string_equal(f->path, "f.sql");
	assert_string_equal(f->keys[CU_SQL_KEY_NAME].text, "doors: open");
	assert_int_equal(f->keys[CU_SQL_KEY_NAME].line, 5);
	assert_string_equal(f->keys[CU_SQL_KEY_SOURCE].text, "events");
	assert_string_equal(f->keys[CU_SQL_KEY_ID].text, "rowid");
	assert_string_equal(f->keys[CU_SQL_KEY_INTO].text, "doors.db");
	assert_string_equal(f->keys[CU_SQL_KEY_FROM].text, "events.db");
	assert_string_equal(f->keys[CU_SQL_KEY_ON_ERROR].text, "retry(3, 10, 100) park");
	assert_string_equal(f->keys[CU_SQL_KEY_WORKERS].text, "1");
	assert_string_equal(f->keys[CU_SQL_KEY_BATCH_ROWS].text, "500");
	assert_string_equal(f->keys[CU_SQL_KEY_SUMMARY].text, "doors that stand open");
	assert_string_equal(f->sections[CU_SQL_SECTION_SETUP].text,
		"CREATE TABLE t(id);\n-- a comment of words");
	assert_int_equal(f->sections[CU_SQL_SECTION_SETUP].line, 15);
	assert_string_equal(
		f->sections[CU_SQL_SECTION_APPLY].text, "INSERT INTO t VALUES(@last, @max);");
	assert_int_equal(f->sections[CU_SQL_SECTION_APPLY].line, 18);
	assert_null(f->sections[CU_SQL_SECTION_ROW].text);
	cu_sql_file_free(f);
}

static void accepts_byte_order_mark_and_crlf(void **state)
{
	struct cu_sql_file *f = parse("\xef\xbb\xbf-- name: doors\r\n-- source: events\r\n"
				      "-- apply \r\nSELECT 1;\r\n");

	(void)state;
	assert_string_equal(f->keys[CU_SQL_KEY_NAME].text, "doors");
	assert_string_equal(f->keys[CU_SQL_KEY_SOURCE].text, "events");
	assert_string_equal(f->sections[CU_SQL_SECTION_APPLY].text, "SELECT 1;");
	assert_int_equal(f->sections[CU_SQL_SECTION_APPLY].line, 4);
	cu_sql_file_free(f);
}

static void counts_lines_from_a_section(void **state)
{
	struct cu_sql_file *f = parse(HEAD "-- apply\nA\nB\nC");
	const struct cu_sql_text *apply = &f->sections[CU_SQL_SECTION_APPLY];

	(void)state;
	assert_int_equal(cu_sql_file_line(apply, apply->text), 4);
	assert_int_equal(cu_sql_file_line(apply, strchr(apply->text, 'C')), 6);
	cu_sql_file_free(f);
}

static void skips_blanks_and_comments(void **state)
{
	(void)state;
	assert_string_equal(cu_sql_file_skip_blank(" \t\r\n;; -- c\n/* d\n */SELECT"), "SELECT");
	assert_string_equal(cu_sql_file_skip_blank("-- only"), "");
	assert_string_equal(cu_sql_file_skip_blank("/* never ends"), "");
	assert_string_equal(cu_sql_file_skip_blank("- 1"), "- 1");
	assert_string_equal(cu_sql_file_skip_blank("/"), "/");
}

static void accepts_a_row_without_next_and_queries_without_source(void **state)
{
	(void)state;
	cu_sql_file_free(parse(HEAD "-- row\nINSERT INTO t VALUES(@id);"));
	cu_sql_file_free(parse("-- name: x\n-- max\nSELECT 1 AS max\n-- next\nSELECT 1 AS id\n"
			       "-- row\nINSERT INTO t VALUES(@id);"));
	cu_sql_file_free(parse(HEAD "-- max\nSELECT 1 AS max\n" APPLY));
}

static void refuses_what_is_no_text(void **state)
{
	char *large = malloc(CU_SQL_FILE_BYTES_MAX + 1);

	(void)state;
	refuses("", "f.sql: the file is empty");
	refuses_bytes("-- name: a\0b\n", 13,
		"f.sql: the file is binary (byte 0 at offset 10); a SQL consumer file is text");
	refuses_bytes("\xff\xfe-\0-\0", 6, "f.sql: the file is UTF-16; a SQL consumer file is UTF-8");
	assert_non_null(large);
	memset(large, ' ', CU_SQL_FILE_BYTES_MAX + 1);
	refuses_bytes(large, CU_SQL_FILE_BYTES_MAX + 1,
		"f.sql: 16777217 bytes are above the maximum 16777216 of a SQL consumer file");
	free(large);
}

static void refuses_a_file_that_makes_no_consumer(void **state)
{
	(void)state;
	refuses("-- source: events\n" APPLY,
		"f.sql: no name; the header needs a line '-- name: NAME'");
	refuses("\n\n", "f.sql: no name; the header needs a line '-- name: NAME'");
	refuses(HEAD, "f.sql: no section 'apply' or 'row'; it would do nothing");
	refuses(HEAD "-- next\nSELECT 1 AS id",
		"f.sql: no section 'apply' or 'row'; it would do nothing");
	refuses(HEAD APPLY "-- row\nSELECT 1",
		"f.sql:3: section 'apply' beside 'row' (line 5); a consumer has either 'apply' or 'row'");
	refuses(HEAD APPLY "-- next\nSELECT 1",
		"f.sql:3: section 'apply' beside 'next' (line 5); a consumer has either 'apply' or "
		"'row'");
	refuses("-- name: x\n" APPLY, "f.sql:2: section 'apply' without a source; the header needs a "
				      "line '-- source: TABLE'");
	refuses("-- name: x\n-- next\nSELECT 1 AS id\n-- row\nSELECT 1",
		"f.sql: no source; the header needs a line '-- source: TABLE', or the file the sections "
		"'max' and 'next'");
	refuses("-- name: x\n-- id: n\n-- max\nSELECT 1\n-- next\nSELECT 1\n-- row\nSELECT 1",
		"f.sql:2: header key 'id' without 'source'; it names a column of the source table");
}

static void refuses_wrong_header_lines(void **state)
{
	(void)state;
	refuses("-- nmae: x\n", "f.sql:1: unknown header key 'nmae', did you mean 'name'?");
	refuses("-- Name: x\n", "f.sql:1: unknown header key 'Name', did you mean 'name'?");
	refuses("-- on_error:stop\n",
		"f.sql:1: unknown header key 'on_error', did you mean 'on-error'?");
	refuses("-- colour: red\n", "f.sql:1: unknown header key 'colour'; a plain comment has no colon "
				    "behind its first word");
	refuses("-- name: x\n\n-- name: y\n", "f.sql:3: header key 'name' stands in line 1 already");
	refuses("-- name:  \n", "f.sql:1: header key 'name' has no value");
	refuses("-- name\n", "f.sql:1: header key 'name' has no colon and no value");
	refuses(HEAD "-- apply\nSELECT 1;\n-- into: x.db\n",
		"f.sql:5: header key 'into' stands behind the section 'apply' that begins in line 3; "
		"header lines come first (indent the line if it is a comment)");
	refuses("-- name: x\nSELECT 1;\n",
		"f.sql:2: SQL before the first section; sections begin with '-- setup', '-- apply', "
		"'-- next', '-- row', '-- max' or '-- reset'");
}

static void refuses_wrong_sections(void **state)
{
	(void)state;
	refuses(HEAD "-- aply\nSELECT 1;\n",
		"f.sql:3: unknown section 'aply', did you mean 'apply'? (a comment that is meant as such "
		"has more than one word)");
	refuses(HEAD "-- setup\nSELECT 1;\n-- ROW\nSELECT 1;\n",
		"f.sql:5: unknown section 'ROW', did you mean 'row'? (a comment that is meant as such "
		"has more than one word)");
	refuses(HEAD APPLY APPLY, "f.sql:5: section 'apply' stands in line 3 already");
	refuses(HEAD "-- apply\n ; -- nothing\n", "f.sql:3: section 'apply' is empty");
	refuses(HEAD "-- setup\n" APPLY, "f.sql:3: section 'setup' is empty");
	refuses(HEAD "-- apply", "f.sql:3: section 'apply' is empty");
	cu_sql_file_free(parse(HEAD "-- totals\n-- apply\nSELECT 1;\n-- thereafter\n"));
}

static void message_is_one_line_whatever_the_path(void **state)
{
	struct cu_sql_file *file;
	struct catchup_error error = {0};
	char path[5000];

	(void)state;
	memset(path, 'a', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	path[0] = '\n';
	path[1] = (char)0xff;
	assert_int_equal(cu_sql_file_parse(&file, path, "", 0, &error), CATCHUP_CONFIG);
	assert_memory_equal(error.message, "\\n\\xffaaa", 9);
	assert_non_null(strstr(error.message, ": the file is empty"));
}

/* ---- reading ------------------------------------------------------------------------------ */

static char folder[] = "/tmp/catchup-test-XXXXXX";

static const char *in_folder(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void refuses_to_read(const char *path, const char *reason)
{
	struct cu_sql_file *file;
	struct catchup_error error = {0};
	char message[512];

	snprintf(message, sizeof(message), "%s: %s", path, reason);
	assert_int_equal(cu_sql_file_read(&file, path, &error), CATCHUP_CONFIG);
	assert_null(file);
	assert_string_equal(error.message, message);
}

static void refuses_what_is_no_file(void **state)
{
	const char *path;

	(void)state;
	refuses_to_read(folder, "is a folder; a SQL consumer is a regular file");
	refuses_to_read("/dev/zero", "is a device; a SQL consumer is a regular file");
	refuses_to_read(in_folder("none.sql"), "cannot open: No such file or directory");
	path = in_folder("fifo.sql");
	assert_int_equal(mkfifo(path, 0600), 0);
	refuses_to_read(path, "is a FIFO; a SQL consumer is a regular file");
	unlink(path);
	path = in_folder("loop.sql");
	assert_int_equal(symlink(path, path), 0);
	refuses_to_read(path, "cannot open: Too many levels of symbolic links");
	unlink(path);
}

static void refuses_a_gigabyte_without_reading_it(void **state)
{
	const char *path = in_folder("large.sql");
	FILE *f = fopen(path, "w");

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), 1 << 30), 0);
	fclose(f);
	refuses_to_read(
		path, "1073741824 bytes are above the maximum 16777216 of a SQL consumer file");
	unlink(path);
}

static void reads_a_file_of_many_blocks(void **state)
{
	const char *path = in_folder("many.sql");
	FILE *f = fopen(path, "w");
	struct cu_sql_file *file;
	struct catchup_error error = {0};

	(void)state;
	assert_non_null(f);
	fputs(HEAD "-- setup\nCREATE TABLE t(id);\n", f);
	for (int i = 0; i < 20000; i++)
		fputs("-- a comment that fills the file\n", f);
	fputs(APPLY, f);
	fclose(f);
	assert_int_equal(cu_sql_file_read(&file, path, &error), CATCHUP_OK);
	assert_int_equal(file->sections[CU_SQL_SECTION_APPLY].line, 20006);
	cu_sql_file_free(file);
	unlink(path);
}

static void suggests_what_is_one_slip_away(void **state)
{
	static const char *const known[] = {"name", "into", "on-error", "workers", NULL};

	(void)state;
	assert_string_equal(cu_suggest_nearest("nane", known), "name");
	assert_string_equal(cu_suggest_nearest("anme", known), "name");
	assert_string_equal(cu_suggest_nearest("nam", known), "name");
	assert_string_equal(cu_suggest_nearest("INTO", known), "into");
	assert_string_equal(cu_suggest_nearest("wroker", known), "workers");
	assert_null(cu_suggest_nearest("mane", known));
	assert_null(cu_suggest_nearest("xyz", known));
	assert_null(cu_suggest_nearest("", known));
	assert_null(cu_suggest_nearest("a-word-that-is-longer-than-any-that-is-known", known));
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_header_and_sections_apart),
		cmocka_unit_test(accepts_byte_order_mark_and_crlf),
		cmocka_unit_test(counts_lines_from_a_section),
		cmocka_unit_test(skips_blanks_and_comments),
		cmocka_unit_test(accepts_a_row_without_next_and_queries_without_source),
		cmocka_unit_test(refuses_what_is_no_text),
		cmocka_unit_test(refuses_a_file_that_makes_no_consumer),
		cmocka_unit_test(refuses_wrong_header_lines),
		cmocka_unit_test(refuses_wrong_sections),
		cmocka_unit_test(message_is_one_line_whatever_the_path),
		cmocka_unit_test(refuses_what_is_no_file),
		cmocka_unit_test(refuses_a_gigabyte_without_reading_it),
		cmocka_unit_test(reads_a_file_of_many_blocks),
		cmocka_unit_test(suggests_what_is_one_slip_away),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
