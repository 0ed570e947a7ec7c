/* rcu.c - see rcu.h for the terms and the invariants I0 to I5. */
#include "rcu.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* A waiting writer polls this long before its first nap: a batch in flight often ends within it, and a nap costs two
 * context switches. */
#define SPIN_NS 20000u
#define RELAX_PER_POLL 32u

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void pf_rcu_init(struct pf_rcu *rcu)
{
	pthread_condattr_t attr;

	memset(rcu, 0, sizeof(*rcu));
	atomic_init(&rcu->token, 1);
	atomic_init(&rcu->waiters, 0);
	for (uint32_t i = 0; i < PF_RCU_WORKERS; i++) {
		atomic_init(&rcu->workers[i].counter, 0);
		rcu->workers[i].rcu = rcu;
	}
	pthread_mutex_init(&rcu->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rcu->wake, &attr);
	pthread_condattr_destroy(&attr);
}

void pf_rcu_destroy(struct pf_rcu *rcu)
{
	uint64_t left = pf_rcu_reclaim(rcu);

	(void)PF_BUG_ON(left != 0); /* a worker is still online: release builds leak rather than free what it reads */
	pthread_cond_destroy(&rcu->wake);
	pthread_mutex_destroy(&rcu->lock);
}

struct pf_rcu_worker *pf_rcu_register(struct pf_rcu *rcu, const char *name)
{
	struct pf_rcu_worker *worker = NULL;

	pthread_mutex_lock(&rcu->lock);
	for (uint32_t i = 0; i < PF_RCU_WORKERS && !worker; i++) {
		if (rcu->workers[i].taken)
			continue;
		worker = &rcu->workers[i];
		size_t n = name ? strnlen(name, sizeof(worker->name) - 1) : 0;
		if (n)
			memcpy(worker->name, name, n);
		worker->name[n] = '\0';
		worker->taken = 1;
	}
	pthread_mutex_unlock(&rcu->lock);
	return worker;
}

void pf_rcu_unregister(struct pf_rcu_worker *worker)
{
	struct pf_rcu *rcu = worker->rcu;

	if (PF_BUG_ON(atomic_load_explicit(&worker->counter, memory_order_relaxed) != 0))
		return; /* still online: the place stays taken */
	pthread_mutex_lock(&rcu->lock);
	worker->taken = 0;
	pthread_mutex_unlock(&rcu->lock);
}

void pf_rcu_wake(struct pf_rcu *rcu)
{
	pthread_mutex_lock(&rcu->lock);
	pthread_cond_broadcast(&rcu->wake);
	pthread_mutex_unlock(&rcu->lock);
	/* A writer that was woken onto this processor would wait for the end of the worker's slice, some milliseconds: the
	 * worker, which holds nothing here, lets it go first. Where nobody waits this returns at once. */
	sched_yield();
}

uint64_t pf_rcu_advance(struct pf_rcu *rcu)
{
	uint64_t t = atomic_fetch_add_explicit(&rcu->token, 1, memory_order_release) + 1;
#ifndef PF_RCU_TSAN
	atomic_thread_fence(memory_order_seq_cst); /* fence B, pairs with fence A in pf_rcu_online (I1) */
#endif
	return t;
}

/* The lowest counter of any worker that is online, UINT64_MAX when none is. The acquire loads pair with the releases of
 * quiescent and offline (I2). */
static uint64_t oldest(struct pf_rcu *rcu)
{
	uint64_t min = UINT64_MAX;

	for (uint32_t i = 0; i < PF_RCU_WORKERS; i++) {
		uint64_t c = atomic_load_explicit(&rcu->workers[i].counter, PF_RCU_SC(memory_order_acquire));
		if (c && c < min)
			min = c;
	}
	return min;
}

int pf_rcu_passed(struct pf_rcu *rcu, uint64_t token)
{
	return oldest(rcu) >= token;
}

static enum pf_err stalled(struct pf_rcu *rcu, uint64_t token, struct pf_diag *diag)
{
	for (uint32_t i = 0; i < PF_RCU_WORKERS; i++) {
		struct pf_rcu_worker *w = &rcu->workers[i];
		uint64_t c = atomic_load_explicit(&w->counter, PF_RCU_SC(memory_order_acquire));
		if (c && c < token)
			return pf_diag_set(diag, PF_ETIMEDOUT, PF_DIAG_HOOK_STALLED, 0, 0, c, token, w->name);
	}
	return PF_OK; /* the last one passed just now */
}

