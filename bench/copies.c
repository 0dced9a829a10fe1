/* SPDX-License-Identifier: MIT */
#include "copies.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS "(id INTEGER NOT NULL PRIMARY KEY, sensor INTEGER NOT NULL, value INTEGER NOT NULL)"

size_t bench_copies_number(const struct catchup_context *ctx)
{
	return (size_t)strtoull(ctx->name + strlen("copy"), NULL, 10) - 1;
}

static int open_copy(struct catchup_context *ctx, void **state)
{
	sqlite3_stmt *insert;
	char sql[128];

	snprintf(sql, sizeof(sql), "INSERT INTO %.32s VALUES (?1, ?2, ?3)", ctx->name);
	if (sqlite3_prepare_v3(ctx->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &insert, NULL) !=
		SQLITE_OK)
		return catchup_fail_db(ctx, "preparing");
	*state = insert;
	return CATCHUP_ROW_APPLIED;
}

/* The same work for catchup and by hand. Returns SQLite's code. */
static int copy(sqlite3_stmt *insert, sqlite3_stmt *row)
{
	for (int i = 0; i < 3; i++)
		sqlite3_bind_int64(insert, i + 1, sqlite3_column_int64(row, i));
	sqlite3_step(insert);
	return sqlite3_reset(insert);
}

static int copy_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	if (copy(state, row) != SQLITE_OK)
		return catchup_fail_db(ctx, "writing a copy");
	return CATCHUP_ROW_APPLIED;
}

