/* scalar.c - normal form, construction, comparison and width changes of scalars. The method is in lane.h. */
#include "lane.h"

static struct pf_lane lane_of(unsigned n, struct pf_tnum t, struct pf_span u, int64_t smin, int64_t smax)
{
	struct pf_lane l = { t, { pf_span_none(), pf_span_none() } };
	uint64_t mask = pf_bits_mask(n);

	if (smax >= 0) {
		l.part[0].lo = pf_max(u.lo, smin > 0 ? (uint64_t)smin : 0);
		l.part[0].hi = pf_min(u.hi, (uint64_t)smax);
	}
	if (smin < 0) {
		l.part[1].lo = pf_max(u.lo, (uint64_t)smin & mask);
		l.part[1].hi = pf_min(u.hi, smax < 0 ? (uint64_t)smax & mask : mask);
	}
	return l;
}

struct pf_lane pf_lane_wide(const struct pf_scalar *s)
{
	return lane_of(PF_SCALAR_BITS, s->t, (struct pf_span){ s->umin, s->umax }, s->smin, s->smax);
}

struct pf_lane pf_lane_half(const struct pf_scalar *s)
{
	return lane_of(PF_HALF_BITS, pf_tnum_low(s->t, PF_HALF_BITS), (struct pf_span){ s->u32min, s->u32max },
		       s->s32min, s->s32max);
}

struct pf_scalar pf_lane_scalar(const struct pf_lane *wide, const struct pf_lane *half)
{
	const unsigned n = PF_SCALAR_BITS, m = PF_HALF_BITS;

	return (struct pf_scalar){
		.t = wide->t,
		.umin = pf_lane_umin(wide),
		.umax = pf_lane_umax(wide),
		.smin = pf_bits_signed(pf_lane_smin(wide), n),
		.smax = pf_bits_signed(pf_lane_smax(wide), n),
		.u32min = (uint32_t)pf_lane_umin(half),
		.u32max = (uint32_t)pf_lane_umax(half),
		.s32min = (int32_t)pf_bits_signed(pf_lane_smin(half), m),
		.s32max = (int32_t)pf_bits_signed(pf_lane_smax(half), m),
	};
}

/* Collects the known bits of members that come span by span. */
struct bits {
	uint64_t ones, zeros; /* bits some member has set, has clear */
};

/* Adds those of t that lie in s, both ends of which do: bits above the first difference of the ends are fixed; of
 * those below, members on either side of the difference have every unknown one set and clear. */
static void bits_add(struct bits *b, struct pf_tnum t, struct pf_span s)
{
	uint64_t unknown = t.mask & pf_bits_fill(s.lo ^ s.hi);

	b->ones |= s.lo | unknown;
	b->zeros |= ~s.lo | unknown;
}

static struct pf_tnum bits_tnum(struct bits b)
{
	return (struct pf_tnum){ b.ones & ~b.zeros, b.ones & b.zeros };
}

/* Shrinks s to its members of t. */
static bool span_fit(struct pf_span *s, struct pf_tnum t)
{
	return pf_span_any(*s) && pf_tnum_up(t, &s->lo) && pf_tnum_down(t, &s->hi) && pf_span_any(*s);
}

bool pf_lane_reduce(struct pf_lane *l, unsigned n)
{
	struct bits bits = { 0, 0 };

	for (unsigned i = 0; i < 2; i++) {
		if (span_fit(&l->part[i], l->t))
			bits_add(&bits, l->t, l->part[i]);
		else
			l->part[i] = pf_span_none();
	}
	l->t = pf_tnum_low(bits_tnum(bits), n);
	return pf_span_any(l->part[0]) || pf_span_any(l->part[1]);
}

struct pf_lane pf_lane_project(const struct pf_lane *l, unsigned from, unsigned to)
{
	struct pf_lane r = pf_lane_start(to);

