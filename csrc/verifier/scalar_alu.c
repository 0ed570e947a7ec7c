/* scalar_alu.c - arithmetic on scalars.
 *
 * Every operation is written once, for a lane of n bits: known bits by tnums, ranges span by span (four pairs of signs at
 * most), the results collected in a hull. A 64-bit operation whose low half depends on low halves only is done for the
 * half lane too. Soundness of each: for x in gamma(a), y in gamma(b), op(x, y) modulo 2^n is in gamma(r).
 */
#include "lane.h"
#include "plant.h"

/* The operation on numbers, as RFC 9669 section 4.1 and 4.2 define it; n is 64 or 32 (or a width under test). */
static uint64_t fold(enum pf_alu op, unsigned n, uint64_t x, uint64_t y)
{
	int64_t sx = pf_bits_signed(x, n), sy = pf_bits_signed(y, n);
	unsigned k = (unsigned)(y & (n - 1));

	switch (op) {
	case PF_ALU_ADD:
		return x + y;
	case PF_ALU_SUB:
		return x - y;
	case PF_ALU_MUL:
		return x * y;
	case PF_ALU_DIV:
		return y ? x / y : 0;
	case PF_ALU_SDIV:
		return sy == -1 ? 0 - x : sy ? (uint64_t)(sx / sy) : 0; /* the least number / -1 is itself */
	case PF_ALU_MOD:
		return y ? x % y : x;
	case PF_ALU_SMOD:
		return sy == -1 ? 0 : sy ? (uint64_t)(sx % sy) : x;
	case PF_ALU_OR:
		return x | y;
	case PF_ALU_AND:
		return x & y;
	case PF_ALU_XOR:
		return x ^ y;
	case PF_ALU_LSH:
		return x << k;
	case PF_ALU_RSH:
		return x >> k;
	case PF_ALU_ARSH:
		return (uint64_t)(sx >> k);
	case PF_ALU_NEG:
		return 0 - x;
	case PF_ALUS:
		break;
	}
	(void)PF_BUG_ON(true);
	return 0;
}

/* x & y for x in a, y in b, each of one sign. Least: every bit that both ends lack may be lacking, but from the highest
 * bit m that both lower ends lack and one may gain (it stays under its upper end from there, as m is not above the
 * first difference of its ends) everything below can be cleared in that one. */
static uint64_t and_least(struct pf_span a, struct pf_span b)
{
	uint64_t gain = pf_bits_fill(a.lo ^ a.hi) | pf_bits_fill(b.lo ^ b.hi);

	return a.lo & b.lo & ~pf_bits_fill(~a.lo & ~b.lo & gain);
}

/* Greatest: from the highest bit that one upper end has for nothing (the other lacks it) and may give up, that one can
 * have every bit below. */
static uint64_t and_greatest(struct pf_span a, struct pf_span b)
{
	uint64_t from_a = PF_PLANTED(6, 0, a.hi & ~b.hi & pf_bits_fill(a.lo ^ a.hi));
	uint64_t from_b = b.hi & ~a.hi & pf_bits_fill(b.lo ^ b.hi);

	if (from_a > from_b)
		a.hi |= pf_bits_fill(from_a) >> 1;
	else
		b.hi |= pf_bits_fill(from_b) >> 1;
	return a.hi & b.hi;
}

static struct pf_span span_not(struct pf_span s, uint64_t mask)
{
	return (struct pf_span){ ~s.hi & mask, ~s.lo & mask };
}

/* Least x ^ y. Leading bits that are fixed in both spans give what they give; below them it is 0 where the spans meet;
 * else walk down the bits in which the lower ends differ, and raise the one that lacks the bit, where it stays in its
 * span. */
