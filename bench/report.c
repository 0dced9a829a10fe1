/* SPDX-License-Identifier: MIT */
/*
 * report.c - figures as text for people and as one JSON document for programs.
 */
#include "bench.h"
#include "inside.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

static const double percents[] = {0, 50, 90, 99, 99.9, 100};
static const char *const percent_names[] = {"min", "p50", "p90", "p99", "p99.9", "max"};
#define N_PERCENTS (sizeof(percents) / sizeof(percents[0]))

/* ---- keeping ------------------------------------------------------------------------------ */

struct bench_record *bench_record_add(struct bench *b, enum bench_record_kind kind, const char *name)
{
	struct bench_result *result = b->result;
	struct bench_record *grown =
		realloc(result->records, (result->n_records + 1) * sizeof(*grown));
	struct bench_record *record;

	if (!grown) {
		bench_fail(b, "out of memory");
		return NULL;
	}
	result->records = grown;
	record = &grown[result->n_records++];
	memset(record, 0, sizeof(*record));
	record->kind = kind;
	snprintf(record->name, sizeof(record->name), "%s", name);
	return record;
}

void bench_metric(struct bench *b, const char *name, double value, const char *unit)
{
	struct bench_record *record = bench_record_add(b, BENCH_METRIC, name);

	if (!record)
		return;
	record->value = value;
	snprintf(record->unit, sizeof(record->unit), "%s", unit);
}

void bench_ratio(struct bench *b, const char *name, double value, double aim)
{
	struct bench_record *record = bench_record_add(b, BENCH_RATIO, name);

	if (!record)
		return;
	record->value = value;
	record->aim = aim;
}

void bench_ratio_of(struct bench *b, const char *name, double ours, double yardstick,
	const char *unit, double aim)
{
	struct bench_record *record = bench_record_add(b, BENCH_RATIO, name);

	if (!record)
		return;
	record->value = yardstick > 0 ? ours / yardstick : 0;
	record->ours = ours;
	record->yardstick = yardstick;
	record->aim = aim;
	snprintf(record->unit, sizeof(record->unit), "%s", unit);
}

void bench_limit(struct bench *b, const char *name, double value, double yardstick,
	const char *unit, double most)
{
	struct bench_record *record = bench_record_add(b, BENCH_LIMIT, name);

	if (!record)
		return;
	record->value = value;
	record->yardstick = yardstick;
	record->aim = most;
	snprintf(record->unit, sizeof(record->unit), "%s", unit);
}

void bench_point(struct bench *b, const char *series, double x, double y)
{
	struct bench_record *record = bench_record_add(b, BENCH_POINT, series);

	if (!record)
		return;
	record->x = x;
	record->value = y;
}

void bench_note(struct bench *b, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bench_record_add(b, BENCH_NOTE, text);
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int64_t bench_percentile(const int64_t *sorted, size_t n, double percent)
{
	size_t at;

	if (n == 0)
		return 0;
	at = (size_t)(percent / 100.0 * (double)(n - 1) + 0.5);
	return sorted[at < n ? at : n - 1];
}

void bench_times(struct bench *b, const char *name, int64_t *ns, size_t n)
{
	struct bench_record *record = bench_record_add(b, BENCH_TIMES, name);

	if (!record)
		return;
	qsort(ns, n, sizeof(ns[0]), by_time);
	record->n_times = n;
	for (size_t i = 0; i < N_PERCENTS; i++)
		record->percentiles[i] = bench_percentile(ns, n, percents[i]);
	for (size_t i = 0; i < n; i++) {
		size_t bucket = 0;

		while (bucket + 1 < BENCH_BUCKETS && ns[i] >= INT64_C(1) << bucket)
			bucket++;
		record->buckets[bucket]++;
	}
}

/* ---- the machine -------------------------------------------------------------------------- */

struct environment {
	char cpu[128];
	char kernel[160];
	char file_system[32];
	long cores;
	double load;
};

static const char *file_system_name(long type)
{
	static const struct {
		long type;
		const char *name;
	} known[] = {
		{0xEF53, "ext4"},
		{0x58465342, "xfs"},
		{0x9123683E, "btrfs"},
		{0x01021994, "tmpfs"},
		{0x794c7630, "overlay"},
		{0x2FC12FC1, "zfs"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].type == type)
			return known[i].name;
	}
	return NULL;
}

