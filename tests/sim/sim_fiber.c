/* SPDX-License-Identifier: MIT */
/*
 * sim_fiber.c - fibers, their scheduler, virtual time, and processes made of them.
 *
 * A fiber that gives way picks the next one itself and switches to it. Who may be picked: whoever is
 * not blocked, and whoever is blocked with a deadline that has come. When there is nobody, time moves
 * to the next deadline; when there is none either, everybody waits for somebody: a deadlock.
 */
#include "sim.h"
#include "sim_disk.h"
#include "sim_stack.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIBERS_MAX 512

/* No story is longer, in steps or in its own time. */
#define STEPS_MAX UINT64_C(20000000)
#define LOOKS_MAX 2000000u /* at the clock, by one fiber that lets nobody else run */
#define TIME_MAX_NS (4 * 3600 * CU_NS_PER_S)

struct sim_faults sim_faults;
struct sim_knobs sim_knobs;
struct sim_counts *sim_counts;
bool sim_tracing;

enum state {
	READY,
	BLOCKED,
	ENDED,
	KILLED,
};

struct sim_fiber {
	enum state state;
	int number;
	char name[32];
	struct sim_process *process;
	void (*main)(void *);
	void *argument;
	struct sim_stack *stack; /* owned; NULL once it has ended, and for the first */
	const char *where;  /* it gave way last */
	const void *on;     /* BLOCKED */
	int64_t deadline_ns;
	int64_t used_ns;
	bool woken;
	uint64_t priority;
};

static struct {
	int64_t now_ns, boot_ns;
	uint64_t steps;
	unsigned looks;
	struct sim_fiber *fibers[FIBERS_MAX];
	size_t n_fibers;
	struct sim_fiber *current;
	struct sim_process *processes;
	pid_t last_pid;
	int numbers;
	unsigned kills;
} sim;

/* ---- telling ----------------------------------------------------------------------------------- */

void sim_trace(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n = snprintf(text, sizeof(text), "%14.6f ms  %-8.8s %-14.14s ",
		(double)sim.now_ns / 1e6, sim.current ? sim.current->process->name : "",
		sim.current ? sim.current->name : "");

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s\n", text);
}

/* Says who waits where; leaves the files to be looked at, once somebody does look. */
static _Noreturn void end_badly(void)
{
	static const char *const names[] = {"ready", "blocked", "ended", "killed"};

	fprintf(stderr, "at %.6f ms, after %llu steps:\n", (double)sim.now_ns / 1e6,
		(unsigned long long)sim.steps);
	for (size_t i = 0; i < sim.n_fibers; i++) {
		const struct sim_fiber *f = sim.fibers[i];

		if (f->state == ENDED || f->state == KILLED)
			continue;
		fprintf(stderr, "%c %-10s %-14s %s in %s", f == sim.current ? '>' : ' ',
			f->process->name, f->name, names[f->state], f->where ? f->where : "-");
		if (f->state == BLOCKED && f->deadline_ns != CU_FOREVER)
			fprintf(stderr, " until %.6f ms", (double)f->deadline_ns / 1e6);
		if (f->process->stopped_until)
			fprintf(stderr, " (stopped)");
		fprintf(stderr, "\n");
	}
	if (sim_tracing)
		sim_disk_copy_out();
	fflush(stderr);
	_exit(1);
}

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	end_badly();
}

/* A broken invariant of the runtime ends here too. */
static void on_abort(int number)
{
	(void)number;
	end_badly();
}

/* ---- switching --------------------------------------------------------------------------------- */

static bool may_run(const struct sim_fiber *f)
{
	if (f->process->stopped_until > sim.now_ns)
		return false;
	return f->state == READY || (f->state == BLOCKED && f->deadline_ns <= sim.now_ns);
}

/* When somebody can run at the earliest; CU_FOREVER for never. */
static int64_t next_deadline(void)
{
	int64_t next = CU_FOREVER;

	for (size_t i = 0; i < sim.n_fibers; i++) {
		const struct sim_fiber *f = sim.fibers[i];
		int64_t at = f->state == READY ? 0 : f->state == BLOCKED ? f->deadline_ns : CU_FOREVER;

		if (at != CU_FOREVER && at < f->process->stopped_until)
			at = f->process->stopped_until;
		if (at > sim.now_ns && at < next)
			next = at;
	}
	return next;
}

