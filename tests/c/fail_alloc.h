/* fail_alloc.h - makes allocations of the core fail on purpose. For a test linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc; each thread has failures of its own. */
#ifndef FAIL_ALLOC_H
#define FAIL_ALLOC_H

#include <stddef.h>

/* The n-th allocation of this thread from now fails; -1: none. */
static _Thread_local long fail_after = -1;
/* How many failed. */
static _Thread_local long failed;

static int fails_now(void)
{
	if (fail_after < 0 || fail_after-- != 0)
		return 0;
	failed++;
	return 1;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

#endif
