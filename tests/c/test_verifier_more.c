/* The verifier: locks, license, tail calls that return to a caller, pruning and facts that may not believe one path, and what
 * refusals say. */
#include "verifier_kit.h"

#define STALE_CALL HELPER(44)
#define LOCK HELPER(93)
#define UNLOCK HELPER(94)
#define SPIN(d) VALUE(d, 7, 4)

static void test_locks(void)
{
	ACCEPT(SPIN(1), LOCK, VALUE(6, 7, 0), ST(6, 8, 1), SPIN(1), UNLOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_LEFT, SPIN(1), LOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_LEFT, HELPER(7), MOV(6, 0), SPIN(1), LOCK, JEQ(6, 0, 3), SPIN(1), UNLOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_NOT_HELD, SPIN(1), UNLOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_CALL, SPIN(1), LOCK, HELPER(7), SPIN(1), UNLOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_CALL, SPIN(1), LOCK, SPIN(1), LOCK, SET(0, 0), EXIT);
	REFUSE(LOCK_OFFSET, VALUE(1, 7, 8), LOCK, SET(0, 0), EXIT);
	REFUSE(ARGUMENT, VALUE(1, 2, 0), LOCK, SET(0, 0), EXIT);
	/* its bytes belong to the helpers: 0 to 3 and 8 are the program's, 4 to 7 are not */
	ACCEPT(VALUE(1, 7, 0), LD(W, 0, 1, 0), EXIT);
	ACCEPT(VALUE(1, 7, 0), LD(B, 0, 1, 8), EXIT);
	REFUSE(LOCK_ACCESS, VALUE(1, 7, 0), LD(B, 0, 1, 7), EXIT);
	REFUSE(LOCK_ACCESS, VALUE(1, 7, 0), LD(D, 0, 1, 0), EXIT);
	REFUSE(LOCK_ACCESS, HELPER(7), AND(0, 7), VALUE(1, 7, 0), ADDR(1, 0), LD(B, 0, 1, 0), EXIT);
}

/* Two look-ups in one map give two values: each has its own lock. */
static void test_lock_of_other(void)
{
#define LOOKUP(d, none) ST(10, -8, 1), MOV(2, 10), ADD(2, -8), MAP(1, 8), HELPER(1), JEQ(0, 0, none), MOV(d, 0)
	ACCEPT(LOOKUP(6, 5), MOV(1, 6), LOCK, MOV(1, 6), UNLOCK, SET(0, 0), SET(0, 0), EXIT);
	REFUSE(LOCK_OTHER, LOOKUP(6, 13), LOOKUP(7, 5), MOV(1, 6), LOCK, MOV(1, 7), UNLOCK, SET(0, 0), SET(0, 0), EXIT);
}

static void test_license(void)
{
	const struct pf_insn insns[] = { ST(10, -8, 0), MOV(1, 10), ADD(1, -8), SET(2, 8), HELPER(6), SET(0, 0), EXIT };
	struct pf_verify_input in = input(insns, 7);
	CHECK_EQ(run(&in), PF_EINVAL);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_LICENSE);
	in.gpl_compatible = 1;
	CHECK_EQ(run(&in), PF_OK);
}

/* Behind a tail call in the same function the call failed, and the packet is where it was. A caller of a function that
 * made one goes on with a packet that the target may have moved. */
static void test_tail_return(void)
{
	ACCEPT(LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 4), JGTR(8, 7, 5), MAP(2, 4), SET(3, 0), HELPER(12),
	       LD(W, 0, 6, 0), SET(0, 0), EXIT);
	REFUSE(STALE, LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 4), JGTR(8, 7, 2), LOCAL(3), LD(W, 0, 6, 0), SET(0, 0),
	       EXIT, MAP(2, 4), SET(3, 0), HELPER(12), SET(0, 0), EXIT);
	CHECK(!strcmp(result.diag.name, "tail_call"));
}

static void test_null(void)
{
	/* r0 == r6, and r6 is no NULL */
	ACCEPT(ST(10, -8, 0), MOV(2, 10), ADD(2, -8), MAP(1, 3), HELPER(1), JEQ(0, 0, 9), MOV(6, 0), MOV(2, 10), ADD(2, -8),
	       MAP(1, 3), HELPER(1), OP(0x5d, 0, 6, 1, 0), LD(W, 0, 0, 0), SET(0, 0), EXIT);
	/* r0 != r6 says nothing */
	REFUSE(NULL, ST(10, -8, 0), MOV(2, 10), ADD(2, -8), MAP(1, 3), HELPER(1), JEQ(0, 0, 9), MOV(6, 0), MOV(2, 10),
	       ADD(2, -8), MAP(1, 3), HELPER(1), OP(0x1d, 0, 6, 1, 0), LD(W, 0, 0, 0), SET(0, 0), EXIT);
	REFUSE(ARGUMENT, SET(1, 4), FUNC(2, 6), ADD(2, 1), SET(3, 0), SET(4, 0), HELPER(181), EXIT, SET(0, 0), EXIT);
	ACCEPT(FUNC(2, 4), ADD(2, 1), SET(0, 0), EXIT, SET(0, 0), EXIT);
}

/* A proved range that nothing rested on may differ; one that an access rests on may not. */
static void test_range_pruning(void)
{
#define PACKET(proved)                                                                                                 \
	LD(W, 6, 1, 0), LD(W, 7, 1, 4), LD(W, 9, 1, 12), SET(0, 0), SET(0, 0), SET(0, 0), MOV(8, 6), ADD(8, 14),               \
		JGTR(8, 7, 8), JEQ(9, 1, 3), MOV(8, 6), ADD(8, 20), JGTR(8, 7, 4), SET(0, 0), SET(0, 0), SET(0, 0),            \
		LD(B, 0, 6, (proved) - 1), EXIT
	ACCEPT(PACKET(14));
	REFUSE(PACKET, PACKET(15));
}