static struct sim_fiber *choose(struct sim_fiber *const *able, size_t n)
{
	struct sim_fiber *best;

	switch (sim_knobs.order) {
	case SIM_ORDER_STICKY:
		for (size_t i = 0; i < n && sim_below(8) != 0; i++)
			if (able[i] == sim.current)
				return able[i];
		break;
	case SIM_ORDER_PRIORITY:
		best = able[0];
		for (size_t i = 1; i < n; i++)
			if (able[i]->priority > best->priority)
				best = able[i];
		if (sim_below(32) == 0)
			best->priority = sim_random();
		return best;
	default:
		break;
	}
	return able[sim_below(n)];
}

static struct sim_fiber *pick(void)
{
	struct sim_fiber *able[FIBERS_MAX], *next;
	size_t n = 0;

	SIM_CHECK(++sim.steps < STEPS_MAX, "the story does not end: so many steps");
	sim_tick();
	if (sim_chance(sim_knobs.timer)) {
		int64_t at = next_deadline();

		if (at - sim.now_ns < CU_NS_PER_S)
			sim.now_ns = at;
	}
	for (;;) {
		int64_t at;

		for (size_t i = 0; i < sim.n_fibers; i++)
			if (may_run(sim.fibers[i]))
				able[n++] = sim.fibers[i];
		if (n > 0)
			break;
		at = next_deadline();
		SIM_CHECK(at != CU_FOREVER, "deadlock: everybody waits, and nobody will come");
		SIM_CHECK(at < TIME_MAX_NS, "the story does not end: so much time");
		sim.now_ns = at;
	}
	next = choose(able, n);
	next->process->stopped_until = 0;
	sim.looks = 0;
	next->state = READY;
	sim_counts->switches++;
	return next;
}

/* Forgets fibers that have ended; who asks for one holds its struct, which stays. */
static void sweep(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < sim.n_fibers; i++) {
		struct sim_fiber *f = sim.fibers[i];

		if ((f->state != ENDED && f->state != KILLED) || f == sim.current) {
			sim.fibers[kept++] = f;
			continue;
		}
		sim_stack_give_back(f->stack);
		f->stack = NULL;
	}
	sim.n_fibers = kept;
}

static void give_way(const char *where, bool for_good)
{
	struct sim_fiber *self = sim.current, *next;

	self->where = where;
	next = pick();
	sim.current = next;
	if (next != self)
		sim_stack_switch(for_good ? NULL : self->stack, next->stack);
	sweep();
}

void sim_yield(const char *where)
{
	if (sim.current)
		give_way(where, false);
}

bool sim_block(const void *on, int64_t deadline_ns, const char *where)
{
	struct sim_fiber *self = sim.current;

	self->on = on;
	self->deadline_ns = deadline_ns;
	self->woken = false;
	self->state = BLOCKED;
	give_way(where, false);
	self->on = NULL;
	return self->woken;
}

static void wake(struct sim_fiber *f)
{
	f->woken = true;
	f->state = READY;
}

void sim_wake_all(const void *on)
{
	for (size_t i = 0; i < sim.n_fibers; i++)
		if (sim.fibers[i]->state == BLOCKED && sim.fibers[i]->on == on)
			wake(sim.fibers[i]);
}

void sim_wake_one(const void *on)
{
	struct sim_fiber *found[FIBERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < sim.n_fibers; i++)
		if (sim.fibers[i]->state == BLOCKED && sim.fibers[i]->on == on)
			found[n++] = sim.fibers[i];
	if (n > 0)
		wake(found[sim_below(n)]);
}

void sim_suspend(int64_t ns)
{
	SIM_TRACE("the machine was suspended for %.3f ms", (double)ns / 1e6);
	sim.boot_ns += ns;
	sim_counts->faults++;
}

void sim_sleep(int64_t ns, const char *where)
{
	if (sim_chance(sim_faults.oversleep))
		ns += sim_between(0, 2 * CU_NS_PER_S);
	if (sim_chance(sim_faults.suspend))
		sim_suspend(sim_between(0, 30 * CU_NS_PER_S));
	sim_block(NULL, cu_deadline(sim.now_ns, ns > 0 ? ns : 0), where);
}

int64_t sim_now_ns(void)
{
	return sim.now_ns;
}

