/* SPDX-License-Identifier: MIT */
#include "consumer/definition.h"
#include "base/error.h"
#include "consumer/module.h"
#include "consumer/option.h"
#include "consumer/spec.h"
#include "consumer/sql_consumer.h"
#include "consumer/sql_file.h"
#include "consumer/sql_syntax.h"
#include "consumer/suggest.h"
#include "consumer/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is said about a consumer from outside: the config, and over it the spec. */
struct wishes {
	const char *name, *source, *id_column, *into, *on_error;
	int64_t workers, batch_rows; /* 0: not said */
	const char *const *options;  /* of the config; pairs, ended by NULL; may be NULL */
	const struct cu_spec *spec;  /* NULL for linked tables */
};

/* Copies text into *to, instead of what is there. NULL leaves it. */
static int put(char **to, const char *text, struct catchup_error *error)
{
	char *copy;

	if (!text)
		return CATCHUP_OK;
	copy = strdup(text);
	if (!copy)
		return cu_error_nomem(error);
	free(*to);
	*to = copy;
	return CATCHUP_OK;
}

/* ---- wishes ------------------------------------------------------------------------------- */

static int read_config(struct wishes *wishes, const struct catchup_consumer_config *config,
	struct catchup_error *error)
{
	struct catchup_consumer_config whole = {0};

	if (!config)
		return CATCHUP_OK;
	if (config->size < sizeof(config->size) || config->size > sizeof(whole))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"struct catchup_consumer_config has %zu bytes here, 'size' says %zu",
			sizeof(whole), config->size);
	memcpy(&whole, config, config->size);
	if (whole.workers > CATCHUP_WORKERS_MAX)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option 'workers': %u is above the maximum %d", whole.workers,
			CATCHUP_WORKERS_MAX);
	wishes->name = whole.name;
	wishes->into = whole.into;
	wishes->on_error = whole.on_error;
	wishes->workers = whole.workers;
	wishes->options = whole.options;
	return CATCHUP_OK;
}

/* The general keys of the spec, which are nearer to the consumer than the config and win over it. */
static int read_spec(struct wishes *wishes, struct catchup_error *error)
{
	const struct {
		const char *key;
		const char **to;
	} texts[] = {
		{"name", &wishes->name}, {"source", &wishes->source}, {"id", &wishes->id_column},
		{"into", &wishes->into}, {"on-error", &wishes->on_error},
	};
	const char *value;
	int code = CATCHUP_OK;

	for (size_t i = 0; i < wishes->spec->n_pairs; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(wishes->spec->pairs[i].key, wishes->spec->pairs[j].key) == 0)
				return cu_error_set(error, CATCHUP_USAGE, 0,
					"option '%.100s' is given twice", wishes->spec->pairs[i].key);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		value = cu_spec_value(wishes->spec, texts[i].key);
		if (!value)
			continue;
		if (*value == '\0')
			return cu_error_set(
				error, CATCHUP_USAGE, 0, "option '%s' is empty", texts[i].key);
		*texts[i].to = value;
	}
	value = cu_spec_value(wishes->spec, "workers");
	if (value)
		code = cu_option_read_int(
			&wishes->workers, "workers", value, 1, CATCHUP_WORKERS_MAX, error);
	value = cu_spec_value(wishes->spec, "batch-rows");
	if (value && code == CATCHUP_OK)
		code = cu_option_read_int(&wishes->batch_rows, "batch-rows", value, 1,
			CATCHUP_BATCH_ROWS_MAX, error);
	return code;
}

static bool is_general(const char *key)
{
	for (size_t i = 0; cu_option_general[i]; i++)
		if (strcmp(cu_option_general[i], key) == 0)
			return true;
	return false;
}

static int set_options(
	struct cu_definition *d, const struct wishes *wishes, struct catchup_error *error)
{
	int code = cu_option_make(d, error);

