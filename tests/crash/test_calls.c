/* SPDX-License-Identifier: MIT */
/*
 * The program dies at its Nth system call of a kind, for every kind that changes a file; or such a call
 * fails, once or for a while. strace does it to the real program. After each the files are sound and
 * results and watermark belong together, and a program that starts again catches up.
 *
 * strace counts the calls of each thread for itself, so the N of the thread that is first there counts.
 * What the start writes would hide what a batch writes; hence two runs are gone through, one on a new
 * database and one that goes on where an earlier one had stopped.
 */
#include "program.h"
#include "proof.h"
#include "skip.h"
#include "world.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* So many rows, of which so many are there from the beginning. */
#define ROWS 240
#define ROWS_DONE_BEFORE 120
#define ROW_BYTES 1000

/* What changes a file, its name or its locks, and what a start needs. */
static const char *const kinds[] = {"pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink",
	"openat", "mmap", "fcntl"};

#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* The last one never fails: a system that cannot give back a lock is none to run on. */
#define N_FAILING (N_KINDS - 1)

/* Of the calls, in the short tier. */
#define EVERY_KILLED 11
#define EVERY_FAILING 11

enum stage { FRESH, RESUMED, STAGES };

struct scene {
	char *folder;
	char *kept[STAGES];     /* folders that each run begins with */
	long first[STAGES][N_KINDS]; /* the loader has made so many before main */
	long most[STAGES][N_KINDS];  /* calls of the thread that makes most of them */
	bool can_trace;
};

/* ---- files ----------------------------------------------------------------------------------- */

static void copy_file(const char *from_folder, const char *to_folder, const char *name)
{
	char *from = test_path(from_folder, name), *to = test_path(to_folder, name);
	FILE *in = fopen(from, "re"), *out;
	char bytes[65536];
	size_t n;

	if (in) {
		out = fopen(to, "we");
		assert_non_null(out);
		while ((n = fread(bytes, 1, sizeof(bytes), in)) > 0)
			assert_int_equal(fwrite(bytes, 1, n, out), n);
		assert_int_equal(fclose(out), 0);
		fclose(in);
	}
	free(from);
	free(to);
}

static const char *const copied[] = {"apply.sql", "row.sql", "into.sql", "app.db", "app.db-wal",
	"results.db", "results.db-wal", NULL};

