/* memory.h - what a load, store or helper may touch (check), and what is known afterwards (transfer).
 *
 * Invariants
 *   K1 A check that passed proves the access for every concrete value of the pointer (state.h, Q1, Q2).
 *   K2 Transfers assume their check; they never refuse.
 */
#ifndef PF_VERIFIER_MEMORY_H
#define PF_VERIFIER_MEMORY_H

#include "work.h"

struct pf_access {
	uint32_t regno;  /* for messages */
	int32_t off;     /* of the instruction */
	uint32_t size;   /* bytes */
	bool write;
	bool atomic;     /* aligned, and not on packets */
	bool sign;       /* a sign-extending load: not of ctx */
};

/* check: a load or store by an instruction through *r. */
enum pf_err pf_check_access(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);
/* check: [r, r + size) for a helper, which reads (writes) it. */
enum pf_err pf_check_region(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a);

/* transfer: *to becomes what the load gives. sign: sign-extending. to may be the register that r came from. */
void pf_transfer_load(struct pf_verifier *v, struct pf_vreg r, const struct pf_access *a, bool sign,
		      struct pf_vreg *to);
/* transfer: value NULL means bytes of which nothing is known. */
void pf_transfer_store(struct pf_verifier *v, const struct pf_vreg *r, const struct pf_access *a,
		       const struct pf_vreg *value);
/* A stack region's bytes when they are known: true and the little-endian number of the first 8 or fewer; marks what it used. */
bool pf_memory_known(struct pf_verifier *v, const struct pf_vreg *r, uint32_t size, uint64_t *value);

#endif
