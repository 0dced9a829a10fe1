/* SPDX-License-Identifier: MIT */
/*
 * catchup reset: a consumer goes on at another id, most often at the beginning.
 */
#include "cli/cli.h"
#include "cli/process.h"

#include <unistd.h>

enum {
	OPT_TO,
	OPT_TO_NEWEST,
	OPT_KEEP_RESULTS
};

static void tell(
	struct cli_text *text, const char *consumer, const struct catchup_reset_result *done)
{
	cli_text_puts(text, "consumer ");
	cli_text_quote(text, consumer);
	cli_text_printf(
		text, ": watermark %lld -> %lld", (long long)done->from, (long long)done->to);
	if (done->cleared && done->to > 0)
		cli_text_printf(text, ", results cleared, also those of rows up to %lld",
			(long long)done->to);
	else if (done->cleared)
		cli_text_puts(text, ", results cleared");
	else if (done->to < done->from)
		cli_text_puts(text, ", results kept");
	if (done->skipped > 0)
		cli_text_printf(text, ", %lld row%s skipped", (long long)done->skipped,
			done->skipped == 1 ? "" : "s");
	if (done->dropped > 0)
		cli_text_printf(text, ", %lld dead letter%s dropped", (long long)done->dropped,
			done->dropped == 1 ? "" : "s");
	cli_text_puts(text, "\n");
}

static int reset(const struct cli_args *args)
{
	struct cli_term term;
	const struct catchup_options options = {
		.size = sizeof(options),
		.database = args->words[0],
		.builtins = catchup_builtin_consumers,
		.log = cli_term_log,
		.log_context = &term,
		.log_level = CATCHUP_LOG_WARN,
	};
	int64_t to = args->values[OPT_TO].given ? args->values[OPT_TO].integer : 0;
	unsigned flags = args->values[OPT_KEEP_RESULTS].given ? CATCHUP_RESET_KEEP_RESULTS : 0;
	struct catchup_reset_result done;
	struct catchup_error error = {0};
	struct catchup_description *description;
	struct cli_text text = {0};
	int code;

	if (args->values[OPT_TO_NEWEST].given) {
		if (args->values[OPT_TO].given)
			return cli_usage(args->command,
				"options '--to' and '--to-newest' exclude each other");
		to = CATCHUP_RESET_NEWEST;
	}
	cli_term_init(&term, STDERR_FILENO, false, CATCHUP_LOG_WARN);
	code = catchup_reset(&options, args->words[1], to, flags, &done, &error);
	cli_term_finish(&term);
	if (code != CATCHUP_OK)
		return cli_fail_about(&error, args->words[0], args->words + 1, 1);
	/* A name that is only known to the database describes nothing. */
	if (catchup_describe(args->words[1], NULL, catchup_builtin_consumers, &description, NULL) != CATCHUP_OK)
		description = NULL;
	tell(&text, description ? description->name : args->words[1], &done);
	catchup_description_free(description);
	code = cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that the consumer follows"},
	{.name = "CONSUMER", .help = "its name, or what 'run' takes"},
	{0},
};

static const struct cli_option options[] = {
	[OPT_TO] = {"--to", CLI_INT, "ID", .minimum = 0, .maximum = INT64_MAX, .fallback = "0",
		.help = "the new watermark: the next row is the first one above it"},
	[OPT_TO_NEWEST] = {"--to-newest", CLI_FLAG,
		.help = "skip all rows that are there: go on with the next one inserted"},
	[OPT_KEEP_RESULTS] = {"--keep-results", CLI_FLAG,
		.help = "going back, leave the results as they are: rows are applied to them again"},
	{0},
};

const struct cli_command cli_command_reset = {
	.name = "reset",
	.summary = "let a consumer begin again, or go on at another id",
	.words = words,
	.options = options,
	.notes =
		"Going back clears the results first, by the consumer's section 'reset' (such as DELETE FROM\n"
		"totals), and makes its tables anew by 'setup', in the transaction that moves the watermark;\n"
		"the next 'catchup run' does the rows again. Without that section it is refused, because rows\n"
		"would be applied twice, unless --keep-results says that this is meant. Going back with --to\n"
		"clears the results of rows that are not done again, too. Going forward leaves the results,\n"
		"and tells how many rows are skipped. Dead letters above the new watermark are dropped,\n"
		"counters begin anew. While another process runs the consumer it is refused with exit code 5.\n"
		"\n"
		"A consumer that follows a table of this one's is not reset with it, and would take the rows\n"
		"that are written again for new ones: each of them is named on standard error. Reset it, too,\n"
		"before the next run.\n",
	.examples =
		"  catchup reset app.db totals              # rebuild: then 'catchup run' as ever\n"
		"  catchup reset app.db ./totals.sql        # the same after its file has changed\n"
		"  catchup reset app.db alerts --to-newest  # yesterday's backlog is of no interest\n",
	.run = reset,
};
