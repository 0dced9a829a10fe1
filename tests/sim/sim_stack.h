/* SPDX-License-Identifier: MIT */
/*
 * sim_stack.h - stacks to run on, and the way from one to another.
 */
#ifndef SIM_STACK_H
#define SIM_STACK_H

#include <stdbool.h>

struct sim_stack;

/* Whoever switches to it first begins there with begin(), which must never return. */
struct sim_stack *sim_stack_take(void (*begin)(void));
/* Nobody may run on it any more. */
void sim_stack_give_back(struct sim_stack *stack);

/* Leaves the stack that the caller runs on and goes on where `to` was left. Returns when somebody switches
 * back to `from`; NULL when nobody will. */
void sim_stack_switch(struct sim_stack *from, struct sim_stack *to);

#endif
