/* SPDX-License-Identifier: MIT */
/*
 * catchup status: how far every consumer of a database has come, whoever runs it.
 */
#include "cli/cli.h"
#include "cli/process.h"
#include "cli/status_out.h"
#include "cli/term.h"

#include <stdlib.h>
#include <unistd.h>

enum { OPT_JSON };

static bool wants_colour(void)
{
	const char *no_colour = getenv("NO_COLOR");

	return cli_term_can_redraw(STDOUT_FILENO) && !(no_colour && *no_colour);
}

static int status(const struct cli_args *args)
{
	struct catchup_error error = {0};
	struct catchup_status *status;
	struct cli_text text = {0};
	int code;

	if (catchup_status_read(args->words[0], &status, &error) != CATCHUP_OK)
		return cli_fail(&error);
	if (args->values[OPT_JSON].given)
		cli_status_json(&text, status);
	else
		cli_status_table(&text, status, cli_process_wall_ms(), wants_colour());
	catchup_status_free(status);
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that consumers follow; " CLI_READ_ONLY},
	{0},
};

static const struct cli_option options[] = {
	[OPT_JSON] = {"--json", CLI_FLAG,
		.help = "one JSON document; 64-bit integers in it are strings"},
	{0},
};

const struct cli_command cli_command_status = {
	.name = "status",
	.summary = "show how far every consumer of a database has come",
	.words = words,
	.options = options,
	.notes = "States: running has rows to do; caught-up waits for rows; paused waits for the machine\n"
		 "(disk full, locked) or to try a row again; stopped on an error; idle: no process runs it.\n"
		 "The write-ahead log's size stands in the first line, with the processes whose open reads\n"
		 "hold it back, if there are any.\n",
	.examples = "  catchup status app.db\n"
		    "  catchup status app.db --json | jq -r '.consumers[] | [.name, .lag_rows] | @tsv'\n",
	.run = status,
};
