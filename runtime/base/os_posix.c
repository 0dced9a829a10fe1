/* SPDX-License-Identifier: MIT */
/*
 * os_posix.c - clock, threads and locks over libc and pthreads.
 */
#include "base/check.h"
#include "base/os.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	CU_CHECK(clock_gettime(clock, &ts) == 0);
	return (int64_t)ts.tv_sec * CU_NS_PER_S + ts.tv_nsec;
}

int64_t cu_os_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t cu_os_boottime_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

int64_t cu_os_thread_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t cu_os_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / CU_NS_PER_MS;
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / CU_NS_PER_S), .tv_nsec = ns % CU_NS_PER_S};
}

void cu_os_sleep_ns(int64_t ns)
{
	struct timespec until = to_timespec(cu_deadline(cu_os_now_ns(), ns));

	if (ns <= 0)
		return;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

/* ---- threads ------------------------------------------------------------------------------ */

static void *thread_main(void *argument)
{
	struct cu_thread *thread = argument;

	thread->main(thread->argument);
	return NULL;
}

int cu_thread_start(struct cu_thread *thread, const char *name, void (*main)(void *), void *argument)
{
	sigset_t all, old;
	char short_name[16];
	int rc;

	thread->main = main;
	thread->argument = argument;
	thread->started = false;
	/* Signals belong to the program: a thread of ours must never run its handlers. */
	sigfillset(&all);
	CU_CHECK(pthread_sigmask(SIG_SETMASK, &all, &old) == 0);
	rc = pthread_create(&thread->handle, NULL, thread_main, thread);
	CU_CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
	if (rc != 0)
		return rc;
	thread->started = true;
	snprintf(short_name, sizeof(short_name), "%s", name);
	pthread_setname_np(thread->handle, short_name);
	return 0;
}

/* As sched_setattr(2) has it; <linux/sched/types.h> cannot stand beside <sched.h>. */
struct schedule {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t turn_ns, deadline_ns, period_ns;
};

#define SHORTEST_TURN_NS 100000 /* that Linux grants */
#define TIMER_SLACK_NS 1000ul

void cu_thread_be_prompt(bool prompt)
{
	struct schedule now;

	/* Nothing depends on what comes of it. Other policies than the usual one know no such turns. */
	prctl(PR_SET_TIMERSLACK, prompt ? TIMER_SLACK_NS : 0);
	if (syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0) != 0 || now.policy != 0)
		return;
	now.flags = 0;
	now.turn_ns = prompt ? SHORTEST_TURN_NS : 0;
	syscall(SYS_sched_setattr, 0, &now, 0);
}

void cu_thread_join(struct cu_thread *thread)
{
	if (!thread->started)
		return;
	CU_CHECK(pthread_join(thread->handle, NULL) == 0);
	thread->started = false;
}

uintptr_t cu_thread_self(void)
{
	return (uintptr_t)pthread_self();
}

/* ---- locks -------------------------------------------------------------------------------- */

int cu_mutex_init(struct cu_mutex *mutex)
{
	mutex->owner = 0;
	return pthread_mutex_init(&mutex->handle, NULL);
}

void cu_mutex_finish(struct cu_mutex *mutex)
{
	CU_CHECK(pthread_mutex_destroy(&mutex->handle) == 0);
}

void cu_mutex_lock(struct cu_mutex *mutex)
{
	CU_CHECK(pthread_mutex_lock(&mutex->handle) == 0);
	mutex->owner = cu_thread_self();
}

void cu_mutex_unlock(struct cu_mutex *mutex)
{
	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	CU_CHECK(pthread_mutex_unlock(&mutex->handle) == 0);
}

void cu_mutex_check_held(struct cu_mutex *mutex)
{
	CU_CHECK(mutex->owner == cu_thread_self());
}

int cu_cond_init(struct cu_cond *cond)
{
	pthread_condattr_t attributes;
	int rc = pthread_condattr_init(&attributes);

	if (rc != 0)
		return rc;
	rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	if (rc == 0)
		rc = pthread_cond_init(&cond->handle, &attributes);
	pthread_condattr_destroy(&attributes);
	return rc;
}

void cu_cond_finish(struct cu_cond *cond)
{
	CU_CHECK(pthread_cond_destroy(&cond->handle) == 0);
}

bool cu_cond_wait(struct cu_cond *cond, struct cu_mutex *mutex, int64_t deadline_ns)
{
	int rc;

	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	if (deadline_ns == CU_FOREVER) {
		rc = pthread_cond_wait(&cond->handle, &mutex->handle);
	} else {
		struct timespec until = to_timespec(deadline_ns);

		rc = pthread_cond_timedwait(&cond->handle, &mutex->handle, &until);
	}
	mutex->owner = cu_thread_self();
	CU_CHECK(rc == 0 || rc == ETIMEDOUT);
	return rc == 0;
}

void cu_cond_signal(struct cu_cond *cond)
{
	CU_CHECK(pthread_cond_signal(&cond->handle) == 0);
}

void cu_cond_broadcast(struct cu_cond *cond)
{
	CU_CHECK(pthread_cond_broadcast(&cond->handle) == 0);
}

uint64_t cu_os_random(void)
{
	uint64_t bits;

	if (getrandom(&bits, sizeof(bits), GRND_NONBLOCK) != (ssize_t)sizeof(bits))
		bits = (uint64_t)cu_os_now_ns() * UINT64_C(0x9e3779b97f4a7c15);
	return bits;
}