/* One path's r6 is 0..7 and needed elsewhere; another path comes to the same place with 1000, and is pruned there since
 * nothing behind it looks at r6. No fact may say 0..7. */
static void test_released(void)
{
	const struct pf_insn insns[] = {
		SET(3, 1), SET(3, 1), SET(3, 1), SET(3, 1), SET(3, 1), LD(W, 6, 1, 12), AND(6, 7), LD(W, 7, 1, 16),
		JEQ(7, 1, 7), JEQ(7, 2, 4), SET(0, 0), MOV(8, 6), ADDR(0, 8), EXIT, SET(6, 1000), OP(0x05, 0, 0, -6, 0),
		MOV(1, 10), ADD(1, -8), ST(1, 0, 0), ADDR(1, 6), LD(B, 0, 1, 0), EXIT
	};
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));
	in.want = PF_VERIFY_FACTS;
	CHECK_EQ(run(&in), PF_OK);
	for (uint32_t i = 10; i < 13; i++) {
		const struct pf_fact *f = &result.facts[i * 11 + 6];
		CHECK(f->kind == PF_FACT_ANY || f->range.umax >= 1000);
	}
}

/* r5 and r8 are one number, with one node. The path with 0..3 ends at 14 in a state that has 4 and above in r8, where nothing
 * behind needs r8; but the same comparison of states makes r5's mark one of r8's. Still no fact may say 4 and above. */
static void test_released_by_link(void)
{
	const struct pf_insn insns[] = {
		MOV(6, 1), LD(W, 4, 6, 0), LD(W, 3, 6, 4), LD(W, 5, 6, 16), MOV(8, 5), OP(0xb5, 5, 0, 6, 3), LD(W, 7, 6, 0),
		LD(W, 0, 6, 8), MOV(5, 0), ADD(5, 4), JGTR(5, 7, 10), LD(W, 5, 0, 0), OP(0x26, 5, 0, 1, 0), OP(0x05, 0, 0, 1, 0),
		SET(5, 0), MOV(9, 4), ADDR(9, 5), MOV(7, 9), ADD(7, 2), OP(0xad, 3, 7, 1, 0), OP(0x6b, 9, 8, 0, 0), SET(0, 0), EXIT
	};
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));
	in.want = PF_VERIFY_FACTS;
	CHECK_EQ(run(&in), PF_OK);
	for (uint32_t i = 12; i < 16; i++) {
		const struct pf_fact *f = &result.facts[i * 11 + 8];
		CHECK(f->kind == PF_FACT_ANY || pf_scalar_contains(&f->range, 3));
	}
}

/* A refusal names the numbers, and of the branches only those that matter. */
static void test_words(void)
{
	/* the comparison of r9 does not matter to the access through r6, that of r8 with the end does */
	REFUSE(PACKET, LD(W, 9, 1, 12), LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 14), JGTR(8, 7, 2), JEQ(9, 3, 1),
	       LD(B, 0, 6, 33), SET(0, 0), EXIT);
	CHECK(strstr(result.help, "data + 34") && strstr(result.help, "14 bytes"));
	CHECK_EQ(result.path_count, 1);
	CHECK_EQ(result.path[0].insn, 5);
	CHECK_EQ(result.path[0].taken, 0);
	/* which branch was taken is all there is to say */
	REFUSE(UNINIT, LD(W, 9, 1, 12), JEQ(9, 3, 1), SET(0, 0), EXIT);
	CHECK_EQ(result.path_count, 1);
	CHECK_EQ(result.path[0].taken, 1);
	REFUSE(STALE, MOV(6, 1), LD(W, 7, 1, 0), SET(2, 0), STALE_CALL, ADD(7, 2), LD(B, 0, 7, 0), EXIT);
	CHECK_EQ(result.diag.expected, 3);
	CHECK(!strcmp(result.diag.name, "xdp_adjust_head"));
	REFUSE(UNBOUNDED, LD(W, 9, 1, 12), VALUE(1, 2, 0), ADDR(1, 9), LD(D, 0, 1, 0), EXIT);
	CHECK(strstr(result.help, "> 8)") && strstr(result.help, "16 bytes"));
	EXPECT(PF_DIAG_ISA_JUMP_RANGE, LOCAL(100), EXIT);
	CHECK(strstr(result.help, "call"));
}

/* A path through functions, callbacks and loops is followed, too. */
static void test_long_path(void)
{
	REFUSE(PACKET, LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(1, 6), LOCAL(9), MOV(8, 6), ADD(8, 2), JGTR(8, 7, 4), SET(2, 20),
	       ADD(2, -1), OP(0x55, 2, 0, -2, 0), LD(B, 0, 6, 2), SET(0, 0), EXIT, JEQ(1, 7, 0), SET(0, 0), EXIT);
	CHECK_EQ(result.path_count, 2); /* in the function, of a copy of r6; and the check */
	CHECK_EQ(result.path[1].insn, 6);
	REFUSE(PACKET, LD(W, 6, 1, 0), SET(1, 5), FUNC(2, 7), SET(3, 0), SET(4, 0), HELPER(181), LD(B, 0, 6, 0), SET(0, 0), EXIT,
	       SET(0, 0), JEQ(1, 2, 1), EXIT, SET(0, 1), EXIT);
	CHECK_EQ(result.path_count, 0);
}

int main(void)
{
	test_locks();
	test_lock_of_other();
	test_license();
	test_tail_return();
	test_null();
	test_range_pruning();
	test_released();
	test_released_by_link();
	test_words();
	test_long_path();
	pf_verify_free(&result);
	return 0;
}
