/* path.h - the branches of a path that matter for a refusal.
 *
 * Terms
 *   origin   the instruction that made a value (load, constant, call): a set, one bit for each, by number modulo 64
 *   matters  a branch whose operands share an origin with the registers that the refused instruction reads
 *
 * Invariants
 *   H1 Only messages depend on this: where a path cannot be followed again, its last branches are shown.
 */
#ifndef PF_VERIFIER_PATH_H
#define PF_VERIFIER_PATH_H

#include "work.h"

/* Fills in the result's path, for a refusal at the current instruction that is about `regs` (a set). */
void pf_path_set(struct pf_verifier *v, uint32_t regs);

#endif
