/* test_scalar_small.c - the scalar domain's own sources, built for numbers of 4 and 8 bits, where everything can be
 * enumerated. At 4 bits (half: 2) there are 3,175 abstract values that differ in what they stand for; pairs of them are
 * tried against the set of results of all concrete pairs. At 8 bits (half: 4, a "byte" is one bit) values are drawn.
 * With PF_EXHAUSTIVE set in the environment every pair of 4-bit values is tried, and the precision is printed.
 */
static unsigned bits_under_test = 4;
#define PF_SCALAR_BITS bits_under_test

#include <string.h>

#include "scalar_oracle.h"
#include "verifier/scalar.c"
#include "verifier/scalar_alu.c"
#include "verifier/scalar_branch.c"
#include "verifier/tnum.c"

#define SETS 65536 /* sets of 4-bit numbers, as bit masks */

static struct pf_scalar hull_of[SETS]; /* the best description of a set */
static uint16_t values[SETS];	       /* the sets that are described exactly: all abstract values there are */
static uint32_t n_values;
static uint16_t row[16][SETS]; /* the set { x op y : y in set } */
static bool exhaustive;

/* Everything the domain can say about a set, computed number by number. */
static struct pf_scalar hull(const uint64_t *x, unsigned count, unsigned n)
{
	struct pf_scalar s;
	uint64_t ones = 0, zeros = 0;

	memset(&s, 0, sizeof(s));
	for (unsigned i = 0; i < count; i++) {
		int64_t sx = oracle_signed(x[i], n), sy = oracle_signed(x[i], n / 2);
		uint64_t y = oracle_low(x[i], n / 2);

		ones |= x[i];
		zeros |= oracle_low(~x[i], n);
		s.umin = !i || x[i] < s.umin ? x[i] : s.umin;
		s.umax = !i || x[i] > s.umax ? x[i] : s.umax;
		s.smin = !i || sx < s.smin ? sx : s.smin;
		s.smax = !i || sx > s.smax ? sx : s.smax;
		s.u32min = !i || y < s.u32min ? (uint32_t)y : s.u32min;
		s.u32max = !i || y > s.u32max ? (uint32_t)y : s.u32max;
		s.s32min = !i || sy < s.s32min ? (int32_t)sy : s.s32min;
		s.s32max = !i || sy > s.s32max ? (int32_t)sy : s.s32max;
	}
	s.t.value = ones & ~zeros;
	s.t.mask = ones & zeros;
	return s;
}

/* The numbers s stands for, straight from S1. */
static unsigned members(const struct pf_scalar *s, unsigned n, uint64_t *x)
{
	unsigned count = 0;

	for (uint64_t v = 0; v < UINT64_C(1) << n; v++) {
		int64_t sv = oracle_signed(v, n), sy = oracle_signed(v, n / 2);
		uint64_t y = oracle_low(v, n / 2);
		bool in = (v & ~s->t.mask) == s->t.value && s->umin <= v && v <= s->umax && s->smin <= sv && sv <= s->smax &&
			  s->u32min <= y && y <= s->u32max && s->s32min <= sy && sy <= s->s32max;

		CHECK_EQ(pf_scalar_contains(s, v), in);
		if (in)
			x[count++] = v;
	}
	return count;
}

static unsigned set_of(const struct pf_scalar *s)
{
	uint64_t x[16];
	unsigned set = 0, count = members(s, 4, x);

	while (count--)
		set |= 1u << x[count];
	return set;
}

/* Is every part of the tight description a within b's? */
static bool within(const struct pf_scalar *a, const struct pf_scalar *b)
{
	return (a->t.mask & ~b->t.mask) == 0 && (a->t.value & ~b->t.mask) == b->t.value && a->umin >= b->umin &&
	       a->umax <= b->umax && a->smin >= b->smin && a->smax <= b->smax && a->u32min >= b->u32min &&
	       a->u32max <= b->u32max && a->s32min >= b->s32min && a->s32max <= b->s32max;
}

static void make_values(void)
{
	for (unsigned set = 1; set < SETS; set++) {
		uint64_t x[16];
		unsigned count = 0;

		for (unsigned v = 0; v < 16; v++)
			if (set >> v & 1)
				x[count++] = v;
		hull_of[set] = hull(x, count, 4);
		if (set_of(&hull_of[set]) == set)
			values[n_values++] = (uint16_t)set;
	}
	CHECK_EQ(n_values, 3175);
}

static uint64_t pick(uint64_t *random, uint64_t below) { return oracle_random(random) % below; }

