/* SPDX-License-Identifier: MIT */
/*
 * catchup dead list | show | retry | drop: rows that consumers could not process.
 */
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { OPT_CONSUMER, OPT_ID, OPT_ALL, OPT_JSON };

#define COLUMN_NAME 40 /* at most */
#define COLUMN_MESSAGE 72

static const char *consumer_of(const struct cli_args *args)
{
	return args->values[OPT_CONSUMER].given ? args->values[OPT_CONSUMER].text : NULL;
}

static int64_t id_of(const struct cli_args *args)
{
	return args->values[OPT_ID].given ? args->values[OPT_ID].integer : 0;
}

static int fail(const struct cli_args *args, const struct catchup_error *error)
{
	const char *consumer = consumer_of(args);

	return cli_fail_about(error, args->words[0], &consumer, consumer ? 1 : 0);
}

/* Ends a command about so many letters: who names one that is not there is not told that all is well. */
static int end(const struct cli_args *args, int rc, int64_t n)
{
	struct catchup_error error = {0};

	if (rc != CLI_EXIT_OK || n > 0 || !args->values[OPT_ID].given)
		return rc;
	if (consumer_of(args))
		snprintf(error.message, sizeof(error.message),
			"consumer '%.200s' has no dead letter of row %" PRId64, consumer_of(args), id_of(args));
	else
		snprintf(error.message, sizeof(error.message), "no consumer has a dead letter of row %" PRId64,
			id_of(args));
	cli_fail(&error);
	return CLI_EXIT_FAILED;
}

static int print(struct cli_text *text)
{
	int rc = cli_process_print(text) == 0 ? CLI_EXIT_OK : CLI_EXIT_FAILED;

	cli_text_free(text);
	return rc;
}

/* ---- list and show ------------------------------------------------------------------------- */

static void put_json(struct cli_text *to, const struct catchup_dead_letters *letters)
{
	struct cli_json json = {.to = to, .indent = true};

	cli_json_array(&json, NULL);
	for (size_t i = 0; i < letters->n; i++) {
		const struct catchup_dead_letter *letter = &letters->letters[i];

		cli_json_object(&json, NULL);
		cli_json_text(&json, "consumer", letter->consumer);
		cli_json_int64(&json, "id", letter->id);
		if (letter->key)
			cli_json_bytes(&json, "key", letter->key, letter->key_bytes);
		else
			cli_json_null(&json, "key");
		cli_json_small(&json, "code", letter->code);
		cli_json_text(&json, "message", letter->message);
		cli_json_int64(&json, "attempts", letter->attempts);
		cli_json_int64(&json, "first_ms", letter->first_ms);
		cli_json_int64(&json, "last_ms", letter->last_ms);
		if (letter->event)
			cli_json_bytes(&json, "event", letter->event, letter->event_bytes);
		cli_json_bool(&json, "in_hand", letter->in_hand != 0);
		cli_json_end_object(&json);
	}
	cli_json_end_array(&json);
	cli_text_puts(to, "\n");
}

/* Columns of the widest name and of the longest id, or of their titles. */
static void measure(const struct catchup_dead_letters *letters, size_t *name, int *id)
{
	*name = strlen("CONSUMER");
	*id = (int)strlen("ROW");
	for (size_t i = 0; i < letters->n; i++) {
		struct cli_text text = {0};
		size_t width = cli_text_show(&text, letters->letters[i].consumer,
			strlen(letters->letters[i].consumer), COLUMN_NAME);
		int digits = snprintf(NULL, 0, "%" PRId64, letters->letters[i].id);

		*name = width > *name ? width : *name;
		*id = digits > *id ? digits : *id;
		cli_text_free(&text);
	}
}

static void put_list(struct cli_text *to, const struct catchup_dead_letters *letters)
{
	size_t name;
	int id;

	if (letters->n == 0) {
		cli_text_puts(to, "no dead letters\n");
		return;
	}
	measure(letters, &name, &id);
	cli_text_printf(to, "%-*s  %*s  ATTEMPTS  %-24s  MESSAGE\n", (int)name, "CONSUMER", id, "ROW", "LAST");
	for (size_t i = 0; i < letters->n; i++) {
		const struct catchup_dead_letter *letter = &letters->letters[i];

		cli_text_repeat(to, ' ', name - cli_text_show(to, letter->consumer,
						 strlen(letter->consumer), COLUMN_NAME));
		cli_text_printf(to, "  %*" PRId64 "  %8" PRId64 "  ", id, letter->id, letter->attempts);
		cli_text_time(to, letter->last_ms);
		cli_text_puts(to, "  ");
		cli_text_show(to, letter->message, strlen(letter->message), COLUMN_MESSAGE);
		cli_text_puts(to, "\n");
	}
}

