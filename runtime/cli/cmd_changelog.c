/* SPDX-License-Identifier: MIT */
/*
 * catchup changelog follow: prints the events of a changelog, and where some may have been missed.
 *
 * The main thread reads and prints; the thread that watches for signals cancels it, and ends the
 * process when the reader of standard output is gone.
 */
#include "cli/cli.h"
#include "cli/json_out.h"
#include "cli/process.h"
#include "cli/signals.h"
#include "cli/term.h"

#include <catchup/changelog.h>
#include <string.h>
#include <unistd.h>

/* What is printed at once when events come faster than they can be written. */
#define PRINT_BYTES 65536

enum { OPT_FAMILY, OPT_TABLE, OPT_AFTER_SEQ, OPT_COUNT, OPT_RING_SLOTS, OPT_ON_FULL };

enum { ON_FULL_WAIT, ON_FULL_FLAG };
static const char *const on_full[] = {"wait", "flag", NULL};

/* ---- what is printed ----------------------------------------------------------------------- */

static int add_piece(void *context, const char *piece, size_t bytes)
{
	cli_text_add(context, piece, bytes);
	return 0;
}

static void add_out_of_sync(struct cli_text *text, const struct catchup_out_of_sync *sync)
{
	struct cli_json json = {.to = text};

	cli_json_object(&json, NULL);
	cli_json_bool(&json, "out_of_sync", true);
	cli_json_text(&json, "reason", catchup_sync_reason_name(sync->reason));
	cli_json_int64_or_null(&json, "expected", sync->expected);
	cli_json_int64_or_null(&json, "seq", sync->got);
	cli_json_end_object(&json);
}

static void add_bad_line(struct cli_text *text, const struct catchup_error *error)
{
	struct cli_json json = {.to = text};

	cli_json_object(&json, NULL);
	cli_json_bool(&json, "bad_line", true);
	cli_json_text(&json, "message", error->message);
	cli_json_end_object(&json);
}

struct follow {
	struct catchup_iterator *iterator;
	struct cli_term *term; /* borrowed */
	struct cli_text text;  /* not yet printed */
	int64_t left;          /* events to print; -1: no end */
	int exit_code;
};

/* Takes one result. Returns false when it is over. */
static bool take(struct follow *f, int result, const struct catchup_next *next)
{
	switch (result) {
	case CATCHUP_NEXT_EVENT:
		catchup_event_write(next->event, add_piece, &f->text);
		if (f->left > 0)
			f->left--;
		break;
	case CATCHUP_NEXT_OUT_OF_SYNC:
		add_out_of_sync(&f->text, &next->sync);
		break;
	case CATCHUP_NEXT_BAD_LINE:
		add_bad_line(&f->text, &next->error);
		break;
	case CATCHUP_NEXT_ERROR:
		cli_term_log(f->term, CATCHUP_LOG_WARN, "", next->error.message);
		/* Told each time anew, so trying again would never end. */
		if (next->error.code != CATCHUP_NOMEM && next->error.code != CATCHUP_FORKED)
			return true;
		f->exit_code = catchup_code_exit(next->error.code);
		return false;
	case CATCHUP_NEXT_TIMEOUT:
		return true;
	default:
		return false;
	}
	cli_text_puts(&f->text, "\n");
	return f->left != 0;
}

static void follow_events(struct follow *f)
{
	bool more = f->left != 0;

	while (more) {
		const struct catchup_next *next;
		int result = catchup_iterator_next(f->iterator, 0, &next);

		/* What is there is printed before the wait for more. */
		if (result == CATCHUP_NEXT_TIMEOUT || f->text.used >= PRINT_BYTES ||
			f->text.failed) {
			f->exit_code = cli_process_print(&f->text);
			if (f->exit_code != CLI_EXIT_OK)
				return;
		}
		if (result == CATCHUP_NEXT_TIMEOUT)
			result = catchup_iterator_next(f->iterator, -1, &next);
		more = take(f, result, next);
	}
	if (cli_process_print(&f->text) != CLI_EXIT_OK)
		f->exit_code = CLI_EXIT_FAILED;
}

static void cancel(void *context, int number)
{
	(void)number;
	catchup_iterator_cancel(context);
}

/* slots: 0 when none were given. */
static void tell_rounded(struct cli_term *term, uint32_t slots)
{
	uint32_t rounded = 2;

	while (rounded < slots)
		rounded *= 2;
	if (slots && rounded != slots)
		cli_term_logf(term, CATCHUP_LOG_INFO,
			"option '--ring-slots': %u is rounded up to %u, a power of two", slots, rounded);
}

