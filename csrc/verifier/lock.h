/* lock.h - bpf_spin_lock regions.
 *
 * Terms
 *   lock    4 bytes of a map value, at an offset that the map's type information names (struct pf_map_lock)
 *   region  the instructions between bpf_spin_lock and bpf_spin_unlock of one value
 *
 * Invariants
 *   L3 At most one lock is held, and it is given back before the program ends, before a callback returns, and by the value
 *      that it was taken of: values keep the id of their lookup, so that two of them are told apart.
 *   L4 While it is held only instructions and static functions of the program run: nothing that could take another.
 *   L5 No load, store or helper touches a lock's bytes.
 */
#ifndef PF_VERIFIER_LOCK_H
#define PF_VERIFIER_LOCK_H

#include "memory.h"

/* Of the value that *r points into; NULL if it has none. */
const struct pf_map_lock *pf_lock_of(const struct pf_verifier *v, const struct pf_vreg *r);
/* check: an access to a map value, bounds proved already. */
enum pf_err pf_lock_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);
/* check: nothing is held where something called `what` comes. */
enum pf_err pf_lock_check_free(struct pf_verifier *v, enum pf_diag_code code, const char *what);
/* check: r1 is the lock that the helper takes (gives back). transfer: it is held (free). */
enum pf_err pf_lock_check_call(struct pf_verifier *v, uint32_t helper);
void pf_lock_transfer_call(struct pf_verifier *v, uint32_t helper);

#endif
