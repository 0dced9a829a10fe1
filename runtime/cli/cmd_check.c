/* SPDX-License-Identifier: MIT */
/*
 * catchup check: what run would refuse, without running anything.
 *
 * Without a database the consumers are loaded and their options checked; each bad one is told. With
 * one, their SQL is prepared against it too, and nothing in it is changed.
 */
#include "cli/cli.h"
#include "cli/process.h"
#include "cli/temporary.h"
#include "cli/term.h"

#include <string.h>
#include <unistd.h>

enum { OPT_DATABASE, OPT_CHANGELOG, OPT_FORCE };

static void add_ok(struct cli_text *text, const struct catchup_description *d, bool prepared)
{
	cli_text_show(text, d->name, strlen(d->name), 80);
	cli_text_printf(text, ": ok, %s (%s consumer, ", prepared ? "prepared" : "loaded", d->way);
	cli_text_show(text, d->origin, strlen(d->origin), 200);
	if (*d->source) {
		cli_text_puts(text, ", follows ");
		cli_text_show(text, d->source, strlen(d->source), 80);
	}
	if (*d->into) {
		cli_text_puts(text, ", results in ");
		cli_text_show(text, d->into, strlen(d->into), 200);
	}
	cli_text_puts(text, ")\n");
}

/* Loads all of them; tells every mistake. Returns the exit code of the first. */
static int describe_all(const struct cli_args *args, struct cli_text *text, bool prepared)
{
	int exit_code = CLI_EXIT_OK;

	for (size_t i = 0; i < args->n_words; i++) {
		struct catchup_description *description;
		struct catchup_error error = {0};
		int failed;

		if (catchup_describe(args->words[i], NULL, catchup_builtin_consumers, &description,
			    &error) == CATCHUP_OK) {
			add_ok(text, description, prepared);
			catchup_description_free(description);
			continue;
		}
		failed = cli_fail(&error);
		if (exit_code == CLI_EXIT_OK)
			exit_code = failed;
	}
	return exit_code;
}

static int prepare_all(const struct cli_args *args)
{
	const struct cli_value *values = args->values;
	struct catchup_options options = {
		.size = sizeof(options),
		.database = values[OPT_DATABASE].text,
		.changelog = values[OPT_CHANGELOG].given ? values[OPT_CHANGELOG].text : NULL,
		.builtins = catchup_builtin_consumers,
		.flags = values[OPT_FORCE].given ? CATCHUP_FLAG_NETWORK_FS : 0,
		.log = cli_term_log,
		.log_level = CATCHUP_LOG_WARN,
	};
	struct catchup_error error = {0};
	struct cli_temporary temporary;
	struct cli_term term;
	struct catchup *c = NULL;
	int code;

	cli_term_init(&term, STDERR_FILENO, false, CATCHUP_LOG_WARN);
	options.log_context = &term;
	cli_temporary_start(&temporary);
	code = catchup_open(&options, &c, &error);
	for (size_t i = 0; code == CATCHUP_OK && i < args->n_words; i++)
		code = catchup_add(c, args->words[i], NULL, &error);
	if (code == CATCHUP_OK)
		code = catchup_check(c, &error);
	catchup_close(c);
	cli_temporary_finish(&temporary);
	cli_term_finish(&term);
	return code == CATCHUP_OK ? CLI_EXIT_OK : cli_fail(&error);
}

static int check(const struct cli_args *args)
{
	bool prepare = args->values[OPT_DATABASE].given;
	struct cli_text text = {0};
	int code = describe_all(args, &text, prepare);

	if (code == CLI_EXIT_OK && prepare)
		code = prepare_all(args);
	/* Loaded ones are shown beside the mistakes of others; prepared is what all are or none. */
	if (code == CLI_EXIT_OK)
		code = cli_process_print(&text);
	else if (!prepare)
		cli_process_print(&text);
	cli_text_free(&text);
	return code;
}

static const struct cli_word words[] = {
	{.name = "CONSUMER", .many = true,
		.help = "a .sql file, a .so module or a built-in name, with :key=value,..."},
	{0},
};

static const struct cli_option options[] = {
	[OPT_DATABASE] = {"--database", CLI_TEXT, "PATH",
		.help = "prepare all SQL against this database; nothing in it is changed"},
	[OPT_CHANGELOG] = {"--changelog", CLI_TEXT, "PATH",
		.help = "the changelog of consumers that follow one"},
	[OPT_FORCE] = {"--force", CLI_FLAG, .help = "allow a database on a network file system"},
	{0},
};

const struct cli_command cli_command_check = {
	.name = "check",
	.summary = "parse and prepare consumers, run nothing",
	.words = words,
	.options = options,
	.examples = "  catchup check consumers/*.sql\n"
		    "  catchup check open_doors.sql --database app.db\n",
	.run = check,
};
