/* facts.c - the join of one state into the facts of an instruction. */
#include "facts.h"

static enum pf_fact_kind kind_of(const struct pf_verifier *v, const struct pf_vreg *r)
{
	switch ((enum pf_vkind)r->kind) {
	case PF_V_SCALAR:
		return PF_FACT_SCALAR;
	case PF_V_CTX:
		return PF_FACT_CTX;
	case PF_V_PACKET:
		return v->in->type == PF_PROG_MEMORY ? PF_FACT_MEMORY : PF_FACT_PACKET;
	case PF_V_META:
		return PF_FACT_PACKET_META;
	case PF_V_END:
		return PF_FACT_PACKET_END;
	case PF_V_STACK:
		return PF_FACT_STACK;
	case PF_V_MAP:
		return PF_FACT_MAP;
	case PF_V_VALUE:
		return PF_FACT_MAP_VALUE;
	case PF_V_KEY:
		return PF_FACT_MAP_KEY;
	case PF_V_FUNC:
		return PF_FACT_FUNC;
	case PF_V_NONE:
	case PF_V_MEM:
	case PF_V_SOCK:
	case PF_V_SOCK_COMMON:
	case PF_V_DYNPTR:
	case PF_V_CONN:
	case PF_V_CONN_INIT:
	case PF_V_KINDS:
		break;
	}
	return PF_FACT_ANY;
}

static struct pf_fact fact_of(const struct pf_verifier *v, const struct pf_vreg *r)
{
	struct pf_fact f = { .kind = (uint8_t)kind_of(v, r), .maybe_null = r->null, .map = r->inner || r->kind == PF_V_MEM ? PF_V_NO_MAP : r->map,
			     .range = pf_scalar_unknown() };

	if (f.kind == PF_FACT_SCALAR) {
		if (r->node && v->final_marks[r->node] & 1)
			f.range = r->s;
	} else if (f.kind == PF_FACT_STACK && r->frame != v->cur.depth) {
		f.kind = PF_FACT_ANY; /* of a frame above */
	} else if (f.kind != PF_FACT_ANY) {
		const struct pf_scalar off = pf_scalar_const((uint64_t)(int64_t)r->off);
		f.range = pf_scalar_alu(PF_ALU_ADD, true, &r->s, &off);
		const bool needed = !r->node || (v->final_marks[r->node] & 1);
		if (pf_v_is_packet(r) && needed && !r->edge && r->off >= 0 && r->range > r->off)
			f.proved = (uint32_t)(r->range - r->off);
	}
	return f;
}

static bool says_nothing(const struct pf_scalar *s)
{
	return s->t.mask == UINT64_MAX && s->umin == 0 && s->umax == UINT64_MAX && s->smin == INT64_MIN &&
	       s->smax == INT64_MAX && s->u32min == 0 && s->u32max == UINT32_MAX && s->s32min == INT32_MIN &&
	       s->s32max == INT32_MAX;
}

void pf_facts_record(struct pf_verifier *v, uint32_t i)
{
	const struct pf_fact any = { .kind = PF_FACT_ANY, .map = PF_V_NO_MAP, .range = pf_scalar_unknown() };

	for (uint32_t n = 0; n < PF_V_REGS; n++) {
		struct pf_fact *to = &v->facts[(size_t)i * PF_V_REGS + n];
		if (to->kind == PF_FACT_ANY)
			continue;
		if (to->kind == PF_FACT_SCALAR && says_nothing(&to->range) && pf_v_reg(v, n)->kind == PF_V_SCALAR &&
		    (v->at[i].live >> n & 1))
			continue; /* joined with any number it stays so */
		/* A dead register is what it was on this path: pruning did not look at it. */
		const bool live = n == 10 || (v->at[i].live >> n & 1);
		const struct pf_fact now = live ? fact_of(v, pf_v_reg(v, n)) : any;
		if (to->kind == PF_FACT_UNREACHED) {
			*to = now;
			continue;
		}
		if (to->kind != now.kind) {
			*to = any;
			continue;
		}
		to->maybe_null |= now.maybe_null;
		if (to->map != now.map)
			to->map = PF_V_NO_MAP;
		if (now.proved < to->proved)
			to->proved = now.proved;
		to->range = pf_scalar_join(&to->range, &now.range);
	}
}