static void look_around(const struct bench *b, struct environment *e)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	struct utsname system_name;
	struct statfs fs;
	char line[256];

	memset(e, 0, sizeof(*e));
	while (file && !e->cpu[0] && fgets(line, sizeof(line), file))
		sscanf(line, "model name : %127[^\n]", e->cpu);
	if (file)
		fclose(file);
	if (!e->cpu[0])
		snprintf(e->cpu, sizeof(e->cpu), "unknown processor");
	e->cores = sysconf(_SC_NPROCESSORS_ONLN);
	if (uname(&system_name) == 0)
		snprintf(e->kernel, sizeof(e->kernel), "%.64s %.64s", system_name.sysname,
			system_name.release);
	if (statfs(b->dir, &fs) == 0 && file_system_name((long)fs.f_type))
		snprintf(e->file_system, sizeof(e->file_system), "%s",
			file_system_name((long)fs.f_type));
	else
		snprintf(e->file_system, sizeof(e->file_system), "unknown file system");
	if (getloadavg(&e->load, 1) != 1)
		e->load = -1;
}

void bench_print_environment(const struct bench *b, FILE *to)
{
	struct environment e;

	look_around(b, &e);
	fprintf(to, "%s, %ld cores, %s, files on %s (%s), SQLite %s (%s), %s\n", e.cpu, e.cores,
		e.kernel, e.file_system, b->dir, sqlite3_libversion(), BENCH_SQLITE, BENCH_COMPILER);
	if (e.load > 0.5)
		fprintf(to, "The machine is busy with other work (load %.1f): figures will vary.\n",
			e.load);
}

/* ---- text --------------------------------------------------------------------------------- */

const char *bench_figure(char *to, size_t bytes, double value)
{
	char digits[64];
	size_t n, out = 0;

	if (value < 100 && value > -100) {
		snprintf(to, bytes, "%.3g", value);
		return to;
	}
	snprintf(digits, sizeof(digits), "%.0f", value);
	n = strlen(digits);
	for (size_t i = 0; i < n && out + 2 < bytes; i++) {
		to[out++] = digits[i];
		if ((n - 1 - i) % 3 == 0 && i + 1 < n && digits[i] != '-')
			to[out++] = ',';
	}
	to[out] = '\0';
	return to;
}

static const char *duration(char *to, size_t bytes, int64_t ns)
{
	if (ns < 10000)
		snprintf(to, bytes, "%" PRId64 " ns", ns);
	else if (ns < 10000000)
		snprintf(to, bytes, "%.0f us", (double)ns / 1e3);
	else if (ns < INT64_C(10000000000))
		snprintf(to, bytes, "%.0f ms", (double)ns / 1e6);
	else
		snprintf(to, bytes, "%.1f s", (double)ns / 1e9);
	return to;
}

static void print_times(const struct bench_record *record, FILE *to)
{
	uint64_t most = 1;
	char text[64];

	fprintf(to, "  %-42s", record->name);
	for (size_t i = 0; i < N_PERCENTS; i++)
		fprintf(to, "  %s %s", percent_names[i],
			duration(text, sizeof(text), record->percentiles[i]));
	fprintf(to, "  (%" PRIu64 " times)\n", record->n_times);
	for (size_t i = 0; i < BENCH_BUCKETS; i++)
		most = record->buckets[i] > most ? record->buckets[i] : most;
	for (size_t i = 0; i < BENCH_BUCKETS; i++) {
		if (record->buckets[i] == 0)
			continue;
		fprintf(to, "    below %-9s %9" PRIu64 " ",
			duration(text, sizeof(text), INT64_C(1) << i), record->buckets[i]);
		for (uint64_t bar = 0; bar < (record->buckets[i] * 50 + most - 1) / most; bar++)
			fputc('#', to);
		fputc('\n', to);
	}
}

