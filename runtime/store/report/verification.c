/* SPDX-License-Identifier: MIT */
#include "store/report/verification.h"

#include "base/error.h"
#include "store/report/texts.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lines {
	const char **items;
	size_t n;
};

/* Beside each verdict, by index. */
struct beside {
	struct lines wrong, notes;
};

struct whole {
	struct catchup_verification verification; /* first: users hold a pointer to it */
	struct catchup_verdict *verdicts;
	struct beside *beside;
	struct catchup_verified_file *files;
	struct cu_texts texts;
	bool failed;
};

static struct whole *whole_of(const struct catchup_verification *verification)
{
	return (struct whole *)(uintptr_t)verification;
}

/* A copy that lives as long as the whole. Without memory "", and `failed`. */
static const char *keep(struct whole *whole, const char *text)
{
	const char *kept = cu_texts_keep(&whole->texts, text);

	whole->failed |= !kept;
	return kept ? kept : "";
}

/* Makes room for one more; false without memory. */
static bool grow(struct whole *whole, void *array, size_t n, size_t bytes)
{
	void **items = array;
	void *grown = realloc(*items, (n + 1) * bytes);

	if (grown)
		*items = grown;
	whole->failed |= !grown;
	return grown != NULL;
}

struct catchup_verification *cu_verification_create(const char *database)
{
	struct whole *whole = calloc(1, sizeof(*whole));

	if (!whole)
		return NULL;
	whole->verification.database = keep(whole, database);
	return &whole->verification;
}

struct catchup_verdict *cu_verification_add(struct catchup_verification *verification,
	const char *consumer, const char *source, const char *into)
{
	struct whole *whole = whole_of(verification);
	size_t n = verification->n_verdicts;

	if (!grow(whole, &whole->verdicts, n, sizeof(*whole->verdicts)) ||
		!grow(whole, &whole->beside, n, sizeof(*whole->beside)))
		return NULL;
	whole->beside[n] = (struct beside){0};
	whole->verdicts[n] = (struct catchup_verdict){
		.consumer = keep(whole, consumer),
		.source = keep(whole, source),
		.into = keep(whole, into),
		.newest = -1,
		.highest = -1,
		.counted_from = -1,
		.counted = -1,
		.rows = -1,
		.recomputed_rows = -1,
		.recomputed_tables = -1,
	};
	verification->verdicts = whole->verdicts;
	verification->n_verdicts++;
	return &whole->verdicts[n];
}

void cu_verification_add_file(
	struct catchup_verification *verification, const char *path, const char *wrong)
{
	struct whole *whole = whole_of(verification);

	if (!grow(whole, &whole->files, verification->n_files, sizeof(*whole->files)))
		return;
	whole->files[verification->n_files++] = (struct catchup_verified_file){
		.path = keep(whole, path), .wrong = keep(whole, wrong)};
	verification->files = whole->files;
}

bool cu_verification_has_file(const struct catchup_verification *verification, const char *path)
{
	for (size_t i = 0; i < verification->n_files; i++)
		if (strcmp(verification->files[i].path, path) == 0)
			return true;
	return false;
}

static void add_line(struct whole *whole, struct lines *lines, const char *fmt, va_list ap)
{
	char line[CATCHUP_MESSAGE_BYTES], printable[CATCHUP_MESSAGE_BYTES];

	if (!grow(whole, &lines->items, lines->n, sizeof(*lines->items)))
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	cu_text_escape(printable, sizeof(printable), line, strlen(line));
	lines->items[lines->n++] = keep(whole, printable);
}

void cu_verification_wrong(struct catchup_verification *verification, const char *fmt, ...)
{
	struct whole *whole = whole_of(verification);
	va_list ap;

	va_start(ap, fmt);
	add_line(whole, &whole->beside[verification->n_verdicts - 1].wrong, fmt, ap);
	va_end(ap);
}

void cu_verification_note(struct catchup_verification *verification, const char *fmt, ...)
{
	struct whole *whole = whole_of(verification);
	va_list ap;

	va_start(ap, fmt);
	add_line(whole, &whole->beside[verification->n_verdicts - 1].notes, fmt, ap);
	va_end(ap);
}

bool cu_verification_finish(struct catchup_verification *verification)
{
	struct whole *whole = whole_of(verification);

	verification->ok = 1;
	for (size_t i = 0; i < verification->n_verdicts; i++) {
		struct catchup_verdict *verdict = &whole->verdicts[i];

		verdict->wrong = whole->beside[i].wrong.items;
		verdict->n_wrong = whole->beside[i].wrong.n;
		verdict->notes = whole->beside[i].notes.items;
		verdict->n_notes = whole->beside[i].notes.n;
		verdict->ok = verdict->n_wrong == 0;
		verification->ok &= verdict->ok;
	}
	for (size_t i = 0; i < verification->n_files; i++)
		verification->ok &= verification->files[i].wrong[0] == '\0';
	return !whole->failed;
}

void catchup_verification_free(struct catchup_verification *verification)
{
	struct whole *whole = whole_of(verification);

	if (!verification)
		return;
	for (size_t i = 0; i < verification->n_verdicts; i++) {
		free(whole->beside[i].wrong.items);
		free(whole->beside[i].notes.items);
	}
	cu_texts_free(&whole->texts);
	free(whole->verdicts);
	free(whole->beside);
	free(whole->files);
	free(whole);
}
