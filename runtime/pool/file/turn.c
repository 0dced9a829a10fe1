/* SPDX-License-Identifier: MIT */
/*
 * turn.c - a follower's turn to write its results database: the gate for our own threads, manners
 * towards other processes.
 *
 * Commits of other processes are noticed by the write-ahead log's size and time of change, taken when
 * our last turn ended: whoever has written since was not one of ours, since only who has the turn
 * writes. The file is only asked for its state, never opened.
 *
 * Many consumers with little to do each: waking another thread for each of them, whose connection then
 * has to read again what this one has just written, would cost more than what they do. So a turn that
 * was short stays with its worker for the follower that is run next, if that has rows in hand and the
 * same file, as long as all of them together have not had it for long.
 */
#include "pool/runtime.h"

#include "base/check.h"

/* In a gap the log is looked at this often. */
#define LOOK_NS INT64_C(150000)

/* Who has held the lock so long, and has more to do, has a backlog. */
#define BACKLOG_NS (CU_MANNERS_HOLD_NS / 2)

/* After this long a turn is given to who is in line: against it the change costs little. */
#define SHORT_TURN_NS (2 * CU_NS_PER_MS)

/* Bytes of the -shm file that SQLite's WAL mode locks (walformat: 120 to 127), and the one that every
 * process holds that has the database open (UNIX_SHM_DMS: 128). */
#define SHM_FIRST_LOCK 120
#define SHM_OPEN_LOCK 128

static void look(const struct cu_file *file, struct cu_file_stat *wal)
{
	if (cu_file_stat_path(file->wal_path, wal) != 0)
		*wal = (struct cu_file_stat){0};
}

static bool changed(const struct cu_file *file, struct cu_file_stat *now)
{
	look(file, now);
	return now->mtime_ns != file->wal.mtime_ns || now->size != file->wal.size;
}

/* Connections of the program that embeds us cannot be told from ours: it says when it has none. */
static bool others_open(struct cu_file *file)
{
	struct cu_file_stat shm;

	if (!(file->runtime->options.flags & CATCHUP_FLAG_ALONE))
		return true;
	return cu_file_stat_path(file->shm_path, &shm) == 0 &&
		cu_os_locked_by_others(&shm.id, SHM_FIRST_LOCK, SHM_OPEN_LOCK, &file->shm_fd);
}

static void begin_turn(struct cu_follower *f, bool inherited)
{
	struct cu_file *file = f->file;
	int64_t now_ns = cu_os_now_ns();
	struct cu_file_stat now;

	f->has_turn = true;
	if (!inherited)
		f->worker->turn_since_ns = now_ns;
	cu_manners_begin(&file->manners, now_ns, changed(file, &now));
}

/* Takes what was kept for it. What was kept for another one is given up: nobody waits with a turn. */
static bool inherit(struct cu_follower *f)
{
	cu_turn_pass_others(f);
	if (!f->worker->heir)
		return false;
	f->worker->heir = NULL;
	begin_turn(f, true);
	return true;
}

/* The turn is in hand, and kept if there is room in the log: those who stood in front in the line may
 * have taken what there was. */
static bool may_write(struct cu_file *file)
{
	if (!cu_checkpoint_is_behind(file))
		return true;
	cu_gate_leave(&file->gate);
	return false;
}

static bool enter(struct cu_file *file)
{
	cu_gate_enter(&file->gate);
	return may_write(file);
}

void cu_turn_take(struct cu_follower *f)
{
	if (f->has_turn || inherit(f))
		return;
	do
		cu_checkpoint_wait(f->file);
	while (!enter(f->file));
	begin_turn(f, false);
}

bool cu_turn_try(struct cu_follower *f)
{
	if (f->has_turn || inherit(f))
		return true;
	if (!cu_gate_try(&f->file->gate) || !may_write(f->file))
		return false;
	begin_turn(f, false);
	return true;
}

