/* prune.h - is everything that can happen from one state covered by what was explored from another?
 *
 * Invariants
 *   U1 pf_prune_covers(old, now) true: every concrete state of the current state is one of old's, but for scalars on
 *      which no proof from old rests. exact: for all scalars.
 */
#ifndef PF_VERIFIER_PRUNE_H
#define PF_VERIFIER_PRUNE_H

#include "work.h"

enum pf_cover { PF_COVER_PRECISE, PF_COVER_WITHIN, PF_COVER_SAME };

/* PRECISE: imprecise scalars of old match anything. WITHIN: every scalar counts. SAME: equal, not only within. */
bool pf_prune_covers(struct pf_verifier *v, const struct pf_packed *old, enum pf_cover cover);
/* What is needed of old is needed of the current state: marks at once, and links for marks to come. What is not needed
 * and different is released. */
void pf_prune_inherit(struct pf_verifier *v, const struct pf_packed *old);
/* Scalars that changed since old and that nothing needed become unknown, so that the loop they change in converges. */
void pf_prune_widen(struct pf_verifier *v, const struct pf_packed *old);

#endif
