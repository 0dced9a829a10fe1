/* SPDX-License-Identifier: MIT */
/*
 * sim_story.c - a story from beginning to end.
 */
#include "sim_disk.h"
#include "sim_story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_MS 600000

struct story story;

/* ---- choices ----------------------------------------------------------------------------------- */

/* A rate that is often 0, so that each fault is also met alone. */
static unsigned rate(unsigned most)
{
	return sim_below(2) ? 0 : (unsigned)sim_below(most + 1);
}

static void choose_world(void)
{
	sim_knobs = (struct sim_knobs){
		.point = (unsigned)sim_below(3) * 100000 + 20000,
		.timer = rate(30000),
		.tick_ns = sim_between(100, 20000),
		.order = (int)sim_below(SIM_ORDERS),
	};
	if (sim_below(5) == 0)
		return; /* nothing goes wrong but the order */
	sim_faults = (struct sim_faults){
		.thread = rate(50000),
		.spurious = rate(50000),
		.oversleep = rate(5000),
		.notice_lost = rate(300000),
		.notice_late = rate(300000),
		.notice_flood = rate(50000),
		.watch_broken = rate(500000),
		.suspend = rate(2000),
		.short_write = rate(200000),
		.file = rate(20000),
		.database = rate(500),
	};
	story.row_faults = rate(50000);
	story.bad = rate(40000);
}

static void choose_consumers(void)
{
	static const char *const policies[] = {NULL, "stop", "park", "retry(3, 1, 20) then park",
		"retry(2, 5, 50)", "park-key(k)", "retry(2, 1, 10) then park-key(k)"};
	bool any = false;

	while (!any) {
		for (int kind = 0; kind < KINDS; kind++) {
			struct story_consumer *c = &story.consumers[kind];

			c->used = sim_below(5) < 2;
			c->into = kind != KIND_CHAIN && kind != KIND_CACHE && sim_below(4) == 0;
			c->policy = policies[sim_below(7)];
			any |= c->used;
		}
	}
	if (story.consumers[KIND_CHAIN].used) {
		story.consumers[KIND_ROWS].used = true;
		story.consumers[KIND_ROWS].into = false;
	}
	story.workers = (uint32_t)sim_between(1, 3);
}

static void on_log(void *context, enum catchup_log_level level, const char *subject, const char *message)
{
	(void)context;
	(void)level;
	SIM_TRACE("log: %s: %s", subject, message);
	if (strstr(message, "has moved the watermark"))
		sim_counts->lost_leases++;
}

static void choose_options(void)
{
	story.options = (struct catchup_options){
		.size = sizeof(story.options),
		.database = story.database,
		.batch_rows = (uint32_t)sim_between(1, sim_below(2) ? 5 : 100),
		.batch_ms = (uint32_t)sim_between(1, 20),
		.ring_slots = (uint32_t)(2 << sim_below(4)),
		.threads = (uint32_t)sim_below(3),
		.poll_ms = (uint32_t)sim_between(10, 1000),
		.busy_ms = 600000,
		.lease_ms = (uint32_t)sim_between(1000, 5000),
		.wal_mib = 1,
		.synchronous = sim_below(2) ? CATCHUP_SYNCHRONOUS_FULL : CATCHUP_SYNCHRONOUS_NORMAL,
		.flags = (sim_below(2) ? CATCHUP_FLAG_NO_LEASE : 0) |
			(sim_below(2) ? CATCHUP_FLAG_ALONE : 0),
		.log = on_log,
		.log_level = CATCHUP_LOG_DEBUG,
		.changelog = story.consumers[KIND_CACHE].used ? story.changelog : NULL,
	};
}

static void choose(void)
{
	choose_world();
	choose_consumers();
	choose_options();
	story.runtimes = sim_below(3) ? 1 : 2;
	story.applications = 1 + (int)sim_below(2);
	story.autoincrement = sim_below(2);
	story.sparse = sim_below(2);
	story.deletes = sim_below(2);
	story.rows_wanted = (int)sim_between(5, sim_below(4) ? 60 : 300);
	if (story.consumers[KIND_CACHE].used || sim_below(4) == 0) {
		story.events_wanted = (int)sim_between(5, 150);
		story.readers = (int)sim_below(STORY_READERS + 1);
		story.gentle = sim_below(3) == 0;
	}
	if (story.gentle)
		sim_faults.file = 0;
	story.mischief_ns = sim_between(0, 1500) * CU_NS_PER_MS;
}

