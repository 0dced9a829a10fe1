/* SPDX-License-Identifier: MIT */
/*
 * catchup wait: until a consumer has come to a row, whichever process runs it.
 *
 * A signal ends it as any program: nothing is in hand here, and 0 would say that the row is done.
 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { OPT_CONSUMER, OPT_UNTIL, OPT_TIMEOUT };

/* One that is waited for because nobody knows it yet is mistyped as often as it is late. */
static void tell_unknown(const char *database, const char *consumer)
{
	static const volatile int at_once = 1;
	struct catchup_error error = {0};
	size_t used;

	/* A wait without an end does not begin for such a one; for any other this one does not last. */
	if (catchup_wait_watermark(database, consumer, 0, -1, &at_once, &error) != CATCHUP_USAGE)
		return;
	used = strlen(error.message);
	snprintf(error.message + used, sizeof(error.message) - used, " yet, waiting for it");
	cli_fail_about(&error, database, &consumer, 1);
}

static int wait_for(const struct cli_args *args)
{
	const struct cli_value *values = args->values;
	int64_t timeout_ms = values[OPT_TIMEOUT].given ? values[OPT_TIMEOUT].integer : -1;
	struct catchup_error error = {0};
	/* What need not be waited for, and a database that cannot be read, is known at once. */
	int code = catchup_wait_watermark(args->words[0], values[OPT_CONSUMER].text,
		values[OPT_UNTIL].integer, timeout_ms > 0 ? 0 : timeout_ms, NULL, &error);

	if (code == CATCHUP_TIMEOUT && timeout_ms > 0) {
		tell_unknown(args->words[0], values[OPT_CONSUMER].text);
		code = catchup_wait_watermark(args->words[0], values[OPT_CONSUMER].text,
			values[OPT_UNTIL].integer, timeout_ms, NULL, &error);
	}
	return code == CATCHUP_OK
		       ? CLI_EXIT_OK
		       : cli_fail_about(&error, args->words[0], &values[OPT_CONSUMER].text, 1);
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that the consumer follows; " CLI_READ_ONLY},
	{0},
};

static const struct cli_option options[] = {
	[OPT_CONSUMER] = {"--consumer", CLI_TEXT, "NAME", .required = true,
		.help = "the consumer to wait for"},
	[OPT_UNTIL] = {"--until", CLI_INT, "ID", 0, INT64_MAX, .required = true,
		.help = "id of the row whose effects must be committed"},
	[OPT_TIMEOUT] = {"--timeout", CLI_SECONDS, "SECONDS", 0, 1000000000,
		.help = "give up after this time, with exit code 3; decimals are allowed; without it "
			"the wait has no end"},
	{0},
};

const struct cli_command cli_command_wait = {
	.name = "wait",
	.summary = "wait until a consumer has come to a row",
	.words = words,
	.options = options,
	.notes = "Exit codes: 0 the row is done, 3 it was not done in time, 4 the consumer has stopped\n"
		 "on an error. The consumer runs in any process. With --timeout it may also start for the\n"
		 "first time meanwhile, and it is said that nobody knows it yet; without, a name that the\n"
		 "database does not know is an error (2).\n",
	.examples = "  catchup wait app.db --consumer totals --until 1200 --timeout 2.5\n",
	.run = wait_for,
};
