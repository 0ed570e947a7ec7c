/* check.c - what must hold before an instruction that is no call. */
#include "liveness.h"
#include "step.h"

enum pf_err pf_check_read(struct pf_verifier *v, uint32_t regs)
{
	for (uint32_t left = regs; left; left &= left - 1) {
		const uint32_t r = (uint32_t)__builtin_ctz(left);
		if (pf_v_reg(v, r)->kind != PF_V_NONE)
			continue;
		if (r >= 1 && r <= 5)
			pf_v_help(v, "assign r%u before it is read here; a call in between makes r0 to r5 unreadable", r);
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_UNINIT, r, 0, NULL);
	}
	return PF_OK;
}

static bool movable(struct pf_verifier *v, const struct pf_vreg *r)
{
	switch ((enum pf_vkind)r->kind) {
	case PF_V_CTX:
	case PF_V_PACKET:
	case PF_V_META:
	case PF_V_STACK:
	case PF_V_KEY:
	case PF_V_MEM:
	case PF_V_FUNC: /* to no use: a callback is passed by its own address */
		return true;
	case PF_V_VALUE: /* but for an AF_XDP socket */
		return pf_v_map(v, r)->type != PF_MAP_XSKMAP;
	case PF_V_NONE:
	case PF_V_SCALAR:
	case PF_V_END:
	case PF_V_MAP:
	case PF_V_SOCK:
	case PF_V_SOCK_COMMON:
	case PF_V_DYNPTR:
	case PF_V_CONN:
	case PF_V_CONN_INIT:
	case PF_V_KINDS:
		break;
	}
	return false;
}

static enum pf_err check_offset(struct pf_verifier *v, uint32_t regno, const struct pf_vreg *pointer,
				const struct pf_scalar *s)
{
	if (s->smin == INT64_MIN) {
		pf_v_help(v, "bound the number before it is added to the pointer: `if (off > LIMIT) return ...`, or mask it");
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_UNBOUNDED_ADD, regno, 0, pf_v_kind_text(pointer));
	}
	if (s->smin <= -PF_V_MAX_OFF)
		pf_v_help(v, "the number may be negative (down to %lld): make it unsigned, or check `number >= 0` and an upper limit "
			  "before it is added", (long long)s->smin);
	if (s->smin >= PF_V_MAX_OFF || s->smin <= -PF_V_MAX_OFF)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_FAR, s->smin, PF_V_MAX_OFF, pf_v_kind_text(pointer));
	return PF_OK;
}

static const char *op_text(uint8_t code)
{
	static const char *const names[16] = { "+", "-", "*", "/", "|", "&", "<<", ">>", "neg", "%", "^", "=", "s>>", "swap" };
	return names[code >> 4] ? names[code >> 4] : "";
}

static bool is_length(const struct pf_vreg *pointer, const struct pf_vreg *n)
{
	return n->length && !n->off && pointer->kind == PF_V_PACKET && !pointer->off && !pointer->id;
}

/* pointer op number, or number + pointer. */
static enum pf_err check_pointer_math(struct pf_verifier *v, const struct pf_insn *insn, const struct pf_vreg *pointer,
				      const struct pf_vreg *number, bool swapped)
{
	const uint8_t op = insn->code & 0xf0;
	const bool wide = (insn->code & 7) == 7, known = pf_scalar_is_const(&number->s);

	if (!wide)
		return op == 0x10 ? PF_OK : pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_POINTER_32, insn->dst, 0,
								    pf_v_kind_text(pointer));
	if (pointer->null) {
		pf_v_help(v, "check the %s against NULL before calculating with it", pf_v_kind_text(pointer));
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_NULL_MATH, insn->dst, 0, pf_v_kind_text(pointer));
	}
	if (op != 0x00 && op != 0x10)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_POINTER_OP, insn->dst, 0, op_text(insn->code));
	if (op == 0x00 && is_length(pointer, number))
		return PF_OK;
	if (pf_v_is_conn(pointer))
		pf_v_help(v, "read the fields of a connection at constant offsets; as an argument it is passed as the call gave it");
	if (pf_v_is_socket(pointer))
		pf_v_help(v, "read the fields of a socket at constant offsets; as an argument it is passed as the lookup gave it");
	if (!movable(v, pointer) &&
	    !(pointer->kind == PF_V_MAP && op == 0x00 && known && number->s.t.value == 0))
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_POINTER_KIND, insn->dst, 0, pf_v_kind_text(pointer));
	if (op == 0x10 && swapped)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SUB_POINTER, insn->dst, 0, pf_v_kind_text(pointer));
	if (op == 0x10 && pointer->kind == PF_V_STACK)
		return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SUB_STACK, insn->dst, 0, NULL);
	enum pf_err err = check_offset(v, swapped ? insn->dst : insn->src, pointer, &number->s);
	if (err)
		return err;
	if (known) {
		const int64_t n = (int64_t)number->s.t.value, off = op == 0x10 ? pointer->off - n : pointer->off + n;
		if (off >= PF_V_MAX_OFF || off <= -PF_V_MAX_OFF)
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_FAR, off, PF_V_MAX_OFF, pf_v_kind_text(pointer));
		return PF_OK;
	}
	const struct pf_scalar sum = pf_scalar_alu(op == 0x10 ? PF_ALU_SUB : PF_ALU_ADD, true, &pointer->s, &number->s);
	return check_offset(v, insn->dst, pointer, &sum);
}

