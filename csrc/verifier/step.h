/* step.h - one instruction: what must hold before it (check), what holds after it (transfer).
 *
 * Invariants
 *   X1 A check changes nothing but marks and stack depths; PF_OK means that the instruction is safe in every concrete
 *      state of the current one.
 *   X2 A transfer assumes its check and never refuses; afterwards the current state holds every concrete state that
 *      the instruction can lead to.
 */
#ifndef PF_VERIFIER_STEP_H
#define PF_VERIFIER_STEP_H

#include "memory.h"

/* Registers an instruction reads are written to. */
enum pf_err pf_check_read(struct pf_verifier *v, uint32_t regs);
enum pf_err pf_check_insn(struct pf_verifier *v, uint32_t i);
/* ALU, loads, stores; control flow is explore.c's, calls are call.c's. */
void pf_transfer_insn(struct pf_verifier *v, uint32_t i);

/* Helper calls. After PF_OK the current state stands behind the call; when *callback is set, the state in the callback
 * was put on the worklist. */
enum pf_err pf_call_helper(struct pf_verifier *v, uint32_t i);
/* The argument is not what the helper takes: `expected` says what that is. */
enum pf_err pf_call_refuse_arg(struct pf_verifier *v, const struct pf_helper_info *info, uint32_t a, const char *expected);
/* What any call leaves behind: r0 to r5 unreadable; no pointer into a packet that may have moved, in any frame. */
void pf_call_clobber(struct pf_verifier *v);
void pf_call_forget_packet(struct pf_verifier *v, uint32_t call);
/* A new frame, nothing but r10 in it. */
struct pf_vframe *pf_call_enter(struct pf_verifier *v, uint32_t i, uint32_t sub, enum pf_vcallback how);
enum pf_err pf_call_return_from_tail(struct pf_verifier *v);
/* Local calls: the current state stands at the start of the callee, or behind the call of a global function. */
enum pf_err pf_call_local(struct pf_verifier *v, uint32_t i);
/* exit in a frame above the first. */
enum pf_err pf_call_return(struct pf_verifier *v);

/* Puts the current state on the worklist, to go on at `at` (explore.c). */
enum pf_err pf_explore_push(struct pf_verifier *v, uint32_t at);
/* The last state saved at `at` in the current path with the same depth; NULL if none. */
const struct pf_packed *pf_explore_previous(struct pf_verifier *v, uint32_t at);

#endif
