/* SPDX-License-Identifier: MIT */
/*
 * The program in 64 MiB of memory: a changelog with a line of 1 GiB, and more rows than would fit, through
 * consumers of each kind. What holds it there is a memory group of the kernel's where one can be made, and
 * otherwise a limit of the process's data.
 */
#include "program.h"
#include "proof.h"
#include "skip.h"

#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT_MIB 64
#define LIMIT_BYTES "67108864"

#define EVENTS 1000 /* before the long line, and again after it */
#define LINE_MIB 1024

#define KEYS 1000

struct scene {
	char *folder;
	char *group; /* owned; NULL: there is none */
	const char *held;
	const char *under[16];
	char enter[256];
};

/* ---- the limit ------------------------------------------------------------------------------- */

static bool write_text(const char *folder, const char *name, const char *text)
{
	char *path = test_path(folder, name);
	FILE *file = access(path, F_OK) == 0 ? fopen(path, "we") : NULL;
	bool ok = file && fputs(text, file) >= 0;

	if (file)
		ok = fclose(file) == 0 && ok;
	free(path);
	return ok;
}

/* Makes a memory group under one of the kernel's two kinds of trees. */
static bool make_group(struct scene *s, const char *tree, const char *limit)
{
	assert_true(asprintf(&s->group, "%s/catchup-proof-%d", tree, (int)getpid()) > 0);
	if (mkdir(s->group, 0700) == 0) {
		if (write_text(s->group, limit, LIMIT_BYTES)) {
			/* Swapping out would be memory by another name. */
			write_text(s->group, "memory.swap.max", "0");
			write_text(s->group, "memory.swappiness", "0");
			return true;
		}
		rmdir(s->group);
	}
	free(s->group);
	s->group = NULL;
	return false;
}

static void hold(struct scene *s)
{
	if (make_group(s, "/sys/fs/cgroup", "memory.max") ||
		make_group(s, "/sys/fs/cgroup/memory", "memory.limit_in_bytes")) {
		const char *const enter[] = {"sh", "-c", s->enter, "sh", NULL};

		snprintf(s->enter, sizeof(s->enter), "echo $$ >%s/cgroup.procs && exec \"$@\"", s->group);
		memcpy(s->under, enter, sizeof(enter));
		s->held = "a memory group";
	} else {
		/* Each thread's stack is data too. */
		static const char *const limits[] = {
			"prlimit", "--data=" LIMIT_BYTES, "--stack=1048576", NULL};

		memcpy(s->under, limits, sizeof(limits));
		s->held = "a limit of its data (no memory group can be made here)";
	}
}

/* The most that any program of the test has had in memory. */
static long most_mib(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
	return usage.ru_maxrss >> 10;
}

static void start(struct scene *s, struct program *p)
{
	p->folder = s->folder;
	p->under = s->under;
}

