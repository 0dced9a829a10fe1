/* SPDX-License-Identifier: MIT */
#include "changelog_story.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];
static char message[CATCHUP_MESSAGE_BYTES];

int story_begin(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/catchup-story-XXXXXX", tmp ? tmp : "/tmp");
	message[0] = '\0';
	return mkdtemp(folder) ? 0 : -1;
}

int story_end(void **state)
{
	char command[600];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command) == 0 ? 0 : -1;
}

const char *in_folder(const char *name)
{
	static _Thread_local char paths[8][1024];
	static _Thread_local unsigned turn;
	char *path = paths[turn++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static void write_file(const char *name, const char *text, size_t n, int flags)
{
	int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);

	if (fd < 0)
		fail_msg("%s: %s", name, strerror(errno));
	assert_int_equal(write(fd, text, n), n);
	close(fd);
}

void put_file(const char *name, const char *text)
{
	unlink(in_folder(name));
	write_file(name, text, strlen(text), O_EXCL);
}

void append_file(const char *name, const char *text)
{
	write_file(name, text, strlen(text), O_APPEND);
}

const char *event_line(long sequence, const char *table)
{
	static _Thread_local char lines[8][256];
	static _Thread_local unsigned turn;
	char *line = lines[turn++ % 8];

	snprintf(line, sizeof(lines[0]),
		"{\"seq\":%ld,\"family\":\"fam\",\"table\":\"%s\",\"key\":[{\"name\":\"id\","
		"\"type\":\"int\",\"value\":%ld}]}",
		sequence, table ? table : "foo", sequence);
	return line;
}

void append_events(const char *name, long from, long to, const char *table)
{
	size_t n = (size_t)(to - from) + 1;
	char *text = malloc(n * 256);
	char *end = text;

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		end += sprintf(end, "%s\n", event_line(from + (long)i, table));
	write_file(name, text, (size_t)(end - text), O_APPEND);
	free(text);
}

void rename_file(const char *from, const char *to)
{
	assert_int_equal(rename(in_folder(from), in_folder(to)), 0);
}

void truncate_file(const char *name, long size)
{
	assert_int_equal(truncate(in_folder(name), size), 0);
}

struct catchup_iterator *open_log(struct catchup_iterator_options options)
{
	struct catchup_iterator *it;
	struct catchup_error error = {0};

	options.size = sizeof(options);
	if (!options.changelog && !options.path)
		options.path = in_folder("log");
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	return it;
}

static size_t tell(char *to, size_t bytes, int result, const struct catchup_next *next)
{
	switch (result) {
	case CATCHUP_NEXT_EVENT:
		return (size_t)snprintf(to, bytes, "%" PRId64, next->event->sequence);
	case CATCHUP_NEXT_OUT_OF_SYNC:
		return (size_t)snprintf(to, bytes, "%s(%" PRId64 ",%" PRId64 ")",
			catchup_sync_reason_name(next->sync.reason), next->sync.expected,
			next->sync.got);
	case CATCHUP_NEXT_BAD_LINE:
	case CATCHUP_NEXT_ERROR:
		snprintf(message, sizeof(message), "%s", next->error.message);
		return (size_t)snprintf(
			to, bytes, result == CATCHUP_NEXT_ERROR ? "error" : "bad");
	case CATCHUP_NEXT_TIMEOUT:
		return (size_t)snprintf(to, bytes, "TIMEOUT");
	default:
		return (size_t)snprintf(to, bytes, "CANCELED");
	}
}

void expect_story(struct catchup_iterator *it, const char *expected)
{
	char story[8192] = "";
	size_t used = 0;
	size_t words = 1;
	const struct catchup_next *next;

	for (const char *p = expected; *p; p++)
		words += *p == ' ';
	for (size_t i = 0; i < words && used < sizeof(story) - 100; i++) {
		int result = catchup_iterator_next(it, PATIENCE_MS, &next);

		if (i > 0)
			story[used++] = ' ';
		used += tell(story + used, sizeof(story) - used, result, next);
		if (result == CATCHUP_NEXT_TIMEOUT)
			break;
	}
	assert_string_equal(story, expected);
}

void expect_quiet(struct catchup_iterator *it)
{
	const struct catchup_next *next;
	char story[256] = "";
	int result = catchup_iterator_next(it, 0, &next);

	tell(story, sizeof(story), result, next);
	assert_string_equal(story, "TIMEOUT");
}

const char *last_message(void)
{
	return message;
}

uint64_t wait_for_flag(const struct catchup_iterator *it)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t ticket = 0;

	/* The flag is made to be polled; there is nothing to wait on. */
	for (int i = 0; i < PATIENCE_MS && ticket == 0; i++) {
		ticket = catchup_iterator_out_of_sync(it);
		nanosleep(&pause, NULL);
	}
	assert_true(ticket > 0);
	return ticket;
}

/* ---- a writer ------------------------------------------------------------------------------- */

int try_writer(struct catchup_changelog_writer_options options, struct catchup_changelog_writer **w,
	struct catchup_error *error)
{
	options.size = sizeof(options);
	options.path = in_folder("log");
	return catchup_changelog_writer_open(&options, w, error);
}

struct catchup_changelog_writer *open_writer(struct catchup_changelog_writer_options options)
{
	struct catchup_changelog_writer *w;
	struct catchup_error error = {0};

	if (try_writer(options, &w, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	return w;
}

int64_t append(struct catchup_changelog_writer *w, int64_t value)
{
	struct catchup_key key = {
		.name = "id", .type = "int", .kind = CATCHUP_KEY_INT, .integer = value};
	struct catchup_error error = {0};
	int64_t sequence = -1;

	if (catchup_changelog_writer_append(w, "fam", "foo", &key, 1, &sequence, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	return sequence;
}

void flush(struct catchup_changelog_writer *w)
{
	struct catchup_error error = {0};

	if (catchup_changelog_writer_flush(w, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
}
