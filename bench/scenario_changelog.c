/* SPDX-License-Identifier: MIT */
/*
 * scenario_changelog.c - reading a changelog.
 *
 * Through the whole file: catchup's iterator against parsing every line with cJSON and doing nothing
 * else, once with all events and once with a filter that lets a tenth through. Then how long an event
 * takes from its write to `next`, what is lost when a writer rotates every 128 KiB at full speed (all
 * of it must be told), what an idle follower costs, and how much memory the worst file takes.
 */
#include "bench.h"

#include <catchup/changelog.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLES 10
#define ROTATE_BYTES (128 * 1024)

static int format_line(char *to, size_t bytes, int64_t sequence)
{
	return snprintf(to, bytes,
		"{\"seq\":%" PRId64 ",\"family\":\"fam\",\"table\":\"table%d\",\"key\":"
		"[{\"name\":\"id\",\"type\":\"int\",\"value\":%" PRId64 "}]}\n",
		sequence, (int)(sequence % TABLES), sequence * 7);
}

/* ---- through the whole file --------------------------------------------------------------- */

struct reading {
	char path[4096];
	const char *table;
	int64_t lines;
	int64_t events; /* what came */
	int64_t sum;    /* of their sequences */
	bool alone;     /* no result but events */
};

static int prepare(struct bench *b, void *context)
{
	struct reading *reading = context;
	char line[256];
	FILE *file;

	bench_path(b, reading->path, sizeof(reading->path), "changelog");
	file = fopen(reading->path, "w");
	if (!file)
		return bench_fail(b, "%s: %s", reading->path, strerror(errno));
	for (int64_t i = 1; i <= reading->lines; i++)
		fwrite(line, 1, (size_t)format_line(line, sizeof(line), i), file);
	return fclose(file) == 0 ? 0 : bench_fail(b, "%s: %s", reading->path, strerror(errno));
}

static int iterate(struct bench *b, void *context)
{
	struct reading *reading = context;
	struct catchup_iterator_options options = {
		.size = sizeof(options), .path = reading->path, .table = reading->table};
	struct catchup_iterator *it;
	struct catchup_error error;
	const struct catchup_next *next;
	int result;

	reading->events = reading->sum = 0;
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		return bench_fail(b, "%s", error.message);
	while ((result = catchup_iterator_next(it, 0, &next)) == CATCHUP_NEXT_EVENT) {
		reading->events++;
		reading->sum += next->event->sequence;
	}
	catchup_iterator_close(it);
	reading->alone = result == CATCHUP_NEXT_TIMEOUT;
	return 0;
}

static int check_events(struct bench *b, void *context)
{
	const struct reading *reading = context;
	int64_t events = 0, sum = 0;

	for (int64_t i = 1; i <= reading->lines; i++) {
		if (reading->table && i % TABLES != 3)
			continue;
		events++;
		sum += i;
	}
	if (!reading->alone || reading->events != events || reading->sum != sum)
		return bench_fail(b, "%" PRId64 " events came in place of %" PRId64,
			reading->events, events);
	return 0;
}