static uint64_t xor_least(struct pf_span a, struct pf_span b)
{
	uint64_t rest = pf_bits_fill(a.lo ^ a.hi) | pf_bits_fill(b.lo ^ b.hi);
	uint64_t fixed = (a.lo ^ b.lo) & ~rest, differ;

	if ((a.lo & rest) <= (b.hi & rest) && (b.lo & rest) <= (a.hi & rest))
		return fixed;
	while ((differ = (a.lo ^ b.lo) & rest) != 0) {
		uint64_t m = pf_bits_fill(differ);
		struct pf_span *low;
		uint64_t raised;

		rest = m >> 1;
		m ^= rest;
		low = a.lo & m ? &b : &a;
		raised = (low->lo | m) & -m;
		if (raised <= low->hi)
			low->lo = raised;
	}
	return a.lo ^ b.lo;
}

static void bitwise(enum pf_alu op, unsigned n, struct pf_span a, struct pf_span b, struct pf_lane *r)
{
	uint64_t mask = pf_bits_mask(n), lo, hi;

	if (op == PF_ALU_AND) {
		lo = and_least(a, b);
		hi = and_greatest(a, b);
	} else if (op == PF_ALU_OR) {
		lo = ~and_greatest(span_not(a, mask), span_not(b, mask)) & mask;
		hi = ~and_least(span_not(a, mask), span_not(b, mask)) & mask;
	} else {
		lo = xor_least(a, b);
		hi = ~xor_least(a, span_not(b, mask)) & mask;
	}
	pf_lane_add(r, n, lo, hi);
}

/* The magnitudes of a span of one sign. */
static struct pf_span magnitude(struct pf_span s, unsigned n, bool negative)
{
	uint64_t mask = pf_bits_mask(n);

	return negative ? (struct pf_span){ -s.hi & mask, -s.lo & mask } : s;
}

/* Adds the numbers of magnitude lo..hi and the given sign. */
static void add_signed(struct pf_lane *r, unsigned n, bool negative, uint64_t lo, uint64_t hi)
{
	if (negative)
		pf_lane_add_circular(r, n, -hi, -lo);
	else
		pf_lane_add_circular(r, n, lo, hi);
}

/* a, b are magnitudes (at most 2^(n-1)). The exact products span an interval; if it is shorter than 2^n, so is it
 * modulo 2^n. Zero is taken apart, as it would join negative products to it. */
static void multiply(unsigned n, bool negative, struct pf_span a, struct pf_span b, struct pf_lane *r)
{
	unsigned __int128 lo, hi;

	if (!a.lo || !b.lo)
		pf_lane_add(r, n, 0, 0);
	if (!a.hi || !b.hi)
		return;
	lo = (unsigned __int128)pf_max(a.lo, 1) * pf_max(b.lo, 1);
	hi = (unsigned __int128)a.hi * b.hi;
	if (PF_PLANTED(3, false, hi - lo >= pf_bits_mask(n)))
		pf_lane_add(r, n, 0, pf_bits_mask(n));
	else
		add_signed(r, n, negative, (uint64_t)lo, (uint64_t)hi);
}

static void divide(unsigned n, bool negative, struct pf_span a, struct pf_span b, struct pf_lane *r)
{
	if (!b.lo)
		pf_lane_add(r, n, 0, 0);
	if (b.hi)
		add_signed(r, n, negative, a.lo / b.hi, a.hi / pf_max(PF_PLANTED(4, b.hi, b.lo), 1));
}

/* x mod y = x - q y with the same q for all, or anything below the largest divisor and not above the dividend. */
static void modulo(unsigned n, bool negative, struct pf_span a, struct pf_span b, struct pf_lane *r)
{
	uint64_t q;

	if (!b.lo) {
		add_signed(r, n, negative, a.lo, a.hi);
		if (!b.hi)
			return;
		b.lo = 1;
	}
	q = a.lo / b.hi;
	if (q == a.hi / b.lo)
		add_signed(r, n, negative, a.lo - q * b.hi, a.hi - q * b.lo);
	else
		add_signed(r, n, negative, 0, pf_min(a.hi, PF_PLANTED(5, b.hi / 2, b.hi - 1)));
}

static void span_pair(enum pf_alu op, unsigned n, const struct pf_lane *a, bool na, const struct pf_lane *b, bool nb,
		      struct pf_lane *r)
{
	struct pf_span x = a->part[na], y = b->part[nb];

