/* SPDX-License-Identifier: MIT */
/*
 * sim_stack.c - stacks over ucontext. One that is given back is taken again first: a story needs some thirty,
 * one after the other, and fresh memory is dear.
 */
#include "sim_stack.h"

#include "sim.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES ((size_t)1 << 20)
#define GUARD_BYTES 4096

struct sim_stack {
	struct sim_stack *next; /* that is free */
	ucontext_t context;
	void *memory;           /* owned */
	void *asan;             /* its fake stack while nobody runs on it */
	void (*begin)(void);
};

static struct sim_stack *free_stacks;
static struct sim_stack *running; /* NULL: the process's own */

static void begin_here(void)
{
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
	running->begin();
	abort();
}

static struct sim_stack *make(void)
{
	struct sim_stack *stack = calloc(1, sizeof(*stack));

	SIM_CHECK(stack, "no memory");
	stack->memory = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	SIM_CHECK(stack->memory != MAP_FAILED, "no memory for a stack");
	/* What runs over its end must not reach a neighbour. */
	mprotect(stack->memory, GUARD_BYTES, PROT_NONE);
	return stack;
}

static void start_at(ucontext_t *context, void *memory)
{
	getcontext(context);
	context->uc_stack.ss_sp = memory;
	context->uc_stack.ss_size = STACK_BYTES;
	context->uc_link = NULL;
	makecontext(context, begin_here, 0);
}

struct sim_stack *sim_stack_take(void (*begin)(void))
{
	struct sim_stack *stack = free_stacks;

	if (stack)
		free_stacks = stack->next;
	else
		stack = make();
#ifdef SIM_ASAN
	/* Whoever was killed on it has left marks around variables. */
	__asan_unpoison_memory_region(stack->memory, STACK_BYTES);
	stack->asan = NULL;
#endif
	stack->begin = begin;
	start_at(&stack->context, stack->memory);
	return stack;
}

void sim_stack_give_back(struct sim_stack *stack)
{
	stack->next = free_stacks;
	free_stacks = stack;
}

void sim_stack_switch(struct sim_stack *from, struct sim_stack *to)
{
#ifdef SIM_ASAN
	__sanitizer_start_switch_fiber(from ? &from->asan : NULL, to->memory, STACK_BYTES);
#endif
	running = to;
	if (!from)
		setcontext(&to->context);
	else
		swapcontext(&from->context, &to->context);
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(from ? from->asan : NULL, NULL, NULL);
#endif
}
