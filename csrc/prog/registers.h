/* registers.h - the registers that instructions read and write; a check for programs that nobody verifies: no read of a
 * register that no path has written.
 *
 * Terms
 *   set   of registers: bit n is rn
 *
 * Threads: any.
 */
#ifndef PF_PROG_REGISTERS_H
#define PF_PROG_REGISTERS_H

#include "prog.h"

/* Sets that one legal instruction reads and writes. A local call reads what its function does, which the caller must know:
 * nothing here. A call writes r0 to r5: the result, and registers whose contents are lost. */
uint32_t pf_prog_reads(enum pf_op op, struct pf_insn insn);
uint32_t pf_prog_writes(enum pf_op op, struct pf_insn insn);

/* PF_EINVAL with PROG_UNWRITTEN at the first instruction that reads a register which no path wrote. The instructions are
 * legal (pf_isa_check). */
PF_API enum pf_err pf_prog_check_registers(const struct pf_prog *prog, struct pf_diag *diag);

#endif
