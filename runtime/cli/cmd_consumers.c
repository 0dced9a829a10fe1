/* SPDX-License-Identifier: MIT */
/*
 * catchup consumers: what is built in, with each one's options.
 */
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/process.h"

#include <catchup/consumer.h>
#include <inttypes.h>
#include <string.h>

enum { OPT_JSON };

static const char *kind_name(int kind)
{
	switch (kind) {
	case CATCHUP_OPTION_INT:
		return "int";
	case CATCHUP_OPTION_BOOL:
		return "bool";
	default:
		return "text";
	}
}

static void json_text_or_null(struct cli_json *json, const char *key, const char *text)
{
	if (text)
		cli_json_text(json, key, text);
	else
		cli_json_null(json, key);
}

static void json_option(struct cli_json *json, const struct catchup_option *option)
{
	bool ranged = option->kind != CATCHUP_OPTION_BOOL;

	cli_json_object(json, NULL);
	cli_json_text(json, "name", option->name);
	cli_json_text(json, "kind", kind_name(option->kind));
	cli_json_bool(json, "required", !option->default_value);
	json_text_or_null(json, "default", option->default_value);
	if (ranged) {
		cli_json_int64(json, "minimum", option->minimum);
		cli_json_int64(json, "maximum", option->maximum);
	} else {
		cli_json_null(json, "minimum");
		cli_json_null(json, "maximum");
	}
	json_text_or_null(json, "help", option->help);
	cli_json_end_object(json);
}

static void json_consumer(struct cli_json *json, const struct catchup_consumer *consumer)
{
	const struct catchup_option *option = consumer->options;

	cli_json_object(json, NULL);
	cli_json_text(json, "name", consumer->name);
	json_text_or_null(json, "summary", consumer->summary);
	json_text_or_null(json, "source", consumer->source);
	json_text_or_null(json, "into", consumer->into);
	cli_json_text(json, "on_error", consumer->on_error ? consumer->on_error : "stop");
	cli_json_array(json, "options");
	for (; option && option->name; option++)
		json_option(json, option);
	cli_json_end_array(json);
	cli_json_end_object(json);
}

static void text_option(struct cli_text *text, const struct catchup_option *option)
{
	cli_text_printf(text, "    %s", option->name);
	if (option->kind == CATCHUP_OPTION_INT)
		cli_text_printf(text, "=%" PRId64 "..%" PRId64, option->minimum, option->maximum);
	else if (option->kind == CATCHUP_OPTION_BOOL)
		cli_text_puts(text, "=yes|no");
	else
		cli_text_puts(text, "=TEXT");
	if (!option->default_value) {
		cli_text_puts(text, " (required)");
	} else if (*option->default_value) {
		cli_text_puts(text, " (default ");
		cli_text_show(text, option->default_value, strlen(option->default_value), 60);
		cli_text_puts(text, ")");
	}
	cli_text_printf(text, "\n        %s\n", option->help ? option->help : "");
}

static void text_consumer(struct cli_text *text, const struct catchup_consumer *consumer)
{
	const struct catchup_option *option = consumer->options;

	cli_text_printf(text, "%s\n    %s\n", consumer->name,
		consumer->summary ? consumer->summary : "");
	if (consumer->source)
		cli_text_printf(text, "    follows %s\n", consumer->source);
	for (; option && option->name; option++)
		text_option(text, option);
}

static int consumers(const struct cli_args *args)
{
	const struct catchup_consumer *const *list = catchup_builtin_consumers;
	struct cli_text text = {0};
	struct cli_json json = {.to = &text, .indent = true};
	int code;

	if (args->values[OPT_JSON].given) {
		cli_json_object(&json, NULL);
		cli_json_array(&json, "consumers");
		for (size_t i = 0; list[i]; i++)
			json_consumer(&json, list[i]);
		cli_json_end_array(&json);
		cli_json_end_object(&json);
		cli_text_puts(&text, "\n");
	} else {
		for (size_t i = 0; list[i]; i++) {
			cli_text_puts(&text, i ? "\n" : "");
			text_consumer(&text, list[i]);
		}
	}
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_option options[] = {
	[OPT_JSON] = {"--json", CLI_FLAG, .help = "one JSON document"},
	{0},
};

const struct cli_command cli_command_consumers = {
	.name = "consumers",
	.summary = "list the built-in consumers and their options",
	.options = options,
	.examples = "  catchup consumers\n"
		    "  catchup consumers --json | jq '.consumers[].name'\n",
	.run = consumers,
};
