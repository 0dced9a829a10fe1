/* SPDX-License-Identifier: MIT */
/*
 * changelog - writes a changelog line for every row of a table, so that caches in other processes know
 * which rows changed.
 *
 * Follows  the table given as `source` (changes(id, ...) unless said otherwise): one row a change.
 * Writes   the file `path`, one event a row: family and table as given, and the columns named by `key`
 *          as the primary key; and changelog_sequence(consumer, sequence), the last sequence written.
 *
 *	catchup run app.db changelog:source=user_changes,path=/var/lib/app/changelog,table=users,key=user
 *
 * Lines are written and flushed before the transaction commits. So after a crash in between the same
 * rows are written again, as new events: a reader may hear of a change twice, never not at all. The
 * sequence goes on after what the database remembers or the file ends with, whichever is greater, and
 * never begins anew. There must be one writer for a file: a second one waits until the first has ended.
 *
 * Passed over: rows in which a key column is a blob (the format has no word for it).
 */
#include <catchup/changelog.h>
#include <catchup/consumer.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 16

struct writer {
	struct catchup_changelog_writer *file; /* owned; NULL while another writer has the file */
	sqlite3_stmt *save;
	const char *family, *table;
	char *names;               /* owned; the option `key`, cut at its pluses */
	const char *keys[KEYS_MAX];
	int n_keys;
	int columns[KEYS_MAX];     /* of the row */
	bool found;
	int found_prepares;        /* how often the row's statement had been prepared anew by then */
};

/* ---- opening --------------------------------------------------------------------------------- */

static int cut_keys(struct catchup_context *ctx, struct writer *w)
{
	char *rest;

	w->names = strdup(catchup_option_text(ctx, "key"));
	if (!w->names)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	for (char *name = strtok_r(w->names, "+", &rest); name; name = strtok_r(NULL, "+", &rest)) {
		if (w->n_keys == KEYS_MAX)
			return catchup_fail(ctx, 0, "option 'key': more than %d columns", KEYS_MAX);
		w->keys[w->n_keys++] = name;
	}
	if (w->n_keys == 0)
		return catchup_fail(ctx, 0, "option 'key': no column is named");
	return CATCHUP_ROW_APPLIED;
}

/* The last sequence that was committed, 0 for none. */
static int read_sequence(struct catchup_context *ctx, int64_t *sequence)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(ctx->db,
		"SELECT sequence FROM changelog_sequence WHERE consumer = ?1", -1, &stmt, NULL);

	*sequence = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(stmt, 1, ctx->name, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
		*sequence = sqlite3_column_int64(stmt, 0);
	if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
		sqlite3_finalize(stmt);
		return catchup_fail_db(ctx, "reading the last sequence");
	}
	sqlite3_finalize(stmt);
	return CATCHUP_ROW_APPLIED;
}

/* An error of the file: a full disk is the machine's, and so is what the system says (detail) and may
 * pass, as does another writer. What the file is (a folder, a database) does not. */
static int fail_file(struct catchup_context *ctx, const struct catchup_error *error)
{
	int code = error->code == CATCHUP_FULL    ? SQLITE_FULL
		   : error->code == CATCHUP_NOMEM ? SQLITE_NOMEM
		   : error->code == CATCHUP_LOCKED                     ? SQLITE_IOERR
		   : error->code == CATCHUP_IO && error->detail != 0 ? SQLITE_IOERR
								     : 0;

	return catchup_fail(ctx, code, "%s", error->message);
}

static void writer_close(struct catchup_context *ctx, void *state)
{
	struct writer *w = state;

	(void)ctx;
	catchup_changelog_writer_close(w->file);
	sqlite3_finalize(w->save);
	free(w->names);
	free(w);
}

/* Becomes the file's writer. may_wait: unless there is one already. */
static int open_file(struct catchup_context *ctx, struct writer *w, bool may_wait)
{
	const char *databases[] = {sqlite3_db_filename(ctx->db, "main"),
		sqlite3_db_filename(ctx->db, "source"), NULL};
	struct catchup_changelog_writer_options options = {
		.size = sizeof(options),
		.path = catchup_option_text(ctx, "path"),
		.rotate_bytes = catchup_option_int(ctx, "rotate-bytes"),
		.keep = (uint32_t)catchup_option_int(ctx, "keep"),
		.sync = (uint32_t)catchup_option_int(ctx, "sync"),
		.databases = databases,
	};
	struct catchup_error error;
	int rc;

	if (read_sequence(ctx, &options.after_sequence) != CATCHUP_ROW_APPLIED)
		return CATCHUP_ROW_FAILED;
	rc = catchup_changelog_writer_open(&options, &w->file, &error);
	if (rc == CATCHUP_OK || (rc == CATCHUP_LOCKED && may_wait))
		return CATCHUP_ROW_APPLIED;
	/* A folder that is not there is a wrong path. */
	if (error.detail == ENOENT || error.detail == ENOTDIR)
		error.detail = 0;
	return fail_file(ctx, &error);
}

static int open_all(struct catchup_context *ctx, struct writer *w)
{
	if (cut_keys(ctx, w) != CATCHUP_ROW_APPLIED)
		return CATCHUP_ROW_FAILED;
	if (sqlite3_prepare_v2(ctx->db,
		    "INSERT INTO changelog_sequence(consumer, sequence) VALUES (?1, ?2)"
		    " ON CONFLICT DO UPDATE SET sequence = excluded.sequence",
		    -1, &w->save, NULL) != SQLITE_OK ||
		sqlite3_bind_text(w->save, 1, ctx->name, -1, SQLITE_STATIC) != SQLITE_OK)
		return catchup_fail_db(ctx, "cannot prepare");
	/* Another process may run this consumer, and end before it is this one's turn. */
	return open_file(ctx, w, true);
}