/* Any components at all, consistent or not: normalising gives the hull of what they stand for, or says bottom. */
static void test_normalise(unsigned n, unsigned rounds)
{
	uint64_t random = n, x[256], all = (UINT64_C(1) << n) - 1, low = (UINT64_C(1) << n / 2) - 1;

	for (unsigned i = 0; i < rounds; i++) {
		struct pf_scalar s, want, again;
		uint64_t r = oracle_random(&random);
		unsigned count;

		bits_under_test = n;
		s = pf_scalar_unknown();
		if (r & 3)
			s.t.mask = oracle_random(&random) & (r & 4 ? all : oracle_random(&random) | ~low) & all;
		s.t.value = oracle_random(&random) & ~s.t.mask & all;
		if (r & 8)
			s.umin = pick(&random, all + 1);
		if (r & 16)
			s.umax = s.umin + pick(&random, all + 1 - s.umin);
		if (r & 32)
			s.smin = oracle_signed(pick(&random, all + 1), n);
		if (r & 64)
			s.smax = s.smin + (int64_t)pick(&random, (uint64_t)((int64_t)(all / 2) - s.smin + 1));
		if (r & 128)
			s.u32min = (uint32_t)pick(&random, low + 1);
		if (r & 256)
			s.u32max = s.u32min + (uint32_t)pick(&random, low + 1 - s.u32min);
		if (r & 512)
			s.s32min = (int32_t)oracle_signed(pick(&random, low + 1), n / 2);
		if (r & 1024)
			s.s32max = s.s32min + (int32_t)pick(&random, (uint64_t)((int64_t)(low / 2) - s.s32min + 1));
		count = members(&s, n, x);
		CHECK_EQ(pf_scalar_normalise(&s), count > 0);
		if (!count)
			continue;
		want = hull(x, count, n);
		CHECK(pf_scalar_equal(&s, &want));
		again = s;
		CHECK(pf_scalar_normalise(&again) && pf_scalar_equal(&again, &s));
	}
}

static void test_values(void)
{
	for (uint32_t i = 0; i < n_values; i++) {
		struct pf_scalar a = hull_of[values[i]], s = a;

		CHECK(pf_scalar_normalise(&s) && pf_scalar_equal(&s, &a));
		for (uint32_t j = i % 3; j < n_values; j += exhaustive ? 1 : 3) {
			unsigned x = values[i], y = values[j];
			struct pf_scalar b = hull_of[y], joined = pf_scalar_join(&a, &b);

			CHECK_EQ(pf_scalar_subset(&a, &b), (x & ~y) == 0);
			CHECK_EQ(pf_scalar_equal(&a, &b), x == y);
			CHECK(pf_scalar_equal(&joined, &hull_of[x | y]));
		}
	}
	for (uint64_t lo = 0; lo < 16; lo++) {
		for (uint64_t hi = lo; hi < 16; hi++) {
			struct pf_scalar u = pf_scalar_range(lo, hi);
			struct pf_scalar s = pf_scalar_srange((int64_t)lo - 8, (int64_t)hi - 8);
			unsigned set = (2u << hi) - (1u << lo);

			CHECK(pf_scalar_equal(&u, &hull_of[set]));
			CHECK(pf_scalar_equal(&s, &hull_of[(set << 8 | set >> 8) & 0xffff]));
		}
	}
}

struct score {
	uint64_t results, best;
};

static const char *const alu_names[] = { "add", "sub", "mul", "div", "sdiv", "mod", "smod",
					 "or",	"and", "xor", "lsh", "rsh",  "arsh", "neg" };
static const char *const cmp_names[] = { "eq", "ne", "gt", "ge", "lt", "le", "sgt", "sge", "slt", "sle", "set" };

/* Least share, in per cent, of 4-bit results that are the best the domain can say: what was reached, rounded down. Most
 * of what is missing are sets with holes, which no interval operation sees. */
static const double alu_floor[PF_ALUS] = { 90, 90, 44, 58, 88, 29, 64, 94, 94, 90, 65, 65, 75, 99 };

/* In the sample that is tried without PF_EXHAUSTIVE, which is the same every time: how many results may fall short of the
 * best, [operation][wide]. That is how many do; a change that makes the domain more exact makes them smaller. */
