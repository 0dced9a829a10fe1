/* SPDX-License-Identifier: MIT */
#include "cli/help.h"

#include <string.h>

#define LINE_COLUMNS 80
#define HELP_COLUMN 26 /* where the explanations begin */

void cli_help_usage(struct cli_text *text, const struct cli_command *command)
{
	const struct cli_word *word = command->words;
	const struct cli_option *option = command->options;
	bool more = false;

	cli_text_printf(text, "catchup %s", command->name);
	for (; word && word->name; word++)
		cli_text_printf(text, word->optional ? " [%s%s]" : " %s%s", word->name,
			word->many ? "..." : "");
	for (; option && option->name; option++) {
		if (option->required)
			cli_text_printf(text, " %s %s", option->name, option->value);
		else
			more = true;
	}
	if (more)
		cli_text_puts(text, " [options]");
}

/* Writes "  left   explanation", the explanation wrapped in its own column. */
static void entry(struct cli_text *text, const char *left, const char *explanation)
{
	size_t column = 2 + strlen(left);

	cli_text_printf(text, "  %s", left);
	if (column + 2 > HELP_COLUMN) {
		cli_text_puts(text, "\n");
		column = 0;
	}
	cli_text_repeat(text, ' ', HELP_COLUMN - column);
	column = HELP_COLUMN;
	while (*explanation) {
		size_t word = strcspn(explanation, " ");

		if (column > HELP_COLUMN && column + 1 + word > LINE_COLUMNS) {
			cli_text_puts(text, "\n");
			cli_text_repeat(text, ' ', HELP_COLUMN);
			column = HELP_COLUMN;
		} else if (column > HELP_COLUMN) {
			cli_text_puts(text, " ");
			column++;
		}
		cli_text_add(text, explanation, word);
		column += word;
		explanation += word;
		explanation += strspn(explanation, " ");
	}
	cli_text_puts(text, "\n");
}

/* What may stand there: the range, the choices and the default, in brackets behind the help. */
static void limits(struct cli_text *text, const struct cli_option *option)
{
	switch (option->kind) {
	case CLI_INT:
	case CLI_NAMED_INT:
	case CLI_SECONDS:
		cli_text_puts(text, " (");
		if (option->maximum == INT64_MAX) {
			cli_text_grouped(text, option->minimum);
			cli_text_puts(text, " or more");
		} else {
			cli_text_grouped(text, option->minimum);
			cli_text_puts(text, " to ");
			cli_text_grouped(text, option->maximum);
		}
		break;
	case CLI_FLAG:
	case CLI_TEXT:
	case CLI_CHOICE:
	case CLI_NAMED_TEXT:
		if (!option->fallback)
			return;
		cli_text_printf(text, " (default %s)", option->fallback);
		return;
	}
	if (option->fallback)
		cli_text_printf(text, "; default %s", option->fallback);
	cli_text_puts(text, ")");
}

static void option_entry(struct cli_text *text, const struct cli_option *option)
{
	struct cli_text left = {0};
	struct cli_text help = {0};

	cli_text_puts(&left, option->name);
	if (option->kind == CLI_CHOICE) {
		for (size_t i = 0; option->choices[i]; i++)
			cli_text_printf(&left, "%s%s", i ? "|" : " ", option->choices[i]);
	} else if (option->value) {
		cli_text_printf(&left, " %s", option->value);
	}
	cli_text_puts(&help, option->help);
	limits(&help, option);
	entry(text, cli_text_string(&left), cli_text_string(&help));
	text->failed = text->failed || left.failed || help.failed;
	cli_text_free(&left);
	cli_text_free(&help);
}

void cli_help_command(struct cli_text *text, const struct cli_command *command)
{
	const struct cli_word *word = command->words;
	const struct cli_option *option = command->options;

	cli_text_printf(text, "catchup %s - %s\n\nusage: ", command->name, command->summary);
	cli_help_usage(text, command);
	cli_text_puts(text, "\n\n");
	for (; word && word->name; word++)
		entry(text, word->name, word->help);
	if (command->words && command->words->name)
		cli_text_puts(text, "\n");
	cli_text_puts(text, "options:\n");
	for (; option && option->name; option++)
		option_entry(text, option);
	entry(text, "--help", "show this");
	if (command->notes)
		cli_text_printf(text, "\n%s", command->notes);
	if (command->examples)
		cli_text_printf(text, "\nexamples:\n%s", command->examples);
}

void cli_help_program(struct cli_text *text, const struct cli_command *const *commands)
{
	cli_text_puts(text,
		"catchup - process append-only SQLite tables, each row exactly once\n\n"
		"usage: catchup COMMAND ...\n\ncommands:\n");
	for (; *commands; commands++)
		entry(text, (*commands)->name, (*commands)->summary);
	cli_text_puts(text,
		"\nDATABASE is a file with append-only tables. CONSUMER is a .sql file, a .so module or\n"
		"the name of a built-in consumer; NAME:key=value,... sets its options.\n"
		"\nexit codes: 0 done, 1 failed, 2 wrong usage, 3 not caught up in time, 4 a consumer\n"
		"stopped on an error, 5 the database stayed locked, 6 the source or the changelog has a\n"
		"gap or went backwards (where several consumers stop, the highest), 128+N ended by\n"
		"signal N\n"
		"\n'catchup help COMMAND' shows a command with its options and examples.\n");
}
