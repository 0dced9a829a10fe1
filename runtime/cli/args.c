/* SPDX-License-Identifier: MIT */
#include "cli/args.h"
#include "cli/suggest.h"

#include <stdlib.h>
#include <string.h>

struct parser {
	struct cli_args *args;
	const struct cli_command *command;
	int argc;
	char *const *argv;
	int at; /* next argument */
	struct cli_text *message;
};

static int nomem(struct parser *p)
{
	cli_text_puts(p->message, "out of memory");
	return CLI_EXIT_FAILED;
}

int cli_args_number(const char *text, int64_t *out)
{
	const char *digits = text + (*text == '-');
	uint64_t limit = *text == '-' ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t number = 0;
	bool fits = true;

	if (!*digits || (*digits == '0' && (digits[1] || digits != text)))
		return -1;
	for (; *digits; digits++) {
		uint64_t digit = (uint64_t)(*digits - '0');

		if (*digits < '0' || *digits > '9')
			return -1;
		if (number > (limit - digit) / 10)
			fits = false;
		else
			number = number * 10 + digit;
	}
	if (!fits)
		return 1;
	*out = *text == '-' ? -(int64_t)(number - 1) - 1 : (int64_t)number;
	return 0;
}

int cli_args_seconds(const char *text, int64_t *ms)
{
	const char *dot = strchr(text, '.');
	size_t whole = dot ? (size_t)(dot - text) : strlen(text);
	int64_t seconds, fraction = 0, unit = 100;
	bool rest = false;
	char digits[24];
	int rc;

	if (whole == 0 || text[0] == '-')
		return -1;
	/* Longer than any int64: too big if it is a number at all. */
	if (whole >= sizeof(digits))
		return text[strspn(text, "0123456789.")] ? -1 : 1;
	memcpy(digits, text, whole);
	digits[whole] = '\0';
	rc = cli_args_number(digits, &seconds);
	if (rc < 0)
		return rc;
	if (dot && !dot[1])
		return -1;
	for (const char *p = dot ? dot + 1 : ""; *p; p++) {
		if (*p < '0' || *p > '9')
			return -1;
		fraction += (*p - '0') * unit;
		rest = rest || (unit == 0 && *p != '0');
		unit /= 10;
	}
	if (rc > 0 || seconds > INT64_MAX / 1000 - 1)
		return 1;
	*ms = seconds * 1000 + fraction + rest;
	return 0;
}

/* "option '--x': 'value' " */
static void name_value(struct parser *p, const struct cli_option *option, const char *value)
{
	cli_text_printf(p->message, "option '%s': ", option->name);
	cli_text_quote(p->message, value);
}

static void add_range(struct cli_text *message, const struct cli_option *option)
{
	cli_text_grouped(message, option->minimum);
	cli_text_puts(message, " to ");
	cli_text_grouped(message, option->maximum);
}

static int check_number(struct parser *p, const struct cli_option *option, const char *value,
	int64_t *out)
{
	int rc = cli_args_number(value, out);

	if (rc == 0 && *out >= option->minimum && *out <= option->maximum)
		return CLI_EXIT_OK;
	name_value(p, option, value);
	cli_text_puts(p->message, rc < 0 ? " is not a whole number (" : " is outside ");
	add_range(p->message, option);
	cli_text_puts(p->message, rc < 0 ? ")" : "");
	return CLI_EXIT_USAGE;
}

static int check_seconds(struct parser *p, const struct cli_option *option, const char *value,
	int64_t *out)
{
	int rc = cli_args_seconds(value, out);

	if (rc == 0 && *out >= option->minimum * 1000 && *out <= option->maximum * 1000)
		return CLI_EXIT_OK;
	name_value(p, option, value);
	cli_text_puts(p->message,
		rc < 0 ? " is not a number of seconds such as 5 or 0.5 (" : " is outside ");
	add_range(p->message, option);
	cli_text_puts(p->message, rc < 0 ? ")" : "");
	return CLI_EXIT_USAGE;
}

static int check_choice(struct parser *p, const struct cli_option *option, const char *value,
	int64_t *out)
{
	struct cli_suggest suggest = {.typed = value};

	for (size_t i = 0; option->choices[i]; i++) {
		if (strcmp(option->choices[i], value) == 0) {
			*out = (int64_t)i;
			return CLI_EXIT_OK;
		}
		cli_suggest_offer(&suggest, option->choices[i]);
	}
	name_value(p, option, value);
	cli_text_puts(p->message, " is none of ");
	for (size_t i = 0; option->choices[i]; i++)
		cli_text_printf(p->message, "%s%s", i ? ", " : "", option->choices[i]);
	if (suggest.nearest)
		cli_text_printf(p->message, "; did you mean '%s'?", suggest.nearest);
	return CLI_EXIT_USAGE;
}

