/* vm_fixture.h - what the interpreter's tests share: instructions in short, programs staged for both builds. */
#ifndef VM_FIXTURE_H
#define VM_FIXTURE_H

#include <string.h>

#include "check.h"
#include "vm/vm.h"

#define I(code, dst, src, off, imm) ((struct pf_insn){ code, dst, src, off, imm })
#define MOVI(d, i) I(0xb7, d, 0, 0, i)
#define MOV(d, s) I(0xbf, d, s, 0, 0)
#define ADDI(d, i) I(0x07, d, 0, 0, i)
#define LDX(size, d, s, o) I(0x61 | size, d, s, o, 0)
#define STX(size, d, s, o) I(0x63 | size, d, s, o, 0)
#define SIZE_W 0x00
#define SIZE_H 0x08
#define SIZE_B 0x10
#define SIZE_DW 0x18
#define CALL(helper) I(0x85, 0, 0, 0, helper)
#define CALLP(distance) I(0x85, 0, 1, 0, distance)
#define LDDW(d, src, lo, hi) I(0x18, d, src, 0, lo), I(0, 0, 0, 0, hi)
#define EXIT I(0x95, 0, 0, 0, 0)
#define COUNT(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))

static struct pf_exec *x;

static inline void new_exec(void)
{
	CHECK_EQ(pf_exec_create(&x), PF_OK);
}

static inline struct pf_prog *load(enum pf_prog_type type, const struct pf_insn *insns, uint32_t count,
				   const struct pf_prog_map *maps, uint32_t map_count, const uint8_t *types)
{
	struct pf_prog_def def = { .type = type, .name = "test", .insns = insns, .count = count, .maps = maps,
				   .map_count = map_count };
	struct pf_diag diag = { 0 };
	struct pf_prog *prog = NULL;
	enum pf_err err = pf_prog_create(&def, &prog, &diag);
	if (!err)
		err = pf_vm_stage(prog, PF_ENGINE_CHECKED, NULL, &diag);
	if (!err)
		err = pf_vm_stage(prog, PF_ENGINE_INTERP, types, &diag);
	if (err) {
		fprintf(stderr, "refused: instruction %u of %u: %s (found %" PRIu64 ", %s)\n", diag.insn, count,
			pf_diag_text(diag.code), diag.found, diag.name);
		exit(1);
	}
	return prog;
}

/* A memory program in both builds over the same bytes, which are restored between them; both must agree. */
static inline uint64_t run_both(const struct pf_prog *prog, uint8_t *memory, uint64_t len)
{
	uint64_t checked = 0, unchecked = 1;
	uint8_t before[256], after[256];
	CHECK(len <= sizeof(before));
	memcpy(before, memory, len);
	const enum pf_err err = pf_vm_execute(x, prog, PF_ENGINE_CHECKED, memory, len, &checked);
	if (err)
		fprintf(stderr, "fault: %s at %u: %s\n", pf_diag_text(x->fault.diag.code), x->fault.diag.insn, x->fault.diag.name);
	CHECK_EQ(err, PF_OK);
	memcpy(after, memory, len);
	memcpy(memory, before, len);
	CHECK_EQ(pf_vm_execute(x, prog, PF_ENGINE_INTERP, memory, len, &unchecked), PF_OK);
	CHECK_EQ(unchecked, checked);
	CHECK_EQ(memcmp(memory, after, len), 0);
	return checked;
}

static inline uint64_t run_insns(const struct pf_insn *insns, uint32_t count, uint8_t *memory, uint64_t len)
{
	struct pf_prog *prog = load(PF_PROG_MEMORY, insns, count, NULL, 0, NULL);
	const uint64_t r0 = run_both(prog, memory, len);
	pf_prog_put(prog);
	return r0;
}

/* The checked build must stop with this diagnostic, at this instruction, at this place (NULL: any). */
static inline void expect_fault(const struct pf_prog *prog, enum pf_diag_code code, uint32_t insn, const char *place)
{
	uint64_t r0 = 0;
	const uint64_t r1 = prog->type == PF_PROG_XDP ? (uint64_t)(uintptr_t)&x->packet : (uint64_t)(uintptr_t)x->memory;
	CHECK_EQ(pf_vm_run(x, prog, PF_ENGINE_CHECKED, r1, x->memory_len, &r0), PF_EFAULT);
	if (x->fault.diag.code != code || (place && strcmp(place, x->fault.diag.name)))
		fprintf(stderr, "got: %s, %s\n", pf_diag_text(x->fault.diag.code), x->fault.diag.name);
	CHECK_EQ(x->fault.diag.code, code);
	CHECK_EQ(x->fault.diag.insn, insn);
	CHECK(!place || !strcmp(place, x->fault.diag.name));
	CHECK(x->fault.prog != NULL);
}

#endif