	if (from == to)
		return *l;
	r.t = pf_tnum_low(l->t, to);
	for (unsigned i = 0; i < 2; i++) {
		if (!pf_span_any(l->part[i]))
			continue;
		if (l->part[i].hi - l->part[i].lo >= pf_bits_mask(to))
			pf_lane_add(&r, to, 0, pf_bits_mask(to));
		else
			pf_lane_add_circular(&r, to, l->part[i].lo, l->part[i].hi);
	}
	(void)PF_BUG_ON(!pf_lane_reduce(&r, to));
	return r;
}

/* Moves *x up (down) to the nearest member of a reduced lane. */
static bool lane_up(const struct pf_lane *l, uint64_t *x)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!pf_span_any(l->part[i]) || *x > l->part[i].hi)
			continue;
		*x = pf_max(*x, l->part[i].lo);
		return pf_tnum_up(l->t, x);
	}
	return false;
}

static bool lane_down(const struct pf_lane *l, uint64_t *x)
{
	for (unsigned i = 2; i-- > 0;) {
		if (!pf_span_any(l->part[i]) || *x < l->part[i].lo)
			continue;
		*x = pf_min(*x, l->part[i].hi);
		return pf_tnum_down(l->t, x);
	}
	return false;
}

/* Moves *x up to the nearest number with t's upper bits and a lower half in `half`. */
static bool member_up(struct pf_tnum t, const struct pf_lane *half, uint64_t *x)
{
	uint64_t low = pf_bits_mask(PF_HALF_BITS), top = *x & ~low, rest = *x & low;
	struct pf_tnum upper = { t.value & ~low, t.mask & ~low };

	if (!((top ^ upper.value) & ~upper.mask)) {
		if (lane_up(half, &rest)) {
			*x = top | rest;
			return true;
		}
		top += low + 1;
		if (!top)
			return false;
	}
	if (!pf_tnum_up(upper, &top))
		return false;
	*x = top | pf_lane_umin(half);
	return true;
}

static bool member_down(struct pf_tnum t, const struct pf_lane *half, uint64_t *x)
{
	uint64_t low = pf_bits_mask(PF_HALF_BITS), top = *x & ~low, rest = *x & low;
	struct pf_tnum upper = { t.value & ~low, t.mask & ~low };

	if (!((top ^ upper.value) & ~upper.mask)) {
		if (lane_down(half, &rest)) {
			*x = top | rest;
			return true;
		}
		if (!top)
			return false;
		top -= low + 1;
	}
	if (!pf_tnum_down(upper, &top))
		return false;
	*x = top | pf_lane_umax(half);
	return true;
}

/* Are the spans of a reduced lane no more than what its bits say? */
static bool spans_add_nothing(const struct pf_lane *l, unsigned n)
{
	uint64_t sign = pf_bits_sign(n), min = l->t.value, max = l->t.value | l->t.mask;

	if (pf_lane_umin(l) != min || pf_lane_umax(l) != max)
		return false;
	return !(l->t.mask & sign) || (l->part[0].hi == (max & ~sign) && l->part[1].lo == (min | sign));
}

/* Adds the members of half in lo..hi to r. */
static void half_clip(const struct pf_lane *half, uint64_t lo, uint64_t hi, struct pf_lane *r, struct bits *bits)
{
	for (unsigned i = 0; i < 2; i++) {
		struct pf_span s = { pf_max(half->part[i].lo, lo), pf_min(half->part[i].hi, hi) };

		if (!span_fit(&s, half->t))
			continue;
		pf_span_hull(&r->part[i], s.lo, s.hi);
		bits_add(bits, half->t, s);
	}
}

/* Keeps of half what occurs in wide, whose spans are tight already. An upper half strictly between those of a span's
 * ends goes with every lower half; then nothing can be said. */
