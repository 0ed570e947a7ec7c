/* spin.h - bpf_spin_lock: four bytes of a map value that keep its other users away for a moment.
 *
 * Terms
 *   lock     the four bytes; 0 is free. Only the type information of a map's values (BTF) tells where they are
 *   holder   a program between bpf_spin_lock and bpf_spin_unlock, or a copy under BPF_F_LOCK
 *
 * Invariants
 *   S1 Nothing but the functions here writes a lock: copies into a value leave it out, copies of a value show zeros.
 *   S2 A deleted element that is used again keeps its lock as it is: who holds it still gives it back.
 *   S3 A holder waits for nothing, so every wait ends. A program that holds one calls no helper (the verifier and the
 *      checked interpreter see to that), and whatever ends its run gives the lock back. A copy under BPF_F_LOCK may be
 *      made under a vlock (map_impl.h), never the other way round.
 *
 * Threads: any.
 */
#ifndef PF_SPIN_H
#define PF_SPIN_H

#include <sched.h>
#include <stdint.h>

#define PF_SPIN_BYTES 4u
#define PF_SPIN_TRIES 64u /* then the holder was preempted, and needs the CPU */

/* May alias whatever the value's bytes are otherwise. */
typedef uint32_t __attribute__((may_alias)) pf_spin;

static inline void pf_spin_acquire(void *at)
{
	pf_spin *lock = at;

	for (uint32_t tries = 0; __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);)
		while (__atomic_load_n(lock, __ATOMIC_RELAXED))
			if (++tries > PF_SPIN_TRIES)
				sched_yield();
}

static inline void pf_spin_release(void *at)
{
	__atomic_store_n((pf_spin *)at, 0, __ATOMIC_RELEASE);
}

#endif
