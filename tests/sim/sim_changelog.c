/* SPDX-License-Identifier: MIT */
/*
 * sim_changelog.c - who changes `truth` and writes events about it, with rotation of every kind and
 * crashes; and readers, which must get every event in order or be told that they did not.
 */
#include "sim_disk.h"
#include "sim_story.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRUTH_ROWS 12
#define FLUSH_MOST 5

/* Between two rotations that all are expected to follow: above what a follower sleeps at most. */
#define GENTLE_NS (1500 * CU_NS_PER_MS)

/* ---- writing ----------------------------------------------------------------------------------- */

static struct catchup_changelog_writer *open_writer(int64_t after)
{
	const struct catchup_changelog_writer_options options = {
		.size = sizeof(options),
		.path = story.changelog,
		.rotate_bytes = !story.gentle && sim_below(3) ? 4096 : 0,
		.keep = (uint32_t)sim_below(3),
		.sync = (uint32_t)sim_below(2),
		.after_sequence = after,
	};
	struct catchup_changelog_writer *writer;
	struct catchup_error error;

	while (catchup_changelog_writer_open(&options, &writer, &error) != CATCHUP_OK) {
		SIM_TRACE("the writer cannot open: %s", error.message);
		sim_sleep(20 * CU_NS_PER_MS, "the writer, for its file");
	}
	return writer;
}

static void note_event(int64_t sequence, int64_t id, bool other)
{
	if ((size_t)sequence >= story.n_events) {
		size_t n = (size_t)sequence + 1;

		story.events = realloc(story.events, (n + 256) * sizeof(*story.events));
		SIM_CHECK(story.events, "no memory");
		story.n_events = n;
	}
	story.events[sequence] = (struct story_event){id, other};
}

static void append(struct catchup_changelog_writer *writer, int64_t id, bool other)
{
	const struct catchup_key key = {.name = "id", .type = "int", .kind = CATCHUP_KEY_INT,
		.integer = id};
	struct catchup_error error;
	int64_t sequence;

	SIM_CHECK(catchup_changelog_writer_append(writer, other ? "other" : "fam", "truth", &key, 1,
			  &sequence, &error) == CATCHUP_OK,
		"the writer: %s", error.message);
	note_event(sequence, id, other);
}

/* Opens the file once more, since a sync that failed is final, and appends what was not answered for. */
static void begin_again(struct catchup_changelog_writer **writer)
{
	catchup_changelog_writer_close(*writer);
	*writer = open_writer((int64_t)story.n_events - 1);
	for (size_t i = 0; i < story.n_changed; i++)
		append(*writer, story.changed[i], false);
	/* Events that changed nothing are only missed where another follows. */
	if (story.n_changed == 0)
		append(*writer, 0, true);
}

/* Until all of the batch is in the file. */
static void flush(struct catchup_changelog_writer **writer)
{
	struct catchup_error error;

	while (catchup_changelog_writer_flush(*writer, &error) != CATCHUP_OK) {
		SIM_TRACE("the writer: %s", error.message);
		sim_sleep(sim_between(1, 50) * CU_NS_PER_MS, "the writer, to try again");
		if (sim_below(2))
			begin_again(writer);
	}
	story.n_changed = 0;
	story.flushed = catchup_changelog_writer_sequence(*writer);
	SIM_TRACE("written up to event %lld", (long long)story.flushed);
}

static void change_truth(sqlite3 *db)
{
	int64_t id = sim_between(1, TRUTH_ROWS);

	story_exec(db, "BEGIN IMMEDIATE", "");
	if (sim_below(4) == 0)
		story_exec(db, "DELETE FROM truth WHERE id = ?1", "i", id);
	else
		story_exec(db, "INSERT OR REPLACE INTO truth VALUES (?1, ?2)", "ii", id,
			(int64_t)sim_below(1000000));
	story.changed[story.n_changed++] = id;
	story_exec(db, "COMMIT", "");
}

static void rename_away(void)
{
	char old[STORY_PATH + 8];

	snprintf(old, sizeof(old), "%s.old", story.changelog);
	if (sim_disk_rename(story.changelog, old) == 0) {
		sim_file_changed(story.changelog);
		sim_file_changed(old);
	}
}

