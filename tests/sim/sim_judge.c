/* SPDX-License-Identifier: MIT */
/*
 * sim_judge.c - what must hold in the end: each row was processed once, in order, or is a dead letter,
 * or was deleted before it was read; the watermark and the counters say so; a cache is the truth.
 */
#include "sim_disk.h"
#include "sim_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verdict {
	enum story_kind kind;
	const char *name;
	sqlite3 *db;
	int64_t watermark;
	const struct story_row *rows; /* of its source */
	size_t n_rows;
	bool *out, *dead;             /* one a row; owned */
	bool *blamed;                 /* dead for the deaths of processes; one a row, owned */
	size_t n_out, n_dead;
};

static sqlite3_stmt *ask(sqlite3 *db, const char *sql, const char *name)
{
	sqlite3_stmt *stmt = NULL;

	SIM_CHECK(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s", sql,
		sqlite3_errmsg(db));
	if (name)
		sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	return stmt;
}

static int64_t number(sqlite3 *db, const char *sql, const char *name)
{
	sqlite3_stmt *stmt = ask(db, sql, name);
	int64_t value = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;

	sqlite3_finalize(stmt);
	return value;
}

/* Index of a row of the source by id; n_rows for none. */
static size_t find(const struct verdict *v, int64_t id)
{
	size_t i = 0;

	while (i < v->n_rows && v->rows[i].id != id)
		i++;
	return i;
}

static void read_results(struct verdict *v)
{
	char sql[64];
	sqlite3_stmt *stmt;
	int64_t last = 0;

	snprintf(sql, sizeof(sql), "SELECT id, k, v FROM out_%s ORDER BY n", v->name);
	stmt = ask(v->db, sql, NULL);
	while (sqlite3_step(stmt) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(stmt, 0);
		size_t at = find(v, id);

		SIM_CHECK(id > last, "%s: row %lld comes after row %lld", v->name, (long long)id,
			(long long)last);
		SIM_CHECK(at < v->n_rows, "%s: row %lld was never there", v->name, (long long)id);
		SIM_CHECK(strcmp((const char *)sqlite3_column_text(stmt, 1), v->rows[at].key) == 0 &&
				sqlite3_column_int64(stmt, 2) == v->rows[at].value,
			"%s: row %lld is another one", v->name, (long long)id);
		SIM_CHECK(id <= v->watermark, "%s: row %lld is above the watermark %lld", v->name,
			(long long)id, (long long)v->watermark);
		v->out[at] = true;
		v->n_out++;
		last = id;
	}
	sqlite3_finalize(stmt);
}

/* Whether a letter says that three processes died with its row in hand: as many must have been killed. */
static bool is_blamed(const struct verdict *v, int64_t id, const char *message)
{
	unsigned deaths;

	if (sscanf(message, "the process ended %u times with this row in hand", &deaths) != 1)
		return false;
	SIM_CHECK(deaths >= 3 && deaths <= sim_process_kills(), "%s: row %lld is blamed for %u deaths of %u", v->name,
		(long long)id, deaths, sim_process_kills());
	return true;
}

static void read_dead(struct verdict *v)
{
	sqlite3_stmt *stmt =
		ask(v->db, "SELECT id, message FROM catchup_dead WHERE consumer = ?1", v->name);

	while (sqlite3_step(stmt) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(stmt, 0);
		size_t at = find(v, id);

		SIM_CHECK(at < v->n_rows, "%s: dead row %lld was never there", v->name, (long long)id);
		SIM_CHECK(!v->out[at], "%s: row %lld is a result and a dead letter", v->name,
			(long long)id);
		SIM_CHECK(id <= v->watermark, "%s: dead row %lld is above the watermark %lld", v->name,
			(long long)id, (long long)v->watermark);
		v->dead[at] = true;
		v->blamed[at] = is_blamed(v, id, (const char *)sqlite3_column_text(stmt, 1));
		v->n_dead++;
		sim_counts->parked++;
	}
	sqlite3_finalize(stmt);
}

