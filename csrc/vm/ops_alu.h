/* ops_alu.h - handlers of arithmetic, moves, byte swaps and 64-bit immediates; inside the loop (loop.h). */

#define ALU_STEP(bits, operand, expr)                                                                                  \
	do {                                                                                                           \
		const uint##bits##_t a = (uint##bits##_t)DST, b = (uint##bits##_t)(operand);                           \
		(void)a;                                                                                               \
		DST = (expr);                                                                                          \
	} while (0)
#define ALU64_IMM(expr) ALU_STEP(64, (int64_t)pc->imm, expr)
#define ALU64_REG(expr) ALU_STEP(64, SRC, expr)
#define ALU32_IMM(expr) ALU_STEP(32, pc->imm, expr)
#define ALU32_REG(expr) ALU_STEP(32, SRC, expr)
#define ALU64(name, expr)                                                                                              \
	op_##name##64_IMM : ALU64_IMM(expr);                                                                           \
	NEXT;                                                                                                          \
	op_##name##64_REG : ALU64_REG(expr);                                                                           \
	NEXT;
#define ALU32(name, expr)                                                                                              \
	op_##name##32_IMM : ALU32_IMM(expr);                                                                           \
	NEXT;                                                                                                          \
	op_##name##32_REG : ALU32_REG(expr);                                                                           \
	NEXT;
#define ALU(name, expr) ALU64(name, expr) ALU32(name, expr)

#define EXPR_ADD a + b
#define EXPR_SUB a - b
#define EXPR_MUL a *b
#define EXPR_OR a | b
#define EXPR_AND a &b
#define EXPR_XOR a ^ b
#define EXPR_MOV b
#define EXPR_DIV b ? a / b : 0
#define EXPR_MOD b ? a % b : a
#define EXPR_LSH64 a << (b & 63)
#define EXPR_RSH64 a >> (b & 63)

ALU(ADD, EXPR_ADD)
ALU(SUB, EXPR_SUB)
ALU(MUL, EXPR_MUL)
ALU(OR, EXPR_OR)
ALU(AND, EXPR_AND)
ALU(XOR, EXPR_XOR)
ALU(MOV, EXPR_MOV)
ALU(DIV, EXPR_DIV)
ALU(MOD, EXPR_MOD)
ALU64(SDIV, pf_sdiv64(a, b))
ALU64(SMOD, pf_smod64(a, b))
ALU32(SDIV, pf_sdiv32(a, b))
ALU32(SMOD, pf_smod32(a, b))
ALU64(LSH, EXPR_LSH64)
ALU64(RSH, EXPR_RSH64)
ALU64(ARSH, (uint64_t)((int64_t)a >> (b & 63)))
ALU32(LSH, a << (b & 31))
ALU32(RSH, a >> (b & 31))
ALU32(ARSH, (uint32_t)((int32_t)a >> (b & 31)))

#define UNARY_STEP(expr)                                                                                               \
	do {                                                                                                           \
		const uint64_t a = DST;                                                                                \
		DST = (expr);                                                                                          \
	} while (0)
#define UNARY(name, expr)                                                                                              \
	op_##name : UNARY_STEP(expr);                                                                                  \
	NEXT;
#define MOVE(name, expr)                                                                                               \
	op_##name : {                                                                                                  \
		const uint64_t b = SRC;                                                                                \
		DST = (expr);                                                                                          \
		NEXT;                                                                                                  \
	}

MOVE(MOVSX64_8, (uint64_t)(int64_t)(int8_t)b)
MOVE(MOVSX64_16, (uint64_t)(int64_t)(int16_t)b)
MOVE(MOVSX64_32, (uint64_t)(int64_t)(int32_t)b)
MOVE(MOVSX32_8, (uint32_t)(int32_t)(int8_t)b)
MOVE(MOVSX32_16, (uint32_t)(int32_t)(int16_t)b)
UNARY(NEG64, 0 - a)
UNARY(NEG32, (uint32_t)(0 - a))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define TO_LE(bits, a) ((uint##bits##_t)(a))
#define TO_BE(bits, a) __builtin_bswap##bits((uint##bits##_t)(a))
#else
#define TO_LE(bits, a) __builtin_bswap##bits((uint##bits##_t)(a))
#define TO_BE(bits, a) ((uint##bits##_t)(a))
#endif
UNARY(LE16, TO_LE(16, a))
UNARY(LE32, TO_LE(32, a))
UNARY(LE64, TO_LE(64, a))
UNARY(BE16, TO_BE(16, a))
UNARY(BE32, TO_BE(32, a))
UNARY(BE64, TO_BE(64, a))
UNARY(BSWAP16, __builtin_bswap16((uint16_t)a))
UNARY(BSWAP32, __builtin_bswap32((uint32_t)a))
UNARY(BSWAP64, __builtin_bswap64(a))

/* Staging put the value into the second half. */
op_LDDW:
op_LDDW_MAP:
op_LDDW_VALUE:
op_LDDW_FUNC:
op_LDDW_MAP_IDX:
op_LDDW_VALUE_IDX:
	DST = (uint64_t)(uintptr_t)pc[1].handler;
	pc += 2;
	GO;

#undef ALU64
#undef ALU32
#undef ALU
#undef UNARY
#undef MOVE
