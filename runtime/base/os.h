/* SPDX-License-Identifier: MIT */
/*
 * os.h - the seam to the operating system: clock, threads, locks, sleeping, files, watching.
 *
 * Everything in the runtime that waits, reads a clock or touches a file of ours goes through these
 * functions. os_posix.c implements them over libc and pthreads. A simulation links another
 * implementation of the same functions instead, and so runs the real code in one thread, in an order
 * and with faults that a seed decides. SQLite's own files go through SQLite's VFS, not through here.
 *
 * Time is monotonic, in nanoseconds (int64_t, from an arbitrary start). The wall clock is only for
 * what is shown to people.
 */
#ifndef CU_BASE_OS_H
#define CU_BASE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CU_NS_PER_MS INT64_C(1000000)
#define CU_NS_PER_S INT64_C(1000000000)
#define CU_FOREVER INT64_MAX /* a deadline that never comes */

/* ---- clock -------------------------------------------------------------------------------- */

int64_t cu_os_now_ns(void);
int64_t cu_os_wall_ms(void); /* Unix time; to be shown, never computed with */

/* Monotonic since boot, suspended time included; with the boot's id it is comparable between
 * processes of one machine. Leases use it. */
int64_t cu_os_boottime_ns(void);

/* Processor time that the calling thread has used, from an arbitrary start. A system call. */
int64_t cu_os_thread_ns(void);

void cu_os_sleep_ns(int64_t ns);

/* now + ns without overflow; CU_FOREVER stays CU_FOREVER. */
static inline int64_t cu_deadline(int64_t now_ns, int64_t ns)
{
	return ns >= CU_FOREVER - now_ns ? CU_FOREVER : now_ns + ns;
}

/* What counts as a wait of the time between two looks: of one in which nobody looked only so much, for the
 * process may have been stopped. */
static inline int64_t cu_waited_ns(int64_t looked_ns, int64_t now_ns, int64_t most_ns)
{
	return now_ns - looked_ns < most_ns ? now_ns - looked_ns : most_ns;
}

/* ---- threads ------------------------------------------------------------------------------ */

struct cu_thread {
	pthread_t handle;
	void (*main)(void *);
	void *argument; /* borrowed */
	bool started;
};

/* Starts main(argument) with all signals blocked. name: up to 15 bytes, shown by ps and gdb.
 * Returns 0 or an errno; *thread stays where it is until joined. */
int cu_thread_start(struct cu_thread *thread, const char *name, void (*main)(void *), void *argument);

/*
 * The calling thread sleeps most of the time, and somebody waits for what it does when it wakes: asks the
 * system to let it run at once beside one that computes, in return for short turns (Linux 6.12 or newer),
 * and for timers that are not late. Its share of the processor stays what it is. False: no longer.
 */
void cu_thread_be_prompt(bool prompt);

/* Waits for its end. Does nothing for one that was never started. */
void cu_thread_join(struct cu_thread *thread);

/* Names the calling thread among those alive: for owner checks. Never 0. */
uintptr_t cu_thread_self(void);

/* ---- locks -------------------------------------------------------------------------------- */

struct cu_mutex {
	pthread_mutex_t handle;
	uintptr_t owner; /* thread that holds it, 0 for none; written by the holder only */
};

int cu_mutex_init(struct cu_mutex *mutex);
void cu_mutex_finish(struct cu_mutex *mutex);
void cu_mutex_lock(struct cu_mutex *mutex);
void cu_mutex_unlock(struct cu_mutex *mutex);
void cu_mutex_check_held(struct cu_mutex *mutex); /* aborts unless the caller holds it */

struct cu_cond {
	pthread_cond_t handle;
};

int cu_cond_init(struct cu_cond *cond);
void cu_cond_finish(struct cu_cond *cond);
/* Returns true when woken (perhaps for nothing), false when the deadline has come. */
bool cu_cond_wait(struct cu_cond *cond, struct cu_mutex *mutex, int64_t deadline_ns);
void cu_cond_signal(struct cu_cond *cond);
void cu_cond_broadcast(struct cu_cond *cond);

