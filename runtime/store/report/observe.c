/* SPDX-License-Identifier: MIT */
/*
 * observe.c - status and waiting from outside: only database files are looked at, whoever works on
 * them. Nothing is written, and every connection is read-only.
 */
#include "base/error.h"
#include "store/ledger/record.h"
#include "store/source/source.h"
#include "store/source/source_guard.h"
#include "store/report/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS 2000

static int open_to_look(struct cu_conn *conn, const char *path, struct catchup_error *error)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_STATUS,
		.main = path,
		.busy_ms = BUSY_MS,
	};

	return cu_conn_open(conn, &options, error);
}

/* ---- status ------------------------------------------------------------------------------- */

/* A source that several consumers follow is asked once. */
struct seen_source {
	const struct cu_entry *entry; /* borrowed */
	struct cu_source source;
	bool open;
	int64_t newest; /* -1 when it cannot be read */
};

struct look {
	struct cu_conn conn; /* the source's database */
	struct cu_owner self;
	struct cu_entries entries;
	struct seen_source *sources;
	size_t n_sources;
	struct catchup_status *status;
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* As SQLite compares names of tables and columns. */
static bool same_name(const char *a, const char *b)
{
	return a == b || (a && b && sqlite3_stricmp(a, b) == 0);
}

/* NULL without memory. */
static struct seen_source *find_source(struct look *look, const struct cu_entry *entry)
{
	struct cu_source_spec spec = {
		.table = entry->source,
		.id_column = entry->id_column ? entry->id_column : "id",
		.max = entry->max,
		.consumer = entry->name,
	};
	struct seen_source *seen;
	bool empty;

	for (size_t i = 0; i < look->n_sources; i++) {
		seen = &look->sources[i];
		if (same_name(seen->entry->source, entry->source) &&
			same_name(seen->entry->id_column, entry->id_column) &&
			same_text(seen->entry->max, entry->max))
			return seen;
	}
	seen = &look->sources[look->n_sources++];
	seen->entry = entry;
	seen->newest = -1;
	/* Why it cannot be read is told by whoever runs the consumer. */
	seen->open = (spec.table || spec.max) &&
		cu_source_open(&seen->source, &look->conn, &spec, NULL) == CATCHUP_OK;
	if (seen->open && cu_source_newest(&seen->source, &seen->newest, &empty, NULL) != CATCHUP_OK)
		seen->newest = -1;
	if (spec.table || spec.max) {
		struct cu_source_guard guard = {0};
		bool known = !spec.table || cu_source_guard_read(&look->conn, spec.table, &guard,
					NULL) == CATCHUP_OK;
		const struct catchup_source_status source = {
			.name = spec.table ? spec.table : spec.max,
			.database = look->status->database,
			.newest = seen->newest,
			.guarded = known ? guard.installed : -1,
		};

		if (!cu_status_add_source(look->status, &source))
			return NULL;
	}
	return seen;
}

/* Trouble that was, of a consumer that is run again or at rest: its record is kept for the next commit to
 * clear, so that it is known since when, should it come again. */
static void forget_error(struct catchup_consumer_status *status)
{
	status->error_code = 0;
	status->error_row = 0;
	status->error_since_ms = 0;
	status->last_error = "";
	status->error_category = "";
}

static void set_state(struct cu_record *record)
{
	struct catchup_consumer_status *status = &record->status;

	if (cu_record_in_trouble(record))
		return;
	if (!record->held)
		status->state = CATCHUP_STATE_IDLE;
	else if (status->newest >= 0 && status->watermark >= status->newest)
		status->state = CATCHUP_STATE_CAUGHT_UP;
	else
		status->state = CATCHUP_STATE_RUNNING;
	forget_error(status);
}

/* The record is in the source's database or in one of its own; that one may be missing or broken,
 * which is shown and stops nothing. */
static int read_record(struct look *look, const struct cu_entry *entry, struct cu_record *record,
	struct catchup_error *error)
{
	struct catchup_error why = {0};
	struct cu_conn conn;
	int rc;

