/* test_scalar.c - the scalar domain at its real width: cases by hand, and random values against concrete semantics.
 * The same sources are tested by enumeration in test_scalar_small.c; here it is about what only 64 bits can show.
 */
#include <string.h>

#include "scalar_oracle.h"

static uint64_t state = 1;

static uint64_t any(void) { return oracle_random(&state); }

/* Numbers near which things change: small ones, powers of two, their neighbours and negatives, and plain noise. */
static uint64_t corner(void)
{
	uint64_t r = any(), x;

	switch (r % 8) {
	case 0:
		x = any();
		break;
	case 1:
		x = any() & 0xff;
		break;
	case 2:
		x = any() & 0xffffffff;
		break;
	case 3:
		x = any() & any() & any();
		break;
	default:
		x = UINT64_C(1) << (r >> 8 & 63);
		x += (r >> 16 & 7) - 3;
		break;
	}
	return r >> 24 & 3 ? x : -x;
}

/* A normalised value and a few of its members: some parts limited around a number that stays a member. */
struct sample {
	struct pf_scalar s;
	uint64_t x[6];
};

/* Of two numbers on either side of x (in signed order if `sign`), an interval that holds x. */
static void around(uint64_t x, bool sign, uint64_t *lo, uint64_t *hi)
{
	uint64_t flip = sign ? UINT64_C(1) << 63 : 0, reach = any() & 1 ? corner() : any() & 0xff;
	uint64_t a = any() & 1 ? corner() : x - reach, b = any() & 1 ? corner() : x + reach;

	*lo = (a ^ flip) <= (x ^ flip) ? a : x;
	*hi = (b ^ flip) >= (x ^ flip) ? b : x;
}

static struct sample sample(void)
{
	struct sample m = { pf_scalar_unknown(), { 0 } };
	uint64_t x = corner(), r = any(), lo, hi;
	unsigned n = 0;

	m.x[n++] = x;
	if (!(r & 7)) {
		m.s = pf_scalar_const(x);
	} else {
		if (r & 8) {
			m.s.t.mask = r & 16 ? any() | any() : r & 32 ? any() & any() : corner();
			m.s.t.value = x & ~m.s.t.mask;
		}
		if (r & 64)
			around(x, false, &m.s.umin, &m.s.umax);
		if (r & 128) {
			around(x, true, &lo, &hi);
			m.s.smin = (int64_t)lo;
			m.s.smax = (int64_t)hi;
		}
		if (r & 256) {
			around((uint32_t)x, false, &lo, &hi);
			m.s.u32min = lo > UINT32_MAX ? 0 : (uint32_t)lo;
			m.s.u32max = hi > UINT32_MAX ? UINT32_MAX : (uint32_t)hi;
		}
		if (r & 512) {
			around((uint64_t)(int32_t)x, true, &lo, &hi);
			m.s.s32min = (int64_t)lo < INT32_MIN ? INT32_MIN : (int32_t)lo;
			m.s.s32max = (int64_t)hi > INT32_MAX ? INT32_MAX : (int32_t)hi;
		}
		CHECK(pf_scalar_contains(&m.s, x));
		CHECK(pf_scalar_normalise(&m.s));
		CHECK(pf_scalar_contains(&m.s, x));
	}
	for (unsigned i = 0; n < 6 && i < 12; i++) {
		uint64_t ends[] = { m.s.umin, m.s.umax, (uint64_t)m.s.smin, (uint64_t)m.s.smax, x + 1, x - 1,
				    (x & ~UINT64_C(0xffffffff)) | m.s.u32min, (x & ~UINT64_C(0xffffffff)) | m.s.u32max };
		uint64_t y = i < 8 ? ends[(r >> 10 ^ i) & 7] : m.s.t.value | (any() & m.s.t.mask);

		if (pf_scalar_contains(&m.s, y))
			m.x[n++] = y;
	}
	while (n < 6)
		m.x[n++] = x;
	return m;
}

static void check_normal(const struct pf_scalar *s)
{
	struct pf_scalar again = *s;

	CHECK(pf_scalar_normalise(&again));
	CHECK(pf_scalar_equal(&again, s));
	/* Ends of the ranges are members, so they cannot be narrowed. */
	CHECK(pf_scalar_contains(s, s->umin) && pf_scalar_contains(s, s->umax));
	CHECK(pf_scalar_contains(s, (uint64_t)s->smin) && pf_scalar_contains(s, (uint64_t)s->smax));
}

static void test_alu(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct sample a = sample(), b = sample();
		enum pf_alu op = (enum pf_alu)(any() % PF_ALUS);
		bool wide = any() & 1;
		struct pf_scalar r = pf_scalar_alu(op, wide, &a.s, &b.s);

		check_normal(&r);
		for (unsigned j = 0; j < 36; j++)
			CHECK(pf_scalar_contains(&r, oracle_alu(op, wide ? 64 : 32, a.x[j / 6], b.x[j % 6])));
	}
}

