/* hook_fixture.h - small programs and maps for the tests of hook/ and run/. */
#ifndef HOOK_FIXTURE_H
#define HOOK_FIXTURE_H

#include "check.h"

#include "hook/internal.h"
#include "vm/vm.h"

#define INSN(c, d, s, o, i) ((struct pf_insn){ .code = (c), .dst = (d), .src = (s), .off = (o), .imm = (i) })
#define MOV_IMM(d, i) INSN(0xb7, d, 0, 0, i)
#define MOV_REG(d, s) INSN(0xbf, d, s, 0, 0)
#define ADD_IMM(d, i) INSN(0x07, d, 0, 0, i)
#define LDX_W(d, s, o) INSN(0x61, d, s, o, 0)
#define LDX_B(d, s, o) INSN(0x71, d, s, o, 0)
#define STX_W(d, s, o) INSN(0x63, d, s, o, 0)
#define STX_B(d, s, o) INSN(0x73, d, s, o, 0)
#define ST_W(d, o, i) INSN(0x62, d, 0, o, i)
#define JGT_REG(d, s, o) INSN(0x2d, d, s, o, 0)
#define CALL(n) INSN(0x85, 0, 0, 0, n)
#define LD_MAP(d, n) INSN(0x18, d, 1, 0, n), INSN(0, 0, 0, 0, 0)
#define EXIT() INSN(0x95, 0, 0, 0, 0)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static inline struct pf_prog *prog_of(const struct pf_insn *insns, size_t count, const struct pf_prog_map *maps,
				      uint32_t map_count, uint64_t id)
{
	struct pf_prog_def def = {
		.type = PF_PROG_XDP,
		.name = "p",
		.id = id,
		.insns = insns,
		.count = (uint32_t)count,
		.maps = maps,
		.map_count = map_count,
	};
	struct pf_prog *prog = NULL;
	CHECK_EQ(pf_prog_create(&def, &prog, NULL), PF_OK);
	return prog;
}

static inline struct pf_prog *returning(int32_t value)
{
	const struct pf_insn insns[] = { MOV_IMM(0, value), EXIT() };
	return prog_of(insns, COUNT(insns), NULL, 0, (uint64_t)value);
}

static inline struct pf_prog *memory_prog(void)
{
	const struct pf_insn insns[] = { MOV_IMM(0, 0), EXIT() };
	struct pf_prog_def def = { .type = PF_PROG_MEMORY, .name = "m", .insns = insns, .count = 2 };
	struct pf_prog *prog = NULL;
	CHECK_EQ(pf_prog_create(&def, &prog, NULL), PF_OK);
	return prog;
}

/* Tail-calls entry `index` of array; returns `otherwise` when there is none. */
static inline struct pf_prog *tail_caller(struct pf_map *array, int32_t index, int32_t otherwise)
{
	const struct pf_insn insns[] = { LD_MAP(2, 7), MOV_IMM(3, index), CALL(12), MOV_IMM(0, otherwise), EXIT() };
	const struct pf_prog_map maps[] = { { 7, array } };
	return prog_of(insns, COUNT(insns), maps, 1, 0);
}

/* Writes value to the four bytes at each of two offsets of the packet, then returns `action`. */
static inline struct pf_prog *stamper(int32_t value, int16_t at, int16_t and_at, int32_t action)
{
	const int16_t last = at > and_at ? at : and_at;
	const struct pf_insn insns[] = {
		LDX_W(2, 1, 0),       LDX_W(3, 1, 4),   MOV_REG(4, 2),
		ADD_IMM(4, last + 4), JGT_REG(4, 3, 2), ST_W(2, at, value),
		ST_W(2, and_at, value), MOV_IMM(0, action), EXIT(),
	};
	return prog_of(insns, COUNT(insns), NULL, 0, (uint64_t)value);
}

static inline struct pf_map *map_of(enum pf_map_type type, uint32_t entries, const struct pf_map_def *inner)
{
	struct pf_map_def def = { .type = type, .key_size = 4, .value_size = 4, .max_entries = entries };
	struct pf_map *map = NULL;
	CHECK_EQ(pf_map_create(&def, inner, 1, "m", 0, &map, NULL), PF_OK);
	return map;
}

static inline enum pf_err bind_at(struct pf_map *map, uint32_t key, struct pf_ref *object, uint32_t *published)
{
	struct pf_diag diag;
	return pf_map_bind(map, &key, object, PF_MAP_ANY, published, &diag);
}

/* Sets what only the verifier sets, so that unchecked code can be chosen. */
static inline void make_interp(struct pf_prog *prog)
{
	prog->verified = 1;
	CHECK_EQ(pf_vm_stage(prog, PF_ENGINE_INTERP, NULL, NULL), PF_OK);
}

static inline struct pf_datapath *datapath_of(uint32_t hooks)
{
	struct pf_datapath *dp = NULL;
	CHECK_EQ(pf_datapath_create(&dp, NULL), PF_OK);
	for (uint32_t i = 0; i < hooks; i++) {
		uint32_t hook = 99;
		CHECK_EQ(pf_datapath_add_hook(dp, &hook, NULL), PF_OK);
		CHECK_EQ(hook, i);
	}
	return dp;
}

static inline struct pf_datapath_info info_of(struct pf_datapath *dp)
{
	struct pf_datapath_info info;
	pf_datapath_info(dp, &info);
	return info;
}

static inline struct pf_link *attached(struct pf_datapath *dp, uint32_t hook, struct pf_prog *prog, int32_t priority,
				       uint32_t continue_on)
{
	struct pf_link *link = NULL;
	CHECK_EQ(pf_link_attach(dp, hook, prog, priority, continue_on, &link, NULL, NULL), PF_OK);
	return link;
}

#endif