static const uint32_t alu_missed[PF_ALUS][2] = {
	{ 0, 13902 }, { 0, 13318 }, { 3970, 83867 }, { 0, 65465 }, { 0, 17027 }, { 8265, 113400 }, { 17913, 55742 },
	{ 0, 6956 }, { 0, 7228 }, { 0, 14218 }, { 0, 50789 }, { 0, 54168 }, { 0, 37999 }, { 0, 0 }
};
static const uint32_t branch_missed[PF_CMPS][2] = {
	{ 0, 62 }, { 0, 62 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 },
	{ 35814, 127835 }
};
static const uint32_t decide_missed[PF_CMPS][2] = {
	{ 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 },
	{ 244, 3351 }
};
static const uint32_t alu_missed_8[PF_ALUS][2] = {
	{ 15, 22 }, { 11, 22 }, { 79, 220 }, { 77, 68 }, { 19, 36 }, { 88, 154 }, { 53, 129 }, { 0, 12 }, { 3, 3 },
	{ 11, 15 }, { 2, 47 }, { 0, 133 }, { 0, 131 }, { 0, 3 }
};
static const uint32_t branch_missed_8[PF_CMPS][2] = {
	{ 13, 1 }, { 22, 3 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 },
	{ 227, 335 }
};
static const uint32_t unary_missed_8 = 2425;

static void judge(const char *name, unsigned n, struct score s, double floor, uint32_t most)
{
	double share = 100.0 * (double)s.best / (double)s.results;

	if (exhaustive)
		printf("%-5s %2u bits: %6.2f %% of %" PRIu64 " results are the best possible\n", name, n, share, s.results);
	CHECK(share >= floor);
	CHECK(exhaustive || s.results - s.best <= most);
}

static void make_rows(enum pf_alu op, unsigned n)
{
	for (unsigned x = 0; x < 16; x++) {
		row[x][0] = 0;
		for (unsigned set = 1; set < SETS; set++)
			row[x][set] = row[x][set & (set - 1)] |
				      (uint16_t)(1u << oracle_alu(op, n, x, (unsigned)__builtin_ctz(set)));
	}
}

static void test_alu(enum pf_alu op, bool wide, unsigned step)
{
	struct score score = { 0, 0 };

	make_rows(op, wide ? 4 : 2);
	for (uint32_t i = 0; i < n_values; i++) {
		for (uint32_t j = i % step; j < n_values; j += step) {
			struct pf_scalar r = pf_scalar_alu(op, wide, &hull_of[values[i]], &hull_of[values[j]]);
			unsigned set = 0;

			for (unsigned left = values[i]; left; left &= left - 1)
				set |= row[__builtin_ctz(left)][values[j]];
			CHECK(within(&hull_of[set], &r));
			score.results++;
			if (pf_scalar_equal(&hull_of[set], &r)) {
				score.best++;
			} else if (score.results % 16 == 0) {
				CHECK(pf_scalar_equal(&hull_of[set_of(&r)], &r));
			}
		}
	}
	judge(alu_names[op], wide ? 4 : 2, score, alu_floor[op], alu_missed[op][wide]);
}

/* Members of either operand that have a partner in the other for which the comparison has this outcome. */
static void survivors(enum pf_cmp cmp, unsigned n, bool taken, unsigned a, unsigned b, unsigned *x, unsigned *y)
{
	static uint16_t partners[2][PF_CMPS][2][16];
	uint16_t *p = partners[n / 4][cmp][taken];

	if (!(p[0] | p[1] | p[2] | p[15]))
		for (unsigned v = 0; v < 16; v++)
			for (unsigned w = 0; w < 16; w++)
				p[v] |= (uint16_t)((oracle_cmp(cmp, n, v, w) == taken) << w);
	*x = *y = 0;
	for (; a; a &= a - 1) {
		unsigned v = (unsigned)__builtin_ctz(a);

		if (p[v] & b) {
			*x |= 1u << v;
			*y |= p[v] & b;
		}
	}
}

