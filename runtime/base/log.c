/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cu_log(const struct cu_logger *logger, enum catchup_log_level level, const char *subject,
	const char *fmt, ...)
{
	char text[1024];
	char line[2048];
	va_list ap;

	if (!cu_log_on(logger, level))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cu_text_escape(line, sizeof(line), text, strlen(text));
	logger->hook(logger->context, level, subject, line);
}
