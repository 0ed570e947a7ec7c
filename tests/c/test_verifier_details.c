/* The verifier: what only one line of it decides. Most of these came from mutants that nothing else noticed. */
#include "verifier_kit.h"

#define STB(d, s, o) OP(0x73, d, s, o, 0)
#define ST8(d, o, i) OP(0x72, d, 0, o, i)
#define JLTR(d, s, o) OP(0xad, d, s, o, 0)
#define JGER(d, s, o) OP(0x3d, d, s, o, 0)
#define JA(o) OP(0x05, 0, 0, o, 0)
#define BE16(d) OP(0xdc, d, 0, 0, 16)
#define NOPS SET(0, 0), SET(0, 0), SET(0, 0), SET(0, 0), SET(0, 0), SET(0, 0), SET(0, 0), SET(0, 0)

/* A NULL that a global function takes is needed as such: another path with 5 in its place is not covered. */
static void test_null_for_global(void)
{
	static const struct pf_verify_func funcs[] = { { .insn = 15, .args = 1, .arg = { { PF_VERIFY_ARG_MEM, 4, 0 } } } };
	struct pf_insn insns[] = { LD(W, 6, 1, 12), NOPS, JEQ(6, 1, 2), SET(1, 0), JA(1), SET(1, 5), LOCAL(1), EXIT,
				   SET(0, 0), JEQ(1, 0, 1), LD(W, 0, 1, 0), EXIT };
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));

	in.funcs = funcs;
	in.func_count = 1;
	CHECK_EQ(run(&in), PF_EINVAL);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_GLOBAL_ARG);
	insns[12].imm = 0;
	CHECK_EQ(run(&in), PF_OK);
}

/* Each wish is its own. */
static void test_wants(void)
{
	const struct pf_insn insns[] = { LD(W, 0, 1, 20), EXIT };
	struct pf_verify_input in = input(insns, 2);

	in.want = PF_VERIFY_FRAGS;
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_CTX_EGRESS);
	in.want = PF_VERIFY_FRAGS | PF_VERIFY_EGRESS;
	CHECK_EQ(run(&in), PF_OK);
	CHECK(!result.facts);
	in.want |= PF_VERIFY_FACTS;
	CHECK_EQ(run(&in), PF_OK);
	CHECK(result.facts != NULL);
}

/* One byte of the stack at an unknown place is overwritten: none of those it may be is known to be 0 any more, and the
 * others are. r3 comes from byte `from`, and is an offset into a value of 16 bytes. */
#define WRITE_ONE_OF_8(from)                                                                                           \
	ST8(10, -7, 0), ST8(10, -15, 0), LD(W, 7, 1, 16), LD(W, 6, 1, 12), AND(6, 7), MOV(2, 10), ADD(2, -8), ADDR(2, 6),       \
		STB(2, 7, 0), LD(B, 3, 10, from), VALUE(4, 2, 0), ADDR(4, 3), LD(B, 0, 4, 0), SET(0, 0), EXIT

static void test_write_somewhere(void)
{
	REFUSE(OUTSIDE, WRITE_ONE_OF_8(-7));
	ACCEPT(WRITE_ONE_OF_8(-15));
}

/* A byte out of the middle of a known number. */
static void test_part_of_number(void)
{
	ACCEPT(SET(3, 0x010203), STX(10, 3, -8), LD(B, 4, 10, -7), VALUE(1, 2, 0), ADDR(1, 4), LD(B, 0, 1, 0), SET(0, 0), EXIT);
	ACCEPT(SET(3, 0x40000), STX(10, 3, -8), LD(H, 4, 10, -6), VALUE(1, 2, 0), ADDR(1, 4), LD(B, 0, 1, 0), SET(0, 0), EXIT);
	REFUSE(OUTSIDE, SET(3, 0x400000), STX(10, 3, -8), LD(H, 4, 10, -6), VALUE(1, 2, 0), ADDR(1, 4), LD(B, 0, 1, 0),
	       SET(0, 0), EXIT);
}

/* What a comparison with the end has shown decides later ones: the way not taken is not walked. */
#define BEYOND(jump)                                                                                                   \
	LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 14), JGTR(8, 7, 2), SET(0, 0), EXIT, jump
