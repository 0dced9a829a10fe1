/* SPDX-License-Identifier: MIT */
/*
 * Standard error: log lines, the progress line, and that they never mix.
 */
#include "cli/progress.h"
#include "cli/term.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define AT INT64_C(1795226400123)

static void log_lines_have_time_level_subject_and_message(void **state)
{
	struct cli_text text = {0};

	(void)state;
	cli_term_text_line(&text, AT, CATCHUP_LOG_WARN, "orders", "a message");
	cli_term_text_line(&text, AT, CATCHUP_LOG_ERROR, "", "none\nsplit");
	assert_string_equal(cli_text_string(&text),
		"2026-11-21T02:00:00.123Z warn  orders: a message\n"
		"2026-11-21T02:00:00.123Z error none\\nsplit\n");
	cli_text_clear(&text);
	cli_term_json_line(&text, AT, CATCHUP_LOG_INFO, "o\"r\xff", "a\nb");
	assert_string_equal(cli_text_string(&text),
		"{\"time\":\"2026-11-21T02:00:00.123Z\",\"level\":\"info\",\"subject\":\"o\\\"r\\ufffd\","
		"\"message\":\"a\\nb\"}\n");
	cli_text_free(&text);
}

static void read_all(int fd, char *to, size_t room)
{
	ssize_t n = read(fd, to, room - 1);

	assert_true(n >= 0);
	to[n] = '\0';
}

static void a_log_line_stands_above_the_progress_line(void **state)
{
	struct cli_term term;
	char got[1024];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	cli_term_init(&term, ends[1], false, CATCHUP_LOG_INFO);
	cli_term_progress(&term, "50%");
	read_all(ends[0], got, sizeof(got));
	assert_string_equal(got, "\r\x1b[K50%");
	cli_term_log(&term, CATCHUP_LOG_DEBUG, "x", "above the level: no line");
	cli_term_log(&term, CATCHUP_LOG_WARN, "x", "hello");
	read_all(ends[0], got, sizeof(got));
	assert_memory_equal(got, "\r\x1b[K20", 6);
	assert_non_null(strstr(got, " warn  x: hello\n50%"));
	cli_term_progress(&term, "");
	read_all(ends[0], got, sizeof(got));
	assert_string_equal(got, "\r\x1b[K");
	cli_term_finish(&term);
	close(ends[0]);
	close(ends[1]);
}

static void lost_log_lines_are_counted_and_told(void **state)
{
	struct cli_term term;
	char got[1024];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	cli_term_init(&term, open("/dev/full", O_WRONLY | O_CLOEXEC), false, CATCHUP_LOG_INFO);
	assert_true(term.fd >= 0);
	cli_term_log(&term, CATCHUP_LOG_INFO, "", "one");
	cli_term_log(&term, CATCHUP_LOG_INFO, "", "two");
	assert_int_equal(dup2(ends[1], term.fd), term.fd);
	cli_term_log(&term, CATCHUP_LOG_INFO, "", "three");
	read_all(ends[0], got, sizeof(got));
	assert_non_null(strstr(got, "2 log lines could not be written\n"));
	assert_non_null(strstr(got, "three\n"));
	close(term.fd);
	cli_term_finish(&term);
	close(ends[0]);
	close(ends[1]);
}

/* Who logs may be in a transaction. */
static void nobody_waits_for_who_does_not_read(void **state)
{
	static char got[131072];
	struct cli_term term;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	cli_term_init(&term, ends[1], false, CATCHUP_LOG_INFO);
	/* More than a pipe takes. */
	for (int i = 0; i < 5000; i++)
		cli_term_log(&term, CATCHUP_LOG_INFO, "", "a line that comes as long as there is room for it");
	cli_term_progress(&term, "50%");
	read_all(ends[0], got, sizeof(got));
	cli_term_log(&term, CATCHUP_LOG_INFO, "", "the next");
	read_all(ends[0], got, sizeof(got));
	assert_non_null(strstr(got, " log lines could not be written\n"));
	assert_non_null(strstr(got, "the next\n"));
	cli_term_finish(&term);
	close(ends[0]);
	close(ends[1]);
}

#define WRITERS 4
#define LINES 500

static void *write_lines(void *argument)
{
	for (int i = 0; i < LINES; i++)
		cli_term_log(argument, CATCHUP_LOG_INFO, "writer", "a line that is all in one piece");
	return NULL;
}

