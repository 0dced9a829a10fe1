/* SPDX-License-Identifier: MIT */
/*
 * catchup verify: whether every row was processed once, as far as the databases can tell.
 */
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/process.h"
#include "cli/temporary.h"

#include <inttypes.h>
#include <string.h>

enum { OPT_RECOMPUTE, OPT_JSON };

/* ---- text --------------------------------------------------------------------------------------- */

static void put_shown(struct cli_text *to, const char *text)
{
	cli_text_show(to, text, strlen(text), SIZE_MAX);
}

static void put_evidence(struct cli_text *to, const struct catchup_verdict *v)
{
	cli_text_printf(to, "  watermark %" PRId64, v->watermark);
	if (v->newest >= 0)
		cli_text_printf(to, ", newest id %" PRId64, v->newest);
	if (v->highest > v->newest)
		cli_text_printf(to, ", highest ever %" PRId64, v->highest);
	cli_text_puts(to, v->guarded ? ", source guarded\n" : "\n");
	cli_text_printf(to, "  offered %" PRId64 " = applied %" PRId64 " + passed over %" PRId64
		" + parked %" PRId64 "; dead letters %" PRId64 "\n",
		v->offered, v->applied, v->passed, v->parked, v->dead);
	if (v->rows >= 0)
		cli_text_printf(to, "  rows of the source in (%" PRId64 ", %" PRId64 "]: %" PRId64
			", offered %" PRId64 "\n", v->counted_from, v->watermark, v->rows, v->counted);
	if (v->recomputed_tables > 0)
		cli_text_printf(to, "  recomputed: the same %" PRId64 " row%s in %" PRId64 " table%s\n",
			v->recomputed_rows, v->recomputed_rows == 1 ? "" : "s", v->recomputed_tables,
			v->recomputed_tables == 1 ? "" : "s");
	for (size_t i = 0; i < v->n_notes; i++) {
		cli_text_puts(to, "  note: ");
		put_shown(to, v->notes[i]);
		cli_text_puts(to, "\n");
	}
}

static void put_verdict(struct cli_text *to, const struct catchup_verdict *v)
{
	cli_text_puts(to, "consumer ");
	cli_text_quote(to, v->consumer);
	if (*v->into) {
		cli_text_puts(to, " in ");
		put_shown(to, v->into);
	}
	cli_text_puts(to, v->ok ? ": ok\n" : ": WRONG\n");
	for (size_t i = 0; i < v->n_wrong; i++) {
		cli_text_puts(to, "  wrong: ");
		put_shown(to, v->wrong[i]);
		cli_text_puts(to, "\n");
	}
	put_evidence(to, v);
}

