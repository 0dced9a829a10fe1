/* SPDX-License-Identifier: MIT */
#include "proof.h"

#include "../patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY_ROOM_BYTES (UINT64_C(1) << 30)

static long number_of(const char *variable, long otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtol(text, NULL, 10) : otherwise;
}

bool proof_is_long(void)
{
	const char *tier = getenv("PROOF");

	return tier && strcmp(tier, "long") == 0;
}

long proof_count(long in_short, long in_long)
{
	long count = proof_is_long() ? in_long : in_short;

	if (!PROOF_PLAIN && !proof_is_long() && count > 10)
		count /= 10;
	return number_of("PROOF_COUNT", count);
}

/* ---- time and results ------------------------------------------------------------------------ */

static int64_t begun_ms;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void proof_begin(void)
{
	begun_ms = now_ms();
}

bool proof_goes_on(void)
{
	const char *minutes = getenv("PROOF_MINUTES");

	return !minutes || !*minutes ||
		(double)(now_ms() - begun_ms) < strtod(minutes, NULL) * 60000;
}

void proof_result(const char *fmt, ...)
{
	const char *record = getenv("PROOF_RECORD");
	FILE *file = record && *record ? fopen(record, "ae") : NULL;
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	print_message("%s\n", line);
	if (file) {
		fprintf(file, "%s\n", line);
		fclose(file);
	}
}

/* ---- lists of steps -------------------------------------------------------------------------- */

