/* SPDX-License-Identifier: MIT */
/*
 * runtime.c - open, add, start, stop, close.
 *
 *	NEW --start--> STARTING --> STARTED --stop--> STOPPING --> STOPPED
 *	 |                +-------a start that failed or was stopped--^
 *	 +------------------------stop-------------------------------^
 */
#include "pool/runtime.h"

#include "base/check.h"
#include "base/error.h"
#include "store/connection/path.h"

#include <stdlib.h>
#include <string.h>

static int check_database(struct catchup *c, struct catchup_error *error)
{
	struct cu_file_stat stat;
	int rc = cu_layout_check_place(c, c->path, false, &stat, error);

	if (rc == CATCHUP_OK)
		cu_layout_warn_of_names(c, c->path, &stat);
	return rc;
}

static void say_versions(struct catchup *c)
{
	cu_log(&c->logger, CATCHUP_LOG_INFO, "", "catchup %s, SQLite %s", catchup_version(),
		catchup_sqlite_version());
	if (catchup_sqlite_has_wal_reset_bug())
		cu_log(&c->logger, CATCHUP_LOG_WARN, "",
			"SQLite %s can corrupt a database when two connections write and checkpoint "
			"at the same moment (fixed in 3.51.3): this runtime checkpoints only while its "
			"own writers are held; do not checkpoint the file from other processes",
			catchup_sqlite_version());
}

static int init_locks(struct catchup *c, struct catchup_error *error)
{
	int rc = cu_mutex_init(&c->mu);

	if (rc == 0) {
		rc = cu_cond_init(&c->changed);
		if (rc == 0) {
			rc = cu_park_init(&c->progress);
			if (rc != 0)
				cu_cond_finish(&c->changed);
		}
		if (rc != 0)
			cu_mutex_finish(&c->mu);
	}
	return rc == 0 ? CATCHUP_OK : cu_error_errno(error, CATCHUP_THREAD, rc, "cannot make locks");
}

int catchup_open(
	const struct catchup_options *options, struct catchup **out, struct catchup_error *error)
{
	struct catchup *c;
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	if (!options || !options->database)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'database' is missing");
	c = calloc(1, sizeof(*c));
	if (!c)
		return cu_error_nomem(error);
	rc = init_locks(c, error);
	if (rc != CATCHUP_OK) {
		free(c);
		return rc;
	}
	c->pid = cu_os_pid();
	cu_owner_self(&c->owner);
	rc = cu_options_take(c, options, error);
	if (rc == CATCHUP_OK)
		rc = cu_sqlite_check(error);
	if (rc == CATCHUP_OK)
		rc = cu_path_resolve(options->database, NULL, &c->path, error);
	if (rc == CATCHUP_OK)
		rc = check_database(c, error);
	if (rc != CATCHUP_OK) {
		catchup_close(c);
		return rc;
	}
	say_versions(c);
	*out = c;
	return CATCHUP_OK;
}

int cu_runtime_check_process(const struct catchup *c, struct catchup_error *error)
{
	if (!c)
		return cu_error_set(error, CATCHUP_USAGE, 0, "no runtime was given");
	if (c->pid != cu_os_pid())
		return cu_error_set(error, CATCHUP_FORKED, 0,
			"the runtime belongs to process %ld, which forked this one; open another here",
			(long)c->pid);
	return CATCHUP_OK;
}

/* ---- adding --------------------------------------------------------------------------------- */

/* What can be found wrong about a policy before anything runs. */
static int check_policy(const struct cu_follower *f, struct catchup_error *error)
{
	if (f->policy.careful && (f->runtime->options.flags & CATCHUP_FLAG_NO_LEASE))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"on-error careful needs a lease: what one process has in hand would be taken for "
			"another's");
	return CATCHUP_OK;
}