static void close_copy(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

int bench_copies_make(struct bench *b, struct bench_copies *copies, size_t n,
	enum bench_copies_shape shape)
{
	*copies = (struct bench_copies){
		.n = n,
		.tables = calloc(n, sizeof(*copies->tables)),
		.consumers = calloc(n, sizeof(*copies->consumers)),
		.texts = calloc(n, sizeof(*copies->texts)),
	};
	if (!copies->tables || !copies->consumers || !copies->texts) {
		bench_copies_free(copies);
		return bench_fail(b, "out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		struct bench_copy_texts *text = &copies->texts[i];

		snprintf(text->name, sizeof(text->name), "copy%zu", i + 1);
		snprintf(text->setup, sizeof(text->setup),
			"CREATE TABLE IF NOT EXISTS copy%zu" COLUMNS, i + 1);
		snprintf(text->into, sizeof(text->into), "copy%zu.db", i + 1);
		copies->tables[i] = (struct catchup_consumer){
			CATCHUP_CONSUMER_ABI,
			.name = text->name,
			.summary = "copies rows",
			.source = shape == BENCH_COPIES_CHAIN && i > 0 ? copies->texts[i - 1].name
								       : "readings",
			.setup = text->setup,
			.into = shape == BENCH_COPIES_INTO ? text->into : NULL,
			.open = open_copy,
			.row = copy_row,
			.close = close_copy,
			.shares = 1,
		};
		copies->consumers[i].table = &copies->tables[i];
	}
	return 0;
}

void bench_copies_free(struct bench_copies *copies)
{
	free(copies->tables);
	free(copies->consumers);
	free(copies->texts);
	*copies = (struct bench_copies){0};
}

static int check_one(struct bench *b, sqlite3 *db, size_t number, int64_t rows)
{
	const struct {
		const char *what, *before, *behind; /* the number of the copy */
		int64_t expected;
	} all[] = {
		/* Ids without holes, so these three say which rows there are. */
		{"rows copied", "SELECT count(*) FROM copy", "", rows},
		{"newest row copied", "SELECT coalesce(max(id), 0) FROM copy", "", rows},
		{"sum of values", "SELECT coalesce(sum(value), 0) FROM copy", "",
			bench_readings_sum(rows)},
		{"watermark", "SELECT last FROM catchup WHERE name = 'copy", "'", rows},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char sql[96];
		int64_t value;

		snprintf(sql, sizeof(sql), "%s%zu%s", all[i].before, number + 1, all[i].behind);
		if (bench_integer(b, db, sql, &value) != 0 ||
			bench_check(b, value == all[i].expected,
				"%s of copy%zu: %" PRId64 " instead of %" PRId64, all[i].what,
				number + 1, value, all[i].expected) != 0)
			return -1;
	}
	return 0;
}

/* From the copy `first` on (from 0). */
static int check_some(struct bench *b, const char *file, size_t first, size_t n, int64_t rows)
{
	sqlite3 *db = NULL;
	int rc = bench_open_reader(b, file, &db);

	for (size_t i = first; i < first + n && rc == 0; i++)
		rc = check_one(b, db, i, rows);
	sqlite3_close(db);
	return rc;
}

int bench_copy_check(struct bench *b, const char *file, size_t number, int64_t rows)
{
	return check_some(b, file, number, 1, rows);
}

int bench_copies_check(struct bench *b, const char *file, size_t n, int64_t rows)
{
	return check_some(b, file, 0, n, rows);
}

/* ---- by hand ------------------------------------------------------------------------------ */

int bench_hand_tables(struct bench *b, const char *file, size_t n)
{
	sqlite3 *db = NULL;
	int rc = bench_open(b, file, &db);

	if (rc == 0)
		rc = bench_exec(b, db, BENCH_WATERMARKS);
	for (size_t i = 1; i <= n && rc == 0; i++) {
		char sql[320];

		snprintf(sql, sizeof(sql),
			"CREATE TABLE copy%zu" COLUMNS "; INSERT INTO catchup VALUES('copy%zu', 0)", i,
			i);
		rc = bench_exec(b, db, sql);
	}
	sqlite3_close(db);
	return rc;
}

static int open_copies(struct bench *b, struct bench_hand *hand, size_t first, size_t n)
{
	int rc = 0;

	hand->copies = calloc(n, sizeof(*hand->copies));
	if (!hand->copies)
		return bench_fail(b, "out of memory");
	for (hand->n = 0; hand->n < n && rc == 0; hand->n++) {
		struct bench_hand_copy *copy = &hand->copies[hand->n];
		char sql[96];

		snprintf(copy->name, sizeof(copy->name), "copy%zu", first + hand->n + 1);
		snprintf(sql, sizeof(sql), "INSERT INTO %s VALUES (?1, ?2, ?3)", copy->name);
		rc = bench_prepare(b, hand->writer, sql, &copy->insert);
	}
	return rc;
}

int bench_hand_open(struct bench *b, struct bench_hand *hand, const char *source,
	const char *results, size_t first, size_t n)
{
	const struct {
		sqlite3_stmt **stmt;
		const char *sql;
	} all[] = {
		{&hand->begin, "BEGIN IMMEDIATE"},
		{&hand->update, "UPDATE catchup SET last = ?2 WHERE name = ?3 AND last = ?1"},
		{&hand->commit, "COMMIT"},
	};
	int rc;

	*hand = (struct bench_hand){0};
	rc = bench_open(b, results, &hand->writer);
	/* 4096 pages are the 16 MiB at which catchup begins to checkpoint. */
	if (rc == 0)
		rc = bench_exec(b, hand->writer,
			"PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -2048");
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && rc == 0; i++)
		rc = bench_prepare(b, hand->writer, all[i].sql, all[i].stmt);
	if (rc == 0)
		rc = open_copies(b, hand, first, n);
	if (rc == 0)
		rc = bench_open_reader(b, source, &hand->reader);
	if (rc == 0)
		rc = bench_exec(b, hand->reader, "PRAGMA cache_size = -2048");
	if (rc == 0)
		rc = bench_prepare(b, hand->reader, "PRAGMA data_version", &hand->version);
	if (rc == 0)
		rc = bench_prepare(b, hand->reader,
			"SELECT * FROM readings WHERE id > ?1 ORDER BY id LIMIT ?2", &hand->next);
	return rc;
}

void bench_hand_close(struct bench_hand *hand)
{
	for (size_t i = 0; i < hand->n; i++)
		sqlite3_finalize(hand->copies[i].insert);
	free(hand->copies);
	sqlite3_finalize(hand->version);
	sqlite3_finalize(hand->next);
	sqlite3_finalize(hand->begin);
	sqlite3_finalize(hand->update);
	sqlite3_finalize(hand->commit);
	sqlite3_close(hand->reader);
	sqlite3_close(hand->writer);
	*hand = (struct bench_hand){0};
}

int64_t bench_hand_version(struct bench_hand *hand)
{
	int64_t version = sqlite3_step(hand->version) == SQLITE_ROW
				  ? sqlite3_column_int64(hand->version, 0)
				  : -1;

	sqlite3_reset(hand->version);
	return version;
}

/* The watermark takes the last row's id, in the transaction that is open. */
static int move_watermark(
	struct bench *b, struct bench_hand *hand, const struct bench_hand_copy *copy, int64_t to)
{
	sqlite3_bind_int64(hand->update, 1, copy->last);
	sqlite3_bind_int64(hand->update, 2, to);
	sqlite3_bind_text(hand->update, 3, copy->name, -1, SQLITE_STATIC);
	if (bench_step(b, hand->update) != 0)
		return -1;
	if (sqlite3_changes(hand->writer) != 1)
		return bench_fail(b, "the watermark was moved");
	return 0;
}

int bench_hand_batch(
	struct bench *b, struct bench_hand *hand, size_t which, int64_t most, int64_t *rows)
{
	struct bench_hand_copy *to = &hand->copies[which];
	int64_t last = to->last;
	int rc;

	*rows = 0;
	sqlite3_bind_int64(hand->next, 1, last);
	sqlite3_bind_int64(hand->next, 2, most);
	rc = sqlite3_step(hand->next);
	if (rc == SQLITE_ROW && bench_step(b, hand->begin) != 0)
		return -1;
	for (; rc == SQLITE_ROW; rc = sqlite3_step(hand->next)) {
		if (copy(to->insert, hand->next) != SQLITE_OK)
			return bench_fail(b, "%s", sqlite3_errmsg(hand->writer));
		last = sqlite3_column_int64(hand->next, 0);
		++*rows;
	}
	if (sqlite3_reset(hand->next) != SQLITE_OK)
		return bench_fail(b, "%s", sqlite3_errmsg(hand->reader));
	if (*rows == 0)
		return 0;
	if (move_watermark(b, hand, to, last) != 0 || bench_step(b, hand->commit) != 0)
		return -1;
	to->last = last;
	return 0;
}