static long common_divisor(long a, long b)
{
	while (b != 0) {
		long rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

struct proof_steps proof_steps_start(long total, long every_in_short)
{
	proof_begin();
	return (struct proof_steps){
		.total = total,
		.every = number_of("PROOF_EVERY", proof_is_long() ? 1 : every_in_short),
		.by = 1,
	};
}

bool proof_steps_next(struct proof_steps *steps, long *step)
{
	long taken = (steps->total + steps->every - 1) / steps->every;
	/* Strides near the golden ratio leave no large hole, whenever it ends. */
	long stride = taken * 618 / 1000 + 1;

	if (steps->next >= taken || !proof_goes_on())
		return false;
	while (common_divisor(stride, taken) != 1)
		stride++;
	*step = steps->next * stride % taken * steps->every;
	steps->next += steps->by;
	steps->done++;
	return true;
}

struct share {
	long done;
	long counted;
};

static _Noreturn void take_share(struct proof_steps *mine, struct share *share,
	void (*take)(struct proof_steps *, long *, void *), void *context)
{
	const struct rlimit no_core = {0, 0};

	/* What fails here has no test to end: it ends the process. */
	setrlimit(RLIMIT_CORE, &no_core);
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	take(mine, &share->counted, context);
	share->done = mine->done;
	exit(0);
}

long proof_steps_take(struct proof_steps *steps,
	void (*take)(struct proof_steps *mine, long *counted, void *context), void *context)
{
	long n = number_of("PROOF_AT_ONCE", 4), failed = 0, counted = 0;
	size_t bytes = (size_t)n * sizeof(struct share);
	struct share *shares =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(n > 0 && shares != MAP_FAILED);
	fflush(NULL);
	for (long i = 0; i < n; i++) {
		struct proof_steps mine = *steps;
		pid_t pid = fork();

		assert_true(pid >= 0);
		mine.next = i;
		mine.by = n;
		if (pid == 0)
			take_share(&mine, &shares[i], take, context);
	}
	for (long i = 0; i < n; i++) {
		int status;

		assert_true(wait(&status) > 0);
		failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	}
	for (long i = 0; i < n; i++) {
		steps->done += shares[i].done;
		counted += shares[i].counted;
	}
	munmap(shares, bytes);
	if (failed > 0)
		fail_msg("%ld of %ld processes that took the steps have failed", failed, n);
	return counted;
}

void proof_use_memory(void)
{
	const char *already = getenv("TMPDIR");
	struct statvfs room;

	if (already && strncmp(already, "/dev/shm", strlen("/dev/shm")) == 0)
		return;
	if (access("/dev/shm", W_OK | X_OK) == 0 &&
		statvfs("/dev/shm", &room) == 0 &&
		(uint64_t)room.f_bavail * room.f_frsize > MEMORY_ROOM_BYTES)
		setenv("TMPDIR", "/dev/shm", 1);
}

/* ---- chance --------------------------------------------------------------------------------- */

struct proof_random proof_random_start(const char *name)
{
	uint64_t seed = (uint64_t)number_of("PROOF_SEED", 1);

	proof_begin();
	print_message("%s: PROOF_SEED=%llu\n", name, (unsigned long long)seed);
	/* Neighbouring seeds should have nothing in common, and none may be 0. */
	return (struct proof_random){(seed + 1) * UINT64_C(0x9E3779B97F4A7C15)};
}

struct proof_random proof_random_of(const struct proof_random *all, uint64_t number)
{
	/* Neighbours begin with almost the same bits: some steps part them. */
	struct proof_random of = {all->state + (number + 1) * UINT64_C(0xD1342543DE82EF95)};

	of.state |= of.state == 0;
	for (int i = 0; i < 8; i++)
		proof_random_next(&of);
	return of;
}

uint64_t proof_random_next(struct proof_random *random)
{
	/* xorshift64*: plenty for choosing moments. */
	random->state ^= random->state >> 12;
	random->state ^= random->state << 25;
	random->state ^= random->state >> 27;
	return random->state * UINT64_C(0x2545F4914F6CDD1D);
}

uint64_t proof_below(struct proof_random *random, uint64_t n)
{
	return (proof_random_next(random) >> 11) % n;
}

/* ---- what must hold ------------------------------------------------------------------------- */

static bool wrong(struct proof_verdict *verdict, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static bool wrong(struct proof_verdict *verdict, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(verdict->message, sizeof(verdict->message), fmt, ap);
	va_end(ap);
	return false;
}

static bool failed(sqlite3 *db, const char *sql, struct proof_verdict *verdict)
{
	int code = sqlite3_errcode(db);

	verdict->damaged = code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_IOERR;
	return wrong(verdict, "%s: %.300s", sqlite3_errmsg(db), sql);
}

/* Up to two numbers of the first row; parameter: bound to ?1 when there is one. */
static bool ask(sqlite3 *db, const char *sql, int64_t parameter, int64_t *a, int64_t *b,
	struct proof_verdict *verdict)
{
	sqlite3_stmt *stmt = NULL;
	bool ok = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK;

	if (ok && sqlite3_bind_parameter_count(stmt) > 0)
		ok = sqlite3_bind_int64(stmt, 1, parameter) == SQLITE_OK;
	*a = 0;
	if (ok) {
		int rc = sqlite3_step(stmt);

		ok = rc == SQLITE_ROW || rc == SQLITE_DONE;
		if (rc == SQLITE_ROW) {
			*a = sqlite3_column_int64(stmt, 0);
			if (b)
				*b = sqlite3_column_int64(stmt, 1);
		}
	}
	if (!ok)
		failed(db, sql, verdict);
	sqlite3_finalize(stmt);
	return ok;
}

bool proof_is_sound(sqlite3 *db, const char *schema, struct proof_verdict *verdict)
{
	sqlite3_stmt *stmt = NULL;
	char sql[64];
	bool ok = false;

	snprintf(sql, sizeof(sql), "PRAGMA %s.integrity_check", schema);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK ||
		sqlite3_step(stmt) != SQLITE_ROW)
		failed(db, sql, verdict);
	else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
		wrong(verdict, "%s: %s", sql, sqlite3_column_text(stmt, 0));
	else
		ok = true;
	verdict->damaged = !ok;
	sqlite3_finalize(stmt);
	return ok;
}

static bool compare(sqlite3 *db, const struct proof_claim *claim, struct proof_verdict *verdict)
{
	int64_t watermarks, results;
	char *sql;
	bool ok;

	/* What has not begun has neither a watermark nor a table of results. */
	if (!ask(db, "SELECT count(*) FROM main.sqlite_schema WHERE name = 'catchup'", 0, &watermarks,
		    NULL, verdict))
		return false;
	verdict->watermark = 0;
	if (watermarks) {
		sql = sqlite3_mprintf("SELECT last FROM main.catchup WHERE name = %Q", claim->consumer);
		ok = ask(db, sql, 0, &verdict->watermark, NULL, verdict);
		sqlite3_free(sql);
		if (!ok)
			return false;
	}
	if (!ask(db, claim->newest, 0, &verdict->newest, NULL, verdict))
		return false;
	if (verdict->watermark > verdict->newest)
		return wrong(verdict, "%s: the watermark %lld is past the newest id %lld", claim->consumer,
			(long long)verdict->watermark, (long long)verdict->newest);
	sql = sqlite3_mprintf("WITH result(line, expected, found) AS (SELECT line, 1, 0 FROM (%s)"
		" UNION ALL SELECT line, 0, 1 FROM (%s)), difference(expected, found) AS"
		" (SELECT sum(expected), sum(found) FROM result GROUP BY line)"
		" SELECT total(max(expected - found, 0)), total(max(found - expected, 0)) FROM difference",
		claim->expected, claim->found);
	ok = ask(db, sql, verdict->watermark, &verdict->lost, &verdict->doubled, verdict);
	sqlite3_free(sql);
	if (!ok) {
		/* Before its first start is done a consumer has no table. */
		if (verdict->watermark > 0 || verdict->damaged ||
			!strstr(verdict->message, "no such table"))
			return false;
		verdict->message[0] = '\0';
		return true;
	}
	results = verdict->lost + verdict->doubled;
	if (results != 0)
		return wrong(verdict, "%s: %lld results lost and %lld doubled, with the watermark at %lld",
			claim->consumer, (long long)verdict->lost, (long long)verdict->doubled,
			(long long)verdict->watermark);
	return true;
}

bool proof_compare(sqlite3 *db, const struct proof_claim *claim, struct proof_verdict *verdict)
{
	bool ok;

	*verdict = (struct proof_verdict){0};
	/* One moment for everything, or a consumer that runs moves the watermark in between. */
	if (sqlite3_exec(db, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
		return failed(db, "BEGIN", verdict);
	ok = compare(db, claim, verdict);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return ok;
}

bool proof_verify(const char *results, const char *source, const struct proof_claim *claim,
	struct proof_verdict *verdict)
{
	sqlite3 *db = NULL;
	bool ok;

	*verdict = (struct proof_verdict){0};
	ok = sqlite3_open_v2(results, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK ||
		failed(db, results, verdict);
	sqlite3_busy_timeout(db, PATIENCE_MS);
	sqlite3_wal_autocheckpoint(db, 0);
	if (ok && source) {
		char *sql = sqlite3_mprintf("ATTACH %Q AS source", source);

		ok = sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || failed(db, sql, verdict);
		sqlite3_free(sql);
	}
	ok = ok && proof_is_sound(db, "main", verdict) &&
		(!source || proof_is_sound(db, "source", verdict)) &&
		proof_compare(db, claim, verdict);
	sqlite3_close(db);
	return ok;
}
