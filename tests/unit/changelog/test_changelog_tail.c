/* SPDX-License-Identifier: MIT */
/*
 * The newest sequence of what is in a file already: a follower that begins at its end must know it, or what
 * is lost before the first event that it gets would be lost in silence.
 */
#include "changelog/tail.h"
#include "changelog_story.h"

#include "base/os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_LINE (256 * 1024)
#define LARGE (100 * 1024)

/* The newest sequence before the end of a file of so many bytes; a negative errno. */
static int64_t newest_of(const char *bytes, size_t n)
{
	struct cu_line_parser parser = {0};
	FILE *file = fopen(in_folder("log"), "w");
	int64_t sequence, at;
	int fd, rc;

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
	fd = cu_file_open(in_folder("log"), 0);
	assert_true(fd >= 0);
	rc = cu_tail_find_start(fd, (int64_t)n, &at);
	if (rc == 0)
		rc = cu_tail_find_sequence(fd, at, MAX_LINE, &parser, &sequence);
	cu_line_parser_finish(&parser);
	cu_file_close(fd);
	return rc == 0 ? sequence : rc;
}

static int64_t newest(const char *text)
{
	return newest_of(text, strlen(text));
}

/* An event's line, with its end. Good until the next call. */
static const char *event(long sequence)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s\n", event_line(sequence, "foo"));
	return line;
}

/* A line of about so many bytes: an event with so long a key, its fields in the usual order or not. */
static char *long_line(size_t bytes, int64_t sequence, bool usual)
{
	char *line = malloc(bytes + 256), *filling = malloc(bytes + 1);

	assert_true(line && filling);
	memset(filling, 'x', bytes);
	filling[bytes] = '\0';
	if (usual)
		sprintf(line, "{\"seq\":%lld,\"family\":\"fam\",\"table\":\"foo\",\"key\":[{\"name\":\"id\","
			"\"type\":\"text\",\"value\":\"%s\"}]}\n", (long long)sequence, filling);
	else
		sprintf(line, "{\"family\":\"fam\",\"table\":\"foo\",\"key\":[{\"name\":\"id\","
			"\"type\":\"text\",\"value\":\"%s\"}],\"seq\":%lld}\n", filling, (long long)sequence);
	free(filling);
	return line;
}

static void the_last_event_before_bad_lines(void **state)
{
	char text[2048];

	(void)state;
	assert_int_equal(newest(""), -1);
	assert_int_equal(newest("no line's end"), -1);
	assert_int_equal(newest(event(7)), 7);
	snprintf(text, sizeof(text), "%s\n\nno event\n{\"seq\":9}\n", event(7));
	assert_int_equal(newest(text), 7);
	/* What follows the last newline is not there yet. */
	snprintf(text, sizeof(text), "%s{\"seq\":8,", event(7));
	assert_int_equal(newest(text), 7);
}

static void too_many_bad_lines_and_it_is_not_known(void **state)
{
	char text[2048] = "";

	(void)state;
	strcat(text, event(7));
	for (int i = 0; i < CU_TAIL_LINES - 1; i++)
		strcat(text, "bad\n");
	assert_int_equal(newest(text), 7);
	strcat(text, "bad\n");
	assert_int_equal(newest(text), -1);
}

static void large_lines(void **state)
{
	char *usual = long_line(LARGE, 41, true), *other = long_line(LARGE, 42, false);
	char *too_long = long_line(MAX_LINE, 43, true);
	char *no_event = long_line(LARGE, 44, true), *both;

	(void)state;
	/* As every known writer writes it, it is known by its beginning; otherwise it is read whole. */
	assert_int_equal(newest(usual), 41);
	assert_int_equal(newest(other), 42);
	/* One that is longer than lines may be is bad, whatever it says. */
	assert_int_equal(newest(too_long), -1);
	both = malloc(strlen(usual) + strlen(too_long) + 1);
	assert_non_null(both);
	strcpy(both, usual);
	strcat(both, too_long);
	assert_int_equal(newest(both), 41);
	memcpy(no_event, "{\"seq\":-5", 9);
	assert_int_equal(newest(no_event), -1);
	memcpy(no_event, "{\"seq\":5]", 9);
	assert_int_equal(newest(no_event), -1);
	free(usual);
	free(other);
	free(too_long);
	free(no_event);
	free(both);
}

/* Who truncates a file while its writer goes on leaves a hole of NULs where the writer was. */
static void a_line_behind_a_hole(void **state)
{
	const char *line = event(45);
	const size_t n = strlen(line), large = 2 * LARGE;
	char *bytes = calloc(1, large + n);

	(void)state;
	assert_non_null(bytes);
	memcpy(bytes + 10, line, n);
	assert_int_equal(newest_of(bytes, 10 + n), 45);
	memset(bytes, 0, large);
	memcpy(bytes + large, line, n);
	assert_int_equal(newest_of(bytes, large + n), 45);
	free(bytes);
}

static void what_cannot_be_read_is_told(void **state)
{
	struct cu_line_parser parser = {0};
	int64_t sequence, at;

	(void)state;
	assert_int_equal(cu_tail_find_start(-1, 100, &at), -EBADF);
	assert_int_equal(cu_tail_find_sequence(-1, 100, MAX_LINE, &parser, &sequence), -EBADF);
	assert_int_equal(sequence, -1);
	cu_line_parser_finish(&parser);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(the_last_event_before_bad_lines),
		STORY(too_many_bad_lines_and_it_is_not_known),
		STORY(large_lines),
		STORY(a_line_behind_a_hole),
		STORY(what_cannot_be_read_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