/* Reads in pieces of the same size as catchup does, and parses. */
static int parse_only(struct bench *b, void *context)
{
	struct reading *reading = context;
	size_t capacity = 256 * 1024, used = 0;
	char *buffer = malloc(capacity);
	int fd = open(reading->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	reading->events = 0;
	while (buffer && fd >= 0 && (n = read(fd, buffer + used, capacity - used)) > 0) {
		char *line = buffer, *end;

		used += (size_t)n;
		while ((end = memchr(line, '\n', used - (size_t)(line - buffer))) != NULL) {
			cJSON *tree = cJSON_ParseWithLength(line, (size_t)(end - line));

			reading->events += tree != NULL;
			cJSON_Delete(tree);
			line = end + 1;
		}
		used -= (size_t)(line - buffer);
		memmove(buffer, line, used);
	}
	free(buffer);
	if (fd >= 0)
		close(fd);
	return n == 0 ? 0 : bench_fail(b, "%s: %s", reading->path, strerror(errno));
}

static int check_lines(struct bench *b, void *context)
{
	const struct reading *reading = context;

	if (reading->events != reading->lines)
		return bench_fail(b, "cJSON took %" PRId64 " of %" PRId64 " lines", reading->events,
			reading->lines);
	return 0;
}

static int whole_file(struct bench *b, const char *name, const char *table, double aim)
{
	struct reading ours = {.lines = bench_amount(b, 1000000, 300000), .table = table};
	struct reading yardstick = {.lines = ours.lines};
	const struct bench_side sides[] = {
		{.name = "catchup", .prepare = prepare, .run = iterate, .check = check_events,
			.context = &ours},
		{.name = "cJSON alone", .prepare = prepare, .run = parse_only, .check = check_lines,
			.context = &yardstick},
	};
	const struct bench_comparison comparison = {
		.name = name,
		.unit = "lines",
		.amount = ours.lines,
		.sides = sides,
		.n_sides = 2,
		.yardstick = 1,
		.aim = aim,
	};

	return bench_compare(b, &comparison, NULL);
}

/* ---- from write to next ------------------------------------------------------------------- */

struct writing {
	int fd;
	int64_t events;
	int64_t *written_ns; /* when the write of each began */
};

static void *write_slowly(void *argument)
{
	struct writing *writing = argument;

	for (int64_t i = 0; i < writing->events; i++) {
		char line[256];
		int n = format_line(line, sizeof(line), i + 1);

		usleep(1000 + (useconds_t)(i * 7 % 1000));
		writing->written_ns[i] = bench_now_ns();
		if (write(writing->fd, line, (size_t)n) != n)
			break;
	}
	return NULL;
}

static int latency(struct bench *b)
{
	struct writing writing = {.events = bench_quick(b) ? 200 : 3000};
	struct catchup_iterator_options options = {.size = sizeof(options)};
	struct catchup_iterator *it = NULL;
	struct catchup_error error;
	const struct catchup_next *next;
	int64_t *taken_ns = calloc((size_t)writing.events, sizeof(int64_t));
	char path[4096];
	pthread_t thread;
	int64_t i = 0;
	int rc = 0;

	options.path = bench_path(b, path, sizeof(path), "latency");
	writing.written_ns = calloc((size_t)writing.events, sizeof(int64_t));
	writing.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (!taken_ns || !writing.written_ns || writing.fd < 0) {
		rc = bench_fail(b, "%s: %s", path, strerror(errno));
		goto out;
	}
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK) {
		rc = bench_fail(b, "%s", error.message);
		goto out;
	}
	if (pthread_create(&thread, NULL, write_slowly, &writing) != 0) {
		rc = bench_fail(b, "a thread could not be made");
		goto out;
	}
	while (i < writing.events && catchup_iterator_next(it, 10000, &next) == CATCHUP_NEXT_EVENT)
		taken_ns[i++] = bench_now_ns();
	pthread_join(thread, NULL);
	if (i < writing.events) {
		rc = bench_fail(b, "event %" PRId64 " did not come", i + 1);
		goto out;
	}
	for (i = 0; i < writing.events; i++)
		taken_ns[i] -= writing.written_ns[i];
	bench_times(b, "from write to next", taken_ns, (size_t)writing.events);
	bench_limit(b, "from write to next, median",
		(double)bench_percentile(taken_ns, (size_t)writing.events, 50) / 1e3, 0, "us", 60);
	bench_limit(b, "from write to next, p99",
		(double)bench_percentile(taken_ns, (size_t)writing.events, 99) / 1e3, 0, "us", 1000);
out:
	catchup_iterator_close(it);
	if (writing.fd >= 0)
		close(writing.fd);
	free(writing.written_ns);
	free(taken_ns);
	return rc;
}

/* ---- a writer that rotates as fast as it can ---------------------------------------------- */

