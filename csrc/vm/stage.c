/* stage.c - lowering: from bytecode to what the loop executes, slot by slot. */
#include "interp.h"

#include <stdlib.h>
#include <string.h>

#define R10 10

/* The ctx field that this type of program has at this offset; PF_CTX_FIELDS if there is none. */
static enum pf_ctx_field ctx_field(enum pf_prog_type type, uint64_t offset)
{
#define PF_CTX_FIELD(name, offset_, size, kind, access, types)                                                         \
	if (offset == offset_ && PF_CTX_TYPES_##types >> type & 1)                                                     \
		return PF_CTX_##name;
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
	return PF_CTX_FIELDS;
}

int pf_vm_ctx_load(const struct pf_exec *x, uint64_t offset, uint64_t *value)
{
	const struct pf_packet *p = &x->packet;
	switch (ctx_field(x->prog->type, offset)) {
#define PF_CTX_FIELD(name, offset_, size, kind, access, types)                                                         \
	case PF_CTX_##name:                                                                                            \
		*value = PF_CTX_VALUE_##kind(p, name);                                                                 \
		return 1;
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
	case PF_CTX_FIELDS:
		break;
	}
	return 0;
}

/* Is the field a number, no address? */
static int is_number(enum pf_ctx_field field)
{
	enum kind { PACKET, PACKET_END, PACKET_META, SCALAR };
	switch (field) {
#define PF_CTX_FIELD(name, offset, size, kind, access, types)                                                          \
	case PF_CTX_##name:                                                                                            \
		return kind == SCALAR;
#include "../tables/ctx_field.def"
#undef PF_CTX_FIELD
	case PF_CTX_FIELDS:
		break;
	}
	return 0;
}

int pf_vm_ctx_load_signed(const struct pf_exec *x, uint64_t offset, uint64_t *value)
{
	if (!is_number(ctx_field(x->prog->type, offset)) || !pf_vm_ctx_load(x, offset, value))
		return 0;
	*value = (uint64_t)(int32_t)*value;
	return 1;
}

/* How far below r10 this instruction reaches; PF_STACK_FRAME when r10 goes into another register or into memory (then
 * nothing is known of where it ends up). */
static uint32_t stack_reach(struct pf_insn insn, enum pf_form form)
{
	const uint32_t below = insn.off >= 0 ? 0 : insn.off < -(int)PF_STACK_FRAME ? PF_STACK_FRAME : (uint32_t)-insn.off;
	switch (form) {
	case PF_FORM_LDX:
	case PF_FORM_LOAD_ACQ:
		return insn.src == R10 ? below : 0;
	case PF_FORM_ST:
		return insn.dst == R10 ? below : 0;
	case PF_FORM_STX:
	case PF_FORM_ATOMIC:
	case PF_FORM_STORE_REL:
		return insn.src == R10 ? PF_STACK_FRAME : insn.dst == R10 ? below : 0;
	case PF_FORM_ALU_REG:
		return insn.src == R10 ? PF_STACK_FRAME : 0;
	case PF_FORM_ALU_IMM:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_LDDW:
	case PF_FORM_JA:
	case PF_FORM_JA32:
	case PF_FORM_JMP_IMM:
	case PF_FORM_JMP_REG:
	case PF_FORM_CALL:
	case PF_FORM_CALL_KFUNC:
	case PF_FORM_EXIT:
	case PF_FORMS:
		break;
	}
	return 0;
}

/* The 64-bit value of an ld_imm64; maps and values were found when the program was made. */
static uint64_t lddw_value(const struct pf_prog *prog, uint32_t at, enum pf_op op)
{
	const struct pf_insn *insn = &prog->insns[at];
	if (op == PF_OP_LDDW_MAP || op == PF_OP_LDDW_MAP_IDX)
		return (uint64_t)(uintptr_t)pf_prog_insn_map(prog, at);
	if (op == PF_OP_LDDW_VALUE || op == PF_OP_LDDW_VALUE_IDX)
		return (uint64_t)(uintptr_t)pf_map_direct_value(pf_prog_insn_map(prog, at), (uint32_t)insn[1].imm);
	if (op == PF_OP_LDDW_FUNC)
		return PF_FUNC_TAG | (at + 1 + (uint32_t)insn->imm);
	return (uint32_t)insn->imm | (uint64_t)(uint32_t)insn[1].imm << 32;
}

/* Which handler serves the instruction. */
static enum pf_err lowered_op(const struct pf_prog *prog, uint32_t at, enum pf_insn_type type, uint32_t *out,
			      struct pf_diag *diag)
{
	const struct pf_insn insn = prog->insns[at];
	const enum pf_op op = pf_isa_op(insn);
	*out = (uint32_t)op;
	if (op == PF_OP_CALL_HELPER && insn.imm == PF_HELPER_ID_tail_call) {
		*out = PF_LOWERED_TAIL_CALL;
	} else if (type == PF_INSN_CTX_LOAD) {
		const enum pf_ctx_field field = ctx_field(prog->type, (uint64_t)(int64_t)insn.off);
		const int is_signed = op == PF_OP_LDSX_W;
		if (is_signed ? !is_number(field) : op != PF_OP_LDX_W || field == PF_CTX_FIELDS)
			return pf_diag_set(diag, PF_EINVAL, PF_DIAG_VM_CTX, at, 0, (uint64_t)(int64_t)insn.off, 4, "ctx");
		*out = PF_LOWERED_FIRST + 1 + (uint32_t)field + (is_signed ? PF_CTX_FIELDS : 0);
	}
	return PF_OK;
}

/* The handler that executes this slot and the next (fuse.h), or op's own. */
static uint32_t fused_op(uint32_t op, struct pf_insn first, struct pf_insn second)
{
	const enum pf_op next = pf_isa_op(second);
	if (first.dst != second.dst)
		return op;
#define PAIR(a, b)                                                                                                     \
	if (op == PF_OP_##a && next == PF_OP_##b)                                                                      \
		return PF_LOWERED_##a##__##b;
	PF_FUSED_PAIRS(PAIR, PAIR)
#undef PAIR
	return op;
}

uint32_t pf_vm_observed_op(struct pf_exec *x, const struct pf_code *code, const struct pf_lowered *pc, const uint64_t *r)
{
	const uint32_t at = (uint32_t)(pc - code->insns);
	uint32_t op;
	if (at >= x->prog->count || lowered_op(x->prog, at, PF_INSN_PLAIN, &op, NULL))
		return PF_LOWERED_TRAP;
	pf_observe_step(x, at, r);
	return op;
}

static enum pf_insn_type type_of(const uint8_t *types, uint32_t at)
{
	return types && types[at] == PF_INSN_CTX_LOAD ? PF_INSN_CTX_LOAD : PF_INSN_PLAIN;
}

static enum pf_err lower(const struct pf_prog *prog, struct pf_code *code, const void *const *labels,
			 const uint8_t *types, struct pf_diag *diag)
{
	for (uint32_t at = 0; at < prog->count; at++) {
		const struct pf_insn insn = prog->insns[at];
		struct pf_lowered *l = &code->insns[at];
		uint32_t op;
		enum pf_err err = lowered_op(prog, at, type_of(types, at), &op, diag);
		if (err)
			return err;
		const uint32_t handler = at + 1 < prog->count ? fused_op(op, insn, prog->insns[at + 1]) : op;
		*l = (struct pf_lowered){ labels[handler], insn.dst, insn.src, insn.off, insn.imm };
		if (op < PF_OPS && pf_prog_calls_row((enum pf_op)op))
			pf_lowered_set_fn(l, pf_helper_find((uint32_t)insn.imm));
		if (op >= PF_OPS) /* no encoding of its own: no use of r10 */
			continue;
		const enum pf_form form = pf_isa_info((enum pf_op)op)->form;
		const uint32_t reach = stack_reach(insn, form);
		code->stack_bytes = reach > code->stack_bytes ? reach : code->stack_bytes;
		if (form == PF_FORM_LDDW) {
			l[1] = (struct pf_lowered){ (const void *)(uintptr_t)lddw_value(prog, at, (enum pf_op)op), 0, 0, 0, 0 };
			at++;
		}
	}
	code->insns[prog->count].handler = labels[PF_LOWERED_TRAP];
	return PF_OK;
}

enum pf_err pf_vm_stage(struct pf_prog *prog, enum pf_engine engine, const uint8_t *types, struct pf_diag *diag)
{
	if (PF_BUG_ON(engine != PF_ENGINE_CHECKED && engine != PF_ENGINE_INTERP))
		return pf_diag_set(diag, PF_EINVAL, PF_DIAG_NONE, 0, 0, 0, 0, NULL);
	if (atomic_load_explicit(&prog->code[engine], memory_order_acquire))
		return PF_OK;
	pf_interp_fn *interp = engine == PF_ENGINE_CHECKED ? pf_interp_checked : pf_interp_unchecked;
	uint64_t labels;
	interp(NULL, NULL, 0, NULL, &labels, NULL);
	struct pf_code *code = calloc(1, sizeof(*code) + ((size_t)prog->count + 1) * sizeof(code->insns[0]));
	if (!code)
		return pf_diag_set(diag, PF_ENOMEM, PF_DIAG_NONE, 0, 0, 0, 0, NULL);
	code->engine = engine;
	code->count = prog->count;
	enum pf_err err = lower(prog, code, (const void *const *)(uintptr_t)labels,
				engine == PF_ENGINE_INTERP ? types : NULL, diag);
	struct pf_code *none = NULL;
	if (err || !atomic_compare_exchange_strong_explicit(&prog->code[engine], &none, code, memory_order_release,
							    memory_order_acquire))
		free(code); /* refused, or another thread was first with the same */
	return err;
}
