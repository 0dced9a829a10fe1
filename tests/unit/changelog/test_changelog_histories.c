/* SPDX-License-Identifier: MIT */
/*
 * Generated histories of a changelog: whatever its writer does, and in whatever order the threads get
 * to run, an iterator gives events in the order in which they were written, none twice, and none is
 * missing without an out-of-sync before the event that follows. While the writer is gentle and the
 * reader keeps up, nothing is missing and nothing is told.
 *
 * A history is made from one number. One that fails tells its story and its number, and
 *
 *	TEST_SEED=NUMBER build/tests/unit/changelog/test_changelog_histories
 *
 * runs that one alone and tells all that happens in it. TEST_HISTORIES=NUMBER runs so many, PROOF=long
 * a million; TEST_FAILURES=NUMBER stops only after so many that fail.
 *
 * What cannot be known is not asked for: what is lost before any sequence is known, and a loss that
 * the sequences hide since they follow upon each other all the same.
 */
#include "changelog_history.h"

#include "../../skip.h"
#include "changelog/follow.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The address sanitizer is slower, and looks for other mistakes; two compilers find the same ones. */
#if defined(__SANITIZE_ADDRESS__)
#define HISTORIES 500
#elif defined(__clang__)
#define HISTORIES 2000
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FIBERS 1
#endif
#endif
#ifndef HISTORIES
#define HISTORIES 20000
#endif
#define HISTORIES_LONG 1000000

#define STEPS_MAX 10000000 /* of fibers, in one history */

/* ---- the user's fiber --------------------------------------------------------------------- */

static void open_reader(struct history *h, struct reader *r)
{
	struct catchup_error error = {0};
	int rc = catchup_iterator_open(&r->options, &r->it, &error);

	history_tell(h, "      %td opens: %s", r - h->readers, rc ? error.message : "done");
	/* The file may be missing, or an error is pretended. */
	if (rc != CATCHUP_OK && !h->faults && fake_named())
		history_broken(h, "%s", error.message);
	if (rc != CATCHUP_OK)
		r->it = NULL;
	r->opened = h->n_events;
}

static void share(struct history *h)
{
	struct catchup_changelog_options options = {.size = sizeof(options),
		.path = "/pretended/log", .max_line_bytes = LINE_MAX_BYTES};
	struct catchup_error error = {0};

	if (catchup_changelog_open(&options, &h->shared, &error) != CATCHUP_OK)
		history_broken(h, "%s", error.message);
}

static void read_some(struct history *h, struct reader *r, long most)
{
	const struct catchup_next *next;
	int result = CATCHUP_NEXT_EVENT;

	while (most-- > 0 && result != CATCHUP_NEXT_TIMEOUT && !h->broken[0]) {
		result = catchup_iterator_next(r->it, 0, &next);
		history_judge(h, r, result, next);
	}
}

static void use(void *argument)
{
	struct history *h = argument;
	struct reader *r;

	while (h->order != ORDER_END) {
		r = h->who;
		switch (h->order) {
		case ORDER_SHARE:
			share(h);
			break;
		case ORDER_OPEN:
			open_reader(h, r);
			break;
		case ORDER_READ:
			read_some(h, r, h->many);
			break;
		case ORDER_CLOSE:
			catchup_iterator_close(r->it);
			r->it = NULL;
			break;
		case ORDER_REBUILT:
			catchup_iterator_rebuilt(r->it, catchup_iterator_out_of_sync(r->it));
			break;
		default:
			break;
		}
		h->order = ORDER_NONE;
		fake_rest();
	}
	for (r = h->readers; r < h->readers + READERS; r++)
		catchup_iterator_close(r->it);
	catchup_changelog_close(h->shared);
	h->shared = NULL;
}

/* ---- who runs ----------------------------------------------------------------------------- */

/* A step of whoever may run. One who never rests would go on for ever. */
static bool step(struct history *h)
{
	if (++h->steps > STEPS_MAX)
		history_broken(h, "somebody is busy for ever");
	return !h->broken[0] && fake_step();
}

/* Everybody runs until all wait. */
void history_run(struct history *h)
{
	while (step(h))
		;
}

