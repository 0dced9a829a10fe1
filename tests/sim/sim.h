/* SPDX-License-Identifier: MIT */
/*
 * sim.h - one thread, many fibers: the machine that a simulated story runs on.
 *
 * The runtime's threads are fibers of this process, scheduled by a seeded generator; time is a number
 * that moves on when all of them sleep. Everything that decides anything is drawn from the seed, so a
 * seed is a whole history: the same one runs again, call for call.
 *
 * Fibers belong to simulated processes. A process can be stopped for a while (SIGSTOP) or killed: its
 * fibers never run again, its files are closed as the kernel would, its memory is left.
 *
 * Fibers switch only inside calls declared here, in os.h, and where SQLite writes and syncs; never
 * while SQLite holds a lock of its own.
 */
#ifndef SIM_H
#define SIM_H

#include "base/os.h"

#include <catchup/catchup.h>
#include <sqlite3.h>

/* ---- chance ------------------------------------------------------------------------------------ */

void sim_random_seed(uint64_t seed);
uint64_t sim_random(void);
/* 0 to n - 1; 0 for n = 0. */
uint64_t sim_below(uint64_t n);
int64_t sim_between(int64_t least, int64_t most);
bool sim_chance(unsigned per_million);

/* How often what goes wrong, in a million; all 0 when the world behaves. */
struct sim_faults {
	unsigned thread;        /* a thread cannot be started */
	unsigned spurious;      /* a condition wakes for nothing */
	unsigned oversleep;     /* a sleep takes much longer */
	unsigned notice_lost;   /* a folder notice never comes */
	unsigned notice_late;   /* it comes later */
	unsigned notice_flood;  /* the queue of notices overflows */
	unsigned watch_broken;  /* the folder cannot be watched */
	unsigned suspend;       /* the machine is suspended: only the boot clock goes on */
	unsigned short_write;   /* a write of ours goes in part */
	unsigned file;          /* EIO, ENOSPC, EMFILE from files of ours */
	unsigned database;      /* SQLITE_IOERR, SQLITE_FULL from SQLite's files */
};

struct sim_knobs {
	unsigned point;         /* per million: a point lets others run */
	unsigned timer;         /* per million: the next deadline comes early, while others run */
	int64_t tick_ns;        /* most that a step takes */
	int order;              /* enum sim_order */
};

enum sim_order {
	SIM_ORDER_ANY,      /* any that can run */
	SIM_ORDER_STICKY,   /* the same one on, mostly */
	SIM_ORDER_PRIORITY, /* the one of the highest priority, which changes now and then */
	SIM_ORDERS,
};

/* What happened, over all seeds of a run: a story without events proves nothing. */
struct sim_counts {
	uint64_t seeds, switches, fibers, kills, stops, faults, notices, rows, parked, lost_leases,
		events, resyncs, rotations, starts, checkpoints;
};

extern struct sim_faults sim_faults;
extern struct sim_knobs sim_knobs;
extern struct sim_counts *sim_counts;
extern bool sim_tracing;

/* ---- processes and fibers ---------------------------------------------------------------------- */

struct sim_fiber;

struct sim_process {
	struct sim_process *next;
	char name[40];
	pid_t pid;
	int64_t start;
	int64_t space;           /* of pids */
	int64_t stopped_until;   /* 0: runs */
	uint32_t doomed;         /* dies at its so manieth write or sync; 0: does not */
	bool files_fail;         /* its files of ours do, as the knobs say */
	bool database_fails;     /* so do SQLite's */
	bool dead;
};

/* Runs main as the first fiber of the first process. main ends the real process: exit, sim_fail. */
_Noreturn void sim_run(uint64_t seed, void (*main)(void *), void *argument);

struct sim_process *sim_process_create(const char *name);
struct sim_process *sim_process_current(void);
struct sim_process *sim_process_find(pid_t pid);
/* Does not return when it is the caller's own. */
void sim_process_kill(struct sim_process *process);
unsigned sim_process_kills(void); /* so far */
void sim_process_stop(struct sim_process *process, int64_t ns);
/* Before a step that a crash may cut off: kills the caller's process when it is doomed. */
void sim_process_step(void);

struct sim_fiber *sim_fiber_start(
	struct sim_process *process, const char *name, void (*main)(void *), void *argument);
struct sim_fiber *sim_fiber_current(void);
bool sim_fiber_ended(const struct sim_fiber *fiber);

int64_t sim_now_ns(void);
/* What of it passed while the caller ran. */
int64_t sim_fiber_used_ns(void);
void sim_tick(void);
/* The machine sleeps: only the boot clock goes on. */
void sim_suspend(int64_t ns);
/* What a suspended machine adds to the boot clock. */
int64_t sim_boot_ns(void);
/* Lets others run, perhaps. */
void sim_yield(const char *where);
/* Sleeps on an address until woken (true) or the deadline comes. */
bool sim_block(const void *on, int64_t deadline_ns, const char *where);
void sim_wake_all(const void *on);
void sim_wake_one(const void *on);
void sim_sleep(int64_t ns, const char *where);

/* Ends the process: the seed has failed. Says who waits where. */
_Noreturn void sim_fail(const char *fmt, ...) CATCHUP_PRINTF(1, 2);
void sim_trace(const char *fmt, ...) CATCHUP_PRINTF(1, 2);
#define SIM_TRACE(...) ((void)(sim_tracing && (sim_trace(__VA_ARGS__), 0)))
#define SIM_CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))

/* ---- files (sim_file.c) and SQLite's (sim_vfs.c) ------------------------------------------------ */

/* Something was done to a file: watches hear of it, and its time of change is now. */
void sim_file_changed(const char *path);
/* The folder at a path is another one now. */
void sim_folder_replaced(const char *path);
/* Closes what a process has left open. */
void sim_file_close_all(struct sim_process *process);

/* Where SQLite takes its memory (sim_memory.c). Before it is initialised. */
void sim_memory_install(void);
/* Puts itself before SQLite's own VFS. Once in a process. */
void sim_vfs_install(void);
/* Has SQLite's own VFS work on the story's disk (sim_calls.c). */
void sim_calls_install(sqlite3_vfs *vfs);
void sim_vfs_close_all(struct sim_process *process);
/* Which processes but the caller's have a database's shared memory open. */
size_t sim_vfs_holders(const struct cu_file_id *shm, pid_t *pids, size_t most);

#endif
