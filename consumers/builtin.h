/* SPDX-License-Identifier: MIT */
/*
 * builtin.h - the consumers that are linked into the program.
 */
#ifndef CONSUMERS_BUILTIN_H
#define CONSUMERS_BUILTIN_H

struct catchup_consumer;

/* In the order in which they are shown; ended by NULL. Fits catchup_options.builtins. */
extern const struct catchup_consumer *const catchup_builtin_consumers[];

#endif
