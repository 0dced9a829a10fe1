/* SPDX-License-Identifier: MIT */
/*
 * A changelog writer that is to make each flush durable, on a disk whose syncs and writes fail: what a
 * flush has answered for was synced after it was written, in whichever file it is, and a sync that failed
 * is never made good by a later one.
 */
#include "changelog_story.h"

#include "base/os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The disk, in place of os_posix_file.c's: what was synced of each file, and what is to fail next. */
static struct {
	struct {
		ino_t inode;
		off_t size;
	} synced[64];
	size_t n_synced;
	int syncs, folder_syncs;
	int sync_fails, folder_sync_fails; /* errno of the next one, 0: it does not fail */
	size_t room;                       /* bytes that still fit; SIZE_MAX: any number */
} disk;

int __real_cu_file_sync(int fd);
int __wrap_cu_file_sync(int fd);
int __real_cu_file_sync_folder(const char *path_in_folder);
int __wrap_cu_file_sync_folder(const char *path_in_folder);
ssize_t __real_cu_file_write(int fd, const void *from, size_t bytes);
ssize_t __wrap_cu_file_write(int fd, const void *from, size_t bytes);

static int take_fault(int *fault)
{
	int taken = *fault;

	*fault = 0;
	return -taken;
}

int __wrap_cu_file_sync(int fd)
{
	int rc = take_fault(&disk.sync_fails);
	struct stat st;

	disk.syncs++;
	if (rc == 0)
		rc = __real_cu_file_sync(fd);
	if (rc == 0) {
		assert_int_equal(fstat(fd, &st), 0);
		assert_true(disk.n_synced < sizeof(disk.synced) / sizeof(disk.synced[0]));
		disk.synced[disk.n_synced].inode = st.st_ino;
		disk.synced[disk.n_synced++].size = st.st_size;
	}
	return rc;
}

int __wrap_cu_file_sync_folder(const char *path_in_folder)
{
	int rc = take_fault(&disk.folder_sync_fails);

	disk.folder_syncs++;
	return rc == 0 ? __real_cu_file_sync_folder(path_in_folder) : rc;
}

ssize_t __wrap_cu_file_write(int fd, const void *from, size_t bytes)
{
	if (disk.room == 0)
		return -ENOSPC;
	if (disk.room != SIZE_MAX) {
		bytes = bytes < disk.room ? bytes : disk.room;
		disk.room -= bytes;
	}
	return __real_cu_file_write(fd, from, bytes);
}

static int begin(void **state)
{
	memset(&disk, 0, sizeof(disk));
	disk.room = SIZE_MAX;
	return story_begin(state);
}

static void expect_synced(const char *name)
{
	struct stat st;
	off_t synced = -1;

	assert_int_equal(stat(in_folder(name), &st), 0);
	for (size_t i = 0; i < disk.n_synced; i++)
		if (disk.synced[i].inode == st.st_ino)
			synced = disk.synced[i].size;
	if (synced != st.st_size)
		fail_msg("'%s': %lld bytes of %lld were synced", name, (long long)synced,
			(long long)st.st_size);
}

/* ---- the writer ------------------------------------------------------------------------------- */

static const struct catchup_changelog_writer_options in_one_file = {.sync = 1};
static const struct catchup_changelog_writer_options rotated = {
	.sync = 1, .rotate_bytes = CATCHUP_ROTATE_BYTES_MIN, .keep = 2};

static void expect_flush_fails(struct catchup_changelog_writer *w, int code, const char *words)
{
	struct catchup_error error = {0};

	assert_int_equal(catchup_changelog_writer_flush(w, &error), code);
	assert_int_equal(error.code, code);
	if (!strstr(error.message, words))
		fail_msg("'%s' has no '%s'", error.message, words);
}

/* Nothing makes it good: neither another try, nor more events, nor taking them back. */
static void expect_final(struct catchup_changelog_writer *w, int code, const char *reason)
{
	int syncs = disk.syncs, folder_syncs = disk.folder_syncs;

	for (int i = 0; i < 3; i++) {
		expect_flush_fails(w, code, "a sync has failed, so it has to be opened again");
		expect_flush_fails(w, code, reason);
		append(w, 100 + i);
		expect_flush_fails(w, code, reason);
		catchup_changelog_writer_discard(w);
	}
	assert_int_equal(disk.syncs, syncs);
	assert_int_equal(disk.folder_syncs, folder_syncs);
}

