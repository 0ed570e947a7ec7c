/* scalar_oracle.h - what BPF instructions compute on numbers of n bits, written from RFC 9669 without regard to the
 * verifier's sources: the judge of the scalar domain. Also the generator of random numbers for its tests. */
#ifndef SCALAR_ORACLE_H
#define SCALAR_ORACLE_H

#include "check.h"
#include "verifier/scalar.h"

static inline uint64_t oracle_low(uint64_t x, unsigned n) { return n == 64 ? x : x & ((UINT64_C(1) << n) - 1); }

static inline int64_t oracle_signed(uint64_t x, unsigned n)
{
	uint64_t sign = UINT64_C(1) << (n - 1);

	return (int64_t)((oracle_low(x, n) ^ sign) - sign);
}

/* x op y on n bits, zero-extended. */
static inline uint64_t oracle_alu(enum pf_alu op, unsigned n, uint64_t x, uint64_t y)
{
	__int128 sx = oracle_signed(x, n), sy = oracle_signed(y, n);
	unsigned shift = (unsigned)(y % n);

	x = oracle_low(x, n);
	y = oracle_low(y, n);
	switch (op) {
	case PF_ALU_ADD:
		return oracle_low(x + y, n);
	case PF_ALU_SUB:
		return oracle_low(x - y, n);
	case PF_ALU_MUL:
		return oracle_low(x * y, n);
	case PF_ALU_DIV:
		return y == 0 ? 0 : x / y;
	case PF_ALU_SDIV:
		return y == 0 ? 0 : oracle_low((uint64_t)(sx / sy), n);
	case PF_ALU_MOD:
		return y == 0 ? x : x % y;
	case PF_ALU_SMOD:
		return y == 0 ? x : oracle_low((uint64_t)(sx % sy), n);
	case PF_ALU_OR:
		return x | y;
	case PF_ALU_AND:
		return x & y;
	case PF_ALU_XOR:
		return x ^ y;
	case PF_ALU_LSH:
		return oracle_low(x << shift, n);
	case PF_ALU_RSH:
		return x >> shift;
	case PF_ALU_ARSH:
		return oracle_low((uint64_t)(sx >> shift), n);
	case PF_ALU_NEG:
		return oracle_low(-x, n);
	case PF_ALUS:
		break;
	}
	abort();
}

static inline bool oracle_cmp(enum pf_cmp cmp, unsigned n, uint64_t x, uint64_t y)
{
	int64_t sx = oracle_signed(x, n), sy = oracle_signed(y, n);

	x = oracle_low(x, n);
	y = oracle_low(y, n);
	switch (cmp) {
	case PF_CMP_EQ:
		return x == y;
	case PF_CMP_NE:
		return x != y;
	case PF_CMP_GT:
		return x > y;
	case PF_CMP_GE:
		return x >= y;
	case PF_CMP_LT:
		return x < y;
	case PF_CMP_LE:
		return x <= y;
	case PF_CMP_SGT:
		return sx > sy;
	case PF_CMP_SGE:
		return sx >= sy;
	case PF_CMP_SLT:
		return sx < sy;
	case PF_CMP_SLE:
		return sx <= sy;
	case PF_CMP_SET:
		return (x & y) != 0;
	case PF_CMPS:
		break;
	}
	abort();
}

/* The low k bits of x as a signed number, in n bits. */
static inline uint64_t oracle_sext(uint64_t x, unsigned k, unsigned n)
{
	return oracle_low((uint64_t)oracle_signed(x, k), n);
}

/* The low k bits of x in reverse byte order; a byte has `byte` bits. */
static inline uint64_t oracle_swap(uint64_t x, unsigned k, unsigned byte)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < k; i += byte)
		r |= oracle_low(x >> i, byte) << (k - byte - i);
	return r;
}

/* splitmix64: small, good enough, the same everywhere. */
static inline uint64_t oracle_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

#endif
