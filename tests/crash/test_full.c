/* SPDX-License-Identifier: MIT */
/*
 * The disk that holds a consumer's results fills up and is freed, again and again. While it is full the
 * consumer says so, acknowledges nothing and waits; the others go on; and when there is room it goes on by
 * itself.
 */
#include "program.h"
#include "proof.h"
#include "skip.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_BYTES (48 << 20)

#define ROWS_AT_ONCE 200
#define ROW_BYTES 3000

/* After so many cycles the disk is made anew: results only grow. */
#define CYCLES_OF_A_DISK 10

/* What is there while the disk is full is compared every so often. */
#define CYCLES_TO_A_CHECK 5

struct scene {
	char *folder, *app, *disk, *results, *ballast, *image;
	struct program program;
	bool mounted, ext4;
	long behind; /* cycles that ended with rows to be done */
};

static const char into_disk[] =
	"-- name: into\n-- source: events\n-- into: disk/results.db\n-- setup\n"
	"CREATE TABLE IF NOT EXISTS intoed(line TEXT NOT NULL);\n"
	"-- next\nSELECT id, v FROM source.events WHERE id > @last AND id <= @max ORDER BY id\n"
	"-- row\nINSERT INTO intoed VALUES (@id || ' ' || @v);\n";

/* ---- the disk -------------------------------------------------------------------------------- */

static bool run_quietly(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool run_quietly(const char *fmt, ...)
{
	char *command;
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	assert_true(vasprintf(&command, fmt, ap) > 0);
	va_end(ap);
	ok = system(command) == 0;
	free(command);
	return ok;
}

static bool mount_disk(struct scene *s)
{
	char size[64];
	int fd;

	assert_int_equal(mkdir(s->disk, 0700), 0);
	if (!s->ext4) {
		snprintf(size, sizeof(size), "size=%d", DISK_BYTES);
		s->mounted = mount("tmpfs", s->disk, "tmpfs", 0, size) == 0;
		return s->mounted;
	}
	fd = open(s->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_BYTES + (4 << 20)), 0);
	close(fd);
	s->mounted = run_quietly("mkfs.ext4 -q -F -m 0 -O ^has_journal '%s' >/dev/null 2>&1 &&"
		" mount -o loop '%s' '%s' >/dev/null 2>&1", s->image, s->image, s->disk);
	return s->mounted;
}

static void unmount_disk(struct scene *s)
{
	if (s->mounted)
		umount2(s->disk, MNT_DETACH);
	s->mounted = false;
}

/* Writes until nothing more goes in. Returns how much did. */
static size_t write_all(int fd)
{
	static const char bytes[1 << 20];
	size_t n = sizeof(bytes), done = 0;

	while (n > 0) {
		ssize_t written = write(fd, bytes, n);

		if (written > 0) {
			done += (size_t)written;
			continue;
		}
		assert_int_equal(errno, ENOSPC);
		n /= 2;
	}
	return done;
}

/* Until not a byte is left: only what is written to the disk says how much there was. */
static void fill_disk(struct scene *s)
{
	int fd = open(s->ballast, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write_all(fd) > 0)
		fsync(fd);
	close(fd);
}

static void free_disk(struct scene *s)
{
	assert_int_equal(unlink(s->ballast), 0);
}

/* ---- the program ----------------------------------------------------------------------------- */

static void start(struct scene *s)
{
	s->program.folder = s->folder;
	program_start(&s->program, "run", s->app, "apply.sql", "into_disk.sql", "--progress", "never",
		"--log-level", "info", "--wal-mib", "1");
	program_expect_err(&s->program, "started 2 consumers");
}

static void pause_briefly(void)
{
	const struct timespec t = {0, 2000000};

	nanosleep(&t, NULL);
}

static long long watermark(const char *database, const char *consumer)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT coalesce(max(last), 0) FROM catchup WHERE name = '%s'",
		consumer);
	return test_number(database, sql);
}

static void await_watermark(const char *database, const char *consumer, long long id)
{
	for (int i = 0; watermark(database, consumer) < id; i++) {
		if (i == PATIENCE_S * 500)
			fail_msg("%s did not reach %lld", consumer, id);
		pause_briefly();
	}
}