static void obey(struct history *h, enum order order, struct reader *r, long many)
{
	h->order = order;
	h->who = r;
	h->many = many;
	fake_rouse();
}

/* Carries an order out before anything else is written. */
static void obey_now(struct history *h, enum order order, struct reader *r, long many)
{
	obey(h, order, r, many);
	while (h->order != ORDER_NONE)
		if (!step(h) && (h->broken[0] || !fake_pass_to_deadline())) {
			history_broken(h, "everybody waits, and nobody will come");
			return;
		}
}

/* Finishes the order in hand. */
static void finish_order(struct history *h)
{
	if (h->order != ORDER_NONE)
		obey_now(h, h->order, h->who, h->many);
}

/* The reader threads look at everything, however they learn of it. */
void history_look(struct history *h)
{
	finish_order(h);
	for (int i = 0; i < 3; i++) {
		history_run(h);
		fake_pass(1100 * MS);
	}
	history_run(h);
}

/* Everything that is there is read. */
void history_read(struct history *h)
{
	for (int i = 0; i < 3; i++) {
		history_look(h);
		for (struct reader *r = h->readers; r < h->readers + READERS; r++)
			if (r->it)
				obey_now(h, ORDER_READ, r, INT32_MAX);
	}
}

/* ---- users come and go -------------------------------------------------------------------- */

/* Whether a good event was written from one on. */
static bool holds_any(const struct history *h, long from)
{
	for (long i = from; i < h->n_events; i++)
		if (h->events[i].good && i != h->torn)
			return true;
	return false;
}

static void come(struct history *h, struct reader *r)
{
	bool alone = h->gentle || fake_dice(2);
	long named = h->first_in_named;
	uint32_t faults = fake_knobs.fault_of, shorts = fake_knobs.short_of;

	*r = (struct reader){.at = -1, .sequence = -1, .seen = -1};
	r->options = (struct catchup_iterator_options){.size = sizeof(r->options)};
	/* A gentle history loses nothing for one that overflows neither. */
	r->options.on_full = h->gentle || fake_dice(2) ? CATCHUP_ON_FULL_WAIT : CATCHUP_ON_FULL_FLAG;
	r->options.ring_slots = 2u << fake_dice(5);
	if (h->gentle && fake_dice(2)) {
		r->options.on_full = CATCHUP_ON_FULL_FLAG;
		r->options.ring_slots = EVENTS_MAX;
	}
	if (fake_dice(3) == 0) {
		r->table = fake_dice(2) ? 'a' : 'b';
		r->options.table = r->table == 'a' ? "A" : "b";
	}
	if (fake_dice(4) == 0)
		r->options.family = "FAM";
	if (h->shared && fake_dice(2)) {
		r->options.changelog = h->shared;
		fake_knobs.fault_of = fake_knobs.short_of = 0;
		history_look(h);
		fake_knobs.fault_of = faults;
		fake_knobs.short_of = shorts;
	} else {
		r->options.path = "/pretended/log";
		r->options.max_line_bytes = LINE_MAX_BYTES;
		r->options.open_wait_ms = 1 + fake_dice(100);
	}
	r->options.start = (int)fake_dice(3);
	switch (r->options.start) {
	case CATCHUP_START_BEGINNING:
		/* A reader that is shared may still be in the file before. */
		r->from = named;
		r->at = r->options.changelog ? -1 : named - 1;
		r->bad_before = r->options.changelog ? -1 : h->bad_in_named;
		break;
	case CATCHUP_START_END:
		/* A line that has no end yet comes later, if at all. */
		r->from = h->n_events - (h->torn >= 0);
		for (long i = 0; i < r->from; i++)
			if (h->events[i].good)
				r->sequence = h->events[i].sequence;
		/* A reader that is shared may have a little to read still. */
		r->at = r->options.changelog ? -1 : r->from - 1;
		r->bad_before = h->torn >= 0 ? -1 : h->bad;
		break;
	default:
		r->bad_before = -1;
		if (h->n_events - (h->torn >= 0) > named) {
			r->at = named + fake_dice((uint32_t)(h->n_events - (h->torn >= 0) - named));
			r->sequence = h->events[r->at].sequence;
			/* Where sequences come twice, another one may be meant. */
			for (long i = named; i < r->at; i++)
				alone = alone && h->events[i].sequence < h->events[i + 1].sequence;
			if (!alone)
				r->at = named - 1;
		} else {
			r->at = named - 1;
			r->sequence = h->torn >= 0 ? h->events[h->torn].sequence - 1
				      : named > 0 ? h->events[named - 1].sequence
						  : h->next - 1;
			if (r->sequence < 0)
				r->options.start = CATCHUP_START_BEGINNING;
		}
		r->from = r->at + 1;
		if (r->options.changelog)
			r->at = -1;
		r->options.after_sequence = r->sequence < 0 ? 0 : r->sequence;
		break;
	}
	r->anywhere = !alone;
	/* A reader that is shared may know the order from files that are gone. */
	if (r->options.start == CATCHUP_START_BEGINNING && r->options.changelog && !holds_any(h, named))
		r->sequence = h->shared->order.last;
	r->blank = r->options.start != CATCHUP_START_AFTER && !holds_any(h, h->first_in_named) &&
		   (!r->options.changelog || h->shared->order.last < 0);
	history_tell(h, "      %td opens at %d, after %" PRId64 ", ring %u, %s%s", r - h->readers,
		r->options.start, r->options.after_sequence, r->options.ring_slots,
		r->options.on_full ? "waits" : "drops", r->options.changelog ? ", shared" : "");
	obey(h, ORDER_OPEN, r, 0);
	if (alone)
		finish_order(h);
}