/* ---- stories ---------------------------------------------------------------------------------- */

static void every_flush_is_synced(void **state)
{
	struct catchup_changelog_writer *w = open_writer(rotated);
	int before = disk.folder_syncs;

	(void)state;
	for (int64_t i = 1; access(in_folder("log.1"), F_OK) != 0; i++) {
		append(w, i);
		flush(w);
		expect_synced("log");
	}
	expect_synced("log.1");
	assert_int_equal(disk.folder_syncs, before + 1);
	/* Nothing went into the file since. */
	before = disk.syncs;
	flush(w);
	assert_int_equal(disk.syncs, before);
	catchup_changelog_writer_close(w);
}

static void a_sync_that_failed_is_final(void **state)
{
	static const struct {
		int fault, code;
		const char *reason;
	} cases[] = {
		{EIO, CATCHUP_IO, "Input/output error"},
		{ENOSPC, CATCHUP_FULL, "No space left on device"},
	};
	struct catchup_changelog_writer *w = open_writer(in_one_file);
	struct catchup_iterator *it = open_log((struct catchup_iterator_options){0});

	(void)state;
	append(w, 1);
	flush(w);
	expect_story(it, "1");
	for (size_t i = 0; i < 2; i++) {
		append(w, 2);
		disk.sync_fails = cases[i].fault;
		expect_flush_fails(w, cases[i].code, cases[i].reason);
		expect_final(w, cases[i].code, cases[i].reason);
		catchup_changelog_writer_close(w);
		/* Again, as a new event: the reader has had the one that was not answered for. */
		w = open_writer(in_one_file);
		assert_int_equal(append(w, 2), 3 + 2 * i);
		flush(w);
		expect_synced("log");
		expect_story(it, i == 0 ? "2 3" : "4 5");
	}
	expect_quiet(it);
	catchup_changelog_writer_close(w);
	catchup_iterator_close(it);
}

/* Fills the file up to where the next flush rotates it. Returns the last sequence. */
static int64_t fill(struct catchup_changelog_writer *w)
{
	struct stat st;
	int64_t last;

	do {
		last = append(w, 1000);
		flush(w);
		assert_int_equal(stat(in_folder("log"), &st), 0);
	} while (st.st_size + 100 <= CATCHUP_ROTATE_BYTES_MIN);
	assert_int_not_equal(access(in_folder("log.1"), F_OK), 0);
	append(w, 1001);
	append(w, 1002);
	return last + 2;
}

static void a_folder_that_cannot_be_synced_is_final(void **state)
{
	struct catchup_changelog_writer *w = open_writer(rotated);
	int64_t last = fill(w);

	(void)state;
	disk.folder_sync_fails = EIO;
	expect_flush_fails(w, CATCHUP_IO, "Input/output error");
	assert_int_equal(access(in_folder("log.1"), F_OK), 0);
	expect_final(w, CATCHUP_IO, "Input/output error");
	catchup_changelog_writer_close(w);
	w = open_writer(rotated);
	assert_int_equal(append(w, 1003), last + 1);
	flush(w);
	expect_synced("log");
	catchup_changelog_writer_close(w);
}

static void a_file_to_rotate_to_is_written_anew(void **state)
{
	struct catchup_changelog_writer *w = open_writer(rotated);
	struct catchup_iterator *it;
	int64_t last = fill(w);

	(void)state;
	disk.sync_fails = EIO;
	expect_flush_fails(w, CATCHUP_IO, "the file to rotate to");
	assert_int_not_equal(access(in_folder("log.new"), F_OK), 0);
	assert_int_not_equal(access(in_folder("log.1"), F_OK), 0);
	flush(w);
	expect_synced("log");
	expect_synced("log.1");
	it = open_log((struct catchup_iterator_options){.start = CATCHUP_START_AFTER,
		.after_sequence = last - 2});
	for (int64_t i = last - 1; i <= last; i++) {
		const struct catchup_next *next;

		assert_int_equal(catchup_iterator_next(it, PATIENCE_MS, &next), CATCHUP_NEXT_EVENT);
		assert_int_equal(next->event->sequence, i);
	}
	expect_quiet(it);
	catchup_iterator_close(it);
	catchup_changelog_writer_close(w);
}

