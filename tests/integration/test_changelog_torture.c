/* SPDX-License-Identifier: MIT */
/*
 * A writer process that rotates a changelog in all five ways at random moments, against readers that
 * keep up and readers that cannot. What arrived is compared with what was written: in order, nothing
 * twice, and nothing missing without a flag before the next event.
 *
 * CATCHUP_SEED repeats a run; CATCHUP_ROTATIONS makes it longer.
 */
#include <catchup/changelog.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[512];
static unsigned seed;
static long rotations;

/* ---- the writer's process ----------------------------------------------------------------- */

struct writer {
	unsigned random;
	int fd;
	int acks;        /* the reader tells each sequence it has got; -1: nobody waits */
	long got;        /* the newest one it told */
	long last;       /* written */
	long first_here; /* in this file */
	int files;
};

static void must(bool done, const char *what)
{
	if (done)
		return;
	fprintf(stderr, "writer: %s: %s\n", what, strerror(errno));
	_exit(3);
}

static unsigned below(struct writer *w, unsigned n)
{
	w->random = w->random * 1103515245u + 12345u;
	return (w->random >> 16) % n;
}

static const char *name(const char *file, int number)
{
	static char names[4][700];
	static unsigned turn;
	char *to = names[turn++ % 4];

	if (number >= 0)
		snprintf(to, sizeof(names[0]), "%s/%s.%d", folder, file, number);
	else
		snprintf(to, sizeof(names[0]), "%s/%s", folder, file);
	return to;
}

