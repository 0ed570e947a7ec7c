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

/* A store into half of a slot leaves the other half live: byte -3 is 0 on one path only. */
static void test_half_of_slot_is_live(void)
{
	REFUSE(OUTSIDE, LD(W, 6, 1, 12), LD(W, 7, 1, 16), NOPS, JEQ(6, 1, 2), ST8(10, -3, 0), JA(1), STB(10, 7, -3),
	       OP(0x62, 10, 0, -8, 5), LD(B, 3, 10, -3), VALUE(4, 2, 0), ADDR(4, 3), LD(B, 0, 4, 0), SET(0, 0), EXIT);
}

/* Blocks that run from the last to the first: liveness would need a sweep for each, and takes everything for live. r6 is
 * read in the last one; on one path it is 0 to 7, on the other 1000. */
static void test_liveness_of_long_way_back(void)
{
	enum { LAST = 15, BLOCKS = 60, FIRST = 21 };
	struct pf_insn insns[FIRST + BLOCKS] = { LD(W, 7, 1, 12), LD(W, 6, 1, 16), AND(6, 7), NOPS, JEQ(7, 1, 1), JA(67),
						 SET(6, 1000), JA(65), VALUE(4, 2, 0), ADDR(4, 6), LD(B, 0, 4, 0), SET(0, 0), EXIT };
	struct pf_verify_input in = input(insns, FIRST + BLOCKS);

	insns[FIRST] = JA(LAST - FIRST - 1);
	for (int block = 1; block < BLOCKS; block++)
		insns[FIRST + block] = JA(-2);
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_OUTSIDE);
	insns[13].imm = 15;
	CHECK_EQ(run(&in), PF_OK);
}

/* A slot that holds 5 covers no slot that holds 0, however that 0 was written. */
static void test_number_covers_no_zero(void)
{
	REFUSE(NEGATIVE, LD(W, 6, 1, 12), NOPS, JEQ(6, 1, 2), ST(10, -8, 5), JA(2), OP(0x62, 10, 0, -4, 0), OP(0x62, 10, 0, -8, 0),
	       LD(D, 3, 10, -8), AND(3, 15), ADD(3, -5), VALUE(4, 2, 0), ADDR(4, 3), LD(B, 0, 4, 0), SET(0, 0), EXIT);
}

/* Two maps of one value each: their values have no identity but their map. */
static void test_lock_of_other_map(void)
{
	static const struct pf_verify_map two[] = {
		{ .number = 1, .def = { PF_MAP_ARRAY, 4, 16, 1, 0 }, .lock = { 0, 1 } },
		{ .number = 2, .def = { PF_MAP_ARRAY, 4, 16, 1, 0 }, .lock = { 0, 1 } },
	};
	for (int one = 1; one <= 2; one++) {
		for (int other = 1; other <= 2; other++) {
			const struct pf_insn insns[] = { VALUE(1, one, 0), HELPER(93), VALUE(1, other, 0), HELPER(94), SET(0, 0), EXIT };
			struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));
			in.maps = two;
			in.map_count = 2;
			(void)run(&in);
			CHECK_EQ(result.diag.code, one == other ? PF_DIAG_NONE : PF_DIAG_VER_LOCK_OTHER);
		}
	}
}

/* r1 is read by the lock's helpers: another path with another address in it is not covered. */
static void test_lock_reads_r1(void)
{
	REFUSE(LOCK_OFFSET, LD(W, 6, 1, 12), NOPS, JEQ(6, 1, 3), VALUE(1, 7, 4), JA(2), VALUE(1, 7, 8), HELPER(93), VALUE(1, 7, 4),
	       HELPER(94), SET(0, 0), EXIT);
}

/* Two subtractions of up to 2^29 - 1 lead too far, one does not; what is added again goes back. */
static void test_distance(void)
{
	REFUSE(FAR, LD(W, 6, 1, 12), AND(6, 0x1fffffff), VALUE(1, 2, 0), OP(0x1f, 1, 6, 0, 0), OP(0x1f, 1, 6, 0, 0), SET(0, 0),
	       EXIT);
	ACCEPT(LD(W, 6, 1, 12), AND(6, 0x1fffffff), VALUE(1, 2, 0), OP(0x1f, 1, 6, 0, 0), ADDR(1, 6), SET(0, 0), EXIT);
}