/* A folder with what is in another one; "" for a new one. */
static char *copy_folder(const char *from)
{
	char *to = test_folder_make();

	for (const char *const *name = copied; *name; name++)
		copy_file(from, to, *name);
	return to;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static int run(struct program *p, const char *folder, const char *const *under)
{
	p->folder = folder;
	p->under = under;
	/* One worker, small batches and a small log: many commits, some checkpoints. */
	return program_run(p, "run", "app.db", "apply.sql", "row.sql", "into.sql",
		"--until-caught-up", "--progress", "never", "--threads", "1", "--batch-rows", "40",
		"--wal-mib", "1", "--synchronous", "full", "--log-level", "warn");
}

/* Goes through one run with strace's way of spoiling it, and then through one without. */
static int spoil(struct scene *s, enum stage stage, const char *kind, const char *how)
{
	char *folder = copy_folder(s->kept[stage]);
	char trace[64], inject[128], why[600] = "";
	const char *const under[] = {"strace", "-f", "-qq", "-o", "/dev/null", "-e",
		trace, "-e", inject, NULL};
	struct program p = {0}, again = {0};
	int code;

	snprintf(trace, sizeof(trace), "trace=%s", kind);
	snprintf(inject, sizeof(inject), "inject=%s:%s", kind, how);
	code = run(&p, folder, under);
	if (code > 128 && code != 128 + SIGKILL)
		fail_msg("%s: ended by signal %d: %s", inject, code - 128, p.err.text);
	if (!world_verify(folder, WORLD_SQL_CLAIMS, code == 0, why, sizeof(why)))
		fail_msg("%s, which ended with %d: %s; it said: %s", inject, code, why, p.err.text);
	if (run(&again, folder, NULL) != 0)
		fail_msg("after %s the next run ended with %d: %s", inject, again.exit_code,
			again.err.text);
	if (!world_verify(folder, WORLD_SQL_CLAIMS, true, why, sizeof(why)))
		fail_msg("after %s and another run: %s", inject, why);
	program_free(&p);
	program_free(&again);
	test_folder_remove(folder);
	return code;
}

/* ---- how many calls there are ----------------------------------------------------------------- */

/* The loader's last doing is to give back its list of libraries. */
static long count_most(const char *log, const char *kind, long *first)
{
	FILE *in = fopen(log, "re");
	struct {
		long tid, calls;
	} threads[64] = {{0, 0}};
	char line[4096], needle[64];
	long most = 0;

	*first = -1;

	assert_non_null(in);
	snprintf(needle, sizeof(needle), " %s(", kind);
	while (fgets(line, sizeof(line), in)) {
		long tid = strtol(line, NULL, 10);

		if (*first < 0 && strstr(line, " munmap("))
			*first = most;
		if (!strstr(line, needle))
			continue;
		for (size_t i = 0; i < 64; i++) {
			if (threads[i].tid != 0 && threads[i].tid != tid)
				continue;
			threads[i].tid = tid;
			if (++threads[i].calls > most)
				most = threads[i].calls;
			break;
		}
	}
	fclose(in);
	return most;
}

static void count_calls(struct scene *s, enum stage stage)
{
	char *folder = copy_folder(s->kept[stage]), *log = test_path(folder, "calls");
	const char *const under[] = {"strace", "-f", "-qq", "-o", log, "-e",
		"trace=pwrite64,write,fdatasync,fsync,ftruncate,unlink,openat,mmap,fcntl,munmap", NULL};
	struct program p = {0};

	if (run(&p, folder, under) != 0)
		fail_msg("the run that is only watched ended with %d: %s", p.exit_code, p.err.text);
	for (size_t k = 0; k < N_KINDS; k++)
		s->most[stage][k] = count_most(log, kinds[k], &s->first[stage][k]);
	program_free(&p);
	free(log);
	test_folder_remove(folder);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static bool strace_works(void)
{
	return system("strace -f -qq -o /dev/null -e trace=unlink true 2>/dev/null") == 0;
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	struct program p = {0};

	proof_use_memory();
	*state = s;
	s->can_trace = !PROOF_SANITIZED && strace_works();
	if (!s->can_trace)
		return 0;
	s->kept[RESUMED] = test_folder_make();
	world_write_consumers(s->kept[RESUMED]);
	world_insert(s->kept[RESUMED], ROWS_DONE_BEFORE, "first ", ROW_BYTES);
	s->kept[FRESH] = copy_folder(s->kept[RESUMED]);
	if (run(&p, s->kept[RESUMED], NULL) != 0)
		fail_msg("the first run ended with %d: %s", p.exit_code, p.err.text);
	program_free(&p);
	for (enum stage stage = FRESH; stage < STAGES; stage++)
		world_insert(s->kept[stage], ROWS - ROWS_DONE_BEFORE, "then ", ROW_BYTES);
	for (enum stage stage = FRESH; stage < STAGES; stage++)
		count_calls(s, stage);
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;

	for (enum stage stage = FRESH; stage < STAGES; stage++)
		if (s->kept[stage])
			test_folder_remove(s->kept[stage]);
	free(s);
	return 0;
}

static void need_strace(const struct scene *s)
{
	if (PROOF_SANITIZED)
		SKIP_BECAUSE("a sanitizer's run-time cannot be traced; the plain builds are");
	if (!s->can_trace)
		SKIP_BECAUSE("strace is not there, or tracing is not permitted");
}

/* One call of a run, of a kind. */
struct site {
	enum stage stage;
	size_t kind;
	long nth;
};

/* All of them, kinds below a bound, one after the other. Returns the how many-th; NULL: how many. */
static long list_sites(const struct scene *s, size_t kinds_below, long at, struct site *site)
{
	long turn = 0;

	for (enum stage stage = FRESH; stage < STAGES; stage++) {
		for (size_t k = 0; k < kinds_below; k++) {
			long calls = s->most[stage][k] - s->first[stage][k];

			if (calls <= 0)
				continue;
			if (site && at < turn + calls) {
				*site = (struct site){stage, k, s->first[stage][k] + 1 + at - turn};
				return at;
			}
			turn += calls;
		}
	}
	return turn;
}

static void kill_at_some(struct proof_steps *steps, long *hit, void *scene)
{
	struct scene *s = scene;
	struct site site = {0};
	char how[64];
	long step;

	while (proof_steps_next(steps, &step)) {
		list_sites(s, N_KINDS, step, &site);
		snprintf(how, sizeof(how), "signal=KILL:when=%ld", site.nth);
		*hit += spoil(s, site.stage, kinds[site.kind], how) != 0;
	}
}

static void test_killed_at_system_calls(void **state)
{
	struct scene *s = *state;
	struct proof_steps steps;
	long hit;

	need_strace(s);
	steps = proof_steps_start(list_sites(s, N_KINDS, 0, NULL), EVERY_KILLED);
	hit = proof_steps_take(&steps, kill_at_some, s);
	proof_result("%ld of %ld system calls: the program died at %ld, and what it left was whole",
		steps.done, steps.total, hit);
	/* A call that is not reached a second time is the exception. */
	assert_true(hit > steps.done / 2);
}

static const char *const errors[] = {
	"EIO", "ENOSPC", "EMFILE", "ENOMEM", "EACCES", "EINTR", "EDQUOT", "EPERM"};

static void fail_at_some(struct proof_steps *steps, long *ended, void *scene)
{
	struct scene *s = scene;
	long step, sites = list_sites(s, N_FAILING, 0, NULL);
	struct site site = {0};
	char how[64];

	while (proof_steps_next(steps, &step)) {
		list_sites(s, N_FAILING, step % sites, &site);
		/* Once, or for a while: then the program has to wait. */
		snprintf(how, sizeof(how), "error=%s:when=%ld..%ld", errors[step / sites], site.nth,
			site.nth + steps->done % 2 * 4);
		*ended += spoil(s, site.stage, kinds[site.kind], how) != 0;
	}
}

static void test_failing_system_calls(void **state)
{
	const long n_errors = proof_is_long() ? sizeof(errors) / sizeof(errors[0]) : 2;
	struct scene *s = *state;
	struct proof_steps steps;
	long ended;

	need_strace(s);
	steps = proof_steps_start(list_sites(s, N_FAILING, 0, NULL) * n_errors, EVERY_FAILING);
	ended = proof_steps_take(&steps, fail_at_some, s);
	proof_result("%ld of %ld failing system calls (%ld errors): %ld runs ended with an error, %ld went on",
		steps.done, steps.total, n_errors, ended, steps.done - ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_at_system_calls),
		cmocka_unit_test(test_failing_system_calls),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