static void reopen(struct writer *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = open(name("dir/log", -1), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	must(w->fd >= 0, "open");
	w->first_here = w->last + 1;
}

/* Some lines, in one write or torn into two. */
static void write_some(struct writer *w)
{
	char text[8192];
	size_t n = 0, cut;

	for (unsigned i = 1 + below(w, 20); i > 0; i--) {
		w->last++;
		n += (size_t)sprintf(text + n,
			"{\"seq\":%ld,\"family\":\"fam\",\"table\":\"foo\",\"key\":[{\"name\":\"id\","
			"\"type\":\"int\",\"value\":%ld}]}\n",
			w->last, w->last);
	}
	cut = below(w, 2) ? n : below(w, (unsigned)n);
	must(write(w->fd, text, cut) == (ssize_t)cut, "write");
	must(write(w->fd, text + cut, n - cut) == (ssize_t)(n - cut), "write");
}

static void wait_for(struct writer *w, long sequence)
{
	while (w->acks >= 0 && w->got < sequence)
		must(read(w->acks, &w->got, sizeof(w->got)) == sizeof(w->got), "acknowledgement");
}

static void rotate(struct writer *w)
{
	int number = ++w->files;
	unsigned kind = below(w, 5);

	/* A reader that keeps up has at least begun with the file; only what is truncated in place
	 * cannot be read later. */
	wait_for(w, kind == 2 ? w->last : w->first_here);
	switch (kind) {
	case 0:
		must(unlink(name("dir/log", -1)) == 0, "unlink");
		break;
	case 1:
		must(rename(name("dir/log", -1), name("dir/log", number)) == 0, "rename");
		break;
	case 2:
		must(truncate(name("dir/log", -1), 0) == 0, "truncate");
		w->first_here = w->last + 1;
		return;
	case 3: {
		int fd = open(name("target", number), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		must(fd >= 0 && close(fd) == 0, "target");
		must(symlink(name("target", number), name("dir/link", -1)) == 0, "symlink");
		must(rename(name("dir/link", -1), name("dir/log", -1)) == 0, "rename link");
		break;
	}
	case 4:
		must(rename(name("dir", -1), name("dir", number)) == 0, "rename folder");
		must(mkdir(name("dir", -1), 0755) == 0, "mkdir");
		break;
	}
	reopen(w);
}

static void write_and_rotate(int acks, int report)
{
	struct writer w = {.random = seed, .fd = -1, .acks = acks};

	reopen(&w);
	for (long i = 0; i < rotations; i++) {
		for (unsigned n = 1 + below(&w, 4); n > 0; n--)
			write_some(&w);
		/* Readers that are not waited for need time to get in between. */
		if (acks < 0 || below(&w, 3) == 0)
			usleep(below(&w, 3000));
		rotate(&w);
	}
	write_some(&w);
	/* These stay, so a reader must come to the last. */
	must(write(report, &w.last, sizeof(w.last)) == sizeof(w.last), "report");
	_exit(0);
}

/* ---- the reader --------------------------------------------------------------------------- */

struct arrived {
	long last, events, lost, told;
};

static void read_all(bool acknowledge, int on_full, uint32_t ring_slots, struct arrived *arrived)
{
	struct catchup_iterator_options options = {.size = sizeof(options),
		.path = name("dir/log", -1), .on_full = on_full, .ring_slots = ring_slots};
	struct catchup_iterator *it;
	struct catchup_error error = {0};
	struct catchup_out_of_sync why = {0};
	const struct catchup_next *next;
	bool flagged = false;
	int acks[2], report[2], status;
	long written = -1;
	pid_t child;

	memset(arrived, 0, sizeof(*arrived));
	assert_int_equal(mkdir(name("dir", -1), 0755), 0);
	assert_int_equal(close(open(name("dir/log", -1), O_CREAT | O_WRONLY, 0644)), 0);
	assert_int_equal(pipe(acks), 0);
	assert_int_equal(pipe(report), 0);
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		fail_msg("%s", error.message);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		write_and_rotate(acknowledge ? acks[0] : -1, report[1]);
	close(acks[0]);
	close(report[1]);
	assert_int_equal(fcntl(report[0], F_SETFL, O_NONBLOCK), 0);
	while (written < 0 || arrived->last < written) {
		int result = catchup_iterator_next(it, 200, &next);

		if (read(report[0], &written, sizeof(written)) != sizeof(written) && written < 0)
			written = -1;
		if (result == CATCHUP_NEXT_OUT_OF_SYNC) {
			/* Only an overflow is told before anything comes after it. */
			assert_false(flagged && why.reason != CATCHUP_SYNC_OVERFLOW);
			why = next->sync;
			assert_true(why.expected == arrived->last + 1 ||
				    (flagged && why.expected > arrived->last + 1));
			flagged = true;
			arrived->told++;
			assert_true(catchup_iterator_out_of_sync(it) > 0);
		} else if (result == CATCHUP_NEXT_EVENT) {
			long sequence = (long)next->event->sequence;

			assert_true(sequence > arrived->last);
			assert_true(flagged || sequence == arrived->last + 1);
			assert_int_equal(next->event->keys[0].integer, sequence);
			arrived->lost += sequence - arrived->last - 1;
			arrived->last = sequence;
			arrived->events++;
			flagged = false;
			if (acknowledge)
				(void)!write(acks[1], &sequence, sizeof(sequence));
		} else if (result == CATCHUP_NEXT_TIMEOUT) {
			/* What came last may have been dropped; then the flag is up. */
			if (written >= 0 && flagged && why.reason == CATCHUP_SYNC_OVERFLOW)
				break;
			if (written >= 0 && kill(child, 0) == 0 && arrived->last < written)
				continue;
		} else {
			/* A line torn by a rotation is the start of a gap. */
			assert_int_equal(result, CATCHUP_NEXT_BAD_LINE);
		}
	}
	arrived->lost += written - arrived->last;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	catchup_iterator_close(it);
	close(acks[1]);
	close(report[0]);
	print_message("seed %u: %ld rotations, %ld events, %ld lost, told %ld times\n", seed,
		rotations, arrived->events, arrived->lost, arrived->told);
}

static void a_reader_that_keeps_up_misses_nothing(void **state)
{
	struct arrived arrived;

	(void)state;
	read_all(true, CATCHUP_ON_FULL_WAIT, 0, &arrived);
	assert_int_equal(arrived.lost, 0);
	assert_int_equal(arrived.told, 0);
}

static void a_reader_with_a_tiny_ring_that_waits_misses_nothing(void **state)
{
	struct arrived arrived;

	(void)state;
	read_all(true, CATCHUP_ON_FULL_WAIT, 2, &arrived);
	assert_int_equal(arrived.lost, 0);
	assert_int_equal(arrived.told, 0);
}

static void a_writer_that_waits_for_nobody_is_followed_honestly(void **state)
{
	struct arrived arrived;

	(void)state;
	read_all(false, CATCHUP_ON_FULL_FLAG, 0, &arrived);
	assert_true(arrived.events > 0);
	/* What may have been lost is told, too. */
	assert_true(arrived.lost == 0 || arrived.told > 0);
}

static void a_tiny_ring_that_overflows_is_honest(void **state)
{
	struct arrived arrived;

	(void)state;
	read_all(false, CATCHUP_ON_FULL_FLAG, 2, &arrived);
	assert_true(arrived.events > 0);
	assert_true(arrived.lost == 0 || arrived.told > 0);
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");
	const char *given = getenv("CATCHUP_SEED");
	const char *more = getenv("CATCHUP_ROTATIONS");

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL) ^ (unsigned)getpid();
	rotations = more ? strtol(more, NULL, 10) : 300;
	snprintf(folder, sizeof(folder), "%s/catchup-torture-XXXXXX", tmp ? tmp : "/tmp");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[600];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	return system(command) == 0 ? 0 : -1;
}

#define STORY(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORY(a_reader_that_keeps_up_misses_nothing),
		STORY(a_reader_with_a_tiny_ring_that_waits_misses_nothing),
		STORY(a_writer_that_waits_for_nobody_is_followed_honestly),
		STORY(a_tiny_ring_that_overflows_is_honest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
