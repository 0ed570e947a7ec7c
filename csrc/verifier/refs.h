/* refs.h - references: what a helper acquires, and the program must release.
 *
 * Terms
 *   reference  what a call of a helper with PF_HELPER_ACQUIRES leaves held; its id is the id of every copy of the pointer
 *   held       acquired, not yet released, and not known to be NULL
 *
 * Invariants
 *   R1 A pointer that is `acquired` has the id of a held reference, or it is no pointer any more: releasing makes all copies,
 *      spilled ones included, unknown numbers, and so does finding that it is NULL.
 *   R2 Where the program or a global function ends, or a tail call may leave the first frame, nothing is held.
 *   R3 Two states are compared with what they hold, in the order of acquisition (prune.c).
 */
#ifndef PF_VERIFIER_REFS_H
#define PF_VERIFIER_REFS_H

#include "memory.h"

/* check: nothing is held where something called `what` comes. */
enum pf_err pf_refs_check_none(struct pf_verifier *v, const char *what);
/* check: what the call acquires or releases, its arguments checked already. */
enum pf_err pf_refs_check_call(struct pf_verifier *v, const struct pf_helper_info *info);
/* check: a load from, or store to, a socket. */
enum pf_err pf_refs_check_load(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);
/* check: a load from, or store to, a connection. */
enum pf_err pf_refs_check_conn(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);

/* transfer: *r is what a call at v->cur.at acquired. */
void pf_refs_acquire(struct pf_verifier *v, struct pf_vreg *r);
/* transfer: the reference is given back (R1). */
void pf_refs_release(struct pf_verifier *v, uint32_t id);
/* transfer: it was NULL; the copies are the caller's. */
void pf_refs_forget(struct pf_verifier *v, uint32_t id);

#endif