/* Another folder takes the name; the file goes with the old one. */
static void replace_folder(void)
{
	char old[STORY_PATH + 16];

	snprintf(old, sizeof(old), "%s.%d", story.log_folder, (int)sim_below(1000000));
	if (sim_disk_rename(story.log_folder, old) != 0)
		return;
	sim_folder_replaced(story.log_folder);
	SIM_CHECK(sim_disk_make_folder(story.log_folder) == 0, "no folder '%s'", story.log_folder);
}

static void truncate_file(void)
{
	int fd = sim_disk_open(story.changelog, O_WRONLY | O_TRUNC);

	if (fd < 0)
		return;
	sim_disk_close(fd);
	sim_file_changed(story.changelog);
}

/* What others do to the file beside the writer. True: the writer has to open it again. */
static bool mistreat(void)
{
	sim_counts->rotations++;
	switch (story.gentle ? 0 : sim_below(4)) {
	case 0:
		SIM_TRACE("the changelog is renamed");
		rename_away();
		return false;
	case 1:
		SIM_TRACE("the changelog is truncated");
		truncate_file();
		return false;
	case 2:
		SIM_TRACE("the changelog is removed");
		if (sim_disk_remove(story.changelog) == 0)
			sim_file_changed(story.changelog);
		return false;
	default:
		SIM_TRACE("the changelog's folder is replaced");
		replace_folder();
		return true;
	}
}

/* Timers that fire while others could run would take the time from those. */
static void give_time_to_follow(void)
{
	unsigned timer = sim_knobs.timer;

	sim_knobs.timer = 0;
	sim_sleep(GENTLE_NS, "the writer, gentle");
	if (!story.calm)
		sim_knobs.timer = timer;
}

void story_writer(void *unused)
{
	sqlite3 *db = story_connect(story.database);
	struct catchup_changelog_writer *writer =
		open_writer(story.n_events ? (int64_t)story.n_events - 1 : 0);
	bool rotated = false;

	(void)unused;
	/* What the one before has changed and not written. */
	for (size_t i = 0; i < story.n_changed; i++)
		append(writer, story.changed[i], false);
	/* Events that went with it, and changed nothing, are only missed where another follows. */
	if (story.n_events > (size_t)story.flushed + 1 && story.n_changed == 0 && story.events_wanted <= 0)
		story.events_wanted = 1;
	flush(&writer);
	while (story.events_wanted > 0) {
		for (uint64_t n = 1 + sim_below(FLUSH_MOST); n > 0; n--) {
			bool other = sim_below(5) == 0;

			if (!other)
				change_truth(db);
			append(writer, other ? 0 : story.changed[story.n_changed - 1], other);
			story.events_wanted--;
		}
		cu_os_point();
		flush(&writer);
		/* The last that is written stays, or nobody could know of it. */
		if (rotated) {
			give_time_to_follow();
			rotated = false;
		} else if (story.events_wanted > 0 && sim_below(story.gentle ? 4 : 12) == 0) {
			if (mistreat()) {
				catchup_changelog_writer_close(writer);
				writer = open_writer((int64_t)story.n_events - 1);
			}
			rotated = story.gentle;
		} else if (sim_below(3) > 0) {
			sim_sleep(sim_between(0, sim_below(4) ? 5 : 200) * CU_NS_PER_MS, "the writer");
		}
	}
	catchup_changelog_writer_close(writer);
	story_disconnect(db);
	story.writer_done = true;
}

/* ---- reading ----------------------------------------------------------------------------------- */

struct reader {
	int number;
	bool filtered;
	int on_full;
	struct catchup_iterator *iterator;
	int64_t last; /* event that came, -1 for none */
	bool told;    /* that some may be missing before the next */
};

