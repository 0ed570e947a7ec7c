/* ops_jump.h - handlers of jumps; inside the loop (loop.h). */

#define JUMP_STEP(bits, operand, cond)                                                                                 \
	do {                                                                                                           \
		const uint##bits##_t a = (uint##bits##_t)DST, b = (uint##bits##_t)(operand);                           \
		if (cond)                                                                                              \
			TAKE(pc->off);                                                                                 \
	} while (0)
#define JUMP64_IMM(cond) JUMP_STEP(64, (int64_t)pc->imm, cond)
#define JUMP64_REG(cond) JUMP_STEP(64, SRC, cond)
#define JUMP32_IMM(cond) JUMP_STEP(32, pc->imm, cond)
#define JUMP32_REG(cond) JUMP_STEP(32, SRC, cond)
#define JUMP(name, cond64, cond32)                                                                                     \
	op_##name##64_IMM : JUMP64_IMM(cond64);                                                                        \
	NEXT;                                                                                                          \
	op_##name##64_REG : JUMP64_REG(cond64);                                                                        \
	NEXT;                                                                                                          \
	op_##name##32_IMM : JUMP32_IMM(cond32);                                                                        \
	NEXT;                                                                                                          \
	op_##name##32_REG : JUMP32_REG(cond32);                                                                        \
	NEXT;
#define JUMP_UNSIGNED(name, cond) JUMP(name, cond, cond)
#define JUMP_SIGNED(name, op) JUMP(name, (int64_t)a op(int64_t) b, (int32_t)a op(int32_t) b)

#define EXPR_JEQ a == b
#define EXPR_JNE a != b
#define EXPR_JGT a > b
#define EXPR_JLT a < b

JUMP_UNSIGNED(JEQ, EXPR_JEQ)
JUMP_UNSIGNED(JNE, EXPR_JNE)
JUMP_UNSIGNED(JGT, EXPR_JGT)
JUMP_UNSIGNED(JGE, a >= b)
JUMP_UNSIGNED(JLT, EXPR_JLT)
JUMP_UNSIGNED(JLE, a <= b)
JUMP_UNSIGNED(JSET, a & b)
JUMP_SIGNED(JSGT, >)
JUMP_SIGNED(JSGE, >=)
JUMP_SIGNED(JSLT, <)
JUMP_SIGNED(JSLE, <=)

op_JA:
	TAKE(pc->off);
op_JA32:
	TAKE(pc->imm);

#undef JUMP
#undef JUMP_UNSIGNED
#undef JUMP_SIGNED
