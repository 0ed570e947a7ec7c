/* branch.c - refinement by comparisons. */
#include "branch.h"

#include "plant.h"
#include "lock.h"
#include "precision.h"
#include "refs.h"

void pf_v_each_reg(struct pf_verifier *v, void (*visit)(struct pf_verifier *v, struct pf_vreg *r, void *user),
		   void *user)
{
	for (uint32_t f = 0; f <= v->cur.depth; f++) {
		struct pf_vframe *frame = &v->cur.frames[f];
		for (uint32_t r = 0; r < 10; r++)
			if (frame->regs[r].kind != PF_V_NONE)
				visit(v, &frame->regs[r], user);
		for (uint32_t s = 0; s < frame->slots; s++)
			if (frame->stack[s].byte[0] == PF_V_SPILL)
				visit(v, &frame->stack[s].reg, user);
	}
}

/* The comparison as an operation of the domain; the order is that of opcode bits 4 to 7 (RFC 9669 section 4.3). */
static enum pf_cmp comparison(uint8_t code)
{
	static const uint8_t table[16] = {
		[0x1] = PF_CMP_EQ, [0x2] = PF_CMP_GT, [0x3] = PF_CMP_GE, [0x4] = PF_CMP_SET, [0x5] = PF_CMP_NE,
		[0x6] = PF_CMP_SGT, [0x7] = PF_CMP_SGE, [0xa] = PF_CMP_LT, [0xb] = PF_CMP_LE, [0xc] = PF_CMP_SLT,
		[0xd] = PF_CMP_SLE,
	};
	return table[code >> 4];
}

struct operands {
	struct pf_vreg *dst, *src; /* src: NULL for an immediate */
	struct pf_scalar imm;
	enum pf_cmp cmp;
	bool wide;
};

static struct operands operands_of(struct pf_verifier *v, uint32_t i)
{
	const struct pf_insn *insn = &v->insns[i];
	struct operands o = { .dst = pf_v_reg(v, insn->dst), .cmp = comparison(insn->code), .wide = (insn->code & 7) == 5 };

	if (v->at[i].form == PF_FORM_JMP_REG)
		o.src = pf_v_reg(v, insn->src);
	else
		o.imm = pf_scalar_const((uint64_t)(int64_t)insn->imm);
	return o;
}

/* ---- packet pointers against the end ---- */

/* Of a comparison of a packet pointer with the end of what it points into. */
struct edge {
	struct pf_vreg *pointer;
	enum pf_cmp cmp; /* pointer cmp end */
};

static bool is_start(const struct pf_vreg *r)
{
	return r->kind == PF_V_PACKET && !r->id && !r->off && pf_scalar_is_const(&r->s) && r->s.t.value == 0;
}

static bool ends_at(const struct pf_vreg *pointer, const struct pf_vreg *end)
{
	return (pointer->kind == PF_V_PACKET && end->kind == PF_V_END) || (pointer->kind == PF_V_META && is_start(end));
}

static enum pf_cmp mirrored(enum pf_cmp cmp)
{
	switch (cmp) {
	case PF_CMP_GT:
		return PF_PLANTED(22, PF_CMP_GT, PF_CMP_LT);
	case PF_CMP_GE:
		return PF_CMP_LE;
	case PF_CMP_LT:
		return PF_CMP_GT;
	case PF_CMP_LE:
		return PF_CMP_GE;
	case PF_CMP_EQ:
	case PF_CMP_NE:
	case PF_CMP_SGT:
	case PF_CMP_SGE:
	case PF_CMP_SLT:
	case PF_CMP_SLE:
	case PF_CMP_SET:
	case PF_CMPS:
		break;
	}
	return cmp;
}

static bool edge_of(const struct operands *o, struct edge *e)
{
	if (!o->src || !o->wide)
		return false;
	if (ends_at(o->dst, o->src))
		*e = (struct edge){ o->dst, o->cmp };
	else if (ends_at(o->src, o->dst))
		*e = (struct edge){ o->src, mirrored(o->cmp) };
	else
		return false;
	return e->cmp == PF_CMP_GT || e->cmp == PF_CMP_GE || e->cmp == PF_CMP_LT || e->cmp == PF_CMP_LE;
}