	if (entry->into[0] == '\0')
		return cu_record_read(&look->conn, entry->name, &look->self, record, error);
	rc = open_to_look(&conn, entry->into, &why);
	if (rc == CATCHUP_OK) {
		rc = cu_record_read(&conn, entry->name, &look->self, record, &why);
		cu_conn_close(&conn);
	}
	if (rc == CATCHUP_OK)
		return rc;
	cu_record_clear(record);
	record->status.error_code = rc;
	snprintf(record->message, sizeof(record->message), "results %.500s", why.message);
	return CATCHUP_OK;
}

static int look_at(struct look *look, const struct cu_entry *entry, struct catchup_error *error)
{
	struct seen_source *seen = find_source(look, entry);
	struct catchup_consumer_status *status;
	struct cu_record record;
	int rc;

	if (!seen)
		return cu_error_nomem(error);
	rc = read_record(look, entry, &record, error);
	if (rc != CATCHUP_OK)
		return rc;
	status = &record.status;
	status->name = entry->name;
	status->source = entry->source ? entry->source : entry->max;
	status->into = entry->into;
	status->newest = seen->newest;
	status->lag_rows = -1;
	if (seen->newest >= 0 && cu_source_count(&seen->source, status->watermark, -1,
					 &status->lag_rows, NULL) != CATCHUP_OK)
		status->lag_rows = -1;
	/* Of results that cannot be read nothing is known but why. */
	if (record.known || status->error_code == CATCHUP_OK)
		set_state(&record);
	return cu_status_add_consumer(look->status, status) ? CATCHUP_OK : cu_error_nomem(error);
}

int catchup_status_read(const char *database, struct catchup_status **out, struct catchup_error *error)
{
	struct look look = {0};
	char *path;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	rc = cu_path_resolve(database, NULL, &path, error);
	if (rc != CATCHUP_OK)
		return rc;
	cu_owner_self(&look.self);
	rc = open_to_look(&look.conn, path, error);
	if (rc == CATCHUP_OK && !(look.status = cu_status_create(path)))
		rc = cu_error_nomem(error);
	/* One moment of the database for everything that is in it. */
	if (rc == CATCHUP_OK)
		rc = cu_conn_begin_read(&look.conn, error);
	if (rc == CATCHUP_OK)
		rc = cu_entries_read(&look.conn, NULL, &look.entries, error);
	if (rc == CATCHUP_OK && look.entries.n > 0 &&
		!(look.sources = calloc(look.entries.n, sizeof(*look.sources))))
		rc = cu_error_nomem(error);
	for (size_t i = 0; i < look.entries.n && rc == CATCHUP_OK; i++)
		rc = look_at(&look, &look.entries.items[i], error);
	if (rc == CATCHUP_OK && !cu_status_add_log(look.status, 0))
		rc = cu_error_nomem(error);
	for (size_t i = 0; i < look.n_sources; i++)
		if (look.sources[i].open)
			cu_source_close(&look.sources[i].source);
	cu_conn_close(&look.conn);
	cu_entries_finish(&look.entries);
	free(look.sources);
	free(path);
	if (rc == CATCHUP_OK)
		*out = look.status;
	else
		catchup_status_free(look.status);
	return rc;
}

/* ---- waiting ------------------------------------------------------------------------------ */

#define SAFETY_NS (500 * CU_NS_PER_MS) /* notices may be missed, on network file systems always */
#define CANCEL_NS (100 * CU_NS_PER_MS) /* how late a cancel may be noticed */
/* A commit becomes visible a little after the file has changed: look again this much later. */
#define SETTLE_NS (CU_NS_PER_MS)
#define SETTLE_LOOKS 5

/* Who waits, and for how long yet. */
struct waiting {
	const char *consumer;
	int64_t deadline;
	int64_t pause;              /* between two looks, when nothing is heard */
	const volatile int *cancel; /* may be NULL */
	struct cu_watch *watch;     /* owned; of the file that is looked at */
	struct cu_conn conn;        /* the same */
	int settle;
};

static void unwatch(struct waiting *w)
{
	cu_conn_close(&w->conn);
	cu_watch_destroy(w->watch);
	w->watch = NULL;
}

/* Watching begins before the first look, so that no commit falls between. */
static int watch(struct waiting *w, const char *path, struct catchup_error *error)
{
	int rc = cu_watch_create(path, "-wal", &w->watch);

	return rc == 0 ? CATCHUP_OK : cu_error_os(error, rc, "watching '%.200s'", path);
}

/* Until it is worth looking again. CATCHUP_TIMEOUT comes without words: the caller knows for what. */
static int await_news(struct waiting *w, struct catchup_error *error)
{
	int64_t now = cu_os_now_ns(), next;

	if (w->cancel && *w->cancel)
		return cu_error_set(error, CATCHUP_CANCELED, 0, "waiting was canceled");
	if (now >= w->deadline)
		return CATCHUP_TIMEOUT;
	next = cu_deadline(now, w->settle > 0 ? SETTLE_NS : w->pause);
	if (w->settle > 0)
		w->settle--;
	if (cu_watch_wait(w->watch, next < w->deadline ? next : w->deadline) != 0)
		w->settle = SETTLE_LOOKS;
	cu_watch_works(w->watch);
	return CATCHUP_OK;
}

/* The connection stays open between two looks, for opening and closing one makes notices; but not when the
 * file is another. Whether it is open. */
static bool still_open(struct waiting *w)
{
	if (cu_conn_is_open(&w->conn) && cu_conn_moved(&w->conn))
		cu_conn_close(&w->conn);
	return cu_conn_is_open(&w->conn);
}

/* Absolute path of the file that has the consumer's watermark; NULL where nobody knows it. */
static int find_results(struct waiting *w, const char *path, char **results, struct catchup_error *error)
{
	struct cu_entries entries = {0};
	int rc = still_open(w) ? CATCHUP_OK : open_to_look(&w->conn, path, error);

	*results = NULL;
	if (rc == CATCHUP_OK && (rc = cu_conn_begin_read(&w->conn, error)) == CATCHUP_OK) {
		rc = cu_entries_read(&w->conn, w->consumer, &entries, error);
		cu_conn_rollback(&w->conn);
	}
	if (rc == CATCHUP_OK && entries.n > 0 && entries.items[0].into[0] == '\0') {
		*results = strdup(path);
		rc = *results ? CATCHUP_OK : cu_error_nomem(error);
	} else if (rc == CATCHUP_OK && entries.n > 0) {
		*results = entries.items[0].into;
		entries.items[0].into = NULL;
	}
	cu_entries_finish(&entries);
	return rc;
}

/* The same, of a consumer that may be about to start for the first time: where the wait has an end, it is
 * waited for. Without one a name that is mistyped would be waited for without end. */
static int await_results(struct waiting *w, const char *database, char **results, struct catchup_error *error)
{
	char *path;
	int rc = cu_path_resolve(database, NULL, &path, error);

	*results = NULL;
	if (rc != CATCHUP_OK)
		return rc;
	rc = watch(w, path, error);
	while (rc == CATCHUP_OK) {
		rc = find_results(w, path, results, error);
		if (rc != CATCHUP_OK || *results)
			break;
		rc = w->deadline == CU_FOREVER ? CATCHUP_USAGE : await_news(w, error);
		if (rc == CATCHUP_USAGE || rc == CATCHUP_TIMEOUT)
			cu_error_set(error, rc, 0, "database '%s' knows no consumer '%.200s'%s", path,
				w->consumer, rc == CATCHUP_TIMEOUT ? " yet" : "");
	}
	unwatch(w);
	free(path);
	return rc;
}

/* Looks once. A results database that is missing or locked is no error: it is about to be made, or free
 * again. */
static int look_once(struct waiting *w, const char *results, const struct cu_owner *self,
	struct cu_record *record, struct catchup_error *error)
{
	struct catchup_error why = {0};
	struct cu_file_stat st;
	int rc = CATCHUP_OK;

