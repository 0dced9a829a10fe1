/* SPDX-License-Identifier: MIT */
/*
 * catchup - the program. Finds the command, parses what stands behind it, runs it.
 *
 * Data goes to standard output, everything else to standard error. The exit code is the command's.
 */
#include "cli/cli.h"
#include "cli/help.h"
#include "cli/process.h"

#include <string.h>

static int print_help(const struct cli_command *command)
{
	struct cli_text text = {0};
	int code;

	cli_help_command(&text, command);
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static int run_command(const struct cli_command *command, int argc, char *const *argv)
{
	struct cli_text message = {0};
	struct cli_args args;
	int code = cli_args_parse(&args, command, argc, argv, &message);

	if (code == CLI_EXIT_USAGE)
		cli_usage(command, cli_text_string(&message));
	else if (code != CLI_EXIT_OK)
		cli_fail(&(struct catchup_error){CATCHUP_NOMEM, 0, "out of memory"});
	else if (args.help)
		code = print_help(command);
	else
		code = command->run(&args);
	cli_args_free(&args);
	cli_text_free(&message);
	return code;
}

int main(int argc, char **argv)
{
	const struct cli_command *command;
	struct cli_text message = {0};
	int taken;

	cli_process_prepare();
	if (argc < 2)
		return cli_usage(NULL, "no command is given");
	argc--;
	argv++;
	if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
		return run_command(&cli_command_help, argc - 1, argv + 1);
	if (strcmp(argv[0], "--version") == 0)
		return run_command(&cli_command_version, argc - 1, argv + 1);
	command = cli_command_find(argc, argv, &taken);
	if (command)
		return run_command(command, argc - taken, argv + taken);
	/* `catchup changelog --help` asks for the list of what there is. */
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return run_command(&cli_command_help, 1, argv);
	cli_command_unknown(&message, argc, argv);
	cli_usage(NULL, cli_text_string(&message));
	cli_text_free(&message);
	return CLI_EXIT_USAGE;
}
