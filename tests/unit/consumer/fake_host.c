/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fake_host *host_of(struct catchup_context *ctx)
{
	return (struct fake_host *)ctx;
}

__attribute__((format(printf, 3, 4))) static void fake_log(
	struct catchup_context *ctx, int level, const char *fmt, ...)
{
	struct fake_host *host = host_of(ctx);
	size_t used = strlen(host->log);
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	snprintf(host->log + used, sizeof(host->log) - used, "%d %s\n", level, line);
}

__attribute__((format(printf, 3, 4))) static void fake_fail(
	struct catchup_context *ctx, int sqlite_code, const char *fmt, ...)
{
	struct fake_host *host = host_of(ctx);
	va_list args;

	host->fail_code = sqlite_code;
	va_start(args, fmt);
	vsnprintf(host->fail_text, sizeof(host->fail_text), fmt, args);
	va_end(args);
}

static const char *fake_option_text(struct catchup_context *ctx, const char *name)
{
	struct fake_host *host = host_of(ctx);

	for (size_t i = 0; host->options[i]; i += 2)
		if (strcmp(host->options[i], name) == 0)
			return host->options[i + 1];
	for (const struct catchup_option *o = host->consumer->options; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o->default_value;
	fail_msg("the consumer has no option '%s'", name);
	return NULL;
}

static int64_t fake_option_int(struct catchup_context *ctx, const char *name)
{
	return strtoll(fake_option_text(ctx, name), NULL, 10);
}

static int fake_stopping(struct catchup_context *ctx)
{
	(void)ctx;
	return 0;
}

static const struct catchup_host functions = {
	sizeof(functions), fake_log, fake_fail, fake_option_int, fake_option_text, fake_stopping};

static void exec(struct fake_host *host, const char *sql)
{
	if (sqlite3_exec(host->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s\nin: %s", sqlite3_errmsg(host->db), sql);
}

void fake_init(struct fake_host *host)
{
	memset(host, 0, sizeof(*host));
	assert_int_equal(sqlite3_open(":memory:", &host->db), SQLITE_OK);
	exec(host, "PRAGMA foreign_keys = ON");
}

void fake_finish(struct fake_host *host)
{
	/* SQLITE_BUSY here means a statement that was never finalized. */
	assert_int_equal(sqlite3_close(host->db), SQLITE_OK);
	host->db = NULL;
}

void fake_sql(struct fake_host *host, const char *fmt, ...)
{
	va_list args;
	char *sql;

	va_start(args, fmt);
	sql = sqlite3_vmprintf(fmt, args);
	va_end(args);
	exec(host, sql);
	sqlite3_free(sql);
}

const char *fake_text(struct fake_host *host, const char *sql)
{
	static char text[8192];
	sqlite3_stmt *stmt;

	if (sqlite3_prepare_v2(host->db, sql, -1, &stmt, NULL) != SQLITE_OK)
		fail_msg("%s\nin: %s", sqlite3_errmsg(host->db), sql);
	text[0] = 0;
	if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_text(stmt, 0))
		snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(stmt, 0));
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
	return text;
}

void fake_setup(struct fake_host *host, const struct catchup_consumer *consumer)
{
	exec(host, "BEGIN IMMEDIATE");
	exec(host, consumer->setup);
	exec(host, "COMMIT");
}

static void count_result(struct fake_host *host, int result)
{
	switch (result) {
	case CATCHUP_ROW_APPLIED:
		host->applied++;
		break;
	case CATCHUP_ROW_PASSED:
		host->passed++;
		break;
	case CATCHUP_ROW_FAILED:
		host->failed = 1;
		break;
	default:
		fail_msg("a row function returned %d", result);
	}
}

int64_t fake_follow(struct fake_host *host, const struct catchup_consumer *consumer, int64_t last)
{
	int64_t at = last;
	sqlite3_stmt *next;
	void *state = NULL;

	host->consumer = consumer;
	host->applied = host->passed = host->failed = host->fail_code = 0;
	host->fail_text[0] = host->log[0] = 0;
	host->context = (struct catchup_context){
		sizeof(host->context), &functions, host->db, consumer->name, consumer->source, 0};
	if (sqlite3_prepare_v2(host->db, consumer->next, -1, &next, NULL) != SQLITE_OK)
		fail_msg("%s\nin: %s", sqlite3_errmsg(host->db), consumer->next);
	if (consumer->open(&host->context, &state) != CATCHUP_ROW_APPLIED) {
		host->failed = 1;
		sqlite3_finalize(next);
		return last;
	}
	exec(host, "BEGIN IMMEDIATE");
	sqlite3_bind_int64(next, sqlite3_bind_parameter_index(next, "@last"), last);
	sqlite3_bind_int64(next, sqlite3_bind_parameter_index(next, "@max"), INT64_MAX);
	while (!host->failed && sqlite3_step(next) == SQLITE_ROW) {
		assert_true(sqlite3_column_int64(next, 0) > at);
		at = sqlite3_column_int64(next, 0);
		count_result(host, consumer->row(&host->context, state, next));
	}
	assert_int_equal(sqlite3_finalize(next), SQLITE_OK);
	exec(host, host->failed ? "ROLLBACK" : "COMMIT");
	consumer->close(&host->context, state);
	return host->failed ? last : at;
}
