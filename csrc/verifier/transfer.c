/* transfer.c - what holds after an instruction that is no call and no jump. */
#include "plant.h"
#include "precision.h"
#include "step.h"

static enum pf_alu operation(const struct pf_insn *insn)
{
	const bool sign = insn->off == 1;

	switch (insn->code & 0xf0) {
	case 0x00:
		return PF_ALU_ADD;
	case 0x10:
		return PF_ALU_SUB;
	case 0x20:
		return PF_ALU_MUL;
	case 0x30:
		return sign ? PF_ALU_SDIV : PF_ALU_DIV;
	case 0x40:
		return PF_ALU_OR;
	case 0x50:
		return PF_ALU_AND;
	case 0x60:
		return PF_ALU_LSH;
	case 0x70:
		return PF_ALU_RSH;
	case 0x80:
		return PF_ALU_NEG;
	case 0x90:
		return sign ? PF_ALU_SMOD : PF_ALU_MOD;
	case 0xa0:
		return PF_ALU_XOR;
	case 0xc0:
		return PF_ALU_ARSH;
	}
	return PF_ALUS;
}

static void set_result(struct pf_verifier *v, struct pf_vreg *r, const struct pf_scalar *s, uint32_t a, uint32_t b)
{
	*r = (struct pf_vreg){ .s = *s, .kind = PF_V_SCALAR, .map = PF_V_NO_MAP, .node = pf_prec_node(v, a, b) };
}

/* Two registers are about to hold one scalar: what is learned of one holds for the other. */
static void link_scalar(struct pf_verifier *v, struct pf_vreg *r)
{
	if (r->kind == PF_V_SCALAR && !r->id && !pf_scalar_is_const(&r->s)) {
		r->id = pf_v_new_id(v);
		r->off = 0;
	}
}

static void move(struct pf_verifier *v, const struct pf_insn *insn)
{
	const bool wide = (insn->code & 7) == 7;
	struct pf_vreg *dst = pf_v_reg(v, insn->dst), *src = pf_v_reg(v, insn->src);

	if (src->kind != PF_V_SCALAR) {
		const struct pf_scalar word = pf_scalar_loaded(4, false);
		if (wide && !insn->off)
			*dst = *src;
		else if (wide)
			pf_v_set_unknown(v, dst);
		else
			pf_v_set_scalar(v, dst, &word);
		return;
	}
	const bool fits = wide || PF_PLANTED(13, true, src->s.umax <= UINT32_MAX);
	const bool same = insn->off ? src->s.umax < UINT64_C(1) << (insn->off - 1) : fits;
	if (same) {
		if (dst != src)
			link_scalar(v, src);
		*dst = *src;
		return;
	}
	const struct pf_scalar s = insn->off ? pf_scalar_sext(&src->s, (uint32_t)insn->off, wide) : pf_scalar_zext32(&src->s);
	set_result(v, dst, &s, src->node, 0);
}

static void pointer_math(struct pf_verifier *v, const struct pf_insn *insn, struct pf_vreg pointer,
			 const struct pf_vreg *number, struct pf_vreg *to)
{
	const bool sub = (insn->code & 0xf0) == 0x10;

	if ((insn->code & 7) != 7) {
		pf_v_set_unknown(v, to);
		return;
	}
	if (PF_PLANTED(43, false, number->node != 0))
		pf_prec_mark(v, number->node);
	if (!sub && number->length && !number->off && pointer.kind == PF_V_PACKET && !pointer.off && !pointer.id) {
		pf_v_set_pointer(to, PF_V_END);
		return;
	}
	const bool known = pf_scalar_is_const(&number->s);
	const int64_t n = (int64_t)number->s.t.value;
	if (!known || (sub ? n > 0 : n < 0)) /* at or beyond the end, and not moved down: still so */
		pointer.edge = PF_V_INSIDE;
	if (known) {
		pointer.off = (int32_t)(sub ? pointer.off - n : pointer.off + n);
	} else {
		pointer.s = pf_scalar_alu(sub ? PF_ALU_SUB : PF_ALU_ADD, true, &pointer.s, &number->s);
		if (pf_v_is_packet(&pointer)) {
			pointer.id = PF_PLANTED(26, pointer.id, pf_v_new_id(v));
			if (PF_PLANTED(25, false, !sub || number->s.smin < 0))
				pointer.range = 0;
		}
	}
	*to = pointer;
}

static void scalar_math(struct pf_verifier *v, const struct pf_insn *insn, struct pf_vreg *dst, const struct pf_scalar *s,
			uint32_t node)
{
	const bool wide = (insn->code & 7) == 7;
	const uint8_t op = insn->code & 0xf0;
	struct pf_vreg old = *dst;
	const struct pf_scalar result = pf_scalar_alu(operation(insn), wide, &old.s, s);

	set_result(v, dst, &result, old.node, node);
	dst->size = old.size;
	/* A constant distance from what it was linked with. */
	if (wide && op == 0x00 && old.id && pf_scalar_is_const(s) && !pf_scalar_is_const(&result)) {
		const int64_t off = old.off + (int64_t)s->t.value;
		if (off >= INT32_MIN && off <= INT32_MAX && (int64_t)s->t.value >= INT32_MIN &&
		    (int64_t)s->t.value <= INT32_MAX) {
			dst->id = old.id;
			dst->off = (int32_t)off;
		}
	}
}

