/* SPDX-License-Identifier: MIT */
/*
 * help.h - what --help and `catchup help` print, made from the command tables.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "cli/args.h"

/* All commands with their summaries. The list ends with NULL. */
void cli_help_program(struct cli_text *text, const struct cli_command *const *commands);

/* "catchup run DATABASE CONSUMER... [options]" on one line, without an end of line. */
void cli_help_usage(struct cli_text *text, const struct cli_command *command);

/* One command: usage, words, options with ranges and defaults, notes, examples. */
void cli_help_command(struct cli_text *text, const struct cli_command *command);

#endif