/* known: by the database. Who works on such a one puts another policy in the place of its own. */
static int add_definition(struct catchup *c, struct cu_definition *definition, bool known,
	struct catchup_error *error)
{
	struct cu_follower **grown;
	struct cu_follower *f;
	int rc;

	for (size_t i = 0; i < c->n_followers; i++) {
		if (strcmp(c->followers[i]->definition->name, definition->name) != 0)
			continue;
		rc = cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.200s' is given twice; the second needs another name and results of its "
			"own (:name=OTHER,into=FILE)", definition->name);
		cu_definition_free(definition);
		return rc;
	}
	f = malloc(sizeof(*f));
	grown = realloc(c->followers, (c->n_followers + 1) * sizeof(struct cu_follower *));
	if (grown)
		c->followers = grown;
	if (!f || !grown) {
		free(f);
		cu_definition_free(definition);
		return cu_error_nomem(error);
	}
	rc = cu_follower_init(f, c, definition, error);
	if (rc == CATCHUP_OK && !known)
		rc = check_policy(f, error);
	if (rc != CATCHUP_OK) {
		cu_error_prefix(error, "consumer '%.200s': ", definition->name);
		cu_follower_finish(f);
		free(f);
		return rc;
	}
	c->followers[c->n_followers++] = f;
	return CATCHUP_OK;
}

/* The state is another one; the caller holds mu. */
static int not_new(const struct catchup *c, struct catchup_error *error)
{
	return c->state == CU_RUNTIME_STOPPED && c->stop_asked
		? cu_error_set(error, CATCHUP_CANCELED, 0, "the runtime was stopped")
		: cu_error_set(error, CATCHUP_USAGE, 0, "the runtime was started already");
}

static int check_new(struct catchup *c, struct catchup_error *error)
{
	int rc = cu_runtime_check_process(c, error);

	if (rc != CATCHUP_OK)
		return rc;
	cu_mutex_lock(&c->mu);
	if (c->state != CU_RUNTIME_NEW)
		rc = not_new(c, error);
	cu_mutex_unlock(&c->mu);
	return rc;
}

int catchup_add(struct catchup *c, const char *consumer,
	const struct catchup_consumer_config *config, struct catchup_error *error)
{
	struct cu_definition *definition;
	int rc = check_new(c, error);

	if (rc == CATCHUP_OK && !consumer)
		rc = cu_error_null(error, __func__, "consumer");
	if (rc == CATCHUP_OK)
		rc = cu_definition_make(&definition, consumer, config, c->options.builtins, error);
	return rc == CATCHUP_OK ? add_definition(c, definition, false, error) : rc;
}

int cu_runtime_add_known(struct catchup *c, const char *name, const char *spec, const char *into,
	struct catchup_error *error)
{
	struct cu_definition *definition;
	int rc = cu_definition_make(&definition, spec, NULL, c->options.builtins, error);

	if (rc != CATCHUP_OK)
		return rc;
	if (strcmp(definition->name, name) != 0)
		rc = cu_error_set(error, CATCHUP_CONFIG, 0,
			"'%.200s' makes a consumer named '%.200s' now, not '%.200s': name that one, or forget "
			"the old one", spec, definition->name, name);
	if (rc == CATCHUP_OK)
		rc = cu_definition_place(definition, into, error);
	if (rc == CATCHUP_OK)
		return add_definition(c, definition, true, error);
	cu_definition_free(definition);
	return rc;
}

int catchup_add_table(struct catchup *c, const struct catchup_consumer *table,
	const struct catchup_consumer_config *config, struct catchup_error *error)
{
	struct cu_definition *definition;
	int rc = check_new(c, error);

	if (rc == CATCHUP_OK && !table)
		rc = cu_error_null(error, __func__, "table");
	if (rc == CATCHUP_OK)
		rc = cu_definition_make_table(&definition, table, config, error);
	return rc == CATCHUP_OK ? add_definition(c, definition, false, error) : rc;
}

/* ---- starting ------------------------------------------------------------------------------- */

