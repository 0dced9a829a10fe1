/* SPDX-License-Identifier: MIT */
#include "changelog/follow.h"

#include "base/check.h"
#include "base/error.h"
#include "changelog/decide.h"
#include "changelog/open.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAFETY_NS (1000 * CU_NS_PER_MS)  /* looks at least this often */
#define POLL_NS (250 * CU_NS_PER_MS)     /* where notices do not work or would not come, */
#define POLL_FIRST_NS CU_NS_PER_MS       /* and at first, doubled each time: a rotation is short */
/* When notices have come upon each other so many times, a writer is busy: taking a breath before each
 * look then brings many lines at once, and leaves the processor to those who use them. */
#define BUSY_LOOKS 16
#define BUSY_NS (100 * INT64_C(1000))
#define PATIENCE_NS (200 * CU_NS_PER_MS) /* for the last line of a file that was rotated away */

void cu_log_file_release(struct cu_log_file *file)
{
	if (!file || atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) > 1)
		return;
	cu_file_close(file->fd);
	free(file);
}

/* Opens what the name means now. Returns NULL with *error filled. */
struct cu_log_file *cu_follow_open_file(struct catchup_changelog *c, struct cu_file_stat *stat,
	struct catchup_error *error)
{
	struct cu_log_file *file = malloc(sizeof(*file));

	if (!file) {
		cu_error_nomem(error);
		return NULL;
	}
	if (cu_open_read(c->path, (const char *const *)c->databases, &file->fd, stat, error) !=
		CATCHUP_OK) {
		free(file);
		return NULL;
	}
	file->id = stat->id;
	atomic_init(&file->refs, 1);
	return file;
}

/* ---- generations -------------------------------------------------------------------------- */

static struct cu_generation *newest(struct catchup_changelog *c)
{
	return &c->generations[c->n_generations - 1];
}

/* Forgets the oldest generation. */
static void drop_oldest(struct catchup_changelog *c)
{
	CU_CHECK(c->current > 0);
	cu_log_file_release(c->generations[0].file);
	c->n_generations--;
	c->current--;
	memmove(&c->generations[0], &c->generations[1],
		c->n_generations * sizeof(c->generations[0]));
}

/* Forgets what nobody has to read any more. Only the reader changes the generations, so it may look
 * at them without the lock. */
static void prune(struct catchup_changelog *c)
{
	uint64_t needed = c->generations[c->current].number;

	cu_mutex_check_held(&c->mu);
	c->prunable = false;
	for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next)
		if (sub->reading < needed)
			needed = sub->reading;
	while (c->generations[0].number < needed)
		drop_oldest(c);
}

/* Takes the reference over. A subscriber that still needs the oldest of too many loses it, and
 * finds out by the sequence. */
void cu_follow_append(struct catchup_changelog *c, struct cu_log_file *file)
{
	uint64_t number = c->n_generations ? newest(c)->number + 1 : 1;

	if (c->n_generations == CU_FOLLOW_GENERATIONS_MAX)
		drop_oldest(c);
	c->generations[c->n_generations++] =
		(struct cu_generation){.file = file, .number = number, .end = -1};
}

/* Keeps how the current generation begins: whole lines, for an unfinished one may be taken back. */
void cu_follow_keep_head(struct catchup_changelog *c)
{
	struct cu_head *head = &c->generations[c->current].head;
	size_t n = c->split.n_head;

	if ((int64_t)n > c->split.line_at)
		n = (size_t)c->split.line_at;
	if (n <= head->n)
		return;
	memcpy(head->bytes, c->split.head, n);
	head->n = n;
}

static void wake_subscribers(struct catchup_changelog *c)
{
	for (struct cu_subscriber *sub = c->subscribers; sub; sub = sub->next)
		cu_park_wake(&sub->feed.park);
}

