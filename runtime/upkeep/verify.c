/* SPDX-License-Identifier: MIT */
/*
 * verify.c - catchup_verify: which consumers, then each database file and each consumer in turn.
 */
#include "upkeep/recompute.h"

#include "base/error.h"
#include "consumer/definition.h"
#include "pool/runtime.h"
#include "store/report/audit.h"

#include <stdlib.h>
#include <string.h>

struct verify {
	const struct catchup_options *options;
	char *path;
	struct cu_entries entries;
	unsigned flags;
	struct catchup_verification *verification;
};

static int audit(struct verify *v, const struct cu_entry *entry, const char *spec,
	struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	if (entry->into[0])
		rc = cu_audit_file(v->verification, entry->into, error);
	if (rc == CATCHUP_OK)
		rc = cu_audit_consumer(v->verification, v->path, entry, error);
	if (rc == CATCHUP_OK && v->flags & CATCHUP_VERIFY_RECOMPUTE)
		rc = cu_recompute(v->verification, v->options, entry, spec ? spec : entry->spec, error);
	return rc;
}

/* Audits all placements of a consumer. *known: whether there is one. */
static int audit_name(struct verify *v, const char *name, const char *spec, bool *known,
	struct catchup_error *error)
{
	int rc = CATCHUP_OK;

	*known = false;
	for (size_t i = 0; i < v->entries.n && rc == CATCHUP_OK; i++) {
		if (strcmp(v->entries.items[i].name, name) != 0)
			continue;
		*known = true;
		rc = audit(v, &v->entries.items[i], spec, error);
	}
	return rc;
}

/* A name that the database knows, or what makes a consumer. */
static int audit_word(struct verify *v, const char *word, struct catchup_error *error)
{
	struct cu_definition *definition = NULL;
	bool known;
	int rc = audit_name(v, word, NULL, &known, error);

	if (rc != CATCHUP_OK || known)
		return rc;
	if (cu_definition_make(&definition, word, NULL, v->options->builtins, NULL) == CATCHUP_OK)
		rc = audit_name(v, definition->name, word, &known, error);
	if (rc == CATCHUP_OK && !known)
		rc = cu_error_set(error, CATCHUP_USAGE, 0, "database '%.300s' knows no consumer '%.100s'",
			v->path, definition ? definition->name : word);
	cu_definition_free(definition);
	return rc;
}

static int read_entries(struct verify *v, struct catchup_error *error)
{
	struct cu_conn_options look = {.role = CU_ROLE_STATUS, .busy_ms = 10000};
	struct cu_conn conn = {0};
	int rc = cu_path_resolve(v->options->database, NULL, &v->path, error);

	look.main = v->path;
	if (rc == CATCHUP_OK)
		rc = cu_conn_open(&conn, &look, error);
	if (rc == CATCHUP_OK)
		rc = cu_entries_read(&conn, NULL, &v->entries, error);
	cu_conn_close(&conn);
	return rc;
}

static int check_consumers(const char *const *consumers, size_t n, struct catchup_error *error)
{
	for (size_t i = 0; i < n; i++)
		if (!consumers[i])
			return cu_error_set(error, CATCHUP_USAGE, 0,
				"catchup_verify: 'consumers[%zu]' is NULL", i);
	return CATCHUP_OK;
}

int catchup_verify(const struct catchup_options *options, const char *const *consumers,
	size_t n_consumers, unsigned flags, struct catchup_verification **out,
	struct catchup_error *error)
{
	struct catchup_options whole;
	struct verify v = {.options = &whole, .flags = flags};
	int rc;

	if (!out)
		return cu_error_null(error, __func__, "out");
	*out = NULL;
	if (!options || !options->database)
		return cu_error_set(error, CATCHUP_USAGE, 0, "option 'database' is missing");
	rc = cu_options_read(&whole, options, error);
	if (!consumers)
		n_consumers = 0;
	if (rc == CATCHUP_OK)
		rc = check_consumers(consumers, n_consumers, error);
	if (rc == CATCHUP_OK)
		rc = read_entries(&v, error);
	if (rc == CATCHUP_OK && !(v.verification = cu_verification_create(v.path)))
		rc = cu_error_nomem(error);
	if (rc == CATCHUP_OK)
		rc = cu_audit_file(v.verification, v.path, error);
	for (size_t i = 0; i < n_consumers && rc == CATCHUP_OK; i++)
		rc = audit_word(&v, consumers[i], error);
	for (size_t i = 0; n_consumers == 0 && i < v.entries.n && rc == CATCHUP_OK; i++)
		rc = audit(&v, &v.entries.items[i], NULL, error);
	if (rc == CATCHUP_OK && !cu_verification_finish(v.verification))
		rc = cu_error_nomem(error);
	cu_entries_finish(&v.entries);
	free(v.path);
	if (rc == CATCHUP_OK)
		*out = v.verification;
	else
		catchup_verification_free(v.verification);
	return rc;
}