static void open_reader(struct reader *r)
{
	const struct catchup_iterator_options options = {
		.size = sizeof(options),
		.path = story.changelog,
		.family = r->filtered ? "FAM" : NULL,
		.start = r->last >= 0 ? CATCHUP_START_AFTER : (int)sim_below(2),
		.after_sequence = r->last >= 0 ? r->last : 0,
		.ring_slots = (uint32_t)(2 << sim_below(5)),
		.on_full = r->on_full,
	};
	struct catchup_error error;

	while (catchup_iterator_open(&options, &r->iterator, &error) != CATCHUP_OK) {
		SIM_TRACE("reader %d cannot open: %s", r->number, error.message);
		sim_sleep(20 * CU_NS_PER_MS, "a reader, for the file");
	}
}

static bool concerns(const struct reader *r, int64_t sequence)
{
	return !r->filtered || !story.events[sequence].other;
}

static void take_event(struct reader *r, const struct catchup_event *event)
{
	int64_t sequence = event->sequence;

	sim_counts->events++;
	SIM_CHECK(sequence > 0 && (size_t)sequence < story.n_events && concerns(r, sequence) &&
			event->keys[0].integer == story.events[sequence].id,
		"reader %d: event %lld is another one", r->number, (long long)sequence);
	SIM_CHECK(r->told || r->last < 0 || sequence > r->last, "reader %d: event %lld after %lld",
		r->number, (long long)sequence, (long long)r->last);
	for (int64_t s = r->last + 1; r->last >= 0 && !r->told && s < sequence; s++)
		SIM_CHECK(!concerns(r, s), "reader %d: event %lld is missed in silence", r->number,
			(long long)s);
	r->last = sequence;
	r->told = false;
}

/* Returns false when nothing came in time. */
static bool read_one(struct reader *r)
{
	const struct catchup_next *next;

	switch (catchup_iterator_next(r->iterator, sim_between(0, 3000), &next)) {
	case CATCHUP_NEXT_EVENT:
		take_event(r, next->event);
		return true;
	case CATCHUP_NEXT_OUT_OF_SYNC:
		SIM_TRACE("reader %d: out of sync (%s)", r->number,
			catchup_sync_reason_name(next->sync.reason));
		SIM_CHECK(!story.gentle || (next->sync.reason == CATCHUP_SYNC_OVERFLOW &&
						   r->on_full == CATCHUP_ON_FULL_FLAG),
			"reader %d: out of sync (%s, expected %lld, got %lld), and nothing was missed",
			r->number, catchup_sync_reason_name(next->sync.reason),
			(long long)next->sync.expected, (long long)next->sync.got);
		catchup_iterator_rebuilt(r->iterator, next->ticket);
		r->told = true;
		return true;
	case CATCHUP_NEXT_BAD_LINE:
		/* Closed off after a crash: what it held was not acknowledged. */
		return true;
	case CATCHUP_NEXT_ERROR:
		SIM_TRACE("reader %d: %s", r->number, next->error.message);
		return true;
	default:
		return false;
	}
}

static int64_t newest_for(const struct reader *r)
{
	int64_t sequence = (int64_t)story.n_events - 1;

	while (sequence > 0 && !concerns(r, sequence))
		sequence--;
	return sequence;
}

void story_reader(void *number)
{
	struct reader r = {.number = *(const int *)number, .last = -1};
	int quiet = 0;

	r.filtered = sim_below(2);
	r.on_full = sim_below(2) ? CATCHUP_ON_FULL_WAIT : CATCHUP_ON_FULL_FLAG;
	open_reader(&r);
	while (quiet < 4) {
		bool over = story.writer_done && story.calm;

		if (read_one(&r) || !over)
			quiet = 0;
		else
			quiet++;
		if (sim_below(8) == 0)
			sim_sleep(sim_between(0, 100) * CU_NS_PER_MS, "a slow reader");
		if (!over && !story.gentle && sim_below(60) == 0) {
			catchup_iterator_close(r.iterator);
			open_reader(&r);
		}
	}
	SIM_CHECK(r.last < 0 || r.told || r.last == newest_for(&r),
		"reader %d: the last event that came is %lld, not %lld", r.number, (long long)r.last,
		(long long)newest_for(&r));
	catchup_iterator_close(r.iterator);
	story.readers_left--;
}
