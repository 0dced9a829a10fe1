/* SPDX-License-Identifier: MIT */
/*
 * sim.c - runs stories by seed, each in a process of its own, and says which failed.
 *
 *	sim                     the seeds 1 to 2,000; PROOF=long sim: to 1,000,000 (proof.h)
 *	SIM_SEEDS=N sim         the seeds 1 to N
 *	SIM_FROM=N sim          starts there
 *	SIM_SEED=N sim          one seed, with everything that happens
 *	sim --must-fail [N]     at least one of N seeds fails: for a runtime with a planted mistake
 */
#include "proof.h"
#include "sim_story.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define SIM_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SIM_TSAN 1
#endif
#endif

/* A story that takes longer than this, in real time, hangs where no fiber switches. */
#define STORY_SECONDS 120

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Processes that were killed leave what they held, whatever the environment asks for. */
int __lsan_is_turned_off(void);
__attribute__((visibility("default"))) int __lsan_is_turned_off(void)
{
	return 1;
}

static _Noreturn void tell(uint64_t seed)
{
	alarm(STORY_SECONDS);
	sim_run(seed, story_tell, NULL);
}

/* Returns whether it went well. */
static bool run(uint64_t seed, bool quiet)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		if (quiet && !freopen("/dev/null", "w", stderr))
			_exit(2);
		tell(seed);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sim_counts->seeds++;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	if (WIFSIGNALED(status) && !quiet)
		fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
	return false;
}

static void print_counts(void)
{
	const struct sim_counts *c = sim_counts;

	proof_result("%llu seeds: %llu switches, %llu fibers; %llu starts, %llu kills, %llu stops, %llu "
	       "faults; %llu rows, %llu parked, %llu lost races; %llu events, %llu rotations, %llu "
	       "resyncs; %llu notices",
		(unsigned long long)c->seeds, (unsigned long long)c->switches,
		(unsigned long long)c->fibers, (unsigned long long)c->starts,
		(unsigned long long)c->kills, (unsigned long long)c->stops,
		(unsigned long long)c->faults, (unsigned long long)c->rows,
		(unsigned long long)c->parked, (unsigned long long)c->lost_leases,
		(unsigned long long)c->events, (unsigned long long)c->rotations,
		(unsigned long long)c->resyncs, (unsigned long long)c->notices);
}

int main(int argc, char **argv)
{
	bool must_fail = argc > 1 && strcmp(argv[1], "--must-fail") == 0;
	uint64_t seeds = must_fail && argc > 2 ? strtoull(argv[2], NULL, 10)
					       : number_of("SIM_SEEDS", (uint64_t)proof_count(2000, 1000000));
	uint64_t from = number_of("SIM_FROM", 1);
	uint64_t failed = 0;

#ifdef SIM_TSAN
	printf("skipped: all fibers are one thread, so there are no races to be found\n");
	return 77;
#endif
	sim_counts = mmap(NULL, sizeof(*sim_counts), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sim_counts == MAP_FAILED)
		return 2;
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	sim_memory_install();
	sim_vfs_install();
	if (getenv("SIM_SEED")) {
		sim_tracing = true;
		tell(number_of("SIM_SEED", 1));
	}
	proof_begin();
	for (uint64_t seed = from; seed < from + seeds && proof_goes_on(); seed++) {
		if (run(seed, must_fail))
			continue;
		failed++;
		if (must_fail) {
			printf("caught by seed %llu\n", (unsigned long long)seed);
			return 0;
		}
		printf("seed %llu failed; see it with: SIM_SEED=%llu %s\n", (unsigned long long)seed,
			(unsigned long long)seed, argv[0]);
		if (failed >= number_of("SIM_FAILURES", 5))
			break;
	}
	print_counts();
	if (must_fail)
		printf("the mistake was not caught\n");
	return must_fail || failed ? 1 : 0;
}
