/* verifier_kit.h - programs as data, a few maps, and what to expect of the verifier. */
#ifndef VERIFIER_KIT_H
#define VERIFIER_KIT_H

#include <string.h>

#include "check.h"
#include "verifier/verifier.h"

#define OP(code_, dst_, src_, off_, imm_)                                                                              \
	(struct pf_insn) { .code = (code_), .dst = (dst_), .src = (src_), .off = (off_), .imm = (imm_) }
#define MOV(d, s) OP(0xbf, d, s, 0, 0)
#define SET(d, i) OP(0xb7, d, 0, 0, i)
#define ADD(d, i) OP(0x07, d, 0, 0, i)
#define ADDR(d, s) OP(0x0f, d, s, 0, 0)
#define AND(d, i) OP(0x57, d, 0, 0, i)
#define LD(size, d, s, o) OP(size, d, s, o, 0)
#define B 0x71
#define H 0x69
#define W 0x61
#define D 0x79
#define STX(d, s, o) OP(0x7b, d, s, o, 0)
#define ST(d, o, i) OP(0x7a, d, 0, o, i)
#define JEQ(d, i, o) OP(0x15, d, 0, o, i)
#define JGT(d, i, o) OP(0x25, d, 0, o, i)
#define JLT(d, i, o) OP(0xa5, d, 0, o, i)
#define JGTR(d, s, o) OP(0x2d, d, s, o, 0)
#define HELPER(n) OP(0x85, 0, 0, 0, n)
#define LOCAL(n) OP(0x85, 0, 1, 0, n)
#define MAP(d, n) OP(0x18, d, 1, 0, n), OP(0, 0, 0, 0, 0)
#define VALUE(d, n, o) OP(0x18, d, 2, 0, n), OP(0, 0, 0, 0, o)
#define FUNC(d, n) OP(0x18, d, 4, 0, n), OP(0, 0, 0, 0, 0)
#define EXIT OP(0x95, 0, 0, 0, 0)

static const uint8_t constants[16] = { 5, 0, 0, 0, 200 };
static const struct pf_verify_map maps[] = {
	{ .number = 1, .def = { PF_MAP_ARRAY, 4, 16, 4, 0 } },
	{ .number = 2, .def = { PF_MAP_ARRAY, 4, 16, 1, 0 } },
	{ .number = 3, .def = { PF_MAP_HASH, 4, 16, 4, 0 } },
	{ .number = 4, .def = { PF_MAP_PROG_ARRAY, 4, 4, 4, 0 } },
	{ .number = 5, .def = { PF_MAP_ARRAY, 4, 16, 1, PF_MAP_F_RDONLY_PROG }, .contents = constants },
	{ .number = 6, .def = { PF_MAP_ARRAY_OF_MAPS, 4, 4, 2, 0 }, .inner = { PF_MAP_ARRAY, 4, 32, 8, 0 } },
	{ .number = 7, .def = { PF_MAP_ARRAY, 4, 16, 1, 0 }, .lock = { 4, 1 } }, /* a bpf_spin_lock at bytes 4 to 7 */
	{ .number = 8, .def = { PF_MAP_HASH, 4, 16, 4, 0 }, .lock = { 0, 1 } },
};

/* Of the last run. */
static struct pf_verify_result result;

static enum pf_err run(const struct pf_verify_input *in)
{
	pf_verify_free(&result);
	const enum pf_err err = pf_verify(in, &result);
	CHECK_EQ(result.ok, err == PF_OK);
	CHECK_EQ(result.diag.code == PF_DIAG_NONE, err == PF_OK); /* Y4 */
	CHECK(err == PF_OK || pf_diag_text(result.diag.code)[0]);
	return err;
}

static struct pf_verify_input input(const struct pf_insn *insns, size_t count)
{
	return (struct pf_verify_input){ .type = PF_PROG_XDP, .insns = insns, .count = (uint32_t)count, .maps = maps,
					 .map_count = sizeof(maps) / sizeof(maps[0]) };
}

/* want: PF_DIAG_NONE for accepted. */
#define EXPECT(want, ...)                                                                                              \
	do {                                                                                                           \
		const struct pf_insn insns_[] = { __VA_ARGS__ };                                                       \
		const struct pf_verify_input in_ = input(insns_, sizeof(insns_) / sizeof(insns_[0]));                  \
		(void)run(&in_);                                                                                       \
		CHECK_EQ(result.diag.code, want);                                                                      \
	} while (0)
#define ACCEPT(...) EXPECT(PF_DIAG_NONE, __VA_ARGS__)
#define REFUSE(why, ...) EXPECT(PF_DIAG_VER_##why, __VA_ARGS__)

#endif