	switch (op) {
	case PF_ALU_ADD:
		pf_lane_add_circular(r, n, x.lo + y.lo, x.hi + PF_PLANTED(1, y.lo, y.hi)); /* one sign: less than 2^n numbers together */
		return;
	case PF_ALU_SUB:
		pf_lane_add_circular(r, n, x.lo - PF_PLANTED(2, y.lo, y.hi), x.hi - y.lo);
		return;
	case PF_ALU_MUL:
		multiply(n, na != nb, magnitude(x, n, na), magnitude(y, n, nb), r);
		return;
	case PF_ALU_DIV:
		divide(n, false, x, y, r);
		return;
	case PF_ALU_SDIV:
		divide(n, PF_PLANTED(11, false, na != nb), magnitude(x, n, na), magnitude(y, n, nb), r);
		return;
	case PF_ALU_MOD:
		modulo(n, false, x, y, r);
		return;
	case PF_ALU_SMOD:
		modulo(n, na, magnitude(x, n, na), magnitude(y, n, nb), r);
		return;
	case PF_ALU_OR:
	case PF_ALU_AND:
	case PF_ALU_XOR:
		bitwise(op, n, x, y, r);
		return;
	case PF_ALU_LSH:
	case PF_ALU_RSH:
	case PF_ALU_ARSH:
	case PF_ALU_NEG:
	case PF_ALUS:
		break;
	}
	(void)PF_BUG_ON(true);
}

/* A power of two that divides both: modulo keeps x's bits below it, also where y is 0. */
static struct pf_tnum modulo_bits(unsigned n, struct pf_tnum a, struct pf_tnum b)
{
	uint64_t may = b.value | b.mask, kept = may ? (may & -may) - 1 : ~UINT64_C(0);

	return (struct pf_tnum){ a.value & kept, (a.mask | ~kept) & pf_bits_mask(n) };
}

/* In the upper n of 64 bits, where a product's carries fall off as they should; b's bits beyond n do not matter. */
static struct pf_tnum multiply_bits(unsigned n, struct pf_tnum a, struct pf_tnum b)
{
	unsigned up = 64 - n;
	struct pf_tnum r;

	r = pf_tnum_mul((struct pf_tnum){ a.value << up, a.mask << up }, b);
	return (struct pf_tnum){ r.value >> up, r.mask >> up };
}

static struct pf_tnum known_bits(enum pf_alu op, unsigned n, struct pf_tnum a, struct pf_tnum b)
{
	struct pf_tnum any = { 0, pf_bits_mask(n) };

	switch (op) {
	case PF_ALU_ADD:
		return pf_tnum_low(pf_tnum_add(a, b), n);
	case PF_ALU_SUB:
		return pf_tnum_low(pf_tnum_sub(a, b), n);
	case PF_ALU_MUL:
		return multiply_bits(n, a, b);
	case PF_ALU_DIV:
		if (b.mask || !b.value || (b.value & (b.value - 1)))
			return any;
		return (struct pf_tnum){ a.value >> __builtin_ctzll(b.value), a.mask >> __builtin_ctzll(b.value) };
	case PF_ALU_MOD:
	case PF_ALU_SMOD:
		return modulo_bits(n, a, b);
	case PF_ALU_OR:
		return pf_tnum_or(a, b);
	case PF_ALU_AND:
		return pf_tnum_and(a, b);
	case PF_ALU_XOR:
		return PF_PLANTED(7, pf_tnum_or(a, b), pf_tnum_xor(a, b));
	case PF_ALU_SDIV:
	case PF_ALU_LSH:
	case PF_ALU_RSH:
	case PF_ALU_ARSH:
	case PF_ALU_NEG:
	case PF_ALUS:
		break;
	}
	return any;
}

/* A lane to be shifted; for the wide one also what is known of its low half, of which a long way left makes the top. */
struct shiftee {
	unsigned n;
	struct pf_lane lane;
	const struct pf_lane *half;
};

