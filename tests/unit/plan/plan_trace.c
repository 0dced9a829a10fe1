/* SPDX-License-Identifier: MIT */
/*
 * plan_trace.c - what is asked for and what goes wrong, in the words of a story's trace.
 */
#include "plan_world_inside.h"

#include <inttypes.h>

const char *world_fault_name(enum cu_fault fault)
{
	static const char *const names[] = {
		[CU_FAULT_NONE] = "none",
		[CU_FAULT_ROW] = "row",
		[CU_FAULT_BUSY] = "busy",
		[CU_FAULT_FULL] = "full",
		[CU_FAULT_IO] = "io",
		[CU_FAULT_MEMORY] = "memory",
		[CU_FAULT_SCHEMA] = "schema",
		[CU_FAULT_DATABASE] = "database",
		[CU_FAULT_SLOW] = "slow",
		[CU_FAULT_STOP] = "stop",
		[CU_FAULT_GONE] = "gone",
	};

	return names[fault];
}

static const char *const verbs[] = {
	[CU_ACTION_OPEN] = "open",
	[CU_ACTION_LEASE] = "lease",
	[CU_ACTION_LOAD] = "load",
	[CU_ACTION_WAIT] = NULL, /* told by what comes of it */
	[CU_ACTION_REWIND] = "rewind",
	[CU_ACTION_CUT] = "cut",
	[CU_ACTION_FETCH] = "fetch",
	[CU_ACTION_BEGIN] = "begin",
	[CU_ACTION_DELIVER] = "row",
	[CU_ACTION_APPLY] = "apply",
	[CU_ACTION_PARK] = "park",
	[CU_ACTION_COMMIT] = "commit",
	[CU_ACTION_ABORT] = "abort",
	[CU_ACTION_RENEW] = "renew",
	[CU_ACTION_SLEEP] = NULL,
	[CU_ACTION_STOP] = "stop",
};

void world_trace_action(struct world *world, const struct cu_action *action)
{
	if (!world->trace || !verbs[action->kind])
		return;
	if (action->kind == CU_ACTION_BEGIN && action->id != 0)
		world_tell(world, " mark%" PRId64 "x%" PRIu32, action->id, action->attempts);
	world_tell(world, " %s", verbs[action->kind]);
	if (action->kind == CU_ACTION_CUT)
		world_tell(world, "%" PRIu32, action->rows);
	if (action->kind == CU_ACTION_CUT || action->kind == CU_ACTION_FETCH ||
		action->kind == CU_ACTION_APPLY || action->kind == CU_ACTION_COMMIT)
		world_tell(world, "(%" PRId64 ",%" PRId64 "]", action->lo, action->hi);
	if (action->kind == CU_ACTION_COMMIT && action->renew)
		world_tell(world, "+renew");
}
