/* The verifier on small programs: what it accepts, what it refuses and why, what it says, facts, limits, hostile input. */
#include "verifier_kit.h"

static void test_structure(void)
{
	ACCEPT(SET(0, 2), EXIT);
	REFUSE(UNREACHABLE, SET(0, 0), EXIT, SET(0, 1), EXIT);
	REFUSE(JUMP_OUT, LOCAL(3), JEQ(0, 0, 2), SET(0, 0), EXIT, SET(0, 0), EXIT);
	REFUSE(FALL_OFF, LOCAL(1), SET(0, 0), SET(0, 0), EXIT);
	REFUSE(FRAMES, LOCAL(2), SET(0, 0), EXIT, LOCAL(-1), SET(0, 0), EXIT);
	REFUSE(STACK_DEPTH, ST(10, -504, 0), LOCAL(2), SET(0, 0), EXIT, ST(10, -16, 0), SET(0, 0), EXIT);
	ACCEPT(ST(10, -480, 0), LOCAL(2), SET(0, 0), EXIT, ST(10, -16, 0), SET(0, 0), EXIT);
	CHECK_EQ(result.stack_depth, 496);
	REFUSE(TAIL_STACK, ST(10, -256, 0), LOCAL(2), SET(0, 0), EXIT, MAP(2, 4), SET(3, 1), HELPER(12), SET(0, 0), EXIT);
}

static void test_registers(void)
{
	REFUSE(UNINIT, EXIT);
	REFUSE(UNINIT, MOV(0, 2), EXIT);
	REFUSE(UNINIT, HELPER(5), MOV(0, 1), EXIT); /* r1 died in the call */
	REFUSE(UNINIT, HELPER(5), JEQ(0, 7, 1), SET(2, 1), MOV(0, 2), EXIT);
	ACCEPT(MOV(0, 1), EXIT); /* CAP_PERFMON may leak pointers */
	REFUSE(UNINIT, SET(6, 1), LOCAL(1), EXIT, MOV(0, 6), EXIT);
	REFUSE(RETURN_STACK, LOCAL(2), SET(0, 0), EXIT, MOV(0, 10), EXIT);
}

static void test_ctx(void)
{
	ACCEPT(LD(W, 0, 1, 12), EXIT);
	REFUSE(CTX_FIELD, LD(H, 0, 1, 12), EXIT);
	REFUSE(CTX_FIELD, LD(W, 0, 1, 2), EXIT);
	REFUSE(CTX_FIELD, OP(0x81, 0, 1, 0, 0), EXIT);
	REFUSE(CTX_EGRESS, LD(W, 0, 1, 20), EXIT);
	REFUSE(CTX_WRITE, OP(0x62, 1, 0, 0, 0), SET(0, 0), EXIT);
	REFUSE(CTX_MOVED, ADD(1, 4), LD(W, 0, 1, 0), EXIT);
	REFUSE(TWO_TYPES, MOV(6, 1), HELPER(7), JEQ(0, 2, 2), MOV(6, 10), ADD(6, -8), LD(W, 0, 6, 0), EXIT);
}

/* r2 = data, r3 = data_end, r4 = data + n. */
#define PACKET(n) LD(W, 2, 1, 0), LD(W, 3, 1, 4), MOV(4, 2), ADD(4, n)

