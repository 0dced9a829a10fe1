/* SPDX-License-Identifier: MIT */
/*
 * scenario_peers.c - the same job as a Python script with sqlite3 and a Node.js script with
 * better-sqlite3 (or node:sqlite, where that is not there), each as a good user writes it: batches of
 * 10,000 rows, prepared statements, WAL, synchronous = NORMAL, the watermark updated with the results.
 * Each takes the time itself, from the opening of the database to its end: what its interpreter needs
 * to start is not counted. What is not present is said, and how to get it.
 */
#include "copies.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "peers.db"

/* ---- the scripts -------------------------------------------------------------------------- */

static const char python_check[] =
	"import sys\n"
	"try:\n"
	"    import sqlite3\n"
	"except ImportError:\n"
	"    sys.exit(1)\n"
	"print('Python %s, sqlite3, SQLite %s' % (sys.version.split()[0], sqlite3.sqlite_version))\n";

static const char python_script[] =
	"import sqlite3, sys, time\n"
	"start = time.monotonic_ns()\n"
	"reader = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
	"db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)\n"
	"db.execute('PRAGMA journal_mode = WAL')\n"
	"db.execute('PRAGMA synchronous = NORMAL')\n"
	"last, = db.execute(\"SELECT last FROM catchup WHERE name = 'copy1'\").fetchone()\n"
	"while True:\n"
	"    rows = reader.execute('SELECT id, sensor, value FROM readings WHERE id > ?'\n"
	"                          ' ORDER BY id LIMIT 10000', (last,)).fetchall()\n"
	"    if not rows:\n"
	"        break\n"
	"    db.execute('BEGIN IMMEDIATE')\n"
	"    db.executemany('INSERT INTO copy1 VALUES (?, ?, ?)', rows)\n"
	"    moved = db.execute(\"UPDATE catchup SET last = ? WHERE name = 'copy1' AND last = ?\",\n"
	"                       (rows[-1][0], last))\n"
	"    if moved.rowcount != 1:\n"
	"        sys.exit('the watermark was moved')\n"
	"    db.execute('COMMIT')\n"
	"    last = rows[-1][0]\n"
	"db.close()\n"
	"reader.close()\n"
	"print(time.monotonic_ns() - start)\n";

static const char node_check[] =
	"let name, version;\n"
	"try {\n"
	"  const Database = require('better-sqlite3');\n"
	"  version = new Database(':memory:').prepare('SELECT sqlite_version()').pluck().get();\n"
	"  name = 'better-sqlite3 ' + require('better-sqlite3/package.json').version;\n"
	"} catch {\n"
	"  try {\n"
	"    const { DatabaseSync } = require('node:sqlite');\n"
	"    version = new DatabaseSync(':memory:').prepare('SELECT sqlite_version() AS v').get().v;\n"
	"    name = 'node:sqlite';\n"
	"  } catch {\n"
	"    process.exit(1);\n"
	"  }\n"
	"}\n"
	"console.log(`Node.js ${process.versions.node}, ${name}, SQLite ${version}`);\n";

static const char node_script[] =
	"const start = process.hrtime.bigint();\n"
	"const file = process.argv[1];\n"
	"let open, raw;\n"
	"try {\n"
	"  const Database = require('better-sqlite3');\n"
	"  open = () => new Database(file, { timeout: 10000 });\n"
	"  raw = (statement) => statement.raw();\n"
	"} catch {\n"
	"  const { DatabaseSync } = require('node:sqlite');\n"
	"  open = () => new DatabaseSync(file, { timeout: 10000 });\n"
	"  raw = (statement) => (statement.setReturnArrays?.(true), statement);\n"
	"}\n"
	"const reader = open(), db = open();\n"
	"db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');\n"
	"const next = raw(reader.prepare('SELECT id, sensor, value FROM readings WHERE id > ?'\n"
	"  + ' ORDER BY id LIMIT 10000'));\n"
	"const insert = db.prepare('INSERT INTO copy1 VALUES (?, ?, ?)');\n"
	"const update = db.prepare(\"UPDATE catchup SET last = ? WHERE name = 'copy1' AND last = ?\");\n"
	"const begin = db.prepare('BEGIN IMMEDIATE'), commit = db.prepare('COMMIT');\n"
	"let last = Object.values(db.prepare(\"SELECT last FROM catchup WHERE name = 'copy1'\").get())[0];\n"
	"for (;;) {\n"
	"  const rows = next.all(last);\n"
	"  if (rows.length === 0) break;\n"
	"  begin.run();\n"
	"  let id;\n"
	"  for (const row of rows) {\n"
	"    const [a, b, c] = Array.isArray(row) ? row : [row.id, row.sensor, row.value];\n"
	"    insert.run(a, b, c);\n"
	"    id = a;\n"
	"  }\n"
	"  if (Number(update.run(id, last).changes) !== 1) throw new Error('the watermark was moved');\n"
	"  commit.run();\n"
	"  last = id;\n"
	"}\n"
	"db.close();\n"
	"reader.close();\n"
	"console.log(String(process.hrtime.bigint() - start));\n";

static const char sql_consumer[] =
	"-- name: copy1\n"
	"-- source: readings\n"
	"-- setup\n"
	"CREATE TABLE IF NOT EXISTS copy1(id INTEGER NOT NULL PRIMARY KEY, sensor INTEGER NOT NULL,"
	" value INTEGER NOT NULL);\n"
	"-- apply\n"
	"INSERT INTO copy1 SELECT id, sensor, value FROM readings WHERE id > @last AND id <= @max;\n";

