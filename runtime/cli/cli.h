/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what main and the commands share.
 *
 * The program is a client of the library: it sees the public headers only. A command is one file,
 * cmd_<verb>.c, that defines one struct cli_command, and one line of CLI_COMMAND_MAP.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/args.h"
#include "cli/term.h"

#include <catchup/catchup.h>

/* What commands that write nothing say of the database, in their help. */
#define CLI_READ_ONLY                                                                              \
	"it is opened read-only; while no program has it open, SQLite still makes the files of its " \
	"write-ahead log in its folder, and has to be allowed to"

/* Every command, in the order in which help shows them. */
#define CLI_COMMAND_MAP(X)                                                                         \
	X(run)                                                                                     \
	X(status)                                                                                  \
	X(wait)                                                                                    \
	X(consumers)                                                                               \
	X(check)                                                                                   \
	X(dead_list)                                                                               \
	X(dead_show)                                                                               \
	X(dead_retry)                                                                              \
	X(dead_drop)                                                                               \
	X(reset)                                                                                   \
	X(forget)                                                                                  \
	X(verify)                                                                                  \
	X(guard)                                                                                   \
	X(changelog_follow)                                                                        \
	X(version)                                                                                 \
	X(help)

#define CLI_X(verb) extern const struct cli_command cli_command_##verb;
CLI_COMMAND_MAP(CLI_X)
#undef CLI_X

/* The same as a list that ends with NULL. */
extern const struct cli_command *const cli_commands[];

/* Finds a command by its first one or two words. *taken: how many they were. NULL: none. */
const struct cli_command *cli_command_find(int argc, char *const *argv, int *taken);

/* Says on one line why there is no such command, with the nearest that there is. */
void cli_command_unknown(struct cli_text *message, int argc, char *const *argv);

/* What is linked into the program; defined beside the consumers. Ends with NULL. */
extern const struct catchup_consumer *const catchup_builtin_consumers[];

/* Prints the error on standard error. Returns its exit code. */
int cli_fail(const struct catchup_error *error);

/* The same for what was asked about consumers by their names. One that the database does not know comes with
 * the nearest that it does. n 0: about all of them. */
int cli_fail_about(const struct catchup_error *error, const char *database, const char *const *names,
	size_t n);

/* Prints a usage error that the tables cannot know and where to read on. Returns CLI_EXIT_USAGE. */
int cli_usage(const struct cli_command *command, const char *message);

#endif
