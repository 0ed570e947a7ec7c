/* test_isa.c - encodings: lookup, legality with its diagnostics, text. */
#include "check.h"

#include "isa/isa.h"

#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define INSN(c, d, s, o, i) { .code = (c), .dst = (d), .src = (s), .off = (o), .imm = (i) }
#define EXIT INSN(0x95, 0, 0, 0, 0)

/* A legal instruction of the op, its targets one ahead. */
static struct pf_insn sample(enum pf_op op)
{
	const struct pf_op_info *info = pf_isa_info(op);
	struct pf_insn insn = { .code = info->opcode };

	switch (info->selector) {
	case PF_SELECT_OFF:
		insn.off = (int16_t)info->value;
		break;
	case PF_SELECT_IMM:
		insn.imm = info->value;
		break;
	case PF_SELECT_SRC:
		insn.src = (uint8_t)info->value & 0xf;
		break;
	case PF_SELECT_NONE:
		break;
	}
	return insn;
}

static void every_row_is_found_and_legal(void)
{
	for (unsigned i = 0; i < PF_OPS; i++) {
		const struct pf_op_info *info = pf_isa_info((enum pf_op)i);
		struct pf_insn insns[4] = { sample((enum pf_op)i), EXIT, EXIT, EXIT };
		struct pf_diag diag;

		CHECK_EQ(pf_isa_op(insns[0]), i);
		for (unsigned j = 0; j < PF_OPS; j++)
			if (pf_isa_info((enum pf_op)j)->opcode == info->opcode)
				CHECK_EQ(pf_isa_info((enum pf_op)j)->selector, info->selector);
		if (info->form == PF_FORM_LDDW) {
			memset(&insns[1], 0, sizeof(insns[1]));
			if (i == PF_OP_LDDW_FUNC)
				insns[0].imm = 1;
		}
		CHECK_EQ(pf_isa_check(insns, 4, 0, &diag), PF_OK);
		CHECK(pf_isa_form_name(info->form)[0] != '\0');
	}
	CHECK(!pf_isa_info(PF_OPS));
	CHECK_EQ(pf_isa_fields(PF_OPS), 0);
}

struct refusal {
	struct pf_insn insns[4];
	uint32_t count;
	int strict;
	enum pf_diag_code code;
	uint32_t at;
	int64_t found;
};

