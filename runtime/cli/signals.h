/* SPDX-License-Identifier: MIT */
/*
 * signals.h - what asks a command that runs for long to finish.
 *
 * SIGINT, SIGTERM and SIGHUP ask for an end: the command finishes what it has in hand and exits 0.
 * The second one ends the process at once, by that signal, so that a shell sees 128+N; that loses
 * nothing, because a transaction that did not commit never happened. The same signal again within a
 * quarter of a second is the same request: timeout(1) and shells send one to the process and another
 * to its group. A signal that was ignored when the program started (nohup, a shell's background job)
 * stays ignored. Commands that do not ask for this are ended by the first, as any program is.
 *
 * A thread of its own sleeps on them and never waits for anything else, so the second signal works
 * whatever the command is stuck in. It may also watch standard output, to end the process when the
 * reader is gone and there is nothing to write that would show it.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include <pthread.h>
#include <stdbool.h>

struct cli_signals {
	/* set before cli_signals_start */
	void (*first)(void *context, int number); /* called once, in the thread; must not block */
	void *context;
	bool watch_output;

	/* the rest is signals.c's own */
	int fd;
	int stop[2]; /* pipe: its writing end is closed when it is over */
	pthread_t thread;
};

/*
 * Blocks the signals in the calling thread, and so in all that it starts later, and begins to watch.
 * Returns 0 or an errno.
 */
int cli_signals_start(struct cli_signals *signals);
void cli_signals_finish(struct cli_signals *signals);

/* Lets the signals end the process again; one that came since nobody watched does it here. */
void cli_signals_release(void);

/* "SIGTERM" */
const char *cli_signals_name(int number);

#endif
