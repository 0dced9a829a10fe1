/* SPDX-License-Identifier: MIT */
/*
 * module_sample.c - a module, built once as it should be and once for each way of being wrong:
 *
 *	(none)           copies ids, and in open tries everything that a module must not be able to do
 *	WRONG_MAJOR      built for another ABI
 *	WRONG_MINOR      built for a newer one
 *	WRONG_SIZE       its struct catchup_module has another size
 *	WRONG_POINTERS   it has no consumer
 *	WRONG_TABLE      its consumer is none
 *	NO_EXPORT        exports nothing
 *	MISSING_SYMBOL   calls a function that nobody has
 *	OWN_SQLITE       holds what every copy of SQLite holds
 *	OTHER_SQLITE     is linked with a library that calls itself SQLite
 */
#include <catchup/consumer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef OWN_SQLITE
const char sample_own_sqlite[] = "SQLite format 3";
#endif

#ifdef OTHER_SQLITE
/* Declared here, since sqlite3ext.h has a macro of this name. */
#undef sqlite3_sourceid
const char *sqlite3_sourceid(void);
#endif

#ifdef MISSING_SYMBOL
void nobody_has_this_function(void);
#endif

struct sample {
	sqlite3_stmt *insert;
	int64_t step;
};

/* Stays inside the call as long as the file is there, after it has made another that says so. */
static void hold(const char *path)
{
	char inside[4096];
	FILE *file;

	if (*path == '\0' || access(path, F_OK) != 0)
		return;
	snprintf(inside, sizeof(inside), "%s.inside", path);
	file = fopen(inside, "w");
	if (file)
		fclose(file);
	while (access(path, F_OK) == 0)
		usleep(1000);
}

static int on_step(void *argument)
{
	(void)argument;
	return 1;
}

static int on_authorize(void *argument, int action, const char *a, const char *b, const char *c,
	const char *d)
{
	(void)argument, (void)action, (void)a, (void)b, (void)c, (void)d;
	return SQLITE_DENY;
}

/* The first forbidden call that was not refused, NULL when all were. */
static const char *try_everything(sqlite3 *db)
{
	int on = 0;

	if (sqlite3_close(db) != SQLITE_MISUSE)
		return "close";
	if (sqlite3_close_v2(db) != SQLITE_MISUSE)
		return "close_v2";
	if (sqlite3_busy_timeout(db, 1) != SQLITE_MISUSE)
		return "busy_timeout";
	if (sqlite3_busy_handler(db, NULL, NULL) != SQLITE_MISUSE)
		return "busy_handler";
	if (sqlite3_set_authorizer(db, on_authorize, NULL) != SQLITE_MISUSE)
		return "set_authorizer";
	if (sqlite3_extended_result_codes(db, 0) != SQLITE_MISUSE)
		return "extended_result_codes";
	if (sqlite3_wal_autocheckpoint(db, 1) != SQLITE_MISUSE)
		return "wal_autocheckpoint";
	if (sqlite3_wal_checkpoint(db, NULL) != SQLITE_MISUSE)
		return "wal_checkpoint";
	if (sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) != SQLITE_MISUSE)
		return "wal_checkpoint_v2";
	if (sqlite3_load_extension(db, "x", NULL, NULL) != SQLITE_MISUSE)
		return "load_extension";
	if (sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, &on) != SQLITE_MISUSE)
		return "db_config";
	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &on) != SQLITE_MISUSE)
		return "file_control";
	if (sqlite3_deserialize(db, "main", sqlite3_malloc(16), 16, 16,
		    SQLITE_DESERIALIZE_FREEONCLOSE) != SQLITE_MISUSE)
		return "deserialize";
	if (sqlite3_auto_extension((void (*)(void))abort) != SQLITE_MISUSE)
		return "auto_extension";
	if (sqlite3_cancel_auto_extension((void (*)(void))abort) != SQLITE_MISUSE)
		return "cancel_auto_extension";
	sqlite3_reset_auto_extension();
	if (sqlite3_vfs_register(sqlite3_vfs_find(NULL), 1) != SQLITE_MISUSE)
		return "vfs_register";
	if (sqlite3_vfs_unregister(sqlite3_vfs_find(NULL)) != SQLITE_MISUSE)
		return "vfs_unregister";
	if (sqlite3_next_stmt(db, NULL))
		return "next_stmt";
	/* These return nothing; the test sees that they have done nothing. */
	sqlite3_progress_handler(db, 1, on_step, NULL);
	sqlite3_commit_hook(db, on_step, NULL);
	sqlite3_rollback_hook(db, (void (*)(void *))abort, NULL);
	sqlite3_wal_hook(db, NULL, NULL);
	return NULL;
}