/* One write a line; the file is deleted and made anew before it grows beyond its bound. */
static int write_fast(const char *path, int64_t lines)
{
	int64_t size = 0;
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

	for (int64_t i = 1; i <= lines && fd >= 0; i++) {
		char line[256];
		int n = format_line(line, sizeof(line), i);

		if (size + n > ROTATE_BYTES) {
			close(fd);
			unlink(path);
			fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
			size = 0;
		}
		if (fd < 0 || write(fd, line, (size_t)n) != n)
			return 1;
		size += n;
	}
	return fd < 0;
}

struct losses {
	int64_t events, told, lost;
	int64_t silent; /* missing, and no flag said so */
};

static int follow_rotation(struct bench *b, int on_full, int64_t lines, struct losses *losses)
{
	struct catchup_iterator_options options = {.size = sizeof(options), .on_full = on_full};
	struct catchup_iterator *it;
	struct catchup_error error;
	const struct catchup_next *next;
	char path[4096], count[32];
	const char *arguments[] = {"write", path, count, NULL};
	int64_t last = 0;
	bool flagged = false;
	pid_t pid;
	int fd;

	memset(losses, 0, sizeof(*losses));
	options.path = bench_path(b, path, sizeof(path), on_full ? "waiting" : "flagging");
	snprintf(count, sizeof(count), "%" PRId64, lines);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return bench_fail(b, "%s: %s", path, strerror(errno));
	close(fd);
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		return bench_fail(b, "%s", error.message);
	pid = bench_child_start(b, "changelog", arguments, NULL);
	while (pid > 0 && last < lines) {
		int result = catchup_iterator_next(it, bench_quick(b) ? 1000 : 5000, &next);

		if (result == CATCHUP_NEXT_OUT_OF_SYNC) {
			losses->told++;
			flagged = true;
		} else if (result == CATCHUP_NEXT_EVENT) {
			int64_t missing = next->event->sequence - last - 1;

			losses->events++;
			losses->lost += missing;
			losses->silent += flagged ? 0 : missing;
			last = next->event->sequence;
			flagged = false;
		} else {
			break;
		}
	}
	/* The last events may be among the lost ones. */
	losses->lost += lines - last;
	losses->silent += flagged || catchup_iterator_out_of_sync(it) ? 0 : lines - last;
	catchup_iterator_close(it);
	if (pid < 0)
		return -1;
	if (bench_child_end(pid, 0) != 0)
		return bench_fail(b, "the writer failed");
	return 0;
}

static int rotation(struct bench *b)
{
	static const char *const names[] = {"lost with on_full = flag", "lost with on_full = wait"};
	int64_t lines = bench_amount(b, 1000000, 100000);

	for (int on_full = 0; on_full < 2; on_full++) {
		struct losses losses;
		int rc = follow_rotation(b, on_full, lines, &losses);

		if (rc != 0)
			return rc;
		if (losses.silent != 0)
			return bench_fail(
				b, "%" PRId64 " events were lost in silence", losses.silent);
		bench_metric(b, names[on_full], 100.0 * (double)losses.lost / (double)lines, "%");
		bench_note(b, "%" PRId64 " of %" PRId64 " events lost, told %" PRId64
			" times; rotated every %d KiB at full speed", losses.lost, lines,
			losses.told, ROTATE_BYTES / 1024);
	}
	bench_note(b, "the Go iterator lost a third");
	return 0;
}

/* ---- at rest ------------------------------------------------------------------------------ */

