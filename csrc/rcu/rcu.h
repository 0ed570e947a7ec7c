/* rcu.h - quiescent-state-based reclamation: when may the writer free what workers were reading?
 *
 * Terms
 *   token       64-bit number of the last publication; starts at 1
 *   counter     per worker: the token it had seen at its last quiescent state; 0 while offline
 *   online      between pf_rcu_online and pf_rcu_offline; only then may the worker dereference a slot
 *   quiescent   a point at which the worker holds no pointer it got from a slot
 *   grace period from pf_rcu_advance until every counter is 0 or at least the returned token
 *
 * Invariants
 *   I0 Tokens start at 1; a counter never holds 0 while its worker is online. One cache line per counter.
 *   I1 online: load token, store it in the own counter, FENCE A (seq_cst), then the first slot load (acquire). Fence A
 *      pairs with fence B: without it the slot load may pass the counter store, the writer sees 0, and frees what is
 *      being read. It also makes the relaxed load of the token an acquire: who stores t sees t's exchange.
 *   I2 quiescent: after the last dereference load token (acquire), store it in the own counter (release).
 *      offline: store 0 (release). The release pairs with the writer's acquire poll: the worker's reads of the old
 *      object happen before its freeing.
 *   I3 writer (serialized by its caller's lock, which also orders it after earlier writers: the exchange acquires
 *      nothing): exchange the slot (release); pf_rcu_advance: t = ++token (release), FENCE B (seq_cst); then poll
 *      counters (acquire). An object retired by this update carries t.
 *   I4 An object is freed only when every counter is 0 or >= its t.
 *
 * I0 to I4 are checked exhaustively on a weakly ordered machine, and each step and order with a counterexample of what
 * happens without it: tests/model.
 *
 * Threads: online/quiescent/offline by the worker's own thread. advance/retire/reclaim by the serialized writer.
 * register/unregister/wait by any thread that is not online. pf_rcu_wait polls for 20 us at most, which most batches in
 * flight take to end, and then sleeps: a worker that passes a quiescent state while somebody waits wakes it (I5) and gives
 * up its processor once, offline or between two batches, so that the writer runs first; a wake-up lost to reordering
 * costs one PF_RCU_NAP_NS, never correctness.
 */
#ifndef PF_RCU_H
#define PF_RCU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "../tables/tables.h"

#define PF_RCU_WORKERS 64
#define PF_RCU_NAP_NS 100000 /* first nap of a waiting writer; doubles up to 64 times this */
#define PF_CACHE_LINE 64

/* ThreadSanitizer does not model lone fences (and gcc refuses them there). Such builds have none: the four operations
 * between which the fences stand are seq_cst instead (slot exchange, poll; counter store, slot load). In their total order
 * either the counter's store precedes the poll, which sees it, or the exchange precedes the slot's load, which sees that:
 * what fences A and B ensure, by C11's rules and on every machine. Online's token load is then an acquire of its own. The
 * happens-before edges that the sanitizer checks are I2's in both builds. */
#if defined(__SANITIZE_THREAD__)
#define PF_RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PF_RCU_TSAN 1
#endif
#endif
/* The order of an operation that a fence stands beside. Whoever has a slot uses it for its exchange and its loads. */
#ifdef PF_RCU_TSAN
#define PF_RCU_SC(order) memory_order_seq_cst
#else
#define PF_RCU_SC(order) order
#endif

struct pf_rcu;

struct pf_rcu_worker {
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t counter;
	struct pf_rcu *rcu;
	uint32_t taken; /* under rcu->lock */
	char name[PF_NAME_MAX - 32];
};

/* Embedded in every object that can be retired. */
struct pf_rcu_head {
	struct pf_rcu_head *next;
	uint64_t token;
	void (*free)(struct pf_rcu_head *head);
};

struct pf_rcu {
	_Alignas(PF_CACHE_LINE) _Atomic uint64_t token;
	_Atomic uint32_t waiters; /* I5 */
	_Alignas(PF_CACHE_LINE) struct pf_rcu_worker workers[PF_RCU_WORKERS];
	pthread_mutex_t lock; /* registration, retired list, sleeping */
	pthread_cond_t wake;
	struct pf_rcu_head *retired_first, *retired_last; /* in token order */
	uint64_t retired_count;
	uint64_t freed_count;
};

void pf_rcu_init(struct pf_rcu *rcu);
/* All workers unregistered; frees everything retired. */
void pf_rcu_destroy(struct pf_rcu *rcu);

/* A free worker place, offline; NULL when all PF_RCU_WORKERS are taken. */
struct pf_rcu_worker *pf_rcu_register(struct pf_rcu *rcu, const char *name);
void pf_rcu_unregister(struct pf_rcu_worker *worker);

void pf_rcu_wake(struct pf_rcu *rcu); /* slow path of I5 */

static inline void pf_rcu_online(struct pf_rcu_worker *w)
{
#ifdef PF_RCU_TSAN
	uint64_t t = atomic_load_explicit(&w->rcu->token, memory_order_acquire);
	atomic_store_explicit(&w->counter, t, memory_order_seq_cst);
#else
	uint64_t t = atomic_load_explicit(&w->rcu->token, memory_order_relaxed);
	atomic_store_explicit(&w->counter, t, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst); /* fence A, pairs with fence B in pf_rcu_advance (I1) */
#endif
}

static inline void pf_rcu_quiescent(struct pf_rcu_worker *w)
{
	uint64_t t = atomic_load_explicit(&w->rcu->token, memory_order_acquire);
	atomic_store_explicit(&w->counter, t, memory_order_release);
	if (PF_UNLIKELY(atomic_load_explicit(&w->rcu->waiters, memory_order_relaxed)))
		pf_rcu_wake(w->rcu);
}

static inline void pf_rcu_offline(struct pf_rcu_worker *w)
{
	atomic_store_explicit(&w->counter, 0, memory_order_release);
	if (PF_UNLIKELY(atomic_load_explicit(&w->rcu->waiters, memory_order_relaxed)))
		pf_rcu_wake(w->rcu);
}

/* Starts a grace period after the caller exchanged the slot; returns its token (I3). */
uint64_t pf_rcu_advance(struct pf_rcu *rcu);

/* True when the grace period of token has ended (I4); does not block. */
int pf_rcu_passed(struct pf_rcu *rcu, uint64_t token);

/* Waits for the grace period of token. PF_ETIMEDOUT after timeout_ns (UINT64_MAX: no limit), with the stalled worker's
 * name in diag. self: the caller's own worker (or NULL); waiting for it while it is online is PF_EDEADLK. */
enum pf_err pf_rcu_wait(struct pf_rcu *rcu, uint64_t token, uint64_t timeout_ns, const struct pf_rcu_worker *self,
			struct pf_diag *diag);

/* Hands an object over with the token of the update that unlinked it; pf_rcu_reclaim frees all whose time has come and
 * returns how many stay. Neither blocks. */
void pf_rcu_retire(struct pf_rcu *rcu, struct pf_rcu_head *head, uint64_t token);
uint64_t pf_rcu_reclaim(struct pf_rcu *rcu);

#endif