static void half_from_wide(const struct pf_lane *wide, struct pf_lane *half)
{
	uint64_t low = pf_bits_mask(PF_HALF_BITS);
	struct pf_tnum upper = { wide->t.value & ~low, wide->t.mask & ~low };
	struct pf_lane r = pf_lane_start(PF_HALF_BITS);
	struct bits bits = { 0, 0 };

	for (unsigned i = 0; i < 2; i++) {
		struct pf_span s = wide->part[i];
		uint64_t next = (s.lo | low) + 1;

		if (!pf_span_any(s))
			continue;
		if (!((s.lo ^ s.hi) & ~low)) {
			half_clip(half, s.lo & low, s.hi & low, &r, &bits);
			continue;
		}
		if (pf_tnum_up(upper, &next) && next < (s.hi & ~low))
			return;
		half_clip(half, s.lo & low, low, &r, &bits);
		half_clip(half, 0, s.hi & low, &r, &bits);
	}
	r.t = pf_tnum_low(bits_tnum(bits), PF_HALF_BITS);
	*half = r;
}

static bool combine_const(struct pf_lane *wide, struct pf_lane *half)
{
	uint64_t x = wide->t.value;

	if (!pf_lane_has(wide, PF_SCALAR_BITS, x) || !pf_lane_has(half, PF_HALF_BITS, half->t.value))
		return false;
	for (unsigned i = 0; i < 2; i++)
		wide->part[i] = half->part[i] = pf_span_none();
	pf_lane_add(wide, PF_SCALAR_BITS, x, x);
	pf_lane_add(half, PF_HALF_BITS, half->t.value, half->t.value);
	return true;
}

/* Each step computes the exact hull of the same set, from constraints that earlier steps only restated: so one pass is
 * enough, and the result depends on the set alone. */
bool pf_lane_combine(struct pf_lane *wide, struct pf_lane *half)
{
	uint64_t low = pf_bits_mask(PF_HALF_BITS);
	struct bits bits = { 0, 0 };
	bool simple;

	if (!pf_tnum_intersect(half->t, pf_tnum_low(wide->t, PF_HALF_BITS), &half->t))
		return false;
	if (!((wide->t.mask & ~low) | half->t.mask)) {
		wide->t = (struct pf_tnum){ (wide->t.value & ~low) | half->t.value, 0 };
		return combine_const(wide, half);
	}
	if (!pf_lane_reduce(half, PF_HALF_BITS))
		return false;
	wide->t.value = (wide->t.value & ~low) | half->t.value;
	wide->t.mask = (wide->t.mask & ~low) | half->t.mask;
	simple = spans_add_nothing(half, PF_HALF_BITS);
	for (unsigned i = 0; i < 2; i++) {
		struct pf_span *s = &wide->part[i];

		if (simple ? span_fit(s, wide->t) :
			     pf_span_any(*s) && member_up(wide->t, half, &s->lo) && member_down(wide->t, half, &s->hi) &&
				     pf_span_any(*s))
			bits_add(&bits, wide->t, *s);
		else
			*s = pf_span_none();
	}
	if (!pf_span_any(wide->part[0]) && !pf_span_any(wide->part[1]))
		return false;
	half_from_wide(wide, half);
	wide->t = bits_tnum(bits);
	wide->t.value = (wide->t.value & ~low) | half->t.value;
	wide->t.mask = (wide->t.mask & ~low) | half->t.mask;
	return true;
}

struct pf_scalar pf_lane_result(struct pf_lane *wide, struct pf_lane *half)
{
	if (PF_BUG_ON(!pf_lane_combine(wide, half)))
		return pf_scalar_unknown();
	return pf_lane_scalar(wide, half);
}

bool pf_scalar_normalise(struct pf_scalar *s)
{
	struct pf_lane wide = pf_lane_wide(s), half = pf_lane_half(s);

	if (!pf_lane_combine(&wide, &half))
		return false;
	*s = pf_lane_scalar(&wide, &half);
	return true;
}