static void test_packet(void)
{
	ACCEPT(PACKET(14), JGTR(4, 3, 1), LD(H, 0, 2, 12), SET(0, 2), EXIT);
	REFUSE(PACKET, PACKET(14), JGTR(4, 3, 1), LD(W, 0, 2, 12), SET(0, 2), EXIT);
	CHECK_EQ(result.diag.insn, 5);
	CHECK_EQ(result.diag.found, 14);
	CHECK_EQ(result.diag.expected, 16);
	CHECK(strstr(result.help, "compare `data + 16` with `data_end`"));
	CHECK_EQ(result.path_count, 1);
	CHECK_EQ(result.path[0].insn, 4);
	CHECK_EQ(result.path[0].taken, 0);
	CHECK_EQ(result.register_count, 1);
	CHECK(strstr(result.registers[0].text, "14 bytes proved"));
	REFUSE(PACKET, PACKET(14), JGTR(4, 3, 0), LD(B, 0, 2, 0), EXIT); /* both ways come here */
	REFUSE(BEFORE, PACKET(14), JGTR(4, 3, 1), LD(B, 0, 2, -1), SET(0, 2), EXIT);
	/* <, >=, <= in both orders */
	ACCEPT(PACKET(8), OP(0xad, 4, 3, 2, 0), SET(0, 0), EXIT, LD(B, 0, 2, 8), EXIT);
	REFUSE(PACKET, PACKET(8), OP(0xbd, 4, 3, 2, 0), SET(0, 0), EXIT, LD(B, 0, 2, 8), EXIT);
	ACCEPT(PACKET(8), OP(0xbd, 4, 3, 2, 0), SET(0, 0), EXIT, LD(D, 0, 2, 0), EXIT);
	ACCEPT(PACKET(8), OP(0x3d, 3, 4, 2, 0), SET(0, 0), EXIT, LD(D, 0, 2, 0), EXIT);
	ACCEPT(PACKET(8), OP(0xad, 3, 4, 1, 0), LD(D, 0, 2, 0), SET(0, 0), EXIT);
	/* variable offset: the check must come after it was added */
	ACCEPT(PACKET(14), JGTR(4, 3, 7), LD(B, 5, 2, 0), AND(5, 60), ADDR(2, 5), MOV(4, 2), ADD(4, 20), JGTR(4, 3, 1),
	       LD(W, 0, 2, 16), SET(0, 2), EXIT);
	REFUSE(PACKET, PACKET(14), JGTR(4, 3, 4), LD(B, 5, 2, 0), AND(5, 60), ADDR(2, 5), LD(B, 0, 2, 0), SET(0, 2), EXIT);
	REFUSE(UNBOUNDED_ADD, PACKET(14), JGTR(4, 3, 3), LD(D, 5, 2, 0), ADDR(2, 5), LD(B, 0, 2, 0), SET(0, 2), EXIT);
	/* metadata ends at data */
	ACCEPT(LD(W, 2, 1, 8), LD(W, 3, 1, 0), MOV(4, 2), ADD(4, 4), JGTR(4, 3, 1), LD(W, 0, 2, 0), SET(0, 0), EXIT);
	REFUSE(PACKET, LD(W, 2, 1, 8), LD(W, 3, 1, 4), MOV(4, 2), ADD(4, 4), JGTR(4, 3, 1), LD(W, 0, 2, 0), SET(0, 0), EXIT);
	/* a helper that moves the packet ends what was proved, in spilled pointers and callers as well */
	REFUSE(STALE, MOV(6, 1), LD(W, 7, 1, 0), LD(W, 3, 1, 4), MOV(4, 7), ADD(4, 14), JGTR(4, 3, 5), STX(10, 7, -8),
	       SET(2, 4), HELPER(44), LD(D, 7, 10, -8), LD(B, 0, 7, 0), SET(0, 0), EXIT);
	REFUSE(STALE, LD(W, 7, 1, 0), LD(W, 3, 1, 4), MOV(4, 7), ADD(4, 14), JGTR(4, 3, 2), LOCAL(3), LD(B, 0, 7, 0),
	       SET(0, 0), EXIT, SET(2, 4), HELPER(44), SET(0, 0), EXIT);
}

static void test_pointers(void)
{
	REFUSE(NOT_MEMORY, SET(1, 0), LD(B, 0, 1, 0), EXIT);
	REFUSE(POINTER_OP, OP(0x27, 1, 0, 0, 2), SET(0, 0), EXIT);
	REFUSE(POINTER_32, OP(0x04, 1, 0, 0, 2), SET(0, 0), EXIT);
	REFUSE(POINTER_KIND, LD(W, 2, 1, 4), ADD(2, 1), SET(0, 0), EXIT);
	REFUSE(TWO_POINTERS, MOV(2, 10), ADDR(2, 1), SET(0, 0), EXIT);
	ACCEPT(MOV(2, 10), OP(0x1f, 2, 1, 0, 0), SET(0, 0), EXIT); /* a difference is a number */
	REFUSE(SUB_POINTER, SET(2, 4), OP(0x1f, 2, 1, 0, 0), SET(0, 0), EXIT);
	REFUSE(SUB_STACK, MOV(2, 10), OP(0x17, 2, 0, 0, 8), SET(0, 0), EXIT);
	REFUSE(FAR, ADD(1, 1 << 29), SET(0, 0), EXIT);
}