	for (const char *const *p = wishes->options; code == CATCHUP_OK && p && p[0]; p += 2) {
		if (!p[1])
			return cu_error_set(error, CATCHUP_USAGE, 0, "option '%.100s' has no value", p[0]);
		code = cu_option_set(d, p[0], p[1], error);
	}
	for (size_t i = 0; code == CATCHUP_OK && wishes->spec && i < wishes->spec->n_pairs; i++)
		if (!is_general(wishes->spec->pairs[i].key))
			code = cu_option_set(d, wishes->spec->pairs[i].key,
				wishes->spec->pairs[i].value, error);
	return code == CATCHUP_OK ? cu_option_complete(d, error) : code;
}

/* ---- from each kind ----------------------------------------------------------------------- */

static int take_strings(struct cu_definition *d, struct catchup_error *error)
{
	const struct {
		char **to;
		const char *text;
	} strings[] = {
		{&d->name, d->table.name}, {&d->source, d->table.source},
		{&d->id_column, d->table.id_column ? d->table.id_column : "id"},
		{&d->into, d->table.into}, {&d->on_error, d->table.on_error},
		{&d->max, d->table.max}, {&d->next, d->table.next}, {&d->setup, d->table.setup},
		{&d->reset, d->table.reset},
	};
	int code = CATCHUP_OK;

	d->id_given = d->table.id_column;
	for (size_t i = 0; code == CATCHUP_OK && i < sizeof(strings) / sizeof(strings[0]); i++)
		code = put(strings[i].to, strings[i].text, error);
	return code;
}

static int sql_int(const struct cu_sql_file *file, enum cu_sql_key key, int64_t maximum,
	uint32_t *to, struct catchup_error *error)
{
	int64_t value;
	int code;

	if (!file->keys[key].text)
		return CATCHUP_OK;
	code = cu_option_read_int(
		&value, cu_sql_file_key(key), file->keys[key].text, 1, maximum, error);
	if (code != CATCHUP_OK) {
		cu_error_prefix(error, "%.200s:%d: ", file->path, file->keys[key].line);
		if (error)
			error->code = CATCHUP_CONFIG;
		return CATCHUP_CONFIG;
	}
	*to = (uint32_t)value;
	return CATCHUP_OK;
}

static int section_line(const struct cu_sql_file *file, enum cu_sql_section section)
{
	return file->sections[section].text ? file->sections[section].line : 0;
}

static int from_sql(struct cu_definition *d, const char *path, struct catchup_error *error)
{
	struct catchup_consumer table = {CATCHUP_CONSUMER_ABI};
	const struct cu_sql_file *file;
	int code = cu_sql_file_read(&d->sql, path, error);

	if (code != CATCHUP_OK)
		return code;
	file = d->sql;
	code = cu_sql_syntax_check(file, error);
	if (code != CATCHUP_OK)
		return code;
	table.name = file->keys[CU_SQL_KEY_NAME].text;
	table.summary = file->keys[CU_SQL_KEY_SUMMARY].text;
	table.source = file->keys[CU_SQL_KEY_SOURCE].text;
	table.id_column = file->keys[CU_SQL_KEY_ID].text;
	table.into = file->keys[CU_SQL_KEY_INTO].text;
	table.on_error = file->keys[CU_SQL_KEY_ON_ERROR].text;
	table.setup = file->sections[CU_SQL_SECTION_SETUP].text;
	table.reset = file->sections[CU_SQL_SECTION_RESET].text;
	table.max = file->sections[CU_SQL_SECTION_MAX].text;
	table.next = file->sections[CU_SQL_SECTION_NEXT].text;
	cu_sql_consumer_functions(&table, file);
	d->setup_line = section_line(file, CU_SQL_SECTION_SETUP);
	d->reset_line = section_line(file, CU_SQL_SECTION_RESET);
	d->max_line = section_line(file, CU_SQL_SECTION_MAX);
	d->next_line = section_line(file, CU_SQL_SECTION_NEXT);
	if (table.row)
		d->check_columns = cu_sql_consumer_check_columns;
	code = sql_int(file, CU_SQL_KEY_WORKERS, CATCHUP_WORKERS_MAX, &d->workers, error);
	if (code == CATCHUP_OK)
		code = sql_int(file, CU_SQL_KEY_BATCH_ROWS, CATCHUP_BATCH_ROWS_MAX, &d->batch_rows,
			error);
	if (code == CATCHUP_OK)
		code = put(&d->from, file->keys[CU_SQL_KEY_FROM].text, error);
	if (code != CATCHUP_OK)
		return code;
	code = cu_table_take(&d->table, &table, error);
	if (code != CATCHUP_OK)
		cu_error_prefix(error, "%.200s: ", path);
	return code;
}

