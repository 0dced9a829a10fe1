/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <errno.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static atomic_long first = 0; /* 0: none fails */
static atomic_bool all_after = false;
static atomic_long count, failures, live;

void alloc_fail(long nth, bool from_then_on)
{
	atomic_store(&first, 0);
	atomic_store(&count, 0);
	atomic_store(&failures, 0);
	atomic_store(&all_after, from_then_on);
	atomic_store(&first, nth);
}

long alloc_count(void)
{
	return atomic_load(&count);
}

long alloc_failures(void)
{
	return atomic_load(&failures);
}

long alloc_live(void)
{
	return atomic_load(&live);
}

static bool fails(void)
{
	long n = atomic_fetch_add(&count, 1) + 1, at = atomic_load(&first);

	if (at == 0 || n < at || (n > at && !atomic_load(&all_after)))
		return false;
	atomic_fetch_add(&failures, 1);
	return true;
}

static void *born(void *block)
{
	if (block)
		atomic_fetch_add(&live, 1);
	return block;
}

/* ---- libc's ---------------------------------------------------------------------------------- */

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t bytes);
char *__real_realpath(const char *path, char *to);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *block);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t bytes);
int __wrap_asprintf(char **to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *__wrap_realpath(const char *path, char *to);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *block);

void *__wrap_malloc(size_t bytes)
{
	return fails() ? NULL : born(__real_malloc(bytes));
}

void *__wrap_calloc(size_t n, size_t bytes)
{
	return fails() ? NULL : born(__real_calloc(n, bytes));
}

void *__wrap_realloc(void *old, size_t bytes)
{
	void *block = fails() ? NULL : __real_realloc(old, bytes);

	return old ? block : born(block);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : born(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t bytes)
{
	return fails() ? NULL : born(__real_strndup(text, bytes));
}

int __wrap_asprintf(char **to, const char *fmt, ...)
{
	va_list ap;
	int n;

	*to = NULL;
	if (fails())
		return -1;
	va_start(ap, fmt);
	n = vasprintf(to, fmt, ap);
	va_end(ap);
	born(n < 0 ? NULL : *to);
	return n;
}

char *__wrap_realpath(const char *path, char *to)
{
	if (to)
		return __real_realpath(path, to);
	if (fails()) {
		errno = ENOMEM;
		return NULL;
	}
	return born(__real_realpath(path, NULL));
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
	return fails() ? NULL : born(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *block)
{
	if (block)
		atomic_fetch_sub(&live, 1);
	__real_free(block);
}

/* ---- SQLite's -------------------------------------------------------------------------------- */

static sqlite3_mem_methods real;

static void *sqlite_malloc(int bytes)
{
	return fails() ? NULL : born(real.xMalloc(bytes));
}

static void *sqlite_realloc(void *old, int bytes)
{
	return fails() ? NULL : real.xRealloc(old, bytes);
}

static void sqlite_free(void *block)
{
	if (block)
		atomic_fetch_sub(&live, 1);
	real.xFree(block);
}

void alloc_install(void)
{
	sqlite3_mem_methods wrapped;

	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
	wrapped = real;
	wrapped.xMalloc = sqlite_malloc;
	wrapped.xRealloc = sqlite_realloc;
	wrapped.xFree = sqlite_free;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &wrapped), SQLITE_OK);
}
