/* SPDX-License-Identifier: MIT */
/*
 * args.h - commands and their options as tables, and the parser that works from them.
 *
 * One table says everything about an option: parsing, the range check, --help and the suggestions for
 * a mistyped one all come from it. To add a command, write cmd_<verb>.c with a `struct cli_command`
 * and put it into the list in commands.c.
 *
 * Numbers are what people write: digits, no sign but "-", no blanks, no 0x, no exponent. Everything
 * else is an error that names the option, the value in quotes and the range.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "cli/text.h"

#define CLI_OPTIONS_MAX 24
#define CLI_EXIT_OK 0
#define CLI_EXIT_FAILED 1
#define CLI_EXIT_USAGE 2

enum cli_kind {
	CLI_FLAG = 1,    /* no value */
	CLI_INT,         /* whole number, minimum to maximum */
	CLI_TEXT,        /* any text but the empty one */
	CLI_CHOICE,      /* one of `choices` */
	CLI_SECONDS,     /* 1.5 and the like; minimum and maximum are seconds; the value is in ms */
	CLI_NAMED_INT,   /* N for all, or NAME=N, any number of times */
	CLI_NAMED_TEXT,  /* TEXT for all, or NAME=TEXT, any number of times */
};

struct cli_option {
	const char *name;  /* with its dashes: "--workers" */
	enum cli_kind kind;
	const char *value; /* what --help calls the value: "N", "PATH"; NULL for flags */
	int64_t minimum, maximum;
	const char *const *choices; /* NULL-terminated */
	const char *fallback;       /* the default, for --help; NULL: none worth saying */
	const char *help;           /* one sentence, no full stop */
	bool required;
};

/* A word that is no option: DATABASE, CONSUMER... */
struct cli_word {
	const char *name;
	const char *help;
	bool optional;
	bool many; /* takes all words that are left; the last one only */
};

struct cli_args;

struct cli_command {
	const char *name;    /* one word, or two: "changelog follow" */
	const char *summary; /* one line */
	const struct cli_word *words;     /* ended by a NULL name; may be NULL */
	const struct cli_option *options; /* ended by a NULL name; may be NULL */
	const char *notes;    /* more for --help, lines of its own; may be NULL */
	const char *examples; /* lines, each begun with two blanks; may be NULL */
	int (*run)(const struct cli_args *args); /* returns the exit code */
};

struct cli_value {
	bool given;
	int64_t integer;  /* INT; SECONDS in ms; CHOICE: its index */
	const char *text; /* TEXT, CHOICE; borrowed from argv */
};

/* One NAME=VALUE. */
struct cli_named {
	size_t option; /* index */
	char *name;    /* owned */
	int64_t integer;
	const char *text; /* borrowed from argv */
};

struct cli_args {
	const struct cli_command *command;
	struct cli_value values[CLI_OPTIONS_MAX]; /* by index in command->options */
	struct cli_named *named; /* owned */
	size_t n_named;
	const char **words; /* owned array, borrowed words */
	size_t n_words;
	bool help; /* --help or -h stood among them: nothing else was looked at */
};

/*
 * Parses what stands behind the command's name. Returns CLI_EXIT_OK; or CLI_EXIT_USAGE, or
 * CLI_EXIT_FAILED without memory, with one line in `message`. Free args in any case.
 */
int cli_args_parse(struct cli_args *args, const struct cli_command *command, int argc,
	char *const *argv, struct cli_text *message);
void cli_args_free(struct cli_args *args);

/* A whole number as described above. Returns 0; -1 when it is none; 1 when it does not fit int64. */
int cli_args_number(const char *text, int64_t *out);

/* 1.5 as 1500, rounded up to a whole ms. Returns 0; -1 when it is no such number; 1 when it is too
 * big. */
int cli_args_seconds(const char *text, int64_t *ms);

#endif
