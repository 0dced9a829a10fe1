/* SPDX-License-Identifier: MIT */
/*
 * session.h - one run of a runtime from start to stop, with signals and progress.
 *
 * A thread of its own opens, starts and waits, because those calls block; the main thread sleeps on
 * that thread's news, on the signals' and, while there is a progress line, on the clock. So a signal
 * is taken at any moment, also during start, and nothing runs in a signal handler. With nothing to
 * do and no progress line, nobody wakes up.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli/term.h"

struct cli_session {
	/* constant, set by the caller */
	struct cli_term *term;   /* borrowed */
	size_t n_consumers;      /* to be told */
	bool until_caught_up;
	bool progress;           /* draw a progress line */
	/* Opens the runtime and adds the consumers; not started. */
	int (*open)(void *context, struct catchup **out, struct catchup_error *error);
	void *context;
};

/* Runs to the end. Returns the exit code; what went wrong was logged. */
int cli_session_run(const struct cli_session *session);

#endif
