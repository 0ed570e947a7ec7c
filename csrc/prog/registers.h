/* registers.h - a check for programs that nobody verifies: no read of a register that no path has written.
 *
 * Threads: any.
 */
#ifndef PF_PROG_REGISTERS_H
#define PF_PROG_REGISTERS_H

#include "prog.h"

/* PF_EINVAL with PROG_UNWRITTEN at the first instruction that reads a register which no path wrote. The instructions are
 * legal (pf_isa_check). */
PF_API enum pf_err pf_prog_check_registers(const struct pf_prog *prog, struct pf_diag *diag);

#endif