static void put_whole(struct cli_text *to, const struct catchup_dead_letters *letters)
{
	if (letters->n == 0)
		cli_text_puts(to, "no dead letters\n");
	for (size_t i = 0; i < letters->n; i++) {
		const struct catchup_dead_letter *letter = &letters->letters[i];

		cli_text_puts(to, "consumer  ");
		cli_text_show(to, letter->consumer, strlen(letter->consumer), SIZE_MAX);
		cli_text_printf(to, "\nrow       %" PRId64 "\n", letter->id);
		if (letter->key) {
			cli_text_puts(to, "key       ");
			cli_text_show(to, letter->key, letter->key_bytes, SIZE_MAX);
			cli_text_puts(to, "\n");
		}
		if (letter->event) {
			cli_text_puts(to, "event     ");
			cli_text_show(to, letter->event, letter->event_bytes, SIZE_MAX);
			cli_text_puts(to, "\n");
		}
		cli_text_puts(to, "message   ");
		cli_text_show(to, letter->message, strlen(letter->message), SIZE_MAX);
		/* Of SQLite; a failure of another kind has none. */
		if (letter->code != 0)
			cli_text_printf(to, "\ncode      %d", letter->code);
		cli_text_printf(to, "\nattempts  %" PRId64 "\nfirst     ", letter->attempts);
		cli_text_time(to, letter->first_ms);
		cli_text_puts(to, "\nlast      ");
		cli_text_time(to, letter->last_ms);
		if (letter->in_hand)
			cli_text_puts(to, "\nin hand   whoever tries it again has not come back, and may have"
				" died of it");
		cli_text_puts(to, i + 1 < letters->n ? "\n\n" : "\n");
	}
}

static int read_and_print(const struct cli_args *args,
	void (*put)(struct cli_text *, const struct catchup_dead_letters *), int64_t *n)
{
	struct catchup_dead_letters *letters;
	struct catchup_error error = {0};
	struct cli_text text = {0};
	int code = catchup_dead_read(args->words[0], consumer_of(args), id_of(args), &letters, &error);
	int rc = CLI_EXIT_OK;

	/* Those of the others are shown, too. */
	*n = letters ? (int64_t)letters->n : 0;
	if (code == CATCHUP_OK || *n > 0) {
		(args->values[OPT_JSON].given ? put_json : put)(&text, letters);
		rc = print(&text);
	}
	catchup_dead_free(letters);
	return code == CATCHUP_OK ? rc : fail(args, &error);
}

static int list(const struct cli_args *args)
{
	int64_t n;

	return read_and_print(args, put_list, &n);
}

static int show(const struct cli_args *args)
{
	int64_t n;
	int rc = read_and_print(args, put_whole, &n);

	return end(args, rc, n);
}

/* ---- retry and drop ------------------------------------------------------------------------ */

/* Nothing is done to all letters because an option was forgotten. */
static int check_which(const struct cli_args *args)
{
	if (args->values[OPT_ID].given != args->values[OPT_ALL].given)
		return CLI_EXIT_OK;
	return cli_usage(args->command, args->values[OPT_ID].given
		? "options '--id' and '--all' exclude each other"
		: "say which letters: '--id N' or '--all'");
}

/* The first of those that were passed over, as it would be tried. */
static void put_held(struct cli_text *to, const struct cli_args *args, int64_t held)
{
	struct catchup_dead_letters *letters = NULL;
	const struct catchup_dead_letter *first = NULL;

	catchup_dead_read(args->words[0], consumer_of(args), 0, &letters, NULL);
	for (size_t i = 0; letters && !first && i < letters->n; i++)
		if (letters->letters[i].in_hand)
			first = &letters->letters[i];
	cli_text_printf(to, "%" PRId64 " not tried: whoever tried %s last has not come back, and may have died"
		" of it", held, held == 1 ? "it" : "them");
	if (first) {
		cli_text_printf(to, "; to try %s: --consumer ", held == 1 ? "it" : "the first");
		cli_text_show(to, first->consumer, strlen(first->consumer), SIZE_MAX);
		cli_text_printf(to, " --id %" PRId64, first->id);
	}
	cli_text_puts(to, "\n");
	catchup_dead_free(letters);
}

/* Of letters that were there. */
static int64_t all_of(const struct catchup_dead_result *r)
{
	return r->tried + r->behind + r->unkept + r->held;
}

/* What did not happen is not told. */
static void put_result(
	struct cli_text *to, const struct cli_args *args, const struct catchup_dead_result *r)
{
	cli_text_printf(to, "%" PRId64 " tried: %" PRId64 " processed, %" PRId64 " failed again", r->tried,
		r->done, r->failed);
	if (r->gone > 0)
		cli_text_printf(to, ", %" PRId64 " no longer in the source", r->gone);
	cli_text_puts(to, "\n");
	if (r->behind > 0)
		cli_text_printf(to, "%" PRId64 " not tried: an earlier one with the same key is still there\n",
			r->behind);
	if (r->unkept > 0)
		cli_text_printf(to, "%" PRId64 " cannot be tried: their events were too long to be kept, or were "
			"parked by an older version\n", r->unkept);
	if (r->held > 0)
		put_held(to, args, r->held);
	if (r->failed > 0)
		cli_text_puts(to, "why they failed: catchup dead show\n");
}