/* ---- a runtime's process ------------------------------------------------------------------------- */

/* Whatever a program may ask of a runtime. */
static void ask(struct catchup *c)
{
	struct catchup_status *status;

	switch (sim_below(3)) {
	case 0:
		catchup_wake(c);
		break;
	case 1:
		catchup_wait(c, sim_between(0, 500), NULL);
		break;
	default:
		if (catchup_status(c, &status, NULL) == CATCHUP_OK)
			catchup_status_free(status);
		break;
	}
}

static void run_once(struct story_runtime *slot)
{
	struct catchup_error error = {0};
	bool calm = story.calm;
	struct catchup *c;

	if (catchup_open(&story.options, &c, &error) != CATCHUP_OK) {
		SIM_TRACE("no runtime: %s", error.message);
		return;
	}
	story_add_consumers(c);
	if (catchup_start(c, &error) != CATCHUP_OK) {
		SIM_TRACE("no start: %s", error.message);
		SIM_CHECK(!calm || error.code == CATCHUP_IO, "no start: %s", error.message);
		catchup_close(c);
		return;
	}
	sim_counts->starts++;
	slot->runtime = c;
	while (!slot->leave && !story.calm) {
		ask(c);
		sim_block(slot, sim_now_ns() + sim_between(0, 300) * CU_NS_PER_MS, "the program");
	}
	if (!slot->leave) {
		slot->settled_code = catchup_wait(c, SETTLE_MS, &error);
		SIM_CHECK(slot->settled_code != CATCHUP_TIMEOUT, "it does not catch up: %s",
			error.message);
		slot->settled = true;
		while (!story.closing)
			sim_block(slot, CU_FOREVER, "the program, caught up");
	}
	slot->leave = false;
	slot->runtime = NULL;
	catchup_stop(c, NULL);
	catchup_close(c);
}

static void run_slot(void *argument)
{
	struct story_runtime *slot = argument;

	while (!slot->settled) {
		run_once(slot);
		if (!slot->settled)
			sim_sleep(sim_between(1, 100) * CU_NS_PER_MS, "the program, between two runs");
	}
	slot->gone = true;
}

static void start_slot(struct story_runtime *slot)
{
	*slot = (struct story_runtime){.process = sim_process_create("runtime")};
	slot->process->files_fail = true;
	slot->process->database_fails = true;
	slot->process->space = 1 + (int64_t)sim_below(sim_below(3) ? 1 : 2);
	sim_fiber_start(slot->process, "main", run_slot, slot);
}

static struct sim_process *start_writer(void)
{
	struct sim_process *process = sim_process_create("writer");

	process->files_fail = true;
	sim_fiber_start(process, "writer", story_writer, NULL);
	return process;
}

/* ---- mischief ------------------------------------------------------------------------------------ */

static void mistreat(struct story_runtime *slot)
{
	if (!slot->process || slot->process->dead) {
		start_slot(slot);
		return;
	}
	switch (sim_below(6)) {
	case 0:
		sim_process_kill(slot->process);
		break;
	case 1:
		slot->process->doomed = (uint32_t)sim_between(1, 60);
		break;
	case 2:
		sim_process_stop(slot->process,
			sim_between(1, 2 * (int64_t)story.options.lease_ms) * CU_NS_PER_MS);
		break;
	case 3:
		slot->leave = true;
		sim_wake_all(slot);
		break;
	case 4:
		/* Leases that nobody could renew are over, while their holders are at work. */
		sim_suspend(sim_between(1, 2 * (int64_t)story.options.lease_ms) * CU_NS_PER_MS);
		break;
	default:
		break;
	}
}

static void be_mischievous(struct sim_process **writer)
{
	int64_t until_ns = sim_now_ns() + story.mischief_ns;

	while (sim_now_ns() < until_ns) {
		sim_sleep(sim_between(0, 300) * CU_NS_PER_MS, "the story");
		mistreat(&story.slots[sim_below((uint64_t)story.runtimes)]);
		if (story.events_wanted > 0 && !story.gentle && sim_below(10) == 0)
			(*writer)->doomed = (uint32_t)sim_between(1, 30);
		if ((*writer)->dead && !story.writer_done)
			*writer = start_writer();
	}
	(*writer)->doomed = 0;
	if ((*writer)->dead && !story.writer_done)
		*writer = start_writer();
}

static void calm_down(void)
{
	SIM_TRACE("the world calms down");
	sim_faults = (struct sim_faults){0};
	sim_knobs.timer = 0;
	story.row_faults = 0;
	for (int i = 0; i < story.runtimes; i++)
		if (story.slots[i].process)
			story.slots[i].process->doomed = 0;
}

