/* SPDX-License-Identifier: MIT */
/*
 * guard.c - the authorizer round consumer code.
 *
 * SQLite asks it while a statement is prepared, also for statements that triggers and virtual tables
 * run inside. Outside of guard_enter and guard_leave everything is allowed: that is our own SQL. What
 * an authorizer cannot see (ROLLBACK conflict clauses, RAISE(ROLLBACK), interrupted writes) is found
 * by asking for the transaction after each step.
 */
#include "store/connection/guard.h"


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int deny(struct cu_guard *guard, const char *fmt, ...) CATCHUP_PRINTF(2, 3);

static int deny(struct cu_guard *guard, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(guard->denied, sizeof(guard->denied), fmt, ap);
	va_end(ap);
	return SQLITE_DENY;
}

static bool same(const char *a, const char *b)
{
	return a && b && sqlite3_stricmp(a, b) == 0;
}

static bool begins(const char *name, const char *prefix)
{
	return sqlite3_strnicmp(name, prefix, (int)strlen(prefix)) == 0;
}

static bool is_schema_table(const char *table)
{
	return same(table, "sqlite_master") || same(table, "sqlite_schema") ||
		same(table, "sqlite_temp_master") || same(table, "sqlite_temp_schema");
}

/* Without memory a name is left out: its readers are woken by the file system instead. */
static void note_write(struct cu_guard *guard, const char *table)
{
	char **grown;
	char *copy;

	for (size_t i = 0; i < guard->n_writes; i++)
		if (same(guard->writes[i], table))
			return;
	copy = strdup(table);
	grown = realloc(guard->writes, (guard->n_writes + 1) * sizeof(*grown));
	if (grown)
		guard->writes = grown;
	if (!copy || !grown) {
		free(copy);
		return;
	}
	guard->writes[guard->n_writes++] = copy;
}

/* doing: "writing", "making", ... */
static int may_touch(struct cu_guard *guard, const char *doing, const char *schema, const char *table)
{
	bool temporary = same(schema, "temp");

	if (!table)
		table = "";
	if (guard->source_attached && same(schema, "source"))
		return deny(guard, "%s '%s' in the source's database", doing, table);
	if (begins(table, "catchup"))
		return deny(guard, "%s '%s': names that begin with 'catchup' are catchup's own", doing,
			table);
	if (!temporary && !guard->source_attached && same(table, guard->source))
		return deny(guard, "%s '%s', the source", doing, table);
	/* DDL writes the schema tables, and cleans sqlite_sequence and sqlite_stat*. A direct write of
	 * the schema tables is refused by the connection's defensive mode. */
	if (begins(table, "sqlite_") && !is_schema_table(table) && !guard->ddl)
		return deny(guard, "%s '%s', SQLite's own", doing, table);
	return SQLITE_OK;
}

static int may_write(struct cu_guard *guard, const char *schema, const char *table)
{
	int rc = may_touch(guard, "writing table", schema, table);

	if (rc == SQLITE_OK && same(schema, "main") && !begins(table, "sqlite_"))
		note_write(guard, table);
	return rc;
}

/* DDL on an object, and on the table it belongs to where that is another one. */
static int may_define(struct cu_guard *guard, const char *doing, const char *schema,
	const char *object, const char *table)
{
	char on_table[64];
	int rc;

	guard->ddl = true;
	if (same(schema, "temp") && guard->common)
		return deny(guard, "%s '%s': temporary, on a connection that other consumers use",
			doing, object ? object : "");
	guard->temporary |= same(schema, "temp");
	snprintf(on_table, sizeof(on_table), "%s on table", doing);
	rc = may_touch(guard, doing, schema, object);
	if (rc == SQLITE_OK && table)
		rc = may_touch(guard, on_table, schema, table);
	/* A temporary trigger may be on any schema's table, and SQLite does not say which one. */
	if (rc == SQLITE_OK && table && same(schema, "temp") && same(table, guard->source))
		rc = deny(guard, "%s '%s', the source", on_table, table);
	return rc;
}

int cu_guard_authorize(void *context, int action, const char *first, const char *second,
	const char *schema, const char *trigger)
{
	struct cu_guard *guard = context;

	if (!guard->active)
		return SQLITE_OK;
	/* The triggers of `catchup guard` on a table that this consumer fills keep their own record. No
	 * consumer can make one: names with that prefix are refused. */
	if (action == SQLITE_UPDATE && trigger && begins(trigger, CU_GUARD_TRIGGERS) &&
		same(first, "catchup_guard"))
		return SQLITE_OK;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
	case SQLITE_REINDEX: /* also a part of CREATE INDEX */
		return SQLITE_OK;
	case SQLITE_FUNCTION:
		if (same(second, "load_extension"))
			return deny(guard, "load_extension()");
		return SQLITE_OK;
	case SQLITE_INSERT:
	case SQLITE_UPDATE:
	case SQLITE_DELETE:
		return may_write(guard, schema, first);
	case SQLITE_TRANSACTION:
		return deny(guard, "%s", first ? first : "a transaction");
	case SQLITE_SAVEPOINT:
		return deny(guard, "%s", same(first, "BEGIN") ? "SAVEPOINT"
				: same(first, "RELEASE") ? "RELEASE" : "ROLLBACK TO");
	case SQLITE_ATTACH:
		return deny(guard, "ATTACH (or VACUUM)");
	case SQLITE_DETACH:
		return deny(guard, "DETACH");
	case SQLITE_PRAGMA:
		/* SQLite's own full-text tables ask these two while they are read and made. */
		if (!second && (same(first, "data_version") || same(first, "page_size")))
			return SQLITE_OK;
		return deny(guard, "PRAGMA %s", first ? first : "");
	case SQLITE_ANALYZE:
		return deny(guard, "ANALYZE");
	case SQLITE_CREATE_TABLE:
	case SQLITE_CREATE_TEMP_TABLE:
	case SQLITE_CREATE_VTABLE:
		return may_define(guard, "making table", schema, first, NULL);
	case SQLITE_DROP_TABLE:
	case SQLITE_DROP_TEMP_TABLE:
	case SQLITE_DROP_VTABLE:
		return may_define(guard, "dropping table", schema, first, NULL);
	case SQLITE_CREATE_VIEW:
	case SQLITE_CREATE_TEMP_VIEW:
		return may_define(guard, "making view", schema, first, NULL);
	case SQLITE_DROP_VIEW:
	case SQLITE_DROP_TEMP_VIEW:
		return may_define(guard, "dropping view", schema, first, NULL);
	case SQLITE_CREATE_INDEX:
	case SQLITE_CREATE_TEMP_INDEX:
		return may_define(guard, "making an index", schema, first, second);
	case SQLITE_DROP_INDEX:
	case SQLITE_DROP_TEMP_INDEX:
		return may_define(guard, "dropping an index", schema, first, second);
	case SQLITE_CREATE_TRIGGER:
	case SQLITE_CREATE_TEMP_TRIGGER:
		return may_define(guard, "making a trigger", schema, first, second);
	case SQLITE_DROP_TRIGGER:
	case SQLITE_DROP_TEMP_TRIGGER:
		return may_define(guard, "dropping a trigger", schema, first, second);
	case SQLITE_ALTER_TABLE:
		return may_define(guard, "altering table", first, second, NULL);
	default:
		return deny(guard, "action %d of SQLite's authorizer, which this version does not know",
			action);
	}
}

void cu_guard_finish(struct cu_guard *guard)
{
	for (size_t i = 0; i < guard->n_writes; i++)
		free(guard->writes[i]);
	free(guard->writes);
	guard->writes = NULL;
	guard->n_writes = 0;
}
