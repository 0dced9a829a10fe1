/* SPDX-License-Identifier: MIT */
/*
 * runtime_help.h - a runtime in the test's own process on a scratch database, with its log kept.
 */
#ifndef CU_TESTS_RUNTIME_HELP_H
#define CU_TESTS_RUNTIME_HELP_H

#include "store_help.h"

#include "base/os.h"

#include <catchup/consumer.h>

struct kept_log {
	struct cu_mutex mu;
	char text[65536]; /* guarded by mu; later lines than fit are dropped */
	size_t used;
};

static inline void keep_line(
	void *context, enum catchup_log_level level, const char *subject, const char *message)
{
	struct kept_log *log = context;
	size_t room;
	int n;

	(void)level;
	cu_mutex_lock(&log->mu);
	room = sizeof(log->text) - log->used;
	n = snprintf(log->text + log->used, room, "%s: %s\n", subject, message);
	if (n > 0 && (size_t)n < room)
		log->used += (size_t)n;
	cu_mutex_unlock(&log->mu);
}

static inline void keep_log(struct kept_log *log)
{
	memset(log, 0, sizeof(*log));
	assert_int_equal(cu_mutex_init(&log->mu), 0);
}

static inline bool was_logged(struct kept_log *log, const char *part)
{
	bool found;

	cu_mutex_lock(&log->mu);
	found = strstr(log->text, part) != NULL;
	cu_mutex_unlock(&log->mu);
	return found;
}

/* Returns what the condition says after it was asked until it says true, or for PATIENCE_S. */
#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		int64_t until_end_ns = cu_os_now_ns() + PATIENCE_S * CU_NS_PER_S;                  \
		while (!(condition)) {                                                             \
			if (cu_os_now_ns() > until_end_ns)                                         \
				fail_msg("never came true: %s", #condition);                       \
			cu_os_sleep_ns(CU_NS_PER_MS);                                              \
		}                                                                                  \
	} while (0)

/* What is done may be seen before it is said. */
static inline void expect_logged(struct kept_log *log, const char *part)
{
	int64_t end_ns = cu_os_now_ns() + PATIENCE_S * CU_NS_PER_S;

	while (!was_logged(log, part)) {
		if (cu_os_now_ns() > end_ns)
			fail_msg("'%s' is not in: %s", part, log->text);
		cu_os_sleep_ns(CU_NS_PER_MS);
	}
}

/* Opens a runtime and adds a consumer by its words, or by its table. */
static inline struct catchup *runtime_open(const struct catchup_options *options, const char *words,
	const struct catchup_consumer *table)
{
	struct catchup_error error = {0};
	struct catchup *c;

	assert_ok(catchup_open(options, &c, &error));
	if (words)
		assert_ok(catchup_add(c, words, NULL, &error));
	if (table)
		assert_ok(catchup_add_table(c, table, NULL, &error));
	return c;
}

/* Start, wait until it has caught up, close. */
static inline void runtime_catch_up(struct catchup *c)
{
	struct catchup_error error = {0};

	assert_ok(catchup_start(c, &error));
	assert_ok(catchup_wait(c, -1, &error));
	assert_ok(catchup_stop(c, &error));
	catchup_close(c);
}

#endif
