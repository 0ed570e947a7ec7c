/* registers.c - what instructions read and write; refuses a read of a register that no path to it has written.
 *
 * A checked run cannot tell such a read from a good one: registers hold something. Forward dataflow over the set of
 * registers that may have been written (a union at joins, so only what is wrong on every path is refused; the verifier
 * refuses what is wrong on one). Each slot changes at most eleven times, so time and memory are linear in the program.
 */
#include "registers.h"

#include <stdlib.h>

#define REG(n) (1u << (n))
#define ARGUMENTS (REG(1) | REG(2) | REG(3) | REG(4) | REG(5))
#define REACHED 0x8000u

struct flow {
	const struct pf_prog *prog;
	uint16_t *before; /* registers that may have been written before the slot; REACHED once any path gets there */
	uint32_t *pending;
	uint8_t *queued;
	uint32_t count;
};

static void arrive(struct flow *f, uint32_t at, uint32_t written)
{
	const uint16_t now = (uint16_t)(f->before[at] | REACHED | written);
	if (now == f->before[at])
		return;
	f->before[at] = now;
	if (f->queued[at])
		return;
	f->queued[at] = 1;
	f->pending[f->count++] = at;
}

static uint32_t helper_arguments(uint32_t number)
{
	const struct pf_helper_info *info = pf_helper_info(number);
	uint32_t reads = 0;
	for (uint32_t i = 0; info && i < 5; i++)
		if (info->args[i] != PF_ARG_NONE)
			reads |= REG(1 + i);
	return reads;
}

static int is_cmpxchg(enum pf_op op)
{
	return op == PF_OP_ATOMIC64_CMPXCHG || op == PF_OP_ATOMIC32_CMPXCHG;
}

uint32_t pf_prog_reads(enum pf_op op, struct pf_insn insn)
{
	const uint32_t dst = REG(insn.dst), src = REG(insn.src);
	const int move = (insn.code & 0xf0) == 0xb0;
	switch (pf_isa_info(op)->form) {
	case PF_FORM_ALU_IMM:
		return move ? 0 : dst;
	case PF_FORM_ALU_REG:
		return move ? src : dst | src;
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_ST:
	case PF_FORM_JMP_IMM:
		return dst;
	case PF_FORM_LDX:
	case PF_FORM_LOAD_ACQ:
		return src;
	case PF_FORM_STX:
	case PF_FORM_STORE_REL:
	case PF_FORM_JMP_REG:
		return dst | src;
	case PF_FORM_ATOMIC:
		return dst | src | (is_cmpxchg(op) ? REG(0) : 0);
	case PF_FORM_CALL:
	case PF_FORM_CALL_KFUNC:
		return pf_prog_calls_row(op) ? helper_arguments((uint32_t)insn.imm) : 0;
	case PF_FORM_EXIT:
		return REG(0);
	case PF_FORM_LDDW:
	case PF_FORM_JA:
	case PF_FORM_JA32:
	case PF_FORMS:
		break;
	}
	return 0;
}

uint32_t pf_prog_writes(enum pf_op op, struct pf_insn insn)
{
	switch (pf_isa_info(op)->form) {
	case PF_FORM_ALU_IMM:
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_LDDW:
	case PF_FORM_LDX:
	case PF_FORM_LOAD_ACQ:
		return REG(insn.dst);
	case PF_FORM_ATOMIC:
		if (is_cmpxchg(op))
			return REG(0);
		return insn.imm & 1 ? REG(insn.src) : 0;
	case PF_FORM_CALL:
	case PF_FORM_CALL_KFUNC:
		return REG(0) | ARGUMENTS;
	case PF_FORM_ST:
	case PF_FORM_STX:
	case PF_FORM_STORE_REL:
	case PF_FORM_JA:
	case PF_FORM_JA32:
	case PF_FORM_JMP_IMM:
	case PF_FORM_JMP_REG:
	case PF_FORM_EXIT:
	case PF_FORMS:
		break;
	}
	return 0;
}

/* What may hold something of use after the instruction. A call leaves nothing in the registers of its arguments. */
static uint32_t after(enum pf_op op, struct pf_insn insn, uint32_t written)
{
	const enum pf_form form = pf_isa_info(op)->form;
	if (form == PF_FORM_CALL || form == PF_FORM_CALL_KFUNC)
		return (written & ~ARGUMENTS) | REG(0);
	return written | pf_prog_writes(op, insn);
}

/* The slots that control may go to from `at`, and the functions it may enter. */
static void go_on(struct flow *f, uint32_t at, enum pf_op op, uint32_t written)
{
	const struct pf_insn insn = f->prog->insns[at];
	const enum pf_form form = pf_isa_info(op)->form;
	if (form == PF_FORM_JA || form == PF_FORM_JA32) {
		arrive(f, at + 1 + (uint32_t)(form == PF_FORM_JA ? insn.off : insn.imm), written);
		return;
	}
	if (form == PF_FORM_EXIT)
		return;
	if (form == PF_FORM_JMP_IMM || form == PF_FORM_JMP_REG)
		arrive(f, at + 1 + (uint32_t)(int32_t)insn.off, written);
	if (op == PF_OP_CALL_LOCAL || op == PF_OP_LDDW_FUNC)
		arrive(f, at + 1 + (uint32_t)insn.imm, ARGUMENTS | REG(10));
	arrive(f, at + (form == PF_FORM_LDDW ? 2 : 1), written);
}

static enum pf_err judge(const struct flow *f, uint32_t at, struct pf_diag *diag)
{
	const struct pf_insn insn = f->prog->insns[at];
	const enum pf_op op = pf_isa_op(insn);
	const uint32_t missing = pf_prog_reads(op, insn) & ~(uint32_t)f->before[at];
	if (!missing || op == PF_OP_EXIT) /* a subprogram may return nothing */
		return PF_OK;
	return pf_diag_set(diag, PF_EINVAL, PF_DIAG_PROG_UNWRITTEN, at, 0, (uint32_t)__builtin_ctz(missing), 0, NULL);
}

enum pf_err pf_prog_check_registers(const struct pf_prog *prog, struct pf_diag *diag)
{
	struct flow f = {
		.prog = prog,
		.before = calloc(prog->count, sizeof(*f.before)),
		.pending = malloc(prog->count * sizeof(*f.pending)),
		.queued = calloc(prog->count, 1),
	};
	enum pf_err err = PF_OK;
	if (!f.before || !f.pending || !f.queued)
		err = pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NONE, 0, 0, 0, 0, NULL);
	else
		arrive(&f, 0, REG(1) | (prog->type == PF_PROG_MEMORY ? REG(2) : 0) | REG(10));
	/* A read is judged by what every path may have written, so first let all paths arrive. */
	while (!err && f.count) {
		const uint32_t at = f.pending[--f.count];
		f.queued[at] = 0;
		const struct pf_insn insn = prog->insns[at];
		const enum pf_op op = pf_isa_op(insn);
		go_on(&f, at, op, after(op, insn, f.before[at]));
	}
	for (uint32_t at = 0; !err && at < prog->count; at++)
		if (f.before[at])
			err = judge(&f, at, diag);
	free(f.before);
	free(f.pending);
	free(f.queued);
	return err;
}
