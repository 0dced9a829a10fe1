/* SPDX-License-Identifier: MIT */
/*
 * catchup forget: a consumer that is no more.
 */
#include "cli/cli.h"
#include "cli/process.h"

static int forget(const struct cli_args *args)
{
	struct catchup_error error = {0};
	struct cli_text text = {0};
	int code;

	if (catchup_forget(args->words[0], args->words[1], &error) != CATCHUP_OK)
		return cli_fail_about(&error, args->words[0], args->words + 1, 1);
	cli_text_puts(&text, "consumer ");
	cli_text_quote(&text, args->words[1]);
	cli_text_puts(&text, " is forgotten; its results are still there\n");
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that the consumer followed"},
	{.name = "CONSUMER", .help = "its name, as 'catchup status' shows it"},
	{0},
};

static const struct cli_option options[] = {{0}};

const struct cli_command cli_command_forget = {
	.name = "forget",
	.summary = "take a consumer that is no more off the books",
	.words = words,
	.options = options,
	.notes =
		"Its watermark, counters and dead letters go, and 'catchup status' no longer lists it. Its\n"
		"results stay: drop its tables yourself. Should it run again, it begins at the first row.\n"
		"While another process runs it, it is refused with exit code 5.\n",
	.examples = "  catchup forget app.db totals_v1\n",
	.run = forget,
};
