/* SPDX-License-Identifier: MIT */
#include "cli/cli.h"
#include "cli/process.h"
#include "cli/suggest.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

const struct cli_command *const cli_commands[] = {
#define CLI_X(verb) &cli_command_##verb,
	CLI_COMMAND_MAP(CLI_X)
#undef CLI_X
		NULL,
};

/* Words of the command's name that stand in argv; 0 when it is another one. */
static int matches(const struct cli_command *command, int argc, char *const *argv)
{
	const char *blank = strchr(command->name, ' ');
	size_t first = blank ? (size_t)(blank - command->name) : strlen(command->name);

	if (argc < 1 || strlen(argv[0]) != first || memcmp(argv[0], command->name, first) != 0)
		return 0;
	if (!blank)
		return 1;
	return argc > 1 && strcmp(argv[1], blank + 1) == 0 ? 2 : 0;
}

const struct cli_command *cli_command_find(int argc, char *const *argv, int *taken)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		*taken = matches(cli_commands[i], argc, argv);
		if (*taken)
			return cli_commands[i];
	}
	return NULL;
}

/* "changelog" alone, or with a second word that none of its commands has. */
static bool unknown_in_group(struct cli_text *message, int argc, char *const *argv)
{
	size_t n = strlen(argv[0]);
	struct cli_suggest suggest = {.typed = argc > 1 ? argv[1] : ""};
	size_t members = 0;

	for (size_t i = 0; cli_commands[i]; i++) {
		const char *name = cli_commands[i]->name;

		if (strncmp(name, argv[0], n) != 0 || name[n] != ' ')
			continue;
		members++;
		cli_suggest_offer(&suggest, name + n + 1);
	}
	if (members == 0)
		return false;
	if (argc > 1) {
		cli_text_printf(message, "unknown command '%s ", argv[0]);
		cli_text_show(message, argv[1], strlen(argv[1]), 80);
		cli_text_puts(message, "'");
	} else {
		cli_text_printf(message, "command '%s' is not complete", argv[0]);
	}
	if (suggest.nearest) {
		cli_text_printf(message, "; did you mean '%s %s'?", argv[0], suggest.nearest);
		return true;
	}
	cli_text_puts(message, "; there is");
	for (size_t i = 0; cli_commands[i]; i++) {
		const char *name = cli_commands[i]->name;

		if (strncmp(name, argv[0], n) == 0 && name[n] == ' ')
			cli_text_printf(message, " '%s'%s", name, --members ? "," : "");
	}
	return true;
}

/* Commands are offered by their first word: "changelog", not "changelog follow". */
static void offer_commands(struct cli_suggest *suggest, char *nearest, size_t bytes)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		const char *name = cli_commands[i]->name;
		const char *before = suggest->nearest;
		char word[32];

		snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, " "), name);
		cli_suggest_offer(suggest, word);
		if (suggest->nearest == before)
			continue;
		snprintf(nearest, bytes, "%s", word);
		suggest->nearest = nearest;
	}
}

void cli_command_unknown(struct cli_text *message, int argc, char *const *argv)
{
	struct cli_suggest suggest = {.typed = argv[0]};
	char nearest[32];

	if (unknown_in_group(message, argc, argv))
		return;
	cli_text_puts(message, argv[0][0] == '-' ? "unknown option " : "unknown command ");
	cli_text_quote(message, argv[0]);
	offer_commands(&suggest, nearest, sizeof(nearest));
	if (argv[0][0] == '-') {
		cli_suggest_offer(&suggest, "--help");
		cli_suggest_offer(&suggest, "--version");
	}
	if (suggest.nearest)
		cli_text_printf(message, "; did you mean '%s'?", suggest.nearest);
}

static void print_error(struct cli_text *text)
{
	cli_process_write(STDERR_FILENO, cli_text_string(text), text->used);
	cli_text_free(text);
}

int cli_fail(const struct catchup_error *error)
{
	struct cli_text text = {0};

	cli_text_puts(&text, "catchup: ");
	cli_text_show(&text, error->message, strlen(error->message), SIZE_MAX);
	cli_text_puts(&text, "\n");
	print_error(&text);
	return catchup_code_exit(error->code);
}

static void offer_consumers(struct cli_suggest *suggest, const struct catchup_status *status)
{
	for (size_t i = 0; i < status->n_consumers; i++)
		cli_suggest_offer(suggest, status->consumers[i].name);
	/* A name that is known is not what was wrong. */
	if (suggest->nearest && suggest->distance == 0)
		suggest->nearest = NULL;
}

int cli_fail_about(const struct catchup_error *error, const char *database, const char *const *names,
	size_t n)
{
	struct cli_suggest suggest = {0};
	struct catchup_status *status = NULL;
	struct catchup_error whole = *error;
	size_t used = strlen(whole.message);

	if (error->code == CATCHUP_USAGE && n > 0 &&
		catchup_status_read(database, &status, NULL) == CATCHUP_OK)
		for (size_t i = 0; i < n && !suggest.nearest; i++) {
			suggest = (struct cli_suggest){.typed = names[i]};
			offer_consumers(&suggest, status);
		}
	if (suggest.nearest)
		snprintf(whole.message + used, sizeof(whole.message) - used, "; did you mean '%s'?",
			suggest.nearest);
	catchup_status_free(status);
	return cli_fail(&whole);
}

int cli_usage(const struct cli_command *command, const char *message)
{
	struct cli_text text = {0};

	cli_text_printf(&text, "catchup%s%s: %s\nsee 'catchup help%s%s'\n", command ? " " : "",
		command ? command->name : "", message, command ? " " : "",
		command ? command->name : "");
	print_error(&text);
	return CLI_EXIT_USAGE;
}