	memset(record, 0, sizeof(*record));
	if (!still_open(w)) {
		if (cu_file_stat_path(results, &st) != 0)
			return CATCHUP_OK;
		rc = open_to_look(&w->conn, results, &why);
	}
	if (rc == CATCHUP_OK && (rc = cu_conn_begin_read(&w->conn, &why)) == CATCHUP_OK) {
		rc = cu_record_read(&w->conn, w->consumer, self, record, &why);
		cu_conn_rollback(&w->conn);
	}
	if (rc == CATCHUP_OK || cu_fault_of(why.detail) == CU_FAULT_BUSY)
		return CATCHUP_OK;
	if (error)
		*error = why;
	return rc;
}

int catchup_wait_watermark(const char *database, const char *consumer, int64_t until,
	int64_t timeout_ms, const volatile int *cancel, struct catchup_error *error)
{
	struct waiting w = {
		.consumer = consumer,
		.deadline = timeout_ms < 0 ? CU_FOREVER : cu_deadline(cu_os_now_ns(),
			timeout_ms > CU_FOREVER / CU_NS_PER_MS ? CU_FOREVER : timeout_ms * CU_NS_PER_MS),
		.pause = cancel ? CANCEL_NS : SAFETY_NS,
		.cancel = cancel,
	};
	struct cu_record record = {0};
	struct cu_owner self;
	char *results = NULL;
	int rc;

	if (!consumer || consumer[0] == '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0, "the consumer's name is empty");
	rc = await_results(&w, database, &results, error);
	if (rc != CATCHUP_OK)
		return rc;
	cu_owner_self(&self);
	rc = watch(&w, results, error);
	while (rc == CATCHUP_OK) {
		rc = look_once(&w, results, &self, &record, error);
		if (rc != CATCHUP_OK || record.status.watermark >= until)
			break;
		/* Somebody may have taken it up again. */
		if (record.status.state == CATCHUP_STATE_STOPPED && !record.held) {
			rc = cu_error_set(error, CATCHUP_CONSUMER, 0,
				"consumer '%.200s' has stopped at id %lld: %s", consumer,
				(long long)record.status.watermark, record.message);
			break;
		}
		rc = await_news(&w, error);
		if (rc == CATCHUP_TIMEOUT)
			cu_error_set(error, rc, 0, "consumer '%.200s' is at id %lld, not yet at %lld",
				consumer, (long long)record.status.watermark, (long long)until);
	}
	unwatch(&w);
	free(results);
	return rc;
}