static int idle(struct bench *b)
{
	struct catchup_iterator_options options = {.size = sizeof(options)};
	struct catchup_iterator *it;
	struct catchup_error error;
	const struct catchup_next *next;
	int64_t milliseconds = bench_quick(b) ? 300 : 10000;
	int64_t before;
	char path[4096];
	int fd;

	options.path = bench_path(b, path, sizeof(path), "idle");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return bench_fail(b, "%s: %s", path, strerror(errno));
	close(fd);
	if (catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		return bench_fail(b, "%s", error.message);
	before = bench_processor_ns();
	catchup_iterator_next(it, milliseconds, &next);
	bench_metric(b, "an idle follower", (double)(bench_processor_ns() - before) / (double)milliseconds,
		"us of processor time a second");
	catchup_iterator_close(it);
	return 0;
}

/* ---- memory ------------------------------------------------------------------------------- */

/* Lines of just under the limit, in the usual shape, with escapes, with many values, and longer. */
static int write_hostile(const char *path)
{
	static const char *const shapes[] = {"x", "\\n", "\",\"y\":\"", "x"};
	FILE *file = fopen(path, "w");

	for (int i = 0; file && i < 12; i++) {
		size_t bytes = i % 4 == 3 ? 40u << 20 : 8000000;

		fprintf(file, "{\"seq\":%d,\"family\":\"f\",\"table\":\"t\",\"key\":[{\"name\":\"n\","
			      "\"type\":\"t\",\"value\":\"", i + 1);
		for (size_t n = 0; n < bytes; n += strlen(shapes[i % 4]))
			fputs(shapes[i % 4], file);
		fputs("\"}]}\n", file);
	}
	return file && fclose(file) == 0 ? 0 : -1;
}

static int read_hostile(const char *path, int on_full, bool live)
{
	struct catchup_iterator_options options = {
		.size = sizeof(options), .path = path, .on_full = on_full};
	struct catchup_iterator *it;
	const struct catchup_next *next;
	int result;

	if (live) {
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		if (fd < 0)
			return 1;
		close(fd);
	}
	if (catchup_iterator_open(&options, &it, NULL) != CATCHUP_OK)
		return 1;
	if (live && write_hostile(path) != 0)
		return 1;
	do
		result = catchup_iterator_next(it, 500, &next);
	while (result != CATCHUP_NEXT_TIMEOUT && result != CATCHUP_NEXT_ERROR);
	catchup_iterator_close(it);
	printf("%lld\n", (long long)bench_self_status("VmHWM"));
	return result != CATCHUP_NEXT_TIMEOUT;
}

static int memory(struct bench *b)
{
	static const char *const names[] = {"memory, file read", "memory, file followed"};
	char path[4096];

	bench_path(b, path, sizeof(path), "hostile");
	if (write_hostile(path) != 0)
		return bench_fail(b, "%s: %s", path, strerror(errno));
	for (int live = 0; live < 2; live++) {
		const char *arguments[] = {live ? "follow" : "read", path, NULL};
		char text[32] = "";
		int out = -1;
		pid_t pid = bench_child_start(b, "changelog", arguments, &out);
		ssize_t n;

		if (pid < 0)
			return -1;
		n = read(out, text, sizeof(text) - 1);
		close(out);
		if (bench_child_end(pid, 0) != 0 || n <= 0)
			return bench_fail(b, "the reading process failed");
		bench_limit(b, names[live], (double)atol(text) / 1024, 0, "MiB", 32);
	}
	bench_note(b, "memory: the peak, with lines of 8 MB in several shapes, and of 40 MiB");
	return 0;
}

static int child(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "write") == 0)
		return write_fast(argv[2], atoll(argv[3]));
	if (argc == 3 && strcmp(argv[1], "read") == 0)
		return read_hostile(argv[2], CATCHUP_ON_FULL_FLAG, false);
	if (argc == 3 && strcmp(argv[1], "follow") == 0)
		return read_hostile(argv[2], CATCHUP_ON_FULL_WAIT, true);
	return 2;
}

static int run(struct bench *b)
{
	int rc = whole_file(b, "all events", NULL, 1.0);

	if (rc == 0)
		rc = whole_file(b, "a tenth of them", "table3", 4.0);
	if (rc == 0)
		rc = latency(b);
	if (rc == 0)
		rc = rotation(b);
	if (rc == 0)
		rc = idle(b);
	if (rc == 0)
		rc = memory(b);
	return rc;
}

const struct bench_scenario bench_scenario_changelog = {
	.name = "changelog",
	.summary = "events read from a changelog, and how fast they come",
	.run = run,
	.child = child,
};