int64_t sim_fiber_used_ns(void)
{
	return sim.current->used_ns;
}

int64_t sim_boot_ns(void)
{
	return sim.now_ns + sim.boot_ns;
}

void sim_tick(void)
{
	int64_t tick_ns;

	SIM_CHECK(++sim.looks < LOOKS_MAX, "it runs in circles: nobody else ever runs");
	tick_ns = (int64_t)sim_below((uint64_t)sim_knobs.tick_ns + 1);
	sim.now_ns += tick_ns;
	sim.current->used_ns += tick_ns;
}

/* ---- fibers ------------------------------------------------------------------------------------ */

static void begin(void)
{
	struct sim_fiber *self = sim.current;

	self->main(self->argument);
	self->state = ENDED;
	sim_wake_all(self);
	give_way("its end", true);
	abort(); /* nobody picks it again */
}

struct sim_fiber *sim_fiber_start(
	struct sim_process *process, const char *name, void (*main)(void *), void *argument)
{
	struct sim_fiber *f = calloc(1, sizeof(*f));

	SIM_CHECK(f && sim.n_fibers < FIBERS_MAX, "too many fibers");
	f->stack = sim_stack_take(begin);
	f->number = ++sim.numbers;
	f->process = process;
	f->main = main;
	f->argument = argument;
	f->priority = sim_random();
	f->where = "its start";
	snprintf(f->name, sizeof(f->name), "%.15s.%d", name, f->number);
	sim.fibers[sim.n_fibers++] = f;
	sim_counts->fibers++;
	return f;
}

struct sim_fiber *sim_fiber_current(void)
{
	return sim.current;
}

bool sim_fiber_ended(const struct sim_fiber *fiber)
{
	return fiber->state == ENDED || fiber->state == KILLED;
}

/* ---- processes --------------------------------------------------------------------------------- */

struct sim_process *sim_process_create(const char *name)
{
	struct sim_process *process = calloc(1, sizeof(*process));

	SIM_CHECK(process, "no memory");
	process->pid = ++sim.last_pid;
	process->start = 100 * sim.last_pid;
	process->space = 1;
	snprintf(process->name, sizeof(process->name), "%.20s.%d", name, (int)process->pid);
	process->next = sim.processes;
	sim.processes = process;
	return process;
}

struct sim_process *sim_process_current(void)
{
	return sim.current ? sim.current->process : NULL;
}

struct sim_process *sim_process_find(pid_t pid)
{
	for (struct sim_process *p = sim.processes; p; p = p->next)
		if (p->pid == pid && !p->dead)
			return p;
	return NULL;
}

unsigned sim_process_kills(void)
{
	return sim.kills;
}

void sim_process_kill(struct sim_process *process)
{
	bool own = sim.current->process == process;

	if (process->dead)
		return;
	SIM_TRACE("kill %s", process->name);
	process->dead = true;
	process->stopped_until = 0;
	sim_counts->kills++;
	sim.kills++;
	for (size_t i = 0; i < sim.n_fibers; i++) {
		struct sim_fiber *f = sim.fibers[i];

		if (f->process != process || f->state == ENDED)
			continue;
		f->state = KILLED;
		sim_wake_all(f);
	}
	sim_vfs_close_all(process);
	sim_file_close_all(process);
	sim_wake_all(process);
	if (own) {
		give_way("its death", true);
		abort();
	}
}

void sim_process_stop(struct sim_process *process, int64_t ns)
{
	SIM_TRACE("stop %s for %.3f ms", process->name, (double)ns / 1e6);
	process->stopped_until = sim.now_ns + ns;
	sim_counts->stops++;
}

void sim_process_step(void)
{
	struct sim_process *process = sim_process_current();

	if (process && process->doomed && --process->doomed == 0)
		sim_process_kill(process);
}

/* ---- a whole story ----------------------------------------------------------------------------- */

void sim_run(uint64_t seed, void (*main)(void *), void *argument)
{
	signal(SIGABRT, on_abort);
	sim_random_seed(seed);
	sim.now_ns = CU_NS_PER_S;
	sim.boot_ns = 3600 * CU_NS_PER_S;
	sim.last_pid = 1000;
	sim.current = sim_fiber_start(sim_process_create("story"), "story", main, argument);
	sim_stack_switch(NULL, sim.current->stack);
	abort(); /* the story ends the process */
}