static int from_module(struct cu_definition *d, const char *path, struct catchup_error *error)
{
	const struct catchup_consumer *table;
	int code = cu_module_load(&d->module, &table, path, error);

	if (code == CATCHUP_OK)
		code = cu_table_take(&d->table, table, error);
	if (code != CATCHUP_OK)
		cu_error_prefix(error, "module '%.200s': ", path);
	return code;
}

static int unknown_builtin(const char *name, const struct catchup_consumer *const *builtins,
	struct catchup_error *error)
{
	char suggestion[CU_SUGGEST_TEXT_BYTES];
	const char **known;
	size_t n = 0;

	while (builtins && builtins[n])
		n++;
	known = calloc(n + 1, sizeof(*known));
	if (!known)
		return cu_error_nomem(error);
	for (size_t i = 0; i < n; i++)
		known[i] = builtins[i]->name;
	cu_suggest_text(suggestion, name, known);
	free(known);
	if (strchr(name, '/'))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.200s': a path ends in .sql or .so", name);
	return cu_error_set(error, CATCHUP_USAGE, 0,
		"consumer '%.200s': not built in%s (a path ends in .sql or .so)", name, suggestion);
}

static int from_builtin(struct cu_definition *d, const char *name,
	const struct catchup_consumer *const *builtins, struct catchup_error *error)
{
	const struct catchup_consumer *const *found = builtins;
	int code;

	while (found && *found && (!(*found)->name || strcmp((*found)->name, name) != 0))
		found++;
	if (!found || !*found)
		return unknown_builtin(name, builtins, error);
	code = cu_table_take(&d->table, *found, error);
	if (code != CATCHUP_OK) {
		cu_error_prefix(error, "built-in consumer '%.100s': ", name);
		return code;
	}
	if (asprintf(&d->origin, "built-in %s", name) < 0) {
		d->origin = NULL;
		return cu_error_nomem(error);
	}
	return CATCHUP_OK;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Another source than the consumer's own: only where nothing else names its table. */
static int move_source(
	struct cu_definition *d, const struct wishes *wishes, struct catchup_error *error)
{
	int code;

	if (!wishes->source && !wishes->id_column)
		return CATCHUP_OK;
	if (d->sql || d->next || d->max || d->table.range || d->table.event)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"options 'source' and 'id': its SQL names the source; only a C consumer "
			"that takes rows of a table as they are can follow another");
	code = put(&d->source, wishes->source, error);
	d->id_given = d->id_given || wishes->id_column;
	return code == CATCHUP_OK ? put(&d->id_column, wishes->id_column, error) : code;
}

/* Lays the wishes over what the consumer itself says. The table is there. */
static int complete(
	struct cu_definition *d, const struct wishes *wishes, struct catchup_error *error)
{
	int code = take_strings(d, error);

	if (code != CATCHUP_OK)
		return code;
	if (wishes->name)
		code = cu_table_check_name(wishes->name, error);
	if (wishes->workers)
		d->workers = (uint32_t)wishes->workers;
	if (d->workers == 0)
		d->workers = 1;
	if (wishes->batch_rows)
		d->batch_rows = (uint32_t)wishes->batch_rows;
	if (code == CATCHUP_OK)
		code = move_source(d, wishes, error);
	if (code == CATCHUP_OK)
		code = put(&d->into, wishes->into, error);
	if (code == CATCHUP_OK)
		code = put(&d->on_error, wishes->on_error, error);
	if (code == CATCHUP_OK && d->workers > 1 && !d->table.map)
		code = cu_error_set(error, CATCHUP_USAGE, 0,
			"%u workers: only a consumer with 'map' can use more than one; rows of this one "
			"are applied in order, one after the other",
			d->workers);
	if (code == CATCHUP_OK)
		code = set_options(d, wishes, error);
	if (code != CATCHUP_OK) {
		cu_error_prefix(error, "consumer '%.100s': ", d->name);
		return code;
	}
	code = put(&d->name, wishes->name, error);
	if (code != CATCHUP_OK)
		return code;
	/* One spelling for all who read the table or the definition. */
	d->table.name = d->name;
	d->table.source = d->source;
	d->table.id_column = d->id_column;
	d->table.into = d->into;
	d->table.on_error = d->on_error;
	d->table.max = d->max;
	d->table.next = d->next;
	d->table.setup = d->setup;
	d->table.reset = d->reset;
	return CATCHUP_OK;
}

