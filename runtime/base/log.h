/* SPDX-License-Identifier: MIT */
/*
 * log.h - the instance's log hook. A NULL logger or hook makes no lines. Any thread.
 */
#ifndef CU_BASE_LOG_H
#define CU_BASE_LOG_H

#include <catchup/catchup.h>

struct cu_logger {
	catchup_log_fn *hook; /* constant after start, may be NULL */
	void *context;        /* borrowed */
	enum catchup_log_level level;
};

/* Makes one line about `subject` ("" for none), escaped to a single printable line. */
void cu_log(const struct cu_logger *logger, enum catchup_log_level level, const char *subject,
	const char *fmt, ...) CATCHUP_PRINTF(4, 5);

/* Other than 0 when a line of this level would be made: guards costly arguments. */
static inline int cu_log_on(const struct cu_logger *logger, enum catchup_log_level level)
{
	return logger && logger->hook && level <= logger->level;
}

#endif