/* ---- the story ----------------------------------------------------------------------------------- */

static void make_folder(void)
{
#define AT(field, name) snprintf(story.field, sizeof(story.field), STORY_FOLDER "%s", name)
	AT(database, "/app.db");
	AT(results, "/results.db");
	AT(set_sql, "/set.sql");
	AT(next_sql, "/next.sql");
	AT(log_folder, "/log");
	AT(changelog, "/log/changelog");
#undef AT
	SIM_CHECK(sim_disk_make_folder(STORY_FOLDER) == 0 && sim_disk_make_folder(story.log_folder) == 0,
		"no folders");
}

static void set_up(void)
{
	sqlite3 *db = story_connect(story.database);

	story_exec(db, "PRAGMA journal_mode=WAL", "");
	story_exec(db, story.autoincrement
			? "CREATE TABLE items(id INTEGER PRIMARY KEY AUTOINCREMENT, k TEXT, v INTEGER)"
			: "CREATE TABLE items(id INTEGER PRIMARY KEY, k TEXT, v INTEGER)",
		"");
	story_exec(db, "CREATE TABLE truth(id INTEGER PRIMARY KEY, v INTEGER)", "");
	story_disconnect(db);
	story_write_consumers();
}

static void until(bool (*holds)(void), const char *what)
{
	int64_t limit_ns = sim_now_ns() + 1200 * CU_NS_PER_S;

	while (!holds()) {
		SIM_CHECK(sim_now_ns() < limit_ns, "never comes: %s", what);
		sim_sleep(50 * CU_NS_PER_MS, what);
	}
}

static bool all_written(void)
{
	return story.applications_left == 0 && story.writer_done;
}

static bool all_settled(void)
{
	for (int i = 0; i < story.runtimes; i++)
		if (!story.slots[i].settled)
			return false;
	return story.readers_left == 0;
}

static bool all_gone(void)
{
	for (int i = 0; i < story.runtimes; i++)
		if (!story.slots[i].gone)
			return false;
	return true;
}

static void settle(void)
{
	story.closing = false;
	story.calm = true;
	/* One that waits for a lease on a changelog's consumer waits as long as the holder lives. */
	if (story.consumers[KIND_CACHE].used && !(story.options.flags & CATCHUP_FLAG_NO_LEASE)) {
		if (story.runtimes > 1 && story.slots[1].process)
			sim_process_kill(story.slots[1].process);
		story.runtimes = 1;
	}
	for (int i = 0; i < story.runtimes; i++) {
		if (!story.slots[i].process || story.slots[i].process->dead)
			start_slot(&story.slots[i]);
		sim_wake_all(&story.slots[i]);
	}
	until(all_settled, "that all have caught up");
	story.closing = true;
	for (int i = 0; i < story.runtimes; i++)
		sim_wake_all(&story.slots[i]);
	until(all_gone, "that all have ended");
}

/* What has stopped on a fault that is over goes on in a fresh one; only bad rows still stop it. */
static void settle_afresh(void)
{
	story.runtimes = 1;
	start_slot(&story.slots[0]);
	settle();
	SIM_CHECK(story.slots[0].settled_code == CATCHUP_OK ||
			(story.slots[0].settled_code == CATCHUP_CONSUMER && story.bad > 0),
		"it ends with %s", catchup_code_name(story.slots[0].settled_code));
}

void story_tell(void *unused)
{
	static int numbers[STORY_READERS] = {1, 2, 3};
	struct sim_process *writer = sim_process_current();

	(void)unused;
	choose();
	make_folder();
	set_up();
	story.applications_left = story.applications;
	for (int i = 0; i < story.applications; i++)
		sim_fiber_start(sim_process_create("app"), "app", story_application, NULL);
	story.writer_done = story.events_wanted == 0;
	if (!story.writer_done)
		writer = start_writer();
	story.readers_left = story.readers;
	for (int i = 0; i < story.readers; i++) {
		struct sim_process *process = sim_process_create("reader");

		process->files_fail = true;
		sim_fiber_start(process, "reader", story_reader, &numbers[i]);
	}
	for (int i = 0; i < story.runtimes; i++)
		start_slot(&story.slots[i]);
	be_mischievous(&writer);
	calm_down();
	story.calm = true;
	until(all_written, "that all is written");
	settle();
	settle_afresh();
	story_judge();
	exit(0);
}