int64_t cu_turn_hold_ns(struct cu_follower *f)
{
	CU_CHECK(f->has_turn);
	return cu_manners_hold_ns(
		&f->file->manners, (int64_t)f->runtime->options.batch_ms * CU_NS_PER_MS);
}

/* Leaves the write lock free while the turn stays here, so that none of ours takes it. */
static void rest(struct cu_follower *f, int64_t rest_ns)
{
	struct cu_file *file = f->file;
	int64_t until_ns = cu_deadline(cu_os_now_ns(), rest_ns);
	struct cu_file_stat now = file->wal;
	bool used = false;

	while (!used && cu_os_now_ns() < until_ns && !atomic_load(&f->runtime->stopping)) {
		cu_os_sleep_ns(LOOK_NS);
		used = changed(file, &now);
	}
	file->wal = now;
	cu_manners_rested(&file->manners, cu_os_now_ns(), used);
}

/* Whether one of ours takes the lock again at once: this one, as far as is known, or who is in line. */
static bool goes_on(struct cu_follower *f)
{
	return cu_follower_newest(f) > f->plan.goal || cu_gate_has_line(&f->file->gate);
}

/* Who its worker runs next, if that one takes a turn at once; NULL: it does not, or this one was long. */
static struct cu_follower *heir_of(const struct cu_follower *f)
{
	const struct cu_worker *worker = f->worker;
	struct cu_follower *next;
	size_t i = f->place + 1;

	while (i < worker->n_followers && !cu_worker_is_called(worker, i))
		i++;
	next = i < worker->n_followers ? worker->followers[i] : NULL;
	/* Who reads through a query of its own, or waits for map threads, may need long before it begins. */
	if (!next || next->file != f->file || next->definition->next || next->mapper ||
		next->plan.state != CU_STATE_WAITING || (!next->holds && cu_ring_count(next->ring) == 0))
		return NULL;
	if (cu_checkpoint_is_behind(f->file) || atomic_load(&f->runtime->stopping) ||
		cu_os_now_ns() - worker->turn_since_ns >= SHORT_TURN_NS)
		return NULL;
	return next;
}

/* Also a lease that is renewed fills the log, and where no data comes nothing else does. After an abort
 * what is known of the log is old. */
static void note_log(struct cu_follower *f)
{
	if (!f->writer || !f->writer->logged)
		return;
	f->writer->logged = false;
	cu_checkpoint_note(f->file, f->writer->log_bytes);
}

void cu_turn_give(struct cu_follower *f, int64_t held_ns)
{
	struct cu_file *file = f->file;
	int64_t rest_ns = 0;
	bool more;

	if (!f->has_turn)
		return;
	look(file, &file->wal);
	more = goes_on(f);
	if (held_ns > 0) {
		bool fills_it = file->manners.met && more && held_ns >= BACKLOG_NS;

		cu_checkpoint_share(file, fills_it ? f->writer->page_bytes : 0);
	}
	note_log(f);
	if (more)
		rest_ns = cu_manners_rest_ns(&file->manners, cu_os_now_ns(), held_ns,
			cu_manners_asks(&file->manners, held_ns) && others_open(file));
	else
		cu_manners_leave(&file->manners, cu_os_now_ns(), held_ns);
	if (rest_ns > 0)
		rest(f, rest_ns);
	/* After anything but a commit its own run goes on. */
	f->worker->heir = held_ns > 0 ? heir_of(f) : NULL;
	f->has_turn = false;
	if (!f->worker->heir)
		cu_gate_leave(&file->gate);
}

void cu_turn_pass_others(struct cu_follower *f)
{
	struct cu_follower *heir = f->worker->heir;

	if (heir && heir != f)
		cu_turn_pass(heir);
}

void cu_turn_pass(struct cu_follower *f)
{
	if (f->worker->heir != f)
		return;
	f->worker->heir = NULL;
	cu_gate_leave(&f->file->gate);
}
