/* SPDX-License-Identifier: MIT */
/*
 * process.h - what the program owes to the system: descriptors, limits, standard output.
 *
 * SIGPIPE is ignored, so that consumer code that writes to a socket gets an error and not a death;
 * when the reader of our own output is gone, the process ends quietly by SIGPIPE all the same.
 * SIGXFSZ is ignored too: a limit on file size is then an error of the write that meets it, like a
 * full disk.
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include "cli/text.h"

/*
 * To be called first of all: opens descriptors 0 to 2 on /dev/null where they are closed, so that no
 * database gets one of them and is written over by a log line; raises the limit of open files; and
 * ignores SIGPIPE and SIGXFSZ.
 */
void cli_process_prepare(void);

/* Writes all of it, waiting where the descriptor would block. Returns 0 or an errno. */
int cli_process_write(int fd, const char *bytes, size_t n);

/* The same for what nobody may wait for long: EAGAIN when the descriptor has taken nothing, or not all, for so
 * many milliseconds. */
int cli_process_write_soon(int fd, const char *bytes, size_t n, int wait_ms);

/*
 * Writes text to standard output and clears it. Returns the exit code: 0, or 1 with a message on
 * standard error. Does not return when the reader is gone.
 */
int cli_process_print(struct cli_text *text);

/* Milliseconds of a clock that nobody sets, from an arbitrary start. */
int64_t cli_process_now_ms(void);
/* Unix time. */
int64_t cli_process_wall_ms(void);

/* Ends the process by a signal, from any thread. */
_Noreturn void cli_process_die(int signal_number);

#endif