static void use_something(struct history *h)
{
	struct reader *r = &h->readers[fake_dice(READERS)];

	if (h->order != ORDER_NONE)
		return;
	if (!r->it)
		come(h, r);
	else if (fake_dice(60) == 0)
		obey(h, ORDER_CLOSE, r, 0);
	else if (fake_dice(20) == 0)
		obey(h, ORDER_REBUILT, r, 0);
	else
		obey(h, ORDER_READ, r, 1 + fake_dice(20));
}

/* ---- a whole history ---------------------------------------------------------------------- */

/* Nothing goes wrong any more: whoever reads comes to the last event. */
static void end(struct history *h)
{
	fake_knobs.fault_of = fake_knobs.short_of = 0;
	fake_knobs.unseen_of = 0;
	history_read(h);
	if (h->gentle && h->torn >= 0)
		history_complete(h);
	history_read(h);
	if (!h->gentle && (h->torn >= 0 || h->file != fake_named() || h->glue))
		history_reopen(h);
	history_read(h);
	/* An overflow is told with the first event that has room again. */
	for (int i = 0; i < 3; i++) {
		history_write_events(h);
		history_read(h);
	}
	for (struct reader *r = h->readers; r < h->readers + READERS && !h->broken[0]; r++) {
		long last = h->n_events - 1;

		if (!r->it)
			continue;
		while (last > r->at && !history_is_for(r, &h->events[last]))
			last--;
		/* What was written while it was opened may be before its beginning. */
		if (r->at < last && last >= (r->anywhere ? r->opened : r->from) && !r->flagged &&
			(h->gentle || !history_is_hidden(h, r, last)))
			history_broken(h, "%td never came to event %ld", r - h->readers, last);
		if (h->gentle && r->bad_before >= 0 && r->bad != h->bad - r->bad_before)
			history_broken(h, "%td told of %ld bad lines, and %ld were written", r - h->readers,
				r->bad, h->bad - r->bad_before);
	}
}