/* Closes the current generation where it is read to, and goes on at the start of the next. */
static void advance(struct catchup_changelog *c, bool cut)
{
	int rc;

	cu_mutex_check_held(&c->mu);
	for (struct cu_subscriber *sub = c->subscribers; cut && sub; sub = sub->next)
		sub->cut = sub->join;
	c->generations[c->current].end = c->split.line_at;
	c->generations[c->current].cut = cut;
	c->current++;
	CU_CHECK(c->current < c->n_generations);
	c->order.crossed = true;
	prune(c);
	/* At offset 0 nothing is read, and the buffer is there. */
	rc = cu_split_seek(&c->split, c->generations[c->current].file->fd, 0);
	CU_CHECK(rc == 0);
	wake_subscribers(c);
}

/* ---- looking ------------------------------------------------------------------------------ */

/* Trouble is told once, until it has gone or changed. CATCHUP_OK: there is none. */
static void set_trouble(struct catchup_changelog *c, const struct catchup_error *error)
{
	bool is = error->code != CATCHUP_OK;
	bool was = atomic_exchange(&c->in_trouble, is);
	bool news = is && (!was || strcmp(c->trouble.message, error->message) != 0);

	if (!news)
		return;
	cu_mutex_lock(&c->mu);
	c->trouble = *error;
	atomic_fetch_add(&c->troubles, 1);
	wake_subscribers(c);
	cu_mutex_unlock(&c->mu);
}

/* Looks what the name means now and opens a file that is new. *error: why it cannot, else as it
 * was. */
static void discover(struct catchup_changelog *c, struct catchup_error *error)
{
	struct cu_file_stat stat;
	struct cu_log_file *file;
	struct catchup_error why = {0};
	int rc = cu_file_stat_path(c->path, &stat);

	c->missing = rc == -ENOENT || rc == -ENOTDIR;
	if (c->missing || (rc == 0 && cu_file_same(&stat.id, &newest(c)->file->id)))
		return;
	if (rc == 0 && atomic_load(&c->in_trouble) && cu_file_same(&stat.id, &c->refused)) {
		*error = c->trouble;
		return;
	}
	if (c->n_generations == CU_FOLLOW_GENERATIONS_MAX && c->current == 0)
		return; /* first read what is there */
	file = cu_follow_open_file(c, &stat, &why);
	if (!file) {
		c->missing = why.detail == ENOENT;
		if (c->missing)
			return;
		/* A file that is no changelog is not opened again; one that could not be opened
		 * is, for that may pass. */
		c->refused = why.code == CATCHUP_IO && why.detail == 0 ? stat.id
								      : (struct cu_file_id){0};
		*error = why;
		return;
	}
	if (cu_file_same(&file->id, &newest(c)->file->id)) {
		cu_log_file_release(file);
		return;
	}
	cu_mutex_lock(&c->mu);
	cu_follow_append(c, file);
	cu_mutex_unlock(&c->mu);
	cu_watch_renew(c->watch, c->path);
}

/* Whether the file after the current one holds anything. */
static bool newer_written(const struct catchup_changelog *c)
{
	struct cu_file_stat stat;

	return c->current + 2 < c->n_generations ||
	       cu_file_stat_fd(c->generations[c->current + 1].file->fd, &stat) != 0 ||
	       stat.size > 0;
}

/* ---- the reader thread -------------------------------------------------------------------- */

/* What the reader remembers between two looks at the same file. */
struct looking {
	bool changed;        /* the file was found truncated, or written over */
	bool last_look;      /* the file after this one was seen to hold bytes */
	int64_t patience_ns; /* the pending line's deadline, 0 while it has none */
	int64_t poll_ns;     /* the next pause where notices do not work */
	int64_t slept_ns;    /* when the last sleep ended */
	int busy;            /* looks that have followed upon each other without a pause */
};

static enum cu_step look(struct catchup_changelog *c, struct looking *looking)
{
	int fd = c->generations[c->current].file->fd;
	ssize_t n = cu_split_read(&c->split, fd, INT64_MAX);
	/* A short read has come to the end; what is written after it gives a notice. */
	struct cu_facts facts = {
		.more = n >= CU_SPLIT_FULL_READ_BYTES, .changed = n == CU_SPLIT_CHANGED};
	struct catchup_error error = {0};

