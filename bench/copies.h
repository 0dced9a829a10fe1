/* SPDX-License-Identifier: MIT */
/*
 * copies.h - consumers that do next to nothing with a row: each copies readings, row by row, into a
 * table of its own. What is then measured is the way there.
 *
 * Consumer and table are named copy1, copy2, ...; the tables have the columns of readings.
 */
#ifndef BENCH_COPIES_H
#define BENCH_COPIES_H

#include "database.h"

struct bench_copy_texts {
	char name[32], setup[224], into[64];
};

struct bench_copies {
	size_t n;
	struct catchup_consumer *tables;  /* owned; may be changed before the runtime starts */
	struct bench_consumer *consumers; /* owned; for bench_start */
	struct bench_copy_texts *texts;   /* owned */
};

enum bench_copies_shape {
	BENCH_COPIES_BESIDE, /* each from readings, into the source's file */
	BENCH_COPIES_INTO,   /* each from readings, into a file of its own, copyN.db beside the source */
	BENCH_COPIES_CHAIN,  /* each from the one before it */
};

int bench_copies_make(struct bench *b, struct bench_copies *copies, size_t n,
	enum bench_copies_shape shape);
void bench_copies_free(struct bench_copies *copies);

/* The number in a consumer's name, from 0. */
size_t bench_copies_number(const struct catchup_context *ctx);

/* Every copy has all rows of readings, 1 to `rows`, and its watermark there. */
int bench_copies_check(struct bench *b, const char *file, size_t n, int64_t rows);

/* The same for the copy n (from 0) that stands in this file. */
int bench_copy_check(struct bench *b, const char *file, size_t number, int64_t rows);

/* ---- the same by hand --------------------------------------------------------------------- */

/*
 * Consumers as a good user writes them: one connection that reads, one that writes, batches, and the
 * watermark in the same transaction. The copies have their tables already: bench_hand_tables.
 */
struct bench_hand_copy {
	sqlite3_stmt *insert;
	char name[32];
	int64_t last; /* watermark */
};

struct bench_hand {
	sqlite3 *reader, *writer;
	sqlite3_stmt *version, *next, *begin, *update, *commit;
	struct bench_hand_copy *copies; /* owned */
	size_t n;
};

int bench_hand_tables(struct bench *b, const char *file, size_t n);
/* For n copies from the copy `first` on (from 0). source and results may be the same file. */
int bench_hand_open(struct bench *b, struct bench_hand *hand, const char *source,
	const char *results, size_t first, size_t n);
void bench_hand_close(struct bench_hand *hand);

/* What changes when another connection has committed. */
int64_t bench_hand_version(struct bench_hand *hand);

/* One batch of the copy `which` of those that were opened. *rows: how many, 0: there was nothing to do. */
int bench_hand_batch(
	struct bench *b, struct bench_hand *hand, size_t which, int64_t most, int64_t *rows);

#endif