/* ---- sides -------------------------------------------------------------------------------- */

struct peer {
	const char *name;
	const char *program;           /* NULL: catchup */
	const char *flag;              /* with which the program takes code */
	const char *check, *script;
	const char *install;           /* how to get it */
	char version[160];
	double aim;                    /* least of catchup's C consumer divided by this one */
	bool present;
	double rates[99];
};

/* What the program prints, without its newline. Returns 0 when it ended well. */
static int ask(struct bench *b, const char *const *argv, char *to, size_t bytes)
{
	size_t used = 0;
	int out = -1;
	ssize_t n;
	pid_t pid = bench_program_start(b, argv[0], argv, &out);

	if (pid < 0)
		return -1;
	while (used + 1 < bytes && (n = read(out, to + used, bytes - 1 - used)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		used += n > 0 ? (size_t)n : 0;
	}
	close(out);
	to[used] = '\0';
	to[strcspn(to, "\n")] = '\0';
	return bench_child_end(pid, 0);
}

static int run_script(struct bench *b, const struct peer *peer, int64_t *ns)
{
	char path[4096], text[64];
	const char *const argv[] = {peer->program, peer->flag, peer->script, path, NULL};
	int rc = bench_hand_tables(b, FILE_NAME, 1);

	bench_path(b, path, sizeof(path), FILE_NAME);
	if (rc != 0)
		return rc;
	if (ask(b, argv, text, sizeof(text)) != 0)
		return bench_fail(b, "the script for %s failed", peer->name);
	*ns = strtoll(text, NULL, 10);
	return *ns > 0 ? 0 : bench_fail(b, "the script for %s printed '%s'", peer->name, text);
}

static int run_catchup(struct bench *b, bool in_sql, int64_t *ns)
{
	const struct bench_consumer file = {.file = "copy1.sql"};
	struct bench_copies copies;
	int64_t start;
	int rc = bench_copies_make(b, &copies, 1, BENCH_COPIES_BESIDE);

	if (rc == 0 && in_sql)
		rc = bench_write_file(b, "copy1.sql", sql_consumer);
	start = bench_now_ns();
	if (rc == 0)
		rc = bench_catch_up(b, FILE_NAME, NULL, in_sql ? &file : copies.consumers, 1);
	*ns = bench_now_ns() - start;
	bench_copies_free(&copies);
	return rc;
}

static int run_peer(struct bench *b, struct peer *peer, size_t which, size_t round, int64_t rows)
{
	int64_t ns = 1;
	int rc = bench_folder_renew(b);

	bench_progress(b, "round %zu of %zu, %s", round + 1, bench_rounds(b), peer->name);
	if (rc == 0)
		rc = bench_readings(b, FILE_NAME, rows);
	if (rc == 0)
		rc = peer->program ? run_script(b, peer, &ns) : run_catchup(b, which == 1, &ns);
	peer->rates[round] = (double)rows * 1e9 / (double)ns;
	return rc ? rc : bench_copy_check(b, FILE_NAME, 0, rows);
}

/* ---- the scenario ------------------------------------------------------------------------- */

static void look_for(struct bench *b, struct peer *peer)
{
	const char *const argv[] = {peer->program, peer->flag, peer->check, NULL};

	peer->present = !peer->program || ask(b, argv, peer->version, sizeof(peer->version)) == 0;
	if (!peer->present)
		bench_note(b, "%s is not present or does not run here: %s", peer->name,
			peer->install);
}

static void report(struct bench *b, struct peer *peers, size_t n)
{
	size_t rounds = bench_rounds(b);
	double ours = 0;

	for (size_t i = 0; i < n; i++) {
		double rate;
		char name[224];

		if (!peers[i].present)
			continue;
		rate = bench_median(peers[i].rates, rounds);
		bench_metric(b, peers[i].version[0] ? peers[i].version : peers[i].name, rate, "rows/s");
		if (i == 0)
			ours = rate;
		if (!peers[i].program)
			continue;
		snprintf(name, sizeof(name), "C consumer / %s", peers[i].name);
		bench_ratio_of(b, name, ours, rate, "rows/s", peers[i].aim);
	}
	bench_note(b, "interpreters that are present take their times without their own start");
}

static int run(struct bench *b)
{
	struct peer peers[] = {
		{.name = "catchup, C consumer row by row"},
		{.name = "catchup, SQL consumer"},
		{.name = "a Python script", .program = "python3", .flag = "-c",
			.check = python_check, .script = python_script, .aim = 1,
			.install = "apt-get install python3"},
		{.name = "a Node.js script", .program = "node", .flag = "-e", .check = node_check,
			.script = node_script, .aim = 1,
			.install = "npm install better-sqlite3 here, or set NODE_PATH; or Node.js 22.5"},
	};
	size_t n = sizeof(peers) / sizeof(peers[0]);
	int64_t rows = bench_amount(b, 1000000, 50000);
	int rc = 0;

	for (size_t i = 0; i < n; i++)
		look_for(b, &peers[i]);
	for (size_t r = 0; r < bench_rounds(b); r++)
		for (size_t i = 0; i < n && rc == 0; i++)
			if (peers[i].present)
				rc = run_peer(b, &peers[i], i, r, rows);
	if (rc == 0)
		report(b, peers, n);
	return rc;
}

const struct bench_scenario bench_scenario_peers = {
	.name = "peers",
	.summary = "the same job in Python and Node.js, where they are present",
	.run = run,
};