static void alu(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	const enum pf_form form = v->at[i].form;
	struct pf_vreg *dst = pf_v_reg(v, insn->dst);

	if ((insn->code & 0xf0) == 0xb0) {
		if (form == PF_FORM_ALU_REG)
			move(v, insn);
		else
			pf_v_set_const(v, dst, (insn->code & 7) == 7 ? (uint64_t)(int64_t)insn->imm : (uint32_t)insn->imm);
		return;
	}
	if (form == PF_FORM_UNARY || form == PF_FORM_SWAP) {
		if (dst->kind != PF_V_SCALAR) {
			pf_v_set_unknown(v, dst);
			return;
		}
		const struct pf_scalar s = form == PF_FORM_SWAP ?
			pf_scalar_swap(&dst->s, (uint32_t)insn->imm, insn->code != 0xd4) :
			pf_scalar_alu(PF_ALU_NEG, (insn->code & 7) == 7, &dst->s, &dst->s);
		set_result(v, dst, &s, dst->node, 0);
		return;
	}
	if (form == PF_FORM_ALU_IMM) {
		const struct pf_vreg imm = { .s = pf_scalar_const((uint64_t)(int64_t)insn->imm), .kind = PF_V_SCALAR };
		if (pf_v_is_pointer(dst))
			pointer_math(v, insn, *dst, &imm, dst);
		else
			scalar_math(v, insn, dst, &imm.s, 0);
		return;
	}
	const struct pf_vreg *src = pf_v_reg(v, insn->src);
	if (pf_v_is_pointer(dst) && pf_v_is_pointer(src))
		pf_v_set_unknown(v, dst);
	else if (pf_v_is_pointer(dst))
		pointer_math(v, insn, *dst, src, dst);
	else if (pf_v_is_pointer(src)) {
		const struct pf_vreg number = *dst;
		pointer_math(v, insn, *src, &number, dst);
	} else {
		const struct pf_scalar s = src->s;
		scalar_math(v, insn, dst, &s, src->node);
	}
}

static void load_constant(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	const struct pf_vinsn *a = &v->at[i];
	struct pf_vreg *dst = pf_v_reg(v, insn->dst);

	switch (a->op) {
	case PF_OP_LDDW:
		pf_v_set_const(v, dst, (uint64_t)(uint32_t)insn[1].imm << 32 | (uint32_t)insn->imm);
		return;
	case PF_OP_LDDW_MAP:
	case PF_OP_LDDW_MAP_IDX:
		pf_v_set_pointer(dst, PF_V_MAP);
		dst->map = a->map;
		return;
	case PF_OP_LDDW_VALUE:
	case PF_OP_LDDW_VALUE_IDX:
		pf_v_set_pointer(dst, PF_V_VALUE);
		dst->map = a->map;
		dst->off = insn[1].imm;
		return;
	case PF_OP_LDDW_FUNC:
		pf_v_set_pointer(dst, PF_V_FUNC);
		dst->size = a->target;
		return;
	}
}

static uint32_t bytes_of(uint8_t code)
{
	static const uint8_t sizes[4] = { 4, 2, 1, 8 };
	return sizes[code >> 3 & 3];
}

static void atomic(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	const struct pf_vreg base = *pf_v_reg(v, insn->dst);
	const struct pf_access a = { .regno = insn->dst, .off = insn->off, .size = bytes_of(insn->code), .write = true,
				     .atomic = true };
	const bool exchange = v->at[i].op == PF_OP_ATOMIC64_CMPXCHG || v->at[i].op == PF_OP_ATOMIC32_CMPXCHG;
	struct pf_vreg old = { .kind = PF_V_NONE };

	if (exchange || (insn->imm & 1))
		pf_transfer_load(v, base, &a, false, &old);
	pf_transfer_store(v, &base, &a, NULL);
	if (old.kind != PF_V_NONE)
		*pf_v_reg(v, exchange ? 0 : insn->src) = old;
}

void pf_transfer_insn(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	const struct pf_access load = { .regno = insn->src, .off = insn->off, .size = bytes_of(insn->code) };
	const struct pf_access store = { .regno = insn->dst, .off = insn->off, .size = bytes_of(insn->code), .write = true };
	struct pf_vreg value;

	switch ((enum pf_form)v->at[i].form) {
	case PF_FORM_ALU_IMM:
	case PF_FORM_ALU_REG:
	case PF_FORM_UNARY:
	case PF_FORM_SWAP:
		alu(v, i);
		return;
	case PF_FORM_LDDW:
		load_constant(v, i);
		return;
	case PF_FORM_LDX:
	case PF_FORM_LOAD_ACQ:
		pf_transfer_load(v, *pf_v_reg(v, insn->src), &load, (insn->code & 0xe0) == 0x80, pf_v_reg(v, insn->dst));
		return;
	case PF_FORM_ST:
		if (pf_v_reg(v, insn->dst)->kind != PF_V_STACK && pf_v_reg(v, insn->dst)->kind != PF_V_MEM)
			return; /* nothing is known of other memory */
		pf_v_set_const(v, &value, (uint64_t)(int64_t)insn->imm);
		pf_transfer_store(v, pf_v_reg(v, insn->dst), &store, &value);
		return;
	case PF_FORM_STX:
		if (pf_v_reg(v, insn->dst)->kind == PF_V_STACK)
			link_scalar(v, pf_v_reg(v, insn->src));
		pf_transfer_store(v, pf_v_reg(v, insn->dst), &store, pf_v_reg(v, insn->src));
		return;
	case PF_FORM_STORE_REL:
		pf_transfer_store(v, pf_v_reg(v, insn->dst), &store, pf_v_reg(v, insn->src));
		return;
	case PF_FORM_ATOMIC:
		atomic(v, i);
		return;
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
}