static void test_branch(enum pf_cmp cmp, bool wide, unsigned step)
{
	struct score score = { 0, 0 }, decided = { 0, 0 };
	unsigned n = wide ? 4 : 2;

	for (uint32_t i = 0; i < n_values; i++) {
		for (uint32_t j = i % step; j < n_values; j += step) {
			const struct pf_scalar *pa = &hull_of[values[i]], *pb = &hull_of[values[j]];
			int decision = pf_scalar_decide(cmp, wide, pa, pb);
			unsigned possible = 0;

			for (unsigned taken = 0; taken < 2; taken++) {
				struct pf_scalar a = *pa, b = *pb;
				unsigned x, y;
				bool ok = pf_scalar_branch(cmp, wide, taken, &a, &b);

				survivors(cmp, n, taken, values[i], values[j], &x, &y);
				possible |= (x != 0) << taken;
				CHECK(ok || !x);
				score.results++;
				if (!x) {
					score.best += !ok;
					continue;
				}
				CHECK(within(&hull_of[x], &a) && within(&hull_of[y], &b));
				CHECK(within(&a, pa) && within(&b, pb));
				score.best += pf_scalar_equal(&a, &hull_of[x]) && pf_scalar_equal(&b, &hull_of[y]);
				if (score.results % 16 == 0)
					CHECK(pf_scalar_equal(&hull_of[set_of(&a)], &a) &&
					      pf_scalar_equal(&hull_of[set_of(&b)], &b));
			}
			CHECK(decision == -1 || possible == 1u << decision);
			decided.results++;
			decided.best += (decision == -1) == (possible == 3);
		}
	}
	judge(cmp_names[cmp], n, score, cmp == PF_CMP_SET ? 60 : 99.9, branch_missed[cmp][wide]);
	judge(cmp == PF_CMP_SET ? "dset" : "known", n, decided, cmp == PF_CMP_SET ? 90 : 99.99,
	      decide_missed[cmp][wide]);
}

/* 8 bits: a set of one of the shapes programs make. */
static unsigned draw(uint64_t *random, uint64_t *x)
{
	struct pf_scalar s = pf_scalar_unknown();
	uint64_t shape = pick(random, 6), a = pick(random, 256), b = pick(random, 256);
	unsigned count = 1 + (unsigned)pick(random, 4);

	if (shape == 0)
		return members(&(struct pf_scalar){ { a & ~b, b }, 0, 255, -128, 127, 0, 15, -8, 7 }, 8, x);
	if (shape == 1)
		s = pf_scalar_range(a < b ? a : b, a < b ? b : a);
	if (shape == 2)
		s = pf_scalar_srange((int64_t)(a < b ? a : b) - 128, (int64_t)(a < b ? b : a) - 128);
	if (shape == 3)
		s = pf_scalar_range(a & 7, (a & 7) + (b & 15));
	if (shape < 4)
		return members(&s, 8, x);
	for (unsigned i = 0; i < count; i++)
		x[i] = shape == 4 ? pick(random, 256) : pick(random, 16);
	s = hull(x, count, 8);
	return members(&s, 8, x);
}

static void check_image(const bool *is, const struct pf_scalar *r, struct score *score)
{
	uint64_t x[256];
	unsigned count = 0;
	struct pf_scalar best;

	for (unsigned v = 0; v < 256; v++)
		if (is[v])
			x[count++] = v;
	best = hull(x, count, 8);
	CHECK(within(&best, r));
	score->results++;
	score->best += pf_scalar_equal(&best, r);
	count = members(r, 8, x);
	best = hull(x, count, 8);
	CHECK(pf_scalar_equal(&best, r));
}

static void test_eight_unary(struct pf_scalar a, const uint64_t *x, unsigned count, struct score *score)
{
	static const uint32_t sizes[] = { 8, 16, 32, 64 };

	for (unsigned form = 0; form < 20; form++) {
		uint32_t bits = sizes[form & 3];
		unsigned k = bits / 8;
		bool is[256] = { false };
		struct pf_scalar r;

		if (form < 4)
			r = pf_scalar_truncate(&a, bits / 8);
		else if (form < 12)
			r = k < 8 ? pf_scalar_sext(&a, bits, form < 8) : pf_scalar_zext32(&a);
		else if (k > 1)
			r = pf_scalar_swap(&a, bits, form < 16);
		else
			continue;
		for (unsigned i = 0; i < count; i++) {
			uint64_t v = oracle_low(x[i], k);

			if (form >= 4 && form < 12)
				v = k < 8 ? oracle_sext(x[i], k, form < 8 ? 8 : 4) : oracle_low(x[i], 4);
			if (form >= 12 && form < 16)
				v = oracle_swap(x[i], k, 1);
			is[v] = true;
		}
		check_image(is, &r, score);
	}
}

static void test_eight_binary(struct pf_scalar a, const uint64_t *x, unsigned nx, struct pf_scalar b, const uint64_t *y,
			      unsigned ny, enum pf_alu op, bool wide, struct score *score)
{
	bool is[256] = { false };
	struct pf_scalar r = pf_scalar_alu(op, wide, &a, &b);

	for (unsigned i = 0; i < nx; i++)
		for (unsigned j = 0; j < ny; j++)
			is[oracle_alu(op, wide ? 8 : 4, x[i], y[j])] = true;
	check_image(is, &r, score);
}