static void test_stack(void)
{
	ACCEPT(LD(D, 0, 10, -8), EXIT); /* uninitialised stack may be read */
	REFUSE(STACK, LD(D, 0, 10, 0), EXIT);
	REFUSE(STACK, LD(D, 0, 10, -520), EXIT);
	REFUSE(ALIGN, LD(D, 0, 10, -12), EXIT);
	ACCEPT(STX(10, 1, -8), LD(D, 1, 10, -8), LD(W, 0, 1, 0), EXIT); /* ctx through the stack */
	REFUSE(NOT_MEMORY, STX(10, 1, -8), OP(0x72, 10, 0, -1, 0), LD(D, 1, 10, -8), LD(W, 0, 1, 0), EXIT);
	REFUSE(FILL_SIZE, STX(10, 1, -8), LD(W, 0, 10, -8), EXIT);
	REFUSE(SPILL_SIZE, OP(0x63, 10, 1, -8, 0), SET(0, 0), EXIT);
	REFUSE(SPILL_CALLER, MOV(1, 10), ADD(1, -8), LOCAL(2), SET(0, 0), EXIT, STX(1, 10, 0), SET(0, 0), EXIT);
	/* bounds survive a spill, and a comparison of the register narrows the spilled copy */
	ACCEPT(HELPER(7), AND(0, 15), OP(0x63, 10, 0, -8, 0), LD(W, 1, 10, -8), VALUE(2, 2, 0), ADDR(2, 1), LD(B, 0, 2, 0), EXIT);
	ACCEPT(HELPER(7), STX(10, 0, -8), JGT(0, 15, 5), LD(D, 1, 10, -8), VALUE(2, 2, 0), ADDR(2, 1), LD(B, 0, 2, 0), SET(0, 0),
	       EXIT);
	/* a store at a variable offset may have hit any slot in reach */
	REFUSE(NOT_MEMORY, STX(10, 1, -8), HELPER(7), AND(0, 7), MOV(2, 10), ADD(2, -8), ADDR(2, 0), OP(0x72, 2, 0, 0, 0),
	       LD(D, 1, 10, -8), LD(W, 0, 1, 0), EXIT);
	ACCEPT(HELPER(7), AND(0, 7), MOV(2, 10), ADD(2, -8), ADDR(2, 0), OP(0x72, 2, 0, 0, 0), SET(0, 0), EXIT);
	REFUSE(STACK, HELPER(7), AND(0, 15), MOV(2, 10), ADD(2, -8), ADDR(2, 0), OP(0x72, 2, 0, 0, 0), SET(0, 0), EXIT);
	/* what a helper wrote is no pointer any more */
	REFUSE(NOT_MEMORY, STX(10, 1, -8), SET(2, 0), MOV(3, 10), ADD(3, -8), SET(4, 8), HELPER(189), LD(D, 2, 10, -8),
	       LD(W, 0, 2, 0), EXIT);
}

#define LOOKUP(map, key) OP(0x62, 10, 0, -4, key), MOV(2, 10), ADD(2, -4), MAP(1, map), HELPER(1)

static void test_maps(void)
{
	REFUSE(NULL, LOOKUP(3, 7), LD(B, 0, 0, 0), EXIT);
	CHECK(strstr(result.help, "check r0 against NULL"));
	ACCEPT(LOOKUP(3, 7), JEQ(0, 0, 1), LD(B, 0, 0, 15), EXIT);
	REFUSE(OUTSIDE, LOOKUP(3, 7), JEQ(0, 0, 1), LD(B, 0, 0, 16), EXIT);
	REFUSE(NULL_MATH, LOOKUP(3, 7), ADD(0, 4), EXIT);
	/* an array always has its constant keys; like Linux's, the verifier knows words at the start of a slot */
	ACCEPT(OP(0x62, 10, 0, -8, 3), MOV(2, 10), ADD(2, -8), MAP(1, 1), HELPER(1), LD(B, 0, 0, 0), EXIT);
	REFUSE(NULL, OP(0x62, 10, 0, -8, 4), MOV(2, 10), ADD(2, -8), MAP(1, 1), HELPER(1), LD(B, 0, 0, 0), EXIT);
	REFUSE(NULL, LOOKUP(3, 7), MOV(6, 0), LOOKUP(3, 7), JEQ(0, 0, 1), LD(B, 0, 6, 0), SET(0, 0), EXIT);
	ACCEPT(LOOKUP(3, 7), MOV(6, 0), JEQ(0, 0, 1), LD(B, 0, 6, 0), SET(0, 0), EXIT);
	REFUSE(OUTSIDE, HELPER(7), AND(0, 31), VALUE(1, 2, 0), ADDR(1, 0), LD(B, 0, 1, 0), EXIT);
	REFUSE(NEGATIVE, VALUE(1, 2, 0), LD(B, 0, 1, -1), EXIT);
	REFUSE(DIRECT_VALUE, VALUE(1, 1, 0), LD(B, 0, 1, 0), EXIT);
	REFUSE(MAP_READONLY, VALUE(1, 5, 0), ST(1, 0, 0), SET(0, 0), EXIT);
	ACCEPT(VALUE(1, 5, 0), LD(W, 2, 1, 0), VALUE(3, 2, 0), ADDR(3, 2), LD(B, 0, 3, 0), EXIT); /* the constant 5 */
	REFUSE(OUTSIDE, VALUE(1, 5, 0), LD(W, 2, 1, 4), VALUE(3, 2, 0), ADDR(3, 2), LD(B, 0, 3, 0), EXIT); /* 200 */
	ACCEPT(LOOKUP(6, 0), JEQ(0, 0, 6), MOV(1, 0), MOV(2, 10), ADD(2, -4), HELPER(1), JEQ(0, 0, 1), LD(D, 0, 0, 24), SET(0, 0),
	       EXIT);
	REFUSE(ARGUMENT, LOOKUP(6, 0), MOV(1, 0), MOV(2, 10), ADD(2, -4), HELPER(1), SET(0, 0), EXIT);
	REFUSE(MAP_TYPE, LOOKUP(4, 0), SET(0, 0), EXIT);
	REFUSE(ATOMIC, PACKET(14), JGTR(4, 3, 2), SET(5, 1), OP(0xdb, 2, 5, 0, 0), SET(0, 0), EXIT);
}

