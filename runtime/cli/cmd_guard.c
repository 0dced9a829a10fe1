/* SPDX-License-Identifier: MIT */
/*
 * catchup guard: keep a source append-only, whoever writes it.
 */
#include "cli/cli.h"
#include "cli/process.h"

#include <string.h>

enum { OPT_ID, OPT_REMOVE };

static int guard(const struct cli_args *args)
{
	const char *database = args->words[0], *table = args->words[1];
	const char *id = args->values[OPT_ID].given ? args->values[OPT_ID].text : NULL;
	bool removing = args->values[OPT_REMOVE].given;
	struct catchup_error error = {0};
	struct cli_text text = {0};
	int code;

	if (removing && id)
		return cli_usage(args->command, "options '--id' and '--remove' exclude each other");
	code = removing ? catchup_guard_remove(database, table, &error)
			: catchup_guard(database, table, id, &error);
	if (code != CATCHUP_OK)
		return cli_fail(&error);
	cli_text_puts(&text, "table ");
	cli_text_quote(&text, table);
	cli_text_puts(&text, removing ? " is no longer guarded\n"
				      : " is guarded: only ids above its newest can be inserted\n");
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that holds the table"},
	{.name = "TABLE", .help = "a table that consumers follow, or are going to"},
	{0},
};

static const struct cli_option options[] = {
	[OPT_ID] = {"--id", CLI_TEXT, "COLUMN", .fallback = "id", .help = "its id column"},
	[OPT_REMOVE] = {"--remove", CLI_FLAG, .help = "remove the guard"},
	{0},
};

const struct cli_command cli_command_guard = {
	.name = "guard",
	.summary = "make a table refuse rows that consumers would never see",
	.words = words,
	.options = options,
	.notes =
		"A row whose id is not above the newest one is skipped by every consumer that has passed it.\n"
		"The guard is a set of triggers that refuse such a row, whoever inserts it: the id must be\n"
		"above every id that the table has held and every consumer's watermark. Changing an id to\n"
		"such a one is refused too. Deleting old rows is not. The statement fails with an error that\n"
		"begins with 'catchup guard:'; its transaction can go on. An insert costs two look-ups more,\n"
		"an update too. 'catchup status --json' tells which sources are guarded; 'catchup verify' says\n"
		"where a guard lacks a trigger. Guarding the table again renews it.\n",
	.examples = "  catchup guard app.db orders\n"
		    "  catchup guard app.db events --id sequence\n"
		    "  catchup guard app.db orders --remove\n",
	.run = guard,
};