/* Naps until the grace period ended or the deadline came. Called with the lock held, and counted in waiters. */
static enum pf_err nap(struct pf_rcu *rcu, uint64_t token, uint64_t deadline, struct pf_diag *diag)
{
	uint64_t length = PF_RCU_NAP_NS;

	while (!pf_rcu_passed(rcu, token)) {
		uint64_t now = now_ns();
		if (now >= deadline)
			return stalled(rcu, token, diag);
		uint64_t end = deadline - now < length ? deadline : now + length;
		struct timespec ts = {.tv_sec = (time_t)(end / 1000000000u), .tv_nsec = (long)(end % 1000000000u)};
		/* A wake-up by one of several workers does not end the period: the nap grows only when it ran out. */
		if (pthread_cond_timedwait(&rcu->wake, &rcu->lock, &ts) && length < PF_RCU_NAP_NS * UINT64_C(64))
			length *= 2;
	}
	return PF_OK;
}

enum pf_err pf_rcu_wait(struct pf_rcu *rcu, uint64_t token, uint64_t timeout_ns, const struct pf_rcu_worker *self,
			struct pf_diag *diag)
{
	if (pf_rcu_passed(rcu, token))
		return PF_OK;
	if (self) {
		uint64_t c = atomic_load_explicit(&self->counter, memory_order_relaxed);
		if (c && c < token)
			return pf_diag_set(diag, PF_EDEADLK, PF_DIAG_HOOK_SELF_WAIT, 0, 0, c, token, self->name);
	}
	uint64_t start = now_ns();
	uint64_t deadline = timeout_ns > UINT64_MAX - start ? UINT64_MAX : start + timeout_ns;
	uint64_t spin_end = timeout_ns < SPIN_NS ? deadline : start + SPIN_NS;
	do {
		for (uint32_t i = 0; i < RELAX_PER_POLL; i++)
			cpu_relax();
		if (pf_rcu_passed(rcu, token))
			return PF_OK;
	} while (now_ns() < spin_end);

	pthread_mutex_lock(&rcu->lock);
	atomic_fetch_add_explicit(&rcu->waiters, 1, memory_order_seq_cst);
	enum pf_err err = nap(rcu, token, deadline, diag);
	atomic_fetch_sub_explicit(&rcu->waiters, 1, memory_order_relaxed);
	pthread_mutex_unlock(&rcu->lock);
	return err;
}

void pf_rcu_retire(struct pf_rcu *rcu, struct pf_rcu_head *head, uint64_t token)
{
	head->token = token;
	pthread_mutex_lock(&rcu->lock);
	if (!rcu->retired_last || rcu->retired_last->token <= token) {
		head->next = NULL;
		if (rcu->retired_last)
			rcu->retired_last->next = head;
		else
			rcu->retired_first = head;
		rcu->retired_last = head;
	} else {
		/* An update that was slower to retire than its successor: find its place (token order). */
		struct pf_rcu_head **at = &rcu->retired_first;
		while ((*at)->token <= token)
			at = &(*at)->next;
		head->next = *at;
		*at = head;
	}
	rcu->retired_count++;
	pthread_mutex_unlock(&rcu->lock);
}

uint64_t pf_rcu_reclaim(struct pf_rcu *rcu)
{
	struct pf_rcu_head *free_first = NULL, **free_end = &free_first;

	pthread_mutex_lock(&rcu->lock);
	/* Every token on the list was advanced before it came here, so this one scan is after fence B of each (I3). */
	uint64_t passed = oldest(rcu);
	while (rcu->retired_first && rcu->retired_first->token <= passed) {
		*free_end = rcu->retired_first;
		free_end = &rcu->retired_first->next;
		rcu->retired_first = rcu->retired_first->next;
		rcu->retired_count--;
		rcu->freed_count++;
	}
	*free_end = NULL;
	if (!rcu->retired_first)
		rcu->retired_last = NULL;
	uint64_t left = rcu->retired_count;
	pthread_mutex_unlock(&rcu->lock);

	while (free_first) { /* outside the lock: a destructor may take locks of its own */
		struct pf_rcu_head *next = free_first->next;
		free_first->free(free_first);
		free_first = next;
	}
	return left;
}