struct pf_scalar pf_scalar_const(uint64_t value)
{
	uint64_t x = value & pf_bits_mask(PF_SCALAR_BITS), y = value & pf_bits_mask(PF_HALF_BITS);
	int64_t sx = pf_bits_signed(x, PF_SCALAR_BITS);
	int32_t sy = (int32_t)pf_bits_signed(y, PF_HALF_BITS);

	return (struct pf_scalar){ { x, 0 }, x, x, sx, sx, (uint32_t)y, (uint32_t)y, sy, sy };
}

struct pf_scalar pf_scalar_unknown(void)
{
	struct pf_lane wide = pf_lane_full(PF_SCALAR_BITS), half = pf_lane_full(PF_HALF_BITS);

	return pf_lane_scalar(&wide, &half);
}

struct pf_scalar pf_scalar_loaded(uint32_t bytes, bool sign)
{
	struct pf_scalar s = pf_scalar_unknown();

	return sign ? pf_scalar_sext(&s, bytes * 8, true) : pf_scalar_truncate(&s, bytes);
}

struct pf_scalar pf_scalar_range(uint64_t umin, uint64_t umax)
{
	struct pf_lane wide = pf_lane_start(PF_SCALAR_BITS), half = pf_lane_full(PF_HALF_BITS);

	pf_lane_add(&wide, PF_SCALAR_BITS, umin, umax);
	return pf_lane_result(&wide, &half);
}

struct pf_scalar pf_scalar_srange(int64_t smin, int64_t smax)
{
	struct pf_lane wide = pf_lane_start(PF_SCALAR_BITS), half = pf_lane_full(PF_HALF_BITS);

	pf_lane_add_circular(&wide, PF_SCALAR_BITS, (uint64_t)smin, (uint64_t)smax);
	return pf_lane_result(&wide, &half);
}

bool pf_scalar_contains(const struct pf_scalar *s, uint64_t value)
{
	uint64_t y = value & pf_bits_mask(PF_HALF_BITS);
	int64_t sx = pf_bits_signed(value, PF_SCALAR_BITS), sy = pf_bits_signed(y, PF_HALF_BITS);

	return ((value ^ s->t.value) & ~s->t.mask) == 0 && s->umin <= value && value <= s->umax && s->smin <= sx &&
	       sx <= s->smax && s->u32min <= y && y <= s->u32max && s->s32min <= sy && sy <= s->s32max;
}

bool pf_scalar_equal(const struct pf_scalar *a, const struct pf_scalar *b)
{
	return a->t.value == b->t.value && a->t.mask == b->t.mask && a->umin == b->umin && a->umax == b->umax &&
	       a->smin == b->smin && a->smax == b->smax && a->u32min == b->u32min && a->u32max == b->u32max &&
	       a->s32min == b->s32min && a->s32max == b->s32max;
}

/* By L2 both sides are the best descriptions of their sets, so this is exact. */
bool pf_scalar_subset(const struct pf_scalar *a, const struct pf_scalar *b)
{
	return !((a->t.mask | (a->t.value ^ b->t.value)) & ~b->t.mask) && b->umin <= a->umin && a->umax <= b->umax &&
	       b->smin <= a->smin && a->smax <= b->smax && b->u32min <= a->u32min && a->u32max <= b->u32max &&
	       b->s32min <= a->s32min && a->s32max <= b->s32max;
}

/* Every end of a range is a member of a or b, every unknown bit one in which members differ: L2 holds by itself. */
struct pf_scalar pf_scalar_join(const struct pf_scalar *a, const struct pf_scalar *b)
{
	return (struct pf_scalar){
		.t = pf_tnum_union(a->t, b->t),
		.umin = a->umin < b->umin ? a->umin : b->umin,
		.umax = a->umax > b->umax ? a->umax : b->umax,
		.smin = a->smin < b->smin ? a->smin : b->smin,
		.smax = a->smax > b->smax ? a->smax : b->smax,
		.u32min = a->u32min < b->u32min ? a->u32min : b->u32min,
		.u32max = a->u32max > b->u32max ? a->u32max : b->u32max,
		.s32min = a->s32min < b->s32min ? a->s32min : b->s32min,
		.s32max = a->s32max > b->s32max ? a->s32max : b->s32max,
	};
}

