/* test_vm_ops.c - arithmetic and jumps of the interpreter against formulas of another style, over boundary values, and
 * random straight programs against a model (which also covers the fused handlers). Given the file that vectors.py
 * writes, it runs the conformance vectors too. */
#include "prog/registers.h"
#include "vm_fixture.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

static const uint64_t edges[] = {
	0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 65, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
	0x80000000, 0x80000001, 0xffffffff, 0x100000000, 0x123456789abcdef0, 0x7fffffffffffffff, 0x8000000000000000,
	0x8000000000000001, 0xfffffffffffffffe, 0xffffffffffffffff, 0xffffffff80000000, 0xffffffff7fffffff,
};

static s128 as_signed(uint64_t v, int bits)
{
	const s128 half = (s128)1 << (bits - 1);
	const s128 value = (s128)(u128)(bits == 64 ? v : v & 0xffffffff);
	return value >= half ? value - 2 * half : value;
}

static uint64_t narrow(u128 v, int bits)
{
	return bits == 64 ? (uint64_t)v : (uint64_t)(v & 0xffffffff);
}

/* One bit at a time. */
static uint64_t shifted(uint64_t v, unsigned by, int bits, int left, int keep_sign)
{
	for (by %= (unsigned)bits; by; by--) {
		const uint64_t top = v >> (bits - 1) & 1;
		v = left ? narrow((u128)v * 2, bits) : v / 2;
		if (keep_sign && top)
			v += (uint64_t)1 << (bits - 1);
	}
	return v;
}

static uint64_t extended(uint64_t v, int from, int bits)
{
	const uint64_t low = v % ((u128)1 << from);
	return narrow(low >> (from - 1) ? (u128)low - ((u128)1 << from) : (u128)low, bits);
}

static uint64_t reversed(uint64_t v, int bytes)
{
	uint64_t out = 0;
	for (int i = 0; i < bytes; i++)
		out = out * 256 + v / ((uint64_t)1 << (8 * i)) % 256;
	return out;
}

/* What opcode `code` with selectors off and imm leaves in dst; RFC 9669 section 4. */
static uint64_t model_alu(uint8_t code, int16_t off, int32_t imm, uint64_t dst, uint64_t src)
{
	const int bits = (code & 7) == 7 ? 64 : 32;
	const uint64_t a = narrow(dst, bits), b = narrow(code & 8 ? src : (uint64_t)(int64_t)imm, bits);
	const s128 sa = as_signed(a, bits), sb = as_signed(b, bits);
	switch (code & 0xf0) {
	case 0x00:
		return narrow((u128)a + b, bits);
	case 0x10:
		return narrow((u128)a - b, bits);
	case 0x20:
		return narrow((u128)a * b, bits);
	case 0x30:
		return !b ? 0 : narrow(off ? (u128)(sa / sb) : (u128)a / b, bits);
	case 0x40:
		return a | b;
	case 0x50:
		return a & b;
	case 0x60:
		return shifted(a, (unsigned)(b % 64), bits, 1, 0);
	case 0x70:
		return shifted(a, (unsigned)(b % 64), bits, 0, 0);
	case 0x80:
		return narrow((u128)0 - a, bits);
	case 0x90:
		return !b ? a : narrow(off ? (u128)(sa % sb) : (u128)a % b, bits);
	case 0xa0:
		return a ^ b;
	case 0xb0:
		return off ? extended(b, off, bits) : b;
	case 0xc0:
		return shifted(a, (unsigned)(b % 64), bits, 0, 1);
	}
	/* 0xd0: d4 to little endian (a truncation here), dc to big endian, d7 swap. */
	return code == 0xd4 ? (uint64_t)((u128)dst % ((u128)1 << imm)) : reversed(dst, imm / 8);
}

static int model_jump(uint8_t code, int32_t imm, uint64_t dst, uint64_t src)
{
	const int bits = (code & 7) == 5 ? 64 : 32;
	const uint64_t a = narrow(dst, bits), b = narrow(code & 8 ? src : (uint64_t)(int64_t)imm, bits);
	const s128 sa = as_signed(a, bits), sb = as_signed(b, bits);
	switch (code & 0xf0) {
	case 0x10:
		return a == b;
	case 0x20:
		return a > b;
	case 0x30:
		return a >= b;
	case 0x40:
		return (a & b) != 0;
	case 0x50:
		return a != b;
	case 0x60:
		return sa > sb;
	case 0x70:
		return sa >= sb;
	case 0xa0:
		return a < b;
	case 0xb0:
		return a <= b;
	case 0xc0:
		return sa < sb;
	}
	return sa <= sb;
}

