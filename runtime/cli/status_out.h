/* SPDX-License-Identifier: MIT */
/*
 * status_out.h - a status snapshot as a table for people, or as JSON for programs.
 */
#ifndef CLI_STATUS_OUT_H
#define CLI_STATUS_OUT_H

#include "cli/text.h"

#include <catchup/catchup.h>

/*
 * The table, and below it why consumers are stopped or paused. now_ms: Unix time, to say how long
 * ago something was. colour: states are coloured for a terminal.
 */
void cli_status_table(struct cli_text *text, const struct catchup_status *status, int64_t now_ms,
	bool colour);

/*
 * One document. What is unknown is null: `newest` and `lag_rows` of a source that cannot be read,
 * `into` of results in the source's own file, `last_error`, `updated` of a consumer that never
 * committed. Times are written as 2026-11-21T02:00:00.123Z.
 */
void cli_status_json(struct cli_text *text, const struct catchup_status *status);

#endif
