/* cfg.h - the shape of a program: instructions decoded, subprograms, reachability, stack depth over call chains.
 *
 * Invariants
 *   G1 After pf_cfg_build every instruction that can be reached is decoded in v->at, jumps stay within their subprogram,
 *      every subprogram ends in an exit or a jump, and no instruction is unreachable (Linux refuses dead code).
 *   G2 subs[0] is the program itself; subs are sorted by start and cover all instructions.
 *   G3 Chains of calls are at most 8 frames and 512 bytes deep, and at most 256 bytes above a frame that tail-calls.
 */
#ifndef PF_VERIFIER_CFG_H
#define PF_VERIFIER_CFG_H

#include "work.h"

enum pf_err pf_cfg_build(struct pf_verifier *v);
/* With the stack depths that exploration found. */
enum pf_err pf_cfg_depths(struct pf_verifier *v);
uint32_t pf_cfg_sub_at(const struct pf_verifier *v, uint32_t insn); /* index of the subprogram that holds it */
/* Refuses at an instruction outside any path. */
enum pf_err pf_cfg_refuse(struct pf_verifier *v, uint32_t insn, enum pf_diag_code code, int64_t found, int64_t expected,
			  const char *name);

#endif