/* A point at which a simulation may let another thread run; nothing in a real process. The ring and
 * other lock-free code call it before each step that another thread can see. */
#ifdef CU_SIMULATION
void cu_os_point(void);
#else
static inline void cu_os_point(void)
{
}
#endif

/* ---- files -------------------------------------------------------------------------------- */

/* What a file is, apart from its name. Two files are the same when all but size and mtime agree. */
struct cu_file_id {
	uint64_t device;
	uint64_t inode;
	int64_t birth_ns; /* 0 where the file system keeps none */
};

struct cu_file_stat {
	struct cu_file_id id;
	int64_t size;     /* bytes */
	int64_t mtime_ns; /* Unix time */
	uint32_t mode;    /* st_mode */
	uint32_t uid;
	uint32_t links;
};

#define CU_OPEN_READ 0u
#define CU_OPEN_APPEND 1u   /* write at the end, create when missing */
#define CU_OPEN_CREATE_NEW 2u /* with APPEND: fail with EEXIST when it is there */

/* All return 0 (or a count) on success and a negative errno on failure. EINTR is retried inside.
 * Open never blocks on a FIFO and never makes a terminal the controlling one. */
int cu_file_open(const char *path, unsigned flags); /* returns a descriptor */
void cu_file_close(int fd);
ssize_t cu_file_read_at(int fd, void *to, size_t bytes, int64_t offset);
ssize_t cu_file_write(int fd, const void *from, size_t bytes); /* may write less */

/* Reads up to `bytes`, and less than `least` only where the file ends: a single read may bring less than
 * there is, which is not the file's end. */
static inline ssize_t cu_file_read_least(
	int fd, void *to, size_t bytes, size_t least, int64_t offset)
{
	size_t done = 0;
	ssize_t n;

	do {
		n = cu_file_read_at(fd, (char *)to + done, bytes - done, offset + (int64_t)done);
		if (n > 0)
			done += (size_t)n;
	} while (n > 0 && done < least);
	return n < 0 ? n : (ssize_t)done;
}

int cu_file_sync(int fd);
int cu_file_truncate(int fd, int64_t size);
int cu_file_stat_fd(int fd, struct cu_file_stat *out);
int cu_file_stat_path(const char *path, struct cu_file_stat *out); /* follows links */
/* Takes the file for its descriptor alone, against all others who ask so: those of this process too.
 * -EAGAIN: another one has it. It is given back when the descriptor is closed. */
int cu_file_lock(int fd);
int cu_file_rename(const char *from, const char *to);
int cu_file_remove(const char *path);
/* Makes a new name durable, where the file system knows how to sync a folder. */
int cu_file_sync_folder(const char *path_in_folder);
/* Absolute path without links. -ENOENT when there is no such file, -ENOLINK for a link that leads
 * nowhere; otherwise a negative errno. */
int cu_file_real_path(const char *path, char *to, size_t bytes);
/* Makes a fresh folder under $TMPDIR or /tmp, for this user only. 0 or a negative errno. */
int cu_folder_make_temporary(char *path, size_t bytes);
/* Removes a folder and the files in it, not folders inside. */
void cu_folder_remove(const char *path);
bool cu_file_same(const struct cu_file_id *a, const struct cu_file_id *b);

/* ---- watching a folder -------------------------------------------------------------------- */

/*
 * Sleeps until something happens to a file, or to one in its folder whose name begins with the same
 * (that of a log, say), or somebody wakes it, or a deadline comes. A notice only says "look": the
 * watcher never relies on it, and falls back to looking at intervals where the system has no watches
 * left.
 */
struct cu_watch;

#define CU_WATCH_WOKEN 1u   /* cu_watch_wake was called */
#define CU_WATCH_CHANGED 2u /* such a file was written, made, moved or deleted */
#define CU_WATCH_LOST 4u    /* notices were lost, or the folder itself went away: look at all */