/* Of a batch of three lines two go into the file, and then the disk is full. */
static void write_two_of_three(struct catchup_changelog_writer *w)
{
	for (int i = 1; i <= 3; i++)
		append(w, i);
	disk.room = 200;
	expect_flush_fails(w, CATCHUP_FULL, "No space left");
	disk.room = SIZE_MAX;
}

static void lines_of_a_short_write_are_synced_too(void **state)
{
	struct catchup_changelog_writer *w = open_writer(in_one_file);

	(void)state;
	write_two_of_three(w);
	/* The rest is taken back, and what went stays. */
	catchup_changelog_writer_discard(w);
	assert_int_equal(catchup_changelog_writer_sequence(w), 2);
	flush(w);
	expect_synced("log");
	/* The rest goes elsewhere. */
	write_two_of_three(w);
	rename_file("log", "log.old");
	flush(w);
	expect_synced("log.old");
	expect_synced("log");
	/* Where the file cannot be synced that is left, nothing goes elsewhere. */
	write_two_of_three(w);
	rename_file("log", "log.older");
	disk.sync_fails = EIO;
	expect_flush_fails(w, CATCHUP_IO, "Input/output error");
	expect_final(w, CATCHUP_IO, "Input/output error");
	assert_int_not_equal(access(in_folder("log"), F_OK), 0);
	catchup_changelog_writer_close(w);
}

static void lines_of_a_short_write_are_synced_before_a_rotation(void **state)
{
	(void)state;
	for (int fails = 0; fails <= 1; fails++) {
		struct catchup_changelog_writer *w = open_writer(rotated);

		write_two_of_three(w);
		/* What is left, and so much more that it needs a file of its own. */
		for (int64_t i = 4; i <= 48; i++)
			append(w, i);
		disk.sync_fails = fails ? EIO : 0;
		if (fails) {
			expect_flush_fails(w, CATCHUP_IO, "Input/output error");
			expect_final(w, CATCHUP_IO, "Input/output error");
			assert_int_not_equal(access(in_folder("log.1"), F_OK), 0);
		} else {
			flush(w);
			expect_synced("log.1");
			expect_synced("log");
			assert_int_equal(unlink(in_folder("log.1")), 0);
			assert_int_equal(unlink(in_folder("log")), 0);
		}
		catchup_changelog_writer_close(w);
	}
}

static void opening_syncs_what_is_there(void **state)
{
	struct catchup_changelog_writer *w;
	struct catchup_error error = {0};

	(void)state;
	append_events("log", 1, 3, NULL);
	disk.sync_fails = EIO;
	assert_int_equal(try_writer(in_one_file, &w, &error), CATCHUP_IO);
	assert_non_null(strstr(error.message, "syncing what is there"));
	disk.folder_sync_fails = EIO;
	assert_int_equal(try_writer(in_one_file, &w, &error), CATCHUP_IO);
	assert_non_null(strstr(error.message, "syncing what is there"));
	w = open_writer(in_one_file);
	expect_synced("log");
	catchup_changelog_writer_close(w);
	assert_int_equal(disk.syncs, 3);
	assert_int_equal(disk.folder_syncs, 2);
	/* Who did not ask for it has none. */
	w = open_writer((struct catchup_changelog_writer_options){0});
	append(w, 4);
	flush(w);
	catchup_changelog_writer_close(w);
	assert_int_equal(disk.syncs, 3);
	assert_int_equal(disk.folder_syncs, 2);
}

#define SYNC_STORY(name) cmocka_unit_test_setup_teardown(name, begin, story_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SYNC_STORY(every_flush_is_synced),
		SYNC_STORY(a_sync_that_failed_is_final),
		SYNC_STORY(a_folder_that_cannot_be_synced_is_final),
		SYNC_STORY(a_file_to_rotate_to_is_written_anew),
		SYNC_STORY(lines_of_a_short_write_are_synced_too),
		SYNC_STORY(lines_of_a_short_write_are_synced_before_a_rotation),
		SYNC_STORY(opening_syncs_what_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
