/* SPDX-License-Identifier: MIT */
#include "plan_story.h"

#include "base/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static enum cu_fault next_mishap(
	struct world_process *process, enum cu_action_kind kind, void *context)
{
	struct story *story = context;
	enum cu_fault fault;

	(void)process;
	if (story->n_mishaps == 0 || story->mishaps[0].kind != kind)
		return CU_FAULT_NONE;
	fault = story->mishaps[0].fault;
	memmove(story->mishaps, story->mishaps + 1, --story->n_mishaps * sizeof(story->mishaps[0]));
	return fault;
}

void will_fail(struct story *story, enum cu_action_kind kind, enum cu_fault fault)
{
	assert_true(story->n_mishaps < STORY_MISHAPS_MAX);
	story->mishaps[story->n_mishaps].kind = kind;
	story->mishaps[story->n_mishaps++].fault = fault;
}

struct story *story_of(enum cu_plan_kind kind, const char *policy, int64_t n)
{
	static struct story story;
	struct world *world = &story.world;

	memset(&story, 0, sizeof(story));
	world_init(world, 1);
	world->mishap = next_mishap;
	world->context = &story;
	world->eager = true;
	world->trace = story.trace;
	world->trace_bytes = sizeof(story.trace);
	story.config = (struct cu_plan_config){.kind = kind,
		.batch_rows = 100,
		.batch_ns = 20 * CU_NS_PER_MS,
		.lease_ns = 9 * CU_NS_PER_S,
		.locked_ns = 60 * CU_NS_PER_S,
		.seed = 1};
	assert_int_equal(cu_policy_parse(&story.config.policy, policy, NULL), CATCHUP_OK);
	for (int64_t id = 1; id <= n; id++)
		world_insert(world, id, WORLD_GOOD);
	story.process = &world->processes[0];
	return &story;
}

struct world_row *row(struct story *story, int64_t id, enum world_nature nature)
{
	for (size_t i = 0; i < story->world.n_rows; i++) {
		if (story->world.rows[i].id == id) {
			story->world.rows[i].nature = nature;
			return &story->world.rows[i];
		}
	}
	return world_insert(&story->world, id, nature);
}

void start(struct story *story)
{
	world_start(&story->world, 0, &story->config);
}

void run_until(struct story *story, enum cu_action_kind kind)
{
	struct world_process *process = story->process;

	for (int i = 0; i < 1000; i++) {
		if (process->action.kind == kind)
			return;
		if (world_step(process))
			continue;
		if (process->action.kind != CU_ACTION_SLEEP)
			return;
		story->world.now_ns = process->action.until_ns;
	}
	fail_msg("no end in 1000 steps: %.1000s", story->trace);
}

void run(struct story *story)
{
	run_until(story, (enum cu_action_kind) - 1);
}

void told(struct story *story, const char *expected)
{
	assert_string_equal(story->trace, expected);
	assert_string_equal(story->world.broken, "");
	story->trace[0] = '\0';
}

void start_and_open(struct story *story)
{
	start(story);
	run_until(story, CU_ACTION_WAIT);
	story->trace[0] = '\0';
}

void must_tell(struct story *story, const char *expected)
{
	start_and_open(story);
	run(story);
	told(story, expected);
}