static void test_helpers(void)
{
	REFUSE(ARGUMENT, SET(1, 0), SET(2, 0), HELPER(44), EXIT);
	REFUSE(SIZE_ZERO, SET(2, 0), MOV(3, 10), ADD(3, -8), SET(4, 0), HELPER(189), EXIT);
	REFUSE(SIZE_NEGATIVE, SET(2, 0), MOV(3, 10), ADD(3, -8), SET(4, -1), HELPER(189), EXIT);
	REFUSE(STACK, SET(2, 0), MOV(3, 10), ADD(3, -8), SET(4, 9), HELPER(189), EXIT);
	REFUSE(HELPER_PACKET, MOV(6, 1), PACKET(14), JGTR(4, 3, 5), MOV(1, 6), MOV(3, 2), SET(2, 0), SET(4, 8), HELPER(189), SET(0, 0),
	       EXIT);
	ACCEPT(SET(1, 0), SET(2, 0), SET(3, 0), SET(4, 0), SET(5, 0), HELPER(28), EXIT);
	REFUSE(ARGUMENT, SET(1, 0), SET(2, 4), SET(3, 0), SET(4, 0), SET(5, 0), HELPER(28), EXIT);
	EXPECT(PF_DIAG_PROG_HELPER_UNKNOWN, HELPER(9999), EXIT);
}

static void test_loops(void)
{
	ACCEPT(SET(0, 0), ADD(0, 1), JLT(0, 1000, -2), EXIT);
	REFUSE(LOOP, HELPER(7), OP(0x55, 0, 0, -2, 5), EXIT);
	REFUSE(LOOP, OP(0x05, 0, 0, -1, 0));
	REFUSE(BUDGET, SET(0, 0), ADD(0, 1), JLT(0, 600000, -2), EXIT);
	/* bpf_loop: r1 rounds, r2 callback, r3 its ctx */
	ACCEPT(ST(10, -8, 0), SET(1, 100), FUNC(2, 6), MOV(3, 10), ADD(3, -8), SET(4, 0), HELPER(181), EXIT, LD(D, 1, 2, 0),
	       ADD(1, 1), STX(2, 1, 0), SET(0, 0), EXIT);
	CHECK(result.insns_processed < 200);
	REFUSE(CALLBACK_RETURN, SET(1, 9), FUNC(2, 5), SET(3, 0), SET(4, 0), HELPER(181), EXIT, SET(0, 2), EXIT);
	/* a counter that a callback changed, and that a proof needs, is followed round by round */
	REFUSE(OUTSIDE, ST(10, -8, 0), SET(1, 100), FUNC(2, 11), MOV(3, 10), ADD(3, -8), SET(4, 0), HELPER(181), LD(D, 1, 10, -8),
	       VALUE(2, 2, 0), ADDR(2, 1), LD(B, 0, 2, 0), EXIT, LD(D, 1, 2, 0), ADD(1, 1), STX(2, 1, 0), SET(0, 0), EXIT);
	ACCEPT(MAP(1, 1), FUNC(2, 5), SET(3, 0), SET(4, 0), HELPER(164), EXIT, LD(W, 0, 2, 0), LD(D, 0, 3, 8), SET(0, 0), EXIT);
	REFUSE(KEY_WRITE, MAP(1, 1), FUNC(2, 5), SET(3, 0), SET(4, 0), HELPER(164), EXIT, OP(0x62, 2, 0, 0, 1), SET(0, 0), EXIT);
}

