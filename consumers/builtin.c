/* SPDX-License-Identifier: MIT */
/*
 * builtin.c - the list of built-in consumers. A new one is one line in BUILTIN_MAP.
 */
#include "builtin.h"

#include <catchup/consumer.h>

#define BUILTIN_MAP(X)                                                                             \
	X(changelog)                                                                               \
	X(honeywell5800_receive)                                                                   \
	X(honeywell5800_trips)                                                                     \
	X(rtl433_models)                                                                           \
	X(user_names)

#define X(id) extern const struct catchup_consumer catchup_consumer_##id;
BUILTIN_MAP(X)
#undef X

const struct catchup_consumer *const catchup_builtin_consumers[] = {
#define X(id) &catchup_consumer_##id,
	BUILTIN_MAP(X)
#undef X
		NULL,
};
