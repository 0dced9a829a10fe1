/* SPDX-License-Identifier: MIT */
#include "changelog_os.h"

#include "base/check.h"
#include "base/os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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
#define DESCRIPTORS_MAX 512
#define WATCHES_MAX 8
#define FOLLOWED "/pretended/log"

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

struct cu_watch {
	bool used, woken, changed;
};

struct fake_knobs fake_knobs;

static uint64_t state;
static int64_t now_ns;
static struct fiber fibers[FIBERS_MAX], outside = {.entered = true};
static struct fiber *current = &outside;
static struct cu_watch watches[WATCHES_MAX];
static struct fake_file *files, *named;
static struct fake_file *descriptors[DESCRIPTORS_MAX];

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

static bool chance(uint32_t one_in)
{
	return one_in != 0 && fake_dice(one_in) == 0;
}

void fake_pass(int64_t ns)
{
	now_ns += ns;
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

static void wake(const void *on)
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
	wake(current);
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

static void perhaps_yield(void)
{
	if (chance(fake_knobs.yield_of))
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

static void block(const void *on, int64_t deadline_ns)
{
	current->on = on;
	current->deadline_ns = deadline_ns;
	current->blocked = true;
	give_way();
	current->blocked = false;
}

void fake_rest(void)
{
	block(&outside, INT64_MAX);
}

void fake_rouse(void)
{
	wake(&outside);
}

void cu_os_sleep_ns(int64_t ns)
{
	block(NULL, now_ns + ns);
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
		block(f, INT64_MAX);
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
	perhaps_yield();
	while (mutex->owner != 0)
		block(mutex, INT64_MAX);
	mutex->owner = cu_thread_self();
}

void cu_mutex_unlock(struct cu_mutex *mutex)
{
	cu_mutex_check_held(mutex);
	mutex->owner = 0;
	wake(mutex);
	perhaps_yield();
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
	wake(mutex);
	block(cond, deadline_ns);
	while (mutex->owner != 0)
		block(mutex, INT64_MAX);
	mutex->owner = cu_thread_self();
	return now_ns < deadline_ns;
}

void cu_cond_broadcast(struct cu_cond *cond)
{
	wake(cond);
}

/* ---- the folder --------------------------------------------------------------------------- */

static void notice(void)
{
	for (struct cu_watch *w = watches; w < watches + WATCHES_MAX; w++) {
		if (!w->used || fake_knobs.no_watches || chance(fake_knobs.unseen_of))
			continue;
		w->changed = true;
		wake(w);
	}
}

static void let_go(struct fake_file *file)
{
	struct fake_file **at = &files;

	if (file->opened > 0 || file->names > 0)
		return;
	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	free(file->bytes);
	free(file);
}

struct fake_file *fake_file_new(void)
{
	struct fake_file *file = calloc(1, sizeof(*file));
	bool taken = true;

	CU_CHECK(file);
	while (taken) {
		file->inode++;
		taken = false;
		for (const struct fake_file *f = files; f; f = f->next)
			taken = taken || f->inode == file->inode;
	}
	file->birth_ns = fake_knobs.births ? cu_os_now_ns() : 0;
	file->names = 1;
	file->next = files;
	files = file;
	return file;
}

struct fake_file *fake_named(void)
{
	return named;
}

void fake_name(struct fake_file *file, bool keep)
{
	struct fake_file *before = named;

	named = file;
	if (before && !keep) {
		before->names--;
		let_go(before);
	}
	notice();
}

void fake_write(struct fake_file *file, size_t offset, const char *bytes, size_t n)
{
	size_t end;

	CU_CHECK(file->fill == 0 || offset >= file->fill_at + file->fill);
	file->size -= file->fill;
	offset -= file->fill;
	end = offset + n;
	if (end > file->capacity) {
		file->capacity = end < 2048 ? 4096 : 2 * end;
		file->bytes = realloc(file->bytes, file->capacity);
		CU_CHECK(file->bytes);
	}
	if (offset > file->size)
		memset(file->bytes + file->size, 0, offset - file->size);
	memcpy(file->bytes + offset, bytes, n);
	if (end > file->size)
		file->size = end;
	file->size += file->fill;
	notice();
}

void fake_fill(struct fake_file *file, size_t n)
{
	CU_CHECK(file->fill == 0);
	file->fill_at = file->size;
	file->fill = n;
	file->size += n;
	notice();
}

void fake_truncate(struct fake_file *file, size_t size)
{
	CU_CHECK(file->fill == 0);
	file->size = size;
	notice();
}

void fake_hold(struct fake_file *file)
{
	file->opened++;
}

void fake_drop(struct fake_file *file)
{
	file->opened--;
	let_go(file);
}

/* ---- files, as the reader sees them -------------------------------------------------------- */

static uint64_t calls;

uint64_t fake_calls(void)
{
	return calls;
}

/* 0, or what a call fails with. */
static int trouble(void)
{
	static const int errors[] = {-EIO, -EACCES, -EMFILE};

	calls++;
	perhaps_yield();
	return chance(fake_knobs.fault_of) ? errors[fake_dice(3)] : 0;
}

static bool is_turn(uint32_t *in)
{
	return *in != 0 && --*in == 0;
}

int cu_file_open(const char *path, unsigned flags)
{
	int rc = trouble();

	CU_CHECK(flags == CU_OPEN_READ && strcmp(path, FOLLOWED) == 0);
	if (rc != 0)
		return rc;
	if (!named)
		return -ENOENT;
	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
		if (descriptors[fd])
			continue;
		descriptors[fd] = named;
		named->opened++;
		return fd;
	}
	return -EMFILE;
}

void cu_file_close(int fd)
{
	struct fake_file *file = descriptors[fd];

	CU_CHECK(file && file->opened > 0);
	descriptors[fd] = NULL;
	file->opened--;
	let_go(file);
}

static void copy_out(const struct fake_file *file, char *to, size_t bytes, size_t at)
{
	size_t end = file->fill_at + file->fill;

	while (bytes > 0) {
		bool filled = at >= file->fill_at && at < end;
		size_t n = filled ? end - at : at < file->fill_at ? file->fill_at - at : bytes;

		if (n > bytes)
			n = bytes;
		if (filled)
			memset(to, 'x', n);
		else
			memcpy(to, file->bytes + (at < end ? at : at - file->fill), n);
		to += n;
		at += n;
		bytes -= n;
	}
}

ssize_t cu_file_read_at(int fd, void *to, size_t bytes, int64_t offset)
{
	const struct fake_file *file = descriptors[fd];
	int rc = trouble();

	CU_CHECK(file && offset >= 0);
	if (rc != 0 || fake_knobs.unreadable || is_turn(&fake_knobs.fail_in))
		return -EIO;
	if ((size_t)offset >= file->size)
		return 0;
	if (bytes > file->size - (size_t)offset)
		bytes = file->size - (size_t)offset;
	if (is_turn(&fake_knobs.short_in))
		bytes = 1;
	else if (chance(fake_knobs.short_of))
		bytes = 1 + fake_dice((uint32_t)bytes);
	copy_out(file, to, bytes, (size_t)offset);
	return (ssize_t)bytes;
}

static void fill_stat(const struct fake_file *file, struct cu_file_stat *out)
{
	*out = (struct cu_file_stat){
		.id = {.device = 1, .inode = file->inode, .birth_ns = file->birth_ns},
		.size = (int64_t)file->size,
		.mtime_ns = now_ns,
		.mode = S_IFREG | 0644,
		.links = file->names,
	};
}

int cu_file_stat_fd(int fd, struct cu_file_stat *out)
{
	int rc = trouble();

	if (rc == 0)
		fill_stat(descriptors[fd], out);
	return rc;
}

int cu_file_stat_path(const char *path, struct cu_file_stat *out)
{
	int rc = trouble();

	CU_CHECK(strcmp(path, FOLLOWED) == 0);
	if (rc == 0 && !named)
		rc = -ENOENT;
	if (rc == 0)
		fill_stat(named, out);
	return rc;
}

bool cu_file_same(const struct cu_file_id *a, const struct cu_file_id *b)
{
	return a->device == b->device && a->inode == b->inode && a->birth_ns == b->birth_ns;
}

/* ---- watching ----------------------------------------------------------------------------- */

struct cu_watch *cu_watch_create(const char *folder, const char *prefix)
{
	struct cu_watch *w = watches;

	(void)folder;
	(void)prefix;
	while (w->used)
		w++;
	CU_CHECK(w < watches + WATCHES_MAX);
	*w = (struct cu_watch){.used = true};
	return w;
}

void cu_watch_destroy(struct cu_watch *watch)
{
	if (watch)
		watch->used = false;
}

bool cu_watch_works(struct cu_watch *watch)
{
	(void)watch;
	return !fake_knobs.no_watches;
}

void cu_watch_renew(struct cu_watch *watch, const char *path)
{
	(void)watch;
	(void)path;
}

unsigned cu_watch_wait(struct cu_watch *watch, int64_t deadline_ns)
{
	unsigned flags;

	if (!watch->woken && !watch->changed)
		block(watch, deadline_ns);
	flags = (watch->woken ? CU_WATCH_WOKEN : 0) | (watch->changed ? CU_WATCH_CHANGED : 0);
	watch->woken = watch->changed = false;
	return flags;
}

void cu_watch_wake(struct cu_watch *watch)
{
	watch->woken = true;
	wake(watch);
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
	int n_descriptors = 0, n_fibers = 0, n_watches = 0;

	for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
		n_descriptors += descriptors[fd] != NULL;
	for (int i = 0; i < FIBERS_MAX; i++) {
		n_fibers += fibers[i].used && !fibers[i].ended;
		fibers[i].used = false;
	}
	for (int i = 0; i < WATCHES_MAX; i++)
		n_watches += watches[i].used;
	while (files) {
		struct fake_file *file = files;

		files = file->next;
		free(file->bytes);
		free(file);
	}
	named = NULL;
	memset(descriptors, 0, sizeof(descriptors));
	memset(watches, 0, sizeof(watches));
	left[0] = '\0';
	if (n_descriptors || n_fibers || n_watches)
		snprintf(left, sizeof(left),
			"%d descriptors, %d threads and %d watches are left behind", n_descriptors,
			n_fibers, n_watches);
	return left;
}