/* Pruning must look at what a proof needs: the same instruction with an index in bounds on one path, not on the other. */
static void test_pruning(void)
{
	REFUSE(OUTSIDE, HELPER(7), SET(6, 3), JEQ(0, 0, 1), SET(6, 99), HELPER(5), HELPER(5), HELPER(5), HELPER(5), HELPER(5),
	       OP(0x55, 0, 0, 0, 1), OP(0x55, 0, 0, 0, 2), OP(0x55, 0, 0, 0, 3), VALUE(2, 2, 0), ADDR(2, 6), LD(B, 0, 2, 0), EXIT);
	REFUSE(UNINIT, HELPER(7), JEQ(0, 0, 1), SET(6, 99), HELPER(5), OP(0x55, 0, 0, 0, 1), OP(0x55, 0, 0, 0, 2),
	       OP(0x55, 0, 0, 0, 3), JEQ(0, 8, 1), MOV(0, 6), EXIT);
	/* 2^30 paths that differ in nothing that matters */
	struct pf_insn many[64];
	uint32_t n = 0;
	for (int i = 0; i < 30; i++) {
		many[n++] = HELPER(7);
		many[n++] = OP(0x15, 0, 0, 0, i);
	}
	many[n++] = EXIT;
	const struct pf_verify_input in = input(many, n);
	CHECK_EQ(run(&in), PF_OK);
	CHECK(result.insns_processed < 1000);
}

static void test_memory_type(void)
{
	const struct pf_insn proved[] = { OP(0xa5, 2, 0, 2, 8), LD(D, 0, 1, 0), EXIT, SET(0, 0), EXIT };
	const struct pf_insn end[] = { MOV(3, 1), ADDR(3, 2), MOV(4, 1), ADD(4, 4), JGTR(4, 3, 2), LD(W, 0, 1, 0), EXIT, SET(0, 0),
				       EXIT };
	const struct pf_insn bare[] = { LD(D, 0, 1, 0), EXIT };
	struct pf_verify_input in = input(proved, 5);
	in.type = PF_PROG_MEMORY;
	CHECK_EQ(run(&in), PF_OK);
	in.insns = end, in.count = 9;
	CHECK_EQ(run(&in), PF_OK);
	in.insns = bare, in.count = 2;
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_PACKET);
	in.memory_min = in.memory_max = 8;
	CHECK_EQ(run(&in), PF_OK);
	in.memory_min = in.memory_max = 7;
	CHECK_EQ(run(&in), PF_EACCES);
}

static void test_global(void)
{
	const struct pf_insn insns[] = { MOV(1, 10), ADD(1, -8), SET(2, 3), LOCAL(1), EXIT, JEQ(1, 0, 2), LD(D, 0, 1, 0), EXIT,
					 MOV(0, 2), EXIT };
	struct pf_verify_func func = { .insn = 5, .args = 2, .arg = { { PF_VERIFY_ARG_MEM, 8, 0 }, { PF_VERIFY_ARG_SCALAR, 0, 0 } } };
	struct pf_verify_input in = input(insns, 10);
	in.funcs = &func;
	in.func_count = 1;
	CHECK_EQ(run(&in), PF_OK);
	func.arg[0].size = 4; /* the function itself reads 8 */
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_OUTSIDE);
	func.arg[0].size = 16; /* the caller has 8 */
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_STACK);
}