/* Every line that comes out is whole, whoever wrote it. */
static void lines_of_many_threads_do_not_tear(void **state)
{
	pthread_t threads[WRITERS];
	struct cli_term term;
	char line[256];
	FILE *file;
	int fd = memfd_create("lines", MFD_CLOEXEC);
	int lines = 0;

	(void)state;
	assert_true(fd >= 0);
	cli_term_init(&term, fd, false, CATCHUP_LOG_INFO);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &term), 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	cli_term_finish(&term);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	file = fdopen(fd, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		assert_string_equal(line + 24, " info  writer: a line that is all in one piece\n");
		lines++;
	}
	assert_int_equal(lines, WRITERS * LINES);
	fclose(file);
}

static void sample(struct cli_progress *progress, int64_t at_ms, int64_t rows, int64_t lag)
{
	const struct cli_progress_sample s = {at_ms, rows, lag};

	cli_progress_sample(progress, &s);
}

static void progress_of_a_backlog(void **state)
{
	struct cli_progress progress = {0};
	struct cli_text text = {0};

	(void)state;
	sample(&progress, 0, 5000, 0);
	assert_false(cli_progress_shown(&progress));
	sample(&progress, 200, 5000, 4000);
	assert_false(cli_progress_shown(&progress));
	sample(&progress, 1200, 6000, 3000);
	assert_true(cli_progress_shown(&progress));
	assert_int_equal(cli_progress_done(&progress), 1000);
	assert_int_equal(cli_progress_speed(&progress), 1000);
	assert_int_equal(cli_progress_left_ms(&progress), 3000);
	cli_progress_line(&progress, &text, "orders", 200, false);
	assert_string_equal(cli_text_string(&text), "orders [######..................]  25%  1,000 "
						    "rows  1,000/s  lag 3,000  3.0 s left");
	sample(&progress, 2200, 9000, 0);
	assert_false(cli_progress_shown(&progress));
	/* The next backlog starts from nothing. */
	sample(&progress, 9000, 9000, 100);
	sample(&progress, 9200, 9000, 100);
	assert_true(cli_progress_shown(&progress));
	assert_int_equal(cli_progress_done(&progress), 0);
	assert_int_equal(cli_progress_left_ms(&progress), -1);
	cli_text_free(&text);
}

static void speed_is_that_of_the_last_samples(void **state)
{
	struct cli_progress progress = {0};

	(void)state;
	for (int64_t i = 0; i < 100; i++)
		sample(&progress, i * 200, i * 20, 1000000);
	assert_int_equal(cli_progress_speed(&progress), 100);
	for (int64_t i = 0; i < CLI_PROGRESS_SAMPLES; i++)
		sample(&progress, 20000 + i * 200, 2000 + i * 200, 1000000);
	assert_int_equal(cli_progress_speed(&progress), 1000);
}

static size_t columns_of(const struct cli_text *text)
{
	size_t columns = 0;

	for (size_t i = 0; i < text->used; i++)
		columns += ((unsigned char)text->data[i] & 0xc0) != 0x80;
	return columns;
}

static void the_line_fits_any_terminal(void **state)
{
	struct cli_progress progress = {0};

	(void)state;
	sample(&progress, 0, 0, INT64_MAX);
	sample(&progress, 200, 1234567, INT64_MAX - 1234567);
	for (size_t columns = 0; columns < 160; columns++) {
		struct cli_text text = {0};

		cli_progress_line(&progress, &text, "a consumer with a long name", columns, true);
		assert_false(text.failed);
		assert_true(columns_of(&text) <= columns);
		cli_text_free(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log_lines_have_time_level_subject_and_message),
		cmocka_unit_test(a_log_line_stands_above_the_progress_line),
		cmocka_unit_test(lost_log_lines_are_counted_and_told),
		cmocka_unit_test(nobody_waits_for_who_does_not_read),
		cmocka_unit_test(lines_of_many_threads_do_not_tear),
		cmocka_unit_test(progress_of_a_backlog),
		cmocka_unit_test(speed_is_that_of_the_last_samples),
		cmocka_unit_test(the_line_fits_any_terminal),
	};

	return cmocka_run_group_tests_name("cli_term", tests, NULL, NULL);
}
