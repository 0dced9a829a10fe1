/* SPDX-License-Identifier: MIT */
/*
 * changelog_os.c - the pretended machine but for its files: chance, time, fibers, locks, and a history's
 * beginning and end.
 */
#include "changelog_os_inside.h"

#include "base/check.h"
#include "base/os.h"

#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FAKE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FAKE_ASAN 1
#endif
#endif
#ifdef FAKE_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define FIBERS_MAX 8
#define STACK_BYTES ((size_t)256 * 1024)

struct fiber {
	ucontext_t context;
	jmp_buf jump;
	bool entered;
	void *stack; /* owned, kept from history to history */
	void *asan;  /* its fake stack while it does not run */
	void (*main)(void *);
	void *argument;
	bool used, ended;
	const void *on;      /* blocked; woken by whoever wakes this */
	int64_t deadline_ns; /* of being blocked */
	bool blocked;
};

struct fake_knobs fake_knobs;

static uint64_t state;
static int64_t now_ns;
static struct fiber fibers[FIBERS_MAX], outside = {.entered = true};
static struct fiber *current = &outside;

/* ---- chance and time ---------------------------------------------------------------------- */

uint64_t fake_random(void)
{
	/* splitmix64 */
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint32_t fake_dice(uint32_t n)
{
	return (uint32_t)((fake_random() >> 32) * n >> 32);
}

bool fake_chance(uint32_t one_in)
{
	return one_in != 0 && fake_dice(one_in) == 0;
}

void fake_pass(int64_t ns)
{
	now_ns += ns;
}

int64_t fake_now_ns(void)
{
	return now_ns;
}

int64_t cu_os_now_ns(void)
{
	return now_ns += 1000;
}

/* ---- fibers ------------------------------------------------------------------------------- */

static void switch_to(struct fiber *to, bool for_good)
{
	struct fiber *from = current;

#ifdef FAKE_ASAN
	__sanitizer_start_switch_fiber(
		for_good ? NULL : &from->asan, to->stack, to->stack ? STACK_BYTES : 0);
#endif
	current = to;
#ifdef FAKE_ASAN
	swapcontext(&from->context, &to->context);
	__sanitizer_finish_switch_fiber(from->asan, NULL, NULL);
#else
	/* Only the first switch to a fiber needs a context; these ask the kernel for the signal mask
	 * each time. */
	(void)for_good;
	if (_setjmp(from->jump))
		return;
	if (!to->entered) {
		to->entered = true;
		setcontext(&to->context);
	}
	_longjmp(to->jump, 1);
#endif
}

void fake_wake(const void *on)
{
	for (struct fiber *f = fibers; f < fibers + FIBERS_MAX; f++)
		if (f->used && f->blocked && f->on == on)
			f->blocked = false;
}

static void begin(void)
{
#ifdef FAKE_ASAN
	/* The test's own stack, which it has to be told of when it is switched to. */
	size_t bytes;
	const void *bottom;

	__sanitizer_finish_switch_fiber(NULL, &bottom, &bytes);
#endif
	current->main(current->argument);
	current->ended = true;
	fake_wake(current);
	for (;;)
		switch_to(&outside, true);
}

/* Apart from spawn, for getcontext returns twice. */
__attribute__((noinline)) static struct fiber *free_fiber(void)
{
	struct fiber *f = fibers;

	while (f->used)
		f++;
	CU_CHECK(f < fibers + FIBERS_MAX);
	if (!f->stack)
		f->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CU_CHECK(f->stack != MAP_FAILED);
	return f;
}

static struct fiber *spawn(void (*main)(void *), void *argument)
{
	struct fiber *const f = free_fiber();

	f->main = main;
	f->argument = argument;
	f->used = true;
	f->ended = f->blocked = f->entered = false;
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK_BYTES;
	f->context.uc_link = NULL;
	makecontext(&f->context, begin, 0);
	return f;
}

void fake_spawn(void (*main)(void *), void *argument)
{
	spawn(main, argument);
}

static void give_way(void)
{
	switch_to(&outside, false);
}

void fake_perhaps_yield(void)
{
	if (fake_chance(fake_knobs.yield_of))
		give_way();
}

static bool may_run(const struct fiber *f)
{
	return f->used && !f->ended && (!f->blocked || f->deadline_ns <= now_ns);
}

bool fake_step(void)
{
	struct fiber *able[FIBERS_MAX];
	uint32_t n = 0;

	for (struct fiber *f = fibers; f < fibers + FIBERS_MAX; f++)
		if (may_run(f))
			able[n++] = f;
	if (n == 0)
		return false;
	switch_to(able[n == 1 ? 0 : fake_dice(n)], false);
	return true;
}

bool fake_pass_to_deadline(void)
{
	int64_t next = INT64_MAX;

	for (const struct fiber *f = fibers; f < fibers + FIBERS_MAX; f++)
		if (f->used && !f->ended && f->blocked && f->deadline_ns < next)
			next = f->deadline_ns;
	if (next == INT64_MAX)
		return false;
	if (next > now_ns)
		now_ns = next;
	return true;
}

void fake_block(const void *on, int64_t deadline_ns)
{
	current->on = on;
	current->deadline_ns = deadline_ns;
	current->blocked = true;
	give_way();
	current->blocked = false;
}

void fake_rest(void)
{
	fake_block(&outside, INT64_MAX);
}

void fake_rouse(void)
{
	fake_wake(&outside);
}

void cu_os_sleep_ns(int64_t ns)
{
	fake_block(NULL, now_ns + ns);
}

int cu_thread_start(struct cu_thread *thread, const char *name, void (*main)(void *), void *argument)
{
	(void)name;
	thread->main = main;
	thread->argument = spawn(main, argument);
	thread->started = true;
	return 0;
}

void cu_thread_join(struct cu_thread *thread)
{
	struct fiber *f = thread->argument;

	if (!thread->started)
		return;
	while (!f->ended)
		fake_block(f, INT64_MAX);
	f->used = false;
	thread->started = false;
}

uintptr_t cu_thread_self(void)
{
	return (uintptr_t)(current - fibers) + 1;
}

pid_t cu_os_pid(void)
{
	return 1;
}

/* ---- locks -------------------------------------------------------------------------------- */

int cu_mutex_init(struct cu_mutex *mutex)
{
	mutex->owner = 0;
	return 0;
}

void cu_mutex_finish(struct cu_mutex *mutex)
{
	CU_CHECK(mutex->owner == 0);
}

void cu_mutex_lock(struct cu_mutex *mutex)
{
	fake_perhaps_yield();
	while (mutex->owner != 0)
		fake_block(mutex, INT64_MAX);
	mutex->owner = cu_thread_self();
}

void cu_mutex_unlock(struct cu_mutex *mutex)
{
	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	fake_wake(mutex);
	fake_perhaps_yield();
}

void cu_mutex_check_held(struct cu_mutex *mutex)
{
	CU_CHECK(mutex->owner == cu_thread_self());
}

int cu_cond_init(struct cu_cond *cond)
{
	(void)cond;
	return 0;
}

void cu_cond_finish(struct cu_cond *cond)
{
	(void)cond;
}

bool cu_cond_wait(struct cu_cond *cond, struct cu_mutex *mutex, int64_t deadline_ns)
{
	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	fake_wake(mutex);
	fake_block(cond, deadline_ns);
	while (mutex->owner != 0)
		fake_block(mutex, INT64_MAX);
	mutex->owner = cu_thread_self();
	return now_ns < deadline_ns;
}

void cu_cond_broadcast(struct cu_cond *cond)
{
	fake_wake(cond);
}

/* ---- a history ---------------------------------------------------------------------------- */

void fake_begin(uint64_t seed)
{
	state = seed;
	now_ns = CU_NS_PER_S;
	fake_knobs = (struct fake_knobs){0};
}

const char *fake_end(void)
{
	static char left[128];
	int n_descriptors, n_fibers = 0, n_watches;

	for (int i = 0; i < FIBERS_MAX; i++) {
		n_fibers += fibers[i].used && !fibers[i].ended;
		fibers[i].used = false;
	}
	fake_forget_files(&n_descriptors, &n_watches);
	left[0] = '\0';
	if (n_descriptors || n_fibers || n_watches)
		snprintf(left, sizeof(left),
			"%d descriptors, %d threads and %d watches are left behind", n_descriptors,
			n_fibers, n_watches);
	return left;
}