static void test_branch(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		struct sample a = sample(), b = sample();
		enum pf_cmp cmp = (enum pf_cmp)(any() % PF_CMPS);
		bool wide = any() & 1;
		int decision = pf_scalar_decide(cmp, wide, &a.s, &b.s);

		for (unsigned taken = 0; taken < 2; taken++) {
			struct pf_scalar c = a.s, d = b.s;
			bool ok = pf_scalar_branch(cmp, wide, taken, &c, &d);

			if (ok) {
				check_normal(&c);
				check_normal(&d);
				CHECK(pf_scalar_subset(&c, &a.s) && pf_scalar_subset(&d, &b.s));
			} else {
				CHECK(pf_scalar_equal(&c, &a.s) && pf_scalar_equal(&d, &b.s));
			}
			for (unsigned j = 0; j < 36; j++) {
				uint64_t x = a.x[j / 6], y = b.x[j % 6];

				if (oracle_cmp(cmp, wide ? 64 : 32, x, y) != taken)
					continue;
				CHECK(ok && pf_scalar_contains(&c, x) && pf_scalar_contains(&d, y));
				CHECK(decision == -1 || decision == (int)taken);
			}
		}
	}
}

static void test_widths(unsigned rounds)
{
	static const uint32_t sizes[] = { 8, 16, 32, 64 };

	for (unsigned i = 0; i < rounds; i++) {
		struct sample a = sample(), b = sample();
		uint32_t bits = sizes[any() & 3];
		bool wide = any() & 1;
		struct pf_scalar low = pf_scalar_truncate(&a.s, bits / 8), zext = pf_scalar_zext32(&a.s);
		struct pf_scalar joined = pf_scalar_join(&a.s, &b.s), sext = low, swap = low, same = low;

		if (bits < 64)
			sext = pf_scalar_sext(&a.s, bits, wide);
		if (bits > 8) {
			swap = pf_scalar_swap(&a.s, bits, true);
			same = pf_scalar_swap(&a.s, bits, false);
		}
		check_normal(&low);
		check_normal(&zext);
		check_normal(&sext);
		check_normal(&swap);
		check_normal(&joined);
		CHECK(pf_scalar_equal(&same, &low));
		CHECK(pf_scalar_subset(&a.s, &joined) && pf_scalar_subset(&b.s, &joined));
		for (unsigned j = 0; j < 6; j++) {
			uint64_t x = a.x[j];

			CHECK(pf_scalar_contains(&low, oracle_low(x, bits)));
			CHECK(pf_scalar_contains(&zext, (uint32_t)x));
			CHECK(pf_scalar_contains(&joined, x) && pf_scalar_contains(&joined, b.x[j]));
			CHECK(bits == 64 || pf_scalar_contains(&sext, oracle_sext(x, bits, wide ? 64 : 32)));
			CHECK(bits == 8 || pf_scalar_contains(&swap, oracle_swap(x, bits, 8)));
			CHECK(!pf_scalar_subset(&a.s, &b.s) || pf_scalar_contains(&b.s, x));
		}
	}
}

static struct pf_scalar imm(int32_t value) { return pf_scalar_const((uint64_t)(int64_t)value); }

static struct pf_scalar alu(enum pf_alu op, bool wide, struct pf_scalar a, int32_t value)
{
	struct pf_scalar b = imm(value);

	return pf_scalar_alu(op, wide, &a, &b);
}

static struct pf_scalar branch(enum pf_cmp cmp, bool wide, bool taken, struct pf_scalar a, int32_t value)
{
	struct pf_scalar b = imm(value);

	CHECK(pf_scalar_branch(cmp, wide, taken, &a, &b));
	return a;
}

static void check_range(struct pf_scalar s, uint64_t umin, uint64_t umax)
{
	CHECK_EQ(s.umin, umin);
	CHECK_EQ(s.umax, umax);
}