/* Only the low n - k bits of x stay, with the upper of them as sign. k may be n or more. */
static struct pf_lane shift_left(const struct shiftee *a, unsigned k)
{
	unsigned left = k < a->n ? a->n - k : 0;
	struct pf_lane r;

	if (!left) {
		r = pf_lane_start(a->n);
		r.t = (struct pf_tnum){ 0, 0 };
		pf_lane_add(&r, a->n, 0, 0);
		return r;
	}
	r = a->half && left <= PF_HALF_BITS ? pf_lane_project(a->half, PF_HALF_BITS, left) :
					      pf_lane_project(&a->lane, a->n, left);
	r.t.value <<= k;
	r.t.mask <<= PF_PLANTED(8, 0, k);
	for (unsigned i = 0; i < 2; i++) {
		if (pf_span_any(r.part[i])) {
			r.part[i].lo <<= k;
			r.part[i].hi <<= k;
		}
	}
	return r;
}

static struct pf_lane shift_right(const struct shiftee *a, unsigned k, bool sign)
{
	unsigned n = a->n;
	uint64_t mask = pf_bits_mask(n), copies = PF_PLANTED(10, false, sign) ? mask & ~(mask >> k) : 0;
	struct pf_span p = a->lane.part[0], q = a->lane.part[1];
	struct pf_tnum t = a->lane.t;
	struct pf_lane r = pf_lane_start(n);

	if (sign)
		r.t = (struct pf_tnum){ (uint64_t)(pf_bits_signed(t.value, n) >> k) & mask,
					(uint64_t)(pf_bits_signed(t.mask, n) >> k) & mask };
	else
		r.t = (struct pf_tnum){ t.value >> k, t.mask >> k };
	if (pf_span_any(p))
		pf_lane_add(&r, n, p.lo >> k, p.hi >> (k + PF_PLANTED(9, 1, 0)));
	if (pf_span_any(q))
		pf_lane_add(&r, n, q.lo >> k | copies, q.hi >> k | copies);
	return r;
}

static struct pf_lane shift_by(enum pf_alu op, const struct shiftee *a, unsigned k)
{
	return op == PF_ALU_LSH ? shift_left(a, k) : shift_right(a, k, op == PF_ALU_ARSH);
}

static bool is_full(const struct pf_lane *l, unsigned n)
{
	struct pf_lane full = pf_lane_full(n);

	return l->t.mask == full.t.mask && l->part[0].lo == 0 && l->part[0].hi == full.part[0].hi &&
	       l->part[1].lo == full.part[1].lo && l->part[1].hi == full.part[1].hi;
}

/* Shift amounts are few: each possible one is tried, until nothing is known of the result. */
static struct pf_lane shift(enum pf_alu op, const struct shiftee *a, const struct pf_lane *amounts, unsigned bits)
{
	unsigned k = (unsigned)pf_lane_umin(amounts), last = (unsigned)pf_lane_umax(amounts);
	struct pf_lane r = shift_by(op, a, k);

	if (k == last)
		return r;
	(void)PF_BUG_ON(!pf_lane_reduce(&r, a->n));
	while (k++ < last && !is_full(&r, a->n)) {
		struct pf_lane other;

		if (!pf_lane_has(amounts, bits, k))
			continue;
		other = shift_by(op, a, k);
		(void)PF_BUG_ON(!pf_lane_reduce(&other, a->n));
		r.t = pf_tnum_union(r.t, other.t);
		for (unsigned i = 0; i < 2; i++)
			pf_span_hull(&r.part[i], other.part[i].lo, other.part[i].hi);
	}
	return r;
}

static void lane_alu(enum pf_alu op, unsigned n, const struct pf_lane *a, const struct pf_lane *b, struct pf_lane *r)
{
	*r = pf_lane_start(n);
	r->t = known_bits(op, n, a->t, b->t);
	for (unsigned i = 0; i < 2; i++) {
		if (!pf_span_any(a->part[i]))
			continue;
		for (unsigned j = 0; j < 2; j++)
			if (pf_span_any(b->part[j]))
				span_pair(op, n, a, i, b, j, r);
	}
}