static void print_side(const struct bench_record *record, FILE *to)
{
	double low = record->runs[0], high = record->runs[0];
	char a[64], c[64], d[64];

	for (size_t i = 1; i < record->n_runs; i++) {
		low = record->runs[i] < low ? record->runs[i] : low;
		high = record->runs[i] > high ? record->runs[i] : high;
	}
	fprintf(to, "  %-42s %14s %-10s  %s to %s", record->name,
		bench_figure(a, sizeof(a), record->value), record->unit, bench_figure(c, sizeof(c), low),
		bench_figure(d, sizeof(d), high));
	if (record->instructions > 0)
		fprintf(to, ", %s instructions each",
			bench_figure(a, sizeof(a), record->instructions));
	fputc('\n', to);
}

static void print_limit(const struct bench_record *record, FILE *to)
{
	char a[64];

	fprintf(to, "  %-42s %14s %s (aim: at most", record->name,
		bench_figure(a, sizeof(a), record->value), record->unit);
	fprintf(to, " %s: %s)", bench_figure(a, sizeof(a), record->aim),
		record->value <= record->aim ? "met" : "missed");
	if (record->yardstick > 0)
		fprintf(to, ", yardstick %s", bench_figure(a, sizeof(a), record->yardstick));
	fputc('\n', to);
}

void bench_print_text(const struct bench_result *result, FILE *to)
{
	char a[64], c[64];

	fprintf(to, "\n%s: %s\n", result->scenario->name, result->scenario->summary);
	for (size_t i = 0; i < result->n_records; i++) {
		const struct bench_record *record = &result->records[i];

		switch (record->kind) {
		case BENCH_SIDE:
			print_side(record, to);
			break;
		case BENCH_RATIO:
			fprintf(to, "  %-42s %14.2f", record->name, record->value);
			if (record->aim > 0)
				fprintf(to, " (aim %.2f: %s)", record->aim,
					record->value >= record->aim ? "met" : "missed");
			fputc('\n', to);
			break;
		case BENCH_METRIC:
			fprintf(to, "  %-42s %14s %s\n", record->name,
				bench_figure(a, sizeof(a), record->value), record->unit);
			break;
		case BENCH_LIMIT:
			print_limit(record, to);
			break;
		case BENCH_POINT:
			fprintf(to, "  %-42s %14s  %s\n", record->name, bench_figure(a, sizeof(a), record->x),
				bench_figure(c, sizeof(c), record->value));
			break;
		case BENCH_TIMES:
			print_times(record, to);
			break;
		case BENCH_NOTE:
			fprintf(to, "  %s\n", record->name);
			break;
		}
	}
	if (result->failed)
		fprintf(to, "  FAILED: %s\n", result->error);
}

/* ---- JSON --------------------------------------------------------------------------------- */

static void json_text(const char *text, FILE *to)
{
	fputc('"', to);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c < 0x20)
			fprintf(to, "\\u%04x", c);
		else
			fputc(c, to);
	}
	fputc('"', to);
}

static void json_key(const char *key, const char *text, FILE *to)
{
	fprintf(to, "\"%s\":", key);
	json_text(text, to);
}