/* beside: NULL, or what a second file's name has behind `path` ("-wal"). Then only writes to these two are
 * notices, beside names that come and go, and writes to whatever else is in the folder cost nothing; else
 * those to any file of a like name are, and each write in the folder costs the waiting thread a wake-up.
 * The file need not be there. Nothing is watched before a cu_watch_wait has lasted some milliseconds;
 * that one says then that something may have changed. 0 or a negative errno: only without memory or
 * descriptors for the wake-up itself. */
int cu_watch_create(const char *path, const char *beside, struct cu_watch **out);
void cu_watch_destroy(struct cu_watch *watch);
/* Whether notices are working, or were not wanted yet; when not, the caller polls. Tries to watch again
 * when not. */
bool cu_watch_works(struct cu_watch *watch);
/* Looks again at what the names mean: another folder may have taken the folder's name, and when
 * `path` (a file in it) is a symbolic link, the file that it leads to is watched as well. Called by
 * the waiting thread. */
void cu_watch_renew(struct cu_watch *watch, const char *path);
/* One thread at a time. Returns CU_WATCH_... flags, 0 when the deadline came. */
unsigned cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns);
/* The same, but only cu_watch_wake ends it. Notices are kept for the next cu_watch_wait, or, after a
 * long rest, are not even taken: then it is as in the beginning. */
void cu_watch_rest(struct cu_watch *watch, int64_t deadline_ns);
/* Waits so long, or until woken, and takes the notices that have come by then: those of one commit are
 * several. Returns what they amount to. */
unsigned cu_watch_settle(struct cu_watch *watch, int64_t ns);
/* The waiting thread needs no more notices. To be called before other work that ends: taking leave of
 * the system may take it many milliseconds. */
void cu_watch_stop(struct cu_watch *watch);
/* Any thread, and signal handlers. */
void cu_watch_wake(struct cu_watch *watch);

/* ---- process ------------------------------------------------------------------------------ */

pid_t cu_os_pid(void);
/* Fills the machine's boot id, NUL-terminated; "" when unknown. */
void cu_os_boot_id(char *to, size_t bytes);
/* Start time of a process in clock ticks since boot, -1 when there is no such process, 0 when it cannot
 * be looked at (no descriptor is left). With the pid it names a process for good, since pids are used
 * again. */
int64_t cu_os_process_start(pid_t pid);
/* The name of a process's program as ps shows it, cut to fit; "" when there is none, or it is not
 * printable. */
void cu_os_process_name(pid_t pid, char *to, size_t bytes);
/* Names the set of processes that a pid is unique in (Linux: the pid namespace); 0 when unknown. Two
 * processes of one machine that differ in it cannot tell whether the other one lives. */
int64_t cu_os_pid_space(void);
/* Fills the machine's name, NUL-terminated, cut to fit. */
void cu_os_host_name(char *to, size_t bytes);
/* Other than 0: a network file system, where locks and notices cannot be relied on. path: absolute; of
 * a file that is missing its folder counts. */
int cu_os_network_fs(const char *path);
/*
 * Which other processes hold POSIX locks on a file, within bytes from..to: up to `most` distinct pids.
 * For messages only: it takes many milliseconds, and sees this machine's processes, those of the same
 * pid namespace by number (others count as 0). Returns how many, 0 also when it cannot be known.
 */
size_t cu_os_lock_holders(const struct cu_file_id *id, int64_t from, int64_t to, pid_t *pids,
	size_t most);
/*
 * Whether another process holds a POSIX lock on a file, within bytes from..to; in a microsecond. The file
 * is not opened, since closing it again would drop all locks that this process has on it: the question
 * goes through the descriptor by which it is open already, which is looked for once and remembered in *fd
 * (-1 before). For hints only: false also where it is not open, or cannot be known.
 */
bool cu_os_locked_by_others(const struct cu_file_id *id, int64_t from, int64_t to, int *fd);
/* Random bits, for jitter and ids. */
uint64_t cu_os_random(void);

#endif
