/* SPDX-License-Identifier: MIT */
/*
 * fuzz_command_line.c - any bytes as a command line: each line of the input is a word. Nothing is
 * run; what was accepted must be within what the tables say, and what was refused must be refused on
 * one printable line.
 */
#include "base/check.h"
#include "cli/cli.h"
#include "cli/json_out.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define MESSAGE_BYTES_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Valid UTF-8 on one line, without control characters; for_people: nor any that reorder the line. */
static void check_printable(const char *bytes, size_t n, bool for_people)
{
	while (n > 0) {
		uint32_t cp = 0;
		size_t take = cli_utf8_decode(bytes, n, &cp);

		CU_CHECK(take > 0);
		CU_CHECK(cp >= 0x20 && !(cp >= 0x7f && cp <= 0x9f));
		CU_CHECK(!for_people || !((cp >= 0x2028 && cp <= 0x202e) ||
						(cp >= 0x2066 && cp <= 0x2069)));
		bytes += take;
		n -= take;
	}
}

static void check_value(const struct cli_option *option, int64_t integer, const char *text)
{
	int64_t choices = 0;

	switch (option->kind) {
	case CLI_INT:
	case CLI_NAMED_INT:
		CU_CHECK(integer >= option->minimum && integer <= option->maximum);
		break;
	case CLI_SECONDS:
		CU_CHECK(integer >= option->minimum * 1000 && integer <= option->maximum * 1000);
		break;
	case CLI_CHOICE:
		while (option->choices[choices])
			choices++;
		CU_CHECK(integer >= 0 && integer < choices);
		break;
	case CLI_TEXT:
	case CLI_NAMED_TEXT:
		CU_CHECK(text && *text);
		break;
	case CLI_FLAG:
		break;
	}
}

static void check_args(const struct cli_args *args)
{
	const struct cli_command *command = args->command;
	size_t i = 0;

	for (; command->options && command->options[i].name; i++)
		if (args->values[i].given)
			check_value(&command->options[i], args->values[i].integer,
				args->values[i].text);
		else
			CU_CHECK(!command->options[i].required && args->values[i].integer == 0);
	for (size_t k = 0; k < args->n_named; k++) {
		CU_CHECK(args->named[k].option < i && *args->named[k].name);
		check_value(&command->options[args->named[k].option], args->named[k].integer,
			args->named[k].text);
	}
	for (i = 0; command->words && command->words[i].name; i++)
		if (!command->words[i].optional)
			CU_CHECK(args->n_words > i && *args->words[i]);
}

static void parse(int argc, char *const *argv)
{
	struct cli_text message = {0};
	struct cli_args args;
	int taken;
	const struct cli_command *command = cli_command_find(argc, argv, &taken);
	int rc = CLI_EXIT_USAGE;

	if (command) {
		rc = cli_args_parse(&args, command, argc - taken, argv + taken, &message);
		CU_CHECK(rc == CLI_EXIT_OK || rc == CLI_EXIT_USAGE);
		if (rc == CLI_EXIT_OK && !args.help)
			check_args(&args);
		cli_args_free(&args);
	} else {
		cli_command_unknown(&message, argc, argv);
	}
	CU_CHECK(!message.failed && (message.used > 0) == (rc == CLI_EXIT_USAGE));
	CU_CHECK(message.used < MESSAGE_BYTES_MAX);
	check_printable(cli_text_string(&message), message.used, true);
	cli_text_free(&message);
}

/* The same bytes as a name in a table and in a JSON document. */
static void show(const char *bytes, size_t n)
{
	struct cli_text text = {0};

	CU_CHECK(cli_text_show(&text, bytes, n, n % 50) <= n % 50);
	check_printable(cli_text_string(&text), text.used, true);
	cli_text_clear(&text);
	cli_json_quote(&text, bytes, n);
	check_printable(text.data, text.used, false);
	cli_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
	char *copy = malloc(bytes + 1);
	char *argv[WORDS_MAX + 1] = {0};
	char *rest = copy;
	int argc = 0;

	CU_CHECK(copy);
	memcpy(copy, data, bytes);
	copy[bytes] = '\0';
	show(copy, bytes);
	while (rest && argc < WORDS_MAX)
		argv[argc++] = strsep(&rest, "\n");
	parse(argc, argv);
	free(copy);
	return 0;
}
