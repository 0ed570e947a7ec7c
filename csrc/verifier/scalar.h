/* scalar.h - the abstract domain of numbers: known bits and ranges, in 64 and 32 bits, kept consistent.
 *
 * Terms
 *   gamma(s)  the set of 64-bit concrete values that the abstract value s stands for
 *   tnum      known bits: value holds the known ones, mask has a 1 where a bit is unknown (value & mask == 0)
 *   bottom    gamma is empty: the state cannot happen
 *
 * Invariants
 *   S1 gamma(s) = { x : (x & ~t.mask) == t.value, umin <= x <= umax, smin <= (s64)x <= smax,
 *      u32min <= (u32)x <= u32max, s32min <= (s32)x <= s32max }.
 *   S2 Every operation is sound: for x in gamma(a), y in gamma(b), op(x, y) is in gamma(op#(a, b)); a refinement keeps
 *      every pair that satisfies the condition. Tested exhaustively at small widths, by property at 64 bits.
 *   S3 Every result is normalised, and operands must be: pf_scalar_normalise changes nothing. Normalising never removes a
 *      member of gamma, and gives the best description there is: values with the same gamma are equal.
 *   S4 No operation knows what a program is; nothing here has state; any thread may call anything.
 */
#ifndef PF_SCALAR_H
#define PF_SCALAR_H

#include <stdbool.h>

#include "../tables/tables.h"

struct pf_tnum {
	uint64_t value;
	uint64_t mask;
};

struct pf_scalar {
	struct pf_tnum t;
	uint64_t umin, umax;
	int64_t smin, smax;
	uint32_t u32min, u32max;
	int32_t s32min, s32max;
};

enum pf_alu {
	PF_ALU_ADD, PF_ALU_SUB, PF_ALU_MUL, PF_ALU_DIV, PF_ALU_SDIV, PF_ALU_MOD, PF_ALU_SMOD,
	PF_ALU_OR, PF_ALU_AND, PF_ALU_XOR, PF_ALU_LSH, PF_ALU_RSH, PF_ALU_ARSH, PF_ALU_NEG, PF_ALUS
};
enum pf_cmp {
	PF_CMP_EQ, PF_CMP_NE, PF_CMP_GT, PF_CMP_GE, PF_CMP_LT, PF_CMP_LE, PF_CMP_SGT, PF_CMP_SGE, PF_CMP_SLT,
	PF_CMP_SLE, PF_CMP_SET, PF_CMPS /* SET: (a & b) != 0 */
};

struct pf_scalar pf_scalar_const(uint64_t value);
struct pf_scalar pf_scalar_unknown(void);
/* Exactly the values of `bytes` (1, 2, 4) zero- or sign-extended to 64 bits: what a load yields. */
struct pf_scalar pf_scalar_loaded(uint32_t bytes, bool sign);
struct pf_scalar pf_scalar_range(uint64_t umin, uint64_t umax);
struct pf_scalar pf_scalar_srange(int64_t smin, int64_t smax);

static inline bool pf_scalar_is_const(const struct pf_scalar *s) { return s->t.mask == 0; }
bool pf_scalar_contains(const struct pf_scalar *s, uint64_t value);
bool pf_scalar_equal(const struct pf_scalar *a, const struct pf_scalar *b);
/* gamma(a) is a subset of gamma(b); exact on normalised values. */
bool pf_scalar_subset(const struct pf_scalar *a, const struct pf_scalar *b);

/* Makes all parts as tight as the others allow; false: bottom. */
bool pf_scalar_normalise(struct pf_scalar *s);

/* Smallest abstract value that holds both. */
struct pf_scalar pf_scalar_join(const struct pf_scalar *a, const struct pf_scalar *b);

/* dst = dst op src, with BPF's semantics: division by zero is 0, modulo by zero leaves dst, shifts are masked, 32-bit forms
 * (wide = false) zero the upper half. NEG ignores src. */
struct pf_scalar pf_scalar_alu(enum pf_alu op, bool wide, const struct pf_scalar *dst, const struct pf_scalar *src);
/* Values zero-extended from the low 32 bits (a 32-bit move), sign-extended from `bits` (8, 16, 32) to 64 or 32 bits. */
struct pf_scalar pf_scalar_zext32(const struct pf_scalar *s);
struct pf_scalar pf_scalar_sext(const struct pf_scalar *s, uint32_t bits, bool wide);
/* le/be/bswap of `bits` (16, 32, 64) on a little-endian machine: swap false truncates. */
struct pf_scalar pf_scalar_swap(const struct pf_scalar *s, uint32_t bits, bool swap);
/* The low `bytes` of a value spilled and loaded back narrower. */
struct pf_scalar pf_scalar_truncate(const struct pf_scalar *s, uint32_t bytes);

/* Refines a and b by "a cmp b is `taken`", in 64 or 32 bits. false: the branch cannot be taken this way; then
 * a and b are as before. a and b are two objects, taken for independent. */
bool pf_scalar_branch(enum pf_cmp cmp, bool wide, bool taken, struct pf_scalar *a, struct pf_scalar *b);
/* 1: always taken, 0: never, -1: unknown. */
int pf_scalar_decide(enum pf_cmp cmp, bool wide, const struct pf_scalar *a, const struct pf_scalar *b);

struct pf_tnum pf_tnum_range(uint64_t min, uint64_t max);
struct pf_tnum pf_tnum_add(struct pf_tnum a, struct pf_tnum b);
struct pf_tnum pf_tnum_sub(struct pf_tnum a, struct pf_tnum b);
struct pf_tnum pf_tnum_mul(struct pf_tnum a, struct pf_tnum b);
struct pf_tnum pf_tnum_and(struct pf_tnum a, struct pf_tnum b);
struct pf_tnum pf_tnum_or(struct pf_tnum a, struct pf_tnum b);
struct pf_tnum pf_tnum_xor(struct pf_tnum a, struct pf_tnum b);
/* Known bits of both; false: contradiction. */
bool pf_tnum_intersect(struct pf_tnum a, struct pf_tnum b, struct pf_tnum *out);
struct pf_tnum pf_tnum_union(struct pf_tnum a, struct pf_tnum b);

#endif
