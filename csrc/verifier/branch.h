/* branch.h - conditional jumps: which way can they go, and what does each way prove?
 *
 * Invariants
 *   B1 pf_branch_decide is 0 or 1 only if no concrete state goes the other way; what the answer rests on is marked.
 *   B2 pf_branch_refine keeps every concrete state that goes the given way.
 */
#ifndef PF_VERIFIER_BRANCH_H
#define PF_VERIFIER_BRANCH_H

#include "work.h"

/* 1: taken, 0: not taken, -1: either. */
int pf_branch_decide(struct pf_verifier *v, uint32_t i);
/* Narrows the current state to those that go this way; false: there are none. */
bool pf_branch_refine(struct pf_verifier *v, uint32_t i, bool taken);

/* Calls visit for every register and spilled register of every frame. */
void pf_v_each_reg(struct pf_verifier *v, void (*visit)(struct pf_verifier *v, struct pf_vreg *r, void *user),
		   void *user);

#endif
