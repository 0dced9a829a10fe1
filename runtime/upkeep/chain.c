/* SPDX-License-Identifier: MIT */
#include "upkeep/chain.h"

#include "pool/perform/perform.h"
#include "store/ledger/record.h"

#include <string.h>

#define BUSY_MS 2000

/* Lets the guard see the SQL that the next run has for its rows. One that cannot be prepared now is told by
 * that run. The code of a C consumer is not called: what it opens may be more than statements. */
static void learn_tables(struct cu_follower *f, struct cu_conn *results)
{
	struct cu_source *rows = cu_perform_rows(f);
	struct cu_source_spec spec;

	if (!f->definition->sql)
		return;
	cu_setup_guard(f, results);
	cu_setup_spec(f, &spec);
	if (cu_source_open(rows, results, &spec, NULL) == CATCHUP_OK)
		cu_perform_try_open(f, results, NULL);
	cu_source_close(rows);
}

/* Whether it has read rows of its source. What cannot be asked is taken for one that has. */
static bool has_begun(struct cu_conn *results, const struct cu_entry *entry, const struct cu_owner *self)
{
	const struct cu_conn_options options = {
		.role = CU_ROLE_STATUS, .main = entry->into, .busy_ms = BUSY_MS};
	struct cu_conn elsewhere = {0};
	struct cu_conn *conn = entry->into[0] ? &elsewhere : results;
	struct cu_record record;
	bool begun = true;

	if ((conn == results || cu_conn_open(conn, &options, NULL) == CATCHUP_OK) &&
		cu_record_read(conn, entry->name, self, &record, NULL) == CATCHUP_OK)
		begun = record.status.watermark > 0;
	cu_conn_close(&elsewhere);
	return begun;
}

static void warn_about(struct cu_follower *f, const struct cu_guard *guard, size_t n_cleared,
	const struct cu_entry *entry)
{
	size_t i = 0;

	while (i < guard->n_writes && sqlite3_stricmp(guard->writes[i], entry->source) != 0)
		i++;
	if (i == guard->n_writes)
		return;
	if (i < n_cleared)
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"consumer '%.200s' follows table '%.200s', which was cleared: reset it too, or rows "
			"that are written again count twice there, or not at all",
			entry->name, guard->writes[i]);
	else
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"consumer '%.200s' follows table '%.200s', which was not cleared: rows that are "
			"written to it again count twice there, too",
			entry->name, guard->writes[i]);
}

void cu_chain_warn(struct cu_follower *f, struct cu_conn *results, size_t n_cleared)
{
	struct cu_entries entries;
	struct catchup_error why;
	struct cu_owner self;

	learn_tables(f, results);
	cu_owner_self(&self);
	if (cu_entries_read(results, NULL, &entries, &why) != CATCHUP_OK) {
		cu_log(&f->runtime->logger, CATCHUP_LOG_WARN, f->definition->name,
			"whether others follow its tables is not known: %s", why.message);
		return;
	}
	for (size_t i = 0; i < entries.n; i++) {
		const struct cu_entry *entry = &entries.items[i];
		/* Of equal names the first is the newest, and the one that runs. */
		bool older = i > 0 && strcmp(entry->name, entry[-1].name) == 0;

		if (entry->source && !older && has_begun(results, entry, &self))
			warn_about(f, &results->guard, n_cleared, entry);
	}
	cu_entries_finish(&entries);
}