static enum pf_err check_alu(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	const struct pf_vreg *dst = pf_v_reg(v, insn->dst), *src = pf_v_reg(v, insn->src);

	if ((insn->code & 0xf0) == 0xb0 || v->at[i].form == PF_FORM_UNARY || v->at[i].form == PF_FORM_SWAP)
		return PF_OK;
	if (v->at[i].form == PF_FORM_ALU_IMM) {
		if (!pf_v_is_pointer(dst))
			return PF_OK;
		const struct pf_vreg imm = { .s = pf_scalar_const((uint64_t)(int64_t)insn->imm), .kind = PF_V_SCALAR };
		return check_pointer_math(v, insn, dst, &imm, false);
	}
	if (pf_v_is_pointer(dst) && pf_v_is_pointer(src))
		return (insn->code & 0xf0) == 0x10 ? PF_OK : pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_TWO_POINTERS, insn->dst,
									 insn->src, op_text(insn->code));
	if (pf_v_is_pointer(dst))
		return check_pointer_math(v, insn, dst, src, false);
	if (pf_v_is_pointer(src))
		return check_pointer_math(v, insn, src, dst, true);
	return PF_OK;
}

static uint32_t bytes_of(uint8_t code)
{
	static const uint8_t sizes[4] = { 4, 2, 1, 8 };
	return sizes[code >> 3 & 3];
}

/* A ctx load is rewritten for the unchecked engines, so an instruction must always be one, or never. */
static enum pf_err check_type(struct pf_verifier *v, uint32_t i, const struct pf_vreg *base)
{
	const uint8_t type = 1 + (base->kind == PF_V_CTX ? PF_VERIFY_CTX_LOAD : PF_VERIFY_PLAIN);
	const uint8_t socket = pf_v_is_socket(base) ? base->kind : pf_v_is_conn(base) ? PF_V_CONN : 0;

	if (v->at[i].type && (v->at[i].type != type || v->at[i].socket != socket))
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_TWO_TYPES, base->kind, 0, NULL);
	v->at[i].type = type;
	v->at[i].socket = socket;
	return PF_OK;
}

static enum pf_err check_mem(struct pf_verifier *v, uint32_t i, bool load, bool atomic)
{
	const struct pf_insn *insn = &v->insns[i];
	const uint32_t base = load ? insn->src : insn->dst;
	const struct pf_vreg *r = pf_v_reg(v, base);
	const struct pf_access a = { .regno = base, .off = insn->off, .size = bytes_of(insn->code), .write = !load,
				     .atomic = atomic, .sign = load && (insn->code & 0xe0) == 0x80 };

	enum pf_err err = pf_check_access(v, r, &a);
	if (err)
		return err;
	if (r->kind == PF_V_STACK && (v->at[i].form == PF_FORM_STX || v->at[i].form == PF_FORM_STORE_REL)) {
		const struct pf_vreg *value = pf_v_reg(v, insn->src);
		if (pf_v_is_pointer(value) && pf_scalar_is_const(&r->s) && a.size != 8)
			return pf_v_refuse(v, PF_EACCES, PF_DIAG_VER_SPILL_SIZE, a.size, 8, pf_v_kind_text(value));
		if (value->kind == PF_V_STACK && r->frame != v->cur.depth)
			return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_SPILL_CALLER, insn->src, 0, NULL);
	}
	return check_type(v, i, r);
}

static enum pf_err check_lddw(struct pf_verifier *v, uint32_t i)
{
	const struct pf_vinsn *a = &v->at[i];

	if (a->op != PF_OP_LDDW_VALUE && a->op != PF_OP_LDDW_VALUE_IDX)
		return PF_OK;
	const struct pf_map_def *def = &v->in->maps[a->map].def;
	if (def->type != PF_MAP_ARRAY || def->max_entries != 1)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_VER_DIRECT_VALUE, def->max_entries, 1, NULL);
	const uint32_t off = (uint32_t)v->insns[i + 1].imm;
	if (off >= def->value_size)
		return pf_v_refuse(v, PF_EINVAL, PF_DIAG_PROG_VALUE_RANGE, off, def->value_size, NULL);
	return PF_OK;
}

enum pf_err pf_check_insn(struct pf_verifier *v, uint32_t i)
{
	enum pf_err err = pf_check_read(v, pf_live_uses(v, i));

	if (err)
		return err;
	switch ((enum pf_form)v->at[i].form) {
	case PF_FORM_ALU_IMM:
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
		return check_alu(v, i);
	case PF_FORM_LDDW:
		return check_lddw(v, i);
	case PF_FORM_LDX:
		return check_mem(v, i, true, false);
	case PF_FORM_LOAD_ACQ:
		return check_mem(v, i, true, true);
	case PF_FORM_ST:
	case PF_FORM_STX:
		return check_mem(v, i, false, false);
	case PF_FORM_STORE_REL:
	case PF_FORM_ATOMIC:
		return check_mem(v, i, false, true);
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
	return PF_OK;
}
