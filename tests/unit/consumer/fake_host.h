/* SPDX-License-Identifier: MIT */
/*
 * fake_host.h - the smallest host that a C consumer runs under: one real SQLite connection in memory,
 * no threads, no watermark table. It offers the rows of `next` in a transaction, like the runtime, and
 * keeps what the consumer says.
 */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

#include <catchup/consumer.h>

struct fake_host {
	struct catchup_context context; /* first: consumer functions get a pointer to it */
	sqlite3 *db;                    /* owned */
	const struct catchup_consumer *consumer;
	/* key, value, key, value, ..., NULL: what differs from the defaults */
	const char *options[8];

	/* of the last fake_follow */
	int applied;
	int passed;
	int failed; /* 0 or 1: it stops there and rolls back */
	int fail_code;
	char fail_text[512];
	char log[16384]; /* one line each, "level text\n" */
};

/* Opens an empty database, with foreign keys enforced. */
void fake_init(struct fake_host *host);
void fake_finish(struct fake_host *host);

/* Runs SQL that must succeed; formatted like sqlite3_mprintf. */
void fake_sql(struct fake_host *host, const char *fmt, ...);

/* The first column of the first row as text, "" for NULL or no row; good until the next call. */
const char *fake_text(struct fake_host *host, const char *sql);

/* The consumer's setup. */
void fake_setup(struct fake_host *host, const struct catchup_consumer *consumer);

/* Opens the consumer, offers it every row above `last`, closes it. Returns the last id offered and
 * committed (`last` when none was, or when it failed). */
int64_t fake_follow(struct fake_host *host, const struct catchup_consumer *consumer, int64_t last);

#endif