/* Returns whether all was well. */
static bool run(struct history *h, uint64_t seed, bool telling)
{
	struct seen seen = h->seen;
	const char *left;

	memset(h, 0, offsetof(struct history, seen));
	h->seen = seen;
	h->tell = telling;
	h->torn = -1;
	fake_begin(seed);
	h->gentle = fake_dice(2);
	h->faults = !h->gentle && fake_dice(3) == 0;
	h->appends = fake_dice(4) > 0;
	h->next = fake_dice(3);
	fake_knobs.births = fake_dice(2);
	fake_knobs.yield_of = 1 + fake_dice(6);
	fake_knobs.unseen_of = fake_dice(3) == 0 ? 1 + fake_dice(8) : 0;
	fake_knobs.no_watches = fake_dice(8) == 0;
	history_tell(h, "%s, %s, %s", h->gentle ? "gentle" : "rough", h->appends ? "appends" : "own offset",
		h->faults ? "faults" : "no faults");
	history_reopen(h);
	fake_spawn(use, h);
	history_run(h);
	if (fake_dice(2))
		obey_now(h, ORDER_SHARE, NULL, 0);
	if (h->faults)
		fake_knobs.fault_of = 5 + fake_dice(50);
	if (!h->gentle && fake_dice(4) == 0)
		fake_knobs.short_of = 2 + fake_dice(10);
	for (uint32_t steps = 20 + fake_dice(90); steps > 0 && !h->broken[0]; steps--) {
		history_write(h);
		use_something(h);
		for (uint32_t n = fake_dice(12); n > 0 && step(h); n--)
			;
		if (fake_dice(8) == 0)
			fake_pass(fake_dice(400) * MS);
	}
	if (!h->broken[0])
		end(h);
	if (h->broken[0])
		return false;
	obey(h, ORDER_END, NULL, 0);
	while (step(h) || (!h->broken[0] && fake_pass_to_deadline()))
		;
	history_let_file_go(h);
	left = fake_end();
	if (left[0])
		history_broken(h, "%s", left);
	return !h->broken[0];
}

/* ---- tests -------------------------------------------------------------------------------- */

static uint64_t seed_of(uint64_t history)
{
	return history * UINT64_C(0x2545f4914f6cdd1d) + 1;
}

static uint64_t seed_now;

static void tell_seed(int number)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "replay with TEST_SEED=%" PRIu64 "\n", seed_now);

	(void)!write(STDERR_FILENO, text, (size_t)n);
	signal(number, SIG_DFL);
	raise(number);
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* Runs one history; one that fails is run again and tells its story. */
static bool judge_history(struct history *h, uint64_t seed)
{
	seed_now = seed;
	if (run(h, seed, false))
		return true;
	fake_end();
	print_message("history %" PRIu64 " fails:\n", seed);
	run(h, seed, true);
	fake_end();
	print_message("%s (replay with TEST_SEED=%" PRIu64 ")\n", h->broken, seed);
	return false;
}

static void no_event_is_missed_in_silence(void **state)
{
	static struct history h;
	const char *tier = getenv("PROOF");
	const uint64_t replay = number_of("TEST_SEED", 0), failures = number_of("TEST_FAILURES", 1);
	const uint64_t histories = number_of("TEST_HISTORIES",
		tier && strcmp(tier, "long") == 0 ? HISTORIES_LONG : HISTORIES);
	const struct seen *seen = &h.seen;
	const int64_t n = (int64_t)histories;
	uint64_t done, failed = 0;

	(void)state;
#ifdef NO_FIBERS
	SKIP_BECAUSE("the thread sanitizer cannot follow fibers, and there is one thread here");
#endif
	if (replay) {
		seed_now = replay;
		if (!run(&h, replay, true))
			fail_msg("%s", h.broken);
		return;
	}
	for (done = 0; done < histories && failed < failures; done++)
		failed += !judge_history(&h, seed_of(done));
	if (failed > 0)
		fail_msg("%" PRIu64 " of %" PRIu64 " histories fail", failed, done);
	print_message("%" PRIu64 " histories: %" PRId64 " events written, %" PRId64 " given, %" PRId64
		      " files, %" PRId64 " truncated, %" PRId64 " out of sync, %" PRId64
		      " overflows, %" PRId64 " bad lines, %" PRId64 " errors\n",
		histories, seen->events, seen->given, seen->files, seen->truncated, seen->told,
		seen->overflows, seen->bad, seen->errors);
	/* A generator that has gone astray proves nothing. */
	assert_true(seen->events > 20 * n && seen->given > 20 * n);
	assert_true(seen->files > n && seen->truncated > n && seen->bad > n);
	assert_true(seen->told > n && seen->overflows > n / 8 && seen->errors > n / 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_event_is_missed_in_silence),
	};

	signal(SIGABRT, tell_seed);
	return cmocka_run_group_tests_name("changelog histories", tests, NULL, NULL);
}
