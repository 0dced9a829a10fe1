/* SPDX-License-Identifier: MIT */
/*
 * Every call to the machine that a changelog writer makes fails once at each place where it is made. What
 * was flushed is in the files once and in order, whatever failed, and the next writer goes on behind it.
 */
#include "fault_sites.h"
#include "store_help.h"

#include <catchup/changelog.h>

#define EVENTS 60
#define KEEP 40

struct written {
	char path[400];
	int64_t flushed[8 * EVENTS]; /* sequences that a flush has answered for */
	size_t n;
};

static int append_some(struct written *log, struct catchup_changelog_writer *w,
	struct catchup_error *error)
{
	struct catchup_key keys[] = {
		{.name = "id", .type = "int", .kind = CATCHUP_KEY_INT},
		{.name = "name", .type = "text", .kind = CATCHUP_KEY_TEXT, .text = "a\"b\n", .text_bytes = 4},
		{.name = "weight", .type = "real", .kind = CATCHUP_KEY_DOUBLE, .real = 0.5},
	};
	int64_t in_hand[3];

	for (int i = 0; i < EVENTS; i++) {
		int rc;

		keys[0].integer = i;
		rc = catchup_changelog_writer_append(w, "fam", "orders", keys, 3, &in_hand[i % 3], error);
		if (rc != CATCHUP_OK)
			return rc;
		if (i % 3 < 2)
			continue;
		rc = catchup_changelog_writer_flush(w, error);
		if (rc != CATCHUP_OK)
			return rc;
		for (int k = 0; k < 3; k++)
			log->flushed[log->n++] = in_hand[k];
	}
	return CATCHUP_OK;
}

/* One writer after the other, over a rotation; the second finds what the first has left. */
static int write_log(struct written *log, struct catchup_error *error)
{
	const struct catchup_changelog_writer_options options = {.size = sizeof(options),
		.path = log->path, .rotate_bytes = CATCHUP_ROTATE_BYTES_MIN, .keep = KEEP, .sync = 1};
	int rc = CATCHUP_OK;

	for (int i = 0; i < 2 && rc == CATCHUP_OK; i++) {
		struct catchup_changelog_writer *w = NULL;

		rc = catchup_changelog_writer_open(&options, &w, error);
		if (rc == CATCHUP_OK)
			rc = append_some(log, w, error);
		catchup_changelog_writer_close(w);
	}
	return rc;
}

/* Reads whole lines of one file; their sequences ascend from *last. Returns how many of what was flushed
 * were there. */
static size_t read_file(const struct written *log, const char *path, int64_t *last, size_t seen,
	size_t place)
{
	FILE *file = fopen(path, "r");
	char line[512];

	while (file && fgets(line, sizeof(line), file)) {
		long long sequence;

		if (sscanf(line, "{\"seq\":%lld,", &sequence) != 1 || !strstr(line, "]}\n"))
			continue;
		if (sequence <= *last)
			fail_msg("%s: sequence %lld after %lld", fault_name(place), sequence,
				(long long)*last);
		*last = sequence;
		if (seen < log->n && log->flushed[seen] == sequence)
			seen++;
	}
	if (file)
		fclose(file);
	return seen;
}

static void expect_all_there(const struct written *log, size_t place)
{
	int64_t last = 0;
	size_t seen = 0;
	char path[420];

	for (int i = KEEP; i > 0; i--) {
		snprintf(path, sizeof(path), "%s.%d", log->path, i);
		seen = read_file(log, path, &last, seen, place);
	}
	seen = read_file(log, log->path, &last, seen, place);
	if (seen != log->n)
		fail_msg("%s: %zu of %zu that were flushed are there; the next is %lld", fault_name(place),
			seen, log->n, (long long)log->flushed[seen]);
}

static void forget_files(const struct written *log)
{
	char path[420];

	for (int i = KEEP; i > 0; i--) {
		snprintf(path, sizeof(path), "%s.%d", log->path, i);
		unlink(path);
	}
	unlink(log->path);
}

static void a_writer_fails_everywhere(void **state)
{
	struct scratch *s = *state;
	struct written log = {.n = 0};
	struct catchup_error error = {0};
	size_t first, n;

	snprintf(log.path, sizeof(log.path), "%s/log", s->folder);
	fault_collect();
	assert_ok(write_log(&log, &error));
	n = fault_collected(&first);
	expect_all_there(&log, 0);
	assert_true(n > first);
	for (size_t i = first; i < n; i++) {
		int rc;

		forget_files(&log);
		log.n = 0;
		error = (struct catchup_error){0};
		fault_at(i);
		rc = write_log(&log, &error);
		fault_off();
		if (rc != CATCHUP_OK && (error.code != rc || !error.message[0]))
			fail_msg("%s: code %s, error %s: %s", fault_name(i), catchup_code_name(rc),
				catchup_code_name(error.code), error.message);
		expect_all_there(&log, i);
		/* The next one, in good times. */
		assert_ok(write_log(&log, &error));
		expect_all_there(&log, i);
	}
}

/* Signals whose handlers do not ask for calls to be begun again: nothing of them is to be seen. */
static void signals_interrupt_a_writer_everywhere(void **state)
{
	struct scratch *s = *state;
	struct written log = {.n = 0};
	struct catchup_error error = {0};
	size_t first, n, interrupted = 0;

	snprintf(log.path, sizeof(log.path), "%s/log", s->folder);
	fault_forget();
	fault_collect();
	assert_ok(write_log(&log, &error));
	n = fault_collected(&first);
	for (size_t i = first; i < n; i++) {
		forget_files(&log);
		log.n = 0;
		if (!fault_interrupt_at(i))
			continue;
		assert_ok(write_log(&log, &error));
		interrupted += fault_off();
		assert_int_equal(log.n, 2 * EVENTS);
		expect_all_there(&log, i);
	}
	assert_true(interrupted >= 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(a_writer_fails_everywhere),
		SCRATCH_TEST(signals_interrupt_a_writer_everywhere),
	};

	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests_name("faults_write", tests, NULL, NULL);
}
