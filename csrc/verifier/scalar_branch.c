/* scalar_branch.c - what a comparison tells of its operands, and whether its outcome is known.
 *
 * Soundness: every pair (x, y) of gamma(a) and gamma(b) for which the condition has the given outcome is still there
 * afterwards; an outcome is called impossible only if there is no such pair.
 */
#include "lane.h"
#include "plant.h"

enum outcome { EQUAL, DIFFERENT, BELOW, NOT_ABOVE, COMMON_BITS, NO_COMMON_BITS };

/* A condition reduced to few: a outcome b, with operands exchanged if `exchange`, numbers signed if `sign`. */
struct condition {
	enum outcome outcome;
	bool exchange, sign;
};

static struct condition condition(enum pf_cmp cmp, bool taken)
{
	switch (cmp) {
	case PF_CMP_EQ:
		return (struct condition){ taken ? EQUAL : DIFFERENT, false, false };
	case PF_CMP_NE:
		return (struct condition){ taken ? DIFFERENT : EQUAL, false, false };
	case PF_CMP_LT:
	case PF_CMP_SLT:
		return (struct condition){ taken ? BELOW : NOT_ABOVE, !taken, cmp == PF_CMP_SLT };
	case PF_CMP_LE:
	case PF_CMP_SLE:
		return (struct condition){ taken ? NOT_ABOVE : BELOW, !taken, cmp == PF_CMP_SLE };
	case PF_CMP_GT:
	case PF_CMP_SGT:
		return (struct condition){ taken ? BELOW : NOT_ABOVE, taken, cmp == PF_CMP_SGT };
	case PF_CMP_GE:
	case PF_CMP_SGE:
		return (struct condition){ taken ? NOT_ABOVE : BELOW, taken, cmp == PF_CMP_SGE };
	case PF_CMP_SET:
		return (struct condition){ taken ? COMMON_BITS : NO_COMMON_BITS, false, false };
	case PF_CMPS:
		break;
	}
	(void)PF_BUG_ON(true);
	return (struct condition){ EQUAL, false, false };
}

/* Signed order on n bits is unsigned order once the sign bits are flipped, which exchanges the parts. */
static void flip(struct pf_lane *l, unsigned n)
{
	uint64_t sign = pf_bits_sign(n);
	struct pf_span negative = l->part[1];

	l->part[1] = l->part[0];
	l->part[0] = negative;
	for (unsigned i = 0; i < 2; i++) {
		if (pf_span_any(l->part[i])) {
			l->part[i].lo ^= sign;
			l->part[i].hi ^= sign;
		}
	}
}

static void keep(struct pf_lane *l, uint64_t lo, uint64_t hi)
{
	for (unsigned i = 0; i < 2; i++) {
		l->part[i].lo = pf_max(l->part[i].lo, lo);
		l->part[i].hi = pf_min(l->part[i].hi, hi);
	}
}

/* a < b (or <= with equal): both ends used are members, so each side is cut exactly. */
static bool refine_order(unsigned n, bool sign, bool equal, struct pf_lane *a, struct pf_lane *b)
{
	uint64_t least, greatest;

	sign = PF_PLANTED(15, false, sign);
	if (sign) {
		flip(a, n);
		flip(b, n);
	}
	least = pf_lane_umin(a);
	greatest = pf_lane_umax(b);
	if (equal ? least > greatest : least >= greatest)
		return false;
	keep(a, 0, greatest - PF_PLANTED(16, 1, !equal));
	keep(b, least + !equal, ~UINT64_C(0));
	if (sign) {
		flip(a, n);
		flip(b, n);
	}
	return true;
}

static bool meet(struct pf_lane *a, struct pf_lane *b)
{
	if (!pf_tnum_intersect(a->t, b->t, &a->t))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		a->part[i].lo = pf_max(a->part[i].lo, b->part[i].lo);
		a->part[i].hi = pf_min(a->part[i].hi, b->part[i].hi);
	}
	*b = *a;
	return true;
}

/* Takes x out where it is the end of a span. */
static void drop(struct pf_lane *l, uint64_t x)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pf_span *s = &l->part[i];

		if (!pf_span_any(*s))
			continue;
		if (s->lo == x && s->hi == x)
			*s = pf_span_none();
		else if (s->lo == x)
			s->lo++;
		else if (s->hi == x)
			s->hi--;
	}
}

static bool refine_different(struct pf_lane *a, struct pf_lane *b)
{
	if (!a->t.mask && !b->t.mask)
		return a->t.value != b->t.value;
	if (!b->t.mask)
		drop(a, b->t.value);
	if (!a->t.mask)
		drop(b, a->t.value);
	return true;
}

/* (a & b) != 0: one of the bits that both may have is set in both. */
static bool refine_common(struct pf_lane *a, struct pf_lane *b)
{
	uint64_t both = (a->t.value | a->t.mask) & (b->t.value | b->t.mask);

	if (!both)
		return false;
	if (PF_PLANTED(19, true, !(both & (both - 1)))) {
		a->t.value |= both;
		a->t.mask &= ~both;
		b->t.value |= both;
		b->t.mask &= ~both;
	}
	keep(a, both & -both, ~UINT64_C(0));
	keep(b, both & -both, ~UINT64_C(0));
	return true;
}

static bool refine_no_common(struct pf_lane *a, struct pf_lane *b)
{
	if (a->t.value & b->t.value)
		return false;
	a->t.mask &= ~b->t.value;
	b->t.mask &= ~a->t.value;
	return true;
}

