/* SPDX-License-Identifier: MIT */
#include "fault_story.h"

#include "fault_sites.h"

#include "pool/plan/policy.h"

#define N_ROWS 12

/* The pauses between attempts are the plan's business; here they only take time. */
int64_t __wrap_cu_policy_pause_ns(int64_t base_ns, int64_t max_ns, uint32_t attempt, uint64_t random);

int64_t __wrap_cu_policy_pause_ns(int64_t base_ns, int64_t max_ns, uint32_t attempt, uint64_t random)
{
	(void)base_ns;
	(void)max_ns;
	(void)attempt;
	(void)random;
	return CU_NS_PER_MS / 10;
}

static int one_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	(void)row;
	if (sqlite3_column_int64(row, 0) == 5)
		return catchup_fail(ctx, 0, "row 5 is bad");
	sqlite3_reset(state);
	sqlite3_bind_int64(state, 1, sqlite3_column_int64(row, 0));
	return sqlite3_step(state) == SQLITE_DONE ? CATCHUP_ROW_APPLIED
						  : catchup_fail_db(ctx, "insert");
}

static int prepare(struct catchup_context *ctx, void **state)
{
	char sql[80];

	snprintf(sql, sizeof(sql), "INSERT INTO done_%s VALUES (?1)", ctx->name);
	if (ctx->worker > 0)
		return CATCHUP_ROW_APPLIED;
	return sqlite3_prepare_v2(ctx->db, sql, -1, (sqlite3_stmt **)state, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "prepare");
}

static void finalize(struct catchup_context *ctx, void *state)
{
	(void)ctx;
	sqlite3_finalize(state);
}

static int map_row(struct catchup_context *ctx, void *state, sqlite3_stmt *row, void **result)
{
	(void)state;
	if (sqlite3_column_int64(row, 0) == 5)
		return catchup_fail(ctx, 0, "row 5 is bad");
	*result = malloc(1);
	return *result ? CATCHUP_ROW_APPLIED : catchup_fail(ctx, SQLITE_NOMEM, "no memory");
}

static int apply_row(struct catchup_context *ctx, void *state, int64_t id, void *result)
{
	(void)result;
	sqlite3_reset(state);
	sqlite3_bind_int64(state, 1, id);
	return sqlite3_step(state) == SQLITE_DONE ? CATCHUP_ROW_APPLIED
						  : catchup_fail_db(ctx, "insert");
}

/* Orders that a rebuilding finds. */
#define REBUILT 6
#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

static int one_event(struct catchup_context *ctx, void *state, const struct catchup_event *event)
{
	int64_t id = event->keys[0].integer;

	/* What a rebuilding has put there is met again. */
	return id <= REBUILT ? CATCHUP_ROW_PASSED : apply_row(ctx, state, id, NULL);
}

static int rebuild(struct catchup_context *ctx, void *state, const struct catchup_out_of_sync *why)
{
	(void)state;
	(void)why;
	return sqlite3_exec(ctx->db, "INSERT OR IGNORE INTO done_events SELECT id FROM orders WHERE id <= "
		       TEXT(REBUILT), NULL, NULL, NULL) == SQLITE_OK
		? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "rebuild");
}

#define SETUP(name) .setup = "CREATE TABLE IF NOT EXISTS done_" name "(id INTEGER PRIMARY KEY)"

static const struct catchup_consumer rows = {CATCHUP_CONSUMER_ABI, .name = "rows", .summary = "rows",
	.source = "orders", SETUP("rows"), .open = prepare, .row = one_row, .close = finalize,
	.on_error = "park-key(customer)"};
static const struct catchup_consumer mapped = {CATCHUP_CONSUMER_ABI, .name = "mapped",
	.summary = "mapped", .source = "orders", SETUP("mapped"), .open = prepare, .map = map_row,
	.apply = apply_row, .discard = free, .close = finalize, .on_error = "park-key(customer)"};
static const struct catchup_consumer events = {CATCHUP_CONSUMER_ABI, .name = "events",
	.summary = "events", .source = "changelog:fam.orders", SETUP("events"), .open = prepare,
	.event = one_event, .resync = rebuild, .close = finalize};
const struct catchup_consumer *const story_builtins[] = {&rows, &mapped, &events, NULL};

static const char sets[] =
	"-- name: sets\n-- source: orders\n-- on-error: park-key(customer)\n"
	"-- setup\nCREATE TABLE IF NOT EXISTS done_sets(id INTEGER PRIMARY KEY CHECK(id <> 5));\n"
	"-- apply\nINSERT INTO done_sets SELECT id FROM orders WHERE id > @last AND id <= @max;\n";

static const char queries[] =
	"-- name: queries\n-- into: results.db\n"
	"-- setup\nCREATE TABLE IF NOT EXISTS done_queries(id INTEGER PRIMARY KEY);\n"
	"-- max\nSELECT max(id) AS max FROM orders;\n"
	"-- next\nSELECT id, customer FROM orders WHERE id > @last AND id <= @max ORDER BY id LIMIT 5;\n"
	"-- row\nINSERT INTO done_queries SELECT @id WHERE @id <> 5;\n";

