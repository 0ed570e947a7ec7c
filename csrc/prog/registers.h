/* registers.h - inside csrc/prog: a legality check that needs the whole control flow. */
#ifndef PF_PROG_REGISTERS_H
#define PF_PROG_REGISTERS_H

#include "prog.h"

/* PF_EINVAL with PROG_UNWRITTEN at the first instruction that reads a register which no path wrote. The instructions are
 * legal (pf_isa_check). */
enum pf_err pf_prog_check_registers(const struct pf_prog *prog, struct pf_diag *diag);

#endif