static void test_eight_branch(struct pf_scalar a, const uint64_t *x, unsigned nx, struct pf_scalar b, const uint64_t *y,
			      unsigned ny, enum pf_cmp cmp, bool wide, struct score *score)
{
	int decision = pf_scalar_decide(cmp, wide, &a, &b);

	for (unsigned taken = 0; taken < 2; taken++) {
		bool left[256] = { false }, right[256] = { false }, any = false;
		struct pf_scalar c = a, d = b;
		bool ok = pf_scalar_branch(cmp, wide, taken, &c, &d);

		for (unsigned i = 0; i < nx; i++)
			for (unsigned j = 0; j < ny; j++)
				if (oracle_cmp(cmp, wide ? 8 : 4, x[i], y[j]) == taken)
					left[x[i]] = right[y[j]] = any = true;
		CHECK(ok || !any);
		CHECK(!any || decision == -1 || decision == (int)taken);
		if (!any || !ok)
			continue;
		check_image(left, &c, score);
		check_image(right, &d, score);
	}
}

static void test_eight(unsigned rounds)
{
	struct score unary = { 0, 0 }, alu[PF_ALUS][2] = { 0 }, branch[PF_CMPS][2] = { 0 };
	uint64_t random = 8, x[256], y[256];

	bits_under_test = 8;
	for (unsigned i = 0; i < rounds; i++) {
		unsigned nx = draw(&random, x), ny = draw(&random, y);
		struct pf_scalar a = hull(x, nx, 8), b = hull(y, ny, 8);
		enum pf_alu op = (enum pf_alu)(i % PF_ALUS);
		enum pf_cmp cmp = (enum pf_cmp)(i % PF_CMPS);
		bool wide = pick(&random, 2);

		nx = members(&a, 8, x);
		ny = members(&b, 8, y);
		test_eight_binary(a, x, nx, b, y, ny, op, wide, &alu[op][wide]);
		test_eight_branch(a, x, nx, b, y, ny, cmp, wide, &branch[cmp][wide]);
		if (i % 4 == 0)
			test_eight_unary(a, x, nx, &unary);
	}
	for (unsigned k = 0; k < 2 * PF_ALUS; k++)
		judge(alu_names[k / 2], k % 2 ? 8 : 4, alu[k / 2][k % 2], 0, alu_missed_8[k / 2][k % 2]);
	for (unsigned k = 0; k < 2 * PF_CMPS; k++)
		judge(cmp_names[k / 2], k % 2 ? 8 : 4, branch[k / 2][k % 2], 0, branch_missed_8[k / 2][k % 2]);
	judge("width", 8, unary, 0, unary_missed_8);
}

/* Known bits alone, all pairs of 4-bit tnums. */
static void test_tnum(void)
{
	for (unsigned i = 0; i < 256 * 256; i++) {
		struct pf_tnum a = { i & 15, i >> 4 & 15 }, b = { i >> 8 & 15, i >> 12 & 15 }, both, sum, product, less;
		unsigned common = 0;

		if ((a.value & a.mask) | (b.value & b.mask))
			continue;
		sum = pf_tnum_add(a, b);
		less = pf_tnum_sub(a, b);
		product = pf_tnum_mul(a, b);
		for (unsigned x = 0; x < 16; x++) {
			for (unsigned y = 0; y < 16; y++) {
				if ((x & ~a.mask) != a.value || (y & ~b.mask) != b.value)
					continue;
				common += x == y;
				CHECK_EQ((x + y) & ~sum.mask, sum.value);
				CHECK_EQ(((uint64_t)x - y) & ~less.mask, less.value);
				CHECK_EQ((x * y) & ~product.mask, product.value);
			}
		}
		CHECK_EQ(pf_tnum_intersect(a, b, &both), common > 0);
		if (common)
			CHECK_EQ(1u << __builtin_popcountll(both.mask), common);
	}
}

int main(void)
{
	exhaustive = getenv("PF_EXHAUSTIVE") != NULL;
	make_values();
	test_values();
	for (unsigned k = 0; k < 2 * PF_ALUS; k++)
		test_alu((enum pf_alu)(k / 2), k % 2, exhaustive ? 1 : 61);
	for (unsigned k = 0; k < 2 * PF_CMPS; k++)
		test_branch((enum pf_cmp)(k / 2), k % 2, exhaustive ? 1 : 61);
	test_normalise(4, 200000);
	test_normalise(8, 50000);
	test_eight(exhaustive ? 400000 : 10000);
	test_tnum();
	return 0;
}