/* Whether an earlier row with the same key is parked. One that was deleted may have been so before
 * anybody looked at its key. */
static bool behind_dead(const struct verdict *v, size_t at, bool for_sure)
{
	for (size_t i = 0; i < at; i++)
		if (v->dead[i] && strcmp(v->rows[i].key, v->rows[at].key) == 0 &&
			!(for_sure && v->rows[i].deleted))
			return true;
	return false;
}

static bool has(const char *policy, const char *word)
{
	return policy && strstr(policy, word);
}

/* stop: the first row that stops it, 0 for none. */
static void judge_row(const struct verdict *v, size_t at, int64_t stop)
{
	const struct story_consumer *consumer = &story.consumers[v->kind];
	const struct story_row *row = &v->rows[at];
	bool passed_over = row->value % 7 == 0;
	bool by_key = has(consumer->policy, "park-key");
	/* A query that passes rows over does not say so before the next one that it returns. */
	bool unseen = passed_over && v->kind == KIND_NEXT;

	if (row->id > v->watermark) {
		SIM_CHECK(row->deleted || (stop && (row->id >= stop || unseen)),
			"%s: row %lld is not processed; the watermark is %lld", v->name,
			(long long)row->id, (long long)v->watermark);
		return;
	}
	if (v->dead[at]) {
		SIM_CHECK(v->blamed[at] || story_has_id(&consumer->failed, row->id) ||
				row->value >= BAD_VALUE || (by_key && behind_dead(v, at, false)),
			"%s: row %lld is parked, and never failed", v->name, (long long)row->id);
		SIM_CHECK(has(consumer->policy, "park"), "%s: row %lld is parked against the policy",
			v->name, (long long)row->id);
		return;
	}
	/* A row that was deleted after it was mapped has no key any more when it is applied. */
	SIM_CHECK(!v->out[at] || !by_key || (v->kind == KIND_MAPPED && row->deleted) ||
			!behind_dead(v, at, true),
		"%s: row %lld is processed, and a row before it with its key is parked", v->name,
		(long long)row->id);
	SIM_CHECK(!v->out[at] || (!passed_over && row->value < BAD_VALUE),
		"%s: row %lld has a result, and cannot have one", v->name, (long long)row->id);
	SIM_CHECK(v->out[at] || passed_over || row->deleted, "%s: row %lld is lost (watermark %lld)",
		v->name, (long long)row->id, (long long)v->watermark);
}

/* The first row that stops it for good; 0 for none. */
static int64_t first_stop(const struct verdict *v)
{
	if (has(story.consumers[v->kind].policy, "park"))
		return 0;
	for (size_t i = 0; i < v->n_rows; i++)
		if (v->rows[i].value >= BAD_VALUE && !v->rows[i].deleted)
			return v->rows[i].id;
	return 0;
}

static void judge_counters(const struct verdict *v)
{
	int64_t offered = number(v->db, "SELECT offered FROM catchup_state WHERE name = ?1", v->name);
	int64_t applied = number(v->db, "SELECT applied FROM catchup_state WHERE name = ?1", v->name);
	int64_t passed = number(v->db, "SELECT passed FROM catchup_state WHERE name = ?1", v->name);
	int64_t parked = number(v->db, "SELECT parked FROM catchup_state WHERE name = ?1", v->name);

	SIM_CHECK(offered == applied + passed + parked,
		"%s: %lld offered, %lld applied, %lld passed over, %lld parked", v->name,
		(long long)offered, (long long)applied, (long long)passed, (long long)parked);
	SIM_CHECK(parked == (int64_t)v->n_dead, "%s: %lld parked, %zu dead letters", v->name,
		(long long)parked, v->n_dead);
	/* A set counts the rows of its range. */
	SIM_CHECK(v->kind == KIND_SET || applied == (int64_t)v->n_out, "%s: %lld applied, %zu results",
		v->name, (long long)applied, v->n_out);
}

