/* SPDX-License-Identifier: MIT */
/*
 * catchup run: follow the source tables of a database with consumers.
 */
#include "cli/cli.h"
#include "cli/process.h"
#include "cli/session.h"
#include "cli/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	OPT_UNTIL_CAUGHT_UP,
	OPT_WORKERS,
	OPT_ON_ERROR,
	OPT_BATCH_ROWS,
	OPT_BATCH_MS,
	OPT_RING_SLOTS,
	OPT_THREADS,
	OPT_SYNCHRONOUS,
	OPT_POLL_MS,
	OPT_BUSY_MS,
	OPT_LEASE_MS,
	OPT_NO_LEASE,
	OPT_STOP_MS,
	OPT_WAL_MIB,
	OPT_CHANGELOG,
	OPT_FORCE,
	OPT_PROGRESS,
	OPT_LOG_FORMAT,
	OPT_LOG_LEVEL,
};

/* In the order of enum catchup_synchronous, less the default. */
static const char *const synchronous[] = {"off", "normal", "full", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
enum { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER };
static const char *const progress[] = {"auto", "always", "never", NULL};

struct run {
	const struct cli_args *args; /* borrowed */
	struct cli_term term;
	struct catchup_options options;
	bool *used;   /* owned; by args->named: a consumer of that name was found */
	char **names; /* owned; of the consumers, by word, where options go by name */
};

/* ---- consumers ---------------------------------------------------------------------------- */

/* What NAME=VALUE options say about the consumer of that name, over what was said for all. */
static void apply_named(struct run *run, const char *name, struct catchup_consumer_config *config)
{
	for (size_t i = 0; i < run->args->n_named; i++) {
		const struct cli_named *named = &run->args->named[i];

		if (strcmp(named->name, name) != 0)
			continue;
		run->used[i] = true;
		if (named->option == OPT_WORKERS)
			config->workers = (uint32_t)named->integer;
		else
			config->on_error = named->text;
	}
}

static int nomem(struct catchup_error *error)
{
	*error = (struct catchup_error){CATCHUP_NOMEM, 0, "out of memory"};
	return CATCHUP_NOMEM;
}

/* Adds the consumer that stands at a word. */
static int add_one(struct run *run, struct catchup *c, size_t word, struct catchup_error *error)
{
	const char *consumer = run->args->words[word];
	const struct cli_value *values = run->args->values;
	struct catchup_consumer_config config = {
		.size = sizeof(config),
		.workers = (uint32_t)values[OPT_WORKERS].integer,
		.on_error = values[OPT_ON_ERROR].text,
	};
	struct catchup_description *description;
	int code;

	/* The name may stand in the consumer's file, so options by name need a look at it first. Its own
	 * error policy may be what one of them is about to replace. */
	if (run->args->n_named > 0) {
		const struct catchup_consumer_config look = {.size = sizeof(look), .on_error = "stop"};

		code = catchup_describe(consumer, &look, run->options.builtins, &description, error);
		if (code != CATCHUP_OK)
			return code;
		run->names[word] = strdup(description->name);
		catchup_description_free(description);
		if (!run->names[word])
			return nomem(error);
		apply_named(run, run->names[word], &config);
	}
	return catchup_add(c, consumer, &config, error);
}

/* A NAME=VALUE that is about none of the consumers is a mistake, most likely a typing error. */
static int check_names(const struct run *run, struct catchup_error *error)
{
	const struct cli_named *named;
	struct cli_suggest suggest = {0};
	struct cli_text text = {0};
	size_t unused = 0;

	while (unused < run->args->n_named && run->used[unused])
		unused++;
	if (unused == run->args->n_named)
		return CATCHUP_OK;
	named = &run->args->named[unused];
	suggest.typed = named->name;
	for (size_t i = 1; i < run->args->n_words; i++)
		cli_suggest_offer(&suggest, run->names[i]);
	cli_text_printf(&text, "option '%s': no consumer is called ",
		run->args->command->options[named->option].name);
	cli_text_quote(&text, named->name);
	if (suggest.nearest) {
		cli_text_puts(&text, "; did you mean ");
		cli_text_quote(&text, suggest.nearest);
		cli_text_puts(&text, "?");
	}
	*error = (struct catchup_error){.code = CATCHUP_USAGE};
	snprintf(error->message, sizeof(error->message), "%s", cli_text_string(&text));
	cli_text_free(&text);
	return CATCHUP_USAGE;
}

static int open_runtime(void *context, struct catchup **out, struct catchup_error *error)
{
	struct run *run = context;
	int code = catchup_open(&run->options, out, error);

	for (size_t i = 1; code == CATCHUP_OK && i < run->args->n_words; i++)
		code = add_one(run, *out, i, error);
	if (code == CATCHUP_OK)
		code = check_names(run, error);
	return code;
}

/* ---- options ------------------------------------------------------------------------------ */

static void fill_options(struct run *run)
{
	const struct cli_value *values = run->args->values;

	run->options = (struct catchup_options){
		.size = sizeof(run->options),
		.database = run->args->words[0],
		.batch_rows = (uint32_t)values[OPT_BATCH_ROWS].integer,
		.batch_ms = (uint32_t)values[OPT_BATCH_MS].integer,
		.ring_slots = (uint32_t)values[OPT_RING_SLOTS].integer,
		.threads = (uint32_t)values[OPT_THREADS].integer,
		.poll_ms = (uint32_t)values[OPT_POLL_MS].integer,
		.busy_ms = (uint32_t)values[OPT_BUSY_MS].integer,
		.lease_ms = (uint32_t)values[OPT_LEASE_MS].integer,
		.wal_mib = (uint32_t)values[OPT_WAL_MIB].integer,
		.stop_deadline_ms = (uint64_t)values[OPT_STOP_MS].integer,
		.changelog = values[OPT_CHANGELOG].text,
		.builtins = catchup_builtin_consumers,
		.log = cli_term_log,
		.log_context = &run->term,
		.log_level = run->term.level,
		.flags = CATCHUP_FLAG_ALONE,
	};
	if (values[OPT_SYNCHRONOUS].given)
		run->options.synchronous = (enum catchup_synchronous)(
			CATCHUP_SYNCHRONOUS_OFF + values[OPT_SYNCHRONOUS].integer);
	if (values[OPT_NO_LEASE].given)
		run->options.flags |= CATCHUP_FLAG_NO_LEASE;
	if (values[OPT_FORCE].given)
		run->options.flags |= CATCHUP_FLAG_NETWORK_FS;
}

static int run(const struct cli_args *args)
{
	const struct cli_value *values = args->values;
	int64_t show = values[OPT_PROGRESS].integer;
	struct run run = {.args = args};
	struct cli_session session = {
		.term = &run.term,
		.n_consumers = args->n_words - 1,
		.until_caught_up = values[OPT_UNTIL_CAUGHT_UP].given,
		.progress = show == PROGRESS_ALWAYS ||
			    (show == PROGRESS_AUTO && cli_term_can_redraw(STDERR_FILENO)),
		.open = open_runtime,
		.context = &run,
	};
	int exit_code;

	cli_term_init(&run.term, STDERR_FILENO, values[OPT_LOG_FORMAT].integer == 1,
		values[OPT_LOG_LEVEL].given ? (enum catchup_log_level)values[OPT_LOG_LEVEL].integer
					    : CATCHUP_LOG_INFO);
	run.used = calloc(args->n_named + 1, sizeof(*run.used));
	run.names = calloc(args->n_words, sizeof(*run.names));
	if (!run.used || !run.names) {
		cli_term_logf(&run.term, CATCHUP_LOG_ERROR, "out of memory");
		exit_code = CLI_EXIT_FAILED;
		goto out;
	}
	fill_options(&run);
	exit_code = cli_session_run(&session);
out:
	for (size_t i = 0; run.names && i < args->n_words; i++)
		free(run.names[i]);
	free(run.names);
	free(run.used);
	cli_term_finish(&run.term);
	return exit_code;
}

/* ---- the command -------------------------------------------------------------------------- */

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that holds the source tables"},
	{.name = "CONSUMER", .many = true,
		.help = "a .sql file, a .so module or a built-in name, with :key=value,..."},
	{0},
};

