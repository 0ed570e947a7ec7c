/* lane.h - how the scalar domain computes: one width at a time, on the two signs apart. Internal to scalar*.c.
 *
 * Terms
 *   lane  the part of a scalar that speaks of its low n bits: n is PF_SCALAR_BITS ("wide") or half of it ("half")
 *   span  an interval of n-bit numbers, as unsigned numbers; lo > hi: empty
 *   part  a lane's two spans: part[0] holds the non-negative members, part[1] the negative ones. An unsigned and a
 *         signed range together say exactly that: umin..smax and smin..umax where both signs are possible. On one part,
 *         unsigned and signed order agree, so operations need no case for each.
 *
 * Invariants
 *   L1 A lane's bits and span ends lie in n bits. part[0] is below 2^(n-1), part[1] is not.
 *   L2 pf_lane_reduce and pf_lane_combine leave the best description of the very same set: every end of a span is a
 *      member, a bit is unknown only if members differ in it. So equal sets have equal descriptions, and another
 *      call changes nothing.
 *   L3 Widths are parameters everywhere: the tests build these sources with PF_SCALAR_BITS 4 and 8, where everything
 *      can be enumerated. "8 bits" of an instruction then means an eighth of the width.
 */
#ifndef PF_LANE_H
#define PF_LANE_H

#include "scalar.h"

#ifndef PF_SCALAR_BITS
#define PF_SCALAR_BITS 64u
#endif
#define PF_HALF_BITS (PF_SCALAR_BITS / 2)

struct pf_span {
	uint64_t lo, hi;
};

struct pf_lane {
	struct pf_tnum t;
	struct pf_span part[2];
};

static inline uint64_t pf_bits_mask(unsigned n) { return ~UINT64_C(0) >> (64 - n); }
static inline uint64_t pf_bits_sign(unsigned n) { return UINT64_C(1) << (n - 1); }
static inline int64_t pf_bits_signed(uint64_t x, unsigned n) { return (int64_t)(x << (64 - n)) >> (64 - n); }
/* x with all bits below its highest one set too. */
static inline uint64_t pf_bits_fill(uint64_t x) { return x ? ~UINT64_C(0) >> __builtin_clzll(x) : 0; }
/* An instruction's number of bits, in the width that is being built. */
static inline unsigned pf_bits_scale(uint32_t bits) { return bits * PF_SCALAR_BITS / 64; }

static inline uint64_t pf_min(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t pf_max(uint64_t a, uint64_t b) { return a > b ? a : b; }

static inline bool pf_span_any(struct pf_span s) { return s.lo <= s.hi; }
static inline struct pf_span pf_span_none(void) { return (struct pf_span){ .lo = ~UINT64_C(0), .hi = 0 }; }

/* Ends of a lane that is not empty. */
static inline uint64_t pf_lane_umin(const struct pf_lane *l) { return l->part[!pf_span_any(l->part[0])].lo; }
static inline uint64_t pf_lane_umax(const struct pf_lane *l) { return l->part[pf_span_any(l->part[1])].hi; }
static inline uint64_t pf_lane_smin(const struct pf_lane *l) { return l->part[pf_span_any(l->part[1])].lo; }
static inline uint64_t pf_lane_smax(const struct pf_lane *l) { return l->part[!pf_span_any(l->part[0])].hi; }
static inline bool pf_lane_has(const struct pf_lane *l, unsigned n, uint64_t x)
{
	struct pf_span s = l->part[x >> (n - 1)];

	return ((x ^ l->t.value) & ~l->t.mask) == 0 && s.lo <= x && x <= s.hi;
}

static inline struct pf_lane pf_lane_full(unsigned n)
{
	uint64_t mask = pf_bits_mask(n), sign = pf_bits_sign(n);

	return (struct pf_lane){ { 0, mask }, { { 0, sign - 1 }, { sign, mask } } };
}

/* No member yet, bits not yet limited: the start of a result that is collected span by span. */
static inline struct pf_lane pf_lane_start(unsigned n)
{
	return (struct pf_lane){ { 0, pf_bits_mask(n) }, { pf_span_none(), pf_span_none() } };
}

static inline void pf_span_hull(struct pf_span *s, uint64_t lo, uint64_t hi)
{
	s->lo = pf_min(s->lo, lo);
	s->hi = pf_max(s->hi, hi);
}

/* Adds lo..hi (lo <= hi) to the spans. */
static inline void pf_lane_add(struct pf_lane *l, unsigned n, uint64_t lo, uint64_t hi)
{
	uint64_t sign = pf_bits_sign(n);

	if (lo < sign)
		pf_span_hull(&l->part[0], lo, pf_min(hi, sign - 1));
	if (hi >= sign)
		pf_span_hull(&l->part[1], pf_max(lo, sign), hi);
}

/* Adds the numbers met when counting up from lo to hi, both modulo 2^n. */
static inline void pf_lane_add_circular(struct pf_lane *l, unsigned n, uint64_t lo, uint64_t hi)
{
	uint64_t mask = pf_bits_mask(n);

	lo &= mask;
	hi &= mask;
	if (lo <= hi) {
		pf_lane_add(l, n, lo, hi);
	} else {
		pf_lane_add(l, n, lo, mask);
		pf_lane_add(l, n, 0, hi);
	}
}

static inline struct pf_tnum pf_tnum_low(struct pf_tnum t, unsigned n)
{
	return (struct pf_tnum){ t.value & pf_bits_mask(n), t.mask & pf_bits_mask(n) };
}

/* Moves *x up (down) to the nearest number that has t's known bits; false: there is none. */
static inline bool pf_tnum_up(struct pf_tnum t, uint64_t *x)
{
	uint64_t wrong = (*x ^ t.value) & ~t.mask;
	uint64_t below, bit;

	if (!wrong)
		return true;
	below = pf_bits_fill(wrong); /* the highest wrong bit and everything under it */
	bit = below ^ below >> 1;
	if (t.value & bit) { /* setting it is going up: what is under it becomes the least possible */
		*x = (*x & ~below) | (t.value & below);
		return true;
	}
	bit = t.mask & ~*x & ~below; /* a free zero above must carry */
	bit &= -bit;
	if (!bit)
		return false;
	*x = (*x & -bit) | bit | (t.value & (bit - 1));
	return true;
}

static inline bool pf_tnum_down(struct pf_tnum t, uint64_t *x)
{
	uint64_t mirror = ~*x;

	if (!pf_tnum_up((struct pf_tnum){ ~(t.value | t.mask), t.mask }, &mirror))
		return false;
	*x = ~mirror;
	return true;
}

struct pf_lane pf_lane_wide(const struct pf_scalar *s);
struct pf_lane pf_lane_half(const struct pf_scalar *s);
/* L2 for one lane alone; false: it is empty. */
bool pf_lane_reduce(struct pf_lane *l, unsigned n);
/* The low `to` bits of l, which has `from` of them; l is reduced, so is the result. */
struct pf_lane pf_lane_project(const struct pf_lane *l, unsigned from, unsigned to);
/* L2 for both lanes of one scalar; false: it is empty. */
bool pf_lane_combine(struct pf_lane *wide, struct pf_lane *half);
/* The scalar whose lanes these (combined) ones are. */
struct pf_scalar pf_lane_scalar(const struct pf_lane *wide, const struct pf_lane *half);
/* The scalar for lanes that an operation computed: combined; empty would be a bug of ours, and gives unknown. */
struct pf_scalar pf_lane_result(struct pf_lane *wide, struct pf_lane *half);

#endif