	cu_mutex_lock(&c->mu);
	if (c->prunable)
		prune(c);
	if (c->unsaid)
		cu_deliver_pending(c);
	if (n > 0) {
		cu_deliver_buffer(c);
		cu_follow_keep_head(c);
	}
	cu_mutex_unlock(&c->mu);
	if (n > 0) {
		looking->patience_ns = 0;
	} else if (facts.changed) {
		int intact = cu_split_take_back(&c->split, fd);

		/* Where no sequence is known yet, more may be gone than the pending line, and none
		 * that comes would show it. */
		facts.line_intact = intact > 0 && (c->split.line_at > 0 || c->order.last >= 0);
		/* What cannot be read now is looked at again, not taken for truncated. */
		if (intact < 0) {
			facts.changed = false;
			n = intact;
		}
	}
	discover(c, &error);
	if (n < 0 && !facts.changed)
		cu_error_os(&error, (int)n, "changelog '%s'", c->path);
	set_trouble(c, &error);
	if (n < 0 && !facts.changed)
		return CU_STEP_SLEEP;
	facts.pending = cu_split_pending(&c->split);
	facts.newer = c->current + 1 < c->n_generations;
	facts.drained = looking->last_look && n == 0;
	facts.newer_written = facts.newer && (looking->last_look || newer_written(c));
	facts.patience_over =
		looking->patience_ns != 0 && cu_os_now_ns() >= looking->patience_ns;
	looking->changed = facts.changed;
	if (facts.newer_written)
		looking->last_look = true;
	return cu_decide(&facts);
}

static void sleep_until_notice(struct catchup_changelog *c, struct looking *looking)
{
	bool notices = cu_watch_works(c->watch) && !c->missing && !atomic_load(&c->in_trouble);
	int64_t until = cu_os_now_ns();

	if (notices) {
		until += SAFETY_NS;
		looking->poll_ns = POLL_FIRST_NS;
	} else {
		until += looking->poll_ns;
		looking->poll_ns = looking->poll_ns < POLL_NS / 2 ? 2 * looking->poll_ns : POLL_NS;
	}
	if (looking->patience_ns != 0 && looking->patience_ns < until)
		until = looking->patience_ns;
	if (cu_os_now_ns() - looking->slept_ns > BUSY_NS)
		looking->busy = 0;
	else if (looking->busy < BUSY_LOOKS)
		looking->busy++;
	else
		cu_os_sleep_ns(BUSY_NS);
	cu_watch_wait(c->watch, until);
	looking->slept_ns = cu_os_now_ns();
}

/* The look that began when so many were wanted has come to the end of all there is. */
static void answer(struct catchup_changelog *c, uint64_t wanted)
{
	if (atomic_load(&c->in_trouble) || atomic_load(&c->looks_done) == wanted)
		return;
	cu_mutex_lock(&c->mu);
	atomic_store(&c->looks_done, wanted);
	wake_subscribers(c);
	cu_mutex_unlock(&c->mu);
}

void cu_follow_main(void *argument)
{
	struct catchup_changelog *c = argument;
	struct looking looking = {.poll_ns = POLL_FIRST_NS};

	while (!atomic_load(&c->stop)) {
		uint64_t wanted = atomic_load(&c->looks_wanted);

		switch (look(c, &looking)) {
		case CU_STEP_READ:
		case CU_STEP_TAKE_BACK:
			break;
		case CU_STEP_SLEEP:
			answer(c, wanted);
			sleep_until_notice(c, &looking);
			break;
		case CU_STEP_WAIT_END:
			if (looking.patience_ns == 0)
				looking.patience_ns = cu_os_now_ns() + PATIENCE_NS;
			sleep_until_notice(c, &looking);
			break;
		case CU_STEP_RESTART:
			cu_mutex_lock(&c->mu);
			cu_follow_append(c, cu_log_file_retain(c->generations[c->current].file));
			advance(c, true);
			cu_mutex_unlock(&c->mu);
			looking = (struct looking){.poll_ns = POLL_FIRST_NS};
			break;
		case CU_STEP_ADVANCE:
			cu_mutex_lock(&c->mu);
			cu_deliver_end(c);
			advance(c, looking.changed);
			cu_mutex_unlock(&c->mu);
			looking = (struct looking){.poll_ns = POLL_FIRST_NS};
			break;
		}
	}
}
