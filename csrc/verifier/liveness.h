/* liveness.h - registers and stack slots that may be read before they are written, by dataflow over the program.
 *
 * Invariants
 *   L1 A register (slot) that is not live at an instruction is read on no path from it before it is written. A frame
 *      that waits in a call has the slots live that are live at the call, which counts what the callee may read.
 *   L2 Dead registers and slots say nothing about safety: they are left out of saved states.
 */
#ifndef PF_VERIFIER_LIVENESS_H
#define PF_VERIFIER_LIVENESS_H

#include "work.h"

/* Fills in live and slots of v->at. */
enum pf_err pf_live_compute(struct pf_verifier *v);

/* Registers that one instruction reads and writes, sets by number. A local call: its arguments. */
uint32_t pf_live_uses(const struct pf_verifier *v, uint32_t i);
uint32_t pf_live_defs(const struct pf_verifier *v, uint32_t i);

#endif
