/* SPDX-License-Identifier: MIT */
/*
 * table.h - taking over the table of a consumer that may be older than this runtime, or wrong.
 */
#ifndef CU_CONSUMER_TABLE_H
#define CU_CONSUMER_TABLE_H

#include <catchup/catchup.h>
#include <catchup/consumer.h>

/*
 * Checks size and ABI and copies what the table has; what it does not have yet is zero. Then checks
 * that it makes up one consumer. Returns CATCHUP_OK or CATCHUP_CONFIG; the message does not name the
 * consumer.
 */
int cu_table_take(struct catchup_consumer *copy, const struct catchup_consumer *table,
	struct catchup_error *error);

/* Checks an ABI version alone. */
int cu_table_check_abi(unsigned major, unsigned minor, struct catchup_error *error);

/* Checks a name that a consumer is to run under: 1 byte to 1 MiB. */
int cu_table_check_name(const char *name, struct catchup_error *error);

#endif