static const struct cli_option options[] = {
	[OPT_UNTIL_CAUGHT_UP] = {"--until-caught-up", CLI_FLAG,
		.help = "stop when all rows that were there have been processed"},
	[OPT_WORKERS] = {"--workers", CLI_NAMED_INT, "N|NAME=N", 1, CATCHUP_WORKERS_MAX,
		.fallback = "1",
		.help = "threads for each consumer, or for the one called NAME; more than one needs a "
			"consumer with 'map'"},
	[OPT_ON_ERROR] = {"--on-error", CLI_NAMED_TEXT, "NAME=POLICY",
		.help = "what a row that fails does: stop, park, park-key(COLUMN), "
			"retry(TIMES,BASE_MS,MAX_MS) and then stop or park; after the word careful each row "
			"is written down before it is processed; without NAME, for all"},
	[OPT_BATCH_ROWS] = {"--batch-rows", CLI_INT, "N", 1, CATCHUP_BATCH_ROWS_MAX,
		.fallback = "20,000", .help = "most rows of one transaction"},
	[OPT_BATCH_MS] = {"--batch-ms", CLI_INT, "N", 1, CATCHUP_BATCH_MS_MAX, .fallback = "20",
		.help = "longest time under the write lock, ms"},
	[OPT_RING_SLOTS] = {"--ring-slots", CLI_INT, "N", 2, CATCHUP_RING_SLOTS_MAX,
		.fallback = "256",
		.help = "slots between a reader and a consumer, rounded up to a power of two"},
	[OPT_THREADS] = {"--threads", CLI_INT, "N", 1, CATCHUP_THREADS_MAX,
		.fallback = "one for each consumer of a results file up to 8, 2 for more of them; 64 in all",
		.help = "most threads that hold consumers; each results file has its part of them"},
	[OPT_SYNCHRONOUS] = {"--synchronous", CLI_CHOICE, .choices = synchronous,
		.fallback = "normal",
		.help = "what a power cut may take back: full nothing, normal the newest commits "
			"(they are done again), off may damage the database"},
	[OPT_POLL_MS] = {"--poll-ms", CLI_INT, "N", 10, 3600000, .fallback = "1,000",
		.help = "look at the source at least this often, ms; commits are noticed without it"},
	[OPT_BUSY_MS] = {"--busy-ms", CLI_INT, "N", 1, 3600000, .fallback = "30,000",
		.help = "how long locks of other processes are waited for, ms"},
	[OPT_LEASE_MS] = {"--lease-ms", CLI_INT, "N", 1000, 3600000, .fallback = "10,000",
		.help = "life of a lease that is not renewed, ms"},
	[OPT_NO_LEASE] = {"--no-lease", CLI_FLAG,
		.help = "take no lease: two processes that run a consumer then waste work, but still "
			"apply no row twice"},
	[OPT_STOP_MS] = {"--stop-ms", CLI_INT, "N", 1, 3600000, .fallback = "5,000",
		.help = "how long a consumer may take to finish its row at the end before it is "
			"interrupted, ms"},
	[OPT_WAL_MIB] = {"--wal-mib", CLI_INT, "N", 1, 65536, .fallback = "64",
		.help = "bound on the write-ahead log, MiB"},
	[OPT_CHANGELOG] = {"--changelog", CLI_TEXT, "PATH",
		.help = "the changelog of consumers that follow one; one that is not there yet is waited for"},
	[OPT_FORCE] = {"--force", CLI_FLAG, .help = "allow a database on a network file system"},
	[OPT_PROGRESS] = {"--progress", CLI_CHOICE, .choices = progress, .fallback = "auto",
		.help = "the progress line; auto draws it on a terminal only"},
	[OPT_LOG_FORMAT] = {"--log-format", CLI_CHOICE, .choices = log_formats,
		.fallback = "text", .help = "form of the log lines on standard error"},
	[OPT_LOG_LEVEL] = {"--log-level", CLI_CHOICE, .choices = log_levels, .fallback = "info",
		.help = "lines above this level are not made"},
	{0},
};

_Static_assert(sizeof(options) / sizeof(options[0]) <= CLI_OPTIONS_MAX, "more options than room");

const struct cli_command cli_command_run = {
	.name = "run",
	.summary = "follow tables with consumers",
	.words = words,
	.options = options,
	.notes =
		"SIGINT, SIGTERM and SIGHUP finish the batch in hand, commit and exit 0; a second one ends\n"
		"at once and loses nothing. A consumer that stops on an error does not stop the others;\n"
		"the exit code tells of it at the end, of several the highest. What may pass (a full disk,\n"
		"a changelog that is not there, a disk that fails) is said and waited for without end, also\n"
		"with --until-caught-up.\n",
	.examples = "  catchup run app.db open_doors.sql\n"
		    "  catchup run app.db totals.sql ./enrich.so:url=x --workers enrich=4\n"
		    "  catchup run app.db totals.sql --until-caught-up --progress never\n"
		    "  catchup run app.db totals.sql --on-error 'totals=retry(5,100,5000) park'\n",
	.run = run,
};