/* ---- the story -------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

/* Sequences 4 to 6 are missing, 8 is another table's, and one line is no event. */
static void write_changelog(const char *path)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	for (int i = 1; i <= N_ROWS; i++) {
		if (i >= 4 && i <= 6)
			continue;
		fprintf(file, "{\"seq\":%d,\"family\":\"fam\",\"table\":\"%s\",\"key\":[{\"name\":\"id\","
			"\"type\":\"int\",\"value\":%d},{\"name\":\"n\",\"type\":\"text\",\"value\":\"x\"}]}\n",
			i, i == 8 ? "other" : "orders", i);
		if (i == 9)
			fputs("no event\n", file);
	}
	assert_int_equal(fclose(file), 0);
}

void story_begin(struct story *story, struct scratch *s)
{
	memset(story, 0, sizeof(*story));
	story->s = s;
	keep_log(&story->log);
	snprintf(story->files[0], sizeof(story->files[0]), "%s/sets.sql", s->folder);
	snprintf(story->files[1], sizeof(story->files[1]), "%s/queries.sql", s->folder);
	snprintf(story->changelog, sizeof(story->changelog), "%s/changes.log", s->folder);
	write_changelog(story->changelog);
	write_file(story->files[0], sets);
	write_file(story->files[1], queries);
}

void story_fresh_database(struct scratch *s)
{
	char path[512];

	for (const char *const *suffix = (const char *const[]){"", "-wal", "-shm", NULL}; *suffix; suffix++) {
		snprintf(path, sizeof(path), "%s%s", s->database, *suffix);
		unlink(path);
		snprintf(path, sizeof(path), "%s%s", s->results, *suffix);
		unlink(path);
	}
	sql_run(s->database, "PRAGMA synchronous=OFF; PRAGMA journal_mode=WAL;"
		"CREATE TABLE orders(id INTEGER PRIMARY KEY AUTOINCREMENT, customer INT);"
		"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 12)"
		" INSERT INTO orders SELECT i, i % 4 FROM c");
}

int story_run(struct story *story, struct catchup_error *error)
{
	const struct catchup_options options = {.size = sizeof(options),
		.database = story->s->database,
		.builtins = story_builtins,
		.changelog = story->changelog,
		.synchronous = CATCHUP_SYNCHRONOUS_OFF,
		.batch_rows = 8,
		.log = keep_line,
		.log_context = &story->log,
		.log_level = CATCHUP_LOG_DEBUG};
	struct catchup_status *status;
	struct catchup *c = NULL;
	int rc = catchup_open(&options, &c, error);

	for (size_t i = 0; rc == CATCHUP_OK && i < story->n_consumers; i++)
		rc = catchup_add(c, story->consumers[i], NULL, error);
	if (rc == CATCHUP_OK)
		rc = catchup_start(c, error);
	if (rc == CATCHUP_OK)
		rc = catchup_wait(c, PATIENCE_MS, error);
	if (rc == CATCHUP_OK) {
		rc = catchup_status(c, &status, error);
		if (rc == CATCHUP_OK)
			catchup_status_free(status);
	}
	if (rc == CATCHUP_OK)
		rc = catchup_stop(c, error);
	catchup_close(c);
	return rc;
}

/* What each consumer leaves. Row 5 is bad; of its customer is row 9 too, which park-key parks behind it;
 * event 8 is another table's. */
static const struct outcome {
	const char *name;
	bool separate;
	int done, parked;
} outcomes[] = {
	{"rows", false, N_ROWS - 2, 2},
	{"sets", false, N_ROWS - 2, 2},
	{"queries", true, N_ROWS - 1, 0},
	{"mapped", false, N_ROWS - 2, 2},
	{"events", false, N_ROWS - 1, 0},
};

/* Whether a consumer has done its rows, each once, and parked or passed over what it should. */
static void expect_done(struct story *story, const struct outcome *o, size_t place)
{
	const char *file = o->separate ? story->s->results : story->s->database;
	int done, parked, last;
	char sql[256];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM done_%s", o->name);
	done = (int)sql_int(file, sql);
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM catchup_dead WHERE consumer = '%s'", o->name);
	parked = (int)sql_int(file, sql);
	snprintf(sql, sizeof(sql), "SELECT last FROM catchup WHERE name = '%s'", o->name);
	last = (int)sql_int(file, sql);
	if (last != N_ROWS || done != o->done || parked != o->parked)
		fail_msg("%s: consumer '%s' is at %d with %d done and %d parked", fault_name(place), o->name,
			last, done, parked);
}

void story_expect_done(struct story *story, size_t place)
{
	for (size_t i = 0; i < story->n_consumers; i++)
		for (size_t j = 0; j < sizeof(outcomes) / sizeof(outcomes[0]); j++)
			if (strstr(story->consumers[i], outcomes[j].name))
				expect_done(story, &outcomes[j], place);
}
