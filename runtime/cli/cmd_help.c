/* SPDX-License-Identifier: MIT */
/*
 * catchup help, catchup version.
 */
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/json_out.h"
#include "cli/process.h"

#include <string.h>

/* Help for all commands that begin with one word, such as "changelog". Returns how many. */
static size_t help_group(struct cli_text *text, const char *word)
{
	size_t n = strlen(word);
	size_t members = 0;

	for (size_t i = 0; cli_commands[i]; i++) {
		const char *name = cli_commands[i]->name;

		if (strncmp(name, word, n) != 0 || name[n] != ' ')
			continue;
		if (members++ > 0)
			cli_text_puts(text, "\n");
		cli_help_command(text, cli_commands[i]);
	}
	return members;
}

static int help(const struct cli_args *args)
{
	struct cli_text text = {0};
	const struct cli_command *command;
	int taken = 0;
	int code;

	/* The words are pointers to strings that nobody writes to, as argv has them. */
	char *const *words = (char *const *)(const void *)args->words;

	if (args->n_words == 0) {
		cli_help_program(&text, cli_commands);
	} else {
		command = cli_command_find((int)args->n_words, words, &taken);
		if (command && (size_t)taken == args->n_words) {
			cli_help_command(&text, command);
		} else if (command) {
			cli_text_quote(&text, words[taken]);
			cli_text_puts(&text, " is one argument too many");
			code = cli_usage(args->command, cli_text_string(&text));
			cli_text_free(&text);
			return code;
		} else if (args->n_words > 1 || help_group(&text, words[0]) == 0) {
			cli_command_unknown(&text, (int)args->n_words, words);
			code = cli_usage(NULL, cli_text_string(&text));
			cli_text_free(&text);
			return code;
		}
	}
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word help_words[] = {
	{"COMMAND", "the command to explain; none: the list of all", true, true},
	{0},
};

const struct cli_command cli_command_help = {
	.name = "help",
	.summary = "explain a command",
	.words = help_words,
	.examples = "  catchup help run\n",
	.run = help,
};

enum { OPT_JSON };

static int version(const struct cli_args *args)
{
	struct cli_text text = {0};
	struct cli_json json = {.to = &text, .indent = true};
	int bug = catchup_sqlite_has_wal_reset_bug();
	int code;

	if (args->values[OPT_JSON].given) {
		cli_json_object(&json, NULL);
		cli_json_text(&json, "version", catchup_version());
		cli_json_object(&json, "sqlite");
		cli_json_text(&json, "version", catchup_sqlite_version());
		cli_json_bool(&json, "wal_reset_bug", bug);
		cli_json_end_object(&json);
		cli_json_end_object(&json);
		cli_text_puts(&text, "\n");
	} else {
		cli_text_printf(&text, "catchup %s, SQLite %s%s\n", catchup_version(),
			catchup_sqlite_version(),
			bug ? " (has the WAL-reset bug; catchup checkpoints round it)" : "");
	}
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_option version_options[] = {
	[OPT_JSON] = {"--json", CLI_FLAG, .help = "one JSON document"},
	{0},
};

const struct cli_command cli_command_version = {
	.name = "version",
	.summary = "the version of catchup and of its SQLite",
	.options = version_options,
	.examples = "  catchup version\n",
	.run = version,
};