static bool is_shift(enum pf_alu op)
{
	return op == PF_ALU_LSH || op == PF_ALU_RSH || op == PF_ALU_ARSH;
}

static bool half_range_full(const struct pf_scalar *s)
{
	uint64_t all = pf_bits_mask(PF_HALF_BITS);

	return s->u32max - s->u32min == all && (uint64_t)((int64_t)s->s32max - s->s32min) == all;
}

/* Is it worth computing the low half of the result from the low halves of the operands? It must depend on them only.
 * Of operands of less than half the width the half lanes know nothing that the wide ones do not; and where one half
 * lane has no range, sums, differences, products and exclusive ors of it have none (known bits the wide lane knows). */
static bool by_halves(enum pf_alu op, const struct pf_scalar *dst, const struct pf_scalar *src)
{
	bool add = op == PF_ALU_ADD || op == PF_ALU_SUB || op == PF_ALU_MUL || op == PF_ALU_XOR;

	if (!((dst->umax | src->umax) >> (PF_HALF_BITS - 1)))
		return false;
	if (add)
		return !half_range_full(dst) && !half_range_full(src);
	return op == PF_ALU_AND || op == PF_ALU_OR || op == PF_ALU_LSH;
}

static struct pf_scalar alu_half(enum pf_alu op, const struct pf_scalar *dst, const struct pf_scalar *src)
{
	const unsigned m = PF_HALF_BITS;
	struct pf_lane a = pf_lane_half(dst), b = pf_lane_half(src), r, wide = pf_lane_start(PF_SCALAR_BITS);
	const unsigned bits = (unsigned)__builtin_ctz(m);

	if (!(a.t.mask | b.t.mask))
		return pf_scalar_const(fold(op, m, a.t.value, b.t.value) & pf_bits_mask(m));
	if (is_shift(op)) {
		struct pf_lane amounts = pf_lane_project(&b, m, bits);

		r = shift(op, &(struct shiftee){ m, a, NULL }, &amounts, bits);
	} else {
		lane_alu(op, m, &a, &b, &r);
	}
	wide.t = r.t;
	pf_lane_add(&wide, PF_SCALAR_BITS, pf_lane_umin(&r), pf_lane_umax(&r));
	return pf_lane_result(&wide, &r);
}

static struct pf_scalar alu_wide(enum pf_alu op, const struct pf_scalar *dst, const struct pf_scalar *src)
{
	const unsigned n = PF_SCALAR_BITS, m = PF_HALF_BITS, bits = (unsigned)__builtin_ctz(n);
	struct pf_lane a = pf_lane_wide(dst), b = pf_lane_wide(src), r, half = pf_lane_full(m);
	bool halves = by_halves(op, dst, src);
	struct pf_lane c, d;

	if (!(a.t.mask | b.t.mask))
		return pf_scalar_const(fold(op, n, a.t.value, b.t.value));
	if (halves)
		c = pf_lane_half(dst);
	if (is_shift(op)) {
		struct pf_lane amounts = pf_lane_project(&b, n, bits);

		r = shift(op, &(struct shiftee){ n, a, halves ? &c : NULL }, &amounts, bits);
		if (halves)
			half = shift(op, &(struct shiftee){ m, c, NULL }, &amounts, bits);
	} else {
		lane_alu(op, n, &a, &b, &r);
		if (halves) {
			d = pf_lane_half(src);
			lane_alu(op, m, &c, &d, &half);
		}
	}
	return pf_lane_result(&r, &half);
}

struct pf_scalar pf_scalar_alu(enum pf_alu op, bool wide, const struct pf_scalar *dst, const struct pf_scalar *src)
{
	struct pf_scalar zero;

	if (op == PF_ALU_NEG) {
		zero = pf_scalar_const(0);
		src = dst;
		dst = &zero;
		op = PF_ALU_SUB;
	}
	return wide || PF_PLANTED(12, op == PF_ALU_ADD, false) ? alu_wide(op, dst, src) : alu_half(op, dst, src);
}
