/* tnum.c - arithmetic on known bits.
 *
 * Soundness of every operation: for x in gamma(a), y in gamma(b), op(x, y) is in gamma(result). Additions and products
 * take all numbers modulo 2^64, so the low n bits of a result are right for the low n bits of the operands as well. */
#include "scalar.h"

/* x with all bits below its highest one set too. */
static uint64_t fill(uint64_t x)
{
	return x ? ~UINT64_C(0) >> __builtin_clzll(x) : 0;
}

static struct pf_tnum make(uint64_t value, uint64_t unknown)
{
	return (struct pf_tnum){ .value = value & ~unknown, .mask = unknown };
}

struct pf_tnum pf_tnum_range(uint64_t min, uint64_t max)
{
	return make(min, fill(min ^ max));
}

/* A carry into a bit is unknown only if the smallest sum and the largest differ there (carries grow with operands). */
struct pf_tnum pf_tnum_add(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t low = a.value + b.value;
	uint64_t high = (a.value | a.mask) + (b.value | b.mask);

	return make(low, (low ^ high) | a.mask | b.mask);
}

/* The same for borrows: they are fewest for the largest a and the smallest b. */
struct pf_tnum pf_tnum_sub(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t high = (a.value | a.mask) - b.value;
	uint64_t low = a.value - (b.value | b.mask);

	return make(a.value - b.value, (low ^ high) | a.mask | b.mask);
}

/* Written multiplication, bit by bit of a; where a's bit is unknown, both outcomes are joined. Nothing is known of the
 * bits in `lost`; it ends early when every bit that later terms can reach is unknown. */
static struct pf_tnum written_product(struct pf_tnum a, struct pf_tnum b, uint64_t lost)
{
	struct pf_tnum sum = { 0, lost };

	for (uint64_t bits = a.value | a.mask; bits; bits &= bits - 1) {
		unsigned i = (unsigned)__builtin_ctzll(bits);
		struct pf_tnum term = { b.value << i, b.mask << i };
		struct pf_tnum with;

		if (!(~sum.mask >> i))
			break;
		with = pf_tnum_add(sum, term);
		sum = a.value >> i & 1 ? with : pf_tnum_union(sum, with);
	}
	return sum;
}

/* If all of a's bits from i up are unknown and k is the lowest bit that b may have, the product can have any value in
 * its bits from i + k up: those bits are lost. */
static uint64_t lost_bits(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t low = fill(~a.mask), may = b.value | b.mask; /* low: the bits below i */

	return ~low * (may & -may);
}

/* Neither order of the operands is the more precise one always: both are right, so their common knowledge is too. */
struct pf_tnum pf_tnum_mul(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t lost = lost_bits(a, b) | lost_bits(b, a);
	struct pf_tnum result;

	if (!(a.mask | b.mask))
		return make(a.value * b.value, 0);
	result = written_product(a, b, lost);
	if (~result.mask)
		(void)pf_tnum_intersect(result, written_product(b, a, lost), &result);
	return result;
}

struct pf_tnum pf_tnum_and(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t ones = a.value & b.value;

	return make(ones, (a.value | a.mask) & (b.value | b.mask) & ~ones);
}

struct pf_tnum pf_tnum_or(struct pf_tnum a, struct pf_tnum b)
{
	uint64_t ones = a.value | b.value;

	return make(ones, (a.mask | b.mask) & ~ones);
}

struct pf_tnum pf_tnum_xor(struct pf_tnum a, struct pf_tnum b)
{
	return make(a.value ^ b.value, a.mask | b.mask);
}

bool pf_tnum_intersect(struct pf_tnum a, struct pf_tnum b, struct pf_tnum *out)
{
	if ((a.value ^ b.value) & ~a.mask & ~b.mask)
		return false;
	*out = make(a.value | b.value, a.mask & b.mask);
	return true;
}

struct pf_tnum pf_tnum_union(struct pf_tnum a, struct pf_tnum b)
{
	return make(a.value, a.mask | b.mask | (a.value ^ b.value));
}
