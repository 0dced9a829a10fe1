/* SPDX-License-Identifier: MIT */
#include "changelog_history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void history_broken(struct history *h, const char *fmt, ...)
{
	va_list ap;

	if (h->broken[0])
		return;
	va_start(ap, fmt);
	vsnprintf(h->broken, sizeof(h->broken), fmt, ap);
	va_end(ap);
}

void history_tell(const struct history *h, const char *fmt, ...)
{
	va_list ap;

	if (!h->tell)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static void put(struct history *h, const char *bytes, size_t n)
{
	size_t at = h->appends ? h->file->size : h->offset;

	/* The hole that truncating leaves is one bad line, unless a line stood there. */
	if (at > h->file->size) {
		h->bad++;
		h->holes++;
	}
	fake_write(h->file, at, bytes, n);
	h->offset = at + n;
}

/* The line of an event, with its newline, in one of the ways that may be met. */
static size_t make_line(const struct history *h, long w, char *to)
{
	const struct event *event = &h->events[w];
	static const char *const shapes[] = {
		"{\"seq\":%" PRId64 ",\"family\":\"fam\",\"table\":\"%c\",\"key\":[{\"name\":\"id\","
		"\"type\":\"int\",\"value\":%ld}%s]}%s\n",
		"{ \"seq\": %" PRId64 ", \"family\": \"Fam\", \"table\": \"%c\", \"key\": [{\"name\": "
		"\"id\", \"type\": \"int\", \"value\": %ld}%s]}%s\n",
	};
	static const char *const ends[] = {"", "", "", "\r", " "};
	char pad[160] = "";

	if (fake_dice(4) == 0)
		snprintf(pad, sizeof(pad), ",{\"name\":\"p\",\"type\":\"string\",\"value\":\"%0*d\"}",
			(int)fake_dice(100) + 1, 7);
	return (size_t)sprintf(to, shapes[fake_dice(4) == 0], event->sequence, event->table, w, pad,
		ends[fake_dice(5)]);
}

static long new_event(struct history *h)
{
	long w = h->n_events++;

	h->events[w] = (struct event){h->next, true, fake_dice(3) ? 'a' : 'b'};
	h->next = h->next < INT64_MAX ? h->next + 1 : 1;
	h->seen.events++;
	return w;
}

void history_write_events(struct history *h)
{
	char text[8 * LINE_MAX_BYTES];
	size_t n = 0;
	long first = h->n_events;

	for (uint32_t i = 1 + fake_dice(6); i > 0; i--)
		n += make_line(h, new_event(h), text + n);
	if (h->glue) {
		/* One line with the rest of another before it. */
		h->events[first].good = false;
		h->glue = false;
	}
	history_tell(h, "writes events %ld to %ld, sequences to %" PRId64, first, h->n_events - 1,
		h->events[h->n_events - 1].sequence);
	put(h, text, n);
}

static void write_torn(struct history *h)
{
	char line[LINE_MAX_BYTES];
	long w = new_event(h);
	size_t n = make_line(h, w, line), cut = 1 + fake_dice((uint32_t)n - 1);

	history_tell(h, "writes %zu of %zu bytes of event %ld", cut, n, w);
	h->events[w].good = !h->glue;
	h->glue = false;
	h->torn_at = h->appends ? h->file->size : h->offset;
	put(h, line, cut);
	memcpy(h->rest, line + cut, n - cut + 1);
	h->n_rest = n - cut;
	h->torn = w;
}

void history_complete(struct history *h)
{
	history_tell(h, "completes event %ld", h->torn);
	put(h, h->rest, h->n_rest);
	h->torn = -1;
}

/* Where nothing is known of the order, all that vanishes is told. */
static bool anybody_blank(const struct history *h)
{
	for (const struct reader *r = h->readers; r < h->readers + READERS; r++)
		if (r->it && r->blank)
			return true;
	return false;
}

/* As after a write that went short: what went is taken back, and all is written again. */
static void take_back(struct history *h)
{
	char line[LINE_MAX_BYTES];
	size_t n = make_line(h, h->torn, line);

	history_tell(h, "takes event %ld back, and writes it again", h->torn);
	fake_truncate(h->file, h->torn_at);
	h->offset = h->torn_at;
	h->torn = -1;
	if (fake_dice(2))
		history_run(h);
	put(h, line, n);
}

/* A new writer comes, and closes the unfinished line off or does not know of it. */
static void crash(struct history *h)
{
	bool whole = strspn(h->rest, "\r \n") == h->n_rest;

	/* All but its newline may have been written. */
	h->glue = !whole && fake_dice(2) == 0;
	if (!whole) {
		h->events[h->torn].good = false;
		h->bad++;
	}
	h->torn = -1;
	history_tell(h, "crashes in the middle of a line, and %s", h->glue ? "goes on" : "ends it");
	h->appends = true;
	if (!h->glue)
		put(h, "\n", 1);
}

/* Each is another one: a file that is truncated and begins as before is no other file to anybody. */
static void write_bad(struct history *h)
{
	static const char *const lines[] = {"{\"seq\":1.5,\"n\":%ld}", "nonsense %ld",
		"{\"seq\":7,\"family\":\"fam\",\"n\":%ld}", "[[[[[[%ld",
		"{\"seq\":-1,\"family\":\"f\",\"table\":\"t\",\"key\":[],\"n\":%ld}"};
	char line[2 * LINE_MAX_BYTES + 32];
	size_t n = (size_t)sprintf(line, lines[fake_dice(sizeof(lines) / sizeof(lines[0]))],
		++h->n_bad);

	if (fake_dice(4) == 0) {
		size_t longer = LINE_MAX_BYTES + 1 + fake_dice(LINE_MAX_BYTES - 2);

		memset(line + n, 'x', longer - n);
		n = longer;
	}
	history_tell(h, "writes a bad line of %zu bytes", n);
	line[n++] = '\n';
	put(h, line, n);
	h->bad += !h->glue;
	h->glue = false;
}

static void write_empty(struct history *h)
{
	history_tell(h, "writes an empty line");
	put(h, "\n", 1);
	h->glue = false;
}

void history_let_file_go(struct history *h)
{
	if (h->file)
		fake_drop(h->file);
	h->file = NULL;
	/* What was not completed in it never will be. */
	if (h->torn >= 0) {
		h->events[h->torn].good = false;
		h->bad++;
	}
	h->torn = -1;
	h->glue = false;
}

/* The writer goes on in what has the name now, which is made where there is nothing. */
void history_reopen(struct history *h)
{
	history_let_file_go(h);
	if (!fake_named()) {
		fake_name(fake_file_new(), true);
		history_tell(h, "makes a file");
	}
	h->file = fake_named();
	fake_hold(h->file);
	h->offset = h->file->size;
	h->first_in_named = h->n_events;
	h->bad_in_named = h->bad;
	h->seen.files++;
}

static void rotate(struct history *h)
{
	bool keep = fake_dice(2), anew = fake_dice(2), at_once = fake_dice(3) > 0;

	/* A reader that keeps up has at least begun with the file. */
	if (h->gentle)
		history_look(h);
	history_tell(h, "%s the file%s", keep ? "renames" : "deletes", anew ? " and makes another" : "");
	fake_name(anew ? fake_file_new() : NULL, keep);
	if (!at_once) {
		/* A while in the old file, and perhaps with nothing under the name. */
		if (h->torn >= 0 && (h->gentle || fake_dice(2)))
			history_complete(h);
		else if (fake_dice(2) && h->torn < 0)
			history_write_events(h);
		if (fake_dice(2))
			history_run(h);
	}
	if (h->gentle && h->torn >= 0)
		history_complete(h);
	history_reopen(h);
}

static void cut_down(struct history *h)
{
	if (h->gentle && anybody_blank(h))
		return;
	if (h->gentle) {
		if (h->torn >= 0)
			history_complete(h);
		history_read(h);
	} else if (h->torn >= 0) {
		h->events[h->torn].good = false;
		h->torn = -1;
	}
	history_tell(h, "truncates the file of %zu bytes", h->file->size);
	h->truncations++;
	h->seen.truncated++;
	h->glue = false;
	fake_truncate(h->file, 0);
	h->first_in_named = h->n_events;
	h->bad_in_named = h->bad;
}

static void jump(struct history *h)
{
	switch (fake_dice(4)) {
	case 0:
		h->next += h->next < INT64_MAX - 20 ? 1 + fake_dice(10) : 0;
		break;
	case 1:
		h->next -= h->next > 0;
		break;
	case 2:
		h->next = fake_dice(3);
		break;
	default:
		h->next = INT64_MAX - fake_dice(3);
		break;
	}
	history_tell(h, "the next sequence is %" PRId64, h->next);
}

void history_write(struct history *h)
{
	uint32_t what = fake_dice(100);

	if (!h->file) {
		history_reopen(h);
	} else if (h->torn >= 0 && what < 80) {
		if (what < 40)
			history_complete(h);
		else if (what < 50 && h->appends && !(h->gentle && h->torn_at == 0 && anybody_blank(h)))
			take_back(h);
		else if (what < 60 && !h->gentle)
			crash(h);
	} else if (what >= 97 && !h->gentle) {
		jump(h);
	} else if (what >= 90) {
		rotate(h);
	} else if (what >= 86) {
		cut_down(h);
	} else if (h->torn >= 0) {
		return;
	} else if (what < 55) {
		history_write_events(h);
	} else if (what < 70) {
		write_torn(h);
	} else if (what < 76) {
		write_bad(h);
	} else if (what < 80) {
		write_empty(h);
	}
}