static int retry(const struct cli_args *args)
{
	const struct catchup_options options = {
		.size = sizeof(options),
		.database = args->words[0],
		.builtins = catchup_builtin_consumers,
	};
	struct catchup_dead_result result;
	struct catchup_error error = {0};
	struct cli_text text = {0};
	struct cli_json json = {.to = &text, .indent = true};
	int rc = check_which(args), code;

	if (rc != CLI_EXIT_OK)
		return rc;
	code = catchup_dead_retry(&options, consumer_of(args), id_of(args), &result, &error);
	/* What was done with others' letters is told, too. */
	if (code != CATCHUP_OK && all_of(&result) == 0)
		return fail(args, &error);
	if (args->values[OPT_JSON].given) {
		cli_json_object(&json, NULL);
		cli_json_int64(&json, "tried", result.tried);
		cli_json_int64(&json, "done", result.done);
		cli_json_int64(&json, "failed", result.failed);
		cli_json_int64(&json, "gone", result.gone);
		cli_json_int64(&json, "behind", result.behind);
		cli_json_int64(&json, "unkept", result.unkept);
		cli_json_int64(&json, "held", result.held);
		cli_json_end_object(&json);
		cli_text_puts(&text, "\n");
	} else {
		put_result(&text, args, &result);
	}
	rc = print(&text);
	if (code != CATCHUP_OK)
		return fail(args, &error);
	/* Who asked for all of them to be processed must not take what is left for done. */
	return rc == CLI_EXIT_OK && result.failed + result.behind + result.unkept + result.held > 0
		       ? catchup_code_exit(CATCHUP_CONSUMER)
		       : end(args, rc, all_of(&result));
}

static int drop(const struct cli_args *args)
{
	struct catchup_error error = {0};
	struct cli_text text = {0};
	struct cli_json json = {.to = &text, .indent = true};
	int64_t dropped;
	int rc = check_which(args), code;

	if (rc != CLI_EXIT_OK)
		return rc;
	code = catchup_dead_drop(args->words[0], consumer_of(args), id_of(args), &dropped, &error);
	if (code != CATCHUP_OK && dropped == 0)
		return fail(args, &error);
	if (args->values[OPT_JSON].given) {
		cli_json_object(&json, NULL);
		cli_json_int64(&json, "dropped", dropped);
		cli_json_end_object(&json);
		cli_text_puts(&text, "\n");
	} else {
		cli_text_printf(&text, "%" PRId64 " dropped\n", dropped);
	}
	rc = print(&text);
	return code == CATCHUP_OK ? end(args, rc, dropped) : fail(args, &error);
}

/* ---- tables --------------------------------------------------------------------------------- */

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that the consumers follow"},
	{0},
};

static const struct cli_word read_words[] = {
	{.name = "DATABASE", .help = "the database that the consumers follow; " CLI_READ_ONLY},
	{0},
};

static const struct cli_option options[] = {
	[OPT_CONSUMER] = {"--consumer", CLI_TEXT, "NAME", .help = "only this consumer's"},
	[OPT_ID] = {"--id", CLI_INT, "N", 1, INT64_MAX, .help = "only this row"},
	[OPT_ALL] = {"--all", CLI_FLAG, .help = "all of them"},
	[OPT_JSON] = {"--json", CLI_FLAG, .help = "print one JSON document; 64-bit integers are strings"},
	{0},
};

const struct cli_command cli_command_dead_list = {
	.name = "dead list",
	.summary = "list rows that consumers could not process",
	.words = read_words,
	.options = options,
	.examples = "  catchup dead list app.db\n  catchup dead list app.db --consumer totals --json\n",
	.run = list,
};

const struct cli_command cli_command_dead_show = {
	.name = "dead show",
	.summary = "show such rows with everything that is known",
	.words = read_words,
	.options = options,
	.notes = "Exit code 1 when --id names a row that has no dead letter.\n",
	.examples = "  catchup dead show app.db --consumer totals --id 1200\n",
	.run = show,
};

const struct cli_command cli_command_dead_retry = {
	.name = "dead retry",
	.summary = "run such rows through their consumer again",
	.words = words,
	.options = options,
	.notes = "Each row has a transaction of its own: its effects commit together with the end of its\n"
		 "dead letter. It may be done while the consumer runs. Exit code 4 when a row failed again, or\n"
		 "was not tried: behind an earlier one with the same key, an event that was not kept, or one\n"
		 "that ended the process which tried it last. That one is tried when --id names it. Exit code 1\n"
		 "when --id names a row that has no dead letter.\n",
	.examples = "  catchup dead retry app.db --consumer totals --id 1200\n"
		    "  catchup dead retry app.db --all\n",
	.run = retry,
};

const struct cli_command cli_command_dead_drop = {
	.name = "dead drop",
	.summary = "forget such rows; they stay unprocessed",
	.words = words,
	.options = options,
	.notes = "Exit code 1 when --id names a row that has no dead letter.\n",
	.examples = "  catchup dead drop app.db --consumer totals --id 1200\n",
	.run = drop,
};