static int open_sample(struct catchup_context *ctx, void **state)
{
	struct sample *sample = sqlite3_malloc(sizeof(*sample));
	const char *allowed = try_everything(ctx->db);

	if (!sample)
		return catchup_fail(ctx, SQLITE_NOMEM, "out of memory");
	*sample = (struct sample){.step = catchup_option_int(ctx, "step")};
	if (allowed) {
		sqlite3_free(sample);
		return catchup_fail(ctx, 0, "%s is not refused", allowed);
	}
	if (sqlite3_prepare_v2(ctx->db, "INSERT INTO copy VALUES(?)", -1, &sample->insert, NULL)) {
		sqlite3_free(sample);
		return catchup_fail_db(ctx, "prepare");
	}
#ifdef OTHER_SQLITE
	catchup_log(ctx, CATCHUP_CONSUMER_INFO, "%s", sqlite3_sourceid());
#endif
#ifdef OWN_SQLITE
	catchup_log(ctx, CATCHUP_CONSUMER_INFO, "%s", sample_own_sqlite);
#endif
#ifdef MISSING_SYMBOL
	nobody_has_this_function();
#endif
	*state = sample;
	return CATCHUP_ROW_APPLIED;
}

static int row(struct catchup_context *ctx, void *state, sqlite3_stmt *row)
{
	struct sample *sample = state;
	int rc;

	hold(catchup_option_text(ctx, "hold"));
	sqlite3_bind_int64(sample->insert, 1, sqlite3_column_int64(row, 0) * sample->step);
	rc = sqlite3_step(sample->insert);
	sqlite3_reset(sample->insert);
	return rc == SQLITE_DONE ? CATCHUP_ROW_APPLIED : catchup_fail_db(ctx, "insert");
}

static void close_sample(struct catchup_context *ctx, void *state)
{
	struct sample *sample = state;

	(void)ctx;
	sqlite3_finalize(sample->insert);
	sqlite3_free(sample);
}

static const struct catchup_option options[] = {
	{.name = "step", .kind = CATCHUP_OPTION_INT, .default_value = "1", .minimum = 1, .maximum = 1000,
		.help = "multiplies ids"},
	{.name = "hold", .kind = CATCHUP_OPTION_TEXT, .default_value = "",
		.help = "a file; rows wait as long as it is there"},
	{.name = NULL},
};

#if defined(WRONG_MAJOR) || defined(WRONG_MINOR) || defined(WRONG_SIZE) ||                          \
	defined(WRONG_POINTERS) || defined(NO_EXPORT)
/* What CATCHUP_CONSUMER writes, with one thing wrong. */
const sqlite3_api_routines *sqlite3_api;
static const struct catchup_consumer sample_table;
#ifndef NO_EXPORT
extern __attribute__((visibility("default"))) const struct catchup_module catchup_module;
const struct catchup_module catchup_module = {
#ifdef WRONG_SIZE
	.size = 8,
#else
	.size = sizeof(struct catchup_module),
#endif
#ifdef WRONG_MAJOR
	.abi_major = CATCHUP_CONSUMER_ABI_MAJOR + 1,
#else
	.abi_major = CATCHUP_CONSUMER_ABI_MAJOR,
#endif
#ifdef WRONG_MINOR
	.abi_minor = CATCHUP_CONSUMER_ABI_MINOR + 1,
#else
	.abi_minor = CATCHUP_CONSUMER_ABI_MINOR,
#endif
#ifndef WRONG_POINTERS
	.consumer = &sample_table,
#endif
	.sqlite_api = (const void **)(void *)&sqlite3_api,
};
#endif
__attribute__((used)) static const struct catchup_consumer sample_table = {
#else
CATCHUP_CONSUMER(sample) = {
#endif
	CATCHUP_CONSUMER_ABI,
	.name = "sample",
	.summary = "copies ids",
	.options = options,
#ifndef WRONG_TABLE
	.source = "events",
#endif
	.open = open_sample,
	.row = row,
	.close = close_sample,
};
