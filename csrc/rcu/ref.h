/* ref.h - counted references to immutable or internally locked objects (maps, programs, bindings).
 *
 * Invariants
 *   F1 struct pf_ref is the first member of every counted object; a count of 0 means destroy was called.
 *   F2 A reference is taken only by somebody who holds one. pf_ref_put may free the object.
 *   F3 Any thread may call both. Increment is relaxed (F2); decrement is release, the last one acquires, so that
 *      destroy sees every write made under any reference.
 *   F4 A worker takes no references: what it dereferences is kept alive by the world (hook.h, invariant W2).
 */
#ifndef PF_REF_H
#define PF_REF_H

#include <stdatomic.h>
#include <stdint.h>

struct pf_ref {
	_Atomic uint64_t count;
	void (*destroy)(struct pf_ref *ref);
};

static inline void pf_ref_init(struct pf_ref *ref, void (*destroy)(struct pf_ref *))
{
	atomic_init(&ref->count, 1);
	ref->destroy = destroy;
}

static inline void pf_ref_get(struct pf_ref *ref)
{
	atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
}

/* For reports and tests: it may have changed before the caller looks at it. */
static inline uint64_t pf_ref_count(const struct pf_ref *ref)
{
	return atomic_load_explicit(&ref->count, memory_order_relaxed);
}

static inline void pf_ref_put(struct pf_ref *ref)
{
	if (atomic_fetch_sub_explicit(&ref->count, 1, memory_order_release) != 1)
		return;
	(void)atomic_load_explicit(&ref->count, memory_order_acquire); /* pairs with every release above */
	ref->destroy(ref);
}

#endif