static int decide_edge(const struct edge *e)
{
	const bool beyond = e->pointer->edge == PF_V_BEYOND_END;
	if (e->pointer->edge == PF_V_INSIDE)
		return -1;
	if (e->cmp == PF_CMP_GE)
		return 1;
	if (e->cmp == PF_CMP_LT)
		return 0;
	return !beyond ? -1 : e->cmp == PF_CMP_GT;
}

struct proof {
	uint8_t kind;
	uint32_t id, range;
};

static void extend(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const struct proof *p = user;
	if (r->kind == p->kind && r->id == p->id && r->range < p->range) {
		r->range = (uint16_t)p->range;
		r->node = pf_prec_node(v, 0, 0); /* its own: what one register needs, another may not */
	}
}

/* pointer <= end (open: <) holds: all pointers with the same variable part have that many bytes behind their base. */
static void prove_range(struct pf_verifier *v, const struct pf_vreg *pointer, bool open)
{
	if (pointer->off < 0 || (pointer->off == 0 && open) || pointer->s.umax > PF_V_PACKET_MAX ||
	    pointer->s.umax + (uint64_t)pointer->off > PF_V_PACKET_MAX)
		return;
	struct proof p = { pointer->kind, pointer->id, (uint32_t)pointer->off + PF_PLANTED(21, 1, open) };
	if (p.range > PF_V_PACKET_MAX)
		p.range = PF_V_PACKET_MAX;
	pf_v_each_reg(v, extend, &p);
}

static void refine_edge(struct pf_verifier *v, const struct edge *e, bool taken)
{
	const bool greater = e->cmp == PF_CMP_GT || e->cmp == PF_CMP_GE;
	const bool strict = e->cmp == PF_CMP_GT || e->cmp == PF_CMP_LT;

	if (greater != taken) /* pointer <= end after !(>), < after !(>=); <, <= as they stand */
		prove_range(v, e->pointer, greater ? !strict : strict);
	else if (e->pointer->kind == PF_V_PACKET)
		e->pointer->edge = (greater ? strict : !strict) ? PF_V_BEYOND_END : PF_V_AT_END;
}

/* ---- pointers against null ---- */

static bool never_null(const struct pf_vreg *r)
{
	return !r->null && (r->kind == PF_V_VALUE || r->kind == PF_V_KEY || r->kind == PF_V_MAP || r->kind == PF_V_MEM ||
			    pf_v_is_socket(r) || pf_v_is_conn(r));
}

static bool against_null(const struct operands *o, struct pf_vreg **pointer)
{
	if (!o->wide || (o->cmp != PF_CMP_EQ && o->cmp != PF_CMP_NE))
		return false;
	if (pf_v_is_pointer(o->dst) && (o->src ? pf_v_is_null(o->src) : o->imm.t.value == 0)) {
		*pointer = o->dst;
		return true;
	}
	if (o->src && pf_v_is_pointer(o->src) && pf_v_is_null(o->dst)) {
		*pointer = o->src;
		return true;
	}
	return false;
}

/* Of two pointers, one that may be NULL and one that cannot: when they are equal, neither is. */
static struct pf_vreg *shown_by_other(const struct operands *o)
{
	if (!o->wide || !o->src || (o->cmp != PF_CMP_EQ && o->cmp != PF_CMP_NE))
		return NULL;
	if (o->dst->null && never_null(o->src))
		return o->dst;
	return o->src->null && never_null(o->dst) ? o->src : NULL;
}

struct nullness {
	uint32_t id;
	bool null;
};

static void settle_null(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const struct nullness *n = user;
	if (!r->null || PF_PLANTED(29, false, r->id != n->id) || !pf_v_is_pointer(r))
		return;
	if (n->null) {
		pf_v_set_const(v, r, 0);
	} else {
		r->null = 0;
		if (!pf_lock_of(v, r) && !r->acquired)
			r->id = 0;
	}
}

static void mark_operands(struct pf_verifier *v, const struct operands *o)
{
	pf_prec_mark(v, o->dst->node);
	if (o->src)
		pf_prec_mark(v, o->src->node);
}

