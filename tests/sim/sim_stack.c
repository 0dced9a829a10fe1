/* SPDX-License-Identifier: MIT */
/*
 * sim_stack.c - stacks over ucontext, whose switches ask the kernel for the signal mask each time: so it only
 * brings about the first on a stack, and setjmp all others. One that is given back is taken again first: a
 * story needs some thirty, one after the other, and fresh memory is dear.
 */
/* With it longjmp takes a stack that lies elsewhere for a mistake. */
#undef _FORTIFY_SOURCE
#include "sim_stack.h"

#include "sim.h"

#include <setjmp.h>
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
	bool begun;
	ucontext_t context;
	jmp_buf left;           /* while nobody runs on it, once it has begun */
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
	stack->begun = false;
	start_at(&stack->context, stack->memory);
	return stack;
}

void sim_stack_give_back(struct sim_stack *stack)
{
	stack->next = free_stacks;
	free_stacks = stack;
}

#ifdef SIM_ASAN
/* It forgets what it knows of a stack that longjmp leaves, so here it is ucontext each time. */
void sim_stack_switch(struct sim_stack *from, struct sim_stack *to)
{
	__sanitizer_start_switch_fiber(from ? &from->asan : NULL, to->memory, STACK_BYTES);
	running = to;
	if (from)
		swapcontext(&from->context, &to->context);
	else
		setcontext(&to->context);
	__sanitizer_finish_switch_fiber(from ? from->asan : NULL, NULL, NULL);
}
#else
static _Noreturn void go_on(struct sim_stack *to)
{
	running = to;
	if (to->begun)
		_longjmp(to->left, 1);
	to->begun = true;
	setcontext(&to->context);
	abort();
}

void sim_stack_switch(struct sim_stack *from, struct sim_stack *to)
{
	if (!from || _setjmp(from->left) == 0)
		go_on(to);
}
#endif