static bool refine(struct condition c, unsigned n, struct pf_lane *a, struct pf_lane *b)
{
	switch (c.outcome) {
	case EQUAL:
		return meet(a, b);
	case DIFFERENT:
		return refine_different(a, b);
	case BELOW:
	case NOT_ABOVE:
		return refine_order(n, c.sign, c.outcome == NOT_ABOVE, a, b);
	case COMMON_BITS:
		return refine_common(a, b);
	case NO_COMMON_BITS:
		return refine_no_common(a, b);
	}
	return false;
}

bool pf_scalar_branch(enum pf_cmp cmp, bool wide, bool taken, struct pf_scalar *a, struct pf_scalar *b)
{
	struct condition c = condition(cmp, taken);
	struct pf_scalar *left = c.exchange ? b : a, *right = c.exchange ? a : b;
	struct pf_lane wa = pf_lane_wide(left), ha = pf_lane_half(left);
	struct pf_lane wb = pf_lane_wide(right), hb = pf_lane_half(right);

	if (PF_PLANTED(17, true, wide) ? !refine(c, PF_SCALAR_BITS, &wa, &wb) : !refine(c, PF_HALF_BITS, &ha, &hb))
		return false;
	if (wide && c.outcome == EQUAL && !meet(&ha, &hb))
		return false;
	if (!pf_scalar_is_const(left) && !pf_lane_combine(&wa, &ha))
		return false;
	if (wide && c.outcome == EQUAL && !pf_scalar_is_const(left)) {
		*left = pf_lane_scalar(&wa, &ha);
		*right = *left;
		return true;
	}
	if (!pf_scalar_is_const(right)) {
		if (!pf_lane_combine(&wb, &hb))
			return false;
		*right = pf_lane_scalar(&wb, &hb);
	}
	if (!pf_scalar_is_const(left))
		*left = pf_lane_scalar(&wa, &ha);
	return true;
}

/* For independent a and b: 1 if a < b (<=) always, 0 if never. */
static int decide_order(bool equal, uint64_t amin, uint64_t amax, uint64_t bmin, uint64_t bmax)
{
	if (equal ? amax <= bmin : amax < bmin)
		return 1;
	return (equal ? amin > bmax : amin >= bmax) ? 0 : -1;
}

static int decide_half_order(struct condition c, const struct pf_scalar *a, const struct pf_scalar *b)
{
	bool equal = c.outcome == NOT_ABOVE;
	uint64_t top = UINT64_C(1) << 63;

	if (c.sign)
		return decide_order(equal, (uint64_t)(int64_t)a->s32min ^ top, (uint64_t)(int64_t)a->s32max ^ top,
				    (uint64_t)(int64_t)b->s32min ^ top, (uint64_t)(int64_t)b->s32max ^ top);
	return decide_order(equal, a->u32min, a->u32max, b->u32min, b->u32max);
}

static int decide_wide_order(struct condition c, const struct pf_scalar *a, const struct pf_scalar *b)
{
	bool equal = c.outcome == NOT_ABOVE;
	uint64_t top = UINT64_C(1) << 63;

	if (c.sign)
		return decide_order(equal, (uint64_t)a->smin ^ top, (uint64_t)a->smax ^ top, (uint64_t)b->smin ^ top,
				    (uint64_t)b->smax ^ top);
	return decide_order(equal, a->umin, a->umax, b->umin, b->umax);
}

static int decide_equal(bool wide, const struct pf_scalar *a, const struct pf_scalar *b)
{
	unsigned n = wide ? PF_SCALAR_BITS : PF_HALF_BITS;
	struct pf_tnum x = pf_tnum_low(a->t, n), y = pf_tnum_low(b->t, n);
	struct pf_lane l, r;

	if ((x.value ^ y.value) & ~x.mask & ~y.mask)
		return 0;
	if (!(x.mask | y.mask))
		return 1;
	if (wide) {
		struct pf_scalar c = *a, d = *b;

		if (!y.mask)
			return pf_scalar_contains(a, y.value) ? -1 : 0;
		return pf_scalar_branch(PF_CMP_EQ, true, true, &c, &d) ? -1 : 0;
	}
	l = pf_lane_half(a);
	r = pf_lane_half(b);
	return meet(&l, &r) && pf_lane_reduce(&l, n) ? -1 : 0;
}

static int decide_common(bool wide, const struct pf_scalar *a, const struct pf_scalar *b)
{
	unsigned n = wide ? PF_SCALAR_BITS : PF_HALF_BITS;
	struct pf_tnum both = pf_tnum_low(pf_tnum_and(a->t, b->t), n);

	return both.value ? 1 : both.mask ? -1 : 0;
}

int pf_scalar_decide(enum pf_cmp cmp, bool wide, const struct pf_scalar *a, const struct pf_scalar *b)
{
	struct condition c = condition(cmp, true);
	const struct pf_scalar *left = c.exchange ? b : a, *right = c.exchange ? a : b;
	int equal;

	switch (c.outcome) {
	case EQUAL:
		return decide_equal(wide, a, b);
	case DIFFERENT:
		equal = decide_equal(wide, a, b);
		return equal < 0 ? equal : !equal;
	case BELOW:
	case NOT_ABOVE:
		return PF_PLANTED(18, true, wide) ? decide_wide_order(c, left, right) : decide_half_order(c, left, right);
	case COMMON_BITS:
	case NO_COMMON_BITS:
		return decide_common(wide, a, b);
	}
	return -1;
}