/* A lane of fewer bits than the half one, read as a number of its own. */
static struct pf_scalar zext(const struct pf_lane *l)
{
	struct pf_lane wide = pf_lane_start(PF_SCALAR_BITS), half = pf_lane_full(PF_HALF_BITS);

	wide.t = l->t;
	pf_lane_add(&wide, PF_SCALAR_BITS, pf_lane_umin(l), pf_lane_umax(l));
	return pf_lane_result(&wide, &half);
}

struct pf_scalar pf_scalar_zext32(const struct pf_scalar *s)
{
	struct pf_scalar r = *s;

	r.t = pf_tnum_low(s->t, PF_HALF_BITS);
	r.umin = s->u32min;
	r.umax = s->u32max;
	r.smin = (int64_t)r.umin;
	r.smax = (int64_t)r.umax;
	return r;
}

struct pf_scalar pf_scalar_truncate(const struct pf_scalar *s, uint32_t bytes)
{
	unsigned k = pf_bits_scale(bytes * 8);
	struct pf_lane l;

	if (k >= PF_SCALAR_BITS)
		return *s;
	if (k == PF_HALF_BITS)
		return pf_scalar_zext32(s);
	l = pf_lane_half(s);
	l = pf_lane_project(&l, PF_HALF_BITS, k);
	return zext(&l);
}

/* l of k bits in n bits, its sign bit repeated. */
static struct pf_lane lane_sext(struct pf_lane l, unsigned k, unsigned n)
{
	uint64_t mask = pf_bits_mask(n);

	l.t.value = (uint64_t)pf_bits_signed(l.t.value, k) & mask;
	l.t.mask = (uint64_t)pf_bits_signed(l.t.mask, k) & mask;
	if (pf_span_any(l.part[1])) {
		l.part[1].lo = (uint64_t)pf_bits_signed(l.part[1].lo, k) & mask;
		l.part[1].hi = (uint64_t)pf_bits_signed(l.part[1].hi, k) & mask;
	}
	return l;
}

struct pf_scalar pf_scalar_sext(const struct pf_scalar *s, uint32_t bits, bool wide)
{
	unsigned k = pf_bits_scale(bits);
	struct pf_lane l = pf_lane_half(s), half = pf_lane_full(PF_HALF_BITS), r;

	l = pf_lane_project(&l, PF_HALF_BITS, k);
	if (wide) {
		r = lane_sext(l, k, PF_SCALAR_BITS);
	} else {
		half = lane_sext(l, k, PF_HALF_BITS);
		r = pf_lane_start(PF_SCALAR_BITS);
		r.t = half.t;
		pf_lane_add(&r, PF_SCALAR_BITS, pf_lane_umin(&half), pf_lane_umax(&half));
	}
	return pf_lane_result(&r, &half);
}

static uint64_t reverse(uint64_t x, unsigned bits)
{
	unsigned byte = pf_bits_scale(8);
	uint64_t r = 0;

	for (unsigned i = 0; i < bits; i += byte, x >>= byte)
		r = r << byte | (x & pf_bits_mask(byte));
	return r;
}

/* Only known bits survive: neighbours in a range are far apart in the other byte order. */
struct pf_scalar pf_scalar_swap(const struct pf_scalar *s, uint32_t bits, bool swap)
{
	unsigned k = pf_bits_scale(bits);
	struct pf_lane wide, half;

	if (!swap)
		return pf_scalar_truncate(s, bits / 8);
	wide = pf_lane_full(PF_SCALAR_BITS);
	half = pf_lane_full(PF_HALF_BITS);
	wide.t = (struct pf_tnum){ reverse(s->t.value, k), reverse(s->t.mask, k) };
	return pf_lane_result(&wide, &half);
}