static const struct refusal refusals[] = {
	{ { EXIT }, 0, 0, PF_DIAG_ISA_EMPTY, 0, 0 },
	{ { INSN(0xff, 0, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_OPCODE, 0, 0xff },
	{ { EXIT, INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_OPCODE, 1, 0 },
	{ { INSN(0x8d, 0, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_CALLX, 0, 0x8d },
	{ { INSN(0x30, 0, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_LEGACY_LOAD, 0, 0x30 },
	{ { INSN(0x40, 0, 1, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_LEGACY_LOAD, 0, 0x40 },
	{ { INSN(0x38, 0, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_OPCODE, 0, 0x38 },
	{ { INSN(0x85, 0, 3, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_VARIANT, 0, 3 },
	{ { INSN(0x37, 0, 0, -1, 1), EXIT }, 2, 0, PF_DIAG_ISA_VARIANT, 0, -1 },
	{ { INSN(0xdb, 1, 2, 0, 0xe0), EXIT }, 2, 0, PF_DIAG_ISA_VARIANT, 0, 0xe0 },
	{ { INSN(0xbc, 1, 2, 32, 0), EXIT }, 2, 0, PF_DIAG_ISA_VARIANT, 0, 32 },
	{ { INSN(0xb7, 11, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_REGISTER, 0, 11 },
	{ { INSN(0x7b, 1, 15, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_REGISTER, 0, 15 },
	{ { INSN(0xb7, 10, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0x79, 10, 1, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0xd3, 10, 1, 0, 0x100), EXIT }, 2, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0xdb, 1, 10, 0, 1), EXIT }, 2, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0xc3, 1, 10, 0, 0xe1), EXIT }, 2, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0x18, 10, 0, 0, 0), INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_WRITE_R10, 0, 10 },
	{ { INSN(0x85, 0, 0, 1, 1), EXIT }, 2, 0, PF_DIAG_ISA_RESERVED, 0, 1 },
	{ { INSN(0x85, 1, 2, 0, 1), EXIT }, 2, 0, PF_DIAG_ISA_RESERVED, 0, 1 },
	{ { INSN(0x95, 0, 0, 0, -7), EXIT }, 2, 0, PF_DIAG_ISA_RESERVED, 0, -7 },
	{ { INSN(0x05, 0, 1, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_RESERVED, 0, 1 },
	{ { INSN(0x06, 0, 0, 1, 0), EXIT }, 2, 0, PF_DIAG_ISA_RESERVED, 0, 1 },
	{ { EXIT, INSN(0x18, 1, 0, 0, 0) }, 2, 0, PF_DIAG_ISA_LDDW_CUT, 1, 0 },
	{ { INSN(0x18, 1, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_ISA_LDDW_HALF, 0, 0x95 },
	{ { INSN(0x18, 1, 0, 0, 0), INSN(0, 0, 1, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_LDDW_HALF, 0, 0 },
	{ { INSN(0x18, 1, 0, 1, 0), INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_RESERVED, 0, 1 },
	{ { INSN(0x18, 1, 1, 0, 3), INSN(0, 0, 0, 0, 4), EXIT }, 3, 0, PF_DIAG_ISA_RESERVED, 0, 4 },
	{ { INSN(0x18, 1, 4, 0, 2), INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_JUMP_RANGE, 0, 3 },
	{ { INSN(0x18, 1, 4, 0, -1), INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0x18, 1, 7, 0, 0), INSN(0, 0, 0, 0, 0), EXIT }, 3, 0, PF_DIAG_ISA_VARIANT, 0, 7 },
	{ { INSN(0x05, 0, 0, 1, 0), EXIT }, 2, 0, PF_DIAG_ISA_JUMP_RANGE, 0, 2 },
	{ { INSN(0x05, 0, 0, -2, 0), EXIT }, 2, 0, PF_DIAG_ISA_JUMP_RANGE, 0, -1 },
	{ { INSN(0x06, 0, 0, 0, INT32_MAX), EXIT }, 2, 0, PF_DIAG_ISA_JUMP_RANGE, 0, INT64_C(0x80000000) },
	{ { INSN(0x06, 0, 0, 0, INT32_MIN), EXIT }, 2, 0, PF_DIAG_ISA_JUMP_RANGE, 0, -INT64_C(0x7fffffff) },
	{ { INSN(0x85, 0, 1, 0, 1), EXIT }, 2, 0, PF_DIAG_ISA_JUMP_RANGE, 0, 2 },
	{ { INSN(0x05, 0, 0, 1, 0), INSN(0x18, 1, 0, 0, 0), INSN(0, 0, 0, 0, 0), EXIT }, 4, 0,
	  PF_DIAG_ISA_JUMP_HALF, 0, 1 },
	{ { INSN(0x18, 1, 0, 0, 0), INSN(0, 0, 0, 0, 0), INSN(0x15, 1, 0, -2, 0), EXIT }, 4, 0,
	  PF_DIAG_ISA_JUMP_HALF, 2, 0 },
	{ { INSN(0xb7, 0, 0, 0, 0) }, 1, 0, PF_DIAG_ISA_FALL_OFF, 0, 0 },
	{ { EXIT, INSN(0x18, 0, 0, 0, 0), INSN(0, 0, 0, 0, 0) }, 3, 0, PF_DIAG_ISA_FALL_OFF, 1, 0 },
	{ { INSN(0xb7, 0, 0, 0, 0), INSN(0x05, 0, 0, -2, 0) }, 2, 0, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0xb7, 0, 0, 0, 0), INSN(0x06, 0, 0, 0, -2) }, 2, 0, PF_DIAG_NONE, 0, 0 },
	{ { EXIT, INSN(0x15, 1, 0, -2, 0) }, 2, 0, PF_DIAG_ISA_FALL_OFF, 1, 0 },
	{ { INSN(0x67, 0, 0, 0, 64), EXIT }, 2, 0, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0x67, 0, 0, 0, 64), EXIT }, 2, 1, PF_DIAG_ISA_SHIFT, 0, 64 },
	{ { INSN(0x67, 0, 0, 0, 63), EXIT }, 2, 1, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0xc4, 0, 0, 0, 32), EXIT }, 2, 1, PF_DIAG_ISA_SHIFT, 0, 32 },
	{ { INSN(0x74, 0, 0, 0, -1), EXIT }, 2, 1, PF_DIAG_ISA_SHIFT, 0, -1 },
	{ { INSN(0x37, 0, 0, 0, 0), EXIT }, 2, 0, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0x37, 0, 0, 0, 0), EXIT }, 2, 1, PF_DIAG_ISA_DIV_ZERO, 0, 0 },
	{ { INSN(0x94, 0, 0, 1, 0), EXIT }, 2, 1, PF_DIAG_ISA_DIV_ZERO, 0, 0 },
	{ { INSN(0xdb, 1, 10, 0, 0xf1), EXIT }, 2, 1, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0xdb, 10, 10, -8, 0), EXIT }, 2, 1, PF_DIAG_NONE, 0, 0 },
	{ { INSN(0x85, 0, 2, 5, 1), EXIT }, 2, 1, PF_DIAG_NONE, 0, 0 },
};

static void refusals_are_precise(void)
{
	for (size_t i = 0; i < LENGTH(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct pf_diag diag = { .code = PF_DIAG_NONE };
		enum pf_err err = pf_isa_check(r->insns, r->count, r->strict, &diag);

		if (err != (r->code ? PF_EINVAL : PF_OK) || diag.code != r->code)
			fprintf(stderr, "row %zu: diagnostic %d\n", i, diag.code);
		CHECK_EQ(err, r->code ? PF_EINVAL : PF_OK);
		CHECK_EQ(diag.code, r->code);
		if (!r->code)
			continue;
		CHECK_EQ(diag.insn, r->at);
		CHECK_EQ(diag.found, r->found);
		CHECK_EQ(pf_isa_check(r->insns, r->count, r->strict, NULL), PF_EINVAL);
	}
}

static void too_long(void)
{
	struct pf_insn *insns = calloc(PF_MAX_INSNS + 1, sizeof(*insns));
	struct pf_diag diag;

	CHECK(insns);
	for (uint32_t i = 0; i <= PF_MAX_INSNS; i++)
		insns[i].code = 0x95;
	CHECK_EQ(pf_isa_check(insns, PF_MAX_INSNS, 1, &diag), PF_OK);
	CHECK_EQ(pf_isa_check(insns, PF_MAX_INSNS + 1, 1, &diag), PF_EINVAL);
	CHECK_EQ(diag.code, PF_DIAG_ISA_TOO_LONG);
	free(insns);
}

static int name_map(void *user, uint32_t number, char *out, size_t size)
{
	(void)user;
	if (number > 2)
		return 0;
	snprintf(out, size, "%s", number == 2 ? "a]b" : "conns");
	return 1;
}

static void expect_text(struct pf_insn insn, int32_t imm2, const char *want)
{
	struct pf_insn half = { .imm = imm2 };
	struct pf_isa_names names = { .map = name_map };
	char out[PF_ISA_TEXT_MAX], small[8];
	size_t length = pf_isa_text(&insn, &half, &names, out, sizeof(out));

	if (strcmp(out, want) != 0)
		fprintf(stderr, "got '%s', want '%s'\n", out, want);
	CHECK(strcmp(out, want) == 0);
	CHECK_EQ(length, strlen(want));
	length = pf_isa_text(&insn, &half, &names, small, sizeof(small));
	CHECK_EQ(length, strlen(small));
	CHECK(strncmp(small, want, length) == 0);
	CHECK_EQ(pf_isa_text(&insn, &half, &names, small, 0), 0);
}

static void texts(void)
{
	expect_text((struct pf_insn)INSN(0x07, 1, 0, 0, -5), 0, "r1 += -5");
	expect_text((struct pf_insn)INSN(0x9c, 1, 2, 1, 0), 0, "w1 s%= w2");
	expect_text((struct pf_insn)INSN(0xdc, 3, 0, 0, 16), 0, "r3 = be16 r3");
	expect_text((struct pf_insn)INSN(0x71, 1, 2, -4, 0), 0, "r1 = *(u8 *)(r2 -4)");
	expect_text((struct pf_insn)INSN(0xdb, 1, 2, 0, 1), 0, "r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)");
	expect_text((struct pf_insn)INSN(0x66, 1, 0, 3, -1), 0, "if w1 s> 0xffffffff goto pc+3");
	expect_text((struct pf_insn)INSN(0x85, 0, 0, 0, 1), 0, "call bpf_map_lookup_elem#1");
	expect_text((struct pf_insn)INSN(0x85, 0, 0, 0, -3), 0, "call unknown#-3");
	expect_text((struct pf_insn)INSN(0x85, 0, 1, 0, 5), 0, "call pc+5");
	expect_text((struct pf_insn)INSN(0x85, 0, 2, 0, 9), 0, "call kernel-function#9");
	expect_text((struct pf_insn)INSN(0x85, 0, 2, -2, 9), 0, "call kernel-function#9@-2");
	expect_text((struct pf_insn)INSN(0x18, 1, 0, 0, -1), 0x11, "r1 = 0x11ffffffff ll");
	expect_text((struct pf_insn)INSN(0x18, 1, 1, 0, 1), 0, "r1 = map[conns]");
	expect_text((struct pf_insn)INSN(0x18, 1, 1, 0, 2), 0, "r1 = map[fd:2]");
	expect_text((struct pf_insn)INSN(0x18, 1, 2, 0, -1), 8, "r1 = map[fd:4294967295][0]+8");
	expect_text((struct pf_insn)INSN(0x18, 1, 5, 0, 3), 0, "r1 = map[idx:3]");
	expect_text((struct pf_insn)INSN(0x18, 1, 4, 0, -3), 0, "r1 = subprog[-3]");
	expect_text((struct pf_insn)INSN(0xff, 1, 0, 0, 0), 0, "illegal 0x00000000000001ff");
}

int main(void)
{
	every_row_is_found_and_legal();
	refusals_are_precise();
	too_long();
	texts();
	return 0;
}