void cu_runtime_wake_all(struct catchup *c)
{
	for (struct cu_worker *w = c->workers; w; w = w->next)
		cu_park_wake(&w->park);
	for (struct cu_reader *r = c->readers; r; r = r->next)
		cu_reader_wake(r);
}

static void move(struct catchup *c, enum cu_runtime_state from, enum cu_runtime_state to)
{
	cu_mutex_lock(&c->mu);
	CU_CHECK(c->state == from);
	c->state = to;
	cu_cond_broadcast(&c->changed);
	cu_mutex_unlock(&c->mu);
}

/* What the setup has written, after a start that failed. Nothing depends on it. */
static void fold_logs(struct catchup *c)
{
	for (struct cu_file *file = c->files; file; file = file->next) {
		const struct cu_conn_options options = {.role = CU_ROLE_WRITER,
			.main = file->path,
			.main_id = &file->id,
			.synchronous = c->options.synchronous,
			.busy_ms = 1};
		struct cu_conn conn = {0};

		if (cu_conn_wal_bytes(file->path) > 0 &&
			cu_conn_open(&conn, &options, NULL) == CATCHUP_OK)
			cu_conn_checkpoint(&conn, true, NULL, NULL, NULL);
		cu_conn_close(&conn);
	}
}

/* What a stop has interrupted, be it the wait for a lock, is no error of its own. */
static bool interrupted_by_stop(struct catchup *c, const struct catchup_error *error)
{
	bool asked;

	cu_mutex_lock(&c->mu);
	asked = c->stop_asked;
	cu_mutex_unlock(&c->mu);
	return asked &&
		((error->detail & 0xff) == SQLITE_INTERRUPT || error->code == CATCHUP_LOCKED);
}