static void put_text(struct cli_text *to, const struct catchup_verification *all)
{
	size_t wrong = 0;

	for (size_t i = 0; i < all->n_files; i++) {
		wrong += all->files[i].wrong[0] != '\0';
		cli_text_puts(to, "database ");
		put_shown(to, all->files[i].path);
		cli_text_puts(to, all->files[i].wrong[0] ? ": WRONG: " : ": ok, integrity check passed\n");
		if (all->files[i].wrong[0]) {
			put_shown(to, all->files[i].wrong);
			cli_text_puts(to, "\n");
		}
	}
	for (size_t i = 0; i < all->n_verdicts; i++) {
		wrong += !all->verdicts[i].ok;
		put_verdict(to, &all->verdicts[i]);
	}
	if (all->ok)
		cli_text_printf(to, "ok: %zu consumer%s\n", all->n_verdicts,
			all->n_verdicts == 1 ? "" : "s");
	else
		cli_text_printf(to, "WRONG: %zu of %zu database files and consumers\n", wrong,
			all->n_verdicts + all->n_files);
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static void put_lines(struct cli_json *json, const char *key, const char *const *lines, size_t n)
{
	cli_json_array(json, key);
	for (size_t i = 0; i < n; i++)
		cli_json_text(json, NULL, lines[i]);
	cli_json_end_array(json);
}

static void json_verdict(struct cli_json *json, const struct catchup_verdict *v)
{
	cli_json_object(json, NULL);
	cli_json_text(json, "name", v->consumer);
	cli_json_text_or_null(json, "source", v->source);
	cli_json_text_or_null(json, "into", v->into);
	cli_json_bool(json, "ok", v->ok != 0);
	put_lines(json, "wrong", v->wrong, v->n_wrong);
	put_lines(json, "notes", v->notes, v->n_notes);
	cli_json_int64(json, "watermark", v->watermark);
	cli_json_int64_or_null(json, "newest", v->newest);
	cli_json_int64_or_null(json, "highest", v->highest);
	cli_json_int64(json, "offered", v->offered);
	cli_json_int64(json, "applied", v->applied);
	cli_json_int64(json, "passed", v->passed);
	cli_json_int64(json, "parked", v->parked);
	cli_json_int64(json, "dead", v->dead);
	cli_json_int64_or_null(json, "counted_from", v->counted_from);
	cli_json_int64_or_null(json, "counted", v->counted);
	cli_json_int64_or_null(json, "rows", v->rows);
	cli_json_bool(json, "guarded", v->guarded != 0);
	cli_json_int64_or_null(json, "recomputed_rows", v->recomputed_rows);
	cli_json_int64_or_null(json, "recomputed_tables", v->recomputed_tables);
	cli_json_end_object(json);
}

static void put_json(struct cli_text *to, const struct catchup_verification *all)
{
	struct cli_json json = {.to = to, .indent = true};

	cli_json_object(&json, NULL);
	cli_json_text(&json, "database", all->database);
	cli_json_bool(&json, "ok", all->ok != 0);
	cli_json_array(&json, "files");
	for (size_t i = 0; i < all->n_files; i++) {
		cli_json_object(&json, NULL);
		cli_json_text(&json, "path", all->files[i].path);
		cli_json_bool(&json, "ok", all->files[i].wrong[0] == '\0');
		cli_json_text_or_null(&json, "wrong", all->files[i].wrong);
		cli_json_end_object(&json);
	}
	cli_json_end_array(&json);
	cli_json_array(&json, "consumers");
	for (size_t i = 0; i < all->n_verdicts; i++)
		json_verdict(&json, &all->verdicts[i]);
	cli_json_end_array(&json);
	cli_json_end_object(&json);
	cli_text_puts(to, "\n");
}

/* ---- the command ----------------------------------------------------------------------------------- */

static int verify(const struct cli_args *args)
{
	const struct catchup_options options = {
		.size = sizeof(options),
		.database = args->words[0],
		.builtins = catchup_builtin_consumers,
	};
	unsigned flags = args->values[OPT_RECOMPUTE].given ? CATCHUP_VERIFY_RECOMPUTE : 0;
	struct catchup_verification *all;
	struct catchup_error error = {0};
	struct cli_text text = {0};
	struct cli_temporary temporary;
	int code;

	if (flags)
		cli_temporary_start(&temporary);
	code = catchup_verify(&options, args->words + 1, args->n_words - 1, flags, &all, &error);
	if (flags)
		cli_temporary_finish(&temporary);
	if (code != CATCHUP_OK)
		return cli_fail_about(&error, args->words[0], args->words + 1, args->n_words - 1);
	(args->values[OPT_JSON].given ? put_json : put_text)(&text, all);
	code = cli_process_print(&text);
	cli_text_free(&text);
	if (code == CLI_EXIT_OK && !all->ok)
		code = CLI_EXIT_FAILED;
	catchup_verification_free(all);
	return code;
}

static const struct cli_word words[] = {
	{.name = "DATABASE", .help = "the database that consumers follow; " CLI_READ_ONLY},
	{.name = "CONSUMER", .optional = true, .many = true,
		.help = "a consumer's name, or what 'run' takes; without, all that the database knows"},
	{0},
};

static const struct cli_option options[] = {
	[OPT_RECOMPUTE] = {"--recompute", CLI_FLAG,
		.help = "run each consumer from zero on a copy in $TMPDIR and compare its results"},
	[OPT_JSON] = {"--json", CLI_FLAG,
		.help = "one JSON document; 64-bit integers in it are strings"},
	{0},
};

const struct cli_command cli_command_verify = {
	.name = "verify",
	.summary = "look for evidence that a row was lost or processed twice",
	.words = words,
	.options = options,
	.notes =
		"Exit code 0 when nothing is wrong, 1 when something is, with the evidence. It may be done\n"
		"while consumers run. --recompute needs room for copies of the databases, and runs the\n"
		"consumers' code again: what it does outside the database happens again. Results that\n"
		"depend on time, on chance, or on rows that were deleted since, differ. Ids of results that\n"
		"SQLite counts up (AUTOINCREMENT) are higher after a reset that deletes the rows: where all\n"
		"else is the same that is a note, but other tables that hold such ids differ.\n",
	.examples = "  catchup verify app.db\n"
		    "  catchup verify app.db totals --recompute\n"
		    "  catchup verify app.db --json | jq .ok\n",
	.run = verify,
};
