/* SPDX-License-Identifier: MIT */
/*
 * context.c - what consumer functions are called with, and what becomes of what they return.
 */
#include "base/check.h"
#include "base/error.h"
#include "consumer/definition.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LOG_BYTES 1024

static struct cu_context *context_of(struct catchup_context *ctx)
{
	return (struct cu_context *)ctx;
}

/* Formats into `to` with everything that does not belong on a line escaped. */
static void format(char *to, size_t to_bytes, const char *fmt, va_list ap)
{
	char text[LOG_BYTES];

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		snprintf(text, sizeof(text), "(a message that cannot be formatted)");
	cu_text_escape(to, to_bytes, text, strlen(text));
}

static void host_log(struct catchup_context *ctx, int level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void host_fail(struct catchup_context *ctx, int sqlite_code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void host_log(struct catchup_context *ctx, int level, const char *fmt, ...)
{
	const struct cu_context *context = context_of(ctx);
	enum catchup_log_level at = level < CATCHUP_LOG_ERROR  ? CATCHUP_LOG_ERROR
				    : level > CATCHUP_LOG_DEBUG ? CATCHUP_LOG_DEBUG
								: (enum catchup_log_level)level;
	char line[LOG_BYTES];
	va_list ap;

	if (!cu_log_on(context->logger, at))
		return;
	va_start(ap, fmt);
	format(line, sizeof(line), fmt, ap);
	va_end(ap);
	cu_log(context->logger, at, context->definition->name, "%s", line);
}

/* The first failure of a call is the cause; what a caller further out adds is not. */
static void host_fail(struct catchup_context *ctx, int sqlite_code, const char *fmt, ...)
{
	struct cu_context *context = context_of(ctx);
	va_list ap;

	if (context->failed)
		return;
	context->failed = true;
	context->fail_code = sqlite_code;
	va_start(ap, fmt);
	format(context->fail_text, sizeof(context->fail_text), fmt, ap);
	va_end(ap);
}

static const struct cu_option_value *option_of(struct catchup_context *ctx, const char *name)
{
	const struct cu_definition *definition = context_of(ctx)->definition;

	for (size_t i = 0; i < definition->n_options; i++)
		if (strcmp(definition->options[i].option->name, name) == 0)
			return &definition->options[i];
	return NULL;
}

static int64_t host_option_int(struct catchup_context *ctx, const char *name)
{
	const struct cu_option_value *value = option_of(ctx, name);

	CU_CHECK(value && value->option->kind != CATCHUP_OPTION_TEXT);
	return value->integer;
}

static const char *host_option_text(struct catchup_context *ctx, const char *name)
{
	const struct cu_option_value *value = option_of(ctx, name);

	CU_CHECK(value);
	return value->text;
}

static int host_stopping(struct catchup_context *ctx)
{
	const _Atomic int *stopping = context_of(ctx)->stopping;

	return stopping && atomic_load_explicit(stopping, memory_order_relaxed) != 0;
}

static const struct catchup_host host = {
	.size = sizeof(struct catchup_host),
	.log = host_log,
	.fail = host_fail,
	.option_int = host_option_int,
	.option_text = host_option_text,
	.stopping = host_stopping,
};

void cu_context_init(struct cu_context *context, const struct cu_definition *definition,
	const struct cu_logger *logger, const _Atomic int *stopping, sqlite3 *db, int worker)
{
	*context = (struct cu_context){
		.public = {
			.size = sizeof(struct catchup_context),
			.host = &host,
			.db = db,
			.name = definition->name,
			.source = definition->source ? definition->source : "",
			.worker = worker,
		},
		.definition = definition,
		.logger = logger,
		.stopping = stopping,
	};
}

int cu_context_explain(struct cu_context *context, const char *function, int result)
{
	struct catchup_context *ctx = &context->public;

	if (!context->failed && result == CATCHUP_ROW_FAILED)
		return catchup_fail(ctx, 0, "%s failed without saying why", function);
	if (!context->failed)
		return catchup_fail(ctx, 0,
			"%s returned %d; a result is 0 (applied), 1 (passed over) or 2 (failed)", function,
			result);
	if (context->fail_text[0] == '\0')
		snprintf(context->fail_text, sizeof(context->fail_text), "%s failed without saying why",
			function);
	return CATCHUP_ROW_FAILED;
}