static void need_no_sanitizer(void)
{
	if (PROOF_SANITIZED)
		SKIP_BECAUSE("a sanitizer alone needs more than %d MiB", LIMIT_MIB);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void write_events(FILE *file, long from)
{
	for (long seq = from; seq < from + EVENTS; seq++)
		fprintf(file, "{\"seq\":%ld,\"family\":\"app\",\"table\":\"users\",\"key\":[{\"name\":\"id\","
			      "\"type\":\"int\",\"value\":%ld}]}\n", seq, seq);
}

static long count(const char *text, const char *part)
{
	long n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void test_a_line_of_1_gib(void **state)
{
	static char mebibyte[1 << 20];
	struct scene *s = *state;
	struct program p = {0};
	FILE *file;
	char *path;

	need_no_sanitizer();
	path = test_path(s->folder, "log");
	file = fopen(path, "we");
	assert_non_null(file);
	write_events(file, 1);
	memset(mebibyte, 'x', sizeof(mebibyte));
	for (int i = 0; i < LINE_MIB; i++)
		if (fwrite(mebibyte, 1, sizeof(mebibyte), file) != sizeof(mebibyte))
			SKIP_BECAUSE("there is no room for a file of 1 GiB");
	fprintf(file, "\n");
	write_events(file, EVENTS + 1);
	assert_int_equal(fclose(file), 0);
	start(s, &p);
	if (program_run(&p, "changelog", "follow", path, "--count", "2000") != 0)
		fail_msg("ended with %d: %s", p.exit_code, p.err.text);
	assert_int_equal(count(p.out.text, "{\"seq\":"), 2 * EVENTS);
	assert_int_equal(count(p.out.text, "{\"bad_line\":"), 1);
	assert_int_equal(count(p.out.text, "out_of_sync"), 0);
	proof_result("a line of %d MiB in %d MiB of memory, held by %s: one bad line, %d events, at most %ld "
		     "MiB in use", LINE_MIB, LIMIT_MIB, s->held, 2 * EVENTS, most_mib());
	program_free(&p);
	free(path);
}

static const char *const consumers[][2] = {
	{"totals.sql", "-- name: totals\n-- source: events\n-- setup\n"
		       "CREATE TABLE IF NOT EXISTS totals(k INTEGER PRIMARY KEY, n, s);\n"
		       "-- apply\nINSERT INTO totals SELECT id % 1000, count(*), sum(v) FROM events\n"
		       " WHERE id > @last AND id <= @max GROUP BY 1\n"
		       " ON CONFLICT DO UPDATE SET n = n + excluded.n, s = s + excluded.s;\n"},
	{"each.sql", "-- name: each\n-- source: events\n-- setup\n"
		     "CREATE TABLE IF NOT EXISTS eached(k INTEGER PRIMARY KEY, n, s);\n"
		     "-- next\nSELECT id, v FROM events WHERE id > @last AND id <= @max ORDER BY id\n"
		     "-- row\nINSERT INTO eached VALUES (@id % 1000, 1, @v)\n"
		     " ON CONFLICT DO UPDATE SET n = n + 1, s = s + excluded.s;\n"},
	{"copy.sql", "-- name: copy\n-- source: events\n-- into: results.db\n-- setup\n"
		     "CREATE TABLE IF NOT EXISTS copied(id INTEGER PRIMARY KEY, v);\n"
		     "-- apply\nINSERT INTO copied SELECT id, v FROM source.events\n"
		     " WHERE id > @last AND id <= @max;\n"},
};

static void check(const char *folder, long rows)
{
	static const char totals[] =
		"WITH plain AS (SELECT id %% %d AS k, count(*) AS n, sum(v) AS s FROM events GROUP BY 1)"
		" SELECT (SELECT count(*) FROM plain) = %d AND"
		" NOT EXISTS (SELECT k, n, s FROM plain EXCEPT SELECT k, n, s FROM %s) AND"
		" (SELECT count(*) FROM %s) = %d";
	char *app = test_path(folder, "app.db"), *results = test_path(folder, "results.db");
	char sql[512];

	snprintf(sql, sizeof(sql), totals, KEYS, KEYS, "totals", "totals", KEYS);
	assert_int_equal(test_number(app, sql), 1);
	snprintf(sql, sizeof(sql), totals, KEYS, KEYS, "eached", "eached", KEYS);
	assert_int_equal(test_number(app, sql), 1);
	snprintf(sql, sizeof(sql), "SELECT count(*) = %ld AND max(id) = %ld AND sum(v) = sum(id * 7 %% 1013)"
		" FROM copied", rows, rows);
	assert_int_equal(test_number(results, sql), 1);
	free(app);
	free(results);
}

static bool in_memory(const char *folder)
{
	struct statfs fs;

	return statfs(folder, &fs) != 0 || fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

static void test_more_rows_than_fit(void **state)
{
	const long rows = proof_count(10000000, 10000000);
	struct scene *s = *state;
	struct program p = {0};
	char *app, sql[512];

	need_no_sanitizer();
	if (s->group && in_memory(s->folder))
		SKIP_BECAUSE("files in memory would count as memory; TMPDIR must be on a disk");
	app = test_path(s->folder, "app.db");
	for (size_t i = 0; i < sizeof(consumers) / sizeof(consumers[0]); i++) {
		char *path = test_path(s->folder, consumers[i][0]);

		test_write_file(path, consumers[i][1]);
		free(path);
	}
	snprintf(sql, sizeof(sql), "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
		" CREATE TABLE events(id INTEGER PRIMARY KEY AUTOINCREMENT, v INTEGER NOT NULL);"
		" WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %ld)"
		" INSERT INTO events SELECT i, i * 7 %% 1013 FROM n", rows);
	test_sql(app, sql);
	start(s, &p);
	if (program_run(&p, "run", "app.db", "totals.sql", "each.sql", "copy.sql", "--until-caught-up",
		    "--progress", "never", "--log-level", "warn") != 0)
		fail_msg("ended with %d: %s", p.exit_code, p.err.text);
	check(s->folder, rows);
	proof_result("%ld rows through 3 consumers in %d MiB of memory, held by %s: none lost, none doubled, "
		     "at most %ld MiB in use", rows, LIMIT_MIB, s->held, most_mib());
	program_free(&p);
	free(app);
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->folder = test_folder_make();
	hold(s);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	test_folder_remove(s->folder);
	if (s->group)
		assert_int_equal(rmdir(s->group), 0);
	free(s->group);
	free(s);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_line_of_1_gib, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_more_rows_than_fit, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
