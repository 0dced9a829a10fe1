/* SPDX-License-Identifier: MIT */
#include "consumer/spec.h"
#include "base/error.h"
#include "base/os.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_key(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '_';
}

/* Whether "key=" begins here. */
static bool pair_begins(const char *text)
{
	size_t n = 0;

	while (is_key(text[n]))
		n++;
	return n > 0 && text[n] == '=';
}

/* The next place at or behind `from` where a path may end: behind the suffix. NULL for none. */
static const char *next_end(const char *from, enum cu_spec_kind *kind)
{
	for (const char *p = strstr(from, ".s"); p; p = strstr(p + 1, ".s")) {
		size_t n = strncmp(p, ".sql", 4) == 0 ? 4 : strncmp(p, ".so", 3) == 0 ? 3 : 0;

		if (n > 0 && (p[n] == '\0' || p[n] == ':')) {
			*kind = n == 4 ? CU_SPEC_SQL : CU_SPEC_MODULE;
			return p + n;
		}
	}
	return NULL;
}

/* Where the target ends. */
static const char *find_end(const char *text, enum cu_spec_kind *kind)
{
	enum cu_spec_kind candidate, first_kind = CU_SPEC_BUILTIN;
	const char *first = NULL;

	for (const char *end = next_end(text, &candidate); end; end = next_end(end, &candidate)) {
		if (*end == '\0' || pair_begins(end + 1)) {
			*kind = candidate;
			return end;
		}
		if (!first) {
			first = end;
			first_kind = candidate;
		}
	}
	*kind = first_kind;
	return first ? first : text + strcspn(text, ":");
}

/* One "key=value"; *at moves behind it and its comma. */
static int take_pair(struct cu_spec *spec, const char **at, struct catchup_error *error)
{
	const char *p = *at;
	size_t n = 0;
	struct cu_spec_pair *pair = &spec->pairs[spec->n_pairs];
	char *to;

	while (is_key(p[n]))
		n++;
	if (n == 0 && p[0] == '=')
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.100s': option '%.*s' has no key; write key=value", spec->target,
			(int)strnlen(p, strcspn(p, ",") < 100 ? strcspn(p, ",") : 100), p);
	if (n == 0 || p[n] != '=')
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.100s': option '%.*s' has no value; write key=value (and '\\,' for "
			"a comma inside a value)",
			spec->target, (int)strnlen(p, strcspn(p, ",") < 100 ? strcspn(p, ",") : 100), p);
	pair->key = strndup(p, n);
	pair->value = to = malloc(strlen(p));
	spec->n_pairs++;
	if (!pair->key || !pair->value)
		return cu_error_nomem(error);
	for (p += n + 1; *p && *p != ','; p++) {
		if (*p == '\\' && (p[1] == ',' || p[1] == '\\'))
			p++;
		*to++ = *p;
	}
	*to = '\0';
	*at = *p == ',' ? p + 1 : p;
	/* A comma at the end promises one more pair. */
	if (*p == ',' && **at == '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.100s': nothing behind the last ',' of the options", spec->target);
	return CATCHUP_OK;
}

static int take_pairs(struct cu_spec *spec, const char *text, struct catchup_error *error)
{
	size_t most = 1;

	for (const char *p = text; *p; p++)
		most += *p == ',';
	spec->pairs = calloc(most, sizeof(*spec->pairs));
	if (!spec->pairs)
		return cu_error_nomem(error);
	do {
		int code = take_pair(spec, &text, error);

		if (code != CATCHUP_OK)
			return code;
	} while (*text);
	return CATCHUP_OK;
}

int cu_spec_parse(struct cu_spec *spec, const char *text, struct catchup_error *error)
{
	const char *end;
	int code = CATCHUP_OK;

	memset(spec, 0, sizeof(*spec));
	if (!text || !*text)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '': empty; a consumer is a .sql file, a .so module or a built-in name");
	end = find_end(text, &spec->kind);
	if (end == text)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"consumer '%.100s': no name before ':'", text);
	spec->target = strndup(text, (size_t)(end - text));
	if (!spec->target)
		return cu_error_nomem(error);
	if (*end == ':')
		code = take_pairs(spec, end + 1, error);
	if (code != CATCHUP_OK)
		cu_spec_finish(spec);
	return code;
}

void cu_spec_finish(struct cu_spec *spec)
{
	for (size_t i = 0; i < spec->n_pairs; i++) {
		free(spec->pairs[i].key);
		free(spec->pairs[i].value);
	}
	free(spec->pairs);
	free(spec->target);
	memset(spec, 0, sizeof(*spec));
}

const char *cu_spec_value(const struct cu_spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_pairs; i++)
		if (strcmp(spec->pairs[i].key, key) == 0)
			return spec->pairs[i].value;
	return NULL;
}

/* Text that is written twice: once to know its length, once into memory of that length. */
struct text {
	char *to; /* NULL the first time */
	size_t n;
};

static void put(struct text *text, char c)
{
	if (text->to)
		text->to[text->n] = c;
	text->n++;
}

/* ":key=value" or ",key=value", with what has a meaning in a value escaped. */
static void put_pair(struct text *text, const char *key, const char *value, bool *first)
{
	put(text, *first ? ':' : ',');
	*first = false;
	for (; *key; key++)
		put(text, *key);
	put(text, '=');
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			put(text, '\\');
		put(text, *value);
	}
}

static void put_all(struct text *text, const char *target, const struct cu_spec *spec,
	const struct catchup_consumer_config *config)
{
	bool first = true;

	for (; *target; target++)
		put(text, *target);
	for (size_t i = 0; i < spec->n_pairs; i++)
		put_pair(text, spec->pairs[i].key, spec->pairs[i].value, &first);
	if (config && config->name && !cu_spec_value(spec, "name"))
		put_pair(text, "name", config->name, &first);
	if (config && config->into && !cu_spec_value(spec, "into"))
		put_pair(text, "into", config->into, &first);
	put(text, '\0');
}

char *cu_spec_format(const struct cu_spec *spec, const struct catchup_consumer_config *config)
{
	const char *target = spec->target;
	struct text text = {0};
	char path[4096];

	if (spec->kind != CU_SPEC_BUILTIN && cu_file_real_path(target, path, sizeof(path)) == 0)
		target = path;
	put_all(&text, target, spec, config);
	text.to = malloc(text.n);
	text.n = 0;
	if (text.to)
		put_all(&text, target, spec, config);
	return text.to;
}
