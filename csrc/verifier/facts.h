/* facts.h - joins over all states that come to an instruction (verifier.h, Y3).
 *
 * The exploration runs a second time, over the same paths, when it is known which scalars a proof needed: the value of a
 * scalar that no proof needed holds on its own path only, since states were pruned without regard to it.
 */
#ifndef PF_VERIFIER_FACTS_H
#define PF_VERIFIER_FACTS_H

#include "work.h"

void pf_facts_record(struct pf_verifier *v, uint32_t i);

#endif
