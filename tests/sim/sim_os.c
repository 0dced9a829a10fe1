/* SPDX-License-Identifier: MIT */
/*
 * sim_os.c - os.h over fibers: clock, threads, locks, process.
 *
 * A lock that is released goes to whoever runs first, so a waiter may lose it to a newcomer; a signal
 * wakes any waiter; both as POSIX allows.
 */
#include "base/check.h"
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int64_t cu_os_now_ns(void)
{
	sim_tick();
	return sim_now_ns();
}

int64_t cu_os_boottime_ns(void)
{
	return sim_boot_ns();
}

int64_t cu_os_thread_ns(void)
{
	return sim_fiber_used_ns();
}

int64_t cu_os_wall_ms(void)
{
	return INT64_C(1700000000000) + sim_now_ns() / CU_NS_PER_MS;
}

void cu_os_sleep_ns(int64_t ns)
{
	if (ns > 0)
		sim_sleep(ns, "a sleep");
}

void cu_os_point(void)
{
	if (sim_chance(sim_knobs.point))
		sim_yield("a point");
}

/* ---- threads ----------------------------------------------------------------------------------- */

void cu_thread_be_prompt(bool prompt)
{
	(void)prompt;
}

static struct sim_fiber *fiber_of(const struct cu_thread *thread)
{
	return (struct sim_fiber *)(uintptr_t)thread->handle;
}

int cu_thread_start(struct cu_thread *thread, const char *name, void (*main)(void *), void *argument)
{
	struct sim_process *process = sim_process_current();

	thread->started = false;
	if (process->files_fail && sim_chance(sim_faults.thread)) {
		SIM_TRACE("fault: no thread '%s'", name);
		sim_counts->faults++;
		return EAGAIN;
	}
	thread->main = main;
	thread->argument = argument;
	thread->handle = (pthread_t)(uintptr_t)sim_fiber_start(process, name, main, argument);
	thread->started = true;
	cu_os_point();
	return 0;
}

void cu_thread_join(struct cu_thread *thread)
{
	if (!thread->started)
		return;
	while (!sim_fiber_ended(fiber_of(thread)))
		sim_block(fiber_of(thread), CU_FOREVER, "a join");
	thread->started = false;
}

uintptr_t cu_thread_self(void)
{
	return (uintptr_t)sim_fiber_current();
}

/* ---- locks ------------------------------------------------------------------------------------- */

int cu_mutex_init(struct cu_mutex *mutex)
{
	memset(mutex, 0, sizeof(*mutex));
	return 0;
}

void cu_mutex_finish(struct cu_mutex *mutex)
{
	CU_CHECK(mutex->owner == 0);
}

void cu_mutex_lock(struct cu_mutex *mutex)
{
	cu_os_point();
	CU_CHECK(mutex->owner != cu_thread_self());
	while (mutex->owner != 0)
		sim_block(mutex, CU_FOREVER, "a lock");
	mutex->owner = cu_thread_self();
}

void cu_mutex_unlock(struct cu_mutex *mutex)
{
	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	sim_wake_all(mutex);
	cu_os_point();
}

void cu_mutex_check_held(struct cu_mutex *mutex)
{
	CU_CHECK(mutex->owner == cu_thread_self());
}

int cu_cond_init(struct cu_cond *cond)
{
	memset(cond, 0, sizeof(*cond));
	return 0;
}

void cu_cond_finish(struct cu_cond *cond)
{
	(void)cond;
}

bool cu_cond_wait(struct cu_cond *cond, struct cu_mutex *mutex, int64_t deadline_ns)
{
	bool woken = true;

	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	sim_wake_all(mutex);
	if (sim_chance(sim_faults.spurious))
		sim_yield("a spurious wake-up");
	else
		woken = sim_block(cond, deadline_ns, "a condition");
	while (mutex->owner != 0)
		sim_block(mutex, CU_FOREVER, "a lock");
	mutex->owner = cu_thread_self();
	return woken;
}

void cu_cond_signal(struct cu_cond *cond)
{
	sim_wake_one(cond);
	cu_os_point();
}

void cu_cond_broadcast(struct cu_cond *cond)
{
	sim_wake_all(cond);
	cu_os_point();
}

/* ---- process ----------------------------------------------------------------------------------- */

pid_t cu_os_pid(void)
{
	return sim_process_current()->pid;
}

void cu_os_boot_id(char *to, size_t bytes)
{
	snprintf(to, bytes, "simulated");
}

int64_t cu_os_process_start(pid_t pid)
{
	const struct sim_process *process = sim_process_find(pid);

	return process ? process->start : -1;
}

int64_t cu_os_pid_space(void)
{
	return sim_process_current()->space;
}

void cu_os_host_name(char *to, size_t bytes)
{
	snprintf(to, bytes, "sim");
}

void cu_os_process_name(pid_t pid, char *to, size_t bytes)
{
	snprintf(to, bytes, "program%ld", (long)pid);
}

int cu_os_network_fs(const char *path)
{
	(void)path;
	return 0;
}

size_t cu_os_lock_holders(const struct cu_file_id *id, int64_t from, int64_t to, pid_t *pids,
	size_t most)
{
	(void)from;
	(void)to;
	return sim_vfs_holders(id, pids, most);
}

bool cu_os_locked_by_others(const struct cu_file_id *id, int64_t from, int64_t to, int *fd)
{
	pid_t pid;

	(void)from;
	(void)to;
	(void)fd;
	return sim_vfs_holders(id, &pid, 1) > 0;
}

uint64_t cu_os_random(void)
{
	return sim_random();
}
