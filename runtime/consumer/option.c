/* SPDX-License-Identifier: MIT */
#include "consumer/option.h"
#include "base/error.h"
#include "consumer/suggest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const cu_option_general[] = {
	"name", "source", "id", "into", "on-error", "workers", "batch-rows", NULL};

#define TEXT_BYTES_MAX INT64_C(1048576)

/* ---- one value ---------------------------------------------------------------------------- */

int cu_option_read_int(int64_t *out, const char *name, const char *text, int64_t minimum,
	int64_t maximum, struct catchup_error *error)
{
	const char *digits = text + (*text == '-');
	uint64_t bound = digits > text ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t value = 0;
	bool overflow = false;
	int64_t result;

	if (*digits == '\0' || digits[strspn(digits, "0123456789")] != '\0')
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option '%.100s': '%.100s' is not an integer (%" PRId64 " to %" PRId64 ")", name,
			text, minimum, maximum);
	for (; *digits; digits++) {
		uint64_t digit = (uint64_t)(*digits - '0');

		if (value > (bound - digit) / 10)
			overflow = true;
		else
			value = value * 10 + digit;
	}
	/* Negated as unsigned, since INT64_MIN has no positive twin. */
	result = *text == '-' ? (int64_t)(~value + 1) : (int64_t)value;
	if ((overflow && *text != '-') || (!overflow && result > maximum))
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option '%.100s': %.100s is above the maximum %" PRId64, name, text, maximum);
	if (overflow || result < minimum)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option '%.100s': %.100s is below the minimum %" PRId64, name, text, minimum);
	*out = result;
	return CATCHUP_OK;
}

static int read_bool(int64_t *out, const char *name, const char *text, struct catchup_error *error)
{
	static const char *const words[] = {
		"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = (int64_t)(i & 1);
			return CATCHUP_OK;
		}
	}
	return cu_error_set(error, CATCHUP_USAGE, 0,
		"option '%.100s': '%.100s' is not true, false, yes, no, on, off, 1 or 0", name, text);
}

static bool bounded(const struct catchup_option *option)
{
	return option->minimum != 0 || option->maximum != 0;
}

static int check_text(
	const struct catchup_option *option, const char *text, struct catchup_error *error)
{
	int64_t bytes = (int64_t)strlen(text);
	int64_t maximum = bounded(option) ? option->maximum : TEXT_BYTES_MAX;

	if (bytes > maximum)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option '%.100s': %" PRId64 " bytes are above the maximum %" PRId64,
			option->name, bytes, maximum);
	if (bytes < option->minimum)
		return cu_error_set(error, CATCHUP_USAGE, 0,
			"option '%.100s': '%.100s' is shorter than the minimum of %" PRId64 " bytes",
			option->name, text, option->minimum);
	return CATCHUP_OK;
}

static int read_value(const struct catchup_option *option, const char *text, int64_t *integer,
	struct catchup_error *error)
{
	*integer = 0;
	switch (option->kind) {
	case CATCHUP_OPTION_INT:
		return cu_option_read_int(integer, option->name, text,
			bounded(option) ? option->minimum : INT64_MIN,
			bounded(option) ? option->maximum : INT64_MAX, error);
	case CATCHUP_OPTION_BOOL:
		return read_bool(integer, option->name, text, error);
	default:
		return check_text(option, text, error);
	}
}

/* ---- the table ---------------------------------------------------------------------------- */