int pf_branch_decide(struct pf_verifier *v, uint32_t i)
{
	const struct operands o = operands_of(v, i);
	struct pf_vreg *pointer;
	struct edge e;

	if (o.dst->kind == PF_V_SCALAR && (!o.src || o.src->kind == PF_V_SCALAR)) {
		const int way = pf_scalar_decide(o.cmp, o.wide, &o.dst->s, o.src ? &o.src->s : &o.imm);
		if (PF_PLANTED(44, false, way >= 0))
			mark_operands(v, &o);
		return way;
	}
	if (edge_of(&o, &e))
		return decide_edge(&e);
	if (against_null(&o, &pointer) && never_null(pointer)) {
		mark_operands(v, &o); /* one of them may be the scalar 0 */
		return o.cmp == PF_CMP_NE;
	}
	return -1;
}

/* ---- scalars ---- */

struct linked {
	struct pf_vreg now; /* the refined scalar */
	uint32_t before;    /* its node before */
	struct pf_vreg *self;
};

static void follow(struct pf_verifier *v, struct pf_vreg *r, void *user)
{
	const struct linked *l = user;
	if (r == l->self || r->kind != PF_V_SCALAR || r->id != l->now.id)
		return;
	if (PF_PLANTED(20, true, r->off == l->now.off)) {
		r->s = l->now.s;
	} else {
		const struct pf_scalar delta = pf_scalar_const((uint64_t)((int64_t)r->off - l->now.off));
		r->s = pf_scalar_alu(PF_ALU_ADD, true, &l->now.s, &delta);
	}
	if (r->node != l->now.node)
		r->node = r->node == l->before ? l->now.node : pf_prec_node(v, r->node, l->now.node);
}

/* Program type memory: r2 >= n means that the first n bytes of the region exist. */
static void prove_length(struct pf_verifier *v, const struct pf_vreg *r)
{
	const uint64_t least = r->s.umin < PF_V_PACKET_MAX ? r->s.umin : PF_V_PACKET_MAX;
	struct proof p = { PF_V_PACKET, 0, (uint32_t)least };
	pf_v_each_reg(v, extend, &p);
}

static void assign(struct pf_verifier *v, struct pf_vreg *r, const struct pf_scalar *s, uint32_t other)
{
	if (pf_scalar_equal(&r->s, s))
		return;
	struct linked l = { .before = r->node, .self = r };
	r->s = *s;
	if (other)
		r->node = pf_prec_node(v, r->node, other);
	l.now = *r;
	if (r->id)
		pf_v_each_reg(v, follow, &l);
	if (r->length) {
		pf_prec_mark(v, r->node);
		prove_length(v, r);
	}
}

static bool refine_scalars(struct pf_verifier *v, const struct operands *o, bool taken)
{
	struct pf_scalar a = o->dst->s, b = o->src ? o->src->s : o->imm;
	const uint32_t dst_node = o->dst->node, src_node = o->src ? o->src->node : 0;

	if (!pf_scalar_branch(o->cmp, o->wide, taken, &a, &b)) {
		mark_operands(v, o);
		return false;
	}
	assign(v, o->dst, &a, src_node);
	if (o->src && o->src != o->dst && (!o->dst->id || o->dst->id != o->src->id))
		assign(v, o->src, &b, dst_node);
	return true;
}

bool pf_branch_refine(struct pf_verifier *v, uint32_t i, bool taken)
{
	const struct operands o = operands_of(v, i);
	struct pf_vreg *pointer;
	struct edge e;

	if (o.dst->kind == PF_V_SCALAR && (!o.src || o.src->kind == PF_V_SCALAR))
		return refine_scalars(v, &o, taken);
	if (edge_of(&o, &e)) {
		refine_edge(v, &e, taken);
	} else if ((pointer = shown_by_other(&o))) {
		struct nullness n = { pointer->id, false };
		if ((o.cmp == PF_CMP_EQ) == taken)
			pf_v_each_reg(v, settle_null, &n);
	} else if (against_null(&o, &pointer)) {
		const bool null = (o.cmp == PF_CMP_EQ) == taken;
		if (!pointer->null)
			return !(null && never_null(pointer));
		mark_operands(v, &o);
		struct nullness n = { pointer->id, null };
		if (null && pointer->acquired)
			pf_refs_forget(v, n.id);
		pf_v_each_reg(v, settle_null, &n);
	}
	return true;
}
