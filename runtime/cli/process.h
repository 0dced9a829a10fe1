/* SPDX-License-Identifier: MIT */
/*
 * process.h - what the program owes to the system: descriptors, limits, signals, standard output.
 *
 * Signals. SIGINT, SIGTERM and SIGHUP ask a command that runs for long to finish: it ends what it has
 * in hand and exits 0. The second one ends the process at once, with the signal, so that a shell sees
 * 128+N; that loses nothing, because a transaction that did not commit never happened. A signal that
 * was ignored when the program started (nohup, a shell's background job) stays ignored. Commands that
 * do not ask for this are ended by the first signal, as any program is.
 *
 * SIGPIPE is ignored, so that consumer code that writes to a socket gets an error and not a death;
 * when the reader of our own output is gone, the process ends quietly by SIGPIPE all the same.
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include "cli/text.h"

/*
 * To be called first of all: opens descriptors 0 to 2 on /dev/null where they are closed, so that no
 * database gets one of them and is written over by a log line; raises the limit of open files; and
 * ignores SIGPIPE.
 */
void cli_process_prepare(void);

/* Writes all of it, waiting where the descriptor would block. Returns 0 or an errno. */
int cli_process_write(int fd, const char *bytes, size_t n);

/*
 * Writes text to standard output and clears it. Returns the exit code: 0, or 1 with a message on
 * standard error. Does not return when the reader is gone.
 */
int cli_process_print(struct cli_text *text);

/* Ends the process by a signal, from any thread. */
_Noreturn void cli_process_die(int signal_number);

/*
 * Blocks the signals that ask for an end and returns a descriptor that becomes readable when one
 * comes; or -1 with errno. To be called before any thread is started, so that all inherit the block.
 */
int cli_signals_open(void);

/* Takes the signal that came. Returns its number, 0 when there is none. */
int cli_signals_take(int fd);

/* Lets the next one end the process, also one that has come already. For the calling thread. */
void cli_signals_release(void);

#endif
