/* isa.c - what each encoding means and whether a program is legal. */
#include "isa.h"

static const struct pf_op_info op_infos[] = {
#define PF_INSN(name, opcode, selector, value, form, text, group)                                                      \
	{ #name, text, #group, opcode, PF_SELECT_##selector, value, PF_FORM_##form },
#include "../tables/insn.def"
#undef PF_INSN
};
_Static_assert(sizeof(op_infos) / sizeof(op_infos[0]) == PF_OPS, "one row for each op");

#define OPCODE_LDDW 0x18
#define OPCODE_CALLX 0x8d
#define LAST_REGISTER 10
#define FRAME_POINTER 10
#define ATOMIC_FETCH 1 /* bit of an atomic's imm: the old value is returned (RFC 9669 section 5.3) */

const struct pf_op_info *pf_isa_info(enum pf_op op)
{
	return (unsigned)op < PF_OPS ? &op_infos[op] : NULL;
}

const char *pf_isa_form_name(enum pf_form form)
{
	switch (form) {
#define FORM(name)                                                                                                     \
	case PF_FORM_##name:                                                                                           \
		return #name;
		FORM(ALU_IMM)
		FORM(ALU_REG)
		FORM(UNARY)
		FORM(SWAP)
		FORM(LDDW)
		FORM(LDX)
		FORM(ST)
		FORM(STX)
		FORM(ATOMIC)
		FORM(LOAD_ACQ)
		FORM(STORE_REL)
		FORM(JA)
		FORM(JA32)
		FORM(JMP_IMM)
		FORM(JMP_REG)
		FORM(CALL)
		FORM(CALL_KFUNC)
		FORM(EXIT)
#undef FORM
	case PF_FORMS:
		break;
	}
	return "";
}

/* Only these 64-bit loads give the second imm a meaning: the upper half of the value, the offset into a map's value,
 * the BTF object of a kernel variable. */
static unsigned lddw_fields(enum pf_op op)
{
	unsigned fields = PF_FIELD_DST | PF_FIELD_IMM;

	if (op == PF_OP_LDDW || op == PF_OP_LDDW_VALUE || op == PF_OP_LDDW_VALUE_IDX || op == PF_OP_LDDW_BTF_ID)
		fields |= PF_FIELD_IMM2;
	return fields;
}

unsigned pf_isa_fields(enum pf_op op)
{
	if ((unsigned)op >= PF_OPS)
		return 0;
	switch (op_infos[op].form) {
	case PF_FORM_ALU_IMM:
		return PF_FIELD_DST | PF_FIELD_IMM;
	case PF_FORM_ALU_REG:
		return PF_FIELD_DST | PF_FIELD_SRC;
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
		return PF_FIELD_DST;
	case PF_FORM_LDDW:
		return lddw_fields(op);
	case PF_FORM_ST:
	case PF_FORM_JMP_IMM:
		return PF_FIELD_DST | PF_FIELD_OFF | PF_FIELD_IMM;
	case PF_FORM_LDX:
	case PF_FORM_STX:
	case PF_FORM_ATOMIC:
	case PF_FORM_LOAD_ACQ:
	case PF_FORM_STORE_REL:
	case PF_FORM_JMP_REG:
		return PF_FIELD_DST | PF_FIELD_SRC | PF_FIELD_OFF;
	case PF_FORM_JA:
		return PF_FIELD_OFF;
	case PF_FORM_JA32:
	case PF_FORM_CALL:
		return PF_FIELD_IMM;
	case PF_FORM_CALL_KFUNC:
		return PF_FIELD_IMM | PF_FIELD_OFF;
	case PF_FORM_EXIT:
	case PF_FORMS:
		break;
	}
	return 0;
}

static int32_t selector_value(struct pf_insn insn, enum pf_selector selector)
{
	switch (selector) {
	case PF_SELECT_NONE:
		return 0;
	case PF_SELECT_OFF:
		return insn.off;
	case PF_SELECT_IMM:
		return insn.imm;
	case PF_SELECT_SRC:
		return insn.src;
	}
	return 0;
}

/* The key is unique in insn.def: two equal rows would be two equal case labels. */
#define OP_KEY(opcode, selector, value)                                                                                \
	((uint64_t)(opcode) << 40 | (uint64_t)(selector) << 32 | (uint32_t)(value))

enum pf_op pf_isa_op(struct pf_insn insn)
{
	for (enum pf_selector selector = PF_SELECT_NONE; selector <= PF_SELECT_SRC; selector++) {
		switch (OP_KEY(insn.code, selector, selector_value(insn, selector))) {
#define PF_INSN(name, opcode, selector, value, form, text, group)                                                      \
	case OP_KEY(opcode, PF_SELECT_##selector, value):                                                              \
		return PF_OP_##name;
#include "../tables/insn.def"
#undef PF_INSN
		}
	}
	return PF_OPS;
}

/* ---- legality ---- */

struct checker {
	const struct pf_insn *insns;
	uint32_t count;
	uint32_t at;
	int strict;
	struct pf_diag *diag;
};

static enum pf_err refuse(const struct checker *c, enum pf_diag_code code, int64_t found, int64_t expected,
			  const char *name)
{
	return pf_diag_set(c->diag, PF_EINVAL, code, c->at, (uint64_t)c->at * sizeof(struct pf_insn), (uint64_t)found,
			   (uint64_t)expected, name);
}

static const char *selector_name(enum pf_selector selector)
{
	switch (selector) {
	case PF_SELECT_OFF:
		return "off";
	case PF_SELECT_IMM:
		return "imm";
	case PF_SELECT_SRC:
		return "src";
	case PF_SELECT_NONE:
		break;
	}
	return "";
}

/* Why an instruction has no op. */
static enum pf_err refuse_unknown(const struct checker *c, struct pf_insn insn)
{
	switch (insn.code) {
	case OPCODE_CALLX:
		return refuse(c, PF_DIAG_ISA_CALLX, insn.code, 0, NULL);
	case 0x20: /* LD_ABS and LD_IND of 4, 2 and 1 bytes */
	case 0x28:
	case 0x30:
	case 0x40:
	case 0x48:
	case 0x50:
		return refuse(c, PF_DIAG_ISA_LEGACY_LOAD, insn.code, 0, NULL);
	}
	for (unsigned i = 0; i < PF_OPS; i++) {
		enum pf_selector selector = op_infos[i].selector;

		if (op_infos[i].opcode == insn.code)
			return refuse(c, PF_DIAG_ISA_VARIANT, selector_value(insn, selector), insn.code,
				      selector_name(selector));
	}
	return refuse(c, PF_DIAG_ISA_OPCODE, insn.code, 0, NULL);
}

static int is_fetch(enum pf_op op)
{
	return op_infos[op].form == PF_FORM_ATOMIC && op != PF_OP_ATOMIC64_CMPXCHG && op != PF_OP_ATOMIC32_CMPXCHG &&
	       (op_infos[op].value & ATOMIC_FETCH);
}

/* cmpxchg writes r0, and calls write r0 to r5: neither names the register it writes. */
static int writes_dst(enum pf_form form)
{
	switch (form) {
	case PF_FORM_ALU_IMM:
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_LDDW:
	case PF_FORM_LDX:
	case PF_FORM_LOAD_ACQ:
		return 1;
	case PF_FORM_ST:
	case PF_FORM_STX:
	case PF_FORM_ATOMIC:
	case PF_FORM_STORE_REL:
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

static enum pf_err check_fields(const struct checker *c, struct pf_insn insn, enum pf_op op)
{
	unsigned used = pf_isa_fields(op);
	enum pf_selector selector = op_infos[op].selector;

	if (!(used & PF_FIELD_DST) && insn.dst)
		return refuse(c, PF_DIAG_ISA_RESERVED, insn.dst, 0, "dst");
	if (!(used & PF_FIELD_SRC) && selector != PF_SELECT_SRC && insn.src)
		return refuse(c, PF_DIAG_ISA_RESERVED, insn.src, 0, "src");
	if (!(used & PF_FIELD_OFF) && selector != PF_SELECT_OFF && insn.off)
		return refuse(c, PF_DIAG_ISA_RESERVED, insn.off, 0, "off");
	if (!(used & PF_FIELD_IMM) && selector != PF_SELECT_IMM && insn.imm)
		return refuse(c, PF_DIAG_ISA_RESERVED, insn.imm, 0, "imm");
	if ((used & PF_FIELD_DST) && insn.dst > LAST_REGISTER)
		return refuse(c, PF_DIAG_ISA_REGISTER, insn.dst, LAST_REGISTER, NULL);
	if ((used & PF_FIELD_SRC) && insn.src > LAST_REGISTER)
		return refuse(c, PF_DIAG_ISA_REGISTER, insn.src, LAST_REGISTER, NULL);
	if ((writes_dst(op_infos[op].form) && insn.dst == FRAME_POINTER) ||
	    (is_fetch(op) && insn.src == FRAME_POINTER))
		return refuse(c, PF_DIAG_ISA_WRITE_R10, FRAME_POINTER, 0, NULL);
	return PF_OK;
}

/* A slot with code 0 after an lddw is its second half: no instruction has opcode 0. Slots behind `at` that are illegal
 * in themselves are refused when their turn comes. */
static enum pf_err check_target(const struct checker *c, int64_t distance)
{
	int64_t target = (int64_t)c->at + 1 + distance;

	if (target < 0 || target >= c->count)
		return refuse(c, PF_DIAG_ISA_JUMP_RANGE, target, c->count, NULL);
	if (target > 0 && c->insns[target].code == 0 && c->insns[target - 1].code == OPCODE_LDDW)
		return refuse(c, PF_DIAG_ISA_JUMP_HALF, target - 1, 0, NULL);
	return PF_OK;
}

static enum pf_err check_lddw(const struct checker *c, struct pf_insn insn, enum pf_op op)
{
	struct pf_insn half;

	if (c->at + 1 >= c->count)
		return refuse(c, PF_DIAG_ISA_LDDW_CUT, 0, 0, NULL);
	half = c->insns[c->at + 1];
	if (half.code || half.dst || half.src || half.off)
		return refuse(c, PF_DIAG_ISA_LDDW_HALF, half.code, 0, NULL);
	if (!(pf_isa_fields(op) & PF_FIELD_IMM2) && half.imm)
		return refuse(c, PF_DIAG_ISA_RESERVED, half.imm, 0, "imm of the second half");
	return op == PF_OP_LDDW_FUNC ? check_target(c, insn.imm) : PF_OK;
}

/* What Linux's verifier refuses of constants that RFC 9669 gives a meaning. */
static enum pf_err check_constant(const struct checker *c, struct pf_insn insn)
{
	int32_t width = (insn.code & 7) == 7 ? 64 : 32;

	switch (insn.code & 0xf0) {
	case 0x30: /* div, sdiv */
	case 0x90: /* mod, smod */
		return insn.imm ? PF_OK : refuse(c, PF_DIAG_ISA_DIV_ZERO, 0, 0, NULL);
	case 0x60: /* lsh, rsh, arsh */
	case 0x70:
	case 0xc0:
		if (insn.imm < 0 || insn.imm >= width)
			return refuse(c, PF_DIAG_ISA_SHIFT, insn.imm, width - 1, NULL);
	}
	return PF_OK;
}

static enum pf_err check_form(const struct checker *c, struct pf_insn insn, enum pf_op op)
{
	switch (op_infos[op].form) {
	case PF_FORM_ALU_IMM:
		return c->strict ? check_constant(c, insn) : PF_OK;
	case PF_FORM_LDDW:
		return check_lddw(c, insn, op);
	case PF_FORM_JA:
	case PF_FORM_JMP_IMM:
	case PF_FORM_JMP_REG:
		return check_target(c, insn.off);
	case PF_FORM_JA32:
		return check_target(c, insn.imm);
	case PF_FORM_CALL:
		return op == PF_OP_CALL_LOCAL ? check_target(c, insn.imm) : PF_OK;
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
	case PF_FORM_LDX:
	case PF_FORM_ST:
	case PF_FORM_STX:
	case PF_FORM_ATOMIC:
	case PF_FORM_LOAD_ACQ:
	case PF_FORM_STORE_REL:
	case PF_FORM_CALL_KFUNC:
	case PF_FORM_EXIT:
	case PF_FORMS:
		break;
	}
	return PF_OK;
}

enum pf_err pf_isa_check(const struct pf_insn *insns, uint32_t count, int strict, struct pf_diag *diag)
{
	struct checker c = { insns, count, 0, strict, diag };
	enum pf_form last = PF_FORMS;

	if (!count)
		return refuse(&c, PF_DIAG_ISA_EMPTY, 0, 1, NULL);
	if (count > PF_MAX_INSNS)
		return refuse(&c, PF_DIAG_ISA_TOO_LONG, count, PF_MAX_INSNS, NULL);
	for (uint32_t i = 0; i < count; i++) {
		enum pf_op op = pf_isa_op(insns[i]);
		enum pf_err err;

		c.at = i;
		if (op == PF_OPS)
			return refuse_unknown(&c, insns[i]);
		err = check_fields(&c, insns[i], op);
		if (!err)
			err = check_form(&c, insns[i], op);
		if (err)
			return err;
		last = op_infos[op].form;
		if (last == PF_FORM_LDDW)
			i++;
	}
	if (last != PF_FORM_EXIT && last != PF_FORM_JA && last != PF_FORM_JA32)
		return refuse(&c, PF_DIAG_ISA_FALL_OFF, 0, 0, NULL);
	return PF_OK;
}