/* Every row of insn.def that computes or jumps, over all pairs of edges. */
static void test_rows(void)
{
	unsigned rows = 0;
	for (int op = 0; op < PF_OPS; op++) {
		const struct pf_op_info *info = pf_isa_info((enum pf_op)op);
		const int jump = info->form == PF_FORM_JMP_IMM || info->form == PF_FORM_JMP_REG;
		const int imm_form = info->form == PF_FORM_ALU_IMM || info->form == PF_FORM_JMP_IMM;
		const int reg = info->form == PF_FORM_ALU_REG || info->form == PF_FORM_JMP_REG;
		if (!jump && !imm_form && !reg && info->form != PF_FORM_UNARY && info->form != PF_FORM_SWAP)
			continue;
		rows++;
		for (unsigned k = 0; k < COUNT(edges); k++) {
			struct pf_insn tested = I(info->opcode, 3, reg ? 4 : 0, jump ? 1 : 0, imm_form ? (int32_t)edges[k] : 0);
			if (info->selector == PF_SELECT_OFF)
				tested.off = (int16_t)info->value;
			if (info->selector == PF_SELECT_IMM)
				tested.imm = info->value;
			const struct pf_insn alu[] = { LDX(SIZE_DW, 3, 1, 0), LDX(SIZE_DW, 4, 1, 8), tested, MOV(0, 3), EXIT };
			const struct pf_insn jmp[] = { MOVI(0, 1), LDX(SIZE_DW, 3, 1, 0), LDX(SIZE_DW, 4, 1, 8), tested,
						       MOVI(0, 0), EXIT };
			struct pf_prog *prog = load(PF_PROG_MEMORY, jump ? jmp : alu, jump ? COUNT(jmp) : COUNT(alu), NULL,
						    0, NULL);
			for (unsigned n = 0; n < COUNT(edges); n++) {
				uint64_t memory[2] = { edges[n], edges[k] };
				const uint64_t want =
					jump ? (uint64_t)model_jump(info->opcode, tested.imm, edges[n], edges[k])
					     : model_alu(info->opcode, tested.off, tested.imm, edges[n], edges[k]);
				const uint64_t got = run_both(prog, (uint8_t *)memory, sizeof(memory));
				if (got != want)
					fprintf(stderr, "%s of %#" PRIx64 ", %#" PRIx64 "\n", info->name, edges[n], edges[k]);
				CHECK_EQ(got, want);
			}
			pf_prog_put(prog);
		}
	}
	CHECK_EQ(rows, 116);
}

static uint64_t state = 0x2545f4914f6cdd1d;

static uint32_t random_below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 11) % n;
}

#define LENGTH 40

/* A random straight program over r0 and r3..r5, whose neighbours often share dst, so that pairs fuse. */
static uint32_t make_program(struct pf_insn *out)
{
	uint32_t n = 0;
	static const uint8_t regs[] = { 0, 3, 4, 5 };
	for (unsigned i = 0; i < 4; i++)
		out[n++] = LDX(SIZE_DW, regs[i], 1, (int16_t)(8 * i));
	uint8_t last = 0;
	while (n < LENGTH) {
		const uint32_t op = random_below(PF_OPS);
		const struct pf_op_info *info = pf_isa_info((enum pf_op)op);
		const uint8_t dst = random_below(3) ? last : regs[random_below(4)];
		struct pf_insn insn = I(info->opcode, dst, 0, 0, 0);
		const int32_t imm = random_below(2) ? (int32_t)edges[random_below(COUNT(edges))] : (int32_t)random_below(70);
		if (info->form == PF_FORM_ALU_REG || info->form == PF_FORM_JMP_REG)
			insn.src = regs[random_below(4)];
		if (info->form == PF_FORM_ALU_IMM || info->form == PF_FORM_JMP_IMM)
			insn.imm = imm;
		if (info->form == PF_FORM_JMP_IMM || info->form == PF_FORM_JMP_REG)
			insn.off = (int16_t)random_below(LENGTH - n < 4 ? LENGTH - n : 4);
		else if (info->form == PF_FORM_LDX && info->opcode < 0x80 && info->opcode != 0x79)
			insn.src = 1, insn.off = (int16_t)random_below(28); /* zero-extending loads of 1, 2 and 4 bytes */
		else if (info->form != PF_FORM_ALU_IMM && info->form != PF_FORM_ALU_REG && info->form != PF_FORM_UNARY &&
			 info->form != PF_FORM_SWAP)
			continue;
		if (info->selector == PF_SELECT_OFF)
			insn.off = (int16_t)info->value;
		if (info->selector == PF_SELECT_IMM)
			insn.imm = info->value;
		last = dst;
		out[n++] = insn;
	}
	out[n++] = EXIT;
	return n;
}