static int follow(const struct cli_args *args)
{
	const struct cli_value *values = args->values;
	struct catchup_iterator_options options = {
		.size = sizeof(options),
		.path = args->words[0],
		.family = values[OPT_FAMILY].text,
		.table = values[OPT_TABLE].text,
		.ring_slots = (uint32_t)values[OPT_RING_SLOTS].integer,
		.on_full = values[OPT_ON_FULL].integer == ON_FULL_FLAG ? CATCHUP_ON_FULL_FLAG
								       : CATCHUP_ON_FULL_WAIT,
	};
	struct follow f = {.left = values[OPT_COUNT].given ? values[OPT_COUNT].integer : -1};
	struct catchup_error error = {0};
	struct cli_signals signals = {.first = cancel, .watch_output = true};
	struct cli_term term;
	int rc;

	if (values[OPT_AFTER_SEQ].given) {
		options.start = CATCHUP_START_AFTER;
		options.after_sequence = values[OPT_AFTER_SEQ].integer;
	}
	cli_term_init(&term, STDERR_FILENO, false, CATCHUP_LOG_INFO);
	f.term = &term;
	tell_rounded(&term, options.ring_slots);
	if (catchup_iterator_open(&options, &f.iterator, &error) != CATCHUP_OK) {
		f.exit_code = cli_fail(&error);
		goto out;
	}
	signals.context = f.iterator;
	rc = cli_signals_start(&signals);
	if (rc != 0) {
		cli_term_logf(&term, CATCHUP_LOG_ERROR, "signals cannot be watched: %s",
			strerror(rc));
		f.exit_code = catchup_code_exit(CATCHUP_THREAD);
		goto out;
	}
	follow_events(&f);
	cli_signals_finish(&signals);
out:
	catchup_iterator_close(f.iterator);
	cli_text_free(&f.text);
	cli_term_finish(&term);
	return f.exit_code;
}

/* ---- the command --------------------------------------------------------------------------- */

static const struct cli_word words[] = {
	{.name = "PATH", .help = "the changelog; one that is not there is waited for for a second"},
	{0},
};

static const struct cli_option options[] = {
	[OPT_FAMILY] = {"--family", CLI_TEXT, "F",
		.help = "only events of this family, without regard to ASCII case"},
	[OPT_TABLE] = {"--table", CLI_TEXT, "T",
		.help = "only events of this table, without regard to ASCII case"},
	[OPT_AFTER_SEQ] = {"--after-seq", CLI_INT, "N", 0, INT64_MAX,
		.help = "begin after this sequence; it is a gap when the file does not reach back"},
	[OPT_COUNT] = {"--count", CLI_INT, "N", 0, INT64_MAX, .help = "end after so many events"},
	[OPT_RING_SLOTS] = {"--ring-slots", CLI_INT, "N", 2, CATCHUP_RING_SLOTS_MAX,
		.fallback = "16,384",
		.help = "events that may wait to be printed, rounded up to a power of two"},
	[OPT_ON_FULL] = {"--on-full", CLI_CHOICE, .choices = on_full, .fallback = "wait",
		.help = "when they are printed too slowly: wait loses nothing, flag drops events and "
			"says so"},
	{0},
};

const struct cli_command cli_command_changelog_follow = {
	.name = "changelog follow",
	.summary = "print the events of a changelog as they come",
	.words = words,
	.options = options,
	.notes = "Prints one JSON object a line: an event as it stands in the file;\n"
		 "{\"out_of_sync\":true,\"reason\":\"gap\"|\"overflow\"|\"lost-file\",\"expected\":\"N\","
		 "\"seq\":\"M\"}\n"
		 "where events may have been missed (null: not known); {\"bad_line\":true,\"message\":\"...\"}\n"
		 "for a line that is no event. Flags and bad lines are not counted by --count.\n"
		 "Follows rotation. Ends with exit code 0 after --count events, or by SIGINT, SIGTERM or\n"
		 "SIGHUP, also when it has told of a gap: that is its output, and it has gone on.\n",
	.examples = "  catchup changelog follow /var/lib/app/changelog --table users | jq .key\n"
		    "  catchup changelog follow ctl.log --after-seq 1200 --count 10\n"
		    "  catchup changelog follow ctl.log | grep -m 1 '^{\"out_of_sync\"' && ./rebuild-cache\n",
	.run = follow,
};