static void json_record(const struct bench_record *record, FILE *to)
{
	static const char *const kinds[] = {
		"side", "ratio", "metric", "limit", "point", "times", "note"};

	fputc('{', to);
	json_key("kind", kinds[record->kind], to);
	fputc(',', to);
	json_key("name", record->name, to);
	switch (record->kind) {
	case BENCH_SIDE:
		fputc(',', to);
		json_key("unit", record->unit, to);
		fprintf(to, ",\"median\":%.9g,\"runs\":[", record->value);
		for (size_t i = 0; i < record->n_runs; i++)
			fprintf(to, "%s%.9g", i ? "," : "", record->runs[i]);
		fputc(']', to);
		if (record->instructions > 0)
			fprintf(to, ",\"instructions\":%.9g", record->instructions);
		break;
	case BENCH_RATIO:
		fprintf(to, ",\"value\":%.6g", record->value);
		if (record->aim > 0)
			fprintf(to, ",\"aim\":%.6g,\"met\":%s", record->aim,
				record->value >= record->aim ? "true" : "false");
		break;
	case BENCH_METRIC:
		fputc(',', to);
		json_key("unit", record->unit, to);
		fprintf(to, ",\"value\":%.9g", record->value);
		break;
	case BENCH_LIMIT:
		fputc(',', to);
		json_key("unit", record->unit, to);
		fprintf(to, ",\"value\":%.9g,\"most\":%.9g,\"met\":%s", record->value, record->aim,
			record->value <= record->aim ? "true" : "false");
		if (record->yardstick > 0)
			fprintf(to, ",\"yardstick\":%.9g", record->yardstick);
		break;
	case BENCH_POINT:
		fprintf(to, ",\"x\":%.9g,\"y\":%.9g", record->x, record->value);
		break;
	case BENCH_TIMES:
		fprintf(to, ",\"unit\":\"ns\",\"count\":\"%" PRIu64 "\"", record->n_times);
		for (size_t i = 0; i < N_PERCENTS; i++)
			fprintf(to, ",\"%s\":\"%" PRId64 "\"", percent_names[i],
				record->percentiles[i]);
		fputs(",\"histogram\":[", to);
		for (size_t i = 0, first = 1; i < BENCH_BUCKETS; i++) {
			if (record->buckets[i] == 0)
				continue;
			fprintf(to, "%s[\"%" PRId64 "\",\"%" PRIu64 "\"]", first ? "" : ",",
				INT64_C(1) << i, record->buckets[i]);
			first = 0;
		}
		fputc(']', to);
		break;
	case BENCH_NOTE:
		break;
	}
	fputc('}', to);
}

void bench_print_json(
	const struct bench *b, const struct bench_result *results, size_t n, FILE *to)
{
	struct environment e;

	look_around(b, &e);
	fputs("{\"environment\":{", to);
	json_key("cpu", e.cpu, to);
	fprintf(to, ",\"cores\":%ld,", e.cores);
	json_key("kernel", e.kernel, to);
	fputc(',', to);
	json_key("file_system", e.file_system, to);
	fputc(',', to);
	json_key("sqlite", sqlite3_libversion(), to);
	fputc(',', to);
	json_key("sqlite_build", BENCH_SQLITE, to);
	fputc(',', to);
	json_key("compiler", BENCH_COMPILER, to);
	fprintf(to, ",\"load\":%.2f,\"rounds\":%zu,\"quick\":%s},\"scenarios\":[", e.load, b->rounds,
		b->quick ? "true" : "false");
	for (size_t i = 0; i < n; i++) {
		fputs(i ? ",{" : "{", to);
		json_key("name", results[i].scenario->name, to);
		fputc(',', to);
		json_key("summary", results[i].scenario->summary, to);
		fprintf(to, ",\"ok\":%s,", results[i].failed ? "false" : "true");
		if (results[i].failed) {
			json_key("error", results[i].error, to);
			fputc(',', to);
		}
		fprintf(to, "\"checks\":\"%" PRIu64 "\",", results[i].checks);
		fprintf(to, "\"seconds\":%.3f,\"results\":[", results[i].seconds);
		for (size_t k = 0; k < results[i].n_records; k++) {
			if (k)
				fputc(',', to);
			json_record(&results[i].records[k], to);
		}
		fputs("]}", to);
	}
	fputs("]}\n", to);
}