static int make(struct cu_definition *d, const struct cu_spec *spec,
	const struct catchup_consumer_config *config,
	const struct catchup_consumer *const *builtins, struct catchup_error *error)
{
	struct wishes wishes = {.spec = spec};
	int code = read_config(&wishes, config, error);

	if (code == CATCHUP_OK)
		code = read_spec(&wishes, error);
	if (code != CATCHUP_OK) {
		cu_error_prefix(error, "consumer '%.200s': ", spec->target);
		return code;
	}
	switch (spec->kind) {
	case CU_SPEC_SQL:
		code = put(&d->origin, spec->target, error);
		if (code == CATCHUP_OK)
			code = from_sql(d, spec->target, error);
		break;
	case CU_SPEC_MODULE:
		code = put(&d->origin, spec->target, error);
		if (code == CATCHUP_OK)
			code = from_module(d, spec->target, error);
		break;
	default:
		code = from_builtin(d, spec->target, builtins, error);
		break;
	}
	return code == CATCHUP_OK ? complete(d, &wishes, error) : code;
}

int cu_definition_make(struct cu_definition **out, const char *consumer,
	const struct catchup_consumer_config *config,
	const struct catchup_consumer *const *builtins, struct catchup_error *error)
{
	struct cu_definition *d;
	struct cu_spec spec;
	int code = cu_spec_parse(&spec, consumer, error);

	*out = NULL;
	if (code != CATCHUP_OK)
		return code;
	d = calloc(1, sizeof(*d));
	code = d ? make(d, &spec, config, builtins, error) : cu_error_nomem(error);
	if (code == CATCHUP_OK && !(d->spec = cu_spec_format(&spec, config)))
		code = cu_error_nomem(error);
	cu_spec_finish(&spec);
	if (code == CATCHUP_OK)
		*out = d;
	else
		cu_definition_free(d);
	return code;
}

int cu_definition_make_table(struct cu_definition **out, const struct catchup_consumer *table,
	const struct catchup_consumer_config *config, struct catchup_error *error)
{
	struct cu_definition *d = calloc(1, sizeof(*d));
	struct wishes wishes = {0};
	int code;

	*out = NULL;
	if (!d)
		return cu_error_nomem(error);
	code = read_config(&wishes, config, error);
	if (code == CATCHUP_OK)
		code = cu_table_take(&d->table, table, error);
	if (code != CATCHUP_OK) {
		/* Of a table of another ABI or size not even the name can be relied on. */
		if (d->table.name)
			cu_error_prefix(error, "consumer '%.100s': ", d->table.name);
	} else if (asprintf(&d->origin, "built-in %s", d->table.name) < 0) {
		d->origin = NULL;
		code = cu_error_nomem(error);
	} else {
		code = complete(d, &wishes, error);
	}
	if (code == CATCHUP_OK)
		*out = d;
	else
		cu_definition_free(d);
	return code;
}

int cu_definition_place(struct cu_definition *d, const char *into, struct catchup_error *error)
{
	int code = CATCHUP_OK;

	free(d->from);
	free(d->into);
	d->from = d->into = NULL;
	if (into[0] != '\0')
		code = put(&d->into, into, error);
	d->table.into = d->into;
	return code;
}

void cu_definition_free(struct cu_definition *definition)
{
	if (!definition)
		return;
	cu_option_free(definition);
	free(definition->name);
	free(definition->origin);
	free(definition->spec);
	free(definition->source);
	free(definition->id_column);
	free(definition->from);
	free(definition->into);
	free(definition->on_error);
	free(definition->max);
	free(definition->next);
	free(definition->setup);
	free(definition->reset);
	cu_sql_file_free(definition->sql);
	cu_module_unload(definition->module);
	free(definition);
}