static void judge_rows(enum story_kind kind, const struct story_row *rows, size_t n_rows)
{
	const struct story_consumer *consumer = &story.consumers[kind];
	struct verdict v = {.kind = kind, .name = story_names[kind], .rows = rows, .n_rows = n_rows};
	int64_t stop;

	v.db = story_connect(consumer->into ? story.results : story.database);
	v.out = calloc(n_rows + 1, sizeof(*v.out));
	v.dead = calloc(n_rows + 1, sizeof(*v.dead));
	v.blamed = calloc(n_rows + 1, sizeof(*v.blamed));
	SIM_CHECK(v.out && v.dead && v.blamed, "no memory");
	v.watermark = number(v.db, "SELECT last FROM catchup WHERE name = ?1", v.name);
	read_results(&v);
	read_dead(&v);
	stop = first_stop(&v);
	SIM_CHECK(!stop || v.watermark < stop, "%s: the watermark %lld has passed row %lld, which stops it",
		v.name, (long long)v.watermark, (long long)stop);
	for (size_t i = 0; i < n_rows; i++)
		judge_row(&v, i, stop);
	judge_counters(&v);
	free(v.out);
	free(v.dead);
	free(v.blamed);
	sqlite3_close(v.db);
}

/* The results of KIND_ROWS are the source of KIND_CHAIN. */
static void judge_chain(void)
{
	sqlite3 *db = story_connect(story.database);
	size_t n = (size_t)number(db, "SELECT count(*) FROM out_rows", NULL), i = 0;
	struct story_row *rows = calloc(n + 1, sizeof(*rows));
	sqlite3_stmt *stmt = ask(db, "SELECT n, k, v FROM out_rows ORDER BY n", NULL);

	SIM_CHECK(rows, "no memory");
	for (; i < n && sqlite3_step(stmt) == SQLITE_ROW; i++) {
		rows[i].id = sqlite3_column_int64(stmt, 0);
		snprintf(rows[i].key, sizeof(rows[i].key), "%s",
			(const char *)sqlite3_column_text(stmt, 1));
		rows[i].value = sqlite3_column_int64(stmt, 2);
	}
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	judge_rows(KIND_CHAIN, rows, n);
	free(rows);
}

static void judge_cache(void)
{
	sqlite3 *db = story_connect(story.database);
	int64_t wrong = number(db,
		"SELECT count(*) FROM (SELECT id, v FROM truth EXCEPT SELECT id, v FROM cache)", NULL);
	int64_t stale = number(db,
		"SELECT count(*) FROM (SELECT id, v FROM cache EXCEPT SELECT id, v FROM truth)", NULL);

	SIM_CHECK(wrong == 0 && stale == 0, "the cache has %lld rows wrong or missing, %lld stale",
		(long long)wrong, (long long)stale);
	sqlite3_close(db);
}

static void judge_file(const char *path)
{
	struct cu_file_stat stat;
	sqlite3 *db;
	sqlite3_stmt *stmt;

	if (sim_disk_stat(path, &stat) != 0)
		return;
	db = story_connect(path);
	stmt = ask(db, "PRAGMA integrity_check", NULL);
	SIM_CHECK(sqlite3_step(stmt) == SQLITE_ROW &&
			strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0,
		"'%s' is damaged: %s", path, (const char *)sqlite3_column_text(stmt, 0));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
}

void story_judge(void)
{
	judge_file(story.database);
	judge_file(story.results);
	for (int kind = 0; kind < KINDS; kind++) {
		if (!story.consumers[kind].used)
			continue;
		if (kind == KIND_CACHE)
			judge_cache();
		else if (kind == KIND_CHAIN)
			judge_chain();
		else
			judge_rows(kind, story.rows, story.n_rows);
	}
}