static int check_text(struct parser *p, const struct cli_option *option, const char *value)
{
	if (*value)
		return CLI_EXIT_OK;
	cli_text_printf(p->message, "option '%s': the value '' is empty", option->name);
	return CLI_EXIT_USAGE;
}

static int twice(struct parser *p, const struct cli_option *option)
{
	cli_text_printf(p->message, "option '%s' is given twice", option->name);
	return CLI_EXIT_USAGE;
}

/* NAME=VALUE: a name may hold "=", a value does not, so the last one parts them. */
static int take_named(struct parser *p, size_t index, const char *given)
{
	const struct cli_option *option = &p->command->options[index];
	struct cli_args *args = p->args;
	const char *equals = strrchr(given, '=');
	const char *text = equals ? equals + 1 : given;
	struct cli_named *named;
	int64_t integer = 0;
	int rc;

	rc = option->kind == CLI_NAMED_INT ? check_number(p, option, text, &integer)
					   : check_text(p, option, text);
	if (rc != CLI_EXIT_OK)
		return rc;
	if (!equals) {
		struct cli_value *all = &args->values[index];

		if (all->given)
			return twice(p, option);
		*all = (struct cli_value){.given = true, .integer = integer, .text = text};
		return CLI_EXIT_OK;
	}
	if (equals == given) {
		name_value(p, option, given);
		cli_text_puts(p->message, " has no name before the '='");
		return CLI_EXIT_USAGE;
	}
	for (size_t i = 0; i < args->n_named; i++) {
		const char *name = args->named[i].name;

		if (args->named[i].option == index && strlen(name) == (size_t)(equals - given) &&
			memcmp(name, given, strlen(name)) == 0) {
			cli_text_printf(p->message, "option '%s' is given twice for ", option->name);
			cli_text_quote(p->message, name);
			return CLI_EXIT_USAGE;
		}
	}
	named = realloc(args->named, (args->n_named + 1) * sizeof(*named));
	if (!named)
		return nomem(p);
	args->named = named;
	named += args->n_named;
	*named = (struct cli_named){.option = index, .integer = integer, .text = text};
	named->name = strndup(given, (size_t)(equals - given));
	if (!named->name)
		return nomem(p);
	args->n_named++;
	return CLI_EXIT_OK;
}

static int take_value(struct parser *p, size_t index, const char *text)
{
	const struct cli_option *option = &p->command->options[index];
	struct cli_value *value = &p->args->values[index];
	int rc = CLI_EXIT_OK;

	if (option->kind == CLI_NAMED_INT || option->kind == CLI_NAMED_TEXT)
		return take_named(p, index, text);
	if (value->given)
		return twice(p, option);
	value->given = true;
	value->text = text;
	switch (option->kind) {
	case CLI_INT:
		rc = check_number(p, option, text, &value->integer);
		break;
	case CLI_SECONDS:
		rc = check_seconds(p, option, text, &value->integer);
		break;
	case CLI_CHOICE:
		rc = check_choice(p, option, text, &value->integer);
		break;
	case CLI_TEXT:
		rc = check_text(p, option, text);
		break;
	case CLI_FLAG:
	case CLI_NAMED_INT:
	case CLI_NAMED_TEXT:
		break;
	}
	return rc;
}

/* Index of the option whose name is the first n bytes of text, or CLI_OPTIONS_MAX. */
static size_t find_option(const struct cli_command *command, const char *text, size_t n)
{
	for (size_t i = 0; command->options && command->options[i].name; i++)
		if (strlen(command->options[i].name) == n &&
			memcmp(command->options[i].name, text, n) == 0)
			return i;
	return CLI_OPTIONS_MAX;
}