int catchup_start(struct catchup *c, struct catchup_error *error)
{
	struct catchup_error unwanted = {0};
	int rc;

	if (!error)
		error = &unwanted;
	rc = check_new(c, error);
	if (rc == CATCHUP_OK && c->n_followers == 0)
		rc = cu_error_set(error, CATCHUP_USAGE, 0, "there is no consumer to run");
	if (rc != CATCHUP_OK)
		return rc;
	cu_mutex_lock(&c->mu);
	if (c->state == CU_RUNTIME_NEW)
		c->state = CU_RUNTIME_STARTING;
	else
		rc = not_new(c, error);
	cu_mutex_unlock(&c->mu);
	if (rc != CATCHUP_OK)
		return rc;
	rc = cu_layout_files(c, error);
	if (rc == CATCHUP_OK)
		rc = cu_setup_run(c, error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_readers(c, error);
	if (rc == CATCHUP_OK)
		rc = cu_layout_workers(c, error);
	if (rc == CATCHUP_OK)
		rc = cu_threads_start(c, error);
	if (rc != CATCHUP_OK)
		fold_logs(c);
	if (rc != CATCHUP_OK && interrupted_by_stop(c, error))
		rc = cu_error_set(error, CATCHUP_CANCELED, 0, "the runtime was stopped");
	move(c, CU_RUNTIME_STARTING, rc == CATCHUP_OK ? CU_RUNTIME_STARTED : CU_RUNTIME_STOPPED);
	return rc;
}

/* ---- running -------------------------------------------------------------------------------- */

void cu_runtime_note_error(struct catchup *c, const struct catchup_error *error)
{
	cu_log(&c->logger, CATCHUP_LOG_ERROR, "", "%s", error->message);
	cu_mutex_lock(&c->mu);
	/* Which of several comes first is chance, and must not decide what the caller is told. */
	if (catchup_code_exit(error->code) > catchup_code_exit(c->worst_error.code))
		c->worst_error = *error;
	cu_mutex_unlock(&c->mu);
}

int cu_runtime_worst_error(struct catchup *c, struct catchup_error *error)
{
	int rc;

	cu_mutex_lock(&c->mu);
	rc = c->worst_error.code;
	if (rc != CATCHUP_OK && error)
		*error = c->worst_error;
	cu_mutex_unlock(&c->mu);
	return rc;
}

int catchup_wake(struct catchup *c)
{
	int rc = cu_runtime_check_process(c, NULL);

	if (rc == CATCHUP_OK && atomic_load(&c->go))
		for (struct cu_reader *r = c->readers; r; r = r->next)
			cu_reader_wake(r);
	return rc;
}

/* ---- stopping ------------------------------------------------------------------------------- */

static bool all_ended(struct catchup *c)
{
	for (size_t i = 0; i < c->n_followers; i++)
		if (!atomic_load(&c->followers[i]->ended))
			return false;
	return true;
}

/* Lets the batches in hand finish, but not for ever. */
static void drain(struct catchup *c)
{
	int64_t deadline_ns = cu_deadline(
		cu_os_now_ns(), (int64_t)c->options.stop_deadline_ms * CU_NS_PER_MS);

	for (;;) {
		uint32_t ticket = cu_park_prepare(&c->progress);

		if (all_ended(c)) {
			cu_park_cancel(&c->progress);
			return;
		}
		if (!cu_park_wait(&c->progress, ticket, deadline_ns) &&
			cu_os_now_ns() >= deadline_ns)
			break;
	}
	for (size_t i = 0; i < c->n_followers; i++)
		if (!atomic_load(&c->followers[i]->ended))
			cu_log(&c->logger, CATCHUP_LOG_WARN, c->followers[i]->definition->name,
				"its code has not returned %llu ms after the stop; interrupting it",
				(unsigned long long)c->options.stop_deadline_ms);
	atomic_store(&c->stopping, 2);
	cu_runtime_wake_all(c);
}

int catchup_stop(struct catchup *c, struct catchup_error *error)
{
	int rc = cu_runtime_check_process(c, error);
	bool mine;

	if (rc != CATCHUP_OK)
		return rc;
	cu_mutex_lock(&c->mu);
	if (c->state <= CU_RUNTIME_STARTING)
		c->stop_asked = true;
	if (c->state == CU_RUNTIME_NEW)
		c->state = CU_RUNTIME_STOPPED;
	/* The start notices it soon: what it waits for ends. */
	if (c->state == CU_RUNTIME_STARTING)
		atomic_store(&c->stopping, 1);
	while (c->state == CU_RUNTIME_STARTING)
		cu_cond_wait(&c->changed, &c->mu, CU_FOREVER);
	mine = c->state == CU_RUNTIME_STARTED;
	if (mine)
		c->state = CU_RUNTIME_STOPPING;
	while (!mine && c->state == CU_RUNTIME_STOPPING)
		cu_cond_wait(&c->changed, &c->mu, CU_FOREVER);
	cu_mutex_unlock(&c->mu);
	if (mine) {
		atomic_store(&c->stopping, 1);
		cu_runtime_wake_all(c);
		cu_checkpointers_wake(c);
		cu_park_wake(&c->progress);
		drain(c);
		cu_threads_end(c);
		move(c, CU_RUNTIME_STOPPING, CU_RUNTIME_STOPPED);
		cu_park_wake(&c->progress);
	}
	return cu_runtime_worst_error(c, error);
}

void catchup_close(struct catchup *c)
{
	if (!c || c->pid != cu_os_pid())
		return;
	catchup_stop(c, NULL);
	cu_layout_free(c);
	for (size_t i = 0; i < c->n_followers; i++) {
		cu_follower_finish(c->followers[i]);
		free(c->followers[i]);
	}
	free(c->followers);
	free(c->path);
	free((char *)c->options.changelog);
	cu_park_finish(&c->progress);
	cu_cond_finish(&c->changed);
	cu_mutex_finish(&c->mu);
	free(c);
}

const char *catchup_version(void)
{
	return CATCHUP_VERSION;
}