static int check_option(const struct catchup_option *options, size_t i, struct catchup_error *error)
{
	const struct catchup_option *option = &options[i];
	int64_t integer;
	int code;

	if (option->name[0] == '\0' || strpbrk(option->name, "=,:\\ \t\r\n"))
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"option '%.100s': a name has at least one byte and no '=', ',', ':', '\\' or blank",
			option->name);
	for (size_t j = 0; cu_option_general[j]; j++)
		if (strcmp(option->name, cu_option_general[j]) == 0)
			return cu_error_set(error, CATCHUP_CONFIG, 0,
				"option '%s': the name is taken; it means the same for every consumer",
				option->name);
	for (size_t j = 0; j < i; j++)
		if (strcmp(option->name, options[j].name) == 0)
			return cu_error_set(error, CATCHUP_CONFIG, 0,
				"option '%.100s': twice in the table", option->name);
	if (option->kind < CATCHUP_OPTION_INT || option->kind > CATCHUP_OPTION_TEXT)
		return cu_error_set(error, CATCHUP_CONFIG, 0, "option '%.100s': unknown kind %d",
			option->name, option->kind);
	if (option->minimum > option->maximum)
		return cu_error_set(error, CATCHUP_CONFIG, 0,
			"option '%.100s': minimum %" PRId64 " is above maximum %" PRId64, option->name,
			option->minimum, option->maximum);
	if (!option->default_value)
		return CATCHUP_OK;
	code = read_value(option, option->default_value, &integer, error);
	if (code != CATCHUP_OK) {
		cu_error_prefix(error, "default of ");
		if (error)
			error->code = CATCHUP_CONFIG;
		return CATCHUP_CONFIG;
	}
	return CATCHUP_OK;
}

int cu_option_check_table(const struct catchup_option *options, struct catchup_error *error)
{
	for (size_t i = 0; options && options[i].name; i++) {
		int code = check_option(options, i, error);

		if (code != CATCHUP_OK)
			return code;
	}
	return CATCHUP_OK;
}

/* ---- the values of a definition ----------------------------------------------------------- */

int cu_option_make(struct cu_definition *definition, struct catchup_error *error)
{
	const struct catchup_option *options = definition->table.options;
	size_t n = 0;

	while (options && options[n].name)
		n++;
	if (n == 0)
		return CATCHUP_OK;
	definition->options = calloc(n, sizeof(*definition->options));
	if (!definition->options)
		return cu_error_nomem(error);
	definition->n_options = n;
	for (size_t i = 0; i < n; i++)
		definition->options[i].option = &options[i];
	return CATCHUP_OK;
}

static int unknown(
	const struct cu_definition *definition, const char *name, struct catchup_error *error)
{
	char suggestion[CU_SUGGEST_TEXT_BYTES];
	const char **known = calloc(definition->n_options + 8, sizeof(*known));
	size_t n = 0;

	if (!known)
		return cu_error_nomem(error);
	for (size_t i = 0; i < definition->n_options; i++)
		known[n++] = definition->options[i].option->name;
	for (size_t i = 0; cu_option_general[i]; i++)
		known[n++] = cu_option_general[i];
	cu_suggest_text(suggestion, name, known);
	free(known);
	return cu_error_set(error, CATCHUP_USAGE, 0, "unknown option '%.100s'%s", name, suggestion);
}

static int store(struct cu_option_value *value, const char *text, struct catchup_error *error)
{
	int code = read_value(value->option, text, &value->integer, error);

	if (code != CATCHUP_OK)
		return code;
	value->text = strdup(text);
	return value->text ? CATCHUP_OK : cu_error_nomem(error);
}

int cu_option_set(struct cu_definition *definition, const char *name, const char *text,
	struct catchup_error *error)
{
	for (size_t i = 0; i < definition->n_options; i++) {
		struct cu_option_value *value = &definition->options[i];

		if (strcmp(value->option->name, name) != 0)
			continue;
		if (value->text)
			return cu_error_set(
				error, CATCHUP_USAGE, 0, "option '%.100s' is given twice", name);
		return store(value, text, error);
	}
	return unknown(definition, name, error);
}

int cu_option_complete(struct cu_definition *definition, struct catchup_error *error)
{
	for (size_t i = 0; i < definition->n_options; i++) {
		struct cu_option_value *value = &definition->options[i];
		const char *text = value->option->default_value;
		int code;

		if (value->text)
			continue;
		if (!text)
			return cu_error_set(error, CATCHUP_USAGE, 0,
				"option '%.100s' is required%s%.200s", value->option->name,
				value->option->help ? ": " : "",
				value->option->help ? value->option->help : "");
		code = store(value, text, error);
		if (code != CATCHUP_OK)
			return code;
	}
	return CATCHUP_OK;
}

void cu_option_free(struct cu_definition *definition)
{
	for (size_t i = 0; i < definition->n_options; i++)
		free(definition->options[i].text);
	free(definition->options);
	definition->options = NULL;
	definition->n_options = 0;
}