static void test_facts(void)
{
	/* r6 is an index that the proof needs, 3 or 9; r7 matters to no proof */
	const struct pf_insn insns[] = { HELPER(7), SET(6, 3), SET(7, 1), JEQ(0, 0, 1), SET(6, 9), VALUE(2, 2, 0), ADDR(2, 6),
					 LD(B, 0, 2, 0), EXIT };
	struct pf_verify_input in = input(insns, 10);
	in.want = PF_VERIFY_FACTS;
	CHECK_EQ(run(&in), PF_OK);
	const struct pf_fact *r6 = &result.facts[7 * 11 + 6], *r7 = &result.facts[7 * 11 + 7], *r2 = &result.facts[8 * 11 + 2];
	CHECK_EQ(r6->kind, PF_FACT_SCALAR);
	CHECK_EQ(r6->range.umin, 3);
	CHECK_EQ(r6->range.umax, 9);
	CHECK(r7->kind == PF_FACT_SCALAR ? r7->range.umax == UINT64_MAX : r7->kind == PF_FACT_ANY);
	CHECK_EQ(r2->kind, PF_FACT_MAP_VALUE);
	CHECK_EQ(r2->map, 1);
	CHECK_EQ(r2->range.umax, 9);
	CHECK_EQ(result.facts[6 * 11].kind, PF_FACT_UNREACHED); /* second half of the load */
	CHECK_EQ(result.types[8], PF_VERIFY_PLAIN);
}

static void test_limits(void)
{
	const struct pf_insn loop[] = { SET(0, 0), ADD(0, 1), JLT(0, 100000, -2), EXIT };
	struct pf_verify_input in = input(loop, 4);
	in.budget = 1000;
	CHECK_EQ(run(&in), PF_E2BIG);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_BUDGET);
	in.budget = 0;
	in.memory_limit = 100000;
	CHECK_EQ(run(&in), PF_ENOMEM);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_MEMORY);
	CHECK(result.memory_peak <= in.memory_limit);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Random bytes, and random legal instructions: a verdict every time, never a crash. */
static void test_hostile(void)
{
	uint64_t state = 88172645463325252u;
	struct pf_insn insns[40];
	uint32_t accepted = 0;

	for (int round = 0; round < 30000; round++) {
		const uint32_t count = 1 + (uint32_t)(next_random(&state) % 39);
		for (uint32_t i = 0; i < count; i++) {
			uint64_t bits = next_random(&state);
			memcpy(&insns[i], &bits, sizeof(bits));
			if (round % 4 == 0)
				continue;
			enum pf_op op = (enum pf_op)(next_random(&state) % PF_OPS);
			const struct pf_op_info *info = pf_isa_info(op);
			const unsigned fields = pf_isa_fields(op);
			insns[i] = (struct pf_insn){ .code = info->opcode };
			if (fields & PF_FIELD_DST)
				insns[i].dst = (uint8_t)(bits % 10) & 15;
			if (fields & PF_FIELD_SRC)
				insns[i].src = (uint8_t)(bits >> 8) % 11 & 15;
			if (fields & PF_FIELD_OFF)
				insns[i].off = (int16_t)((bits >> 16) % 24 - 12);
			if (fields & PF_FIELD_IMM)
				insns[i].imm = (int32_t)((bits >> 32) % 200 - 20);
			if (info->selector == PF_SELECT_OFF)
				insns[i].off = (int16_t)info->value;
			if (info->selector == PF_SELECT_IMM)
				insns[i].imm = info->value;
			if (info->selector == PF_SELECT_SRC)
				insns[i].src = (uint8_t)info->value & 15;
			if (info->form == PF_FORM_LDDW && i + 1 < count)
				insns[++i] = (struct pf_insn){ .code = 0 };
		}
		if (round % 4)
			insns[count - 1] = EXIT;
		struct pf_verify_input in = input(insns, count);
		in.type = round & 1 ? PF_PROG_XDP : PF_PROG_MEMORY;
		in.budget = 20000;
		in.want = PF_VERIFY_FACTS;
		accepted += run(&in) == PF_OK;
	}
	CHECK(accepted > 0);
}

static void count_line(void *user, const char *line, size_t length)
{
	CHECK(line && length);
	++*(uint32_t *)user;
}

static void test_log(void)
{
	const struct pf_insn insns[] = { SET(0, 2), EXIT };
	struct pf_verify_input in = input(insns, 2);
	uint32_t lines = 0;
	in.log = count_line;
	in.user = &lines;
	CHECK_EQ(run(&in), PF_OK);
	CHECK(lines >= 2);
}

int main(void)
{
	test_structure();
	test_registers();
	test_ctx();
	test_packet();
	test_pointers();
	test_stack();
	test_maps();
	test_helpers();
	test_loops();
	test_pruning();
	test_memory_type();
	test_global();
	test_facts();
	test_limits();
	test_hostile();
	test_log();
	pf_verify_free(&result);
	return 0;
}