/* A global function moves the packet when a function that it calls does. */
static void test_global_moves_packet(void)
{
	static const struct pf_verify_func funcs[] = { { .insn = 9, .args = 1, .arg = { { PF_VERIFY_ARG_CTX, 0, 0 } } } };
	struct pf_insn insns[] = { LD(W, 6, 1, 0), LD(W, 7, 1, 4), MOV(8, 6), ADD(8, 14), JGTR(8, 7, 2), LOCAL(3), LD(B, 0, 6, 0),
				   SET(0, 0), EXIT, LOCAL(2), SET(0, 0), EXIT, SET(2, 0), HELPER(44), SET(0, 0), EXIT };
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));

	in.funcs = funcs;
	in.func_count = 1;
	CHECK_EQ(run(&in), PF_EACCES);
	CHECK_EQ(result.diag.code, PF_DIAG_VER_STALE);
	insns[13] = HELPER(5); /* the time */
	CHECK_EQ(run(&in), PF_OK);
}

static void keep_line(void *user, const char *line, size_t length)
{
	char (*lines)[64] = user;

	for (unsigned i = 0; i < 4; i++) {
		if (lines[i][0])
			continue;
		snprintf(lines[i], sizeof(lines[i]), "%.*s", (int)length, line);
		return;
	}
}

/* The log has both halves of a 64-bit constant, and the registers that are still read. */
static void test_log(void)
{
	char lines[4][64] = { { 0 } };
	const struct pf_insn insns[] = { OP(0x18, 0, 0, 0, 0x33445566), OP(0, 0, 0, 0, 0x1122), EXIT };
	struct pf_verify_input in = input(insns, 3);

	in.log = keep_line;
	in.user = lines;
	CHECK_EQ(run(&in), PF_OK);
	CHECK(!strcmp(lines[0], "0: (frame 0) r0 = 0x112233445566 ll"));
	CHECK(!strcmp(lines[1], "r0: number 18838586676582"));
	CHECK(!strcmp(lines[2], "2: (frame 0) exit"));
}

/* A released number, again, but one whose provenance is far on: under a sanitizer, its list must be empty. */
static void test_released_far_on(void)
{
	enum { BEFORE = 3000 };
	const struct pf_insn last[] = {
		LD(W, 6, 1, 12), AND(6, 7), LD(W, 7, 1, 16), JEQ(7, 1, 7), JEQ(7, 2, 4), SET(0, 0), MOV(8, 6), ADDR(0, 8), EXIT,
		SET(6, 1000), JA(-6), MOV(1, 10), ADD(1, -8), ST(1, 0, 0), ADDR(1, 6), LD(B, 0, 1, 0), EXIT
	};
	struct pf_insn insns[BEFORE + sizeof(last) / sizeof(last[0])];
	struct pf_verify_input in = input(insns, sizeof(insns) / sizeof(insns[0]));

	for (int i = 0; i < BEFORE; i++)
		insns[i] = SET(3, i);
	memcpy(insns + BEFORE, last, sizeof(last));
	in.want = PF_VERIFY_FACTS;
	CHECK_EQ(run(&in), PF_OK);
	const struct pf_fact *f = &result.facts[(BEFORE + 6) * 11 + 6];
	CHECK(f->kind == PF_FACT_ANY || f->range.umax >= 1000);
}

int main(void)
{
	test_released_far_on();
	test_lock_of_other_map();
	test_lock_reads_r1();
	test_distance();
	test_global_moves_packet();
	test_log();
	/* recursion where no path goes */
	REFUSE(FRAMES, SET(0, 0), JEQ(0, 0, 1), LOCAL(-3), EXIT);
	CHECK_EQ(result.diag.found, 9);
	/* which argument it was */
	REFUSE(ARGUMENT, VALUE(1, 2, 0), HELPER(93), SET(0, 0), EXIT);
	CHECK_EQ(result.diag.found, 1);
	test_number_covers_no_zero();
	test_half_of_slot_is_live();
	test_liveness_of_long_way_back();
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