/* What programs rely on. */
static void test_idioms(void)
{
	struct pf_scalar byte = pf_scalar_loaded(1, false), any64 = pf_scalar_unknown(), s, b;

	check_range(alu(PF_ALU_LSH, true, alu(PF_ALU_AND, true, byte, 15), 2), 0, 60); /* header length of IPv4 */
	CHECK_EQ(alu(PF_ALU_LSH, true, alu(PF_ALU_AND, true, byte, 15), 2).t.mask, 60);
	check_range(alu(PF_ALU_RSH, true, alu(PF_ALU_LSH, true, any64, 32), 32), 0, UINT32_MAX);
	s = alu(PF_ALU_ARSH, true, alu(PF_ALU_LSH, true, any64, 48), 48);
	CHECK(s.smin == INT16_MIN && s.smax == INT16_MAX && s.s32min == INT16_MIN && s.s32max == INT16_MAX);
	check_range(alu(PF_ALU_MOD, false, any64, 10), 0, 9);
	check_range(alu(PF_ALU_DIV, true, pf_scalar_range(100, 1000), 7), 14, 142);
	check_range(alu(PF_ALU_MUL, false, byte, 14), 0, 255 * 14);
	CHECK_EQ(alu(PF_ALU_MUL, true, any64, 24).t.mask, ~UINT64_C(7));
	s = alu(PF_ALU_SDIV, true, pf_scalar_srange(-100, 50), -7);
	CHECK(s.smin == -7 && s.smax == 14);
	s = alu(PF_ALU_SMOD, true, pf_scalar_srange(-100, 3), 8);
	CHECK(s.smin == -7 && s.smax == 3);
	/* A 32-bit check bounds the 64-bit value once the upper half is known. */
	s = branch(PF_CMP_LE, false, true, any64, 100);
	CHECK(s.umax > 100 && s.u32max == 100 && s.s32min == 0);
	check_range(pf_scalar_zext32(&s), 0, 100);
	check_range(branch(PF_CMP_LE, false, true, pf_scalar_loaded(4, false), 100), 0, 100);
	/* Signed checks on both sides. */
	s = branch(PF_CMP_SGT, true, true, branch(PF_CMP_SLT, true, true, any64, 64), -1);
	check_range(s, 0, 63);
	/* Ends of ranges fall to !=, also below known bits. */
	s = alu(PF_ALU_AND, true, any64, 12);
	check_range(branch(PF_CMP_NE, true, true, s, 0), 4, 12);
	check_range(branch(PF_CMP_EQ, true, false, s, 12), 0, 8);
	CHECK_EQ(branch(PF_CMP_SET, true, true, any64, 8).t.value, 8);
	CHECK_EQ(branch(PF_CMP_SET, true, false, any64, 7).t.mask, ~UINT64_C(7));
	check_range(branch(PF_CMP_SET, true, true, byte, 0xf0), 16, 255);
	/* Contradictions. */
	s = pf_scalar_range(8, 15);
	b = imm(8);
	CHECK(pf_scalar_decide(PF_CMP_SET, true, &s, &b) == 1 && !pf_scalar_branch(PF_CMP_SET, true, false, &s, &b));
	b = pf_scalar_range(16, 20);
	CHECK(pf_scalar_decide(PF_CMP_EQ, true, &s, &b) == 0 && !pf_scalar_branch(PF_CMP_EQ, true, true, &s, &b));
	CHECK(pf_scalar_decide(PF_CMP_LT, false, &s, &b) == 1 && pf_scalar_decide(PF_CMP_SGE, true, &s, &b) == 0);
	b = branch(PF_CMP_SET, true, true, any64, 1);
	s = branch(PF_CMP_SET, true, false, any64, 1);
	CHECK(pf_scalar_decide(PF_CMP_EQ, true, &s, &b) == 0);
	/* Equal registers know the same. */
	s = pf_scalar_range(3, 20);
	b = alu(PF_ALU_AND, true, any64, 24);
	CHECK(pf_scalar_branch(PF_CMP_EQ, true, true, &s, &b) && pf_scalar_equal(&s, &b));
	check_range(s, 8, 16);
}

static void test_corners(void)
{
	const uint64_t least = UINT64_C(1) << 63;
	struct pf_scalar s;

	for (unsigned wide = 0; wide < 2; wide++) {
		uint64_t min = wide ? least : UINT64_C(0x80000000);

		check_range(alu(PF_ALU_SDIV, wide, pf_scalar_const(min), -1), min, min);
		check_range(alu(PF_ALU_SMOD, wide, pf_scalar_const(min), -1), 0, 0);
		check_range(alu(PF_ALU_DIV, wide, pf_scalar_unknown(), 0), 0, 0);
		check_range(alu(PF_ALU_MOD, wide, pf_scalar_const(~UINT64_C(0)), 0), wide ? ~UINT64_C(0) : UINT32_MAX,
			    wide ? ~UINT64_C(0) : UINT32_MAX);
		check_range(alu(PF_ALU_NEG, wide, pf_scalar_const(min), 0), min, min);
		check_range(alu(PF_ALU_LSH, wide, imm(1), wide ? 65 : 33), 2, 2);
	}
	s = pf_scalar_srange(INT64_MIN, INT64_MAX);
	CHECK(pf_scalar_equal(&s, &(struct pf_scalar){ { 0, ~UINT64_C(0) }, 0, UINT64_MAX, INT64_MIN, INT64_MAX, 0, UINT32_MAX,
						       INT32_MIN, INT32_MAX }));
	s = pf_scalar_loaded(1, true);
	CHECK(s.smin == -128 && s.smax == 127 && s.s32min == -128);
	s = pf_scalar_loaded(4, false);
	CHECK(s.umax == UINT32_MAX && s.smin == 0 && s.s32min == INT32_MIN);
	s = pf_scalar_loaded(8, false);
	CHECK(s.umax == UINT64_MAX);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000000;

	test_idioms();
	test_corners();
	test_alu(rounds);
	test_branch(rounds / 2);
	test_widths(rounds / 4);
	return 0;
}