#define WRONG LD(B, 0, 6, 0)
static void test_decided_by_end(void)
{
	ACCEPT(BEYOND(JLTR(8, 7, 2)), SET(0, 0), EXIT, WRONG, EXIT);
	ACCEPT(BEYOND(JGER(8, 7, 2)), WRONG, EXIT, SET(0, 0), EXIT);
	ACCEPT(BEYOND(JGTR(8, 7, 2)), WRONG, EXIT, SET(0, 0), EXIT);
	REFUSE(PACKET, BEYOND(JLTR(8, 7, 2)), WRONG, EXIT, SET(0, 0), EXIT);
	/* not above the end, so at it: >= is decided, > too */
	ACCEPT(LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 14), JGER(8, 7, 2), SET(0, 0), EXIT, JLTR(8, 7, 2), SET(0, 0),
	       EXIT, WRONG, EXIT);
	REFUSE(PACKET, LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 14), JGER(8, 7, 2), SET(0, 0), EXIT, JGTR(8, 7, 2),
	       SET(0, 0), EXIT, WRONG, EXIT);
}

/* r0 is computed from what one path knows of r6 and nothing needs: no fact about it either, whichever operand it was. */
static void test_computed_from_released(void)
{
	struct pf_insn insns[] = {
		SET(3, 1), SET(3, 1), SET(3, 1), SET(3, 1), SET(3, 1), LD(W, 6, 1, 12), AND(6, 7), LD(W, 7, 1, 16),
		JEQ(7, 1, 7), JEQ(7, 2, 4), SET(0, 0), MOV(8, 6), ADDR(0, 8), EXIT, SET(6, 1000), JA(-6),
		MOV(1, 10), ADD(1, -8), ST(1, 0, 0), ADDR(1, 6), LD(B, 0, 1, 0), EXIT
	};
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));

	in.want = PF_VERIFY_FACTS;
	for (unsigned turn = 0; turn < 2; turn++) {
		CHECK_EQ(run(&in), PF_OK);
		const struct pf_fact *f = &result.facts[13 * 11];
		CHECK(f->kind == PF_FACT_ANY || f->range.umax >= 1000);
		insns[11] = SET(8, 0); /* the other way round */
		insns[10] = MOV(0, 6);
	}
}

/* Byte order changes no origin: the comparison before it is of the same number. */
static void test_path_through_swap(void)
{
	REFUSE(OUTSIDE, LD(W, 9, 1, 12), JEQ(9, 3, 0), BE16(9), VALUE(1, 2, 0), ADDR(1, 9), LD(B, 0, 1, 0), EXIT);
	CHECK_EQ(result.path_count, 1);
	CHECK_EQ(result.path[0].insn, 1);
}

/* Frames are counted where a callback is entered, too: eight functions and the callback of the last. */
static void test_frames_with_callback(void)
{
#define CALL_NEXT LOCAL(1), EXIT
	REFUSE(FRAMES, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, SET(1, 1), FUNC(2, 5), SET(3, 0),
	       SET(4, 0), HELPER(181), EXIT, SET(0, 0), EXIT);
	CHECK_EQ(result.diag.found, 9);
	CHECK_EQ(result.diag.expected, 8);
	ACCEPT(CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, CALL_NEXT, SET(1, 1), FUNC(2, 5), SET(3, 0), SET(4, 0),
	       HELPER(181), EXIT, SET(0, 0), EXIT);
}

/* The values that a callback sees one after the other are different ones, each with its own lock. */
static void test_lock_of_earlier_round(void)
{
	REFUSE(LOCK_OTHER, ST(10, -8, 0), MAP(1, 8), FUNC(2, 7), MOV(3, 10), ADD(3, -8), SET(4, 0), HELPER(164), SET(0, 0), EXIT,
	       MOV(6, 3), LD(D, 8, 4, 0), STX(4, 6, 0), JEQ(8, 0, 4), MOV(1, 6), HELPER(93), MOV(1, 8), HELPER(94), SET(0, 0), EXIT);
	ACCEPT(ST(10, -8, 0), MAP(1, 8), FUNC(2, 7), MOV(3, 10), ADD(3, -8), SET(4, 0), HELPER(164), SET(0, 0), EXIT,
	       MOV(6, 3), LD(D, 8, 4, 0), STX(4, 6, 0), JEQ(8, 0, 4), MOV(1, 6), HELPER(93), MOV(1, 6), HELPER(94), SET(0, 0), EXIT);
}

int main(void)
{
	test_frames_with_callback();
	test_lock_of_earlier_round();
	test_null_for_global();
	test_wants();
	test_write_somewhere();
	test_part_of_number();
	test_decided_by_end();
	test_computed_from_released();
	test_path_through_swap();
	pf_verify_free(&result);
	return 0;
}