static void check(struct scene *s)
{
	struct proof_verdict verdict;

	if (!proof_verify(s->results, s->app, &world_claims[WORLD_INTO], &verdict))
		fail_msg("%s", verdict.message);
	if (!proof_verify(s->app, NULL, &world_claims[WORLD_APPLY], &verdict))
		fail_msg("%s", verdict.message);
}

/* Inserts until the disk has no more room. A log that is written over, or a checkpoint, may have some
 * where the disk itself has none. Returns the newest id. */
static long long insert_until_paused(struct scene *s)
{
	long long newest;

	for (;;) {
		fill_disk(s);
		world_insert(s->folder, ROWS_AT_ONCE, "more ", ROW_BYTES);
		newest = test_number(s->app, "SELECT max(id) FROM events");
		/* The consumer beside it has a disk of its own. */
		await_watermark(s->app, "apply", newest);
		for (int i = 0; watermark(s->results, "into") < newest; i++) {
			if (program_has_said(&s->program, "paused at watermark"))
				return newest;
			if (i == PATIENCE_S * 500)
				fail_msg("neither done nor paused; it said: %s", s->program.err.text);
			pause_briefly();
		}
	}
}

static void cycle(struct scene *s, bool compare)
{
	long long newest;

	program_forget(&s->program);
	newest = insert_until_paused(s);
	assert_non_null(strstr(s->program.err.text, "is full"));
	s->behind += watermark(s->results, "into") < newest;
	if (compare)
		check(s);
	free_disk(s);
	await_watermark(s->results, "into", newest);
}

static void make_scene(struct scene *s)
{
	char *path;

	s->folder = test_folder_make();
	s->app = test_path(s->folder, "app.db");
	s->disk = test_path(s->folder, "disk");
	s->results = test_path(s->disk, "results.db");
	s->ballast = test_path(s->disk, "ballast");
	s->image = test_path(s->folder, "image");
	world_write_consumers(s->folder);
	path = test_path(s->folder, "into_disk.sql");
	test_write_file(path, into_disk);
	free(path);
	world_insert(s->folder, ROWS_AT_ONCE, "first ", ROW_BYTES);
}

static void drop_scene(struct scene *s)
{
	program_free(&s->program);
	unmount_disk(s);
	free(s->app);
	free(s->disk);
	free(s->results);
	free(s->ballast);
	free(s->image);
	if (s->folder)
		test_folder_remove(s->folder);
	s->folder = s->app = s->disk = s->results = s->ballast = s->image = NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* What is mounted is this process's own, and goes with it. */
static bool own_mounts(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void fill_and_free(struct scene *s, const char *name)
{
	long cycles = proof_count(20, 1000), done = 0;

	proof_begin();
	while (done < cycles && proof_goes_on()) {
		make_scene(s);
		if (!mount_disk(s))
			SKIP_BECAUSE("no %s can be mounted here", name);
		start(s);
		await_watermark(s->app, "apply", ROWS_AT_ONCE);
		for (long i = 0; i < CYCLES_OF_A_DISK && done < cycles && proof_goes_on(); i++, done++)
			cycle(s, i % CYCLES_TO_A_CHECK == 0);
		program_signal(&s->program, SIGTERM);
		if (program_finish(&s->program) != 0)
			fail_msg("ended with %d: %s", s->program.exit_code, s->program.err.text);
		check(s);
		drop_scene(s);
	}
	proof_result("%ld times the %s was full and free again, %ld of them with rows waiting; nothing lost, "
		     "nothing doubled",
		done, name, s->behind);
	assert_true(s->behind > 0);
}

static int set_up(void **state)
{
	*state = calloc(1, sizeof(struct scene));
	proof_use_memory();
	return 0;
}

static int tear_down(void **state)
{
	drop_scene(*state);
	free(*state);
	return 0;
}

static void test_a_full_tmpfs(void **state)
{
	if (!own_mounts())
		SKIP_BECAUSE("only root can mount a small disk");
	fill_and_free(*state, "tmpfs");
}

static void test_a_full_ext4(void **state)
{
	struct scene *s = *state;

	if (!own_mounts())
		SKIP_BECAUSE("only root can mount a small disk");
	s->ext4 = true;
	fill_and_free(s, "ext4");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_full_tmpfs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_full_ext4, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