static int unknown_option(struct parser *p, const char *given, size_t n)
{
	char typed[64];
	struct cli_suggest suggest = {.typed = typed};

	cli_text_puts(p->message, "unknown option '");
	cli_text_show(p->message, given, n, 80);
	cli_text_puts(p->message, "'");
	if (n < sizeof(typed)) {
		memcpy(typed, given, n);
		typed[n] = '\0';
		for (size_t i = 0; p->command->options && p->command->options[i].name; i++)
			cli_suggest_offer(&suggest, p->command->options[i].name);
		cli_suggest_offer(&suggest, "--help");
		if (suggest.nearest)
			cli_text_printf(p->message, "; did you mean '%s'?", suggest.nearest);
	}
	return CLI_EXIT_USAGE;
}

/* One argument that begins with a dash. */
static int take_option(struct parser *p, const char *given)
{
	const char *equals = strchr(given, '=');
	size_t n = equals ? (size_t)(equals - given) : strlen(given);
	size_t index = find_option(p->command, given, n);
	const struct cli_option *option;
	const char *next;

	if (index == CLI_OPTIONS_MAX)
		return unknown_option(p, given, n);
	option = &p->command->options[index];
	if (option->kind == CLI_FLAG) {
		if (!equals)
			return take_value(p, index, "");
		cli_text_printf(p->message, "option '%s' takes no value", option->name);
		return CLI_EXIT_USAGE;
	}
	if (equals)
		return take_value(p, index, equals + 1);
	if (p->at == p->argc) {
		cli_text_printf(p->message, "option '%s' has no value", option->name);
		return CLI_EXIT_USAGE;
	}
	next = p->argv[p->at++];
	/* An option of ours in the place of the value: the value was forgotten. */
	if (strncmp(next, "--", 2) == 0 &&
		(!next[2] || find_option(p->command, next, strcspn(next, "=")) != CLI_OPTIONS_MAX)) {
		cli_text_printf(p->message, "option '%s' has no value; write '%s=' in front of ",
			option->name, option->name);
		cli_text_quote(p->message, next);
		cli_text_puts(p->message, " if that is it");
		return CLI_EXIT_USAGE;
	}
	return take_value(p, index, next);
}

/* Whether the words that there are and the words that the command takes agree. */
static int check_words(struct parser *p)
{
	const struct cli_word *words = p->command->words;
	size_t n = p->args->n_words;
	size_t i = 0;

	for (; words && words[i].name; i++) {
		if (i >= n && !words[i].optional) {
			cli_text_printf(p->message, "%s is missing", words[i].name);
			return CLI_EXIT_USAGE;
		}
		if (i < n && !p->args->words[i][0]) {
			cli_text_printf(p->message, "%s '' is empty", words[i].name);
			return CLI_EXIT_USAGE;
		}
		if (words[i].many)
			return CLI_EXIT_OK;
	}
	if (n <= i)
		return CLI_EXIT_OK;
	cli_text_quote(p->message, p->args->words[i]);
	cli_text_puts(p->message, " is one argument too many");
	return CLI_EXIT_USAGE;
}

static int check_required(struct parser *p)
{
	for (size_t i = 0; p->command->options && p->command->options[i].name; i++) {
		if (!p->command->options[i].required || p->args->values[i].given)
			continue;
		cli_text_printf(p->message, "option '%s %s' is missing", p->command->options[i].name,
			p->command->options[i].value);
		return CLI_EXIT_USAGE;
	}
	return CLI_EXIT_OK;
}

/* --help wins over every mistake: who asks for help should get it. */
static bool asks_for_help(int argc, char *const *argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
	char *const *argv, struct cli_text *message)
{
	struct parser p = {args, command, argc, argv, 0, message};
	bool options_end = false;
	int rc = CLI_EXIT_OK;

	*args = (struct cli_args){.command = command};
	if (asks_for_help(argc, argv)) {
		args->help = true;
		return CLI_EXIT_OK;
	}
	args->words = calloc((size_t)argc + 1, sizeof(*args->words));
	if (!args->words)
		return nomem(&p);
	while (rc == CLI_EXIT_OK && p.at < argc) {
		const char *given = argv[p.at++];

		if (!options_end && strcmp(given, "--") == 0)
			options_end = true;
		else if (!options_end && given[0] == '-' && given[1])
			rc = take_option(&p, given);
		else
			args->words[args->n_words++] = given;
	}
	if (rc == CLI_EXIT_OK)
		rc = check_words(&p);
	if (rc == CLI_EXIT_OK)
		rc = check_required(&p);
	return rc;
}

void cli_args_free(struct cli_args *args)
{
	for (size_t i = 0; i < args->n_named; i++)
		free(args->named[i].name);
	free(args->named);
	free(args->words);
	*args = (struct cli_args){0};
}
