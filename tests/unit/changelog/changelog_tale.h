/* SPDX-License-Identifier: MIT */
/*
 * changelog_tale.h - one story over the pretended machine, where it is decided when a thread looks and
 * which call fails.
 *
 * A story runs in a fiber. It writes the file, lets the reader thread look, and notes what an iterator
 * tells: "3" is the event with sequence 3, "gap(4,6)" and "lost-file(4,6)" are out of sync with what
 * was expected and what came, "bad" is a bad line, "error" a file that cannot be read.
 */
#ifndef CHANGELOG_TALE_H
#define CHANGELOG_TALE_H

#include "changelog_os.h"

#include "base/os.h"

#include "../../skip.h"

#include <catchup/changelog.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NO_FIBERS 1
#endif
#endif

#define OPTIONS(...) ((struct catchup_iterator_options){__VA_ARGS__})
#define WAITS .on_full = CATCHUP_ON_FULL_WAIT
#define RESULTS_MAX 1000 /* that are told at once; more is a loop */

static char told[4096];
static size_t told_bytes;

static inline void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static inline void note(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (told_bytes > 0 && told_bytes < sizeof(told) - 1)
		told[told_bytes++] = ' ';
	if (told_bytes < sizeof(told))
		told_bytes += (size_t)vsnprintf(told + told_bytes, sizeof(told) - told_bytes, fmt, ap);
	va_end(ap);
}

/* ---- what a story is made of -------------------------------------------------------------- */

/* The reader threads look at everything. */
static inline void look(void)
{
	cu_os_sleep_ns(3 * CU_NS_PER_S);
}

static inline void put(const char *text)
{
	struct fake_file *file = fake_named();

	fake_write(file, file->size, text, strlen(text));
}

static inline void put_events(long from, long to)
{
	char line[128];

	for (long i = from; i <= to; i++) {
		snprintf(line, sizeof(line),
			"{\"seq\":%ld,\"family\":\"fam\",\"table\":\"foo\",\"key\":[]}\n", i);
		put(line);
	}
}

static inline struct catchup_iterator *start(struct catchup_iterator_options options)
{
	struct catchup_iterator *it = NULL;
	struct catchup_error error;

	options.size = sizeof(options);
	options.path = "/pretended/log";
	while (!it && catchup_iterator_open(&options, &it, &error) != CATCHUP_OK)
		note("error");
	return it;
}

/* Notes all that the iterator has to tell, up to `most` results. */
static inline void tell(struct catchup_iterator *it, int most)
{
	const struct catchup_next *next;

	for (int i = 0; i < most; i++) {
		switch (catchup_iterator_next(it, 2000, &next)) {
		case CATCHUP_NEXT_EVENT:
			note("%" PRId64, next->event->sequence);
			break;
		case CATCHUP_NEXT_OUT_OF_SYNC:
			note("%s(%" PRId64 ",%" PRId64 ")",
				catchup_sync_reason_name(next->sync.reason), next->sync.expected,
				next->sync.got);
			break;
		case CATCHUP_NEXT_BAD_LINE:
			note("bad");
			break;
		case CATCHUP_NEXT_ERROR:
			note("error");
			break;
		default:
			return;
		}
	}
}

static inline void finish(struct catchup_iterator *it)
{
	tell(it, RESULTS_MAX);
	catchup_iterator_close(it);
}

static inline void run_story(void *argument)
{
	void (*const *story)(void) = argument;

	(*story)();
}

/* Runs a story; what it told is in `told`. */
static inline void hear(void (*story)(void), uint32_t fail_in, uint32_t short_in)
{
	const char *left;

	told[0] = '\0';
	told_bytes = 0;
	fake_begin(1);
	fake_name(fake_file_new(), false);
	fake_knobs.fail_in = fail_in;
	fake_knobs.short_in = short_in;
	fake_spawn(run_story, &story);
	while (fake_step() || fake_pass_to_deadline())
		;
	left = fake_end();
	assert_string_equal(left, "");
}

static inline void expect(void (*story)(void), const char *expected)
{
#ifdef NO_FIBERS
	SKIP_BECAUSE("the thread sanitizer cannot follow fibers, and there is one thread here");
#endif
	hear(story, 0, 0);
	assert_string_equal(told, expected);
}

#endif