static uint64_t model_program(const struct pf_insn *insns, const uint8_t *memory)
{
	uint64_t r[11] = { 0 };
	for (const struct pf_insn *pc = insns; pc->code != 0x95; pc++) {
		const uint8_t class = pc->code & 7;
		if (class == 1) {
			const int bytes = (pc->code & 0x18) == SIZE_W ? 4 : (pc->code & 0x18) == SIZE_H ? 2 : (pc->code & 0x18) == SIZE_B ? 1 : 8;
			r[pc->dst] = 0;
			for (int i = bytes; i-- > 0;)
				r[pc->dst] = r[pc->dst] * 256 + memory[pc->off + i];
		} else if (class == 5 || class == 6) {
			if (model_jump(pc->code, pc->imm, r[pc->dst], r[pc->src]))
				pc += pc->off;
		} else {
			r[pc->dst] = model_alu(pc->code, pc->off, pc->imm, r[pc->dst], r[pc->src]);
		}
	}
	return r[0];
}

static void test_random(void)
{
	for (int i = 0; i < 20000; i++) {
		struct pf_insn insns[LENGTH + 1];
		const uint32_t count = make_program(insns);
		uint64_t memory[4];
		for (int k = 0; k < 4; k++)
			memory[k] = random_below(2) ? edges[random_below(COUNT(edges))] : state;
		const uint64_t want = model_program(insns, (const uint8_t *)memory);
		CHECK_EQ(run_insns(insns, count, (uint8_t *)memory, sizeof(memory)), want);
	}
}

static size_t unhex(const char *text, uint8_t *out)
{
	size_t n = 0;
	for (; *text != '-' && text[0] && text[1]; text += 2) {
		unsigned byte;
		CHECK_EQ(sscanf(text, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
	}
	return n;
}

static void run_vector(const char *name, const char *expect, uint64_t result, const uint8_t *code, size_t len,
		       const uint8_t *memory, size_t memory_len)
{
	struct pf_prog_def def = { .type = PF_PROG_MEMORY, .name = name, .count = (uint32_t)(len / 8) };
	struct pf_insn *insns = malloc(len + 1);
	struct pf_prog *prog = NULL;
	CHECK(insns != NULL);
	memcpy(insns, code, len);
	def.insns = insns;
	enum pf_err err = len % 8 ? PF_EINVAL : pf_prog_create(&def, &prog, NULL);
	if (!err)
		err = pf_prog_check_registers(prog, NULL); /* as for every program that is not verified */
	if (!strcmp(expect, "refuse")) {
		if (!err)
			fprintf(stderr, "accepted: %s\n", name);
		CHECK(err != PF_OK);
		if (prog)
			pf_prog_put(prog);
	} else {
		if (err)
			fprintf(stderr, "refused: %s\n", name);
		CHECK_EQ(err, PF_OK);
		for (int engine = PF_ENGINE_CHECKED; engine <= PF_ENGINE_INTERP; engine++) {
			uint8_t *copy = malloc(memory_len + 1);
			uint64_t r0 = 0;
			memcpy(copy, memory, memory_len);
			CHECK_EQ(pf_vm_stage(prog, (enum pf_engine)engine, NULL, NULL), PF_OK);
			const enum pf_err ran = pf_vm_execute(x, prog, (enum pf_engine)engine, copy, memory_len, &r0);
			if (ran || r0 != result)
				fprintf(stderr, "%s, engine %d: %s %s\n", name, engine,
					ran ? pf_diag_text(x->fault.diag.code) : "", ran ? x->fault.diag.name : "");
			CHECK_EQ(ran, PF_OK);
			CHECK_EQ(r0, result);
			free(copy);
		}
		pf_prog_put(prog);
	}
	free(insns);
}

static void test_vectors(const char *path)
{
	static char line[400000], code_hex[200000], memory_hex[200000];
	static uint8_t code[100000], memory[100000];
	char name[128], expect[16];
	unsigned ran = 0, refused = 0;
	FILE *file = fopen(path, "r");
	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file)) {
		uint64_t result;
		CHECK_EQ(sscanf(line, "%127s %15s %" SCNx64 " %199999s %199999s", name, expect, &result, code_hex, memory_hex), 5);
		const size_t len = unhex(code_hex, code), memory_len = unhex(memory_hex, memory);
		run_vector(name, expect, result, code, len, memory, memory_len);
		if (!strcmp(expect, "refuse"))
			refused++;
		else
			ran++;
	}
	fclose(file);
	printf("%u vectors ran in both builds, %u were refused\n", ran, refused);
	CHECK(ran >= 312 && refused >= 40);
}

int main(int argc, char **argv)
{
	new_exec();
	test_rows();
	test_random();
	if (argc > 1)
		test_vectors(argv[1]);
	else
		printf("skipped: conformance vectors (python3 vectors.py OUT; %s OUT)\n", argv[0]);
	pf_exec_destroy(x);
	return 0;
}
