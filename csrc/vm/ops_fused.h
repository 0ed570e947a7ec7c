/* ops_fused.h - handlers of pairs (fuse.h); inside the loop (loop.h).
 *
 * FIRST_x sets v to what x leaves in dst; CHANGE_x applies x to it; TEST_x is x's condition on it. The expressions are
 * those of the single handlers.
 */
#define FIRST_ALU(bits, operand, expr)                                                                                 \
	do {                                                                                                           \
		const uint##bits##_t a = (uint##bits##_t)r[d], b = (uint##bits##_t)(operand);                          \
		(void)a;                                                                                               \
		v = (expr);                                                                                            \
	} while (0)
#define FIRST_SWAP(bits)                                                                                               \
	do {                                                                                                           \
		const uint64_t a = r[d];                                                                               \
		v = TO_BE(bits, a);                                                                                    \
	} while (0)
#define FIRST_LOAD(bits)                                                                                               \
	do {                                                                                                           \
		const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;                                                  \
		READABLE(at, bits / 8);                                                                                \
		v = pf_load##bits(at);                                                                                 \
	} while (0)
#define FIRST_MOV64_REG FIRST_ALU(64, SRC, EXPR_MOV)
#define FIRST_MOV32_REG FIRST_ALU(32, SRC, EXPR_MOV)
#define FIRST_ADD64_IMM FIRST_ALU(64, (int64_t)pc->imm, EXPR_ADD)
#define FIRST_AND64_IMM FIRST_ALU(64, (int64_t)pc->imm, EXPR_AND)
#define FIRST_AND32_IMM FIRST_ALU(32, pc->imm, EXPR_AND)
#define FIRST_RSH64_IMM FIRST_ALU(64, (int64_t)pc->imm, EXPR_RSH64)
#define FIRST_BE16 FIRST_SWAP(16)
#define FIRST_BE32 FIRST_SWAP(32)
#define FIRST_LDX_B FIRST_LOAD(8)
#define FIRST_LDX_H FIRST_LOAD(16)
#define FIRST_LDX_W                                                                                                    \
	do {                                                                                                           \
		const uint64_t at = SRC + (uint64_t)(int64_t)pc->off;                                                  \
		if (CTX_LOADED(at, v))                                                                                 \
			break;                                                                                         \
		READABLE(at, 4);                                                                                       \
		v = pf_load32(at);                                                                                     \
	} while (0)

#define SECOND_ALU(bits, expr)                                                                                         \
	do {                                                                                                           \
		const uint##bits##_t a = (uint##bits##_t)v, b = (uint##bits##_t)(int64_t)pc[1].imm;                    \
		v = (expr);                                                                                            \
	} while (0)
#define SECOND_SWAP(bits) v = TO_BE(bits, v)
#define CHANGE_ADD64_IMM SECOND_ALU(64, EXPR_ADD)
#define CHANGE_AND64_IMM SECOND_ALU(64, EXPR_AND)
#define CHANGE_AND32_IMM SECOND_ALU(32, EXPR_AND)
#define CHANGE_RSH64_IMM SECOND_ALU(64, EXPR_RSH64)
#define CHANGE_LSH64_IMM SECOND_ALU(64, EXPR_LSH64)
#define CHANGE_BE16 SECOND_SWAP(16)
#define CHANGE_BE32 SECOND_SWAP(32)

#define SECOND_TEST(bits, operand, cond)                                                                               \
	do {                                                                                                           \
		const uint##bits##_t a = (uint##bits##_t)v, b = (uint##bits##_t)(operand);                             \
		pc++;                                                                                                  \
		if (cond)                                                                                              \
			TAKE(pc->off);                                                                                 \
	} while (0)
#define TEST_JEQ64_IMM SECOND_TEST(64, (int64_t)pc[1].imm, EXPR_JEQ)
#define TEST_JNE64_IMM SECOND_TEST(64, (int64_t)pc[1].imm, EXPR_JNE)
#define TEST_JEQ32_IMM SECOND_TEST(32, pc[1].imm, EXPR_JEQ)
#define TEST_JNE32_IMM SECOND_TEST(32, pc[1].imm, EXPR_JNE)
#define TEST_JGT64_IMM SECOND_TEST(64, (int64_t)pc[1].imm, EXPR_JGT)
#define TEST_JLT64_IMM SECOND_TEST(64, (int64_t)pc[1].imm, EXPR_JLT)
#define TEST_JGT64_REG SECOND_TEST(64, r[pc[1].src], EXPR_JGT)

#define CHANGE(first, second)                                                                                          \
	op_##first##__##second : {                                                                                     \
		const unsigned d = pc->dst;                                                                            \
		uint64_t v;                                                                                            \
		FIRST_##first;                                                                                         \
		CHANGE_##second;                                                                                       \
		r[d] = v;                                                                                              \
		pc += 2;                                                                                               \
		GO;                                                                                                    \
	}
#define TEST(first, second)                                                                                            \
	op_##first##__##second : {                                                                                     \
		const unsigned d = pc->dst;                                                                            \
		uint64_t v;                                                                                            \
		FIRST_##first;                                                                                         \
		r[d] = v;                                                                                              \
		TEST_##second;                                                                                         \
		NEXT;                                                                                                  \
	}
PF_FUSED_PAIRS(CHANGE, TEST)
#undef CHANGE
#undef TEST