static int writer_open(struct catchup_context *ctx, void **state)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	w->family = catchup_option_text(ctx, "family");
	w->table = catchup_option_text(ctx, "table");
	if (w->table[0] == '\0')
		w->table = ctx->source;
	if (open_all(ctx, w) != CATCHUP_ROW_APPLIED) {
		writer_close(ctx, w);
		return CATCHUP_ROW_FAILED;
	}
	*state = w;
	return CATCHUP_ROW_APPLIED;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* SQLite prepares the row's statement anew by itself when the schema has changed: then a column may stand
 * in another place. */
static int find_columns(struct catchup_context *ctx, struct writer *w, sqlite3_stmt *row)
{
	int prepares = sqlite3_stmt_status(row, SQLITE_STMTSTATUS_REPREPARE, 0);

	if (w->found && w->found_prepares == prepares)
		return CATCHUP_ROW_APPLIED;
	w->found = false;
	for (int i = 0; i < w->n_keys; i++) {
		int n = sqlite3_column_count(row);

		w->columns[i] = -1;
		for (int c = 0; c < n && w->columns[i] < 0; c++)
			if (sqlite3_stricmp(sqlite3_column_name(row, c), w->keys[i]) == 0)
				w->columns[i] = c;
		if (w->columns[i] < 0)
			return catchup_fail(ctx, 0, "option 'key': source '%s' has no column '%s'",
				ctx->source, w->keys[i]);
	}
	w->found = true;
	w->found_prepares = prepares;
	return CATCHUP_ROW_APPLIED;
}

/* One key out of a column. False: a blob. */
static bool take_key(struct catchup_key *key, const char *name, sqlite3_stmt *row, int column)
{
	*key = (struct catchup_key){.name = name};
	switch (sqlite3_column_type(row, column)) {
	case SQLITE_INTEGER:
		key->kind = CATCHUP_KEY_INT;
		key->type = "int";
		key->integer = sqlite3_column_int64(row, column);
		return true;
	case SQLITE_FLOAT:
		key->kind = CATCHUP_KEY_DOUBLE;
		key->type = "double";
		key->real = sqlite3_column_double(row, column);
		return true;
	case SQLITE_TEXT:
		key->kind = CATCHUP_KEY_TEXT;
		key->type = "text";
		key->text = (const char *)sqlite3_column_text(row, column);
		key->text_bytes = (size_t)sqlite3_column_bytes(row, column);
		return key->text != NULL;
	case SQLITE_NULL:
		key->kind = CATCHUP_KEY_NULL;
		key->type = "null";
		return true;
	default:
		return false;
	}
}

static int writer_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct writer *w = state;
	struct catchup_key keys[KEYS_MAX];
	struct catchup_error error;

	if (find_columns(ctx, w, row) != CATCHUP_ROW_APPLIED)
		return CATCHUP_ROW_FAILED;
	for (int i = 0; i < w->n_keys; i++)
		if (!take_key(&keys[i], w->keys[i], row, w->columns[i]))
			return CATCHUP_ROW_PASSED;
	if (catchup_changelog_writer_append(w->file, w->family, w->table, keys, (size_t)w->n_keys,
		    NULL, &error) != CATCHUP_OK)
		return fail_file(ctx, &error);
	return CATCHUP_ROW_APPLIED;
}

/* What is left of a batch that was rolled back must not be written with this one. */
static int writer_begin(struct catchup_context *ctx, void *state)
{
	struct writer *w = state;

	if (!w->file)
		return open_file(ctx, w, false);
	catchup_changelog_writer_discard(w->file);
	return CATCHUP_ROW_APPLIED;
}

static int writer_end(struct catchup_context *ctx, void *state)
{
	struct writer *w = state;
	struct catchup_error error;

	if (catchup_changelog_writer_flush(w->file, &error) != CATCHUP_OK)
		return fail_file(ctx, &error);
	sqlite3_bind_int64(w->save, 2, catchup_changelog_writer_sequence(w->file));
	sqlite3_step(w->save);
	if (sqlite3_reset(w->save) != SQLITE_OK)
		return catchup_fail_db(ctx, "saving the sequence");
	return CATCHUP_ROW_APPLIED;
}

static const struct catchup_option options[] = {
	{"path", CATCHUP_OPTION_TEXT, NULL, 1, 4095, "the changelog file"},
	{"family", CATCHUP_OPTION_TEXT, "main", 1, 255, "family of the events"},
	{"table", CATCHUP_OPTION_TEXT, "", 0, 255, "table of the events; empty: the source's name"},
	{"key", CATCHUP_OPTION_TEXT, "id", 1, 4095, "columns of the key, with '+' between them"},
	{"rotate-bytes", CATCHUP_OPTION_INT, "134217728", CATCHUP_ROTATE_BYTES_MIN, INT64_MAX,
		"rotate before the file grows beyond this"},
	{"keep", CATCHUP_OPTION_INT, "4", 0, CATCHUP_ROTATE_KEEP_MAX, "rotated files that are kept"},
	{"sync", CATCHUP_OPTION_BOOL, "no", 0, 0, "make each batch durable before it commits"},
	{0},
};

CATCHUP_CONSUMER(changelog) = {
	CATCHUP_CONSUMER_ABI,
	.name = "changelog",
	.summary = "writes a changelog line for every row of a table",
	.options = options,
	.source = "changes",
	.setup = "CREATE TABLE IF NOT EXISTS changelog_sequence(consumer TEXT PRIMARY KEY,"
		 " sequence INTEGER NOT NULL) WITHOUT ROWID",
	.open = writer_open,
	.row = writer_row,
	.batch_begin = writer_begin,
	.batch_end = writer_end,
	.close = writer_close,
};
