/* admit.h - the one way in which a program becomes verified.
 *
 * Invariants
 *   N1 A program is marked only after pf_verify accepted exactly its instructions, with the definitions of its own maps.
 *
 * Threads: the program's creator, before anybody else sees the program.
 */
#ifndef PF_ADMIT_H
#define PF_ADMIT_H

#include "verifier.h"

/* Verifies a created program, and marks it. Of options only funcs, gpl_compatible, cpus, want, budget, memory_limit, log
 * and user are used. Results as pf_verify; out of memory for the definitions is a refusal (a map's number is then unknown). */
PF_API enum pf_err pf_verify_program(struct pf_prog *prog, const struct pf_verify_input *options,
				     struct pf_verify_result *result);

#endif
