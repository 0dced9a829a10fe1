/* SPDX-License-Identifier: MIT */
/*
 * temporary.h - a command that copies databases leaves no copy behind when a signal ends it.
 *
 * The library makes its temporary files under $TMPDIR and removes them when it is done. Meanwhile that
 * is a folder of the command's own: SIGINT, SIGTERM and SIGHUP remove it with all that is in it, and end
 * the process at once by that signal.
 */
#ifndef CLI_TEMPORARY_H
#define CLI_TEMPORARY_H

#include "cli/signals.h"

struct cli_temporary {
	/* temporary.c's own */
	char folder[256]; /* "": none could be made, so the library will say why */
	char *before;     /* what TMPDIR was; owned; NULL: not set */
	bool watched;
	struct cli_signals signals;
};

/* Before the library is called, by the only thread that there is. */
void cli_temporary_start(struct cli_temporary *temporary);

/* As soon as the library is done; TMPDIR is as it was again. Does not return when a signal came before. */
void cli_temporary_finish(struct cli_temporary *temporary);

#endif
